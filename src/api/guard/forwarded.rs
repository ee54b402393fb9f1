//! Whom a proxy speaks for.
//!
//! A proxy appends the address it saw to `X-Forwarded-For`, so the list is read from its end: each
//! proxy that is trusted vouches for the hop before it, and the first one that is not is the
//! client. Whatever stands further left was written by the client itself.
//!
//! **Invariant:** a peer that is not trusted is its own client, whatever it sends.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName};

use crate::address::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies that may say whom they speak for. Nobody by default.
#[derive(Clone, Debug, Default)]
pub struct Forwarded {
    pub trusted: Arc<[Network]>,
}

impl Forwarded {
    /// The address that a request counts for.
    ///
    /// A list with something in it that is no address, before the client is found, is not
    /// believed at all.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        for line in lines.into_iter().rev() {
            let Ok(line) = line.to_str() else { return peer };
            for hop in line.rsplit(',') {
                let Some(hop) = address(hop.trim()) else { return peer };
                client = hop;
                if !self.trusts(hop) {
                    return client;
                }
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// An address, with a port or without.
fn address(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(trusted: &[&str], peer: &str, lines: &[&[u8]], expected: &str) {
        let trusted = trusted.iter().map(|network| network.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).expect("a value"));
        }
        let client = Forwarded { trusted }.client(peer.parse().expect("an address"), &headers);
        assert_eq!(client.to_string(), expected, "{peer} {lines:?}");
    }

    #[test]
    fn a_forged_first_element_changes_nothing() {
        let loopback = &["127.0.0.0/8", "::1"][..];
        for forged in ["1.2.3.4", "127.0.0.9", "x", ""] {
            let line = format!("{forged}, 203.0.113.7");
            check(loopback, "127.0.0.1", &[line.as_bytes()], "203.0.113.7");
        }
        check(loopback, "127.0.0.1", &[b"6.6.6.6", b"203.0.113.7"], "203.0.113.7");
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let line: &[&[u8]] = &[b"203.0.113.7"];
        check(&[], "127.0.0.1", line, "127.0.0.1");
        check(&["127.0.0.0/8"], "127.0.0.1", line, "203.0.113.7");
        check(&["127.0.0.0/8"], "::ffff:127.0.0.1", line, "203.0.113.7");
        check(&["127.0.0.0/8"], "10.0.0.1", line, "10.0.0.1");
        check(&["10.0.0.1"], "127.0.0.1", line, "127.0.0.1");
    }

    #[test]
    fn the_last_hop_that_is_not_trusted_is_the_client() {
        let trusted = &["127.0.0.0/8", "10.0.0.0/8"][..];
        check(trusted, "127.0.0.1", &[b"8.8.8.8, 203.0.113.7,10.1.1.1 , 10.2.2.2"], "203.0.113.7");
        check(trusted, "127.0.0.1", &[b"203.0.113.7, 10.1.1.1", b"10.2.2.2"], "203.0.113.7");
        check(trusted, "127.0.0.1", &[b"10.1.1.1, 10.2.2.2"], "10.1.1.1");
        check(trusted, "127.0.0.1", &[b"203.0.113.7:5555"], "203.0.113.7");
        check(trusted, "127.0.0.1", &[b"[2001:db8::1]:5555"], "2001:db8::1");
        check(trusted, "127.0.0.1", &[b"2001:db8::1"], "2001:db8::1");
        check(trusted, "127.0.0.1", &[], "127.0.0.1");
    }

    #[test]
    fn garbage_falls_back_to_the_peer() {
        let trusted = &["127.0.0.0/8", "10.0.0.0/8"][..];
        for line in [
            &b"unknown"[..],
            b"",
            b",",
            b"203.0.113.7,",
            b"203.0.113.7, 10.1.1.1, unknown",
            b"203.0.113.7, unknown, 10.1.1.1",
            b"203.0.113.7 10.1.1.1",
            b"\xff\xfe",
            b"999.1.1.1",
            b"for=203.0.113.7",
        ] {
            check(trusted, "127.0.0.1", &[line], "127.0.0.1");
        }
    }
}
