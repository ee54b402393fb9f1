//! The owner's accounts as slots: what is known of each, and which serves the next request.
//!
//! A slot is one login. What the owner decided about it, what is left of its windows, how it has
//! fared lately and who is using it now stand side by side here, and a choice is a function of
//! them and the time. Nothing here waits, reads or writes.
//!
//! **Invariant:** time is an argument, as a [`Moment`].
//! **Invariant:** unknown usage is usable; only evidence excludes a slot, and every rest ends.
//!
//! Not here: logins (`auth`), sending and trying again (`relay`), the files (`roster`).

pub mod affinity;
pub mod health;
pub mod policy;
pub mod pool;
pub mod usage_text;
pub mod verdict;
#[cfg(any(test, feature = "internals"))]
pub mod week;
pub mod window;

use std::{cmp::Ordering, fmt, sync::Arc, time::Instant};

use jiff::Timestamp;

/// A moment on both clocks. The wall clock goes on while the machine sleeps and may be set; the
/// other does neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub wall: Timestamp,
    pub instant: Instant,
}

/// The name of a slot: `[a-z0-9-]{1,32}`, such as `slot-2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(Arc<str>);

/// A text that is no name of a slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name of a slot: those have 1 to 32 of the characters a-z, 0-9 and `-`; a number alone \
     and `default` mean slots that have other names"
)]
pub struct NoSlotId(pub String);

const MOST_CHARS: usize = 32;
/// What the first one is called in AIRelays 0.22.
const DEFAULT: &str = "default";

impl SlotId {
    /// The slot whose login is where a single one has always been.
    pub fn first() -> Self {
        Self("slot-1".into())
    }

    /// `slot-N`.
    pub fn numbered(number: u32) -> Self {
        Self(format!("slot-{number}").into())
    }

    /// # Errors
    ///
    /// When `text` is no such name.
    pub fn read(text: &str) -> Result<Self, NoSlotId> {
        let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_one = (1..=MOST_CHARS).contains(&text.len())
            && text.bytes().all(is_letter)
            && !text.starts_with('-')
            && text != DEFAULT
            && !text.bytes().all(|byte| byte.is_ascii_digit());
        if is_one { Ok(Self(text.into())) } else { Err(NoSlotId(text.to_owned())) }
    }

    /// A slot as people and clients write it: by its name, by its number alone, or `default` for the
    /// first.
    ///
    /// # Errors
    ///
    /// When `text` is none of these.
    pub fn meant(text: &str) -> Result<Self, NoSlotId> {
        if text == DEFAULT {
            return Ok(Self::first());
        }
        text.parse().map_or_else(|_| Self::read(text), |number| Ok(Self::numbered(number)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pieces by which names are ordered: digits by their value, the rest as it stands.
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut rest = self.as_str();
        std::iter::from_fn(move || {
            let is_digit = rest.bytes().next()?.is_ascii_digit();
            let end = rest.bytes().position(|byte| byte.is_ascii_digit() != is_digit);
            let (piece, left) = rest.split_at(end.unwrap_or(rest.len()));
            rest = left;
            let number = || piece.parse().ok().filter(|_| is_digit);
            Some(number().map_or(Piece::Text(piece), Piece::Number))
        })
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Piece<'a> {
    Number(u128),
    Text(&'a str),
}

impl Ord for SlotId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pieces().cmp(other.pieces()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SlotId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the owner decided about a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// What the owner calls it, an e-mail address most often.
    pub label: Option<String>,
    /// A slot that is not takes no part in anything.
    pub is_enabled: bool,
    /// A paused slot serves nobody; its usage is still looked at.
    pub is_paused: bool,
    /// Its share under `weighted`, 1 or more, in place of what is left of its windows.
    pub weight: Option<u32>,
    /// Slots of a smaller number are used up first.
    pub priority: i32,
    /// Percent of each window that are not to be used. `None` stands for the setting for all.
    pub reserve: Option<f64>,
    /// The models that it may serve; all, when there are none.
    pub models: Vec<String>,
    /// Serves only when no other can.
    pub is_last_resort: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            label: None,
            is_enabled: true,
            is_paused: false,
            weight: None,
            priority: 0,
            reserve: None,
            models: Vec::new(),
            is_last_resort: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_by_their_numbers() {
        let mut names: Vec<_> = ["slot-10", "slot-2", "b", "slot-1", "a-7", "slot-02", "10a", "9a"]
            .into_iter()
            .map(|name| SlotId::read(name).expect("a name"))
            .collect();
        names.sort();
        let names: Vec<_> = names.iter().map(SlotId::as_str).collect();
        assert_eq!(names, ["9a", "10a", "a-7", "b", "slot-1", "slot-02", "slot-2", "slot-10"]);
    }

    #[test]
    fn a_name_is_short_and_plain() {
        for (text, is_one) in [
            ("slot-1", true),
            ("a", true),
            (&"a".repeat(32), true),
            (&"a".repeat(33), false),
            ("", false),
            ("-a", false),
            ("Slot-1", false),
            ("slot_1", false),
            ("slot/../x", false),
            ("..", false),
            ("slöt", false),
            ("default", false),
            ("7", false),
            ("7a", true),
            ("a b", false),
        ] {
            assert_eq!(SlotId::read(text).is_ok(), is_one, "{text}");
        }
    }
}
