//! Which models there are, as the upstream lists them.
//!
//! The list changes rarely and its route may hang. It is therefore never in the way: a list that
//! is known is used at once, however old, and renewed behind the request's back; only the first
//! one is waited for, and not for long. A model that is not listed may work all the same.
//!
//! **Invariant:** at most one fetch runs at a time.
//! **Invariant:** one odd entry hides no other, and is counted.
//! **Invariant:** a list is used for the account it was given to, and for no other.
//!
//! Not here: what clients see of it (`api::models`), which model a name means (`relay`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, header};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{
    Upstream,
    failure::{Blame, Deadline, Failure, Fault},
    not_the_clients,
};
use crate::{
    credential::{AccountId, Credential},
    object::Object,
    transport,
};

/// Lists hold the models' whole prompts.
const LIST_LIMIT: usize = 16 << 20;
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a fetch that failed is not repeated.
const PAUSE: Duration = Duration::from_secs(30);

/// How long a list is good, and how long it is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub fresh_for: Duration,
    /// For a request that finds no list at all.
    pub patience: Duration,
}

/// One model, as far as we use what is said about it.
#[derive(Clone, Debug)]
pub struct Model {
    pub slug: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    /// `list`, `hide`, `none`, or a word that is new.
    pub visibility: Option<String>,
    /// Lower comes first.
    pub priority: Option<i64>,
    pub context: ContextWindow,
    /// Which efforts may be asked for, lowest first.
    pub reasoning_levels: Vec<String>,
    pub default_reasoning_level: Option<String>,
    pub input_modalities: Vec<String>,
    pub service_tiers: Vec<String>,
    /// The plans that have it; none where nothing is said.
    pub plans: Vec<String>,
    pub supports: Supports,
    /// The entry as it came.
    pub raw: Box<RawValue>,
    /// Whether it has what the Codex client needs of each: for one that has not it throws the whole
    /// list away.
    pub is_whole: bool,
}

/// Fields that the Codex client needs, with how their values begin.
const NEEDED: &[(&str, &[u8])] = &[
    ("slug", b"\""),
    ("display_name", b"\""),
    ("base_instructions", b"\""),
    ("shell_type", b"\""),
    ("visibility", b"\""),
    ("priority", b"-0123456789"),
    ("supported_in_api", b"tf"),
    ("support_verbosity", b"tf"),
    ("supports_parallel_tool_calls", b"tf"),
    ("supported_reasoning_levels", b"["),
    ("experimental_supported_tools", b"["),
    ("truncation_policy", b"{"),
];

/// What the names of models have in them that are meant to be small and cheap.
const SMALL: [&str; 3] = ["nano", "mini", "luna"];

/// Sizes in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextWindow {
    pub usual: Option<i64>,
    pub max: Option<i64>,
}

/// What a model is said to be able to do. `None` where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supports {
    pub parallel_tool_calls: Option<bool>,
    pub verbosity: Option<bool>,
    pub reasoning_summaries: Option<bool>,
    pub image_detail_original: Option<bool>,
}

/// The models of one account.
#[derive(Clone, Debug)]
pub struct Models {
    pub entries: Vec<Model>,
    /// How many entries could not be read.
    pub n_skipped: usize,
    pub etag: Option<String>,
}

impl Models {
    /// `None` when `body` holds no list.
    pub fn read(body: &[u8], etag: Option<String>) -> Option<Self> {
        let listed = Object::read(body)?.list("models")?;
        let entries: Vec<_> = listed.iter().copied().filter_map(Model::read).collect();
        let n_skipped = listed.len() - entries.len();
        if n_skipped > 0 {
            tracing::warn!(n_skipped, "some entries of the model catalogue cannot be read");
        }
        Some(Self { entries, n_skipped, etag })
    }

    /// However the name is capitalised.
    pub fn find(&self, slug: &str) -> Option<&Model> {
        self.entries.iter().find(|model| model.slug.eq_ignore_ascii_case(slug))
    }

    /// The one that seems to cost the least, as far as names and order tell.
    pub fn smallest(&self) -> Option<&Model> {
        let is_small = |model: &Model| SMALL.iter().any(|word| model.slug.contains(word));
        let rank = |model: &&Model| {
            (model.is_listed(), is_small(model), model.priority.unwrap_or(i64::MIN))
        };
        self.entries.iter().max_by_key(rank)
    }
}

impl Model {
    /// Whether the upstream offers it to people.
    pub fn is_listed(&self) -> bool {
        self.visibility.as_deref() == Some("list")
    }

