//! What the upstream made, put together for the client.
//!
//! **Invariant:** the data of a picture is copied as the literal it is.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Task, Translated};
use crate::{
    object::Object,
    wire::{content::image::decoded_len, json::write},
};

/// What one request came to: an object with at least one picture in base64.
#[derive(Clone, Debug)]
pub struct Answer(Bytes);

/// Tokens that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Usage {
    #[serde(default)]
    pub input_tokens: u64,
    #[serde(default)]
    input_tokens_details: Option<Details>,
    #[serde(default)]
    pub output_tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<Details>,
    #[serde(default)]
    total_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
struct Details {
    #[serde(default)]
    image_tokens: u64,
    #[serde(default)]
    text_tokens: u64,
}

impl Usage {
    fn and(self, other: Self) -> Self {
        let both =
            |details: [Option<Details>; 2]| details.into_iter().flatten().reduce(Details::and);
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            input_tokens_details: both([self.input_tokens_details, other.input_tokens_details]),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            output_tokens_details: both([self.output_tokens_details, other.output_tokens_details]),
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
        }
    }
}

impl Details {
    fn and(self, other: Self) -> Self {
        Self {
            image_tokens: self.image_tokens.saturating_add(other.image_tokens),
            text_tokens: self.text_tokens.saturating_add(other.text_tokens),
        }
    }
}

impl Answer {
    /// `None` when there is no picture in `body`.
    pub fn read(body: Bytes) -> Option<Self> {
        let is_whole = {
            let data = Object::read(&body)?.list("data")?;
            !data.is_empty() && data.iter().all(|item| picture(item).is_some())
        };
        is_whole.then_some(Self(body))
    }

    /// The fields; it was an object when it was read.
    fn fields(&self) -> Option<Object<'_>> {
        Object::read(&self.0)
    }

    pub fn usage(&self) -> Option<Usage> {
        serde_json::from_str(self.fields()?.raw("usage")?.get()).ok()
    }

    fn pictures(&self) -> Vec<&RawValue> {
        self.fields().and_then(|fields| fields.list("data")).unwrap_or_default()
    }
}

/// The base64 of an element of `data`, quotes included.
fn picture(item: &RawValue) -> Option<&RawValue> {
    let data = Object::read(item.get().as_bytes())?.raw("b64_json")?;
    (data.get().starts_with('"') && data.get().len() > 2).then_some(data)
}

/// What all of them cost together, as far as they say so.
pub fn usage(answers: &[Answer]) -> Option<Usage> {
    answers.iter().filter_map(Answer::usage).reduce(Usage::and)
}

/// The whole answer; `created` is when it was made if the upstream does not say.
pub fn merged(answers: &[Answer], created: i64) -> Vec<u8> {
    written(answers, created, |items, item| items.extend_from_slice(item.get().as_bytes()))
}

/// The same for the log.
pub fn shown(answers: &[Answer], created: i64) -> Vec<u8> {
    written(answers, created, |items, item| {
        let bytes = picture(item).map_or(0, |data| decoded_len(data.get().trim_matches('"')));
        write::string(items, &format!("[an image of {bytes} bytes]"));
    })
}

fn written(
    answers: &[Answer],
    created: i64,
    write_item: impl Fn(&mut Vec<u8>, &RawValue),
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut body = write::Object::open(&mut out);
    let first = answers.first().and_then(Answer::fields);
    let first = |name: &str| first.as_ref()?.raw(name);
    body.raw("created", at(first("created"), created).as_bytes());
    if let Some(background) = first("background") {
        body.raw("background", background.get().as_bytes());
    }
    let mut data = write::Array::open(body.field("data"));
    for item in answers.iter().flat_map(Answer::pictures) {
        write_item(data.item(), item);
    }
    data.close();
    for name in ["output_format", "quality", "size"] {
        if let Some(value) = first(name) {
            body.raw(name, value.get().as_bytes());
        }
    }
    if let Some(usage) = usage(answers) {
        body.raw("usage", json(usage).as_bytes());
    }
    body.close();
    out
}

/// One event for each picture. What the document wants of it and the upstream does not say is `auto`,
/// or nothing.
pub fn events(task: Task, answers: &[Answer], created: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for answer in answers {
        let fields = answer.fields();
        let field = |name: &str| fields.as_ref()?.raw(name);
        let pictures = answer.pictures();
        for (left, item) in (0..pictures.len()).rev().zip(pictures) {
            let Some(data) = picture(item) else { continue };
            out.extend_from_slice(format!("event: {}\ndata: ", task.completed()).as_bytes());
            let mut event = write::Object::open(&mut out);
            event.text("type", task.completed());
            event.raw("b64_json", data.get().as_bytes());
            event.raw("created_at", at(field("created"), created).as_bytes());
            for (name, usual) in [
                ("size", "\"auto\""),
                ("quality", "\"auto\""),
                ("background", "\"auto\""),
                ("output_format", "\"png\""),
            ] {
                event.raw(name, field(name).map_or(usual, RawValue::get).as_bytes());
            }
            // What an answer cost is told once.
            let usage = answer.usage().filter(|_| left == 0).unwrap_or_default();
            event.raw("usage", json(usage).as_bytes());
            event.close();
            out.extend_from_slice(b"\n\n");
        }
    }
    out
}

/// What the client wished for and did not get, by the words of the answers.
pub fn unheeded(request: &Translated, answers: &[Answer]) -> Vec<String> {
    let differs = |name: &str, wanted: &Option<String>| {
        let Some(wanted) = wanted else { return false };
        answers.iter().filter_map(|it| it.fields()?.text(name)).any(|told| told != *wanted)
    };
    let wishes = [("quality", &request.quality), ("size", &request.size)];
    let unheeded = wishes.into_iter().filter(|(name, wanted)| differs(name, wanted));
    unheeded.map(|(name, _)| name.to_owned()).collect()
}

/// A moment that was told, else `created`.
fn at(told: Option<&RawValue>, created: i64) -> String {
    let told = told.and_then(|told| serde_json::from_str::<i64>(told.get()).ok());
    told.unwrap_or(created).to_string()
}

/// With what the document wants of it.
fn json(mut usage: Usage) -> String {
    usage.input_tokens_details.get_or_insert_default();
    serde_json::to_string(&usage).unwrap_or_default()
}
