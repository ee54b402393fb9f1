//! Upstreams that never come to an end, and what they can cost.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::process::Pid;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::harness::{
    TOKEN,
    dialect::Dialect::Chat,
    http::{Answering, Ask},
    place::Place,
    program::Program,
};

/// An upstream that says one thing for ever, and how much of it was taken.
async fn flood(unit: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let taken = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (unit, counting) = (unit.clone(), Arc::clone(&counting));
            tokio::spawn(async move {
                let mut request = vec![0; 64 << 10];
                let read = socket.read(&mut request).await.unwrap_or(0);
                let is_asked = request[..read].starts_with(b"POST ");
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
                let _sent = socket.write_all(head.as_bytes()).await;
                while is_asked && socket.write_all(unit.as_bytes()).await.is_ok() {
                    counting.fetch_add(unit.len(), Ordering::Relaxed);
                }
            });
        }
    });
    (address, taken)
}

/// In kilobytes.
fn resident(process: Pid) -> u64 {
    let status = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = std::fs::read_to_string(status).expect("alive");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn u2_an_upstream_without_end_is_given_up_and_held_in_bounds() {
    let event = |json: &str| format!("data: {json}\n\n");
    let text = "x".repeat(8 << 10);
    let created = event(r#"{"type":"response.created","response":{"id":"r"}}"#);
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
        let before = resident(relay.id());
        let body = if is_streamed { Chat.streamed("hello") } else { Chat.body("hello") };
        let ask = Ask::post(Chat.path(), body.to_string()).bearer(TOKEN).bytes();
        let reply = Answering::to(address, &ask).await.whole().await;
        assert_eq!(reply.status, 502, "{what}");
        let message = reply.json()["error"]["message"].as_str().expect("text").to_owned();
        let expected = format!("The upstream sent more than {} bytes of {what}.", most << 20);
        assert_eq!(message, expected);
        // What is on its way in buffers is more than what was read.
        assert!(taken.load(Ordering::Relaxed) < (most + 16) << 20, "{what}");
        let grown = resident(relay.id()) - before;
        let most = u64::try_from(2 * most + 64).expect("small");
        assert!(grown < most << 10, "{what}: {grown} kB");
    }
}
