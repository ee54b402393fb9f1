//! `GET /v1/relay/requests/{id}/explain`: why a request went where it went, and what it took.

use std::time::Duration;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use serde::Serialize;

use super::{Admin, json};
use crate::{
    api::error::ApiError,
    relay::{
        story::{Attempted, Chosen, Tokens, Told},
        view::second,
    },
    slot::pool::Look,
};

#[derive(Serialize)]
struct Explanation {
    object: &'static str,
    id: String,
    began_at: Option<String>,
    model: String,
    /// Where the dialogue belongs, as the upstream is told.
    session: String,
    choices: Vec<Choice>,
    attempts: Vec<Attempt>,
    /// What was changed in the body for the slot that served.
    changes: Changes,
    cache: Option<Cache>,
    timing: Timing,
    outcome: Option<String>,
}

#[derive(Serialize)]
struct Choice {
    candidates: Vec<Candidate>,
    chosen: Option<String>,
    because: Option<&'static str>,
}

#[derive(Serialize)]
struct Candidate {
    slot: String,
    state: &'static str,
    reason: String,
    until: Option<String>,
}

#[derive(Serialize)]
struct Attempt {
    slot: String,
    sent_after_ms: f64,
    connect_ms: f64,
    headers_ms: Option<f64>,
    first_output_ms: Option<f64>,
    failure: Option<String>,
}

#[derive(Serialize)]
struct Changes {
    parameters_left_out: Vec<String>,
    moved_from: Option<String>,
    reasoning_left_out: bool,
}

#[derive(Serialize)]
struct Cache {
    input_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
    hit_percent: f64,
}

/// The time to the first token in its parts, of the last attempt: making a connection, if that was
/// needed, is part of the time to the headers.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the unit is part of each name")]
struct Timing {
    queue_ms: f64,
    connect_ms: Option<f64>,
    headers_ms: Option<f64>,
    upstream_ms: Option<f64>,
    first_token_ms: Option<f64>,
    total_ms: Option<f64>,
}

pub async fn explain(
    State(admin): State<Admin>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::not_found())?;
    let told = admin.relay.stories.find(&id).ok_or_else(|| ApiError::unknown_request(&id))?;
    json(&Explanation::of(told))
}

impl Explanation {
    fn of(told: Told) -> Self {
        let last = told.attempts.last();
        let first_token =
            last.and_then(|attempt| Some(attempt.sent + attempt.headers? + attempt.first_output?));
        Self {
            object: "relay.request.explanation",
            began_at: told.began_at().map(second),
            timing: Timing {
                queue_ms: millis(told.waited),
                connect_ms: last.map(|attempt| millis(attempt.connect)),
                headers_ms: last.and_then(|attempt| attempt.headers).map(millis),
                upstream_ms: last.and_then(|attempt| attempt.first_output).map(millis),
                first_token_ms: first_token.map(millis),
                total_ms: told.ended.as_ref().map(|(time, _)| millis(*time)),
            },
            id: told.id,
            model: told.model,
            session: told.session,
            choices: told.choices.into_iter().map(choice).collect(),
            attempts: told.attempts.into_iter().map(attempt).collect(),
            changes: Changes {
                parameters_left_out: told.left_out,
                moved_from: told.moved_from.map(|id| id.to_string()),
                reasoning_left_out: told.dropped_reasoning,
            },
            cache: told.usage.map(cache),
            outcome: told.ended.map(|(_, how)| how),
        }
    }
}

fn choice(Chosen { looks, slot }: Chosen) -> Choice {
    let candidate = |look: Look| Candidate {
        slot: look.id.to_string(),
        state: look.verdict.key(),
        reason: look.verdict.sentence(),
        until: look.verdict.until().map(second),
    };
    Choice {
        candidates: looks.into_iter().map(candidate).collect(),
        because: slot.as_ref().map(|(_, reason)| reason.as_str()),
        chosen: slot.map(|(id, _)| id.to_string()),
    }
}

fn attempt(attempted: Attempted) -> Attempt {
    let Attempted { slot, sent, connect, headers, first_output, failure } = attempted;
    Attempt {
        slot: slot.to_string(),
        sent_after_ms: millis(sent),
        connect_ms: millis(connect),
        headers_ms: headers.map(millis),
        first_output_ms: first_output.map(millis),
        failure,
    }
}

fn cache(Tokens { input, cached, output }: Tokens) -> Cache {
    let part = |tokens: u64| f64::from(u32::try_from(tokens).unwrap_or(u32::MAX));
    let hit = if input == 0 { 0.0 } else { 100.0 * part(cached) / part(input) };
    Cache {
        input_tokens: input,
        cached_tokens: cached,
        output_tokens: output,
        hit_percent: (hit * 10.0).round() / 10.0,
    }
}

/// To the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
