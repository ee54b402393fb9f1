//! A client's request as the one kind of request that the upstream takes.
//!
//! Each dialect is a function from bytes to bytes, and so is a compaction. What the backend cannot do is refused by name
//! ([`Reject`]); what it decides itself is left out and told ([`Translated::ignored`]); the rest
//! is written field by field, raw where nothing has to change.
//!
//! **Invariant:** the body has fields of the allow-list only, `store` is false, `stream` is true and
//! `instructions` are not empty.
//! **Invariant:** the same request by the same caller gives the same bytes and the same session.
//!
//! Not here: answers (`wire::reply`), stored conversations and files (`store`).

pub mod chat;
pub mod compaction;
pub mod completions;
pub mod responses;

mod body;
mod calls;
mod format;
mod items;
pub mod memory;
mod own;
pub mod params;
mod settings;
#[cfg(test)]
pub mod tests;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use self::{
    body::{Body, Writer},
    calls::{Calls, Tool},
    format::Format,
    own::{List, Origin, OwnNames},
    settings::Settings,
};
use super::{
    content::file::Lookup,
    json::{
        Doc, Value,
        write::{Array, Object},
    },
    notes::Notes,
    reject::Reject,
    tools::ToolNames,
};
use crate::id::{is_uuid, uuid};

/// What stands for instructions when a client gives none: the upstream requires some.
const NO_INSTRUCTIONS: &[u8] = b"\".\"";

/// How much of a message tells one dialogue from another, in bytes.
const FINGERPRINT: usize = 64 * 1024;

/// What a translation depends on besides the request itself.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Whether the route refuses whatever asks for a tool.
    pub no_tools: bool,
    /// What the local store has under the id of a file.
    pub files: &'a Lookup<'a>,
    /// Who calls, so that two callers never share a session.
    pub key: &'a [u8],
    /// What a header of the request names the session.
    pub session_hint: Option<&'a str>,
    /// Parameters that the upstream is known to refuse, such as `max_output_tokens` or
    /// `reasoning.summary`: left out and told.
    pub refused: &'a [String],
    /// The summary of reasoning to ask for (`auto`) when the client says nothing about it.
    pub reasoning_summary: Option<&'a str>,
    /// What was said before, where somebody remembers it.
    pub before: Option<Before<'a>>,
    /// Whether there is an item under an id that the request refers to.
    pub has_item: &'a dyn Fn(&str) -> bool,
    /// The items that it refers to.
    pub referred: Option<Value<'a>>,
    /// Whether the relay keeps answers, so that a request may count on it.
    pub keeps: bool,
    /// Whether the request is written down as its client means it, for a later turn: with the
    /// client's own names, and files as references. Nothing of that kind is sent.
    pub local: bool,
}

/// What precedes the items of a request.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// A list of input items.
    pub items: Value<'a>,
    /// The parameter that brings them: `conversation` or `previous_response_id`.
    pub name: &'static str,
}

/// What a request says about what is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The local conversation that the request belongs to.
    pub conversation: Option<String>,
    /// The kept answer that it goes on from.
    pub previous: Option<String>,
    /// Whether its answer is to be kept, if it says.
    pub store: Option<bool>,
    /// Whether its answer is to be made without somebody waiting for it.
    pub background: bool,
    /// What the client keeps with the answer, as JSON.
    pub metadata: Option<String>,
}

impl Options<'static> {
    /// Nobody's request: no files, no session, and nothing known of the upstream.
    pub const PLAIN: Self = Self {
        no_tools: false,
        files: &|_| None,
        key: b"",
        session_hint: None,
        refused: &[],
        reasoning_summary: None,
        before: None,
        has_item: &|_| false,
        referred: None,
        keeps: false,
        local: false,
    };
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("no_tools", &self.no_tools).finish_non_exhaustive()
    }
}

#[cfg(test)]
/// A dialect's way from a body to an upstream request.
pub type Translate = fn(&[u8], &Options<'_>) -> Result<Translated, Reject>;

/// A request ready to be sent, and what is needed to answer it.
#[derive(Clone, Debug)]
pub struct Translated {
    /// The model as the client names it.
    pub model: String,
    body: Body,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Paths of what was left out, in the client's terms. To be disclosed.
    pub ignored: Vec<String>,
    /// A UUID that stays the same for one dialogue of one caller.
    pub session: String,
    pub memory: Memory,
    pub reply: ReplyOptions,
    own: OwnNames,
    compacts: bool,
}

/// What a client says about its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// It is to end with its usage.
    pub include_usage: bool,
    /// Its events are to come without padding.
    pub bare: bool,
}

