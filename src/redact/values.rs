//! Secrets that are known by value, wherever they turn up.
//!
//! A token can come back in a prompt, in a header of an unknown name, in an error text. What the
//! names do not catch is caught here, at the last moment before the bytes leave the program.
//!
//! Each source of secrets (the relay token, a slot) replaces its own. What it had before stays
//! hidden until the next time, since records that hold it may still be on their way.
//!
//! Invariant: a text in which no secret occurs is not touched.
//!
//! Not here: secrets that are known by name (`redact`).

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use memchr::{memchr_iter, memmem};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use super::{REDACTED, literal, shapes};
use crate::secret::Secret;

/// Shorter secrets are not looked for: they would be found in ordinary text.
const SHORTEST: usize = 12;

/// Knows the live secrets. Clones share them.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    sources: BTreeMap<String, Generations>,
    /// Made from `sources`, longest first so that a part does not spoil the whole.
    needles: Arc<[Needle]>,
}

#[derive(Default)]
struct Generations {
    current: Vec<Secret>,
    previous: Vec<Secret>,
}

/// The spellings of one secret.
struct Needle {
    plain: Zeroizing<String>,
    /// As they stand in a line of JSON: escaped once, and as often as JSON is put into JSON.
    escaped: Vec<Zeroizing<Vec<u8>>>,
}

impl Redactor {
    /// Knows no secrets yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `source` has these secrets, and not those it had before the last ones.
    pub fn replace(&self, source: &str, secrets: impl IntoIterator<Item = Secret>) {
        let mut known = self.0.write();
        let generations = known.sources.entry(source.to_owned()).or_default();
        generations.previous = std::mem::take(&mut generations.current);
        generations.current = secrets.into_iter().collect();
        let mut live: Vec<&Secret> = known.sources.values().flat_map(Generations::all).collect();
        live.sort_by(|a, b| {
            let order = b.expose().len().cmp(&a.expose().len());
            order.then_with(|| a.expose().cmp(b.expose()))
        });
        live.dedup_by(|a, b| a.expose() == b.expose());
        known.needles = live.into_iter().filter_map(Needle::new).collect();
    }

    /// [`replace`](Self::replace) with one secret, unless that is what `source` has already.
    ///
    /// Cheap while nothing changes, so whoever uses a secret can say so each time.
    pub fn know(&self, source: &str, secret: &Secret) {
        let is_known = |generations: &Generations| matches!(generations.current.as_slice(), [one] if one.matches(secret.expose().as_bytes()));
        if !self.0.read().sources.get(source).is_some_and(is_known) {
            self.replace(source, [secret.clone()]);
        }
    }

    /// `text` without the secrets. For messages; lines of the log go through
    /// [`lines`](Self::lines).
    #[cfg_attr(not(test), expect(dead_code, reason = "for messages on the terminal"))]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for needle in self.needles().iter() {
            if text.contains(needle.plain.as_str()) {
                text = Cow::Owned(text.replace(needle.plain.as_str(), REDACTED));
            }
        }
        text
    }

    /// Hides the secrets, and what looks like one, in lines of JSON, which stay lines of JSON, and as many.
    pub fn lines(&self, lines: &mut Vec<u8>) {
        for needle in self.needles().iter() {
            for escaped in &needle.escaped {
                hide(escaped, lines);
            }
        }
        shapes::lines(lines);
    }

    fn needles(&self) -> Arc<[Needle]> {
        Arc::clone(&self.0.read().needles)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(..)")
    }
}

impl Generations {
    fn all(&self) -> impl Iterator<Item = &Secret> {
        self.current.iter().chain(&self.previous)
    }
}

impl Needle {
    fn new(secret: &Secret) -> Option<Self> {
        let plain = secret.expose();
        if plain.len() < SHORTEST {
            return None;
        }
        let mut escaped = Vec::new();
        let mut texts = vec![Zeroizing::new(plain.to_owned()), Zeroizing::new(percent(plain))];
        // The line itself, a body in it that is text, and JSON in a string of that body.
        for _ in 0..3 {
            for text in &texts {
                escaped.push(Zeroizing::new(ascii(text).into_bytes()));
            }
            texts = texts
                .iter()
                .flat_map(|text| [ascii(text), utf8(text)])
                .map(Zeroizing::new)
                .collect();
            texts.dedup();
        }
        // Some writers of JSON escape the slash, and their spelling is kept.
        escaped.push(Zeroizing::new(ascii(plain).replace('/', "\\/").into_bytes()));
        escaped.sort_by(|a, b| a.as_slice().cmp(b));
        escaped.dedup();
        Some(Self { plain: Zeroizing::new(plain.to_owned()), escaped })
    }
}

