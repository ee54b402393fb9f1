//! Declarations of tools and the choice between them, from any dialect to the upstream's.
//!
//! Clients declare a function either as the chat document does, nested under its type, or flat, as
//! the Responses document does; some send the flat form to the chat route. Both forms are read
//! everywhere, and the flat one is written.
//!
//! **Invariant:** no declaration leaves without a name that the upstream takes.
//!
//! Not here: calls and their answers (`wire::request::calls`). The tests are cases of whole requests
//! (`wire/request/cases`).

mod names;

pub use names::ToolNames;

use super::{
    json::{
        Kind, Value,
        write::{Array, Object},
    },
    notes::Notes,
    read::Expect,
    reject::Reject,
    schema,
};

/// Which document a request follows where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// A function without `strict` is not strict. The older completions count here, too.
    Chat,
    /// A function without `strict` is strict, if the schema allows it.
    Responses,
}

/// Hosted tools that the subscription backend does not have.
const UNAVAILABLE: &[&str] =
    &["file_search", "code_interpreter", "computer", "computer_use", "computer_use_preview", "mcp"];

/// Fields of hosted search that the upstream knows.
const SEARCH: &[&str] = &[
    "type",
    "external_web_access",
    "index_gated_web_access",
    "filters",
    "user_location",
    "search_context_size",
    "search_content_types",
];

/// Refuses whatever asks for a tool in `request`, for routes that have none.
///
/// # Errors
///
/// When a tool is declared or chosen.
pub fn refuse_all(request: Value<'_>) -> Result<(), Reject> {
    let refuse =
        |value: Value<'_>| Err(Reject::unsupported(value.path(), "This route disables tools."));
    for key in ["tools", "functions"] {
        if let Some(tools) = request.given(key)
            && tools.array()?.items().next().is_some()
        {
            return refuse(tools);
        }
    }
    for key in ["tool_choice", "function_call"] {
        if let Some(choice) = request.given(key)
            && !choice.is("none")
        {
            return refuse(choice);
        }
    }
    match request.given("web_search_options") {
        Some(options) => refuse(options),
        None => Ok(()),
    }
}

/// Writes the declaration of one tool.
///
/// # Errors
///
/// When it is not a tool, or one that the backend does not have.
pub fn declare<'a>(
    out: &mut Array<'_>,
    tool: Value<'a>,
    document: Document,
    names: &mut ToolNames,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let kind = tool.object()?.required("type")?.string()?;
    match &*kind {
        "function" => {
            const KNOWN: &[&str] =
                &["type", "name", "description", "parameters", "strict", "defer_loading"];
            let function = unnested(tool, "function", KNOWN, notes)?;
            write_function(out.item(), function, document, names)
        }
        "custom" => {
            const KNOWN: &[&str] = &["type", "name", "description", "format", "defer_loading"];
            let custom = unnested(tool, "custom", KNOWN, notes)?;
            write_custom(out.item(), custom, names, notes)
        }
        search if is_search(search) => {
            notes.unknown(tool, SEARCH);
            let mut object = Object::open(out.item());
            object.text("type", "web_search");
            copy(&mut object, tool, &SEARCH[1..]);
            object.close();
            Ok(())
        }
        // What comes of other hosted tools has no place in a chat answer.
        other if UNAVAILABLE.contains(&other) => Err(Reject::unsupported(
            format!("{}.type", tool.path()),
            format!("Tool type '{other}' is not supported by the subscription backend."),
        )),
        // What comes of it would have no place in a chat answer.
        other if document == Document::Chat => Err(Reject::unsupported(
            format!("{}.type", tool.path()),
            format!("Tool type '{other}' is not supported on this route."),
        )),
        // Kinds that only the upstream and its own client know travel as they are.
        _ => {
            out.item().extend_from_slice(tool.raw());
            Ok(())
        }
    }
}

