//! The traffic log as its owner finds it: which records there are and what they say, how the files
//! lie on the disk, and that nobody's secret is in any of them.

use std::{fs, os::unix::fs::PermissionsExt};

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::harness::{
    MODEL, Relay, Setup, TOKEN,
    dialect::Dialect,
    http::Ask,
    log::{files, records},
};

/// One line per record: its phase and its other members. Lines of a stream are one together.
fn shape(records: &[Value]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for record in records {
        let record = record.as_object().expect("an object");
        let names: Vec<_> = record.keys().map(String::as_str).collect();
        assert_eq!(names[..2], ["request_id", "phase"]);
        assert_eq!(names.last(), Some(&"logged_at"));
        let phase = record["phase"].as_str().expect("text");
        lines.push(format!("{phase}: {}\n", names[2..names.len() - 1].join(" ")));
    }
    lines.dedup_by(|next, line| next == line && line == "upstream_stream_line: line\n");
    lines.concat()
}

/// The records of the one request that `ask` is.
async fn recorded(setup: Setup, ask: Ask) -> Vec<Value> {
    let relay = setup.start().await;
    let id = relay.ask(&ask).await.header("x-request-id").expect("an id").to_owned();
    let home = relay.stop().await;
    let all = records(home.path());
    assert_eq!(
        (&all[0]["request_id"], &all[0]["phase"]),
        (&json!("startup"), &json!("endpoint_security_ready"))
    );
    assert!(all[1..].iter().all(|record| record["request_id"] == id.as_str()), "{all:#?}");
    all[1..].to_vec()
}

async fn check(setup: Setup, ask: Ask, expected: &Expect) -> Vec<Value> {
    let records = recorded(setup, ask).await;
    expected.assert_eq(&shape(&records));
    records
}

fn ask(dialect: Dialect, body: &Value) -> Ask {
    Ask::post(dialect.path(), body.to_string()).bearer(TOKEN)
}

#[track_caller]
fn phase<'a>(records: &'a [Value], phase: &str) -> &'a Value {
    records.iter().find(|record| record["phase"] == phase).expect("such a record")
}

