//! Parameters that every dialect has, read once and written in one form.
//!
//! **Invariant:** a name that one document gives a parameter is never written; the upstream knows
//! its own names only.
//!
//! Not here: messages, input and tools, in which the dialects differ.

use crate::wire::{
    json::{
        Kind, Value,
        write::{self, Object},
    },
    notes::Notes,
    read::Expect,
    reject::Reject,
    request::{Memory, Options, StreamOptions, body::Writer, format::Format, own::OwnNames},
    tools::Document,
};

/// What was asked for, checked.
#[derive(Debug)]
pub struct Settings<'a> {
    pub model: Value<'a>,
    pub stream: bool,
    pub stream_options: StreamOptions,
    pub service_tier: Option<&'static str>,
    /// Whether the client named one, whatever became of it.
    pub has_tier: bool,
    pub cache_key: Option<Value<'a>>,
    pub memory: Memory,
    pub max_output_tokens: Option<Value<'a>>,
    pub effort: Option<Value<'a>>,
    pub summary: Option<Value<'a>>,
    pub context: Option<Value<'a>>,
    pub verbosity: Option<Value<'a>>,
}

impl<'a> Settings<'a> {
    /// Reads the settings of `request`.
    ///
    /// # Errors
    ///
    /// When one has a wrong type, is missing, or cannot be done.
    pub fn read(
        request: Value<'a>,
        document: Document,
        keeps: bool,
        notes: &mut Notes<'a>,
    ) -> Result<Self, Reject> {
        only_one_choice(request)?;
        let memory = memory(request, keeps)?;
        let model = request.required("model")?;
        model.name()?;
        let stream = request.given("stream").map(Value::boolean).transpose()?.unwrap_or(false);
        let reasoning = request.given("reasoning").map(Value::object).transpose()?;
        let string = |from: Option<Value<'a>>, key: &str| {
            let value = from.and_then(|from| from.given(key));
            value.map(|value| value.expect(Expect::String)).transpose()
        };
        if let Some(reasoning) = reasoning {
            notes.unknown(reasoning, &["effort", "summary", "generate_summary", "context"]);
        }
        let effort = string(Some(request), "reasoning_effort")?;
        let nested_effort = string(reasoning, "effort")?;
        if effort.is_some() {
            notes.drop(nested_effort);
        }
        let summary = string(reasoning, "summary")?;
        let older_summary = string(reasoning, "generate_summary")?;
        if summary.is_some() {
            notes.drop(older_summary);
        }
        Ok(Self {
            model,
            stream,
            stream_options: stream_options(request, stream, document, notes)?,
            service_tier: service_tier(request, notes)?,
            has_tier: request.given("service_tier").is_some(),
            cache_key: string(Some(request), "prompt_cache_key")?,
            memory,
            max_output_tokens: max_output_tokens(request, notes)?,
            effort: effort.or(nested_effort),
            summary: summary.or(older_summary),
            context: string(reasoning, "context")?,
            verbosity: string(Some(request), "verbosity")?,
        })
    }

    /// What the client calls what goes upstream. `format` is the shape that it asks for.
    pub fn own_names(&self, request: Value<'a>, format: Option<Value<'a>>) -> OwnNames {
        let mut own = OwnNames::default();
        let given = |name| request.given(name);
        own.note("max_output_tokens", [self.max_output_tokens]);
        own.note("reasoning", [self.effort, self.summary, self.context]);
        own.note("reasoning.effort", [self.effort]);
        own.note("reasoning.summary", [self.summary]);
        own.note("reasoning.context", [self.context]);
        own.note("text", [self.verbosity, format]);
        own.note("text.verbosity", [self.verbosity]);
        own.note("text.format", [format]);
        own.note("prompt_cache_key", [self.cache_key]);
        own.note("tools", ["tools", "functions", "web_search_options"].map(given));
        own.note("tool_choice", ["tool_choice", "function_call"].map(given));
        for name in ["service_tier", "parallel_tool_calls", "instructions", "include"] {
            own.note(name, [given(name)]);
        }
        own
    }

    /// Writes `reasoning`, if there is anything to say about it.
    pub fn write_reasoning(&self, body: &mut Writer, options: &Options<'_>) {
        let own = options.reasoning_summary.filter(|_| self.summary.is_none());
        if self.effort.or(self.summary).or(self.context).is_none() && own.is_none() {
            return;
        }
        let mut object = Object::open(body.field("reasoning"));
        if let Some(effort) = self.effort {
            object.raw("effort", effort.raw());
        }
        if let Some(summary) = self.summary {
            object.raw("summary", summary.raw());
        }
        if let Some(own) = own {
            object.text("summary", own);
        }
        if let Some(context) = self.context {
            object.raw("context", context.raw());
        }
        object.close();
    }

    /// Writes `text`: how wordy the answer is and what shape it has.
    ///
    /// # Errors
    ///
    /// When the schema of the answer cannot be made strict.
    pub fn write_text(&self, body: &mut Writer, format: &Format<'a>) -> Result<(), Reject> {
        let formatted = !matches!(format, Format::Text);
        if self.verbosity.is_none() && !formatted {
            return Ok(());
        }
        let mut object = Object::open(body.field("text"));
        if let Some(verbosity) = self.verbosity {
            object.raw("verbosity", verbosity.raw());
        }
        if formatted {
            format.write(object.field("format"))?;
        }
        object.close();
        Ok(())
    }

    /// Writes what stands at the end of every request.
    pub fn write_rest(&self, body: &mut Writer, session: &str) {
        if let Some(tier) = self.service_tier {
            write::string(body.field("service_tier"), tier);
        }
        // The upstream takes any string; a client's own key is not changed.
        match self.cache_key {
            Some(key) => body.raw("prompt_cache_key", key.raw()),
            None => write::string(body.field("prompt_cache_key"), session),
        }
        if let Some(limit) = self.max_output_tokens {
            body.raw("max_output_tokens", limit.raw());
        }
    }
}

