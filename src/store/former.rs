//! What the Python program has kept: `state.sqlite3` and `uploads/` in the same directory.
//!
//! Taken over once, when our database is new. Theirs is copied and the copy read, so that not even
//! a lock or a journal appears beside it; contents are copied as well. All rows come in one
//! transaction with the note that they came: killed in between, it is done again from the start.
//!
//! Releases differ in their tables. What an older one does not have is empty.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use sha2::{Digest, Sha256};

use super::{
    Settings, Unavailable,
    conversations::{self, Conversation},
    files::{self, File},
    schema,
    worker::in_a_savepoint,
};
use crate::{id::hex, object::Object, private_file};

pub const DATABASE: &str = "state.sqlite3";
const UPLOADS: &str = "uploads";
/// How the names of copies begin that are read in place of theirs.
const COPY: &str = ".airelays-former-";
/// What `SQLite` leaves beside a database that is open or was not closed.
const COMPANIONS: [&str; 3] = ["", "-journal", "-wal"];
const PIECE: usize = 256 << 10;

/// What was taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub files: usize,
    pub conversations: usize,
}

/// Takes over what there is, and notes that it was done.
///
/// # Errors
///
/// When it cannot be read or written. Nothing is taken then, and it can be tried again. A row that
/// makes no sense is left out, and the log told.
pub fn take(db: &mut Connection, settings: &Settings, now: i64) -> Result<Taken, Unavailable> {
    clear(&settings.dir)?;
    let theirs = read(&settings.dir)?;
    let mut taken = Taken::default();
    let step = db.transaction()?;
    for (file, from) in theirs.files {
        let Some(file) = copied(settings, file, &from)? else { continue };
        let inserted = in_a_savepoint(&step, |step| file.insert(step), |()| true);
        taken.files += usize::from(is_in(inserted)?);
    }
    for (conversation, items) in theirs.conversations {
        let inserted = in_a_savepoint(
            &step,
            |step| {
                conversation.insert(step)?;
                conversations::append(step, &conversation.id, &items).map(drop)
            },
            |()| true,
        );
        taken.conversations += usize::from(is_in(inserted)?);
    }
    let note = format!("{} files, {} conversations at {now}", taken.files, taken.conversations);
    schema::remember(&step, "former", &note)?;
    step.commit()?;
    Ok(taken)
}

#[derive(Debug, Default)]
struct Theirs {
    files: Vec<(File, PathBuf)>,
    conversations: Vec<(Conversation, Vec<conversations::Item>)>,
}

