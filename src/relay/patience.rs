//! How long an answer is waited for: its first event, each further one, and all of it.
//!
//! A comment says that a connection lives, not that anybody works on the answer, so it does not
//! count: some proxies send comments for ever on behalf of a server that is gone. A part of an event
//! counts, but not for ever: an event in single bytes is as good as none.
//!
//! **Invariant:** time that a client takes to read is never held against the upstream.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::upstream::failure::Deadline;

/// How long an answer that has its headers may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To the first event.
    pub first_event: Duration,
    /// From one event to the next. An event that comes in parts may take [`PARTS`] times as long.
    pub silence: Duration,
}

/// How many waits one event may have.
const PARTS: u32 = 4;

#[derive(Debug)]
pub(super) struct Patience {
    limits: Limits,
    has_begun: bool,
    /// How long nothing but comments has come, without the wait that is under way.
    waited: Duration,
    /// How long the parts of one event have been waited for.
    parts: Duration,
    since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// When the answer must have ended, whatever happens.
    total: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub fn new(limits: Limits, end: Option<Instant>) -> Self {
        Self {
            limits,
            has_begun: false,
            waited: Duration::ZERO,
            parts: Duration::ZERO,
            since: None,
            timer: Box::pin(sleep(Duration::ZERO)),
            total: end.map(|end| Box::pin(sleep_until(end))),
        }
    }

    /// An event arrived.
    pub fn heard(&mut self) {
        self.has_begun = true;
        self.waited = Duration::ZERO;
        self.parts = Duration::ZERO;
        self.since = None;
    }

    /// A part of an event arrived.
    pub fn heard_a_part(&mut self) {
        self.has_begun = true;
        if let Some(since) = self.since.take() {
            self.parts += since.elapsed();
        }
        self.waited = Duration::ZERO;
    }

    /// Something arrived that is no event.
    pub fn heard_nothing(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Nothing is there yet. Ready with what was waited for in vain.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Deadline> {
        let (limit, deadline) = if self.has_begun {
            let left = (self.limits.silence * PARTS).saturating_sub(self.parts);
            (self.limits.silence.min(left), Deadline::Silence)
        } else {
            (self.limits.first_event, Deadline::FirstEvent)
        };
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            self.timer.as_mut().reset(now + limit.saturating_sub(self.waited));
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(deadline);
        }
        match &mut self.total {
            Some(total) => total.as_mut().poll(cx).map(|()| Deadline::Total),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    const LIMITS: Limits =
        Limits { first_event: Duration::from_secs(10), silence: Duration::from_secs(30) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[derive(Clone, Copy, Debug)]
    enum Heard {
        Event,
        Part,
        Comment,
    }
    use Heard::{Comment, Event, Part};

    /// Waits for so long, and then hears something. What it was given up for.
    async fn check(heard: &[(u64, Heard)], total: Option<u64>) -> (Option<Deadline>, u64) {
        let start = Instant::now();
        let mut patience = Patience::new(LIMITS, total.map(|total| start + seconds(total)));
        for (wait, what) in heard {
            let ended = timeout(seconds(*wait), poll_fn(|cx| patience.poll_end(cx))).await;
            if let Ok(deadline) = ended {
                return (Some(deadline), start.elapsed().as_secs());
            }
            match what {
                Event => patience.heard(),
                Part => patience.heard_a_part(),
                Comment => patience.heard_nothing(),
            }
        }
        (None, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_own_end() {
        let cases = [
            (&[(99, Event)][..], None, Some(Deadline::FirstEvent), 10),
            (&[(9, Event), (29, Event), (29, Event)], None, None, 67),
            (&[(9, Event), (31, Event)], None, Some(Deadline::Silence), 39),
            (&[(9, Event), (99, Event)], Some(20), Some(Deadline::Total), 20),
            (&[(99, Event)], Some(20), Some(Deadline::FirstEvent), 10),
            (&[(4, Comment), (4, Comment), (4, Comment)], None, Some(Deadline::FirstEvent), 10),
            (
                &[(1, Event), (15, Comment), (10, Comment), (10, Comment)],
                None,
                Some(Deadline::Silence),
                31,
            ),
            (&[(1, Event), (29, Comment), (0, Event), (29, Event)], None, None, 59),
            (&[(1, Part), (29, Part), (29, Part), (29, Event), (29, Part)], None, None, 117),
            (&[(1, Part), (29, Part), (31, Part)], None, Some(Deadline::Silence), 60),
            (
                &[(1, Part), (29, Part), (15, Comment), (16, Part)],
                None,
                Some(Deadline::Silence),
                60,
            ),
            (
                &[(1, Event), (25, Part), (25, Part), (25, Part), (25, Part), (25, Part)],
                None,
                Some(Deadline::Silence),
                121,
            ),
        ];
        for (heard, total, expected, at) in cases {
            assert_eq!(check(heard, total).await, (expected, at), "{heard:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_costs_the_upstream_nothing() {
        let mut patience = Patience::new(LIMITS, None);
        for is_event in [true, false, false] {
            let waiting = timeout(seconds(5), poll_fn(|cx| patience.poll_end(cx)));
            assert!(waiting.await.is_err());
            if is_event {
                patience.heard();
            } else {
                patience.heard_nothing();
            }
            advance(seconds(1000)).await;
        }
    }
}
