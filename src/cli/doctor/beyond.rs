//! What the upstream says to the owner's logins: slot by slot, and once to a tiny request.

use std::{sync::Arc, time::Duration};

use futures_util::future::{join, join_all};
use jiff::SignedDuration;
use tokio::time::{Instant, timeout};

use super::{Check, Examination, Status};
use crate::{
    app,
    auth::LoginError,
    cli::{LOGIN, Session, output::Failure, serve},
    clock::Clock,
    config::Config,
    credential::{Claims, Tokens},
    relay::{
        Refused, Relay,
        slots::Account,
        trial::Said,
        view::{SlotList, SlotView, span_text},
    },
    slot::{SlotId, window::MAIN},
    transport::chain,
    upstream::{
        contract::{Contract, Finding},
        failure::{Blame, Failure as Unanswered},
    },
};

/// For a login, then its models and its usage.
const ASK: Duration = Duration::from_secs(6);
/// For the tiny request.
const ANSWER: Duration = Duration::from_secs(12);

/// Tells all of it that hangs on a login, and what it says about the contract. `is_reached` says
/// whether there is anybody to ask.
pub async fn examine(
    examination: &mut Examination<'_>,
    config: &Arc<Config>,
    is_reached: bool,
) -> Result<Vec<Finding>, Failure> {
    const SECTION: &str = "ChatGPT";
    let session = examination.session;
    let mut contract = Contract::default();
    let (relay, ear) = match app::overheard(config, serve::apart(session, config)?).await {
        Ok(overheard) => overheard,
        Err(error) => {
            let check = if matches!(error, app::Error::Slots(_)) {
                Check::skip("login", "not looked at: see the slots above")
            } else {
                Check::fail("login", chain(&error))
            };
            examination.tell(SECTION, vec![check])?;
            return Ok(contract.findings());
        }
    };
    let mut checks = Vec::new();
    let patients = patients(session, &relay).await;
    for patient in &patients {
        let tokens = patient.account.login.store().tokens().ok().flatten();
        if let Some(tokens) = tokens.filter(Tokens::are_present) {
            contract.tokens(&tokens);
        }
    }
    let asked = patients.iter().map(|patient| patient.asked(&relay, is_reached));
    for (patient, asked) in patients.iter().zip(join_all(asked).await) {
        checks.push(patient.check.clone());
        checks.extend(asked);
    }
    examination.tell(SECTION, checks)?;
    let (request, model) = if examination.options.no_request {
        (Check::skip("request", "none was sent, as you asked for"), None)
    } else {
        request(&relay, &patients, is_reached).await
    };
    examination.tell("", vec![request])?;
    if let Some(model) = model {
        contract.asks(&model);
    }
    for answer in ear.answers() {
        contract.answer(&answer);
    }
    Ok(contract.findings())
}

/// A slot, and how its login is.
struct Patient {
    id: SlotId,
    account: Account,
    /// Its name, where there are several.
    slot: Option<String>,
    check: Check,
    is_signed_in: bool,
}

async fn patients(session: &Session<'_>, relay: &Relay) -> Vec<Patient> {
    let is_single = relay.slots.is_single();
    // In the owner's order.
    let views = SlotList::of(&relay.slots).slots;
    let accounts = relay.slots.all_accounts();
    let examined = views.into_iter().filter_map(|view| {
        let (id, account) = accounts.iter().find(|(id, _)| view.id == id.as_str()).cloned()?;
        let slot = (!is_single).then(|| id.to_string());
        Some(async move {
            let command = match &slot {
                Some(slot) => format!("{LOGIN} --slot {slot}"),
                None => LOGIN.to_owned(),
            };
            let (check, is_signed_in) = login(&account, &view, &session.command(&command)).await;
            let check = check.of(slot.as_deref());
            Patient { id, account, slot, check, is_signed_in }
        })
    });
    join_all(examined).await
}

