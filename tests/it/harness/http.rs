//! An HTTP client that hides nothing: requests are bytes, and a reply tells how it ended.
//!
//! Not here: what a well-behaved client would do about any of it.

use std::{fmt, net::SocketAddr};

use ::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::PATIENCE;

/// A request to be written.
#[derive(Clone, Debug)]
pub struct Ask {
    line: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Ask {
    /// Without a body.
    pub fn new(method: &str, path: &str) -> Self {
        let line = format!("{method} {path} HTTP/1.1");
        Self { line, headers: Vec::new(), body: Vec::new() }.header("host", "localhost")
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// With a JSON body.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body)
    }

    /// With a body and its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-length", length)
    }

    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.line.clone().into_bytes();
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A whole reply, or as much as there was of one.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the body ended as HTTP says, rather than with the connection.
    pub is_whole: bool,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body, is_whole } = self;
        let body = String::from_utf8_lossy(body);
        write!(f, "{status} {headers:?} {body} (whole: {is_whole})")
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Status, `error.type` and `error.code` of a refusal in the shape that all refusals have.
    #[track_caller]
    pub fn refusal(&self) -> Refusal {
        assert!(self.status >= 400, "no refusal: {self:?}");
        let body = self.json();
        check_error(&body["error"]);
        assert_eq!(body["detail"], body["error"]["message"], "{body}");
        let keys: Vec<_> = body.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["error", "detail"]);
        let id = self.header("x-request-id").expect("every refusal has an id");
        assert!(is_request_id(id), "{id}");
        assert!(self.is_whole);
        Refusal::of(self.status, &body["error"])
    }
}

/// The part of a refusal that programs look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub kind: String,
    pub code: Option<String>,
    pub param: Option<String>,
}

impl Refusal {
    pub fn of(status: u16, error: &Value) -> Self {
        let text = |name: &str| error[name].as_str().map(str::to_owned);
        Self {
            status,
            kind: text("type").unwrap_or_default(),
            code: text("code"),
            param: text("param"),
        }
    }

    /// `400 invalid_request_error invalid_json`, and the parameter where there is one.
    pub fn line(&self) -> String {
        let code = self.code.as_deref().unwrap_or("-");
        let line = format!("{} {} {code}", self.status, self.kind);
        match &self.param {
            Some(param) => format!("{line} {param}"),
            None => line,
        }
    }
}

/// The object that OpenAI's SDKs read: four members, two of them strings.
#[track_caller]
pub fn check_error(error: &Value) {
    let keys: Vec<_> = error.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["message", "type", "param", "code"]);
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    assert!(error["type"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    for name in ["param", "code"] {
        assert!(error[name].is_string() || error[name].is_null(), "{error}");
    }
}

fn is_request_id(text: &str) -> bool {
    let digits = text.strip_prefix("req_").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A connection with what was read ahead of it.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    ahead: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.expect("somebody listens")
    }

    /// `None` when nobody listens.
    pub async fn try_open(address: SocketAddr) -> Option<Self> {
        let socket = TcpStream::connect(address).await.ok()?;
        socket.set_nodelay(true).ok()?;
        Some(Self { socket, ahead: Vec::new() })
    }

    /// The whole reply to a request of its own, to somebody who may be killed meanwhile.
    pub async fn try_ask(address: SocketAddr, request: &[u8]) -> Option<Reply> {
        let mut connection = Self::try_open(address).await?;
        if !connection.send(request).await {
            return None;
        }
        connection.reply().await.filter(|reply| reply.is_whole)
    }

    /// Whether it could be written.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// Reads on; false when there is nothing more to come.
    async fn read(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.ahead)).await;
        read.expect("something, in time").is_ok_and(|length| length > 0)
    }

    /// Everything up to and including `end`; less only when the connection ended.
    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.ahead.windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Some(self.ahead.drain(..at + end.len()).collect());
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next `length` bytes; less only when the connection ended.
    async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length && self.read().await {}
        let length = length.min(self.ahead.len());
        self.ahead.drain(..length).collect()
    }

    /// Says that nothing more will be sent.
    pub async fn finish_sending(&mut self) {
        // The other side may have been faster.
        let _finished = self.socket.shutdown().await;
    }

    /// The status of an answer that is not yet the answer.
    pub async fn interim(&mut self) -> u16 {
        self.head().await.expect("an answer").0
    }

    /// Whether the other side closes without another word.
    pub async fn ends(&mut self) -> bool {
        self.ahead.is_empty() && !self.read().await
    }

    /// The next reply on this connection; `None` when the connection ended instead.
    pub async fn reply(&mut self) -> Option<Reply> {
        let (status, headers) = self.head().await?;
        let mut answering = Answering::new(self, status, headers);
        Some(answering.whole().await)
    }

    async fn head(&mut self) -> Option<(u16, HeaderMap)> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8(head).expect("text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let field = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header");
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value.trim()).expect("a value"))
        };
        Some((status.parse().expect("a number"), lines.map(field).collect()))
    }
}

