//! From what a source says to the type of a setting, and back to the text of a file.
//!
//! Variables and flags are words, whose type shows only when a setting reads them; the file has
//! types of its own, and a number in quotes is not a number there. Each reader takes both and
//! refuses with the rest of a sentence that starts with the name of the setting: `must be ..`.
//!
//! **Invariant:** no reader has a fallback: what it does not understand it refuses.
//!
//! Not here: which setting is read how (`config::table`), addresses of hosts (`config::host`).

use std::{
    ffi::OsString,
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    address::{Network, Scope},
    auth::vault::Storage,
    slot::policy::Policy,
    wire::{model::Alias, reply::chat::Reasoning},
};

/// What one source says about one setting.
#[derive(Clone)]
pub enum Raw {
    /// A variable or a flag: text whose type is still open.
    Word(OsString),
    /// A string of the file.
    Text(String),
    Whole(i128),
    Float(f64),
    Switch(bool),
    /// An array of strings.
    List(Vec<String>),
    /// Nothing that a setting could be, by its name: `an array`.
    Other(&'static str),
}

/// Nothing of it: it may be a secret.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raw(..)")
    }
}

impl Raw {
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Word(word) => word.to_str(),
            Self::Text(text) => Some(text),
            Self::Whole(_) | Self::Float(_) | Self::Switch(_) | Self::List(_) | Self::Other(_) => {
                None
            }
        }
    }

    /// The word of a variable or flag, trimmed; `None` when the type is settled already.
    fn as_word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => word.to_str().map(str::trim),
            Self::Text(_)
            | Self::Whole(_)
            | Self::Float(_)
            | Self::Switch(_)
            | Self::List(_)
            | Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => quote(&word.to_string_lossy(), f),
            Self::Text(text) => {
                f.write_str("the text ")?;
                quote(text, f)
            }
            Self::Whole(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Switch(on) => write!(f, "{on}"),
            Self::List(_) => f.write_str("an array"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// Enough to recognize it, not a screenful.
fn quote(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    let rest = if text.chars().nth(60).is_some() { ".." } else { "" };
    write!(f, "`{shown}{rest}`")
}

pub fn refuse<T>(wanted: impl fmt::Display, raw: &Raw) -> Result<T, String> {
    Err(format!("must be {wanted}, but is {raw}"))
}

/// A whole number within `range`.
pub fn whole<T>(raw: &Raw, range: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<i128> + Copy + PartialOrd + fmt::Display,
{
    let number = match raw {
        Raw::Whole(number) => Some(*number),
        Raw::Word(_) => raw.as_word().and_then(|word| word.parse().ok()),
        Raw::Text(_) | Raw::Float(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => None,
    };
    match number.and_then(|number| T::try_from(number).ok()) {
        Some(number) if range.contains(&number) => Ok(number),
        Some(_) | None => {
            let wanted = format!("a whole number from {} to {}", range.start(), range.end());
            refuse(wanted, raw)
        }
    }
}

fn number(raw: &Raw) -> Option<f64> {
    match raw {
        Raw::Float(number) => Some(*number),
        Raw::Whole(number) => number.to_string().parse().ok(),
        Raw::Word(_) => raw.as_word().and_then(|word| word.parse().ok()),
        Raw::Text(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => None,
    }
}

/// A time in seconds within `range`, with or without a fraction.
pub fn seconds(raw: &Raw, range: RangeInclusive<f64>) -> Result<Duration, String> {
    let number = number(raw).filter(|number| range.contains(number));
    if let Some(Ok(time)) = number.map(Duration::try_from_secs_f64) {
        return Ok(time);
    }
    refuse(format!("a number of seconds from {} to {}", range.start(), range.end()), raw)
}

/// `true` or `false`; as a word also 1, yes, on and 0, no, off, in any case.
pub fn switch(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Switch(on) => Ok(*on),
        Raw::Word(_) => match raw.as_word().map(str::to_ascii_lowercase).as_deref() {
            Some("1" | "true" | "yes" | "on") => Ok(true),
            Some("0" | "false" | "no" | "off") => Ok(false),
            Some(_) | None => refuse("one of 1, true, yes, on, 0, false, no and off", raw),
        },
        Raw::Text(_) | Raw::Whole(_) | Raw::Float(_) | Raw::List(_) | Raw::Other(_) => {
            refuse("true or false", raw)
        }
    }
}

/// Text of visible ASCII characters, as it is needed in requests to the upstream.
pub fn name(raw: &Raw) -> Result<String, String> {
    match raw.as_text().map(str::trim) {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(text.to_owned())
        }
        Some(_) | None => refuse("one word of visible ASCII characters", raw),
    }
}

/// A path. `~` and `~/..` are taken to be below `home`; relative paths stay relative.
pub fn path(raw: &Raw, home: Option<&Path>) -> Result<PathBuf, String> {
    let written = match raw {
        Raw::Word(word) => PathBuf::from(word),
        Raw::Text(text) => PathBuf::from(text),
        Raw::Whole(_) | Raw::Float(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => {
            return refuse("a path in quotes", raw);
        }
    };
    if written.as_os_str().is_empty() {
        return Err("must be a path, but is empty".to_owned());
    }
    if let Ok(below) = written.strip_prefix("~") {
        return match home {
            Some(home) if below.as_os_str().is_empty() => Ok(home.to_owned()),
            Some(home) => Ok(home.join(below)),
            None => Err("needs `~`, but HOME is not set".to_owned()),
        };
    }
    if written.as_os_str().as_encoded_bytes().starts_with(b"~") {
        return refuse("written without the `~` of another user", raw);
    }
    Ok(written)
}

/// A path, or none when it is empty.
pub fn optional_path(raw: &Raw, home: Option<&Path>) -> Result<Option<PathBuf>, String> {
    match raw.as_text() {
        Some("") => Ok(None),
        Some(_) | None => path(raw, home).map(Some),
    }
}

/// `auto`, `file` or `keyring`, in any case.
pub fn storage(raw: &Raw) -> Result<Storage, String> {
    match raw.as_text().map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        Some("auto") => Ok(Storage::Auto),
        Some("file") => Ok(Storage::File),
        Some("keyring") => Ok(Storage::Keyring),
        Some(_) | None => refuse("one of auto, file and keyring", raw),
    }
}

/// The name of a policy, however it is written.
pub fn policy(raw: &Raw) -> Result<Policy, String> {
    let policy = raw.as_text().and_then(|text| text.parse().ok());
    policy.map_or_else(|| refuse(format!("one of {}", Policy::names()), raw), Ok)
}

/// A number from 0 to 100.
pub fn percent(raw: &Raw) -> Result<f64, String> {
    match number(raw).filter(|number| (0.0..=100.0).contains(number)) {
        Some(number) => Ok(number),
        None => refuse("a number from 0 to 100", raw),
    }
}

/// One of the places where a chat client can see thoughts.
pub fn reasoning(raw: &Raw) -> Result<Reasoning, String> {
    match raw.as_text().and_then(Reasoning::named) {
        Some(reasoning) => Ok(reasoning),
        None => refuse("one of reasoning_content, reasoning, think and hidden", raw),
    }
}

/// How a value is written in a file so that reading it gives the same value.
///
/// The text is TOML and, by the choice of its escapes, JSON as well.
pub trait Literal {
    /// `None` when no file can hold it: a path that is not UTF-8.
    fn literal(&self) -> Option<String>;
}

macro_rules! literal_as_displayed {
    ($($kind:ty),*) => {$(
        impl Literal for $kind {
            fn literal(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

literal_as_displayed!(bool, u16, u32, u64, f64);

impl Literal for Duration {
    fn literal(&self) -> Option<String> {
        Some(self.as_secs_f64().to_string())
    }
}

impl Literal for Policy {
    fn literal(&self) -> Option<String> {
        self.as_str().literal()
    }
}

impl Literal for Reasoning {
    fn literal(&self) -> Option<String> {
        self.as_str().literal()
    }
}

impl Literal for Scope {
    fn literal(&self) -> Option<String> {
        self.as_str().literal()
    }
}

impl Literal for Network {
    fn literal(&self) -> Option<String> {
        self.to_string().literal()
    }
}

impl Literal for Alias {
    fn literal(&self) -> Option<String> {
        self.to_string().literal()
    }
}

impl Literal for Option<PathBuf> {
    fn literal(&self) -> Option<String> {
        self.as_ref().map_or_else(|| "".literal(), Literal::literal)
    }
}

impl<T: Literal> Literal for Vec<T> {
    fn literal(&self) -> Option<String> {
        let items: Option<Vec<_>> = self.iter().map(Literal::literal).collect();
        Some(format!("[{}]", items?.join(", ")))
    }
}

impl Literal for Storage {
    fn literal(&self) -> Option<String> {
        self.as_str().literal()
    }
}

impl Literal for PathBuf {
    fn literal(&self) -> Option<String> {
        self.to_str().and_then(Literal::literal)
    }
}

impl Literal for String {
    fn literal(&self) -> Option<String> {
        self.as_str().literal()
    }
}

impl Literal for str {
    fn literal(&self) -> Option<String> {
        let mut out = String::from("\"");
        for c in self.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => out.extend(escaped(c)),
                c => out.push(c),
            }
        }
        out.push('"');
        Some(out)
    }
}

/// A control character in the one way that TOML and JSON share.
fn escaped(c: char) -> impl Iterator<Item = char> {
    format!("\\u{:04x}", u32::from(c)).chars().collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Raw {
        Raw::Word(text.into())
    }

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn words_have_an_open_type_and_the_file_has_not() {
        assert_eq!(whole::<u16>(&word(" 80 "), 0..=65535), Ok(80));
        assert_eq!(whole::<u16>(&Raw::Whole(80), 0..=65535), Ok(80));
        for (raw, shown) in [
            (text("80"), "the text `80`"),
            (word("abc"), "`abc`"),
            (word("-5"), "`-5`"),
            (word("99999"), "`99999`"),
            (Raw::Whole(1 << 90), "1237940039285380274899124224"),
            (Raw::Float(80.0), "80.0"),
            (Raw::Switch(true), "true"),
            (Raw::Other("an array"), "an array"),
        ] {
            assert_eq!(
                whole::<u16>(&raw, 0..=65535),
                Err(format!("must be a whole number from 0 to 65535, but is {shown}"))
            );
        }
        let long = "9".repeat(5000);
        let refused = whole::<u64>(&word(&long), 1..=9).expect_err("too large");
        assert!(refused.len() < 200, "{refused}");
    }

    #[test]
    fn switches_know_eight_words_and_no_default() {
        for on in ["1", "true", "YES", " On "] {
            assert_eq!(switch(&word(on)), Ok(true));
        }
        for off in ["0", "False", "no", "OFF"] {
            assert_eq!(switch(&word(off)), Ok(false));
        }
        assert_eq!(switch(&Raw::Switch(true)), Ok(true));
        for wrong in [word("ture"), word("2"), text("true"), Raw::Whole(1)] {
            assert!(switch(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_may_have_a_fraction_and_must_be_finite() {
        let half = Ok(Duration::from_millis(500));
        assert_eq!(seconds(&word("0.5"), 0.0..=9.0), half);
        assert_eq!(seconds(&Raw::Float(0.5), 0.0..=9.0), half);
        assert_eq!(seconds(&Raw::Whole(9), 0.0..=9.0), Ok(Duration::from_secs(9)));
        for wrong in ["nan", "inf", "-1", "10", "", "9s"] {
            assert!(seconds(&word(wrong), 0.0..=9.0).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tilde_is_the_home_directory_or_a_problem() {
        let home = Some(Path::new("/home/me"));
        for (written, expected) in [
            ("~", Some("/home/me")),
            ("~/a b", Some("/home/me/a b")),
            ("/x/~/y", Some("/x/~/y")),
            ("rel/ative", Some("rel/ative")),
            ("~you/x", None),
            ("", None),
        ] {
            assert_eq!(path(&word(written), home).ok(), expected.map(PathBuf::from), "{written}");
            assert_eq!(path(&text(written), home).ok(), expected.map(PathBuf::from), "{written}");
        }
        assert!(path(&word("~/x"), None).is_err());
        assert!(path(&Raw::Whole(3), home).is_err());
    }

    #[test]
    fn a_literal_is_toml_and_json_for_the_same_text() {
        let odd = "quote \" backslash \\ tab \t line \n bell \u{7} delete \u{7f} é 🙂 #";
        let literal = odd.literal().expect("text");
        let json: String = serde_json::from_str(&literal).expect("JSON");
        let toml: toml::Table = format!("x = {literal}").parse().expect("TOML");
        assert_eq!(json, odd);
        assert_eq!(toml["x"].as_str(), Some(odd));
        assert_eq!(Duration::from_millis(1500).literal().as_deref(), Some("1.5"));
        assert_eq!(Duration::from_mins(2).literal().as_deref(), Some("120"));
    }
}
