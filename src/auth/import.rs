//! Taking over logins of other programs: their tokens, what they are called, and nothing else.
//!
//! [`read`] is for one login that is meant for a slot that is known. [`survey`] finds out what
//! stands at a place and takes every login there that could be kept alive: lists and folders of
//! other programs are often half of what they were, so one odd login hides no other.
//!
//! **Invariant:** files of other programs are read and never written.
//! **Invariant:** no content makes this panic, and no file is read beyond a limit.
//! **Invariant:** every login of a survey has a refresh token, and an account and name of its own.
//!
//! Not here: telling the owner what sharing a login means (`cli`), saving it (`sign_in`).

mod airelays;
mod openclaw;
mod profiles;
mod slot_relay;

use std::{io, path::Path};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{
    file::{self, ReadError},
    stored::{Malformed, Record},
};
use crate::{
    credential::{AccountId, Unusable},
    object::Object,
    private_file, redact,
    slot::SlotId,
};

/// Far above any of these files; one beyond it is something else.
const LIMIT: u64 = 4 << 20;
/// More logins than anybody has.
const MOST_LOGINS: usize = 256;
/// Where a text of another program is cut before it is shown or kept.
const MOST_CHARS: usize = 200;

/// Why no login is taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("There is no login to import at {0}")]
    Missing(String),
    #[error("The login at {path} cannot be imported")]
    Read { path: String, source: ReadError },
    #[error("The login at {path} cannot be used: {why}")]
    Unusable { path: String, why: Unusable },
    #[error("The login at {0} has no refresh token and would soon end")]
    NoRefresh(String),
    #[error("The login at {path} is not of workspace id {wanted}")]
    Workspace { path: String, wanted: AccountId },
    #[error("The list of logins at {path} cannot be read")]
    List { path: String, source: io::Error },
    #[error("The list of logins at {0} is damaged")]
    Damaged(String),
}

/// A login of another program.
#[derive(Debug)]
pub struct Foreign {
    /// What it was called there, fit to be a slot's name. `None` where it had no name, or one that
    /// cannot be made to fit.
    pub id: Option<SlotId>,
    /// What else it was called there, an e-mail address most often.
    pub label: Option<String>,
    pub is_enabled: bool,
    /// As one that is ours: bound to its account, with its issuer.
    pub record: Record,
    pub account: AccountId,
    /// When it was saved there, if that is said.
    pub saved_at: Option<Timestamp>,
}

/// What was found at a place.
#[derive(Debug)]
pub struct Haul {
    pub kind: Kind,
    /// In the order in which the other program has them.
    pub logins: Vec<Foreign>,
    /// Which were left where they are, and why, said of them: `has no login`.
    pub skipped: Vec<(String, String)>,
}

/// Whose logins they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    CodexCli,
    /// An `auth-profiles.json` by itself.
    AuthProfiles,
    SlotRelay,
    AirelaysPython,
    OpenClaw,
}

impl Kind {
    /// As people say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CodexCli => "Codex CLI",
            Self::AuthProfiles => "auth-profiles.json",
            Self::SlotRelay => "codex-slot-relay",
            Self::AirelaysPython => "AIRelays",
            Self::OpenClaw => "OpenClaw",
        }
    }
}

/// The login at `from` as one that `issuer` made for us.
///
/// # Errors
///
/// When there is none, or none that could be kept alive.
pub fn read(
    from: &Path,
    issuer: &str,
    wanted: Option<&AccountId>,
) -> Result<(Record, AccountId), ImportError> {
    let path = from.display().to_string();
    let found = file::read_record(from)
        .map_err(|source| ImportError::Read { path: path.clone(), source })?
        .ok_or_else(|| ImportError::Missing(path.clone()))?;
    let credential = found.tokens.credential(found.bound_account_id.as_ref());
    let account =
        credential.map_err(|why| ImportError::Unusable { path: path.clone(), why })?.account_id;
    if found.tokens.refresh.is_none() {
        return Err(ImportError::NoRefresh(path));
    }
    match wanted {
        Some(wanted) if *wanted != account => {
            Err(ImportError::Workspace { path, wanted: wanted.clone() })
        }
        Some(_) | None => Ok((found.taken_over(&account, issuer), account)),
    }
}