/// Writes a function of the `functions` list, the older form of `tools`.
///
/// # Errors
///
/// When it is not a function.
pub fn declare_legacy<'a>(
    out: &mut Array<'_>,
    function: Value<'a>,
    names: &mut ToolNames,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    notes.unknown(function.object()?, &["name", "description", "parameters"]);
    write_function(out.item(), function, Document::Chat, names)
}

/// Writes the hosted search that `web_search_options` asks for.
///
/// # Errors
///
/// When the options have a wrong type.
pub fn declare_search<'a>(
    out: &mut Array<'_>,
    options: Value<'a>,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    const PLACE: &[&str] = &["type", "country", "region", "city", "timezone"];
    notes.unknown(options.object()?, &["user_location", "search_context_size"]);
    let mut object = Object::open(out.item());
    object.text("type", "web_search");
    if let Some(size) = options.given("search_context_size") {
        size.one_of(&["low", "medium", "high"])?;
        object.raw("search_context_size", size.raw());
    }
    if let Some(location) = options.given("user_location") {
        let place = unnested(location.object()?, "approximate", PLACE, notes)?;
        let mut location = Object::open(object.field("user_location"));
        location.text("type", "approximate");
        copy(&mut location, place, &PLACE[1..]);
        location.close();
    }
    object.close();
    Ok(())
}

/// Writes a choice of tools.
///
/// # Errors
///
/// When it is none of the forms there are.
pub fn choose<'a>(
    out: &mut Vec<u8>,
    choice: Value<'a>,
    names: &mut ToolNames,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    if choice.kind() == Kind::String {
        choice.one_of(&["none", "auto", "required"])?;
        out.extend_from_slice(choice.raw());
        return Ok(());
    }
    if choice.kind() != Kind::Object {
        return Err(Reject::wrong_type(choice, "a string or an object"));
    }
    if !choice.required("type")?.expect(Expect::String)?.is("allowed_tools") {
        return choose_one(out, choice, names, notes);
    }
    let allowed = unnested(choice, "allowed_tools", &["type", "mode", "tools"], notes)?;
    let mode = allowed.required("mode")?.one_of(&["auto", "required"])?;
    let mut object = Object::open(out);
    object.text("type", "allowed_tools");
    object.text("mode", mode);
    let mut tools = Array::open(object.field("tools"));
    for tool in allowed.required("tools")?.array()?.items() {
        choose_one(tools.item(), tool.object()?, names, notes)?;
    }
    tools.close();
    object.close();
    Ok(())
}

/// Writes the older form of a choice, `function_call`.
///
/// # Errors
///
/// When it is neither `none`, `auto` nor the name of a function.
pub fn choose_legacy(
    out: &mut Vec<u8>,
    choice: Value<'_>,
    names: &mut ToolNames,
) -> Result<(), Reject> {
    if choice.kind() == Kind::Object {
        let name = choice.required("name")?.name()?;
        write_chosen(out, "function", &names.upstream(&name));
    } else {
        choice.one_of(&["none", "auto"])?;
        out.extend_from_slice(choice.raw());
    }
    Ok(())
}

/// One tool by its name, or a hosted one by its type.
fn choose_one<'a>(
    out: &mut Vec<u8>,
    choice: Value<'a>,
    names: &mut ToolNames,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let kind = choice.required("type")?.string()?;
    match &*kind {
        "function" | "custom" => {
            let tool = unnested(choice, &kind, &["type", "name"], notes)?;
            let name = tool.required("name")?.name()?;
            write_chosen(out, &kind, &names.upstream(&name));
        }
        search if is_search(search) => {
            notes.unknown(choice, &["type"]);
            let mut object = Object::open(out);
            object.text("type", "web_search");
            object.close();
        }
        _ => out.extend_from_slice(choice.raw()),
    }
    Ok(())
}

fn write_chosen(out: &mut Vec<u8>, kind: &str, name: &str) {
    let mut object = Object::open(out);
    object.text("type", kind);
    object.text("name", name);
    object.close();
}

