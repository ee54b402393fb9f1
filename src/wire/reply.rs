//! From upstream events to what a client is told, in any dialect.
//!
//! [`Reader`] is the one place that knows how an answer arrives: in deltas, in `done` events, in
//! whole items, or in any mixture of them, with or without indexes. It hands every piece exactly
//! once and in order to a [`Sink`], which knows one dialect and nothing of the upstream. A stream
//! and a collected answer differ only in their sink, so they cannot disagree.
//!
//! Text travels as JSON string literals, quotes and escapes included, and is decoded only where an
//! event repeats what was sent already.
//!
//! **Invariant:** what sinks receive for one item is the item's text once, however often and in
//! whatever form it arrived.

pub mod chat;
pub mod compaction;
mod complete;
pub mod completions;
#[cfg(any(test, feature = "internals"))]
pub mod heard;
pub mod items;
mod joined;
pub mod responses;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::wire::{
    event::{
        AnnotationEvent, Delta, EventKind, Item, ItemEvent, ResponseEvent, ResponseHead, read,
    },
    sse::{self, Frame},
    usage::TokenUsage,
};

/// What separates the messages and reasoning parts of one answer where a dialect has one text.
const BREAK: &str = "\"\\n\\n\"";
const BREAK_CHARS: usize = 2;

/// One dialect's view of an answer. Literals are JSON strings with their quotes.
pub trait Sink {
    /// The response object became known. May not happen before other pieces.
    fn started(&mut self, head: &ResponseHead<'_>);
    fn text(&mut self, literal: &str);
    fn refusal(&mut self, literal: &str);
    fn reasoning(&mut self, literal: &str);
    /// `before` counts the characters of text that the sink was given before the part of a message
    /// that the annotation belongs to: its places count from there.
    fn annotation(&mut self, annotation: &RawValue, before: usize);
    fn call(&mut self, call: &Call<'_>);
    fn arguments(&mut self, index: usize, kind: CallKind, literal: &str);
}

/// A tool call that begins. Its arguments follow.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Counts the calls of one answer from zero.
    pub index: usize,
    pub kind: CallKind,
    /// The `call_id`, as a literal.
    pub id: &'a str,
    /// As the upstream knows it.
    pub name: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Function,
    Custom,
}

/// How an answer ended that is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    /// Why it is not whole, when it is not.
    pub incomplete: Option<Cutoff>,
    pub usage: Option<TokenUsage>,
    /// The `usage` object as it arrived, for the log.
    pub raw_usage: Option<Bytes>,
    pub response_id: Option<String>,
    pub model: Option<String>,
    /// By which tier the upstream says that it served.
    pub service_tier: Option<String>,
}

/// Why an answer stops before its end. A reason that is not known counts as the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    Length,
    ContentFilter,
}

impl End {
    /// Where an answer stands after its last event, which may say that it failed after all.
    fn progress(kind: EventKind, head: &ResponseHead<'_>, frame: &Frame<'_>) -> Progress {
        if head.status.as_deref() == Some("failed") {
            return Progress::Failed(Bytes::copy_from_slice(&frame.data));
        }
        Progress::Ended(Box::new(Self::of(kind, head)))
    }

    fn of(kind: EventKind, head: &ResponseHead<'_>) -> Self {
        let usage = head.usage.map(RawValue::get).filter(|raw| *raw != "null");
        Self {
            incomplete: is_incomplete(kind, head).then(|| {
                match head.incomplete_reason().as_deref() {
                    Some("content_filter") => Cutoff::ContentFilter,
                    Some(_) | None => Cutoff::Length,
                }
            }),
            usage: usage.and_then(TokenUsage::read),
            raw_usage: usage.map(|raw| Bytes::copy_from_slice(raw.as_bytes())),
            response_id: head.id.as_deref().map(str::to_owned),
            model: head.model.as_deref().map(str::to_owned),
            service_tier: head.service_tier.clone(),
        }
    }
}

/// The event says so, or what it carries.
fn is_incomplete(kind: EventKind, head: &ResponseHead<'_>) -> bool {
    kind == EventKind::Incomplete || head.status.as_deref() == Some("incomplete")
}

/// Where a reader stands after some events.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    More,
    Ended(Box<End>),
    /// With the `data` of the event that says so.
    Failed(Bytes),
}

