//! The block after repeated bad tokens.
//!
//! A token of 256 bits is not guessed; the block keeps noise out of the log and of the processor.
//! Failures are remembered one by one, so that a slow trickle never adds up to a block.
//!
//! Invariant: at most as many failures are remembered as it takes to block.
//!
//! Not here: who is asked for a token at all (`limit`).

use std::time::{Duration, Instant};

use super::Settings;

/// When a client is blocked, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    window: Duration,
    max: usize,
    block: Duration,
}

impl Rule {
    pub fn new(settings: Settings) -> Self {
        Self {
            window: settings.failed_window,
            max: usize::try_from(settings.failed_max).unwrap_or(usize::MAX).max(1),
            block: settings.failed_block,
        }
    }
}

/// The bad tokens of one client.
#[derive(Debug, Default)]
pub struct Lockout {
    /// Oldest first.
    failures: Vec<Instant>,
    until: Option<Instant>,
}

impl Lockout {
    /// Counts a failure at `now`, and blocks if it is one too many.
    ///
    /// Failures outlive the block as long as the window says, so a client that goes on where it
    /// stopped is blocked again at once.
    pub fn fail(&mut self, rule: Rule, now: Instant) {
        self.failures.retain(|at| is_within(*at, rule.window, now));
        if self.failures.len() >= rule.max {
            self.failures.remove(0);
        }
        // Most clients that fail do so once, and there may be many of them.
        self.failures.reserve_exact(1);
        self.failures.push(now);
        if self.failures.len() >= rule.max {
            self.until = now.checked_add(rule.block);
        }
    }

    /// How much longer the block lasts.
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|rest| !rest.is_zero())
    }

    /// Failures that still count.
    pub fn attempts(&self, rule: Rule, now: Instant) -> u32 {
        let live = self.failures.iter().filter(|at| is_within(**at, rule.window, now)).count();
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    /// Whether nothing was ever held against this client.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }
}

fn is_within(at: Instant, window: Duration, now: Instant) -> bool {
    now.saturating_duration_since(at) < window
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::tests::start;

    /// Fails at each of the given seconds; tells which of them found or set a block.
    fn check(rule: Settings, seconds: &[u64], expected: &[Option<u64>]) {
        let rule = Rule::new(rule);
        let start = start();
        let mut lockout = Lockout::default();
        let found: Vec<Option<u64>> = seconds
            .iter()
            .map(|at| {
                let now = start + Duration::from_secs(*at);
                lockout.fail(rule, now);
                lockout.remaining(now).map(|rest| rest.as_secs())
            })
            .collect();
        assert_eq!(found, expected, "failures at {seconds:?}");
    }

    #[test]
    fn failures_within_the_window_block() {
        let rule = |max, window, block| Settings {
            failed_max: max,
            failed_window: Duration::from_secs(window),
            failed_block: Duration::from_secs(block),
            ..Settings::default()
        };
        check(rule(3, 300, 900), &[0, 1, 2], &[None, None, Some(900)]);
        check(rule(3, 300, 900), &[0, 299, 300], &[None, None, None]);
        check(rule(3, 300, 900), &[0, 150, 299], &[None, None, Some(900)]);
        check(rule(3, 300, 900), &[0, 200, 400, 600, 800], &[None; 5]);
        check(rule(1, 300, 900), &[5], &[Some(900)]);
        check(rule(0, 300, 900), &[5], &[Some(900)]);
        check(rule(2, 300, 10), &[0, 1, 50], &[None, Some(10), Some(10)]);
        check(rule(2, 30, 10), &[0, 1, 50], &[None, Some(10), None]);
        let eight = [None, None, None, None, None, None, None, Some(900)];
        check(Settings::default(), &[0, 0, 0, 0, 0, 0, 0, 0], &eight);
    }

    #[test]
    fn a_block_ends_when_it_said() {
        let rule = Rule::new(Settings { failed_max: 1, ..Settings::default() });
        let start = start();
        let mut lockout = Lockout::default();
        lockout.fail(rule, start);
        let at = |seconds| lockout.remaining(start + Duration::from_secs(seconds));
        assert_eq!(at(899), Some(Duration::from_secs(1)));
        assert_eq!(at(900), None);
        assert_eq!(lockout.attempts(rule, start + Duration::from_secs(299)), 1);
        assert_eq!(lockout.attempts(rule, start + Duration::from_mins(5)), 0);
    }

    #[test]
    fn memory_does_not_grow_with_failures() {
        let rule = Rule::new(Settings::default());
        let start = start();
        let mut lockout = Lockout::default();
        for _ in 0..10_000 {
            lockout.fail(rule, start);
        }
        assert_eq!(lockout.attempts(rule, start), 8);
    }
}
