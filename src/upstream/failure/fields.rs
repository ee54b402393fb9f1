//! What an error body or event says, whichever of its shapes it has.
//!
//! The backend answers in the manner of two frameworks, inside streams in two more, and at times
//! in HTML. Read are the few fields that decide something; texts are cut, cleaned of control
//! characters, and dropped when they are pages.
//!
//! **Invariant:** no HTML, no control character, nothing that looks like a token and nobody's id or
//! address gets into a message.
//!
//! Not here: what the fields mean (`failure`).

use std::time::Duration;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::HeaderMap;

use crate::{object::Object, redact::is_steering, wire::identity::masked};

const MESSAGE_LIMIT: usize = 2 << 10;
const NAME_LIMIT: usize = 200;

/// How tokens and keys begin, and how long the shortest is.
const TOKENS: [&str; 4] = ["eyJ", "sk-", "rt_", "at-"];
const TOKEN_LENGTH: usize = 20;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The fields of an upstream error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields {
    pub code: Option<String>,
    pub kind: Option<String>,
    pub message: Option<String>,
    pub param: Option<String>,
    pub plan_type: Option<String>,
    /// Seconds since 1970.
    pub resets_at: Option<i64>,
    pub resets_in_seconds: Option<i64>,
}

impl ErrorFields {
    /// Of the answer to a request that failed.
    pub fn of_answer(headers: &HeaderMap, body: &[u8]) -> Self {
        let mut fields = Object::read(body).map_or_else(Self::default, |body| Self::of_body(&body));
        fields.code = fields.code.or_else(|| code_in(headers));
        fields
    }

    /// Of an event in a stream: `error` in its two shapes, or `response.failed`.
    pub fn of_event(data: &[u8]) -> Self {
        let Some(event) = Object::read(data) else { return Self::default() };
        let response = event.object("response");
        let failed = response.as_ref().and_then(|response| response.object("error"));
        match failed.or_else(|| event.object("error")) {
            Some(error) => Self::of_error(&error),
            // The type of a flat event is the event's own.
            None => Self { kind: None, ..Self::of_error(&event) },
        }
    }

    fn of_body(body: &Object<'_>) -> Self {
        if let Some(error) = body.object("error").or_else(|| body.object("detail")) {
            return Self::of_error(&error);
        }
        if let Some(detail) = body.text("detail").or_else(|| first_problem(body)) {
            let kind = Some("invalid_request_error".to_owned());
            return Self { message: message(&detail), kind, ..Self::default() };
        }
        let text = body.text("error");
        Self { message: text.as_deref().and_then(message), ..Self::of_error(body) }
    }

    fn of_error(error: &Object<'_>) -> Self {
        let named = |name| error.filled(name).and_then(|text| name_of(&text));
        Self {
            code: named("code"),
            kind: named("type"),
            message: error.filled("message").and_then(|text| message(&text)),
            param: error.filled("param").and_then(|text| clean(&text, NAME_LIMIT)),
            plan_type: named("plan_type"),
            resets_at: error.integer("resets_at"),
            resets_in_seconds: error.integer("resets_in_seconds"),
        }
    }

    /// Whether the code or the type is one of `names`.
    pub fn is_any(&self, names: &[&str]) -> bool {
        let is = |given: &Option<String>| {
            given
                .as_ref()
                .is_some_and(|given| names.iter().any(|name| given.eq_ignore_ascii_case(name)))
        };
        is(&self.code) || is(&self.kind)
    }

    /// Whether the message contains one of `parts`, which are in lower case.
    pub fn says_any(&self, parts: &[&str]) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_ascii_lowercase();
        parts.iter().any(|part| message.contains(part))
    }

    /// How long the message asks to wait: "try again in 1.2s", "350ms", "6m0s", "20 seconds".
    pub fn advised_wait(&self) -> Option<Duration> {
        let message = self.message.as_deref()?.to_ascii_lowercase();
        let (_, mut rest) = message.split_once("try again in ")?;
        let mut wait = None;
        while let Some((part, after)) = amount(rest) {
            wait = Some(wait.unwrap_or(Duration::ZERO).saturating_add(part));
            rest = after;
        }
        wait
    }
}

