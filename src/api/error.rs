//! The one place where a failure becomes a response.
//!
//! Floors below know nothing of the client's HTTP. Each of their errors is mapped here by a match
//! without a `_` arm, so that a new case does not compile until it has a status, a type and a
//! code. A failure in the middle of a stream is told with the same object.
//!
//! The body is `{"error":{"message","type","param","code"},"detail"}`: the first as OpenAI's SDKs
//! read it, the second as clients of the Python program do.

mod callers;

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    api::body::TooSlow,
    auth::LoginError,
    clock::to_second,
    dialogue::TurnError,
    relay::{NoneLeft, Refused},
    roster::RosterError,
    slot::{health::Why, policy::NoPolicy, pool::Look, verdict::Verdict},
    store::{self, UploadError, What},
    traffic::Record,
    transport::chain,
    upstream::failure::{Deadline, Failure, Fault, Refusal, UsageLimit},
    wire::{
        json::shorten,
        reject::{Reject, Status},
        reply::Unreadable,
    },
};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const UPSTREAM_AUTH: HeaderName = HeaderName::from_static("x-airelays-upstream-auth");

/// The classes of errors that SDKs tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "these are the published names")]
pub enum Kind {
    InvalidRequestError,
    AuthenticationError,
    PermissionError,
    RateLimitError,
    ServerError,
    UnsupportedError,
}

/// A failure as the client is told about it.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: Cow<'static, str>,
    kind: Cow<'static, str>,
    param: Option<String>,
    code: Option<Cow<'static, str>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log, which prints the chain once. Never sent.
    cause: Option<Arc<str>>,
}

/// The cause of a failure on its way to the log, in the extensions of the response.
#[derive(Clone, Debug)]
pub struct Cause(pub Arc<str>);

/// In seconds. No window of any plan is as long; what says more is not to be believed.
const LONGEST_WAIT: u64 = 60 * 86_400;

#[derive(Debug, thiserror::Error)]
#[error("it panicked")]
struct Crashed;

