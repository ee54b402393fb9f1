//! Who may come in: the bearer, the account header, accounts that are shut, and which workspaces
//! somebody has.

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use serde_json::Value;

use crate::sim::{
    Simulator,
    account::{Account, Denied, Trouble},
    answer::{Answer, deactivated, unauthorized, wrong_workspace},
    request::header,
    tree::object,
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

    /// `GET /backend-api/wham/accounts/check`: the workspaces of whoever asks.
    pub(super) fn workspaces(&self, headers: &HeaderMap) -> Result<Answer, Answer> {
        let account = self.admit(headers, &self.world())?;
        let workspaces = self.accounts().of_user(&account.user);
        let ids: Vec<_> = workspaces.iter().map(|workspace| workspace.id.as_str()).collect();
        let entries: Vec<_> =
            workspaces.iter().map(|workspace| workspace_entry(workspace)).collect();
        Ok(Answer::json(
            200,
            &object! {
                "accounts": entries,
                "account_ordering": ids,
                "default_account_id": account.id.as_str(),
            },
        ))
    }
}

fn workspace_entry(workspace: &Account) -> Value {
    let is_personal = !matches!(workspace.plan, "team" | "enterprise");
    object! {
        "id": workspace.id.as_str(),
        "name": workspace.name.as_str(),
        "structure": if is_personal { "personal" } else { "workspace" },
        "plan_type": workspace.plan,
        "profile_picture_url": Value::Null,
        "workspace_backend_origin": "NO_CONSTRAINT",
        "account_routing_override": "NO_CONSTRAINT",
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
