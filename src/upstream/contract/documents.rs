//! The list of models, the document about usage, and the headers of an answer.

use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{Assumption, Contract, is_to_come, word};
use crate::{
    object::Object,
    slot::window::Span,
    transport::Heard,
    upstream::{catalogue::Models, usage},
    wire::model::EFFORTS,
};

/// What a value is by how it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    List,
    Object,
}

impl Kind {
    fn of(raw: &RawValue) -> Option<Self> {
        match raw.get().bytes().next()? {
            b'"' => Some(Self::Text),
            b'-' | b'0'..=b'9' => Some(Self::Number),
            b't' | b'f' => Some(Self::Flag),
            b'[' => Some(Self::List),
            b'{' => Some(Self::Object),
            _ => None,
        }
    }
}

const SUPPORTS: [&str; 4] = [
    "supports_parallel_tool_calls",
    "support_verbosity",
    "supports_reasoning_summaries",
    "supports_image_detail_original",
];

/// Entries of the list, which is looked at field by field.
struct Entries<'a>(Vec<Object<'a>>);

impl Entries<'_> {
    /// Which of them are not as `is_so` wants them.
    fn unlike(&self, is_so: impl Fn(&Object<'_>) -> bool) -> Option<String> {
        let wrong: Vec<_> = self.0.iter().filter(|entry| !is_so(entry)).collect();
        let first = wrong.first()?;
        let named = match first.filled("slug") {
            Some(slug) => word(&slug),
            None => "one without a name".to_owned(),
        };
        Some(format!("not so in {} of {} models, such as {named}", wrong.len(), self.0.len()))
    }

    /// The same of a field that every entry is to have, or that may be absent.
    fn not_of(&self, name: &str, kind: Kind, need: Need) -> Option<String> {
        self.unlike(|entry| match (entry.raw(name), need) {
            (Some(value), _) => Kind::of(value) == Some(kind),
            (None, need) => need == Need::MayLack,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Has,
    MayLack,
}

/// Every effort of an entry, as far as it can be read; `None` where the list is another.
fn efforts(entry: &Object<'_>) -> Option<Vec<String>> {
    named(entry, "supported_reasoning_levels", "effort")
}

/// The text `name` of every object in `list`; `None` where one has none.
fn named(entry: &Object<'_>, list: &str, name: &str) -> Option<Vec<String>> {
    let of = |item: &&RawValue| Object::read(item.get().as_bytes())?.filled(name);
    entry.list(list)?.iter().map(of).collect()
}

fn are_words(entry: &Object<'_>, name: &str) -> bool {
    let is_text = |item: &&RawValue| Kind::of(item) == Some(Kind::Text);
    match entry.raw(name) {
        None => true,
        Some(_) => entry.list(name).is_some_and(|items| items.iter().all(is_text)),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/json"))
}

/// What `Content-Type` says, for a finding.
pub(super) fn type_of(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
    match kind {
        None => "there is no `Content-Type`".to_owned(),
        Some(kind) => format!("it is {}", word(&kind.replace('/', "_")).replace('_', "/")),
    }
}

impl Contract {
    pub(super) fn models(&mut self, heard: &Heard) {
        self.look(Assumption::ModelsType, is_json(&heard.headers), || type_of(&heard.headers));
        let has_etag = heard.headers.contains_key(header::ETAG);
        self.look(Assumption::ModelsEtag, has_etag, || "it has none".to_owned());
        let document = Object::read(&heard.body);
        let listed = document.as_ref().and_then(|document| document.list("models"));
        let listed = match listed {
            None => return self.broken(Assumption::ModelsList, "there is no such list"),
            Some(listed) if listed.is_empty() => {
                return self.broken(Assumption::ModelsList, "it is empty");
            }
            Some(listed) => listed,
        };
        self.held(Assumption::ModelsList);
        let objects: Vec<_> =
            listed.iter().filter_map(|raw| Object::read(raw.get().as_bytes())).collect();
        let n_odd = listed.len() - objects.len();
        if n_odd > 0 {
            self.broken(Assumption::ModelsSlug, format!("{n_odd} are no objects"));
        }
        self.entries(&Entries(objects));
        let unread = Models::read(&heard.body, None).map_or(Vec::new(), |models| models.entries);
        let n_partial = unread.iter().filter(|model| !model.is_whole).count();
        let is_whole = n_partial == 0 && unread.len() == listed.len();
        self.look(Assumption::ModelsWhole, is_whole, || {
            format!(
                "not so in {} of {} models",
                listed.len() - unread.len() + n_partial,
                listed.len()
            )
        });
    }

    fn entries(&mut self, entries: &Entries<'_>) {
        use Kind::{Flag, Number, Text};
        use Need::{Has, MayLack};
        let known = |efforts: Vec<String>| {
            efforts.into_iter().find(|effort| !EFFORTS.contains(&effort.as_str()))
        };
        let is_default_listed = |entry: &Object<'_>| {
            let (default, efforts) = (entry.filled("default_reasoning_level"), efforts(entry));
            default.is_none_or(|default| efforts.is_none_or(|all| all.contains(&default)))
        };
        let is_visibility = |entry: &Object<'_>| {
            let visibility = entry.filled("visibility").unwrap_or_default();
            matches!(visibility.as_str(), "list" | "hide" | "none")
        };
        let new_effort = entries.0.iter().filter_map(efforts).find_map(known);
        let odd = |name: &'static str| {
            move |entry: &Object<'_>| entry.raw(name).is_none_or(|raw| Kind::of(raw) == Some(Flag))
        };
        for (assumption, unlike) in [
            (Assumption::ModelsSlug, entries.not_of("slug", Text, Has)),
            (Assumption::ModelsName, entries.not_of("display_name", Text, Has)),
            (Assumption::ModelsVisibility, entries.unlike(is_visibility)),
            (Assumption::ModelsPriority, entries.not_of("priority", Number, Has)),
            (Assumption::ModelsContext, entries.not_of("context_window", Number, Has)),
            (Assumption::ModelsEfforts, entries.unlike(|entry| efforts(entry).is_some())),
            (
                Assumption::ModelsKnownEfforts,
                new_effort.map(|new| format!("{} is new", word(&new))),
            ),
            (Assumption::ModelsDefaultEffort, entries.unlike(is_default_listed)),
            (Assumption::ModelsModalities, entries.unlike(|it| are_words(it, "input_modalities"))),
            (
                Assumption::ModelsTiers,
                entries.unlike(|entry| {
                    entry.raw("service_tiers").is_none()
                        || named(entry, "service_tiers", "id").is_some()
                }),
            ),
            (Assumption::ModelsPlans, entries.unlike(|it| are_words(it, "available_in_plans"))),
            (
                Assumption::ModelsSupports,
                SUPPORTS.iter().find_map(|name| entries.unlike(odd(name))),
            ),
        ] {
            self.look(assumption, unlike.is_none(), || unlike.unwrap_or_default());
        }
        let max = entries.not_of("max_context_window", Number, MayLack);
        if let Some(unlike) = max {
            self.broken(Assumption::ModelsContext, format!("`max_context_window`: {unlike}"));
        }
    }

    pub(super) fn usage(&mut self, heard: &Heard) {
        let Some(document) = Object::read(&heard.body) else {
            return self.broken(Assumption::UsageDocument, "it is none");
        };
        self.held(Assumption::UsageDocument);
        let has_plan = document.filled("plan_type").is_some();
        self.look(Assumption::UsagePlan, has_plan, || "it is none".to_owned());
        if let Some(limit) = document.object("rate_limit") {
            self.limit(&limit, heard.at);
            let says = limit.flag("allowed").or_else(|| limit.flag("limit_reached")).is_some();
            let neither = || "neither `allowed` nor `limit_reached` is there".to_owned();
            self.look(Assumption::UsageAllowed, says, neither);
        } else if document.raw("rate_limit").is_some() {
            self.broken(Assumption::UsageWindows, "`rate_limit` is no object");
        }
        if document.raw("rate_limit_reached_type").is_some() {
            let is_read = usage::reached_type(&document).is_some();
            self.look(Assumption::UsageReached, is_read, || "it is something else".to_owned());
        }
        self.extras(&document, heard.at);
    }

    fn extras(&mut self, document: &Object<'_>, now: Timestamp) {
        if let Some(raw) = document.raw("additional_rate_limits") {
            let entries = document.list("additional_rate_limits").unwrap_or_default();
            let is_list = Kind::of(raw) == Some(Kind::List);
            let is_read = |entry: &&RawValue| {
                let entry = Object::read(entry.get().as_bytes());
                entry.is_some_and(|entry| {
                    let limit = entry.object("rate_limit");
                    entry.filled("metered_feature").is_some()
                        && limit.is_some_and(|limit| limit.raw("primary_window").is_some())
                })
            };
            let n_odd = entries.iter().filter(|entry| !is_read(entry)).count();
            let (holds, n) = (is_list && n_odd == 0, entries.len());
            self.look(Assumption::UsageAdditional, holds, || format!("not so in {n_odd} of {n}"));
            let objects = entries.iter().filter_map(|it| Object::read(it.get().as_bytes()));
            for limit in objects.filter_map(|entry| entry.object("rate_limit")) {
                self.limit(&limit, now);
            }
        }
        if let Some(raw) = document.raw("credits") {
            let credits = Object::read(raw.get().as_bytes());
            let is_read = credits.is_some_and(|credits| {
                credits.flag("has_credits").and(credits.flag("unlimited")).is_some()
            });
            let lacks = || "`has_credits` or `unlimited` is not there".to_owned();
            self.look(Assumption::UsageCredits, is_read, lacks);
        }
        if let Some(raw) = document.raw("rate_limit_reset_credits") {
            let resets = Object::read(raw.get().as_bytes());
            let is_read = resets.is_some_and(|resets| resets.integer("available_count").is_some());
            self.look(Assumption::UsageResets, is_read, || {
                "`available_count` is not there".to_owned()
            });
        }
    }

    /// The windows of one limit.
    fn limit(&mut self, limit: &Object<'_>, now: Timestamp) {
        let names = ["primary_window", "secondary_window"];
        let is_named = limit.fields().any(|(name, _)| name == names[0]);
        self.look(Assumption::UsageWindows, is_named, || "it has none".to_owned());
        for window in names.iter().filter_map(|name| limit.object(name)) {
            let used = window.raw("used_percent").and_then(|used| used.get().parse().ok());
            self.percent(Assumption::UsagePercent, used);
            let seconds = window.integer("limit_window_seconds");
            let minutes = seconds.and_then(|seconds| u64::try_from(seconds).ok());
            self.length(Assumption::UsageLength, minutes.map(|seconds| seconds.div_ceil(60)));
            let at = window.integer("reset_at").and_then(|at| Timestamp::from_second(at).ok());
            let is_said = at.is_some() || window.integer("reset_after_seconds").is_some();
            self.look(Assumption::UsageReset, is_said, || "one does not".to_owned());
            if at.is_some_and(|at| !is_to_come(at, now)) {
                self.broken(Assumption::UsageReset, "`reset_at` is past");
            }
        }
    }

    fn percent(&mut self, assumption: Assumption, used: Option<f64>) {
        let holds = used.is_some_and(|used| (0.0..=100.0).contains(&used));
        self.look(assumption, holds, || match used {
            Some(used) => format!("it is {used}"),
            None => "it is no number".to_owned(),
        });
    }

    fn length(&mut self, assumption: Assumption, minutes: Option<u64>) {
        let holds = Span::of_minutes(minutes) != Span::Other;
        self.look(assumption, holds, || match minutes {
            Some(minutes) => format!("one is {minutes} minutes long"),
            None => "one has no length".to_owned(),
        });
    }

    pub(super) fn headers(&mut self, headers: &HeaderMap, now: Timestamp) {
        const PRIMARY: &str = "x-codex-primary-";
        let own = |name: &HeaderName| name.as_str().starts_with("x-codex-");
        let is_present = headers.keys().any(own);
        self.look(Assumption::HeadersPresent, is_present, || "there is none".to_owned());
        let etag = headers.contains_key("x-models-etag");
        self.look(Assumption::HeadersModels, etag, || "it is not there".to_owned());
        if !is_present {
            return;
        }
        let plan = headers.contains_key("x-codex-plan-type");
        self.look(Assumption::HeadersPlan, plan, || "it is not there".to_owned());
        // An account without windows has nothing to say of them.
        if !headers.keys().any(|name| name.as_str().starts_with(PRIMARY)) {
            return;
        }
        let text = |name| headers.get(format!("{PRIMARY}{name}"))?.to_str().ok();
        self.percent(
            Assumption::HeadersPercent,
            text("used-percent").and_then(|it| it.parse().ok()),
        );
        let minutes = text("window-minutes").and_then(|minutes| minutes.parse().ok());
        self.length(Assumption::HeadersLength, minutes);
        let at = text("reset-at").and_then(|at| Timestamp::from_second(at.parse().ok()?).ok());
        self.look(Assumption::HeadersReset, at.is_some_and(|at| is_to_come(at, now)), || {
            at.map_or("it is no moment", |_| "it is past").to_owned()
        });
    }
}
