//! How many connections there may be, in all and of one client.
//!
//! On loopback everybody is one client, so a place must not be something that a neighbour can
//! keep from the owner. A connection has its place only until somebody else needs it, unless a
//! request was let in on it: when there is none left, the one that has been idle longest is closed,
//! and when none is idle, the oldest of those whose requests need no letting in or were refused.
//! Whoever sends a request at once, as clients do, is therefore served however many connections
//! others hold open; and what was let in is bounded by the limits of requests.
//!
//! **Invariant:** there are never more places taken than there may be.
//! **Invariant:** a connection on which the answer to a request that was let in is under way is not
//! closed for another.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{api::exchange::Admitted, limit::Client};

/// How many give way at once when the system is short of descriptors.
const SOME: usize = 16;

/// The most connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    pub all: usize,
    pub of_one_client: usize,
}

/// All connections there are. Clones share them.
#[derive(Clone, Debug)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: Most,
    /// Counts what happens, so that it is known what was first.
    moment: AtomicU64,
    /// Held for as long as it takes to look through all connections, never across an await.
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: HashMap<u64, (Client, Arc<State>)>,
    of_one_client: HashMap<Client, usize>,
}

/// What is known of one connection.
#[derive(Debug)]
pub struct State {
    inner: Arc<Inner>,
    /// Requests under way.
    busy: AtomicU64,
    /// The moment since which it has been idle.
    idle_since: AtomicU64,
    /// Whether something written is still on its way.
    is_writing: AtomicBool,
    /// Whether a request was answered before its body was read.
    has_unread: AtomicBool,
    /// Whether the last request was let in.
    admitted: Admitted,
    closed: CancellationToken,
}

/// The right to be connected. Dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    id: u64,
    state: Arc<State>,
}

impl Places {
    pub fn new(most: Most) -> Self {
        Self(Arc::new(Inner { most, moment: AtomicU64::new(0), taken: Mutex::default() }))
    }

    /// A place for a client at `address`; `None` when all that it could have are being used.
    pub fn take(&self, address: IpAddr) -> Option<Place> {
        let client = Client::from(address);
        let most = self.0.most;
        let mut taken = self.0.taken.lock();
        let own = taken.of_one_client.get(&client).copied().unwrap_or(0);
        if own >= most.of_one_client && !taken.close_idlest(|other| other == client) {
            return None;
        }
        if taken.all.len() >= most.all && !taken.close_idlest(|_| true) {
            return None;
        }
        let id = self.0.next();
        let state = Arc::new(State {
            inner: Arc::clone(&self.0),
            busy: AtomicU64::new(0),
            idle_since: AtomicU64::new(id),
            is_writing: AtomicBool::new(false),
            has_unread: AtomicBool::new(false),
            admitted: Admitted::default(),
            closed: CancellationToken::new(),
        });
        taken.all.insert(id, (client, Arc::clone(&state)));
        *taken.of_one_client.entry(client).or_default() += 1;
        Some(Place { id, state })
    }

    /// Closes some connections that may be closed, longest idle first. Whether there were any.
    pub fn make_room(&self) -> bool {
        let mut taken = self.0.taken.lock();
        (0..SOME).take_while(|_| taken.close_idlest(|_| true)).count() > 0
    }
}

impl Inner {
    fn next(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::Relaxed)
    }
}

impl Taken {
    /// Closes the connection that has been idle longest, or else the oldest on which nothing was let
    /// in, of the clients that are `eligible`.
    fn close_idlest(&mut self, eligible: impl Fn(Client) -> bool) -> bool {
        let idlest = self
            .all
            .iter()
            .filter(|(_, (client, state))| eligible(*client) && !state.is_protected())
            .min_by_key(|(_, (_, state))| {
                (!state.is_idle(), state.idle_since.load(Ordering::Relaxed))
            })
            .map(|(id, _)| *id);
        let Some(id) = idlest else { return false };
        if let Some(state) = self.remove(id) {
            state.closed.cancel();
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Arc<State>> {
        let (client, state) = self.all.remove(&id)?;
        if let Some(count) = self.of_one_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.of_one_client.remove(&client);
            }
        }
        Some(state)
    }
}

impl Place {
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// Done when the place is needed for somebody else.
    pub async fn lost(&self) {
        self.state.closed.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // One that was closed for another is not there any more.
        self.state.inner.taken.lock().remove(self.id);
    }
}