/// What the translation of the answer has to know of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyOptions {
    pub stream: StreamOptions,
    /// Whether a call is answered in the older form, `function_call`.
    pub legacy_function: bool,
    /// The names of the tools, to be changed back.
    pub names: ToolNames,
    /// Whether the client named a tier, so that the answer has to.
    pub has_tier: bool,
}

impl Translated {
    /// The upstream request, as JSON.
    pub fn body(&self) -> &Bytes {
        self.body.bytes()
    }

    /// What the client calls a place in the upstream request, such as `reasoning.effort`.
    pub fn own_name(&self, param: &str) -> String {
        self.own.place(param)
    }

    /// This request without the parameter `param` (`max_output_tokens`, `reasoning.summary`), of
    /// which the client is then told. `None` if there is no such parameter, no request without it,
    /// or no sense in one: a shape or tools are honored or refused.
    pub fn without(&self, param: &str) -> Option<Self> {
        if self.hangs_on(param) {
            return None;
        }
        let body = self.body.without(param)?;
        let mut ignored = self.ignored.clone();
        ignored.extend(self.own.of(param));
        Some(Self { body, ignored, ..self.clone() })
    }

    /// Whether the answer would be another thing without `param`.
    fn hangs_on(&self, param: &str) -> bool {
        match param {
            "tools" | "tool_choice" | "text.format" => true,
            "text" => {
                let text = self.body.value("text").and_then(|text| Doc::parse(text).ok());
                text.is_some_and(|text| text.root().get("format").is_some())
            }
            _ => false,
        }
    }

    /// This request with a limit of the answer that is not below `least`, which is then told.
    ///
    /// `None` if it is not below it, or if the client knows it as `max_output_tokens`: the document
    /// of Responses has a minimum as well, and its clients are told of theirs.
    pub fn with_least_output(&self, least: u64) -> Option<Self> {
        const LIMIT: &str = "max_output_tokens";
        let own = self.own_name(LIMIT);
        let given: u64 = str::from_utf8(self.body.value(LIMIT)?).ok()?.parse().ok()?;
        if given >= least || own == LIMIT {
            return None;
        }
        let body = self.body.with(LIMIT, least.to_string().as_bytes())?;
        let mut ignored = self.ignored.clone();
        ignored.push(own);
        Some(Self { body, ignored, ..self.clone() })
    }

    /// This request with the effort `least` in place of one that asks for as little as possible,
    /// which is then told. `None` if it asks for another: that is the model's to refuse.
    pub fn with_least_effort(&self, least: &str) -> Option<Self> {
        const LITTLE: [&str; 2] = ["none", "minimal"];
        let reasoning = Doc::parse(self.body.value("reasoning")?).ok()?;
        let effort = reasoning.root().get("effort")?;
        if effort.is(least) || !LITTLE.iter().any(|little| effort.is(little)) {
            return None;
        }
        let mut value = Vec::new();
        let mut object = Object::open(&mut value);
        for entry in reasoning.root().entries() {
            if entry.key.is("effort") {
                object.text("effort", least);
            } else {
                object.raw_field(entry.key.raw()).extend_from_slice(entry.value.raw());
            }
        }
        object.close();
        let body = self.body.with("reasoning", &value)?;
        let mut ignored = self.ignored.clone();
        ignored.extend(self.own.of("reasoning.effort"));
        Some(Self { body, ignored, ..self.clone() })
    }

    /// This request without the reasoning of earlier turns, which is then told. `None` if it has none.
    pub fn without_reasoning(&self) -> Option<Self> {
        self.without_items(&|item| item.get("type").is_some_and(|kind| kind.is("reasoning")))
    }

    /// What the user said last; what is no text is left out.
    pub fn last_user_text(&self) -> String {
        let doc = self.body.value("input").and_then(|input| Doc::parse(input).ok());
        let said = doc.as_ref().and_then(|doc| {
            let is_users = |item: &Value<'_>| item.get("role").is_some_and(|role| role.is("user"));
            doc.root().items().filter(is_users).last()?.get("content").map(text_of)
        });
        said.unwrap_or_default()
    }

    /// What `each` makes of every thought of earlier turns, which only the account that wrote it can
    /// read.
    pub fn thoughts<T>(&self, each: impl Fn(&[u8]) -> T) -> Vec<T> {
        let doc = self.body.value("input").and_then(|input| Doc::parse(input).ok());
        doc.map_or(Vec::new(), |doc| doc.root().items().filter_map(thought).map(each).collect())
    }

