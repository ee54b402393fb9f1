//! What a web page can make a browser send.

use super::relay::{JSON, Relay, TOKEN, chat};
use crate::tidy::root;

/// Every route of the reference with something in its places, and some that are none.
fn targets() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(root().join("docs/reference/routes.md")).expect("there");
    let mut targets = Vec::new();
    for row in page.lines() {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let (method, path) = match cells.as_slice() {
            ["", method, path, _, ""] if path.starts_with('/') => (*method, *path),
            ["", path, ""] if path.starts_with('/') => ("POST", *path),
            _ => continue,
        };
        let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        targets.push((method.to_owned(), parts.collect::<Vec<_>>().join("/")));
    }
    assert!(targets.len() > 20, "the reference has no routes: {targets:?}");
    for path in ["/nothing", "/v1/nothing", "/v1/", "/no-tools/v1/x", "/v1/files/x", "//"] {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "PUT"] {
            targets.push((method.to_owned(), path.to_owned()));
        }
    }
    targets
}

const NAMES: &[&str] = &[
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "",
    "0.0.0.0",
    "169.254.169.254",
    "[::ffff:8.8.8.8]",
    "a@127.0.0.1",
];

#[test]
fn b1_a_rebound_page_reaches_no_route() {
    let relay = Relay::open(&[]);
    for (method, path) in targets() {
        for name in NAMES {
            let head = format!("{method} {path}\nHost: {name}\n{JSON}");
            let answer = relay.ask(&head, "{}");
            assert_eq!(
                (answer.status, &*answer.code()),
                (403, "host_not_allowed"),
                "{method} {path} {name:?}"
            );
        }
    }
    let rebound = "POST /v1/responses\nHost: evil.example:80\nOrigin: http://evil.example:80";
    let answer = relay.ask(&format!("{rebound}\nSec-Fetch-Site: same-origin\n{JSON}"), "{}");
    assert_eq!(answer.status, 403);
    assert_eq!(relay.sent(), 0);
}

#[test]
fn b1_the_host_is_one_and_agrees_with_the_target() {
    let relay = Relay::open(&[("AIRELAYS_ALLOWED_HOSTS", "relay.example")]);
    let port = relay.address.port();
    for (head, expected) in [
        ("GET /healthz\nHost: 127.0.0.1:{port}", 200),
        ("GET /healthz\nHost: LOCALHOST.", 200),
        ("GET /healthz\nHost: [::1]:{port}", 200),
        ("GET /healthz\nHost: x.localhost:1", 200),
        ("GET /healthz\nHost: Relay.Example", 200),
        ("GET /healthz\nHost: other.example", 403),
        ("GET /healthz\nHost: localhost\nHost: localhost", 400),
        ("GET http://localhost:{port}/healthz\nHost: localhost:{port}", 200),
        ("GET http://evil.example/healthz\nHost: localhost", 403),
        ("GET http://localhost/healthz\nHost: evil.example", 403),
    ] {
        let head = head.replace("{port}", &port.to_string());
        assert_eq!(relay.ask(&head, "").status, expected, "{head}");
    }
    for version in ["1.1", "1.0"] {
        let mut client = relay.connect();
        client.send(&format!("GET /healthz HTTP/{version}\r\nConnection: close\r\n\r\n"));
        let answer = client.rest();
        assert_eq!((answer.status, &*answer.code()), (400, "invalid_host"), "{version}");
    }
}

#[test]
fn b2_a_page_reaches_no_route_in_open_mode() {
    let relay = Relay::open(&[]);
    for (method, path) in targets() {
        for marks in [
            "Origin: https://evil.example",
            "Origin: null",
            "Origin: http://localhost:3000",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site",
            "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate",
            "Origin: https://evil.example\nSec-Fetch-Site: same-origin",
        ] {
            for content in ["text/plain", "multipart/form-data; boundary=x", "application/json"] {
                let head = format!("{method} {path}\n{marks}\nContent-Type: {content}");
                let answer = relay.ask(&head, "{}");
                assert_eq!(answer.status, 403, "{method} {path} {marks} {content}");
                let is_empty = method == "HEAD";
                assert!(is_empty || answer.code() == "origin_not_allowed", "{}", answer.body);
            }
        }
    }
    assert_eq!(relay.sent(), 0);
}

#[test]
fn b2_what_is_no_json_is_refused_even_of_a_client_without_a_page() {
    let relay = Relay::open(&[]);
    let routes = |prefix: &str| {
        ["responses", "responses/compact", "chat/completions", "completions"]
            .map(|route| format!("{prefix}/{route}"))
    };
    for path in routes("/v1").iter().chain(&routes("/no-tools/v1")) {
        for content in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let answer = relay.ask(&format!("POST {path}\nContent-Type: {content}"), "{}");
            assert_eq!(answer.status, 415, "{path} {content}");
        }
    }
    assert_eq!(relay.sent(), 0);
}

