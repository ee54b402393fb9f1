//! Answers in the dialect that the upstream speaks itself: forwarded, or put together.
//!
//! A stream is passed on as it arrived. What is changed: the final response object gets the
//! streamed items as its `output` when the upstream left that empty; whose account it is is taken
//! out (`wire::identity`); tools have the client's own names; padding that a client does not want
//! is cut off; and `codex.*` events are kept from clients that do not know them.
//!
//! **Invariant:** a run of events in which nothing needs a change is the buffer that arrived.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde_json::value::RawValue;

use crate::{
    object::{self, Object},
    wire::{
        event::{EventKind, ResponseEvent, ResponseHead, read},
        identity::{masked, without_owner},
        reply::{
            End, Progress, Unreadable,
            items::{Items, Noted, with_member, with_own_names},
            unreadable,
        },
        sse::{self, Frame},
        tools::ToolNames,
    },
};

/// What a client wants of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `codex.*` events.
    pub private: bool,
    /// Events without the padding that hides how long their pieces are.
    pub bare: bool,
}

/// What a response object says that the upstream does not know: members and their values.
pub type Members = Vec<(&'static str, Vec<u8>)>;

/// How response objects are told.
#[derive(Debug, Default)]
struct Own {
    names: ToolNames,
    members: Members,
}

/// Passes a stream on and remembers what its last event has to repeat.
#[derive(Debug)]
pub struct Forward {
    wanted: Wanted,
    own: Own,
    items: Items,
    /// The last event, for the number that the next one has.
    last: Bytes,
    /// The event that began the answer, for what the one that says that it failed leaves out.
    created: Bytes,
    /// How many events were added, by which the numbers of later ones are higher.
    n_added: i64,
}

impl Forward {
    pub fn new(wanted: Wanted, names: ToolNames) -> Self {
        Self {
            wanted,
            own: Own { names, members: Members::new() },
            items: Items::default(),
            last: Bytes::new(),
            created: Bytes::new(),
            n_added: 0,
        }
    }

    /// Its response objects say `members` besides.
    #[must_use]
    pub fn with(mut self, members: Members) -> Self {
        self.own.members = members;
        self
    }

    /// The `sequence_number` of an event that follows what has been passed on.
    pub fn next_number(&self) -> i64 {
        self.next_upstream_number().saturating_add(self.n_added)
    }

    /// The same as the upstream counts.
    fn next_upstream_number(&self) -> i64 {
        let last = sse::frames(&self.last).next();
        let event = last.as_ref().and_then(|last| Object::read(&last.data));
        event
            .and_then(|event| event.integer("sequence_number"))
            .map_or(0, |last| last.saturating_add(1))
    }

    /// What a client gets for a run of whole events; nothing after the one that ends the answer.
    ///
    /// An event that is not what its name says ends it, too; what precedes it is passed on.
    pub fn run(&mut self, run: &Bytes) -> (Bytes, Result<Progress, Unreadable>) {
        let mut rewritten: Option<Vec<u8>> = None;
        let (mut kept, mut at) = (0, 0);
        let mut progress = Ok(Progress::More);
        for frame in sse::frames(run) {
            let end = at + frame.raw.len();
            let looked = match self.look(&frame) {
                Ok(looked) => looked,
                Err(unreadable) => {
                    progress = Err(unreadable);
                    break;
                }
            };
            let next = looked.progress.clone();
            if let Some(change) = self.numbered(&frame, looked) {
                let out = rewritten.get_or_insert_default();
                out.extend_from_slice(&run[kept..at]);
                out.extend_from_slice(&change);
                kept = end;
            }
            if is_object(&frame.data) {
                self.last = run.slice(at..end);
                if EventKind::of(&frame) == EventKind::Created {
                    self.created = self.last.clone();
                }
            }
            at = end;
            if next != Progress::More {
                progress = Ok(next);
                break;
            }
        }
        let Some(mut out) = rewritten else {
            return (run.slice(..at), progress);
        };
        out.extend_from_slice(&run[kept..at]);
        (Bytes::from(out), progress)
    }

    /// What stands in the place of `frame` with what was missing before it, unless it stays.
    fn numbered(&mut self, frame: &Frame<'_>, looked: Looked) -> Option<Vec<u8>> {
        let Looked { missing, change, after, progress: _ } = looked;
        if missing.is_empty() && after.is_empty() && self.n_added == 0 {
            return change;
        }
        let own = Object::read(&frame.data).and_then(|event| event.integer("sequence_number"));
        let number = own.unwrap_or_else(|| self.next_upstream_number());
        let mut out = Vec::new();
        for event in missing {
            out.extend(written(&event, number.saturating_add(self.n_added)));
            self.n_added += 1;
        }
        let event = change.as_deref().unwrap_or(frame.raw);
        let renumbered = renumbered(event, self.n_added);
        out.extend_from_slice(renumbered.as_deref().unwrap_or(event));
        for event in after {
            self.n_added += 1;
            out.extend(written(&event, number.saturating_add(self.n_added)));
        }
        Some(out)
    }

    /// What is missing before `frame`, what stands in its place, and where the answer stands then.
    fn look(&mut self, frame: &Frame<'_>) -> Result<Looked, Unreadable> {
        let kind = EventKind::of(frame);
        if matches!(kind, EventKind::Completed | EventKind::Incomplete) {
            return self.look_at_end(kind, frame);
        }
        let failed = || Progress::Failed(Bytes::copy_from_slice(&frame.data));
        if kind == EventKind::Failed {
            return Ok(Looked::instead(self.failed_event(frame), failed()));
        }
        if kind == EventKind::Error {
            let change = error_event(frame, self.next_upstream_number());
            return Ok(Looked::instead(change, failed()));
        }
        let is_private = kind == EventKind::Private && !self.wanted.private;
        // What is no JSON says nothing to anybody, and an SDK would stop at it. So it would at the
        // end mark of another dialect, as if all were well.
        if is_private || kind == EventKind::Other && !is_json(&frame.data) {
            return Ok(Looked::instead(Some(Vec::new()), Progress::More));
        }
        if matches!(kind, EventKind::Created | EventKind::Handshake) {
            self.items.of_response(frame);
            return Ok(Looked::instead(response_event(frame, &self.own), Progress::More));
        }
        let mut noted = self.items.note(kind, frame, &self.own.names)?;
        let change = noted.change.take().or_else(|| self.bared(frame));
        let Noted { missing, after, .. } = noted;
        Ok(Looked { missing, change, after, progress: Progress::More })
    }

    fn look_at_end(&mut self, kind: EventKind, frame: &Frame<'_>) -> Result<Looked, Unreadable> {
        let whole = end(&self.items, kind, frame, &self.own)?;
        if matches!(whole.progress, Progress::Failed(_)) {
            // An answer that failed after all is not told as one that is complete.
            let change = final_event(frame, &whole.body, Some("response.failed"));
            return Ok(Looked::instead(change, whole.progress));
        }
        let missing = if self.items.has_any() {
            self.items.missing_at_the_end(kind)
        } else {
            let event = serde_json::from_slice::<ResponseEvent<'_>>(&frame.data).ok();
            let head = event.and_then(|event| read::<ResponseHead<'_>>(event.response));
            let items = head.as_ref().map(ResponseHead::items).unwrap_or_default();
            self.items.told_at_once(&items, &self.own.names)
        };
        let change = final_event(frame, &whole.body, None);
        Ok(Looked { missing, change, after: Vec::new(), progress: whole.progress })
    }

    /// What stands in the place of an event that says that the answer failed, unless it stays.
    ///
    /// The upstream leaves out what the document and its clients count on: what the answer was to
    /// be, and the output that there is.
    fn failed_event(&self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        let event = Object::read(&frame.data)?;
        let given = event.raw("response")?.get().as_bytes();
        let failed = Object::read(given)?;
        let created = sse::frames(&self.created).next();
        let created = created.as_ref().and_then(|created| Object::read(&created.data));
        let created = created.as_ref().and_then(|created| created.object("response"));
        let mut whole = given.to_vec();
        let mut put = |name: &str, value: &[u8]| {
            if let Some(next) = object::with(&whole, name, value) {
                whole = next;
            }
        };
        let is_given = |name: &str| failed.fields().any(|(known, _)| known == name);
        for (name, value) in created.iter().flat_map(Object::fields) {
            if !is_given(name) {
                put(name, value.get().as_bytes());
            }
        }
        if failed.list("output").is_none_or(|output| output.is_empty()) {
            put("output", &self.items.output(EventKind::Failed));
        }
        if let Some(error) = failed.object("error")
            && let Some(message) = error.raw("message").map(RawValue::get)
            && let Cow::Owned(masked) = masked(message)
        {
            let mut clean = Vec::new();
            error.write_with("message", masked.as_bytes(), &mut clean);
            put("error", &clean);
        }
        let whole = mended(&whole, &self.own).unwrap_or(whole);
        with_member(frame, "response", &whole)
    }

    /// The event without its padding, if it has some that is not wanted.
    ///
    /// Inside a string the quotes of this pattern would be escaped, so it is always a member.
    fn bared(&self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        const PADDING: &[u8] = b",\"obfuscation\":\"";
        if !self.wanted.bare {
            return None;
        }
        let at = memmem::find(frame.raw, PADDING)?;
        let (before, padding) = frame.raw.split_at(at);
        let length = memchr::memchr(b'"', padding.get(PADDING.len()..)?)?;
        Some([before, padding.get(PADDING.len() + length + 1..)?].concat())
    }
}

/// What was seen in one event.
struct Looked {
    missing: Vec<Vec<u8>>,
    change: Option<Vec<u8>>,
    after: Vec<Vec<u8>>,
    progress: Progress,
}

impl Looked {
    /// An event before which nothing is missing.
    fn instead(change: Option<Vec<u8>>, progress: Progress) -> Self {
        Self { missing: Vec::new(), change, after: Vec::new(), progress }
    }
}

/// An event that was made here.
fn written(event: &[u8], number: i64) -> Vec<u8> {
    let Some(object) = Object::read(event) else { return Vec::new() };
    let name = object.text("type").unwrap_or_default();
    let mut out = format!("event: {name}\ndata: ").into_bytes();
    object.write_with("sequence_number", number.to_string().as_bytes(), &mut out);
    out.extend_from_slice(b"\n\n");
    out
}

/// `event` with a `sequence_number` that is higher by so many; `None` when it has none.
fn renumbered(event: &[u8], by: i64) -> Option<Vec<u8>> {
    let frame = sse::frames(event).next()?;
    let number = Object::read(&frame.data)?.integer("sequence_number")?;
    with_member(&frame, "sequence_number", number.saturating_add(by).to_string().as_bytes())
}

fn is_json(data: &[u8]) -> bool {
    is_object(data) && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

fn is_object(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    data.starts_with(b"{") && data.ends_with(b"}")
}

/// Collects one response object.
#[derive(Debug, Default)]
pub struct Collect {
    own: Own,
    items: Items,
    body: Vec<u8>,
}

impl Collect {
    pub fn new(names: ToolNames) -> Self {
        Self { own: Own { names, members: Members::new() }, ..Self::default() }
    }

    /// Its response object says `members` besides.
    #[must_use]
    pub fn with(mut self, members: Members) -> Self {
        self.own.members = members;
        self
    }

    /// Reads a run of whole events up to the one that ends the answer.
    ///
    /// # Errors
    ///
    /// When an event that carries output is not what its name says.
    pub fn read_run(&mut self, run: &[u8]) -> Result<Progress, Unreadable> {
        for frame in sse::frames(run) {
            let kind = EventKind::of(&frame);
            if matches!(kind, EventKind::Completed | EventKind::Incomplete) {
                let whole = end(&self.items, kind, &frame, &self.own)?;
                self.body = match whole.body {
                    Body::Rebuilt(body) | Body::AsItCame(body) => body,
                };
                return Ok(whole.progress);
            }
            if matches!(kind, EventKind::Failed | EventKind::Error) {
                return Ok(Progress::Failed(Bytes::copy_from_slice(&frame.data)));
            }
            if kind == EventKind::Created {
                self.items.of_response(&frame);
            }
            self.items.note(kind, &frame, &self.own.names)?;
        }
        Ok(Progress::More)
    }

    /// The response object, once the answer has ended.
    pub fn finish(self) -> Vec<u8> {
        self.body
    }
}

struct Whole {
    body: Body,
    progress: Progress,
}

/// A response object without the account's identity.
enum Body {
    AsItCame(Vec<u8>),
    Rebuilt(Vec<u8>),
}

/// What the last event says, with the streamed items in it if it has none itself.
fn end(items: &Items, kind: EventKind, frame: &Frame<'_>, own: &Own) -> Result<Whole, Unreadable> {
    let parts = || {
        let event: ResponseEvent<'_> = serde_json::from_slice(&frame.data).ok()?;
        Some((event.response, read::<ResponseHead<'_>>(event.response)?))
    };
    let (response, head) = parts().ok_or_else(|| unreadable(frame))?;
    let raw = response.get().as_bytes();
    let progress = End::progress(kind, &head, frame);
    let rebuilt = Object::read(raw).filter(|_| head.items().is_empty() && !items.is_empty());
    let rebuilt = rebuilt.map(|object| {
        let mut rebuilt = Vec::new();
        object.write_with("output", &items.output(kind), &mut rebuilt);
        rebuilt
    });
    let mended = mended(rebuilt.as_deref().unwrap_or(raw), own);
    let body = match mended.or(rebuilt) {
        Some(body) => Body::Rebuilt(body),
        None => Body::AsItCame(raw.to_vec()),
    };
    Ok(Whole { body, progress })
}

/// The response object `raw` without its owner and with the client's own names of its tools, or
/// `None` when that is what it is.
fn mended(raw: &[u8], own: &Own) -> Option<Vec<u8>> {
    let nobodys = without_owner(raw);
    let named = with_own_names(nobodys.as_deref().unwrap_or(raw), &own.names).or(nobodys);
    own.members.iter().fold(named, |mended, (name, value)| {
        object::with(mended.as_deref().unwrap_or(raw), name, value)
    })
}

/// The event of `frame` with its response mended, or `None` when there is nothing to mend.
fn response_event(frame: &Frame<'_>, own: &Own) -> Option<Vec<u8>> {
    let event = Object::read(&frame.data)?;
    with_member(frame, "response", &mended(event.raw("response")?.get().as_bytes(), own)?)
}

/// What stands in the place of the last event, unless it stays. With a `name` it is called that.
fn final_event(frame: &Frame<'_>, body: &Body, name: Option<&str>) -> Option<Vec<u8>> {
    match (body, name) {
        (Body::AsItCame(_), None) => None,
        (Body::Rebuilt(body), None) => with_member(frame, "response", body),
        (Body::AsItCame(body) | Body::Rebuilt(body), Some(name)) => {
            let literal = format!("\"{name}\"");
            let renamed = with_member(frame, "type", literal.as_bytes())?;
            let renamed = sse::frames(&renamed).next()?;
            with_member(&Frame { name: name.as_bytes(), ..renamed }, "response", body)
        }
    }
}

/// An `error` event that says the same flat and nested, whichever of the two it came as.
///
/// The published document has the members flat; SDKs raise an exception for the nested ones.
fn error_event(frame: &Frame<'_>, number: i64) -> Option<Vec<u8>> {
    let event = Object::read(&frame.data)?;
    let nested = event.object("error");
    let given = |name| nested.as_ref().unwrap_or(&event).raw(name).map_or("null", RawValue::get);
    let [code, message, param] = ["code", "message", "param"].map(given);
    let message = masked(message);
    // A flat event's `type` is its own name.
    let kind = if nested.is_some() { given("type") } else { "\"server_error\"" };
    let number = event.integer("sequence_number").unwrap_or(number);
    let data = format!(
        r#"{{"type":"error","code":{code},"message":{message},"param":{param},"sequence_number":{number},"error":{{"message":{message},"type":{kind},"param":{param},"code":{code}}}}}"#
    );
    Some(format!("event: error\ndata: {}\n\n", data.replace(['\n', '\r'], " ")).into_bytes())
}
