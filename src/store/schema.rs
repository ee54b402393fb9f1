//! The database itself: how it is opened, and what is in it.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{Settings, Unavailable, What, former};
use crate::private_file;

/// How long another program may hold it, a backup for example.
const PATIENCE: Duration = Duration::from_secs(5);

/// What each release added, in order. Never edited, only added to.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE files (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        filename TEXT NOT NULL,
        purpose TEXT NOT NULL,
        content_type TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        -- What is gone is a place in a list for a day.
        deleted_at INTEGER
    ) STRICT;
    CREATE TABLE conversations (
        id TEXT PRIMARY KEY,
        metadata TEXT NOT NULL,
        latest_response_id TEXT,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE items (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        item TEXT NOT NULL,
        UNIQUE (conversation, id)
    ) STRICT;
    CREATE INDEX items_in_order ON items (conversation, seq);
    CREATE INDEX items_by_id ON items (id);
    -- What is gone is a place in its list for a day: some list and delete at once.
    CREATE TABLE gone (
        list TEXT NOT NULL,
        id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (list, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER item_removed AFTER DELETE ON items
        WHEN EXISTS (SELECT 1 FROM conversations WHERE id = old.conversation) BEGIN
        INSERT OR REPLACE INTO gone VALUES (old.conversation, old.id, old.seq, unixepoch());
    END;
    CREATE TABLE answers (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        -- The first answer of the dialogue, and the one before.
        chain TEXT NOT NULL,
        previous TEXT,
        background INTEGER NOT NULL,
        -- The program that made it, as long as it ran.
        run TEXT NOT NULL,
        status TEXT NOT NULL,
        model TEXT NOT NULL,
        metadata TEXT NOT NULL,
        body TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        -- Where it is a turn of a conversation: that, and its last item then.
        conversation TEXT,
        upto INTEGER
    ) STRICT;
    CREATE INDEX answers_in_chains ON answers (chain, created_at);
    CREATE INDEX answers_in_order ON answers (kind, seq);
    CREATE INDEX answers_by_status ON answers (status);
    CREATE TABLE answer_items (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        answer TEXT NOT NULL REFERENCES answers(id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        is_output INTEGER NOT NULL,
        item TEXT NOT NULL
    ) STRICT;
    CREATE INDEX answer_items_in_order ON answer_items (answer, seq);
    CREATE INDEX answer_items_by_id ON answer_items (id);
    -- What all answers take, so that nobody has to count.
    CREATE TABLE answer_bytes (bytes INTEGER NOT NULL) STRICT;
    INSERT INTO answer_bytes VALUES (0);
    CREATE TRIGGER answer_added AFTER INSERT ON answers BEGIN
        UPDATE answer_bytes SET bytes = bytes + new.bytes;
    END;
    CREATE TRIGGER answer_changed AFTER UPDATE OF bytes ON answers BEGIN
        UPDATE answer_bytes SET bytes = bytes + new.bytes - old.bytes;
    END;
    CREATE TRIGGER answer_removed AFTER DELETE ON answers BEGIN
        UPDATE answer_bytes SET bytes = bytes - old.bytes;
        INSERT OR REPLACE INTO gone VALUES (old.kind, old.id, old.seq, unixepoch());
    END;
"];

/// Opens the database for the one who writes: made if it is missing, looked through if it was not
/// closed, brought up to date, and given what the Python program has kept.
///
/// # Errors
///
/// When it cannot be opened, is damaged, or was written by a newer release.
pub fn open(settings: &Settings, now: i64) -> Result<Connection, Unavailable> {
    let path = settings.database();
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let was_left_open = std::fs::metadata(Path::new(&log)).is_ok_and(|log| log.len() > 0);
    // Nobody but the owner can read it, from the moment it is there.
    drop(private_file::append(&path)?);
    let mut db = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", "ON")?;
    db.pragma_update(None, "secure_delete", "ON")?;
    db.pragma_update(None, "cache_size", -1024)?;
    if was_left_open {
        check(&db)?;
    }
    migrate(&mut db)?;
    let was_taken: Option<String> = db
        .query_row("SELECT value FROM meta WHERE key = 'former'", [], |row| row.get(0))
        .optional()?;
    if was_taken.is_none() {
        // What cannot be had now may be had at the next start, and ours is to work without.
        match former::take(&mut db, settings, now) {
            Ok(taken) if taken.files + taken.conversations > 0 => {
                let (files, conversations) = (taken.files, taken.conversations);
                tracing::info!(files, conversations, "took over what the Python program had kept");
            }
            Ok(_) => {}
            Err(error) => {
                let error = &*crate::transport::chain(&error);
                tracing::warn!(error, "cannot take over what the Python program has kept");
            }
        }
    }
    Ok(db)
}

/// Opens the database for one who only reads.
///
/// # Errors
///
/// When it cannot be opened.
pub fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "cache_size", -512)?;
    Ok(db)
}

/// Refuses a database in which something is not as it was written.
pub fn check(db: &Connection) -> Result<(), Unavailable> {
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let source = std::io::Error::other(verdict);
    Err(Unavailable { what: What::Damaged, source: Some(std::sync::Arc::new(source)) })
}

/// Refuses a database of a newer release; the number of steps that it has behind it.
pub fn check_version(db: &Connection) -> Result<u32, Unavailable> {
    let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let is_known = usize::try_from(version).is_ok_and(|version| version <= MIGRATIONS.len());
    if is_known { Ok(version) } else { Err(Unavailable::because(What::Newer)) }
}

fn migrate(db: &mut Connection) -> Result<(), Unavailable> {
    let version = check_version(db)?;
    let known = usize::try_from(version).unwrap_or(usize::MAX);
    let missing = MIGRATIONS.get(known..).unwrap_or_default();
    for (migration, version) in missing.iter().zip(version + 1..) {
        let step = db.transaction()?;
        step.execute_batch(migration)?;
        step.pragma_update(None, "user_version", version)?;
        step.commit()?;
    }
    Ok(())
}

/// The place of the entry `id` in a list, or that it had until lately.
pub fn place(
    db: &Connection,
    sql: &str,
    (list, id): (&str, &str),
) -> rusqlite::Result<Option<i64>> {
    let seq = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let there = db.prepare_cached(sql)?.query_row([list, id], seq).optional()?;
    if there.is_some() {
        return Ok(there);
    }
    let gone = "SELECT seq FROM gone WHERE list = ?1 AND id = ?2";
    db.prepare_cached(gone)?.query_row([list, id], seq).optional()
}

/// How long what is gone is a place in its list, in seconds.
const PLACE: i64 = 86_400;

/// Forgets old places, and takes the log into the database: what was deleted is gone from both then.
pub fn tidy(db: &Connection, now: i64) -> rusqlite::Result<()> {
    db.execute("DELETE FROM gone WHERE at <= ?1", [now.saturating_sub(PLACE)])?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Remembers `value` under `key`.
pub fn remember(db: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, value])?;
    Ok(())
}
