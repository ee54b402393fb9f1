//! The stored login as a file: read whole, replaced whole, changed by one process at a time.
//!
//! Everything here blocks and is short, except waiting for the lock.
//!
//! **Invariant:** whoever changes the file holds its lock, and has read it since he got it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::stored::{Malformed, Record, StoredLogin};
use crate::private_file::{self, Lock, Reserved};

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
}

/// What the login at `path` says about itself. `None` when there is no such file.
///
/// # Errors
///
/// When the file cannot be read or holds no login.
pub fn read(path: &Path) -> Result<Option<StoredLogin>, ReadError> {
    Ok(read_record(path)?.map(|record| record.describe()))
}

/// The login at `path` itself. `None` when there is no such file.
///
/// # Errors
///
/// As [`read`].
pub fn read_record(path: &Path) -> Result<Option<Record>, ReadError> {
    Ok(Store::new(path).load()?.map(|found| found.record))
}

/// The file of one login.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

/// What the file held, and the bytes it held it in.
pub struct Found {
    pub record: Record,
    pub json: Zeroizing<Vec<u8>>,
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
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Stores `login` in place of the old one, which it gives back if it could be read. What the
    /// file held besides stays if it is the same account's.
    ///
    /// # Errors
    ///
    /// When the disk refuses; the old login is then as it was.
    pub(super) fn put(&self, _alone: &Lock, login: &Record) -> io::Result<Option<Record>> {
        let old = self.load().ok().flatten();
        let is_same = |old: &&Found| old.record.account_id() == login.account_id();
        let json = match old.as_ref().filter(is_same) {
            Some(old) => login.write_over(&old.json)?,
            None => login.write()?,
        };
        private_file::replace(&self.path, &json)?;
        Ok(old.map(|old| old.record))
    }

    /// Forgets the login. Whether there was one.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be removed.
    pub(super) fn delete(&self, _alone: &Lock) -> io::Result<bool> {
        private_file::remove(&self.path)
    }

    /// The state of the file now, `None` when there is none.
    pub(super) fn stamp(&self) -> io::Result<Option<Stamp>> {
        match fs::metadata(&self.path) {
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
        // Opening a pipe would wait for its writer for ever.
        match fs::metadata(&self.path) {
            Ok(found) if !found.is_file() => {
                return Err(io::Error::other("it is not a regular file").into());
            }
            Ok(_) | Err(_) => {}
        }
        let Some(json) = private_file::read(&self.path, LIMIT)? else { return Ok(None) };
        let json = Zeroizing::new(json);
        Ok(Some(Found { record: Record::read(&json)?, json }))
    }

    /// Clears away what was left beside the file by those who were killed while they wrote, unless
    /// somebody changes it right now.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made, listed or changed.
    pub fn sweep(&self) -> io::Result<usize> {
        match (private_file::try_lock(&self.lock_file())?, self.path.parent()) {
            (Some(_alone), Some(dir)) => private_file::sweep(dir),
            (Some(_) | None, _) => Ok(0),
        }
    }

    /// Waits until no other process changes the file.
    pub(super) fn lock(&self) -> io::Result<Lock> {
        private_file::lock(&self.lock_file())
    }

    fn lock_file(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        name.into()
    }

    /// Takes room for what is to replace a content of `size` bytes.
    pub(super) fn reserve(&self, size: usize) -> io::Result<Reserved> {
        private_file::reserve(&self.path, size + GROWTH)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        credential::{AccountId, Tokens},
        secret::Secret,
    };

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
        let store = Store::new(&path);
        assert_eq!(read(&path).expect("nothing there"), None);
        let alone = store.lock().expect("locked");
        assert!(!store.delete(&alone).expect("nothing there"));
        assert!(store.put(&alone, &login("acct", "r")).expect("written").is_none());
        let found = read(&path).expect("read").expect("there");
        assert_eq!(found.bound_account_id.as_deref(), Some("acct"));
        assert_eq!(found.issuer.as_deref(), Some("https://issuer.example"));
        assert!(store.delete(&alone).expect("removed"));
        assert_eq!(store.stamp().expect("looked"), None);
    }

    #[test]
    fn what_else_the_file_held_stays_with_its_account() {
        for (account, kept) in [("acct", true), ("other", false)] {
            let home = tempfile::tempdir().expect("directory");
            let path = home.path().join("auth.json");
            let content = r#"{"mine":1,"bound_account_id":"acct","tokens":{"refresh_token":"r0"}}"#;
            private_file::replace(&path, content.as_bytes()).expect("written");
            let store = Store::new(&path);
            let alone = store.lock().expect("locked");
            let old =
                store.put(&alone, &login(account, "r1")).expect("written").expect("an old one");
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
        let store = Store::new(&path);
        let alone = store.lock().expect("locked");
        assert!(store.put(&alone, &login("acct", "r")).expect("written").is_none());
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
        assert!(matches!(read(&pipe), Err(ReadError::File(_))));
        assert!(matches!(read(home.path()), Err(ReadError::File(_))));
    }
}
