//! Asking for a picture, once: made from words, or from other pictures.
//!
//! The upstream answers in one piece, after minutes, and says with every answer what is left of the
//! window that pictures are counted against. That stands where other answers have the account's own
//! windows.
//!
//! **Invariant:** a request is sent once per call.
//!
//! Not here: the JSON of request and answer (`wire::images`), who sends (`relay`).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::Full;

use super::{
    Upstream,
    failure::{Deadline, Failure},
    usage,
};
use crate::{credential::Credential, slot::window::Limits, transport, wire::images::Task};

/// The largest picture has some eight million pixels; in base64 it is no larger than this.
const ANSWER_LIMIT: usize = 64 << 20;

/// What came of it, and what is left by what the answer says.
#[derive(Debug)]
pub struct Answered {
    pub limits: Limits,
    pub outcome: Result<Whole, Failure>,
}

/// A successful answer.
#[derive(Debug)]
pub struct Whole {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Upstream {
    /// Where a request for `task` goes, for the log.
    pub fn images_url(&self, task: Task) -> String {
        self.images_uri(task).to_string()
    }
}

/// Sends `body` as the owner of `credential`. The whole answer has to be there within `timeout`.
pub async fn ask(
    upstream: &Upstream,
    credential: &Credential,
    (task, body): (Task, Bytes),
    timeout: Duration,
) -> Answered {
    let mut limits = Limits::default();
    let asking = async {
        let mut request = upstream.request(Method::POST, upstream.images_uri(task), credential)?;
        *request.body_mut() = Full::new(body);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json.clone());
        request.headers_mut().insert(header::ACCEPT, json);
        let answer = upstream.head_within(timeout, request).await?;
        limits = usage::as_images(usage::of_headers(answer.headers(), upstream.0.clock.now()));
        if !answer.status().is_success() {
            return Err(upstream.failure(answer).await);
        }
        let (head, body) = answer.into_parts();
        let body = transport::read_at_most(body, ANSWER_LIMIT).await;
        let body = body.map_err(|error| Failure::Cut(error.into()))?;
        if body.len() >= ANSWER_LIMIT {
            return Err(Failure::TooLarge { what: "one image", limit: ANSWER_LIMIT });
        }
        Ok(Whole { headers: head.headers, body: body.into() })
    };
    let outcome = tokio::time::timeout(timeout, asking).await;
    let outcome = outcome.unwrap_or(Err(Failure::Timeout(Deadline::Headers)));
    Answered { limits, outcome: outcome.map_err(Failure::of_images) }
}
