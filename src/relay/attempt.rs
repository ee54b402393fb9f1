//! From a request to the first output of its answer.
//!
//! A request may be sent more than once here, after a refresh of the login or without a parameter
//! that the upstream turned out not to know, because nothing of an answer has reached the client
//! yet. What [`Relay::open`] returns has no way back.
//!
//! **Invariant:** only [`Relay::open`] sends inference requests.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::{
    Refused, Relay,
    learned::Lesson,
    opened::{Opened, Source, cut_short},
    patience::Patience,
};
use crate::{
    clock::Clock,
    credential::Credential,
    id::RequestId,
    traffic::{Phase, Record},
    transport::chain,
    upstream::{
        failure::{Deadline, ErrorFields, Failure, Refusal, classify_event},
        inference,
    },
    wire::{event::EventKind, request::Translated, sse},
};

/// A request on its way to an answer.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: RequestId,
    pub request: Translated,
    /// The client's own headers, of which those of a Codex client's turn are passed on.
    pub turn: HeaderMap,
}

impl Relay {
    /// Sends `request` until its answer begins.
    ///
    /// # Errors
    ///
    /// When there is no usable login, or the upstream gives no answer. Nothing has reached the
    /// client then.
    pub async fn open(&self, asked: Asked) -> Result<Opened, Refused> {
        let Some(total) = self.settings.total else {
            return self.open_before(None, asked).await;
        };
        let deadline = Instant::now() + total;
        let id = asked.id.clone();
        let opening = self.open_before(Some(deadline), asked);
        if let Ok(opened) = tokio::time::timeout_at(deadline, opening).await {
            return opened;
        }
        let failure = Failure::Timeout(Deadline::Total);
        self.log_failure(&id, &failure).await;
        Err(Refused::Attempt(failure))
    }

    /// The same; the answer that it opens will have ended at `deadline`.
    async fn open_before(
        &self,
        deadline: Option<Instant>,
        asked: Asked,
    ) -> Result<Opened, Refused> {
        self.persist(&asked, |credential, request| {
            let (relay, asked) = (self.clone(), asked.clone());
            async move { relay.attempt(deadline, &asked, &credential, &request).await }
        })
        .await
    }

