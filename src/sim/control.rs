//! Control over HTTP, under `/sim/`: for tests that are written in another language.
//!
//! It is no part of what is imitated and is not recorded.

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use bytes::Bytes;
use http::Uri;
use serde_json::Value;

use crate::sim::{
    Simulator,
    answer::Answer,
    form::{pairs, value},
    record::Recorded,
    script::{ScriptError, Step},
    tree::{fields, object, text},
};

pub(super) fn router(simulator: &Simulator) -> Router {
    Router::new()
        .route("/sim/requests", get(requests))
        .route("/sim/counters", get(counters))
        .route("/sim/login", get(login))
        .route("/sim/clear", post(clear))
        .route("/sim/script", post(script))
        .route("/sim/world", post(world))
        .route("/sim/usage", post(usage))
        .route("/sim/expire", post(expire))
        .route("/sim/revoke", post(revoke))
        .with_state(simulator.clone())
}

async fn requests(State(simulator): State<Simulator>) -> Answer {
    let requests: Value = simulator.recorded().iter().map(Recorded::to_json).collect();
    Answer::json(200, &requests)
}

async fn counters(State(simulator): State<Simulator>) -> Answer {
    Answer::json(200, &simulator.counters().to_json())
}

/// A stored login: of the account named by `account`, else of a new one.
async fn login(State(simulator): State<Simulator>, uri: Uri) -> Answer {
    let query = pairs(uri.query().unwrap_or_default());
    let login = match value(&query, "account") {
        "" => simulator.stored_login(),
        name => simulator.stored_login_for(name),
    };
    Answer { body: login.into(), ..Answer::empty(200) }.with("content-type", "application/json")
}

async fn clear(State(simulator): State<Simulator>) -> Answer {
    simulator.clear();
    done()
}

/// A list of texts in the grammar of markers.
async fn script(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let Ok(Value::Array(texts)) = serde_json::from_slice(&body) else {
        return mistake("a list of texts is wanted");
    };
    let steps: Result<Vec<_>, ScriptError> =
        texts.iter().map(|text| Step::parse(text.as_str().unwrap_or_default())).collect();
    match steps {
        Ok(steps) => {
            simulator.script(steps);
            done()
        }
        Err(error) => mistake(&error.to_string()),
    }
}

/// An object of switches.
async fn world(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let Ok(tree @ Value::Object(_)) = serde_json::from_slice::<Value>(&body) else {
        return mistake("an object of switches is wanted");
    };
    for (name, value) in fields(&tree) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let Err(error) = simulator.set_world(name, &text) {
            return mistake(&error.to_string());
        }
    }
    done()
}

/// What a test may say about the windows of an account, besides whose they are.
const USAGE: [&str; 6] = [
    "primary_used",
    "secondary_used",
    "primary_resets_in",
    "secondary_resets_in",
    "images_used",
    "images_resets_in",
];

/// How the windows of an account stand: percent, and seconds from now.
async fn usage(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let tree: Value = serde_json::from_slice(&body).unwrap_or_default();
    let account = text(&tree, "account");
    if account.is_empty() {
        return mistake("an object with the name of an account is wanted");
    }
    for (name, value) in fields(&tree) {
        let is_usage = USAGE.contains(&name.as_str()) && value.is_u64();
        if !is_usage && name != "account" {
            return mistake(&format!("{name:?} cannot be {value}"));
        }
    }
    let number = |name: &str| tree.get(name).and_then(Value::as_u64);
    let [primary, secondary, primary_resets_in, secondary_resets_in, images, images_resets_in] =
        USAGE.map(number);
    simulator.adjust(account, [primary, secondary], [primary_resets_in, secondary_resets_in]);
    simulator.adjust_images(account, images, images_resets_in);
    done()
}

async fn expire(State(simulator): State<Simulator>) -> Answer {
    simulator.expire_access_tokens();
    done()
}

async fn revoke(State(simulator): State<Simulator>) -> Answer {
    simulator.revoke_refresh_tokens();
    done()
}

fn done() -> Answer {
    Answer::json(200, &object! {"ok": true})
}

fn mistake(message: &str) -> Answer {
    Answer::json(400, &object! {"error": message})
}
