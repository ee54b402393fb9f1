//! The events of an answer: what they are called, and in which order they come.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use http::header;
use serde_json::value::RawValue;

use super::{Assumption, Contract, documents::type_of, word};
use crate::{
    object::Object,
    transport::Heard,
    wire::{
        event::{EventKind, ResponseEvent, ResponseHead, read},
        sse::{self, Frame, Splitter},
        usage::TokenUsage,
    },
};

/// Longer events than this are not looked at.
const EVENT_LIMIT: usize = 32 << 20;

/// How the names of further events begin that are known, and that nobody here looks into.
const PASSED_ON: [&str; 2] = ["response.web_search_call.", "response.image_generation_call."];

/// One event with what is asked of each.
struct Event<'a> {
    frame: Frame<'a>,
    kind: EventKind,
    data: Option<Object<'a>>,
}

impl Event<'_> {
    fn name(&self) -> Cow<'_, str> {
        if !self.frame.name.is_empty() {
            return String::from_utf8_lossy(self.frame.name);
        }
        let named = self.data.as_ref().and_then(|data| data.text("type"));
        named.map_or_else(|| String::from_utf8_lossy(&self.frame.data), Cow::Owned)
    }

    fn is_known(&self) -> bool {
        self.kind != EventKind::Other || PASSED_ON.iter().any(|it| self.name().starts_with(it))
    }

    /// Whether nothing but a failure may follow.
    fn is_terminal(&self) -> bool {
        matches!(
            self.kind,
            EventKind::Completed | EventKind::Incomplete | EventKind::Failed | EventKind::Error
        )
    }
}

