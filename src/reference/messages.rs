//! Every message, by its text, found where it stands in the source.
//!
//! A message is in one of the places where the program says something: the text of an error, an
//! argument of a call that prints, or any sentence of a file that does nothing else. So a page of
//! them needs no list that somebody forgets to extend. What is filled in is written as `…`.
//!
//! Not here: what the parser of the command line says, whose words are its own; reading files,
//! which whoever asks for the page does.

mod literals;

use std::collections::BTreeSet;

use self::literals::{Code, Literal};
use super::Page;

/// Where messages come from and what they are about.
struct Group {
    heading: &'static str,
    about: &'static str,
    /// Beginnings of paths below `src`.
    files: &'static [&'static str],
    rule: Rule,
}

/// Which texts of a file are messages.
#[derive(Clone, Copy)]
enum Rule {
    /// Those behind one of these.
    Behind(&'static [&'static str]),
    /// All that say something.
    All,
    /// All that begin or end as a sentence does.
    Sentences,
}

/// The text of an error, wherever it is.
const ERROR: &str = "#[error(";
const LOGGED: &[&str] = &[ERROR, "tracing::warn!(", "tracing::error!("];
const PRINTED: &[&str] = &[
    ERROR,
    "Failure::Odd(",
    "let text =",
    "let who =",
    ".warn(",
    ".tell(",
    ".note(",
    "notes.push(",
    "tracing::warn!(",
];
const DISPLAYED: &[&str] = &[ERROR, "tracing::warn!(", "write_str(", "write!(f"];

/// A file is in the first group that has it.
const GROUPS: &[Group] = &[
    Group {
        heading: "Logins and tokens",
        about: "What `login`, `logout`, `token` and `status` say besides.",
        files: &["cli/login.rs", "cli/logout.rs", "cli/status.rs", "cli/token.rs"],
        rule: Rule::Sentences,
    },
    Group {
        heading: "Commands",
        about: "What commands print; a warning begins with `warning:` and stops nothing.",
        files: &["cli.rs", "cli/"],
        rule: Rule::Behind(PRINTED),
    },
    Group {
        heading: "Settings",
        about: "Each stands behind the name of a setting and the place where it was said.",
        files: &["config.rs", "config/", "address.rs", "wire/model.rs"],
        rule: Rule::All,
    },
    Group {
        heading: "The start",
        about: "Why `serve` does not, and what it warns of.",
        files: &[
            "app.rs",
            "app/",
            "listen.rs",
            "listen/",
            "private_file.rs",
            "private_file/",
            "relay_token.rs",
        ],
        rule: Rule::All,
    },
    Group {
        heading: "The login",
        about: "Signing in, keeping a login, renewing it, and copying one of another program.",
        files: &["auth.rs", "auth/", "keyring.rs", "keyring/", "credential.rs"],
        rule: Rule::All,
    },
    Group {
        heading: "Slots",
        about: "Why a slot does not serve, in lists and in answers, and what is wrong with the file.",
        files: &[
            "roster.rs",
            "roster/",
            "slot.rs",
            "slot/health.rs",
            "slot/policy",
            "slot/verdict.rs",
        ],
        rule: Rule::All,
    },
    Group {
        heading: "Answers",
        about: "What requests are answered; [errors](errors.md) has the status and the code of each.",
        files: &["api.rs", "api/", "wire.rs", "wire/"],
        rule: Rule::Sentences,
    },
    Group {
        heading: "The upstream",
        about: "These stand in the traffic log and in `airelays slot explain`.",
        files: &["upstream/failure.rs"],
        rule: Rule::Behind(DISPLAYED),
    },
    Group {
        heading: "On the way to it",
        about: "These stand there too, and behind a slot in lists.",
        files: &["upstream.rs", "upstream/", "relay.rs", "relay/", "transport.rs", "transport/"],
        rule: Rule::All,
    },
    Group {
        heading: "The simulator",
        about: "Markers and switches that there are not.",
        files: &["sim.rs", "sim/"],
        rule: Rule::Behind(LOGGED),
    },
    Group {
        heading: "Everything else",
        about: "These stand behind a colon in other messages, and in the log.",
        files: &[""],
        rule: Rule::Behind(LOGGED),
    },
];

