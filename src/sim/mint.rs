//! Identifiers, tokens and sealed contents that nobody else could have made.
//!
//! Everything is a digest of a seed and a counter: unique within a simulator, different between
//! two of them, and repeatable in a test that fixes the seed.
//!
//! **Invariant:** a sealed content is accepted for the account it was made for and no other.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    clock, id,
    sim::tree::{object, size},
};

/// The head of a sealed content: it is what makes the text begin with `gAAAA`.
const SEAL: [u8; 6] = [0x80, 0, 0, 0, 0, 0x68];
const NONCE: usize = 16;
const DIGEST: usize = 32;

/// Makes what must not be made twice.
#[derive(Debug)]
pub(super) struct Mint {
    seed: [u8; 16],
    next: AtomicU64,
}

impl Mint {
    /// With a seed of the system's; without one, every simulator makes the same.
    pub(super) fn random() -> Self {
        Self::seeded(clock::random().unwrap_or_default())
    }

    pub(super) fn seeded(seed: [u8; 16]) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }

    fn bytes(&self) -> [u8; DIGEST] {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        digest(&[&self.seed, &number.to_be_bytes()])
    }

    /// Hexadecimal digits, at most 64.
    pub(super) fn hex(&self, digits: usize) -> String {
        let mut text = id::hex(&self.bytes());
        text.truncate(digits);
        text
    }

    /// `prefix` and 48 digits: the length that the upstream's own have.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.hex(48))
    }

    pub(super) fn uuid(&self) -> String {
        let bytes = self.bytes();
        let mut short = [0; 16];
        short.copy_from_slice(&bytes[..16]);
        id::uuid(short)
    }

    /// A well-formed RS256 token. Nobody could verify it, and nobody does.
    pub(super) fn jwt(&self, claims: &Value) -> String {
        let header = object! {"alg": "RS256", "kid": "simulated", "typ": "JWT"};
        let signature: Vec<u8> = (0..8).flat_map(|_| self.bytes()).collect();
        [header.to_string().as_bytes(), claims.to_string().as_bytes(), &signature]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".")
    }

    /// A fresh `encrypted_content` of `account`, with `weight` bytes of nothing in it.
    pub(super) fn seal(&self, account: &str, weight: u64) -> String {
        let fresh = self.bytes();
        let nonce = &fresh[..NONCE];
        let filler: Vec<u8> = nonce.iter().copied().cycle().take(size(weight)).collect();
        let proof = seal_digest(account, nonce, &filler);
        URL_SAFE.encode([&SEAL[..], nonce, &proof, &filler].concat())
    }
}

/// Whether `content` was sealed for `account`, by this simulator or an earlier one.
pub(super) fn is_sealed_for(account: &str, content: &str) -> bool {
    let Ok(bytes) = URL_SAFE.decode(content) else { return false };
    let Some(rest) = bytes.strip_prefix(&SEAL) else { return false };
    let Some((nonce, rest)) = rest.split_at_checked(NONCE) else { return false };
    let Some((proof, filler)) = rest.split_at_checked(DIGEST) else { return false };
    proof == seal_digest(account, nonce, filler)
}

fn seal_digest(account: &str, nonce: &[u8], filler: &[u8]) -> [u8; DIGEST] {
    digest(&[b"sealed", account.as_bytes(), nonce, filler])
}

/// A digest of parts that cannot run into one another.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_content_belongs_to_one_account() {
        let mint = Mint::seeded([7; 16]);
        let short = mint.seal("a", 10);
        let long = mint.seal("a", 100);
        assert!(short.starts_with("gAAAA"), "{short}");
        assert!(short.len() < long.len());
        assert!(is_sealed_for("a", &short) && is_sealed_for("a", &long));
        assert!(is_sealed_for("a", &Mint::random().seal("a", 0)), "also after a restart");
        let changed = long.replacen(&long[40..42], "zz", 1);
        for (account, content) in
            [("b", short.as_str()), ("a", changed.as_str()), ("a", "gAAAA"), ("a", "")]
        {
            assert!(!is_sealed_for(account, content), "{account} {content}");
        }
    }

    #[test]
    fn nothing_is_made_twice() {
        let mint = Mint::seeded([0; 16]);
        assert_ne!(mint.id("resp_"), mint.id("resp_"));
        assert_ne!(mint.uuid(), mint.uuid());
        assert_ne!(mint.hex(9), Mint::seeded([1; 16]).hex(9));
        assert_eq!(mint.id("msg_").len(), 52);
    }
}
