//! Input items of the Responses document, which are the upstream's own.
//!
//! Most of an item is copied as it stands. What changes: ids go, because nothing is stored under
//! them; the system speaks as developer; names and ids of calls are made to fit; pictures and
//! local files are looked at.
//!
//! **Invariant:** an item is written, told as left out, or refuses the request.

use crate::wire::{
    content::{self, Voice},
    json::{
        Kind, Value,
        write::{Array, Object},
    },
    read::Expect,
    reject::Reject,
    request::{Draft, calls::Tool, compaction::TRIGGER, own::List},
};

/// What the Codex client says about an item to the upstream, in whatever item.
const PASSTHROUGH: &str = "internal_chat_message_metadata_passthrough";

/// Writes `input`, a string, an item or an array of items, as an array.
///
/// # Errors
///
/// When an item is not one, or cannot go upstream.
pub fn write_input<'a>(
    out: &mut Vec<u8>,
    input: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    let mut items = Array::open(out);
    draft.write_before(&mut items)?;
    write_items(&mut items, input, draft)?;
    items.close();
    Ok(())
}

/// The same with the item behind it that asks for a compaction.
///
/// # Errors
///
/// When an item is not one, or cannot go upstream.
pub fn write_compacted<'a>(
    out: &mut Vec<u8>,
    input: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    let mut items = Array::open(out);
    draft.write_before(&mut items)?;
    write_items(&mut items, input, draft)?;
    if !std::mem::replace(&mut draft.compacts, true) {
        items.item().extend_from_slice(TRIGGER);
    }
    items.close();
    Ok(())
}

fn write_items<'a>(
    items: &mut Array<'_>,
    input: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    match input.kind() {
        Kind::String => {
            draft.mentions_json |= content::mentions_json(input);
            write_user_text(items.item(), input);
        }
        Kind::Object => write_item(items, input, draft)?,
        Kind::Array => {
            draft.list = List::Input;
            for (at, item) in input.items().enumerate() {
                write_item(items, item, draft)?;
                draft.came_from(at, items.len(), 0);
            }
        }
        Kind::Null | Kind::Bool | Kind::Number => {
            return Err(Reject::wrong_type(input, "a string, an object, or an array"));
        }
    }
    Ok(())
}

/// Writes a user's message of one text.
pub fn write_user_text(out: &mut Vec<u8>, text: Value<'_>) {
    let mut item = Object::open(out);
    item.text("type", "message");
    item.text("role", "user");
    let mut parts = Array::open(item.field("content"));
    content::write_text(parts.item(), text, Voice::Input);
    parts.close();
    item.close();
}

/// What tells a dialogue: what is said in it up to the first words of a user.
pub fn opening(input: Value<'_>) -> Vec<Option<Value<'_>>> {
    let is_user = |item: Value<'_>| item.get("role").is_some_and(|role| role.is("user"));
    match input.kind() {
        Kind::Array => {
            let mut opening = Vec::new();
            for item in input.items().filter(|item| item.get("role").is_some()) {
                opening.push(item.get("content"));
                if is_user(item) {
                    break;
                }
            }
            opening
        }
        Kind::Object => vec![input.get("content")],
        Kind::String | Kind::Null | Kind::Bool | Kind::Number => vec![Some(input)],
    }
}

/// Writes one item.
///
/// # Errors
///
/// When it is none, or cannot go upstream.
pub fn write_item<'a>(
    items: &mut Array<'_>,
    item: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    let kind = match item.object()?.given("type") {
        Some(kind) => kind.string()?,
        None if item.get("role").is_some() => "message".into(),
        None if item.get("id").is_some() => "item_reference".into(),
        None => return Err(Reject::missing(item, "type")),
    };
    match &*kind {
        "message" => write_message(items.item(), item, draft),
        "function_call" => write_call(items.item(), item, Tool::Function, draft),
        "custom_tool_call" => write_call(items.item(), item, Tool::Custom, draft),
        "function_call_output" | "custom_tool_call_output" => {
            write_output(items.item(), item, &kind, draft)
        }
        "reasoning" => write_reasoning(items, item, draft),
        "item_reference" => refer(items, item, draft),
        // What the backend made is gone with it, unless the item holds it.
        "image_generation_call" if item.given("result").is_none() => {
            draft.notes.drop(item);
            Ok(())
        }
        _ if draft.options.no_tools && brings_tools(item) => {
            Err(Reject::unsupported(item.path(), "This route disables tools."))
        }
        // Its id is part of what was compacted.
        "compaction" | "compaction_summary" => {
            items.item().extend_from_slice(item.raw());
            Ok(())
        }
        // It asks for one, once.
        "compaction_trigger" if draft.options.local => Ok(()),
        "compaction_trigger" => {
            draft.compacts = true;
            write_without_id(items.item(), item);
            Ok(())
        }
        "local_shell_call" => {
            let id = item.required("call_id")?.name()?;
            draft.calls.optional(id, Tool::Function, item);
            write_without_id(items.item(), item);
            Ok(())
        }
        _ => {
            write_without_id(items.item(), item);
            Ok(())
        }
    }
}

