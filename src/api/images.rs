//! `POST /v1/images/generations` and `POST /v1/images/edits`.
//!
//! Pictures come after minutes and all at once. A client that asks for events gets its headers
//! before that, and comments until then; one that does not gets nothing until the end.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use crate::{
    api::{
        disclosure::disclose,
        error::ApiError,
        exchange::{Exchange, Shown},
        extract::{Content, FormOrJson, JsonBody},
        stream,
    },
    clock::Clock,
    dialogue::{Dialogues, Files},
    relay::{Refused, Relay, images::Asked},
    traffic::Phase,
    wire::{
        images::{
            self, Options, Translated,
            answer::{self, Answer},
        },
        model::Alias,
        reject::Reject,
    },
};
use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures_util::stream::unfold;

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Images {
    pub relay: Relay,
    pub dialogues: Dialogues,
    pub aliases: Arc<[Alias]>,
    pub stream: stream::Settings,
    pub clock: Clock,
}

pub fn router(images: Images) -> Router {
    Router::new()
        .route("/v1/images/generations", post(generate))
        .route("/v1/images/edits", post(edit))
        .with_state(images)
}

async fn generate(
    State(images): State<Images>,
    JsonBody { exchange, bytes }: JsonBody,
) -> Result<Response, ApiError> {
    let none = Files::default();
    let request = images.translate(&none, |options| images::generation(&bytes, options))?;
    images.answer(exchange, request).await
}

async fn edit(
    State(images): State<Images>,
    FormOrJson { exchange, content }: FormOrJson,
) -> Result<Response, ApiError> {
    let ids = match &content {
        Content::Form(_) => Vec::new(),
        Content::Json(bytes) => images::file_ids(bytes),
    };
    let files = images.dialogues.files(ids, b"[]").await?;
    let request = images.translate(&files, |options| match &content {
        Content::Form(parts) => images::edit_form(parts, options),
        Content::Json(bytes) => images::edit(bytes, options),
    })?;
    drop(content);
    // A form has been written down already, without what is in it.
    exchange.received(request.shown.clone()).await;
    images.answer(exchange, request).await
}

/// Pictures on their way.
type Making = Pin<Box<dyn Future<Output = Result<Vec<Answer>, Refused>> + Send>>;

