//! The commands: what can be typed, and which part of the program answers.
//!
//! Each command is a file of its own that loads the settings, does its work, and hands a report
//! or a JSON document to `output`.
//!
//! Not here: printing and exit codes (`cli::output`).

mod client;
mod demo;
mod doctor;
mod former;
mod init;
mod input;
mod login;
mod logout;
mod output;
mod remote;
mod renew;
mod serve;
mod simulate;
mod slot;
mod status;
mod token;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

/// A flag and a command, for whoever describes them.
pub use clap::{Arg as Flag, Command as Definition};

pub use crate::config::Environment;
use crate::{
    app,
    auth::apart,
    config::{self, Config, Layer, table},
    private_file::{self, Exposure},
};
use output::{Failure, Terminal};

/// The command that signs in to ChatGPT.
const LOGIN: &str = "airelays login";

/// A local OpenAI-compatible server in front of your own ChatGPT login.
#[derive(Debug, Parser)]
#[command(name = "airelays", version, infer_long_args = true, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command, before or after its name.
#[derive(Debug, Default, Args)]
struct Shared {
    /// The file of settings
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Where logins, uploads and the relay token are kept
    #[arg(long, global = true, value_name = "PATH")]
    data_dir: Option<PathBuf>,
    /// Where the traffic log is written
    #[arg(long, global = true, value_name = "PATH")]
    logs_dir: Option<PathBuf>,
    /// Where the ChatGPT login is kept
    #[arg(long, global = true, value_name = "KIND", value_parser = ["auto", "file", "keyring"])]
    auth_storage: Option<String>,
    /// Where the relay token is kept
    #[arg(long, global = true, value_name = "PATH")]
    bearer_token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the file of settings and make a relay token
    Init(init::Options),
    /// Sign in to ChatGPT
    Login(login::Options),
    /// Sign out of ChatGPT and forget the login
    Logout {
        /// The slot, where there are several
        slot: Option<String>,
        /// Sign all slots out
        #[arg(long, conflicts_with = "slot")]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what is set up and what is missing
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check everything that the relay needs, here and beyond
    Doctor(doctor::Options),
    /// Show or replace the relay token
    #[command(subcommand)]
    Token(token::Command),
    /// Show and steer the accounts behind the relay
    #[command(subcommand)]
    Slot(slot::Command),
    /// Show what is left of each account
    Usage {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the upstream what is left of each account
    RefreshUsage {
        /// Of this one only
        #[arg(long)]
        slot: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show whether a relay runs, and how its slots are
    Health {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what each part of the relay stands on
    DependencyMap {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Start the relay
    Serve(serve::Options),
    /// Show the relay at work with no login and no network
    Demo {
        /// End after the show instead of going on to serve
        #[arg(long)]
        once: bool,
        /// Port to listen on, in place of any free one
        #[arg(long, value_name = "N")]
        port: Option<u16>,
    },
    /// Renew a login for a relay
    #[command(name = apart::COMMAND, hide = true)]
    RenewLogin,
    /// Start the imitation of the upstream alone
    Simulate {
        /// Port to listen on
        #[arg(long, value_name = "N", default_value_t = 8900)]
        port: u16,
        /// Something about the world that is imitated; may be repeated
        #[arg(long, value_name = "KEY=VALUE", value_parser = serve::world)]
        world: Vec<(String, String)>,
    },
}

/// All commands with their flags, for the reference.
pub fn definition() -> Definition {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the command line `args`, the name of the program included.
pub fn run(args: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    app::memory::close();
    let terminal = Terminal::new(environment);
    let arguments = match Arguments::try_parse_from(former::today(args)) {
        Ok(arguments) => arguments,
        Err(error) => return output::usage(&error),
    };
    output::diagnose(environment);
    let session = Session { shared: arguments.shared, environment, terminal };
    match dispatch(&session, &arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            session.terminal.complain(&failure);
            output::exit_code(&failure)
        }
    }
}

fn dispatch(session: &Session<'_>, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Init(options) => init::run(session, options),
        Command::Login(options) => login::run(session, options),
        Command::Logout { slot, all, json } => logout::run(session, slot.as_deref(), *all, *json),
        Command::Status { json } => status::run(session, *json),
        Command::Doctor(options) => doctor::run(session, options),
        Command::Token(command) => token::run(session, command),
        Command::Slot(command) => slot::run(session, command),
        Command::Usage { json } => slot::usage(session, *json),
        Command::RefreshUsage { slot, json } => slot::refresh(session, slot.as_deref(), *json),
        Command::Health { json } => slot::health(session, *json),
        Command::DependencyMap { json } => slot::dependency_map(session, *json),
        Command::Serve(options) => serve::run(session, options),
        Command::Demo { once, port } => demo::run(&session.terminal, *once, *port),
        Command::RenewLogin => renew::run(&session.terminal),
        Command::Simulate { port, world } => simulate::run(&session.terminal, *port, world),
    }
}

/// What every command has to hand.
pub(crate) struct Session<'a> {
    shared: Shared,
    environment: &'a Environment,
    terminal: Terminal,
}

impl Session<'_> {
    /// The settings with the shared flags alone, after telling what is odd about them.
    fn settings(&self) -> Result<Config, Failure> {
        self.settings_with(self.flags())
    }

    fn settings_with(&self, flags: Layer) -> Result<Config, Failure> {
        let config = Config::load(flags, self.environment)?;
        if config.file.is_named && !config.file.exists {
            let path = config.file.path.display();
            self.terminal.warn(&format!("{path}: there is no such file; defaults are used"));
        }
        self.warn_of(&config);
        Ok(config)
    }

    fn warn_of(&self, config: &Config) {
        for notice in &config.notices {
            self.terminal.warn(&notice.to_string());
        }
        for (path, exposure) in exposed(config) {
            let (who, mend) = exposure_in_words(&path, exposure);
            let path = config::shown(&path);
            self.terminal.warn(&format!("{path} {who}; `{mend}` ends that"));
        }
    }

    /// Asks the owner, where there is one to ask.
    fn confirm(&self, question: &str) -> Result<(), Failure> {
        if !input::is_terminal() {
            return Err(Failure::Unconfirmed);
        }
        self.terminal.write(question).map_err(Failure::Output)?;
        if input::is_agreed() { Ok(()) } else { Err(Failure::Declined) }
    }

    /// Refuses to rely on what every user of the machine could have put there.
    fn ensure_own(config: &Config) -> Result<(), Failure> {
        let open = exposed(config).into_iter().find(|(_, exposure)| *exposure == Exposure::All);
        open.map_or(Ok(()), |(path, _)| Err(Failure::Open(config::shown(&path))))
    }

    /// The shared flags as a layer, for commands that add their own.
    fn flags(&self) -> Layer {
        let Shared { config, data_dir, logs_dir, auth_storage, bearer_token_file } = &self.shared;
        Layer::default()
            .flag(&table::CONFIG.about, "--config", config.as_ref().map(config::word))
            .flag(&table::DATA_DIR.about, "--data-dir", data_dir.as_ref().map(config::word))
            .flag(&table::LOGS_DIR.about, "--logs-dir", logs_dir.as_ref().map(config::word))
            .flag(&table::STORAGE.about, "--auth-storage", auth_storage.as_ref().map(config::word))
            .flag(
                &table::BEARER_TOKEN_FILE.about,
                "--bearer-token-file",
                bearer_token_file.as_ref().map(config::word),
            )
    }

    /// `command` with the shared flags of this call, so that it acts on the same relay.
    fn command(&self, command: &str) -> String {
        let Shared { config, data_dir, logs_dir, auth_storage, bearer_token_file } = &self.shared;
        let path = |path: &Option<PathBuf>| path.as_deref().map(config::shown);
        let given = [
            ("--config", path(config)),
            ("--data-dir", path(data_dir)),
            ("--logs-dir", path(logs_dir)),
            ("--auth-storage", auth_storage.clone()),
            ("--bearer-token-file", path(bearer_token_file)),
        ];
        given.into_iter().fold(command.to_owned(), |line, (flag, value)| match value {
            Some(value) => format!("{line} {flag} {}", quoted(&value)),
            None => line,
        })
    }

    /// How to start the relay that `config` describes.
    fn serve_command(&self, config: &Config) -> String {
        let config::Server { host, port, unix_socket, .. } = &config.server;
        let mut line = match unix_socket {
            Some(path) => format!("airelays serve --unix-socket {}", quoted(&config::shown(path))),
            None => format!("airelays serve --host {host} --port {port}"),
        };
        if !config.security.require_bearer_auth {
            line.push_str(" --no-auth");
            if !config.server.is_local() {
                line.push_str(" --allow-open-network");
            }
        }
        self.command(&line)
    }
}

/// What other users of the machine could read or change to get at the login.
fn exposed(config: &Config) -> Vec<(PathBuf, Exposure)> {
    let Config { file, paths, security, server, .. } = config;
    let holding = |path: &Path| {
        let parent = path.parent()?;
        Some(if parent.as_os_str().is_empty() { ".".into() } else { parent.to_owned() })
    };
    // Of these the content is a secret.
    let mut secrets = vec![paths.auth_file(), security.bearer_token_file.clone()];
    // Slots that cannot be listed are told of by whoever needs them.
    let members = app::roster(config).read().unwrap_or_default().members;
    secrets.extend(members.iter().map(|member| member.auth_file.clone()));
    secrets.extend(server.tls.as_ref().map(|tls| tls.key.clone()));
    // Whoever can change these can put another file in their place.
    let mut places = vec![file.path.clone(), paths.data_dir.clone()];
    places.extend(["accounts", "slots.json"].map(|name| paths.data_dir.join(name)));
    places.extend(members.iter().filter_map(|member| holding(&member.auth_file)));
    places
        .extend([holding(&file.path), holding(&security.bearer_token_file)].into_iter().flatten());
    places.extend(server.tls.as_ref().and_then(|tls| holding(&tls.key)));
    for paths in [&mut secrets, &mut places] {
        let mut seen = std::collections::HashSet::new();
        paths.retain(|path| seen.insert(path.clone()));
    }
    let secrets = secrets.into_iter().map(|path| (path, true));
    let all = secrets.chain(places.into_iter().map(|path| (path, false)));
    let open = all.filter_map(|(path, is_secret)| {
        let exposure = private_file::exposure(&path)?;
        let is_meant = exposure == Exposure::Readers && (!is_secret || path.is_dir());
        (!is_meant).then_some((path, exposure))
    });
    open.collect()
}

/// What others can do to `path`, and the command that ends it.
fn exposure_in_words(path: &Path, exposure: Exposure) -> (&'static str, String) {
    let (who, mend) = match exposure {
        Exposure::All => ("can be changed by every user of this machine", "chmod go-w"),
        Exposure::Owner => ("belongs to another user of this machine", "sudo chown \"$USER\""),
        Exposure::Group => ("can be changed by its group", "chmod go-w"),
        Exposure::Readers => ("can be read by other users of this machine", "chmod go="),
    };
    (who, format!("{mend} {}", quoted(&config::shown(path))))
}

/// `word` as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_table_exists() {
        fn flags(command: &clap::Command, into: &mut Vec<String>) {
            into.extend(
                command
                    .get_arguments()
                    .filter_map(|arg| arg.get_long())
                    .map(|long| format!("--{long}")),
            );
            command.get_subcommands().for_each(|command| flags(command, into));
        }
        let mut known = Vec::new();
        flags(&Arguments::command(), &mut known);
        for flag in table::SETTINGS.iter().filter_map(|about| about.flag) {
            assert!(known.iter().any(|known| known == flag), "{flag}");
        }
    }

    #[test]
    fn words_survive_a_shell() {
        for (word, expected) in [
            ("/home/me/x", "/home/me/x"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("~/x", "'~/x'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