/// Whether an item declares tools, whatever it is called.
fn brings_tools(item: Value<'_>) -> bool {
    let some = item.given("tools").is_some_and(|tools| tools.items().next().is_some());
    some || item.get("type").is_some_and(|kind| kind.is("additional_tools"))
}

fn write_message<'a>(
    out: &mut Vec<u8>,
    message: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    let known = ["type", "role", "content", "id", "status", "phase", PASSTHROUGH];
    draft.notes.unknown(message, &known);
    let role = message.required("role")?.one_of(&["user", "assistant", "system", "developer"])?;
    let (role, voice) = match role {
        "assistant" => (role, Voice::Output),
        "system" if !draft.options.local => ("developer", Voice::Input),
        _ => (role, Voice::Input),
    };
    let content = message.required("content")?;
    let mut item = Object::open(out);
    item.text("type", "message");
    item.text("role", role);
    let (files, notes) = (draft.options.files, &mut draft.notes);
    content::write_parts(item.field("content"), content, voice, files, notes)?;
    draft.mentions_json |= content::mentions_json(content);
    if let Some(phase) = message.given("phase") {
        item.raw("phase", phase.expect(Expect::String)?.raw());
    }
    pass_metadata(&mut item, message);
    item.close();
    Ok(())
}

fn write_call<'a>(
    out: &mut Vec<u8>,
    call: Value<'a>,
    tool: Tool,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    const EXTRAS: [&str; 3] = ["status", "namespace", "encrypted_function_args"];
    let (kind, input) = match tool {
        Tool::Function => ("function_call", "arguments"),
        Tool::Custom => ("custom_tool_call", "input"),
    };
    let known = ["type", "id", "call_id", "name", input, PASSTHROUGH];
    draft.notes.unknown(call, &[&known[..], &EXTRAS].concat());
    let id = call.required("call_id")?.name()?;
    let name = call.required("name")?.name()?;
    let mut item = Object::open(out);
    item.text("type", kind);
    // A name inside a namespace is not declared on its own.
    match call.given("namespace") {
        Some(_) => item.text("name", &name),
        None => item.text("name", &draft.tool_name(&name)),
    }
    item.raw(input, call.required(input)?.expect(Expect::String)?.raw());
    draft.write_call_id(item.field("call_id"), &id);
    for extra in EXTRAS {
        if let Some(value) = call.given(extra) {
            item.raw(extra, value.expect(Expect::String)?.raw());
        }
    }
    pass_metadata(&mut item, call);
    item.close();
    draft.calls.call(id, tool, call);
    Ok(())
}

