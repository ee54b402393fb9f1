//! Gives every request an id and remembers who asked, before anything can refuse it.
//!
//! On the way back it says to browsers what holds for every answer: it is what its type says, it
//! is for nobody else's page, and it is not to be kept.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};

use crate::{
    api::{
        error::ApiError,
        exchange::{Exchange, Peer},
        extract::BodyLimit,
        guard::forwarded::Forwarded,
    },
    clock,
    id::RequestId,
    traffic::Traffic,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

#[derive(Clone, Debug)]
pub struct Identity {
    pub traffic: Traffic,
    pub body_limit: usize,
    pub forwarded: Forwarded,
}

pub async fn guard(State(identity): State<Identity>, mut request: Request, next: Next) -> Response {
    let id = match clock::random() {
        Ok(bytes) => RequestId::from_random(bytes),
        Err(error) => return ApiError::broken(&error).into_response(),
    };
    let peer = Peer::of(request.extensions());
    let client = identity.forwarded.client(peer.remote, request.headers());
    let (mut parts, body) = request.into_parts();
    let exchange = Exchange::new(id.clone(), client, identity.traffic, &parts);
    parts.extensions.insert(exchange);
    parts.extensions.insert(BodyLimit(identity.body_limit));
    request = Request::from_parts(parts, body);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    protect(headers);
    response
}

/// What a route says itself stays.
fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (RESOURCE_POLICY, "same-origin"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
