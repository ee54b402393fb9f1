//! Escapes inside JSON strings: checked once by the scanner, decoded only for who asks.
//!
//! **Invariant:** [`decode`] is called on literals that [`check`] has passed.
//!
//! Not here: finding where a string ends (`scan`).

use super::Problem;

/// The length of the escape that `bytes` begin with, backslash included.
///
/// # Errors
///
/// When it is no escape, or half of a surrogate pair.
pub fn check(bytes: &[u8]) -> Result<usize, Problem> {
    match bytes {
        [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Ok(2),
        [b'\\', b'u', rest @ ..] => match unit(rest)? {
            0xd800..0xdc00 => match rest.get(4..6) {
                Some([b'\\', b'u']) => match unit(rest.get(6..).unwrap_or_default())? {
                    0xdc00..0xe000 => Ok(12),
                    _ => Err(Problem::LoneSurrogate),
                },
                _ => Err(Problem::LoneSurrogate),
            },
            0xdc00..0xe000 => Err(Problem::LoneSurrogate),
            _ => Ok(6),
        },
        [b'\\'] => Err(Problem::Ended),
        _ => Err(Problem::Escape),
    }
}

/// The four hexadecimal digits at the start of `bytes`.
fn unit(bytes: &[u8]) -> Result<u32, Problem> {
    let digits = bytes.get(..4).ok_or(Problem::Ended)?;
    digits.iter().try_fold(0, |value, digit| {
        char::from(*digit).to_digit(16).map(|digit| value * 16 + digit).ok_or(Problem::Escape)
    })
}

/// The text of a literal without its quotes.
pub fn decode(literal: &str) -> String {
    let mut text = String::with_capacity(literal.len());
    let mut rest = literal;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = rest.split_at(at);
        text.push_str(plain);
        let length = check(escape.as_bytes()).unwrap_or(escape.len());
        let (escape, after) = escape.split_at(length);
        text.push(meaning(escape.as_bytes()));
        rest = after;
    }
    text.push_str(rest);
    text
}

fn meaning(escape: &[u8]) -> char {
    match escape {
        [b'\\', b'u', first @ ..] => {
            let value = unit(first).unwrap_or(0xfffd);
            let value = match first.get(6..) {
                Some(second) => {
                    let low = unit(second).unwrap_or(0xdc00);
                    0x10000 + ((value & 0x3ff) << 10) + (low & 0x3ff)
                }
                None => value,
            };
            char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        [b'\\', b'b'] => '\u{8}',
        [b'\\', b'f'] => '\u{c}',
        [b'\\', b'n'] => '\n',
        [b'\\', b'r'] => '\r',
        [b'\\', b't'] => '\t',
        [b'\\', other] => char::from(*other),
        _ => char::REPLACEMENT_CHARACTER,
    }
}
