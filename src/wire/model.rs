//! Names of models: an effort in a name, and names that resemble one another.

/// What an effort may be called, lowest first. Which of them a model takes is the upstream's to say.
const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"];

const SUGGESTIONS: usize = 5;
/// Shorter common beginnings say nothing: every name begins with `gpt`.
const SHORTEST: usize = 5;

/// A name with an effort behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suffixed<'a> {
    pub model: &'a str,
    pub effort: &'static str,
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
        let effort = EFFORTS.iter().find(|known| known.eq_ignore_ascii_case(effort))?;
        (!model.is_empty()).then_some(Self { model, effort, is_explicit })
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
        for plain in ["gpt-5.6-luna", "gpt-5.6-luna(fast)", "(high)", "-high", "high", "", "a)"] {
            assert_eq!(check(plain), None, "{plain}");
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
