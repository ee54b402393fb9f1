//! The accounts of the imitated upstream, and the tokens that speak for them.
//!
//! A named account is the same in every simulator: its ids follow from its name, and some names
//! stand for something (`team`, `fedramp`, `spent`, ...). Tokens are valid in the simulator that
//! made them.
//!
//! **Invariant:** a refresh token works once.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    id,
    sim::{
        gauge::Gauges,
        mint::{Mint, digest},
        tree::{list, object},
    },
};

/// The public client that every login belongs to.
pub(super) const CLIENT_ID: &str = "app_EMoamEEZ73f0CkXaXp7hrann";

/// One workspace of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) user: String,
    pub(super) email: String,
    pub(super) plan: &'static str,
    pub(super) fedramp: bool,
    pub(super) trouble: Trouble,
}

/// What is permanently wrong with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// 402 `deactivated_workspace`.
    Deactivated,
    /// Every turn is refused: 429 `usage_limit_reached`.
    Spent,
    /// Every turn begins and then fails with `usage_limit_reached`.
    SpentInside,
    /// Every turn of one model is refused, whose own limit is reached: 429 `usage_limit_reached`.
    Narrow,
    /// The plan has no Codex: 429 `usage_not_included`.
    NotIncluded,
    /// Every turn is refused: 503 `server_is_overloaded`.
    Overloaded,
    /// Every turn begins and then fails with `server_is_overloaded`.
    OverloadedInside,
}

impl Account {
    /// The account of this name. `team` is another workspace of the user of `first`.
    fn named(name: &str) -> Self {
        let (plan, trouble) = match name {
            "team" => ("team", Trouble::None),
            "fedramp" => ("enterprise", Trouble::None),
            "unknown-plan" => ("plan_of_tomorrow", Trouble::None),
            "free" => ("free", Trouble::None),
            "pro" => ("pro", Trouble::None),
            "deactivated" => ("team", Trouble::Deactivated),
            "spent" => ("plus", Trouble::Spent),
            "spent-stream" => ("plus", Trouble::SpentInside),
            "narrow" => ("pro", Trouble::Narrow),
            "not-included" => ("free", Trouble::NotIncluded),
            "overloaded" => ("plus", Trouble::Overloaded),
            "overloaded-stream" => ("plus", Trouble::OverloadedInside),
            _ => ("plus", Trouble::None),
        };
        let person = if name == "team" { "first" } else { name };
        let mut short = [0; 16];
        short.copy_from_slice(&digest(&[b"account", name.as_bytes()])[..16]);
        Self {
            name: name.to_owned(),
            id: id::uuid(short),
            user: format!("user-{}", &id::hex(&digest(&[b"user", person.as_bytes()]))[..24]),
            email: format!("{person}@simulator.example"),
            plan,
            fedramp: name == "fedramp",
            trouble,
        }
    }

    /// The claims of a token of this account, `lifetime` seconds from `now`.
    fn claims(&self, mint: &Mint, now: i64, lifetime: i64) -> Value {
        let organization = format!("org-{}", &self.user[5..]);
        object! {
            "aud": list![CLIENT_ID],
            "iss": "https://auth.openai.com",
            "sub": format!("auth0|{}", &self.user[5..]),
            "exp": now.saturating_add(lifetime),
            "iat": now,
            "rat": now,
            "auth_time": now,
            "auth_provider": "password",
            "jti": mint.uuid(),
            "sid": mint.uuid(),
            "email": self.email.as_str(),
            "email_verified": true,
            "https://api.openai.com/profile": object! {"email": self.email.as_str()},
            "https://api.openai.com/auth": object! {
                "chatgpt_account_id": self.id.as_str(),
                "chatgpt_user_id": self.user.as_str(),
                "user_id": self.user.as_str(),
                "chatgpt_plan_type": self.plan,
                "chatgpt_account_is_fedramp": self.fedramp,
                "chatgpt_subscription_active_start": "2026-01-01T00:00:00+00:00",
                "chatgpt_subscription_active_until": "2030-01-01T00:00:00+00:00",
                "chatgpt_subscription_last_checked": rfc3339(now),
                "organizations": list![object! {
                    "id": organization.as_str(),
                    "title": "Personal",
                    "role": "owner",
                    "is_default": true,
                }],
                "groups": list![],
                "organization_id": organization.as_str(),
                "completed_platform_onboarding": true,
                "is_org_owner": true,
            },
        }
    }
}

/// Whole seconds since 1970 as the upstream writes a time.
pub(super) fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// What a login or a refresh hands out.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    pub(super) id: String,
    pub(super) access: String,
    pub(super) refresh: String,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    Unknown,
    Expired,
    Revoked,
    Invalidated,
    /// A refresh token that has already been used.
    Spent,
}

#[derive(Clone, Debug)]
struct Issued {
    account: Arc<Account>,
    /// Whole seconds since 1970; refresh tokens have no end.
    until: Option<i64>,
    denied: Option<Denied>,
}

/// Who exists here and what was handed out to them.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    known: Vec<Arc<Account>>,
    access: HashMap<String, Issued>,
    refresh: HashMap<String, Issued>,
    /// By account id.
    gauges: HashMap<String, Gauges>,
}

