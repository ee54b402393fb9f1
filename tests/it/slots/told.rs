//! What is held against whom, and what a client is told, when several things are wrong at once.

use serde_json::{Value, json};

use super::{by, meanwhile, message, n_asked, relay, says, setup, slot_of};
use crate::harness::{
    Relay, TOKEN,
    dialect::Dialect::{Chat, Responses},
    eventually,
    http::{Ask, Reply},
};

const SPARK: &str = "gpt-5.3-codex-spark";

async fn asks(relay: &Relay, model: &str) -> Reply {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    relay.post(Chat.path(), &body).await
}

fn outcome(reply: &Reply) -> (u16, Option<&str>) {
    (reply.status, slot_of(reply))
}

#[tokio::test]
async fn the_limit_of_one_model_rests_nobody() {
    let relay = relay(&["narrow", "pro"]).await;
    for _ in 0..2 {
        assert_eq!(outcome(&asks(&relay, SPARK).await), (200, Some("slot-2")));
        assert_eq!(outcome(&asks(&relay, "gpt-5.4").await), (200, Some("slot-1")));
    }
    assert_eq!(n_asked(&relay), [2, 3], "the model is asked there once");
    assert_eq!(relay.slot(1).await["state"], "ready");
    let alone = super::relay(&["narrow"]).await;
    for _ in 0..2 {
        let reply = asks(&alone, SPARK).await;
        assert_eq!(reply.refusal().line(), "429 rate_limit_error usage_limit_reached");
        assert!(message(&reply).contains("It resets at"), "{}", reply.text());
        assert_eq!(asks(&alone, "gpt-5.4").await.status, 200);
    }
    assert_eq!(n_asked(&alone), [3]);
}

/// The first account to be tried once decided what was told.
#[tokio::test]
async fn what_is_told_does_not_depend_on_the_order_of_the_slots() {
    for (accounts, model, expected) in [
        (["spent", "overloaded"], "gpt-5.4", "503 server_error server_is_overloaded"),
        (["not-included", "overloaded-stream"], "gpt-5.4", "503 server_error server_is_overloaded"),
        (["spent", "free"], "gpt-5.4", "429 rate_limit_error usage_limit_reached"),
        (["not-included", "free"], "gpt-5.4", "503 server_error no_slot_available"),
        (["free", "k12"], "no-such-model", "404 invalid_request_error model_not_found model"),
        (["narrow", "spent"], SPARK, "429 rate_limit_error usage_limit_reached"),
        (["narrow", "narrow"], SPARK, "429 rate_limit_error usage_limit_reached"),
    ] {
        for accounts in [accounts, [accounts[1], accounts[0]]] {
            let setup = setup(&accounts).set("AIRELAYS_SLOTS_RETRY_BACKOFF_SECONDS", "0.01");
            let relay = setup.start_over_network().await;
            let reply = asks(&relay, model).await;
            assert_eq!(reply.refusal().line(), expected, "{accounts:?} {}", reply.text());
        }
    }
    // What lacks the model says so, beside what is spent.
    let relay = relay(&["free", "spent"]).await;
    let told = message(&asks(&relay, "gpt-5.4").await);
    assert!(told.contains("slot-1: it does not serve this model; slot-2: "), "{told}");
}

#[tokio::test]
async fn that_all_are_disabled_is_no_matter_of_the_model() {
    let relay = relay(&["first", "second"]).await;
    for number in [1, 2] {
        relay.post(&format!("/admin/slots/slot-{number}/disable"), &json!({})).await;
    }
    let reply = relay.say(Chat, "hello").await;
    assert_eq!(reply.refusal().line(), "503 server_error no_slot_available");
    assert!(message(&reply).contains("slot-1: it is disabled; slot-2: it is disabled"));
}