impl ApiError {
    pub fn new(status: StatusCode, kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: Cow::Borrowed(kind.name()),
            param: None,
            code: None,
            headers: Vec::new(),
            cause: None,
        }
    }

    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    pub fn param(mut self, param: Option<String>) -> Self {
        self.param = param;
        self
    }

    pub fn caused_by(mut self, cause: &dyn std::error::Error) -> Self {
        self.cause = Some(chain(cause).into());
        self
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Rounded up, and at least a second: a client that waits exactly this long is admitted.
    fn retry_after(self, wait: Option<Duration>) -> Self {
        let Some(wait) = wait else { return self };
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() != 0));
        self.header(RETRY_AFTER, HeaderValue::from(seconds.clamp(1, LONGEST_WAIT)))
    }

    /// SDKs try again by themselves where the status suggests it; this says not to.
    fn final_answer(self) -> Self {
        self.header(SHOULD_RETRY, HeaderValue::from_static("false"))
    }

    // The errors of the surface itself.

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Kind::InvalidRequestError, "Not Found").code("not_found")
    }

    pub fn method_not_allowed(allow: Option<HeaderValue>) -> Self {
        let error = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Kind::InvalidRequestError,
            "Method Not Allowed",
        )
        .code("method_not_allowed");
        match allow {
            Some(allow) => error.header(ALLOW, allow),
            None => error,
        }
    }

    /// For a client that asks for a WebSocket and would rather have it than the stream.
    pub fn no_websocket() -> Self {
        Self::new(
            StatusCode::UPGRADE_REQUIRED,
            Kind::InvalidRequestError,
            "There is no WebSocket here. Send the request with POST.",
        )
        .code("websocket_not_supported")
    }

    pub fn body_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Kind::InvalidRequestError,
            format!("The request body is larger than the configured limit of {limit} bytes."),
        )
        .code("request_too_large")
    }

    pub fn body_unreadable(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<TooSlow>() {
                return Self::body_too_slow();
            }
            cause = error.source();
        }
        Self::new(
            StatusCode::BAD_REQUEST,
            Kind::InvalidRequestError,
            "The request body could not be read.",
        )
        .code("invalid_body")
        .caused_by(error)
    }

    pub fn not_json() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::InvalidRequestError,
            "The request body must be JSON, sent with `Content-Type: application/json`.",
        )
        .code("unsupported_content_type")
    }

    pub fn not_form_or_json() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::InvalidRequestError,
            "The request body must be a form, sent with `Content-Type: multipart/form-data`, or JSON.",
        )
        .code("unsupported_content_type")
    }

    /// A body that is no form although it says so.
    pub fn bad_form(error: &dyn std::error::Error) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Kind::InvalidRequestError,
            "We could not parse the form in the body of your request.",
        )
        .code("invalid_multipart")
        .caused_by(error)
    }

    pub fn unknown_encoding() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::InvalidRequestError,
            "The request body is compressed in an unknown way; gzip, deflate and zstd are known.",
        )
        .code("unsupported_content_encoding")
    }

    pub fn unsupported_route() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            Kind::UnsupportedError,
            "This subscription-backed server does not expose a verified upstream implementation \
             for this route yet.",
        )
        .code("unsupported_route")
        .final_answer()
    }

    pub fn unknown_model(model: &str) -> Self {
        Self::no_model(format!("The model `{model}` does not exist or is not available."))
    }

    fn no_model(message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, Kind::InvalidRequestError, message)
            .param(Some("model".into()))
            .code("model_not_found")
    }

    pub fn unknown_slot(name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Kind::InvalidRequestError,
            format!("There is no slot `{}`.", shorten(name)),
        )
        .code("slot_not_found")
    }

    pub fn unknown_request(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Kind::InvalidRequestError,
            format!("Nothing is remembered of a request `{}`.", shorten(id)),
        )
        .code("request_not_found")
    }

    pub fn unknown_file(id: &str) -> Self {
        Self::no_object("file", id).code("file_not_found")
    }

    pub fn unknown_conversation(id: &str) -> Self {
        Self::no_object("conversation", id).code("conversation_not_found")
    }

    pub fn unknown_answer(what: &'static str, id: &str) -> Self {
        Self::no_object(what, id).code("response_not_found")
    }

    /// A route that has nothing to show.
    pub fn nothing_kept() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Kind::InvalidRequestError,
            "No answers are kept here. To have the relay keep them: `airelays serve --stateful`.",
        )
        .code("responses_not_kept")
    }

    /// Only what nobody waits for can be cancelled.
    pub fn not_in_background() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Kind::InvalidRequestError,
            "Only a response that was asked for with `background: true` can be cancelled.",
        )
        .code("response_not_in_background")
    }

    /// The events of an answer are not there any more, or never were.
    pub fn no_events() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Kind::InvalidRequestError,
            "The events of this response are not kept any more. Retrieve it without `stream`.",
        )
        .param(Some("stream".into()))
        .code("stream_expired")
    }

    /// The last event of an answer that its client has ended.
    pub fn cancelled() -> Self {
        Self::new(StatusCode::CONFLICT, Kind::InvalidRequestError, "The response was cancelled.")
            .code("response_cancelled")
    }

    pub fn too_much_in_background(limit: usize) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Kind::RateLimitError,
            format!("{limit} responses are being made in the background already."),
        )
        .code("background_busy")
        .retry_after(Some(Duration::from_secs(5)))
    }

    pub fn unknown_item(id: &str) -> Self {
        Self::no_object("item", id).code("item_not_found")
    }

    fn no_object(what: &'static str, id: &str) -> Self {
        let message = format!("There is no {what} `{}`.", shorten(id));
        Self::new(StatusCode::NOT_FOUND, Kind::InvalidRequestError, message)
            .param(Some("id".into()))
    }

    fn conflict(message: &'static str, code: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, Kind::InvalidRequestError, message)
            .param(Some("conversation".into()))
            .code(code)
    }

    /// A body that is not the form that was expected.
    pub fn no_form() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Kind::InvalidRequestError,
            "The request body must be a form, sent as `multipart/form-data` with its boundary.",
        )
        .code("invalid_form")
    }

    pub fn no_such_range(size: u64) -> Self {
        let range = HeaderValue::try_from(format!("bytes */{size}"));
        let error = Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            Kind::InvalidRequestError,
            format!("The file has only {size} bytes."),
        )
        .code("invalid_range");
        match range {
            Ok(range) => error.header(CONTENT_RANGE, range),
            Err(_) => error,
        }
    }

    /// A parameter of the query that cannot be read.
    pub fn bad_query(name: &'static str) -> Self {
        let kind = format!("The parameter `{name}` of the query is not of the documented kind.");
        Self::bad_value(name, kind)
    }

    /// A body of a control that does not say what it should.
    pub fn bad_control(name: &'static str) -> Self {
        let kind =
            format!("The body must be a JSON object, and `{name}` in it of the documented kind.");
        Self::bad_value(name, kind)
    }

    pub fn no_policy(error: &NoPolicy) -> Self {
        Self::bad_value("policy", format!("{error}."))
    }

    fn bad_value(name: &'static str, message: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::InvalidRequestError, message)
            .param(Some(name.into()))
            .code("invalid_value")
    }

    /// What the owner decided could not be read or written.
    pub fn roster(error: &RosterError) -> Self {
        Self::unavailable("The file of the slots cannot be used now; the log says why.")
            .code("slots_unavailable")
            .caused_by(error)
    }

    /// The program ends before the answer does.
    pub fn leaving() -> Self {
        Self::unavailable("The relay is shutting down.").code("relay_stopping")
    }

    pub fn broken(cause: &dyn std::error::Error) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Kind::ServerError,
            "The relay itself failed. Its log says more under this request's id.",
        )
        .code("internal_error")
        .caused_by(cause)
    }

    /// A mistake of ours, which costs the one request that met it.
    pub fn crashed() -> Self {
        Self::broken(&Crashed)
    }

    /// The object under `error`, as JSON.
    pub fn object(&self) -> String {
        #[derive(Serialize)]
        struct Object<'a> {
            message: &'a str,
            r#type: &'a str,
            param: Option<&'a str>,
            code: Option<&'a str>,
        }
        let object = Object {
            message: &self.message,
            r#type: &self.kind,
            param: self.param.as_deref(),
            code: self.code.as_deref(),
        };
        serde_json::to_string(&object).unwrap_or_default()
    }

    #[cfg(test)]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Why it failed, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// `record` of an answer that ended with this.
    pub fn outcome(&self, record: Record) -> Record {
        let record = record.text("outcome", "failed").text("error", self.object());
        match self.cause() {
            Some(cause) => record.text("cause", cause.to_owned()),
            None => record,
        }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn code_name(&self) -> Option<&str> {
        self.code.as_deref()
    }

    pub fn param_name(&self) -> Option<&str> {
        self.param.as_deref()
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::InvalidRequestError => "invalid_request_error",
            Self::AuthenticationError => "authentication_error",
            Self::PermissionError => "permission_error",
            Self::RateLimitError => "rate_limit_error",
            Self::ServerError => "server_error",
            Self::UnsupportedError => "unsupported_error",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail = serde_json::to_string(&self.message).unwrap_or_default();
        let body = format!(r#"{{"error":{},"detail":{detail}}}"#, self.object());
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.headers);
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }
}

