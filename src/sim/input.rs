//! The items of `input`: their shape, their ids, their pairing, and what they carry.
//!
//! Nothing is stored upstream, so an id that only refers to something is an error.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde_json::Value;

use crate::sim::{
    account::Account,
    answer::{Answer, Wrong},
    mint::is_sealed_for,
    request::{header, item_kind},
    tools::{check_name, too_long},
    tree::{elements, given, text},
    validate::{invalid_value, missing, wrong},
    world::{Need, Taken, World},
};

const ID_MOST: usize = 64;

/// What a message of the user or the developer may consist of.
const USER_PARTS: &[&str] = &[
    "input_text",
    "input_image",
    "output_text",
    "refusal",
    "input_file",
    "input_audio",
    "computer_screenshot",
    "summary_text",
];
const ASSISTANT_PARTS: &[&str] = &["output_text", "refusal"];
const ROLES: &[&str] = &["assistant", "developer", "user"];

/// Says what is wrong with the first item that is not in order.
pub(super) fn check(
    body: &Value,
    headers: &HeaderMap,
    account: &Account,
    world: &World,
) -> Result<(), Answer> {
    let items = elements(body, "input");
    for (index, item) in items.iter().enumerate() {
        let path = format!("input[{index}]");
        if item_kind(item) == "compaction_trigger" && !may_compact(headers, world) {
            let message = "Invalid value: 'compaction_trigger'.";
            return Err(wrong(message, Some(&format!("{path}.type")), Some("invalid_value")));
        }
        check_item(item, &path, world)?;
        check_id(item, &path)?;
        check_sealed(item, account)?;
    }
    check_pairs(items)?;
    let triggers = items.iter().filter(|item| item_kind(item) == "compaction_trigger").count();
    let last = items.last().is_some_and(|item| item_kind(item) == "compaction_trigger");
    if triggers > 1 || (triggers == 1 && !last) {
        let message = "'compaction_trigger' must be the last item of 'input', exactly once.";
        return Err(wrong(message, Some("input"), Some("invalid_value")));
    }
    Ok(())
}

fn may_compact(headers: &HeaderMap, world: &World) -> bool {
    let features = header(headers, &["x-codex-beta-features"]).unwrap_or_default();
    let is_named = features.split(',').any(|name| name.trim() == "remote_compaction_v2");
    world.compaction_trigger == Taken::Accepted
        && (is_named || world.compaction_header == Need::Optional)
}

fn check_item(item: &Value, path: &str, world: &World) -> Result<(), Answer> {
    let needs: &[&str] = match item_kind(item) {
        "message" => return check_message(item, path, world),
        "reasoning" => &["summary"],
        "function_call" => &["name", "arguments", "call_id"],
        "custom_tool_call" => &["name", "input", "call_id"],
        "function_call_output" | "custom_tool_call_output" => &["call_id", "output"],
        "local_shell_call" => &["call_id", "action"],
        "compaction" | "compaction_summary" => &["encrypted_content"],
        "item_reference" => return Err(not_found(text(item, "id"))),
        "additional_tools" => &["tools"],
        "tool_search_call"
        | "tool_search_output"
        | "web_search_call"
        | "image_generation_call"
        | "agent_message"
        | "configuration_update"
        | "context_compaction"
        | "compaction_trigger" => &[],
        other => {
            let message = format!("Invalid value: '{other}'.");
            return Err(wrong(&message, Some(path), Some("invalid_value")));
        }
    };
    if let Some(field) = needs.iter().find(|field| !given(item, field)) {
        return Err(missing(&format!("{path}.{field}")));
    }
    if needs.contains(&"name") {
        check_name(text(item, "name"), &format!("{path}.name"))?;
    }
    if text(item, "call_id").len() > ID_MOST {
        return Err(too_long(text(item, "call_id"), &format!("{path}.call_id")));
    }
    for (index, part) in elements(item, "output").iter().enumerate() {
        check_image(part, &format!("{path}.output[{index}]"), world)?;
    }
    Ok(())
}

fn check_message(item: &Value, path: &str, world: &World) -> Result<(), Answer> {
    let role = text(item, "role");
    if role == "system" {
        return Err(Answer::detail(400, "System messages are not allowed"));
    }
    if !ROLES.contains(&role) {
        return Err(invalid_value(role, path, ROLES));
    }
    if !given(item, "content") {
        return Err(missing(&format!("{path}.content")));
    }
    let supported = if role == "assistant" { ASSISTANT_PARTS } else { USER_PARTS };
    for (index, part) in elements(item, "content").iter().enumerate() {
        let path = format!("{path}.content[{index}]");
        let kind = text(part, "type");
        if !supported.contains(&kind) {
            return Err(invalid_value(kind, &path, supported));
        }
        check_image(part, &path, world)?;
    }
    Ok(())
}

fn check_image(part: &Value, path: &str, world: &World) -> Result<(), Answer> {
    if text(part, "type") != "input_image" || !given(part, "image_url") {
        return Ok(());
    }
    let url = text(part, "image_url");
    let remote = url.starts_with("https://") || url.starts_with("http://");
    let param = format!("{path}.image_url");
    match image_bytes(url) {
        _ if remote && world.remote_images == Taken::Accepted => Ok(()),
        None => Err(bad_image(&param)),
        Some(bytes) if is_image(&bytes) => Ok(()),
        Some(_) => Err(bad_image("input")),
    }
}

