//! Answers that are kept: `/v1/responses/{id}` and `/v1/chat/completions/{id}`, what they answer,
//! and the end of those that are still being made.
//!
//! Not here: how they come to be kept (`keep`), those that nobody waits for (`background`).

use axum::{
    Router,
    extract::{Query, State},
    response::Response,
    routing::{get, post},
};
use http::Uri;

use crate::{
    api::{
        background::Background,
        error::ApiError,
        extract::JsonBody,
        json, json_of,
        keep::with_metadata,
        page::{self, Deleted, Id, Lengths, one},
    },
    dialogue::Dialogues,
    store::{self, Answer, Item, Kind, Listed, UnknownCursor},
    wire::{json::Doc, reject::Reject, request::memory},
};

const LENGTHS: Lengths = Lengths { usual: 20, most: 100 };

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Answers {
    pub dialogues: Dialogues,
    pub background: Background,
}

pub fn router(answers: Answers) -> Router {
    let mut router = Router::new();
    // Who makes answers without tools wants to see them as well.
    for prefix in ["/v1", "/no-tools/v1"] {
        let (one, chats_path) =
            (format!("{prefix}/responses/{{response_id}}"), format!("{prefix}/chat/completions"));
        let one_chat = format!("{chats_path}/{{completion_id}}");
        router = router
            .route(&one, get(response).delete(delete_response))
            .route(&format!("{one}/input_items"), get(input_items))
            .route(&format!("{one}/cancel"), post(cancel))
            // The route that makes them lists them.
            .route(&chats_path, get(chats))
            .route(&one_chat, get(chat).post(update_chat).delete(delete_chat))
            .route(&format!("{one_chat}/messages"), get(messages));
    }
    router.with_state(answers)
}

impl Answers {
    async fn known(&self, kind: Kind, id: &str) -> Result<Answer, ApiError> {
        if !self.dialogues.keeps() {
            return Err(ApiError::nothing_kept());
        }
        let what = match kind {
            Kind::Response => "response",
            Kind::Chat => "chat completion",
        };
        let found = self.dialogues.store().answer(kind, id).await?;
        found.ok_or_else(|| ApiError::unknown_answer(what, id))
    }
}

async fn response(State(answers): State<Answers>, id: Id, uri: Uri) -> Result<Response, ApiError> {
    let id = one(id);
    let answer = answers.known(Kind::Response, &id).await?;
    let resumed = Resumed::read(&uri)?;
    if resumed.is_stream {
        let after = resumed.after.unwrap_or(-1);
        return answers.background.follow(&id, after).ok_or_else(ApiError::no_events);
    }
    let so_far = if answer.is_open() { answers.background.so_far(&id) } else { None };
    Ok(json_of(so_far.unwrap_or(answer.body).into_bytes()))
}

fn bad(name: &'static str, why: &str) -> Reject {
    Reject::bad(name, "invalid_value", format!("Invalid '{name}': {why}."))
}

/// Whether the events of an answer are wanted, and from where on.
#[derive(Default)]
struct Resumed {
    is_stream: bool,
    after: Option<i64>,
}

impl Resumed {
    fn read(uri: &Uri) -> Result<Self, ApiError> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(pairs) = pairs.map_err(|_| ApiError::bad_query("query"))?;
        let mut resumed = Self::default();
        for (name, value) in pairs {
            match (&*name, &*value) {
                ("stream", "true") => resumed.is_stream = true,
                ("stream", "false") => resumed.is_stream = false,
                ("stream", _) => return Err(bad("stream", "expected 'true' or 'false'").into()),
                ("starting_after", number) => {
                    let number = number.parse().ok().filter(|number| *number >= 0);
                    let bad = || bad("starting_after", "expected the number of an event");
                    resumed.after = Some(number.ok_or_else(bad)?);
                }
                _ => {}
            }
        }
        Ok(resumed)
    }
}

async fn delete_response(State(answers): State<Answers>, id: Id) -> Result<Response, ApiError> {
    let id = one(id);
    if answers.known(Kind::Response, &id).await?.is_open() {
        answers.background.cancel(&id).await;
    }
    answers.dialogues.store().delete_answer(Kind::Response, &id).await?;
    answers.background.forget(&id);
    json(&Deleted::of("response", id))
}

