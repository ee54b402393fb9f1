//! The tokens of one ChatGPT login: what they say and when they need renewing.
//!
//! The access token is a JWT. Its signature is not checked: the token came from its issuer over
//! TLS, only the issuer can use it, and nothing is allowed or denied on its word. Whatever cannot
//! be read from it is simply not known.
//!
//! **Invariant:** a [`Credential`] can be written into headers; no token that could not gets into one.
//! **Invariant:** time is an argument.
//!
//! Not here: where tokens are kept and how they are renewed (`auth`).

use std::{fmt, sync::Arc};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use jiff::{SignedDuration, Timestamp};

use crate::{object::Object, secret::Secret};

/// A token that ends this soon is renewed before it is used.
const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// How long a token whose end cannot be read is trusted to last.
const TRUSTED: SignedDuration = SignedDuration::from_hours(8 * 24);

const AUTH_CLAIM: &str = "https://api.openai.com/auth";
const PROFILE_CLAIM: &str = "https://api.openai.com/profile";

/// Issuers differ in padding; nothing depends on it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A ChatGPT account or workspace, as the upstream names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountId(Arc<str>);

impl AccountId {
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a request to the upstream is signed with.
#[derive(Clone, Debug)]
pub struct Credential {
    pub access: Secret,
    pub account_id: AccountId,
    /// The account lives in the `FedRAMP` environment, which the upstream wants to be told.
    pub fedramp: bool,
}

impl Credential {
    /// Whether both carry the same access token.
    pub fn is_same_token(&self, other: &Self) -> bool {
        self.access.matches(other.access.expose().as_bytes())
    }
}

/// The tokens of one login, as far as they are there.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    pub id: Option<Secret>,
    pub access: Option<Secret>,
    pub refresh: Option<Secret>,
    /// As written beside the tokens. May be missing where a claim says it.
    pub account_id: Option<AccountId>,
}

/// When an access token should be renewed and when it ends. A missing one ended long ago; one
/// without a readable end has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    due: Timestamp,
    end: Timestamp,
}

impl Lifetime {
    /// Whether the token should be renewed before its next use.
    pub fn is_due(self, now: Timestamp) -> bool {
        self.due <= now
    }

    /// Whether the token cannot be expected to work any more.
    pub fn is_over(self, now: Timestamp) -> bool {
        self.end <= now
    }
}

/// Why tokens make no [`Credential`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("there is neither an access token nor a refresh token")]
    NoTokens,
    #[error("there is no access token that could be sent")]
    NoAccess,
    #[error("the tokens belong to no known account")]
    NoAccount,
    #[error("the tokens belong to another account than the login is bound to")]
    OtherAccount,
}

impl Tokens {
    /// Whether there is anything to sign in with.
    pub fn are_present(&self) -> bool {
        self.access.is_some() || self.refresh.is_some()
    }

    /// Whether a token of theirs is one of these.
    pub fn share_one_with(&self, other: &Self) -> bool {
        let is_same = |one: &Option<Secret>, other: &Option<Secret>| match (one, other) {
            (Some(one), Some(other)) => one.matches(other.expose().as_bytes()),
            (None, _) | (Some(_), None) => false,
        };
        is_same(&self.refresh, &other.refresh) || is_same(&self.access, &other.access)
    }

    /// The account: as written down, else as the identity token says, else the access token.
    pub fn account_id(&self) -> Option<AccountId> {
        self.account_id.clone().or_else(|| self.claims().account_id)
    }

    /// The account that both tokens name, or the one that names any.
    ///
    /// # Errors
    ///
    /// When they name different ones.
    pub fn agreed_account_id(&self) -> Result<Option<AccountId>, Unusable> {
        let named =
            |token: &Option<Secret>| token.as_ref().and_then(|jwt| Claims::read(jwt).account_id);
        match (named(&self.id), named(&self.access)) {
            (Some(id), Some(access)) if id != access => Err(Unusable::OtherAccount),
            (id, access) => Ok(id.or(access)),
        }
    }

