//! All routes and the order of the guards, on one page.
//!
//! From outside to inside:
//!
//! 1. `identity`: an id for every request, so that every refusal has one; nothing is read of it
//!    but `X-Forwarded-For`, and that only from a trusted proxy.
//! 2. `scope`: whether the other end of the connection may be there at all. Before anything that
//!    depends on what the request says.
//! 3. `origin`: whether a web page sent it, and by which name. Before the token and the limits, so
//!    that a page can neither try tokens nor spend anybody's allowance; this answers preflights,
//!    which cannot carry a token.
//! 4. `admission`, on protected routes: the relay token, then the limits. Before the body is read,
//!    so that a stranger cannot make the relay hold anything.
//! 5. `record`: what was asked and answered goes to the traffic log. Behind admission, so that
//!    strangers cannot fill it.
//! 6. The route, which reads its body within the limit.
//!
//! Protected are `/v1/*`, `/no-tools/v1/*` and `/admin/*`, including paths and methods that do not exist there.

use axum::{
    Router,
    extract::Request,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header::UPGRADE};
use tower::ServiceExt;

use crate::api::{
    admin, answers, compact, conversations,
    error::ApiError,
    files,
    guard::{
        admission::{self, Admission},
        identity::{self, Identity},
        origin::{self, Origin},
        record,
        scope::{self, Scope},
    },
    images, landing, models, status, subscription, text, unsupported,
};

/// The groups of routes and the guards in front of them, each with what it needs.
#[derive(Debug)]
pub struct Parts {
    pub identity: Identity,
    pub scope: Scope,
    pub origin: Origin,
    pub admission: Admission,
    pub text: text::Text,
    pub images: images::Images,
    pub models: models::Models,
    pub files: files::Files,
    pub conversations: conversations::Conversations,
    pub answers: answers::Answers,
    pub status: status::Status,
    pub subscription: subscription::Subscription,
    pub admin: admin::Admin,
}

pub fn router(parts: Parts) -> Router {
    let stats = (parts.admin.stats.clone(), parts.admin.clock.clone());
    let protected = Router::new()
        .merge(compact::router(parts.text.clone()))
        .merge(text::router(parts.text))
        .merge(answers::router(parts.answers))
        .merge(images::router(parts.images))
        .merge(models::router(parts.models))
        .merge(files::router(parts.files))
        .merge(conversations::router(parts.conversations))
        .merge(status::router(parts.status))
        .merge(subscription::router(parts.subscription))
        .merge(admin::router(parts.admin))
        .merge(unsupported::router())
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(record::guard))
        .layer(from_fn_with_state(stats, record::count))
        .layer(from_fn_with_state(parts.admission, admission::guard));
    let public = landing::router().method_not_allowed_fallback(wrong_method);
    Router::new()
        .merge(public)
        .fallback(move |request: Request| by_path(protected.clone(), request))
        .layer(from_fn_with_state(parts.origin, origin::guard))
        .layer(from_fn_with_state(parts.scope, scope::guard))
        .layer(from_fn_with_state(parts.identity, identity::guard))
}

/// What commands of the same owner ask, at a socket that nobody else can open: that is their right
/// to be there, so they are asked for no token and counted against no limit.
pub fn control(parts: &Parts) -> Router {
    Router::new()
        .merge(status::router(parts.status.clone()))
        .merge(admin::router(parts.admin.clone()))
        .merge(landing::router())
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(record::guard))
        .layer(from_fn_with_state(parts.identity.clone(), identity::guard))
}

/// `/v1/…`, `/no-tools/v1/…` and `/admin/…`.
fn is_protected(path: &str) -> bool {
    ["/v1/", "/no-tools/v1/", "/admin/"].iter().any(|prefix| path.starts_with(prefix))
}

/// Below the protected prefixes everything goes through the guards, whether it exists or not.
async fn by_path(protected: Router, request: Request) -> Response {
    if is_protected(request.uri().path()) {
        protected.oneshot(request).await.into_response()
    } else {
        ApiError::not_found().into_response()
    }
}

async fn missing() -> ApiError {
    ApiError::not_found()
}

/// The Codex client asks for a WebSocket where it can, and tries again and again unless it is told
/// that there is none.
async fn wrong_method(headers: HeaderMap) -> ApiError {
    let asks = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    if asks.is_some_and(|asks| asks.eq_ignore_ascii_case("websocket")) {
        return ApiError::no_websocket();
    }
    ApiError::method_not_allowed(None)
}
