//! Answers that nobody waits for: made all the same, followed and resumed by whoever asks.
//!
//! A run is an answer that is streamed like any other, to this module in place of a client. Its
//! events are held while it lasts and for some minutes after, so that a client that was cut off
//! goes on behind the last event that it has. What it comes to is in the store either way.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{
        disclosure::disclose,
        error::ApiError,
        json_of,
        keep::Keep,
        stream::{self, Opening, Setting, Teller},
    },
    clock::Clock,
    dialogue::Dialogues,
    object::{self, Object},
    store::{self, Answer},
    wire::sse,
};

/// How many answers are made at once.
const MOST: usize = 100;
/// How long the events of one are held that has ended.
const HELD: Duration = Duration::from_mins(10);
/// The events of one answer that are held, in bytes; beyond, the oldest go.
const EVENTS: usize = 16 << 20;
/// The events of all answers that have ended.
const ALL_EVENTS: usize = 64 << 20;
/// How often a follower is told that something is still there.
const ALIVE: Duration = Duration::from_secs(15);

/// Everything that is made in the background. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Background(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dialogues: Dialogues,
    clock: Clock,
    tasks: TaskTracker,
    runs: Mutex<HashMap<String, Arc<Run>>>,
}

/// One answer under way, or just ended.
#[derive(Debug)]
pub struct Run {
    told: Mutex<Told>,
    changed: watch::Sender<()>,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Told {
    /// Events with their numbers.
    events: VecDeque<(i64, Bytes)>,
    /// How many are not held any more.
    n_gone: usize,
    bytes: usize,
    /// The latest response object.
    response: Option<String>,
    /// What the last event said was wrong, as JSON.
    error: Option<String>,
    is_kept: bool,
    ended: Option<Instant>,
    /// How it ended, where that could not be written down.
    unwritten: Option<String>,
}

/// A run is over when this is dropped, whatever has happened to its task.
struct Over<'a> {
    all: &'a Background,
    run: &'a Run,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.all.over(self.run);
    }
}

impl Background {
    pub fn new(dialogues: Dialogues, clock: Clock, tasks: TaskTracker) -> Self {
        Self(Arc::new(Inner { dialogues, clock, tasks, runs: Mutex::default() }))
    }

    /// Begins an answer and tells where it will be, or streams it if that is wanted.
    ///
    /// # Errors
    ///
    /// When it cannot be kept, or too many are being made.
    pub async fn answer(
        &self,
        (setting, opening, teller): (Setting, Opening, Teller),
        is_stream: bool,
    ) -> Result<Response, ApiError> {
        let kept = setting.keep.as_ref().and_then(|keep| Some((keep, keep.answer()?)));
        let (keep, (answer, asked)) = kept.ok_or_else(|| {
            ApiError::broken(&std::io::Error::other("nothing of a background answer is kept"))
        })?;
        let body = begun(answer, keep)?;
        let asked = asked.clone();
        let answer = Answer { body: body.clone(), ..answer.clone() };
        let run = self.admit(&answer.id)?;
        let (all, ours) = (self.clone(), Arc::clone(&run));
        let mut setting = setting;
        let ignored = std::mem::take(&mut setting.ignored);
        // Comments are for connections.
        setting.limits.keep_alive = None;
        let (tell, told) = oneshot::channel();
        // Whoever asks may leave at any moment, and what was begun has to come to its end.
        self.0.tasks.spawn(async move {
            let over = Over { all: &all, run: &ours };
            let opened = all.0.dialogues.open(answer.clone(), asked).await;
            let is_open = opened.is_ok();
            let _left = tell.send(opened);
            if is_open {
                ours.make((setting, opening, teller)).await;
                all.end(&ours, answer).await;
            } else {
                all.forget(&answer.id);
            }
            drop(over);
        });
        told.await.map_err(|_| ApiError::leaving())??;
        let mut response = if is_stream { follow(run, -1) } else { json_of(body.into_bytes()) };
        disclose(&ignored, response.headers_mut());
        Ok(response)
    }

    /// Lets go of the events of an answer that nobody can ask for any more.
    pub fn forget(&self, id: &str) {
        self.0.runs.lock().remove(id);
    }

    /// A place for the answer `id`.
    fn admit(&self, id: &str) -> Result<Arc<Run>, ApiError> {
        if self.prune() >= MOST {
            return Err(ApiError::too_much_in_background(MOST));
        }
        let mut runs = self.0.runs.lock();
        let run = Arc::new(Run {
            told: Mutex::default(),
            changed: watch::Sender::new(()),
            cancel: CancellationToken::new(),
        });
        runs.insert(id.to_owned(), Arc::clone(&run));
        Ok(run)
    }

