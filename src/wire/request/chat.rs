//! `POST /v1/chat/completions`: messages become instructions and input items.
//!
//! What the client's system says first becomes `instructions`; what it says later keeps its place
//! as a developer message. In JSON mode it all stays in the input, because that is where the
//! upstream looks for the word "json".
//!
//! A body with `input` instead of `messages` is what some editors send here; it is read as the
//! Responses document says and answered as chat.
//!
//! Not here: parts of messages (`wire::content`), tools (`wire::tools`).

mod messages;
#[cfg(test)]
mod tests;

use self::messages::Messages;
use super::{
    Draft, Options, Translated, body::Writer, format::Format, params, responses, session,
    settings::Settings,
};
use crate::wire::{
    json::{Doc, Value, write::Array},
    reject::Reject,
    tools::{self, Document},
};

/// Room for what is written around the client's own bytes.
const AROUND: usize = 4096;

/// The upstream request for a chat request.
///
/// # Errors
///
/// When it is not a valid one, or asks for what the backend cannot do.
pub fn translate(body: &[u8], options: &Options<'_>) -> Result<Translated, Reject> {
    let doc = Doc::parse(body)?;
    let request = doc.root().object()?;
    match (request.given("messages"), request.given("input")) {
        (None, Some(_)) => responses::from_request(request, options, responses::Route::Chat),
        (Some(_), Some(input)) => Err(Reject::invalid(
            input,
            "Send either 'messages' or 'input': a request cannot have both.",
        )),
        (_, None) => from_messages(request, body.len(), options),
    }
}

fn from_messages(
    request: Value<'_>,
    length: usize,
    options: &Options<'_>,
) -> Result<Translated, Reject> {
    let mut draft = Draft::new(options);
    params::check(request, params::CHAT_ROUTE, options.keeps, &mut draft.notes)?;
    if options.no_tools {
        tools::refuse_all(request)?;
    }
    let settings = Settings::read(request, Document::Chat, options.keeps, &mut draft.notes)?;
    draft.may_lack(&settings);
    let is_in_conversation = settings.memory.conversation.is_some();
    // Its answers name a function, and of an earlier turn nobody knows which call that was.
    if let Some(functions) = request.given("functions").filter(|_| is_in_conversation) {
        let why = "`functions` cannot be used in a conversation; send them as `tools`.";
        return Err(Reject::unsupported(functions.path(), why));
    }
    let format = Format::read(request.given("response_format"), &mut draft.notes)?;
    let messages = Messages::read(request, &format)?;

    let mut body = Writer::with_capacity(length + AROUND);
    body.raw("model", settings.model.raw());
    messages.write_instructions(body.field("instructions"), &mut draft.notes)?;
    messages.write_input(body.field("input"), &mut draft)?;
    draft.check_json(
        &format,
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        "messages",
    )?;
    if !draft.stored {
        draft.calls.finish()?;
    }
    let legacy = write_tools(&mut body, request, &mut draft)?;
    settings.write_reasoning(&mut body, options);
    body.raw("store", b"false");
    body.raw("stream", b"true");
    let session = session(options, &settings, &messages.fingerprint());
    settings.write_text(&mut body, &format)?;
    settings.write_rest(&mut body, &session);
    let own = settings.own_names(request, request.given("response_format"));
    let mut translated = draft.finish(body, settings, own, session);
    translated.reply.legacy_function = legacy;
    Ok(translated)
}

/// Writes the tools and how to choose among them. Whether they are of the older form.
fn write_tools<'a>(
    body: &mut Writer,
    request: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<bool, Reject> {
    let list = |key| request.given(key).map(Value::array).transpose();
    let (tools, functions) = (list("tools")?, list("functions")?);
    let some = |list: Option<Value<'_>>| list.is_some_and(|list| list.items().next().is_some());
    let (notes, names) = (&mut draft.notes, &mut draft.names);
    let legacy = some(functions);
    if let Some(functions) = functions.filter(|_| legacy && some(tools)) {
        let why = "Send either 'tools' or 'functions': a request cannot have both.";
        return Err(Reject::invalid(functions, why));
    }
    let search = request.given("web_search_options");
    let any = legacy || some(tools) || search.is_some();
    if any {
        let mut written = Array::open(body.field("tools"));
        for tool in tools.into_iter().flat_map(Value::items) {
            tools::declare(&mut written, tool, Document::Chat, names, notes)?;
        }
        for function in functions.into_iter().flat_map(Value::items) {
            tools::declare_legacy(&mut written, function, names, notes)?;
        }
        if let Some(search) = search {
            tools::declare_search(&mut written, search, notes)?;
        }
        written.close();
    }
    write_choice(body, request, any, draft)?;
    let parallel = request.given("parallel_tool_calls").map(Value::boolean).transpose()?;
    // The older form has room for one call in an answer.
    if let Some(parallel) = parallel.filter(|_| any && !legacy).or(legacy.then_some(false)) {
        body.raw("parallel_tool_calls", if parallel { b"true" } else { b"false" });
    }
    Ok(legacy)
}

/// Writes the choice among the tools, if there are `any`.
fn write_choice<'a>(
    body: &mut Writer,
    request: Value<'a>,
    any: bool,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    let (notes, names) = (&mut draft.notes, &mut draft.names);
    let mut choice = Vec::new();
    match (request.given("tool_choice"), request.given("function_call")) {
        (Some(given), legacy) => {
            tools::choose(&mut choice, given, names, notes)?;
            legacy.map(|it| tools::choose_legacy(&mut Vec::new(), it, names)).transpose()?;
            notes.drop(legacy);
        }
        (None, Some(legacy)) => tools::choose_legacy(&mut choice, legacy, names)?,
        (None, None) => return Ok(()),
    }
    if any {
        body.raw("tool_choice", &choice);
    } else if choice != b"\"auto\"" && choice != b"\"none\"" {
        let (key, what) = match request.given("tool_choice") {
            Some(given) if given.is("required") => ("tool_choice", "'required'"),
            Some(_) => ("tool_choice", "of a tool"),
            None => ("function_call", "of a function"),
        };
        let message = format!("Tool choice {what} must be specified with 'tools' parameter.");
        return Err(Reject::bad(key, "invalid_value", message));
    }
    Ok(())
}
