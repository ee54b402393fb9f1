//! Who may be served now: rate, concurrency, and the block after repeated bad tokens.
//!
//! Everything is counted per [`Client`], and twice: once for those who showed a valid token and
//! once for those who did not. On loopback all programs of a machine share one address, so a
//! single count would let any neighbour, even a web page, spend the owner's allowance or lock the
//! owner out. For the same reason the block is for asking when a token is wrong or missing, and
//! never before.
//!
//! Invariant: what an anonymous caller does changes nothing for an owner at the same address.
//! Invariant: a refusal spends nothing, neither allowance nor a place.
//! Invariant: memory is bounded, however many addresses call.
//!
//! Not here: what an address is worth behind a proxy, tokens, answers (`api`).

mod flight;
mod lockout;
mod rate;
mod table;

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

pub use self::flight::Permit;
use self::table::{Rules, Table};

/// How many clients are remembered on each side. An entry takes about a hundred bytes.
const CLIENTS: usize = 65_536;

/// How long to wait for a place: nobody can know when a running request ends.
const PLACE_RETRY: Duration = Duration::from_secs(1);

/// The limits of each client. A number of zero counts as one: nobody could be served otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Requests per minute in the long run.
    pub per_minute: u32,
    /// Requests that may come at once after a pause.
    pub burst: u32,
    /// Requests in flight, streams included.
    pub concurrent: u32,
    /// How long a bad token is held against a client.
    pub failed_window: Duration,
    /// The bad token that sets the block.
    pub failed_max: u32,
    /// How long the block lasts.
    pub failed_block: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            per_minute: 120,
            burst: 40,
            concurrent: 8,
            failed_window: Duration::from_mins(5),
            failed_max: 8,
            failed_block: Duration::from_mins(15),
        }
    }
}

/// Whom a request is accounted to: an IPv4 address, or the /64 network of an IPv6 address, since
/// one host has all of that to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(u64);

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            // ff00::/8 is multicast and never a sender, so no network has these numbers.
            IpAddr::V4(v4) => Self(0xffff_ffff_0000_0000 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self(network(v6)),
        }
    }
}

fn network(address: Ipv6Addr) -> u64 {
    u64::try_from(address.to_bits() >> 64).unwrap_or(0)
}

/// Which of a client's two accounts a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Showed a valid token.
    Owner,
    /// Did not, or need not.
    Anonymous,
}

/// A request that may not run now. The same request may after `retry_after`, at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too many requests at once")]
    TooMany { retry_after: Duration },
    #[error("request rate limit exceeded")]
    TooFast { retry_after: Duration },
}

/// What became of a bad token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How long the client is blocked from now on, if it is.
    pub blocked_for: Option<Duration>,
}

/// What is known of one client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientView {
    /// Requests that would be admitted at once: of the owner if one is known at this address,
    /// otherwise of the anonymous callers.
    pub allowance_remaining: f64,
    /// In flight, whoever sent them.
    pub active_requests: u32,
    /// Within the window.
    pub failed_auth_attempts: u32,
    pub blocked_for: Option<Duration>,
}

/// Sums over all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Addresses or networks; one that is known with and without a token counts once each.
    pub tracked: usize,
    pub blocked: usize,
    /// Requests in flight.
    pub active: usize,
}

/// All clients. Clones share them.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    rules: Rules,
    /// Held for a few hundred nanoseconds at a time, never across an await.
    sides: Mutex<Sides>,
}

#[derive(Debug)]
struct Sides {
    owner: Table,
    anonymous: Table,
}

impl Sides {
    fn of(&mut self, who: Who) -> &mut Table {
        match who {
            Who::Owner => &mut self.owner,
            Who::Anonymous => &mut self.anonymous,
        }
    }
}

impl Limits {
    /// What they are.
    pub fn settings(&self) -> Settings {
        self.0.settings
    }

    pub fn new(settings: Settings) -> Self {
        Self::with_capacity(settings, CLIENTS)
    }

    fn with_capacity(settings: Settings, clients: usize) -> Self {
        let sides = Sides { owner: Table::new(clients), anonymous: Table::new(clients) };
        Self(Arc::new(Inner { settings, rules: Rules::new(settings), sides: Mutex::new(sides) }))
    }

    /// How much longer this client is blocked. For requests whose token is wrong or missing; a
    /// valid token is never blocked.
    pub fn blocked(&self, client: Client, now: Instant) -> Option<Duration> {
        let sides = self.0.sides.lock();
        let entry = sides.anonymous.find(client).or_else(|| sides.anonymous.overflow())?;
        entry.lockout.remaining(now)
    }

    /// Counts a wrong or missing token.
    ///
    /// The one that sets the block is still answered like those before it; the block holds for
    /// the next.
    pub fn failed(&self, client: Client, now: Instant) -> Failed {
        let rule = self.0.rules.lockout;
        let mut sides = self.0.sides.lock();
        let (_, entry) = sides.anonymous.enter(client, now);
        entry.lockout.fail(rule, now);
        Failed { blocked_for: entry.lockout.remaining(now) }
    }

    /// Admits a request, which then runs until the permit is dropped.
    ///
    /// # Errors
    ///
    /// When as many are in flight as may be, or the last ones came too fast. Nothing is spent.
    pub fn admit(&self, client: Client, who: Who, now: Instant) -> Result<Permit, Refused> {
        let rules = self.0.rules;
        let mut sides = self.0.sides.lock();
        let (slot, entry) = sides.of(who).enter(client, now);
        if entry.active >= rules.concurrent {
            return Err(Refused::TooMany { retry_after: PLACE_RETRY });
        }
        rules
            .rate
            .admit(&mut entry.due, now)
            .map_err(|rate::TooFast(retry_after)| Refused::TooFast { retry_after })?;
        entry.active += 1;
        Ok(Permit::new(Arc::clone(&self.0), who, slot))
    }

    pub fn snapshot(&self, client: Client, now: Instant) -> ClientView {
        let rules = self.0.rules;
        let sides = self.0.sides.lock();
        let owner = sides.owner.find(client);
        let anonymous = sides.anonymous.find(client);
        let due = owner.or(anonymous).map(|entry| entry.due);
        ClientView {
            allowance_remaining: rules.rate.remaining(due, now),
            active_requests: owner.into_iter().chain(anonymous).map(|entry| entry.active).sum(),
            failed_auth_attempts: anonymous
                .map_or(0, |entry| entry.lockout.attempts(rules.lockout, now)),
            blocked_for: anonymous.and_then(|entry| entry.lockout.remaining(now)),
        }
    }

    /// Walks all clients; for the status route, not for every request.
    pub fn counts(&self, now: Instant) -> Counts {
        let sides = self.0.sides.lock();
        let both = || sides.owner.all().chain(sides.anonymous.all());
        Counts {
            tracked: sides.owner.len() + sides.anonymous.len(),
            blocked: both().filter(|entry| entry.lockout.remaining(now).is_some()).count(),
            active: both().map(|entry| usize::try_from(entry.active).unwrap_or(usize::MAX)).sum(),
        }
    }
}
