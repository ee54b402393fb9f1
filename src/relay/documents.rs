//! The upstream's latest document about each account, for those who ask often: a page that shows it
//! must not make the upstream write it anew each time.
//!
//! **Invariant:** of one account it is asked for once at a time; whoever comes meanwhile waits.
//! **Invariant:** nobody is told the document of an account that the slot no longer has.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::{Refused, Relay, refresh::Refreshed, slots::Account};
use crate::slot::{SlotId, pool::Slot};

/// How long a document is good for those who do not ask for a new one.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// A document, and when it came.
#[derive(Clone, Debug)]
pub struct Captured {
    pub document: Arc<RawValue>,
    pub at: Timestamp,
}

/// Whether a document that is known will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Recent,
    New,
}

/// What is known of each slot. Held by whoever asks, while he asks.
#[derive(Debug, Default)]
pub(super) struct Documents(Mutex<HashMap<SlotId, Arc<Place>>>);

type Place = tokio::sync::Mutex<Option<Latest>>;

#[derive(Debug)]
struct Latest {
    /// Whose the slot was.
    owner: Option<u64>,
    asked: Instant,
    came: Instant,
    outcome: Result<Captured, Refused>,
}

impl Latest {
    /// Whether it will do for somebody who has wanted it since `since`.
    fn will_do(&self, wanted: Wanted, since: Instant, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.came);
        let is_recent = match &self.outcome {
            Ok(_) => age < GOOD_FOR,
            // Those who waited for it share it; those who come later may fare better.
            Err(_) => self.came >= since,
        };
        self.asked >= since || wanted == Wanted::Recent && is_recent
    }
}

impl Relay {
    /// What the upstream says of `id`, or of all slots that take part; side by side.
    pub async fn documents(&self, id: Option<&SlotId>, wanted: Wanted) -> Vec<Refreshed> {
        // One that is named is asked whatever was decided about it.
        let accounts = match id {
            Some(_) => self.slots.all_accounts(),
            None => self.slots.accounts(),
        };
        let meant = accounts.iter().filter(|(known, _)| id.is_none_or(|id| id == known));
        join_all(meant.map(|(id, account)| self.document(id, account, wanted))).await
    }

    async fn document(&self, id: &SlotId, account: &Account, wanted: Wanted) -> Refreshed {
        let since = self.clock.instant();
        let place = Arc::clone(self.documents.0.lock().entry(id.clone()).or_default());
        let mut latest = place.lock().await;
        let owner = || self.slots.view(|pool, _| pool.slot(id).and_then(Slot::owner));
        let known = latest.as_ref().filter(|latest| {
            latest.owner == owner() && latest.will_do(wanted, since, self.clock.instant())
        });
        if let Some(Latest { outcome, .. }) = known {
            return Refreshed { id: id.clone(), outcome: outcome.clone() };
        }
        let asked = self.clock.instant();
        let refreshed = self.refreshed(id, account).await;
        let (came, outcome) = (self.clock.instant(), refreshed.outcome.clone());
        *latest = Some(Latest { owner: owner(), asked, came, outcome });
        refreshed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::LoginError;

    #[test]
    fn a_document_is_good_for_a_while_and_a_failure_for_those_who_waited() {
        #[expect(clippy::disallowed_methods, reason = "any moment will do")]
        let t0 = Instant::now();
        let at = |seconds| t0 + Duration::from_secs(seconds);
        let document: Box<RawValue> = serde_json::from_str("{}").expect("JSON");
        let good = Ok(Captured { document: document.into(), at: Timestamp::UNIX_EPOCH });
        let bad = Err(Refused::Login(LoginError::Missing));
        for (outcome, wanted, since, now, expected) in [
            (good.clone(), Wanted::Recent, 39, 39, true),
            (good.clone(), Wanted::Recent, 40, 40, false),
            (good.clone(), Wanted::New, 11, 11, false),
            // Asked for after somebody came.
            (good.clone(), Wanted::New, 5, 11, true),
            // Asked for before he came.
            (good, Wanted::New, 6, 11, false),
            (bad.clone(), Wanted::Recent, 10, 11, true),
            (bad.clone(), Wanted::Recent, 11, 11, false),
            (bad, Wanted::New, 5, 11, true),
        ] {
            let latest = Latest { owner: None, asked: at(5), came: at(10), outcome };
            let told = latest.will_do(wanted, at(since), at(now));
            assert_eq!(told, expected, "{wanted:?} since {since} at {now}: {latest:?}");
        }
    }
}
