//! Slots that come from other programs, and slots that go.

use std::path::PathBuf;

use serde::Serialize;

use super::{Import, One, decide, named};
use crate::{
    app,
    auth::{
        import::{self, Foreign, Haul},
        revoke::{self, SignedOut},
        sign_in::SignIn,
    },
    cli::{
        Session, input,
        login::{self, import::CAUTION, place},
        logout,
        output::{Failure, Report, Section, Tone},
    },
    clock::Clock,
    config::Config,
    relay::view::second,
    slot::SlotId,
    transport::chain,
};

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the document is what it is")]
struct Imported {
    kind: &'static str,
    imported: Vec<Row>,
    skipped: Vec<Skipped>,
}

#[derive(Serialize)]
struct Row {
    slot: String,
    label: Option<String>,
    account_id: String,
}

#[derive(Serialize)]
struct Skipped {
    which: String,
    why: String,
}

pub fn import(session: &Session<'_>, options: &Import) -> Result<(), Failure> {
    let config = session.settings()?;
    Session::ensure_own(&config)?;
    let from = source(session, options)?;
    let issuer = app::issuer(&config)?;
    let Haul { kind, logins, skipped } = import::survey(&from, issuer.base())?;
    if options.slot.is_some() && logins.len() > 1 {
        let text = "there are several logins; `--slot` is for one".to_owned();
        return Err(Failure::Odd(text));
    }
    let found = logins.iter().fold(Section::new("Import"), |section, login| {
        let saved = login.saved_at.map(|at| format!(", saved {}", second(at)));
        section.field("Login", format!("{}{}", title(login), saved.unwrap_or_default()))
    });
    let found = found.field("From", format!("{} ({})", from.display(), kind.as_str()));
    let found = skipped.iter().fold(found, |section, (which, why)| {
        section.toned("Left out", format!("{which} {why}"), Tone::Warn)
    });
    let found = found.toned("Caution", CAUTION, Tone::Warn);
    if !options.json {
        session.terminal.answer(&Report::new("AIRelays Slots").section(found), None::<&()>)?;
    }
    if logins.is_empty() {
        return Err(Failure::Declined);
    }
    if !options.yes {
        session.confirm("\nCopy these logins all the same? [y/N] ")?;
    }
    let before = there(&config)?;
    let mut imported = Vec::new();
    let mut ids = Vec::new();
    for login in logins {
        let (id, row) = save(session, &config, options, login)?;
        ids.push(id);
        imported.push(row);
    }
    keep_order(&config, before, &ids)?;
    let section = imported.iter().fold(Section::new("Imported"), |section, row| {
        section.toned(&row.slot, row.label.as_deref().unwrap_or(&row.account_id), Tone::Good)
    });
    let skipped = skipped.into_iter().map(|(which, why)| Skipped { which, why }).collect();
    let document = Imported { kind: kind.as_str(), imported, skipped };
    let report = Report::continued().section(section);
    session.terminal.answer(&report, options.json.then_some(&document))
}

fn title(login: &Foreign) -> String {
    let name = login.label.clone().or_else(|| login.record.owner());
    name.unwrap_or_else(|| login.account.to_string())
}

/// Where the logins are that are to be copied.
fn source(session: &Session<'_>, options: &Import) -> Result<PathBuf, Failure> {
    if let Some(path) = &options.path {
        return Ok(path.clone());
    }
    let home = session.environment.home();
    let openclaw = session.environment.get("OPENCLAW_HOME").map(PathBuf::from);
    let openclaw = openclaw.or_else(|| Some(home.as_ref()?.join(".openclaw")));
    let none = || Failure::Odd("there is no home directory; name the place".to_owned());
    if options.openclaw {
        return openclaw.ok_or_else(none);
    }
    match &options.openclaw_profile {
        None => logout::codex_login(session).ok_or_else(none),
        Some(profile) => {
            let folder = home.ok_or_else(none)?.join(format!(".openclaw-{profile}"));
            let agent = folder.join("agents").join(&options.openclaw_agent).join("agent");
            Ok(agent.join("auth-profiles.json"))
        }
    }
}

