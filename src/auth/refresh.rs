//! The login as the rest of the program holds it: asked for a credential, it has a good one.
//!
//! One renewal runs at a time: those who want one meanwhile wait for it and share its outcome, in
//! this process by a mutex, across processes by the lock of the file. Whoever gets his turn looks
//! at the file again, because what he came for may have been done. A renewal is a task of its
//! own: it ends even if the client whose request began it has gone. A relay has it done by another
//! process, so that it ends even if the relay has gone (`apart`).
//!
//! **Invariant:** a refresh token is spent only by who holds the lock and has just read it.
//! **Invariant:** there is room on the disk before a token is spent for its successor.
//! **Invariant:** what the issuer refused for good is not offered to it again.
//!
//! Not here: retrying a request after a renewal (`relay`), the exchange itself (`issuer`).

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use http::uri::InvalidUri;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio_util::task::TaskTracker;

use super::{
    Lack, LoginError, Outage,
    apart::{Apart, Failed, NoReport, Report},
    blocking,
    file::{Found, Stamp, Store},
    issuer::{Issuer, OTHER_ACCOUNT, final_refusal},
    lock,
    stored::Record,
};
use crate::{
    clock::Clock,
    credential::{AccountId, Credential, Lifetime, Unusable},
    private_file::Reserved,
    redact::Redactor,
    secret::Secret,
    transport::Transport,
};

/// How long a request waits for a renewal while its own token would still do.
const PATIENCE: Duration = Duration::from_secs(5);
/// A clock that is wrong by years must not make every request renew.
const RENEWALS_APART: Duration = Duration::from_hours(1);
/// How long a failed renewal is not repeated while the token would still do.
const PAUSE: Duration = Duration::from_mins(1);
/// How long a keyring that is locked is not asked again.
const KEYRING_PAUSE: Duration = Duration::from_secs(5);
/// A token that is refused this soon after it was issued, and was never taken, will not be mended by
/// another.
const FRESH: Duration = Duration::from_mins(1);

/// Which login, and how it is renewed.
#[derive(Clone, Debug)]
pub struct Settings {
    pub store: Store,
    /// Such as `https://auth.openai.com`.
    pub issuer: String,
    pub client_id: String,
    /// For one exchange with the issuer, answer included.
    pub timeout: Duration,
    /// For other processes to finish with the file.
    pub lock_wait: Duration,
    /// The process that does it, if another one is to.
    pub apart: Option<Apart>,
}

/// One stored login. Clones are the same login.
#[derive(Clone, Debug)]
pub struct Login(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    issuer: Issuer,
    settings: Settings,
    clock: Clock,
    tasks: TaskTracker,
    /// Is told of all tokens, so that the log never shows them.
    redactor: Redactor,
    /// Held by the one renewal that runs in this process.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Held while a token is being spent by this process.
    spending: Arc<tokio::sync::Mutex<()>>,
    /// Never locked across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    /// How many renewals have ended.
    ended: u64,
    /// How the last renewal failed, if it did.
    failed: Option<(Instant, LoginError)>,
    renewed_at: Option<Instant>,
    /// Whether the upstream has taken what that renewal gave.
    is_proven: bool,
    /// The refresh token that was refused for good.
    refused: Option<(Secret, LoginError)>,
    unsaved: Option<Unsaved>,
    /// The file as a renewal of ours left it.
    own: Option<Stamp>,
}

/// The file as it was when last read.
#[derive(Clone, Debug)]
struct Known {
    stamp: Option<Stamp>,
    login: Result<Arc<Snapshot>, LoginError>,
    /// When it is to be looked at again although nothing has changed.
    until: Option<Instant>,
}

/// A stored login, made ready for use.
#[derive(Debug)]
struct Snapshot {
    refresh: Option<Secret>,
    access: Option<Secret>,
    credential: Result<Arc<Credential>, Unusable>,
    lifetime: Lifetime,
    /// The tokens are another issuer's than the one we would send them to.
    is_foreign: bool,
}

/// What the disk did not take although there had been room for it.
#[derive(Debug)]
struct Unsaved {
    spent: Secret,
    record: Record,
}

