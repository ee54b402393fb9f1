//! The pictures of an edit: where they are, and that they are pictures.
//!
//! **Invariant:** the data of a picture is never decoded and encoded again.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::wire::{
    content::{
        file::{self, Lookup},
        image::{self, Source},
    },
    json::{
        Value, shorten,
        write::{Object, string},
    },
    notes::Notes,
    read::Expect,
    reject::Reject,
};

/// The largest picture, in bytes.
const LARGEST: usize = 20 << 20;

const TAKEN: [&str; 3] = ["image/png", "image/jpeg", "image/webp"];

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub content: Bytes,
}

impl Part {
    /// `image`, `image[]` or `image[0]`, as the programs of this field write them.
    pub(super) fn is_image(&self) -> bool {
        let rest = self.name.strip_prefix("image");
        let number = |rest: &str| {
            let inside = rest.strip_prefix('[')?.strip_suffix(']')?;
            inside.bytes().all(|byte| byte.is_ascii_digit()).then_some(())
        };
        rest.is_some_and(|rest| rest.is_empty() || number(rest).is_some())
    }
}

/// The text parts of a form as the fields of an object.
///
/// # Errors
///
/// When one is no text, or comes twice.
pub(super) fn fields(parts: &[&Part]) -> Result<Vec<u8>, Reject> {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    let mut names: Vec<&str> = Vec::new();
    for Part { name, content } in parts {
        if names.contains(&name.as_str()) {
            let name = shorten(name).into_owned();
            let why = format!("Duplicate parameter: '{name}'.");
            return Err(Reject::bad(name, "duplicate_parameter", why));
        }
        names.push(name);
        let Ok(text) = std::str::from_utf8(content) else {
            let name = shorten(name).into_owned();
            let why = format!("Invalid type for '{name}': expected a text.");
            return Err(Reject::bad(name, "invalid_type", why));
        };
        // A form has texts only; what they stand for is said by their names.
        let is_value = match name.as_str() {
            "n" | "partial_images" | "output_compression" => is_whole(text),
            "stream" => matches!(text, "true" | "false"),
            _ => false,
        };
        if is_value {
            object.raw(name, text.as_bytes());
        } else {
            object.text(name, text);
        }
    }
    object.close();
    Ok(out)
}

/// Whether `text` is a whole number as JSON has it.
fn is_whole(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

/// A picture on its way upstream.
#[derive(Clone, Debug)]
pub(super) enum Picture<'a> {
    /// An address, as the literal it is.
    Address(Value<'a>),
    /// The same, with a type that its data does not have.
    Retyped(&'static str, Cow<'a, str>),
    Bytes(&'static str, Bytes),
}

impl<'a> Picture<'a> {
    /// An element of `images`.
    ///
    /// # Errors
    ///
    /// When it is no picture that can be sent.
    pub(super) fn of_json(
        image: Value<'a>,
        files: &Lookup<'_>,
        notes: &mut Notes<'a>,
    ) -> Result<Self, Reject> {
        notes.unknown(image.object()?, &["image_url", "file_id"]);
        let id = image.given("file_id");
        if let Some(url) = image.given("image_url") {
            notes.drop(id);
            return Self::of_url(url.expect(Expect::String)?);
        }
        let id = id.ok_or_else(|| Reject::missing(image, "image_url"))?;
        match file::find(id, files)? {
            file::Local::File(file) => Self::of_bytes(id.path(), file.content),
            // Nothing is kept of requests for pictures.
            file::Local::Reference => Err(no_picture(&id.path(), None)),
        }
    }

    fn of_url(url: Value<'a>) -> Result<Self, Reject> {
        let path = url.path();
        let text = url.string()?;
        let picture = match image::source(&text) {
            Source::AsIs => Self::Address(url),
            Source::Retyped { mime, data } => {
                check_type(&path, Some(mime))?;
                Self::Retyped(mime, data.to_owned().into())
            }
            Source::NoPicture => return Err(no_picture(&path, None)),
            Source::NoAddress => {
                let why = format!(
                    "Invalid '{path}': expected a data URL or an address that begins with https://."
                );
                return Err(Reject::bad(path, "invalid_value", why));
            }
        };
        if let Some(data) = data_of(&text) {
            check_type(&path, image::sniff_base64(data))?;
            check_size(path, image::decoded_len(data))?;
        }
        Ok(picture)
    }

    /// # Errors
    ///
    /// When `content` is no picture that can be sent; it is called `path` then.
    pub(super) fn of_bytes(path: String, content: Bytes) -> Result<Self, Reject> {
        let mime = check_type(&path, image::sniff(&content))?;
        check_size(path, content.len())?;
        Ok(Self::Bytes(mime, content))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Address(url) => out.extend_from_slice(url.raw()),
            Self::Retyped(mime, data) => string(out, &format!("data:{mime};base64,{data}")),
            Self::Bytes(mime, content) => {
                out.extend_from_slice(format!("\"data:{mime};base64,").as_bytes());
                out.extend_from_slice(STANDARD.encode(content).as_bytes());
                out.push(b'"');
            }
        }
    }

    /// What the log has of it.
    pub(super) fn write_size(&self, out: &mut Vec<u8>) {
        let bytes = match self {
            Self::Address(url) => match url.as_str().as_deref().map(data_of) {
                Some(Some(data)) => image::decoded_len(data),
                _ => return out.extend_from_slice(url.raw()),
            },
            Self::Retyped(_, data) => image::decoded_len(data),
            Self::Bytes(_, content) => content.len(),
        };
        string(out, &format!("[an image of {bytes} bytes]"));
    }
}

/// The base64 of a data URL.
fn data_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once(':')?;
    let is_data = scheme.eq_ignore_ascii_case("data");
    is_data.then(|| image::split_data(rest)).flatten().map(|(_, data)| data)
}

fn check_type(path: &str, mime: Option<&'static str>) -> Result<&'static str, Reject> {
    let taken = mime.filter(|mime| TAKEN.contains(mime));
    taken.ok_or_else(|| no_picture(path, mime))
}

/// In the words of the platform.
fn no_picture(path: &str, mime: Option<&str>) -> Reject {
    let mime = mime.unwrap_or("application/octet-stream");
    let why = format!(
        "Invalid file '{path}': unsupported mimetype ('{mime}'). Supported file formats are \
         'image/jpeg', 'image/png', and 'image/webp'."
    );
    Reject::bad(path, "unsupported_file_mimetype", why)
}

fn check_size(path: String, bytes: usize) -> Result<(), Reject> {
    if bytes <= LARGEST {
        return Ok(());
    }
    let why =
        format!("Invalid file '{path}': {bytes} bytes are more than the {LARGEST} there may be.");
    Err(Reject::bad(path, "image_too_large", why))
}
