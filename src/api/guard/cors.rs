//! What a browser needs to be told so that a page of a listed origin may read the answers.
//!
//! **Invariant:** nothing is granted to an origin that is not listed, nothing to all of them at
//! once, and never the browser's own credentials: a page has to know the relay token.

use axum::{body::Body, extract::Request, response::Response};
use http::{
    HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, VARY,
    },
};

/// What a page may read of an answer's head beyond the few that it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, retry-after, x-should-retry, x-airelays-ignored-parameters, \
     x-airelays-upstream-auth",
);
/// How long a browser remembers a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const VARIES: HeaderValue = HeaderValue::from_static("origin");
const PREFLIGHT_VARIES: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// The answer to a browser that asks before it sends, when that is what `request` is.
///
/// It is granted what it asks for, a method and some headers; the route looks at both when the
/// request itself comes.
pub fn preflight(request: &Request, origin: &HeaderValue) -> Option<Response> {
    let method = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD)?;
    if *request.method() != Method::OPTIONS {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    if let Some(names) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    headers.insert(VARY, PREFLIGHT_VARIES);
    Some(response)
}

/// `response` as a page of `origin` may read it.
pub fn open(mut response: Response, origin: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response
}

/// Says that `response` may be another one for another origin.
pub fn vary(response: &mut Response) {
    let headers = response.headers_mut();
    if !headers.contains_key(VARY) {
        headers.insert(VARY, VARIES);
    }
}
