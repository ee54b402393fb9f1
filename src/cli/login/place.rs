//! Which slot a new login belongs to.
//!
//! An account has one slot: signing in to it again refreshes that one, wherever it is. Another
//! account gets the slot that was asked for, the first one if it is free, or a new one.

use crate::{
    app, auth::stored::Record, cli::output::Failure, config::Config, roster::RosterError,
    slot::SlotId,
};

/// The slot that the owner names.
pub fn wanted(text: &str) -> Result<SlotId, Failure> {
    SlotId::meant(text).map_err(|error| Failure::Odd(error.to_string()))
}

/// Where `record` belongs. A name that was only proposed gives way to whoever has it.
pub fn of(
    config: &Config,
    record: &Record,
    wanted: Option<&SlotId>,
    is_meant: bool,
) -> Result<SlotId, RosterError> {
    let roster = app::roster(config);
    let (listing, _) = roster.logins()?;
    let mut taken = Vec::new();
    for member in listing.members.iter().filter(|member| member.has_login) {
        let store = app::store_at(config, &member.auth_file);
        if store.belongs_to_owner_of(record) {
            return Ok(member.id.clone());
        }
        // An only login that cannot be opened is what a new one is for.
        if !listing.is_single() || store.describe().is_ok() {
            taken.push(member.id.clone());
        }
    }
    match wanted {
        Some(id) if is_meant || !taken.contains(id) => Ok(id.clone()),
        Some(_) | None if !taken.contains(&SlotId::first()) => Ok(SlotId::first()),
        Some(_) | None => roster.free_id(),
    }
}
