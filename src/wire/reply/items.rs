//! The output items of an answer, as far as they have arrived.
//!
//! The upstream repeats no item in its last event, so what a client finds there is put together
//! from what was streamed: whole items where they came, and the pieces of those that never did.
//!
//! **Invariant:** one item of the answer is one item of the output, however often it arrived.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    object::{self, Object},
    wire::{
        event::{Delta, EventKind, Item, ItemEvent, read},
        json::write::Array,
        reply::{
            Place, Unreadable,
            chat::write_string,
            complete::{Fate, Missing, Told},
            unreadable,
        },
        sse::{self, Frame},
        tools::ToolNames,
    },
};

#[derive(Debug, Default)]
pub struct Items {
    all: Vec<Arriving>,
    /// The response's id without its kind, for what has no name of its own.
    response: String,
}

#[derive(Debug, Default)]
struct Arriving {
    place: Place,
    /// As it was announced.
    added: Option<Vec<u8>>,
    /// As it is.
    done: Option<Vec<u8>>,
    told: Told,
}

/// What has to become of an event before a client gets it.
#[derive(Debug, Default)]
pub struct Noted {
    /// Events that are missing before it: objects without a `sequence_number`.
    pub missing: Vec<Vec<u8>>,
    /// What stands in its place, if something has to; nothing, if it is withheld.
    pub change: Option<Vec<u8>>,
    /// Events that could not be told before it, likewise.
    pub after: Vec<Vec<u8>>,
}

impl Items {
    /// Learns from an event that carries the response what it is called.
    pub fn of_response(&mut self, frame: &Frame<'_>) {
        let response = Object::read(&frame.data).and_then(|event| event.object("response"));
        if let Some(id) = response.and_then(|response| response.text("id")) {
            let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let own = id.strip_prefix("resp_").unwrap_or(&id);
            self.response = own.chars().filter(is_plain).collect();
        }
    }

    /// Keeps what `frame` brings.
    ///
    /// # Errors
    ///
    /// When an event that carries output is not what its name says.
    pub fn note(
        &mut self,
        kind: EventKind,
        frame: &Frame<'_>,
        names: &ToolNames,
    ) -> Result<Noted, Unreadable> {
        match kind {
            EventKind::ItemAdded | EventKind::ItemDone => self.note_item(kind, frame, names),
            EventKind::TextDelta
            | EventKind::RefusalDelta
            | EventKind::ArgumentsDelta
            | EventKind::InputDelta => {
                self.note_event(kind, frame).ok_or_else(|| unreadable(frame))
            }
            EventKind::TextDone
            | EventKind::RefusalDone
            | EventKind::ArgumentsDone
            | EventKind::InputDone
            | EventKind::PartAdded
            | EventKind::PartDone
            | EventKind::AnnotationAdded
            | EventKind::SummaryPart
            | EventKind::SummaryDelta
            | EventKind::SummaryDone
            | EventKind::ReasoningDelta
            | EventKind::ReasoningDone => Ok(self.note_event(kind, frame).unwrap_or_default()),
            EventKind::Created
            | EventKind::Handshake
            | EventKind::Private
            | EventKind::Completed
            | EventKind::Incomplete
            | EventKind::Failed
            | EventKind::Error
            | EventKind::Other => Ok(Noted::default()),
        }
    }

