//! The events of an answer that the upstream did not send and its clients count on.
//!
//! An item is announced, told in pieces, told whole and ended; an SDK that puts an answer together
//! from pieces shows nothing, or calls a tool without arguments, where one of these is missing. The
//! upstream has been seen to leave them out, so what is missing is made from what there is, right
//! before the event without which it would be too late.
//!
//! **Invariant:** an answer in which nothing is missing is given no event.

use crate::{
    object::Object,
    wire::{
        event::{EventKind, Item, Part},
        json::write,
        reply::items::write_with,
    },
};

/// Which of the events of one item there were.
#[derive(Debug, Default)]
pub struct Seen {
    is_announced: bool,
    is_finished: bool,
    parts: Vec<PartSeen>,
    /// Of arguments or input.
    pieces: Stage,
}

#[derive(Debug)]
struct PartSeen {
    part: u64,
    kind: PartKind,
    is_announced: bool,
    is_closed: bool,
    pieces: Stage,
}

/// How far a text has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stage {
    has_pieces: bool,
    is_done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    Text,
    Refusal,
}

impl PartKind {
    fn field(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Refusal => "refusal",
        }
    }

    fn events(self) -> [&'static str; 2] {
        match self {
            Self::Text => ["response.output_text.delta", "response.output_text.done"],
            Self::Refusal => ["response.refusal.delta", "response.refusal.done"],
        }
    }

    /// A part of this kind that says `literal`.
    fn part(self, literal: &[u8]) -> Vec<u8> {
        let mut part = Vec::new();
        let mut object = write::Object::open(&mut part);
        match self {
            Self::Text => {
                object.text("type", "output_text");
                object.raw("annotations", b"[]");
                object.raw("logprobs", b"[]");
            }
            Self::Refusal => object.text("type", "refusal"),
        }
        object.raw(self.field(), literal);
        object.close();
        part
    }
}

/// The events that are missing, in their order: objects without a `sequence_number`.
#[derive(Debug)]
pub struct Missing<'m> {
    pub out: &'m mut Vec<Vec<u8>>,
    /// What the item is called, as a literal.
    pub id: &'m str,
    pub index: u64,
}

impl Missing<'_> {
    fn event(&mut self, name: &str, members: &[(&str, &[u8])]) {
        let mut event = Vec::new();
        let mut object = write::Object::open(&mut event);
        object.text("type", name);
        object.raw("output_index", self.index.to_string().as_bytes());
        for (name, value) in members {
            object.raw(name, value);
        }
        object.close();
        self.out.push(event);
    }

    /// The item as it is.
    pub fn item_done(&mut self, item: &[u8]) {
        self.event("response.output_item.done", &[("item", item)]);
    }

    fn of_item(&mut self, name: &str, members: &[(&str, &[u8])]) {
        let id = self.id.as_bytes().to_vec();
        self.event(name, &[&[("item_id", &*id)], members].concat());
    }

    fn of_part(&mut self, name: &str, part: u64, members: &[(&str, &[u8])]) {
        let part = part.to_string().into_bytes();
        self.of_item(name, &[&[("content_index", &*part)], members].concat());
    }
}

impl Seen {
    /// The item was announced.
    pub fn announced(&mut self) {
        self.is_announced = true;
    }

    pub fn is_announced(&self) -> bool {
        self.is_announced
    }

    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// An event of a part of a message comes: `whole` with its text if it has all of it.
    pub fn part_event(
        &mut self,
        kind: EventKind,
        part: Option<u64>,
        whole: Option<&str>,
        missing: &mut Missing<'_>,
    ) {
        if !self.is_announced {
            self.is_announced = true;
            let item = format!(
                r#"{{"id":{},"type":"message","status":"in_progress","role":"assistant","content":[]}}"#,
                missing.id
            );
            missing.event("response.output_item.added", &[("item", item.as_bytes())]);
        }
        let is_refusal = matches!(kind, EventKind::RefusalDelta | EventKind::RefusalDone);
        let form = if is_refusal { PartKind::Refusal } else { PartKind::Text };
        let at = self.part(part.unwrap_or(0), form);
        let seen = &mut self.parts[at];
        if kind == EventKind::PartAdded {
            seen.is_announced = true;
            return;
        }
        seen.announce(missing);
        if kind == EventKind::PartDone {
            seen.is_closed = true;
        } else if matches!(kind, EventKind::TextDelta | EventKind::RefusalDelta) {
            seen.pieces.has_pieces = true;
        } else if let (EventKind::TextDone | EventKind::RefusalDone, Some(whole)) = (kind, whole) {
            seen.pieces(whole, missing);
            seen.pieces.is_done = true;
        }
    }

    /// A piece of arguments or input comes, or all of it.
    pub fn call_event(&mut self, kind: EventKind, whole: Option<&str>, missing: &mut Missing<'_>) {
        let delta = if kind == EventKind::ArgumentsDone {
            "response.function_call_arguments.delta"
        } else if kind == EventKind::InputDone {
            "response.custom_tool_call_input.delta"
        } else {
            self.pieces.has_pieces = true;
            return;
        };
        if let Some(whole) = whole {
            self.call_pieces(delta, whole, missing);
        }
        self.pieces.is_done = true;
    }

