//! What one turn is to be like: the grammar of markers, and the same behaviors as values.
//!
//! A marker is `[sim NAME]` or `[sim NAME: ARGUMENT]`; several combine into one [`Step`]. Every
//! argument has a default, so that a bare name (in a model's slug, for instance) is enough.
//!
//! **Invariant:** a name that is not known is an error, never ignored.
//!
//! Not here: what the behaviors look like on the wire (`turn`, `framing`, `answer`).

use std::{str::FromStr, time::Duration};

/// The largest `big` and the longest `deltas`; more would be a mistake of the test.
const MOST: u64 = 64 << 20;

/// How one inference request is answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    pub(super) said: Vec<Said>,
    pub(super) shape: Shape,
    pub(super) ending: Ending,
    pub(super) instead: Option<Instead>,
}

/// A marker that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    #[error("the simulator knows no behavior {0:?}")]
    UnknownName(String),
    #[error("the behavior {name:?} does not take {argument:?}")]
    Argument { name: String, argument: String },
}

/// One piece of output.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Text(String),
    /// So many words, one delta each.
    Words(u64),
    /// So many bytes in one delta.
    Big(u64),
    Separators,
    /// With so many summary parts.
    Reasoning(u64),
    Commentary,
    Refusal,
    Search,
    Image,
    Compaction,
    /// A function by its name or the first one, with these arguments or the least that fit.
    Call {
        name: Option<String>,
        arguments: Option<String>,
    },
    Calls(u64),
    /// A custom tool by its name or the first one.
    Custom(Option<String>),
}

impl Said {
    /// Whether this asks the client to run something.
    pub(super) fn is_call(&self) -> bool {
        match self {
            Self::Call { .. } | Self::Calls(_) | Self::Custom(_) => true,
            Self::Text(_)
            | Self::Words(_)
            | Self::Big(_)
            | Self::Separators
            | Self::Reasoning(_)
            | Self::Commentary
            | Self::Refusal
            | Self::Search
            | Self::Image
            | Self::Compaction => false,
        }
    }

    /// Whether this only leads up to an answer.
    pub(super) fn is_preface(&self) -> bool {
        matches!(self, Self::Reasoning(_) | Self::Commentary)
    }
}

/// How the stream is cut into time, events and bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    pub(super) slow: Option<Duration>,
    pub(super) pause: Option<Duration>,
    pub(super) headers_pause: Option<Duration>,
    pub(super) chunk: Option<usize>,
    /// Silence between chunks, wherever events end.
    pub(super) drip: Option<Duration>,
    /// Comments so far apart where the stream stalls.
    pub(super) hum: Option<Duration>,
    pub(super) end_turn: Option<bool>,
    quirks: Vec<Quirk>,
}

