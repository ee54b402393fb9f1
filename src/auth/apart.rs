//! A renewal in a process of its own: the end of the relay is not the end of the login.
//!
//! From the moment when the issuer takes a refresh token until its successor is on the disk, the
//! only copy of the login is in the memory of one process. The relay is a bad place for it: it is
//! restarted, upgraded, killed for its memory. So the exchange is done by another process of the
//! same program, which does nothing else, is reached by no signal that asks to end, and needs
//! nobody who listens to its report.
//!
//! Only what ends this process too (`kill -9` of it, a power cut) can lose a login, in the fraction
//! of a second that an exchange takes, once in the days that an access token lasts.
//!
//! Not here: the renewal itself (`refresh`), which is the same in either process.

use std::{
    error::Error, ffi::OsString, fmt, io, path::Path, process::Stdio, sync::Arc, time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};
use zeroize::Zeroizing;

use super::{
    Access, Lack, LoginError, Outage, file::Store, issuer::final_refusal, refresh::Settings,
    sealed::Key, vault::Vault,
};
use crate::{secret::Secret, transport::chain};

/// The command that does it, which no help text shows.
pub const COMMAND: &str = "renew-login";
/// Far above a job or a report.
pub const LIMIT: u64 = 4 << 20;
/// For starting, reading and writing beyond what a renewal may wait for.
const MARGIN: Duration = Duration::from_secs(15);

/// An environment.
pub type Variables = Vec<(OsString, OsString)>;

/// How a process of its own is told to renew a login.
#[derive(Clone)]
pub struct Apart {
    program: OsString,
    connect_timeout: Duration,
    variables: Variables,
}

/// What is written to its standard input.
#[derive(Deserialize, Serialize)]
pub struct Job {
    path: OsString,
    issuer: String,
    client_id: String,
    timeout: Duration,
    lock_wait: Duration,
    pub connect_timeout: Duration,
    /// The access token that is to be replaced.
    spent: Option<String>,
    /// What the login is sealed with: its name, and itself in base64.
    key: Option<(String, String)>,
}

/// What it writes to its standard output.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The login on the disk is a new one.
    Renewed,
    /// Another process had renewed it before.
    Found,
    Failed(Failed),
    /// The login is new, and the disk did not take it although there had been room: this is it.
    Unsaved {
        login: String,
        failed: Failed,
    },
}

/// A [`LoginError`] on its way between processes.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failed {
    Missing,
    Incomplete(Lack),
    AccountMismatch,
    OtherIssuer,
    Terminal { code: String },
    Transient { outage: Outage, source: Option<String> },
    Storage { access: Access, source: String },
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum NoReport {
    /// No token has been spent.
    #[error("the process for it could not be started")]
    NotStarted(#[source] io::Error),
    /// A token may have been spent; if so, its successor may still get to the disk.
    #[error("the process for it ended without a word")]
    Lost,
    #[error("the process for it takes too long")]
    Late,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Renewed => f.write_str("Renewed"),
            Self::Found => f.write_str("Found"),
            Self::Failed(failed) => f.debug_tuple("Failed").field(failed).finish(),
            // The login is a secret.
            Self::Unsaved { login: _, failed } => f.debug_tuple("Unsaved").field(failed).finish(),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Variables may be secrets.
        f.debug_struct("Apart").field("program", &self.program).finish_non_exhaustive()
    }
}

impl Apart {
    /// By way of this very program, even if its file was replaced since it was started.
    ///
    /// Of `variables` those of proxies and certificates matter; there need be no secrets in them.
    ///
    /// # Errors
    ///
    /// When the system does not say which program this is.
    pub fn new(connect_timeout: Duration, variables: Variables) -> io::Result<Self> {
        let running = Path::new("/proc/self/exe");
        let program = if running.exists() { running.into() } else { std::env::current_exe()? };
        Ok(Self { program: program.into(), connect_timeout, variables })
    }

