//! `POST /v1/responses`, `/v1/chat/completions` and `/v1/completions`, and their `/no-tools` twins.
//!
//! The three dialects differ in how they read a request and tell an answer; everything between is
//! the same and stands here once.

use std::cell::RefCell;

use axum::{Router, extract::State, response::Response, routing::post};
use http::HeaderMap;

use crate::{
    api::{
        error::ApiError,
        exchange::Exchange,
        extract::JsonBody,
        keep::Keep,
        stream::{self, Collector, Teller},
    },
    clock::Clock,
    dialogue::Dialogues,
    relay::{Asked, Relay},
    traffic::Phase,
    wire::{
        content::file::Local,
        json::Doc,
        reject::Reject,
        reply::{
            Reader, chat, completions,
            responses::{self, Wanted},
        },
        request::{self, Before, Options, Translate, Translated},
    },
};

/// What the text routes need.
#[derive(Clone, Debug)]
pub struct Text {
    pub relay: Relay,
    pub dialogues: Dialogues,
    pub clock: Clock,
    pub stream: stream::Settings,
    pub reasoning: chat::Reasoning,
}

/// Says for one request where a chat client sees thoughts.
const REASONING: &str = "x-airelays-reasoning";

#[derive(Clone, Copy, Debug)]
enum Dialect {
    Responses,
    Chat,
    Completions,
}

const ROUTES: [(&str, Dialect); 3] = [
    ("responses", Dialect::Responses),
    ("chat/completions", Dialect::Chat),
    ("completions", Dialect::Completions),
];

pub fn router(text: Text) -> Router {
    let mut router = Router::new();
    for (name, dialect) in ROUTES {
        for (prefix, no_tools) in [("/v1", false), ("/no-tools/v1", true)] {
            let handler = post(move |State(text): State<Text>, body: JsonBody| {
                answer(text, dialect, no_tools, body)
            });
            router = router.route(&format!("{prefix}/{name}"), handler);
        }
    }
    router.with_state(text)
}

async fn answer(
    text: Text,
    dialect: Dialect,
    no_tools: bool,
    JsonBody { exchange, bytes }: JsonBody,
) -> Result<Response, ApiError> {
    let reasoning = reasoning(&exchange.headers, text.reasoning)?;
    // Nobody asks for what nobody sees. Responses clients ask for themselves.
    let is_shown = matches!(dialect, Dialect::Chat) && reasoning != chat::Reasoning::Hidden;
    let asking = Asking {
        no_tools,
        reasoning_summary: is_shown.then_some("auto"),
        translate: match dialect {
            Dialect::Responses => request::responses::translate,
            Dialect::Chat => request::chat::translate,
            Dialect::Completions => request::completions::translate,
        },
    };
    let (request, keep) = asking.translated(&text.dialogues, &exchange, &bytes).await?;
    drop(bytes);
    send(Text { reasoning, ..text }, dialect, exchange, (request, keep)).await
}

/// How a client's body becomes an upstream request.
#[derive(Clone, Copy)]
pub struct Asking {
    pub no_tools: bool,
    /// What summary of reasoning to ask for when the client says nothing about it.
    pub reasoning_summary: Option<&'static str>,
    pub translate: Translate,
}

impl Asking {
    /// The upstream request. What was left out for it goes to the log.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn translated(
        self,
        dialogues: &Dialogues,
        exchange: &Exchange,
        body: &[u8],
    ) -> Result<(Translated, Option<Keep>), ApiError> {
        let has_files = memchr::memmem::find(body, b"file_id").is_some();
        let read = || self.read(exchange, body, Options::PLAIN);
        let request = (!has_files).then(read).transpose()?;
        let is_alone = |request: &Translated| request.memory.conversation.is_none();
        let (request, keep) = match request.filter(is_alone) {
            Some(request) => (request, None),
            None => self.remembering(dialogues, exchange, body).await?,
        };
        if !request.ignored.is_empty() {
            let record = exchange
                .record(Phase::CompatibilityAdaptation)
                .list("ignored_parameters", &request.ignored)
                .text("reason", "the subscription backend does not take them");
            exchange.traffic.record(record).await;
        }
        Ok((request, keep))
    }

    /// The same for a request that names what is kept here: it is read once for what it means and
    /// once for the upstream, with what was said before and the contents of its files.
    async fn remembering(
        self,
        dialogues: &Dialogues,
        exchange: &Exchange,
        body: &[u8],
    ) -> Result<(Translated, Option<Keep>), ApiError> {
        let (meant, ids) = self.meant(exchange, body)?;
        let turn = dialogues.begin(&meant.memory).await?;
        let (items, name) = turn.before();
        let files = dialogues.files(ids, items).await?;
        let before = Doc::parse(items).map_err(|error| ApiError::broken(&error))?;
        let brought = Before { items: before.root(), name };
        let find = |id: &str| files.find(id);
        let options = Options {
            files: &find,
            before: turn.conversation().map(|_| brought),
            ..Options::PLAIN
        };
        let request =
            self.read(exchange, body, options).map_err(|reject| of_history(reject, name))?;
        let names = request.reply.names.clone();
        let is_kept = turn.conversation().is_some();
        let keep = is_kept.then(|| Keep::new(dialogues.clone(), turn, meant.items(), names));
        Ok((request, keep))
    }

    /// The request as its client means it, and the ids of the files in it.
    fn meant(self, exchange: &Exchange, body: &[u8]) -> Result<(Translated, Vec<String>), Reject> {
        let ids = RefCell::new(Vec::new());
        let find = |id: &str| {
            ids.borrow_mut().push(id.to_owned());
            Some(Local::Reference)
        };
        let options = Options { local: true, files: &find, ..Options::PLAIN };
        let meant = self.read(exchange, body, options)?;
        Ok((meant, ids.into_inner()))
    }

    fn read(
        self,
        exchange: &Exchange,
        body: &[u8],
        options: Options<'_>,
    ) -> Result<Translated, Reject> {
        let options = Options {
            no_tools: self.no_tools,
            session_hint: session_hint(&exchange.headers),
            reasoning_summary: self.reasoning_summary,
            ..options
        };
        (self.translate)(body, &options)
    }
}

