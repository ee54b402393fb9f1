//! Signing in: what both ways have in common, and why one did not work.
//!
//! Whichever way a code comes, it is exchanged, the tokens are looked at, and they are on the disk
//! before anyone is told of success.
//!
//! **Invariant:** nothing is saved of a login that did not come to its end.
//! **Invariant:** no code and no token is in an error; what the issuer says of a refusal is cleaned
//! and cut.
//!
//! Not here: how a code is come by (`browser`, `device`), what is printed (`cli`).

use std::{error::Error, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    exchange::Grant,
    file::{How, Put, PutError, Store},
    issuer::{Issuer, Unanswered},
    lock,
    stored::Record,
    vault::Unopened,
};
use crate::{
    clock::Clock,
    credential::{AccountId, Claims, Tokens},
    keyring::NoKeyring,
    redact::is_steering,
};

type Cause = Arc<dyn Error + Send + Sync>;

/// Chooses the place of a login by whose it is.
pub type Elsewhere = Arc<dyn Fn(&Record) -> io::Result<Store> + Send + Sync>;

/// Everything that signing in needs, whichever way.
#[derive(Clone)]
pub struct SignIn {
    pub issuer: Issuer,
    pub store: Store,
    /// Where a login goes once it is known whose it is, if not into `store`.
    pub elsewhere: Option<Elsewhere>,
    /// The only account that may sign in, if that is restricted.
    pub workspace: Option<AccountId>,
    /// For other processes to finish with the file.
    pub lock_wait: Duration,
    pub clock: Clock,
    /// Ends the login as long as nothing is being saved.
    pub stop: CancellationToken,
}

/// What the owner should know meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// To be opened in a browser, which then comes back to `redirect_uri`.
    Open { address: &'a str, redirect_uri: &'a str },
    /// To be typed in at `address`.
    Type { code: &'a str, address: &'a str, within: Duration },
    /// Still nothing.
    Waiting { left: Duration },
    /// What was pasted is of no use, and why.
    Unusable(&'static str),
    /// The code is here and is being exchanged.
    Exchanging,
}

/// Who is told.
pub type Tell<'a> = &'a (dyn Fn(Progress<'_>) + Send + Sync);

/// A login that is on the disk.
#[derive(Clone, Debug)]
pub struct Completed {
    pub account_id: AccountId,
    pub email: Option<String>,
    pub plan_type: Option<String>,
    pub saved: Saved,
}

/// What saving a login came to.
#[derive(Clone, Debug)]
pub struct Saved {
    pub how: How,
    pub replaced: Option<Replaced>,
    /// Why the login that was replaced could not be opened, and so not be looked at.
    pub shut: Option<Unopened>,
    /// The file that it is in.
    pub path: PathBuf,
}

/// The login that was there before.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// Whose it was, if it was another account's.
    pub other: Option<String>,
    /// What nobody needs any more. Nothing if the same tokens came again.
    pub former: Option<Record>,
}

/// Why there is no login. The sentence says what happened, [`hint`](Self::hint) what helps.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignInError {
    #[error("AIRelays could not bind localhost:{port} for browser login")]
    Ports { port: u16, source: Arc<io::Error> },
    #[error("Login did not complete within {}", Span(*.0))]
    TimedOut(Duration),
    #[error("Login was interrupted; nothing was saved")]
    Interrupted,
    #[error("Login failed: {0}")]
    Denied(Denial),
    #[error("Login failed: the account belongs to no ChatGPT workspace")]
    NoAccount,
    #[error("Login failed: the sign-in server gave tokens of two accounts")]
    TwoAccounts,
    #[error("Login is restricted to workspace id {wanted}")]
    Workspace { wanted: AccountId, found: AccountId },
    #[error("Device-code login is not enabled for this server")]
    DeviceDisabled,
    #[error("Device-code login timed out after {}", Span(*.0))]
    DeviceTimedOut(Duration),
    #[error("Device-code login failed: {why}")]
    Device { why: String, source: Option<Cause> },
    #[error("Code exchange failed: {why}")]
    Exchange { why: String, source: Option<Cause> },
    #[error("The login could not be saved")]
    Save(#[source] Cause),
    #[error("The login could not be encrypted")]
    Keyring(#[source] NoKeyring),
    #[error("The system has no randomness")]
    Random(#[source] getrandom::Error),
}

impl SignInError {
    /// What the owner can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Ports { .. } => {
                "Another login may be waiting there. Retry later or use `airelays login --device`."
            }
            Self::TimedOut(_) => {
                "Run `airelays login` again; `auth.login_timeout_seconds` is how long it waits."
            }
            Self::Denied(denial) => denial.hint(),
            Self::NoAccount => "Sign in to chatgpt.com once and see that the account is usable.",
            Self::Workspace { found, .. } => {
                return Some(format!(
                    "The account that signed in has the id {found}. Nothing was saved; choose the \
                     other workspace on the sign-in page."
                ));
            }
            Self::DeviceDisabled => {
                "Use `airelays login --browser`, or allow device codes in the security settings of \
                 ChatGPT."
            }
            Self::DeviceTimedOut(_) | Self::Device { .. } => {
                "Run `airelays login --device` again, or `airelays login --browser`."
            }
            Self::Exchange { .. } | Self::TwoAccounts => {
                "Run `airelays login` again; a code works once and not for long."
            }
            Self::Keyring(_) => {
                "Set `auth.storage` to `file`, or to `auto`, which uses the file where there is no \
                 keyring."
            }
            Self::Save(_) => "Mend that and run `airelays login` again.",
            Self::Interrupted | Self::Random(_) => return None,
        };
        Some(hint.to_owned())
    }

    pub(super) fn unanswered(Unanswered { outage, source }: Unanswered) -> Self {
        Self::Exchange { why: outage.to_string(), source }
    }

    fn unsaved(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Save(Arc::new(error))
    }
}

