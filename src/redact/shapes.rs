//! What is known to be a secret, or of no use in a log, by its looks alone.
//!
//! Other people's keys come in prompts: a model is shown a file, a tool prints an environment. And
//! pictures come as kilobytes of base64. Neither helps whoever reads a log.
//!
//! **Invariant:** lines of JSON stay lines of JSON, and as many.
//!
//! Not here: the program's own secrets (`values`), names (`redact`).

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, BuildError, Input, MatchKind};
use memchr::memchr_iter;

use super::REDACTED;

/// A run of base64 that is as long is no word, no name and no address.
const RUN: usize = 256;

/// How a kind of key begins and what follows.
struct Kind {
    start: &'static str,
    /// How many characters follow at least.
    least: usize,
    /// How many dots there are among them.
    dots: usize,
}

/// Those that programs of this field meet.
const KINDS: &[Kind] = &[
    Kind { start: "sk-", least: 20, dots: 0 },
    Kind { start: "rt_", least: 20, dots: 0 },
    Kind { start: "rt.", least: 20, dots: 0 },
    Kind { start: "sess-", least: 20, dots: 0 },
    Kind { start: "eyJ", least: 20, dots: 2 },
    Kind { start: "Bearer ", least: 16, dots: 0 },
    Kind { start: "ghp_", least: 20, dots: 0 },
    Kind { start: "gho_", least: 20, dots: 0 },
    Kind { start: "ghs_", least: 20, dots: 0 },
    Kind { start: "github_pat_", least: 20, dots: 0 },
    Kind { start: "glpat-", least: 16, dots: 0 },
    Kind { start: "xoxb-", least: 20, dots: 0 },
    Kind { start: "xoxp-", least: 20, dots: 0 },
    Kind { start: "AKIA", least: 16, dots: 0 },
    Kind { start: "AIza", least: 30, dots: 0 },
    Kind { start: "hf_", least: 20, dots: 0 },
];

/// Finds the beginnings of all kinds in one pass.
static STARTS: LazyLock<Result<AhoCorasick, BuildError>> = LazyLock::new(|| {
    let starts = KINDS.iter().map(|kind| kind.start);
    AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(starts)
});

/// Where keys stand. Each byte is looked at a few times at most, whatever the lines say.
fn keys(lines: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // So few words can always be looked for.
    let Ok(starts) = &*STARTS else { return found };
    let mut from = 0;
    while let Some(start) = starts.find(Input::new(lines).range(from..)) {
        from = start.end();
        let Some(kind) = KINDS.get(start.pattern().as_usize()) else { continue };
        if !begins(lines, start.start()) {
            continue;
        }
        let rest = kind.rest(&lines[start.end()..]);
        // What begins within it would end with it, and be as little of a key.
        from += rest.len;
        if rest.is_key {
            found.push(start.start()..start.end() + rest.len);
        }
    }
    found
}

/// Whether a word may begin at `at`: `task-force` is no `sk-`, but an escape is no part of a word.
fn begins(lines: &[u8], at: usize) -> bool {
    let before = &lines[..at];
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_escape = match before {
        [.., b'\\', last] => b"ntrbf".contains(last),
        [.., b'\\', b'u', a, b, c, d] => [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()),
        _ => false,
    };
    is_escape || !before.last().is_some_and(is_word)
}

/// Hides keys, and shortens base64, in lines of JSON.
pub fn lines(lines: &mut Vec<u8>) {
    let mut found = keys(lines);
    let keys = found.len();
    found.extend(runs(lines));
    if found.is_empty() {
        return;
    }
    let mut marked: Vec<_> = found.into_iter().enumerate().collect();
    marked.sort_by_key(|(_, range)| (range.start, range.end));
    let mut out = Vec::with_capacity(lines.len());
    let mut copied = 0;
    for (number, range) in marked {
        // A part of it may have gone already.
        let start = range.start.max(copied);
        if start >= range.end {
            continue;
        }
        out.extend_from_slice(&lines[copied..start]);
        if number < keys {
            out.extend_from_slice(REDACTED.as_bytes());
        } else {
            out.extend_from_slice(format!("[{} bytes of base64]", range.end - start).as_bytes());
        }
        copied = range.end;
    }
    out.extend_from_slice(&lines[copied..]);
    *lines = out;
}

impl Kind {
    /// What follows the beginning of a key.
    fn rest(&self, after: &[u8]) -> Rest {
        let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_-.~+/=".contains(byte);
        let length = after.iter().take_while(is_part).count();
        // A full stop after a key is not a part of it.
        let stops = after[..length].iter().rev().take_while(|byte| **byte == b'.').count();
        let key = &after[..length - stops];
        let is_random = key.iter().any(u8::is_ascii_digit);
        let is_key =
            key.len() >= self.least && is_random && memchr_iter(b'.', key).count() >= self.dots;
        Rest { len: key.len(), is_key }
    }
}

struct Rest {
    len: usize,
    is_key: bool,
}

/// Where base64 stands that is too long to be written down.
///
/// Looks at one byte in [`RUN`] as long as there is none: a run that is long enough has one there.
fn runs(lines: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(window) = lines.get(start..start + RUN) {
        if let Some(other) = window.iter().rposition(|byte| !is_base64(*byte)) {
            start += other + 1;
            continue;
        }
        let more = lines[start + RUN..].iter().take_while(|byte| is_base64(**byte)).count();
        let end = start + RUN + more;
        let run = &lines[start..end];
        // What a backslash at the end escapes is not a part of it.
        let escapes = run.iter().rev().take_while(|byte| **byte == b'\\').count();
        // Between strings there may be a number.
        let is_text =
            run.iter().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E'));
        if is_text {
            found.push(start..end - escapes);
        }
        start = end;
    }
    found
}

