//! The bugs that keep coming back in programs of this kind, each shown to be absent.
//!
//! It is a table: a test for each bug, the most frequent first, each readable on its own. What
//! stands here shows a bug in one way; the other files look at the same from all sides.
//!
//! Not here, because they are about several logins: limits that outlive their reset, a dialogue
//! whose account is gone, an overload or a client's mistake that is taken to every account, how
//! much of which limit is used, seats of one workspace that are told apart. Because nothing outside
//! shows them: a proxy on the way to the sign-in server, a machine that slept, an upstream that
//! counts no tokens at all. Because they have a file of their own: dialogues made shorter
//! (`compaction`), relays that end while they renew a login (`survival`).

use std::{collections::BTreeSet, fs, io::Write};

use axum::body::Body;
use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::harness::{
    InProcess, MODEL, Relay, Setup, TOKEN,
    dialect::{
        Dialect::{self, Chat, Completions, Responses},
        events,
    },
    eventually,
    http::{Ask, Connection, Reply},
    write,
};

const IGNORED: &str = "x-airelays-ignored-parameters";
const AUTH_FILE: &str = ".airelays/auth.json";
/// A thought of the simulator's.
const THOUGHT: &str = "**Step 1**\n\nThinking about part 1.";

/// `body` with `more` laid over it.
fn with(mut body: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn kinds(items: &Value) -> Vec<&str> {
    list(items).iter().map(|item| text(&item["type"])).collect()
}

/// A message: a role and a text behind it.
fn say(line: &str) -> Value {
    let (role, text) = line.split_once(' ').expect("a role and a text");
    json!({"role": role, "content": text})
}

/// The messages that the upstream is sent, likewise.
fn heard(sent: &Value) -> Vec<String> {
    let line = |it: &Value| format!("{} {}", text(&it["role"]), text(&it["content"][0]["text"]));
    list(&sent["input"]).iter().map(line).collect()
}

/// What stands for longer pieces of JSON in tables; the earlier may hold the later.
const PIECES: [(&str, &str); 12] = [
    ("TOOLS", r#""tools":[{FUNCTION},{CUSTOM},{"type":"web_search"}]"#),
    ("CALLING", r#""role":"assistant","tool_calls":[CALL]"#),
    ("CALL", r#"{"type":"function","id":"c1","function":{"name":"f"}}"#),
    ("OTHER", r#"{"type":"function","id":"c2","function":{"name":"g"}}"#),
    ("OUTPUT2", r#"{"role":"tool","tool_call_id":"c2","content":"x"}"#),
    ("OUTPUT", r#"{"role":"tool","tool_call_id":"c1","content":"x"}"#),
    ("FUNCTION", r#""type":"function","name":"f""#),
    ("CUSTOM", r#""type":"custom","name":"p""#),
    ("USER", r#"{"role":"user","content":"hi"}"#),
    ("CLOSED", r#"{TYPES,"required":["a"],"additionalProperties":false}"#),
    ("TYPES", r#""type":"object","properties":{"a":{"type":["string","null"]}}"#),
    ("NOTHING", r#"{"type":"object","properties":{}}"#),
];

/// The rows of a table: a dialect, what a request has besides, and what comes of it.
fn rows(table: &str) -> Vec<(Dialect, Value, String)> {
    let row = |line: &str| {
        let whole = PIECES.iter().fold(line.to_owned(), |it, (name, json)| it.replace(name, json));
        let (dialect, rest) = whole.split_once(' ').expect("a dialect");
        let (given, outcome) = rest.split_once(" => ").expect("an outcome");
        let dialect = if dialect == "chat" { Chat } else { Responses };
        (dialect, serde_json::from_str(given).expect(line), outcome.to_owned())
    };
    table.lines().map(str::trim).filter(|line| !line.is_empty()).map(row).collect()
}

/// Whether the upstream is sent what is the outcome of each row: a place and what stands there.
async fn check_sent(relay: &Relay, table: &str) {
    for (dialect, given, outcome) in rows(table) {
        let (place, expected) = outcome.split_once(' ').expect("a place");
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        let sent = sent(relay, dialect, &given).await;
        assert_eq!(sent.pointer(place).unwrap_or(&Value::Null), &expected, "{dialect:?} {given}");
    }
}

/// Whether each row is refused as its outcome says, and nothing sent.
async fn check_refused(relay: &Relay, table: &str) {
    relay.simulator.clear();
    for (dialect, given, outcome) in rows(table) {
        let refusal = refusal(relay, dialect, &given).await;
        assert_eq!(refusal.replace("invalid_request_error ", ""), outcome, "{given}");
    }
    assert_eq!(relay.upstream_requests().len(), 0, "{table}");
}

/// The answer to a request that says `text`, with `more` in it.
async fn answer(relay: &Relay, dialect: Dialect, text: &str, more: &Value) -> Reply {
    let reply = relay.post(dialect.path(), &with(dialect.body(text), more)).await;
    assert_eq!(reply.status, 200, "{more}: {reply:?}");
    reply
}

/// The same, and once more as a stream.
async fn answers(relay: &Relay, dialect: Dialect, text: &str, more: &Value) -> [Reply; 2] {
    let streamed = with(more.clone(), &json!({"stream": true}));
    [answer(relay, dialect, text, more).await, answer(relay, dialect, text, &streamed).await]
}

/// What is sent upstream of a request with `more` in it, which is then answered.
async fn sent(relay: &Relay, dialect: Dialect, more: &Value) -> Value {
    answer(relay, dialect, "hello", more).await;
    relay.last_upstream_body()
}

async fn refusal(relay: &Relay, dialect: Dialect, more: &Value) -> String {
    relay.post(dialect.path(), &with(dialect.body("hello"), more)).await.refusal().line()
}

fn is_whole(reply: &Reply) -> bool {
    reply.header("content-type") == Some("application/json")
}

/// The objects that an answer comes in: one, or those of a stream up to its end mark.
fn chunks(reply: &Reply) -> Vec<Value> {
    if is_whole(reply) {
        return vec![reply.json()];
    }
    let events = events(reply.text()).into_iter().filter(|event| event.data != "[DONE]");
    events.map(|event| serde_json::from_str(&event.data).expect("JSON")).collect()
}

/// The response object of an answer in the upstream's dialect; of a stream, that of its last event.
fn response(reply: &Reply) -> Value {
    let last = chunks(reply).pop().expect("an event");
    last.get("response").unwrap_or(&last).clone()
}

fn text_in(dialect: Dialect, reply: &Reply) -> String {
    match dialect {
        Responses => dialect.text(&response(reply)),
        Chat | Completions if is_whole(reply) => dialect.text(&reply.json()),
        Chat | Completions => dialect.told(reply.text()).text,
    }
}

/// All that a chat answer says in one member of its message or deltas.
fn said(reply: &Reply, member: &str) -> String {
    let choices = chunks(reply).into_iter().map(|chunk| chunk["choices"][0].clone());
    choices.map(|it| text(&it["message"][member]).to_owned() + text(&it["delta"][member])).collect()
}

/// Kind, name and input of each call of a chat answer, put together by index as SDKs do.
fn calls(reply: &Reply) -> Vec<[String; 3]> {
    let mut calls: Vec<[String; 3]> = Vec::new();
    for chunk in chunks(reply) {
        let choice = &chunk["choices"][0];
        let pieces = [&choice["message"], &choice["delta"]].map(|it| list(&it["tool_calls"]));
        for piece in pieces.concat() {
            if piece.get("id").is_some() {
                let kind = text(&piece["type"]);
                calls.push([kind, text(&piece[kind]["name"]), ""].map(str::to_owned));
            }
            let last = u64::try_from(calls.len()).expect("few") - 1;
            // A whole answer does not number them.
            let index = if is_whole(reply) { Some(last) } else { piece["index"].as_u64() };
            assert!(piece.get("id").is_none() || index == Some(last), "they are counted: {piece}");
            let known = calls.iter_mut().zip(0..).find(|(_, n)| index == Some(*n));
            let ([kind, _, input], _) = known.expect("a call begins with its id");
            let inside = &piece[&*kind];
            *input += &[&inside["arguments"], &inside["input"]].map(text).concat();
        }
    }
    calls
}

/// Whether a chat answer, whole and streamed, calls what is `expected`.
async fn check_calls(relay: &Relay, text: &str, more: &Value, expected: &[[&str; 3]]) {
    for reply in answers(relay, Chat, text, more).await {
        assert_eq!(calls(&reply), expected, "{text} {more}");
    }
}

/// A failure of the upstream's, and what is told: the refusal, how long to wait, whether to try.
type Case = (&'static str, &'static str, Option<u64>, Option<&'static str>);

/// Whether each is told so everywhere, after a single request to the upstream.
async fn check_failures(cases: &[Case]) {
    let relay = Relay::start().await;
    for (marker, expected, wait, retry) in cases {
        for (dialect, stream) in Dialect::ALL.into_iter().flat_map(|it| [(it, false), (it, true)]) {
            relay.forgive().await;
            relay.simulator.clear();
            relay.script(&[marker]);
            let body = with(dialect.body("hello"), &json!({"stream": stream}));
            let reply = relay.post(dialect.path(), &body).await;
            let told = (reply.refusal().line(), reply.header("x-should-retry"));
            assert_eq!(told, ((*expected).to_owned(), *retry), "{marker} on {dialect:?}");
            let told = reply.header("retry-after").map(|it| it.parse::<u64>().expect("seconds"));
            // A second may end between the upstream's word and ours.
            let is_near = told == *wait || told.map(|told| told + 1) == *wait;
            assert!(is_near, "{marker} on {dialect:?}: {told:?}");
            assert_eq!(relay.upstream_requests().len(), 1, "{marker} on {dialect:?}");
        }
        relay.forgive().await;
        assert_eq!(relay.say(Chat, "hello").await.status, 200, "nothing is held against it");
    }
}

/// The status and the body of a chat answer, and after how many seconds it ended.
async fn hear(relay: &InProcess, body: &Value) -> (u16, String, f64) {
    let began = Instant::now();
    let request = Request::post(Chat.path())
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    let (head, body) = relay.send(request.expect("a request")).await.into_parts();
    let bytes = body.collect().await.expect("unbroken").to_bytes();
    let body = String::from_utf8(bytes.to_vec()).expect("text");
    (head.status.as_u16(), body, began.elapsed().as_secs_f64())
}

/// The last event repeats nothing of the answer, which is lost to whoever reads that event alone.
#[tokio::test]
async fn an_answer_whose_last_event_is_empty_is_put_together() {
    let relay = Setup::new().world("completed_output", "empty").start().await;
    for quirk in ["end-turn", "no-deltas", "items-missing", "done-without-added", "no-index"] {
        for dialect in Dialect::ALL {
            let text = format!("[sim say: one two] [sim {quirk}]");
            for reply in answers(&relay, dialect, &text, &json!({})).await {
                assert_eq!(text_in(dialect, &reply), "one two", "{quirk} on {dialect:?}");
            }
        }
    }
}

/// A stream that simply stops passes for a whole answer.
#[tokio::test]
async fn a_stream_that_stops_anywhere_is_a_failure_and_no_end() {
    let relay = Relay::start().await;
    let rich = "[sim reasoning: 1] [sim deltas: 2]";
    let whole = relay.say_streamed(Responses, rich).await;
    for at in 1..Responses.told(whole.text()).n_events {
        let text = format!("{rich} [sim cut: {at}]");
        for dialect in Dialect::ALL {
            let expected = "502 server_error incomplete_stream";
            assert_eq!(relay.say(dialect, &text).await.refusal().line(), expected, "{text}");
            let streamed = relay.say_streamed(dialect, &text).await;
            if streamed.status == 200 {
                let told = dialect.told(streamed.text());
                assert!(!told.is_complete && told.finish.is_none(), "{text}: {told:?}");
                let code = told.failure.expect("a failure").code;
                assert_eq!(code.as_deref(), Some("incomplete_stream"), "{text} on {dialect:?}");
            } else {
                assert_eq!(streamed.refusal().line(), expected, "{text} on {dialect:?}");
            }
        }
    }
}

/// One parameter that the upstream does not know costs the whole request.
#[tokio::test]
async fn parameters_that_the_upstream_does_not_know_are_left_out_and_told() {
    let relay = Setup::new().world("max_output_tokens", "refused").start().await;
    let told = "temperature,top_p,user,metadata,prompt_cache_retention,max_tokens";
    let more = json!({
        "temperature": 1, "top_p": 1, "user": "u", "metadata": {"a": "b"}, "max_tokens": 16,
        "prompt_cache_retention": "24h", "stream_options": {"include_usage": true}, "stream": true,
    });
    // The first request finds out about the limit; the second knows.
    for (dialect, n_sent) in [(Chat, 2), (Completions, 3)] {
        let reply = answer(&relay, dialect, "[sim say: fine]", &more).await;
        assert_eq!((&*text_in(dialect, &reply), reply.header(IGNORED)), ("fine", Some(told)));
        assert_eq!(relay.upstream_requests().len(), n_sent);
        let sent = relay.last_upstream_body();
        for name in told.split(',').chain(["stream_options", "max_output_tokens"]) {
            assert_eq!(sent.get(name), None, "{name}");
        }
    }
}

/// A refresh token is spent by each of many requests, or offered again after it was spent.
#[tokio::test]
async fn a_refresh_token_is_spent_once_and_a_spent_one_is_offered_once() {
    for (is_spent, status, expected) in [(false, 200, (1, 0)), (true, 503, (2, 1))] {
        let relay = Setup::new().log_in().start_over_network().await;
        if is_spent {
            let login = fs::read_to_string(relay.path(AUTH_FILE)).expect("a login");
            let login: Value = serde_json::from_str(&login).expect("JSON");
            let token = &login["tokens"]["refresh_token"];
            let form = json!({"grant_type": "refresh_token", "refresh_token": token}).to_string();
            let request = Request::post("/oauth/token").header("content-type", "application/json");
            let request = request.body(Body::from(form)).expect("a request");
            let Ok(answer) = relay.simulator.router().oneshot(request).await;
            assert_eq!(answer.status(), 200, "another program is faster");
        }
        relay.simulator.expire_access_tokens();
        let mut replies = join_all((0..10).map(|_| relay.say(Chat, "hello"))).await;
        replies.push(relay.say(Chat, "hello").await);
        for reply in replies {
            let told = (reply.status, reply.header("x-should-retry"));
            assert_eq!(told, (status, is_spent.then_some("false")), "{reply:?}");
        }
        let counters = relay.simulator.counters();
        assert_eq!((counters.refreshes, counters.spent_refreshes), expected);
    }
}

/// An overload or a limit comes as an event inside a 200 and counts as a success.
#[tokio::test]
async fn a_failure_inside_a_good_status_is_told_as_what_it_is() {
    let spent = "429 rate_limit_error usage_limit_reached";
    check_failures(&[
        ("failed", "503 server_error server_is_overloaded", None, None),
        ("error-flat: slow_down", "503 server_error server_is_overloaded", None, None),
        ("error-then-failed", "503 server_error server_is_overloaded", None, None),
        ("failed: model_at_capacity", "503 server_error model_at_capacity", None, None),
        ("error: rate_limit_exceeded", "429 rate_limit_error rate_limit_exceeded", Some(2), None),
        ("failed: usage_limit_reached", spent, Some(60), Some("false")),
    ])
    .await;
}

/// Arguments come in pieces, then whole, then in their item, and are told twice or thrice.
#[tokio::test]
async fn arguments_that_arrive_in_several_forms_are_told_once() {
    const ARGUMENTS: &str = r#"{"a":"b"}"#;
    let relay = Relay::start().await;
    let more = json!({"tools": [{"type": "function", "name": "f"}]});
    let odd = ["end-turn", "filled", "arguments-only-done", "items-missing", "no-deltas"];
    for quirk in odd.into_iter().chain(["done-without-added", "no-index"]) {
        let text = format!("[sim call: f {ARGUMENTS}] [sim {quirk}]");
        check_calls(&relay, &text, &more, &[["function", "f", ARGUMENTS]]).await;
        for reply in answers(&relay, Responses, &text, &more).await {
            let output = &response(&reply)["output"];
            assert_eq!(kinds(output), ["function_call"], "{quirk}");
            assert_eq!(output[0]["arguments"], ARGUMENTS, "{quirk}");
        }
    }
}

/// Calls at the same time all have index 0 or none, and their arguments run into one another.
#[tokio::test]
async fn calls_at_the_same_time_keep_to_themselves() {
    let relay = Relay::start().await;
    let cities = [("f", "Rome"), ("g", "Oslo"), ("h", "Bern")];
    let tools = cities.map(|(name, city)| {
        json!({"type": "function", "name": name, "parameters": {"const": {"city": city}}})
    });
    let arguments = cities.map(|(_, city)| json!({"city": city}).to_string());
    let expected = [0, 1, 2].map(|n| ["function", cities[n].0, arguments[n].as_str()]);
    for quirk in ["end-turn", "arguments-only-done", "done-without-added", "no-index"] {
        let text = format!("[sim calls: 3] [sim {quirk}]");
        check_calls(&relay, &text, &json!({"tools": tools}), &expected).await;
    }
}

/// An answer ends for the wrong reason, or for two.
#[tokio::test]
async fn an_answer_ends_once_and_for_the_right_reason() {
    let relay = Relay::start().await;
    let more = json!({"tools": [{"type": "function", "name": "f"}]});
    for (text, expected) in [
        ("[sim say: hi]", "stop"),
        ("[sim refusal]", "stop"),
        ("[sim search]", "stop"),
        ("[sim commentary] [sim calls: 2]", "tool_calls"),
        ("[sim say: hi] [sim incomplete]", "length"),
        ("[sim call: f] [sim incomplete]", "length"),
        ("[sim say: hi] [sim incomplete: content_filter]", "content_filter"),
    ] {
        for reply in answers(&relay, Chat, text, &more).await {
            let chunks = chunks(&reply);
            let reasons = chunks.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]);
            assert_eq!(reasons.filter_map(Value::as_str).collect::<Vec<_>>(), [expected], "{text}");
        }
    }
}

/// Usage comes unasked, or under other names, or in a chunk without `choices`.
#[tokio::test]
async fn usage_is_told_where_it_is_asked_for_and_by_its_right_names() {
    let relay = Relay::start().await;
    for (dialect, quirk) in [(Chat, "end-turn"), (Chat, "details-null"), (Completions, "end-turn")]
    {
        let text = format!("[sim say: fine] [sim {quirk}]");
        let found = |chunk: &Value| (list(&chunk["choices"]).len(), chunk.get("usage").cloned());
        let [whole, plain] = answers(&relay, dialect, &text, &json!({})).await;
        let usage = whole.json()["usage"].clone();
        let n_asked = usage["prompt_tokens"].as_u64().expect("a number");
        let expected = json!({
            "prompt_tokens": n_asked, "completion_tokens": 1, "total_tokens": n_asked + 1,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        });
        assert_eq!(usage, expected, "{quirk}");
        assert!(chunks(&plain).iter().all(|chunk| found(chunk) == (1, None)), "{plain:?}");
        let more = json!({"stream": true, "stream_options": {"include_usage": true}});
        let asked = answer(&relay, dialect, &text, &more).await;
        let mut chunks = chunks(&asked);
        assert_eq!(found(&chunks.pop().expect("a chunk")), (0, Some(expected)), "{quirk}");
        assert!(chunks.iter().all(|chunk| found(chunk) == (1, Some(Value::Null))), "{asked:?}");
    }
}

/// What one account sealed is of no use to another, and the dialogue dies with its login.
#[tokio::test]
async fn thoughts_that_another_account_sealed_are_left_out_and_told() {
    let relay = Setup::new().log_in().start_over_network().await;
    let more = json!({"include": ["reasoning.encrypted_content"]});
    let first = answer(&relay, Responses, "[sim reasoning: 1] [sim say: Yes.]", &more).await;
    let output = &response(&first)["output"];
    let more =
        json!({"input": [say("user Hi."), output[0], output[1], say("user [sim say: Bye.]")]});
    for (account, told, expected) in [
        ("first", None, &["message", "reasoning", "message", "message"][..]),
        ("another", Some("input[1]"), &["message", "message", "message"]),
    ] {
        write(&relay.path(AUTH_FILE), &relay.simulator.stored_login_for(account));
        let reply = answer(&relay, Responses, "", &more).await;
        assert_eq!((text_in(Responses, &reply).as_str(), reply.header(IGNORED)), ("Bye.", told));
        assert_eq!(kinds(&relay.last_upstream_body()["input"]), expected, "{account}");
    }
}

/// A dialogue has another name each turn, or all have the same, and nothing is ever cached.
#[tokio::test]
async fn a_dialogue_keeps_its_name_and_shares_it_with_none() {
    let relay = Relay::start().await;
    for first in ["user Hello.", "user Hello!"] {
        let messages = [say(first), say("assistant Hi."), say("user Go on.")];
        for n_said in [1, 3] {
            sent(&relay, Chat, &json!({"messages": messages[..n_said]})).await;
        }
    }
    let all = relay.upstream_requests();
    let names: Vec<_> = all.iter().map(|seen| seen.header("session-id").expect("one")).collect();
    assert!(names[0] == names[1] && names[2] == names[3] && names[0] != names[2], "{names:?}");
    let keys = all.iter().map(|seen| text(&seen.body["prompt_cache_key"]));
    assert_eq!(keys.collect::<Vec<_>>(), names);
}

/// An upstream that hangs, with comments or without, holds its client for ever.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_hangs_is_given_up_wherever_it_hangs() {
    for (limit, how) in [
        ("HEADERS", "[sim headers-pause: 900000]"),
        ("FIRST_EVENT", "[sim stall: 0]"),
        ("FIRST_EVENT", "[sim stall: 0] [sim hum: 2000]"),
        ("SILENCE", "[sim deltas: 2] [sim stall-after-text]"),
        ("SILENCE", "[sim deltas: 2] [sim stall-after-text] [sim hum: 2000]"),
        ("TOTAL", "[sim deltas: 99] [sim slow: 2000]"),
    ] {
        let name = format!("AIRELAYS_{limit}_TIMEOUT_SECONDS");
        let relay = Setup::new().set(&name, "9").in_process().await;
        let (status, body, seconds) = hear(&relay, &Chat.body(how)).await;
        assert_eq!((status, body.contains("upstream_timeout")), (504, true), "{how}: {body}");
        assert!((seconds - 9.0).abs() < 0.01, "{how}: given up after {seconds} seconds");
        assert_eq!(relay.simulator.counters().open_streams, 0, "{how}");
    }
}

/// Something on the way closes a stream in which nothing happens for a while.
#[tokio::test(start_paused = true)]
async fn silence_is_bridged_by_comments_between_the_events() {
    for (every, how, n_expected) in [
        ("15", "pause: 100000", 6..=6),
        ("0", "pause: 100000", 0..=0),
        // Every event takes longer than anybody may be silent.
        ("15", "chunks: 50] [sim drip: 20000", 100..=200),
    ] {
        let setup = Setup::new().set("AIRELAYS_COMMIT_AFTER_SECONDS", "0");
        let relay = setup.set("AIRELAYS_KEEP_ALIVE_SECONDS", every).in_process().await;
        let text = format!("[sim deltas: 2] [sim {how}]");
        let (_, body, _) = hear(&relay, &Chat.streamed(&text)).await;
        let n_comments = body.split("\n\n").filter(|block| *block == ": keep-alive").count();
        assert!(n_expected.contains(&n_comments), "{how}: {n_comments}");
        assert_eq!(body.matches("keep-alive").count(), n_comments, "none is inside an event");
        let told = Chat.told(&body);
        assert!(told.is_complete && told.text == "word1 word2 ", "{told:?}");
    }
}

/// Context is lost without a word where it is only referred to, because nothing is stored.
#[tokio::test]
async fn context_that_is_referred_to_is_refused_and_context_that_is_sent_has_no_ids() {
    let relay = Relay::start().await;
    let table = r#"
        responses {"previous_response_id":"resp_1"} => 422 unsupported_parameter previous_response_id
        chat {"previous_response_id":"resp_1"} => 422 unsupported_parameter previous_response_id
        responses {"input":[{"type":"item_reference","id":"msg_1"}]} => 400 invalid_value input[0]
    "#;
    check_refused(&relay, table).await;
    let thought = json!({"type": "reasoning", "id": "rs_1", "summary": []});
    let named = with(say("assistant Yes."), &json!({"id": "msg_2", "status": "completed"}));
    let more = json!({"input": [say("user Hi."), thought, named, say("user Bye.")]});
    let reply = answer(&relay, Responses, "", &more).await;
    assert_eq!(reply.header(IGNORED), Some("input[1]"));
    let sent = relay.last_upstream_body();
    assert_eq!(heard(&sent), ["user Hi.", "assistant Yes.", "user Bye."]);
    assert!(list(&sent["input"]).iter().all(|item| item.get("id").is_none()), "{sent}");
}

/// Whether a schema is strict is guessed, and then it is refused.
#[tokio::test]
async fn a_schema_is_as_strict_as_its_document_says() {
    // What a Responses client leaves unsaid stays so where the upstream's reading is the same.
    let table = r#"
        chat {"tools":[{FUNCTION,"parameters":{TYPES}}]} => /tools/0/strict false
        chat {"tools":[{FUNCTION,"parameters":CLOSED}]} => /tools/0/strict false
        chat {"tools":[{FUNCTION,"parameters":CLOSED,"strict":true}]} => /tools/0/strict true
        responses {"tools":[{FUNCTION,"parameters":{TYPES}}]} => /tools/0/strict false
        responses {"tools":[{FUNCTION,"parameters":CLOSED}]} => /tools/0/strict null
        responses {"tools":[{FUNCTION,"parameters":CLOSED,"strict":false}]} => /tools/0/strict false
        responses {"tools":[{FUNCTION,"parameters":CLOSED,"strict":true}]} => /tools/0/strict true
        chat {"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{TYPES}}}} => /text/format/strict false
        chat {"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{TYPES},"strict":true}}} => /text/format/schema CLOSED
        responses {"text":{"format":{"type":"json_schema","name":"n","schema":{TYPES}}}} => /text/format/schema {TYPES}
        responses {"text":{"format":{"type":"json_schema","name":"n","schema":{TYPES},"strict":true}}} => /text/format/schema CLOSED
    "#;
    check_sent(&Relay::start().await, table).await;
}

/// A tool is refused for a schema that has no properties, or no type, or is none.
#[tokio::test]
async fn parameters_are_an_object_whatever_is_left_out() {
    let table = r#"
        chat {"tools":[{FUNCTION}]} => /tools/0/parameters NOTHING
        chat {"tools":[{"type":"function","function":{"name":"f","parameters":null}}]} => /tools/0/parameters NOTHING
        chat {"tools":[{FUNCTION,"parameters":{}}]} => /tools/0/parameters NOTHING
        responses {"tools":[{FUNCTION,"parameters":{"$schema":"x","type":"object"}}]} => /tools/0/parameters NOTHING
        responses {"tools":[{FUNCTION,"parameters":{"type":null,"properties":null}}]} => /tools/0/parameters NOTHING
    "#;
    check_sent(&Relay::start().await, table).await;
}

/// Names with dots or of any length are refused, or come back as somebody else's.
#[tokio::test]
async fn a_tool_comes_back_by_the_name_that_its_client_gave_it() {
    let relay = Relay::start().await;
    let long = "x".repeat(65);
    let names = ["mcp.server:read file", "größe", long.as_str(), "a.b", "a:b", "a_b_2e7336dc"];
    let tools = names.map(|name| json!({"type": "function", "name": name}));
    for (name, tool) in names.iter().zip(&tools) {
        let call = json!({"id": "c1", "function": {"name": name}});
        let called = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        let output = json!({"role": "tool", "tool_call_id": "c1", "content": "x"});
        let messages = json!([say("user one"), called, output, say("user two")]);
        let more = json!({"messages": messages, "tools": tools, "tool_choice": tool});
        check_calls(&relay, "", &more, &[["function", name, "{}"]]).await;
        let sent = relay.last_upstream_body();
        let theirs = list(&sent["tools"]).iter().map(|tool| text(&tool["name"]));
        let theirs: BTreeSet<_> = theirs.collect();
        assert_eq!(theirs.len(), names.len(), "no two are one: {theirs:?}");
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        assert!(theirs.iter().all(|name| name.len() <= 64 && name.bytes().all(fits)));
        assert_eq!(sent["input"][1]["name"], sent["tool_choice"]["name"], "in earlier turns");
        let more = json!({"tools": [tool], "tool_choice": tool});
        for reply in answers(&relay, Responses, "hello", &more).await {
            let response = response(&reply);
            let places = [&response["output"][0], &response["tools"][0], &response["tool_choice"]];
            assert_eq!(places.map(|place| text(&place["name"])), [*name; 3], "also passed on");
            let theirs = relay.last_upstream_body()["tools"][0]["name"].clone();
            assert_eq!(reply.text().contains(text(&theirs)), theirs == *name, "{reply:?}");
        }
    }
}

/// The input of a tool with a grammar is lost on its way.
#[tokio::test]
async fn a_tool_with_a_grammar_gets_its_input() {
    const INPUT: &str = "hello from the simulator";
    let relay = Relay::start().await;
    let table = r#"
        chat {"tools":[{"type":"custom","custom":{"name":"p","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"x"}}}}]} => /tools/0 {CUSTOM,"format":{"type":"grammar","syntax":"lark","definition":"x"}}
        chat {"messages":[USER,{"role":"assistant","tool_calls":[{"type":"custom","id":"c1","custom":{"name":"p","input":"y"}}]},OUTPUT]} => /input/1 {"type":"custom_tool_call","name":"p","input":"y","call_id":"c1"}
        chat {"messages":[USER,{"role":"assistant","tool_calls":[{"type":"custom","id":"c1","custom":{"name":"p","input":"y"}}]},OUTPUT]} => /input/2 {"type":"custom_tool_call_output","call_id":"c1","output":"x"}
    "#;
    check_sent(&relay, table).await;
    let more = json!({"tools": [{"type": "custom", "name": "p"}]});
    for quirk in ["end-turn", "arguments-only-done", "done-without-added", "no-deltas"] {
        let text = format!("[sim custom: p] [sim {quirk}]");
        check_calls(&relay, &text, &more, &[["custom", "p", INPUT]]).await;
        for reply in answers(&relay, Responses, &text, &more).await {
            assert_eq!(response(&reply)["output"][0]["input"], INPUT, "{quirk}");
        }
    }
}

/// A choice of tools arrives as another one.
#[tokio::test]
async fn a_choice_of_tools_means_the_same_upstream() {
    let relay = Setup::new().world("web_search_choice", "accepted").start().await;
    let table = r#"
        chat {TOOLS,"tool_choice":"none"} => /tool_choice "none"
        chat {TOOLS,"tool_choice":"required"} => /tool_choice "required"
        chat {TOOLS,"tool_choice":{"type":"function","function":{"name":"f"}}} => /tool_choice {FUNCTION}
        chat {TOOLS,"tool_choice":{"type":"custom","custom":{"name":"p"}}} => /tool_choice {CUSTOM}
        chat {TOOLS,"tool_choice":{"type":"web_search_preview"}} => /tool_choice {"type":"web_search"}
        chat {TOOLS,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{CUSTOM}]}}} => /tool_choice {"type":"allowed_tools","mode":"required","tools":[{CUSTOM}]}
        responses {TOOLS,"tool_choice":{CUSTOM}} => /tool_choice {CUSTOM}
        responses {TOOLS,"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{FUNCTION}]}} => /tool_choice {"type":"allowed_tools","mode":"auto","tools":[{FUNCTION}]}
    "#;
    check_sent(&relay, table).await;
    let tools = json!([{"type": "function", "name": "f"}, {"type": "custom", "name": "p"}]);
    let more = |choice: &Value| json!({"tools": tools, "tool_choice": choice});
    check_calls(&relay, "hello", &more(&json!("none")), &[]).await;
    check_calls(&relay, "hello", &more(&json!("required")), &[["function", "f", "{}"]]).await;
    let called = ["custom", "p", "hello from the simulator"];
    check_calls(&relay, "hello", &more(&tools[1]), &[called]).await;
}

/// Calls and answers that do not match cost a request, and those that do are mixed up.
#[tokio::test]
async fn calls_and_answers_match_before_anything_is_sent() {
    let relay = Relay::start().await;
    let table = r#"
        chat {"messages":[USER,{CALLING},USER]} => 400 invalid_value messages[1].tool_calls[0]
        chat {"messages":[USER,OUTPUT]} => 400 invalid_value messages[1]
        chat {"messages":[OUTPUT,{CALLING}]} => 400 invalid_value messages[0]
        chat {"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f"}}]},OUTPUT]} => 400 missing_required_parameter messages[0].tool_calls[0].id
        chat {"messages":[{"role":"assistant","tool_calls":[{"id":"c1","function":{"name":""}}]},OUTPUT]} => 400 empty_string messages[0].tool_calls[0].function.name
    "#;
    check_refused(&relay, table).await;
    let table = r#"
        chat {"messages":[{"role":"assistant","tool_calls":[CALL,OTHER]},OUTPUT2,OUTPUT]} => /input/2/call_id "c2"
        chat {"messages":[{CALLING},OUTPUT,OUTPUT]} => /input/2/call_id "c1"
        chat {"messages":[{CALLING},OUTPUT,{CALLING},OUTPUT]} => /input/3/call_id "c1"
    "#;
    check_sent(&relay, table).await;
}

/// A message that only calls becomes an empty one besides, and parts the call from its answer.
#[tokio::test]
async fn a_message_that_only_calls_says_nothing() {
    let table = r#"
        chat {"messages":[USER,{CALLING,"content":null},OUTPUT]} => /input/1/type "function_call"
        chat {"messages":[USER,{CALLING,"content":""},OUTPUT]} => /input/1/type "function_call"
        chat {"messages":[USER,{CALLING,"content":[]},OUTPUT]} => /input/1/type "function_call"
    "#;
    check_sent(&Relay::start().await, table).await;
}

/// What clients note in messages for themselves is sent, and the upstream refuses it.
#[tokio::test]
async fn what_messages_have_besides_is_left_out_and_told() {
    let relay = Relay::start().await;
    let part = json!({"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}});
    let message = json!({"role": "user", "name": "bob", "content": [part], "mark": 1});
    for (dialect, list) in [(Chat, "messages"), (Responses, "input")] {
        let reply = answer(&relay, dialect, "", &json!({list: [message]})).await;
        let told = ["name", "content[0].cache_control", "mark"];
        let told = told.map(|place| format!("{list}[0].{place}")).join(",");
        assert_eq!(reply.header(IGNORED), Some(told.as_str()));
        let content = json!([{"type": "input_text", "text": "hi"}]);
        let expected = json!([{"type": "message", "role": "user", "content": content}]);
        assert_eq!(relay.last_upstream_body()["input"], expected);
    }
}

/// A role is refused, or what the system says is moved away from its place.
#[tokio::test]
async fn every_mix_of_roles_keeps_its_order() {
    let relay = Relay::start().await;
    let mixed = ["system A", "developer B", "user C", "system D", "assistant E", "user F"].map(say);
    let all = ["developer A", "developer B", "user C", "developer D", "assistant E", "user F"];
    for (dialect, more, instructions, expected) in [
        (Chat, json!({"messages": mixed}), "A\n\nB", &all[2..]),
        (Chat, json!({"messages": mixed[..1]}), ".", &all[..1]),
        (Chat, json!({"messages": mixed[2..3]}), ".", &all[2..3]),
        (Responses, json!({"input": mixed, "instructions": null}), ".", &all),
        (Responses, json!({"input": mixed, "instructions": "Z"}), "Z", &all),
    ] {
        let sent = sent(&relay, dialect, &more).await;
        assert_eq!(heard(&sent), expected, "{more}");
        assert_eq!(sent["instructions"], instructions, "{more}");
    }
}

/// JSON is asked for in the system's message, which becomes instructions, where it does not count.
#[tokio::test]
async fn a_system_that_asks_for_json_is_heard() {
    let relay = Relay::start().await;
    let table = r#"chat {"response_format":{"type":"json_object"}} => 400 invalid_value messages"#;
    check_refused(&relay, table).await;
    let messages = json!([say("system Answer in JSON."), say("user hi")]);
    let more = json!({"response_format": {"type": "json_object"}, "messages": messages});
    for reply in answers(&relay, Chat, "", &more).await {
        assert_eq!(said(&reply, "content"), r#"{"ok":true}"#);
        assert_eq!(heard(&relay.last_upstream_body()), ["developer Answer in JSON.", "user hi"]);
    }
}

/// A shape is asked for, and the answer has another or none.
#[tokio::test]
async fn a_shape_that_is_asked_for_is_given_or_refused() {
    let relay = Relay::start().await;
    let inner = json!({"name": "n", "schema": {"const": {"a": 1}}});
    let flat = json!({"text": {"format": with(inner.clone(), &json!({"type": "json_schema"}))}});
    let nested = json!({"response_format": {"type": "json_schema", "json_schema": inner}});
    for (dialect, more) in [(Chat, &nested), (Responses, &nested), (Responses, &flat)] {
        for reply in answers(&relay, dialect, "hello", more).await {
            assert_eq!(text_in(dialect, &reply), r#"{"a":1}"#, "{more}");
        }
    }
    let table =
        r#"chat {"response_format":{"type":"yaml"}} => 400 invalid_value response_format.type"#;
    check_refused(&relay, table).await;
    relay.script(&["refuse: text.format"]);
    let refused = refusal(&relay, Chat, &nested).await;
    assert_eq!(refused, "400 invalid_request_error - response_format");
    assert_eq!(relay.upstream_requests().len(), 1, "it is not asked again without");
    let refused = refusal(&relay, Completions, &nested).await;
    assert_eq!(refused, "422 invalid_request_error unsupported_parameter response_format");
}

/// The limit is used up by thinking, and the answer looks like none.
#[tokio::test]
async fn an_answer_of_thoughts_alone_shows_them_and_why_it_ends() {
    let relay = Relay::start().await;
    for (ending, finish) in [("incomplete", "length"), ("end-turn", "stop")] {
        let text = format!("[sim reasoning: 1] [sim say:] [sim {ending}]");
        for reply in answers(&relay, Chat, &text, &json!({})).await {
            let last = chunks(&reply).pop().expect("a chunk");
            assert_eq!(last["choices"][0]["finish_reason"], finish);
            let found = ["reasoning_content", "content"].map(|member| said(&reply, member));
            assert_eq!(found, [THOUGHT, ""]);
        }
    }
}

/// Thoughts are not shown to who asks for no effort or in a model's name, or in many blocks.
#[tokio::test]
async fn thoughts_are_shown_in_one_block_however_an_effort_is_asked_for() {
    let relay = Relay::start().await;
    let think = "[sim reasoning: 1] [sim reasoning: 1] [sim say: hi]";
    let thoughts = format!("{THOUGHT}\n\n{THOUGHT}");
    for (more, effort) in [
        (json!({}), json!({})),
        (json!({"model": format!("{MODEL}(high)")}), json!({"effort": "high"})),
        (json!({"model": format!("{MODEL}-high")}), json!({"effort": "high"})),
        (json!({"reasoning": {"effort": "low"}}), json!({"effort": "low"})),
    ] {
        for reply in answers(&relay, Chat, think, &more).await {
            let found = ["reasoning_content", "content"].map(|member| said(&reply, member));
            assert_eq!(found, [thoughts.as_str(), "hi"], "{more}");
            let asked = with(effort.clone(), &json!({"summary": "auto"}));
            assert_eq!(relay.last_upstream_body()["reasoning"], asked, "{more}");
        }
    }
    let relay = Setup::new().set("AIRELAYS_CHAT_REASONING", "think").start().await;
    for reply in answers(&relay, Chat, think, &json!({})).await {
        assert_eq!(said(&reply, "content"), format!("<think>\n{thoughts}\n</think>\n\nhi"));
    }
}

/// A search that the upstream makes itself is told as a call that the client has to answer.
#[tokio::test]
async fn a_search_of_the_upstreams_is_no_call_and_keeps_its_sources() {
    const CITED: &str = r#""annotations":[{"type":"url_citation","url_citation":{"start_index":30,"end_index":43,"url":"https://example.com/simulator","title":"The simulator"}}]"#;
    let relay = Relay::start().await;
    let more = json!({"web_search_options": {}});
    check_calls(&relay, "[sim search]", &more, &[]).await;
    for reply in answers(&relay, Chat, "[sim search]", &more).await {
        assert_eq!(said(&reply, "content"), "The simulator answers offline (example.com).");
        assert_eq!(reply.text().matches(CITED).count(), 1, "{reply:?}");
    }
    let whole = relay.say(Responses, "[sim search]").await.json();
    assert_eq!(kinds(&whole["output"]), ["web_search_call", "web_search_call", "message"]);
}

/// A client's mistake is tried again, a broken connection or an edge's page passes for one, and
/// nobody knows whether or when to try again.
#[tokio::test]
async fn a_failure_says_whose_it_is_and_when_to_try_again() {
    let spent = "429 rate_limit_error usage_limit_reached";
    check_failures(&[
        ("status: 400", "400 invalid_request_error -", None, None),
        // The upstream says this in a `detail`, in which no SDK looks for an error.
        ("refuse: temperature", "400 invalid_request_error - temperature", None, None),
        ("error: cyber_policy", "400 invalid_request_error cyber_policy", None, None),
        ("reset", "502 server_error incomplete_stream", None, None),
        ("status: 520", "502 server_error upstream_error", None, None),
        ("html: 429", "502 server_error upstream_challenge", None, None),
        ("overloaded", "503 server_error server_is_overloaded", None, None),
        ("rate-limit", "429 rate_limit_error rate_limit_exceeded", Some(2), None),
        ("limit: 120", spent, Some(120), Some("false")),
    ])
    .await;
}

/// A browser asks first, with the headers of its SDK, and is turned away.
#[tokio::test]
async fn a_page_that_is_listed_may_send_the_headers_it_asks_for() {
    const ASKED: &str = "authorization,content-type,x-stainless-lang,x-stainless-retry-count";
    let own = "https://app.example";
    let relay = Setup::new().set("AIRELAYS_ALLOWED_ORIGINS", own).start().await;
    let preflight = |origin: &str| {
        let ask = Ask::new("OPTIONS", Chat.path()).header("origin", origin);
        let ask = ask.header("access-control-request-method", "POST");
        ask.header("access-control-request-headers", ASKED)
    };
    let granted = relay.open(&preflight(own)).await;
    let told = ["origin", "methods", "headers"]
        .map(|name| granted.headers.get(format!("access-control-allow-{name}")))
        .map(|value| value.and_then(|value| value.to_str().ok()));
    assert_eq!((granted.status, told), (204, [Some(own), Some("POST"), Some(ASKED)]));
    let other = relay.ask(&preflight("https://other.example")).await;
    assert_eq!(other.refusal().line(), "403 permission_error origin_not_allowed");
    assert_eq!(other.header("access-control-allow-origin"), None);
}

/// Events end where the network cut them, at odd line ends, or inside a letter.
#[tokio::test]
async fn an_answer_does_not_depend_on_how_its_bytes_arrive() {
    let relay = Relay::start().await;
    let odd = ["crlf", "cr", "multi-data", "comments", "no-event-lines", "unknown-events"];
    let cut = ["chopped", "chunks: 7", "crlf] [sim chopped", "cr] [sim chunks: 3"];
    for dialect in Dialect::ALL {
        let plain = text_in(dialect, &relay.say(dialect, "[sim separators]").await);
        assert!(plain.contains('\u{2028}') && plain.contains('🦀'), "{plain:?}");
        for shape in odd.iter().chain(&cut) {
            let text = format!("[sim separators] [sim {shape}]");
            let [whole, streamed] = answers(&relay, dialect, &text, &json!({})).await;
            assert_eq!(text_in(dialect, &whole), plain, "{shape}");
            // In the upstream's own dialect they are passed on as they came.
            assert!(dialect == Responses || text_in(dialect, &streamed) == plain, "{shape}");
        }
    }
    let large = relay.say(Chat, "[sim big: 1000000] [sim chunks: 1000]").await;
    assert_eq!(said(&large, "content").len(), 1_000_000);
}

/// The Codex client misses `models`, and others miss what every model has.
#[tokio::test]
async fn one_list_of_models_serves_everybody() {
    let relay = Relay::start().await;
    let both = relay.get("/v1/models?client_version=0.200.0").await.json();
    let [data, models] = ["data", "models"].map(|name| list(&both[name]));
    assert!(data.iter().any(|model| model["id"] == MODEL) && data.len() == models.len() + 1);
    assert_eq!(data.last().expect("what no catalogue has")["id"], "gpt-image-2");
    for (model, entry) in data.iter().zip(models) {
        assert_eq!((&model["id"], text(&model["object"])), (&entry["slug"], "model"));
        assert!(model["created"].is_i64() && model["owned_by"].is_string(), "{model}");
        assert!(entry["context_window"].is_u64() && entry["priority"].is_u64(), "{entry}");
    }
    let plain = relay.get("/v1/models").await.json();
    assert_eq!(plain, json!({"object": "list", "data": data}));
}

/// A body is refused for being compressed or for its size, or unfolds for ever.
#[tokio::test]
async fn bodies_may_be_compressed_and_hold_pictures_up_to_a_limit() {
    let setup = Setup::new().set("AIRELAYS_MAX_BODY_BYTES", "9500000");
    let relay = setup.set("AIRELAYS_LOG_ENABLED", "false").start().await;
    let body = Chat.body("[sim say: fine]").to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(body.as_bytes()).expect("written");
    let bomb = compress_to_vec(&vec![b' '; 9_500_001][..], CompressionLevel::Fastest);
    for (encoding, bytes, status) in [
        ("gzip", gzip.finish().expect("finished"), 200),
        ("zstd", compress_to_vec(body.as_bytes(), CompressionLevel::Fastest), 200),
        ("zstd", bomb, 413),
    ] {
        let ask = Ask::post(Chat.path(), bytes).header("content-encoding", encoding);
        assert_eq!(relay.ask(&ask.bearer(TOKEN)).await.status, status, "{encoding}");
    }
    // With an ending of its own, because no context window is so large.
    relay.script(&["[sim say: seen] [sim close-late]"]);
    let url = format!("data:image/png;base64,iVBORw0KGgo{}", "A".repeat(9_000_001));
    let content = json!([{"type": "image_url", "image_url": {"url": url}}]);
    let more = json!({"messages": [{"role": "user", "content": content}]});
    let sent = sent(&relay, Chat, &more).await;
    assert!(sent["input"][0]["content"][0]["image_url"] == url, "the picture is whole");
}

/// A client goes, and its answer goes on, its place stays taken, or another gets the rest.
#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let relay = Setup::new().set("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "1").start().await;
    let counters = || relay.simulator.counters();
    let moments = ["headers-pause: 600000", "stall", "deltas: 3] [sim stall-after-text"];
    let moments = moments.into_iter().flat_map(|how| Dialect::ALL.map(|dialect| (how, dialect)));
    for ((how, dialect), n_left) in moments.zip(1..) {
        let body = dialect.streamed(&format!("[sim {how}]")).to_string();
        let mut connection = Connection::open(relay.address).await;
        connection.send(&Ask::post(dialect.path(), body).bearer(TOKEN).bytes()).await;
        eventually("it works", || counters().open_streams == 1).await;
        drop(connection);
        eventually("it stops", || counters().cancelled == n_left).await;
        relay.is_idle().await;
        assert_eq!(counters().open_streams, 0, "{how}");
        let next = relay.say_streamed(dialect, "[sim say: next]").await;
        assert_eq!(text_in(dialect, &next), "next", "{how}");
        relay.is_idle().await;
    }
}

/// All answers have one id, or each chunk its own; times have a fraction; each chunk has a role.
#[tokio::test]
async fn an_answer_says_once_and_rightly_what_it_is() {
    let relay = Relay::start().await;
    let mut known = BTreeSet::new();
    for dialect in [Responses, Responses, Chat, Chat, Completions, Completions] {
        for reply in answers(&relay, dialect, "hello", &json!({})).await {
            let mut ids = BTreeSet::new();
            let mut n_roles = 0;
            for chunk in chunks(&reply) {
                n_roles += usize::from(!chunk["choices"][0]["delta"]["role"].is_null());
                // Events in between belong to an item and have neither id nor time.
                let head = chunk.get("response").unwrap_or(&chunk);
                let Some(id) = head.get("id") else { continue };
                ids.insert(id.to_string());
                assert!(head["created"].is_i64() || head["created_at"].is_i64(), "{head}");
            }
            assert_eq!(n_roles, usize::from(dialect == Chat && !is_whole(&reply)));
            assert_eq!(ids.len(), 1, "{ids:?}");
            known.extend(ids);
        }
    }
    assert_eq!(known.len(), 12, "{known:?}");
}

/// What is told in a header is too long for it, or breaks it.
#[tokio::test]
async fn what_is_told_fits_into_a_header() {
    let relay = Relay::start().await;
    let reply = answer(&relay, Chat, "hello", &json!({"näme, of\r\n tomorrow": 1})).await;
    assert_eq!(reply.header(IGNORED), Some("n%C3%A4me%2C%20of%0D%0A%20tomorrow"));
    let mut many = json!({});
    for n in 0..1000 {
        many[format!("parameter_of_tomorrow_{n}")] = json!(n);
    }
    let reply = answer(&relay, Chat, "hello", &many).await;
    let told = reply.header(IGNORED).expect("told");
    assert!(told.starts_with("parameter_of_tomorrow_0,") && told.ends_with(",..."), "{told}");
    assert!(told.len() < 2100, "{}", told.len());
}

/// What is no number is read as one.
#[tokio::test]
async fn a_body_with_what_is_no_number_is_no_json() {
    let relay = Relay::start().await;
    for (dialect, value) in Dialect::ALL.into_iter().zip(["NaN", "Infinity", "-Infinity"]) {
        let body = format!(r#"{{"top_p":{value},{}"#, &dialect.body("hello").to_string()[1..]);
        let refusal = relay.ask(&Ask::post(dialect.path(), body).bearer(TOKEN)).await.refusal();
        assert_eq!(refusal.line(), "400 invalid_request_error invalid_json", "{value}");
    }
    assert_eq!(relay.upstream_requests().len(), 0);
}

/// A model is not found because its name is written in capitals.
#[tokio::test]
async fn a_model_is_found_however_its_name_is_written() {
    let relay = Relay::start().await;
    for name in [MODEL, "GPT-5.4-Mini", "GPT-5.4-MINI"] {
        for dialect in Dialect::ALL {
            let told = answer(&relay, dialect, "hello", &json!({"model": name})).await.json();
            let sent = relay.last_upstream_body();
            assert_eq!([&told["model"], &sent["model"]], [MODEL, MODEL], "{name}");
        }
        assert_eq!(relay.get(&format!("/v1/models/{name}")).await.json()["id"], MODEL);
    }
}

/// A plan without pictures gets an answer without one, and no word about it.
#[tokio::test]
async fn a_tool_that_a_plan_does_not_have_is_refused() {
    let relay = Setup::new().log_in_as("free").start_over_network().await;
    let more = json!({"tools": [{"type": "image_generation"}]});
    let expected = "400 invalid_request_error unsupported_value tools";
    assert_eq!(refusal(&relay, Responses, &more).await, expected);
    let expected = "422 invalid_request_error unsupported_parameter tools[0].type";
    assert_eq!(refusal(&relay, Chat, &more).await, expected);
    assert_eq!(relay.upstream_requests().len(), 1);
}
