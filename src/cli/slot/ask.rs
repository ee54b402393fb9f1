//! What only a relay knows, asked of the one that runs; or found out here where none does.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{One, named, shown};
use crate::{
    api::admin::DependencyMap,
    app,
    auth::apart::Apart,
    cli::{
        Session, input,
        output::{Failure, Report, Section, Tone},
        remote::{NoAnswer, Remote},
        serve,
    },
    config::Config,
    relay::{
        Relay,
        resets::{Redemption, ResetList},
        trial::Said,
        view::{Refreshes, SlotList, SlotView},
    },
    slot::SlotId,
    transport::chain,
};

/// The relay that runs, or one of this command's own.
enum Way {
    Remote(Remote),
    Here(Box<Relay>),
}

async fn way(session: &Session<'_>, config: &Arc<Config>) -> Result<Way, Failure> {
    match Remote::find(config) {
        Some(Err(NoAnswer::OutOfReach)) => session.terminal.warn(
            "a relay runs here that commands cannot reach, its log says why: this is what is on the disk",
        ),
        Some(remote) => return Ok(Way::Remote(remote?)),
        None => {}
    }
    let apart: Apart = serve::apart(session, config)?;
    Ok(Way::Here(Box::new(app::alone(config, Some(apart)).await?)))
}

impl Way {
    async fn slots(&self) -> Result<SlotList, Failure> {
        match self {
            Self::Remote(remote) => Ok(remote.get("/admin/slots").await?),
            Self::Here(relay) => Ok(SlotList::of(&relay.slots)),
        }
    }
}

pub fn list(session: &Session<'_>, json: bool) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    show(session, &config, None, json)
}

/// Shows all slots, or the one.
pub fn show(
    session: &Session<'_>,
    config: &Arc<Config>,
    only: Option<&SlotId>,
    json: bool,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Alone<'a, T> {
        slot: &'a T,
    }
    let mut list = app::run(async { way(session, config).await?.slots().await })??;
    if let Some(only) = only {
        list.slots.retain(|slot| slot.id == only.as_str());
        let report = report(&list, "AIRelays Slot");
        let document = list.slots.first().map(|slot| Alone { slot });
        return session.terminal.answer(&report, document.as_ref().filter(|_| json));
    }
    let policy = Section::new("Slots").field("Policy", &list.policy);
    let policy = match list.waiting {
        0 => policy,
        n => policy.field("Waiting", n),
    };
    let policy = match &list.problem {
        None => policy,
        Some(problem) => policy.toned("Problem", problem, Tone::Bad),
    };
    let sections = shown::sections(&list);
    let report =
        sections.into_iter().fold(Report::new("AIRelays Slots").section(policy), Report::section);
    session.terminal.answer(&report, json.then_some(&list))
}

fn report(list: &SlotList, title: &'static str) -> Report {
    shown::sections(list).into_iter().fold(Report::new(title), Report::section)
}

/// Asks what is left, and shows it.
pub fn usage(session: &Session<'_>, json: bool) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let list = app::run(async {
        let way = way(session, &config).await?;
        refreshed(&way, None).await?;
        way.slots().await
    })??;
    session.terminal.answer(&report(&list, "AIRelays Usage"), json.then_some(&list))
}

async fn refreshed(way: &Way, id: Option<&SlotId>) -> Result<Refreshes, Failure> {
    let query = id.map_or_else(String::new, |id| format!("?slot={id}"));
    match way {
        Way::Remote(remote) => Ok(remote.post(&format!("/admin/refresh-usage{query}"), "").await?),
        Way::Here(relay) => {
            let outcomes = relay.refresh_usage(id).await;
            let path = relay.slots.roster().usage_file();
            relay.slots.keep_usage().map_err(Failure::file("write", &path))?;
            Ok(Refreshes::of(&outcomes, &SlotList::of(&relay.slots)))
        }
    }
}

