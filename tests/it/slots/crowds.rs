//! Many at once: places, the line for them, and that all of it comes back to nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{by, message, n_asked, relay, says, setup, slot_of};
use crate::harness::{
    Relay, TOKEN,
    dialect::Dialect::{self, Chat},
    eventually,
    http::Ask,
};

/// How long the crowd of the reference's own trouble is let loose: seconds.
const SECONDS: &str = "AIRELAYS_CROWD_SECONDS";

async fn one_place_each(waiting: &str, patience: &str) -> Relay {
    setup(&["first", "second"])
        .set("AIRELAYS_SLOTS_MAX_CONCURRENT_REQUESTS", "1")
        .set("AIRELAYS_SLOTS_MAX_WAITING_REQUESTS", waiting)
        .set("AIRELAYS_SLOTS_QUEUE_TIMEOUT_SECONDS", patience)
        .start_over_network()
        .await
}

#[tokio::test]
async fn who_finds_no_place_waits_for_one() {
    let relay = one_place_each("256", "60").await;
    let ask = |n: usize| {
        let relay = &relay;
        async move { relay.say(Chat, &format!("[sim slow: 5] number {n}")).await.status }
    };
    let statuses = join_all((0..20).map(ask)).await;
    assert_eq!(statuses, vec![200; 20]);
    assert_eq!(n_asked(&relay).iter().sum::<usize>(), 20);
    relay.is_idle().await;
    assert_eq!(relay.get("/admin/slots").await.json()["waiting"], 0);
}

#[tokio::test]
async fn the_line_is_bounded_in_length_and_in_time() {
    let stalled = |relay: &Relay| {
        let body = Chat.body("[sim stall]").to_string();
        let ask = Ask::post(Chat.path(), body).bearer(TOKEN);
        let ask = ask.header("content-type", "application/json");
        let (address, bytes) = (relay.address, ask.bytes());
        tokio::spawn(async move { crate::harness::http::Answering::to(address, &bytes).await })
    };
    for (waiting, patience) in [("0", "60"), ("256", "0.2")] {
        let relay = one_place_each(waiting, patience).await;
        let held = [stalled(&relay), stalled(&relay)];
        let both = || relay.upstream_requests().len() == 2;
        eventually("both places to be taken", both).await;
        let reply = relay.say(Chat, "hello").await;
        assert_eq!(reply.refusal().line(), "429 rate_limit_error slots_busy");
        assert_eq!(reply.header("retry-after"), Some("1"));
        held.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn a_place_of_somebody_who_leaves_is_handed_on() {
    let relay = one_place_each("256", "60").await;
    let body = Chat.body("[sim stall]").to_string();
    let ask = Ask::post(Chat.path(), body).bearer(TOKEN).header("content-type", "application/json");
    let streams: Vec<_> = (0..2)
        .map(|_| {
            let (address, bytes) = (relay.address, ask.bytes());
            tokio::spawn(async move {
                let _held = crate::harness::http::Answering::to(address, &bytes).await;
                std::future::pending::<()>().await;
            })
        })
        .collect();
    eventually("both places to be taken", || relay.upstream_requests().len() == 2).await;
    let waiting = relay.say(Chat, "hello");
    let leaving = async {
        streams[0].abort();
        streams[1].abort();
    };
    let (reply, ()) = tokio::join!(waiting, leaving);
    assert_eq!(reply.status, 200);
}

/// The reference served one of these at a time, failed every fifth, and ended with all of its
/// accounts benched by its own doing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_served_without_a_failure_and_leaves_nothing_behind() {
    let relay = setup(&["first", "second", "third"])
        .set("AIRELAYS_SLOTS_POLICY", "best-week-then-5h")
        .set("AIRELAYS_SLOTS_MAX_CONCURRENT_REQUESTS", "8")
        .set("AIRELAYS_SLOTS_QUEUE_TIMEOUT_SECONDS", "60")
        .start_over_network()
        .await;
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(2));
    let client = |n: usize| {
        let relay = &relay;
        async move {
            let mut statuses = Vec::new();
            while statuses.is_empty() || Instant::now() < until {
                let dialect = Dialect::ALL[(n + statuses.len()) % 3];
                let text = format!("client {n}, request {}", statuses.len());
                let reply = relay.say(dialect, &text).await;
                assert!(slot_of(&reply).is_some(), "{}", reply.text());
                statuses.push(reply.status);
            }
            statuses
        }
    };
    let statuses: Vec<u16> = join_all((0..64).map(client)).await.concat();
    let n_bad = statuses.iter().filter(|status| **status != 200).count();
    assert_eq!(n_bad, 0, "of {}", statuses.len());
    relay.is_idle().await;
    let list = relay.get("/admin/slots").await.json();
    assert_eq!(list["waiting"], 0);
    let slots = list["slots"].as_array().expect("slots");
    let served: u64 = slots.iter().filter_map(|slot| slot["served"].as_u64()).sum();
    assert_eq!(served, u64::try_from(statuses.len()).expect("few"), "{list}");
    for slot in slots {
        assert_eq!((&slot["state"], &slot["in_flight"]), (&json!("ready"), &json!(0)), "{slot}");
        assert_eq!(slot["failed"], 0, "{slot}");
        assert!(slot["served"].as_u64() > Some(0), "nobody starves: {list}");
    }
}

/// Fifty agents that meet a limit are one fault, and the reset is tried by one of them first.
#[tokio::test]
async fn a_crowd_that_meets_a_limit_asks_once_each_and_comes_back_one_first() {
    let relay = setup(&["first"])
        .set("AIRELAYS_SLOTS_QUEUE_TIMEOUT_SECONDS", "30")
        .start_over_network()
        .await;
    relay.simulator.set_used("first", 100, 5);
    relay.simulator.set_resets("first", 3, 600);
    assert_eq!(says(&relay, Chat, "the one that finds out").await.0, 429);
    relay.simulator.clear();
    let ask = |n: usize| {
        let relay = &relay;
        async move { relay.say(Chat, &format!("agent {n}")).await.status }
    };
    let statuses = join_all((0..50).map(ask)).await;
    assert_eq!(statuses, vec![200; 50], "the limit ends within their patience");
    let requests = relay.upstream_requests();
    assert_eq!(requests.len(), 50, "nobody asked in vain");
}

#[tokio::test]
async fn a_single_account_that_is_spent_says_so_itself() {
    let relay = relay(&["spent"]).await;
    for dialect in Dialect::ALL {
        let reply = relay.say(dialect, "hello").await;
        assert_eq!(reply.refusal().line(), "429 rate_limit_error usage_limit_reached");
        assert!(message(&reply).starts_with("The usage limit of the ChatGPT login is reached"));
        assert!(!message(&reply).contains("slot"), "who has one account knows no slots");
    }
    assert_eq!(n_asked(&relay), [1]);
    let list: Value = relay.get("/admin/slots").await.json();
    assert_eq!(list["slots"].as_array().map(Vec::len), Some(1));
    relay.forgive().await;
    assert_eq!(says(&relay, Chat, "again").await.0, 429);
    let two = self::relay(&["first", "second"]).await;
    assert_eq!(says(&two, Chat, "hello").await, by("slot-1"));
}
