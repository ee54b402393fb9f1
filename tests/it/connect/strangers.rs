//! Where a client stands, and who says so.

use std::process::{Command, Output, Stdio};

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