impl Contract {
    pub(super) fn inference(&mut self, heard: &Heard) {
        let kind = heard.headers.get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| {
            kind.as_bytes().to_ascii_lowercase().starts_with(b"text/event-stream")
        });
        self.look(Assumption::StreamType, is_stream, || type_of(&heard.headers));
        self.headers(&heard.headers, heard.at);
        let whole = Splitter::new(EVENT_LIMIT).push(heard.body.clone()).unwrap_or_default();
        let frames: Vec<_> = sse::frames(&whole).filter(|frame| !frame.is_comment()).collect();
        let data: Vec<Bytes> = frames.iter().map(|it| Bytes::copy_from_slice(&it.data)).collect();
        let events: Vec<_> = frames
            .into_iter()
            .zip(&data)
            .map(|(frame, data)| Event {
                kind: EventKind::of(&frame),
                frame,
                data: Object::read(data),
            })
            .collect();
        self.names(&events);
        self.order(&events, heard.is_whole);
        self.output(&events);
        let completed = events.iter().find(|event| event.kind == EventKind::Completed);
        if let Some(completed) = completed {
            self.completed(&completed.frame.data);
        }
    }

    fn names(&mut self, events: &[Event<'_>]) {
        let is_framed = |event: &&Event<'_>| {
            let named = event.data.as_ref().and_then(|data| data.text("type"));
            named.is_some_and(|named| named.as_bytes() == event.frame.name)
        };
        let unframed = events.iter().find(|event| !is_framed(event));
        if !events.is_empty() {
            self.look(Assumption::StreamFraming, unframed.is_none(), || {
                unframed
                    .map_or_else(String::new, |event| format!("not so in {}", word(&event.name())))
            });
            let new: Vec<_> = events.iter().filter(|event| !event.is_known()).collect();
            self.look(Assumption::StreamKnown, new.is_empty(), || {
                let mut names: Vec<_> = new.iter().map(|event| word(&event.name())).collect();
                names.sort();
                names.dedup();
                format!("new: {}", names.join(", "))
            });
        }
        let number = |event: &Event<'_>| event.data.as_ref()?.integer("sequence_number");
        // Events for the Codex client may be out of the count.
        let counted = events
            .iter()
            .filter(|event| event.kind != EventKind::Private || number(event).is_some());
        let miscounted = counted.zip(0..).find(|(event, n)| number(event) != Some(*n));
        if !events.is_empty() {
            self.look(Assumption::StreamNumbers, miscounted.is_none(), || {
                let name = miscounted.map_or_else(String::new, |(event, _)| word(&event.name()));
                format!("not as far as {name}")
            });
        }
    }

    fn order(&mut self, events: &[Event<'_>], has_ended: bool) {
        let first = events.iter().find(|event| event.kind != EventKind::Private);
        if let Some(first) = first {
            self.look(Assumption::StreamCreated, first.kind == EventKind::Created, || {
                format!("it is {}", word(&first.name()))
            });
        }
        let Some(end) = events.iter().position(Event::is_terminal) else {
            // One that was let go before it ended says nothing.
            if has_ended {
                self.broken(Assumption::StreamTerminal, "it ends without");
            }
            return;
        };
        self.held(Assumption::StreamTerminal);
        // A failure may be told in two ways.
        let after = events[end + 1..].iter().find(|event| event.kind != EventKind::Failed);
        self.look(Assumption::StreamLast, after.is_none(), || {
            after.map_or_else(String::new, |event| format!("then comes {}", word(&event.name())))
        });
    }

    fn output(&mut self, events: &[Event<'_>]) {
        let has_ended_well = events.iter().any(|event| event.kind == EventKind::Completed);
        if !has_ended_well {
            return;
        }
        let of = |kind: EventKind| events.iter().filter(move |event| event.kind == kind);
        let (added, done) = (
            of(EventKind::ItemAdded).count(),
            of(EventKind::ItemDone).filter(|event| has_item(event)).count(),
        );
        self.look(Assumption::StreamItems, added > 0 && added == done, || {
            format!("{added} announced and {done} done")
        });
        let has_text = of(EventKind::TextDelta).next().is_some() || done > 0;
        self.look(Assumption::StreamText, has_text, || "there is neither".to_owned());
        self.deltas(events);
    }

    /// The deltas of a text before its end, and the same text in it.
    fn deltas(&mut self, events: &[Event<'_>]) {
        let mut said: BTreeMap<(Option<String>, Option<i64>), String> = BTreeMap::new();
        for event in events {
            let Some(data) = &event.data else { continue };
            let place = (data.text("item_id"), data.integer("content_index"));
            if event.kind == EventKind::TextDelta {
                said.entry(place).or_default().push_str(&data.text("delta").unwrap_or_default());
            } else if event.kind == EventKind::TextDone {
                let (text, deltas) = (data.text("text"), said.remove(&place));
                let detail = match &deltas {
                    None => "there are none before it",
                    Some(_) => "its text is another",
                };
                self.look(Assumption::StreamDeltas, text.is_some() && text == deltas, || {
                    detail.to_owned()
                });
            }
        }
        if !said.is_empty() {
            self.broken(Assumption::StreamDeltas, "no `response.output_text.done` follows");
        }
        let comes_in_parts = events.iter().any(|event| {
            matches!(
                event.kind,
                EventKind::TextDelta | EventKind::TextDone | EventKind::RefusalDelta
            )
        });
        if !comes_in_parts && events.iter().any(is_message) {
            self.broken(Assumption::StreamDeltas, "there are none");
        }
    }

    fn completed(&mut self, data: &[u8]) {
        let event = serde_json::from_slice::<ResponseEvent<'_>>(data).ok();
        let head: ResponseHead<'_> =
            event.and_then(|event| read(event.response)).unwrap_or_default();
        let n_items = head.items().len();
        self.look(Assumption::StreamOutput, n_items == 0, || match n_items {
            1 => "it has an item".to_owned(),
            n => format!("it has {n} items"),
        });
        if let (Some(asked), model) = (self.asked.clone(), head.model.as_deref()) {
            let other = model.unwrap_or_default();
            self.look(Assumption::StreamModel, other.eq_ignore_ascii_case(&asked), || {
                format!("it is {}", word(other))
            });
        }
        self.counts(head.usage.map(RawValue::get));
    }

    fn counts(&mut self, usage: Option<&str>) {
        let read = usage.and_then(|usage| Object::read(usage.as_bytes()));
        let is_counted = read.as_ref().is_some_and(|read| {
            let names = ["input_tokens", "output_tokens", "total_tokens"];
            names.iter().all(|name| read.integer(name).is_some())
        });
        let is_counted = is_counted && usage.and_then(TokenUsage::read).is_some();
        self.look(Assumption::StreamUsage, is_counted, || match usage {
            Some(_) => "a count is not there, or no number".to_owned(),
            None => "there is none".to_owned(),
        });
        let Some(read) = read else { return };
        let detail = |details: &str, name: &str| read.object(details)?.integer(name);
        let lacking = [
            ("input_tokens_details", "cached_tokens"),
            ("output_tokens_details", "reasoning_tokens"),
        ]
        .into_iter()
        .find(|(details, name)| detail(details, name).is_none());
        self.look(Assumption::StreamDetails, lacking.is_none(), || {
            lacking.map_or_else(String::new, |(_, name)| format!("`{name}` is not there"))
        });
    }
}

/// Whether it holds a whole message.
fn is_message(event: &Event<'_>) -> bool {
    let item = event.data.as_ref().and_then(|data| data.object("item"));
    let kind = item.and_then(|item| item.text("type"));
    event.kind == EventKind::ItemDone && kind.as_deref() == Some("message")
}

fn has_item(event: &Event<'_>) -> bool {
    let item = event.data.as_ref().and_then(|data| data.object("item"));
    item.is_some_and(|item| item.filled("type").is_some())
}
