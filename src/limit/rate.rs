//! Request admission by rate: the generic cell rate algorithm.
//!
//! One instant per client stands for the whole bucket, so there is nothing to refill and no timer
//! to run.
//!
//! Invariant: an admitted request moves the instant by one interval; a refused one leaves it.
//!
//! Not here: whose instant it is (`table`).

use std::time::{Duration, Instant};

/// At most one request per `interval`, with up to `burst` of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    tolerance: Duration,
    burst: u32,
}

/// When a client that never bursts would be due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due(Instant);

/// The request comes too early; the same request would be admitted after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFast(pub Duration);

impl Due {
    /// A client that has not been heard of before `now`: its whole burst is left.
    pub fn new(now: Instant) -> Self {
        Self(now)
    }

    /// Whether the whole burst is left.
    pub fn is_past(self, now: Instant) -> bool {
        self.0 <= now
    }
}

impl Rate {
    /// A zero counts as one.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        let burst = burst.max(1);
        let interval = Duration::from_mins(1) / per_minute.max(1);
        Self { interval, tolerance: interval.saturating_mul(burst - 1), burst }
    }

    /// Admits a request at `now` and moves `due`, or leaves it as it was.
    ///
    /// # Errors
    ///
    /// When the client is ahead of its rate by more than the burst allows.
    pub fn admit(self, due: &mut Due, now: Instant) -> Result<(), TooFast> {
        let ahead = due.0.saturating_duration_since(now);
        match ahead.checked_sub(self.tolerance) {
            None | Some(Duration::ZERO) => {
                due.0 = now + ahead + self.interval;
                Ok(())
            }
            Some(early) => Err(TooFast(early)),
        }
    }

    /// How much of the burst is left at `now`, from none to all of it, in parts of a request.
    pub fn remaining(self, due: Option<Due>, now: Instant) -> f64 {
        let ahead = due.map_or(Duration::ZERO, |due| due.0.saturating_duration_since(now));
        let spent = ahead.as_secs_f64() / self.interval.as_secs_f64();
        (f64::from(self.burst) - spent).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::tests::start;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let rate = Rate::new(120, 3);
        let start = start();
        let mut due = Due::new(start);
        let mut at = |ms| rate.admit(&mut due, start + Duration::from_millis(ms));

        assert_eq!([at(0), at(0), at(0)], [Ok(()), Ok(()), Ok(())]);
        assert_eq!(at(0), Err(TooFast(Duration::from_millis(500))));
        assert_eq!(at(400), Err(TooFast(Duration::from_millis(100))));
        assert_eq!(at(500), Ok(()));
        assert_eq!(at(500), Err(TooFast(Duration::from_millis(500))));
        assert_eq!(at(60_000), Ok(()));
    }

    #[test]
    fn what_remains_is_what_is_admitted() {
        let rate = Rate::new(60, 4);
        let start = start();
        let mut due = Due::new(start);
        let left = |due, ms| rate.remaining(Some(due), start + Duration::from_millis(ms));
        assert_eq!(format!("{:.2}", rate.remaining(None, start)), "4.00");
        for expected in ["3.00", "2.00", "1.00", "0.00"] {
            assert_eq!(rate.admit(&mut due, start), Ok(()));
            assert_eq!(format!("{:.2}", left(due, 0)), expected);
        }
        assert!(rate.admit(&mut due, start).is_err());
        assert_eq!(format!("{:.2}", left(due, 250)), "0.25");
        assert_eq!(format!("{:.2}", left(due, 9_000)), "4.00");
    }

    #[test]
    fn nothing_at_all_is_read_as_one() {
        let start = start();
        let mut due = Due::new(start);
        let rate = Rate::new(0, 0);
        assert_eq!(rate.admit(&mut due, start), Ok(()));
        assert_eq!(rate.admit(&mut due, start), Err(TooFast(Duration::from_mins(1))));
    }
}