    /// What the identity token says, completed from the access token. The end is the access
    /// token's alone.
    pub fn claims(&self) -> Claims {
        let access = self.access.as_ref().map(Claims::read).unwrap_or_default();
        let id = self.id.as_ref().map(Claims::read).unwrap_or_default();
        Claims {
            expires_at: access.expires_at,
            email: id.email.or(access.email),
            plan_type: id.plan_type.or(access.plan_type),
            account_id: id.account_id.or(access.account_id),
            user_id: id.user_id.or(access.user_id),
            fedramp: id.fedramp || access.fedramp,
        }
    }

    /// How long they last, given when they were renewed last.
    pub fn lifetime(&self, last_refresh: Option<Timestamp>) -> Lifetime {
        let after = |from: Timestamp, by| from.saturating_add(by).unwrap_or(Timestamp::MAX);
        let before = |from: Timestamp, by| from.saturating_sub(by).unwrap_or(Timestamp::MIN);
        match (&self.access, self.claims().expires_at) {
            (None, _) => Lifetime { due: Timestamp::MIN, end: Timestamp::MIN },
            (Some(_), Some(end)) => Lifetime { due: before(end, EARLY), end },
            (Some(_), None) => {
                let due = last_refresh.map_or(Timestamp::MIN, |last| after(last, TRUSTED));
                Lifetime { due, end: Timestamp::MAX }
            }
        }
    }

    /// These tokens with what `answer` brings; what it leaves out stays.
    #[must_use]
    pub fn renewed(&self, answer: Self) -> Self {
        let old = self.clone();
        let mut new = Self {
            id: answer.id.or(old.id),
            access: answer.access.or(old.access),
            refresh: answer.refresh.or(old.refresh),
            account_id: old.account_id.or(answer.account_id),
        };
        new.account_id = new.account_id();
        new
    }

    /// What to sign requests with, for the account that the login is bound to. A login that is
    /// bound to none is bound to the account it names.
    ///
    /// # Errors
    ///
    /// When the access token or the account is missing, cannot be sent, or is another account's.
    pub fn credential(&self, bound: Option<&AccountId>) -> Result<Credential, Unusable> {
        if !self.are_present() {
            return Err(Unusable::NoTokens);
        }
        let account_id = self.account_id().filter(|id| is_sendable(id.as_str()));
        let account_id = account_id.ok_or(Unusable::NoAccount)?;
        if bound.is_some_and(|bound| *bound != account_id) {
            return Err(Unusable::OtherAccount);
        }
        let access = self.access.clone().filter(|access| is_sendable(access.expose()));
        let access = access.ok_or(Unusable::NoAccess)?;
        Ok(Credential { access, account_id, fedramp: self.claims().fedramp })
    }
}

/// What a token says about itself and its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub expires_at: Option<Timestamp>,
    pub email: Option<String>,
    /// An open set: `plus`, `pro`, `team`, ..
    pub plan_type: Option<String>,
    pub account_id: Option<AccountId>,
    pub user_id: Option<String>,
    pub fedramp: bool,
}

impl Claims {
    /// Reads the payload of a JWT. Nothing is known of a token that is none.
    pub fn read(jwt: &Secret) -> Self {
        Self::readable(jwt).unwrap_or_default()
    }

    /// The same; `None` when it is none.
    pub fn readable(jwt: &Secret) -> Option<Self> {
        let payload = BASE64.decode(jwt.expose().split('.').nth(1)?).ok()?;
        Object::read(&payload).map(|claims| Self::of(&claims))
    }

    fn of(claims: &Object<'_>) -> Self {
        let auth = claims.object(AUTH_CLAIM);
        let auth = |name| auth.as_ref().and_then(|auth| auth.filled(name));
        let profile_email = || claims.object(PROFILE_CLAIM)?.filled("email");
        let fedramp = || claims.object(AUTH_CLAIM)?.flag("chatgpt_account_is_fedramp");
        Self {
            expires_at: claims.integer("exp").and_then(|end| Timestamp::from_second(end).ok()),
            email: claims.filled("email").or_else(profile_email),
            plan_type: auth("chatgpt_plan_type"),
            account_id: auth("chatgpt_account_id").map(|id| AccountId::new(&id)),
            user_id: auth("chatgpt_user_id").or_else(|| auth("user_id")),
            fedramp: fedramp().unwrap_or_default(),
        }
    }
}

/// Whether `text` can stand in a header as it is.
fn is_sendable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
