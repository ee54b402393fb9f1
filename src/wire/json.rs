//! A JSON text as a flat index over its own bytes.
//!
//! A request body is read once, most of it goes upstream as it came, and a part of it may be a
//! picture of many megabytes. So nothing is copied into a tree: [`Doc::parse`] checks the text and
//! notes where each value begins and ends, and a [`Value`] is a place in that list. What needs no
//! change is copied with [`Value::raw`].
//!
//! **Invariant:** a `Doc` exists only for a text that any JSON reader understands alike: strict
//! grammar, UTF-8, no lone surrogates, no duplicate keys, no number beyond a double.
//! **Invariant:** nothing here recurses; the depth of a text costs memory, never the stack.
//!
//! Not here: what a field should be (`wire::read`), refusals (`wire::reject`).

mod escape;
mod scan;
#[cfg(test)]
mod tests;
pub mod write;

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

/// How deep arrays and objects may be nested in each other.
pub const MAX_DEPTH: usize = 128;

/// The longest part of a key that is repeated in a message or a path, in characters.
const QUOTED_KEY: usize = 64;

/// A checked JSON text and the places of its values.
#[derive(Debug)]
pub struct Doc<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

/// One value, or one key of an object, which stands right before its value.
#[derive(Clone, Copy, Debug)]
struct Node {
    kind: Kind,
    /// Whether a string has escapes and must be decoded before it is compared.
    escaped: bool,
    start: u32,
    end: u32,
    /// The node after this one and everything inside it.
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// Why a text is refused, and where: an offset in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct JsonError {
    pub problem: Problem,
    pub at: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("invalid UTF-8")]
    NotUtf8,
    #[error("unexpected end")]
    Ended,
    #[error("unexpected character")]
    Unexpected,
    #[error("a second value")]
    Trailing,
    #[error("control character inside a string")]
    Control,
    #[error("invalid escape")]
    Escape,
    #[error("half of a surrogate pair")]
    LoneSurrogate,
    #[error("number out of range")]
    Range,
    #[error("nesting deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("duplicate key '{0}'")]
    DuplicateKey(String),
    #[error("a text too long to index")]
    TooLong,
}

impl<'a> Doc<'a> {
    /// Checks and indexes `body`. An empty body reads as `{}`.
    ///
    /// # Errors
    ///
    /// When the text is not JSON, is ambiguous, or is nested deeper than [`MAX_DEPTH`].
    pub fn parse(body: &'a [u8]) -> Result<Self, JsonError> {
        let text = match std::str::from_utf8(body) {
            Ok("") => "{}",
            Ok(text) => text,
            Err(error) => {
                return Err(JsonError { problem: Problem::NotUtf8, at: error.valid_up_to() });
            }
        };
        scan::scan(text).map(|nodes| Self { text, nodes })
    }

    pub fn root(&self) -> Value<'_> {
        Value { doc: self, at: 0 }
    }

    /// A node that cannot be missing for the places this module hands out.
    fn node(&self, at: u32) -> Node {
        const NOTHING: Node =
            Node { kind: Kind::Null, escaped: false, start: 0, end: 0, next: u32::MAX };
        self.nodes.get(index(at)).copied().unwrap_or(NOTHING)
    }

    fn slice(&self, start: u32, end: u32) -> &str {
        self.text.get(index(start)..index(end)).unwrap_or_default()
    }
}

/// One value of a [`Doc`].
#[derive(Clone, Copy)]
pub struct Value<'a> {
    doc: &'a Doc<'a>,
    at: u32,
}

/// One field of an object. `key` is a string.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub key: Value<'a>,
    pub value: Value<'a>,
}

impl<'a> Entry<'a> {
    pub fn name(&self) -> Cow<'a, str> {
        self.key.as_str().unwrap_or_default()
    }
}

impl<'a> Value<'a> {
    pub fn kind(self) -> Kind {
        self.node().kind
    }

    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// The field called `key`, if this is an object and has one.
    pub fn get(self, key: &str) -> Option<Self> {
        self.entries().find(|entry| entry.key.is(key)).map(|entry| entry.value)
    }

