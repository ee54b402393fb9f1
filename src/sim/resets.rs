//! Usage resets that an account was granted: the list of them, and spending one.
//!
//! **Invariant:** what is asked for under one id is done once, however often it is asked for.

use std::collections::HashMap;

use http::HeaderMap;
use serde_json::Value;

use crate::{
    id,
    sim::{
        Simulator,
        account::{Account, rfc3339},
        answer::{Answer, Wrong},
        limits::Meter,
        mint::digest,
        tree::{count, object, text},
        world::World,
    },
};

const KIND: &str = "codex_rate_limits";

/// How many an account can have; more would be a mistake of the test.
const MOST: u64 = 100;

/// What was spent, by account id.
#[derive(Debug, Default)]
pub(super) struct Redemptions(HashMap<String, Vec<Redemption>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Redemption {
    request_id: String,
    credit_id: String,
    /// Whole seconds since 1970.
    at: i64,
}

/// What a request asks for.
#[derive(Debug)]
struct Wanted {
    request_id: String,
    /// Any, if it names none.
    credit_id: Option<String>,
}

/// What becomes of a request.
#[derive(Debug)]
enum Outcome {
    Reset(Redemption),
    AlreadyRedeemed(Redemption),
    NoCredit,
    NothingToReset,
}

impl Simulator {
    /// `GET /backend-api/wham/rate-limit-reset-credits`.
    pub(super) fn resets(&self, headers: &HeaderMap) -> Result<Answer, Answer> {
        let world = self.world();
        let account = self.admit(headers, &world)?;
        let redemptions = self.redemptions();
        let credits: Vec<_> =
            credit_ids(&account, &world).map(|id| redemptions.credit(&account, id)).collect();
        Ok(Answer::json(
            200,
            &object! {
                "credits": credits,
                "available_count": redemptions.left(&account, &world),
                "total_earned_count": world.reset_credits.min(MOST),
                "immediate_reset_purchase_eligible": false,
            },
        ))
    }

    /// `POST /backend-api/wham/rate-limit-reset-credits/consume`.
    pub(super) fn redeem(&self, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Answer> {
        let world = self.world();
        let account = self.admit(headers, &world)?;
        let wanted = Wanted::read(body)?;
        let meter = self.meter(&account, &world);
        let outcome = self.redemptions().redeem(&meter, &wanted);
        let (code, spent, windows) = match outcome {
            Outcome::Reset(spent) => {
                self.accounts().gauges(&account, meter.now).reset();
                ("reset", Some(spent), meter.shown())
            }
            Outcome::AlreadyRedeemed(spent) => ("already_redeemed", Some(spent), 0),
            Outcome::NoCredit => ("no_credit", None, 0),
            Outcome::NothingToReset => ("nothing_to_reset", None, 0),
        };
        let credit = spent.map(|spent| {
            object! {
                "id": spent.credit_id,
                "reset_type": KIND,
                "status": "redeemed",
                "redeemed_at": rfc3339(spent.at),
            }
        });
        let body = object! {"code": code, "credit": credit, "windows_reset": windows};
        Ok(Answer::json(200, &body))
    }
}

impl Redemptions {
    /// How many resets an account may still spend.
    pub(super) fn left(&self, account: &Account, world: &World) -> u64 {
        count(self.open(account, world).count())
    }

    fn of(&self, account: &Account) -> &[Redemption] {
        self.0.get(&account.id).map_or(&[], Vec::as_slice)
    }

    /// The resets that are not spent.
    fn open(&self, account: &Account, world: &World) -> impl Iterator<Item = String> {
        let spent = self.of(account);
        credit_ids(account, world).filter(move |id| spent.iter().all(|one| one.credit_id != *id))
    }

    fn redeem(&mut self, meter: &Meter<'_>, wanted: &Wanted) -> Outcome {
        let account = meter.account;
        let is_it = |id: &String| wanted.credit_id.as_ref().is_none_or(|wanted| wanted == id);
        let mut spent = self.of(account).iter();
        let same = spent.find(|one| {
            one.request_id == wanted.request_id || Some(&one.credit_id) == wanted.credit_id.as_ref()
        });
        if let Some(known) = same {
            return Outcome::AlreadyRedeemed(known.clone());
        }
        let Some(credit_id) = self.open(account, meter.world).find(is_it) else {
            return Outcome::NoCredit;
        };
        if !meter.is_used() {
            return Outcome::NothingToReset;
        }
        let request_id = wanted.request_id.clone();
        let spent = Redemption { request_id, credit_id, at: meter.now };
        self.0.entry(account.id.clone()).or_default().push(spent.clone());
        Outcome::Reset(spent)
    }

    /// One entry of the list.
    fn credit(&self, account: &Account, id: String) -> Value {
        let spent = self.of(account).iter().find(|one| one.credit_id == id);
        let spent = spent.map(|one| rfc3339(one.at));
        object! {
            "id": id,
            "reset_type": KIND,
            "status": if spent.is_some() { "redeemed" } else { "available" },
            "granted_at": "2026-01-01T00:00:00Z",
            "expires_at": "2030-01-01T00:00:00Z",
            "title": "Usage reset",
            "description": "Makes all windows whole at once.",
            "profile_user_id": account.user.as_str(),
            "is_supported_by_plan": true,
            "redeem_started_at": spent.clone(),
            "redeemed_at": spent,
        }
    }
}

impl Wanted {
    fn read(body: &[u8]) -> Result<Self, Answer> {
        let tree: Value = serde_json::from_slice(body).unwrap_or_default();
        let filled = |name| Some(text(&tree, name)).filter(|text| !text.is_empty());
        let request_id = filled("redeem_request_id").ok_or_else(|| {
            let wrong = Wrong {
                message: "Missing required parameter: 'redeem_request_id'.",
                param: Some("redeem_request_id"),
                code: Some("missing_required_parameter"),
            };
            Answer::wrong(400, wrong)
        })?;
        let credit_id = filled("credit_id").map(str::to_owned);
        Ok(Self { request_id: request_id.to_owned(), credit_id })
    }
}

/// The same in every simulator, like the account itself.
fn credit_ids(account: &Account, world: &World) -> impl Iterator<Item = String> {
    let account = account.id.clone();
    (0..world.reset_credits.min(MOST)).map(move |number| {
        let digits = id::hex(&digest(&[b"reset", account.as_bytes(), &number.to_be_bytes()]));
        format!("RateLimitResetCredit_{}", &digits[..32])
    })
}
