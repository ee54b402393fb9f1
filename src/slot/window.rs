//! What is left of an account: usage windows, known by their length.
//!
//! Where a window is written says nothing about how long it is: a plan may report its week alone,
//! in the place where others have their five hours. A reading is a moment's: what it says of a
//! window that has reset since is no longer true, and what it does not mention is unknown, not
//! zero.
//!
//! **Invariant:** an older reading never replaces a newer one.
//!
//! Not here: how readings are written in headers and documents (`upstream::usage`).

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::Moment;

/// The limit that every account has.
pub const MAIN: &str = "codex";
/// How long a window of unknown length that names no reset is believed.
const UNKNOWN_MINUTES: u64 = 300;

/// What one answer says about an account's limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The account's own limit first, then those of single models or features.
    pub families: Vec<Family>,
    pub plan_type: Option<String>,
    /// The family that this request counted against.
    pub active: Option<String>,
    /// Why the account is stopped, such as `workspace_member_usage_limit_reached`.
    pub reached: Option<String>,
    pub credits: Option<Credits>,
    /// Usage resets that the upstream grants, where that is said.
    pub resets_available: Option<i64>,
}

/// The windows of one limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Lower case with underscores, such as `codex_bengalfox`.
    pub id: String,
    /// What the upstream calls it.
    pub name: Option<String>,
    pub windows: Vec<Window>,
}

/// How much of a stretch of time is used up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub used_percent: f64,
    pub minutes: Option<u64>,
    pub resets_at: Option<Timestamp>,
}

/// The lengths that have a name, shortest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    FiveHours,
    Day,
    Week,
    Month,
    Other,
}

impl Span {
    /// Of a window of so many minutes.
    pub fn of_minutes(minutes: Option<u64>) -> Self {
        match minutes {
            Some(240..=360) => Self::FiveHours,
            Some(1_380..=1_500) => Self::Day,
            Some(9_000..=11_000) => Self::Week,
            Some(40_000..=45_000) => Self::Month,
            Some(_) | None => Self::Other,
        }
    }

    /// As people say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FiveHours => "5 h",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Other => "other",
        }
    }

    /// As documents have it.
    pub fn key(self) -> &'static str {
        match self {
            Self::FiveHours => "five_hours",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Other => "other",
        }
    }
}

/// What was bought beyond the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credits {
    pub available: bool,
    pub unlimited: bool,
    pub balance: Option<String>,
}

impl Limits {
    /// When the last used-up window of the limit that applied resets. `None` when none is used up,
    /// or it is not said when.
    pub fn exhausted_until(&self) -> Option<Timestamp> {
        let active = |family: &&Family| Some(&family.id) == self.active.as_ref();
        let family = self.families.iter().find(active);
        let family = family.or_else(|| self.families.iter().find(|family| family.id == MAIN))?;
        family.windows.iter().filter(|window| window.is_used_up()).filter_map(|w| w.resets_at).max()
    }
}

impl Window {
    pub fn span(&self) -> Span {
        Span::of_minutes(self.minutes)
    }

    pub fn is_used_up(&self) -> bool {
        self.used_percent >= 100.0
    }

    /// What is left of it in percent, 0 to 100. All, once it has reset.
    pub fn left(&self, now: Timestamp) -> f64 {
        let is_over = self.resets_at.is_some_and(|at| at <= now);
        if is_over { 100.0 } else { (100.0 - self.used_percent).clamp(0.0, 100.0) }
    }

    /// This window, if it can still tell anything at `now`, having been read at `read_at`. One that
    /// does not say when it resets has done so after its length.
    fn unless_stale(&self, read_at: Timestamp, now: Timestamp) -> Option<Self> {
        let minutes = self.minutes.unwrap_or(UNKNOWN_MINUTES);
        let length = SignedDuration::from_mins(i64::try_from(minutes).unwrap_or(i64::MAX / 60));
        let end = || read_at.checked_add(length).unwrap_or(Timestamp::MAX);
        (self.resets_at.is_some() || now < end()).then_some(*self)
    }

    /// How long the stretch is; one of unknown length counts as longer than any.
    fn length(&self) -> u64 {
        self.minutes.unwrap_or(u64::MAX)
    }
}

/// Limits as they were read at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub limits: Limits,
    pub source: Source,
    /// When what was asked for them was sent: what happened later it cannot know.
    pub asked_at: Instant,
    /// When they came, by the wall clock.
    pub at: Timestamp,
}

/// Where a reading comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An answer to something else, on its side.
    Answer,
    /// A refusal, which says itself how long it holds.
    Refusal,
    /// The upstream was asked for it.
    Route,
}

