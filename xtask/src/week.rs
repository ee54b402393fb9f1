//! The page about a simulated week of the slots and its picture, which the code writes itself.

use std::fs;

use airelays::internals;

use crate::{Failure, root};

const FOLDER: &str = "docs";

/// Compares the files.
pub fn check() -> Result<(), Failure> {
    let stale: Vec<_> = stale().map(|(name, _)| format!("{FOLDER}/{name}")).collect();
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("{}: out of date\n`cargo xtask week` rewrites them", stale.join(", ")))
}

#[expect(clippy::disallowed_methods, reason = "these files are for everyone to read")]
pub fn write() -> Result<(), Failure> {
    for (name, text) in stale() {
        fs::write(root().join(FOLDER).join(name), text)
            .map_err(|error| format!("{FOLDER}/{name} cannot be written: {error}"))?;
        println!("{FOLDER}/{name}");
    }
    Ok(())
}

/// The files that are not as the simulation has them.
fn stale() -> impl Iterator<Item = (&'static str, String)> {
    internals::week().into_iter().filter(|(name, text)| {
        let path = root().join(FOLDER).join(name);
        !fs::read_to_string(path).is_ok_and(|old| old == *text)
    })
}
