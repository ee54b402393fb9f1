//! Sending one inference request, once.
//!
//! What comes back is the head of the answer and its body as it arrives.
//!
//! **Invariant:** a request is sent once per call.
//! **Invariant:** a body that failed or was dropped holds no connection any more.
//!
//! Not here: the request's JSON and the answer's events (`wire`), who sends and how long an answer is
//! waited for (`relay`).

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full};

use super::{
    Unsent, Upstream,
    failure::{Deadline, Failure},
};
use crate::{
    credential::Credential,
    id::is_uuid,
    transport::{self, Body},
};

const SESSION_ID: HeaderName = HeaderName::from_static("session-id");
const THREAD_ID: HeaderName = HeaderName::from_static("thread-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");
const MODELS_ETAG: HeaderName = HeaderName::from_static("x-models-etag");

/// A long dialogue takes its time, and nothing is heard of it meanwhile.
const COMPACTION: Duration = Duration::from_mins(5);
const COMPACTION_LIMIT: usize = 64 << 20;

/// The headers of an answer that a Codex client reads.
const TOLD: [&str; 4] =
    ["openai-model", "x-codex-turn-state", "x-models-etag", "x-reasoning-included"];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The whole JSON body; it must ask for a stream.
    pub body: Bytes,
    /// The same for all requests of a conversation: the upstream's cache goes by it.
    pub session: &'a str,
    /// What the Codex client says about its turn, passed on by name from [`TURN`].
    pub turn: HeaderMap,
    /// Whether the stream is to be a compaction.
    pub compacts: bool,
}

/// What a request that asks for a compaction has to name among the features it uses.
const FEATURES: HeaderName = HeaderName::from_static("x-codex-beta-features");
const COMPACTS: &str = "remote_compaction_v2";

/// The headers of a request that a Codex client's relay may pass on: they say which parts of the
/// protocol the request uses, and where in a dialogue it stands. The metadata of a turn holds an id
/// of the client's installation, which the upstream knows from the client itself.
pub const TURN: [&str; 8] = [
    "x-codex-beta-features",
    "x-codex-parent-thread-id",
    "x-codex-turn-metadata",
    "x-codex-turn-state",
    "x-codex-window-id",
    "x-openai-internal-codex-responses-lite",
    "x-openai-subagent",
    "x-responsesapi-include-timing-metrics",
];

/// The beginning of a successful answer.
#[derive(Debug)]
pub struct Answer {
    pub headers: HeaderMap,
    pub body: Incoming,
}

impl Answer {
    /// What a Codex client wants to know of the answer, and sends back in its turn.
    pub fn turn(&self) -> HeaderMap {
        let known = TOLD.into_iter().map(HeaderName::from_static);
        known.filter_map(|name| Some((name.clone(), self.headers.get(name)?.clone()))).collect()
    }

    /// Which list of models the upstream has by now.
    pub fn models_etag(&self) -> Option<&str> {
        self.headers.get(MODELS_ETAG)?.to_str().ok()
    }
}

/// Sends `request` as the owner of `credential`.
///
/// # Errors
///
/// When there is no answer in time, or it is anything but a stream of events.
pub async fn send(
    upstream: &Upstream,
    credential: &Credential,
    request: Request<'_>,
) -> Result<Answer, Failure> {
    let unsent = unsent(upstream, &upstream.0.responses, credential, request)?;
    let answer = upstream.send(unsent).await?;
    if !is_stream(answer.headers()) {
        return Err(upstream.failure(answer).await);
    }
    let (head, body) = answer.into_parts();
    Ok(Answer { headers: head.headers, body: Incoming(Some(body)) })
}

/// Asks the route for compactions, which answers without a stream: its headers and its whole body.
///
/// # Errors
///
/// When there is no answer in time, or it is no success.
pub async fn compact(
    upstream: &Upstream,
    credential: &Credential,
    request: Request<'_>,
) -> Result<(HeaderMap, Vec<u8>), Failure> {
    let mut unsent = unsent(upstream, &upstream.0.compactions, credential, request)?;
    unsent.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let timeout = upstream.0.headers_timeout.max(COMPACTION);
    let (head, body) = upstream.send_within(timeout, unsent).await?.into_parts();
    let body = tokio::time::timeout(timeout, transport::read_at_most(body, COMPACTION_LIMIT));
    let body = body.await.map_err(|_| Failure::Timeout(Deadline::Silence))?;
    Ok((head.headers, body.map_err(|error| Failure::Cut(error.into()))?))
}

fn unsent(
    upstream: &Upstream,
    uri: &Uri,
    credential: &Credential,
    request: Request<'_>,
) -> Result<Unsent, Failure> {
    let mut unsent = upstream.request(Method::POST, uri, credential)?;
    *unsent.body_mut() = Full::new(request.body);
    let headers = unsent.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    let session = header_value(request.session);
    let is_own = |thread: &&HeaderValue| thread.to_str().is_ok_and(is_uuid);
    let thread = request.turn.get(THREAD_ID).filter(is_own).unwrap_or(&session);
    headers.insert(THREAD_ID, thread.clone());
    headers.insert(CLIENT_REQUEST_ID, thread.clone());
    headers.insert(SESSION_ID, session);
    for name in TURN {
        if let Some(value) = request.turn.get(name) {
            headers.insert(name, value.clone());
        }
    }
    if request.compacts {
        let named = headers.get(FEATURES).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !named.split(',').any(|feature| feature.trim() == COMPACTS) {
            let all =
                if named.is_empty() { COMPACTS.into() } else { format!("{named},{COMPACTS}") };
            headers.insert(FEATURES, header_value(&all));
        }
    }
    Ok(unsent)
}

/// A missing type is no reason to refuse an answer that may be fine.
fn is_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/event-stream"))
}

/// `text` as a header: what cannot stand in one is written as `%` and two digits.
fn header_value(text: &str) -> HeaderValue {
    let spell = |byte| match char::from(byte) {
        plain if plain.is_ascii_graphic() && plain != '%' => plain.to_string(),
        _ => format!("%{byte:02X}"),
    };
    let value: String = text.bytes().map(spell).collect();
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""))
}

/// The body of an answer, as it arrives. `None` once it ended, in whichever way.
#[derive(Debug)]
pub struct Incoming(Option<Body>);

impl Incoming {
    /// One that is here already.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self(Some(Full::from(bytes).map_err(|never| match never {}).boxed_unsync()))
    }

    /// Lets go of the connection, which ends the generation.
    pub fn give_up(&mut self) {
        self.0 = None;
    }

    /// The next piece, `None` at the end.
    #[cfg(test)]
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        loop {
            match self.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(body) = self.0.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(|error| Failure::Cut(error.into()))))
    }
}

#[cfg(test)]
mod tests;
