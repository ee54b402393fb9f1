//! The keys of sealed logins: in the keyring of the system, and in memory once they are known.
//!
//! A login is sealed if the keyring takes its key ([`Storage`] says who decides). The keyring never
//! holds the login itself: keyrings limit what a secret may weigh, cannot be written to safely when
//! the disk is full, and are asked once here, not at every renewal.
//!
//! **Invariant:** with [`Storage::File`] the keyring is never asked.
//! **Invariant:** the owner is asked to unlock the keyring by [`Vault::unlock`] alone.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::sealed::{Key, Sealed, Shut};
use crate::{
    id,
    keyring::{self, Entry, NoKeyring},
};

/// The service that entries have in the keyring.
pub const SERVICE: &str = "AIRelays Auth";
/// The same of the program's former name.
const FORMER_SERVICE: &str = "AIRelay Auth";
/// An unlocked keyring answers at once.
const PROBING: Duration = Duration::from_secs(2);
/// The owner has to find the password.
const ASKING: Duration = Duration::from_mins(1);

/// Where logins are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Sealed if the keyring is there and unlocked, open if not.
    Auto,
    /// In an open file.
    File,
    /// Sealed, or not at all.
    Keyring,
}

impl Storage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::File => "file",
            Self::Keyring => "keyring",
        }
    }
}

/// The keys, and what may be done to get at them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Vault(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    known: Mutex<Option<Key>>,
    /// The data directories that entries of the former program may be named after.
    homes: Vec<PathBuf>,
}

