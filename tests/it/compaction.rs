//! Dialogues made shorter: by an item in a request or by a route, whichever the upstream has.

use serde_json::{Value, json};

use crate::harness::{MODEL, Relay, Setup, TOKEN, http::Ask};

const PATH: &str = "/v1/responses/compact";

/// A dialogue that a client wants shorter.
fn dialogue() -> Value {
    json!({
        "model": MODEL,
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "One."},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
            {"role": "user", "content": [{"type": "input_text", "text": "Two."}]},
        ],
        "temperature": 1,
    })
}

/// What is sent upstream, as paths.
fn asked(relay: &Relay) -> Vec<String> {
    let recorded = relay.simulator.recorded().into_iter();
    let posts = recorded.filter(|seen| seen.method == "POST" && seen.path.contains("/responses"));
    posts.map(|seen| seen.path.rsplit("codex/").next().unwrap_or_default().to_owned()).collect()
}

#[track_caller]
fn check(body: &Value) {
    let names: Vec<_> = body.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["id", "object", "created_at", "output", "usage"]);
    assert_eq!(body["object"], "response.compaction");
    assert!(
        body["created_at"].is_i64()
            && body["id"].as_str().is_some_and(|id| id.starts_with("resp_"))
    );
    let output = body["output"].as_array().expect("items");
    let said: Vec<_> = output[..output.len() - 1]
        .iter()
        .map(|item| (&item["role"], &item["content"][0]["text"]))
        .collect();
    assert_eq!(said, [(&json!("user"), &json!("One.")), (&json!("user"), &json!("Two."))]);
    let compaction = output.last().expect("an item");
    assert_eq!(compaction["type"], "compaction");
    assert!(compaction["encrypted_content"].as_str().is_some_and(|sealed| sealed.len() > 100));
    assert!(body["usage"]["total_tokens"].as_u64().is_some_and(|total| total > 0), "{body}");
}

#[tokio::test]
async fn a_dialogue_is_compacted_in_either_world() {
    for (worlds, expected) in [
        (&[][..], &["responses"; 4][..]),
        (&[("compact_route", "accepted")], &["responses"; 4]),
        (
            &[("compact_route", "accepted"), ("compaction_trigger", "refused")],
            // It is found out once, and a turn follows each compaction.
            &["responses", "responses/compact", "responses", "responses/compact", "responses"],
        ),
    ] {
        let setup =
            worlds.iter().fold(Setup::new(), |setup, (name, value)| setup.world(name, value));
        let relay = setup.start().await;
        for prefix in ["", "/no-tools"] {
            let reply = relay.post(&format!("{prefix}{PATH}"), &dialogue()).await;
            assert_eq!(reply.status, 200, "{worlds:?}: {reply:?}");
            assert_eq!(reply.header("x-airelays-ignored-parameters"), Some("temperature"));
            check(&reply.json());
            let id = reply.header("x-request-id").expect("an id");
            let story = relay.get(&format!("/v1/relay/requests/{id}/explain")).await.json();
            assert_eq!(story["outcome"], "completed", "{worlds:?}: {story}");
            // What was compacted can be gone on with.
            let mut input = reply.json()["output"].clone();
            input.as_array_mut().expect("items").push(json!({"role": "user", "content": "Three."}));
            let next = json!({"model": MODEL, "input": input});
            relay.simulator.set_world("compaction_trigger", "accepted").expect("a switch");
            let reply = relay.post("/v1/responses", &next).await;
            assert_eq!(reply.status, 200, "{worlds:?}: {reply:?}");
            for (name, value) in worlds {
                relay.simulator.set_world(name, value).expect("a switch");
            }
        }
        assert_eq!(asked(&relay), expected, "{worlds:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_compacts_neither_way_is_believed() {
    let relay = Setup::new().world("compaction_trigger", "refused").start().await;
    let refusal = relay.post(PATH, &dialogue()).await.refusal();
    assert_eq!(
        (refusal.status, refusal.code.as_deref()),
        (400, Some("invalid_value")),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_compaction_is_a_failure() {
    let relay = Relay::start().await;
    for (step, expected) in [
        ("overloaded", "503 server_error server_is_overloaded"),
        ("failed", "503 server_error server_is_overloaded"),
        ("cut-after-text", "502 server_error incomplete_stream"),
        ("empty", "502 server_error upstream_error"),
        ("limit: 60", "429 rate_limit_error usage_limit_reached"),
    ] {
        relay.simulator.script(vec![step.parse().expect("a step")]);
        let reply = relay.post(PATH, &dialogue()).await;
        assert_eq!(reply.refusal().line(), expected, "{step}");
    }
    for (body, expected) in [
        (json!({"model": MODEL}), "400 invalid_request_error missing_required_parameter input"),
        (
            json!({"model": MODEL, "input": "x", "previous_response_id": "resp_1"}),
            "422 invalid_request_error unsupported_parameter previous_response_id",
        ),
    ] {
        assert_eq!(relay.post(PATH, &body).await.refusal().line(), expected);
    }
    relay.is_idle().await;
}

#[tokio::test]
async fn a_compaction_in_a_stream_needs_nothing_but_its_item() {
    let relay = Relay::start().await;
    let mut body = dialogue();
    body["input"].as_array_mut().expect("items").push(json!({"type": "compaction_trigger"}));
    for features in [None, Some("other"), Some("other,remote_compaction_v2")] {
        let ask = Ask::post("/v1/responses", body.to_string()).bearer(TOKEN);
        let ask = match features {
            Some(features) => {
                ask.header("originator", "codex_exec").header("x-codex-beta-features", features)
            }
            None => ask,
        };
        let reply = relay.ask(&ask).await;
        assert_eq!(reply.json()["output"][0]["type"], "compaction", "{reply:?}");
        let seen = relay.upstream_requests().pop().expect("a request");
        let named = features
            .filter(|features| features.contains("remote"))
            .or(features.map(|_| "other,remote_compaction_v2"));
        let named = named.unwrap_or("remote_compaction_v2");
        assert_eq!(seen.header("x-codex-beta-features"), Some(named));
    }
}
