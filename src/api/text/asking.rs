//! How a client's body becomes an upstream request, and what is to be kept of its answer.
//!
//! A request that names nothing that is kept here is read once. Others are read for what they mean
//! first, and then for the upstream, with what was said before and the contents of their files.

use std::cell::RefCell;

use http::HeaderMap;

use crate::{
    api::{error::ApiError, exchange::Exchange, keep::Keep},
    dialogue::{Dialogues, Turn},
    store::{self, Answer, Item, Kind},
    traffic::Phase,
    wire::{
        content::file::Local,
        json::{
            Doc, Kind as JsonKind, Value,
            write::{self, Object},
        },
        reject::Reject,
        reply::responses::Members,
        request::{self, Before, Memory, Options, Translated},
    },
};

#[derive(Clone, Copy, Debug)]
pub enum Dialect {
    Responses,
    Chat,
    Completions,
    /// A dialogue made shorter, in the dialect of Responses.
    Compaction,
}

impl Dialect {
    /// As what its answers are kept.
    fn kind(self) -> Kind {
        match self {
            Self::Responses | Self::Compaction => Kind::Response,
            Self::Chat | Self::Completions => Kind::Chat,
        }
    }
}

/// What a request names that is kept here.
struct Named {
    /// The request as its client means it.
    meant: Translated,
    /// By their ids.
    files: Vec<String>,
    items: Vec<String>,
}

/// What is to be known of a request besides its body.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub dialogues: &'a Dialogues,
    pub exchange: &'a Exchange,
    pub dialect: Dialect,
    pub no_tools: bool,
    /// What summary of reasoning to ask for when the client says nothing about it.
    pub reasoning_summary: Option<&'static str>,
    /// In seconds since 1970.
    pub now: i64,
}

const CONVERSATION: &[u8] = b"\"conversation\"";

/// The id of a chat completion that answers this request.
pub fn chat_id(exchange: &Exchange) -> String {
    let id = exchange.id.as_str();
    format!("chatcmpl-{}", id.strip_prefix("req_").unwrap_or(id))
}

impl Asking<'_> {
    /// The upstream request, and what to do with its answer besides telling it. What was left out
    /// for it goes to the log.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn translated(self, body: &[u8]) -> Result<(Translated, Option<Keep>), ApiError> {
        // Such names show in the bytes already.
        let has = |name: &[u8]| memchr::memmem::find(body, name).is_some();
        let may_name = self.dialogues.keeps()
            || has(b"file_id")
            || has(b"item_reference")
            || has(CONVERSATION);
        let read = || self.read(body, self.plain());
        let request = (!may_name).then(read).transpose()?;
        let (request, keep) = match request.filter(|it| it.memory.conversation.is_none()) {
            Some(request) => (request, None),
            None => self.remembering(body).await?,
        };
        if !request.ignored.is_empty() {
            let record = self
                .exchange
                .record(Phase::CompatibilityAdaptation)
                .list("ignored_parameters", &request.ignored)
                .text("reason", "the subscription backend does not take them");
            self.exchange.traffic.record(record).await;
        }
        Ok((request, keep))
    }

    fn plain(&self) -> Options<'static> {
        Options { keeps: self.dialogues.keeps(), ..Options::PLAIN }
    }

    /// Whether the answer is to be kept by its own id.
    fn is_kept(&self, memory: &Memory) -> bool {
        let usual = match self.dialect {
            Dialect::Responses => true,
            Dialect::Chat => false,
            Dialect::Completions | Dialect::Compaction => return false,
        };
        self.dialogues.keeps() && memory.store.unwrap_or(usual)
    }

    async fn remembering(self, body: &[u8]) -> Result<(Translated, Option<Keep>), ApiError> {
        let named = self.named(body)?;
        let memory = &named.meant.memory;
        let is_kept = self.is_kept(memory);
        let turn = self.dialogues.begin(memory).await?;
        let (items, name) = turn.before().unwrap_or((b"[]", ""));
        let files = self.dialogues.files(named.files, items).await?;
        // Whether what it means can be said without knowing more.
        let is_whole = named.items.is_empty() && turn.before().is_none();
        let referred = self.dialogues.items_of(named.items).await?;
        let parsed = |items| Doc::parse(items).map_err(|error| ApiError::broken(&error));
        let (before, referred) = (parsed(items)?, parsed(&referred)?);
        // A dialogue has one name from its first turn on, which is that of its first answer.
        let id = self.new_id()?;
        let dialogue = turn.dialogue().or(is_kept.then_some(&*id));
        let find = |id: &str| files.find(id);
        let options = Options {
            files: &find,
            before: (!name.is_empty()).then(|| Before { items: before.root(), name }),
            referred: Some(referred.root()),
            session_hint: session_hint(&self.exchange.headers).or(dialogue),
            ..self.plain()
        };
        let request = self.read(body, options).map_err(|reject| of_history(reject, name))?;
        if turn.conversation().is_none() && !is_kept {
            return Ok((request, None));
        }
        let said = if is_whole {
            named.meant.items()
        } else {
            let options = Options { local: true, files: &|_| Some(Local::Reference), ..options };
            self.read(body, options)?.items()
        };
        let said: Vec<_> = said.iter().filter_map(|item| Item::named(item)).collect();
        let members = members(&turn);
        let tools = request.reply.names.clone();
        let keep = Keep::new(self.dialogues.clone(), turn, said.clone(), tools).saying(members);
        if !is_kept {
            return Ok((request, Some(keep)));
        }
        let asked = match self.dialect.kind() {
            Kind::Response => said,
            Kind::Chat => messages(body, &id),
        };
        let answer = self.answer(id, memory, request.model.clone());
        let mut members = own_members(&answer);
        members.extend(keep.members().iter().cloned());
        Ok((request, Some(keep.saying(members).answering(answer, asked))))
    }

    /// The id of an answer that is kept.
    fn new_id(&self) -> Result<String, ApiError> {
        Ok(match self.dialect.kind() {
            Kind::Response => store::new_id("resp_")?,
            Kind::Chat => chat_id(self.exchange),
        })
    }

    /// An answer to be kept, as it begins.
    fn answer(&self, id: String, memory: &Memory, model: String) -> Answer {
        Answer {
            id,
            kind: self.dialect.kind(),
            previous: memory.previous.clone(),
            background: memory.background,
            status: "in_progress".to_owned(),
            model,
            metadata: memory.metadata.clone().unwrap_or_else(|| "{}".to_owned()),
            body: String::new(),
            created_at: self.now,
        }
    }

    /// What the request names that is kept here.
    fn named(self, body: &[u8]) -> Result<Named, Reject> {
        let (files, items) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let find = |id: &str| {
            files.borrow_mut().push(id.to_owned());
            Some(Local::Reference)
        };
        let has_item = |id: &str| {
            items.borrow_mut().push(id.to_owned());
            true
        };
        let options = Options { local: true, files: &find, has_item: &has_item, ..self.plain() };
        let meant = self.read(body, options)?;
        Ok(Named { meant, files: files.into_inner(), items: items.into_inner() })
    }

    fn read(self, body: &[u8], options: Options<'_>) -> Result<Translated, Reject> {
        let options = Options {
            no_tools: self.no_tools,
            session_hint: options.session_hint.or(session_hint(&self.exchange.headers)),
            reasoning_summary: self.reasoning_summary,
            ..options
        };
        let translate = match self.dialect {
            Dialect::Responses => request::responses::translate,
            Dialect::Chat => request::chat::translate,
            Dialect::Completions => request::completions::translate,
            Dialect::Compaction => request::compaction::translate,
        };
        translate(body, &options)
    }
}

