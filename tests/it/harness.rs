//! A relay of the test's own: in a home of the moment, before a simulator, asked over a socket.
//!
//! What a test wants to be different is a variable of [`Setup`]; what the upstream does is a step
//! of its simulator. Nothing here waits for a time: [`eventually`] waits for a state, and gives up
//! long after it should have come.

pub mod dialect;
pub mod disk;
pub mod http;
pub mod log;
pub mod place;
pub mod process;
pub mod program;
pub mod raw;

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::http::{HeaderValue, Request, Response, header::HOST};
use airelays::{
    app::{self, Server, Simulation},
    config::{Config, Environment, Layer},
    sim::{Simulator, Step, World},
};
use axum::{Router, body::Body};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use self::{
    dialect::Dialect,
    http::{Answering, Ask, Reply},
};

/// Longer than anything takes here, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How often a state is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// The relay token of every relay here.
pub const TOKEN: &str = "relay-token-of-the-tests";
/// Known to the simulator.
pub const MODEL: &str = "gpt-5.4-mini";

/// What `work` comes to, which must be soon.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect(what)
}

/// Waits until `is_so`.
#[track_caller]
pub fn eventually(what: &str, is_so: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let looking = async {
            while !is_so() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        assert!(found.is_ok(), "{caller}: it never came to this: {what}");
    }
}

/// A relay that is still to be started.
#[derive(Debug)]
pub struct Setup {
    home: TempDir,
    variables: Vec<(String, String)>,
    simulator: Simulator,
}

impl Setup {
    /// With limits that no test meets by accident.
    pub fn new() -> Self {
        let variables = [
            ("AIRELAYS_PORT", "0"),
            ("AIRELAYS_BEARER_TOKEN", TOKEN),
            ("AIRELAYS_RATE_LIMIT_BURST", "100000"),
            ("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "1000"),
            // One failure is one request, and is told at once.
            ("AIRELAYS_SLOTS_RETRY_PASSES", "0"),
            ("AIRELAYS_SLOTS_QUEUE_TIMEOUT_SECONDS", "0"),
        ];
        Self {
            home: tempfile::tempdir().expect("a folder"),
            variables: variables.map(|(name, value)| (name.into(), value.into())).into(),
            simulator: Simulator::start(World::default()),
        }
    }

    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// In a world with one switch set.
    pub fn world(self, name: &str, value: &str) -> Self {
        self.simulator.set_world(name, value).expect("a switch");
        self
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where a relay was before that has been stopped.
    pub fn at(mut self, home: TempDir) -> Self {
        self.home = home;
        self
    }

    fn config(&self) -> Arc<Config> {
        let home = ("HOME".to_owned(), self.home.path().display().to_string());
        let environment: Environment = self.variables.iter().cloned().chain([home]).collect();
        Config::load(Layer::default(), &environment).expect("settings").into()
    }

    async fn server(&self) -> Server {
        let simulation = Simulation { simulator: self.simulator.clone(), port: None };
        app::start(self.config(), Some(simulation)).await.expect("a relay")
    }

    /// The relay without a socket, for a test that stops the clock.
    pub async fn in_process(self) -> InProcess {
        let server = self.server().await;
        InProcess { router: server.router(), simulator: self.simulator, _kept: (server, self.home) }
    }

    /// The relay on a socket, with the simulator inside.
    pub async fn start(self) -> Relay {
        let server = self.server().await;
        Relay::run(server, self.home, self.simulator, &TaskTracker::new())
    }

    /// The relay on a socket with a stored login, and the simulator behind a socket of its own.
    pub async fn start_over_network(self) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let router = self.simulator.router();
        let tasks = TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, router).await });
        let setup = self
            .set("AIRELAYS_UPSTREAM_BASE_URL", format!("http://{address}/backend-api/codex"))
            .set("AIRELAYS_ISSUER_BASE_URL", format!("http://{address}"));
        setup.start_without_simulation(&tasks).await
    }

    /// The relay on a socket, with whatever upstream the variables name.
    pub async fn start_alone(self) -> Relay {
        self.start_without_simulation(&TaskTracker::new()).await
    }

    async fn start_without_simulation(self, tasks: &TaskTracker) -> Relay {
        let server = app::start(self.config(), None).await.expect("a relay");
        Relay::run(server, self.home, self.simulator, tasks)
    }

    /// Stores a login of the simulator where the relay looks for it.
    pub fn log_in(self) -> Self {
        self.log_in_as("first")
    }

    /// The same for the account of this name, which may mean something to the simulator.
    pub fn log_in_as(self, account: &str) -> Self {
        let login = self.simulator.stored_login_for(account);
        write(&self.home.path().join(".airelays/auth.json"), &login);
        self
    }
}