async fn cancel(State(answers): State<Answers>, id: Id) -> Result<Response, ApiError> {
    let id = one(id);
    let answer = answers.known(Kind::Response, &id).await?;
    if !answer.background {
        return Err(ApiError::not_in_background());
    }
    if !answer.is_open() {
        return Ok(json_of(answer.body.into_bytes()));
    }
    answers.background.cancel(&id).await;
    Ok(json_of(answers.known(Kind::Response, &id).await?.body.into_bytes()))
}

async fn input_items(
    State(answers): State<Answers>,
    id: Id,
    uri: Uri,
) -> Result<Response, ApiError> {
    asked(&answers, Kind::Response, one(id), &uri).await
}

async fn messages(State(answers): State<Answers>, id: Id, uri: Uri) -> Result<Response, ApiError> {
    asked(&answers, Kind::Chat, one(id), &uri).await
}

async fn asked(answers: &Answers, kind: Kind, id: String, uri: &Uri) -> Result<Response, ApiError> {
    answers.known(kind, &id).await?;
    let (mut page, _) = page::read(uri, LENGTHS)?;
    if kind == Kind::Chat && !says_order(uri) {
        page.order = store::Order::Asc;
    }
    let listed = answers.dialogues.store().asked(&id, page.clone()).await?;
    let Listed { entries, has_more } =
        listed.map_err(|UnknownCursor| page::unknown_cursor(&page))?;
    page::items(entries, has_more)
}

async fn chat(State(answers): State<Answers>, id: Id) -> Result<Response, ApiError> {
    Ok(json_of(answers.known(Kind::Chat, &one(id)).await?.body.into_bytes()))
}

async fn update_chat(
    State(answers): State<Answers>,
    id: Id,
    JsonBody { exchange: _, bytes }: JsonBody,
) -> Result<Response, ApiError> {
    let id = one(id);
    let answer = answers.known(Kind::Chat, &id).await?;
    let metadata = {
        let doc = Doc::parse(&bytes).map_err(Reject::from)?;
        let given = doc.root().object()?.required("metadata")?;
        if given.is_null() { "{}".to_owned() } else { memory::metadata(given)? }
    };
    let body = with_metadata(answer.body.as_bytes(), &metadata);
    let store = answers.dialogues.store();
    if !store.update_answer(Kind::Chat, &id, (metadata, body.clone())).await? {
        return Err(ApiError::unknown_answer("chat completion", &id));
    }
    Ok(json_of(body.into_bytes()))
}

async fn delete_chat(State(answers): State<Answers>, id: Id) -> Result<Response, ApiError> {
    let id = one(id);
    answers.known(Kind::Chat, &id).await?;
    answers.dialogues.store().delete_answer(Kind::Chat, &id).await?;
    json(&Deleted::of("chat.completion.deleted", id))
}

async fn chats(State(answers): State<Answers>, uri: Uri) -> Result<Response, ApiError> {
    if !answers.dialogues.keeps() {
        return Err(ApiError::nothing_kept());
    }
    let (mut page, others) = page::read(&uri, LENGTHS)?;
    // As the platform has it for chats alone.
    if !says_order(&uri) {
        page.order = store::Order::Asc;
    }
    let (mut model, mut metadata) = (None, Vec::new());
    for (name, value) in others {
        let key = name.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']'));
        match (key, &*name) {
            (Some(key), _) => metadata.push((key.to_owned(), value)),
            (None, "model") => model = Some(value),
            (None, _) => {}
        }
    }
    let store = answers.dialogues.store();
    let listed = store.answers(Kind::Chat, page.clone(), (model, metadata)).await?;
    let Listed { entries, has_more } =
        listed.map_err(|UnknownCursor| page::unknown_cursor(&page))?;
    let entries = entries.into_iter().map(|it| Item { id: it.id, json: it.body }).collect();
    page::items(entries, has_more)
}

fn says_order(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("order=")))
}
