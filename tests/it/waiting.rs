//! What a client sees while nothing happens: headers that wait, comments, and deadlines.
//!
//! The clock stands still unless everybody waits, so minutes take no time and are exact.

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{
    InProcess, Setup, TOKEN,
    dialect::{Dialect, Told},
    http::{Refusal, check_error},
};

const COMMENT: &[u8] = b": keep-alive\n\n";

/// What was sent, and when: seconds after the request.
#[derive(Debug)]
struct Watched {
    status: u16,
    headers_at: f64,
    pieces: Vec<(f64, Bytes)>,
    ended_at: f64,
}

impl InProcess {
    async fn watch(&self, path: &str, body: &Value) -> Watched {
        let began = Instant::now();
        let request = Request::post(path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        let response = self.send(request.expect("a request")).await;
        let status = response.status().as_u16();
        let headers_at = began.elapsed().as_secs_f64();
        let mut body = response.into_body();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            let bytes = frame.expect("unbroken").into_data().expect("no trailers");
            pieces.push((began.elapsed().as_secs_f64(), bytes));
        }
        Watched { status, headers_at, pieces, ended_at: began.elapsed().as_secs_f64() }
    }

    async fn stream(&self, dialect: Dialect, text: &str) -> Watched {
        self.watch(dialect.path(), &dialect.streamed(text)).await
    }

    async fn collect(&self, dialect: Dialect, text: &str) -> Watched {
        self.watch(dialect.path(), &dialect.body(text)).await
    }
}

impl Watched {
    fn body(&self) -> String {
        let bytes: Vec<u8> = self.pieces.iter().flat_map(|(_, piece)| piece.to_vec()).collect();
        String::from_utf8(bytes).expect("text")
    }

    #[track_caller]
    fn told(&self, dialect: Dialect) -> Told {
        dialect.told(&self.body())
    }

    /// The refusal that it is instead of a stream.
    fn refusal(&self) -> String {
        let body: Value = serde_json::from_str(&self.body()).expect("JSON");
        Refusal::of(self.status, &body["error"]).line()
    }

    /// When comments were sent.
    fn comments_at(&self) -> Vec<f64> {
        self.pieces.iter().filter(|(_, piece)| piece == COMMENT).map(|(at, _)| *at).collect()
    }

    /// The longest time without a byte, from the headers to the end.
    fn longest_silence(&self) -> f64 {
        let times = self.pieces.iter().map(|(at, _)| *at).chain([self.ended_at]);
        let mut before = self.headers_at;
        times.fold(0.0, |longest, at| {
            let silence = at - before;
            before = at;
            silence.max(longest)
        })
    }
}

/// The same moment, but for the millisecond that a timer is rounded to.
#[track_caller]
fn check_time(found: f64, expected: f64) {
    assert!((found - expected).abs() < 0.01, "{found} is not {expected}");
}

