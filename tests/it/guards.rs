//! Who may call, how often and how much at once, seen from outside.

use std::time::Duration;

use airelays::sim::Counters;
use axum::body::Body;
use http::Request;
use serde_json::json;

use crate::harness::{
    InProcess, Relay, Setup, TOKEN,
    dialect::Dialect,
    eventually,
    http::{Ask, Connection, Piece, Reply},
    write,
};

const STATUS: &str = "/v1/relay/status";

fn wrong(path: &str) -> Ask {
    Ask::get(path).bearer("wrong")
}

#[track_caller]
fn check_unknown(reply: &Reply, why: &str) {
    assert_eq!(reply.refusal().line(), "401 authentication_error invalid_api_key", "{why}");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{why}");
    assert_eq!(reply.json()["error"]["message"], "Missing or invalid AIRelays bearer token.");
}

#[tokio::test]
async fn only_the_relay_token_opens_the_protected_routes() {
    let relay = Setup::new().set("AIRELAYS_FAILED_AUTH_MAX_ATTEMPTS", "1000000").start().await;
    let long = "x".repeat(20_000);
    let shorter = &TOKEN[..TOKEN.len() - 1];
    let strangers: &[&[u8]] = &[
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer wrong",
        b"Bearer \xc3\xa9",
        b"Bearer \xff\xfe\x80",
        b"Basic dXNlcjpwYXNz",
        TOKEN.as_bytes(),
        &[b"Token ", TOKEN.as_bytes()].concat(),
        &[b"Bearer ", shorter.as_bytes()].concat(),
        &[b"Bearer ", TOKEN.as_bytes(), b"x"].concat(),
        &[b"Bearer ", TOKEN.to_uppercase().as_bytes()].concat(),
        &[b"Bearer ", long.as_bytes()].concat(),
        &[b"Bearer wrong ", TOKEN.as_bytes()].concat(),
    ];
    for stranger in strangers {
        let why = String::from_utf8_lossy(&stranger[..stranger.len().min(60)]);
        check_unknown(&relay.ask(&Ask::get(STATUS).header("authorization", *stranger)).await, &why);
    }
    check_unknown(&relay.ask(&Ask::get(STATUS)).await, "none");
    check_unknown(&relay.ask(&Ask::get(STATUS).header("x-api-key", TOKEN)).await, "elsewhere");
    check_unknown(&relay.ask(&Ask::get(&format!("{STATUS}?token={TOKEN}"))).await, "elsewhere");
    let second = wrong(STATUS).bearer(TOKEN);
    check_unknown(&relay.ask(&second).await, "the first of several counts");
    for owner in ["Bearer ", "bearer ", "BEARER   ", " Bearer "] {
        let ask = Ask::get(STATUS).header("authorization", format!("{owner}{TOKEN} "));
        assert_eq!(relay.ask(&ask).await.status, 200, "{owner}");
    }
}

#[tokio::test]
async fn every_path_below_the_prefixes_is_protected_whether_it_exists_or_not() {
    let relay = Setup::new().set("AIRELAYS_FAILED_AUTH_MAX_ATTEMPTS", "1000000").start().await;
    for path in [
        "/v1/models",
        "/v1/models/gpt-5.4",
        "/v1/responses",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/relay/status",
        "/v1/embeddings",
        "/v1/files",
        "/v1/",
        "/v1/nothing",
        "/v1//models",
        "/v1/../healthz",
        "/v1/%2e%2e/healthz",
        "/no-tools/v1/models",
        "/no-tools/v1/responses",
        "/no-tools/v1/nothing",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
            let reply = relay.ask(&Ask::new(method, path)).await;
            check_unknown(&reply, &format!("{method} {path}"));
        }
    }
    assert_eq!(relay.simulator.counters(), Counters::default(), "nothing went upstream");
}

