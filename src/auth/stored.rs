//! The stored login as text: our own record and the Codex CLI's, which differ little.
//!
//! The file may be shared with another program. What we do not know in it is therefore written
//! back as it was, in its place, and only what a renewal changed is changed.
//!
//! **Invariant:** no content makes this panic; odd content is an error with a sentence or, where
//! nothing depends on it, as good as absent.
//!
//! Not here: the file itself (`file`).

use std::mem;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::{
    credential::{AccountId, Tokens},
    object::Object,
    secret::Secret,
};

/// Who issued the tokens, as we write it. Programs that do not know it leave it alone.
const ISSUER: &str = "airelays_issuer";

/// Why a content is no login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the stored login is not a JSON object")]
    NoObject,
    #[error("`{0}` in the stored login has an unexpected type")]
    Type(&'static str),
}

/// The parts of a stored login that we use.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub tokens: Tokens,
    pub bound_account_id: Option<AccountId>,
    pub last_refresh: Option<Timestamp>,
    /// The address of who issued the tokens. Known only of logins that we made.
    pub issuer: Option<String>,
    /// As written, for whoever wants to see it.
    last_refresh_text: Option<String>,
    has_openai_api_key: bool,
}

/// What `airelays status` says about a stored login. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "these are the reference's fields")]
pub struct StoredLogin {
    pub authenticated: bool,
    pub credentials_present: bool,
    pub account_bound: bool,
    pub ready_for_requests: bool,
    pub mode: Option<Mode>,
    pub email: Option<String>,
    pub plan_type: Option<String>,
    pub account_id: Option<String>,
    pub bound_account_id: Option<String>,
    pub has_openai_api_key: bool,
    pub last_refresh: Option<String>,
    /// As far as that is known here. Not a field of the reference.
    pub stored_in: Option<StoredIn>,
    /// As in [`Record`]. Not a field of the reference.
    #[serde(skip)]
    pub issuer: Option<String>,
}

/// Where a login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoredIn {
    /// In an open file.
    File,
    /// In a file that is sealed with a key from the keyring.
    Keyring,
    /// In the keyring itself, as a former program left it.
    KeyringEntry,
}

/// What kind of login is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Chatgpt,
    ApiKeyOnly,
}

impl Record {
    /// # Errors
    ///
    /// When `json` is no object, or what we need from it is of another type than it should be.
    pub fn read(json: &[u8]) -> Result<Self, Malformed> {
        let file = Object::read(json).ok_or(Malformed::NoObject)?;
        let last_refresh_text = file.filled("last_refresh");
        Ok(Self {
            tokens: match file.raw("tokens") {
                None => Tokens::default(),
                Some(tokens) => Object::read(tokens.get().as_bytes())
                    .ok_or(Malformed::Type("tokens"))
                    .and_then(|tokens| read_tokens(&tokens))?,
            },
            bound_account_id: account(&file, "bound_account_id")?,
            last_refresh: last_refresh_text.as_deref().and_then(read_time),
            issuer: file.filled(ISSUER),
            last_refresh_text,
            has_openai_api_key: file.filled("OPENAI_API_KEY").is_some(),
        })
    }

    /// This login after a renewal.
    #[must_use]
    pub fn renewed(&self, answer: Tokens, at: Timestamp) -> Self {
        let last_refresh_text = format!("{at:.3}");
        Self {
            tokens: self.tokens.renewed(answer),
            last_refresh: read_time(&last_refresh_text),
            last_refresh_text: Some(last_refresh_text),
            ..self.clone()
        }
    }

    /// A login that `issuer` has just made.
    pub fn signed_in(tokens: Tokens, account: &AccountId, issuer: &str, at: Timestamp) -> Self {
        let login = Self {
            bound_account_id: Some(account.clone()),
            issuer: Some(issuer.to_owned()),
            ..Self::default()
        };
        login.renewed(tokens, at)
    }

    /// The tokens of another program's login, for us to keep as one that `issuer` made.
    pub fn taken_over(&self, account: &AccountId, issuer: &str) -> Self {
        Self {
            tokens: Tokens { account_id: Some(account.clone()), ..self.tokens.clone() },
            bound_account_id: Some(account.clone()),
            issuer: Some(issuer.to_owned()),
            has_openai_api_key: false,
            ..self.clone()
        }
    }

    /// Whose login this is, as far as that is known.
    pub fn account_id(&self) -> Option<AccountId> {
        self.bound_account_id.clone().or_else(|| self.tokens.account_id())
    }

