//! `slot`: the accounts behind the relay, seen and steered.
//!
//! What the owner decides is written to the file that a running relay watches; what only the relay
//! knows is asked of it. Where none runs, a command does its work alone.

mod add;
mod ask;
mod decide;
pub mod shown;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Session, login::Options as LoginOptions, output::Failure};
use crate::{
    app,
    config::Config,
    roster::{Listing, RosterError},
    slot::SlotId,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show all slots: state, reason, usage windows
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Sign in to one more ChatGPT account, or to a slot again
    Login(Box<Login>),
    /// Copy logins of another program: a file or a folder of Codex CLI, codex-slot-relay, AIRelays or OpenClaw
    Import(Import),
    /// Let a slot take part again
    Enable(One),
    /// Leave a slot out of everything
    Disable(One),
    /// Let a slot serve nobody, without signing out
    Pause(One),
    /// Let a paused slot serve again
    Resume(One),
    /// Hold nothing against a slot any more
    Clear(One),
    /// Sign a slot out and forget it
    Remove {
        #[command(flatten)]
        one: One,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
    },
    /// Call a slot by another name
    Label {
        slot: String,
        text: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put slots into this order
    Order {
        #[arg(required = true)]
        slots: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Decide about a slot: weight, priority, reserve, models, last resort
    Set(Set),
    /// Show or choose the policy; `default` goes back to the setting
    Policy {
        policy: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Send one prompt through a slot
    Test {
        slot: String,
        /// What to say
        #[arg(long, default_value = "Reply with exactly pong")]
        prompt: String,
        /// The model to ask
        #[arg(long)]
        model: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show why a request went where it went
    Explain {
        /// As in the header `x-request-id` of its answer
        request: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say by hand what is left of a slot
    UsageSet(UsageSet),
    /// Show the usage resets that the upstream grants
    Resets {
        slot: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Use one of these resets
    Redeem {
        slot: Option<String>,
        /// Which one
        #[arg(long, value_name = "ID")]
        credit: Option<String>,
        /// The id of a request that got no answer: asked again with it, it counts once
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct One {
    /// Such as `slot-2`, or `2`
    slot: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Login {
    /// The slot to sign in to; otherwise the account's own, or a new one
    slot: Option<String>,
    #[command(flatten)]
    options: LoginOptions,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The file or folder; the Codex CLI's login when it is not given
    path: Option<PathBuf>,
    /// The slot for a single login
    #[arg(long)]
    slot: Option<String>,
    /// What to call it
    #[arg(long)]
    label: Option<String>,
    /// Take the logins of OpenClaw's own store
    #[arg(long, conflicts_with = "path")]
    openclaw: bool,
    /// Take those of this profile of OpenClaw
    #[arg(long, value_name = "PROFILE", conflicts_with_all = ["path", "openclaw"])]
    openclaw_profile: Option<String>,
    /// And of this agent of it
    #[arg(long, value_name = "AGENT", default_value = "relay")]
    openclaw_agent: String,
    /// Ask nothing
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Set {
    slot: String,
    /// Its share under `weighted`; 0 goes by what is left
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// Slots of a smaller number are used up first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Percent of each window that are kept; `default` goes by the setting
    #[arg(long, value_name = "PERCENT")]
    reserve: Option<String>,
    /// The models it may serve, between commas; `all` for all
    #[arg(long, value_name = "NAMES")]
    models: Option<String>,
    /// Whether it serves only when no other can
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"])]
    last_resort: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct UsageSet {
    slot: String,
    /// Such as `95% left · resets 3h`
    #[arg(long, value_name = "TEXT")]
    five_hours: String,
    /// Such as `84% left · resets 6d 23h`
    #[arg(long, value_name = "TEXT")]
    week: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(session: &Session<'_>, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List { json } => ask::list(session, *json),
        Command::Login(login) => {
            super::login::run_in(session, &login.options, login.slot.as_deref())
        }
        Command::Import(import) => add::import(session, import),
        Command::Enable(one) => decide::change(session, one, |wishes| wishes.is_enabled = true),
        Command::Disable(one) => decide::change(session, one, |wishes| wishes.is_enabled = false),
        Command::Pause(one) => decide::change(session, one, |wishes| wishes.is_paused = true),
        Command::Resume(one) => decide::change(session, one, |wishes| wishes.is_paused = false),
        Command::Clear(one) => ask::clear(session, one),
        Command::Remove { one, yes } => add::remove(session, one, *yes),
        Command::Label { slot, text, json } => {
            let one = One { slot: slot.clone(), json: *json };
            let label = Some(text.clone()).filter(|text| !text.trim().is_empty());
            decide::change(session, &one, move |wishes| wishes.label.clone_from(&label))
        }
        Command::Order { slots, json } => decide::order(session, slots, *json),
        Command::Set(set) => decide::set(session, set),
        Command::Policy { policy, json } => decide::policy(session, policy.as_deref(), *json),
        Command::Test { slot, prompt, model, json } => {
            ask::test(session, (slot, model.as_deref(), prompt), *json)
        }
        Command::Explain { request, json } => ask::explain(session, request, *json),
        Command::UsageSet(usage) => decide::usage(session, usage),
        Command::Resets { slot, json } => ask::resets(session, slot.as_deref(), *json),
        Command::Redeem { slot, credit, request_id, yes, json } => {
            let what = ask::Redeem {
                slot: slot.as_deref(),
                credit: credit.as_deref(),
                request_id: request_id.as_deref(),
            };
            ask::redeem(session, what, *yes, *json)
        }
    }
}

pub use add::sign_out;
pub use ask::{dependency_map, health, refresh, usage};
pub use decide::write;

/// The slots, and the one of them that `text` names: by its name, its number, or what it is called.
pub fn named(config: &Config, text: &str) -> Result<(SlotId, Listing), Failure> {
    let roster = app::roster(config);
    let listing = roster.read()?;
    let is_there = |id: &SlotId| listing.member(id).is_some();
    let by_id = SlotId::meant(text).ok().filter(is_there);
    let is_called = |label: &str| label.eq_ignore_ascii_case(text);
    let mut called = listing.members.iter().filter(|member| {
        let email = || {
            let login = app::store_at(config, &member.auth_file).describe().ok().flatten();
            login.and_then(|login| login.email)
        };
        member.wishes.label.as_deref().is_some_and(is_called)
            || email().as_deref().is_some_and(is_called)
    });
    let only = match (called.next(), called.next()) {
        (Some(member), None) => Some(member.id.clone()),
        _ => None,
    };
    let known = || listing.members.iter().map(|it| it.id.to_string()).collect::<Vec<_>>();
    let unknown = || RosterError::Unknown { id: text.to_owned(), known: known().join(", ") };
    let id = by_id.or(only).ok_or_else(unknown)?;
    Ok((id, listing))
}
