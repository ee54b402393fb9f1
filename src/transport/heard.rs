//! What passes through a transport, kept for whoever wants to look at it afterwards.
//!
//! Answers go on as they arrive; a copy stays. Requests are not kept: they carry the credential.
//!
//! **Invariant:** what is heard is the same, at the same time, as without anybody listening.
//! **Invariant:** no more is kept than a bounded part of a bounded number of answers.

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use parking_lot::Mutex;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use super::{Body, Transport};
use crate::clock::Clock;

/// As much as the largest answer that is read whole.
const BODY_LIMIT: usize = 16 << 20;
const MOST: usize = 1024;

/// One answer.
#[derive(Clone)]
pub struct Heard {
    pub path: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Its beginning, if it was very long.
    pub body: Bytes,
    /// Whether the body came to its end, and all of it is here.
    pub is_whole: bool,
    /// When its head arrived.
    pub at: Timestamp,
}

/// Headers and bodies may say whose account it is.
impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, status, headers: _, body, is_whole, at } = self;
        f.debug_struct("Heard")
            .field("path", path)
            .field("status", status)
            .field("size", &body.len())
            .field("is_whole", is_whole)
            .field("at", at)
            .finish_non_exhaustive()
    }
}

/// Keeps what is heard. Clones are the same.
#[derive(Clone, Debug)]
pub struct Ear(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// How the addresses begin whose answers are kept.
    prefix: String,
    clock: Clock,
    /// Never locked across an await.
    answers: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    heard: Heard,
    body: BytesMut,
}

impl Ear {
    /// Keeps the answers from addresses that begin with `prefix`, and no others.
    pub fn new(prefix: &str, clock: Clock) -> Self {
        let answers = Mutex::default();
        Self(Arc::new(Inner { prefix: prefix.to_owned(), clock, answers }))
    }

    /// What was heard so far, oldest first.
    pub fn answers(&self) -> Vec<Heard> {
        let answers = self.0.answers.lock();
        let heard = |kept: &Kept| {
            let body = Bytes::copy_from_slice(&kept.body);
            Heard { body, ..kept.heard.clone() }
        };
        answers.iter().map(heard).collect()
    }

    /// `transport`, heard.
    pub fn at(&self, transport: Transport) -> Transport {
        let ear = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: Request<Full<Bytes>>| {
            let (ear, transport) = (ear.clone(), transport.clone());
            async move {
                let uri = request.uri();
                let is_meant = uri.to_string().starts_with(&ear.0.prefix);
                let path = is_meant.then(|| uri.path().to_owned());
                let answer = transport.oneshot(request).await?;
                Ok(match path {
                    Some(path) => ear.hear(path, answer),
                    None => answer,
                })
            }
        }))
    }

    fn hear(&self, path: String, answer: Response<Body>) -> Response<Body> {
        let heard = Heard {
            path,
            status: answer.status(),
            headers: answer.headers().clone(),
            body: Bytes::new(),
            is_whole: false,
            at: self.0.clock.now(),
        };
        let number = {
            let mut answers = self.0.answers.lock();
            if answers.len() == MOST {
                return answer;
            }
            answers.push(Kept { heard, body: BytesMut::new() });
            answers.len() - 1
        };
        let ear = self.clone();
        answer.map(|body| {
            let ending = ear.clone();
            body.map_frame(move |frame| {
                if let Some(data) = frame.data_ref() {
                    ear.add(number, data);
                }
                frame
            })
            .with_trailers(async move {
                ending.end(number);
                None
            })
            .boxed_unsync()
        })
    }

    fn add(&self, number: usize, data: &Bytes) {
        if let Some(kept) = self.0.answers.lock().get_mut(number) {
            let room = BODY_LIMIT.saturating_add(1) - kept.body.len().min(BODY_LIMIT);
            kept.body.extend_from_slice(&data[..data.len().min(room)]);
        }
    }

    fn end(&self, number: usize) {
        if let Some(kept) = self.0.answers.lock().get_mut(number) {
            kept.heard.is_whole = kept.body.len() <= BODY_LIMIT;
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};

    use super::*;
    use crate::transport::{local, read_at_most};

    async fn asked(transport: &Transport, uri: &str) -> Response<Body> {
        let request = Request::builder().uri(uri).body(Full::default()).expect("a request");
        transport.clone().oneshot(request).await.expect("an answer")
    }

    #[tokio::test]
    async fn what_was_asked_for_is_kept_and_goes_on_as_it_came() {
        let router = Router::new()
            .route("/api/x", get(async || ([("a", "b")], "its text")))
            .route("/other", get(async || "not kept"));
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let ear = Ear::new("http://up.example/api", clock);
        let transport = ear.at(local(router));
        let answer = asked(&transport, "http://up.example/api/x").await;
        assert_eq!(answer.headers()["a"], "b");
        assert_eq!(read_at_most(answer.into_body(), 99).await.expect("read"), b"its text");
        for uri in ["http://up.example/other", "http://else.example/api/x"] {
            drop(read_at_most(asked(&transport, uri).await.into_body(), 99).await.expect("read"));
        }
        // Of one that nobody reads the head is known.
        drop(asked(&transport, "http://up.example/api/x").await);
        let answers = ear.answers();
        let seen: Vec<_> = answers
            .iter()
            .map(|heard| (&*heard.path, heard.status.as_u16(), &heard.body[..], heard.is_whole))
            .collect();
        assert_eq!(
            seen,
            [("/api/x", 200, &b"its text"[..], true), ("/api/x", 200, &b""[..], false)]
        );
        assert!(!format!("{:?}", answers[0]).contains("its text"));
    }
}
