//! The order of the guards, on the router as the relay puts it together.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::{
    api::exchange::Peer,
    config::{Environment, Layer},
    sim::World,
};

const TOKEN: &str = "right-and-long-enough";

async fn relay(home: &TempDir, scope: &str) -> Server {
    let home = home.path().to_str().expect("text");
    let variables = [
        ("HOME", home),
        ("AIRELAYS_PORT", "0"),
        ("AIRELAYS_HOST", "0.0.0.0"),
        ("AIRELAYS_NETWORK_SCOPE", scope),
        ("AIRELAYS_BEARER_TOKEN", TOKEN),
    ];
    let config = Config::load(Layer::default(), &variables.into_iter().collect::<Environment>());
    let simulation = Simulation { simulator: Simulator::start(World::default()), port: None };
    start(Arc::new(config.expect("fine")), Some(simulation)).await.expect("started")
}

/// What a request has that one guard or another minds.
struct Wrong {
    stranger: bool,
    page: bool,
    token: bool,
}

/// The status and the code of the error.
async fn ask(server: &Server, path: &str, wrong: &Wrong) -> (u16, String) {
    let remote = if wrong.stranger { "203.0.113.9" } else { "192.168.0.9" };
    let mut request = Request::post(path)
        .header("host", "localhost")
        .header("x-forwarded-for", "127.0.0.1")
        .header("content-type", "text/plain");
    if wrong.page {
        request = request.header("origin", "https://evil.example");
    }
    let token = if wrong.token { "wrong" } else { TOKEN };
    let mut request = request
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .expect("a request");
    let remote = remote.parse().expect("an address");
    request.extensions_mut().insert(Peer { remote, ..Peer::IN_PROCESS });
    let response = server.router.clone().oneshot(request).await.expect("an answer");
    assert!(response.headers().contains_key("x-request-id"), "{path}");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn each_guard_stands_before_the_next_on_every_path() {
    let home = tempfile::tempdir().expect("a folder");
    let server = relay(&home, "private").await;
    for path in ["/v1/responses", "/no-tools/v1/x", "/v1/models", "/", "/healthz", "/x", "/v1"] {
        let is_protected = path.starts_with("/v1/") || path.starts_with("/no-tools/v1/");
        for bits in 0..8 {
            let wrong =
                Wrong { stranger: bits & 4 != 0, page: bits & 2 != 0, token: bits & 1 != 0 };
            let (status, code) = ask(&server, path, &wrong).await;
            let expected = match &wrong {
                Wrong { stranger: true, .. } => (403, "client_not_on_private_network"),
                Wrong { page: true, .. } => (403, "origin_not_allowed"),
                Wrong { token: true, .. } if is_protected => (401, "invalid_api_key"),
                // Somebody who may ask: what comes of it is the route's business.
                Wrong { .. } => {
                    assert!(matches!(status, 404 | 405 | 415), "{path}: {status} {code}");
                    continue;
                }
            };
            assert_eq!((status, &*code), expected, "{path} {bits:03b}");
        }
    }
}

#[tokio::test]
async fn a_scope_of_any_lets_everybody_as_far_as_the_token() {
    let home = tempfile::tempdir().expect("a folder");
    let server = relay(&home, "any").await;
    let stranger = Wrong { stranger: true, page: false, token: true };
    assert_eq!(ask(&server, "/v1/responses", &stranger).await.0, 401);
    let guest = Wrong { token: false, ..stranger };
    assert_eq!(ask(&server, "/v1/responses", &guest).await.0, 415);
}
