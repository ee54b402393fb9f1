//! What the events of a Responses stream are called, and borrowed readers of the few we read.
//!
//! The name comes from the `event:` line; only an event without one is opened to look for its
//! `type`. Deltas keep their text as the JSON literal that arrived, quotes and escapes included.
//! Numbers and names that a reader does not need may be missing or of another type.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::wire::sse::Frame;

/// The kinds of events that somebody here treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// `response.created`: the response object, before any output.
    Created,
    /// Says that work goes on: `response.in_progress`, `response.queued` and comments.
    Handshake,
    /// `codex.*`, `response.metadata`, `keepalive`: meant for the Codex client. A strict SDK stops
    /// at an event that it does not know.
    Private,
    ItemAdded,
    ItemDone,
    TextDelta,
    TextDone,
    RefusalDelta,
    RefusalDone,
    AnnotationAdded,
    ArgumentsDelta,
    ArgumentsDone,
    InputDelta,
    InputDone,
    PartAdded,
    PartDone,
    /// `reasoning_summary_part.added` and `.done`.
    SummaryPart,
    SummaryDelta,
    SummaryDone,
    ReasoningDelta,
    ReasoningDone,
    Completed,
    Incomplete,
    Failed,
    Error,
    /// Output that the translators need not look into, and whatever comes next year.
    Other,
}

impl EventKind {
    /// The kind of `frame`, by its name.
    pub fn of(frame: &Frame<'_>) -> Self {
        if !frame.name.is_empty() {
            return Self::named(frame.name);
        }
        if frame.data.is_empty() {
            return Self::Handshake;
        }
        match serde_json::from_slice::<Typed<'_>>(&frame.data) {
            Ok(Typed { r#type: Some(name) }) => Self::named(name.as_bytes()),
            Ok(Typed { r#type: None }) | Err(_) => Self::Other,
        }
    }

    fn named(name: &[u8]) -> Self {
        match name {
            b"response.output_text.delta" | b"response.text.delta" => Self::TextDelta,
            b"response.function_call_arguments.delta" | b"response.output_tool_call.delta" => {
                Self::ArgumentsDelta
            }
            b"response.reasoning_summary_text.delta" => Self::SummaryDelta,
            b"response.reasoning_text.delta" => Self::ReasoningDelta,
            b"response.custom_tool_call_input.delta" => Self::InputDelta,
            b"response.refusal.delta" => Self::RefusalDelta,
            b"response.output_item.added" => Self::ItemAdded,
            b"response.output_item.done" => Self::ItemDone,
            b"response.output_text.done" => Self::TextDone,
            b"response.refusal.done" => Self::RefusalDone,
            b"response.output_text.annotation.added" => Self::AnnotationAdded,
            b"response.content_part.added" => Self::PartAdded,
            b"response.content_part.done" => Self::PartDone,
            b"response.function_call_arguments.done" => Self::ArgumentsDone,
            b"response.custom_tool_call_input.done" => Self::InputDone,
            b"response.reasoning_summary_part.added" | b"response.reasoning_summary_part.done" => {
                Self::SummaryPart
            }
            b"response.reasoning_summary_text.done" => Self::SummaryDone,
            b"response.reasoning_text.done" => Self::ReasoningDone,
            b"response.completed" | b"response.done" => Self::Completed,
            b"response.incomplete" => Self::Incomplete,
            b"response.failed" => Self::Failed,
            b"error" => Self::Error,
            b"response.created" => Self::Created,
            b"response.in_progress" | b"response.queued" => Self::Handshake,
            b"response.metadata" | b"keepalive" => Self::Private,
            other if other.starts_with(b"codex.") => Self::Private,
            _ => Self::Other,
        }
    }

    /// Whether the answer has not begun yet: what comes before the first output.
    pub fn is_prelude(self) -> bool {
        matches!(self, Self::Created | Self::Handshake | Self::Private)
    }
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
}

/// A piece of text, arguments or input, with what it belongs to.
#[derive(Debug, Deserialize)]
pub struct Delta<'a> {
    #[serde(borrow, default)]
    output_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary_index: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "delta")]
    piece: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    part: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub annotation: Option<&'a RawValue>,
}

impl<'a> Delta<'a> {
    pub fn output_index(&self) -> Option<u64> {
        self.output_index.and_then(number)
    }

    /// Which content or summary part of the item the piece belongs to.
    pub fn part(&self) -> Option<u64> {
        self.content_index.or(self.summary_index).and_then(number)
    }

    /// The part itself, of an event that carries one.
    pub fn content_part(&self) -> Option<Part<'a>> {
        self.part.and_then(read)
    }

    /// The piece as a JSON string literal; `None` unless it is a string.
    pub fn delta(&self) -> Option<&'a str> {
        self.piece.and_then(literal)
    }

    /// The whole text of a `done` event as a JSON string literal.
    pub fn whole(&self) -> Option<&'a str> {
        let texts = [self.text, self.refusal, self.arguments, self.input];
        texts.into_iter().flatten().find_map(literal)
    }

    /// The item's id as a JSON literal: good for comparing, not for showing.
    pub fn item_id(&self) -> Option<&'a str> {
        self.item_id.and_then(literal)
    }
}

/// `output_item.added` and `output_item.done`.
#[derive(Debug, Deserialize)]
pub struct ItemEvent<'a> {
    #[serde(borrow, default)]
    output_index: Option<&'a RawValue>,
    #[serde(borrow)]
    pub item: &'a RawValue,
}

