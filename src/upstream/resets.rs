//! Usage resets that the upstream grants: which an account has, and spending one.
//!
//! A reset makes the windows of an account whole before their time, and is worth something. The
//! caller names each spending with an id of its own: the upstream spends nothing for an id that it
//! has seen, so that whoever asks again after a failure asks with the same one.
//!
//! **Invariant:** nothing is spent except by [`redeem`], and that sends once per call.
//!
//! Not here: who may spend a reset and when, what is left of the windows (`usage`).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::{Upstream, failure::Failure, usage};
use crate::{credential::Credential, object::Object};

/// The resets of one account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Granted {
    pub credits: Vec<Credit>,
    /// How many may be spent now.
    pub available_count: i64,
}

/// One reset. Times are as the upstream writes them, in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Credit {
    pub id: String,
    /// Such as `codex_rate_limits`.
    pub reset_type: Option<String>,
    /// `available`, or a word that says why not.
    pub status: Option<String>,
    pub supported_by_plan: Option<bool>,
    pub title: Option<String>,
    pub description: Option<String>,
    pub granted_at: Option<String>,
    pub expires_at: Option<String>,
    pub redeem_started_at: Option<String>,
    pub redeemed_at: Option<String>,
}

/// What became of spending one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    pub outcome: Outcome,
    /// How many windows are whole again.
    pub windows_reset: Option<i64>,
    pub credit_id: Option<String>,
}

/// How spending a reset ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Reset,
    /// Nothing is used, so nothing was spent.
    NothingToReset,
    /// There is none to spend.
    NoCredit,
    /// It was spent before, for the same id of the request.
    AlreadyRedeemed,
    /// A word that is new.
    Other(String),
}

impl Outcome {
    fn read(code: String) -> Self {
        match code.as_str() {
            "reset" => Self::Reset,
            "nothing_to_reset" => Self::NothingToReset,
            "no_credit" => Self::NoCredit,
            "already_redeemed" => Self::AlreadyRedeemed,
            _ => Self::Other(code),
        }
    }

    /// As the upstream says it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Reset => "reset",
            Self::NothingToReset => "nothing_to_reset",
            Self::NoCredit => "no_credit",
            Self::AlreadyRedeemed => "already_redeemed",
            Self::Other(code) => code,
        }
    }
}

/// Asks once which resets the account has.
///
/// # Errors
///
/// When there is no answer in time, or it lists none.
pub async fn list(upstream: &Upstream, credential: &Credential) -> Result<Granted, Failure> {
    let request = upstream.request(Method::GET, &upstream.0.resets, credential)?;
    usage::document(upstream, request, "the list of usage resets", Granted::read).await
}

/// Spends one reset of the account: `credit_id`, or whichever the upstream takes.
///
/// # Errors
///
/// When there is no answer in time, or it does not say what happened. The reset may be spent all
/// the same; with the same `request_id` it is safe to ask again.
pub async fn redeem(
    upstream: &Upstream,
    credential: &Credential,
    request_id: &str,
    credit_id: Option<&str>,
) -> Result<Redeemed, Failure> {
    let mut request = upstream.request(Method::POST, &upstream.0.consume, credential)?;
    let spending = Spending { redeem_request_id: request_id, credit_id };
    // If this is no JSON, nothing was sent.
    let body = serde_json::to_vec(&spending).map_err(|error| Failure::Connect(Arc::new(error)))?;
    *request.body_mut() = Full::new(Bytes::from(body));
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    usage::document(upstream, request, "what became of the usage reset", Redeemed::read).await
}

#[derive(Debug, Serialize)]
struct Spending<'a> {
    redeem_request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    credit_id: Option<&'a str>,
}

