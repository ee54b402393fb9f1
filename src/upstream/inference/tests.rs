//! One request and its answer: what is sent, and every way in which an answer may not come.

use std::{future::pending, sync::Arc, time::Duration};

use axum::{Router, response::IntoResponse, routing::post};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http_body_util::StreamBody;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;
use crate::{
    clock::Clock,
    credential::AccountId,
    secret::Secret,
    transport::{self, BoxError},
    upstream::{Settings, failure::Deadline},
};

fn upstream(router: Router) -> Upstream {
    let settings = Settings {
        base_url: "https://upstream.example/backend-api/codex/".to_owned(),
        client_version: "0.156.1".to_owned(),
        user_agent: "airelays/test".to_owned(),
        headers_timeout: Duration::from_mins(2),
    };
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    Upstream::new(&settings, transport::local(router), clock).expect("settings")
}

fn credential() -> Credential {
    Credential { access: Secret::new("T0P"), account_id: AccountId::new("acct"), fedramp: false }
}

fn request(session: &str) -> Request<'_> {
    let body = Bytes::from_static(b"{}");
    Request { body, session, turn: HeaderMap::new(), compacts: false }
}

fn route<H, T>(handler: H) -> Router
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    Router::new().route("/backend-api/codex/responses", post(handler))
}

/// A stream of events made of `pieces`.
fn events<S>(pieces: S) -> axum::response::Response
where
    S: futures_util::Stream<Item = Result<&'static str, BoxError>> + Send + 'static,
{
    let frames =
        pieces.map(|piece| piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))));
    let body = axum::body::Body::new(StreamBody::new(frames));
    ([("content-type", "text/event-stream; charset=utf-8")], body).into_response()
}

async fn collect(mut body: Incoming) -> (String, Option<Failure>) {
    let mut text = String::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => text.push_str(str::from_utf8(&piece).expect("text")),
            Err(failure) => return (text, Some(failure)),
        }
    }
    (text, None)
}

#[tokio::test]
async fn a_request_carries_what_the_protocol_needs_and_nothing_else() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let upstream = upstream(route(async move |headers: HeaderMap, body: String| {
        assert_eq!(body, "{}");
        *keep.lock() = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        events(stream::empty())
    }));
    let turn = [("x-codex-turn-state", "opaque"), ("x-api-key", "T0P"), ("user-agent", "x")];
    let turn =
        turn.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let credential = Credential { fedramp: true, ..credential() };
    let request = Request { turn: turn.into_iter().collect(), ..request("0198-é %") };
    send(&upstream, &credential, request).await.expect("answered");
    let mut seen = seen.lock().clone();
    seen.sort();
    assert_eq!(
        seen,
        [
            "accept: text/event-stream",
            "authorization: Bearer T0P",
            "chatgpt-account-id: acct",
            "content-type: application/json",
            "originator: codex_cli_rs",
            "session-id: 0198-%C3%A9%20%25",
            "thread-id: 0198-%C3%A9%20%25",
            "user-agent: airelays/test",
            "version: 0.156.1",
            "x-client-request-id: 0198-%C3%A9%20%25",
            "x-codex-turn-state: opaque",
            "x-openai-fedramp: true",
        ]
    );
}

#[tokio::test]
async fn an_answer_is_handed_over_as_it_arrives() {
    let upstream = upstream(route(async || {
        let mut answer = events(stream::iter(["data: 1\n\n", "data: 2\n\n"].map(Ok)));
        answer.headers_mut().insert("x-codex-turn-state", HeaderValue::from_static("s"));
        answer.headers_mut().insert("x-models-etag", HeaderValue::from_static("W/\"e\""));
        answer
    }));
    let answer = send(&upstream, &credential(), request("s")).await.expect("answered");
    let turn = answer.turn();
    assert_eq!(turn.get("x-codex-turn-state"), Some(&HeaderValue::from_static("s")));
    assert_eq!(turn.len(), 2);
    assert_eq!(answer.models_etag(), Some("W/\"e\""));
    let (text, failure) = collect(answer.body).await;
    assert_eq!((text.as_str(), failure.is_none()), ("data: 1\n\ndata: 2\n\n", true));
}

#[tokio::test]
async fn a_broken_answer_ends_with_a_failure_and_then_nothing() {
    let upstream =
        upstream(route(async || events(stream::iter([Ok("data: 1\n\n"), Err("reset".into())]))));
    let answer = send(&upstream, &credential(), request("s")).await.expect("answered");
    let mut body = answer.body;
    assert_eq!(body.next().await.expect("a piece").expect("whole"), "data: 1\n\n");
    assert!(matches!(body.next().await, Some(Err(Failure::Cut(_)))));
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn whatever_is_no_stream_is_a_failure() {
    for (status, kind, body, expected) in [
        (429, "application/json", r#"{"error":{"type":"usage_limit_reached"}}"#, "UsageLimit"),
        (400, "application/json", r#"{"detail":"Input must be a list"}"#, "Request"),
        (307, "text/plain", "", "Service"),
        (200, "text/html", "<html>sign in to the hotel's network</html>", "Service"),
        (200, "application/json", r#"{"error":{"code":"server_is_overloaded"}}"#, "Overloaded"),
    ] {
        let upstream = upstream(route(async move || {
            (StatusCode::from_u16(status).expect("status"), [("content-type", kind)], body)
        }));
        let failure = send(&upstream, &credential(), request("s")).await.expect_err("a failure");
        assert!(format!("{failure:?}").starts_with(expected), "{failure:?}");
    }
}

#[tokio::test]
async fn of_a_failures_body_only_the_beginning_is_read() {
    let upstream = upstream(route(async || {
        let head = stream::iter([Ok(r#"{"detail":"x"}"#)]);
        let endless = head.chain(stream::repeat_with(|| Ok("                ")));
        (StatusCode::BAD_REQUEST, events(endless)).into_response()
    }));
    let failure = send(&upstream, &credential(), request("s")).await.expect_err("a failure");
    assert!(matches!(failure, Failure::Request(_)), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_whose_body_never_ends_is_known_by_its_head() {
    let upstream = upstream(route(async || {
        (StatusCode::UNAUTHORIZED, events(stream::pending())).into_response()
    }));
    let start = Instant::now();
    let failure = send(&upstream, &credential(), request("s")).await.expect_err("a failure");
    assert!(matches!(failure, Failure::Unauthorized { code: None }), "{failure:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_begin_is_given_up() {
    let upstream = upstream(route(async || pending::<()>().await));
    let start = Instant::now();
    let failure = send(&upstream, &credential(), request("s")).await.expect_err("a failure");
    assert!(matches!(failure, Failure::Timeout(Deadline::Headers)), "{failure:?}");
    assert_eq!(start.elapsed().as_secs(), 120);
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_one_that_is_not_accepted() {
    let upstream = upstream(route(async || events(stream::empty())));
    let credential = Credential { access: Secret::new("a\r\nx: y"), ..credential() };
    let failure = send(&upstream, &credential, request("s")).await.expect_err("a failure");
    assert!(matches!(failure, Failure::Unauthorized { code: None }), "{failure:?}");
}
