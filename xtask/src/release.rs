//! What must be so before a version is released. It looks, and changes nothing.

use std::fs;

use toml::Table;

use crate::{Failure, command, root};

pub fn check() -> Result<(), Failure> {
    let read = |path: &str| {
        fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
    };
    let version = version(&read("Cargo.toml")?)?;
    let changes = changes(&read("CHANGELOG.md")?, &version)?;
    let is_tagged = command("git")
        .args(["rev-parse", "--quiet", "--verify", &format!("refs/tags/v{version}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if is_tagged {
        return Err(format!("v{version} is tagged already; raise `version` in Cargo.toml"));
    }
    println!("{version} can be released. Its changes:\n\n{changes}");
    println!("\n  git tag v{version}\n  cargo publish --locked");
    Ok(())
}

fn version(manifest: &str) -> Result<String, Failure> {
    let manifest: Table = manifest.parse().map_err(|error| format!("Cargo.toml: {error}"))?;
    let version = manifest.get("package").and_then(|package| package.get("version")?.as_str());
    version.map(str::to_owned).ok_or_else(|| "Cargo.toml: no version".to_owned())
}

/// The text under `## VERSION - DATE`.
fn changes(changelog: &str, version: &str) -> Result<String, Failure> {
    let head = format!("## {version} - ");
    let (_, rest) = changelog
        .split_once(&head)
        .ok_or_else(|| format!("CHANGELOG.md: no section `{head}YYYY-MM-DD`"))?;
    let (date, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let is_date = date.len() == "YYYY-MM-DD".len()
        && date.split('-').all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_date {
        return Err(format!("CHANGELOG.md: `{date}` is no date"));
    }
    let text = rest.split("\n## ").next().unwrap_or_default().trim();
    if text.is_empty() {
        return Err(format!("CHANGELOG.md: nothing is said of {version}"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_a_date_and_something_to_say() {
        let log =
            "# Changes\n\n## 0.2.0 - 2026-12-01\n\n- One.\n\n## 0.1.0 - 2026-11-20\n\n- Two.\n";
        assert_eq!(changes(log, "0.2.0").as_deref(), Ok("- One."));
        assert_eq!(changes(log, "0.1.0").as_deref(), Ok("- Two."));
        for (log, why) in [
            (log, "CHANGELOG.md: no section `## 0.3.0 - YYYY-MM-DD`"),
            ("## 0.3.0 - soon\n\n- One.\n", "CHANGELOG.md: `soon` is no date"),
            ("## 0.3.0 - 2026-12-01\n\n## 0.2.0", "CHANGELOG.md: nothing is said of 0.3.0"),
        ] {
            assert_eq!(changes(log, "0.3.0"), Err(why.to_owned()));
        }
        assert_eq!(version("[package]\nversion = \"0.1.0\"\n").as_deref(), Ok("0.1.0"));
        assert!(version("[package]\n").is_err());
    }
}
