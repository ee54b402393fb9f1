//! More clients than there is room for.

use std::{
    cell::Cell,
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::relay::{Answer, Client, JSON, Relay, TOKEN, chat, request, until};

#[test]
fn p2_idle_connections_of_a_neighbour_keep_nobody_out() {
    let relay = Relay::start(&[("AIRELAYS_MAX_CONNECTIONS_PER_CLIENT", "20")]);
    let mut held: Vec<_> = (0..200).map(|_| relay.connect()).collect();
    for client in held.iter_mut().skip(100) {
        // Whoever was closed for another does not take it.
        let _sent = std::io::Write::write_all(&mut client.stream, b"GET / HTTP/1.1\r\nHo");
    }
    for _ in 0..30 {
        assert_eq!(relay.ask_as_owner("GET /v1/models", "").status, 200);
    }
    assert_eq!(held.swap_remove(0).rest().status, 0, "closed for another");
}

/// Answers to anybody, and refusals, which nobody takes: they wait in the buffers of both systems.
#[test]
fn p2_answers_that_nobody_takes_keep_nobody_out() {
    for head in ["GET / HTTP/1.1", "GET /v1/models HTTP/1.1\r\nAuthorization: Bearer wrong"] {
        let relay = Relay::start(&[("AIRELAYS_MAX_CONNECTIONS_PER_CLIENT", "20")]);
        let mut own = relay.connect();
        let stream = format!("POST /v1/chat/completions\nAuthorization: Bearer {TOKEN}\n{JSON}");
        own.send(&request(relay.address, &stream, &chat("[sim stall-after-text]", true)));
        own.until("\r\n\r\n");
        let asked = format!("{head}\r\nHost: localhost\r\n\r\n").repeat(4000);
        let held: Vec<_> = (0..40)
            .map(|_| {
                let client = relay.connect();
                client.stream.set_nonblocking(true).expect("set");
                client
            })
            .collect();
        // As much as each takes, until none takes any more: then none of them is idle.
        let last = Cell::new(Instant::now());
        until("nobody takes any more", || {
            for client in &held {
                if std::io::Write::write(&mut &client.stream, asked.as_bytes()).is_ok() {
                    last.set(Instant::now());
                }
            }
            last.get().elapsed() > Duration::from_millis(500)
        });
        for _ in 0..20 {
            assert_eq!(relay.ask_as_owner("GET /v1/models", "").status, 200, "{head}");
        }
        assert_eq!(relay.inferences().iter().filter(|it| it.cancelled).count(), 0);
    }
}

#[test]
fn p2_connections_are_bounded_in_all() {
    let relay = Relay::start(&[
        ("AIRELAYS_MAX_CONNECTIONS", "4"),
        ("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "50"),
    ]);
    let head = format!("POST /v1/chat/completions\nAuthorization: Bearer {TOKEN}\n{JSON}");
    let mut streams: Vec<_> = (0..4).map(|_| relay.connect()).collect();
    for client in &mut streams {
        client.send(&request(relay.address, &head, &chat("[sim stall-after-text]", true)));
        client.until("\r\n\r\n");
    }
    // All are used, so that one more finds no place.
    let refused = relay.connect().rest();
    assert_eq!(refused.status, 503);
    streams.pop();
    until("there is room again", || {
        let mut client = relay.connect();
        let text = request(relay.address, "GET /healthz", "");
        let _sent = std::io::Write::write_all(&mut client.stream, text.as_bytes());
        client.rest().status == 200
    });
}

#[test]
fn r1_a_stream_counts_until_its_end() {
    let relay = Relay::start(&[("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "2")]);
    let head = format!("POST /v1/responses\nAuthorization: Bearer {TOKEN}\n{JSON}");
    let body = r#"{"model":"gpt-5.4-mini","stream":true,"input":"[sim stall-after-text]"}"#;
    let mut streams = Vec::new();
    for n in 0..10 {
        let mut client = relay.connect();
        client.send(&request(relay.address, &head, body));
        if n < 2 {
            assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 200 "));
            streams.push(client);
            continue;
        }
        let refused = client.rest();
        assert_eq!((refused.status, &*refused.code()), (429, "too_many_concurrent_requests"));
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    drop(streams);
    until("the places are given back", || {
        let answer = relay.ask_as_owner("GET /v1/relay/status", "");
        answer.body.contains("\"active_requests\":1")
    });
    assert_eq!(relay.sent(), 2);
}

/// The real program, under a limit of the shell's; it ends with this.
struct Limited {
    process: Child,
    address: String,
    _home: tempfile::TempDir,
}

impl Limited {
    fn start(limit: &str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let serve = "exec \"$0\" serve --simulate --no-auth --port 0";
        let mut process = Command::new("/bin/sh")
            .args(["-c", &format!("{limit} && {serve}"), env!("CARGO_BIN_EXE_airelays")])
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let said = BufReader::new(process.stdout.take().expect("its output"));
        let address = said.lines().map_while(Result::ok).find_map(|line| {
            let url = line.trim().strip_prefix("Base URL:")?.trim();
            Some(url.strip_prefix("http://")?.strip_suffix("/v1")?.to_owned())
        });
        Self { process, address: address.expect("it says where it listens"), _home: home }
    }

    fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(&self.address).expect("it listens") }
    }

    fn ask(&self) -> Answer {
        let mut client = self.connect();
        let text = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let _sent = std::io::Write::write_all(&mut client.stream, text.as_bytes());
        client.rest()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

#[test]
fn r6_a_shortage_of_descriptors_is_survived() {
    let mut relay = Limited::start("ulimit -n 40");
    let held: Vec<_> = (0..200).map(|_| relay.connect()).collect();
    // Idle connections make room even now, so that an honest client gets its turn.
    until("somebody is served", || relay.ask().status == 200);
    drop(held);
    until("all is well again", || relay.ask().status == 200);
    assert!(relay.process.try_wait().expect("asked").is_none(), "it goes on");
}

#[test]
fn r6_the_soft_limit_of_descriptors_is_raised() {
    let relay = Limited::start("ulimit -S -n 40");
    let mut held: Vec<_> = (0..100).map(|_| relay.connect()).collect();
    for _ in 0..2 {
        for client in &mut held {
            client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.until("\"}");
        }
    }
}
