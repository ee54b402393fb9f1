//! Clients of every kind at a real socket, with routes that show what becomes of them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::Request,
    routing::{any, get},
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use rustix::net::sockopt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::api::exchange::Admitted;

/// Short enough to wait for, long enough that a busy machine keeps the others apart.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_hours(1);
/// What takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(20);

const PATIENT: Settings = Settings {
    most: Most { all: 64, of_one_client: 3 },
    head: LONG,
    body: Pace { gap: LONG, total: LONG },
    write: LONG,
    grace: LONG,
};

/// A server on a free port, until it is told to stop.
struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Told when an endless answer was given up.
    gone: Arc<Notify>,
    /// Told when an endless answer has begun.
    begun: Arc<Notify>,
    /// Lets the answer of `/held` go.
    release: Arc<Notify>,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "a test waits for what it spawns")]
    async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let [gone, begun, release] = [(); 3].map(|()| Arc::new(Notify::new()));
        let stop = CancellationToken::new();
        let router = router(&gone, &begun, &release);
        let listener = Listener::new(Origin::Network(listener), None);
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(serve(listener, router, settings, Ending::at(stopped)));
        Self { address, stop, task, gone, begun, release }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// What `request` gets on a connection of its own, until that is closed.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        rest(&mut stream).await
    }
}

fn router(gone: &Arc<Notify>, begun: &Arc<Notify>, release: &Arc<Notify>) -> Router {
    let endless = {
        let (gone, begun) = (Arc::clone(gone), Arc::clone(begun));
        move || async move { Body::new(Endless { gone, begun }) }
    };
    let held = {
        let (begun, release) = (Arc::clone(begun), Arc::clone(release));
        move |request: Request| async move {
            request.extensions().get::<Admitted>().expect("told").set(true);
            begun.notify_one();
            release.notified().await;
            "at last"
        }
    };
    let echo = async |request: Request| match request.into_body().collect().await {
        Ok(body) => format!("{} bytes", body.to_bytes().len()),
        Err(error) => error.to_string(),
    };
    Router::new()
        .route("/endless", get(endless))
        .route("/held", get(held))
        .route("/echo", any(echo))
        .route("/", any(async || "hello"))
}

/// An answer without end, which says so when nobody wants it any more.
struct Endless {
    gone: Arc<Notify>,
    begun: Arc<Notify>,
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.begun.notify_one();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 << 10])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.gone.notify_one();
    }
}

/// Everything until the connection is closed, in whatever way.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _closed = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it stays open");
    String::from_utf8_lossy(&all).into_owned()
}

/// Everything up to the end of an answer whose body is `body`.
async fn until(stream: &mut TcpStream, body: &str) -> String {
    let mut all = String::new();
    while !all.ends_with(body) {
        let byte = stream.read_u8().await.expect("the connection stays open");
        all.push(char::from(byte));
    }
    all
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

const HELLO: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_head_must_arrive_in_time_however_it_trickles() {
    let server = Server::start(Settings { head: SHORT, ..PATIENT }).await;
    for start in ["", "GET / HTTP/1.1\r\nHo", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n"] {
        assert_eq!(server.ask(start).await, "", "{start:?}");
    }
    // Also between two requests of one connection.
    let mut stream = server.connect().await;
    stream.write_all(HELLO.as_bytes()).await.expect("sent");
    assert!(rest(&mut stream).await.ends_with("hello"));
    let mut stream = server.connect().await;
    stream.write_all(HELLO.as_bytes()).await.expect("sent");
    until(&mut stream, "hello").await;
    stream.write_all(b"GET / HT").await.expect("sent");
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_head_has_a_size_and_a_number_of_fields() {
    let server = Server::start(PATIENT).await;
    let with =
        |headers: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    let many = |count: usize| "a: b\r\n".repeat(count);
    let long = |length: usize| format!("a: {}\r\n", "b".repeat(length));
    assert_eq!(status(&server.ask(&with(&many(98))).await), "200");
    assert_eq!(status(&server.ask(&with(&many(99))).await), "431");
    assert_eq!(status(&server.ask(&with(&long(60 << 10))).await), "200");
    assert_eq!(status(&server.ask(&with(&long(64 << 10))).await), "431");
    // One that never ends is not kept until it does.
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\na: ").await.expect("sent");
    let endless = vec![b'b'; 1 << 20];
    let _refused = stream.write_all(&endless).await;
    assert_eq!(status(&rest(&mut stream).await), "431");
}

#[tokio::test]
async fn odd_framing_is_refused_and_nothing_is_read_behind_a_chunked_body() {
    let server = Server::start(PATIENT).await;
    let post = |headers: &str, rest: &str| {
        format!("POST /echo HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{rest}")
    };
    for headers in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: x",
        "Content-Length: -1",
        "Content-Length: 18446744073709551616",
        "Transfer-Encoding: gzip",
        "A: b\r\n folded",
        "A b",
        "A : b",
        "A: b\0",
    ] {
        assert_eq!(status(&server.ask(&post(headers, "")).await), "400", "{headers:?}");
    }
    for line in ["GET / HTTP/2.0", "GET  / HTTP/1.1", "GET /", "\0"] {
        let answer = server.ask(&format!("{line}\r\nHost: x\r\n\r\n")).await;
        assert!(matches!(status(&answer), "400" | "505" | "none"), "{line:?}: {answer}");
    }
    // Where a length and chunks disagree about the end, what follows is no request of anybody's.
    let chunks = format!("1\r\nx\r\n0\r\n\r\n{HELLO}");
    for headers in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
    ] {
        let answer = server.ask(&post(headers, &chunks)).await;
        assert!(answer.ends_with("1 bytes"), "{headers}: {answer}");
        assert!(answer.contains("connection: close"), "{headers}: {answer}");
    }
}

