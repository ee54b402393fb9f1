//! The composition root: from settings to a running server.
//!
//! Everything that lives as long as the server is made here and handed to who needs it; everything
//! that runs in the background is started here, and the end of the server waits for it.
//!
//! Not here: settings and their sources (`config`), texts for the terminal (`cli`).

mod codex;
mod front;
mod instance;
pub mod memory;
mod outside;
mod signals;
mod slots;

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use futures_util::{FutureExt, future::FusedFuture};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime, signal::unix::SignalKind};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::front::Place;
pub(crate) use self::instance::{Running, running};
pub(crate) use self::outside::Beyond;
pub use self::signals::interrupted;
pub(crate) use self::slots::{roster, store_at};
use self::{
    front::Front,
    instance::Instance,
    outside::Outside,
    slots::{relay_settings, slots},
};
use crate::{
    address::Scope,
    api::{
        admin::{Admin, stats::Stats},
        answers::Answers,
        background::Background,
        conversations::Conversations,
        files::Files,
        guard::{
            admission::Admission,
            forwarded::Forwarded,
            identity::Identity,
            origin::{Origin, Rules},
            scope,
            turned::Turned,
        },
        images::Images,
        models::Models,
        router,
        status::{Describe, Status},
        stream,
        subscription::Subscription,
        text,
    },
    auth::{
        apart::{self, Apart},
        file::Store,
        issuer::Issuer,
        refresh::{self, Login},
        vault::Vault,
    },
    clock::Clock,
    config::{self, Config},
    describe,
    dialogue::Dialogues,
    id::RequestId,
    limit::{self, Limits},
    listen::{self, Ending, tls},
    private_file::{self, NoSocket},
    redact::Redactor,
    relay::{self, Relay, refresh as usage, slots::Account},
    roster::RosterError,
    sim::Simulator,
    store,
    traffic::{self, Phase, Record, Traffic, Writer},
    transport::{self, Ear, Network, NetworkSettings},
    upstream::{
        self, Upstream,
        catalogue::{self, Catalogue},
    },
};

/// More would not make an answer faster, and each costs memory at rest.
const WORKERS: usize = 4;
const USER_AGENT: &str = concat!("airelays/", env!("CARGO_PKG_VERSION"));
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);
/// As long as the Codex client uses its list.
const LIST_FRESH: Duration = Duration::from_mins(5);
const LIST_PATIENCE: Duration = Duration::from_secs(5);
/// For a listener that other machines can reach.
const SHORTEST_TOKEN: usize = 16;
/// How long other processes may hold the stored login.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(45);
/// Where requests to an imitation in this process pretend to go.
const SIMULATED: &str = "http://127.0.0.1";
const LOOPBACK: &str = "127.0.0.1";
const ASIDE: listen::Settings = listen::Settings::DEFAULT;

/// The imitation in place of the upstream.
#[derive(Clone, Debug)]
pub struct Simulation {
    pub simulator: Simulator,
    /// Where it can be reached as well, on this machine.
    pub port: Option<u16>,
}