impl Accounts {
    /// The account of this name, made when it is asked for the first time.
    pub(super) fn named(&mut self, name: &str) -> Arc<Account> {
        if let Some(account) = self.known.iter().find(|account| account.name == name) {
            return Arc::clone(account);
        }
        let account = Arc::new(Account::named(name));
        self.known.push(Arc::clone(&account));
        account
    }

    /// The account with this id, if it was ever asked for.
    pub(super) fn with_id(&self, id: &str) -> Option<Arc<Account>> {
        self.known.iter().find(|account| account.id == id).cloned()
    }

    /// The workspaces of a user, as far as they were ever asked for.
    pub(super) fn of_user(&self, user: &str) -> Vec<Arc<Account>> {
        self.known.iter().filter(|account| account.user == user).cloned().collect()
    }

    pub(super) fn issue(
        &mut self,
        account: &Arc<Account>,
        mint: &Mint,
        (now, ahead, lifetime): (i64, i64, i64),
    ) -> Tokens {
        let told = now.saturating_add(ahead);
        let claims = account.claims(mint, told, lifetime);
        let tokens = Tokens {
            // An id token is only looked at once; the hour is the usual life of one.
            id: mint.jwt(&account.claims(mint, told, 3600)),
            access: mint.jwt(&claims),
            refresh: format!("rt_{}", mint.hex(60)),
        };
        let issued = |until| Issued { account: Arc::clone(account), until, denied: None };
        let until = Some(now.saturating_add(lifetime));
        self.access.insert(tokens.access.clone(), issued(until));
        self.refresh.insert(tokens.refresh.clone(), issued(None));
        tokens
    }

    /// Whose access token this is.
    pub(super) fn holder(&self, token: &str, now: i64) -> Result<Arc<Account>, Denied> {
        let issued = self.access.get(token).ok_or(Denied::Unknown)?;
        issued.check(now)
    }

    /// Whose refresh token this is; it stays usable.
    pub(super) fn refreshable(&self, token: &str) -> Result<Arc<Account>, Denied> {
        self.refresh.get(token).ok_or(Denied::Unknown)?.check(0)
    }

    /// Marks a refresh token as used.
    pub(super) fn spend(&mut self, token: &str) {
        deny(self.refresh.get_mut(token), Denied::Spent);
    }

    /// Kills a token of either kind. Whether there was one.
    pub(super) fn revoke(&mut self, token: &str) -> bool {
        let found = self.access.contains_key(token) || self.refresh.contains_key(token);
        deny(self.access.get_mut(token), Denied::Revoked);
        deny(self.refresh.get_mut(token), Denied::Revoked);
        found
    }

    pub(super) fn deny_access(&mut self, why: Denied) {
        self.access.values_mut().for_each(|issued| deny(Some(issued), why));
    }

    pub(super) fn deny_refresh(&mut self, why: Denied) {
        self.refresh.values_mut().for_each(|issued| deny(Some(issued), why));
    }

    /// How an account's windows stand at `now`.
    pub(super) fn gauges(&mut self, account: &Account, now: i64) -> &mut Gauges {
        let gauges = self.gauges.entry(account.id.clone()).or_default();
        gauges.settle(now);
        gauges
    }
}

impl Issued {
    fn check(&self, now: i64) -> Result<Arc<Account>, Denied> {
        match (self.denied, self.until) {
            (Some(why), _) => Err(why),
            (None, Some(until)) if until <= now => Err(Denied::Expired),
            (None, _) => Ok(Arc::clone(&self.account)),
        }
    }
}

/// The first reason stays: what was spent once is spent, whatever happens later.
fn deny(issued: Option<&mut Issued>, why: Denied) {
    if let Some(issued) = issued {
        issued.denied.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_kinds_of_accounts() {
        let first = Account::named("first");
        let team = Account::named("team");
        assert_eq!(first, Account::named("first"), "the same in every simulator");
        assert_eq!((first.user.as_str(), team.plan), (team.user.as_str(), "team"));
        assert_ne!(first.id, team.id);
        assert_ne!(first.user, Account::named("second").user);
        assert!(Account::named("fedramp").fedramp);
        assert_eq!(Account::named("spent").trouble, Trouble::Spent);
    }

    #[test]
    fn tokens_end_for_the_reason_that_came_first() {
        let mint = Mint::seeded([0; 16]);
        let mut accounts = Accounts::default();
        let account = accounts.named("first");
        let tokens = accounts.issue(&account, &mint, (1000, 0, 60));
        assert_eq!(accounts.holder(&tokens.access, 1059), Ok(Arc::clone(&account)));
        assert_eq!(accounts.holder(&tokens.access, 1060), Err(Denied::Expired));
        assert_eq!(accounts.holder("other", 0), Err(Denied::Unknown));
        accounts.spend(&tokens.refresh);
        accounts.deny_refresh(Denied::Invalidated);
        assert_eq!(accounts.refreshable(&tokens.refresh), Err(Denied::Spent));
        assert!(accounts.revoke(&tokens.access));
        assert_eq!(accounts.holder(&tokens.access, 1000), Err(Denied::Revoked));
    }
}