/// Where two programs on the way could see another end of a request, nobody else's is made of what
/// follows.
#[tokio::test]
async fn p3_no_request_is_smuggled_behind_another() {
    let server = Server::start(PATIENT).await;
    let extension = format!("5;{}\r\nabcde\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    let chunked = "Transfer-Encoding: chunked";
    for (version, headers, body) in [
        ("1.1", "Content-Length: 5, 5", "abcde"),
        ("1.1", "Content-Length: 5, 6", "abcde"),
        ("1.1", "Content-Length: +5", "abcde"),
        ("1.1", "Content-Length: 0x5", "abcde"),
        ("1.1", "Content-Length: 5\r\nContent-Length: 0", "abcde"),
        ("1.1", "Transfer-Encoding: chunked, identity", "5\r\nabcde\r\n0\r\n\r\n"),
        ("1.1", "Transfer-Encoding: identity, chunked", "5\r\nabcde\r\n0\r\n\r\n"),
        ("1.1", "Transfer-Encoding: \x0bchunked", "5\r\nabcde\r\n0\r\n\r\n"),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
        ("1.1", "Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("1.0", chunked, "0\r\n\r\n"),
        ("1.1", "X: a\rTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("1.1", chunked, "0x5\r\nabcde\r\n0\r\n\r\n"),
        ("1.1", chunked, " 5\r\nabcde\r\n0\r\n\r\n"),
        ("1.1", chunked, "5 ;x\r\nabcde\r\n0\r\n\r\n"),
        ("1.1", chunked, "00000000000000005\r\nabcde\r\n0\r\n\r\n"),
        ("1.1", chunked, "-5\r\nabcde\r\n0\r\n\r\n"),
        ("1.1", chunked, "5\r\nabcdefgh\r\n0\r\n\r\n"),
        ("1.1", chunked, &extension),
        ("1.1", chunked, &trailers),
    ] {
        let request =
            format!("POST /echo HTTP/{version}\r\nHost: x\r\n{headers}\r\n\r\n{body}{HELLO}");
        let mut stream = server.connect().await;
        // It may be closed before it has taken everything.
        let _sent = stream.write_all(request.as_bytes()).await;
        let answer = rest(&mut stream).await;
        let shown: String = body.chars().take(40).collect();
        assert!(answer.matches("HTTP/1.").count() <= 1, "{headers:?} {shown:?}: {answer}");
        assert!(!answer.contains("hello"), "{headers:?} {shown:?}: {answer}");
    }
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_given_up() {
    let pace = Pace { gap: SHORT, total: LONG };
    let server = Server::start(Settings { body: pace, ..PATIENT }).await;
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\n";
    for body in ["Content-Length: 9\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"] {
        let answer = server.ask(&format!("{head}{body}")).await;
        assert!(answer.ends_with("the request body does not arrive in time"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_trickles_for_ever_is_given_up() {
    let pace = Pace { gap: LONG, total: SHORT };
    let server = Server::start(Settings { body: pace, ..PATIENT }).await;
    let mut stream = server.connect().await;
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let (mut read, mut write) = stream.split();
    let mut answer = [0; 512];
    let trickle = async {
        loop {
            if write.write_all(b"x").await.is_err() {
                pending::<()>().await;
            }
            tokio::task::yield_now().await;
        }
    };
    let length = tokio::select! {
        length = read.read(&mut answer) => length.expect("an answer"),
        () = trickle => unreachable!(),
    };
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.ends_with("the request body does not arrive in time"), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_reads_holds_nothing_for_long() {
    let server = Server::start(Settings { write: SHORT, ..PATIENT }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    server.gone.notified().await;
    // What is in the buffers may still come, and then the end.
    assert!(!rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once() {
    let server = Server::start(PATIENT).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    server.begun.notified().await;
    drop(stream);
    server.gone.notified().await;
}

#[tokio::test]
async fn idle_connections_give_way_and_requests_under_way_do_not() {
    let server = Server::start(PATIENT).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(server.connect().await);
        assert!(server.ask(LAST).await.ends_with("hello"), "whoever asks at once is served");
    }
    let mut first = idle.remove(0);
    assert_eq!(rest(&mut first).await, "", "closed for another");
    let mut held = Vec::new();
    for _ in 0..PATIENT.most.of_one_client {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        server.begun.notified().await;
        held.push(stream);
    }
    assert!(matches!(status(&server.ask("").await), "503" | "none"));
    for mut stream in held {
        server.release.notify_one();
        assert_eq!(status(&until(&mut stream, "at last").await), "200");
    }
    assert!(server.ask(LAST).await.ends_with("hello"));
}

#[tokio::test]
async fn who_has_no_place_is_told_so_if_it_reads() {
    let most = Most { all: 1, of_one_client: 1 };
    let server = Server::start(Settings { most, ..PATIENT }).await;
    let mut held = server.connect().await;
    held.write_all(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    server.begun.notified().await;
    let answer = server.ask("").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1"), "{answer}");
}

#[tokio::test]
async fn an_answer_to_an_unread_body_arrives() {
    let server = Server::start(PATIENT).await;
    let body = "x".repeat(512 << 10);
    for length in [format!("Content-Length: {}", body.len()), "Content-Length: 99999999".to_owned()]
    {
        let socket = TcpSocket::new_v4().expect("a socket");
        // So that the other side must really read, rather than this one keep it.
        socket.set_send_buffer_size(4096).expect("set");
        let mut stream = socket.connect(server.address).await.expect("connected");
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("taken to the end");
        let answer = until(&mut stream, "hello").await;
        assert_eq!(status(&answer), "200");
    }
}

#[tokio::test]
async fn the_end_waits_for_answers_and_for_nobody_else() {
    let server = Server::start(PATIENT).await;
    let mut half = server.connect().await;
    half.write_all(b"GET / HT").await.expect("sent");
    let mut held = server.connect().await;
    held.write_all(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    server.begun.notified().await;
    server.stop.cancel();
    assert_eq!(rest(&mut half).await, "");
    assert!(!server.task.is_finished());
    server.release.notify_one();
    assert!(rest(&mut held).await.ends_with("at last"));
    server.task.await.expect("ended");
}

#[tokio::test]
async fn a_peer_that_is_gone_without_a_word_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = Listener::new(Origin::Network(listener), None);
    let _client = TcpStream::connect(address).await.expect("connected");
    let accepted = listener.accept().await.expect("accepted");
    let socket::Socket::Plain(stream, _) = &accepted else { panic!("{accepted:?}") };
    assert!(sockopt::socket_keepalive(stream).expect("asked"));
    assert_eq!(sockopt::tcp_keepidle(stream).expect("asked"), Duration::from_mins(1));
    #[cfg(target_os = "linux")]
    assert_eq!(sockopt::tcp_user_timeout(stream).expect("asked"), 120_000);
    assert!(stream.nodelay().expect("asked"));
}