/// Why nothing is being served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen { address: String, source: io::Error },
    #[error("{address} is in use: another program listens there")]
    InUse { address: String },
    #[error("cannot listen on the socket {path}")]
    Socket { path: PathBuf, source: NoSocket },
    #[error(
        "{address} can be reached from the network, and no token is asked for: whoever reaches \
         it would use your login. Ask for the token, listen on 127.0.0.1 or on a Unix socket, or \
         say --allow-open-network"
    )]
    Open { address: IpAddr },
    #[error("a network scope of `any` needs the relay token: anybody at all could use your login")]
    OpenToAnybody,
    #[error(
        "the relay token has fewer than {SHORTEST_TOKEN} characters and could be guessed from the \
         network: `airelays token rotate` makes one that cannot"
    )]
    ShortToken,
    #[error("TLS cannot be spoken with the given certificate and key")]
    Certificate(#[source] tls::Unusable),
    #[error("another relay {}serves {dir}", pid.map(|pid| format!("(process {pid}) ")).unwrap_or_default())]
    Running { dir: PathBuf, pid: Option<u32> },
    #[error("cannot write to {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the system refuses {what}")]
    System { what: &'static str, source: io::Error },
    #[error("a setting of the upstream is no address")]
    Address,
    #[error("the slots cannot be used")]
    Slots(#[from] RosterError),
}

/// A relay that listens and is ready to serve.
#[derive(Debug)]
pub struct Server {
    listener: listen::Listener,
    place: Place,
    router: Router,
    /// For commands of the same owner.
    control: Option<(listen::Listener, Router)>,
    limits: listen::Settings,
    /// Tells answers that the program ends.
    leaving: CancellationToken,
    instance: Instance,
    writer: Option<Writer>,
    relay: Relay,
    kept: store::Store,
    /// Whether to speak as the installed Codex CLI where that is newer.
    follows_codex: bool,
    usage: usage::Settings,
    tasks: TaskTracker,
    /// The simulator's own listener and what it serves.
    imitation: Option<(TcpListener, Router)>,
    /// Where a simulated login is kept; goes when the server does.
    scratch: Option<TempDir>,
}

impl Server {
    /// Where clients can reach it.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its address on the network; `None` when it listens on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Network(address) => Some(*address),
            Place::Socket(_) => None,
        }
    }

    /// What is served, for whoever calls it without a socket.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Where the imitation of the upstream listens, if it does.
    pub fn simulator_address(&self) -> Option<SocketAddr> {
        self.imitation.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Serves until `shutdown` is done, then lets open answers end and the log reach the disk. The
    /// answers have a grace, unless `hurry` is done before.
    pub async fn run(self, shutdown: impl Future<Output = ()>, hurry: impl Future<Output = ()>) {
        let Self {
            listener,
            place: _,
            router,
            control,
            limits,
            leaving,
            instance,
            writer,
            relay,
            kept,
            follows_codex,
            usage,
            tasks,
            imitation,
            scratch,
        } = self;
        let mut hurry = pin!(hurry.fuse());
        let stop = CancellationToken::new();
        tasks.spawn(relay.clone().watch(usage, stop.clone()));
        let look = kept.clone();
        // What was kept before is looked after, whether anybody asks for it or not.
        tasks.spawn(async move { look.figures_so_far().await.map(drop).unwrap_or_default() });
        if follows_codex {
            tasks.spawn(codex::follow(relay.clone(), stop.clone()));
        }
        let imitation = imitation.map(|(listener, router)| (plain(listener), router));
        for (listener, router) in [control, imitation].into_iter().flatten() {
            let stop = stop.clone();
            tasks.spawn(async move {
                let limits = listen::Settings { grace: Duration::ZERO, ..ASIDE };
                listen::serve(listener, router, limits, Ending::at(stop.cancelled())).await;
            });
        }
        let ending = Ending { shutdown, hurry: hurry.as_mut(), leaving };
        listen::serve(listener, router, limits, ending).await;
        stop.cancel();
        tasks.close();
        let hurried = async {
            if !hurry.is_terminated() {
                // What is left then is not waited for by anybody.
                let _long_enough = tokio::time::timeout(limits.grace, hurry).await;
            }
        };
        tokio::select! {
            () = tasks.wait() => {}
            () = hurried => {}
        }
        // What another process does for this one goes on without it.
        let mut held = Vec::new();
        for (_, account) in relay.slots.all_accounts() {
            held.push(account.login.hold().await);
        }
        kept.close().await;
        if let Some(writer) = writer {
            writer.close();
        }
        drop(scratch);
        instance.release();
    }
}

/// Binds the listener and puts the relay together behind it.
///
/// # Errors
///
/// When another relay is there already, when an address is taken or too open, or when a folder
/// cannot be written.
pub async fn start(config: Arc<Config>, simulation: Option<Simulation>) -> Result<Server, Error> {
    let beyond = match simulation {
        Some(simulation) => Beyond::Imitation(simulation),
        None => Beyond::Network { store: store(&config), apart: None },
    };
    put_together(config, beyond).await
}

async fn put_together(config: Arc<Config>, beyond: Beyond) -> Result<Server, Error> {
    let instance = Instance::claim(&config.paths.data_dir, instance::PATIENCE).await?;
    let Front { listener, place, scope } = Front::open(&config).await?;
    ensure_unguessable(&config, scope)?;
    let outside = Outside::new(beyond, &config).await?;
    let tasks = TaskTracker::new();
    let (clock, redactor) = (Clock::system(), Redactor::new());
    let (log, writer) = traffic(&config, &redactor, &clock)?;
    let inner = inner(&config, &outside, &tasks, Senses { clock, redactor, traffic: log })?;
    for (_, account) in inner.relay.slots.all_accounts() {
        if let Err(error) = account.login.store().sweep() {
            tracing::debug!(error = &*error.to_string(), "cannot clear away what was left");
        }
    }
    announce(&config, &inner.traffic).await;
    let (leaving, relay, kept) =
        (CancellationToken::new(), inner.relay.clone(), inner.kept.clone());
    let parts = parts(&config, scope, inner, (leaving.clone(), &tasks));
    let control = instance.control().map(|listener| (listener, router::control(&parts)));
    let router = router::router(parts);
    if let Some(network) = outside.network {
        tasks.spawn(async move {
            if let Err(error) = network.warm().await {
                tracing::warn!(error = &*error.to_string(), "cannot prepare the upstream client");
            }
        });
    }
    Ok(Server {
        listener,
        place,
        router,
        control,
        limits: front::limits(&config.server),
        leaving,
        instance,
        writer,
        relay,
        kept,
        // Where nobody else renews the login, this is no relay of the owner's.
        follows_codex: outside.apart.is_some() && config.upstream.follows_codex,
        usage: usage::Settings { every: config.slots.usage_refresh },
        tasks,
        imitation: outside.imitation,
        scratch: outside.scratch,
    })
}

/// On this machine a token may be as short as its owner likes.
fn ensure_unguessable(config: &Config, scope: Scope) -> Result<(), Error> {
    if scope == Scope::Loopback || !config.security.require_bearer_auth {
        return Ok(());
    }
    // One that cannot be read now lets nobody in.
    let token = describe::configured_token(config).current().ok().flatten();
    let is_short = token.is_some_and(|token| token.expose().len() < SHORTEST_TOKEN);
    if is_short { Err(Error::ShortToken) } else { Ok(()) }
}

/// What stands behind the routes.
struct Inner {
    clock: Clock,
    traffic: Traffic,
    redactor: Redactor,
    relay: Relay,
    kept: store::Store,
    describe: Describe,
}

/// What everything else is told by, and tells.
struct Senses {
    clock: Clock,
    redactor: Redactor,
    traffic: Traffic,
}

/// The relay without anybody to serve, for a command that does its work alone.
///
/// # Errors
///
/// When the slots cannot be used, or a setting is no address.
pub(crate) async fn alone(config: &Arc<Config>, apart: Option<Apart>) -> Result<Relay, Error> {
    let outside = Outside::new(Beyond::Network { store: store(config), apart }, config).await?;
    by_itself(config, &outside)
}

/// The same, with an ear that keeps what the upstream answers.
///
/// # Errors
///
/// As of [`alone`].
pub(crate) async fn overheard(config: &Arc<Config>, apart: Apart) -> Result<(Relay, Ear), Error> {
    let beyond = Beyond::Network { store: store(config), apart: Some(apart) };
    let mut outside = Outside::new(beyond, config).await?;
    let base = &outside.base_url;
    let ear = Ear::new(base.strip_suffix("/codex").unwrap_or(base), Clock::system());
    outside.transport = ear.at(outside.transport);
    Ok((by_itself(config, &outside)?, ear))
}

fn by_itself(config: &Arc<Config>, outside: &Outside) -> Result<Relay, Error> {
    let senses =
        Senses { clock: Clock::system(), redactor: Redactor::new(), traffic: Traffic::off() };
    Ok(inner(config, outside, &TaskTracker::new(), senses)?.relay)
}

fn inner(
    config: &Arc<Config>,
    outside: &Outside,
    tasks: &TaskTracker,
    Senses { clock, redactor, traffic }: Senses,
) -> Result<Inner, Error> {
    let login = Login::new(
        refresh::Settings {
            store: outside.store.clone(),
            issuer: outside.issuer.clone(),
            client_id: config.upstream.client_id.clone(),
            timeout: REFRESH_TIMEOUT,
            lock_wait: LOCK_WAIT,
            apart: outside.apart.clone(),
        },
        outside.transport.clone(),
        clock.clone(),
        tasks.clone(),
        redactor.clone(),
    )
    .map_err(|_| Error::Address)?;
    let upstream = Upstream::new(
        &upstream::Settings {
            base_url: outside.base_url.clone(),
            client_version: config.upstream.client_version.clone(),
            user_agent: USER_AGENT.into(),
            headers_timeout: config.upstream.headers_timeout,
        },
        outside.transport.clone(),
        clock.clone(),
    )
    .map_err(|_| Error::Address)?;
    let catalogue = Catalogue::new(
        upstream.clone(),
        catalogue::Settings { fresh_for: LIST_FRESH, patience: LIST_PATIENCE },
        tasks.clone(),
    );
    let describe = describing(config, outside.store.clone(), outside.issuer.clone());
    let slots = slots(config, &outside.store, Account { login, catalogue }, &clock)?;
    let (log, time) = (traffic.clone(), clock.clone());
    let relay = Relay::new(
        relay::Parts { upstream, slots, traffic: log, clock: time },
        relay_settings(config),
    );
    let kept = store::Store::new(kept_settings(config), clock.clone());
    Ok(Inner { clock, traffic, redactor, relay, kept, describe })
}

fn kept_settings(config: &Config) -> store::Settings {
    store::Settings {
        dir: config.paths.data_dir.clone(),
        max_file: config.uploads.max_upload_bytes,
        max_files: config.uploads.max_total_upload_bytes,
        keep_answers: i64::try_from(config.responses.retention.as_secs()).unwrap_or(i64::MAX),
        max_answers: config.responses.max_total_bytes,
    }
}

/// The groups of routes with what each needs.
fn parts(
    config: &Config,
    admitted: Scope,
    Inner { clock, traffic, redactor, relay, kept, describe }: Inner,
    (leaving, tasks): (CancellationToken, &TaskTracker),
) -> router::Parts {
    let limits = limits(config);
    let dialogues = Dialogues::new(kept.clone(), config.responses.stateful);
    let background = Background::new(dialogues.clone(), clock.clone(), tasks.clone());
    let token = describe::configured_token(config);
    let stream = streams(config, leaving);
    router::Parts {
        identity: identity(config, &traffic),
        scope: scope::Scope::new(admitted, clock.clone()),
        origin: Origin::new(
            Rules {
                hosts: config.security.allowed_hosts.as_slice().into(),
                origins: config.security.allowed_origins.as_slice().into(),
            },
            clock.clone(),
        ),
        admission: Admission {
            token,
            is_open: !config.security.require_bearer_auth,
            limits: limits.clone(),
            redactor,
            turned: Turned::new(clock.clone()),
            clock: clock.clone(),
        },
        text: text(config, (&relay, &dialogues, &background), &clock, &stream),
        admin: Admin {
            relay: relay.clone(),
            describe: Arc::clone(&describe),
            stats: Stats::new(&clock),
            clock: clock.clone(),
        },
        images: Images {
            relay: relay.clone(),
            dialogues: dialogues.clone(),
            aliases: config.models.aliases.as_slice().into(),
            stream,
            clock: clock.clone(),
        },
        answers: Answers { dialogues: dialogues.clone(), background },
        conversations: Conversations { dialogues },
        files: Files { store: kept.clone() },
        subscription: Subscription { relay: relay.clone(), clock: clock.clone() },
        models: Models {
            relay,
            aliases: config.models.aliases.as_slice().into(),
            clock: clock.clone(),
        },
        status: Status {
            describe,
            limits,
            clock,
            traffic,
            store: kept,
            requires_token: config.security.require_bearer_auth,
        },
    }
}

fn identity(config: &Config, traffic: &Traffic) -> Identity {
    Identity {
        traffic: traffic.clone(),
        body_limit: usize::try_from(config.server.max_body_bytes).unwrap_or(usize::MAX),
        forwarded: Forwarded {
            trusted: config.security.forwarded_from.as_deref().unwrap_or_default().into(),
        },
    }
}

fn text(
    config: &Config,
    (relay, dialogues, background): (&Relay, &Dialogues, &Background),
    clock: &Clock,
    stream: &stream::Settings,
) -> text::Text {
    text::Text {
        relay: relay.clone(),
        dialogues: dialogues.clone(),
        background: background.clone(),
        clock: clock.clone(),
        reasoning: config.chat.reasoning,
        stream: stream.clone(),
    }
}

fn streams(config: &Config, leaving: CancellationToken) -> stream::Settings {
    stream::Settings {
        commit_after: config.stream.commit_after,
        keep_alive: config.stream.keep_alive,
        leaving,
    }
}

fn plain(listener: TcpListener) -> listen::Listener {
    listen::Listener::new(listen::Origin::Network(listener), None)
}

fn describing(config: &Arc<Config>, store: Store, issuer: String) -> Describe {
    let config = Arc::clone(config);
    Arc::new(move || describe::described(&config, &store, &issuer))
}

fn limits(config: &Config) -> Limits {
    let security = &config.security;
    Limits::new(limit::Settings {
        per_minute: security.rate_limit_per_minute,
        burst: security.rate_limit_burst,
        concurrent: security.concurrent_requests_per_ip,
        failed_window: security.failed_auth_window,
        failed_max: security.failed_auth_max_attempts,
        failed_block: security.failed_auth_block,
    })
}

fn traffic(
    config: &Config,
    redactor: &Redactor,
    clock: &Clock,
) -> Result<(Traffic, Option<Writer>), Error> {
    if !config.logging.enabled {
        return Ok((Traffic::off(), None));
    }
    let dir = config.paths.logs_dir.clone();
    private_file::create_dir(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
    let settings = traffic::Settings {
        dir: dir.clone(),
        enabled: true,
        stream_lines: config.logging.stream_lines,
        queue_bytes: traffic::Settings::QUEUE_BYTES,
    };
    let (traffic, writer) = Traffic::start(settings, redactor.clone(), clock.clone())
        .map_err(|source| Error::Write { path: dir, source })?;
    Ok((traffic, Some(writer)))
}

/// The first record of a run: how the relay is secured.
async fn announce(config: &Config, traffic: &Traffic) {
    let security = &config.security;
    let record = Record::new(&RequestId::named("startup"), Phase::EndpointSecurityReady)
        .flag("require_bearer_auth", security.require_bearer_auth)
        .text("bearer_token_file", security.bearer_token_file.display().to_string())
        .text("network_scope", security.network_scope.as_str())
        .number("rate_limit_per_minute", security.rate_limit_per_minute.into())
        .number("rate_limit_burst", security.rate_limit_burst.into())
        .number("concurrent_requests_per_ip", security.concurrent_requests_per_ip.into())
        .number("failed_auth_max_attempts", security.failed_auth_max_attempts.into());
    traffic.record(record).await;
}

/// The way out, for whoever needs nothing else.
pub(crate) fn network(connect_timeout: Duration) -> Network {
    transport::network(NetworkSettings {
        connect_timeout,
        user_agent: USER_AGENT.into(),
        socket: None,
    })
}

/// Where the owner's login is kept.
pub(crate) fn store(config: &Config) -> Store {
    let paths = &config.paths;
    let homes = [Some(&paths.data_dir), paths.former_data_dir.as_ref()];
    let mut homes: Vec<_> = homes.into_iter().flatten().cloned().collect();
    homes.dedup();
    Store::new(&paths.auth_file(), Vault::new(config.auth.storage, homes))
}

/// Who issues logins, for commands that start no server.
pub(crate) fn issuer(config: &Config) -> Result<Issuer, Error> {
    let config::Upstream { issuer_base_url, client_id, .. } = &config.upstream;
    let transport = network(config.upstream.connect_timeout).transport();
    Issuer::new(issuer_base_url, client_id.clone(), REFRESH_TIMEOUT, transport)
        .map_err(|_| Error::Address)
}

fn scratch() -> Result<TempDir, Error> {
    tempfile::Builder::new()
        .prefix("airelays-")
        .permissions(private_file::owner_only_dir())
        .tempdir()
        .map_err(|source| Error::System { what: "a temporary folder", source })
}

/// A listener, which is free again when it is dropped.
///
/// # Errors
///
/// When the address is taken, or not to be had.
pub(crate) async fn bind(host: &str, port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind((host, port)).await.map_err(|source| {
        let address = format!("{host}:{port}");
        if source.kind() == io::ErrorKind::AddrInUse {
            Error::InUse { address }
        } else {
            Error::Listen { address, source }
        }
    })
}

/// Does `work` on the threads that everything runs on. A thread that still waits for something when
/// it is done holds nobody up.
///
/// # Errors
///
/// When the system has no threads left.
pub fn run<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}

/// The threads that everything runs on.
///
/// # Errors
///
/// When the system has no threads left.
pub fn runtime() -> Result<Runtime, Error> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(|source| Error::System { what: "threads", source })?;
    let within = runtime.enter();
    // A file that must not grow is then an error like a full disk, and not the end.
    drop(signals::heed(&[SignalKind::from_raw(Signal::XFSZ.as_raw())]));
    drop(within);
    Ok(runtime)
}

