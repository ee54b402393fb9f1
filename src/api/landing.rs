//! What anybody may see: a page that says what this is, and a sign of life.

use axum::{Router, response::IntoResponse, routing::get};
use http::{
    HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};

const PAGE: &str = include_str!("landing/index.html");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

pub fn router() -> Router {
    Router::new().route("/", get(page)).route("/healthz", get(healthz))
}

async fn page() -> impl IntoResponse {
    (headers("text/html; charset=utf-8"), PAGE)
}

async fn healthz() -> impl IntoResponse {
    let body =
        format!(r#"{{"ok":true,"app_name":"AIRelays","version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
    (headers("application/json"), body)
}

fn headers(content_type: &'static str) -> [(HeaderName, HeaderValue); 6] {
    [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]
}