    /// Has the login of `settings` renewed, unless it holds another access token than `spent`.
    ///
    /// The process goes on if nobody waits for this any more.
    ///
    /// # Errors
    ///
    /// When nothing is known of what came of it.
    pub async fn renew(
        &self,
        settings: &Settings,
        spent: Option<&Secret>,
    ) -> Result<Report, NoReport> {
        let key = settings.store.vault().key();
        let job = Job {
            path: settings.store.path().into(),
            issuer: settings.issuer.clone(),
            client_id: settings.client_id.clone(),
            timeout: settings.timeout,
            lock_wait: settings.lock_wait,
            connect_timeout: self.connect_timeout,
            spent: spent.map(|spent| spent.expose().to_owned()),
            key: key.map(|key| (key.name().to_owned(), BASE64_STANDARD.encode(key.expose()))),
        };
        let written = serde_json::to_vec(&job).map(Zeroizing::new);
        let job = written.map_err(|error| NoReport::NotStarted(error.into()))?;
        let mut process = self.command().spawn().map_err(NoReport::NotStarted)?;
        let (Some(mut input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(NoReport::Lost);
        };
        let exchange = async {
            input.write_all(&job).await?;
            drop(input);
            let mut report = Zeroizing::new(Vec::new());
            output.take(LIMIT).read_to_end(&mut report).await?;
            Ok::<_, io::Error>(report)
        };
        match timeout(settings.lock_wait + settings.timeout + MARGIN, exchange).await {
            Ok(Ok(report)) => serde_json::from_slice(&report).map_err(|_| NoReport::Lost),
            Ok(Err(_)) => Err(NoReport::Lost),
            Err(_) => Err(NoReport::Late),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg0("airelays").arg(COMMAND);
        command.env_clear().envs(self.variables.iter().cloned());
        // A group of its own: Ctrl-C at the relay's terminal is not meant for it.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }
}

impl Job {
    /// # Errors
    ///
    /// When `json` was not written by [`Apart::renew`], or not to its end.
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Which login, and the access token that is to be replaced.
    pub fn into_parts(self) -> (Settings, Option<Secret>) {
        let Self { path, issuer, client_id, timeout, lock_wait, spent, key, .. } = self;
        let key = key.and_then(|(name, secret)| {
            Key::of(&name, &Zeroizing::new(BASE64_STANDARD.decode(secret).ok()?))
        });
        let store = Store::new(Path::new(&path), Vault::holding(key));
        let settings = Settings { store, issuer, client_id, timeout, lock_wait, apart: None };
        (settings, spent.map(Secret::new))
    }
}

impl From<&LoginError> for Failed {
    fn from(error: &LoginError) -> Self {
        match error {
            LoginError::Missing => Self::Missing,
            LoginError::Incomplete(lack) => Self::Incomplete(*lack),
            LoginError::AccountMismatch => Self::AccountMismatch,
            LoginError::OtherIssuer => Self::OtherIssuer,
            LoginError::Terminal { code, .. } => Self::Terminal { code: (*code).to_owned() },
            LoginError::Transient { outage, source } => {
                let source = source.as_ref().map(|source| chain(&**source));
                Self::Transient { outage: *outage, source }
            }
            LoginError::Sealed { why } => {
                Self::Storage { access: Access::Read, source: chain(why) }
            }
            LoginError::Storage { access, source } => {
                Self::Storage { access: *access, source: chain(&**source) }
            }
        }
    }
}

impl From<Failed> for LoginError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Missing => Self::Missing,
            Failed::Incomplete(lack) => Self::Incomplete(lack),
            Failed::AccountMismatch => Self::AccountMismatch,
            Failed::OtherIssuer => Self::OtherIssuer,
            Failed::Terminal { code } => final_refusal(&code),
            Failed::Transient { outage, source } => {
                Self::Transient { outage, source: source.map(heard) }
            }
            Failed::Storage { access, source } => Self::Storage { access, source: heard(source) },
        }
    }
}

fn heard(told: String) -> Arc<dyn Error + Send + Sync> {
    Arc::new(io::Error::other(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_same_in_both_processes() {
        let source = || heard("the disk: no room".to_owned());
        for error in [
            LoginError::Missing,
            LoginError::Incomplete(Lack::RefreshToken),
            LoginError::AccountMismatch,
            LoginError::OtherIssuer,
            final_refusal("refresh_token_reused"),
            final_refusal("something new"),
            LoginError::Transient { outage: Outage::Status(503), source: None },
            LoginError::Transient { outage: Outage::Unreachable, source: Some(source()) },
            LoginError::Storage { access: Access::Written, source: source() },
        ] {
            let report = serde_json::to_vec(&Report::Failed(Failed::from(&error))).expect("JSON");
            let Ok(Report::Failed(failed)) = serde_json::from_slice(&report) else {
                panic!("{error:?}");
            };
            let heard = LoginError::from(failed);
            assert_eq!(format!("{heard:?}"), format!("{error:?}"));
        }
    }

    #[test]
    fn what_goes_between_the_processes_shows_no_secret() {
        let failed = Failed::Missing;
        let report = Report::Unsaved { login: "T0P".to_owned(), failed };
        let job = Job {
            path: OsString::new(),
            issuer: "https://issuer.example".to_owned(),
            client_id: String::new(),
            timeout: MARGIN,
            lock_wait: MARGIN,
            connect_timeout: MARGIN,
            spent: Some("T0P".to_owned()),
            key: Some(("key".to_owned(), "T0P".to_owned())),
        };
        let variables = vec![("KEY".into(), "T0P".into())];
        let apart = Apart::new(MARGIN, variables).expect("a program");
        let shown = format!("{report:?} {job:?} {apart:?}");
        assert!(!shown.contains("T0P") && shown.contains("issuer.example"), "{shown}");
    }
}
