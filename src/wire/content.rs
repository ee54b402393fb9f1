//! Parts of messages: text, pictures, files; from any dialect to the upstream's.
//!
//! Clients mix the names that the two documents have for a part (`text` and `input_text`,
//! `image_url` and `input_image`), so each is read wherever it stands, and the name that fits the
//! speaker is written.
//!
//! **Invariant:** a text is copied as the literal it is, never decoded and encoded again.
//!
//! Not here: messages, roles and items (`wire::request`).

pub mod file;
pub mod image;
#[cfg(test)]
mod tests;

use self::{
    file::Lookup,
    image::{Source, source},
};
use super::{
    json::{
        Kind, Value,
        write::{Array, Object},
    },
    notes::Notes,
    read::Expect,
    reject::Reject,
};

/// Who speaks: it decides what a text is called upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Users, developers and tools.
    Input,
    /// The model, in an earlier turn.
    Output,
}

impl Voice {
    fn text_type(self) -> &'static str {
        match self {
            Self::Input => "input_text",
            Self::Output => "output_text",
        }
    }
}

const SUPPORTED: &[&str] = &[
    "text",
    "image_url",
    "file",
    "refusal",
    "input_text",
    "input_image",
    "input_file",
    "output_text",
];

const NO_PICTURE: &str = "The image data you provided does not represent a valid image. Please check your input and try again with one of the supported image formats: ['image/jpeg', 'image/png', 'image/gif', 'image/webp'].";

/// Writes `content`, a string or an array of parts, as an array of parts.
///
/// # Errors
///
/// When a part is not one, or cannot go upstream.
pub fn write_parts<'a>(
    out: &mut Vec<u8>,
    content: Value<'a>,
    voice: Voice,
    files: &Lookup<'_>,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let mut parts = Array::open(out);
    add_parts(&mut parts, content, voice, files, notes)?;
    parts.close();
    Ok(())
}

/// Writes `content`, a string or an array of parts, into an array of parts.
///
/// # Errors
///
/// When a part is not one, or cannot go upstream.
pub fn add_parts<'a>(
    parts: &mut Array<'_>,
    content: Value<'a>,
    voice: Voice,
    files: &Lookup<'_>,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    if content.expect(Expect::StringOrArray)?.kind() == Kind::String {
        write_text(parts.item(), content, voice);
    }
    for part in content.items() {
        write_part(parts.item(), part, voice, files, notes)?;
    }
    Ok(())
}

/// Writes a text, given as a string, as a part.
pub fn write_text(out: &mut Vec<u8>, text: Value<'_>, voice: Voice) {
    let mut part = Object::open(out);
    part.text("type", voice.text_type());
    part.raw("text", text.raw());
    part.close();
}

/// Writes a refusal, given as a string, as a part.
pub fn write_refusal(out: &mut Vec<u8>, refusal: Value<'_>) {
    let mut part = Object::open(out);
    part.text("type", "refusal");
    part.raw("refusal", refusal.raw());
    part.close();
}

/// The texts in `content`, which is a string or an array of parts.
pub fn texts(content: Value<'_>) -> impl Iterator<Item = Value<'_>> {
    let own = Some(content).filter(|content| content.kind() == Kind::String);
    let parts = content.items().filter_map(|part| part.get("text"));
    own.into_iter().chain(parts.filter(|text| text.kind() == Kind::String))
}

/// Whether the word "json" stands in `content`, in any case: the upstream's condition for
/// answering in JSON mode.
pub fn mentions_json(content: Value<'_>) -> bool {
    let mentions = |text: &str| {
        let text = text.as_bytes();
        let mut starts = memchr::memchr2_iter(b'j', b'J', text);
        starts.any(|at| text.get(at..at + 4).is_some_and(|word| word.eq_ignore_ascii_case(b"json")))
    };
    texts(content).any(|text| {
        text.inner().is_some_and(mentions) || text.as_str().is_some_and(|text| mentions(&text))
    })
}

fn write_part<'a>(
    out: &mut Vec<u8>,
    part: Value<'a>,
    voice: Voice,
    files: &Lookup<'_>,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let kind = part.object()?.required("type")?.expect(Expect::String)?;
    match &*kind.string()? {
        "text" | "input_text" | "output_text" => write_text_part(out, part, voice, notes),
        "refusal" if voice == Voice::Output => {
            notes.unknown(part, &["type", "refusal"]);
            write_refusal(out, part.required("refusal")?.expect(Expect::String)?);
            Ok(())
        }
        "image_url" | "input_image" => write_image_part(out, part, files, notes),
        "file" | "input_file" => write_file_part(out, part, files, notes),
        audio @ ("input_audio" | "audio") => Err(Reject::unsupported(
            kind.path(),
            format!("Unsupported chat content part `{audio}`."),
        )),
        _ => Err(Reject::not_among(kind, SUPPORTED)),
    }
}

