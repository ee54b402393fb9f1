//! The order in which things happen to a request: a login, attempts, an answer.
//!
//! Knows the upstream's adapter and the login's, which do not know each other, and nothing of
//! HTTP towards the client.

mod attempt;
mod compact;
mod learned;
mod naming;
mod opened;
mod patience;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;

use self::learned::Learned;
pub use self::{
    attempt::Asked,
    opened::{Opened, cut_short},
    patience::Limits,
};
use crate::{
    auth::{LoginError, refresh::Login},
    clock::Clock,
    id::RequestId,
    traffic::{Phase, Record, Traffic},
    transport::chain,
    upstream::{
        Upstream,
        catalogue::{Catalogue, Models},
        failure::{Failure, Refusal},
    },
    wire::{model::Alias, request::Translated},
};

/// What answers are bounded by, and what else the owner decides about them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For the events of an answer.
    pub limits: Limits,
    /// The longest time that an answer may take, if there is such a limit.
    pub total: Option<Duration>,
    /// Whether a parameter that the upstream refuses is left out and remembered.
    pub learn: bool,
    /// The owner's own names of models.
    pub aliases: Vec<Alias>,
}

/// No answer, and why.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Attempt(Failure),
    #[error("the upstream has no such model for this account: {}", .refusal.message)]
    Model {
        refusal: Box<Refusal>,
        /// Names that resemble the one that was asked for.
        suggestions: Vec<String>,
    },
}

/// What a relay is made of.
#[derive(Debug)]
pub struct Parts {
    pub upstream: Upstream,
    pub catalogue: Catalogue,
    pub login: Login,
    pub traffic: Traffic,
    pub clock: Clock,
}

/// Serves requests with the owner's login. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    upstream: Upstream,
    catalogue: Catalogue,
    login: Login,
    traffic: Traffic,
    clock: Clock,
    settings: Settings,
    learned: Learned,
}

impl std::ops::Deref for Relay {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Relay {
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let Parts { upstream, catalogue, login, traffic, clock } = parts;
        let learned = Learned::default();
        Self(Arc::new(Inner { upstream, catalogue, login, traffic, clock, settings, learned }))
    }

    /// The models that the owner's login may ask.
    ///
    /// # Errors
    ///
    /// When there is no usable login, or no list is known and none came in time.
    pub async fn models(&self) -> Result<Arc<Models>, Refused> {
        let credential = self.login.credential().await?;
        let listed = match self.catalogue.models(&credential).await {
            Err(Failure::Unauthorized { .. }) => {
                let credential = self.login.after_unauthorized(&credential).await?;
                self.catalogue.models(&credential).await
            }
            listed => listed,
        };
        listed.map_err(Refused::Attempt)
    }

    async fn log_request(&self, id: &RequestId, request: &Translated, body: &Bytes) {
        let record = Record::new(id, Phase::UpstreamRequest)
            .text("method", "POST")
            .text("url", self.upstream.inference_url())
            .text("session_id", request.session.clone())
            .body("body", Some("application/json"), body.clone());
        self.traffic.record(record).await;
    }

    async fn log_adaptation(&self, id: &RequestId, before: &Translated, after: &Translated) {
        let left_out = after.ignored.get(before.ignored.len()..).unwrap_or_default();
        let record = Record::new(id, Phase::CompatibilityAdaptation)
            .list("ignored_parameters", left_out)
            .text("reason", "the upstream refused it");
        self.traffic.record(record).await;
    }

    async fn log_answer(&self, id: &RequestId, headers: &HeaderMap) {
        let record = Record::new(id, Phase::UpstreamResponse)
            .number("status_code", 200)
            .headers("headers", headers);
        self.traffic.record(record).await;
    }

    async fn log_failure(&self, id: &RequestId, failure: &Failure) {
        let record = Record::new(id, Phase::UpstreamResponseError).text("error", chain(failure));
        self.traffic.record(record).await;
    }
}
