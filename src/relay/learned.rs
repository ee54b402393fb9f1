//! What the upstream turned out not to take.
//!
//! Which parameters the backend accepts changes without notice and differs between accounts. The
//! relay therefore believes nothing: it sends what may work, and when a parameter is refused by
//! name it goes without, says so, and remembers for a while, so that not every request has to be
//! sent twice.
//!
//! **Invariant:** what was learnt is forgotten in time, so a backend that learns is noticed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{credential::AccountId, upstream::failure::Failure, wire::request::Translated};

/// Long enough to be of use, short enough that a change of the backend is seen the next day.
const REMEMBERED: Duration = Duration::from_hours(12);
/// Far above what one owner's accounts and models can make.
const MOST: usize = 512;

/// Something that a model does not take from an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// A parameter of this name.
    Parameter(String),
    /// A limit of the answer that is lower than this.
    LeastOutput(u64),
    /// An effort that is less than this.
    LeastEffort(String),
    /// A compaction in a stream; there is a route for it.
    CompactionRoute,
}

impl Lesson {
    /// What `failure` teaches, if anything.
    pub fn of(failure: &Failure) -> Option<Self> {
        let parameter =
            failure.unsupported_parameter().map(|name| Self::Parameter(name.to_owned()));
        let effort = || failure.least_effort().map(|least| Self::LeastEffort(least.to_owned()));
        parameter.or_else(|| failure.least_output().map(Self::LeastOutput)).or_else(effort)
    }

    /// `request` as it has to be, or `None` when it heeds this already or there is none that does.
    pub fn heeded(&self, request: &Translated) -> Option<Translated> {
        match self {
            Self::Parameter(name) => request.without(name),
            Self::LeastOutput(least) => request.with_least_output(*least),
            Self::LeastEffort(least) => request.with_least_effort(least),
            Self::CompactionRoute => None,
        }
    }
}

/// Clones share what they learn.
#[derive(Clone, Debug, Default)]
pub struct Learned(Arc<Mutex<Vec<Known>>>);

#[derive(Debug)]
struct Known {
    account: AccountId,
    model: String,
    lesson: Lesson,
    until: Instant,
}

impl Learned {
    /// Remembers `lesson`.
    pub fn remember(&self, account: &AccountId, model: &str, lesson: Lesson, now: Instant) {
        let mut known = self.0.lock();
        known.retain(|entry| entry.until > now && !entry.is(account, model, &lesson));
        if known.len() >= MOST {
            known.remove(0);
        }
        let (account, model) = (account.clone(), model.to_owned());
        known.push(Known { account, model, lesson, until: now + REMEMBERED });
    }

    /// Whether `lesson` is known of `model`, whoever's account it was learnt with.
    pub fn knows(&self, model: &str, lesson: &Lesson, now: Instant) -> bool {
        let known = self.0.lock();
        let mut live = known.iter().filter(|entry| entry.until > now && entry.model == model);
        live.any(|entry| entry.lesson == *lesson)
    }

    /// What is known of `model` and `account`.
    pub fn of(&self, account: &AccountId, model: &str, now: Instant) -> Vec<Lesson> {
        let known = self.0.lock();
        let of_both = known
            .iter()
            .filter(|entry| entry.until > now && entry.account == *account && entry.model == model);
        of_both.map(|entry| entry.lesson.clone()).collect()
    }
}

impl Known {
    fn is(&self, account: &AccountId, model: &str, lesson: &Lesson) -> bool {
        self.account == *account && self.model == model && self.lesson == *lesson
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn parameter(name: &str) -> Lesson {
        Lesson::Parameter(name.to_owned())
    }

    #[test]
    fn what_was_learnt_belongs_to_account_and_model_and_ends() {
        let learned = Learned::default();
        let start = Clock::system().instant();
        let [a, b] = ["a", "b"].map(AccountId::new);
        learned.remember(&a, "m", parameter("x"), start);
        learned.remember(&a, "m", parameter("x"), start);
        learned.remember(&a, "m", Lesson::LeastOutput(16), start);
        assert_eq!(learned.of(&a, "m", start), [parameter("x"), Lesson::LeastOutput(16)]);
        assert!(learned.of(&b, "m", start).is_empty());
        assert!(learned.of(&a, "n", start).is_empty());
        assert!(learned.of(&a, "m", start + REMEMBERED).is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let learned = Learned::default();
        let start = Clock::system().instant();
        let account = AccountId::new("a");
        for n in 0..2 * MOST {
            learned.remember(&account, &n.to_string(), parameter("x"), start);
        }
        assert_eq!(learned.0.lock().len(), MOST);
        assert!(learned.of(&account, "0", start).is_empty());
        assert_eq!(learned.of(&account, &(2 * MOST - 1).to_string(), start), [parameter("x")]);
    }
}
