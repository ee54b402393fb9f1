//! `GET /v1/models` and `/v1/models/{id}`, and their `/no-tools` twins: the upstream's catalogue,
//! and the names that the owner gave besides.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{ETAG, IF_NONE_MATCH},
};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    api::{error::ApiError, json, json_of},
    clock::Clock,
    id,
    relay::Relay,
    upstream::catalogue,
    wire::{
        images,
        model::{Alias, Suffixed},
    },
};

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Models {
    pub relay: Relay,
    pub aliases: Arc<[Alias]>,
    pub clock: Clock,
}

impl Models {
    async fn known(&self) -> Result<Arc<catalogue::Models>, ApiError> {
        let known = self.relay.models().await;
        known.map_err(|refused| ApiError::of_refusal(refused, self.clock.now()))
    }
}

pub fn router(models: Models) -> Router {
    let mut router = Router::new();
    for prefix in ["/v1", "/no-tools/v1"] {
        router = router
            .route(&format!("{prefix}/models"), get(list))
            .route(&format!("{prefix}/models/{{*id}}"), get(retrieve));
    }
    router.with_state(models)
}

/// `Model` of the published document.
#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
    airelays: Extension<'a>,
}

/// What the upstream's catalogue says beyond the published shape.
#[derive(Default, Serialize)]
struct Extension<'a> {
    /// The model, with its effort, that this is another name for.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias_of: Option<&'a str>,
    display_name: Option<&'a str>,
    description: Option<&'a str>,
    /// `list` or `hide`: what the official client shows in its menu.
    visibility: Option<&'a str>,
    priority: Option<i64>,
    /// Sizes in tokens.
    context_window: Option<i64>,
    max_context_window: Option<i64>,
    reasoning_levels: &'a [String],
    default_reasoning_level: Option<&'a str>,
    input_modalities: &'a [String],
    service_tiers: &'a [String],
    /// The plans that have it.
    plans: &'a [String],
    /// The slots whose accounts are known to have it, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<Vec<String>>,
    parallel_tool_calls: Option<bool>,
    verbosity: Option<bool>,
    reasoning_summaries: Option<bool>,
    image_detail_original: Option<bool>,
}

impl<'a> Model<'a> {
    fn new(id: &'a str, airelays: Extension<'a>) -> Self {
        // The catalogue does not say when a model was made.
        Self { id, object: "model", created: 0, owned_by: "airelays-upstream", airelays }
    }

    fn of(model: &'a catalogue::Model) -> Self {
        Self::new(
            &model.slug,
            Extension {
                alias_of: None,
                display_name: model.display_name.as_deref(),
                description: model.description.as_deref(),
                visibility: model.visibility.as_deref(),
                priority: model.priority,
                context_window: model.context.usual,
                max_context_window: model.context.max,
                reasoning_levels: &model.reasoning_levels,
                default_reasoning_level: model.default_reasoning_level.as_deref(),
                input_modalities: &model.input_modalities,
                service_tiers: &model.service_tiers,
                plans: &model.plans,
                slots: None,
                parallel_tool_calls: model.supports.parallel_tool_calls,
                verbosity: model.supports.verbosity,
                reasoning_summaries: model.supports.reasoning_summaries,
                image_detail_original: model.supports.image_detail_original,
            },
        )
    }

    /// What the routes for pictures take, and no other.
    fn of_images() -> Self {
        let extension = Extension {
            display_name: Some("GPT Image 2"),
            description: Some("Makes and changes pictures, at `/v1/images`."),
            ..Extension::default()
        };
        Self::new(images::MODEL, extension)
    }

    fn of_alias(alias: &'a Alias, known: &'a catalogue::Models) -> Self {
        let plain = || Some(Suffixed::read(&alias.model)?.model);
        let model = known.find(&alias.model).or_else(|| known.find(plain()?));
        let extension = model.map_or_else(Extension::default, |model| Self::of(model).airelays);
        Self::new(&alias.name, Extension { alias_of: Some(&alias.model), ..extension })
    }
}

impl Models {
    /// The models that clients may name, and who has them.
    fn named<'a>(&'a self, known: &'a catalogue::Models) -> Vec<Model<'a>> {
        let mut named = named(known, &self.aliases);
        if !self.relay.slots.is_single() {
            self.relay.slots.view(|pool, _| {
                for model in &mut named {
                    let name = model.airelays.alias_of.unwrap_or(model.id);
                    let having = pool.slots().filter(|slot| slot.has(name));
                    model.airelays.slots = Some(having.map(|slot| slot.id.to_string()).collect());
                }
            });
        }
        // No catalogue has it; whether an account may use it shows when it does.
        if !named.iter().any(|model| model.id.eq_ignore_ascii_case(images::MODEL)) {
            named.push(Model::of_images());
        }
        named
    }
}

/// The models that clients may name; a name of the owner's own hides the catalogue's.
fn named<'a>(known: &'a catalogue::Models, aliases: &'a [Alias]) -> Vec<Model<'a>> {
    let is_hidden = |model: &catalogue::Model| {
        aliases.iter().any(|alias| alias.name.eq_ignore_ascii_case(&model.slug))
    };
    let listed = known.entries.iter().filter(|model| !is_hidden(model)).map(Model::of);
    listed.chain(aliases.iter().map(|alias| Model::of_alias(alias, known))).collect()
}

/// The Codex client names its version, and wants the catalogue in the upstream's own shape.
fn is_asked_by_codex(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or("");
    query.split('&').any(|parameter| parameter.starts_with("client_version="))
}

async fn list(
    State(models): State<Models>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<Model<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        models: Option<Vec<&'a RawValue>>,
    }
    let known = models.known().await?;
    let entries = known.entries.as_slice();
    let is_codex = is_asked_by_codex(&uri);
    let list = List {
        object: "list",
        data: models.named(&known),
        models: is_codex.then(|| {
            let whole = entries.iter().filter(|model| model.is_whole);
            whole.map(|model| &*model.raw).collect()
        }),
    };
    let body = serde_json::to_vec(&list).map_err(|error| ApiError::broken(&error))?;
    // The Codex client compares it with what answers to its requests say of the catalogue; what
    // others get has more in it.
    let etag = if is_codex {
        known.etag.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok())
    } else {
        HeaderValue::from_str(&format!("\"{}\"", id::hex(&Sha256::digest(&body)[..8]))).ok()
    };
    let is_known = etag.as_ref().is_some_and(|etag| has(&headers, etag));
    let mut response =
        if is_known { StatusCode::NOT_MODIFIED.into_response() } else { json_of(body) };
    if let Some(etag) = etag {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// Whether whoever asks has what is called `etag` already.
fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    fn opaque(text: &str) -> &str {
        let text = text.trim();
        text.strip_prefix("W/").unwrap_or(text)
    }
    let Ok(etag) = etag.to_str() else { return false };
    let named = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|named| opaque(named) == opaque(etag))
}

async fn retrieve(
    State(models): State<Models>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    // What is not even text is no name of a model.
    let Path(id) = id.map_err(|_| ApiError::not_found())?;
    let known = models.known().await?;
    match models.named(&known).iter().find(|model| model.id.eq_ignore_ascii_case(&id)) {
        Some(model) => json(model),
        None => Err(ApiError::unknown_model(&id)),
    }
}
