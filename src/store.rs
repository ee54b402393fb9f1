//! What the relay keeps for its owner: files, conversations and answers.
//!
//! A database of `SQLite` in the data directory, and the contents of files beside it. One thread
//! writes, whatever waits together in one transaction, and says so when it is on the disk; readers
//! have connections of their own. Nothing is opened before somebody asks: who only talks to models
//! pays nothing for it.
//!
//! **Invariant:** what was acknowledged is on the disk; what failed is not there.
//! **Invariant:** a store that cannot be used fails those who ask it, and nobody else. Each of
//! them has it tried again.
//! **Invariant:** no SQL stands outside.
//!
//! Not here: what a turn makes of it (`dialogue`), the shapes of routes (`api`).

mod answers;
mod conversations;
mod files;
mod former;
mod schema;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

pub use self::{
    answers::{Answer, ChainEnd, Kept, Kind, Outcome, ended},
    conversations::{Conversation, Item, merged},
    files::{Content, File, NewFile, Upload, UploadError},
};
use self::{
    files::Arriving,
    worker::{Worker, in_a_savepoint},
};
use crate::{
    clock::{self, Clock},
    id::hex,
};

/// Where things are kept, and how much of them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory.
    pub dir: PathBuf,
    /// The largest file, in bytes.
    pub max_file: u64,
    /// All files together, in bytes.
    pub max_files: u64,
    /// How long an answer is kept that nobody goes on from, in seconds.
    pub keep_answers: i64,
    /// All answers together, in bytes.
    pub max_answers: u64,
}

impl Settings {
    /// Not the name that the Python program has: its file is left as it is.
    const DATABASE: &'static str = "relay.sqlite3";

    fn database(&self) -> PathBuf {
        self.dir.join(Self::DATABASE)
    }

    fn is_anything_there(&self) -> bool {
        self.database().exists() || self.dir.join(former::DATABASE).exists()
    }
}

/// Looks through the database in the data directory `dir`, if there is one, without changing it.
///
/// # Errors
///
/// When it cannot be opened, is damaged, or was written by a newer release.
pub fn look(dir: &Path, now: i64) -> Result<Option<Figures>, Unavailable> {
    let path = dir.join(Settings::DATABASE);
    if !path.exists() {
        return Ok(None);
    }
    let db = schema::reader(&path)?;
    schema::check(&db)?;
    schema::check_version(&db)?;
    figures(&db, now).map(Some).map_err(Unavailable::from)
}

fn figures(db: &Connection, now: i64) -> rusqlite::Result<Figures> {
    let (files, file_bytes) = files::figures(db, now)?;
    let (conversations, answers) = (conversations::count(db)?, answers::count(db)?);
    Ok(Figures { files, file_bytes, conversations, answers })
}

/// Why the store cannot be used now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the local storage cannot be used: {what}")]
pub struct Unavailable {
    pub what: What,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    #[error("the disk is full")]
    Full,
    #[error("another program holds it")]
    Busy,
    #[error("the database is damaged")]
    Damaged,
    #[error("a newer release has written it")]
    Newer,
    #[error("the content of a file is missing")]
    ContentMissing,
    #[error("the system refuses it")]
    Refused,
    #[error("the relay is ending")]
    Ending,
}

impl Unavailable {
    fn because(what: What) -> Self {
        Self { what, source: None }
    }
}

impl From<What> for Unavailable {
    fn from(what: What) -> Self {
        Self::because(what)
    }
}

impl From<rusqlite::Error> for Unavailable {
    fn from(error: rusqlite::Error) -> Self {
        let what = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => What::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => What::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => What::Damaged,
            Some(_) | None => What::Refused,
        };
        Self { what, source: Some(Arc::new(error)) }
    }
}

impl From<std::io::Error> for Unavailable {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let is_full = [StorageFull, QuotaExceeded, FileTooLarge].contains(&error.kind());
        let what = if is_full { What::Full } else { What::Refused };
        Self { what, source: Some(Arc::new(error)) }
    }
}

