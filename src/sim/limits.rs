//! Usage windows: as headers on every inference answer, as an event of its stream, and as
//! `wham/usage`.
//!
//! Headers and the event count windows in minutes, the route in seconds.

use serde_json::Value;

use crate::sim::{
    account::{Account, Trouble},
    answer::Answer,
    gauge::{Gauge, Gauges},
    script::{LIMIT_SECONDS, Limit},
    tree::{count, list, object},
    world::{Reached, UsageRoute, Windows, World},
};

const FIVE_HOURS: u64 = 5 * 3600;
const DAY: u64 = 24 * 3600;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;

/// The extra family: its id in headers, its id in JSON, and its name.
const EXTRA: (&str, &str, &str) = ("x-codex-bengalfox", "codex_bengalfox", "GPT-5.3-Codex-Spark");

/// What is used of an account at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter<'a> {
    pub(super) world: &'a World,
    pub(super) account: &'a Account,
    pub(super) gauges: Gauges,
    /// How many usage resets the account may spend.
    pub(super) resets: u64,
    /// The primary window counts as used up, whatever its gauge says.
    pub(super) is_spent: bool,
    /// Whole seconds since 1970.
    pub(super) now: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    used: u64,
    seconds: u64,
    resets_in: u64,
}

impl Window {
    fn is_used_up(self) -> bool {
        self.used >= 100
    }
}

