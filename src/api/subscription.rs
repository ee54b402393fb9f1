//! `GET /v1/subscription/status` and `/v1/account/rate_limits`: what is left of the owner's accounts,
//! asked of the upstream when somebody asks here.

use axum::{
    Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use http::Uri;
use serde::Serialize;

use crate::{
    api::{error::ApiError, json},
    clock::Clock,
    relay::{Relay, refresh::Refreshed},
    slot::SlotId,
    upstream::subscription::Status,
};

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub relay: Relay,
    pub clock: Clock,
}

pub const PATHS: &[&str] = &["/v1/subscription/status", "/v1/account/rate_limits"];

pub fn router(subscription: Subscription) -> Router {
    let paths = PATHS.iter();
    paths
        .fold(Router::new(), |router, path| router.route(path, get(status)))
        .with_state(subscription)
}

/// What the query says.
#[derive(Debug, Default)]
struct Wanted {
    account: Option<String>,
    all: bool,
    raw: bool,
}

impl Wanted {
    fn read(uri: &Uri) -> Result<Self, ApiError> {
        let mut wanted = Self::default();
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(pairs) = pairs.map_err(|_| ApiError::bad_query("query"))?;
        for (name, value) in pairs {
            match &*name {
                "account" | "slot" => wanted.account = Some(value),
                "all_accounts" => wanted.all = flag("all_accounts", &value)?,
                "raw" => wanted.raw = flag("raw", &value)?,
                // There is one.
                "provider" if value != "openai" => return Err(ApiError::bad_query("provider")),
                _ => {}
            }
        }
        Ok(wanted)
    }
}

fn flag(name: &'static str, value: &str) -> Result<bool, ApiError> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Ok(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Ok(false),
        _ => Err(ApiError::bad_query(name)),
    }
}

async fn status(State(subscription): State<Subscription>, uri: Uri) -> Result<Response, ApiError> {
    let wanted = Wanted::read(&uri)?;
    if wanted.all {
        let refreshed = subscription.relay.refresh_usage(None).await;
        return all(&subscription, &refreshed, wanted.raw);
    }
    let id = subscription.meant(wanted.account.as_deref())?;
    let refreshed = subscription.relay.refresh_usage(Some(&id)).await;
    let told = refreshed.into_iter().next().ok_or_else(|| ApiError::unknown_slot(id.as_str()))?;
    let now = subscription.clock.now();
    let document = told.outcome.map_err(|refused| ApiError::of_refusal(refused, now))?;
    json(&Status::read(&document, now, wanted.raw))
}

/// Those of all accounts; what is wrong with one is said in its place.
fn all(
    subscription: &Subscription,
    refreshed: &[Refreshed],
    is_raw: bool,
) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Answer<'a> {
        object: &'static str,
        accounts: Vec<Entry<'a>>,
    }
    #[derive(Serialize)]
    struct Entry<'a> {
        slug: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<Status<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }
    let now = subscription.clock.now();
    let accounts = refreshed.iter().map(|told| {
        let slug = told.id.to_string();
        match &told.outcome {
            Ok(told) => Entry { slug, status: Status::read(told, now, is_raw), error: None },
            Err(refused) => Entry { slug, status: None, error: Some(refused.to_string()) },
        }
    });
    json(&Answer { object: "accounts.subscription_status", accounts: accounts.collect() })
}

impl Subscription {
    /// The slot that is named, or the first that takes part.
    fn meant(&self, account: Option<&str>) -> Result<SlotId, ApiError> {
        let slots = &self.relay.slots;
        let Some(text) = account else {
            let first = slots.accounts().into_iter().next().map(|(id, _)| id);
            return Ok(first.unwrap_or_else(SlotId::first));
        };
        slots.meant(text).ok_or_else(|| ApiError::unknown_slot(text))
    }
}
