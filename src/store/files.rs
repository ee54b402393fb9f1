//! Files: a row for each, and its content under its id beside the database.
//!
//! A content is whole and on the disk before its row is; a row is gone before its content. What
//! lies between after a crash is a content that nobody knows, which is swept.

use std::{
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::{Listed, Page, Settings, Store, Unavailable, UnknownCursor, What, new_id};
use crate::{id::hex, private_file};

/// Where contents are kept. Not the folder of the Python program.
const FOLDER: &str = "files";
/// How long the id of a deleted file is a place in the list, in seconds.
const CURSOR: i64 = 86_400;
/// After so many seconds a content has a row or never will.
const SETTLED: i64 = 3600;
/// What is written or read at once.
const PIECE: usize = 256 << 10;

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub id: String,
    pub filename: String,
    pub purpose: String,
    pub content_type: String,
    pub bytes: i64,
    /// Of the content, in hexadecimal digits.
    pub sha256: String,
    /// In seconds since 1970, as all times here.
    pub created_at: i64,
    pub expires_at: Option<i64>,
}

/// What whoever uploads a file says about it.
#[derive(Clone, Debug)]
pub struct NewFile {
    pub filename: String,
    pub purpose: String,
    pub content_type: String,
    /// In seconds from its upload on.
    pub expires_after: Option<i64>,
}

/// Why an upload came to nothing. Nothing is left of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the file is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("all files together would be larger than {limit} bytes")]
    NoRoom { limit: u64 },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Bytes of uploads under way, so that many at once do not exceed together what none does alone.
pub type Arriving = Arc<AtomicU64>;

const COLUMNS: &str = "id, filename, purpose, content_type, bytes, sha256, created_at, expires_at";
const ALIVE: &str = "deleted_at IS NULL AND (expires_at IS NULL OR expires_at > ?1)";

impl File {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            filename: row.get(1)?,
            purpose: row.get(2)?,
            content_type: row.get(3)?,
            bytes: row.get(4)?,
            sha256: row.get(5)?,
            created_at: row.get(6)?,
            expires_at: row.get(7)?,
        })
    }

    /// Adds it to the files, under the id it has.
    pub(super) fn insert(&self, db: &Connection) -> rusqlite::Result<()> {
        let sql = format!("INSERT INTO files ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
        db.prepare_cached(&sql)?.execute(params![
            self.id,
            self.filename,
            self.purpose,
            self.content_type,
            self.bytes,
            self.sha256,
            self.created_at,
            self.expires_at,
        ])?;
        Ok(())
    }
}

/// Where the content of the file `id` is.
pub(super) fn path_of(settings: &Settings, id: &str) -> PathBuf {
    settings.dir.join(FOLDER).join(id)
}

/// Whether `name` is one that an id has here: nothing else is ever read or removed.
pub(super) fn is_id(name: &str) -> bool {
    name.strip_prefix("file_").is_some_and(|digits| {
        digits.len() == 32 && digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    })
}