/// An event that carries output cannot be understood, so the answer cannot be relied upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream sent an unreadable `{event}` event")]
pub struct Unreadable {
    event: String,
}

/// Hands the pieces of one answer to a sink.
#[derive(Debug, Default)]
pub struct Reader {
    items: Vec<Tracked>,
    n_calls: usize,
    /// Where the last piece of text belonged, to tell one message from the next.
    text_item: Option<usize>,
    /// How many characters of text were handed on.
    text_chars: usize,
    /// Where the last piece of reasoning belonged: its item and part.
    reasoning_part: Option<(usize, Thought, u64)>,
}

/// What was handed on of one output item. Lengths are those of the decoded text, in bytes.
#[derive(Debug, Default)]
struct Tracked {
    place: Place,
    call: Option<(usize, CallKind)>,
    done: bool,
    text: usize,
    /// The part that the last piece of text belonged to.
    part: u64,
    parts: Vec<TextPart>,
    refusal: usize,
    arguments: usize,
    annotations: usize,
    thoughts: Vec<(Thought, u64, usize)>,
}

/// What was handed on of one part of a message.
#[derive(Debug)]
struct TextPart {
    part: u64,
    bytes: usize,
    /// Characters of text before it.
    before: usize,
}

/// The two forms that reasoning has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thought {
    Summary,
    Raw,
}

impl Tracked {
    fn sent_of_part(&self, part: u64) -> usize {
        self.parts.iter().find(|known| known.part == part).map_or(0, |known| known.bytes)
    }

    fn sent_of_thought(&mut self, kind: Thought, part: u64) -> &mut usize {
        let found = self.thoughts.iter().position(|(k, p, _)| *k == kind && *p == part);
        let at = found.unwrap_or_else(|| {
            self.thoughts.push((kind, part, 0));
            self.thoughts.len() - 1
        });
        &mut self.thoughts[at].2
    }
}

impl Reader {
    /// Reads a run of whole events up to the one that ends the answer.
    ///
    /// # Errors
    ///
    /// When an event that carries output is not what its name says.
    pub fn read_run(&mut self, run: &[u8], sink: &mut impl Sink) -> Result<Progress, Unreadable> {
        for frame in sse::frames(run) {
            let progress = self.read(&frame, sink)?;
            if progress != Progress::More {
                return Ok(progress);
            }
        }
        Ok(Progress::More)
    }

    /// Reads one event.
    ///
    /// # Errors
    ///
    /// When it carries output and is not what its name says.
    pub fn read(
        &mut self,
        frame: &Frame<'_>,
        sink: &mut impl Sink,
    ) -> Result<Progress, Unreadable> {
        let kind = EventKind::of(frame);
        self.dispatch(kind, frame, sink).ok_or_else(|| unreadable(frame))
    }

    fn dispatch(
        &mut self,
        kind: EventKind,
        frame: &Frame<'_>,
        sink: &mut impl Sink,
    ) -> Option<Progress> {
        match kind {
            EventKind::TextDelta => self.text_delta(&parse(frame)?, sink)?,
            EventKind::TextDone => self.text_done(&parse(frame)?, sink),
            EventKind::RefusalDelta => self.refusal_delta(&parse(frame)?, sink)?,
            EventKind::ArgumentsDelta | EventKind::InputDelta => {
                self.arguments_delta(&parse(frame)?, sink)?;
            }
            EventKind::ArgumentsDone | EventKind::InputDone => {
                self.arguments_done(&parse(frame)?, sink);
            }
            EventKind::SummaryDelta => {
                self.reasoning_delta(Thought::Summary, &parse(frame)?, sink)?;
            }
            EventKind::ReasoningDelta => {
                self.reasoning_delta(Thought::Raw, &parse(frame)?, sink)?;
            }
            EventKind::SummaryDone => {
                self.reasoning_done(Thought::Summary, &parse(frame)?, sink);
            }
            EventKind::ReasoningDone => self.reasoning_done(Thought::Raw, &parse(frame)?, sink),
            EventKind::AnnotationAdded => self.annotation_added(&parse(frame)?, sink),
            EventKind::ItemAdded => {
                let event: ItemEvent<'_> = parse(frame)?;
                self.item_added(event.output_index(), event.item, sink)?;
            }
            EventKind::ItemDone => {
                let event: ItemEvent<'_> = parse(frame)?;
                self.item_done(event.output_index(), event.item, sink)?;
            }
            EventKind::Created => {
                let event: ResponseEvent<'_> = parse(frame)?;
                sink.started(&read(event.response).unwrap_or_default());
            }
            EventKind::Completed | EventKind::Incomplete => return self.end(kind, frame, sink),
            EventKind::Failed | EventKind::Error => {
                return Some(Progress::Failed(Bytes::copy_from_slice(&frame.data)));
            }
            EventKind::RefusalDone => self.refusal_done(&parse(frame)?, sink),
            EventKind::SummaryPart
            | EventKind::PartAdded
            | EventKind::PartDone
            | EventKind::Handshake
            | EventKind::Private
            | EventKind::Other => {}
        }
        Some(Progress::More)
    }

