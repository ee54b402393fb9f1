//! Commands and flags, from the parser of the command line.

use super::{Page, code};
use crate::cli;

pub fn page() -> String {
    let mut root = cli::definition();
    root.build();
    let mut page = Page::new(
        "Commands",
        "Flags of every command may stand before or after its name.\n\
         Any unambiguous beginning of a long flag will do.\n\
         [Getting started](../getting-started.md) says what the commands are for.",
    );
    page.heading("Flags of every command");
    flags(&mut page, &root, true);
    for command in root.get_subcommands() {
        describe(&mut page, command);
    }
    page.heading("Exit codes");
    let codes = [
        ["0", "the work was done"],
        ["1", "it was not, and standard error says why"],
        ["2", "the command line was not understood"],
        ["3", "the address to listen on is in use"],
        ["75", "another relay serves the data directory"],
        ["130", "Ctrl-C ended a login"],
    ];
    page.table(["code", "meaning"], codes.map(|row| row.map(str::to_owned)));
    page.finish()
}

fn describe(page: &mut Page, command: &cli::Definition) {
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    if command.has_subcommands() {
        command.get_subcommands().for_each(|command| describe(page, command));
        return;
    }
    let path = command.get_bin_name().unwrap_or_else(|| command.get_name());
    page.heading(&code(path));
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.paragraph(&format!("{about}."));
    flags(page, command, false);
}

/// The flags that only `command` has, or those that all have.
fn flags(page: &mut Page, command: &cli::Definition, global: bool) {
    let own = |flag: &&cli::Flag| {
        flag.is_global_set() == global && !matches!(flag.get_id().as_str(), "help" | "version")
    };
    let flags: Vec<_> = command.get_arguments().filter(own).map(row).collect();
    if !flags.is_empty() {
        page.table(["flag", "default", "what it does"], flags);
    }
}

fn row(flag: &cli::Flag) -> [String; 3] {
    let takes_value = flag.get_action().takes_values();
    let name = flag.get_long().unwrap_or_default();
    let value = flag.get_value_names().filter(|_| takes_value).and_then(|names| names.first());
    let spelled = match value {
        Some(value) => format!("--{name} {value}"),
        None => format!("--{name}"),
    };
    let defaults = flag.get_default_values().iter().filter_map(|value| value.to_str());
    let default = if takes_value { defaults.collect::<Vec<_>>().join(", ") } else { String::new() };
    let choices: Vec<_> =
        flag.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
    let help = match choices.as_slice() {
        choices if choices.is_empty() || !takes_value => help,
        choices => format!("{help}: {}", choices.join(", ")),
    };
    [code(&spelled), code(&default), help]
}
