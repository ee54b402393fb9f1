//! The store that `OpenClaw` has of Codex logins: a list with a number and a path for each.
//!
//! Unlike codex-slot-relay's list, nothing but the path says where a login is. It is followed
//! wherever it leads, since the owner's logins may be in any folder of his; that it leads to a file
//! is looked at when the file is opened.
//!
//! **Invariant:** only regular files are read.
//!
//! Not here: what is in those files (`profiles`).

use std::path::Path;

use serde_json::value::RawValue;

use super::{Candidate, Haul, Kind, Odd, Sighting, profiles, time};
use crate::{object::Object, slot::SlotId};

/// In the folder of the main agent.
pub(super) const STORE: &str = "codex-slots/slots.json";
/// The same from the program's home.
pub(super) const STORE_OF_HOME: &str = "agents/main/agent/codex-slots/slots.json";

/// The logins of the store at `path`, by their numbers. `None` when `file` is no such store.
pub(super) fn read(path: &Path, file: &Object<'_>, issuer: &str) -> Option<Haul> {
    let slots = file.object("slots")?;
    let dir = path.parent().unwrap_or(path);
    let mut entries: Vec<_> =
        slots.fields().map(|(key, json)| (key.parse::<u32>().ok(), key, json)).collect();
    entries.sort_by_key(|(number, ..)| number.unwrap_or(u32::MAX));
    let sightings = entries.into_iter().map(|(number, key, json)| Sighting {
        which: number.map_or_else(|| key.to_owned(), |number| format!("slot-{number}")),
        found: number.ok_or(Odd::NoNumber).and_then(|number| candidate(dir, number, json)),
    });
    Some(Haul::of(Kind::OpenClaw, issuer, sightings))
}

fn candidate(dir: &Path, number: u32, json: &RawValue) -> Result<Candidate, Odd> {
    let entry = Object::read(json.get().as_bytes()).ok_or(Odd::Shape)?;
    // An absolute path stays what it is.
    let file = dir.join(entry.filled("file").ok_or(Odd::Empty)?);
    let profile = profiles::pick(&file, entry.filled("profileId").as_deref())?;
    Ok(Candidate {
        id: Some(SlotId::numbered(number)),
        label: entry.filled("emailLabel").or(profile.email),
        is_enabled: true,
        saved_at: time(&entry, "savedAt"),
        record: profile.record,
    })
}
