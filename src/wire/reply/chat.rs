//! Answers in the dialect of Chat Completions: a stream of chunks, or one completion.
//!
//! The text of a delta is a JSON string on both sides, so it is never decoded here: the literal is
//! written, quotes and escapes included, between two halves of a chunk that were serialised once
//! per answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::{
    event::{ResponseHead, read, whole_seconds},
    reply::{Call, CallKind, Cutoff, End, Sink, decode, joined::Joined},
    tools::ToolNames,
};

/// Where a chat client sees what the model thinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reasoning {
    /// In `reasoning_content`, beside the content.
    #[default]
    Content,
    /// In `reasoning`, as some programs call it.
    Plain,
    /// In the content, between `<think>` and `</think>`.
    Think,
    Hidden,
}

impl Reasoning {
    pub const ALL: [Self; 4] = [Self::Content, Self::Plain, Self::Think, Self::Hidden];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "reasoning_content",
            Self::Plain => "reasoning",
            Self::Think => "think",
            Self::Hidden => "hidden",
        }
    }

    /// However it is capitalised.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(name.trim()))
    }
}

/// What the request decided about its answer.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `chatcmpl-…`
    pub id: String,
    /// Used until the upstream says which model serves.
    pub model: String,
    /// Unix seconds, used until the upstream says when the answer was created.
    pub created: i64,
    pub include_usage: bool,
    /// The client sent `functions`: calls are answered in that older form.
    pub legacy_function: bool,
    pub reasoning: Reasoning,
    /// The client named a tier: the answer has to say which it was.
    pub has_tier: bool,
    /// What the client calls the tools.
    pub names: ToolNames,
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

    fn finish_reason(&self, end: &End, has_calls: bool) -> &'static str {
        match &end.incomplete {
            Some(Cutoff::ContentFilter) => "content_filter",
            Some(Cutoff::Length) => "length",
            None if has_calls && self.legacy_function => "function_call",
            None if has_calls => "tool_calls",
            None => "stop",
        }
    }

    /// Appends `,"service_tier":…` where the document wants it and the upstream says it.
    fn write_tier(&self, end: &End, out: &mut Vec<u8>) {
        if let (true, Some(tier)) = (self.has_tier, &end.service_tier) {
            out.extend_from_slice(b",\"service_tier\":");
            write_string(tier, out);
        }
    }

    /// Appends `"id":…,"object":…,"created":…,"model":…`.
    fn write_head(&self, object: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"id\":");
        write_string(&self.id, out);
        out.extend_from_slice(b",\"object\":");
        write_string(object, out);
        out.extend_from_slice(format!(",\"created\":{},\"model\":", self.created).as_bytes());
        write_string(&self.model, out);
    }
}

const START_OF_THOUGHT: &str = "\"<think>\\n\"";
const END_OF_THOUGHT: &str = "\"\\n</think>\\n\\n\"";

/// Writes `chat.completion.chunk` events for one answer.
#[derive(Debug)]
pub struct Chunks {
    settings: Settings,
    /// Everything of a chunk before the content of `delta`.
    head: Vec<u8>,
    tail: &'static [u8],
    has_role: bool,
    has_calls: bool,
    thinking: Thinking,
    out: Vec<u8>,
}

/// Thoughts inside the content.
#[derive(Clone, Copy, Debug, Default)]
struct Thinking {
    /// Whether `<think>` is open.
    is_open: bool,
    /// How many characters of the content are thoughts and what stands around them.
    chars: usize,
}

impl Thinking {
    /// Adds a piece, given as a literal.
    fn count(&mut self, literal: &str) {
        self.chars += decode(literal).chars().count();
    }
}

impl Chunks {
    pub fn new(settings: Settings) -> Self {
        let tail: &[u8] = if settings.include_usage {
            b"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"
        } else {
            b"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
        };
        let mut chunks = Self {
            settings,
            head: Vec::new(),
            tail,
            has_role: false,
            has_calls: false,
            thinking: Thinking::default(),
            out: Vec::new(),
        };
        chunks.prepare();
        chunks
    }

