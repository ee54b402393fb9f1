//! The surface: HTTP towards the client.
//!
//! Routes come in groups, each with exactly the state that it needs; there is no state of the
//! whole. `router` is the page to read first.
//!
//! **Invariant:** there is no application-wide state type.
//! **Invariant:** a failure becomes a response in `error` and nowhere else.

pub mod admin;
pub mod answers;
pub mod background;
pub mod body;
pub mod compact;
pub mod conversations;
mod disclosure;
pub mod error;
pub mod exchange;
mod extract;
pub mod files;
pub mod guard;
pub mod images;
mod keep;
mod keep_alive;
pub mod landing;
pub mod models;
mod page;
pub mod router;
pub mod status;
pub mod stream;
pub mod subscription;
pub mod text;
pub mod unsupported;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Serialize;

use self::error::ApiError;

/// A document as a response.
fn json(document: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(document).map_err(|error| ApiError::broken(&error))?;
    Ok(json_of(body))
}

/// The same, written already.
fn json_of(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
