//! Source text as far as its shape matters: code without comments and strings, and paths in it.
//!
//! This is no parser. It knows what can hide a path (comments, literals), how `use` trees are
//! written, and how deep in modules a place is.

/// `text` with the insides of comments, strings and characters replaced by spaces; line ends stay.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = hidden(&chars, at).unwrap_or(at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal ends that begins at `at`, if one does.
fn hidden(chars: &[char], at: usize) -> Option<usize> {
    let starts = |text: &str| text.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c));
    if starts("//") {
        return Some(position(chars, at, |c| c == '\n'));
    }
    if starts("/*") {
        let close = |n: usize| chars[n..].starts_with(&['*', '/']);
        return Some((at + 2..chars.len()).find(|n| close(*n)).map_or(chars.len(), |n| n + 2));
    }
    let follows_a_word = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '"' => Some(after_quoted(chars, at, '"')),
        'r' if !follows_a_word || chars[at - 1] == 'b' => raw_string(chars, at),
        '\'' => match (chars.get(at + 1), chars.get(at + 2)) {
            (Some('\\'), _) | (Some(_), Some('\'')) => Some(after_quoted(chars, at, '\'')),
            // A lifetime or a label.
            _ => None,
        },
        _ => None,
    }
}

fn position(chars: &[char], from: usize, is_it: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|n| is_it(chars[*n])).unwrap_or(chars.len())
}

fn after_quoted(chars: &[char], at: usize, quote: char) -> usize {
    let mut n = at + 1;
    while n < chars.len() && chars[n] != quote {
        n += if chars[n] == '\\' { 2 } else { 1 };
    }
    (n + 1).min(chars.len())
}

fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let open = position(chars, at + 1, |c| c != '#');
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let hashes = open - at - 1;
    let closes = |n: usize| {
        chars[n] == '"' && chars[n + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    Some((open + 1..chars.len()).find(|n| closes(*n)).map_or(chars.len(), |n| n + 1 + hashes))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// One path as it is written, and the inline modules that it stands in.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub path: Vec<String>,
    pub inline: Vec<String>,
}

/// Every path in `code`, `use` trees taken apart.
pub fn paths(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    // What each open brace is the body of: the name of a module, or nothing.
    let mut braces: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => {
                let is_module = at >= 2 && tokens[at - 2] == "mod";
                braces.push(is_module.then(|| tokens[at - 1].clone()));
                at += 1;
            }
            "}" => {
                braces.pop();
                at += 1;
            }
            token if token.chars().next().is_some_and(is_word) => {
                let inline: Vec<_> = braces.iter().flatten().cloned().collect();
                let mut tree = Vec::new();
                at = read_tree(&tokens, at, &[], &mut tree);
                let named = |path| Named { path, inline: inline.clone() };
                found.extend(tree.into_iter().map(named));
            }
            _ => at += 1,
        }
    }
    found
}

/// Reads `a::b::{c, d::e}` from `at`; gives the place after it.
fn read_tree(
    tokens: &[String],
    mut at: usize,
    before: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = before.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") if !path.is_empty() => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    let next = read_tree(tokens, at, &path, found);
                    at = next.max(at + 1);
                    if tokens.get(at).is_some_and(|token| token == "as") {
                        at += 2;
                    }
                    if tokens.get(at).is_some_and(|token| token == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some(token) if token.chars().next().is_some_and(is_word) => {
                path.push(token.to_owned());
                at += 1;
            }
            _ => break,
        }
        if tokens.get(at).is_some_and(|token| token == "::") {
            at += 1;
        } else {
            break;
        }
    }
    if path.len() > before.len() {
        found.push(path);
    }
    at
}

fn tokens(code: &str) -> Vec<String> {
    let chars: Vec<char> = code.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            c if c.is_whitespace() => at + 1,
            c if is_word(c) => position(&chars, at, |c| !is_word(c)),
            ':' if chars.get(at + 1) == Some(&':') => at + 2,
            _ => at + 1,
        };
        if !chars[at].is_whitespace() {
            tokens.push(chars[at..end].iter().collect());
        }
        at = end;
    }
    tokens
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "a(\"x // \\\" y\"); // crate::b\nr#\"c \" d\"#; '\"'; 'e: f<'g>(b\"h\", br\"i\") /* j\nk */ l";
    let words = |text: &str| -> Vec<String> {
        tokens(&code(text)).into_iter().filter(|word| word.chars().all(is_word)).collect()
    };
    assert_eq!(words(text), ["a", "e", "f", "g", "b", "b", "l"]);
    assert_eq!(code(text).lines().count(), text.lines().count());
}

#[test]
fn use_trees_are_taken_apart() {
    let code = "use crate::{a::{b, c as d}, e}; mod t { use super::{super::f, *}; } fn g() { crate::h::i() }";
    let found: Vec<_> = paths(code)
        .into_iter()
        .filter(|named| named.path.len() > 1)
        .map(|named| format!("{} {}", named.inline.join("::"), named.path.join("::")))
        .collect();
    let expected =
        [" crate::a::b", " crate::a::c", " crate::e", "t super::super::f", " crate::h::i"];
    assert_eq!(found, expected);
}
