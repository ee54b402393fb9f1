//! With a Secret Service on a session bus that belongs to the tests.
//!
//! `AIRELAYS_TEST_KEYRING` is the password that unlocks it.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use expect_test::expect;
use secret_service::{EncryptionType, SecretService};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{place, say_hello, says};
use crate::harness::{place::Place, program::Program};

const SERVICES: [&str; 2] = ["AIRelays Auth", "AIRelay Auth"];

fn bus() -> String {
    std::env::var("DBUS_SESSION_BUS_ADDRESS").expect("a session bus")
}

/// `line` with a keyring.
fn command(place: &Place, line: &str) -> Command {
    super::on_bus(place.command(line), &bus())
}

fn relay(place: &Place) -> Program {
    Program::spawn(command(place, "serve --port 0"))
}

fn status(place: &Place) -> Value {
    let output = command(place, "status --json").output().expect("started");
    let status: Value = serde_json::from_slice(&output.stdout).expect("a document");
    status["auth"].clone()
}

async fn keyring<'a>() -> SecretService<'a> {
    SecretService::connect(EncryptionType::Dh).await.expect("a keyring")
}

/// A keyring in which the program has nothing.
async fn emptied() {
    let keyring = keyring().await;
    for service in SERVICES {
        let found = keyring.search_items(HashMap::from([("service", service)])).await;
        for item in found.expect("searched").unlocked {
            item.delete().await.expect("deleted");
        }
    }
}

/// The users of all entries of the program.
async fn users() -> Vec<String> {
    let keyring = keyring().await;
    let mut users = Vec::new();
    for service in SERVICES {
        let found = keyring.search_items(HashMap::from([("service", service)])).await;
        for item in found.expect("searched").unlocked {
            users.push(item.get_attributes().await.expect("attributes")["username"].clone());
        }
    }
    users
}

async fn lock() {
    let keyring = keyring().await;
    keyring.get_default_collection().await.expect("there").lock().await.expect("locked");
}

