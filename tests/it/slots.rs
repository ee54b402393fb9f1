//! Several accounts behind one address: who serves whom, what becomes of failures, and that nothing
//! is done twice or held against the wrong one.

mod admin;
mod affinity;
mod commands;
mod crowds;
mod models;
mod told;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{
    Relay, Setup, TOKEN,
    dialect::Dialect::{self, Chat, Completions, Responses},
    eventually,
    http::{Answering, Ask, Reply},
};

/// A relay with these accounts. Nothing is asked in the background, so that every request counts.
async fn relay(accounts: &[&str]) -> Relay {
    setup(accounts).start_over_network().await
}

fn setup(accounts: &[&str]) -> Setup {
    Setup::new()
        .set("AIRELAYS_SLOTS_USAGE_REFRESH_SECONDS", "0")
        .set("AIRELAYS_SLOTS_POLICY", "ordered")
        .slots(accounts)
}

fn slot_of(reply: &Reply) -> Option<&str> {
    reply.header("x-relay-slot-id")
}

/// The sentence of a refusal.
fn message(reply: &Reply) -> String {
    reply.json()["error"]["message"].as_str().expect("a sentence").to_owned()
}

/// How many inference requests each account has had.
fn asked(relay: &Relay) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in relay.upstream_requests() {
        *counts.entry(account_of(&request)).or_default() += 1;
    }
    counts
}

fn account_of(request: &airelays::sim::Recorded) -> String {
    request.header("chatgpt-account-id").unwrap_or_default().to_owned()
}

fn n_asked(relay: &Relay) -> Vec<usize> {
    let mut counts: Vec<_> = asked(relay).into_values().collect();
    counts.sort_unstable();
    counts
}

/// What is told, and by whom.
async fn says(relay: &Relay, dialect: Dialect, text: &str) -> (u16, Option<String>) {
    let reply = relay.say(dialect, text).await;
    (reply.status, slot_of(&reply).map(str::to_owned))
}

fn by(slot: &str) -> (u16, Option<String>) {
    (200, Some(slot.to_owned()))
}

/// Asks while the test goes on.
fn meanwhile(relay: &Relay, ask: &Ask) -> JoinHandle<Reply> {
    let (address, bytes) = (relay.address, ask.bytes());
    tokio::spawn(async move { Answering::to(address, &bytes).await.whole().await })
}

/// The reference gave up after the second; a third one that was ready went unasked.
#[tokio::test]
async fn every_account_is_tried_once_before_anybody_is_turned_away() {
    for dialect in Dialect::ALL {
        let relay = relay(&["spent", "not-included", "third"]).await;
        let text = "hello";
        assert_eq!(says(&relay, dialect, text).await, by("slot-3"), "{dialect:?}");
        assert_eq!(n_asked(&relay), [1, 1, 1]);
        relay.simulator.clear();
        // What is known now spares the others a request that would be in vain.
        assert_eq!(says(&relay, dialect, "another").await, by("slot-3"));
        assert_eq!(n_asked(&relay), [1]);
        assert_eq!(relay.slot(1).await["state"], "exhausted");
        assert_eq!(relay.slot(2).await["state"], "cooling");
        assert_eq!(relay.slot(2).await["reason"], "its plan does not include Codex");
    }
}

#[tokio::test]
async fn a_limit_inside_a_stream_moves_on_as_well_and_the_client_sees_one_answer() {
    for dialect in Dialect::ALL {
        let relay = relay(&["spent-stream", "second"]).await;
        let reply = relay.say_streamed(dialect, "hello").await;
        assert_eq!((reply.status, slot_of(&reply)), (200, Some("slot-2")));
        assert!(dialect.told(reply.text()).is_complete);
        assert_eq!(n_asked(&relay), [1, 1]);
        assert_eq!(relay.slot(1).await["state"], "exhausted");
    }
}

