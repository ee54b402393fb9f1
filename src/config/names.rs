//! Names that no setting has: what they were probably meant to be.
//!
//! Not here: where the names come from (`config::file`, `config::layers`).

use super::table::{PREFIX, SETTINGS, UNUSED, UNUSED_VARIABLES};

/// Longer names are not compared: nobody misspells that much.
const LONGEST: usize = 64;

/// What to say of `key`, which stands in the file and is no setting of it.
pub fn unknown_key(key: &str) -> String {
    if let Some(about) = SETTINGS.iter().find(|about| about.key == key && !about.in_file) {
        return format!("cannot be set in the file; use {PREFIX}{}", about.variable);
    }
    if UNUSED.iter().any(|unused| is_within(key, unused)) {
        return "not used by this version".to_owned();
    }
    let known = || SETTINGS.iter().filter(|about| about.in_file);
    let last = key.rsplit('.').next().unwrap_or(key);
    let moved = known().find(|about| about.parts().1 == last).map(|about| about.key);
    unknown("setting", moved.or_else(|| nearest(key, known().map(|about| about.key))))
}

/// What to say of a section of the file that has no settings.
pub fn unknown_section(name: &str) -> String {
    if UNUSED.contains(&name) {
        return "not used by this version".to_owned();
    }
    unknown("section", nearest(name, SETTINGS.iter().map(|about| about.parts().0)))
}

/// What to say of a variable that has a prefix of ours and is none of ours.
pub fn unknown_variable(prefix: &str, suffix: &str) -> String {
    let is_unused =
        |unused: &&str| suffix == *unused || unused.ends_with('_') && suffix.starts_with(*unused);
    if UNUSED_VARIABLES.iter().any(is_unused) {
        return "not used by this version".to_owned();
    }
    match nearest(suffix, SETTINGS.iter().map(|about| about.variable)) {
        Some(variable) => {
            // The older prefix is known for older settings only.
            let about = SETTINGS.iter().find(|about| about.variable == variable);
            let has = about.is_some_and(|about| about.prefixes.contains(&prefix));
            let prefix = if has { prefix } else { PREFIX };
            format!("unknown variable; did you mean {prefix}{variable}?")
        }
        None => unknown("variable", None),
    }
}

fn unknown(what: &str, meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("unknown {what}; did you mean {meant}?"),
        None => format!("unknown {what}"),
    }
}

fn is_within(key: &str, outer: &str) -> bool {
    key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The candidate that is fewest slips of the finger away from `name`, if it is near at all.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    if length > LONGEST {
        return None;
    }
    candidates
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| (distance(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (length / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// How many characters were added, lost, replaced or swapped with their neighbor.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = above[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, expected) in [
            ("", "", 0),
            ("port", "port", 0),
            ("prot", "port", 1),
            ("pot", "port", 1),
            ("portt", "port", 1),
            ("part", "port", 1),
            ("", "port", 4),
            ("port", "", 4),
            ("host", "port", 2),
            ("ca", "abc", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn keys_get_the_nearest_name() {
        for (key, expected) in [
            ("server.prot", "unknown setting; did you mean server.port?"),
            ("port", "unknown setting; did you mean server.port?"),
            ("server.storage", "unknown setting; did you mean auth.storage?"),
            ("server.colour", "unknown setting"),
            ("logging.retention_days", "not used by this version"),
            ("providers.openai.balance", "not used by this version"),
            ("security.bearer_token", "cannot be set in the file; use AIRELAYS_BEARER_TOKEN"),
        ] {
            assert_eq!(unknown_key(key), expected, "{key}");
        }
        assert_eq!(unknown_key(&"x".repeat(100_000)), "unknown setting");
    }

    #[test]
    fn sections_and_variables_get_the_nearest_name() {
        assert_eq!(unknown_section("secruity"), "unknown section; did you mean security?");
        assert_eq!(unknown_section("providers"), "not used by this version");
        assert_eq!(unknown_section("zebra"), "unknown section");
        for (prefix, suffix, expected) in [
            ("AIRELAYS_", "PROT", "unknown variable; did you mean AIRELAYS_PORT?"),
            ("AIRELAY_", "PROT", "unknown variable; did you mean AIRELAY_PORT?"),
            ("AIRELAY_", "LOG_ENABLED", "unknown variable; did you mean AIRELAYS_LOG_ENABLED?"),
            ("AIRELAYS_", "OPENAI_BALANCE", "not used by this version"),
            ("AIRELAYS_", "ZEBRA_CROSSING", "unknown variable"),
        ] {
            assert_eq!(unknown_variable(prefix, suffix), expected, "{suffix}");
        }
    }
}
