//! Pictures: as many calls as pictures are wanted, since the upstream makes one at a time.
//!
//! Each call goes from slot to slot as a request for text does (`failover`), and is counted apart:
//! a slot whose window of pictures is used up makes none until it resets, and goes on with text.
//!
//! **Invariant:** requests for pictures are sent here and nowhere else.
//!
//! Not here: what a request and an answer look like (`wire::images`).

use std::{sync::Arc, time::Instant};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Refused, Relay,
    failover::AsyncServe,
    line::Wanted,
    slots::Lease,
    story::{Story, Tokens},
};
use crate::{
    credential::Credential,
    id::RequestId,
    slot::{
        SlotId,
        pool::IMAGES,
        window::{Limits, Reading, Source},
    },
    traffic::{Phase, Record},
    upstream::{
        failure::{Failure, Fault},
        images::{self, Answered, Whole},
    },
    wire::images::{
        Translated,
        answer::{self, Answer},
    },
};

/// How many calls of one request are under way at the same time.
const AT_ONCE: usize = 3;

/// A request on its way to its pictures.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: RequestId,
    pub request: Translated,
    pub story: Story,
}

/// One of the calls.
struct Call<'a> {
    relay: &'a Relay,
    asked: &'a Asked,
    story: Story,
}

impl AsyncServe<Answer> for Call<'_> {
    async fn serve(&self, lease: Lease) -> Result<Answer, Box<(SlotId, Refused)>> {
        let mut sent = self.relay.clock.instant();
        let made = self.serve_here(&lease, &mut sent).await;
        made.map_err(|refused| {
            lease.failed(&refused, sent);
            Box::new((lease.id().clone(), refused))
        })
    }
}

impl Relay {
    /// Has all pictures made that `asked` wants.
    ///
    /// # Errors
    ///
    /// When one of them is not made. Those that are under way are given up then.
    pub async fn images(&self, asked: &Asked) -> Result<Vec<Answer>, Refused> {
        let Asked { id, request, story } = asked;
        self.remember_story((id, story), &request.model, "");
        let calls = (0..request.n).map(|n| {
            // A story is told of one call at a time.
            let story = if n == 0 { story.clone() } else { Story::default() };
            let call = Call { relay: self, asked, story };
            Box::pin(async move { call.relay.one_image(&call).await })
        });
        let made: Result<Vec<_>, _> =
            stream::iter(calls).buffer_unordered(AT_ONCE).try_collect().await;
        let how = if made.is_ok() { "completed" } else { "refused" };
        story.ended(how, self.clock.instant());
        let made = made?;
        if let Some(usage) = answer::usage(&made) {
            let (input, output) = (usage.input_tokens, usage.output_tokens);
            story.cost(Tokens { input, cached: 0, output });
        }
        Ok(made)
    }

    async fn one_image(&self, call: &Call<'_>) -> Result<Answer, Refused> {
        let wanted = Wanted { model: Some(IMAGES.to_owned()), ..Wanted::default() };
        self.tour(&wanted, &call.story, call).await
    }
}

impl Call<'_> {
    /// Attempts it at one slot until there is a picture, or a failure that this one cannot do
    /// anything about.
    async fn serve_here(&self, lease: &Lease, sent: &mut Instant) -> Result<Answer, Refused> {
        let Self { relay, story, .. } = self;
        let login = &lease.account.login;
        let mut credential = login.credential().await?;
        lease.used_by(&credential.account_id);
        let mut n_replaced = 0;
        loop {
            *sent = relay.clock.instant();
            story.sent(lease.id(), *sent);
            let failure = match self.attempt(lease, &credential, *sent).await {
                Ok(answer) => {
                    login.proven(&credential);
                    story.first_output(relay.clock.instant());
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            story.failed(failure.brief(), relay.clock.instant());
            if let Failure::ModelNotFound(refusal) = failure {
                return Err(Refused::Model { refusal, suggestions: Vec::new() });
            }
            if n_replaced >= 2 || !matches!(failure, Failure::Unauthorized { .. }) {
                return Err(Refused::Attempt(failure));
            }
            n_replaced += 1;
            credential = relay.renewed(lease, (&credential, n_replaced), failure).await?;
        }
    }

    /// Sends it once.
    async fn attempt(
        &self,
        lease: &Lease,
        credential: &Arc<Credential>,
        sent: Instant,
    ) -> Result<Answer, Failure> {
        let Self { relay, asked: Asked { id, request, .. }, story } = self;
        let of = (id, lease.id());
        relay.log_image_request(of, request).await;
        let body = (request.task, request.body.clone());
        let timeout = relay.settings.image_timeout;
        let Answered { limits, outcome } =
            images::ask(&relay.upstream, credential, body, timeout).await;
        let whole = match outcome {
            Ok(whole) => whole,
            Err(failure) => {
                relay.note_image_limits(lease, (limits, Source::Refusal), sent);
                relay.log_failure(of, &failure).await;
                return Err(failure);
            }
        };
        story.headers(relay.clock.instant());
        relay.log_image(of, &whole).await;
        // Before what is left, which may keep the next ones out.
        lease.answered(sent);
        relay.note_image_limits(lease, (limits, Source::Answer), sent);
        Answer::read(whole.body).ok_or_else(|| {
            let message = Some("there is no image in its answer".to_owned());
            Failure::Service(Box::new(Fault { message, ..Fault::default() }))
        })
    }
}

impl Relay {
    fn note_image_limits(&self, lease: &Lease, (limits, source): (Limits, Source), sent: Instant) {
        lease.read_images(&Reading::new(limits, source, sent, self.slots.now()));
    }

    /// No picture is written down.
    async fn log_image_request(&self, (id, slot): (&RequestId, &SlotId), request: &Translated) {
        let bytes = i64::try_from(request.body.len()).unwrap_or(i64::MAX);
        let record = Record::new(id, Phase::UpstreamRequest)
            .text("slot_id", slot.to_string())
            .text("method", "POST")
            .text("url", self.upstream.images_url(request.task))
            .number("bytes", bytes)
            .body("body", Some("application/json"), request.shown.clone());
        self.traffic.record(record).await;
    }

    async fn log_image(&self, (id, slot): (&RequestId, &SlotId), whole: &Whole) {
        let bytes = i64::try_from(whole.body.len()).unwrap_or(i64::MAX);
        let record = Record::new(id, Phase::UpstreamResponse)
            .text("slot_id", slot.to_string())
            .number("status_code", 200)
            .number("bytes", bytes)
            .headers("headers", &whole.headers);
        self.traffic.record(record).await;
    }
}