pub fn refresh(session: &Session<'_>, slot: Option<&str>, json: bool) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let id = slot.map(|slot| named(&config, slot)).transpose()?.map(|(id, _)| id);
    let updated = app::run(async {
        let way = way(session, &config).await?;
        refreshed(&way, id.as_ref()).await
    })??;
    let section = updated.updated.iter().fold(Section::new("Refreshed"), |section, slot| {
        let left = format!("5 h {}; week {}", slot.usage.usage_5h, slot.usage.usage_week);
        match &slot.error {
            None => section.toned(&slot.id, left, Tone::Good),
            Some(error) => section.toned(&slot.id, error, Tone::Bad),
        }
    });
    let report = Report::new("AIRelays Usage").section(section);
    session.terminal.answer(&report, json.then_some(&updated))?;
    if !updated.updated.is_empty() && updated.updated.iter().all(|slot| !slot.ok) {
        return Err(Failure::Odd("the usage of no slot could be read".to_owned()));
    }
    Ok(())
}

pub fn clear(session: &Session<'_>, one: &One) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let (id, _) = named(&config, &one.slot)?;
    if let Some(remote) = Remote::find(&config) {
        let remote = remote?;
        let path = format!("/admin/slots/{id}/clear");
        let _cleared: Value = app::run(remote.post(&path, "{}"))??;
    } else {
        // What is held against it stands in what was last read.
        let path = app::roster(&config).usage_file();
        let mut kept = crate::roster::usage::read(&path);
        if kept.remove(&id).is_some() {
            crate::roster::usage::write(&path, &kept).map_err(Failure::file("write", &path))?;
        }
    }
    show(session, &config, Some(&id), one.json)
}

pub fn test(
    session: &Session<'_>,
    (slot, model, prompt): (&str, Option<&str>, &str),
    json: bool,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Asked<'a> {
        prompt: &'a str,
        model: Option<&'a str>,
    }
    let config = Arc::new(session.settings()?);
    let (id, _) = named(&config, slot)?;
    let said: Said = app::run(async {
        match way(session, &config).await? {
            Way::Remote(remote) => {
                let body = serde_json::to_string(&Asked { prompt, model }).unwrap_or_default();
                Ok(remote.post(&format!("/admin/slots/{id}/test"), &body).await?)
            }
            Way::Here(relay) => {
                let said = relay.try_out(&id, model, prompt).await;
                said.map_err(|refused| Failure::Odd(chain(&refused)))
            }
        }
    })??;
    let section = Section::new("Test")
        .toned("Slot", &said.slot, Tone::Good)
        .field("Model", &said.model)
        .field("Answer", &said.text);
    session.terminal.answer(&Report::new("AIRelays Slot").section(section), json.then_some(&said))
}

pub fn explain(session: &Session<'_>, request: &str, json: bool) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let Some(remote) = Remote::find(&config) else {
        return Err(Failure::Odd(
            "no relay is running; what became of a request is known to its relay alone".to_owned(),
        ));
    };
    let remote = remote?;
    let is_plain = request.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_plain {
        return Err(Failure::Odd(format!("`{request}` is no id of a request")));
    }
    let told: Value = app::run(remote.get(&format!("/v1/relay/requests/{request}/explain")))??;
    session.terminal.answer(&told_report(&told), json.then_some(&told))
}

