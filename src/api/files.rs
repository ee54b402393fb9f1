//! `/v1/files`: the files of the owner, kept on this machine.
//!
//! An upload goes to the disk as it arrives and is cut off where it becomes too large. A content
//! is handed out so that no browser shows it as a page of this address: as an attachment, without
//! guessing, in a sandbox.
//!
//! Not here: what a file becomes in a request (`wire::content::file`).

mod range;
mod upload;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
    },
};
use serde::Serialize;

use self::range::Wanted;
use crate::{
    api::{
        error::ApiError,
        json,
        page::{self, Deleted, Id, Lengths, List, one},
    },
    store::{self, File, Store},
};

const LENGTHS: Lengths = Lengths { usual: 10_000, most: 10_000 };

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Files {
    pub store: Store,
}

pub fn router(files: Files) -> Router {
    let mut router = Router::new();
    for prefix in ["/v1", "/no-tools/v1"] {
        let all = format!("{prefix}/files");
        let one = format!("{all}/{{file_id}}");
        router = router
            // The upload has a limit of its own.
            .route(&all, get(list).post(upload::upload).layer(DefaultBodyLimit::disable()))
            .route(&one, get(retrieve).delete(delete))
            .route(&format!("{one}/content"), get(content));
    }
    router.with_state(files)
}

/// `OpenAIFile` of the published document, and what is known besides.
#[derive(Debug, Serialize)]
struct Document {
    id: String,
    object: &'static str,
    bytes: i64,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    filename: String,
    purpose: String,
    status: &'static str,
    content_type: String,
    sha256: String,
}

impl From<File> for Document {
    fn from(file: File) -> Self {
        Self {
            id: file.id,
            object: "file",
            bytes: file.bytes,
            created_at: file.created_at,
            expires_at: file.expires_at,
            filename: file.filename,
            purpose: file.purpose,
            status: "processed",
            content_type: file.content_type,
            sha256: file.sha256,
        }
    }
}

async fn list(State(files): State<Files>, uri: Uri) -> Result<Response, ApiError> {
    let (page, others) = page::read(&uri, LENGTHS)?;
    let purpose = others.into_iter().find(|(name, _)| name == "purpose").map(|(_, value)| value);
    let listed = files.store.files(page.clone(), purpose).await?;
    let listed = listed.map_err(|store::UnknownCursor| page::unknown_cursor(&page))?;
    let data: Vec<_> = listed.entries.into_iter().map(Document::from).collect();
    json(&List::new(data, listed.has_more, |file| file.id.clone()))
}

async fn retrieve(State(files): State<Files>, id: Id) -> Result<Response, ApiError> {
    json(&Document::from(files.known(id).await?))
}

async fn delete(State(files): State<Files>, id: Id) -> Result<Response, ApiError> {
    let id = one(id);
    if !files.store.delete_file(&id).await? {
        return Err(ApiError::unknown_file(&id));
    }
    json(&Deleted::of("file", id))
}

async fn content(
    State(files): State<Files>,
    id: Id,
    asked: HeaderMap,
) -> Result<Response, ApiError> {
    let file = files.known(id).await?;
    let etag = format!("\"{}\"", file.sha256);
    let mut headers = safe_headers(&file, &etag);
    let is_known =
        asked.get_all(IF_NONE_MATCH).iter().any(|known| known.as_bytes() == etag.as_bytes());
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let size = u64::try_from(file.bytes).unwrap_or_default();
    let (status, start, length) = match range::read(&asked, &etag, size) {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part { start, length } => {
            let last = start + length - 1;
            headers.insert(CONTENT_RANGE, value(&format!("bytes {start}-{last}/{size}")));
            (StatusCode::PARTIAL_CONTENT, start, length)
        }
        Wanted::Nothing => return Err(ApiError::no_such_range(size)),
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let content = files.store.content(&file).await?;
    let content = content.part(start, length).map_err(store::Unavailable::from)?;
    // What fails on the way cuts the body off, which is shorter then than it was said to be.
    let pieces = stream::try_unfold(content, store::Content::next);
    Ok((status, headers, Body::from_stream(pieces)).into_response())
}

impl Files {
    async fn known(&self, id: Id) -> Result<File, ApiError> {
        let id = one(id);
        let file = self.store.file(&id).await?;
        file.ok_or_else(|| ApiError::unknown_file(&id))
    }
}

/// Headers with which no browser takes the content for a page of ours.
fn safe_headers(file: &File, etag: &str) -> HeaderMap {
    let kind = HeaderValue::try_from(&*file.content_type);
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let fixed = |text| HeaderValue::from_static(text);
    let headers: [(HeaderName, HeaderValue); 7] = [
        (CONTENT_TYPE, kind),
        (CONTENT_DISPOSITION, value(&disposition(&file.filename))),
        (CONTENT_SECURITY_POLICY, fixed("default-src 'none'; sandbox")),
        (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (CACHE_CONTROL, fixed("private, no-cache")),
        (ACCEPT_RANGES, fixed("bytes")),
        (ETAG, value(etag)),
    ];
    headers.into_iter().collect()
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// `attachment` with the name, once for programs that read ASCII only (RFC 6266).
fn disposition(name: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || " ._-".contains(it);
    let plain: String = name.chars().map(|it| if is_plain(it) { it } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(["%", &crate::id::hex(&[byte]).to_ascii_uppercase()]);
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_header() {
        for (name, expected) in [
            ("a.txt", "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
            (
                "../\"x\r\ny: z\u{e9}",
                "attachment; filename=\".._\"; filename*=UTF-8''..%2F%22x%0D%0Ay%3A%20z%C3%A9",
            ),
        ] {
            let written = disposition(name);
            let ending = written.split_once("filename*").map(|(_, ending)| ending);
            assert_eq!(ending, expected.split_once("filename*").map(|(_, ending)| ending));
            assert!(HeaderValue::try_from(&*written).is_ok(), "{written}");
            assert_eq!(written.matches('"').count(), 2, "{written}");
        }
    }
}
