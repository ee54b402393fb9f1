//! Names of models: those that the owner gives, an effort in a name, and names that resemble one
//! another.

use std::{fmt, str::FromStr};

/// What an effort may be called, lowest first. Which of them a model takes is the upstream's to say.
pub const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"];

const SUGGESTIONS: usize = 5;
/// Shorter common beginnings say nothing: every name begins with `gpt`.
const SHORTEST: usize = 5;

/// Another name for a model: `gpt-4o=gpt-5.6-terra`. The model may carry an effort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    pub model: String,
}

/// The text of an alias has two names and an equals sign between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not two names with `=` between them, such as gpt-4o=gpt-5.6-terra")]
pub struct NoAlias;

impl FromStr for Alias {
    type Err = NoAlias;

    fn from_str(text: &str) -> Result<Self, NoAlias> {
        let (name, model) = text.split_once('=').ok_or(NoAlias)?;
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let (name, model) = (name.trim(), model.trim());
        if !is_name(name) || !is_name(model) || model.contains('=') {
            return Err(NoAlias);
        }
        Ok(Self { name: name.to_owned(), model: model.to_owned() })
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.model)
    }
}

/// The model that `name` is another name for, however it is capitalised.
pub fn alias_of<'a>(aliases: &'a [Alias], name: &str) -> Option<&'a str> {
    let found = aliases.iter().find(|alias| alias.name.eq_ignore_ascii_case(name))?;
    Some(&found.model)
}

/// A name with an effort behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suffixed<'a> {
    pub model: &'a str,
    pub effort: &'a str,
    /// Whether it was written so that it can mean nothing else: `gpt-5.6-luna(high)`.
    pub is_explicit: bool,
}

impl<'a> Suffixed<'a> {
    /// Reads `gpt-5.6-luna(high)` and `gpt-5.6-luna-high`.
    ///
    /// The second may be the name of a model, as `gpt-5.1-codex-max` is; only a list can tell.
    pub fn read(name: &'a str) -> Option<Self> {
        let explicit = name.strip_suffix(')').map(|open| open.rsplit_once('('));
        let is_explicit = explicit.is_some();
        let (model, effort) = explicit.unwrap_or_else(|| name.rsplit_once('-'))?;
        let known = EFFORTS.iter().copied().find(|known| known.eq_ignore_ascii_case(effort));
        // What can mean nothing else is an effort, and the upstream says which ones there are.
        let effort = known.or(Some(effort).filter(|_| is_explicit))?;
        let is_name = !model.is_empty() && !effort.is_empty();
        is_name.then_some(Self { model, effort, is_explicit })
    }
}

/// The names among `known` that begin most like `asked`, the most alike first.
pub fn suggestions<'a>(asked: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let alike = |name: &str| {
        let pairs = asked.bytes().zip(name.bytes());
        pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
    };
    let mut found: Vec<_> =
        known.map(|name| (alike(name), name)).filter(|(alike, _)| *alike >= SHORTEST).collect();
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    found.into_iter().take(SUGGESTIONS).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effort_is_read_from_a_name() {
        let check =
            |name| Suffixed::read(name).map(|found| (found.model, found.effort, found.is_explicit));
        assert_eq!(check("gpt-5.6-luna-high"), Some(("gpt-5.6-luna", "high", false)));
        assert_eq!(check("gpt-5.6-luna(XHigh)"), Some(("gpt-5.6-luna", "xhigh", true)));
        assert_eq!(check("gpt-5.6-luna(fast)"), Some(("gpt-5.6-luna", "fast", true)));
        for plain in ["gpt-5.6-luna", "gpt-5.6-luna()", "(high)", "-high", "high", "", "a)"] {
            assert_eq!(check(plain), None, "{plain}");
        }
    }

    #[test]
    fn an_alias_is_two_names() {
        let alias: Alias = " gpt-4o = gpt-5.6-luna(low) ".parse().expect("two names");
        assert_eq!(alias.to_string(), "gpt-4o=gpt-5.6-luna(low)");
        assert_eq!(alias_of(std::slice::from_ref(&alias), "GPT-4o"), Some("gpt-5.6-luna(low)"));
        assert_eq!(alias_of(&[alias], "gpt-4"), None);
        for wrong in ["", "=", "a=", "=b", "a", "a=b=c", "a b=c", "a=größe"] {
            assert_eq!(wrong.parse::<Alias>(), Err(NoAlias), "{wrong}");
        }
    }

    #[test]
    fn suggestions_begin_alike() {
        let known = ["gpt-5.6-sol", "gpt-5.6-luna", "gpt-5.5", "codex-auto-review"];
        assert_eq!(
            suggestions("gpt-5.6-lunar", known.into_iter()),
            ["gpt-5.6-luna", "gpt-5.6-sol", "gpt-5.5"]
        );
        assert!(suggestions("claude", known.into_iter()).is_empty());
    }
}
