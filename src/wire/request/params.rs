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
    /// Read elsewhere.
    Used,
    /// The backend decides this itself: checked, left out and told.
    Stripped(Expect),
    /// The backend cannot do it: refused, unless the value says what happens anyway.
    Refused(Expect, fn(Value<'_>) -> bool),
    /// Like `Refused` with `never`, for a reason of its own.
    Impossible(Expect, &'static str),
}

/// Names of parameters with their rules. What is stripped is told in this order.
pub type Table = [(&'static str, Rule)];

use Expect::{Array, Boolean, Integer, Number, Object, String, StringOrArray};
use Rule::{Impossible, Refused, Stripped, Used};

const NOT_STORED: &str = "`previous_response_id` is not supported: the subscription backend stores no responses. Send the whole history in `input`, or use `conversation`.";

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
    ("stop", Refused(StringOrArray, empty)),
    ("logit_bias", Refused(Object, empty)),
    ("moderation", Refused(Object, never)),
    ("model", Used),
    ("instructions", Used),
    ("stream", Used),
    ("stream_options", Used),
    ("store", Used),
    ("service_tier", Used),
    ("prompt_cache_key", Used),
    ("conversation", Used),
    ("reasoning", Used),
    ("max_output_tokens", Used),
];

/// What only the chat and completions documents name.
pub const CHOICES: &Table = &[
    ("n", Used),
    ("max_tokens", Used),
    ("max_completion_tokens", Used),
    ("reasoning_effort", Used),
    ("verbosity", Used),
];

/// What the Responses document alone names, and other routes cannot do without loss.
pub const STATEFUL: &Table = &[
    ("previous_response_id", Impossible(String, NOT_STORED)),
    ("background", Refused(Boolean, off)),
];

/// What the chat document names and the backend cannot do.
pub const CHAT_ONLY: &Table = &[
    ("audio", Refused(Object, never)),
    ("modalities", Refused(Array, text_only)),
    ("prediction", Refused(Object, never)),
    ("logprobs", Refused(Boolean, off)),
];

/// What else only the chat document names.
pub const CHAT: &Table = &[
    ("top_logprobs", Refused(Integer, zero)),
    ("messages", Used),
    ("response_format", Used),
    ("tools", Used),
    ("tool_choice", Used),
    ("parallel_tool_calls", Used),
    ("functions", Used),
    ("function_call", Used),
    ("web_search_options", Used),
];

/// What only the Responses document names.
pub const RESPONSES: &Table = &[
    ("top_logprobs", Refused(Integer, zero)),
    (
        "prompt",
        Impossible(
            Object,
            "`prompt` is not supported: stored prompts are not available to the subscription backend.",
        ),
    ),
    ("max_tool_calls", Stripped(Integer)),
    ("context_management", Stripped(Array)),
    ("input", Used),
    ("text", Used),
    ("include", Used),
    ("tools", Used),
    ("tool_choice", Used),
    ("parallel_tool_calls", Used),
    ("client_metadata", Used),
    ("truncation", Used),
];

/// What only the completions document names.
pub const COMPLETIONS: &Table = &[
    ("best_of", Refused(Integer, one)),
    ("echo", Refused(Boolean, off)),
    ("logprobs", Refused(Integer, never)),
    ("suffix", Refused(String, empty)),
    ("prompt", Used),
];

/// Applies `tables` to the fields of `request`. `route` is what messages call the route.
///
/// # Errors
///
/// When a parameter has a wrong type or cannot be done.
pub fn check<'a>(
    request: Value<'a>,
    tables: &[&Table],
    route: &str,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let mut refused = Vec::new();
    for (name, rule) in tables.iter().copied().flatten() {
        let Some(value) = request.given(name) else { continue };
        match rule {
            Used => {}
            Stripped(expected) => notes.lead(value.expect(*expected)?),
            Refused(expected, harmless) => {
                if !harmless(value.expect(*expected)?) {
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

fn never(_: Value<'_>) -> bool {
    false
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

fn off(value: Value<'_>) -> bool {
    value.as_bool() == Some(false)
}

fn zero(value: Value<'_>) -> bool {
    value.as_i64() == Some(0)
}

fn one(value: Value<'_>) -> bool {
    value.as_i64() == Some(1)
}

fn text_only(value: Value<'_>) -> bool {
    value.items().all(|modality| modality.is("text"))
}
