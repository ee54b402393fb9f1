//! Whether a slot can serve, and why not: as the choice goes by it, as documents have it, and as
//! people read it.

use std::time::Duration;

use jiff::Timestamp;

use super::{health::Why, window::Span};

/// Whether a slot can serve, and why not.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Ready,
    /// A window is used up, by what is known of it. It may serve all the same, after all others:
    /// nobody has been refused, and there may be credits.
    Spent {
        span: Span,
        resets_at: Option<Timestamp>,
    },
    /// Its rest is over; one request goes first.
    MayProbe,
    /// Another one is going first, and is waited for so long at most.
    Probed(Duration),
    /// All its places are taken.
    Full,
    Tried,
    /// Another one was asked for by name.
    NotAsked,
    Disabled,
    Paused,
    /// The owner does not let it serve this model, or the account does not have it.
    Model,
    Resting {
        why: Why,
        until: Timestamp,
        is_evident: bool,
    },
    /// The same, for want of anything left.
    Exhausted {
        span: Option<Span>,
        until: Timestamp,
        is_evident: bool,
    },
    Reserved {
        span: Span,
        left: f64,
        resets_at: Option<Timestamp>,
    },
}

impl Verdict {
    pub fn can_serve(&self) -> bool {
        matches!(self, Self::Ready | Self::Spent { .. } | Self::MayProbe)
    }

    /// Whether a place may become free without anything else changing.
    pub fn is_occupied(&self) -> bool {
        matches!(self, Self::Full | Self::Probed(_))
    }

    pub(super) fn is_rest(&self) -> bool {
        matches!(self, Self::Resting { .. } | Self::Exhausted { .. })
    }

    /// As documents have it.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::MayProbe => "may_probe",
            Self::Probed(_) => "probed",
            Self::Full => "full",
            Self::Tried => "tried",
            Self::NotAsked => "not_asked",
            Self::Disabled => "disabled",
            Self::Paused => "paused",
            Self::Model => "model",
            Self::Resting { .. } if self.needs_login() => "needs_login",
            Self::Resting { .. } => "cooling",
            Self::Exhausted { .. } | Self::Spent { .. } => "exhausted",
            Self::Reserved { .. } => "reserved",
        }
    }

    /// As people read it, without a full stop.
    pub fn sentence(&self) -> String {
        match self {
            Self::Ready => "it can serve".to_owned(),
            Self::MayProbe => "its rest is over and one request may go first".to_owned(),
            Self::Probed(_) => "one request is seeing whether it serves again".to_owned(),
            Self::Full => "all its places are taken".to_owned(),
            Self::Tried => "it was tried for this request".to_owned(),
            Self::NotAsked => "another slot was asked for".to_owned(),
            Self::Disabled => "it is disabled".to_owned(),
            Self::Paused => "it is paused".to_owned(),
            Self::Model => "it does not serve this model".to_owned(),
            Self::Resting { why, .. } => why.sentence(),
            Self::Spent { span, .. } => Why::UsageLimit { span: Some(*span) }.sentence(),
            Self::Exhausted { span, .. } => Why::UsageLimit { span: *span }.sentence(),
            Self::Reserved { span, left, .. } => {
                format!("what is left of the {} window ({left:.0} %) is reserved", span.as_str())
            }
        }
    }

    /// When it can be expected to serve again.
    pub fn until(&self) -> Option<Timestamp> {
        if self.needs_login() {
            return None;
        }
        match self {
            Self::Resting { until, .. } | Self::Exhausted { until, .. } => Some(*until),
            Self::Reserved { resets_at, .. } | Self::Spent { resets_at, .. } => *resets_at,
            Self::Ready
            | Self::MayProbe
            | Self::Probed(_)
            | Self::Full
            | Self::Tried
            | Self::NotAsked
            | Self::Disabled
            | Self::Paused
            | Self::Model => None,
        }
    }

    /// The same, if somebody else than we says so.
    pub fn evident_until(&self) -> Option<Timestamp> {
        let is_guess = matches!(
            self,
            Self::Resting { is_evident: false, .. } | Self::Exhausted { is_evident: false, .. }
        );
        self.until().filter(|_| !is_guess)
    }

    /// Whether only a new login helps.
    pub fn needs_login(&self) -> bool {
        matches!(self, Self::Resting { why: Why::NeedsLogin(_), .. })
    }
}
