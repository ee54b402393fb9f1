//! The pages of `docs/reference`, which the code writes itself.

use std::fs;

use airelays::reference;

use crate::{Failure, cargo, root, run};

const FOLDER: &str = "docs/reference";
/// The one document of which a part is written here.
const API: &str = "docs/api.md";

/// Compares the pages, then runs the tests that read all documents.
pub fn check() -> Result<(), Failure> {
    let stale: Vec<_> = reference::pages()
        .into_iter()
        .map(|(name, text)| (format!("{FOLDER}/{name}.md"), text))
        .filter(|(path, text)| !fs::read_to_string(root().join(path)).is_ok_and(|old| old == *text))
        .map(|(path, _)| path)
        .collect();
    let mut stale = stale;
    if changed_api()?.is_some() {
        stale.push(API.to_owned());
    }
    if !stale.is_empty() {
        let stale = stale.join(", ");
        return Err(format!("{stale}: out of date\n`cargo xtask docs --write` rewrites them"));
    }
    run(cargo().args(["test", "--locked", "--quiet", "--test", "it", "documents::"]))
}

pub fn write() -> Result<(), Failure> {
    let folder = root().join(FOLDER);
    let failed = |error| format!("{FOLDER} cannot be written: {error}");
    fs::create_dir_all(&folder).map_err(failed)?;
    for (name, text) in reference::pages() {
        let path = folder.join(format!("{name}.md"));
        if !fs::read_to_string(&path).is_ok_and(|old| old == text) {
            put(&path, &text).map_err(failed)?;
            println!("{FOLDER}/{name}.md");
        }
    }
    if let Some(text) = changed_api()? {
        put(&root().join(API), &text)
            .map_err(|error| format!("{API} cannot be written: {error}"))?;
        println!("{API}");
    }
    Ok(())
}

/// The document with the tables of the code, unless it has them.
fn changed_api() -> Result<Option<String>, Failure> {
    let old = fs::read_to_string(root().join(API))
        .map_err(|error| format!("{API} cannot be read: {error}"))?;
    let new =
        reference::parameters::written(&old).ok_or_else(|| format!("{API} lacks its marks"))?;
    Ok(Some(new).filter(|new| *new != old))
}

#[expect(clippy::disallowed_methods, reason = "these files are for everyone to read")]
fn put(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    fs::write(path, text)
}
