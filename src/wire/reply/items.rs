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
        reply::{Place, Unreadable, chat::write_string, joined::Joined, unreadable},
        sse::Frame,
        tools::ToolNames,
    },
};

#[derive(Debug, Default)]
pub struct Items(Vec<Arriving>);

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
}

impl Items {
    /// Keeps what `frame` brings. Gives the event that stands in its place, if one has to.
    ///
    /// # Errors
    ///
    /// When an event that carries output is not what its name says.
    pub fn note(
        &mut self,
        kind: EventKind,
        frame: &Frame<'_>,
        names: &ToolNames,
    ) -> Result<Option<Vec<u8>>, Unreadable> {
        if matches!(kind, EventKind::ItemAdded | EventKind::ItemDone) {
            return self.note_item(kind, frame, names);
        }
        if matches!(
            kind,
            EventKind::TextDelta
                | EventKind::RefusalDelta
                | EventKind::ArgumentsDelta
                | EventKind::InputDelta
        ) {
            self.note_piece(kind, frame).ok_or_else(|| unreadable(frame))?;
        }
        if matches!(kind, EventKind::TextDone | EventKind::ArgumentsDone | EventKind::InputDone) {
            self.note_whole(frame);
        }
        Ok(None)
    }

    fn note_item(
        &mut self,
        kind: EventKind,
        frame: &Frame<'_>,
        names: &ToolNames,
    ) -> Result<Option<Vec<u8>>, Unreadable> {
        let parts = || {
            let event: ItemEvent<'_> = serde_json::from_slice(&frame.data).ok()?;
            Some((read::<Item<'_>>(event.item)?, event))
        };
        let (item, event) = parts().ok_or_else(|| unreadable(frame))?;
        let raw = event.item.get().as_bytes();
        let own = own_name(raw, names);
        let changed = own.as_ref().and_then(|own| with_member(frame, "item", own));
        let arriving = self.at(event.output_index(), item.id());
        let kept = Some(own.unwrap_or_else(|| raw.to_vec()));
        if kind == EventKind::ItemDone {
            arriving.done = kept;
            arriving.pieces = Joined::default();
        } else {
            arriving.added = kept;
        }
        Ok(changed)
    }

    fn note_piece(&mut self, kind: EventKind, frame: &Frame<'_>) -> Option<()> {
        let event: Delta<'_> = serde_json::from_slice(&frame.data).ok()?;
        let piece = event.delta()?;
        let arriving = self.of(&event);
        if kind == EventKind::RefusalDelta {
            arriving.refusal.push(piece);
        } else {
            arriving.pieces.push(piece);
        }
        Some(())
    }

    /// What comes whole matters only when it did not come in pieces.
    fn note_whole(&mut self, frame: &Frame<'_>) {
        let Ok(event) = serde_json::from_slice::<Delta<'_>>(&frame.data) else { return };
        let Some(whole) = event.whole() else { return };
        let arriving = self.of(&event);
        if arriving.done.is_none() && arriving.pieces.is_empty() {
            arriving.pieces.push(whole);
        }
    }

    fn of(&mut self, delta: &Delta<'_>) -> &mut Arriving {
        let (output_index, id) = (delta.output_index(), delta.item_id());
        let is_nowhere = output_index.is_none() && id.is_none();
        match self.0.len() {
            last @ 1.. if is_nowhere => &mut self.0[last - 1],
            _ => self.at(output_index, id),
        }
    }

    fn at(&mut self, output_index: Option<u64>, id: Option<&str>) -> &mut Arriving {
        let found = self.0.iter().rposition(|arriving| arriving.place.is(output_index, id));
        let at = found.unwrap_or_else(|| {
            let place = Place::new(output_index, id);
            self.0.push(Arriving { place, ..Arriving::default() });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// Whether nothing has arrived that an output could be made of.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Arriving::is_empty)
    }

    /// The `output` array of the response `id`: the items in their order.
    pub fn output(&mut self, kind: EventKind, id: &str) -> Vec<u8> {
        let status = if kind == EventKind::Incomplete { "incomplete" } else { "completed" };
        // Stable: items without an index stay behind the item that they followed.
        self.0.sort_by_key(|arriving| arriving.place.output_index.unwrap_or(u64::MAX));
        let mut out = vec![b'['];
        let name = id.strip_prefix("resp_").unwrap_or(id);
        let all = self.0.iter().enumerate();
        for item in all.filter_map(|(n, it)| it.item(status, &format!("msg_{name}_{n}"))) {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(&item);
        }
        out.push(b']');
        out
    }
}

impl Arriving {
    fn is_empty(&self) -> bool {
        self.done.is_none() && self.pieces.is_empty() && self.refusal.is_empty()
    }

    /// The item, put together from its pieces if it never came whole; called `name` if its own
    /// name never arrived. `None` without any pieces.
    fn item(&self, status: &str, name: &str) -> Option<Vec<u8>> {
        if self.done.is_some() {
            return self.done.clone();
        }
        let id = self.place.id.as_deref().map_or_else(|| format!("\"{name}\""), str::to_owned);
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
