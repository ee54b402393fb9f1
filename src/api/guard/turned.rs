//! Refusals of strangers in the traffic log, which they must not be able to fill.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use std::time::Instant;

use crate::{api::exchange::Exchange, clock::Clock, traffic::Phase};

/// At most one record in this time, for each guard.
const EVERY: Duration = Duration::from_mins(1);

/// Writes down one refusal in a while and counts the others. Clones share the count.
#[derive(Clone, Debug)]
pub struct Turned {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    untold: i64,
}

impl Turned {
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// Notes that a request was turned away with `status` because of `reason`.
    pub async fn away(&self, exchange: &Exchange, status: i64, reason: &'static str) {
        let Some(untold) = self.due() else { return };
        let record = exchange
            .described(Phase::EndpointRejected)
            .headers("headers", &exchange.headers)
            .text("reason", reason)
            .number("status_code", status)
            .number("others_since_the_last", untold);
        exchange.traffic.record(record).await;
    }

    /// How many were not written down since the last that was, when another one may be.
    fn due(&self) -> Option<i64> {
        let now = self.clock.instant();
        let mut state = self.state.lock();
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            state.untold = state.untold.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_record_a_minute() {
        let turned = Turned::new(Clock::system());
        let told: Vec<_> = (0..1000).filter_map(|_| turned.clone().due()).collect();
        assert_eq!(told, [0]);
        tokio::time::advance(EVERY).await;
        assert_eq!((turned.due(), turned.due()), (Some(999), None));
        tokio::time::advance(EVERY).await;
        assert_eq!(turned.due(), Some(1));
    }
}
