//! Answers that their clients want kept: response objects and chat completions, with the items or
//! messages that they answer.
//!
//! An answer that goes on from another belongs to its chain. A chain is kept as long as its latest
//! answer, and goes as a whole when it is too old or there is no room: half of a dialogue is of no
//! use. One that was begun and not finished when the program ended has failed.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Item, Listed, Order, Page, Settings, Store, Unavailable, UnknownCursor, conversations, schema,
};
use crate::object::{self, Object};

/// What kind of object an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Response,
    Chat,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Chat => "chat",
        }
    }
}

/// An answer that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub id: String,
    pub kind: Kind,
    /// The answer that it goes on from.
    pub previous: Option<String>,
    /// Whether nobody waited for it.
    pub background: bool,
    /// `in_progress`, or what it came to.
    pub status: String,
    pub model: String,
    /// A JSON object of strings.
    pub metadata: String,
    /// The object, as its client got it.
    pub body: String,
    pub created_at: i64,
}

impl Answer {
    /// Whether it is still being made.
    pub fn is_open(&self) -> bool {
        self.status == OPEN
    }
}

/// What became of keeping something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Done,
    /// The conversation that it belongs to is gone.
    Gone,
    /// The answer that it goes on from is gone.
    NoPrevious,
    /// It is larger than all that may be kept, in bytes.
    NoRoom {
        limit: u64,
    },
}

/// What is to be kept of a turn.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub answer: Option<Answer>,
    /// What the answer answers, as its kind has it. Not again if it was begun before.
    pub asked: Vec<Item>,
    pub output: Vec<Item>,
    /// The conversation, what is added to it, and the response that it then has last.
    pub conversation: Option<(String, Vec<Item>, Option<String>)>,
}

const OPEN: &str = "in_progress";
const COLUMNS: &str = "id, kind, previous, background, status, model, metadata, body, created_at";

fn of(row: &Row<'_>) -> rusqlite::Result<Answer> {
    let kind: String = row.get(1)?;
    Ok(Answer {
        id: row.get(0)?,
        kind: if kind == Kind::Chat.as_str() { Kind::Chat } else { Kind::Response },
        previous: row.get(2)?,
        background: row.get(3)?,
        status: row.get(4)?,
        model: row.get(5)?,
        metadata: row.get(6)?,
        body: row.get(7)?,
        created_at: row.get(8)?,
    })
}

fn find(db: &Connection, kind: Kind, id: &str) -> rusqlite::Result<Option<Answer>> {
    let sql = format!("SELECT {COLUMNS} FROM answers WHERE id = ?1 AND kind = ?2");
    db.prepare_cached(&sql)?.query_row(params![id, kind.as_str()], of).optional()
}

pub(super) fn count(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT COUNT(*) FROM answers")?.query_row([], |row| row.get(0))
}

fn size(text: &[Item]) -> usize {
    text.iter().map(|item| item.json.len()).sum()
}

fn in_sql(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Writes `answer` down, new or in place of what was begun, with its items. Whether there still is
/// what it goes on from.
///
/// One that has ended stays as it is: whoever comes second has lost.
fn write(
    db: &Connection,
    (answer, asked, output): (&Answer, &[Item], &[Item]),
    run: &str,
    conversation: Option<&str>,
) -> rusqlite::Result<bool> {
    let chain: Option<String> = match &answer.previous {
        None => None,
        Some(previous) => db
            .prepare_cached("SELECT chain FROM answers WHERE id = ?1")?
            .query_row([previous], |row| row.get(0))
            .optional()?,
    };
    if answer.previous.is_some() && chain.is_none() {
        return Ok(false);
    }
    let begun = find(db, answer.kind, &answer.id)?;
    if begun.as_ref().is_some_and(|begun| !begun.is_open()) {
        return Ok(true);
    }
    let asked = if begun.is_some() { &[] } else { asked };
    let upto: Option<i64> = match conversation {
        None => None,
        Some(id) => db
            .prepare_cached("SELECT MAX(seq) FROM items WHERE conversation = ?1")?
            .query_row([id], |row| row.get(0))?,
    };
    let bytes = in_sql(answer.body.len() + size(asked) + size(output));
    db.prepare_cached(
        "INSERT INTO answers (id, kind, chain, previous, background, status, model, metadata,
            body, bytes, created_at, run, conversation, upto)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, body = excluded.body,
            model = excluded.model, bytes = bytes + excluded.bytes, upto = excluded.upto,
            conversation = excluded.conversation",
    )?
    .execute(params![
        answer.id,
        answer.kind.as_str(),
        chain.as_deref().unwrap_or(&answer.id),
        answer.previous,
        answer.background,
        answer.status,
        answer.model,
        answer.metadata,
        answer.body,
        bytes,
        answer.created_at,
        run,
        conversation,
        upto,
    ])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO answer_items (answer, id, is_output, item) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (items, is_output) in [(asked, false), (output, true)] {
        for item in items {
            insert.execute(params![answer.id, item.id, is_output, item.json])?;
        }
    }
    Ok(true)
}

