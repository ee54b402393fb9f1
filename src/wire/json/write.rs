//! JSON written field by field.
//!
//! Commas and brackets are these types' business; values are either copied as they stand in
//! another text or written here.
//!
//! **Invariant:** what is between `open` and `close` is valid JSON if the values written are.

/// An object under construction.
#[derive(Debug)]
#[must_use = "an object has to be closed"]
pub struct Object<'w> {
    out: &'w mut Vec<u8>,
    empty: bool,
}

impl<'w> Object<'w> {
    pub fn open(out: &'w mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Begins a field; its value has to be written to what is returned.
    pub fn field(&mut self, name: &str) -> &mut Vec<u8> {
        self.comma();
        string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Like [`field`](Self::field) with the name as a literal, quotes included.
    pub fn raw_field(&mut self, name: &[u8]) -> &mut Vec<u8> {
        self.comma();
        self.out.extend_from_slice(name);
        self.out.push(b':');
        self.out
    }

    pub fn raw(&mut self, name: &str, value: &[u8]) {
        self.field(name).extend_from_slice(value);
    }

    pub fn text(&mut self, name: &str, value: &str) {
        string(self.field(name), value);
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.raw(name, if value { b"true" } else { b"false" });
    }

    pub fn close(self) {
        self.out.push(b'}');
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
    }
}

/// An array under construction.
#[derive(Debug)]
#[must_use = "an array has to be closed"]
pub struct Array<'w> {
    out: &'w mut Vec<u8>,
    n_items: usize,
}

impl<'w> Array<'w> {
    pub fn open(out: &'w mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, n_items: 0 }
    }

    /// Begins an item; it has to be written to what is returned.
    pub fn item(&mut self) -> &mut Vec<u8> {
        if self.n_items > 0 {
            self.out.push(b',');
        }
        self.n_items += 1;
        self.out
    }

    /// How many items were begun.
    pub fn len(&self) -> usize {
        self.n_items
    }

    pub fn close(self) {
        self.out.push(b']');
    }
}

/// Appends `text` as a string literal.
pub fn string(out: &mut Vec<u8>, text: &str) {
    // Writing a `str` into a `Vec` has no way to fail.
    let _ = serde_json::to_writer(out, text);
}
