//! `demo`: the whole relay at work, with no login, no network and nothing left behind.
//!
//! The relay and the simulator run in this process on free ports of the loopback interface; what
//! is shown went over a real socket, the way that any other program would take. Settings, token
//! and login live in a folder of the moment.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::output::{Failure, Terminal};
use crate::{
    app::{self, Place, Simulation},
    config::{self, Config, Environment, Layer, table},
    private_file, relay_token,
    secret::Secret,
    sim::{Simulator, World},
    transport::{self, Body, NetworkSettings, Transport},
    wire::sse::{self, Splitter},
};

/// Known to the simulator; what a reader of the examples would type.
const MODEL: &str = "gpt-5.4-mini";
const EVENT_LIMIT: usize = 1 << 20;
const QUESTION: &str = "Say hello, please.";
/// Asks the simulator to take its time, so that the words are seen to arrive one by one.
const SLOWLY: &str =
    " [sim slow: 40][sim say: Hello! These words took the way that yours would take.]";
const TOOL_QUESTION: &str = "What is the weather in Paris?";
const WITH_A_TOOL: &str = " [sim call]";

const RESULT: &str = "18 degrees and sunny";
const TOOLS: &str = r#"[{"type":"function","function":{"name":"get_weather","description":"The weather in a city","parameters":{"type":"object","properties":{"city":{"type":"string","enum":["Paris"]}},"required":["city"]}}}]"#;

/// What went wrong in the show.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("the relay did not answer")]
    Unanswered(#[source] transport::BoxError),
    #[error("the relay answered {status}: {body}")]
    Status { status: StatusCode, body: String },
    #[error("the relay's answer is not what the demo expects: {0}")]
    Unexpected(String),
    #[error("cannot write to the terminal")]
    Terminal(#[source] io::Error),
}

/// Shows the relay at work; goes on serving unless `once`.
pub fn run(terminal: &Terminal, once: bool, port: Option<u16>) -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("airelays-demo-")
        .permissions(private_file::owner_only_dir())
        .tempdir()
        .map_err(|source| Failure::from(app::Error::System { what: "a folder", source }))?;
    let environment = Environment::with_home(folder.path());
    let port = config::word(&port.unwrap_or(0).to_string());
    let flags = Layer::default().flag(&table::PORT.about, "--port", Some(port));
    let config = Config::load(flags, &environment)?;
    let path = &config.security.bearer_token_file;
    let token =
        relay_token::rotate(path).map_err(Failure::file("write the relay token to", path))?;
    app::run(show(terminal, Arc::new(config), token, once))?
}

async fn show(
    terminal: &Terminal,
    config: Arc<Config>,
    token: Secret,
    once: bool,
) -> Result<(), Failure> {
    let simulation = Simulation { simulator: Simulator::start(World::default()), port: Some(0) };
    let server = app::start(config, Some(simulation)).await?;
    let Place::Network(address) = *server.place() else {
        return Err(Broken::Unexpected("a listener without an address".to_owned()).into());
    };
    let simulator = server.simulator_address();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let act = async {
        let show = Show::new(terminal, address, token);
        let mut outcome = show.perform(simulator).await;
        if outcome.is_ok() && !once {
            outcome = show.invite();
            app::interrupted().await;
        }
        stop.cancel();
        outcome
    };
    let (outcome, ()) =
        tokio::join!(act, server.run(stopped.cancelled_owned(), app::interrupted()));
    outcome.map_err(Failure::from)
}

struct Show<'a> {
    terminal: &'a Terminal,
    transport: Transport,
    base: String,
    token: Secret,
}

impl<'a> Show<'a> {
    fn new(terminal: &'a Terminal, address: SocketAddr, token: Secret) -> Self {
        let network = transport::network(NetworkSettings {
            connect_timeout: Duration::from_secs(5),
            user_agent: "airelays-demo".into(),
            socket: None,
        });
        Self {
            terminal,
            transport: network.transport(),
            base: format!("http://{address}/v1"),
            token,
        }
    }

    async fn perform(&self, simulator: Option<SocketAddr>) -> Result<(), Broken> {
        self.line(&self.terminal.title("AIRelays Demo"))?;
        if let Some(simulator) = simulator {
            self.line(&format!("  Relay:     {}", self.base))?;
            self.line(&format!("  Simulator: http://{simulator} (stands in for the upstream)"))?;
        }
        self.line(&format!("\n{}", self.terminal.heading("A streamed chat completion")))?;
        self.chat().await?;
        self.line(&format!("\n{}", self.terminal.heading("A tool call and its result")))?;
        self.tool().await
    }

    fn invite(&self) -> Result<(), Broken> {
        self.line(&format!("\n{}", self.terminal.heading("Point your own programs at it")))?;
        self.line(&examples(&self.base, self.token.expose()))
    }

    async fn chat(&self) -> Result<(), Broken> {
        self.line(&format!("  you:   {QUESTION}"))?;
        let mut answer = Answer::default();
        self.ask(&[user(&[QUESTION, SLOWLY].concat())], "[]", &mut answer).await?;
        expect(answer.finish == "stop" && !answer.text.is_empty(), &format!("{answer:?}"))
    }

