//! Whose fault a failure is, and what follows: for the slot, and for the request.
//!
//! An account's own failures are held against its slot, and another may do. The request's are the
//! same everywhere and surface at once. The service's may pass, here or with another account, and
//! are held against nobody. Where it is not certain that nothing was done with a request, it is
//! not sent again: it may have been paid for.

use jiff::{SignedDuration, Timestamp};

use super::Refused;
use crate::{
    auth::LoginError,
    slot::health::{Fault, Why},
    upstream::failure::{Deadline, Failure},
};

/// What becomes of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Another slot may serve it. If there is none, the client is told.
    Elsewhere,
    /// The same, and it may pass by itself.
    ElsewhereOrLater,
    /// It may pass by itself; another slot would fare alike.
    Later,
    /// The client is told.
    Surface,
}

impl Course {
    pub fn of(refused: &Refused) -> Self {
        match refused {
            // Plans differ in their models, and logins are an account's own.
            Refused::Login(_) | Refused::Model { .. } => Self::Elsewhere,
            Refused::NoSlot(_) => Self::Surface,
            Refused::Attempt(failure) => Self::of_failure(failure),
        }
    }

    fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Unauthorized { .. }
            | Failure::Workspace { .. }
            | Failure::UsageLimit(_)
            | Failure::NotIncluded { .. }
            | Failure::NoImages
            | Failure::ModelNotFound(_)
            | Failure::RateLimited { .. } => Self::Elsewhere,
            // It refuses to say more, so nothing speaks for another outcome elsewhere; or it took the
            // request and then failed in a way of its own, so it may have been paid for.
            Failure::Service(fault) if !fault.may_pass() => Self::Surface,
            Failure::Overloaded { .. } | Failure::Capacity { .. } | Failure::Service(_) => {
                Self::ElsewhereOrLater
            }
            // Nothing was sent.
            Failure::Connect(_) | Failure::Timeout(Deadline::Connect) => Self::Later,
            Failure::Request(_)
            | Failure::Challenge { .. }
            | Failure::Timeout(_)
            | Failure::Cut(_)
            | Failure::TooLarge { .. } => Self::Surface,
        }
    }

    pub fn may_pass(self) -> bool {
        matches!(self, Self::ElsewhereOrLater | Self::Later)
    }
}

/// What is held against the slot that failed so, if anything.
pub fn of(refused: &Refused, now: Timestamp) -> Option<Fault> {
    match refused {
        Refused::Login(error) => Some(of_login(error)),
        Refused::Attempt(failure) => of_failure(failure, now),
        Refused::Model { .. } | Refused::NoSlot(_) => None,
    }
}

fn of_login(error: &LoginError) -> Fault {
    let why = match error {
        LoginError::Transient { .. } | LoginError::Storage { .. } => {
            Why::LoginTrouble(error.to_string())
        }
        LoginError::Sealed { why } if why.may_pass() => Why::LoginTrouble(error.to_string()),
        LoginError::Missing
        | LoginError::Incomplete(_)
        | LoginError::AccountMismatch
        | LoginError::OtherIssuer
        | LoginError::Terminal { .. }
        | LoginError::Sealed { .. } => Why::NeedsLogin(error.to_string()),
    };
    Fault { why, until: None }
}

/// The same of a failure of the upstream, whenever it comes.
pub fn of_failure(failure: &Failure, now: Timestamp) -> Option<Fault> {
    let why = match failure {
        Failure::Unauthorized { .. } => Why::Rejected,
        Failure::Workspace { .. } => Why::Workspace,
        Failure::UsageLimit(limit) => match limit.narrower() {
            Some(limit) => Why::ModelLimit { limit: limit.to_owned() },
            None => Why::UsageLimit { span: None },
        },
        Failure::NotIncluded { .. } => Why::NotIncluded,
        Failure::NoImages => Why::NoImages,
        Failure::RateLimited { .. } => Why::RateLimit,
        Failure::Request(_)
        | Failure::ModelNotFound(_)
        | Failure::Overloaded { .. }
        | Failure::Capacity { .. }
        | Failure::Challenge { .. }
        | Failure::Service(_)
        | Failure::Connect(_)
        | Failure::Timeout(_)
        | Failure::Cut(_)
        | Failure::TooLarge { .. } => return None,
    };
    let wait = failure.retry_after(now).and_then(|wait| SignedDuration::try_from(wait).ok());
    Some(Fault { why, until: wait.and_then(|wait| now.checked_add(wait).ok()) })
}