fn told_report(told: &Value) -> Report {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut report = Report::new("AIRelays Request").section(
        Section::new("Request")
            .field("Id", text(&told["id"]))
            .field("Model", text(&told["model"]))
            .field("Outcome", text(&told["outcome"])),
    );
    for choice in list(&told["choices"]) {
        let chosen = match (text(&choice["chosen"]), text(&choice["because"])) {
            (id, _) if id.is_empty() => "nobody".to_owned(),
            (id, because) => format!("{id} ({because})"),
        };
        let section = Section::new("Choice").field("Chosen", chosen);
        let candidates = list(&choice["candidates"]);
        report = report.section(candidates.iter().fold(section, |section, candidate| {
            let until = match text(&candidate["until"]) {
                until if until.is_empty() => until,
                until => format!(", until {until}"),
            };
            let reason = format!("{}{until}", text(&candidate["reason"]));
            section.field(text(&candidate["slot"]), reason)
        }));
    }
    for attempt in list(&told["attempts"]) {
        report = report.section(
            Section::new("Attempt")
                .field("Slot", text(&attempt["slot"]))
                .field("Headers, ms", text(&attempt["headers_ms"]))
                .field("First output, ms", text(&attempt["first_output_ms"]))
                .field("Failure", text(&attempt["failure"])),
        );
    }
    let (timing, cache, changes) = (&told["timing"], &told["cache"], &told["changes"]);
    let left_out = list(&changes["parameters_left_out"]);
    let left_out = left_out.iter().map(text).collect::<Vec<_>>().join(", ");
    let mut section = Section::new("Changes");
    if !text(&changes["moved_from"]).is_empty() {
        section = section.field("Moved from", text(&changes["moved_from"]));
    }
    if changes["reasoning_left_out"] == true {
        section = section.field("Left out", "reasoning that only the former account can read");
    }
    if !left_out.is_empty() {
        section = section.field("Left out", left_out);
    }
    report.section(section).section(
        Section::new("Time and Cache")
            .field("Queue, ms", text(&timing["queue_ms"]))
            .field("Connect, ms", text(&timing["connect_ms"]))
            .field("First token, ms", text(&timing["first_token_ms"]))
            .field("All, ms", text(&timing["total_ms"]))
            .field("Cached tokens", text(&cache["cached_tokens"]))
            .field("Input tokens", text(&cache["input_tokens"])),
    )
}

pub fn resets(session: &Session<'_>, slot: Option<&str>, json: bool) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let id = slot.map(|slot| named(&config, slot)).transpose()?.map(|(id, _)| id);
    let granted = app::run(granted(session, &config, id.as_ref()))??;
    let section = granted.accounts.iter().fold(Section::new("Usage Resets"), |section, entry| {
        let count = entry.resets.as_ref().map_or(0, |granted| granted.available_count);
        match &entry.error {
            Some(error) => section.toned(&entry.slug, error, Tone::Bad),
            None => section.field(&entry.slug, format!("{count} available")),
        }
    });
    let report = Report::new("AIRelays Slots").section(section);
    session.terminal.answer(&report, json.then_some(&granted))
}

async fn granted(
    session: &Session<'_>,
    config: &Arc<Config>,
    id: Option<&SlotId>,
) -> Result<ResetList, Failure> {
    match way(session, config).await? {
        Way::Remote(remote) => {
            let query = id.map_or_else(String::new, |id| format!("?account={id}"));
            Ok(remote.get(&format!("/v1/relay/accounts/resets{query}")).await?)
        }
        Way::Here(relay) => Ok(relay.reset_list(id).await),
    }
}

/// What is to be used.
#[derive(Clone, Copy)]
pub struct Redeem<'a> {
    pub slot: Option<&'a str>,
    pub credit: Option<&'a str>,
    /// Of a request that got no answer.
    pub request_id: Option<&'a str>,
}

