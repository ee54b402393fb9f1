//! All slots together: who serves the next request, and what came of it.
//!
//! A choice and the right to be under way are one step here, so two requests never get what one of
//! them was meant to have. Whoever holds that right gives it back, whatever happened.
//!
//! Who may serve is looked at in this order: what the owner decided, models, health, windows, the
//! reserve, places. Among those, the slot that a dialogue belongs to comes first; then the slots
//! that are no last resort, the smallest priority, the policy.
//!
//! **Invariant:** nothing that the owner excluded, that was tried, or that is full is ever chosen.
//! **Invariant:** a place that was given is given back once.
//! **Invariant:** when nobody can serve, it is said of every slot why not.
//!
//! Not here: waiting for a place (`relay::slots`), which failures are whose (`relay::fault`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Moment, SlotId, Wishes,
    affinity::{self, Affinity},
    health::{Fault, Fitness, Health, Why},
    policy::{Candidate, Policy, Rotation, Thresholds, rank},
    window::{Reading, Source, Span, Usage},
};

/// What is the same for all slots.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub policy: Policy,
    pub thresholds: Thresholds,
    /// Percent of each window that are not to be used, for slots without their own.
    pub reserve: f64,
    /// How many requests a slot serves at once; 0 is as many as there are.
    pub concurrent: u32,
    pub affinity: affinity::Settings,
}

/// How long a reading is good for policies that go by what is left lately.
const FRESH: SignedDuration = SignedDuration::from_mins(15);

/// No wait is longer: the longest window is a month.
const LONGEST_WAIT: Duration = Duration::from_hours(32 * 24);

/// The slots and what is known of them.
#[derive(Clone, Debug)]
pub struct Pool {
    settings: Settings,
    slots: Vec<Slot>,
    affinity: Affinity,
    rotation: Rotation,
    /// Counts choices.
    choices: u64,
}

/// One slot.
#[derive(Clone, Debug)]
pub struct Slot {
    pub id: SlotId,
    pub wishes: Wishes,
    pub usage: Usage,
    pub health: Health,
    /// Whose it was when it was last used, by a digest.
    owner: Option<u64>,
    /// What its account may ask, if that is known.
    pub models: Option<Arc<[String]>>,
    pub in_flight: u32,
    pub last_used: Option<Timestamp>,
    pub n_served: u64,
    pub n_failed: u64,
    pub last_error: Option<String>,
    chosen: u64,
    /// It is no more, but somebody still uses it.
    is_gone: bool,
}

/// What somebody wants a slot for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub session: Option<&'a str>,
    pub model: Option<&'a str>,
    /// These have been asked already.
    pub tried: &'a [SlotId],
    /// Nothing but this one will do.
    pub only: Option<&'a SlotId>,
    /// Since when it waits.
    pub since: Instant,
}

/// Who serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub id: SlotId,
    pub reason: Reason,
    /// Its number, by which its place is given back.
    pub number: u64,
    /// It goes first, to see what came of a rest.
    pub is_probe: bool,
    /// Whose the dialogue was until now, if that is another's.
    pub former: Option<SlotId>,
    /// Digests of what this slot cannot read of the dialogue, if it is its own.
    pub foreign: Vec<u64>,
    pub looks: Vec<Look>,
}

/// Why a slot was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The dialogue belongs to it.
    Affinity,
    /// The policy has it first.
    Policy(Policy),
    /// It is the only one left, and what is known of it may be out of date.
    Hope,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Affinity => "affinity",
            Self::Policy(policy) => policy.as_str(),
            Self::Hope => "last-hope",
        }
    }
}

/// What a slot looked like when somebody was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    pub id: SlotId,
    pub verdict: Verdict,
}

/// Whether a slot can serve, and why not.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Ready,
    /// Its rest is over; one request goes first.
    MayProbe,
    /// Another one is going first.
    Probed,
    /// All its places are taken.
    Full,
    Tried,
    /// Another one was asked for by name.
    NotAsked,
    Disabled,
    Paused,
    /// The owner does not let it serve this model, or the account does not have it.
    Model,
    Resting {
        why: Why,
        until: Timestamp,
        is_evident: bool,
    },
    /// The same, for want of anything left.
    Exhausted {
        span: Option<Span>,
        until: Timestamp,
        is_evident: bool,
    },
    Reserved {
        span: Span,
        left: f64,
        resets_at: Option<Timestamp>,
    },
}

impl Verdict {
    fn can_serve(&self) -> bool {
        matches!(self, Self::Ready | Self::MayProbe)
    }

