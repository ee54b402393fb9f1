//! The lints that the house stands on are switched on, for every package.

use toml::Table;

use super::{expect_none, files};

/// Lints whose loss nothing else would show. `Cargo.toml` has more.
const REQUIRED: &[(&str, &str)] = &[
    ("rust", "unsafe_code"),
    ("rust", "missing_debug_implementations"),
    ("clippy", "pedantic"),
    ("clippy", "allow_attributes_without_reason"),
    ("clippy", "as_conversions"),
    ("clippy", "dbg_macro"),
    ("clippy", "exit"),
    ("clippy", "expect_used"),
    ("clippy", "mod_module_files"),
    ("clippy", "panic"),
    ("clippy", "print_stderr"),
    ("clippy", "print_stdout"),
    ("clippy", "todo"),
    ("clippy", "unwrap_used"),
    ("clippy", "wildcard_enum_match_arm"),
];

/// Calls that only one module may make; `clippy.toml` says which.
const BANNED: &[&str] =
    &["std::time::SystemTime::now", "std::time::Instant::now", "std::env::var", "tokio::spawn"];

fn level(lint: &toml::Value) -> Option<&str> {
    lint.as_str().or_else(|| lint.get("level")?.as_str())
}

fn check_workspace(text: &str) -> Vec<String> {
    let manifest: Table = text.parse().expect("Cargo.toml is TOML");
    let lints = manifest.get("workspace").and_then(|workspace| workspace.get("lints"));
    REQUIRED
        .iter()
        .filter(|(tool, name)| {
            let lint = lints.and_then(|lints| lints.get(tool)?.get(name)).and_then(level);
            !matches!(lint, Some("warn" | "deny" | "forbid"))
        })
        .map(|(tool, name)| format!("Cargo.toml: the lint `{tool}.{name}` is not switched on"))
        .collect()
}

fn check_package(path: &str, text: &str) -> Vec<String> {
    let manifest: Table = text.parse().expect("a manifest is TOML");
    let follows = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
    if follows == Some(true) || !manifest.contains_key("package") {
        return Vec::new();
    }
    vec![format!("{path}: does not follow the lints of the workspace")]
}

fn check_clippy(text: &str) -> Vec<String> {
    let missing = |path: &&&str| !text.contains(&format!("\"{path}\""));
    BANNED
        .iter()
        .filter(missing)
        .map(|path| format!("clippy.toml: does not ban `{path}`"))
        .collect()
}

#[test]
fn the_lints_are_switched_on() {
    let mut wrong = Vec::new();
    for file in files() {
        match file.path.as_str() {
            "Cargo.toml" => wrong.extend(check_workspace(&file.text)),
            "clippy.toml" => wrong.extend(check_clippy(&file.text)),
            _ => {}
        }
        // The fuzz targets are no part of the workspace, and five lines each.
        if file.path.ends_with("Cargo.toml") && !file.path.starts_with("fuzz/") {
            wrong.extend(check_package(&file.path, &file.text));
        }
    }
    expect_none(&wrong);
}

#[test]
fn a_lint_that_is_switched_off_is_found() {
    let manifest = files().into_iter().find(|file| file.path == "Cargo.toml").expect("there").text;
    assert!(check_workspace(&manifest).is_empty());
    let off = manifest.replace("unwrap_used = \"warn\"", "unwrap_used = \"allow\"");
    assert_eq!(
        check_workspace(&off),
        ["Cargo.toml: the lint `clippy.unwrap_used` is not switched on"]
    );
    let gone = manifest.replace("unsafe_code = \"forbid\"\n", "");
    assert_eq!(
        check_workspace(&gone),
        ["Cargo.toml: the lint `rust.unsafe_code` is not switched on"]
    );
    let alone = "[package]\nname = \"x\"\n";
    assert_eq!(check_package("x/Cargo.toml", alone).len(), 1);
    assert_eq!(check_clippy("").len(), BANNED.len());
}
