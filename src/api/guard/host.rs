//! Whether a request was meant for this relay, by the name that its client called it by.
//!
//! A page whose own name suddenly leads to this machine (DNS rebinding) speaks to the relay as to
//! its own server: no other origin, nothing that a browser would stop. What gives it away is that
//! name in `Host`. A name that nobody else can make lead here is fine: an address of loopback,
//! `localhost`, the very address that the connection came to, and what the owner listed.
//!
//! The port does not matter: a tunnel or a container may well have another one than ours.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, Uri, header::HOST};

/// Why a request is not for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdirected {
    /// No `Host`, or several.
    Unclear,
    /// A name that is not ours.
    Elsewhere,
}

/// The `Host` of a request that came to `local` and may also be called one of `listed`, which are
/// in lower case.
pub fn check<'a>(
    headers: &'a HeaderMap,
    target: &Uri,
    local: IpAddr,
    listed: &[String],
) -> Result<&'a str, Misdirected> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Misdirected::Unclear);
    };
    let host = host.to_str().map_err(|_| Misdirected::Elsewhere)?;
    // A target with a host of its own counts before the header; they have to agree.
    let agrees = target.authority().is_none_or(|own| own.as_str().eq_ignore_ascii_case(host));
    match name(host) {
        Some(name) if agrees && is_ours(name, local, listed) => Ok(host),
        Some(_) | None => Err(Misdirected::Elsewhere),
    }
}

/// The name or bracketed address before the port.
fn name(host: &str) -> Option<&str> {
    let is_port = |port: &str| port.parse::<u16>().is_ok() && !port.starts_with('+');
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(end);
    (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)).then_some(name)
}

fn is_ours(name: &str, local: IpAddr, listed: &[String]) -> bool {
    let address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok().filter(IpAddr::is_ipv4),
    };
    if let Some(address) = address.map(|address| address.to_canonical()) {
        let is_listed = |listed: &String| listed.parse() == Ok(address);
        return address.is_loopback()
            || address == local.to_canonical() && !address.is_unspecified()
            || listed.iter().any(is_listed);
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || listed.contains(&name)
}

#[cfg(test)]
mod tests;
