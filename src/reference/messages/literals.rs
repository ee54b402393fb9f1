//! Rust source as far as texts stand in it: its literals, and the code around them.
//!
//! This is no parser. It knows what can hide a quotation mark, and which bracket closes which.

use std::ops::Range;

/// A source file taken apart.
#[derive(Debug, Default)]
pub struct Code {
    pub literals: Vec<Literal>,
    /// The file with spaces in place of literals and comments, every byte where it was.
    bare: String,
}

/// A text in quotes, with its escapes resolved.
#[derive(Debug, PartialEq, Eq)]
pub struct Literal {
    pub at: usize,
    pub text: String,
}

/// Something that is no code: so many bytes, and the text if it is one.
struct Hidden {
    length: usize,
    text: Option<String>,
}

impl Code {
    pub fn read(source: &str) -> Self {
        let mut code = Self::default();
        let mut rest = source;
        while let Some(first) = rest.chars().next() {
            let at = code.bare.len();
            let is_in_word = code.bare.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let length = if let Some(Hidden { length, text }) = hidden(rest, first, is_in_word) {
                code.literals.extend(text.map(|text| Literal { at, text }));
                code.bare.extend(std::iter::repeat_n(' ', length));
                length
            } else {
                code.bare.push(first);
                first.len_utf8()
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        code
    }

    /// The texts behind each `opener`: up to the bracket that closes it, or to the end of the
    /// statement if it opens none.
    pub fn behind(&self, opener: &str) -> Vec<&Literal> {
        let ranges: Vec<_> = self.bare.match_indices(opener).map(|(at, _)| at).collect();
        let ranges = ranges.into_iter().map(|at| {
            let from = at + opener.len();
            let rest = self.bare.get(from..).unwrap_or_default();
            let length = match opener.chars().last() {
                Some('(') => closed(rest, '(', ')'),
                Some('[') => closed(rest, '[', ']'),
                Some(_) | None => rest.find(';').unwrap_or(rest.len()),
            };
            from..from + length
        });
        let ranges: Vec<Range<usize>> = ranges.collect();
        let is_within = |literal: &&Literal| ranges.iter().any(|range| range.contains(&literal.at));
        self.literals.iter().filter(is_within).collect()
    }
}

/// How far it is to the bracket that closes one that is open already.
fn closed(text: &str, open: char, close: char) -> usize {
    let mut depth = 1_usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// What begins `rest` and is no code.
fn hidden(rest: &str, first: char, is_in_word: bool) -> Option<Hidden> {
    let silent = |length| Some(Hidden { length, text: None });
    match first {
        '/' if rest.starts_with("//") => silent(rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => silent(rest.find("*/").map_or(rest.len(), |at| at + 2)),
        '"' => Some(quoted(rest)),
        'b' if !is_in_word && rest.starts_with("b\"") => silent(quoted(rest.get(1..)?).length + 1),
        'r' if !is_in_word => raw(rest),
        '\'' => {
            let mut chars = rest.char_indices().skip(1);
            let (_, second) = chars.next()?;
            let (third_at, third) = chars.next()?;
            match (second, third) {
                ('\\', _) => silent(rest.get(3..)?.find('\'')? + 4),
                (_, '\'') => silent(third_at + 1),
                // A lifetime or a label.
                _ => None,
            }
        }
        _ => None,
    }
}

fn quoted(rest: &str) -> Hidden {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Hidden { length: at + 1, text: Some(text) },
            '\\' => match chars.next() {
                // What is at the next line belongs to this one.
                Some((_, '\n')) => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                Some((_, 'n' | 't')) => text.push(' '),
                Some((_, other)) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    Hidden { length: rest.len(), text: Some(text) }
}

fn raw(rest: &str) -> Option<Hidden> {
    let fence = rest.get(1..)?.split('"').next()?;
    if !fence.bytes().all(|byte| byte == b'#') {
        return None;
    }
    let open = fence.len() + 2;
    let text = rest.get(open..)?.split(&format!("\"{fence}")).next()?;
    let length = (open + text.len() + fence.len() + 1).min(rest.len());
    Some(Hidden { length, text: Some(text.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_from_what_only_looks_like_them() {
        let source = r##"
            fn a<'a>(b: &'a str) { // "no"
                say("one \
                     line", '"', '\'', b"no", r#"a "raw" one"#, for"x"); /* "no" */
                say_not("other");
                let text = "two"; let x = "three";
                if c { #[expect(x, reason = "why")] say(format!("({})", d("four"))) }
            }
        "##;
        let code = Code::read(source);
        let texts: Vec<_> = code.literals.iter().map(|literal| literal.text.as_str()).collect();
        let all =
            ["one line", "a \"raw\" one", "x", "other", "two", "three", "why", "({})", "four"];
        assert_eq!(texts, all);
        let behind = |opener: &str| {
            let found = code.behind(opener).into_iter();
            found.map(|literal| literal.text.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(behind("say("), ["one line", "a \"raw\" one", "x", "({})", "four"]);
        assert_eq!(behind("let text ="), ["two"]);
        assert_eq!(behind("#["), ["why"]);
        assert_eq!(behind("nothing("), [""; 0]);
    }

    #[test]
    fn what_is_not_closed_ends_with_the_file() {
        for source in ["\"abc", "say(\"abc\"", "'", "'a", "r#\"abc", "/* abc", "b\"abc", "\"\\"] {
            let code = Code::read(source);
            assert_eq!(code.bare.len(), source.len(), "{source}");
            assert!(code.behind("say(").len() < 2, "{source}");
        }
    }
}