#[tokio::test(start_paused = true)]
async fn headers_wait_for_the_answer_and_not_for_ever() {
    let relay = Setup::new().in_process().await;
    for dialect in Dialect::ALL {
        for late in ["headers-pause", "pause"] {
            for (after, headers_at) in
                [(0.0, 0.0), (4.0, 4.0), (9.9, 9.9), (11.0, 10.0), (55.0, 10.0)]
            {
                let text = format!("[sim deltas: 2] [sim {late}: {}]", after * 1000.0);
                let watched = relay.stream(dialect, &text).await;
                assert_eq!(watched.status, 200);
                check_time(watched.headers_at, headers_at);
                check_time(watched.ended_at, after);
                let told = watched.told(dialect);
                assert!(told.is_complete && told.text == "word1 word2 ", "{told:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_headers_wait_is_a_setting() {
    for (seconds, headers_at) in [("0", 0.0), ("2.5", 2.5), ("300", 60.0)] {
        let relay = Setup::new().set("AIRELAYS_COMMIT_AFTER_SECONDS", seconds).in_process().await;
        let watched = relay.stream(Dialect::Chat, "[sim headers-pause: 60000]").await;
        check_time(watched.headers_at, headers_at);
        assert!(watched.told(Dialect::Chat).is_complete);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_a_status_until_the_headers_are_out_and_an_event_from_then_on() {
    let relay = Setup::new().in_process().await;
    for dialect in Dialect::ALL {
        for marker in ["overloaded", "failed"] {
            let early = format!("[sim headers-pause: 9900] [sim {marker}]");
            let watched = relay.stream(dialect, &early).await;
            assert_eq!(watched.refusal(), "503 server_error server_is_overloaded");
            let late = format!("[sim headers-pause: 11000] [sim {marker}]");
            let watched = relay.stream(dialect, &late).await;
            assert_eq!(watched.status, 200);
            let failure = watched.told(dialect).failure.expect("a failure");
            assert_eq!(failure.line(), "200 server_error server_is_overloaded");
            assert!(!watched.body().contains("[DONE]"));
            let watched = relay.collect(dialect, &late).await;
            assert_eq!(watched.refusal(), "503 server_error server_is_overloaded");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_bridged_by_comments() {
    let relay = Setup::new().in_process().await;
    for dialect in Dialect::ALL {
        let watched = relay.stream(dialect, "[sim headers-pause: 58000]").await;
        for (found, expected) in watched.comments_at().into_iter().zip([25.0, 40.0, 55.0]) {
            check_time(found, expected);
        }
        assert_eq!(watched.comments_at().len(), 3);
        for text in ["[sim pause: 100000]", "[sim slow: 40000] [sim deltas: 4]"] {
            let watched = relay.stream(dialect, text).await;
            assert!(watched.longest_silence() < 15.01, "{}", watched.longest_silence());
            assert!(watched.told(dialect).is_complete);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn comments_come_only_into_silence() {
    let relay = Setup::new().in_process().await;
    let watched = relay.stream(Dialect::Chat, "[sim slow: 14000] [sim deltas: 20]").await;
    assert_eq!(watched.comments_at(), Vec::<f64>::new());
    let watched = relay.collect(Dialect::Chat, "[sim slow: 40000] [sim deltas: 3]").await;
    assert_eq!(watched.comments_at(), Vec::<f64>::new(), "a whole answer is JSON and nothing else");
    let relay = Setup::new().set("AIRELAYS_KEEP_ALIVE_SECONDS", "0").in_process().await;
    let watched = relay.stream(Dialect::Chat, "[sim pause: 100000]").await;
    assert_eq!(watched.comments_at(), Vec::<f64>::new(), "nobody wants them");
    let relay = Setup::new().set("AIRELAYS_KEEP_ALIVE_SECONDS", "1").in_process().await;
    let watched = relay.stream(Dialect::Chat, "[sim pause: 15500]").await;
    assert_eq!(watched.comments_at().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_comment_never_stands_inside_an_event() {
    let relay = Setup::new().in_process().await;
    for dialect in Dialect::ALL {
        let plain = relay.stream(dialect, "[sim deltas: 2]").await.told(dialect);
        // Every piece of 50 bytes takes longer than the relay may be silent.
        let text = "[sim deltas: 2] [sim chunks: 50] [sim drip: 20000]";
        let watched = relay.stream(dialect, text).await;
        assert!(watched.comments_at().len() > 10);
        assert_eq!(watched.told(dialect), plain);
        assert!(watched.longest_silence() < 15.01);
        for (at, piece) in &watched.pieces {
            assert!(piece.ends_with(b"\n\n"), "half an event at {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_goes_silent_is_given_up() {
    let relay = Setup::new().in_process().await;
    for dialect in Dialect::ALL {
        for (text, given_up_at) in [
            ("[sim headers-pause: 500000]", 120.0),
            ("[sim pause: 500000]", 300.0),
            ("[sim stall]", 300.0),
            ("[sim headers-pause: 50000] [sim stall]", 350.0),
            ("[sim deltas: 2] [sim stall-after-text]", 300.0),
            ("[sim deltas: 3] [sim slow: 50000] [sim stall-after-text]", 450.0),
            ("[sim deltas: 2] [sim stall-after-text] [sim hum: 20000]", 300.0),
        ] {
            let watched = relay.collect(dialect, text).await;
            assert_eq!(watched.refusal(), "504 server_error upstream_timeout", "{text}");
            check_time(watched.ended_at, given_up_at);
            let watched = relay.stream(dialect, text).await;
            assert_eq!(watched.status, 200);
            check_time(watched.ended_at, given_up_at);
            let told = watched.told(dialect);
            let failure = told.failure.expect("a failure");
            assert_eq!(failure.line(), "200 server_error upstream_timeout", "{text}");
            assert!(!told.is_complete);
        }
    }
    let counters = relay.simulator.counters();
    assert_eq!((counters.open_streams, counters.cancelled), (0, 42), "nothing is left running");
}

#[tokio::test(start_paused = true)]
async fn each_wait_is_a_setting_of_its_own() {
    for (variables, text, given_up_at, message) in [
        (&[("REQUEST_TIMEOUT", "7")][..], "[sim headers-pause: 500000]", 7.0, "did not answer"),
        (&[("HEADERS_TIMEOUT", "9")], "[sim headers-pause: 500000]", 9.0, "did not answer"),
        (&[("FIRST_EVENT_TIMEOUT", "9")], "[sim stall]", 300.0, "stopped sending"),
        (&[("FIRST_EVENT_TIMEOUT", "9")], "[sim stall: 0]", 9.0, "did not answer"),
        (&[("SILENCE_TIMEOUT", "9")], "[sim stall]", 9.0, "stopped sending"),
        (&[("REQUEST_TIMEOUT", "400")], "[sim stall]", 400.0, "stopped sending"),
        (&[("REQUEST_TIMEOUT", "400"), ("SILENCE_TIMEOUT", "9")], "[sim stall]", 9.0, "stopped"),
        (&[("TOTAL_TIMEOUT", "9")], "[sim stall]", 9.0, "took longer"),
    ] {
        let setup = variables.iter().fold(Setup::new(), |setup, (name, value)| {
            setup.set(&format!("AIRELAYS_{name}_SECONDS"), *value)
        });
        let watched = setup.in_process().await.collect(Dialect::Chat, text).await;
        assert_eq!(watched.refusal(), "504 server_error upstream_timeout", "{variables:?}");
        check_time(watched.ended_at, given_up_at);
        assert!(watched.body().contains(message), "{variables:?}: {}", watched.body());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_may_take_as_long_as_it_likes() {
    let relay = Setup::new().in_process().await;
    let watched = relay.stream(Dialect::Chat, "[sim deltas: 100] [sim slow: 299000]").await;
    check_time(watched.ended_at, 29_900.0);
    assert!(watched.told(Dialect::Chat).is_complete);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_whole_answer_counts_from_the_request() {
    let relay = Setup::new().set("AIRELAYS_TOTAL_TIMEOUT_SECONDS", "100").in_process().await;
    for dialect in Dialect::ALL {
        for text in [
            "[sim headers-pause: 110000]",
            "[sim headers-pause: 90000] [sim stall]",
            "[sim stall]",
            "[sim headers-pause: 40000] [sim deltas: 9] [sim slow: 30000]",
            "[sim deltas: 99] [sim slow: 5000]",
        ] {
            let watched = relay.collect(dialect, text).await;
            assert_eq!(watched.refusal(), "504 server_error upstream_timeout", "{text}");
            check_time(watched.ended_at, 100.0);
            let watched = relay.stream(dialect, text).await;
            check_time(watched.ended_at, 100.0);
            let failure = watched.told(dialect).failure.expect("a failure");
            assert_eq!(failure.line(), "200 server_error upstream_timeout", "{text}");
        }
        let watched = relay.stream(dialect, "[sim deltas: 9] [sim slow: 11000]").await;
        assert!(watched.told(dialect).is_complete);
    }
    assert_eq!(relay.simulator.counters().open_streams, 0);
}

const IMAGES: &str = "/v1/images/generations";

#[tokio::test(start_paused = true)]
async fn pictures_are_made_three_at_a_time_and_each_has_its_own_limit() {
    let relay = Setup::new().in_process().await;
    let pause = |millis: u32| format!("a fox [sim headers-pause: {millis}]");
    let several = json!({"prompt": pause(60_000), "n": 7});
    let watched = relay.watch(IMAGES, &several).await;
    assert_eq!(watched.status, 200, "{}", watched.body());
    check_time(watched.ended_at, 180.0);
    let watched = relay.watch(IMAGES, &json!({"prompt": pause(500_000)})).await;
    assert_eq!(watched.refusal(), "504 server_error upstream_timeout");
    check_time(watched.ended_at, 300.0);
    let relay = Setup::new().set("AIRELAYS_IMAGE_TIMEOUT_SECONDS", "9").in_process().await;
    let watched = relay.watch(IMAGES, &json!({"prompt": pause(500_000), "n": 2})).await;
    assert_eq!(watched.refusal(), "504 server_error upstream_timeout");
    check_time(watched.ended_at, 9.0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_pictures_is_kept_alive_and_tells_its_failure() {
    let relay = Setup::new().in_process().await;
    let slow = |more: &str| {
        let prompt = format!("a fox [sim headers-pause: 60000]{more}");
        json!({"prompt": prompt, "stream": true})
    };
    let watched = relay.watch(IMAGES, &slow("")).await;
    assert_eq!(watched.status, 200);
    check_time(watched.headers_at, 10.0);
    check_time(watched.ended_at, 60.0);
    assert_eq!(watched.comments_at().len(), 3, "{:?}", watched.comments_at());
    assert!(watched.body().contains("event: image_generation.completed\n"));
    let watched = relay.watch(IMAGES, &slow("[sim status: 400]")).await;
    let body = watched.body();
    let last = body.trim_end().rsplit("\n\n").next().expect("an event");
    let data = last.strip_prefix("event: error\ndata: ").expect("an error");
    let data: Value = serde_json::from_str(data).expect("JSON");
    check_error(&data["error"]);
}

/// Who goes away pays for no more pictures.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_its_pictures() {
    let relay = Setup::new().in_process().await;
    let body = json!({"prompt": "a fox [sim headers-pause: 60000]", "n": 9});
    let request = Request::post(IMAGES)
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    let asking = relay.send(request.expect("a request"));
    let left = tokio::time::timeout(std::time::Duration::from_secs(90), asking).await;
    assert!(left.is_err());
    tokio::time::sleep(std::time::Duration::from_mins(10)).await;
    assert_eq!(relay.simulator.recorded().len(), 6, "two rounds of three");
}
