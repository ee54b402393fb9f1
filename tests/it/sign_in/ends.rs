//! Logins that come to nothing: what is said of them, and that nothing is left.

use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// The two lines at the end.
fn last_lines(said: &str) -> String {
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(2)..].join("\n")
}

/// A browser login that ends at its page. What was said last, and the page.
fn failed(issuer: &Issuer, args: &[&str]) -> (String, String) {
    let home = issuer.home();
    let mut login = Login::browser(&home, args);
    let (status, _, page) = get(&sent_back(&login.address()));
    let ended = login.end();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(status >= 400 && page.contains("Not signed in"), "{page}");
    assert_nothing_saved(&home);
    (last_lines(&ended.said), page)
}

#[test]
fn a_denial_ends_the_login_with_its_reason() {
    let issuer = Issuer::start(&[("authorize", "access-denied")]);
    let (said, page) = failed(&issuer, &[]);
    assert_eq!(
        said,
        "Login failed: access_denied (The user denied the request)\n\
         Run `airelays login` again to give it another try."
    );
    assert!(page.contains("Login failed: access_denied (The user denied the request)."), "{page}");
    let issuer = Issuer::start(&[("authorize", "missing-codex-entitlement")]);
    let (said, _) = failed(&issuer, &[]);
    assert_eq!(
        said,
        "Login failed: this workspace has no access to Codex\n\
         An administrator of the workspace can grant it."
    );
}

#[test]
fn a_pasted_denial_ends_the_login_too() {
    let issuer = Issuer::start(&[("authorize", "access-denied")]);
    let home = issuer.home();
    let mut login = Login::browser(&home, &[]);
    let back = sent_back(&login.address());
    login.paste(&format!("{back}\n"));
    let ended = login.end();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("Login failed: access_denied"), "{}", ended.said);
}

#[test]
fn another_workspace_than_the_one_that_was_asked_for_is_refused() {
    let issuer = Issuer::start(&[]);
    let (said, page) = failed(&issuer, &["--workspace-id", "nobodys"]);
    assert!(said.starts_with("Login is restricted to workspace id nobodys\n"), "{said}");
    assert!(page.contains("Login is restricted to workspace id nobodys."), "{page}");
    let home = issuer.home();
    let ended = Login::start(&home, &["--device", "--workspace-id", "nobodys"]).end();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("Login is restricted to workspace id nobodys\n"), "{}", ended.said);
    assert_nothing_saved(&home);
}

#[test]
fn an_exchange_that_fails_is_told_in_both_places() {
    for (mood, status) in [("server-error", 500), ("cloudflare", 403)] {
        let issuer = Issuer::start(&[("exchange", mood)]);
        let (said, page) = failed(&issuer, &[]);
        let expected = format!("Code exchange failed: the sign-in server answered {status}");
        assert!(said.starts_with(&expected), "{said}");
        assert!(page.contains(&expected), "{page}");
    }
}

#[test]
fn a_login_that_cannot_be_saved_is_told_before_and_after() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home();
    home.write(".airelays", "");
    let ended = Login::browser(&home, &[]).end();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.starts_with("The login could not be saved: "), "{}", ended.said);
    let home = issuer.home();
    let mut login = Login::browser(&home, &[]);
    let back = sent_back(&login.address());
    fs::create_dir_all(home.path(".airelays/auth.json")).expect("made");
    let (status, _, page) = get(&back);
    assert_eq!(status, 500);
    assert!(page.contains("The login could not be saved."), "{page}");
    let ended = login.end();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("The login could not be saved: "), "{}", ended.said);
}