impl Setup {
    /// Several accounts: the first where a single one is, the others as `slot-2`, `slot-3`, ..
    pub fn slots(self, accounts: &[&str]) -> Self {
        for (number, account) in (1..).zip(accounts) {
            let login = self.simulator.stored_login_for(account);
            let file = match number {
                1 => ".airelays/auth.json".to_owned(),
                _ => format!(".airelays/accounts/slot-{number}/auth.json"),
            };
            write(&self.home.path().join(file), &login);
        }
        self
    }
}

/// Writes a file and what it stands in.
pub fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let mut file = File::create(path).expect("created");
    file.set_permissions(fs::Permissions::from_mode(0o600)).expect("set");
    file.write_all(content.as_bytes()).expect("written");
}

/// A relay that is called as a function.
#[derive(Debug)]
pub struct InProcess {
    router: Router,
    pub simulator: Simulator,
    _kept: (Server, TempDir),
}

impl InProcess {
    pub async fn send(&self, mut request: Request<Body>) -> Response<Body> {
        let host = HeaderValue::from_static("localhost");
        request.headers_mut().entry(HOST).or_insert(host);
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}

/// A relay that listens.
#[derive(Debug)]
pub struct Relay {
    pub home: TempDir,
    pub simulator: Simulator,
    pub address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Relay {
    fn run(server: Server, home: TempDir, simulator: Simulator, tasks: &TaskTracker) -> Self {
        let stop = CancellationToken::new();
        let address = server.address();
        let running =
            tasks.spawn(server.run(stop.clone().cancelled_owned(), std::future::pending()));
        let address = address.expect("on the network");
        Self { home, simulator, address, stop, running }
    }

    pub async fn start() -> Self {
        Setup::new().start().await
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    /// The next requests are answered by these steps, in the grammar of markers.
    pub fn script(&self, steps: &[&str]) {
        let steps = steps.iter().map(|step| Step::parse(step).expect("a step"));
        self.simulator.script(steps.collect());
    }

    /// The whole reply to `ask`, over a connection of its own.
    pub async fn ask(&self, ask: &Ask) -> Reply {
        let mut answering = Answering::to(self.address, &ask.bytes()).await;
        answering.whole().await
    }

    /// The head of the reply to `ask`, with the body still to come.
    pub async fn open(&self, ask: &Ask) -> Answering {
        Answering::to(self.address, &ask.bytes()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(&Ask::get(path).bearer(TOKEN)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask(&Ask::post(path, body.to_string()).bearer(TOKEN)).await
    }

    /// Says `text` in `dialect` and takes the whole answer.
    /// What `/admin/slots` says of the slot `slot-N`.
    pub async fn slot(&self, number: usize) -> Value {
        let list = self.get("/admin/slots").await.json();
        let id = format!("slot-{number}");
        let slots = list["slots"].as_array().expect("slots");
        slots.iter().find(|slot| slot["id"] == *id).cloned().unwrap_or(Value::Null)
    }

    /// Nothing is held against the account any more.
    pub async fn forgive(&self) {
        let cleared = self.post("/admin/slots/slot-1/clear", &json!({})).await;
        assert_eq!(cleared.status, 200, "{}", cleared.text());
    }

    pub async fn say(&self, dialect: Dialect, text: &str) -> Reply {
        self.post(dialect.path(), &dialect.body(text)).await
    }

    /// The same as a stream.
    pub async fn say_streamed(&self, dialect: Dialect, text: &str) -> Reply {
        self.post(dialect.path(), &dialect.streamed(text)).await
    }

    /// What the simulator received as the inference requests so far, oldest first.
    pub fn upstream_requests(&self) -> Vec<airelays::sim::Recorded> {
        let is_inference = |seen: &airelays::sim::Recorded| seen.path.ends_with("/responses");
        self.simulator.recorded().into_iter().filter(is_inference).collect()
    }

    /// The body of the last inference request.
    pub fn last_upstream_body(&self) -> Value {
        self.upstream_requests().pop().expect("a request").body
    }

    /// Asks until the reply is as it should be.
    pub async fn until(&self, ask: &Ask, is_so: impl Fn(&Reply) -> bool) -> Reply {
        let asking = async {
            loop {
                let reply = self.ask(ask).await;
                if is_so(&reply) {
                    return reply;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.expect("the right reply in the end")
    }

    pub async fn until_status(&self, ask: &Ask, status: u16) {
        self.until(ask, |reply| reply.status == status).await;
    }

    /// Waits until no answer is under way, as the relay itself sees it: none but the asking one.
    pub async fn is_idle(&self) {
        let ask = Ask::get("/v1/relay/status").bearer(TOKEN);
        let active = |reply: &Reply| reply.json()["security"]["client"]["active_requests"].clone();
        self.until(&ask, |reply| active(reply) == 1).await;
    }

    /// Stops the relay as its owner would, and leaves what it wrote.
    pub async fn stop(self) -> TempDir {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        ended.expect("an end").expect("no panic");
        self.home
    }
}
