//! What becomes of each parameter of each route, from the tables that decide it.
//!
//! These tables stand in `docs/api.md`, between two marks.

use std::fmt::Write;

use crate::wire::request::params::{
    CHAT_ROUTE, COMPACTION_ROUTE, COMPLETIONS_ROUTE, RESPONSES_ROUTE, Route, Rule,
};

/// Where the tables stand in the document.
pub const MARKS: [&str; 2] = [
    "<!-- Parameters: written by `cargo xtask docs --write`. -->",
    "<!-- End of the parameters. -->",
];

const ROUTES: &[(&str, Route)] = &[
    ("/v1/chat/completions", CHAT_ROUTE),
    ("/v1/responses", RESPONSES_ROUTE),
    ("/v1/responses/compact", COMPACTION_ROUTE),
    ("/v1/completions", COMPLETIONS_ROUTE),
];

/// The document `old` with the tables as the code has them, or `None` when it has no marks.
pub fn written(old: &str) -> Option<String> {
    let (before, rest) = old.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some([before, MARKS[0], "\n", &tables(), "\n", MARKS[1], after].concat())
}

fn tables() -> String {
    let mut out = String::new();
    for (path, (_, tables, kept)) in ROUTES {
        let rows = tables.iter().copied().flatten().map(row);
        let mut rows: Vec<_> = rows.map(|row| kept_too(row, kept)).collect();
        rows.sort_unstable();
        // Writing to a string cannot fail.
        let _written = writeln!(out, "\n### `POST {path}`\n\n| parameter | | |\n|---|---|---|");
        for [name, what, how] in rows {
            let _written = writeln!(out, "| `{name}` | {what} | {how} |");
        }
    }
    out
}

/// What is heeded where answers are kept says so.
fn kept_too([name, what, how]: [String; 3], kept: &[&str]) -> [String; 3] {
    if !kept.contains(&&*name) {
        return [name, what, how];
    }
    let stateful = "heeded with `serve --stateful`";
    let how = if how.is_empty() { stateful.to_owned() } else { format!("{how}; {stateful}") };
    [name, what, how]
}

fn row((name, rule): &(&'static str, Rule)) -> [String; 3] {
    let (what, how) = match rule {
        Rule::Sent("") => ("passed on", String::new()),
        Rule::Sent(how) => ("mapped", (*how).to_owned()),
        Rule::Heeded(how) => ("heeded", (*how).to_owned()),
        Rule::Limited(unless) => ("refused", format!("unless {unless}")),
        Rule::Stripped(_) => ("left out and told", String::new()),
        Rule::Refused(_, harmless) if harmless.words.is_empty() => ("refused", String::new()),
        Rule::Refused(_, harmless) => ("refused", format!("unless {}", harmless.words)),
        Rule::Impossible(..) => ("refused", String::new()),
    };
    [(*name).to_owned(), what.to_owned(), how]
}
