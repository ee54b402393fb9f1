//! The page that anybody may see: what it says, what it must not say, and what it looks like.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::relay::{Answer, Relay, TOKEN};
use crate::tidy::{expect_none, root};

const LARGEST: usize = 12 * 1024;

/// What stands between the first `open` and the next `close` after it.
fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let (_, rest) = text.split_once(open).expect(open);
    rest.split_once(close).expect(close).0
}

/// What `text` would load or run, and where it would lead.
fn check_alone(text: &str, own: &str) -> Vec<String> {
    const ACTIVE: &[&str] = &[
        "<script",
        "<link",
        "<img",
        "<iframe",
        "<object",
        "<embed",
        "<form",
        "<base",
        "src=",
        "srcset",
        "style=",
        "@import",
        "url(",
        "javascript:",
        "http-equiv",
        " on",
    ];
    let text = text.to_lowercase().replace(own, "");
    let is_attribute = |at: usize| {
        let rest = text[at..].trim_start().trim_start_matches(|c: char| c.is_ascii_lowercase());
        rest.starts_with('=')
    };
    let active = ACTIVE.iter().filter(|word| {
        let mut found = text.match_indices(**word);
        found.any(|(at, _)| **word != " on" || is_attribute(at))
    });
    let outside = text.contains("://").then_some("an address");
    let away =
        text.split("href=\"").skip(1).any(|link| !link.starts_with("/h")).then_some("a link");
    active.copied().chain(outside).chain(away).map(str::to_owned).collect()
}

#[test]
fn the_page_says_how_to_use_the_relay_and_nothing_about_its_owner() {
    let relay = Relay::start(&[]);
    let page = relay.ask("GET /", "");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let base = format!("http://{}/v1", relay.address);
    assert_eq!(page.body.matches(&base).count(), 5, "the address, and one in each example");
    expect_none(&check_alone(&page.body, &base));
    assert!(page.body.len() < LARGEST, "{} bytes", page.body.len());
    assert!(!page.body.contains("{{"), "a place is left empty");
    let home = relay.home.path().to_str().expect("text");
    let (_, said) = page.body.split_once("</style>").expect("a style");
    for secret in [TOKEN, home, "/home/", "~", "first", "@", "auth.json", "slot"] {
        assert!(!said.contains(secret), "the page says {secret}");
    }
    let open = Relay::open(&[]);
    let same = open.ask("GET /", "").body.replace(&open.address.to_string(), "");
    assert_eq!(same, page.body.replace(&relay.address.to_string(), ""), "it says what is set up");
}

#[test]
fn only_its_own_style_applies_to_the_page() {
    let relay = Relay::start(&[]);
    let page = relay.ask("GET /", "");
    let hash = BASE64_STANDARD.encode(Sha256::digest(between(&page.body, "<style>", "</style>")));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    assert_eq!(page.header("content-security-policy"), Some(&*policy));
    let health = relay.ask("GET /healthz", "");
    assert_eq!(health.header("content-security-policy"), Some(&*policy));
}

#[test]
fn a_head_says_what_the_page_would_be() {
    let relay = Relay::start(&[]);
    let (page, head) = (relay.ask("GET /", ""), relay.ask("HEAD /", ""));
    assert_eq!((head.status, &*head.body), (200, ""));
    let length = page.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
    let told = |answer: &Answer, name| answer.header(name).map(str::to_owned);
    for name in ["content-type", "content-security-policy", "x-frame-options", "cache-control"] {
        assert_eq!(told(&head, name), told(&page, name), "{name}");
        assert!(head.header(name).is_some(), "{name}");
    }
    assert_eq!(relay.ask("POST /", "").status, 405);
}