    /// Takes what was written since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Writes the chunk with the finish reason, the usage when it was asked for, and `[DONE]`.
    pub fn end(&mut self, end: &End) {
        self.stop_thinking();
        if !self.has_role {
            self.delta(&[b"\"content\":\"\""]);
        }
        let reason = self.settings.finish_reason(end, self.has_calls);
        self.out.extend_from_slice(&self.head);
        self.out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
        write_string(reason, &mut self.out);
        self.out.extend_from_slice(b"}]");
        self.settings.write_tier(end, &mut self.out);
        let tail: &[u8] =
            if self.settings.include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        self.out.extend_from_slice(tail);
        if let (true, Some(usage)) = (self.settings.include_usage, &end.usage) {
            self.out.extend_from_slice(b"data: {");
            self.settings.write_head("chat.completion.chunk", &mut self.out);
            self.out.extend_from_slice(b",\"choices\":[]");
            self.settings.write_tier(end, &mut self.out);
            self.out.extend_from_slice(b",\"usage\":");
            usage.write_chat(&mut self.out);
            self.out.extend_from_slice(b"}\n\n");
        }
        self.out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn prepare(&mut self) {
        self.head.clear();
        self.head.extend_from_slice(b"data: {");
        self.settings.write_head("chat.completion.chunk", &mut self.head);
        self.head.extend_from_slice(b",\"choices\":[{\"index\":0,\"delta\":{");
    }

    /// Ends the thoughts that stand in the content, before anything else stands there.
    fn stop_thinking(&mut self) {
        if std::mem::take(&mut self.thinking.is_open) {
            self.thinking.count(END_OF_THOUGHT);
            self.delta(&[b"\"content\":", END_OF_THOUGHT.as_bytes()]);
        }
    }

    fn delta(&mut self, parts: &[&[u8]]) {
        self.out.extend_from_slice(&self.head);
        if !self.has_role {
            self.has_role = true;
            self.out.extend_from_slice(b"\"role\":\"assistant\",");
        }
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.out.extend_from_slice(self.tail);
    }
}

impl Sink for Chunks {
    fn started(&mut self, head: &ResponseHead<'_>) {
        // Identity and time stay what the first chunk said.
        if !self.has_role {
            self.settings.learn(head);
            self.prepare();
        }
    }

    fn text(&mut self, literal: &str) {
        self.stop_thinking();
        self.delta(&[b"\"content\":", literal.as_bytes()]);
    }

    fn refusal(&mut self, literal: &str) {
        self.stop_thinking();
        self.delta(&[b"\"refusal\":", literal.as_bytes()]);
    }

    fn reasoning(&mut self, literal: &str) {
        match self.settings.reasoning {
            Reasoning::Content => self.delta(&[b"\"reasoning_content\":", literal.as_bytes()]),
            Reasoning::Plain => self.delta(&[b"\"reasoning\":", literal.as_bytes()]),
            Reasoning::Think => {
                if !std::mem::replace(&mut self.thinking.is_open, true) {
                    self.thinking.count(START_OF_THOUGHT);
                    self.delta(&[b"\"content\":", START_OF_THOUGHT.as_bytes()]);
                }
                self.thinking.count(literal);
                self.delta(&[b"\"content\":", literal.as_bytes()]);
            }
            Reasoning::Hidden => {}
        }
    }

    fn annotation(&mut self, annotation: &RawValue, before: usize) {
        self.stop_thinking();
        let mut written = Vec::new();
        if write_annotation(annotation, before + self.thinking.chars, &mut written) {
            self.delta(&[b"\"annotations\":[", &written, b"]"]);
        }
    }

    fn call(&mut self, call: &Call<'_>) {
        self.stop_thinking();
        self.has_calls = true;
        let mut name = Vec::new();
        write_string(self.settings.names.client(call.name), &mut name);
        if self.settings.legacy_function {
            // The older form has room for one call, and the upstream was asked for no more.
            if call.index > 0 {
                return;
            }
            self.delta(&[b"\"function_call\":{\"name\":", &name, b",\"arguments\":\"\"}"]);
            return;
        }
        let index = call.index.to_string();
        let (kind, field) = dialect(call.kind);
        self.delta(&[
            b"\"tool_calls\":[{\"index\":",
            index.as_bytes(),
            b",\"id\":",
            call.id.as_bytes(),
            kind,
            &name,
            field,
            b"\"\"}}]",
        ]);
    }

