//! Honest and hostile traffic at once, for a while: every honest answer is whole, and afterwards
//! nothing is left of any of it.
//!
//! For how long can be set: `AIRELAYS_SOAK_SECONDS=1800 cargo test --test it soak -- --nocapture`.

#![expect(clippy::print_stdout, reason = "who asks for a long run wants to see figures")]

use std::{fs, io::Write, net::SocketAddr, sync::Arc, time::Duration};

use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use rustix::process::Pid;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::{
    PATIENCE, TOKEN,
    dialect::Dialect::{Chat, Completions, Responses},
    http::{Answering, Ask, Connection, Piece, Reply},
    place::Place,
    process::number,
};

const SECONDS: u64 = 4;
/// Every kind of traffic takes part so often at least, however long that takes.
const LEAST: usize = 12;
/// How much more memory the second half may need, in KiB: what one large body takes at most.
const GROWTH: u64 = 24 << 10;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    kib: u64,
    threads: u64,
    /// Unknown to who may not look into the process.
    descriptors: Option<usize>,
}

impl Held {
    fn by(process: Pid) -> Self {
        let folder = format!("/proc/{}", process.as_raw_nonzero());
        let descriptors = fs::read_dir(format!("{folder}/fd")).ok().map(Iterator::count);
        Self { kib: number(process, "VmRSS:"), threads: number(process, "Threads:"), descriptors }
    }
}

/// What the traffic is made of.
struct Traffic {
    address: SocketAddr,
    /// Seventy million zeros, packed.
    bomb: Vec<u8>,
}

impl Traffic {
    async fn ask(&self, ask: &Ask) -> Reply {
        Answering::to(self.address, &ask.bytes()).await.whole().await
    }

    async fn open(&self, bytes: &[u8]) -> Connection {
        let mut connection = Connection::open(self.address).await;
        // Whoever is hostile does not mind being cut off.
        let _sent = connection.send(bytes).await;
        connection
    }

    /// An owner's programs. Each checks its answer.
    async fn honest(&self, round: usize) {
        let post = |path: &str, body: String| Ask::post(path, body).bearer(TOKEN);
        let (text, dialect) = match round % 4 {
            0 => ("[sim deltas: 20]", Chat),
            1 => ("[sim deltas: 20] [sim reasoning: 2]", Responses),
            2 => ("[sim call: f {}]", Chat),
            _ => ("hello", Completions),
        };
        let more = json!({"tools": [{"type": "function", "function": {"name": "f"}}]});
        let mut body =
            if round.is_multiple_of(3) { dialect.body(text) } else { dialect.streamed(text) };
        if round % 4 == 2 {
            body["tools"] = more["tools"].clone();
        }
        if round.is_multiple_of(7) {
            body["metadata"] = json!({"much": "x".repeat(200_000)});
        }
        let reply = self.ask(&post(dialect.path(), body.to_string())).await;
        let end = if round.is_multiple_of(3) { "}" } else { "\n\n" };
        let word = ["word20", "word20", "tool_calls", "hello"][round % 4];
        assert!(
            reply.status == 200
                && reply.is_whole
                && reply.text().contains(word)
                && reply.text().trim_end_matches(' ').ends_with(end),
            "{reply:?}"
        );
    }

    /// An upstream that fails in all ways.
    async fn failing(&self, round: usize) {
        let markers = ["cut: 3", "status: 500", "error: x", "reset: 4", "cloudflare: 403", "html"];
        let body = Chat.streamed(&format!("[sim {}]", markers[round % markers.len()]));
        let reply = self.ask(&Ask::post(Chat.path(), body.to_string()).bearer(TOKEN)).await;
        assert!(!reply.text().contains("[DONE]"), "{reply:?}");
    }

