//! Conversations: what they are called, and what was said in them, an item a row.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::value::RawValue;

use super::{Listed, Page, Store, Unavailable, UnknownCursor, new_id, schema};
use crate::object::Object;

/// What is known of a conversation, apart from its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    pub id: String,
    /// A JSON object of strings.
    pub metadata: String,
    pub latest_response_id: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

/// One item: its id, and the JSON object that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: String,
    pub json: String,
}

/// What ids of items begin with, by their type.
const PREFIXES: &[(&str, &str)] = &[
    ("message", "msg_"),
    ("reasoning", "rs_"),
    ("function_call", "fc_"),
    ("function_call_output", "fco_"),
    ("custom_tool_call", "ctc_"),
    ("custom_tool_call_output", "ctco_"),
    ("local_shell_call", "lsh_"),
    ("web_search_call", "ws_"),
    ("image_generation_call", "ig_"),
    ("compaction", "cmp_"),
    ("compaction_summary", "cmp_"),
];

impl Item {
    /// The item `json` under its own id, or under a new one if it has none. `None` if it is no
    /// object, or if there is no randomness.
    ///
    /// What is encrypted in an item belongs to its id, so that no other is written into it.
    pub fn named(json: &str) -> Option<Self> {
        let object = Object::read(json.as_bytes())?;
        match object.filled("id") {
            Some(id) => Some(Self { id, json: json.to_owned() }),
            None if is_sealed(&object) => {
                let kind = object.text("type").unwrap_or_default();
                Some(Self { id: new_id(prefix(&kind)).ok()?, json: json.to_owned() })
            }
            None => Self::renamed(json),
        }
    }

    /// The item with its id in it, as it is shown.
    pub fn shown(self) -> String {
        let has_id = Object::read(self.json.as_bytes()).is_some_and(|it| it.filled("id").is_some());
        match self.json.strip_prefix('{') {
            Some(rest) if !has_id => {
                let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
                format!("{{\"id\":{}{comma}{rest}", quoted(&self.id))
            }
            Some(_) | None => self.json,
        }
    }

    /// Whether it would not be the same under another id.
    fn is_sealed(&self) -> bool {
        Object::read(self.json.as_bytes()).is_some_and(|object| is_sealed(&object))
    }

    /// The item `json` under a new id, which stands first in it.
    pub fn renamed(json: &str) -> Option<Self> {
        let object = Object::read(json.as_bytes())?;
        let kind = object.text("type").unwrap_or_default();
        let id = new_id(prefix(&kind)).ok()?;
        let fields = object.fields().filter(|(name, _)| *name != "id");
        let fields = fields.map(|(name, value)| format!(",{}:{}", quoted(name), value.get()));
        // What a client says is whole when it comes.
        let has_status = ["message", "function_call", "function_call_output"].contains(&&*kind);
        let is_open = has_status && object.raw("status").is_none();
        let status = if is_open { ",\"status\":\"completed\"" } else { "" };
        let json = format!("{{\"id\":\"{id}\"{}{status}}}", fields.collect::<String>());
        Some(Self { id, json })
    }

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, json: row.get(1)? })
    }
}

fn prefix(kind: &str) -> &'static str {
    let known = PREFIXES.iter().find(|(known, _)| *known == kind);
    known.map_or("item_", |(_, prefix)| prefix)
}

fn is_sealed(object: &Object<'_>) -> bool {
    let kind = object.text("type").unwrap_or_default();
    ["reasoning", "compaction", "compaction_summary"].contains(&&*kind)
}

fn quoted(name: &str) -> String {
    serde_json::to_string(name).unwrap_or_default()
}

impl Conversation {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            metadata: row.get(1)?,
            latest_response_id: row.get(2)?,
            created_at: row.get(3)?,
            updated_at: row.get(4)?,
        })
    }

    pub(super) fn insert(&self, db: &Connection) -> rusqlite::Result<()> {
        let sql = format!("INSERT INTO conversations ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)");
        db.prepare_cached(&sql)?.execute(params![
            self.id,
            self.metadata,
            self.latest_response_id,
            self.created_at,
            self.updated_at,
        ])?;
        Ok(())
    }
}

