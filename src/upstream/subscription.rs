//! What is left of an account, as the programs tell it that AIRelays replaces: the document of the
//! usage route, with every field in its place and of its kind.
//!
//! **Invariant:** nothing is guessed; what is missing, empty or of another kind is `null`, and a
//! boolean is no number.
//!
//! Not here: what a choice makes of it (`slot::window`), asking (`upstream::usage`).

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::usage::reached_type;
use crate::{
    clock::to_second,
    object::Object,
    slot::window::{self, Reading, Span},
};

/// Where it comes from, in the words of that document.
const PATH: &str = "/backend-api/wham/usage";
const WEEK: i64 = 7 * 24 * 3_600;

/// The whole of it.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    object: &'static str,
    captured_at: String,
    source: Source,
    account: Account,
    rate_limits: RateLimits,
    credits: Option<Credits<'a>>,
    spend_control: Option<&'a RawValue>,
    rate_limit_reached_type: Option<String>,
    rate_limit_reset_credits: Option<Resets>,
    model_usage: Option<&'a RawValue>,
    /// As the upstream has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct Source {
    kind: &'static str,
    upstream_path: &'static str,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the document is what it is")]
struct Account {
    user_id: Option<String>,
    account_id: Option<String>,
    email: Option<String>,
    plan_type: Option<String>,
}

#[derive(Debug, Serialize)]
struct RateLimits {
    default: Option<Limit>,
    code_review: Option<Limit>,
    additional: Vec<Additional>,
    /// What pictures are counted against, as an answer last said it; the document has no word of it.
    image_generation: Option<Images>,
    /// The windows of the default limit by their length, whatever place they stand in.
    by_duration: ByDuration,
}

/// The window of pictures.
#[derive(Debug, Serialize)]
pub struct Images {
    limit_id: String,
    allowed: bool,
    limit_reached: bool,
    primary_window: Option<Window>,
    secondary_window: Option<Window>,
    observed_at: String,
    source: &'static str,
}

#[derive(Debug, Default, Serialize)]
struct ByDuration {
    five_hours: Option<Window>,
    day: Option<Window>,
    week: Option<Window>,
    month: Option<Window>,
    other: Option<Window>,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the document is what it is")]
struct Limit {
    allowed: Option<bool>,
    limit_reached: Option<bool>,
    primary_window: Option<Window>,
    secondary_window: Option<Window>,
}

#[derive(Debug, Serialize)]
struct Additional {
    limit_name: Option<String>,
    metered_feature: Option<String>,
    rate_limit: Option<Limit>,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the document is what it is")]
struct Window {
    used_percent: Option<f64>,
    /// 0 to 100, to the hundredth.
    remaining_percent: Option<f64>,
    window_seconds: Option<i64>,
    /// Rounded up.
    window_minutes: Option<i64>,
    window_label: Option<String>,
    reset_after_seconds: Option<i64>,
    /// Whole seconds since 1970.
    reset_at: Option<i64>,
    reset_at_iso: Option<String>,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the document is what it is")]
struct Credits<'a> {
    has_credits: Option<bool>,
    unlimited: Option<bool>,
    overage_limit_reached: Option<bool>,
    balance: Option<String>,
    approx_local_messages: Option<&'a RawValue>,
    approx_cloud_messages: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct Resets {
    available_count: Option<i64>,
    applicable_available_count: Option<i64>,
}

impl<'a> Status<'a> {
    /// What `document` says, which came at `captured_at`; with itself in the end if `is_raw`.
    /// `None` when it is no object.
    pub fn read(document: &'a RawValue, captured_at: Timestamp, is_raw: bool) -> Option<Self> {
        let told = Object::read(document.get().as_bytes())?;
        let main = told.object("rate_limit");
        Some(Self {
            object: "subscription_status",
            captured_at: iso(captured_at),
            source: Source { kind: "chatgpt_subscription", upstream_path: PATH },
            account: Account {
                user_id: told.filled("user_id"),
                account_id: told.filled("account_id"),
                email: told.filled("email"),
                plan_type: told.filled("plan_type"),
            },
            rate_limits: RateLimits {
                by_duration: main.as_ref().map(ByDuration::of).unwrap_or_default(),
                default: main.as_ref().map(Limit::of),
                code_review: told.object("code_review_rate_limit").as_ref().map(Limit::of),
                additional: additional(&told),
                image_generation: None,
            },
            credits: told.object("credits").as_ref().map(Credits::of),
            spend_control: told.raw("spend_control").filter(|value| begins(value, '{')),
            rate_limit_reached_type: reached_type(&told),
            rate_limit_reset_credits: told.object("rate_limit_reset_credits").map(|resets| {
                let count = |name| whole(&resets, name);
                Resets {
                    available_count: count("available_count"),
                    applicable_available_count: count("applicable_available_count"),
                }
            }),
            model_usage: told.raw("model_usage"),
            raw: is_raw.then_some(document),
        })
    }
}

impl Status<'_> {
    #[must_use]
    pub fn with_images(mut self, images: Option<Images>) -> Self {
        self.rate_limits.image_generation = images;
        self
    }
}

impl Images {
    /// What `reading` says of pictures at `now`; of a window that has reset since it says nothing.
    pub fn read(reading: &Reading, now: Timestamp) -> Option<Self> {
        let family = reading.limits.families.first()?;
        let is_known = |window: &&window::Window| window.resets_at.is_none_or(|at| now < at);
        let mut windows = family.windows.iter().filter(is_known);
        let is_reached = windows.clone().any(window::Window::is_used_up);
        let mut next = || windows.next().map(|window| Window::of_reading(*window, now));
        Some(Self {
            limit_id: family.id.clone(),
            allowed: !is_reached,
            limit_reached: is_reached,
            primary_window: next(),
            secondary_window: next(),
            observed_at: iso(reading.at),
            source: "image_response",
        })
    }
}

impl ByDuration {
    fn of(limit: &Object<'_>) -> Self {
        let mut all = Self::default();
        for name in ["primary_window", "secondary_window"] {
            let Some(window) = limit.object(name).as_ref().map(Window::of) else { continue };
            let minutes = window.window_minutes.and_then(|minutes| u64::try_from(minutes).ok());
            let place = match Span::of_minutes(minutes) {
                Span::FiveHours => &mut all.five_hours,
                Span::Day => &mut all.day,
                Span::Week => &mut all.week,
                Span::Month => &mut all.month,
                Span::Other => &mut all.other,
            };
            place.get_or_insert(window);
        }
        all
    }
}

impl Limit {
    fn of(limit: &Object<'_>) -> Self {
        let window = |name| limit.object(name).as_ref().map(Window::of);
        Self {
            allowed: limit.flag("allowed"),
            limit_reached: limit.flag("limit_reached"),
            primary_window: window("primary_window"),
            secondary_window: window("secondary_window"),
        }
    }
}

impl Window {
    fn of(window: &Object<'_>) -> Self {
        Self::new(
            number(window, "used_percent"),
            whole(window, "limit_window_seconds").filter(|seconds| *seconds > 0),
            whole(window, "reset_at"),
            whole(window, "reset_after_seconds"),
        )
    }

