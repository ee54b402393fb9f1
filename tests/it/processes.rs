//! What other programs of the machine can see of the program's processes.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, geteuid};
use serde_json::Value;

use crate::harness::{
    TOKEN,
    dialect::Dialect::Chat,
    eventually,
    http::{Ask, Connection},
    place::Place,
    program::{NO_BUS, Program},
};

/// Nobody on most systems, and not root on any.
const NOBODY: u32 = 65_534;

/// Arguments and environment of a process. Empty when it has ended.
fn seen(process: Pid) -> [String; 2] {
    ["cmdline", "environ"].map(|file| {
        let path = format!("/proc/{}/{file}", process.as_raw_nonzero());
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\0', " ")
    })
}

/// All processes that `parent` has started and that still run.
fn children(parent: Pid) -> Vec<Pid> {
    let number = parent.as_raw_nonzero();
    let path = format!("/proc/{number}/task");
    let tasks = fs::read_dir(path).expect("alive").flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|number| Pid::from_raw(number.parse().ok()?))
        .collect()
}

/// Everybody may look at these.
#[tokio::test(flavor = "multi_thread")]
async fn l3_no_secret_stands_in_arguments_or_environments() {
    let place = Place::new().await;
    place.simulator.set_world("token_delay", "5000").expect("a switch");
    let tokens = || {
        let login = fs::read(place.login_file()).expect("a login");
        let login: Value = serde_json::from_slice(&login).expect("JSON");
        ["id_token", "access_token", "refresh_token"]
            .map(|name| login["tokens"][name].as_str().expect("a token").to_owned())
    };
    let mut serve = place.serve();
    serve.env("OPENAI_API_KEY", "sk-canary").env("SOME_SECRET", "canary-of-the-shell");
    let mut relay = Program::spawn(serve);
    let address = relay.address();
    let before = tokens();
    place.simulator.expire_access_tokens();
    let mut asking = Connection::open(address).await;
    let body = Chat.body("hello").to_string();
    asking.send(&Ask::post(Chat.path(), body).bearer(TOKEN).bytes()).await;
    eventually("a token is spent", || place.simulator.counters().refreshes == 1).await;
    let renewing = children(relay.id());
    assert_eq!(renewing.len(), 1);
    let [arguments, environment] = seen(renewing[0]);
    assert!(arguments.contains("renew-login"), "{arguments}");
    let [own_arguments, own_environment] = seen(relay.id());
    assert!(own_arguments.contains("serve"), "it can be seen");
    // Of an environment nobody but root sees anything.
    assert_eq!(own_environment.contains(TOKEN), geteuid().is_root());
    eventually("the successor is on the disk", || tokens() != before).await;
    for secret in before.iter().chain(&tokens()).map(String::as_str).chain([TOKEN, "sk-canary"]) {
        for seen in [&arguments, &environment, &own_arguments] {
            assert!(!seen.contains(secret), "{secret} in {seen}");
        }
        assert!([TOKEN, "sk-canary"].contains(&secret) || !own_environment.contains(secret));
    }
}

/// Whose files the system makes of what it says of a process: root's, if nobody else may look.
fn owner(process: Pid) -> u32 {
    let path = format!("/proc/{}/environ", process.as_raw_nonzero());
    fs::metadata(path).expect("alive").uid()
}

fn limit(process: Pid) -> String {
    let limits = format!("/proc/{}/limits", process.as_raw_nonzero());
    let limits = fs::read_to_string(limits).expect("alive");
    let line = limits.lines().find(|line| line.starts_with("Max core file size"));
    line.expect("a limit").split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
}

/// Somebody who is not root, as the tests may be run by root.
fn as_nobody(command: &mut Command, folder: &Path) {
    if geteuid().is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).expect("given");
        command.uid(NOBODY).gid(NOBODY);
    }
}

#[test]
fn l4_no_process_leaves_a_core_or_shows_its_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("set");
    // Where it was built, others may not get at it.
    let program = folder.path().join("airelays");
    // Written by another process: one that is started here meanwhile would keep it open.
    let copy = Command::new("cp").arg(env!("CARGO_BIN_EXE_airelays")).arg(&program).status();
    assert!(copy.expect("started").success());
    let home = folder.path().join("home");
    fs::create_dir(&home).expect("made");
    let mut other = Command::new("sleep");
    as_nobody(other.arg("60"), &home);
    let mut other = other.spawn().expect("started");
    let pid = Pid::from_child(&other);
    let user = owner(pid);
    assert_ne!(user, 0, "the owner of another program's process may look");
    other.kill().and_then(|()| other.wait()).expect("ended");
    for (line, label) in [
        ("serve --simulate --port 0", "Port:"),
        ("simulate --port 0", "Issuer:"),
        ("login --browser --callback-port 0", "Comes back to:"),
    ] {
        let mut command = Command::new(&program);
        command.args(line.split(' ')).env_clear().env("HOME", &home).envs([NO_BUS]);
        command.env("AIRELAYS_BEARER_TOKEN", TOKEN).stdin(Stdio::piped());
        as_nobody(&mut command, &home);
        let mut process = Program::spawn(command);
        process.says(label);
        assert_eq!(limit(process.id()), "0 0", "{line}");
        assert_eq!(owner(process.id()), 0, "{line}");
    }
}
