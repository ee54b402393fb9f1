//! Upstreams that never come to an end, or say what nobody can read, and what they can cost.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::process::Pid;
use tokio::io::AsyncWriteExt;

use crate::harness::{
    TOKEN,
    dialect::Dialect::{self, Chat},
    http::{Answering, Ask},
    place::Place,
    process::number,
    program::Program,
    raw,
};

/// An upstream that says one thing for ever, and how much of it was taken.
async fn flood(unit: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&taken);
    let address = raw::each(move |mut socket, request| {
        let (unit, counting) = (unit.clone(), Arc::clone(&counting));
        async move {
            let is_asked = request.starts_with(b"POST ");
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            let _sent = socket.write_all(head.as_bytes()).await;
            while is_asked && socket.write_all(unit.as_bytes()).await.is_ok() {
                counting.fetch_add(unit.len(), Ordering::Relaxed);
            }
        }
    });
    (address.await, taken)
}

/// The most memory that it ever had, in kilobytes.
fn most_memory(process: Pid) -> u64 {
    number(process, "VmHWM:")
}

#[tokio::test(flavor = "multi_thread")]
async fn u2_an_upstream_without_end_is_given_up_and_held_in_bounds() {
    let event = |json: &str| format!("data: {json}\n\n");
    let text = "x".repeat(64 << 10);
    let created = event(&format!(r#"{{"type":"response.created","response":{{"id":"{text}"}}}}"#));
    let progress = format!(r#"{{"type":"response.in_progress","response":{{"id":"{text}"}}}}"#);
    let delta = format!(
        r#"{{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"{text}"}}"#
    );
    for (what, unit, is_streamed, most) in [
        ("comments", format!(": {text}\n\n"), true, 1),
        ("events before an answer", event(&progress), true, 32),
        ("events before an answer", created, false, 32),
        ("an event", text.clone(), true, 32),
        ("one answer", event(&delta), false, 128),
    ] {
        let place = Place::new().await;
        let (address, taken) = flood(unit).await;
        let mut command = place.serve();
        command.env("AIRELAYS_UPSTREAM_BASE_URL", format!("http://{address}"));
        command.env("AIRELAYS_LOGGING_ENABLED", "false");
        let mut relay = Program::spawn(command);
        let address = relay.address();
        let before = most_memory(relay.id());
        let body = if is_streamed { Chat.streamed("hello") } else { Chat.body("hello") };
        let ask = Ask::post(Chat.path(), body.to_string()).bearer(TOKEN).bytes();
        let reply = Answering::to(address, &ask).await.whole().await;
        assert_eq!(reply.status, 502, "{what}");
        let message = reply.json()["error"]["message"].as_str().expect("text").to_owned();
        let expected = format!("The upstream sent more than {} bytes of {what}.", most << 20);
        assert_eq!(message, expected);
        // What is on its way in buffers is more than what was read.
        assert!(taken.load(Ordering::Relaxed) < (most + 64) << 20, "{what}");
        let grown = most_memory(relay.id()) - before;
        let most = u64::try_from(2 * most + 64).expect("small");
        assert!(grown < most << 10, "{what}: {grown} kB");
    }
}

/// An upstream that says this to whoever asks for an answer, and ends.
async fn saying(text: Vec<u8>) -> SocketAddr {
    let length = text.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {length}\r\nConnection: close"
    );
    raw::answering(head, text).await.0
}

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n";
const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"hello\"}\n\n";
const COMPLETED: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"hello\",\"annotations\":[]}]}],\"usage\":{\"input_tokens\":1,\"output_tokens\":1,\"total_tokens\":2}}}\n\n";

/// In the place of one event of an answer that is well otherwise, and whether it is passed over.
fn odd_events() -> Vec<(&'static str, Vec<u8>, bool)> {
    let deep = "[".repeat(200_000);
    let known =
        |data: &str| format!("event: response.output_text.delta\ndata: {data}\n\n").into_bytes();
    vec![
        ("nothing", Vec::new(), true),
        ("half an object", known("{"), false),
        ("a number for a text", known(r#"{"type":"response.output_text.delta","delta":7}"#), false),
        ("no object", known("7"), false),
        ("null", known("null"), false),
        ("brackets", known(&deep), false),
        (
            "deep inside",
            known(&format!(
                r#"{{"type":"response.output_text.delta","delta":"a","x":{deep}{}}}"#,
                "]".repeat(200_000)
            )),
            true,
        ),
        (
            "no text at all",
            [b"event: response.output_text.delta\ndata: {\"delta\":\"\xff\xfe\"}\n\n".as_slice()]
                .concat(),
            false,
        ),
        (
            "an end without its response",
            b"event: response.completed\ndata: {\"type\":\"response.completed\"}\n\n".to_vec(),
            false,
        ),
        ("an end that is no object", b"event: response.completed\ndata: []\n\n".to_vec(), false),
        (
            "of an unknown kind",
            b"event: response.new_thing\ndata: {\"type\":\"response.new_thing\",\"x\":7}\n\n"
                .to_vec(),
            true,
        ),
        ("of no kind", b"data: {}\n\n".to_vec(), true),
        ("comments and blanks", b": hi\n\n\n\n\r\n\r\n".to_vec(), true),
        ("empty events", b"data:\n\n".repeat(10_000), true),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn u1_what_cannot_be_read_is_an_error_or_passed_over_and_never_an_end() {
    for (what, odd, is_passed_over) in odd_events() {
        let text = [CREATED.as_bytes(), DELTA.as_bytes(), &odd, COMPLETED.as_bytes()].concat();
        let place = Place::new().await;
        let upstream = saying(text).await;
        let mut command = place.serve();
        command.env("AIRELAYS_UPSTREAM_BASE_URL", format!("http://{upstream}"));
        let mut relay = Program::spawn(command);
        let address = relay.address();
        for dialect in Dialect::ALL {
            for is_streamed in [false, true] {
                let case = format!("{what}, {dialect:?}, streamed: {is_streamed}");
                let body = if is_streamed { dialect.streamed("x") } else { dialect.body("x") };
                let ask = Ask::post(dialect.path(), body.to_string()).bearer(TOKEN).bytes();
                let reply = Answering::to(address, &ask).await.whole().await;
                let shown: String = reply.text().chars().take(600).collect();
                if is_streamed {
                    let end = reply.text().trim_end().lines().last().unwrap_or_default();
                    assert_eq!(reply.status, 200, "{case}");
                    assert_eq!(end.contains("\"error\":{"), !is_passed_over, "{case}: {shown}");
                    let is_done = reply.text().contains("[DONE]")
                        || reply.text().contains("event: response.completed");
                    assert_eq!(is_done, is_passed_over, "{case}: {shown}");
                    let finish = reply.text().contains("\"finish_reason\":\"stop\"");
                    assert!(is_passed_over || !finish, "{case}: {shown}");
                } else {
                    assert_eq!(
                        reply.status,
                        if is_passed_over { 200 } else { 502 },
                        "{case}: {shown}"
                    );
                }
            }
        }
    }
}