    /// Whether a place may become free without anything else changing.
    fn is_occupied(&self) -> bool {
        matches!(self, Self::Full | Self::Probed)
    }

    fn is_rest(&self) -> bool {
        matches!(self, Self::Resting { .. } | Self::Exhausted { .. })
    }

    /// As documents have it.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::MayProbe => "may_probe",
            Self::Probed => "probed",
            Self::Full => "full",
            Self::Tried => "tried",
            Self::NotAsked => "not_asked",
            Self::Disabled => "disabled",
            Self::Paused => "paused",
            Self::Model => "model",
            Self::Resting { .. } if self.needs_login() => "needs_login",
            Self::Resting { .. } => "cooling",
            Self::Exhausted { .. } => "exhausted",
            Self::Reserved { .. } => "reserved",
        }
    }

    /// As people read it, without a full stop.
    pub fn sentence(&self) -> String {
        match self {
            Self::Ready => "it can serve".to_owned(),
            Self::MayProbe => "its rest is over and one request may go first".to_owned(),
            Self::Probed => "one request is seeing whether it serves again".to_owned(),
            Self::Full => "all its places are taken".to_owned(),
            Self::Tried => "it was tried for this request".to_owned(),
            Self::NotAsked => "another slot was asked for".to_owned(),
            Self::Disabled => "it is disabled".to_owned(),
            Self::Paused => "it is paused".to_owned(),
            Self::Model => "it does not serve this model".to_owned(),
            Self::Resting { why, .. } => why.sentence(),
            Self::Exhausted { span, .. } => Why::UsageLimit { span: *span }.sentence(),
            Self::Reserved { span, left, .. } => {
                format!("what is left of the {} window ({left:.0} %) is reserved", span.as_str())
            }
        }
    }

    /// When it can be expected to serve again.
    pub fn until(&self) -> Option<Timestamp> {
        if self.needs_login() {
            return None;
        }
        match self {
            Self::Resting { until, .. } | Self::Exhausted { until, .. } => Some(*until),
            Self::Reserved { resets_at, .. } => *resets_at,
            Self::Ready
            | Self::MayProbe
            | Self::Probed
            | Self::Full
            | Self::Tried
            | Self::NotAsked
            | Self::Disabled
            | Self::Paused
            | Self::Model => None,
        }
    }

    /// The same, if somebody else than we says so.
    pub fn evident_until(&self) -> Option<Timestamp> {
        let is_guess = matches!(
            self,
            Self::Resting { is_evident: false, .. } | Self::Exhausted { is_evident: false, .. }
        );
        self.until().filter(|_| !is_guess)
    }

    /// Whether only a new login helps.
    pub fn needs_login(&self) -> bool {
        matches!(self, Self::Resting { why: Why::NeedsLogin(_), .. })
    }
}

/// Nobody can serve now.
#[derive(Clone, Debug, PartialEq)]
pub struct NoSlot {
    pub looks: Vec<Look>,
    /// Whether it is for want of a place only.
    pub is_full: bool,
    /// How long until the first of them can be expected to serve again.
    pub wait: Option<Duration>,
}

