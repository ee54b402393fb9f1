//! Names of tools that the upstream takes, and the way back.
//!
//! Clients name tools as they like, with dots, colons and at any length; the upstream takes 64
//! letters, digits, `_` and `-`. A name is changed only if it must be, and always in the same way,
//! so that the next turn of a dialogue repeats it and the upstream's cache still fits.
//!
//! **Invariant:** within one request no two names of the client become one name upstream.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use sha2::{Digest, Sha256};

use crate::id::hex;

const MAX_NAME: usize = 64;
/// Hexadecimal digits of the digest that tell changed names apart.
const DIGEST: usize = 8;

/// The names of the tools in one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolNames {
    /// Every name that goes upstream, and whose it is.
    owners: BTreeMap<String, String>,
    /// The client's names that had to be changed.
    changed: HashMap<String, String>,
}

impl ToolNames {
    /// What the upstream is to call the client's tool `name`.
    pub fn upstream<'n>(&mut self, name: &'n str) -> Cow<'n, str> {
        if let Some(changed) = self.changed.get(name) {
            return Cow::Owned(changed.clone());
        }
        if fits(name) {
            match self.owners.get(name) {
                Some(owner) if owner == name => return Cow::Borrowed(name),
                Some(_) => {}
                None => {
                    self.owners.insert(name.to_owned(), name.to_owned());
                    return Cow::Borrowed(name);
                }
            }
        }
        Cow::Owned(self.change(name))
    }

    /// What the client calls the tool that is `name` upstream.
    pub fn client<'n>(&'n self, name: &'n str) -> &'n str {
        self.owners.get(name).map_or(name, String::as_str)
    }

    /// Whether no name had to be changed, so that there is nothing to change back.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    fn change(&mut self, name: &str) -> String {
        let mut clean = name.replace(|letter| !allowed(letter), "_");
        clean.truncate(MAX_NAME - DIGEST - 1);
        let mut digest = Sha256::digest(name.as_bytes());
        loop {
            let mut digits = hex(&digest);
            digits.truncate(DIGEST);
            let changed = format!("{clean}_{digits}");
            if !self.owners.contains_key(&changed) {
                self.owners.insert(changed.clone(), name.to_owned());
                self.changed.insert(name.to_owned(), changed.clone());
                return changed;
            }
            digest = Sha256::digest(digest);
        }
    }
}

fn fits(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(allowed)
}

fn allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_stays() {
        let mut names = ToolNames::default();
        assert_eq!(names.upstream("get_weather-2"), "get_weather-2");
        assert_eq!(names.upstream(&"x".repeat(64)), "x".repeat(64));
        assert!(names.is_empty());
        assert_eq!(names.client("get_weather-2"), "get_weather-2");
        assert_eq!(names.client("never seen"), "never seen");
    }

    #[test]
    fn a_name_that_does_not_fit_comes_back() {
        for name in ["mcp.server:tool", &"x".repeat(65), "größe", "a b", "\u{1f600}"] {
            let mut names = ToolNames::default();
            let changed = names.upstream(name).into_owned();
            assert!(fits(&changed), "{changed}");
            assert_eq!(names.client(&changed), name);
            assert_eq!(names.upstream(name), changed);
            assert_eq!(ToolNames::default().upstream(name), changed, "the same in every request");
            assert!(!names.is_empty());
        }
    }

    #[test]
    fn names_never_meet() {
        let dotted = ToolNames::default().upstream("a.b").into_owned();
        for order in [["a.b", &dotted], [&dotted, "a.b"]] {
            let mut names = ToolNames::default();
            let changed = order.map(|name| names.upstream(name).into_owned());
            assert_ne!(changed[0], changed[1]);
            assert_eq!([names.client(&changed[0]), names.client(&changed[1])], order);
        }
        let mut names = ToolNames::default();
        assert_ne!(names.upstream("a.b"), names.upstream("a:b"));
        assert_ne!(names.upstream(&"y".repeat(65)), names.upstream(&"y".repeat(66)));
    }
}
