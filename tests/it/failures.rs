//! What a client is told when the upstream fails: a real status before the first output, an error
//! in the stream after it, and never anything that looks like a whole answer.

use crate::harness::{Relay, Setup, dialect::Dialect, http::Reply};

/// A failure, what the client is told, and how long it is told to wait.
type Case = (&'static str, &'static str, Option<u64>);

/// Failures that come in place of a stream.
const INSTEAD: &[Case] = &[
    ("status: 500", "502 server_error upstream_error", None),
    ("status: 503", "502 server_error upstream_error", None),
    ("status: 400", "400 invalid_request_error -", None),
    ("status: 404", "404 invalid_request_error -", None),
    ("status: 408", "502 server_error upstream_error", None),
    ("status: 429", "429 rate_limit_error rate_limit_exceeded", Some(5)),
    ("blank: 500", "502 server_error upstream_error", None),
    ("blank: 404", "502 server_error upstream_error", None),
    ("blank: 429", "429 rate_limit_error rate_limit_exceeded", Some(5)),
    ("limit: 120", "429 rate_limit_error usage_limit_reached", Some(120)),
    ("limit: seconds-only", "429 rate_limit_error usage_limit_reached", Some(3600)),
    // Three quarters of the window of five hours, from the headers.
    ("limit: bare", "429 rate_limit_error usage_limit_reached", Some(13_500)),
    ("usage-not-included", "503 authentication_error upstream_auth_plan_not_included", None),
    ("rate-limit", "429 rate_limit_error rate_limit_exceeded", Some(2)),
    ("capacity", "503 server_error model_at_capacity", None),
    ("overloaded", "503 server_error server_is_overloaded", None),
    ("forbidden", "502 server_error upstream_error", None),
    ("workspace", "503 authentication_error upstream_auth_workspace_rejected", None),
    ("deactivated", "503 authentication_error upstream_auth_workspace_rejected", None),
    ("cloudflare", "502 server_error upstream_challenge", None),
    ("cloudflare: 503", "502 server_error upstream_challenge", None),
    ("html", "502 server_error upstream_error", None),
    ("html: 403", "502 server_error upstream_challenge", None),
    ("refuse: temperature", "400 invalid_request_error - temperature", None),
];

/// Failures that come in a stream before it carries any output.
const AT_THE_START: &[Case] = &[
    ("failed", "503 server_error server_is_overloaded", None),
    ("error", "503 server_error server_is_overloaded", None),
    ("error-flat", "503 server_error server_is_overloaded", None),
    ("error-then-failed", "503 server_error server_is_overloaded", None),
    ("failed: slow_down", "503 server_error server_is_overloaded", None),
    ("failed: model_at_capacity", "503 server_error model_at_capacity", None),
    ("failed: rate_limit_exceeded", "429 rate_limit_error rate_limit_exceeded", Some(2)),
    ("failed: usage_limit_reached", "429 rate_limit_error usage_limit_reached", Some(60)),
    ("failed: insufficient_quota", "429 rate_limit_error usage_limit_reached", Some(60)),
    (
        "failed: usage_not_included",
        "503 authentication_error upstream_auth_plan_not_included",
        None,
    ),
    ("failed: context_length_exceeded", "400 invalid_request_error context_length_exceeded", None),
    (
        "error: context_length_exceeded",
        "400 invalid_request_error context_length_exceeded input",
        None,
    ),
    ("error: cyber_policy", "400 invalid_request_error cyber_policy", None),
    ("failed: server_error", "502 server_error upstream_error", None),
    ("failed: code_of_tomorrow", "502 server_error upstream_error", None),
    ("cut", "502 server_error incomplete_stream", None),
    ("cut: 1", "502 server_error incomplete_stream", None),
    ("cut-mid-event: 1", "502 server_error incomplete_stream", None),
    ("reset", "502 server_error incomplete_stream", None),
    ("comments] [sim cut", "502 server_error incomplete_stream", None),
];

/// Failures that come after text, and what the stream says at its end.
const AFTER_TEXT: &[Case] = &[
    ("fail-after-text", "503 server_error server_is_overloaded", None),
    ("error-after-text", "503 server_error server_is_overloaded", None),
    ("error-after-text: rate_limit_exceeded", "429 rate_limit_error rate_limit_exceeded", Some(2)),
    ("fail-after-text: server_error", "502 server_error upstream_error", None),
    ("cut-after-text", "502 server_error incomplete_stream", None),
    ("cut-mid-event", "502 server_error incomplete_stream", None),
    ("reset-after-text", "502 server_error incomplete_stream", None),
];