impl State {
    /// Whether nothing would be lost by closing.
    pub fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Acquire) == 0 && !self.is_writing.load(Ordering::Acquire)
    }

    /// Whether it must not be closed for another.
    fn is_protected(&self) -> bool {
        self.admitted.is_set() && !self.is_idle()
    }

    /// To be set when the request that it serves is let in.
    pub fn admitted(&self) -> Admitted {
        self.admitted.clone()
    }

    pub fn set_writing(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Release);
    }

    /// Remembers that the client may still be sending what nobody will read.
    pub fn left_unread(&self) {
        self.has_unread.store(true, Ordering::Release);
    }

    pub fn has_unread(&self) -> bool {
        self.has_unread.load(Ordering::Acquire)
    }

    /// Busy until this is dropped.
    pub fn serve(self: &Arc<Self>) -> Serving {
        self.admitted.set(false);
        self.busy.fetch_add(1, Ordering::AcqRel);
        Serving(Arc::clone(self))
    }
}

/// A request under way.
#[derive(Debug)]
pub struct Serving(Arc<State>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.inner.next(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    impl State {
        fn admit(self: &Arc<Self>) -> Serving {
            let serving = self.serve();
            self.admitted.set(true);
            serving
        }
    }

    fn is_lost(place: &Place) -> bool {
        place.state.closed.is_cancelled()
    }

    fn counts(places: &Places) -> (usize, usize) {
        let taken = places.0.taken.lock();
        (taken.all.len(), taken.of_one_client.values().sum())
    }

    #[test]
    fn the_longest_idle_makes_room_for_a_newcomer_and_the_admitted_never_do() {
        let places = Places::new(Most { all: 9, of_one_client: 3 });
        let take = || places.take(ip("127.0.0.1"));
        let [one, two, three] = [take(), take(), take()].map(|place| place.expect("room"));
        let serving = one.state.admit();
        let four = take().expect("in place of the second");
        assert_eq!([&one, &two, &three, &four].map(is_lost), [false, true, false, false]);
        drop(serving);
        // Idle only since now, the first is the last to go.
        let five = take().expect("in place of the third");
        assert_eq!([&one, &three, &four, &five].map(is_lost), [false, true, false, false]);
        let busy = [&one, &four, &five].map(|place| place.state.admit());
        assert!(take().is_none());
        // The next request on it may be anybody's.
        let _refused = four.state.serve();
        let six = take().expect("in place of the fourth");
        assert_eq!([&one, &four, &five, &six].map(is_lost), [false, true, false, false]);
        let busy = (busy, six.state.admit());
        assert!(take().is_none());
        assert!(places.take(ip("127.0.0.2")).is_some(), "another client has places of its own");
        drop((two, three, four, busy));
        assert_eq!(counts(&places), (3, 3));
        assert!(take().is_some());
    }

    #[test]
    fn an_answer_that_is_still_being_written_is_under_way() {
        let places = Places::new(Most { all: 1, of_one_client: 1 });
        let one = places.take(ip("::1")).expect("room");
        drop(one.state.admit());
        one.state.set_writing(true);
        assert!(places.take(ip("::1")).is_none());
        one.state.set_writing(false);
        assert!(places.take(ip("::1")).is_some());
    }

    #[test]
    fn there_are_never_more_than_may_be() {
        let places = Places::new(Most { all: 50, of_one_client: 20 });
        let mut held = Vec::new();
        for n in 0..1000_u32 {
            let place = places.take(ip(&format!("10.0.0.{}", n % 7)));
            let place = place.expect("idle ones give way");
            // Every other one has been dropped already when its place is taken from it.
            if n % 2 == 0 {
                held.push(place);
            }
            let (all, sum) = counts(&places);
            assert!(all <= 50 && all == sum, "{all} {sum}");
            assert!(places.0.taken.lock().of_one_client.values().all(|own| *own <= 20));
        }
        drop(held);
        assert_eq!(counts(&places), (0, 0));
    }

    #[test]
    fn one_network_of_version_6_is_one_client() {
        let places = Places::new(Most { all: 9, of_one_client: 1 });
        let one = places.take(ip("2001:db8::1")).expect("room");
        let _other = places.take(ip("2001:db8::2")).expect("in place of the first");
        assert!(is_lost(&one));
    }
}
