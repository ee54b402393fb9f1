//! `login --import`: taking over the login of the Codex CLI.

use std::path::{Path, PathBuf};

use super::{Outcome, logout, settle};
use crate::{
    auth::{
        import::{self, ImportError},
        sign_in::{Completed, SignIn},
    },
    cli::{
        Session,
        output::{Failure, Report, Section, Tone},
    },
    credential::Claims,
};

/// What is told before a login is copied.
pub const CAUTION: &str = "both programs will share one refresh token, and a refresh token works once: \
                       the first refresh by either ends the login of the other";
const ADVICE: &str = "This login is shared with the program it was copied from. Run `airelays login` \
                      for one that is the relay's own.";

pub async fn run(
    session: &Session<'_>,
    is_agreed: bool,
    from: Option<&Path>,
    with: &SignIn,
) -> Result<Outcome, Failure> {
    let from = from.map(PathBuf::from).or_else(|| logout::codex_login(session));
    let from = from.ok_or_else(|| ImportError::Missing("~/.codex/auth.json".to_owned()))?;
    let (record, account_id) = import::read(&from, with.issuer.base(), with.workspace.as_ref())?;
    let Claims { email, plan_type, .. } = record.tokens.claims();
    let section = Section::new("Import")
        .field("From", from.display())
        .maybe("Email", email.as_deref())
        .maybe("Plan", plan_type.as_deref())
        .field("Account ID", &account_id)
        .toned("Caution", CAUTION, Tone::Warn);
    session.terminal.answer(&Report::new("AIRelays Login").section(section), None::<&()>)?;
    if !is_agreed {
        session.confirm("\nCopy this login all the same? [y/N] ")?;
    }
    let saved = with.save(record).await?;
    let mut notes = vec![ADVICE.to_owned()];
    notes.extend(settle(session, with, &saved).await);
    let completed = Completed { account_id, email, plan_type, saved };
    Ok((completed, notes))
}
