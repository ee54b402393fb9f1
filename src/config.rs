//! Settings: where they come from and what they are.
//!
//! Flags count before variables, variables before the file, the file before the defaults. One
//! table (`config::table`) knows every setting; everything else here is generic in it.
//!
//! **Invariant:** `app` and `cli` alone know [`Config`]; every other module has settings of its
//! own, which `app` fills.
//!
//! **Invariant:** what counts and cannot be read stops the start, and all of it is told at once.
//!
//! Not here: reading the relay token's file (`relay_token`), writing anything.

mod environment;
mod file;
mod host;
mod layer;
mod list;
mod names;
mod paths;
mod resolve;
pub mod table;
mod template;
mod value;

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use crate::auth::vault::Storage;

pub use self::{
    environment::Environment,
    layer::{Effective, Layer, Origin, Remark, Sourced},
    template::Unwritable,
    value::Raw,
};
use self::{
    layer::{Findings, Values},
    table::SETTINGS,
};
use crate::{
    address::{Network, Scope, is_loopback},
    secret::Secret,
    slot::policy::{Policy, Thresholds},
    wire::{model::Alias, reply::chat::Reasoning},
};

/// The settings that count.
#[derive(Debug)]
pub struct Config {
    pub file: ConfigFile,
    pub server: Server,
    pub paths: Paths,
    pub auth: Auth,
    pub upstream: Upstream,
    pub security: Security,
    pub uploads: Uploads,
    pub responses: Responses,
    pub models: Models,
    pub chat: Chat,
    pub slots: Slots,
    pub stream: Stream,
    pub logging: Logging,
    /// Every setting that is no secret with its origin, in the order of the table.
    pub settings: Vec<Effective>,
    /// What the owner should hear of, though it stops nothing.
    pub notices: Vec<Remark>,
}

/// Where the file of settings is, or would be.
#[derive(Debug)]
pub struct ConfigFile {
    pub path: PathBuf,
    pub exists: bool,
    /// Whether the owner named it, rather than it being the default.
    pub is_named: bool,
}

/// The listener.
#[derive(Debug)]
pub struct Server {
    /// A name or an IP address; an IPv6 address without brackets.
    pub host: String,
    /// 0 takes a free one.
    pub port: u16,
    pub max_body_bytes: u64,
    pub shutdown_grace: Duration,
    /// In place of `host` and `port`.
    pub unix_socket: Option<PathBuf>,
    pub tls: Option<KeyPair>,
    pub max_connections: u32,
    pub max_connections_per_client: u32,
    pub header_timeout: Duration,
    pub body_idle_timeout: Duration,
    pub body_timeout: Duration,
    pub write_timeout: Duration,
}

/// A certificate and its key, as PEM files.
#[derive(Debug)]
pub struct KeyPair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Server {
    /// What a client on this machine calls when the listener got `port`.
    pub fn base_url(&self, port: u16) -> String {
        match (&self.unix_socket, &self.tls) {
            // Whoever connects to a socket still has to say a host.
            (Some(_), _) => "http://localhost/v1".to_owned(),
            (None, Some(_)) => format!("https://{}:{port}/v1", host::for_clients(&self.host)),
            (None, None) => format!("http://{}:{port}/v1", host::for_clients(&self.host)),
        }
    }

    /// Whether only this machine can reach the listener, as far as the settings tell.
    pub fn is_local(&self) -> bool {
        self.unix_socket.is_some()
            || self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse().is_ok_and(is_loopback)
    }
}

#[derive(Debug)]
pub struct Paths {
    pub data_dir: PathBuf,
    pub logs_dir: PathBuf,
    /// Where the data directory was when the program had another name.
    pub former_data_dir: Option<PathBuf>,
}

impl Paths {
    /// The stored login.
    pub fn auth_file(&self) -> PathBuf {
        self.data_dir.join("auth.json")
    }
}

/// How logins are made and kept.
#[derive(Debug)]
pub struct Auth {
    pub storage: Storage,
    pub browser_open: bool,
    pub login_timeout: Duration,
}

