//! What is known of the slots, as a document: for the routes and for the commands.
//!
//! The names of codex-slot-relay (`usage`, `runtime`, `busy`, `sourceMeta`) stand beside our own, so
//! that what was written for it finds them.
//!
//! **Invariant:** no token is in it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{refresh::Refreshed, slots::Slots};
use crate::{
    auth::stored::StoredLogin,
    clock::to_second,
    slot::{
        Moment,
        pool::{Pool, Slot},
        verdict::Verdict,
        window::{Credits, Span, Window},
    },
};

/// All slots.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SlotList {
    pub object: String,
    pub policy: String,
    /// How many requests wait for a place.
    pub waiting: usize,
    /// Why the slots are not those on the disk, if they are not.
    pub problem: Option<String>,
    pub slots: Vec<SlotView>,
}

/// One slot.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the document is what it is")]
pub struct SlotView {
    pub id: String,
    pub label: Option<String>,
    pub enabled: bool,
    pub paused: bool,
    /// `ready`, `cooling`, `exhausted`, `reserved`, `needs_login`, `full`, `paused`, `disabled`;
    /// `may_probe` and `probed` right after a rest.
    pub state: String,
    /// Why, as a sentence without a full stop; nothing where all is well.
    pub reason: Option<String>,
    pub until: Option<String>,
    pub until_seconds: Option<u64>,
    pub authenticated: bool,
    pub email: Option<String>,
    pub plan: Option<String>,
    pub account_id: Option<String>,
    pub last_resort: bool,
    pub priority: i32,
    pub weight: Option<u32>,
    pub reserve_percent: f64,
    pub models: Vec<String>,
    pub windows: Vec<WindowView>,
    pub credits: Option<CreditsView>,
    pub resets_available: Option<i64>,
    pub usage_read_at: Option<String>,
    pub in_flight: u32,
    pub served: u64,
    pub failed: u64,
    pub last_error: Option<String>,
    pub last_used_at: Option<String>,
    pub usage: UsageView,
    pub runtime: RuntimeView,
    pub busy: bool,
    #[serde(rename = "sourceMeta")]
    pub source_meta: SourceView,
}

/// One usage window.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct WindowView {
    /// The limit that it belongs to; `codex` is the account's own.
    pub limit: String,
    pub name: Option<String>,
    /// `five_hours`, `day`, `week`, `month` or `other`.
    pub span: String,
    pub minutes: Option<u64>,
    pub used_percent: f64,
    pub left_percent: f64,
    pub resets_at: Option<String>,
    pub resets_in_seconds: Option<u64>,
}

/// What was bought beyond the plan.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct CreditsView {
    pub available: bool,
    pub unlimited: bool,
    pub balance: Option<String>,
}

/// The windows in the names of codex-slot-relay. -1 is what is not known.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    #[serde(rename = "usage5h")]
    pub usage_5h: String,
    pub usage_week: String,
    pub five_pct: i64,
    pub week_pct: i64,
    pub checked_at: String,
}

/// How it fares, in the names of codex-slot-relay.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeView {
    pub cooldown_until: String,
    pub last_used_at: String,
    pub last_error: String,
    pub consecutive_failures: u32,
}

/// Whose it is, in the names of codex-slot-relay.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    pub email: Option<String>,
    pub account_id: Option<String>,
}

/// What came of asking the upstream what is left.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Refreshes {
    pub updated: Vec<Refresh>,
}

/// The same of one slot, in the names of codex-slot-relay.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Refresh {
    pub id: String,
    #[serde(flatten)]
    pub usage: UsageView,
    pub ok: bool,
    pub error: Option<String>,
}

impl Refreshes {
    pub fn of(outcomes: &[Refreshed], list: &SlotList) -> Self {
        let refresh = |refreshed: &Refreshed| {
            let id = refreshed.id.as_str();
            let view = list.slots.iter().find(|view| view.id == id)?;
            let error = refreshed.outcome.as_ref().err().map(ToString::to_string);
            let (usage, ok) = (view.usage.clone(), error.is_none());
            Some(Refresh { id: id.to_owned(), usage, ok, error })
        };
        Self { updated: outcomes.iter().filter_map(refresh).collect() }
    }
}

impl SlotList {
    /// What `slots` are now. May block: the files of the logins are read.
    pub fn of(slots: &Slots) -> Self {
        let logins: Vec<_> = slots
            .all_accounts()
            .into_iter()
            .map(|(id, account)| (id, account.login.store().describe().ok().flatten()))
            .collect();
        let (waiting, problem) = (slots.n_waiting(), slots.problem());
        slots.view(|pool, now| {
            let view = |slot: &Slot| {
                let login = logins.iter().find(|(id, _)| *id == slot.id);
                SlotView::of(slot, pool, login.and_then(|(_, login)| login.as_ref()), now)
            };
            Self {
                object: "list".to_owned(),
                policy: pool.policy().to_string(),
                waiting,
                problem: problem.clone(),
                slots: pool.slots().map(view).collect(),
            }
        })
    }
}

