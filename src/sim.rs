//! An imitation of the upstream, for running and testing the relay without login and network.
//!
//! [`Simulator`] plays the issuer, the inference route, the list of models and the usage route on
//! one router. What it is like is decided in three places: a [`World`] for everything that may
//! change from one day to the next, named accounts for what is wrong with an account, and
//! [`Step`]s for single turns, either scripted or asked for by markers in the user's own text.
//!
//! **Invariant:** no code that reads or writes the upstream's shapes is shared with the relay; a
//! mistake in one of them must show.
//! **Invariant:** it reads the time from its clock only, and waits on the runtime's timer only.
//!
//! Not here: a listener; whoever runs the simulator serves [`Simulator::router`], or calls it.

mod access;
mod account;
mod answer;
mod body;
mod cache;
mod catalogue;
mod compact;
mod control;
mod device;
mod form;
mod framing;
mod gauge;
mod images;
mod inference;
mod input;
mod instance;
mod items;
mod limits;
mod mint;
mod models;
mod oauth;
mod plan;
mod record;
mod request;
mod resets;
mod response;
mod routes;
mod script;
mod strict;
mod tools;
mod tree;
mod turn;
mod validate;
mod world;

use std::{collections::VecDeque, sync::Arc};

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use parking_lot::{Mutex, MutexGuard};

pub use self::{
    record::{Counters, Recorded},
    script::{ScriptError, Step},
    world::{
        Authorize, CompletedOutput, Device, Exchange, Images, Instructions, Models, Need,
        OldVersion, OutputCap, Pending, Reached, RedirectPorts, Refresh, Switch, Taken, TokenError,
        Unauthorized, UsageDetails, UsageRoute, Windows, World, WorldError,
    },
};
use crate::{
    clock::Clock,
    sim::{
        account::{Accounts, Denied},
        cache::Cache,
        device::Devices,
        mint::Mint,
        oauth::Codes,
        record::{Ledger, Presence},
        request::Asked,
        resets::Redemptions,
        tree::object,
    },
};

/// A running imitation; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Simulator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    mint: Mint,
    ledger: Ledger,
    cache: Cache,
    // No lock is held while another of these is taken.
    world: Mutex<World>,
    accounts: Mutex<Accounts>,
    codes: Mutex<Codes>,
    devices: Mutex<Devices>,
    redemptions: Mutex<Redemptions>,
    script: Mutex<VecDeque<Step>>,
}

impl Simulator {
    /// In this world, on the system's clock.
    pub fn start(world: World) -> Self {
        Self::new(world, Clock::system())
    }

    /// In this world, on a clock that a test may turn.
    pub(crate) fn new(world: World, clock: Clock) -> Self {
        Self::with_mint(world, clock, Mint::random())
    }

    fn with_mint(world: World, clock: Clock, mint: Mint) -> Self {
        Self(Arc::new(Inner {
            clock,
            mint,
            ledger: Ledger::default(),
            cache: Cache::default(),
            world: Mutex::new(world),
            accounts: Mutex::default(),
            codes: Mutex::default(),
            devices: Mutex::default(),
            redemptions: Mutex::default(),
            script: Mutex::default(),
        }))
    }

    /// All routes: `/oauth/*`, `/api/accounts/deviceauth/*`, `/codex/device`, `/backend-api/*`, and
    /// `/sim/*` for control.
    pub fn router(&self) -> Router {
        routes::router(self)
    }

    /// The content of an `auth.json` of an account that nobody had before.
    pub fn stored_login(&self) -> String {
        self.stored_login_for(&format!("account-{}", self.0.mint.hex(12)))
    }

    /// The content of an `auth.json` of the account of this name.
    ///
    /// The same name is the same account, here and in every other simulator. Some names mean
    /// something: `team` is another workspace of the user of `first`; `fedramp`, `free`, `pro` and
    /// `unknown-plan` are what they say; `deactivated` gets 402, `spent` gets 429
    /// `usage_limit_reached`, `not-included` 429 `usage_not_included` and `overloaded` 503
    /// `server_is_overloaded` for every turn; `narrow` gets 429 for the one model that has a limit of
    /// its own. The turns of `spent-stream` and `overloaded-stream`
    /// begin and then fail; what they have used does not show it.
    pub fn stored_login_for(&self, account: &str) -> String {
        let world = self.world();
        let account = self.accounts().named(account);
        let tokens = self.issue(&account, &world);
        let login = object! {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": serde_json::Value::Null,
            "tokens": object! {
                "id_token": tokens.id,
                "access_token": tokens.access,
                "refresh_token": tokens.refresh,
                "account_id": account.id.as_str(),
            },
            "last_refresh": format!("{:.3}", self.0.clock.now()),
            "bound_account_id": account.id.as_str(),
        };
        format!("{login:#}\n")
    }

