//! `auth-profiles.json`, as `OpenClaw` writes it and codex-slot-relay takes it, in three shapes.
//!
//! A file has many profiles of many providers. The first shape that fits counts: `profiles` by
//! their names, `oauth` by their providers, or one profile with nothing around it. Names of fields
//! differ as well, because the file is written by several programs.
//!
//! **Invariant:** of another provider's profile nothing is read but who the provider is.
//!
//! Not here: when an access token ends. It says so itself, and one that does not is renewed before
//! it is used.

use std::path::Path;

use super::{Candidate, Odd, Sighting, content};
use crate::{
    auth::stored::{Malformed, Record},
    credential::{AccountId, Tokens},
    object::Object,
    secret::Secret,
    slot::SlotId,
};

pub(super) const FILE: &str = "auth-profiles.json";

const PROVIDER: &str = "openai-codex";
/// What a profile is called that nobody named.
const UNNAMED: &str = "default";

/// One profile of our provider.
pub(super) struct Profile {
    /// Such as `openai-codex:default`.
    id: String,
    pub(super) email: Option<String>,
    pub(super) record: Record,
}

/// The profiles of our provider in their order. `None` when `file` has none of the shapes.
pub(super) fn read(file: &Object<'_>) -> Option<Vec<Profile>> {
    let unnamed = |entry: &Object<'_>| profile(&format!("{PROVIDER}:{UNNAMED}"), entry);
    if let Some(profiles) = file.object("profiles") {
        let ours = profiles.fields().filter_map(|(id, json)| {
            let entry = Object::read(json.get().as_bytes()).filter(is_ours)?;
            Some(profile(id, &entry))
        });
        return Some(ours.collect());
    }
    if let Some(oauth) = file.object("oauth") {
        return Some(oauth.object(PROVIDER).iter().map(unnamed).collect());
    }
    let is_flat =
        ["provider", "access", "access_token"].iter().any(|name| file.raw(name).is_some());
    let may_be_ours = file.raw("provider").is_none() || is_ours(file);
    is_flat.then(|| may_be_ours.then(|| unnamed(file)).into_iter().collect())
}

/// The login in the file at `path`: the profile called `id`, or else the first.
pub(super) fn pick(path: &Path, id: Option<&str>) -> Result<Profile, Odd> {
    let json = content(path).map_err(Odd::File)?.ok_or(Odd::Empty)?;
    let file = Object::read(&json).ok_or(Odd::Content(Malformed::NoObject))?;
    let found = read(&file).ok_or(Odd::Shape)?;
    let named = found.iter().rposition(|profile| Some(profile.id.as_str()) == id);
    found.into_iter().nth(named.unwrap_or_default()).ok_or(Odd::Empty)
}

/// `profile` as one of a file that is looked at for its own sake.
pub(super) fn sighting(profile: Profile) -> Sighting {
    let Profile { id: which, email, record } = profile;
    let name = which.strip_prefix(PROVIDER).unwrap_or(&which).trim_start_matches(':');
    let id = SlotId::read(name).ok().filter(|id| id.as_str() != UNNAMED);
    let found = Candidate { id, label: email, is_enabled: true, saved_at: None, record };
    Sighting { which, found: Ok(found) }
}

fn is_ours(entry: &Object<'_>) -> bool {
    entry.text("provider").as_deref() == Some(PROVIDER)
}

fn profile(id: &str, entry: &Object<'_>) -> Profile {
    let filled = |names: &[&str]| names.iter().find_map(|name| entry.filled(name));
    let token = |names: &[&str]| filled(names).map(Secret::new);
    let account = |names: &[&str]| filled(names).map(|id| AccountId::new(&id));
    let mut tokens = Tokens {
        id: token(&["id_token", "idToken"]),
        access: token(&["access", "access_token"]),
        refresh: token(&["refresh", "refresh_token"]),
        account_id: account(&["accountId", "account_id"]),
    };
    // What a token says counts before this one.
    tokens.account_id = tokens.account_id().or_else(|| account(&["chatgpt_account_id"]));
    let mut record = Record::default();
    record.tokens = tokens;
    Profile { id: id.to_owned(), email: filled(&["email"]), record }
}
