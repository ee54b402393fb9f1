//! Identifiers that the relay makes up itself.
//!
//! Randomness is an argument: nothing here asks the system for it.

use std::{fmt, sync::Arc};

/// Names one request in answers, in logs and in messages: `req_` and 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("req_{}", hex(&bytes)).into())
    }

    /// For records that belong to no request, such as `startup`.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// `bytes` in the shape of a version 8 UUID: free to choose, but well-formed for whoever checks.
pub fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// Whether `text` has the shape of a UUID, of whatever version.
pub fn is_uuid(text: &str) -> bool {
    let is_place = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_the_documented_shape() {
        assert_eq!(
            RequestId::from_random([0xab; 16]).as_str(),
            "req_abababababababababababababababab"
        );
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert!(is_uuid(&uuid([7; 16])) && is_uuid("0198A1B2-0000-7000-8000-000000000000"));
        for other in [
            "",
            "ffffffff-ffff-8fff-bfff-fffffffffff",
            "ffffffff-ffff-8fff-bfff_ffffffffffff",
            "gfffffff-ffff-8fff-bfff-ffffffffffff",
        ] {
            assert!(!is_uuid(other), "{other}");
        }
    }
}
