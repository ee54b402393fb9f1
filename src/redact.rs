//! What may be written down: secrets are hidden by the name they go under, and by what they are.
//!
//! By name: headers, query parameters, form fields and JSON members that are known to carry
//! credentials lose their value. By value: a [`Redactor`] knows the secrets that are in use, and
//! hides them wherever they turn up, in a prompt as well as in an error text.
//!
//! The member `code` is hidden in forms and queries only, where it is an authorization code. In
//! JSON it is what errors are told apart by, and no JSON that is logged carries a login's code.
//!
//! Invariant: a redacted line of JSON is a line of JSON.
//!
//! Not here: which parts of a request are written down at all (`traffic`).

pub mod json;
pub mod literal;
pub mod query;
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

/// Names of JSON members that carry a credential, in lower case.
const MEMBERS: &[&str] = &[
    "access_token",
    "actor_token",
    "api-key",
    "api_key",
    "apikey",
    "assertion",
    "authorization",
    "authorization_code",
    "bearer_token",
    "client_assertion",
    "client_secret",
    "code_verifier",
    "cookie",
    "device_auth_id",
    "device_code",
    "id_token",
    "openai_api_key",
    "password",
    "proxy-authorization",
    "refresh_token",
    "relay_token",
    "set-cookie",
    "subject_token",
    "user_code",
    "x-api-key",
    "x-auth-token",
];

/// The bit `n` says whether one of [`MEMBERS`] has `n` bytes.
const LENGTHS: u64 = {
    let (mut lengths, mut n) = (0, 0);
    while n < MEMBERS.len() {
        lengths |= 1 << MEMBERS[n].len();
        n += 1;
    }
    lengths
};

/// Parameters of queries and forms that carry a credential besides those of [`MEMBERS`].
const PARAMETERS: &[&str] = &["code", "key", "state", "token"];

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

/// Whether the text under this JSON member is a credential. Any case.
pub fn is_secret_member(name: &[u8]) -> bool {
    // Every member of every body is asked about, and few are as long as these.
    LENGTHS.checked_shr(name.len().try_into().unwrap_or(u32::MAX)).is_some_and(|at| at & 1 == 1)
        && MEMBERS.iter().any(|member| name.eq_ignore_ascii_case(member.as_bytes()))
}

/// Whether the value of this query parameter or form field is a credential. Any case.
pub fn is_secret_parameter(name: &[u8]) -> bool {
    is_secret_member(name)
        || PARAMETERS.iter().any(|parameter| name.eq_ignore_ascii_case(parameter.as_bytes()))
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
    fn members_are_known_in_any_case() {
        for name in MEMBERS {
            assert!(is_secret_member(name.to_ascii_uppercase().as_bytes()), "{name}");
        }
    }

    #[test]
    fn members_that_only_sound_like_it_stay() {
        for name in [
            "code",
            "token",
            "max_tokens",
            "input_tokens",
            "key",
            "bearer_token_file",
            "",
            "tokens",
        ] {
            assert!(!is_secret_member(name.as_bytes()), "{name}");
        }
        for length in 0..200 {
            assert!(!is_secret_member(&vec![b'a'; length]));
        }
        assert!(is_secret_parameter(b"Code") && is_secret_parameter(b"access_token"));
        assert!(!is_secret_parameter(b"model"));
    }
}