fn write_text_part<'a>(
    out: &mut Vec<u8>,
    part: Value<'a>,
    voice: Voice,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    let text = part.required("text")?.expect(Expect::String)?;
    let extras: &[&str] = match voice {
        Voice::Input => &[],
        Voice::Output => &["annotations", "logprobs"],
    };
    let mut written = Object::open(out);
    written.text("type", voice.text_type());
    written.raw("text", text.raw());
    for entry in part.entries().filter(|entry| !entry.key.is("type") && !entry.key.is("text")) {
        match extras.iter().find(|extra| entry.key.is(extra)) {
            Some(extra) if !entry.value.is_null() => written.raw(extra, entry.value.array()?.raw()),
            Some(_) => {}
            None => notes.drop(entry.value),
        }
    }
    written.close();
    Ok(())
}

/// A picture in the form of either document: an address, an object with one, or the id of a file.
fn write_image_part<'a>(
    out: &mut Vec<u8>,
    part: Value<'a>,
    files: &Lookup<'_>,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    notes.unknown(part, &["type", "image_url", "file_id", "detail"]);
    let (image, url) = match part.given("image_url") {
        Some(nested) if nested.kind() == Kind::Object => {
            notes.unknown(nested, &["url", "file_id", "detail"]);
            (nested, nested.given("url"))
        }
        Some(url) if url.kind() == Kind::String => (part, Some(url)),
        Some(other) => return Err(Reject::wrong_type(other, "an object or a string")),
        None => (part, None),
    };
    let outer = part.given("detail");
    let detail = image.given("detail").or(outer);
    if image.place() != part.place() && image.given("detail").is_some() {
        notes.drop(outer);
    }
    if let Some(detail) = detail {
        detail.one_of(&["auto", "low", "high", "original"])?;
    }
    let mut written = Object::open(out);
    written.text("type", "input_image");
    written.raw("detail", detail.map_or(b"\"auto\"", Value::raw));
    match (url, image.given("file_id").or_else(|| part.given("file_id"))) {
        (Some(url), id) => {
            notes.drop(id);
            write_image_url(written.field("image_url"), url)?;
        }
        (None, Some(id)) => match file::find(id, files)? {
            file::Local::File(file) => {
                file::write_picture(written.field("image_url"), &file, id)?;
            }
            file::Local::Reference => written.raw("file_id", id.raw()),
        },
        (None, None) if image.place() == part.place() => {
            return Err(Reject::missing(part, "image_url"));
        }
        (None, None) => return Err(Reject::missing(image, "url")),
    }
    written.close();
    Ok(())
}

fn write_image_url(out: &mut Vec<u8>, url: Value<'_>) -> Result<(), Reject> {
    match source(&url.string()?) {
        Source::AsIs => out.extend_from_slice(url.raw()),
        Source::Retyped { mime, data } => {
            // Base64 has nothing to escape but line breaks.
            super::json::write::string(out, &format!("data:{mime};base64,{data}"));
        }
        Source::NoPicture => return Err(Reject::invalid(url, NO_PICTURE)),
        Source::NoAddress => {
            let path = url.path();
            let why = format!(
                "Invalid '{path}': expected a data URL or an address that begins with https://."
            );
            return Err(Reject::bad(path, "invalid_value", why));
        }
    }
    Ok(())
}

/// A file in the form of either document: nested under `file`, or flat.
fn write_file_part<'a>(
    out: &mut Vec<u8>,
    part: Value<'a>,
    files: &Lookup<'_>,
    notes: &mut Notes<'a>,
) -> Result<(), Reject> {
    const KNOWN: &[&str] = &["type", "filename", "file_data", "file_id", "file_url"];
    let file = match part.given("file") {
        Some(nested) => {
            notes.unknown(part, &["type", "file"]);
            nested.object()?
        }
        None => part,
    };
    notes.unknown(file, KNOWN);
    let name = file.given("filename").map(|name| name.expect(Expect::String)).transpose()?;
    if let Some(data) = file.given("file_data") {
        notes.drop(file.given("file_id"));
        notes.drop(file.given("file_url"));
        return file::write_inline(out, data, name);
    }
    if let Some(id) = file.given("file_id") {
        return file::write_local(out, &file::find(id, files)?, id);
    }
    if let Some(url) = file.given("file_url") {
        let mut written = Object::open(out);
        written.text("type", "input_file");
        if let Some(name) = name {
            written.raw("filename", name.raw());
        }
        written.raw("file_url", url.expect(Expect::String)?.raw());
        written.close();
        return Ok(());
    }
    let nested = part.given("file").is_some();
    let flat = part.get("type").is_some_and(|kind| kind.is("input_file"));
    Err(Reject::missing(file, if nested || flat { "file_data" } else { "file" }))
}
