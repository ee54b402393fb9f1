//! The issuer: authorization, tokens, rotation, revocation.
//!
//! Nobody has to click: a request in order is redirected at once.
//!
//! **Invariant:** a code and a refresh token work once.
//!
//! Not here: the device flow (`device`).

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Uri, header::CONTENT_TYPE};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::sim::{
    Simulator,
    account::{Account, CLIENT_ID, Denied, Tokens},
    answer::{Answer, Wrong, cloudflare},
    form::{encode, pairs, value},
    tree::{fields, object, put, text},
    world::{Authorize, Exchange, RedirectPorts, Refresh, TokenError, World},
};

/// How long a code can be exchanged, in seconds.
const CODE_LIFETIME: i64 = 600;

/// Codes that were handed out.
#[derive(Debug, Default)]
pub(super) struct Codes(HashMap<String, Code>);

#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) account: Arc<Account>,
    pub(super) redirect: Redirect,
    pub(super) challenge: String,
    /// Whole seconds since 1970.
    pub(super) made: i64,
}

/// What `redirect_uri` must be when the code is exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    Exactly(String),
    /// A device login does not know under which address it was reached.
    EndsWith(&'static str),
}

impl Codes {
    pub(super) fn add(&mut self, name: String, code: Code) {
        self.0.insert(name, code);
    }
}

type Pairs = [(String, String)];

impl Simulator {
    /// `GET /oauth/authorize`.
    pub(super) fn authorize(&self, uri: &Uri) -> Answer {
        let world = self.world();
        let query = pairs(uri.query().unwrap_or_default());
        if let Err(param) = check_authorize(&query, &world) {
            let message = format!("Invalid value for '{param}'.");
            let code = Some("invalid_request");
            return Answer::wrong(400, Wrong { message: &message, param: Some(param), code });
        }
        let result = match world.authorize {
            Authorize::Ok => format!("code={}", self.grant(&query, &world)),
            Authorize::AccessDenied => {
                "error=access_denied&error_description=The%20user%20denied%20the%20request"
                    .to_owned()
            }
            Authorize::MissingEntitlement => {
                "error=access_denied&error_description=missing_codex_entitlement".to_owned()
            }
            Authorize::NoWorkspace => {
                let message = "No eligible ChatGPT workspaces found.";
                let code = Some("chatgpt_account_missing");
                return Answer::wrong(400, Wrong { message, param: None, code });
            }
        };
        let target = value(&query, "redirect_uri");
        let state = encode(value(&query, "state"));
        Answer::empty(302).with("location", &format!("{target}?{result}&state={state}"))
    }

    fn grant(&self, query: &Pairs, world: &World) -> String {
        let account = self.login_account(world, value(query, "allowed_workspace_id"));
        let name = format!("ac_{}", self.mint().hex(43));
        let code = Code {
            account,
            redirect: Redirect::Exactly(value(query, "redirect_uri").to_owned()),
            challenge: value(query, "code_challenge").to_owned(),
            made: self.unix(),
        };
        self.codes().add(name.clone(), code);
        name
    }

    /// The account that signs in: the one of this world, unless only others are allowed.
    pub(super) fn login_account(&self, world: &World, allowed: &str) -> Arc<Account> {
        let mut accounts = self.accounts();
        let usual = accounts.named(&world.login_account);
        if allowed.is_empty() || allowed.split(',').any(|id| id == usual.id) {
            return usual;
        }
        allowed.split(',').find_map(|id| accounts.with_id(id)).unwrap_or(usual)
    }

    /// `POST /oauth/token`.
    pub(super) fn token(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let world = self.world();
        let form = read_form(headers, body);
        match value(&form, "grant_type") {
            "authorization_code" => self.exchange(&form, &world),
            "refresh_token" => self.refresh(&form, &world),
            "urn:ietf:params:oauth:grant-type:token-exchange" => {
                let key = format!("sk-sim-{}", self.mint().hex(40));
                Answer::json(200, &object! {"access_token": key})
            }
            _ => token_error(&world, "unsupported_grant_type", "This grant type is not supported."),
        }
    }

    fn exchange(&self, form: &Pairs, world: &World) -> Answer {
        match world.exchange {
            Exchange::Ok => {}
            Exchange::ServerError => return Answer::empty(500),
            Exchange::Cloudflare => return cloudflare(403),
        }
        let refused = |why| token_error(world, "invalid_grant", why);
        if value(form, "client_id") != CLIENT_ID {
            return token_error(world, "invalid_client", "There is no such client.");
        }
        // A code is gone after the first try, successful or not.
        let Some(code) = self.codes().0.remove(value(form, "code")) else {
            return refused("The code is invalid or has already been used.");
        };
        let redirect = value(form, "redirect_uri");
        let same = match &code.redirect {
            Redirect::Exactly(expected) => redirect == expected,
            Redirect::EndsWith(path) => redirect.ends_with(path),
        };
        if !same {
            return refused("The redirect_uri differs from the one of the authorization.");
        }
        if code.made.saturating_add(CODE_LIFETIME) < self.unix() {
            return refused("The code has expired.");
        }
        let verifier = Sha256::digest(value(form, "code_verifier"));
        if URL_SAFE_NO_PAD.encode(verifier) != code.challenge {
            return refused("The code_verifier does not fit the code_challenge.");
        }
        let tokens = self.issue(&code.account, world);
        let mut answer = token_fields(&tokens);
        put(&mut answer, "token_type", "Bearer");
        put(&mut answer, "expires_in", world.token_lifetime);
        put(&mut answer, "scope", "openid profile email offline_access");
        Answer::json(200, &answer)
    }

