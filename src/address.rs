//! What an address says of who is calling: this machine, a private network, or anybody.
//!
//! IPv4 addresses that come wrapped in IPv6 count as what they are, so that a listener on `::`
//! decides like one on `0.0.0.0`.
//!
//! Not here: whose address it is behind a proxy (`api::guard::forwarded`).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// In canonical form: never IPv4 wrapped in IPv6.
    base: IpAddr,
    /// At most 32 or 128.
    prefix: u8,
}

/// What people use at home and in offices, and what a machine gives itself.
const PRIVATE: &[Network] = &[
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v6(0, 1, 128),
    v6(0xfc00, 0, 7),
    v6(0xfe80, 0, 10),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Network {
    Network { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(first: u16, last: u16, prefix: u8) -> Network {
    Network { base: IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last)), prefix }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                share(base.to_bits().into(), address.to_bits().into(), 32 - self.prefix)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                share(base.to_bits(), address.to_bits(), 128 - self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Whether `a` and `b` differ in their last `free` bits at most.
fn share(a: u128, b: u128, free: u8) -> bool {
    (a ^ b).checked_shr(free.into()).unwrap_or(0) == 0
}

/// An address alone, or one with the number of bits that count: `10.0.0.0/8`.
impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let base = address.to_canonical();
        let most = if base.is_ipv4() { 32 } else { 128 };
        // A wrapped address counts the bits of what it is wrapped in.
        let wrapping = if base.is_ipv4() && address.is_ipv6() { 96 } else { 0 };
        let prefix = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse::<u8>().ok().and_then(|bits| bits.checked_sub(wrapping))
            }
            Some(_) => None,
            None => Some(most),
        };
        match prefix {
            Some(prefix) if prefix <= most => Ok(Self { base, prefix }),
            Some(_) | None => Err(NotANetwork),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// A text that names no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no address and no network such as 10.0.0.0/8")]
pub struct NotANetwork;

/// Who may connect at all, by the address at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Programs on this machine.
    Loopback,
    /// Machines of private networks as well.
    Private,
    Any,
}

impl Scope {
    pub fn admits(self, peer: IpAddr) -> bool {
        match self {
            Self::Loopback => is_loopback(peer),
            Self::Private => PRIVATE.iter().any(|network| network.contains(peer)),
            Self::Any => true,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Any => "any",
        }
    }
}

/// Whether only this machine can have `address`.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_scope_admits_the_addresses_it_is_named_after() {
        use Scope::{Any, Loopback, Private};
        for (address, narrowest) in [
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.7.7", Private),
            ("100.64.0.1", Private),
            ("100.127.255.255", Private),
            ("169.254.169.254", Private),
            ("::ffff:192.168.0.1", Private),
            ("fc00::1", Private),
            ("fdff::1", Private),
            ("fe80::1", Private),
            ("febf::1", Private),
            ("9.255.255.255", Any),
            ("11.0.0.0", Any),
            ("126.255.255.255", Any),
            ("128.0.0.0", Any),
            ("172.15.255.255", Any),
            ("172.32.0.0", Any),
            ("192.167.255.255", Any),
            ("192.169.0.0", Any),
            ("100.63.255.255", Any),
            ("100.128.0.0", Any),
            ("8.8.8.8", Any),
            ("0.0.0.0", Any),
            ("::", Any),
            ("::2", Any),
            ("::ffff:8.8.8.8", Any),
            ("::127.0.0.1", Any),
            ("2001:db8::1", Any),
            ("fec0::1", Any),
            ("fbff::1", Any),
            ("64:ff9b::a00:1", Any),
        ] {
            let admitted = [Loopback, Private, Any].map(|scope| scope.admits(ip(address)));
            let expected = match narrowest {
                Loopback => [true, true, true],
                Private => [false, true, true],
                Any => [false, false, true],
            };
            assert_eq!(admitted, expected, "{address}");
        }
    }

    #[test]
    fn networks_are_read_and_told() {
        for (text, expected) in [
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("::1", Some("::1/128")),
            ("fd00::/8", Some("fd00::/8")),
            ("::/0", Some("::/0")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::ffff:10.0.0.0/8", None),
            ("10.0.0.0/33", None),
            ("::1/129", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/-1", None),
            ("10.0.0", None),
            ("localhost", None),
            ("", None),
        ] {
            let read = text.parse::<Network>().ok().map(|network| network.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_that_share_its_bits() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.9.9.9", true),
            ("10.0.0.0/8", "::ffff:10.9.9.9", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.9.9.9/8", "10.0.0.1", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "1.2.3.4", false),
            ("::/0", "ffff::1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe00::1", false),
            ("1.2.3.4", "1.2.3.4", true),
            ("1.2.3.4", "1.2.3.5", false),
        ] {
            let network: Network = network.parse().expect("a network");
            assert_eq!(network.contains(ip(address)), expected, "{network} {address}");
        }
    }
}
