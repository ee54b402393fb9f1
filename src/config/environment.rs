//! The environment of the process, as a value.
//!
//! It is read once, before anything else happens, and handed down. Tests build their own.
//!
//! **Invariant:** no other module reads the environment.
//!
//! **Invariant:** an empty variable is an unset one.
//!
//! Not here: what a variable means (`config::table`).

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
};

/// Variables by name. Its `Debug` shows names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// What this process was started with.
    ///
    /// Variables whose name is not UTF-8 are left out: nothing here asks for one.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect()
    }

    /// Nothing but a home: no setting of this machine's owner reaches what runs with it.
    pub fn with_home(home: &Path) -> Self {
        [("HOME", home)].into_iter().collect()
    }

    /// The value of `name`, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Every variable that starts with `prefix` and is not empty, by name.
    pub fn starting_with<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a OsStr)> {
        self.0
            .range(prefix.to_owned()..)
            .map(|(name, value)| (name.as_str(), value.as_os_str()))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .filter(|(_, value)| !value.is_empty())
    }

    /// Every variable but those that set up this program or its like: some of them are secrets.
    pub fn of_others(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        const OURS: &[&str] = &["AIRELAYS_", "AIRELAY_", "OPENAI_", "CODEX_"];
        let is_ours = |name: &str| OURS.iter().any(|prefix| name.starts_with(prefix));
        self.starting_with("").filter(move |(name, _)| !is_ours(name))
    }

    /// The home directory, when `HOME` is set.
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_unset_and_debug_shows_no_value() {
        let environment = Environment::from_iter([("A_X", "secret"), ("A_Y", ""), ("B", "1")]);
        assert_eq!(environment.get("A_X"), Some(OsStr::new("secret")));
        assert_eq!(environment.get("A_Y"), None);
        let names: Vec<_> = environment.starting_with("A_").map(|(name, _)| name).collect();
        assert_eq!(names, ["A_X"]);
        let ours = Environment::from_iter([
            ("AIRELAYS_BEARER_TOKEN", "t"),
            ("AIR", "1"),
            ("CODEX_X", "x"),
        ]);
        assert_eq!(ours.of_others().map(|(name, _)| name).collect::<Vec<_>>(), ["AIR"]);
        assert_eq!(format!("{environment:?}"), r#"{"A_X", "A_Y", "B"}"#);
    }
}
