//! Files in requests: which of them the upstream reads, and as what.
//!
//! A file of the local store is put into the request: text as text, a PDF and a picture as
//! themselves. What does not fit is refused, never cut.
//!
//! **Invariant:** a file goes upstream whole or not at all.
//!
//! Not here: the store. What it holds under an id is asked through a function.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::image;
use crate::wire::{
    json::{
        Value, shorten,
        write::{Object, string},
    },
    reject::Reject,
};

/// The largest file that is put into a request as text, in bytes.
pub const MAX_TEXT: usize = 1_000_000;

/// Media types of texts, as prefixes.
const TEXTS: &[&str] = &[
    "text/",
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/csv",
];

/// Types that a file name tells, for data that comes without one.
const BY_NAME: &[(&str, &str)] = &[
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
];

/// The largest picture or document that is put into a request, in bytes: the upstream's limit.
pub const MAX_DATA: usize = 50 << 20;

/// A file that the local store has.
#[derive(Clone, Debug)]
pub struct LocalFile {
    pub name: String,
    pub content_type: String,
    pub bytes: usize,
    /// Empty where it is of no use: see [`room`].
    pub content: Bytes,
}

/// What the local store has under an id.
#[derive(Clone, Debug)]
pub enum Local {
    File(LocalFile),
    /// Something that stays a reference: the request is to be kept, not sent.
    Reference,
}

/// Looks a file up by its id. `None` is an unknown id.
pub type Lookup<'a> = dyn Fn(&str) -> Option<Local> + 'a;

/// How large a file may be that goes into a request, by what it is; 0 where none can.
pub fn room(name: &str, content_type: &str) -> usize {
    let kind = kind(name, content_type);
    if TEXTS.iter().any(|text| kind.starts_with(text)) {
        MAX_TEXT
    } else if kind.starts_with("application/pdf") || kind.starts_with("image/") {
        MAX_DATA
    } else {
        0
    }
}

/// What a file is, in lower case. Where its type says nothing, its name may.
fn kind(name: &str, content_type: &str) -> String {
    let kind = content_type.to_ascii_lowercase();
    if !kind.is_empty() && !kind.starts_with("application/octet-stream") {
        return kind;
    }
    by_name(name).map_or(kind, str::to_owned)
}

fn by_name(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    let known = BY_NAME.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known));
    known.map(|(_, kind)| *kind)
}

/// The file that `id` names.
///
/// # Errors
///
/// When there is none.
pub fn find(id: Value<'_>, files: &Lookup<'_>) -> Result<Local, Reject> {
    let name = id.string()?;
    files(&name).ok_or_else(|| {
        let name = shorten(&name);
        let message =
            format!("Unknown local file id `{name}`. Upload it first with `POST /v1/files`.");
        Reject::unsupported(id.path(), message).with_code("file_not_found")
    })
}

/// Writes `file`, named by `id`, as a part of a message.
///
/// # Errors
///
/// When the upstream has no way to read it.
pub fn write_local(out: &mut Vec<u8>, file: &Local, id: Value<'_>) -> Result<(), Reject> {
    let Local::File(file) = file else {
        let mut part = Object::open(out);
        part.text("type", "input_file");
        part.raw("file_id", id.raw());
        part.close();
        return Ok(());
    };
    let kind = kind(&file.name, &file.content_type);
    let refuse = |why: String| {
        let message = format!("File `{}` {why}", shorten(&file.name));
        Err(Reject::unsupported(id.path(), message).with_code("unsupported_file"))
    };
    if TEXTS.iter().any(|text| kind.starts_with(text)) {
        if file.bytes > MAX_TEXT {
            return refuse("is too large to inline as text without truncation.".to_owned());
        }
        let content = String::from_utf8_lossy(&file.content);
        let told =
            if kind.eq_ignore_ascii_case(&file.content_type) { &file.content_type } else { &kind };
        let head = format!("Uploaded file `{}` ({told}):\n\n", file.name);
        let mut part = Object::open(out);
        part.text("type", "input_text");
        part.text("text", &(head + &content));
        part.close();
    } else if kind.starts_with("application/pdf") {
        if file.bytes > MAX_DATA {
            return refuse("is too large to be sent.".to_owned());
        }
        let mut part = Object::open(out);
        part.text("type", "input_file");
        part.text("filename", &file.name);
        write_data(part.field("file_data"), "application/pdf", &file.content);
        part.close();
    } else if kind.starts_with("image/") {
        let mut part = Object::open(out);
        part.text("type", "input_image");
        part.text("detail", "auto");
        write_picture(part.field("image_url"), file, id)?;
        part.close();
    } else {
        let kind = shorten(&file.content_type);
        return refuse(format!(
            "with content type `{kind}` is not supported by the subscription backend."
        ));
    }
    Ok(())
}

/// Writes a data URL of `file`, named by `id`, which has to be a picture.
///
/// # Errors
///
/// When it is none, or is too large.
pub fn write_picture(out: &mut Vec<u8>, file: &LocalFile, id: Value<'_>) -> Result<(), Reject> {
    let refuse = |why: &str| {
        let message = format!("File `{}` {why}", shorten(&file.name));
        Err(Reject::unsupported(id.path(), message).with_code("unsupported_file"))
    };
    let declared = kind(&file.name, &file.content_type).starts_with("image/");
    if declared && file.bytes > MAX_DATA {
        return refuse("is too large to be sent.");
    }
    let Some(mime) = image::sniff(&file.content).filter(|_| declared) else {
        return refuse("is not an image.");
    };
    write_data(out, mime, &file.content);
    Ok(())
}

/// Writes a data URL of `content`.
pub fn write_data(out: &mut Vec<u8>, mime: &str, content: &[u8]) {
    let mut url = format!("data:{mime};base64,");
    STANDARD.encode_string(content, &mut url);
    string(out, &url);
}

/// Writes a part of a message from a file that came with the request.
///
/// # Errors
///
/// When its data is not in base64, or nothing tells what it is.
pub fn write_inline(
    out: &mut Vec<u8>,
    data: Value<'_>,
    name: Option<Value<'_>>,
) -> Result<(), Reject> {
    let text = data.string()?;
    let name_text = name.map(Value::string).transpose()?;
    let refuse = || {
        let path = data.path();
        let why = format!(
            "Invalid '{path}': expected base64 data with its type, such as 'data:application/pdf;base64,...'."
        );
        Err(Reject::bad(path, "invalid_value", why))
    };
    let (mime, encoded) = match text.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("data") => {
            let Some((_, encoded)) = image::split_data(rest) else { return refuse() };
            (None, encoded)
        }
        Some(_) | None => {
            let Some(mime) = name_text.as_deref().and_then(by_name) else { return refuse() };
            (Some(mime), &*text)
        }
    };
    if !image::is_base64(encoded) {
        return refuse();
    }
    let mut part = Object::open(out);
    part.text("type", "input_file");
    match name {
        Some(name) => part.raw("filename", name.raw()),
        None => part.text("filename", "upload.bin"),
    }
    match mime {
        // Base64 has nothing to escape.
        Some(mime) => part.raw("file_data", format!("\"data:{mime};base64,{encoded}\"").as_bytes()),
        None => part.raw("file_data", data.raw()),
    }
    part.close();
    Ok(())
}