fn unlock() {
    let mut command = Command::new("gnome-keyring-daemon");
    command
        .args(["--replace", "--unlock", "--components=secrets"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut daemon = command.spawn().expect("started");
    let password = std::env::var("AIRELAYS_TEST_KEYRING").expect("a password");
    daemon.stdin.take().expect("piped").write_all(password.as_bytes()).expect("taken");
    assert!(daemon.wait().expect("ended").success());
}

/// Everything that happens to a login, and what can be seen of it meanwhile.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a keyring: `.ci/keyring`"]
async fn a_login_is_sealed_from_its_making_to_its_end() {
    emptied().await;
    let place = place().await;
    fs::remove_file(place.login_file()).expect("removed");
    let (done, said) = says(command(&place, "login --device"));
    assert!(done && said.contains("(encrypted; the key is in the keyring)"), "{said}");
    assert_eq!(users().await.len(), 1);
    let is_sealed = || {
        let file = fs::read(place.login_file()).expect("there");
        let file: Value = serde_json::from_slice(&file).expect("a document");
        let names = |value: &Value| -> Vec<String> {
            value.as_object().expect("an object").keys().cloned().collect()
        };
        names(&file) == ["airelays_sealed"]
            && names(&file["airelays_sealed"]) == ["key", "nonce", "content"]
    };
    assert!(is_sealed());
    assert_eq!(status(&place)["stored_in"], "keyring");
    assert_eq!(status(&place)["ready_for_requests"], true);
    let sealed = fs::read(place.login_file()).expect("there");
    for round in 1..=3 {
        let mut relay = relay(&place);
        let address = relay.address();
        assert_eq!(say_hello(address).await.status, 200);
        place.simulator.expire_access_tokens();
        assert_eq!(say_hello(address).await.status, 200);
        assert_eq!(place.simulator.counters().refreshes, round, "renewed and kept");
        assert!(is_sealed());
        relay.kill();
    }
    assert_ne!(fs::read(place.login_file()).expect("there"), sealed);
    // Another login has another key, and the former is not left behind.
    let before = users().await;
    let (done, said) = says(command(&place, "login --device"));
    assert!(done && said.contains("The former login was revoked."), "{said}");
    let after = users().await;
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
    let (done, said) = says(command(&place, "logout --json"));
    assert!(done && said.contains("\"revoked\": true"), "{said}");
    assert_eq!(users().await, Vec::<String>::new());
    // Without its key a file is worth nothing.
    fs::write(place.login_file(), &sealed).expect("written");
    let problem = status(&place)["problem"].as_str().expect("a problem").to_owned();
    expect!["The stored login cannot be opened: its key is not in the keyring any more."]
        .assert_eq(&problem);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a keyring: `.ci/keyring`"]
async fn an_open_login_is_sealed_only_if_it_must_be() {
    let place = place().await;
    let open = fs::read(place.login_file()).expect("there");
    let mut relay = relay(&place);
    assert_eq!(say_hello(relay.address()).await.status, 200);
    relay.kill();
    assert_eq!(fs::read(place.login_file()).expect("there"), open);
    let mut relay = Program::spawn(command(&place, "serve --port 0 --auth-storage keyring"));
    assert_eq!(say_hello(relay.address()).await.status, 200);
    assert_eq!(status(&place)["stored_in"], "keyring");
    relay.kill();
    assert!(says(command(&place, "logout")).0);
}

/// As the Python library `keyring` writes them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a keyring: `.ci/keyring`"]
async fn a_login_of_the_former_program_is_taken_over() {
    emptied().await;
    for (service, home) in SERVICES.iter().zip([".airelays", ".airelay"]) {
        let place = place().await;
        let login = fs::read(place.login_file()).expect("there");
        fs::remove_file(place.login_file()).expect("removed");
        let home = place.home.path().canonicalize().expect("there").join(home);
        let digest = Sha256::digest(home.as_os_str().as_encoded_bytes());
        let start = digest.iter().take(8);
        let user = start.fold("cli|".to_owned(), |user, byte| user + &format!("{byte:02x}"));
        let keyring = keyring().await;
        let all = keyring.get_default_collection().await.expect("there");
        let attributes = HashMap::from([
            ("application", "Python keyring library"),
            ("service", *service),
            ("username", &user),
        ]);
        let label = format!("Password for '{user}' on '{service}'");
        all.create_item(&label, attributes, &login, true, "text/plain").await.expect("kept");
        // A look changes nothing.
        let seen = status(&place);
        assert_eq!(seen["ready_for_requests"], true, "{seen}");
        assert_eq!(seen["auth_store_path"], "the keyring, until `airelays serve` takes it over");
        assert!(!place.login_file().exists() && users().await == [user]);
        let mut relay = relay(&place);
        assert_eq!(say_hello(relay.address()).await.status, 200);
        assert_eq!(status(&place)["stored_in"], "keyring");
        let users = users().await;
        assert!(users.len() == 1 && users[0].starts_with("key|"), "{users:?}");
        relay.kill();
        assert!(says(command(&place, "logout")).0);
    }
}

/// The relay serves as soon as the owner has unlocked it, without being started again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a keyring: `.ci/keyring`"]
async fn a_locked_keyring_is_told_and_waited_for() {
    let place = place().await;
    assert!(says(command(&place, "login --device")).0);
    lock().await;
    let problem = status(&place)["problem"].as_str().expect("a problem").to_owned();
    expect!["The stored login cannot be opened: the keyring is locked."].assert_eq(&problem);
    let mut relay = relay(&place);
    let address = relay.address();
    let reply = say_hello(address).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (503, &"upstream_auth_locked".into())
    );
    unlock();
    let served = async {
        while say_hello(address).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), served).await.expect("served");
    relay.kill();
    // A new login does not wait for it.
    lock().await;
    let (done, said) = says(command(&place, "login --device"));
    assert!(done && said.contains("(not encrypted: the keyring is locked)"), "{said}");
    unlock();
    assert!(says(command(&place, "logout")).0);
}
