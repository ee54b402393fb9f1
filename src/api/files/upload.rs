//! `POST /v1/files`: a form whose parts come in any order, read once and never held.

use axum::{
    extract::{FromRequest, Multipart, Query, Request, State, multipart::Field},
    response::Response,
};
use http::{HeaderValue, Uri};
use http_body::Body as _;
use serde::Serialize;

use super::{Document, Files};
use crate::{
    api::{disclosure::disclose, error::ApiError, exchange::Exchange, json},
    store::{NewFile, Upload, UploadError},
    wire::reject::Reject,
};

/// What a file may be for, by the published document.
const PURPOSES: &[&str] = &["assistants", "batch", "evals", "fine-tune", "user_data", "vision"];
/// How long a file may live that does not live for ever, in seconds.
const LIFETIMES: std::ops::RangeInclusive<i64> = 3600..=2_592_000;
/// The longest name of a file, in bytes, as file systems have it.
const NAME: usize = 255;
/// The longest value of a field of the form, in bytes.
const FIELD: usize = 4096;
/// How many fields a form may have that nobody knows.
const FIELDS: usize = 50;
/// What a form needs besides the file, at most.
const FORM: u64 = 1 << 20;
const TYPE: &str = "application/octet-stream";

/// What a form says.
#[derive(Default)]
struct Form {
    upload: Option<Upload>,
    filename: String,
    content_type: String,
    purpose: Option<String>,
    anchor: Option<String>,
    seconds: Option<String>,
    ignored: Vec<String>,
}

pub async fn upload(
    State(files): State<Files>,
    exchange: Exchange,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    let announced = request.body().size_hint().lower();
    let limit = files.store.max_file();
    // What is announced to be larger is not even read.
    if announced > limit.saturating_add(FORM) {
        return Err(UploadError::TooLarge { limit }.into());
    }
    let multipart = Multipart::from_request(request, &()).await;
    let mut multipart = multipart.map_err(|_| ApiError::no_form())?;
    let mut form = Form { purpose: purpose_of(&uri), ..Form::default() };
    while let Some(field) =
        multipart.next_field().await.map_err(|it| ApiError::body_unreadable(&it))?
    {
        form.take(&files, field).await?;
    }
    let (upload, new, ignored) = form.finish()?;
    let file = files.store.keep(upload, new).await?;
    let document = Document::from(file);
    log(&exchange, &document).await;
    let mut response = json(&document)?;
    disclose(&ignored, response.headers_mut());
    Ok(response)
}

/// The Python program reads it from the query.
fn purpose_of(uri: &Uri) -> Option<String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    pairs.into_iter().find(|(name, _)| name == "purpose").map(|(_, value)| value)
}

/// What was uploaded goes to the log as what it is, never as what it says.
async fn log(exchange: &Exchange, document: &Document) {
    #[derive(Serialize)]
    struct Logged<'a> {
        file: &'a Document,
    }
    let body = serde_json::to_vec(&Logged { file: document }).unwrap_or_default();
    exchange.received_as(Some("application/json"), body.into()).await;
}

impl Form {
    async fn take(&mut self, files: &Files, field: Field<'_>) -> Result<(), ApiError> {
        let name = field.name().unwrap_or_default().to_owned();
        match &*name {
            "file" => self.take_file(files, field).await?,
            "purpose" => self.purpose = Some(text(field, "purpose").await?),
            "expires_after[anchor]" => self.anchor = Some(text(field, "expires_after").await?),
            "expires_after[seconds]" => self.seconds = Some(text(field, "expires_after").await?),
            _ => {
                text(field, "form").await?;
                if self.ignored.len() >= FIELDS {
                    return Err(bad("form", "The form has too many fields.").into());
                }
                self.ignored.push(name);
            }
        }
        Ok(())
    }

    async fn take_file(&mut self, files: &Files, mut field: Field<'_>) -> Result<(), ApiError> {
        if self.upload.is_some() {
            return Err(bad("file", "The form has more than one `file`.").into());
        }
        field.file_name().unwrap_or("upload.bin").clone_into(&mut self.filename);
        if self.filename.len() > NAME || self.filename.contains(char::is_control) {
            let message = format!(
                "The name of the file must have at most {NAME} bytes and no control characters."
            );
            return Err(bad("file", message).into());
        }
        let kind = field.content_type().unwrap_or(TYPE);
        let is_sound = kind.len() < 256 && HeaderValue::try_from(kind).is_ok();
        if is_sound { kind } else { TYPE }.clone_into(&mut self.content_type);
        let mut upload = files.store.upload().await?;
        while let Some(piece) = field.chunk().await.map_err(|it| ApiError::body_unreadable(&it))? {
            upload.write(&piece).await?;
        }
        self.upload = Some(upload);
        Ok(())
    }

    fn finish(self) -> Result<(Upload, NewFile, Vec<String>), Reject> {
        let Some(upload) = self.upload else {
            let message = "Missing required parameter: 'file'.";
            return Err(Reject::bad("file", "missing_required_parameter", message));
        };
        let purpose = self.purpose.unwrap_or_else(|| "assistants".to_owned());
        if !PURPOSES.contains(&&*purpose) {
            let purpose = crate::wire::json::shorten(&purpose);
            let known = PURPOSES.join("', '");
            let message = format!("Invalid value: '{purpose}'. Supported values are: '{known}'.");
            return Err(bad("purpose", message));
        }
        let expires_after = lifetime(self.anchor.as_deref(), self.seconds.as_deref())?;
        let Self { filename, content_type, ignored, .. } = self;
        Ok((upload, NewFile { filename, purpose, content_type, expires_after }, ignored))
    }
}

fn lifetime(anchor: Option<&str>, seconds: Option<&str>) -> Result<Option<i64>, Reject> {
    let (anchor, seconds) = match (anchor, seconds) {
        (None, None) => return Ok(None),
        (anchor, seconds) => (anchor.unwrap_or("created_at"), seconds.unwrap_or_default()),
    };
    if anchor != "created_at" {
        return Err(bad("expires_after", "The only anchor of `expires_after` is 'created_at'."));
    }
    let lifetime = seconds.parse().ok().filter(|it| LIFETIMES.contains(it));
    let (least, most) = LIFETIMES.into_inner();
    let message = format!("`expires_after[seconds]` must be a number from {least} to {most}.");
    lifetime.map(Some).ok_or_else(|| bad("expires_after", message))
}

fn bad(name: &'static str, message: impl Into<String>) -> Reject {
    Reject::bad(name, "invalid_value", message)
}

/// A short field.
async fn text(mut field: Field<'_>, name: &'static str) -> Result<String, ApiError> {
    let mut text = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|it| ApiError::body_unreadable(&it))? {
        text.extend_from_slice(&piece);
        if text.len() > FIELD {
            return Err(
                bad(name, format!("The field `{name}` is longer than {FIELD} bytes.")).into()
            );
        }
    }
    String::from_utf8(text).map_err(|_| bad(name, format!("`{name}` is no text.")).into())
}
