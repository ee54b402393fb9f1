//! Why one attempt at the upstream failed, by whose fault.
//!
//! A failure decides what happens next: another account, another try, or an answer to the client.
//! Everything the upstream says about it is read here, once, from status, headers and body, and
//! nowhere else. A limit is looked for first, because it can come with any status.
//!
//! **Invariant:** statuses and error codes of the upstream are read here and nowhere else.
//! **Invariant:** no message holds HTML, a token, or the text of its source.
//!
//! Not here: how long an account rests (`slot`), what the client is told (`api::error`).

mod fields;

use std::{error::Error, fmt, sync::Arc, time::Duration};

pub use fields::ErrorFields;
use fields::{is_page, message, name_of};
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

use super::usage;
use crate::{
    object::Object,
    slot::window::{Limits, MAIN},
    transport::{BoxError, SendError},
};

/// An error that is kept for the log.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why one attempt failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    // The account's fault: another may do.
    #[error("the upstream does not accept this account's token")]
    Unauthorized { code: Option<String> },
    #[error("the upstream does not accept this account's workspace")]
    Workspace { code: Option<String> },
    #[error("this account's usage limit is reached")]
    UsageLimit(Box<UsageLimit>),
    #[error("this account's plan does not include Codex")]
    NotIncluded { plan_type: Option<String> },
    #[error("this account makes no images")]
    NoImages,

    // The request's fault: it is the same everywhere.
    #[error("the upstream refuses the request: {}", .0.message)]
    Request(Box<Refusal>),
    #[error("the upstream has no such model for this account: {}", .0.message)]
    ModelNotFound(Box<Refusal>),

    // The service's fault: it may pass.
    #[error("the upstream is overloaded")]
    Overloaded { retry_after: Option<Duration> },
    #[error("the model is at capacity")]
    Capacity { retry_after: Option<Duration> },
    #[error("the upstream asks to be asked less often")]
    RateLimited { retry_after: Option<Duration> },
    /// A page that wants a browser, or says that this network is blocked.
    #[error("the upstream's network edge turned the request away with status {status}")]
    Challenge { status: u16, cf_ray: Option<String> },
    #[error("the upstream failed{}", Reason(.0))]
    Service(Box<Fault>),

    // The network's fault.
    /// Nothing was sent.
    #[error("the upstream could not be reached")]
    Connect(#[source] Cause),
    #[error("{0}")]
    Timeout(Deadline),
    /// What was sent may have arrived.
    #[error("the connection to the upstream broke")]
    Cut(#[source] Cause),
    /// No answer needs so much.
    #[error("the upstream sent more than {limit} bytes of {what}")]
    TooLarge { what: &'static str, limit: usize },
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Account,
    Request,
    Service,
    Network,
}

/// An account that has used up what it may.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageLimit {
    pub resets_at: Option<Timestamp>,
    pub plan_type: Option<String>,
    /// Which limit, if it is said: `rate_limit_reached`, `workspace_owner_credits_depleted`, ..
    pub reached: Option<String>,
    pub message: Option<String>,
    /// What is left, as far as the answer said.
    pub limits: Limits,
}

/// A request that the upstream does not take, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub message: String,
    pub kind: Option<String>,
    pub param: Option<String>,
    pub code: Option<String>,
}

/// A failure that the upstream does not explain further.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// `None` when it came inside a stream.
    pub status: Option<u16>,
    /// Its code; inside a stream its type, where it has none.
    pub code: Option<String>,
    pub message: Option<String>,
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// Whether the service says that it broke down, so that another try may fare better. What fails
    /// inside a stream without saying so had been taken, and may have been paid for.
    pub fn may_pass(&self) -> bool {
        match self.status {
            Some(status) => status >= 500,
            None => self.code.as_deref().is_some_and(|code| BROKEN.contains(&code)),
        }
    }

    /// Whether there is nothing at the address, and not a word about it.
    fn is_no_route(&self) -> bool {
        self.status == Some(404) && self.code.is_none() && self.message.is_none()
    }
}