/// Removes chains, the one that was not used for longest first, until there is room again for a
/// while. Not that of `keep`.
fn make_room(db: &Connection, keep: &str, limit: u64) -> rusqlite::Result<bool> {
    let all = |db: &Connection| -> rusqlite::Result<u64> {
        let mut query = db.prepare_cached("SELECT bytes FROM answer_bytes")?;
        let bytes: i64 = query.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(bytes).unwrap_or_default())
    };
    if all(db)? <= limit {
        return Ok(true);
    }
    let mut chains = db.prepare_cached(
        "SELECT chain FROM answers
         WHERE chain <> (SELECT chain FROM answers WHERE id = ?1)
         GROUP BY chain ORDER BY MAX(created_at), MAX(seq)",
    )?;
    let chains: Vec<String> =
        chains.query_map([keep], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for chain in chains {
        db.prepare_cached("DELETE FROM answers WHERE chain = ?1")?.execute([chain])?;
        if all(db)? <= limit / 10 * 9 {
            break;
        }
    }
    Ok(all(db)? <= limit)
}

/// Removes what is too old.
pub(super) fn sweep(db: &Connection, settings: &Settings, now: i64) -> rusqlite::Result<()> {
    let oldest = now.saturating_sub(settings.keep_answers);
    db.execute(
        "DELETE FROM answers WHERE chain IN
            (SELECT chain FROM answers GROUP BY chain HAVING MAX(created_at) < ?1)",
        [oldest],
    )?;
    Ok(())
}

/// What was being made when another run of the program ended has failed, and says so.
pub(super) fn fail_open(db: &Connection, run: &str) -> rusqlite::Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM answers WHERE status = ?1 AND run <> ?2");
    let open = db.prepare(&sql)?.query_map([OPEN, run], of)?.collect::<Result<Vec<_>, _>>()?;
    for answer in open {
        let error =
            br#"{"code":"server_error","message":"The relay ended before this answer did."}"#;
        let body = ended(&answer.body, "failed", error);
        db.execute(
            "UPDATE answers SET status = 'failed', body = ?2 WHERE id = ?1",
            params![answer.id, body],
        )?;
    }
    Ok(())
}

/// The response object `body` as one that ended with `status` and `error`.
pub fn ended(body: &str, status: &str, error: &[u8]) -> String {
    let mut whole = body.as_bytes().to_vec();
    let status = format!("\"{status}\"");
    for (name, value) in [("status", status.as_bytes()), ("error", error)] {
        whole = object::with(&whole, name, value).unwrap_or(whole);
    }
    String::from_utf8(whole).unwrap_or_default()
}

/// What was said up to an answer and by it.
#[derive(Debug, Default)]
struct Chain {
    /// Oldest first, and whether each is output of the answer itself.
    items: Vec<(Item, bool)>,
    /// Whether nothing of it is gone.
    is_whole: bool,
}

/// The end of a chain, for whoever goes on from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// What the chain is called: its first answer.
    pub name: String,
    /// Whether its last answer is still being made.
    pub is_open: bool,
    /// All that was said up to it and by it, in order; `None` if something of that is gone.
    pub said: Option<Vec<Item>>,
}

const BACK: &str = "WITH RECURSIVE back (id, previous, conversation, upto, depth) AS (
        SELECT id, previous, conversation, upto, 0 FROM answers WHERE id = ?1
        UNION ALL
        SELECT answers.id, answers.previous, answers.conversation, answers.upto, depth + 1
        FROM answers JOIN back ON answers.id = back.previous
    )";

