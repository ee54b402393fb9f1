//! How a slot has fared, as a whole or with one model: when it is left alone, why, and how that ends.
//!
//! A rest is a hypothesis about the other side. It ends at the time that the evidence names; or
//! when a reading that was asked for later shows room; or when a request that was let through all
//! the same is answered. Where there is no evidence it grows from seconds to minutes. Its end is
//! kept on both clocks and counts on whichever is first: the wall clock goes on while the machine
//! sleeps, the other one cannot be set back.
//!
//! There may be several, for reasons that have nothing to do with each other; all must be over.
//! After that one request goes first; the others follow when it was answered, or when it has not
//! been refused for a while: a refusal comes at once, an answer may take minutes.
//!
//! **Invariant:** what was sent before a rest began neither ends it nor prolongs it without evidence.
//! **Invariant:** every rest has an end.
//!
//! Not here: who is chosen (`pool`), which failures are an account's (`relay`).

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{Moment, SlotId, window::Span};

/// The first rest for which there is no evidence, and the longest.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(5);
/// How often a request may see whether evidence still holds, when no other slot is left.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// How long others wait for the one that goes first.
const HOLD: Duration = Duration::from_secs(3);
/// No evidence is believed for longer: the longest window is a month.
const MOST: SignedDuration = SignedDuration::from_hours(32 * 24);

/// Why a slot rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A window is used up, or something bought is.
    UsageLimit { span: Option<Span> },
    /// The same of a limit that concerns some models only, which goes by this name.
    ModelLimit { limit: String },
    /// The upstream asks to be asked less often.
    RateLimit,
    /// The upstream does not take tokens that were just renewed.
    Rejected,
    /// The workspace is not active, or not this account's.
    Workspace,
    /// The plan has no Codex.
    NotIncluded,
    /// The account makes no pictures.
    NoImages,
    /// Only a new login helps. The sentence says why.
    NeedsLogin(String),
    /// The login could not be renewed or read now. The sentence says why.
    LoginTrouble(String),
}

impl Why {
    /// As documents have it.
    pub fn key(&self) -> &'static str {
        match self {
            Self::UsageLimit { .. } => "usage_limit",
            Self::ModelLimit { .. } => "model_limit",
            Self::RateLimit => "rate_limit",
            Self::Rejected => "rejected",
            Self::Workspace => "workspace",
            Self::NotIncluded => "plan_not_included",
            Self::NoImages => "images_not_enabled",
            Self::NeedsLogin(_) => "needs_login",
            Self::LoginTrouble(_) => "login_trouble",
        }
    }

    /// As people read it.
    pub fn sentence(&self) -> String {
        match self {
            Self::UsageLimit { span: Some(span) } => {
                format!("the {} window is used up", span.as_str())
            }
            Self::UsageLimit { span: None } => "its usage limit is reached".to_owned(),
            Self::ModelLimit { limit } => format!("its limit `{limit}` for this model is reached"),
            Self::RateLimit => "it was asked too often".to_owned(),
            Self::Rejected => "its login is not accepted".to_owned(),
            Self::Workspace => "its workspace is not accepted".to_owned(),
            Self::NotIncluded => "its plan does not include Codex".to_owned(),
            Self::NoImages => "its account makes no images".to_owned(),
            Self::NeedsLogin(why) | Self::LoginTrouble(why) => why.trim_end_matches('.').to_owned(),
        }
    }

    /// Whether it is about the login and not about the account.
    fn is_of_login(&self) -> bool {
        matches!(self, Self::Rejected | Self::NeedsLogin(_) | Self::LoginTrouble(_))
    }

    /// Whether it is about what was asked of the account, and not about who it is: then it says
    /// nothing about what is counted apart.
    pub(super) fn is_of_use(&self) -> bool {
        match self {
            Self::UsageLimit { .. }
            | Self::ModelLimit { .. }
            | Self::RateLimit
            | Self::NoImages => true,
            Self::Rejected
            | Self::Workspace
            | Self::NotIncluded
            | Self::NeedsLogin(_)
            | Self::LoginTrouble(_) => false,
        }
    }
}

/// A failure that is an account's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub why: Why,
    /// When it is over, as the upstream says.
    pub until: Option<Timestamp>,
}

/// A time in which a slot is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    pub why: Why,
    pub until: Timestamp,
    /// Whether somebody said how long, rather than we.
    pub is_evident: bool,
    began: Instant,
    ends: Instant,
}

impl Rest {
    pub fn is_over(&self, now: Moment) -> bool {
        self.until <= now.wall || self.ends <= now.instant
    }

    /// How long it still is, by the clock on which it ends first.
    pub fn left(&self, now: Moment) -> Duration {
        let wall = Duration::try_from(self.until.duration_since(now.wall)).unwrap_or_default();
        wall.min(self.ends.saturating_duration_since(now.instant))
    }

