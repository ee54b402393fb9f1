//! Usage windows as the headers of an answer report them.
//!
//! Where a window is written says nothing about how long it is: a plan may report its week alone,
//! in the place where others have their five hours. Windows are therefore known by their length.
//!
//! **Invariant:** nothing is guessed; what is missing or unreadable is absent.
//!
//! Not here: the usage endpoint, which has its own shape; which account to use (`slot`).

use std::{collections::BTreeSet, str::FromStr};

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

const DEFAULT: &str = "codex";
const SLOTS: [&str; 2] = ["primary", "secondary"];

/// What one answer says about an account's limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The account's own limit first, then those of single models or features.
    pub families: Vec<Family>,
    pub plan_type: Option<String>,
    /// The family that this request counted against.
    pub active: Option<String>,
    /// Why the account is stopped, such as `workspace_member_usage_limit_reached`.
    pub reached: Option<String>,
    pub credits: Option<Credits>,
}

/// The windows of one limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Lower case with underscores, such as `codex_bengalfox`.
    pub id: String,
    /// What the upstream calls it.
    pub name: Option<String>,
    pub windows: Vec<Window>,
}

/// How much of a stretch of time is used up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub used_percent: f64,
    pub minutes: Option<u64>,
    pub resets_at: Option<Timestamp>,
}

/// The lengths that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    FiveHours,
    Day,
    Week,
    Month,
    Other,
}

/// What was bought beyond the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credits {
    pub available: bool,
    pub unlimited: bool,
    pub balance: Option<String>,
}

impl Limits {
    pub fn read(headers: &HeaderMap, now: Timestamp) -> Self {
        Self {
            families: ids(headers).into_iter().filter_map(|id| family(headers, &id, now)).collect(),
            plan_type: text(headers, "x-codex-plan-type"),
            active: text(headers, "x-codex-active-limit").map(|id| id.replace('-', "_")),
            reached: text(headers, "x-codex-rate-limit-reached-type"),
            credits: credits(headers),
        }
    }

    /// When the last used-up window of the limit that applied resets. `None` when none is used up,
    /// or it is not said when.
    pub fn exhausted_until(&self) -> Option<Timestamp> {
        let active = |family: &&Family| Some(&family.id) == self.active.as_ref();
        let family = self.families.iter().find(active);
        let family = family.or_else(|| self.families.iter().find(|family| family.id == DEFAULT))?;
        family.windows.iter().filter(|window| window.is_used_up()).filter_map(|w| w.resets_at).max()
    }
}

impl Window {
    #[cfg_attr(not(test), expect(dead_code, reason = "for choosing among slots"))]
    pub fn span(&self) -> Span {
        match self.minutes {
            Some(240..=360) => Span::FiveHours,
            Some(1_380..=1_500) => Span::Day,
            Some(9_000..=11_000) => Span::Week,
            Some(40_000..=45_000) => Span::Month,
            Some(_) | None => Span::Other,
        }
    }

    pub fn is_used_up(&self) -> bool {
        self.used_percent >= 100.0
    }
}

/// The families that any header names, in headers' spelling, the default first.
fn ids(headers: &HeaderMap) -> Vec<String> {
    let named = headers.keys().filter_map(|name| {
        let name = name.as_str().strip_prefix("x-")?.strip_suffix("-used-percent")?;
        SLOTS.iter().find_map(|slot| name.strip_suffix(slot)?.strip_suffix('-'))
    });
    let mut ids: Vec<_> = named.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect();
    ids.sort_by_key(|id| id != DEFAULT);
    ids
}

fn family(headers: &HeaderMap, id: &str, now: Timestamp) -> Option<Family> {
    let windows: Vec<_> =
        SLOTS.iter().filter_map(|slot| window(headers, &format!("x-{id}-{slot}"), now)).collect();
    let name = text(headers, &format!("x-{id}-limit-name"));
    (!windows.is_empty()).then(|| Family { id: id.replace('-', "_"), name, windows })
}

fn window(headers: &HeaderMap, prefix: &str, now: Timestamp) -> Option<Window> {
    let used_percent: f64 = parsed(headers, &format!("{prefix}-used-percent"))?;
    let minutes = parsed(headers, &format!("{prefix}-window-minutes"));
    let at = parsed(headers, &format!("{prefix}-reset-at"));
    let after = parsed(headers, &format!("{prefix}-reset-after-seconds"));
    let resets_at = at
        .and_then(|second| Timestamp::from_second(second).ok())
        .or_else(|| now.checked_add(SignedDuration::from_secs(after?)).ok());
    let says_nothing = used_percent == 0.0 && minutes.is_none() && resets_at.is_none();
    (used_percent.is_finite() && !says_nothing).then_some(Window {
        used_percent,
        minutes,
        resets_at,
    })
}