/// Puts one login into the slot that is its own.
fn save(
    session: &Session<'_>,
    config: &Config,
    options: &Import,
    login: Foreign,
) -> Result<(SlotId, Row), Failure> {
    let Foreign { id, label, is_enabled, record, account, .. } = login;
    let wanted = match &options.slot {
        Some(slot) => Some(place::wanted(slot)?),
        None => id,
    };
    let slot = place::of(config, &record, wanted.as_ref(), options.slot.is_some())?;
    let store = app::store_at(config, &app::roster(config).auth_file(&slot));
    login::unlock(&session.terminal, &store);
    let with = SignIn {
        issuer: app::issuer(config)?,
        store,
        elsewhere: None,
        workspace: None,
        lock_wait: app::LOCK_WAIT,
        clock: Clock::system(),
        stop: <_>::default(),
    };
    let owner = record.owner();
    app::run(with.save(record))??;
    let label = options.label.clone().or(label);
    if label.is_some() || !is_enabled {
        decide::write(&app::roster(config), |book| {
            let wishes = book.wishes.entry(slot.clone()).or_default();
            wishes.label = label.clone().or_else(|| wishes.label.clone());
            wishes.is_enabled &= is_enabled;
        })?;
    }
    let label = label.or(owner);
    let row = Row { slot: slot.to_string(), label, account_id: account.to_string() };
    Ok((slot, row))
}

/// Several that come together come in their order, behind those that were there.
fn keep_order(config: &Config, mut order: Vec<SlotId>, imported: &[SlotId]) -> Result<(), Failure> {
    for id in imported {
        if !order.contains(id) {
            order.push(id.clone());
        }
    }
    if imported.len() < 2 || order == there(config)? {
        return Ok(());
    }
    decide::write(&app::roster(config), |book| book.order.clone_from(&order))
}

/// The slots that have a login, in their order.
fn there(config: &Config) -> Result<Vec<SlotId>, Failure> {
    let members = app::roster(config).read()?.members.into_iter();
    Ok(members.filter(|member| member.has_login).map(|member| member.id).collect())
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the document is what it is")]
struct Removed {
    removed: Gone,
    revoked: bool,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Gone {
    id: String,
    label: Option<String>,
}

/// Signs a slot out, and forgets it.
pub fn remove(session: &Session<'_>, one: &One, is_agreed: bool) -> Result<(), Failure> {
    let config = session.settings()?;
    let (id, listing) = named(&config, &one.slot)?;
    if !is_agreed {
        if !input::is_terminal() {
            let text = "nothing was removed: add `--yes` if you want that".to_owned();
            return Err(Failure::Odd(text));
        }
        session.confirm(&format!("\nSign {id} out and forget it? [y/N] "))?;
    }
    let label = listing.member(&id).and_then(|member| member.wishes.label.clone());
    let SignedOutOf { revoked, notes, .. } = sign_out(session, &config, &id)?;
    app::roster(&config).forget(&id)?;
    let section = Section::new("Removed").toned(id.as_str(), "forgotten", Tone::Good);
    let section = section.yes("Revoked", revoked);
    let report = Report::new("AIRelays Slots").section(section).notes(&notes);
    let document = Removed { removed: Gone { id: id.to_string(), label }, revoked, notes };
    session.terminal.answer(&report, one.json.then_some(&document))
}

/// What became of the login of a slot.
pub struct SignedOutOf {
    pub deleted: bool,
    pub revoked: bool,
    /// What the owner should know.
    pub notes: Vec<String>,
}

/// Ends the login of a slot.
pub fn sign_out(
    session: &Session<'_>,
    config: &Config,
    id: &SlotId,
) -> Result<SignedOutOf, Failure> {
    let store = app::store_at(config, &app::roster(config).auth_file(id));
    let issuer = app::issuer(config)?;
    let others = logout::codex_tokens(session);
    let signing_out = revoke::sign_out(&store, &issuer, others.as_ref(), app::LOCK_WAIT);
    let SignedOut { deleted, revocation, key_left } = app::run(signing_out)??;
    let revoked = matches!(revocation, revoke::Revocation::Done);
    let unrevoked = (deleted && !revoked).then(|| logout::told(&revocation, "The login"));
    let unforgotten = key_left.map(|why| {
        format!("Its key stays in the keyring ({}); it opens nothing any more.", chain(&why))
    });
    Ok(SignedOutOf { deleted, revoked, notes: unrevoked.into_iter().chain(unforgotten).collect() })
}
