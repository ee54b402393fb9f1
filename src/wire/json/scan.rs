//! The one pass over a JSON text that checks it and notes where its values are.
//!
//! **Invariant:** every range noted starts and ends next to ASCII, so slicing the text never
//! splits a character.
//!
//! Not here: UTF-8 (checked before, as a whole, by the standard library).

use memchr::memchr2;

use super::{JsonError, Kind, MAX_DEPTH, Node, Problem, escape, index, shorten};

/// Up to this many keys are compared in pairs; beyond it they are sorted.
const FEW_KEYS: usize = 8;

/// How much of a string is searched for control characters at a time. The loop inside has no
/// exit, which is what lets the compiler use vector instructions.
const STRIDE: usize = 4096;

/// The values of `text`, in its order.
pub fn scan(text: &str) -> Result<Vec<Node>, JsonError> {
    if u32::try_from(text.len()).is_err() {
        return Err(JsonError { problem: Problem::TooLong, at: 0 });
    }
    let mut scanner =
        Scanner { bytes: text.as_bytes(), at: 0, nodes: Vec::new(), open: Vec::new() };
    match scanner.run() {
        Ok(()) => Ok(scanner.nodes),
        Err(problem) => Err(JsonError { problem, at: scanner.at }),
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// The arrays and objects that are not closed yet, outermost first.
    open: Vec<usize>,
}

impl Scanner<'_> {
    fn run(&mut self) -> Result<(), Problem> {
        loop {
            self.value()?;
            if self.open.is_empty() {
                break;
            }
        }
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Problem::Trailing),
        }
    }

    /// Reads a scalar with all the brackets closed after it, or opens a bracket.
    fn value(&mut self) -> Result<(), Problem> {
        match self.peek().ok_or(Problem::Ended)? {
            b'{' => {
                self.open(Kind::Object)?;
                if self.peek() != Some(b'}') {
                    return self.key();
                }
            }
            b'[' => {
                self.open(Kind::Array)?;
                if self.peek() != Some(b']') {
                    return Ok(());
                }
            }
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.word(b"true", Kind::Bool)?,
            b'f' => self.word(b"false", Kind::Bool)?,
            b'n' => self.word(b"null", Kind::Null)?,
            _ => return Err(Problem::Unexpected),
        }
        self.after_value()
    }

    /// Closes what is closed here, until another value is due or everything is closed.
    fn after_value(&mut self) -> Result<(), Problem> {
        while let Some(&top) = self.open.last() {
            let object = self.nodes.get(top).is_some_and(|node| node.kind == Kind::Object);
            match (self.peek().ok_or(Problem::Ended)?, object) {
                (b',', true) => {
                    self.at += 1;
                    return self.key();
                }
                (b',', false) => {
                    self.at += 1;
                    return Ok(());
                }
                (b'}', true) => self.unique(top)?,
                (b']', false) => {}
                _ => return Err(Problem::Unexpected),
            }
            self.at += 1;
            self.open.pop();
            let (end, next) = (place(self.at), place(self.nodes.len()));
            if let Some(node) = self.nodes.get_mut(top) {
                (node.end, node.next) = (end, next);
            }
        }
        Ok(())
    }

    fn open(&mut self, kind: Kind) -> Result<(), Problem> {
        if self.open.len() == MAX_DEPTH {
            return Err(Problem::Depth);
        }
        self.open.push(self.nodes.len());
        self.at += 1;
        self.push(kind, false, self.at - 1);
        Ok(())
    }

    fn key(&mut self) -> Result<(), Problem> {
        match self.peek().ok_or(Problem::Ended)? {
            b'"' => self.string()?,
            _ => return Err(Problem::Unexpected),
        }
        match self.peek().ok_or(Problem::Ended)? {
            b':' => self.at += 1,
            _ => return Err(Problem::Unexpected),
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Problem> {
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let found = memchr2(b'"', b'\\', rest).ok_or(Problem::Ended)?;
            self.at += found;
            let here = rest.get(found..).unwrap_or_default();
            if here.first() == Some(&b'"') {
                break;
            }
            escaped = true;
            self.at += escape::check(here)?;
        }
        let inner = self.bytes.get(start + 1..self.at).unwrap_or_default();
        let least = |part: &[u8]| part.iter().fold(u8::MAX, |least, byte| least.min(*byte));
        if inner.chunks(STRIDE).any(|part| least(part) < b' ') {
            return Err(Problem::Control);
        }
        self.at += 1;
        self.push(Kind::String, escaped, start);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Problem> {
        let start = self.at;
        self.at += usize::from(self.here() == Some(b'-'));
        match self.here() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        let mut plain = true;
        if self.here() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.here() {
            plain = false;
            self.at += 1;
            self.at += usize::from(matches!(self.here(), Some(b'+' | b'-')));
            self.digits()?;
        }
        // Without an exponent, fewer than 309 digits always fit into a double.
        if !plain || self.at - start > 308 {
            let text = std::str::from_utf8(self.bytes.get(start..self.at).unwrap_or_default());
            let value = text.ok().and_then(|text| text.parse::<f64>().ok());
            if !value.is_some_and(f64::is_finite) {
                return Err(Problem::Range);
            }
        }
        self.push(Kind::Number, false, start);
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), Problem> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 if rest.is_empty() => Err(Problem::Ended),
            0 => Err(Problem::Unexpected),
            digits => {
                self.at += digits;
                Ok(())
            }
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<(), Problem> {
        let start = self.at;
        if self.bytes.get(start..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
        } else {
            return Err(Problem::Unexpected);
        }
        self.push(kind, false, start);
        Ok(())
    }

    /// Refuses an object, all of whose fields are read, if two of them have one name.
    fn unique(&self, object: usize) -> Result<(), Problem> {
        let mut keys = Vec::new();
        let mut at = object + 1;
        while let Some(key) = self.nodes.get(at) {
            keys.push(*key);
            at = self.nodes.get(at + 1).map_or(usize::MAX, |value| index(value.next));
        }
        let twice = if keys.len() <= FEW_KEYS {
            let mut seen = keys.iter().enumerate();
            seen.find(|(i, key)| keys.iter().take(*i).any(|other| self.same(key, other)))
                .map(|(_, key)| self.text(key).into_owned())
        } else {
            let mut names: Vec<_> = keys.iter().map(|key| self.text(key)).collect();
            names.sort_unstable();

            names.windows(2).find_map(|pair| match pair {
                [one, other] if one == other => Some(one.to_string()),
                _ => None,
            })
        };
        match twice {
            Some(key) => Err(Problem::DuplicateKey(shorten(&key).into_owned())),
            None => Ok(()),
        }
    }

    fn same(&self, one: &Node, other: &Node) -> bool {
        if one.escaped || other.escaped {
            self.text(one) == self.text(other)
        } else {
            self.inner(one) == self.inner(other)
        }
    }

    fn text(&self, key: &Node) -> std::borrow::Cow<'_, str> {
        let inner = std::str::from_utf8(self.inner(key)).unwrap_or_default();
        if key.escaped { escape::decode(inner).into() } else { inner.into() }
    }

    fn inner(&self, string: &Node) -> &[u8] {
        let inside = index(string.start) + 1..index(string.end).saturating_sub(1);
        self.bytes.get(inside).unwrap_or_default()
    }

    /// Notes a value from `start` to here. Brackets get their end when they are closed.
    fn push(&mut self, kind: Kind, escaped: bool, start: usize) {
        let next = place(self.nodes.len() + 1);
        let (start, end) = (place(start), place(self.at));
        self.nodes.push(Node { kind, escaped, start, end, next });
    }

    fn here(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.here() {
            self.at += 1;
        }
        self.here()
    }
}

/// Texts are no longer than `u32::MAX`, and have no more values than bytes.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
