//! From a request to the first output of its answer.
//!
//! A request may be sent more than once, to another slot (`failover`), after a refresh of the login,
//! or without a parameter that the upstream turned out not to know, because nothing of an answer has
//! reached the client yet. What [`Relay::open`] returns has no way back.
//!
//! **Invariant:** inference requests are sent here and in `compact` alone, and in `images`.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::{
    Refused, Relay,
    failover::{AsyncAttempt, Sending, Served},
    learned::Lesson,
    opened::{Opened, Source, cut_short},
    patience::Patience,
    slots::Lease,
    story::Story,
};
use crate::{
    clock::Clock,
    credential::Credential,
    id::RequestId,
    slot::{
        SlotId,
        window::{self, Limits, Reading},
    },
    traffic::{Phase, Record, Traffic},
    transport::{self, chain},
    upstream::{
        failure::{Deadline, ErrorFields, Failure, classify_event},
        inference, usage,
    },
    wire::{event::EventKind, request::Translated, selftest, sse},
};

/// A request on its way to an answer.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: RequestId,
    pub request: Translated,
    /// The client's own headers, of which those of a Codex client's turn are passed on.
    pub turn: HeaderMap,
    /// Nothing but this slot will do.
    pub only: Option<SlotId>,
    pub story: Story,
}

/// Attempts whose answer is a stream.
struct Streamed<'a> {
    relay: &'a Relay,
    id: &'a RequestId,
    /// When the answer will have ended.
    deadline: Option<Instant>,
}

/// What an attempt at a stream comes to.
struct Begun {
    ignored: Vec<String>,
    turn: HeaderMap,
    limits: Limits,
    read: VecDeque<Bytes>,
    source: Source,
}

impl AsyncAttempt<Begun> for Streamed<'_> {
    async fn attempt(&self, sending: Sending<'_>) -> Result<Begun, Failure> {
        self.relay.attempt(self.deadline, self.id, sending).await
    }
}

impl Relay {
    /// Sends `request` until its answer begins.
    ///
    /// # Errors
    ///
    /// When there is no usable login, or the upstream gives no answer. Nothing has reached the
    /// client then.
    pub async fn open(&self, asked: Asked) -> Result<Opened, Refused> {
        if let Some(opened) = self.own_answer(&asked) {
            return Ok(opened);
        }
        let Some(total) = self.settings.total else {
            return self.open_before(None, asked).await;
        };
        let deadline = Instant::now() + total;
        let (id, story) = (asked.id.clone(), asked.story.clone());
        let opening = self.open_before(Some(deadline), asked);
        if let Ok(opened) = tokio::time::timeout_at(deadline, opening).await {
            return opened;
        }
        let failure = Failure::Timeout(Deadline::Total);
        let slot = story.slot().unwrap_or_else(SlotId::first);
        self.log_failure((&id, &slot), &failure).await;
        Err(Refused::Attempt(failure))
    }

    /// The same; the answer that it opens will have ended at `deadline`.
    async fn open_before(
        &self,
        deadline: Option<Instant>,
        asked: Asked,
    ) -> Result<Opened, Refused> {
        let attempt = Streamed { relay: self, id: &asked.id, deadline };
        let served = self.persist(&asked, &attempt).await?;
        let Served { answer, lease, sent, .. } = served;
        let Begun { ignored, turn, limits, read, source } = answer;
        self.note_limits(&lease, (limits, window::Source::Answer), sent);
        lease.gave(&turn);
        asked.story.left_out(&ignored);
        let place = super::opened::Place { lease, story: asked.story, sent, relay: self.clone() };
        Ok(Opened { ignored, turn, place: Some(place), read, source })
    }

    /// The answer of a model that needs no login and no slot, if `asked` names one.
    fn own_answer(&self, asked: &Asked) -> Option<Opened> {
        let Asked { id, request, .. } = asked;
        let text = selftest::answer(request)?;
        let unique = id.as_str().strip_prefix("req_").unwrap_or(id.as_str());
        let events = selftest::events(&text, &request.model, unique, self.clock.unix());
        let patience = Patience::new(self.settings.limits, None);
        let tap = Traffic::off().tap(id, None);
        let source = Source::new(inference::Incoming::of(events), tap, patience);
        let (ignored, turn) = (request.ignored.clone(), HeaderMap::new());
        Some(Opened { ignored, turn, place: None, read: VecDeque::new(), source })
    }

    /// Takes note of what an answer that was asked for at `sent` says is left.
    pub(super) fn note_limits(
        &self,
        lease: &Lease,
        (limits, source): (Limits, window::Source),
        sent: std::time::Instant,
    ) {
        if limits != Limits::default() {
            let now = self.slots.now();
            lease.read(&Reading::new(limits, source, sent, now));
        }
    }

    /// The request without what the upstream is known to refuse.
    pub(super) fn lightened(&self, request: Translated, credential: &Credential) -> Translated {
        let now = self.clock.instant();
        let known = self.learned.of(&credential.account_id, &request.model, now);
        known.iter().fold(request, |request, lesson| lesson.heeded(&request).unwrap_or(request))
    }

    pub(super) fn remember(
        &self,
        lessons: Vec<Lesson>,
        credential: &Credential,
        request: &Translated,
    ) {
        let now = self.clock.instant();
        for lesson in lessons {
            self.learned.remember(&credential.account_id, &request.model, lesson, now);
        }
    }

    async fn attempt(
        &self,
        deadline: Option<Instant>,
        id: &RequestId,
        sending: Sending<'_>,
    ) -> Result<Begun, Failure> {
        let Sending { lease, story, credential, request, turn } = sending;
        let of = (id, lease.id());
        let body = request.body().clone();
        self.log_request(of, &request, &body).await;
        let (session, compacts) = (&*request.session, request.compacts());
        let sent = inference::Request { body, session, turn, compacts };
        let (answer, connecting) =
            transport::timed(inference::send(&self.upstream, credential, sent)).await;
        story.connected(connecting);
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                self.log_failure(of, &failure).await;
                return Err(failure);
            }
        };
        story.headers(self.clock.instant());
        self.log_answer(of, &answer.headers).await;
        if let Some(etag) = answer.models_etag() {
            lease.account.catalogue.notice(etag);
        }
        let turn = answer.turn();
        let limits = usage::of_headers(&answer.headers, self.clock.now());
        let patience = Patience::new(self.settings.limits, deadline);
        let tap = self.traffic.tap(id, Some(lease.id().as_str()));
        let mut source = Source::new(answer.body, tap, patience);
        match first_output(&mut source, &self.clock).await {
            Ok(read) => {
                story.first_output(self.clock.instant());
                Ok(Begun { ignored: request.ignored.clone(), turn, limits, read, source })
            }
            Err(failure) => {
                let failure = failure.with_limits(limits);
                let record = Record::new(id, Phase::UpstreamStreamError)
                    .text("slot_id", lease.id().to_string());
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
