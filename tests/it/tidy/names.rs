//! Names that say nothing are not given.

use super::{expect_none, outside::code, rust_files};

/// Not in the name of a type.
const TYPE_WORDS: &[&str] =
    &["Manager", "Helper", "Util", "Utils", "Handler", "Processor", "Info", "Data", "Base", "Impl"];

/// Not the name of a module.
const MODULE_NAMES: &[&str] = &["common", "misc", "types", "util", "utils", "helpers", "data"];

/// Associated types are named by their trait, so `type` is not among these.
const TYPE_KEYWORDS: &[&str] = &["struct", "enum", "trait", "union"];

/// The words of a name in camel case: `ChunkWriter` is `Chunk` and `Writer`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if !c.is_uppercase() => word.push(c),
            Some(_) | None => words.push(c.to_string()),
        }
    }
    words
}

fn check_types(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let tokens: Vec<_> = code
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    tokens
        .windows(2)
        .filter(|pair| TYPE_KEYWORDS.contains(&pair[0]))
        .filter_map(|pair| {
            let empty = words(pair[1]).into_iter().find(|word| TYPE_WORDS.contains(&&**word))?;
            Some(format!("{path}: `{}` is called a {empty}, which says nothing", pair[1]))
        })
        .collect()
}

fn check_module(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?.strip_suffix(".rs")?;
    let folders = path.split('/').rev().skip(1);
    folders
        .chain([name])
        .find(|part| MODULE_NAMES.contains(part))
        .map(|part| format!("{path}: a module called `{part}` says nothing"))
}

#[test]
fn names_say_something() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        wrong.extend(check_module(&file.path));
        wrong.extend(check_types(&file.path, &file.text));
    }
    expect_none(&wrong);
}

#[test]
fn planted_names_are_found() {
    assert_eq!(words("ChunkWriter"), ["Chunk", "Writer"]);
    for (text, is_wrong) in [
        ("pub struct SlotManager;", true),
        ("enum DataKind {}", true),
        ("trait Processor {}", true),
        ("impl Body for X { type Data = Y; }", false),
        ("struct Database;", false),
        ("struct Frame { data: u8 }", false),
        ("// struct SlotManager", false),
        ("fn handler() {}", false),
    ] {
        assert_eq!(!check_types("a.rs", text).is_empty(), is_wrong, "{text}");
    }
    assert!(check_module("src/wire/common.rs").is_some());
    assert!(check_module("src/util/x.rs").is_some());
    assert!(check_module("src/wire/sse.rs").is_none());
}