/// It was taken and then failed in a way of its own: it may have been paid for.
#[tokio::test]
async fn a_failure_inside_a_stream_is_tried_elsewhere_only_if_the_service_broke_down() {
    for (marker, expected) in [
        ("failed: mystery", vec![1]),
        ("error: mystery", vec![1]),
        ("failed: server_error", vec![2, 2]),
        ("error-flat: internal_error", vec![2, 2]),
    ] {
        let setup = setup(&["first", "second"])
            .set("AIRELAYS_SLOTS_RETRY_PASSES", "1")
            .set("AIRELAYS_SLOTS_RETRY_BACKOFF_SECONDS", "0.01");
        let relay = setup.start_over_network().await;
        let reply = relay.say(Chat, &format!("[sim {marker}]")).await;
        assert_eq!(reply.refusal().line(), "502 server_error upstream_error", "{marker}");
        assert_eq!(n_asked(&relay), expected, "{marker}");
        assert_eq!(relay.slot(1).await["state"], "ready");
    }
}

/// Each turn of such a dialogue once cost a refusal and a second request.
#[tokio::test]
async fn thoughts_that_a_slot_could_not_read_are_left_out_from_then_on() {
    let relay = relay(&["first", "second"]).await;
    let turn = async |input: &[Value], key: &str| {
        let body = json!({"model": "gpt-5.4", "input": input, "store": false,
                          "include": ["reasoning.encrypted_content"], "prompt_cache_key": key});
        let ask = Ask::post(Responses.path(), body.to_string()).bearer(TOKEN);
        let ask = ask.header("content-type", "application/json");
        let reply = relay.ask(&ask).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let items = reply.json()["output"].as_array().expect("items").clone();
        let statuses: Vec<_> =
            relay.upstream_requests().iter().filter_map(|it| it.status).collect();
        relay.simulator.clear();
        (items, statuses)
    };
    let say = |text: &str| {
        let text = format!("[sim reasoning: 1] [sim say: {text}]");
        json!({"type": "message", "role": "user", "content": text})
    };
    // A dialogue of the second account, as it comes back after a restart: nobody has it.
    relay.post("/admin/slots/slot-1/pause", &json!({})).await;
    let mut input = vec![say("one")];
    let (items, _) = turn(&input, "before").await;
    input.extend(items);
    relay.post("/admin/slots/slot-1/resume", &json!({})).await;
    for (n, expected) in [(1, vec![400, 200]), (2, vec![200]), (3, vec![200])] {
        input.push(say("more"));
        let (items, statuses) = turn(&input, "after").await;
        assert_eq!(statuses, expected, "turn {n}");
        input.extend(items);
    }
}

/// Whoever went first after a rest once held up all others until it was answered.
#[tokio::test]
async fn others_do_not_wait_for_a_slow_first_answer() {
    let setup = setup(&["first"]).set("AIRELAYS_SLOTS_QUEUE_TIMEOUT_SECONDS", "60");
    let relay = setup.start_over_network().await;
    relay.script(&["rate-limit"]);
    assert_eq!(relay.say(Chat, "hello").await.status, 429);
    let slow = Ask::post(Chat.path(), Chat.body("[sim stall]").to_string());
    let slow = slow.bearer(TOKEN).header("content-type", "application/json");
    let began = relay.upstream_requests().len();
    let first = meanwhile(&relay, &slow);
    let is_under_way = || relay.upstream_requests().len() > began;
    eventually("the first to be let through", is_under_way).await;
    assert_eq!(relay.say(Chat, "hello").await.status, 200);
    assert!(!first.is_finished());
    first.abort();
}

#[tokio::test]
async fn a_full_line_turns_nobody_away_whom_another_slot_could_serve() {
    let relay = setup(&["first", "second"])
        .set("AIRELAYS_SLOTS_MAX_CONCURRENT_REQUESTS", "1")
        .set("AIRELAYS_SLOTS_MAX_WAITING_REQUESTS", "1")
        .set("AIRELAYS_SLOTS_QUEUE_TIMEOUT_SECONDS", "60")
        .start_over_network()
        .await;
    let test = |prompt: &str| {
        let ask = Ask::post("/admin/slots/1/test", json!({"prompt": prompt}).to_string());
        meanwhile(&relay, &ask.bearer(TOKEN).header("content-type", "application/json"))
    };
    let held = test("[sim stall]");
    eventually("the place to be taken", || relay.upstream_requests().len() == 1).await;
    let waits = test("hello");
    relay.until(&Ask::get("/admin/slots").bearer(TOKEN), |it| it.json()["waiting"] == 1).await;
    assert_eq!(says(&relay, Chat, "hello").await, by("slot-2"));
    let full = test("too many").await.expect("an answer");
    assert_eq!(full.refusal().line(), "429 rate_limit_error slots_busy");
    held.abort();
    assert_eq!(waits.await.expect("an answer").status, 200, "its turn has come");
}