    /// This request without the reasoning whose thought `is_foreign`; told, and `None` if there is
    /// none.
    pub fn without_thoughts(&self, is_foreign: &dyn Fn(&[u8]) -> bool) -> Option<Self> {
        self.without_items(&|item| thought(*item).is_some_and(is_foreign))
    }

    fn without_items(&self, is_out: &dyn Fn(&Value<'_>) -> bool) -> Option<Self> {
        let doc = Doc::parse(self.body.value("input")?).ok()?;
        let (mut kept, mut ignored) = (Vec::new(), self.ignored.clone());
        for (n, item) in doc.root().items().enumerate() {
            if is_out(&item) {
                ignored.push(self.own.of_item(n));
            } else {
                kept.push(item.raw());
            }
        }
        if ignored.len() == self.ignored.len() {
            return None;
        }
        let body = self.body.with("input", &array(kept))?;
        Some(Self { body, ignored, ..self.clone() })
    }

    /// The items of the input, each a JSON object, without those that were said before.
    pub fn items(&self) -> Vec<String> {
        let doc = self.body.value("input").and_then(|input| Doc::parse(input).ok());
        let items = doc.iter().flat_map(|doc| doc.root().items()).skip(self.own.n_brought());
        items.map(|item| String::from_utf8_lossy(item.raw()).into_owned()).collect()
    }

    /// This request to the model `model`, with `effort` unless the client asked for one itself.
    pub fn with_model(mut self, model: &str, effort: &str) -> Self {
        self.set_upstream_model(model);
        let given = self.body.value("reasoning").unwrap_or(b"{}").to_vec();
        let Ok(given) = Doc::parse(&given) else { return self };
        if given.root().get("effort").is_some() {
            return self;
        }
        self.own.set("reasoning.effort", vec!["model".to_owned()]);
        let mut value = Vec::new();
        let mut object = Object::open(&mut value);
        for entry in given.root().entries() {
            object.raw_field(entry.key.raw()).extend_from_slice(entry.value.raw());
        }
        super::json::write::string(object.field("effort"), effort);
        object.close();
        let body = self.body.with("reasoning", &value);
        self.body = body.unwrap_or_else(|| self.body.and("reasoning", &value));
        self
    }

    /// Asks another model than the client named. [`model`](Self::model) stays the client's.
    pub fn set_upstream_model(&mut self, model: &str) {
        let mut literal = Vec::new();
        super::json::write::string(&mut literal, model);
        if let Some(body) = self.body.with("model", &literal) {
            self.body = body;
        }
    }
}

/// The text of a content, which is one or a list of parts.
fn text_of(content: Value<'_>) -> String {
    match content.as_str() {
        Some(text) => text.into_owned(),
        None => content.items().filter_map(|part| part.get("text")?.as_str()).collect(),
    }
}

/// What a reasoning item holds in encrypted form.
fn thought(item: Value<'_>) -> Option<&[u8]> {
    let kind = item.get("type")?;
    if kind.is("reasoning") { Some(item.given("encrypted_content")?.raw()) } else { None }
}

fn array<'i>(items: impl IntoIterator<Item = &'i [u8]>) -> Vec<u8> {
    let mut written = Vec::new();
    let mut array = Array::open(&mut written);
    for item in items {
        array.item().extend_from_slice(item);
    }
    array.close();
    written
}

/// A translation under way.
#[derive(Debug)]
struct Draft<'a> {
    options: &'a Options<'a>,
    notes: Notes<'a>,
    names: ToolNames,
    calls: Calls<'a>,
    /// Whether earlier turns are stored elsewhere, so that a call may be missing here.
    stored: bool,
    /// How many items were said before.
    n_before: usize,
    /// Whether an input item has the word that JSON mode requires.
    mentions_json: bool,
    /// Whether an input item asks for a compaction.
    compacts: bool,
    /// Where the items of the input come from.
    origins: Vec<Origin>,
    list: List,
}

impl<'a> Draft<'a> {
    fn new(options: &'a Options<'a>) -> Self {
        Self {
            options,
            notes: Notes::default(),
            names: ToolNames::default(),
            calls: Calls::default(),
            stored: options.local,
            n_before: 0,
            mentions_json: false,
            compacts: false,
            origins: Vec::new(),
            list: List::default(),
        }
    }