/// A client that names its dialogue in a header, as the Codex client and codex-utils do.
fn session_hint(headers: &HeaderMap) -> Option<&str> {
    ["session-id", "session_id", "x-openclaw-session-key"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
}

/// What is wrong with an item of the history is no fault of an item of the request.
fn of_history(reject: Reject, name: &str) -> Reject {
    let is_of_history = reject.param.as_ref().is_some_and(|param| param.starts_with('['));
    if is_of_history { Reject { param: Some(name.to_owned()), ..reject } } else { reject }
}

/// What response objects say that belong to a turn.
fn members(turn: &Turn) -> Members {
    let conversation = turn.conversation().map(|id| {
        let mut value = Vec::new();
        let mut object = Object::open(&mut value);
        object.text("id", id);
        object.close();
        ("conversation", value)
    });
    conversation.into_iter().collect()
}

/// What response objects say that are kept: the upstream does not know of it.
fn own_members(answer: &Answer) -> Members {
    let literal = |text: Option<&str>| {
        let mut value = Vec::new();
        match text {
            Some(text) => write::string(&mut value, text),
            None => value.extend_from_slice(b"null"),
        }
        value
    };
    let background: &[u8] = if answer.background { b"true" } else { b"false" };
    vec![
        ("id", literal(Some(&answer.id))),
        ("store", b"true".to_vec()),
        ("background", background.to_vec()),
        ("previous_response_id", literal(answer.previous.as_deref())),
        ("metadata", answer.metadata.clone().into_bytes()),
    ]
}

/// The messages of a chat, each with an id, as the platform lists them.
fn messages(body: &[u8], id: &str) -> Vec<Item> {
    const OWN: [&str; 3] = ["id", "content", "content_parts"];
    let Ok(doc) = Doc::parse(body) else { return Vec::new() };
    let list = doc.root().given("messages").or(doc.root().given("input"));
    let named = |(n, message): (usize, Value<'_>)| {
        let id = format!("{id}-{n}");
        let mut json = Vec::new();
        let mut object = Object::open(&mut json);
        object.text("id", &id);
        let content = message.get("content");
        let parts = content.filter(|content| content.kind() == JsonKind::Array);
        let plain = parts.map_or(content, |_| None);
        for entry in message.entries().filter(|entry| !OWN.iter().any(|own| entry.key.is(own))) {
            object.raw_field(entry.key.raw()).extend_from_slice(entry.value.raw());
        }
        object.raw("content", plain.map_or(b"null", Value::raw));
        object.raw("content_parts", parts.map_or(b"null", Value::raw));
        object.close();
        Item { id, json: String::from_utf8_lossy(&json).into_owned() }
    };
    list.into_iter().flat_map(Value::items).enumerate().map(named).collect()
}
