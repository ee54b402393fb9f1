//! `GET /v1/subscription/status` and `/v1/account/rate_limits`: what is left of the owner's accounts,
//! asked of the upstream when somebody asks here and what it said last is not recent.

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
    relay::{
        Relay,
        documents::{Captured, Wanted as Age},
        refresh::Refreshed,
    },
    slot::{SlotId, pool::Slot, window::Reading},
    upstream::subscription::{Images, Status},
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
    refresh: bool,
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
                "refresh" => wanted.refresh = flag("refresh", &value)?,
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
    let age = if wanted.refresh { Age::New } else { Age::Recent };
    if wanted.all {
        let refreshed = subscription.relay.documents(None, age).await;
        return all(&subscription, &refreshed, wanted.raw);
    }
    let id = subscription.meant(wanted.account.as_deref())?;
    let refreshed = subscription.relay.documents(Some(&id), age).await;
    let told = refreshed.into_iter().next().ok_or_else(|| ApiError::unknown_slot(id.as_str()))?;
    let now = subscription.clock.now();
    let captured = told.outcome.map_err(|refused| ApiError::of_refusal(refused, now))?;
    let images = subscription.images(&id);
    json(&subscription.status(&captured, images.as_ref(), wanted.raw))
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
    let images: Vec<_> = refreshed.iter().map(|told| subscription.images(&told.id)).collect();
    let accounts = refreshed.iter().zip(&images).map(|(told, images)| {
        let slug = told.id.to_string();
        match &told.outcome {
            Ok(told) => {
                let status = subscription.status(told, images.as_ref(), is_raw);
                Entry { slug, status, error: None }
            }
            Err(refused) => Entry { slug, status: None, error: Some(refused.to_string()) },
        }
    });
    json(&Answer { object: "accounts.subscription_status", accounts: accounts.collect() })
}

impl Subscription {
    /// What was last read of the window of the slot's pictures.
    fn images(&self, id: &SlotId) -> Option<Reading> {
        self.relay.slots.view(|pool, _| pool.slot(id).and_then(Slot::images).cloned())
    }

    fn status<'a>(
        &self,
        captured: &'a Captured,
        images: Option<&'a Reading>,
        is_raw: bool,
    ) -> Option<Status<'a>> {
        let images = images.and_then(|reading| Images::read(reading, self.clock.now()));
        Status::read(&captured.document, captured.at, is_raw).map(|it| it.with_images(images))
    }

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