pub fn redeem(
    session: &Session<'_>,
    what: Redeem<'_>,
    is_agreed: bool,
    json: bool,
) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let members = app::roster(&config).read()?.members;
    let slot = match (what.slot, members.as_slice()) {
        (Some(slot), _) => slot.to_owned(),
        (None, [only]) => only.id.to_string(),
        (None, _) => return Err(Failure::Odd("there are several slots; say which".to_owned())),
    };
    let (id, _) = named(&config, &slot)?;
    if !is_agreed {
        let question =
            format!("\nUse a usage reset of {id}? It is worth something and gone then. [y/N] ");
        if !input::is_terminal() {
            return Err(Failure::Odd("nothing was used: add `--yes` if you want that".to_owned()));
        }
        session.terminal.write(&question).map_err(Failure::Output)?;
        if !input::is_agreed() {
            return Err(Failure::Odd("nothing was used".to_owned()));
        }
    }
    let random = crate::clock::random().map_err(|error| Failure::Odd(error.to_string()))?;
    let request_id = what.request_id.map_or_else(|| crate::id::uuid(random), str::to_owned);
    let asked = redeemed(session, &config, &id, (&request_id, what.credit));
    let redeemed = app::run(asked)?.map_err(|failure| {
        let why = chain(&failure);
        Failure::Odd(format!(
            "{why}. If a reset was used is not known. Ask again with `airelays slot redeem {id} \
             --request-id {request_id}`: it counts once"
        ))
    })?;
    let tone = if redeemed.reset_applied { Tone::Good } else { Tone::Warn };
    let section =
        Section::new("Usage Reset").field("Slot", &id).toned("Outcome", &redeemed.outcome, tone);
    let report = Report::new("AIRelays Slots").section(section);
    session.terminal.answer(&report, json.then_some(&redeemed))
}

async fn redeemed(
    session: &Session<'_>,
    config: &Arc<Config>,
    id: &SlotId,
    (request_id, credit): (&str, Option<&str>),
) -> Result<Redemption, Failure> {
    #[derive(Serialize)]
    struct Wanted<'a> {
        account: &'a str,
        credit_id: Option<&'a str>,
        redeem_request_id: &'a str,
    }
    match way(session, config).await? {
        Way::Remote(remote) => {
            let (account, redeem_request_id) = (id.as_str(), request_id);
            let wanted = Wanted { account, credit_id: credit, redeem_request_id };
            let body = serde_json::to_string(&wanted).unwrap_or_default();
            Ok(remote.post("/v1/relay/accounts/resets/redeem", &body).await?)
        }
        Way::Here(relay) => {
            let account = relay.slots.account(id);
            let account = account.ok_or_else(|| Failure::Odd("the slot is gone".to_owned()))?;
            let redeemed = relay.redeem(id, &account, request_id, credit).await;
            redeemed.map_err(|refused| Failure::Odd(chain(&refused)))
        }
    }
}

/// Whether a relay runs, and how its slots are.
pub fn health(session: &Session<'_>, json: bool) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Health {
        running: bool,
        #[serde(rename = "runtimeRoot")]
        runtime_root: String,
        healthz: Option<Box<RawValue>>,
        slots: Vec<SlotView>,
    }
    let config = Arc::new(session.settings()?);
    let (healthz, slots) = app::run(async {
        let way = way(session, &config).await?;
        let healthz = match &way {
            Way::Remote(remote) => Some(remote.get::<Box<RawValue>>("/healthz").await?),
            Way::Here(_) => None,
        };
        Ok::<_, Failure>((healthz, way.slots().await?))
    })??;
    let running = healthz.is_some();
    let (word, tone) = if running { ("yes", Tone::Good) } else { ("no", Tone::Warn) };
    let section = Section::new("Relay").toned("Running", word, tone);
    let report = shown::sections(&slots)
        .into_iter()
        .fold(Report::new("AIRelays Health").section(section), Report::section);
    let runtime_root = crate::config::shown(&config.paths.data_dir);
    let document = Health { running, runtime_root, healthz, slots: slots.slots };
    session.terminal.answer(&report, json.then_some(&document))
}

pub fn dependency_map(session: &Session<'_>, json: bool) -> Result<(), Failure> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        dependency_map: DependencyMap,
    }
    let section = Section::new("Dependencies")
        .field("Logins", "the relay's own sign-in")
        .field("Usage", "the upstream's headers and its usage route")
        .field("Requests", "straight to the upstream")
        .field("Slots", "files in the data directory");
    let report = Report::new("AIRelays Dependencies").section(section);
    let document = Document { dependency_map: DependencyMap::NOW };
    session.terminal.answer(&report, json.then_some(&document))
}
