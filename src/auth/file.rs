//! The stored login as a file: read whole, replaced whole, changed by one process at a time.
//!
//! The file is open or sealed with a key of the `vault`, and stays what it is through renewals.
//! Everything here blocks and is short, except waiting for the lock and for a keyring.
//!
//! **Invariant:** whoever changes the file holds its lock, and has read it since he got it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{
    sealed::{Key, Sealed},
    stored::{Malformed, Record, StoredIn, StoredLogin},
    vault::{Place, Storage, Unopened, Vault},
};
use crate::{
    credential::Tokens,
    keyring::NoKeyring,
    private_file::{self, Lock, Reserved},
};

/// Far above any login; a file beyond it is something else.
const LIMIT: u64 = 1 << 20;
/// Room for a renewed login beyond what the old one takes.
const GROWTH: usize = 64 << 10;

/// Why a stored login cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the login file cannot be read")]
    File(#[from] io::Error),
    #[error(transparent)]
    Content(#[from] Malformed),
    #[error("the stored login cannot be opened")]
    Sealed(#[from] Unopened),
}

/// Why a login cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Keyring(#[from] NoKeyring),
}

/// Why a login is not where it should be.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Put(#[from] PutError),
}

impl SettleError {
    /// Whether it might be mended by asking the owner to unlock the keyring.
    pub fn is_locked(&self) -> bool {
        match self {
            Self::Read(ReadError::Sealed(Unopened::Keyring(why)))
            | Self::Put(PutError::Keyring(why)) => matches!(why, NoKeyring::Locked),
            Self::Read(_) | Self::Put(PutError::File(_)) => false,
        }
    }
}

/// The open login at `path`, of another program perhaps. `None` when there is no such file.
///
/// # Errors
///
/// When the file cannot be read or holds no login.
pub fn read_record(path: &Path) -> Result<Option<Record>, ReadError> {
    let Some(json) = private_file::read(path, LIMIT)? else { return Ok(None) };
    Ok(Some(Found::of(json, &Vault::none())?.record))
}

/// The file of one login. Clones share what they know of its key.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    vault: Vault,
}

/// What the file held, and the bytes it held it in once they were opened.
pub struct Found {
    pub record: Record,
    pub json: Zeroizing<Vec<u8>>,
    /// The key that it was sealed with.
    pub(super) key: Option<Key>,
}

/// A login that was stored.
pub struct Put {
    /// What was there before, if it could be read.
    pub old: Option<Record>,
    /// Why it could not, if it is sealed.
    pub shut: Option<Unopened>,
    pub how: How,
}

/// A login that was forgotten.
#[derive(Clone, Debug)]
pub struct Deleted {
    pub was_there: bool,
    /// Why the keyring still has its key, if it has.
    pub key_left: Option<NoKeyring>,
}

/// How a login is stored.
#[derive(Clone, Debug)]
pub enum How {
    Open,
    /// Open, because the keyring would not have it.
    OpenFor(NoKeyring),
    Sealed,
}

/// What was done about a login before it is used.
#[derive(Debug)]
pub enum Settled {
    /// Nothing, because all was well.
    Nothing,
    /// It came from the keyring, where the former program kept it.
    CarriedOver(How),
    /// It had been open, and must not be.
    Sealed,
}

