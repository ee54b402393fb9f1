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
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body::Frame;
#[cfg(test)]
use http_body_util::BodyExt;
use http_body_util::Full;

use super::{Upstream, failure::Failure};
use crate::{credential::Credential, transport::Body};

const SESSION_ID: HeaderName = HeaderName::from_static("session-id");
const THREAD_ID: HeaderName = HeaderName::from_static("thread-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");
const MODELS_ETAG: HeaderName = HeaderName::from_static("x-models-etag");

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
}

/// The headers of a request that a Codex client's relay may pass on: they say which parts of the
/// protocol the request uses, and where in a dialogue it stands. None of them names the client.
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
    let mut unsent = upstream.request(Method::POST, &upstream.0.responses, credential)?;
    *unsent.body_mut() = Full::new(request.body);
    let headers = unsent.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    let session = header_value(request.session);
    headers.insert(THREAD_ID, session.clone());
    headers.insert(CLIENT_REQUEST_ID, session.clone());
    headers.insert(SESSION_ID, session);
    for name in TURN {
        if let Some(value) = request.turn.get(name) {
            headers.insert(name, value.clone());
        }
    }
    let answer = upstream.send(unsent).await?;
    if !is_stream(answer.headers()) {
        return Err(upstream.failure(answer).await);
    }
    let (head, body) = answer.into_parts();
    Ok(Answer { headers: head.headers, body: Incoming(Some(body)) })
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