impl ItemEvent<'_> {
    pub fn output_index(&self) -> Option<u64> {
        self.output_index.and_then(number)
    }
}

/// An output item, as far as somebody here reads it. Literals are JSON strings as they arrived.
#[derive(Debug, Default, Deserialize)]
pub struct Item<'a> {
    #[serde(borrow, default)]
    pub r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary: Option<&'a RawValue>,
}

impl<'a> Item<'a> {
    pub fn id(&self) -> Option<&'a str> {
        self.id.and_then(literal)
    }

    pub fn call_id(&self) -> Option<&'a str> {
        self.call_id.and_then(literal)
    }

    /// The arguments of a function call, or the input of a custom tool call.
    pub fn arguments(&self) -> Option<&'a str> {
        self.arguments.or(self.input).and_then(literal)
    }

    /// The parts of a message, or none when they cannot be read.
    pub fn content(&self) -> Vec<Part<'a>> {
        self.content.and_then(read).unwrap_or_default()
    }

    /// The same as they arrived.
    pub fn raw_content(&self) -> Vec<&'a RawValue> {
        self.content.and_then(read).unwrap_or_default()
    }

    /// The parts of a reasoning summary.
    pub fn summary(&self) -> Vec<Part<'a>> {
        self.summary.and_then(read).unwrap_or_default()
    }
}

/// A content part of an output item.
#[derive(Debug, Deserialize)]
pub struct Part<'a> {
    #[serde(borrow, default)]
    pub r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub annotations: Option<Vec<&'a RawValue>>,
}

impl<'a> Part<'a> {
    pub fn text(&self) -> Option<&'a str> {
        self.text.and_then(literal)
    }

    pub fn refusal(&self) -> Option<&'a str> {
        self.refusal.and_then(literal)
    }
}

/// `output_text.annotation.added`.
#[derive(Debug, Deserialize)]
pub struct AnnotationEvent<'a> {
    #[serde(borrow, default)]
    output_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_index: Option<&'a RawValue>,
    #[serde(borrow)]
    pub annotation: &'a RawValue,
}

impl<'a> AnnotationEvent<'a> {
    pub fn output_index(&self) -> Option<u64> {
        self.output_index.and_then(number)
    }

    pub fn item_id(&self) -> Option<&'a str> {
        self.item_id.and_then(literal)
    }

    pub fn part(&self) -> Option<u64> {
        self.content_index.and_then(number)
    }
}

/// Every event that carries the response object.
#[derive(Debug, Deserialize)]
pub struct ResponseEvent<'a> {
    #[serde(borrow)]
    pub response: &'a RawValue,
}

/// The response object, as far as somebody here reads it.
#[derive(Debug, Default, Deserialize)]
pub struct ResponseHead<'a> {
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<f64>,
    #[serde(borrow, default)]
    pub model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    pub service_tier: Option<String>,
    #[serde(borrow, default)]
    incomplete_details: Option<&'a RawValue>,
}

impl ResponseHead<'_> {
    /// Why an incomplete answer is not whole, in the upstream's words.
    pub fn incomplete_reason(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Details {
            reason: Option<String>,
        }
        self.incomplete_details.and_then(read::<Details>)?.reason
    }

    /// The items of `output`; none when it is absent or empty.
    pub fn items(&self) -> Vec<&RawValue> {
        self.output.and_then(read).unwrap_or_default()
    }
}

/// `number` without its fraction, if it is a sensible count of seconds.
pub fn whole_seconds(number: f64) -> Option<i64> {
    format!("{:.0}", number.trunc()).parse().ok()
}

/// Reads `raw` as a `T`, or nothing when it is something else.
pub fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn number(raw: &RawValue) -> Option<u64> {
    raw.get().parse().ok()
}

fn literal(raw: &RawValue) -> Option<&str> {
    raw.get().starts_with('"').then(|| raw.get())
}

/// A field that counts as absent when it has another type: nothing of the answer hangs on it.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Maybe<T> {
        Read(T),
        Else(IgnoredAny),
    }
    Ok(match Maybe::deserialize(from)? {
        Maybe::Read(value) => Some(value),
        Maybe::Else(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sse;

    fn kind(event: &str) -> EventKind {
        EventKind::of(&sse::frames(event.as_bytes()).next().expect("an event"))
    }

    #[test]
    fn the_name_is_the_event_line_or_else_the_type() {
        assert_eq!(kind("event: response.completed\ndata: {}\n\n"), EventKind::Completed);
        assert_eq!(kind("data: {\"a\":[1],\"type\":\"response.failed\"}\n\n"), EventKind::Failed);
        assert_eq!(kind("data: {\"type\":3}\n\n"), EventKind::Other);
        assert_eq!(kind("data: [DONE]\n\n"), EventKind::Other);
        assert_eq!(kind(": comment\n\n"), EventKind::Handshake);
        assert_eq!(kind("event: codex.rate_limits\ndata: {}\n\n"), EventKind::Private);
        assert_eq!(kind("event: response.new_thing\ndata: {}\n\n"), EventKind::Other);
    }

    #[test]
    fn a_field_of_another_type_counts_as_absent() {
        let delta: Delta<'_> =
            serde_json::from_str(r#"{"output_index":"x","item_id":3,"delta":"a"}"#).expect("read");
        assert_eq!(
            (delta.output_index(), delta.item_id(), delta.delta()),
            (None, None, Some("\"a\""))
        );
        assert_eq!(whole_seconds(1_790_000_000.7), Some(1_790_000_000));
        assert_eq!(whole_seconds(f64::INFINITY), None);
    }
}
