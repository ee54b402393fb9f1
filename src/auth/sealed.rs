//! A stored login that is of no use without its key.
//!
//! The file holds an object with [`FIELD`] alone: the name of the key, and the login as other files
//! hold it, encrypted with AES-256-GCM under a nonce drawn for this content. Each login has a key of
//! its own, so a nonce that came twice would have to come twice within one login's renewals.
//!
//! **Invariant:** a content that was changed, cut or sealed with another key is not opened.
//!
//! Not here: where keys are kept (`vault`).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::stored::Malformed;
use crate::{id, object::Object};

/// The field that tells a sealed login from an open one.
const FIELD: &str = "airelays_sealed";
/// What is sealed, so that nothing else that the same key might ever seal passes for it.
const ABOUT: &[u8] = b"airelays login 1";
const KEY_BYTES: usize = 32;
/// A name is as good as none if two keys have it.
const NAME_BYTES: usize = 8;

/// A key and its name.
#[derive(Clone)]
pub struct Key {
    name: String,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

/// A login that is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Sealed {
    /// Of the key that opens it.
    pub key: String,
    #[serde(with = "text")]
    nonce: Vec<u8>,
    #[serde(with = "text")]
    content: Vec<u8>,
}

/// The key does not fit, or the content is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its key does not open it")]
pub struct Shut;

impl Key {
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let (mut name, mut secret) = ([0; NAME_BYTES], Zeroizing::new([0; KEY_BYTES]));
        getrandom::fill(&mut name)?;
        getrandom::fill(&mut *secret)?;
        Ok(Self { name: id::hex(&name), secret })
    }

    /// The key `name` from where it was kept. `None` if those are not the bytes of a key.
    pub fn of(name: &str, secret: &[u8]) -> Option<Self> {
        let secret = Zeroizing::new(secret.try_into().ok()?);
        Some(Self { name: name.to_owned(), secret })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// For where it is kept, and for nothing else.
    pub fn expose(&self) -> &[u8] {
        &*self.secret
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, Shut> {
        RandomizedNonceKey::new(&AES_256_GCM, self.expose()).map_err(|_| Shut)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sealed {
    /// Whether `json` is a sealed login, and if so, which.
    ///
    /// # Errors
    ///
    /// When it is one that has been damaged.
    pub fn read(json: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(file) = Object::read(json) else { return Ok(None) };
        let Some(sealed) = file.raw(FIELD) else { return Ok(None) };
        serde_json::from_str(sealed.get()).map(Some).map_err(|_| Malformed::Type(FIELD))
    }

    /// The content of a file that holds `json` for those with `key`.
    ///
    /// # Errors
    ///
    /// Never in practice: the key has the length that it should have.
    pub fn seal(key: &Key, json: &[u8]) -> Result<Zeroizing<Vec<u8>>, Shut> {
        let mut content = Zeroizing::new(Vec::with_capacity(json.len() + AES_256_GCM.tag_len()));
        content.extend_from_slice(json);
        let nonce = key.cipher()?.seal_in_place_append_tag(Aad::from(ABOUT), &mut *content);
        let nonce = nonce.map_err(|_| Shut)?.as_ref().to_vec();
        let sealed = Self { key: key.name.clone(), nonce, content: content.to_vec() };
        let file = serde_json::to_vec_pretty(&std::collections::BTreeMap::from([(FIELD, sealed)]));
        let mut file = file.map_err(|_| Shut)?;
        file.push(b'\n');
        Ok(Zeroizing::new(file))
    }

    /// What was sealed.
    ///
    /// # Errors
    ///
    /// When it was not sealed like this with `key`.
    pub fn open(&self, key: &Key) -> Result<Zeroizing<Vec<u8>>, Shut> {
        let nonce: [u8; NONCE_LEN] = self.nonce.as_slice().try_into().map_err(|_| Shut)?;
        let mut content = Zeroizing::new(self.content.clone());
        let cipher = key.cipher()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = cipher.open_in_place(nonce, Aad::from(ABOUT), &mut content);
        let length = length.map_err(|_| Shut)?.len();
        content.truncate(length);
        Ok(content)
    }
}

/// Bytes as text.
mod text {
    use serde::{Deserializer, Serializer, de::Error as _};

    use base64::Engine as _;

    use super::{BASE64_STANDARD, Deserialize};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    const LOGIN: &[u8] = br#"{"tokens":{"refresh_token":"T0P-S3CRET"}}"#;

    #[test]
    fn only_its_key_opens_it() {
        let (key, other) = (Key::draw().expect("a key"), Key::draw().expect("a key"));
        let file = Sealed::seal(&key, LOGIN).expect("sealed");
        let sealed = Sealed::read(&file).expect("whole").expect("sealed");
        assert_eq!(sealed.key, key.name());
        assert_eq!(sealed.open(&key).expect("opened").as_slice(), LOGIN);
        assert_eq!(sealed.open(&other), Err(Shut));
        let kept = Key::of(key.name(), key.expose()).expect("a key");
        assert!(sealed.open(&kept).is_ok());
        assert!(Key::of("x", &key.expose()[1..]).is_none());
    }

    #[test]
    fn nothing_of_it_can_be_read_or_told_from_another() {
        let key = Key::draw().expect("a key");
        let files = [(); 2].map(|()| Sealed::seal(&key, LOGIN).expect("sealed"));
        assert_ne!(files[0], files[1], "each has its own nonce");
        for file in files {
            let text = String::from_utf8(file.to_vec()).expect("text");
            let secret = BASE64_STANDARD.encode(key.expose());
            assert!(
                !text.contains("T0P-S3CRET")
                    && !text.contains("refresh_token")
                    && !text.contains(&secret)
            );
            assert!(!format!("{key:?}").contains(&secret));
        }
    }

    /// Every byte of what was sealed counts.
    #[test]
    fn what_was_changed_is_not_opened() {
        let key = Key::draw().expect("a key");
        let file = Sealed::seal(&key, LOGIN).expect("sealed");
        let sealed = Sealed::read(&file).expect("whole").expect("sealed");
        for place in 0..sealed.content.len() {
            let mut changed = sealed.clone();
            changed.content[place] ^= 1;
            assert_eq!(changed.open(&key), Err(Shut), "{place}");
            changed.content.truncate(place);
            assert_eq!(changed.open(&key), Err(Shut), "cut at {place}");
        }
        for place in 0..NONCE_LEN {
            let mut changed = sealed.clone();
            changed.nonce[place] ^= 1;
            assert_eq!(changed.open(&key), Err(Shut));
            changed.nonce.truncate(place);
            assert_eq!(changed.open(&key), Err(Shut));
        }
    }

    #[test]
    fn it_is_told_from_what_it_is_not() {
        for open in [&b"["[..], b"{}", b"7", LOGIN, br#"{"airelays_seal":1}"#] {
            assert_eq!(Sealed::read(open), Ok(None));
        }
        for damaged in [
            r#"{"airelays_sealed":7}"#,
            r#"{"airelays_sealed":{"key":"k","nonce":"AA=="}}"#,
            r#"{"airelays_sealed":{"key":"k","nonce":"!","content":"AA=="}}"#,
        ] {
            assert_eq!(Sealed::read(damaged.as_bytes()), Err(Malformed::Type(FIELD)), "{damaged}");
        }
    }
}
