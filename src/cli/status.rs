//! `status`: what is set up, what is missing, and where each setting comes from.

use serde::{Serialize, Serializer, ser::Error};
use serde_json::value::RawValue;

use super::{
    LOGIN, Session,
    client::Client,
    output::{Failure, Report, Section, Tone},
    token,
};
use crate::{
    app,
    auth::stored::StoredIn,
    config::{Config, Effective, Origin, Storage, shown},
    describe::{self, Auth, Present, Relay},
    roster::Member,
    transport::chain,
};

#[derive(Serialize)]
struct Status<'a> {
    relay: Relay,
    auth: Auth,
    client: Client,
    next_steps: Vec<String>,
    settings: Settings<'a>,
    notices: Vec<String>,
    slots: Vec<Account>,
    slots_problem: Option<String>,
}

/// One of several accounts. What is live about it says `airelays slot list`.
#[derive(Serialize)]
pub struct Account {
    id: String,
    label: Option<String>,
    enabled: bool,
    paused: bool,
    #[serde(flatten)]
    login: Login,
}

#[derive(Serialize)]
struct Login {
    email: Option<String>,
    plan_type: Option<String>,
    ready_for_requests: bool,
}

/// The accounts, where there are several; and why it is not known what was decided about them, if
/// so.
pub fn accounts(config: &Config) -> Result<(Vec<Account>, Option<String>), Failure> {
    let (listing, problem) = app::roster(config).logins()?;
    let problem = problem.map(|error| chain(&error));
    if listing.is_single() {
        return Ok((Vec::new(), problem));
    }
    let account = |member: Member| {
        let login = app::store_at(config, &member.auth_file).describe();
        let login = login.ok().flatten().unwrap_or_default();
        Account {
            id: member.id.to_string(),
            label: member.wishes.label,
            enabled: member.wishes.is_enabled,
            paused: member.wishes.is_paused,
            login: Login {
                ready_for_requests: login.ready_for_requests,
                email: login.email,
                plan_type: login.plan_type,
            },
        }
    };
    Ok((listing.members.into_iter().map(account).collect(), problem))
}

pub fn accounts_section(accounts: &[Account], problem: Option<&str>) -> Section {
    let section = Section::new("Slots");
    let section = match problem {
        Some(problem) => section.toned("Problem", problem, Tone::Bad),
        None => section,
    };
    accounts.iter().fold(section, |section, account| {
        let name = account.label.as_ref().or(account.login.email.as_ref());
        let name = name.map_or("", String::as_str);
        let plan = account.login.plan_type.as_deref().unwrap_or("unknown plan");
        let (word, tone) = match (account.login.ready_for_requests, account.enabled) {
            (false, _) => ("needs login", Tone::Bad),
            (true, false) => ("disabled", Tone::Warn),
            (true, true) if account.paused => ("paused", Tone::Warn),
            (true, true) => ("signed in", Tone::Good),
        };
        section.toned(&account.id, format!("{word}, {name} ({plan})"), tone)
    })
}

pub fn run(session: &Session<'_>, json: bool) -> Result<(), Failure> {
    let config = session.settings()?;
    let present = Present::of(&config);
    let auth = auth(&config);
    let client = Client::new(session, &config, None);
    let (slots, slots_problem) = accounts(&config)?;
    let is_ready =
        auth.login.ready_for_requests || slots.iter().any(|slot| slot.login.ready_for_requests);
    let next_steps = next_steps(session, &config, &present, is_ready);
    let report = Report::new("AIRelays Status")
        .section(relay_section(&config, &present))
        .section(auth_section(&auth))
        .section(accounts_section(&slots, slots_problem.as_deref()))
        .section(client.section())
        .section(settings_section(&config))
        .steps(&next_steps);
    let document = Status {
        relay: Relay::of(&config, &present),
        auth,
        client,
        next_steps,
        settings: Settings(&config.settings),
        notices: config.notices.iter().map(ToString::to_string).collect(),
        slots,
        slots_problem,
    };
    session.terminal.answer(&report, json.then_some(&document))
}

