//! `airelays doctor`: what it finds, what it says to do, and what it never says.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use airelays::sim::{Recorded, Step};
use serde_json::Value;

use crate::harness::{TOKEN, place::Place, program::Program, write};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn said(mut command: Command) -> Said {
    let ended = tokio::task::spawn_blocking(move || command.output());
    let Output { status, stdout, stderr } = ended.await.expect("it ends").expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// What it found, as a document.
struct Found {
    code: Option<i32>,
    document: Value,
}

impl Found {
    /// The check of this name.
    fn check(&self, name: &str) -> &Value {
        let checks = self.document["checks"].as_array().expect("checks");
        let named = checks.iter().find(|check| check["name"] == name);
        named.expect(name)
    }

    fn status(&self, name: &str) -> &str {
        self.check(name)["status"].as_str().expect("a status")
    }

    /// The checks that are not fine, as `name status`.
    fn odd(&self) -> Vec<String> {
        let checks = self.document["checks"].as_array().expect("checks").iter();
        let odd = checks.filter(|check| check["status"] != "pass");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        odd.map(|check| format!("{} {}", text(&check["name"]), text(&check["status"]))).collect()
    }

    /// The assumptions of this verdict.
    fn rows(&self, verdict: &str) -> Vec<&str> {
        let rows = self.document["contract"].as_array().expect("rows").iter();
        let found = rows.filter(|row| row["verdict"] == verdict);
        found.map(|row| row["id"].as_str().expect("an id")).collect()
    }
}

/// A home that is set up, before a simulator.
async fn home() -> Place {
    let place = Place::new().await;
    assert_eq!(said(place.command("init")).await.code, Some(0));
    place
}

/// Looks at it without a port, which somebody on the machine may have.
fn doctor(place: &Place, flags: &str) -> Command {
    let mut command = place.command(&format!("doctor {flags}"));
    command.env("AIRELAYS_PORT", "0");
    command
}

async fn found(mut command: Command) -> Found {
    command.arg("--json");
    let Said { code, out, err } = said(command).await;
    let document = serde_json::from_str(&out);
    assert!(document.is_ok(), "{out}{err}");
    Found { code, document: document.unwrap_or_default() }
}

fn requests(place: &Place) -> Vec<Recorded> {
    let recorded = place.simulator.recorded().into_iter();
    recorded.filter(|seen| seen.path.ends_with("/responses")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_and_the_contract_holds() {
    let place = home().await;
    let Said { code, out, err } = said(doctor(&place, "")).await;
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    for line in [
        "✓ settings",
        "✓ relay token      present, from AIRELAYS_BEARER_TOKEN",
        "✓ relay            none runs on this data directory",
        "✓ clock            right, within a minute",
        "✓ login            signed in, plan plus; its token is good for 9d 23h",
        "✓ models           13 in the catalogue, 11 of them offered",
        "✓ usage            5 h 73% left, week 96% left",
        "✓ request          gpt-5.4-mini answered in ",
        "✓ stream           15 of 15 hold",
        "\n\nAll is well.\n",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let sent = requests(&place);
    let asked = &sent.last().expect("one").body;
    assert_eq!((sent.len(), &asked["model"]), (1, &"gpt-5.4-mini".into()));
    assert_eq!(asked["reasoning"]["effort"], "low");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_has_every_assumption_and_nobodys_name() {
    let place = home().await;
    let found = found(doctor(&place, "")).await;
    assert_eq!((found.code, &found.document["ok"]), (Some(0), &true.into()));
    assert_eq!(found.odd(), [""; 0]);
    assert_eq!(found.rows("does_not_hold"), [""; 0]);
    // Nothing stops the account.
    assert_eq!(found.rows("not_seen"), ["usage.reached"]);
    assert_eq!(found.document["contract"].as_array().expect("rows").len(), 54);
    let table = said(doctor(&place, "--contract")).await.out;
    for text in [found.document.to_string(), table] {
        let login = std::fs::read_to_string(place.login_file()).expect("readable");
        let login: Value = serde_json::from_str(&login).expect("JSON");
        let tokens = &login["tokens"];
        let secrets = ["access_token", "refresh_token", "id_token", "account_id"];
        let secrets = secrets.map(|name| tokens[name].as_str().expect(name));
        for secret in secrets.into_iter().chain([TOKEN, "@simulator.example"]) {
            assert!(!text.contains(secret), "{secret}");
        }
        assert!(text.contains("`response.created` comes first."), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_request_none_is_sent() {
    let place = home().await;
    for flag in ["--no-request", "--skip-response"] {
        let found = found(doctor(&place, flag)).await;
        let expected = ["request skip", "contract_headers skip", "contract_stream skip"];
        assert_eq!((found.code, found.odd()), (Some(0), expected.map(str::to_owned).into()));
    }
    assert_eq!(requests(&place).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_it_says_so_and_goes_on() {
    let place = home().await;
    std::fs::remove_file(place.login_file()).expect("removed");
    let found = found(doctor(&place, "")).await;
    assert_eq!(found.code, Some(1));
    let expected = ["login fail", "models skip", "usage skip", "request skip", "contract_all skip"];
    assert_eq!(found.odd(), expected);
    assert_eq!(found.document["next_steps"], serde_json::json!(["airelays login"]));
    assert_eq!(found.status("upstream"), "pass");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_each_check_says_its_own() {
    let place = home().await;
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let mut command = doctor(&place, "");
    command
        .env("AIRELAYS_UPSTREAM_BASE_URL", format!("http://{closed}/backend-api/codex"))
        .env("AIRELAYS_ISSUER_BASE_URL", format!("http://{closed}"));
    let found = found(command).await;
    assert_eq!(found.code, Some(1));
    for (name, status, message) in [
        ("upstream", "fail", "cannot be reached: Connection refused"),
        ("issuer", "fail", "cannot be reached: Connection refused"),
        ("clock", "skip", "nobody said what time it is"),
        ("models", "skip", "the upstream cannot be reached"),
        ("request", "skip", "the upstream cannot be reached"),
    ] {
        let check = found.check(name);
        assert_eq!(check["status"], status, "{name}");
        assert!(check["message"].as_str().expect("text").contains(message), "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_port_is_told() {
    let place = home().await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = |port: u16, dir: Option<&str>| {
        let mut command = place.command("doctor --no-request");
        command.env("AIRELAYS_PORT", port.to_string());
        if let Some(dir) = dir {
            command.env("AIRELAYS_DATA_DIR", place.home.path().join(dir));
        }
        command
    };
    let port = taken.local_addr().expect("bound").port();
    let found_taken = found(at(port, None)).await;
    assert_eq!((found_taken.code, found_taken.status("port")), (Some(1), "fail"));
    let message = found_taken.check("port")["message"].to_string();
    assert!(message.contains("in use: another program listens there"), "{message}");
    drop(taken);
    assert_eq!(found(at(port, None)).await.status("port"), "pass");

    let mut relay: Program = place.relay();
    let port = relay.address().port();
    let own = found(at(port, None)).await;
    assert_eq!((own.status("relay"), own.status("port"), own.code), ("pass", "pass", Some(0)));
    let version = format!("version {} runs", env!("CARGO_PKG_VERSION"));
    assert_eq!(own.check("relay")["message"], version.as_str());
    let others = found(at(port, Some("other"))).await;
    assert_eq!((others.status("relay"), others.status("port")), ("pass", "fail"));
    let message = others.check("port")["message"].to_string();
    assert!(message.contains("a relay of another data directory"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_has_changed_is_told_by_name() {
    let place = home().await;
    for (switch, value, usual, code, expected) in [
        ("completed_output", "filled", "empty", 0, "stream.output"),
        ("usage_details", "null", "full", 0, "stream.usage_details"),
        ("usage_route", "not-found", "ok", 0, "usage.route"),
        ("models", "bad-entry", "ok", 0, "models.whole"),
        ("models", "empty", "ok", 1, "models.list"),
        ("models", "not-found", "ok", 1, "models.route"),
    ] {
        place.simulator.set_world(switch, value).expect("a switch");
        let found = found(doctor(&place, "")).await;
        assert!(found.rows("does_not_hold").contains(&expected), "{switch}: {}", found.document);
        assert_eq!(found.code, Some(code), "{switch}: {}", found.document);
        place.simulator.set_world(switch, usual).expect("a switch");
    }
    for (step, expected) in [
        ("unknown-events", "stream.known"),
        ("no-event-lines", "stream.framing"),
        ("no-deltas", "stream.deltas"),
        ("done-without-added", "stream.items"),
    ] {
        place.simulator.script(vec![Step::parse(step).expect("a step")]);
        let Said { code, out, .. } = said(doctor(&place, "")).await;
        assert_eq!(code, Some(0), "{step}: {out}");
        assert!(out.contains(&format!(" {expected}: ")), "{step}: {out}");
        assert!(out.contains("airelays doctor --contract"), "{out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_is_told_without_the_upstreams_words() {
    let place = home().await;
    for (step, code, expected) in [
        ("limit: 3600", 0, "this account's usage limit is reached"),
        ("status: 400", 1, "the upstream refuses the request with status 400"),
        ("refuse: instructions", 1, "the upstream refuses the request with status 400"),
    ] {
        let steps = [step; 3].map(|step| Step::parse(step).expect("a step"));
        place.simulator.script(steps.into());
        let found = found(doctor(&place, "")).await;
        let check = found.check("request");
        assert_eq!(found.code, Some(code), "{step}: {check}");
        assert!(check["message"].as_str().expect("text").contains(expected), "{check}");
        place.simulator.clear();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_due_is_renewed_once_whoever_needs_it() {
    let place = home().await;
    place.simulator.set_world("token_lifetime", "-10").expect("a switch");
    place.log_in();
    place.simulator.set_world("token_lifetime", "864000").expect("a switch");
    let mut relay = place.relay();
    relay.address();
    let (one, other) =
        tokio::join!(found(doctor(&place, "")), found(doctor(&place, "--no-request")));
    assert_eq!((one.code, one.status("login")), (Some(0), "pass"), "{}", one.document);
    assert_eq!((other.code, other.status("login")), (Some(0), "pass"), "{}", other.document);
    let renewals = place.simulator.recorded().into_iter();
    let renewals = renewals.filter(|seen| seen.path == "/oauth/token").count();
    assert_eq!(renewals, 1);
    place.simulator.revoke_refresh_tokens();
    place.simulator.invalidate_access_tokens();
    let lost = found(doctor(&place, "")).await;
    assert_eq!((lost.code, lost.status("models")), (Some(1), "fail"), "{}", lost.document);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_files_are_told_with_what_to_do() {
    let place = home().await;
    let settings = place.home.path().join("config.toml");
    let with = |text: &str| {
        write(&settings, text);
        let mut command = doctor(&place, "--no-request --config");
        command.arg(&settings);
        command
    };
    let unknown = found(with("[server]\nprot = 3\n")).await;
    let warning = unknown.document["checks"][1].clone();
    assert_eq!((unknown.code, &warning["status"]), (Some(0), &"warn".into()));
    let message = warning["message"].as_str().expect("text");
    assert!(message.ends_with("line 2: unknown setting; did you mean server.port?"), "{message}");
    let wrong = found(with("\n[server]\nmax_body_bytes = \"x\"\n")).await;
    assert_eq!(wrong.code, Some(1));
    assert_eq!(wrong.odd(), ["settings fail", "everything_else skip"]);
    let message = wrong.check("settings")["message"].to_string();
    assert!(
        message.contains("server.max_body_bytes in") && message.contains("line 3"),
        "{message}"
    );

    let login = place.login_file();
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&login, mode(0o644)).expect("set");
    let open = found(doctor(&place, "--no-request")).await;
    assert_eq!((open.code, open.status("files")), (Some(0), "warn"));
    let step = open.check("files")["next_steps"][0].as_str().expect("a step").to_owned();
    assert_eq!(step, format!("chmod go= {}", login.display()));
    std::fs::set_permissions(&login, mode(0o666)).expect("set");
    let open = found(doctor(&place, "--no-request")).await;
    assert_eq!((open.code, open.status("files")), (Some(1), "fail"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_slots_that_cannot_be_read_is_told_once() {
    let place = home().await;
    write(&place.home.path().join(".airelays/slots.json"), "{");
    let found = found(doctor(&place, "")).await;
    assert_eq!(found.code, Some(1));
    assert_eq!(found.odd(), ["slots fail", "login skip", "contract_all skip"]);
    let step = "mend the file, or move it away";
    assert_eq!(found.document["next_steps"], serde_json::json!([step]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_slot_has_its_own_lines() {
    let place = home().await;
    for (number, account) in [(2, "spent"), (3, "third")] {
        let file = place.home.path().join(format!(".airelays/accounts/slot-{number}/auth.json"));
        write(&file, &place.simulator.stored_login_for(account));
    }
    assert_eq!(said(place.command("slot pause 3")).await.code, Some(0));
    let Said { code, out, .. } = said(doctor(&place, "")).await;
    assert_eq!(code, Some(0), "{out}");
    for line in [
        "✓ login slot-1     signed in, plan plus;",
        "! usage slot-2     5 h 0% left, week 96% left; it serves nobody now: ",
        "✓ login slot-3     signed in, plan plus; its token is good for 9d 23h; it is paused",
        " answered through slot-1 in ",
        "It works, with 1 warning.",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let found = found(doctor(&place, "--no-request")).await;
    assert_eq!(found.check("login")["slot"], "slot-1");
}
