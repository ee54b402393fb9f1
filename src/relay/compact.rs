//! Making a dialogue shorter, in whichever of its two ways the upstream has.
//!
//! Today an item at the end of an ordinary request asks for it; before, a route of its own did,
//! and reports differ on who still has which. So the first is tried and the second is what is left
//! where the first is refused; that it is refused is remembered like any other refusal.

use super::{
    Refused, Relay,
    attempt::Asked,
    cut_short,
    failover::{AsyncAttempt, Sending},
    learned::Lesson,
    opened::Opened,
};
use crate::{
    traffic::{Phase, Record},
    transport::chain,
    upstream::{
        failure::{ErrorFields, Failure, Fault, classify_event},
        inference,
    },
    wire::{
        reply::{
            End, Progress,
            compaction::{self, Made},
            responses::Collect,
        },
        tools::ToolNames,
    },
};

/// A dialogue made shorter.
#[derive(Debug)]
pub struct Compacted {
    /// What of the client's request was left out in the end, in the client's terms.
    pub ignored: Vec<String>,
    /// The `response.compaction` object.
    pub body: Vec<u8>,
    pub end: End,
}

/// Attempts at the route for compactions.
struct ByRoute<'a> {
    relay: &'a Relay,
    asked: &'a Asked,
}

impl AsyncAttempt<Compacted> for ByRoute<'_> {
    async fn attempt(&self, sending: Sending<'_>) -> Result<Compacted, Failure> {
        self.relay.ask_route(self.asked, sending).await
    }
}

impl Relay {
    /// Compacts what `asked` holds.
    ///
    /// # Errors
    ///
    /// When there is no usable login, or the upstream does not compact it either way.
    pub async fn compact(&self, asked: Asked) -> Result<Compacted, Refused> {
        let (model, now) = (&asked.request.model, self.clock.instant());
        if self.learned.knows(model, &Lesson::CompactionRoute, now) {
            return self.compact_by_route(&asked).await;
        }
        match self.open(asked.clone()).await {
            Ok(opened) => self.compacted(&asked, opened).await.map_err(Refused::Attempt),
            Err(Refused::Attempt(failure)) if failure.refuses_item("compaction_trigger") => {
                let compacted = self.compact_by_route(&asked).await;
                // Without the route the refusal of the first way says more.
                compacted.map_err(|refused| match refused {
                    Refused::Attempt(Failure::Request(_) | Failure::Service(_)) => {
                        Refused::Attempt(failure)
                    }
                    Refused::Login(_)
                    | Refused::Attempt(_)
                    | Refused::Model { .. }
                    | Refused::NoSlot(_) => refused,
                })
            }
            Err(refused) => Err(refused),
        }
    }

    /// Reads a stream that is to hold one compaction.
    async fn compacted(&self, asked: &Asked, mut opened: Opened) -> Result<Compacted, Failure> {
        let mut collect = Collect::new(ToolNames::default());
        while let Some(run) = opened.next_run().await {
            match collect.read_run(&run?).map_err(|unreadable| fault(unreadable.to_string()))? {
                Progress::More => {}
                Progress::Failed(event) => {
                    let failure = classify_event(ErrorFields::of_event(&event), self.clock.now());
                    let record = Record::new(&asked.id, Phase::UpstreamStreamError);
                    self.traffic.record(record.json("error", event)).await;
                    opened.failed(&failure);
                    return Err(failure);
                }
                Progress::Ended(end) => {
                    let said = asked.request.said();
                    let body = compaction::of_response(&collect.finish(), &said, self.made(asked));
                    let body = body.ok_or_else(|| fault("it did not compact".to_owned()))?;
                    opened.ended(None);
                    return Ok(Compacted { ignored: opened.ignored, body, end: *end });
                }
            }
        }
        Err(cut_short())
    }

    async fn compact_by_route(&self, asked: &Asked) -> Result<Compacted, Refused> {
        let served = self.persist(asked, &ByRoute { relay: self, asked }).await?;
        let (model, now) = (&asked.request.model, self.clock.instant());
        let account = &served.credential.account_id;
        self.learned.remember(account, model, Lesson::CompactionRoute, now);
        asked.story.ended("completed", now);
        Ok(served.answer)
    }

    async fn ask_route(&self, asked: &Asked, sending: Sending<'_>) -> Result<Compacted, Failure> {
        let Sending { lease, credential, request, turn, .. } = sending;
        let of = (&asked.id, lease.id());
        let body = request.for_compaction_route();
        self.log_request(of, &request, &body).await;
        let sent = inference::Request { body, session: &request.session, turn, compacts: false };
        let (headers, answer) = match inference::compact(&self.upstream, credential, sent).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.log_failure(of, &failure).await;
                return Err(failure);
            }
        };
        self.log_answer(of, &headers).await;
        let body = compaction::of_answer(&answer, self.made(asked));
        let Some(body) = body else {
            let failure = fault("its compaction cannot be read".to_owned());
            self.log_failure(of, &failure).await;
            return Err(failure);
        };
        Ok(Compacted { ignored: request.ignored, body, end: End::default() })
    }

    fn made<'a>(&self, asked: &'a Asked) -> Made<'a> {
        let id = asked.id.as_str();
        Made { id: id.strip_prefix("req_").unwrap_or(id), created: self.clock.unix() }
    }
}

fn fault(message: String) -> Failure {
    let fault = Fault { message: Some(message), ..Fault::default() };
    tracing::debug!(message = &*chain(&Failure::Service(Box::new(fault.clone()))), "no compaction");
    Failure::Service(Box::new(fault))
}
