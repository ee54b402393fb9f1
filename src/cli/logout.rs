//! `logout`: ending the login at its issuer and forgetting it here.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    LOGIN, Session,
    output::{Failure, Report, Section, Tone},
};
use crate::{
    app,
    auth::{file, revoke::Revocation},
    credential::Tokens,
    slot::SlotId,
    transport::chain,
};

#[derive(Serialize)]
struct LoggedOut {
    deleted: bool,
    revoked: bool,
    notes: Vec<String>,
}

/// Signs out of the only slot, of the one that is named, or of all.
pub fn run(
    session: &Session<'_>,
    slot: Option<&str>,
    all: bool,
    json: bool,
) -> Result<(), Failure> {
    let config = session.settings()?;
    let listing = app::roster(&config).read()?;
    let is_single = listing.is_single();
    let ids: Vec<_> = listing.members.iter().map(|member| member.id.clone()).collect();
    let ids = match slot {
        Some(slot) => vec![super::slot::named(&config, slot)?.0],
        None if all || ids.len() == 1 => ids,
        None => {
            let known = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let text = format!("There are several slots; say which, or `--all`: {known}");
            return Err(Failure::Odd(text));
        }
    };
    let (mut deleted, mut revoked, mut notes) = (false, true, Vec::new());
    for id in ids {
        let gone = super::slot::sign_out(session, &config, &id)?;
        deleted |= gone.deleted;
        revoked &= gone.revoked;
        // Which one, where there are several.
        let whose = if is_single { String::new() } else { format!("{id}: ") };
        notes.extend(gone.notes.into_iter().map(|note| format!("{whose}{note}")));
        if id != SlotId::first() {
            app::roster(&config).forget(&id)?;
        }
    }
    let section = Section::new("Upstream Session").toned(
        "Upstream auth",
        if deleted { "deleted" } else { "already empty" },
        Tone::Good,
    );
    let section = if deleted { section.yes("Revoked", revoked) } else { section };
    let report = Report::new("AIRelays Logout")
        .section(section)
        .notes(&notes)
        .steps(&[session.command(LOGIN)]);
    let document = LoggedOut { deleted, revoked, notes };
    session.terminal.answer(&report, json.then_some(&document))
}

/// What became of a login that was forgotten here. `login` begins the sentence.
pub fn told(revocation: &Revocation, login: &str) -> String {
    match revocation {
        Revocation::Done => format!("{login} was revoked."),
        Revocation::Nothing => {
            format!("{login} was not revoked: it held no token that could be.")
        }
        Revocation::Shared => format!(
            "{login} was not revoked: the Codex CLI uses the same one, and `codex logout` ends it."
        ),
        Revocation::Unopened(why) => format!(
            "{login} was not revoked: it could not be opened, because {}. It may stay valid for a \
             while.",
            chain(why)
        ),
        Revocation::Foreign => format!(
            "{login} was not revoked: another sign-in server made it than the one that is set."
        ),
        Revocation::Failed(why) => {
            format!("{login} could not be revoked: {}. It may stay valid for a while.", chain(why))
        }
    }
}

/// Where the Codex CLI keeps its login.
pub fn codex_login(session: &Session<'_>) -> Option<PathBuf> {
    let home = session.environment.get("CODEX_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(session.environment.home()?.join(".codex")))?;
    Some(home.join("auth.json"))
}

/// The tokens of the Codex CLI, which may be ours as well if its file was copied.
pub fn codex_tokens(session: &Session<'_>) -> Option<Tokens> {
    let login = file::read_record(&codex_login(session)?).ok()??;
    Some(login.tokens)
}
