//! What an account may use: windows that fill, end with time and are reset, and accounts whose
//! turns fail.

use super::*;

const RESETS: &str = "/backend-api/wham/rate-limit-reset-credits";
const CONSUME: &str = "/backend-api/wham/rate-limit-reset-credits/consume";

impl Client {
    /// Somebody else of the same simulator.
    fn beside(&self, account: &str) -> Self {
        let login = self.simulator.stored_login_for(account);
        let login = serde_json::from_str(&login).expect("JSON");
        Self { simulator: self.simulator.clone(), clock: self.clock.clone(), login }
    }

    /// Percent of both windows, as the usage route tells it.
    async fn used(&self) -> [Option<u64>; 2] {
        let limit = self.get("/backend-api/wham/usage").await.json()["rate_limit"].clone();
        ["primary_window", "secondary_window"].map(|window| limit[window]["used_percent"].as_u64())
    }
}

#[tokio::test]
async fn a_used_up_window_refuses_turns_until_it_resets() {
    let client = Client::new();
    let other = client.beside("second");
    client.simulator.set_used("first", 100, 9);
    client.simulator.set_resets("first", 30, 600);
    let heard = client.say("hi").await;
    assert_eq!(heard.status, 429);
    assert_eq!(
        heard.text(),
        r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","resets_at":1800000030,"resets_in_seconds":30,"eligible_promo":null}}"#
    );
    assert_eq!(heard.header("x-codex-primary-used-percent"), "100.0");
    assert_eq!(heard.header("x-codex-primary-reset-after-seconds"), "30");
    assert_eq!(heard.header("x-codex-rate-limit-reached-type"), "rate_limit_reached");
    assert_eq!(other.say("hi").await.status, 200, "for one account only");
    client.clock.advance(SignedDuration::from_secs(29));
    assert_eq!(client.say("hi").await.status, 429);

    client.clock.advance(SignedDuration::from_secs(1));
    let heard = client.say("hi").await;
    assert_eq!((heard.status, heard.header("x-codex-primary-used-percent")), (200, "0.0"));
    assert_eq!(client.used().await, [Some(0), Some(9)]);
    client.clock.advance(SignedDuration::from_secs(570));
    assert_eq!(client.used().await, [Some(0), Some(0)]);
    assert_eq!(other.used().await, [Some(27), Some(4)]);
}

#[tokio::test]
async fn the_longest_of_the_used_up_windows_is_waited_for() {
    let client = Client::new();
    client.simulator.set_used("first", 100, 100);
    client.simulator.set_resets("first", 30, 600);
    assert_eq!(client.say("hi").await.json()["error"]["resets_in_seconds"], 600);
    client.clock.advance(SignedDuration::from_secs(30));
    assert_eq!(client.say("hi").await.json()["error"]["resets_in_seconds"], 570);
}

#[tokio::test]
async fn turns_use_the_window_up_and_failed_ones_do_not() {
    let client = Client::of("first", &[("turn_cost", "30"), ("primary_used", "20")]);
    let told =
        async |text: &str| client.say(text).await.header("x-codex-primary-used-percent").to_owned();
    assert_eq!(told("hi").await, "50.0");
    for failing in ["[sim failed]", "[sim overloaded]", "[sim wat]"] {
        client.say(failing).await;
    }
    client.clock.advance(SignedDuration::from_secs(100));
    assert_eq!(told("hi").await, "80.0");
    assert_eq!(told("hi").await, "100.0");
    let heard = client.say("hi").await;
    assert_eq!(heard.status, 429);
    assert_eq!(heard.json()["error"]["resets_in_seconds"], 13_400, "since it was first used");
    assert_eq!(client.used().await, [Some(100), Some(4)]);
    assert_eq!(client.beside("second").used().await, [Some(20), Some(4)]);
    client.clock.advance(SignedDuration::from_secs(13_400));
    assert_eq!(told("hi").await, "30.0");
}

#[tokio::test]
async fn a_stream_can_tell_the_limits_early() {
    let client = Client::of("first", &[("limit_events", "on")]);
    client.simulator.set_used("first", 61, 7);
    let heard = client.say("[sim failed]").await;
    assert_eq!(heard.order(), "created in_progress codex.rate_limits failed");
    let limits = heard.events()[2]["rate_limits"].clone();
    assert_eq!(limits["primary"]["used_percent"], 61);
    assert_eq!(limits["secondary"]["window_minutes"], 10_080);
    assert!(!Client::new().say("hi").await.order().contains("codex."));
}

