//! Models that answer by themselves, so that a program can be connected before there is a login.
//!
//! What they say comes as the events that the upstream would send, so that every dialect tells it
//! as it tells any other answer.

use crate::wire::request::Translated;

const HELLO: &str = "RELAY_SELFTEST_OK";
const NOTHING: &str = "RELAY_ECHO_EMPTY";
/// Longer texts come in several pieces.
const PIECE: usize = 120;

/// What the model of `request` says, if it is one of these.
pub fn answer(request: &Translated) -> Option<String> {
    match request.model.to_ascii_lowercase().as_str() {
        "relay-selftest" | "relay-mock" => Some(HELLO.to_owned()),
        "mock-pong" => Some("pong".to_owned()),
        "relay-echo" => {
            let said = request.last_user_text();
            Some(if said.trim().is_empty() { NOTHING.to_owned() } else { said })
        }
        _ => None,
    }
}

/// The events of an answer that says `text`. `id` is what is unique about it.
pub fn events(text: &str, model: &str, id: &str, created: i64) -> Vec<u8> {
    let (response, message) = (format!("resp_{id}"), format!("msg_{id}"));
    let head = |status: &str, output: &str, usage: &str| {
        format!(
            "{{\"id\":\"{response}\",\"object\":\"response\",\"created_at\":{created},\
             \"status\":\"{status}\",\"background\":false,\"error\":null,\
             \"incomplete_details\":null,\"instructions\":null,\"metadata\":{{}},\
             \"model\":{},\"output\":[{output}],\"parallel_tool_calls\":true,\
             \"store\":false,\"tool_choice\":\"auto\",\"tools\":[],\"usage\":{usage}}}",
            literal(model),
        )
    };
    let part = |text: &str| {
        format!("{{\"type\":\"output_text\",\"annotations\":[],\"text\":{}}}", literal(text))
    };
    let item = |status: &str, content: &str| {
        format!(
            "{{\"id\":\"{message}\",\"type\":\"message\",\"status\":\"{status}\",\
             \"content\":[{content}],\"role\":\"assistant\"}}"
        )
    };
    let place = format!("\"item_id\":\"{message}\",\"output_index\":0,\"content_index\":0");
    let mut stream = Stream::default();
    for name in ["response.created", "response.in_progress"] {
        stream.event(name, &format!("\"response\":{}", head("in_progress", "", "null")));
    }
    let added = item("in_progress", "");
    stream.event("response.output_item.added", &format!("\"output_index\":0,\"item\":{added}"));
    stream.event("response.content_part.added", &format!("{place},\"part\":{}", part("")));
    for piece in pieces(text) {
        let delta = format!("{place},\"delta\":{}", literal(piece));
        stream.event("response.output_text.delta", &delta);
    }
    stream.event("response.output_text.done", &format!("{place},\"text\":{}", literal(text)));
    stream.event("response.content_part.done", &format!("{place},\"part\":{}", part(text)));
    let done = item("completed", &part(text));
    stream.event("response.output_item.done", &format!("\"output_index\":0,\"item\":{done}"));
    let usage = "{\"input_tokens\":0,\"input_tokens_details\":{\"cached_tokens\":0},\
                 \"output_tokens\":0,\"output_tokens_details\":{\"reasoning_tokens\":0},\
                 \"total_tokens\":0}";
    stream
        .event("response.completed", &format!("\"response\":{}", head("completed", &done, usage)));
    stream.bytes
}

#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    number: u32,
}

impl Stream {
    fn event(&mut self, name: &str, fields: &str) {
        let number = self.number;
        let event = format!(
            "event: {name}\ndata: {{\"type\":\"{name}\",{fields},\"sequence_number\":{number}}}\n\n"
        );
        self.bytes.extend_from_slice(event.as_bytes());
        self.number += 1;
    }
}

/// `text` in pieces that end behind spaces.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > PIECE {
        let end = rest.char_indices().find(|(at, c)| *at >= PIECE && *c == ' ');
        let Some((at, _)) = end else { break };
        let (piece, left) = rest.split_at(at + 1);
        pieces.push(piece);
        rest = left;
    }
    pieces.push(rest);
    pieces
}

/// `text` as a JSON string.
fn literal(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
