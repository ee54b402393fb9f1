//! The simulator as a client sees it: through its router.

use axum::body::Body;
use futures_util::StreamExt;
use http::{Request, Response, request::Builder};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::sim::tree::{list, put, text};

mod allowance;
mod images;
mod shape;
mod state;
mod turns;

/// A client with a login of its own.
struct Client {
    simulator: Simulator,
    clock: Clock,
    login: Value,
}

/// An answer that was read to its end.
struct Heard {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
    /// The connection broke.
    broken: bool,
}

impl Client {
    fn new() -> Self {
        Self::of("first", &[])
    }

    fn of(account: &str, world: &[(&str, &str)]) -> Self {
        let world = World::from_pairs(world).expect("known");
        let clock = Clock::manual(Timestamp::from_second(1_800_000_000).expect("in range"));
        let simulator = Simulator::with_mint(world, clock.clone(), Mint::seeded([3; 16]));
        let login = serde_json::from_str(&simulator.stored_login_for(account)).expect("JSON");
        Self { simulator, clock, login }
    }

    fn script(&self, steps: &[&str]) {
        self.simulator.script(steps.iter().map(|step| Step::parse(step).expect(step)).collect());
    }

    /// A request with the headers that every client sends.
    fn request(&self, method: &str, uri: &str) -> Builder {
        let tokens = &self.login["tokens"];
        Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", format!("Bearer {}", text(tokens, "access_token")))
            .header("chatgpt-account-id", text(tokens, "account_id"))
            .header("originator", "test")
            .header("content-type", "application/json")
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.simulator.router().oneshot(request).await.expect("infallible")
    }

    async fn open(&self, body: &Value) -> Response<Body> {
        let request = self.request("POST", "/backend-api/codex/responses");
        self.send(request.body(body.to_string().into()).expect("request")).await
    }

    async fn ask(&self, body: &Value) -> Heard {
        Heard::all(self.open(body).await).await
    }

    /// A turn whose user says `text`.
    async fn say(&self, text: &str) -> Heard {
        self.ask(&turn(text)).await
    }

    async fn get(&self, uri: &str) -> Heard {
        let request = self.request("GET", uri).body(Body::empty()).expect("request");
        Heard::all(self.send(request).await).await
    }

    async fn post(&self, uri: &str, body: &Value) -> Heard {
        let request = self.request("POST", uri).body(body.to_string().into()).expect("request");
        Heard::all(self.send(request).await).await
    }

    /// A form without any credential.
    async fn form(&self, uri: &str, form: &str) -> Heard {
        let request = Request::post(uri)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned().into())
            .expect("request");
        Heard::all(self.send(request).await).await
    }
}

impl Heard {
    async fn all(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let mut stream = body.into_data_stream();
        let mut heard = Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            bytes: Vec::new(),
            broken: false,
        };
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => heard.bytes.extend_from_slice(&chunk),
                Err(_) => heard.broken = true,
            }
        }
        heard
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("UTF-8")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("JSON")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn events(&self) -> Vec<Value> {
        events(&self.text())
    }

    /// The kinds of the events, short, with repetitions counted.
    fn order(&self) -> String {
        let mut order: Vec<(String, usize)> = Vec::new();
        for event in self.events() {
            let kind = text(&event, "type");
            let kind = kind.strip_prefix("response.").unwrap_or(kind);
            match order.last_mut() {
                Some((last, number)) if last == kind => *number += 1,
                _ => order.push((kind.to_owned(), 1)),
            }
        }
        let short = |(kind, number): &(String, usize)| match number {
            1 => kind.clone(),
            many => format!("{kind}*{many}"),
        };
        order.iter().map(short).collect::<Vec<_>>().join(" ")
    }

    fn last(&self) -> Value {
        self.events().last().cloned().expect("an event")
    }

    /// The items of `output_item.done`.
    fn items(&self) -> Vec<Value> {
        let events = self.events().into_iter();
        let done = events.filter(|event| event["type"] == "response.output_item.done");
        done.map(|event| event["item"].clone()).collect()
    }

    /// The text of all deltas.
    fn said(&self) -> String {
        let events = self.events().into_iter();
        let deltas = events.filter(|event| event["type"] == "response.output_text.delta");
        deltas.map(|event| text(&event, "delta").to_owned()).collect()
    }
}

/// Events as the standard reads them: any line end, data lines joined, comments ignored.
fn events(stream: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut data = Vec::new();
    for line in stream.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        match line.strip_prefix("data: ") {
            Some(more) => data.push(more.to_owned()),
            None if line.is_empty() && !data.is_empty() => {
                events.push(serde_json::from_str(&data.join("\n")).expect("JSON"));
                data.clear();
            }
            None => {}
        }
    }
    events
}

/// A request whose user says `said`, with one tool of each kind.
fn turn(said: &str) -> Value {
    let text = r#"{
        "model": "gpt-5.6-sol",
        "instructions": "Be brief.",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": ""}]}],
        "tools": [
            {"type": "function", "name": "weather", "strict": false, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
            {"type": "custom", "name": "patch", "format": {"type": "text"}}
        ],
        "store": false,
        "stream": true,
        "include": ["reasoning.encrypted_content"]
    }"#;
    let mut body: Value = serde_json::from_str(text).expect("JSON");
    put(&mut body["input"][0]["content"][0], "text", said);
    body
}