    fn note_item(
        &mut self,
        kind: EventKind,
        frame: &Frame<'_>,
        names: &ToolNames,
    ) -> Result<Noted, Unreadable> {
        let parts = || {
            let event: ItemEvent<'_> = serde_json::from_slice(&frame.data).ok()?;
            Some((read::<Item<'_>>(event.item)?, event))
        };
        let (item, event) = parts().ok_or_else(|| unreadable(frame))?;
        let raw = event.item.get().as_bytes();
        let own = own_name(raw, names);
        let index = event.output_index();
        let changed = own.as_ref().and_then(|own| with_member(frame, "item", own));
        let at = self.at(index, item.id());
        let mut noted = Noted { change: changed, ..Noted::default() };
        if index.is_none() {
            noted.change = placed(frame, noted.change, &[("output_index", self.index_of(at))]);
        }
        let kept = own.as_deref().unwrap_or(raw);
        let item = own.as_deref().and_then(|own| serde_json::from_slice(own).ok()).unwrap_or(item);
        let (id, index) = (self.id_of(at), self.index_of(at));
        let arriving = &mut self.all[at];
        if kind == EventKind::ItemDone {
            let mut missing = Missing { out: &mut noted.missing, id: &id, index };
            arriving.told.item_done(kept, &item, &mut missing);
            arriving.done = Some(kept.to_vec());
        } else {
            let mut after = Missing { out: &mut noted.after, id: &id, index };
            if arriving.told.added(&item, &mut after) == Fate::Withheld {
                noted.change = Some(Vec::new());
            }
            arriving.added = Some(kept.to_vec());
        }
        Ok(noted)
    }

    /// A piece of an item, or the whole of one of its texts.
    fn note_event(&mut self, kind: EventKind, frame: &Frame<'_>) -> Option<Noted> {
        let event: Delta<'_> = serde_json::from_slice(&frame.data).ok()?;
        let is_piece = matches!(
            kind,
            EventKind::TextDelta
                | EventKind::RefusalDelta
                | EventKind::ArgumentsDelta
                | EventKind::InputDelta
        );
        if is_piece {
            event.delta()?;
        }
        let at = self.of(&event);
        let (id, index) = (self.id_of(at), self.index_of(at));
        let mut noted = Noted::default();
        let mut missing = Missing { out: &mut noted.missing, id: &id, index };
        let told = &mut self.all[at].told;
        let mut lacking = Vec::new();
        let is_call = matches!(
            kind,
            EventKind::ArgumentsDelta
                | EventKind::ArgumentsDone
                | EventKind::InputDelta
                | EventKind::InputDone
        );
        let is_thought = matches!(
            kind,
            EventKind::SummaryPart
                | EventKind::SummaryDelta
                | EventKind::SummaryDone
                | EventKind::ReasoningDelta
                | EventKind::ReasoningDone
        );
        let fate = if is_call {
            told.call_event(kind, &event, &mut missing)
        } else if is_thought {
            told.thought(&mut missing)
        } else {
            let fate = told.part_event(kind, &event, &mut missing);
            if event.part().is_none() {
                lacking.push(("content_index", told.part()));
            }
            fate
        };
        if event.output_index().is_none() {
            lacking.push(("output_index", index));
        }
        noted.change = match fate {
            Fate::Withheld => Some(Vec::new()),
            Fate::Told => placed(frame, None, &lacking),
        };
        Some(noted)
    }

    /// What is missing before the answer can end: the ends of items that never came whole.
    pub fn missing_at_the_end(&mut self, kind: EventKind) -> Vec<Vec<u8>> {
        let status = status_at(kind);
        let mut out = Vec::new();
        for at in 0..self.all.len() {
            let (id, index) = (self.id_of(at), self.index_of(at));
            let Some(whole) = self.all[at].item(status, &id) else { continue };
            let told = &mut self.all[at].told;
            if let (false, Ok(item)) = (told.is_finished(), serde_json::from_slice(&whole)) {
                let mut missing = Missing { out: &mut out, id: &id, index };
                told.item_done(&whole, &item, &mut missing);
                missing.item_done(&whole);
            }
        }
        out
    }

    fn index_of(&self, at: usize) -> u64 {
        let own = self.all[at].place.output_index;
        own.unwrap_or_else(|| u64::try_from(at).unwrap_or(u64::MAX))
    }

    /// What item `at` is called, as a literal.
    fn id_of(&self, at: usize) -> String {
        let own = self.all[at].place.id.as_deref();
        own.map_or_else(|| format!("\"msg_{}_{at}\"", self.response), str::to_owned)
    }

    fn of(&mut self, delta: &Delta<'_>) -> usize {
        let (output_index, id) = (delta.output_index(), delta.item_id());
        let is_nowhere = output_index.is_none() && id.is_none();
        match self.all.len() {
            last @ 1.. if is_nowhere => last - 1,
            _ => self.at(output_index, id),
        }
    }

    fn at(&mut self, output_index: Option<u64>, id: Option<&str>) -> usize {
        let found = self.all.iter().rposition(|arriving| arriving.place.is(output_index, id));
        found.unwrap_or_else(|| {
            let place = Place::new(output_index, id);
            self.all.push(Arriving { place, ..Arriving::default() });
            self.all.len() - 1
        })
    }

    /// Whether nothing has arrived that an output could be made of.
    pub fn is_empty(&self) -> bool {
        self.all.iter().all(|arriving| arriving.item("completed", "\"\"").is_none())
    }

    /// The events of items that a client was told nothing of, from the last event.
    pub fn told_at_once(&mut self, items: &[&RawValue], names: &ToolNames) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for raw in items {
            let whole = own_name(raw.get().as_bytes(), names);
            let whole = whole.as_deref().unwrap_or(raw.get().as_bytes());
            let Ok(item) = serde_json::from_slice::<Item<'_>>(whole) else { continue };
            let at = self.at(None, item.id());
            let (id, index) = (self.id_of(at), self.index_of(at));
            let mut missing = Missing { out: &mut out, id: &id, index };
            self.all[at].told.item_done(whole, &item, &mut missing);
            missing.item_done(whole);
            self.all[at].done = Some(whole.to_vec());
        }
        out
    }

    /// Whether a client was told of any item.
    pub fn has_any(&self) -> bool {
        !self.all.is_empty()
    }

    /// The `output` array: the items in their order.
    pub fn output(&self, kind: EventKind) -> Vec<u8> {
        let status = status_at(kind);
        let mut order: Vec<_> = (0..self.all.len()).collect();
        // Stable: items without an index stay behind the item that they followed.
        order.sort_by_key(|at| self.all[*at].place.output_index.unwrap_or(u64::MAX));
        let mut out = Vec::new();
        let mut array = Array::open(&mut out);
        for at in order {
            if let Some(item) = self.all[at].item(status, &self.id_of(at)) {
                array.item().extend_from_slice(&item);
            }
        }
        array.close();
        out
    }
}

/// What an item is in the end that nobody said the end of.
fn status_at(kind: EventKind) -> &'static str {
    if kind == EventKind::Completed { "completed" } else { "incomplete" }
}

