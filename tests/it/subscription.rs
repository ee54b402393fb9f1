//! What is left of the accounts, in the shape of the programs that are replaced.

use serde_json::{Value, json};

use crate::harness::{Relay, Setup, TOKEN, http::Ask};

const PATHS: [&str; 2] = ["/v1/subscription/status", "/v1/account/rate_limits"];

async fn relay(accounts: &[&str]) -> Relay {
    let setup = Setup::new().set("AIRELAYS_SLOTS_USAGE_REFRESH_SECONDS", "0").slots(accounts);
    setup.start_over_network().await
}

/// Not what is known already.
fn anew(path: &str) -> String {
    format!("{path}?refresh=true")
}

/// How often the simulator was asked what is left.
fn n_asked(relay: &Relay) -> usize {
    let recorded = relay.simulator.recorded().into_iter();
    recorded.filter(|seen| seen.path == "/backend-api/wham/usage").count()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn it_has_the_shape_of_the_reference() {
    let relay = relay(&["first"]).await;
    relay.simulator.set_used("first", 27, 4);
    relay.simulator.set_resets("first", 600, 5000);
    for path in PATHS {
        let status = relay.get(&anew(path)).await.json();
        let expected = "object captured_at source account rate_limits credits spend_control \
                        rate_limit_reached_type rate_limit_reset_credits model_usage";
        assert_eq!(names(&status).join(" "), expected);
        assert_eq!(status["object"], "subscription_status");
        let source =
            json!({"kind": "chatgpt_subscription", "upstream_path": "/backend-api/wham/usage"});
        assert_eq!(status["source"], source);
        assert_eq!(status["account"]["plan_type"], "plus");
        let limit = &status["rate_limits"]["default"];
        assert_eq!((&limit["allowed"], &limit["limit_reached"]), (&true.into(), &false.into()));
        let window = &limit["primary_window"];
        let expected = "used_percent remaining_percent window_seconds window_minutes window_label \
                        reset_after_seconds reset_at reset_at_iso";
        assert_eq!(names(window).join(" "), expected);
        let said = [&window["used_percent"], &window["remaining_percent"]];
        assert_eq!(said, [&json!(27.0), &json!(73.0)]);
        assert_eq!(
            (&window["window_label"], &window["window_minutes"]),
            (&"5h".into(), &300.into())
        );
        assert_eq!(limit["secondary_window"]["window_label"], "weekly");
        assert_eq!(status["rate_limits"]["by_duration"]["week"], limit["secondary_window"]);
        assert_eq!(status["credits"]["has_credits"], false);
        assert_eq!(status["rate_limit_reset_credits"]["available_count"], 1);
    }
    // A plan that has its week in the first place.
    relay.simulator.set_world("windows", "week").expect("a switch");
    let status = relay.get(&anew(PATHS[0])).await.json();
    let by_duration = &status["rate_limits"]["by_duration"];
    assert_eq!(by_duration["week"]["window_label"], "weekly");
    assert_eq!(by_duration["five_hours"], Value::Null);
    // What is asked for here is known of the slot as well.
    assert_eq!(relay.slot(1).await["usage"]["weekPct"], 73);
}

#[tokio::test]
async fn raw_is_the_upstreams_own_and_what_is_no_flag_is_refused() {
    let relay = relay(&["first"]).await;
    for (query, is_raw) in
        [("?raw=true", true), ("?raw=1", true), ("?raw=false", false), ("", false)]
    {
        let status = relay.get(&format!("{}{query}", PATHS[0])).await.json();
        assert_eq!(status["raw"]["rate_limit"].is_object(), is_raw, "{query}");
        assert_eq!(status.as_object().expect("an object").contains_key("raw"), is_raw);
    }
    for (query, name) in [
        ("raw=perhaps", "raw"),
        ("all_accounts=2", "all_accounts"),
        ("provider=claude", "provider"),
        ("refresh=soon", "refresh"),
    ] {
        let refusal = relay.get(&format!("{}?{query}", PATHS[0])).await.refusal();
        assert_eq!(refusal.line(), format!("422 invalid_request_error invalid_value {name}"));
    }
    let refusal = relay.get(&format!("{}?account=nobody", PATHS[0])).await.refusal();
    assert_eq!(refusal.line(), "404 invalid_request_error slot_not_found");
    assert_eq!(relay.ask(&Ask::get(PATHS[0])).await.status, 401, "for the owner only");
}

#[tokio::test]
async fn each_account_and_all_of_them_can_be_asked() {
    let relay = relay(&["first", "second", "third"]).await;
    relay.simulator.set_used("second", 90, 50);
    relay.post("/admin/slots/3/disable", &json!({})).await;
    for account in ["2", "slot-2"] {
        let status = relay.get(&format!("{}?account={account}", PATHS[0])).await.json();
        assert_eq!(status["rate_limits"]["default"]["primary_window"]["used_percent"], 90.0);
    }
    let login = relay.path(".airelays/auth.json");
    crate::harness::write(&login, "{}");
    let all = relay.get(&format!("{}?all_accounts=true", PATHS[0])).await.json();
    assert_eq!(all["object"], "accounts.subscription_status");
    let accounts = all["accounts"].as_array().expect("accounts");
    let slugs: Vec<_> = accounts.iter().map(|account| &account["slug"]).collect();
    assert_eq!(slugs, ["slot-1", "slot-2"], "the disabled one takes no part");
    assert!(accounts[0]["error"].as_str().is_some_and(|error| !error.is_empty()), "{all}");
    assert_eq!(accounts[1]["status"]["account"]["plan_type"], "plus");
}

#[tokio::test]
async fn an_upstream_that_does_not_say_is_told_as_it_is() {
    let relay = relay(&["first"]).await;
    relay.simulator.set_world("usage_route", "nulls").expect("a switch");
    let status = relay.get(&anew(PATHS[0])).await.json();
    assert_eq!(status["rate_limits"]["default"], Value::Null);
    assert_eq!(status["rate_limits"]["additional"], json!([]));
    relay.simulator.set_world("usage_route", "not-found").expect("a switch");
    assert_eq!(relay.get(&anew(PATHS[0])).await.status, 502);
    relay.simulator.set_world("usage_route", "rate-limit").expect("a switch");
    let reply = relay.get(&anew(PATHS[0])).await;
    assert_eq!(reply.refusal().line(), "429 rate_limit_error rate_limit_exceeded");
    assert_eq!(relay.slot(1).await["state"], "ready", "that route's limits are its own");
    let header = reply.header("authorization");
    assert_eq!((header, reply.text().contains(TOKEN)), (None, false));
}

#[tokio::test]
async fn a_page_that_asks_often_makes_the_upstream_say_it_once() {
    let relay = relay(&["first", "second"]).await;
    let used = |status: &Value| {
        let window = &status["rate_limits"]["default"]["primary_window"];
        window["used_percent"].to_string()
    };
    let first = relay.get(PATHS[0]).await.json();
    relay.simulator.set_used("first", 60, 4);
    for path in PATHS {
        assert_eq!(relay.get(path).await.json(), first, "with the moment in which it came");
    }
    assert_eq!(n_asked(&relay), 1);
    let all = relay.get(&format!("{}?all_accounts=true", PATHS[0])).await.json();
    assert_eq!(used(&all["accounts"][0]["status"]), "27.0");
    assert_eq!(n_asked(&relay), 2, "the other one was not known");
    assert_eq!(used(&relay.get(&anew(PATHS[0])).await.json()), "60.0");
    assert_eq!(used(&relay.get(PATHS[0]).await.json()), "60.0");
    assert_eq!(n_asked(&relay), 3);
    // Whoever asks for a new one elsewhere has asked for all.
    relay.simulator.set_used("first", 70, 4);
    relay.post("/admin/refresh-usage", &json!({})).await;
    assert_eq!(used(&relay.get(PATHS[0]).await.json()), "70.0");
}

#[tokio::test]
async fn many_who_ask_at_once_wait_for_one_answer() {
    let relay = relay(&["first"]).await;
    let asks = (0..8).map(|_| relay.get(PATHS[0]));
    let replies = futures_util::future::join_all(asks).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(n_asked(&relay), 1);
    // A failure is shared by those who waited for it, and not kept.
    let relay = self::relay(&["first"]).await;
    relay.simulator.set_world("usage_route", "not-found").expect("a switch");
    assert_eq!(relay.get(PATHS[0]).await.status, 502);
    relay.simulator.set_world("usage_route", "ok").expect("a switch");
    assert_eq!(relay.get(PATHS[0]).await.status, 200);
}

#[tokio::test]
async fn the_document_of_another_account_is_never_told() {
    let relay = relay(&["first"]).await;
    let first = relay.get(PATHS[0]).await.json();
    let login = relay.simulator.stored_login_for("second");
    crate::harness::write(&relay.path(".airelays/auth.json"), &login);
    // A turn is served with the new login, so whose the slot is has been seen.
    relay.say(crate::harness::dialect::Dialect::Chat, "hello").await;
    let second = relay.get(PATHS[0]).await.json();
    assert_ne!(first["account"]["email"], second["account"]["email"]);
}
