//! What can be looked at without asking anybody: settings, files, the disk, the relay token.

use std::path::Path;

use super::Check;
use crate::{
    cli::{Session, exposed, exposure_in_words},
    clock::Clock,
    config::{Config, Origin, shown},
    describe::Present,
    private_file::{self, Exposure},
    roster::RosterError,
    store::{self, Figures, What},
    transport::chain,
};

/// Below this a login cannot be counted on to be saved.
const LEAST_BYTES: u64 = 16 << 20;
/// Below this the traffic log will soon be in the way.
const FEW_BYTES: u64 = 512 << 20;

/// All of it, and the settings if they can be used.
pub fn checks(session: &Session<'_>) -> (Vec<Check>, Option<Config>) {
    let config = match Config::load(session.flags(), session.environment) {
        Ok(config) => config,
        Err(problems) => {
            let fail = problems.problems.iter().map(|it| Check::fail("settings", it.to_string()));
            let warn = problems.notices.iter().map(|it| Check::warn("settings", it.to_string()));
            let rest = "nothing else was looked at: all of it depends on the settings";
            let rest = Check::skip("everything_else", rest);
            return (fail.chain(warn).chain([rest]).collect(), None);
        }
    };
    let mut checks = vec![settings(&config)];
    checks.extend(config.notices.iter().map(|it| Check::warn("settings", it.to_string())));
    checks.extend(files(session, &config));
    checks.extend(disk(&config));
    checks.push(storage(&config));
    checks.push(relay_token(session, &config));
    checks.extend(slots(&config));
    (checks, Some(config))
}

/// Where the settings come from.
fn settings(config: &Config) -> Check {
    let path = shown(&config.file.path);
    let own: Vec<_> =
        config.settings.iter().filter(|setting| setting.origin != Origin::Default).collect();
    let count = match own.len() {
        0 => "every setting has its default".to_owned(),
        1 => "one setting has a value of yours".to_owned(),
        n => format!("{n} settings have values of yours"),
    };
    let check = match (config.file.exists, config.file.is_named) {
        (true, _) => Check::pass("settings", format!("{path} was read; {count}")),
        (false, false) => Check::pass("settings", format!("there is no file of them; {count}")),
        (false, true) => Check::warn("settings", format!("there is no file {path}; {count}"))
            .step("see whether its name is right"),
    };
    check.details(own.into_iter().map(|setting| match &setting.origin {
        Origin::File { line, .. } => format!("{} in line {line}", setting.about.key),
        Origin::Default | Origin::Variable(_) | Origin::Flag(_) => {
            format!("{} from {}", setting.about.key, setting.origin)
        }
    }))
}

/// Who else could read or change what is the owner's alone.
fn files(session: &Session<'_>, config: &Config) -> Vec<Check> {
    let mut open = exposed(config);
    let logs = &config.paths.logs_dir;
    let of_logs = private_file::exposure(logs).filter(|it| *it != Exposure::Readers);
    open.extend(of_logs.map(|exposure| (logs.clone(), exposure)));
    let mut checks: Vec<_> = open
        .iter()
        .map(|(path, exposure)| {
            let (who, mend) = exposure_in_words(path, *exposure);
            let text = format!("{} {who}", shown(path));
            // `serve` does not start then.
            let is_refused = *exposure == Exposure::All;
            let check =
                if is_refused { Check::fail("files", text) } else { Check::warn("files", text) };
            check.step(mend)
        })
        .collect();
    let dirs = [&config.paths.data_dir, logs];
    checks.extend(dirs.into_iter().filter(|dir| dir.exists()).filter_map(|dir| unwritable(dir)));
    if !config.paths.data_dir.exists() {
        let text = format!("there is no data directory {} yet", shown(&config.paths.data_dir));
        checks.push(Check::warn("files", text).step(session.command("airelays init")));
    } else if checks.is_empty() {
        let text = "data directory, logs, relay token and logins are yours alone";
        checks.push(Check::pass("files", text));
    }
    checks
}

