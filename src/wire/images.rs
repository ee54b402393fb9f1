//! Pictures: what a client asks for, what the upstream is asked for, and what the client is told.
//!
//! The upstream makes one picture for a request, in the size and quality that it thinks right, and
//! as PNG. So several pictures are several requests, put together again by [`answer`]; and what has
//! no effect is checked, left out and told.
//!
//! **Invariant:** no picture stands in what is meant for the log, only its size.
//!
//! Not here: forms as they come over the network (`api::extract`), who is asked (`relay`).

pub mod answer;
mod picture;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use self::picture::Part;
use self::picture::Picture;
use super::{
    content::file::Lookup,
    json::{
        Doc, Value, shorten,
        write::{Array, Object},
    },
    model::{Alias, alias_of},
    notes::Notes,
    reject::{Reject, Status},
};

/// The model of requests that name none.
pub const MODEL: &str = "gpt-image-2";

/// The longest prompt, in characters.
const PROMPT_CHARS: usize = 32_000;
/// How many pictures may be asked for at once.
const MOST: i64 = 10;
/// How many pictures may be edited together.
const MOST_PICTURES: usize = 16;

/// The longest edge of a picture, and how many pixels it may have.
const LONGEST_EDGE: u32 = 3_840;
const PIXELS: std::ops::RangeInclusive<u32> = 655_360..=8_294_400;

/// Fields that are read; those of neither kind are left out and told.
const READ: &[&str] = &[
    "prompt",
    "model",
    "n",
    "quality",
    "size",
    "background",
    "moderation",
    "stream",
    "partial_images",
    "output_format",
    "output_compression",
    "response_format",
];
const READ_BY_EDITS: &[&str] = &["images", "mask"];

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A picture is made from words.
    Generation,
    /// One is made from others.
    Edit,
}

impl Task {
    /// The type of the event that carries a whole picture.
    fn completed(self) -> &'static str {
        match self {
            Self::Generation => "image_generation.completed",
            Self::Edit => "image_edit.completed",
        }
    }
}

/// What a translation depends on besides the request.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The owner's own names of models.
    pub aliases: &'a [Alias],
    pub files: &'a Lookup<'a>,
}

/// A request as the upstream takes it, and what has to be known of it afterwards.
#[derive(Clone, Debug)]
pub struct Translated {
    pub task: Task,
    /// As the client names it.
    pub model: String,
    /// How often it is to be sent.
    pub n: usize,
    /// Whether the client wants events.
    pub stream: bool,
    /// The upstream's JSON.
    pub body: Bytes,
    /// The same for the log.
    pub shown: Bytes,
    /// What was left out, in the client's terms.
    pub ignored: Vec<String>,
    quality: Option<String>,
    size: Option<String>,
}

/// The request of `POST /v1/images/generations`.
///
/// # Errors
///
/// When it is none, or cannot be done.
pub fn generation(body: &[u8], options: Options<'_>) -> Result<Translated, Reject> {
    let doc = Doc::parse(body)?;
    let root = doc.root().object()?;
    let mut notes = Notes::default();
    notes.unknown(root, READ);
    translated(Task::Generation, (root, &[]), options, notes)
}

/// The ids of local files that a request of `POST /v1/images/edits` in JSON names.
pub fn file_ids(body: &[u8]) -> Vec<String> {
    let Ok(doc) = Doc::parse(body) else { return Vec::new() };
    let images = doc.root().get("images").into_iter().flat_map(Value::items);
    images.filter_map(|image| Some(image.get("file_id")?.as_str()?.into_owned())).collect()
}

/// The request of `POST /v1/images/edits` in JSON.
///
/// # Errors
///
/// When it is none, or cannot be done.
pub fn edit(body: &[u8], options: Options<'_>) -> Result<Translated, Reject> {
    let doc = Doc::parse(body)?;
    let root = doc.root().object()?;
    let mut notes = Notes::default();
    notes.unknown(root, &[READ, READ_BY_EDITS].concat());
    if let Some(mask) = root.given("mask") {
        return Err(no_mask(mask.path()));
    }
    let images = root.given("images").ok_or_else(|| Reject::missing(root, "images"))?.array()?;
    let mut pictures = Vec::new();
    for image in images.items() {
        pictures.push(Picture::of_json(image, options.files, &mut notes)?);
    }
    translated(Task::Edit, (root, &pictures), options, notes)
}

