//! The right to be in flight.
//!
//! A request is in flight until its answer has been sent or given up, and that is long after the
//! handler has returned when the answer is a stream. The permit therefore owns what it needs and
//! travels in the response body.
//!
//! Invariant: each permit gives back exactly one place, once.
//!
//! Not here: who gets one (`limit`).

use std::{fmt, sync::Arc};

use super::{Inner, Who, table::Slot};

/// One place among the requests in flight of a client. Dropping it gives the place back.
pub struct Permit {
    limits: Arc<Inner>,
    who: Who,
    slot: Slot,
}

impl Permit {
    /// For a request that has just been counted in at `slot`.
    pub(super) fn new(limits: Arc<Inner>, who: Who, slot: Slot) -> Self {
        Self { limits, who, slot }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // The entry is still this client's: one with requests in flight is not given away.
        if let Some(entry) = self.limits.sides.lock().of(self.who).existing(self.slot) {
            entry.active = entry.active.saturating_sub(1);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("who", &self.who)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}
