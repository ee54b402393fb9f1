//! Notices when nothing was sent for a while, so that something can be.
//!
//! Sending is noting the time; the timer itself moves only when it goes off too early. A stream of
//! many small events therefore costs no work on timers.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use crate::clock::Clock;

#[derive(Debug)]
pub struct Silence {
    limit: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
    clock: Clock,
}

impl Silence {
    pub fn new(limit: Duration, clock: Clock) -> Self {
        let last = clock.instant();
        Self { limit, last, timer: Box::pin(tokio::time::sleep(limit)), clock }
    }

    /// Something was sent.
    pub fn broken(&mut self) {
        self.last = self.clock.instant();
    }

    /// Ready when nothing was sent for the limit. Starts anew then.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let since = self.clock.instant().saturating_duration_since(self.last);
            let rest = self.limit.saturating_sub(since);
            let is_over = rest.is_zero();
            if is_over {
                self.broken();
            }
            let next = if is_over { self.limit } else { rest };
            self.timer.as_mut().reset(tokio::time::Instant::now() + next);
            if is_over {
                return Poll::Ready(());
            }
        }
    }
}