    fn arguments(&mut self, index: usize, kind: CallKind, literal: &str) {
        if self.settings.legacy_function {
            if index == 0 {
                self.delta(&[b"\"function_call\":{\"arguments\":", literal.as_bytes(), b"}"]);
            }
            return;
        }
        let index = index.to_string();
        let field: &[u8] = match kind {
            CallKind::Function => b",\"function\":{\"arguments\":",
            CallKind::Custom => b",\"custom\":{\"input\":",
        };
        self.delta(&[
            b"\"tool_calls\":[{\"index\":",
            index.as_bytes(),
            field,
            literal.as_bytes(),
            b"}}]",
        ]);
    }
}

/// Collects one `chat.completion`.
#[derive(Debug)]
pub struct Completion {
    settings: Settings,
    text: Joined,
    refusal: Joined,
    reasoning: Joined,
    thinking: Thinking,
    annotations: Vec<u8>,
    calls: Vec<CollectedCall>,
}

#[derive(Debug)]
struct CollectedCall {
    kind: CallKind,
    id: Vec<u8>,
    name: Vec<u8>,
    arguments: Joined,
}

impl Completion {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            text: Joined::default(),
            refusal: Joined::default(),
            reasoning: Joined::default(),
            thinking: Thinking::default(),
            annotations: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// The body of the answer.
    pub fn finish(&self, end: &End) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 512);
        out.push(b'{');
        self.settings.write_head("chat.completion", &mut out);
        out.extend_from_slice(
            b",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":",
        );
        let text = self.content();
        // A message with neither text, refusal nor call is an empty text, not an absent one.
        if self.calls.is_empty() && self.refusal.is_empty() {
            text.write(&mut out);
        } else {
            text.write_or_null(&mut out);
        }
        out.extend_from_slice(b",\"refusal\":");
        self.refusal.write_or_null(&mut out);
        let field: &[u8] = match self.settings.reasoning {
            Reasoning::Content => b",\"reasoning_content\":",
            Reasoning::Plain => b",\"reasoning\":",
            Reasoning::Think | Reasoning::Hidden => b"",
        };
        if !self.reasoning.is_empty() && !field.is_empty() {
            out.extend_from_slice(field);
            self.reasoning.write(&mut out);
        }
        if !self.annotations.is_empty() {
            out.extend_from_slice(b",\"annotations\":[");
            out.extend_from_slice(&self.annotations);
            out.push(b']');
        }
        self.write_calls(&mut out);
        out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
        write_string(self.settings.finish_reason(end, !self.calls.is_empty()), &mut out);
        out.extend_from_slice(b"}]");
        self.settings.write_tier(end, &mut out);
        if let Some(usage) = &end.usage {
            out.extend_from_slice(b",\"usage\":");
            usage.write_chat(&mut out);
        }
        out.push(b'}');
        out
    }

    /// The text, and the end of thoughts that nothing came after.
    fn content(&self) -> Cow<'_, Joined> {
        if !self.thinking.is_open {
            return Cow::Borrowed(&self.text);
        }
        let mut content = self.text.clone();
        content.push(END_OF_THOUGHT);
        Cow::Owned(content)
    }

    /// Ends the thoughts that stand in the content, before anything else stands there.
    fn stop_thinking(&mut self) {
        if std::mem::take(&mut self.thinking.is_open) {
            self.thinking.count(END_OF_THOUGHT);
            self.text.push(END_OF_THOUGHT);
        }
    }

    fn write_calls(&self, out: &mut Vec<u8>) {
        if let (true, Some(call)) = (self.settings.legacy_function, self.calls.first()) {
            out.extend_from_slice(b",\"function_call\":{\"name\":");
            out.extend_from_slice(&call.name);
            out.extend_from_slice(b",\"arguments\":");
            call.arguments.write(out);
            out.push(b'}');
            return;
        }
        for (index, call) in self.calls.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"tool_calls\":[" } else { b"," });
            out.extend_from_slice(b"{\"id\":");
            out.extend_from_slice(&call.id);
            let (kind, field) = dialect(call.kind);
            out.extend_from_slice(kind);
            out.extend_from_slice(&call.name);
            out.extend_from_slice(field);
            call.arguments.write(out);
            out.extend_from_slice(b"}}");
        }
        if !self.calls.is_empty() {
            out.push(b']');
        }
    }
}

