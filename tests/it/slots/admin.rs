//! The slots as they are seen and steered over HTTP.

use serde_json::{Value, json};

use super::{by, relay, says, setup, slot_of};
use crate::harness::{
    TOKEN,
    dialect::Dialect::{self, Chat},
    http::Ask,
};

#[tokio::test]
async fn every_answer_says_who_gave_it_and_under_which_id() {
    let relay = relay(&["first"]).await;
    for reply in [
        relay.say(Chat, "hello").await,
        relay.say_streamed(Dialect::Responses, "hello").await,
        relay.get("/v1/nothing").await,
        relay.get("/healthz").await,
        relay.ask(&Ask::get("/admin/slots")).await,
    ] {
        assert_eq!(reply.header("x-relay-version"), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(reply.header("x-relay-request-id"), reply.header("x-request-id"));
        assert!(reply.header("x-relay-request-id").is_some());
    }
    let failed = relay.say(Chat, "[sim status: 500]").await;
    assert_eq!((failed.status, slot_of(&failed)), (502, Some("slot-1")));
}

#[tokio::test]
async fn strangers_and_web_pages_see_and_steer_nothing() {
    let relay = relay(&["first", "second"]).await;
    for (method, path) in [
        ("GET", "/admin/slots"),
        ("GET", "/admin/stats"),
        ("GET", "/admin/config"),
        ("GET", "/admin/nothing"),
        ("POST", "/admin/slots/slot-1/disable"),
        ("POST", "/admin/refresh-usage"),
        ("PUT", "/admin/policy"),
        ("POST", "/v1/relay/accounts/resets/redeem"),
        ("GET", "/v1/relay/requests/req_1/explain"),
    ] {
        let status = relay.ask(&Ask::new(method, path)).await.status;
        // Whoever knocks too often is not even asked for a token.
        assert!(matches!(status, 401 | 429), "{path}: {status}");
        let page = Ask::new(method, path).bearer(TOKEN).header("origin", "https://evil.example");
        assert_eq!(relay.ask(&page).await.status, 403, "{path}");
        let rebound = Ask::new(method, path).bearer(TOKEN).header("host", "evil.example");
        assert!(matches!(relay.ask(&rebound).await.status, 400 | 403 | 421), "{path}");
    }
    assert_eq!(relay.slot(1).await["enabled"], true);
}

#[tokio::test]
async fn what_is_decided_counts_at_once_and_after_a_restart() {
    let relay = relay(&["first", "second", "third"]).await;
    let act = async |action: &str| {
        let reply = relay.post(&format!("/admin/slots/{action}"), &json!({})).await;
        (reply.status, reply.json()["slot"]["state"].as_str().unwrap_or("none").to_owned())
    };
    assert_eq!(act("slot-1/disable").await, (200, "disabled".to_owned()));
    assert_eq!(says(&relay, Chat, "a").await, by("slot-2"));
    assert_eq!(act("2/pause").await, (200, "paused".to_owned()));
    assert_eq!(says(&relay, Chat, "b").await, by("slot-3"));
    assert_eq!(act("slot-3/pause").await.0, 200);
    let refusal = relay.say(Chat, "c").await.refusal();
    assert_eq!(refusal.line(), "503 server_error no_slot_available");
    assert_eq!(act("default/enable").await, (200, "ready".to_owned()), "the first by its old name");
    assert_eq!(says(&relay, Chat, "d").await, by("slot-1"));
    for (path, status) in [
        ("slot-9/enable", 404),
        ("slot-1/explode", 404),
        ("..%2F..%2Fetc/enable", 404),
        ("%ff/enable", 404),
    ] {
        assert_eq!(act(path).await.0, status, "{path}");
    }
    let file = std::fs::read_to_string(relay.path(".airelays/slots.json")).expect("written");
    let book: Value = serde_json::from_str(&file).expect("JSON");
    assert_eq!(book["slots"]["slot-2"]["paused"], true, "{file}");
    assert_eq!(book["slots"]["slot-1"]["enabled"], true);
}

#[tokio::test]
async fn the_policy_is_shown_chosen_and_given_back() {
    let relay = relay(&["first", "second"]).await;
    let put = async |path: &str, body: Value| {
        let ask = Ask::new("PUT", path).bearer(TOKEN).header("content-type", "application/json");
        relay.ask(&ask.body(body.to_string())).await
    };
    let shown = relay.get("/admin/policy").await.json();
    assert_eq!((&shown["policy"], &shown["configured"]), (&json!("ordered"), &json!("ordered")));
    assert_eq!(shown["policies"].as_array().map(Vec::len), Some(8));
    let chosen = put("/admin/policy", json!({"policy": "Ping_Pong"})).await;
    assert_eq!((chosen.status, &chosen.json()["policy"]), (200, &json!("ping-pong")));
    let slots = [says(&relay, Chat, "a").await, says(&relay, Chat, "b").await];
    assert_eq!(slots, [by("slot-1"), by("slot-2")]);
    assert_eq!(relay.get("/v1/relay/balance").await.json()["openai"], "ping-pong");
    let chosen = put("/v1/relay/balance", json!({"openai": "round_robin"})).await;
    assert_eq!(chosen.json()["openai"], "round-robin");
    for body in [json!({"policy": "best"}), json!({"policy": 7}), json!([]), json!({})] {
        assert_eq!(put("/admin/policy", body.clone()).await.status, 422, "{body}");
    }
    let back = put("/admin/policy", json!({"policy": null})).await;
    assert_eq!(back.json()["policy"], "ordered");
}

#[tokio::test]
async fn a_slot_is_described_in_both_programs_words() {
    let relay = relay(&["first", "second"]).await;
    relay.simulator.set_used("first", 40, 20);
    relay.say(Chat, "hello").await;
    let slot = relay.slot(1).await;
    assert_eq!(slot["email"], "first@simulator.example");
    assert_eq!((&slot["plan"], &slot["state"]), (&json!("plus"), &json!("ready")));
    assert_eq!((&slot["usage"]["fivePct"], &slot["usage"]["weekPct"]), (&json!(60), &json!(80)));
    let text = slot["usage"]["usage5h"].as_str().expect("text");
    assert!(text.starts_with("60% left · resets 3h 4"), "{text}");
    assert_eq!(slot["runtime"]["consecutiveFailures"], 0);
    assert_eq!(slot["sourceMeta"]["accountId"], slot["account_id"]);
    let spans: Vec<_> =
        slot["windows"].as_array().expect("windows").iter().map(|it| it["span"].clone()).collect();
    assert_eq!(spans, ["five_hours", "week", "week"], "{slot}");
    assert!(!slot.to_string().contains("eyJ"), "no token is in it");
}

#[tokio::test]
async fn counters_and_the_latest_requests_are_told() {
    let relay = relay(&["first", "second"]).await;
    relay.say(Chat, "hello").await;
    relay.say_streamed(Chat, "hello").await;
    relay.say(Chat, "[sim status: 500]").await;
    relay.get("/v1/nothing").await;
    let stats = relay.get("/admin/stats").await.json();
    assert_eq!(stats["requestsTotal"], 4, "{stats}");
    assert_eq!((&stats["successTotal"], &stats["inflight"]), (&json!(2), &json!(1)));
    assert_eq!((&stats["clientErrorTotal"], &stats["serverErrorTotal"]), (&json!(1), &json!(1)));
    assert_eq!(stats["byPath"]["/v1/chat/completions"], 3);
    assert_eq!(stats["byStatus"], json!({"200": 2, "404": 1, "502": 1}));
    assert_eq!(stats["recentRequests"][0]["slotId"], "slot-1");
    assert_eq!(stats["recentErrors"].as_array().map(Vec::len), Some(2));
    assert_eq!(stats["dependencyMap"]["auth"]["configuredBackend"], "native");
    assert!(!stats.to_string().contains(TOKEN));
    assert!(relay.get("/admin/config").await.json()["config"]["port"].is_number());
    let map = relay.get("/admin/dependency-map").await.json();
    assert_eq!(map["dependencyMap"]["runner"]["configuredBackend"], "codex-direct");
}

#[tokio::test]
async fn a_request_can_be_explained() {
    let relay = relay(&["spent", "second"]).await;
    let reply = relay.say(Chat, "hello").await;
    let id = reply.header("x-request-id").expect("an id");
    let told = relay.get(&format!("/v1/relay/requests/{id}/explain")).await.json();
    let first = &told["choices"][0];
    assert_eq!((&first["chosen"], &first["because"]), (&json!("slot-1"), &json!("ordered")));
    assert_eq!(told["choices"][1]["candidates"][0]["state"], "tried", "{told}");
    assert_eq!(told["choices"][1]["chosen"], "slot-2");
    let attempts = told["attempts"].as_array().expect("attempts");
    assert_eq!(attempts[0]["failure"], "this account's usage limit is reached");
    assert_eq!((&attempts[1]["slot"], &attempts[1]["failure"]), (&json!("slot-2"), &Value::Null));
    assert!(attempts[0]["connect_ms"].as_f64() > Some(0.0), "the first one had to connect: {told}");
    assert!(attempts[1]["connect_ms"].as_f64() <= attempts[1]["headers_ms"].as_f64());
    assert!(attempts[1]["first_output_ms"].as_f64() > Some(0.0));
    assert!(told["timing"]["total_ms"].as_f64() >= told["timing"]["first_token_ms"].as_f64());
    assert!(told["cache"]["input_tokens"].as_u64() > Some(0), "{told}");
    assert_eq!(told["outcome"], "completed");
    assert!(!told.to_string().contains("hello"), "what was said is nobody's business here");
    let unknown = relay.get("/v1/relay/requests/req_0/explain").await.refusal();
    assert_eq!(unknown.line(), "404 invalid_request_error request_not_found");
}

#[tokio::test]
async fn a_reset_is_used_only_when_asked_for_and_once() {
    let relay = relay(&["first", "second"]).await;
    relay.simulator.set_used("first", 100, 50);
    assert_eq!(says(&relay, Chat, "hello").await, by("slot-2"));
    let list = relay.get("/v1/relay/accounts/resets").await.json();
    assert_eq!((&list["object"], &list["available_count"]), (&json!("accounts.resets"), &json!(2)));
    assert_eq!(list["accounts"][0]["email"], "first@simulator.example");
    let one = relay.get("/v1/relay/accounts/resets?account=slot-2").await.json();
    assert_eq!(one["accounts"].as_array().map(Vec::len), Some(1));
    let redeem = "/v1/relay/accounts/resets/redeem";
    assert_eq!(relay.post(redeem, &json!({})).await.status, 422, "nobody is named");
    let body = json!({"account": "slot-1", "redeem_request_id": "one"});
    let done = relay.post(redeem, &body).await.json();
    assert_eq!((&done["outcome"], &done["reset_applied"]), (&json!("reset"), &json!(true)));
    assert_eq!(relay.slot(1).await["state"], "ready", "its rest is over with it");
    assert_eq!(says(&relay, Chat, "another").await, by("slot-1"));
    let again = relay.post(redeem, &body).await.json();
    assert_eq!(again["outcome"], "already_redeemed");
    let none = relay.post(redeem, &json!({"account": "slot-1"})).await.json();
    assert_eq!(none["outcome"], "no_credit");
}

#[tokio::test]
async fn a_slot_can_be_tried_out_whatever_the_choice_would_be() {
    let relay = relay(&["first", "second", "spent"]).await;
    relay.post("/admin/slots/slot-2/disable", &json!({})).await;
    let test = async |slot: &str, body: Value| {
        relay.post(&format!("/admin/slots/{slot}/test"), &body).await
    };
    let said = test("slot-2", json!({"prompt": "[sim say: pong]"})).await.json();
    assert_eq!((&said["slot"], &said["text"]), (&json!("slot-2"), &json!("pong")), "{said}");
    let spent = test("slot-3", json!({"prompt": "x"})).await.refusal();
    assert_eq!(spent.code.as_deref(), Some("usage_limit_reached"));
    assert_eq!(test("slot-9", json!({})).await.status, 404);
}

#[tokio::test]
async fn a_file_that_was_broken_by_hand_changes_nothing_and_is_told() {
    let setup = setup(&["first", "second"]);
    let relay = setup.start_over_network().await;
    relay.post("/admin/slots/slot-1/disable", &json!({})).await;
    let file = relay.path(".airelays/slots.json");
    crate::harness::write(&file, "{");
    assert_eq!(relay.slot(1).await["state"], "disabled", "what was known stays");
    assert_eq!(says(&relay, Chat, "hello").await, by("slot-2"));
    let refusal = relay.post("/admin/slots/slot-1/enable", &json!({})).await.refusal();
    assert_eq!(refusal.line(), "503 server_error slots_unavailable");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "{", "it is not overwritten");
}
