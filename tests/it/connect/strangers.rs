//! Where a client stands, and who says so.

use std::process::{Command, Output, Stdio};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use super::relay::{Relay, TOKEN};

/// The real program, which is expected to refuse.
fn serve(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().expect("a folder");
    Command::new(env!("CARGO_BIN_EXE_airelays"))
        .args(["serve", "--simulate", "--port", "0"])
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

#[test]
fn n1_an_open_relay_is_not_widened_by_accident() {
    let off = ("AIRELAYS_REQUIRE_BEARER_AUTH", "0");
    for (args, variables, expected) in [
        (&["--no-auth", "--host", "0.0.0.0"][..], &[][..], "can be reached from the network"),
        (&["--host", "0.0.0.0"], &[off], "can be reached from the network"),
        (&["--no-auth"], &[("AIRELAYS_HOST", "0.0.0.0")], "can be reached from the network"),
        (
            &["--no-auth", "--host", "0.0.0.0", "--network-scope", "loopback"],
            &[],
            "can be reached from the network",
        ),
        (&["--no-auth", "--network-scope", "any"], &[], "needs the relay token"),
        (&["--no-auth"], &[("AIRELAYS_NETWORK_SCOPE", "any")], "needs the relay token"),
        (
            &["--no-auth", "--network-scope", "any", "--allow-open-network", "--host", "0.0.0.0"],
            &[],
            "needs the relay token",
        ),
    ] {
        let output = serve(args, variables);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?} {variables:?}: {said}");
        assert!(said.contains(expected), "{args:?} {variables:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?} {variables:?}");
    }
}

#[test]
fn n1_a_token_that_can_be_guessed_is_not_enough_where_others_can_try() {
    let short = ("AIRELAYS_BEARER_TOKEN", "fifteen-letters");
    let output = serve(&["--host", "0.0.0.0"], &[short]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("fewer than 16 characters") && !said.contains(short.1), "{said}");
    for variables in [
        &[short][..],
        &[("AIRELAYS_BEARER_TOKEN", "sixteen-letters-"), ("AIRELAYS_HOST", "0.0.0.0")],
    ] {
        let relay = Relay::start(variables);
        let near = relay.address.port();
        let head = format!(
            "GET /v1/models\nHost: localhost:{near}\nAuthorization: Bearer {}",
            variables[0].1
        );
        assert_eq!(relay.ask(&head, "").status, 200);
    }
}

#[test]
fn n1_it_is_when_the_owner_says_so_or_the_token_is_asked_for() {
    let wide = ("AIRELAYS_HOST", "0.0.0.0");
    let open = Relay::open(&[wide, ("AIRELAYS_ALLOW_OPEN_NETWORK", "1")]);
    let near = std::net::SocketAddr::from(([127, 0, 0, 1], open.address.port()));
    let head = format!("GET /v1/models\nHost: {near}");
    assert_eq!(open.ask(&head, "").status, 200);
    assert_eq!(open.ask(&format!("GET /v1/models\nHost: 0.0.0.0:{}", near.port()), "").status, 403);
    let closed = Relay::start(&[wide, ("AIRELAYS_NETWORK_SCOPE", "any")]);
    let head = format!("GET /v1/models\nHost: localhost\nAuthorization: Bearer {TOKEN}");
    assert_eq!(closed.ask(&head, "").status, 200);
    assert_eq!(closed.ask("GET /v1/models\nHost: localhost", "").status, 401);
}

/// Set in a world that has no other network than this machine, and many addresses.
const INSIDE: &str = "AIRELAYS_TEST_OF_ADDRESSES";
const SOURCES: [(&str, [u16; 3]); 8] = [
    // What a scope of `loopback`, `private` and `any` says to it.
    ("127.0.0.1", [200, 200, 200]),
    ("127.9.9.9", [200, 200, 200]),
    ("10.0.0.1", [403, 200, 200]),
    ("100.64.0.1", [403, 200, 200]),
    ("169.254.1.1", [403, 200, 200]),
    ("203.0.113.7", [403, 403, 200]),
    ("fd00::1", [403, 200, 200]),
    ("2001:db8::1", [403, 403, 200]),
];

