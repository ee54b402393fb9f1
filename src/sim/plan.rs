//! What the imitated model says to a request: the outputs of a turn, before they are events.
//!
//! **Invariant:** a turn that calls tools is, once they have answered, a turn that repeats what
//! they said; so a conversation with tools always ends.

use serde_json::Value;

use crate::sim::{
    instance,
    request::{Asked, Choice, Tool, ToolKind},
    script::{Quirk, Said, Step},
    tree::{list, object, size, text},
};

/// Bytes that count as one token.
pub(super) const TOKEN: usize = 4;

/// How much of the user's text is repeated, in characters.
const ECHO: usize = 200;

/// One item of output.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    Message(Message),
    /// Its summary, part by part.
    Reasoning(Vec<String>),
    Function {
        name: String,
        namespace: Option<String>,
        arguments: String,
    },
    Custom {
        name: String,
        namespace: Option<String>,
        input: String,
    },
    /// A web search, with what it did.
    Search(Value),
    Image,
    Compaction,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    /// Its text as it comes.
    pub(super) deltas: Vec<String>,
    pub(super) phase: Phase,
    pub(super) citations: Vec<Value>,
    /// The text is a refusal.
    pub(super) refusal: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    Commentary,
    #[default]
    FinalAnswer,
}

/// Everything that `step` makes of `asked`, in order.
pub(super) fn outputs(asked: &Asked, step: &Step) -> Vec<Output> {
    if asked.wants_compaction() {
        return vec![Output::Compaction];
    }
    let said = said(asked, step);
    let mut outputs: Vec<_> = said.iter().flat_map(|one| speak(one, asked)).collect();
    if said.iter().all(Said::is_preface) {
        outputs.push(words(&usual(asked)));
    }
    outputs
}

/// What the step says, with calls added where they are forced and left out where they are done.
fn said(asked: &Asked, step: &Step) -> Vec<Said> {
    let choice = asked.choice();
    let calls = step.said.iter().any(Said::is_call);
    if asked.has_fresh_output() {
        return if calls { Vec::new() } else { step.said.clone() };
    }
    if choice == Choice::None {
        return step.said.iter().filter(|one| !one.is_call()).cloned().collect();
    }
    let forced = match choice {
        Choice::Function(name) => Some(Said::Call { name: Some(name), arguments: None }),
        Choice::Custom(name) => Some(Said::Custom(Some(name))),
        Choice::Any => Some(Said::Call { name: None, arguments: None }),
        Choice::Free if step.shape.has(Quirk::ArgumentsOnlyDone) => {
            Some(Said::Call { name: None, arguments: None })
        }
        Choice::Free | Choice::None => None,
    };
    let forced = forced.filter(|_| !calls);
    step.said.iter().cloned().chain(forced).collect()
}

fn speak(said: &Said, asked: &Asked) -> Vec<Output> {
    let one = match said {
        Said::Text(text) => words(text),
        Said::Words(number) => message((1..=*number).map(|word| format!("word{word} ")).collect()),
        Said::Big(bytes) => message(vec!["x".repeat(size(*bytes))]),
        Said::Separators => message(
            ["one\u{2028}two", "\u{2029}three\u{85}", "four 🦀", "👩‍👩‍👧 é\u{301} 𝄞"]
                .map(str::to_owned)
                .into(),
        ),
        Said::Reasoning(parts) => {
            let part = |number| format!("**Step {number}**\n\nThinking about part {number}.");
            Output::Reasoning((1..=*parts).map(part).collect())
        }
        Said::Commentary => Output::Message(Message {
            deltas: split("I will look at this first."),
            phase: Phase::Commentary,
            ..Message::default()
        }),
        Said::Refusal => Output::Message(Message {
            deltas: split("I cannot help with that."),
            refusal: true,
            ..Message::default()
        }),
        Said::Search => return search(),
        Said::Image => return vec![Output::Image, words("Here is the image.")],
        Said::Compaction => Output::Compaction,
        Said::Call { name, arguments } => call(asked, name.as_deref(), arguments.as_deref()),
        Said::Calls(number) => return calls(asked, *number),
        Said::Custom(name) => {
            let tool = asked.tools.iter().find(|tool| {
                tool.kind == ToolKind::Custom && name.as_ref().is_none_or(|name| *name == tool.name)
            });
            tool.map_or_else(no_tool, |tool| invoke(tool, None))
        }
    };
    vec![one]
}

