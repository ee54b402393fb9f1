//! `login`: signing in to ChatGPT, in the way that suits the machine.
//!
//! What is waited for is printed as it happens, and what came of it at the end. Codes and tokens
//! are never printed, except the device code, which is there to be typed.
//!
//! **Invariant:** success is told when the login is on the disk.
//!
//! Not here: the ways of signing in themselves (`auth`).

pub mod import;
pub mod place;
mod way;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{
    Session,
    client::Client,
    input, logout,
    output::{Failure, Report, Section, Terminal, Tone},
    slot,
};
use crate::{
    app,
    auth::{
        browser, device,
        file::{How, Store},
        opener,
        revoke::{self, Revocation},
        sign_in::{Completed, Elsewhere, Progress, Replaced, Saved, SignIn, SignInError, Span},
        stored::Record,
    },
    clock::Clock,
    config::{Config, shown},
    credential::AccountId,
    describe::Present,
    keyring::NoKeyring,
    roster::Member,
    slot::SlotId,
};
use way::Way;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what they are")]
pub struct Options {
    /// Sign in with a code that is typed on any device
    #[arg(long, conflicts_with = "browser")]
    device: bool,
    /// Sign in with a browser, on this machine or another
    #[arg(long)]
    browser: bool,
    /// Open no browser, whatever the settings say
    #[arg(long)]
    no_browser: bool,
    /// Refuse any other account or workspace than this
    #[arg(long, value_name = "ID")]
    workspace_id: Option<String>,
    /// Port for the browser to come back to, in place of 1455 and 1457, for other issuers
    #[arg(long, value_name = "N", conflicts_with = "device")]
    callback_port: Option<u16>,
    /// Copy the login of the Codex CLI, or the one in this file
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        conflicts_with_all = ["device", "browser", "no_browser", "callback_port"]
    )]
    #[expect(clippy::option_option, reason = "clap's way of saying that the value may be missing")]
    import: Option<Option<PathBuf>>,
    /// Agree to what `--import` would ask
    #[arg(long, requires = "import")]
    yes: bool,
    /// Sign in to this slot, in place of the account's own or a new one
    #[arg(long = "slot", id = "to_slot", value_name = "ID")]
    slot: Option<String>,
    /// What to call the slot
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

impl Options {
    /// With another slot to sign in to, if one is given.
    pub fn slot<'a>(&'a self, other: Option<&'a str>) -> Option<&'a str> {
        other.or(self.slot.as_deref())
    }
}

/// Whoever waits should know for what.
const UNLOCK: &str = "Waiting for the keyring to be unlocked.";

/// What there is to say at the end.
type Outcome = (Completed, Vec<String>);

pub fn run(session: &Session<'_>, options: &Options) -> Result<(), Failure> {
    run_in(session, options, None)
}

/// Signs in to the slot that is named.
pub fn run_in(session: &Session<'_>, options: &Options, slot: Option<&str>) -> Result<(), Failure> {
    let (slot, label) = (options.slot(slot), options.label.as_deref());
    let config = Arc::new(session.settings()?);
    Session::ensure_own(&config)?;
    let wanted = slot.map(place::wanted).transpose()?;
    let roster = app::roster(&config);
    let store = app::store(&config);
    unlock(&session.terminal, &store);
    let (completed, mut notes) =
        app::run(sign_in(session, &config, (store, wanted.clone()), options))??;
    let slot = settled_in(&config, &completed)?;
    if let (Some(slot), Some(wanted)) = (&slot, &wanted)
        && slot != wanted
    {
        notes.push(format!("This account is {slot} already; its login was refreshed there."));
    }
    if let (Some(slot), Some(label)) = (&slot, label) {
        let named = slot::write(&roster, |book| {
            book.wishes.entry(slot.clone()).or_default().label = Some(label.to_owned());
        });
        // The login is there whatever it is called.
        if let Err(failure) = named {
            notes.push(format!("It could not be given its name: {failure}."));
        }
    }
    let report = summary(session, &config, (&completed, slot.as_ref()), &notes);
    session.terminal.answer(&report, None::<&()>)
}

