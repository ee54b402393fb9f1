//! `POST /v1/responses`, `/v1/chat/completions` and `/v1/completions`, and their `/no-tools` twins.
//!
//! The three dialects differ in how they read a request and tell an answer; everything between is
//! the same and stands here once.

pub mod asking;

use axum::{Router, extract::State, response::Response, routing::post};
use http::HeaderMap;

use self::asking::{Asking, Dialect, chat_id};
use crate::{
    api::{
        background::Background,
        error::ApiError,
        exchange::Exchange,
        extract::JsonBody,
        keep::Keep,
        stream::{self, Collector, Teller},
    },
    clock::Clock,
    dialogue::Dialogues,
    relay::{Asked, Relay},
    wire::{
        reject::Reject,
        reply::{
            Reader, chat, completions,
            responses::{self, Members, Wanted},
        },
        request::{self, Translated},
    },
};

/// What the text routes need.
#[derive(Clone, Debug)]
pub struct Text {
    pub relay: Relay,
    pub dialogues: Dialogues,
    pub background: Background,
    pub clock: Clock,
    pub stream: stream::Settings,
    pub reasoning: chat::Reasoning,
}

/// Says for one request where a chat client sees thoughts.
const REASONING: &str = "x-airelays-reasoning";

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
        dialogues: &text.dialogues,
        exchange: &exchange,
        dialect,
        no_tools,
        reasoning_summary: is_shown.then_some("auto"),
        now: text.clock.unix(),
    };
    let (request, keep) = asking.translated(&bytes).await?;
    drop(bytes);
    send(Text { reasoning, ..text }, dialect, exchange, (request, keep)).await
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
    let is_background = request.memory.background;
    let (is_stream, ignored) = (request.stream, request.ignored.clone());
    let told = Told::new(&exchange, &request, &text);
    let keep = keep.map(|keep| told.kept_as(dialect, keep));
    let members = keep.as_ref().map(|keep| keep.members().clone()).unwrap_or_default();
    let opening = {
        let (relay, id) = (text.relay, exchange.id.clone());
        let turn = if told.knows_private { exchange.headers.clone() } else { HeaderMap::new() };
        let asked = Asked { id, request, turn, only: None, story: exchange.story.clone() };
        Box::pin(async move { relay.open(asked).await })
    };
    if is_stream || is_background {
        let setting = stream::Setting {
            exchange,
            ignored,
            is_codex: told.knows_private,
            limits: text.stream,
            clock: text.clock,
            keep,
        };
        let teller = told.teller(dialect, members);
        if is_background {
            return text.background.answer((setting, opening, teller), is_stream).await;
        }
        return stream::respond(setting, opening, teller).await;
    }
    let keeping = (told.collector(dialect, members), keep);
    stream::collect(&exchange, opening, keeping, &text.clock, &text.stream.leaving).await
}

/// What an answer is told with, apart from what the upstream says.
#[derive(Clone)]
struct Told {
    id: String,
    chat_id: String,
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
            chat_id: chat_id(exchange),
            model: request.model.clone(),
            created: text.clock.unix(),
            reasoning: text.reasoning,
            reply: request.reply.clone(),
            knows_private: is_codex(&exchange.headers),
        }
    }

    /// `keep` with what it needs to keep the answer as it is told.
    fn kept_as(&self, dialect: Dialect, keep: Keep) -> Keep {
        let is_chat = matches!(dialect, Dialect::Chat) && keep.answer().is_some();
        if is_chat { keep.told_as_chat(self.clone().chat()) } else { keep }
    }

    fn teller(self, dialect: Dialect, members: Members) -> Teller {
        match dialect {
            Dialect::Responses | Dialect::Compaction => {
                let wanted = Wanted { private: self.knows_private, bare: self.reply.stream.bare };
                let forward = responses::Forward::new(wanted, self.reply.names).with(members);
                Teller::Responses(Box::new(forward))
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

    fn collector(self, dialect: Dialect, members: Members) -> Collector {
        match dialect {
            Dialect::Responses | Dialect::Compaction => {
                let collect = responses::Collect::new(self.reply.names).with(members);
                Collector::Responses(Box::new(collect))
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
            id: self.chat_id,
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

pub fn is_codex(headers: &HeaderMap) -> bool {
    headers
        .get("originator")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("codex"))
}
