//! The upstream request body under construction: top-level fields, one after another.
//!
//! It remembers where each field begins, so that a field that the upstream turns out to refuse is
//! cut out of the finished bytes instead of translating the request again.
//!
//! **Invariant:** the bytes are an object whose fields are exactly those listed, in this order.
//! **Invariant:** only names of the allow-list are ever written.

use std::{cmp::Ordering, fmt, ops::Range};

use bytes::Bytes;

use crate::wire::json::{Doc, write};

/// Fields without which there is no request.
const NEEDED: &[&str] = &["model", "instructions", "input", "store", "stream"];

/// A body under construction.
pub struct Writer {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

/// A finished body. Clones share its bytes.
#[derive(Clone)]
pub struct Body {
    bytes: Bytes,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: &'static str,
    /// The offset of the name's opening quote.
    start: usize,
}

impl Writer {
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(b'{');
        Self { bytes, fields: Vec::with_capacity(16) }
    }

    /// Begins the field `name`; its value has to be written to what is returned.
    pub fn field(&mut self, name: &'static str) -> &mut Vec<u8> {
        if !self.fields.is_empty() {
            self.bytes.push(b',');
        }
        self.fields.push(Field { name, start: self.bytes.len() });
        write::string(&mut self.bytes, name);
        self.bytes.push(b':');
        &mut self.bytes
    }

    pub fn raw(&mut self, name: &'static str, value: &[u8]) {
        self.field(name).extend_from_slice(value);
    }

    pub fn close(mut self) -> Body {
        self.bytes.push(b'}');
        Body { bytes: self.bytes.into(), fields: self.fields }
    }
}

impl Body {
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The fields of this body that are among `names`, as a body.
    pub fn only(&self, names: &[&str]) -> Bytes {
        let mut writer = Writer::with_capacity(self.bytes.len());
        for field in self.fields.iter().filter(|field| names.contains(&field.name)) {
            writer.raw(field.name, self.value(field.name).unwrap_or(b"null"));
        }
        writer.close().bytes
    }

    /// The value of the field `name`.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.bytes.get(self.range(self.position(name)?)?)
    }

    /// This body with `value` in place of the value of `name`. `None` if there is no such field.
    pub fn with(&self, name: &str, value: &[u8]) -> Option<Self> {
        let at = self.position(name)?;
        let range = self.range(at)?;
        let moved = |start: usize| start + value.len() - range.len();
        Some(self.spliced(range.clone(), value, |i, field| {
            let start = if i > at { moved(field.start) } else { field.start };
            Some(Field { start, ..field })
        }))
    }

    /// This body with the field `name` after all others. It must not have one.
    pub fn and(&self, name: &'static str, value: &[u8]) -> Self {
        let mut fields = self.fields.clone();
        let mut bytes = self.bytes.to_vec();
        bytes.pop();
        let mut writer = Writer { bytes, fields: std::mem::take(&mut fields) };
        writer.raw(name, value);
        writer.close()
    }

    /// This body without the parameter `path`: a field, or a field of one such as
    /// `reasoning.summary`. `None` if there is no such parameter or no request without it.
    pub fn without(&self, path: &str) -> Option<Self> {
        let (name, inner) = match path.split_once('.') {
            Some((name, inner)) => (name, Some(inner)),
            None => (path, None),
        };
        if NEEDED.contains(&name) {
            return None;
        }
        let Some(inner) = inner else { return self.cut(name) };
        let doc = Doc::parse(self.value(name)?).ok()?;
        doc.root().get(inner)?;
        let mut value = Vec::new();
        let mut object = write::Object::open(&mut value);
        for entry in doc.root().entries().filter(|entry| !entry.key.is(inner)) {
            object.raw_field(entry.key.raw()).extend_from_slice(entry.value.raw());
        }
        object.close();
        if value == b"{}" { self.cut(name) } else { self.with(name, &value) }
    }

    fn cut(&self, name: &str) -> Option<Self> {
        let at = self.position(name)?;
        let start = self.fields.get(at)?.start;
        let range = match self.fields.get(at + 1) {
            Some(next) => start..next.start,
            // The comma before it goes, the bracket after it stays. Needed fields come first.
            None => start - 1..self.bytes.len() - 1,
        };
        let length = range.len();
        Some(self.spliced(range, b"", |i, field| match i.cmp(&at) {
            Ordering::Less => Some(field),
            Ordering::Equal => None,
            Ordering::Greater => Some(Field { start: field.start - length, ..field }),
        }))
    }

    /// This body with `range` replaced, and its fields as `place` says.
    fn spliced(
        &self,
        range: Range<usize>,
        by: &[u8],
        place: impl Fn(usize, Field) -> Option<Field>,
    ) -> Self {
        let before = self.bytes.get(..range.start).unwrap_or_default();
        let after = self.bytes.get(range.end..).unwrap_or_default();
        let fields = self.fields.iter().enumerate().filter_map(|(i, field)| place(i, *field));
        Self { bytes: [before, by, after].concat().into(), fields: fields.collect() }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Where the value of a field is.
    fn range(&self, at: usize) -> Option<Range<usize>> {
        let field = self.fields.get(at)?;
        // Names of the allow-list need no escapes: two quotes and a colon.
        let start = field.start + field.name.len() + 3;
        let end = self.fields.get(at + 1).map_or(self.bytes.len(), |next| next.start) - 1;
        Some(start..end)
    }
}

impl fmt::Debug for Body {
    /// The names only: what is in them is private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fields.iter().map(|field| field.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Body {
        let mut body = Writer::with_capacity(0);
        body.raw("model", b"\"m\"");
        body.raw("reasoning", br#"{"effort":"low","summary":"auto"}"#);
        body.raw("store", b"false");
        body.raw("max_output_tokens", b"16");
        body.close()
    }

    fn check(body: Option<Body>, expected: &str) {
        let text = body.map_or_else(String::new, |body| {
            let values: Vec<_> = body.fields.iter().map(|field| body.value(field.name)).collect();
            assert!(values.iter().all(|value| Doc::parse(value.unwrap_or(b"?")).is_ok()));
            String::from_utf8_lossy(&body.bytes).into_owned()
        });
        assert_eq!(text, expected);
    }

    #[test]
    fn a_parameter_is_cut_out_of_the_bytes() {
        let reasoning = r#""reasoning":{"effort":"low","summary":"auto"},"#;
        let start = r#"{"model":"m","#;
        check(body().without("max_output_tokens"), &format!("{start}{reasoning}\"store\":false}}"));
        check(
            body().without("reasoning"),
            &format!("{start}\"store\":false,\"max_output_tokens\":16}}"),
        );
        check(
            body().without("reasoning.summary"),
            r#"{"model":"m","reasoning":{"effort":"low"},"store":false,"max_output_tokens":16}"#,
        );
        let without =
            body().without("reasoning.summary").and_then(|body| body.without("reasoning.effort"));
        check(without, &format!("{start}\"store\":false,\"max_output_tokens\":16}}"));
    }

    #[test]
    fn what_is_needed_or_absent_cannot_be_cut() {
        for path in
            ["model", "store", "text", "reasoning.context", "model.x", "max_output_tokens.x", ""]
        {
            assert!(body().without(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_value_can_be_replaced() {
        assert!(body().with("text", b"{}").is_none());
        let body = body().with("model", b"\"another\"").expect("there");
        check(
            body.without("reasoning"),
            r#"{"model":"another","store":false,"max_output_tokens":16}"#,
        );
    }
}
