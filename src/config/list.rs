//! Settings that are lists, of who may connect above all: names, origins, networks, aliases.
//!
//! A list is an array of strings in the file, and words between commas in a variable.
//!
//! **Invariant:** what a list holds is in the form in which it is compared, or refused.

use std::str::FromStr;

use super::value::{Raw, refuse};
use crate::{
    address::{Network, Scope},
    wire::model::Alias,
};

/// `loopback`, `private` or `any`, in any case.
pub fn scope(raw: &Raw) -> Result<Scope, String> {
    match raw.as_text().map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        Some("loopback") => Ok(Scope::Loopback),
        Some("private") => Ok(Scope::Private),
        Some("any") => Ok(Scope::Any),
        Some(_) | None => refuse("one of loopback, private and any", raw),
    }
}

/// Names or addresses without ports; an IPv6 address without brackets.
pub fn hosts(raw: &Raw) -> Result<Vec<String>, String> {
    each(raw, |item| {
        let bare = item.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(item);
        if let Ok(address) = bare.parse::<std::net::IpAddr>() {
            return Ok(address.to_canonical().to_string());
        }
        let name = item.strip_suffix('.').unwrap_or(item).to_ascii_lowercase();
        let is_letter =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_letter) {
            return Err(format!("`{item}` is no host name or IP address without a port"));
        }
        Ok(name)
    })
}

/// `scheme://host` with a port unless it is the usual one, and nothing else.
pub fn origins(raw: &Raw) -> Result<Vec<String>, String> {
    each(raw, |item| {
        let is_plain = |text: &str, also: &[u8]| {
            let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !text.is_empty() && text.bytes().all(|byte| is_letter(byte) || also.contains(&byte))
        };
        let usual = match item.split_once("://") {
            Some(("http", host)) => host.ends_with(":80"),
            Some(("https", host)) => host.ends_with(":443"),
            Some(_) => false,
            None => return Err(no_origin(item)),
        };
        match item.split_once("://") {
            Some((scheme, host))
                if is_plain(scheme, b"+-.") && is_plain(host, b"-._:[]") && !usual =>
            {
                Ok(item.to_owned())
            }
            Some(_) | None => Err(no_origin(item)),
        }
    })
}

fn no_origin(item: &str) -> String {
    format!(
        "`{item}` is no origin as browsers send it: lower case, such as https://app.example or \
         http://localhost:3000, without a path and without the usual port"
    )
}

/// Addresses alone or with the number of bits that count.
pub fn networks(raw: &Raw) -> Result<Vec<Network>, String> {
    each(raw, |item| Network::from_str(item).map_err(|error| format!("`{item}` {error}")))
}

/// Names of models for names of models.
pub fn aliases(raw: &Raw) -> Result<Vec<Alias>, String> {
    let aliases =
        each(raw, |item| Alias::from_str(item).map_err(|error| format!("`{item}` {error}")))?;
    let mut names: Vec<_> = aliases.iter().map(|alias| alias.name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("has two meanings for `{}`", pair[0])),
        None => Ok(aliases),
    }
}

/// Every item read; the first one that cannot be is told.
fn each<T>(raw: &Raw, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let items: Vec<&str> = match raw {
        Raw::List(items) => items.iter().map(|item| item.trim()).collect(),
        Raw::Word(word) => match word.to_str() {
            Some(text) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
            None => return refuse("words between commas", raw),
        },
        Raw::Text(_) | Raw::Whole(_) | Raw::Float(_) | Raw::Switch(_) | Raw::Other(_) => {
            return refuse("an array of strings", raw);
        }
    };
    let read: Result<_, _> = items.into_iter().map(read).collect();
    read.map_err(|wrong| format!("has an item that cannot be used: {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Raw {
        Raw::List(items.iter().map(|item| (*item).to_owned()).collect())
    }

    #[test]
    fn a_list_is_an_array_or_words_between_commas() {
        let expected = Ok(vec!["a.example".to_owned(), "10.0.0.1".to_owned()]);
        assert_eq!(hosts(&list(&["A.Example.", "10.0.0.1"])), expected);
        assert_eq!(hosts(&Raw::Word(" a.example , 10.0.0.1,".into())), expected);
        assert_eq!(hosts(&list(&[])), Ok(vec![]));
        assert_eq!(hosts(&Raw::Word("".into())), Ok(vec![]));
        for wrong in [Raw::Text("a".into()), Raw::Switch(true), Raw::Other("an array")] {
            let refused = hosts(&wrong).expect_err("no list");
            assert!(refused.starts_with("must be an array of strings"), "{refused}");
        }
    }

    #[test]
    fn a_host_has_no_port_and_no_star() {
        for (item, expected) in [
            ("relay.example", Some("relay.example")),
            ("MYHOST", Some("myhost")),
            ("[::1]", Some("::1")),
            ("fd00::7", Some("fd00::7")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("relay.example:80", None),
            ("http://relay.example", None),
            ("*.example", None),
            ("*", None),
            (".example", None),
            (".", None),
            ("a b", None),
            ("", None),
        ] {
            let read = hosts(&list(&[item])).ok().and_then(|mut items| items.pop());
            assert_eq!(read.as_deref(), expected, "{item}");
        }
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for (item, is_one) in [
            ("https://app.example", true),
            ("http://localhost:3000", true),
            ("http://[::1]:3000", true),
            ("chrome-extension://abcdefghijklmnop", true),
            ("app://obsidian.md", true),
            ("https://app.example/", false),
            ("https://app.example:443", false),
            ("http://app.example:80", false),
            ("https://App.example", false),
            ("https://*.example", false),
            ("https://", false),
            ("://app.example", false),
            ("app.example", false),
            ("null", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(origins(&list(&[item])).is_ok(), is_one, "{item}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let refused = networks(&list(&["10.0.0.0/8", "ten"])).expect_err("no network");
        assert_eq!(
            refused,
            "has an item that cannot be used: `ten` is no address and no network such as 10.0.0.0/8"
        );
        assert!(scope(&Raw::Word("ANY ".into())).is_ok());
        assert!(scope(&Raw::Word("public".into())).is_err());
    }
}
