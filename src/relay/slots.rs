//! The slots while the relay runs: who serves whom, who waits, and what is known of each.
//!
//! One lock guards the table, and everything that is done under it is arithmetic. A place is held
//! by a [`Lease`], which gives it back however its holder ends. Who finds no place waits in a line,
//! first come first served, as long as one can be expected in time.
//!
//! **Invariant:** the lock is never held across an await, and no lease is dropped under it.
//! **Invariant:** the line is bounded, and everybody in it is answered in time.
//!
//! Not here: the choice (`slot::pool`), sending (`relay::attempt`), asking for usage
//! (`relay::refresh`).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Refused, fault};
use crate::{
    auth::refresh::Login,
    clock::Clock,
    credential::AccountId,
    roster::{
        Listing, Member, Roster, RosterError, Stamp,
        usage::{self, Kept},
    },
    slot::{
        Moment, SlotId,
        health::Fault,
        pool::{self, Ask, Choice, NoSlot, Pool},
        window::{self, Reading},
    },
    transport::chain,
    upstream::{catalogue::Catalogue, failure::Failure},
};

/// What is the same for all slots.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub pool: pool::Settings,
    /// How many may wait for a place.
    pub waiting: usize,
    /// How long somebody waits for one.
    pub patience: Duration,
}

/// A slot's own way to the upstream. Clones are the same.
#[derive(Clone, Debug)]
pub struct Account {
    pub login: Login,
    pub catalogue: Catalogue,
}

/// Makes the account of a slot that is new.
pub type Connect = Arc<dyn Fn(&Member) -> Account + Send + Sync>;

/// All slots. Clones are the same.
#[derive(Clone)]
pub struct Slots(Arc<Inner>);

struct Inner {
    roster: Roster,
    connect: Connect,
    clock: Clock,
    settings: Settings,
    state: Mutex<State>,
    /// What the file of the usage holds.
    kept: Mutex<BTreeMap<SlotId, Kept>>,
}

struct State {
    pool: Pool,
    accounts: HashMap<SlotId, Account>,
    /// How each last failed, for whoever is not let through to see for himself.
    setbacks: HashMap<SlotId, Refused>,
    line: VecDeque<Waiter>,
    tickets: u64,
    listing: Listing,
    stamp: Option<Stamp>,
    /// Why the slots stay as they were, if what is on the disk cannot be used.
    problem: Option<String>,
}

struct Waiter {
    ticket: u64,
    wanted: Wanted,
    since: Instant,
    send: oneshot::Sender<Result<Lease, NoSlot>>,
}

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
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("roster", &self.0.roster).finish_non_exhaustive()
    }
}

/// A place in a slot, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    slots: Slots,
    pub account: Account,
    pub choice: Choice,
}

impl Lease {
    pub fn id(&self) -> &SlotId {
        &self.choice.id
    }

    /// A request that was sent at `sent` was answered.
    pub fn answered(&self, sent: Instant) {
        self.slots.change(|pool, now| pool.answered(self.id(), sent, now));
        self.slots.0.state.lock().setbacks.remove(self.id());
    }

    /// What an answer said is left.
    pub fn read(&self, reading: &Reading) {
        self.slots.read(self.id(), reading);
    }

    /// A request that was sent at `sent` failed.
    pub fn failed(&self, refused: &Refused, sent: Instant) {
        let now = self.slots.now();
        if let Some(fault) = fault::of(refused, now.wall) {
            self.slots.0.state.lock().setbacks.insert(self.id().clone(), refused.clone());
            self.slots.change(|pool, now| pool.failed(self.id(), fault, sent, now));
        }
    }

    /// An answer that had begun failed.
    pub fn failed_late(&self, failure: &Failure, sent: Instant) {
        self.failed(&Refused::Attempt(failure.clone()), sent);
    }

