//! All slots together: who serves the next request, and what came of it.
//!
//! A choice and the right to be under way are one step here, so two requests never get what one of
//! them was meant to have. Whoever holds that right gives it back, whatever happened.
//!
//! Who may serve is looked at in this order: what the owner decided, models, health, the reserve,
//! places. Among those, the slot that a dialogue belongs to comes first; then the slots with
//! something left, those that are no last resort, the smallest priority, the policy.
//!
//! **Invariant:** nothing that the owner excluded, that was tried, or that is full is ever chosen.
//! **Invariant:** a place that was given is given back once.
//! **Invariant:** when nobody can serve, it is said of every slot why not.
//!
//! Not here: waiting for a place (`relay::slots`), which failures are whose (`relay::fault`).

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Moment, SlotId, Wishes,
    affinity::{self, Affinity, Giver},
    health::{Fault, Fitness, Health, Rest, Why},
    policy::{Candidate, Policy, Rotation, Thresholds, rank},
    verdict::Verdict,
    window::{Family, MAIN, Reading, Source, Usage, Window},
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

/// The model that slots are chosen by for pictures, whatever the client calls it.
///
/// Pictures are counted apart, in a window of their own: what is used up of an account's text stops
/// none of them, and they stop no text.
pub const IMAGES: &str = "gpt-image-2";

