//! Addresses of the hosts that the relay sends credentials to.
//!
//! **Invariant:** plain HTTP goes to this machine only, so that no setting can put a credential
//! on a network in the clear.
//!
//! Not here: the address that the relay itself listens on, except for its spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

use super::value::Raw;

/// An `https` address, or an `http` one of this machine, without a slash at its end.
///
/// The refusals never quote the address: it may hold a password.
pub fn upstream(raw: &Raw) -> Result<String, String> {
    let Some(text) = text(raw) else { return Err("must be a web address in quotes".to_owned()) };
    let address: Uri = text.parse().map_err(|_| "is not a web address".to_owned())?;
    let Some(authority) = address.authority() else {
        return Err("must start with https:// and a host".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("must not hold a user name or password".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err("must end with its path: no `?` and no `#`".to_owned());
    }
    match address.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback(authority.host()) => {}
        Some("http") => {
            return Err("must start with https://; plain http is for this machine only \
                        (localhost, 127.0.0.0/8, [::1])"
                .to_owned());
        }
        Some(_) | None => return Err("must start with https://".to_owned()),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A name or an IP address to listen on; an IPv6 address with or without its brackets.
pub fn listener(raw: &Raw) -> Result<String, String> {
    let Some(text) = text(raw) else {
        return Err(format!("must be a host name or IP address, but is {raw}"));
    };
    let bare = unbracketed(text);
    let is_name = !bare.is_empty()
        && bare
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if is_name || bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    Err(format!("must be a host name or IP address, but is {raw}"))
}

/// Whether only this machine can reach `host`.
pub fn is_loopback(host: &str) -> bool {
    let host = unbracketed(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a client on this machine puts into its base URL to reach a listener on `host`.
pub fn for_clients(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => "[::1]".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(_)) | Err(_) => host.to_owned(),
    }
}

fn text(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Word(word) => word.to_str().map(str::trim),
        Raw::Text(text) => Some(text.trim()),
        Raw::Whole(_) | Raw::Float(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => None,
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (address, expected) in [
            (
                "https://chatgpt.com/backend-api/codex/",
                Some("https://chatgpt.com/backend-api/codex"),
            ),
            ("https://proxy.example:8443//", Some("https://proxy.example:8443")),
            ("http://localhost:9/x", Some("http://localhost:9/x")),
            ("http://127.9.9.9", Some("http://127.9.9.9")),
            ("http://[::1]:1/", Some("http://[::1]:1")),
            (" HTTP://LOCALHOST ", Some("HTTP://LOCALHOST")),
            ("http://chatgpt.com", None),
            ("http://localhost.example", None),
            ("http://127.0.0.1.example", None),
            ("http://127.0.0.1@evil.example", None),
            ("http://[::ffff:127.0.0.1]:1/", None),
            ("http://0.0.0.0:1", None),
            ("https://me:hunter2@chatgpt.com", None),
            ("https://chatgpt.com/?a=b", None),
            ("https://chatgpt.com/#a", None),
            ("ftp://chatgpt.com", None),
            ("chatgpt.com", None),
            ("/path", None),
            ("https://", None),
            ("https:///x", None),
            ("", None),
            ("https://a b", None),
        ] {
            let read = upstream(&Raw::Text(address.to_owned()));
            assert_eq!(read.as_deref().ok(), expected, "{address}");
            if let Err(refusal) = read {
                assert!(!refusal.contains("hunter2"), "{refusal}");
            }
        }
    }

    #[test]
    fn a_listener_is_a_name_or_an_address() {
        for (host, expected) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("::1")),
            ("::", Some("::")),
            ("my-host.local", Some("my-host.local")),
            ("", None),
            ("a b", None),
            ("http://x", None),
            ("x:80", None),
        ] {
            assert_eq!(listener(&Raw::Word(host.into())).as_deref().ok(), expected, "{host}");
        }
    }

    #[test]
    fn clients_get_an_address_that_works() {
        for (host, expected) in [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "[::1]"),
            ("::1", "[::1]"),
            ("fe80::1", "[fe80::1]"),
            ("localhost", "localhost"),
            ("10.0.0.7", "10.0.0.7"),
        ] {
            assert_eq!(for_clients(host), expected);
        }
    }
}