impl UsageLimit {
    /// The limit that is reached, if it is one that is counted apart from the account's own.
    pub fn apart(&self) -> Option<&str> {
        let is_own = self.limits.families.iter().any(|family| family.id == MAIN);
        self.limits.active.as_deref().filter(|active| *active != MAIN && !is_own)
    }

    /// The limit that is reached, if it is that of some models only: the account's own has room.
    pub fn narrower(&self) -> Option<&str> {
        let active = self.limits.active.as_deref().filter(|active| *active != MAIN)?;
        let is_whole = |reached: &String| reached.starts_with("workspace_");
        let own = self.limits.families.iter().find(|family| family.id == MAIN)?;
        let has_room = own.windows.iter().all(|window| !window.is_used_up());
        (has_room && !self.reached.as_ref().is_some_and(is_whole)).then_some(active)
    }
}

/// What was waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    Connect,
    Headers,
    /// The first event of an answer that has its headers.
    FirstEvent,
    /// Another event of an answer that has begun.
    Silence,
    /// The whole answer, where a limit for that is set.
    Total,
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the upstream could not be reached in time",
            Self::Headers => "the upstream did not answer in time",
            Self::FirstEvent => "the upstream's answer did not begin in time",
            Self::Silence => "the upstream stopped sending",
            Self::Total => "the answer took longer than it may",
        })
    }
}

/// The second half of the sentence about a [`Fault`].
struct Reason<'a>(&'a Fault);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { status, message, .. } = self.0;
        if let Some(status) = status {
            write!(f, " with status {status}")?;
        }
        message.iter().try_for_each(|message| write!(f, ": {message}"))
    }
}

impl Failure {
    /// Of a request that got no answer.
    pub fn of_sending(error: BoxError) -> Self {
        match error.downcast::<SendError>() {
            Ok(error) => match *error {
                SendError::Connect(source) => Self::Connect(source.into()),
                SendError::ConnectTimeout(_) => Self::Timeout(Deadline::Connect),
                SendError::Lost(source) => Self::Cut(source.into()),
            },
            Err(error) => Self::Cut(error.into()),
        }
    }

    /// What failed, without a word of the upstream's: its sentences may quote the request.
    pub fn brief(&self) -> String {
        /// Codes are shorter.
        const CODE_CHARS: usize = 64;
        let coded = |code: &Option<String>| {
            let is_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            let code = code.as_deref().filter(|code| code.chars().all(is_code));
            let code = code.filter(|code| code.len() <= CODE_CHARS);
            code.map_or_else(String::new, |code| format!(" ({code})"))
        };
        match self {
            Self::Request(refusal) => {
                let Refusal { status, code, .. } = &**refusal;
                format!("the upstream refuses the request with status {status}{}", coded(code))
            }
            Self::ModelNotFound(_) => "the upstream has no such model for this account".to_owned(),
            Self::Service(fault) => {
                let bare = Fault { message: None, ..*fault.clone() };
                format!("the upstream failed{}{}", Reason(&bare), coded(&fault.code))
            }
            Self::Unauthorized { .. }
            | Self::Workspace { .. }
            | Self::UsageLimit(_)
            | Self::NotIncluded { .. }
            | Self::NoImages
            | Self::Overloaded { .. }
            | Self::Capacity { .. }
            | Self::RateLimited { .. }
            | Self::Challenge { .. }
            | Self::Connect(_)
            | Self::Timeout(_)
            | Self::Cut(_)
            | Self::TooLarge { .. } => self.to_string(),
        }
    }

    /// The same of a route for pictures: an account that makes none has no such route, and what is
    /// left is that of pictures.
    #[must_use]
    pub fn of_images(self) -> Self {
        match &self {
            Self::Service(fault) if fault.is_no_route() => Self::NoImages,
            Self::UsageLimit(limit) => {
                let limits = usage::as_images(limit.limits.clone());
                Self::UsageLimit(Box::new(UsageLimit { limits, ..*limit.clone() }))
            }
            Self::Unauthorized { .. }
            | Self::Workspace { .. }
            | Self::NotIncluded { .. }
            | Self::NoImages
            | Self::Request(_)
            | Self::ModelNotFound(_)
            | Self::Overloaded { .. }
            | Self::Capacity { .. }
            | Self::RateLimited { .. }
            | Self::Challenge { .. }
            | Self::Service(_)
            | Self::Connect(_)
            | Self::Timeout(_)
            | Self::Cut(_)
            | Self::TooLarge { .. } => self,
        }
    }

