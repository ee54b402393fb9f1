//! The messages of a chat request, in their order.
//!
//! **Invariant:** every message becomes instructions or input, is empty, or refuses the request.

use std::borrow::Cow;

use crate::wire::{
    content::{self, Voice},
    json::{
        Kind, Value,
        write::{Array, Object},
    },
    notes::Notes,
    read::Expect,
    reject::Reject,
    request::{Draft, NO_INSTRUCTIONS, calls::Tool, format::Format, own::List},
    tools,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// System or developer: one thing for the upstream.
    System,
    User,
    Assistant,
    Tool,
    Function,
}

/// The messages, with their roles known.
#[derive(Debug)]
pub struct Messages<'a> {
    own_instructions: Option<Value<'a>>,
    all: Vec<(Role, Value<'a>)>,
    /// How many messages at the start belong to the system.
    n_leading: usize,
    /// How many of them become instructions: all or none.
    n_instructions: usize,
}

/// Calls of the older form have no id: the answer names the function.
#[derive(Debug, Default)]
struct LegacyCalls<'a>(Vec<(Cow<'a, str>, String)>);

impl<'a> Messages<'a> {
    /// # Errors
    ///
    /// When there are none, or one is not a message.
    pub fn read(request: Value<'a>, format: &Format<'_>) -> Result<Self, Reject> {
        let own_instructions = request.given("instructions");
        own_instructions.map(|own| own.expect(Expect::String)).transpose()?;
        let messages = request.required("messages")?.array()?;
        let all = messages.items().map(|message| Ok((role(message)?, message)));
        let all = all.collect::<Result<Vec<_>, Reject>>()?;
        if all.is_empty() {
            let why = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.";
            return Err(Reject::invalid(messages, why).with_code("empty_array"));
        }
        let n_leading = all.iter().take_while(|(role, _)| *role == Role::System).count();
        // An input is needed too, and JSON mode looks for its word there.
        let stay = n_leading == all.len() || matches!(format, Format::Json);
        let n_instructions = if stay { 0 } else { n_leading };
        Ok(Self { own_instructions, all, n_leading, n_instructions })
    }

    /// What stays the same from one turn of a dialogue to the next.
    pub fn fingerprint(&self) -> Vec<Option<Value<'a>>> {
        let leading = self.all.iter().take(self.n_leading);
        let first = self.all.iter().find(|(role, _)| *role == Role::User);
        let contents = leading.chain(first).map(|(_, message)| message.get("content"));
        std::iter::once(self.own_instructions).chain(contents).collect()
    }

    /// Writes the instructions, as one string.
    ///
    /// # Errors
    ///
    /// When a message among them is not text.
    pub fn write_instructions(
        &self,
        out: &mut Vec<u8>,
        notes: &mut Notes<'a>,
    ) -> Result<(), Reject> {
        let mut pieces = Vec::new();
        let mut blank = true;
        let own = self.own_instructions.map(|own| vec![own]);
        let leading = self.all.iter().take(self.n_instructions);
        let leading = leading.map(|(_, message)| system_texts(*message, notes));
        for texts in own.map(Ok).into_iter().chain(leading) {
            let texts: Vec<_> = texts?.into_iter().filter(|text| !text.is("")).collect();
            for (i, text) in texts.into_iter().enumerate() {
                match (pieces.is_empty(), i) {
                    (true, _) => {}
                    (false, 0) => pieces.push(r"\n\n"),
                    (false, _) => pieces.push(r"\n"),
                }
                pieces.push(text.inner().unwrap_or_default());
                blank &= text.as_str().is_none_or(|text| text.trim().is_empty());
            }
        }
        if blank {
            out.extend_from_slice(NO_INSTRUCTIONS);
        } else {
            out.push(b'"');
            for piece in pieces {
                out.extend_from_slice(piece.as_bytes());
            }
            out.push(b'"');
        }
        Ok(())
    }

    /// Writes everything that is not instructions as input items.
    ///
    /// # Errors
    ///
    /// When a message cannot go upstream.
    pub fn write_input(&self, out: &mut Vec<u8>, draft: &mut Draft<'a>) -> Result<(), Reject> {
        let mut items = Array::open(out);
        draft.write_before(&mut items)?;
        let mut legacy = LegacyCalls::default();
        draft.list = List::Messages;
        // What stays in the input for the upstream's sake is still instructions, and not kept.
        let is_spoken = self.n_leading < self.all.len();
        let n_left_out =
            if draft.options.local && is_spoken { self.n_leading } else { self.n_instructions };
        for (i, (role, message)) in self.all.iter().enumerate().skip(n_left_out) {
            let n_calls = message.given("tool_calls").map_or(0, |calls| calls.items().count());
            match role {
                Role::System => write_spoken(&mut items, *message, "developer", draft)?,
                Role::User => write_spoken(&mut items, *message, "user", draft)?,
                Role::Assistant => {
                    write_answer(&mut items, *message, draft)?;
                    write_calls(&mut items, *message, draft)?;
                    write_legacy_call(&mut items, (i, *message), &mut legacy, draft)?;
                }
                Role::Tool => write_output(&mut items, *message, draft)?,
                Role::Function => write_legacy_output(&mut items, *message, &mut legacy, draft)?,
            }
            draft.came_from(i, items.len(), n_calls);
        }
        items.close();
        Ok(())
    }
}