/// How many models may rest on one slot; more than there are.
const MOST_MODELS: usize = 32;
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
    /// How it fares with single models, by their names in lower case: only those that rest.
    by_model: Vec<(Box<str>, Health)>,
    /// What its pictures are counted against, as it was last read. Only in memory.
    images: Option<Reading>,
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
    /// What it is chosen for.
    pub model: Option<Box<str>>,
    /// It goes first, to see what came of a rest.
    pub is_probe: bool,
    /// Whose the dialogue was until now, if that is another's.
    pub former: Option<SlotId>,
    /// Digests of what this slot cannot read of the dialogue, if it is its own.
    pub foreign: Vec<u64>,
    /// Digests of what the dialogue's own slot can read, if others have served it for a while.
    pub own: Option<Vec<u64>>,
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
        let Some((id, reason)) = chosen else { return Err(self.no_slot(looks, ask, now)) };
        let its = ask.session.filter(|_| owner.as_ref() == Some(&id));
        let foreign = its.map_or(&[][..], |session| self.affinity.foreign(session, now.instant));
        let foreign = foreign.to_vec();
        let own = ask.session.and_then(|session| self.affinity.own(session, now.instant));
        let own = own.map(<[u64]>::to_vec);
        let former = owner.filter(|owner| *owner != id);
        let model = ask.model.map(|model| model.to_ascii_lowercase().into_boxed_str());
        let is_probe = self.enter(&id, model.as_deref(), now);
        let number = self.choices;
        Ok(Choice { id, reason, number, model, is_probe, former, foreign, own, looks })
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
        let fitness = slot.fitness(ask.model, now);
        match fitness {
            Fitness::Resting if !is_named => return slot.resting(ask.model),
            Fitness::Probed(left) if !is_named => return Verdict::Probed(left),
            Fitness::Fit | Fitness::MayProbe | Fitness::Resting | Fitness::Probed(_) => {}
        }
        let reserved = if counts_apart(ask.model) { None } else { self.reserved(slot, now) };
        if let Some(verdict) = reserved.filter(|_| !is_named) {
            return verdict;
        }
        if self.is_full(slot) {
            return Verdict::Full;
        }
        if fitness != Fitness::Fit {
            return Verdict::MayProbe;
        }
        match slot.usage.spent(now.wall).filter(|_| !counts_apart(ask.model)) {
            Some(window) => Verdict::Spent { span: window.span(), resets_at: window.resets_at },
            None => Verdict::Ready,
        }
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
        let is_allowed = slot.wishes.models.is_empty() || names(&slot.wishes.models, model);
        let is_known = || self.slots().any(|slot| slot.has(model));
        is_allowed && (slot.models.is_none() || slot.has(model) || !is_known())
    }

    fn by_policy(
        &mut self,
        can_serve: &dyn Fn(&SlotId) -> bool,
        now: Moment,
    ) -> Option<(SlotId, Reason)> {
        let able = || self.slots().filter(|slot| can_serve(&slot.id));
        let group = |slot: &Slot| {
            let is_spent = slot.usage.spent(now.wall).is_some();
            (is_spent, slot.wishes.is_last_resort, slot.wishes.priority)
        };
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
            .filter(|(_, slot)| slot.may_be_tried(ask, now) && !self.is_full(slot))
            .filter(|(_, slot)| counts_apart(ask.model) || self.reserved(slot, now).is_none())
            .collect();
        hopeful.sort_by_key(|(look, _)| look.verdict.until().unwrap_or(Timestamp::MAX));
        hopeful.first().map(|(look, _)| look.id.clone())
    }

    fn no_slot(&self, looks: Vec<Look>, ask: Ask<'_>, now: Moment) -> NoSlot {
        let is_full = looks.iter().any(|look| look.verdict.is_occupied());
        let wait = |look: &Look| {
            if let Verdict::Probed(left) = look.verdict {
                return Some(left);
            }
            let until = look.verdict.until()?;
            if look.verdict.is_rest() {
                return self.slot(&look.id)?.left(ask.model, now);
            }
            Duration::try_from(until.duration_since(now.wall)).ok()
        };
        let wait = looks.iter().filter_map(wait).min().map(|wait| wait.min(LONGEST_WAIT));
        NoSlot { looks, is_full, wait }
    }

    /// Takes a place. Whether it is the one that goes first.
    fn enter(&mut self, id: &SlotId, model: Option<&str>, now: Moment) -> bool {
        self.choices += 1;
        let choices = self.choices;
        let Some(slot) = self.find(id) else { return false };
        slot.in_flight += 1;
        slot.chosen = choices;
        slot.last_used = Some(now.wall);
        let with_model = slot.with_model(model).is_some_and(|it| it.probe(choices, now.instant));
        // What comes of it says nothing about that for which the slot itself rests.
        !counts_apart(model) && slot.health.probe(choices, now.instant) || with_model
    }

    /// Gives back the place of the choice `number`.
    pub fn leave(&mut self, id: &SlotId, number: u64) {
        if let Some(slot) = self.find(id) {
            slot.in_flight = slot.in_flight.saturating_sub(1);
            slot.health.unprobe(number);
            slot.by_model.iter_mut().for_each(|(_, health)| health.unprobe(number));
        }
        self.slots.retain(|slot| !slot.is_gone || slot.in_flight > 0);
    }

    /// A request for `model` that was sent at `sent` was answered by `id`.
    pub fn answered(&mut self, id: &SlotId, model: Option<&str>, sent: Instant) {
        if let Some(slot) = self.find(id) {
            if counts_apart(model) {
                slot.health.vouched(sent);
            } else {
                slot.health.answered(sent);
            }
            if let Some(health) = slot.with_model(model) {
                health.answered(sent);
            }
            slot.by_model.retain(|(_, health)| health.rest().is_some());
            slot.n_served += 1;
            slot.last_error = None;
        }
    }

    /// The dialogue `session` is `id`'s now, which cannot read `foreign`.
    pub fn bind(&mut self, session: &str, id: &SlotId, foreign: &[u64], now: Moment) {
        self.affinity.bind(session, id, foreign, now.instant);
    }

    /// A turn of `session`, which holds `thoughts`, was served by another slot than its own.
    pub fn lend(&mut self, session: &str, thoughts: &[u64], now: Moment) {
        self.affinity.lend(session, thoughts, now.instant);
    }

    /// `id` gave the state of a turn whose digest is `turn`.
    pub fn gave_turn(&mut self, turn: u64, id: &SlotId, now: Moment) {
        self.affinity.turn_is_of(turn, Giver::Slot(id.clone()), now.instant);
    }

    /// Whether the state of a turn that came with a request of `session` is `id`'s. What nobody
    /// knows is the slot's that has the dialogue already; it is a stranger's from then on if not.
    pub fn has_given_turn(&mut self, turn: u64, session: &str, id: &SlotId, now: Moment) -> bool {
        if let Some(giver) = self.affinity.giver(turn) {
            return matches!(giver, Giver::Slot(its) if its == id);
        }
        let is_owner = self.affinity.owner(session, now.instant) == Some(id);
        if !is_owner {
            self.affinity.turn_is_of(turn, Giver::Stranger, now.instant);
        }
        is_owner
    }

    /// A request for `model` that was sent at `sent` failed by the fault of `id`'s account.
    pub fn failed(
        &mut self,
        id: &SlotId,
        model: Option<&str>,
        fault: Fault,
        (sent, now): (Instant, Moment),
    ) {
        let Some(slot) = self.find(id) else { return };
        let is_apart = fault.is_apart(model);
        let fault = if is_apart { slot.apart(fault, now) } else { fault };
        slot.n_failed += 1;
        slot.last_error = Some(fault.why.sentence());
        let is_models = is_apart || matches!(fault.why, Why::ModelLimit { .. });
        if let Some(model) = model.filter(|_| is_models) {
            // What is over for some models says nothing about the others.
            slot.fails_with(model, fault, sent, now);
        } else {
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
    ///
    /// A window that is used up stops nobody by itself: there may be credits. Whether it does is
    /// said by a refusal, or by the upstream when it is asked.
    pub fn read(&mut self, id: &SlotId, reading: &Reading, now: Moment) -> bool {
        let Some(slot) = self.find(id) else { return false };
        if !slot.usage.take(reading) {
            return false;
        }
        let window = slot.usage.exhausted(now.wall);
        match reading.source {
            // It says itself how long it holds.
            Source::Refusal => true,
            Source::Route if reading.limits.reached.is_some() => {
                let why = Why::UsageLimit { span: window.map(|window| window.span()) };
                let fault = Fault { why, until: window.and_then(|window| window.resets_at) };
                slot.health.failed(&slot.id, fault, reading.asked_at, now);
                true
            }
            Source::Answer | Source::Route => {
                let is_spent = slot.usage.spent(now.wall).is_some();
                let has_room = !is_spent && !slot.usage.is_unknown(now.wall);
                let ends_all = has_room
                    && slot
                        .health
                        .saw_room(reading.asked_at, |why| matches!(why, Why::UsageLimit { .. }));
                slot.saw_room_for_models(reading, now) || ends_all
            }
        }
    }

    /// Takes what an answer said of the window of `id`'s pictures. Nothing can be bought to go on
    /// with, so one that is used up stops them until it resets.
    pub fn read_images(&mut self, id: &SlotId, reading: &Reading, now: Moment) {
        let Some(slot) = self.find(id) else { return };
        let is_older = slot.images.as_ref().is_some_and(|it| reading.asked_at < it.asked_at);
        if is_older || reading.limits.families.is_empty() {
            return;
        }
        slot.images = Some(reading.clone());
        if let Some(limit) = slot.images_spent(now.wall).map(Fault::from) {
            slot.fails_with(IMAGES, limit, reading.asked_at, now);
        } else {
            slot.saw_room_for_models(reading, now);
        }
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
        let rested = meant.filter(|slot| slot.health.rest().is_some() || !slot.by_model.is_empty());
        rested.map(Slot::clear).count()
    }

    /// The login of `id` is another one now, perhaps of another account.
    pub fn login_changed(&mut self, id: &SlotId) {
        if let Some(slot) = self.find(id) {
            slot.health.login_changed();
        }
    }

    /// `id` is about to be used for the account that `owner` is the digest of. If that is another
    /// than before, nothing that is known of the slot is about it. Whether it is another.
    pub fn owned_by(&mut self, id: &SlotId, owner: u64) -> bool {
        let Some(slot) = self.find(id) else { return false };
        let former = slot.owner.replace(owner);
        let is_other = former.is_some_and(|former| former != owner);
        if is_other {
            slot.usage = Usage::default();
            slot.images = None;
            slot.clear();
            slot.models = None;
            slot.last_error = None;
            self.affinity.forget(id);
        }
        is_other
    }

    /// Whether `id` is still used for `owner`; nothing that is heard of that one later is about
    /// another. Nobody is whoever it is.
    pub fn is_still(&self, id: &SlotId, owner: Option<u64>) -> bool {
        owner.is_none() || self.slot(id).and_then(Slot::owner) == owner
    }

    /// What is held against `id`, or against all, may be out of date.
    pub fn doubt(&mut self, id: Option<&SlotId>, now: Moment) {
        let meant = self.slots.iter_mut().filter(|slot| id.is_none_or(|id| slot.id == *id));
        for slot in meant {
            slot.health.doubt(now);
            slot.by_model.iter_mut().for_each(|(_, health)| health.doubt(now));
        }
    }

    /// What `slot` looks like to somebody who comes now.
    pub fn state(&self, slot: &Slot, now: Moment) -> Verdict {
        self.state_for(slot, None, now)
    }

    /// The same to somebody who wants `model`.
    pub fn state_for(&self, slot: &Slot, model: Option<&str>, now: Moment) -> Verdict {
        // A login that has died stays dead when the rest for it is over.
        let is_on = slot.wishes.is_enabled && !slot.wishes.is_paused;
        if is_on && slot.resting(None).needs_login() {
            return slot.resting(None);
        }
        let ask = Ask { session: None, model, tried: &[], only: None, since: now.instant };
        self.verdict(slot, ask, now)
    }

    fn find(&mut self, id: &SlotId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == *id)
    }
}