    /// Attempts `asked` until there is an answer, or a failure that nothing can be done about.
    pub(super) async fn persist<T, A>(
        &self,
        asked: &Asked,
        attempt: impl Fn(Arc<Credential>, Translated) -> A,
    ) -> Result<T, Refused>
    where
        A: Future<Output = Result<T, Failure>>,
    {
        let mut credential = self.login.credential().await?;
        let named = self.named(asked.request.clone(), &credential).await;
        let mut request = self.lightened(named, &credential);
        let mut n_replaced = 0;
        let mut lessons = Vec::new();
        loop {
            let failure = match attempt(Arc::clone(&credential), request.clone()).await {
                Ok(answer) => {
                    self.login.proven(&credential);
                    // Only what helped was right.
                    self.remember(lessons, &credential, &asked.request);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            match &failure {
                Failure::Unauthorized { .. } if n_replaced == 0 => {
                    n_replaced = 1;
                    credential = self.login.after_unauthorized(&credential).await?;
                }
                // What another process had put there may have been too old as well.
                Failure::Unauthorized { .. } if n_replaced == 1 => {
                    n_replaced = 2;
                    match self.login.after_unauthorized(&credential).await {
                        Ok(renewed) => credential = renewed,
                        Err(_) => return Err(Refused::Attempt(failure)),
                    }
                }
                Failure::Request(refusal) => {
                    let lesson = Lesson::of(&failure).filter(|_| self.settings.learn);
                    let Some(lighter) = lighter(refusal, lesson.as_ref(), &request) else {
                        let param = refusal.param.as_deref().or(failure.unsupported_parameter());
                        let param = param.map(|param| request.own_name(param));
                        let refusal = Refusal { param, ..Refusal::clone(refusal) };
                        return Err(Refused::Attempt(Failure::Request(Box::new(refusal))));
                    };
                    self.log_adaptation(&asked.id, &request, &lighter).await;
                    lessons.extend(lesson);
                    request = lighter;
                }
                Failure::ModelNotFound(refusal) => {
                    let suggestions = self.suggestions(&request, &credential).await;
                    return Err(Refused::Model { refusal: refusal.clone(), suggestions });
                }
                Failure::Unauthorized { .. }
                | Failure::Workspace { .. }
                | Failure::UsageLimit(_)
                | Failure::NotIncluded { .. }
                | Failure::Overloaded { .. }
                | Failure::Capacity { .. }
                | Failure::RateLimited { .. }
                | Failure::Challenge { .. }
                | Failure::Service(_)
                | Failure::Connect(_)
                | Failure::Timeout(_)
                | Failure::TooLarge { .. }
                | Failure::Cut(_) => return Err(Refused::Attempt(failure)),
            }
        }
    }

    /// The request without what the upstream is known to refuse.
    fn lightened(&self, request: Translated, credential: &Credential) -> Translated {
        let now = self.clock.instant();
        let known = self.learned.of(&credential.account_id, &request.model, now);
        known.iter().fold(request, |request, lesson| lesson.heeded(&request).unwrap_or(request))
    }

    fn remember(&self, lessons: Vec<Lesson>, credential: &Credential, request: &Translated) {
        let now = self.clock.instant();
        for lesson in lessons {
            self.learned.remember(&credential.account_id, &request.model, lesson, now);
        }
    }

    async fn attempt(
        &self,
        deadline: Option<Instant>,
        asked: &Asked,
        credential: &Arc<Credential>,
        request: &Translated,
    ) -> Result<Opened, Failure> {
        let Asked { id, turn, .. } = asked;
        let body = request.body().clone();
        self.log_request(id, request, &body).await;
        let (session, compacts) = (&*request.session, request.compacts());
        let sent = inference::Request { body, session, turn: turn.clone(), compacts };
        let answer = match inference::send(&self.upstream, credential, sent).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.log_failure(id, &failure).await;
                return Err(failure);
            }
        };
        self.log_answer(id, &answer.headers).await;
        if let Some(etag) = answer.models_etag() {
            self.catalogue.notice(etag);
        }
        let turn = answer.turn();
        let patience = Patience::new(self.settings.limits, deadline);
        let mut source = Source::new(answer.body, self.traffic.tap(id), patience);
        match first_output(&mut source, &self.clock).await {
            Ok(read) => Ok(Opened { ignored: request.ignored.clone(), turn, read, source }),
            Err(failure) => {
                let record = Record::new(id, Phase::UpstreamStreamError);
                self.traffic.record(record.text("error", chain(&failure))).await;
                Err(failure)
            }
        }
    }
}

/// The most that is held of an answer that has not begun. Some of it repeats the request.
const PRELUDE_LIMIT: usize = 32 << 20;

/// Reads until the first output, which makes the answer one that can be told to a client.
async fn first_output(source: &mut Source, clock: &Clock) -> Result<VecDeque<Bytes>, Failure> {
    let mut read = VecDeque::new();
    let mut held = 0;
    loop {
        let run = match source.next_run().await {
            Some(run) => run?,
            None => return Err(cut_short()),
        };
        for frame in sse::frames(&run) {
            let kind = EventKind::of(&frame);
            if matches!(kind, EventKind::Failed | EventKind::Error) {
                return Err(classify_event(ErrorFields::of_event(&frame.data), clock.now()));
            }
            if !kind.is_prelude() {
                read.push_back(run.clone());
                return Ok(read);
            }
        }
        held += run.len();
        if held > PRELUDE_LIMIT {
            return Err(Failure::TooLarge {
                what: "events before an answer",
                limit: PRELUDE_LIMIT,
            });
        }
        read.push_back(run);
    }
}

/// The request without what the upstream refused about it, if it can do without.
///
/// Each such request has fewer parameters than the one before or a higher limit, so this comes to
/// an end.
fn lighter(refusal: &Refusal, lesson: Option<&Lesson>, request: &Translated) -> Option<Translated> {
    if let Some(lesson) = lesson {
        return lesson.heeded(request);
    }
    // Reasoning of earlier turns that another account encrypted, or that was cut on its way.
    let is_foreign = refusal.code.as_deref() == Some("invalid_encrypted_content");
    if is_foreign { request.without_reasoning() } else { None }
}
