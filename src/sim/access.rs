//! Who may come in: the bearer, the account header, and accounts that are shut.

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};

use crate::sim::{
    Simulator,
    account::{Account, Denied, Trouble},
    answer::{Answer, deactivated, unauthorized, wrong_workspace},
    request::header,
    world::{Need, Unauthorized, World},
};

impl Simulator {
    /// The account that a request speaks for.
    pub(super) fn admit(&self, headers: &HeaderMap, world: &World) -> Result<Arc<Account>, Answer> {
        let token = header(headers, &[AUTHORIZATION.as_str()]);
        let token = token.as_deref().and_then(|value| value.strip_prefix("Bearer "));
        let now = self.unix();
        let account = match token {
            None => Err(Denied::Unknown),
            Some(token) => self.accounts().holder(token, now),
        };
        let account = account.map_err(|why| denied(why, world))?;
        match header(headers, &["chatgpt-account-id"]) {
            Some(id) if id == account.id => {}
            None if world.account_header == Need::Optional => {}
            Some(_) | None => return Err(wrong_workspace()),
        }
        if account.trouble == Trouble::Deactivated {
            return Err(deactivated());
        }
        Ok(account)
    }
}

fn denied(why: Denied, world: &World) -> Answer {
    let detail = match world.unauthorized {
        Unauthorized::Mixed => why == Denied::Unknown,
        Unauthorized::Error => false,
        Unauthorized::Detail => true,
    };
    if detail {
        return Answer::detail(401, "Unauthorized");
    }
    let (code, message) = match why {
        Denied::Expired => {
            ("token_expired", "Your authentication token has expired. Please try signing in again.")
        }
        Denied::Revoked => (
            "token_revoked",
            "Your authentication token has been revoked. Please try signing in again.",
        ),
        Denied::Unknown | Denied::Invalidated | Denied::Spent => (
            "token_invalidated",
            "Your authentication token has been invalidated. Please try signing in again.",
        ),
    };
    unauthorized(code, message)
}