/// The slot that a login went to.
fn settled_in(config: &Config, completed: &Completed) -> Result<Option<SlotId>, Failure> {
    let (listing, _) = app::roster(config).logins()?;
    let is_its = |member: &&Member| member.auth_file == completed.saved.path;
    Ok(listing.members.iter().find(is_its).map(|member| member.id.clone()))
}

/// A keyring that must be used may be unlocked now, while somebody is there to do it.
pub fn unlock(terminal: &Terminal, store: &Store) {
    if let Err(NoKeyring::Locked) = store.vault().prepare() {
        terminal.note(UNLOCK);
        // Whether that was done shows when the login is prepared.
        let _unlocked = store.vault().unlock();
    }
}

async fn sign_in(
    session: &Session<'_>,
    config: &Arc<Config>,
    (store, wanted): (Store, Option<SlotId>),
    options: &Options,
) -> Result<Outcome, Failure> {
    let stop = CancellationToken::new();
    let with = SignIn {
        issuer: app::issuer(config)?,
        store,
        elsewhere: Some(elsewhere(config, wanted)),
        workspace: options.workspace_id.as_deref().map(AccountId::new),
        lock_wait: app::LOCK_WAIT,
        clock: Clock::system(),
        stop: stop.clone(),
    };
    if let Some(from) = &options.import {
        return import::run(session, options.yes, from.as_deref(), &with).await;
    }
    let work = async {
        let completed = take(session, config, options, &with).await?;
        let notes = settle(session, &with, &completed.saved).await;
        Ok((completed, notes))
    };
    tokio::select! {
        biased;
        outcome = work => outcome.map_err(|error: SignInError| error.into()),
        // Whatever must not be interrupted does not look at `stop`.
        never = interruption(&stop) => match never {},
    }
}

/// A login goes to the slot that its account has, or to the one that was asked for.
fn elsewhere(config: &Arc<Config>, wanted: Option<SlotId>) -> Elsewhere {
    let config = Arc::clone(config);
    Arc::new(move |record: &Record| {
        let slot = place::of(&config, record, wanted.as_ref(), true).map_err(io::Error::other)?;
        Ok(app::store_at(&config, &app::roster(&config).auth_file(&slot)))
    })
}

/// Passes Ctrl-C on; never ends by itself.
async fn interruption(stop: &CancellationToken) -> std::convert::Infallible {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
    }
    std::future::pending().await
}

/// Goes the way that was asked for, or the one that suits the machine.
async fn take(
    session: &Session<'_>,
    config: &Config,
    options: &Options,
    with: &SignIn,
) -> Result<Completed, SignInError> {
    let within = config.auth.login_timeout;
    let (way, why) = way::choose(options, session.environment);
    let tell = |progress: Progress<'_>| {
        tell(&session.terminal, why, progress);
        if let Progress::Open { address, .. } = progress
            && config.auth.browser_open
            && !options.no_browser
        {
            open(session, address);
        }
    };
    match way {
        Way::Device => device::sign_in(with, within, &tell).await,
        Way::Browser => {
            let ports = options.callback_port.map(|port| vec![port]);
            let settings = browser::Settings {
                ports: ports.unwrap_or_else(|| browser::REGISTERED_PORTS.to_vec()),
                within,
                pasted: input::lines(),
            };
            browser::sign_in(with, settings, &tell).await
        }
    }
}

/// Opens `address` without those of our variables that may hold secrets.
fn open(session: &Session<'_>, address: &str) {
    if let Err(error) = opener::open(address, session.environment.of_others()) {
        session.terminal.note(&format!("No browser could be opened ({error}); open it by hand."));
    }
}