/// Files that say nothing when something is odd: this page, checks, pages in browsers, names that
/// are sent, and the explanations of settings.
const SILENT: &[&str] = &[
    "reference",
    "internals",
    "auth/browser.rs",
    "auth/callback/page.rs",
    "config/table",
    "config/template.rs",
];

/// The page, from all files of the program and the document about troubles.
///
/// `sources` are the paths of Rust files, such as `src/cli.rs`, and their texts, in any order.
pub fn page(sources: &[(String, String)], troubles: &str) -> String {
    let mut page = Page::new(
        "Messages",
        "Everything that the program prints or answers when something is odd, to be found by its text.\n\
         `…` stands for what is filled in, and a message may go on with its cause behind a colon.\n\
         [Troubleshooting](../troubleshooting.md) says what to do about the more frequent ones.",
    );
    let troubles = explained(troubles);
    let mut said = vec![BTreeSet::new(); GROUPS.len()];
    for (path, text) in sources {
        let Some((group, rule)) = group_of(path) else { continue };
        if let Some(said) = said.get_mut(group) {
            said.extend(messages(text, rule).into_iter().map(|text| (order(&text), text)));
        }
    }
    for (Group { heading, about, .. }, said) in GROUPS.iter().zip(said) {
        page.heading(heading);
        page.paragraph(about);
        let rows = said.into_iter().map(|(_, text)| row(text, &troubles));
        page.table(["message", "help"], rows);
    }
    page.finish()
}

/// The place of the group that a file belongs to, unless it says nothing.
fn group_of(path: &str) -> Option<(usize, Rule)> {
    let path = path.strip_prefix("src/")?;
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    if is_test || SILENT.iter().any(|silent| path.starts_with(silent)) {
        return None;
    }
    let has = |group: &Group| group.files.iter().any(|file| path.starts_with(file));
    let (at, group) = GROUPS.iter().enumerate().find(|(_, group)| has(group))?;
    Some((at, group.rule))
}

/// The messages of one file.
fn messages(text: &str, rule: Rule) -> Vec<String> {
    let product = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code = Code::read(product);
    let errors = code.behind(ERROR);
    let found: Vec<&Literal> = match rule {
        Rule::Behind(openers) => openers.iter().flat_map(|opener| code.behind(opener)).collect(),
        Rule::All | Rule::Sentences => {
            let marks = code.behind("#[");
            let is_said = |literal: &&Literal| !marks.contains(literal) || errors.contains(literal);
            code.literals.iter().filter(is_said).collect()
        }
    };
    let is_one = |literal: &&Literal, text: &str| match rule {
        // Two words may be a name where not everything is a message.
        Rule::All => is_message(text, if errors.contains(literal) { 2 } else { 3 }),
        Rule::Behind(_) => is_message(text, 2),
        Rule::Sentences => is_message(text, 2) && is_sentence(text),
    };
    let texts = found.into_iter().map(|literal| (literal, filled(&literal.text)));
    texts.filter(|(literal, text)| is_one(literal, text)).map(|(_, text)| text).collect()
}

