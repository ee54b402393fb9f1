//! The runtime of codex-slot-relay: a list of slots, and a folder with a login for each.
//!
//! The list says where the login of a slot is, in paths that broke when the runtime was moved and
//! that may lead anywhere. The place is therefore made of the slot's name, as that program did when
//! it wrote the login.
//!
//! **Invariant:** no login is looked for outside of the runtime's own folders, except where a link
//! in them leads to a file.
//!
//! Not here: what that program knew of usage and rests; it is found out anew.

use std::path::Path;

use serde_json::value::RawValue;

use super::{Candidate, Haul, ImportError, Kind, Odd, Sighting, content, profiles, time};
use crate::{object::Object, slot::SlotId};

pub(super) const REGISTRY: &str = "config/slots.json";
pub(super) const SETTINGS: &str = "config/relay.json";

const SLOTS: &str = "state/slots";

/// The slots of the runtime at `root`. None, where no list has been made yet.
///
/// # Errors
///
/// When the list cannot be read or is none.
pub(super) fn read(root: &Path, issuer: &str) -> Result<Haul, ImportError> {
    let place = root.join(REGISTRY);
    let path = || place.display().to_string();
    let json = content(&place).map_err(|source| ImportError::List { path: path(), source })?;
    let Some(json) = json else { return Ok(Haul::of(Kind::SlotRelay, issuer, None::<Sighting>)) };
    let registry = Object::read(&json).ok_or_else(|| ImportError::Damaged(path()))?;
    let slots = match registry.raw("slots") {
        None => Vec::new(),
        Some(_) => registry.list("slots").ok_or_else(|| ImportError::Damaged(path()))?,
    };
    let sightings = slots.into_iter().map(|slot| sighting(root, slot));
    Ok(Haul::of(Kind::SlotRelay, issuer, sightings))
}

fn sighting(root: &Path, json: &RawValue) -> Sighting {
    let slot = Object::read(json.get().as_bytes());
    let id = slot.as_ref().and_then(|slot| slot.filled("id"));
    let found = match (&slot, &id) {
        (Some(slot), Some(id)) => candidate(root, id, slot),
        (Some(_) | None, _) => Err(Odd::Shape),
    };
    Sighting { which: id.unwrap_or_else(|| "A slot without a name".to_owned()), found }
}

fn candidate(root: &Path, id: &str, slot: &Object<'_>) -> Result<Candidate, Odd> {
    if !is_folder_name(id) {
        return Err(Odd::Astray);
    }
    let meta = slot.object("sourceMeta");
    let said = |name| meta.as_ref().and_then(|meta| meta.filled(name));
    let path = root.join(SLOTS).join(id).join("agent").join(profiles::FILE);
    let profile = profiles::pick(&path, said("profileId").as_deref())?;
    Ok(Candidate {
        // That program took names that ours cannot have.
        id: SlotId::read(id).ok(),
        label: slot.filled("label").or_else(|| said("email")).or(profile.email),
        is_enabled: slot.flag("enabled").unwrap_or(true),
        saved_at: meta.as_ref().and_then(|meta| time(meta, "savedAt")),
        record: profile.record,
    })
}

/// Whether `id` names a folder where it stands and leads nowhere else.
fn is_folder_name(id: &str) -> bool {
    !["", ".", ".."].contains(&id) && !id.contains(['/', '\0'])
}
