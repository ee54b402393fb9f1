//! Names that lead here and names that only seem to.

use super::*;

const LISTED: [&str; 2] = ["relay.example", "192.168.1.5"];

fn judge(target: &str, hosts: &[&[u8]], local: &str) -> Result<(), Misdirected> {
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(HOST, http::HeaderValue::from_bytes(host).expect("a value"));
    }
    let target: Uri = target.parse().expect("a target");
    let local = local.parse().expect("an address");
    check(&headers, &target, local, &LISTED.map(str::to_owned)).map(drop)
}

#[test]
fn names_that_only_we_can_have_are_ours() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.9.9.9:1",
        "localhost",
        "LOCALHOST.",
        "LocalHost.:8080",
        "x.localhost",
        "a.b.localhost:80",
        "[::1]",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:8080",
        "10.1.2.3:8080",
        "relay.example",
        "Relay.Example:443",
        "relay.example.",
        "192.168.1.5",
    ] {
        assert_eq!(judge("/", &[host.as_bytes()], "10.1.2.3"), Ok(()), "{host}");
    }
    assert_eq!(judge("/", &[b"[fd00::7]:80"], "fd00::7"), Ok(()));
    assert_eq!(judge("/", &[b"10.1.2.3"], "::ffff:10.1.2.3"), Ok(()));
}

#[test]
fn a_rebound_name_is_not_ours() {
    for host in [
        &b"evil.example"[..],
        b"127.0.0.1.evil.example",
        b"localhost.evil.example",
        b"",
        b".",
        b"0.0.0.0",
        b"0.0.0.0:8080",
        b"169.254.169.254",
        b"[::ffff:8.8.8.8]",
        b"[::]",
        b"a@127.0.0.1",
        b"127.0.0.1@evil.example",
        b"127.0.0.1:8080:evil",
        b"127.0.0.1:",
        b"127.0.0.1:+80",
        b"127.0.0.1:99999",
        b"127.0.0.1:x",
        b"[::1",
        b"[::1]x",
        b"::1",
        b"[127.0.0.1]",
        b"[::1%lo]",
        b"localhost..",
        b"evillocalhost",
        b".relay.example.x",
        b"xrelay.example",
        b"relay.example,evil.example",
        b"10.1.2.4",
        b"192.168.1.6",
        b"127.1",
        b"0x7f.0.0.1",
        b"2130706433",
        b"127.0.0.1/",
        b"localhost/x",
        b"local host",
        b"myhost.local",
        b"\xff\xfe",
    ] {
        let shown = String::from_utf8_lossy(host);
        assert_eq!(judge("/", &[host], "10.1.2.3"), Err(Misdirected::Elsewhere), "{shown}");
    }
    assert_eq!(judge("/", &[b"0.0.0.0"], "0.0.0.0"), Err(Misdirected::Elsewhere));
}

#[test]
fn there_is_one_host_and_the_target_agrees_with_it() {
    let judge = |target, hosts: &[&[u8]]| judge(target, hosts, "127.0.0.1");
    assert_eq!(judge("/", &[]), Err(Misdirected::Unclear));
    assert_eq!(judge("/", &[b"localhost", b"localhost"]), Err(Misdirected::Unclear));
    assert_eq!(judge("http://localhost/", &[]), Err(Misdirected::Unclear));
    assert_eq!(judge("http://LOCALHOST:80/", &[b"localhost:80"]), Ok(()));
    let elsewhere = Err(Misdirected::Elsewhere);
    assert_eq!(judge("http://evil.example/", &[b"localhost"]), elsewhere);
    assert_eq!(judge("http://localhost/", &[b"evil.example"]), elsewhere);
    assert_eq!(judge("http://localhost:81/", &[b"localhost:80"]), elsewhere);
    assert_eq!(judge("http://a@localhost/", &[b"localhost"]), elsewhere);
}