/// Whether a row found its place. One that contradicts another has none.
fn is_in(inserted: rusqlite::Result<()>) -> rusqlite::Result<bool> {
    match inserted {
        Ok(()) => Ok(true),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            tracing::warn!(error = &*error.to_string(), "left out what contradicts other rows");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Removes copies of a program that was killed over them.
fn clear(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_copy = entry.file_name().as_encoded_bytes().starts_with(COPY.as_bytes());
        if is_copy && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn read(dir: &Path) -> Result<Theirs, Unavailable> {
    if !dir.join(DATABASE).is_file() {
        return Ok(Theirs::default());
    }
    let copy = tempfile::Builder::new()
        .prefix(COPY)
        .permissions(private_file::owner_only_dir())
        .tempdir_in(dir)?;
    let before = state_of(dir);
    for companion in COMPANIONS {
        let name = format!("{DATABASE}{companion}");
        copy_file(&dir.join(&name), &copy.path().join(&name))?;
    }
    if state_of(dir) != before {
        return Err(io::Error::other("the Python program is writing to its database").into());
    }
    let db = Connection::open_with_flags(
        copy.path().join(DATABASE),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    schema::check(&db)?;
    let theirs = Theirs { files: their_files(&db, dir)?, conversations: their_conversations(&db)? };
    // Otherwise the copies that `SQLite` makes would be in the way of removing the directory.
    drop(db);
    copy.close()?;
    Ok(theirs)
}

/// What tells a database that is being written to.
fn state_of(dir: &Path) -> Vec<Option<(u64, std::time::SystemTime)>> {
    let state = |companion: &&str| {
        let found = std::fs::metadata(dir.join(format!("{DATABASE}{companion}"))).ok()?;
        Some((found.len(), found.modified().ok()?))
    };
    COMPANIONS.iter().map(state).collect()
}

fn their_files(db: &Connection, dir: &Path) -> rusqlite::Result<Vec<(File, PathBuf)>> {
    let columns = columns(db, "files")?;
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = db.prepare("SELECT * FROM files ORDER BY created_at, rowid")?;
    let text = |row: &Row<'_>, name: &str| row.get::<_, String>(name);
    let rows = query.query_map([], |row| {
        let id = text(row, "id")?;
        let stored = columns.contains("storage_path").then(|| text(row, "storage_path"));
        let file = File {
            filename: text(row, "filename")?,
            purpose: text(row, "purpose")?,
            content_type: text(row, "content_type")?,
            bytes: row.get("bytes")?,
            sha256: text(row, "sha256").unwrap_or_default(),
            created_at: row.get("created_at")?,
            expires_at: None,
            id,
        };
        // The data directory may have been moved since: only the name in the path counts.
        let stored = stored.transpose()?.map(PathBuf::from);
        let name = stored.as_deref().and_then(Path::file_name).map(ToOwned::to_owned);
        let name = name.unwrap_or_else(|| file.id.clone().into());
        Ok((file, dir.join(UPLOADS).join(name)))
    })?;
    Ok(whole(rows, "a file"))
}

/// Conversations with what is to precede their next turn.
fn their_conversations(
    db: &Connection,
) -> rusqlite::Result<Vec<(Conversation, Vec<conversations::Item>)>> {
    let columns = columns(db, "conversations")?;
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = db.prepare("SELECT * FROM conversations ORDER BY created_at, rowid")?;
    let rows = query.query_map([], |row| {
        let json = |name: &str| {
            let there = columns.contains(name).then(|| row.get::<_, Option<String>>(name));
            there.transpose().map(Option::flatten)
        };
        let conversation = Conversation {
            id: row.get("id")?,
            metadata: json("metadata_json")?.filter(|it| is_object(it)).unwrap_or("{}".into()),
            latest_response_id: json("latest_response_id")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
        };
        let mut items = Vec::new();
        for column in ["seed_items_json", "history_json", "items_json"] {
            let list: Vec<Box<serde_json::value::RawValue>> =
                json(column)?.and_then(|it| serde_json::from_str(&it).ok()).unwrap_or_default();
            for item in list {
                items.extend(conversations::Item::named(item.get()));
            }
        }
        Ok((conversation, items))
    })?;
    Ok(whole(rows, "a conversation"))
}

/// The rows that can be read. Of the others the log is told.
fn whole<T>(rows: impl Iterator<Item = rusqlite::Result<T>>, what: &str) -> Vec<T> {
    let readable = |row: rusqlite::Result<T>| match row {
        Ok(row) => Some(row),
        Err(error) => {
            tracing::warn!(error = &*error.to_string(), what, "left out what cannot be read");
            None
        }
    };
    rows.filter_map(readable).collect()
}

fn columns(db: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut query = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = query.query_map([table], |row| row.get(0))?;
    names.collect()
}

fn is_object(json: &str) -> bool {
    Object::read(json.as_bytes()).is_some()
}

/// `file` with its content in our folder, or `None` when there is none.
fn copied(settings: &Settings, file: File, from: &Path) -> io::Result<Option<File>> {
    let to = files::path_of(settings, &file.id);
    if !files::is_id(&file.id) {
        tracing::warn!("left out a file whose id is none");
        return Ok(None);
    }
    match copy_file(from, &to) {
        Ok(Some((bytes, sha256))) => Ok(Some(File { bytes, sha256, ..file })),
        Ok(None) => {
            tracing::warn!(id = &*file.id, "left out a file whose content is missing");
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
        Err(error) => {
            let error = &*error.to_string();
            tracing::warn!(id = &*file.id, error, "left out a file that cannot be read");
            Ok(None)
        }
    }
}

/// How long a file is and what its content hashes to, once it is copied. `None` if it is not there.
fn copy_file(from: &Path, to: &Path) -> io::Result<Option<(i64, String)>> {
    let Some(mut source) = private_file::open(from)? else { return Ok(None) };
    let mut copy = private_file::begin(to)?;
    let (mut digest, mut bytes, mut piece) = (Sha256::new(), 0_i64, vec![0; PIECE]);
    loop {
        let read = source.read(&mut piece)?;
        let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { break };
        digest.update(piece);
        copy.write(piece)?;
        bytes = bytes.saturating_add(i64::try_from(read).unwrap_or(i64::MAX));
    }
    copy.keep()?;
    Ok(Some((bytes, hex(&digest.finalize()))))
}
