//! From layers to settings.
//!
//! Everything is looked at before anything is refused, so that the owner sees all mistakes at
//! once. Each section takes all of its settings first and is put together afterwards.
//!
//! **Invariant:** a section is missing only after a problem was noted.

use std::{path::PathBuf, time::Duration};

use super::{
    Auth, Chat, KeyPair, Logging, Models, Paths, Responses, Security, Server, Slots, Stream,
    Uploads, Upstream,
    layer::{Origin, Sourced, Values},
    paths,
    table::{self, DATA_DIR, Setting},
};
use crate::slot::policy::Thresholds;

/// The client version that `auto` stands for: the newest that the protocol was checked with.
const CLIENT_VERSION: &str = "0.156.1";
const AUTO: &str = "auto";

/// As long as the Codex client waits: models that think hard say nothing for minutes.
const SILENCE: Duration = Duration::from_mins(5);

pub fn server(values: &mut Values<'_>) -> Option<Server> {
    let host = values.take(&table::HOST);
    let port = values.take(&table::PORT);
    let max_body_bytes = values.take(&table::MAX_BODY_BYTES);
    let shutdown_grace = values.take(&table::SHUTDOWN_GRACE);
    let unix_socket = values.take(&table::UNIX_SOCKET);
    let tls_cert = values.take(&table::TLS_CERT);
    let tls_key = values.take(&table::TLS_KEY);
    let tls = tls_cert.zip(tls_key).map(|(cert, key)| key_pair(values, cert, key));
    let max_connections = values.take(&table::MAX_CONNECTIONS);
    let max_connections_per_client = values.take(&table::MAX_CONNECTIONS_PER_CLIENT);
    let header_timeout = values.take(&table::HEADER_TIMEOUT);
    let body_idle_timeout = values.take(&table::BODY_IDLE_TIMEOUT);
    let body_timeout = values.take(&table::BODY_TIMEOUT);
    let write_timeout = values.take(&table::WRITE_TIMEOUT);
    if let (Some(Some(_)), Some(Some(_))) = (&unix_socket, &tls) {
        let text = "has no effect: a Unix socket is not encrypted";
        values.findings.notice(table::TLS_CERT.about.key, text);
    }
    Some(Server {
        host: host?,
        port: port?,
        max_body_bytes: max_body_bytes?,
        shutdown_grace: shutdown_grace?,
        unix_socket: unix_socket?,
        tls: tls?,
        max_connections: max_connections?,
        max_connections_per_client: max_connections_per_client?,
        header_timeout: header_timeout?,
        body_idle_timeout: body_idle_timeout?,
        body_timeout: body_timeout?,
        write_timeout: write_timeout?,
    })
}

/// One without the other is a problem.
fn key_pair(
    values: &mut Values<'_>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Option<KeyPair> {
    let lacking = match (certificate, key) {
        (None, None) => return None,
        (Some(certificate), Some(key)) => return Some(KeyPair { certificate, key }),
        (Some(_), None) => &table::TLS_KEY,
        (None, Some(_)) => &table::TLS_CERT,
    };
    let text = "is needed as well: TLS takes a certificate and its key";
    values.findings.problem(lacking.about.key, text);
    None
}

/// The directories, and the token file because it may lie in one of them.
pub fn paths(values: &mut Values<'_>) -> Option<(Paths, PathBuf)> {
    let data_dir = paths::data_dir(values)?;
    values.record(&DATA_DIR.about, &data_dir.value, data_dir.origin.clone());
    let former = match data_dir.origin {
        Origin::Flag(_) => paths::data_dir_below_flags(values),
        Origin::Default | Origin::File { .. } | Origin::Variable(_) => None,
    };
    let moving = Moving { data_dir, former };
    let logs_dir = moving.below(values, &table::LOGS_DIR, "logs");
    let token_file = moving.below(values, &table::BEARER_TOKEN_FILE, "relay-token");
    let is_default = matches!(moving.data_dir.origin, Origin::Default);
    let former_data_dir = values.home.filter(|_| is_default).map(paths::former_data_dir);
    Some((Paths { data_dir: moving.data_dir.value, logs_dir, former_data_dir }, token_file))
}

/// A data directory that takes along what lies in it.
struct Moving {
    data_dir: Sourced<PathBuf>,
    /// Where it would be without the flag that names it now.
    former: Option<PathBuf>,
}

