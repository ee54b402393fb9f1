//! The slots while the relay runs: who serves whom, who waits, and what is known of each.
//!
//! One lock guards the table, and everything that is done under it is arithmetic. A place is held
//! by a [`Lease`], which gives it back however its holder ends. Who finds no place waits in a line
//! (`relay::line`).
//!
//! **Invariant:** the lock is never held across an await, and no lease is dropped under it.
//!
//! Not here: the choice (`slot::pool`), waiting (`relay::line`), sending (`relay::attempt`), asking
//! for usage (`relay::refresh`).

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use http::HeaderMap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{Refused, fault, line::Line};
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
        pool::{self, Choice, Pool, counts_apart},
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

/// What a Codex client sends back of the last answer; an account's own.
const TURN_STATE: &str = "x-codex-turn-state";

/// Makes the account of a slot that is new.
pub type Connect = Arc<dyn Fn(&Member) -> Account + Send + Sync>;

/// All slots. Clones are the same.
#[derive(Clone)]
pub struct Slots(pub(super) Arc<Inner>);

pub(super) struct Inner {
    roster: Roster,
    connect: Connect,
    pub(super) clock: Clock,
    settings: Settings,
    pub(super) state: Mutex<State>,
    /// Rings when somebody in the line is to be looked after sooner than was known.
    pub(super) bell: tokio::sync::Notify,
    /// What the file of the usage holds.
    kept: Mutex<BTreeMap<SlotId, Kept>>,
}

pub(super) struct State {
    pub(super) pool: Pool,
    pub(super) accounts: HashMap<SlotId, Account>,
    /// How each last failed, for whoever is not let through to see for himself.
    setbacks: HashMap<SlotId, Refused>,
    pub(super) line: Line,
    listing: Listing,
    stamp: Option<Stamp>,
    /// Why the slots stay as they were, if what is on the disk cannot be used.
    problem: Option<String>,
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("roster", &self.0.roster).finish_non_exhaustive()
    }
}

/// A place in a slot, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    pub(super) slots: Slots,
    pub account: Account,
    pub choice: Choice,
    /// Whose the slot was when it was used.
    pub(super) owner: OnceLock<u64>,
}

impl Lease {
    pub fn id(&self) -> &SlotId {
        &self.choice.id
    }

    /// It is used for this account.
    pub fn used_by(&self, account: &AccountId) {
        let owner = *self.owner.get_or_init(|| owner(account));
        self.slots.change(|pool, _| pool.owned_by(self.id(), owner));
    }

    /// Tells the table something about the account that was used.
    fn tell(&self, tell: impl FnOnce(&mut State, Moment)) {
        self.slots.change_state(|state, now| {
            if state.pool.is_still(self.id(), self.owner.get().copied()) {
                tell(state, now);
            }
        });
    }

    /// The same, of what lets nobody go on who waits.
    fn note(&self, note: impl FnOnce(&mut Pool, Moment)) {
        let now = self.slots.now();
        let pool = &mut self.slots.0.state.lock().pool;
        if pool.is_still(self.id(), self.owner.get().copied()) {
            note(pool, now);
        }
    }

    /// A request that was sent at `sent` was answered.
    pub fn answered(&self, sent: Instant) {
        let model = self.choice.model.as_deref();
        self.tell(|state, _| {
            if !counts_apart(model) {
                state.setbacks.remove(self.id());
            }
            state.pool.answered(self.id(), model, sent);
        });
    }

    /// What an answer said is left.
    pub fn read(&self, reading: &Reading) {
        self.tell(|state, now| {
            state.pool.read(self.id(), reading, now);
        });
    }

    /// What an answer said is left of the window of pictures.
    pub fn read_images(&self, reading: &Reading) {
        self.tell(|state, now| state.pool.read_images(self.id(), reading, now));
    }

    /// A request that was sent at `sent` failed.
    pub fn failed(&self, refused: &Refused, sent: Instant) {
        let model = self.choice.model.as_deref();
        self.tell(|state, now| {
            let Some(fault) = fault::of(refused, now.wall) else { return };
            if !fault.is_apart(model) {
                state.setbacks.insert(self.id().clone(), refused.clone());
            }
            state.pool.failed(self.id(), model, fault, (sent, now));
        });
    }

    /// An answer that had begun failed.
    pub fn failed_late(&self, failure: &Failure, sent: Instant) {
        self.failed(&Refused::Attempt(failure.clone()), sent);
    }

    /// The dialogue `session` is this slot's, which cannot read `foreign`.
    pub fn bind(&self, session: &str, foreign: &[u64]) {
        self.note(|pool, now| pool.bind(session, self.id(), foreign, now));
    }