/// A reply whose head is there and whose body is still to be read.
#[derive(Debug)]
pub struct Answering<C = Connection> {
    connection: C,
    pub status: u16,
    pub headers: HeaderMap,
    length: Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    /// Until the connection ends.
    Open,
    /// All of it was read.
    Over,
}

/// One piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// The body ended as HTTP says.
    End,
    /// The connection ended first.
    Cut,
}

impl Answering {
    /// Sends a request over a connection of its own and waits for the head.
    pub async fn to(address: SocketAddr, request: &[u8]) -> Self {
        let mut connection = Connection::open(address).await;
        connection.send(request).await;
        let (status, headers) = connection.head().await.expect("an answer");
        Self::new(connection, status, headers)
    }
}

impl<C: AsMut<Connection>> Answering<C> {
    fn new(connection: C, status: u16, headers: HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let length = match (text("transfer-encoding"), text("content-length")) {
            (Some("chunked"), None) => Length::Chunked,
            (None, Some(length)) => Length::Bytes(length.parse().expect("a length")),
            (Some(_), _) | (None, None) => Length::Open,
        };
        Self { connection, status, headers, length }
    }

    /// The next piece: one chunk where the body comes in chunks.
    pub async fn piece(&mut self) -> Piece {
        let connection = self.connection.as_mut();
        match self.length {
            Length::Over => Piece::End,
            Length::Bytes(length) => {
                let bytes = connection.take(length).await;
                let is_whole = bytes.len() == length;
                self.length = if is_whole { Length::Over } else { Length::Bytes(0) };
                if is_whole { Piece::Bytes(bytes) } else { Piece::Cut }
            }
            Length::Open => {
                while connection.read().await {}
                self.length = Length::Over;
                Piece::Bytes(std::mem::take(&mut connection.ahead))
            }
            Length::Chunked => {
                let Some(size) = connection.until(b"\r\n").await else { return Piece::Cut };
                let size = str::from_utf8(&size).expect("a size").trim_end();
                let size = usize::from_str_radix(size, 16).expect("a size");
                let bytes = connection.take(size + 2).await;
                match bytes.strip_suffix(b"\r\n") {
                    Some(b"") => {
                        self.length = Length::Over;
                        Piece::End
                    }
                    Some(bytes) if bytes.len() == size => Piece::Bytes(bytes.to_vec()),
                    Some(_) | None => Piece::Cut,
                }
            }
        }
    }

    /// What comes up to the piece that holds `text`.
    pub async fn until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            match self.piece().await {
                Piece::Bytes(bytes) => seen.push_str(str::from_utf8(&bytes).expect("text")),
                Piece::End | Piece::Cut => break,
            }
        }
        assert!(seen.contains(text), "{seen}");
        seen
    }

    /// All that is left of the body.
    pub async fn whole(&mut self) -> Reply {
        let mut body = Vec::new();
        let is_whole = loop {
            match self.piece().await {
                Piece::Bytes(bytes) => body.extend(bytes),
                Piece::End => break true,
                Piece::Cut => break false,
            }
        };
        Reply { status: self.status, headers: self.headers.clone(), body, is_whole }
    }
}

impl AsMut<Self> for Connection {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}