impl Moving {
    /// A path that is below the data directory unless given. One that a file or a variable gives
    /// moves along when it lies where it would lie anyway, because older releases wrote every
    /// path into the file.
    fn below(
        &self,
        values: &mut Values<'_>,
        setting: &'static Setting<PathBuf>,
        name: &str,
    ) -> PathBuf {
        let derived = || Sourced {
            value: self.data_dir.value.join(name),
            origin: match self.data_dir.origin {
                Origin::Flag(flag) => Origin::Flag(flag),
                Origin::Default | Origin::File { .. } | Origin::Variable(_) => Origin::Default,
            },
        };
        let path = match values.given(setting) {
            None => Sourced { origin: Origin::Default, ..derived() },
            Some(given) if matches!(given.origin, Origin::Flag(_)) => given,
            Some(given) => match &self.former {
                Some(former) if given.value == former.join(name) => derived(),
                Some(_) | None => given,
            },
        };
        values.record(&setting.about, &path.value, path.origin);
        path.value
    }
}

pub fn auth(values: &mut Values<'_>) -> Option<Auth> {
    let storage = values.take(&table::STORAGE);
    let browser_open = values.take(&table::BROWSER_OPEN);
    let login_timeout = values.take(&table::LOGIN_TIMEOUT);
    Some(Auth { storage: storage?, browser_open: browser_open?, login_timeout: login_timeout? })
}

pub fn upstream(values: &mut Values<'_>) -> Option<Upstream> {
    let base_url = values.take(&table::BASE_URL);
    let issuer_base_url = values.take(&table::ISSUER_BASE_URL);
    let client_id = values.take(&table::CLIENT_ID);
    let client_version = values.take(&table::CLIENT_VERSION);
    let connect_timeout = values.take(&table::CONNECT_TIMEOUT);
    let request_timeout = values.take(&table::REQUEST_TIMEOUT);
    let headers_timeout = values.take(&table::HEADERS_TIMEOUT);
    let first_event_timeout = values.take(&table::FIRST_EVENT_TIMEOUT);
    let silence_timeout = values.take(&table::SILENCE_TIMEOUT);
    let total_timeout = values.take(&table::TOTAL_TIMEOUT);
    let image_timeout = values.take(&table::IMAGE_TIMEOUT);
    let learn_parameters = values.take(&table::LEARN_PARAMETERS);
    let request_timeout = request_timeout?;
    let or = |own: Duration, usual| unless_zero(own).unwrap_or(usual);
    Some(Upstream {
        base_url: base_url?,
        issuer_base_url: issuer_base_url?,
        client_id: client_id?,
        follows_codex: client_version.as_deref() == Some(AUTO),
        client_version: match client_version? {
            auto if auto == AUTO => CLIENT_VERSION.to_owned(),
            version => version,
        },
        connect_timeout: connect_timeout?,
        headers_timeout: or(headers_timeout?, request_timeout),
        first_event_timeout: or(first_event_timeout?, request_timeout),
        silence_timeout: or(silence_timeout?, request_timeout.max(SILENCE)),
        total_timeout: total_timeout.map(unless_zero)?,
        image_timeout: image_timeout?,
        learn_parameters: learn_parameters?,
    })
}

pub fn security(
    values: &mut Values<'_>,
    bearer_token_file: Option<PathBuf>,
    server: Option<&Server>,
) -> Option<Security> {
    let require_bearer_auth = values.take(&table::REQUIRE_BEARER_AUTH);
    let bearer_token = values.given(&table::BEARER_TOKEN);
    let auto_generate_bearer_token = values.take(&table::AUTO_GENERATE_BEARER_TOKEN);
    let rate_limit_per_minute = values.take(&table::RATE_LIMIT_PER_MINUTE);
    let rate_limit_burst = values.take(&table::RATE_LIMIT_BURST);
    let concurrent_requests_per_ip = values.take(&table::CONCURRENT_REQUESTS_PER_IP);
    let failed_auth_window = values.take(&table::FAILED_AUTH_WINDOW);
    let failed_auth_max_attempts = values.take(&table::FAILED_AUTH_MAX_ATTEMPTS);
    let failed_auth_block = values.take(&table::FAILED_AUTH_BLOCK);
    let network_scope = values.take(&table::NETWORK_SCOPE);
    let allow_open_network = values.take(&table::ALLOW_OPEN_NETWORK);
    let allowed_hosts = values.take(&table::ALLOWED_HOSTS);
    let allowed_origins = values.take(&table::ALLOWED_ORIGINS);
    let trust_x_forwarded_for = values.take(&table::TRUST_X_FORWARDED_FOR);
    let trusted_proxies = values.take(&table::TRUSTED_PROXIES);
    if let Some(server) = server.filter(|server| !server.is_local()) {
        warn_of_network(values, server, require_bearer_auth);
    }
    Some(Security {
        require_bearer_auth: require_bearer_auth?,
        bearer_token,
        bearer_token_file: bearer_token_file?,
        auto_generate_bearer_token: auto_generate_bearer_token?,
        rate_limit_per_minute: rate_limit_per_minute?,
        rate_limit_burst: rate_limit_burst?,
        concurrent_requests_per_ip: concurrent_requests_per_ip?,
        failed_auth_window: failed_auth_window.map(Duration::from_secs)?,
        failed_auth_max_attempts: failed_auth_max_attempts?,
        failed_auth_block: failed_auth_block.map(Duration::from_secs)?,
        network_scope: network_scope?,
        allow_open_network: allow_open_network?,
        allowed_hosts: allowed_hosts?,
        allowed_origins: allowed_origins?,
        forwarded_from: (trust_x_forwarded_for?).then_some(trusted_proxies?),
    })
}