fn credits(headers: &HeaderMap) -> Option<Credits> {
    let flag = |name| match text(headers, name)?.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    };
    Some(Credits {
        available: flag("x-codex-credits-has-credits")?,
        unlimited: flag("x-codex-credits-unlimited")?,
        balance: text(headers, "x-codex-credits-balance"),
    })
}

fn parsed<T: FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    text(headers, name)?.parse().ok()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// Headers from `name: value` lines; `c-` stands for `x-codex-`.
    fn headers(lines: &str) -> HeaderMap {
        let pairs = lines.split('\n').filter_map(|line| line.trim().split_once(':'));
        pairs
            .map(|(name, value)| {
                let name =
                    name.strip_prefix("c-").map_or(name.to_owned(), |n| format!("x-codex-{n}"));
                (
                    HeaderName::try_from(name).expect("a name"),
                    HeaderValue::from_str(value.trim()).expect("a value"),
                )
            })
            .collect()
    }

    #[test]
    fn every_header_of_a_full_answer_is_read() {
        let headers = headers(
            "c-bengalfox-primary-used-percent: 1
             c-bengalfox-limit-name: GPT-5.3-Codex-Spark
             c-primary-used-percent: 37.5
             c-primary-window-minutes: 300
             c-primary-reset-at: 1790000000
             c-primary-reset-after-seconds: 5
             c-secondary-used-percent: 100
             c-secondary-window-minutes: 10080
             c-secondary-reset-after-seconds: 60
             c-primary-over-secondary-limit-percent: 3
             c-plan-type: plus
             c-active-limit: codex
             c-credits-has-credits: True
             c-credits-unlimited: 0
             c-credits-balance:
             c-rate-limit-reached-type: rate_limit_reached",
        );
        let limits = Limits::read(&headers, at(1_000));
        let expected = Limits {
            families: vec![
                Family {
                    id: "codex".to_owned(),
                    name: None,
                    windows: vec![
                        Window {
                            used_percent: 37.5,
                            minutes: Some(300),
                            resets_at: Some(at(1_790_000_000)),
                        },
                        Window {
                            used_percent: 100.0,
                            minutes: Some(10_080),
                            resets_at: Some(at(1_060)),
                        },
                    ],
                },
                Family {
                    id: "codex_bengalfox".to_owned(),
                    name: Some("GPT-5.3-Codex-Spark".to_owned()),
                    windows: vec![Window { used_percent: 1.0, minutes: None, resets_at: None }],
                },
            ],
            plan_type: Some("plus".to_owned()),
            active: Some("codex".to_owned()),
            reached: Some("rate_limit_reached".to_owned()),
            credits: Some(Credits { available: true, unlimited: false, balance: None }),
        };
        assert_eq!(limits, expected);
        assert_eq!(limits.exhausted_until(), Some(at(1_060)));
    }

    #[test]
    fn a_window_that_says_nothing_is_absent() {
        for (lines, n_windows) in [
            ("c-primary-used-percent: 0", 0),
            ("c-primary-used-percent: ", 0),
            ("c-primary-used-percent: NaN\nc-primary-window-minutes: 300", 0),
            ("c-primary-used-percent: many\nc-primary-window-minutes: 300", 0),
            ("c-primary-window-minutes: 300", 0),
            ("c-primary-used-percent: 0\nc-primary-window-minutes: 300", 1),
            ("c-primary-used-percent: 0\nc-primary-reset-at: 9", 1),
            ("c-primary-used-percent: 3", 1),
            ("c-secondary-used-percent: 3", 1),
        ] {
            let limits = Limits::read(&headers(lines), at(0));
            let found: usize = limits.families.iter().map(|family| family.windows.len()).sum();
            assert_eq!(found, n_windows, "{lines}");
        }
        assert_eq!(Limits::read(&HeaderMap::new(), at(0)), Limits::default());
    }

    #[test]
    fn a_window_is_known_by_its_length() {
        for (minutes, span) in [
            (300, Span::FiveHours),
            (299, Span::FiveHours),
            (1_440, Span::Day),
            (10_080, Span::Week),
            (43_200, Span::Month),
            (60, Span::Other),
        ] {
            let window = Window { used_percent: 1.0, minutes: Some(minutes), resets_at: None };
            assert_eq!(window.span(), span, "{minutes}");
        }
    }
}
