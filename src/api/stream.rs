//! The only place where an answer reaches a client: streamed event by event, or collected.
//!
//! A stream's headers are held back until the answer begins, so that a failure before that is a
//! real status. They are not held back for ever: after a while they go out, comments keep the
//! connection alive, and a failure from then on is told in the stream, which never ends as if all
//! were well.
//!
//! **Invariant:** a stream ends with its dialect's terminal event or with an error, never between.
//! **Invariant:** a comment stands between events, never inside one.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    api::{
        disclosure::disclose,
        error::ApiError,
        exchange::Exchange,
        keep::{Keep, Keeping},
        keep_alive::Silence,
    },
    clock::Clock,
    relay::{Opened, Refused, cut_short, story::Tokens},
    traffic::{Phase, Record},
    upstream::failure::{ErrorFields, Failure, classify_event},
    wire::reply::{
        End, Progress, Reader, Unreadable, chat, completions,
        responses::{Collect, Forward},
    },
};

/// How streams behave while nothing arrives.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long the headers wait for the answer to begin.
    pub commit_after: Duration,
    /// How often a comment is sent into silence; `None` sends none.
    pub keep_alive: Option<Duration>,
    /// The program ends: clients are told so instead of waiting for an answer.
    pub leaving: CancellationToken,
}

/// An answer on its way from the relay.
pub type Opening = Pin<Box<dyn Future<Output = Result<Opened, Refused>> + Send>>;

/// A dialect's way of telling a stream.
#[derive(Debug)]
pub enum Teller {
    Responses(Box<Forward>),
    Chat(Box<(Reader, chat::Chunks)>),
    Completions(Box<(Reader, completions::Chunks)>),
}

impl Teller {
    /// What the client gets for a run of whole events. What precedes an unreadable one is told.
    fn tell(&mut self, run: &Bytes) -> (Bytes, Result<Progress, Unreadable>) {
        match self {
            Self::Responses(forward) => forward.run(run),
            Self::Chat(chat) => {
                let (reader, chunks) = &mut **chat;
                let progress = reader.read_run(run, chunks);
                if let Ok(Progress::Ended(end)) = &progress {
                    chunks.end(end);
                }
                (chunks.take().into(), progress)
            }
            Self::Completions(completions) => {
                let (reader, chunks) = &mut **completions;
                let progress = reader.read_run(run, chunks);
                if let Ok(Progress::Ended(end)) = &progress {
                    chunks.end(end);
                }
                (chunks.take().into(), progress)
            }
        }
    }

    /// The last event of an answer that failed.
    ///
    /// Nothing is sent after it, `[DONE]` least of all. Its `error` member is what SDKs raise as
    /// an exception; on Responses the same members stand flat beside it, as the document has them.
    fn tell_failure(&self, error: &ApiError) -> String {
        let object = error.object();
        match self {
            Self::Responses(forward) => error_event(error, forward.next_number()),
            Self::Chat(_) | Self::Completions(_) => format!("data: {{\"error\":{object}}}\n\n"),
        }
    }

    /// Whether the upstream's own error event has been passed on.
    fn passes_errors_on(&self) -> bool {
        matches!(self, Self::Responses(_))
    }
}

/// The event with the number `number` that says that an answer of Responses failed.
pub fn error_event(error: &ApiError, number: i64) -> String {
    let text = |text: Option<&str>| serde_json::to_string(&text).unwrap_or_default();
    let (code, object) = (text(error.code_name()), error.object());
    let (message, param) = (text(Some(error.message())), text(error.param_name()));
    format!(
        "event: error\ndata: {{\"type\":\"error\",\"code\":{code},\"message\":{message},\
         \"param\":{param},\"sequence_number\":{number},\"error\":{object}}}\n\n",
    )
}

/// The headers of a stream of events.
pub fn headers() -> HeaderMap {
    let fixed = HeaderValue::from_static;
    let headers = [
        (CONTENT_TYPE, fixed("text/event-stream; charset=utf-8")),
        (CACHE_CONTROL, fixed("no-cache")),
        (HeaderName::from_static("x-accel-buffering"), fixed("no")),
    ];
    headers.into_iter().collect()
}

/// Says that something is still there.
pub const ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// What a streamed answer stands in.
#[derive(Debug)]
pub struct Setting {
    pub exchange: Exchange,
    /// What of the request was left out before it was first sent.
    pub ignored: Vec<String>,
    /// Whether the client reads what the upstream tells Codex clients.
    pub is_codex: bool,
    pub limits: Settings,
    pub clock: Clock,
    /// What the answer is a turn of, where that is to be kept.
    pub keep: Option<Keep>,
}