impl SlotView {
    pub fn of(slot: &Slot, pool: &Pool, login: Option<&StoredLogin>, now: Moment) -> Self {
        let verdict = pool.state(slot, now);
        let until = verdict.until();
        let wishes = &slot.wishes;
        let email = login.and_then(|login| login.email.clone());
        let account_id = login.and_then(|login| login.account_id.clone());
        let last_used_at = slot.last_used.map(second);
        // Without a login there is nothing that could serve, whether or not anybody has tried.
        let authenticated = login.is_some_and(|login| login.ready_for_requests);
        let (state, reason) = state(&verdict, authenticated);
        Self {
            id: slot.id.to_string(),
            label: wishes.label.clone().or_else(|| email.clone()),
            enabled: wishes.is_enabled,
            paused: wishes.is_paused,
            state: state.to_owned(),
            reason,
            until: until.map(second),
            until_seconds: until.map(|at| seconds_to(at, now.wall)),
            authenticated,
            plan: slot
                .usage
                .plan_type
                .clone()
                .or_else(|| login.and_then(|login| login.plan_type.clone())),
            last_resort: wishes.is_last_resort,
            priority: wishes.priority,
            weight: wishes.weight,
            reserve_percent: pool.reserve(slot),
            models: wishes.models.clone(),
            windows: windows(slot, now.wall),
            credits: slot.usage.credits.as_ref().map(CreditsView::of),
            resets_available: slot.usage.resets_available,
            usage_read_at: slot.usage.read_at.map(second),
            in_flight: slot.in_flight,
            served: slot.n_served,
            failed: slot.n_failed,
            last_error: slot.last_error.clone(),
            usage: UsageView::of(slot, now.wall),
            runtime: RuntimeView {
                cooldown_until: slot
                    .health
                    .rest()
                    .map_or_else(String::new, |rest| second(rest.until)),
                last_used_at: last_used_at.clone().unwrap_or_default(),
                last_error: slot.last_error.clone().unwrap_or_default(),
                consecutive_failures: slot.health.n_faults(),
            },
            last_used_at,
            busy: slot.in_flight > 0,
            source_meta: SourceView { email: email.clone(), account_id: account_id.clone() },
            email,
            account_id,
        }
    }
}

impl CreditsView {
    fn of(credits: &Credits) -> Self {
        let Credits { available, unlimited, balance } = credits;
        Self { available: *available, unlimited: *unlimited, balance: balance.clone() }
    }
}

impl UsageView {
    fn of(slot: &Slot, now: Timestamp) -> Self {
        let left = slot.usage.left(now);
        let windows = slot.usage.windows(now);
        let text = |span: Span, left: Option<f64>| {
            let Some(left) = left else { return String::new() };
            let window = windows.iter().find(|window| window.span() == span);
            match window.and_then(|window| window.resets_at) {
                Some(at) => {
                    format!("{left:.0}% left · resets {}", span_text(seconds_to(at, now)))
                }
                None => format!("{left:.0}% left"),
            }
        };
        Self {
            usage_5h: text(Span::FiveHours, left.five_hours),
            usage_week: text(Span::Week, left.week),
            five_pct: whole(left.five_hours),
            week_pct: whole(left.week),
            checked_at: slot.usage.read_at.map_or_else(String::new, second),
        }
    }
}

/// What a slot is like in a word, and why.
fn state(verdict: &Verdict, authenticated: bool) -> (&'static str, Option<String>) {
    match verdict {
        Verdict::Ready if !authenticated => {
            ("needs_login", Some("there is no usable login".to_owned()))
        }
        Verdict::Ready | Verdict::Disabled | Verdict::Paused => (verdict.key(), None),
        Verdict::MayProbe
        | Verdict::Spent { .. }
        | Verdict::Probed(_)
        | Verdict::Full
        | Verdict::Tried
        | Verdict::NotAsked
        | Verdict::Model
        | Verdict::Resting { .. }
        | Verdict::Exhausted { .. }
        | Verdict::Reserved { .. } => (verdict.key(), Some(verdict.sentence())),
    }
}

/// All windows of all limits, the account's own first.
fn windows(slot: &Slot, now: Timestamp) -> Vec<WindowView> {
    let families = slot.usage.families();
    let of_family = families.flat_map(|family| {
        let view = |window: &Window| WindowView {
            limit: family.id.clone(),
            name: family.name.clone(),
            span: window.span().key().to_owned(),
            minutes: window.minutes,
            used_percent: 100.0 - window.left(now),
            left_percent: window.left(now),
            resets_at: window.resets_at.filter(|at| *at > now).map(second),
            resets_in_seconds: window
                .resets_at
                .filter(|at| *at > now)
                .map(|at| seconds_to(at, now)),
        };
        family.windows.iter().map(view).collect::<Vec<_>>()
    });
    of_family.collect()
}

/// A time as people and programs read it: whole seconds in UTC.
pub fn second(at: Timestamp) -> String {
    to_second(at).to_string()
}

fn seconds_to(at: Timestamp, now: Timestamp) -> u64 {
    Duration::try_from(at.duration_since(now)).unwrap_or_default().as_secs()
}

/// A percentage without a fraction; -1 when it is not known.
fn whole(left: Option<f64>) -> i64 {
    let text = left.map(|left| format!("{left:.0}"));
    text.and_then(|text| text.parse().ok()).unwrap_or(-1)
}

/// A length of time in its two largest units, such as `6d 23h`.
pub fn span_text(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, 0) => format!("{hours}h"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, 0, _) => format!("{days}d"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3661, "1h 1m"),
            (7200, "2h"),
            (90_000, "1d 1h"),
            (86_400, "1d"),
            (604_799, "6d 23h"),
        ] {
            assert_eq!(span_text(seconds), text);
        }
    }
}
