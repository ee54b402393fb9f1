//! A dialogue stays with its account, and moves whole when it has to.

use serde_json::{Value, json};

use super::{by, meanwhile, relay, says, setup, slot_of};
use crate::harness::{
    Relay, TOKEN,
    dialect::Dialect::{Chat, Responses},
    http::{Ask, Reply},
};

/// A dialogue that begins with `first`, after `n` turns.
fn turns(first: &str, n: usize) -> Value {
    let mut messages = vec![json!({"role": "user", "content": first})];
    for turn in 0..n {
        messages.push(json!({"role": "assistant", "content": format!("answer {turn}")}));
        messages.push(json!({"role": "user", "content": format!("question {turn}")}));
    }
    json!({"model": "gpt-5.4", "messages": messages})
}

async fn turn(relay: &Relay, first: &str, n: usize) -> String {
    let reply = relay.post(Chat.path(), &turns(first, n)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    slot_of(&reply).expect("a slot").to_owned()
}

fn session(request: &airelays::sim::Recorded) -> String {
    request.header("session-id").expect("a session").to_owned()
}

#[tokio::test]
async fn a_stateless_client_stays_with_its_account_and_another_dialogue_goes_its_own_way() {
    let relay = setup(&["first", "second", "third"])
        .set("AIRELAYS_SLOTS_POLICY", "round-robin")
        .start_over_network()
        .await;
    let dialogues = ["alpha", "beta", "gamma"];
    let mut first_slots = Vec::new();
    for dialogue in dialogues {
        first_slots.push(turn(&relay, dialogue, 0).await);
    }
    assert_eq!(first_slots, ["slot-1", "slot-2", "slot-3"]);
    for n in 1..4 {
        for (dialogue, slot) in dialogues.iter().zip(&first_slots) {
            assert_eq!(turn(&relay, dialogue, n).await, *slot, "{dialogue} {n}");
        }
    }
    let sessions: Vec<_> = relay.upstream_requests().iter().map(session).collect();
    let mut different = sessions.clone();
    different.sort();
    different.dedup();
    assert_eq!((sessions.len(), different.len()), (12, 3), "one for each dialogue");
    assert_eq!(sessions[0], sessions[3]);
}

#[tokio::test]
async fn a_named_dialogue_stays_whatever_it_says() {
    let relay = setup(&["first", "second"])
        .set("AIRELAYS_SLOTS_POLICY", "ping-pong")
        .start_over_network()
        .await;
    let named = |name: &str, text: &str| json!({"model": "gpt-5.4", "input": text, "prompt_cache_key": name});
    for (name, slot) in [("a", "slot-1"), ("b", "slot-2"), ("a", "slot-1"), ("b", "slot-2")] {
        for text in ["one", "two"] {
            let reply = relay.post(Responses.path(), &named(name, text)).await;
            assert_eq!(slot_of(&reply), Some(slot), "{name} {text}");
        }
    }
    let header = |name: &'static str| {
        let body = json!({"model": "gpt-5.4", "input": "x"}).to_string();
        let ask = Ask::post(Responses.path(), body).bearer(TOKEN);
        ask.header("content-type", "application/json").header(name, "c")
    };
    for name in ["session_id", "session-id", "x-openclaw-session-key"] {
        let slots = [relay.ask(&header(name)).await, relay.ask(&header(name)).await];
        let [one, two] = slots.each_ref().map(|reply| slot_of(reply).expect("a slot"));
        assert_eq!(one, two, "{name}");
    }
}

#[tokio::test]
async fn without_affinity_every_turn_is_chosen_anew() {
    let relay = setup(&["first", "second"])
        .set("AIRELAYS_SLOTS_POLICY", "ping-pong")
        .set("AIRELAYS_SLOTS_AFFINITY_SECONDS", "0")
        .start_over_network()
        .await;
    let slots =
        [turn(&relay, "a", 0).await, turn(&relay, "a", 1).await, turn(&relay, "a", 2).await];
    assert_eq!(slots, ["slot-1", "slot-2", "slot-1"]);
}

/// Everything that an answer of Responses has put out, to be sent back.
async fn output(relay: &Relay, input: &Value) -> (String, Vec<Value>) {
    let include = json!(["reasoning.encrypted_content"]);
    let body = json!({"model": "gpt-5.4", "input": input, "include": include, "store": false,
                      "prompt_cache_key": "one dialogue"});
    let reply = relay.post(Responses.path(), &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let slot = slot_of(&reply).expect("a slot").to_owned();
    (slot, reply.json()["output"].as_array().expect("items").clone())
}

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": text})
}

fn n_thoughts(request: &airelays::sim::Recorded) -> usize {
    let items = request.body["input"].as_array().expect("items");
    items.iter().filter(|item| item["type"] == "reasoning").count()
}