    fn call_pieces(&mut self, delta: &str, whole: &str, missing: &mut Missing<'_>) {
        if !std::mem::replace(&mut self.pieces.has_pieces, true) && whole != "\"\"" {
            missing.of_item(delta, &[("delta", whole.as_bytes())]);
        }
    }

    /// The whole item comes, or would have to.
    pub fn item_done(&mut self, raw: &[u8], item: &Item<'_>, missing: &mut Missing<'_>) {
        self.is_finished = true;
        let member = match &*item.r#type {
            "message" => Some(("content", "[]")),
            "function_call" => Some(("arguments", "\"\"")),
            "custom_tool_call" => Some(("input", "\"\"")),
            "reasoning" => Some(("summary", "[]")),
            _ => None,
        };
        if !std::mem::replace(&mut self.is_announced, true) {
            missing.event("response.output_item.added", &[("item", &begun(raw, member))]);
        }
        match &*item.r#type {
            "message" => {
                for (part, content) in (0..).zip(item.content()) {
                    self.part_done(part, &content, missing);
                }
            }
            "function_call" => {
                let name = item.name.as_deref().unwrap_or_default();
                let mut literal = Vec::new();
                write::string(&mut literal, name);
                self.call_done(
                    "response.function_call_arguments",
                    item,
                    &[("name", &literal)],
                    missing,
                );
            }
            "custom_tool_call" => {
                self.call_done("response.custom_tool_call_input", item, &[], missing);
            }
            _ => {}
        }
    }

    fn part_done(&mut self, part: u64, content: &Part<'_>, missing: &mut Missing<'_>) {
        let (kind, whole) = match (content.text(), content.refusal()) {
            (Some(text), _) => (PartKind::Text, text),
            (None, Some(refusal)) => (PartKind::Refusal, refusal),
            (None, None) => return,
        };
        let at = self.part(part, kind);
        let seen = &mut self.parts[at];
        seen.announce(missing);
        seen.pieces(whole, missing);
        if !std::mem::replace(&mut seen.pieces.is_done, true) {
            let more: &[(&str, &[u8])] =
                if kind == PartKind::Text { &[("logprobs", b"[]")] } else { &[] };
            let members = [&[(kind.field(), whole.as_bytes())], more].concat();
            missing.of_part(kind.events()[1], part, &members);
        }
        if !std::mem::replace(&mut seen.is_closed, true) {
            let part_whole = kind.part(whole.as_bytes());
            missing.of_part("response.content_part.done", part, &[("part", &part_whole)]);
        }
    }

    fn call_done(
        &mut self,
        event: &str,
        item: &Item<'_>,
        more: &[(&str, &[u8])],
        missing: &mut Missing<'_>,
    ) {
        let Some(whole) = item.arguments() else { return };
        self.call_pieces(&format!("{event}.delta"), whole, missing);
        if !std::mem::replace(&mut self.pieces.is_done, true) {
            let field = if event.ends_with("input") { "input" } else { "arguments" };
            let members = [more, &[(field, whole.as_bytes())]].concat();
            missing.of_item(&format!("{event}.done"), &members);
        }
    }

    fn part(&mut self, part: u64, kind: PartKind) -> usize {
        let found = self.parts.iter().position(|known| known.part == part);
        found.unwrap_or_else(|| {
            let pieces = Stage::default();
            self.parts.push(PartSeen { part, kind, is_announced: false, is_closed: false, pieces });
            self.parts.len() - 1
        })
    }
}

impl PartSeen {
    fn announce(&mut self, missing: &mut Missing<'_>) {
        if !std::mem::replace(&mut self.is_announced, true) {
            let part = self.kind.part(b"\"\"");
            missing.of_part("response.content_part.added", self.part, &[("part", &part)]);
        }
    }

    fn pieces(&mut self, whole: &str, missing: &mut Missing<'_>) {
        if std::mem::replace(&mut self.pieces.has_pieces, true) || whole == "\"\"" {
            return;
        }
        let more: &[(&str, &[u8])] =
            if self.kind == PartKind::Text { &[("logprobs", b"[]")] } else { &[] };
        let members = [&[("delta", whole.as_bytes())], more].concat();
        missing.of_part(self.kind.events()[0], self.part, &members);
    }
}

/// An item as it is announced: without the content that it has in the end.
fn begun(raw: &[u8], member: Option<(&str, &str)>) -> Vec<u8> {
    let mut item = raw.to_vec();
    let status = Some(("status", "\"in_progress\""));
    for (name, value) in [member, status].into_iter().flatten() {
        let mut next = Vec::with_capacity(item.len());
        match Object::read(&item) {
            Some(object) => write_with(&object, name, value.as_bytes(), &mut next),
            None => return item,
        }
        item = next;
    }
    item
}