    /// Whether both are the same person's in the same workspace, as far as that is known: those of
    /// one workspace share its id.
    pub fn is_same_owner(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.tokens.claims().user_id, other.tokens.claims().user_id);
        let is_same_person = mine.is_none() || theirs.is_none() || mine == theirs;
        is_same_person && self.account_id().is_some() && self.account_id() == other.account_id()
    }

    /// Whether `answer` to the refresh token of this login is another account's, or of two.
    pub fn is_answered_for_another(&self, answer: &Tokens) -> bool {
        let before = self.tokens.agreed_account_id().ok().flatten().or_else(|| self.account_id());
        match (before, answer.agreed_account_id()) {
            (_, Err(_)) => true,
            (Some(before), Ok(Some(after))) => before != after,
            (Some(_) | None, Ok(_)) => false,
        }
    }

    /// The same for people: an e-mail address where there is one.
    pub fn owner(&self) -> Option<String> {
        let email = self.tokens.claims().email;
        email.or_else(|| self.account_id().map(|id| id.to_string()))
    }

    /// Whether the tokens are known to be another issuer's than `issuer`, which has no slash at
    /// its end.
    pub fn is_foreign(&self, issuer: &str) -> bool {
        is_foreign(self.issuer.as_deref(), issuer)
    }

    /// The content of a file that holds this login and nothing else.
    ///
    /// # Errors
    ///
    /// Never in practice: strings can be written as JSON.
    pub fn write(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        self.write_over(br#"{"OPENAI_API_KEY":null,"bound_account_id":null,"tokens":{}}"#)
    }

    /// `json` with this login's tokens in it, everything else as it was.
    ///
    /// # Errors
    ///
    /// When `json` is no object.
    pub fn write_over(&self, json: &[u8]) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let file: Object<'_> = serde_json::from_slice(json)?;
        let before = Self::read(json).unwrap_or_default();
        let old = before.tokens;
        let old_tokens = file.object("tokens");
        let mut tokens = Fields::of(old_tokens.as_ref());
        for (name, new, old) in [
            ("id_token", &self.tokens.id, &old.id),
            ("access_token", &self.tokens.access, &old.access),
            ("refresh_token", &self.tokens.refresh, &old.refresh),
        ] {
            match (new, old) {
                (Some(new), Some(old)) if new.matches(old.expose().as_bytes()) => {}
                (Some(new), _) => tokens.set(name, Value::Text(new.expose())),
                (None, _) => {}
            }
        }
        if let Some(id) = self.tokens.account_id.as_ref().filter(|_| old.account_id.is_none()) {
            tokens.set("account_id", Value::Text(id.as_str()));
        }
        let mut fields = Fields::of(Some(&file));
        if let Some(bound) = &self.bound_account_id
            && before.bound_account_id.as_ref() != Some(bound)
        {
            fields.set("bound_account_id", Value::Text(bound.as_str()));
        }
        fields.set("tokens", Value::Fields(tokens));
        if let Some(time) = &self.last_refresh_text {
            fields.set("last_refresh", Value::Text(time));
        }
        if let Some(issuer) = &self.issuer {
            fields.set(ISSUER, Value::Text(issuer));
        }
        let mut content = Zeroizing::new(serde_json::to_vec_pretty(&fields)?);
        content.push(b'\n');
        Ok(content)
    }

    pub fn describe(&self) -> StoredLogin {
        let claims = self.tokens.claims();
        let account_id = self.tokens.account_id();
        let credentials_present = self.tokens.are_present();
        let bound = self.bound_account_id.as_ref();
        let account_bound =
            account_id.is_some() && bound.is_none_or(|id| account_id.as_ref() == Some(id));
        StoredLogin {
            authenticated: credentials_present,
            credentials_present,
            account_bound,
            ready_for_requests: credentials_present && account_bound,
            mode: match (credentials_present, self.has_openai_api_key) {
                (true, _) => Some(Mode::Chatgpt),
                (false, true) => Some(Mode::ApiKeyOnly),
                (false, false) => None,
            },
            email: claims.email,
            plan_type: claims.plan_type,
            account_id: account_id.map(|id| id.to_string()),
            bound_account_id: self.bound_account_id.as_ref().map(ToString::to_string),
            has_openai_api_key: self.has_openai_api_key,
            last_refresh: self.last_refresh_text.clone(),
            stored_in: None,
            issuer: self.issuer.clone(),
        }
    }
}

impl StoredLogin {
    /// As of [`Record`].
    pub fn is_foreign(&self, issuer: &str) -> bool {
        is_foreign(self.issuer.as_deref(), issuer)
    }
}

fn is_foreign(known: Option<&str>, issuer: &str) -> bool {
    known.is_some_and(|known| known.trim_end_matches('/') != issuer)
}

fn read_tokens(tokens: &Object<'_>) -> Result<Tokens, Malformed> {
    let token = |name| text(tokens, name).map(|text| text.map(Secret::new));
    Ok(Tokens {
        // Older exports hold the parsed token, with the token itself in it.
        id: match tokens.object("id_token") {
            Some(parsed) => text(&parsed, "raw_jwt")?.map(Secret::new),
            None => token("id_token")?,
        },
        access: token("access_token")?,
        refresh: token("refresh_token")?,
        account_id: account(tokens, "account_id")?,
    })
}

fn account(object: &Object<'_>, name: &'static str) -> Result<Option<AccountId>, Malformed> {
    Ok(text(object, name)?.map(|id| AccountId::new(&id)))
}

/// A string that may be missing, `null` or empty, but nothing else.
fn text(object: &Object<'_>, name: &'static str) -> Result<Option<String>, Malformed> {
    match (object.raw(name), object.text(name)) {
        (Some(_), None) => Err(Malformed::Type(name)),
        (_, text) => Ok(text.filter(|text| !text.trim().is_empty())),
    }
}

/// A time without an offset was written by a program that meant UTC.
fn read_time(text: &str) -> Option<Timestamp> {
    let utc = || {
        let time: DateTime = text.parse().ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    text.parse().ok().or_else(utc)
}

/// An object on its way back: most of it as it came.
#[derive(Default)]
struct Fields<'a>(Vec<(&'a str, Value<'a>)>);

enum Value<'a> {
    Kept(&'a RawValue),
    Text(&'a str),
    Fields(Fields<'a>),
}

impl<'a> Fields<'a> {
    fn of(object: Option<&'a Object<'a>>) -> Self {
        let mut fields = Self::default();
        for (name, value) in object.into_iter().flat_map(Object::fields) {
            fields.set(name, Value::Kept(value));
        }
        fields
    }

    /// Puts `value` in the place of the old one, or at the end.
    fn set(&mut self, name: &'a str, value: Value<'a>) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => drop(mem::replace(old, value)),
            None => self.0.push((name, value)),
        }
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Kept(raw) => raw.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Fields(fields) => fields.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests;
