//! What is remembered between turns: items as their client meant them, and what it keeps with them.

use super::{Draft, Options, items};
use crate::wire::{
    json::{
        Doc, Value,
        write::{self, Array, Object},
    },
    reject::Reject,
};

/// How many pairs metadata have, and how long they may be, in characters.
const MAX_PAIRS: usize = 16;
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 512;

/// Items that a client adds to a conversation, as they are kept, and what of them is left out. They
/// may be one or a list of them, or a text.
///
/// # Errors
///
/// When one is none.
pub fn kept_items(
    input: Value<'_>,
    options: &Options<'_>,
) -> Result<(Vec<String>, Vec<String>), Reject> {
    let mut draft = Draft::new(options);
    let mut written = Vec::new();
    items::write_input(&mut written, input, &mut draft)?;
    let doc = Doc::parse(&written)?;
    let text = |item: Value<'_>| String::from_utf8_lossy(item.raw()).into_owned();
    Ok((doc.root().items().map(text).collect(), draft.notes.finish()))
}

/// Ids of local files in a list of kept items.
pub fn file_ids(items: Value<'_>) -> Vec<String> {
    let mut ids = Vec::new();
    for item in items.items() {
        for list in ["content", "output"] {
            let parts = item.get(list).into_iter().flat_map(Value::items);
            ids.extend(parts.filter_map(|part| part.get("file_id")?.as_str()));
        }
    }
    ids.into_iter().map(std::borrow::Cow::into_owned).collect()
}

/// Metadata as the platform has them: up to sixteen pairs of short texts.
///
/// # Errors
///
/// When they are anything else.
pub fn metadata(given: Value<'_>) -> Result<String, Reject> {
    let mut written = Vec::new();
    let mut object = Object::open(&mut written);
    let invalid = |why: String| Err(Reject::invalid(given, why));
    if given.object()?.entries().count() > MAX_PAIRS {
        return invalid(format!("Invalid 'metadata': too many pairs, at most {MAX_PAIRS}."));
    }
    for entry in given.entries() {
        let name = entry.name();
        if name.chars().count() > MAX_KEY {
            return invalid(format!(
                "Invalid 'metadata': a key is longer than {MAX_KEY} characters."
            ));
        }
        let value = entry.value.string()?;
        if value.chars().count() > MAX_VALUE {
            return invalid(format!(
                "Invalid 'metadata': a value is longer than {MAX_VALUE} characters."
            ));
        }
        write::string(object.field(&name), &value);
    }
    object.close();
    Ok(String::from_utf8_lossy(&written).into_owned())
}

/// A list of `items`, each a JSON object.
pub fn list<'i>(items: impl IntoIterator<Item = &'i str>) -> Vec<u8> {
    let mut written = Vec::new();
    let mut array = Array::open(&mut written);
    for item in items {
        array.item().extend_from_slice(item.as_bytes());
    }
    array.close();
    written
}
