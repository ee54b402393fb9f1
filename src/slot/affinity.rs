//! Which slot a dialogue belongs to.
//!
//! The upstream's prompt cache and the reasoning that it encrypts are an account's own, so a
//! dialogue stays where it began. When its slot can serve no more it moves, with what the other
//! account cannot read known by digest, so that it is left out from then on and not refused at
//! every turn. The same goes for the state of a turn that clients send back: it is passed on to
//! whoever gave it, and to nobody else.
//!
//! **Invariant:** the memory is bounded in entries, in age and in the size of each entry.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::SlotId;

/// How many dialogues are known, and for how long after their last turn.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub most: usize,
    pub keep: Duration,
}

/// The most digests of one dialogue, more than a long day of an agent's work has; a longer one is
/// refused once in a while and mended then.
const MOST_FOREIGN: usize = 2_048;
/// And of all: four megabytes.
const MOST_FOREIGN_OF_ALL: usize = 1 << 19;
/// How many states of turns are known. A turn takes minutes.
const MOST_TURNS: usize = 4_096;

#[derive(Clone, Debug)]
pub struct Affinity {
    settings: Settings,
    bound: HashMap<Box<str>, Bound>,
    /// Who gave the state of a turn, by its digest.
    turns: HashMap<u64, (Giver, Instant)>,
}

/// Who gave the state of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Giver {
    Slot(SlotId),
    /// Nobody here.
    Stranger,
}

#[derive(Clone, Debug)]
struct Bound {
    slot: SlotId,
    last: Instant,
    foreign: Vec<u64>,
    /// What its owner had of it when another slot began to serve it for a while.
    own: Option<Vec<u64>>,
}

impl Affinity {
    pub fn new(settings: Settings) -> Self {
        Self { settings, bound: HashMap::new(), turns: HashMap::new() }
    }

    /// Whose `session` is.
    pub fn owner(&self, session: &str, now: Instant) -> Option<&SlotId> {
        self.live(session, now).map(|bound| &bound.slot)
    }

    /// Digests of what its owner cannot read.
    pub fn foreign(&self, session: &str, now: Instant) -> &[u64] {
        self.live(session, now).map_or(&[], |bound| &bound.foreign)
    }

    /// Digests of what its owner can read, if another slot has served it since.
    pub fn own(&self, session: &str, now: Instant) -> Option<&[u64]> {
        self.live(session, now)?.own.as_deref()
    }

    fn live(&self, session: &str, now: Instant) -> Option<&Bound> {
        let bound = self.bound.get(session)?;
        let age = now.saturating_duration_since(bound.last);
        (age < self.settings.keep).then_some(bound)
    }

    /// A turn of `session` was served by `slot`, which cannot read `foreign`, nor what it could not
    /// read before.
    pub fn bind(&mut self, session: &str, slot: &SlotId, foreign: &[u64], now: Instant) {
        if let Some(bound) = self.bound.get_mut(session).filter(|bound| bound.slot == *slot) {
            bound.last = now;
            bound.own = None;
            bound.add(foreign);
        } else {
            if self.bound.len() >= self.settings.most {
                self.make_room(now);
            }
            let mut bound = Bound { slot: slot.clone(), last: now, foreign: Vec::new(), own: None };
            bound.add(foreign);
            self.bound.insert(session.into(), bound);
        }
        if !foreign.is_empty() {
            self.bound_foreign();
        }
    }

    /// A turn of `session`, which holds `thoughts`, was served by another slot than its own, which is
    /// to have it back.
    pub fn lend(&mut self, session: &str, thoughts: &[u64], now: Instant) {
        let Some(bound) = self.bound.get_mut(session) else { return };
        bound.last = now;
        if bound.own.is_none() {
            let recent = thoughts.len().saturating_sub(MOST_FOREIGN);
            bound.own = Some(thoughts[recent..].to_vec());
            self.bound_foreign();
        }
    }

    fn bound_foreign(&mut self) {
        let all = |bound: &HashMap<Box<str>, Bound>| {
            let own = |bound: &Bound| bound.own.as_ref().map_or(0, Vec::len);
            bound.values().map(|bound| bound.foreign.len() + own(bound)).sum::<usize>()
        };
        while all(&self.bound) > MOST_FOREIGN_OF_ALL && !self.bound.is_empty() {
            self.forget_oldest();
        }
    }

    /// `giver` gave the state of a turn whose digest is `turn`.
    pub fn turn_is_of(&mut self, turn: u64, giver: Giver, now: Instant) {
        if self.turns.len() >= MOST_TURNS && !self.turns.contains_key(&turn) {
            let mut ages: Vec<_> = self.turns.values().map(|(_, last)| *last).collect();
            let (_, median, _) = ages.select_nth_unstable(MOST_TURNS / 2);
            let median = *median;
            self.turns.retain(|_, (_, last)| *last > median);
        }
        self.turns.insert(turn, (giver, now));
    }

    /// Who gave the state of a turn whose digest is `turn`, if that is known.
    pub fn giver(&self, turn: u64) -> Option<&Giver> {
        self.turns.get(&turn).map(|(giver, _)| giver)
    }

