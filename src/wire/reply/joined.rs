//! String literals put together, without decoding any of them.

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
}