/// Ciphertext of another account is refused by the upstream at every turn, if it is sent.
#[tokio::test]
async fn a_dialogue_that_moves_leaves_behind_what_the_other_cannot_read() {
    let relay = relay(&["first", "second"]).await;
    let mut input = vec![user("[sim reasoning: 1] [sim say: one]")];
    let (slot, items) = output(&relay, &json!(input)).await;
    assert_eq!(slot, "slot-1");
    assert!(items.iter().any(|item| item["type"] == "reasoning"), "{items:?}");
    input.extend(items);
    relay.simulator.set_used("first", 100, 5);
    relay.simulator.set_resets("first", 3600, 7200);
    for turn in 0..3 {
        relay.simulator.clear();
        input.push(user("[sim reasoning: 1] [sim say: more]"));
        let (slot, items) = output(&relay, &json!(input)).await;
        assert_eq!(slot, "slot-2", "{turn}");
        let requests = relay.upstream_requests();
        let refused: Vec<_> = requests.iter().filter(|it| it.status == Some(400)).collect();
        assert!(refused.is_empty(), "turn {turn}: {refused:?}");
        let last = requests.last().expect("a request");
        assert_eq!(n_thoughts(last), turn, "its own thoughts are kept, the other's are not");
        input.extend(items);
    }
}

/// What the other account thought meanwhile was refused, and all thoughts were lost by that.
#[tokio::test]
async fn a_dialogue_that_comes_back_brings_home_its_own_thoughts_alone() {
    let relay = setup(&["first", "second"])
        .set("AIRELAYS_SLOTS_MAX_CONCURRENT_REQUESTS", "1")
        .start_over_network()
        .await;
    let mut input = Vec::new();
    let mut held = None;
    for (n, (slot, n_sent)) in
        [("slot-1", 0), ("slot-1", 1), ("slot-2", 0), ("slot-2", 1), ("slot-1", 2), ("slot-1", 3)]
            .into_iter()
            .enumerate()
    {
        if n == 2 {
            let ask = Ask::post("/admin/slots/1/test", r#"{"prompt":"[sim stall]"}"#.to_owned());
            let ask = ask.bearer(TOKEN).header("content-type", "application/json");
            held = Some(meanwhile(&relay, &ask));
            let is_held = |it: &Reply| it.json()["slots"][0]["in_flight"] == 1;
            relay.until(&Ask::get("/admin/slots").bearer(TOKEN), is_held).await;
        }
        if n == 4 {
            held.take().expect("held").abort();
            let is_free = |it: &Reply| it.json()["slots"][0]["in_flight"] == 0;
            relay.until(&Ask::get("/admin/slots").bearer(TOKEN), is_free).await;
        }
        relay.simulator.clear();
        input.push(user("[sim reasoning: 1] [sim say: more]"));
        let (served, items) = output(&relay, &json!(input)).await;
        let requests = relay.upstream_requests();
        let statuses: Vec<_> = requests.iter().filter_map(|it| it.status).collect();
        assert_eq!((&*served, &*statuses), (slot, &[200][..]), "turn {n}");
        assert_eq!(n_thoughts(&requests[0]), n_sent, "turn {n}");
        input.extend(items);
    }
}

/// In codex-lb a turn's state went to whoever served the next request.
#[tokio::test]
async fn the_state_of_a_turn_stays_with_its_account() {
    let relay = relay(&["first", "second"]).await;
    let ask = async |state: &str| {
        let body = json!({"model": "gpt-5.4", "input": "x", "stream": true,
                          "prompt_cache_key": "k"});
        let ask = Ask::post(Responses.path(), body.to_string())
            .bearer(TOKEN)
            .header("content-type", "application/json")
            .header("originator", "codex_cli_rs");
        let reply = match state {
            "" => relay.ask(&ask).await,
            state => relay.ask(&ask.header("x-codex-turn-state", state)).await,
        };
        assert_eq!(reply.status, 200);
        let given = reply.header("x-codex-turn-state").unwrap_or_default().to_owned();
        let requests = relay.upstream_requests();
        let sent = requests.iter().map(|it| it.header("x-codex-turn-state").unwrap_or_default());
        let sent: Vec<_> = sent.map(str::to_owned).collect();
        relay.simulator.clear();
        (sent, given)
    };
    // Of a turn that began before the relay did nothing is known.
    assert_eq!(ask("from-elsewhere").await.0, [""]);
    assert_eq!(ask("from-elsewhere").await.0, [""], "nor is it this account's later");
    let (_, first) = ask("").await;
    assert_eq!(ask(&first).await.0, std::slice::from_ref(&first));
    relay.simulator.set_used("first", 100, 5);
    let (sent, second) = ask(&first).await;
    assert_eq!(sent, [first.clone(), String::new()], "the first account is asked in between");
    assert!(!second.is_empty() && second != first);
    assert_eq!(ask(&second).await.0, [second]);
    assert_eq!(ask(&first).await.0, [""]);
}

#[tokio::test]
async fn an_owner_that_is_paused_or_gone_does_not_kill_the_dialogue() {
    let relay = relay(&["first", "second", "third"]).await;
    assert_eq!(turn(&relay, "a", 0).await, "slot-1");
    relay.post("/admin/slots/slot-1/pause", &json!({})).await;
    assert_eq!(turn(&relay, "a", 1).await, "slot-2");
    std::fs::remove_dir_all(relay.path(".airelays/accounts/slot-2")).expect("removed");
    relay.get("/admin/slots").await;
    assert_eq!(turn(&relay, "a", 2).await, "slot-3");
    relay.post("/admin/slots/slot-1/resume", &json!({})).await;
    assert_eq!(turn(&relay, "a", 3).await, "slot-3", "it stays where it has come to");
    assert_eq!(says(&relay, Chat, "b").await, by("slot-1"));
}