#[test]
fn what_a_client_calls_the_relay_cannot_become_a_part_of_the_page() {
    let relay = Relay::start(&[("AIRELAYS_ALLOWED_HOSTS", "relay.example")]);
    for (host, base) in [
        ("relay.example", "http://relay.example/v1"),
        ("RELAY.example:81", "http://RELAY.example:81/v1"),
        ("[::1]:8080", "http://[::1]:8080/v1"),
        ("<script>alert(1)</script>.localhost", "http://localhost/v1"),
        ("\"><b>x.localhost", "http://localhost/v1"),
        ("$(touch-x)'`.localhost", "http://localhost/v1"),
        ("{{style}}.localhost", "http://localhost/v1"),
    ] {
        let page = relay.ask(&format!("GET /\nHost: {host}"), "");
        assert_eq!(page.status, 200, "{host}");
        let shown = between(&page.body, "<dd><code>", "</code></dd>");
        assert_eq!(shown, base, "{host}");
        expect_none(&check_alone(&page.body, &base.to_lowercase()));
        assert_eq!(page.body.matches("<style>").count(), 1, "{host}");
    }
    let behind = relay.ask("GET /\nHost: relay.example\nX-Forwarded-Proto: https", "");
    assert_eq!(between(&behind.body, "<dd><code>", "</code></dd>"), "https://relay.example/v1");
}

#[test]
fn what_the_page_names_is_there() {
    let relay = Relay::open(&[]);
    let page = relay.ask("GET /", "").body;
    let routes = between(&page, "<dl class=\"routes\">", "</dl>");
    let routes: Vec<_> = routes.split("<dt><code>").skip(1).collect();
    assert!(routes.len() > 5);
    for route in routes {
        let route = between(route, "", "</code>").replace("<a href=\"/healthz\">", "");
        let route = route.replace("</a>", "");
        // A conversation may begin with nothing, and all else is made of something.
        let is_made = route.starts_with("POST") && route != "POST /v1/conversations";
        let expected = if is_made { 400 } else { 200 };
        let answer = relay.ask(&format!("{route}\nContent-Type: application/json"), "{}");
        assert_eq!(answer.status, expected, "{route}");
    }
    let list = between(&page, "<ul>", "</ul>");
    let documents: Vec<_> = list.split("<li><code>").skip(1).collect();
    assert!(documents.len() > 3);
    for document in documents {
        let name = between(document, "", "</code>");
        assert!(root().join("docs").join(name).exists(), "{name}");
    }
}

/// The colors of one scheme, by their names.
fn colors(block: &str) -> BTreeMap<&str, [f64; 3]> {
    let channel = |hex: &str, at: usize| {
        let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("a color")) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    block
        .split("--")
        .skip(1)
        .filter_map(|part| part.split_once(": #"))
        .map(|(name, value)| {
            let hex = value.split(';').next().unwrap_or_default();
            let hex = if hex.len() < 6 {
                hex.chars().take(3).flat_map(|c| [c, c]).collect()
            } else {
                hex.to_owned()
            };
            (name, [0, 2, 4].map(|at| channel(&hex, at)))
        })
        .collect()
}

/// As WCAG 2 defines it.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let light = |[r, g, b]: [f64; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    let (one, other) = (light(one), light(other));
    one.max(other) / one.min(other)
}

#[test]
fn every_text_of_the_page_can_be_read_in_both_schemes() {
    let style = std::fs::read_to_string(root().join("src/api/landing/page.css")).expect("there");
    let roots: Vec<_> = style.split(":root {").skip(1).collect();
    assert_eq!(roots.len(), 2, "light and dark");
    for (scheme, block) in ["light", "dark"].iter().zip(roots) {
        let colors = colors(block.split('}').next().expect("a block"));
        for (text, ground) in [
            ("ink", "paper"),
            ("ink", "card"),
            ("ink", "tint"),
            ("soft", "paper"),
            ("soft", "card"),
            ("soft", "tint"),
            ("mark", "paper"),
            ("mark", "card"),
        ] {
            let contrast = contrast(colors[text], colors[ground]);
            assert!(contrast >= 4.5, "{scheme}: {text} on {ground} has {contrast:.2}");
        }
    }
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
}

#[test]
fn what_would_load_or_run_is_found() {
    let own = "http://127.0.0.1:1/v1";
    for (text, is_wrong) in [
        ("<p>on the machine</p> http://127.0.0.1:1/v1", false),
        ("<a href=\"/healthz\">x</a>", false),
        ("<a href=\"//x.example\">x</a>", true),
        ("<p onclick=x>", true),
        ("<SCRIPT>", true),
        ("see https://x.example", true),
        ("background: url(x)", true),
    ] {
        assert_eq!(!check_alone(text, own).is_empty(), is_wrong, "{text}");
    }
}