/// Whether this is a data URL of a picture.
pub(super) fn is_picture(url: &str) -> bool {
    image_bytes(url).is_some_and(|bytes| is_image(&bytes))
}

/// The content of a data URL of one of the image types; empty when it is no base64.
fn image_bytes(url: &str) -> Option<Vec<u8>> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    let supported = ["image/jpeg", "image/png", "image/gif", "image/webp"];
    supported.contains(&kind).then(|| STANDARD.decode(data).unwrap_or_default())
}

fn is_image(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
        || bytes.starts_with(b"\xff\xd8\xff")
        || bytes.starts_with(b"GIF87a")
        || bytes.starts_with(b"GIF89a")
        || (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"))
}

pub(super) fn bad_image(param: &str) -> Answer {
    wrong(
        "The image data you provided does not represent a valid image. Please check your input and try again with one of the supported image formats: ['image/jpeg', 'image/png', 'image/gif', 'image/webp'].",
        Some(param),
        Some("invalid_value"),
    )
}

fn check_id(item: &Value, path: &str) -> Result<(), Answer> {
    if !given(item, "id") {
        return Ok(());
    }
    let id = text(item, "id");
    let param = format!("{path}.id");
    if id.len() > ID_MOST {
        return Err(too_long(id, &param));
    }
    let prefix = match item_kind(item) {
        "message" => "msg_",
        "reasoning" => "rs_",
        "function_call" => "fc_",
        "function_call_output" => "fco_",
        "custom_tool_call" => "ctc_",
        "custom_tool_call_output" => "ctco_",
        "web_search_call" => "ws_",
        "image_generation_call" => "ig_",
        "compaction" | "compaction_summary" => "cmp_",
        _ => "",
    };
    if !id.starts_with(prefix) {
        let kind = prefix.trim_end_matches('_');
        let message =
            format!("Invalid '{param}': '{id}'. Expected an ID that begins with '{kind}'.");
        return Err(wrong(&message, Some(&param), Some("invalid_value")));
    }
    if prefix == "rs_" && !given(item, "encrypted_content") {
        return Err(not_found(id));
    }
    Ok(())
}

fn not_found(id: &str) -> Answer {
    let message = format!(
        "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input."
    );
    Answer::wrong(404, Wrong { message: &message, param: Some("input"), code: None })
}

fn check_sealed(item: &Value, account: &Account) -> Result<(), Answer> {
    let sealed = matches!(
        item_kind(item),
        "reasoning" | "compaction" | "compaction_summary" | "context_compaction"
    );
    let content = text(item, "encrypted_content");
    if !sealed || !given(item, "encrypted_content") || is_sealed_for(&account.id, content) {
        return Ok(());
    }
    let shown =
        match (content.get(..4), content.len().checked_sub(4).and_then(|at| content.get(at..))) {
            (Some(head), Some(tail)) if content.len() > 8 => format!("{head}...{tail}"),
            _ => content.to_owned(),
        };
    let message = format!("The encrypted content {shown} could not be verified.");
    Err(wrong(&message, None, Some("invalid_encrypted_content")))
}

/// Every output needs an earlier call, and every call an output.
fn check_pairs(items: &[Value]) -> Result<(), Answer> {
    let mut open: Vec<(&str, &str)> = Vec::new();
    let mut known: Vec<(&str, &str)> = Vec::new();
    for item in items {
        let id = text(item, "call_id");
        if let Some(name) = call_name(item) {
            open.push((id, name));
            known.push((id, name));
        } else if let Some((name, answers)) = output_name(item) {
            if !known.iter().any(|(call, kind)| *call == id && answers.contains(kind)) {
                let message = format!("No tool call found for {name} with call_id {id}.");
                return Err(wrong(&message, Some("input"), None));
            }
            open.retain(|(call, kind)| *call != id || !answers.contains(kind));
        }
    }
    match open.first() {
        None => Ok(()),
        Some((id, name)) => {
            let message = format!("No tool output found for {name} {id}.");
            Err(wrong(&message, Some("input"), None))
        }
    }
}

fn call_name(item: &Value) -> Option<&'static str> {
    match item_kind(item) {
        "function_call" => Some("function call"),
        "local_shell_call" => Some("local shell call"),
        "custom_tool_call" => Some("custom tool call"),
        "tool_search_call" if text(item, "execution") == "client" => Some("tool search call"),
        _ => None,
    }
}

/// How an output is called, and the kinds of calls it answers.
fn output_name(item: &Value) -> Option<(&'static str, &'static [&'static str])> {
    match item_kind(item) {
        "function_call_output" => {
            Some(("function call output", &["function call", "local shell call"]))
        }
        "custom_tool_call_output" => Some(("custom tool call output", &["custom tool call"])),
        "tool_search_output" if given(item, "call_id") => {
            Some(("tool search output", &["tool search call"]))
        }
        _ => None,
    }
}
