//! Queries, forms and addresses without their secrets.
//!
//! Everything but the values that must go stays byte for byte, so that a record shows what was
//! sent and not what it meant.
//!
//! Invariant: a text without secret parameters is returned as it was.
//!
//! Not here: which names are secret (`redact`).

use std::borrow::Cow;

use super::{REDACTED, is_secret_parameter};

/// A query string without its question mark.
pub fn query(text: &str) -> Cow<'_, str> {
    if !text.split('&').any(is_secret_pair) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for (n, pair) in text.split('&').enumerate() {
        if n > 0 {
            out.push('&');
        }
        match pair.split_once('=') {
            Some((name, _)) if is_secret_pair(pair) => {
                out.push_str(name);
                out.push('=');
                out.push_str(REDACTED);
            }
            Some(_) | None => out.push_str(pair),
        }
    }
    Cow::Owned(out)
}

/// A body of the type `application/x-www-form-urlencoded`.
pub fn form(text: &str) -> Cow<'_, str> {
    query(text)
}

/// An absolute or relative address: its query, its fragment, and what stands before the host.
pub fn url(text: &str) -> Cow<'_, str> {
    let (rest, fragment) = cut(text, '#');
    let (place, parameters) = cut(rest, '?');
    let login = login(place);
    let parts = [parameters.map(query), fragment.map(query)];
    if login.is_none() && parts.iter().flatten().all(|part| matches!(part, Cow::Borrowed(_))) {
        return Cow::Borrowed(text);
    }
    let mut out = match login {
        Some((scheme, host)) => format!("{scheme}{REDACTED}{host}"),
        None => place.to_owned(),
    };
    for (mark, part) in ['?', '#'].into_iter().zip(parts) {
        if let Some(part) = part {
            out.push(mark);
            out.push_str(&part);
        }
    }
    Cow::Owned(out)
}

/// What stands before and after the user and password of an address, if it has them.
fn login(place: &str) -> Option<(&str, &str)> {
    let authority = place.find("://")? + "://".len();
    let end = place[authority..].find('/').map_or(place.len(), |slash| authority + slash);
    let at = authority + place[authority..end].rfind('@')?;
    Some((&place[..authority], &place[at..]))
}

fn cut(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn is_secret_pair(pair: &str) -> bool {
    let Some((name, value)) = pair.split_once('=') else { return false };
    !value.is_empty() && is_secret_parameter(&decoded(name))
}

/// `name` without its percent escapes. Those that are none stay.
fn decoded(name: &str) -> Cow<'_, [u8]> {
    let bytes = name.as_bytes();
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| name.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_parameters_lose_their_values() {
        for (text, expected) in [
            ("", ""),
            ("limit=1&order=2&&c", "limit=1&order=2&&c"),
            ("token=abc", "token=[REDACTED]"),
            ("limit=1&KEY=x=y&after=%20", "limit=1&KEY=[REDACTED]&after=%20"),
            ("session=1&sig=2&whatever=3", "session=[REDACTED]&sig=[REDACTED]&whatever=[REDACTED]"),
            ("api_key=x&access_token=y", "api_key=[REDACTED]&access_token=[REDACTED]"),
            ("code=c&state=s&scope=a+b", "code=[REDACTED]&state=[REDACTED]&scope=a+b"),
            ("to%6ben=x", "to%6ben=[REDACTED]"),
            ("%zz=x&%=y&token%=z", "%zz=[REDACTED]&%=[REDACTED]&token%=[REDACTED]"),
            ("token=&token", "token=&token"),
            ("max_tokens=5&client_version=1", "max_tokens=[REDACTED]&client_version=1"),
        ] {
            assert_eq!(query(text), expected);
            assert_eq!(query(&query(text)), expected, "again");
        }
    }

    #[test]
    fn addresses_lose_their_secrets_and_nothing_else() {
        for (text, expected) in [
            ("https://h/p?limit=1#f", "https://h/p?limit=1#f"),
            ("/v1/models?token=x", "/v1/models?token=[REDACTED]"),
            ("http://u:p@h:1/p@q?key=x", "http://[REDACTED]@h:1/p@q?key=[REDACTED]"),
            ("http://h/#access_token=x", "http://h/#access_token=[REDACTED]"),
            ("http://h/a@b", "http://h/a@b"),
            ("http://u@h", "http://[REDACTED]@h"),
        ] {
            assert_eq!(url(text), expected);
        }
    }
}
