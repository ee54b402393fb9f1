//! What the name of a model means: an alias of the owner's, an effort in it, capitals.

use serde_json::{Value, json};

use crate::harness::{MODEL, Relay, Setup, dialect::Dialect};

const ALIASES: &str = "gpt-4o=gpt-5.6-terra,Fast=gpt-5.6-luna(low),gpt-5.5=gpt-5.4,none=gpt-none";

/// The model and the effort that the upstream was asked for.
async fn asked(relay: &Relay, dialect: Dialect, more: &Value) -> (String, Value) {
    let mut body = dialect.body("hello");
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let reply = relay.post(dialect.path(), &body).await;
    assert_eq!(reply.status, 200, "{more}: {reply:?}");
    let upstream = relay.last_upstream_body();
    assert_eq!(reply.json()["model"], upstream["model"], "the answer says which model it was");
    let model = upstream["model"].as_str().expect("a model").to_owned();
    (model, upstream["reasoning"]["effort"].clone())
}

#[tokio::test]
async fn a_name_means_a_model_and_an_effort() {
    let relay = Setup::new().set("AIRELAYS_MODEL_ALIASES", ALIASES).start().await;
    for (name, model, effort) in [
        ("gpt-5.6-luna", "gpt-5.6-luna", None),
        ("gpt-5.6-luna(high)", "gpt-5.6-luna", Some("high")),
        ("gpt-5.6-luna-high", "gpt-5.6-luna", Some("high")),
        ("GPT-5.6-Luna", "gpt-5.6-luna", None),
        ("GPT-5.6-Luna-XHigh", "gpt-5.6-luna", Some("xhigh")),
        ("gpt-4o", "gpt-5.6-terra", None),
        ("GPT-4O", "gpt-5.6-terra", None),
        ("gpt-4o(high)", "gpt-5.6-terra", Some("high")),
        ("gpt-4o-medium", "gpt-5.6-terra", Some("medium")),
        ("fast", "gpt-5.6-luna", Some("low")),
        ("fast-high", "gpt-5.6-luna", Some("high")),
        ("gpt-5.5", "gpt-5.4", None),
    ] {
        for dialect in Dialect::ALL {
            let found = asked(&relay, dialect, &json!({"model": name})).await;
            assert_eq!(found, (model.to_owned(), json!(effort)), "{name} on {dialect:?}");
        }
    }
    let own = json!({"model": "fast", "reasoning_effort": "medium"});
    let (_, effort) = asked(&relay, Dialect::Chat, &own).await;
    assert_eq!(effort, "medium", "what the request says counts before what its model's name says");
}

#[tokio::test]
async fn an_effort_that_a_model_does_not_have_is_refused_with_those_it_has() {
    let relay = Relay::start().await;
    for (dialect, param) in [
        (Dialect::Chat, "reasoning_effort"),
        (Dialect::Completions, "reasoning_effort"),
        (Dialect::Responses, "reasoning.effort"),
    ] {
        let mut body = dialect.body("hello");
        match dialect {
            Dialect::Responses => body["reasoning"] = json!({"effort": "max"}),
            Dialect::Chat | Dialect::Completions => body["reasoning_effort"] = json!("max"),
        }
        let reply = relay.post(dialect.path(), &body).await;
        let expected = format!("400 invalid_request_error unsupported_value {param}");
        assert_eq!(reply.refusal().line(), expected);
        for effort in ["low", "medium", "high", "xhigh"] {
            assert!(reply.text().contains(effort), "{reply:?}");
        }
        assert_eq!(relay.upstream_requests().len(), 1, "asked once");
        relay.simulator.clear();
    }
}

#[tokio::test]
async fn who_asks_for_as_little_as_possible_gets_the_least_there_is_and_is_told() {
    let relay = Relay::start().await;
    // The first request finds out; the others know.
    let mut n_sent = 2;
    for dialect in Dialect::ALL {
        for effort in ["none", "minimal"] {
            relay.simulator.clear();
            let mut body = dialect.body("hello");
            let own = match dialect {
                Dialect::Responses => {
                    body["reasoning"] = json!({"effort": effort});
                    "reasoning.effort"
                }
                Dialect::Chat | Dialect::Completions => {
                    body["reasoning_effort"] = json!(effort);
                    "reasoning_effort"
                }
            };
            let reply = relay.post(dialect.path(), &body).await;
            assert_eq!(reply.status, 200, "{effort} on {dialect:?}: {reply:?}");
            assert_eq!(reply.header("x-airelays-ignored-parameters"), Some(own));
            assert_eq!(relay.last_upstream_body()["reasoning"]["effort"], "low");
            assert_eq!(relay.upstream_requests().len(), n_sent);
            n_sent = 1;
        }
    }
}

#[tokio::test]
async fn a_list_has_the_owners_names() {
    let relay = Setup::new().set("AIRELAYS_MODEL_ALIASES", ALIASES).start().await;
    let list = relay.get("/v1/models").await.json();
    let all = list["data"].as_array().expect("models");
    let of = |id: &str| -> Vec<&Value> { all.iter().filter(|model| model["id"] == id).collect() };
    for (name, model) in
        [("gpt-4o", "gpt-5.6-terra"), ("Fast", "gpt-5.6-luna(low)"), ("gpt-5.5", "gpt-5.4")]
    {
        let [entry] = of(name)[..] else { panic!("{name} is there once") };
        assert_eq!(entry["airelays"]["alias_of"], model);
        assert_eq!(entry["airelays"]["context_window"], 272_000, "{entry}");
        assert_eq!(*entry, relay.get(&format!("/v1/models/{name}")).await.json());
    }
    assert_eq!(of(MODEL).len(), 1);
    assert_eq!(of(MODEL)[0]["airelays"].get("alias_of"), None);
}

#[tokio::test]
async fn an_alias_that_leads_nowhere_says_where_it_led() {
    let relay = Setup::new().set("AIRELAYS_MODEL_ALIASES", ALIASES).start().await;
    let mut body = Dialect::Chat.body("hello");
    body["model"] = json!("none");
    let reply = relay.post(Dialect::Chat.path(), &body).await;
    assert_eq!(reply.refusal().line(), "404 invalid_request_error model_not_found model");
    assert!(reply.text().contains("gpt-none"), "{reply:?}");
}
