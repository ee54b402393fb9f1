//! In which order slots that can all serve are taken.
//!
//! Three policies sort exactly as codex-slot-relay does, five as AIRelays does, except that what is
//! under way counts as used: it will be, and usage is read only when an answer begins. Ties go to the least recently
//! used slot and then to the smaller name, so the order of a list never matters.
//!
//! **Invariant:** a ranking is a function of its arguments; it holds every candidate once.
//!
//! Not here: who is a candidate (`pool`).

use std::{fmt, str::FromStr};

use super::{SlotId, window::Left};

/// How slots are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    #[default]
    BestWeekThenFiveHours,
    BestFiveHoursThenWeek,
    LeastRecentlyUsed,
    /// The most left of the longest window.
    Balanced,
    /// In proportion to what is left, or to the owner's weights.
    Weighted,
    /// Whoever was chosen longest ago.
    RoundRobin,
    /// One after the other in the owner's order.
    PingPong,
    /// The first in the owner's order.
    Ordered,
}

impl Policy {
    pub const ALL: [Self; 8] = [
        Self::BestWeekThenFiveHours,
        Self::BestFiveHoursThenWeek,
        Self::LeastRecentlyUsed,
        Self::Balanced,
        Self::Weighted,
        Self::RoundRobin,
        Self::PingPong,
        Self::Ordered,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BestWeekThenFiveHours => "best-week-then-5h",
            Self::BestFiveHoursThenWeek => "best-5h-then-week",
            Self::LeastRecentlyUsed => "least-recently-used",
            Self::Balanced => "balanced",
            Self::Weighted => "weighted",
            Self::RoundRobin => "round-robin",
            Self::PingPong => "ping-pong",
            Self::Ordered => "ordered",
        }
    }

    /// All names, for a sentence.
    pub fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no policy; there are: {names}", names = Policy::names())]
pub struct NoPolicy(pub String);

impl FromStr for Policy {
    type Err = NoPolicy;

    /// However it is capitalised; `_` is as good as `-`.
    fn from_str(text: &str) -> Result<Self, NoPolicy> {
        let name = text.trim().to_ascii_lowercase().replace('_', "-");
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == name);
        found.ok_or_else(|| NoPolicy(text.to_owned()))
    }
}

/// A slot with less than this left is taken only when there is none with more. In percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pub five_hours: f64,
    pub week: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { five_hours: 15.0, week: 10.0 }
    }
}

/// A slot that can serve, as far as its place in the order depends on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub id: SlotId,
    pub left: Left,
    /// Of the longest window, if that was read lately.
    pub longest_left: Option<f64>,
    /// The higher, the later it was chosen; 0 if never.
    pub last_used: u64,
    pub in_flight: u32,
    pub weight: Option<u32>,
    /// In the owner's order.
    pub position: usize,
}

impl Candidate {
    /// What is left beyond what is under way. A request counts as one percent until its answer
    /// says more, so that a crowd that comes at once is not all sent to the one that is best now.
    fn free(&self) -> Left {
        let under_way = f64::from(self.in_flight);
        let free = |left: Option<f64>| left.map(|left| (left - under_way).max(0.0));
        Left { five_hours: free(self.left.five_hours), week: free(self.left.week) }
    }
}

/// What the policies that go round have to remember.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rotation {
    /// How many have been chosen.
    turn: usize,
    credits: Vec<(SlotId, f64)>,
}

/// `candidates` by their place in the order, as indices.
pub fn rank(
    policy: Policy,
    candidates: &[Candidate],
    thresholds: Thresholds,
    rotation: &Rotation,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    let by = |order: &mut Vec<usize>, key: &dyn Fn(&Candidate) -> Key| {
        order.sort_by(|a, b| {
            let (a, b) = (&candidates[*a], &candidates[*b]);
            key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
        });
    };
    let low = |slot: &Candidate| u64::from(!is_healthy(slot, thresholds));
    match policy {
        Policy::BestWeekThenFiveHours => by(&mut order, &|slot| {
            let Left { five_hours, week } = slot.free();
            [low(slot), most(week), most(five_hours), slot.last_used]
        }),
        Policy::BestFiveHoursThenWeek => by(&mut order, &|slot| {
            let Left { five_hours, week } = slot.free();
            [low(slot), most(five_hours), most(week), slot.last_used]
        }),
        Policy::LeastRecentlyUsed => by(&mut order, &|slot| {
            [low(slot), slot.last_used, most(slot.left.week), most(slot.left.five_hours)]
        }),
        // Whole percents, so that equals take turns; what is under way counts as one each.
        Policy::Balanced => by(&mut order, &|slot| match slot.longest_left {
            Some(left) => {
                let spent = (100.0 - left).floor() + f64::from(slot.in_flight);
                [0, at(spent), slot.last_used, 0]
            }
            None => [1, 0, slot.last_used, 0],
        }),
        Policy::Weighted => by(&mut order, &|slot| {
            [at(-(rotation.credit(&slot.id) + weight(slot))), slot.last_used, 0, 0]
        }),
        Policy::RoundRobin => by(&mut order, &|slot| [slot.last_used, 0, 0, 0]),
        Policy::PingPong | Policy::Ordered => order.sort_by_key(|n| candidates[*n].position),
    }
    if policy == Policy::PingPong && !order.is_empty() {
        let n = rotation.turn % order.len();
        order.rotate_left(n);
    }
    order
}

impl Rotation {
    /// Takes note that `chosen` of `candidates` was taken.
    pub fn advance(&mut self, policy: Policy, candidates: &[Candidate], chosen: &SlotId) {
        self.turn = self.turn.wrapping_add(1);
        if policy != Policy::Weighted {
            return;
        }
        let total: f64 = candidates.iter().map(weight).sum();
        // Those that cannot serve now come back with what they had, within reason.
        self.credits.retain(|(_, credit)| *credit != 0.0);
        for slot in candidates {
            let pays = if slot.id == *chosen { total } else { 0.0 };
            let credit = self.credit(&slot.id) + weight(slot) - pays;
            let credit = credit.clamp(-2.0 * total, 2.0 * total);
            self.credits.retain(|(id, _)| *id != slot.id);
            self.credits.push((slot.id.clone(), credit));
        }
    }

    /// Forgets slots that are not there any more.
    pub fn keep(&mut self, is_there: impl Fn(&SlotId) -> bool) {
        self.credits.retain(|(id, _)| is_there(id));
    }

    fn credit(&self, id: &SlotId) -> f64 {
        self.credits.iter().find(|(known, _)| known == id).map_or(0.0, |(_, credit)| *credit)
    }
}

/// Compared from left to right.
type Key = [u64; 4];

/// `number` as one that is ordered like it. No candidate has a number that is none.
fn at(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if number.is_sign_negative() && number != 0.0 { !bits } else { bits | (1 << 63) }
}

/// The more the earlier; what is unknown comes after what is known to be little.
fn most(left: Option<f64>) -> u64 {
    at(-left.unwrap_or(-1.0))
}

fn is_healthy(slot: &Candidate, thresholds: Thresholds) -> bool {
    let is_above = |left: Option<f64>, least| left.is_some_and(|left| left >= least);
    is_above(slot.left.five_hours, thresholds.five_hours)
        && is_above(slot.left.week, thresholds.week)
}

fn weight(slot: &Candidate) -> f64 {
    let left = || slot.longest_left.map_or(100.0, |left| left.floor().max(1.0));
    slot.weight.map_or_else(left, |weight| f64::from(weight.max(1)))
}

#[cfg(test)]
mod tests;