impl Pool {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            slots: Vec::new(),
            affinity: Affinity::new(settings.affinity),
            rotation: Rotation::default(),
            choices: 0,
        }
    }

    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.is_gone)
    }

    pub fn slot(&self, id: &SlotId) -> Option<&Slot> {
        self.slots().find(|slot| slot.id == *id)
    }

    pub fn policy(&self) -> Policy {
        self.settings.policy
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.settings.policy = policy;
    }

    /// Makes the slots those of `listed`, in that order. What is known of those that stay is kept.
    pub fn reconcile(&mut self, listed: &[(SlotId, Wishes)]) {
        let is_listed = |id: &SlotId| listed.iter().any(|(listed, _)| listed == id);
        for slot in &mut self.slots {
            slot.is_gone = !is_listed(&slot.id);
        }
        self.slots.retain(|slot| !slot.is_gone || slot.in_flight > 0);
        for (id, wishes) in listed {
            match self.slots.iter_mut().find(|slot| slot.id == *id) {
                Some(slot) => slot.wishes.clone_from(wishes),
                None => self.slots.push(Slot::new(id.clone(), wishes.clone())),
            }
        }
        let place = |id: &SlotId| listed.iter().position(|(listed, _)| listed == id);
        self.slots.sort_by_key(|slot| place(&slot.id).unwrap_or(usize::MAX));
        self.rotation.keep(is_listed);
    }

    /// Chooses a slot and takes a place in it, which [`leave`](Self::leave) gives back.
    ///
    /// # Errors
    ///
    /// When nobody can serve now.
    pub fn choose(&mut self, ask: Ask<'_>, now: Moment) -> Result<Choice, NoSlot> {
        let looks: Vec<_> = self.slots().map(|slot| self.look(slot, ask, now)).collect();
        let can_serve =
            |id: &SlotId| looks.iter().any(|look| look.id == *id && look.verdict.can_serve());
        let owner = ask.session.and_then(|session| self.affinity.owner(session, now.instant));
        let owner = owner.cloned();
        let chosen = match &owner {
            Some(owner) if can_serve(owner) => Some((owner.clone(), Reason::Affinity)),
            Some(_) | None => self.by_policy(&can_serve, now),
        };
        let chosen = chosen.or_else(|| {
            let is_only_full = looks.iter().any(|look| look.verdict.is_occupied());
            let hope = || self.hope(&looks, ask, now).map(|id| (id, Reason::Hope));
            // Whoever has tried one already has hoped enough.
            if is_only_full || !ask.tried.is_empty() { None } else { hope() }
        });
        let Some((id, reason)) = chosen else { return Err(self.no_slot(looks, now)) };
        let foreign = match (&owner, ask.session) {
            (Some(owner), Some(session)) if *owner == id => {
                self.affinity.foreign(session, now.instant).to_vec()
            }
            (Some(_) | None, _) => Vec::new(),
        };
        let former = owner.filter(|owner| *owner != id);
        let is_probe = self.enter(&id, now);
        Ok(Choice { id, reason, number: self.choices, is_probe, former, foreign, looks })
    }

    /// What keeps `slot` from serving, if anything does.
    fn look(&self, slot: &Slot, ask: Ask<'_>, now: Moment) -> Look {
        Look { id: slot.id.clone(), verdict: self.verdict(slot, ask, now) }
    }

    fn verdict(&self, slot: &Slot, ask: Ask<'_>, now: Moment) -> Verdict {
        if ask.only.is_some_and(|only| *only != slot.id) {
            return Verdict::NotAsked;
        }
        // Who asks for a slot by name wants to know what it says.
        let is_named = ask.only.is_some();
        if ask.tried.contains(&slot.id) {
            return Verdict::Tried;
        }
        if !slot.wishes.is_enabled && !is_named {
            return Verdict::Disabled;
        }
        if slot.wishes.is_paused && !is_named {
            return Verdict::Paused;
        }
        if ask.model.is_some_and(|model| !self.serves(slot, model)) {
            return Verdict::Model;
        }
        match slot.health.fitness(now) {
            Fitness::Resting if !is_named => return slot.resting(),
            Fitness::Probed if !is_named => return Verdict::Probed,
            Fitness::Fit | Fitness::MayProbe | Fitness::Resting | Fitness::Probed => {}
        }
        if let Some(verdict) = self.reserved(slot, now).filter(|_| !is_named) {
            return verdict;
        }
        if self.is_full(slot) {
            return Verdict::Full;
        }
        if slot.health.rest().is_some() { Verdict::MayProbe } else { Verdict::Ready }
    }

    /// The window that the owner wants to keep the rest of.
    fn reserved(&self, slot: &Slot, now: Moment) -> Option<Verdict> {
        let reserve = self.reserve(slot);
        let window = slot.usage.floor(reserve, now.wall).filter(|_| reserve > 0.0)?;
        let (span, left) = (window.span(), window.left(now.wall));
        Some(Verdict::Reserved { span, left, resets_at: window.resets_at })
    }

    /// Percent of each window of `slot` that are not to be used.
    pub fn reserve(&self, slot: &Slot) -> f64 {
        slot.wishes.reserve.unwrap_or(self.settings.reserve)
    }

    fn is_full(&self, slot: &Slot) -> bool {
        self.settings.concurrent > 0 && slot.in_flight >= self.settings.concurrent
    }

    /// Whether `slot` serves `model`. One that no account is known to have may be had all the same.
    fn serves(&self, slot: &Slot, model: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case(model));
        let is_allowed = slot.wishes.models.is_empty() || names(&slot.wishes.models);
        let is_known = || self.slots().any(|slot| slot.models.as_deref().is_some_and(names));
        let has = slot.models.as_deref().is_none_or(names);
        is_allowed && (has || !is_known())
    }

    fn by_policy(
        &mut self,
        can_serve: &dyn Fn(&SlotId) -> bool,
        now: Moment,
    ) -> Option<(SlotId, Reason)> {
        let able = || self.slots().filter(|slot| can_serve(&slot.id));
        let group = |slot: &Slot| (slot.wishes.is_last_resort, slot.wishes.priority);
        let best = able().map(group).min()?;
        let candidates: Vec<_> = self
            .slots()
            .enumerate()
            .filter(|(_, slot)| can_serve(&slot.id) && group(slot) == best)
            .map(|(position, slot)| slot.candidate(position, now))
            .collect();
        let Settings { policy, thresholds, .. } = self.settings;
        let order = rank(policy, &candidates, thresholds, &self.rotation);
        let id = candidates.get(*order.first()?)?.id.clone();
        self.rotation.advance(policy, &candidates, &id);
        Some((id, Reason::Policy(policy)))
    }

    /// The slot that may be tried although it rests or seems spent: the one that would come back
    /// first.
    fn hope(&self, looks: &[Look], ask: Ask<'_>, now: Moment) -> Option<SlotId> {
        let mut hopeful: Vec<_> = looks
            .iter()
            .filter(|look| look.verdict.is_rest())
            .filter_map(|look| Some((look, self.slot(&look.id)?)))
            .filter(|(_, slot)| slot.health.may_be_tried(ask.since, now) && !self.is_full(slot))
            .filter(|(_, slot)| self.reserved(slot, now).is_none())
            .collect();
        hopeful.sort_by_key(|(look, _)| look.verdict.until().unwrap_or(Timestamp::MAX));
        hopeful.first().map(|(look, _)| look.id.clone())
    }

    fn no_slot(&self, looks: Vec<Look>, now: Moment) -> NoSlot {
        let is_full = looks.iter().any(|look| look.verdict.is_occupied());
        let wait = |look: &Look| {
            let until = look.verdict.until()?;
            if look.verdict.is_rest() {
                return Some(self.slot(&look.id)?.health.rest()?.left(now));
            }
            Duration::try_from(until.duration_since(now.wall)).ok()
        };
        let wait = looks.iter().filter_map(wait).min().map(|wait| wait.min(LONGEST_WAIT));
        NoSlot { looks, is_full, wait }
    }

    /// Takes a place. Whether it is the one that goes first.
    fn enter(&mut self, id: &SlotId, now: Moment) -> bool {
        self.choices += 1;
        let choices = self.choices;
        let Some(slot) = self.find(id) else { return false };
        slot.in_flight += 1;
        slot.chosen = choices;
        slot.last_used = Some(now.wall);
        slot.health.probe(choices)
    }

    /// Gives back the place of the choice `number`.
    pub fn leave(&mut self, id: &SlotId, number: u64) {
        if let Some(slot) = self.find(id) {
            slot.in_flight = slot.in_flight.saturating_sub(1);
            slot.health.unprobe(number);
        }
        self.slots.retain(|slot| !slot.is_gone || slot.in_flight > 0);
    }

    /// A request that was sent at `sent` was answered by `id`.
    pub fn answered(&mut self, id: &SlotId, sent: Instant, now: Moment) {
        if let Some(slot) = self.find(id) {
            let is_exhausted = slot.usage.exhausted(now.wall).is_some();
            slot.health.answered(sent, is_exhausted);
            slot.n_served += 1;
            slot.last_error = None;
        }
    }

    /// The dialogue `session` is `id`'s now, which cannot read `foreign`.
    pub fn bind(&mut self, session: &str, id: &SlotId, foreign: &[u64], now: Moment) {
        self.affinity.bind(session, id, foreign, now.instant);
    }

    /// A request that was sent at `sent` failed by the fault of `id`'s account.
    pub fn failed(&mut self, id: &SlotId, fault: Fault, sent: Instant, now: Moment) {
        if let Some(slot) = self.find(id) {
            slot.n_failed += 1;
            slot.last_error = Some(fault.why.sentence());
            let fault = Self::named_window(slot, fault, now);
            slot.health.failed(&slot.id, fault, sent, now);
        }
    }

    /// Says which window is used up, and until when, where the failure did not.
    fn named_window(slot: &Slot, fault: Fault, now: Moment) -> Fault {
        let Why::UsageLimit { span: None } = fault.why else { return fault };
        let Some(window) = slot.usage.exhausted(now.wall) else { return fault };
        let span = Some(window.span());
        Fault { why: Why::UsageLimit { span }, until: fault.until.or(window.resets_at) }
    }

    /// Takes what was read of `id`'s windows. Whether it changes who can serve.
    pub fn read(&mut self, id: &SlotId, reading: &Reading, now: Moment) -> bool {
        let Some(slot) = self.find(id) else { return false };
        if !slot.usage.take(reading) {
            return false;
        }
        // An answer names limits in passing; only who is asked for them says that one stops all.
        let stops = reading.source == Source::Route && reading.limits.reached.is_some();
        let window = slot.health.exhausted(&slot.usage, now.wall);
        if reading.source == Source::Refusal {
            return true;
        }
        if window.is_some() || stops {
            let why = Why::UsageLimit { span: window.map(|window| window.span()) };
            let fault = Fault { why, until: window.and_then(|window| window.resets_at) };
            slot.health.failed(&slot.id, fault, reading.asked_at, now);
            return true;
        }
        slot.health.saw(reading.asked_at, !slot.usage.is_unknown(now.wall))
    }

    /// The models that `id`'s account may ask.
    pub fn set_models(&mut self, id: &SlotId, models: Arc<[String]>) {
        if let Some(slot) = self.find(id) {
            slot.models = Some(models);
        }
    }

    /// Nothing is held against `id` any more; against nobody, without one. How many it concerned.
    pub fn clear(&mut self, id: Option<&SlotId>) -> usize {
        let here = self.slots.iter_mut().filter(|slot| !slot.is_gone);
        let meant = here.filter(|slot| id.is_none_or(|id| slot.id == *id));
        let rested = meant.filter(|slot| slot.health.rest().is_some());
        rested.map(|slot| slot.health.clear()).count()
    }

    /// The login of `id` is another one now, perhaps of another account.
    pub fn login_changed(&mut self, id: &SlotId, now: Moment) {
        if let Some(slot) = self.find(id) {
            slot.health.login_changed();
            slot.health.doubt(now);
        }
    }

    /// `id` is about to be used for the account that `owner` is the digest of. If that is another
    /// than before, nothing that is known of the slot is about it.
    pub fn owned_by(&mut self, id: &SlotId, owner: u64) {
        let Some(slot) = self.find(id) else { return };
        let former = slot.owner.replace(owner);
        if former.is_some_and(|former| former != owner) {
            slot.usage = Usage::default();
            slot.health.clear();
            slot.models = None;
            slot.last_error = None;
            self.affinity.forget(id);
        }
    }

    /// What is held against `id`, or against all, may be out of date.
    pub fn doubt(&mut self, id: Option<&SlotId>, now: Moment) {
        let meant = self.slots.iter_mut().filter(|slot| id.is_none_or(|id| slot.id == *id));
        meant.for_each(|slot| slot.health.doubt(now));
    }

    /// What `id` looks like to somebody who comes now.
    pub fn state(&self, slot: &Slot, now: Moment) -> Verdict {
        // A login that has died stays dead when the rest for it is over.
        let is_on = slot.wishes.is_enabled && !slot.wishes.is_paused;
        if is_on && slot.resting().needs_login() {
            return slot.resting();
        }
        let ask = Ask { session: None, model: None, tried: &[], only: None, since: now.instant };
        self.verdict(slot, ask, now)
    }

    fn find(&mut self, id: &SlotId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == *id)
    }
}