impl From<Reject> for ApiError {
    fn from(reject: Reject) -> Self {
        let status = match reject.status {
            Status::BadRequest => StatusCode::BAD_REQUEST,
            Status::NotFound => StatusCode::NOT_FOUND,
            Status::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let error =
            Self::new(status, Kind::InvalidRequestError, reject.message).param(reject.param);
        match reject.code {
            Some(code) => error.code(code),
            None => error,
        }
    }
}

impl From<store::Unavailable> for ApiError {
    fn from(error: store::Unavailable) -> Self {
        let message = match error.what {
            What::Full => "The disk is full: nothing can be kept until there is room.",
            What::Busy => "Another program holds the local storage. Try again in a moment.",
            What::Damaged => {
                "The local storage is damaged. `airelays doctor` says more; models can be used."
            }
            What::Newer => "A newer release of airelays has written the local storage.",
            What::ContentMissing => "The content of this file is missing on the disk.",
            What::Refused => "The local storage cannot be used now; the relay's log says why.",
            What::Ending => "The relay is shutting down.",
        };
        Self::unavailable(message).code("storage_unavailable").caused_by(&error)
    }
}

impl From<TurnError> for ApiError {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Unavailable(error) => error.into(),
            TurnError::NoConversation { id } => Self::new(
                StatusCode::NOT_FOUND,
                Kind::InvalidRequestError,
                format!("Unknown conversation id `{}`.", shorten(&id)),
            )
            .param(Some("conversation".into()))
            .code("conversation_not_found"),
            TurnError::Busy => Self::conflict(
                "Another request in this conversation does not end. Try again when it has.",
                "conversation_locked",
            ),
            TurnError::Gone => Self::conflict(
                "The conversation was deleted while its turn was answered; nothing was kept.",
                "conversation_deleted",
            ),
            TurnError::NoAnswer { id } => Self::new(
                StatusCode::BAD_REQUEST,
                Kind::InvalidRequestError,
                format!("Previous response with id '{}' not found.", shorten(&id)),
            )
            .param(Some("previous_response_id".into()))
            .code("previous_response_not_found"),
            TurnError::Unfinished { id } => Self::new(
                StatusCode::BAD_REQUEST,
                Kind::InvalidRequestError,
                format!("The response '{}' is not finished yet.", shorten(&id)),
            )
            .param(Some("previous_response_id".into()))
            .code("response_in_progress"),
            TurnError::NoRoom { limit } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Kind::InvalidRequestError,
                format!(
                    "The answer is larger than all that is kept ({limit} bytes). Ask with `store: false`."
                ),
            )
            .param(Some("store".into()))
            .code("answer_too_large"),
            TurnError::Files { limit } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Kind::InvalidRequestError,
                format!("The files of one request are limited to {limit} bytes together."),
            )
            .code("files_too_large"),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let message = match error {
            UploadError::TooLarge { limit } => format!(
                "Uploaded file exceeds the configured AIRelays upload limit of {limit} bytes."
            ),
            UploadError::NoRoom { limit } => format!(
                "Stored uploads would exceed the configured AIRelays upload quota of {limit} bytes."
            ),
            UploadError::Unavailable(error) => return error.into(),
        };
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::InvalidRequestError, message)
            .param(Some("file".into()))
            .code("file_too_large")
    }
}

