//! A whole turn as events: what is said, in the order and with the ending that a step asks for.
//!
//! Not here: the response object (`response`), bytes (`framing`) and time passing (`body`).

use std::time::Duration;

use serde_json::Value;

use crate::sim::{
    account::Account,
    answer::{Circumstances, fault},
    items::{Teller, Told},
    mint::Mint,
    plan::{self, Output},
    request::Asked,
    script::{At, Break, Ending, Form, Quirk, Step},
    tree::{count, list, object, put, text},
    world::World,
};

/// How long a connection outlives its turn when it closes late.
const LATE: Duration = Duration::from_mins(1);

/// What a turn is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Teacher<'a> {
    pub(super) asked: &'a Asked,
    pub(super) step: &'a Step,
    pub(super) world: &'a World,
    pub(super) mint: &'a Mint,
    /// Whole seconds since 1970.
    pub(super) now: i64,
    pub(super) input_tokens: u64,
    pub(super) cached_tokens: u64,
    /// The event that tells the limits, where streams have one.
    pub(super) limit_event: Option<&'a Value>,
}

/// Events, and what comes after the last of them.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) events: Vec<Event>,
    pub(super) tail: Tail,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) body: Value,
    /// Silence before it.
    pub(super) wait: Duration,
    /// Only the first half of it is sent.
    pub(super) half: bool,
    /// After this one the client has all it needs.
    pub(super) terminal: bool,
}

impl Event {
    fn new(body: Value) -> Self {
        Self { body, wait: Duration::ZERO, half: false, terminal: false }
    }

    pub(super) fn kind(&self) -> &str {
        text(&self.body, "type")
    }

    fn is_delta(&self) -> bool {
        is_a(self.kind(), "delta")
    }
}

/// What happens after the last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    End,
    /// The connection stays open this long.
    Late(Duration),
    /// Nothing, for ever.
    Stall,
    /// The connection breaks.
    Reset,
}

/// What a turn says.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    events: Vec<Value>,
    pub(super) items: Vec<Value>,
    pub(super) tokens: u64,
    pub(super) reasoning_tokens: u64,
}

