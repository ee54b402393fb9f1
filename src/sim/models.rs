//! The models that the imitation serves, and the list of them.
//!
//! The list filters by the client's version and can be broken on purpose. Whether a request may
//! use a model is asked here, too, because it hangs on the same table.

use http::HeaderMap;
use serde_json::Value;

use crate::{
    id,
    sim::{
        account::Account,
        answer::Answer,
        catalogue::{BASE, CATALOGUE, Entry, SPARK, Version, Visibility},
        mint::digest,
        script::Step,
        tree::object,
        world::{Models, Need, OldVersion, World},
    },
};

/// The version with which the family of gpt-5.6 came.
const FROM_5_6: Version = (0, 144, 0);

/// A model as a request names it.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) slug: String,
    entry: &'static Entry,
}

impl Model {
    /// The entry of this name in the catalogue, or a script.
    fn find(slug: &str) -> Option<Self> {
        let entry = CATALOGUE.iter().find(|entry| entry.slug == slug);
        entry.map(|entry| Self { slug: slug.to_owned(), entry }).or_else(|| Self::scripted(slug))
    }

    /// A slug that is a script: `sim-NAME`.
    fn scripted(slug: &str) -> Option<Self> {
        Step::parse(slug.strip_prefix("sim-")?).ok()?;
        Some(Self { slug: slug.to_owned(), entry: &BASE })
    }

    /// What `reasoning.effort` may be.
    pub(super) fn efforts(&self) -> Vec<&'static str> {
        self.entry.efforts()
    }

    /// Tokens that fit into its context window.
    pub(super) fn window(&self) -> u64 {
        self.entry.window
    }

    /// Whether usage tells what was written to the cache.
    pub(super) fn counts_cache_writes(&self) -> bool {
        self.entry.minimum >= FROM_5_6 || self.entry.minimum == (0, 0, 0)
    }

    /// Whether the account's own limit is the only one that applies to it.
    pub(super) fn is_general(&self) -> bool {
        self.entry.slug != SPARK
    }

    /// Whether the hosted image tool works with it.
    pub(super) fn draws(&self) -> bool {
        self.entry.slug != SPARK
    }
}

/// The model of a request, if its account and its headers may use it.
pub(super) fn admit(
    slug: &str,
    account: &Account,
    headers: &HeaderMap,
    world: &World,
) -> Result<Model, Answer> {
    let model = Model::find(slug).filter(|model| model.entry.supported_on(account.plan));
    let Some(model) = model else {
        let detail =
            format!("The '{slug}' model is not supported when using Codex with a ChatGPT account.");
        return Err(Answer::detail(400, detail));
    };
    let entry = model.entry;
    let recent = entry.minimum >= FROM_5_6;
    if recent && world.originator == Need::Required && !headers.contains_key("originator") {
        return Err(Answer::detail(404, "Model not found"));
    }
    let version = headers.get("version").and_then(|value| value.to_str().ok());
    let fits = match version {
        Some(text) => match parse_version(text) {
            Some(version) if version < entry.minimum => Age::TooOld,
            Some(version) if version < entry.answers_from => Age::AlmostTooOld,
            Some(_) | None => Age::Fits,
        },
        None if recent && world.version_header == Need::Required => Age::AlmostTooOld,
        None => Age::Fits,
    };
    match (fits, world.old_version) {
        (Age::Fits, _) => Ok(model),
        (Age::TooOld, OldVersion::Graded) | (_, OldVersion::Refused) => {
            let detail = format!(
                "The '{slug}' model requires a newer version of Codex. Please upgrade to the latest app or CLI and try again."
            );
            Err(Answer::detail(400, detail))
        }
        (Age::AlmostTooOld, OldVersion::Graded) | (_, OldVersion::NotFound) => {
            Err(Answer::detail(404, "Model not found"))
        }
    }
}

#[derive(Clone, Copy)]
enum Age {
    Fits,
    AlmostTooOld,
    TooOld,
}

/// `GET /backend-api/codex/models` for a client of this version.
pub(super) fn list_for(client_version: Option<&str>, world: &World) -> Answer {
    let version = client_version.and_then(parse_version).filter(|version| *version != (0, 0, 0));
    let shown = |entry: &&Entry| {
        entry.visibility != Visibility::Absent
            && version.is_none_or(|version| entry.minimum <= version)
    };
    let mut entries: Vec<_> = CATALOGUE.iter().filter(shown).map(Entry::json).collect();
    match world.models {
        Models::Ok => {}
        Models::BadEntry => entries.push(object! {"slug": "gpt-broken", "priority": "high"}),
        Models::Empty => entries.clear(),
        Models::NotFound => return Answer::detail(404, "Not Found"),
        Models::ServerError => return Answer::empty(500),
    }
    Answer::json(200, &object! {"models": entries}).with("etag", &etag(world))
}

/// Changes when the list does; the same for every client version.
pub(super) fn etag(world: &World) -> String {
    let entries: Value = CATALOGUE.iter().map(Entry::json).collect();
    let state = format!("{:?}", world.models);
    let digest = digest(&[entries.to_string().as_bytes(), state.as_bytes()]);
    format!("W/\"{}\"", &id::hex(&digest)[..32])
}

