//! The keyring of the system: small secrets, each under a service and a user.
//!
//! It is the Secret Service of the desktop, reached over the session bus
//! (<https://specifications.freedesktop.org/secret-service/>). Entries bear the attributes
//! `service` and `username`, as those of the Python library `keyring` do, so either finds the
//! other's.
//!
//! **Invariant:** no call outlasts its patience, and nothing of it goes on afterwards.
//! **Invariant:** only [`unlock`] asks the owner for anything.
//!
//! Not here: what is kept there and when (`auth::vault`).

use std::{collections::HashMap, error::Error, thread, time::Duration};

use secret_service::{EncryptionType, SecretService};
use zeroize::Zeroizing;

/// Names one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub service: &'static str,
    pub user: String,
}

/// Why a secret cannot be had or kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoKeyring {
    #[error("there is no keyring here")]
    Absent,
    #[error("the keyring is locked")]
    Locked,
    #[error("the keyring was not unlocked")]
    Dismissed,
    #[error("the keyring did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the keyring failed: {0}")]
    Failed(String),
}

impl Entry {
    fn attributes(&self) -> HashMap<&str, &str> {
        HashMap::from([("service", self.service), ("username", &self.user)])
    }
}

/// The secret of `entry`, if there is one. Blocks.
///
/// # Errors
///
/// When the keyring does not say. Some keyrings know of no entries while they are locked.
pub fn get(entry: &Entry, patience: Duration) -> Result<Option<Zeroizing<Vec<u8>>>, NoKeyring> {
    call(patience, async |keyring| {
        let found = keyring.search_items(entry.attributes()).await?;
        let Some(item) = found.unlocked.first().or(found.locked.first()) else {
            let is_locked = keyring.get_default_collection().await?.is_locked().await?;
            return if is_locked { Err(NoKeyring::Locked) } else { Ok(None) };
        };
        item.ensure_unlocked().await?;
        Ok(Some(Zeroizing::new(item.get_secret().await?)))
    })
}

/// Keeps `secret` under `entry`, in place of what was there. Blocks. The owner sees `label`.
///
/// # Errors
///
/// When the keyring does not say that it was kept.
pub fn put(entry: &Entry, label: &str, secret: &[u8], patience: Duration) -> Result<(), NoKeyring> {
    call(patience, async |keyring| {
        let place = keyring.get_default_collection().await?;
        place.ensure_unlocked().await?;
        let kind = "application/octet-stream";
        place.create_item(label, entry.attributes(), secret, true, kind).await?;
        Ok(())
    })
}

/// Forgets the secret of `entry`. Whether there was one. Blocks.
///
/// # Errors
///
/// When the keyring does not say that it is gone.
pub fn remove(entry: &Entry, patience: Duration) -> Result<bool, NoKeyring> {
    call(patience, async |keyring| {
        let found = keyring.search_items(entry.attributes()).await?;
        let mut was_there = false;
        for item in found.unlocked.iter().chain(&found.locked) {
            item.ensure_unlocked().await?;
            item.delete().await?;
            was_there = true;
        }
        Ok(was_there)
    })
}

/// Asks the owner to unlock the keyring. Blocks until that was done or declined.
///
/// # Errors
///
/// When it is still locked.
pub fn unlock(patience: Duration) -> Result<(), NoKeyring> {
    call(patience, async |keyring| Ok(keyring.get_default_collection().await?.unlock().await?))
}

/// Does `work` on a thread of its own, with whose end everything ends that belongs to it.
fn call<T: Send>(
    patience: Duration,
    work: impl AsyncFnOnce(&SecretService<'_>) -> Result<T, NoKeyring> + Send,
) -> Result<T, NoKeyring> {
    let exchange = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(&error))?;
        let outcome = runtime.block_on(async {
            let exchange = async {
                let bus = zbus::Connection::session().await.map_err(|_| NoKeyring::Absent)?;
                let keyring = SecretService::connect_with_existing(EncryptionType::Dh, bus).await?;
                work(&keyring).await
            };
            let outcome = tokio::time::timeout(patience, exchange).await;
            outcome.unwrap_or(Err(NoKeyring::Silent(patience)))
        });
        runtime.shutdown_background();
        outcome
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("keyring".to_owned());
        let outcome = thread.spawn_scoped(scope, exchange).map_err(|error| failed(&error))?.join();
        outcome.unwrap_or(Err(NoKeyring::Absent))
    })
}

/// The last cause alone: those above it repeat it.
fn failed(error: &(dyn Error + 'static)) -> NoKeyring {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    NoKeyring::Failed(last.to_string())
}

/// Whether it says that nobody on the bus keeps secrets.
fn is_nobody(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, ..) if name.ends_with(".ServiceUnknown"))
}

impl From<secret_service::Error> for NoKeyring {
    fn from(error: secret_service::Error) -> Self {
        match error {
            // Nobody keeps secrets, or there is no place for them.
            secret_service::Error::Unavailable | secret_service::Error::NoResult => Self::Absent,
            secret_service::Error::Locked => Self::Locked,
            secret_service::Error::Prompt | secret_service::Error::PromptDisconnected => {
                Self::Dismissed
            }
            secret_service::Error::Zbus(error) if is_nobody(&error) => Self::Absent,
            ref other @ (secret_service::Error::Crypto(_)
            | secret_service::Error::Zbus(_)
            | secret_service::Error::ZbusFdo(_)
            | secret_service::Error::Zvariant(_)
            | _) => failed(other),
        }
    }
}
