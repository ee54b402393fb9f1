//! What a translation left out, for the client to be told.
//!
//! **Invariant:** whatever is dropped and could have meant something is noted here. What is not:
//! `null`, values that say what happens anyway, and ids of items that nothing is stored under.
//!
//! Not here: what is refused (`wire::reject`).

use crate::wire::json::Value;

/// How many paths are told. A path is found by walking, so a hostile request must not be able to
/// ask for a million of them.
const MAX_PATHS: usize = 100;

/// Fields of the client's request that do not go upstream.
#[derive(Debug, Default)]
pub struct Notes<'a> {
    first: Vec<Value<'a>>,
    rest: Vec<Value<'a>>,
}

impl<'a> Notes<'a> {
    /// Notes a parameter that has its place at the head of the list, in the order of the calls.
    pub fn lead(&mut self, value: Value<'a>) {
        self.first.push(value);
    }

    /// Notes `value`, if there is one; these are listed in the order of the request.
    pub fn drop(&mut self, value: impl Into<Option<Value<'a>>>) {
        self.rest.extend(value.into().filter(|value| !value.is_null()));
    }

    /// Notes every field of `object` that is not among `known`.
    pub fn unknown(&mut self, object: Value<'a>, known: &[&str]) {
        for entry in object.entries() {
            if !known.iter().any(|known| entry.key.is(known)) {
                self.drop(entry.value);
            }
        }
    }

    /// The paths, and `...` if there are too many to tell.
    pub fn finish(mut self) -> Vec<String> {
        self.rest.sort_unstable_by_key(|value| value.place());
        self.rest.dedup_by_key(|value| value.place());
        let all = self.first.len() + self.rest.len();
        let mut paths: Vec<_> =
            self.first.into_iter().chain(self.rest).take(MAX_PATHS).map(Value::path).collect();
        if all > MAX_PATHS {
            paths.push("...".to_owned());
        }
        paths
    }
}
