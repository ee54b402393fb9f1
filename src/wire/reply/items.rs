//! The output items of an answer, as far as they have arrived.
//!
//! The upstream repeats no item in its last event, so what a client finds there is put together
//! from what was streamed: whole items where they came, and the pieces of those that never did.
//!
//! **Invariant:** one item of the answer is one item of the output, however often it arrived.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    object::Object,
    wire::{
        event::{Delta, EventKind, Item, ItemEvent, read},
        json::write::Array,
        reply::{
            Place, Unreadable,
            chat::write_string,
            complete::{Missing, Seen},
            joined::Joined,
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
    /// The pieces of its text, arguments or input.
    pieces: Joined,
    refusal: Joined,
    seen: Seen,
}

/// What has to become of an event before a client gets it.
#[derive(Debug, Default)]
pub struct Noted {
    /// Events that are missing before it: objects without a `sequence_number`.
    pub missing: Vec<Vec<u8>>,
    /// What stands in its place, if something has to; nothing, if it cannot be told yet.
    pub change: Option<Vec<u8>>,
}

impl Items {
    /// Learns from an event that carries the response what it is called.
    pub fn of_response(&mut self, frame: &Frame<'_>) {
        let response = Object::read(&frame.data).and_then(|event| event.object("response"));
        if let Some(id) = response.and_then(|response| response.text("id")) {
            id.strip_prefix("resp_").unwrap_or(&id).clone_into(&mut self.response);
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
            | EventKind::AnnotationAdded => Ok(self.note_event(kind, frame).unwrap_or_default()),
            EventKind::Created
            | EventKind::Handshake
            | EventKind::Private
            | EventKind::SummaryPartAdded
            | EventKind::SummaryDelta
            | EventKind::SummaryDone
            | EventKind::ReasoningDelta
            | EventKind::ReasoningDone
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
        let change = match index {
            Some(_) => changed,
            None => self.indexed(at, frame, changed),
        };
        let mut missing = Vec::new();
        let kept = own.unwrap_or_else(|| raw.to_vec());
        if kind == EventKind::ItemDone {
            let (id, index) = (self.id_of(at), self.index_of(at));
            let arriving = &mut self.all[at];
            if let Ok(item) = serde_json::from_slice::<Item<'_>>(&kept) {
                let mut missing = Missing { out: &mut missing, id: &id, index };
                arriving.seen.item_done(&kept, &item, &mut missing);
            }
            arriving.done = Some(kept);
            arriving.pieces = Joined::default();
        } else {
            self.all[at].seen.announced();
            self.all[at].added = Some(kept);
        }
        Ok(Noted { missing, change })
    }

    /// A piece of an item, or the whole of one of its texts.
    fn note_event(&mut self, kind: EventKind, frame: &Frame<'_>) -> Option<Noted> {
        let event: Delta<'_> = serde_json::from_slice(&frame.data).ok()?;
        let at = self.of(&event);
        let is_delta = event.delta().is_some();
        let is_piece = matches!(
            kind,
            EventKind::TextDelta | EventKind::ArgumentsDelta | EventKind::InputDelta
        );
        let is_whole =
            matches!(kind, EventKind::TextDone | EventKind::ArgumentsDone | EventKind::InputDone);
        let arriving = &mut self.all[at];
        if is_piece {
            arriving.pieces.push(event.delta()?);
        } else if kind == EventKind::RefusalDelta {
            arriving.refusal.push(event.delta()?);
        } else if let (true, Some(whole)) = (is_whole, event.whole())
            && arriving.done.is_none()
            && arriving.pieces.is_empty()
        {
            // What comes whole matters only when it did not come in pieces.
            arriving.pieces.push(whole);
        }
        let (id, index) = (self.id_of(at), self.index_of(at));
        let mut out = Vec::new();
        let mut missing = Missing { out: &mut out, id: &id, index };
        let seen = &mut self.all[at].seen;
        if matches!(
            kind,
            EventKind::ArgumentsDelta
                | EventKind::ArgumentsDone
                | EventKind::InputDelta
                | EventKind::InputDone
        ) {
            // Nobody can tell yet which tool is called; the item will.
            if !seen.is_announced() {
                return Some(Noted { change: Some(Vec::new()), ..Noted::default() });
            }
            seen.call_event(kind, event.whole(), &mut missing);
        } else {
            let whole = event.whole().filter(|_| !is_delta);
            seen.part_event(kind, event.part(), whole, &mut missing);
        }
        let change = match event.output_index() {
            Some(_) => None,
            None => self.indexed(at, frame, None),
        };
        Some(Noted { missing: out, change })
    }

    /// The event of `frame`, as it is or as `changed`, with the index that it lacks.
    fn indexed(&self, at: usize, frame: &Frame<'_>, changed: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let index = self.index_of(at).to_string();
        match &changed {
            None => with_member(frame, "output_index", index.as_bytes()),
            Some(bytes) => {
                with_member(&sse::frames(bytes).next()?, "output_index", index.as_bytes())
            }
        }
        .or(changed)
    }

    /// What is missing before the answer can end: the ends of items that never came whole.
    pub fn missing_at_the_end(&mut self, kind: EventKind) -> Vec<Vec<u8>> {
        let status = status_at(kind);
        let mut out = Vec::new();
        for at in 0..self.all.len() {
            let (id, index) = (self.id_of(at), self.index_of(at));
            let Some(whole) = self.all[at].item(status, &id) else { continue };
            let seen = &mut self.all[at].seen;
            if let (false, Ok(item)) = (seen.is_finished(), serde_json::from_slice(&whole)) {
                let mut missing = Missing { out: &mut out, id: &id, index };
                seen.item_done(&whole, &item, &mut missing);
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
        self.all.iter().all(Arriving::is_empty)
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
    fn is_empty(&self) -> bool {
        self.done.is_none() && self.pieces.is_empty() && self.refusal.is_empty()
    }

    /// The item, put together from its pieces if it never came whole; called `id`, a literal, if
    /// its own name never arrived. `None` without any pieces.
    fn item(&self, status: &str, id: &str) -> Option<Vec<u8>> {
        if self.done.is_some() {
            return self.done.clone();
        }
        let nameless = || format!(r#"{{"id":{id},"type":"message","role":"assistant"}}"#).into();
        let added: Cow<'_, [u8]> =
            self.added.as_deref().map_or_else(|| Cow::Owned(nameless()), Cow::Borrowed);
        let announced: Item<'_> = serde_json::from_slice(&added).ok()?;
        let (member, value) = match &*announced.r#type {
            "function_call" => ("arguments", self.pieces.literal()),
            "custom_tool_call" => ("input", self.pieces.literal()),
            "message" if !self.is_empty() => ("content", self.content()),
            _ => return None,
        };
        let mut item = Vec::new();
        write_with(&Object::read(&added)?, member, &value, &mut item);
        let mut whole = Vec::new();
        let status = format!("\"{status}\"");
        write_with(&Object::read(&item)?, "status", status.as_bytes(), &mut whole);
        Some(whole)
    }

    fn content(&self) -> Vec<u8> {
        let mut content = vec![b'['];
        if !self.pieces.is_empty() {
            content.extend_from_slice(
                br#"{"type":"output_text","annotations":[],"logprobs":[],"text":"#,
            );
            self.pieces.write(&mut content);
            content.push(b'}');
        }
        if !self.refusal.is_empty() {
            if content.len() > 1 {
                content.push(b',');
            }
            content.extend_from_slice(br#"{"type":"refusal","refusal":"#);
            self.refusal.write(&mut content);
            content.push(b'}');
        }
        content.push(b']');
        content
    }
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
    write_with(&object, "name", &literal, &mut out);
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
            write_with(&object, member, &renamed, &mut next);
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
    write_with(&object, "tools", &own_names(tools.get(), names)?, &mut out);
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
    write_with(&object, name, value, &mut out);
    // Data that came in several lines has line ends between its values; one inside a value would
    // have been escaped.
    for byte in out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    out.extend_from_slice(b"\n\n");
    Some(out)
}

/// Appends `object` with `value` as its member `name`, which is added when missing.
pub fn write_with(object: &Object<'_>, name: &str, value: &[u8], out: &mut Vec<u8>) {
    let mut separator = b'{';
    let mut member = |key: &str, raw: &[u8]| {
        out.push(separator);
        separator = b',';
        write_string(key, out);
        out.push(b':');
        out.extend_from_slice(raw);
    };
    let mut found = false;
    for (key, raw) in object.fields() {
        let is_it = key == name;
        found |= is_it;
        member(key, if is_it { value } else { raw.get().as_bytes() });
    }
    if !found {
        member(name, value);
    }
    out.push(b'}');
}
