//! What the upstream checks before it answers with a stream, and the exact body of each refusal.
//!
//! Not here: items of `input` (`input`) and tools (`tools`).

use std::sync::Arc;

use http::{HeaderMap, header::CONTENT_TYPE};
use serde_json::Value;

use crate::sim::{
    account::Account,
    answer::{Answer, Wrong},
    input,
    models::{self, Model},
    request::{Asked, header, item_kind, message_text},
    strict, tools,
    tree::{elements, fields, given, put, quoted_list, text},
    world::{Instructions, OutputCap, Taken, World},
};

/// The fields that a request may have.
const FIELDS: &[&str] = &[
    "model",
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "store",
    "stream",
    "stream_options",
    "include",
    "service_tier",
    "prompt_cache_key",
    "text",
    "client_metadata",
    "access_programs",
];

const INCLUDE: &[&str] = &[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
];

/// The least that `max_output_tokens` may be where it is taken.
const LEAST_OUTPUT: u64 = 16;

pub(super) const LITE_HEADER: &str = "x-openai-internal-codex-responses-lite";

/// The fields that a request to compact without a stream may have.
const COMPACTION_FIELDS: &[&str] = &[
    "model",
    "instructions",
    "input",
    "tools",
    "parallel_tool_calls",
    "reasoning",
    "service_tier",
    "prompt_cache_key",
    "text",
];

/// Reads a request to compact without a stream, or says what is wrong with it.
pub(super) fn read_compaction(
    body: &[u8],
    headers: &HeaderMap,
    account: &Arc<Account>,
    world: &World,
) -> Result<Asked, Answer> {
    check_content_type(headers)?;
    let mut body = parse(body)?;
    if let Some((name, _)) =
        fields(&body).find(|(name, _)| !COMPACTION_FIELDS.contains(&name.as_str()))
    {
        return Err(Answer::detail(400, format!("Unsupported parameter: {name}")));
    }
    put(&mut body, "store", false);
    put(&mut body, "stream", true);
    checked(body, headers, account, world)
}

/// Reads a request, or says what is wrong with it.
pub(super) fn read(
    body: &[u8],
    headers: &HeaderMap,
    account: &Arc<Account>,
    world: &World,
) -> Result<Asked, Answer> {
    check_content_type(headers)?;
    let body = parse(body)?;
    check_fields(&body, world)?;
    checked(body, headers, account, world)
}

fn parse(body: &[u8]) -> Result<Value, Answer> {
    match serde_json::from_slice::<Value>(body) {
        Ok(body) if body.is_object() => Ok(body),
        Ok(_) | Err(_) => {
            Err(wrong("We could not parse the JSON body of your request.", None, None))
        }
    }
}

fn checked(
    body: Value,
    headers: &HeaderMap,
    account: &Arc<Account>,
    world: &World,
) -> Result<Asked, Answer> {
    let slug = body.get("model").and_then(Value::as_str).ok_or_else(|| missing("model"))?;
    let model = models::admit(slug, account, headers, world)?;
    check_constants(&body)?;
    check_instructions(&body, world)?;
    check_options(&body, world)?;
    check_reasoning(&body, &model, headers)?;
    check_text(&body)?;
    let tools = tools::read(&body, &model, account, world)?;
    input::check(&body, headers, account, world)?;
    Ok(Asked {
        model,
        tools,
        account: Arc::clone(account),
        session: header(headers, &["session-id", "session_id"]),
        turn_state: header(headers, &["x-codex-turn-state"]),
        body,
    })
}

/// A 400 in the style of the public API.
pub(super) fn wrong(message: &str, param: Option<&str>, code: Option<&str>) -> Answer {
    Answer::wrong(400, Wrong { message, param, code })
}

pub(super) fn missing(param: &str) -> Answer {
    let message = format!("Missing required parameter: '{param}'.");
    wrong(&message, Some(param), Some("missing_required_parameter"))
}

pub(super) fn invalid_value(value: &str, param: &str, supported: &[&str]) -> Answer {
    let message =
        format!("Invalid value: '{value}'. Supported values are: {}.", quoted_list(supported));
    wrong(&message, Some(param), Some("invalid_value"))
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Answer> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Answer::detail(400, "Unsupported content type"))
    }
}

/// Only the first field that is not taken is named.
fn check_fields(body: &Value, world: &World) -> Result<(), Answer> {
    let taken = |name: &str| match name {
        "max_output_tokens" => world.max_output_tokens == OutputCap::Enforced,
        "metadata" => world.metadata == Taken::Accepted,
        _ => FIELDS.contains(&name),
    };
    match fields(body).find(|(name, _)| !taken(name)) {
        None => Ok(()),
        Some((name, _)) => Err(Answer::detail(400, format!("Unsupported parameter: {name}"))),
    }
}

fn check_constants(body: &Value) -> Result<(), Answer> {
    if body.get("store") != Some(&Value::Bool(false)) {
        return Err(Answer::detail(400, "Store must be set to false"));
    }
    if body.get("stream") != Some(&Value::Bool(true)) {
        return Err(Answer::detail(400, "Stream must be set to true"));
    }
    if !body["input"].is_array() {
        return Err(Answer::detail(400, "Input must be a list"));
    }
    Ok(())
}