/// The same, sent as a form.
///
/// # Errors
///
/// When it is none, or cannot be done.
pub fn edit_form(parts: &[Part], options: Options<'_>) -> Result<Translated, Reject> {
    if parts.iter().any(|part| part.name == "mask") {
        return Err(no_mask("mask"));
    }
    let (images, texts): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.is_image());
    let fields = picture::fields(&texts)?;
    let doc = Doc::parse(&fields)?;
    let root = doc.root();
    let mut notes = Notes::default();
    notes.unknown(root, READ);
    if images.is_empty() {
        return Err(Reject::missing(root, "image"));
    }
    let read = |(n, part): (usize, &&Part)| {
        let path = if images.len() == 1 { "image".to_owned() } else { format!("image[{n}]") };
        Picture::of_bytes(path, part.content.clone())
    };
    let pictures: Vec<_> = images.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    translated(Task::Edit, (root, &pictures), options, notes)
}

fn no_mask(path: impl Into<String>) -> Reject {
    Reject::unsupported(path, "The parameter 'mask' is not supported by the subscription backend.")
}

fn translated<'a>(
    task: Task,
    (root, pictures): (Value<'a>, &[Picture<'a>]),
    options: Options<'_>,
    mut notes: Notes<'a>,
) -> Result<Translated, Reject> {
    let model = model(root, options.aliases)?;
    let prompt = root.required("prompt").and_then(prompt)?;
    if task == Task::Edit {
        check_count(pictures.len())?;
    }
    let n = root.given("n").map(|n| between(n, 1, MOST)).transpose()?.unwrap_or(1);
    let passed = passed(root)?;
    let stream = root.given("stream").map(Value::boolean).transpose()?.unwrap_or(false);
    leave_out(root, &mut notes)?;
    let write = |write_picture: fn(&Picture<'a>, &mut Vec<u8>)| {
        let mut out = Vec::new();
        let mut body = Object::open(&mut out);
        if task == Task::Edit {
            let mut images = Array::open(body.field("images"));
            for picture in pictures {
                let mut image = Object::open(images.item());
                write_picture(picture, image.field("image_url"));
                image.close();
            }
            images.close();
        }
        body.raw("prompt", prompt.raw());
        body.text("model", &model.1);
        for (name, value) in &passed {
            body.raw(name, value.raw());
        }
        body.raw("n", b"1");
        body.close();
        Bytes::from(out)
    };
    let wanted = |name| root.given(name).and_then(Value::as_str).filter(|it| it != "auto");
    Ok(Translated {
        task,
        n: usize::try_from(n).unwrap_or(1),
        stream,
        body: write(Picture::write),
        shown: write(Picture::write_size),
        model: model.0,
        ignored: notes.finish(),
        quality: wanted("quality").map(std::borrow::Cow::into_owned),
        size: wanted("size").map(std::borrow::Cow::into_owned),
    })
}

/// The model as it was asked for, and as it is meant.
fn model(root: Value<'_>, aliases: &[Alias]) -> Result<(String, String), Reject> {
    let asked = root.given("model").map(Value::name).transpose()?;
    let asked = asked.as_deref().unwrap_or(MODEL);
    let meant = alias_of(aliases, asked).unwrap_or(asked).to_ascii_lowercase();
    let is_image = meant.strip_prefix("gpt-image-").is_some_and(|rest| !rest.is_empty());
    if is_image || meant == "chatgpt-image-latest" {
        return Ok((asked.to_owned(), meant));
    }
    let message = format!(
        "The model `{}` does not exist or makes no images. Did you mean `{MODEL}`?",
        shorten(asked)
    );
    let code = Some("model_not_found");
    Err(Reject { status: Status::NotFound, message, param: Some("model".to_owned()), code })
}