impl Login {
    /// # Errors
    ///
    /// When the issuer is no address.
    pub fn new(
        settings: Settings,
        transport: Transport,
        clock: Clock,
        tasks: TaskTracker,
        redactor: Redactor,
    ) -> Result<Self, InvalidUri> {
        let Settings { issuer, client_id, timeout, .. } = settings.clone();
        Ok(Self(Arc::new(Inner {
            store: settings.store.clone(),
            issuer: Issuer::new(&issuer, client_id, timeout, transport)?,
            settings,
            clock,
            tasks,
            redactor,
            turn: Arc::default(),
            spending: Arc::default(),
            state: Mutex::default(),
        })))
    }

    /// The login in another file, of the same issuer and renewed in the same way.
    pub fn beside(&self, store: Store) -> Self {
        let Inner { issuer, settings, clock, tasks, redactor, .. } = &*self.0;
        Self(Arc::new(Inner {
            settings: Settings { store: store.clone(), ..settings.clone() },
            store,
            issuer: issuer.clone(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            redactor: redactor.clone(),
            turn: Arc::default(),
            spending: Arc::default(),
            state: Mutex::default(),
        }))
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Whether the file is as a renewal of ours left it. Looks at the file.
    pub fn is_own_doing(&self) -> bool {
        let stamp = self.0.store.stamp().ok().flatten();
        stamp.is_some() && stamp == self.0.state.lock().own
    }

    /// Whose it is, as the file says. Reads it, and may block.
    pub fn whose(&self) -> Option<AccountId> {
        let found = self.0.store.load().ok().flatten()?;
        let credential = Snapshot::of(&found.record, self.0.issuer.base()).credential().ok()?;
        Some(credential.account_id.clone())
    }

    /// A credential that can be expected to work.
    ///
    /// # Errors
    ///
    /// When there is no login, or it has ended and cannot be renewed.
    pub async fn credential(&self) -> Result<Arc<Credential>, LoginError> {
        let login = self.current().await?;
        let usable = match login.credential() {
            Ok(usable) => usable,
            Err(_) if login.may_become_usable() => {
                return self.renew(login.access.clone()).await?.credential();
            }
            Err(error) => return Err(error),
        };
        let now = self.0.clock.now();
        if !self.should_renew(&login, now) {
            return Ok(usable);
        }
        let renewal = self.renew(login.access.clone());
        if login.lifetime.is_over(now) {
            return renewal.await?.credential();
        }
        match tokio::time::timeout(PATIENCE, renewal).await {
            Ok(Ok(renewed)) => renewed.credential(),
            Ok(Err(_)) | Err(_) => Ok(usable),
        }
    }

    /// Another credential for the same account, after the upstream answered 401 to `spent`.
    ///
    /// # Errors
    ///
    /// When there is none to be had, or the login is another account's by now.
    pub async fn after_unauthorized(
        &self,
        spent: &Credential,
    ) -> Result<Arc<Credential>, LoginError> {
        let other = match self.current().await?.credential() {
            Ok(current) if !current.is_same_token(spent) => current,
            Ok(_) if self.is_fresh() => return Err(REJECTED),
            Ok(_) | Err(_) => self.renew(Some(spent.access.clone())).await?.credential()?,
        };
        if other.account_id != spent.account_id {
            return Err(LoginError::AccountMismatch);
        }
        Ok(other)
    }

    /// What the file holds; read again only if it was changed.
    async fn current(&self) -> Result<Arc<Snapshot>, LoginError> {
        let stamp = self.0.store.stamp().map_err(|error| LoginError::unread(error.into()))?;
        let known = self.0.state.lock().known.clone();
        let now = self.0.clock.instant();
        let holds =
            |known: &Known| known.stamp == stamp && known.until.is_none_or(|until| now < until);
        match known.filter(holds) {
            Some(known) => known.login,
            None => self.load().await.map(|(stamp, found)| self.adopt(stamp, &found.record)),
        }
    }

    async fn load(&self) -> Result<(Option<Stamp>, Found), LoginError> {
        let store = self.0.store.clone();
        // The stamp comes first: a change in between is noticed next time.
        let (stamp, found) = blocking(move || store.stamp().map(|stamp| (stamp, store.load())))
            .await?
            .map_err(|error| LoginError::unread(error.into()))?;
        match found {
            Ok(Some(found)) => Ok((stamp, found)),
            Ok(None) => Err(LoginError::Missing),
            Err(error) => {
                let error = LoginError::unread(error);
                let may_pass = matches!(&error, LoginError::Sealed { why } if why.may_pass());
                let until = may_pass.then(|| self.0.clock.instant() + KEYRING_PAUSE);
                self.0.state.lock().known = Some(Known { stamp, login: Err(error.clone()), until });
                Err(error)
            }
        }
    }

    fn adopt(&self, stamp: Option<Stamp>, record: &Record) -> Arc<Snapshot> {
        let tokens = &record.tokens;
        let tokens = [&tokens.id, &tokens.access, &tokens.refresh];
        let source = self.0.store.path().to_string_lossy();
        self.0.redactor.replace(&source, tokens.into_iter().flatten().cloned());
        let login = Arc::new(Snapshot::of(record, self.0.issuer.base()));
        let known = Known { stamp, login: Ok(Arc::clone(&login)), until: None };
        self.0.state.lock().known = Some(known);
        login
    }

    /// Whether a token that is at hand is to be renewed.
    fn should_renew(&self, login: &Snapshot, now: Timestamp) -> bool {
        let lifetime = login.lifetime;
        let instant = self.0.clock.instant();
        let within = |then: Instant, span| instant.saturating_duration_since(then) < span;
        let state = self.0.state.lock();
        let renewed = state.renewed_at.is_some_and(|then| within(then, RENEWALS_APART));
        let failed = state.failed.as_ref().is_some_and(|(then, _)| within(*then, PAUSE));
        let is_due = lifetime.is_due(now) && !renewed && (lifetime.is_over(now) || !failed);
        let unsaved = state.unsaved.as_ref().map(|unsaved| &unsaved.spent);
        is_due || unsaved.is_some_and(|spent| is_same(Some(spent), login.refresh.as_ref()))
    }

    fn is_fresh(&self) -> bool {
        let now = self.0.clock.instant();
        let state = self.0.state.lock();
        let is_recent = |then| now.saturating_duration_since(then) < FRESH;
        !state.is_proven && state.renewed_at.is_some_and(is_recent)
    }

    /// The upstream has taken `credential`: if it refuses it later, another may help.
    pub fn proven(&self, credential: &Credential) {
        let mut state = self.0.state.lock();
        if state.is_proven {
            return;
        }
        let known = state.known.as_ref().and_then(|known| known.login.as_ref().ok());
        let is_current = known.and_then(|login| login.credential.as_ref().ok());
        if is_current.is_some_and(|current| current.is_same_token(credential)) {
            state.is_proven = true;
        }
    }

    /// Sees to it that `spent` is replaced, by whoever is first.
    async fn renew(&self, spent: Option<Secret>) -> Result<Arc<Snapshot>, LoginError> {
        let ended = self.0.state.lock().ended;
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        {
            let state = self.0.state.lock();
            if let (true, Some((_, error))) = (state.ended != ended, &state.failed) {
                return Err(error.clone());
            }
        }
        let login = self.clone();
        let renewal = self.0.tasks.spawn(async move {
            let _turn = turn;
            let outcome = login.renew_alone(spent).await;
            let mut state = login.0.state.lock();
            state.ended += 1;
            state.failed =
                outcome.as_ref().err().map(|error| (login.0.clock.instant(), error.clone()));
            drop(state);
            outcome
        });
        renewal.await.unwrap_or(Err(LoginError::outage(Outage::Stopping)))
    }

    /// The renewal. Only who has the turn of this process comes here.
    async fn renew_alone(&self, spent: Option<Secret>) -> Result<Arc<Snapshot>, LoginError> {
        // What could not be written is in the memory of this process.
        let apart =
            self.0.settings.apart.as_ref().filter(|_| self.0.state.lock().unsaved.is_none());
        let Some(apart) = apart else { return self.renew_here(spent).await };
        // The other process will look again; this spares it where there is nothing to do.
        let login = self.current().await?;
        let Some(refresh) = self.spendable(&login, spent.as_ref())? else { return Ok(login) };
        match apart.renew(&self.0.settings, spent.as_ref()).await {
            Ok(report) => self.take(report, refresh).await,
            Err(error @ NoReport::NotStarted(_)) => {
                tracing::warn!(error = &*error.to_string(), "renewing the login in this process");
                self.renew_here(spent).await
            }
            Err(NoReport::Late) => Err(LoginError::outage(Outage::Busy)),
            Err(NoReport::Lost) => {
                let login = self.current().await?;
                match self.spendable(&login, spent.as_ref())? {
                    None => Ok(login),
                    Some(_) => Err(LoginError::outage(Outage::CutOff)),
                }
            }
        }
    }

    /// What to renew `login` with; nothing if it was renewed since its access token was `spent`.
    fn spendable(
        &self,
        login: &Snapshot,
        spent: Option<&Secret>,
    ) -> Result<Option<Secret>, LoginError> {
        let was_renewed = !is_same(login.access.as_ref(), spent);
        if was_renewed && !login.lifetime.is_over(self.0.clock.now()) {
            return Ok(None);
        }
        if !login.may_become_usable() {
            login.credential()?;
        }
        let refresh = login.refresh.clone();
        let refresh = refresh.ok_or(LoginError::Incomplete(Lack::RefreshToken))?;
        self.check_not_refused(&refresh)?;
        Ok(Some(refresh))
    }

    /// Makes what another process did with `spent` its own.
    async fn take(&self, report: Report, spent: Secret) -> Result<Arc<Snapshot>, LoginError> {
        match report {
            Report::Renewed => {
                self.now_renewed();
                let login = self.current().await?;
                self.now_own();
                Ok(login)
            }
            Report::Found => self.current().await,
            Report::Failed(failed) => self.give_up(spent, failed.into()).await,
            Report::Unsaved { login, failed } => {
                let record = Record::read(login.as_bytes());
                let record = record.map_err(|error| LoginError::unread(error.into()))?;
                self.0.state.lock().unsaved = Some(Unsaved { spent, record });
                Err(failed.into())
            }
        }
    }

    /// Waits until nothing would be lost by the end of this process; nothing will be, as long as what
    /// this gives is held.
    pub async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.0.spending).lock_owned().await
    }