/// What is known of an account's windows. Nothing, at first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    families: Vec<(Family, Timestamp)>,
    pub plan_type: Option<String>,
    pub credits: Option<Credits>,
    pub resets_available: Option<i64>,
    /// When anything was last read.
    pub read_at: Option<Timestamp>,
    last_asked_at: Option<Instant>,
}

/// What is left of the two windows that accounts are chosen by, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Left {
    pub five_hours: Option<f64>,
    pub week: Option<f64>,
}

impl Usage {
    /// Takes `reading`, unless something newer is known already. Whether it was taken.
    pub fn take(&mut self, reading: &Reading) -> bool {
        if self.last_asked_at.is_some_and(|last| reading.asked_at < last) {
            return false;
        }
        let Limits { families, plan_type, credits, resets_available, .. } = &reading.limits;
        if families.is_empty() && plan_type.is_none() {
            return false;
        }
        self.last_asked_at = Some(reading.asked_at);
        self.read_at = Some(reading.at);
        for family in families {
            self.families.retain(|(known, _)| known.id != family.id);
            self.families.push((family.clone(), reading.at));
        }
        self.families.sort_by(|(a, _), (b, _)| (a.id != MAIN, &a.id).cmp(&(b.id != MAIN, &b.id)));
        let newer = |new: &Option<String>, old: &mut Option<String>| {
            if new.is_some() {
                old.clone_from(new);
            }
        };
        newer(plan_type, &mut self.plan_type);
        if credits.is_some() {
            self.credits.clone_from(credits);
        }
        self.resets_available = resets_available.or(self.resets_available);
        true
    }

    /// Whether nothing is known of its windows.
    pub fn is_unknown(&self, now: Timestamp) -> bool {
        self.windows(now).is_empty()
    }

    /// Whether it was read less than `age` ago.
    pub fn is_fresh(&self, age: SignedDuration, now: Timestamp) -> bool {
        self.read_at.is_some_and(|at| now.duration_since(at) < age && at <= now)
    }

    /// All limits, the account's own first.
    pub fn families(&self) -> impl Iterator<Item = &Family> {
        self.families.iter().map(|(family, _)| family)
    }

    /// The windows of the account's own limit, shortest first.
    pub fn windows(&self, now: Timestamp) -> Vec<Window> {
        self.of(MAIN, now)
    }

    fn of(&self, id: &str, now: Timestamp) -> Vec<Window> {
        let meant = self.families.iter().filter(|(family, _)| family.id == id);
        let live = |(family, read_at): &(Family, Timestamp)| {
            let (windows, read_at) = (family.windows.clone(), *read_at);
            windows.into_iter().filter_map(move |window| window.unless_stale(read_at, now))
        };
        let mut windows: Vec<_> = meant.flat_map(live).collect();
        windows.sort_by_key(Window::length);
        windows
    }

    /// What is left at `now`. A plan without a short window has the whole of it; one whose longest
    /// is a month is weighed by that in place of a week.
    pub fn left(&self, now: Timestamp) -> Left {
        let windows = self.windows(now);
        if windows.is_empty() {
            return Left::default();
        }
        let of = |span| windows.iter().find(|window| window.span() == span);
        let longest = || windows.iter().rfind(|window| window.span() != Span::FiveHours);
        let short = of(Span::FiveHours);
        let long = of(Span::Week).or_else(|| of(Span::Month)).or_else(longest).or(short);
        let left = |window: Option<&Window>| window.map_or(100.0, |window| window.left(now));
        Left { five_hours: Some(left(short)), week: Some(left(long)) }
    }

    /// What is left of the longest window in percent; `None` when nothing is known.
    pub fn longest_left(&self, now: Timestamp) -> Option<f64> {
        self.windows(now).last().map(|window| window.left(now))
    }

    /// The window that is used up and resets last.
    pub fn exhausted(&self, now: Timestamp) -> Option<Window> {
        self.floor(0.0, now)
    }

    /// The same, unless something was bought to go on with.
    pub fn spent(&self, now: Timestamp) -> Option<Window> {
        let has_credit =
            self.credits.as_ref().is_some_and(|credits| credits.available || credits.unlimited);
        self.exhausted(now).filter(|_| !has_credit)
    }

    /// The window of which no more than `floor` percent are left, and which resets last.
    pub fn floor(&self, floor: f64, now: Timestamp) -> Option<Window> {
        let windows = self.windows(now).into_iter();
        // One that does not say when it resets lasts longest.
        let last = |window: &Window| window.resets_at.unwrap_or(Timestamp::MAX);
        windows.filter(|window| window.left(now) <= floor).max_by_key(last)
    }

    /// What is known, as one reading would say it.
    pub fn limits(&self) -> Limits {
        Limits {
            families: self.families().cloned().collect(),
            plan_type: self.plan_type.clone(),
            active: None,
            reached: None,
            credits: self.credits.clone(),
            resets_available: self.resets_available,
        }
    }
}

