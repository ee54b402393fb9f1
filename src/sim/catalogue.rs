//! The table of models: what live lists have shown.
//!
//! **Invariant:** an entry of the list carries every field of the real one, because its reader at
//! the other end is strict.
//!
//! Not here: who may use which (`models`).

use serde_json::Value;

use crate::sim::tree::{list, object, put};

/// Three numeric parts.
pub(super) type Version = (u32, u32, u32);

/// One model, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) slug: &'static str,
    pub(super) name: &'static str,
    about: &'static str,
    /// The advertised minimum version.
    pub(super) minimum: Version,
    /// The version from which it really answers.
    pub(super) answers_from: Version,
    priority: u32,
    pub(super) visibility: Visibility,
    default_effort: Option<&'static str>,
    efforts: &'static [&'static str],
    pub(super) window: u64,
    max_window: Option<u64>,
    lite: bool,
    fast: bool,
    upgrade: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    List,
    Hide,
    /// Served without being in the list.
    Absent,
}

const LOW_TO_XHIGH: &[&str] = &["low", "medium", "high", "xhigh"];
const LOW_TO_MAX: &[&str] = &["low", "medium", "high", "xhigh", "max"];
const WITH_ULTRA: &[&str] = &["low", "medium", "high", "xhigh", "max", "ultra"];

/// Models whose list entry names no plan without payment.
const PAID_ONLY: &[&str] = &["gpt-5.4", "codex-auto-review"];
const UNPAID: &[&str] = &["free", "free_workspace", "k12"];
const PLANS: &[&str] = &[
    "business",
    "edu",
    "edu_plus",
    "edu_pro",
    "education",
    "enterprise",
    "enterprise_cbp_automation",
    "enterprise_cbp_usage_based",
    "finserv",
    "free",
    "free_workspace",
    "go",
    "hc",
    "k12",
    "plus",
    "pro",
    "prolite",
    "quorum",
    "sci",
    "self_serve_business_prolite",
    "self_serve_business_usage_based",
    "team",
];

pub(super) const BASE: Entry = Entry {
    slug: "",
    name: "",
    about: "A model of the simulator.",
    minimum: (0, 0, 0),
    answers_from: (0, 0, 0),
    priority: 50,
    visibility: Visibility::List,
    default_effort: Some("medium"),
    efforts: LOW_TO_MAX,
    window: 272_000,
    max_window: Some(272_000),
    lite: true,
    fast: false,
    upgrade: None,
};

const LARGE: Option<u64> = Some(921_000);

const fn entry(slug: &'static str, name: &'static str, minimum: u32, priority: u32) -> Entry {
    Entry { slug, name, minimum: (0, minimum, 0), answers_from: (0, minimum, 0), priority, ..BASE }
}

/// The family that answers only from a later version than its entry says.
const fn sixth(slug: &'static str, name: &'static str, priority: u32) -> Entry {
    Entry { answers_from: (0, 145, 0), max_window: LARGE, ..entry(slug, name, 144, priority) }
}

pub(super) const SPARK: &str = "gpt-5.3-codex-spark";

impl Entry {
    /// What `reasoning.effort` may be. `ultra` is a preset of the client, never sent.
    pub(super) fn efforts(&self) -> Vec<&'static str> {
        self.efforts.iter().copied().filter(|effort| *effort != "ultra").collect()
    }

    /// Whether a plan may use it; plans that nobody knows may use everything.
    pub(super) fn supported_on(&self, plan: &str) -> bool {
        !(PAID_ONLY.contains(&self.slug) && UNPAID.contains(&plan))
    }

    /// The entry as the list shows it.
    pub(super) fn json(&self) -> Value {
        let spark = self.slug == SPARK;
        let modalities = if spark { list!["text"] } else { list!["text", "image"] };
        let mut entry = object! {
            "slug": self.slug,
            "display_name": self.name,
            "description": self.about,
            "default_reasoning_level": self.default_effort,
            "supported_reasoning_levels": self.effort_entries(),
            "shell_type": "shell_command",
            "visibility": if self.visibility == Visibility::List { "list" } else { "hide" },
            "minimal_client_version": format!("{}.{}.{}", self.minimum.0, self.minimum.1, self.minimum.2),
            "supported_in_api": !spark,
            "availability_nux": Value::Null,
            "upgrade": self.upgrade.map(|model| object! {
                "model": model,
                "migration_markdown": format!("{model} is the better choice now."),
                "retirement_at": Value::Null,
            }),
            "priority": self.priority,
            "base_instructions": "You are Codex.",
            "model_messages": Value::Null,
            "supports_reasoning_summaries": true,
            "supports_reasoning_summary_parameter": !spark,
            "default_reasoning_summary": "none",
            "support_verbosity": true,
            "default_verbosity": "low",
            "apply_patch_tool_type": "freeform",
            "web_search_tool_type": if spark { "text" } else { "text_and_image" },
            "truncation_policy": object! {"mode": "tokens", "limit": 10_000},
            "supports_parallel_tool_calls": true,
            "supports_image_detail_original": !spark,
            "context_window": self.window,
            "max_context_window": self.max_window,
            "auto_compact_token_limit": Value::Null,
            "effective_context_window_percent": 95,
            "experimental_supported_tools": list![],
            "input_modalities": modalities,
            "supports_search_tool": true,
        };
        self.add_transport(&mut entry);
        entry
    }

    fn effort_entries(&self) -> Value {
        self.efforts
            .iter()
            .map(|effort| object! {"effort": *effort, "description": format!("Reasoning effort {effort}")})
            .collect()
    }

    fn add_transport(&self, entry: &mut Value) {
        let tiers = if self.fast {
            list![object! {
                "id": "priority",
                "name": "Fast",
                "description": "1.5x speed, increased usage",
            }]
        } else {
            list![]
        };
        let paid = PLANS.iter().filter(|plan| self.supported_on(plan)).copied();
        put(entry, "service_tiers", tiers);
        put(entry, "additional_speed_tiers", if self.fast { list!["fast"] } else { list![] });
        put(entry, "default_service_tier", Value::Null);
        put(entry, "use_responses_lite", self.lite);
        put(entry, "prefer_websockets", true);
        put(entry, "tool_mode", self.lite.then_some("code_mode_only"));
        put(entry, "multi_agent_version", self.lite.then_some("v1"));
        put(entry, "comp_hash", "3000");
        put(entry, "available_in_plans", paid.collect::<Value>());
        put(entry, "field_of_tomorrow", object! {"unknown": true});
    }
}

