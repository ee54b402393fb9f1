//! The browser flow: an address to open, and a code that comes back to this machine.
//!
//! It comes back by itself to the listener (`callback`), or by the owner's hand where the browser
//! is on another machine. Whichever is first counts.
//!
//! **Invariant:** what comes over the network counts only with the state of this login.
//! **Invariant:** the verifier never leaves this process except to the issuer.
//!
//! Not here: the exchange (`exchange`), saving (`sign_in`), who opens the address (`cli`).

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{
    callback::{Brought, Callback, Page},
    exchange::Grant,
    form,
    paste::{self, Pasted},
    sign_in::{Completed, Progress, SignIn, SignInError, Tell},
};
use crate::{clock, credential::AccountId, secret::Secret};

/// The ports that the issuer lets a browser come back to, in the order in which they are tried.
pub const REGISTERED_PORTS: &[u16] = &[1455, 1457];

const AUTHORIZE: &str = "/oauth/authorize";
/// What is needed to keep a login, and no more.
const SCOPE: &str = "openid profile email offline_access";
/// As in requests to the upstream; see decision 0011.
const ORIGINATOR: &str = "codex_cli_rs";

/// How this one is done.
#[derive(Debug)]
pub struct Settings {
    /// Tried in this order; 0 is any free one.
    pub ports: Vec<u16>,
    /// For the owner to come to an end.
    pub within: Duration,
    /// Lines that the owner pastes.
    pub pasted: mpsc::Receiver<String>,
}

/// What makes the code useless to everyone else.
#[derive(Debug)]
struct Pkce {
    verifier: Secret,
    challenge: String,
}

impl Pkce {
    fn new() -> Result<Self, getrandom::Error> {
        let verifier = BASE64_URL_SAFE_NO_PAD.encode(clock::random::<64>()?);
        let challenge = challenge(&verifier);
        Ok(Self { verifier: Secret::new(verifier), challenge })
    }
}

fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// Signs in with a browser.
///
/// # Errors
///
/// When neither port is free, the owner does not come to an end in time or is turned away, or what
/// comes of it is of no use.
pub async fn sign_in(
    with: &SignIn,
    settings: Settings,
    tell: Tell<'_>,
) -> Result<Completed, SignInError> {
    let Settings { ports, within, mut pasted } = settings;
    with.prepare().await?;
    let Pkce { verifier, challenge } = Pkce::new().map_err(SignInError::Random)?;
    let state = BASE64_URL_SAFE_NO_PAD.encode(clock::random::<32>().map_err(SignInError::Random)?);
    let state = Secret::new(state);
    let callback = Callback::bind(&ports).await?;
    let redirect_uri = callback.redirect_uri();
    let asked = Asked {
        client_id: with.issuer.client_id(),
        redirect_uri: &redirect_uri,
        challenge: &challenge,
        state: &state,
        workspace: with.workspace.as_ref(),
    };
    let address = asked.address(with.issuer.base());
    let mut callback = callback.serve(state.clone());
    tell(Progress::Open { address: &address, redirect_uri: &redirect_uri });
    let brought = tokio::time::timeout(within, async {
        tokio::select! {
            brought = callback.brought() => brought,
            brought = by_hand(&mut pasted, &state, tell) => brought,
        }
    });
    let outcome = match with.unless_stopped(brought).await {
        Ok(Ok(Ok(code))) => {
            tell(Progress::Exchanging);
            with.complete(&Grant { code: &code, verifier: &verifier, redirect_uri: &redirect_uri })
                .await
        }
        Ok(Ok(Err(denial))) => Err(SignInError::Denied(denial)),
        Ok(Err(_)) => Err(SignInError::TimedOut(within)),
        Err(interrupted) => Err(interrupted),
    };
    callback.finish(Page::of(&outcome)).await;
    outcome
}

/// The first line that is of use. Never ends when no more lines come.
async fn by_hand(pasted: &mut mpsc::Receiver<String>, state: &Secret, tell: Tell<'_>) -> Brought {
    while let Some(line) = pasted.recv().await {
        match paste::read(&line, state) {
            Pasted::Nothing => {}
            Pasted::Brought(brought) => return brought,
            Pasted::Unusable(why) => tell(Progress::Unusable(why)),
        }
    }
    std::future::pending().await
}

/// What the issuer is asked for.
#[derive(Debug)]
struct Asked<'a> {
    client_id: &'a str,
    redirect_uri: &'a str,
    challenge: &'a str,
    state: &'a Secret,
    workspace: Option<&'a AccountId>,
}

impl Asked<'_> {
    /// In the order of the official client.
    fn address(&self, issuer: &str) -> String {
        let mut query = vec![
            ("response_type", "code"),
            ("client_id", self.client_id),
            ("redirect_uri", self.redirect_uri),
            ("scope", SCOPE),
            ("code_challenge", self.challenge),
            ("code_challenge_method", "S256"),
            // Puts the account into the tokens.
            ("id_token_add_organizations", "true"),
            ("codex_cli_simplified_flow", "true"),
            ("state", self.state.expose()),
            ("originator", ORIGINATOR),
        ];
        if let Some(workspace) = self.workspace {
            query.push(("allowed_workspace_id", workspace.as_str()));
        }
        format!("{issuer}{AUTHORIZE}?{}", form::encode(&query))
    }
}

#[cfg(test)]
mod tests;
