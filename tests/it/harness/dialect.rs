//! The three dialects as far as tests differ in them: what is asked, and what a stream says.

use serde_json::{Value, json};

use super::{
    MODEL,
    http::{Refusal, check_error},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Responses,
    Chat,
    Completions,
}

impl Dialect {
    pub const ALL: [Self; 3] = [Self::Responses, Self::Chat, Self::Completions];

    pub fn path(self) -> &'static str {
        match self {
            Self::Responses => "/v1/responses",
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }

    /// A request that says `text`.
    pub fn body(self, text: &str) -> Value {
        match self {
            Self::Responses => json!({"model": MODEL, "input": text}),
            Self::Chat => {
                json!({"model": MODEL, "messages": [{"role": "user", "content": text}]})
            }
            Self::Completions => json!({"model": MODEL, "prompt": text}),
        }
    }

    /// The same with its answer as a stream.
    pub fn streamed(self, text: &str) -> Value {
        let mut body = self.body(text);
        body["stream"] = Value::Bool(true);
        body
    }

    /// The text of a whole answer.
    pub fn text(self, body: &Value) -> String {
        let text = match self {
            Self::Responses => {
                let is_message = |item: &&Value| item["type"] == "message";
                let messages = body["output"].as_array().into_iter().flatten().filter(is_message);
                let parts = messages.filter_map(|item| item["content"].as_array()).flatten();
                return parts.filter_map(|part| part["text"].as_str()).collect();
            }
            Self::Chat => &body["choices"][0]["message"]["content"],
            Self::Completions => &body["choices"][0]["text"],
        };
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What a stream says.
    #[track_caller]
    pub fn told(self, stream: &str) -> Told {
        let mut told = Told::default();
        for event in events(stream) {
            assert_eq!(told.failure, None, "nothing comes after a failure: {stream}");
            assert!(!told.is_complete, "nothing comes after the end: {stream}");
            if event.data == "[DONE]" {
                told.is_complete = true;
                continue;
            }
            let json: Value = serde_json::from_str(&event.data).expect("JSON");
            match self {
                Self::Responses => told.take_event(&event.name, &json),
                Self::Chat => told.take_chunk(&json, &json["choices"][0]["delta"]["content"]),
                Self::Completions => told.take_chunk(&json, &json["choices"][0]["text"]),
            }
        }
        told
    }
}

/// What a stream adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub text: String,
    pub n_events: usize,
    /// A client takes the answer for a whole one.
    pub is_complete: bool,
    /// The finish reason of a chunk.
    pub finish: Option<String>,
    pub failure: Option<Refusal>,
}

impl Told {
    fn take_event(&mut self, name: &str, event: &Value) {
        self.n_events += 1;
        assert_eq!(event["type"], name, "name and type agree: {event}");
        match name {
            "response.output_text.delta" => {
                self.text.push_str(event["delta"].as_str().expect("text"));
            }
            "response.completed" | "response.incomplete" => self.is_complete = true,
            "response.failed" => {
                self.failure = Some(Refusal::of(200, &event["response"]["error"]));
            }
            "error" => {
                check_error(&event["error"]);
                for member in ["message", "param", "code"] {
                    assert_eq!(event[member], event["error"][member], "{event}");
                }
                self.failure = Some(Refusal::of(200, &event["error"]));
            }
            _ => {}
        }
    }

    fn take_chunk(&mut self, chunk: &Value, text: &Value) {
        self.n_events += 1;
        if !chunk["error"].is_null() {
            check_error(&chunk["error"]);
            self.failure = Some(Refusal::of(200, &chunk["error"]));
            return;
        }
        self.text.push_str(text.as_str().unwrap_or_default());
        if let Some(reason) = chunk["choices"][0]["finish_reason"].as_str() {
            self.finish = Some(reason.to_owned());
        }
    }
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
}

/// The events of a stream that is written as the relay's own are: lines end with LF, comments
/// stand alone, and the last event is whole.
#[track_caller]
pub fn events(stream: &str) -> Vec<Event> {
    assert!(stream.is_empty() || stream.ends_with("\n\n"), "ends inside an event: {stream:?}");
    let blocks = stream.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    blocks
        .map(|block| {
            let mut event = Event { name: String::new(), data: String::new() };
            for line in block.lines() {
                match line.split_once(": ").expect("a field") {
                    ("event", name) => name.clone_into(&mut event.name),
                    ("data", data) => event.data.push_str(data),
                    (name, _) => assert_eq!(name, "", "no such field: {block:?}"),
                }
            }
            event
        })
        .collect()
}
