//! Turns away whoever does not stand where clients of this relay stand.
//!
//! The address at the other end of the connection decides, and nothing that a request says: not
//! the token, not what a proxy forwards.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::turned::Turned;
use crate::{
    address,
    api::{
        error::ApiError,
        exchange::{Exchange, Peer},
    },
    clock::Clock,
};

#[derive(Clone, Debug)]
pub struct Scope {
    admitted: address::Scope,
    turned: Turned,
}

impl Scope {
    pub fn new(admitted: address::Scope, clock: Clock) -> Self {
        Self { admitted, turned: Turned::new(clock) }
    }
}

pub async fn guard(
    State(Scope { admitted, turned }): State<Scope>,
    exchange: Exchange,
    request: Request,
    next: Next,
) -> Response {
    if admitted.admits(Peer::of(request.extensions()).remote) {
        return next.run(request).await;
    }
    let error = match admitted {
        address::Scope::Loopback => ApiError::not_on_this_machine(),
        address::Scope::Private | address::Scope::Any => ApiError::not_on_private_network(),
    };
    turned.away(&exchange, 403, "network_scope").await;
    error.into_response()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::{Router, body::Body, middleware::from_fn_with_state};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::{id::RequestId, traffic::Traffic};

    /// The status and the code for a client at `remote` that claims to be somebody else.
    async fn check(admitted: address::Scope, remote: &str) -> (u16, String) {
        let remote: IpAddr = remote.parse().expect("an address");
        let claim = "127.0.0.1".parse().expect("an address");
        let request = Request::builder().uri("/").header("x-forwarded-for", "127.0.0.1");
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        let exchange = Exchange::new(RequestId::named("r"), claim, Traffic::off(), &parts);
        parts.extensions.insert(exchange);
        parts.extensions.insert(Peer { remote, ..Peer::IN_PROCESS });
        let scope = Scope::new(admitted, Clock::system());
        let router = Router::new().fallback(async || "in").layer(from_fn_with_state(scope, guard));
        let request = Request::from_parts(parts, Body::empty());
        let response = router.oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn the_other_end_of_the_connection_decides_and_nothing_that_is_said() {
        use address::Scope::{Any, Loopback, Private};
        let machine = (403, "client_not_on_this_machine".to_owned());
        let network = (403, "client_not_on_private_network".to_owned());
        let fine = (200, String::new());
        for (remote, expected) in [
            ("127.0.0.1", [&fine, &fine, &fine]),
            ("::ffff:127.0.0.1", [&fine, &fine, &fine]),
            ("192.168.1.9", [&machine, &fine, &fine]),
            ("fe80::9", [&machine, &fine, &fine]),
            ("203.0.113.9", [&machine, &network, &fine]),
            ("::ffff:203.0.113.9", [&machine, &network, &fine]),
        ] {
            for (scope, expected) in [Loopback, Private, Any].into_iter().zip(expected) {
                assert_eq!(check(scope, remote).await, *expected, "{scope:?} {remote}");
            }
        }
    }
}