    /// The dialogue `session` is this slot's, which cannot read `foreign`.
    pub fn bind(&self, session: &str, foreign: &[u64]) {
        self.slots.change(|pool, now| pool.bind(session, self.id(), foreign, now));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (id, number) = (self.choice.id.clone(), self.choice.number);
        self.slots.change(|pool, _| pool.leave(&id, number));
    }
}

impl Slots {
    /// The slots that `roster` has now.
    ///
    /// # Errors
    ///
    /// When they cannot be listed.
    pub fn new(
        roster: Roster,
        connect: Connect,
        clock: Clock,
        settings: Settings,
    ) -> Result<Self, RosterError> {
        let state = Mutex::new(State {
            pool: Pool::new(settings.pool),
            accounts: HashMap::new(),
            setbacks: HashMap::new(),
            line: VecDeque::new(),
            tickets: 0,
            listing: Listing::default(),
            stamp: None,
            problem: None,
        });
        let slots = Self(Arc::new(Inner {
            roster,
            connect,
            clock,
            settings,
            state,
            kept: Mutex::default(),
        }));
        slots.look_again()?;
        slots.recall();
        Ok(slots)
    }

    /// Takes what was known when the last relay ended.
    fn recall(&self) {
        let now = self.now();
        for (id, Kept { limits, read_at }) in usage::read(&self.0.roster.usage_file()) {
            let source = window::Source::Answer;
            let reading = Reading { limits, source, asked_at: now.instant, at: read_at };
            self.read(&id, &reading);
        }
        *self.0.kept.lock() = self.known_usage();
    }