/// What can be taken over of what stands at `from`, as logins that `issuer` made for us. `issuer`
/// has no slash at its end.
///
/// A folder may be the runtime of codex-slot-relay, the home of `OpenClaw` or of its agent, the
/// data directory of `AIRelays` or the home of the Codex CLI; a file may be the login of the Codex
/// CLI, an `auth-profiles.json`, or the `slots.json` of one of the first two.
///
/// # Errors
///
/// When nothing of the kind is there, or what is there cannot be read as a whole.
pub fn survey(from: &Path, issuer: &str) -> Result<Haul, ImportError> {
    let found = if from.is_dir() { in_folder(from, issuer) } else { in_file(from, issuer) };
    let haul = found?;
    if haul.logins.is_empty() && haul.skipped.is_empty() {
        return Err(missing(from));
    }
    Ok(haul)
}

/// Why a login is left where it is, said of its name.
#[derive(Debug, thiserror::Error)]
enum Odd {
    #[error("has no login")]
    Empty,
    #[error("cannot be read: {0}")]
    File(io::Error),
    #[error("cannot be used: {0}")]
    Content(Malformed),
    #[error("has no shape that is known")]
    Shape,
    #[error("is sealed with a key that is not asked for here")]
    Sealed,
    #[error("cannot be used: {0}")]
    Unusable(Unusable),
    #[error("has no refresh token and would soon end")]
    NoRefresh,
    #[error("was made with another sign-in server")]
    OtherIssuer,
    #[error("has the same account as one before it: {0}")]
    Again(AccountId),
    #[error("has a name that may lead anywhere")]
    Astray,
    #[error("has a name that is no number")]
    NoNumber,
    #[error("is more than is read at once")]
    TooMany,
}

impl From<ReadError> for Odd {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::File(error) => Self::File(error),
            ReadError::Content(why) => Self::Content(why),
            ReadError::Sealed(_) => Self::Sealed,
        }
    }
}

/// A login as it was found, before anyone has looked whether it would do.
struct Candidate {
    id: Option<SlotId>,
    label: Option<String>,
    is_enabled: bool,
    saved_at: Option<Timestamp>,
    record: Record,
}

/// A place where a login should be, and what is there.
struct Sighting {
    which: String,
    found: Result<Candidate, Odd>,
}

fn missing(from: &Path) -> ImportError {
    ImportError::Missing(from.display().to_string())
}

fn in_folder(from: &Path, issuer: &str) -> Result<Haul, ImportError> {
    let has = |inside: &str| from.join(inside).exists();
    if has(slot_relay::REGISTRY) || has(slot_relay::SETTINGS) {
        return slot_relay::read(from, issuer);
    }
    // Before the last two: beside it OpenClaw may have an `auth.json` of a shape of its own.
    let files = [openclaw::STORE, openclaw::STORE_OF_HOME, profiles::FILE];
    if let Some(file) = files.into_iter().find(|file| has(file)) {
        return in_file(&from.join(file), issuer);
    }
    let login = from.join(airelays::LOGIN);
    // The file of the Codex CLI has the same name, and is bound to nothing.
    let is_bound = |found: Option<Record>| found.is_some_and(|it| it.bound_account_id.is_some());
    if from.join(airelays::ACCOUNTS).is_dir() || file::read_record(&login).is_ok_and(is_bound) {
        return Ok(airelays::read(from, issuer));
    }
    if has(airelays::LOGIN) { in_file(&login, issuer) } else { Err(missing(from)) }
}

