//! Which slot a dialogue belongs to.
//!
//! The upstream's prompt cache and the reasoning that it encrypts are an account's own, so a
//! dialogue stays where it began. When its slot can serve no more it moves, with what the other
//! account cannot read known by digest, so that it is left out from then on and not refused at
//! every turn.
//!
//! **Invariant:** the memory is bounded in entries, in age and in the size of each entry.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::SlotId;

/// How many dialogues are known, and for how long after their last turn.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub most: usize,
    pub keep: Duration,
}

/// The most digests of one dialogue; a longer one is refused once in a while and mended then.
const MOST_FOREIGN: usize = 256;

#[derive(Clone, Debug)]
pub struct Affinity {
    settings: Settings,
    bound: HashMap<Box<str>, Bound>,
}

#[derive(Clone, Debug)]
struct Bound {
    slot: SlotId,
    last: Instant,
    foreign: Vec<u64>,
}

impl Affinity {
    pub fn new(settings: Settings) -> Self {
        Self { settings, bound: HashMap::new() }
    }

    /// Whose `session` is.
    pub fn owner(&self, session: &str, now: Instant) -> Option<&SlotId> {
        self.live(session, now).map(|bound| &bound.slot)
    }

    /// Digests of what its owner cannot read.
    pub fn foreign(&self, session: &str, now: Instant) -> &[u64] {
        self.live(session, now).map_or(&[], |bound| &bound.foreign)
    }

    fn live(&self, session: &str, now: Instant) -> Option<&Bound> {
        let bound = self.bound.get(session)?;
        let age = now.saturating_duration_since(bound.last);
        (age < self.settings.keep).then_some(bound)
    }

    /// A turn of `session` was served by `slot`, which cannot read `foreign`.
    pub fn bind(&mut self, session: &str, slot: &SlotId, foreign: &[u64], now: Instant) {
        if let Some(bound) = self.bound.get_mut(session).filter(|bound| bound.slot == *slot) {
            bound.last = now;
            return;
        }
        if self.bound.len() >= self.settings.most {
            self.make_room(now);
        }
        let recent = foreign.len().saturating_sub(MOST_FOREIGN);
        let foreign = foreign[recent..].to_vec();
        self.bound.insert(session.into(), Bound { slot: slot.clone(), last: now, foreign });
    }

    /// Nothing belongs to `slot` any more: it is another account's.
    pub fn forget(&mut self, slot: &SlotId) {
        self.bound.retain(|_, bound| bound.slot != *slot);
    }

    /// Lets go of what is too old, and of the oldest sixteenth if that is not enough.
    fn make_room(&mut self, now: Instant) {
        let keep = self.settings.keep;
        self.bound.retain(|_, bound| now.saturating_duration_since(bound.last) < keep);
        if self.bound.len() < self.settings.most {
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
        affinity.bind("a", &slot(1), &[], t0 + keep / 2);
        assert_eq!(affinity.foreign("a", t0 + keep), &[7], "as long as the slot is the same");
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
        for n in 0..10_000_u64 {
            affinity.bind(&n.to_string(), &slot(1), &[0; 999], t0 + Duration::from_secs(n));
            assert!(affinity.len() <= 64);
        }
        assert!(affinity.len() > 50);
        let now = t0 + Duration::from_secs(10_000);
        assert_eq!(affinity.owner("9999", now), Some(&slot(1)));
        assert_eq!(affinity.owner("9000", now), None);
        assert_eq!(affinity.foreign("9999", now).len(), MOST_FOREIGN);
    }

    #[test]
    fn room_is_made_even_when_all_came_at_once() {
        let mut affinity = Affinity::new(Settings { most: 4, keep: Duration::from_mins(1) });
        let t0 = start();
        (0..9).for_each(|n| affinity.bind(&n.to_string(), &slot(1), &[], t0));
        assert!(affinity.len() <= 4);
    }
}
