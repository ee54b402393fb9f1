//! `/v1/conversations`: dialogues that the relay remembers, and their items.
//!
//! Not here: what a turn makes of them (`dialogue`).

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::{get, post},
};
use http::Uri;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    api::{
        disclosure::disclose,
        error::ApiError,
        extract::JsonBody,
        json,
        page::{self, Deleted, Id, Lengths, one},
    },
    dialogue::Dialogues,
    store::{self, Conversation, Item},
    wire::{
        content::file::Local,
        json::{Doc, Value},
        reject::Reject,
        request::{Options, memory},
    },
};

const LENGTHS: Lengths = Lengths { usual: 20, most: 100 };
/// How many items may come at once.
const MAX_ITEMS: usize = 20;

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Conversations {
    pub dialogues: Dialogues,
}

pub fn router(conversations: Conversations) -> Router {
    let mut router = Router::new();
    for prefix in ["/v1", "/no-tools/v1"] {
        let all = format!("{prefix}/conversations");
        let one = format!("{all}/{{conversation_id}}");
        let items = format!("{one}/items");
        let item = format!("{items}/{{item_id}}");
        router = router
            .route(&all, post(create))
            .route(&one, get(retrieve).post(update).delete(delete))
            .route(&items, get(list_items).post(add_items))
            .route(&item, get(retrieve_item).delete(delete_item));
    }
    router.with_state(conversations)
}

/// `Conversation` of the published document, and what is known besides.
#[derive(Debug, Serialize)]
struct Document {
    id: String,
    object: &'static str,
    created_at: i64,
    updated_at: i64,
    latest_response_id: Option<String>,
    metadata: Box<RawValue>,
}

impl TryFrom<Conversation> for Document {
    type Error = ApiError;

    fn try_from(conversation: Conversation) -> Result<Self, ApiError> {
        Ok(Self {
            id: conversation.id,
            object: "conversation",
            created_at: conversation.created_at,
            updated_at: conversation.updated_at,
            latest_response_id: conversation.latest_response_id,
            metadata: page::raw(conversation.metadata)?,
        })
    }
}

fn both(ids: Id<(String, String)>) -> (String, String) {
    ids.map_or_else(|_| <_>::default(), |Path(ids)| ids)
}

async fn create(
    State(conversations): State<Conversations>,
    JsonBody { exchange: _, bytes }: JsonBody,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&bytes, |body| body.given("items"))?;
    let metadata = match asked.metadata {
        Said::Nothing | Said::None => "{}".to_owned(),
        Said::These(metadata) => metadata,
    };
    let store = conversations.dialogues.store();
    let created = store.create_conversation(metadata, asked.items).await?;
    let mut response = json(&Document::try_from(created)?)?;
    disclose(&asked.ignored, response.headers_mut());
    Ok(response)
}

async fn retrieve(
    State(conversations): State<Conversations>,
    id: Id,
) -> Result<Response, ApiError> {
    let id = one(id);
    let found = conversations.dialogues.store().conversation(&id).await?;
    json(&Document::try_from(found.ok_or_else(|| ApiError::unknown_conversation(&id))?)?)
}

async fn update(
    State(conversations): State<Conversations>,
    id: Id,
    JsonBody { exchange: _, bytes }: JsonBody,
) -> Result<Response, ApiError> {
    let id = one(id);
    let asked = Asked::read(&bytes, |_| None)?;
    let store = conversations.dialogues.store();
    let found = match asked.metadata {
        Said::Nothing => store.conversation(&id).await?,
        Said::None => store.update_conversation(&id, None).await?,
        Said::These(changes) => {
            let known = store.conversation(&id).await?;
            if let Some(merged) = known.and_then(|it| store::merged(&it.metadata, &changes)) {
                // Together they have to be what metadata may be.
                let doc = Doc::parse(merged.as_bytes()).map_err(Reject::from)?;
                let named = |reject| Reject { param: Some("metadata".to_owned()), ..reject };
                memory::metadata(doc.root()).map_err(named)?;
            }
            store.update_conversation(&id, Some(changes)).await?
        }
    };
    let found = found.ok_or_else(|| ApiError::unknown_conversation(&id))?;
    let mut response = json(&Document::try_from(found)?)?;
    disclose(&asked.ignored, response.headers_mut());
    Ok(response)
}

async fn delete(State(conversations): State<Conversations>, id: Id) -> Result<Response, ApiError> {
    let id = one(id);
    if !conversations.dialogues.store().delete_conversation(&id).await? {
        return Err(ApiError::unknown_conversation(&id));
    }
    json(&Deleted::of("conversation.deleted", id))
}

