//! The relay token: the local bearer that clients present to the relay.
//!
//! It is a value from outside, a variable, or the content of a file.
//! The file is looked at on every request, so that a rotated token counts from the next request
//! on; it is read again only when its identity, size or times changed.
//!
//! **Invariant:** a token that is being rotated is seen as the old one or the new one, never as a
//! part, because the file is replaced whole.
//!
//! **Invariant:** no token is longer kept than its file: a removed file means that there is none.
//!
//! Not here: which file and which variable (`config`), comparing and counting (`limit`).

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{clock, id, private_file, secret::Secret};

/// Far above any token; keeps a wrong path from being read into memory.
const FILE_LIMIT: u64 = 64 * 1024;

/// Where the token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable.
    Variable,
    /// The token file.
    File,
}

impl Source {
    /// As `bearer_token_source` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Variable => "env",
            Self::File => "file",
        }
    }
}

/// Answers which token counts now. Clones share what they have read.
#[derive(Clone, Debug)]
pub struct RelayToken(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Fixed(Secret, Source),
    /// The lock is held while a file of a few bytes is read, never across an await.
    File(PathBuf, Mutex<Seen>),
}

#[derive(Debug, Default)]
struct Seen {
    stamp: Option<Stamp>,
    token: Option<Secret>,
}

/// Differs whenever the file was replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl RelayToken {
    /// A token that stays as it is for the life of the process.
    pub fn fixed(token: Secret, source: Source) -> Self {
        Self(Arc::new(Inner::Fixed(token, source)))
    }

    /// Whatever is in the file at `path`, whenever asked.
    pub fn in_file(path: PathBuf) -> Self {
        Self(Arc::new(Inner::File(path, Mutex::default())))
    }

    pub fn source(&self) -> Source {
        match &*self.0 {
            Inner::Fixed(_, source) => *source,
            Inner::File(..) => Source::File,
        }
    }

    /// The token that counts now; `None` when there is no file or it is empty.
    ///
    /// Costs one `stat` while the file does not change.
    ///
    /// # Errors
    ///
    /// When there is a file and it cannot be read or holds no token.
    pub fn current(&self) -> io::Result<Option<Secret>> {
        let (path, seen) = match &*self.0 {
            Inner::Fixed(token, _) => return Ok(Some(token.clone())),
            Inner::File(path, seen) => (path, seen),
        };
        let mut seen = seen.lock();
        // Taken before reading: if the file is replaced in between, the next call sees that the
        // stamp is out of date and reads once more.
        let stamp = stamp(path)?;
        if stamp != seen.stamp {
            *seen = Seen::default();
            let token = read(path)?;
            *seen = Seen { stamp, token };
        }
        Ok(seen.token.clone())
    }
}

/// Makes a token and puts it at `path`, in place of one that was there.
///
/// # Errors
///
/// When there is no randomness or the file cannot be written; it is then as it was.
pub fn rotate(path: &Path) -> io::Result<Secret> {
    let bytes = clock::random::<32>().map_err(io::Error::other)?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    private_file::replace(path, format!("{token}\n").as_bytes())?;
    Ok(Secret::new(token))
}

/// Tells tokens apart without showing them: the first 12 hexadecimal digits of the SHA-256.
pub fn fingerprint(token: &Secret) -> String {
    fingerprint_of(token.expose().as_bytes())
}

/// The same for whatever somebody presents as a token.
pub fn fingerprint_of(given: &[u8]) -> String {
    id::hex(&Sha256::digest(given)[..6])
}

/// A token as it was typed or stored, without the white space around it.
///
/// # Errors
///
/// When nothing is left, or something that cannot stand in a header: the sentence says which.
pub fn parse(text: &str) -> Result<Secret, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is blank");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("holds more than one word; a relay token is a single one");
    }
    Ok(Secret::new(text))
}

fn read(path: &Path) -> io::Result<Option<Secret>> {
    let Some(content) = private_file::read(path, FILE_LIMIT)? else { return Ok(None) };
    let text = str::from_utf8(&content).map_err(|_| unfit("is not text"))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).map_err(unfit)
}

fn unfit(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the relay token file {why}"))
}

fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match fs::metadata(path) {
        Ok(file) => Ok(Some(Stamp {
            place: (file.dev(), file.ino()),
            size: file.size(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn shown(token: &RelayToken) -> Option<String> {
        token.current().expect("readable").map(|token| token.expose().to_owned())
    }

    #[test]
    fn a_rotated_token_counts_at_once_and_a_removed_one_no_more() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("data/relay-token");
        let token = RelayToken::in_file(path.clone());
        assert_eq!(shown(&token), None);
        for _ in 0..3 {
            let made = rotate(&path).expect("written");
            assert_eq!(made.expose().len(), 43);
            assert_eq!(shown(&token).as_deref(), Some(made.expose()));
            assert_eq!(shown(&token.clone()).as_deref(), Some(made.expose()));
        }
        private_file::remove(&path).expect("removed");
        assert_eq!(shown(&token), None);
    }

    #[test]
    fn whoever_reads_while_it_is_rotated_sees_a_whole_token() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("relay-token");
        rotate(&path).expect("written");
        let token = RelayToken::in_file(path.clone());
        thread::scope(|threads| {
            let rotating = threads.spawn(|| {
                for _ in 0..50 {
                    rotate(&path).expect("written");
                }
            });
            while !rotating.is_finished() {
                assert_eq!(shown(&token).map(|token| token.len()), Some(43));
            }
        });
    }

    #[test]
    fn a_file_without_a_token_is_none_or_an_error() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("relay-token");
        let token = RelayToken::in_file(path.clone());
        for (content, expected) in [
            (&b""[..], Ok(None)),
            (b" \n", Ok(None)),
            (b"  abc\r\n", Ok(Some("abc"))),
            (b"abc\ndef\n", Err(io::ErrorKind::InvalidData)),
            (b"\xff\xfe", Err(io::ErrorKind::InvalidData)),
        ] {
            private_file::replace(&path, content).expect("written");
            let found = token.current().map_err(|error| error.kind());
            let found = found.map(|token| token.map(|token| token.expose().to_owned()));
            assert_eq!(found, expected.map(|token| token.map(str::to_owned)), "{content:?}");
        }
        assert!(RelayToken::in_file(home.path().to_owned()).current().is_err(), "a directory");
    }

    #[test]
    fn a_token_from_outside_stays_and_is_known_by_its_fingerprint() {
        let token = RelayToken::fixed(Secret::new("abc"), Source::Variable);
        assert_eq!(shown(&token).as_deref(), Some("abc"));
        assert_eq!(token.source().as_str(), "env");
        assert_eq!(fingerprint(&Secret::new("abc")), "ba7816bf8f01");
    }
}
