//! Records on their way to the writer's thread.
//!
//! Bounded in bytes, since records differ by six orders of magnitude. Whoever comes while there
//! is any room at all gets in, so that one large record cannot wait for ever; whoever does not
//! is woken when room was made and tries again. No room is ever set aside for someone who waits:
//! an answer that its client has stopped reading is not polled, and would keep it from all others.
//!
//! The thread is woken by the first record and then lets more gather for a moment: a wake-up
//! costs more than a record.
//!
//! Invariant: bytes are counted until their lines are written, not until they are taken.
//!
//! Not here: what becomes of the records (`writer`).

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::record::Record;

/// What a place in the queue costs besides the content.
const PLACE: usize = 128;

/// Something to be written.
#[derive(Debug)]
pub enum Item {
    Record(Record),
    /// One record for each line of an upstream stream.
    Lines {
        head: Arc<[u8]>,
        lines: Bytes,
    },
}

impl Item {
    /// In bytes. Bodies count as a whole although they are shared: the queue keeps them alive.
    pub fn cost(&self) -> usize {
        match self {
            Self::Record(record) => PLACE + record.size(),
            Self::Lines { lines, head: _ } => lines_cost(lines),
        }
    }
}

/// The cost of an [`Item::Lines`] before there is one.
pub fn lines_cost(lines: &Bytes) -> usize {
    PLACE + lines.len()
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    Queued,
    /// The log is closed; the item is gone.
    Closed,
}

/// Who waits for room. Given back with [`Queue::leave`].
#[derive(Debug)]
pub struct Ticket(u64);

#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    /// Notified when the thread should look at the state before its time.
    thread: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State {
    items: VecDeque<Item>,
    /// Of `items`, and of what the thread has taken but not yet written.
    bytes: usize,
    /// In the order in which they came.
    waiting: BTreeMap<u64, Waker>,
    next_ticket: u64,
    thread: Thread,
    closed: bool,
}

/// What the writer's thread is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thread {
    Writing,
    /// Waits for the first record.
    Idle,
    /// Has seen a record and lets more gather.
    Gathering,
}

impl Queue {
    pub fn new(capacity: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            waiting: BTreeMap::new(),
            next_ticket: 0,
            thread: Thread::Writing,
            closed: false,
        };
        // With no room at all nobody would ever get in.
        Self { state: Mutex::new(state), thread: Condvar::new(), capacity: capacity.max(1) }
    }

    /// Takes the item that `make` makes, or takes nothing and wakes the task when there is room.
    pub fn poll_push(
        &self,
        cx: &Context<'_>,
        ticket: &mut Option<Ticket>,
        cost: usize,
        make: impl FnOnce() -> Option<Item>,
    ) -> Poll<Accepted> {
        let mut state = self.state.lock();
        if !state.closed && state.bytes >= self.capacity {
            let number = ticket.get_or_insert_with(|| state.ticket()).0;
            state.waiting.insert(number, cx.waker().clone());
            self.hurry(state, Thread::Gathering);
            return Poll::Pending;
        }
        if let Some(Ticket(number)) = ticket.take() {
            state.waiting.remove(&number);
        }
        Poll::Ready(match make() {
            Some(item) => self.put(state, item, cost),
            None => Accepted::Queued,
        })
    }

    /// Takes `item` whatever there is room for.
    pub fn push(&self, item: Item, cost: usize) -> Accepted {
        self.put(self.state.lock(), item, cost)
    }

    fn put(&self, mut state: MutexGuard<'_, State>, item: Item, cost: usize) -> Accepted {
        if state.closed {
            return Accepted::Closed;
        }
        state.items.push_back(item);
        state.bytes += cost;
        let half_full = state.bytes >= self.capacity / 2;
        let sleep = if half_full && state.thread == Thread::Gathering {
            Thread::Gathering
        } else {
            Thread::Idle
        };
        self.hurry(state, sleep);
        Accepted::Queued
    }

    /// Wakes the thread if it is in this kind of sleep.
    fn hurry(&self, mut state: MutexGuard<'_, State>, sleep: Thread) {
        if state.thread == sleep {
            // So that it is notified once, however many come before it runs.
            state.thread = Thread::Writing;
            drop(state);
            self.thread.notify_one();
        }
    }

    /// No longer waits for room.
    pub fn leave(&self, ticket: &mut Option<Ticket>) {
        if let Some(Ticket(number)) = ticket.take() {
            self.state.lock().waiting.remove(&number);
        }
    }

    /// Waits for records, lets more gather for `moment`, and moves all to `batch`, which is empty.
    /// Returns whether there may be more to come.
    pub fn take(&self, batch: &mut VecDeque<Item>, moment: Duration) -> bool {
        let mut state = self.state.lock();
        while state.items.is_empty() && !state.closed {
            state.thread = Thread::Idle;
            self.thread.wait(&mut state);
        }
        if !state.closed && state.bytes < self.capacity / 2 && state.waiting.is_empty() {
            state.thread = Thread::Gathering;
            self.thread.wait_for(&mut state, moment);
        }
        state.thread = Thread::Writing;
        mem::swap(&mut state.items, batch);
        !(batch.is_empty() && state.closed)
    }

    /// Gives back the room of records that were written or given up.
    pub fn release(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        if state.bytes < self.capacity {
            let waiting = mem::take(&mut state.waiting);
            drop(state);
            waiting.into_values().for_each(Waker::wake);
        }
    }

    /// Waits for `moment`, or until the queue is closed.
    pub fn pause(&self, moment: Duration) {
        let mut state = self.state.lock();
        if !state.closed {
            self.thread.wait_for(&mut state, moment);
        }
    }

    /// Takes nothing more. What is queued can still be taken out.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        self.thread.notify_one();
        waiting.into_values().for_each(Waker::wake);
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Queued or being written.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// What nobody will write any more.
    pub fn abandon(&self) -> VecDeque<Item> {
        mem::take(&mut self.state.lock().items)
    }
}

impl State {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}