#[test]
fn time_is_limited() {
    let issuer = Issuer::start(&[("device_polls", "1000")]);
    for (args, expected) in [
        (
            ["--browser", "--callback-port", "0"].as_slice(),
            "Login did not complete within 1 second\n",
        ),
        (&["--device"], "Device-code login timed out after 1 second\n"),
    ] {
        let home = issuer.home().set("AIRELAYS_LOGIN_TIMEOUT_SECONDS", "1");
        let ended = Login::start(&home, args).end();
        assert_eq!(ended.code, Some(1), "{}", ended.said);
        assert!(ended.said.contains(expected), "{}", ended.said);
        assert_nothing_saved(&home);
    }
}

#[test]
fn a_device_login_that_is_not_to_be_is_told() {
    for (device, expected) in [
        (
            "disabled",
            "Device-code login is not enabled for this server\n\
             Use `airelays login --browser`, or allow device codes in the security settings of \
             ChatGPT.",
        ),
        (
            "denied",
            "Login failed: access_denied\nRun `airelays login` again to give it another try.",
        ),
        (
            "expired",
            "Device-code login failed: the code has expired\n\
             Run `airelays login --device` again, or `airelays login --browser`.",
        ),
    ] {
        let issuer = Issuer::start(&[("device", device)]);
        let home = issuer.home();
        let ended = Login::start(&home, &["--device"]).end();
        assert_eq!((ended.code, last_lines(&ended.said).as_str()), (Some(1), expected));
        assert_nothing_saved(&home);
    }
}

#[test]
fn control_c_ends_it_at_once() {
    let issuer = Issuer::start(&[("device_polls", "1000")]);
    for (args, label) in [
        (["--browser", "--callback-port", "0"].as_slice(), "If it is on"),
        (&["--device"], "Waiting"),
    ] {
        let home = issuer.home();
        let mut login = Login::start(&home, args);
        login.field(label);
        let pid = Pid::from_child(&login.child.0);
        kill_process(pid, Signal::INT).expect("sent");
        let ended = login.end();
        assert_eq!(ended.code, Some(130), "{}", ended.said);
        assert!(
            ended.said.ends_with("Login was interrupted; nothing was saved\n"),
            "{}",
            ended.said
        );
        assert_nothing_saved(&home);
    }
}

#[test]
fn a_taken_port_is_told() {
    let issuer = Issuer::start(&[]);
    let squatter = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = squatter.local_addr().expect("an address").port().to_string();
    let home = issuer.home();
    let ended = Login::start(&home, &["--browser", "--callback-port", &port]).end();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let expected = format!("AIRelays could not bind localhost:{port} for browser login: ");
    assert!(ended.said.starts_with(&expected), "{}", ended.said);
    assert!(ended.said.contains("airelays login --device"), "{}", ended.said);
}

#[test]
fn an_issuer_that_is_not_there_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let home = Home::new().set("AIRELAYS_ISSUER_BASE_URL", format!("http://{port}"));
    let ended = Login::start(&home, &["--device"]).end();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let expected = "Device-code login failed: the sign-in server could not be reached: ";
    assert!(ended.said.starts_with(expected), "{}", ended.said);
}

/// Whoever asked for the keyring is not given something else without a word, and hears of it
/// before he has signed in.
#[test]
fn a_keyring_that_must_be_used_and_is_not_there_is_told() {
    let home = Home::new().set("AIRELAYS_BEARER_TOKEN", "x");
    home.check("login --auth-storage keyring", &expect![[r#"
        stderr: The login could not be encrypted: there is no keyring here
        stderr: Set `auth.storage` to `file`, or to `auto`, which uses the file where there is no keyring.
        exit: Some(1)
    "#]]);
    let status = home.says("status --auth-storage keyring");
    let problem = status.lines().find(|line| line.contains("Problem:")).expect("a problem");
    expect!["  Problem:           The keyring cannot be used: there is no keyring here."]
        .assert_eq(problem);
    home.check(
        "logout --auth-storage keyring",
        &expect![[r#"
        AIRelays Logout

        Upstream Session
          Upstream auth:     already empty

        Next Steps
          1. airelays login --auth-storage keyring
    "#]],
    );
}
