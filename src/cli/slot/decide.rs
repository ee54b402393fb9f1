//! What the owner decides about slots: written down, and shown as it is then.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{One, Set, UsageSet, ask, named};
use crate::{
    app,
    cli::{
        Session,
        output::{Failure, Report, Section, Tone},
        remote::Remote,
    },
    clock::Clock,
    config::Config,
    relay::view::SlotList,
    roster::{
        Book, Roster, RosterError,
        usage::{self, Kept},
    },
    slot::{
        SlotId, Wishes,
        policy::{NoPolicy, Policy},
        usage_text,
        window::{Family, Limits, MAIN, Window},
    },
};

/// Changes what is wished of one slot.
pub fn change(
    session: &Session<'_>,
    one: &One,
    change: impl Fn(&mut Wishes),
) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let (id, _) = named(&config, &one.slot)?;
    write(&app::roster(&config), |book| change(book.wishes.entry(id.clone()).or_default()))?;
    ask::show(session, &config, Some(&id), one.json)
}

/// Another process that changes them is done in a moment.
pub fn write(roster: &Roster, change: impl Fn(&mut Book)) -> Result<(), Failure> {
    const TRIES: usize = 20;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
    let mut left = TRIES;
    loop {
        match roster.change(&change) {
            Err(RosterError::Busy) if left > 0 => {
                left -= 1;
                // A timer has to be made where it runs.
                app::run(async { tokio::time::sleep(PAUSE).await })?;
            }
            done => return Ok(done?),
        }
    }
}

pub fn order(session: &Session<'_>, slots: &[String], json: bool) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let mut order = Vec::new();
    for slot in slots {
        let (id, _) = named(&config, slot)?;
        if !order.contains(&id) {
            order.push(id);
        }
    }
    let roster = app::roster(&config);
    // Those that were not named keep their order, behind.
    let rest = roster.read()?.members.into_iter().map(|member| member.id);
    let rest: Vec<SlotId> = rest.filter(|id| !order.contains(id)).collect();
    order.extend(rest);
    write(&roster, |book| book.order.clone_from(&order))?;
    ask::show(session, &config, None, json)
}

pub fn set(session: &Session<'_>, set: &Set) -> Result<(), Failure> {
    let reserve = match set.reserve.as_deref() {
        None => None,
        Some("default") => Some(None),
        Some(text) => {
            let percent = text.trim_end_matches('%').trim().parse::<f64>().ok();
            let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
            Some(Some(
                percent
                    .ok_or_else(|| Failure::Odd("a reserve is a number from 0 to 100".into()))?,
            ))
        }
    };
    let models = set.models.as_deref().map(models).transpose()?;
    let one = One { slot: set.slot.clone(), json: set.json };
    change(session, &one, |wishes| {
        if let Some(weight) = set.weight {
            wishes.weight = Some(weight).filter(|weight| *weight > 0);
        }
        if let Some(priority) = set.priority {
            wishes.priority = priority;
        }
        if let Some(reserve) = reserve {
            wishes.reserve = reserve;
        }
        if let Some(models) = &models {
            wishes.models.clone_from(models);
        }
        if let Some(last) = &set.last_resort {
            wishes.is_last_resort = last == "on";
        }
    })
}

#[derive(Deserialize, Serialize)]
struct Shown {
    policy: String,
    configured: String,
    policies: Vec<String>,
}

/// The models between commas; none of them stands for all.
fn models(text: &str) -> Result<Vec<String>, Failure> {
    if text == "all" {
        return Ok(Vec::new());
    }
    let names = text.split(',').map(|name| name.trim().to_owned());
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err(Failure::Odd("name models between commas, or `all`".to_owned()));
    }
    Ok(names)
}

/// As the relay that runs has it; without one, as it would have it.
fn shown(config: &Config, roster: &Roster) -> Result<Shown, Failure> {
    if let Some(Ok(relay)) = Remote::find(config) {
        return app::run(async {
            // Looking at the slots makes the relay look at the disk.
            let _slots: SlotList = relay.get("/admin/slots").await?;
            Ok(relay.get("/admin/policy").await?)
        })?;
    }
    let configured = config.slots.policy;
    let now = roster.read()?.policy.unwrap_or(configured);
    Ok(Shown {
        policy: now.to_string(),
        configured: configured.to_string(),
        policies: Policy::ALL.map(|policy| policy.as_str().to_owned()).to_vec(),
    })
}

pub fn policy(session: &Session<'_>, policy: Option<&str>, json: bool) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let roster = app::roster(&config);
    if let Some(name) = policy {
        let chosen = match name {
            "default" => None,
            name => Some(name.parse().map_err(|error: NoPolicy| Failure::Odd(error.to_string()))?),
        };
        write(&roster, |book| book.policy = chosen)?;
    }
    let document = shown(&config, &roster)?;
    let section = Section::new("Policy")
        .toned("Now", &document.policy, Tone::Good)
        .field("Setting", &document.configured)
        .field("There are", Policy::names());
    let report = Report::new("AIRelays Slots").section(section);
    session.terminal.answer(&report, json.then_some(&document))
}

/// Puts a reading by hand where a relay finds it when it starts.
pub fn usage(session: &Session<'_>, set: &UsageSet) -> Result<(), Failure> {
    let config = Arc::new(session.settings()?);
    let (id, _) = named(&config, &set.slot)?;
    let now = Clock::system().now();
    let window = |text: &str, minutes: u64| {
        let (left, resets_at) = usage_text::read(text, now)
            .ok_or_else(|| Failure::Odd(format!("`{text}` says no percentage")))?;
        Ok::<_, Failure>(Window { used_percent: 100.0 - left, minutes: Some(minutes), resets_at })
    };
    let windows = vec![window(&set.five_hours, 300)?, window(&set.week, 10_080)?];
    let family = Family { id: MAIN.to_owned(), name: None, windows };
    let limits = Limits { families: vec![family], ..Limits::default() };
    if Remote::find(&config).is_some() {
        return Err(Failure::Odd(
            "a relay is running and knows better: its usage is live; stop it first".to_owned(),
        ));
    }
    let path = app::roster(&config).usage_file();
    let mut kept = usage::read(&path);
    kept.insert(id.clone(), Kept { limits, read_at: now, owner: None });
    usage::write(&path, &kept).map_err(Failure::file("write", &path))?;
    ask::show(session, &config, Some(&id), set.json)
}