impl Slot {
    fn new(id: SlotId, wishes: Wishes) -> Self {
        Self {
            id,
            wishes,
            usage: Usage::default(),
            health: Health::default(),
            owner: None,
            models: None,
            in_flight: 0,
            last_used: None,
            n_served: 0,
            n_failed: 0,
            last_error: None,
            chosen: 0,
            is_gone: false,
        }
    }

    fn resting(&self) -> Verdict {
        let Some(rest) = self.health.rest() else { return Verdict::Ready };
        let (until, is_evident) = (rest.until, rest.is_evident);
        match &rest.why {
            Why::UsageLimit { span } => Verdict::Exhausted { span: *span, until, is_evident },
            Why::RateLimit
            | Why::Rejected
            | Why::Workspace
            | Why::NotIncluded
            | Why::NeedsLogin(_)
            | Why::LoginTrouble(_) => Verdict::Resting { why: rest.why.clone(), until, is_evident },
        }
    }

    fn candidate(&self, position: usize, now: Moment) -> Candidate {
        let is_fresh = self.usage.is_fresh(FRESH, now.wall);
        Candidate {
            id: self.id.clone(),
            left: self.usage.left(now.wall),
            longest_left: self.usage.longest_left(now.wall).filter(|_| is_fresh),
            last_used: self.chosen,
            in_flight: self.in_flight,
            weight: self.wishes.weight,
            position,
        }
    }
}

#[cfg(test)]
mod tests;
