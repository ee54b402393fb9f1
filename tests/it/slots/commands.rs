//! The commands: with a relay that runs and without, under their names and their former ones.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Output};

use serde_json::Value;

use crate::harness::{
    TOKEN, dialect::Dialect::Chat, http::Ask, place::Place, program::Program, write,
};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn run(place: &Place, line: &str) -> Said {
    let mut command = place.command(line);
    let ended = tokio::task::spawn_blocking(move || command.output());
    let Output { status, stdout, stderr } = ended.await.expect("it ends").expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

async fn json(place: &Place, line: &str) -> Value {
    let said = run(place, line).await;
    assert_eq!(said.code, Some(0), "{line}: {}{}", said.out, said.err);
    let document = serde_json::from_str(&said.out);
    assert!(document.is_ok(), "{line}: {}", said.out);
    document.unwrap_or_default()
}

/// A home with two accounts and a token.
async fn place() -> Place {
    let place = Place::new().await;
    add(&place, 2, "second");
    assert_eq!(run(&place, "init").await.code, Some(0));
    place
}

fn add(place: &Place, number: u32, account: &str) {
    let file = place.home.path().join(format!(".airelays/accounts/slot-{number}/auth.json"));
    write(&file, &place.simulator.stored_login_for(account));
}

async fn ids(place: &Place) -> Vec<String> {
    let list = json(place, "slot list --json").await;
    let slots = list["slots"].as_array().expect("slots").iter();
    slots.map(|slot| slot["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_listed_decided_about_and_forgotten_without_a_relay() {
    let place = place().await;
    add(&place, 10, "third");
    assert_eq!(ids(&place).await, ["slot-1", "slot-2", "slot-10"], "by number, not by text");
    let said = run(&place, "slot list").await.out;
    for text in ["slot-1 · first@simulator.example", "ready", "not known yet"] {
        assert!(said.contains(text), "{said}");
    }
    assert_eq!(json(&place, "slot disable 2 --json").await["slot"]["state"], "disabled");
    assert_eq!(json(&place, "slot-enable --slot 2 --json").await["slot"]["state"], "ready");
    assert_eq!(json(&place, "slot pause slot-2 --json").await["slot"]["paused"], true);
    assert_eq!(
        json(&place, "slot resume second@simulator.example --json").await["slot"]["paused"],
        false
    );
    let label = json(&place, "slot label 10 work --json").await;
    assert_eq!(label["slot"]["label"], "work");
    json(&place, "slot order work 1 --json").await;
    assert_eq!(ids(&place).await, ["slot-10", "slot-1", "slot-2"]);
    let set = "slot set work --weight 3 --priority -2 --reserve 12.5 --models gpt-5.4,gpt-5.4-mini \
               --last-resort on --json";
    let slot = &json(&place, set).await["slot"];
    assert_eq!((&slot["weight"], &slot["priority"]), (&3.into(), &(-2).into()));
    assert_eq!((&slot["reserve_percent"], &slot["last_resort"]), (&12.5.into(), &true.into()));
    let set = "slot set work --weight 0 --reserve default --models all --last-resort off --json";
    let slot = &json(&place, set).await["slot"];
    assert_eq!((&slot["weight"], &slot["models"]), (&Value::Null, &Value::Array(Vec::new())));
    assert_eq!(json(&place, "slot policy weighted --json").await["policy"], "weighted");
    assert_eq!(json(&place, "balance --json").await["policy"], "weighted");
    assert_eq!(json(&place, "slot policy default --json").await["policy"], "best-week-then-5h");
    let gone = json(&place, "slot-remove --slot 10 --json").await;
    assert_eq!((&gone["removed"]["id"], &gone["revoked"]), (&"slot-10".into(), &true.into()));
    assert_eq!(ids(&place).await, ["slot-1", "slot-2"]);
    assert!(!place.home.path().join(".airelays/accounts/slot-10").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_in_one_line() {
    let place = place().await;
    for (line, expected) in [
        ("slot enable 9", "there is no slot `9`; there are: slot-1, slot-2"),
        ("slot enable ../../x", "there is no slot `../../x`"),
        ("slot policy best", "`best` is no policy; there are: best-week-then-5h, "),
        ("slot set 1 --reserve much", "a reserve is a number from 0 to 100"),
        ("slot usage-set 1 --five-hours many --week 9%", "`many` says no percentage"),
        ("slot explain req_1", "no relay is running"),
        ("slot import /nowhere --yes", "There is no login to import at /nowhere"),
        ("slot redeem", "there are several slots; say which"),
        ("logout", "There are several slots; say which, or `--all`: slot-1, slot-2"),
        ("slot remove 2", "nothing was removed: add `--yes` if you want that"),
    ] {
        let said = run(&place, line).await;
        assert_eq!(said.code, Some(1), "{line}: {}", said.out);
        assert!(said.err.contains(expected), "{line}: {}", said.err);
        assert!(!said.err.contains("panicked"), "{}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_changes_the_slots_is_waited_for_and_then_told_of() {
    let place = place().await;
    let lock = place.home.path().join(".airelays/slots.json.lock");
    write(&lock, "");
    let held = std::fs::File::open(&lock).expect("opened");
    held.lock().expect("locked");
    let said = run(&place, "slot pause 1").await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("another process is changing the slots"), "{}", said.err);
    drop(held);
    assert_eq!(json(&place, "slot pause 1 --json").await["slot"]["state"], "paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_could_change_or_read_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let place = place().await;
    let accounts = place.home.path().join(".airelays/accounts");
    let login = accounts.join("slot-2/auth.json");
    let open = |path: &Path, mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("set");
    };
    open(&login, 0o644);
    let said = run(&place, "status").await.err;
    assert!(said.contains("slot-2/auth.json can be read by other users"), "{said}");
    open(&login, 0o600);
    open(&accounts, 0o777);
    let said = run(&place, "serve --port 0").await;
    assert_eq!(said.code, Some(1));
    let told = "accounts can be changed by every user of this machine";
    assert!(said.err.contains(told), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_asked_for_kept_and_shown() {
    let place = place().await;
    place.simulator.set_used("first", 25, 50);
    let updated = json(&place, "refresh-usage --json").await;
    assert_eq!(updated["updated"][0]["fivePct"], 75, "{updated}");
    let said = run(&place, "slot list").await.out;
    assert!(said.contains("███████████████░░░░░ 75 % left, resets in 3h 4"), "{said}");
    let said = run(&place, "usage").await;
    assert!(said.code == Some(0) && said.out.contains("50 % left"), "{}", said.out);
    let set = "slot-usage-set --slot 2 --usage5h 95%left --usageWeek 0% --json";
    let slot = json(&place, set).await;
    assert_eq!(slot["slot"]["usage"]["fivePct"], 95, "{slot}");
    assert_eq!(slot["slot"]["state"], "exhausted");
    assert_eq!(json(&place, "slot clear 2 --json").await["slot"]["state"], "ready");
    place.simulator.set_world("usage_route", "not-found").expect("a switch");
    let said = run(&place, "refresh-usage").await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("the usage of no slot could be read"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_runs_is_asked_and_follows() {
    let place = place().await;
    let mut relay = place.relay();
    let address = relay.address();
    let health = json(&place, "health --json").await;
    assert_eq!((&health["running"], &health["healthz"]["ok"]), (&true.into(), &true.into()));
    json(&place, "slot disable 1 --json").await;
    let ask = Ask::post(Chat.path(), Chat.body("hello").to_string()).bearer(TOKEN);
    let ask = ask.header("content-type", "application/json");
    let reply = crate::harness::http::Answering::to(address, &ask.bytes()).await.whole().await;
    assert_eq!(reply.header("x-relay-slot-id"), Some("slot-2"), "{}", reply.text());
    let id = reply.header("x-request-id").expect("an id");
    let told = json(&place, &format!("slot explain {id} --json")).await;
    assert_eq!(told["attempts"][0]["slot"], "slot-2");
    let said = run(&place, &format!("slot explain {id}")).await.out;
    assert!(
        said.contains("slot-2 (best-week-then-5h)") && said.contains("it is disabled"),
        "{said}"
    );
    assert_eq!(json(&place, "slot policy ordered --json").await["policy"], "ordered");
    let book = place.home.path().join(".airelays/slots.json");
    let good = std::fs::read_to_string(&book).expect("read");
    write(&book, r#"{"version":9}"#);
    let list = json(&place, "slot list --json").await;
    let problem = list["problem"].as_str().expect("a problem");
    assert!(problem.contains("was made by a newer version"), "{problem}");
    write(&book, &good);
    assert_eq!(json(&place, "slot list --json").await["problem"], Value::Null);
    let said = json(&place, "slot test 1 --prompt pong? --json").await;
    assert_eq!(said["slot"], "slot-1", "{said}");
    let resets = json(&place, "slot resets --json").await;
    assert_eq!(resets["available_count"], 1, "the disabled one is not asked: {resets}");
    let redeemed = json(&place, "slot redeem 2 --yes --json").await;
    assert_eq!(redeemed["outcome"], "reset", "{redeemed}");
    let said = run(&place, "slot usage-set 2 --five-hours 5% --week 5%").await;
    assert!(said.err.contains("a relay is running and knows better"), "{}", said.err);
    assert_eq!(
        json(&place, "dependency-map --json").await["dependencyMap"]["usage"]["status"],
        "OpenClaw-independent"
    );
    // A slot that comes while it runs is there without a restart.
    add(&place, 3, "third");
    assert_eq!(ids(&place).await, ["slot-1", "slot-2", "slot-3"]);
    relay.kill();
    let health = json(&place, "health --json").await;
    assert_eq!(health["running"], false, "what a killed relay left behind fools nobody");
}

/// Commands once needed the relay's address, its token, and that it spoke plain http.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_found_wherever_it_listens_and_whatever_its_token_is() {
    let tls = |name: &str| format!("{}/tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let place = place().await;
    let own = [("AIRELAYS_BEARER_TOKEN", "a-token-that-no-command-knows".to_owned())];
    let encrypted = [("AIRELAYS_TLS_CERT", tls("cert.pem")), ("AIRELAYS_TLS_KEY", tls("key.pem"))];
    let elsewhere = [("AIRELAYS_HOST", "::1".to_owned())];
    let socket = place.home.path().join(".airelays/control.sock");
    for variables in [&own[..], &encrypted, &elsewhere] {
        // What a killed relay left behind is in nobody's way.
        let mut serve = place.serve();
        serve.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
        let mut relay = Program::spawn(serve);
        relay.address();
        let health = json(&place, "health --json").await;
        assert_eq!((&health["running"], &health["healthz"]["ok"]), (&true.into(), &true.into()));
        assert_eq!(json(&place, "slot test 1 --json").await["slot"], "slot-1");
        let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        relay.kill();
    }
    assert_eq!(json(&place, "health --json").await["running"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_of_the_usage_survives_a_restart() {
    let place = place().await;
    place.simulator.set_used("first", 100, 5);
    place.simulator.set_resets("first", 3600, 7200);
    json(&place, "refresh-usage --json").await;
    place.simulator.clear();
    let mut relay = place.relay();
    let address = relay.address();
    let ask = Ask::post(Chat.path(), Chat.body("hello").to_string());
    let ask = ask.bearer(TOKEN).header("content-type", "application/json");
    let reply = crate::harness::http::Answering::to(address, &ask.bytes()).await.whole().await;
    assert_eq!((reply.status, reply.header("x-relay-slot-id")), (200, Some("slot-2")));
    let inference = |path: &str| path.ends_with("/responses");
    let n = place.simulator.recorded().iter().filter(|it| inference(&it.path)).count();
    assert_eq!(n, 1, "nothing is asked in vain");
    let kept = || std::fs::read_to_string(place.home.path().join(".airelays/slots-usage.json"));
    assert!(kept().expect("kept").contains("\"used_percent\": 100"));
    relay.kill();
    // What was known of one account is not about another.
    let login = place.simulator.stored_login_for("third");
    write(&place.home.path().join(".airelays/auth.json"), &login);
    let mut relay = place.relay();
    let address = relay.address();
    let ask = Ask::post("/admin/slots/slot-1/test", "{}").bearer(TOKEN);
    let ask = ask.header("content-type", "application/json");
    let reply = crate::harness::http::Answering::to(address, &ask.bytes()).await.whole().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let slot = json(&place, "slot list --json").await;
    assert_eq!(slot["slots"][0]["usage"]["fivePct"], 73, "{slot}");
    relay.kill();
}

/// A login was lost after the browser, and `status` showed nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn decisions_that_cannot_be_read_stop_no_login() {
    let place = Place::new().await;
    assert_eq!(run(&place, "init").await.code, Some(0));
    let book = place.home.path().join(".airelays/slots.json");
    write(&book, "{\"version\":1,");
    let status = json(&place, "status --json").await;
    assert_eq!(status["auth"]["ready_for_requests"], true);
    let problem = status["slots_problem"].as_str().expect("a problem");
    assert!(problem.contains("slots.json is not what it should be"), "{problem}");
    assert!(run(&place, "status").await.out.contains("slots.json is not what it should be"));
    let other = place.home.path().join("other.json");
    write(&other, &place.simulator.stored_login_for("second"));
    let line = format!("login --import {} --yes", other.display());
    let said = run(&place, &line).await;
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(place.home.path().join(".airelays/accounts/slot-2/auth.json").exists());
    // Whoever keeps a reserve does not want it drained.
    let said = run(&place, "serve --port 0").await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("Mend the file, or move it away"), "{}", said.err);
    std::fs::rename(&book, book.with_extension("broken")).expect("moved");
    assert_eq!(ids(&place).await, ["slot-1", "slot-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_whose_answer_was_lost_is_asked_for_again_under_its_id() {
    let place = place().await;
    let file = place.home.path().join(".airelays/accounts/slot-2/auth.json");
    let login = std::fs::read(&file).expect("read");
    std::fs::remove_file(&file).expect("removed");
    write(&file, "{}");
    let said = run(&place, "slot redeem 2 --yes").await;
    assert_eq!(said.code, Some(1));
    let (_, id) = said.err.split_once("--request-id ").expect("an id");
    let id = id.split('`').next().expect("an id").to_owned();
    std::fs::write(&file, login).expect("written");
    let line = format!("slot redeem 2 --yes --json --request-id {id}");
    let first = json(&place, &line).await;
    assert_eq!((&first["outcome"], &first["redeem_request_id"]), (&"reset".into(), &id.into()));
    assert_eq!(json(&place, &line).await["outcome"], "already_redeemed");
    assert_eq!(json(&place, "slot resets 2 --json").await["available_count"], 0);
}

/// What stands at the place, by path.
fn content(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = crate::harness::log::files(dir).into_iter();
    files.map(|(path, _)| (path.clone(), std::fs::read(path).expect("read"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_of_other_programs_are_copied_and_nothing_of_theirs_is_touched() {
    let place = place().await;
    let other = tempfile::tempdir().expect("a folder");
    let login = |account: &str| -> Value {
        serde_json::from_str(&place.simulator.stored_login_for(account)).expect("JSON")
    };
    let profile = |account: &str| {
        let tokens = &login(account)["tokens"];
        serde_json::json!({"version": 1, "profiles": {
            "openai-codex:default": {"type": "oauth", "provider": "openai-codex",
                "access": tokens["access_token"], "refresh": tokens["refresh_token"],
                "accountId": tokens["account_id"]},
            "anthropic:default": {"type": "api_key", "provider": "anthropic", "key": "sk-other"},
        }})
    };
    for (slot, account) in [("slot-1", "first"), ("slot-7", "seventh")] {
        let path = format!("state/slots/{slot}/agent/auth-profiles.json");
        write(&other.path().join(path), &profile(account).to_string());
    }
    let slots = serde_json::json!({"version": 1, "slots": [
        {"id": "slot-1", "label": "mine", "enabled": true},
        {"id": "slot-7", "label": "other", "enabled": false},
        {"id": "slot-1/../../../x", "label": "evil", "enabled": true},
    ]});
    write(&other.path().join("config/slots.json"), &slots.to_string());
    let before = content(other.path());
    let line = format!("slot import {} --yes --json", other.path().display());
    let done = json(&place, &line).await;
    assert_eq!(done["kind"], "codex-slot-relay", "{done}");
    let rows = done["imported"].as_array().expect("rows");
    let slots: Vec<_> = rows.iter().map(|row| row["slot"].as_str().expect("a slot")).collect();
    assert_eq!(slots, ["slot-1", "slot-7"], "{done}");
    assert_eq!(done["skipped"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(content(other.path()), before);
    let list = json(&place, "slot list --json").await;
    let seventh = &list["slots"][2];
    assert_eq!(
        (&seventh["label"], &seventh["enabled"]),
        (&"other".into(), &false.into()),
        "{list}"
    );
    let said = run(&place, &format!("slot import {}", other.path().display())).await;
    let caution = "the first refresh by either ends the login of the other";
    assert!(said.out.contains(caution), "{}", said.out);
    assert_eq!(said.code, Some(1), "nobody agreed");
}

/// AIRelays 0.22's own folder, with its order.
#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_of_airelays_come_in_their_order() {
    let place = place().await;
    add(&place, 7, "seventh");
    let python = tempfile::tempdir().expect("a folder");
    write(&python.path().join("auth.json"), &place.simulator.stored_login_for("eighth"));
    let slug = "ninth-0123456789";
    write(
        &python.path().join(format!("accounts/{slug}/auth.json")),
        &place.simulator.stored_login_for("ninth"),
    );
    let manifest = format!(r#"{{"order": ["{slug}", "default"]}}"#);
    write(&python.path().join("accounts/manifest.json"), &manifest);
    let done = json(&place, &format!("slot import {} --yes --json", python.path().display())).await;
    let slots: Vec<_> =
        done["imported"].as_array().expect("rows").iter().map(|row| &row["slot"]).collect();
    assert_eq!(slots, [slug, "slot-3"], "{done}");
    // They stand in its order, behind those that were there.
    assert_eq!(ids(&place).await, ["slot-1", "slot-2", "slot-7", slug, "slot-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_is_another_slot_and_the_same_one_is_refreshed() {
    let place = Place::new().await;
    run(&place, "init").await;
    place.simulator.set_world("login_account", "second").expect("a switch");
    let said = sign_in(&place, "login --device").await;
    assert!(said.contains("Slot:              slot-2"), "{said}");
    assert_eq!(ids(&place).await, ["slot-1", "slot-2"]);
    let said = sign_in(&place, "slot-login --slot 5 --label me --device").await;
    assert!(
        said.contains("This account is slot-2 already; its login was refreshed there."),
        "{said}"
    );
    assert_eq!(ids(&place).await, ["slot-1", "slot-2"]);
    assert_eq!(json(&place, "slot list --json").await["slots"][1]["label"], "me");
    // Another workspace of the same person is another account.
    for account in ["team", "first"] {
        place.simulator.set_world("login_account", account).expect("a switch");
        sign_in(&place, "login --device").await;
    }
    assert_eq!(ids(&place).await, ["slot-1", "slot-2", "slot-3"]);
    let status = json(&place, "status --json").await;
    assert_eq!(status["slots"].as_array().map(Vec::len), Some(3), "{status}");
    let said = run(&place, "logout --all --json").await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(ids(&place).await, ["slot-1"]);
    assert_eq!(json(&place, "slot list --json").await["slots"][0]["state"], "needs_login");
}

/// Signs in with a code that is typed at once.
async fn sign_in(place: &Place, line: &str) -> String {
    let said = run(place, line).await;
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    said.out + &said.err
}
