//! Answers in the dialect of the older Completions: text and nothing else.
//!
//! A refusal is told as text, since the dialect has no other place for it; reasoning is not.

use serde_json::value::RawValue;

use crate::wire::{
    event::{ResponseHead, whole_seconds},
    reply::{Call, CallKind, Cutoff, End, Sink, chat::write_string, joined::Joined},
};

/// What the request decided about its answer.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `cmpl-…`
    pub id: String,
    pub model: String,
    /// Unix seconds.
    pub created: i64,
    pub include_usage: bool,
}

impl Settings {
    fn learn(&mut self, head: &ResponseHead<'_>) {
        if let Some(model) = &head.model {
            self.model = model.clone().into_owned();
        }
        if let Some(created) = head.created_at.and_then(whole_seconds) {
            self.created = created;
        }
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        write_string(&self.id, out);
        let created =
            format!(",\"object\":\"text_completion\",\"created\":{},\"model\":", self.created);
        out.extend_from_slice(created.as_bytes());
        write_string(&self.model, out);
        out.extend_from_slice(b",\"choices\":[");
    }
}

fn finish_reason(end: &End) -> &'static str {
    match &end.incomplete {
        Some(Cutoff::ContentFilter) => "content_filter",
        Some(Cutoff::Length) => "length",
        None => "stop",
    }
}

/// Writes `text_completion` events for one answer.
#[derive(Debug)]
pub struct Chunks {
    settings: Settings,
    head: Vec<u8>,
    has_text: bool,
    out: Vec<u8>,
}

impl Chunks {
    pub fn new(settings: Settings) -> Self {
        let mut chunks = Self { settings, head: Vec::new(), has_text: false, out: Vec::new() };
        chunks.prepare();
        chunks
    }

    /// Takes what was written since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Writes the chunk with the finish reason, the usage when it was asked for, and `[DONE]`.
    pub fn end(&mut self, end: &End) {
        self.chunk("\"\"", Some(finish_reason(end)));
        if let (true, Some(usage)) = (self.settings.include_usage, &end.usage) {
            self.out.extend_from_slice(b"data: ");
            self.settings.write_head(&mut self.out);
            self.out.extend_from_slice(b"],\"usage\":");
            usage.write_chat(&mut self.out);
            self.out.extend_from_slice(b"}\n\n");
        }
        self.out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn prepare(&mut self) {
        self.head.clear();
        self.head.extend_from_slice(b"data: ");
        self.settings.write_head(&mut self.head);
        self.head.extend_from_slice(b"{\"text\":");
    }

    fn chunk(&mut self, literal: &str, reason: Option<&str>) {
        self.has_text = true;
        self.out.extend_from_slice(&self.head);
        self.out.extend_from_slice(literal.as_bytes());
        self.out.extend_from_slice(b",\"index\":0,\"logprobs\":null,\"finish_reason\":");
        match reason {
            Some(reason) => write_string(reason, &mut self.out),
            None => self.out.extend_from_slice(b"null"),
        }
        let tail: &[u8] =
            if self.settings.include_usage { b"}],\"usage\":null}\n\n" } else { b"}]}\n\n" };
        self.out.extend_from_slice(tail);
    }
}

impl Sink for Chunks {
    fn started(&mut self, head: &ResponseHead<'_>) {
        if !self.has_text {
            self.settings.learn(head);
            self.prepare();
        }
    }

    fn text(&mut self, literal: &str) {
        self.chunk(literal, None);
    }

    fn refusal(&mut self, literal: &str) {
        self.chunk(literal, None);
    }

    fn reasoning(&mut self, _: &str) {}
    fn annotation(&mut self, _: &RawValue, _: usize) {}
    fn call(&mut self, _: &Call<'_>) {}
    fn arguments(&mut self, _: usize, _: CallKind, _: &str) {}
}

/// Collects one `text_completion`.
#[derive(Debug, Default)]
pub struct Completion {
    settings: Settings,
    text: Joined,
}

impl Completion {
    pub fn new(settings: Settings) -> Self {
        Self { settings, text: Joined::default() }
    }

    /// The body of the answer.
    pub fn finish(&self, end: &End) -> Vec<u8> {
        let mut out = Vec::new();
        self.settings.write_head(&mut out);
        out.extend_from_slice(b"{\"text\":");
        self.text.write(&mut out);
        out.extend_from_slice(b",\"index\":0,\"logprobs\":null,\"finish_reason\":");
        write_string(finish_reason(end), &mut out);
        out.extend_from_slice(b"}]");
        if let Some(usage) = &end.usage {
            out.extend_from_slice(b",\"usage\":");
            usage.write_chat(&mut out);
        }
        out.push(b'}');
        out
    }
}

impl Sink for Completion {
    fn started(&mut self, head: &ResponseHead<'_>) {
        self.settings.learn(head);
    }

    fn text(&mut self, literal: &str) {
        self.text.push(literal);
    }

    fn refusal(&mut self, literal: &str) {
        self.text.push(literal);
    }

    fn reasoning(&mut self, _: &str) {}
    fn annotation(&mut self, _: &RawValue, _: usize) {}
    fn call(&mut self, _: &Call<'_>) {}
    fn arguments(&mut self, _: usize, _: CallKind, _: &str) {}
}
