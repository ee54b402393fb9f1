//! `init`: the file of settings, the directories and the relay token.
//!
//! **Invariant:** it reports what is, never what was asked for: a file that was left as it was is
//! said to be so.

use clap::Args;
use serde::Serialize;

use super::{
    LOGIN, Session,
    client::Client,
    output::{Failure, Report, Section, Tone},
    token,
};
use crate::{
    config::{Config, Layer, Origin, Raw, shown, table},
    describe::{APP_NAME, Present, configured_token},
    private_file, relay_token,
    secret::Secret,
};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what they are")]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write the file of settings anew from the settings that count now
    #[arg(long)]
    force: bool,
    /// Set the relay up for clients without a token
    #[arg(long)]
    no_auth: bool,
    /// Show the relay token even if it is not new
    #[arg(long)]
    show_token: bool,
}

/// What became of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    Created,
    Rewritten,
    Existing,
}

#[derive(Serialize)]
struct Initialized<'a> {
    app_name: &'static str,
    config_path: String,
    config_created: bool,
    bearer_token_file: String,
    bearer_token_created: bool,
    bearer_token_source: Option<&'static str>,
    client_api_key: Option<&'a str>,
    relay_token: Option<&'a str>,
    client: Client,
    next_steps: Vec<String>,
    notes: Vec<String>,
}

pub fn run(session: &Session<'_>, options: &Options) -> Result<(), Failure> {
    let (config, file) = write_settings(session, options)?;
    session.warn_of(&config);
    let requires = config.security.require_bearer_auth;
    let made = make_token(&config, options)?;
    let present = Present::of(&config);
    let revealed = present.token.as_ref().filter(|_| requires && (made || options.show_token));
    let client = Client::new(session, &config, revealed);
    let next_steps = vec![session.command(LOGIN), session.serve_command(&config)];
    let notes = notes(session, &config, options, file);
    let report = Report::new("AIRelays Init")
        .section(relay(&config, file, made, &present))
        .section(client.section())
        .notes(&notes)
        .steps(&next_steps);
    let revealed = revealed.map(Secret::expose);
    let document = Initialized {
        app_name: APP_NAME,
        config_path: shown(&config.file.path),
        config_created: file != File::Existing,
        bearer_token_file: shown(&config.security.bearer_token_file),
        bearer_token_created: made,
        bearer_token_source: present.source().filter(|_| requires),
        client_api_key: revealed,
        relay_token: revealed,
        client,
        next_steps,
        notes,
    };
    session.terminal.answer(&report, options.json.then_some(&document))
}

/// Writes the file if there is none or it is to be replaced; makes the directories.
fn write_settings(session: &Session<'_>, options: &Options) -> Result<(Config, File), Failure> {
    let config = Config::load(session.flags(), session.environment)?;
    let file = match (config.file.exists, options.force) {
        (false, _) => File::Created,
        (true, true) => File::Rewritten,
        (true, false) => File::Existing,
    };
    let config = if options.no_auth && file != File::Existing {
        Config::load(without_auth(session.flags()), session.environment)?
    } else {
        config
    };
    if file != File::Existing {
        let path = &config.file.path;
        private_file::replace(path, config.to_toml()?.as_bytes())
            .map_err(Failure::file("write", path))?;
    }
    for dir in [&config.paths.data_dir, &config.paths.logs_dir] {
        private_file::create_dir(dir).map_err(Failure::file("make", dir))?;
    }
    Ok((config, file))
}

/// `flags` for a relay that asks for no token, and therefore makes none.
pub fn without_auth(flags: Layer) -> Layer {
    let off = Some(Raw::Switch(false));
    flags.flag(&table::REQUIRE_BEARER_AUTH.about, "--no-auth", off.clone()).flag(
        &table::AUTO_GENERATE_BEARER_TOKEN.about,
        "--no-auth",
        off,
    )
}

/// Makes a token if one is needed and there is none. Whether it did.
fn make_token(config: &Config, options: &Options) -> Result<bool, Failure> {
    if !config.security.require_bearer_auth || options.no_auth {
        return Ok(false);
    }
    let path = &config.security.bearer_token_file;
    let found = configured_token(config).current();
    if found.map_err(Failure::file("read the relay token in", path))?.is_some() {
        return Ok(false);
    }
    relay_token::rotate(path).map_err(Failure::file("write the relay token to", path))?;
    Ok(true)
}

fn relay(config: &Config, file: File, made: bool, present: &Present) -> Section {
    let state = match file {
        File::Created => "created",
        File::Rewritten => "rewritten",
        File::Existing => "existing",
    };
    let section = Section::new("Relay")
        .field("App", APP_NAME)
        .field("Config file", format!("{} ({state})", shown(&config.file.path)));
    let section = if !config.security.require_bearer_auth {
        section.toned("Bearer auth", "disabled", Tone::Warn)
    } else if present.token.is_none() {
        token::fields(present, section, config)
    } else {
        section
            .toned("Relay token", if made { "created" } else { "existing" }, Tone::Good)
            .maybe("Token source", present.source())
            .field("Token file", shown(&config.security.bearer_token_file))
    };
    section.field("Client base URL", config.server.base_url(config.server.port))
}

/// What was asked for and did not happen, because the file was left as it was.
fn notes(session: &Session<'_>, config: &Config, options: &Options, file: File) -> Vec<String> {
    let mut notes = Vec::new();
    if file != File::Existing {
        return notes;
    }
    if options.no_auth && config.security.require_bearer_auth {
        notes.push(format!(
            "The config file was left as it is and still requires the relay token. Run `{}` to \
             rewrite it, or `{} --no-auth` to open the relay for one run.",
            session.command("airelays init --no-auth --force"),
            session.serve_command(config),
        ));
    }
    let mut flags: Vec<_> = config
        .settings
        .iter()
        .filter_map(|setting| match setting.origin {
            Origin::Flag(flag) => Some(flag),
            Origin::Default | Origin::File { .. } | Origin::Variable(_) => None,
        })
        .collect();
    flags.dedup();
    if !flags.is_empty() {
        notes.push(format!(
            "The config file was left as it is: it does not hold what {} said. Add `--force` to \
             rewrite it.",
            flags.join(" and ")
        ));
    }
    notes
}
