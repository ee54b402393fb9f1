//! The events of one item of output, from `output_item.added` to `output_item.done`.
//!
//! Not here: the frame around them (`turn`) and what they are made of on the wire (`framing`).

use serde_json::Value;

use crate::sim::{
    mint::Mint,
    plan::{Message, Output, Phase, TOKEN},
    request::Asked,
    tree::{count, list, object, put},
};

/// A PNG of one pixel, in base64.
pub(super) const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// How much a thought weighs that nobody sees.
const SILENT_THOUGHT: u64 = 64;

/// An item as it is told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) events: Vec<Value>,
    /// The item of `output_item.done`.
    pub(super) item: Value,
    pub(super) tokens: u64,
    pub(super) reasoning_tokens: u64,
}

/// Where an item is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Teller<'a> {
    pub(super) mint: &'a Mint,
    pub(super) asked: &'a Asked,
    /// `output_index`.
    pub(super) index: u64,
    /// The status of an item that is done: `completed`, or `incomplete`.
    pub(super) status: &'static str,
    /// Whether arguments come in pieces.
    pub(super) argument_deltas: bool,
}

impl Teller<'_> {
    pub(super) fn tell(self, output: &Output) -> Told {
        match output {
            Output::Message(message) => self.message(message),
            Output::Reasoning(parts) => self.reasoning(parts),
            Output::Function { name, namespace, arguments } => {
                let call = Call {
                    kind: "function_call",
                    prefix: "fc_",
                    content: "arguments",
                    event: "response.function_call_arguments",
                };
                self.call(&call, (name, namespace.as_deref()), arguments)
            }
            Output::Custom { name, namespace, input } => {
                let call = Call {
                    kind: "custom_tool_call",
                    prefix: "ctc_",
                    content: "input",
                    event: "response.custom_tool_call_input",
                };
                self.call(&call, (name, namespace.as_deref()), input)
            }
            Output::Search(action) => self.search(action),
            Output::Image => self.image(),
            Output::Compaction => self.compaction(),
        }
    }

    fn added(self, item: &Value) -> Value {
        object! {"type": "response.output_item.added", "output_index": self.index, "item": item.clone()}
    }

    fn done(self, item: &Value) -> Value {
        object! {"type": "response.output_item.done", "output_index": self.index, "item": item.clone()}
    }

    fn event(self, kind: &str, item_id: &str) -> Value {
        object! {"type": kind, "item_id": item_id, "output_index": self.index}
    }

    /// Padding of varying length.
    fn obfuscation(self, weight: usize) -> String {
        self.mint.hex(16 - weight % 13)
    }

    fn message(self, message: &Message) -> Told {
        let id = self.mint.id("msg_");
        let text = message.deltas.concat();
        let phase = match message.phase {
            Phase::Commentary => "commentary",
            Phase::FinalAnswer => "final_answer",
        };
        let part = |text: &str, annotations: &[Value]| {
            if message.refusal {
                object! {"type": "refusal", "refusal": text}
            } else {
                object! {
                    "type": "output_text",
                    "annotations": annotations.to_vec(),
                    "logprobs": list![],
                    "text": text,
                }
            }
        };
        let item = |status: &str, content: Value| {
            object! {
                "id": id.as_str(),
                "type": "message",
                "status": status,
                "content": content,
                "phase": phase,
                "role": "assistant",
            }
        };
        let part_event = |kind: &str, part: Value| {
            let mut event = self.event(kind, &id);
            put(&mut event, "content_index", 0);
            put(&mut event, "part", part);
            event
        };
        let whole = part(&text, &message.citations);
        let finished = item(self.status, list![whole.clone()]);
        let mut events = vec![
            self.added(&item("in_progress", list![])),
            part_event("response.content_part.added", part("", &[])),
        ];
        events.extend(self.text_events(message, &id, &text));
        events.push(part_event("response.content_part.done", whole));
        events.push(self.done(&finished));
        Told { events, item: finished, tokens: tokens(&text), reasoning_tokens: 0 }
    }

    fn text_events(self, message: &Message, id: &str, text: &str) -> Vec<Value> {
        let (kind, field) = if message.refusal {
            ("response.refusal", "refusal")
        } else {
            ("response.output_text", "text")
        };
        let event = |name: &str| {
            let mut event = self.event(&format!("{kind}.{name}"), id);
            put(&mut event, "content_index", 0);
            event
        };
        let deltas = message.deltas.iter().map(|delta| {
            let mut event = event("delta");
            put(&mut event, "delta", delta.as_str());
            put(&mut event, "logprobs", list![]);
            put(&mut event, "obfuscation", self.obfuscation(delta.len()));
            event
        });
        let annotations = message.citations.iter().enumerate().map(|(index, citation)| {
            let mut event = event("annotation.added");
            put(&mut event, "annotation_index", count(index));
            put(&mut event, "annotation", citation.clone());
            event
        });
        let mut done = event("done");
        put(&mut done, field, text);
        put(&mut done, "logprobs", list![]);
        deltas.chain(annotations).chain([done]).collect()
    }

    fn reasoning(self, parts: &[String]) -> Told {
        let id = self.mint.id("rs_");
        let sealed = self.asked.includes("reasoning.encrypted_content");
        let item = |weight: u64, summary: Value| {
            let mut item = object! {"id": id.as_str(), "type": "reasoning", "summary": summary};
            if sealed {
                let content = self.mint.seal(&self.asked.account.id, weight);
                put(&mut item, "encrypted_content", content);
            }
            item
        };
        let summary_part = |text: &str| object! {"type": "summary_text", "text": text};
        let summary = parts.iter().map(|text| summary_part(text)).collect();
        let finished = item(320, summary);
        let mut events = vec![self.added(&item(120, list![]))];
        for (index, text) in parts.iter().enumerate() {
            let event = |name: &str, field: &str, value: Value| {
                let mut event = self.event(&format!("response.{name}"), &id);
                put(&mut event, "summary_index", count(index));
                put(&mut event, field, value);
                event
            };
            events.push(event("reasoning_summary_part.added", "part", summary_part("")));
            events.extend(text.split_inclusive(' ').map(|delta| {
                let mut event = event("reasoning_summary_text.delta", "delta", delta.into());
                put(&mut event, "obfuscation", self.obfuscation(delta.len()));
                event
            }));
            events.push(event("reasoning_summary_text.done", "text", text.as_str().into()));
            events.push(event("reasoning_summary_part.done", "part", summary_part(text)));
        }
        events.push(self.done(&finished));
        let tokens = SILENT_THOUGHT + tokens(&parts.concat());
        Told { events, item: finished, tokens, reasoning_tokens: tokens }
    }

    fn call(self, call: &Call, (name, namespace): (&str, Option<&str>), content: &str) -> Told {
        let id = self.mint.id(call.prefix);
        let call_id = format!("call_{}", self.mint.hex(24));
        let item = |status: &str, content: &str| {
            let mut item = object! {
                "id": id.as_str(),
                "type": call.kind,
                "status": status,
                "call_id": call_id.as_str(),
                "name": name,
            };
            put(&mut item, call.content, content);
            if let Some(namespace) = namespace {
                put(&mut item, "namespace", namespace);
            }
            item
        };
        let finished = item(self.status, content);
        let mut events = vec![self.added(&item("in_progress", ""))];
        if self.argument_deltas {
            events.extend(pieces(content).map(|delta| {
                let mut event = self.event(&format!("{}.delta", call.event), &id);
                put(&mut event, "delta", delta);
                put(&mut event, "obfuscation", self.obfuscation(delta.len()));
                event
            }));
        }
        let mut done = self.event(&format!("{}.done", call.event), &id);
        put(&mut done, call.content, content);
        events.push(done);
        events.push(self.done(&finished));
        Told { events, item: finished, tokens: tokens(name) + tokens(content), reasoning_tokens: 0 }
    }

    fn search(self, action: &Value) -> Told {
        let id = self.mint.id("ws_");
        let item =
            |status: &str| object! {"id": id.as_str(), "type": "web_search_call", "status": status};
        let mut finished = item(self.status);
        let mut action = action.clone();
        let sources = self.asked.includes("web_search_call.action.sources");
        if sources && action["type"] == "search" {
            let source = object! {"type": "url", "url": "https://example.com/simulator"};
            put(&mut action, "sources", list![source]);
        }
        put(&mut finished, "action", action);
        let steps = ["in_progress", "searching", "completed"]
            .map(|step| self.event(&format!("response.web_search_call.{step}"), &id));
        let mut events = vec![self.added(&item("in_progress"))];
        events.extend(steps);
        events.push(self.done(&finished));
        Told { events, item: finished, tokens: 0, reasoning_tokens: 0 }
    }

    fn image(self) -> Told {
        let id = self.mint.id("ig_");
        let item = |status: &str| object! {"id": id.as_str(), "type": "image_generation_call", "status": status};
        let look = |tree: &mut Value| {
            for (name, value) in [
                ("background", "opaque"),
                ("output_format", "png"),
                ("quality", "low"),
                ("size", "1024x1024"),
            ] {
                put(tree, name, value);
            }
        };
        // The real one says `generating` here as well, although it is done.
        let mut finished = item("generating");
        look(&mut finished);
        put(&mut finished, "revised_prompt", "A single pixel.");
        put(&mut finished, "result", PIXEL);
        let event = |step: &str| self.event(&format!("response.image_generation_call.{step}"), &id);
        let mut partial = event("partial_image");
        put(&mut partial, "partial_image_index", 0);
        put(&mut partial, "partial_image_b64", PIXEL);
        look(&mut partial);
        let events = vec![
            self.added(&item("in_progress")),
            event("in_progress"),
            event("generating"),
            partial,
            event("completed"),
            self.done(&finished),
        ];
        Told { events, item: finished, tokens: 0, reasoning_tokens: 0 }
    }

    fn compaction(self) -> Told {
        let content = self.mint.seal(&self.asked.account.id, 480);
        let item = object! {
            "id": self.mint.id("cmp_"),
            "type": "compaction",
            "encrypted_content": content,
        };
        Told {
            events: vec![self.added(&item), self.done(&item)],
            item,
            tokens: SILENT_THOUGHT,
            reasoning_tokens: 0,
        }
    }
}

/// The words in which two kinds of calls differ.
struct Call {
    kind: &'static str,
    prefix: &'static str,
    content: &'static str,
    event: &'static str,
}

/// Pieces of a few characters, as arguments come.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().nth(6).map_or(rest.len(), |(at, _)| at);
        let (piece, later) = rest.split_at(end);
        rest = later;
        Some(piece)
    })
}

fn tokens(text: &str) -> u64 {
    count(text.len().div_ceil(TOKEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_between_characters() {
        assert_eq!(pieces("äöüäöüx").collect::<Vec<_>>(), ["äöüäöü", "x"]);
        assert_eq!(pieces("").count(), 0);
    }
}
