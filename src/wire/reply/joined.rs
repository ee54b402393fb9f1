//! String literals put together, without decoding any of them.

use std::borrow::Cow;

#[derive(Clone, Debug, Default)]
pub struct Joined(Vec<u8>);

impl Joined {
    /// Adds a JSON string, quotes included.
    pub fn push(&mut self, literal: &str) {
        let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or("");
        self.0.extend_from_slice(inner.as_bytes());
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the whole is what this literal says, in the same spelling.
    pub fn is(&self, literal: &str) -> bool {
        literal.get(1..literal.len().saturating_sub(1)).is_some_and(|it| it.as_bytes() == self.0)
    }

    /// How many bytes there are, escapes as they are written.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends the whole as one literal.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(&self.0);
        out.push(b'"');
    }

    /// Likewise, and `null` for nothing.
    pub fn write_or_null(&self, out: &mut Vec<u8>) {
        if self.is_empty() { out.extend_from_slice(b"null") } else { self.write(out) }
    }

    /// The whole as one literal.
    pub fn literal(&self) -> Vec<u8> {
        let mut literal = Vec::with_capacity(self.0.len() + 2);
        self.write(&mut literal);
        literal
    }

    /// What of the text of `whole` comes after this, as a literal; both are measured decoded.
    pub fn rest_of<'w>(&self, whole: &'w str) -> Option<Cow<'w, str>> {
        if self.is(whole) {
            return None;
        }
        if self.is_empty() {
            return Some(Cow::Borrowed(whole));
        }
        let told = self.literal();
        let told = str::from_utf8(&told).map_or(0, super::decoded_len);
        super::remainder(whole, told).map(Cow::Owned)
    }
}