fn only_one_choice(request: Value<'_>) -> Result<(), Reject> {
    match request.given("n") {
        Some(n) if n.at_least(1)? != 1 => {
            Err(Reject::unsupported(n.path(), "Only `n=1` is supported."))
        }
        Some(_) | None => Ok(()),
    }
}

/// What is to be remembered, and what of that is. Where nothing is kept, nobody may count on it.
fn memory(request: Value<'_>, keeps: bool) -> Result<Memory, Reject> {
    let conversation = conversation(request)?;
    let flag = |name| request.given(name).map(Value::boolean).transpose();
    let store = flag("store")?;
    if !keeps {
        if let Some(store) = request.given("store").filter(|_| store == Some(true)) {
            return Err(Reject::unsupported(
                store.path(),
                "The subscription backend requires `store=false`. To have the relay keep answers on this machine: `airelays serve --stateful`.",
            ));
        }
        return Ok(Memory { conversation, store, ..Memory::default() });
    }
    let previous = request.given("previous_response_id").map(Value::name).transpose()?;
    let previous = previous.map(std::borrow::Cow::into_owned);
    let background = flag("background")? == Some(true);
    if let Some(value) = request.given("background").filter(|_| background && store == Some(false))
    {
        return Err(Reject::invalid(
            value,
            "`background` needs an answer that is kept: `store` must not be false.",
        ));
    }
    if let Some(value) = request.given("previous_response_id").filter(|_| conversation.is_some()) {
        return Err(Reject::invalid(value, "Send either 'conversation' or 'previous_response_id': a request goes on from one of them.").with_code("mutually_exclusive_parameters"));
    }
    let metadata = request.given("metadata").map(super::memory::metadata).transpose()?;
    Ok(Memory { conversation, previous, store, background, metadata })
}

fn stream_options<'a>(
    request: Value<'a>,
    stream: bool,
    document: Document,
    notes: &mut Notes<'a>,
) -> Result<StreamOptions, Reject> {
    let Some(given) = request.given("stream_options") else {
        return Ok(StreamOptions::default());
    };
    let option = |name| given.given(name).map(Value::boolean).transpose();
    let (usage, padding) = (option("include_usage")?, option("include_obfuscation")?);
    if !stream {
        notes.drop(given.object()?);
        return Ok(StreamOptions::default());
    }
    let known: &[&str] = match document {
        // Their streams always end with it.
        Document::Responses => &["include_obfuscation"],
        Document::Chat => &["include_usage", "include_obfuscation"],
    };
    notes.unknown(given.object()?, known);
    // What is made here has none, what is passed on has some.
    if padding == Some(true) && document == Document::Chat {
        notes.drop(given.get("include_obfuscation"));
    }
    Ok(StreamOptions { include_usage: usage == Some(true), bare: padding == Some(false) })
}

/// The tier to send: the upstream knows `priority` and the absence of one.
fn service_tier<'a>(
    request: Value<'a>,
    notes: &mut Notes<'a>,
) -> Result<Option<&'static str>, Reject> {
    let Some(tier) = request.given("service_tier") else { return Ok(None) };
    match tier.one_of(&["auto", "default", "flex", "scale", "priority", "fast"])? {
        "priority" | "fast" => Ok(Some("priority")),
        "auto" => Ok(None),
        _ => {
            notes.drop(tier);
            Ok(None)
        }
    }
}

/// The id of a local conversation: a string, or an object with one.
fn conversation(request: Value<'_>) -> Result<Option<String>, Reject> {
    let Some(given) = request.given("conversation") else { return Ok(None) };
    let id = match given.kind() {
        Kind::String => given,
        Kind::Object => given.required("id")?,
        Kind::Null | Kind::Bool | Kind::Number | Kind::Array => {
            return Err(Reject::wrong_type(given, "a string or an object"));
        }
    };
    // An empty string means no conversation.
    Ok(Some(id.string()?.into_owned()).filter(|id| !id.is_empty()))
}

/// The first of the names that this limit has. Others that are given as well are told.
fn max_output_tokens<'a>(
    request: Value<'a>,
    notes: &mut Notes<'a>,
) -> Result<Option<Value<'a>>, Reject> {
    let mut limit = None;
    for name in ["max_completion_tokens", "max_tokens", "max_output_tokens"] {
        let Some(given) = request.given(name) else { continue };
        given.at_least(1)?;
        if limit.is_some() {
            notes.drop(given);
        } else {
            limit = Some(given);
        }
    }
    Ok(limit)
}