#[tokio::test]
async fn an_overload_is_the_services_and_is_held_against_nobody() {
    for account in ["overloaded", "overloaded-stream"] {
        let relay = relay(&[account, "second"]).await;
        assert_eq!(says(&relay, Chat, "hello").await, by("slot-2"));
        assert_eq!(n_asked(&relay), [1, 1]);
        let slot = relay.slot(1).await;
        assert_eq!((&slot["state"], &slot["failed"]), (&json!("ready"), &json!(0)), "{account}");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_after_a_pause_and_then_told() {
    let again = |passes: &str| {
        setup(&["overloaded", "overloaded-stream"])
            .set("AIRELAYS_SLOTS_RETRY_PASSES", passes)
            .set("AIRELAYS_SLOTS_RETRY_BACKOFF_SECONDS", "0.01")
    };
    for (passes, expected) in [("0", [1, 1]), ("1", [2, 2]), ("2", [3, 3])] {
        let relay = again(passes).start_over_network().await;
        let refusal = relay.say(Chat, "hello").await.refusal();
        assert_eq!(refusal.line(), "503 server_error server_is_overloaded");
        assert_eq!(n_asked(&relay), expected, "{passes}");
    }
    // The second pass may well find it over.
    let relay = setup(&["first"])
        .set("AIRELAYS_SLOTS_RETRY_PASSES", "1")
        .set("AIRELAYS_SLOTS_RETRY_BACKOFF_SECONDS", "0.01")
        .start_over_network()
        .await;
    relay.script(&["status: 500", "say: well again"]);
    let reply = relay.say(Chat, "hello").await;
    assert_eq!((reply.status, Chat.text(&reply.json())), (200, "well again".to_owned()));
}

/// In the reference a bad model, a wrong parameter or Ctrl-C cost two accounts five minutes.
#[tokio::test]
async fn a_request_that_is_refused_costs_one_call_and_no_account() {
    let relay = relay(&["first", "second", "third"]).await;
    for marker in ["error: context_length_exceeded", "failed: invalid_prompt", "status: 400"] {
        relay.simulator.clear();
        let reply = relay.say(Chat, &format!("[sim {marker}]")).await;
        assert!((400..500).contains(&reply.status), "{marker}: {}", reply.text());
        assert_eq!(n_asked(&relay), [1], "{marker}");
        for number in 1..=3 {
            assert_eq!(relay.slot(number).await["state"], "ready", "{marker}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_marks_nothing_and_holds_nothing() {
    let relay = relay(&["first", "second"]).await;
    for text in
        ["[sim stall]", "[sim deltas: 3] [sim stall-after-text]", "[sim headers-pause: 60000]"]
    {
        let body = Responses.streamed(text);
        let ask = Ask::post(Responses.path(), body.to_string()).bearer(TOKEN);
        let mut answering = relay.open(&ask.header("content-type", "application/json")).await;
        if text.contains("deltas") {
            answering.piece().await;
        }
        drop(answering);
    }
    relay.is_idle().await;
    let idle = |slot: &Value| slot["in_flight"] == 0 && slot["state"] == "ready";
    for number in [1, 2] {
        let slot = relay.slot(number).await;
        assert!(idle(&slot), "{slot}");
        assert_eq!(slot["failed"], 0);
    }
    assert!(asked(&relay).len() <= 1, "nobody else was asked for somebody who has gone");
}

#[tokio::test]
async fn a_failure_after_output_is_told_once_and_held_against_its_account() {
    for dialect in Dialect::ALL {
        let relay = relay(&["first", "second"]).await;
        let text = "[sim deltas: 3] [sim fail-after-text: usage_limit_reached]";
        let reply = relay.say_streamed(dialect, text).await;
        assert_eq!((reply.status, slot_of(&reply)), (200, Some("slot-1")));
        let told = dialect.told(reply.text());
        assert!(told.failure.is_some() && !told.is_complete, "{}", reply.text());
        assert_eq!(n_asked(&relay), [1], "what the client has seen is not done again");
        assert_eq!(relay.slot(1).await["state"], "exhausted");
        assert_eq!(says(&relay, dialect, "hello").await, by("slot-2"));
    }
}

#[tokio::test]
async fn when_all_are_spent_it_is_said_of_each_until_when() {
    let relay = relay(&["first", "second"]).await;
    relay.simulator.set_used("first", 100, 5);
    relay.simulator.set_resets("first", 600, 5000);
    relay.simulator.set_used("second", 10, 100);
    relay.simulator.set_resets("second", 300, 4000);
    for dialect in Dialect::ALL {
        let reply = relay.say(dialect, "hello").await;
        let refusal = reply.refusal();
        assert_eq!(refusal.line(), "429 rate_limit_error usage_limit_reached");
        for said in ["slot-1: the 5 h window is used up, until 20", "slot-2: the week window is"] {
            assert!(message(&reply).contains(said), "{}", message(&reply));
        }
        let wait: u64 = reply.header("retry-after").expect("a wait").parse().expect("seconds");
        assert!((590..=600).contains(&wait), "{wait}");
        assert_eq!(reply.header("x-should-retry"), Some("false"));
    }
    assert_eq!(n_asked(&relay), [1, 1], "what is known is not asked again");
}

#[tokio::test]
async fn a_limit_ends_when_it_says_without_anybody_doing_anything() {
    let relay = relay(&["first", "second"]).await;
    for account in ["first", "second"] {
        relay.simulator.set_used(account, 100, 5);
        relay.simulator.set_resets(account, 2, 5000);
    }
    assert_eq!(relay.say(Chat, "hello").await.status, 429);
    let ask = Ask::post(Chat.path(), Chat.body("hello").to_string()).bearer(TOKEN);
    let ask = ask.header("content-type", "application/json");
    relay.until_status(&ask, 200).await;
    assert_eq!(relay.slot(1).await["state"], "ready");
}

/// A bench that outlives the quota is the bug that comes back most in this field.
#[tokio::test]
async fn a_newer_reading_that_shows_room_ends_a_rest() {
    let relay = relay(&["first", "second"]).await;
    relay.simulator.set_used("first", 100, 5);
    assert_eq!(says(&relay, Chat, "hello").await, by("slot-2"));
    assert_eq!(relay.slot(1).await["state"], "exhausted");
    // The upstream gives everybody a fresh window, before its time.
    relay.simulator.set_used("first", 0, 5);
    let updated = relay.post("/admin/refresh-usage", &json!({})).await.json();
    assert_eq!(updated["updated"][0]["fivePct"], 100, "{updated}");
    assert_eq!(relay.slot(1).await["state"], "ready");
    assert_eq!(says(&relay, Chat, "another").await, by("slot-1"));
}

#[tokio::test]
async fn one_accounts_trouble_with_its_usage_is_its_own() {
    let relay = relay(&["first", "deactivated"]).await;
    let updated = relay.post("/admin/refresh-usage", &json!({})).await.json();
    let rows = updated["updated"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["ok"], &rows[0]["fivePct"]), (&json!(true), &json!(73)), "{updated}");
    relay.simulator.set_world("usage_route", "not-found").expect("a switch");
    let updated = relay.post("/admin/refresh-usage", &json!({})).await.json();
    assert_eq!(updated["updated"][0]["ok"], false, "{updated}");
    assert_eq!(updated["updated"][0]["fivePct"], 73, "what was known stays");
    assert_eq!(says(&relay, Chat, "hello").await, by("slot-1"));
}

#[tokio::test]
async fn every_answer_says_what_is_left() {
    let setup = setup(&["first"]).world("turn_cost", "30");
    let relay = setup.start_over_network().await;
    for left in [43, 13] {
        assert_eq!(relay.say(Chat, "hello").await.status, 200);
        let slot = relay.slot(1).await;
        assert_eq!(slot["usage"]["fivePct"], left, "{slot}");
    }
    // The last of it is served. There may be credits, so the next is asked for; the one after that
    // is refused here.
    assert_eq!(relay.say(Chat, "hello").await.status, 200);
    assert_eq!(relay.slot(1).await["state"], "exhausted");
    let refusal = relay.say(Chat, "hello").await.refusal();
    assert_eq!(refusal.line(), "429 rate_limit_error usage_limit_reached");
    relay.simulator.clear();
    let refusal = relay.say(Chat, "hello").await.refusal();
    assert_eq!(refusal.line(), "429 rate_limit_error usage_limit_reached");
    assert!(relay.upstream_requests().is_empty());
}

#[tokio::test]
async fn events_in_a_stream_say_it_too() {
    let setup = setup(&["first"]).world("limit_events", "on");
    let relay = setup.start_over_network().await;
    relay.simulator.set_used("first", 40, 20);
    let reply = relay.say_streamed(Responses, "hello").await;
    assert!(!reply.text().contains("codex.rate_limits"), "it is not for the client");
    assert_eq!(relay.slot(1).await["usage"]["weekPct"], 80);
}

#[tokio::test]
async fn the_rest_of_a_window_can_be_kept_even_of_a_single_account() {
    let relay = setup(&["first"])
        .set("AIRELAYS_SLOTS_RESERVE_PERCENT", "20")
        .world("turn_cost", "30")
        .start_over_network()
        .await;
    assert_eq!(relay.say(Chat, "one").await.status, 200);
    assert_eq!(relay.say(Chat, "two").await.status, 200, "43 % were left");
    relay.simulator.clear();
    for dialect in Dialect::ALL {
        let reply = relay.say(dialect, "three").await;
        let refusal = reply.refusal();
        assert_eq!(refusal.line(), "429 rate_limit_error usage_limit_reached");
        let said = "what is left of the 5 h window (13 %) is reserved";
        assert!(message(&reply).contains(said), "{}", message(&reply));
        assert!(reply.header("retry-after").is_some());
    }
    assert!(relay.upstream_requests().is_empty(), "it is not drained further");
}

#[tokio::test]
async fn a_login_that_has_died_is_passed_over_and_comes_back_by_itself() {
    let relay = relay(&["first", "second"]).await;
    let file = relay.path(".airelays/auth.json");
    crate::harness::write(&file, r#"{"tokens":{}}"#);
    assert_eq!(says(&relay, Chat, "hello").await, by("slot-2"));
    let slot = relay.slot(1).await;
    assert_eq!(slot["state"], "needs_login", "{slot}");
    crate::harness::write(&file, &relay.simulator.stored_login_for("first"));
    // Listing looks at the disk again; the watch does so by itself.
    assert_eq!(relay.slot(1).await["state"], "ready");
    assert_eq!(says(&relay, Chat, "another").await, by("slot-1"));
}

#[tokio::test]
async fn when_all_logins_have_died_that_is_what_is_said() {
    let relay = relay(&["first", "second"]).await;
    for file in [".airelays/auth.json", ".airelays/accounts/slot-2/auth.json"] {
        crate::harness::write(&relay.path(file), r#"{"tokens":{}}"#);
    }
    for dialect in Dialect::ALL {
        let refusal = relay.say(dialect, "hello").await.refusal();
        assert_eq!(refusal.line(), "503 authentication_error upstream_auth_incomplete");
    }
}

/// What was known of the account that was there before is not about the new one.
#[tokio::test]
async fn another_account_in_a_slot_begins_anew() {
    for n_slots in [1, 2] {
        let relay = relay(&["first", "second"][..n_slots]).await;
        for account in ["first", "second"] {
            relay.simulator.set_used(account, 100, 5);
            relay.simulator.set_resets(account, 3600, 7200);
        }
        assert_eq!(relay.say(Chat, "hello").await.status, 429);
        let file = relay.path(".airelays/auth.json");
        crate::harness::write(&file, &relay.simulator.stored_login_for("third"));
        relay.get("/admin/slots").await;
        assert_eq!(says(&relay, Chat, "hello").await, by("slot-1"), "{n_slots}");
        let slot = relay.slot(1).await;
        assert_eq!((&slot["state"], &slot["usage"]["fivePct"]), (&json!("ready"), &json!(73)));
    }
}

#[tokio::test]
async fn what_passes_in_a_moment_is_told_as_such_and_what_does_not_is_no_limit() {
    let relay = relay(&["not-included", "deactivated"]).await;
    let reply = relay.say(Chat, "hello").await;
    assert_eq!(reply.refusal().line(), "503 server_error no_slot_available");
    let said = message(&reply);
    assert!(
        said.contains("slot-1: its plan does not include Codex; slot-2: its workspace"),
        "{said}"
    );
    let relay = self::relay(&["first", "second"]).await;
    relay.script(&["limit: 3600", "error: rate_limit_exceeded"]);
    let reply = relay.say(Chat, "hello").await;
    assert_eq!(reply.refusal().line(), "429 rate_limit_error rate_limit_exceeded");
    assert_eq!(reply.header("x-should-retry"), None, "SDKs do well to try again");
    let wait: u64 = reply.header("retry-after").expect("a wait").parse().expect("seconds");
    assert!(wait <= 10, "{wait}");
}

#[tokio::test]
async fn the_relay_is_ready_if_any_account_is() {
    let relay = relay(&["first", "second"]).await;
    std::fs::remove_file(relay.path(".airelays/auth.json")).expect("removed");
    let status = relay.get("/v1/relay/status").await.json();
    assert_eq!(status["ready"]["upstream_auth"], true, "{}", status["ready"]);
    assert_eq!(status["auth"]["email"], "second@simulator.example");
}

#[tokio::test]
async fn a_renewal_of_one_account_holds_up_no_other() {
    let relay = setup(&["first", "second"])
        .set("AIRELAYS_SLOTS_POLICY", "round-robin")
        .start_over_network()
        .await;
    relay.simulator.set_world("token_delay", "3000").expect("a switch");
    relay.simulator.expire_access_tokens();
    let file = relay.path(".airelays/accounts/slot-2/auth.json");
    crate::harness::write(&file, &relay.simulator.stored_login_for("second"));
    let slow = relay.say(Chat, "one");
    let quick = async {
        // The first in turn is being renewed; the second one is asked next.
        eventually("a renewal", || {
            relay.simulator.recorded().iter().any(|it| it.path == "/oauth/token")
        })
        .await;
        let reply = relay.say(Chat, "two").await;
        (reply.status, relay.simulator.counters().refreshes)
    };
    let (slow, (status, refreshes)) = tokio::join!(slow, quick);
    assert_eq!((slow.status, status), (200, 200));
    assert!(refreshes <= 1, "the second was served while the first was renewed");
}

#[tokio::test]
async fn a_model_that_one_plan_lacks_is_had_from_another() {
    let relay = relay(&["free", "pro"]).await;
    let model = "gpt-5.4";
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    let reply = relay.post(Chat.path(), &body).await;
    assert_eq!((reply.status, slot_of(&reply)), (200, Some("slot-2")), "{}", reply.text());
    assert_eq!(relay.slot(1).await["state"], "ready", "nothing is wrong with it");
    let nobody = json!({"model": "gpt-0", "messages": [{"role": "user", "content": "hello"}]});
    let refusal = relay.post(Chat.path(), &nobody).await.refusal();
    assert_eq!(refusal.code.as_deref(), Some("model_not_found"));
}

#[tokio::test]
async fn the_log_says_which_slot_each_record_is_about() {
    let relay = relay(&["spent", "second"]).await;
    let reply = relay.say_streamed(Completions, "hello").await;
    assert!(relay.slot(1).await["email"].is_string());
    let id = reply.header("x-relay-request-id").expect("an id").to_owned();
    let home = relay.stop().await;
    let log = crate::harness::log::records(home.path());
    let slots = |phase: &str| -> Vec<String> {
        let of_request = log.iter().filter(|it| it["request_id"] == *id && it["phase"] == phase);
        of_request.map(|it| it["slot_id"].as_str().unwrap_or("none").to_owned()).collect()
    };
    assert_eq!(slots("upstream_request"), ["slot-1", "slot-2"]);
    assert_eq!(slots("upstream_response_error"), ["slot-1"]);
    assert_eq!(slots("upstream_response"), ["slot-2"]);
    assert_eq!(slots("outbound_response"), ["slot-2"]);
    assert!(slots("upstream_stream_line").iter().all(|slot| slot == "slot-2"));
    let all = log.iter().map(Value::to_string).collect::<String>();
    assert!(!all.contains("simulator.example"), "whose the accounts are is not written down");
}
