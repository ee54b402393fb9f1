//! `/admin/*` and what goes with it below `/v1/relay`: the slots, seen and steered while the relay
//! runs.
//!
//! What the owner decides here is on the disk before the answer says so, and holds after a restart.
//! These routes stand behind the same guards as all others: the relay token, and no page of a
//! foreign origin.

mod controls;
mod explain;
mod resets;
pub mod stats;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post, put},
};
use http::Uri;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    api::{error::ApiError, guard::admission::REDEEM, json, status::Describe},
    clock::Clock,
    relay::{
        Relay,
        view::{Refreshes, SlotList},
    },
};

use self::stats::Stats;

/// What the routes need.
#[derive(Clone)]
pub struct Admin {
    pub relay: Relay,
    pub describe: Describe,
    pub stats: Stats,
    pub clock: Clock,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("relay", &self.relay).finish_non_exhaustive()
    }
}

pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/admin/slots", get(list))
        .route("/admin/slots/{id}/test", post(controls::test))
        .route("/admin/slots/{id}/{action}", post(controls::act))
        .route("/admin/policy", get(controls::policy).put(controls::set_policy))
        .route("/admin/stats", get(show_stats))
        .route("/admin/dependency-map", get(dependency_map))
        .route("/admin/config", get(config))
        .route("/admin/refresh-usage", post(refresh_usage))
        .route("/v1/relay/balance", get(controls::balance))
        .route("/v1/relay/balance", put(controls::set_balance))
        .route("/v1/relay/accounts/refresh", post(refresh_usage))
        .route("/v1/relay/accounts/resets", get(resets::list))
        .route(REDEEM, post(resets::redeem))
        .route("/v1/relay/requests/{id}/explain", get(explain::explain))
        .with_state(admin)
}

/// The slots as they are; their files are read where that holds up nobody.
async fn slots(admin: &Admin) -> Result<SlotList, ApiError> {
    let slots = admin.relay.slots.clone();
    let listed = tokio::task::spawn_blocking(move || {
        // What a command has just changed should be seen at once.
        if let Err(error) = slots.look_again() {
            tracing::debug!(error = &*error.to_string(), "the slots stay as they were");
        }
        SlotList::of(&slots)
    });
    listed.await.map_err(|error| ApiError::broken(&error))
}

async fn list(State(admin): State<Admin>) -> Result<Response, ApiError> {
    json(&slots(&admin).await?)
}

/// The value of a parameter of the query.
fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Asks the upstream what is left of every slot, or of the one that is named.
async fn refresh_usage(State(admin): State<Admin>, uri: Uri) -> Result<Response, ApiError> {
    let id = parameter(&uri, "slot").map(|id| controls::known(&admin, id)).transpose()?;
    let outcomes = admin.relay.refresh_usage(id.as_ref()).await;
    json(&Refreshes::of(&outcomes, &slots(&admin).await?))
}

/// Counters since the start, and the latest requests.
async fn show_stats(State(admin): State<Admin>) -> Result<Response, ApiError> {
    let described = described(&admin).await?;
    json(&admin.stats.report(&admin.clock, &described, &DependencyMap::NOW))
}

async fn config(State(admin): State<Admin>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Answer<'a> {
        config: &'a RawValue,
    }
    json(&Answer { config: &described(&admin).await? })
}

/// The settings, without anything that is a secret.
async fn described(admin: &Admin) -> Result<Box<RawValue>, ApiError> {
    let describe = Arc::clone(&admin.describe);
    let described = tokio::task::spawn_blocking(move || describe());
    let described = described.await.map_err(|error| ApiError::broken(&error))?;
    Ok(described.map_err(|error| ApiError::broken(&error))?.relay)
}

async fn dependency_map() -> Result<Response, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        dependency_map: DependencyMap,
    }
    json(&Answer { dependency_map: DependencyMap::NOW })
}

/// What each part of the program stands on. There is one way for each, so it never changes.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DependencyMap {
    auth: Part,
    usage: Part,
    runner: Part,
    state_control_plane: Part,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    configured_backend: &'static str,
    supported_backends: &'static [&'static str],
    status: &'static str,
    used_by: &'static [&'static str],
}

const fn part(backends: &'static [&'static str], used_by: &'static [&'static str]) -> Part {
    Part {
        configured_backend: backends[0],
        supported_backends: backends,
        status: "OpenClaw-independent",
        used_by,
    }
}

impl DependencyMap {
    pub const NOW: Self = Self {
        auth: part(&["native"], &["login", "slot login", "slot import"]),
        usage: part(&["codex-api"], &["refresh-usage", "usage", "slot list"]),
        runner: part(&["codex-direct"], &["slot test", "serve"]),
        state_control_plane: part(
            &["local-runtime"],
            &["slot list", "slot enable", "slot disable", "slot remove", "slot policy"],
        ),
    };
}
