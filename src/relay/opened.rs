//! An answer that has begun, as runs of whole events.
//!
//! Everything that can go wrong while an answer arrives ends here in a [`Failure`]: a broken
//! connection, an event without end, silence. What arrives goes to the traffic log before it goes
//! on, and when the log is behind, the upstream waits with it.
//!
//! **Invariant:** an [`Opened`] cannot be sent again; it has no way back to its request.
//! **Invariant:** dropping it drops the upstream's stream, which ends the generation.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;

use super::{
    Relay,
    patience::Patience,
    slots::Lease,
    story::{Story, Tokens},
};
use crate::{
    slot::window,
    traffic::Tap,
    upstream::{failure::Failure, inference::Incoming, usage},
    wire::sse::{self, Ended, Splitter, TooLong},
};

/// The longest event that is held: inline images come whole.
const EVENT_LIMIT: usize = 32 << 20;
/// Comments without an event between them. A connection is kept alive with a few bytes a minute.
const COMMENT_LIMIT: usize = 1 << 20;

/// Where an answer comes from, as long as it lasts.
#[derive(Debug)]
pub(super) struct Place {
    pub lease: Lease,
    pub story: Story,
    pub sent: Instant,
    pub relay: Relay,
}

/// Events of one answer. The first runs may have been read already.
#[derive(Debug)]
pub struct Opened {
    /// What of the client's request was left out in the end, in the client's terms.
    pub ignored: Vec<String>,
    /// What the upstream's answer says to a Codex client in its headers.
    pub turn: HeaderMap,
    /// None where the relay answers by itself.
    pub(super) place: Option<Place>,
    pub(super) read: VecDeque<Bytes>,
    pub(super) source: Source,
}

impl Opened {
    /// The next run of whole events, or `None` after the last.
    pub fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let run = match self.read.pop_front() {
            Some(run) => Some(Ok(run)),
            None => ready!(self.source.poll_run(cx)),
        };
        match &run {
            Some(Ok(run)) => {
                if let Some(place) = &self.place {
                    place.note_limits(run);
                }
            }
            Some(Err(failure)) => self.failed(failure),
            None => {}
        }
        Poll::Ready(run)
    }

    /// The answer failed after it had begun: by its own words, or because it stopped.
    pub fn failed(&self, failure: &Failure) {
        let Some(Place { lease, story, sent, relay }) = &self.place else { return };
        lease.failed_late(failure, *sent);
        story.failed(failure.brief(), relay.clock.instant());
        story.ended("failed", relay.clock.instant());
    }

    /// The answer has ended as it should.
    pub fn ended(&self, usage: Option<Tokens>) {
        let Some(Place { story, relay, .. }) = &self.place else { return };
        if let Some(usage) = usage {
            story.cost(usage);
        }
        story.ended("completed", relay.clock.instant());
    }

    /// The next run of whole events, or `None` after the last.
    pub async fn next_run(&mut self) -> Option<Result<Bytes, Failure>> {
        std::future::poll_fn(|cx| self.poll_run(cx)).await
    }
}

/// How the event begins that says what is left.
const LIMITS: &[u8] = b"codex.rate_limits";

impl Place {
    /// Takes note of what an event says is left. Looking for its name costs less than reading.
    fn note_limits(&self, run: &[u8]) {
        if memchr::memmem::find(run, LIMITS).is_none() {
            return;
        }
        let now = self.relay.clock.now();
        for frame in sse::frames(run) {
            if let Some(limits) = usage::of_event(&frame.data, now) {
                self.relay.note_limits(&self.lease, (limits, window::Source::Answer), self.sent);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.story.ended("unfinished", self.relay.clock.instant());
    }
}

/// The upstream's body on its way to becoming events.
#[derive(Debug)]
pub(super) struct Source {
    body: Incoming,
    splitter: Splitter,
    tap: Tap,
    /// A run that the log has still to take.
    unlogged: Option<Bytes>,
    patience: Patience,
    /// What came since the last event.
    comments: usize,
    has_ended: bool,
}

impl Source {
    pub(super) fn new(body: Incoming, tap: Tap, patience: Patience) -> Self {
        Self {
            body,
            splitter: Splitter::new(EVENT_LIMIT),
            tap,
            unlogged: None,
            patience,
            comments: 0,
            has_ended: false,
        }
    }

    pub(super) async fn next_run(&mut self) -> Option<Result<Bytes, Failure>> {
        std::future::poll_fn(|cx| self.poll_run(cx)).await
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            if let Some(run) = &self.unlogged {
                ready!(self.tap.poll_lines(cx, run));
                return Poll::Ready(self.unlogged.take().map(Ok));
            }
            if self.has_ended {
                return Poll::Ready(None);
            }
            match self.poll_chunk(cx)? {
                Poll::Ready(run) if run.is_empty() => {}
                Poll::Ready(run) => self.unlogged = Some(run),
                Poll::Pending => return self.poll_patience(cx),
            }
        }
    }

    /// Whole events of the next chunk; possibly none of them.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Result<Poll<Bytes>, Failure> {
        let chunk = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Poll::Ready(Some(Err(failure))) => {
                self.has_ended = true;
                return Err(failure);
            }
            Poll::Ready(None) => {
                self.has_ended = true;
                let (rest, ended) = self.splitter.finish();
                return match ended {
                    Ended::Whole => Ok(Poll::Ready(rest)),
                    Ended::Cut => Err(cut_short()),
                };
            }
        };
        let size = chunk.len();
        match self.splitter.push(chunk) {
            Ok(run) if has_event(&run) => {
                self.patience.heard();
                self.comments = 0;
                Ok(Poll::Ready(run))
            }
            Ok(run) if self.splitter.is_inside_event() => {
                self.patience.heard_a_part();
                Ok(Poll::Ready(run))
            }
            Ok(run) => {
                self.patience.heard_nothing();
                self.comments += size;
                if self.comments > COMMENT_LIMIT {
                    return Err(self.too_large("comments", COMMENT_LIMIT));
                }
                Ok(Poll::Ready(run))
            }
            Err(TooLong { limit }) => Err(self.too_large("an event", limit)),
        }
    }

    fn too_large(&mut self, what: &'static str, limit: usize) -> Failure {
        self.has_ended = true;
        self.body.give_up();
        Failure::TooLarge { what, limit }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let deadline = ready!(self.patience.poll_end(cx));
        self.has_ended = true;
        self.body.give_up();
        Poll::Ready(Some(Err(Failure::Timeout(deadline))))
    }
}

/// Whether there is anything in `run` but comments.
fn has_event(run: &[u8]) -> bool {
    // Most runs begin with one, and then nothing has to be looked at.
    let is_plain = run.first().is_some_and(|byte| !matches!(byte, b':' | b'\n' | b'\r'));
    is_plain || sse::frames(run).any(|frame| !frame.is_comment())
}

/// The failure of an answer that simply stops.
pub fn cut_short() -> Failure {
    Failure::Cut(Arc::new(io::Error::from(io::ErrorKind::UnexpectedEof)))
}
