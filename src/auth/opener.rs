//! Opening an address in the owner's browser, by the program that the system has for it.
//!
//! **Invariant:** no shell sees the address.
//! **Invariant:** the browser is given no variable that may hold a secret of ours.

use std::{
    ffi::OsStr,
    io,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

const PROGRAM: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// Starts the browser with `variables` as its environment, and does not wait for it.
///
/// # Errors
///
/// When there is no such program.
pub fn open<'a>(
    address: &str,
    variables: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
) -> io::Result<()> {
    // In a group of its own: Ctrl-C here must not close the owner's browser.
    Command::new(PROGRAM)
        .arg(address)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
}