    /// Clients that leave, or do not read.
    async fn leaving(&self, round: usize) {
        let text = if round.is_multiple_of(2) {
            "[sim deltas: 99] [sim slow: 5]"
        } else {
            "[sim deltas: 5000]"
        };
        let body = Chat.streamed(text).to_string();
        let ask = Ask::post(Chat.path(), body).bearer(TOKEN);
        if round.is_multiple_of(2) {
            let mut answering = Answering::to(self.address, &ask.bytes()).await;
            assert!(matches!(answering.piece().await, Piece::Bytes(_)));
        } else {
            let _unread = self.open(&ask.bytes()).await;
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Strangers, web pages, and those who speak no HTTP.
    async fn hostile(&self, round: usize) {
        let body = Chat.body("hello").to_string();
        let post = || Ask::post(Chat.path(), body.clone());
        match round % 8 {
            0 => assert!(matches!(self.ask(&post().bearer("x")).await.status, 401 | 429)),
            1 => {
                let page = post().bearer(TOKEN).header("origin", "https://evil.example");
                assert_eq!(self.ask(&page).await.status, 403);
            }
            2 => drop(self.open(b"POST /v1/chat/completions HTTP/1.1\r\nHost: loc").await),
            3 => {
                let mut noise = self.open(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").await;
                assert_eq!(noise.reply().await.map(|reply| reply.status), Some(400));
            }
            4 => {
                let deep = "[".repeat(200_000);
                let deep = Ask::post(Chat.path(), deep).bearer(TOKEN);
                assert_eq!(self.ask(&deep).await.status, 400);
            }
            5 => {
                let ask = post().bearer(TOKEN).bytes();
                drop(self.open(&ask[..ask.len() - 9]).await);
            }
            6 if round % 64 == 6 => {
                let bomb = Ask::post(Chat.path(), self.bomb.clone()).bearer(TOKEN);
                let bomb = bomb.header("content-encoding", "gzip");
                assert_eq!(self.ask(&bomb).await.status, 413);
            }
            _ => {
                let odd = Ask::new("BREW", "/v1/../x").header("x", vec![b'y'; 70_000]);
                let mut odd = self.open(&odd.bytes()).await;
                assert!(odd.reply().await.is_none_or(|reply| reply.status >= 400));
            }
        }
    }

    /// All of it, until then. How many requests that were.
    async fn run(self: Arc<Self>, seconds: f64) -> usize {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let worker = |kind: usize| {
            let traffic = Arc::clone(&self);
            tokio::spawn(async move {
                let mut round = 0;
                while Instant::now() < end || round < LEAST {
                    match kind {
                        0..3 => traffic.honest(round * 3 + kind).await,
                        3 => traffic.failing(round).await,
                        4 => traffic.leaving(round).await,
                        _ => traffic.hostile(round).await,
                    }
                    round += 1;
                }
                round
            })
        };
        let rounds = join_all((0..6).map(worker)).await;
        rounds.into_iter().map(|rounds| rounds.expect("no panic")).sum()
    }

    /// Waits until no request is under way but the one that asks.
    async fn rests(&self) {
        let ask = Ask::get("/v1/relay/status").bearer(TOKEN);
        let rest = async {
            while self.ask(&ask).await.json()["security"]["client"]["active_requests"] != 1 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, rest).await.expect("it comes to rest");
        // Connections that their clients left are noticed a moment later.
        sleep(Duration::from_millis(500)).await;
    }
}

fn seconds() -> u64 {
    let given = std::env::var("AIRELAYS_SOAK_SECONDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_traffic_however_it_was_meant() {
    let place = Place::new().await;
    let mut relay = place.serve();
    relay
        .env("AIRELAYS_RATE_LIMIT_BURST", "1000000")
        .env("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "1000");
    let mut relay = crate::harness::program::Program::spawn(relay);
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(&vec![b' '; 70_000_000]).expect("written");
    let bomb = bomb.finish().expect("finished");
    let traffic = Arc::new(Traffic { address: relay.address(), bomb });
    let mut halves = Vec::new();
    for _ in 0..2 {
        let half = f64::from(u32::try_from(seconds()).expect("a while")) / 2.0;
        let count = Arc::clone(&traffic).run(half).await;
        place.simulator.clear();
        traffic.rests().await;
        halves.push((count, Held::by(relay.id())));
    }
    println!("{halves:?}");
    let [(first, before), (second, after)] = halves[..] else { panic!("{halves:?}") };
    assert!(first.min(second) >= 6 * LEAST);
    assert!(after.descriptors <= before.descriptors.map(|count| count + 4), "{before:?} {after:?}");
    assert!(after.threads <= before.threads + 4, "{before:?} {after:?}");
    assert!(after.kib < before.kib + GROWTH, "{before:?} {after:?}");
}
