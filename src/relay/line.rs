//! The line of those who wait for a place in a slot.
//!
//! First come, first served, as far as each can be served: who wants what nobody can give yet holds
//! up nobody behind him. The line is looked after whenever something changes, and when time alone may
//! have changed something: then whoever wakes first looks after all of it.
//!
//! **Invariant:** nobody who comes later gets what somebody in the line could have had.
//! **Invariant:** the line is bounded, and everybody in it is answered by his deadline.
//! **Invariant:** nobody is turned away for the length of the line while a slot can serve him.

use std::{
    collections::VecDeque,
    sync::OnceLock,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::slots::{Lease, Slots, State};
use crate::slot::{
    SlotId,
    pool::{Ask, NoSlot},
};

/// Two looks that time alone is the reason for are no closer.
const LEAST: Duration = Duration::from_millis(50);

/// What somebody wants a slot for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub session: Option<String>,
    pub model: Option<String>,
    /// These have been asked already. Whoever has tried one waits for places only.
    pub tried: Vec<SlotId>,
    pub only: Option<SlotId>,
}

impl Wanted {
    fn ask(&self, since: Instant) -> Ask<'_> {
        Ask {
            session: self.session.as_deref(),
            model: self.model.as_deref(),
            tried: &self.tried,
            only: self.only.as_ref(),
            since,
        }
    }

    /// Whether whoever wants this is turned away where the other is: a dialogue only says who
    /// comes first among those who can serve.
    fn is_like(&self, other: &Self) -> bool {
        self.model == other.model && self.tried == other.tried && self.only == other.only
    }
}

/// Those who wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Line {
    waiters: VecDeque<Waiter>,
    tickets: u64,
    /// When somebody is to be looked after again although nothing changes.
    next_look: Option<Instant>,
}

struct Waiter {
    ticket: u64,
    wanted: Wanted,
    since: Instant,
    deadline: Instant,
    send: oneshot::Sender<Taken>,
}

type Taken = Result<Lease, NoSlot>;

/// Those of a line who were answered, to be told when nothing is locked any more.
#[must_use]
pub(super) struct Served(Vec<(oneshot::Sender<Taken>, Taken)>);

impl Served {
    /// Whoever has left in between gives the place back by not taking it.
    pub(super) fn tell(self) {
        for (send, taken) in self.0 {
            drop(send.send(taken));
        }
    }
}

impl Slots {
    /// A place for `wanted`, waiting for one if it can be expected before `deadline`. Whoever wants
    /// it has done so since `since`.
    ///
    /// # Errors
    ///
    /// When nobody can serve it.
    pub async fn take(
        &self,
        wanted: Wanted,
        (since, deadline): (Instant, Instant),
    ) -> Result<Lease, NoSlot> {
        let (served, taken) = {
            let mut state = self.0.state.lock();
            // Time may have freed what somebody in the line waits for.
            let now = self.0.clock.instant();
            let is_due = state.line.next_look.is_some_and(|next| next <= now);
            let served = if is_due { self.look_after(&mut state) } else { Served(Vec::new()) };
            (served, self.enter(&mut state, wanted, since, deadline))
        };
        served.tell();
        let (ticket, mut receive) = match taken {
            Entered::Answered(taken) => return taken,
            Entered::Waits { ticket, receive } => (ticket, receive),
        };
        let _place = InLine { slots: self, ticket };
        loop {
            // Before the time is read, so that no earlier one is missed.
            let rung = self.0.bell.notified();
            let next = self.0.state.lock().line.next_look.unwrap_or(deadline);
            tokio::select! {
                biased;
                taken = &mut receive => {
                    let gone = |_| Err(NoSlot { looks: Vec::new(), is_full: true, wait: None });
                    return taken.unwrap_or_else(gone);
                }
                () = rung => {}
                () = tokio::time::sleep_until(next.into()) => self.serve_line_if_due(),
            }
        }
    }

    /// Serves `wanted` at once, or gives it a place in the line.
    fn enter(
        &self,
        state: &mut State,
        wanted: Wanted,
        since: Instant,
        deadline: Instant,
    ) -> Entered {
        let times = (self.0.clock.instant(), deadline);
        let none = match self.choose(state, &wanted, since) {
            Err(none) if is_worth_waiting(&none, &wanted, times) => none,
            taken => return Entered::Answered(taken),
        };
        if state.line.waiters.len() >= self.settings().waiting {
            return Entered::Answered(Err(NoSlot { is_full: true, ..none }));
        }
        state.line.tickets += 1;
        let ticket = state.line.tickets;
        let (send, receive) = oneshot::channel();
        state.line.waiters.push_back(Waiter { ticket, wanted, since, deadline, send });
        let at = look_at(none.wait, times);
        self.set_next_look(state, Some(state.line.next_look.map_or(at, |next| next.min(at))));
        Entered::Waits { ticket, receive }
    }

