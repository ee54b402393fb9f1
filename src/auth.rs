//! The owner's ChatGPT login: kept on disk, renewed in time, handed out for requests.
//!
//! The refresh token is spent by using it. Everything here is arranged around that: one at a time
//! in this process and across processes, what the disk holds is looked at again right before, and
//! what the issuer gives is on the disk before anyone gets to see it.
//!
//! **Invariant:** a renewed token is handed out only when the disk holds it.
//! **Invariant:** nothing that the issuer writes reaches a message; the sentences are ours.
//!
//! Not here: what tokens say (`credential`), how requests are signed (`upstream`).

pub mod apart;
pub mod browser;
pub mod callback;
pub mod device;
mod exchange;
pub mod file;
mod form;
pub mod import;
pub mod issuer;
pub mod opener;
mod paste;
pub mod refresh;
pub mod revoke;
pub mod sealed;
pub mod sign_in;
pub mod stored;
pub mod vault;

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use file::{ReadError, Store};
use vault::Unopened;

use crate::private_file::Lock;

/// Why there is nothing to sign a request with, as the owner is told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    #[error("No ChatGPT login found. Run `airelays login` first.")]
    Missing,
    #[error("Stored auth does not include {0}.")]
    Incomplete(Lack),
    #[error("Stored AIRelays auth is bound to a different upstream account than the active token.")]
    AccountMismatch,
    /// Sending its tokens to another issuer would give them away.
    #[error(
        "The stored ChatGPT login was made with another sign-in server. Run `airelays login` again."
    )]
    OtherIssuer,
    /// Only a new login helps.
    #[error("Token refresh failed: {message} Run `airelays login` again.")]
    Terminal {
        /// One of the issuer's codes that we know, `rejected` when the upstream does not take
        /// what the issuer gives, or `other`.
        code: &'static str,
        message: &'static str,
    },
    /// The same may work in a moment.
    #[error("Token refresh failed: {outage}. Try again in a moment.")]
    Transient { outage: Outage, source: Option<Arc<dyn Error + Send + Sync>> },
    /// The same may work when the keyring is there and unlocked.
    #[error("The stored ChatGPT login could not be opened: {why}.")]
    Sealed { why: Unopened },
    #[error("The stored ChatGPT login could not be {access}.")]
    Storage { access: Access, source: Arc<dyn Error + Send + Sync> },
}

/// What a stored login lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Lack {
    Tokens,
    AccessToken,
    RefreshToken,
    AccountId,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokens => "an access token or refresh token",
            Self::AccessToken => "a usable access token",
            Self::RefreshToken => "a refresh token",
            Self::AccountId => "an account id",
        })
    }
}

/// What kept a renewal from coming to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Outage {
    Unreachable,
    Silent,
    Status(u16),
    Unreadable,
    /// Another process holds the login for longer than anyone should.
    Busy,
    /// The relay is stopping.
    Stopping,
    /// The process that renews the login has ended in the middle of it.
    CutOff,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("the sign-in server could not be reached"),
            Self::Silent => f.write_str("the sign-in server did not answer in time"),
            Self::Status(status) => write!(f, "the sign-in server answered {status}"),
            Self::Unreadable => f.write_str("the sign-in server answered something unreadable"),
            Self::Busy => f.write_str("another process is busy with this login"),
            Self::Stopping => f.write_str("the relay is stopping"),
            Self::CutOff => f.write_str("the renewal was cut off"),
        }
    }
}

/// What was tried with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Access {
    Read,
    Written,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Written => "written",
        })
    }
}

impl From<issuer::Unanswered> for LoginError {
    fn from(issuer::Unanswered { outage, source }: issuer::Unanswered) -> Self {
        Self::Transient { outage, source }
    }
}

impl LoginError {
    fn outage(outage: Outage) -> Self {
        Self::Transient { outage, source: None }
    }

    fn unread(error: ReadError) -> Self {
        if let ReadError::Sealed(why) = error {
            return Self::Sealed { why };
        }
        Self::Storage { access: Access::Read, source: Arc::new(error) }
    }

    fn unwritten(error: io::Error) -> Self {
        Self::Storage { access: Access::Written, source: Arc::new(error) }
    }
}

/// Why the file of a login cannot be had alone.
#[derive(Debug, thiserror::Error)]
enum NoLock {
    #[error("another process is busy with this login")]
    Busy,
    #[error("its lock cannot be had")]
    File(#[source] io::Error),
}

impl From<NoLock> for LoginError {
    fn from(error: NoLock) -> Self {
        match error {
            NoLock::Busy => Self::outage(Outage::Busy),
            NoLock::File(error) => Self::unwritten(error),
        }
    }
}

/// How often a lock that somebody has is tried again.
const LOOK: Duration = Duration::from_millis(20);

/// The file of a login for this process alone, if the others let go of it within `wait`.
///
/// Tried again and again rather than waited for: a thread that waits cannot be told to stop.
async fn lock(store: &Store, wait: Duration) -> Result<Lock, NoLock> {
    let trying = async {
        loop {
            let store = store.clone();
            match tokio::task::spawn_blocking(move || store.try_lock()).await {
                Ok(Ok(Some(lock))) => return Ok(lock),
                Ok(Ok(None)) => tokio::time::sleep(LOOK).await,
                Ok(Err(error)) => return Err(NoLock::File(error)),
                Err(_) => return Err(NoLock::Busy),
            }
        }
    };
    tokio::time::timeout(wait, trying).await.unwrap_or(Err(NoLock::Busy))
}

/// Runs what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LoginError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LoginError::outage(Outage::Stopping))
}
