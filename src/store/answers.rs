//! Answers that their clients want kept: response objects and chat completions, with the items or
//! messages that they answer.
//!
//! An answer that goes on from another belongs to its chain. A chain is kept as long as its latest
//! answer, and goes as a whole when it is too old or there is no room: half of a dialogue is of no
//! use. One that was begun and not finished when the program ended has failed.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Item, Listed, Page, Settings, Store, Unavailable, UnknownCursor, conversations};
use crate::{object::Object, wire::reply::items::write_with};

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

/// Writes `answer` down, new or in place of what was begun, with its items.
fn write(
    db: &Connection,
    answer: &Answer,
    asked: &[Item],
    output: &[Item],
) -> rusqlite::Result<()> {
    let chain: Option<String> = match &answer.previous {
        None => None,
        Some(previous) => db
            .prepare_cached("SELECT chain FROM answers WHERE id = ?1")?
            .query_row([previous], |row| row.get(0))
            .optional()?,
    };
    let is_begun = find(db, answer.kind, &answer.id)?.is_some();
    let asked = if is_begun { &[] } else { asked };
    let bytes = in_sql(answer.body.len() + size(asked) + size(output));
    db.prepare_cached(
        "INSERT INTO answers (id, kind, chain, previous, background, status, model, metadata,
            body, bytes, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, body = excluded.body,
            model = excluded.model, bytes = bytes + excluded.bytes",
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
    ])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO answer_items (answer, id, is_output, item) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (items, is_output) in [(asked, false), (output, true)] {
        for item in items {
            insert.execute(params![answer.id, item.id, is_output, item.json])?;
        }
    }
    Ok(())
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

/// What was being made when the program ended has failed, and says so.
pub(super) fn fail_open(db: &Connection) -> rusqlite::Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM answers WHERE status = ?1");
    let open = db.prepare(&sql)?.query_map([OPEN], of)?.collect::<Result<Vec<_>, _>>()?;
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
        let mut next = Vec::with_capacity(whole.len() + value.len());
        if let Some(object) = Object::read(&whole) {
            write_with(&object, name, value, &mut next);
            whole = next;
        }
    }
    String::from_utf8(whole).unwrap_or_default()
}

/// All items of the chain up to `id`, oldest first, and whether each is one that `id` answers or
/// one before. `None` if something of the chain is gone.
fn chain(db: &Connection, id: &str) -> rusqlite::Result<Option<Vec<(Item, bool)>>> {
    const BACK: &str = "WITH RECURSIVE back (id, previous, depth) AS (
            SELECT id, previous, 0 FROM answers WHERE id = ?1
            UNION ALL
            SELECT answers.id, answers.previous, depth + 1
            FROM answers JOIN back ON answers.id = back.previous
        )";
    let first = format!("{BACK} SELECT previous FROM back ORDER BY depth DESC LIMIT 1");
    let first: Option<Option<String>> =
        db.prepare_cached(&first)?.query_row([id], |row| row.get(0)).optional()?;
    if !matches!(first, Some(None)) {
        return Ok(None);
    }
    let sql = format!(
        "{BACK} SELECT answer_items.id, item, is_output AND depth = 0
         FROM back JOIN answer_items ON answer = back.id ORDER BY depth DESC, seq"
    );
    let mut query = db.prepare_cached(&sql)?;
    let items = query
        .query_map([id], |row| Ok((Item { id: row.get(0)?, json: row.get(1)? }, row.get(2)?)))?;
    items.collect::<Result<_, _>>().map(Some)
}

/// The part of `items` that `page` asks for.
fn paged(mut items: Vec<Item>, page: &Page) -> Result<Listed<Item>, UnknownCursor> {
    if page.order == super::Order::Desc {
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
        let kept = self.write(move |db| {
            if let Some((conversation, items, response)) = &outcome.conversation {
                let response = response.as_deref();
                if conversations::append_turn(db, conversation, items, response, now)?.is_none() {
                    return Ok(Kept::Gone);
                }
            }
            if let Some(answer) = &outcome.answer {
                write(db, answer, &outcome.asked, &outcome.output)?;
                if !make_room(db, &answer.id, limit)? {
                    // Undoes all of it.
                    return Err(rusqlite::Error::QueryReturnedNoRows);
                }
            }
            Ok(Kept::Done)
        });
        match kept.await {
            Err(error) if error.is(&rusqlite::Error::QueryReturnedNoRows) => {
                Ok(Kept::NoRoom { limit })
            }
            kept => kept,
        }
    }

    /// The answer `id`, if it is kept.
    pub async fn answer(&self, kind: Kind, id: &str) -> Result<Option<Answer>, Unavailable> {
        let id = id.to_owned();
        self.read(move |db| find(db, kind, &id)).await
    }

    /// All that was said up to the answer `id` and by it, in order; `None` if something of it is
    /// gone.
    pub async fn said_until(&self, id: &str) -> Result<Option<Vec<Item>>, Unavailable> {
        let id = id.to_owned();
        let all = self.read(move |db| chain(db, &id)).await?;
        Ok(all.map(|all| all.into_iter().map(|(item, _)| item).collect()))
    }

    /// A page of what the answer `id` answers, with what was said before. `None` if something of
    /// it is gone.
    pub async fn asked(
        &self,
        id: &str,
        page: Page,
    ) -> Result<Option<Result<Listed<Item>, UnknownCursor>>, Unavailable> {
        let id = id.to_owned();
        let all = self.read(move |db| chain(db, &id)).await?;
        let asked = |all: Vec<(Item, bool)>| {
            all.into_iter().filter(|(_, is_own)| !is_own).map(|(item, _)| item).collect()
        };
        Ok(all.map(|all| paged(asked(all), &page)))
    }

    /// The chain that the answer `id` belongs to.
    pub async fn chain_of(&self, id: &str) -> Result<Option<String>, Unavailable> {
        let id = id.to_owned();
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT chain FROM answers WHERE id = ?1")?;
            query.query_row([id], |row| row.get(0)).optional()
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
            let mut query = db.prepare_cached("SELECT seq FROM answers WHERE id = ?1")?;
            let place = query.query_row([after], |row| row.get::<_, i64>(0)).optional()?;
            let Some(place) = place else { return Ok(Err(UnknownCursor)) };
            Some(place)
        }
    };
    let (comparison, direction) = page.order.sql();
    let sql = format!(
        "SELECT {COLUMNS} FROM answers WHERE kind = ?1 AND (?2 IS NULL OR model = ?2)
         AND (?3 IS NULL OR seq {comparison} ?3) ORDER BY seq {direction}"
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
