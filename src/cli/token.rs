//! `token show` and `token rotate`.

use clap::Subcommand;
use serde::Serialize;

use super::{
    Session,
    client::Client,
    output::{Failure, Report, Section, Tone},
};
use crate::{
    config::{Config, shown},
    describe::{Present, configured_token},
    relay_token,
    secret::Secret,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the relay token
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a new relay token in place of the present one
    Rotate {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(session: &Session<'_>, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Show { json } => show(session, *json),
        Command::Rotate { json } => rotate(session, *json),
    }
}

/// The three fields that tell of the token.
pub fn fields(present: &Present, section: Section, config: &Config) -> Section {
    if !config.security.require_bearer_auth {
        return section.field("Relay token", "not required");
    }
    let section = match (&present.token, &present.problem) {
        (Some(_), _) => section.toned("Relay token", "present", Tone::Good),
        (None, Some(problem)) => section.toned("Relay token", problem, Tone::Bad),
        (None, None) => section.toned("Relay token", "missing", Tone::Bad),
    };
    section
        .maybe("Token source", present.source())
        .field("Token file", shown(&config.security.bearer_token_file))
}

#[derive(Serialize)]
struct Shown<'a> {
    bearer_token_present: bool,
    bearer_token_file: String,
    bearer_token_source: Option<&'static str>,
    client_api_key: Option<&'a str>,
    relay_token: Option<&'a str>,
    client: Client,
    next_steps: Vec<String>,
}

fn show(session: &Session<'_>, json: bool) -> Result<(), Failure> {
    let config = session.settings()?;
    let present = Present::of(&config);
    let client = Client::new(session, &config, present.token.as_ref());
    let next_steps = match present.token {
        None if config.security.require_bearer_auth => {
            vec![session.command("airelays init"), session.command("airelays token rotate")]
        }
        Some(_) | None => Vec::new(),
    };
    let report = Report::new("AIRelays Token")
        .section(fields(&present, Section::new("Relay"), &config))
        .section(client.section())
        .steps(&next_steps);
    let token = present.token.as_ref().map(Secret::expose);
    let document = Shown {
        bearer_token_present: token.is_some(),
        bearer_token_file: shown(&config.security.bearer_token_file),
        bearer_token_source: present.source(),
        client_api_key: token,
        relay_token: token,
        client,
        next_steps,
    };
    session.terminal.answer(&report, json.then_some(&document))
}

#[derive(Serialize)]
struct Rotated<'a> {
    bearer_token_file: String,
    bearer_token_source: &'static str,
    client_api_key: &'a str,
    relay_token: &'a str,
    client: Client,
    /// Whether a running relay takes this token.
    in_use: bool,
    notes: Vec<String>,
}

fn rotate(session: &Session<'_>, json: bool) -> Result<(), Failure> {
    let config = session.settings()?;
    let path = &config.security.bearer_token_file;
    let token =
        relay_token::rotate(path).map_err(Failure::file("write the relay token to", path))?;
    let source = configured_token(&config).source();
    let variable = config.security.bearer_token.as_ref().map(|token| token.origin.to_string());
    let requires = config.security.require_bearer_auth;
    let notes: Vec<_> = match &variable {
        Some(variable) => vec![format!(
            "The token in use comes from {variable}. The new one was written to the token file \
             and is not used until {variable} is unset."
        )],
        None if !requires => {
            vec!["Bearer auth is disabled: the new token is not asked for.".to_owned()]
        }
        None => Vec::new(),
    };
    let unset = variable.as_ref().map(|name| format!("Unset {name} and start the relay anew"));
    let update = requires.then(|| "Update clients to use the new token".to_owned());
    let steps: Vec<_> = unset.into_iter().chain(update).collect();
    let client = Client::new(session, &config, Some(&token));
    let section = Section::new("Relay")
        .toned("Relay token", "rotated", Tone::Good)
        .field("Token source", source.as_str())
        .field("Token file", shown(path));
    let report = Report::new("AIRelays Token Rotation")
        .section(section)
        .section(client.section())
        .notes(&notes)
        .steps(&steps);
    let document = Rotated {
        bearer_token_file: shown(path),
        bearer_token_source: source.as_str(),
        client_api_key: token.expose(),
        relay_token: token.expose(),
        client,
        in_use: requires && variable.is_none(),
        notes,
    };
    session.terminal.answer(&report, json.then_some(&document))
}