#[tokio::test]
async fn turns_of_some_accounts_fail_whatever_is_scripted() {
    for (account, status, order, code) in [
        ("spent-stream", 200, "created in_progress error failed", "usage_limit_reached"),
        ("overloaded", 503, "", "server_is_overloaded"),
        ("overloaded-stream", 200, "created in_progress error", "server_is_overloaded"),
    ] {
        let client = Client::of(account, &[]);
        client.script(&["say: scripted"]);
        let heard = client.say("[sim say: asked for]").await;
        assert_eq!((heard.status, heard.order().as_str()), (status, order), "{account}");
        assert!(heard.text().contains(code), "{account}");
        assert_eq!(client.used().await, [Some(27), Some(4)], "{account}");
        assert_eq!(client.beside("first").say("hi").await.said(), "scripted", "{account}");
    }
}

#[tokio::test]
async fn a_reset_is_spent_once_for_each_id_of_a_request() {
    let client = Client::new();
    client.simulator.set_used("first", 100, 40);
    let listed = client.get(RESETS).await.json();
    let first = text(&listed["credits"][0], "id").to_owned();
    assert_eq!((&listed["available_count"], &listed["credits"][1]), (&1.into(), &Value::Null));
    let redeem = async |request_id: &str, credit_id: &str| {
        let body = object! {"redeem_request_id": request_id, "credit_id": credit_id};
        let told = client.post(CONSUME, &body).await.json();
        let credit_id = text(&told["credit"], "id").to_owned();
        (text(&told, "code").to_owned(), credit_id, told["windows_reset"].as_u64())
    };
    let outcome =
        |code: &str, id: &str, windows: u64| (code.to_owned(), id.to_owned(), Some(windows));
    assert_eq!(redeem("a", "").await, outcome("reset", &first, 2));
    assert_eq!(client.used().await, [Some(0), Some(0)]);
    assert_eq!(client.say("hi").await.status, 200);
    assert_eq!(redeem("a", "").await, outcome("already_redeemed", &first, 0));
    assert_eq!(redeem("b", &first).await, outcome("already_redeemed", &first, 0));
    assert_eq!(redeem("b", "").await, outcome("no_credit", "", 0));

    client.simulator.set_world("reset_credits", "3").expect("a switch");
    assert_eq!(redeem("b", "").await, outcome("nothing_to_reset", "", 0));
    client.simulator.set_used("first", 1, 0);
    assert_eq!(redeem("b", "unknown").await, outcome("no_credit", "", 0));
    let listed = client.get(RESETS).await.json();
    let third = text(&listed["credits"][2], "id").to_owned();
    assert_eq!(redeem("b", &third).await, outcome("reset", &third, 2));

    let listed = client.get(RESETS).await.json();
    let statuses = [0, 1, 2].map(|number: usize| text(&listed["credits"][number], "status"));
    assert_eq!(statuses, ["redeemed", "available", "redeemed"]);
    let usage = client.get("/backend-api/wham/usage").await.json();
    assert_eq!(usage["rate_limit_reset_credits"]["applicable_available_count"], 1);
    assert_eq!(client.post(CONSUME, &object! {"credit_id": third}).await.status, 400);
}

#[tokio::test]
async fn somebody_may_have_several_workspaces() {
    let client = Client::new();
    let team = client.beside("team");
    let listed = team.get("/backend-api/wham/accounts/check").await.json();
    let ids = [&client, &team].map(|client| client.login["tokens"]["account_id"].clone());
    assert_eq!(listed["account_ordering"], list![ids[0].clone(), ids[1].clone()]);
    assert_eq!(listed["default_account_id"], ids[1]);
    let structures = [0, 1].map(|number: usize| text(&listed["accounts"][number], "structure"));
    assert_eq!(structures, ["personal", "workspace"]);
}

#[tokio::test]
async fn other_languages_say_what_is_used() {
    let client = Client::new();
    let body = object! {"account": "first", "primary_used": 100, "primary_resets_in": 30};
    assert_eq!(client.post("/sim/usage", &body).await.text(), r#"{"ok":true}"#);
    assert_eq!(client.say("hi").await.json()["error"]["resets_in_seconds"], 30);
    assert_eq!(client.used().await, [Some(100), Some(4)]);
    for wrong in [
        list![],
        object! {"primary_used": 1},
        object! {"account": "first", "primary": 1},
        object! {"account": "first", "primary_used": "1"},
        object! {"account": "first", "primary_used": 1, "secondary_used": -1},
    ] {
        assert_eq!(client.post("/sim/usage", &wrong).await.status, 400, "{wrong}");
    }
    assert_eq!(client.used().await, [Some(100), Some(4)], "all or nothing");
}