impl From<PutError> for SignInError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::File(error) => Self::unsaved(error),
            PutError::Keyring(why) => Self::Keyring(why),
        }
    }
}

/// What the sign-in page said in place of a code, fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    error: String,
    description: String,
}

/// Longer texts are cut; nobody reads them.
const MOST_CHARS: usize = 200;

impl Denial {
    pub fn new(error: &str, description: &str) -> Self {
        Self { error: cleaned(error), description: cleaned(description) }
    }

    fn is_missing_entitlement(&self) -> bool {
        self.error == "access_denied" && self.description.contains("missing_codex_entitlement")
    }

    fn hint(&self) -> &'static str {
        if self.is_missing_entitlement() {
            "An administrator of the workspace can grant it."
        } else {
            "Run `airelays login` again to give it another try."
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_missing_entitlement() {
            return f.write_str("this workspace has no access to Codex");
        }
        f.write_str(&self.error)?;
        match self.description.as_str() {
            "" => Ok(()),
            description => write!(f, " ({description})"),
        }
    }
}

/// `text` on one line, without what could steer a terminal or turn the direction of writing.
fn cleaned(text: &str) -> String {
    let is_invisible =
        |c: char| matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let shown = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown = shown.chars().filter(|c| !is_steering(*c) && !is_invisible(*c));
    let mut out: String = shown.by_ref().take(MOST_CHARS).collect();
    if shown.next().is_some() {
        out.push('…');
    }
    out
}

/// A time as people say it.
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let unit = |f: &mut fmt::Formatter<'_>, n: u64, unit| {
            write!(f, "{n} {unit}{}", if n == 1 { "" } else { "s" })
        };
        match (seconds / 60, seconds % 60) {
            (0, seconds) => unit(f, seconds, "second"),
            (minutes, 0) => unit(f, minutes, "minute"),
            (minutes, seconds) => write!(f, "{minutes} min {seconds} s"),
        }
    }
}

impl SignIn {
    /// Sees that a login could be saved, before the owner goes to the trouble of making one.
    ///
    /// # Errors
    ///
    /// When the disk or the keyring refuses.
    pub async fn prepare(&self) -> Result<(), SignInError> {
        let store = self.store.clone();
        let ready = tokio::task::spawn_blocking(move || {
            drop(store.reserve(0)?);
            store.vault().prepare()?;
            Ok::<_, PutError>(())
        });
        Ok(ready.await.map_err(SignInError::unsaved)??)
    }

    /// Exchanges a code and saves what comes of it.
    ///
    /// # Errors
    ///
    /// When the issuer refuses, the tokens are not what they should be, or the disk refuses.
    pub async fn complete(&self, grant: &Grant<'_>) -> Result<Completed, SignInError> {
        let tokens = self.unless_stopped(self.issuer.exchange(grant)).await??;
        let account_id = account_of(&tokens, self.workspace.as_ref())?;
        let Claims { email, plan_type, .. } = tokens.claims();
        let issuer = self.issuer.base();
        let record = Record::signed_in(tokens, &account_id, issuer, self.clock.now());
        let saved = self.save(record).await?;
        Ok(Completed { account_id, email, plan_type, saved })
    }

    /// Puts `record` in place of what is there. From here on the wish to end it counts no more.
    ///
    /// # Errors
    ///
    /// When another process does not let go of the file, or the disk or the keyring refuses.
    pub async fn save(&self, record: Record) -> Result<Saved, SignInError> {
        let store = match &self.elsewhere {
            Some(elsewhere) => elsewhere(&record).map_err(SignInError::unsaved)?,
            None => self.store.clone(),
        };
        let alone = lock(&store, self.lock_wait).await.map_err(SignInError::unsaved)?;
        let saved = tokio::task::spawn_blocking(move || {
            let Put { old, shut, how } = store.put(&alone, &record)?;
            let replaced = old.map(|old| Replaced::by(old, &record));
            let path = store.path().to_owned();
            Ok::<_, PutError>(Saved { how, replaced, shut, path })
        });
        Ok(saved.await.map_err(SignInError::unsaved)??)
    }

    /// What `work` comes to, unless the owner ends it before.
    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, SignInError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SignInError::Interrupted),
            done = work => Ok(done),
        }
    }
}

impl Replaced {
    /// `old`, which gave way to `new`.
    pub fn by(old: Record, new: &Record) -> Self {
        let is_used = old.tokens.share_one_with(&new.tokens);
        let other = (old.account_id() != new.account_id()).then(|| old.owner()).flatten();
        Self { other, former: (!is_used).then_some(old) }
    }
}

/// Whose tokens these are, if all agree about it.
fn account_of(tokens: &Tokens, wanted: Option<&AccountId>) -> Result<AccountId, SignInError> {
    let found = tokens.agreed_account_id().map_err(|_| SignInError::TwoAccounts)?;
    let found = found.ok_or(SignInError::NoAccount)?;
    match wanted {
        Some(wanted) if *wanted != found => {
            Err(SignInError::Workspace { wanted: wanted.clone(), found })
        }
        Some(_) | None => Ok(found),
    }
}

#[cfg(test)]
pub(super) mod tests;