    /// What is told of a slot that rests for several reasons: that it needs a login, else what
    /// lasts longest.
    pub(super) fn weight(&self) -> (bool, Instant) {
        (matches!(self.why, Why::NeedsLogin(_)), self.ends)
    }
}

/// How a slot has fared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// One of each kind at most.
    rests: Vec<Rest>,
    /// Faults since the last answer.
    n_faults: u32,
    probe: Option<Probe>,
    last_fault: Option<Instant>,
    /// When the latest request was sent that was answered.
    last_good: Option<Instant>,
}

/// The one request that goes first, while it is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Probe {
    number: u64,
    began: Instant,
}

/// Whether a request may be sent, as far as health goes. The worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fitness {
    Fit,
    /// Its rest is over, and one request may see what came of it.
    MayProbe,
    /// One is seeing what came of it; the others wait for so long at most.
    Probed(Duration),
    Resting,
}

impl Health {
    pub fn fitness(&self, now: Moment) -> Fitness {
        if self.rests.is_empty() {
            return Fitness::Fit;
        }
        let is_over = self.rests.iter().all(|rest| rest.is_over(now));
        match &self.probe {
            Some(probe) => {
                let age = now.instant.saturating_duration_since(probe.began);
                match HOLD.checked_sub(age).filter(|left| !left.is_zero()) {
                    Some(left) => Fitness::Probed(left),
                    None if is_over => Fitness::Fit,
                    None => Fitness::Resting,
                }
            }
            None if is_over => Fitness::MayProbe,
            None => Fitness::Resting,
        }
    }

    /// What there is to tell of why it rests.
    pub fn rest(&self) -> Option<&Rest> {
        self.rests.iter().max_by_key(|rest| rest.weight())
    }

    /// How long it still rests.
    pub fn left(&self, now: Moment) -> Option<Duration> {
        self.rests.iter().map(|rest| rest.left(now)).max()
    }

    pub fn n_faults(&self) -> u32 {
        self.n_faults
    }

    /// Whether it rests for another reason than that its login has died: that is not mended by
    /// asking for what is left.
    pub fn may_be_mended(&self) -> bool {
        !self.rests.is_empty() && !self.rests.iter().any(|rest| rest.why.is_of_login())
    }

    /// Whether someone who has waited since `since` may try it although it rests: there is no
    /// other, and what is known may be out of date.
    pub fn may_be_tried(&self, since: Instant, now: Moment) -> bool {
        let is_evident = self.rests.iter().any(|rest| rest.is_evident);
        let Some(began) = self.rests.iter().map(|rest| rest.began).max() else { return true };
        // Whoever was there when it failed shares that failure.
        let is_later = self.last_fault.is_none_or(|last| last < since);
        let is_due = || {
            let last = self.last_fault.unwrap_or(began);
            !is_evident || now.instant.saturating_duration_since(last) >= LOOK_AGAIN
        };
        self.probe.is_none() && is_later && is_due()
    }

    /// The request `number` is on its way; whether it is the one that goes first.
    pub fn probe(&mut self, number: u64, now: Instant) -> bool {
        let goes_first = !self.rests.is_empty() && self.probe.is_none();
        if goes_first {
            self.probe = Some(Probe { number, began: now });
        }
        goes_first
    }

    /// The request `number` came to nothing, neither good nor bad.
    pub fn unprobe(&mut self, number: u64) {
        self.probe.take_if(|probe| probe.number == number);
    }

    /// A request that was sent at `sent` was answered.
    pub fn answered(&mut self, sent: Instant) {
        self.last_good = self.last_good.max(Some(sent));
        self.rests.retain(|rest| sent < rest.began);
        if self.rests.is_empty() {
            self.clear();
        }
    }

    /// A request that was sent at `sent` and is counted apart was answered: the account is in order,
    /// whatever is left of it.
    pub fn vouched(&mut self, sent: Instant) {
        let before = self.rests.len();
        self.rests.retain(|rest| sent < rest.began || rest.why.is_of_use());
        if self.rests.is_empty() && before > 0 {
            self.clear();
        }
    }