fn unwritable(dir: &Path) -> Option<Check> {
    let error = private_file::writable(dir).err()?;
    let text = format!("{} cannot be written to: {error}", shown(dir));
    Some(Check::fail("files", text).step("see to whom it belongs, and its mode"))
}

/// What is kept for clients, if anything is.
fn storage(config: &Config) -> Check {
    const NAME: &str = "storage";
    match store::look(&config.paths.data_dir, Clock::system().unix()) {
        Ok(None) => Check::pass(NAME, "nothing is kept for clients"),
        Ok(Some(kept)) => {
            let Figures { files, conversations, answers, .. } = kept;
            let text = format!(
                "the database is sound: {files} files, {conversations} conversations, \
                 {answers} answers"
            );
            Check::pass(NAME, text)
        }
        Err(error) => Check::fail(NAME, error.to_string()).step(match error.what {
            What::Damaged => "move relay.sqlite3 away, or put a copy of it back",
            What::Newer => "use the newer release that has written it",
            What::Full | What::Busy | What::ContentMissing | What::Refused | What::Ending => {
                "see who else uses or owns relay.sqlite3; models can be used meanwhile"
            }
        }),
    }
}

/// Room for a renewed login, and for the traffic log.
fn disk(config: &Config) -> Option<Check> {
    let dir = &config.paths.data_dir;
    let free = private_file::free_bytes(dir).ok()?;
    Some(room(free))
}

fn room(free: u64) -> Check {
    let text = match free {
        free if free >= 10 << 30 => format!("{} GiB are free", free >> 30),
        free => format!("{} MiB are free", free >> 20),
    };
    match free {
        free if free < LEAST_BYTES => {
            Check::fail("disk", format!("{text}: a renewed login may find no room"))
                .step("make room on the disk of the data directory")
        }
        free if free < FEW_BYTES => Check::warn("disk", text)
            .step("make room on the disk of the data directory, or remove old traffic logs"),
        _ => Check::pass("disk", text),
    }
}

fn relay_token(session: &Session<'_>, config: &Config) -> Check {
    const NAME: &str = "relay_token";
    let security = &config.security;
    if !security.require_bearer_auth {
        let text = "none is asked for: whoever reaches the relay uses your login";
        return if config.server.is_local() {
            Check::pass(NAME, text)
        } else {
            Check::warn(NAME, text).step("ask for one: security.require_bearer_auth = true")
        };
    }
    let present = Present::of(config);
    match (&present.token, &present.problem) {
        (Some(_), _) => match &security.bearer_token {
            Some(token) => Check::pass(NAME, format!("present, from {}", token.origin)),
            None => {
                Check::pass(NAME, format!("present, in {}", shown(&security.bearer_token_file)))
            }
        },
        (None, Some(problem)) => {
            let path = shown(&security.bearer_token_file);
            Check::fail(NAME, format!("{path}: {problem}"))
                .step(session.command("airelays token rotate"))
        }
        (None, None) if security.auto_generate_bearer_token => {
            Check::pass(NAME, "there is none; `airelays serve` will make one")
        }
        (None, None) => Check::fail(NAME, "there is none").step(session.command("airelays init")),
    }
}

/// Whether the list of the slots can be read; the slots themselves come with their logins.
fn slots(config: &Config) -> Option<Check> {
    let error = crate::app::roster(config).read().err()?;
    let check = Check::fail("slots", chain(&error));
    Some(match error {
        RosterError::Malformed { .. } => check.step("mend the file, or move it away"),
        RosterError::Newer { .. } => check.step("go on with the newer release"),
        RosterError::Read { .. }
        | RosterError::Write { .. }
        | RosterError::Busy
        | RosterError::Unknown { .. }
        | RosterError::Full => check,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Status;

    #[test]
    fn the_less_room_the_worse() {
        for (free, status, text) in [
            (0, Status::Fail, "0 MiB are free: a renewed login may find no room"),
            (LEAST_BYTES, Status::Warn, "16 MiB are free"),
            (FEW_BYTES, Status::Pass, "512 MiB are free"),
            (40 << 30, Status::Pass, "40 GiB are free"),
        ] {
            let check = room(free);
            assert_eq!((check.status, &*check.message), (status, text));
        }
    }
}