/// The owner's own login is no business of the client's key, so none of these is a 401.
impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        let (state, code) = match &error {
            LoginError::Missing => ("missing", "upstream_auth_missing"),
            LoginError::Incomplete(_) => ("incomplete", "upstream_auth_incomplete"),
            LoginError::AccountMismatch => ("account_mismatch", "upstream_auth_account_mismatch"),
            LoginError::OtherIssuer => ("issuer_changed", "upstream_auth_issuer_changed"),
            LoginError::Terminal { code: "rejected", .. } => ("rejected", "upstream_auth_rejected"),
            LoginError::Terminal { .. } | LoginError::Transient { .. } => {
                ("refresh_failed", "upstream_auth_refresh_failed")
            }
            LoginError::Sealed { .. } => ("locked", "upstream_auth_locked"),
            LoginError::Storage { .. } => ("unreadable", "upstream_auth_unreadable"),
        };
        let is_final = match &error {
            LoginError::Transient { .. } => false,
            LoginError::Sealed { why } => !why.may_pass(),
            LoginError::Missing
            | LoginError::Incomplete(_)
            | LoginError::AccountMismatch
            | LoginError::OtherIssuer
            | LoginError::Terminal { .. }
            | LoginError::Storage { .. } => true,
        };
        let answer = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Kind::AuthenticationError,
            error.to_string(),
        )
        .code(code)
        .header(UPSTREAM_AUTH, HeaderValue::from_static(state))
        .caused_by(&error);
        if is_final { answer.final_answer() } else { answer }
    }
}