/// Answers with a stream as soon as the answer begins or `commit_after` has passed.
///
/// # Errors
///
/// When there is no answer and nothing has been sent.
pub async fn respond(
    setting: Setting,
    mut opening: Opening,
    teller: Teller,
) -> Result<Response, ApiError> {
    let Setting { exchange, mut ignored, is_codex, limits, clock, keep } = setting;
    let mut turn = HeaderMap::new();
    let state = tokio::select! {
        biased;
        opened = &mut opening => {
            State::Open(Box::new(opened.map_err(|refused| ApiError::of_refusal(refused, clock.now()))?))
        }
        () = limits.leaving.cancelled() => return Err(ApiError::leaving()),
        () = tokio::time::sleep(limits.commit_after) => State::Opening(opening),
    };
    if let State::Open(opened) = &state {
        ignored.clone_from(&opened.ignored);
        if is_codex {
            turn.clone_from(&opened.turn);
        }
    }
    let keep_alive = limits.keep_alive.map(|every| Silence::new(every, clock.clone()));
    let ending = Ending { exchange, outcome: Outcome::Unfinished };
    let leaving = Box::pin(limits.leaving.cancelled_owned());
    let stream = Stream { state, teller, keep, keep_alive, leaving, clock, ending };
    let mut response = Response::new(Body::new(stream));
    let headers = response.headers_mut();
    headers.extend(self::headers());
    headers.extend(turn);
    disclose(&ignored, headers);
    Ok(response)
}

/// The body of a streamed answer.
struct Stream {
    state: State,
    teller: Teller,
    keep: Option<Keep>,
    keep_alive: Option<Silence>,
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
    clock: Clock,
    ending: Ending,
}

enum State {
    Opening(Opening),
    Open(Box<Opened>),
    /// The answer is whole; its end is told when it is kept.
    Keeping {
        keeping: Keeping,
        last: Bytes,
        end: Box<End>,
    },
    Done,
}

impl Stream {
    /// The next bytes for the client, or `None` after the last. Never empty.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let polled = match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::Opening(opening) => match opening.as_mut().poll(cx) {
                    Poll::Ready(Ok(opened)) => {
                        self.state = State::Open(Box::new(opened));
                        continue;
                    }
                    Poll::Ready(Err(refused)) => {
                        return self
                            .fail(Bytes::new(), ApiError::of_refusal(refused, self.clock.now()));
                    }
                    Poll::Pending => Poll::Pending,
                },
                State::Open(opened) => opened.poll_run(cx),
                State::Keeping { keeping, .. } => match keeping.as_mut().poll(cx) {
                    Poll::Ready(kept) => return self.kept(kept),
                    // The disk is not waited for in vain.
                    Poll::Pending => return self.poll_keep_alive(cx).map(|()| Some(ALIVE)),
                },
            };
            let bytes = match polled {
                Poll::Pending => {
                    if self.leaving.as_mut().poll(cx).is_ready() {
                        return self.fail(Bytes::new(), ApiError::leaving());
                    }
                    ready!(self.poll_keep_alive(cx));
                    return Poll::Ready(Some(ALIVE));
                }
                Poll::Ready(Some(Ok(run))) => {
                    if let Some(keep) = &mut self.keep {
                        keep.read_run(&run);
                    }
                    match self.teller.tell(&run) {
                        (bytes, Ok(progress)) => self.note(bytes, progress),
                        (bytes, Err(unreadable)) => return self.fail(bytes, unreadable.into()),
                    }
                }
                Poll::Ready(Some(Err(failure))) => {
                    return self
                        .fail(Bytes::new(), ApiError::of_failure(&failure, self.clock.now()));
                }
                Poll::Ready(None) => {
                    if let State::Open(opened) = &self.state {
                        opened.failed(&cut_short());
                    }
                    return self
                        .fail(Bytes::new(), ApiError::of_failure(&cut_short(), self.clock.now()));
                }
            };
            if !bytes.is_empty() {
                if let Some(silence) = &mut self.keep_alive {
                    silence.broken();
                }
                return Poll::Ready(Some(bytes));
            }
        }
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.keep_alive {
            Some(silence) => silence.poll(cx),
            None => Poll::Pending,
        }
    }

    /// Looks whether the answer has ended, and how.
    fn note(&mut self, bytes: Bytes, progress: Progress) -> Bytes {
        match progress {
            Progress::More => bytes,
            Progress::Ended(end) => {
                if let State::Open(opened) = &self.state {
                    opened.ended(tokens(&end));
                }
                if let Some(keep) = self.keep.take() {
                    self.state = State::Keeping { keeping: keep.keep(&end), last: bytes, end };
                    return Bytes::new();
                }
                self.finish(Outcome::Ended(end));
                bytes
            }
            Progress::Failed(event) => {
                let failure = in_stream(&self.ending.exchange, event, &self.clock);
                if let State::Open(opened) = &self.state {
                    opened.failed(&failure);
                }
                let error = ApiError::of_failure(&failure, self.clock.now());
                let mut all = bytes.to_vec();
                if !self.teller.passes_errors_on() {
                    all.extend_from_slice(self.teller.tell_failure(&error).as_bytes());
                }
                self.finish(Outcome::Failed(error));
                all.into()
            }
        }
    }

    /// Tells the end of an answer that was kept, or that it was not.
    fn kept(&mut self, kept: Result<(), ApiError>) -> Poll<Option<Bytes>> {
        match (std::mem::replace(&mut self.state, State::Done), kept) {
            (State::Keeping { last, end, .. }, Ok(())) => {
                self.finish(Outcome::Ended(end));
                Poll::Ready(Some(last))
            }
            (_, Err(error)) => self.fail(Bytes::new(), error),
            (_, Ok(())) => Poll::Ready(None),
        }
    }

    /// Ends with an error behind `told`.
    fn fail(&mut self, told: Bytes, error: ApiError) -> Poll<Option<Bytes>> {
        let last = Bytes::from(self.teller.tell_failure(&error));
        // Everything else that a client gets is in the log as it came from the upstream.
        let record = self.ending.exchange.record(Phase::OutboundStreamChunk);
        self.ending.exchange.traffic.hand_over(record.body("body", None, last.clone()));
        self.finish(Outcome::Failed(error));
        let all = if told.is_empty() { last } else { [told, last].concat().into() };
        Poll::Ready(Some(all))
    }

    /// Lets go of the upstream at once: nothing after the end is of interest.
    fn finish(&mut self, outcome: Outcome) {
        self.state = State::Done;
        self.ending.outcome = outcome;
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // A mistake of ours is told like any other failure: a stream that just stops says nothing.
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_bytes(cx)));
        let polled = polled.unwrap_or_else(|_| self.fail(Bytes::new(), ApiError::crashed()));
        polled.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Hands the outcome to the log when the stream is over or its client has gone.