impl Shape {
    pub(super) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    fn add(&mut self, quirk: Quirk) {
        if !self.has(quirk) {
            self.quirks.push(quirk);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quirk {
    ArgumentsOnlyDone,
    Comments,
    Cr,
    Crlf,
    DetailsNull,
    DoneWithoutAdded,
    Filled,
    ItemsMissing,
    MultiData,
    NoDeltas,
    NoEventLines,
    NoIndex,
    UnknownEvents,
}

/// How the stream ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Ending {
    #[default]
    Completed,
    /// Created, in progress, completed, and nothing else.
    Empty,
    /// `incomplete_details.reason`.
    Incomplete(&'static str),
    Fault {
        code: String,
        form: Form,
        at: At,
    },
    Break {
        how: Break,
        at: At,
    },
    /// The stream ends in the middle of the last event before this.
    MidEvent(At),
    /// The connection stays open long after `response.completed`.
    CloseLate,
}

impl Ending {
    /// Whether the stream ends in a failure that it tells.
    pub(super) fn is_fault(&self) -> bool {
        matches!(self, Self::Fault { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Failed,
    Nested,
    Flat,
    ErrorThenFailed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Right after `response.in_progress`.
    Start,
    /// After the last delta of text, before anything is done.
    Text,
    /// After so many events of the whole stream.
    Events(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    Cut,
    Stall,
    Reset,
}

/// An answer that is no stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Instead {
    Status(u16),
    /// Without a body.
    Blank(u16),
    Limit(Limit),
    UsageNotIncluded,
    RateLimit,
    Capacity,
    Overloaded,
    Unauthorized {
        detail: bool,
    },
    Forbidden,
    Workspace,
    Deactivated,
    Cloudflare(u16),
    Html(u16),
    /// 400 `Unsupported parameter`.
    Refuse(String),
}

/// What a 429 tells about the end of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// The moment and the seconds until then.
    Both(u64),
    SecondsOnly(u64),
    Bare,
}

/// When a scripted limit ends, unless it says otherwise.
pub(super) const LIMIT_SECONDS: u64 = 3600;

impl Step {
    /// Reads markers, or the inside of one: `cut-after-text`, `say: hello`, `[sim slow: 5] [sim cut]`.
    ///
    /// # Errors
    ///
    /// When a name is not known or its argument does not fit.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        if let Some(step) = Self::in_text(text)? {
            return Ok(step);
        }
        let mut step = Self::default();
        step.apply(text)?;
        Ok(step)
    }

    /// A turn that says `text`.
    pub fn text(text: impl Into<String>) -> Self {
        Self { said: vec![Said::Text(text.into())], ..Self::default() }
    }

    /// What the markers in `text` ask for; nothing when there are none.
    pub(super) fn in_text(text: &str) -> Result<Option<Self>, ScriptError> {
        let mut step = Self::default();
        let mut found = false;
        for marker in markers(text) {
            step.apply(marker)?;
            found = true;
        }
        Ok(found.then_some(step))
    }

    /// Adds what `[sim MARKER]` asks for.
    pub(super) fn apply(&mut self, marker: &str) -> Result<(), ScriptError> {
        let (name, argument) = match marker.split_once(':') {
            Some((name, argument)) => (name.trim(), argument.trim()),
            None => (marker.trim(), ""),
        };
        let argument = Argument { name, text: argument };
        let known = self.apply_said(&argument)?
            || self.apply_shape(&argument)?
            || self.apply_ending(&argument)?
            || self.apply_instead(&argument)?;
        if known { Ok(()) } else { Err(ScriptError::UnknownName(name.to_owned())) }
    }

    fn apply_said(&mut self, argument: &Argument<'_>) -> Result<bool, ScriptError> {
        let said = match argument.name {
            "say" => Said::Text(argument.text.to_owned()),
            "deltas" => Said::Words(argument.number(8)?),
            "big" => Said::Big(argument.number(5 << 20)?),
            "separators" => Said::Separators,
            "reasoning" => Said::Reasoning(argument.number(2)?),
            "reasoning-silent" => Said::Reasoning(0),
            "commentary" => Said::Commentary,
            "refusal" => Said::Refusal,
            "search" => Said::Search,
            "image" => Said::Image,
            "compaction" => Said::Compaction,
            "call" => argument.call(),
            "calls" => Said::Calls(argument.number(2)?),
            "custom" => Said::Custom(argument.optional()),
            _ => return Ok(false),
        };
        self.said.push(said);
        Ok(true)
    }

    fn apply_shape(&mut self, argument: &Argument<'_>) -> Result<bool, ScriptError> {
        let shape = &mut self.shape;
        match argument.name {
            "slow" => shape.slow = Some(argument.milliseconds(50)?),
            "pause" => shape.pause = Some(argument.milliseconds(1000)?),
            "headers-pause" => shape.headers_pause = Some(argument.milliseconds(1000)?),
            "chopped" => shape.chunk = Some(1),
            "chunks" => shape.chunk = Some(argument.size(7)?),
            "hum" => shape.hum = Some(argument.milliseconds(1000)?),
            "drip" => shape.drip = Some(argument.milliseconds(50)?),
            "end-turn" => shape.end_turn = Some(argument.boolean()?),
            "arguments-only-done" => shape.add(Quirk::ArgumentsOnlyDone),
            "comments" => shape.add(Quirk::Comments),
            "cr" => shape.add(Quirk::Cr),
            "crlf" => shape.add(Quirk::Crlf),
            "details-null" => shape.add(Quirk::DetailsNull),
            "done-without-added" => shape.add(Quirk::DoneWithoutAdded),
            "filled" => shape.add(Quirk::Filled),
            "items-missing" => shape.add(Quirk::ItemsMissing),
            "multi-data" => shape.add(Quirk::MultiData),
            "no-deltas" => shape.add(Quirk::NoDeltas),
            "no-event-lines" => shape.add(Quirk::NoEventLines),
            "no-index" => shape.add(Quirk::NoIndex),
            "unknown-events" => shape.add(Quirk::UnknownEvents),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn apply_ending(&mut self, argument: &Argument<'_>) -> Result<bool, ScriptError> {
        self.ending = match argument.name {
            "incomplete" => Ending::Incomplete(argument.reason()?),
            "failed" => argument.fault(Form::Failed, At::Start),
            "error" => argument.fault(Form::Nested, At::Start),
            "error-flat" => argument.fault(Form::Flat, At::Start),
            "error-then-failed" => argument.fault(Form::ErrorThenFailed, At::Start),
            "fail-after-text" => argument.fault(Form::Failed, At::Text),
            "error-after-text" => argument.fault(Form::Nested, At::Text),
            "cut" => Ending::Break { how: Break::Cut, at: argument.at(At::Start)? },
            "cut-after-text" => Ending::Break { how: Break::Cut, at: At::Text },
            "cut-mid-event" => Ending::MidEvent(argument.at(At::Text)?),
            "stall" => Ending::Break { how: Break::Stall, at: argument.at(At::Start)? },
            "stall-after-text" => Ending::Break { how: Break::Stall, at: At::Text },
            "reset" => Ending::Break { how: Break::Reset, at: argument.at(At::Start)? },
            "reset-after-text" => Ending::Break { how: Break::Reset, at: At::Text },
            "close-late" => Ending::CloseLate,
            "empty" => Ending::Empty,
            _ => return Ok(false),
        };
        Ok(true)
    }

    fn apply_instead(&mut self, argument: &Argument<'_>) -> Result<bool, ScriptError> {
        self.instead = Some(match argument.name {
            "status" => Instead::Status(argument.status(500)?),
            "blank" => Instead::Blank(argument.status(500)?),
            "limit" => Instead::Limit(argument.limit()?),
            "usage-not-included" => Instead::UsageNotIncluded,
            "rate-limit" => Instead::RateLimit,
            "capacity" => Instead::Capacity,
            "overloaded" => Instead::Overloaded,
            "unauthorized" => Instead::Unauthorized { detail: argument.is_detail()? },
            "forbidden" => Instead::Forbidden,
            "workspace" => Instead::Workspace,
            "deactivated" => Instead::Deactivated,
            "cloudflare" => Instead::Cloudflare(argument.status(403)?),
            "html" => Instead::Html(argument.status(502)?),
            "refuse" => Instead::Refuse(argument.optional().unwrap_or("temperature".to_owned())),
            _ => return Ok(false),
        });
        Ok(true)
    }
}

impl FromStr for Step {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        Self::parse(text)
    }
}

/// The insides of the markers in `text`, in order.
///
/// A marker reaches to the bracket that closes it, so that an argument may hold pairs of brackets;
/// where they do not pair, to the first one.
fn markers(text: &str) -> Vec<&str> {
    const HEAD: &str = "[sim ";
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(HEAD) {
        let inside = &rest[at + HEAD.len()..];
        let Some(end) = pairing_end(inside).or_else(|| inside.find(']')) else { break };
        found.push(&inside[..end]);
        rest = &inside[end..];
    }
    found
}

/// Where the bracket is that closes one opened before `inside`.
fn pairing_end(inside: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, character) in inside.char_indices() {
        match character {
            '[' => depth += 1,
            ']' if depth == 0 => return Some(at),
            ']' => depth -= 1,
            _ => {}
        }
    }
    None
}

struct Argument<'a> {
    name: &'a str,
    /// Empty when there was none.
    text: &'a str,
}

impl Argument<'_> {
    fn misfit(&self) -> ScriptError {
        ScriptError::Argument { name: self.name.to_owned(), argument: self.text.to_owned() }
    }

    fn optional(&self) -> Option<String> {
        (!self.text.is_empty()).then(|| self.text.to_owned())
    }

    fn number(&self, default: u64) -> Result<u64, ScriptError> {
        if self.text.is_empty() {
            return Ok(default);
        }
        self.text.parse().ok().filter(|number| *number <= MOST).ok_or_else(|| self.misfit())
    }

    fn size(&self, default: u64) -> Result<usize, ScriptError> {
        let number = self.number(default)?;
        usize::try_from(number).ok().filter(|size| *size > 0).ok_or_else(|| self.misfit())
    }

    fn at(&self, default: At) -> Result<At, ScriptError> {
        if self.text.is_empty() {
            return Ok(default);
        }
        let shown = self.number(1)?;
        usize::try_from(shown).map(At::Events).map_err(|_| self.misfit())
    }

    fn milliseconds(&self, default: u64) -> Result<Duration, ScriptError> {
        self.number(default).map(Duration::from_millis)
    }

    fn boolean(&self) -> Result<bool, ScriptError> {
        match self.text {
            "" | "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.misfit()),
        }
    }

    fn status(&self, default: u16) -> Result<u16, ScriptError> {
        if self.text.is_empty() {
            return Ok(default);
        }
        let status = self.text.parse().map_err(|_| self.misfit())?;
        if (400..600).contains(&status) { Ok(status) } else { Err(self.misfit()) }
    }

    fn reason(&self) -> Result<&'static str, ScriptError> {
        match self.text {
            "" | "max_output_tokens" => Ok("max_output_tokens"),
            "content_filter" => Ok("content_filter"),
            _ => Err(self.misfit()),
        }
    }