    /// Keeps what is known for the next one. May block.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn keep_usage(&self) -> io::Result<()> {
        let known = self.known_usage();
        let mut kept = self.0.kept.lock();
        if *kept == known {
            return Ok(());
        }
        usage::write(&self.0.roster.usage_file(), &known)?;
        *kept = known;
        Ok(())
    }

    /// Whether there is something to keep.
    pub fn has_news(&self) -> bool {
        *self.0.kept.lock() != self.known_usage()
    }

    fn known_usage(&self) -> BTreeMap<SlotId, Kept> {
        self.view(|pool, _| {
            let known = pool.slots().filter_map(|slot| {
                let (limits, read_at) = (slot.usage.limits(), slot.usage.read_at?);
                Some((slot.id.clone(), Kept { limits, read_at }))
            });
            known.collect()
        })
    }

    pub fn now(&self) -> Moment {
        Moment { wall: self.0.clock.now(), instant: self.0.clock.instant() }
    }

    pub fn roster(&self) -> &Roster {
        &self.0.roster
    }

    /// Whether anything has changed on the disk. A few looks at files, no more.
    pub fn is_stale(&self) -> bool {
        let stamp = self.0.roster.stamp();
        self.0.state.lock().stamp.as_ref() != Some(&stamp)
    }

    /// Takes the slots as they are on the disk now, if anything has changed there. May block.
    ///
    /// # Errors
    ///
    /// When they cannot be listed; those that are known stay.
    pub fn look_again(&self) -> Result<(), RosterError> {
        let stamp = self.0.roster.stamp();
        if self.0.state.lock().stamp.as_ref() == Some(&stamp) {
            return Ok(());
        }
        let listing = self.0.roster.read();
        let now = self.now();
        let mut state = self.0.state.lock();
        let former = state.stamp.replace(stamp.clone());
        state.problem = listing.as_ref().err().map(|error| chain(error));
        let listing = listing?;
        for member in &listing.members {
            let login_changed = former
                .as_ref()
                .is_some_and(|former| former.of(&member.auth_file) != stamp.of(&member.auth_file));
            if login_changed {
                state.pool.login_changed(&member.id, now);
                state.setbacks.remove(&member.id);
            }
            if !state.accounts.contains_key(&member.id) {
                let account = (self.0.connect)(member);
                state.accounts.insert(member.id.clone(), account);
            }
        }
        let is_member = |id: &SlotId| listing.member(id).is_some();
        state.accounts.retain(|id, _| is_member(id));
        state.setbacks.retain(|id, _| is_member(id));
        let listed: Vec<_> =
            listing.members.iter().map(|it| (it.id.clone(), it.wishes.clone())).collect();
        state.pool.reconcile(&listed);
        state.pool.set_policy(listing.policy.unwrap_or(self.0.settings.pool.policy));
        state.listing = listing;
        drop(state);
        self.serve_line();
        Ok(())
    }

    /// A place for `wanted`, waiting for one if it can be expected in time.
    ///
    /// # Errors
    ///
    /// When nobody can serve it.
    pub async fn take(&self, wanted: Wanted) -> Result<Lease, NoSlot> {
        let since = self.0.clock.instant();
        let deadline = since + self.0.settings.patience;
        let (ticket, mut receive) = {
            let mut state = self.0.state.lock();
            let mut no_slot = None;
            if state.line.is_empty() {
                match self.choose(&mut state, &wanted, since) {
                    Ok(lease) => return Ok(lease),
                    Err(none) if !self.is_worth_waiting(&none, &wanted, deadline) => {
                        return Err(none);
                    }
                    Err(none) => no_slot = Some(none),
                }
            }
            if state.line.len() >= self.0.settings.waiting {
                let full = || NoSlot { looks: Vec::new(), is_full: true, wait: None };
                return Err(no_slot.unwrap_or_else(full));
            }
            state.tickets += 1;
            let (send, receive) = oneshot::channel();
            let ticket = state.tickets;
            state.line.push_back(Waiter { ticket, wanted, since, send });
            (ticket, receive)
        };
        let _place = InLine { slots: self, ticket };
        self.serve_line();
        loop {
            let wake = self.next_wake(ticket, deadline);
            tokio::select! {
                biased;
                taken = &mut receive => {
                    let full = NoSlot { looks: Vec::new(), is_full: true, wait: None };
                    return taken.unwrap_or(Err(full));
                }
                () = tokio::time::sleep_until(wake.into()) => self.serve_one(ticket, deadline),
            }
        }
    }

    /// When the waiter `ticket` should look again by himself.
    fn next_wake(&self, ticket: u64, deadline: Instant) -> Instant {
        const LEAST: Duration = Duration::from_millis(50);
        let now = self.now();
        let state = self.0.state.lock();
        let waiter = state.line.iter().find(|waiter| waiter.ticket == ticket);
        // Only a rest that ends is worth waking up for; places are handed on by who leaves them.
        let rests = waiter.and_then(|_| {
            let rests = state.pool.slots().filter_map(|slot| slot.health.rest());
            rests.map(|rest| rest.left(now)).min()
        });
        let soon = rests.map(|left| now.instant + left.max(LEAST));
        soon.map_or(deadline, |soon| soon.min(deadline))
    }

    fn choose(&self, state: &mut State, wanted: &Wanted, since: Instant) -> Result<Lease, NoSlot> {
        let choice = state.pool.choose(wanted.ask(since), self.now())?;
        let Some(account) = state.accounts.get(&choice.id).cloned() else {
            state.pool.leave(&choice.id, choice.number);
            return Err(NoSlot { looks: choice.looks, is_full: false, wait: None });
        };
        Ok(Lease { slots: self.clone(), account, choice })
    }

    fn is_worth_waiting(&self, none: &NoSlot, wanted: &Wanted, deadline: Instant) -> bool {
        let now = self.0.clock.instant();
        let ends_in_time = || none.wait.is_some_and(|wait| now + wait < deadline);
        now < deadline && (none.is_full || wanted.tried.is_empty() && ends_in_time())
    }

    /// Lets one waiter look for himself, or tells him that his time is over.
    fn serve_one(&self, ticket: u64, deadline: Instant) {
        let mut state = self.0.state.lock();
        let Some(n) = state.line.iter().position(|waiter| waiter.ticket == ticket) else { return };
        let Some(waiter) = state.line.remove(n) else { return };
        let outcome = self.choose(&mut state, &waiter.wanted, waiter.since);
        match outcome {
            Err(none) if self.is_worth_waiting(&none, &waiter.wanted, deadline) => {
                state.line.insert(n, waiter);
            }
            outcome => {
                drop(state);
                // Whoever left in between gives the place back by not taking it.
                drop(waiter.send.send(outcome));
            }
        }
    }

    /// Hands what is free to those who wait, in their order.
    fn serve_line(&self) {
        let mut served = Vec::new();
        {
            let mut state = self.0.state.lock();
            if state.line.is_empty() {
                return;
            }
            let line = std::mem::take(&mut state.line);
            for waiter in line {
                let deadline = waiter.since + self.0.settings.patience;
                match self.choose(&mut state, &waiter.wanted, waiter.since) {
                    Err(none) if self.is_worth_waiting(&none, &waiter.wanted, deadline) => {
                        state.line.push_back(waiter);
                    }
                    outcome => served.push((waiter.send, outcome)),
                }
            }
        }
        for (send, outcome) in served {
            drop(send.send(outcome));
        }
    }

    /// Changes the table, and hands on what has become free by that.
    pub fn change<T>(&self, change: impl FnOnce(&mut Pool, Moment) -> T) -> T {
        let now = self.now();
        let changed = change(&mut self.0.state.lock().pool, now);
        self.serve_line();
        changed
    }

    /// `id` is used for this account from now on.
    pub fn owned_by(&self, id: &SlotId, account: &AccountId) {
        self.change(|pool, _| pool.owned_by(id, digest(account)));
    }

    /// Looks at the table.
    pub fn view<T>(&self, view: impl FnOnce(&Pool, Moment) -> T) -> T {
        let now = self.now();
        view(&self.0.state.lock().pool, now)
    }

    /// Takes what was read of a slot's windows.
    pub fn read(&self, id: &SlotId, reading: &Reading) {
        self.change(|pool, now| pool.read(id, reading, now));
    }

    /// Something is held against a slot without a request that failed.
    pub fn hold_against(&self, id: &SlotId, fault: Fault, sent: Instant) {
        self.change(|pool, now| pool.failed(id, fault, sent, now));
    }

    /// The accounts of all slots that are not disabled, in the owner's order.
    pub fn accounts(&self) -> Vec<(SlotId, Account)> {
        let state = self.0.state.lock();
        let enabled = state.pool.slots().filter(|slot| slot.wishes.is_enabled);
        enabled
            .filter_map(|slot| Some((slot.id.clone(), state.accounts.get(&slot.id)?.clone())))
            .collect()
    }

    /// The accounts of all slots whatever the owner decided about them.
    pub fn all_accounts(&self) -> Vec<(SlotId, Account)> {
        let state = self.0.state.lock();
        state.accounts.iter().map(|(id, account)| (id.clone(), account.clone())).collect()
    }

    pub fn account(&self, id: &SlotId) -> Option<Account> {
        self.0.state.lock().accounts.get(id).cloned()
    }

    /// Whether the owner need not know that there are slots.
    pub fn is_single(&self) -> bool {
        self.0.state.lock().listing.is_single()
    }

    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Why the slots are not those on the disk, if they are not.
    pub fn problem(&self) -> Option<String> {
        self.0.state.lock().problem.clone()
    }

    /// How many wait for a place.
    pub fn n_waiting(&self) -> usize {
        self.0.state.lock().line.len()
    }

    /// How `id` last failed, as whoever was not let through is told.
    pub fn setback(&self, id: &SlotId) -> Option<Refused> {
        self.0.state.lock().setbacks.get(id).cloned()
    }
}

/// Tells one text from another without keeping it. Of use within this process only.
pub fn digest(text: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Somebody's place in the line, which he leaves when he does not wait any longer.
struct InLine<'a> {
    slots: &'a Slots,
    ticket: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.0.state.lock();
        let place = state.line.iter().position(|waiter| waiter.ticket == self.ticket);
        let left = place.and_then(|n| state.line.remove(n));
        drop(state);
        // Not under the lock: what it holds may be a lease.
        drop(left);
    }
}