    /// The field called `key`, unless it is `null`: most fields treat the two alike.
    pub fn given(self, key: &str) -> Option<Self> {
        self.get(key).filter(|value| !value.is_null())
    }

    /// The fields in the order of the text; none if this is not an object.
    pub fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        let mut inside = self.inside(Kind::Object);
        std::iter::from_fn(move || Some(Entry { key: inside.next()?, value: inside.next()? }))
    }

    /// The items in the order of the text; none if this is not an array.
    pub fn items(self) -> impl Iterator<Item = Self> {
        self.inside(Kind::Array)
    }

    /// The text of a string, decoded.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let node = self.node();
        let literal = self.inner()?;
        Some(if node.escaped {
            Cow::Owned(escape::decode(literal))
        } else {
            Cow::Borrowed(literal)
        })
    }

    /// What stands between the quotes of a string, escapes and all. Two of these put together
    /// are again the inside of a valid string.
    pub fn inner(self) -> Option<&'a str> {
        let node = self.node();
        (node.kind == Kind::String).then(|| self.doc.slice(node.start + 1, node.end - 1))
    }

    /// Whether this is the string `text`.
    pub fn is(self, text: &str) -> bool {
        match self.node() {
            Node { kind: Kind::String, escaped: false, .. } => self.inner() == Some(text),
            _ => self.as_str().is_some_and(|own| own == text),
        }
    }

    pub fn as_bool(self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw() == b"true")
    }

    /// An integer that fits. `1.0` and `1e3` are not integers here, as they are not for the
    /// programs that check types.
    pub fn as_i64(self) -> Option<i64> {
        (self.kind() == Kind::Number).then(|| self.text().parse().ok()).flatten()
    }

    /// The value exactly as it stands in the text.
    pub fn raw(self) -> &'a [u8] {
        self.text().as_bytes()
    }

    /// Where this value stands among all values of its text: later values have higher places.
    pub fn place(self) -> u32 {
        self.at
    }

    /// The way from the root, such as `messages[3].content[0].image_url`; empty for the root.
    pub fn path(self) -> String {
        let mut path = String::new();
        let mut at = Value { doc: self.doc, at: 0 };
        while at.at != self.at {
            let Some(step) = at.towards(self, &mut path) else { break };
            at = step;
        }
        path
    }

    /// The child of this value that is or holds `target`; its name goes to `path`.
    fn towards(self, target: Self, path: &mut String) -> Option<Self> {
        let holds = |child: Self| (child.at..child.node().next).contains(&target.at);
        if let Some((i, child)) = self.items().enumerate().find(|(_, child)| holds(*child)) {
            let _ = write!(path, "[{i}]");
            return Some(child);
        }
        let entry = self.entries().find(|entry| entry.key.at == target.at || holds(entry.value))?;
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&shorten(&entry.name()));
        Some(if entry.key.at == target.at { entry.key } else { entry.value })
    }

    fn inside(self, kind: Kind) -> Siblings<'a> {
        let node = self.node();
        let end = if node.kind == kind { node.next } else { 0 };
        Siblings { doc: self.doc, at: self.at + 1, end }
    }

    fn node(self) -> Node {
        self.doc.node(self.at)
    }

    fn text(self) -> &'a str {
        let node = self.node();
        self.doc.slice(node.start, node.end)
    }
}

impl fmt::Debug for Value<'_> {
    /// The kind and the place only: a value may be private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.kind(), self.node().start)
    }
}

/// Values that follow each other inside one array or object, keys included.
#[derive(Debug)]
struct Siblings<'a> {
    doc: &'a Doc<'a>,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Siblings<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let at = self.at;
        (at < self.end).then(|| {
            self.at = self.doc.node(at).next;
            Value { doc: self.doc, at }
        })
    }
}

/// `text`, or its beginning: names of fields come from strangers and end up in messages.
pub fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(QUOTED_KEY) {
        Some((cut, _)) => Cow::Owned(format!("{}...", text.get(..cut).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