    fn read(raw: &RawValue) -> Option<Self> {
        let entry = Object::read(raw.get().as_bytes())?;
        let texts = |name| -> Vec<String> {
            let listed = entry.list(name).unwrap_or_default();
            listed.iter().filter_map(|text| serde_json::from_str(text.get()).ok()).collect()
        };
        let named = |list, name| -> Vec<String> {
            let listed = entry.list(list).unwrap_or_default();
            let objects = listed.iter().filter_map(|item| Object::read(item.get().as_bytes()));
            objects.filter_map(|item| item.filled(name)).collect()
        };
        Some(Self {
            slug: entry.filled("slug")?,
            display_name: entry.filled("display_name"),
            description: entry.filled("description"),
            visibility: entry.filled("visibility"),
            priority: entry.integer("priority"),
            context: ContextWindow {
                usual: entry.integer("context_window"),
                max: entry.integer("max_context_window"),
            },
            reasoning_levels: named("supported_reasoning_levels", "effort"),
            default_reasoning_level: entry.filled("default_reasoning_level"),
            input_modalities: texts("input_modalities"),
            service_tiers: named("service_tiers", "id"),
            plans: texts("available_in_plans"),
            supports: Supports {
                parallel_tool_calls: entry.flag("supports_parallel_tool_calls"),
                verbosity: entry.flag("support_verbosity"),
                reasoning_summaries: entry.flag("supports_reasoning_summaries"),
                image_detail_original: entry.flag("supports_image_detail_original"),
            },
            raw: raw.to_owned(),
            is_whole: NEEDED.iter().all(|(name, starts)| {
                let first = entry.raw(name).and_then(|value| value.get().bytes().next());
                first.is_some_and(|first| starts.contains(&first))
            }),
        })
    }
}

/// Asks for the list once.
///
/// # Errors
///
/// When there is no answer in time, or it holds no list.
pub async fn fetch(upstream: &Upstream, credential: &Credential) -> Result<Models, Failure> {
    let mut request = upstream.request(Method::GET, &upstream.models_uri(), credential)?;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let answer = async {
        let answer = upstream.send(request).await?;
        let status = answer.status().as_u16();
        let etag = answer.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok());
        let etag = etag.map(str::to_owned);
        let body = transport::read_at_most(answer.into_body(), LIST_LIMIT).await;
        let body = body.map_err(|error| Failure::Cut(error.into()))?;
        Models::read(&body, etag).ok_or_else(|| {
            let message = Some("the list of models cannot be read".to_owned());
            Failure::Service(Box::new(Fault { status: Some(status), message, ..Fault::default() }))
        })
    };
    tokio::time::timeout(FETCH_TIMEOUT, answer)
        .await
        .unwrap_or(Err(Failure::Timeout(Deadline::Headers)))
        .map_err(not_the_clients)
}

/// The list of one login's models, kept at hand. Clones are the same list.
#[derive(Clone, Debug)]
pub struct Catalogue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    upstream: Upstream,
    settings: Settings,
    tasks: TaskTracker,
    /// Never locked across an await.
    state: Mutex<State>,
    /// Counts the fetches that ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    failed: Option<Failed>,
    is_fetching: bool,
}

#[derive(Debug)]
struct Known {
    models: Arc<Models>,
    account_id: AccountId,
    stale_at: Instant,
}

#[derive(Debug)]
struct Failed {
    failure: Failure,
    account_id: AccountId,
    at: Instant,
}

impl Catalogue {
    pub fn new(upstream: Upstream, settings: Settings, tasks: TaskTracker) -> Self {
        let (ended, _) = watch::channel(0);
        Self(Arc::new(Inner { upstream, settings, tasks, state: Mutex::default(), ended }))
    }

    /// A list of another login's models, from the same upstream.
    pub fn beside(&self) -> Self {
        let Inner { upstream, settings, tasks, .. } = &*self.0;
        Self::new(upstream.clone(), *settings, tasks.clone())
    }

    /// The models of the account that `credential` belongs to.
    ///
    /// # Errors
    ///
    /// When no list is known, and none came in time or a moment ago.
    pub async fn models(&self, credential: &Credential) -> Result<Arc<Models>, Failure> {
        if let Some((models, is_stale)) = self.known(&credential.account_id) {
            if is_stale {
                self.start(credential);
            }
            return Ok(models);
        }
        if let Some(failure) = self.failed_lately(&credential.account_id) {
            return Err(failure);
        }
        let first = self.first(credential);
        if let Ok(outcome) = tokio::time::timeout(self.0.settings.patience, first).await {
            return outcome;
        }
        // The fetch goes on; whoever comes meanwhile need not wait for it again.
        let failure = Failure::Timeout(Deadline::Headers);
        self.fail(&credential.account_id, failure.clone());
        Err(failure)
    }