pub(super) fn figures(db: &Connection, now: i64) -> rusqlite::Result<(i64, i64)> {
    let sql = format!("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM files WHERE {ALIVE}");
    db.prepare_cached(&sql)?.query_row([now], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Which contents without a row belong to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strays {
    /// Nothing has been kept yet since the program was started.
    All,
    /// The row of a younger one may be on its way.
    Old,
}

/// Removes what is over: files that have expired, places of files that are gone, and contents that
/// belong to nobody.
pub(super) fn sweep(
    db: &Connection,
    settings: &Settings,
    now: i64,
    strays: Strays,
) -> Result<(), Unavailable> {
    db.execute(
        "UPDATE files SET deleted_at = ?1 WHERE deleted_at IS NULL AND expires_at <= ?1",
        [now],
    )?;
    db.execute("DELETE FROM files WHERE deleted_at <= ?1", [now.saturating_sub(CURSOR)])?;
    let folder = settings.dir.join(FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if strays == Strays::All {
        // Nobody begins to write before this is done.
        private_file::sweep(&folder)?;
    }
    let mut known = db.prepare("SELECT 1 FROM files WHERE id = ?1 AND deleted_at IS NULL")?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_id(name)) else { continue };
        // What is gone meanwhile is settled.
        let is_old = entry.metadata().is_ok_and(|content| is_old(&content, now));
        let is_settled = strays == Strays::All || is_old;
        if is_settled && !known.exists([name])? {
            private_file::remove(&folder.join(name))?;
        }
    }
    Ok(())
}

fn is_old(content: &std::fs::Metadata, now: i64) -> bool {
    content.mtime().saturating_add(SETTLED) < now
}

/// A file that arrives.
#[derive(Debug)]
pub struct Upload {
    id: String,
    file: Option<private_file::Growing>,
    unwritten: Vec<u8>,
    digest: Sha256,
    room: Room,
    stored: u64,
    settings: Settings,
}

/// What an upload takes of what may arrive at once; given back when it is over.
#[derive(Debug)]
struct Room {
    taken: u64,
    of: Arriving,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

impl Upload {
    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// When the file becomes too large, or the disk refuses. The upload is over then.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), UploadError> {
        let size = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.room.taken = self.room.taken.saturating_add(size);
        let arriving = self.room.of.fetch_add(size, Ordering::Relaxed).saturating_add(size);
        let Settings { max_file, max_files, .. } = self.settings;
        if self.room.taken > max_file {
            return Err(UploadError::TooLarge { limit: max_file });
        }
        if self.stored.saturating_add(arriving) > max_files {
            return Err(UploadError::NoRoom { limit: max_files });
        }
        self.unwritten.extend_from_slice(piece);
        if self.unwritten.len() >= PIECE {
            self.flush().await?;
        }
        Ok(())
    }

    /// What came so far goes to the disk, where others may wait for it.
    async fn flush(&mut self) -> Result<(), UploadError> {
        let unwritten = std::mem::take(&mut self.unwritten);
        let Some(mut file) = self.file.take() else {
            return Err(Unavailable::because(What::Refused).into());
        };
        let mut digest = std::mem::take(&mut self.digest);
        let written = tokio::task::spawn_blocking(move || {
            digest.update(&unwritten);
            file.write(&unwritten).map(|()| (file, digest))
        });
        let written = written.await.map_err(|_| Unavailable::because(What::Ending))?;
        let (file, digest) = written?;
        self.file = Some(file);
        self.digest = digest;
        Ok(())
    }
}

/// A content to read from.
#[derive(Debug)]
pub struct Content {
    file: std::fs::File,
    /// How many bytes are still wanted.
    left: u64,
}

impl Content {
    /// From byte `start` on, `length` of them.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn part(mut self, start: u64, length: u64) -> io::Result<Self> {
        self.file.seek(SeekFrom::Start(start))?;
        Ok(Self { left: length, ..self })
    }

    /// The next piece, or `None` after the last.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or has less than was there.
    pub async fn next(self) -> io::Result<Option<(Bytes, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || self.read());
        read.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::Interrupted)))
    }

    fn read(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let length = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; length];
        self.file.read_exact(&mut piece)?;
        self.left -= u64::try_from(length).unwrap_or_default();
        Ok(Some((piece.into(), self)))
    }
}

impl Store {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn upload(&self) -> Result<Upload, UploadError> {
        let id = new_id("file_")?;
        let stored = self.figures().await?.file_bytes;
        let (settings, name) = (self.0.settings.clone(), id.clone());
        let begun =
            tokio::task::spawn_blocking(move || private_file::begin(&path_of(&settings, &name)));
        let file = begun.await.map_err(|_| Unavailable::because(What::Ending))??;
        Ok(Upload {
            id,
            file: Some(file),
            unwritten: Vec::new(),
            digest: Sha256::new(),
            room: Room { taken: 0, of: Arc::clone(&self.0.arriving) },
            stored: u64::try_from(stored).unwrap_or_default(),
            settings: self.0.settings.clone(),
        })
    }

    /// Keeps a file that has arrived. It is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// When there is no room for it, or the store cannot be used. Nothing is left of it then.
    pub async fn keep(&self, mut upload: Upload, new: NewFile) -> Result<File, UploadError> {
        upload.flush().await?;
        let Upload { id, file, digest, room, settings, .. } = upload;
        let kept = tokio::task::spawn_blocking(move || file.map(private_file::Growing::keep));
        kept.await.map_err(|_| Unavailable::because(What::Ending))?.transpose()?;
        let now = self.0.clock.unix();
        let file = File {
            id,
            filename: new.filename,
            purpose: new.purpose,
            content_type: new.content_type,
            bytes: i64::try_from(room.taken).unwrap_or(i64::MAX),
            sha256: hex(&digest.finalize()),
            created_at: now,
            expires_at: new.expires_after.map(|after| now.saturating_add(after)),
        };
        let (row, limit) = (file.clone(), settings.max_files);
        let has_room = self
            .write(move |db| {
                let (_, stored) = figures(db, now)?;
                let all = stored.saturating_add(row.bytes);
                let has_room = u64::try_from(all).unwrap_or(u64::MAX) <= limit;
                if has_room {
                    row.insert(db)?;
                }
                Ok(has_room)
            })
            .await;
        // Counted among the stored from here on, not among the arriving.
        drop(room);
        if matches!(has_room, Ok(true)) {
            return Ok(file);
        }
        let removed = private_file::remove(&path_of(&settings, &file.id));
        has_room?;
        removed?;
        Err(UploadError::NoRoom { limit })
    }

