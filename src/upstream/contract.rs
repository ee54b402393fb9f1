//! What the relay takes for granted about the upstream, held against what the upstream says.
//!
//! The backend has no published contract and changes without notice. Each thing that some part of
//! the program relies on is therefore named here once, and looked at in answers that were received
//! anyway. The relay itself is lenient and goes on; this is for its owner, and for a report.
//!
//! **Invariant:** a finding holds names, numbers and lengths of time, and nothing that says whose
//! account it is: texts of the upstream are not repeated unless they are words of its protocol.
//!
//! Not here: asking (`relay`), how findings look (`cli::doctor`).

mod documents;
mod stream;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::failure::{self, Blame};
use crate::{
    credential::{Claims, Tokens},
    transport::Heard,
};

/// How much depends on an assumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Requests fail without it.
    Vital,
    /// The relay copes; something is left out or less exact.
    Minor,
}

/// How it was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Held,
    DoesNotHold,
    NotSeen,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::DoesNotHold => "does not hold",
            Self::NotSeen => "not seen",
        }
    }
}

macro_rules! assumptions {
    ($($case:ident = $id:literal, $weight:ident, $sentence:literal;)+) => {
        /// One thing that is relied on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Assumption { $($case),+ }

        impl Assumption {
            pub const ALL: &[Self] = &[$(Self::$case),+];

            /// Its name in reports: a group, a dot, and what it is about.
            pub fn id(self) -> &'static str {
                match self { $(Self::$case => $id),+ }
            }

            pub fn sentence(self) -> &'static str {
                match self { $(Self::$case => $sentence),+ }
            }

            pub fn weight(self) -> Weight {
                match self { $(Self::$case => Weight::$weight),+ }
            }
        }
    };
}

assumptions! {
    TokenClaims = "token.claims", Minor, "The access token is a JWT whose payload can be read.";
    TokenEnd = "token.exp", Minor, "The access token says in `exp` when it ends.";
    TokenAccount = "token.account", Vital, "A token says in `chatgpt_account_id` whose it is.";
    TokenPlan = "token.plan", Minor, "A token says in `chatgpt_plan_type` which plan it is of.";

    ModelsRoute = "models.route", Vital, "The route of the models is there.";
    ModelsType = "models.type", Minor, "The models come as `application/json`.";
    ModelsList = "models.list", Vital, "The answer has a list `models` that is not empty.";
    ModelsEtag = "models.etag", Minor, "The list has an `ETag`.";
    ModelsSlug = "models.slug", Minor, "Every model has a `slug`.";
    ModelsName = "models.display_name", Minor, "Every model has a `display_name`.";
    ModelsVisibility = "models.visibility", Minor, "`visibility` is `list`, `hide` or `none`.";
    ModelsPriority = "models.priority", Minor, "`priority` is a number.";
    ModelsContext = "models.context_window", Minor, "`context_window` is a number.";
    ModelsEfforts = "models.efforts", Minor, "`supported_reasoning_levels` lists an `effort` each.";
    ModelsKnownEfforts = "models.known_efforts", Minor, "Every effort has a name that is known.";
    ModelsDefaultEffort = "models.default_effort", Minor, "`default_reasoning_level` is one of the efforts.";
    ModelsModalities = "models.modalities", Minor, "`input_modalities` is a list of words.";
    ModelsTiers = "models.tiers", Minor, "`service_tiers` lists an `id` each.";
    ModelsPlans = "models.plans", Minor, "`available_in_plans` is a list of words.";
    ModelsSupports = "models.supports", Minor, "What a model supports is said with true and false.";
    ModelsWhole = "models.whole", Minor, "Every model has what the Codex client needs of it.";

    UsageRoute = "usage.route", Minor, "The usage route is there.";
    UsageDocument = "usage.document", Minor, "The usage route answers with an object.";
    UsagePlan = "usage.plan", Minor, "`plan_type` is a word.";
    UsageWindows = "usage.windows", Minor, "`rate_limit` has a `primary_window`.";
    UsagePercent = "usage.percent", Minor, "`used_percent` is a number from 0 to 100.";
    UsageLength = "usage.length", Minor, "Windows are five hours, a day, a week or a month long.";
    UsageReset = "usage.reset", Minor, "A window says when it resets.";
    UsageAllowed = "usage.allowed", Minor, "`rate_limit` says whether requests are allowed.";
    UsageReached = "usage.reached", Minor, "What stops an account is a word, or an object with one.";
    UsageAdditional = "usage.additional", Minor, "Limits of single models have a name and windows.";
    UsageCredits = "usage.credits", Minor, "`credits` says whether there are any.";
    UsageResets = "usage.resets", Minor, "`rate_limit_reset_credits` counts usage resets.";

    HeadersPresent = "headers.present", Minor, "Answers say in `x-codex-` headers what is left.";
    HeadersPercent = "headers.percent", Minor, "`x-codex-primary-used-percent` is a number from 0 to 100.";
    HeadersLength = "headers.length", Minor, "`x-codex-primary-window-minutes` is a length that is known.";
    HeadersReset = "headers.reset", Minor, "`x-codex-primary-reset-at` is a moment to come.";
    HeadersPlan = "headers.plan", Minor, "`x-codex-plan-type` is there.";
    HeadersModels = "headers.models_etag", Minor, "`x-models-etag` names the list of models.";

    StreamTaken = "stream.taken", Vital, "A plain request is taken as the relay writes it.";
    StreamType = "stream.type", Vital, "An answer comes as `text/event-stream`.";
    StreamFraming = "stream.framing", Minor, "An event has its `type` in its `event:` line as well.";
    StreamKnown = "stream.known", Minor, "All events are of kinds that are known.";
    StreamCreated = "stream.created", Minor, "`response.created` comes first.";
    StreamNumbers = "stream.numbers", Minor, "`sequence_number` counts the events from 0.";
    StreamItems = "stream.items", Minor, "`response.output_item.added` announces what `.done` repeats.";
    StreamText = "stream.text", Vital, "Text comes in deltas or in whole items.";
    StreamDeltas = "stream.deltas", Minor, "Deltas come before `response.output_text.done`, and are its text.";
    StreamTerminal = "stream.terminal", Vital, "`response.completed`, or an event for a failure, ends a stream.";
    StreamLast = "stream.last", Minor, "Nothing comes after it, no `[DONE]` either.";
    StreamOutput = "stream.output", Minor, "`output` of `response.completed` is empty.";
    StreamModel = "stream.model", Minor, "The model that answers is the one that was asked.";
    StreamUsage = "stream.usage", Minor, "`usage` counts the tokens of input and output, and all.";
    StreamDetails = "stream.usage_details", Minor, "`usage` says how many tokens were cached and thought.";
}