/// Why a sealed login cannot be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unopened {
    #[error("its key is in the keyring, which the setting `auth.storage` = \"file\" does not use")]
    NotAsked,
    #[error("its key is not in the keyring any more")]
    NoKey,
    #[error(transparent)]
    Shut(#[from] Shut),
    #[error(transparent)]
    Keyring(#[from] NoKeyring),
}

impl Unopened {
    /// Whether the same may work in a moment.
    pub fn may_pass(&self) -> bool {
        match self {
            // Some keyrings know of no keys while they are locked.
            Self::Keyring(_) | Self::NoKey => true,
            Self::NotAsked | Self::Shut(_) => false,
        }
    }
}

/// A login that the former program kept in the keyring.
pub struct Former {
    pub json: Zeroizing<Vec<u8>>,
    entry: Entry,
}

impl Former {
    /// Takes it out of the keyring.
    ///
    /// # Errors
    ///
    /// When it stays there.
    pub fn forget(&self) -> Result<(), NoKeyring> {
        keyring::remove(&self.entry, PROBING).map(drop)
    }
}

/// What is to become of a new login.
pub enum Place {
    Sealed(Key),
    Open(Option<NoKeyring>),
}

impl Vault {
    /// The same for another login, which has a key of its own and no former program.
    pub fn beside(&self) -> Self {
        Self::new(self.0.storage, Vec::new())
    }

    /// `homes` are the data directories whose login the former program may have kept there.
    pub fn new(storage: Storage, homes: Vec<PathBuf>) -> Self {
        Self::with(storage, None, homes)
    }

    /// Without a keyring.
    pub fn none() -> Self {
        Self::with(Storage::File, None, Vec::new())
    }

    /// For a process that has been given the key, if there is one.
    pub fn holding(key: Option<Key>) -> Self {
        Self::with(Storage::Auto, key, Vec::new())
    }

    fn with(storage: Storage, key: Option<Key>, homes: Vec<PathBuf>) -> Self {
        Self(Arc::new(Inner { storage, known: Mutex::new(key), homes }))
    }

    /// Asks the owner to unlock the keyring, and waits for that as long as he may need.
    ///
    /// # Errors
    ///
    /// When it is still locked.
    pub fn unlock(&self) -> Result<(), NoKeyring> {
        match self.0.storage {
            Storage::File => Ok(()),
            Storage::Auto | Storage::Keyring => keyring::unlock(ASKING),
        }
    }

    pub fn storage(&self) -> Storage {
        self.0.storage
    }

    /// The key that was used last.
    pub fn key(&self) -> Option<Key> {
        self.0.known.lock().clone()
    }

    /// What `sealed` holds, and its key.
    ///
    /// # Errors
    ///
    /// When the key cannot be had or does not fit.
    pub fn open(&self, sealed: &Sealed) -> Result<(Zeroizing<Vec<u8>>, Key), Unopened> {
        let known = self.key().filter(|key| key.name() == sealed.key);
        let key = match known {
            Some(key) => key,
            None if self.0.storage == Storage::File => return Err(Unopened::NotAsked),
            None => {
                let secret = keyring::get(&entry(&sealed.key), PROBING)?;
                let key = secret.and_then(|secret| Key::of(&sealed.key, &secret));
                key.ok_or(Unopened::NoKey)?
            }
        };
        let json = sealed.open(&key)?;
        *self.0.known.lock() = Some(key.clone());
        Ok((json, key))
    }

    /// Where a new login goes. A key for it is in the keyring then.
    ///
    /// # Errors
    ///
    /// When it must be sealed and cannot be.
    pub fn place(&self) -> Result<Place, NoKeyring> {
        if self.0.storage == Storage::File {
            return Ok(Place::Open(None));
        }
        let key = Key::draw().map_err(|error| NoKeyring::Failed(error.to_string()))?;
        let kept = keyring::put(&entry(key.name()), "AIRelays login key", key.expose(), PROBING);
        match (kept, self.0.storage) {
            (Ok(()), _) => {
                *self.0.known.lock() = Some(key.clone());
                Ok(Place::Sealed(key))
            }
            (Err(error), Storage::Keyring) => Err(error),
            (Err(error), Storage::Auto | Storage::File) => Ok(Place::Open(Some(error))),
        }
    }

    /// Sees that a login could be sealed if it must be.
    ///
    /// # Errors
    ///
    /// When it could not be.
    pub fn prepare(&self) -> Result<(), NoKeyring> {
        if self.0.storage != Storage::Keyring {
            return Ok(());
        }
        if let Place::Sealed(key) = self.place()? {
            // Some keyrings ask before they forget anything; that it is kept was the question.
            let _tried = self.forget(key.name());
        }
        Ok(())
    }

    /// Takes the key `name` out of the keyring, because nothing is sealed with it any more.
    ///
    /// # Errors
    ///
    /// When it is there and stays there.
    pub fn forget(&self, name: &str) -> Result<bool, NoKeyring> {
        self.0.known.lock().take_if(|key| key.name() == name);
        match self.0.storage {
            Storage::File => Ok(false),
            Storage::Auto | Storage::Keyring => keyring::remove(&entry(name), PROBING),
        }
    }

    /// The login that the former program kept in the keyring.
    ///
    /// # Errors
    ///
    /// When the keyring does not say.
    pub fn former(&self) -> Result<Option<Former>, NoKeyring> {
        if self.0.storage == Storage::File {
            return Ok(None);
        }
        for service in [SERVICE, FORMER_SERVICE] {
            for home in &self.0.homes {
                let entry = Entry { service, user: former_user(home) };
                if let Some(json) = keyring::get(&entry, PROBING)? {
                    return Ok(Some(Former { json, entry }));
                }
            }
        }
        Ok(None)
    }
}

fn entry(key: &str) -> Entry {
    Entry { service: SERVICE, user: format!("key|{key}") }
}

/// Under which the former program kept the login of the data directory `home`.
fn former_user(home: &Path) -> String {
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    let digest = Sha256::digest(home.as_os_str().as_encoded_bytes());
    format!("cli|{}", id::hex(digest.get(..8).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `hashlib.sha256(b"/nobody-here/me/.airelays").hexdigest()[:16]` in Python.
    #[test]
    fn entries_of_the_former_program_are_named_after_its_directory() {
        let home = Path::new("/nobody-here/me/.airelays");
        assert_eq!(former_user(home), "cli|41198f3db72e1480");
    }

    #[test]
    fn a_file_alone_never_asks_the_keyring() {
        let key = Key::draw().expect("a key");
        let file = Sealed::seal(&key, b"{}").expect("sealed");
        let sealed = Sealed::read(&file).expect("whole").expect("sealed");
        let vault = Vault::none();
        assert!(matches!(vault.open(&sealed), Err(Unopened::NotAsked)));
        assert!(matches!(vault.place(), Ok(Place::Open(None))));
        assert!(matches!(vault.former(), Ok(None)));
        assert!(matches!(vault.forget(key.name()), Ok(false)));
        // Who was given the key needs nobody.
        let vault = Vault::holding(Some(key));
        assert_eq!(vault.open(&sealed).expect("opened").0.as_slice(), b"{}");
    }
}
