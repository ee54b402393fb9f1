//! Chores of the project: `cargo xtask NAME`.
//!
//! Each is a few commands in the order in which their failures are cheapest. What can be an
//! ordinary test is one (`tests/it`); here is only what tests cannot do.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the program is for")]

mod ci;
mod docs;
mod release;
mod week;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const USAGE: &str = "\
cargo xtask ci               everything that must hold before a change is kept
cargo xtask docs --check     whether the documents are as the code has them
cargo xtask docs --write     writes docs/reference from the code
cargo xtask release          whether this version can be released
cargo xtask week             writes docs/slots-week from the simulation of the slots
cargo xtask week --check     whether they are as the simulation has them";

/// Why a chore is not done: a sentence, and what to do about it where that is known.
type Failure = String;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["ci"] => ci::check(),
        ["docs", "--check"] => docs::check(),
        ["docs", "--write"] => docs::write(),
        ["release"] => release::check(),
        ["week"] => week::write(),
        ["week", "--check"] => week::check(),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// The folder that the project is in.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

fn cargo() -> Command {
    command(env!("CARGO"))
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Runs `command` to its end.
fn run(command: &mut Command) -> Result<(), Failure> {
    let line = format!("{command:?}").replace('"', "");
    println!("$ {line}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` ended with {status}")),
        Err(error) => Err(format!("`{line}` could not be started: {error}")),
    }
}

/// Whether `program` is installed.
fn is_there(program: &str, arguments: &[&str]) -> bool {
    command(program).args(arguments).output().is_ok_and(|output| output.status.success())
}
