//! What may be written down: secrets are hidden by the name they go under, and by what they are.
//!
//! By name: JSON members that carry credentials lose their value; headers, query parameters and
//! form fields do unless they are known to carry none, because anybody can make up a name for those.
//! By value: a [`Redactor`] knows the secrets that are in use, and hides them wherever they turn up,
//! in a prompt as well as in an error text. By shape: keys of the usual kinds, and base64 that is
//! longer than any word.
//!
//! The member `code` of JSON is no secret: it is what errors are told apart by, and no JSON that is
//! logged carries a login's code.
//!
//! Invariant: a redacted line of JSON is a line of JSON.
//!
//! Not here: which parts of a request are written down at all (`traffic`).

use std::borrow::Cow;

pub mod json;
pub mod literal;
pub mod query;
mod shapes;
mod values;

pub use self::values::Redactor;

/// What stands where a secret stood.
pub const REDACTED: &str = "[REDACTED]";

/// Headers that carry a credential.
const HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-auth",
    "x-authorization",
    "authentication",
    "x-csrftoken",
    "apikey",
    "x-apikey",
];

/// Endings of header names that carry a credential.
const HEADER_ENDINGS: &[&str] = &[
    "-token",
    "-key",
    "-secret",
    "-password",
    "-credential",
    "-credentials",
    "-signature",
    "-authorization",
    "-cookie",
    "_token",
    "_key",
    "_secret",
];

/// Headers that say nothing about who sends them and what it may do.
const HARMLESS: &[&str] = &[
    "age",
    "alt-svc",
    "cache-control",
    "connection",
    "conversation_id",
    "date",
    "dnt",
    "etag",
    "expect",
    "forwarded",
    "host",
    "idempotency-id",
    "keep-alive",
    "last-modified",
    "origin",
    "originator",
    "pragma",
    "priority",
    "referrer-policy",
    "request-id",
    "retry-after",
    "server",
    "server-timing",
    "session_id",
    "strict-transport-security",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "version",
    "via",
    "www-authenticate",
    "x-accel-buffering",
    "x-client-request-id",
    "x-content-type-options",
    "x-frame-options",
    "x-models-etag",
    "x-real-ip",
    "x-request-id",
    "x-should-retry",
];
/// The same by how they begin.
const HARMLESS_STARTS: &[&str] = &[
    "accept",
    "access-control-",
    "cf-",
    "content-",
    "cross-origin-",
    "if-",
    "openai-",
    "sec-ch-",
    "sec-fetch-",
    "sec-websocket-",
    "x-airelays-",
    "x-codex-",
    "x-envoy-",
    "x-forwarded-",
    "x-openai-",
    "x-ratelimit-",
    "x-stainless-",
];
/// How names of JSON members end that carry a credential, without `_`, `-` and capitals.
const MEMBER_ENDINGS: &[&str] = &[
    "accesskey",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "signingkey",
    "token",
];
/// Whole names of the same kind.
const MEMBERS: &[&str] = &[
    "assertion",
    "authorizationcode",
    "clientassertion",
    "codeverifier",
    "deviceauthid",
    "devicecode",
    "passphrase",
    "passwd",
    "usercode",
];
/// Parameters of queries and forms that are known to be none. Others are not written down.
const HARMLESS_PARAMETERS: &[&str] = &[
    "after",
    "api-version",
    "before",
    "client_version",
    "include",
    "include[]",
    "limit",
    "model",
    "order",
    "purpose",
    "scope",
    "slot",
    "starting_after",
    "stream",
];

/// Whether `c` could steer a terminal, turn the direction of text, or end a line.
pub fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The value of a header as it may be written down. `name` is in lower case, as `http` keeps it.
pub fn header<'a>(name: &str, value: Cow<'a, str>) -> Cow<'a, str> {
    if is_secret_header(name, &value) {
        REDACTED.into()
    } else if HARMLESS.contains(&name) || HARMLESS_STARTS.iter().any(|it| name.starts_with(it)) {
        value
    } else {
        format!("[{} bytes]", value.len()).into()
    }
}

/// Whether a header is a credential, by its name or by its form. `name` is in lower case, as
/// `http` keeps it.
pub fn is_secret_header(name: &str, value: &str) -> bool {
    HEADERS.contains(&name)
        || HEADER_ENDINGS.iter().any(|ending| name.ends_with(ending))
        || is_credential(value)
}