/// Newest first.
pub(super) static CATALOGUE: &[Entry] = &[
    Entry {
        efforts: WITH_ULTRA,
        default_effort: Some("low"),
        max_window: Some(872_000),
        fast: true,
        about: "Frontier agentic coding model.",
        ..entry("gpt-6.1-sol", "GPT-6.1-Sol", 153, 1)
    },
    Entry {
        efforts: WITH_ULTRA,
        default_effort: Some("low"),
        max_window: None,
        about: "Frontier model for long work.",
        ..entry("gpt-6-astra", "GPT-6-Astra", 153, 1)
    },
    Entry {
        efforts: WITH_ULTRA,
        max_window: Some(872_000),
        fast: true,
        about: "Agentic coding model.",
        ..entry("gpt-6-sol", "GPT-6-Sol", 155, 2)
    },
    Entry {
        max_window: Some(872_000),
        about: "Fast agentic coding model.",
        ..entry("gpt-6-luna", "GPT-6-Luna", 155, 3)
    },
    Entry {
        visibility: Visibility::Hide,
        default_effort: None,
        about: "Answers when limits are spent.",
        ..entry("gpt-reserve", "GPT-Reserve", 144, 3)
    },
    Entry {
        efforts: WITH_ULTRA,
        default_effort: Some("low"),
        fast: true,
        about: "Latest frontier agentic coding model.",
        ..sixth("gpt-5.6-sol", "GPT-5.6-Sol", 4)
    },
    Entry {
        efforts: WITH_ULTRA,
        fast: true,
        about: "Balanced agentic coding model.",
        ..sixth("gpt-5.6-terra", "GPT-5.6-Terra", 7)
    },
    Entry {
        fast: true,
        about: "Fast and affordable agentic coding model.",
        ..sixth("gpt-5.6-luna", "GPT-5.6-Luna", 8)
    },
    Entry {
        efforts: LOW_TO_XHIGH,
        lite: false,
        fast: true,
        about: "Agentic coding model.",
        ..entry("gpt-5.5", "GPT-5.5", 124, 12)
    },
    Entry {
        efforts: LOW_TO_XHIGH,
        max_window: Some(1_000_000),
        lite: false,
        fast: true,
        upgrade: Some("gpt-5.6-terra"),
        about: "Earlier agentic coding model.",
        ..entry("gpt-5.4", "GPT-5.4", 98, 16)
    },
    Entry {
        efforts: LOW_TO_XHIGH,
        lite: false,
        upgrade: Some("gpt-5.6-luna"),
        about: "Earlier small model.",
        ..entry("gpt-5.4-mini", "GPT-5.4-Mini", 98, 23)
    },
    Entry {
        efforts: LOW_TO_XHIGH,
        default_effort: Some("high"),
        window: 128_000,
        max_window: Some(128_000),
        lite: false,
        about: "Ultra-fast text model.",
        ..entry(SPARK, "GPT-5.3-Codex-Spark", 100, 26)
    },
    Entry {
        visibility: Visibility::Hide,
        max_window: LARGE,
        fast: true,
        about: "Reviews actions.",
        ..entry("codex-auto-review", "Codex Auto Review", 98, 43)
    },
    Entry {
        visibility: Visibility::Absent,
        about: "Served to some accounts only.",
        ..entry("gpt-daybreak-blue-latest", "Daybreak Blue", 144, 44)
    },
];
