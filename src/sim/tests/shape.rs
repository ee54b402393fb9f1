//! How a stream is cut into bytes and time, and how it ends.

use std::time::Duration;

use super::*;

/// `created in_progress` and the first text with its three deltas.
const TO_TEXT: &str =
    "created in_progress output_item.added content_part.added output_text.delta*3";
const AFTER_TEXT: &str = "output_text.done content_part.done output_item.done completed";

#[tokio::test]
async fn chunks_of_every_size_are_the_same_stream() {
    let whole = Client::new().say("[sim separators] [sim reasoning]").await.bytes;
    for size in 1..=64 {
        let client = Client::new();
        client.script(&[&format!("[sim separators] [sim reasoning] [sim chunks: {size}]")]);
        let response = client.open(&turn("[sim separators] [sim reasoning]")).await;
        let mut stream = response.into_body().into_data_stream();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.expect("unbroken");
            assert!(chunk.len() <= size);
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(bytes, whole, "{size}");
    }
}

#[tokio::test]
async fn other_framings_say_the_same() {
    let plain = Client::new().say("[sim separators]").await;
    let only = |shape: &str| {
        let step = format!("[sim separators] [sim {shape}]");
        async move {
            let client = Client::new();
            client.script(&[&step]);
            client.say("[sim separators]").await
        }
    };
    for (shape, look) in [
        ("crlf", "event: response.created\r\ndata: {"),
        ("cr", "event: response.created\rdata: {"),
        ("comments", ": keep-alive\n\n:\nevent: response.created\n: between the lines\ndata: {"),
        ("no-event-lines", "data: {"),
        (
            "multi-data",
            "event: response.created\ndata: {\ndata:   \"type\": \"response.created\",\n",
        ),
    ] {
        let heard = only(shape).await;
        assert!(heard.text().starts_with(look), "{shape}: {:?}", &heard.text()[..80]);
        assert_eq!(heard.events(), plain.events(), "{shape}");
    }
    assert!(plain.text().contains("one\u{2028}two"), "as it is, not escaped");
}

#[tokio::test]
async fn events_are_left_out_and_added() {
    for (shape, expected) in [
        ("done-without-added", "created in_progress content_part.added output_text.delta*3 output_text.done content_part.done output_item.done completed".to_owned()),
        ("no-deltas", "created in_progress output_item.done completed".to_owned()),
        ("items-missing", format!("{TO_TEXT} completed")),
        ("empty", "created in_progress completed".to_owned()),
        ("unknown-events", "created in_progress codex.rate_limits codex.keepalive metadata thing_of_tomorrow output_item.added content_part.added output_text.delta*3 output_text.done content_part.done output_item.done other_thing.delta completed".to_owned()),
    ] {
        let heard = Client::new().say(&format!("[sim say: a b c] [sim {shape}]")).await;
        assert_eq!(heard.order(), expected, "{shape}");
    }
    let heard = Client::new().say("[sim no-index]").await;
    assert!(heard.events().iter().all(|event| event.get("output_index").is_none()));
    let heard = Client::new().say("[sim big: 5000000]").await;
    assert_eq!(heard.said().len(), 5_000_000);
}

#[tokio::test]
async fn the_terminal_event_varies() {
    let response = |marker: &'static str| async move {
        Client::new().say(&format!("[sim say: hi] [sim {marker}]")).await.last()["response"].clone()
    };
    let usage = response("details-null").await["usage"].to_string();
    assert_eq!(
        usage,
        r#"{"input_tokens":75,"input_tokens_details":null,"output_tokens":1,"output_tokens_details":null,"total_tokens":76}"#
    );
    let usage = response("crlf").await["usage"].to_string();
    assert_eq!(
        usage,
        r#"{"input_tokens":73,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":1,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":74}"#
    );
    assert_eq!(response("filled").await["output"][0]["content"][0]["text"], "hi");
    assert_eq!(response("end-turn: false").await["end_turn"], false);
    assert_eq!(response("empty").await["usage"]["total_tokens"], 0);
    for reason in ["max_output_tokens", "content_filter"] {
        let heard = Client::new().say(&format!("[sim incomplete: {reason}]")).await;
        let response = &heard.last()["response"];
        assert_eq!(response["incomplete_details"]["reason"], reason);
        assert_eq!(
            (heard.last()["type"].as_str(), response["status"].as_str()),
            (Some("response.incomplete"), Some("incomplete"))
        );
    }
    let world = [("completed_output", "filled"), ("usage_details", "null")];
    let last = Client::of("first", &world).say("hi").await.last();
    assert_eq!(last["response"]["output"].as_array().map(Vec::len), Some(1));
    assert_eq!(last["response"]["usage"]["input_tokens_details"], Value::Null);
}