const COLUMNS: &str = "id, metadata, latest_response_id, created_at, updated_at";

pub(super) fn count(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT COUNT(*) FROM conversations")?.query_row([], |row| row.get(0))
}

fn find(db: &Connection, id: &str) -> rusqlite::Result<Option<Conversation>> {
    let sql = format!("SELECT {COLUMNS} FROM conversations WHERE id = ?1");
    db.prepare_cached(&sql)?.query_row([id], Conversation::of).optional()
}

/// Adds `items` behind the others. One whose id is taken already gets another, unless it is the
/// same thought.
pub(super) fn append(db: &Connection, id: &str, items: &[Item]) -> rusqlite::Result<Vec<Item>> {
    let mut insert = db.prepare_cached(
        "INSERT INTO items (conversation, id, item) VALUES (?1, ?2, ?3)
         ON CONFLICT (conversation, id) DO NOTHING",
    )?;
    let mut added = Vec::with_capacity(items.len());
    for item in items {
        let mut item = item.clone();
        if insert.execute(params![id, item.id, item.json])? == 0 {
            if item.is_sealed() {
                // It is there, and nowhere else would it mean anything.
                continue;
            }
            item = Item::renamed(&item.json).ok_or(rusqlite::Error::InvalidQuery)?;
            insert.execute(params![id, item.id, item.json])?;
        }
        added.push(item);
    }
    Ok(added)
}

fn touch(db: &Connection, id: &str, now: i64) -> rusqlite::Result<bool> {
    let sql = "UPDATE conversations SET updated_at = MAX(updated_at, ?2) WHERE id = ?1";
    Ok(db.prepare_cached(sql)?.execute(params![id, now])? > 0)
}

