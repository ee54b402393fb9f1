//! What is left of each slot's windows, asked for in the background.
//!
//! Every answer says what is left of the slot that gave it, so only slots that nobody uses have to
//! be asked: now and then, right after a window resets, and a moment after a limit was met. One
//! slot's trouble is its own: each is asked by itself, and what fails is tried again later.
//!
//! The same task notices that the slots on the disk have changed, and that the machine has slept.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Refused, Relay,
    documents::{Captured, Wanted},
    fault,
    slots::Account,
};
use crate::{
    credential::AccountId,
    slot::{
        Moment, SlotId,
        pool::{Pool, Slot},
        window::{Reading, Source},
    },
    transport::chain,
    upstream::{
        failure::Failure,
        usage::{self, Told},
    },
};

/// How often it is looked whether there is anything to do.
const TICK: Duration = Duration::from_secs(2);
/// After how many looks what is known of the usage is kept.
const KEEP_EVERY: u32 = 15;
/// How much further the wall clock must be than the other for a sleep.
const SLEPT: SignedDuration = SignedDuration::from_secs(30);
/// How long after a window resets, or after a limit was met, a slot is asked.
const SETTLE: SignedDuration = SignedDuration::from_secs(5);
/// How long it is not asked again after it did not answer.
const PAUSE: Duration = Duration::from_mins(1);

/// How often slots are asked.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A reading is good for so long; zero asks only when the owner does.
    pub every: Duration,
}

/// What one slot said when it was asked.
#[derive(Debug)]
pub struct Refreshed {
    pub id: SlotId,
    /// The document of the upstream.
    pub outcome: Result<Captured, Refused>,
}

impl Relay {
    /// Asks `id`, or all slots, what is left; at once, side by side.
    pub async fn refresh_usage(&self, id: Option<&SlotId>) -> Vec<Refreshed> {
        self.documents(id, Wanted::New).await
    }

    pub(super) async fn refreshed(&self, id: &SlotId, account: &Account) -> Refreshed {
        let asked = self.clock.instant();
        let mut whose = None;
        let outcome = match self.ask_usage(id, account, &mut whose).await {
            Ok(Told { limits, document }) => {
                let reading = Reading::new(limits, Source::Route, asked, self.slots.now());
                self.slots.hear(id, whose.as_ref(), |pool, now| {
                    pool.read(id, &reading, now);
                });
                Ok(Captured { document: document.into(), at: self.clock.now() })
            }
            Err(refused) => {
                // The route has limits of its own, which say nothing about the account's.
                let is_its = !matches!(
                    &refused,
                    Refused::Attempt(Failure::RateLimited { .. } | Failure::UsageLimit(_))
                );
                let now = self.clock.now();
                if let Some(fault) = fault::of(&refused, now).filter(|_| is_its) {
                    self.slots.hear(id, whose.as_ref(), |pool, now| {
                        pool.failed(id, None, fault, (asked, now));
                    });
                }
                Err(refused)
            }
        };
        Refreshed { id: id.clone(), outcome }
    }

    /// Asks once, and says with whose login.
    async fn ask_usage(
        &self,
        id: &SlotId,
        account: &Account,
        whose: &mut Option<AccountId>,
    ) -> Result<Told, Refused> {
        let credential = account.login.credential().await?;
        self.slots.owned_by(id, &credential.account_id);
        *whose = Some(credential.account_id.clone());
        let (asked, credential) = match usage::fetch(&self.upstream, &credential).await {
            Err(Failure::Unauthorized { .. }) => {
                let credential = account.login.after_unauthorized(&credential).await?;
                (usage::fetch(&self.upstream, &credential).await, credential)
            }
            asked => (asked, credential),
        };
        if asked.is_ok() {
            account.login.proven(&credential);
        }
        asked.map_err(Refused::Attempt)
    }

