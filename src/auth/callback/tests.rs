//! The listener under honest and hostile hands, over real sockets.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    auth::{
        file::How,
        sign_in::{Completed, Saved},
    },
    credential::AccountId,
};

const STATE: &str = "STATE-0123456789";

async fn serving() -> (Serving, u16) {
    let callback = Callback::bind(&[0]).await.expect("bound");
    let port = callback.port;
    assert_eq!(callback.redirect_uri(), format!("http://localhost:{port}/auth/callback"));
    (callback.serve(Secret::new(STATE)), port)
}

async fn connected(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connected")
}

/// The whole answer to `request`, in which PORT stands for the port. Empty if there is none.
async fn answer_to(port: u16, request: &str) -> String {
    let mut socket = connected(port).await;
    let request = request.replace("PORT", &port.to_string());
    // The other side may close before it has read everything.
    let _sent = socket.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _read = socket.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n")
}

fn right(rest: &str) -> String {
    get(&format!("/auth/callback?state={STATE}{rest}"))
}

fn completed(email: Option<&str>) -> Page {
    Page::of(&Ok(Completed {
        account_id: AccountId::new("acct-1"),
        email: email.map(str::to_owned),
        plan_type: None,
        saved: Saved { how: How::Open, replaced: None, shut: None, path: <_>::default() },
    }))
}

/// Whether something was brought already.
async fn is_brought(serving: &mut Serving) -> bool {
    tokio::select! {
        biased;
        _ = serving.brought() => true,
        () = std::future::ready(()) => false,
    }
}

