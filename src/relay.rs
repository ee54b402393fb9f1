//! The order in which things happen to a request: a login, attempts, an answer.
//!
//! Knows the upstream's adapter and the login's, which do not know each other, and nothing of
//! HTTP towards the client.

mod attempt;
mod compact;
pub mod documents;
mod failover;
mod fault;
pub mod images;
mod learned;
mod line;
mod naming;
mod opened;
mod patience;
pub mod refresh;
pub mod resets;
pub mod slots;
pub mod story;
pub mod trial;
pub mod view;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::HeaderMap;

pub use self::{
    attempt::Asked,
    failover::NoneLeft,
    opened::{Opened, cut_short},
    patience::Limits,
};
use self::{
    documents::Documents,
    learned::Learned,
    slots::{Account, Slots},
    story::Stories,
};
use crate::{
    auth::LoginError,
    clock::Clock,
    id::RequestId,
    slot::SlotId,
    traffic::{Phase, Record, Traffic},
    transport::chain,
    upstream::{
        Upstream,
        catalogue::Models,
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
    /// How often all slots are tried again when what failed may pass by itself.
    pub retries: u32,
    /// How long it is waited before the first of these; twice as long before the next.
    pub backoff: Duration,
    /// How long one picture may take, from sending the request to the end of the answer.
    pub image_timeout: Duration,
}

/// No answer, and why.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// Nobody could be asked, or nobody is left to be asked.
    #[error("no slot can serve the request now: {0}")]
    NoSlot(Box<NoneLeft>),
}

/// What a relay is made of.
#[derive(Debug)]
pub struct Parts {
    pub upstream: Upstream,
    pub slots: Slots,
    pub traffic: Traffic,
    pub clock: Clock,
}

/// Serves requests with the owner's logins. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    upstream: Upstream,
    pub slots: Slots,
    pub stories: Stories,
    traffic: Traffic,
    clock: Clock,
    settings: Settings,
    learned: Learned,
    documents: Documents,
}

impl std::ops::Deref for Relay {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Relay {
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let Parts { upstream, slots, traffic, clock } = parts;
        Self(Arc::new(Inner {
            upstream,
            slots,
            stories: Stories::default(),
            traffic,
            clock,
            settings,
            learned: Learned::default(),
            documents: Documents::default(),
        }))
    }

    /// Speaks as a client of `version` from now on, if that is newer. Whether it is.
    pub fn speak_as(&self, version: &str) -> bool {
        let is_newer = self.upstream.speak_as(version);
        if is_newer {
            for (_, account) in self.slots.all_accounts() {
                account.catalogue.outdate();
            }
        }
        is_newer
    }

    /// The models that the owner's logins may ask, of the first that has each.
    ///
    /// # Errors
    ///
    /// When there is no usable login, or no list is known and none came in time.
    pub async fn models(&self) -> Result<Arc<Models>, Refused> {
        let accounts = self.slots.accounts();
        let lists =
            join_all(accounts.iter().map(|(id, account)| self.models_of(id, account))).await;
        let mut lists = lists.into_iter();
        let first = lists.next().unwrap_or(Err(Refused::Login(LoginError::Missing)));
        let rest: Vec<_> = lists.filter_map(Result::ok).collect();
        match (first, rest.split_first()) {
            (first, None) => first,
            (Ok(first), Some(_)) => Ok(Arc::new(union(&first, &rest))),
            (Err(_), Some((next, rest))) => Ok(Arc::new(union(next, rest))),
        }
    }

    /// The models of one slot's account, which choices go by from then on.
    ///
    /// # Errors
    ///
    /// As of [`models`](Self::models).
    pub async fn models_of(&self, id: &SlotId, account: &Account) -> Result<Arc<Models>, Refused> {
        let Account { login, catalogue } = account;
        let credential = login.credential().await?;
        let listed = match catalogue.models(&credential).await {
            Err(Failure::Unauthorized { .. }) => {
                let credential = login.after_unauthorized(&credential).await?;
                catalogue.models(&credential).await
            }
            listed => listed,
        };
        let models = listed.map_err(Refused::Attempt)?;
        let names: Arc<[String]> = models.entries.iter().map(|it| it.slug.clone()).collect();
        self.slots.change(|pool, _| pool.set_models(id, names));
        Ok(models)
    }

    async fn log_request(
        &self,
        (id, slot): (&RequestId, &SlotId),
        request: &Translated,
        body: &Bytes,
    ) {
        let record = Record::new(id, Phase::UpstreamRequest)
            .text("slot_id", slot.to_string())
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

    async fn log_answer(&self, (id, slot): (&RequestId, &SlotId), headers: &HeaderMap) {
        let record = Record::new(id, Phase::UpstreamResponse)
            .text("slot_id", slot.to_string())
            .number("status_code", 200)
            .headers("headers", headers);
        self.traffic.record(record).await;
    }

    async fn log_failure(&self, (id, slot): (&RequestId, &SlotId), failure: &Failure) {
        let record = Record::new(id, Phase::UpstreamResponseError)
            .text("slot_id", slot.to_string())
            .text("error", chain(failure));
        self.traffic.record(record).await;
    }
}

/// The models of `first`, and those that it has not.
fn union(first: &Models, others: &[Arc<Models>]) -> Models {
    let mut all = first.clone();
    let mut known: BTreeSet<_> = all.entries.iter().map(|model| model.slug.clone()).collect();
    for others in others {
        for model in &others.entries {
            if known.insert(model.slug.clone()) {
                all.entries.push(model.clone());
            }
        }
        // What is put together is nobody's list.
        all.etag = all.etag.filter(|etag| Some(etag) == others.etag.as_ref());
    }
    all
}
