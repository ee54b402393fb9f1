//! The commands of codex-slot-relay and AIRelays 0.22 under the names that they had.
//!
//! A former name is put into today's words before anything is parsed, so that there is one command
//! and its help for each.

use std::ffi::{OsStr, OsString};

/// A former command, today's, and what becomes of its flags: another name, or nothing, which
/// leaves the value alone.
type Former =
    (&'static [&'static str], &'static [&'static str], &'static [(&'static str, &'static str)]);

const SLOT: &[(&str, &str)] = &[("--slot", "")];

const FORMER: &[Former] = &[
    (&["slot-list"], &["slot", "list"], &[]),
    (&["slot-login"], &["slot", "login"], SLOT),
    (&["slot-auth-import-file"], &["slot", "import", "--yes"], &[("--auth-file", "")]),
    (
        &["slot-auth-copy-profile"],
        &["slot", "import", "--yes"],
        &[("--source-profile", "--openclaw-profile"), ("--source-agent", "--openclaw-agent")],
    ),
    (&["sync-slots"], &["slot", "import", "--yes", "--openclaw"], &[]),
    (&["slot-import-main"], &["slot", "import", "--yes", "--openclaw"], &[]),
    (&["slot-enable"], &["slot", "enable"], SLOT),
    (&["slot-disable"], &["slot", "disable"], SLOT),
    (&["slot-remove"], &["slot", "remove", "--yes"], SLOT),
    (
        &["slot-usage-set"],
        &["slot", "usage-set"],
        &[("--slot", ""), ("--usage5h", "--five-hours"), ("--usageWeek", "--week")],
    ),
    (&["test-runner"], &["slot", "test"], SLOT),
    (&["accounts", "order"], &["slot", "order"], &[]),
    (&["accounts", "refresh"], &["refresh-usage"], &[]),
    (&["accounts", "resets"], &["slot", "resets"], &[]),
    (&["accounts", "redeem"], &["slot", "redeem"], &[]),
    (&["accounts", "remove"], &["slot", "remove"], &[]),
    (&["accounts"], &["slot", "list"], &[]),
    (&["balance"], &["slot", "policy"], &[]),
];

/// `args`, the name of the program first, in today's words.
pub fn today(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let args: Vec<_> = args.into_iter().collect();
    let Some(at) = command_at(&args) else { return args };
    let is = |n: usize, word: &str| args.get(at + n).is_some_and(|arg| arg == OsStr::new(word));
    let former =
        FORMER.iter().find(|(words, ..)| words.iter().enumerate().all(|(n, word)| is(n, word)));
    let Some((words, today, flags)) = former else { return args };
    let mut out: Vec<OsString> = args[..at].to_vec();
    out.extend(today.iter().map(OsString::from));
    for arg in &args[at + words.len()..] {
        out.extend(renamed(arg, flags));
    }
    out
}

/// Where the command stands: after the program and flags with their values.
fn command_at(args: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        match arg.to_str() {
            Some(flag) if flag.starts_with("--") && flag.contains('=') => at += 1,
            // The flags that may stand before a command all take a value.
            Some(flag) if flag.starts_with("--") => at += 2,
            _ => return Some(at),
        }
    }
    None
}

fn renamed(arg: &OsStr, flags: &[(&str, &str)]) -> Vec<OsString> {
    let Some(text) = arg.to_str() else { return vec![arg.to_owned()] };
    let (name, value) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
    let Some((_, new)) = flags.iter().find(|(former, _)| *former == name) else {
        return vec![arg.to_owned()];
    };
    let new = (!new.is_empty()).then(|| OsString::from(new));
    new.into_iter().chain(value.map(OsString::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_words_are_put_into_todays() {
        for (former, expected) in [
            ("x slot-list", "x slot list"),
            ("x --data-dir /d slot-enable --slot 2", "x --data-dir /d slot enable 2"),
            ("x slot-login --slot 2 --label me", "x slot login 2 --label me"),
            (
                "x slot-auth-import-file --slot 2 --label l --auth-file=/f",
                "x slot import --yes --slot 2 --label l /f",
            ),
            (
                "x slot-usage-set --slot slot-2 --usage5h 95% --usageWeek 84%",
                "x slot usage-set slot-2 --five-hours 95% --week 84%",
            ),
            ("x test-runner --slot 1 --prompt p", "x slot test 1 --prompt p"),
            ("x accounts order a b", "x slot order a b"),
            ("x accounts --json", "x slot list --json"),
            ("x balance weighted", "x slot policy weighted"),
            ("x slot list", "x slot list"),
            ("x serve --port 1", "x serve --port 1"),
            ("x", "x"),
        ] {
            let args = former.split(' ').map(OsString::from);
            let today: Vec<_> =
                today(args).into_iter().map(|arg| arg.into_string().expect("text")).collect();
            assert_eq!(today.join(" "), expected, "{former}");
        }
    }
}