    /// The same, knowing what the head of the answer said is left.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        if let Self::UsageLimit(limit) = &self
            && limit.limits == Limits::default()
        {
            return Self::UsageLimit(Box::new(UsageLimit { limits, ..*limit.clone() }));
        }
        self
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::Unauthorized { .. }
            | Self::Workspace { .. }
            | Self::UsageLimit(_)
            | Self::NotIncluded { .. }
            | Self::NoImages => Blame::Account,
            Self::Request(_) | Self::ModelNotFound(_) => Blame::Request,
            Self::Overloaded { .. }
            | Self::Capacity { .. }
            | Self::RateLimited { .. }
            | Self::Challenge { .. }
            | Self::TooLarge { .. }
            | Self::Service(_) => Blame::Service,
            Self::Connect(_) | Self::Timeout(_) | Self::Cut(_) => Blame::Network,
        }
    }

    /// The one parameter that the upstream does not know, when that is what it refuses.
    ///
    /// It names the first only: `{"detail":"Unsupported parameter: NAME"}`.
    pub fn unsupported_parameter(&self) -> Option<&str> {
        let Self::Request(refusal) = self else { return None };
        let named = refusal.message.strip_prefix("Unsupported parameter: ")?;
        Some(named.trim().trim_matches(['\'', '`', '"', '.']))
    }

    /// Whether the upstream does not know input items of the type `kind`.
    pub fn refuses_item(&self, kind: &str) -> bool {
        let Self::Request(refusal) = self else { return false };
        let is_input = refusal.param.as_deref().is_none_or(|param| param.starts_with("input"));
        is_input && refusal.message.contains(kind)
    }

    /// The least `max_output_tokens` that the upstream takes, when that is what it refuses.
    ///
    /// `integer_below_min_value`: "… Expected a value >= 16, but got 1 instead."
    pub fn least_output(&self) -> Option<u64> {
        let Self::Request(refusal) = self else { return None };
        let is_about = |given: &Option<String>, name| given.as_deref() == Some(name);
        if !is_about(&refusal.param, "max_output_tokens")
            || !is_about(&refusal.code, "integer_below_min_value")
        {
            return None;
        }
        let (_, least) = refusal.message.split_once(">= ")?;
        least.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// The least effort that a model has, when it is an effort that the upstream refuses.
    ///
    /// `unsupported_value`: "… Supported values are: 'low', 'medium', and 'high'."
    pub fn least_effort(&self) -> Option<&str> {
        let Self::Request(refusal) = self else { return None };
        let is_about = |given: &Option<String>, name| given.as_deref() == Some(name);
        if !is_about(&refusal.param, "reasoning.effort")
            || !is_about(&refusal.code, "unsupported_value")
        {
            return None;
        }
        let (_, supported) = refusal.message.split_once("Supported values are: ")?;
        supported.split('\'').nth(1)
    }

    /// How long the upstream asks to wait, or until its limit resets.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::UsageLimit(limit) => limit.resets_at.map(|at| until(at, now)),
            Self::Overloaded { retry_after }
            | Self::Capacity { retry_after }
            | Self::RateLimited { retry_after } => *retry_after,
            Self::Service(fault) => fault.retry_after,
            Self::Unauthorized { .. }
            | Self::Workspace { .. }
            | Self::NotIncluded { .. }
            | Self::NoImages
            | Self::Request(_)
            | Self::ModelNotFound(_)
            | Self::Challenge { .. }
            | Self::Connect(_)
            | Self::Timeout(_)
            | Self::TooLarge { .. }
            | Self::Cut(_) => None,
        }
    }
}