    /// Renews the login in this process and tells what came of it, for another.
    pub async fn report(&self, spent: Option<Secret>) -> Report {
        let outcome = self.renew_here(spent).await;
        let state = self.0.state.lock();
        match (outcome, &state.unsaved) {
            (Ok(_), _) if state.renewed_at.is_some() => Report::Renewed,
            (Ok(_), _) => Report::Found,
            (Err(error), Some(unsaved)) => match unsaved.record.write().map(|it| it.to_vec()) {
                Ok(json) => Report::Unsaved {
                    login: String::from_utf8_lossy(&json).into_owned(),
                    failed: Failed::from(&error),
                },
                Err(_) => Report::Failed(Failed::from(&error)),
            },
            (Err(error), None) => Report::Failed(Failed::from(&error)),
        }
    }

    /// The renewal itself.
    async fn renew_here(&self, spent: Option<Secret>) -> Result<Arc<Snapshot>, LoginError> {
        let _alone = lock(&self.0.store, self.0.settings.lock_wait).await?;
        let (stamp, found) = self.load().await?;
        let login = self.adopt(stamp, &found.record);
        let Some(refresh) = self.spendable(&login, spent.as_ref())? else { return Ok(login) };
        let _spending = self.0.spending.lock().await;
        let (store, size) = (self.0.store.clone(), found.json.len());
        let room = blocking(move || store.reserve(size)).await?.map_err(LoginError::unwritten)?;
        let record = match self.unsaved(&refresh) {
            Some(record) => record,
            None => match self.0.issuer.renew(&refresh).await {
                // Kept, it would be used in the name of the account that signed in.
                Ok(answer) if found.record.is_answered_for_another(&answer) => {
                    return self.give_up(refresh, final_refusal(OTHER_ACCOUNT)).await;
                }
                Ok(answer) => found.record.renewed(answer, self.0.clock.now()),
                Err(error) => return self.give_up(refresh, error).await,
            },
        };
        self.save(room, &found, refresh, record).await
    }

