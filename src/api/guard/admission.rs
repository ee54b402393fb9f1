//! Lets in who shows the relay token, and not too often or too much at once.
//!
//! The token is looked at first: a valid one is never locked out, whatever a neighbour at the same
//! address does. A permit lives exactly as long as the body of the answer.
//!
//! Open mode asks nobody for the token who only wants answers. Steering the relay from another machine
//! takes one all the same, and so does spending what the owner has once only.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    address,
    api::{
        body::Keeping,
        error::ApiError,
        exchange::{Admitted, Exchange},
        guard::turned::Turned,
    },
    clock::Clock,
    limit::{Client, Limits, Refused, Who},
    redact::Redactor,
    relay_token::{self, RelayToken},
    traffic::Phase,
};

/// The route that spends a usage reset.
pub const REDEEM: &str = "/v1/relay/accounts/resets/redeem";
/// Under which the redactor knows the relay token.
const SOURCE: &str = "relay token";

#[derive(Clone, Debug)]
pub struct Admission {
    pub token: RelayToken,
    /// Nobody is asked for a token who does not steer or spend.
    pub is_open: bool,
    pub limits: Limits,
    pub clock: Clock,
    /// Is told of the token, so that the log never shows it.
    pub redactor: Redactor,
    /// Those who are blocked already.
    pub turned: Turned,
}

pub async fn guard(
    State(admission): State<Admission>,
    exchange: Exchange,
    request: Request,
    next: Next,
) -> Response {
    let client = Client::from(exchange.client);
    let may_be_anybody = admission.is_open && !needs_token(&exchange, request.uri().path());
    let who = match admission.identify(client, request.headers(), may_be_anybody) {
        Ok(who) => who,
        Err(turned) => {
            if turned.was_blocked {
                admission.turned.away(&exchange, 429, "auth_block_active").await;
            } else {
                log_failure(&exchange, &turned).await;
            }
            return turned.error.into_response();
        }
    };
    match admission.limits.admit(client, who, admission.clock.instant()) {
        Ok(permit) => {
            if let Some(admitted) = request.extensions().get::<Admitted>() {
                admitted.set(true);
            }
            next.run(request).await.map(|body| Body::new(Keeping::new(body, permit)))
        }
        Err(refused) => {
            log_refusal(&exchange, refused).await;
            ApiError::from(refused).into_response()
        }
    }
}

/// Somebody without a valid token.
struct Stranger {
    error: ApiError,
    /// How long the client is blocked from now on.
    block: Option<Duration>,
    /// Whether that was so before, so that the token was not counted.
    was_blocked: bool,
    fingerprint: Option<String>,
}

impl Admission {
    fn identify(
        &self,
        client: Client,
        headers: &HeaderMap,
        may_be_anybody: bool,
    ) -> Result<Who, Box<Stranger>> {
        if may_be_anybody {
            return Ok(Who::Anonymous);
        }
        let given = bearer(headers);
        let current = self.token.current().map_err(|error| {
            let error = ApiError::broken(&error);
            Box::new(Stranger { error, block: None, was_blocked: false, fingerprint: None })
        })?;
        if let Some(current) = &current {
            self.redactor.know(SOURCE, current);
        }
        match (current, given) {
            (Some(current), Some(given)) if current.matches(given) => return Ok(Who::Owner),
            _ => {}
        }
        let now = self.clock.instant();
        let fingerprint = given.map(relay_token::fingerprint_of);
        let block = self.limits.blocked(client, now);
        let was_blocked = block.is_some();
        let error = block.map_or_else(ApiError::missing_token, ApiError::blocked);
        let block = block.or_else(|| self.limits.failed(client, now).blocked_for);
        Err(Box::new(Stranger { error, block, was_blocked, fingerprint }))
    }
}

/// What takes a token even in open mode.
fn needs_token(exchange: &Exchange, path: &str) -> bool {
    path == REDEEM || exchange.is_about_the_relay() && !address::is_loopback(exchange.client)
}

/// The credential of `Authorization: Bearer …`, whatever bytes it is made of.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

async fn log_failure(exchange: &Exchange, turned: &Stranger) {
    let record = exchange
        .described(Phase::EndpointAuthFailed)
        .headers("headers", &exchange.headers)
        .flag("blocked", turned.block.is_some());
    let record = match &turned.fingerprint {
        Some(fingerprint) => record.text("token_fingerprint", fingerprint.clone()),
        None => record.null("token_fingerprint"),
    };
    let record = match turned.block {
        Some(block) => record.number("block_seconds", seconds(block)),
        None => record.null("block_seconds"),
    };
    exchange.traffic.record(record).await;
}

async fn log_refusal(exchange: &Exchange, refused: Refused) {
    let (reason, wait) = match refused {
        Refused::TooMany { retry_after } => ("concurrency_limit", retry_after),
        Refused::TooFast { retry_after } => ("request_rate_limit", retry_after),
    };
    let record = exchange
        .described(Phase::EndpointRejected)
        .text("reason", reason)
        .number("status_code", 429)
        .number("retry_after_seconds", seconds(wait).max(1));
    exchange.traffic.record(record).await;
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
