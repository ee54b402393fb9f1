//! The response object: what is echoed of a request, and what it has cost.

use serde_json::Value;

use crate::sim::{
    script::Quirk,
    tree::{given, list, object, put, text},
    turn::{Content, Teacher},
    world::{CompletedOutput, UsageDetails},
};

impl Teacher<'_> {
    pub(super) fn completed(&self, id: &str, content: &Content) -> Value {
        let mut response = self.response(id);
        put(&mut response, "status", "completed");
        put(&mut response, "service_tier", "default");
        put(&mut response, "completed_at", self.now);
        put(&mut response, "usage", self.usage(content));
        let filled = self.world.completed_output == CompletedOutput::Filled;
        if filled || self.step.shape.has(Quirk::Filled) {
            put(&mut response, "output", self.resealed(&content.items));
        }
        if let Some(end_turn) = self.step.shape.end_turn {
            put(&mut response, "end_turn", end_turn);
        }
        object! {"type": "response.completed", "response": response}
    }

    pub(super) fn incomplete(&self, id: &str, content: &Content, reason: &str) -> Value {
        let mut event = self.completed(id, content);
        put(&mut event, "type", "response.incomplete");
        put(&mut event["response"], "status", "incomplete");
        put(&mut event["response"], "completed_at", Value::Null);
        put(&mut event["response"], "incomplete_details", object! {"reason": reason});
        event
    }

    /// The items once more; what is sealed in them is sealed anew each time.
    fn resealed(&self, items: &[Value]) -> Vec<Value> {
        let mut items = items.to_vec();
        for item in items.iter_mut().filter(|item| given(item, "encrypted_content")) {
            put(item, "encrypted_content", self.mint.seal(&self.asked.account.id, 330));
        }
        items
    }

    fn usage(&self, content: &Content) -> Value {
        let empty = content.items.is_empty();
        let (input, cached) = if empty { (0, 0) } else { (self.input_tokens, self.cached_tokens) };
        let mut input_details = object! {"cached_tokens": cached};
        if self.asked.model.counts_cache_writes() {
            let written = if self.asked.session.is_some() { input - cached } else { 0 };
            put(&mut input_details, "cache_write_tokens", written);
        }
        let mut usage = object! {
            "input_tokens": input,
            "input_tokens_details": input_details,
            "output_tokens": content.tokens,
            "output_tokens_details": object! {"reasoning_tokens": content.reasoning_tokens},
            "total_tokens": input + content.tokens,
        };
        let null = self.world.usage_details == UsageDetails::Null;
        if null || self.step.shape.has(Quirk::DetailsNull) {
            put(&mut usage, "input_tokens_details", Value::Null);
            put(&mut usage, "output_tokens_details", Value::Null);
        }
        usage
    }

    /// The response object as it is before anything is known.
    pub(super) fn response(&self, id: &str) -> Value {
        let body = &self.asked.body;
        let or = |field: &str, other: Value| or_else(&body[field], other);
        let format = or_else(&body["text"]["format"], object! {"type": "text"});
        let verbosity = match text(&body["text"], "verbosity") {
            "" => "medium",
            verbosity => verbosity,
        };
        object! {
            "id": id,
            "object": "response",
            "created_at": self.now,
            "status": "in_progress",
            "background": false,
            "completed_at": Value::Null,
            "error": Value::Null,
            "frequency_penalty": 0.0,
            "incomplete_details": Value::Null,
            "instructions": body["instructions"].clone(),
            "max_output_tokens": body["max_output_tokens"].clone(),
            "max_tool_calls": Value::Null,
            "model": self.asked.model.slug.as_str(),
            "output": list![],
            "parallel_tool_calls": or("parallel_tool_calls", true.into()),
            "presence_penalty": 0.0,
            "previous_response_id": Value::Null,
            "prompt_cache_key": body["prompt_cache_key"].clone(),
            "prompt_cache_retention": Value::Null,
            "reasoning": or("reasoning", object! {"effort": Value::Null, "summary": Value::Null}),
            "safety_identifier": self.asked.account.user.as_str(),
            "service_tier": "auto",
            "store": false,
            "temperature": 1.0,
            "text": object! {"format": format, "verbosity": verbosity},
            "tool_choice": or("tool_choice", "auto".into()),
            "tool_usage": tool_usage(),
            "tools": or("tools", list![]),
            "top_logprobs": 0,
            "top_p": 0.98,
            "truncation": "disabled",
            "usage": Value::Null,
            "user": Value::Null,
            "metadata": or("metadata", object! {}),
        }
    }
}

fn or_else(value: &Value, other: Value) -> Value {
    if value.is_null() { other } else { value.clone() }
}

fn tool_usage() -> Value {
    let details = || object! {"image_tokens": 0, "text_tokens": 0};
    object! {
        "image_gen": object! {
            "input_tokens": 0,
            "input_tokens_details": details(),
            "output_tokens": 0,
            "output_tokens_details": details(),
            "total_tokens": 0,
        },
        "web_search": object! {"num_requests": 0},
    }
}
