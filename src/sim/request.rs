//! An inference request, once it is known to be in order.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::Value;

use crate::sim::{
    account::Account,
    models::Model,
    tree::{elements, text},
};

/// A request that the upstream would have answered with a stream.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) body: Value,
    pub(super) model: Model,
    pub(super) tools: Vec<Tool>,
    pub(super) account: Arc<Account>,
    /// The header `session-id`, in either spelling.
    pub(super) session: Option<String>,
    /// `x-codex-turn-state`, when the client repeats it.
    pub(super) turn_state: Option<String>,
}

/// A tool that the client runs itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool {
    pub(super) kind: ToolKind,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// The schema of its arguments; null for a custom tool.
    pub(super) parameters: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToolKind {
    Function,
    Custom,
}

/// What `tool_choice` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Free,
    None,
    /// Some tool, it does not matter which.
    Any,
    Function(String),
    Custom(String),
}

impl Asked {
    /// The text of the last message of the user.
    pub(super) fn last_user(&self) -> String {
        self.input().iter().rev().find(|item| is_user(item)).map(message_text).unwrap_or_default()
    }

    /// What the tools said, when that is what the input ends with.
    pub(super) fn outputs(&self) -> Vec<String> {
        let mut outputs: Vec<_> = self
            .input()
            .iter()
            .rev()
            .take_while(|item| is_output(item))
            .map(|item| output_text(&item["output"]))
            .collect();
        outputs.reverse();
        outputs
    }

    /// Whether a tool answered since the user last spoke.
    pub(super) fn has_fresh_output(&self) -> bool {
        self.input().iter().rev().take_while(|item| !is_user(item)).any(is_output)
    }

    /// Whether this request asks for a compaction.
    pub(super) fn wants_compaction(&self) -> bool {
        self.input().last().is_some_and(|item| text(item, "type") == "compaction_trigger")
    }

    pub(super) fn includes(&self, what: &str) -> bool {
        elements(&self.body, "include").iter().any(|name| name == what)
    }

    pub(super) fn choice(&self) -> Choice {
        let choice = &self.body["tool_choice"];
        let name = || text(choice, "name").to_owned();
        match (choice.as_str(), text(choice, "type")) {
            (Some("none"), _) => Choice::None,
            (Some("required"), _) => Choice::Any,
            (None, "function") => Choice::Function(name()),
            (None, "custom") => Choice::Custom(name()),
            (None, "allowed_tools") if text(choice, "mode") == "required" => {
                match elements(choice, "tools").first() {
                    Some(tool) if text(tool, "type") == "custom" => {
                        Choice::Custom(text(tool, "name").to_owned())
                    }
                    Some(tool) => Choice::Function(text(tool, "name").to_owned()),
                    None => Choice::Any,
                }
            }
            _ => Choice::Free,
        }
    }

    /// What a cache could share with another request: instructions, tools and input, in order.
    pub(super) fn prompt(&self) -> Vec<u8> {
        let mut prompt = Vec::new();
        for part in ["instructions", "tools", "input"] {
            prompt.extend_from_slice(self.body[part].to_string().as_bytes());
        }
        prompt
    }

    fn input(&self) -> &[Value] {
        elements(&self.body, "input")
    }
}

/// The value of the first of `names` that is there and readable.
pub(super) fn header(headers: &HeaderMap, names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .find(|value| !value.is_empty())
        .map(str::to_owned)
}

/// The kind of an input item; one with a role and no type is a message.
pub(super) fn item_kind(item: &Value) -> &str {
    match item.get("type").and_then(Value::as_str) {
        Some(kind) => kind,
        None if item.get("role").is_some() => "message",
        None => "",
    }
}

fn is_user(item: &Value) -> bool {
    item_kind(item) == "message" && text(item, "role") == "user"
}

fn is_output(item: &Value) -> bool {
    matches!(item_kind(item), "function_call_output" | "custom_tool_call_output")
}

/// The text parts of a message, one per line.
pub(super) fn message_text(item: &Value) -> String {
    output_text(&item["content"])
}

fn output_text(content: &Value) -> String {
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let parts = content.as_array().into_iter().flatten();
    parts.filter_map(|part| part.get("text").and_then(Value::as_str)).collect::<Vec<_>>().join("\n")
}