/// `text` as the inside of a JSON string, as this program writes it.
fn ascii(text: &str) -> String {
    let mut out = Vec::new();
    literal::push_escaped(text, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// `text` as the inside of a JSON string, as most programs write it.
fn utf8(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
}

/// `text` as part of a query.
fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let each = |byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
    text.bytes().map(each).collect()
}

/// Replaces `needle` in every string of `lines`.
fn hide(needle: &[u8], lines: &mut Vec<u8>) {
    let finder = memmem::Finder::new(needle);
    let Some(first) = finder.find(lines) else { return };
    let mut out = Vec::with_capacity(lines.len());
    let mut reader = Reader { lines, seen: 0, string: None };
    let (mut copied, mut found) = (0, Some(first));
    while let Some(at) = found {
        let from = match reader.place(at) {
            Place::Text => {
                out.extend_from_slice(&lines[copied..at]);
                out.extend_from_slice(REDACTED.as_bytes());
                copied = at + needle.len();
                copied
            }
            Place::Escape => at + 1,
            // Between strings only a number can be a secret; the rest is the line's own form.
            Place::Outside if !needle.iter().copied().all(is_numeric) => at + 1,
            Place::Outside => {
                let (start, end) = token(lines, copied, at, at + needle.len());
                out.extend_from_slice(&lines[copied..start]);
                literal::push(REDACTED, &mut out);
                copied = end;
                end
            }
        };
        found = finder.find(&lines[from..]).map(|next| from + next);
    }
    out.extend_from_slice(&lines[copied..]);
    *lines = out;
}

/// Where in a line of JSON an offset is.
enum Place {
    /// Inside a string, where a character starts.
    Text,
    /// Inside a string, in the middle of an escape: what begins here is not what it looks like.
    Escape,
    /// In a number: a secret of digits only.
    Outside,
}

/// Knows strings from the rest, going forward. Used only once something was found.
struct Reader<'a> {
    lines: &'a [u8],
    /// How far it has read.
    seen: usize,
    /// Where the string began that is open at `seen`.
    string: Option<usize>,
}

impl Reader<'_> {
    /// What is at `at`, which is not before `seen`.
    fn place(&mut self, at: usize) -> Place {
        for quote in memchr_iter(b'"', &self.lines[self.seen..at]).map(|quote| self.seen + quote) {
            match self.string {
                None => self.string = Some(quote + 1),
                Some(start) if backslashes(&self.lines[start..quote]).is_multiple_of(2) => {
                    self.string = None;
                }
                Some(_) => {}
            }
        }
        self.seen = at;
        let Some(start) = self.string else { return Place::Outside };
        let text = &self.lines[start..at];
        // An escape is at most `\uXXXX`, so it began within the last five bytes or not at all.
        let within = (1..=text.len().min(5)).any(|back| {
            let (head, tail) = text.split_at(text.len() - back);
            let opens = tail[0] == b'\\' && backslashes(head).is_multiple_of(2);
            opens && (back == 1 || tail[1] == b'u')
        });
        if within { Place::Escape } else { Place::Text }
    }
}

/// How many backslashes `bytes` ends with.
fn backslashes(bytes: &[u8]) -> usize {
    bytes.iter().rev().take_while(|byte| **byte == b'\\').count()
}

/// The whole number of which `from..to` is a part.
fn token(lines: &[u8], floor: usize, from: usize, to: usize) -> (usize, usize) {
    let before = lines[floor..from].iter().rev().take_while(|byte| is_numeric(**byte)).count();
    let after = lines[to..].iter().take_while(|byte| is_numeric(**byte)).count();
    (from - before, to + after)
}

fn is_numeric(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

#[cfg(test)]
mod tests;