/// `metadata` with the members of `changes` in place of its own.
pub fn merged(metadata: &str, changes: &str) -> Option<String> {
    let (old, new) = (Object::read(metadata.as_bytes())?, Object::read(changes.as_bytes())?);
    let mut members: Vec<(&str, &RawValue)> = Vec::new();
    for (name, value) in old.fields().chain(new.fields()) {
        match members.iter_mut().find(|(known, _)| *known == name) {
            Some(member) => member.1 = value,
            None => members.push((name, value)),
        }
    }
    let members = members.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.get()));
    Some(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

impl Store {
    /// Begins a conversation with `items`. `metadata` is a JSON object of strings.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, as of all that follows.
    pub async fn create_conversation(
        &self,
        metadata: String,
        items: Vec<Item>,
    ) -> Result<Conversation, Unavailable> {
        let now = self.0.clock.unix();
        let conversation = Conversation {
            id: new_id("conv_")?,
            metadata,
            latest_response_id: None,
            created_at: now,
            updated_at: now,
        };
        let created = conversation.clone();
        self.write(move |db| {
            conversation.insert(db)?;
            append(db, &conversation.id, &items).map(drop)
        })
        .await?;
        Ok(created)
    }

    /// The conversation `id`, if there is one.
    pub async fn conversation(&self, id: &str) -> Result<Option<Conversation>, Unavailable> {
        let id = id.to_owned();
        self.read(move |db| find(db, &id)).await
    }

    /// Changes the metadata of a conversation, if there is such: by the members of `changes`, or to
    /// nothing if that is `None`.
    pub async fn update_conversation(
        &self,
        id: &str,
        changes: Option<String>,
    ) -> Result<Option<Conversation>, Unavailable> {
        let (id, now) = (id.to_owned(), self.0.clock.unix());
        self.write(move |db| {
            let Some(found) = find(db, &id)? else { return Ok(None) };
            let merged = changes.map_or(Some("{}".to_owned()), |new| merged(&found.metadata, &new));
            let metadata = merged.unwrap_or(found.metadata);
            db.prepare_cached("UPDATE conversations SET metadata = ?2 WHERE id = ?1")?
                .execute(params![id, metadata])?;
            touch(db, &id, now)?;
            find(db, &id)
        })
        .await
    }

    /// Removes the conversation `id` and all that was said in it. Whether there was one.
    pub async fn delete_conversation(&self, id: &str) -> Result<bool, Unavailable> {
        let id = id.to_owned();
        self.write(move |db| {
            let mut delete = db.prepare_cached("DELETE FROM conversations WHERE id = ?1")?;
            Ok(delete.execute([id])? > 0)
        })
        .await
    }

    /// All that was said in the conversation `id`, in order. `None` if there is no such.
    pub async fn history(&self, id: &str) -> Result<Option<Vec<Item>>, Unavailable> {
        let id = id.to_owned();
        self.read(move |db| {
            if find(db, &id)?.is_none() {
                return Ok(None);
            }
            let sql = "SELECT id, item FROM items WHERE conversation = ?1 ORDER BY seq";
            let mut query = db.prepare_cached(sql)?;
            let items = query.query_map([id], Item::of)?;
            items.collect::<Result<_, _>>().map(Some)
        })
        .await
    }

    /// A page of what was said in the conversation `id`. `None` if there is no such.
    pub async fn items(
        &self,
        id: &str,
        page: Page,
    ) -> Result<Option<Result<Listed<Item>, UnknownCursor>>, Unavailable> {
        let id = id.to_owned();
        self.read(move |db| {
            if find(db, &id)?.is_none() {
                return Ok(None);
            }
            list(db, &id, &page).map(Some)
        })
        .await
    }

    /// One item of a conversation.
    pub async fn item(&self, id: &str, item: &str) -> Result<Option<Item>, Unavailable> {
        let (id, item) = (id.to_owned(), item.to_owned());
        self.read(move |db| {
            let sql = "SELECT id, item FROM items WHERE conversation = ?1 AND id = ?2";
            db.prepare_cached(sql)?.query_row(params![id, item], Item::of).optional()
        })
        .await
    }

    /// Adds items to the conversation `id`, and what they are called there. `None` if there is no
    /// such. An answer that they belong to becomes its latest.
    pub async fn append(
        &self,
        id: &str,
        items: Vec<Item>,
        response: Option<String>,
    ) -> Result<Option<Vec<Item>>, Unavailable> {
        let (id, now) = (id.to_owned(), self.0.clock.unix());
        self.write(move |db| append_turn(db, &id, &items, response.as_deref(), now)).await
    }

    /// Removes one item. The conversation, if there were both.
    pub async fn delete_item(
        &self,
        id: &str,
        item: &str,
    ) -> Result<Option<Conversation>, Unavailable> {
        let (id, item, now) = (id.to_owned(), item.to_owned(), self.0.clock.unix());
        self.write(move |db| {
            let sql = "DELETE FROM items WHERE conversation = ?1 AND id = ?2";
            if db.prepare_cached(sql)?.execute(params![id, item])? == 0 {
                return Ok(None);
            }
            touch(db, &id, now)?;
            find(db, &id)
        })
        .await
    }
}

/// Adds `items` to the conversation `id`, if there is such.
pub(super) fn append_turn(
    db: &Connection,
    id: &str,
    items: &[Item],
    response: Option<&str>,
    now: i64,
) -> rusqlite::Result<Option<Vec<Item>>> {
    if !touch(db, id, now)? {
        return Ok(None);
    }
    if let Some(response) = response {
        db.prepare_cached("UPDATE conversations SET latest_response_id = ?2 WHERE id = ?1")?
            .execute(params![id, response])?;
    }
    append(db, id, items).map(Some)
}

fn list(
    db: &Connection,
    id: &str,
    page: &Page,
) -> rusqlite::Result<Result<Listed<Item>, UnknownCursor>> {
    let from = match &page.after {
        None => None,
        Some(after) => {
            let sql = "SELECT seq FROM items WHERE conversation = ?1 AND id = ?2";
            let place = schema::place(db, sql, (id, after))?;
            let Some(place) = place else { return Ok(Err(UnknownCursor)) };
            Some(place)
        }
    };
    let (comparison, direction) = page.order.sql();
    let sql = format!(
        "SELECT id, item FROM items WHERE conversation = ?1
         AND (?2 IS NULL OR seq {comparison} ?2) ORDER BY seq {direction} LIMIT ?3"
    );
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut query = db.prepare_cached(&sql)?;
    let items = query.query_map(params![id, from, limit], Item::of)?;
    Ok(Ok(Listed::of(items.collect::<Result<_, _>>()?, page.limit)))
}