    async fn tool(&self) -> Result<(), Broken> {
        self.line(&format!("  you:   {TOOL_QUESTION}"))?;
        let mut call = Answer::default();
        self.ask(&[user(&[TOOL_QUESTION, WITH_A_TOOL].concat())], TOOLS, &mut call).await?;
        expect(call.finish == "tool_calls", &format!("{call:?}"))?;
        self.line(&format!("  model: calls {}({})", call.name, call.arguments))?;
        self.line(&format!("  tool:  {RESULT}"))?;
        let [id, name, arguments, result] =
            [&call.id, &call.name, &call.arguments, RESULT].map(quoted);
        let messages = [
            user(TOOL_QUESTION),
            format!(
                r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":{id},"type":"function","function":{{"name":{name},"arguments":{arguments}}}}}]}}"#
            ),
            format!(r#"{{"role":"tool","tool_call_id":{id},"content":{result}}}"#),
        ];
        let mut answer = Answer::default();
        self.ask(&messages, TOOLS, &mut answer).await?;
        expect(answer.text.contains(RESULT), &format!("{answer:?}"))
    }

    /// Shows the text of an answer as it arrives.
    async fn ask(
        &self,
        messages: &[String],
        tools: &str,
        answer: &mut Answer,
    ) -> Result<(), Broken> {
        let messages = messages.join(",");
        let request = format!(
            r#"{{"model":"{MODEL}","stream":true,"messages":[{messages}],"tools":{tools}}}"#
        );
        self.stream(request, |delta| {
            let piece = delta["content"].as_str().unwrap_or("");
            if answer.text.is_empty() && !piece.is_empty() {
                self.write("  model: ")?;
            }
            self.write(piece)?;
            answer.add(delta);
            Ok(())
        })
        .await
        .map(|finish| answer.finish = finish)?;
        if answer.text.is_empty() { Ok(()) } else { self.line("") }
    }

    /// Sends `request` and hands over each delta; gives the finish reason.
    async fn stream(
        &self,
        request: String,
        mut each: impl FnMut(&Value) -> Result<(), Broken>,
    ) -> Result<String, Broken> {
        let mut body = self.send(request).await?;
        let mut splitter = Splitter::new(EVENT_LIMIT);
        let mut finish = String::new();
        while let Some(frame) = body.frame().await {
            let chunk = frame.map_err(Broken::Unanswered)?.into_data().unwrap_or_default();
            let run =
                splitter.push(chunk).map_err(|error| Broken::Unexpected(error.to_string()))?;
            for event in sse::frames(&run) {
                if event.data.is_empty() || &*event.data == b"[DONE]" {
                    continue;
                }
                let chunk: Value = serde_json::from_slice(&event.data)
                    .map_err(|error| Broken::Unexpected(error.to_string()))?;
                expect(chunk["error"].is_null(), &chunk["error"].to_string())?;
                each(&chunk["choices"][0]["delta"])?;
                if let Some(reason) = chunk["choices"][0]["finish_reason"].as_str() {
                    reason.clone_into(&mut finish);
                }
            }
        }
        Ok(finish)
    }

    async fn send(&self, request: String) -> Result<Body, Broken> {
        let request = Request::post(format!("{}/chat/completions", self.base))
            .header(AUTHORIZATION, format!("Bearer {}", self.token.expose()))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(request)))
            .map_err(|error| Broken::Unanswered(error.into()))?;
        let response = self.transport.clone().oneshot(request).await.map_err(Broken::Unanswered)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = transport::read_at_most(response.into_body(), EVENT_LIMIT)
            .await
            .map_err(Broken::Unanswered)?;
        Err(Broken::Status { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn line(&self, text: &str) -> Result<(), Broken> {
        self.write(&format!("{text}\n"))
    }

    fn write(&self, text: &str) -> Result<(), Broken> {
        self.terminal.write(text).map_err(Broken::Terminal)
    }
}

/// What a stream of chunks adds up to.
#[derive(Debug, Default)]
struct Answer {
    text: String,
    id: String,
    name: String,
    arguments: String,
    finish: String,
}

impl Answer {
    fn add(&mut self, delta: &Value) {
        let call = &delta["tool_calls"][0];
        for (text, piece) in [
            (&mut self.text, &delta["content"]),
            (&mut self.id, &call["id"]),
            (&mut self.name, &call["function"]["name"]),
            (&mut self.arguments, &call["function"]["arguments"]),
        ] {
            text.push_str(piece.as_str().unwrap_or(""));
        }
    }
}

fn user(text: &str) -> String {
    format!(r#"{{"role":"user","content":{}}}"#, quoted(text))
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn expect(is_so: bool, found: &str) -> Result<(), Broken> {
    if is_so { Ok(()) } else { Err(Broken::Unexpected(found.to_owned())) }
}

/// Nothing is indented, so that what is copied can be pasted.
fn examples(base: &str, token: &str) -> String {
    format!(
        r#"Base URL: {base}
API key:  {token}

curl {base}/chat/completions \
  -H 'Authorization: Bearer {token}' \
  -H 'Content-Type: application/json' \
  -d '{{"model":"{MODEL}","messages":[{{"role":"user","content":"Hello"}}]}}'

# Python: pip install openai
from openai import OpenAI
client = OpenAI(base_url="{base}", api_key="{token}")
print(client.responses.create(model="{MODEL}", input="Hello").output_text)

// JavaScript: npm install openai
import OpenAI from "openai";
const client = new OpenAI({{ baseURL: "{base}", apiKey: "{token}" }});
console.log((await client.responses.create({{ model: "{MODEL}", input: "Hello" }})).output_text);

Serving until Ctrl-C."#
    )
}
