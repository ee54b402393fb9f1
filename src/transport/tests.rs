//! Both ways out, in process and over real sockets, and what breaks on them.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing::get};
use http::{StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::rt::TokioIo;

use super::*;

/// Counts itself away when dropped.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn request(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).expect("request")
}

fn settings() -> NetworkSettings {
    NetworkSettings {
        connect_timeout: Duration::from_secs(5),
        user_agent: "airelays/test".into(),
        socket: None,
    }
}

#[tokio::test]
async fn dropping_the_body_drops_the_service_behind_it_at_once() {
    let alive = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&alive);
    let endless = move || {
        let mark = Alive::new(&seen);
        async move {
            let frames = futures_util::stream::unfold(mark, |mark| async {
                Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x"))), mark))
            });
            axum::body::Body::new(StreamBody::new(frames))
        }
    };
    let transport = local(Router::new().route("/", get(endless)));
    let response = transport.oneshot(request("http://sim/")).await.expect("answered");
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    let mut body = response.into_body();
    let first = body.frame().await.expect("a frame").expect("whole").into_data().expect("data");
    assert_eq!(first, "x");
    drop(body);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_call_drops_the_service() {
    let alive = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&alive);
    let silent = move || {
        let mark = Alive::new(&seen);
        async move {
            let _mark = mark;
            pending::<()>().await;
        }
    };
    let transport = local(Router::new().route("/", get(silent)));
    let call = transport.oneshot(request("http://sim/"));
    tokio::time::timeout(Duration::from_secs(1), call).await.expect_err("silent");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn reading_stops_at_the_limit() {
    for (limit, expected) in [(0, ""), (3, "abc"), (4, "abcd"), (5, "abcde"), (9, "abcdef")] {
        let parts = ["abc", "def"].map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
        let body = StreamBody::new(futures_util::stream::iter(parts)).boxed_unsync();
        assert_eq!(read_at_most(body, limit).await.expect("read"), expected.as_bytes());
    }
}

#[test]
fn only_tls_and_loopback_are_safe() {
    for (uri, safe) in [
        ("https://chatgpt.com/backend-api", true),
        ("http://chatgpt.com/backend-api", false),
        ("http://127.0.0.1:9/", true),
        ("http://127.8.9.1/", true),
        ("http://[::1]:9/", true),
        ("http://LocalHost:9/", true),
        ("http://localhost.evil.example/", false),
        ("http://10.0.0.1/", false),
        ("/relative", false),
    ] {
        assert_eq!(is_safe(&uri.parse().expect("uri")), safe, "{uri}");
    }
}

/// A server on loopback that answers every request by `router`.
async fn serve(router: Router) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            tasks.spawn(async move {
                drop(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    });
    address
}

#[tokio::test]
async fn the_network_follows_no_redirect_and_names_the_relay() {
    let elsewhere = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&elsewhere);
    let router = Router::new()
        .route(
            "/from",
            get(|headers: http::HeaderMap| async move {
                assert_eq!(headers[header::USER_AGENT], "airelays/test");
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/to")])
            }),
        )
        .route(
            "/to",
            get(move || {
                seen.fetch_add(1, Ordering::SeqCst);
                async {}
            }),
        );
    let address = serve(router).await;
    let network = network(settings());
    network.warm().await.expect("made");
    let response = network
        .transport()
        .oneshot(request(&format!("http://{address}/from")))
        .await
        .expect("answered");
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(elsewhere.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_network_says_whether_anything_was_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let transport = network(settings()).transport();
    let uri = format!("http://{address}/?token=SECRET");

    let call = transport.clone().oneshot(request(&uri));
    let hang_up = async {
        let (stream, _) = listener.accept().await.expect("accepted");
        stream.readable().await.expect("sent");
        drop(stream);
        drop(listener);
    };
    let (answer, ()) = tokio::join!(call, hang_up);
    let lost = answer.expect_err("no answer").downcast::<SendError>().expect("ours");
    assert!(matches!(*lost, SendError::Lost(_)), "{lost:?}");
    assert!(!format!("{lost:?}").contains("SECRET"), "{lost:?}");

    let refused = transport.clone().oneshot(request(&uri)).await.expect_err("nobody listens");
    let refused = refused.downcast::<SendError>().expect("ours");
    assert!(matches!(*refused, SendError::Connect(_)), "{refused:?}");
    assert!(!format!("{refused:?}").contains("SECRET"), "{refused:?}");

    let plain = transport.oneshot(request("http://192.0.2.1/")).await.expect_err("not safe");
    assert!(matches!(plain.downcast_ref(), Some(SendError::Connect(_))), "{plain:?}");
}