    fn text_delta(&mut self, delta: &Delta<'_>, sink: &mut impl Sink) -> Option<()> {
        let literal = delta.delta()?;
        let at = self.of_delta(delta);
        let part = delta.part().unwrap_or(self.items[at].part);
        self.send_text(at, part, literal, sink);
        Some(())
    }

    fn text_done(&mut self, done: &Delta<'_>, sink: &mut impl Sink) {
        let at = self.of_delta(done);
        let part = done.part().unwrap_or(self.items[at].part);
        let sent = self.items[at].sent_of_part(part);
        if let Some(missing) = done.whole().and_then(|whole| remainder(whole, sent)) {
            self.send_text(at, part, &missing, sink);
        }
    }

    fn send_text(&mut self, at: usize, part: u64, literal: &str, sink: &mut impl Sink) {
        if literal == "\"\"" {
            return;
        }
        if self.text_item.is_some_and(|last| last != at) {
            self.text_chars += BREAK_CHARS;
            sink.text(BREAK);
        }
        self.text_item = Some(at);
        let text = decode(literal);
        let item = &mut self.items[at];
        item.part = part;
        item.text += text.len();
        match item.parts.iter_mut().find(|known| known.part == part) {
            Some(known) => known.bytes += text.len(),
            None => {
                item.parts.push(TextPart { part, bytes: text.len(), before: self.text_chars });
            }
        }
        self.text_chars += text.chars().count();
        sink.text(literal);
    }

    fn annotation_added(&mut self, event: &AnnotationEvent<'_>, sink: &mut impl Sink) {
        let (output_index, id) = (event.output_index(), event.item_id());
        let at = match self.find(output_index, id) {
            Some(at) => at,
            None if output_index.is_none() && id.is_none() => {
                self.text_item.unwrap_or_else(|| self.open(None, None))
            }
            None => self.open(output_index, id),
        };
        self.items[at].annotations += 1;
        let part = event.part().unwrap_or(self.items[at].part);
        sink.annotation(event.annotation, self.before(at, part));
    }

    /// How many characters of text stand before a part of an item.
    fn before(&self, at: usize, part: u64) -> usize {
        let known = self.items[at].parts.iter().find(|known| known.part == part);
        let gap = if self.text_item.is_some_and(|last| last != at) { BREAK_CHARS } else { 0 };
        known.map_or(self.text_chars + gap, |known| known.before)
    }

    fn refusal_delta(&mut self, delta: &Delta<'_>, sink: &mut impl Sink) -> Option<()> {
        let literal = delta.delta()?;
        let at = self.of_delta(delta);
        self.items[at].refusal += decoded_len(literal);
        sink.refusal(literal);
        Some(())
    }

    fn refusal_done(&mut self, done: &Delta<'_>, sink: &mut impl Sink) {
        let at = self.of_delta(done);
        let item = &mut self.items[at];
        if let Some(missing) = done.whole().and_then(|whole| remainder(whole, item.refusal)) {
            item.refusal += decoded_len(&missing);
            sink.refusal(&missing);
        }
    }

    fn arguments_delta(&mut self, delta: &Delta<'_>, sink: &mut impl Sink) -> Option<()> {
        let literal = delta.delta()?;
        let at = self.of_delta(delta);
        // A call that was never announced has no name yet; its item will bring everything.
        if let Some((index, kind)) = self.items[at].call {
            self.items[at].arguments += decoded_len(literal);
            sink.arguments(index, kind, literal);
        }
        Some(())
    }

