//! Usage windows as the upstream reports them: in the headers of an answer, in an event of its
//! stream, and at a route.
//!
//! The three say the same in different words: headers and events count a window in minutes, the
//! route in seconds, and each has names of its own.
//!
//! **Invariant:** nothing is guessed; what is missing or unreadable is absent.
//!
//! Not here: what a window means for the choice of an account (`slot`).

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use http::{HeaderMap, HeaderValue, Method, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;

use super::{
    Unsent, Upstream,
    failure::{Deadline, Failure, Fault},
    not_the_clients,
};
use crate::{
    credential::Credential,
    object::Object,
    slot::window::{Credits, Family, Limits, MAIN, Window},
    transport,
};

const SLOTS: [&str; 2] = ["primary", "secondary"];

/// The family of reviews of code, which the route tells apart from all others.
const CODE_REVIEW: &str = "code_review";
/// The limit of pictures, where an answer does not name it.
const IMAGES: &str = "imagegen";
/// Said of an account that may not go on, where the upstream says nothing closer.
const REACHED: &str = "rate_limit_reached";

/// Documents about an account are short.
const DOCUMENT_LIMIT: usize = 1 << 20;
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// What the headers of an answer say.
pub fn of_headers(headers: &HeaderMap, now: Timestamp) -> Limits {
    Limits {
        families: ids(headers).into_iter().filter_map(|id| family(headers, &id, now)).collect(),
        plan_type: text(headers, "x-codex-plan-type"),
        active: text(headers, "x-codex-active-limit").map(|id| id.replace('-', "_")),
        reached: text(headers, "x-codex-rate-limit-reached-type"),
        credits: credits(headers),
        resets_available: parsed(headers, "x-codex-rate-limit-reset-credits-available"),
    }
}

/// The same of an answer that was counted against the window of pictures, which stands there in the
/// place of the account's own. Of that one nothing is said.
pub fn as_images(limits: Limits) -> Limits {
    let Limits { families, active, plan_type, .. } = limits;
    let active = active.filter(|active| active != MAIN).unwrap_or_else(|| IMAGES.to_owned());
    let named = |mut family: Family| {
        family.id.clone_from(&active);
        family
    };
    let own = families.into_iter().find(|family| family.id == MAIN).map(named);
    let families = own.into_iter().collect();
    Limits { families, active: Some(active), plan_type, ..Limits::default() }
}

/// What the document of the usage route says. `None` when `body` is no object.
pub fn of_document(body: &[u8], now: Timestamp) -> Option<Limits> {
    let document = Object::read(body)?;
    let main = document.object("rate_limit");
    let review = document.object("code_review_rate_limit");
    let review = review.and_then(|limit| listed(&limit, CODE_REVIEW, None, now));
    let resets = document.object("rate_limit_reset_credits").and_then(|resets| {
        let applicable = resets.integer("applicable_available_count");
        applicable.or_else(|| resets.integer("available_count"))
    });
    Some(Limits {
        families: main
            .iter()
            .filter_map(|limit| listed(limit, MAIN, None, now))
            .chain(review)
            .chain(additional(&document, now))
            .collect(),
        plan_type: document.filled("plan_type"),
        active: None,
        reached: reached(&document, main.as_ref()),
        credits: credits_in(&document),
        resets_available: resets,
    })
}

/// What an event of a stream says. `None` when it is about anything else.
pub fn of_event(data: &[u8], now: Timestamp) -> Option<Limits> {
    let event = Object::read(data)?;
    if event.text("type")? != "codex.rate_limits" {
        return None;
    }
    let id = event.filled("metered_limit_name").or_else(|| event.filled("limit_name"));
    let id = id.map_or_else(|| MAIN.to_owned(), |id| normalised(&id));
    let limit = event.object("rate_limits");
    let windows = limit.as_ref().map(|limit| windows(limit, "", now)).unwrap_or_default();
    // The limit of a single model stops no account.
    let reached = reached(&event, limit.as_ref().filter(|_| id == MAIN));
    let family = (!windows.is_empty()).then_some(Family { id, name: None, windows });
    Some(Limits {
        families: family.into_iter().collect(),
        plan_type: event.filled("plan_type"),
        active: None,
        reached,
        credits: credits_in(&event),
        resets_available: None,
    })
}

/// What the usage route said.
#[derive(Debug)]
pub struct Told {
    pub limits: Limits,
    /// As it came.
    pub document: Box<RawValue>,
}

/// Asks the usage route once.
///
/// # Errors
///
/// When there is no answer in time, or it is no such document.
pub async fn fetch(upstream: &Upstream, credential: &Credential) -> Result<Told, Failure> {
    let request = upstream.request(Method::GET, &upstream.0.usage, credential)?;
    let read = |body: &[u8]| {
        let limits = of_document(body, upstream.0.clock.now())?;
        Some(Told { limits, document: serde_json::from_slice(body).ok()? })
    };
    document(upstream, request, "the usage", read).await
}

/// Sends a request of the relay's own and reads the short document that answers it; `what` names
/// it for people.
///
/// # Errors
///
/// When there is no answer in time, or `read` makes nothing of it.
pub(super) async fn document<T>(
    upstream: &Upstream,
    mut request: Unsent,
    what: &str,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, Failure> {
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let answer = async {
        let answer = upstream.send(request).await?;
        let status = answer.status().as_u16();
        let body = transport::read_at_most(answer.into_body(), DOCUMENT_LIMIT).await;
        let body = body.map_err(|error| Failure::Cut(error.into()))?;
        read(&body).ok_or_else(|| {
            let message = Some(format!("{what} cannot be read"));
            Failure::Service(Box::new(Fault { status: Some(status), message, ..Fault::default() }))
        })
    };
    tokio::time::timeout(DOCUMENT_TIMEOUT, answer)
        .await
        .unwrap_or(Err(Failure::Timeout(Deadline::Headers)))
        .map_err(not_the_clients)
}

/// A limit of the usage route, if it has windows.
fn listed(limit: &Object<'_>, id: &str, name: Option<String>, now: Timestamp) -> Option<Family> {
    let windows = windows(limit, "_window", now);
    (!windows.is_empty()).then(|| Family { id: id.to_owned(), name, windows })
}

/// The limits of single models and features. One odd entry hides no other.
fn additional(document: &Object<'_>, now: Timestamp) -> Vec<Family> {
    let entries = document.list("additional_rate_limits").unwrap_or_default();
    let read = |entry: &str| {
        let entry = Object::read(entry.as_bytes())?;
        let id = normalised(&entry.filled("metered_feature")?);
        listed(&entry.object("rate_limit")?, &id, entry.filled("limit_name"), now)
    };
    entries.iter().filter_map(|entry| read(entry.get())).collect()
}

/// The windows in `limit`, whose names there end with `suffix`.
fn windows(limit: &Object<'_>, suffix: &str, now: Timestamp) -> Vec<Window> {
    let written = SLOTS.iter().filter_map(|slot| limit.object(&format!("{slot}{suffix}")));
    written.filter_map(|window| window_in(&window, now)).collect()
}

fn window_in(window: &Object<'_>, now: Timestamp) -> Option<Window> {
    let whole = |name| u64::try_from(window.integer(name)?).ok();
    let minutes = whole("window_minutes")
        .or_else(|| Some(whole("limit_window_seconds")?.div_ceil(60)))
        .filter(|minutes| *minutes > 0);
    let used_percent: f64 = window.raw("used_percent")?.get().trim_matches('"').parse().ok()?;
    let at = window.integer("reset_at");
    let resets_at = moment(at, window.integer("reset_after_seconds"), now);
    saying(Window { used_percent, minutes, resets_at })
}

/// Why the account is stopped: in words, or because `limit` says that it is.
fn reached(told: &Object<'_>, limit: Option<&Object<'_>>) -> Option<String> {
    let stops = |limit: &Object<'_>| {
        limit.flag("limit_reached") == Some(true) || limit.flag("allowed") == Some(false)
    };
    reached_type(told).or_else(|| limit.is_some_and(stops).then(|| REACHED.to_owned()))
}

/// The same as the upstream says it: a word, or an object that has it.
pub(super) fn reached_type(told: &Object<'_>) -> Option<String> {
    const NAME: &str = "rate_limit_reached_type";
    told.filled(NAME).or_else(|| {
        let reason = told.object(NAME)?;
        reason.filled("type").or_else(|| reason.filled("kind"))
    })
}

fn credits_in(told: &Object<'_>) -> Option<Credits> {
    let credits = told.object("credits")?;
    Some(Credits {
        available: credits.flag("has_credits")?,
        unlimited: credits.flag("unlimited")?,
        balance: credits.filled("balance"),
    })
}

/// How a family is called, whichever way it is written.
fn normalised(id: &str) -> String {
    id.trim().to_ascii_lowercase().replace(['-', ' '], "_")
}

/// When a window resets: the moment if it is said, else so many seconds from now.
fn moment(at: Option<i64>, after: Option<i64>, now: Timestamp) -> Option<Timestamp> {
    at.and_then(|second| Timestamp::from_second(second).ok())
        .or_else(|| now.checked_add(SignedDuration::from_secs(after?)).ok())
}

/// `window`, unless it says nothing.
fn saying(window: Window) -> Option<Window> {
    let Window { used_percent, minutes, resets_at } = window;
    let is_empty = used_percent == 0.0 && minutes.is_none() && resets_at.is_none();
    (used_percent.is_finite() && !is_empty).then_some(window)
}

/// The families that any header names, in headers' spelling, the default first.
fn ids(headers: &HeaderMap) -> Vec<String> {
    let named = headers.keys().filter_map(|name| {
        let name = name.as_str().strip_prefix("x-")?.strip_suffix("-used-percent")?;
        SLOTS.iter().find_map(|slot| name.strip_suffix(slot)?.strip_suffix('-'))
    });
    let mut ids: Vec<_> = named.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect();
    ids.sort_by_key(|id| id != MAIN);
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
    saying(Window { used_percent, minutes, resets_at: moment(at, after, now) })
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
    use axum::{Router, routing::get};
    use http::{HeaderName, StatusCode};

    use super::*;
    use crate::{clock::Clock, credential::AccountId, secret::Secret, upstream::Settings};

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
    fn what_pictures_are_counted_against_stands_where_the_account_has_its_own() {
        let now = at(1_000);
        let read = |lines: &str| as_images(of_headers(&headers(lines), now));
        let limits = read(
            "c-active-limit: imagegen-premium
             c-plan-type: plus
             c-primary-used-percent: 40.5
             c-primary-window-minutes: 1440
             c-primary-reset-at: 2000
             c-credits-has-credits: True
             c-credits-unlimited: False
             c-bengalfox-primary-used-percent: 7.0",
        );
        let resets_at = Some(at(2_000));
        let window = Window { used_percent: 40.5, minutes: Some(1_440), resets_at };
        let id = "imagegen_premium".to_owned();
        let expected = Limits {
            families: vec![Family { id: id.clone(), name: None, windows: vec![window] }],
            plan_type: Some("plus".to_owned()),
            active: Some(id),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        let nameless = read("c-primary-used-percent: 1.0");
        assert_eq!(nameless.families[0].id, "imagegen");
        assert_eq!(read("x-other: 1").families, []);
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
        let limits = of_headers(&headers, at(1_000));
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
            resets_available: None,
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
            let limits = of_headers(&headers(lines), at(0));
            let found: usize = limits.families.iter().map(|family| family.windows.len()).sum();
            assert_eq!(found, n_windows, "{lines}");
        }
        assert_eq!(of_headers(&HeaderMap::new(), at(0)), Limits::default());
    }

    fn spent(used_percent: f64, minutes: u64, resets_at: i64) -> Window {
        Window { used_percent, minutes: Some(minutes), resets_at: Some(at(resets_at)) }
    }

    fn one(id: &str, name: Option<&str>, windows: &[Window]) -> Family {
        Family { id: id.to_owned(), name: name.map(str::to_owned), windows: windows.to_vec() }
    }

    #[test]
    fn every_part_of_a_full_document_is_read() {
        let body = br#"{"user_id":"user-1","email":"a@example.com","plan_type":"plus",
            "rate_limit":{"allowed":true,"limit_reached":false,
                "primary_window":{"used_percent":27,"limit_window_seconds":18000,
                    "reset_after_seconds":5,"reset_at":1782770922},
                "secondary_window":{"used_percent":4.5,"limit_window_seconds":604800,
                    "reset_after_seconds":60}},
            "code_review_rate_limit":{"primary_window":{"used_percent":1,
                "limit_window_seconds":604800,"reset_at":9000}},
            "additional_rate_limits":[
                7,null,{"metered_feature":"x"},{"rate_limit":{"primary_window":{"used_percent":3}}},
                {"limit_name":"GPT-5.3-Codex-Spark","metered_feature":"Codex-Bengalfox",
                 "rate_limit":{"primary_window":{"used_percent":2,"limit_window_seconds":86399,
                    "reset_at":9000},"secondary_window":null}}],
            "credits":{"has_credits":true,"unlimited":false,"balance":"12.5","new":[0,0]},
            "rate_limit_reached_type":{"type":"rate_limit_reached"},"promo":null,
            "rate_limit_reset_credits":{"available_count":3,"applicable_available_count":2}}"#;
        let balance = Some("12.5".to_owned());
        let expected = Limits {
            families: vec![
                one("codex", None, &[spent(27.0, 300, 1_782_770_922), spent(4.5, 10_080, 1_060)]),
                one("code_review", None, &[spent(1.0, 10_080, 9_000)]),
                one("codex_bengalfox", Some("GPT-5.3-Codex-Spark"), &[spent(2.0, 1_440, 9_000)]),
            ],
            plan_type: Some("plus".to_owned()),
            active: None,
            reached: Some("rate_limit_reached".to_owned()),
            credits: Some(Credits { available: true, unlimited: false, balance }),
            resets_available: Some(2),
        };
        assert_eq!(of_document(body, at(1_000)), Some(expected));
    }

    #[test]
    fn what_a_document_leaves_out_is_absent() {
        let bare = |used_percent, minutes| {
            let window = Window { used_percent, minutes, resets_at: None };
            Limits { families: vec![one("codex", None, &[window])], ..Limits::default() }
        };
        for (body, expected) in [
            ("{}", Limits::default()),
            (
                r#"{"plan_type":7,"rate_limit":null,"code_review_rate_limit":null,"credits":null,
                    "additional_rate_limits":null,"rate_limit_reached_type":null,
                    "rate_limit_reset_credits":null}"#,
                Limits::default(),
            ),
            (r#"{"rate_limit":{"primary_window":null}}"#, Limits::default()),
            (r#"{"rate_limit":{"primary_window":{"used_percent":0}}}"#, Limits::default()),
            (r#"{"rate_limit":{"primary_window":{"used_percent":"much"}}}"#, Limits::default()),
            (r#"{"rate_limit":{"primary_window":{"used_percent":1e999}}}"#, Limits::default()),
            (r#"{"rate_limit":{"primary_window":{"reset_at":9}}}"#, Limits::default()),
            (r#"{"rate_limit":{"secondary_window":{"used_percent":3}}}"#, bare(3.0, None)),
            (
                r#"{"rate_limit":{"primary_window":{"used_percent":0,"limit_window_seconds":18000,
                    "reset_at":null,"reset_after_seconds":null}}}"#,
                bare(0.0, Some(300)),
            ),
            (r#"{"credits":{"has_credits":true,"balance":"1"}}"#, Limits::default()),
            (
                r#"{"rate_limit_reset_credits":{"available_count":1}}"#,
                Limits { resets_available: Some(1), ..Limits::default() },
            ),
        ] {
            assert_eq!(of_document(body.as_bytes(), at(0)), Some(expected), "{body}");
        }
        for body in ["", "[]", "null", "7", "<html>"] {
            assert_eq!(of_document(body.as_bytes(), at(0)), None, "{body}");
        }
    }

    #[test]
    fn why_an_account_is_stopped_is_read_however_it_is_written() {
        for (body, expected) in [
            (r#"{"rate_limit_reached_type":"own"}"#, Some("own")),
            (r#"{"rate_limit_reached_type":{"type":"own"}}"#, Some("own")),
            (r#"{"rate_limit_reached_type":{"type":null,"kind":"own"}}"#, Some("own")),
            (r#"{"rate_limit_reached_type":"own","rate_limit":{"allowed":false}}"#, Some("own")),
            (r#"{"rate_limit_reached_type":{},"rate_limit":{"allowed":false}}"#, Some(REACHED)),
            (r#"{"rate_limit":{"allowed":true,"limit_reached":true}}"#, Some(REACHED)),
            (r#"{"rate_limit":{"allowed":true,"limit_reached":false}}"#, None),
            (r#"{"code_review_rate_limit":{"allowed":false}}"#, None),
        ] {
            let limits = of_document(body.as_bytes(), at(0)).expect("an object");
            assert_eq!(limits.reached.as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn an_event_tells_of_one_family() {
        let limits = |families: Vec<Family>, reached: Option<&str>| Limits {
            families,
            reached: reached.map(str::to_owned),
            ..Limits::default()
        };
        let window = r#"{"used_percent":12,"window_minutes":300,"reset_at":9000}"#;
        let windows = [spent(12.0, 300, 9_000)];
        for (rest, expected) in [
            (
                format!(r#""rate_limits":{{"allowed":true,"primary":{window},"secondary":null}}"#),
                limits(vec![one("codex", None, &windows)], None),
            ),
            (
                format!(r#""rate_limits":{{"limit_reached":true,"secondary":{window}}}"#),
                limits(vec![one("codex", None, &windows)], Some(REACHED)),
            ),
            (
                format!(
                    r#""metered_limit_name":"Codex-Bengalfox","limit_name":"Spark",
                        "rate_limits":{{"allowed":false,"primary":{window}}}"#
                ),
                limits(vec![one("codex_bengalfox", None, &windows)], None),
            ),
            (
                format!(r#""limit_name":"Image Gen","rate_limits":{{"primary":{window}}}"#),
                limits(vec![one("image_gen", None, &windows)], None),
            ),
            (r#""rate_limits":null"#.to_owned(), limits(Vec::new(), None)),
        ] {
            let data = format!(r#"{{"type":"codex.rate_limits",{rest}}}"#);
            assert_eq!(of_event(data.as_bytes(), at(0)), Some(expected), "{data}");
        }
        for data in ["", "[]", "{}", r#"{"type":"codex.keepalive","rate_limits":{}}"#] {
            assert_eq!(of_event(data.as_bytes(), at(0)), None, "{data}");
        }
    }

    fn upstream(base_url: &str, router: Router) -> Upstream {
        let settings = Settings {
            base_url: base_url.to_owned(),
            client_version: "0.156.1".to_owned(),
            user_agent: "airelays/test".to_owned(),
            headers_timeout: Duration::from_mins(2),
        };
        let clock = Clock::manual(at(1_000));
        Upstream::new(&settings, transport::local(router), clock).expect("settings")
    }

    async fn fetched(upstream: &Upstream) -> Result<Limits, String> {
        let credential = Credential {
            access: Secret::new("T0P"),
            account_id: AccountId::new("acct"),
            fedramp: false,
        };
        let told = fetch(upstream, &credential).await;
        told.map(|told| told.limits).map_err(|failure| failure.to_string())
    }

    #[tokio::test]
    async fn the_route_stands_beside_those_for_models() {
        let answer = async |headers: HeaderMap| {
            assert_eq!(headers["accept"], "application/json");
            assert_eq!(headers["authorization"], "Bearer T0P");
            assert_eq!(headers["chatgpt-account-id"], "acct");
            r#"{"rate_limit":{"primary_window":{"used_percent":1,"limit_window_seconds":18000,
                "reset_after_seconds":60}}}"#
        };
        let router = Router::new().route("/backend-api/wham/usage", get(answer));
        for base_url in ["https://up.example/backend-api/codex/", "https://up.example/backend-api"]
        {
            let limits = fetched(&upstream(base_url, router.clone())).await.expect("read");
            assert_eq!(limits.families, [one("codex", None, &[spent(1.0, 300, 1_060)])]);
        }
    }

    #[tokio::test]
    async fn no_client_is_to_blame_for_what_the_relay_asked() {
        for (status, body, expected) in [
            (200, "[]", "the upstream failed with status 200: the usage cannot be read"),
            (404, r#"{"detail":"Not Found"}"#, "the upstream failed with status 404: Not Found"),
            (401, "", "the upstream does not accept this account's token"),
            (
                429,
                r#"{"error":{"type":"rate_limit_error","code":"connector_rate_limit"}}"#,
                "the upstream asks to be asked less often",
            ),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let answer = async move || (status, body);
            let router = Router::new().route("/wham/usage", get(answer));
            let upstream = upstream("https://up.example/codex", router);
            assert_eq!(fetched(&upstream).await, Err(expected.to_owned()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_not_waited_for_long() {
        let answer = async || std::future::pending::<String>().await;
        let router = Router::new().route("/wham/usage", get(answer));
        let start = tokio::time::Instant::now();
        let heard = fetched(&upstream("https://up.example/codex", router)).await;
        assert_eq!(heard, Err("the upstream did not answer in time".to_owned()));
        assert_eq!(start.elapsed(), DOCUMENT_TIMEOUT);
    }
}