    /// Lets go of events that were held for long enough, or are too many. How many answers are being
    /// made.
    fn prune(&self) -> usize {
        let now = self.0.clock.instant();
        let mut runs = self.0.runs.lock();
        let ended = |run: &Run| run.told.lock().ended;
        runs.retain(|_, run| ended(run).is_none_or(|at| now.duration_since(at) < HELD));
        let done = |(id, run): (&String, &Arc<Run>)| {
            let told = run.told.lock();
            // One whose end is nowhere else stays for whoever asks.
            let at = told.ended.filter(|_| told.unwritten.is_none())?;
            Some((at, told.bytes, id.clone()))
        };
        let mut done: Vec<_> = runs.iter().filter_map(done).collect();
        let n_open = runs.values().filter(|run| ended(run).is_none()).count();
        done.sort_unstable_by_key(|(at, ..)| std::cmp::Reverse(*at));
        let mut held = 0;
        for (_, bytes, id) in done {
            held += bytes;
            if held > ALL_EVENTS {
                runs.remove(&id);
            }
        }
        n_open
    }

    /// Writes down what became of a run, unless its end was kept as every answer's is.
    async fn end(&self, run: &Run, answer: Answer) {
        let (is_kept, response, error) = {
            let mut told = run.told.lock();
            (told.is_kept, told.response.take(), told.error.clone())
        };
        if !is_kept {
            let is_cancelled = run.cancel.is_cancelled();
            let status = if is_cancelled { "cancelled" } else { "failed" };
            let error = error.filter(|_| !is_cancelled);
            let error = error.as_deref().unwrap_or("null").as_bytes();
            let body = store::ended(response.as_deref().unwrap_or(&answer.body), status, error);
            let ended = Answer { status: status.to_owned(), body: body.clone(), ..answer };
            if is_cancelled {
                run.end_with(&ApiError::cancelled());
            }
            if let Err(error) = self.0.dialogues.open(ended, Vec::new()).await {
                let error = &*error.to_string();
                tracing::warn!(error, "cannot write down how an answer ended");
                run.told.lock().unwritten = Some(body);
            }
        }
        self.over(run);
        self.prune();
    }

    fn over(&self, run: &Run) {
        run.told.lock().ended.get_or_insert_with(|| self.0.clock.instant());
        run.changed.send_replace(());
    }

    fn run(&self, id: &str) -> Option<Arc<Run>> {
        self.0.runs.lock().get(id).cloned()
    }

    /// The response object of an answer that is being made, as far as it is known; or of one whose
    /// end could not be written down.
    pub fn so_far(&self, id: &str) -> Option<String> {
        let run = self.run(id)?;
        let told = run.told.lock();
        if told.ended.is_some() { told.unwritten.clone() } else { told.response.clone() }
    }

    /// The events of the answer `id` with higher numbers than `after`, as they come.
    pub fn follow(&self, id: &str, after: i64) -> Option<Response> {
        Some(follow(self.run(id)?, after))
    }

    /// Ends an answer that is being made, and waits for its end.
    pub async fn cancel(&self, id: &str) {
        let Some(run) = self.run(id) else { return };
        run.cancel.cancel();
        let mut changed = run.changed.subscribe();
        while run.told.lock().ended.is_none() {
            if changed.changed().await.is_err() {
                break;
            }
        }
    }
}