    fn arguments_done(&mut self, done: &Delta<'_>, sink: &mut impl Sink) {
        let at = self.of_delta(done);
        if let Some(whole) = done.whole() {
            self.complete_arguments(at, whole, sink);
        }
    }

    fn complete_arguments(&mut self, at: usize, whole: &str, sink: &mut impl Sink) {
        let item = &mut self.items[at];
        if let (Some((index, kind)), Some(missing)) = (item.call, remainder(whole, item.arguments))
        {
            item.arguments += decoded_len(&missing);
            sink.arguments(index, kind, &missing);
        }
    }

    fn reasoning_delta(
        &mut self,
        kind: Thought,
        delta: &Delta<'_>,
        sink: &mut impl Sink,
    ) -> Option<()> {
        let literal = delta.delta()?;
        let at = self.of_delta(delta);
        self.send_reasoning((at, kind, delta.part().unwrap_or(0)), literal, sink);
        Some(())
    }

    fn reasoning_done(&mut self, kind: Thought, done: &Delta<'_>, sink: &mut impl Sink) {
        let at = self.of_delta(done);
        if let Some(whole) = done.whole() {
            self.complete_reasoning((at, kind, done.part().unwrap_or(0)), whole, sink);
        }
    }

    fn complete_reasoning(
        &mut self,
        part: (usize, Thought, u64),
        whole: &str,
        sink: &mut impl Sink,
    ) {
        let sent = *self.items[part.0].sent_of_thought(part.1, part.2);
        if let Some(missing) = remainder(whole, sent) {
            self.send_reasoning(part, &missing, sink);
        }
    }

    fn send_reasoning(&mut self, part: (usize, Thought, u64), literal: &str, sink: &mut impl Sink) {
        if literal == "\"\"" {
            return;
        }
        if self.reasoning_part.is_some_and(|last| last != part) {
            sink.reasoning(BREAK);
        }
        self.reasoning_part = Some(part);
        let (at, kind, part) = part;
        *self.items[at].sent_of_thought(kind, part) += decoded_len(literal);
        sink.reasoning(literal);
    }

    fn item_added(
        &mut self,
        output_index: Option<u64>,
        raw: &RawValue,
        sink: &mut impl Sink,
    ) -> Option<()> {
        let item: Item<'_> = read(raw)?;
        let at = self.open(output_index, item.id());
        self.announce(at, &item, sink);
        Some(())
    }