/// Serves until told to stop. `ready` is called once, when all is bound, and `stopping` when it is
/// to stop.
///
/// # Errors
///
/// When nothing can be served.
pub(crate) fn serve(
    config: Arc<Config>,
    beyond: Beyond,
    ready: &dyn Fn(&Server),
    stopping: &dyn Fn(),
) -> Result<(), Error> {
    listen::raise_descriptor_limit();
    run(async {
        let server = put_together(config, beyond).await?;
        ready(&server);
        let stopping = async {
            interrupted().await;
            stopping();
        };
        // The second is listened for once the first was heard.
        server.run(stopping, interrupted()).await;
        Ok(())
    })?
}

/// Renews a login as another process of this program has asked.
///
/// No signal that asks to end is heeded: it would be too early by a moment, and the login gone.
///
/// # Errors
///
/// When the system has no threads, or the issuer is no address. No token has been spent then.
pub(crate) fn renew(job: apart::Job) -> Result<apart::Report, Error> {
    run(async {
        let ends = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let deaf = signals::heed(&ends);
        let network = network(job.connect_timeout);
        let (settings, spent) = job.into_parts();
        let (clock, redactor) = (Clock::system(), Redactor::new());
        let transport = network.transport();
        let login = Login::new(settings, transport, clock, TaskTracker::new(), redactor);
        let report = login.map_err(|_| Error::Address)?.report(spent).await;
        drop(deaf);
        Ok(report)
    })?
}

/// Serves the imitation of the upstream alone, on this machine.
///
/// # Errors
///
/// When the listener cannot be bound.
pub fn simulate(simulator: &Simulator, port: u16, ready: &dyn Fn(SocketAddr)) -> Result<(), Error> {
    run(async {
        let listener = bind(LOOPBACK, port).await?;
        ready(local_address(&listener)?);
        let ending = Ending::at(interrupted());
        listen::serve(plain(listener), simulator.router(), ASIDE, ending).await;
        Ok(())
    })?
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::System { what: "its own address", source })
}

#[cfg(test)]
mod tests;