#[track_caller]
fn check_refusal(reply: &Reply, (marker, expected, wait): Case, dialect: Dialect) {
    let told = reply.refusal().line();
    assert_eq!(told, expected, "{marker} on {dialect:?}: {}", reply.text());
    let told: Option<u64> = reply.header("retry-after").map(|text| text.parse().expect("seconds"));
    // A second may end between the upstream's word and ours.
    let is_near = |told: u64, wait: u64| told == wait || told + 1 == wait;
    let is_right = told.zip(wait).map_or(told == wait, |(told, wait)| is_near(told, wait));
    assert!(is_right, "{marker} on {dialect:?}: Retry-After is {told:?}, not {wait:?}");
    let state =
        reply.header("x-airelays-upstream-auth").map(|state| format!("upstream_auth_{state}"));
    assert_eq!(state, reply.refusal().code.filter(|code| code.starts_with("upstream_auth_")));
}

#[tokio::test]
async fn a_failure_before_the_first_output_is_a_real_status() {
    let relay = Relay::start().await;
    for case in INSTEAD.iter().chain(AT_THE_START) {
        for dialect in Dialect::ALL {
            let text = format!("Hello. [sim {}]", case.0);
            check_refusal(&relay.say(dialect, &text).await, *case, dialect);
            relay.forgive().await;
            check_refusal(&relay.say_streamed(dialect, &text).await, *case, dialect);
            relay.forgive().await;
        }
    }
    relay.is_idle().await;
}

#[tokio::test]
async fn a_failure_of_a_whole_answer_is_a_real_status_however_late_it_comes() {
    let relay = Relay::start().await;
    for case in AFTER_TEXT {
        for dialect in Dialect::ALL {
            let text = format!("[sim deltas: 3] [sim {}]", case.0);
            check_refusal(&relay.say(dialect, &text).await, *case, dialect);
            relay.forgive().await;
        }
    }
}

#[tokio::test]
async fn a_failure_after_output_is_the_last_event_of_the_stream() {
    let relay = Relay::start().await;
    for (marker, expected, _) in AFTER_TEXT {
        for dialect in Dialect::ALL {
            let text = format!("[sim deltas: 3] [sim {marker}]");
            relay.forgive().await;
            let reply = relay.say_streamed(dialect, &text).await;
            assert_eq!(reply.status, 200);
            let told = dialect.told(reply.text());
            assert!(told.text.starts_with("word1 word2 "), "{marker}: {told:?}");
            assert!(!told.is_complete && told.finish.is_none(), "{marker}: {told:?}");
            let failure = told.failure.expect("a failure");
            let expected: Vec<_> = expected.split(' ').collect();
            let code = failure.code.as_deref();
            // The upstream's own words stay as they are in its own dialect.
            let is_own = dialect == Dialect::Responses && marker.contains("-after-text");
            let own_code = marker.split_once(": ").map_or("server_is_overloaded", |(_, code)| code);
            let is_told = code == Some(expected[2]) || (is_own && code == Some(own_code));
            assert!(is_told, "{marker} on {dialect:?}: {failure:?}");
            assert!(!reply.text().contains("[DONE]"), "{marker}");
        }
    }
    relay.is_idle().await;
}

/// Everything that a turn may be made of, in one.
const RICH: &str = "[sim reasoning: 1] [sim commentary] [sim deltas: 2]";

/// How many events the upstream sends for `text`.
async fn n_events(relay: &Relay, text: &str) -> usize {
    let reply = relay.say_streamed(Dialect::Responses, text).await;
    let told = Dialect::Responses.told(reply.text());
    assert!(told.is_complete, "{told:?}");
    told.n_events
}