impl Granted {
    /// `None` when `body` says nothing about resets. One odd entry hides no other.
    fn read(body: &[u8]) -> Option<Self> {
        let answer = Object::read(body)?;
        let listed = answer.list("credits");
        let count = answer.integer("available_count");
        if listed.is_none() && count.is_none() {
            return None;
        }
        let listed = listed.unwrap_or_default();
        let credits: Vec<_> =
            listed.iter().filter_map(|entry| Credit::read(entry.get().as_bytes())).collect();
        let counted = credits.iter().filter(|credit| credit.is_available()).count();
        let available_count = count.or_else(|| i64::try_from(counted).ok()).unwrap_or_default();
        Some(Self { credits, available_count })
    }
}

impl Credit {
    fn read(entry: &[u8]) -> Option<Self> {
        let entry = Object::read(entry)?;
        let supported = entry.flag("is_supported_by_plan");
        Some(Self {
            id: entry.filled("id")?,
            reset_type: entry.filled("reset_type"),
            status: entry.filled("status"),
            supported_by_plan: supported.or_else(|| entry.flag("supported_by_plan")),
            title: entry.filled("title"),
            description: entry.filled("description"),
            granted_at: entry.filled("granted_at"),
            expires_at: entry.filled("expires_at"),
            redeem_started_at: entry.filled("redeem_started_at"),
            redeemed_at: entry.filled("redeemed_at"),
        })
    }

    fn is_available(&self) -> bool {
        self.status.as_deref() == Some("available")
    }
}