/// The chain up to the answer `id`. Where it begins in a conversation, that is part of it.
fn chain(db: &Connection, id: &str) -> rusqlite::Result<Chain> {
    let first = format!(
        "{BACK} SELECT id, previous, conversation, upto FROM back ORDER BY depth DESC LIMIT 1"
    );
    let first = db.prepare_cached(&first)?.query_row([id], |row| {
        let previous: Option<String> = row.get(1)?;
        Ok((row.get::<_, String>(0)?, previous, row.get::<_, Option<String>>(2)?, row.get(3)?))
    });
    let Some((first, previous, conversation, upto)) = first.optional()? else {
        return Ok(Chain::default());
    };
    let mut chain = Chain { items: Vec::new(), is_whole: previous.is_none() };
    if let Some(conversation) = &conversation {
        let before = said_before(db, (conversation, upto), &first)?;
        chain.is_whole &= before.is_some();
        chain.items = before.unwrap_or_default().into_iter().map(|item| (item, false)).collect();
    }
    let sql = format!(
        "{BACK} SELECT answer_items.id, item, is_output AND depth = 0
         FROM back JOIN answer_items ON answer = back.id ORDER BY depth DESC, seq"
    );
    let mut query = db.prepare_cached(&sql)?;
    let items = query
        .query_map([id], |row| Ok((Item { id: row.get(0)?, json: row.get(1)? }, row.get(2)?)))?;
    for item in items {
        chain.items.push(item?);
    }
    Ok(chain)
}

/// What a conversation had before the answer `id` took its turn in it. `None` if it is gone.
fn said_before(
    db: &Connection,
    (conversation, upto): (&str, Option<i64>),
    id: &str,
) -> rusqlite::Result<Option<Vec<Item>>> {
    let there = "SELECT 1 FROM conversations WHERE id = ?1";
    if !db.prepare_cached(there)?.exists([conversation])? {
        return Ok(None);
    }
    // Its own items have the same ids in both.
    let sql = "SELECT id, item FROM items WHERE conversation = ?1 AND seq <= ?2
         AND id NOT IN (SELECT id FROM answer_items WHERE answer = ?3) ORDER BY seq";
    let mut query = db.prepare_cached(sql)?;
    let items = query.query_map(params![conversation, upto, id], |row| {
        Ok(Item { id: row.get(0)?, json: row.get(1)? })
    })?;
    items.collect::<Result<_, _>>().map(Some)
}

/// The part of `items` that `page` asks for.
fn paged(mut items: Vec<Item>, page: &Page) -> Result<Listed<Item>, UnknownCursor> {
    if page.order == Order::Desc {
        items.reverse();
    }
    if let Some(after) = &page.after {
        let place = items.iter().position(|item| item.id == *after).ok_or(UnknownCursor)?;
        items.drain(..=place);
    }
    Ok(Listed::of(items, page.limit))
}

impl Store {
    /// Keeps what a turn has come to, all of it or nothing.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, as of all that follows.
    pub async fn keep_turn(&self, outcome: Outcome) -> Result<Kept, Unavailable> {
        let (now, limit) = (self.0.clock.unix(), self.0.settings.max_answers);
        let run = self.0.worker.run();
        let keep = move |db: &Connection| {
            if let Some((conversation, items, response)) = &outcome.conversation {
                let response = response.as_deref();
                if conversations::append_turn(db, conversation, items, response, now)?.is_none() {
                    return Ok(Kept::Gone);
                }
            }
            if let Some(answer) = &outcome.answer {
                let conversation = outcome.conversation.as_ref().map(|(id, ..)| &**id);
                let all = (answer, &*outcome.asked, &*outcome.output);
                if !write(db, all, &run, conversation)? {
                    return Ok(Kept::NoPrevious);
                }
                if !make_room(db, &answer.id, limit)? {
                    return Ok(Kept::NoRoom { limit });
                }
            }
            Ok(Kept::Done)
        };
        self.write_if(keep, |kept| *kept == Kept::Done).await
    }

    /// The answer `id`, if it is kept.
    pub async fn answer(&self, kind: Kind, id: &str) -> Result<Option<Answer>, Unavailable> {
        let id = id.to_owned();
        self.read(move |db| find(db, kind, &id)).await
    }

    /// What a turn that goes on from the answer `id` has before it, if there is such an answer.
    pub async fn end_of(&self, id: &str) -> Result<Option<ChainEnd>, Unavailable> {
        let id = id.to_owned();
        self.read(move |db| {
            let sql = "SELECT chain, status FROM answers WHERE id = ?1 AND kind = ?2";
            let known = db.prepare_cached(sql)?.query_row([&id, Kind::Response.as_str()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            });
            let Some((name, status)) = known.optional()? else { return Ok(None) };
            let Chain { items, is_whole } = chain(db, &id)?;
            let items = items.into_iter().map(|(item, _)| item).collect();
            let said = is_whole.then_some(items);
            Ok(Some(ChainEnd { name, is_open: status == OPEN, said }))
        })
        .await
    }