/// A stream that the upstream did not end is none that a client takes for a whole answer.
async fn check_cut(relay: &Relay, dialect: Dialect, how: &str) {
    let text = format!("{RICH} [sim {how}]");
    let streamed = relay.say_streamed(dialect, &text).await;
    if streamed.status != 200 {
        assert_eq!(streamed.refusal().line(), "502 server_error incomplete_stream", "{text}");
        return;
    }
    let told = dialect.told(streamed.text());
    assert!(!told.is_complete && told.finish.is_none(), "{dialect:?} {text}: {told:?}");
    let failure = told.failure.expect("a failure").line();
    assert_eq!(failure, "200 server_error incomplete_stream", "{dialect:?} {text}");
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_never_looks_complete() {
    let relay = Relay::start().await;
    let n_events = n_events(&relay, RICH).await;
    assert!(n_events > 20, "{n_events}");
    for at in 1..n_events {
        for dialect in Dialect::ALL {
            check_cut(&relay, dialect, &format!("cut: {at}")).await;
            check_cut(&relay, dialect, &format!("cut-mid-event: {at}")).await;
        }
        check_cut(&relay, Dialect::Chat, &format!("reset: {at}")).await;
    }
    relay.is_idle().await;
}

#[tokio::test]
async fn a_whole_answer_is_never_made_of_a_stream_that_is_cut() {
    let relay = Relay::start().await;
    let n_events = n_events(&relay, RICH).await;
    for at in 1..n_events {
        for (dialect, how) in
            [(Dialect::Responses, "cut"), (Dialect::Chat, "cut"), (Dialect::Completions, "reset")]
        {
            let text = format!("{RICH} [sim {how}: {at}]");
            let refusal = relay.say(dialect, &text).await.refusal();
            assert_eq!(refusal.line(), "502 server_error incomplete_stream", "{dialect:?} {text}");
        }
    }
}

#[tokio::test]
async fn half_of_the_last_event_is_no_end() {
    let relay = Relay::start().await;
    let n_events = n_events(&relay, RICH).await;
    for dialect in Dialect::ALL {
        let text = format!("{RICH} [sim cut-mid-event: {n_events}]");
        assert_eq!(relay.say(dialect, &text).await.status, 502);
        let told = dialect.told(relay.say_streamed(dialect, &text).await.text());
        assert!(!told.is_complete && told.failure.is_some(), "{told:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_end_breaks_nothing() {
    let relay = Relay::start().await;
    let n_events = n_events(&relay, RICH).await;
    for dialect in Dialect::ALL {
        for how in [format!("reset: {n_events}"), format!("stall: {n_events}"), "close-late".into()]
        {
            let text = format!("{RICH} [sim {how}]");
            let whole = relay.say(dialect, &text).await;
            assert_eq!(whole.status, 200, "{text}");
            assert!(dialect.text(&whole.json()).ends_with("word1 word2 "));
            let told = dialect.told(relay.say_streamed(dialect, &text).await.text());
            assert!(told.is_complete && told.failure.is_none(), "{told:?}");
        }
    }
    relay.is_idle().await;
}

#[tokio::test]
async fn however_the_bytes_arrive_the_answer_is_the_same() {
    let relay = Relay::start().await;
    for dialect in Dialect::ALL {
        let plain = relay.say_streamed(dialect, "[sim deltas: 5]").await;
        let plain = dialect.told(plain.text());
        assert!(plain.is_complete);
        for shape in
            ["chopped", "chunks: 3", "chunks: 1000", "cr", "crlf", "multi-data", "comments"]
        {
            let text = format!("[sim deltas: 5] [sim {shape}]");
            let whole = relay.say(dialect, &text).await;
            assert_eq!(dialect.text(&whole.json()), plain.text, "{shape}");
            // Bytes that need no change are passed on as they came: other line ends stay.
            if dialect != Dialect::Responses {
                let streamed = relay.say_streamed(dialect, &text).await;
                assert_eq!(dialect.told(streamed.text()).text, plain.text, "{shape}");
            }
        }
    }
}

#[tokio::test]
async fn an_upstream_that_nobody_can_reach_is_a_bad_gateway() {
    let relay = Setup::new()
        .set("AIRELAYS_UPSTREAM_BASE_URL", "http://127.0.0.1:9/backend-api/codex")
        .log_in()
        .start_alone()
        .await;
    for dialect in Dialect::ALL {
        for reply in [relay.say(dialect, "x").await, relay.say_streamed(dialect, "x").await] {
            assert_eq!(reply.refusal().line(), "502 server_error upstream_unavailable");
        }
    }
}