async fn login(account: &Account, view: &SlotView, command: &str) -> (Check, bool) {
    const NAME: &str = "login";
    let credential = match timeout(ASK, account.login.credential()).await {
        Err(_) => {
            let text = "it was not ready in time: somebody may be renewing it";
            return (Check::warn(NAME, text).step("try again in a moment"), false);
        }
        Ok(Err(error)) => return (without_login(&error, NAME, command), false),
        Ok(Ok(credential)) => credential,
    };
    let plan = view.plan.as_deref().unwrap_or("unknown");
    let decided = match (view.enabled, view.paused) {
        (false, _) => "; it is disabled",
        (true, true) => "; it is paused",
        (true, false) => "",
    };
    let text = |left: &str| format!("signed in, plan {plan}; {left}{decided}");
    let Some(end) = Claims::read(&credential.access).expires_at else {
        return (Check::warn(NAME, text("its token does not say when it ends")), true);
    };
    let left = end.duration_since(Clock::system().now());
    let span = span_text(u64::try_from(left.as_secs()).unwrap_or_default());
    // One that is due has just been tried to renew.
    let check = if left <= SignedDuration::from_mins(5) {
        let text = text(&format!("its token ends in {span} and could not be renewed"));
        Check::warn(NAME, text).step(format!("if that stays: {command}"))
    } else {
        Check::pass(NAME, text(&format!("its token is good for {span}")))
    };
    (check, true)
}

fn without_login(error: &LoginError, name: &str, command: &str) -> Check {
    let text = chain(error);
    match error {
        LoginError::Missing => Check::fail(name, "there is none").step(command),
        LoginError::Transient { .. } => Check::fail(name, text).step("try again in a moment"),
        LoginError::Sealed { .. } => {
            Check::fail(name, text).step("unlock the keyring, or sign in again with it unlocked")
        }
        LoginError::Storage { .. } => Check::fail(name, text).step("see to whom the file belongs"),
        LoginError::Incomplete(_)
        | LoginError::AccountMismatch
        | LoginError::OtherIssuer
        | LoginError::Terminal { .. } => Check::fail(name, text).step(command),
    }
}

impl Patient {
    /// What the upstream says to its login.
    async fn asked(&self, relay: &Relay, is_reached: bool) -> Vec<Check> {
        let (models, usage) = if self.is_signed_in && is_reached {
            join(self.models(relay), self.usage(relay)).await
        } else {
            let why = if self.is_signed_in {
                "not asked for: the upstream cannot be reached"
            } else {
                "not asked for: there is no login to ask with"
            };
            (Check::skip("models", why), Check::skip("usage", why))
        };
        [models, usage].map(|check| check.of(self.slot.as_deref())).into()
    }

    async fn models(&self, relay: &Relay) -> Check {
        const NAME: &str = "models";
        let models = match timeout(ASK, relay.models_of(&self.id, &self.account)).await {
            Err(_) => return late(NAME),
            Ok(Err(refused)) => return refusal(NAME, &refused),
            Ok(Ok(models)) => models,
        };
        let (n, n_skipped) = (models.entries.len(), models.n_skipped);
        let n_listed = models.entries.iter().filter(|model| model.is_listed()).count();
        if n == 0 {
            return Check::fail(NAME, "the upstream lists none for this login")
                .step("see in a browser whether Codex works with this account");
        }
        let text = format!("{n} in the catalogue, {n_listed} of them offered");
        match n_skipped {
            0 => Check::pass(NAME, text),
            n => Check::warn(NAME, format!("{text}; {n} more cannot be read")),
        }
    }