/// `why` is the reason for the way, if nobody asked for it.
fn tell(terminal: &Terminal, why: Option<&'static str>, progress: Progress<'_>) {
    let start = |title, section: Section| {
        let section = why.iter().fold(section, |section, why| section.field("Note", why));
        // If nobody reads it, the login waits in vain and then says so.
        let _shown = terminal.answer(&Report::new(title).section(section), None::<&()>);
    };
    match progress {
        Progress::Open { address, redirect_uri } => {
            let section = Section::new("Sign In")
                .field("Address", address)
                .field("Comes back to", redirect_uri);
            start("AIRelays Login", section);
            terminal.note("");
            terminal.note("Waiting for the browser to come back (Ctrl-C ends this login).");
            terminal.note(
                "If it is on another machine, paste the address that it ends at, and press Enter.",
            );
        }
        Progress::Type { code, address, within } => {
            let section = Section::new("Sign In")
                .field("Address", address)
                .toned("Code", code, Tone::Good)
                .field("Valid for", Span(within))
                .field("It allows", "AIRelays on this machine to use your ChatGPT account")
                .field("Caution", "type it only if you began this login; give it to nobody");
            start("AIRelays Device Login", section);
            terminal.note("");
            terminal.note("Waiting for the code to be typed there (Ctrl-C ends this login).");
        }
        Progress::Waiting { left } => {
            let left = Span(Duration::from_secs(left.as_secs()));
            terminal.note(&format!("Still waiting; {left} left."));
        }
        Progress::Unusable(why) => terminal.note(&format!("Not used: {why}. Still waiting.")),
        Progress::Exchanging => terminal.note("Approved; fetching the login."),
    }
}

/// Ends the login that was replaced, and says what the owner should know of it.
async fn settle(session: &Session<'_>, with: &SignIn, saved: &Saved) -> Vec<String> {
    if let Some(why) = &saved.shut {
        return vec![logout::told(&Revocation::Unopened(why.clone()), "The former login")];
    }
    let Some(Replaced { other, former }) = &saved.replaced else { return Vec::new() };
    let told = other
        .iter()
        .map(|other| format!("The stored login of another account, {other}, was replaced."));
    let mut notes: Vec<_> = told.collect();
    if let Some(former) = former {
        let others = logout::codex_tokens(session);
        let revocation = revoke::revoke(&with.issuer, former, others.as_ref()).await;
        notes.push(logout::told(&revocation, "The former login"));
    }
    notes
}

fn summary(
    session: &Session<'_>,
    config: &Config,
    (completed, slot): (&Completed, Option<&SlotId>),
    notes: &[String],
) -> Report {
    let present = Present::of(config);
    let requires_token = config.security.require_bearer_auth;
    let (token, tone) = match (requires_token, &present.token) {
        (false, _) => ("not required", Tone::Plain),
        (true, Some(_)) => ("present", Tone::Good),
        (true, None) => ("missing", Tone::Bad),
    };
    let store = shown(&completed.saved.path);
    let section = Section::new("Upstream Session")
        .yes("Authenticated", true)
        .maybe("Email", completed.email.as_deref())
        .maybe("Plan", completed.plan_type.as_deref())
        .field("Account ID", &completed.account_id);
    // Who has one account need not know that it is a slot.
    let section = match slot.filter(|slot| **slot != SlotId::first()) {
        Some(slot) => section.field("Slot", slot),
        None => section,
    };
    let section = section
        .field(
            "Auth store",
            match &completed.saved.how {
                How::Open => store,
                How::OpenFor(why) => format!("{store} (not encrypted: {why})"),
                How::Sealed => format!("{store} (encrypted; the key is in the keyring)"),
            },
        )
        .toned("Relay token", token, tone)
        .field("Token file", shown(&config.security.bearer_token_file));
    let next = if requires_token && present.token.is_none() {
        session.command("airelays init")
    } else {
        session.serve_command(config)
    };
    Report::continued()
        .section(section)
        .section(Client::new(session, config, None).section())
        .notes(notes)
        .steps(&[next])
}
