//! Logging in, refreshing and logging out, as a client does it.

use axum::body::Body;
use http::Request;
use jiff::{SignedDuration, Timestamp};
use tower::ServiceExt;

use super::*;
use crate::{clock::Clock, sim::account::CLIENT_ID};

const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier";
const REDIRECT: &str = "http://localhost:1455/auth/callback";

struct Issuer {
    simulator: Simulator,
    clock: Clock,
}

/// Status, `location` and body.
type Said = (u16, String, Value);

impl Issuer {
    fn of(world: &[(&str, &str)]) -> Self {
        let world = World::from_pairs(world).expect("known");
        let clock = Clock::manual(Timestamp::from_second(1_800_000_000).expect("in range"));
        Self { simulator: Simulator::new(world, clock.clone()), clock }
    }

    async fn send(&self, request: Request<Body>) -> Said {
        let response = self.simulator.router().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let location =
            response.headers().get("location").map(|value| value.to_str().expect("text"));
        let location = location.unwrap_or_default().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("read");
        (status, location, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn authorize(&self, change: (&str, &str)) -> Said {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let mut query = vec![
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", REDIRECT),
            ("scope", "openid profile email offline_access"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", "a b"),
        ];
        query.retain(|(name, _)| *name != change.0);
        query.push(change);
        let query: Vec<_> =
            query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let uri = format!("/oauth/authorize?{}", query.join("&"));
        self.send(Request::get(uri).body(Body::empty()).expect("request")).await
    }

    async fn code(&self) -> String {
        let (status, location, _) = self.authorize(("originator", "test")).await;
        assert_eq!(status, 302);
        let query = pairs(location.strip_prefix(&format!("{REDIRECT}?")).expect("redirect"));
        assert_eq!(value(&query, "state"), "a b");
        value(&query, "code").to_owned()
    }

    async fn form(&self, fields: &[(&str, &str)]) -> Said {
        let form: Vec<_> =
            fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let request = Request::post("/oauth/token")
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(form.join("&").into()).expect("request")).await
    }

    async fn json(&self, uri: &str, body: &Value) -> Said {
        let request = Request::post(uri).header("content-type", "application/json");
        self.send(request.body(body.to_string().into()).expect("request")).await
    }

    async fn exchange(&self, code: &str, change: (&str, &str)) -> Said {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("client_id", CLIENT_ID),
            ("code_verifier", VERIFIER),
        ];
        form.retain(|(name, _)| *name != change.0);
        form.push(change);
        self.form(&form).await
    }

    async fn refresh(&self, token: &str) -> Said {
        self.json(
            "/oauth/token",
            &object! {
                "client_id": CLIENT_ID,
                "grant_type": "refresh_token",
                "refresh_token": token,
            },
        )
        .await
    }

    async fn logged_in(&self) -> Value {
        self.exchange(&self.code().await, ("", "")).await.2
    }
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64")).expect("JSON")
}

fn code_of(said: &Said) -> (u16, &str) {
    (said.0, text(&said.2["error"], "code"))
}

#[tokio::test]
async fn a_login_yields_tokens_that_are_taken() {
    let issuer = Issuer::of(&[("login_account", "team")]);
    let tokens = issuer.logged_in().await;
    assert_eq!((text(&tokens, "token_type"), &tokens["expires_in"]), ("Bearer", &864_000.into()));
    let access = text(&tokens, "access_token");
    let access_claims = claims(access);
    assert_eq!(access_claims["exp"], 1_800_864_000);
    let own = &claims(text(&tokens, "id_token"))["https://api.openai.com/auth"];
    assert_eq!(own["chatgpt_plan_type"], "team");
    assert_eq!(
        own["chatgpt_account_id"],
        access_claims["https://api.openai.com/auth"]["chatgpt_account_id"]
    );
    let request = Request::get("/backend-api/wham/usage")
        .header("authorization", format!("Bearer {access}"))
        .header("chatgpt-account-id", text(own, "chatgpt_account_id"));
    let (status, _, usage) = issuer.send(request.body(Body::empty()).expect("request")).await;
    assert_eq!((status, usage["plan_type"].as_str()), (200, Some("team")));
}

#[tokio::test]
async fn a_request_out_of_order_is_not_redirected() {
    let issuer = Issuer::of(&[]);
    for (name, value) in [
        ("response_type", "token"),
        ("client_id", "other"),
        ("redirect_uri", "http://127.0.0.1:1455/auth/callback"),
        ("redirect_uri", "http://localhost:8080/auth/callback"),
        ("redirect_uri", "http://localhost:1455/other"),
        ("scope", "openid"),
        ("code_challenge", "short"),
        ("code_challenge_method", "plain"),
        ("state", ""),
    ] {
        let (status, location, body) = issuer.authorize((name, value)).await;
        assert_eq!((status, location.as_str()), (400, ""), "{name}={value}");
        assert_eq!(body["error"]["param"], name);
    }
    let issuer = Issuer::of(&[("redirect_ports", "any")]);
    assert_eq!(
        issuer.authorize(("redirect_uri", "http://localhost:8080/auth/callback")).await.0,
        302
    );
}

#[tokio::test]
async fn a_login_can_be_refused() {
    for (mode, expected) in [
        (
            "access-denied",
            "error=access_denied&error_description=The%20user%20denied%20the%20request&state=a%20b",
        ),
        (
            "missing-codex-entitlement",
            "error=access_denied&error_description=missing_codex_entitlement&state=a%20b",
        ),
    ] {
        let (status, location, _) = Issuer::of(&[("authorize", mode)]).authorize(("x", "y")).await;
        assert_eq!((status, location), (302, format!("{REDIRECT}?{expected}")));
    }
    let said = Issuer::of(&[("authorize", "no-workspace")]).authorize(("x", "y")).await;
    assert_eq!(code_of(&said), (400, "chatgpt_account_missing"));
}

#[tokio::test]
async fn a_code_works_once_and_only_for_who_asked() {
    let issuer = Issuer::of(&[]);
    let code = issuer.code().await;
    assert_eq!(issuer.exchange(&code, ("", "")).await.0, 200);
    for (change, error) in [
        (("", ""), "invalid_grant"),
        (("redirect_uri", "http://localhost:1457/auth/callback"), "invalid_grant"),
        (("code_verifier", "other"), "invalid_grant"),
        (("client_id", "other"), "invalid_client"),
        (("grant_type", "password"), "unsupported_grant_type"),
    ] {
        let code = if change.0.is_empty() { code.clone() } else { issuer.code().await };
        let (status, _, body) = issuer.exchange(&code, change).await;
        assert_eq!((status, text(&body, "error")), (400, error), "{change:?}");
    }
    let code = issuer.code().await;
    issuer.clock.advance(SignedDuration::from_mins(11));
    assert_eq!(issuer.exchange(&code, ("", "")).await.0, 400, "too late");
    for (mood, status) in [("server-error", 500), ("cloudflare", 403)] {
        let issuer = Issuer::of(&[("exchange", mood)]);
        let code = issuer.code().await;
        assert_eq!(issuer.exchange(&code, ("", "")).await.0, status, "{mood}");
    }
    let issuer = Issuer::of(&[("token_errors", "openai")]);
    assert_eq!(code_of(&issuer.exchange("none", ("", "")).await), (400, "invalid_grant"));
}

#[tokio::test]
async fn a_refresh_token_works_once() {
    let issuer = Issuer::of(&[]);
    let old = issuer.logged_in().await;
    let (status, _, new) = issuer.refresh(text(&old, "refresh_token")).await;
    assert_eq!(status, 200);
    assert_ne!(new["access_token"], old["access_token"]);
    let (status, _, reused) = issuer.refresh(text(&old, "refresh_token")).await;
    assert_eq!(status, 401);
    assert_eq!(
        reused.to_string(),
        r#"{"error":{"message":"Your refresh token has already been used to generate a new access token. Please try signing in again.","type":"invalid_request_error","param":null,"code":"refresh_token_reused"}}"#
    );
    let form = [("grant_type", "refresh_token"), ("refresh_token", text(&new, "refresh_token"))];
    assert_eq!(issuer.form(&form).await.0, 200, "also as a form");
    let counters = issuer.simulator.counters();
    assert_eq!((counters.refreshes, counters.spent_refreshes), (3, 1));
}

#[tokio::test]
async fn refreshing_can_go_wrong() {
    for (mode, status, code) in [
        ("expired", 401, "refresh_token_expired"),
        ("invalidated", 401, "refresh_token_invalidated"),
        ("server-error", 500, ""),
        ("cloudflare", 403, ""),
    ] {
        let issuer = Issuer::of(&[]);
        let tokens = issuer.logged_in().await;
        issuer.simulator.set_world("refresh", mode).expect("known");
        assert_eq!(code_of(&issuer.refresh(text(&tokens, "refresh_token")).await), (status, code));
    }
    let issuer = Issuer::of(&[]);
    let tokens = issuer.logged_in().await;
    issuer.simulator.revoke_refresh_tokens();
    let said = issuer.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!(code_of(&said), (401, "refresh_token_invalidated"));
}

#[tokio::test]
async fn what_a_refresh_leaves_out_stays_valid() {
    let issuer = Issuer::of(&[("refresh_omits", "id_token,refresh_token")]);
    let tokens = issuer.logged_in().await;
    for _ in 0..2 {
        let (status, _, new) = issuer.refresh(text(&tokens, "refresh_token")).await;
        let names: Vec<_> = fields(&new).map(|(name, _)| name.as_str()).collect();
        assert_eq!((status, names), (200, vec!["access_token"]));
    }
}

#[tokio::test]
async fn a_revoked_token_is_dead() {
    let issuer = Issuer::of(&[]);
    let tokens = issuer.logged_in().await;
    let refresh = text(&tokens, "refresh_token");
    let body =
        object! {"token": refresh, "token_type_hint": "refresh_token", "client_id": CLIENT_ID};
    assert_eq!(issuer.json("/oauth/revoke", &body).await.0, 200);
    assert_eq!(issuer.json("/oauth/revoke", &object! {"token": "unknown"}).await.0, 200);
    assert_eq!(code_of(&issuer.refresh(refresh).await), (401, "refresh_token_invalidated"));
    assert_eq!(issuer.simulator.counters().revocations, 1);
}

#[tokio::test]
async fn a_device_logs_in_after_some_polls() {
    for (pending, status) in [("403", 403), ("404", 404)] {
        let issuer = Issuer::of(&[("device_pending", pending), ("device_polls", "2")]);
        let start = object! {"client_id": CLIENT_ID};
        let (_, _, device) = issuer.json("/api/accounts/deviceauth/usercode", &start).await;
        assert_eq!(device["interval"], "5");
        let mut poll = device.clone();
        put(&mut poll, "interval", Value::Null);
        let mut polled = Vec::new();
        for _ in 0..2 {
            polled.push(issuer.json("/api/accounts/deviceauth/token", &poll).await.0);
        }
        assert_eq!(polled, [status, status]);
        let (_, _, grant) = issuer.json("/api/accounts/deviceauth/token", &poll).await;
        let verifier = text(&grant, "code_verifier");
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        assert_eq!(text(&grant, "code_challenge"), challenge);
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT_ID),
            ("code", text(&grant, "authorization_code")),
            ("redirect_uri", "http://127.0.0.1:9/deviceauth/callback"),
            ("code_verifier", verifier),
        ];
        assert_eq!(issuer.form(&form).await.0, 200);
    }
}