    async fn usage(&self, relay: &Relay) -> Check {
        const NAME: &str = "usage";
        let Ok(refreshed) = timeout(ASK, relay.refresh_usage(Some(&self.id))).await else {
            return Check { status: Status::Warn, ..late(NAME) };
        };
        let refused = refreshed.into_iter().find_map(|refreshed| refreshed.outcome.err());
        if let Some(refused) = refused {
            // Answers say what is left as well.
            let check = refusal(NAME, &refused);
            return Check { status: Status::Warn, ..check };
        }
        let view = self.view_now(relay);
        let windows = view.windows.iter().filter(|window| window.limit == MAIN);
        let left: Vec<_> = windows
            .map(|window| format!("{} {:.0}% left", span_word(&window.span), window.left_percent))
            .collect();
        let text = if left.is_empty() { "no window is told".to_owned() } else { left.join(", ") };
        match view.reason {
            Some(reason) if view.state != "needs_login" => {
                let until = view.until_seconds.map(|left| format!(", for {}", span_text(left)));
                let until = until.unwrap_or_default();
                Check::warn(NAME, format!("{text}; it serves nobody now: {reason}{until}"))
            }
            Some(_) | None => Check::pass(NAME, text),
        }
    }

    fn view_now(&self, relay: &Relay) -> SlotView {
        let list = SlotList::of(&relay.slots);
        list.slots.into_iter().find(|view| view.id == self.id.as_str()).unwrap_or_default()
    }
}

/// As people say it.
fn span_word(span: &str) -> &str {
    match span {
        "five_hours" => "5 h",
        other => other,
    }
}

/// One request that costs as little as can be, through the first slot that can serve it; and the
/// model that it asked.
async fn request(relay: &Relay, patients: &[Patient], is_reached: bool) -> (Check, Option<String>) {
    const NAME: &str = "request";
    let skip = |why: &str| (Check::skip(NAME, why), None);
    if !is_reached {
        return skip("not sent: the upstream cannot be reached");
    }
    let meant = patients.iter().filter(|patient| patient.is_signed_in).filter_map(|patient| {
        let view = patient.view_now(relay);
        (view.enabled && !view.paused).then_some((patient, view.state == "ready"))
    });
    let meant: Vec<_> = meant.collect();
    let ready = meant.iter().find(|(_, is_ready)| *is_ready).or(meant.first());
    let Some((patient, _)) = ready else {
        return skip("not sent: there is no login that may serve");
    };
    let start = Instant::now();
    match timeout(ANSWER, relay.try_out_least(&patient.id)).await {
        Err(_) => (late(NAME), None),
        Ok(Err(refused)) => (refusal(NAME, &refused), None),
        Ok(Ok(Said { text, model, .. })) if text.trim().is_empty() => {
            (Check::warn(NAME, format!("{model} answered with nothing")), Some(model))
        }
        Ok(Ok(Said { model, .. })) => {
            let seconds = start.elapsed().as_secs_f64();
            let through = patient.slot.as_ref().map(|slot| format!(" through {slot}"));
            let text = format!(
                "{model} answered{} in {seconds:.1} s; that took a few tokens of your plan",
                through.unwrap_or_default()
            );
            (Check::pass(NAME, text), Some(model))
        }
    }
}

fn late(name: &str) -> Check {
    Check::fail(name, "the upstream did not answer in time").step("try again in a moment")
}

/// Why there is no answer, without a word of the upstream's.
fn refusal(name: &str, refused: &Refused) -> Check {
    let limited = |failure: &Unanswered| {
        matches!(
            failure,
            Unanswered::UsageLimit(_)
                | Unanswered::Overloaded { .. }
                | Unanswered::Capacity { .. }
                | Unanswered::RateLimited { .. }
        )
    };
    match refused {
        Refused::Login(error) => Check::fail(name, chain(error)).step(LOGIN),
        Refused::Attempt(failure) if limited(failure) => {
            Check::warn(name, failure.brief()).step("that passes by itself")
        }
        Refused::Attempt(failure) => {
            let check = Check::fail(name, failure.brief());
            match failure.blame() {
                Blame::Account => check.step(LOGIN),
                Blame::Request => check.step("the upstream may have changed; see below"),
                Blame::Service | Blame::Network => check.step("try again in a moment"),
            }
        }
        Refused::Model { .. } => Check::fail(name, "the upstream does not have a model it lists"),
        Refused::NoSlot(none) => Check::warn(name, format!("no slot can serve now: {none}")),
    }
}
