//! Gives every request an id and remembers who asked, before anything can refuse it.
//!
//! On the way back it says to browsers what holds for every answer: it is what its type says, it
//! is for nobody else's page, and it is not to be kept. A mistake of ours behind it costs the request
//! that met it an answer of 500, and not its connection.

use std::panic::AssertUnwindSafe;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
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
/// The same three for those who know codex-slot-relay.
const RELAY_REQUEST_ID: HeaderName = HeaderName::from_static("x-relay-request-id");
const RELAY_VERSION: HeaderName = HeaderName::from_static("x-relay-version");
const RELAY_SLOT_ID: HeaderName = HeaderName::from_static("x-relay-slot-id");
const VERSION: HeaderValue = HeaderValue::from_static(env!("CARGO_PKG_VERSION"));
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
    let story = exchange.story.clone();
    parts.extensions.insert(exchange);
    parts.extensions.insert(BodyLimit(identity.body_limit));
    request = Request::from_parts(parts, body);
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_| ApiError::crashed().into_response());
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(RELAY_REQUEST_ID, value.clone());
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(RELAY_VERSION, VERSION);
    let slot = story.slot().map(|slot| HeaderValue::from_str(slot.as_str()));
    if let Some(Ok(slot)) = slot {
        headers.insert(RELAY_SLOT_ID, slot);
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

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware::from_fn_with_state};
    use http::StatusCode;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_costs_its_own_request() {
        let identity =
            Identity { traffic: Traffic::off(), body_limit: 1, forwarded: Forwarded::default() };
        let numbered = async |request: Request| {
            request.uri().path()[1..].parse::<u8>().expect("a mistake").to_string()
        };
        let router = Router::new().fallback(numbered).layer(from_fn_with_state(identity, guard));
        for (path, status) in [("/seven", 500), ("/7", 200)] {
            let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
            let answer = router.clone().oneshot(request).await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::from_u16(status).expect("a status"));
            assert!(answer.headers().contains_key(REQUEST_ID));
            let body = answer.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(
                body.starts_with(b"{\"error\":{\"message\":\"The relay itself"),
                status == 500
            );
        }
    }
}