/// From real addresses, in a network namespace of its own where the system allows that.
#[test]
fn n2_an_address_decides_who_is_served() {
    if std::env::var_os(INSIDE).is_some() {
        return check_addresses();
    }
    let addresses = SOURCES.iter().filter(|(source, _)| !source.starts_with("127."));
    let addresses = addresses.fold(String::new(), |all, (source, _)| {
        // Of version 6 they must not wait until it is known that nobody has them.
        let add = format!("ip address add {source} dev lo");
        all + &format!("{add} nodad 2>/dev/null || {add}\n")
    });
    let script = format!(
        "ip link set lo up\n{addresses}exec \"$0\" --exact connect::strangers::n2_an_address_decides_who_is_served"
    );
    let unshare = |what: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]).args(what);
        command.env(INSIDE, "1").output()
    };
    let may = unshare(&["ip", "link", "set", "lo", "up"]);
    if !may.is_ok_and(|may| may.status.success()) {
        // No network of its own is to be had here.
        return;
    }
    let test = std::env::current_exe().expect("this test");
    let output = unshare(&["/bin/sh", "-ec", &script, test.to_str().expect("text")]);
    let output = output.expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn check_addresses() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a thread");
    for (number, scope) in ["loopback", "private", "any"].into_iter().enumerate() {
        let relay = Relay::start(&[("AIRELAYS_HOST", "::"), ("AIRELAYS_NETWORK_SCOPE", scope)]);
        let port = relay.address.port();
        for (source, expected) in SOURCES {
            let source: std::net::IpAddr = source.parse().expect("an address");
            let asked = async {
                let socket =
                    if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
                let socket = socket.expect("a socket");
                socket.bind((source, 0).into()).expect("its own address");
                let near: std::net::IpAddr =
                    if source.is_ipv4() { [127, 0, 0, 1].into() } else { source };
                let mut stream = socket.connect((near, port).into()).await.expect("connected");
                let head = format!(
                    "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.expect("sent");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.expect("an answer");
                answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok())
            };
            assert_eq!(runtime.block_on(asked), Some(expected[number]), "{scope}: {source}");
        }
    }
}

#[test]
fn n2_where_a_client_stands_is_not_for_it_to_say() {
    // Whatever a proxy forwards changes whom a request counts for, never whether it may come.
    let relay = Relay::start(&[("AIRELAYS_TRUST_X_FORWARDED_FOR", "1")]);
    for forwarded in ["8.8.8.8", "8.8.8.8, 127.0.0.1", "x"] {
        let head =
            format!("GET /v1/models\nX-Forwarded-For: {forwarded}\nAuthorization: Bearer {TOKEN}");
        assert_eq!(relay.ask(&head, "").status, 200, "{forwarded}");
    }
}

/// The statuses of wrong tokens that claim to come for each of `clients`.
fn wrong(relay: &Relay, clients: impl Iterator<Item = String>) -> Vec<u16> {
    clients
        .map(|client| {
            let head =
                format!("GET /v1/models\nX-Forwarded-For: {client}\nAuthorization: Bearer x");
            relay.ask(&head, "").status
        })
        .collect()
}

#[test]
fn n3_a_forged_forwarding_hides_nobody() {
    let blocked_after_eight: Vec<u16> = (0..20).map(|n| if n < 8 { 401 } else { 429 }).collect();
    let off = Relay::start(&[]);
    assert_eq!(wrong(&off, (0..20).map(|n| format!("5.5.5.{n}"))), blocked_after_eight);
    let on = Relay::start(&[("AIRELAYS_TRUST_X_FORWARDED_FOR", "1")]);
    let forged = (0..20).map(|n| format!("5.5.5.{n}, 203.0.113.7"));
    assert_eq!(wrong(&on, forged), blocked_after_eight);
    assert_eq!(wrong(&on, (0..20).map(|n| format!("5.5.5.{n}"))), [401; 20], "by the proxy");
    let elsewhere = Relay::start(&[
        ("AIRELAYS_TRUST_X_FORWARDED_FOR", "1"),
        ("AIRELAYS_TRUSTED_PROXIES", "10.0.0.1"),
    ]);
    assert_eq!(wrong(&elsewhere, (0..20).map(|n| format!("5.5.5.{n}"))), blocked_after_eight);
    let garbage = Relay::start(&[("AIRELAYS_TRUST_X_FORWARDED_FOR", "1")]);
    assert_eq!(wrong(&garbage, (0..20).map(|n| format!("nobody-{n}"))), blocked_after_eight);
}

#[test]
fn n3_odd_bytes_in_a_token_are_a_wrong_token() {
    let relay = Relay::start(&[]);
    for n in 0..20 {
        let expected = if n < 8 { 401 } else { 429 };
        let answer = relay.ask("GET /v1/models\nAuthorization: Bearer é", "");
        assert_eq!(answer.status, expected);
    }
    assert_eq!(relay.ask_as_owner("GET /v1/models", "").status, 200);
    assert_eq!(relay.status()["security"]["client"]["active_requests"], 1);
}