#[tokio::test]
async fn what_is_public_tells_nothing() {
    let relay = Setup::new().log_in().start().await;
    let page = relay.ask(&Ask::get("/")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    let health = relay.ask(&Ask::get("/healthz")).await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(health.json(), json!({"ok": true, "app_name": "AIRelays", "version": version}));
    let home = relay.home.path().display().to_string();
    for reply in [&page, &health, &relay.ask(&Ask::get("/nothing")).await] {
        for secret in [TOKEN, &home, "auth.json", "@simulator.example"] {
            assert!(!reply.text().contains(secret), "{secret}");
        }
        assert!(reply.header("x-request-id").is_some());
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_stranger_is_blocked_and_the_owner_is_not() {
    let relay = Relay::start().await;
    for n in 1..=8 {
        check_unknown(&relay.ask(&wrong(STATUS)).await, &format!("number {n}"));
    }
    for stranger in [wrong(STATUS), Ask::get(STATUS), wrong("/v1/nothing")] {
        let reply = relay.ask(&stranger).await;
        assert_eq!(reply.refusal().line(), "429 rate_limit_error ip_temporarily_blocked");
        let wait: u64 =
            reply.header("retry-after").and_then(|text| text.parse().ok()).expect("set");
        assert!((880..=900).contains(&wait), "{wait}");
    }
    let status = relay.get(STATUS).await.json();
    let client = &status["security"]["client"];
    assert_eq!(client["failed_auth_attempts"], 8);
    assert!(client["blocked_for_seconds"].as_u64().is_some_and(|wait| wait > 880), "{client}");
    assert_eq!(status["security"]["blocked_clients"], 1);
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    assert_eq!(relay.ask(&Ask::get("/healthz")).await.status, 200);
}

/// The status of a reply, and how long it tells to wait.
async fn asked(relay: &InProcess, token: &str) -> (u16, Option<Duration>) {
    let request = Request::get(STATUS).header("authorization", format!("Bearer {token}"));
    let reply = relay.send(request.body(Body::empty()).expect("a request")).await;
    let wait = reply.headers().get("retry-after").map(|wait| wait.to_str().expect("text").parse());
    (reply.status().as_u16(), wait.map(|wait| Duration::from_secs(wait.expect("seconds"))))
}

#[tokio::test(start_paused = true)]
async fn a_block_ends_after_its_time() {
    let relay = Setup::new().in_process().await;
    for _ in 0..8 {
        assert_eq!(asked(&relay, "wrong").await, (401, None));
    }
    let (status, wait) = asked(&relay, "wrong").await;
    assert_eq!((status, wait), (429, Some(Duration::from_mins(15))));
    tokio::time::advance(Duration::from_mins(14)).await;
    assert_eq!(asked(&relay, "wrong").await, (429, Some(Duration::from_mins(1))));
    assert_eq!(asked(&relay, TOKEN).await.0, 200);
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(asked(&relay, "wrong").await, (401, None));
}

#[tokio::test(start_paused = true)]
async fn who_waits_as_long_as_told_is_let_in() {
    let relay = Setup::new()
        .set("AIRELAYS_RATE_LIMIT_BURST", "2")
        .set("AIRELAYS_RATE_LIMIT_PER_MINUTE", "7")
        .in_process()
        .await;
    for _ in 0..2 {
        assert_eq!(asked(&relay, TOKEN).await, (200, None));
    }
    for _ in 0..5 {
        let (status, wait) = asked(&relay, TOKEN).await;
        assert_eq!(status, 429);
        tokio::time::advance(wait.expect("a time")).await;
        assert_eq!(asked(&relay, TOKEN).await.0, 200);
    }
}

#[tokio::test]
async fn no_more_than_the_burst_comes_at_once() {
    let relay = Setup::new()
        .set("AIRELAYS_RATE_LIMIT_BURST", "3")
        .set("AIRELAYS_RATE_LIMIT_PER_MINUTE", "1")
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(relay.get(STATUS).await.status, 200);
    }
    for _ in 0..2 {
        let reply = relay.get(STATUS).await;
        assert_eq!(reply.refusal().line(), "429 rate_limit_error rate_limit_exceeded");
        let wait: u64 =
            reply.header("retry-after").and_then(|text| text.parse().ok()).expect("set");
        assert!((50..=60).contains(&wait), "{wait}");
    }
    check_unknown(&relay.ask(&wrong(STATUS)).await, "the token is looked at first");
    assert_eq!(relay.ask(&Ask::get("/healthz")).await.status, 200);
}

#[tokio::test]
async fn a_place_is_taken_as_long_as_the_answer_lasts() {
    let relay = Setup::new().set("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "2").start().await;
    let stream = |text: &str| {
        let body = Dialect::Chat.streamed(text).to_string();
        Ask::post(Dialect::Chat.path(), body).bearer(TOKEN)
    };
    relay.script(&["[sim deltas: 3] [sim stall-after-text]", "stall"]);
    let mut first = relay.open(&stream("one")).await;
    assert!(matches!(first.piece().await, Piece::Bytes(_)));
    let mut second = Connection::open(relay.address).await;
    second.send(&stream("two").bytes()).await;
    eventually("both run", || relay.simulator.counters().open_streams == 2).await;
    for ask in [stream("three"), Ask::get(STATUS).bearer(TOKEN)] {
        let reply = relay.ask(&ask).await;
        assert_eq!(reply.refusal().line(), "429 rate_limit_error too_many_concurrent_requests");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    check_unknown(&relay.ask(&wrong(STATUS)).await, "the token is looked at first");
    drop(second);
    relay.until_status(&Ask::get(STATUS).bearer(TOKEN), 200).await;
    assert_eq!(relay.simulator.counters().open_streams, 1, "one is still under way");
    let active = relay.get(STATUS).await.json()["security"]["client"]["active_requests"].clone();
    assert_eq!(active, 2, "the stream and this request");
    drop(first);
    relay.is_idle().await;
}

#[tokio::test]
async fn a_place_is_given_back_however_the_answer_ends() {
    let relay = Setup::new().set("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "1").start().await;
    for marker in ["", "overloaded", "failed", "cut-after-text", "error-after-text", "reset"] {
        for dialect in Dialect::ALL {
            let text = if marker.is_empty() { "x".to_owned() } else { format!("[sim {marker}]") };
            for body in [dialect.body(&text), dialect.streamed(&text)] {
                let ask = Ask::post(dialect.path(), body.to_string()).bearer(TOKEN);
                // The place is free a moment after the last byte has arrived.
                relay.until(&ask, |reply| reply.status != 429).await;
            }
        }
    }
}

#[tokio::test]
async fn strangers_do_not_spend_what_the_owner_has() {
    let relay = Setup::new()
        .set("AIRELAYS_RATE_LIMIT_BURST", "2")
        .set("AIRELAYS_RATE_LIMIT_PER_MINUTE", "1")
        .start()
        .await;
    for _ in 0..20 {
        relay.ask(&wrong(STATUS)).await;
    }
    for expected in [200, 200, 429] {
        assert_eq!(relay.get(STATUS).await.status, expected);
    }
}

#[tokio::test]
async fn in_open_mode_nobody_is_asked_and_the_limits_stay() {
    let relay = Setup::new()
        .set("AIRELAYS_REQUIRE_BEARER_AUTH", "false")
        .set("AIRELAYS_RATE_LIMIT_BURST", "4")
        .set("AIRELAYS_RATE_LIMIT_PER_MINUTE", "1")
        .start()
        .await;
    for ask in [Ask::get(STATUS), wrong(STATUS), Ask::get(STATUS).bearer(TOKEN)] {
        assert_eq!(relay.ask(&ask).await.status, 200);
    }
    // What can be done only so often is done by the owner.
    let body = r#"{"account":"default"}"#.to_owned();
    let redeem = Ask::post("/v1/relay/accounts/resets/redeem", body);
    let redeem = redeem.header("content-type", "application/json");
    assert_eq!(relay.ask(&redeem).await.status, 401);
    let status = relay.ask(&Ask::get(STATUS)).await.json();
    assert_eq!(status["security"]["require_bearer_auth"], false);
    let refused = relay.ask(&Ask::get(STATUS)).await.refusal();
    assert_eq!(refused.line(), "429 rate_limit_error rate_limit_exceeded");
}

/// What a request that is wrong in every way is told, as one thing after another is put right.
#[tokio::test]
async fn the_guards_stand_in_their_order() {
    let relay = Setup::new()
        .set("AIRELAYS_FAILED_AUTH_MAX_ATTEMPTS", "1")
        .set("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "1")
        .set("AIRELAYS_RATE_LIMIT_BURST", "2")
        .set("AIRELAYS_RATE_LIMIT_PER_MINUTE", "600")
        .set("AIRELAYS_MAX_BODY_BYTES", "100")
        .start()
        .await;
    let stream = Dialect::Chat.streamed("[sim stall]").to_string();
    let stream = Ask::post(Dialect::Chat.path(), stream).bearer(TOKEN);
    let mut running = Connection::open(relay.address).await;
    running.send(&stream.bytes()).await;
    eventually("it runs", || relay.simulator.counters().open_streams == 1).await;

    let large = vec![b'{'; 200];
    let ask = |path: &str, body: &[u8], kind: &str| {
        Ask::new("POST", path).header("content-type", kind).body(body)
    };
    let wrong_in_all = ask("/v1/responses", &large, "text/plain");
    check_unknown(&relay.ask(&wrong_in_all.clone().bearer("wrong")).await, "the token");
    let blocked = relay.ask(&wrong_in_all.clone().bearer("wrong")).await.refusal();
    assert_eq!(blocked.code.as_deref(), Some("ip_temporarily_blocked"));
    let owner = wrong_in_all.bearer(TOKEN);
    let too_many = relay.ask(&owner).await.refusal();
    assert_eq!(too_many.code.as_deref(), Some("too_many_concurrent_requests"));
    drop(running);
    let is =
        |code: &'static str| move |reply: &Reply| reply.refusal().code.as_deref() == Some(code);
    relay.until(&owner, is("unsupported_content_type")).await;
    relay.until(&owner, is("rate_limit_exceeded")).await;
    let is_let_in = |reply: &Reply| reply.status != 429;
    for (ask, expected) in [
        (ask("/v1/nothing", &large, "text/plain"), "not_found"),
        (ask("/v1/responses", &large, "application/json"), "request_too_large"),
        (ask("/v1/responses", b"{", "application/json"), "invalid_json"),
        (ask("/v1/responses", b"{}", "application/json"), "missing_required_parameter"),
    ] {
        let refusal = relay.until(&ask.bearer(TOKEN), is_let_in).await.refusal();
        assert_eq!(refusal.code.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn forwarded_addresses_count_only_where_a_proxy_is_trusted() {
    for (trusted, addresses) in
        [("false", ["127.0.0.1", "127.0.0.1"]), ("true", ["10.0.0.1", "10.0.0.2"])]
    {
        let relay = Setup::new().set("AIRELAYS_TRUST_X_FORWARDED_FOR", trusted).start().await;
        for (n, address) in ["10.0.0.1", "10.0.0.2"].iter().zip(addresses) {
            let ask =
                Ask::get(STATUS).bearer(TOKEN).header("x-forwarded-for", format!("1.1.1.1, {n}"));
            let status = relay.ask(&ask).await.json();
            assert_eq!(status["security"]["client"]["ip"], address);
        }
    }
}

#[tokio::test]
async fn a_rotated_token_counts_from_the_next_request_on() {
    let setup = Setup::new().set("AIRELAYS_BEARER_TOKEN", "");
    let file = setup.home().join(".airelays/relay-token");
    let relay = setup.start().await;
    let ask = |token: &str| Ask::get(STATUS).bearer(token);
    check_unknown(&relay.ask(&ask("")).await, "there is no token, so none is right");
    for token in ["first-token", "second-token"] {
        write(&file, &format!("{token}\n"));
        assert_eq!(relay.ask(&ask(token)).await.status, 200);
    }
    check_unknown(&relay.ask(&ask("first-token")).await, "the old one counts no more");
    std::fs::remove_file(&file).expect("removed");
    check_unknown(&relay.ask(&ask("second-token")).await, "a removed one counts no more");
}
