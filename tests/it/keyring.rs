//! Sealed logins, and keyrings of every mood.
//!
//! What needs a keyring that works is marked so and run by `.ci/keyring`, on a session bus of its
//! own. The rest does without one, or with one that never answers.

mod real;

use std::{net::SocketAddr, os::unix::net::UnixListener, path::Path, process::Command};

use serde_json::Value;

use crate::harness::{
    TOKEN,
    dialect::Dialect::Chat,
    http::{Answering, Ask, Reply},
    place::Place,
    program::Program,
    write,
};

/// A login that nobody can open.
const SHUT: &str = r#"{"airelays_sealed":{"key":"0011223344556677","nonce":"AAAAAAAAAAAAAAAA","content":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}"#;

/// What `command` says, standard error last, and whether it did what it should.
fn says(mut command: Command) -> (bool, String) {
    let output = command.output().expect("started");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).expect("text"))
}

fn on_bus(mut command: Command, bus: &str) -> Command {
    command.env("DBUS_SESSION_BUS_ADDRESS", bus);
    command
}

async fn say_hello(address: SocketAddr) -> Reply {
    let request = Ask::post(Chat.path(), Chat.body("hello").to_string()).bearer(TOKEN).bytes();
    Answering::to(address, &request).await.whole().await
}

/// A place whose sign-in server is quick.
async fn place() -> Place {
    let place = Place::new().await;
    for (switch, value) in [("device_interval", "1"), ("device_polls", "1")] {
        place.simulator.set_world(switch, value).expect("a switch");
    }
    place
}

/// Somebody is there and never says a word.
fn silent_bus(dir: &Path) -> (UnixListener, String) {
    let socket = dir.join("bus");
    let listener = UnixListener::bind(&socket).expect("bound");
    (listener, format!("unix:path={}", socket.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_that_does_not_answer_holds_nobody_up_for_long() {
    let place = place().await;
    let dir = tempfile::tempdir().expect("a folder");
    let (_listener, bus) = silent_bus(dir.path());
    let (done, said) = says(on_bus(place.command("login --device"), &bus));
    assert!(
        done && said.contains("(not encrypted: the keyring did not answer within 2 s)"),
        "{said}"
    );
    let (_, said) = says(on_bus(place.command("status"), &bus));
    assert!(said.contains("auto (not encrypted)") && !said.contains("Problem:"), "{said}");
    let mut relay = Program::spawn(on_bus(place.serve(), &bus));
    assert_eq!(say_hello(relay.address()).await.status, 200);
    // Whoever must have it is told, and keeps the login that he has.
    let before = std::fs::read(place.login_file()).expect("read");
    let (done, said) = says(on_bus(place.command("login --device --auth-storage keyring"), &bus));
    assert!(
        !done && said.contains("The login could not be encrypted: the keyring did not"),
        "{said}"
    );
    assert_eq!(std::fs::read(place.login_file()).expect("read"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_cannot_be_opened_is_told_and_left_alone() {
    let place = place().await;
    for (flags, why) in [
        ("", "there is no keyring here"),
        (" --auth-storage keyring", "there is no keyring here"),
        (
            " --auth-storage file",
            "its key is in the keyring, which the setting `auth.storage` = \"file\" does not use",
        ),
    ] {
        write(&place.login_file(), SHUT);
        let told = format!("The stored login cannot be opened: {why}.");
        let (_, said) = says(place.command(&format!("status{flags}")));
        assert!(said.contains(&told), "{said}");
        let mut relay = Program::spawn(place.command(&format!("serve --port 0{flags}")));
        let reply = say_hello(relay.address()).await;
        assert_eq!(reply.status, 503);
        let error = &reply.json()["error"];
        assert_eq!(error["code"], "upstream_auth_locked", "{error}");
        let told = format!("The stored ChatGPT login could not be opened: {why}.");
        assert_eq!(error["message"], *told);
        assert_eq!(std::fs::read_to_string(place.login_file()).expect("there"), SHUT);
    }
    // A new login helps, and signing out does.
    let unrevoked =
        "was not revoked: it could not be opened, because there is no keyring here. It may";
    let (done, said) = says(place.command("login --device"));
    assert!(done && said.contains("(not encrypted: there is no keyring here)"), "{said}");
    assert!(said.contains(&format!("The former login {unrevoked}")), "{said}");
    write(&place.login_file(), SHUT);
    let (done, said) = says(place.command("logout --json"));
    let said: Value = serde_json::from_str(&said).expect("a document");
    assert_eq!((done, &said["deleted"]), (true, &Value::Bool(true)), "{said}");
    let left =
        "Its key stays in the keyring (there is no keyring here); it opens nothing any more.";
    assert!(said["notes"].as_array().expect("notes").contains(&left.into()), "{said}");
}
