//! What strangers, browsers and hands write: addresses, names and settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderValue, Uri, header::HOST};

use crate::{api::guard::host, auth::callback, config::Config, secret::Secret};

const STATE: &str = "s-0123456789abcdef";
/// Where the connection came to.
const LOCAL: [u8; 4] = [192, 168, 1, 7];
const LISTED: &str = "relay.example";

/// A request ends a login only with the one state of that login.
pub fn callback(data: &[u8]) {
    let Ok(query) = str::from_utf8(data) else { return };
    let Ok(uri) = format!("/auth/callback?{query}").parse::<Uri>() else { return };
    if !callback::counts(&uri, &Secret::new(STATE)) {
        return;
    }
    let query = uri.query().unwrap_or_default();
    let states = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescaped(name) == b"state").then(|| unescaped(value))
    });
    assert_eq!(states.collect::<Vec<_>>(), [STATE.as_bytes()], "accepted: {query}");
}

/// Percent signs with two digits undone, by another way than the program's.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let is_hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let escaped = digits.filter(is_hex).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                out.push(b' ');
                rest = after;
            }
            (byte, _) => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

/// A request counts as ours only by a name that nobody else can make lead here.
pub fn host(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let headers: HeaderMap = [(HOST, value)].into_iter().collect();
    let listed = [LISTED.to_owned()];
    let local = IpAddr::V4(Ipv4Addr::from(LOCAL));
    let Ok(taken) = host::check(&headers, &Uri::from_static("/"), local, &listed) else { return };
    assert_eq!(taken.as_bytes(), data, "it is what was sent");
    let name = taken.to_ascii_lowercase();
    let name = match name.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => &*name,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = match (bare.parse::<Ipv4Addr>(), bare.parse::<Ipv6Addr>()) {
        (Ok(address), _) => address.is_loopback() || address.octets() == LOCAL,
        (_, Ok(address)) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.is_loopback() || mapped.octets() == LOCAL,
            None => address.is_loopback(),
        },
        (Err(_), Err(_)) => false,
    };
    let bare = name.strip_suffix('.').unwrap_or(name);
    let is_reserved = bare.split('.').next_back() == Some("localhost");
    assert!(is_loopback || is_reserved || bare == LISTED, "taken for ours: {taken}");
}

/// A file of settings has mistakes that are named, or says what it says when written again.
pub fn settings(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match Config::of_text(text) {
        Ok(config) => {
            let Ok(written) = config.to_toml() else { return };
            let again = Config::of_text(&written).map(|config| config.to_toml());
            let again = again.ok().and_then(Result::ok);
            assert_eq!(again.as_deref(), Some(&*written), "of {text}");
        }
        Err(problems) => assert!(!problems.problems.is_empty(), "refused for nothing: {text}"),
    }
}