    /// Tells of a call as soon as its name is known.
    fn announce(&mut self, at: usize, item: &Item<'_>, sink: &mut impl Sink) {
        let kind = match &*item.r#type {
            "function_call" => CallKind::Function,
            "custom_tool_call" => CallKind::Custom,
            _ => return,
        };
        if let (None, Some(id), Some(name)) = (self.items[at].call, item.call_id(), &item.name) {
            let index = self.n_calls;
            self.n_calls += 1;
            self.items[at].call = Some((index, kind));
            sink.call(&Call { index, kind, id, name });
        }
    }

    fn item_done(
        &mut self,
        output_index: Option<u64>,
        raw: &RawValue,
        sink: &mut impl Sink,
    ) -> Option<()> {
        let item: Item<'_> = read(raw)?;
        let at = self
            .find(output_index, item.id())
            .unwrap_or_else(|| self.open(output_index, item.id()));
        if std::mem::replace(&mut self.items[at].done, true) {
            return Some(());
        }
        match &*item.r#type {
            "message" => self.complete_message(at, &item, sink),
            "reasoning" => self.complete_thoughts(at, &item, sink),
            _ => {
                self.announce(at, &item, sink);
                if let Some(whole) = item.arguments() {
                    self.complete_arguments(at, whole, sink);
                }
            }
        }
        Some(())
    }

    /// A summary is told rather than what it summarises.
    fn complete_thoughts(&mut self, at: usize, item: &Item<'_>, sink: &mut impl Sink) {
        let summary = item.summary();
        let is_summed_up = self.items[at].thoughts.iter().any(|(k, ..)| *k == Thought::Summary);
        let (kind, parts) = if summary.is_empty() && !is_summed_up {
            (Thought::Raw, item.content())
        } else {
            (Thought::Summary, summary)
        };
        for (part, thought) in (0..).zip(parts) {
            if let Some(text) = thought.text() {
                self.complete_reasoning((at, kind, part), text, sink);
            }
        }
    }

    fn complete_message(&mut self, at: usize, item: &Item<'_>, sink: &mut impl Sink) {
        let (mut text, mut refusal) = (String::new(), String::new());
        let mut annotations = Vec::new();
        for (part, content) in (0..).zip(item.content()) {
            // Deltas may come without the number of their part, so the whole text decides what is
            // missing of it.
            if let Some(piece) = content.text().map(decode) {
                let start = text.len();
                text.push_str(&piece);
                let sent = self.items[at].text;
                if let Some(missing) = text.get(sent.max(start)..).filter(|it| !it.is_empty()) {
                    let missing = serde_json::to_string(missing).unwrap_or_default();
                    self.send_text(at, part, &missing, sink);
                }
            }
            refusal.extend(content.refusal().map(decode));
            let cited = content.annotations.unwrap_or_default();
            annotations.extend(cited.into_iter().map(|annotation| (part, annotation)));
        }
        if let Some(missing) = tail(&refusal, self.items[at].refusal) {
            self.items[at].refusal = refusal.len();
            sink.refusal(&missing);
        }
        for (part, annotation) in annotations.into_iter().skip(self.items[at].annotations) {
            sink.annotation(annotation, self.before(at, part));
        }
    }

    fn end(
        &mut self,
        kind: EventKind,
        frame: &Frame<'_>,
        sink: &mut impl Sink,
    ) -> Option<Progress> {
        let event: ResponseEvent<'_> = parse(frame)?;
        let head: ResponseHead<'_> = read(event.response)?;
        sink.started(&head);
        // The older backend put the items here as well; streamed ones are authoritative.
        if self.items.is_empty() {
            for (index, item) in (0..).zip(head.items()) {
                self.item_done(Some(index), item, sink)?;
            }
        }
        Some(End::progress(kind, &head, frame))
    }

    fn of_delta(&mut self, delta: &Delta<'_>) -> usize {
        let (output_index, id) = (delta.output_index(), delta.item_id());
        match self.find(output_index, id) {
            Some(at) => at,
            None if output_index.is_none() && id.is_none() && !self.items.is_empty() => {
                self.items.len() - 1
            }
            None => self.open(output_index, id),
        }
    }

    fn find(&self, output_index: Option<u64>, id: Option<&str>) -> Option<usize> {
        self.items.iter().rposition(|item| item.place.is(output_index, id))
    }

    fn open(&mut self, output_index: Option<u64>, id: Option<&str>) -> usize {
        self.items.push(Tracked { place: Place::new(output_index, id), ..Tracked::default() });
        self.items.len() - 1
    }
}

/// What tells one output item from another: its index where it has one, else its id.
#[derive(Debug, Default)]
struct Place {
    output_index: Option<u64>,
    id: Option<Box<str>>,
}

impl Place {
    fn new(output_index: Option<u64>, id: Option<&str>) -> Self {
        Self { output_index, id: id.map(Into::into) }
    }

    fn is(&self, output_index: Option<u64>, id: Option<&str>) -> bool {
        match (output_index, id) {
            (Some(index), _) if self.output_index.is_some() => self.output_index == Some(index),
            (_, Some(id)) => self.id.as_deref() == Some(id),
            (_, None) => false,
        }
    }
}

fn unreadable(frame: &Frame<'_>) -> Unreadable {
    Unreadable { event: String::from_utf8_lossy(frame.name).into_owned() }
}

fn parse<'a, T: serde::Deserialize<'a>>(frame: &'a Frame<'_>) -> Option<T> {
    serde_json::from_slice(&frame.data).ok()
}

/// The text that a literal stands for. One that is no valid text counts as written.
fn decode(literal: &str) -> Cow<'_, str> {
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or("");
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str(literal).map_or(Cow::Borrowed(inner), Cow::Owned)
}

fn decoded_len(literal: &str) -> usize {
    decode(literal).len()
}

/// What of the text of `whole` comes after its first `sent` bytes, as a literal.
fn remainder(whole: &str, sent: usize) -> Option<String> {
    tail(&decode(whole), sent)
}

fn tail(text: &str, sent: usize) -> Option<String> {
    let missing = text.get(sent..).filter(|missing| !missing.is_empty())?;
    serde_json::to_string(missing).ok()
}

#[cfg(test)]
mod tests;