    /// Takes note of the version of the list that an inference answer names: the list at hand is
    /// that one and good for longer, or it is old.
    pub fn notice(&self, etag: &str) {
        let now = self.now();
        if let Some(known) = &mut self.0.state.lock().known {
            let is_current = known.models.etag.as_deref() == Some(etag);
            known.stale_at = if is_current { now + self.0.settings.fresh_for } else { now };
        }
    }

    /// The list at hand is that of an older client, so it is renewed when it is next asked for.
    pub fn outdate(&self) {
        let now = self.now();
        if let Some(known) = &mut self.0.state.lock().known {
            known.stale_at = now;
        }
    }

    async fn first(&self, credential: &Credential) -> Result<Arc<Models>, Failure> {
        let mut ended = self.0.ended.subscribe();
        loop {
            self.start(credential);
            // The sender lives as long as `self`.
            if ended.changed().await.is_err() {
                return Err(Failure::Timeout(Deadline::Headers));
            }
            if let Some((models, _)) = self.known(&credential.account_id) {
                return Ok(models);
            }
            if let Some((failure, _)) = self.failed(&credential.account_id) {
                return Err(failure);
            }
            // It was another account's fetch that ended.
        }
    }

    /// Fetches the list in the background, unless someone does already.
    fn start(&self, credential: &Credential) {
        {
            let mut state = self.0.state.lock();
            if state.is_fetching {
                return;
            }
            state.is_fetching = true;
            state.failed.take_if(|failed| failed.account_id == credential.account_id);
        }
        let (catalogue, credential) = (self.clone(), credential.clone());
        self.0.tasks.spawn(async move {
            let outcome = fetch(&catalogue.0.upstream, &credential).await;
            catalogue.end(credential.account_id, outcome);
        });
    }

    fn end(&self, account_id: AccountId, outcome: Result<Models, Failure>) {
        let now = self.now();
        match outcome {
            Ok(models) => {
                let stale_at = now + self.0.settings.fresh_for;
                let mut state = self.0.state.lock();
                // An account does not lose all of its models; a backend in trouble lists none.
                let had_some = state.known.as_mut().filter(|known| {
                    known.account_id == account_id && !known.models.entries.is_empty()
                });
                if let (Some(known), true) = (had_some, models.entries.is_empty()) {
                    known.stale_at = now + PAUSE;
                } else {
                    state.known = Some(Known { models: Arc::new(models), account_id, stale_at });
                }
                state.failed = None;
            }
            Err(failure) => self.fail(&account_id, failure),
        }
        self.0.state.lock().is_fetching = false;
        self.0.ended.send_modify(|ended| *ended += 1);
    }

    fn fail(&self, account_id: &AccountId, failure: Failure) {
        let at = self.now();
        let mut state = self.0.state.lock();
        if let Some(known) = &mut state.known {
            known.stale_at = at + PAUSE;
        }
        state.failed = Some(Failed { failure, account_id: account_id.clone(), at });
    }

    /// The list of `account_id`, and whether it wants renewing.
    fn known(&self, account_id: &AccountId) -> Option<(Arc<Models>, bool)> {
        let now = self.now();
        let state = self.0.state.lock();
        let known = state.known.as_ref().filter(|known| known.account_id == *account_id)?;
        Some((Arc::clone(&known.models), known.stale_at <= now))
    }

    /// How the last fetch for `account_id` failed, and when.
    fn failed(&self, account_id: &AccountId) -> Option<(Failure, Instant)> {
        let state = self.0.state.lock();
        let failed = state.failed.as_ref().filter(|failed| failed.account_id == *account_id)?;
        Some((failed.failure.clone(), failed.at))
    }

    /// A failure that is not worth trying again. What another token may mend is.
    fn failed_lately(&self, account_id: &AccountId) -> Option<Failure> {
        let (failure, at) = self.failed(account_id)?;
        let is_recent = self.now().saturating_duration_since(at) < PAUSE;
        (is_recent && failure.blame() != Blame::Account).then_some(failure)
    }

    fn now(&self) -> Instant {
        self.0.upstream.0.clock.instant()
    }
}

#[cfg(test)]
mod tests;