    /// Every request so far, oldest first; the oldest are forgotten after some thousands.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.0.ledger.recorded()
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.0.ledger.counters()
    }

    /// Forgets requests, counters and what is left of the script; accounts and tokens stay.
    pub fn clear(&self) {
        self.0.ledger.clear();
        self.0.script.lock().clear();
    }

    /// Answers the next inference requests with these steps, before any marker is looked at.
    ///
    /// A request that is refused for its credential or its shape uses up no step.
    pub fn script(&self, steps: Vec<Step>) {
        self.0.script.lock().extend(steps);
    }

    /// Steps of the script that no request has used up yet.
    pub fn unused_steps(&self) -> usize {
        self.0.script.lock().len()
    }

    /// Sets one switch of the world from now on.
    ///
    /// # Errors
    ///
    /// When there is no such switch, or it does not take the value.
    pub fn set_world(&self, name: &str, value: &str) -> Result<(), WorldError> {
        self.0.world.lock().set(name, value)
    }

    /// Ends every access token handed out so far: 401 `token_expired`.
    pub fn expire_access_tokens(&self) {
        self.accounts().deny_access(Denied::Expired);
    }

    /// Ends every access token handed out so far: 401 `token_invalidated`.
    pub fn invalidate_access_tokens(&self) {
        self.accounts().deny_access(Denied::Invalidated);
    }

    /// Ends every refresh token handed out so far: 401 `refresh_token_invalidated`.
    pub fn revoke_refresh_tokens(&self) {
        self.accounts().deny_refresh(Denied::Revoked);
    }

    /// How much of the primary and the secondary window of an account is used, in percent. At 100
    /// its turns get 429 `usage_limit_reached`.
    pub fn set_used(&self, account: &str, primary: u64, secondary: u64) {
        self.adjust(account, [Some(primary), Some(secondary)], [None, None]);
    }

    /// In how many seconds the primary and the secondary window of an account reset, once. Nothing is
    /// used of them then.
    pub fn set_resets(&self, account: &str, primary: u64, secondary: u64) {
        self.adjust(account, [None, None], [Some(primary), Some(secondary)]);
    }
}

/// What the parts of the simulator see of it.
impl Simulator {
    fn world(&self) -> World {
        self.0.world.lock().clone()
    }

    fn mint(&self) -> &Mint {
        &self.0.mint
    }

    fn unix(&self) -> i64 {
        self.0.clock.unix()
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.0.accounts.lock()
    }

    fn codes(&self) -> MutexGuard<'_, Codes> {
        self.0.codes.lock()
    }

    fn devices(&self) -> MutexGuard<'_, Devices> {
        self.0.devices.lock()
    }

    fn redemptions(&self) -> MutexGuard<'_, Redemptions> {
        self.0.redemptions.lock()
    }

    /// Sets what is given for the primary and the secondary window of an account: what is used in
    /// percent, and in how many seconds it resets.
    fn adjust(&self, account: &str, used: [Option<u64>; 2], resets_in: [Option<u64>; 2]) {
        let now = self.unix();
        let ends = resets_in.map(|seconds| Some(now.saturating_add_unsigned(seconds?)));
        let mut accounts = self.accounts();
        let account = accounts.named(account);
        let gauges = accounts.gauges(&account, now);
        gauges.primary.adjust(used[0], ends[0]);
        gauges.secondary.adjust(used[1], ends[1]);
    }

    fn next_scripted(&self) -> Option<Step> {
        self.0.script.lock().pop_front()
    }

    fn look_up(&self, asked: &Asked, now: i64, retention: u64) -> (u64, u64) {
        self.0.cache.look_up(asked, now, retention)
    }

    fn record(&self, line: (&Method, &Uri), headers: &HeaderMap, body: &Bytes) -> u64 {
        self.0.ledger.record(self.0.clock.now(), line, headers, body)
    }

    fn answered(&self, number: u64, status: u16, counted: bool) {
        self.0.ledger.answered(number, status, counted);
    }

    fn open(&self, number: u64) -> Presence {
        self.0.ledger.open(number)
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.0.ledger.count(change);
    }
}

#[cfg(test)]
mod tests;