fn write_output<'a>(
    out: &mut Vec<u8>,
    answer: Value<'a>,
    kind: &str,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    const EXTRAS: [&str; 3] = ["status", "name", "namespace"];
    let known = ["type", "id", "call_id", "output", PASSTHROUGH];
    draft.notes.unknown(answer, &[&known[..], &EXTRAS].concat());
    let id = answer.required("call_id")?.name()?;
    let output = answer.required("output")?.expect(Expect::StringOrArray)?;
    draft.answer(&id, answer)?;
    draft.mentions_json |= content::mentions_json(output);
    let mut item = Object::open(out);
    item.text("type", kind);
    draft.write_call_id(item.field("call_id"), &id);
    let out = item.field("output");
    if output.kind() == Kind::String {
        out.extend_from_slice(output.raw());
    } else {
        content::write_parts(out, output, Voice::Input, draft.options.files, &mut draft.notes)?;
    }
    for extra in EXTRAS {
        if let Some(value) = answer.given(extra) {
            item.raw(extra, value.expect(Expect::String)?.raw());
        }
    }
    pass_metadata(&mut item, answer);
    item.close();
    Ok(())
}

/// A reference to an item that the backend has not stored. One to what the backend did or thought
/// by itself is left out like reasoning that nobody can read; without one to what was said, the
/// dialogue would be another.
fn refer<'a>(items: &mut Array<'_>, item: Value<'a>, draft: &mut Draft<'a>) -> Result<(), Reject> {
    let id = item.required("id")?.string()?;
    let options = draft.options;
    let has = |known: &Value<'_>| known.get("id").is_some_and(|known| known.is(&id));
    // What was said before is there already.
    if options.before.is_some_and(|before| before.items.items().any(|known| has(&known))) {
        return Ok(());
    }
    if let Some(meant) = options.referred.and_then(|all| all.items().find(has)) {
        return write_item(items, meant, draft);
    }
    if (options.has_item)(&id) {
        return Ok(());
    }
    if ["rs_", "ws_", "ig_"].iter().any(|kind| id.starts_with(kind)) {
        draft.notes.drop(item);
        return Ok(());
    }
    Err(Reject::invalid(
        item,
        "Items cannot be referred to by id: the subscription backend stores none. Send the item itself, as clients do that are told `store: false`.",
    ))
}

fn pass_metadata(item: &mut Object<'_>, from: Value<'_>) {
    if let Some(metadata) = from.given(PASSTHROUGH) {
        item.raw(PASSTHROUGH, metadata.raw());
    }
}

/// Reasoning of an earlier turn: what is encrypted in it goes back as it came. An id without that
/// would name an item that the upstream does not have.
fn write_reasoning<'a>(
    items: &mut Array<'_>,
    reasoning: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    let known = ["type", "id", "summary", "content", "encrypted_content", "status", PASSTHROUGH];
    draft.notes.unknown(reasoning, &known);
    let encrypted = reasoning.given("encrypted_content");
    encrypted.map(|text| text.expect(Expect::String)).transpose()?;
    let id = reasoning.given("id").map(|id| id.expect(Expect::String)).transpose()?;
    if encrypted.is_none() && id.is_some() {
        draft.notes.drop(reasoning);
        return Ok(());
    }
    let summary = reasoning.given("summary").map(Value::array).transpose()?;
    let mut item = Object::open(items.item());
    item.text("type", "reasoning");
    if let Some(id) = id {
        item.raw("id", id.raw());
    }
    item.raw("summary", summary.map_or(b"[]", Value::raw));
    if let Some(content) = reasoning.given("content") {
        item.raw("content", content.array()?.raw());
    }
    if let Some(encrypted) = encrypted {
        item.raw("encrypted_content", encrypted.raw());
    }
    pass_metadata(&mut item, reasoning);
    item.close();
    Ok(())
}

fn write_without_id(out: &mut Vec<u8>, item: Value<'_>) {
    if item.get("id").is_none() {
        return out.extend_from_slice(item.raw());
    }
    let mut written = Object::open(out);
    for entry in item.entries().filter(|entry| !entry.key.is("id")) {
        written.raw_field(entry.key.raw()).extend_from_slice(entry.value.raw());
    }
    written.close();
}