    /// What was read, as the document would have it at `now`.
    fn of_reading(window: window::Window, now: Timestamp) -> Self {
        let seconds =
            window.minutes.and_then(|minutes| i64::try_from(minutes).ok()?.checked_mul(60));
        let after = window.resets_at.map(|at| at.duration_since(now).as_secs());
        let at = window.resets_at.map(Timestamp::as_second);
        Self::new(Some(window.used_percent), seconds, at, after)
    }

    fn new(
        used_percent: Option<f64>,
        seconds: Option<i64>,
        reset_at: Option<i64>,
        reset_after_seconds: Option<i64>,
    ) -> Self {
        let remaining = |used: f64| ((100.0 - used).clamp(0.0, 100.0) * 100.0).round() / 100.0;
        let at = reset_at.and_then(|second| Timestamp::from_second(second).ok());
        Self {
            used_percent,
            remaining_percent: used_percent.map(remaining),
            window_seconds: seconds,
            window_minutes: seconds.map(|seconds| seconds / 60 + i64::from(seconds % 60 > 0)),
            window_label: seconds.map(label),
            reset_after_seconds,
            reset_at,
            reset_at_iso: at.map(iso),
        }
    }
}

impl<'a> Credits<'a> {
    fn of(credits: &Object<'a>) -> Self {
        let list = |name| credits.raw(name).filter(|value| begins(value, '['));
        Self {
            has_credits: credits.flag("has_credits"),
            unlimited: credits.flag("unlimited"),
            overage_limit_reached: credits.flag("overage_limit_reached"),
            balance: credits.filled("balance"),
            approx_local_messages: list("approx_local_messages"),
            approx_cloud_messages: list("approx_cloud_messages"),
        }
    }
}

/// One odd entry hides no other.
fn additional(told: &Object<'_>) -> Vec<Additional> {
    let entries = told.list("additional_rate_limits").unwrap_or_default();
    let read = |entry: &&RawValue| {
        let entry = Object::read(entry.get().as_bytes())?;
        Some(Additional {
            limit_name: entry.filled("limit_name"),
            metered_feature: entry.filled("metered_feature"),
            rate_limit: entry.object("rate_limit").as_ref().map(Limit::of),
        })
    };
    entries.iter().filter_map(read).collect()
}

/// A number that is written as one.
fn number(object: &Object<'_>, name: &str) -> Option<f64> {
    serde_json::from_str(object.raw(name)?.get()).ok()
}

/// The same, without a fraction.
fn whole(object: &Object<'_>, name: &str) -> Option<i64> {
    serde_json::from_str(object.raw(name)?.get()).ok()
}

fn begins(value: &RawValue, with: char) -> bool {
    value.get().starts_with(with)
}

/// To the second: `2026-11-29T09:00:00Z`.
fn iso(at: Timestamp) -> String {
    to_second(at).to_string()
}

/// Such as `5h` or `weekly`.
fn label(seconds: i64) -> String {
    match seconds {
        WEEK => "weekly".to_owned(),
        seconds if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        seconds if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn told(document: &str, is_raw: bool) -> String {
        let document: Box<RawValue> = serde_json::from_str(document).expect("JSON");
        let at = Timestamp::from_millisecond(1_790_000_000_123).expect("a time");
        let status = Status::read(&document, at, is_raw);
        let written = serde_json::to_string(&status).expect("written");
        let Some(fields) = Object::read(written.as_bytes()) else { return written };
        let lines = fields.fields().map(|(name, value)| format!("{name}: {value}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_field_is_in_its_place() {
        let document = r#"{
            "user_id": "user-1", "account_id": "a", "email": "me@example.com", "plan_type": "plus",
            "rate_limit": {"allowed": true, "limit_reached": false,
                "primary_window": {"used_percent": 27.5, "limit_window_seconds": 604800,
                    "reset_after_seconds": 100, "reset_at": 1790000100},
                "secondary_window": {"used_percent": 140, "limit_window_seconds": 17990,
                    "reset_after_seconds": 5, "reset_at": 1790000005}},
            "code_review_rate_limit": null,
            "additional_rate_limits": [7, {"limit_name": "Spark", "metered_feature": "bengalfox",
                "rate_limit": {"allowed": true, "primary_window": null}}],
            "credits": {"has_credits": true, "unlimited": false, "balance": "9.99",
                "approx_local_messages": [1, 2], "approx_cloud_messages": 3},
            "spend_control": {"reached": false},
            "rate_limit_reached_type": {"kind": "rate_limit_reached"},
            "rate_limit_reset_credits": {"available_count": 2, "applicable_available_count": 1.5}
        }"#;
        expect![[r#"
            object: "subscription_status"
            captured_at: "2026-09-21T14:13:20Z"
            source: {"kind":"chatgpt_subscription","upstream_path":"/backend-api/wham/usage"}
            account: {"user_id":"user-1","account_id":"a","email":"me@example.com","plan_type":"plus"}
            rate_limits: {"default":{"allowed":true,"limit_reached":false,"primary_window":{"used_percent":27.5,"remaining_percent":72.5,"window_seconds":604800,"window_minutes":10080,"window_label":"weekly","reset_after_seconds":100,"reset_at":1790000100,"reset_at_iso":"2026-09-21T14:15:00Z"},"secondary_window":{"used_percent":140.0,"remaining_percent":0.0,"window_seconds":17990,"window_minutes":300,"window_label":"17990s","reset_after_seconds":5,"reset_at":1790000005,"reset_at_iso":"2026-09-21T14:13:25Z"}},"code_review":null,"additional":[{"limit_name":"Spark","metered_feature":"bengalfox","rate_limit":{"allowed":true,"limit_reached":null,"primary_window":null,"secondary_window":null}}],"image_generation":null,"by_duration":{"five_hours":{"used_percent":140.0,"remaining_percent":0.0,"window_seconds":17990,"window_minutes":300,"window_label":"17990s","reset_after_seconds":5,"reset_at":1790000005,"reset_at_iso":"2026-09-21T14:13:25Z"},"day":null,"week":{"used_percent":27.5,"remaining_percent":72.5,"window_seconds":604800,"window_minutes":10080,"window_label":"weekly","reset_after_seconds":100,"reset_at":1790000100,"reset_at_iso":"2026-09-21T14:15:00Z"},"month":null,"other":null}}
            credits: {"has_credits":true,"unlimited":false,"overage_limit_reached":null,"balance":"9.99","approx_local_messages":[1, 2],"approx_cloud_messages":null}
            spend_control: {"reached": false}
            rate_limit_reached_type: "rate_limit_reached"
            rate_limit_reset_credits: {"available_count":2,"applicable_available_count":null}
            model_usage: null"#]]
        .assert_eq(&told(document, false));
    }

    #[test]
    fn what_is_odd_is_null_and_nothing_is_guessed() {
        let document = r#"{"plan_type": "", "email": 7, "user_id": true, "rate_limit": {"allowed":
            "yes", "primary_window": {"used_percent": "27", "limit_window_seconds": true,
            "reset_at": 1e300, "reset_after_seconds": -1}, "secondary_window": []},
            "additional_rate_limits": {}, "credits": [], "spend_control": "none"}"#;
        expect![[r#"
            object: "subscription_status"
            captured_at: "2026-09-21T14:13:20Z"
            source: {"kind":"chatgpt_subscription","upstream_path":"/backend-api/wham/usage"}
            account: {"user_id":null,"account_id":null,"email":null,"plan_type":null}
            rate_limits: {"default":{"allowed":null,"limit_reached":null,"primary_window":{"used_percent":null,"remaining_percent":null,"window_seconds":null,"window_minutes":null,"window_label":null,"reset_after_seconds":-1,"reset_at":null,"reset_at_iso":null},"secondary_window":null},"code_review":null,"additional":[],"image_generation":null,"by_duration":{"five_hours":null,"day":null,"week":null,"month":null,"other":{"used_percent":null,"remaining_percent":null,"window_seconds":null,"window_minutes":null,"window_label":null,"reset_after_seconds":-1,"reset_at":null,"reset_at_iso":null}}}
            credits: null
            spend_control: null
            rate_limit_reached_type: null
            rate_limit_reset_credits: null
            model_usage: null
            raw: {"plan_type": "", "email": 7, "user_id": true, "rate_limit": {"allowed":
                        "yes", "primary_window": {"used_percent": "27", "limit_window_seconds": true,
                        "reset_at": 1e300, "reset_after_seconds": -1}, "secondary_window": []},
                        "additional_rate_limits": {}, "credits": [], "spend_control": "none"}"#]].assert_eq(&told(document, true));
        assert_eq!(told("[]", true), "null");
    }

    #[test]
    fn pictures_are_told_as_an_answer_last_said_it() {
        #[expect(clippy::disallowed_methods, reason = "any moment will do")]
        let asked_at = std::time::Instant::now();
        let at = |second| Timestamp::from_second(second).expect("a time");
        let told = |used_percent, now| {
            let window =
                window::Window { used_percent, minutes: Some(1_440), resets_at: Some(at(2_000)) };
            let id = "imagegen_premium".to_owned();
            let families = vec![window::Family { id, name: None, windows: vec![window] }];
            let limits = window::Limits { families, ..window::Limits::default() };
            let source = window::Source::Answer;
            let reading = Reading { limits, source, asked_at, at: at(1_000) };
            serde_json::to_string(&Images::read(&reading, at(now))).expect("written")
        };
        expect![[r#"{"limit_id":"imagegen_premium","allowed":true,"limit_reached":false,"primary_window":{"used_percent":37.5,"remaining_percent":62.5,"window_seconds":86400,"window_minutes":1440,"window_label":"1d","reset_after_seconds":600,"reset_at":2000,"reset_at_iso":"1970-01-01T00:33:20Z"},"secondary_window":null,"observed_at":"1970-01-01T00:16:40Z","source":"image_response"}"#]].assert_eq(&told(37.5, 1_400));
        expect![[r#"{"limit_id":"imagegen_premium","allowed":false,"limit_reached":true,"primary_window":{"used_percent":100.0,"remaining_percent":0.0,"window_seconds":86400,"window_minutes":1440,"window_label":"1d","reset_after_seconds":600,"reset_at":2000,"reset_at_iso":"1970-01-01T00:33:20Z"},"secondary_window":null,"observed_at":"1970-01-01T00:16:40Z","source":"image_response"}"#]].assert_eq(&told(100.0, 1_400));
        // It has reset since, and what it was says nothing any more.
        expect![[r#"{"limit_id":"imagegen_premium","allowed":true,"limit_reached":false,"primary_window":null,"secondary_window":null,"observed_at":"1970-01-01T00:16:40Z","source":"image_response"}"#]].assert_eq(&told(100.0, 2_000));
    }

    #[test]
    fn windows_are_named_by_their_length() {
        for (seconds, expected) in [
            (WEEK, "weekly"),
            (2 * WEEK, "14d"),
            (86_400, "1d"),
            (18_000, "5h"),
            (5_400, "90m"),
            (61, "61s"),
        ] {
            assert_eq!(label(seconds), expected);
        }
    }
}