/// What is wrong with an item of the history is no fault of an item of the request.
fn of_history(reject: Reject, name: &str) -> Reject {
    let is_of_history = reject.param.as_ref().is_some_and(|param| param.starts_with('['));
    if is_of_history { Reject { param: Some(name.to_owned()), ..reject } } else { reject }
}

fn reasoning(headers: &HeaderMap, usual: chat::Reasoning) -> Result<chat::Reasoning, Reject> {
    let Some(asked) = headers.get(REASONING) else { return Ok(usual) };
    asked.to_str().ok().and_then(chat::Reasoning::named).ok_or_else(|| {
        let names = chat::Reasoning::ALL.map(chat::Reasoning::as_str).join(", ");
        Reject::bad(REASONING, "invalid_value", format!("`{REASONING}` must be one of: {names}."))
    })
}

async fn send(
    text: Text,
    dialect: Dialect,
    exchange: Exchange,
    (request, keep): (Translated, Option<Keep>),
) -> Result<Response, ApiError> {
    let told = Told::new(&exchange, &request, &text);
    let ignored = request.ignored.clone();
    let is_stream = request.stream;
    let opening = {
        let (relay, id) = (text.relay, exchange.id.clone());
        let turn = if told.knows_private { exchange.headers.clone() } else { HeaderMap::new() };
        let asked = Asked { id, request, turn, only: None, story: exchange.story.clone() };
        Box::pin(async move { relay.open(asked).await })
    };
    if is_stream {
        let setting = stream::Setting {
            exchange,
            ignored,
            is_codex: told.knows_private,
            limits: text.stream,
            clock: text.clock,
            keep,
        };
        return stream::respond(setting, opening, told.teller(dialect)).await;
    }
    let collector = told.collector(dialect);
    let keeping = (collector, keep);
    stream::collect(&exchange, opening, keeping, &text.clock, &text.stream.leaving).await
}

/// What an answer is told with, apart from what the upstream says.
struct Told {
    id: String,
    model: String,
    created: i64,
    reasoning: chat::Reasoning,
    reply: request::ReplyOptions,
    knows_private: bool,
}

impl Told {
    fn new(exchange: &Exchange, request: &Translated, text: &Text) -> Self {
        let id = exchange.id.as_str();
        Self {
            id: id.strip_prefix("req_").unwrap_or(id).to_owned(),
            model: request.model.clone(),
            created: text.clock.unix(),
            reasoning: text.reasoning,
            reply: request.reply.clone(),
            knows_private: is_codex(&exchange.headers),
        }
    }

    fn teller(self, dialect: Dialect) -> Teller {
        match dialect {
            Dialect::Responses => {
                let wanted = Wanted { private: self.knows_private, bare: self.reply.stream.bare };
                Teller::Responses(Box::new(responses::Forward::new(wanted, self.reply.names)))
            }
            Dialect::Chat => {
                Teller::Chat(Box::new((Reader::default(), chat::Chunks::new(self.chat()))))
            }
            Dialect::Completions => Teller::Completions(Box::new((
                Reader::default(),
                completions::Chunks::new(self.completions()),
            ))),
        }
    }

    fn collector(self, dialect: Dialect) -> Collector {
        match dialect {
            Dialect::Responses => {
                Collector::Responses(Box::new(responses::Collect::new(self.reply.names)))
            }
            Dialect::Chat => {
                Collector::Chat(Box::new((Reader::default(), chat::Completion::new(self.chat()))))
            }
            Dialect::Completions => Collector::Completions(Box::new((
                Reader::default(),
                completions::Completion::new(self.completions()),
            ))),
        }
    }

    fn chat(self) -> chat::Settings {
        chat::Settings {
            id: format!("chatcmpl-{}", self.id),
            model: self.model,
            created: self.created,
            include_usage: self.reply.stream.include_usage,
            legacy_function: self.reply.legacy_function,
            reasoning: self.reasoning,
            has_tier: self.reply.has_tier,
            names: self.reply.names,
        }
    }

    fn completions(self) -> completions::Settings {
        completions::Settings {
            id: format!("cmpl-{}", self.id),
            model: self.model,
            created: self.created,
            include_usage: self.reply.stream.include_usage,
        }
    }
}

/// A client that names its dialogue in a header, as the Codex client and codex-utils do.
fn session_hint(headers: &HeaderMap) -> Option<&str> {
    ["session-id", "session_id", "x-openclaw-session-key"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
}

pub fn is_codex(headers: &HeaderMap) -> bool {
    headers
        .get("originator")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("codex"))
}
