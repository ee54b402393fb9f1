//! The traffic log: what was asked, what was answered, and what went on in between.
//!
//! Requests hand records over and go on; one thread redacts, formats and writes them, so that no
//! file is touched and no body is copied on the way of a request. Nothing is lost while the disk
//! works: when the queue is full, senders wait. When the disk does not work they wait for a few
//! seconds altogether; after that records are dropped and counted, because a full disk must not
//! end the service, and the next record that can be written says how many are missing.
//!
//! Invariant: the records of one request are written in the order in which they were handed over.
//! Invariant: a file holds whole lines, each one JSON object, without a secret.
//! Invariant: whatever is missing is counted, in [`Stats`] and in a record of its own.
//!
//! Not here: which moments are worth a record (`api`, `relay`), how long files are kept.

mod digest;
mod queue;
mod record;
mod rotate;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    future, io, mem,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use parking_lot::Mutex;

use self::{
    queue::{Accepted, Item, Queue, Ticket},
    rotate::Hours,
    writer::Patience,
};
pub use self::{
    record::{Phase, Record},
    writer::Writer,
};
use crate::{clock::Clock, id::RequestId, private_file, redact::Redactor};

/// Where the log goes and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Files are `YYYY/MM/DD-HH.log` below it, by UTC.
    pub dir: PathBuf,
    pub enabled: bool,
    /// Whether each line of the upstream's streams is a record.
    pub stream_lines: bool,
    /// How much may wait for the disk before senders wait. The last record may exceed it.
    pub queue_bytes: usize,
}

impl Settings {
    /// What a queue holds unless told otherwise: 8 MiB.
    pub const QUEUE_BYTES: usize = 8 << 20;
}

/// How the log is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub lines_written: u64,
    pub lines_lost: u64,
    /// Of the last attempt that failed, however long ago.
    pub last_error: Option<String>,
    /// Handed over and not yet written.
    pub queued_bytes: usize,
}

/// Takes records. Clones write to the same log.
#[derive(Clone, Debug)]
pub struct Traffic(Option<Arc<Shared>>);

/// What the senders and the writer's thread have in common.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    tally: Tally,
    stream_lines: bool,
}

#[derive(Debug, Default)]
struct Tally {
    written: AtomicU64,
    lost: AtomicU64,
    error: Mutex<Option<String>>,
}

impl Tally {
    fn wrote(&self, lines: u64) {
        self.written.fetch_add(lines, Ordering::Relaxed);
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }
}

impl Traffic {
    /// Starts the thread that writes. Both ends stop with [`Writer::close`].
    ///
    /// # Errors
    ///
    /// When the directory cannot be made, or the thread.
    pub fn start(
        settings: Settings,
        redactor: Redactor,
        clock: Clock,
    ) -> io::Result<(Self, Writer)> {
        let Settings { dir, enabled, stream_lines, queue_bytes } = settings;
        if !enabled {
            return Ok((Self::off(), Writer::idle()));
        }
        private_file::create_dir(&dir)?;
        let shared = Shared::new(stream_lines, queue_bytes);
        Self::start_with(shared, Hours::new(dir), (redactor, clock), Patience::default())
    }

    fn start_with(
        shared: Shared,
        hours: Hours,
        (redactor, clock): (Redactor, Clock),
        patience: Patience,
    ) -> io::Result<(Self, Writer)> {
        let shared = Arc::new(shared);
        let writer = Writer::start(Arc::clone(&shared), hours, (redactor, clock), patience)?;
        Ok((Self(Some(shared)), writer))
    }

    /// Records nothing, and costs nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether it is worth making records at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands `record` over, waiting while the queue is full. The record counts as lost when this
    /// is dropped before.
    pub async fn record(&self, record: Record) {
        let Some(shared) = &self.0 else { return };
        let item = Item::Record(record);
        let mut waiting = Waiting { shared, cost: item.cost(), item: Some(item), ticket: None };
        future::poll_fn(|cx| waiting.poll(cx)).await;
    }

    /// Hands `record` over at once, even if the queue is full. For small records, from where
    /// nothing can wait.
    pub fn hand_over(&self, record: Record) {
        let Some(shared) = &self.0 else { return };
        let item = Item::Record(record);
        let cost = item.cost();
        shared.settle(1, shared.queue.push(item, cost));
    }

    /// For the lines of one request's upstream stream.
    pub fn tap(&self, id: &RequestId, slot: Option<&str>) -> Tap {
        let line = |shared: &Arc<Shared>| Line {
            shared: Arc::clone(shared),
            head: record::line_head(id, Phase::UpstreamStreamLine, slot).into(),
            ticket: None,
        };
        Tap(self.0.as_ref().filter(|shared| shared.stream_lines).map(line))
    }

    pub fn stats(&self) -> Stats {
        let Some(shared) = &self.0 else { return Stats::default() };
        Stats {
            lines_written: shared.tally.written.load(Ordering::Relaxed),
            lines_lost: shared.tally.lost.load(Ordering::Relaxed),
            last_error: shared.tally.error.lock().clone(),
            queued_bytes: shared.queue.bytes(),
        }
    }
}

impl Shared {
    fn new(stream_lines: bool, queue_bytes: usize) -> Self {
        Self { queue: Queue::new(queue_bytes), tally: Tally::default(), stream_lines }
    }

    /// Counts what came too late.
    fn settle(&self, lines: u64, accepted: Accepted) {
        match accepted {
            Accepted::Queued => {}
            Accepted::Closed => self.tally.lose(lines),
        }
    }
}

/// A record whose sender waits for room.
struct Waiting<'a> {
    shared: &'a Shared,
    item: Option<Item>,
    cost: usize,
    ticket: Option<Ticket>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let item = &mut self.item;
        let accepted = ready!(
            self.shared.queue.poll_push(cx, &mut self.ticket, self.cost, || { mem::take(item) })
        );
        self.item = None;
        self.shared.settle(1, accepted);
        Poll::Ready(())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.queue.leave(&mut self.ticket);
        // Its sender has gone, and with it what was held back: there is nothing to wait for.
        if let Some(item) = self.item.take() {
            let accepted = self.shared.queue.push(item, self.cost);
            self.shared.settle(1, accepted);
        }
    }
}

/// Records the lines of one upstream stream.
#[derive(Debug)]
pub struct Tap(Option<Line>);

#[derive(Debug)]
struct Line {
    shared: Arc<Shared>,
    /// Everything of the record before the line itself.
    head: Arc<[u8]>,
    ticket: Option<Ticket>,
}

impl Tap {
    /// Records `lines`, whole events as they arrived. Ready means that they were taken, once;
    /// pending, that nothing was taken and the same lines are to be offered again.
    ///
    /// Ready at once when stream lines are not recorded.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "the form of every poll function")]
    pub fn poll_lines(&mut self, cx: &mut Context<'_>, lines: &Bytes) -> Poll<()> {
        let Some(Line { shared, head, ticket }) = &mut self.0 else { return Poll::Ready(()) };
        let cost = queue::lines_cost(lines);
        let item = || Some(Item::Lines { head: Arc::clone(head), lines: lines.clone() });
        let accepted = ready!(shared.queue.poll_push(cx, ticket, cost, item));
        if matches!(accepted, Accepted::Closed) {
            shared.settle(record::lines(lines).count().try_into().unwrap_or(0), accepted);
        }
        Poll::Ready(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.queue.leave(&mut self.ticket);
    }
}
