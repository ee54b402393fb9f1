//! Forms with files in them (`multipart/form-data`).
//!
//! A form is taken apart when it is whole: it is within the limit for bodies then, and what is wrong
//! with it is told before anything is done.

use axum::{
    body::Body,
    extract::{DefaultBodyLimit, FromRequest, Multipart, Request, multipart::Field},
};
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE, request};

use crate::{api::error::ApiError, wire::images::Part};

/// More than any form of the documents has.
const MOST_PARTS: usize = 64;

#[derive(Debug, thiserror::Error)]
enum Odd {
    #[error("a part has no name")]
    Nameless,
    #[error("it has more than {MOST_PARTS} parts")]
    TooMany,
}

pub fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = value.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("multipart/form-data")
}

/// The parts of the form `body`, which came with `head`.
///
/// # Errors
///
/// When it is none.
pub async fn parts(head: request::Parts, body: Bytes) -> Result<Vec<Part>, ApiError> {
    let mut request = Request::from_parts(head, Body::from(body));
    // It has been read within our own.
    DefaultBodyLimit::disable().apply(&mut request);
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| ApiError::bad_form(&error))?;
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| ApiError::bad_form(&error))? {
        if parts.len() >= MOST_PARTS {
            return Err(ApiError::bad_form(&Odd::TooMany));
        }
        parts.push(part(field).await?);
    }
    Ok(parts)
}

async fn part(field: Field<'_>) -> Result<Part, ApiError> {
    let name = field.name().map(str::to_owned);
    let name = name.ok_or_else(|| ApiError::bad_form(&Odd::Nameless))?;
    let content = field.bytes().await.map_err(|error| ApiError::bad_form(&error))?;
    Ok(Part { name, content })
}
