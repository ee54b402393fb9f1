//! A code for tokens.
//!
//! Not here: how the code was come by (`browser`, `device`), what becomes of the tokens (`sign_in`).

use http::StatusCode;

use super::{
    form,
    issuer::{Answer, Content, Issuer, TOKEN},
    sign_in::SignInError,
};
use crate::{credential::Tokens, secret::Secret};

/// What a code is exchanged with.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    pub code: &'a Secret,
    pub verifier: &'a Secret,
    /// To the letter as the code was asked for.
    pub redirect_uri: &'a str,
}

impl Issuer {
    /// Exchanges the code, which works once. All three tokens are there.
    ///
    /// # Errors
    ///
    /// When the issuer refuses, answers anything else, or nothing in time.
    pub async fn exchange(&self, grant: &Grant<'_>) -> Result<Tokens, SignInError> {
        let form = form::encode(&[
            ("grant_type", "authorization_code"),
            ("code", grant.code.expose()),
            ("redirect_uri", grant.redirect_uri),
            ("client_id", self.client_id()),
            ("code_verifier", grant.verifier.expose()),
        ]);
        let answer = self.post(TOKEN, Content::Form(form)).await;
        read(&answer.map_err(SignInError::unanswered)?)
    }
}

fn read(answer: &Answer) -> Result<Tokens, SignInError> {
    let failed = |why: String| SignInError::Exchange { why, source: None };
    if answer.status != StatusCode::OK {
        return Err(failed(match answer.code().as_deref() {
            Some("invalid_grant") => {
                "the code is not valid, has expired or was already used".to_owned()
            }
            Some(_) | None => format!("the sign-in server answered {}", answer.status.as_u16()),
        }));
    }
    let tokens = answer.tokens();
    for (name, token) in [
        ("identity token", &tokens.id),
        ("access token", &tokens.access),
        ("refresh token", &tokens.refresh),
    ] {
        if token.is_none() {
            return Err(failed(format!("the sign-in server's answer holds no {name}")));
        }
    }
    Ok(tokens)
}