fn role(message: Value<'_>) -> Result<Role, Reject> {
    let supported = ["system", "assistant", "user", "function", "tool", "developer"];
    Ok(match message.object()?.required("role")?.one_of(&supported)? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        "function" => Role::Function,
        _ => Role::System,
    })
}

/// The texts of a system message that becomes instructions.
fn system_texts<'a>(message: Value<'a>, notes: &mut Notes<'a>) -> Result<Vec<Value<'a>>, Reject> {
    notes.unknown(message, &["role", "content"]);
    let content = message.required("content")?.expect(Expect::StringOrArray)?;
    if content.kind() == Kind::String {
        return Ok(vec![content]);
    }
    let text = |part: Value<'a>| {
        part.object()?.required("type")?.one_of(&["text", "input_text"])?;
        notes.unknown(part, &["type", "text"]);
        part.required("text")?.expect(Expect::String)
    };
    content.items().map(text).collect()
}

/// A message of a user or the system.
fn write_spoken<'a>(
    items: &mut Array<'_>,
    message: Value<'a>,
    role: &str,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    draft.notes.unknown(message, &["role", "content"]);
    let content = message.required("content")?.expect(Expect::StringOrArray)?;
    if content.kind() == Kind::Array && content.items().next().is_none() {
        let path = content.path();
        let why = format!(
            "Invalid '{path}': empty array. Expected an array with minimum length 1, but got an empty array instead."
        );
        return Err(Reject::bad(path, "empty_array", why));
    }
    draft.mentions_json |= content::mentions_json(content);
    let mut item = Object::open(items.item());
    item.text("type", "message");
    item.text("role", role);
    let out = item.field("content");
    content::write_parts(out, content, Voice::Input, draft.options.files, &mut draft.notes)?;
    item.close();
    Ok(())
}

/// What the model said in an earlier turn, if anything.
fn write_answer<'a>(
    items: &mut Array<'_>,
    message: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    const KNOWN: &[&str] =
        &["role", "content", "refusal", "tool_calls", "function_call", "audio", "annotations"];
    draft.notes.unknown(message, KNOWN);
    let cited = message.given("annotations").map(Value::array).transpose()?;
    draft.notes.drop(cited.filter(|cited| cited.items().next().is_some()));
    if let Some(audio) = message.given("audio") {
        let message = "Unsupported chat content part `audio`.";
        return Err(Reject::unsupported(audio.path(), message));
    }
    let content = message.given("content");
    let refusal = message.given("refusal").map(|text| text.expect(Expect::String)).transpose()?;
    let calls = message.given("tool_calls").or(message.given("function_call"));
    let Some(content) = content.map(|it| it.expect(Expect::StringOrArray)).transpose()? else {
        if let Some(refusal) = refusal {
            write_message(items, "assistant", |parts| {
                content::write_refusal(parts.item(), refusal);
                Ok(())
            })?;
        } else if calls.is_none() {
            return match message.get("content") {
                Some(null) => Err(Reject::wrong_type(null, "a string or an array")),
                None => Err(Reject::missing(message, "content")),
            };
        }
        return Ok(());
    };
    draft.mentions_json |= content::mentions_json(content);
    let empty = content.is("") || content.kind() == Kind::Array && content.items().next().is_none();
    if empty && refusal.is_none() {
        return Ok(());
    }
    write_message(items, "assistant", |parts| {
        if !empty {
            let (files, notes) = (draft.options.files, &mut draft.notes);
            content::add_parts(parts, content, Voice::Output, files, notes)?;
        }
        if let Some(refusal) = refusal {
            content::write_refusal(parts.item(), refusal);
        }
        Ok(())
    })
}