struct Ending {
    exchange: Exchange,
    outcome: Outcome,
}

enum Outcome {
    /// The client went away first, or the relay was stopped.
    Unfinished,
    Ended(Box<End>),
    Failed(ApiError),
}

impl Drop for Ending {
    fn drop(&mut self) {
        let record = self.exchange.record(Phase::OutboundResponse);
        let record = with_slot(&self.exchange, record).number("status_code", 200);
        let record = match &self.outcome {
            Outcome::Unfinished => record.text("outcome", "unfinished"),
            Outcome::Ended(end) => {
                log_usage(&self.exchange, end);
                record.text("outcome", "completed")
            }
            Outcome::Failed(error) => error.outcome(record),
        };
        self.exchange.traffic.hand_over(record);
    }
}

/// A dialect's way of collecting an answer.
#[derive(Debug)]
pub enum Collector {
    Responses(Box<Collect>),
    Chat(Box<(Reader, chat::Completion)>),
    Completions(Box<(Reader, completions::Completion)>),
}

impl Collector {
    fn read_run(&mut self, run: &[u8]) -> Result<Progress, Unreadable> {
        match self {
            Self::Responses(collect) => collect.read_run(run),
            Self::Chat(chat) => chat.0.read_run(run, &mut chat.1),
            Self::Completions(completions) => completions.0.read_run(run, &mut completions.1),
        }
    }

    fn finish(self, end: &End) -> Vec<u8> {
        match self {
            Self::Responses(collect) => collect.finish(),
            Self::Chat(chat) => chat.1.finish(end),
            Self::Completions(completions) => completions.1.finish(end),
        }
    }
}

/// Answers with one body when the answer is whole.
///
/// # Errors
///
/// When the answer fails, however late: nothing has been sent then.
pub async fn collect(
    exchange: &Exchange,
    opening: Opening,
    (collector, keep): (Collector, Option<Keep>),
    clock: &Clock,
    leaving: &CancellationToken,
) -> Result<Response, ApiError> {
    tokio::select! {
        biased;
        collected = collect_all(exchange, opening, (collector, keep), clock) => collected,
        () = leaving.cancelled() => Err(ApiError::leaving()),
    }
}

