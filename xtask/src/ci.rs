//! Everything that must hold before a change is kept, cheapest first; the first failure stops.
//!
//! It needs cargo and nothing else; two tools are used when they are there. The proofs with other
//! programs (`tests/clients`) need more and are run by `.ci/run`.

use std::process::Command;

use crate::{Failure, cargo, docs, is_there, run, week};

fn step(name: &str, fix: &str, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    println!("\n== {name}");
    work().map_err(|failure| match fix {
        "" => format!("\n{name}: {failure}"),
        fix => format!("\n{name}: {failure}\n{fix}"),
    })
}

pub fn check() -> Result<(), Failure> {
    step(
        "format",
        "`cargo fmt --all` mends it",
        || run(cargo().args(["fmt", "--all", "--check"])),
    )?;
    step("documents", "", docs::check)?;
    step("simulated week", "", week::check)?;
    step("lints", "`cargo clippy --fix` mends some of it", || run(&mut clippy()))?;
    step("tests", "", || run(&mut tests()))?;
    step("examples in comments", "", || run(cargo().args(["test", "--locked", "--doc"])))?;
    step("documentation of the code", "", || run(&mut documentation()))?;
    step("package", "", || {
        // What it holds would be built below, so it is not built twice.
        run(cargo().args(["package", "--locked", "--no-verify", "--allow-dirty", "--quiet"]))
    })?;
    step("program", "", smoke)?;
    if is_there("cargo", &["deny", "--version"]) {
        step("dependencies", "", || {
            run(cargo().args(["deny", "check", "bans", "licenses", "sources"]))
        })?;
    }
    println!("\nAll of it holds.");
    Ok(())
}

fn clippy() -> Command {
    let mut command = cargo();
    command.args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    command
}

fn tests() -> Command {
    let mut command = cargo();
    if is_there("cargo", &["nextest", "--version"]) {
        command.args(["nextest", "run", "--locked", "--workspace", "--profile", "ci"]);
    } else {
        command.args(["test", "--locked", "--workspace", "--lib", "--bins", "--tests"]);
    }
    command
}

fn documentation() -> Command {
    let mut command = cargo();
    command
        .args(["doc", "--locked", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings");
    command
}

/// The program starts, shows itself at work, and ends.
fn smoke() -> Result<(), Failure> {
    run(cargo().args(["run", "--locked", "--quiet", "--", "--version"]))?;
    run(cargo().args(["run", "--locked", "--quiet", "--", "demo", "--once"]))
}
