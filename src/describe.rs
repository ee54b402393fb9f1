//! What is set up and what is missing, as documents: for `airelays status` and for the status route.
//!
//! **Invariant:** settings and files are looked at when asked, never remembered.
//!
//! Not here: how a document looks on the terminal (`cli`).

use std::path::Path;

use serde::Serialize;

use crate::{
    api::status::Described,
    auth::{LoginError, file::Store, stored::StoredLogin, vault::SERVICE},
    config::{Config, shown},
    relay_token::{self, RelayToken, Source},
    roster::{Member, Roster},
    secret::Secret,
    transport::chain,
};

/// The name of the product, as people read it.
pub const APP_NAME: &str = "AIRelays";

/// The token that the settings name, wherever it is.
pub fn configured_token(config: &Config) -> RelayToken {
    let security = &config.security;
    match &security.bearer_token {
        Some(token) => RelayToken::fixed(token.value.clone(), Source::Variable),
        None => RelayToken::in_file(security.bearer_token_file.clone()),
    }
}

/// The token as it is now.
#[derive(Debug)]
pub struct Present {
    pub token: Option<Secret>,
    /// Why a token that should be there cannot be read.
    pub problem: Option<String>,
    source: Source,
}

impl Present {
    pub fn of(config: &Config) -> Self {
        let configured = configured_token(config);
        let (token, problem) = match configured.current() {
            Ok(token) => (token, None),
            Err(error) => (None, Some(format!("unreadable: {error}"))),
        };
        Self { token, problem, source: configured.source() }
    }

    /// `None` when there is no token.
    pub fn source(&self) -> Option<&'static str> {
        self.token.is_some().then(|| self.source.as_str())
    }
}

/// What the status route shows of settings and files: the same as the command, of the login in
/// `store`.
pub fn described(
    config: &Config,
    store: &Store,
    issuer: &str,
) -> Result<Described, serde_json::Error> {
    let present = Present::of(config);
    let stores = stores(store);
    let auth = Auth::of(config, stores.first().unwrap_or(store), issuer);
    let others = stores.iter().skip(1).map(|store| Auth::of(config, store, issuer));
    Ok(Described {
        has_login: auth.login.ready_for_requests
            || others.into_iter().any(|auth| auth.login.ready_for_requests),
        has_token: present.token.is_some(),
        relay: serde_json::value::to_raw_value(&Relay::of(config, &present))?,
        auth: serde_json::value::to_raw_value(&auth)?,
    })
}

/// The logins of all slots whose first one is in `first`, in the owner's order; that one alone when
/// they cannot be listed.
pub fn stores(first: &Store) -> Vec<Store> {
    let dir = first.path().parent().unwrap_or_else(|| Path::new("."));
    let members = Roster::new(dir).logins().map_or(Vec::new(), |(listing, _)| listing.members);
    let store = |member: &Member| {
        let is_first = member.auth_file == first.path();
        if is_first { first.clone() } else { first.beside(&member.auth_file) }
    };
    members.iter().map(store).collect()
}

/// The relay's own side. The keys and their order are what other programs read.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the document is what it is")]
pub struct Relay {
    app_name: &'static str,
    config_path: String,
    config_exists: bool,
    host: String,
    port: u16,
    auth_storage_mode: &'static str,
    data_dir: String,
    auth_file: String,
    logs_dir: String,
    browser_open: bool,
    require_bearer_auth: bool,
    bearer_token_file: String,
    bearer_token_present: bool,
    bearer_token_source: Option<&'static str>,
    bearer_token_fingerprint: Option<String>,
    auto_generate_bearer_token: bool,
    rate_limit_per_minute: u32,
    rate_limit_burst: u32,
    concurrent_requests_per_ip: u32,
    failed_auth_window_seconds: u64,
    failed_auth_max_attempts: u32,
    failed_auth_block_seconds: u64,
    trust_x_forwarded_for: bool,
    max_upload_bytes: u64,
    max_total_upload_bytes: u64,
    client_base_url: String,
    bearer_token_problem: Option<String>,
    network_scope: &'static str,
    effective_network_scope: &'static str,
    unix_socket: Option<String>,
}

impl Relay {
    pub fn of(config: &Config, present: &Present) -> Self {
        let Config { file, server, paths, auth, security, uploads, .. } = config;
        Self {
            app_name: APP_NAME,
            config_path: shown(&file.path),
            config_exists: file.exists,
            host: server.host.clone(),
            port: server.port,
            auth_storage_mode: auth.storage.as_str(),
            data_dir: shown(&paths.data_dir),
            auth_file: shown(&paths.auth_file()),
            logs_dir: shown(&paths.logs_dir),
            browser_open: auth.browser_open,
            require_bearer_auth: security.require_bearer_auth,
            bearer_token_file: shown(&security.bearer_token_file),
            bearer_token_present: present.token.is_some(),
            bearer_token_source: present.source(),
            bearer_token_fingerprint: present.token.as_ref().map(relay_token::fingerprint),
            auto_generate_bearer_token: security.auto_generate_bearer_token,
            rate_limit_per_minute: security.rate_limit_per_minute,
            rate_limit_burst: security.rate_limit_burst,
            concurrent_requests_per_ip: security.concurrent_requests_per_ip,
            failed_auth_window_seconds: security.failed_auth_window.as_secs(),
            failed_auth_max_attempts: security.failed_auth_max_attempts,
            failed_auth_block_seconds: security.failed_auth_block.as_secs(),
            trust_x_forwarded_for: security.forwarded_from.is_some(),
            max_upload_bytes: uploads.max_upload_bytes,
            max_total_upload_bytes: uploads.max_total_upload_bytes,
            client_base_url: server.base_url(server.port),
            bearer_token_problem: present.problem.clone(),
            network_scope: security.network_scope.as_str(),
            effective_network_scope: config.effective_scope().as_str(),
            unix_socket: server.unix_socket.as_deref().map(shown),
        }
    }
}

/// The upstream's side. The keys and their order are what other programs read.
#[derive(Serialize)]
pub struct Auth {
    #[serde(flatten)]
    pub login: StoredLogin,
    #[serde(rename = "auth_store_path")]
    pub store: String,
    keyring_service: &'static str,
    pub storage_mode: &'static str,
    pub problem: Option<String>,
}

impl Auth {
    /// Of the login in `store`, from the sign-in server at `issuer`.
    pub fn of(config: &Config, store: &Store, issuer: &str) -> Self {
        let (mut login, mut problem) = stored_login(store);
        if login.is_foreign(issuer) {
            login.ready_for_requests = false;
            problem = Some(LoginError::OtherIssuer.to_string());
        }
        Self {
            login,
            store: shown(store.path()),
            keyring_service: SERVICE,
            storage_mode: config.auth.storage.as_str(),
            problem,
        }
    }
}

/// The stored login, and what is wrong with it.
fn stored_login(store: &Store) -> (StoredLogin, Option<String>) {
    match store.describe() {
        Ok(login) => (login.unwrap_or_default(), None),
        Err(error) => (StoredLogin::default(), Some(sentence(&chain(&error)))),
    }
}

/// `text` with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}