impl Teacher<'_> {
    /// The turn, with its events numbered.
    pub(super) fn turn(&self) -> Turn {
        let mut outputs = plan::outputs(self.asked, self.step);
        let most = self.asked.body["max_output_tokens"].as_u64();
        let capped = most.is_some_and(|most| plan::cap(&mut outputs, most));
        let scripted = &self.step.ending;
        let ending = match scripted {
            Ending::Completed if self.input_tokens > self.asked.model.window() => Ending::Fault {
                code: "context_length_exceeded".to_owned(),
                form: Form::Failed,
                at: At::Start,
            },
            Ending::Completed if capped => Ending::Incomplete("max_output_tokens"),
            Ending::Completed
            | Ending::Empty
            | Ending::Incomplete(_)
            | Ending::Fault { .. }
            | Ending::Break { .. }
            | Ending::MidEvent(_)
            | Ending::CloseLate => scripted.clone(),
        };
        let partial = matches!(ending, Ending::Incomplete(_));
        let content = self.content(&outputs, if partial { "incomplete" } else { "completed" });
        let id = self.mint.id("resp_");
        let mut events = vec![
            Event::new(self.response_event("response.created", &id)),
            Event::new(self.response_event("response.in_progress", &id)),
        ];
        events.extend(self.limit_event.cloned().map(Event::new));
        let head = events.len();
        let tail = self.end(&mut events, &content, &ending, &id);
        self.wait(&mut events, head);
        if self.step.shape.has(Quirk::UnknownEvents) {
            add_unknown(&mut events, head, &id);
        }
        for (number, event) in events.iter_mut().enumerate() {
            put(&mut event.body, "sequence_number", count(number));
        }
        Turn { events, tail }
    }

    /// Everything between the head and the end, with its quirks.
    fn content(&self, outputs: &[Output], status: &'static str) -> Content {
        let shape = &self.step.shape;
        let told: Vec<Told> = (0_u64..)
            .zip(outputs)
            .map(|(index, output)| {
                let argument_deltas = !shape.has(Quirk::ArgumentsOnlyDone);
                let teller =
                    Teller { mint: self.mint, asked: self.asked, index, status, argument_deltas };
                teller.tell(output)
            })
            .collect();
        let mut content = Content {
            tokens: told.iter().map(|one| one.tokens).sum(),
            reasoning_tokens: told.iter().map(|one| one.reasoning_tokens).sum(),
            ..Content::default()
        };
        let is_call =
            |output: &Output| matches!(output, Output::Function { .. } | Output::Custom { .. });
        let mut told = outputs.iter().map(is_call).zip(told).peekable();
        while let Some((call, one)) = told.next() {
            let mut group = vec![one];
            while let Some((_, next)) = told.next_if(|(next, _)| call && *next) {
                group.push(next);
            }
            content.items.extend(group.iter().map(|one| one.item.clone()));
            content.events.extend(interleave(group));
        }
        let removed = self.removed();
        content.events.retain(|event| !removed(text(event, "type")));
        if shape.has(Quirk::NoIndex) {
            for event in content.events.iter_mut().filter_map(Value::as_object_mut) {
                event.shift_remove("output_index");
            }
        }
        content
    }

    /// Which events the quirks leave out.
    fn removed(&self) -> impl Fn(&str) -> bool {
        let shape = &self.step.shape;
        let no_deltas = shape.has(Quirk::NoDeltas);
        let no_added = shape.has(Quirk::DoneWithoutAdded);
        let no_items = shape.has(Quirk::ItemsMissing);
        move |kind| {
            let added = kind == "response.output_item.added";
            let item_done = kind == "response.output_item.done";
            (no_deltas && !item_done) || (no_added && added) || (no_items && is_a(kind, "done"))
        }
    }

    /// Adds the content and the ending.
    fn end(&self, events: &mut Vec<Event>, content: &Content, ending: &Ending, id: &str) -> Tail {
        let at = match ending {
            Ending::Fault { at, .. } | Ending::Break { at, .. } | Ending::MidEvent(at) => Some(*at),
            Ending::Empty => Some(At::Start),
            Ending::Completed | Ending::Incomplete(_) | Ending::CloseLate => None,
        };
        let shown = match at {
            None | Some(At::Events(_)) => content.events.len(),
            Some(At::Start) => 0,
            Some(At::Text) => after_last_delta(&content.events),
        };
        events.extend(content.events.iter().take(shown).cloned().map(Event::new));
        let terminal = |body| Event { terminal: true, ..Event::new(body) };
        if let Some(At::Events(shown)) = at {
            events.push(terminal(self.completed(id, content)));
            events.truncate(shown);
        }
        match ending {
            Ending::Completed => events.push(terminal(self.completed(id, content))),
            Ending::CloseLate => {
                events.push(terminal(self.completed(id, content)));
                return Tail::Late(LATE);
            }
            Ending::Empty => events.push(terminal(self.completed(id, &Content::default()))),
            Ending::Incomplete(reason) => {
                events.push(terminal(self.incomplete(id, content, reason)));
            }
            Ending::Fault { code, form, .. } => {
                events.extend(self.faults(code, *form, id).into_iter().map(terminal));
            }
            Ending::MidEvent(_) => {
                if let Some(last) = events.last_mut() {
                    last.half = true;
                }
            }
            Ending::Break { how: Break::Cut, .. } => {}
            Ending::Break { how: Break::Stall, .. } => return Tail::Stall,
            Ending::Break { how: Break::Reset, .. } => return Tail::Reset,
        }
        Tail::End
    }

    fn faults(&self, code: &str, form: Form, id: &str) -> Vec<Value> {
        let slug = &self.asked.model.slug;
        let account: &Account = &self.asked.account;
        let error = fault(code, Circumstances { account, model: slug, now: self.now });
        let nested = || object! {"type": "error", "error": error.clone()};
        let failed = || {
            object! {"type": "response.failed", "response": object! {
                "id": id,
                "object": "response",
                "created_at": self.now,
                "status": "failed",
                "background": false,
                "error": object! {"code": text(&error, "code"), "message": text(&error, "message")},
                "usage": Value::Null,
                "user": Value::Null,
                "metadata": object! {},
            }}
        };
        match form {
            Form::Failed => vec![failed()],
            Form::Nested => vec![nested()],
            Form::ErrorThenFailed => vec![nested(), failed()],
            Form::Flat => vec![object! {
                "type": "error",
                "code": text(&error, "code"),
                "message": text(&error, "message"),
                "param": error["param"].clone(),
            }],
        }
    }

    fn response_event(&self, kind: &str, id: &str) -> Value {
        object! {"type": kind, "response": self.response(id)}
    }

    fn wait(&self, events: &mut [Event], head: usize) {
        let shape = &self.step.shape;
        if let Some(slow) = shape.slow {
            events.iter_mut().filter(|event| event.is_delta()).for_each(|event| event.wait = slow);
        }
        if let (Some(pause), Some(first)) = (shape.pause, events.get_mut(head)) {
            first.wait += pause;
        }
    }
}

/// The events of several items, one of each in turn.
fn interleave(group: Vec<Told>) -> Vec<Value> {
    let mut queues: Vec<_> = group.into_iter().map(|told| told.events.into_iter()).collect();
    let mut events = Vec::new();
    loop {
        let before = events.len();
        events.extend(queues.iter_mut().filter_map(Iterator::next));
        if events.len() == before {
            return events;
        }
    }
}

/// Whether the last part of an event's name is this.
fn is_a(kind: &str, last: &str) -> bool {
    kind.rsplit('.').next() == Some(last)
}

/// How many of `events` come up to the last delta, or up to the first event when there is none.
fn after_last_delta(events: &[Value]) -> usize {
    let last = events.iter().rposition(|event| is_a(text(event, "type"), "delta"));
    last.map_or(events.len().min(1), |last| last + 1)
}

/// Events that no client knows, and some that only few do.
fn add_unknown(events: &mut Vec<Event>, head: usize, id: &str) {
    let early = [
        object! {"type": "codex.rate_limits", "plan_type": "plus", "rate_limits": object! {
            "allowed": true,
            "limit_reached": false,
            "primary": object! {"used_percent": 12, "window_minutes": 300, "reset_at": 1_790_000_000},
            "secondary": Value::Null,
        }, "credits": Value::Null, "metered_limit_name": "codex"},
        object! {"type": "codex.keepalive"},
        object! {"type": "response.metadata", "response_id": id, "headers": object! {}, "metadata": object! {}},
        object! {"type": "response.thing_of_tomorrow", "delta": "unknown", "nested": list![object! {"a": 1}]},
    ];
    let last = events.len().saturating_sub(1);
    let late = Event::new(object! {"type": "response.other_thing.delta", "delta": "unknown"});
    events.insert(last.max(head.min(events.len())), late);
    let at = head.min(events.len());
    events.splice(at..at, early.map(Event::new));
}
