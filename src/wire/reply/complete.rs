//! The events of an answer that the upstream did not send and its clients count on.
//!
//! An item is announced, told in pieces, told whole and ended; an SDK that puts an answer together
//! from pieces shows nothing, or calls a tool without arguments, where one of these is missing. The
//! upstream has been seen to leave them out, so what is missing is made from what there is, right
//! before the event without which it would be too late.
//!
//! **Invariant:** an answer in which nothing is missing is given no event.
//! **Invariant:** the pieces of a text are the text once, and nothing is told of what did not come.

use std::mem;

use serde_json::value::RawValue;

use crate::{
    object,
    wire::{
        event::{Delta, EventKind, Item, Part, read},
        json::write,
        reply::joined::Joined,
    },
};

/// What was told of one item.
#[derive(Debug, Default)]
pub struct Told {
    announced: Announced,
    is_finished: bool,
    parts: Vec<PartTold>,
    /// The part that was told of last.
    part: u64,
    /// Whether there was a piece that did not say which part it belongs to.
    is_unplaced: bool,
    /// Arguments or input. Of an item that was not announced they have come and were not told.
    call: Text,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Announced {
    #[default]
    Not,
    ByUs,
    ByUpstream,
}

#[derive(Debug)]
struct PartTold {
    part: u64,
    kind: PartKind,
    is_announced: bool,
    is_closed: bool,
    text: Text,
    annotations: Vec<Box<RawValue>>,
}

/// How far a text has come.
#[derive(Debug, Default)]
struct Text {
    pieces: Joined,
    /// What is there came with the announcement; pieces would begin from the start.
    is_given: bool,
    is_done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartKind {
    Text,
    Refusal,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Told,
    /// A client knows it already, or could not make sense of it yet.
    Withheld,
}

impl Text {
    fn push(&mut self, piece: &str) {
        if mem::take(&mut self.is_given) {
            self.pieces = Joined::default();
        }
        self.pieces.push(piece);
    }

    fn give(&mut self, literal: &str) {
        self.pieces.push(literal);
        self.is_given = !self.pieces.is_empty();
    }

    /// What of `whole` has not come in pieces, as a piece; it counts as one from now on.
    fn rest(&mut self, whole: &str) -> Option<String> {
        let rest = self.pieces.rest_of(whole)?.into_owned();
        self.pieces.push(&rest);
        Some(rest)
    }
}

impl PartKind {
    fn of(part: &Part<'_>) -> Option<Self> {
        match &*part.r#type {
            "refusal" => Some(Self::Refusal),
            "output_text" | "text" => Some(Self::Text),
            "" if part.refusal().is_some() => Some(Self::Refusal),
            "" if part.text().is_some() => Some(Self::Text),
            _ => None,
        }
    }

