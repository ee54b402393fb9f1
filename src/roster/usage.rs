//! What was last known of each slot's windows, kept across restarts: `slots-usage.json`.
//!
//! A relay that starts knows at once which account is spent, and the commands can tell without a
//! relay. Nothing depends on the file: one that is missing or odd is as good as empty.

use std::{collections::BTreeMap, io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    private_file,
    slot::{
        SlotId,
        window::{Credits, Family, Limits, Window},
    },
};

const LIMIT: u64 = 4 << 20;

/// What was known of one slot, and when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub limits: Limits,
    pub read_at: Timestamp,
    /// Whose it was, by a digest: it says nothing about another account. `None` where the owner
    /// said it by hand.
    pub owner: Option<u64>,
}

#[derive(Deserialize, Serialize)]
struct File {
    version: u32,
    slots: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Serialize)]
struct Entry {
    /// Of the account's id; sixteen hexadecimal digits.
    account_digest: Option<String>,
    /// Whole seconds since 1970, as all times here.
    read_at: i64,
    plan_type: Option<String>,
    credits: Option<CreditsEntry>,
    resets_available: Option<i64>,
    limits: Vec<FamilyEntry>,
}

#[derive(Deserialize, Serialize)]
struct CreditsEntry {
    available: bool,
    unlimited: bool,
    balance: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct FamilyEntry {
    id: String,
    name: Option<String>,
    windows: Vec<WindowEntry>,
}

#[derive(Deserialize, Serialize)]
struct WindowEntry {
    used_percent: f64,
    minutes: Option<u64>,
    resets_at: Option<i64>,
}

/// What the file at `path` says.
pub fn read(path: &Path) -> BTreeMap<SlotId, Kept> {
    let json = private_file::read(path, LIMIT).ok().flatten().unwrap_or_default();
    let Ok(file) = serde_json::from_slice::<File>(&json) else { return BTreeMap::new() };
    let kept = |(id, entry): (String, Entry)| Some((SlotId::read(&id).ok()?, entry.kept()?));
    file.slots.into_iter().filter_map(kept).collect()
}

/// Writes `kept` there.
///
/// # Errors
///
/// When the disk refuses.
pub fn write(path: &Path, kept: &BTreeMap<SlotId, Kept>) -> io::Result<()> {
    let slots = kept.iter().map(|(id, kept)| (id.to_string(), Entry::of(kept))).collect();
    let json = serde_json::to_vec_pretty(&File { version: 1, slots })?;
    private_file::replace(path, &json)
}

impl Entry {
    fn of(Kept { limits, read_at, owner }: &Kept) -> Self {
        let window = |window: &Window| WindowEntry {
            used_percent: window.used_percent,
            minutes: window.minutes,
            resets_at: window.resets_at.map(Timestamp::as_second),
        };
        let family = |family: &Family| FamilyEntry {
            id: family.id.clone(),
            name: family.name.clone(),
            windows: family.windows.iter().map(window).collect(),
        };
        Self {
            account_digest: owner.map(|owner| format!("{owner:016x}")),
            read_at: read_at.as_second(),
            plan_type: limits.plan_type.clone(),
            credits: limits.credits.clone().map(|credits| CreditsEntry {
                available: credits.available,
                unlimited: credits.unlimited,
                balance: credits.balance,
            }),
            resets_available: limits.resets_available,
            limits: limits.families.iter().map(family).collect(),
        }
    }

    fn kept(self) -> Option<Kept> {
        let digest = |digits: String| u64::from_str_radix(&digits, 16);
        let owner = self.account_digest.map(digest).transpose().ok()?;
        let window = |entry: WindowEntry| Window {
            used_percent: entry.used_percent,
            minutes: entry.minutes,
            resets_at: entry.resets_at.and_then(|at| Timestamp::from_second(at).ok()),
        };
        let family = |entry: FamilyEntry| Family {
            id: entry.id,
            name: entry.name,
            windows: entry.windows.into_iter().map(window).collect(),
        };
        Some(Kept {
            owner,
            limits: Limits {
                families: self.limits.into_iter().map(family).collect(),
                plan_type: self.plan_type,
                active: None,
                reached: None,
                credits: self.credits.map(|credits| Credits {
                    available: credits.available,
                    unlimited: credits.unlimited,
                    balance: credits.balance,
                }),
                resets_available: self.resets_available,
            },
            read_at: Timestamp::from_second(self.read_at).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_reads_back_and_what_is_odd_is_nothing() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("slots-usage.json");
        assert!(read(&path).is_empty());
        let at = Timestamp::from_second(1_790_000_000).expect("a time");
        let window = Window { used_percent: 37.5, minutes: Some(300), resets_at: Some(at) };
        let id = "codex".to_owned();
        let kept = Kept {
            limits: Limits {
                families: vec![Family { id, name: Some("x".to_owned()), windows: vec![window] }],
                plan_type: Some("plus".to_owned()),
                credits: Some(Credits { available: true, unlimited: false, balance: None }),
                resets_available: Some(1),
                ..Limits::default()
            },
            read_at: at,
            owner: Some(0x0123_4567_89ab_cdef),
        };
        let all = BTreeMap::from([(SlotId::first(), kept)]);
        write(&path, &all).expect("written");
        assert_eq!(read(&path), all);
        private_file::replace(&path, b"{\"version\":1,\"slots\":{\"a\":7}}").expect("written");
        assert!(read(&path).is_empty());
    }
}
