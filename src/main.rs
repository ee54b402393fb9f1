//! The program: parse, run, exit code.

use std::process::ExitCode;

use airelays::cli;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &cli::Environment::of_process())
}