/// The upstream's failures. Waiting times count from `now`.
impl ApiError {
    pub fn of_refusal(refused: Refused, now: Timestamp) -> Self {
        match refused {
            Refused::Login(error) => error.into(),
            Refused::Attempt(failure) => Self::of_failure(&failure, now),
            Refused::Model { refusal, suggestions } => {
                let like = suggestions.join("`, `");
                let message = match like.as_str() {
                    "" => refusal.message,
                    _ => format!("{} Did you mean `{like}`?", stopped(&refusal.message)),
                };
                Self::no_model(message)
            }
            Refused::NoSlot(none) => Self::no_slot(&none),
        }
    }

    /// None of the owner's accounts can serve the request.
    fn no_slot(none: &NoneLeft) -> Self {
        if none.is_full {
            let message = "All places of the ChatGPT logins are taken, and the line for them is \
                           full or too slow.";
            return Self::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimitError, message)
                .code("slots_busy")
                .retry_after(none.wait.or(Some(Duration::from_secs(1))));
        }
        let message = format!("No ChatGPT login can serve this now. {none}.");
        let is_any = |is: fn(&Verdict) -> bool| none.looks.iter().any(|look| is(&look.verdict));
        let is_out = |look: &Look| matches!(look.verdict, Verdict::Model | Verdict::Disabled);
        if is_any(|it| *it == Verdict::Model) && none.looks.iter().all(is_out) {
            return Self::no_model(message);
        }
        let is_spent = |it: &Verdict| {
            matches!(
                it,
                Verdict::Exhausted { .. }
                    | Verdict::Reserved { .. }
                    | Verdict::Resting { why: Why::ModelLimit { .. }, .. }
            )
        };
        let is_hurried = |it: &Verdict| matches!(it, Verdict::Resting { why: Why::RateLimit, .. });
        let limited = |code| {
            Self::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimitError, message.clone())
                .code(code)
                .retry_after(none.wait)
        };
        // What passes in a moment comes first: then SDKs do well to try again.
        if is_any(is_hurried) {
            limited("rate_limit_exceeded")
        } else if is_any(is_spent) {
            limited("usage_limit_reached").final_answer()
        } else {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, Kind::ServerError, message)
                .code("no_slot_available")
                .retry_after(none.wait)
                .final_answer()
        }
    }

    pub fn of_failure(failure: &Failure, now: Timestamp) -> Self {
        let wait = failure.retry_after(now).or_else(|| usual_wait(failure));
        let error = match failure {
            Failure::Unauthorized { .. } => Self::upstream_auth(
                "rejected",
                "The upstream does not accept the stored ChatGPT login. Run `airelays login` again.",
            ),
            Failure::Workspace { .. } => Self::upstream_auth(
                "workspace_rejected",
                "The upstream does not accept the workspace of the stored ChatGPT login.",
            ),
            Failure::NotIncluded { .. } => Self::upstream_auth(
                "plan_not_included",
                "The plan of the stored ChatGPT login does not include Codex.",
            ),
            Failure::NoImages => Self::no_images(),
            Failure::UsageLimit(limit) => Self::usage_limit(limit),
            Failure::Request(refusal) => Self::refused_upstream(refusal),
            Failure::ModelNotFound(refusal) => Self::no_model(refusal.message.clone()),
            Failure::Overloaded { .. } => {
                Self::unavailable("The upstream is overloaded.").code("server_is_overloaded")
            }
            Failure::Capacity { .. } => {
                Self::unavailable("The model is at capacity. Try another one, or later.")
                    .code("model_at_capacity")
            }
            Failure::RateLimited { .. } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                Kind::RateLimitError,
                "The upstream asks to be asked less often.",
            )
            .code("rate_limit_exceeded"),
            Failure::Challenge { .. } => Self::bad_gateway(
                "The upstream's network edge turned the request away.",
                "upstream_challenge",
            ),
            Failure::Service(fault) => Self::bad_gateway(fault_message(fault), "upstream_error"),
            Failure::Connect(_) => {
                Self::bad_gateway("The upstream could not be reached.", "upstream_unavailable")
            }
            Failure::Timeout(deadline) => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                Kind::ServerError,
                timeout_message(*deadline),
            )
            .code("upstream_timeout"),
            Failure::Cut(_) => Self::bad_gateway(
                "The upstream ended the answer before it was complete.",
                "incomplete_stream",
            ),
            Failure::TooLarge { what, limit } => Self::bad_gateway(
                format!("The upstream sent more than {limit} bytes of {what}."),
                "upstream_event_too_large",
            ),
        };
        error.retry_after(wait).caused_by(failure)
    }

    fn upstream_auth(state: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Kind::AuthenticationError, message)
            .code(format!("upstream_auth_{state}"))
            .header(UPSTREAM_AUTH, HeaderValue::from_static(state))
            .final_answer()
    }

    fn no_images() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Kind::PermissionError,
            "The account of the ChatGPT login makes no images: the upstream has no route for them.",
        )
        .code("images_not_enabled")
    }

    fn usage_limit(limit: &UsageLimit) -> Self {
        let mut message = match limit.apart() {
            None => "The usage limit of the ChatGPT login is reached.".to_owned(),
            Some(name) => {
                let name = shorten(name);
                format!("The limit `{name}` of the ChatGPT login is reached.")
            }
        };
        if let Some(at) = limit.resets_at {
            message = format!("{message} It resets at {}.", to_second(at));
        }
        // SDKs take no notice of a wait of hours and would ask again at once.
        Self::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimitError, message)
            .code("usage_limit_reached")
            .final_answer()
    }

    /// A refusal that is the request's fault, in the upstream's own words.
    fn refused_upstream(refusal: &Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status)
            .ok()
            .filter(StatusCode::is_client_error)
            .unwrap_or(StatusCode::BAD_REQUEST);
        let mut error = Self::new(status, Kind::InvalidRequestError, refusal.message.clone())
            .param(refusal.param.clone());
        if let Some(kind) = &refusal.kind {
            error.kind = Cow::Owned(kind.clone());
        }
        match &refusal.code {
            Some(code) => error.code(code.clone()),
            None => error,
        }
    }

    fn unavailable(message: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Kind::ServerError, message)
    }

    fn bad_gateway(message: impl Into<Cow<'static, str>>, code: &'static str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Kind::ServerError, message).code(code)
    }
}