impl Redeemed {
    /// `None` when `body` does not say what happened.
    fn read(body: &[u8]) -> Option<Self> {
        let answer = Object::read(body)?;
        Some(Self {
            outcome: Outcome::read(answer.filled("code")?),
            windows_reset: answer.integer("windows_reset"),
            credit_id: answer.object("credit").and_then(|credit| credit.filled("id")),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{
        Router,
        routing::{get, post},
    };
    use http::HeaderMap;

    use super::*;
    use crate::{
        clock::Clock, credential::AccountId, secret::Secret, transport, upstream::Settings,
    };

    fn upstream(router: Router) -> Upstream {
        let settings = Settings {
            base_url: "https://up.example/backend-api/codex".to_owned(),
            client_version: "0.156.1".to_owned(),
            user_agent: "airelays/test".to_owned(),
            headers_timeout: Duration::from_mins(2),
        };
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        Upstream::new(&settings, transport::local(router), clock).expect("settings")
    }

    fn credential() -> Credential {
        Credential {
            access: Secret::new("T0P"),
            account_id: AccountId::new("acct"),
            fedramp: false,
        }
    }

    fn credit(id: &str) -> Credit {
        Credit {
            id: id.to_owned(),
            reset_type: None,
            status: None,
            supported_by_plan: None,
            title: None,
            description: None,
            granted_at: None,
            expires_at: None,
            redeem_started_at: None,
            redeemed_at: None,
        }
    }

    #[test]
    fn resets_are_read_one_by_one() {
        let word = |text: &str| Some(text.to_owned());
        let body = br#"{"credits":[
            {"id":"RateLimitResetCredit_1","reset_type":"codex_rate_limits","status":"available",
             "granted_at":"2026-10-01T00:00:00Z","expires_at":null,"title":"One","description":"On us",
             "profile_user_id":"user-1","is_supported_by_plan":true,"redeem_started_at":null,
             "redeemed_at":null},
            7,{"title":"nameless"},
            {"id":"2","status":"redeemed","supported_by_plan":false,"redeem_started_at":"a",
             "redeemed_at":"b"}],
            "available_count":1,"total_earned_count":2}"#;
        let first = Credit {
            reset_type: word("codex_rate_limits"),
            status: word("available"),
            supported_by_plan: Some(true),
            title: word("One"),
            description: word("On us"),
            granted_at: word("2026-10-01T00:00:00Z"),
            ..credit("RateLimitResetCredit_1")
        };
        let second = Credit {
            status: word("redeemed"),
            supported_by_plan: Some(false),
            redeem_started_at: word("a"),
            redeemed_at: word("b"),
            ..credit("2")
        };
        let expected = Granted { credits: vec![first, second], available_count: 1 };
        assert_eq!(Granted::read(body), Some(expected));
    }

    #[test]
    fn resets_are_counted_where_the_upstream_does_not() {
        for (body, expected) in [
            (r#"{"credits":[]}"#, Some((0, 0))),
            (r#"{"credits":[{"id":"1","status":"available"},{"id":"2"}]}"#, Some((2, 1))),
            (r#"{"credits":[{"id":"1","status":"available"}],"available_count":0}"#, Some((1, 0))),
            (r#"{"credits":null,"available_count":2}"#, Some((0, 2))),
            ("{}", None),
            (r#"{"credits":{}}"#, None),
            ("[]", None),
            ("", None),
        ] {
            let granted = Granted::read(body.as_bytes());
            let counts = granted.map(|granted| (granted.credits.len(), granted.available_count));
            assert_eq!(counts, expected, "{body}");
        }
    }

    #[test]
    fn every_outcome_is_read_and_said_again() {
        for (code, outcome) in [
            ("reset", Outcome::Reset),
            ("nothing_to_reset", Outcome::NothingToReset),
            ("no_credit", Outcome::NoCredit),
            ("already_redeemed", Outcome::AlreadyRedeemed),
            ("of_tomorrow", Outcome::Other("of_tomorrow".to_owned())),
        ] {
            assert_eq!(outcome.as_str(), code);
            let body = format!(r#"{{"code":"{code}","credit":null,"windows_reset":null}}"#);
            let expected = Redeemed { outcome, windows_reset: None, credit_id: None };
            assert_eq!(Redeemed::read(body.as_bytes()), Some(expected));
        }
        let body = br#"{"code":"reset","credit":{"id":"1","status":"redeemed"},"windows_reset":2}"#;
        let expected = Redeemed {
            outcome: Outcome::Reset,
            windows_reset: Some(2),
            credit_id: Some("1".to_owned()),
        };
        assert_eq!(Redeemed::read(body), Some(expected));
        for body in ["", "[]", "{}", r#"{"code":7}"#] {
            assert_eq!(Redeemed::read(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_reset_is_told_with_all_its_fields() {
        assert_eq!(
            serde_json::to_string(&credit("1")).expect("JSON"),
            r#"{"id":"1","reset_type":null,"status":null,"supported_by_plan":null,"title":null,"description":null,"granted_at":null,"expires_at":null,"redeem_started_at":null,"redeemed_at":null}"#
        );
    }

    #[tokio::test]
    async fn resets_are_asked_for_and_spent_at_their_routes() {
        let granted = async || r#"{"credits":[{"id":"1"}],"available_count":1}"#;
        let spent = async |headers: HeaderMap, body: String| {
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(headers["chatgpt-account-id"], "acct");
            match body.as_str() {
                r#"{"redeem_request_id":"r\"1"}"# => r#"{"code":"reset","windows_reset":2}"#,
                r#"{"redeem_request_id":"r2","credit_id":"1"}"# => r#"{"code":"no_credit"}"#,
                _ => "[]",
            }
        };
        let router = Router::new()
            .route("/backend-api/wham/rate-limit-reset-credits", get(granted))
            .route("/backend-api/wham/rate-limit-reset-credits/consume", post(spent));
        let upstream = upstream(router);
        let listed = list(&upstream, &credential()).await.expect("listed");
        assert_eq!(listed, Granted { credits: vec![credit("1")], available_count: 1 });
        for (request_id, credit_id, expected) in [
            ("r\"1", None, "reset"),
            ("r2", Some("1"), "no_credit"),
            (
                "r3",
                None,
                "the upstream failed with status 200: what became of the usage reset cannot be read",
            ),
        ] {
            let redeemed = redeem(&upstream, &credential(), request_id, credit_id).await;
            let said = redeemed
                .map_or_else(|failure| failure.to_string(), |it| it.outcome.as_str().to_owned());
            assert_eq!(said, expected);
        }
    }
}