/// An id that nothing has yet: `prefix` and 32 hexadecimal digits.
///
/// # Errors
///
/// When the system has no randomness.
pub fn new_id(prefix: &str) -> Result<String, Unavailable> {
    let random = clock::random::<16>();
    let random = random.map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(format!("{prefix}{}", hex(&random)))
}

/// A page of a list: what comes after a known entry, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The id of the last entry of the page before.
    pub after: Option<String>,
    pub limit: usize,
    pub order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Asc,
    Desc,
}

impl Order {
    fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Asc => (">", "ASC"),
            Self::Desc => ("<", "DESC"),
        }
    }
}

/// Entries of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    pub entries: Vec<T>,
    pub has_more: bool,
}

impl<T> Listed<T> {
    /// Of one entry more than fit on the page.
    fn of(mut entries: Vec<T>, limit: usize) -> Self {
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        Self { entries, has_more }
    }
}

/// The entry that a page is to come after is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCursor;

/// What is kept, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub files: i64,
    pub file_bytes: i64,
    pub conversations: i64,
    pub answers: i64,
}

/// What is kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    clock: Clock,
    worker: Worker,
    arriving: Arriving,
}

impl Store {
    /// Opens nothing yet.
    pub fn new(settings: Settings, clock: Clock) -> Self {
        let worker = Worker::new(settings.clone(), clock.clone());
        Self(Arc::new(Inner { settings, clock, worker, arriving: Arriving::default() }))
    }

    /// The largest file that is kept, in bytes.
    pub fn max_file(&self) -> u64 {
        self.0.settings.max_file
    }

    /// Lets go of the database once all that was begun is on the disk. Waits for that.
    pub async fn close(&self) {
        let store = self.clone();
        // The thread that ends is waited for where others may wait as well.
        let _ended = tokio::task::spawn_blocking(move || store.0.worker.close()).await;
    }

    /// What is kept.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, as of everything here.
    pub async fn figures(&self) -> Result<Figures, Unavailable> {
        let now = self.0.clock.unix();
        self.read(move |db| figures(db, now)).await
    }

    /// The same, without making a store where nothing was ever kept.
    ///
    /// # Errors
    ///
    /// As of [`figures`](Self::figures).
    pub async fn figures_so_far(&self) -> Result<Figures, Unavailable> {
        if self.0.worker.is_open() || self.0.settings.is_anything_there() {
            return self.figures().await;
        }
        Ok(Figures::default())
    }

    /// Does `work` on the one connection that writes. It is on the disk when this returns, or was
    /// undone.
    async fn write<T, W>(&self, work: W) -> Result<T, Unavailable>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.write_if(work, |_| true).await
    }

    /// The same, undone as well if it comes to what is not to stay.
    async fn write_if<T, W>(&self, work: W, stays: fn(&T) -> bool) -> Result<T, Unavailable>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.0.worker.send(Box::new(move |db| {
            let done = db.and_then(|db| in_a_savepoint(db, work, stays).map_err(Unavailable::from));
            let is_done = done.is_ok();
            let reply = move |committed: Result<(), Unavailable>| {
                // Nobody may be waiting any more; it is done all the same.
                let _nobody = tell.send(committed.and(done));
            };
            (is_done, Box::new(reply))
        }))?;
        told.await.unwrap_or_else(|_| Err(Unavailable::because(What::Ending)))
    }

    /// Does `work` on a connection that only reads.
    async fn read<T, R>(&self, work: R) -> Result<T, Unavailable>
    where
        T: Send + 'static,
        R: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        if !self.0.worker.is_open() {
            // Whoever comes first has it opened and brought up to date.
            self.write(|_| Ok(())).await?;
        }
        let store = self.clone();
        let read = tokio::task::spawn_blocking(move || store.0.worker.read(work)).await;
        read.unwrap_or_else(|_| Err(Unavailable::because(What::Ending)))
    }
}
