//! Routes of the platform that the subscription backend has no verified counterpart for.

use axum::{Router, routing::any};

use crate::api::error::ApiError;

/// Paths that answer 501 whatever the method.
pub const PATHS: &[&str] = &[
    "/v1/embeddings",
    "/v1/images/variations",
    "/v1/audio/{operation}",
    "/v1/realtime/sessions",
    "/v1/responses/input_tokens",
    "/v1/uploads",
];

pub fn router() -> Router {
    PATHS.iter().fold(Router::new(), |router, path| {
        router.route(path, any(async || ApiError::unsupported_route()))
    })
}