/// `text` with `…` in its places, on one line.
fn filled(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.next_if_eq(&c).is_some() => out.push(c),
            '{' => {
                while chars.next_if(|c| *c != '}').is_some() {}
                let _closed = chars.next();
                out.push('…');
            }
            other => out.push(other),
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether it says something by itself, in so many words at least.
fn is_message(text: &str, least: usize) -> bool {
    let is_word =
        |word: &&str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(is_word).count();
    let begins = text.starts_with(|c: char| c.is_alphanumeric() || "`'….".contains(c));
    words >= least && begins && text.contains(' ') && !text.starts_with("airelays ")
}

fn is_sentence(text: &str) -> bool {
    text.ends_with('.') || text.starts_with(char::is_uppercase) && text.ends_with([':', '?', '…'])
}

/// What a message is sorted by: its words, and not how they are written.
fn order(text: &str) -> String {
    text.to_lowercase().trim_start_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

/// A text that the document about troubles explains, in small letters, and the anchor of the
/// heading that it stands under.
type Trouble = (String, String);

/// The headings of the document, without the status, and what stands as code before the colon of
/// an item.
fn explained(troubles: &str) -> Vec<Trouble> {
    let mut found = Vec::new();
    let mut anchor = String::new();
    for line in troubles.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let dashed: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            anchor = dashed.to_lowercase();
            let text = match heading.split_once(' ') {
                Some((status, rest)) if status.bytes().all(|byte| byte.is_ascii_digit()) => rest,
                Some(_) | None => heading,
            };
            found.push((text.to_lowercase(), anchor.clone()));
        } else if let Some((texts, _)) =
            line.strip_prefix("- `").and_then(|item| item.split_once("`: "))
        {
            let texts = texts.split("`, `").filter(|text| is_message(text, 2));
            found.extend(texts.map(|text| (text.to_lowercase(), anchor.clone())));
        }
    }
    found
}

/// A message, and the heading under which it is explained: the one with most of its words.
fn row(text: String, troubles: &[Trouble]) -> [String; 2] {
    let (small, plain) = (text.to_lowercase(), text.replace('…', "").to_lowercase());
    let is_long = is_message(&text, 3);
    let fitting = troubles
        .iter()
        .filter(|(told, _)| plain.contains(told.as_str()) || is_long && is_filled(told, &small));
    let help = fitting.max_by_key(|(told, _)| told.len());
    let help = help.map(|(_, anchor)| format!("[what to do](../troubleshooting.md#{anchor})"));
    [text, help.unwrap_or_default()]
}

/// Whether `told` begins with `message`, its places filled in.
fn is_filled(told: &str, message: &str) -> bool {
    let mut parts = message.trim_end_matches('.').split('…');
    let begin = parts.next().unwrap_or_default();
    let rest = told.strip_prefix(begin).filter(|_| !begin.is_empty());
    parts.fold(rest, |rest, part| Some(rest?.split_once(part)?.1)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_where_they_are_said() {
        let source = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let sources = [
            source(
                "src/cli/slot.rs",
                "#[error(\"the {what} is {{odd}}\")] fn a() { b(\"not this one\"); \
                 terminal.warn(&format!(\"{path}: cannot be so\")); c.note(\"x\"); }\n\
                 #[cfg(test)]\nmod tests { fn d() { Failure::Odd(\"nor this one\") } }",
            ),
            source(
                "src/config/value.rs",
                "#[expect(x, reason = \"not this one\")] f(\"must be so\", \"no\")",
            ),
            source("src/api/error.rs", "(\"Nothing is there.\", \"not this one\")"),
            source("src/cli/tests.rs", "#[error(\"nor this one here\")]"),
            source("src/id.rs", "#[error(\"it is no id\")]"),
            source("src/reference.rs", "#[error(\"nor this one\")]"),
            source("tests/it/main.rs", "#[error(\"nor this one\")]"),
        ];
        let troubles = "# T\n\n## 404 Nothing is there\n\n- `a`, `Must be so`: x\n\n## Nothing\n\n\
                        ## The slot is {odd}\n";
        let page = page(&sources, troubles);
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| ")).collect();
        let rows: Vec<_> = rows.into_iter().filter(|row| *row != "| message | help |").collect();
        assert_eq!(
            rows,
            [
                "| …: cannot be so |  |",
                "| the … is {odd} | [what to do](../troubleshooting.md#the-slot-is-odd) |",
                "| must be so | [what to do](../troubleshooting.md#404-nothing-is-there) |",
                "| Nothing is there. | [what to do](../troubleshooting.md#404-nothing-is-there) |",
                "| it is no id |  |",
            ]
        );
    }
}
