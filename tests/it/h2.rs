//! The upstream as it really is: over TLS and HTTP/2, with all answers on one connection.

use std::{
    cell::Cell,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use http::Version;
use http_body_util::BodyExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tower::ServiceExt;

use crate::harness::{
    TOKEN,
    dialect::Dialect::Chat,
    eventually,
    http::{Answering, Ask, Connection, Piece, Reply},
    place::Place,
    program::Program,
};

/// What is to become of the connections that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing new on them.
    GoAway,
    /// They are gone.
    Cut,
}

/// An upstream that says what it is asked for.
struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Answers that nobody has ended yet.
    open: Arc<AtomicUsize>,
    /// Events of all answers.
    said: Arc<AtomicUsize>,
    ends: broadcast::Sender<End>,
}

/// Counts as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counter))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn event(json: &str) -> Bytes {
    format!("data: {json}\n\n").into()
}

fn delta(text: &str) -> Bytes {
    event(&format!(
        r#"{{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"{text}"}}"#
    ))
}

fn completed() -> Bytes {
    event(r#"{"type":"response.completed","response":{"id":"r","status":"completed","output":[]}}"#)
}

async fn answer(request: Request, open: Arc<AtomicUsize>, said: Arc<AtomicUsize>) -> Response {
    assert_eq!(request.version(), Version::HTTP_2);
    let asked = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let asked = String::from_utf8_lossy(&asked.unwrap_or_default()).into_owned();
    let created = event(r#"{"type":"response.created","response":{"id":"r"}}"#);
    let counted = Counted::new(&open);
    let events: stream::BoxStream<'static, Bytes> = if asked.contains("flood") {
        stream::repeat(delta(&"x".repeat(64 << 10))).boxed()
    } else if asked.contains("slow") {
        let deltas = stream::iter(0..100).then(|n| async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            delta(&format!("word{n} "))
        });
        deltas.chain(stream::iter([completed()])).boxed()
    } else {
        stream::iter([delta("hello"), completed()]).boxed()
    };
    let events = stream::iter([created]).chain(events).map(move |event| {
        let _held = &counted;
        said.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::convert::Infallible>(event)
    });
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(Body::from_stream(events)).expect("a response")
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

impl Upstream {
    async fn start() -> Self {
        let certificate =
            CertificateDer::from_pem_file(fixture("cert.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(fixture("key.pem")).expect("a key");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let upstream = Self {
            address,
            connections: Arc::default(),
            open: Arc::default(),
            said: Arc::default(),
            ends: broadcast::channel(4).0,
        };
        let (open, connections) = (Arc::clone(&upstream.open), Arc::clone(&upstream.connections));
        let (ends, said) = (upstream.ends.clone(), Arc::clone(&upstream.said));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (open, acceptor) = (Arc::clone(&open), acceptor.clone());
                let mut ends = ends.subscribe();
                let (connections, said) = (Arc::clone(&connections), Arc::clone(&said));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    connections.fetch_add(1, Ordering::SeqCst);
                    let router =
                        Router::new().fallback(move |request: Request| answer(request, open, said));
                    let service =
                        router.map_request(|request: http::Request<hyper::body::Incoming>| {
                            request.map(Body::new)
                        });
                    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
                    tokio::pin!(serving);
                    loop {
                        tokio::select! {
                            _ended = serving.as_mut() => return,
                            end = ends.recv() => match end {
                                Ok(End::GoAway) => serving.as_mut().graceful_shutdown(),
                                Ok(End::Cut) | Err(_) => return,
                            },
                        }
                    }
                });
            }
        });
        upstream
    }

    /// A relay before it, and where that listens.
    fn relay(&self, place: &Place) -> (Program, SocketAddr) {
        let mut command = place.serve();
        command.env(
            "AIRELAYS_UPSTREAM_BASE_URL",
            format!("https://localhost:{}", self.address.port()),
        );
        command.env("SSL_CERT_FILE", fixture("cert.pem"));
        command.env("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "1000");
        command.env("AIRELAYS_RATE_LIMIT_BURST", "1000");
        command.env("AIRELAYS_WRITE_TIMEOUT_SECONDS", "3600");
        command.env("AIRELAYS_LOGGING_ENABLED", "false");
        let mut relay = Program::spawn(command);
        let address = relay.address();
        (relay, address)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

fn streamed(text: &str) -> Vec<u8> {
    Ask::post(Chat.path(), Chat.streamed(text).to_string()).bearer(TOKEN).bytes()
}

async fn ask(relay: SocketAddr, text: &str) -> Reply {
    Answering::to(relay, &streamed(text)).await.whole().await
}

fn is_whole(reply: &Reply) -> bool {
    reply.status == 200 && reply.text().ends_with("data: [DONE]\n\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_answers_come_over_one_connection() {
    let (place, upstream) = (Place::new().await, Upstream::start().await);
    let (_relay, address) = upstream.relay(&place);
    assert!(is_whole(&ask(address, "hello").await));
    let replies = join_all((0..100).map(|_| ask(address, "slow"))).await;
    assert!(replies.iter().all(is_whole));
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 1);
    eventually("all have ended", || upstream.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_own_answer_alone() {
    let (place, upstream) = (Place::new().await, Upstream::start().await);
    let (_relay, address) = upstream.relay(&place);
    let other = tokio::spawn(async move { ask(address, "slow").await });
    eventually("it has begun", || upstream.open() == 1).await;
    let mut leaving = Answering::to(address, &streamed("flood")).await;
    assert!(matches!(leaving.piece().await, Piece::Bytes(_)));
    assert_eq!(upstream.open(), 2);
    drop(leaving);
    eventually("it is let go", || upstream.open() <= 1).await;
    assert!(is_whole(&other.await.expect("asked")));
}

/// What they do not take waits in the upstream, and must not take the room of the others.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_hold_up_no_other() {
    let (place, upstream) = (Place::new().await, Upstream::start().await);
    let (_relay, address) = upstream.relay(&place);
    // Asked at once, they might get a connection each.
    assert!(is_whole(&ask(address, "hello").await));
    let mut still = Vec::new();
    for _ in 0..8 {
        let mut client = Connection::open(address).await;
        client.send(&streamed("flood")).await;
        still.push(client);
    }
    eventually("all have begun", || upstream.open() == 8).await;
    // Until every buffer on the way is full.
    let seen = Cell::new((0, Instant::now()));
    eventually("nothing moves any more", || {
        let said = upstream.said.load(Ordering::SeqCst);
        if said != seen.get().0 {
            seen.set((said, Instant::now()));
        }
        seen.get().1.elapsed() > Duration::from_secs(1)
    })
    .await;
    for _ in 0..3 {
        assert!(is_whole(&ask(address, "hello").await));
    }
    assert_eq!((upstream.open(), upstream.connections.load(Ordering::SeqCst)), (8, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_no_more_is_replaced_and_one_that_breaks_is_told() {
    let (place, upstream) = (Place::new().await, Upstream::start().await);
    let (_relay, address) = upstream.relay(&place);
    for end in [End::GoAway, End::Cut] {
        let mut under_way = Answering::to(address, &streamed("slow")).await;
        assert!(matches!(under_way.piece().await, Piece::Bytes(_)));
        upstream.ends.send(end).expect("somebody listens");
        if end == End::Cut {
            eventually("it is gone", || upstream.open() == 0).await;
        }
        assert!(is_whole(&ask(address, "hello").await), "{end:?}");
        let rest = under_way.whole().await;
        let is_told = rest.text().contains("\"error\":{") && !rest.text().contains("[DONE]");
        match end {
            End::GoAway => assert!(rest.text().contains("word99") && !is_told, "{rest:?}"),
            End::Cut => assert!(is_told, "{rest:?}"),
        }
    }
    eventually("all have ended", || upstream.open() == 0).await;
}
