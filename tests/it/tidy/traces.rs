//! No traces of the machine the project was made on, and no addresses of package registries.
//!
//! The project is built in many places, with mirrors and without; what it needs is named by name
//! and version only.

use std::path::Path;

use super::{expect_none, files, root};

/// In halves, or this file would be the first to be found.
const REGISTRIES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("npm", "js.org"),
    concat!("npm", "js.com"),
    concat!("proxy.go", "lang.org"),
];

/// cargo writes this one itself, and what it writes is the name of its registry.
const WRITTEN_BY_TOOLS: &[&str] = &["Cargo.lock"];

/// Folders in which any machine might have the project; they say nothing.
const ANYWHERE: &[&str] = &["/", "/app", "/build", "/builds", "/home", "/opt", "/src", "/tmp"];

fn check_registries(path: &str, text: &str) -> Vec<String> {
    if WRITTEN_BY_TOOLS.contains(&path) {
        return Vec::new();
    }
    let names = |line: &str| REGISTRIES.iter().find(|host| line.contains(**host)).copied();
    text.lines()
        .enumerate()
        .filter_map(|(n, line)| Some(format!("{path}:{}: names {}", n + 1, names(line)?)))
        .collect()
}

/// `text` holds `place` or something in it, as a path of its own.
fn holds_path(text: &str, place: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "/._-~$}".contains(c);
    text.match_indices(place).any(|(at, _)| {
        let starts = !text[..at].ends_with(is_part);
        let rest = &text[at + place.len()..];
        let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || "_-.".contains(c));
        starts && ends
    })
}

fn check_places(path: &str, text: &str, places: &[String]) -> Vec<String> {
    let held = |line: &str| places.iter().any(|place| holds_path(line, place));
    text.lines()
        .enumerate()
        .filter(|(_, line)| held(line))
        .map(|(n, line)| format!("{path}:{}: a path of this machine: {}", n + 1, line.trim()))
        .collect()
}

/// Where this project, its builds and its user's files are, here and now.
fn places() -> Vec<String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let home = std::env::home_dir();
    let places = [Some(root()), root().parent(), target, home.as_deref()];
    places
        .into_iter()
        .flatten()
        .filter_map(Path::to_str)
        .filter(|place| !ANYWHERE.contains(place))
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_registry_is_named() {
    let wrong: Vec<_> =
        files().iter().flat_map(|file| check_registries(&file.path, &file.text)).collect();
    expect_none(&wrong);
}

#[test]
fn no_path_of_this_machine_is_named() {
    let places = places();
    let wrong: Vec<_> =
        files().iter().flat_map(|file| check_places(&file.path, &file.text, &places)).collect();
    expect_none(&wrong);
}

#[test]
fn planted_traces_are_found() {
    let named = format!("see {}/crates/x", REGISTRIES[0]);
    assert_eq!(check_registries("a.md", &named).len(), 1);
    assert!(check_registries("Cargo.lock", &named).is_empty());
    let places = ["/builder/me".to_owned()];
    for (text, is_wrong) in [
        ("cd /builder/me/airelays", true),
        ("\"/builder/me\"", true),
        ("/builder/men", false),
        ("https://host/builder/me", false),
        ("~/builder/me", false),
    ] {
        assert_eq!(!check_places("a.md", text, &places).is_empty(), is_wrong, "{text}");
    }
}