    /// Sees to all of this until `stop`.
    pub async fn watch(self, settings: Settings, stop: CancellationToken) {
        let mut n_ticks = 0_u32;
        let mut told: Option<String> = None;
        let mut watch = Watch { asked: HashMap::new(), last: self.slots.now() };
        // One that is not answered holds up no other, nor the next look.
        let mut asking = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(TICK) => {}
            }
            while asking.try_join_next().is_some() {}
            self.look_again().await;
            let problem = self.slots.problem();
            if let Some(problem) = problem.as_ref().filter(|now| told.as_ref() != Some(now)) {
                tracing::warn!(problem = &**problem, "the slots stay as they were");
            }
            told = problem;
            n_ticks += 1;
            if n_ticks.is_multiple_of(KEEP_EVERY) {
                self.keep_usage().await;
            }
            let now = self.slots.now();
            if watch.has_slept(now) {
                self.slots.change(|pool, now| pool.doubt(None, now));
                watch.asked.clear();
            }
            watch.last = now;
            let due = self.slots.view(|pool, now| watch.due(pool, settings, now));
            for id in due {
                watch.asked.insert(id.clone(), now.instant);
                let relay = self.clone();
                asking.spawn(async move { relay.refresh_quietly(&id).await });
            }
        }
        asking.shutdown().await;
        self.keep_usage().await;
    }

    /// Takes slots that have come or changed; a thread for it only where there is something to do.
    pub(super) async fn look_again(&self) {
        if self.slots.is_stale() {
            let slots = self.slots.clone();
            // What is wrong is told below, whoever found it.
            let _looked = tokio::task::spawn_blocking(move || slots.look_again()).await;
        }
    }

    async fn keep_usage(&self) {
        if !self.slots.has_news() {
            return;
        }
        let slots = self.slots.clone();
        let kept = tokio::task::spawn_blocking(move || slots.keep_usage()).await;
        if let Ok(Err(error)) = kept {
            tracing::debug!(error = &*error.to_string(), "the usage of the slots is not kept");
        }
    }

    async fn refresh_quietly(&self, id: &SlotId) {
        for Refreshed { id, outcome } in self.refresh_usage(Some(id)).await {
            if let Err(refused) = outcome {
                let error = chain(&refused);
                tracing::debug!(slot = %id, error = &*error, "its usage is not known");
            }
        }
        // Which models an account has decides who may serve; the list is fetched where it is old.
        if let Some(account) = self.slots.account(id)
            && let Err(refused) = self.models_of(id, &account).await
        {
            let error = chain(&refused);
            tracing::debug!(slot = %id, error = &*error, "its models are not known");
        }
    }
}

/// What the watch remembers between two looks.
struct Watch {
    /// When each slot was last asked.
    asked: HashMap<SlotId, Instant>,
    last: Moment,
}

impl Watch {
    fn has_slept(&self, now: Moment) -> bool {
        let wall = now.wall.duration_since(self.last.wall);
        let ran =
            SignedDuration::try_from(now.instant.saturating_duration_since(self.last.instant));
        wall.saturating_sub(ran.unwrap_or(SignedDuration::ZERO)) > SLEPT
    }

    /// The slots that should be asked now.
    fn due(&self, pool: &Pool, settings: Settings, now: Moment) -> Vec<SlotId> {
        if settings.every.is_zero() {
            return Vec::new();
        }
        let reserves = |slot: &Slot| pool.reserve(slot) > 0.0;
        let is_alone = pool.slots().count() == 1;
        let is_of_use = |slot: &&Slot| {
            let is_mended_by_it = slot.health.may_be_mended();
            let rests = slot.health.rest().is_some();
            // A login that is not accepted would be renewed for it again and again.
            let is_alive = !rests || is_mended_by_it;
            slot.wishes.is_enabled && is_alive && (!is_alone || reserves(slot) || rests)
        };
        let due = pool.slots().filter(is_of_use).filter(|slot| self.is_due(slot, settings, now));
        due.map(|slot| slot.id.clone()).collect()
    }

