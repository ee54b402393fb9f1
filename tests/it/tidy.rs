//! What must be true of the source itself, held by ordinary tests.
//!
//! Each check is a function from text to complaints, so that a planted mistake shows that it can
//! fail; one test per check then runs it over the whole project.
//!
//! Not here: what the compiler and clippy see (`Cargo.toml`, `clippy.toml`), documents (`documents`).

pub mod floors;
mod lints;
mod names;
mod outside;
mod sources;
mod traces;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder that everything is in.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A text file of the project, by its path from the root.
#[derive(Debug)]
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    pub fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }
}

/// Every text file that belongs to the project or would with the next commit.
pub fn files() -> Vec<File> {
    let mut paths = listed().unwrap_or_else(|| {
        let mut found = Vec::new();
        walk(root(), &mut found);
        found
    });
    paths.sort();
    paths
        .into_iter()
        .filter_map(|path| {
            // A file that was deleted but not yet committed is still listed; some are no text.
            let text = fs::read_to_string(root().join(&path)).ok()?;
            Some(File { path, text })
        })
        .collect()
}

pub fn rust_files() -> impl Iterator<Item = File> {
    files().into_iter().filter(|file| file.has_extension("rs"))
}

/// What git knows of; `None` outside of a working copy, such as in an unpacked package.
fn listed() -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<_> =
        text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

fn walk(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("a folder of the project").flatten() {
        let path = entry.path();
        let is_left_out = |name: &str| name == "target" || name.starts_with('.');
        if path.file_name().and_then(|name| name.to_str()).is_none_or(is_left_out) {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else if let Some(path) = relative(&path) {
            found.push(path);
        }
    }
}

fn relative(path: &Path) -> Option<String> {
    path.strip_prefix(root()).ok().map(PathBuf::from)?.to_str().map(str::to_owned)
}

/// Stops with all complaints, one per line.
#[track_caller]
pub fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_files_of_the_project_are_found() {
    let paths: Vec<_> = files().into_iter().map(|file| file.path).collect();
    for path in ["Cargo.toml", "src/lib.rs", "tests/it/tidy.rs", "docs/architecture.md"] {
        assert!(paths.iter().any(|found| found == path), "{path}");
    }
    assert!(!paths.iter().any(|path| path.starts_with("target/") || path.starts_with(".git/")));
}