#[tokio::test]
async fn failures_come_inside_the_stream() {
    let nested = r#"{"type":"error","error":{"type":"rate_limit_error","code":"rate_limit_exceeded","message":"Rate limit reached for gpt-5.6-sol on tokens per min (TPM). Please try again in 1.2s.","param":null},"sequence_number":2}"#;
    let flat = r#"{"type":"error","code":"context_length_exceeded","message":"Your input exceeds the context window of this model. Please adjust your input and try again.","param":"input","sequence_number":2}"#;
    for (marker, order, last) in [
        ("error: rate_limit_exceeded", "created in_progress error".to_owned(), nested),
        ("error-flat: context_length_exceeded", "created in_progress error".to_owned(), flat),
        ("failed: slow_down", "created in_progress failed".to_owned(), ""),
        ("error-then-failed: x", "created in_progress error failed".to_owned(), ""),
        ("fail-after-text: cyber_policy", format!("{TO_TEXT} failed"), ""),
        ("error-after-text", format!("{TO_TEXT} error"), ""),
    ] {
        let heard = Client::new().say(&format!("[sim say: a b c] [sim {marker}]")).await;
        assert_eq!((heard.status, heard.order()), (200, order), "{marker}");
        if !last.is_empty() {
            assert_eq!(heard.last().to_string(), last);
        }
    }
    let last = Client::new().say("[sim failed: server_is_overloaded]").await.last();
    assert_eq!(
        last["response"]["error"]["message"],
        "Our servers are currently overloaded. Please try again later."
    );
    assert_eq!(last["response"]["status"], "failed");
}

#[tokio::test]
async fn streams_are_cut_and_broken() {
    for (marker, order, broken) in [
        ("cut", "created in_progress", false),
        ("cut-after-text", TO_TEXT, false),
        (
            "cut-mid-event",
            "created in_progress output_item.added content_part.added output_text.delta*2",
            false,
        ),
        ("cut: 1", "created", false),
        ("cut: 4", "created in_progress output_item.added content_part.added", false),
        ("cut-mid-event: 4", "created in_progress output_item.added", false),
        ("cut: 999", &format!("{TO_TEXT} {AFTER_TEXT}"), false),
        ("reset", "created in_progress", true),
        ("reset: 3", "created in_progress output_item.added", true),
        ("reset-after-text", TO_TEXT, true),
    ] {
        let client = Client::new();
        let heard = client.say(&format!("[sim say: a b c] [sim {marker}]")).await;
        assert_eq!((heard.order(), heard.broken), (order.to_owned(), broken), "{marker}");
        assert_eq!(client.simulator.counters().cancelled, 0, "{marker}");
    }
    let heard = Client::new().say("[sim say: a b c] [sim cut-mid-event]").await;
    assert!(!heard.text().ends_with('\n'), "in the middle of an event");
}

#[tokio::test(start_paused = true)]
async fn time_passes_where_it_is_asked_for() {
    let wait = |marker: &'static str| async move {
        let start = tokio::time::Instant::now();
        Client::new().say(&format!("[sim say: a b c] [sim {marker}]")).await;
        start.elapsed()
    };
    assert_eq!(wait("crlf").await, Duration::ZERO);
    assert_eq!(wait("slow: 100").await, Duration::from_millis(300));
    assert_eq!(wait("pause: 2000").await, Duration::from_secs(2));
    assert_eq!(wait("headers-pause: 3000").await, Duration::from_secs(3));
    let drip = wait("chunks: 1000] [sim drip: 10").await;
    assert!(drip >= Duration::from_millis(30) && drip < Duration::from_millis(300), "{drip:?}");
    assert_eq!(wait("close-late").await, Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_stream_says_nothing_more() {
    for (marker, expected) in [("stall", "created in_progress"), ("stall-after-text", TO_TEXT)] {
        let client = Client::new();
        let response = client.open(&turn(&format!("[sim say: a b c] [sim {marker}]"))).await;
        let mut stream = response.into_body().into_data_stream();
        let mut bytes = Vec::new();
        let patience = Duration::from_hours(1);
        while let Ok(chunk) = tokio::time::timeout(patience, stream.next()).await {
            bytes.extend_from_slice(&chunk.expect("no end").expect("unbroken"));
        }
        let heard = Heard { status: 200, headers: HeaderMap::new(), bytes, broken: false };
        assert_eq!(heard.order(), expected);
        assert_eq!(client.simulator.counters().open_streams, 1);
        drop(stream);
        let counters = client.simulator.counters();
        assert_eq!((counters.open_streams, counters.cancelled), (0, 1));
    }
}