    fn is_due(&self, slot: &Slot, settings: Settings, now: Moment) -> bool {
        let last = self.asked.get(&slot.id);
        let ago = |last: &Instant| now.instant.saturating_duration_since(*last);
        if last.is_some_and(|last| ago(last) < PAUSE) {
            return false;
        }
        let Some(read_at) = slot.usage.read_at else { return true };
        let every = settings.every.mul_f64(spread(&slot.id));
        let every = SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX);
        let is_old = !slot.usage.is_fresh(every, now.wall);
        let has_reset = slot.usage.windows(read_at).iter().any(|window| {
            window.resets_at.is_some_and(|at| read_at < at && settled(at) <= now.wall)
        });
        let is_stopped = slot.health.rest().is_some() && settled(read_at) <= now.wall;
        is_old || has_reset || is_stopped && last.is_none_or(|last| ago(last) >= settings.every)
    }
}

fn settled(at: Timestamp) -> Timestamp {
    at.checked_add(SETTLE).unwrap_or(Timestamp::MAX)
}

/// Between 0.9 and 1.1: slots are not asked all at once.
fn spread(id: &SlotId) -> f64 {
    let sum = id.as_str().bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    0.9 + 0.2 * f64::from(sum) / 255.0
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::{
        clock::Clock,
        slot::{
            affinity,
            health::{Fault, Why},
            policy::Policy,
            pool,
            window::{Family, Limits, MAIN, Window},
        },
    };

    fn clock() -> Clock {
        Clock::system()
    }

    fn pool(ids: u32) -> Pool {
        let affinity = affinity::Settings { most: 8, keep: Duration::from_mins(1) };
        let mut pool = Pool::new(pool::Settings {
            policy: Policy::default(),
            thresholds: <_>::default(),
            reserve: 0.0,
            concurrent: 0,
            affinity,
        });
        let listed: Vec<_> = (1..=ids).map(|n| (SlotId::numbered(n), <_>::default())).collect();
        pool.reconcile(&listed);
        pool
    }

    fn after(start: Moment, seconds: u32) -> Moment {
        Moment {
            wall: start.wall + SignedDuration::from_secs(seconds.into()),
            instant: start.instant + Duration::from_secs(seconds.into()),
        }
    }

    #[test]
    fn slots_are_asked_when_nothing_new_is_known_of_them() {
        let t0 = Moment { wall: clock().now(), instant: clock().instant() };
        let settings = Settings { every: Duration::from_mins(5) };
        let mut watch = Watch { asked: HashMap::new(), last: t0 };
        assert!(watch.due(&pool(1), settings, t0).is_empty(), "one slot has no choice");
        let mut pool = pool(2);
        assert_eq!(watch.due(&pool, settings, t0).len(), 2);
        assert!(watch.due(&pool, Settings { every: Duration::ZERO }, t0).is_empty());
        let resets_at = Some(after(t0, 100).wall);
        let window = Window { used_percent: 5.0, minutes: Some(300), resets_at };
        let family = Family { id: MAIN.to_owned(), name: None, windows: vec![window] };
        let limits = Limits { families: vec![family], ..Limits::default() };
        let first = SlotId::numbered(1);
        pool.read(&first, &Reading::new(limits, Source::Answer, t0.instant, t0), t0);
        let second = SlotId::numbered(2);
        watch.asked.insert(second.clone(), t0.instant);
        assert!(watch.due(&pool, settings, after(t0, 59)).is_empty());
        assert_eq!(watch.due(&pool, settings, after(t0, 60)), slice::from_ref(&second));
        // For a login that is not accepted it would be renewed each time.
        let rejected = Fault { why: Why::Rejected, until: None };
        pool.failed(&second, None, rejected, (t0.instant, t0));
        assert!(watch.due(&pool, settings, after(t0, 60)).is_empty());
        // The window has reset.
        assert!(watch.due(&pool, settings, after(t0, 105)).contains(&first));
    }

    #[test]
    fn a_sleep_is_noticed_by_the_two_clocks() {
        let t0 = Moment { wall: clock().now(), instant: clock().instant() };
        let watch = Watch { asked: HashMap::new(), last: t0 };
        assert!(!watch.has_slept(after(t0, 3600)));
        assert!(watch.has_slept(Moment { instant: after(t0, 2).instant, ..after(t0, 60) }));
        assert!(
            !watch.has_slept(Moment {
                wall: t0.wall - SignedDuration::from_secs(60),
                ..after(t0, 2)
            })
        );
    }
}