impl Sink for Completion {
    fn started(&mut self, head: &ResponseHead<'_>) {
        self.settings.learn(head);
    }

    fn text(&mut self, literal: &str) {
        self.stop_thinking();
        self.text.push(literal);
    }

    fn refusal(&mut self, literal: &str) {
        self.stop_thinking();
        self.refusal.push(literal);
    }

    fn reasoning(&mut self, literal: &str) {
        if self.settings.reasoning != Reasoning::Think {
            return self.reasoning.push(literal);
        }
        if !std::mem::replace(&mut self.thinking.is_open, true) {
            self.thinking.count(START_OF_THOUGHT);
            self.text.push(START_OF_THOUGHT);
        }
        self.thinking.count(literal);
        self.text.push(literal);
    }

    fn annotation(&mut self, annotation: &RawValue, before: usize) {
        self.stop_thinking();
        let before = before + self.thinking.chars;
        if !self.annotations.is_empty() {
            self.annotations.push(b',');
        }
        if !write_annotation(annotation, before, &mut self.annotations) {
            self.annotations.pop();
        }
    }

    fn call(&mut self, call: &Call<'_>) {
        self.stop_thinking();
        let mut name = Vec::new();
        write_string(self.settings.names.client(call.name), &mut name);
        let id = call.id.as_bytes().to_vec();
        self.calls.push(CollectedCall { kind: call.kind, id, name, arguments: Joined::default() });
    }

    fn arguments(&mut self, index: usize, _: CallKind, literal: &str) {
        if let Some(call) = self.calls.get_mut(index) {
            call.arguments.push(literal);
        }
    }
}

/// What stands before the name of a call and before its arguments.
fn dialect(kind: CallKind) -> (&'static [u8], &'static [u8]) {
    match kind {
        CallKind::Function => {
            (b",\"type\":\"function\",\"function\":{\"name\":", b",\"arguments\":")
        }
        CallKind::Custom => (b",\"type\":\"custom\",\"custom\":{\"name\":", b",\"input\":"),
    }
}

/// Appends a citation in chat's form, with so many characters of content before the text that it is
/// about. Whether it is one that chat knows.
fn write_annotation(raw: &RawValue, before: usize, out: &mut Vec<u8>) -> bool {
    #[derive(Deserialize)]
    struct Citation<'a> {
        r#type: &'a str,
        #[serde(borrow)]
        start_index: &'a RawValue,
        #[serde(borrow)]
        end_index: &'a RawValue,
        #[serde(borrow)]
        url: &'a RawValue,
        #[serde(borrow)]
        title: &'a RawValue,
    }
    let Some(citation) = read::<Citation<'_>>(raw).filter(|it| it.r#type == "url_citation") else {
        return false;
    };
    let shifted = |index: &RawValue| match index.get().parse::<usize>() {
        Ok(index) => index.saturating_add(before).to_string(),
        Err(_) => index.get().to_owned(),
    };
    let (start, end) = (shifted(citation.start_index), shifted(citation.end_index));
    out.extend_from_slice(
        format!(
            r#"{{"type":"url_citation","url_citation":{{"start_index":{start},"end_index":{end},"url":{},"title":{}}}}}"#,
            citation.url, citation.title
        )
        .as_bytes(),
    );
    true
}

/// Appends `text` as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    // A string into memory: neither half can fail.
    if let Ok(literal) = serde_json::to_string(text) {
        out.extend_from_slice(literal.as_bytes());
    }
}