    /// Item `at` of the client's list became the items up to `n_items`, the last of which are calls.
    fn came_from(&mut self, at: usize, n_items: usize, n_calls: usize) {
        let n_items = n_items.saturating_sub(self.n_before);
        let n_others = n_items.saturating_sub(self.origins.len() + n_calls);
        self.origins.extend((0..n_others).map(|_| Origin { at, call: None }));
        let calls = self.origins.len()..n_items;
        self.origins.extend(calls.zip(0..).map(|(_, call)| Origin { at, call: Some(call) }));
    }

    /// Writes what was said before, as if the client sent it again. What is left out of that was
    /// told when it was sent.
    fn write_before(&mut self, items: &mut Array<'_>) -> Result<(), Reject> {
        let Some(before) = self.options.before else { return Ok(()) };
        let notes = std::mem::take(&mut self.notes);
        for item in before.items.items() {
            items::write_item(items, item, self)?;
        }
        self.notes = notes;
        self.n_before = items.len();
        Ok(())
    }

    /// What the upstream is to call a tool, or what the client does in what is only kept.
    fn tool_name<'n>(&mut self, name: &'n str) -> std::borrow::Cow<'n, str> {
        if self.options.local { name.into() } else { self.names.upstream(name) }
    }

    /// The id of a call, as the upstream takes it or, in what is only kept, as it came.
    fn write_call_id(&self, out: &mut Vec<u8>, id: &str) {
        if self.options.local {
            super::json::write::string(out, id);
        } else {
            calls::write_id(out, id);
        }
    }

    /// Whether the other half of a call may be elsewhere.
    fn may_lack(&mut self, settings: &Settings<'_>) {
        let Memory { conversation, previous, .. } = &settings.memory;
        let is_elsewhere = conversation.is_some() || previous.is_some();
        let is_elsewhere = is_elsewhere && self.options.before.is_none();
        self.stored |= is_elsewhere;
    }

    /// The answer to call `id` at `at`: what kind of tool it comes from.
    fn answer(&mut self, id: &str, at: Value<'a>) -> Result<Tool, Reject> {
        match self.calls.answer(id, at) {
            Err(_) if self.stored => Ok(Tool::Function),
            result => result,
        }
    }

    /// Refuses JSON mode for an input that does not ask for JSON, as the upstream does.
    fn check_json(&self, format: &Format<'_>, message: &str, param: &str) -> Result<(), Reject> {
        if matches!(format, Format::Json) && !self.mentions_json && !self.stored {
            return Err(Reject::bad(param, "invalid_value", message));
        }
        Ok(())
    }

    fn finish(
        self,
        body: Writer,
        settings: Settings<'a>,
        mut own: OwnNames,
        session: String,
    ) -> Translated {
        let body = body.close();
        let ignored = self.notes.finish();
        own.items_of(self.list, self.origins);
        if let Some(before) = &self.options.before {
            own.brought(self.n_before, before.name);
        }
        let refused = self.options.refused;
        let translated = Translated {
            model: settings.model.as_str().unwrap_or_default().into_owned(),
            body,
            stream: settings.stream,
            ignored,
            session,
            memory: settings.memory,
            own,
            compacts: self.compacts,
            reply: ReplyOptions {
                stream: settings.stream_options,
                legacy_function: false,
                names: self.names,
                has_tier: settings.has_tier,
            },
        };
        let without =
            |request: Translated, parameter: &String| request.without(parameter).unwrap_or(request);
        refused.iter().fold(translated, without)
    }
}

/// The session of a request: what the client calls it, or else what a dialogue keeps from turn to
/// turn: its model, its instructions and its first message.
fn session(options: &Options<'_>, settings: &Settings<'_>, first: &[Option<Value<'_>>]) -> String {
    let named = settings.cache_key.and_then(Value::as_str);
    let named = named
        .as_deref()
        .or(options.session_hint)
        .or(settings.memory.conversation.as_deref())
        .filter(|name| !name.is_empty());
    // A client that has a UUID of its own, as the Codex client does, is known by it upstream: other
    // parts of its requests say the same one.
    if let Some(own) = named.filter(|name| is_uuid(name)) {
        return own.to_owned();
    }
    let mut digest = Sha256::new();
    let mut add = |bytes: &[u8]| {
        digest.update(bytes.len().to_le_bytes());
        digest.update(bytes.get(..FINGERPRINT).unwrap_or(bytes));
    };
    add(options.key);
    if let Some(name) = named {
        add(b"named");
        add(name.as_bytes());
    } else {
        add(b"dialogue");
        add(settings.model.raw());
        for part in first {
            add(part.map_or(b"", Value::raw));
        }
    }
    let digest = digest.finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, digest)| *byte = digest);
    uuid(bytes)
}