impl Run {
    /// Makes the answer, unless it is cancelled.
    async fn make(&self, (setting, opening, teller): (Setting, Opening, Teller)) {
        let making = async {
            match stream::respond(setting, opening, teller).await {
                Ok(response) => {
                    let mut body = response.into_body();
                    while let Some(frame) = body.frame().await {
                        let Some(bytes) = frame.ok().and_then(|it| it.into_data().ok()) else {
                            break;
                        };
                        self.take(&bytes);
                    }
                }
                Err(error) => self.end_with(&error),
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {}
            () = making => {}
        }
    }

    /// Takes whole events.
    fn take(&self, bytes: &Bytes) {
        let mut at = 0;
        for frame in sse::frames(bytes) {
            let raw = bytes.slice(at..at + frame.raw.len());
            at += frame.raw.len();
            let Some(event) = Object::read(&frame.data) else { continue };
            let kind = event.text("type").unwrap_or_default();
            let mut told = self.told.lock();
            if let Some(response) = event.raw("response") {
                told.response = Some(response.get().to_owned());
                let error =
                    event.object("response").and_then(|it| Some(it.raw("error")?.get().to_owned()));
                told.error = error.or_else(|| told.error.take());
            }
            if kind == "error" {
                told.error = event.raw("error").map(|error| error.get().to_owned());
            }
            // It is told only when it is on the disk.
            told.is_kept |= kind == "response.completed" || kind == "response.incomplete";
            let number = event.integer("sequence_number").unwrap_or_default();
            told.push(number, raw);
        }
        self.changed.send_replace(());
    }

    /// Ends the events with `error`.
    fn end_with(&self, error: &ApiError) {
        let last = self.told.lock().events.back().map(|(number, _)| *number);
        let number = last.map_or(0, |last| last.saturating_add(1));
        self.take(&stream::error_event(error, number).into());
    }
}

impl Told {
    fn push(&mut self, number: i64, event: Bytes) {
        self.bytes += event.len();
        self.events.push_back((number, event));
        while self.bytes > EVENTS
            && self.events.len() > 1
            && let Some((_, gone)) = self.events.pop_front()
        {
            self.bytes -= gone.len();
            self.n_gone += 1;
        }
    }
}

/// Streams the events of `run` that come after the one with the number `after`.
fn follow(run: Arc<Run>, after: i64) -> Response {
    let changed = run.changed.subscribe();
    let pieces = unfold(Some((run, 0, changed)), move |state| async move {
        let (run, at, mut changed) = state?;
        loop {
            changed.mark_unchanged();
            match run.next(at, after) {
                Next::Events(events, at) => return Some((events, Some((run, at, changed)))),
                Next::Gone => {
                    let number = after.saturating_add(1);
                    let gone = stream::error_event(&ApiError::no_events(), number);
                    return Some((gone.into(), None));
                }
                Next::Ended => return None,
                Next::Later => {}
            }
            match tokio::time::timeout(ALIVE, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => {
                    return Some((stream::ALIVE, Some((run, at, changed))));
                }
            }
        }
    });
    let pieces = futures_util::StreamExt::map(pieces, Ok::<_, std::convert::Infallible>);
    (stream::headers(), Body::from_stream(pieces)).into_response()
}

enum Next {
    /// Events, and where the next are.
    Events(Bytes, usize),
    /// What comes next is not held any more.
    Gone,
    Ended,
    Later,
}

impl Run {
    fn next(&self, at: usize, after: i64) -> Next {
        let told = self.told.lock();
        let n_all = told.n_gone + told.events.len();
        let first_wanted =
            told.events.front().is_some_and(|(number, _)| *number <= after.saturating_add(1));
        if at < told.n_gone && !first_wanted {
            return Next::Gone;
        }
        let new = told.events.iter().skip(at.saturating_sub(told.n_gone));
        let new = new.filter(|(number, _)| *number > after);
        let events = new.map(|(_, event)| &**event).collect::<Vec<_>>().concat();
        if !events.is_empty() {
            return Next::Events(events.into(), n_all);
        }
        if told.ended.is_some() { Next::Ended } else { Next::Later }
    }
}

/// The response object of an answer that nobody has begun to make. `keep` says the rest.
fn begun(answer: &Answer, keep: &Keep) -> Result<String, ApiError> {
    #[derive(Serialize)]
    struct Begun<'a> {
        id: &'a str,
        object: &'static str,
        created_at: i64,
        status: &'static str,
        error: Option<()>,
        incomplete_details: Option<()>,
        instructions: Option<()>,
        max_output_tokens: Option<()>,
        model: &'a str,
        output: [(); 0],
        parallel_tool_calls: bool,
        temperature: Option<()>,
        top_p: Option<()>,
        tool_choice: &'static str,
        tools: [(); 0],
        usage: Option<()>,
    }
    let begun = Begun {
        id: &answer.id,
        object: "response",
        created_at: answer.created_at,
        status: "queued",
        error: None,
        incomplete_details: None,
        instructions: None,
        max_output_tokens: None,
        model: &answer.model,
        output: [],
        parallel_tool_calls: true,
        temperature: None,
        top_p: None,
        tool_choice: "auto",
        tools: [],
        usage: None,
    };
    let begun = serde_json::to_vec(&begun).map_err(|error| ApiError::broken(&error))?;
    let with = |begun: Vec<u8>, (name, value): &(&str, Vec<u8>)| {
        object::with(&begun, name, value).unwrap_or(begun)
    };
    Ok(String::from_utf8_lossy(&keep.members().iter().fold(begun, with)).into_owned())
}