impl Images {
    fn translate(
        &self,
        files: &Files,
        translate: impl FnOnce(Options<'_>) -> Result<Translated, Reject>,
    ) -> Result<Translated, Reject> {
        let find = |id: &str| files.find(id);
        translate(Options { aliases: &self.aliases, files: &find })
    }

    async fn answer(
        self,
        exchange: Exchange,
        mut request: Translated,
    ) -> Result<Response, ApiError> {
        if !request.ignored.is_empty() {
            let record = exchange
                .record(Phase::CompatibilityAdaptation)
                .list("ignored_parameters", &request.ignored)
                .text("reason", "the subscription backend does not take them");
            exchange.traffic.record(record).await;
        }
        let (relay, story) = (self.relay.clone(), exchange.story.clone());
        let asked = Asked { id: exchange.id.clone(), request: request.clone(), story };
        let mut making: Making = Box::pin(async move { relay.images(&asked).await });
        // It is with those who send it.
        (request.body, request.shown) = (Bytes::new(), Bytes::new());
        if request.stream {
            return self.respond(exchange, request, making).await;
        }
        let made = tokio::select! {
            biased;
            made = &mut making => made,
            () = self.stream.leaving.cancelled() => return Err(ApiError::leaving()),
        };
        let made = made.map_err(|refused| ApiError::of_refusal(refused, self.clock.now()))?;
        log_usage(&exchange, &request, &made);
        let created = self.clock.unix();
        let ignored = [request.ignored.clone(), answer::unheeded(&request, &made)].concat();
        let mut response = stream::whole(answer::merged(&made, created), &ignored);
        response.extensions_mut().insert(Shown(answer::shown(&made, created).into()));
        Ok(response)
    }

    /// Answers with a stream as soon as the pictures are there or its headers have waited enough.
    async fn respond(
        self,
        exchange: Exchange,
        request: Translated,
        mut making: Making,
    ) -> Result<Response, ApiError> {
        let mut ignored = request.ignored.clone();
        let stage = tokio::select! {
            biased;
            made = &mut making => {
                let made = made.map_err(|refused| ApiError::of_refusal(refused, self.clock.now()))?;
                ignored.extend(answer::unheeded(&request, &made));
                Stage::Made(made)
            }
            () = self.stream.leaving.cancelled() => return Err(ApiError::leaving()),
            () = tokio::time::sleep(self.stream.commit_after) => Stage::Making(making),
        };
        let ending = Ending { exchange, outcome: Outcome::Unfinished };
        let events = Events { stage, images: self, request, ending };
        let body = unfold(events, Events::next);
        let mut response = Body::from_stream(body).into_response();
        let headers = response.headers_mut();
        headers.extend(stream::headers());
        disclose(&ignored, headers);
        Ok(response)
    }
}

/// The events of an answer.
struct Events {
    stage: Stage,
    images: Images,
    request: Translated,
    ending: Ending,
}

enum Stage {
    Making(Making),
    Made(Vec<Answer>),
    Told,
}

impl Events {
    /// The next bytes: comments until the pictures are there, then all of them, or why not.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let made = match std::mem::replace(&mut self.stage, Stage::Told) {
            Stage::Told => return None,
            Stage::Made(made) => Ok(made),
            Stage::Making(mut making) => {
                let stream::Settings { keep_alive, leaving, .. } = &self.images.stream;
                let silence = async {
                    match keep_alive {
                        Some(every) => tokio::time::sleep(*every).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    made = &mut making => made.map_err(|refused| {
                        ApiError::of_refusal(refused, self.images.clock.now())
                    }),
                    () = leaving.cancelled() => Err(ApiError::leaving()),
                    () = silence => {
                        self.stage = Stage::Making(making);
                        return Some((Ok(stream::ALIVE), self));
                    }
                }
            }
        };
        let told = match made {
            Ok(made) => {
                log_usage(&self.ending.exchange, &self.request, &made);
                let events = answer::events(self.request.task, &made, self.images.clock.unix());
                self.ending.outcome = Outcome::Completed { bytes: events.len() };
                events.into()
            }
            Err(error) => {
                let object = error.object();
                let event =
                    format!("event: error\ndata: {{\"type\":\"error\",\"error\":{object}}}\n\n");
                self.ending.outcome = Outcome::Failed(error);
                event.into()
            }
        };
        Some((Ok(told), self))
    }
}

/// Hands the outcome to the log when the stream is over or its client has gone.
struct Ending {
    exchange: Exchange,
    outcome: Outcome,
}

enum Outcome {
    Unfinished,
    Completed { bytes: usize },
    Failed(ApiError),
}

impl Drop for Ending {
    fn drop(&mut self) {
        let record = self.exchange.record(Phase::OutboundResponse).number("status_code", 200);
        let record = stream::with_slot(&self.exchange, record);
        let record = match &self.outcome {
            Outcome::Unfinished => record.text("outcome", "unfinished"),
            Outcome::Completed { bytes } => record
                .text("outcome", "completed")
                .number("bytes", i64::try_from(*bytes).unwrap_or(i64::MAX)),
            Outcome::Failed(error) => error.outcome(record),
        };
        self.exchange.traffic.hand_over(record);
    }
}

/// Writes down what the pictures have cost, if the upstream says so.
fn log_usage(exchange: &Exchange, request: &Translated, made: &[Answer]) {
    let Some(usage) = answer::usage(made) else { return };
    let usage = Bytes::from(serde_json::to_vec(&usage).unwrap_or_default());
    for phase in [Phase::UpstreamUsage, Phase::OutboundUsage] {
        let record = exchange.record(phase).text("model", request.model.clone());
        exchange.traffic.hand_over(record.json("usage", usage.clone()));
    }
}
