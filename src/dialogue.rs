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
    store::{Answer, ChainEnd, File, Item, Kept, Kind, Outcome, Store, Unavailable},
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
    #[error("there is no answer {id} to go on from")]
    NoAnswer { id: String },
    #[error("the answer {id} is not finished")]
    Unfinished { id: String },
    #[error("an answer is larger than the {limit} bytes that may be kept")]
    NoRoom { limit: u64 },
    #[error("the files of one request are larger than {limit} bytes together")]
    Files { limit: usize },
}

/// What is remembered. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialogues {
    store: Store,
    turns: Arc<Turns>,
    keeps: bool,
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

/// What a turn has come to.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The items of the request.
    pub said: Vec<Item>,
    /// The response object that answers them.
    pub told: Vec<u8>,
    /// What is to be kept by its own id, and what that answers.
    pub answer: Option<(Answer, Vec<Item>)>,
}

/// A turn that has begun. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Turn {
    after: After,
    /// A list of items.
    before: Vec<u8>,
}

/// What a turn goes on from.
#[derive(Debug)]
enum After {
    Nothing,
    Conversation {
        id: String,
        _alone: OwnedMutexGuard<()>,
    },
    /// An answer, and the dialogue that it is of.
    Answer {
        chain: String,
    },
}

impl Turn {
    /// What was said before, as a list of items; and the parameter of the request that brought it.
    pub fn before(&self) -> Option<(&[u8], &'static str)> {
        match self.after {
            After::Nothing => None,
            After::Conversation { .. } => Some((&self.before, "conversation")),
            After::Answer { .. } => Some((&self.before, "previous_response_id")),
        }
    }

    /// The conversation that it belongs to.
    pub fn conversation(&self) -> Option<&str> {
        match &self.after {
            After::Conversation { id, .. } => Some(id),
            After::Nothing | After::Answer { .. } => None,
        }
    }

    /// What stays the same in all turns of its dialogue, if it has others.
    pub fn dialogue(&self) -> Option<&str> {
        match &self.after {
            After::Nothing => None,
            After::Conversation { id, .. } => Some(id),
            After::Answer { chain } => Some(chain),
        }
    }
}

impl Dialogues {
    /// `keeps` says whether answers are kept for whoever wants it.
    pub fn new(store: Store, keeps: bool) -> Self {
        Self { store, turns: Arc::default(), keeps }
    }

    /// Whether answers are kept.
    pub fn keeps(&self) -> bool {
        self.keeps
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
        if let Some(previous) = &memory.previous {
            return self.after(previous).await;
        }
        let Some(id) = &memory.conversation else {
            return Ok(Turn { after: After::Nothing, before: b"[]".into() });
        };
        let alone = self.alone_in(id).await?;
        let history = self.store.history(id).await?;
        let history = history.ok_or_else(|| TurnError::NoConversation { id: id.clone() })?;
        let before = memory::list(history.iter().map(|item| &*item.json));
        Ok(Turn { after: After::Conversation { id: id.clone(), _alone: alone }, before })
    }

    /// A turn that goes on from the answer `id`.
    async fn after(&self, id: &str) -> Result<Turn, TurnError> {
        let none = || TurnError::NoAnswer { id: id.to_owned() };
        let ChainEnd { name, is_open, said } = self.store.end_of(id).await?.ok_or_else(none)?;
        if is_open {
            return Err(TurnError::Unfinished { id: id.to_owned() });
        }
        let said = said.ok_or_else(none)?;
        let before = memory::list(said.iter().map(|item| &*item.json));
        Ok(Turn { after: After::Answer { chain: name }, before })
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

    /// Those of the items `ids` that are kept, as a list.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn items_of(&self, ids: Vec<String>) -> Result<Vec<u8>, TurnError> {
        if ids.is_empty() {
            return Ok(b"[]".into());
        }
        let items = self.store.items_of(ids).await?;
        let items: Vec<_> = items.into_iter().map(Item::shown).collect();
        Ok(memory::list(items.iter().map(|item| &**item)))
    }

    /// Ends a turn. What is kept of it is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// When it cannot be kept. Nothing of it is then.
    pub async fn end(&self, turn: &Turn, ended: Ended) -> Result<(), TurnError> {
        let Ended { said, told, answer } = ended;
        let told = Object::read(&told);
        let output = told.as_ref().and_then(|told| told.list("output")).unwrap_or_default();
        let output = output.into_iter().map(serde_json::value::RawValue::get);
        let output: Vec<_> = output.filter_map(Item::named).collect();
        let response = told.as_ref().and_then(|told| told.text("id"));
        let conversation = turn.conversation().map(|id| {
            let all = said.into_iter().chain(output.iter().cloned()).collect();
            (id.to_owned(), all, response)
        });
        let (answer, asked) = answer.unzip();
        let asked = asked.unwrap_or_default();
        let is_response = answer.as_ref().is_some_and(|answer| answer.kind == Kind::Response);
        let output = if is_response { output } else { Vec::new() };
        self.keep(Outcome { answer, asked, output, conversation }).await
    }

    /// Writes down an answer that is still to be made.
    ///
    /// # Errors
    ///
    /// When it cannot be kept.
    pub async fn open(&self, answer: Answer, asked: Vec<Item>) -> Result<(), TurnError> {
        self.keep(Outcome { answer: Some(answer), asked, ..Outcome::default() }).await
    }

    async fn keep(&self, outcome: Outcome) -> Result<(), TurnError> {
        let previous = outcome.answer.as_ref().and_then(|answer| answer.previous.clone());
        match self.store.keep_turn(outcome).await? {
            Kept::Done => Ok(()),
            Kept::Gone => Err(TurnError::Gone),
            Kept::NoRoom { limit } => Err(TurnError::NoRoom { limit }),
            Kept::NoPrevious => Err(TurnError::NoAnswer { id: previous.unwrap_or_default() }),
        }
    }
}