/// The most that is read for an answer in one body. The longest that a model gives comes in some
/// thirty megabytes of small events.
const WHOLE_LIMIT: usize = 128 << 20;

async fn collect_all(
    exchange: &Exchange,
    opening: Opening,
    (mut collector, mut keep): (Collector, Option<Keep>),
    clock: &Clock,
) -> Result<Response, ApiError> {
    let told = |refused| ApiError::of_refusal(refused, clock.now());
    let mut opened = opening.await.map_err(told)?;
    let mut read = 0;
    while let Some(run) = opened.next_run().await {
        let run = run.map_err(|failure| ApiError::of_failure(&failure, clock.now()))?;
        read += run.len();
        if read > WHOLE_LIMIT {
            let failure = Failure::TooLarge { what: "one answer", limit: WHOLE_LIMIT };
            return Err(ApiError::of_failure(&failure, clock.now()));
        }
        if let Some(keep) = &mut keep {
            keep.read_run(&run);
        }
        match collector.read_run(&run)? {
            Progress::More => {}
            Progress::Failed(event) => {
                let failure = in_stream(exchange, event, clock);
                opened.failed(&failure);
                return Err(ApiError::of_failure(&failure, clock.now()));
            }
            Progress::Ended(end) => {
                opened.ended(tokens(&end));
                let ignored = std::mem::take(&mut opened.ignored);
                drop(opened);
                if let Some(keep) = keep {
                    keep.keep(&end).await?;
                }
                log_usage(exchange, &end);
                return Ok(whole(collector.finish(&end), &ignored));
            }
        }
    }
    opened.failed(&cut_short());
    Err(ApiError::of_failure(&cut_short(), clock.now()))
}

/// An answer in one body, and what of its request was left out.
pub fn whole(body: Vec<u8>, ignored: &[String]) -> Response {
    let json = HeaderValue::from_static("application/json");
    let mut headers: HeaderMap = [(CONTENT_TYPE, json)].into_iter().collect();
    disclose(ignored, &mut headers);
    (headers, body).into_response()
}

/// What an error event of the upstream means to the client. The log gets it as it came.
fn in_stream(exchange: &Exchange, event: Bytes, clock: &Clock) -> Failure {
    let failure = classify_event(ErrorFields::of_event(&event), clock.now());
    let record = with_slot(exchange, exchange.record(Phase::UpstreamStreamError));
    exchange.traffic.hand_over(record.json("error", event));
    failure
}

/// `record` with the slot that serves the exchange, if one does.
pub fn with_slot(exchange: &Exchange, record: Record) -> Record {
    match exchange.story.slot() {
        Some(slot) => record.text("slot_id", slot.to_string()),
        None => record,
    }
}

fn tokens(end: &End) -> Option<Tokens> {
    let (input, cached, output) = end.usage.as_ref()?.counts();
    Some(Tokens { input, cached, output })
}

/// Writes down what an answer has cost, if the upstream says so.
pub fn log_usage(exchange: &Exchange, end: &End) {
    let Some(usage) = &end.raw_usage else { return };
    for phase in [Phase::UpstreamUsage, Phase::OutboundUsage] {
        let record = with_slot(exchange, exchange.record(phase))
            .text("response_id", end.response_id.clone().unwrap_or_default())
            .text("model", end.model.clone().unwrap_or_default())
            .json("usage", usage.clone());
        exchange.traffic.hand_over(record);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;

    use super::*;
    use crate::{api::exchange, clock, id::RequestId, traffic::Traffic};

    /// The headers are out by then.
    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_stream_is_its_last_event() {
        let (parts, ()) = Request::new(()).into_parts();
        let id = RequestId::from_random(clock::random().expect("randomness"));
        let client = exchange::Peer::IN_PROCESS.remote;
        let exchange = Exchange::new(id, client, Traffic::off(), &parts);
        let setting = Setting {
            exchange,
            ignored: Vec::new(),
            is_codex: false,
            limits: Settings {
                commit_after: Duration::from_secs(1),
                keep_alive: None,
                leaving: CancellationToken::new(),
            },
            clock: Clock::system(),
            keep: None,
        };
        let opening: Opening = Box::pin(async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Err(Refused::Attempt(Failure::TooLarge {
                what: "",
                limit: "".parse().expect("a mistake"),
            }))
        });
        let teller = Teller::Responses(Box::new(Forward::new(<_>::default(), <_>::default())));
        let response = respond(setting, opening, teller).await.expect("headers");
        let body = response.into_body().collect().await.expect("whole").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        assert!(body.starts_with("event: error\n") && body.contains("internal_error"), "{body}");
    }
}
