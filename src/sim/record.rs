//! What the simulator saw: every request, what was answered, and who left early.
//!
//! **Invariant:** a request is recorded before it is looked at, whatever becomes of it.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Read,
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header::CONTENT_ENCODING};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

use crate::sim::tree::{list, object};

/// How many requests are kept; a demonstration may run for days.
const KEPT: usize = 10_000;

/// The largest body after decoding.
const MOST: u64 = 64 << 20;

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Counts the requests of this simulator, from 0; goes on after a [`clear`](super::Simulator::clear).
    pub number: u64,
    pub at: Timestamp,
    pub method: String,
    pub path: String,
    /// Without the question mark; empty when there is none.
    pub query: String,
    /// Names in lower case, in order of arrival.
    pub headers: Vec<(String, String)>,
    /// JSON as such, other text as a string, nothing as null. Compressed bodies are decoded.
    pub body: Value,
    /// The status of the answer; none while there is none yet.
    pub status: Option<u16>,
    /// The client went away before it had the whole answer.
    pub cancelled: bool,
}

impl Recorded {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn to_json(&self) -> Value {
        let headers = self.headers.iter().map(|(name, value)| list![name.as_str(), value.as_str()]);
        object! {
            "number": self.number,
            "at": self.at.to_string(),
            "method": self.method.as_str(),
            "path": self.path.as_str(),
            "query": self.query.as_str(),
            "headers": headers.collect::<Vec<_>>(),
            "body": self.body.clone(),
            "status": self.status,
            "cancelled": self.cancelled,
        }
    }
}

/// What has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Inference requests whose client went away before it had the whole answer.
    pub cancelled: u64,
    /// Inference requests in order whose answer is not yet complete.
    pub open_streams: u64,
    /// Inference streams that began.
    pub streams: u64,
    /// Refreshes asked for.
    pub refreshes: u64,
    /// Refreshes with a token that had been used before.
    pub spent_refreshes: u64,
    /// Tokens revoked on request.
    pub revocations: u64,
    /// Answers to inference requests, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests by method and path, such as `POST /oauth/token`.
    pub requests: BTreeMap<String, u64>,
}

impl Counters {
    pub(super) fn to_json(&self) -> Value {
        let statuses = self.statuses.iter().map(|(status, number)| (status.to_string(), *number));
        let requests = self.requests.iter().map(|(route, number)| (route.clone(), *number));
        object! {
            "cancelled": self.cancelled,
            "open_streams": self.open_streams,
            "streams": self.streams,
            "refreshes": self.refreshes,
            "spent_refreshes": self.spent_refreshes,
            "revocations": self.revocations,
            "statuses": statuses.collect::<Value>(),
            "requests": requests.collect::<Value>(),
        }
    }
}

/// The book in which all of this is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    next: u64,
    recorded: VecDeque<Recorded>,
    counters: Counters,
}

impl Ledger {
    /// Writes a request down and returns its number.
    pub(super) fn record(
        &self,
        at: Timestamp,
        (method, uri): (&Method, &Uri),
        headers: &HeaderMap,
        body: &Bytes,
    ) -> u64 {
        let mut pages = self.0.lock();
        let number = pages.next;
        pages.next += 1;
        let lines = headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let recorded = Recorded {
            number,
            at,
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers: lines.collect(),
            body: readable(body),
            status: None,
            cancelled: false,
        };
        let route = format!("{} {}", recorded.method, recorded.path);
        *pages.counters.requests.entry(route).or_default() += 1;
        pages.recorded.push_back(recorded);
        if pages.recorded.len() > KEPT {
            pages.recorded.pop_front();
        }
        number
    }

    /// Notes what was answered; `counted` when it was an inference request.
    pub(super) fn answered(&self, number: u64, status: u16, counted: bool) {
        let mut pages = self.0.lock();
        if let Some(recorded) = pages.find(number) {
            recorded.status = Some(status);
        }
        if counted {
            *pages.counters.statuses.entry(status).or_default() += 1;
        }
    }

    /// A client waits for an answer; that it left is noted when what is returned is dropped.
    pub(super) fn open(&self, number: u64) -> Presence {
        let mut pages = self.0.lock();
        pages.counters.open_streams += 1;
        Presence { ledger: self.clone(), number, finished: false }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.0.lock().counters);
    }

    pub(super) fn recorded(&self) -> Vec<Recorded> {
        self.0.lock().recorded.iter().cloned().collect()
    }

    pub(super) fn counters(&self) -> Counters {
        self.0.lock().counters.clone()
    }

    /// Forgets everything except the streams that are still open.
    pub(super) fn clear(&self) {
        let mut pages = self.0.lock();
        pages.recorded.clear();
        let open_streams = pages.counters.open_streams;
        pages.counters = Counters { open_streams, ..Counters::default() };
    }
}

impl Pages {
    fn find(&mut self, number: u64) -> Option<&mut Recorded> {
        self.recorded.iter_mut().find(|recorded| recorded.number == number)
    }
}

/// Held by a stream as long as its client is there.
#[derive(Debug)]
pub(super) struct Presence {
    ledger: Ledger,
    number: u64,
    finished: bool,
}

impl Presence {
    /// The client has all it needs; leaving now is no loss.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut pages = self.ledger.0.lock();
        pages.counters.open_streams = pages.counters.open_streams.saturating_sub(1);
        if self.finished {
            return;
        }
        pages.counters.cancelled += 1;
        if let Some(recorded) = pages.find(self.number) {
            recorded.cancelled = true;
        }
    }
}

fn readable(body: &Bytes) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into())
}

/// The body as it was before compression; nothing when it cannot be decoded or is too large.
pub(super) fn decoded(headers: &HeaderMap, body: Bytes) -> Option<Bytes> {
    match headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
        None | Some(b"identity") => Some(body),
        Some(b"zstd") => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(body.as_ref()).ok()?;
            let mut plain = Vec::new();
            decoder.take(MOST + 1).read_to_end(&mut plain).ok()?;
            let fits = u64::try_from(plain.len()).is_ok_and(|length| length <= MOST);
            fits.then(|| plain.into())
        }
        Some(_) => None,
    }
}
