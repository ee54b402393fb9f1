//! Usage resets that the upstream grants, as documents: for the routes and for the commands.
//!
//! A reset is worth something and is gone once it was used. Nothing here uses one but on the owner's
//! word, under an id with which it counts once.

use serde::{Deserialize, Serialize};

use super::{Refused, Relay, slots::Account};
use crate::{
    slot::SlotId,
    upstream::resets::{self, Granted, Outcome, Redeemed},
};

/// What is granted to each account.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ResetList {
    pub object: String,
    pub available_count: i64,
    pub accounts: Vec<ResetEntry>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ResetEntry {
    pub slug: String,
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets: Option<Granted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What came of using one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Redemption {
    pub object: String,
    pub slug: String,
    pub email: Option<String>,
    pub outcome: String,
    pub known_outcome: bool,
    pub reset_applied: bool,
    pub windows_reset: Option<i64>,
    pub credit_id: Option<String>,
    pub redeem_request_id: String,
}

impl Relay {
    /// What is granted to all accounts, or to `only`.
    pub async fn reset_list(&self, only: Option<&SlotId>) -> ResetList {
        let mut accounts = Vec::new();
        for (id, account) in self.slots.accounts() {
            if only.is_some_and(|only| *only != id) {
                continue;
            }
            let (resets, error) = match self.granted(&account).await {
                Ok(granted) => (Some(granted), None),
                Err(refused) => (None, Some(refused.to_string())),
            };
            let email = email(&account).await;
            accounts.push(ResetEntry { slug: id.to_string(), email, resets, error });
        }
        let granted = accounts.iter().filter_map(|entry| entry.resets.as_ref());
        let available_count = granted.map(|granted| granted.available_count).sum();
        ResetList { object: "accounts.resets".to_owned(), available_count, accounts }
    }

    async fn granted(&self, account: &Account) -> Result<Granted, Refused> {
        let credential = account.login.credential().await?;
        resets::list(&self.upstream, &credential).await.map_err(Refused::Attempt)
    }

    /// Uses a reset of `id`, once for each `request_id`.
    ///
    /// # Errors
    ///
    /// When the login is of no use or the upstream does not answer. It is then not known whether
    /// one was used; the same `request_id` finds out.
    pub async fn redeem(
        &self,
        id: &SlotId,
        account: &Account,
        request_id: &str,
        credit_id: Option<&str>,
    ) -> Result<Redemption, Refused> {
        let credential = account.login.credential().await?;
        let redeemed = resets::redeem(&self.upstream, &credential, request_id, credit_id).await;
        let Redeemed { outcome, windows_reset, credit_id } = redeemed.map_err(Refused::Attempt)?;
        // What was held against the slot may be over, and its usage is another one now.
        self.slots.change(|pool, now| pool.doubt(Some(id), now));
        self.refresh_usage(Some(id)).await;
        Ok(Redemption {
            object: "accounts.reset_redeem".to_owned(),
            slug: id.to_string(),
            email: email(account).await,
            known_outcome: !matches!(outcome, Outcome::Other(_)),
            reset_applied: outcome == Outcome::Reset,
            outcome: outcome.as_str().to_owned(),
            windows_reset,
            credit_id,
            redeem_request_id: request_id.to_owned(),
        })
    }
}

async fn email(account: &Account) -> Option<String> {
    let store = account.login.store().clone();
    let described = tokio::task::spawn_blocking(move || store.describe()).await;
    described.ok()?.ok()??.email
}