/// What an owner should know of a listener that other machines can reach.
fn warn_of_network(values: &mut Values<'_>, server: &Server, requires_token: Option<bool>) {
    let host = &server.host;
    if requires_token == Some(false) {
        let text = format!(
            "the listener {host} is open to the network and asks for no token: \
             whoever reaches it uses your login"
        );
        values.findings.notice(table::REQUIRE_BEARER_AUTH.about.key, text);
    }
    if server.tls.is_none() {
        let text = format!(
            "the listener {host} is open to the network without TLS: whoever can listen there \
             reads the relay token and what is said"
        );
        values.findings.notice(table::HOST.about.key, text);
    }
}

pub fn uploads(values: &mut Values<'_>) -> Option<Uploads> {
    let max_upload_bytes = values.take(&table::MAX_UPLOAD_BYTES);
    let max_total_upload_bytes = values.take(&table::MAX_TOTAL_UPLOAD_BYTES);
    Some(Uploads {
        max_upload_bytes: max_upload_bytes?,
        max_total_upload_bytes: max_total_upload_bytes?,
    })
}

pub fn responses(values: &mut Values<'_>) -> Option<Responses> {
    let stateful = values.take(&table::STATEFUL);
    let retention_days = values.take(&table::KEEP_ANSWERS);
    let max_total_bytes = values.take(&table::MAX_ANSWERS);
    Some(Responses {
        stateful: stateful?,
        retention: Duration::from_hours(24 * retention_days?),
        max_total_bytes: max_total_bytes?,
    })
}

pub fn stream(values: &mut Values<'_>) -> Option<Stream> {
    let keep_alive = values.take(&table::KEEP_ALIVE).map(Duration::from_secs);
    let commit_after = values.take(&table::COMMIT_AFTER);
    Some(Stream { keep_alive: keep_alive.map(unless_zero)?, commit_after: commit_after? })
}

pub fn models(values: &mut Values<'_>) -> Option<Models> {
    Some(Models { aliases: values.take(&table::MODEL_ALIASES)? })
}

pub fn chat(values: &mut Values<'_>) -> Option<Chat> {
    Some(Chat { reasoning: values.take(&table::CHAT_REASONING)? })
}

pub fn slots(values: &mut Values<'_>) -> Option<Slots> {
    let policy = values.take(&table::SLOT_POLICY);
    let five_hours = values.take(&table::LEAST_FIVE_HOURS);
    let week = values.take(&table::LEAST_WEEK);
    let reserve = values.take(&table::RESERVE);
    let concurrent = values.take(&table::SLOT_CONCURRENT);
    let waiting = values.take(&table::SLOT_WAITING);
    let patience = values.take(&table::SLOT_PATIENCE);
    let affinity = values.take(&table::AFFINITY);
    let usage_refresh = values.take(&table::USAGE_REFRESH);
    let retries = values.take(&table::RETRIES);
    let backoff = values.take(&table::BACKOFF);
    Some(Slots {
        policy: policy?,
        thresholds: Thresholds { five_hours: five_hours?, week: week? },
        reserve: reserve?,
        concurrent: concurrent?,
        waiting: waiting?,
        patience: patience?,
        affinity: affinity?,
        usage_refresh: usage_refresh?,
        retries: retries?,
        backoff: backoff?,
    })
}

pub fn logging(values: &mut Values<'_>) -> Option<Logging> {
    let enabled = values.take(&table::LOGGING);
    let stream_lines = values.take(&table::STREAM_LINES);
    Some(Logging { enabled: enabled?, stream_lines: stream_lines? })
}

fn unless_zero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}
