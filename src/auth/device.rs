//! The device flow: a code to type on another device, and asking until that is done.
//!
//! It is the issuer's own and no standard: the answer is an authorization code together with the
//! verifier for it, which is then exchanged like any other.
//!
//! Not here: the exchange itself (`exchange`), saving (`sign_in`).

use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    exchange::Grant,
    issuer::{Answer, Content, Unanswered},
    sign_in::{Completed, Denial, Progress, SignIn, SignInError, Tell},
};
use crate::{object::Object, secret::Secret};

const START: &str = "/api/accounts/deviceauth/usercode";
const POLL: &str = "/api/accounts/deviceauth/token";
const PAGE: &str = "/codex/device";
const REDIRECT: &str = "/deviceauth/callback";

/// The issuer gives up after this, and so do we.
const LONGEST: Duration = Duration::from_mins(15);
const USUAL_INTERVAL: Duration = Duration::from_secs(5);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);
/// How long the owner sees nothing new.
const SILENCE: Duration = Duration::from_secs(15);
/// Polls in a row that may go unanswered; a network comes and goes.
const MOST_UNANSWERED: u32 = 5;

#[derive(Serialize)]
struct Starting<'a> {
    client_id: &'a str,
}

#[derive(Serialize)]
struct Asking<'a> {
    device_auth_id: &'a str,
    user_code: &'a str,
}

/// A login that waits for its code to be typed.
#[derive(Debug)]
struct Started {
    id: Secret,
    user_code: String,
    interval: Duration,
    /// When the code ends, counted from its beginning.
    within: Duration,
}

/// What the owner's approval brings.
#[derive(Debug)]
struct Approved {
    code: Secret,
    verifier: Secret,
}

/// Signs in with a code that the owner types on any device, within `within` and what the issuer
/// allows.
///
/// # Errors
///
/// When the issuer does not do this, the code is not typed in time, or what comes of it is of no
/// use.
pub async fn sign_in(
    with: &SignIn,
    within: Duration,
    tell: Tell<'_>,
) -> Result<Completed, SignInError> {
    with.prepare().await?;
    let begun = with.clock.instant();
    let started = with.unless_stopped(start(with, within)).await??;
    let address = format!("{}{PAGE}", with.issuer.base());
    let Started { user_code: code, within, .. } = &started;
    tell(Progress::Type { code, address: &address, within: *within });
    let Approved { code, verifier } =
        with.unless_stopped(approval(with, &started, begun, tell)).await??;
    tell(Progress::Exchanging);
    let redirect_uri = format!("{}{REDIRECT}", with.issuer.base());
    let grant = Grant { code: &code, verifier: &verifier, redirect_uri: &redirect_uri };
    with.complete(&grant).await
}

async fn start(with: &SignIn, within: Duration) -> Result<Started, SignInError> {
    let starting = Starting { client_id: with.issuer.client_id() };
    let answer = with.issuer.post(START, Content::Json(serde_json::to_vec(&starting))).await;
    let answer = answer.map_err(unanswered)?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(SignInError::DeviceDisabled),
        status => return Err(refused(status)),
    }
    let object = answer.object().ok_or_else(unreadable)?;
    let id = object.filled("device_auth_id").map(Secret::new).ok_or_else(unreadable)?;
    let user_code = object.filled("user_code").or_else(|| object.filled("usercode"));
    let user_code = user_code.filter(|code| is_typable(code)).ok_or_else(unreadable)?;
    let ends_in = ends_in(&object, with.clock.now()).unwrap_or(LONGEST);
    Ok(Started {
        id,
        user_code,
        interval: interval(&object),
        within: within.min(LONGEST).min(ends_in),
    })
}

fn is_typable(code: &str) -> bool {
    code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A number, in quotes or not.
fn interval(answer: &Object<'_>) -> Duration {
    let seconds = answer.integer("interval").and_then(|seconds| u64::try_from(seconds).ok());
    let interval = seconds.map_or(USUAL_INTERVAL, Duration::from_secs);
    interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

/// What the issuer says about the end of the code. A moment that is past by our clock tells more
/// about the clock than about the code.
fn ends_in(answer: &Object<'_>, now: Timestamp) -> Option<Duration> {
    let seconds = answer.integer("expires_in").or_else(|| {
        let at = answer.integer("expires_at").and_then(|at| Timestamp::from_second(at).ok());
        let at = at.or_else(|| answer.text("expires_at")?.parse().ok())?;
        Some(at.duration_since(now).as_secs())
    });
    seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

/// Asks until the code was typed.
async fn approval(
    with: &SignIn,
    started: &Started,
    begun: Instant,
    tell: Tell<'_>,
) -> Result<Approved, SignInError> {
    let mut spoken = begun;
    let mut unanswered_polls = 0;
    loop {
        let left = started.within.saturating_sub(with.clock.instant() - begun);
        tokio::time::sleep(started.interval.min(left)).await;
        let now = with.clock.instant();
        if now - begun >= started.within {
            return Err(SignInError::DeviceTimedOut(started.within));
        }
        match poll(with, started).await {
            Ok(Some(approved)) => return Ok(approved),
            Ok(None) => unanswered_polls = 0,
            Err(Polled::Unanswered(error)) => {
                unanswered_polls += 1;
                if unanswered_polls == MOST_UNANSWERED {
                    return Err(unanswered(error));
                }
            }
            Err(Polled::Ended(error)) => return Err(error),
        }
        let now = with.clock.instant();
        if now - spoken >= SILENCE {
            spoken = now;
            tell(Progress::Waiting { left: started.within.saturating_sub(now - begun) });
        }
    }
}

/// Why a poll brought nothing.
enum Polled {
    Unanswered(Unanswered),
    Ended(SignInError),
}

/// `None` as long as nothing was typed.
async fn poll(with: &SignIn, started: &Started) -> Result<Option<Approved>, Polled> {
    let asking = Asking { device_auth_id: started.id.expose(), user_code: &started.user_code };
    let answer = with.issuer.post(POLL, Content::Json(serde_json::to_vec(&asking))).await;
    let answer = answer.map_err(Polled::Unanswered)?;
    match answer.status {
        StatusCode::OK => read_approval(&answer).map(Some).map_err(Polled::Ended),
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(None),
        status => Err(Polled::Ended(match answer.code().as_deref() {
            Some("access_denied") => SignInError::Denied(Denial::new("access_denied", "")),
            Some("expired_token") => {
                SignInError::Device { why: "the code has expired".to_owned(), source: None }
            }
            Some(_) | None => refused(status),
        })),
    }
}

fn read_approval(answer: &Answer) -> Result<Approved, SignInError> {
    let object = answer.object().ok_or_else(unreadable)?;
    let field = |name| object.filled(name).map(Secret::new).ok_or_else(unreadable);
    Ok(Approved { code: field("authorization_code")?, verifier: field("code_verifier")? })
}

fn unanswered(Unanswered { outage, source }: Unanswered) -> SignInError {
    SignInError::Device { why: outage.to_string(), source }
}

fn refused(status: StatusCode) -> SignInError {
    let why = format!("the sign-in server answered {}", status.as_u16());
    SignInError::Device { why, source: None }
}

fn unreadable() -> SignInError {
    let why = "the sign-in server answered something unreadable".to_owned();
    SignInError::Device { why, source: None }
}

#[cfg(test)]
mod tests;
