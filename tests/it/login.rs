//! The owner's login as clients meet it: renewed without their noticing, and told plainly when it
//! cannot be.

use std::{fs, os::unix::fs::PermissionsExt};

use futures_util::future::join_all;
use serde_json::Value;

use crate::harness::{
    Relay, Setup, TOKEN,
    dialect::Dialect,
    eventually,
    http::{Answering, Ask, Reply},
    place::Place,
    program::Program,
    write,
};

const AUTH_FILE: &str = ".airelays/auth.json";

/// The relay before a simulator in its own process, and before one across the network.
async fn both_ways(setup: impl Fn() -> Setup) -> [Relay; 2] {
    [setup().start().await, setup().log_in().start_over_network().await]
}

async fn many_at_once(relay: &Relay) -> Vec<Reply> {
    let one = |n: usize| async move {
        let dialect = Dialect::ALL[n % 3];
        let text = format!("[sim say: number {n}]");
        if n.is_multiple_of(2) {
            relay.say(dialect, &text).await
        } else {
            relay.say_streamed(dialect, &text).await
        }
    };
    join_all((0..20).map(one)).await
}

#[tokio::test]
async fn a_login_that_ended_is_renewed_once_for_all() {
    for relay in both_ways(Setup::new).await {
        assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
        relay.simulator.expire_access_tokens();
        relay.simulator.clear();
        for reply in many_at_once(&relay).await {
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        let counters = relay.simulator.counters();
        assert_eq!((counters.refreshes, counters.spent_refreshes), (1, 0));
        assert_eq!(counters.statuses.get(&200), Some(&20));
    }
}

#[tokio::test]
async fn a_login_that_is_over_when_the_relay_starts_is_renewed_before_anything_is_sent() {
    for relay in both_ways(|| Setup::new().world("token_lifetime", "-60")).await {
        relay.simulator.set_world("token_lifetime", "3600").expect("a switch");
        for reply in many_at_once(&relay).await {
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        let counters = relay.simulator.counters();
        assert_eq!((counters.refreshes, counters.spent_refreshes), (1, 0));
        assert_eq!(counters.statuses.get(&401), None, "no request was in vain");
    }
}

#[tokio::test]
async fn a_list_of_models_renews_the_login_as_well() {
    for relay in both_ways(Setup::new).await {
        relay.simulator.expire_access_tokens();
        assert_eq!(relay.get("/v1/models").await.status, 200);
        assert_eq!(relay.simulator.counters().refreshes, 1);
    }
}

#[tokio::test]
async fn what_a_renewal_gives_is_on_the_disk_and_the_owners_alone() {
    let relay = Setup::new().log_in().start_over_network().await;
    let read = || {
        let text = fs::read_to_string(relay.path(AUTH_FILE)).expect("a login");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let before = read();
    relay.simulator.expire_access_tokens();
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    let after = read();
    for token in ["id_token", "access_token", "refresh_token"] {
        assert_ne!(before["tokens"][token], after["tokens"][token], "{token}");
    }
    assert_eq!(before["tokens"]["account_id"], after["tokens"]["account_id"]);
    assert_eq!(before["bound_account_id"], after["bound_account_id"]);
    let mode = fs::metadata(relay.path(AUTH_FILE)).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let seen = relay.upstream_requests().pop().expect("a request");
    let bearer = format!("Bearer {}", after["tokens"]["access_token"].as_str().expect("a token"));
    assert_eq!(seen.header("authorization"), Some(bearer.as_str()));
    assert_eq!(seen.header("chatgpt-account-id"), after["tokens"]["account_id"].as_str());
}

/// What everybody is told about a login that cannot be used.
#[track_caller]
fn check_login_trouble(reply: &Reply, state: &str, sentence: &str, is_final: bool) {
    let refusal = reply.refusal().line();
    assert_eq!(refusal, format!("503 authentication_error upstream_auth_{state}"));
    assert_eq!(reply.header("x-airelays-upstream-auth"), Some(state));
    assert_eq!(reply.header("x-should-retry"), is_final.then_some("false"));
    let message = reply.json()["error"]["message"].as_str().expect("text").to_owned();
    assert_eq!(message, sentence);
}

#[tokio::test]
async fn a_login_that_cannot_be_renewed_is_told_and_not_tried_again() {
    for (switch, sentence) in [
        ("", "Token refresh failed: the refresh token was revoked."),
        ("expired", "Token refresh failed: the refresh token has expired."),
        ("invalidated", "Token refresh failed: the refresh token was revoked."),
        (
            "other-account",
            "Token refresh failed: the sign-in server answered with tokens of another account.",
        ),
    ] {
        for relay in both_ways(Setup::new).await {
            relay.simulator.expire_access_tokens();
            match switch {
                "" => relay.simulator.revoke_refresh_tokens(),
                value => relay.simulator.set_world("refresh", value).expect("a switch"),
            }
            let replies = many_at_once(&relay).await;
            let later = relay.get("/v1/models").await;
            for reply in replies.iter().chain([&later]) {
                let sentence = format!("{sentence} Run `airelays login` again.");
                check_login_trouble(reply, "refresh_failed", &sentence, true);
            }
            assert_eq!(relay.simulator.counters().refreshes, 1, "{switch}");
        }
    }
}

#[tokio::test]
async fn an_issuer_in_trouble_is_told_as_something_that_passes() {
    for (switch, what) in [
        ("server-error", "the sign-in server answered 500"),
        ("cloudflare", "the sign-in server answered 403"),
    ] {
        for relay in both_ways(Setup::new).await {
            relay.simulator.set_world("refresh", switch).expect("a switch");
            relay.simulator.expire_access_tokens();
            let sentence = format!("Token refresh failed: {what}. Try again in a moment.");
            let reply = relay.say(Dialect::Chat, "hello").await;
            check_login_trouble(&reply, "refresh_failed", &sentence, false);
        }
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_every_token_costs_one_renewal() {
    for relay in both_ways(Setup::new).await {
        for marker in ["unauthorized", "unauthorized: detail"] {
            for dialect in Dialect::ALL {
                let reply = relay.say_streamed(dialect, &format!("[sim {marker}]")).await;
                assert_eq!(reply.refusal().code.as_deref(), Some("upstream_auth_rejected"));
                assert_eq!(reply.header("x-airelays-upstream-auth"), Some("rejected"));
                assert_eq!(reply.header("x-should-retry"), Some("false"));
            }
        }
        let counters = relay.simulator.counters();
        assert_eq!((counters.refreshes, counters.spent_refreshes), (1, 0));
        assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    }
}

#[tokio::test]
async fn a_login_may_come_and_go_while_the_relay_runs() {
    let relay = Setup::new().start_over_network().await;
    let missing = "No ChatGPT login found. Run `airelays login` first.";
    for dialect in Dialect::ALL {
        check_login_trouble(&relay.say(dialect, "hello").await, "missing", missing, true);
        check_login_trouble(&relay.say_streamed(dialect, "hello").await, "missing", missing, true);
    }
    check_login_trouble(&relay.get("/v1/models").await, "missing", missing, true);
    let ready =
        async || relay.get("/v1/relay/status").await.json()["ready"]["upstream_auth"].clone();
    assert_eq!(ready().await, false);
    write(&relay.path(AUTH_FILE), &relay.simulator.stored_login());
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    assert_eq!(ready().await, true);
    write(&relay.path(AUTH_FILE), &relay.simulator.stored_login_for("another"));
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    write(&relay.path(AUTH_FILE), "{");
    let unreadable = "The stored ChatGPT login could not be read.";
    check_login_trouble(&relay.say(Dialect::Chat, "x").await, "unreadable", unreadable, true);
    write(&relay.path(AUTH_FILE), "{}");
    let incomplete = "Stored auth does not include an access token or refresh token.";
    check_login_trouble(&relay.say(Dialect::Chat, "x").await, "incomplete", incomplete, true);
    fs::remove_file(relay.path(AUTH_FILE)).expect("removed");
    check_login_trouble(&relay.say(Dialect::Chat, "x").await, "missing", missing, true);
}

#[tokio::test]
async fn accounts_in_trouble_are_told_apart() {
    for (account, expected) in [
        ("deactivated", "503 authentication_error upstream_auth_workspace_rejected"),
        ("spent", "429 rate_limit_error usage_limit_reached"),
        ("not-included", "503 authentication_error upstream_auth_plan_not_included"),
        ("fedramp", "200"),
        ("unknown-plan", "200"),
    ] {
        let relay = Setup::new().log_in_as(account).start_over_network().await;
        let reply = relay.say(Dialect::Responses, "hello").await;
        let found = if reply.status == 200 { "200".to_owned() } else { reply.refusal().line() };
        assert_eq!(found, expected, "{account}");
    }
}

#[tokio::test]
async fn the_relay_token_never_leaves_and_the_login_lets_nobody_in() {
    let relay = Setup::new().log_in().start_over_network().await;
    relay.simulator.expire_access_tokens();
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    for seen in relay.simulator.recorded() {
        let whole = format!("{seen:?}");
        assert!(!whole.contains(TOKEN), "{} {}", seen.method, seen.path);
    }
    let login = fs::read_to_string(relay.path(AUTH_FILE)).expect("a login");
    let login: Value = serde_json::from_str(&login).expect("JSON");
    for token in ["access_token", "refresh_token", "id_token"] {
        let token = login["tokens"][token].as_str().expect("a token");
        let ask = Ask::get("/v1/models").bearer(token);
        assert_eq!(relay.ask(&ask).await.status, 401);
    }
}

/// What the upstream lists depends on the version of the client that asks; a relay that runs for
/// months would never see newer models.
#[tokio::test(flavor = "multi_thread")]
async fn an_installed_codex_that_is_newer_is_spoken_as() {
    for (script, setting, expected) in [
        ("echo codex-cli 0.169.2", "auto", "0.169.2"),
        ("echo codex-cli 0.99.0", "auto", "0.156.1"),
        ("echo codex-cli 0.169.2", "0.157.0", "0.157.0"),
        ("echo 'is there a number?'; exit 1", "auto", "0.156.1"),
        ("exec sleep 20", "auto", "0.156.1"),
    ] {
        let place = Place::new().await;
        let codex = place.home.path().join("bin/codex");
        write(&codex, &format!("#!/bin/sh\n: > \"$HOME/asked\"\n{script}\n"));
        fs::set_permissions(&codex, fs::Permissions::from_mode(0o755)).expect("set");
        let mut serve = place.serve();
        serve.env("PATH", codex.parent().expect("a folder"));
        serve.env("AIRELAYS_CLIENT_VERSION", setting);
        let mut relay = Program::spawn(serve);
        let address = relay.address();
        if setting == "auto" {
            let asked = place.home.path().join("asked");
            eventually("it to be asked", || asked.exists()).await;
        }
        let ask = Ask::get("/v1/models").bearer(TOKEN).bytes();
        let versions = || {
            let recorded = place.simulator.recorded();
            let lists = recorded.iter().filter(|it| it.path.ends_with("/models"));
            lists.map(|it| it.header("version").unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let mut last = String::new();
        // The first list may be that of the older one, and the next is fetched behind its back.
        for _ in 0..100 {
            let reply = Answering::to(address, &ask).await.whole().await;
            assert_eq!(reply.status, 200);
            last = versions().pop().expect("a list was asked for");
            if last == expected {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(last, expected, "{script} {setting}");
        relay.kill();
    }
}
