//! JSON trees: how this floor writes and reads them.
//!
//! The imitation works on [`Value`] because it must be able to say anything, also what no type
//! would allow. It shares neither types nor readers with the relay, so that a mistake of one side
//! cannot be hidden by the same mistake of the other.

use serde_json::{Map, Value};

/// An object from its fields, in the order in which they are written.
macro_rules! object {
    ($($key:literal : $value:expr),* $(,)?) => {
        serde_json::Value::Object(serde_json::Map::from_iter([
            $((String::from($key), serde_json::Value::from($value))),*
        ]))
    };
}

/// An array of whatever becomes a value.
macro_rules! list {
    ($($value:expr),* $(,)?) => {
        serde_json::Value::Array(vec![$(serde_json::Value::from($value)),*])
    };
}

pub(super) use {list, object};

/// The text of a field, or nothing when it is missing or no text.
pub(super) fn text<'a>(tree: &'a Value, key: &str) -> &'a str {
    tree.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of a field, or none when it is missing or no array.
pub(super) fn elements<'a>(tree: &'a Value, key: &str) -> &'a [Value] {
    tree.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether a field is there and not null.
pub(super) fn given(tree: &Value, key: &str) -> bool {
    tree.get(key).is_some_and(|value| !value.is_null())
}

/// Sets a field of an object; anything else stays as it is.
pub(super) fn put(tree: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = tree.as_object_mut() {
        map.insert(key.to_owned(), value.into());
    }
}

/// The fields of `tree` when it is an object, otherwise none.
pub(super) fn fields(tree: &Value) -> impl Iterator<Item = (&String, &Value)> {
    tree.as_object().into_iter().flat_map(Map::iter)
}

/// How many, as JSON and this program count.
pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// A size that arrived as a number.
pub(super) fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// `'a', 'b', and 'c'`: how the upstream lists what it would have taken.
pub(super) fn quoted_list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [rest @ .., last] => format!("{}, and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_the_order_of_their_fields() {
        let tree = object! {"type": "x", "a": 1, "list": list![true, Value::Null]};
        assert_eq!(tree.to_string(), r#"{"type":"x","a":1,"list":[true,null]}"#);
    }

    #[test]
    fn lists_read_as_the_upstream_writes_them() {
        assert_eq!(quoted_list(&["a"]), "'a'");
        assert_eq!(quoted_list(&["a", "b"]), "'a' and 'b'");
        assert_eq!(quoted_list(&["a", "b", "c"]), "'a', 'b', and 'c'");
    }
}