/// Three numeric parts; a suffix after a hyphen does not count.
fn parse_version(text: &str) -> Option<Version> {
    let plain = text.split('-').next()?;
    let mut parts = plain.split('.').map(str::parse);
    let version = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::account::Accounts;

    fn slugs(version: Option<&str>) -> Vec<String> {
        let answer = list_for(version, &World::default());
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        body["models"]
            .as_array()
            .expect("array")
            .iter()
            .map(|entry| entry["slug"].as_str().expect("slug").to_owned())
            .collect()
    }

    #[test]
    fn the_list_depends_on_the_clients_version() {
        let has = |version, slug: &str| slugs(version).iter().any(|have| have == slug);
        assert!(has(Some("0.153.4"), "gpt-6-astra") && !has(Some("0.153.4"), "gpt-6-sol"));
        assert!(has(Some("0.155.0"), "gpt-6-sol") && has(Some("0.200.0"), "gpt-6-sol"));
        assert!(has(Some("0.0.0"), "gpt-6-sol") && has(None, "gpt-6-sol"));
        assert!(!has(None, "gpt-daybreak-blue-latest"), "served, not listed");
        assert_eq!(slugs(Some("0.99.0")), ["gpt-5.4", "gpt-5.4-mini", "codex-auto-review"]);
    }

    #[test]
    fn an_entry_has_every_field_of_the_real_one() {
        let entry = CATALOGUE[7].json();
        let fields = "slug display_name description default_reasoning_level \
            supported_reasoning_levels shell_type visibility minimal_client_version \
            supported_in_api availability_nux upgrade priority base_instructions model_messages \
            supports_reasoning_summaries default_reasoning_summary support_verbosity \
            default_verbosity apply_patch_tool_type web_search_tool_type truncation_policy \
            supports_parallel_tool_calls supports_image_detail_original context_window \
            max_context_window auto_compact_token_limit experimental_supported_tools \
            input_modalities supports_search_tool service_tiers additional_speed_tiers \
            default_service_tier use_responses_lite prefer_websockets tool_mode \
            multi_agent_version comp_hash available_in_plans";
        for field in fields.split_whitespace() {
            assert!(entry.get(field).is_some(), "{field}");
        }
        assert_eq!(entry["slug"], "gpt-5.6-luna");
    }

    #[test]
    fn models_are_gated_by_plan_and_version() {
        let check = |slug: &str, plan: &str, header: &str, world: &[(&str, &str)]| {
            let account = Accounts::default().named(plan);
            let mut headers = HeaderMap::new();
            headers.insert("originator", "x".parse().expect("value"));
            if !header.is_empty() {
                headers.insert("version", header.parse().expect("value"));
            }
            let world = World::from_pairs(world).expect("known");
            match admit(slug, &account, &headers, &world) {
                Ok(model) => format!("ok {}", model.slug),
                Err(answer) => {
                    format!("{} {}", answer.status.as_u16(), String::from_utf8_lossy(&answer.body))
                }
            }
        };
        let unsupported = |slug| {
            format!(
                r#"400 {{"detail":"The '{slug}' model is not supported when using Codex with a ChatGPT account."}}"#
            )
        };
        let newer = |slug| {
            format!(
                r#"400 {{"detail":"The '{slug}' model requires a newer version of Codex. Please upgrade to the latest app or CLI and try again."}}"#
            )
        };
        let missing = r#"404 {"detail":"Model not found"}"#;
        assert_eq!(check("gpt-5", "first", "", &[]), unsupported("gpt-5"));
        assert_eq!(check("gpt-5.4", "free", "", &[]), unsupported("gpt-5.4"));
        assert_eq!(check("gpt-5.4", "unknown-plan", "", &[]), "ok gpt-5.4");
        assert_eq!(check("sim-nonsense", "first", "", &[]), unsupported("sim-nonsense"));
        assert_eq!(check("sim-cut", "first", "0.1.0", &[]), "ok sim-cut");
        assert_eq!(
            check("gpt-daybreak-blue-latest", "pro", "", &[]),
            "ok gpt-daybreak-blue-latest"
        );
        assert_eq!(check("gpt-5.6-sol", "first", "0.143.9", &[]), newer("gpt-5.6-sol"));
        assert_eq!(check("gpt-5.6-sol", "first", "0.144.1", &[]), missing);
        assert_eq!(check("gpt-5.6-sol", "first", "0.150.0", &[]), "ok gpt-5.6-sol");
        assert_eq!(check("gpt-6-sol", "first", "0.1.0", &[("old_version", "not-found")]), missing);
        assert_eq!(
            check("gpt-5.6-sol", "first", "0.144.1", &[("old_version", "refused")]),
            newer("gpt-5.6-sol")
        );
        assert_eq!(check("gpt-6-sol", "first", "", &[("version_header", "required")]), missing);
        let none = HeaderMap::new();
        let account = Accounts::default().named("first");
        assert!(admit("gpt-6-sol", &account, &none, &World::default()).is_err(), "originator");
        assert!(admit("gpt-5.5", &account, &none, &World::default()).is_ok());
    }
}
