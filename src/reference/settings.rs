//! Settings and variables, from the table that reads them.

use super::{Page, code, sentences};
use crate::config::table::{About, PREFIX, SETTINGS};

/// Variables that are no settings of ours.
const OTHERS: &[[&str; 2]] = &[
    ["`HOME`", "what `~` stands for, and where settings and data are by default"],
    [
        "`RUST_LOG`",
        "what the program says about itself on standard error: `error`, `warn`, `info`, `debug` or `trace`",
    ],
    ["`NO_COLOR`, `CLICOLOR=0`, `TERM=dumb`", "no colors on the terminal"],
    [
        "`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`",
        "a proxy on the way to the upstream, likewise in lower case",
    ],
];

pub fn page() -> String {
    let mut page = Page::new(
        "Settings",
        "All settings of the file, in its order.\n\
         [Configuration](../configuration.md) says how files, variables and flags go together.",
    );
    let mut section = "";
    for about in SETTINGS.iter().filter(|about| about.in_file) {
        if about.parts().0 != section {
            section = about.parts().0;
            page.heading(&code(&format!("[{section}]")));
            let own = SETTINGS.iter().filter(|a| a.in_file && a.parts().0 == section);
            page.table(["setting", "default", "flag", "variable"], own.clone().map(|a| row(a)));
            for about in own {
                page.paragraph(&format!("`{}`:\n{}", about.parts().1, sentences(about.doc)));
            }
        }
    }
    page.finish()
}

fn row(about: &About) -> [String; 4] {
    let variable = format!("{PREFIX}{}", about.variable);
    [code(about.key), code(about.default), code(about.flag.unwrap_or_default()), code(&variable)]
}

pub fn environment_page() -> String {
    let mut page = Page::new(
        "Variables",
        "A variable counts before the file and after a flag.\n\
         The first of its names that is set counts; an empty one is not set.",
    );
    page.heading("Settings");
    let older = |about: &About| {
        let names = about.prefixes.iter().skip(1);
        let names: Vec<_> = names.map(|prefix| format!("`{prefix}{}`", about.variable)).collect();
        names.join(", ")
    };
    let row = |about: &&About| {
        let setting = if about.in_file { code(about.key) } else { about.doc.to_owned() };
        [code(&format!("{PREFIX}{}", about.variable)), older(about), setting]
    };
    page.table(["variable", "older names", "setting"], SETTINGS.iter().map(row));
    page.heading("Others");
    page.table(["variable", "effect"], OTHERS.iter().map(|row| row.map(str::to_owned)));
    page.finish()
}
