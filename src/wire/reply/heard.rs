//! What a chat client hears, put together from a stream or read in one body, for tests that hold
//! the two against each other.
//!
//! **Invariant:** a stream that no client could put together makes this panic.

#![expect(clippy::panic, reason = "to panic at a broken promise is what this is for")]

use serde_json::Value;

use crate::wire::sse;

/// All that a chat client gets, however it came.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub content: String,
    pub refusal: String,
    pub reasoning: String,
    pub annotations: Vec<Value>,
    /// Id, type, name, and arguments or input.
    pub calls: Vec<[String; 4]>,
    pub finish_reason: Value,
    pub usage: Value,
}

impl Answer {
    /// What a client puts together from the chunks of a stream.
    pub fn of_chunks(chunks: &[u8]) -> Self {
        let mut answer = Self::default();
        let (mut has_role, mut head) = (false, None);
        for frame in sse::frames(chunks).filter(|frame| frame.data.starts_with(b"{")) {
            let chunk = read(&frame.data);
            let own = ["id", "object", "created", "model"].map(|name| chunk[name].clone());
            assert_eq!(*head.get_or_insert(own.clone()), own, "chunks are of one answer");
            if !chunk["usage"].is_null() {
                answer.usage = chunk["usage"].clone();
            }
            let choice = &chunk["choices"][0];
            let delta = &choice["delta"];
            assert!(delta["role"].is_null() || !has_role, "the role is told once");
            has_role |= !delta["role"].is_null();
            answer.add(delta);
            if !choice["finish_reason"].is_null() {
                assert_eq!(answer.finish_reason, Value::Null, "an answer ends once");
                answer.finish_reason = choice["finish_reason"].clone();
            }
        }
        answer
    }

    fn add(&mut self, delta: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        self.content += &text(&delta["content"]);
        self.refusal += &text(&delta["refusal"]);
        self.reasoning += &text(&delta["reasoning_content"]);
        self.annotations.extend(delta["annotations"].as_array().into_iter().flatten().cloned());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            let index = index.unwrap_or(usize::MAX);
            if let Some(id) = call["id"].as_str() {
                assert_eq!(index, self.calls.len(), "calls are counted");
                let kind = text(&call["type"]);
                let name = text(&call[&*kind]["name"]);
                self.calls.push([id.to_owned(), kind, name, String::new()]);
            }
            let Some(known) = self.calls.get_mut(index) else { panic!("no call {index}") };
            let kind = known[1].clone();
            known[3] += &text(&call[&*kind][if kind == "custom" { "input" } else { "arguments" }]);
        }
    }

    /// What a client reads in a completion.
    pub fn of_completion(completion: &[u8]) -> Self {
        let completion = read(completion);
        let message = &completion["choices"][0]["message"];
        let mut answer = Self::default();
        let mut counted = message.clone();
        for (index, call) in counted["tool_calls"].as_array_mut().into_iter().flatten().enumerate()
        {
            call["index"] = index.into();
        }
        answer.add(&counted);
        answer.finish_reason = completion["choices"][0]["finish_reason"].clone();
        answer.usage = completion["usage"].clone();
        answer
    }
}

fn read(json: &[u8]) -> Value {
    match serde_json::from_slice(json) {
        Ok(value) => value,
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(json)),
    }
}