/// What an answer that is no success means.
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Failure {
    if let Some(failure) = edge(status, headers, body) {
        return failure;
    }
    let mut fields = ErrorFields::of_answer(headers, body);
    if fields == ErrorFields::default() {
        fields.message = str::from_utf8(body).ok().and_then(message);
    }
    let said = Said {
        status: Some(status),
        wait: wait_in(headers, now).or_else(|| fields.advised_wait()),
        limits: usage::of_headers(headers, now),
        fields,
        now,
    };
    match status {
        StatusCode::UNAUTHORIZED => Failure::Unauthorized { code: said.fields.code },
        _ => said.by_name().unwrap_or_else(|| said.by_status(status)),
    }
}

/// What an error inside a stream means.
pub fn classify_event(fields: ErrorFields, now: Timestamp) -> Failure {
    let wait = fields.advised_wait();
    let said = Said { status: None, wait, limits: Limits::default(), fields, now };
    said.by_name().unwrap_or_else(|| said.by_kind())
}

/// Everything that is known about an error.
#[derive(Debug)]
struct Said {
    status: Option<StatusCode>,
    wait: Option<Duration>,
    limits: Limits,
    fields: ErrorFields,
    now: Timestamp,
}

const LIMITS: &[&str] = &[
    "usage_limit_reached",
    "insufficient_quota",
    "rate_limit_reached",
    "workspace_owner_credits_depleted",
    "workspace_member_credits_depleted",
    "workspace_owner_usage_limit_reached",
    "workspace_member_usage_limit_reached",
];
const TOO_OFTEN: &[&str] = &["rate_limit_exceeded", "rate_limit_error", "connector_rate_limit"];
const OVERLOADED: &[&str] = &["server_is_overloaded", "slow_down"];
const BROKEN: &[&str] = &[
    "internal_error",
    "internal_server_error",
    "server_error",
    "service_unavailable",
    "service_unavailable_error",
];
const WORKSPACE: &[&str] = &["deactivated_workspace", "invalid_workspace_selected"];
const TOKEN: &[&str] =
    &["token_expired", "token_invalidated", "token_revoked", "account_deactivated"];
const REQUEST: &[&str] = &[
    "bio_policy",
    "context_length_exceeded",
    "cyber_policy",
    "invalid_encrypted_content",
    "invalid_prompt",
    "invalid_request_error",
    "invalid_union",
    "invalid_value",
    "missing_required_parameter",
    "previous_response_not_found",
    "string_above_max_length",
    "unknown_parameter",
    "unsupported_parameter",
    "unsupported_value",
];
/// In lower case, as sentences without a code say it.
const NO_MODEL: &[&str] = &[
    "model not found",
    "model is not supported when using codex",
    "model requires a newer version of codex",
];
const FULL: &[&str] = &["model is at capacity"];

impl Said {
    /// What names decide on their own, wherever they come.
    fn by_name(&self) -> Option<Failure> {
        let is_any = |names| self.fields.is_any(names);
        let retry_after = self.wait;
        if is_any(&["usage_not_included"]) {
            Some(Failure::NotIncluded { plan_type: self.plan_type() })
        } else if is_any(LIMITS) {
            Some(self.usage_limit())
        } else if self.fields.says_any(FULL) {
            Some(Failure::Capacity { retry_after })
        } else if is_any(OVERLOADED) {
            Some(Failure::Overloaded { retry_after })
        } else if is_any(TOO_OFTEN) {
            Some(Failure::RateLimited { retry_after })
        } else if is_any(WORKSPACE) {
            Some(Failure::Workspace { code: self.code() })
        } else if self.names_no_model() {
            Some(Failure::ModelNotFound(Box::new(self.refusal())))
        } else {
            None
        }
    }

    /// A server that broke down may say so about a model; only a refusal is one.
    fn names_no_model(&self) -> bool {
        self.status.is_none_or(|status| status.is_client_error())
            && (self.fields.is_any(&["model_not_found"]) || self.fields.says_any(NO_MODEL))
    }