    /// What is known of the file `id`, if there is one.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, as of all that follows.
    pub async fn file(&self, id: &str) -> Result<Option<File>, Unavailable> {
        let (id, now) = (id.to_owned(), self.0.clock.unix());
        self.read(move |db| {
            let sql = format!("SELECT {COLUMNS} FROM files WHERE id = ?2 AND {ALIVE}");
            db.prepare_cached(&sql)?.query_row(params![now, id], File::of).optional()
        })
        .await
    }

    /// The content of a file that is known.
    pub async fn content(&self, file: &File) -> Result<Content, Unavailable> {
        let path = path_of(&self.0.settings, &file.id);
        let bytes = u64::try_from(file.bytes).unwrap_or_default();
        let opened = tokio::task::spawn_blocking(move || open(&path, bytes));
        opened.await.map_err(|_| Unavailable::because(What::Ending))?
    }

    /// The whole content of a file that is known.
    pub async fn whole(&self, file: &File) -> Result<Bytes, Unavailable> {
        let mut content = self.content(file).await?;
        let mut whole = Vec::new();
        while let Some((piece, rest)) = content.next().await? {
            whole.extend_from_slice(&piece);
            content = rest;
        }
        Ok(whole.into())
    }

    /// A page of the files, of one purpose if one is given.
    pub async fn files(
        &self,
        page: Page,
        purpose: Option<String>,
    ) -> Result<Result<Listed<File>, UnknownCursor>, Unavailable> {
        let now = self.0.clock.unix();
        self.read(move |db| list(db, &page, purpose.as_deref(), now)).await
    }

    /// Removes the file `id`. Whether there was one.
    pub async fn delete_file(&self, id: &str) -> Result<bool, Unavailable> {
        let (name, now) = (id.to_owned(), self.0.clock.unix());
        let path = path_of(&self.0.settings, id);
        let was_there = self
            .write(move |db| {
                let sql = format!("UPDATE files SET deleted_at = ?1 WHERE id = ?2 AND {ALIVE}");
                Ok(db.prepare_cached(&sql)?.execute(params![now, name])? > 0)
            })
            .await?;
        if was_there {
            // What cannot be removed now is swept later: it belongs to nobody.
            let _left = tokio::task::spawn_blocking(move || private_file::remove(&path)).await;
        }
        Ok(was_there)
    }
}

fn open(path: &Path, bytes: u64) -> Result<Content, Unavailable> {
    match private_file::open(path)? {
        Some(file) if file.metadata()?.len() == bytes => Ok(Content { file, left: bytes }),
        Some(_) | None => Err(Unavailable::because(What::ContentMissing)),
    }
}

fn list(
    db: &Connection,
    page: &Page,
    purpose: Option<&str>,
    now: i64,
) -> rusqlite::Result<Result<Listed<File>, UnknownCursor>> {
    let from = match &page.after {
        None => None,
        Some(after) => {
            let place = db
                .prepare_cached("SELECT created_at, seq FROM files WHERE id = ?1")?
                .query_row([after], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
                .optional()?;
            let Some(place) = place else { return Ok(Err(UnknownCursor)) };
            Some(place)
        }
    };
    let (comparison, direction) = page.order.sql();
    let sql = format!(
        "SELECT {COLUMNS} FROM files WHERE {ALIVE} AND (?2 IS NULL OR purpose = ?2)
         AND (?3 IS NULL OR (created_at, seq) {comparison} (?3, ?4))
         ORDER BY created_at {direction}, seq {direction} LIMIT ?5"
    );
    let (at, seq) = from.unzip();
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut query = db.prepare_cached(&sql)?;
    let files = query.query_map(params![now, purpose, at, seq, limit], File::of)?;
    Ok(Ok(Listed::of(files.collect::<Result<_, _>>()?, page.limit)))
}
