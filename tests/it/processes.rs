//! What other programs and users of the machine get to see of the program and its files.

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
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use crate::harness::{
    TOKEN,
    dialect::Dialect::Chat,
    eventually,
    http::{Answering, Ask, Connection},
    place::Place,
    process::{number, renewing_for},
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
    let renewing = renewing_for(relay.id());
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

/// Where the other user finds what the test has set up for it.
const OTHER: &str = "AIRELAYS_TEST_OF_ANOTHER_USER";

/// With everything that there is to know but the token.
#[tokio::test(flavor = "multi_thread")]
async fn l1_another_user_gets_nothing() {
    if let Ok(told) = std::env::var(OTHER) {
        return try_as_another(&told).await;
    }
    if !geteuid().is_root() {
        // Only root can become somebody else.
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("set");
    let test = folder.path().join("test");
    let copy =
        Command::new("cp").arg(std::env::current_exe().expect("this test")).arg(&test).status();
    assert!(copy.expect("started").success());
    let place = Place::new().await;
    // As in a home that others may look into, with a directory that the program made.
    fs::set_permissions(place.home.path(), fs::Permissions::from_mode(0o755)).expect("set");
    let own = place.home.path().join(".airelays");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).expect("set");
    let socket = own.join("relay.sock");
    let mut relay = Program::spawn(place.serve());
    let port = relay.address().port();
    let second = tempfile::tempdir().expect("a folder");
    let serve =
        format!("serve --unix-socket {} --data-dir {}", socket.display(), second.path().display());
    let mut at_socket = Program::spawn(place.command(&serve));
    at_socket.says("Unix socket:");
    let told = format!("{port} {} {}", socket.display(), place.home.path().display());
    let mut command = Command::new(&test);
    command.args(["--exact", "processes::l1_another_user_gets_nothing"]).env(OTHER, told);
    let output = command.uid(NOBODY).gid(NOBODY).current_dir("/").output().expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    // The owner does not need to be told where.
    std::os::unix::net::UnixStream::connect(&socket).expect("connected");
}

async fn try_as_another(told: &str) {
    assert_eq!(geteuid().as_raw(), NOBODY);
    let told: Vec<_> = told.split(' ').collect();
    let [port, socket, home] = told[..] else { unreachable!("{told:?}") };
    let address = ([127, 0, 0, 1], port.parse().expect("a port")).into();
    for ask in [Ask::get("/v1/models"), Ask::get("/v1/models").bearer("guessed")] {
        let reply = Answering::to(address, &ask.bytes()).await.whole().await;
        assert_eq!(reply.status, 401);
    }
    let refused = |what: std::io::Result<()>, name: &str| {
        let error = what.expect_err(name).kind();
        assert_eq!(error, std::io::ErrorKind::PermissionDenied, "{name}");
    };
    refused(std::os::unix::net::UnixStream::connect(socket).map(drop), "the socket");
    let folder = Path::new(home).join(".airelays");
    let control = folder.join("control.sock");
    refused(std::os::unix::net::UnixStream::connect(control).map(drop), "the commands' socket");
    refused(fs::read_dir(&folder).map(drop), "the folder");
    for file in ["auth.json", "relay-token", "auth.json.lock", "logs", "relay.sock"] {
        refused(fs::File::open(folder.join(file)).map(drop), file);
    }
}

/// A neighbour has 16 million addresses on loopback alone.
#[tokio::test(flavor = "multi_thread")]
async fn r2_many_addresses_take_bounded_memory_and_block_nobody_else() {
    let place = Place::new().await;
    let mut serve = place.serve();
    serve.env("AIRELAYS_LOGGING_ENABLED", "false").env("AIRELAYS_FAILED_AUTH_MAX_ATTEMPTS", "2");
    let mut relay = Program::spawn(serve);
    let address = relay.address();
    let guess = Ask::get("/v1/models").bearer("guessed").header("connection", "close").bytes();
    let from = async |a: u8, b: u8| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 1, a, b], 0).into()).expect("an address of this machine");
        let mut stream = socket.connect(address).await.expect("connected");
        stream.write_all(&guess).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or(0)
    };
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(from(0, 1).await);
    }
    assert_eq!(statuses, [401, 401, 429, 429], "blocked");
    let before = number(relay.id(), "VmRSS:");
    for a in 0..20 {
        for b in 2..202 {
            assert_eq!(from(a, b).await, 401);
        }
    }
    let grown = number(relay.id(), "VmRSS:").saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} kB");
    assert_eq!(from(0, 1).await, 429, "still blocked");
    let owner = Ask::get("/v1/models").bearer(TOKEN).bytes();
    assert_eq!(Answering::to(address, &owner).await.whole().await.status, 200);
}
