//! A dialogue made shorter, as the published document has it: `response.compaction`.
//!
//! **Invariant:** an answer without a compaction in it is none.

use crate::{
    object::{self, Object},
    wire::{
        event::{Item, read},
        identity::without_owner,
        json::write,
    },
};

/// What the answer is called where the upstream gives it no name, and when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    pub id: &'a str,
    /// Unix seconds.
    pub created: i64,
}

/// From a whole response whose output is a compaction. `said` is an array of what users said,
/// which stays as it is: the compaction stands for everything else.
pub fn of_response(response: &[u8], said: &[u8], made: Made<'_>) -> Option<Vec<u8>> {
    let response = Object::read(response)?;
    let compactions: Vec<_> =
        response.list("output")?.into_iter().filter(|item| is_one(item)).collect();
    let [compaction] = compactions[..] else { return None };
    let mut output = Vec::new();
    let mut items = write::Array::open(&mut output);
    for (n, item) in
        serde_json::from_slice::<Vec<&serde_json::value::RawValue>>(said).ok()?.iter().enumerate()
    {
        // Items of an answer have names and states of their own.
        let mut named = write::Object::open(items.item());
        named.text("id", &format!("msg_{}_{n}", made.id));
        named.text("status", "completed");
        for (name, value) in Object::read(item.get().as_bytes())?.fields() {
            named.raw(name, value.get().as_bytes());
        }
        named.close();
    }
    items.item().extend_from_slice(compaction.get().as_bytes());
    items.close();
    Some(written(&response, &output, made))
}

/// From the upstream's own answer in this form, in which something may be missing.
pub fn of_answer(answer: &[u8], made: Made<'_>) -> Option<Vec<u8>> {
    let object = Object::read(answer)?;
    object.list("output")?.into_iter().find(|item| is_one(item))?;
    let output = object.raw("output")?.get().as_bytes();
    let mut whole = written(&object, output, made);
    // Whatever else it says stays.
    let known = ["id", "object", "created_at", "output", "usage"];
    for (name, value) in object.fields().filter(|(name, _)| !known.contains(name)) {
        whole = object::with(&whole, name, value.get().as_bytes())?;
    }
    Some(without_owner(&whole).unwrap_or(whole))
}

fn written(from: &Object<'_>, output: &[u8], made: Made<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = write::Object::open(&mut out);
    let id = from.filled("id").unwrap_or_else(|| format!("resp_{}", made.id));
    object.text("id", &id);
    object.text("object", "response.compaction");
    let created = from.integer("created_at").unwrap_or(made.created);
    object.raw("created_at", created.to_string().as_bytes());
    object.raw("output", output);
    object.raw("usage", from.raw("usage").map_or(b"null", |usage| usage.get().as_bytes()));
    object.close();
    out
}

fn is_one(item: &serde_json::value::RawValue) -> bool {
    let kind = read::<Item<'_>>(item).map(|item| item.r#type.into_owned()).unwrap_or_default();
    matches!(&*kind, "compaction" | "compaction_summary" | "context_compaction")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: Made<'static> = Made { id: "1", created: 7 };

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
    }

    #[test]
    fn what_users_said_stays_before_the_compaction() {
        let response = r#"{"id":"resp_9","created_at":3.0,"output":[{"type":"reasoning"},{"type":"compaction","id":"cmp_1","encrypted_content":"g"}],"usage":{"total_tokens":1}}"#;
        let said = r#"[{"type":"message","role":"user","content":[]}]"#;
        assert_eq!(
            text(of_response(response.as_bytes(), said.as_bytes(), MADE)).as_deref(),
            Some(
                r#"{"id":"resp_9","object":"response.compaction","created_at":3,"output":[{"id":"msg_1_0","status":"completed","type":"message","role":"user","content":[]},{"type":"compaction","id":"cmp_1","encrypted_content":"g"}],"usage":{"total_tokens":1}}"#
            )
        );
        for none in [r#"{"output":[]}"#, r#"{"output":[{"type":"message"}]}"#, "{}", "[]"] {
            assert_eq!(text(of_response(none.as_bytes(), b"[]", MADE)), None, "{none}");
        }
    }

    #[test]
    fn an_answer_of_the_older_route_is_completed() {
        let answer = r#"{"output":[{"type":"compaction"}],"user":"u","x":1}"#;
        assert_eq!(
            text(of_answer(answer.as_bytes(), MADE)).as_deref(),
            Some(
                r#"{"id":"resp_1","object":"response.compaction","created_at":7,"output":[{"type":"compaction"}],"usage":null,"user":null,"x":1}"#
            )
        );
        assert_eq!(text(of_answer(br#"{"output":[]}"#, MADE)), None);
    }
}