    fn check_not_refused(&self, refresh: &Secret) -> Result<(), LoginError> {
        match &self.0.state.lock().refused {
            Some((refused, error)) if is_same(Some(refused), Some(refresh)) => Err(error.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// What the issuer gave for `refresh` earlier, if the disk did not take it.
    fn unsaved(&self, refresh: &Secret) -> Option<Record> {
        let mut state = self.0.state.lock();
        // A file that holds another token by now has been given a newer login.
        state.unsaved.take_if(|unsaved| !is_same(Some(&unsaved.spent), Some(refresh)));
        state.unsaved.as_ref().map(|unsaved| unsaved.record.clone())
    }

    async fn save(
        &self,
        room: Reserved,
        found: &Found,
        spent: Secret,
        record: Record,
    ) -> Result<Arc<Snapshot>, LoginError> {
        let written = match record
            .write_over(&found.json)
            .map_err(io::Error::from)
            .and_then(|json| found.rewritten(json))
        {
            Ok(json) => {
                let store = self.0.store.clone();
                blocking(move || room.fill(&json).and_then(|()| store.stamp())).await?
            }
            Err(error) => Err(error),
        };
        match written {
            Ok(stamp) => {
                self.now_renewed();
                let login = self.adopt(stamp, &record);
                self.now_own();
                Ok(login)
            }
            Err(error) => {
                self.0.state.lock().unsaved = Some(Unsaved { spent, record });
                Err(LoginError::unwritten(error))
            }
        }
    }

    /// What is known of the file is what a renewal of ours made of it.
    fn now_own(&self) {
        let mut state = self.0.state.lock();
        state.own = state.known.as_ref().and_then(|known| known.stamp);
    }

    fn now_renewed(&self) {
        let now = self.0.clock.instant();
        let mut state = self.0.state.lock();
        state.unsaved = None;
        state.refused = None;
        state.is_proven = false;
        state.renewed_at = Some(now);
    }

    /// Remembers a final refusal, unless a program that does not know our lock was faster.
    async fn give_up(
        &self,
        refresh: Secret,
        error: LoginError,
    ) -> Result<Arc<Snapshot>, LoginError> {
        if !matches!(error, LoginError::Terminal { .. }) {
            return Err(error);
        }
        let (stamp, found) = self.load().await?;
        let login = self.adopt(stamp, &found.record);
        if is_same(login.refresh.as_ref(), Some(&refresh)) {
            self.0.state.lock().refused = Some((refresh, error.clone()));
            return Err(error);
        }
        Ok(login)
    }
}

impl Snapshot {
    fn of(record: &Record, issuer: &str) -> Self {
        let tokens = &record.tokens;
        Self {
            refresh: tokens.refresh.clone(),
            access: tokens.access.clone(),
            credential: tokens.credential(record.bound_account_id.as_ref()).map(Arc::new),
            lifetime: tokens.lifetime(record.last_refresh),
            is_foreign: record.is_foreign(issuer),
        }
    }

    fn credential(&self) -> Result<Arc<Credential>, LoginError> {
        if self.is_foreign {
            return Err(LoginError::OtherIssuer);
        }
        self.credential.clone().map_err(|unusable| match unusable {
            Unusable::NoTokens => LoginError::Incomplete(Lack::Tokens),
            Unusable::NoAccess => LoginError::Incomplete(Lack::AccessToken),
            Unusable::NoAccount => LoginError::Incomplete(Lack::AccountId),
            Unusable::OtherAccount => LoginError::AccountMismatch,
        })
    }

    /// Whether new tokens can make up for what is missing.
    fn may_become_usable(&self) -> bool {
        match self.credential {
            _ if self.is_foreign => false,
            Err(Unusable::NoAccess | Unusable::NoAccount) => {
                self.access.is_none() && self.refresh.is_some()
            }
            Ok(_) | Err(Unusable::NoTokens | Unusable::OtherAccount) => false,
        }
    }
}

const REJECTED: LoginError = LoginError::Terminal {
    code: "rejected",
    message: "ChatGPT does not accept the login right after it was renewed.",
};

fn is_same(one: Option<&Secret>, other: Option<&Secret>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.matches(other.expose().as_bytes()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests;