impl Meter<'_> {
    /// The same with the primary window used up.
    pub(super) fn spent(self) -> Self {
        Self { is_spent: true, ..self }
    }

    /// Percent of the primary and the secondary window.
    fn used(&self) -> (u64, u64) {
        let Gauges { primary, secondary, .. } = self.gauges;
        let primary = primary.used.unwrap_or(self.world.primary_used);
        let primary = if self.is_spent { 100 } else { primary };
        (primary, secondary.used.unwrap_or(self.world.secondary_used))
    }

    /// Where no windows are reported, the primary one counts all the same.
    fn reached(&self) -> bool {
        let (_, secondary) = self.windows();
        self.used().0 >= 100 || secondary.is_some_and(Window::is_used_up)
    }

    /// How turns are refused that the windows have no room for.
    pub(super) fn limit(&self) -> Option<Limit> {
        let end =
            self.reported().filter(|window| window.is_used_up()).map(|window| window.resets_in);
        self.reached().then(|| end.max().map_or(Limit::Bare, Limit::Both))
    }

    /// Whether there is anything to reset.
    pub(super) fn is_used(&self) -> bool {
        self.reported().any(|window| window.used > 0)
    }

    /// How many windows are reported.
    pub(super) fn shown(&self) -> u64 {
        count(self.reported().count())
    }

    /// When the primary window resets, in whole seconds since 1970.
    pub(super) fn primary_end(&self) -> Option<i64> {
        self.windows().0.map(|window| self.reset_at(window))
    }

    fn reported(&self) -> impl Iterator<Item = Window> {
        let (primary, secondary) = self.windows();
        primary.into_iter().chain(secondary)
    }

    /// The primary and the secondary window.
    fn windows(&self) -> (Option<Window>, Option<Window>) {
        let window = |used, gauge: Gauge, seconds: u64| {
            let left = |at: i64| u64::try_from(at.saturating_sub(self.now)).unwrap_or_default();
            let resets_in = gauge.resets_at.map_or(seconds * 3 / 4, left);
            Some(Window { used, seconds, resets_in })
        };
        let (used, gauges) = (self.used(), self.gauges);
        let primary = |seconds| window(used.0, gauges.primary, seconds);
        let secondary = |seconds| window(used.1, gauges.secondary, seconds);
        match self.world.windows {
            Windows::Plan if self.account.plan == "free" => (primary(MONTH), None),
            Windows::Plan | Windows::FiveHoursAndWeek => (primary(FIVE_HOURS), secondary(WEEK)),
            Windows::Week => (primary(WEEK), None),
            Windows::Month => (primary(MONTH), None),
            Windows::None => (None, None),
        }
    }

    fn reset_at(&self, window: Window) -> i64 {
        self.now.saturating_add_unsigned(window.resets_in)
    }

    /// The whole set of limit headers.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let (primary, secondary) = self.windows();
        let mut headers = Vec::new();
        self.window_headers("x-codex-primary", primary, &mut headers);
        self.window_headers("x-codex-secondary", secondary, &mut headers);
        let mut set = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        set("x-codex-primary-over-secondary-limit-percent", "0");
        set("x-codex-plan-type", self.account.plan);
        set("x-codex-active-limit", "codex");
        set("x-codex-credits-has-credits", "False");
        set("x-codex-credits-unlimited", "False");
        set("x-codex-credits-balance", "");
        set("x-codex-promo-campaign-id", "");
        set("x-codex-promo-message", "");
        if self.reached() {
            set("x-codex-rate-limit-reached-type", "rate_limit_reached");
        }
        if let Some(window) = self.extra() {
            set(&format!("{}-limit-name", EXTRA.0), EXTRA.2);
            self.window_headers(&format!("{}-primary", EXTRA.0), Some(window), &mut headers);
        }
        headers
    }

    /// The same of an answer that counts against the extra family.
    pub(super) fn narrow_headers(&self) -> Vec<(String, String)> {
        let mut headers = self.headers();
        let active = headers.iter_mut().find(|(name, _)| name == "x-codex-active-limit");
        if let Some((_, active)) = active {
            EXTRA.0[2..].clone_into(active);
        }
        headers
    }

    /// The window of the extra family, where there is one.
    fn extra(&self) -> Option<Window> {
        let is_used_up = self.account.trouble == Trouble::Narrow;
        let (used, resets_in) = if is_used_up { (100, LIMIT_SECONDS) } else { (1, DAY) };
        let window = Window { used, seconds: WEEK, resets_in };
        (is_used_up || self.world.additional_limits).then_some(window)
    }

    fn window_headers(
        &self,
        prefix: &str,
        window: Option<Window>,
        headers: &mut Vec<(String, String)>,
    ) {
        let Some(window) = window else { return };
        let mut set = |name: &str, value: String| headers.push((format!("{prefix}-{name}"), value));
        set("used-percent", format!("{}.0", window.used));
        set("window-minutes", (window.seconds / 60).to_string());
        set("reset-at", self.reset_at(window).to_string());
        set("reset-after-seconds", window.resets_in.to_string());
    }

    /// The event `codex.rate_limits`.
    pub(super) fn event(&self) -> Value {
        let window = |window: Option<Window>| {
            window.map(|window| {
                object! {
                    "used_percent": window.used,
                    "window_minutes": window.seconds / 60,
                    "reset_at": self.reset_at(window),
                }
            })
        };
        let (primary, secondary) = self.windows();
        object! {
            "type": "codex.rate_limits",
            "plan_type": self.account.plan,
            "rate_limits": object! {
                "allowed": !self.reached(),
                "limit_reached": self.reached(),
                "primary": window(primary),
                "secondary": window(secondary),
            },
            "credits": object! {
                "has_credits": false,
                "unlimited": false,
                "balance": Value::Null,
            },
            "metered_limit_name": "codex",
        }
    }

    /// `GET /backend-api/wham/usage`.
    pub(super) fn usage_route(&self) -> Answer {
        match self.world.usage_route {
            UsageRoute::Ok => Answer::json(200, &self.usage()),
            UsageRoute::Nulls => Answer::json(200, &self.nulls()),
            UsageRoute::NotFound => Answer::detail(404, "Not Found"),
            UsageRoute::RateLimit => Answer::json(
                429,
                &object! {"error": object! {
                    "message": "Too many requests. Please try again later.",
                    "type": "rate_limit_error",
                    "param": Value::Null,
                    "code": "connector_rate_limit",
                }},
            ),
        }
    }

    fn usage(&self) -> Value {
        let (primary, secondary) = self.windows();
        object! {
            "user_id": self.account.user.as_str(),
            "account_id": self.account.id.as_str(),
            "email": self.account.email.as_str(),
            "plan_type": self.account.plan,
            "rate_limit": self.rate_limit(primary, secondary),
            "code_review_rate_limit": Value::Null,
            "additional_rate_limits": self.additional(),
            "credits": object! {
                "has_credits": false,
                "unlimited": false,
                "overage_limit_reached": false,
                "balance": "0",
                "approx_local_messages": list![0, 0],
                "approx_cloud_messages": list![0, 0],
            },
            "spend_control": object! {
                "reached": false,
                "reached_limit_type": Value::Null,
                "individual_limit": Value::Null,
                "group_default_limit": Value::Null,
                "workspace_default_limit": Value::Null,
                "role_budget_limit": Value::Null,
                "group_shared_limit": Value::Null,
                "workspace_shared_limit": Value::Null,
            },
            "model_usage": Value::Null,
            "rate_limit_reached_type": self.reached_type(),
            "promo": Value::Null,
            "rate_limit_reset_credits": object! {
                "available_count": self.resets,
                "applicable_available_count": self.resets,
            },
        }
    }

    fn nulls(&self) -> Value {
        let mut usage = self.usage();
        if let Some(map) = usage.as_object_mut() {
            let kept = ["user_id", "account_id", "email", "plan_type"];
            map.iter_mut()
                .filter(|(name, _)| !kept.contains(&name.as_str()))
                .for_each(|(_, value)| *value = Value::Null);
        }
        usage
    }

    fn rate_limit(&self, primary: Option<Window>, secondary: Option<Window>) -> Value {
        let window = |window: Option<Window>| {
            window.map(|window| {
                object! {
                    "used_percent": window.used,
                    "limit_window_seconds": window.seconds,
                    "reset_after_seconds": window.resets_in,
                    "reset_at": self.reset_at(window),
                }
            })
        };
        if primary.is_none() && secondary.is_none() {
            return Value::Null;
        }
        let spent = |window: Option<Window>| window.is_some_and(Window::is_used_up);
        let reached = spent(primary) || spent(secondary);
        object! {
            "allowed": !reached,
            "limit_reached": reached,
            "primary_window": window(primary),
            "secondary_window": window(secondary),
        }
    }

    fn additional(&self) -> Value {
        let Some(window) = self.extra() else { return Value::Null };
        list![object! {
            "limit_name": EXTRA.2,
            "metered_feature": EXTRA.1,
            "rate_limit": self.rate_limit(Some(window), None),
        }]
    }

    fn reached_type(&self) -> Value {
        let kind = "rate_limit_reached";
        if !self.reached() {
            return Value::Null;
        }
        match self.world.reached {
            Reached::Object => object! {"type": kind},
            Reached::Kind => object! {"kind": kind},
            Reached::Text => kind.into(),
            Reached::Null => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::account::Accounts;

    fn gauges(primary: u64, secondary: u64) -> Gauges {
        let gauge = |used| Gauge { used: Some(used), resets_at: None };
        Gauges { primary: gauge(primary), secondary: gauge(secondary), ..Gauges::default() }
    }

    fn meter<'a>(world: &'a World, account: &'a Account, gauges: Gauges) -> Meter<'a> {
        Meter { world, account, gauges, resets: 1, is_spent: false, now: 1_000_000 }
    }

    fn usage(pairs: &[(&str, &str)], name: &str, used: (u64, u64)) -> (Vec<String>, Value) {
        let world = World::from_pairs(pairs).expect("known");
        let account = Accounts::default().named(name);
        let meter = meter(&world, &account, gauges(used.0, used.1));
        let headers = meter.headers().into_iter().map(|(name, value)| format!("{name}: {value}"));
        (headers.collect(), meter.usage())
    }

    #[test]
    fn headers_and_route_tell_the_same_windows() {
        let (headers, usage) = usage(&[], "first", (27, 4));
        for line in [
            "x-codex-primary-used-percent: 27.0",
            "x-codex-primary-window-minutes: 300",
            "x-codex-primary-reset-at: 1013500",
            "x-codex-primary-reset-after-seconds: 13500",
            "x-codex-secondary-window-minutes: 10080",
            "x-codex-plan-type: plus",
            "x-codex-bengalfox-limit-name: GPT-5.3-Codex-Spark",
            "x-codex-bengalfox-primary-used-percent: 1.0",
        ] {
            assert!(headers.iter().any(|header| header == line), "{line}\n{headers:#?}");
        }
        assert_eq!(
            usage["rate_limit"].to_string(),
            r#"{"allowed":true,"limit_reached":false,"primary_window":{"used_percent":27,"limit_window_seconds":18000,"reset_after_seconds":13500,"reset_at":1013500},"secondary_window":{"used_percent":4,"limit_window_seconds":604800,"reset_after_seconds":453600,"reset_at":1453600}}"#
        );
        assert_eq!(usage["rate_limit_reached_type"], Value::Null);
    }

    #[test]
    fn windows_come_in_all_the_reported_ways() {
        let seconds = |pairs: &[(&str, &str)], name| {
            let limit = usage(pairs, name, (0, 0)).1["rate_limit"].clone();
            ["primary_window", "secondary_window"]
                .map(|window| limit[window]["limit_window_seconds"].as_u64())
        };
        assert_eq!(seconds(&[], "free"), [Some(MONTH), None]);
        assert_eq!(seconds(&[("windows", "week")], "first"), [Some(WEEK), None]);
        assert_eq!(seconds(&[("windows", "none")], "first"), [None, None]);
    }

    #[test]
    fn a_reached_limit_is_written_in_each_way() {
        let kinds = [
            ("object", r#"{"type":"rate_limit_reached"}"#),
            ("kind", r#"{"kind":"rate_limit_reached"}"#),
            ("text", r#""rate_limit_reached""#),
            ("null", "null"),
        ];
        for (value, expected) in kinds {
            let (headers, usage) = usage(&[("reached", value)], "first", (100, 4));
            assert_eq!(usage["rate_limit_reached_type"].to_string(), expected);
            assert_eq!(usage["rate_limit"]["allowed"], Value::Bool(false));
            assert!(
                headers.contains(&"x-codex-rate-limit-reached-type: rate_limit_reached".to_owned())
            );
        }
    }

    #[test]
    fn the_event_counts_windows_in_minutes() {
        let world = World::default();
        let account = Accounts::default().named("first");
        let mut gauges = gauges(27, 100);
        gauges.primary.resets_at = Some(1_000_060);
        assert_eq!(
            meter(&world, &account, gauges).event().to_string(),
            r#"{"type":"codex.rate_limits","plan_type":"plus","rate_limits":{"allowed":false,"limit_reached":true,"primary":{"used_percent":27,"window_minutes":300,"reset_at":1000060},"secondary":{"used_percent":100,"window_minutes":10080,"reset_at":1453600}},"credits":{"has_credits":false,"unlimited":false,"balance":null},"metered_limit_name":"codex"}"#
        );
    }

    #[test]
    fn a_limit_lasts_until_the_last_used_up_window_resets() {
        let account = Accounts::default().named("first");
        for (windows, used, expected) in [
            ("plan", (99, 99), None),
            ("plan", (100, 99), Some(Limit::Both(13_500))),
            ("plan", (100, 100), Some(Limit::Both(453_600))),
            ("week", (99, 100), None),
            ("none", (100, 0), Some(Limit::Bare)),
        ] {
            let world = World::from_pairs(&[("windows", windows)]).expect("known");
            let meter = meter(&world, &account, gauges(used.0, used.1));
            assert_eq!(meter.limit(), expected, "{windows} {used:?}");
        }
    }
}