fn timeout_message(deadline: Deadline) -> &'static str {
    match deadline {
        Deadline::Connect => "The upstream could not be reached in time.",
        Deadline::Headers | Deadline::FirstEvent => "The upstream did not answer in time.",
        Deadline::Silence => "The upstream stopped sending.",
        Deadline::Total => "The answer took longer than this relay allows.",
    }
}

/// `text` with a full stop.
fn stopped(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

/// What a client does well to wait where the upstream does not say how long.
fn usual_wait(failure: &Failure) -> Option<Duration> {
    match failure {
        Failure::UsageLimit(_) => Some(Duration::from_mins(1)),
        Failure::RateLimited { .. } => Some(Duration::from_secs(5)),
        Failure::Unauthorized { .. }
        | Failure::Workspace { .. }
        | Failure::NotIncluded { .. }
        | Failure::NoImages
        | Failure::Request(_)
        | Failure::ModelNotFound(_)
        | Failure::Overloaded { .. }
        | Failure::Capacity { .. }
        | Failure::Challenge { .. }
        | Failure::Service(_)
        | Failure::Connect(_)
        | Failure::Timeout(_)
        | Failure::TooLarge { .. }
        | Failure::Cut(_) => None,
    }
}

fn fault_message(fault: &Fault) -> String {
    match (fault.status, &fault.message) {
        (_, Some(message)) => format!("The upstream failed: {message}"),
        (Some(status), None) => format!("The upstream failed with status {status}."),
        (None, None) => "The upstream failed.".to_owned(),
    }
}

impl From<Unreadable> for ApiError {
    fn from(unreadable: Unreadable) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            Kind::ServerError,
            "The upstream sent an event that could not be read.",
        )
        .code("upstream_unreadable")
        .caused_by(&unreadable)
    }
}