/// Whether requests for `model` are counted apart from all others.
pub fn counts_apart(model: Option<&str>) -> bool {
    model.is_some_and(|model| model.eq_ignore_ascii_case(IMAGES))
}

impl Fault {
    /// Whether it concerns only what is counted apart, to which `model` may belong.
    pub fn is_apart(&self, model: Option<&str>) -> bool {
        counts_apart(model) && self.why.is_of_use()
    }
}

/// A window of pictures that is used up, and the name of its limit.
struct Spent<'a>(&'a Family, Window);

impl From<Spent<'_>> for Fault {
    fn from(Spent(family, window): Spent<'_>) -> Self {
        Self { why: Why::ModelLimit { limit: family.id.clone() }, until: window.resets_at }
    }
}

/// Whether `list` names `model`, however it is capitalised.
pub fn names(list: &[String], model: &str) -> bool {
    list.iter().any(|name| name.eq_ignore_ascii_case(model))
}

impl Slot {
    /// Whose it was when it was last used, by a digest.
    pub fn owner(&self) -> Option<u64> {
        self.owner
    }

    fn new(id: SlotId, wishes: Wishes) -> Self {
        Self {
            id,
            wishes,
            usage: Usage::default(),
            health: Health::default(),
            by_model: Vec::new(),
            images: None,
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

    /// Whether its account is known to have `model`.
    pub fn has(&self, model: &str) -> bool {
        self.models.as_deref().is_some_and(|list| names(list, model))
    }

    /// How it fares with `model`, if that is another matter than how it fares.
    fn with_model(&mut self, model: Option<&str>) -> Option<&mut Health> {
        let model = model?;
        let mut known = self.by_model.iter_mut();
        known.find(|(name, _)| name.eq_ignore_ascii_case(model)).map(|(_, health)| health)
    }

    /// What its pictures are counted against, as it was last read.
    pub fn images(&self) -> Option<&Reading> {
        self.images.as_ref()
    }

    /// The window of its pictures that is used up and resets last.
    fn images_spent(&self, now: Timestamp) -> Option<Spent<'_>> {
        let families = self.images.iter().flat_map(|reading| &reading.limits.families);
        let windows = families.flat_map(|family| family.windows.iter().map(move |it| (family, it)));
        let spent = windows.filter(|(_, window)| window.left(now) <= 0.0);
        let last = spent.max_by_key(|(_, window)| window.resets_at.unwrap_or(Timestamp::MAX));
        last.map(|(family, window)| Spent(family, *window))
    }

    /// `fault` as one that concerns its pictures alone.
    fn apart(&self, fault: Fault, now: Moment) -> Fault {
        let Why::UsageLimit { .. } = fault.why else { return fault };
        let known = self.images_spent(now.wall).map(Fault::from);
        let limit = || Why::ModelLimit { limit: IMAGES.to_owned() };
        let (why, until) = known.map_or_else(|| (limit(), None), |known| (known.why, known.until));
        Fault { why, until: fault.until.or(until) }
    }

    /// What there is to go by for `model`.
    fn healths(&self, model: Option<&str>) -> impl Iterator<Item = Cow<'_, Health>> {
        let is_meant =
            move |name: &str| model.is_some_and(|model| name.eq_ignore_ascii_case(model));
        let with_model = self.by_model.iter().filter(move |(name, _)| is_meant(name));
        let own = if counts_apart(model) {
            self.health.of_account()
        } else {
            Cow::Borrowed(&self.health)
        };
        std::iter::once(own).chain(with_model.map(|(_, health)| Cow::Borrowed(health)))
    }