fn prompt(prompt: Value<'_>) -> Result<Value<'_>, Reject> {
    let text = prompt.name()?;
    let length = text.chars().count();
    if length > PROMPT_CHARS {
        let why = format!(
            "Invalid 'prompt': string too long. Expected a string with maximum length \
             {PROMPT_CHARS}, but got a string with length {length} instead."
        );
        return Err(Reject::bad("prompt", "string_above_max_length", why));
    }
    Ok(prompt)
}

fn check_count(n: usize) -> Result<(), Reject> {
    let (code, why) = match n {
        0 => ("empty_array", "empty array. Expected an array with minimum length 1".to_owned()),
        n if n > MOST_PICTURES => {
            let most = MOST_PICTURES;
            let why = format!("array too long. Expected an array with maximum length {most}");
            ("array_above_max_length", why)
        }
        _ => return Ok(()),
    };
    let why = format!("Invalid 'images': {why}, but got an array with length {n} instead.");
    Err(Reject::bad("images", code, why))
}

/// What goes upstream as it came.
fn passed(root: Value<'_>) -> Result<Vec<(&'static str, Value<'_>)>, Reject> {
    const NAMES: [&str; 4] = ["quality", "size", "background", "moderation"];
    let mut passed = Vec::new();
    for name in NAMES {
        let Some(value) = root.given(name) else { continue };
        match name {
            "quality" => drop(value.one_of(&["auto", "low", "medium", "high"])?),
            "background" => drop(value.one_of(&["transparent", "opaque", "auto"])?),
            "moderation" => drop(value.one_of(&["low", "auto"])?),
            _ => check_size(value)?,
        }
        passed.push((name, value));
    }
    Ok(passed)
}

fn check_size(value: Value<'_>) -> Result<(), Reject> {
    let text = value.string()?;
    let edge = |text: &str| text.parse::<u32>().ok().filter(|edge| *edge <= LONGEST_EDGE);
    let edges = text.split_once('x').and_then(|(a, b)| Some((edge(a)?, edge(b)?)));
    let is_possible = edges.is_some_and(|(width, height)| {
        let (short, long) = (width.min(height), width.max(height));
        let is_even = width.is_multiple_of(16) && height.is_multiple_of(16);
        is_even && long <= 3 * short && PIXELS.contains(&(width * height))
    });
    if is_possible || text == "auto" {
        return Ok(());
    }
    let why = format!(
        "Invalid size '{}': expected 'auto' or WIDTHxHEIGHT, both divisible by 16, none above \
         {LONGEST_EDGE}, their ratio at most 3:1, and {} to {} pixels in all.",
        shorten(&text),
        PIXELS.start(),
        PIXELS.end(),
    );
    Err(Reject::invalid(value, why))
}

/// Checks what has no effect, and notes what would have had one.
fn leave_out<'a>(root: Value<'a>, notes: &mut Notes<'a>) -> Result<(), Reject> {
    if let Some(partial) = root.given("partial_images")
        && between(partial, 0, 3)? > 0
    {
        notes.drop(partial);
    }
    if let Some(format) = root.given("output_format")
        && format.one_of(&["png", "jpeg", "webp"])? != "png"
    {
        notes.drop(format);
    }
    if let Some(compression) = root.given("output_compression")
        && between(compression, 0, 100)? != 100
    {
        notes.drop(compression);
    }
    if let Some(format) = root.given("response_format")
        && format.one_of(&["url", "b64_json"])? == "url"
    {
        notes.drop(format);
    }
    Ok(())
}

fn between(value: Value<'_>, least: i64, most: i64) -> Result<i64, Reject> {
    let number = value.at_least(least)?;
    if number <= most {
        return Ok(number);
    }
    let path = value.path();
    let why = format!(
        "Invalid '{path}': integer above maximum value. Expected a value <= {most}, but got \
         {number} instead."
    );
    Err(Reject::bad(path, "integer_above_max_value", why))
}