/// The other side. The addresses have no slash at their end.
#[derive(Debug)]
pub struct Upstream {
    pub base_url: String,
    pub issuer_base_url: String,
    pub client_id: String,
    /// Never `auto`.
    pub client_version: String,
    /// Whether a newer one that is installed counts in its place.
    pub follows_codex: bool,
    pub connect_timeout: Duration,
    /// From a request to the head of its answer.
    pub headers_timeout: Duration,
    /// From there to its first event.
    pub first_event_timeout: Duration,
    /// From one event to the next.
    pub silence_timeout: Duration,
    pub total_timeout: Option<Duration>,
    /// For one picture.
    pub image_timeout: Duration,
    /// Whether a parameter that is refused is left out and remembered.
    pub learn_parameters: bool,
}

/// Who may call, and how often.
#[derive(Debug)]
pub struct Security {
    pub require_bearer_auth: bool,
    /// The token from a variable, which counts before the file.
    pub bearer_token: Option<Sourced<Secret>>,
    pub bearer_token_file: PathBuf,
    pub auto_generate_bearer_token: bool,
    pub rate_limit_per_minute: u32,
    pub rate_limit_burst: u32,
    pub concurrent_requests_per_ip: u32,
    pub failed_auth_window: Duration,
    pub failed_auth_max_attempts: u32,
    pub failed_auth_block: Duration,
    pub network_scope: Scope,
    /// Whether the listener may be open to others although no token is asked for.
    pub allow_open_network: bool,
    /// In lower case, without ports.
    pub allowed_hosts: Vec<String>,
    /// As browsers send them.
    pub allowed_origins: Vec<String>,
    /// Whose X-Forwarded-For counts; `None` when nobody's does.
    pub forwarded_from: Option<Vec<Network>>,
}

#[derive(Debug)]
pub struct Uploads {
    pub max_upload_bytes: u64,
    pub max_total_upload_bytes: u64,
}

/// Answers that are kept.
#[derive(Debug)]
pub struct Responses {
    pub stateful: bool,
    /// For those that nobody goes on from.
    pub retention: Duration,
    pub max_total_bytes: u64,
}

#[derive(Debug)]
pub struct Stream {
    /// At most 15 seconds; `None` sends no comments.
    pub keep_alive: Option<Duration>,
    pub commit_after: Duration,
}

/// What models are called.
#[derive(Debug)]
pub struct Models {
    pub aliases: Vec<Alias>,
}

/// What chat clients get.
#[derive(Debug)]
pub struct Chat {
    pub reasoning: Reasoning,
}

/// Several accounts behind one address.
#[derive(Clone, Debug)]
pub struct Slots {
    pub policy: Policy,
    pub thresholds: Thresholds,
    /// Percent of each window that are not to be used.
    pub reserve: f64,
    /// Requests at once for each; 0 is no limit.
    pub concurrent: u32,
    pub waiting: u32,
    pub patience: Duration,
    pub affinity: Duration,
    pub usage_refresh: Duration,
    pub retries: u32,
    pub backoff: Duration,
}

/// The traffic log.
#[derive(Debug)]
pub struct Logging {
    pub enabled: bool,
    pub stream_lines: bool,
}

/// Why the settings cannot be used. Shown as a list, one line each.
#[derive(Debug)]
pub struct Problems {
    /// Never empty.
    pub problems: Vec<Remark>,
    /// What is odd besides, and may well be the reason.
    pub notices: Vec<Remark>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The settings cannot be used:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

impl Config {
    /// Lays `flags` over `environment`, the file and the defaults.
    ///
    /// # Errors
    ///
    /// When something that counts cannot be read: all of it.
    pub fn load(flags: Layer, environment: &Environment) -> Result<Self, Problems> {
        let home = environment.home();
        let mut findings = Findings::default();
        let mut layers = vec![flags];
        layers.extend(variables(environment, &mut findings));
        let mut values = Values::new(layers, home.as_deref(), findings);
        let file = config_file(&mut values);
        let config = resolve(&mut values, file);
        Self::found(config, values.findings)
    }