    /// A page of what the answer `id` answers, with what was said before as far as it is there.
    pub async fn asked(
        &self,
        id: &str,
        page: Page,
    ) -> Result<Result<Listed<Item>, UnknownCursor>, Unavailable> {
        let id = id.to_owned();
        let chain = self.read(move |db| chain(db, &id)).await?;
        let asked = chain.items.into_iter().filter(|(_, is_own)| !is_own);
        Ok(paged(asked.map(|(item, _)| item).collect(), &page))
    }

    /// Those of the items `ids` that are kept, in answers or in conversations.
    pub async fn items_of(&self, ids: Vec<String>) -> Result<Vec<Item>, Unavailable> {
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT item FROM answer_items WHERE id = ?1
                 UNION ALL SELECT item FROM items WHERE id = ?1 LIMIT 1",
            )?;
            let mut items = Vec::new();
            for id in ids {
                let json = query.query_row([&id], |row| row.get(0)).optional()?;
                items.extend(json.map(|json| Item { id, json }));
            }
            Ok(items)
        })
        .await
    }

    /// Removes the answer `id` with what it answers. Whether there was one.
    pub async fn delete_answer(&self, kind: Kind, id: &str) -> Result<bool, Unavailable> {
        let id = id.to_owned();
        self.write(move |db| {
            let sql = "DELETE FROM answers WHERE id = ?1 AND kind = ?2";
            Ok(db.prepare_cached(sql)?.execute(params![id, kind.as_str()])? > 0)
        })
        .await
    }

    /// Gives the answer `id` other metadata, if it is kept. The members of its body that say the
    /// same are the caller's to change.
    pub async fn update_answer(
        &self,
        kind: Kind,
        id: &str,
        (metadata, body): (String, String),
    ) -> Result<bool, Unavailable> {
        let id = id.to_owned();
        self.write(move |db| {
            let sql = "UPDATE answers SET metadata = ?3, body = ?4 WHERE id = ?1 AND kind = ?2";
            let changed =
                db.prepare_cached(sql)?.execute(params![id, kind.as_str(), metadata, body]);
            Ok(changed? > 0)
        })
        .await
    }

    /// A page of the answers of a kind, of one model if one is given, and with certain metadata.
    pub async fn answers(
        &self,
        kind: Kind,
        page: Page,
        (model, metadata): (Option<String>, Vec<(String, String)>),
    ) -> Result<Result<Listed<Answer>, UnknownCursor>, Unavailable> {
        self.read(move |db| list(db, kind, &page, (model.as_deref(), &metadata))).await
    }
}

fn list(
    db: &Connection,
    kind: Kind,
    page: &Page,
    (model, metadata): (Option<&str>, &[(String, String)]),
) -> rusqlite::Result<Result<Listed<Answer>, UnknownCursor>> {
    let from = match &page.after {
        None => None,
        Some(after) => {
            let sql = "SELECT seq FROM answers WHERE kind = ?1 AND id = ?2";
            let place = schema::place(db, sql, (kind.as_str(), after))?;
            let Some(place) = place else { return Ok(Err(UnknownCursor)) };
            Some(place)
        }
    };
    let (comparison, direction) = page.order.sql();
    let start = if page.order == Order::Asc { 0 } else { i64::MAX };
    let from = from.unwrap_or(start);
    let sql = format!(
        "SELECT {COLUMNS} FROM answers WHERE kind = ?1 AND (?2 IS NULL OR model = ?2)
         AND seq {comparison} ?3 ORDER BY seq {direction}"
    );
    let mut query = db.prepare_cached(&sql)?;
    let answers = query.query_map(params![kind.as_str(), model, from], of)?;
    let has = |answer: &Answer| {
        let own = Object::read(answer.metadata.as_bytes());
        let own = |name: &str| own.as_ref().and_then(|own| own.text(name));
        metadata.iter().all(|(name, value)| own(name).as_ref() == Some(value))
    };
    let is_wanted = |answer: &rusqlite::Result<Answer>| answer.as_ref().map_or(true, &has);
    let entries = answers.filter(is_wanted).take(page.limit.saturating_add(1));
    Ok(Ok(Listed::of(entries.collect::<Result<_, _>>()?, page.limit)))
}