#[tokio::test]
async fn strays_change_nothing_and_the_right_one_counts() {
    let (mut serving, port) = serving().await;
    let host =
        |host: &str| format!("GET /auth/callback?state={STATE}&code=c HTTP/1.1\r\n{host}\r\n");
    let method = |method: &str| right("&code=c").replacen("GET", method, 1);
    for (request, expected) in [
        (get("/"), "404"),
        (get("/favicon.ico"), "404"),
        (get("/cancel"), "404"),
        (get("/success"), "404"),
        (get(&format!("/auth/callback/?state={STATE}&code=c")), "404"),
        (get(&format!("//auth/callback?state={STATE}&code=c")), "404"),
        (get("/auth/callback"), "400"),
        (get("/auth/callback?code=c"), "400"),
        (get("/auth/callback?state=&code=c"), "400"),
        (get("/auth/callback?state=wrong&code=c"), "400"),
        (get(&format!("/auth/callback?state={STATE}x&code=c")), "400"),
        (get("/auth/callback?state=wrong&error=access_denied"), "400"),
        (get("/auth/callback?error=access_denied"), "400"),
        (right(""), "400"),
        (right("&code="), "400"),
        (right("&code=a&code=b"), "400"),
        (right("&code=a%0Ab"), "400"),
        (right(&format!("&code=c&state={STATE}")), "400"),
        (right("&state=wrong&code=c"), "400"),
        (host(""), "403"),
        (host("Host: 127.0.0.1:PORT\r\n"), "403"),
        (host("Host: localhost\r\n"), "403"),
        (host("Host: localhost:1\r\n"), "403"),
        (host("Host: evil.example:PORT\r\n"), "403"),
        (host("Host: localhost.evil.example:PORT\r\n"), "403"),
        (host("Host: localhost:PORT\r\nHost: evil.example\r\n"), "403"),
        (get(&format!("http://evil.example/auth/callback?state={STATE}&code=c")), "403"),
        (method("HEAD"), "405"),
        (method("POST"), "405"),
        (method("OPTIONS"), "405"),
        (method("QUERY"), "405"),
        ("POST /auth/callback HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: 99999999\r\n\r\n".to_owned(), "405"),
        (get(&format!("/auth/callback?code={}", "x".repeat(100_000))), "431"),
        (format!("GET / HTTP/1.1\r\nHost: localhost:PORT\r\n{}\r\n", "X: y\r\n".repeat(500)), "431"),
        ("\u{16}\u{3}\u{1}garbage\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = answer_to(port, &request).await;
        assert_eq!(status(&answer), expected, "{}", &request[..request.len().min(200)]);
        assert!(!is_brought(&mut serving).await, "{request}");
    }
    drop(connected(port).await);
    let request = right("&code=ac_1%2B2");
    let (answer, brought) = tokio::join!(answer_to(port, &request), async {
        let brought = serving.brought().await;
        serving.finish(completed(Some("me@example.com"))).await;
        brought
    });
    assert_eq!(brought.expect("a code").expose(), "ac_1+2");
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("Signed in") && answer.contains("me@example.com"), "{answer}");
    let again = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    assert!(again.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn both_families_answer_where_there_are_both() {
    let (_serving, port) = serving().await;
    if let Ok(mut socket) = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await {
        let request = get("/").replace("PORT", &port.to_string());
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("read");
        assert_eq!(status(&answer), "404");
    }
}

#[tokio::test]
async fn a_port_of_which_somebody_has_a_part_is_left_alone() {
    for host in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let Ok(squatter) = TcpListener::bind((host, 0)).await else { continue };
        let taken = squatter.local_addr().expect("address").port();
        let other = Callback::bind(&[taken, 0]).await.expect("the fallback");
        assert_ne!(other.port, taken);
        let none = Callback::bind(&[taken, taken]).await.expect_err("taken");
        assert_eq!(
            none.to_string(),
            format!("AIRelays could not bind localhost:{taken} for browser login")
        );
        assert!(none.hint().is_some_and(|hint| hint.contains("airelays login --device")));
    }
}

#[tokio::test]
async fn a_denial_counts_with_the_right_state_and_is_shown_escaped() {
    let (mut serving, port) = serving().await;
    let denied = right("&error=%3Cscript%3E&error_description=a%22%26%60b%60");
    let (answer, denial) = tokio::join!(answer_to(port, &denied), async {
        let denial = serving.brought().await.expect_err("denied");
        serving.finish(Page::of(&Err(SignInError::Denied(denial.clone())))).await;
        denial
    });
    assert_eq!(denial.to_string(), "<script> (a\"&`b`)");
    assert_eq!(status(&answer), "403");
    assert!(
        answer.contains("Login failed: &lt;script&gt; (a&quot;&amp;<code>b</code>)."),
        "{answer}"
    );
    assert!(!answer.contains("<script"), "{answer}");
}

#[tokio::test]
async fn whoever_comes_again_sees_what_came_of_it() {
    let (mut serving, port) = serving().await;
    let seen = AtomicUsize::new(0);
    let ask = async |rest: &str| {
        let answer = answer_to(port, &right(rest)).await;
        assert_eq!(status(&answer), "502", "{answer}");
        seen.fetch_add(1, Ordering::SeqCst);
    };
    let asking = join_all([ask("&code=one"), ask("&code=one"), ask("&code=one")]);
    let failed = SignInError::Exchange { why: "because".to_owned(), source: None };
    let finish = async {
        let brought = serving.brought().await.expect("a code");
        assert_eq!(brought.expose(), "one");
        assert_eq!(seen.load(Ordering::SeqCst), 0, "nobody was answered before the end");
        // All three are waiting by now or come while the page is there.
        while serving.answering.len() < 3 {
            tokio::task::yield_now().await;
        }
        serving.finish(Page::of(&Err(failed))).await;
    };
    tokio::join!(asking, finish);
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_login_that_goes_away_takes_its_browser_along() {
    let (serving, port) = serving().await;
    let mut socket = connected(port).await;
    let request = right("&code=c").replace("PORT", &port.to_string());
    socket.write_all(request.as_bytes()).await.expect("sent");
    while serving.answering.is_empty() {
        tokio::task::yield_now().await;
    }
    drop(serving);
    let mut answer = Vec::new();
    let _read = socket.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("Signed in"));
}

#[tokio::test]
async fn a_flood_of_silent_connections_does_not_keep_the_browser_out() {
    let (mut serving, port) = serving().await;
    let mut silent = Vec::new();
    for _ in 0..MOST_CONNECTIONS * 2 {
        silent.push(connected(port).await);
    }
    let request = right("&code=c");
    let (answer, ()) = tokio::join!(answer_to(port, &request), async {
        serving.brought().await.expect("a code");
        serving.finish(completed(None)).await;
    });
    assert!(answer.contains("acct-1"), "{answer}");
}

#[tokio::test]
async fn a_flood_after_the_right_request_does_not_take_its_page() {
    let (mut serving, port) = serving().await;
    let request = right("&code=c");
    let (answer, ()) = tokio::join!(answer_to(port, &request), async {
        serving.brought().await.expect("a code");
        let mut silent = Vec::new();
        for _ in 0..MOST_CONNECTIONS * 2 {
            let mut stream = connected(port).await;
            stream.write_all(b"GET /x HTTP/1.1\r\n").await.expect("sent");
            silent.push(stream);
        }
        // All have been accepted when the last of them is: it is one of those that stay.
        assert_eq!(status(&answer_to(port, &get("/stray")).await), "404");
        serving.finish(completed(None)).await;
    });
    assert!(answer.contains("acct-1"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let (_serving, port) = serving().await;
    let begun = tokio::time::Instant::now();
    for start in ["", "GET /auth/callb", "GET / HTTP/1.1\r\nHost: loc"] {
        let mut socket = connected(port).await;
        socket.write_all(start.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let _closed = socket.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
    assert!(begun.elapsed() >= HEAD_TIMEOUT);
}

#[tokio::test]
async fn a_page_may_do_nothing_and_loads_nothing() {
    let (_serving, port) = serving().await;
    let answer = answer_to(port, &get("/")).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let head = head.to_ascii_lowercase();
    let style = body.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    let digest = BASE64_STANDARD.encode(Sha256::digest(style.expect("a style").0));
    let policy = format!(
        "content-security-policy: default-src 'none'; style-src 'sha256-{digest}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    assert!(head.contains(&policy.to_ascii_lowercase()), "{head}");
    for line in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-resource-policy: same-origin",
        "connection: close",
    ] {
        assert!(head.lines().any(|own| own == line), "{line}: {head}");
    }
    for active in ["<script", "://", "url(", "@import", "onload", "src=", "href=", "{{", "style="] {
        assert!(!body.contains(active), "{active}: {body}");
    }
}

#[test]
fn every_end_has_a_page_of_its_own() {
    let account = AccountId::new("acct");
    let failure = |error| Page::of(&Err(error));
    let why = || "why".to_owned();
    for (page, expected) in [
        (completed(None), "200 Signed in"),
        (
            failure(SignInError::Denied(Denial::new("access_denied", "no"))),
            "403 Login failed: access_denied (no).",
        ),
        (
            failure(SignInError::Workspace { wanted: account.clone(), found: account }),
            "403 Login is restricted to workspace id acct.",
        ),
        (
            failure(SignInError::Exchange { why: why(), source: None }),
            "502 Code exchange failed: why.",
        ),
        (
            failure(SignInError::Save(Arc::new(io::Error::other("disk")))),
            "500 The login could not be saved.",
        ),
        (failure(SignInError::Interrupted), "410 Login was interrupted; nothing was saved."),
        (Page::ended(), "410 The login was ended before it was complete; nothing was saved."),
        (Page::stray(StatusCode::BAD_REQUEST, "Stray."), "400 Stray."),
    ] {
        let (status, text) = expected.split_once(' ').expect("two parts");
        let shown = page.answer();
        assert_eq!(shown.status().as_str(), status);
        let is_success = status == "200";
        let body = format!("{:?}", shown.into_body());
        assert!(body.contains(text), "{expected}: {body}");
        assert_eq!(body.contains("Signed in"), is_success, "{expected}: {body}");
    }
}
