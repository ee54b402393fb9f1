//! Talking to the server that issues tokens: one request, one answer, within a time.
//!
//! The answer may be a web page, an error in one of two shapes, or hold the very token we sent.
//! It is read for the codes we know and for nothing else.
//!
//! **Invariant:** requests go to the configured issuer and nowhere else.
//! **Invariant:** only [`Issuer::renew`] spends a refresh token, once per call.
//!
//! Not here: whether to renew, and what becomes of the tokens (`refresh`), signing in (`sign_in`).

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode, Uri,
    header::{ACCEPT, CONTENT_TYPE},
    uri::InvalidUri,
};
use http_body_util::Full;
use serde::Serialize;
use tower::ServiceExt;

use super::{LoginError, Outage};
use crate::{
    credential::Tokens,
    object::Object,
    secret::Secret,
    transport::{self, BoxError, Transport},
};

const ANSWER_LIMIT: usize = 256 << 10;
/// Where codes and refresh tokens become tokens.
pub const TOKEN: &str = "/oauth/token";

/// The server that issues tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Without a slash at its end.
    base: String,
    client_id: String,
    /// For one exchange, answer included.
    timeout: Duration,
    transport: Transport,
}

/// What is sent.
pub enum Content {
    Json(Result<Vec<u8>, serde_json::Error>),
    Form(String),
}

/// What the issuer said, whatever it was.
pub struct Answer {
    pub status: StatusCode,
    body: Vec<u8>,
}

/// The issuer said nothing that could be understood.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{outage}")]
pub struct Unanswered {
    pub outage: Outage,
    pub source: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Serialize)]
struct Renewal<'a> {
    client_id: &'a str,
    grant_type: &'static str,
    refresh_token: &'a str,
}

impl Issuer {
    /// `base` is such as `https://auth.openai.com`.
    ///
    /// # Errors
    ///
    /// When `base` is no address.
    pub fn new(
        base: &str,
        client_id: String,
        timeout: Duration,
        transport: Transport,
    ) -> Result<Self, InvalidUri> {
        let base = base.trim_end_matches('/').to_owned();
        base.parse::<Uri>()?;
        Ok(Self { base, client_id, timeout, transport })
    }

    /// The same with another time for one exchange.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// Its address, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// # Errors
    ///
    /// When no whole answer arrives in time.
    pub async fn post(&self, path: &str, content: Content) -> Result<Answer, Unanswered> {
        let (kind, body) = match content {
            Content::Json(body) => ("application/json", body.map_err(unreachable)?),
            Content::Form(body) => ("application/x-www-form-urlencoded", body.into_bytes()),
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header(CONTENT_TYPE, kind)
            .header(ACCEPT, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(unreachable)?;
        let exchange = async {
            let answer = self.transport.clone().oneshot(request).await.map_err(unreachable)?;
            let status = answer.status();
            let body = transport::read_at_most(answer.into_body(), ANSWER_LIMIT).await;
            Ok(Answer { status, body: body.map_err(unreachable)? })
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or(Err(Unanswered { outage: Outage::Silent, source: None }))
    }

    /// Spends `refresh`. What the answer leaves out is to stay as it was.
    ///
    /// # Errors
    ///
    /// When the issuer refuses for good, or does not answer as it should.
    pub async fn renew(&self, refresh: &Secret) -> Result<Tokens, LoginError> {
        let renewal = Renewal {
            client_id: &self.client_id,
            grant_type: "refresh_token",
            refresh_token: refresh.expose(),
        };
        let answer = self.post(TOKEN, Content::Json(serde_json::to_vec(&renewal))).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer));
        }
        let tokens = answer.tokens();
        if tokens.id.is_none() && !tokens.are_present() {
            return Err(LoginError::outage(Outage::Unreadable));
        }
        Ok(tokens)
    }
}

impl Answer {
    /// The body, if it is an object.
    pub fn object(&self) -> Option<Object<'_>> {
        Object::read(&self.body)
    }

    /// The tokens in it, as far as there are any.
    pub fn tokens(&self) -> Tokens {
        let answer = self.object();
        let token = |name| answer.as_ref()?.filled(name).map(Secret::new);
        Tokens {
            id: token("id_token"),
            access: token("access_token"),
            refresh: token("refresh_token"),
            account_id: None,
        }
    }

    /// The code of an error, in either shape, in lower case.
    pub fn code(&self) -> Option<String> {
        let answer = self.object()?;
        let nested = answer.object("error").and_then(|error| error.filled("code"));
        let code = nested.or_else(|| answer.filled("error")).or_else(|| answer.filled("code"))?;
        Some(code.to_ascii_lowercase())
    }
}

/// Known codes and every 401 are final; anything else may pass, such as a page of the network's
/// edge with status 403.
fn refusal(answer: &Answer) -> LoginError {
    let code = answer.code().unwrap_or_default();
    if is_final(&code) || answer.status == StatusCode::UNAUTHORIZED {
        final_refusal(&code)
    } else {
        LoginError::outage(Outage::Status(answer.status.as_u16()))
    }
}

fn is_final(code: &str) -> bool {
    FINAL.iter().any(|(known, _)| *known == code)
}

/// What it means that the issuer refused for good, with this code.
pub(super) fn final_refusal(code: &str) -> LoginError {
    let known = FINAL.iter().find(|(known, _)| *known == code);
    let (code, message) = known.copied().unwrap_or(("other", UNKNOWN));
    LoginError::Terminal { code, message }
}

/// Codes after which only a new login helps, and what they mean.
const FINAL: &[(&str, &str)] = &[
    ("refresh_token_expired", EXPIRED),
    ("token_expired", EXPIRED),
    ("refresh_token_reused", REUSED),
    ("refresh_token_invalidated", REVOKED),
    ("invalid_refresh_token", REVOKED),
    ("invalid_grant", REVOKED),
    ("token_invalidated", REVOKED),
    ("app_session_terminated", ENDED),
    ("account_session_expired", ENDED),
    ("account_deactivated", CLOSED),
    ("account_suspended", CLOSED),
    ("account_deleted", CLOSED),
    (OTHER_ACCOUNT, "the sign-in server answered with tokens of another account."),
];
/// Not one of the issuer's: it answered as if all were well.
pub(super) const OTHER_ACCOUNT: &str = "other_account";
const UNKNOWN: &str = "the sign-in server does not accept this login any more.";
const EXPIRED: &str = "the refresh token has expired.";
const REUSED: &str = "the refresh token was already used: by another program that shares this login, or by a \
     renewal that was cut off before its answer was on the disk.";
const REVOKED: &str = "the refresh token was revoked.";
const ENDED: &str = "the session was ended.";
const CLOSED: &str = "the account is deactivated, suspended or deleted.";

fn unreachable(error: impl Into<BoxError>) -> Unanswered {
    Unanswered { outage: Outage::Unreachable, source: Some(Arc::from(error.into())) }
}