fn write_message(
    items: &mut Array<'_>,
    role: &str,
    write: impl FnOnce(&mut Array<'_>) -> Result<(), Reject>,
) -> Result<(), Reject> {
    let mut item = Object::open(items.item());
    item.text("type", "message");
    item.text("role", role);
    let mut parts = Array::open(item.field("content"));
    write(&mut parts)?;
    parts.close();
    item.close();
    Ok(())
}

/// What the model called in an earlier turn.
fn write_calls<'a>(
    items: &mut Array<'_>,
    message: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    let calls = message.given("tool_calls").map(Value::array).transpose()?;
    for call in calls.into_iter().flat_map(Value::items) {
        let kind = call.object()?.given("type");
        let kind = kind.map_or(Ok("function"), |kind| kind.one_of(&["function", "custom"]))?;
        let id = call.required("id")?.name()?;
        let mut item = Object::open(items.item());
        let tool = if kind == "custom" {
            let custom =
                tools::unnested(call, kind, &["type", "id", "name", "input"], &mut draft.notes)?;
            item.text("type", "custom_tool_call");
            item.text("name", &draft.tool_name(&custom.required("name")?.name()?));
            item.raw("input", custom.required("input")?.expect(Expect::String)?.raw());
            Tool::Custom
        } else {
            const KNOWN: &[&str] = &["type", "id", "name", "arguments"];
            let function = tools::unnested(call, kind, KNOWN, &mut draft.notes)?;
            item.text("type", "function_call");
            item.text("name", &draft.tool_name(&function.required("name")?.name()?));
            item.raw("arguments", arguments(function)?);
            Tool::Function
        };
        draft.write_call_id(item.field("call_id"), &id);
        item.close();
        draft.calls.call(id, tool, call);
    }
    Ok(())
}

fn arguments(function: Value<'_>) -> Result<&[u8], Reject> {
    match function.given("arguments") {
        Some(arguments) => Ok(arguments.expect(Expect::String)?.raw()),
        None => Ok(b"\"{}\""),
    }
}

/// What a tool answered.
fn write_output<'a>(
    items: &mut Array<'_>,
    message: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    draft.notes.unknown(message, &["role", "content", "tool_call_id"]);
    let id = message.required("tool_call_id")?.name()?;
    let content = message.required("content")?.expect(Expect::StringOrArray)?;
    draft.mentions_json |= content::mentions_json(content);
    let tool = draft.answer(&id, message)?;
    let mut item = Object::open(items.item());
    item.text(
        "type",
        match tool {
            Tool::Function => "function_call_output",
            Tool::Custom => "custom_tool_call_output",
        },
    );
    draft.write_call_id(item.field("call_id"), &id);
    let out = item.field("output");
    if content.kind() == Kind::String {
        out.extend_from_slice(content.raw());
    } else if content.items().next().is_none() {
        out.extend_from_slice(b"\"\"");
    } else {
        content::write_parts(out, content, Voice::Input, draft.options.files, &mut draft.notes)?;
    }
    item.close();
    Ok(())
}

/// A call of the older form. Its id is made of the place of its message.
fn write_legacy_call<'a>(
    items: &mut Array<'_>,
    (place, message): (usize, Value<'a>),
    legacy: &mut LegacyCalls<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    let Some(call) = message.given("function_call") else { return Ok(()) };
    draft.notes.unknown(call.object()?, &["name", "arguments"]);
    let name = call.required("name")?.name()?;
    let id = format!("call_function_{place}");
    let mut item = Object::open(items.item());
    item.text("type", "function_call");
    item.text("name", &draft.tool_name(&name));
    item.raw("arguments", arguments(call)?);
    item.text("call_id", &id);
    item.close();
    draft.calls.call(id.clone().into(), Tool::Function, call);
    legacy.0.push((name, id));
    Ok(())
}

/// The answer to the latest call of the older form that has its name.
fn write_legacy_output<'a>(
    items: &mut Array<'_>,
    message: Value<'a>,
    legacy: &mut LegacyCalls<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    draft.notes.unknown(message, &["role", "content", "name"]);
    let name = message.required("name")?.name()?;
    let content = message.required("content")?;
    let Some(at) = legacy.0.iter().rposition(|(called, _)| *called == name) else {
        let name = crate::wire::json::shorten(&name);
        let why = format!("No function call found for the message of function '{name}'.");
        return Err(Reject::invalid(message, why));
    };
    let (_, id) = legacy.0.remove(at);
    draft.calls.answer(&id, message)?;
    draft.mentions_json |= content::mentions_json(content);
    let mut item = Object::open(items.item());
    item.text("type", "function_call_output");
    item.text("call_id", &id);
    if content.is_null() {
        item.text("output", "");
    } else {
        item.raw("output", content.expect(Expect::String)?.raw());
    }
    item.close();
    Ok(())
}
