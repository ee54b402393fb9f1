//! What the owner pastes: the address that the browser ended at, or the code alone.
//!
//! Whoever can type here is the owner, so that a code may come without its state. A state that
//! comes is compared all the same: it shows an address of another login.

use super::{callback::Brought, form, sign_in::Denial};
use crate::secret::Secret;

/// Shorter lines are slips of the hand.
const LEAST_CODE: usize = 8;

/// What a line comes to.
#[derive(Debug)]
pub enum Pasted {
    Nothing,
    Brought(Brought),
    Unusable(&'static str),
}

/// Reads `line`, in which spaces around and quotes are no matter.
pub fn read(line: &str, state: &Secret) -> Pasted {
    let line = line.trim().trim_matches(['"', '\'', '<', '>']).trim();
    if line.is_empty() {
        return Pasted::Nothing;
    }
    let brings = |name: &str| line.contains(name);
    let query = if brings("code=") || brings("error=") {
        Some(line.split_once('?').map_or(line, |(_, query)| query))
    } else if brings("://") {
        return Pasted::Unusable("that address brings no code");
    } else {
        None
    };
    match query {
        Some(query) => read_query(query, state),
        None => read_code(line),
    }
}

fn read_query(query: &str, state: &Secret) -> Pasted {
    let query = query.split('#').next().unwrap_or_default();
    let fields = form::decode(query);
    let field =
        |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    if field("state").is_some_and(|given| !state.matches(given.as_bytes())) {
        return Pasted::Unusable("that address belongs to another login");
    }
    match (field("code"), field("error")) {
        (_, Some(error)) if !error.is_empty() => {
            let description = field("error_description").unwrap_or_default();
            Pasted::Brought(Err(Denial::new(error, description)))
        }
        (Some(code), _) if !code.is_empty() => Pasted::Brought(Ok(Secret::new(code))),
        (_, _) => Pasted::Unusable("that address brings no code"),
    }
}

fn read_code(line: &str) -> Pasted {
    let is_code = line.len() >= LEAST_CODE && line.bytes().all(|byte| byte.is_ascii_graphic());
    if is_code {
        Pasted::Brought(Ok(Secret::new(line)))
    } else {
        Pasted::Unusable("that is neither the address that the browser ended at nor a code")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(line: &str) -> String {
        match read(line, &Secret::new("STATE")) {
            Pasted::Nothing => "nothing".to_owned(),
            Pasted::Brought(Ok(code)) => format!("code {}", code.expose()),
            Pasted::Brought(Err(denial)) => format!("denied {denial}"),
            Pasted::Unusable(why) => why.to_owned(),
        }
    }

    #[test]
    fn addresses_and_codes_are_told_apart() {
        let back = "http://localhost:1455/auth/callback";
        for (line, expected) in [
            ("", "nothing"),
            (" \t\r\n", "nothing"),
            (&format!("{back}?code=ac_12&state=STATE"), "code ac_12"),
            (&format!("  '{back}?state=STATE&code=a%2Bb#x' "), "code a+b"),
            (&format!("<{back}?code=ac_12>"), "code ac_12"),
            ("localhost:1455/auth/callback?code=ac_12&state=STATE", "code ac_12"),
            ("?code=ac_12&state=STATE", "code ac_12"),
            ("code=ac_12&state=STATE", "code ac_12"),
            ("ac_1234567", "code ac_1234567"),
            ("ac_12345=", "code ac_12345="),
            (&format!("{back}?code=ac_12&state=other"), "that address belongs to another login"),
            (&format!("{back}?code=ac_12&state="), "that address belongs to another login"),
            (&format!("{back}?code=&state=STATE"), "that address brings no code"),
            (&format!("{back}?state=STATE"), "that address brings no code"),
            (back, "that address brings no code"),
            (
                &format!("{back}?error=access_denied&error_description=no+way&state=STATE"),
                "denied access_denied (no way)",
            ),
            (
                &format!("{back}?error=access_denied&state=other"),
                "that address belongs to another login",
            ),
            ("y", "that is neither the address that the browser ended at nor a code"),
            ("what is this?", "that is neither the address that the browser ended at nor a code"),
            (
                "c\u{f6}de-c\u{f6}de",
                "that is neither the address that the browser ended at nor a code",
            ),
        ] {
            assert_eq!(says(line), expected, "{line}");
        }
    }
}