async fn list_items(
    State(conversations): State<Conversations>,
    id: Id,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = one(id);
    let (page, _) = page::read(&uri, LENGTHS)?;
    let listed = conversations.dialogues.store().items(&id, page.clone()).await?;
    let listed = listed.ok_or_else(|| ApiError::unknown_conversation(&id))?;
    let listed = listed.map_err(|store::UnknownCursor| page::unknown_cursor(&page))?;
    page::items(listed.entries, listed.has_more)
}

async fn add_items(
    State(conversations): State<Conversations>,
    id: Id,
    JsonBody { exchange: _, bytes }: JsonBody,
) -> Result<Response, ApiError> {
    let id = one(id);
    let asked = Asked::read(&bytes, |body| Some(body.get("items").unwrap_or(body)))?;
    let alone = conversations.dialogues.alone_in(&id).await?;
    let added = conversations.dialogues.store().append(&id, asked.items, None).await?;
    drop(alone);
    let mut response =
        page::items(added.ok_or_else(|| ApiError::unknown_conversation(&id))?, false)?;
    disclose(&asked.ignored, response.headers_mut());
    Ok(response)
}

async fn retrieve_item(
    State(conversations): State<Conversations>,
    ids: Id<(String, String)>,
) -> Result<Response, ApiError> {
    let (id, item) = both(ids);
    let store = conversations.dialogues.store();
    if store.conversation(&id).await?.is_none() {
        return Err(ApiError::unknown_conversation(&id));
    }
    let found = store.item(&id, &item).await?;
    json(&page::raw(found.ok_or_else(|| ApiError::unknown_item(&item))?.shown())?)
}

async fn delete_item(
    State(conversations): State<Conversations>,
    ids: Id<(String, String)>,
) -> Result<Response, ApiError> {
    let (id, item) = both(ids);
    let alone = conversations.dialogues.alone_in(&id).await?;
    let store = conversations.dialogues.store();
    if store.conversation(&id).await?.is_none() {
        return Err(ApiError::unknown_conversation(&id));
    }
    let found = store.delete_item(&id, &item).await?;
    drop(alone);
    json(&Document::try_from(found.ok_or_else(|| ApiError::unknown_item(&item))?)?)
}

/// What a body says of metadata.
enum Said {
    Nothing,
    /// There are to be none.
    None,
    These(String),
}

/// What a body says.
struct Asked {
    metadata: Said,
    items: Vec<Item>,
    ignored: Vec<String>,
}

impl Asked {
    fn read(
        bytes: &[u8],
        items_of: impl FnOnce(Value<'_>) -> Option<Value<'_>>,
    ) -> Result<Self, ApiError> {
        // A body may be left out where there is nothing to say.
        let doc = Doc::parse(if bytes.trim_ascii().is_empty() { b"{}" } else { bytes });
        let doc = doc.map_err(Reject::from)?;
        let body = doc.root();
        let given = items_of(body.object()?).filter(|given| !given.is_null());
        let (items, left_out) = given.map(read_items).transpose()?.unwrap_or_default();
        let metadata = match body.get("metadata") {
            None => Said::Nothing,
            Some(none) if none.is_null() => Said::None,
            Some(given) => Said::These(memory::metadata(given)?),
        };
        let known = ["items", "metadata"];
        let unknown = body.entries().filter(|entry| !known.iter().any(|it| entry.key.is(it)));
        let is_whole = given.is_some_and(|given| given.place() == body.place());
        let ignored = unknown.filter(|_| !is_whole).map(|entry| entry.value.path());
        let ignored = ignored.chain(left_out).collect();
        Ok(Self { metadata, items, ignored })
    }
}

/// Items as they are kept, and what of them is left out.
fn read_items(given: Value<'_>) -> Result<(Vec<Item>, Vec<String>), ApiError> {
    if given.array()?.items().count() > MAX_ITEMS {
        let path = given.path();
        let message = format!("Invalid '{path}': at most {MAX_ITEMS} items can be added at once.");
        return Err(Reject::bad(path, "array_above_max_length", message).into());
    }
    let options = Options { local: true, files: &|_| Some(Local::Reference), ..Options::PLAIN };
    let (items, left_out) = memory::kept_items(given, &options)?;
    Ok((items.iter().filter_map(|item| Item::named(item)).collect(), left_out))
}