/// Tells one state of the file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Store {
    pub fn new(path: &Path, vault: Vault) -> Self {
        Self { path: path.to_owned(), vault }
    }

    /// Another login, in the file at `path`, kept in the same way.
    pub fn beside(&self, path: &Path) -> Self {
        Self { path: path.to_owned(), vault: self.vault.beside() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// What the login says about itself. `None` when there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or opened, or holds no login.
    pub fn describe(&self) -> Result<Option<StoredLogin>, ReadError> {
        Ok(self.load()?.map(|found| found.describe()))
    }

    /// What credentials are made of, to be looked at. `None` when there is no login.
    ///
    /// # Errors
    ///
    /// As of [`describe`](Self::describe).
    pub fn tokens(&self) -> Result<Option<Tokens>, ReadError> {
        Ok(self.load()?.map(|found| found.record.tokens))
    }

    /// Whether it holds a login of the person and workspace that `other` is of.
    pub fn belongs_to_owner_of(&self, other: &Record) -> bool {
        let found = self.load().ok().flatten();
        found.is_some_and(|found| found.record.is_same_owner(other))
    }

    /// The same of the login that the former program kept in the keyring, if it can be had.
    ///
    /// # Errors
    ///
    /// When the keyring does not say.
    pub fn describe_former(&self) -> Result<Option<StoredLogin>, NoKeyring> {
        let former = self.vault.former()?;
        let login = former.and_then(|former| Record::read(&former.json).ok());
        Ok(login.map(|login| StoredLogin {
            stored_in: Some(StoredIn::KeyringEntry),
            ..login.describe()
        }))
    }

    /// Stores `login` in place of the old one. What the file held besides stays if it is the same
    /// account's.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or the keyring when there must be one; the old login is then as it
    /// was.
    pub(super) fn put(&self, _alone: &Lock, login: &Record) -> Result<Put, PutError> {
        let (old, shut) = match self.load() {
            Ok(old) => (old, None),
            Err(ReadError::Sealed(why)) => (None, Some(why)),
            Err(_) => (None, None),
        };
        let is_same = |old: &&Found| old.record.account_id() == login.account_id();
        let json = match old.as_ref().filter(is_same) {
            Some(old) => login.write_over(&old.json),
            None => login.write(),
        };
        let json = json.map_err(io::Error::from)?;
        let (key, how) = match self.vault.place()? {
            Place::Sealed(key) => (Some(key), How::Sealed),
            Place::Open(None) => (None, How::Open),
            Place::Open(Some(why)) => (None, How::OpenFor(why)),
        };
        let content = written(json, key.as_ref())?;
        if let Err(error) = private_file::replace(&self.path, &content) {
            // It may be there all the same, and be of no use without its key.
            self.forget(key.as_ref().filter(|key| !self.may_need(key)));
            return Err(error.into());
        }
        self.forget(old.as_ref().and_then(|old| old.key.as_ref()));
        Ok(Put { old: old.map(|old| old.record), shut, how })
    }

    /// Sees that the login is where it should be: not in the former program's entry of the keyring,
    /// and not open if it must be sealed.
    ///
    /// # Errors
    ///
    /// When it cannot be read or stored; it is then as it was.
    pub fn settle(&self) -> Result<Settled, SettleError> {
        // Who is changing it now sees to it himself.
        let Some(alone) = self.try_lock().map_err(PutError::from)? else {
            return Ok(Settled::Nothing);
        };
        let found = self.load().map_err(SettleError::Read)?;
        let Some(found) = found else { return self.carry_over(&alone) };
        if found.key.is_some() || self.vault.storage() != Storage::Keyring {
            return Ok(Settled::Nothing);
        }
        self.put(&alone, &found.record)?;
        Ok(Settled::Sealed)
    }

    fn carry_over(&self, alone: &Lock) -> Result<Settled, SettleError> {
        let former = match self.vault.former() {
            Ok(Some(former)) => former,
            Ok(None) => return Ok(Settled::Nothing),
            Err(error @ NoKeyring::Locked) => return Err(PutError::from(error).into()),
            Err(error) if self.vault.storage() == Storage::Keyring => {
                return Err(PutError::from(error).into());
            }
            Err(error) => {
                tracing::debug!(error = &*error.to_string(), "no look into the keyring");
                return Ok(Settled::Nothing);
            }
        };
        let login = Record::read(&former.json).map_err(|error| SettleError::Read(error.into()))?;
        let Put { how, .. } = self.put(alone, &login)?;
        // Two programs that renew one login end it for each other.
        if let Err(error) = former.forget() {
            tracing::warn!(error = &*error.to_string(), "the former login stays in the keyring");
        }
        Ok(Settled::CarriedOver(how))
    }

    /// Forgets the login, and then its key.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be removed.
    pub(super) fn delete(&self, _alone: &Lock) -> io::Result<Deleted> {
        let sealed = self.sealed().ok().flatten();
        let was_there = private_file::remove(&self.path)?;
        let key_left = sealed.and_then(|Sealed { key, .. }| self.vault.forget(&key).err());
        Ok(Deleted { was_there, key_left })
    }

    /// Whether the file is sealed with `key`, as far as can be seen.
    fn may_need(&self, key: &Key) -> bool {
        let sealed = self.sealed();
        sealed.map_or(true, |sealed| sealed.is_some_and(|sealed| sealed.key == key.name()))
    }

    /// The login as it is sealed, if it is.
    fn sealed(&self) -> io::Result<Option<Sealed>> {
        let json = private_file::read_unlinked(&self.path, LIMIT)?;
        Ok(json.and_then(|json| Sealed::read(&json).ok().flatten()))
    }

    /// A key that opens nothing any more is rubbish, not a danger.
    fn forget(&self, key: Option<&Key>) {
        let forgotten = key.map_or(Ok(false), |key| self.vault.forget(key.name()));
        if let Err(error) = forgotten {
            tracing::debug!(error = &*error.to_string(), "a key stays in the keyring");
        }
    }

    /// The state of the file now, `None` when there is none.
    pub(super) fn stamp(&self) -> io::Result<Option<Stamp>> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) => Ok(Some(Stamp {
                device: found.dev(),
                inode: found.ino(),
                size: found.size(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn load(&self) -> Result<Option<Found>, ReadError> {
        let json = private_file::read_unlinked(&self.path, LIMIT)?;
        json.map(|json| Found::of(json, &self.vault)).transpose()
    }

    /// Clears away what was left beside the file by those who were killed while they wrote, unless
    /// somebody changes it right now.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made, listed or changed.
    pub fn sweep(&self) -> io::Result<usize> {
        match (self.try_lock()?, self.path.parent()) {
            (Some(_alone), Some(dir)) => private_file::sweep(dir),
            (Some(_) | None, _) => Ok(0),
        }
    }

    /// The right to change the file, if nobody else has it.
    pub(super) fn try_lock(&self) -> io::Result<Option<Lock>> {
        private_file::try_lock(&private_file::lock_of(&self.path))
    }

    /// Takes room for what is to replace a content of `size` bytes.
    pub(super) fn reserve(&self, size: usize) -> io::Result<Reserved> {
        // Sealed, it takes a third more.
        private_file::reserve(&self.path, 2 * size + GROWTH)
    }
}

impl Found {
    fn of(json: Vec<u8>, vault: &Vault) -> Result<Self, ReadError> {
        let json = Zeroizing::new(json);
        let (json, key) = match Sealed::read(&json)? {
            None => (json, None),
            Some(sealed) => {
                let (json, key) = vault.open(&sealed)?;
                (json, Some(key))
            }
        };
        Ok(Self { record: Record::read(&json)?, json, key })
    }

    /// What the login says about itself.
    pub fn describe(&self) -> StoredLogin {
        let stored_in = Some(if self.key.is_some() { StoredIn::Keyring } else { StoredIn::File });
        StoredLogin { stored_in, ..self.record.describe() }
    }

    /// The content of the file with `json` in place of what it held.
    pub(super) fn rewritten(&self, json: Zeroizing<Vec<u8>>) -> io::Result<Zeroizing<Vec<u8>>> {
        written(json, self.key.as_ref())
    }
}

/// The content of a file that holds `json`, sealed with `key` if there is one.
fn written(json: Zeroizing<Vec<u8>>, key: Option<&Key>) -> io::Result<Zeroizing<Vec<u8>>> {
    match key {
        None => Ok(json),
        Some(key) => Sealed::seal(key, &json).map_err(io::Error::other),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{credential::AccountId, secret::Secret};

    fn login(account: &str, refresh: &str) -> Record {
        let refresh = Some(Secret::new(refresh));
        let tokens = Tokens { refresh, ..Tokens::default() };
        let at = Timestamp::UNIX_EPOCH;
        Record::signed_in(tokens, &AccountId::new(account), "https://issuer.example", at)
    }

    #[test]
    fn a_login_is_stored_read_and_forgotten() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("airelays/auth.json");
        let store = Store::new(&path, Vault::none());
        assert_eq!(store.describe().expect("nothing there"), None);
        let alone = store.try_lock().expect("asked").expect("free");
        assert!(!store.delete(&alone).expect("nothing there").was_there);
        assert!(store.put(&alone, &login("acct", "r")).expect("written").old.is_none());
        let found = store.describe().expect("read").expect("there");
        assert_eq!(found.bound_account_id.as_deref(), Some("acct"));
        assert_eq!(found.issuer.as_deref(), Some("https://issuer.example"));
        assert!(store.delete(&alone).expect("removed").was_there);
        assert_eq!(store.stamp().expect("looked"), None);
    }

    #[test]
    fn what_else_the_file_held_stays_with_its_account() {
        for (account, kept) in [("acct", true), ("other", false)] {
            let home = tempfile::tempdir().expect("directory");
            let path = home.path().join("auth.json");
            let content = r#"{"mine":1,"bound_account_id":"acct","tokens":{"refresh_token":"r0"}}"#;
            private_file::replace(&path, content.as_bytes()).expect("written");
            let store = Store::new(&path, Vault::none());
            let alone = store.try_lock().expect("asked").expect("free");
            let old = store.put(&alone, &login(account, "r1")).expect("written").old;
            let old = old.expect("an old one");
            assert!(old.tokens.refresh.is_some_and(|refresh| refresh.matches(b"r0")));
            let found = store.load().expect("read").expect("there");
            assert!(found.record.tokens.refresh.is_some_and(|refresh| refresh.matches(b"r1")));
            assert_eq!(found.record.bound_account_id, Some(AccountId::new(account)));
            let text = String::from_utf8(found.json.to_vec()).expect("text");
            assert_eq!(text.contains("mine"), kept, "{text}");
        }
    }

    #[test]
    fn what_is_no_login_is_replaced() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("auth.json");
        private_file::replace(&path, b"[").expect("written");
        let store = Store::new(&path, Vault::none());
        let alone = store.try_lock().expect("asked").expect("free");
        assert!(store.put(&alone, &login("acct", "r")).expect("written").old.is_none());
        assert!(store.load().expect("read").is_some());
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let home = tempfile::tempdir().expect("directory");
        let pipe = home.path().join("auth.json");
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        );
        made.expect("a pipe");
        assert!(matches!(read_record(&pipe), Err(ReadError::File(_))));
        assert!(matches!(read_record(home.path()), Err(ReadError::File(_))));
    }
}