    fn by_status(&self, status: StatusCode) -> Failure {
        let says_nothing = self.fields == ErrorFields::default();
        let is_exhausted =
            || self.limits.reached.is_some() || self.limits.exhausted_until().is_some();
        match status {
            StatusCode::PAYMENT_REQUIRED => Failure::Workspace { code: self.code() },
            StatusCode::TOO_MANY_REQUESTS if is_exhausted() => self.usage_limit(),
            StatusCode::TOO_MANY_REQUESTS => Failure::RateLimited { retry_after: self.wait },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::UPGRADE_REQUIRED => {
                self.fault()
            }
            // An edge or a missing route says nothing; a refusal has its reasons.
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND if says_nothing => self.fault(),
            status if status.is_client_error() => Failure::Request(Box::new(self.refusal())),
            _ => self.fault(),
        }
    }

    /// Inside a stream there is no status: whatever is not the client's is the service's.
    fn by_kind(&self) -> Failure {
        if self.fields.is_any(TOKEN) {
            Failure::Unauthorized { code: self.code() }
        } else if self.fields.is_any(REQUEST) || self.fields.param.is_some() {
            Failure::Request(Box::new(self.refusal()))
        } else {
            self.fault()
        }
    }

    fn code(&self) -> Option<String> {
        self.fields.code.clone()
    }

    fn plan_type(&self) -> Option<String> {
        self.fields.plan_type.clone().or_else(|| self.limits.plan_type.clone())
    }

    fn usage_limit(&self) -> Failure {
        let fields = &self.fields;
        let after = |span| self.now.checked_add(span).ok();
        let after_seconds = |seconds| after(SignedDuration::from_secs(seconds));
        let after_wait = |wait| after(SignedDuration::try_from(wait).ok()?);
        let name = || fields.code.as_ref().or(fields.kind.as_ref());
        Failure::UsageLimit(Box::new(UsageLimit {
            resets_at: fields
                .resets_at
                .and_then(|second| Timestamp::from_second(second).ok())
                .or_else(|| fields.resets_in_seconds.and_then(after_seconds))
                .or_else(|| self.limits.exhausted_until())
                .or_else(|| self.wait.and_then(after_wait)),
            plan_type: self.plan_type(),
            reached: self.limits.reached.as_ref().or_else(name).cloned(),
            message: fields.message.clone(),
            limits: self.limits.clone(),
        }))
    }

    fn refusal(&self) -> Refusal {
        let status = self.status.unwrap_or(StatusCode::BAD_REQUEST).as_u16();
        let ErrorFields { code, kind, message, param, .. } = self.fields.clone();
        let message = message.or_else(|| code.clone());
        let message =
            message.unwrap_or_else(|| format!("it answers {status} and does not say why"));
        Refusal { status, message, kind, param, code }
    }

    fn fault(&self) -> Failure {
        let kind = || self.fields.kind.clone().filter(|_| self.status.is_none());
        Failure::Service(Box::new(Fault {
            status: self.status.map(|status| status.as_u16()),
            code: self.code().or_else(kind),
            message: self.fields.message.clone(),
            retry_after: self.wait,
        }))
    }
}

/// Sentences of the pages that the network's edge puts in the way.
const EDGE: &[&str] = &[
    "just a moment",
    "attention required! | cloudflare",
    "you have been blocked",
    "error code: 1010",
    "error code: 1015",
];

/// What an answer means that is a page, or the edge's own text, instead of the upstream's words.
fn edge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Failure> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let challenge = || Failure::Challenge {
        status: status.as_u16(),
        cf_ray: header("cf-ray").and_then(name_of),
    };
    if header("cf-mitigated").is_some_and(|value| value.eq_ignore_ascii_case("challenge")) {
        return Some(challenge());
    }
    if Object::read(body).is_some() {
        return None;
    }
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    let is_html = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    let is_html = is_html || is_page(&text);
    let turns_away = matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
    if EDGE.iter().any(|mark| text.contains(mark)) || (is_html && turns_away) {
        return Some(challenge());
    }
    let status = Some(status.as_u16());
    is_html.then(|| Failure::Service(Box::new(Fault { status, ..Fault::default() })))
}

/// `Retry-After`, in seconds or as a date.
fn wait_in(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(until(date, now))
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests;