    /// A turn of the dialogue `session`, which holds `thoughts`, was served for another slot.
    pub fn lent(&self, session: &str, thoughts: &[u64]) {
        self.note(|pool, now| pool.lend(session, thoughts, now));
    }

    /// Takes note of the state of its turn that an answer gave with these headers.
    pub fn gave(&self, turn: &HeaderMap) {
        if let Some(turn) = turn.get(TURN_STATE) {
            let turn = digest(turn.as_bytes());
            self.note(|pool, now| pool.gave_turn(turn, self.id(), now));
        }
    }

    /// The headers of a turn without what another slot gave.
    pub fn own_turn(&self, mut turn: HeaderMap, session: &str) -> HeaderMap {
        if let Some(state) = turn.get(TURN_STATE) {
            let (state, now) = (digest(state.as_bytes()), self.slots.now());
            let pool = &mut self.slots.0.state.lock().pool;
            if !pool.has_given_turn(state, session, self.id(), now) {
                turn.remove(TURN_STATE);
            }
        }
        turn
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
            line: Line::default(),
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
            bell: tokio::sync::Notify::new(),
            kept: Mutex::default(),
        }));
        slots.look_again()?;
        slots.recall();
        Ok(slots)
    }

    /// Takes what was known when the last relay ended.
    fn recall(&self) {
        let now = self.now();
        for (id, Kept { limits, read_at, owner }) in usage::read(&self.0.roster.usage_file()) {
            let source = window::Source::Answer;
            let reading = Reading { limits, source, asked_at: now.instant, at: read_at };
            // If it is another account's by now, that is found out before it is used.
            if let Some(owner) = owner {
                self.0.state.lock().pool.owned_by(&id, owner);
            }
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
                Some((slot.id.clone(), Kept { limits, read_at, owner: slot.owner() }))
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

    /// The slots whose login somebody else has replaced, and whose it is now, if that can be read.
    fn replaced(&self, listing: &Listing, stamp: &Stamp) -> Vec<(SlotId, Option<AccountId>)> {
        let mut changed = Vec::new();
        {
            let state = self.0.state.lock();
            let Some(former) = &state.stamp else { return Vec::new() };
            for Member { id, auth_file, .. } in &listing.members {
                let is_changed = former.of(auth_file) != stamp.of(auth_file);
                if let Some(account) = state.accounts.get(id).filter(|_| is_changed) {
                    changed.push((id.clone(), account.login.clone()));
                }
            }
        }
        let others = changed.into_iter().filter(|(_, login)| !login.is_own_doing());
        others.map(|(id, login)| (id, login.whose())).collect()
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
        let replaced = listing.as_ref().map_or(Vec::new(), |it| self.replaced(it, &stamp));
        let mut state = self.0.state.lock();
        state.stamp = Some(stamp);
        state.problem = listing.as_ref().err().map(|error| chain(error));
        let listing = listing?;
        for (id, account) in replaced {
            state.pool.login_changed(&id);
            if let Some(account) = account {
                state.pool.owned_by(&id, owner(&account));
            }
            state.setbacks.remove(&id);
        }
        for member in &listing.members {
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
        let served = self.look_after(&mut state);
        drop(state);
        served.tell();
        Ok(())
    }

    /// Changes the table, and hands on what has become free by that.
    pub fn change<T>(&self, change: impl FnOnce(&mut Pool, Moment) -> T) -> T {
        self.change_state(|state, now| change(&mut state.pool, now))
    }

    /// In one step, so that nobody who comes gets what was freed for those who wait.
    fn change_state<T>(&self, change: impl FnOnce(&mut State, Moment) -> T) -> T {
        let now = self.now();
        let mut state = self.0.state.lock();
        let changed = change(&mut state, now);
        let served = self.look_after(&mut state);
        drop(state);
        served.tell();
        changed
    }

    /// `id` is used for this account from now on.
    pub fn owned_by(&self, id: &SlotId, account: &AccountId) {
        self.change(|pool, _| pool.owned_by(id, owner(account)));
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

    /// Something is heard of the account that `id` was used for, if it was for any; unless the slot
    /// is another's by now.
    pub fn hear(
        &self,
        id: &SlotId,
        account: Option<&AccountId>,
        tell: impl FnOnce(&mut Pool, Moment),
    ) {
        let own = account.map(owner);
        self.change(|pool, now| {
            if pool.is_still(id, own) {
                tell(pool, now);
            }
        });
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

    /// The slot that is there which `text` [means](SlotId::meant).
    pub fn meant(&self, text: &str) -> Option<SlotId> {
        let is_there = |id: &SlotId| self.view(|pool, _| pool.slot(id).is_some());
        SlotId::meant(text).ok().filter(is_there)
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

/// The same of an account, and of use across restarts.
fn owner(account: &AccountId) -> u64 {
    let digest = Sha256::digest(account.as_str());
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
