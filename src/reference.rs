//! The pages of `docs/reference`, written from what the program is made of.
//!
//! Each page is a function of the tables and types that the program itself runs on, so that a
//! page cannot say what the program does not do. `cargo xtask docs --write` writes them; a test
//! compares them.
//!
//! Not here: explanations, which are the other documents.

mod commands;
mod contract;
mod errors;
pub mod messages;
pub mod parameters;
mod routes;
mod settings;
mod simulator;

use std::fmt::Write;

/// Every page: its name below `docs/reference`, without `.md`, and its text.
pub fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("cli", commands::page()),
        ("config", settings::page()),
        ("contract", contract::page()),
        ("environment", settings::environment_page()),
        ("errors", errors::page()),
        ("routes", routes::page()),
        ("simulator", simulator::page()),
    ]
}

/// A page under construction.
struct Page(String);

impl Page {
    fn new(title: &str, about: &str) -> Self {
        Self(format!(
            "<!-- Written by `cargo xtask docs --write`; do not edit. -->\n\n# {title}\n\n{about}\n"
        ))
    }

    fn heading(&mut self, text: &str) {
        self.line(format_args!("\n## {text}"));
    }

    fn paragraph(&mut self, text: &str) {
        self.line(format_args!("\n{text}"));
    }

    fn table<const N: usize>(
        &mut self,
        head: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) {
        self.line(format_args!("\n| {} |\n|{}", head.join(" | "), "---|".repeat(N)));
        for row in rows {
            let cells = row.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
            self.line(format_args!("| {} |", cells.join(" | ")));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _written = writeln!(self.0, "{line}");
    }

    fn finish(self) -> String {
        self.0
    }
}

/// `text` as code, or nothing.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Several sentences, each on a line of its own.
fn sentences(text: &str) -> String {
    text.replace(". ", ".\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_page_has_its_own_name_and_says_something() {
        let pages = pages();
        let names: BTreeSet<_> = pages.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), pages.len());
        for (name, text) in pages {
            assert!(text.lines().count() > 10 && text.ends_with('\n'), "{name}: {text}");
        }
    }

    #[test]
    fn cells_stay_cells() {
        let mut page = Page::new("T", "A.");
        page.table(["a", "b"], [["x|y".to_owned(), "1\n2".to_owned()]]);
        assert!(page.finish().ends_with("\n| a | b |\n|---|---|\n| x\\|y | 1 2 |\n"));
    }
}
