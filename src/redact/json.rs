//! A copy of a JSON text that may be written down.
//!
//! Bodies of many megabytes pass here, most of them one long string, so there is no tree: the
//! text is checked once and then copied in runs, from one thing that must change to the next.
//! What changes is white space, which would end the line, whatever is not ASCII, and the values
//! under the names of secrets.
//!
//! Invariant: numbers, booleans and nulls stay under whatever name, as does all that has no
//! secret's name. Where everything else is removed, what is left is the text that was given.
//!
//! Not here: secrets that are known by value (`values`).

use memchr::memchr2;
use serde_json::value::RawValue;

use super::{REDACTED, is_secret_member, literal};

/// Deeper JSON is not copied: readers of the log stop at 128 levels, or crash.
const DEPTH: usize = 120;

/// The text is not JSON, or too deep for those who read the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no JSON that fits in a record")]
pub struct Unfit;

/// Appends `text` to `out`: on one line, in ASCII, and without secrets.
///
/// # Errors
///
/// When it is not one JSON value, or nested too deeply. `out` is then as it was.
pub fn copy(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    let raw: &RawValue = serde_json::from_slice(text).map_err(|_| Unfit)?;
    let before = out.len();
    let text = raw.get();
    let copied = Copy { text, is_ascii: text.is_ascii(), copied: 0, out }.run();
    if copied.is_err() {
        out.truncate(before);
    }
    copied
}

struct Copy<'a> {
    text: &'a str,
    is_ascii: bool,
    /// Everything before this is in `out`, in its new form.
    copied: usize,
    out: &'a mut Vec<u8>,
}

impl Copy<'_> {
    fn run(mut self) -> Result<(), Unfit> {
        let bytes = self.text.as_bytes();
        let (mut at, mut depth) = (0_usize, 0_usize);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => at = self.string(at),
                b' ' | b'\t' | b'\n' | b'\r' => {
                    self.take(at);
                    at = after_space(bytes, at);
                    self.copied = at;
                }
                b'{' | b'[' => {
                    depth += 1;
                    if depth > DEPTH {
                        return Err(Unfit);
                    }
                    at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    at += 1;
                }
                _ => at += 1,
            }
        }
        self.take(bytes.len());
        Ok(())
    }

    /// Handles the string that opens at `at`. Returns where to go on.
    fn string(&mut self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let end = after_string(bytes, at);
        if !self.is_ascii && !bytes[at..end].is_ascii() {
            self.take(at);
            self.take_unicode(end);
        }
        let colon = after_space(bytes, end);
        if bytes.get(colon) != Some(&b':') || !is_secret_name(&bytes[at..end]) {
            return end;
        }
        let value = after_space(bytes, colon + 1);
        if !matches!(bytes.get(value), Some(b'"' | b'{' | b'[')) {
            return end;
        }
        self.take(end);
        self.out.push(b':');
        literal::push(REDACTED, self.out);
        self.copied = after_value(bytes, value);
        self.copied
    }

    /// Copies what has not been copied before `end`, as it is.
    fn take(&mut self, end: usize) {
        self.out.extend_from_slice(&self.text.as_bytes()[self.copied..end]);
        self.copied = end;
    }

    /// The same for the inside of a string, where only what is not ASCII needs an escape.
    fn take_unicode(&mut self, end: usize) {
        let text = &self.text[self.copied..end];
        let mut plain = 0;
        for (at, character) in text.char_indices() {
            if !character.is_ascii() {
                self.out.extend_from_slice(&text.as_bytes()[plain..at]);
                literal::push_unicode(character, self.out);
                plain = at + character.len_utf8();
            }
        }
        self.out.extend_from_slice(&text.as_bytes()[plain..]);
        self.copied = end;
    }
}

/// Whether a string, quotes included, is the name of a secret, however it is spelled.
fn is_secret_name(literal: &[u8]) -> bool {
    if memchr::memchr(b'\\', literal).is_none() {
        return is_secret_member(&literal[1..literal.len() - 1]);
    }
    serde_json::from_slice::<String>(literal).is_ok_and(|name| is_secret_member(name.as_bytes()))
}

/// The offset after the string that opens at `at`.
fn after_string(bytes: &[u8], at: usize) -> usize {
    let mut from = at + 1;
    while let Some(found) = bytes.get(from..).and_then(quote_or_backslash) {
        if bytes[from + found] == b'"' {
            return from + found + 1;
        }
        from += found + 2;
    }
    bytes.len()
}

fn quote_or_backslash(rest: &[u8]) -> Option<usize> {
    // Names and most values are so short that setting up a fast search takes longer.
    const NEAR: usize = 16;
    let near = rest.len().min(NEAR);
    match rest[..near].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        Some(found) => Some(found),
        None => memchr2(b'"', b'\\', &rest[near..]).map(|found| near + found),
    }
}

/// The first offset from `at` on that holds no white space.
fn after_space(bytes: &[u8], at: usize) -> usize {
    let space = bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    at + space
}

/// The offset after the string, object or array that opens at `at`.
fn after_value(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests;