#[tokio::test]
async fn a_device_is_approved_on_its_page() {
    let issuer = Issuer::of(&[("device_polls", "1000")]);
    let start = object! {"client_id": CLIENT_ID};
    let (_, _, device) = issuer.json("/api/accounts/deviceauth/usercode", &start).await;
    assert_eq!(issuer.json("/api/accounts/deviceauth/token", &device).await.0, 403);
    let page = format!("/codex/device?user_code={}", text(&device, "user_code"));
    issuer.send(Request::get(page).body(Body::empty()).expect("request")).await;
    assert_eq!(issuer.json("/api/accounts/deviceauth/token", &device).await.0, 200);
}

#[tokio::test]
async fn a_device_login_can_fail() {
    let start = object! {"client_id": CLIENT_ID};
    let usercode = "/api/accounts/deviceauth/usercode";
    assert_eq!(Issuer::of(&[("device", "disabled")]).json(usercode, &start).await.0, 404);
    for (mode, minutes, code) in [
        ("expired", 0, "expired_token"),
        ("denied", 0, "access_denied"),
        ("ok", 15, "expired_token"),
    ] {
        let issuer = Issuer::of(&[("device", mode)]);
        let (_, _, device) = issuer.json(usercode, &start).await;
        issuer.clock.advance(SignedDuration::from_mins(minutes));
        let said = issuer.json("/api/accounts/deviceauth/token", &device).await;
        assert_eq!(code_of(&said), (400, code));
    }
}

#[tokio::test]
async fn a_stored_login_is_the_clients_own_file() {
    let issuer = Issuer::of(&[]);
    let login: Value =
        serde_json::from_str(&issuer.simulator.stored_login_for("second")).expect("JSON");
    let names: Vec<_> = fields(&login).map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["auth_mode", "OPENAI_API_KEY", "tokens", "last_refresh", "bound_account_id"]
    );
    assert_eq!(login["last_refresh"], "2027-01-15T08:00:00.000Z");
    let own = &claims(text(&login["tokens"], "id_token"))["https://api.openai.com/auth"];
    assert_eq!(own["chatgpt_account_id"], login["tokens"]["account_id"]);
    assert_eq!(issuer.refresh(text(&login["tokens"], "refresh_token")).await.0, 200);
    assert_ne!(issuer.simulator.stored_login(), issuer.simulator.stored_login());
}
