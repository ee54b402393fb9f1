//! The real program from its start to its end: what it says, how it stops, and its exit codes.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Output, Stdio},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    PATIENCE, TOKEN,
    dialect::Dialect,
    http::{Answering, Ask, Connection, Piece},
    log,
    program::{Program, command, is_ignored},
    write,
};

fn run(line: &str) -> Output {
    let home = tempfile::tempdir().expect("a folder");
    command(home.path(), line).output().expect("started")
}

fn streamed(text: &str) -> Vec<u8> {
    let body = Dialect::Chat.streamed(text).to_string();
    Ask::post(Dialect::Chat.path(), body).bearer(TOKEN).bytes()
}

fn home() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A relay before the simulator, of a shell that has done `first`.
fn serve_after(first: &str, home: &TempDir) -> Command {
    let script = format!("{first} && exec \"$0\" serve --simulate --port 0");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_airelays")]).env_clear();
    command.env("HOME", home.path()).env("AIRELAYS_BEARER_TOKEN", TOKEN);
    command
}

#[tokio::test]
async fn an_open_stream_may_end_after_the_program_was_told_to_stop() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        if is_ignored(signal) {
            continue;
        }
        let home = home();
        let mut program = Program::start(home.path(), "serve --simulate --port 0");
        let address = program.address();
        let idle = {
            let mut idle = Connection::open(address).await;
            idle.send(&Ask::get("/healthz").bytes()).await;
            assert_eq!(idle.reply().await.expect("an answer").status, 200);
            idle
        };
        let mut answering =
            Answering::to(address, &streamed("[sim deltas: 30] [sim slow: 10]")).await;
        assert!(matches!(answering.piece().await, Piece::Bytes(_)));
        program.send(signal);
        let rest = answering.whole().await;
        assert!(rest.is_whole && rest.text().ends_with("data: [DONE]\n\n"), "{rest:?}");
        assert!(rest.text().contains("word30"));
        assert_eq!(program.ends().await, Some(0));
        drop(idle);
        let records = log::records(home.path());
        let last = records.last().expect("a record");
        assert_eq!(
            (&last["phase"], &last["outcome"]),
            (&"outbound_response".into(), &"completed".into())
        );
    }
}

#[tokio::test]
async fn who_is_to_outlive_the_terminal_does() {
    let home = home();
    let mut program = Program::spawn(serve_after("trap '' HUP", &home));
    let address = program.address();
    for _ in 0..3 {
        program.send(Signal::HUP);
        let reply = Answering::to(address, &streamed("hello")).await.whole().await;
        assert_eq!(reply.status, 200);
    }
    program.send(Signal::TERM);
    assert_eq!(program.ends().await, Some(0));
}

