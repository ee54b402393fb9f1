//! Which way of signing in suits the machine.

use super::Options;
use crate::config::Environment;

/// How the owner proves who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Browser,
    Device,
}

const REMOTE: &str =
    "this is a remote session; `airelays login --browser` takes an address instead";
const NO_DISPLAY: &str = "there is no display; `airelays login --browser` takes an address instead";

/// The way, and why if it was not asked for and may surprise.
pub fn choose(options: &Options, environment: &Environment) -> (Way, Option<&'static str>) {
    let is_set = |names: &[&str]| names.iter().any(|name| environment.get(name).is_some());
    if options.device {
        (Way::Device, None)
    } else if options.browser {
        (Way::Browser, None)
    } else if is_set(&["SSH_CONNECTION", "SSH_TTY"]) {
        (Way::Device, Some(REMOTE))
    } else if cfg!(target_os = "linux") && !is_set(&["DISPLAY", "WAYLAND_DISPLAY"]) {
        (Way::Device, Some(NO_DISPLAY))
    } else {
        (Way::Browser, None)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn chosen(line: &str, variables: &[&str]) -> (Way, Option<&'static str>) {
        let command = Options::augment_args(clap::Command::new("login").no_binary_name(true));
        let matches = command.get_matches_from(line.split_whitespace());
        let options = Options::from_arg_matches(&matches).expect("flags");
        let environment = variables.iter().map(|name| (*name, "x")).collect();
        choose(&options, &environment)
    }

    #[test]
    fn the_machine_decides_unless_the_owner_does() {
        let none = if cfg!(target_os = "linux") {
            (Way::Device, Some(NO_DISPLAY))
        } else {
            (Way::Browser, None)
        };
        for (line, variables, expected) in [
            ("", [].as_slice(), none),
            ("", &["DISPLAY"], (Way::Browser, None)),
            ("", &["WAYLAND_DISPLAY"], (Way::Browser, None)),
            ("", &["DISPLAY", "SSH_CONNECTION"], (Way::Device, Some(REMOTE))),
            ("", &["SSH_TTY"], (Way::Device, Some(REMOTE))),
            ("--no-browser", &["SSH_TTY"], (Way::Device, Some(REMOTE))),
            ("--no-browser", &["DISPLAY"], (Way::Browser, None)),
            ("--browser", &["SSH_TTY"], (Way::Browser, None)),
            ("--browser", &[], (Way::Browser, None)),
            ("--device", &["DISPLAY"], (Way::Device, None)),
        ] {
            assert_eq!(chosen(line, variables), expected, "{line:?} {variables:?}");
        }
    }
}
