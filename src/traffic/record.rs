//! One line of the log, from the facts a request hands over to the bytes of the line.
//!
//! Making a record copies no body: it keeps references, and everything that costs time (hashes,
//! escapes, redaction by name) happens when the writer's thread turns it into a line.
//!
//! Invariant: a line is one JSON object in ASCII that begins with `request_id` and `phase` and
//! ends with `logged_at`.
//!
//! Not here: secrets known by value (`redact::Redactor`), which the finished lines go through.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use memchr::memchr2;

use super::{digest, queue::Item};
use crate::{id::RequestId, redact};

/// What a field costs besides its content.
const FIELD: usize = 32;

/// The moment in a request that a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    EndpointSecurityReady,
    InboundRequest,
    OutboundResponse,
    OutboundStreamChunk,
    OutboundUsage,
    UpstreamUsage,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamStreamLine,
    UpstreamResponseError,
    UpstreamStreamError,
    CompatibilityAdaptation,
    EndpointAuthFailed,
    EndpointRejected,
    /// Written by the log itself: how many lines are missing before this one.
    RecordsLost,
}

impl Phase {
    /// As it stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndpointSecurityReady => "endpoint_security_ready",
            Self::InboundRequest => "inbound_request",
            Self::OutboundResponse => "outbound_response",
            Self::OutboundStreamChunk => "outbound_stream_chunk",
            Self::OutboundUsage => "outbound_usage",
            Self::UpstreamUsage => "upstream_usage",
            Self::UpstreamRequest => "upstream_request",
            Self::UpstreamResponse => "upstream_response",
            Self::UpstreamStreamLine => "upstream_stream_line",
            Self::UpstreamResponseError => "upstream_response_error",
            Self::UpstreamStreamError => "upstream_stream_error",
            Self::CompatibilityAdaptation => "compatibility_adaptation",
            Self::EndpointAuthFailed => "endpoint_auth_failed",
            Self::EndpointRejected => "endpoint_rejected",
            Self::RecordsLost => "records_lost",
        }
    }
}

/// One line of the log under construction. Fields stand in the order in which they are added.
#[derive(Clone, Debug)]
pub struct Record {
    id: RequestId,
    phase: Phase,
    fields: Vec<(&'static str, Field)>,
}

#[derive(Clone, Debug)]
enum Field {
    Text(Cow<'static, str>),
    Number(i64),
    Flag(bool),
    Null,
    Headers(HeaderMap),
    Body { content_type: Option<Arc<str>>, content: Bytes },
    Json(Bytes),
    List(Vec<String>),
}

impl Record {
    pub fn new(id: &RequestId, phase: Phase) -> Self {
        Self { id: id.clone(), phase, fields: Vec::new() }
    }

    /// A string. Under `query`, `url` and `path` the values of secret parameters are hidden, and
    /// under the name of a secret everything.
    pub fn text(self, key: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.with(key, Field::Text(value.into()))
    }

    pub fn number(self, key: &'static str, value: i64) -> Self {
        self.with(key, Field::Number(value))
    }

    pub fn flag(self, key: &'static str, value: bool) -> Self {
        self.with(key, Field::Flag(value))
    }

    pub fn null(self, key: &'static str) -> Self {
        self.with(key, Field::Null)
    }

    /// An object of names and values. A header that was sent several times has a list of values.
    pub fn headers(self, key: &'static str, headers: &HeaderMap) -> Self {
        self.with(key, Field::Headers(headers.clone()))
    }

    /// A snapshot of a body: its kind, length, hash, and, if it is text, what it says.
    pub fn body(self, key: &'static str, content_type: Option<&str>, content: Bytes) -> Self {
        let content_type = content_type.map(Arc::from);
        self.with(key, Field::Body { content_type, content })
    }

    /// A JSON value as it is, without secrets. Text that turns out not to be JSON is a string.
    pub fn json(self, key: &'static str, value: Bytes) -> Self {
        self.with(key, Field::Json(value))
    }

    pub fn list(self, key: &'static str, values: &[String]) -> Self {
        self.with(key, Field::List(values.to_vec()))
    }

    fn with(mut self, key: &'static str, field: Field) -> Self {
        self.fields.push((key, field));
        self
    }

    /// How much memory it keeps, in bytes, roughly.
    pub fn size(&self) -> usize {
        self.fields.iter().map(|(_, field)| FIELD + field.size()).sum()
    }

