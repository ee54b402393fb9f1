//! What the upstream turned out not to take.
//!
//! Which parameters the backend accepts changes without notice and differs between accounts. The
//! relay therefore believes nothing: it sends what may work, and when one parameter is refused by
//! name it goes without, says so, and remembers for a while, so that not every request has to be
//! sent twice.
//!
//! **Invariant:** what was learnt is forgotten in time, so a backend that learns is noticed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::credential::AccountId;

/// Long enough to be of use, short enough that a change of the backend is seen the next day.
const REMEMBERED: Duration = Duration::from_hours(12);
/// Far above what one owner's accounts and models can make.
const MOST: usize = 512;

/// Clones share what they learn.
#[derive(Clone, Debug, Default)]
pub struct Learned(Arc<Mutex<Vec<Refused>>>);

#[derive(Debug)]
struct Refused {
    account: AccountId,
    model: String,
    parameter: String,
    until: Instant,
}

impl Learned {
    /// Remembers that `parameter` was refused.
    pub fn refused(&self, account: &AccountId, model: &str, parameter: &str, now: Instant) {
        let mut known = self.0.lock();
        known.retain(|entry| entry.until > now && !entry.is(account, model, parameter));
        if known.len() >= MOST {
            known.remove(0);
        }
        known.push(Refused {
            account: account.clone(),
            model: model.to_owned(),
            parameter: parameter.to_owned(),
            until: now + REMEMBERED,
        });
    }

    /// What `model` is known to refuse from `account`.
    pub fn of(&self, account: &AccountId, model: &str, now: Instant) -> Vec<String> {
        let known = self.0.lock();
        let of_both = known
            .iter()
            .filter(|entry| entry.until > now && entry.account == *account && entry.model == model);
        of_both.map(|entry| entry.parameter.clone()).collect()
    }
}

impl Refused {
    fn is(&self, account: &AccountId, model: &str, parameter: &str) -> bool {
        self.account == *account && self.model == model && self.parameter == parameter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn what_was_learnt_belongs_to_account_and_model_and_ends() {
        let learned = Learned::default();
        let start = Clock::system().instant();
        let [a, b] = ["a", "b"].map(AccountId::new);
        learned.refused(&a, "m", "x", start);
        learned.refused(&a, "m", "x", start);
        learned.refused(&a, "m", "y", start);
        assert_eq!(learned.of(&a, "m", start), ["x", "y"]);
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
            learned.refused(&account, &n.to_string(), "x", start);
        }
        assert_eq!(learned.0.lock().len(), MOST);
        assert!(learned.of(&account, "0", start).is_empty());
        assert_eq!(learned.of(&account, &(2 * MOST - 1).to_string(), start), ["x"]);
    }
}