    /// Nothing belongs to `slot` any more: it is another account's.
    pub fn forget(&mut self, slot: &SlotId) {
        self.bound.retain(|_, bound| bound.slot != *slot);
        self.turns.retain(|_, (giver, _)| !matches!(giver, Giver::Slot(its) if its == slot));
    }

    /// Lets go of what is too old, and of the oldest sixteenth if that is not enough.
    fn make_room(&mut self, now: Instant) {
        let keep = self.settings.keep;
        self.bound.retain(|_, bound| now.saturating_duration_since(bound.last) < keep);
        if self.bound.len() >= self.settings.most {
            self.forget_oldest();
        }
    }

    /// Lets go of the oldest sixteenth, at least of one.
    fn forget_oldest(&mut self) {
        if self.bound.is_empty() {
            return;
        }
        let mut ages: Vec<_> = self.bound.values().map(|bound| bound.last).collect();
        let n = (ages.len() / 16).min(ages.len().saturating_sub(1));
        let (_, oldest, _) = ages.select_nth_unstable(n);
        let oldest = *oldest;
        self.bound.retain(|_, bound| bound.last > oldest);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.bound.len()
    }
}

impl Bound {
    fn add(&mut self, foreign: &[u64]) {
        if foreign.is_empty() {
            return;
        }
        let known: HashSet<u64> = self.foreign.iter().copied().collect();
        self.foreign.extend(foreign.iter().filter(|digest| !known.contains(digest)));
        let too_many = self.foreign.len().saturating_sub(MOST_FOREIGN);
        self.foreign.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn slot(number: u32) -> SlotId {
        SlotId::numbered(number)
    }

    #[test]
    fn a_dialogue_stays_until_it_is_forgotten_or_moves() {
        let keep = Duration::from_mins(1);
        let mut affinity = Affinity::new(Settings { most: 10, keep });
        let t0 = start();
        affinity.bind("a", &slot(1), &[7], t0);
        assert_eq!(affinity.owner("a", t0 + keep / 2), Some(&slot(1)));
        assert_eq!(affinity.foreign("a", t0), &[7]);
        assert_eq!(affinity.owner("b", t0), None);
        affinity.bind("a", &slot(1), &[8, 7], t0 + keep / 2);
        assert_eq!(affinity.foreign("a", t0 + keep), &[7, 8], "as long as the slot is the same");
        assert_eq!(affinity.owner("a", t0 + keep), Some(&slot(1)));
        affinity.bind("a", &slot(2), &[8, 9], t0 + keep);
        assert_eq!(affinity.foreign("a", t0 + keep), &[8, 9]);
        assert_eq!(affinity.owner("a", t0 + keep + keep), None);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut affinity =
            Affinity::new(Settings { most: 64, keep: Duration::from_secs(1_000_000) });
        let t0 = start();
        for n in 0..1_000_u64 {
            let foreign: Vec<u64> = (0..3_000).collect();
            affinity.bind(&n.to_string(), &slot(1), &foreign, t0 + Duration::from_secs(n));
            assert!(affinity.len() <= 64);
        }
        assert!(affinity.len() > 50);
        let now = t0 + Duration::from_secs(1_000);
        assert_eq!(affinity.owner("999", now), Some(&slot(1)));
        assert_eq!(affinity.owner("900", now), None);
        assert_eq!(affinity.foreign("999", now).len(), MOST_FOREIGN);
    }

    #[test]
    fn what_cannot_be_read_is_bounded_altogether() {
        let most = 100_000;
        let mut affinity = Affinity::new(Settings { most, keep: Duration::from_hours(1) });
        let t0 = start();
        let foreign: Vec<u64> = (0..2_048).collect();
        for n in 0..600_u64 {
            affinity.bind(&n.to_string(), &slot(1), &foreign, t0 + Duration::from_secs(n));
        }
        let all: usize = affinity.bound.values().map(|bound| bound.foreign.len()).sum();
        assert!(all <= MOST_FOREIGN_OF_ALL && affinity.len() > 200, "{all}");
    }

    #[test]
    fn the_state_of_a_turn_is_its_givers() {
        let mut affinity = Affinity::new(Settings { most: 8, keep: Duration::from_hours(1) });
        let t0 = start();
        affinity.turn_is_of(7, Giver::Slot(slot(1)), t0);
        affinity.turn_is_of(8, Giver::Stranger, t0);
        assert_eq!(affinity.giver(7), Some(&Giver::Slot(slot(1))));
        assert_eq!(affinity.giver(8), Some(&Giver::Stranger));
        assert_eq!(affinity.giver(9), None);
        affinity.forget(&slot(1));
        assert_eq!(affinity.giver(7), None);
        for n in 0..20_000_u64 {
            affinity.turn_is_of(n, Giver::Slot(slot(1)), t0 + Duration::from_secs(n));
        }
        assert!(affinity.turns.len() <= MOST_TURNS && affinity.giver(19_999).is_some());
    }

    #[test]
    fn room_is_made_even_when_all_came_at_once() {
        let mut affinity = Affinity::new(Settings { most: 4, keep: Duration::from_mins(1) });
        let t0 = start();
        (0..9).for_each(|n| affinity.bind(&n.to_string(), &slot(1), &[], t0));
        assert!(affinity.len() <= 4);
    }
}
