//! Answers that are no stream, and the error objects that streams carry as well.
//!
//! All four families of bodies are here: `{"detail"}`, `{"error"}`, HTML, and nothing.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::Value;

use crate::sim::{
    account::Account,
    script::{Instead, Limit},
    tree::{object, put},
};

/// Which error a 400 is about: `message`, `param` and `code`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wrong<'a> {
    pub(super) message: &'a str,
    pub(super) param: Option<&'a str>,
    pub(super) code: Option<&'a str>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn empty(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { body: body.to_string().into(), ..Self::empty(status) }
            .with(CONTENT_TYPE.as_str(), "application/json")
    }

    pub(super) fn html(status: u16, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::empty(status) }
            .with(CONTENT_TYPE.as_str(), "text/html; charset=UTF-8")
    }

    /// `{"detail": ...}`, the style of the front.
    pub(super) fn detail(status: u16, detail: impl Into<Value>) -> Self {
        Self::json(status, &object! {"detail": detail.into()})
    }

    /// A client error in the style of the public API.
    pub(super) fn wrong(status: u16, wrong: Wrong<'_>) -> Self {
        Self::json(
            status,
            &object! {"error": object! {
                "message": wrong.message,
                "type": "invalid_request_error",
                "param": wrong.param,
                "code": wrong.code,
            }},
        )
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn with_all(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers.extend(headers);
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        set_headers(&mut response, self.headers);
        response
    }
}

/// Sets what can be a header; the rest would be a mistake of this floor.
pub(super) fn set_headers(response: &mut Response, headers: Vec<(String, String)>) {
    for (name, value) in headers {
        let name = HeaderName::try_from(name);
        let value = HeaderValue::try_from(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Everything a scripted answer may tell about the request it answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'a> {
    pub(super) account: &'a Account,
    pub(super) model: &'a str,
    /// Whole seconds since 1970.
    pub(super) now: i64,
}

/// The answer that a script asks for in place of a stream.
pub(super) fn instead(instead: &Instead, about: Circumstances<'_>) -> Answer {
    match instead {
        Instead::Status(status) => Answer::json(*status, &bare(*status)),
        Instead::Blank(status) => Answer::empty(*status),
        Instead::Limit(limit) => Answer::json(429, &usage_limit(*limit, about)),
        Instead::UsageNotIncluded => usage_not_included(about.account),
        Instead::RateLimit => Answer::json(429, &wrapped(fault("rate_limit_exceeded", about))),
        Instead::Capacity => Answer::json(429, &wrapped(fault("model_at_capacity", about))),
        Instead::Overloaded => Answer::json(503, &wrapped(fault("server_is_overloaded", about))),
        Instead::Unauthorized { detail: true } => Answer::detail(401, "Unauthorized"),
        Instead::Unauthorized { detail: false } => unauthorized(
            "token_invalidated",
            "Your authentication token has been invalidated. Please try signing in again.",
        ),
        Instead::Forbidden => Answer::empty(403),
        Instead::Workspace => wrong_workspace(),
        Instead::Deactivated => deactivated(),
        Instead::Cloudflare(status) => cloudflare(*status),
        Instead::Html(status) => Answer::html(
            *status,
            format!(
                "<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center><hr><center>nginx</center></body></html>\n"
            ),
        ),
        Instead::Refuse(name) => Answer::detail(400, format!("Unsupported parameter: {name}")),
    }
}

pub(super) fn unauthorized(code: &str, message: &str) -> Answer {
    Answer::json(
        401,
        &object! {
            "error": object! {
                "message": message,
                "type": "invalid_request_error",
                "code": code,
                "param": Value::Null,
            },
            "status": 401,
        },
    )
}

pub(super) fn wrong_workspace() -> Answer {
    Answer::detail(403, object! {"code": "invalid_workspace_selected"})
        .with("x-openai-authorization-error", "invalid_workspace_selected")
}

pub(super) fn deactivated() -> Answer {
    Answer::detail(402, object! {"code": "deactivated_workspace"})
}

pub(super) fn usage_not_included(account: &Account) -> Answer {
    Answer::json(
        429,
        &wrapped(object! {
            "type": "usage_not_included",
            "message": "To use Codex with your ChatGPT plan, upgrade to Plus.",
            "plan_type": account.plan,
        }),
    )
}

/// The page with which Cloudflare asks for a browser.
pub(super) fn cloudflare(status: u16) -> Answer {
    let page = "<!DOCTYPE html><html lang=\"en-US\"><head><title>Just a moment...</title>\
        <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\"></head>\
        <body><noscript>Enable JavaScript and cookies to continue</noscript></body></html>\n";
    Answer::html(status, page).with("cf-mitigated", "challenge")
}

/// The body of 429 `usage_limit_reached`.
pub(super) fn usage_limit(limit: Limit, about: Circumstances<'_>) -> Value {
    let mut error = object! {
        "type": "usage_limit_reached",
        "message": "The usage limit has been reached",
        "plan_type": about.account.plan,
    };
    match limit {
        Limit::Both(seconds) => {
            put(&mut error, "resets_at", about.now.saturating_add_unsigned(seconds));
            put(&mut error, "resets_in_seconds", seconds);
        }
        Limit::SecondsOnly(seconds) => {
            put(&mut error, "resets_at", Value::Null);
            put(&mut error, "resets_in_seconds", seconds);
        }
        Limit::Bare => {}
    }
    put(&mut error, "eligible_promo", Value::Null);
    wrapped(error)
}

fn bare(status: u16) -> Value {
    let (kind, message) = if status < 500 {
        ("invalid_request_error", "The request could not be processed.")
    } else {
        ("server_error", "The server had an error while processing your request.")
    };
    wrapped(object! {"message": message, "type": kind, "param": Value::Null, "code": Value::Null})
}

fn wrapped(error: Value) -> Value {
    object! {"error": error}
}

/// The error object of a code: `type`, `code`, `message` and `param`.
pub(super) fn fault(code: &str, about: Circumstances<'_>) -> Value {
    const OVERLOADED: &str = "Our servers are currently overloaded. Please try again later.";
    let rate_limit = format!(
        "Rate limit reached for {} on tokens per min (TPM). Please try again in 1.2s.",
        about.model
    );
    let (kind, message, param) = match code {
        "server_is_overloaded" => ("service_unavailable_error", OVERLOADED, None),
        "slow_down" => ("service_unavailable_error", "Please slow down and try again later.", None),
        "rate_limit_exceeded" => ("rate_limit_error", rate_limit.as_str(), None),
        "context_length_exceeded" => (
            "invalid_request_error",
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            Some("input"),
        ),
        "insufficient_quota" => (
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
            None,
        ),
        "usage_limit_reached" => ("usage_limit_reached", "The usage limit has been reached", None),
        "usage_not_included" => {
            ("usage_not_included", "To use Codex with your ChatGPT plan, upgrade to Plus.", None)
        }
        "cyber_policy" | "bio_policy" => (
            "invalid_request_error",
            "This request was refused because it may be against our usage policies.",
            None,
        ),
        "invalid_prompt" => (
            "invalid_request_error",
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            None,
        ),
        "model_at_capacity" => (
            "rate_limit_error",
            "Selected model is at capacity. Please try a different model.",
            None,
        ),
        _ => (
            "server_error",
            "An error occurred while processing your request. You can retry your request.",
            None,
        ),
    };
    object! {"type": kind, "code": code, "message": message, "param": param}
}
