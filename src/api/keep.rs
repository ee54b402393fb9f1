//! Keeps what a turn comes to: reads along while it is told, and writes it down before its end is.

use std::pin::Pin;

use crate::{
    api::error::ApiError,
    dialogue::{Dialogues, Ended, Turn},
    object::{self, Object},
    store::{Answer, Item},
    wire::{
        reply::{
            End, Reader, chat,
            responses::{Collect, Members},
        },
        tools::ToolNames,
    },
};

/// A turn that is to be kept once its answer is whole.
#[derive(Debug)]
pub struct Keep {
    dialogues: Dialogues,
    turn: Turn,
    /// The items of the request, as their client means them.
    said: Vec<Item>,
    answer: Option<(Answer, Vec<Item>)>,
    /// What response objects of this turn say besides.
    members: Members,
    collect: Collect,
    chat: Option<Box<(Reader, chat::Completion)>>,
}

/// The keeping, once it has begun.
pub type Keeping = Pin<Box<dyn Future<Output = Result<(), ApiError>> + Send>>;

impl Keep {
    pub fn new(dialogues: Dialogues, turn: Turn, said: Vec<Item>, names: ToolNames) -> Self {
        let (members, collect) = (Members::new(), Collect::new(names));
        Self { dialogues, turn, said, answer: None, members, collect, chat: None }
    }

    /// Its response objects say `members` besides.
    #[must_use]
    pub fn saying(mut self, members: Members) -> Self {
        self.collect = self.collect.with(members.clone());
        self.members = members;
        self
    }

    /// The answer is kept by its own id as well, with what it answers.
    #[must_use]
    pub fn answering(self, answer: Answer, asked: Vec<Item>) -> Self {
        Self { answer: Some((answer, asked)), ..self }
    }

    /// The answer is kept as a chat completion.
    #[must_use]
    pub fn told_as_chat(self, settings: chat::Settings) -> Self {
        let chat = (Reader::default(), chat::Completion::new(settings));
        Self { chat: Some(Box::new(chat)), ..self }
    }

    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The answer that will be kept, and what it answers.
    pub fn answer(&self) -> Option<&(Answer, Vec<Item>)> {
        self.answer.as_ref()
    }

    /// Takes note of a run of whole events. What cannot be read ends the answer elsewhere.
    pub fn read_run(&mut self, run: &[u8]) {
        let _told_elsewhere = self.collect.read_run(run);
        if let Some(chat) = &mut self.chat {
            let _told_elsewhere = chat.0.read_run(run, &mut chat.1);
        }
    }

    /// Writes down what it has come to.
    pub fn keep(self, end: &End) -> Keeping {
        let Self { dialogues, turn, said, answer, members: _, collect, chat } = self;
        let told = collect.finish();
        let chat = chat.map(|chat| chat.1.finish(end));
        let status = if end.incomplete.is_some() { "incomplete" } else { "completed" };
        let answer = answer.map(|(answer, asked)| {
            let body =
                chat.map_or_else(|| text(&told), |chat| with_metadata(&chat, &answer.metadata));
            // That which served, as the body says it.
            let model = Object::read(body.as_bytes()).and_then(|body| body.text("model"));
            let model = model.unwrap_or(answer.model);
            (Answer { body, model, status: status.to_owned(), ..answer }, asked)
        });
        let ended = Ended { said, told, answer };
        Box::pin(async move { Ok(dialogues.end(&turn, ended).await?) })
    }
}

fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}

/// A chat completion as it is kept: with what its client said about it.
pub fn with_metadata(completion: &[u8], metadata: &str) -> String {
    text(&object::with(completion, "metadata", metadata.as_bytes()).unwrap_or_default())
}
