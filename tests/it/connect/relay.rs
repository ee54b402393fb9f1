//! A relay on the simulator in this process, and a client that says exactly what it is told.

use std::{
    io::{ErrorKind::ConnectionReset, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use airelays::{
    app::{self, Simulation},
    cli::Environment,
    config::{Config, Layer},
    sim::{Recorded, Simulator, World},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// What clients of a protected relay know.
pub const TOKEN: &str = "the-token-of-the-relay";
/// Nothing here takes as long; what does is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// It ends with this.
pub struct Relay {
    pub address: SocketAddr,
    pub simulator: Simulator,
    pub home: TempDir,
    runtime: Option<Runtime>,
    running: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

/// The settings that `variables` make, with a home of their own.
pub fn config(home: &TempDir, variables: &[(&str, &str)]) -> Arc<Config> {
    let home = home.path().to_str().expect("text");
    let fixed = [("HOME", home), ("AIRELAYS_PORT", "0"), ("AIRELAYS_BEARER_TOKEN", TOKEN)];
    let environment: Environment = fixed.iter().chain(variables).copied().collect();
    Arc::new(Config::load(Layer::default(), &environment).expect("fine"))
}

impl Relay {
    pub fn start(variables: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let simulator = Simulator::start(World::default());
        let simulation = Simulation { simulator: simulator.clone(), port: None };
        let runtime = app::runtime().expect("threads");
        let config = config(&home, variables);
        let server = runtime.block_on(app::start(config, Some(simulation))).expect("it starts");
        let address = server.address().unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
        let stop = CancellationToken::new();
        let running =
            runtime.spawn(server.run(stop.clone().cancelled_owned(), std::future::pending()));
        let (runtime, running) = (Some(runtime), Some(running));
        Self { address, simulator, home, runtime, running, stop }
    }

    /// One that asks for no token.
    pub fn open(variables: &[(&str, &str)]) -> Self {
        let open = [("AIRELAYS_REQUIRE_BEARER_AUTH", "0")];
        Self::start(&[variables, &open].concat())
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        Client { stream }
    }

    /// The answer to a whole request on a connection of its own. A `Host` and a length are added
    /// unless the head has them.
    pub fn ask(&self, head: &str, body: &str) -> Answer {
        let mut client = self.connect();
        client.send(&request(self.address, head, body));
        client.rest()
    }

    /// With the right token.
    pub fn ask_as_owner(&self, line: &str, body: &str) -> Answer {
        self.ask(&format!("{line}\nAuthorization: Bearer {TOKEN}\n{JSON}"), body)
    }

    /// How many requests for an answer have reached the upstream.
    pub fn sent(&self) -> usize {
        self.inferences().len()
    }

    pub fn inferences(&self) -> Vec<Recorded> {
        let recorded = self.simulator.recorded().into_iter();
        recorded.filter(|request| request.path.ends_with("/responses")).collect()
    }

    /// Waits until the upstream has seen its clients leave.
    pub fn wait_for_cancelled(&self, count: usize) {
        until("the upstream is let go", || {
            self.inferences().iter().filter(|request| request.cancelled).count() == count
        });
    }

    pub fn status(&self) -> serde_json::Value {
        let answer = self.ask_as_owner("GET /v1/relay/status", "");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// Tells it to stop and waits until it has.
    pub fn stop(mut self) -> TempDir {
        self.end();
        std::mem::replace(&mut self.home, tempfile::tempdir().expect("a folder"))
    }

    fn end(&mut self) {
        self.stop.cancel();
        if let (Some(runtime), Some(running)) = (self.runtime.take(), self.running.take()) {
            let _ended = runtime.block_on(running);
            runtime.shutdown_background();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

pub const JSON: &str = "Content-Type: application/json";

/// `head` is written with line feeds: a method and a target, then headers.
pub fn request(address: SocketAddr, head: &str, body: &str) -> String {
    let has = |name: &str| head.lines().any(|line| line.to_ascii_lowercase().starts_with(name));
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut lines = vec![format!("{line} HTTP/1.1")];
    if !has("host:") {
        lines.push(format!("Host: {address}"));
    }
    lines.extend(headers.lines().map(str::to_owned));
    if !has("connection:") {
        lines.push("Connection: close".to_owned());
    }
    if !body.is_empty() && !has("content-length:") {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    lines.join("\r\n") + "\r\n\r\n" + body
}

/// A request for an answer in which `marker` says how it goes.
pub fn chat(marker: &str, stream: bool) -> String {
    format!(
        r#"{{"model":"gpt-5.4-mini","stream":{stream},"messages":[{{"role":"user","content":"{marker}"}}]}}"#
    )
}

pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("sent");
    }

    /// Reads until what has come contains `text`.
    pub fn until(&mut self, text: &str) -> String {
        let mut all = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&all).ends_with(text) {
            let read = self.stream.read(&mut byte).expect("it goes on");
            assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&all));
            all.push(byte[0]);
        }
        String::from_utf8(all).expect("text")
    }

    /// Everything until the connection is closed.
    pub fn rest(mut self) -> Answer {
        let mut all = Vec::new();
        let ended = self.stream.read_to_end(&mut all);
        let is_closed = ended.as_ref().map_or_else(std::io::Error::kind, |_| ConnectionReset);
        assert_eq!(is_closed, ConnectionReset, "it stays open");
        Answer::read(&String::from_utf8_lossy(&all))
    }
}

/// An answer, or what there was of one.
#[derive(Debug)]
pub struct Answer {
    /// 0 when there was none.
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The code of the error in the body, or nothing.
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Waits until something is so.
#[expect(clippy::disallowed_methods, reason = "a test gives up at some time")]
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never happens that {what}");
        thread::yield_now();
    }
    assert!(start.elapsed() < PATIENCE, "it takes too long until {what}");
}