fn write_function(
    out: &mut Vec<u8>,
    function: Value<'_>,
    document: Document,
    names: &mut ToolNames,
) -> Result<(), Reject> {
    let name = function.required("name")?.name()?;
    let description = text(function, "description")?;
    let parameters = function.given("parameters").map(Value::object).transpose()?;
    let strict = match function.given("strict") {
        Some(strict) => Some(strict.boolean()?),
        None if document == Document::Chat => Some(false),
        // Left unsaid where the upstream's reading, strict, is what the client may expect.
        None if parameters.is_some_and(schema::is_strict) => None,
        None => Some(false),
    };
    let mut object = Object::open(out);
    object.text("type", "function");
    object.text("name", &names.upstream(&name));
    if let Some(description) = description {
        object.raw("description", description.raw());
    }
    if let Some(strict) = strict {
        object.flag("strict", strict);
    }
    match parameters {
        Some(parameters) => schema::write_parameters(object.field("parameters"), parameters),
        None if strict == Some(true) => {
            let none =
                br#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#;
            object.raw("parameters", none);
        }
        None => object.raw("parameters", br#"{"type":"object","properties":{}}"#),
    }
    if let Some(defer) = function.given("defer_loading") {
        object.flag("defer_loading", defer.boolean()?);
    }
    object.close();
    Ok(())
}

fn write_custom<'a>(
    out: &mut Vec<u8>,
    custom: Value<'a>,
    names: &mut ToolNames,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let name = custom.required("name")?.name()?;
    let mut object = Object::open(out);
    object.text("type", "custom");
    object.text("name", &names.upstream(&name));
    if let Some(description) = text(custom, "description")? {
        object.raw("description", description.raw());
    }
    if let Some(format) = custom.given("format") {
        write_grammar(object.field("format"), format, notes)?;
    }
    if let Some(defer) = custom.given("defer_loading") {
        object.flag("defer_loading", defer.boolean()?);
    }
    object.close();
    Ok(())
}

fn write_grammar<'a>(
    out: &mut Vec<u8>,
    format: Value<'a>,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let kind = format.object()?.required("type")?.one_of(&["text", "grammar"])?;
    let mut object = Object::open(out);
    object.text("type", kind);
    if kind == "text" {
        notes.unknown(format, &["type"]);
    } else {
        let grammar = unnested(format, kind, &["type", "syntax", "definition"], notes)?;
        grammar.required("syntax")?.one_of(&["lark", "regex"])?;
        let definition = grammar.required("definition")?.expect(Expect::String)?;
        copy(&mut object, grammar, &["syntax"]);
        object.raw("definition", definition.raw());
    }
    object.close();
    Ok(())
}

/// The object that describes `outer`: nested under `key`, or `outer` itself. What neither of them
/// should have is noted.
///
/// # Errors
///
/// When what is nested is no object.
pub fn unnested<'a>(
    outer: Value<'a>,
    key: &str,
    known: &[&str],
    notes: &mut Notes<'a>,
) -> Result<Value<'a>, Reject> {
    let Some(inner) = outer.given(key) else {
        notes.unknown(outer, known);
        return Ok(outer);
    };
    // What both forms have outside: the type and, of a call, the id.
    let own: Vec<_> = known.iter().copied().filter(|own| matches!(*own, "type" | "id")).collect();
    notes.unknown(outer, &[&own, &[key][..]].concat());
    notes.unknown(inner.object()?, known);
    Ok(inner)
}

/// Copies those of the fields `keys` that are given.
fn copy(object: &mut Object<'_>, from: Value<'_>, keys: &[&str]) {
    for key in keys {
        if let Some(value) = from.given(key) {
            object.raw(key, value.raw());
        }
    }
}

fn text<'a>(object: Value<'a>, key: &str) -> Result<Option<Value<'a>>, Reject> {
    object.given(key).map(|value| value.expect(Expect::String)).transpose()
}

/// The names that hosted search has had.
fn is_search(kind: &str) -> bool {
    matches!(
        kind,
        "web_search"
            | "web_search_2025_08_26"
            | "web_search_preview"
            | "web_search_preview_2025_03_11"
    )
}
