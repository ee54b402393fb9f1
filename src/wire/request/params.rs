//! Top-level parameters by table: what is used, what is left out and told, what is refused.
//!
//! The backend refuses a whole request for the first parameter that it does not know. So each
//! dialect has a list of what its document names, with what happens to it; anything else is left
//! out and told.
//!
//! **Invariant:** a parameter of a wrong type is refused even if it would have been left out.
//!
//! Not here: what a used parameter becomes (`wire::request::settings`, the dialects).

use crate::wire::{
    json::{Kind, Value},
    notes::Notes,
    read::Expect,
    reject::Reject,
};

#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Goes upstream. The words say how, where it is not as it came.
    Sent(&'static str),
    /// Decides about the sending or the answer, and does not go upstream itself.
    Heeded(&'static str),
    /// Read elsewhere, and refused there unless the words say otherwise.
    Limited(&'static str),
    /// The backend decides this itself: checked, left out and told.
    Stripped(Expect),
    /// The backend cannot do it: refused, unless the value says what happens anyway.
    Refused(Expect, Harmless),
    /// Like `Refused` with `NEVER`, for a reason of its own.
    Impossible(Expect, &'static str),
}

/// Values that ask for nothing.
#[derive(Clone, Copy, Debug)]
pub struct Harmless {
    pub words: &'static str,
    is: fn(Value<'_>) -> bool,
}

const NEVER: Harmless = Harmless { words: "", is: |_| false };
const EMPTY: Harmless = Harmless { words: "empty", is: empty };
const OFF: Harmless = Harmless { words: "false", is: |value| value.as_bool() == Some(false) };
const ZERO: Harmless = Harmless { words: "0", is: |value| value.as_i64() == Some(0) };
const ONE: Harmless = Harmless { words: "1", is: |value| value.as_i64() == Some(1) };
const TEXT_ONLY: Harmless =
    Harmless { words: "text only", is: |value| value.items().all(|modality| modality.is("text")) };

const PLAIN: Harmless = Harmless { words: "plain text", is: plain };
const NO_FORMAT: Harmless = Harmless {
    words: "its format is plain text",
    is: |value| value.get("format").is_none_or(|format| format.is_null() || plain(format)),
};

/// Names of parameters with their rules. What is stripped is told in this order.
pub type Table = [(&'static str, Rule)];

use Expect::{Array, Boolean, Integer, Number, Object, String, StringOrArray};
use Rule::{Heeded, Impossible, Limited, Refused, Sent, Stripped};

const NOT_STORED: &str = "`previous_response_id` is not supported: the subscription backend stores no responses. Send the whole history in `input`, or have the relay keep answers: `airelays serve --stateful`.";
const LIMIT: &str = "as `max_output_tokens`, raised to what the upstream takes at least";

/// What all dialects treat alike.
pub const COMMON: &Table = &[
    ("temperature", Stripped(Number)),
    ("top_p", Stripped(Number)),
    ("presence_penalty", Stripped(Number)),
    ("frequency_penalty", Stripped(Number)),
    ("seed", Stripped(Integer)),
    ("user", Stripped(String)),
    ("safety_identifier", Stripped(String)),
    ("metadata", Stripped(Object)),
    ("prompt_cache_retention", Stripped(String)),
    ("prompt_cache_options", Stripped(Object)),
    ("stop", Refused(StringOrArray, EMPTY)),
    ("logit_bias", Refused(Object, EMPTY)),
    ("moderation", Refused(Object, NEVER)),
    ("model", Sent("with aliases, an effort in it and capitals resolved")),
    ("instructions", Sent("`.` where there are none")),
    ("store", Limited("false")),
    (
        "service_tier",
        Sent("`priority`, and `fast` as that; `default`, `flex` and `scale` are told"),
    ),
    ("prompt_cache_key", Sent("and names the session")),
    ("conversation", Heeded("what was said in it precedes the request")),
    ("reasoning", Sent("`effort`, `summary`, `generate_summary` and `context`")),
    ("max_output_tokens", Sent("")),
];

/// How an answer is told.
pub const STREAM: &Table = &[
    ("stream", Heeded("the upstream always streams; a whole answer is put together here")),
    ("stream_options", Heeded("told when there is no stream")),
];

/// The same where the answer is one object.
pub const NO_STREAM: &Table = &[
    ("stream", Heeded("the answer is one object; `true` is told")),
    ("stream_options", Heeded("told")),
];

/// What only the chat and completions documents name.
pub const CHOICES: &Table = &[
    ("n", Limited("1")),
    ("max_tokens", Sent(LIMIT)),
    ("max_completion_tokens", Sent(LIMIT)),
    ("reasoning_effort", Sent("as `reasoning.effort`")),
    ("verbosity", Sent("as `text.verbosity`")),
];

/// What the Responses document alone names, and other routes cannot do without loss.
pub const STATEFUL: &Table = &[
    ("previous_response_id", Impossible(String, NOT_STORED)),
    ("background", Refused(Boolean, OFF)),
];

/// What a request can say where answers are kept.
const KEPT: &[&str] = &["background", "metadata", "previous_response_id", "store"];
/// The same of a chat.
const KEPT_CHAT: &[&str] = &["metadata", "store"];

/// What the chat document names and the backend cannot do.
pub const CHAT_ONLY: &Table = &[
    ("audio", Refused(Object, NEVER)),
    ("modalities", Refused(Array, TEXT_ONLY)),
    ("prediction", Refused(Object, NEVER)),
    ("logprobs", Refused(Boolean, OFF)),
];

/// What else only the chat document names.
pub const CHAT: &Table = &[
    ("top_logprobs", Refused(Integer, ZERO)),
    ("messages", Sent("as `instructions` and `input`")),
    ("response_format", Sent("as `text.format`")),
    ("tools", Sent("functions, custom tools and web search, in the flat form")),
    ("tool_choice", Sent("in the flat form")),
    ("parallel_tool_calls", Sent("where there are tools")),
    ("functions", Sent("as `tools`; the answer has the older form")),
    ("function_call", Sent("as `tool_choice`")),
    ("web_search_options", Sent("as the tool `web_search`")),
];

/// What only the Responses document names.
pub const RESPONSES: &Table = &[
    ("top_logprobs", Refused(Integer, ZERO)),
    (
        "prompt",
        Impossible(
            Object,
            "`prompt` is not supported: stored prompts are not available to the subscription backend.",
        ),
    ),
    ("max_tool_calls", Stripped(Integer)),
    ("context_management", Stripped(Array)),
    ("input", Sent("as a list, without ids of messages and calls")),
    ("text", Sent("`format` and `verbosity`")),
    ("include", Sent("what the upstream can include; the rest is told")),
    ("tools", Sent("hosted tools that the backend does not have are refused")),
    ("tool_choice", Sent("")),
    ("parallel_tool_calls", Sent("")),
    ("client_metadata", Sent("")),
    ("truncation", Heeded("`disabled` is what happens; `auto` is told")),
];

/// The shape of an answer as the chat document has it. Whoever asks for one gets it.
pub const SHAPE: &Table = &[("response_format", Sent("as `text.format`"))];

/// What a Responses body cannot have beside its input.
pub const NO_MESSAGES: &Table = &[(
    "messages",
    Impossible(Array, "`messages` belongs to chat completions: send what it holds as `input`."),
)];

/// What the chat document calls otherwise, and a Responses body would lose.
pub const NO_CHAT_TOOLS: &Table =
    &[("functions", Refused(Array, EMPTY)), ("web_search_options", Refused(Object, NEVER))];

/// What other documents name, and a chat would lose.
pub const NO_CHAT: &Table = &[
    ("text", Refused(Object, NO_FORMAT)),
    ("prompt", Impossible(String, "`prompt` belongs to completions; send it as a message.")),
    ("best_of", Refused(Integer, ONE)),
    ("echo", Refused(Boolean, OFF)),
    ("suffix", Refused(String, EMPTY)),
];

/// What other documents name, and a completion would lose.
pub const TEXT_ALONE: &Table = &[
    (
        "messages",
        Impossible(Array, "`messages` belongs to chat completions: send one text as `prompt`."),
    ),
    ("tools", Refused(Array, EMPTY)),
    ("functions", Refused(Array, EMPTY)),
    ("response_format", Refused(Object, PLAIN)),
    ("text", Refused(Object, NO_FORMAT)),
];

/// What only the completions document names.
pub const COMPLETIONS: &Table = &[
    ("best_of", Refused(Integer, ONE)),
    ("echo", Refused(Boolean, OFF)),
    ("logprobs", Refused(Integer, NEVER)),
    ("suffix", Refused(String, EMPTY)),
    ("prompt", Sent("one text, as a message of a user")),
];

/// The tables of a route, under the name that messages have for it, and what is heeded where
/// answers are kept, whatever the tables say of it.
pub type Route = (&'static str, &'static [&'static Table], &'static [&'static str]);

pub const CHAT_ROUTE: Route =
    ("chat.completions", &[COMMON, STREAM, CHOICES, STATEFUL, CHAT_ONLY, CHAT, NO_CHAT], KEPT_CHAT);
pub const CHAT_ROUTE_WITH_INPUT: Route = (
    "chat.completions",
    &[COMMON, STREAM, CHOICES, STATEFUL, RESPONSES, SHAPE, CHAT_ONLY, NO_CHAT_TOOLS],
    KEPT_CHAT,
);
pub const COMPLETIONS_ROUTE: Route =
    ("completions", &[COMMON, STREAM, CHOICES, STATEFUL, COMPLETIONS, TEXT_ALONE], &[]);
pub const RESPONSES_ROUTE: Route = (
    "responses",
    &[COMMON, STREAM, CHOICES, STATEFUL, RESPONSES, SHAPE, NO_MESSAGES, CHAT_ONLY, NO_CHAT_TOOLS],
    KEPT,
);
pub const COMPACTION_ROUTE: Route = (
    "responses.compact",
    &[
        COMMON,
        NO_STREAM,
        CHOICES,
        STATEFUL,
        RESPONSES,
        SHAPE,
        NO_MESSAGES,
        CHAT_ONLY,
        NO_CHAT_TOOLS,
    ],
    &[],
);

/// Applies the tables of a route to the fields of `request`.
///
/// # Errors
///
/// When a parameter has a wrong type or cannot be done.
pub fn check<'a>(
    request: Value<'a>,
    (route, tables, kept): Route,
    keeps: bool,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let mut refused = Vec::new();
    for (name, rule) in tables.iter().copied().flatten() {
        if keeps && kept.contains(name) {
            continue;
        }
        let Some(value) = request.given(name) else { continue };
        match rule {
            Sent(_) | Heeded(_) | Limited(_) => {}
            Stripped(expected) => notes.lead(value.expect(*expected)?),
            Refused(expected, harmless) => {
                if !(harmless.is)(value.expect(*expected)?) {
                    refused.push(*name);
                }
            }
            Impossible(expected, why) => {
                return Err(Reject::unsupported(value.expect(*expected)?.path(), *why));
            }
        }
    }
    if let [first, ..] = refused[..] {
        let names = refused.join(", ");
        let message =
            format!("Unsupported {route} parameters for the subscription backend: {names}");
        return Err(Reject::unsupported(first, message));
    }
    for entry in request.entries() {
        let known = tables.iter().copied().flatten().any(|(name, _)| entry.key.is(name));
        if !known {
            notes.drop(entry.value);
        }
    }
    Ok(())
}

fn plain(format: Value<'_>) -> bool {
    format.get("type").is_some_and(|kind| kind.is("text"))
}

fn empty(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::String => value.is(""),
        Kind::Array | Kind::Object => {
            value.items().next().is_none() && value.entries().next().is_none()
        }
        Kind::Null | Kind::Bool | Kind::Number => false,
    }
}