/// Whether `value` has the form of an `Authorization`, under whatever name it was sent.
fn is_credential(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once(' ') else { return false };
    !rest.is_empty() && ["bearer", "basic"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Whether the text under this JSON member is a credential. Any case, and however its words are
/// joined.
pub fn is_secret_member(name: &[u8]) -> bool {
    // Every member of every body is asked about, and few end like these.
    let Some(last) = name.iter().rev().find(|byte| is_letter(**byte)) else { return false };
    let last = last.to_ascii_lowercase();
    let is_last = |known: &&&str| known.as_bytes().last() == Some(&last);
    MEMBER_ENDINGS.iter().filter(is_last).any(|known| rest_before(name, known).is_some())
        || MEMBERS.iter().filter(is_last).any(|known| rest_before(name, known) == Some(0))
}

/// How many letters stand before `ending` in `name`, if it ends like that.
fn rest_before(name: &[u8], ending: &str) -> Option<usize> {
    let mut letters = name.iter().rev().filter(|byte| is_letter(**byte));
    let mut wanted = ending.bytes().rev();
    let ends = wanted.all(|byte| letters.next().is_some_and(|it| it.eq_ignore_ascii_case(&byte)));
    ends.then(|| letters.count())
}

fn is_letter(byte: u8) -> bool {
    !matches!(byte, b'_' | b'-' | b'.' | b' ')
}

/// Whether the value of this query parameter or form field may be one. Any case.
pub fn is_secret_parameter(name: &[u8]) -> bool {
    !HARMLESS_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, so that a failure can be repeated.
    pub struct Dice(pub u64);

    impl Dice {
        pub fn roll(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % sides
        }

        pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
            let index = self.roll(u64::try_from(from.len()).expect("small"));
            from[usize::try_from(index).expect("small")]
        }
    }

    #[test]
    fn headers_that_carry_credentials_are_known() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "api-key",
            "x-auth-token",
            "x-goog-api-key",
            "x-amz-security-token",
            "x-hub-signature",
            "client-secret",
        ] {
            assert!(is_secret_header(name, "abc"), "{name}");
        }
        for name in [
            "accept",
            "content-type",
            "user-agent",
            "session_id",
            "chatgpt-account-id",
            "x-request-id",
            "idempotency-id",
            "openai-organization",
            "www-authenticate",
        ] {
            assert!(!is_secret_header(name, "abc"), "{name}");
        }
        for (name, shown) in [
            ("authorization", REDACTED),
            ("user-agent", "abc"),
            ("x-stainless-os", "abc"),
            ("x-linear", "[3 bytes]"),
            ("session", "[3 bytes]"),
            ("x-session-id", "[3 bytes]"),
            ("token", "[3 bytes]"),
            ("chatgpt-account-id", "[3 bytes]"),
        ] {
            assert_eq!(header(name, "abc".into()), shown, "{name}");
        }
    }

    #[test]
    fn a_credential_is_known_by_its_form_under_any_name() {
        for (name, value, secret) in [
            ("x-forwarded-authorization-2", "Bearer abc", true),
            ("x-other", "bASIC abc", true),
            ("user-agent", "bearer/1 (basic)", false),
            ("www-authenticate", "Bearer", false),
        ] {
            assert_eq!(is_secret_header(name, value), secret, "{name}: {value}");
        }
    }

    #[test]
    fn members_are_known_in_any_case_and_however_they_are_joined() {
        for name in [
            "access_token",
            "accessToken",
            "ACCESS-TOKEN",
            "id_token",
            "token",
            "X-Linear-Token",
            "api_key",
            "apiKey",
            "x-api-key",
            "OPENAI_API_KEY",
            "private_key",
            "aws_secret_access_key",
            "client_secret",
            "clientSecret",
            "db_password",
            "passwd",
            "Authorization",
            "set-cookie",
            "code_verifier",
            "user_code",
            "device_auth_id",
            "credentials",
            "signing.key",
        ] {
            assert!(is_secret_member(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn members_that_only_sound_like_it_stay() {
        for name in [
            "code",
            "max_tokens",
            "input_tokens",
            "key",
            "bearer_token_file",
            "",
            "_",
            "tokens",
            "prompt_cache_key",
            "tokenizer",
            "secretary",
            "user_codes",
            "my_user_code",
        ] {
            assert!(!is_secret_member(name.as_bytes()), "{name}");
        }
        for length in 0..200 {
            assert!(!is_secret_member(&vec![b'a'; length]));
        }
        assert!(is_secret_parameter(b"Code") && is_secret_parameter(b"sig"));
        assert!(!is_secret_parameter(b"model") && !is_secret_parameter(b"LIMIT"));
    }
}
