//! `GET /v1/relay/status`: what the relay knows of itself and of whoever asks.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    api::{error::ApiError, exchange::Exchange, json},
    clock::Clock,
    limit::{Client, Limits},
    store::Store,
    traffic::Traffic,
};

const ROUTES: &[&str] = &[
    "/v1/models",
    "/v1/models/{id}",
    "/v1/relay/status",
    "/v1/subscription/status",
    "/v1/account/rate_limits",
    "/v1/relay/balance",
    "/v1/relay/accounts/refresh",
    "/v1/relay/accounts/resets",
    "/v1/relay/accounts/resets/redeem",
    "/v1/relay/requests/{id}/explain",
    "/admin/slots",
    "/admin/slots/{id}/test",
    "/admin/slots/{id}/{action}",
    "/admin/policy",
    "/admin/refresh-usage",
    "/admin/stats",
    "/admin/dependency-map",
    "/admin/config",
    "/v1/files",
    "/v1/files/{file_id}",
    "/v1/files/{file_id}/content",
    "/v1/conversations",
    "/v1/conversations/{conversation_id}",
    "/v1/conversations/{conversation_id}/items",
    "/v1/conversations/{conversation_id}/items/{item_id}",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/completions",
    "/v1/responses",
    "/v1/responses/compact",
    "/v1/responses/{response_id}",
    "/v1/responses/{response_id}/input_items",
    "/v1/responses/{response_id}/cancel",
    "/v1/chat/completions",
    "/v1/chat/completions/{completion_id}",
    "/v1/chat/completions/{completion_id}/messages",
    "/no-tools/v1/models",
    "/no-tools/v1/models/{id}",
    "/no-tools/v1/completions",
    "/no-tools/v1/responses",
    "/no-tools/v1/responses/compact",
    "/no-tools/v1/chat/completions",
    "/no-tools/v1/files",
    "/no-tools/v1/files/{file_id}",
    "/no-tools/v1/files/{file_id}/content",
    "/no-tools/v1/conversations",
    "/no-tools/v1/conversations/{conversation_id}",
    "/no-tools/v1/conversations/{conversation_id}/items",
    "/no-tools/v1/conversations/{conversation_id}/items/{item_id}",
    "/no-tools/v1/responses/{response_id}",
    "/no-tools/v1/responses/{response_id}/input_items",
    "/no-tools/v1/responses/{response_id}/cancel",
    "/no-tools/v1/chat/completions/{completion_id}",
    "/no-tools/v1/chat/completions/{completion_id}/messages",
];

/// What only the shell knows: settings, and the state of the files that they name.
#[derive(Debug)]
pub struct Described {
    /// The settings as `airelays status --json` shows them.
    pub relay: Box<RawValue>,
    /// The stored login, likewise.
    pub auth: Box<RawValue>,
    pub has_login: bool,
    pub has_token: bool,
}

/// Reads settings and files anew; may block.
pub type Describe = Arc<dyn Fn() -> Result<Described, serde_json::Error> + Send + Sync>;

#[derive(Clone)]
pub struct Status {
    pub describe: Describe,
    pub limits: Limits,
    pub clock: Clock,
    pub traffic: Traffic,
    pub store: Store,
    pub requires_token: bool,
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status")
            .field("requires_token", &self.requires_token)
            .finish_non_exhaustive()
    }
}

pub fn router(status: Status) -> Router {
    Router::new().route("/v1/relay/status", get(show)).with_state(status)
}

#[derive(Serialize)]
struct Document<'a> {
    object: &'static str,
    app_name: &'static str,
    version: &'static str,
    ready: Ready,
    auth: &'a RawValue,
    relay: &'a RawValue,
    security: Security,
    storage: Storage,
    traffic_log: Log,
    supported_routes: &'static [&'static str],
}

#[derive(Serialize)]
struct Ready {
    upstream_auth: bool,
    relay_token: bool,
}

#[derive(Serialize)]
struct Security {
    protected_routes: [&'static str; 3],
    require_bearer_auth: bool,
    bearer_token_present: bool,
    rate_limit_per_minute: u32,
    rate_limit_burst: u32,
    concurrent_requests_per_ip: u32,
    failed_auth_window_seconds: u64,
    failed_auth_max_attempts: u32,
    failed_auth_block_seconds: u64,
    tracked_clients: usize,
    blocked_clients: usize,
    active_clients: usize,
    client: You,
}

/// The client that asks.
#[derive(Serialize)]
struct You {
    ip: String,
    allowance_remaining: f64,
    active_requests: u32,
    failed_auth_attempts: u32,
    blocked_for_seconds: u64,
}

/// What is kept for clients.
#[derive(Default, Serialize)]
struct Storage {
    available: bool,
    file_count: i64,
    total_bytes: i64,
    conversation_count: i64,
    response_count: i64,
    /// Why it cannot be used.
    error: Option<String>,
}

impl Storage {
    async fn of(store: &Store) -> Self {
        match store.figures_so_far().await {
            Ok(kept) => Self {
                available: true,
                file_count: kept.files,
                total_bytes: kept.file_bytes,
                conversation_count: kept.conversations,
                response_count: kept.answers,
                error: None,
            },
            Err(error) => Self { error: Some(error.to_string()), ..Self::default() },
        }
    }
}

#[derive(Serialize)]
struct Log {
    records_written: u64,
    records_lost: u64,
    last_error: Option<String>,
}

async fn show(State(status): State<Status>, exchange: Exchange) -> Result<Response, ApiError> {
    let describe = Arc::clone(&status.describe);
    let described = tokio::task::spawn_blocking(move || describe())
        .await
        .map_err(|error| ApiError::broken(&error))?
        .map_err(|error| ApiError::broken(&error))?;
    let now = status.clock.instant();
    let (counts, you) =
        (status.limits.counts(now), status.limits.snapshot(Client::from(exchange.client), now));
    let (log, rules) = (status.traffic.stats(), status.limits.settings());
    let document = Document {
        object: "relay.status",
        app_name: "AIRelays",
        version: env!("CARGO_PKG_VERSION"),
        ready: Ready { upstream_auth: described.has_login, relay_token: described.has_token },
        auth: &described.auth,
        relay: &described.relay,
        security: Security {
            protected_routes: ["/v1/*", "/no-tools/v1/*", "/admin/*"],
            require_bearer_auth: status.requires_token,
            bearer_token_present: described.has_token,
            rate_limit_per_minute: rules.per_minute,
            rate_limit_burst: rules.burst,
            concurrent_requests_per_ip: rules.concurrent,
            failed_auth_window_seconds: rules.failed_window.as_secs(),
            failed_auth_max_attempts: rules.failed_max,
            failed_auth_block_seconds: rules.failed_block.as_secs(),
            tracked_clients: counts.tracked,
            blocked_clients: counts.blocked,
            active_clients: counts.active,
            client: You {
                ip: exchange.client.to_string(),
                allowance_remaining: (you.allowance_remaining * 100.0).round() / 100.0,
                active_requests: you.active_requests,
                failed_auth_attempts: you.failed_auth_attempts,
                blocked_for_seconds: you.blocked_for.map_or(0, |wait| wait.as_secs()),
            },
        },
        storage: Storage::of(&status.store).await,
        traffic_log: Log {
            records_written: log.lines_written,
            records_lost: log.lines_lost,
            last_error: log.last_error,
        },
        supported_routes: ROUTES,
    };
    json(&document)
}
