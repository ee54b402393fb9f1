//! `POST /v1/responses`: the upstream's own dialect, cut down to what the subscription takes.
//!
//! Not here: items of the input (`wire::request::items`), tools (`wire::tools`).

#[cfg(test)]
mod tests;

use super::{
    Draft, NO_INSTRUCTIONS, Options, Translated, body::Writer, format::Format, items, params,
    session, settings::Settings,
};
use crate::wire::{
    json::{
        Doc, Value,
        write::{self, Array},
    },
    notes::Notes,
    read::Expect,
    reject::Reject,
    tools::{self, Document},
};

/// Room for what is written around the client's own bytes.
const AROUND: usize = 4096;

/// What the upstream can include in an answer.
const INCLUDABLE: &[&str] = &[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
];

const REASONING: &str = "reasoning.encrypted_content";

/// The route that a body of this dialect came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Responses,
    Chat,
    Compaction,
}

/// The upstream request for a Responses request.
///
/// # Errors
///
/// When it is not a valid one, or asks for what the backend cannot do.
pub fn translate(body: &[u8], options: &Options<'_>) -> Result<Translated, Reject> {
    let doc = Doc::parse(body)?;
    from_request(doc.root().object()?, options, Route::Responses)
}

/// The upstream request for a body of this dialect.
///
/// # Errors
///
/// When it is not a valid one, or asks for what the backend cannot do.
pub fn from_request(
    request: Value<'_>,
    options: &Options<'_>,
    route: Route,
) -> Result<Translated, Reject> {
    let mut draft = Draft::new(options);
    let tables = match route {
        Route::Responses => params::RESPONSES_ROUTE,
        Route::Chat => params::CHAT_ROUTE_WITH_INPUT,
        Route::Compaction => params::COMPACTION_ROUTE,
    };
    let keeps = options.keeps && route != Route::Compaction;
    params::check(request, tables, keeps, &mut draft.notes)?;
    if options.no_tools {
        tools::refuse_all(request)?;
    }
    let document = match route {
        Route::Responses | Route::Compaction => Document::Responses,
        Route::Chat => Document::Chat,
    };
    let mut settings = Settings::read(request, document, keeps, &mut draft.notes)?;
    draft.may_lack(&settings);
    check_truncation(request, &mut draft.notes)?;
    let format = read_text(request, &mut settings, &mut draft.notes)?;
    let input = request.required("input")?;

    let mut body = Writer::with_capacity(request.raw().len() + AROUND);
    body.raw("model", settings.model.raw());
    let instructions = write_instructions(&mut body, request)?;
    if route == Route::Compaction {
        // The answer is one object, whatever the request says about streams.
        for name in ["stream", "stream_options"] {
            draft.notes.drop(request.given(name).filter(|_| settings.stream));
        }
        settings.stream = false;
        items::write_compacted(body.field("input"), input, &mut draft)?;
    } else {
        items::write_input(body.field("input"), input, &mut draft)?;
    }
    draft.check_json(
        &format,
        "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
        "input",
    )?;
    if !draft.stored {
        draft.calls.finish()?;
    }
    write_tools(&mut body, request, &mut draft)?;
    settings.write_reasoning(&mut body, options);
    body.raw("store", b"false");
    body.raw("stream", b"true");
    let remembered = settings.memory.store == Some(true) || settings.memory.conversation.is_some();
    write_include(&mut body, request, (route, remembered), &mut draft.notes)?;
    let opening = std::iter::once(instructions).chain(items::opening(input));
    let session = session(options, &settings, &opening.collect::<Vec<_>>());
    settings.write_text(&mut body, &format)?;
    if let Some(metadata) = request.given("client_metadata").map(Value::object).transpose()? {
        body.raw("client_metadata", metadata.raw());
    }
    settings.write_rest(&mut body, &session);
    let text = request.given("text").and_then(|text| text.given("format"));
    let own = settings.own_names(request, text.or(request.given("response_format")));
    Ok(draft.finish(body, settings, own, session))
}

fn write_instructions<'a>(
    body: &mut Writer,
    request: Value<'a>,
) -> Result<Option<Value<'a>>, Reject> {
    let given = request.given("instructions");
    let given = given.map(|text| text.expect(Expect::String)).transpose()?;
    let blank = given.and_then(Value::as_str).is_none_or(|text| text.trim().is_empty());
    body.raw("instructions", given.filter(|_| !blank).map_or(NO_INSTRUCTIONS, Value::raw));
    Ok(given)
}

/// The default of the document and the only way of the backend is not to truncate.
fn check_truncation<'a>(request: Value<'a>, notes: &mut Notes<'a>) -> Result<(), Reject> {
    if let Some(truncation) = request.given("truncation")
        && truncation.one_of(&["auto", "disabled"])? == "auto"
    {
        notes.drop(truncation);
    }
    Ok(())
}

fn read_text<'a>(
    request: Value<'a>,
    settings: &mut Settings<'a>,
    notes: &mut Notes<'a>,
) -> Result<Format<'a>, Reject> {
    let text = request.given("text").map(Value::object).transpose()?;
    let chat_format = request.given("response_format");
    let Some(text) = text else { return Format::read(chat_format, notes) };
    notes.unknown(text, &["format", "verbosity"]);
    if let Some(verbosity) = text.given("verbosity") {
        notes.drop(settings.verbosity.replace(verbosity.expect(Expect::String)?));
    }
    let format = text.given("format");
    if let (Some(format), Some(other)) = (format, chat_format)
        && format.raw() != other.raw()
    {
        return Err(Reject::invalid(
            other,
            "Send either 'text.format' or 'response_format': an answer has one shape.",
        ));
    }
    Format::read(format.or(chat_format), notes)
}

fn write_tools<'a>(
    body: &mut Writer,
    request: Value<'a>,
    draft: &mut Draft<'a>,
) -> Result<(), Reject> {
    let (notes, names) = (&mut draft.notes, &mut draft.names);
    let declared = request.given("tools").map(Value::array).transpose()?;
    if let Some(declared) = declared.filter(|tools| tools.items().next().is_some()) {
        let mut written = Array::open(body.field("tools"));
        for tool in declared.items() {
            tools::declare(&mut written, tool, Document::Responses, names, notes)?;
        }
        written.close();
    }
    if let Some(choice) = request.given("tool_choice") {
        tools::choose(body.field("tool_choice"), choice, names, notes)?;
    }
    if let Some(parallel) = request.given("parallel_tool_calls") {
        parallel.boolean()?;
        body.raw("parallel_tool_calls", parallel.raw());
    }
    Ok(())
}

fn write_include<'a>(
    body: &mut Writer,
    request: Value<'a>,
    (route, remembered): (Route, bool),
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let include = request.given("include").map(Value::array).transpose()?;
    let mut included = Vec::new();
    for name in include.into_iter().flat_map(Value::items) {
        name.expect(Expect::String)?;
        if INCLUDABLE.iter().any(|known| name.is(known)) {
            included.push(name);
        } else {
            notes.drop(name);
        }
    }
    // Who expects the other side to remember sends reasoning back as it came; without what is
    // encrypted in it, it would be lost.
    let remembers = route == Route::Responses && (request.given("store").is_none() || remembered);
    let has_reasoning = included.iter().any(|name| name.is(REASONING));
    if included.is_empty() && !remembers {
        return Ok(());
    }
    let mut written = Array::open(body.field("include"));
    for name in included {
        written.item().extend_from_slice(name.raw());
    }
    if remembers && !has_reasoning {
        write::string(written.item(), REASONING);
    }
    written.close();
    Ok(())
}