/// A renewal of the relay's own once looked like another login, which ended the rest at once: the
/// login was renewed again and again.
#[tokio::test]
async fn a_login_that_is_not_accepted_rests_although_it_was_renewed() {
    for accounts in [&["first"][..], &["first", "second"]] {
        let relay = relay(accounts).await;
        relay.script(&["unauthorized", "unauthorized"]);
        let expected = if accounts.len() == 1 { 503 } else { 200 };
        assert_eq!(relay.say(Chat, "hello").await.status, expected);
        let recorded = relay.simulator.recorded();
        assert_eq!(recorded.iter().filter(|it| it.path == "/oauth/token").count(), 1);
        for _ in 0..2 {
            let slot = relay.slot(1).await;
            assert_eq!(slot["reason"], "its login is not accepted", "{slot}");
        }
        // Another login ends it.
        let login = relay.simulator.stored_login_for("third");
        crate::harness::write(&relay.path(".airelays/auth.json"), &login);
        assert_eq!(relay.slot(1).await["state"], "ready");
    }
}

/// That an account before it was overloaded once had a request sent again that may have been paid
/// for.
#[tokio::test]
async fn what_may_have_been_paid_for_is_told_whatever_failed_before() {
    for (second, expected) in [
        ("cut: 0", "502 server_error incomplete_stream"),
        ("failed: mystery", "502 server_error upstream_error"),
        ("failed: context_length_exceeded", "400 invalid_request_error context_length_exceeded"),
    ] {
        let relay = setup(&["first", "second"])
            .set("AIRELAYS_SLOTS_RETRY_PASSES", "1")
            .set("AIRELAYS_SLOTS_RETRY_BACKOFF_SECONDS", "0.01")
            .start_over_network()
            .await;
        relay.script(&["overloaded", second, "say: paid for twice"]);
        let reply = relay.say(Chat, "hello").await;
        assert_eq!(reply.refusal().line(), expected, "{second}");
        assert_eq!(n_asked(&relay), [1, 1], "{second}");
    }
}

#[tokio::test]
async fn the_wait_that_is_told_is_that_of_whoever_is_back_first() {
    let relay = relay(&["first", "second"]).await;
    relay.simulator.set_used("first", 100, 5);
    relay.simulator.set_resets("first", 5000, 90_000);
    assert_eq!(says(&relay, Chat, "hello").await, by("slot-2"));
    relay.script(&["rate-limit"]);
    let reply = relay.say(Chat, "another").await;
    assert_eq!(reply.refusal().line(), "429 rate_limit_error rate_limit_exceeded");
    let wait: u64 = reply.header("retry-after").and_then(|it| it.parse().ok()).expect("a wait");
    assert!(wait <= 2, "{wait}");
}

/// The end of an answer of the account that was there before was once held against the new one.
#[tokio::test]
async fn what_is_heard_late_is_about_the_account_that_was_asked() {
    let relay = relay(&["first", "second"]).await;
    let text = "[sim deltas: 3] [sim slow: 400] [sim fail-after-text: usage_limit_reached]";
    let ask = Ask::post(Chat.path(), Chat.streamed(text).to_string()).bearer(TOKEN);
    let mut answering = relay.open(&ask.header("content-type", "application/json")).await;
    answering.piece().await;
    let login = relay.simulator.stored_login_for("third");
    crate::harness::write(&relay.path(".airelays/auth.json"), &login);
    assert_eq!(relay.slot(1).await["state"], "ready");
    let told = Chat.told(answering.whole().await.text());
    assert!(told.failure.is_some(), "it fails in the end");
    let slot = relay.slot(1).await;
    assert_eq!((&slot["state"], &slot["failed"]), (&json!("ready"), &json!(0)), "{slot}");
    assert_eq!(says(&relay, Chat, "hello").await, by("slot-1"));
}
