//! A JSON object whose shape is someone else's.
//!
//! Stored logins, token payloads, error bodies and catalogue entries come from programs that
//! change without notice. Each field is therefore read on its own: one that is missing or of an
//! unexpected type is absent, and the others stay readable.
//!
//! **Invariant:** nothing here fails for a part that nobody asked for, however odd it is.
//! **Invariant:** the order of the fields and the text of unread values are as they came.
//!
//! Not here: shapes that are ours to refuse; those are types that derive `Deserialize`.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The fields of one object, their values unread. Of several with one name the last counts.
pub struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    /// `None` when `json` is no object, or no JSON at all.
    pub fn read(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Every field in its order, repeated ones included.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The value of `name` as written. `null` counts as absent, here and below.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rev().find(|(known, _)| known == name)?;
        (value.get() != "null").then_some(value)
    }

    /// A string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.parsed(name)
    }

    /// A string that says something.
    pub fn filled(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.trim().is_empty())
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        self.parsed(name)
    }

    /// A number, its fraction cut off. In quotes is fine, too.
    pub fn integer(&self, name: &str) -> Option<i64> {
        let digits = self.raw(name)?.get().trim_matches('"');
        if digits.contains(['e', 'E']) {
            return None;
        }
        digits.split('.').next()?.parse().ok()
    }

    pub fn object(&self, name: &str) -> Option<Self> {
        Self::read(self.raw(name)?.get().as_bytes())
    }

    /// The elements of an array, unread.
    pub fn list(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        self.parsed(name)
    }

    /// Appends the object with `value`, a JSON value, as its member `name`, which is added when
    /// missing.
    pub fn write_with(&self, name: &str, value: &[u8], out: &mut Vec<u8>) {
        let mut separator = b'{';
        let mut member = |key: &str, raw: &[u8]| {
            out.push(separator);
            separator = b',';
            // A string into memory: neither half can fail.
            let _ = serde_json::to_writer(&mut *out, key);
            out.push(b':');
            out.extend_from_slice(raw);
        };
        let mut found = false;
        for (key, raw) in self.fields() {
            let is_it = key == name;
            found |= is_it;
            member(key, if is_it { value } else { raw.get().as_bytes() });
        }
        if !found {
            member(name, value);
        }
        out.push(b'}');
    }

    fn parsed<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }
}

/// The object `json` with `value`, a JSON value, as its member `name`. `None` when it is none.
pub fn with(json: &[u8], name: &str, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len() + name.len() + value.len());
    Object::read(json)?.write_with(name, value, &mut out);
    Some(out)
}

/// Names only: the values may be secrets.
impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read_on_its_own() {
        let json =
            br#"{"a":"x","b":1.9,"c":"7","d":null,"e":{"f":true},"g":[1,"2"],"h":1e3,"i":" "}"#;
        let object = Object::read(json).expect("an object");
        let names = ["a", "b", "c", "d", "e", "g", "h", "i", "missing"];
        let texts = names.map(|name| object.text(name));
        let only = |indices: &[(usize, &str)]| {
            let mut expected = [const { None }; 9];
            for (index, text) in indices {
                expected[*index] = Some((*text).to_owned());
            }
            expected
        };
        assert_eq!(texts, only(&[(0, "x"), (2, "7"), (7, " ")]));
        assert_eq!(names.map(|name| object.filled(name)), only(&[(0, "x"), (2, "7")]));
        let integers = names.map(|name| object.integer(name));
        assert_eq!(integers, [None, Some(1), Some(7), None, None, None, None, None, None]);
        assert!(object.object("e").expect("nested").flag("f").expect("flag"));
        assert_eq!(object.list("g").expect("list").len(), 2);
        assert!(object.object("g").is_none());
    }

    #[test]
    fn a_member_is_set_in_its_place_or_at_the_end() {
        let set = |json: &str, name| with(json.as_bytes(), name, b"[2]");
        for (json, name, expected) in [
            ("{}", "a", r#"{"a":[2]}"#),
            (r#"{"a":1,"b":"x"}"#, "a", r#"{"a":[2],"b":"x"}"#),
            (r#"{"a":1}"#, "\"", r#"{"a":1,"\"":[2]}"#),
        ] {
            assert_eq!(set(json, name).as_deref(), Some(expected.as_bytes()));
        }
        assert_eq!(set("[]", "a"), None);
    }

    #[test]
    fn what_is_no_object_is_nothing() {
        for odd in ["", "[]", "null", "1", "\"x\"", "{", "{\"a\":}", "\u{feff}{}"] {
            assert!(Object::read(odd.as_bytes()).is_none(), "{odd}");
        }
        assert!(Object::read(b"\xff").is_none());
    }

    #[test]
    fn depth_and_repetition_do_no_harm() {
        let deep = format!(r#"{{"a":{}{},"a":"last"}}"#, "[".repeat(99_999), "]".repeat(99_999));
        let object = Object::read(deep.as_bytes()).expect("an object");
        assert_eq!(object.text("a").as_deref(), Some("last"));
        assert_eq!(object.fields().count(), 2);
    }

    #[test]
    fn debug_shows_names_only() {
        let object = Object::read(br#"{"refresh_token":"T0P"}"#).expect("an object");
        assert_eq!(format!("{object:?}"), r#"{"refresh_token"}"#);
    }
}