impl Arriving {
    /// The item, put together from its pieces if it never came whole; called `id`, a literal, if
    /// its own name never arrived. `None` without any pieces, or without a name for its tool.
    fn item(&self, status: &str, id: &str) -> Option<Vec<u8>> {
        if self.done.is_some() {
            return self.done.clone();
        }
        let nameless = || format!(r#"{{"id":{id},"type":"message","role":"assistant"}}"#).into();
        let added: Cow<'_, [u8]> =
            self.added.as_deref().map_or_else(|| Cow::Owned(nameless()), Cow::Borrowed);
        let announced: Item<'_> = serde_json::from_slice(&added).ok()?;
        let (member, value) = match &*announced.r#type {
            "function_call" => ("arguments", self.told.arguments()?),
            "custom_tool_call" => ("input", self.told.arguments()?),
            "message" => ("content", self.told.content()?),
            _ => return None,
        };
        let item = object::with(&added, member, &value)?;
        object::with(&item, "status", format!("\"{status}\"").as_bytes())
    }
}

/// The event of `frame`, as it is or as `changed`, with the indexes that it lacks.
fn placed(frame: &Frame<'_>, changed: Option<Vec<u8>>, lacking: &[(&str, u64)]) -> Option<Vec<u8>> {
    lacking.iter().fold(changed, |changed, (name, index)| {
        let index = index.to_string();
        let placed = match &changed {
            None => with_member(frame, name, index.as_bytes()),
            Some(bytes) => with_member(&sse::frames(bytes).next()?, name, index.as_bytes()),
        };
        placed.or(changed)
    })
}

/// `item` with the client's own name of the tool that it calls, unless that is what it has.
fn own_name(item: &[u8], names: &ToolNames) -> Option<Vec<u8>> {
    if names.is_empty() {
        return None;
    }
    let object = Object::read(item)?;
    let upstream = object.text("name")?;
    let own = names.client(&upstream);
    if own == upstream {
        return None;
    }
    let mut literal = Vec::new();
    write_string(own, &mut literal);
    let mut out = Vec::new();
    object.write_with("name", &literal, &mut out);
    Some(out)
}

/// The response object `raw` with the client's own names of its tools, wherever it says them.
pub fn with_own_names(raw: &[u8], names: &ToolNames) -> Option<Vec<u8>> {
    if names.is_empty() {
        return None;
    }
    let mut out: Option<Vec<u8>> = None;
    let mut replace = |member: &str, renamed: Option<Vec<u8>>| {
        let Some(renamed) = renamed else { return };
        let before = out.take().unwrap_or_else(|| raw.to_vec());
        let mut next = Vec::with_capacity(before.len());
        if let Some(object) = Object::read(&before) {
            object.write_with(member, &renamed, &mut next);
            out = Some(next);
        }
    };
    let object = Object::read(raw)?;
    for list in ["output", "tools"] {
        replace(list, object.raw(list).and_then(|list| own_names(list.get(), names)));
    }
    let choice = object.raw("tool_choice").map(|choice| choice.get().as_bytes());
    replace("tool_choice", choice.and_then(|choice| own_choice(choice, names)));
    out
}

/// A choice of one tool by its name, or of several.
fn own_choice(choice: &[u8], names: &ToolNames) -> Option<Vec<u8>> {
    let object = Object::read(choice)?;
    let Some(tools) = object.raw("tools") else { return own_name(choice, names) };
    let mut out = Vec::new();
    object.write_with("tools", &own_names(tools.get(), names)?, &mut out);
    Some(out)
}

/// An array of objects that have names, of which at least one is not the client's own.
fn own_names(list: &str, names: &ToolNames) -> Option<Vec<u8>> {
    let items: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let renamed: Vec<_> = items.iter().map(|item| own_name(item.get().as_bytes(), names)).collect();
    renamed.iter().any(Option::is_some).then(|| {
        let mut out = Vec::with_capacity(list.len());
        let mut array = Array::open(&mut out);
        for (item, own) in items.iter().zip(renamed) {
            array.item().extend_from_slice(own.as_deref().unwrap_or(item.get().as_bytes()));
        }
        array.close();
        out
    })
}

/// The event of `frame` with `value` as the member `name` of its data.
pub fn with_member(frame: &Frame<'_>, name: &str, value: &[u8]) -> Option<Vec<u8>> {
    let object = Object::read(&frame.data)?;
    let mut out = Vec::with_capacity(frame.raw.len() + value.len());
    if !frame.name.is_empty() {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(frame.name);
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    let start = out.len();
    object.write_with(name, value, &mut out);
    // Data that came in several lines has line ends between its values; one inside a value would
    // have been escaped.
    for byte in out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    out.extend_from_slice(b"\n\n");
    Some(out)
}