    fn write(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(head(&self.id, self.phase).as_bytes());
        for (key, field) in &self.fields {
            out.push(b',');
            redact::literal::push(key, out);
            out.push(b':');
            field.write(key, out);
        }
        out.extend_from_slice(&stamp.tail);
    }
}

impl Field {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Number(_) | Self::Flag(_) | Self::Null => 0,
            Self::Headers(headers) => {
                headers.iter().map(|(name, value)| FIELD + name.as_str().len() + value.len()).sum()
            }
            Self::Body { content, content_type: _ } | Self::Json(content) => content.len(),
            Self::List(values) => values.iter().map(|value| FIELD + value.len()).sum(),
        }
    }

    fn write(&self, key: &str, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => redact::literal::push(&shown(key, text), out),
            Self::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Flag(flag) => out.extend_from_slice(flag.to_string().as_bytes()),
            Self::Null => out.extend_from_slice(b"null"),
            Self::Headers(headers) => write_headers(headers, out),
            Self::Body { content_type, content } => {
                digest::write(content_type.as_deref(), content, out);
            }
            Self::Json(value) => {
                if redact::json::copy(value, out).is_err() {
                    redact::literal::push(&String::from_utf8_lossy(value), out);
                }
            }
            Self::List(values) => {
                write_list(values.iter().map(|value| Cow::Borrowed(value.as_str())), out);
            }
        }
    }
}

/// The text under `key` as it may be written down.
fn shown<'a>(key: &str, text: &'a str) -> Cow<'a, str> {
    match key {
        "query" => redact::query::query(text),
        "url" | "path" => redact::query::url(text),
        _ if redact::is_secret_member(key.as_bytes()) => redact::REDACTED.into(),
        _ => text.into(),
    }
}

fn write_headers(headers: &HeaderMap, out: &mut Vec<u8>) {
    out.push(b'{');
    for (n, name) in headers.keys().map(http::HeaderName::as_str).enumerate() {
        if n > 0 {
            out.push(b',');
        }
        redact::literal::push(name, out);
        out.push(b':');
        let values = headers.get_all(name).iter().map(|value| {
            let value = String::from_utf8_lossy(value.as_bytes());
            redact::header(name, value)
        });
        let n_values = headers.get_all(name).iter().count();
        if n_values == 1 {
            values.for_each(|value| redact::literal::push(&value, out));
        } else {
            write_list(values, out);
        }
    }
    out.push(b'}');
}

fn write_list<'a>(values: impl Iterator<Item = Cow<'a, str>>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (n, value) in values.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        redact::literal::push(&value, out);
    }
    out.push(b']');
}

/// The beginning of every line.
fn head(id: &RequestId, phase: Phase) -> String {
    let mut id_literal = Vec::new();
    redact::literal::push(id.as_str(), &mut id_literal);
    let id_literal = String::from_utf8_lossy(&id_literal);
    format!(r#"{{"request_id":{id_literal},"phase":"{}""#, phase.as_str())
}

/// The beginning of every record of one stream's lines, up to the line itself. The name of a slot
/// needs no escapes.
pub fn line_head(id: &RequestId, phase: Phase, slot: Option<&str>) -> Vec<u8> {
    let mut out = head(id, phase).into_bytes();
    if let Some(slot) = slot {
        out.extend_from_slice(br#","slot_id":""#);
        out.extend_from_slice(slot.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(br#","line":""#);
    out
}

/// When lines are written: the end of each, and the file that they belong to.
#[derive(Debug)]
pub struct Stamp {
    pub at: Timestamp,
    tail: Vec<u8>,
}

impl Stamp {
    pub fn new(at: Timestamp) -> Self {
        let tail = at.strftime(",\"logged_at\":\"%Y-%m-%dT%H:%M:%S%.6fZ\"}\n").to_string();
        Self { at, tail: tail.into_bytes() }
    }
}

/// Appends the lines of `item` to `out`. Returns how many there are.
pub fn write(item: &Item, stamp: &Stamp, out: &mut Vec<u8>) -> u64 {
    match item {
        Item::Record(record) => {
            record.write(stamp, out);
            1
        }
        Item::Lines { head, lines: given } => {
            let mut written = 0;
            for line in lines(given) {
                out.extend_from_slice(head);
                // Line ends are ASCII, so cutting there leaves whole characters.
                redact::literal::push_escaped(&String::from_utf8_lossy(line), out);
                out.push(b'"');
                out.extend_from_slice(&stamp.tail);
                written += 1;
            }
            written
        }
    }
}

/// How many lines `item` will be.
pub fn count(item: &Item) -> u64 {
    match item {
        Item::Record(_) => 1,
        Item::Lines { lines: given, head: _ } => {
            lines(given).count().try_into().unwrap_or(u64::MAX)
        }
    }
}

/// The lines of a stream, without their ends and without those that are empty.
pub fn lines(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
    .filter(|line| !line.is_empty())
}
