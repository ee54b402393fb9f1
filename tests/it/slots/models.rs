//! Models that answer without a slot, and a client that speaks as codex-utils does.

use serde_json::{Value, json};

use super::slot_of;
use crate::harness::{
    Relay, Setup, TOKEN,
    dialect::Dialect::{self, Chat, Responses},
    http::Ask,
};

/// A relay without any login.
async fn bare() -> Relay {
    Setup::new().start_over_network().await
}

fn with(model: &str, mut body: Value) -> Value {
    body["model"] = model.into();
    body
}

#[tokio::test]
async fn a_program_can_be_connected_before_there_is_a_login() {
    let relay = bare().await;
    let long = "word ".repeat(100);
    for (model, said, expected) in [
        ("relay-selftest", "hello", "RELAY_SELFTEST_OK"),
        ("Relay-Mock", "hello", "RELAY_SELFTEST_OK"),
        ("mock-pong", "hello", "pong"),
        ("relay-echo", "say \"this\"\nback", "say \"this\"\nback"),
        ("relay-echo", &long, &long),
        ("relay-echo", " ", "RELAY_ECHO_EMPTY"),
    ] {
        for dialect in Dialect::ALL {
            let reply = relay.post(dialect.path(), &with(model, dialect.body(said))).await;
            assert_eq!(reply.status, 200, "{model} {dialect:?}: {}", reply.text());
            assert_eq!(dialect.text(&reply.json()), expected, "{model} {dialect:?}");
            assert_eq!(slot_of(&reply), None);
            let reply = relay.post(dialect.path(), &with(model, dialect.streamed(said))).await;
            let told = dialect.told(reply.text());
            assert_eq!((told.text.as_str(), told.is_complete), (expected, true), "{dialect:?}");
        }
    }
    assert!(relay.simulator.recorded().is_empty());
    assert_eq!(relay.say(Chat, "hello").await.status, 503, "other models need a login");
    let no_token = Ask::post(Chat.path(), with("mock-pong", Chat.body("x")).to_string());
    let no_token = no_token.header("content-type", "application/json");
    assert_eq!(relay.ask(&no_token).await.status, 401);
}

/// codex-utils: what it sends, and how it reads what comes.
#[tokio::test]
async fn codex_utils_is_understood_and_understands() {
    let relay = Setup::new().slots(&["first"]).start_over_network().await;
    let ask = |method: &str, path: &str, accept: &str, body: &Value| {
        let ask = Ask::new(method, path)
            .bearer(TOKEN)
            .header("user-agent", "Mozilla/5.0")
            .header("accept", accept)
            .header("x-openclaw-session-key", "a key of its own");
        if body.is_null() {
            return ask;
        }
        ask.header("content-type", "application/json").body(body.to_string())
    };
    let models = relay.ask(&ask("GET", "/v1/models", "application/json", &Value::Null)).await;
    assert!(models.json()["data"].is_array());
    let messages = json!([
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": "earlier"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "[sim deltas: 3]"},
    ]);
    let body = json!({"model": "gpt-5.4", "messages": messages, "user": "me"});
    let chat = relay.ask(&ask("POST", Chat.path(), "application/json", &body)).await.json();
    let whole = chat["choices"][0]["message"]["content"].as_str().expect("text").to_owned();
    let body = json!({"model": "gpt-5.4", "messages": messages, "user": "me", "stream": true});
    let stream = relay.ask(&ask("POST", Chat.path(), "text/event-stream", &body)).await;
    assert_eq!(chat_text(stream.text()), whole);
    let input = json!([{"role": "user", "content": "[sim deltas: 3]"}]);
    let body =
        json!({"model": "gpt-5.4", "input": input, "instructions": "be brief", "user": "me"});
    let reply = relay.ask(&ask("POST", Responses.path(), "application/json", &body)).await.json();
    assert_eq!(responses_text(&reply), whole);
    let mut body = body;
    body["stream"] = true.into();
    let stream = relay.ask(&ask("POST", Responses.path(), "text/event-stream", &body)).await;
    assert_eq!(events_text(stream.text()), whole);
    let body = json!({"model": "gpt-5.4", "messages": []});
    let wrong = relay.ask(&ask("POST", Chat.path(), "application/json", &body)).await;
    assert!(wrong.status >= 400 && wrong.json()["error"]["message"].is_string());
}

/// `data:` lines up to `[DONE]`; comments and empty choices are passed over.
fn chat_text(stream: &str) -> String {
    let mut text = String::new();
    for data in stream.lines().filter_map(|line| line.strip_prefix("data:")) {
        let data = data.strip_prefix(' ').unwrap_or(data);
        if data == "[DONE]" {
            break;
        }
        let chunk: Value = serde_json::from_str(data).expect("an object");
        text.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
    }
    text
}

fn responses_text(reply: &Value) -> String {
    let items = reply["output"].as_array().expect("items").iter();
    let messages = items.filter(|item| item["type"] == "message");
    let parts = messages.flat_map(|item| item["content"].as_array().cloned().unwrap_or_default());
    let texts = parts.filter(|part| part["type"] == "output_text");
    texts.map(|part| part["text"].as_str().unwrap_or_default().to_owned()).collect()
}

fn events_text(stream: &str) -> String {
    let events = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    let events = events.filter_map(|data| serde_json::from_str::<Value>(data.trim_start()).ok());
    let deltas = events.filter(|event| event["type"] == "response.output_text.delta");
    deltas.map(|event| event["delta"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn of_each_model_it_is_said_which_slots_have_it() {
    let relay = Setup::new()
        .set("AIRELAYS_SLOTS_USAGE_REFRESH_SECONDS", "0")
        .set("AIRELAYS_MODEL_ALIASES", "mine=gpt-5.4")
        .slots(&["first", "free"])
        .start_over_network()
        .await;
    let list = relay.get("/v1/models").await.json();
    let slots = |name: &str| {
        let models = list["data"].as_array().expect("models");
        let model = models.iter().find(|model| model["id"] == name);
        model.expect(name)["airelays"]["slots"].clone()
    };
    // The catalogue lists for every account what only some plans may use.
    assert_eq!(slots("gpt-5.4-mini"), json!(["slot-1", "slot-2"]));
    assert_eq!(slots("mine"), slots("gpt-5.4"));
}
