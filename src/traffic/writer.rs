//! The thread that turns records into lines of a file.
//!
//! It takes what has gathered, formats it into one buffer and writes that at once. While the disk
//! refuses it holds on to what it has, and thereby holds senders back; when that has lasted too
//! long it drops what it has and what comes, tries again now and then, and begins what it writes
//! next with the number of lines that are missing.
//!
//! Invariant: the room of a record is given back when its lines are in the file, or counted lost.
//! Invariant: no byte reaches the file that has not gone through the redactor.
//!
//! Not here: how a line is written (`record`) and where (`rotate`).

use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Shared,
    queue::Item,
    record::{self, Phase, Record, Stamp},
    rotate::{Cut, End, Hours},
};
use crate::{clock::Clock, id::RequestId, redact::Redactor};

/// When the buffer is written before all of a batch is in it.
const FULL: usize = 256 << 10;

/// How long things are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For more records, after the first.
    pub gather: Duration,
    /// For a disk that refuses, before records are dropped.
    pub hold: Duration,
    /// Between two attempts to write.
    pub retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(20),
            hold: Duration::from_secs(5),
            retry: Duration::from_secs(1),
        }
    }
}

/// The writing end of the log.
#[derive(Debug)]
#[must_use = "what is queued is written when the writer is closed"]
pub struct Writer(Option<(Arc<Shared>, JoinHandle<()>)>);

impl Writer {
    /// For a log that is off.
    pub(super) fn idle() -> Self {
        Self(None)
    }

    pub(super) fn start(
        shared: Arc<Shared>,
        hours: Hours,
        (redactor, clock): (Redactor, Clock),
        patience: Patience,
    ) -> io::Result<Self> {
        let open = Open(Arc::clone(&shared));
        let thread = thread::Builder::new().name("traffic-log".into()).spawn(move || {
            let worker = Worker {
                shared: &open.0,
                hours,
                redactor,
                clock,
                patience,
                lines: Lines::default(),
                trouble: None,
                reported: 0,
            };
            worker.run();
        })?;
        Ok(Self(Some((shared, thread))))
    }

    /// Writes what is queued and ends the thread. Records that come later are counted as lost.
    ///
    /// Blocks for as long as the disk takes, but waits for nothing else.
    pub fn close(self) {
        let Some((shared, thread)) = self.0 else { return };
        shared.queue.close();
        if thread.join().is_err() {
            *shared.tally.error.lock() = Some("the log's thread panicked".to_owned());
        }
    }
}

/// Closes the queue whichever way the thread ends, so that nobody waits for a thread that is gone.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0.tally.lose(self.0.queue.abandon().iter().map(record::count).sum());
    }
}

struct Worker<'a> {
    shared: &'a Shared,
    hours: Hours,
    redactor: Redactor,
    clock: Clock,
    patience: Patience,
    lines: Lines,
    /// Since when and until when writing has failed.
    trouble: Option<Trouble>,
    /// How many of the lost lines the log has told of.
    reported: u64,
}

/// Formatted and not yet written.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    count: u64,
    /// The room they take in the queue.
    cost: usize,
}

#[derive(Clone, Copy)]
struct Trouble {
    since: Instant,
    last: Instant,
}

impl Worker<'_> {
    fn run(mut self) {
        let mut batch = VecDeque::new();
        while self.shared.queue.take(&mut batch, self.patience.gather) {
            let stamp = Stamp::new(self.clock.now());
            for item in batch.drain(..) {
                self.format(&item, &stamp);
                if self.lines.bytes.len() >= FULL {
                    self.flush(&stamp);
                }
            }
            self.flush(&stamp);
        }
        if self.lost() > self.reported {
            let stamp = Stamp::new(self.clock.now());
            self.attempt(&stamp).unwrap_or_else(|error| self.note(&error));
        }
    }

    fn format(&mut self, item: &Item, stamp: &Stamp) {
        self.lines.cost += item.cost();
        if self.is_given_up() {
            self.shared.tally.lose(record::count(item));
        } else {
            self.lines.count += record::write(item, stamp, &mut self.lines.bytes);
        }
    }

    /// Writes the buffer, or counts it as lost.
    fn flush(&mut self, stamp: &Stamp) {
        self.redactor.lines(&mut self.lines.bytes);
        while !self.lines.bytes.is_empty() {
            match self.attempt(stamp) {
                Ok(()) => self.trouble = None,
                Err(error) => {
                    self.note(&error);
                    if self.has_lasted() {
                        self.lines.bytes.clear();
                        self.shared.tally.lose(mem::take(&mut self.lines.count));
                    } else {
                        self.shared.queue.pause(self.patience.retry);
                    }
                }
            }
        }
        // A large body should not be remembered by its room.
        self.lines.bytes.shrink_to(2 * FULL);
        self.shared.queue.release(mem::take(&mut self.lines.cost));
    }

    /// Writes the buffer, or as much of it as the disk takes; the rest stays.
    fn attempt(&mut self, stamp: &Stamp) -> io::Result<()> {
        match self.hours.ready(stamp.at)? {
            End::Whole => {}
            End::Torn => self.shared.tally.lose(1),
        }
        let lost = self.lost();
        if lost > self.reported {
            let mut notice = self.notice(lost - self.reported, stamp);
            self.redactor.lines(&mut notice);
            self.hours.append(&notice).map_err(|cut| cut.error)?;
            self.reported = lost;
            self.shared.tally.wrote(1);
        }
        match self.hours.append(&self.lines.bytes) {
            Ok(()) => {
                self.lines.bytes.clear();
                self.shared.tally.wrote(mem::take(&mut self.lines.count));
                Ok(())
            }
            Err(Cut { whole, error }) => {
                let written = self.lines.bytes.drain(..whole).filter(|byte| *byte == b'\n').count();
                let written = u64::try_from(written).unwrap_or(0);
                self.lines.count = self.lines.count.saturating_sub(written);
                self.shared.tally.wrote(written);
                Err(error)
            }
        }
    }

    /// The record of lines that are missing.
    fn notice(&self, missing: u64, stamp: &Stamp) -> Vec<u8> {
        let record = Record::new(&RequestId::named("traffic"), Phase::RecordsLost)
            .number("records", i64::try_from(missing).unwrap_or(i64::MAX));
        let record = match self.shared.tally.error.lock().clone() {
            Some(error) => record.text("last_error", error),
            None => record.null("last_error"),
        };
        let mut out = Vec::new();
        record::write(&Item::Record(record), stamp, &mut out);
        out
    }

    fn note(&mut self, error: &io::Error) {
        let now = self.clock.instant();
        let since = self.trouble.map_or(now, |trouble| trouble.since);
        self.trouble = Some(Trouble { since, last: now });
        *self.shared.tally.error.lock() = Some(error.to_string());
    }

    /// Whether the disk has refused for so long that nobody should wait for it.
    fn has_lasted(&self) -> bool {
        let lasted = |trouble: Trouble| {
            trouble.last.saturating_duration_since(trouble.since) >= self.patience.hold
        };
        self.shared.queue.is_closed() || self.trouble.is_some_and(lasted)
    }

    /// Whether not even an attempt is due.
    fn is_given_up(&self) -> bool {
        let Some(trouble) = self.trouble else { return false };
        let since = self.clock.instant().saturating_duration_since(trouble.last);
        self.has_lasted() && since < self.patience.retry
    }

    fn lost(&self) -> u64 {
        self.shared.tally.lost.load(Ordering::Relaxed)
    }
}
