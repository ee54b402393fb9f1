//! `logout`: ending the login at its issuer and forgetting it here.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    LOGIN, Session,
    output::{Failure, Report, Section, Tone},
};
use crate::{
    app,
    auth::{
        file,
        revoke::{self, Revocation, SignedOut},
    },
    credential::Tokens,
    transport::chain,
};

#[derive(Serialize)]
struct LoggedOut {
    deleted: bool,
    revoked: bool,
    notes: Vec<String>,
}

pub fn run(session: &Session<'_>, json: bool) -> Result<(), Failure> {
    let config = session.settings()?;
    let store = app::store(&config);
    let issuer = app::issuer(&config)?;
    let others = codex_tokens(session);
    let signing_out = revoke::sign_out(&store, &issuer, others.as_ref(), app::LOCK_WAIT);
    let SignedOut { deleted, revocation, key_left } = app::run(signing_out)??;
    let revoked = matches!(revocation, Revocation::Done);
    let unrevoked = (deleted && !revoked).then(|| told(&revocation, "The login"));
    let unforgotten = key_left.map(|why| {
        format!("Its key stays in the keyring ({}); it opens nothing any more.", chain(&why))
    });
    let notes: Vec<_> = unrevoked.into_iter().chain(unforgotten).collect();
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