/// A number and its unit at the beginning of `text`, and what follows.
fn amount(text: &str) -> Option<(Duration, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..digits].parse().ok()?;
    let rest = text[digits..].trim_start();
    let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let seconds = match &rest[..unit] {
        "ms" | "millisecond" | "milliseconds" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    Some((Duration::try_from_secs_f64(number * seconds).ok()?, &rest[unit..]))
}

/// The first entry of a list of validation problems.
fn first_problem(body: &Object<'_>) -> Option<String> {
    let problems = body.list("detail")?;
    Object::read(problems.first()?.get().as_bytes())?.filled("msg")
}

fn code_in(headers: &HeaderMap) -> Option<String> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("x-openai-authorization-error").and_then(name_of);
    let error = header("x-error-json").and_then(|text| BASE64.decode(text.trim()).ok());
    let error = error.as_deref().and_then(Object::read);
    authorization.or_else(|| ErrorFields::of_body(&error?).code)
}

/// A code or type: a word, or nothing.
pub fn name_of(text: &str) -> Option<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= NAME_LIMIT && text.chars().all(is_name);
    fits.then(|| text.to_owned())
}

/// A text for people, or nothing when it is a page.
pub fn message(text: &str) -> Option<String> {
    if is_page(text) { None } else { clean(text, MESSAGE_LIMIT) }
}

/// Whether `text` is HTML or carries some.
pub fn is_page(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["<!doctype", "<html", "<head", "<body", "<script", "<title", "<div", "<p>", "<a "]
        .iter()
        .any(|mark| text.contains(mark))
}

/// `text` on one line, cut to `limit` bytes.
fn clean(text: &str, limit: usize) -> Option<String> {
    let mut clean = String::with_capacity(text.len().min(limit));
    for c in text.chars().map(|c| if is_steering(c) { ' ' } else { c }) {
        if clean.len() + c.len_utf8() > limit {
            break;
        }
        clean.push(c);
    }
    let clean = clean.trim();
    (!clean.is_empty()).then(|| masked(&without_tokens(clean)).into_owned())
}

