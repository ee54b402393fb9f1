//! The data directory of `AIRelays`, the program in Python: a login, and a folder for each other.
//!
//! The folders are named after the local part of an e-mail address and a digest of the account id.
//! Their order is the owner's, where there is a list of it.
//!
//! Not here: what a login is (`stored`); that program's is ours.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Haul, Kind, MOST_LOGINS, Odd, Sighting, content, single};
use crate::{object::Object, slot::SlotId};

pub(super) const LOGIN: &str = "auth.json";
pub(super) const ACCOUNTS: &str = "accounts";

const MANIFEST: &str = "accounts/manifest.json";
/// What the account is called whose login is not in a folder.
const FIRST: &str = "default";
/// The most that a slot's name may have.
const MOST_CHARS: usize = 32;
/// The end of a folder's name, which tells two of one local part apart: `-` and ten digits.
const DIGEST_CHARS: usize = 11;

/// The accounts of the data directory at `root`, in the owner's order.
pub(super) fn read(root: &Path, issuer: &str) -> Haul {
    let (mut places, unlisted) = noted(ACCOUNTS, folders(&root.join(ACCOUNTS)).map_err(Odd::File));
    let (order, unordered) = noted(MANIFEST, order(&root.join(MANIFEST)));
    let first = root.join(LOGIN);
    if first.exists() {
        places.push((FIRST.to_owned(), first));
    }
    places.sort_by_cached_key(|(slug, _)| {
        let place = order.iter().position(|listed| listed == slug);
        (place.unwrap_or(usize::MAX), slug != FIRST, slug.clone())
    });
    let logins = places.into_iter().map(|(slug, path)| {
        let found = single(&path, slot_id(&slug));
        Sighting { which: slug, found }
    });
    let notes = unlisted.into_iter().chain(unordered);
    Haul::of(Kind::AirelaysPython, issuer, notes.chain(logins))
}

/// What was read, or nothing and a note of why.
fn noted<T: Default>(which: &str, read: Result<T, Odd>) -> (T, Option<Sighting>) {
    match read {
        Ok(read) => (read, None),
        Err(why) => (T::default(), Some(Sighting { which: which.to_owned(), found: Err(why) })),
    }
}

/// The folders in `dir` and where their logins should be.
fn folders(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut folders = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folders),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let slug = entry.file_name().to_string_lossy().into_owned();
        // With a dot begin those in which a login was being made.
        if !slug.starts_with('.') && entry.path().is_dir() {
            folders.push((slug, entry.path().join(LOGIN)));
        }
        if folders.len() > MOST_LOGINS {
            break;
        }
    }
    Ok(folders)
}

/// The order in the list at `path`. None, where there is no list.
fn order(path: &Path) -> Result<Vec<String>, Odd> {
    let Some(json) = content(path).map_err(Odd::File)? else { return Ok(Vec::new()) };
    let manifest = Object::read(&json).ok_or(Odd::Shape)?;
    let order = manifest.list("order").unwrap_or_default().into_iter();
    Ok(order.filter_map(|slug| serde_json::from_str::<String>(slug.get()).ok()).collect())
}

/// The name of a folder as that of a slot. Of one that is too long the end is kept, without which
/// two might become one.
fn slot_id(slug: &str) -> Option<SlotId> {
    let slug = slug.to_ascii_lowercase();
    let slug = slug.trim_start_matches('-');
    if slug.len() <= MOST_CHARS {
        return SlotId::read(slug).ok();
    }
    let front = slug.get(..MOST_CHARS - DIGEST_CHARS)?;
    let digest = slug.get(slug.len() - DIGEST_CHARS..)?;
    SlotId::read(&format!("{front}{digest}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_end() {
        for (slug, expected) in [
            // A place, and no name.
            ("default", None),
            ("owner-0123456789", Some("owner-0123456789")),
            ("Owner-0123456789", Some("owner-0123456789")),
            ("-owner-0123456789", Some("owner-0123456789")),
            ("abcdefghijklmnopqrstu-0123456789", Some("abcdefghijklmnopqrstu-0123456789")),
            ("abcdefghijklmnopqrstuv-0123456789", Some("abcdefghijklmnopqrstu-0123456789")),
            ("abcdefghijklmnopqrstuvwxyz-0123456789", Some("abcdefghijklmnopqrstu-0123456789")),
            ("öwner-0123456789", None),
            ("abcdefghijklmnopqrstöööööö-0123456789", None),
            ("abcdefghijklmnopqrstuvwxyzöööööö", None),
            ("a b", None),
            ("---", None),
            ("", None),
        ] {
            let id = slot_id(slug);
            assert_eq!(id.as_ref().map(SlotId::as_str), expected, "{slug}");
        }
    }
}
