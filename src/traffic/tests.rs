//! The log as its senders see it, on a disk that works.

mod faults;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use jiff::SignedDuration;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{
    Patience, Phase, Record, Settings, Shared, Stats, Traffic, Writer,
    rotate::{Hours, Open},
};
use crate::{clock::Clock, id::RequestId, private_file, redact::Redactor, secret::Secret};

const PROMPT: Patience =
    Patience { gather: Duration::ZERO, hold: Duration::MAX, retry: Duration::ZERO };

/// A log in a directory of its own, at a standing hour.
struct Log {
    home: TempDir,
    clock: Clock,
    traffic: Traffic,
    writer: Writer,
}

impl Log {
    fn start() -> Self {
        Self::with(Settings::QUEUE_BYTES, PROMPT, Box::new(open))
    }

    fn with(queue_bytes: usize, patience: Patience, open: Open) -> Self {
        let home = tempfile::tempdir().expect("directory");
        let clock = Clock::manual("2026-11-20T11:59:58.5Z".parse().expect("a time"));
        let hours = Hours::with(home.path().join("logs"), open);
        let redactor = Redactor::new();
        redactor.replace("test", [Secret::new("T0PS3CRET-by-value")]);
        let shared = Shared::new(true, queue_bytes);
        let (traffic, writer) =
            Traffic::start_with(shared, hours, (redactor, clock.clone()), patience)
                .expect("started");
        Self { home, clock, traffic, writer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("logs").join(name)
    }

    fn until(&self, reached: impl Fn(&Stats) -> bool) {
        while !reached(&self.traffic.stats()) {
            thread::yield_now();
        }
    }

    /// Closes the log and reads all of it, file by file.
    fn close(self) -> (Vec<Value>, Stats) {
        self.writer.close();
        let mut lines = Vec::new();
        for path in files(self.home.path()) {
            lines.extend(read(&path));
        }
        (lines, self.traffic.stats())
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    Ok(Box::new(private_file::append(path)?))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("read");
    assert!(text.is_empty() || text.ends_with('\n'), "{}: whole lines", path.display());
    assert!(text.is_ascii(), "{}: ASCII", path.display());
    text.lines().map(|line| serde_json::from_str(line).expect("one object")).collect()
}

fn numbered(id: &RequestId, number: i64) -> Record {
    Record::new(id, Phase::OutboundUsage).number("n", number)
}

fn request() -> RequestId {
    RequestId::named("req_1")
}

/// The `n` of each line, and `-records` of those that tell of lost ones.
fn numbers(lines: &[Value]) -> Vec<i64> {
    let number = |line: &Value| match line["phase"].as_str() {
        Some("records_lost") => -line["records"].as_i64().expect("a number"),
        _ => line["n"].as_i64().expect("a number"),
    };
    lines.iter().map(number).collect()
}

/// A disk that does nothing until it is told to go on.
struct Stuck {
    reached: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl Stuck {
    fn new() -> (Self, Open) {
        let (reach, reached) = mpsc::channel();
        let (go_on, told) = mpsc::channel();
        let open = move |path: &Path| {
            reach.send(()).expect("the test waits");
            told.recv().expect("the test tells");
            open(path)
        };
        (Self { reached, go_on }, Box::new(open))
    }

    /// Waits until the thread has taken what there was and wants to write it.
    fn is_reached(&self) {
        self.reached.recv().expect("the thread runs");
    }

    fn go_on(&self) {
        self.go_on.send(()).expect("the thread waits");
    }
}

#[derive(Default)]
struct Woken(Mutex<bool>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.0.lock() = true;
    }
}

#[tokio::test]
async fn a_record_is_one_line_of_the_documented_form() {
    let log = Log::start();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer abc".parse().expect("a value"));
    headers.insert("accept", "*/*".parse().expect("a value"));
    headers.append("x-a", "1".parse().expect("a value"));
    headers.append("x-a", "2".parse().expect("a value"));
    let record = Record::new(&request(), Phase::InboundRequest)
        .text("method", "POST")
        .text("query", "a=b&token=abc".to_owned())
        .headers("headers", &headers)
        .null("client_ip")
        .number("status_code", -1)
        .flag("blocked", true)
        .body("body", Some("application/json"), Bytes::from_static(b"{ \"a\": \"\xc3\xa9\" }"))
        .json("usage", Bytes::from_static(b"{\"n\" : 1}"))
        .json("odd", Bytes::from_static(b"{"))
        .list("ignored_parameters", &["a".to_owned(), "\"".to_owned()]);
    log.traffic.record(record).await;
    log.traffic.record(Record::new(&RequestId::named("startup"), Phase::RecordsLost)).await;
    log.writer.close();
    let text = fs::read_to_string(log.home.path().join("logs/2026/11/20-11.log")).expect("read");
    expect_test::expect![[r#"
        {"request_id":"req_1","phase":"inbound_request","method":"POST","query":"a=[REDACTED]&token=[REDACTED]","headers":{"authorization":"[REDACTED]","accept":"*/*","x-a":["[1 bytes]","[1 bytes]"]},"client_ip":null,"status_code":-1,"blocked":true,"body":{"kind":"json","bytes":13,"sha256":"46d5197f20a0818f7d6bc878ffb2c8c6eaca0f95404aceb0b35a1e8c93ce5442","json":{"a":"\u00e9"}},"usage":{"n":1},"odd":"{","ignored_parameters":["a","\""],"logged_at":"2026-11-20T11:59:58.500000Z"}
        {"request_id":"startup","phase":"records_lost","logged_at":"2026-11-20T11:59:58.500000Z"}
    "#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn stream_lines_are_records_of_their_own() {
    let log = Log::start();
    let mut tap = log.traffic.tap(&request(), None);
    let mut cx = Context::from_waker(Waker::noop());
    for chunk in
        [&b"event: a\ndata: {\"b\":\"\xc3\xa9\"}\n\n"[..], b"", b"\r\n\r\ndata: \xff\r\nid\rx"]
    {
        assert!(tap.poll_lines(&mut cx, &Bytes::from_static(chunk)).is_ready());
    }
    log.writer.close();
    let text = fs::read_to_string(log.home.path().join("logs/2026/11/20-11.log")).expect("read");
    expect_test::expect![[r#"
        {"request_id":"req_1","phase":"upstream_stream_line","line":"event: a","logged_at":"2026-11-20T11:59:58.500000Z"}
        {"request_id":"req_1","phase":"upstream_stream_line","line":"data: {\"b\":\"\u00e9\"}","logged_at":"2026-11-20T11:59:58.500000Z"}
        {"request_id":"req_1","phase":"upstream_stream_line","line":"data: \ufffd","logged_at":"2026-11-20T11:59:58.500000Z"}
        {"request_id":"req_1","phase":"upstream_stream_line","line":"id","logged_at":"2026-11-20T11:59:58.500000Z"}
        {"request_id":"req_1","phase":"upstream_stream_line","line":"x","logged_at":"2026-11-20T11:59:58.500000Z"}
    "#]]
    .assert_eq(&text);
    assert_eq!(log.traffic.stats().lines_written, 5);
}

#[tokio::test]
async fn each_hour_has_its_file() {
    let log = Log::start();
    log.traffic.record(numbered(&request(), 1)).await;
    log.until(|stats| stats.lines_written == 1);
    log.clock.advance(SignedDuration::from_secs(2));
    log.traffic.record(numbered(&request(), 2)).await;
    log.until(|stats| stats.lines_written == 2);
    log.clock.advance(SignedDuration::from_hours(12));
    log.traffic.record(numbered(&request(), 3)).await;
    let names = ["2026/11/20-11.log", "2026/11/20-12.log", "2026/11/21-00.log"];
    let paths = names.map(|name| log.path(name));
    log.writer.close();
    assert_eq!(paths.map(|path| numbers(&read(&path))), [[1], [2], [3]]);
}

#[tokio::test]
async fn what_it_makes_is_the_owners_alone() {
    let log = Log::start();
    log.traffic.record(numbered(&request(), 1)).await;
    log.writer.close();
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let logs = log.home.path().join("logs");
    let dirs = ["", "2026", "2026/11"].map(|name| mode(&logs.join(name)));
    assert_eq!((dirs, mode(&logs.join("2026/11/20-11.log"))), ([0o700; 3], 0o600));
}

#[tokio::test]
async fn a_full_queue_holds_the_sender_back_until_its_lines_are_written() {
    let (stuck, open) = Stuck::new();
    let log = Log::with(600, PROMPT, open);
    let body = || Record::new(&request(), Phase::InboundRequest).text("a", "x".repeat(300));
    log.traffic.record(body()).await;
    stuck.is_reached();
    log.traffic.record(body()).await;

    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let sender = log.traffic.clone();
    let mut third = pin!(sender.record(body()));
    assert!(third.as_mut().poll(&mut cx).is_pending());
    let mut tap = log.traffic.tap(&request(), None);
    let lines = Bytes::from_static(b"a\nb\n");
    assert!(tap.poll_lines(&mut cx, &lines).is_pending());
    assert!(!*woken.0.lock());
    stuck.go_on();
    log.until(|stats| stats.lines_written == 2);
    log.until(|_| *woken.0.lock());
    assert!(third.as_mut().poll(&mut cx).is_ready());
    assert!(tap.poll_lines(&mut cx, &lines).is_ready());
    let (lines, stats) = log.close();
    assert_eq!((lines.len(), stats.lines_lost, stats.queued_bytes), (5, 0, 0));
}

#[tokio::test]
async fn a_record_larger_than_the_queue_gets_through() {
    let log = Log::with(1, PROMPT, Box::new(open));
    for n in 0..50 {
        let record = numbered(&request(), n).text("a", "x".repeat(10_000));
        log.traffic.record(record).await;
    }
    let (lines, _) = log.close();
    assert_eq!(numbers(&lines), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_waits_and_is_not_polled_keeps_nobody_out() {
    let (stuck, open) = Stuck::new();
    let log = Log::with(1, PROMPT, open);
    log.traffic.record(numbered(&request(), 1)).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut taps: Vec<_> = (0..100).map(|_| log.traffic.tap(&request(), None)).collect();
    for tap in &mut taps {
        assert!(tap.poll_lines(&mut cx, &Bytes::from_static(b"never\n")).is_pending());
    }
    stuck.go_on();
    for n in 2..100 {
        log.traffic.record(numbered(&request(), n)).await;
    }
    drop(taps);
    let (lines, stats) = log.close();
    assert_eq!(numbers(&lines), (1..100).collect::<Vec<_>>());
    assert_eq!(stats.lines_lost, 0);
}

#[tokio::test]
async fn a_drop_hands_over_without_waiting() {
    let (stuck, open) = Stuck::new();
    let log = Log::with(1, PROMPT, open);
    for n in 0..10 {
        log.traffic.hand_over(numbered(&request(), n));
    }
    assert!(log.traffic.stats().queued_bytes >= 10);
    stuck.go_on();
    let (lines, stats) = log.close();
    assert_eq!(numbers(&lines), (0..10).collect::<Vec<_>>());
    assert_eq!((stats.lines_written, stats.queued_bytes), (10, 0));
}

#[tokio::test]
async fn a_sender_that_is_dropped_while_it_waits_has_its_record_written() {
    let (stuck, open) = Stuck::new();
    let log = Log::with(1, PROMPT, open);
    log.traffic.record(numbered(&request(), 1)).await;
    {
        let mut waiting = pin!(log.traffic.record(numbered(&request(), 2)));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Pending);
    }
    stuck.go_on();
    let (lines, stats) = log.close();
    assert_eq!(numbers(&lines), [1, 2]);
    assert_eq!(stats.lines_lost, 0);
}

/// What each request has left in the log, in the order of the lines.
fn sequence(lines: &[Value], id: &str) -> Vec<i64> {
    let of = lines.iter().filter(|line| line["request_id"] == id);
    of.map(|line| match line["line"].as_str() {
        Some(text) => text.trim_start_matches("data: ").parse().expect("a number"),
        None => line["n"].as_i64().expect("a number"),
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_under_load_and_each_request_keeps_its_order() {
    const REQUESTS: i64 = 40;
    const RECORDS: i64 = 300;
    // Room for a few records only, so that nearly everybody waits nearly always.
    let log = Log::with(2_000, PROMPT, Box::new(open));
    let mut requests = JoinSet::new();
    for request in 0..REQUESTS {
        let traffic = log.traffic.clone();
        requests.spawn(async move {
            let id = RequestId::named(&format!("req_{request}"));
            let mut tap = traffic.tap(&id, None);
            for n in 0..RECORDS / 3 {
                traffic.record(numbered(&id, 3 * n)).await;
                let lines = format!("data: {}\n\ndata: {}\n\n", 3 * n + 1, 3 * n + 2).into();
                std::future::poll_fn(|cx| tap.poll_lines(cx, &lines)).await;
            }
            traffic.hand_over(numbered(&id, RECORDS));
        });
    }
    while let Some(done) = requests.join_next().await {
        done.expect("done");
    }
    let (lines, stats) = log.close();
    let whole: Vec<i64> = (0..=RECORDS).collect();
    for request in 0..REQUESTS {
        assert_eq!(sequence(&lines, &format!("req_{request}")), whole, "request {request}");
    }
    let expected = u64::try_from(REQUESTS * (RECORDS + 1)).expect("positive");
    assert_eq!(
        stats,
        Stats { lines_written: expected, lines_lost: 0, last_error: None, queued_bytes: 0 }
    );
}

#[tokio::test]
async fn a_closed_log_takes_nothing_and_says_so() {
    let log = Log::start();
    let mut tap = log.traffic.tap(&request(), None);
    log.writer.close();
    log.traffic.record(numbered(&request(), 1)).await;
    log.traffic.hand_over(numbered(&request(), 2));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(tap.poll_lines(&mut cx, &Bytes::from_static(b"a\n\nb\n")).is_ready());
    assert_eq!(log.traffic.stats().lines_lost, 4);
}

#[tokio::test]
async fn a_log_that_is_off_makes_nothing() {
    let home = tempfile::tempdir().expect("directory");
    let settings = |enabled, stream_lines| Settings {
        dir: home.path().join("logs"),
        enabled,
        stream_lines,
        queue_bytes: 1,
    };
    let start =
        |settings| Traffic::start(settings, Redactor::new(), Clock::system()).expect("started");
    let mut cx = Context::from_waker(Waker::noop());
    let (traffic, writer) = start(settings(false, true));
    for traffic in [traffic, Traffic::off()] {
        traffic.record(numbered(&request(), 1)).await;
        traffic.hand_over(numbered(&request(), 2));
        assert!(
            traffic.tap(&request(), None).poll_lines(&mut cx, &Bytes::from_static(b"a")).is_ready()
        );
        assert_eq!((traffic.stats(), traffic.is_on()), (Stats::default(), false));
    }
    writer.close();
    assert!(!home.path().join("logs").exists());

    let (traffic, writer) = start(settings(true, false));
    assert!(
        traffic.tap(&request(), None).poll_lines(&mut cx, &Bytes::from_static(b"a")).is_ready()
    );
    writer.close();
    assert!(files(home.path()).is_empty());
}

/// Secrets of every kind in every place that a record has.
fn record_with_secrets() -> Record {
    const MARK: &str = "T0PS3CRET";
    const LIVE: &str = "T0PS3CRET-by-value";
    let mut headers = HeaderMap::new();
    for name in ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"] {
        headers.append(name, MARK.parse().expect("a value"));
        headers.append(name, "other".parse().expect("a value"));
    }
    headers.insert("x-unheard-of", LIVE.parse().expect("a value"));
    let body = |text: String| Bytes::from(text);
    Record::new(&RequestId::named(LIVE), Phase::InboundRequest)
        .text("path", format!("/v1/x?token={MARK}"))
        .text("url", format!("https://user:{MARK}@host/?key={MARK}"))
        .text("query", format!("api_key={MARK}&access_token={MARK}&q={LIVE}"))
        .text("message", format!("the token {LIVE} is wrong"))
        .text("relay_token", MARK)
        .headers("headers", &headers)
        .body("a", None, body(format!(r#"{{"x":[{{"refresh_token":"{MARK}"}}],"y":"{LIVE}"}}"#)))
        .body("b", Some("application/x-www-form-urlencoded"), body(format!("code={MARK}")))
        .body("c", Some("image/png"), body(format!("{MARK} {LIVE}")))
        .body("d", Some("application/json"), body(format!("{{ broken {LIVE}")))
        .body("e", None, body(format!(r#""{{\"a\":\"{LIVE}\"}}""#)))
        .json("usage", body(format!(r#"{{"id_token":["{MARK}"],"b":"{LIVE}"}}"#)))
        .list("ignored_parameters", &[LIVE.to_owned()])
}

#[tokio::test]
async fn no_secret_reaches_the_file_from_any_side() {
    let log = Log::start();
    log.traffic.record(record_with_secrets()).await;
    let mut tap = log.traffic.tap(&RequestId::named("T0PS3CRET-by-value"), None);
    let mut cx = Context::from_waker(Waker::noop());
    let line = Bytes::from_static(b"data: {\"a\":\"T0PS3CRET-by-value\"}\n\n");
    assert!(tap.poll_lines(&mut cx, &line).is_ready());
    let path = log.path("2026/11/20-11.log");
    log.writer.close();
    let text = fs::read_to_string(&path).expect("read");
    assert!(!text.contains("T0PS3CRET"), "{text}");
    assert!(text.matches("[REDACTED]").count() > 15, "{text}");
    assert_eq!(read(&path).len(), 2);
}
