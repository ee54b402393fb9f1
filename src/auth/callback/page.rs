//! The pages that the browser sees at the end: what came of the login, in words.
//!
//! **Invariant:** nothing in them is loaded from anywhere, and nothing in them runs.
//! **Invariant:** whatever was not written here is escaped.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use http_body_util::Full;
use sha2::{Digest, Sha256};

use crate::auth::sign_in::{Completed, SignInError};

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const CHECK: &str = "M7 12.5l3.4 3.4L17.2 9";
const CROSS: &str = "M8.5 8.5l7 7m0-7l-7 7";

/// One page and its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    status: StatusCode,
    title: &'static str,
    text: String,
    hint: String,
}

impl Page {
    /// What came of a login.
    pub fn of(outcome: &Result<Completed, SignInError>) -> Self {
        match outcome {
            Ok(completed) => Self::completed(completed),
            Err(error) => Self {
                status: status(error),
                title: "Not signed in",
                text: format!("{error}."),
                hint: match error.hint() {
                    Some(hint) => format!("{hint} The terminal says more."),
                    None => "The terminal says more.".to_owned(),
                },
            },
        }
    }

    fn completed(completed: &Completed) -> Self {
        let account = completed.email.as_deref().unwrap_or_else(|| completed.account_id.as_str());
        Self {
            status: StatusCode::OK,
            title: "Signed in",
            text: format!("AIRelays on this machine now uses the ChatGPT account {account}."),
            hint: "You can close this page and go back to the terminal.".to_owned(),
        }
    }

    /// For a request that does not count.
    pub fn stray(status: StatusCode, text: &str) -> Self {
        Self {
            status,
            title: "Nothing to do here",
            text: text.to_owned(),
            hint: "AIRelays listens here while a login is going on.".to_owned(),
        }
    }

    /// For a browser whose login went away.
    pub fn ended() -> Self {
        Self {
            status: StatusCode::GONE,
            title: "Not signed in",
            text: "The login was ended before it was complete; nothing was saved.".to_owned(),
            hint: "Run `airelays login` again.".to_owned(),
        }
    }

    pub fn answer(&self) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::new(Bytes::from(self.render())));
        *answer.status_mut() = self.status;
        for (name, value) in HEADERS {
            answer.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
        }
        // Base64 and keywords are always a header's value; without one the page has no rights.
        let policy = HeaderValue::from_str(&policy()).unwrap_or(NO_RIGHTS);
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        answer
    }

    fn render(&self) -> String {
        let (kind, mark) =
            if self.status == StatusCode::OK { ("good", CHECK) } else { ("bad", CROSS) };
        let [title, text, hint] = [self.title, &self.text, &self.hint].map(marked_up);
        let parts = [
            ("style", STYLE),
            ("kind", kind),
            ("mark", mark),
            ("title", &title),
            ("text", &text),
            ("hint", &hint),
        ];
        // One pass, so that no part is taken for a place of another.
        let mut out = String::with_capacity(FRAME.len() + STYLE.len() + 512);
        let mut rest = FRAME;
        while let Some((before, (name, after))) = rest
            .split_once("{{")
            .and_then(|(before, after)| Some((before, after.split_once("}}")?)))
        {
            out.push_str(before);
            out.push_str(parts.iter().find(|(own, _)| *own == name).map_or("", |(_, part)| part));
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
const NO_RIGHTS: HeaderValue = HeaderValue::from_static("default-src 'none'");

/// The one style may apply, and nothing else may anything.
fn policy() -> String {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

fn status(error: &SignInError) -> StatusCode {
    match error {
        SignInError::Denied(_)
        | SignInError::NoAccount
        | SignInError::TwoAccounts
        | SignInError::Workspace { .. } => StatusCode::FORBIDDEN,
        SignInError::Exchange { .. }
        | SignInError::Device { .. }
        | SignInError::DeviceDisabled
        | SignInError::DeviceTimedOut(_) => StatusCode::BAD_GATEWAY,
        SignInError::TimedOut(_) | SignInError::Interrupted => StatusCode::GONE,
        SignInError::Ports { .. }
        | SignInError::Save(_)
        | SignInError::Keyring(_)
        | SignInError::Random(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// `text` with what stands between backticks as code.
fn marked_up(text: &str) -> String {
    let parts = text.split('`').map(escaped).enumerate();
    let mut out = String::with_capacity(text.len());
    for (number, part) in parts {
        let code = number % 2 == 1;
        let (open, close) = if code { ("<code>", "</code>") } else { ("", "") };
        out.extend([open, &part, close]);
    }
    out
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
        out
    })
}