/// A file that must not grow is to a program what a full disk is, and more: a signal that ends it.
#[tokio::test]
async fn a_log_that_cannot_grow_costs_records_and_nothing_else() {
    let home = home();
    let mut command = serve_after("ulimit -f 100", &home);
    command.env("AIRELAYS_RATE_LIMIT_BURST", "1000");
    let mut program = Program::spawn(command);
    let address = program.address();
    for _ in 0..60 {
        let reply = Answering::to(address, &streamed("[sim deltas: 20]")).await.whole().await;
        assert!(reply.status == 200 && reply.text().ends_with("data: [DONE]\n\n"), "{reply:?}");
    }
    let ask = Ask::get("/v1/relay/status").bearer(TOKEN).bytes();
    let status = Answering::to(address, &ask).await.whole().await.json();
    assert_eq!(status["traffic_log"]["last_error"], "File too large (os error 27)");
    program.send(Signal::TERM);
    assert_eq!(program.ends().await, Some(0));
    // What is there is whole.
    for (path, _) in log::files(&home.path().join(".airelays/logs")) {
        let text = std::fs::read_to_string(path).expect("text");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        assert!(whole.lines().count() > 10);
        for line in whole.lines() {
            serde_json::from_str::<Value>(line).expect("a record");
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_end_in_time_says_why() {
    let home = home();
    let mut command = command(home.path(), "serve --simulate --port 0");
    command.env("AIRELAYS_SHUTDOWN_GRACE_SECONDS", "0.2");
    let mut program = Program::spawn(command);
    let address = program.address();
    let stalled = "[sim deltas: 2] [sim stall-after-text]";
    let mut answering = Answering::to(address, &streamed(stalled)).await;
    assert!(matches!(answering.piece().await, Piece::Bytes(_)));
    let whole = Dialect::Responses.body(stalled).to_string();
    let waiting = ["", "/compact"].map(|below| {
        let path = format!("{}{below}", Dialect::Responses.path());
        let ask = Ask::post(&path, whole.clone()).bearer(TOKEN).bytes();
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await;
            connection.send(&ask).await;
            connection.reply().await.expect("an answer").refusal().line()
        })
    });
    // Only when all are under way is there something to be told.
    let ask = Ask::get("/v1/relay/status").bearer(TOKEN).bytes();
    let all = async {
        loop {
            let mut connection = Connection::open(address).await;
            connection.send(&ask).await;
            let status = connection.reply().await.expect("an answer").json();
            if status["security"]["client"]["active_requests"] == 4 {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all are under way");
    program.send(Signal::TERM);
    let rest = answering.whole().await;
    assert!(rest.is_whole && !rest.text().contains("[DONE]"), "{rest:?}");
    assert!(rest.text().contains("\"code\":\"relay_stopping\""), "{rest:?}");
    for waiting in waiting {
        assert_eq!(waiting.await.expect("told"), "503 server_error relay_stopping");
    }
    assert_eq!(program.ends().await, Some(0));
    let records = log::records(home.path());
    let is_failed = |record: &&Value| record["outcome"] == "failed" || record["status_code"] == 503;
    assert_eq!(records.iter().filter(is_failed).count(), 3);
}

#[test]
fn a_missing_login_is_told_at_the_start() {
    let home = home();
    let mut command = command(home.path(), "serve --port 0");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let told = stderr.lines().map_while(Result::ok).find(|line| line.contains("login"));
    child.kill().expect("killed");
    child.wait().expect("reaped");
    let expected = "warning: No ChatGPT login found. Run `airelays login` first.";
    assert_eq!(told.as_deref(), Some(expected));
}

#[tokio::test]
async fn who_asks_twice_need_not_wait() {
    let home = home();
    let mut command = command(home.path(), "serve --simulate --port 0");
    command.env("AIRELAYS_SHUTDOWN_GRACE_SECONDS", "3600");
    let mut program = Program::spawn(command);
    let address = program.address();
    let mut answering =
        Answering::to(address, &streamed("[sim deltas: 2] [sim stall-after-text]")).await;
    assert!(matches!(answering.piece().await, Piece::Bytes(_)));
    program.send(Signal::INT);
    let is_closed = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_closed).await.expect("closed");
    program.send(Signal::INT);
    assert!(answering.whole().await.text().contains("relay_stopping"));
    assert_eq!(program.ends().await, Some(0));
}

#[tokio::test]
async fn nobody_new_is_let_in_while_it_stops() {
    let home = home();
    let mut program = Program::start(home.path(), "serve --simulate --port 0");
    let address = program.address();
    let mut answering =
        Answering::to(address, &streamed("[sim deltas: 2] [sim stall-after-text]")).await;
    assert!(matches!(answering.piece().await, Piece::Bytes(_)));
    program.send(Signal::TERM);
    let is_closed = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_closed).await.expect("closed");
    drop(answering);
    assert_eq!(program.ends().await, Some(0), "nothing is left to wait for");
}

#[tokio::test]
async fn what_listens_already_is_told_by_an_exit_code_of_its_own() {
    let home = home();
    let mut first = Program::start(home.path(), "serve --simulate --port 0");
    let port = first.address().port();
    for line in [
        format!("serve --simulate --port {port}"),
        format!("serve --simulate --port 0 --simulator-port {port}"),
        format!("simulate --port {port}"),
        format!("demo --once --port {port}"),
    ] {
        let Output { status, stdout, stderr } = run(&line);
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(3), "{line}: {stderr}");
        let expected = format!("127.0.0.1:{port} is in use: another program listens there");
        assert!(stderr.starts_with(&expected), "{line}: {stderr}");
        assert!(stdout.is_empty(), "{line}: it promised what it did not keep");
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let health = Answering::to(address, &Ask::get("/healthz").bytes()).await;
    assert_eq!(health.status, 200, "the first one does not mind");
}

#[tokio::test]
async fn an_address_that_is_not_ours_is_an_ordinary_failure() {
    let Output { status, stderr, .. } = run("serve --simulate --host 192.0.2.1 --port 0");
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stderr).contains("cannot listen on 192.0.2.1:0"));
}