    fn refresh(&self, form: &Pairs, world: &World) -> Answer {
        let token = value(form, "refresh_token");
        self.count(|counters| counters.refreshes += 1);
        match world.refresh {
            Refresh::Ok | Refresh::OtherAccount => {}
            Refresh::Expired => return refresh_error(Denied::Expired),
            Refresh::Invalidated => return refresh_error(Denied::Invalidated),
            Refresh::ServerError => return Answer::empty(500),
            Refresh::Cloudflare => return cloudflare(403),
        }
        let known = self.accounts().refreshable(token);
        let account = match known {
            Ok(account) => account,
            Err(why) => {
                if why == Denied::Spent {
                    self.count(|counters| counters.spent_refreshes += 1);
                }
                return refresh_error(why);
            }
        };
        let is_another = matches!(world.refresh, Refresh::OtherAccount);
        let account = if is_another { self.accounts().named("second") } else { account };
        let mut answer = token_fields(&self.issue(&account, world));
        if let Some(map) = answer.as_object_mut() {
            map.retain(|name, _| !world.refresh_omits.contains(name));
        }
        if !text(&answer, "refresh_token").is_empty() {
            self.accounts().spend(token);
        }
        Answer::json(200, &answer)
    }

    /// `POST /oauth/revoke`.
    pub(super) fn revoke(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let form = read_form(headers, body);
        if self.accounts().revoke(value(&form, "token")) {
            self.count(|counters| counters.revocations += 1);
        }
        Answer::json(200, &object! {})
    }

    pub(super) fn issue(&self, account: &Arc<Account>, world: &World) -> Tokens {
        let times = (self.unix(), world.issuer_clock, world.token_lifetime);
        self.accounts().issue(account, self.mint(), times)
    }
}

/// The first parameter that is not as it must be.
fn check_authorize(query: &Pairs, world: &World) -> Result<(), &'static str> {
    let is = |name, expected: &str| value(query, name) == expected;
    let scopes = value(query, "scope");
    let fine = [
        ("response_type", is("response_type", "code")),
        ("client_id", is("client_id", CLIENT_ID)),
        ("redirect_uri", is_registered(value(query, "redirect_uri"), world)),
        ("scope", scopes.split(' ').any(|scope| scope == "offline_access")),
        // 32 bytes in base64url.
        ("code_challenge", value(query, "code_challenge").len() == 43),
        ("code_challenge_method", is("code_challenge_method", "S256")),
        ("state", !is("state", "")),
    ];
    fine.iter().find(|(_, fine)| !fine).map_or(Ok(()), |(name, _)| Err(*name))
}

fn is_registered(redirect: &str, world: &World) -> bool {
    let Some(rest) = redirect.strip_prefix("http://localhost:") else { return false };
    let Some((port, path)) = rest.split_once('/') else { return false };
    let any = world.redirect_ports == RedirectPorts::Any && port.parse::<u16>().is_ok();
    path == "auth/callback" && (any || port == "1455" || port == "1457")
}

/// Fields of a JSON object or a form.
pub(super) fn read_form(headers: &HeaderMap, body: &[u8]) -> Vec<(String, String)> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return pairs(&String::from_utf8_lossy(body));
    }
    let tree: Value = serde_json::from_slice(body).unwrap_or_default();
    fields(&tree)
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn token_fields(tokens: &Tokens) -> Value {
    object! {
        "id_token": tokens.id.as_str(),
        "access_token": tokens.access.as_str(),
        "refresh_token": tokens.refresh.as_str(),
    }
}

fn token_error(world: &World, code: &str, description: &str) -> Answer {
    match world.token_errors {
        TokenError::OAuth => {
            Answer::json(400, &object! {"error": code, "error_description": description})
        }
        TokenError::OpenAi => {
            Answer::wrong(400, Wrong { message: description, param: None, code: Some(code) })
        }
    }
}

fn refresh_error(why: Denied) -> Answer {
    let (code, message) = match why {
        Denied::Spent => (
            "refresh_token_reused",
            "Your refresh token has already been used to generate a new access token. Please try signing in again.",
        ),
        Denied::Expired => (
            "refresh_token_expired",
            "Your refresh token has expired. Please try signing in again.",
        ),
        Denied::Unknown | Denied::Revoked | Denied::Invalidated => (
            "refresh_token_invalidated",
            "Your refresh token has been invalidated. Please try signing in again.",
        ),
    };
    Answer::wrong(401, Wrong { message, param: None, code: Some(code) })
}

#[cfg(test)]
mod tests;