/// The answer when nothing else is asked for.
fn usual(asked: &Asked) -> String {
    let outputs = asked.outputs();
    let format = &asked.body["text"]["format"];
    if !outputs.is_empty() {
        return format!("The tool said: {}", outputs.join("; "));
    }
    match text(format, "type") {
        "json_schema" => instance::least(&format["schema"]).to_string(),
        "json_object" => r#"{"ok":true}"#.to_owned(),
        _ => {
            let echo: String = asked.last_user().chars().take(ECHO).collect();
            format!("Hello from the simulator. You said: {echo}")
        }
    }
}

fn call(asked: &Asked, name: Option<&str>, arguments: Option<&str>) -> Output {
    let Some(name) = name else {
        let first = asked.tools.iter().find(|tool| tool.kind == ToolKind::Function);
        return first.or(asked.tools.first()).map_or_else(no_tool, |tool| invoke(tool, arguments));
    };
    match asked.tools.iter().find(|tool| tool.name == name) {
        Some(tool) => invoke(tool, arguments),
        // Models make up tools, too.
        None => Output::Function {
            name: name.to_owned(),
            namespace: None,
            arguments: arguments.unwrap_or("{}").to_owned(),
        },
    }
}

fn calls(asked: &Asked, number: u64) -> Vec<Output> {
    let alone = asked.body["parallel_tool_calls"] == Value::Bool(false);
    let number = if alone { number.min(1) } else { number };
    let tools = asked.tools.iter().cycle().take(size(number));
    let outputs: Vec<_> = tools.map(|tool| invoke(tool, None)).collect();
    if outputs.is_empty() { vec![no_tool()] } else { outputs }
}

fn invoke(tool: &Tool, given: Option<&str>) -> Output {
    let name = tool.name.clone();
    let namespace = tool.namespace.clone();
    match tool.kind {
        ToolKind::Function => {
            let least = || {
                let schema = &tool.parameters;
                if schema.is_null() { "{}".to_owned() } else { instance::least(schema).to_string() }
            };
            Output::Function { name, namespace, arguments: given.map_or_else(least, str::to_owned) }
        }
        ToolKind::Custom => Output::Custom {
            name,
            namespace,
            input: given.unwrap_or("hello from the simulator").to_owned(),
        },
    }
}

fn no_tool() -> Output {
    words("There is no tool to call.")
}

fn search() -> Vec<Output> {
    let url = "https://example.com/simulator";
    let answer = "The simulator answers offline (example.com).";
    let citation = object! {
        "type": "url_citation",
        "start_index": 30,
        "end_index": 43,
        "url": url,
        "title": "The simulator",
    };
    vec![
        Output::Search(object! {
            "type": "search",
            "query": "the simulator",
            "queries": list!["the simulator"],
        }),
        Output::Search(object! {"type": "open_page", "url": url}),
        Output::Message(Message {
            deltas: split(answer),
            citations: vec![citation],
            ..Message::default()
        }),
    ]
}

fn words(text: &str) -> Output {
    message(split(text))
}

fn message(deltas: Vec<String>) -> Output {
    Output::Message(Message { deltas, ..Message::default() })
}

fn split(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// Shortens the text to `most` tokens and drops what follows. Whether anything was lost.
pub(super) fn cap(outputs: &mut Vec<Output>, most: u64) -> bool {
    let mut left = size(most).saturating_mul(TOKEN);
    for index in 0..outputs.len() {
        let Output::Message(message) = &mut outputs[index] else { continue };
        for number in 0..message.deltas.len() {
            let delta = &mut message.deltas[number];
            if delta.len() <= left {
                left -= delta.len();
                continue;
            }
            let end = (0..=left).rev().find(|at| delta.is_char_boundary(*at)).unwrap_or_default();
            delta.truncate(end);
            message.deltas.truncate(number + 1);
            outputs.truncate(index + 1);
            return true;
        }
    }
    false
}
