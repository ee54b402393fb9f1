//! `POST /v1/completions`: a prompt becomes one message of a user.
//!
//! **Invariant:** a prompt of several texts or of tokens is refused; it is never joined or guessed.

#[cfg(test)]
mod tests;

use super::{
    Draft, NO_INSTRUCTIONS, Options, Translated, body::Writer, format::Format, items, params,
    session, settings::Settings,
};
use crate::wire::{
    json::{Doc, Kind, Value, write::Array},
    read::Expect,
    reject::Reject,
    tools::{self, Document},
};

/// Room for what is written around the client's own bytes.
const AROUND: usize = 4096;

/// The upstream request for a completions request.
///
/// # Errors
///
/// When it is not a valid one, or asks for what the backend cannot do.
pub fn translate(body: &[u8], options: &Options<'_>) -> Result<Translated, Reject> {
    let doc = Doc::parse(body)?;
    let request = doc.root().object()?;
    let mut draft = Draft::new(options);
    params::check(request, params::COMPLETIONS_ROUTE, false, &mut draft.notes)?;
    if options.no_tools {
        tools::refuse_all(request)?;
    }
    let settings = Settings::read(request, Document::Chat, false, &mut draft.notes)?;
    let prompt = prompt(request)?;
    let instructions = request.given("instructions");
    let instructions = instructions.map(|text| text.expect(Expect::String)).transpose()?;
    let blank = instructions.and_then(Value::as_str).is_none_or(|text| text.trim().is_empty());

    let mut upstream = Writer::with_capacity(body.len() + AROUND);
    upstream.raw("model", settings.model.raw());
    let spoken = instructions.filter(|_| !blank);
    upstream.raw("instructions", spoken.map_or(NO_INSTRUCTIONS, Value::raw));
    write_input(upstream.field("input"), prompt, &mut draft)?;
    settings.write_reasoning(&mut upstream, options);
    upstream.raw("store", b"false");
    upstream.raw("stream", b"true");
    let session = session(options, &settings, &[instructions, prompt]);
    settings.write_text(&mut upstream, &Format::Text)?;
    settings.write_rest(&mut upstream, &session);
    let own = settings.own_names(request, None);
    Ok(draft.finish(upstream, settings, own, session))
}

/// The one text of a prompt; `None` is an empty one.
fn prompt(request: Value<'_>) -> Result<Option<Value<'_>>, Reject> {
    let Some(prompt) = request.given("prompt") else { return Ok(None) };
    if prompt.expect(Expect::StringOrArray)?.kind() == Kind::String {
        return Ok(Some(prompt));
    }
    let mut texts = prompt.items();
    match (texts.next(), texts.next()) {
        (Some(text), None) if text.kind() == Kind::String => Ok(Some(text)),
        (Some(other), None) if !matches!(other.kind(), Kind::Number | Kind::Array) => {
            Err(Reject::wrong_type(other, "a string"))
        }
        _ => Err(Reject::unsupported(
            prompt.path(),
            "`prompt` must be a string or a list of one string.",
        )),
    }
}

fn write_input(
    out: &mut Vec<u8>,
    prompt: Option<Value<'_>>,
    draft: &mut Draft<'_>,
) -> Result<(), Reject> {
    let mut input = Array::open(out);
    draft.write_before(&mut input)?;
    if let Some(prompt) = prompt {
        items::write_user_text(input.item(), prompt);
    } else {
        let empty =
            br#"{"type":"message","role":"user","content":[{"type":"input_text","text":""}]}"#;
        input.item().extend_from_slice(empty);
    }
    input.close();
    Ok(())
}
