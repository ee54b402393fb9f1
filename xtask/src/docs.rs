//! The pages of `docs/reference`, which the code writes itself.

use std::{fs, path::Path};

use airelays::reference;

use crate::{Failure, cargo, root, run};

const FOLDER: &str = "docs/reference";
/// The one document of which a part is written here.
const API: &str = "docs/api.md";
/// What the page of messages links to.
const TROUBLES: &str = "docs/troubleshooting.md";

/// Compares the pages, then runs the tests that read all documents.
pub fn check() -> Result<(), Failure> {
    let stale: Vec<_> = pages()?
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
    for (name, text) in pages()? {
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

/// All pages of the folder, those that are found in the source among them.
fn pages() -> Result<Vec<(&'static str, String)>, Failure> {
    let mut sources = Vec::new();
    walk(Path::new("src"), &mut sources)?;
    let troubles = read(Path::new(TROUBLES))?;
    let mut pages = reference::pages();
    pages.push(("messages", reference::messages::page(&sources, &troubles)));
    Ok(pages)
}

/// The files below `folder`, by their paths from the root.
fn walk(folder: &Path, found: &mut Vec<(String, String)>) -> Result<(), Failure> {
    let failed = |error| format!("{} cannot be read: {error}", folder.display());
    for entry in fs::read_dir(root().join(folder)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), read(&path)?));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(root().join(path))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The document with the tables of the code, unless it has them.
fn changed_api() -> Result<Option<String>, Failure> {
    let old = read(Path::new(API))?;
    let new =
        reference::parameters::written(&old).ok_or_else(|| format!("{API} lacks its marks"))?;
    Ok(Some(new).filter(|new| *new != old))
}

#[expect(clippy::disallowed_methods, reason = "these files are for everyone to read")]
fn put(path: &Path, text: &str) -> std::io::Result<()> {
    fs::write(path, text)
}