#[test]
fn the_demo_shows_what_it_promises_and_leaves_nothing() {
    let home = home();
    let Output { status, stdout, stderr } = command(home.path(), "demo --once")
        .env_remove("AIRELAYS_BEARER_TOKEN")
        .output()
        .expect("started");
    let said = String::from_utf8(stdout).expect("text");
    assert_eq!(status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&stderr));
    for promised in [
        "you:   Say hello, please.\n",
        "model: Hello! These words took the way that yours would take.",
        "calls get_weather({\"city\":\"Paris\"})",
        "18 degrees and sunny",
    ] {
        assert!(said.contains(promised), "{promised}: {said}");
    }
    // What is gone a moment later is no invitation.
    assert!(!said.contains("API key"), "{said}");
    assert_eq!(log::files(home.path()), Vec::new());
}

#[tokio::test]
async fn the_demo_serves_until_it_is_told_to_stop() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = home();
        let mut program = Program::start(home.path(), "demo");
        let base = program.says("Base URL:");
        let key = program.says("API key:");
        let curl = program.says("curl ");
        assert!(curl.starts_with("http://127.0.0.1:"), "{curl}");
        program.says("from openai import OpenAI");
        program.says("import OpenAI from");
        let address = base.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/v1"));
        let address: SocketAddr = address.and_then(|text| text.parse().ok()).expect("an address");
        let body = Dialect::Chat.body("[sim say: fine]").to_string();
        let ask = Ask::post(Dialect::Chat.path(), body).bearer(&key);
        let reply = Answering::to(address, &ask.bytes()).await.whole().await;
        assert_eq!(Dialect::Chat.text(&reply.json()), "fine");
        program.send(signal);
        assert_eq!(program.ends().await, Some(0));
        assert_eq!(log::files(home.path()), Vec::new());
    }
}

#[test]
fn a_proxy_never_sees_what_goes_to_this_machine() {
    let home = home();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    let mut demo = command(home.path(), "demo --once");
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        demo.env(name, &address);
    }
    let demo = demo.output().expect("started");
    assert_eq!(demo.status.code(), Some(0), "{}", String::from_utf8_lossy(&demo.stderr));
    proxy.set_nonblocking(true).expect("set");
    let seen = proxy.accept().map(|(_, peer)| peer);
    assert!(seen.is_err(), "{seen:?}");
}

#[test]
fn a_demo_that_nobody_can_read_is_a_failure() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let home = home();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("opened");
    let demo = command(home.path(), "demo --once").stdout(full).output().expect("started");
    assert_eq!(demo.status.code(), Some(1));
}

#[tokio::test]
async fn a_relay_and_a_simulator_of_their_own_find_each_other() {
    let home = home();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = free.expect("a port").port();
    let mut simulator = Program::start(home.path(), &format!("simulate --port {port}"));
    let base = simulator.says("Inference:");
    let issuer = simulator.says("Issuer:");
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let login = Ask::get("/sim/login?account=first").bytes();
    let login = Answering::to(address, &login).await.whole().await;
    write(&home.path().join(".airelays/auth.json"), login.text());
    let mut command = command(home.path(), "serve --port 0");
    command.env("AIRELAYS_UPSTREAM_BASE_URL", base).env("AIRELAYS_ISSUER_BASE_URL", issuer);
    let mut relay = Program::spawn(command);
    let relay_address = relay.address();
    let reply = Answering::to(relay_address, &streamed("[sim say: found]")).await.whole().await;
    assert_eq!(Dialect::Chat.told(reply.text()).text, "found");
    let expire = Ask::new("POST", "/sim/expire").body("");
    assert_eq!(Answering::to(address, &expire.bytes()).await.status, 200);
    let reply = Answering::to(relay_address, &streamed("[sim say: again]")).await.whole().await;
    assert_eq!(Dialect::Chat.told(reply.text()).text, "again");
    let counters = Answering::to(address, &Ask::get("/sim/counters").bytes()).await.whole().await;
    assert_eq!(
        (&counters.json()["refreshes"], &counters.json()["spent_refreshes"]),
        (&1.into(), &0.into())
    );
    simulator.send(Signal::TERM);
    assert_eq!(simulator.ends().await, Some(0));
    let gone = Answering::to(relay_address, &streamed("hello")).await.whole().await;
    let refusal = gone.refusal().line();
    assert_eq!(refusal, "502 server_error upstream_unavailable");
    relay.send(Signal::INT);
    assert_eq!(relay.ends().await, Some(0));
}