/// An assumption, and how it was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub assumption: Assumption,
    pub verdict: Verdict,
    /// What is otherwise, where it does not hold.
    pub detail: Option<String>,
}

/// What was looked at so far.
#[derive(Clone, Debug, Default)]
pub struct Contract {
    /// Nothing where it held, or what was otherwise.
    seen: BTreeMap<Assumption, Option<String>>,
    /// The model that the tiny request asked, where it is known.
    asked: Option<String>,
}

impl Contract {
    /// The model that was asked, for what follows.
    pub fn asks(&mut self, model: &str) {
        self.asked = Some(model.to_owned());
    }

    /// Looks at the tokens of a login.
    pub fn tokens(&mut self, tokens: &Tokens) {
        if let Some(access) = &tokens.access {
            let read = Claims::readable(access);
            self.look(Assumption::TokenClaims, read.is_some(), || "it cannot".to_owned());
            if let Some(read) = read {
                let has_end = read.expires_at.is_some();
                self.look(Assumption::TokenEnd, has_end, || "it does not".to_owned());
            }
        }
        let claims = tokens.claims();
        let neither = || "neither token does".to_owned();
        self.look(Assumption::TokenAccount, claims.account_id.is_some(), neither);
        self.look(Assumption::TokenPlan, claims.plan_type.is_some(), neither);
    }

    /// Looks at an answer, if it is of a kind that is known.
    pub fn answer(&mut self, heard: &Heard) {
        let ends = |end: &str| heard.path.ends_with(end);
        let (route, look): (_, fn(&mut Self, &Heard)) = match () {
            () if ends("/models") => (Assumption::ModelsRoute, Self::models),
            () if ends("/wham/usage") => (Assumption::UsageRoute, Self::usage),
            () if ends("/responses") => (Assumption::StreamTaken, Self::inference),
            () => return,
        };
        if heard.status.is_success() {
            self.held(route);
            look(self, heard);
            return;
        }
        let failure = failure::classify(heard.status, &heard.headers, &heard.body, heard.at);
        // What else may go wrong says nothing about the contract.
        if failure.blame() == Blame::Request {
            self.broken(route, failure.brief());
        }
    }

    /// All assumptions, in their order.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |assumption: &Assumption| {
            let (verdict, detail) = match self.seen.get(assumption) {
                None => (Verdict::NotSeen, None),
                Some(None) => (Verdict::Held, None),
                Some(Some(detail)) => (Verdict::DoesNotHold, Some(detail.clone())),
            };
            Finding { assumption: *assumption, verdict, detail }
        };
        Assumption::ALL.iter().map(finding).collect()
    }

    /// Held, unless it was otherwise somewhere else.
    fn held(&mut self, assumption: Assumption) {
        self.seen.entry(assumption).or_default();
    }

    /// What was otherwise first is what is told.
    fn broken(&mut self, assumption: Assumption, detail: impl Into<String>) {
        let seen = self.seen.entry(assumption).or_default();
        if seen.is_none() {
            *seen = Some(detail.into());
        }
    }

    fn look(&mut self, assumption: Assumption, holds: bool, detail: impl FnOnce() -> String) {
        if holds { self.held(assumption) } else { self.broken(assumption, detail()) }
    }
}

/// `text` where it can be a word of a protocol.
fn word(text: &str) -> String {
    const LONGEST: usize = 64;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-[]".contains(c);
    let is_word = !text.is_empty() && text.len() <= LONGEST && text.chars().all(is_plain);
    if is_word { format!("`{text}`") } else { "something that is no word".to_owned() }
}

/// Whether `at` can be when something resets.
fn is_to_come(at: Timestamp, now: Timestamp) -> bool {
    // Clocks differ a little.
    at.as_second() >= now.as_second() - 300
}

#[cfg(test)]
mod tests;
