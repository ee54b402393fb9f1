//! What anybody may see: a page that says what this is, and a sign of life.
//!
//! The page is the same for everybody but for the address that it is told by, so that what it says
//! to type works as it stands. It knows nothing of logins, settings or files.
//!
//! **Invariant:** nothing in it is loaded from anywhere, and nothing in it runs.
//! **Invariant:** of a request it shows characters of host names only, which mean nothing to HTML,
//! to a shell or to a programming language.

use std::sync::LazyLock;

use axum::{Router, response::IntoResponse, routing::get};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    request::Parts,
};
use sha2::{Digest, Sha256};

use crate::api::exchange::Peer;

const PAGE: &str = include_str!("landing/index.html");
const STYLE: &str = include_str!("landing/page.css");
const NO_RIGHTS: HeaderValue = HeaderValue::from_static("default-src 'none'");
/// A name, a colon and a port.
const LONGEST_HOST: usize = 253 + 6;
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The one style may apply, and nothing else may anything.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    // Base64 and keywords are always a header's value; without one the page has no rights.
    HeaderValue::from_str(&policy).unwrap_or(NO_RIGHTS)
});

pub fn router() -> Router {
    Router::new().route("/", get(page)).route("/healthz", get(healthz))
}

async fn page(request: Parts) -> impl IntoResponse {
    let base = base_url(&request.headers, Peer::of(&request.extensions));
    let page = PAGE.replace("{{style}}", STYLE).replace("{{base}}", &base);
    (headers("text/html; charset=utf-8"), page)
}

async fn healthz() -> impl IntoResponse {
    let body =
        format!(r#"{{"ok":true,"app_name":"AIRelays","version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
    (headers("application/json"), body)
}

/// The base URL as whoever asks has reached it.
fn base_url(headers: &HeaderMap, peer: Peer) -> String {
    // Anybody may say this: it changes the page that they get themselves, and nothing else.
    let is_behind_tls = headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
    let scheme = if peer.is_encrypted || is_behind_tls { "https" } else { "http" };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_plain(host));
    format!("{scheme}://{}/v1", host.unwrap_or("localhost"))
}

/// Whether it is written in characters of names and addresses, and as long as those can be.
fn is_plain(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=LONGEST_HOST).contains(&host.len()) && host.bytes().all(is_plain)
}

fn headers(content_type: &'static str) -> [(HeaderName, HeaderValue); 6] {
    [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_how_the_relay_was_reached() {
        let plain = Peer::IN_PROCESS;
        let encrypted = Peer { is_encrypted: true, ..plain };
        for (host, proto, peer, expected) in [
            ("127.0.0.1:8080", "", plain, "http://127.0.0.1:8080/v1"),
            ("[::1]:8080", "", plain, "http://[::1]:8080/v1"),
            ("relay.home.example", "", encrypted, "https://relay.home.example/v1"),
            ("relay.example", "https", plain, "https://relay.example/v1"),
            ("relay.example", "javascript", plain, "http://relay.example/v1"),
            ("", "", plain, "http://localhost/v1"),
            ("<script>.localhost", "", plain, "http://localhost/v1"),
            ("\"onclick=.localhost", "", plain, "http://localhost/v1"),
            ("$(reboot).localhost", "", plain, "http://localhost/v1"),
            ("`reboot`.localhost", "", plain, "http://localhost/v1"),
            ("a';reboot;'.localhost", "", plain, "http://localhost/v1"),
            ("&lt;.localhost", "", plain, "http://localhost/v1"),
            ("{{style}}.localhost", "", plain, "http://localhost/v1"),
            ("\u{e9}.localhost", "", plain, "http://localhost/v1"),
            (&*"x".repeat(300), "", plain, "http://localhost/v1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_bytes(host.as_bytes()).expect("a value"));
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
            assert_eq!(base_url(&headers, peer), expected, "{host}");
        }
        assert_eq!(base_url(&HeaderMap::new(), plain), "http://localhost/v1");
    }
}
