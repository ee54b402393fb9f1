//! What every source file has and what none has.

use super::{expect_none, outside::code, root, rust_files};

/// Longer files are split; most should be far shorter.
const MOST_LINES: usize = 1000;

/// What may stand neither in code nor in comments. Written in halves, or this file would be the
/// first to be found.
const NOT_LEFT_BEHIND: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];

const IGNORED: &str = concat!("#[ig", "nore");
/// Steps of `.ci/run` that run what is not run everywhere.
const RUN_ELSEWHERE: &[&str] = &[".ci/keyring"];

/// What may not stand in code. Comments may speak of it.
const NOT_IN_CODE: &[(&str, &str)] = &[
    (concat!("dbg", "!("), "is for looking, not for keeping"),
    (concat!("#[al", "low("), "is `#[expect(.., reason = \"..\")]` here"),
    (concat!("#![al", "low("), "is `#![expect(.., reason = \"..\")]` here"),
    (IGNORED, "is a test that is not run; mend it, remove it, or name the step that runs it"),
    (concat!("#[should_", "panic"), "says too little; look at the error itself"),
    (concat!("thread::sl", "eep"), "waits for a duration; wait for a state"),
];

fn check_head(path: &str, text: &str) -> Vec<String> {
    let opens = text.strip_prefix("//! ").is_some_and(|rest| !rest.trim_start().is_empty());
    if opens { Vec::new() } else { vec![format!("{path}: does not open with `//!`")] }
}

fn check_size(path: &str, text: &str) -> Vec<String> {
    match text.lines().count() {
        lines if lines > MOST_LINES => {
            vec![format!("{path}: {lines} lines, the most is {MOST_LINES}")]
        }
        _ => Vec::new(),
    }
}

fn check_words(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        for word in NOT_LEFT_BEHIND {
            if line.split(|c| !is_word(c)).any(|found| found == *word) {
                wrong.push(format!("{path}:{}: leaves a `{word}` behind", number + 1));
            }
        }
    }
    for (number, (line, written)) in code.lines().zip(text.lines()).enumerate() {
        for (text, why) in NOT_IN_CODE {
            let is_run = *text == IGNORED && RUN_ELSEWHERE.iter().any(|it| written.contains(it));
            if line.contains(text) && !is_run {
                wrong.push(format!("{path}:{}: `{text}` {why}", number + 1));
            }
        }
    }
    wrong
}

fn check_all(check: impl Fn(&str, &str) -> Vec<String>) {
    let wrong: Vec<_> = rust_files().flat_map(|file| check(&file.path, &file.text)).collect();
    expect_none(&wrong);
}

#[test]
fn every_file_says_what_it_is() {
    check_all(check_head);
}

#[test]
fn no_file_is_too_long() {
    check_all(check_size);
}

#[test]
fn nothing_is_left_behind() {
    check_all(check_words);
}

#[test]
fn what_is_not_run_everywhere_is_run_somewhere() {
    let steps = std::fs::read_to_string(root().join(".ci/run")).expect("readable");
    for step in RUN_ELSEWHERE {
        assert!(steps.lines().any(|line| line.starts_with("step ") && line.ends_with(step)));
    }
}

#[test]
fn planted_mistakes_are_found() {
    assert_eq!(check_head("a.rs", "use b;\n"), ["a.rs: does not open with `//!`"]);
    assert_eq!(check_head("a.rs", "//!\n"), ["a.rs: does not open with `//!`"]);
    assert!(check_head("a.rs", "//! What it is.\n").is_empty());
    assert_eq!(check_size("a.rs", &"\n".repeat(1001)), ["a.rs: 1001 lines, the most is 1000"]);
    assert!(check_size("a.rs", &"\n".repeat(1000)).is_empty());
    let later = concat!("// TO", "DO: later\n");
    assert_eq!(check_words("a.rs", later), [concat!("a.rs:1: leaves a `TO", "DO` behind")]);
    let looked = concat!("fn f() {\n    dbg", "!(1);\n}\n");
    assert_eq!(check_words("a.rs", looked).len(), 1);
    let spoken = concat!("// dbg", "!(x) would print it\n");
    assert!(check_words("a.rs", spoken).is_empty());
    assert!(check_words("a.rs", "fn hacked() {}\n").is_empty());
    let ignored = format!("{IGNORED} = \"slow\"]\nfn f() {{}}\n");
    assert_eq!(check_words("a.rs", &ignored).len(), 1);
    let elsewhere = format!("{IGNORED} = \"needs a keyring: `.ci/keyring`\"]\nfn f() {{}}\n");
    assert!(check_words("a.rs", &elsewhere).is_empty());
}
