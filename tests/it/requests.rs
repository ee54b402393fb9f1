//! What becomes of a request on its way upstream, and of the answer on its way back.

use serde_json::{Value, json};

use crate::harness::{
    MODEL, Relay, Setup, TOKEN,
    dialect::Dialect,
    http::{Ask, Reply},
};

const IGNORED: &str = "x-airelays-ignored-parameters";

/// Everything that may stand in a request to the upstream.
const ALLOWED: &[&str] = &[
    "model",
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "store",
    "stream",
    "include",
    "service_tier",
    "prompt_cache_key",
    "text",
    "client_metadata",
    "max_output_tokens",
];

/// `body` with `more` laid over it.
fn with(mut body: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_whole_answer_is_put_together_in_every_world() {
    for (switch, value) in [("completed_output", "empty"), ("completed_output", "filled")] {
        let relay = Setup::new().world(switch, value).start().await;
        for quirk in [
            "deltas: 3",
            "filled",
            "no-deltas",
            "no-index",
            "done-without-added",
            "items-missing",
            "unknown-events",
        ] {
            for dialect in Dialect::ALL {
                let text = format!("[sim say: one two three] [sim {quirk}]");
                let text =
                    text.replace("[sim say: one two three] [sim deltas: 3]", "[sim deltas: 3]");
                let streamed = relay.say_streamed(dialect, &text).await;
                let expected =
                    if quirk == "deltas: 3" { "word1 word2 word3 " } else { "one two three" };
                let told = dialect.told(streamed.text());
                assert!(told.is_complete, "{value} {quirk} {dialect:?}");
                assert_eq!(told.text, expected, "{value} {quirk} {dialect:?}");
                let whole = relay.say(dialect, &text).await.json();
                assert_eq!(dialect.text(&whole), expected, "{value} {quirk} {dialect:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_whole_response_has_its_items_in_order_and_its_usage() {
    for world in ["empty", "filled"] {
        let relay = Setup::new().world("completed_output", world).start().await;
        let text = "[sim reasoning: 2] [sim commentary] [sim say: done]";
        let response = relay.say(Dialect::Responses, text).await.json();
        assert_eq!(
            (&response["object"], &response["status"]),
            (&json!("response"), &json!("completed"))
        );
        let items = response["output"].as_array().expect("items");
        let kinds: Vec<_> = items.iter().map(|item| item["type"].as_str().expect("one")).collect();
        assert_eq!(kinds, ["reasoning", "message", "message"], "{world}");
        assert_eq!(items[2]["content"][0]["text"], "done");
        let usage = &response["usage"];
        assert!(usage["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{usage}");
        assert!(response["safety_identifier"].is_null(), "the account stays private");
        // The end of a stream repeats the same items.
        let stream = relay.say_streamed(Dialect::Responses, text).await;
        let last = crate::harness::dialect::events(stream.text()).pop().expect("an event");
        let last: Value = serde_json::from_str(&last.data).expect("JSON");
        assert_eq!(last["response"]["output"].as_array().map(Vec::len), Some(3), "{world}");
    }
}

/// Sixteen tokens of a longer answer.
const CAPPED: &str = "word1 word2 word3 word4 word5 word6 word7 word8 word9 word10 wor";

/// The names of the same limit, where each dialect has it.
const LIMITS: [(Dialect, &str); 4] = [
    (Dialect::Responses, "max_output_tokens"),
    (Dialect::Chat, "max_tokens"),
    (Dialect::Chat, "max_completion_tokens"),
    (Dialect::Completions, "max_tokens"),
];

#[tokio::test]
async fn a_limit_of_the_answer_is_kept_where_the_upstream_keeps_it() {
    let relay = Relay::start().await;
    for (dialect, name) in LIMITS {
        let limit = json!({name: 16});
        let reply =
            relay.post(dialect.path(), &with(dialect.body("[sim deltas: 99]"), &limit)).await;
        assert_eq!(reply.header(IGNORED), None);
        assert_eq!(relay.last_upstream_body()["max_output_tokens"], 16);
        let body = reply.json();
        assert_eq!(dialect.text(&body), CAPPED);
        if dialect == Dialect::Responses {
            assert_eq!(body["status"], "incomplete");
            assert_eq!(body["incomplete_details"]["reason"], "max_output_tokens");
        } else {
            assert_eq!(body["choices"][0]["finish_reason"], "length");
        }
        let streamed = with(dialect.streamed("[sim deltas: 99]"), &limit);
        let told = dialect.told(relay.post(dialect.path(), &streamed).await.text());
        assert!(told.is_complete && told.text == CAPPED, "{told:?}");
        assert!(dialect == Dialect::Responses || told.finish.as_deref() == Some("length"));
    }
}

#[tokio::test]
async fn what_the_upstream_refuses_is_told_by_the_clients_own_name() {
    let relay = Relay::start().await;
    for (dialect, more, expected) in [
        (
            Dialect::Responses,
            json!({"max_output_tokens": 1}),
            "integer_below_min_value max_output_tokens",
        ),
        (Dialect::Chat, json!({"verbosity": "loud"}), "invalid_value verbosity"),
        (
            Dialect::Completions,
            json!({"reasoning_effort": "x"}),
            "unsupported_value reasoning_effort",
        ),
    ] {
        let refusal =
            relay.post(dialect.path(), &with(dialect.body("hello"), &more)).await.refusal();
        assert_eq!(refusal.line(), format!("400 invalid_request_error {expected}"));
    }
}

#[tokio::test]
async fn a_limit_that_the_upstream_refuses_is_left_out_and_told_by_the_clients_own_name() {
    let relay = Setup::new().world("max_output_tokens", "refused").start().await;
    // The first request finds out; the others go without from the start.
    let mut n_sent = 2;
    for (dialect, name) in LIMITS {
        for body in [dialect.body("[sim deltas: 9]"), dialect.streamed("[sim deltas: 9]")] {
            relay.simulator.clear();
            let body = with(body, &json!({name: 16, "temperature": 1}));
            let reply = relay.post(dialect.path(), &body).await;
            assert_eq!(reply.status, 200, "{name} on {dialect:?}: {reply:?}");
            assert_eq!(reply.header(IGNORED), Some(format!("temperature,{name}").as_str()));
            assert!(reply.text().contains("word9"), "{reply:?}");
            assert_eq!(relay.upstream_requests().len(), n_sent);
            assert_eq!(relay.last_upstream_body()["max_output_tokens"], Value::Null);
            n_sent = 1;
        }
    }
}

#[tokio::test]
async fn a_limit_below_the_least_of_the_upstream_is_raised_and_told() {
    let relay = Relay::start().await;
    // The first request finds out; the others know.
    let mut n_sent = 2;
    for (dialect, name) in LIMITS.into_iter().filter(|(_, name)| *name != "max_output_tokens") {
        for body in [dialect.body("[sim deltas: 99]"), dialect.streamed("[sim deltas: 99]")] {
            relay.simulator.clear();
            let reply = relay.post(dialect.path(), &with(body, &json!({name: 1}))).await;
            assert_eq!(reply.status, 200, "{name} on {dialect:?}: {reply:?}");
            assert_eq!(reply.header(IGNORED), Some(name));
            assert_eq!(relay.upstream_requests().len(), n_sent);
            assert_eq!(relay.last_upstream_body()["max_output_tokens"], 16);
            n_sent = 1;
        }
    }
    let fine = with(Dialect::Chat.body("hello"), &json!({"max_tokens": 17}));
    assert_eq!(relay.post(Dialect::Chat.path(), &fine).await.header(IGNORED), None);
    assert_eq!(relay.last_upstream_body()["max_output_tokens"], 17);
}

#[tokio::test]
async fn a_relay_that_may_not_learn_hands_refusals_on() {
    for (world, code) in [("refused", "-"), ("enforced", "integer_below_min_value")] {
        let relay = Setup::new()
            .set("AIRELAYS_LEARN_PARAMETERS", "false")
            .world("max_output_tokens", world)
            .start()
            .await;
        let body = with(Dialect::Chat.body("hello"), &json!({"max_tokens": 1}));
        let refusal = relay.post(Dialect::Chat.path(), &body).await.refusal();
        assert_eq!((refusal.status, refusal.code.as_deref().unwrap_or("-")), (400, code));
        assert_eq!(relay.upstream_requests().len(), 1);
    }
}

#[tokio::test]
async fn what_is_left_out_is_told() {
    let relay = Relay::start().await;
    for (dialect, more, told) in [
        (Dialect::Chat, json!({"temperature": 0.5, "top_p": 1}), "temperature,top_p"),
        (Dialect::Chat, json!({"seed": 1, "user": "me", "metadata": {}}), "seed,user,metadata"),
        (Dialect::Chat, json!({"of_tomorrow": true}), "of_tomorrow"),
        (Dialect::Chat, json!({"näme, of\r\n tomorrow": 1}), "n%C3%A4me%2C%20of%0D%0A%20tomorrow"),
        (
            Dialect::Responses,
            json!({"temperature": 0.5, "max_tool_calls": 3}),
            "temperature,max_tool_calls",
        ),
        (Dialect::Responses, json!({"truncation": "auto"}), "truncation"),
        (Dialect::Completions, json!({"presence_penalty": 1}), "presence_penalty"),
        (Dialect::Chat, json!({"temperature": null, "store": false, "n": 1, "stop": null}), ""),
    ] {
        for body in [dialect.body("hello"), dialect.streamed("hello")] {
            let reply = relay.post(dialect.path(), &with(body, &more)).await;
            assert_eq!(reply.status, 200, "{more}: {reply:?}");
            assert_eq!(reply.header(IGNORED).unwrap_or_default(), told, "{more}");
            let upstream = relay.last_upstream_body();
            for name in more.as_object().expect("an object").keys() {
                assert!(upstream[name] == false || upstream[name].is_null(), "{name}: {upstream}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_left_out_is_told_in_headers_that_go_out_early_too() {
    let relay = Setup::new().set("AIRELAYS_COMMIT_AFTER_SECONDS", "0").start().await;
    let body = with(Dialect::Chat.streamed("[sim pause: 20]"), &json!({"seed": 1}));
    let reply = relay.post(Dialect::Chat.path(), &body).await;
    assert_eq!((reply.status, reply.header(IGNORED)), (200, Some("seed")));
}

#[tokio::test]
async fn a_request_to_the_upstream_has_only_what_it_knows() {
    let relay = Relay::start().await;
    let more = json!({
        "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "seed": 1,
        "user": "u", "safety_identifier": "s", "metadata": {"a": "b"}, "logit_bias": {},
        "prompt_cache_retention": "24h", "stream_options": {"include_usage": true}, "store": false,
        "service_tier": "priority", "prompt_cache_key": "k", "n": 1, "max_tokens": 99,
        "reasoning": {"effort": "low"}, "reasoning_effort": "low", "verbosity": "low",
        "x": 1, "api_key": "secret", "headers": {"authorization": "secret"},
    });
    for dialect in Dialect::ALL {
        for stream in [false, true] {
            let body = with(with(dialect.body("hello"), &more), &json!({"stream": stream}));
            let reply = relay.post(dialect.path(), &body).await;
            assert_eq!(reply.status, 200, "{dialect:?}: {reply:?}");
            let upstream = relay.last_upstream_body();
            let names: Vec<_> = upstream.as_object().expect("an object").keys().collect();
            for name in &names {
                assert!(ALLOWED.contains(&name.as_str()), "{name} is not allowed");
            }
            assert_eq!(upstream["store"], false);
            assert_eq!(upstream["stream"], true);
            assert!(upstream["instructions"].as_str().is_some_and(|text| !text.is_empty()));
            assert_eq!(upstream["model"], MODEL);
        }
    }
}

#[tokio::test]
async fn nothing_of_the_clients_headers_goes_upstream() {
    let relay = Relay::start().await;
    for dialect in Dialect::ALL {
        let ask = Ask::post(dialect.path(), dialect.body("hello").to_string())
            .bearer(TOKEN)
            .header("user-agent", "OpenAI/Python 1.0 canary")
            .header("cookie", "canary=1")
            .header("x-api-key", "canary")
            .header("openai-organization", "canary")
            .header("chatgpt-account-id", "canary")
            .header("originator", "canary")
            .header("version", "canary")
            .header("session-id", "canary")
            .header("x-forwarded-for", "10.1.2.3")
            .header("traceparent", "canary")
            .header("x-codex-turn-state", "canary")
            .header("accept", "canary")
            .header("accept-language", "canary")
            .header("x-canary", "canary");
        assert_eq!(relay.ask(&ask).await.status, 200);
        let seen = relay.upstream_requests().pop().expect("a request");
        let mut names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let expected = [
            "accept",
            "authorization",
            "chatgpt-account-id",
            "content-type",
            "originator",
            "session-id",
            "thread-id",
            "user-agent",
            "version",
            "x-client-request-id",
        ];
        assert_eq!(names, expected);
        for (name, value) in &seen.headers {
            assert!(!value.contains("canary") && !value.contains("10.1.2.3"), "{name}: {value}");
            assert!(!value.contains(TOKEN), "{name}");
        }
        let agent = concat!("airelays/", env!("CARGO_PKG_VERSION"));
        assert_eq!(seen.header("user-agent"), Some(agent));
    }
}

/// The session that the upstream saw for each of `bodies`.
async fn sessions(relay: &Relay, dialect: Dialect, bodies: &[Value]) -> Vec<String> {
    relay.simulator.clear();
    for body in bodies {
        let reply = relay.post(dialect.path(), body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let session = |seen: &airelays::sim::Recorded| {
        let session = seen.header("session-id").expect("a session").to_owned();
        assert_eq!(seen.header("thread-id"), Some(session.as_str()));
        assert_eq!(seen.body["prompt_cache_key"], session.as_str());
        session
    };
    relay.upstream_requests().iter().map(session).collect()
}

#[tokio::test]
async fn a_dialogue_keeps_its_session_from_turn_to_turn() {
    let relay = Relay::start().await;
    let turns = |first: &str| -> Vec<Value> {
        let said = [
            ("user", first),
            ("assistant", "Hi."),
            ("user", "More."),
            ("assistant", "Yes."),
            ("user", "Bye."),
        ];
        let all: Vec<_> =
            said.iter().map(|(role, text)| json!({"role": role, "content": text})).collect();
        vec![json!(all[..1]), json!(all[..3]), json!(all[..5])]
    };
    for (dialect, member) in [(Dialect::Chat, "messages"), (Dialect::Responses, "input")] {
        let bodies = |first: &str, system: &str| -> Vec<Value> {
            let body = |turn: &Value| match dialect {
                Dialect::Responses => json!({"model": MODEL, "instructions": system, member: turn}),
                Dialect::Chat | Dialect::Completions => {
                    let mut messages = vec![json!({"role": "system", "content": system})];
                    messages.extend(turn.as_array().into_iter().flatten().cloned());
                    json!({"model": MODEL, member: messages})
                }
            };
            turns(first).iter().map(body).collect()
        };
        let one = sessions(&relay, dialect, &bodies("Hello.", "Be brief.")).await;
        assert_eq!(one.len(), 3);
        assert!(one.iter().all(|session| *session == one[0]), "{one:?}");
        for (first, system) in [("Hello!", "Be brief."), ("Hello.", "Be long.")] {
            let other = sessions(&relay, dialect, &bodies(first, system)).await;
            assert_ne!(one[0], other[0], "{first} {system}");
        }
        assert_eq!(one[0].len(), 36, "a UUID");
    }
}

#[tokio::test]
async fn a_dialogue_that_its_client_names_goes_by_that_name() {
    let relay = Relay::start().await;
    let ask = |text: &str, session: &str| {
        let body = Dialect::Chat.body(text).to_string();
        Ask::post(Dialect::Chat.path(), body).bearer(TOKEN).header("session-id", session)
    };
    for (text, session) in [("one", "a"), ("two", "a"), ("one", "b")] {
        assert_eq!(relay.ask(&ask(text, session)).await.status, 200);
    }
    let seen: Vec<_> = relay
        .upstream_requests()
        .iter()
        .map(|seen| seen.header("session-id").expect("a session").to_owned())
        .collect();
    assert!(seen[0] == seen[1] && seen[1] != seen[2], "{seen:?}");
    let keyed = with(Dialect::Chat.body("three"), &json!({"prompt_cache_key": "mine"}));
    assert_eq!(relay.post(Dialect::Chat.path(), &keyed).await.status, 200);
    assert_eq!(relay.last_upstream_body()["prompt_cache_key"], "mine");
}

#[tokio::test]
async fn a_long_dialogue_is_served_from_the_cache_of_the_upstream() {
    let relay = Relay::start().await;
    let long = "All work and no play. ".repeat(500);
    let turn = |more: &[Value]| {
        let mut messages = vec![json!({"role": "user", "content": long})];
        messages.extend(more.iter().cloned());
        json!({"model": MODEL, "messages": messages})
    };
    let cached = |reply: &Reply| {
        reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a number")
    };
    assert_eq!(cached(&relay.post("/v1/chat/completions", &turn(&[])).await), 0);
    let more = [
        json!({"role": "assistant", "content": "Yes."}),
        json!({"role": "user", "content": "Go on."}),
    ];
    assert!(cached(&relay.post("/v1/chat/completions", &turn(&more)).await) > 2000);
}

#[tokio::test]
async fn the_twins_without_tools_refuse_tools_and_nothing_else() {
    let relay = Relay::start().await;
    let tool =
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let flat = json!({"type": "function", "name": "f", "parameters": {"type": "object"}});
    for dialect in Dialect::ALL {
        let path = format!("/no-tools{}", dialect.path());
        let reply = relay.post(&path, &dialect.body("[sim say: fine]")).await;
        assert_eq!(dialect.text(&reply.json()), "fine");
        let tools = if dialect == Dialect::Responses { &flat } else { &tool };
        let body = with(dialect.body("hello"), &json!({"tools": [tools]}));
        if dialect == Dialect::Completions {
            continue;
        }
        let refusal = relay.post(&path, &body).await.refusal();
        assert_eq!((refusal.status, refusal.param.as_deref()), (422, Some("tools")), "{refusal:?}");
    }
    assert_eq!(relay.upstream_requests().len(), 3, "a refused request goes nowhere");
}

#[tokio::test]
async fn models_are_those_of_the_upstream() {
    let relay = Relay::start().await;
    for prefix in ["/v1", "/no-tools/v1"] {
        let list = relay.get(&format!("{prefix}/models")).await.json();
        assert_eq!(list["object"], "list");
        let ids: Vec<_> =
            list["data"].as_array().expect("models").iter().map(|model| &model["id"]).collect();
        assert!(ids.contains(&&json!(MODEL)), "{ids:?}");
        let one = relay.get(&format!("{prefix}/models/{MODEL}")).await.json();
        assert_eq!((&one["id"], &one["object"]), (&json!(MODEL), &json!("model")));
        for unknown in ["nothing", "a/b", "%00", "%ff", "é", "x".repeat(5000).as_str()] {
            let unknown = unknown.replace('é', "%C3%A9");
            let reply = relay.get(&format!("{prefix}/models/{unknown}")).await;
            assert!(reply.refusal().status < 500, "{unknown}: {reply:?}");
        }
        let refusal = relay.get(&format!("{prefix}/models/nothing")).await.refusal();
        assert_eq!(refusal.line(), "404 invalid_request_error model_not_found model");
    }
}

#[tokio::test]
async fn a_list_of_models_that_has_not_changed_is_not_sent_again() {
    let relay = Relay::start().await;
    let list = relay.get("/v1/models").await;
    let etag = list.header("etag").expect("a tag").to_owned();
    let model = &list.json()["data"][0]["airelays"];
    assert!(model["plans"].as_array().is_some_and(|plans| plans.contains(&json!("plus"))));
    assert_eq!(model["slots"], Value::Null, "who has one account knows no slots");
    let ask = |tags: &str| {
        let ask = Ask::get("/v1/models").bearer(TOKEN).header("if-none-match", tags);
        // A 304 ends with its head, which this client does not know.
        ask.header("connection", "close")
    };
    for (tags, status) in [
        (etag.clone(), 304),
        (format!("\"other\", W/{etag}"), 304),
        ("\"other\"".to_owned(), 200),
        (etag.trim_matches('"').to_owned(), 200),
    ] {
        let reply = relay.ask(&ask(&tags)).await;
        assert_eq!((reply.status, reply.header("etag")), (status, Some(&*etag)), "{tags}");
        assert_eq!(reply.text().is_empty(), status == 304);
    }
    let codex = relay.get("/v1/models?client_version=0.169.0").await;
    assert_ne!(codex.header("etag"), Some(&*etag), "the catalogue's own");
}

#[tokio::test]
async fn a_model_that_is_none_is_not_found() {
    let relay = Relay::start().await;
    for dialect in Dialect::ALL {
        for body in [dialect.body("hello"), dialect.streamed("hello")] {
            let reply =
                relay.post(dialect.path(), &with(body, &json!({"model": "gpt-none"}))).await;
            let refusal = reply.refusal();
            assert_eq!(refusal.line(), "404 invalid_request_error model_not_found model");
        }
    }
}

#[tokio::test]
async fn the_list_of_models_may_fail() {
    for (value, expected) in [
        ("not-found", "502 server_error upstream_error"),
        ("server-error", "502 server_error upstream_error"),
    ] {
        let relay = Setup::new().world("models", value).start().await;
        assert_eq!(relay.get("/v1/models").await.refusal().line(), expected, "{value}");
    }
    let relay = Setup::new().world("models", "bad-entry").start().await;
    let list = relay.get("/v1/models?client_version=0.169.0").await.json();
    let slugs: Vec<_> =
        list["models"].as_array().expect("entries").iter().map(|entry| &entry["slug"]).collect();
    assert!(slugs.len() > 3 && !slugs.contains(&&json!("gpt-broken")), "{slugs:?}");
    assert!(
        relay.get("/v1/models").await.json()["data"].as_array().is_some_and(|all| all.len() > 3)
    );
}

#[tokio::test]
async fn routes_without_a_counterpart_upstream_say_so() {
    let relay = Relay::start().await;
    for path in
        ["/v1/embeddings", "/v1/images/variations", "/v1/audio/speech", "/v1/realtime/sessions"]
    {
        for method in ["GET", "POST", "DELETE"] {
            let reply = relay.ask(&Ask::new(method, path).bearer(TOKEN)).await;
            assert_eq!(reply.refusal().line(), "501 unsupported_error unsupported_route", "{path}");
            assert_eq!(reply.header("x-should-retry"), Some("false"));
        }
    }
}

#[tokio::test]
async fn the_status_is_that_of_the_relay_as_it_runs() {
    for relay in [Relay::start().await, Setup::new().log_in().start_over_network().await] {
        let status = relay.get("/v1/relay/status").await.json();
        assert_eq!(status["object"], "relay.status");
        assert_eq!(status["ready"], json!({"upstream_auth": true, "relay_token": true}));
        assert_eq!(status["auth"]["ready_for_requests"], true, "{}", status["auth"]);
        assert_eq!(status["security"]["client"]["active_requests"], 1, "the asking one");
        assert_eq!(status["traffic_log"]["records_lost"], 0);
        assert_eq!(status["storage"]["available"], true);
        assert!(!relay.path(".airelays/relay.sqlite3").exists(), "and is not made by asking");
        assert!(!status.to_string().contains(TOKEN));
        for route in status["supported_routes"].as_array().expect("routes") {
            let path = route.as_str().expect("a path").replace("{id}", MODEL);
            let refusal = relay.ask(&Ask::new("BREW", &path).bearer(TOKEN)).await.refusal();
            assert_eq!(refusal.status, 405, "{path} exists");
        }
    }
}