    fn whole<'a>(self, part: &Part<'a>) -> Option<&'a str> {
        match self {
            Self::Text => part.text(),
            Self::Refusal => part.refusal(),
        }
    }

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

    /// What events of a text have besides.
    fn more(self) -> &'static [(&'static str, &'static [u8])] {
        match self {
            Self::Text => &[("logprobs", b"[]")],
            Self::Refusal => &[],
        }
    }

    /// A part of this kind that says `literal`.
    fn part(self, literal: &[u8], annotations: &[Box<RawValue>]) -> Vec<u8> {
        let mut part = Vec::new();
        let mut object = write::Object::open(&mut part);
        match self {
            Self::Text => {
                let mut list = Vec::new();
                let mut array = write::Array::open(&mut list);
                for annotation in annotations {
                    array.item().extend_from_slice(annotation.get().as_bytes());
                }
                array.close();
                object.text("type", "output_text");
                object.raw("annotations", &list);
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

    fn item_added(&mut self, item: &[u8]) {
        self.event("response.output_item.added", &[("item", item)]);
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

impl Told {
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The part that was told of last.
    pub fn part(&self) -> u64 {
        self.part
    }

    /// The upstream announces the item; `after` takes what a client can be told only now.
    pub fn added(&mut self, item: &Item<'_>, after: &mut Missing<'_>) -> Fate {
        match self.announced {
            Announced::ByUs => return Fate::Withheld,
            Announced::ByUpstream => return Fate::Told,
            Announced::Not => self.announced = Announced::ByUpstream,
        }
        let arrived = mem::take(&mut self.call.pieces);
        let given = item.arguments().filter(|given| *given != "\"\"");
        match (given, call_events(item)) {
            (Some(given), _) => self.call.give(given),
            (None, Some([delta, _])) if !arrived.is_empty() => {
                after.of_item(delta, &[("delta", &arrived.literal())]);
                self.call.pieces = arrived;
            }
            (None, _) => {}
        }
        for (part, content) in (0..).zip(item.content()) {
            let Some(kind) = PartKind::of(&content) else { continue };
            let told = self.part_told(part, kind);
            told.is_announced = true;
            told.text.give(kind.whole(&content).unwrap_or("\"\""));
        }
        Fate::Told
    }

    /// An event of a part of a message comes.
    pub fn part_event(
        &mut self,
        kind: EventKind,
        event: &Delta<'_>,
        missing: &mut Missing<'_>,
    ) -> Fate {
        if self.is_finished {
            return Fate::Told;
        }
        let content = event.content_part();
        let form = match (kind, &content) {
            (EventKind::RefusalDelta | EventKind::RefusalDone, _) => PartKind::Refusal,
            (EventKind::PartAdded | EventKind::PartDone, Some(content)) => {
                match PartKind::of(content) {
                    Some(form) => form,
                    None if content.r#type == "reasoning_text" => return self.thought(missing),
                    None => return Fate::Told,
                }
            }
            _ => PartKind::Text,
        };
        self.announce("message", missing);
        self.is_unplaced |= event.part().is_none();
        self.part = event.part().unwrap_or(self.part);
        let told = self.part_told(self.part, form);
        let given = content.as_ref().and_then(|content| form.whole(content));
        if kind == EventKind::PartAdded {
            if mem::replace(&mut told.is_announced, true) {
                return Fate::Withheld;
            }
            told.text.give(given.unwrap_or("\"\""));
            return Fate::Told;
        }
        told.announce(missing);
        if matches!(kind, EventKind::TextDelta | EventKind::RefusalDelta) {
            told.text.push(event.delta().unwrap_or("\"\""));
        } else if matches!(kind, EventKind::TextDone | EventKind::RefusalDone) {
            if let Some(whole) = event.whole() {
                told.tell_rest(whole, missing);
            }
            told.text.is_done = true;
        } else if kind == EventKind::AnnotationAdded {
            told.annotations.extend(event.annotation.map(ToOwned::to_owned));
        } else if kind == EventKind::PartDone {
            if let (Some(whole), Some(content)) = (given, &content) {
                told.tell_rest(whole, missing);
                told.tell_whole(whole, content, missing);
            }
            told.is_closed = true;
        }
        Fate::Told
    }

    /// An event of a thought comes.
    pub fn thought(&mut self, missing: &mut Missing<'_>) -> Fate {
        self.announce("reasoning", missing);
        Fate::Told
    }

    /// A piece of arguments or input comes, or all of it.
    pub fn call_event(
        &mut self,
        kind: EventKind,
        event: &Delta<'_>,
        missing: &mut Missing<'_>,
    ) -> Fate {
        if self.is_finished {
            return Fate::Told;
        }
        if let (EventKind::ArgumentsDelta | EventKind::InputDelta, Some(piece)) =
            (kind, event.delta())
        {
            self.call.push(piece);
        }
        let whole = event.whole().filter(|_| event.delta().is_none());
        if self.announced == Announced::Not {
            // Nobody can tell yet which tool is called; the item will.
            let _kept = whole.and_then(|whole| self.call.rest(whole));
            return Fate::Withheld;
        }
        if !matches!(kind, EventKind::ArgumentsDone | EventKind::InputDone) {
            return Fate::Told;
        }
        let [delta, _] = if kind == EventKind::InputDone { INPUT } else { ARGUMENTS };
        if let Some(rest) = whole.and_then(|whole| self.call.rest(whole)) {
            missing.of_item(delta, &[("delta", rest.as_bytes())]);
        }
        self.call.is_done = true;
        Fate::Told
    }

    /// The whole item comes, or would have to.
    pub fn item_done(&mut self, raw: &[u8], item: &Item<'_>, missing: &mut Missing<'_>) {
        if mem::replace(&mut self.is_finished, true) {
            return;
        }
        if self.announced == Announced::Not {
            self.announced = Announced::ByUs;
            self.call = Text::default();
            missing.item_added(&begun(raw, item));
        }
        if item.r#type == "message" {
            self.message_done(item, missing);
        } else if let (Some(events), Some(whole)) = (call_events(item), item.arguments()) {
            self.call_done(events, item, whole, missing);
        }
        // The item has all of it.
        self.call.pieces = Joined::default();
        self.parts = Vec::new();
    }

    fn message_done(&mut self, item: &Item<'_>, missing: &mut Missing<'_>) {
        let raw_parts = item.raw_content();
        let parts: Vec<(u64, &RawValue, Part<'_>)> = (0..)
            .zip(raw_parts)
            .filter_map(|(part, raw)| Some((part, raw, read::<Part<'_>>(raw)?)))
            .collect();
        // Pieces that did not say where they belong have told of some part or other.
        let n_told: usize = self.parts.iter().map(|told| told.text.pieces.len()).sum();
        let is_all_told = self.is_unplaced && n_told > 0 && {
            let wholes = parts.iter().filter_map(|(_, _, it)| PartKind::of(it)?.whole(it));
            n_told >= wholes.map(|whole| whole.len().saturating_sub(2)).sum()
        };
        for (part, raw, content) in &parts {
            let Some(kind) = PartKind::of(content) else { continue };
            let Some(whole) = kind.whole(content) else { continue };
            let told = self.part_told(*part, kind);
            told.announce(missing);
            if !is_all_told {
                told.tell_rest(whole, missing);
            }
            told.tell_whole(whole, content, missing);
            if !mem::replace(&mut told.is_closed, true) {
                let part = [("part", raw.get().as_bytes())];
                missing.of_part("response.content_part.done", told.part, &part);
            }
        }
    }

    fn call_done(
        &mut self,
        [delta, done]: [&str; 2],
        item: &Item<'_>,
        whole: &str,
        missing: &mut Missing<'_>,
    ) {
        if let Some(rest) = self.call.rest(whole).filter(|rest| rest != "\"\"") {
            missing.of_item(delta, &[("delta", rest.as_bytes())]);
        }
        if mem::replace(&mut self.call.is_done, true) {
            return;
        }
        if done == INPUT[1] {
            return missing.of_item(done, &[("input", whole.as_bytes())]);
        }
        let mut name = Vec::new();
        write::string(&mut name, item.name.as_deref().unwrap_or_default());
        missing.of_item(done, &[("name", &name), ("arguments", whole.as_bytes())]);
    }

    fn announce(&mut self, kind: &str, missing: &mut Missing<'_>) {
        if self.announced != Announced::Not || self.is_finished {
            return;
        }
        self.announced = Announced::ByUs;
        let id = missing.id;
        let rest = match kind {
            "reasoning" => r#""summary":[]"#,
            _ => r#""status":"in_progress","role":"assistant","content":[]"#,
        };
        missing.item_added(format!(r#"{{"id":{id},"type":"{kind}",{rest}}}"#).as_bytes());
    }

    fn part_told(&mut self, part: u64, kind: PartKind) -> &mut PartTold {
        let found = self.parts.iter().position(|known| known.part == part);
        let at = found.unwrap_or_else(|| {
            self.parts.push(PartTold {
                part,
                kind,
                is_announced: false,
                is_closed: false,
                text: Text::default(),
                annotations: Vec::new(),
            });
            self.parts.len() - 1
        });
        &mut self.parts[at]
    }

    /// The arguments or input that have come, as a literal; `None` when nothing has.
    pub fn arguments(&self) -> Option<Vec<u8>> {
        (!self.call.pieces.is_empty()).then(|| self.call.pieces.literal())
    }

    /// The `content` of the message that has come; `None` when nothing has.
    pub fn content(&self) -> Option<Vec<u8>> {
        if self.parts.iter().all(|told| told.text.pieces.is_empty()) {
            return None;
        }
        let mut order: Vec<_> = self.parts.iter().collect();
        order.sort_by_key(|told| told.part);
        let mut content = Vec::new();
        let mut array = write::Array::open(&mut content);
        for told in order {
            let part = told.kind.part(&told.text.pieces.literal(), &told.annotations);
            array.item().extend_from_slice(&part);
        }
        array.close();
        Some(content)
    }
}

impl PartTold {
    fn announce(&mut self, missing: &mut Missing<'_>) {
        if !mem::replace(&mut self.is_announced, true) {
            let part = self.kind.part(b"\"\"", &[]);
            missing.of_part("response.content_part.added", self.part, &[("part", &part)]);
        }
    }

    fn tell_rest(&mut self, whole: &str, missing: &mut Missing<'_>) {
        if let Some(rest) = self.text.rest(whole).filter(|rest| rest != "\"\"") {
            let members = [&[("delta", rest.as_bytes())], self.kind.more()].concat();
            missing.of_part(self.kind.events()[0], self.part, &members);
        }
    }

    /// Tells of the annotations that were not told of, and the text as a whole.
    fn tell_whole(&mut self, whole: &str, content: &Part<'_>, missing: &mut Missing<'_>) {
        let annotations = content.annotations.as_deref().unwrap_or_default();
        for (at, annotation) in annotations.iter().enumerate().skip(self.annotations.len()) {
            let at = at.to_string();
            let members: [(&str, &[u8]); 2] =
                [("annotation_index", at.as_bytes()), ("annotation", annotation.get().as_bytes())];
            missing.of_part("response.output_text.annotation.added", self.part, &members);
        }
        self.annotations
            .extend(annotations.iter().skip(self.annotations.len()).map(|it| (*it).to_owned()));
        if !mem::replace(&mut self.text.is_done, true) {
            let members = [&[(self.kind.field(), whole.as_bytes())], self.kind.more()].concat();
            missing.of_part(self.kind.events()[1], self.part, &members);
        }
    }
}

const ARGUMENTS: [&str; 2] =
    ["response.function_call_arguments.delta", "response.function_call_arguments.done"];
const INPUT: [&str; 2] =
    ["response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"];

/// The events of the arguments of a call, in pieces and whole.
fn call_events(item: &Item<'_>) -> Option<[&'static str; 2]> {
    match &*item.r#type {
        "function_call" => Some(ARGUMENTS),
        "custom_tool_call" => Some(INPUT),
        _ => None,
    }
}

/// An item as it is announced: without the content that it has in the end.
fn begun(raw: &[u8], item: &Item<'_>) -> Vec<u8> {
    let emptied = match &*item.r#type {
        "message" => Some(("content", "[]")),
        "function_call" => Some(("arguments", "\"\"")),
        "custom_tool_call" => Some(("input", "\"\"")),
        "reasoning" => Some(("summary", "[]")),
        _ => None,
    };
    let mut begun = raw.to_vec();
    for (name, value) in [emptied, Some(("status", "\"in_progress\""))].into_iter().flatten() {
        begun = object::with(&begun, name, value.as_bytes()).unwrap_or(begun);
    }
    begun
}
