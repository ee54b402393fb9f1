//! Whose account it is: what an answer says about that, and how it is taken out.
//!
//! The upstream puts the owner's user id into every response object, and now and then an id or an
//! address into a sentence. Neither is any business of the programs that use the relay.
//!
//! **Invariant:** what names nobody stays byte for byte.

use std::borrow::Cow;

use crate::object::{self, Object};

/// Members of a response object that say whose it is. None of them can be a client's own: the
/// relay sends no `user` and no `safety_identifier`.
const MEMBERS: &[&str] = &[
    "safety_identifier",
    "user",
    "user_id",
    "chatgpt_user_id",
    "account_id",
    "chatgpt_account_id",
    "email",
];

/// How ids of people, organizations and projects begin, and how long the rest of one is at least.
const IDS: &[&str] = &["user-", "org-", "proj_"];
const REST: usize = 12;

/// The response object `raw` without its owner, or `None` when it names none.
pub fn without_owner(raw: &[u8]) -> Option<Vec<u8>> {
    let object = Object::read(raw)?;
    let named: Vec<_> = MEMBERS.iter().copied().filter(|name| object.raw(name).is_some()).collect();
    let mut out: Option<Vec<u8>> = None;
    for name in named {
        out = Some(object::with(out.as_deref().unwrap_or(raw), name, b"null")?);
    }
    out
}

/// `text`, a sentence or the literal of one, with ids and addresses masked.
pub fn masked(text: &str) -> Cow<'_, str> {
    let ends_word =
        |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+'));
    if !text.split(ends_word).any(|word| names_somebody(word.trim_end_matches('.'))) {
        return Cow::Borrowed(text);
    }
    let piece = |piece: &str| {
        let word = piece.trim_end_matches(|c| c == '.' || ends_word(c));
        if names_somebody(word) {
            format!("[redacted]{}", &piece[word.len()..])
        } else {
            piece.to_owned()
        }
    };
    Cow::Owned(text.split_inclusive(ends_word).map(piece).collect())
}

fn names_somebody(word: &str) -> bool {
    let is_id = IDS
        .iter()
        .filter_map(|head| word.strip_prefix(head))
        .any(|rest| rest.len() >= REST && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let is_address = word.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && host.split_once('.').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
    });
    is_id || is_address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_taken_out_and_nothing_else() {
        let check = |raw: &str| {
            without_owner(raw.as_bytes()).map(|out| String::from_utf8(out).expect("UTF-8"))
        };
        assert_eq!(check(r#"{"id":"r","user":null,"safety_identifier":null}"#), None);
        assert_eq!(
            check(r#"{"tools":[{"user":"x","email":"a@b.c"}],"instructions":"\"user\":\"x\""}"#),
            None
        );
        assert_eq!(
            check(r#"{"a":1.0,"safety_identifier":"user-1","user":{"x":1},"b":[]}"#).as_deref(),
            Some(r#"{"a":1.0,"safety_identifier":null,"user":null,"b":[]}"#)
        );
        assert_eq!(check("[]"), None);
    }

    #[test]
    fn a_sentence_names_nobody() {
        for (text, expected) in [
            (
                "for m in organization org-AbC123def456GHI on tokens.",
                "for m in organization [redacted] on tokens.",
            ),
            ("user-AbC123def456GHI.", "[redacted]."),
            ("\"Ask me.you+x@mail.example.com!\"", "\"Ask [redacted]!\""),
            (
                "a user-defined function, user-friendly org-wide",
                "a user-defined function, user-friendly org-wide",
            ),
            ("try again in 1.2s @ noon, a@b", "try again in 1.2s @ noon, a@b"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
