//! Those beyond the relay send it elsewhere, and say what is not for its clients.

use std::{net::SocketAddr, sync::atomic::Ordering};

use crate::harness::{
    MODEL, TOKEN,
    dialect::Dialect,
    http::{Answering, Ask},
    place::Place,
    program::Program,
    raw::answering,
};

/// With the token of the login in its head, a request that follows gives it away.
#[tokio::test(flavor = "multi_thread")]
async fn u6_nobody_is_followed_elsewhere() {
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let (elsewhere, followed) =
            answering("HTTP/1.1 200 OK\r\nConnection: close".to_owned(), b"{}".to_vec()).await;
        let head = format!(
            "HTTP/1.1 {status}\r\nLocation: http://{elsewhere}/x\r\nContent-Length: 0\r\nConnection: close"
        );
        let (beyond, asked) = answering(head, Vec::new()).await;
        let place = Place::new().await;
        let directed = |line: &str, what: &str, address: SocketAddr| {
            let mut command = place.command(line);
            let name = format!("AIRELAYS_{what}_BASE_URL");
            command.env(name, format!("http://{address}"));
            command
        };
        let mut relay = Program::spawn(directed("serve --port 0", "UPSTREAM", beyond));
        let address = relay.address();
        let mut asks = vec![Ask::get("/v1/models").bearer(TOKEN)];
        for dialect in Dialect::ALL {
            for body in [dialect.body("hello"), dialect.streamed("hello")] {
                asks.push(Ask::post(dialect.path(), body.to_string()).bearer(TOKEN));
            }
        }
        let body = Dialect::Responses.body("hello").to_string();
        asks.push(Ask::post("/v1/responses/compact", body).bearer(TOKEN));
        for ask in asks {
            let reply = Answering::to(address, &ask.bytes()).await.whole().await;
            assert!(reply.status >= 500, "{status}: {reply:?}");
        }
        relay.kill();
        assert!(asked.load(Ordering::SeqCst) >= 8, "{status}");
        // The sign-in server as well: a renewal, and the end of a login.
        place.simulator.expire_access_tokens();
        let mut relay = Program::spawn(directed("serve --port 0", "ISSUER", beyond));
        let ask =
            Ask::post(Dialect::Chat.path(), Dialect::Chat.body("hello").to_string()).bearer(TOKEN);
        let reply = Answering::to(relay.address(), &ask.bytes()).await.whole().await;
        assert_eq!(reply.status, 503, "{status}: {reply:?}");
        relay.kill();
        let output = directed("logout --json", "ISSUER", beyond).output().expect("started");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("\"revoked\": false"),
            "{output:?}"
        );
        assert_eq!(followed.load(Ordering::SeqCst), 0, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn u7_headers_of_the_upstream_reach_no_client() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nSet-Cookie: upstream=canary\r\n\
                X-Secret: canary\r\nServer: canary\r\nAccess-Control-Allow-Origin: *\r\n\
                X-Odd: \u{e9}canary\r\nConnection: close, x-secret";
    let body = b"data: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"delta\":\"hello\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]}}\n\n";
    let (beyond, _) = answering(head.to_owned(), body.to_vec()).await;
    let place = Place::new().await;
    let mut serve = place.serve();
    serve.env("AIRELAYS_UPSTREAM_BASE_URL", format!("http://{beyond}"));
    let mut relay = Program::spawn(serve);
    let address = relay.address();
    for dialect in Dialect::ALL {
        for body in [dialect.body("hello"), dialect.streamed("hello")] {
            let ask = Ask::post(dialect.path(), body.to_string()).bearer(TOKEN);
            let reply = Answering::to(address, &ask.bytes()).await.whole().await;
            assert_eq!(reply.status, 200, "{MODEL}: {reply:?}");
            let headers = format!("{:?}", reply.headers);
            assert!(
                !headers.contains("canary") && !headers.contains("access-control"),
                "{headers}"
            );
        }
    }
}