    fn fault(&self, form: Form, at: At) -> Ending {
        let code = self.optional().unwrap_or("server_is_overloaded".to_owned());
        Ending::Fault { code, form, at }
    }

    fn limit(&self) -> Result<Limit, ScriptError> {
        match self.text {
            "seconds-only" => Ok(Limit::SecondsOnly(LIMIT_SECONDS)),
            "bare" => Ok(Limit::Bare),
            _ => self.number(LIMIT_SECONDS).map(Limit::Both),
        }
    }

    fn is_detail(&self) -> Result<bool, ScriptError> {
        match self.text {
            "" | "error" => Ok(false),
            "detail" => Ok(true),
            _ => Err(self.misfit()),
        }
    }

    /// `NAME` or `NAME {"arguments": ...}`.
    fn call(&self) -> Said {
        let (name, arguments) = match self.text.split_once(char::is_whitespace) {
            Some((name, arguments)) => (name, Some(arguments.trim().to_owned())),
            None => (self.text, None),
        };
        Said::Call { name: (!name.is_empty()).then(|| name.to_owned()), arguments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name of the grammar. Tests in other languages are written against this list.
    const NAMES: &str = "say deltas big separators reasoning reasoning-silent commentary refusal \
        search image compaction call calls custom arguments-only-done slow pause headers-pause crlf \
        cr chopped chunks drip hum comments unknown-events no-event-lines multi-data no-index \
        done-without-added no-deltas details-null filled items-missing end-turn incomplete failed \
        error error-flat error-then-failed fail-after-text error-after-text cut cut-mid-event \
        cut-after-text stall stall-after-text reset reset-after-text close-late empty status blank limit \
        usage-not-included rate-limit capacity overloaded unauthorized forbidden workspace \
        deactivated cloudflare html refuse";

    #[test]
    fn every_name_is_known_without_an_argument() {
        for name in NAMES.split_whitespace() {
            let step = Step::parse(name).expect(name);
            assert_eq!(Step::parse(&format!("do it [sim {name}] please")), Ok(step), "{name}");
        }
    }

    #[test]
    fn markers_combine_in_order() {
        let step = Step::parse("x [sim say: a [b] c] y [sim calls: 3][sim slow: 20] [sim cut]");
        let expected = Step {
            said: vec![Said::Text("a [b] c".to_owned()), Said::Calls(3)],
            shape: Shape { slow: Some(Duration::from_millis(20)), ..Shape::default() },
            ending: Ending::Break { how: Break::Cut, at: At::Start },
            instead: None,
        };
        assert_eq!(step, Ok(expected));
    }

    #[test]
    fn a_marker_without_pairs_ends_at_the_first_bracket() {
        assert_eq!(markers("[sim say: :-[ ] rest"), ["say: :-[ "]);
        assert_eq!(markers("[simulator] [sim cut"), Vec::<&str>::new());
        assert_eq!(markers("[sim say: [sim cut]]"), ["say: [sim cut]"]);
    }

    #[test]
    fn arguments_are_read_and_checked() {
        let call = |name: &str, arguments: &str| Said::Call {
            name: Some(name.to_owned()),
            arguments: Some(arguments.to_owned()),
        };
        let said = |text| Step::parse(text).expect("known").said;
        assert_eq!(said(r#"call: run {"a":[1]}"#), [call("run", r#"{"a":[1]}"#)]);
        assert_eq!(
            Step::parse("limit: 30").expect("known").instead,
            Some(Instead::Limit(Limit::Both(30)))
        );
        for wrong in ["status: 200", "status: x", "chunks: 0", "incomplete: x", "slow: -1"] {
            let error = Step::parse(wrong).expect_err(wrong);
            assert!(matches!(error, ScriptError::Argument { .. }), "{wrong}: {error}");
        }
        assert_eq!(Step::parse("wat: 1"), Err(ScriptError::UnknownName("wat".to_owned())));
        assert!(Step::in_text("[sim wat]").is_err());
        assert_eq!(Step::in_text("no marker [simple]"), Ok(None));
    }
}
