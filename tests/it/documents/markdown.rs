//! As much of Markdown as these documents use.

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block<'a> {
    pub language: &'a str,
    /// Of the opening fence, counted from one.
    pub line: usize,
    pub text: &'a str,
}

pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(&str, usize, usize)> = None;
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if let Some(language) = line.trim_end().strip_prefix("```") {
            match open.take() {
                None => open = Some((language, number + 1, at + line.len())),
                Some((language, line, start)) => {
                    found.push(Block { language, line, text: &text[start..at] });
                }
            }
        }
        at += line.len();
    }
    found
}

/// The lines outside of fenced blocks, counted from one.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_inside = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        if line.starts_with("```") {
            is_inside = !is_inside;
            return None;
        }
        (!is_inside).then_some((number + 1, line))
    })
}

pub fn headings(text: &str) -> Vec<&str> {
    prose(text)
        .filter_map(|(_, line)| {
            let title = line.strip_prefix('#')?.trim_start_matches('#');
            title.strip_prefix(' ').map(str::trim)
        })
        .collect()
}

/// What links may name after `#`: each heading in the spelling that renderers agree on.
pub fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for heading in headings(text) {
        let anchor: String = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let again = |known: &&String| {
            known.strip_prefix(&*anchor).is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('-').is_some_and(|n| n.parse::<u8>().is_ok())
            })
        };
        let n_before = found.iter().filter(again).count();
        found.push(if n_before == 0 { anchor } else { format!("{anchor}-{n_before}") });
    }
    found
}

/// The targets of `[text](target)`.
pub fn links(text: &str) -> Vec<&str> {
    let targets = |(_, line)| {
        let spans: Vec<_> = outside_code(line).collect();
        spans.into_iter().flat_map(|span: &str| {
            span.match_indices("](").filter_map(|(at, open)| {
                let target = &span[at + open.len()..];
                target.split_once(')').map(|(target, _)| target)
            })
        })
    };
    prose(text).flat_map(targets).collect()
}

/// The parts of a line that are not between backquotes. A link's text may be code, its target is
/// not, so a bracket that opens in one part and closes in another is still found.
fn outside_code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').step_by(2)
}

/// Complains of lines on which a second sentence begins.
pub fn check_lines(path: &str, text: &str) -> Vec<String> {
    prose(text)
        .filter(|(_, line)| !line.starts_with('|') && !line.starts_with('#'))
        .filter(|(_, line)| has_second_sentence(line))
        .map(|(number, line)| format!("{path}:{number}: a second sentence: {}", line.trim()))
        .collect()
}

/// A stop, a space and a capital letter, outside of code. Abbreviations are not used.
fn has_second_sentence(line: &str) -> bool {
    let numbered = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
    let line = numbered.strip_prefix(". ").unwrap_or(line);
    let code = |(n, part): (usize, &str)| {
        if n % 2 == 0 { part.to_owned() } else { "x".to_owned() }
    };
    let line: String = line.split('`').enumerate().map(code).collect();
    line.match_indices(['.', '?', '!']).any(|(at, _)| {
        let mut rest = line[at + 1..].chars();
        rest.next() == Some(' ') && rest.next().is_some_and(char::is_uppercase)
    })
}

#[test]
fn blocks_headings_and_links_are_read() {
    let text = "# One `two`\n[a](b.md) `[c](d.md)`\n```toml\n# no\n[e](f)\n```\n## One, two!\n## One two\n";
    assert_eq!(blocks(text), [Block { language: "toml", line: 3, text: "# no\n[e](f)\n" }]);
    assert_eq!(headings(text), ["One `two`", "One, two!", "One two"]);
    assert_eq!(anchors(text), ["one-two", "one-two-1", "one-two-2"]);
    assert_eq!(links(text), ["b.md"]);
    assert_eq!(links("[`a`](b.md) and [c](d.md)"), ["b.md", "d.md"]);
}

#[test]
fn a_second_sentence_is_found() {
    for (line, is_wrong) in [
        ("One. Two.", true),
        ("Is it? Yes.", true),
        ("One.", false),
        ("1. One.", false),
        ("1. One. Two.", true),
        ("Version 0.1 is e.g. this.", false),
        ("Say `a. B`.", false),
    ] {
        assert_eq!(!check_lines("a.md", line).is_empty(), is_wrong, "{line}");
    }
    assert!(check_lines("a.md", "```\nOne. Two.\n```\n").is_empty());
}