    /// What of it holds for that which is counted apart.
    pub fn of_account(&self) -> Cow<'_, Self> {
        if !self.rests.iter().any(|rest| rest.why.is_of_use()) {
            return Cow::Borrowed(self);
        }
        let mut own = self.clone();
        own.rests.retain(|rest| !rest.why.is_of_use());
        if own.rests.is_empty() {
            own.clear();
        }
        Cow::Owned(own)
    }

    /// A request that was sent at `sent` failed by the account's fault.
    pub fn failed(&mut self, id: &SlotId, fault: Fault, sent: Instant, now: Moment) {
        let until = fault.until.filter(|until| *until > now.wall);
        // What was sent before something that was answered says nothing new, unless there is evidence:
        // an answer may go on for long before it fails.
        if until.is_none() && self.last_good.is_some_and(|good| sent < good) {
            return;
        }
        self.last_fault = Some(now.instant);
        let is_known = self.rests.iter().any(|rest| sent < rest.began);
        if is_known && until.is_none() {
            return;
        }
        if !is_known {
            self.n_faults = self.n_faults.saturating_add(1);
        }
        // What was being seen has been seen.
        self.probe = None;
        let rest = match until {
            Some(until) => Rest::until(until, fault.why, now),
            None => Rest::growing(id, self.n_faults, fault.why, now),
        };
        let key = rest.why.key();
        let same = self.rests.iter().position(|known| known.why.key() == key);
        let old = same.map(|n| self.rests.swap_remove(n));
        // A short rest never cuts a longer one for which there is evidence.
        let longer = old.filter(|old| old.is_evident && old.left(now) > rest.left(now));
        self.rests.push(longer.unwrap_or(rest));
    }

    /// It was read, asked for at `asked`, that there is room for what `is_meant`. Whether a rest
    /// ended by it.
    pub fn saw_room(&mut self, asked: Instant, is_meant: impl Fn(&Why) -> bool) -> bool {
        let before = self.rests.len();
        self.rests.retain(|rest| asked < rest.began || !is_meant(&rest.why));
        if self.rests.is_empty() {
            self.clear();
        }
        self.rests.len() < before
    }

    /// Nothing is held against it any more.
    pub fn clear(&mut self) {
        self.rests.clear();
        self.probe = None;
        self.n_faults = 0;
    }

    /// Another login is there, so what was held against the last one says nothing.
    pub fn login_changed(&mut self) {
        self.rests.retain(|rest| !rest.why.is_of_login());
        if self.rests.is_empty() {
            self.clear();
        }
    }

    /// All rests end now, so that one request may see what came of them: somebody used a reset, or
    /// the machine slept.
    pub fn doubt(&mut self, now: Moment) {
        for rest in &mut self.rests {
            rest.ends = rest.ends.min(now.instant);
            rest.until = rest.until.min(now.wall);
        }
    }
}

impl Rest {
    fn until(until: Timestamp, why: Why, now: Moment) -> Self {
        let until = now.wall.checked_add(MOST).map_or(until, |most| until.min(most));
        let length = Duration::try_from(until.duration_since(now.wall)).unwrap_or_default();
        Self { why, until, is_evident: true, began: now.instant, ends: now.instant + length }
    }

    fn growing(id: &SlotId, n_faults: u32, why: Why, now: Moment) -> Self {
        let doubled = SHORTEST.saturating_mul(1 << n_faults.saturating_sub(1).min(10)).min(LONGEST);
        let length = doubled.mul_f64(spread(id, n_faults));
        let span = SignedDuration::try_from(length).unwrap_or(SignedDuration::ZERO);
        let until = now.wall.checked_add(span).unwrap_or(Timestamp::MAX);
        Self { why, until, is_evident: false, began: now.instant, ends: now.instant + length }
    }
}

