//! The file that `init` writes: every setting with its words, and what differs from its default.
//!
//! A line of words starts with `# `, a setting that is left at its default with `#` alone, so
//! that taking that one character away is all it needs to change it.
//!
//! **Invariant:** what is written reads back as the settings it was written from.

use std::fmt::Write;

use super::{
    layer::{Effective, Origin},
    table::About,
};

/// Characters of words on a line.
const WIDTH: usize = 88;

const HEAD: &str = "\
# Settings of airelays.
#
# A flag of the command line counts before a variable, a variable before this file, and this
# file before the defaults. Lines that start with # and a name show what counts without them:
# take the # away to set something else. `airelays status` tells where each value comes from.
";

/// A setting that no file can hold, because its path is not UTF-8.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written to a file: it is not UTF-8", .0.key)]
pub struct Unwritable(pub &'static About);

/// The text of the file for `settings`, which are in the order of the table.
///
/// # Errors
///
/// When one of them cannot be written.
pub fn render(settings: &[Effective]) -> Result<String, Unwritable> {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for Effective { about, literal, origin } in settings.iter().filter(|s| s.about.in_file) {
        let (its_section, name) = about.parts();
        if its_section != section {
            section = its_section;
            line(&mut text, format_args!("\n[{section}]"));
        }
        for words in wrap(about.doc) {
            line(&mut text, format_args!("# {words}"));
        }
        let literal = literal.as_deref().ok_or(Unwritable(about))?;
        let mark = if *origin == Origin::Default { "#" } else { "" };
        line(&mut text, format_args!("{mark}{name} = {literal}"));
    }
    Ok(text)
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _written = writeln!(text, "{content}");
}

fn wrap(words: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}
