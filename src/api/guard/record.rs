//! Writes down what was asked and what was answered on the protected routes.
//!
//! A request with a body is written down by whoever reads the body, an answer that is streamed by
//! the stream itself when it is over. The rest happens here.

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http::{Method, header::CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::{
    api::{
        admin::stats::Stats,
        body::Keeping,
        error::Cause,
        exchange::{Exchange, Shown},
    },
    clock::Clock,
    traffic::Phase,
};

pub async fn guard(exchange: Exchange, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) {
        exchange.received(Bytes::new()).await;
    }
    let unanswered = Unanswered(Some(exchange.clone()));
    let response = next.run(request).await;
    unanswered.answer();
    // A body that nobody read is not waited for; what was asked is told without it.
    exchange.received(Bytes::new()).await;
    if !exchange.traffic.is_on() || response.body().size_hint().exact().is_none() {
        return response;
    }
    let (parts, body) = response.into_parts();
    // Its length is known, so it is in memory already.
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let record = exchange
        .record(Phase::OutboundResponse)
        .number("status_code", parts.status.as_u16().into());
    let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    // What the owner is told of the accounts themselves is nothing to write down.
    let record = if exchange.is_about_the_relay() && parts.status.is_success() {
        record.number("bytes", length)
    } else if let Some(Shown(shown)) = parts.extensions.get() {
        record.number("bytes", length).body("body", content_type, shown.clone())
    } else {
        record.body("body", content_type, bytes.clone())
    };
    let record = match exchange.story.slot() {
        Some(slot) => record.text("slot_id", slot.to_string()),
        None => record,
    };
    let record = match parts.extensions.get::<Cause>() {
        Some(Cause(cause)) => record.text("cause", cause.to_string()),
        None => record,
    };
    exchange.traffic.record(record).await;
    Response::from_parts(parts, Body::from(bytes))
}

/// Counts what was asked and how it was answered.
pub async fn count(
    State((stats, clock)): State<(Stats, Clock)>,
    exchange: Exchange,
    request: Request,
    next: Next,
) -> Response {
    let began = clock.instant();
    let in_flight = stats.enter();
    let response = next.run(request).await;
    let answered = clock.instant().saturating_duration_since(began);
    stats.count(&exchange, response.status().as_u16(), answered, clock.now());
    // A stream is under way until its body is gone.
    response.map(|body| Body::new(Keeping::new(body, in_flight)))
}

/// Says so when a client goes away before it is answered.
struct Unanswered(Option<Exchange>);

impl Unanswered {
    fn answer(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            let record = exchange.record(Phase::OutboundResponse).null("status_code");
            exchange.traffic.hand_over(record.text("outcome", "unanswered"));
        }
    }
}
