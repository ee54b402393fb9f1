//! `POST /v1/responses/compact`: a dialogue that is to become shorter.
//!
//! The upstream compacts when the last item of an ordinary request asks for it; it did so by a
//! route of its own, and may still. The request is made in the first form, and holds what the
//! second needs.
//!
//! Not here: which of the two the upstream takes (`relay::compact`), the answer
//! (`wire::reply::compaction`).

use bytes::Bytes;

use super::{
    Options, Translated, array,
    body::Body,
    responses::{self, Route},
};
use crate::wire::{
    json::{Doc, Value},
    reject::Reject,
};

/// What asks for a compaction.
pub const TRIGGER: &[u8] = br#"{"type":"compaction_trigger"}"#;

/// What the route for compactions takes.
const FIELDS: &[&str] = &[
    "model",
    "instructions",
    "input",
    "tools",
    "parallel_tool_calls",
    "reasoning",
    "service_tier",
    "prompt_cache_key",
    "text",
];

/// The upstream request that compacts what a client sends.
///
/// # Errors
///
/// When it is not a valid one, or asks for what the backend cannot do.
pub fn translate(body: &[u8], options: &Options<'_>) -> Result<Translated, Reject> {
    let doc = Doc::parse(body)?;
    responses::from_request(doc.root().object()?, options, Route::Compaction)
}

/// An array of those items of `body` that are `wanted`, what asks for the compaction left out.
fn items(body: &Body, wanted: fn(Value<'_>) -> bool) -> Vec<u8> {
    let Ok(input) = Doc::parse(body.value("input").unwrap_or(b"[]")) else { return b"[]".into() };
    let is_trigger =
        |item: &Value<'_>| item.get("type").is_some_and(|kind| kind.is("compaction_trigger"));
    let kept = input.root().items().filter(|item| !is_trigger(item) && wanted(*item));
    array(kept.map(Value::raw))
}

impl Translated {
    /// Whether it asks for a compaction.
    pub fn compacts(&self) -> bool {
        self.compacts
    }

    /// This request as the route for compactions takes it.
    pub fn for_compaction_route(&self) -> Bytes {
        let input = items(&self.body, |_| true);
        let body = self.body.with("input", &input);
        body.as_ref().unwrap_or(&self.body).only(FIELDS)
    }

    /// What users say in it, as an array of items.
    pub fn said(&self) -> Vec<u8> {
        items(&self.body, |item| item.get("role").is_some_and(|role| role.is("user")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::tests::OPTIONS;

    const INPUT: &str = r#"{"model":"m","store":false,"tool_choice":"auto","include":[],"tools":[{"type":"custom","name":"p"}],"input":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}"#;

    fn text(bytes: &[u8]) -> &str {
        str::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_request_asks_once_for_its_compaction() {
        let trigger = text(TRIGGER);
        let triggered = INPUT.replace("\"c\"}", &format!("\"c\"}},{trigger}"));
        for request in [INPUT, &triggered] {
            let translated = translate(request.as_bytes(), &OPTIONS).expect("valid");
            assert!(translated.compacts() && !translated.stream);
            let body = text(translated.body());
            assert_eq!(body.matches(trigger).count(), 1, "{body}");
            assert!(body.contains(&format!("{trigger}]")), "{body}");
        }
        let plain = responses::translate(INPUT.as_bytes(), &OPTIONS).expect("valid");
        assert!(!plain.compacts());
    }

    #[test]
    fn the_older_route_takes_less() {
        let translated = translate(INPUT.as_bytes(), &OPTIONS).expect("valid");
        let body = translated.for_compaction_route();
        let doc = Doc::parse(&body).expect("JSON");
        let names: Vec<_> = doc.root().entries().map(|entry| entry.name().into_owned()).collect();
        assert_eq!(names, ["model", "instructions", "input", "tools", "prompt_cache_key"]);
        assert_eq!(doc.root().get("input").map(|input| input.items().count()), Some(3));
        let said = translated.said();
        assert_eq!(text(&said).matches(r#""role":"user""#).count(), 2);
        assert!(!text(&said).contains("assistant"));
    }
}