#[test]
fn b2_clients_that_are_no_browsers_are_not_touched() {
    let relay = Relay::open(&[]);
    let own = format!("http://{}", relay.address);
    for marks in [
        "X-Nothing: 1".to_owned(),
        "Sec-Fetch-Site: none".to_owned(),
        "Sec-Fetch-Mode: cors".to_owned(),
        "Referer: https://evil.example/".to_owned(),
        format!("Origin: {own}"),
        format!("Origin: {own}\nSec-Fetch-Site: same-origin"),
    ] {
        let head = format!("POST /v1/chat/completions\n{marks}\n{JSON}");
        assert_eq!(relay.ask(&head, &chat("hello", false)).status, 200, "{marks}");
    }
}

#[test]
fn b3_a_page_can_neither_lock_the_owner_out_nor_spend_anything() {
    let relay = Relay::start(&[("AIRELAYS_RATE_LIMIT_PER_MINUTE", "1")]);
    for n in 0..1000 {
        let marks = ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"][n % 2];
        let answer = relay.ask(&format!("POST /v1/responses\n{marks}\n{JSON}"), "{}");
        assert_eq!(answer.status, 403);
    }
    let security = &relay.status()["security"];
    assert_eq!(security["client"]["failed_auth_attempts"], 0);
    assert_eq!(security["client"]["blocked_for_seconds"], 0);
    assert_eq!(security["client"]["active_requests"], 1, "this one");
    assert_eq!(security["client"]["allowance_remaining"], 39.0, "this one");
    for n in 0..1000 {
        let head = format!("POST /v1/responses\nAuthorization: Bearer wrong-{n}\n{JSON}");
        let expected = if n < 8 { 401 } else { 429 };
        assert_eq!(relay.ask(&head, "{}").status, expected, "{n}");
    }
    assert_eq!(relay.ask_as_owner("GET /v1/models", "").status, 200);
    let log = relay.stop();
    let refusals = lines(&log.path().join(".airelays/logs"), "endpoint_rejected");
    assert_eq!(refusals, 2, "a flood is written down once for each guard");
}

/// How many lines below `dir` contain `text`.
fn lines(dir: &std::path::Path, text: &str) -> usize {
    let entries = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("there"));
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                return lines(&entry.path(), text);
            }
            let content = std::fs::read_to_string(entry.path()).expect("text");
            content.lines().filter(|line| line.contains(text)).count()
        })
        .sum()
}

#[test]
fn b4_only_pages_of_listed_origins_are_answered_and_only_with_the_token() {
    let relay = Relay::start(&[("AIRELAYS_ALLOWED_ORIGINS", "https://app.example")]);
    let page = "Origin: https://app.example\nSec-Fetch-Site: cross-site";
    let asked = "Access-Control-Request-Method: POST\n\
                 Access-Control-Request-Headers: authorization,content-type\n\
                 Access-Control-Request-Private-Network: true";
    let answer = relay.ask(&format!("OPTIONS /v1/chat/completions\n{page}\n{asked}"), "");
    assert_eq!(answer.status, 204);
    for (name, expected) in [
        ("access-control-allow-origin", Some("https://app.example")),
        ("access-control-allow-methods", Some("POST")),
        ("access-control-allow-headers", Some("authorization,content-type")),
        ("access-control-allow-credentials", None),
        ("access-control-allow-private-network", None),
        ("access-control-max-age", Some("600")),
    ] {
        assert_eq!(answer.header(name), expected, "{name}");
    }
    assert!(answer.header("vary").is_some_and(|vary| vary.starts_with("origin")));
    let head = format!("POST /v1/chat/completions\n{page}\n{JSON}");
    let without = relay.ask(&head, &chat("hello", false));
    assert_eq!(without.status, 401);
    assert_eq!(without.header("access-control-allow-origin"), Some("https://app.example"));
    let head = format!("{head}\nAuthorization: Bearer {TOKEN}");
    let with = relay.ask(&head, &chat("hello", true));
    assert_eq!(with.status, 200);
    let exposed = with.header("access-control-expose-headers").expect("some");
    for name in ["x-request-id", "retry-after", "x-airelays-ignored-parameters"] {
        assert!(exposed.contains(name), "{name}");
    }
    for line in ["OPTIONS /v1/models", "GET /v1/models", "GET /"] {
        let head = format!("{line}\nOrigin: https://other.example\n{asked}");
        let other = relay.ask(&head, "");
        assert_eq!(other.status, 403, "{line}");
        assert_eq!(other.header("access-control-allow-origin"), None, "{line}");
    }
}

#[test]
fn b6_every_answer_says_what_browsers_may_do_with_it() {
    let relay = Relay::open(&[]);
    for (head, body) in [
        ("GET /", ""),
        ("GET /healthz", ""),
        ("GET /nothing", ""),
        ("GET /v1/models", ""),
        ("GET /v1/relay/status", ""),
        ("POST /v1/files", "{}"),
        ("GET /\nHost: evil.example", ""),
        ("GET /\nOrigin: null", ""),
        ("DELETE /v1/models", ""),
        ("POST /v1/responses\nContent-Type: text/plain", "{}"),
        ("POST /v1/chat/completions\nContent-Type: application/json", &chat("hello", true)),
    ] {
        let answer = relay.ask(head, body);
        for (name, expected) in [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), Some(expected), "{head}: {name}");
        }
        let cache = answer.header("cache-control").expect("said");
        assert!(matches!(cache, "no-store" | "no-cache"), "{head}: {cache}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{head}");
    }
    let page = relay.ask("GET /", "");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
}