/// Between 0.8 and 1.2, so that slots that fail together do not come back together.
fn spread(id: &SlotId, n_faults: u32) -> f64 {
    let mixed = id.as_str().bytes().fold(n_faults.wrapping_mul(0x9e37_79b9), |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    0.8 + 0.4 * f64::from(mixed >> 16) / 65_535.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn start() -> Moment {
        Moment { wall: Timestamp::from_second(1_000_000).expect("a time"), instant: Instant::now() }
    }

    fn after(start: Moment, seconds: i64) -> Moment {
        Moment {
            wall: start.wall + SignedDuration::from_secs(seconds),
            instant: start.instant + Duration::from_secs(seconds.unsigned_abs()),
        }
    }

    fn fault(why: Why, until: Option<Timestamp>) -> Fault {
        Fault { why, until }
    }

    fn limit(until: Option<Timestamp>) -> Fault {
        fault(Why::UsageLimit { span: None }, until)
    }

    fn id() -> SlotId {
        SlotId::first()
    }

    #[test]
    fn a_rest_ends_when_the_evidence_says_and_one_goes_first() {
        let t0 = start();
        let mut health = Health::default();
        health.failed(&id(), limit(Some(after(t0, 3600).wall)), t0.instant, t0);
        assert_eq!(health.fitness(after(t0, 3599)), Fitness::Resting);
        let later = after(t0, 3600);
        assert_eq!(health.fitness(later), Fitness::MayProbe);
        assert!(health.probe(7, later.instant) && !health.probe(8, later.instant));
        health.unprobe(8);
        assert_eq!(health.fitness(later), Fitness::Probed(HOLD));
        assert_eq!(health.fitness(after(t0, 3603)), Fitness::Fit);
        health.unprobe(7);
        assert_eq!(health.fitness(later), Fitness::MayProbe);
        health.answered(later.instant);
        assert_eq!(health.fitness(later), Fitness::Fit);
    }

    #[test]
    fn a_rest_without_evidence_grows_and_is_bounded() {
        let mut now = start();
        let mut health = Health::default();
        let mut lengths = Vec::new();
        for _ in 0..12 {
            health.failed(&id(), fault(Why::RateLimit, None), now.instant, now);
            let left = health.rest().expect("a rest").left(now);
            lengths.push(left.as_secs_f64());
            now = after(now, 400);
        }
        assert!((4.0..=6.0).contains(&lengths[0]), "{lengths:?}");
        assert!((8.0..=12.0).contains(&lengths[1]), "{lengths:?}");
        assert!(lengths[11] <= 360.0 && lengths[11] >= 240.0, "{lengths:?}");
    }

    #[test]
    fn fifty_that_fail_together_are_one_fault() {
        let t0 = start();
        let mut health = Health::default();
        for n in 1..=50 {
            health.failed(&id(), fault(Why::RateLimit, None), t0.instant, after(t0, n));
        }
        assert_eq!(health.n_faults(), 1);
        // Evidence counts whenever it comes.
        health.failed(&id(), limit(Some(after(t0, 900).wall)), t0.instant, after(t0, 51));
        assert_eq!(health.fitness(after(t0, 899)), Fitness::Resting);
    }

    #[test]
    fn a_short_rest_cuts_no_long_one() {
        let t0 = start();
        let mut health = Health::default();
        health.failed(&id(), limit(Some(after(t0, 9000).wall)), t0.instant, t0);
        health.failed(&id(), limit(Some(after(t0, 60).wall)), t0.instant, after(t0, 1));
        assert_eq!(health.fitness(after(t0, 8999)), Fitness::Resting);
    }

    #[test]
    fn only_what_was_sent_later_ends_a_rest() {
        let t0 = start();
        let mut health = Health::default();
        health.failed(&id(), limit(Some(after(t0, 900).wall)), t0.instant, after(t0, 5));
        health.answered(after(t0, 4).instant);
        assert_eq!(health.fitness(after(t0, 6)), Fitness::Resting);
        assert!(!health.saw_room(after(t0, 4).instant, |_| true));
        assert!(!health.saw_room(after(t0, 7).instant, |why| *why == Why::RateLimit));
        assert!(health.saw_room(after(t0, 7).instant, |_| true));
        assert_eq!(health.fitness(after(t0, 8)), Fitness::Fit);
        // A failure that was under way before a later success is old news.
        health.answered(after(t0, 9).instant);
        health.failed(&id(), limit(None), after(t0, 8).instant, after(t0, 10));
        assert_eq!(health.fitness(after(t0, 11)), Fitness::Fit);
        let later = limit(Some(after(t0, 900).wall));
        health.failed(&id(), later, after(t0, 8).instant, after(t0, 12));
        assert_eq!(health.fitness(after(t0, 13)), Fitness::Resting, "unless there is evidence");
    }

    #[test]
    fn sleep_and_a_clock_that_is_set_end_a_rest_on_whichever_clock_is_first() {
        let t0 = start();
        let mut health = Health::default();
        health.failed(&id(), limit(Some(after(t0, 3600).wall)), t0.instant, t0);
        let slept = Moment { instant: after(t0, 10).instant, ..after(t0, 4000) };
        assert_eq!(health.fitness(slept), Fitness::MayProbe);
        let set_back = Moment { wall: after(t0, -90_000).wall, ..after(t0, 3600) };
        assert_eq!(health.fitness(set_back), Fitness::MayProbe);
        let far = Timestamp::MAX;
        health.failed(&id(), limit(Some(far)), after(t0, 4001).instant, after(t0, 4001));
        assert_eq!(health.fitness(after(t0, 33 * 86_400)), Fitness::MayProbe);
    }

    #[test]
    fn the_last_slot_is_tried_now_and_then() {
        let t0 = start();
        let mut health = Health::default();
        health.failed(&id(), limit(Some(after(t0, 9000).wall)), t0.instant, t0);
        let tried = |health: &Health, since: i64, now: i64| {
            health.may_be_tried(after(t0, since).instant, after(t0, now))
        };
        assert!(!tried(&health, 1, 30));
        assert!(tried(&health, 1, 61));
        assert!(!tried(&health, 0, 61), "whoever was there shares the failure");
        health.probe(1, after(t0, 61).instant);
        assert!(!tried(&health, 1, 61));
        let mut unsure = Health::default();
        unsure.failed(&id(), fault(Why::Workspace, None), t0.instant, t0);
        assert!(tried(&unsure, 1, 1));
    }
}
