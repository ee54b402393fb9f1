//! The clients that are remembered, at most so many of them.
//!
//! Spoofed or rotating addresses must not cost memory without end. When the table is full, a
//! newcomer takes the place of a client about whom least is lost: one with nothing to its name if
//! there is one nearby, otherwise the one unheard of for longest. A look at a few places from a
//! moving hand keeps that cheap.
//!
//! Invariant: never more than `capacity` clients.
//! Invariant: a client with requests in flight or a block is never forgotten; when the hand meets
//! only such, newcomers share one entry, with one client's allowance for all of them.
//!
//! Not here: what the numbers mean (`rate`, `lockout`).

use std::{collections::HashMap, time::Instant};

use super::{
    Client, Settings,
    lockout::{Lockout, Rule},
    rate::{Due, Rate},
};

/// How many places the hand looks at for one newcomer.
const LOOK: usize = 16;

/// The limits in the form in which they are applied.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub rate: Rate,
    pub concurrent: u32,
    pub lockout: Rule,
}

impl Rules {
    pub fn new(settings: Settings) -> Self {
        Self {
            rate: Rate::new(settings.per_minute, settings.burst),
            concurrent: settings.concurrent.max(1),
            lockout: Rule::new(settings),
        }
    }
}

/// One client's account.
#[derive(Debug)]
pub struct Entry {
    client: Option<Client>,
    pub due: Due,
    pub active: u32,
    pub lockout: Lockout,
}

impl Entry {
    fn new(client: Option<Client>, now: Instant) -> Self {
        Self { client, due: Due::new(now), active: 0, lockout: Lockout::default() }
    }

    fn may_go(&self, now: Instant) -> bool {
        self.active == 0 && self.lockout.remaining(now).is_none()
    }

    /// Whether forgetting it changes nothing for its client.
    fn is_blank(&self, now: Instant) -> bool {
        self.due.is_past(now) && self.lockout.is_clean()
    }
}

/// Where a client's account is. Stays true while the entry has requests in flight.
#[derive(Clone, Copy, Debug)]
pub enum Slot {
    Own(usize),
    Shared,
}

#[derive(Debug)]
pub struct Table {
    capacity: usize,
    entries: Vec<Entry>,
    /// Indexes of `entries`.
    places: HashMap<Client, u32>,
    hand: usize,
    /// Of all newcomers for whom there is no room.
    shared: Option<Box<Entry>>,
}

impl Table {
    /// `capacity` must fit in 32 bits; more is cut.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(usize::try_from(u32::MAX).unwrap_or(usize::MAX));
        Self { capacity, entries: Vec::new(), places: HashMap::new(), hand: 0, shared: None }
    }

    pub fn find(&self, client: Client) -> Option<&Entry> {
        let place = self.places.get(&client)?;
        self.entries.get(usize::try_from(*place).ok()?)
    }

    /// The entry of those for whom there is no room, while there is none.
    pub fn overflow(&self) -> Option<&Entry> {
        self.shared.as_deref().filter(|_| self.entries.len() >= self.capacity)
    }

    /// The account of `client`, which is remembered from now on if there is room, and its place.
    pub fn enter(&mut self, client: Client, now: Instant) -> (Slot, &mut Entry) {
        if let Some(index) = self.place(client, now) {
            (Slot::Own(index), &mut self.entries[index])
        } else {
            let shared = self.shared.get_or_insert_with(|| Entry::new(None, now).into());
            (Slot::Shared, shared)
        }
    }

    /// The entry at a place that [`enter`](Self::enter) gave.
    pub fn existing(&mut self, slot: Slot) -> Option<&mut Entry> {
        match slot {
            Slot::Own(index) => self.entries.get_mut(index),
            Slot::Shared => self.shared.as_deref_mut(),
        }
    }

    /// How many clients are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Every entry, the shared one included.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(self.shared.as_deref())
    }

    /// Where `client` is, or a place for it if there is one.
    fn place(&mut self, client: Client, now: Instant) -> Option<usize> {
        if let Some(place) = self.places.get(&client) {
            return usize::try_from(*place).ok();
        }
        let entry = Entry::new(Some(client), now);
        let index = if self.entries.len() < self.capacity {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let index = self.spare(now)?;
            if let Some(gone) = std::mem::replace(&mut self.entries[index], entry).client {
                self.places.remove(&gone);
            }
            index
        };
        self.places.insert(client, u32::try_from(index).ok()?);
        Some(index)
    }

    /// Moves the hand, and returns the entry that is best given up among those it passes.
    fn spare(&mut self, now: Instant) -> Option<usize> {
        let mut best: Option<usize> = None;
        for _ in 0..LOOK.min(self.entries.len()) {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &self.entries[index];
            if !entry.may_go(now) {
                continue;
            }
            if entry.is_blank(now) {
                return Some(index);
            }
            if best.is_none_or(|best| entry.due < self.entries[best].due) {
                best = Some(index);
            }
        }
        best
    }
}
