//! Every route of the imitation, and what happens to each request on its way in and out.

use std::time::Duration;

use axum::{
    Extension, Router,
    body::{self, Body},
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use crate::sim::{
    Simulator,
    answer::{Answer, set_headers},
    control,
    form::{pairs, value},
    images::Kind,
    models,
    record::decoded,
};

const RESPONSES: &str = "/backend-api/codex/responses";

/// The largest body on the wire.
const MOST: usize = 64 << 20;

/// A request that has been written down.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) number: u64,
    /// Without compression.
    pub(super) body: Bytes,
}

pub(super) fn router(simulator: &Simulator) -> Router {
    Router::new()
        .route(RESPONSES, post(responses).get(upgrade))
        .route("/backend-api/codex/responses/compact", post(compact))
        .route("/backend-api/codex/images/generations", post(generate))
        .route("/backend-api/codex/images/edits", post(edit))
        .route("/backend-api/codex/models", get(model_list))
        .route("/backend-api/wham/usage", get(usage))
        .route("/backend-api/wham/rate-limit-reset-credits", get(resets))
        .route("/backend-api/wham/rate-limit-reset-credits/consume", post(redeem))
        .route("/backend-api/wham/accounts/check", get(workspaces))
        .route("/oauth/authorize", get(authorize))
        .route("/oauth/token", post(token))
        .route("/oauth/revoke", post(revoke))
        .route("/api/accounts/deviceauth/usercode", post(device_start))
        .route("/api/accounts/deviceauth/token", post(device_poll))
        .route("/codex/device", get(device_page))
        .fallback(async || Answer::detail(404, "Not Found"))
        .method_not_allowed_fallback(async || Answer::detail(405, "Method Not Allowed"))
        .layer(middleware::from_fn_with_state(simulator.clone(), attend))
        .with_state(simulator.clone())
        .merge(control::router(simulator))
}

/// Writes a request down before it is looked at, and its status afterwards.
async fn attend(State(simulator): State<Simulator>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(raw) = body::to_bytes(body, MOST).await else {
        return Answer::detail(413, "Request body is too large").into_response();
    };
    let plain = decoded(&parts.headers, raw.clone());
    let line = (&parts.method, &parts.uri);
    let number = simulator.record(line, &parts.headers, plain.as_ref().unwrap_or(&raw));
    let counted = parts.method == Method::POST && parts.uri.path() == RESPONSES;
    let mut response = match plain {
        Some(body) => {
            parts.extensions.insert(Seen { number, body });
            next.run(Request::from_parts(parts, Body::empty())).await
        }
        None => Answer::detail(400, "Unsupported content encoding").into_response(),
    };
    simulator.answered(number, response.status().as_u16(), counted);
    let mint = simulator.mint();
    let headers = [
        ("x-request-id", mint.uuid()),
        ("x-oai-request-id", mint.id("req_")),
        ("cf-ray", format!("{}-SIM", mint.hex(16))),
        ("cf-cache-status", "DYNAMIC".to_owned()),
        ("server", "cloudflare".to_owned()),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value));
    set_headers(&mut response, headers.into());
    response
}

async fn responses(
    State(simulator): State<Simulator>,
    Extension(seen): Extension<Seen>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    simulator.infer(&headers, &seen).await
}

async fn compact(
    State(simulator): State<Simulator>,
    Extension(seen): Extension<Seen>,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    simulator.compact(&headers, &seen)
}

async fn generate(
    State(simulator): State<Simulator>,
    Extension(seen): Extension<Seen>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    simulator.images(Kind::Generation, &headers, &seen).await
}

async fn edit(
    State(simulator): State<Simulator>,
    Extension(seen): Extension<Seen>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    simulator.images(Kind::Edit, &headers, &seen).await
}

/// No WebSocket here: clients then stay with HTTP.
async fn upgrade() -> Answer {
    Answer::empty(426)
}

async fn model_list(
    State(simulator): State<Simulator>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Answer, Answer> {
    let world = simulator.world();
    simulator.admit(&headers, &world)?;
    let query = pairs(uri.query().unwrap_or_default());
    let version = Some(value(&query, "client_version")).filter(|version| !version.is_empty());
    Ok(models::list_for(version, &world))
}

async fn usage(State(simulator): State<Simulator>, headers: HeaderMap) -> Result<Answer, Answer> {
    let world = simulator.world();
    let account = simulator.admit(&headers, &world)?;
    Ok(simulator.meter(&account, &world).usage_route())
}

async fn resets(State(simulator): State<Simulator>, headers: HeaderMap) -> Result<Answer, Answer> {
    simulator.resets(&headers)
}

async fn redeem(
    State(simulator): State<Simulator>,
    Extension(seen): Extension<Seen>,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    simulator.redeem(&headers, &seen.body)
}

async fn workspaces(
    State(simulator): State<Simulator>,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    simulator.workspaces(&headers)
}

async fn authorize(State(simulator): State<Simulator>, uri: Uri) -> Answer {
    simulator.authorize(&uri)
}

async fn token(
    State(simulator): State<Simulator>,
    Extension(seen): Extension<Seen>,
    headers: HeaderMap,
) -> Answer {
    let delay = simulator.world().token_delay;
    let answer = simulator.token(&headers, &seen.body);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    while simulator.world().token_hold {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answer
}

async fn revoke(
    State(simulator): State<Simulator>,
    Extension(seen): Extension<Seen>,
    headers: HeaderMap,
) -> Answer {
    simulator.revoke(&headers, &seen.body)
}

async fn device_start(
    State(simulator): State<Simulator>,
    Extension(seen): Extension<Seen>,
    headers: HeaderMap,
) -> Answer {
    simulator.device_start(&headers, &seen.body)
}

async fn device_poll(
    State(simulator): State<Simulator>,
    Extension(seen): Extension<Seen>,
    headers: HeaderMap,
) -> Answer {
    simulator.device_poll(&headers, &seen.body)
}

async fn device_page(State(simulator): State<Simulator>, uri: Uri) -> Answer {
    simulator.device_page(&uri)
}