    fn fitness(&self, model: Option<&str>, now: Moment) -> Fitness {
        self.healths(model).map(|health| health.fitness(now)).max().unwrap_or(Fitness::Fit)
    }

    fn may_be_tried(&self, ask: Ask<'_>, now: Moment) -> bool {
        self.healths(ask.model).all(|health| health.may_be_tried(ask.since, now))
    }

    /// How long it still rests.
    fn left(&self, model: Option<&str>, now: Moment) -> Option<Duration> {
        self.healths(model).filter_map(|health| health.left(now)).max()
    }

    fn fails_with(&mut self, model: &str, fault: Fault, sent: Instant, now: Moment) {
        if self.with_model(Some(model)).is_none() {
            if self.by_model.len() >= MOST_MODELS {
                self.by_model.remove(0);
            }
            self.by_model.push((model.to_ascii_lowercase().into(), Health::default()));
        }
        let id = self.id.clone();
        if let Some(health) = self.with_model(Some(model)) {
            health.failed(&id, fault, sent, now);
        }
        self.by_model.retain(|(_, health)| health.rest().is_some());
    }

    /// Ends what is held against models whose limit has room by `reading`.
    fn saw_room_for_models(&mut self, reading: &Reading, now: Moment) -> bool {
        let has_room = |why: &Why| {
            let Why::ModelLimit { limit } = why else { return false };
            reading.limits.families.iter().any(|family| {
                let windows = &family.windows;
                family.id == *limit
                    && family.id != MAIN
                    && windows.iter().all(|window| window.left(now.wall) > 0.0)
            })
        };
        let before = self.by_model.len();
        for (_, health) in &mut self.by_model {
            health.saw_room(reading.asked_at, has_room);
        }
        self.by_model.retain(|(_, health)| health.rest().is_some());
        self.by_model.len() < before
    }

    /// Nothing is held against it any more.
    fn clear(&mut self) {
        self.health.clear();
        self.by_model.clear();
    }

    fn resting(&self, model: Option<&str>) -> Verdict {
        let rests = self.healths(model).filter_map(|health| health.rest().cloned());
        let Some(rest) = rests.max_by_key(Rest::weight) else { return Verdict::Ready };
        let Rest { why, until, is_evident, .. } = rest;
        match why {
            Why::UsageLimit { span } => Verdict::Exhausted { span, until, is_evident },
            Why::ModelLimit { .. }
            | Why::RateLimit
            | Why::Rejected
            | Why::Workspace
            | Why::NotIncluded
            | Why::NoImages
            | Why::NeedsLogin(_)
            | Why::LoginTrouble(_) => Verdict::Resting { why, until, is_evident },
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
