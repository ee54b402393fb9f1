//! A request that is refused before anything is sent upstream.
//!
//! Two kinds, told apart by status: what is no valid request by the published document (400, in
//! the words of the platform), and what is valid but cannot be done by the subscription backend
//! (422, by name). What is dropped instead of refused is disclosed (`wire::request`).
//!
//! **Invariant:** a message repeats no more of the request than names and short values.
//!
//! Not here: how a status is spelled in HTTP and what the answer looks like (`api::error`).

use super::json::{JsonError, Kind, Value, shorten};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not a valid request.
    BadRequest,
    /// It names something that does not exist.
    NotFound,
    /// Valid, and not possible here.
    Unprocessable,
}

/// Why a request is refused, in the fields of an OpenAI error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Reject {
    pub status: Status,
    pub message: String,
    /// The path of the field, such as `messages[0].role`.
    pub param: Option<String>,
    pub code: Option<&'static str>,
}

impl Reject {
    /// Not a valid request.
    pub fn bad(param: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        let param = Some(param.into()).filter(|param| !param.is_empty());
        Self { status: Status::BadRequest, message: message.into(), param, code: Some(code) }
    }

    /// Valid, but the backend has no way to do it.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status: Status::Unprocessable, ..Self::bad(param, "unsupported_parameter", message) }
    }

    /// `value` is not what the document says; `expected` is words such as `a string`.
    pub fn wrong_type(value: Value<'_>, expected: &str) -> Self {
        let path = value.path();
        let place = if path.is_empty() { "the request body" } else { &format!("'{path}'") };
        let got = described(value);
        let message =
            format!("Invalid type for {place}: expected {expected}, but got {got} instead.");
        Self::bad(path, "invalid_type", message)
    }

    /// `object` has no field `key`.
    pub fn missing(object: Value<'_>, key: &str) -> Self {
        let path = match object.path() {
            path if path.is_empty() => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        let message = format!("Missing required parameter: '{path}'.");
        Self::bad(path, "missing_required_parameter", message)
    }

    /// `value` is none of the values there are.
    pub fn not_among(value: Value<'_>, supported: &[&str]) -> Self {
        let text = value.as_str().unwrap_or_default();
        let text = shorten(&text);
        let message = match supported {
            [] => format!("Invalid value: '{text}'."),
            [only] => format!("Invalid value: '{text}'. Value must be '{only}'."),
            [one, two] => {
                format!("Invalid value: '{text}'. Supported values are: '{one}' and '{two}'.")
            }
            [first @ .., last] => {
                let first = first.join("', '");
                format!("Invalid value: '{text}'. Supported values are: '{first}', and '{last}'.")
            }
        };
        Self::bad(value.path(), "invalid_value", message)
    }

    /// `value` has the right type and cannot be used, as `why` says in a sentence.
    pub fn invalid(value: Value<'_>, why: impl Into<String>) -> Self {
        Self::bad(value.path(), "invalid_value", why)
    }

    pub fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }
}

impl From<JsonError> for Reject {
    fn from(error: JsonError) -> Self {
        let message = format!("We could not parse the JSON body of your request: {error}.");
        Self::bad("", "invalid_json", message)
    }
}

fn described(value: Value<'_>) -> &'static str {
    match value.kind() {
        Kind::Null => "null",
        Kind::Bool => "a boolean",
        Kind::Number if value.raw().iter().any(|byte| b".eE".contains(byte)) => "a decimal",
        Kind::Number => "an integer",
        Kind::String => "a string",
        Kind::Array => "an array",
        Kind::Object => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::json::Doc, *};

    #[test]
    fn messages_are_those_of_the_platform() {
        let doc = Doc::parse(br#"{"messages":[{"role":7,"name":"x"}]}"#).expect("valid");
        let message = doc.root().get("messages").and_then(|all| all.items().next()).expect("one");
        let role = message.get("role").expect("there");
        assert_eq!(
            Reject::wrong_type(role, "a string").message,
            "Invalid type for 'messages[0].role': expected a string, but got an integer instead."
        );
        assert_eq!(
            Reject::missing(message, "content").message,
            "Missing required parameter: 'messages[0].content'."
        );
        let name = message.get("name").expect("there");
        assert_eq!(
            Reject::not_among(name, &["a", "b", "c"]).message,
            "Invalid value: 'x'. Supported values are: 'a', 'b', and 'c'."
        );
        assert_eq!(Reject::missing(doc.root(), "model").param.as_deref(), Some("model"));
    }

    #[test]
    fn a_body_that_is_no_json_is_a_bad_request_without_a_param() {
        let reject = Reject::from(Doc::parse(b"{").expect_err("cut"));
        assert_eq!(
            (reject.status, reject.param, reject.code),
            (Status::BadRequest, None, Some("invalid_json"))
        );
        let doc = Doc::parse(b"[]").expect("valid");
        let reject = Reject::wrong_type(doc.root(), "an object");
        assert_eq!(
            reject.message,
            "Invalid type for the request body: expected an object, but got an array instead."
        );
        assert_eq!(reject.param, None);
    }
}