fn check_instructions(body: &Value, world: &World) -> Result<(), Answer> {
    let fine = match body.get("instructions").and_then(Value::as_str) {
        Some("") => world.empty_instructions == Taken::Accepted,
        Some(_) => true,
        None => match world.instructions {
            Instructions::Optional => true,
            Instructions::Required => false,
            Instructions::Developer => elements(body, "input")
                .iter()
                .any(|item| item_kind(item) == "message" && text(item, "role") == "developer"),
        },
    };
    if fine { Ok(()) } else { Err(Answer::detail(400, "Instructions are required")) }
}

fn check_options(body: &Value, world: &World) -> Result<(), Answer> {
    match body.get("service_tier") {
        None | Some(Value::Null) => {}
        Some(tier) if tier == "default" || tier == "priority" => {}
        Some(tier) => {
            let tier = tier.as_str().map_or_else(|| tier.to_string(), str::to_owned);
            return Err(Answer::detail(400, format!("Unsupported service_tier: {tier}")));
        }
    }
    let own = |(name, _): &(&String, &Value)| name.as_str() != "reasoning_summary_delivery";
    let foreign = fields(&body["stream_options"]).find(own);
    if let (Taken::Refused, Some((name, _))) = (world.stream_options, foreign) {
        let detail = format!("Unsupported parameter: stream_options.{name}");
        return Err(Answer::detail(400, detail));
    }
    for (index, name) in elements(body, "include").iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        if !INCLUDE.contains(&name) {
            return Err(invalid_value(name, &format!("include[{index}]"), INCLUDE));
        }
    }
    match body.get("max_output_tokens") {
        None | Some(Value::Null) => Ok(()),
        Some(most) if most.as_u64().is_some_and(|most| most >= LEAST_OUTPUT) => Ok(()),
        Some(most) => Err(wrong(
            &format!(
                "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {LEAST_OUTPUT}, but got {most} instead."
            ),
            Some("max_output_tokens"),
            Some("integer_below_min_value"),
        )),
    }
}

fn check_reasoning(body: &Value, model: &Model, headers: &HeaderMap) -> Result<(), Answer> {
    let reasoning = &body["reasoning"];
    if given(reasoning, "effort") {
        let effort = text(reasoning, "effort");
        let supported = model.efforts();
        if !supported.contains(&effort) {
            let message = format!(
                "Unsupported value: '{effort}' is not supported with the '{}' model. Supported values are: {}.",
                model.slug,
                quoted_list(&supported)
            );
            return Err(wrong(&message, Some("reasoning.effort"), Some("unsupported_value")));
        }
    }
    one_of(reasoning, "summary", "reasoning", &["auto", "concise", "detailed"])?;
    one_of(reasoning, "context", "reasoning", &["auto", "current_turn", "all_turns"])?;
    let lite = header(headers, &[LITE_HEADER]).is_some_and(|value| value == "true");
    if lite && text(reasoning, "context") != "all_turns" {
        let message =
            format!("The '{LITE_HEADER}' header requires 'reasoning.context' to be 'all_turns'.");
        return Err(wrong(&message, Some("reasoning.context"), Some("unsupported_value")));
    }
    Ok(())
}

fn one_of(tree: &Value, field: &str, path: &str, supported: &[&str]) -> Result<(), Answer> {
    let value = text(tree, field);
    if !given(tree, field) || supported.contains(&value) {
        return Ok(());
    }
    Err(invalid_value(value, &format!("{path}.{field}"), supported))
}

fn check_text(body: &Value) -> Result<(), Answer> {
    let options = &body["text"];
    one_of(options, "verbosity", "text", &["low", "medium", "high"])?;
    let format = &options["format"];
    if format.is_null() {
        return Ok(());
    }
    match text(format, "type") {
        "json_object" if !mentions_json(body) => Err(wrong(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
            Some("input"),
            None,
        )),
        "text" | "json_object" => Ok(()),
        "json_schema" => check_schema(format),
        other => {
            Err(invalid_value(other, "text.format.type", &["text", "json_schema", "json_object"]))
        }
    }
}

/// Instructions do not count.
fn mentions_json(body: &Value) -> bool {
    elements(body, "input")
        .iter()
        .filter(|item| item_kind(item) == "message")
        .any(|item| message_text(item).to_lowercase().contains("json"))
}

fn check_schema(format: &Value) -> Result<(), Answer> {
    for field in ["name", "schema"] {
        if !given(format, field) {
            return Err(missing(&format!("text.format.{field}")));
        }
    }
    tools::check_name(text(format, "name"), "text.format.name")?;
    if format.get("strict") == Some(&Value::Bool(false)) {
        return Ok(());
    }
    strict::check(&format["schema"]).map_err(|flaw| {
        let message =
            format!("Invalid schema for response_format '{}': {flaw}", text(format, "name"));
        wrong(&message, Some("text.format.schema"), Some("invalid_json_schema"))
    })
}

#[cfg(test)]
mod tests;