/// `text` with everything that looks like a token taken out.
fn without_tokens(text: &str) -> String {
    let ends_word = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let piece = |piece: &str| {
        let word = piece.trim_end_matches(ends_word);
        let is_token =
            word.len() >= TOKEN_LENGTH && TOKENS.iter().any(|head| word.starts_with(head));
        if is_token { format!("[redacted]{}", &piece[word.len()..]) } else { piece.to_owned() }
    };
    text.split_inclusive(ends_word).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_of_bodies_is_read() {
        let word = |text: &str| Some(text.to_owned());
        let detail = |text: &str| ErrorFields {
            message: word(text),
            kind: word("invalid_request_error"),
            ..ErrorFields::default()
        };
        for (body, expected) in [
            (r#"{"detail":"Input must be a list"}"#, detail("Input must be a list")),
            (r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, detail("field required")),
            (
                r#"{"detail":{"code":"deactivated_workspace"}}"#,
                ErrorFields { code: word("deactivated_workspace"), ..ErrorFields::default() },
            ),
            (
                r#"{"error":{"message":"no","type":"invalid_request_error","param":"input[0]",
                    "code":"unsupported_value"},"status":400}"#,
                ErrorFields {
                    code: word("unsupported_value"),
                    kind: word("invalid_request_error"),
                    message: word("no"),
                    param: word("input[0]"),
                    ..ErrorFields::default()
                },
            ),
            (
                r#"{"error":{"type":"usage_limit_reached","plan_type":"plus","resets_at":null,
                    "resets_in_seconds":12.5,"code":429,"message":7}}"#,
                ErrorFields {
                    kind: word("usage_limit_reached"),
                    plan_type: word("plus"),
                    resets_in_seconds: Some(12),
                    ..ErrorFields::default()
                },
            ),
            (r#"{"error":"plain"}"#, ErrorFields { message: word("plain"), ..Default::default() }),
            ("<html>", ErrorFields::default()),
            ("", ErrorFields::default()),
            ("[]", ErrorFields::default()),
        ] {
            let found = ErrorFields::of_answer(&HeaderMap::new(), body.as_bytes());
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn both_headers_give_a_code_where_the_body_gives_none() {
        let encoded = BASE64.encode(r#"{"error":{"code":"slow_down"}}"#);
        for (name, value) in [
            ("x-error-json", encoded.as_str()),
            ("x-error-json", encoded.trim_end_matches('=')),
            ("x-openai-authorization-error", "slow_down"),
        ] {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                http::HeaderValue::from_str(value).expect("a value"),
            )]);
            let code = |body: &str| ErrorFields::of_answer(&headers, body.as_bytes()).code;
            assert_eq!(code("").as_deref(), Some("slow_down"), "{name}");
            assert_eq!(code(r#"{"detail":{"code":"x"}}"#).as_deref(), Some("x"), "{name}");
        }
    }

    #[test]
    fn every_shape_of_event_is_read() {
        for data in [
            r#"{"type":"response.failed","response":{"id":"r","error":{"code":"c","message":"m"}}}"#,
            r#"{"type":"error","sequence_number":2,"error":{"code":"c","message":"m","param":null}}"#,
            r#"{"type":"error","code":"c","message":"m","param":null,"sequence_number":2}"#,
            r#"{"type":"error","status":429,"error":{"code":"c","message":"m"},"headers":{}}"#,
        ] {
            let expected = ErrorFields {
                code: Some("c".to_owned()),
                message: Some("m".to_owned()),
                ..ErrorFields::default()
            };
            assert_eq!(ErrorFields::of_event(data.as_bytes()), expected, "{data}");
        }
        for odd in ["", "null", "[]", r#"{"type":"error"}"#, r#"{"response":{"error":"x"}}"#] {
            assert_eq!(ErrorFields::of_event(odd.as_bytes()), ErrorFields::default(), "{odd}");
        }
    }

    #[test]
    fn the_advised_wait_is_read_from_the_message() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("Rate limit reached. Please try again in 11.054s. Visit", Some(ms(11_054))),
            ("Please Try Again In 350ms", Some(ms(350))),
            ("try again in 20 seconds.", Some(ms(20_000))),
            ("try again in 1 second", Some(ms(1_000))),
            ("try again in 6m0s", Some(ms(360_000))),
            ("try again in 1h2m", Some(ms(3_720_000))),
            ("try again in 3 minutes and more", Some(ms(180_000))),
            ("try again in 18000000000000000000s18000000000000000000s", Some(Duration::MAX)),
            ("try again in a moment", None),
            ("try again in 5", None),
            ("try again in 5 apples", None),
            ("try again in 1.2.3s", None),
            ("try again in 99999999999999999999999999d", None),
            ("try again later", None),
        ] {
            let fields = ErrorFields { message: Some(text.to_owned()), ..ErrorFields::default() };
            assert_eq!(fields.advised_wait(), expected, "{text}");
        }
    }

    #[test]
    fn texts_are_cleaned_and_pages_dropped() {
        for (text, expected) in [
            ("plain", Some("plain")),
            ("a < b and c > d", Some("a < b and c > d")),
            ("\u{1b}]0;x\u{7}y\r\nz\u{202e}", Some("]0;x y  z")),
            ("<!DOCTYPE html><p>", None),
            ("see <a href='x'>this</a>", None),
            ("key 'sk-0123456789abcdefghij' is wrong", Some("key '[redacted]' is wrong")),
            ("Bearer eyJhbGciOiJ.eyJleHAiOjF9.c2ln", Some("Bearer [redacted]")),
            (
                "sk-short and task-like-words-that-are-long",
                Some("sk-short and task-like-words-that-are-long"),
            ),
            (" \n", None),
        ] {
            assert_eq!(message(text).as_deref(), expected, "{text}");
        }
        let long = message(&"é".repeat(MESSAGE_LIMIT)).expect("a text");
        assert_eq!(long, "é".repeat(MESSAGE_LIMIT / 2));
        assert_eq!(name_of("not a word"), None);
    }
}