/// Also with the alphabet for addresses, and where slashes or line ends are escaped.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::tests::Dice;

    fn shown(text: &str) -> String {
        let mut line = text.as_bytes().to_vec();
        lines(&mut line);
        let once = String::from_utf8(line.clone()).expect("text");
        lines(&mut line);
        assert_eq!(String::from_utf8(line).expect("text"), once, "once is enough");
        once
    }

    #[test]
    fn keys_are_hidden_and_what_looks_like_them_is_not() {
        for (text, expected) in [
            (
                r#"{"a":"my key is sk-proj-abc123DEF456ghi789jkl, keep it."}"#,
                r#"{"a":"my key is [REDACTED], keep it."}"#,
            ),
            (r#"{"a":"KEY=sk-ant-api03-abcDEF0123456789xyz\nX"}"#, r#"{"a":"KEY=[REDACTED]\nX"}"#),
            (r#"{"a":"x\nsk-0123456789abcdef0123456789"}"#, r#"{"a":"x\n[REDACTED]"}"#),
            (
                r#"{"a":"{\"t\":\"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.SflKxwRJSM\"}"}"#,
                r#"{"a":"{\"t\":\"[REDACTED]\"}"}"#,
            ),
            (
                r#"{"a":"Authorization: Bearer 0123456789abcdef"}"#,
                r#"{"a":"Authorization: [REDACTED]"}"#,
            ),
            (r#"{"a":"ghp_0123456789abcdefABCDEF0123456789abcd."}"#, r#"{"a":"[REDACTED]."}"#),
            (r#"{"a":"AKIAIOSFODNN7EXAMPL"}"#, r#"{"a":"AKIAIOSFODNN7EXAMPL"}"#),
            (r#"{"a":"AKIAIOSFODNN7EXAMPLE"}"#, r#"{"a":"[REDACTED]"}"#),
            (r#"{"a":"rt_0123456789abcdefghij"}"#, r#"{"a":"[REDACTED]"}"#),
        ] {
            assert_eq!(shown(text), expected);
        }
        let escaped =
            r#"{"a":"\u201csk-proj-abc123DEF456ghi789jkl\u201d \u003csk-0123456789abcdefghij>"}"#;
        assert_eq!(shown(escaped), r#"{"a":"\u201c[REDACTED]\u201d \u003c[REDACTED]>"}"#);
        for text in [
            r#"{"a":"a task-force of risk-averse desk-workers, sk-learn-and-other-libraries"}"#,
            r#"{"a":"eyJust one dot.here and no more than that, 1234567890"}"#,
            r#"{"a":"Bearer of bad news; Bearer tokens-have-no-digits-here"}"#,
            r#"{"a":"task-0123456789abcdef0123456789"}"#,
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn pictures_are_written_as_their_length() {
        let picture = "iVBORw0KGgo/AAAANSUh".repeat(100);
        let url = format!(r#"{{"image_url":"data:image/png;base64,{picture}","n":1}}"#);
        assert_eq!(
            shown(&url),
            r#"{"image_url":"data:image/png;base64,[2000 bytes of base64]","n":1}"#
        );
        let slashed = format!(r#"{{"a":"{}\"b"}}"#, picture.replace('/', r"\/"));
        assert_eq!(shown(&slashed), r#"{"a":"[2100 bytes of base64]\"b"}"#);
        let words = format!(r#"{{"a":"{}"}}"#, "word after word, ".repeat(100));
        assert_eq!(shown(&words), words);
        let number = format!(r#"{{"a":{}}}"#, "1234567890".repeat(100));
        assert_eq!(shown(&number), number);
        assert_eq!(shown(&"a".repeat(RUN - 1)), "a".repeat(RUN - 1));
        assert_eq!(shown(&"a".repeat(RUN)), "[256 bytes of base64]");
    }

    /// If each beginning were followed to the end of its run, this would take for ever.
    #[test]
    fn many_beginnings_cost_no_more_than_one() {
        for start in ["sk-", "rt.", "glpat-", "de-sk-", "eyJ", "Bearer "] {
            let text = start.repeat((8 << 20) / start.len());
            assert!(shown(&text).len() <= text.len());
        }
    }

    #[test]
    fn lines_of_json_stay_lines_of_json() {
        let mut dice = Dice(7);
        let parts = [
            "sk-0123456789abcdefghij",
            "\\",
            "\"",
            "\n",
            " ",
            "x",
            "/",
            "eyJ",
            ".a1",
            "Bearer ",
            "9",
        ];
        for _ in 0..2_000 {
            let mut text = String::new();
            for _ in 0..dice.roll(30) {
                let times = if dice.roll(8) == 0 { 300 } else { 1 };
                text.push_str(&dice.pick(&parts).repeat(times));
            }
            let mut line = serde_json::to_vec(&(&text, 7, &text)).expect("JSON");
            line.push(b'\n');
            let before = line.clone();
            lines(&mut line);
            let read: Result<serde_json::Value, _> = serde_json::from_slice(&line);
            assert!(
                read.is_ok(),
                "{} became {}",
                String::from_utf8_lossy(&before),
                String::from_utf8_lossy(&line)
            );
            assert_eq!(memchr_iter(b'\n', &line).count(), 1);
        }
    }
}