#[tokio::test]
async fn a_whole_answer_is_recorded_from_end_to_end() {
    let body = Dialect::Chat.body("[sim say: fine]");
    let records = check(
        Setup::new(),
        ask(Dialect::Chat, &body).header("user-agent", "test/1"),
        &expect![[r#"
            inbound_request: method path client_ip query headers body
            upstream_request: slot_id method url session_id body
            upstream_response: slot_id status_code headers
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_usage: slot_id response_id model usage
            outbound_usage: slot_id response_id model usage
            outbound_response: status_code body slot_id
        "#]],
    )
    .await;
    let inbound = phase(&records, "inbound_request");
    assert_eq!(inbound["method"], "POST");
    assert_eq!(inbound["path"], "/v1/chat/completions");
    assert_eq!(inbound["client_ip"], "127.0.0.1");
    assert_eq!(inbound["headers"]["authorization"], "[REDACTED]");
    assert_eq!(inbound["headers"]["user-agent"], "test/1");
    assert_eq!(inbound["body"]["kind"], "json");
    assert_eq!(inbound["body"]["bytes"], body.to_string().len());
    assert_eq!(inbound["body"]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(inbound["body"]["json"], body);
    let upstream = phase(&records, "upstream_request");
    assert_eq!(upstream["body"]["json"]["model"], MODEL);
    assert_eq!(upstream["session_id"], upstream["body"]["json"]["prompt_cache_key"]);
    assert_eq!(phase(&records, "upstream_response")["status_code"], 200);
    let outbound = phase(&records, "outbound_response");
    assert_eq!(outbound["status_code"], 200);
    assert_eq!(Dialect::Chat.text(&outbound["body"]["json"]), "fine");
    let usage = &phase(&records, "upstream_usage")["usage"];
    assert_eq!(*usage, phase(&records, "outbound_usage")["usage"]);
    let told = &outbound["body"]["json"]["usage"];
    assert_eq!(usage["output_tokens"], told["completion_tokens"]);
}

#[tokio::test]
async fn a_stream_is_recorded_line_by_line_and_with_its_outcome() {
    let body = Dialect::Responses.streamed("[sim say: fine]");
    let records = check(
        Setup::new(),
        ask(Dialect::Responses, &body),
        &expect![[r#"
            inbound_request: method path client_ip query headers body
            upstream_request: slot_id method url session_id body
            upstream_response: slot_id status_code headers
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_usage: slot_id response_id model usage
            outbound_usage: slot_id response_id model usage
            outbound_response: slot_id status_code outcome
        "#]],
    )
    .await;
    let lines: Vec<_> = records.iter().filter_map(|record| record["line"].as_str()).collect();
    assert_eq!(lines[0], "event: response.created");
    assert!(lines[1].starts_with(r#"data: {"type":"response.created""#));
    assert_eq!(lines[lines.len() - 2], "event: response.completed");
    assert_eq!(phase(&records, "outbound_response")["outcome"], "completed");
}

#[tokio::test]
async fn lines_of_a_stream_may_be_left_out() {
    let setup = Setup::new().set("AIRELAYS_LOG_STREAM_LINES", "false");
    let body = Dialect::Chat.streamed("[sim say: fine]");
    check(
        setup,
        ask(Dialect::Chat, &body),
        &expect![[r#"
            inbound_request: method path client_ip query headers body
            upstream_request: slot_id method url session_id body
            upstream_response: slot_id status_code headers
            upstream_usage: slot_id response_id model usage
            outbound_usage: slot_id response_id model usage
            outbound_response: slot_id status_code outcome
        "#]],
    )
    .await;
}

#[tokio::test]
async fn what_is_left_out_of_a_request_is_recorded() {
    let setup = Setup::new().world("max_output_tokens", "refused");
    let mut body = Dialect::Chat.body("[sim say: fine]");
    body["max_tokens"] = json!(16);
    body["seed"] = json!(1);
    let records = check(
        setup,
        ask(Dialect::Chat, &body),
        &expect![[r#"
            inbound_request: method path client_ip query headers body
            compatibility_adaptation: ignored_parameters reason
            upstream_request: slot_id method url session_id body
            upstream_response_error: slot_id error
            compatibility_adaptation: ignored_parameters reason
            upstream_request: slot_id method url session_id body
            upstream_response: slot_id status_code headers
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_stream_line: slot_id line
            upstream_usage: slot_id response_id model usage
            outbound_usage: slot_id response_id model usage
            outbound_response: status_code body slot_id
        "#]],
    )
    .await;
    let left_out: Vec<_> = records
        .iter()
        .map(|record| &record["ignored_parameters"])
        .filter(|names| names.is_array())
        .collect();
    assert_eq!(left_out, [&json!(["seed"]), &json!(["max_tokens"])]);
}

#[tokio::test]
async fn failures_are_recorded_with_their_cause() {
    let (whole, streamed) = (false, true);
    let in_stream =
        "upstream_response upstream_stream_line upstream_stream_error outbound_response";
    let cut = "upstream_response upstream_stream_line outbound_stream_chunk outbound_response";
    for (is_streamed, marker, expected, outcome) in [
        (whole, "overloaded", "upstream_response_error outbound_response", json!([503, null])),
        (streamed, "overloaded", "upstream_response_error outbound_response", json!([503, null])),
        (whole, "failed", in_stream, json!([503, null])),
        (streamed, "failed", in_stream, json!([503, null])),
        (whole, "fail-after-text", in_stream, json!([503, null])),
        (streamed, "fail-after-text", in_stream, json!([200, "failed"])),
        (streamed, "cut-after-text", cut, json!([200, "failed"])),
    ] {
        let mut body = Dialect::Chat.body(&format!("[sim {marker}]"));
        body["stream"] = is_streamed.into();
        let records = recorded(Setup::new(), ask(Dialect::Chat, &body)).await;
        let mut phases: Vec<_> =
            records.iter().map(|record| record["phase"].as_str().expect("text")).collect();
        phases.dedup();
        assert_eq!(phases.join(" "), format!("inbound_request upstream_request {expected}"));
        let outbound = phase(&records, "outbound_response");
        assert_eq!(json!([outbound["status_code"], outbound["outcome"]]), outcome);
        assert!(outbound["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{outbound}");
    }
}

#[tokio::test]
async fn refusals_are_recorded() {
    let records = check(
        Setup::new(),
        ask(Dialect::Chat, &json!({})),
        &expect![[r#"
        inbound_request: method path client_ip query headers body
        outbound_response: status_code body
    "#]],
    )
    .await;
    assert_eq!(phase(&records, "outbound_response")["status_code"], 400);

    let stranger = Ask::get("/v1/models?api_key=abc&page=2").bearer("sk-of-somebody");
    let records = check(
        Setup::new(),
        stranger,
        &expect![[r#"
            endpoint_auth_failed: method path client_ip headers blocked token_fingerprint block_seconds
        "#]],
    )
    .await;
    let failed = phase(&records, "endpoint_auth_failed");
    assert_eq!((&failed["path"], &failed["blocked"]), (&json!("/v1/models"), &json!(false)));
    assert_eq!(failed["token_fingerprint"].as_str().map(str::len), Some(12));

    let blocked = Setup::new().set("AIRELAYS_FAILED_AUTH_MAX_ATTEMPTS", "1");
    let records = check(
        blocked,
        Ask::get("/v1/models"),
        &expect![[r#"
            endpoint_auth_failed: method path client_ip headers blocked token_fingerprint block_seconds
        "#]],
    )
    .await;
    let failed = phase(&records, "endpoint_auth_failed");
    assert_eq!((&failed["token_fingerprint"], &failed["blocked"]), (&Value::Null, &json!(true)));
}

#[tokio::test]
async fn limits_are_recorded() {
    let relay = Setup::new()
        .set("AIRELAYS_RATE_LIMIT_BURST", "1")
        .set("AIRELAYS_RATE_LIMIT_PER_MINUTE", "1")
        .start()
        .await;
    relay.get("/v1/relay/status").await;
    relay.get("/v1/relay/status").await;
    let home = relay.stop().await;
    let records = records(home.path());
    let rejected = phase(&records, "endpoint_rejected");
    assert_eq!(
        shape(std::slice::from_ref(rejected)),
        "endpoint_rejected: method path client_ip reason status_code retry_after_seconds\n"
    );
    assert_eq!(
        (&rejected["reason"], &rejected["status_code"]),
        (&json!("request_rate_limit"), &json!(429))
    );
    assert!(rejected["retry_after_seconds"].as_i64().is_some_and(|wait| (50..=60).contains(&wait)));
}

#[tokio::test]
async fn a_client_that_left_is_recorded() {
    let relay = Relay::start().await;
    let body = Dialect::Chat.streamed("[sim deltas: 2] [sim stall-after-text]");
    let mut answering = relay.open(&ask(Dialect::Chat, &body)).await;
    answering.piece().await;
    drop(answering);
    relay.is_idle().await;
    let home = relay.stop().await;
    let records = records(home.path());
    let left = records.iter().filter(|record| record["outcome"] == "unfinished").count();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn files_lie_by_the_hour_and_are_the_owners_alone() {
    let relay = Relay::start().await;
    relay.say(Dialect::Chat, "hello").await;
    let home = relay.stop().await;
    let logs = home.path().join(".airelays/logs");
    let found = files(&logs);
    assert!(!found.is_empty());
    for (path, mode) in found {
        assert_eq!(mode, 0o600, "{}", path.display());
        let below = path.strip_prefix(&logs).expect("below").display().to_string();
        let parts: Vec<_> = below.split(['/', '-', '.']).map(str::len).collect();
        assert_eq!(parts, [4, 2, 2, 2, 3], "YYYY/MM/DD-HH.log, and not {below}");
        for folder in path.ancestors().skip(1).take(4) {
            let mode = fs::metadata(folder).expect("there").permissions().mode() & 0o777;
            assert_eq!(mode, 0o700, "{}", folder.display());
        }
    }
}

#[tokio::test]
async fn without_a_log_nothing_is_written() {
    let relay = Setup::new().set("AIRELAYS_LOG_ENABLED", "false").start().await;
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    assert!(relay.say_streamed(Dialect::Chat, "hello").await.is_whole);
    let home = relay.stop().await;
    assert!(!home.path().join(".airelays/logs").exists());
}

/// A request that carries `canary` wherever a client may put a key of its own.
fn careless(path: &str, canary: &str) -> Ask {
    let query = "api_key=CANARY&key=CANARY&token=CANARY&access_token=CANARY&%6bey=CANARY&\
                 session=CANARY&auth=CANARY&sig=CANARY&X-Amz-Signature=CANARY";
    let body = json!({
        "model": MODEL,
        "input": "hello",
        "messages": [{"role": "user", "content": "hello"}],
        "prompt": "hello",
        "api_key": canary,
        "apiKey": canary,
        "metadata": {"access_token": canary, "Authorization": canary},
        "headers": {"X-Api-Key": canary, "cookie": canary, "list": [{"password": canary}]},
        "tools": [{"type": "mcp", "server_label": "x", "headers": {"X-Linear-Token": canary}}],
        "accessToken": canary,
        "token": canary,
        "private_key": canary,
        "clientSecret": {"value": canary},
        "deep": [[[[[[[[[[[[{"refresh-token": canary}]]]]]]]]]]]],
    });
    Ask::post(&format!("{path}?{}", query.replace("CANARY", canary)), body.to_string())
        .header("x-api-key", canary)
        .header("api-key", canary)
        .header("cookie", format!("session={canary}"))
        .header("proxy-authorization", format!("Basic {canary}"))
        .header("x-forwarded-authorization", format!("Bearer {canary}"))
        .header("x-session-token", canary)
        .header("token", canary)
        .header("session", canary)
        .header("x-session-id", canary)
        .header("x-custom-auth", canary)
        .header("ocp-apim-subscription-key", canary)
        .header("x-whatever", canary)
}

/// Other people's: in a prompt, in what a tool printed, and in what the model says of it.
#[tokio::test]
async fn pictures_and_keys_in_texts_are_not_written_down() {
    let relay = Setup::new().log_in().start_over_network().await;
    let picture = format!("iVBORw0KGgoA{}", "Canary0Picture1Base64abc".repeat(5_000));
    let keys = [
        "sk-proj-canary0123456789abcdef0123456789",
        "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjEyMzQ1Njc4.c2lnbmF0dXJlLTEyMw",
        "ghp_canary0123456789abcdef0123456789abcd",
    ];
    let text = format!("[sim say: {}]", keys.join(" and "));
    let url = format!("data:image/png;base64,{picture}");
    let output = json!({"env": keys, "shot": picture}).to_string();
    let bodies = [
        (
            "/v1/responses",
            json!({"model": MODEL, "input": [
                {"role": "user", "content": [
                    {"type": "input_text", "text": text},
                    {"type": "input_image", "image_url": url},
                    {"type": "input_file", "filename": "x.pdf", "file_data": format!("data:application/pdf;base64,{picture}")},
                ]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": output},
            ]}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": MODEL, "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": text},
            ]}]}),
        ),
        ("/v1/completions", json!({"model": MODEL, "prompt": text})),
    ];
    for (path, body) in bodies {
        for is_streamed in [false, true] {
            let mut body = body.clone();
            body["stream"] = is_streamed.into();
            let reply = relay.post(path, &body).await;
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
            let is_said = is_streamed || keys.iter().all(|key| reply.text().contains(key));
            assert!(is_said, "the client gets what it asks: {reply:?}");
            let sent = relay.last_upstream_body().to_string();
            assert!(keys.iter().all(|key| sent.contains(key)), "and the upstream what was sent");
            assert!(path == "/v1/completions" || sent.contains(&picture));
        }
    }
    let home = relay.stop().await;
    let mut size = 0;
    for (path, _) in files(&home.path().join(".airelays/logs")) {
        let content = fs::read_to_string(&path).expect("text");
        size += content.len();
        for secret in keys.iter().copied().chain(["Canary0Picture1"]) {
            let shown = content.lines().find(|line| line.contains(secret));
            assert_eq!(shown, None, "{secret}");
        }
        assert!(content.contains("bytes of base64]"));
    }
    assert!(size < 300_000, "{size}");
    assert!(records(home.path()).len() > 30);
}

#[tokio::test]
async fn no_secret_is_ever_written_down() {
    let relay = Setup::new().log_in().start_over_network().await;
    let canary = "canary-0123456789abcdef";
    let login = || {
        let text = fs::read_to_string(relay.path(".airelays/auth.json")).expect("a login");
        let login: Value = serde_json::from_str(&text).expect("JSON");
        ["id_token", "access_token", "refresh_token"]
            .map(|name| login["tokens"][name].as_str().expect("a token").to_owned())
    };
    let mut secrets = vec![TOKEN.to_owned(), canary.to_owned()];
    secrets.extend(login());
    // Known by their names.
    for path in ["/v1/responses", "/v1/chat/completions", "/v1/completions", "/v1/nothing"] {
        relay.ask(&careless(path, canary).bearer(TOKEN)).await;
        relay.ask(&careless(path, canary).bearer(canary)).await;
    }
    // Known by what they are: a model reads the files of this program, and repeats them.
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    for secret in [TOKEN.to_owned()].into_iter().chain(login()) {
        let nested = json!({"tokens": {"x": secret}}).to_string();
        for text in [format!("[sim say: It is {secret}.]"), format!("[sim say: {nested}]")] {
            for dialect in Dialect::ALL {
                let reply = relay.say(dialect, &text).await;
                assert!(
                    dialect.text(&reply.json()).contains(&secret),
                    "the client gets what it asks"
                );
                relay.say_streamed(dialect, &text).await;
            }
        }
    }
    // What a renewal gives is known as well.
    relay.simulator.expire_access_tokens();
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    secrets.extend(login());
    for secret in login() {
        relay.say_streamed(Dialect::Responses, &format!("[sim say: {secret}]")).await;
    }
    let home = relay.stop().await;
    let own = [".airelays/auth.json", ".airelays/relay-token"].map(|own| home.path().join(own));
    let mut n_looked_at = 0;
    for (path, _) in files(home.path()).into_iter().filter(|(path, _)| !own.contains(path)) {
        let content = fs::read_to_string(&path).expect("text");
        n_looked_at += content.len();
        for secret in &secrets {
            let shown = content.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(shown, None, "{secret} in {}", path.display());
        }
    }
    assert!(n_looked_at > 100_000, "{n_looked_at}");
    assert!(records(home.path()).len() > 500);
}
