//! One prompt to one slot, whatever the choice would be: the owner wants to know whether it serves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Asked, Refused, Relay, cut_short, story::Story};
use crate::{
    clock,
    id::RequestId,
    slot::SlotId,
    upstream::{
        catalogue::Models,
        failure::{ErrorFields, Failure, Fault, Refusal, classify_event},
    },
    wire::{
        reject::Reject,
        reply::{End, Progress, Reader, chat},
        request::{self, Options, Translated},
    },
};

const LEAST_PROMPT: &str = "Reply with exactly pong";

/// What a slot answered.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Said {
    pub slot: String,
    pub model: String,
    pub text: String,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: [Message<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'a str>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: AnswerMessage,
}

#[derive(Deserialize)]
struct AnswerMessage {
    content: Option<String>,
}

impl Relay {
    /// Asks `id` alone, with the first model that its account lists unless one is named.
    ///
    /// # Errors
    ///
    /// When it does not answer, and why not.
    pub async fn try_out(
        &self,
        id: &SlotId,
        model: Option<&str>,
        prompt: &str,
    ) -> Result<Said, Refused> {
        let model = match model {
            Some(model) => model.to_owned(),
            None => self.usual_model(id).await?,
        };
        self.ask_alone(id, model, None, prompt).await
    }

    /// Asks `id` alone for as little as can be asked for: the smallest model and its least effort.
    ///
    /// # Errors
    ///
    /// As of [`try_out`](Self::try_out).
    pub async fn try_out_least(&self, id: &SlotId) -> Result<Said, Refused> {
        let models = self.models_of_slot(id).await?;
        let smallest = models.smallest().ok_or_else(no_model)?;
        let effort = smallest.reasoning_levels.first().map(String::as_str);
        self.ask_alone(id, smallest.slug.clone(), effort, LEAST_PROMPT).await
    }

    async fn ask_alone(
        &self,
        id: &SlotId,
        model: String,
        effort: Option<&str>,
        prompt: &str,
    ) -> Result<Said, Refused> {
        let request = translated(&model, effort, prompt)?;
        let bytes = clock::random().map_err(|error| odd(error.to_string()))?;
        let only = Some(id.clone());
        let asked = Asked {
            id: RequestId::from_random(bytes),
            request,
            turn: http::HeaderMap::new(),
            only,
            story: Story::default(),
        };
        let text = self.heard(asked, &model).await?;
        Ok(Said { slot: id.to_string(), model, text })
    }

    async fn usual_model(&self, id: &SlotId) -> Result<String, Refused> {
        let models = self.models_of_slot(id).await?;
        let first = models.entries.iter().min_by_key(|model| model.priority.unwrap_or(i64::MAX));
        first.map(|model| model.slug.clone()).ok_or_else(no_model)
    }

    async fn models_of_slot(&self, id: &SlotId) -> Result<Arc<Models>, Refused> {
        let account = self.slots.account(id);
        let account = account.ok_or_else(|| odd("there is no such slot".to_owned()))?;
        self.models_of(id, &account).await
    }

    async fn heard(&self, asked: Asked, model: &str) -> Result<String, Refused> {
        let mut opened = self.open(asked).await?;
        let mut completion = chat::Completion::new(chat::Settings {
            id: String::new(),
            model: model.to_owned(),
            created: 0,
            include_usage: false,
            legacy_function: false,
            reasoning: chat::Reasoning::Hidden,
            has_tier: false,
            names: <_>::default(),
        });
        let mut reader = Reader::default();
        while let Some(run) = opened.next_run().await {
            let run = run.map_err(Refused::Attempt)?;
            let progress = reader.read_run(&run, &mut completion);
            match progress.map_err(|error| odd(error.to_string()))? {
                Progress::More => {}
                Progress::Failed(event) => {
                    let failure = classify_event(ErrorFields::of_event(&event), self.clock.now());
                    opened.failed(&failure);
                    return Err(Refused::Attempt(failure));
                }
                Progress::Ended(end) => {
                    opened.ended(None);
                    return text_of(&completion, &end);
                }
            }
        }
        Err(Refused::Attempt(cut_short()))
    }
}

fn translated(model: &str, effort: Option<&str>, prompt: &str) -> Result<Translated, Refused> {
    let messages = [Message { role: "user", content: prompt }];
    let body = serde_json::to_vec(&Body { model, messages, reasoning_effort: effort });
    let body = body.map_err(|error| odd(error.to_string()))?;
    let refusal = |reject: Reject| Refusal {
        status: 400,
        message: reject.message,
        kind: None,
        param: reject.param,
        code: None,
    };
    let request = request::chat::translate(&body, &Options::PLAIN);
    request.map_err(|reject| Refused::Attempt(Failure::Request(Box::new(refusal(reject)))))
}

fn text_of(completion: &chat::Completion, end: &End) -> Result<String, Refused> {
    let answer: Result<Answer, _> = serde_json::from_slice(&completion.finish(end));
    let answer = answer.map_err(|error| odd(error.to_string()))?;
    let first = answer.choices.into_iter().next();
    Ok(first.and_then(|choice| choice.message.content).unwrap_or_default())
}

fn no_model() -> Refused {
    odd("its account lists no model".to_owned())
}

fn odd(message: String) -> Refused {
    let fault = Fault { message: Some(message), ..Fault::default() };
    Refused::Attempt(Failure::Service(Box::new(fault)))
}
