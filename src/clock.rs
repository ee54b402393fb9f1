//! The only reader of the system's time and randomness.
//!
//! Two clocks, because they answer different questions: the wall clock says when something
//! happened and may jump; the monotonic one says how long it took and may not.

#[cfg(test)]
use std::sync::Arc;
use std::time::Instant;

#[cfg(test)]
use jiff::SignedDuration;
use jiff::Timestamp;
#[cfg(test)]
use parking_lot::Mutex;

/// Where the time comes from: the system, or a test that turns the hands itself.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    #[cfg(test)]
    Manual(Arc<Mutex<Timestamp>>),
}

impl Clock {
    pub fn system() -> Self {
        Self(Source::System)
    }

    #[cfg(test)]
    /// Stands still at `start` until [`advance`](Self::advance) moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// The wall clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            #[cfg(test)]
            Source::Manual(at) => *at.lock(),
        }
    }

    /// The wall clock in whole seconds since 1970.
    pub fn unix(&self) -> i64 {
        self.now().as_second()
    }

    /// The monotonic clock. Follows tokio's, so that a paused test runtime pauses it too.
    #[expect(clippy::unused_self, reason = "whoever reads the time holds a clock")]
    pub fn instant(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[cfg(test)]
    /// Moves a manual clock; the system's clock cannot be moved and stays.
    pub fn advance(&self, by: SignedDuration) {
        if let Source::Manual(at) = &self.0 {
            let mut at = at.lock();
            *at = at.saturating_add(by).unwrap_or(Timestamp::MAX);
        }
    }
}

/// `at` without its fraction, as documents and people have it.
pub fn to_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Bytes that nobody can guess.
///
/// # Errors
///
/// When the system has no source of randomness.
pub fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let twin = clock.clone();
        twin.advance(SignedDuration::from_secs(90));
        assert_eq!(clock.unix(), 90);
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<16>().expect("randomness"), random::<16>().expect("randomness"));
    }
}