fn in_file(from: &Path, issuer: &str) -> Result<Haul, ImportError> {
    let unread = |source: ReadError| ImportError::Read { path: from.display().to_string(), source };
    let json = content(from).map_err(|error| unread(error.into()))?;
    let json = json.ok_or_else(|| missing(from))?;
    let object = Object::read(&json).ok_or_else(|| unread(Malformed::NoObject.into()))?;
    if let Some(haul) = openclaw::read(from, &object, issuer) {
        return Ok(haul);
    }
    if object.list("slots").is_some()
        && let Some(root) = from.parent().and_then(Path::parent)
    {
        return slot_relay::read(root, issuer);
    }
    if let Some(found) = profiles::read(&object) {
        let sightings = found.into_iter().map(profiles::sighting);
        return Ok(Haul::of(Kind::AuthProfiles, issuer, sightings));
    }
    let is_bound = object.raw("bound_account_id").is_some();
    let kind = if is_bound { Kind::AirelaysPython } else { Kind::CodexCli };
    let which = from.display().to_string();
    Ok(Haul::of(kind, issuer, [Sighting { which, found: single(from, None) }]))
}

/// What stands at `path`, `None` if nothing does. There may be tokens in it.
fn content(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    Ok(private_file::read(path, LIMIT)?.map(Zeroizing::new))
}

/// The one login in the file at `path`, which is the Codex CLI's or like it.
fn single(path: &Path, id: Option<SlotId>) -> Result<Candidate, Odd> {
    let record = file::read_record(path)?.ok_or(Odd::Empty)?;
    let saved_at = record.last_refresh;
    Ok(Candidate { id, label: None, is_enabled: true, saved_at, record })
}

/// A moment, written as text or in milliseconds.
fn time(object: &Object<'_>, name: &str) -> Option<Timestamp> {
    let written: Option<Timestamp> = object.text(name).and_then(|text| text.trim().parse().ok());
    written.or_else(|| Timestamp::from_millisecond(object.integer(name)?).ok())
}

/// A text of another program, short and on one line.
fn plain(text: &str) -> String {
    let chars = text.chars().filter(|c| !redact::is_steering(*c));
    chars.take(MOST_CHARS).collect::<String>().trim().to_owned()
}

impl Haul {
    /// What will do of `sightings`, which are looked at one after the other.
    fn of(kind: Kind, issuer: &str, sightings: impl IntoIterator<Item = Sighting>) -> Self {
        let mut haul = Self { kind, logins: Vec::new(), skipped: Vec::new() };
        let mut sightings = sightings.into_iter();
        for Sighting { which, found } in sightings.by_ref().take(MOST_LOGINS) {
            let taken = found.and_then(|found| haul.taken_over(found, issuer));
            match taken {
                Ok(login) => haul.logins.push(login),
                Err(why) => haul.skipped.push((plain(&which), why.to_string())),
            }
        }
        if sightings.next().is_some() {
            haul.skipped.push(("What follows".to_owned(), Odd::TooMany.to_string()));
        }
        haul
    }

    /// `found` as ours, if it could be kept alive and is not here already.
    fn taken_over(&self, found: Candidate, issuer: &str) -> Result<Foreign, Odd> {
        let Candidate { id, label, is_enabled, saved_at, record } = found;
        // Tokens are for the issuer that made them. Only logins of our own say which that is.
        if record.is_foreign(issuer) {
            return Err(Odd::OtherIssuer);
        }
        let credential = record.tokens.credential(record.bound_account_id.as_ref());
        let account = credential.map_err(Odd::Unusable)?.account_id;
        if record.tokens.refresh.is_none() {
            return Err(Odd::NoRefresh);
        }
        if self.logins.iter().any(|login| login.account == account) {
            return Err(Odd::Again(account));
        }
        let is_free = |id: &SlotId| self.logins.iter().all(|login| login.id.as_ref() != Some(id));
        Ok(Foreign {
            id: id.filter(is_free),
            label: label.map(|label| plain(&label)).filter(|label| !label.is_empty()),
            is_enabled,
            record: record.taken_over(&account, issuer),
            account,
            saved_at,
        })
    }
}

#[cfg(test)]
mod tests;
