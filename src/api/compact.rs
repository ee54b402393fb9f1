//! `POST /v1/responses/compact` and its `/no-tools` twin: a dialogue made shorter.

use axum::{Router, extract::State, response::Response, routing::post};
use http::HeaderMap;

use crate::{
    api::{
        error::ApiError,
        extract::JsonBody,
        stream,
        text::{
            self, Text,
            asking::{Asking, Dialect},
        },
    },
    relay::Asked,
};

pub fn router(text: Text) -> Router {
    let mut router = Router::new();
    for (prefix, no_tools) in [("/v1", false), ("/no-tools/v1", true)] {
        let handler =
            post(move |State(text): State<Text>, body: JsonBody| compact(text, no_tools, body));
        router = router.route(&format!("{prefix}/responses/compact"), handler);
    }
    router.with_state(text)
}

async fn compact(
    text: Text,
    no_tools: bool,
    JsonBody { exchange, bytes }: JsonBody,
) -> Result<Response, ApiError> {
    let asking = Asking {
        dialogues: &text.dialogues,
        exchange: &exchange,
        dialect: Dialect::Compaction,
        no_tools,
        reasoning_summary: None,
        now: text.clock.unix(),
    };
    // A dialogue that is made shorter for its client goes on as it was where it is kept.
    let (request, _unchanged) = asking.translated(&bytes).await?;
    drop(bytes);
    let turn =
        if text::is_codex(&exchange.headers) { exchange.headers.clone() } else { HeaderMap::new() };
    let (id, story) = (exchange.id.clone(), exchange.story.clone());
    let asked = Asked { id, request, turn, only: None, story };
    let compacted = tokio::select! {
        biased;
        compacted = Box::pin(text.relay.compact(asked)) => compacted,
        () = text.stream.leaving.cancelled() => return Err(ApiError::leaving()),
    };
    let compacted = compacted.map_err(|refused| ApiError::of_refusal(refused, text.clock.now()))?;
    stream::log_usage(&exchange, &compacted.end);
    Ok(stream::whole(compacted.body, &compacted.ignored))
}
