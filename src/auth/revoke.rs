//! Ending a login: telling its issuer, then forgetting it.
//!
//! Telling the issuer is an offer: whatever comes of it, the login is forgotten here.
//!
//! **Invariant:** tokens are told to their own issuer and to no other.
//! **Invariant:** a token that another program still uses is not revoked.

use std::{error::Error, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    Outage,
    file::{Deleted, ReadError, Store},
    issuer::{Content, Issuer, Unanswered},
    lock,
    stored::Record,
    vault::Unopened,
};
use crate::{credential::Tokens, keyring::NoKeyring};

const REVOKE: &str = "/oauth/revoke";
/// Nobody should wait long for a courtesy.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the issuer was told.
#[derive(Clone, Debug)]
pub enum Revocation {
    Done,
    /// There was no token to speak of.
    Nothing,
    /// Another program has the same login.
    Shared,
    /// Another issuer made it than the one that is set.
    Foreign,
    /// It is sealed, and its key was not to be had.
    Unopened(Unopened),
    Failed(Unanswered),
}

/// What became of a stored login.
#[derive(Clone, Debug)]
pub struct SignedOut {
    pub deleted: bool,
    pub revocation: Revocation,
    /// Why the keyring still has the key of the login, if it has.
    pub key_left: Option<NoKeyring>,
}

/// The login is still there.
#[derive(Clone, Debug, thiserror::Error)]
#[error("The stored ChatGPT login could not be deleted")]
pub struct Kept(#[source] Arc<dyn Error + Send + Sync>);

impl Kept {
    fn because(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

#[derive(Serialize)]
struct Ending<'a> {
    token: &'a str,
    token_type_hint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
}

/// Tells `issuer` that nobody needs `login` any more, unless it is what `others` use.
pub async fn revoke(issuer: &Issuer, login: &Record, others: Option<&Tokens>) -> Revocation {
    if login.is_foreign(issuer.base()) {
        return Revocation::Foreign;
    }
    if others.is_some_and(|others| login.tokens.share_one_with(others)) {
        return Revocation::Shared;
    }
    let Tokens { refresh, access, .. } = &login.tokens;
    let ending = match (refresh, access) {
        (Some(refresh), _) => Ending {
            token: refresh.expose(),
            token_type_hint: "refresh_token",
            client_id: Some(issuer.client_id()),
        },
        (None, Some(access)) => {
            Ending { token: access.expose(), token_type_hint: "access_token", client_id: None }
        }
        (None, None) => return Revocation::Nothing,
    };
    let content = Content::Json(serde_json::to_vec(&ending));
    match issuer.within(PATIENCE).post(REVOKE, content).await {
        Ok(answer) if answer.status.is_success() => Revocation::Done,
        Ok(answer) => Revocation::Failed(Unanswered {
            outage: Outage::Status(answer.status.as_u16()),
            source: None,
        }),
        Err(unanswered) => Revocation::Failed(unanswered),
    }
}

/// Revokes and forgets the login in `store`. Others let go of its file within `wait`.
///
/// # Errors
///
/// When it is there and stays there.
pub async fn sign_out(
    store: &Store,
    issuer: &Issuer,
    others: Option<&Tokens>,
    wait: Duration,
) -> Result<SignedOut, Kept> {
    if store.stamp().map_err(Kept::because)?.is_none() {
        let revocation = Revocation::Nothing;
        return Ok(SignedOut { deleted: false, revocation, key_left: None });
    }
    // Held until the end: a renewal meanwhile would bring the login back.
    let alone = lock(store, wait).await.map_err(Kept::because)?;
    let revocation = match store.load() {
        Ok(Some(found)) => revoke(issuer, &found.record, others).await,
        Err(ReadError::Sealed(why)) => Revocation::Unopened(why),
        Ok(None) | Err(_) => Revocation::Nothing,
    };
    let Deleted { was_there, key_left } = store.delete(&alone).map_err(Kept::because)?;
    Ok(SignedOut { deleted: was_there, revocation, key_left })
}

#[cfg(test)]
mod tests;
