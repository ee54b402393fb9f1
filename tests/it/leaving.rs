//! Clients that go away: the generation upstream ends at once, and nothing of the request stays.

use serde_json::Value;

use crate::harness::{
    Relay, Setup, TOKEN,
    dialect::Dialect,
    eventually,
    http::{Ask, Connection, Piece},
};

/// How far an answer is when its client goes away, by what the upstream does to stay there.
const MOMENTS: [(&str, &str); 3] = [
    ("before the head", "[sim headers-pause: 600000]"),
    ("before the first output", "[sim stall]"),
    ("in the middle", "[sim deltas: 3] [sim stall-after-text]"),
];

fn asking(dialect: Dialect, body: &Value) -> Ask {
    Ask::post(dialect.path(), body.to_string()).bearer(TOKEN)
}

/// Sends a request, and goes away while the upstream works on it.
async fn leave_early(relay: &Relay, ask: &Ask) {
    let mut connection = Connection::open(relay.address).await;
    assert!(connection.send(&ask.bytes()).await);
    eventually("it works", || relay.simulator.counters().open_streams == 1).await;
}

async fn check_nothing_stays(relay: &Relay, n_left: u64, when: &str) {
    eventually(when, || relay.simulator.counters().cancelled == n_left).await;
    assert_eq!(relay.simulator.counters().open_streams, 0, "{when}");
    relay.is_idle().await;
}

async fn check_all_moments(relay: &Relay) {
    let mut n_left = 0;
    for (when, text) in MOMENTS {
        for dialect in Dialect::ALL {
            for body in [dialect.body(text), dialect.streamed(text)] {
                leave_early(relay, &asking(dialect, &body)).await;
                n_left += 1;
                check_nothing_stays(relay, n_left, when).await;
            }
        }
        for path in ["/v1/responses/compact", "/no-tools/v1/responses/compact"] {
            let body = Dialect::Responses.body(text).to_string();
            leave_early(relay, &Ask::post(path, body).bearer(TOKEN)).await;
            n_left += 1;
            check_nothing_stays(relay, n_left, when).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_generation() {
    check_all_moments(&Relay::start().await).await;
}

#[tokio::test]
async fn it_ends_over_the_network_as_well() {
    check_all_moments(&Setup::new().log_in().start_over_network().await).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_stream_ends_the_generation() {
    let relay = Relay::start().await;
    let mut n_left = 0;
    for dialect in Dialect::ALL {
        for text in ["[sim deltas: 3] [sim stall-after-text]", "[sim deltas: 1000] [sim slow: 20]"]
        {
            let mut answering = relay.open(&asking(dialect, &dialect.streamed(text))).await;
            assert_eq!(answering.status, 200);
            assert!(matches!(answering.piece().await, Piece::Bytes(_)));
            drop(answering);
            n_left += 1;
            check_nothing_stays(&relay, n_left, text).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_after_the_headers_and_before_the_answer_ends_the_generation() {
    let relay = Setup::new().set("AIRELAYS_COMMIT_AFTER_SECONDS", "0").start().await;
    let mut n_left = 0;
    for dialect in Dialect::ALL {
        for text in ["[sim headers-pause: 600000]", "[sim stall]"] {
            let answering = relay.open(&asking(dialect, &dialect.streamed(text))).await;
            assert_eq!(answering.status, 200);
            eventually("it works", || relay.simulator.counters().open_streams == 1).await;
            drop(answering);
            n_left += 1;
            check_nothing_stays(&relay, n_left, text).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_has_the_whole_answer_and_leaves_cancels_nothing() {
    let relay = Relay::start().await;
    for dialect in Dialect::ALL {
        for marker in ["", "[sim close-late]"] {
            assert_eq!(relay.say(dialect, marker).await.status, 200);
            assert!(relay.say_streamed(dialect, marker).await.is_whole);
        }
    }
    relay.is_idle().await;
    let counters = relay.simulator.counters();
    assert_eq!((counters.cancelled, counters.open_streams), (0, 0));
}

#[tokio::test]
async fn many_clients_that_leave_at_once_leave_nothing() {
    let relay = Relay::start().await;
    let mut open = Vec::new();
    for _ in 0..20 {
        for dialect in Dialect::ALL {
            let text = "[sim deltas: 3] [sim stall-after-text]";
            open.push(relay.open(&asking(dialect, &dialect.streamed(text))).await);
        }
    }
    assert_eq!(relay.simulator.counters().open_streams, 60);
    drop(open);
    check_nothing_stays(&relay, 60, "all of them left").await;
}