impl Reading {
    /// `limits`, which came with an answer that was asked for at `asked`.
    pub fn new(limits: Limits, source: Source, asked: Instant, now: Moment) -> Self {
        Self { limits, source, asked_at: asked, at: now.wall }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn window(minutes: u64, used_percent: f64, resets_at: i64) -> Window {
        Window { used_percent, minutes: Some(minutes), resets_at: Some(at(resets_at)) }
    }

    fn limits(windows: &[Window]) -> Limits {
        let id = MAIN.to_owned();
        let families = vec![Family { id, name: None, windows: windows.to_vec() }];
        Limits { families, ..Limits::default() }
    }

    fn known(windows: &[Window]) -> Usage {
        let mut usage = Usage::default();
        usage.take(&reading(limits(windows), start()));
        usage
    }

    fn reading(limits: Limits, asked_at: Instant) -> Reading {
        Reading { limits, source: Source::Answer, asked_at, at: at(0) }
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_window_is_known_by_its_length() {
        for (minutes, span) in [
            (300, Span::FiveHours),
            (299, Span::FiveHours),
            (1_440, Span::Day),
            (10_080, Span::Week),
            (43_200, Span::Month),
            (60, Span::Other),
        ] {
            assert_eq!(window(minutes, 1.0, 9).span(), span, "{minutes}");
        }
    }

    #[test]
    fn what_is_left_goes_by_length_and_not_by_place() {
        let check = |windows: &[Window], five_hours: f64, week: f64| {
            let expected = Left { five_hours: Some(five_hours), week: Some(week) };
            assert_eq!(known(windows).left(at(10)), expected, "{windows:?}");
        };
        check(&[window(300, 40.0, 99), window(10_080, 10.0, 99)], 60.0, 90.0);
        check(&[window(10_080, 10.0, 99), window(300, 40.0, 99)], 60.0, 90.0);
        // A week alone has no short window to run into.
        check(&[window(10_080, 70.0, 99)], 100.0, 30.0);
        check(&[window(43_200, 70.0, 99)], 100.0, 30.0);
        check(&[window(300, 70.0, 99)], 30.0, 30.0);
        // What has reset is whole again.
        check(&[window(300, 100.0, 10), window(10_080, 120.0, 99)], 100.0, 0.0);
        assert_eq!(Usage::default().left(at(10)), Left::default());
    }

    #[test]
    fn the_window_that_resets_last_is_waited_for() {
        let usage = known(&[window(300, 100.0, 50), window(10_080, 100.0, 900)]);
        assert_eq!(usage.exhausted(at(10)), Some(window(10_080, 100.0, 900)));
        assert_eq!(usage.exhausted(at(900)), None);
        assert_eq!(usage.spent(at(10)), usage.exhausted(at(10)));
        let credits = Some(Credits { available: true, unlimited: false, balance: None });
        assert_eq!(Usage { credits, ..usage }.spent(at(10)), None);
        let usage = known(&[window(300, 79.0, 50), window(10_080, 80.0, 900)]);
        assert_eq!(usage.floor(20.0, at(10)), Some(window(10_080, 80.0, 900)));
        assert_eq!(usage.floor(19.0, at(10)), None);
    }

    #[test]
    fn an_older_reading_replaces_nothing_and_a_silent_one_forgets_nothing() {
        let old = start();
        let new = old + Duration::from_secs(1);
        let mut usage = Usage::default();
        let used = |used, asked_at| reading(limits(&[window(300, used, 99)]), asked_at);
        assert!(usage.take(&used(30.0, new)));
        assert!(!usage.take(&used(20.0, old)));
        assert!(!usage.take(&reading(Limits::default(), new)));
        assert_eq!(usage.windows(at(1)), [window(300, 30.0, 99)]);
        let id = "imagegen_premium".to_owned();
        let images = Family { id, name: None, windows: vec![window(1_440, 5.0, 99)] };
        let also = Limits { families: vec![images], ..Limits::default() };
        assert!(usage.take(&reading(also, new)));
        assert_eq!(usage.families().count(), 2);
        assert_eq!(usage.windows(at(1)).len(), 1);
    }

    #[test]
    fn a_window_that_names_no_reset_is_not_believed_for_ever() {
        let endless = |minutes| Window { used_percent: 100.0, minutes, resets_at: None };
        for (minutes, length) in [(Some(300), 18_000), (None, 18_000), (Some(10_080), 604_800)] {
            let usage = known(&[endless(minutes)]);
            assert!(usage.exhausted(at(length - 1)).is_some(), "{minutes:?}");
            assert!(usage.exhausted(at(length)).is_none(), "{minutes:?}");
            assert!(usage.is_unknown(at(length)), "{minutes:?}");
        }
    }
}