    /// The settings that a file with this content gives.
    ///
    /// # Errors
    ///
    /// As of [`Config::load`].
    #[cfg(any(test, feature = "internals"))]
    pub fn of_text(text: &str) -> Result<Self, Problems> {
        let (home, path) = (Path::new("/home/me"), PathBuf::from("/config.toml"));
        let mut findings = Findings::default();
        let layer = file::parse(&Arc::from(path.as_path()), text, &mut findings);
        let mut values = Values::new(vec![layer], Some(home), findings);
        let file = ConfigFile { exists: true, is_named: true, path };
        let config = resolve(&mut values, Some(file));
        Self::found(config, values.findings)
    }

    fn found(config: Option<Self>, findings: Findings) -> Result<Self, Problems> {
        let Findings { problems, notices } = findings;
        match config {
            Some(config) if problems.is_empty() => Ok(Self { notices, ..config }),
            Some(_) | None => Err(Problems { problems, notices }),
        }
    }

    /// Who may really connect, as far as the settings tell: a listener on this machine is for it.
    pub fn effective_scope(&self) -> Scope {
        if self.server.is_local() { Scope::Loopback } else { self.security.network_scope }
    }

    /// The text of a file that sets what this has beyond the defaults.
    ///
    /// # Errors
    ///
    /// When a path is not UTF-8, which no file can hold.
    pub fn to_toml(&self) -> Result<String, Unwritable> {
        template::render(&self.settings)
    }
}

fn config_file(values: &mut Values<'_>) -> Option<ConfigFile> {
    let Sourced { value: path, origin } = paths::config_file(values)?;
    let layer = file::read(&Arc::from(path.as_path()), &mut values.findings);
    values.push(layer);
    values.record(&table::CONFIG.about, &path, origin.clone());
    Some(ConfigFile { exists: path.exists(), is_named: origin != Origin::Default, path })
}

/// Takes every section, then puts them together, so that all problems are seen.
fn resolve(values: &mut Values<'_>, file: Option<ConfigFile>) -> Option<Config> {
    let server = resolve::server(values);
    let paths = resolve::paths(values);
    let (paths, token_file) = paths.map_or((None, None), |(paths, file)| (Some(paths), Some(file)));
    let auth = resolve::auth(values);
    let upstream = resolve::upstream(values);
    let security = resolve::security(values, token_file, server.as_ref());
    let uploads = resolve::uploads(values);
    let responses = resolve::responses(values);
    let models = resolve::models(values);
    let chat = resolve::chat(values);
    let slots = resolve::slots(values);
    let stream = resolve::stream(values);
    let logging = resolve::logging(values);
    let mut settings = std::mem::take(&mut values.effective);
    settings
        .sort_by_key(|setting| SETTINGS.iter().position(|about| about.key == setting.about.key));
    Some(Config {
        file: file?,
        server: server?,
        paths: paths?,
        auth: auth?,
        upstream: upstream?,
        security: security?,
        uploads: uploads?,
        responses: responses?,
        models: models?,
        chat: chat?,
        slots: slots?,
        stream: stream?,
        logging: logging?,
        settings,
        notices: Vec::new(),
    })
}

/// One layer for each prefix, strongest first.
fn variables(environment: &Environment, findings: &mut Findings) -> Vec<Layer> {
    let prefixes = [table::PREFIX, table::SINGULAR, table::NAMELESS];
    prefixes.into_iter().map(|prefix| of_prefix(prefix, environment, findings)).collect()
}

fn of_prefix(prefix: &str, environment: &Environment, findings: &mut Findings) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in environment.starting_with(prefix) {
        let suffix = name.strip_prefix(prefix).unwrap_or(name);
        let about = SETTINGS
            .iter()
            .find(|about| about.variable == suffix && about.prefixes.contains(&prefix));
        match about {
            Some(about) => {
                layer.set(about.key, word(value), Origin::Variable(name.to_owned()));
            }
            // Other programs may have variables of this prefix.
            None if prefix == table::NAMELESS => {}
            None => findings.notice(name, names::unknown_variable(prefix, suffix)),
        }
    }
    layer
}

/// The text of a flag or variable, whose type shows when a setting reads it.
pub fn word(text: &(impl AsRef<OsStr> + ?Sized)) -> Raw {
    Raw::Word(text.as_ref().to_owned())
}

/// `path` as it is shown.
pub fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