/// The stored login, and that of an earlier program in the keyring if there is no other.
fn auth(config: &Config) -> Auth {
    let first = app::store(config);
    let store = describe::stores(&first).into_iter().next().unwrap_or(first);
    let mut auth = Auth::of(config, &store, &config.upstream.issuer_base_url);
    if auth.login.stored_in.is_some() || auth.problem.is_some() {
        return auth;
    }
    match store.describe_former() {
        Ok(Some(login)) => {
            "the keyring, until `airelays serve` takes it over".clone_into(&mut auth.store);
            auth.login = login;
        }
        Err(error) if config.auth.storage == Storage::Keyring => {
            auth.problem = Some(format!("The keyring cannot be used: {}.", chain(&error)));
        }
        Ok(None) | Err(_) => {}
    }
    auth
}

fn next_steps(
    session: &Session<'_>,
    config: &Config,
    present: &Present,
    is_ready: bool,
) -> Vec<String> {
    let mut steps = Vec::new();
    if config.security.require_bearer_auth && present.token.is_none() {
        steps.push(session.command("airelays init"));
    }
    if !is_ready {
        steps.push(session.command(LOGIN));
    }
    if steps.is_empty() {
        steps.push(session.serve_command(config));
    }
    steps
}

fn auth_section(auth: &Auth) -> Section {
    let section = Section::new("Upstream Session")
        .yes("Ready", auth.login.ready_for_requests)
        .yes("Authenticated", auth.login.authenticated)
        .yes("Account bound", auth.login.account_bound)
        .maybe("Email", auth.login.email.as_deref())
        .maybe("Plan", auth.login.plan_type.as_deref())
        .maybe("Account ID", auth.login.account_id.as_deref())
        .maybe("Last refresh", auth.login.last_refresh.as_deref())
        .field("Storage mode", storage(auth))
        .field("Auth store", &auth.store);
    match &auth.problem {
        Some(problem) => section.toned("Problem", problem, Tone::Bad),
        None => section,
    }
}

/// The setting, and what it came to.
fn storage(auth: &Auth) -> String {
    let mode = auth.storage_mode;
    match auth.login.stored_in {
        Some(StoredIn::Keyring) => format!("{mode} (encrypted; the key is in the keyring)"),
        Some(StoredIn::File) if mode != "file" => format!("{mode} (not encrypted)"),
        Some(_) | None => mode.to_owned(),
    }
}

fn relay_section(config: &Config, present: &Present) -> Section {
    let security = &config.security;
    let (auth, tone) = if security.require_bearer_auth {
        ("enabled", Tone::Good)
    } else {
        ("disabled", Tone::Warn)
    };
    let section = Section::new("Relay")
        .field("Config file", shown(&config.file.path))
        .yes("Config exists", config.file.exists)
        .field("Base URL", config.server.base_url(config.server.port))
        .field("Network scope", config.effective_scope().as_str())
        .field("Data dir", shown(&config.paths.data_dir))
        .field("Logs dir", shown(&config.paths.logs_dir))
        .toned("Bearer auth", auth, tone);
    token::fields(present, section, config)
        .field(
            "Rate limit",
            format!("{}/min + burst {}", security.rate_limit_per_minute, security.rate_limit_burst),
        )
        .field("Concurrent/IP", security.concurrent_requests_per_ip)
}

/// What is not at its default, and who says so.
fn settings_section(config: &Config) -> Section {
    let chosen = config.settings.iter().filter(|setting| setting.origin != Origin::Default);
    chosen.fold(Section::new("Settings"), |section, Effective { about, literal, origin }| {
        let value = literal.as_deref().unwrap_or("not UTF-8");
        section.field(about.key, format!("{value} ({origin})"))
    })
}

/// Every setting by its key, with its value and its source.
struct Settings<'a>(&'a [Effective]);

impl Serialize for Settings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Setting {
            value: Option<Box<RawValue>>,
            source: String,
        }
        let entries: Result<Vec<_>, _> = self
            .0
            .iter()
            .map(|Effective { about, literal, origin }| {
                let value = literal.clone().map(RawValue::from_string).transpose();
                let value = value.map_err(S::Error::custom)?;
                Ok((about.key, Setting { value, source: origin.to_string() }))
            })
            .collect();
        serializer.collect_map(entries?)
    }
}
