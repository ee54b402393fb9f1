//! Keeps what a turn comes to: reads along while it is told, and writes it down before its end is.

use std::pin::Pin;

use crate::{
    api::error::ApiError,
    dialogue::{Dialogues, Turn},
    wire::{reply::responses::Collect, tools::ToolNames},
};

/// A turn that is to be kept once its answer is whole.
#[derive(Debug)]
pub struct Keep {
    dialogues: Dialogues,
    turn: Turn,
    /// The items of the request, as their client means them.
    said: Vec<String>,
    collect: Collect,
}

/// The keeping, once it has begun.
pub type Keeping = Pin<Box<dyn Future<Output = Result<(), ApiError>> + Send>>;

impl Keep {
    pub fn new(dialogues: Dialogues, turn: Turn, said: Vec<String>, names: ToolNames) -> Self {
        Self { dialogues, turn, said, collect: Collect::new(names) }
    }

    /// Takes note of a run of whole events. What cannot be read ends the answer elsewhere.
    pub fn read_run(&mut self, run: &[u8]) {
        let _told_elsewhere = self.collect.read_run(run);
    }

    /// Writes down what it has come to.
    pub fn keep(self) -> Keeping {
        let Self { dialogues, turn, said, collect } = self;
        let told = collect.finish();
        Box::pin(async move { Ok(dialogues.end(turn, said, &told).await?) })
    }
}
