//! Turns of dialogues that somebody remembers: what was said before, and what is kept after.
//!
//! A turn begins with the history of its conversation and ends with its own words and the answer
//! behind it, or with nothing: a turn that failed leaves no trace. Between the two, nobody else
//! has a turn in the same conversation; whoever comes meanwhile waits.
//!
//! Not here: how a history goes upstream (`wire::request`), how it is kept (`store`).

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::{
    object::Object,
    store::{File, Item, Store, Unavailable},
    wire::{
        content::file::{self, Local, LocalFile},
        json::Doc,
        request::{Memory, memory},
    },
};

/// How long a turn waits for the one before it.
const PATIENCE: Duration = Duration::from_mins(2);
/// All files of one request together, in bytes. In base64 they are a third larger, and a request
/// is held in memory.
const MAX_FILES: usize = 64 << 20;

/// Why a turn cannot begin or be kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TurnError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("there is no conversation {id}")]
    NoConversation { id: String },
    #[error("the conversation has another turn that does not end")]
    Busy,
    #[error("the conversation was deleted during the turn")]
    Gone,
    #[error("the files of one request are larger than {limit} bytes together")]
    Files { limit: usize },
}

/// What is remembered. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialogues {
    store: Store,
    turns: Arc<Turns>,
}

type Turns = Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>;

/// Files that a request names.
#[derive(Clone, Debug, Default)]
pub struct Files(HashMap<String, LocalFile>);

impl Files {
    /// What is known under `id`.
    pub fn find(&self, id: &str) -> Option<Local> {
        self.0.get(id).cloned().map(Local::File)
    }
}

/// A turn that has begun. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Turn {
    conversation: Option<String>,
    /// A list of items.
    before: Vec<u8>,
    _alone: Option<OwnedMutexGuard<()>>,
}

impl Turn {
    /// What was said before, as a list of items; and the parameter of the request that brought it.
    pub fn before(&self) -> (&[u8], &'static str) {
        (&self.before, "conversation")
    }

    /// The conversation that it belongs to.
    pub fn conversation(&self) -> Option<&str> {
        self.conversation.as_deref()
    }
}

impl Dialogues {
    pub fn new(store: Store) -> Self {
        Self { store, turns: Arc::default() }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Waits for the turn of a request in what it says it belongs to.
    ///
    /// # Errors
    ///
    /// When there is no such, its turn does not come, or the store cannot be used.
    pub async fn begin(&self, memory: &Memory) -> Result<Turn, TurnError> {
        let Some(id) = &memory.conversation else {
            return Ok(Turn { conversation: None, before: b"[]".into(), _alone: None });
        };
        let alone = self.alone_in(id).await?;
        let history = self.store.history(id).await?;
        let history = history.ok_or_else(|| TurnError::NoConversation { id: id.clone() })?;
        let before = memory::list(history.iter().map(|item| &*item.json));
        Ok(Turn { conversation: Some(id.clone()), before, _alone: Some(alone) })
    }

    /// Nobody else has a turn in `conversation` as long as the guard lives.
    ///
    /// # Errors
    ///
    /// When somebody else has had one for too long.
    pub async fn alone_in(&self, conversation: &str) -> Result<OwnedMutexGuard<()>, TurnError> {
        let turns = {
            let mut all = self.turns.lock();
            all.retain(|_, turns| turns.strong_count() > 0);
            let known = all.get(conversation).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turns = Arc::default();
                all.insert(conversation.to_owned(), Arc::downgrade(&turns));
                turns
            })
        };
        let turn = tokio::time::timeout(PATIENCE, turns.lock_owned()).await;
        turn.map_err(|_| TurnError::Busy)
    }

    /// The files that a request names by `ids` and in what was said before. Those that nobody has
    /// are left out, and refused where they are named.
    ///
    /// # Errors
    ///
    /// When they are too large together, or the store cannot be used.
    pub async fn files(&self, mut ids: Vec<String>, before: &[u8]) -> Result<Files, TurnError> {
        if let Ok(before) = Doc::parse(before) {
            ids.extend(memory::file_ids(before.root()));
        }
        ids.sort_unstable();
        ids.dedup();
        let (mut files, mut all) = (HashMap::new(), 0_usize);
        for id in ids {
            let Some(file) = self.store.file(&id).await? else { continue };
            let local = self.read(file, &mut all).await?;
            files.insert(id, local);
        }
        Ok(Files(files))
    }

    async fn read(&self, file: File, all: &mut usize) -> Result<LocalFile, TurnError> {
        let bytes = usize::try_from(file.bytes).unwrap_or(usize::MAX);
        let is_of_use = bytes <= file::room(&file.filename, &file.content_type);
        *all = all.saturating_add(if is_of_use { bytes } else { 0 });
        if *all > MAX_FILES {
            return Err(TurnError::Files { limit: MAX_FILES });
        }
        let content =
            if is_of_use { self.store.whole(&file).await? } else { bytes::Bytes::default() };
        Ok(LocalFile { name: file.filename, content_type: file.content_type, bytes, content })
    }

    /// Ends a turn in which `said` was answered by the response object `told`. It is on the disk
    /// when this returns.
    ///
    /// # Errors
    ///
    /// When it cannot be kept. Nothing of it is then.
    pub async fn end(&self, turn: Turn, said: Vec<String>, told: &[u8]) -> Result<(), TurnError> {
        let Some(conversation) = &turn.conversation else { return Ok(()) };
        let told = Object::read(told);
        let output = told.as_ref().and_then(|told| told.list("output")).unwrap_or_default();
        let said = said.iter().map(|item| &**item);
        let all = said.chain(output.into_iter().map(serde_json::value::RawValue::get));
        let items = all.filter_map(Item::named).collect();
        let response = told.as_ref().and_then(|told| told.text("id"));
        let kept = self.store.append(conversation, items, response).await?;
        kept.map(drop).ok_or(TurnError::Gone)
    }
}