    /// Whoever sleeps until an earlier time looks again then by himself; for a sooner one he is woken.
    fn set_next_look(&self, state: &mut State, next: Option<Instant>) {
        let former = std::mem::replace(&mut state.line.next_look, next);
        let is_sooner = |next: Instant| former.is_none_or(|former| next < former);
        if next.is_some_and(is_sooner) {
            self.0.bell.notify_waiters();
        }
    }

    fn choose(&self, state: &mut State, wanted: &Wanted, since: Instant) -> Taken {
        let choice = state.pool.choose(wanted.ask(since), self.now())?;
        let owner = OnceLock::new();
        let Some(account) = state.accounts.get(&choice.id).cloned() else {
            state.pool.leave(&choice.id, choice.number);
            return Err(NoSlot { looks: choice.looks, is_full: false, wait: None });
        };
        Ok(Lease { slots: self.clone(), account, choice, owner })
    }

    /// Hands what is free to those who wait, if time may have changed something. Of all who wake for
    /// it only the first has to.
    fn serve_line_if_due(&self) {
        let served = {
            let mut state = self.0.state.lock();
            let now = self.0.clock.instant();
            if state.line.next_look.is_none_or(|next| now < next) {
                return;
            }
            self.look_after(&mut state)
        };
        served.tell();
    }

    /// Hands what is free to those who wait, in their order.
    pub(super) fn look_after(&self, state: &mut State) -> Served {
        if state.line.waiters.is_empty() {
            return Served(Vec::new());
        }
        let now = self.0.clock.instant();
        let mut served = Vec::new();
        // What was in vain for one is in vain for others who want the same.
        let mut in_vain: Vec<(Wanted, Option<Duration>)> = Vec::new();
        let mut next: Option<Instant> = None;
        for waiter in std::mem::take(&mut state.line.waiters) {
            let times = (now, waiter.deadline);
            let known = in_vain.iter().find(|(wanted, _)| wanted.is_like(&waiter.wanted));
            let wait = match known.filter(|_| now < waiter.deadline) {
                Some((_, wait)) => *wait,
                None => match self.choose(state, &waiter.wanted, waiter.since) {
                    Err(none) if is_worth_waiting(&none, &waiter.wanted, times) => {
                        // Who came later may hope for what the first may not.
                        if none.is_full {
                            in_vain.push((waiter.wanted.clone(), none.wait));
                        }
                        none.wait
                    }
                    taken => {
                        served.push((waiter.send, taken));
                        continue;
                    }
                },
            };
            let at = look_at(wait, times);
            next = Some(next.map_or(at, |next| next.min(at)));
            state.line.waiters.push_back(waiter);
        }
        self.set_next_look(state, next);
        Served(served)
    }

    /// How many wait for a place.
    pub fn n_waiting(&self) -> usize {
        self.0.state.lock().line.waiters.len()
    }
}

/// What becomes of somebody who comes.
enum Entered {
    Answered(Taken),
    Waits { ticket: u64, receive: oneshot::Receiver<Taken> },
}

/// When somebody who was told to expect a slot in `wait` is to be looked after again.
fn look_at(wait: Option<Duration>, (now, deadline): (Instant, Instant)) -> Instant {
    wait.map_or(deadline, |wait| deadline.min(now + wait.max(LEAST)))
}

fn is_worth_waiting(none: &NoSlot, wanted: &Wanted, (now, deadline): (Instant, Instant)) -> bool {
    let ends_in_time = || none.wait.is_some_and(|wait| now + wait < deadline);
    now < deadline && (none.is_full || wanted.tried.is_empty() && ends_in_time())
}

/// Somebody's place in the line, which he leaves when he does not wait any longer.
struct InLine<'a> {
    slots: &'a Slots,
    ticket: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.0.state.lock();
        let waiters = &mut state.line.waiters;
        let place = waiters.iter().position(|waiter| waiter.ticket == self.ticket);
        let left = place.and_then(|n| waiters.remove(n));
        drop(state);
        // Not under the lock: what it holds may be a lease.
        drop(left);
    }
}

#[cfg(test)]
mod tests;
