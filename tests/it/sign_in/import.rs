//! Taking over the login of the Codex CLI.

use super::*;

const CODEX: &str = ".codex/auth.json";

#[test]
fn it_is_copied_only_with_agreement_and_never_written_back() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home();
    let login = issuer.simulator.stored_login();
    home.write(CODEX, &login);
    let refused = home.says("login --import");
    assert!(
        refused.contains("the first refresh by either ends the login of the other"),
        "{refused}"
    );
    assert!(
        refused.ends_with(
            "stderr: Nothing was imported: it needs your agreement\n\
             stderr: Add `--yes` if that is what you want.\nexit: Some(1)\n"
        ),
        "{refused}"
    );
    assert_nothing_saved(&home);
    let said = home.says("login --import --yes");
    assert!(said.contains("Authenticated:     yes") && !said.contains("exit"), "{said}");
    assert!(said.contains("Run `airelays login` for one that is the relay's own."), "{said}");
    assert_discreet(&said, &stored_tokens(&home));
    assert_eq!(home.read(CODEX), login);
    assert_eq!(home.json("status --json")["auth"]["ready_for_requests"], true);
    assert!(issuer.simulator.recorded().is_empty(), "no token was spent");

    // Ending the copy leaves the other program's login alive.
    let document = home.json("logout --json");
    assert_eq!((&document["deleted"], &document["revoked"]), (&true.into(), &false.into()));
    assert!(document["notes"][0].as_str().is_some_and(|note| note.contains("the Codex CLI")));
    assert_eq!(issuer.simulator.counters().revocations, 0);
    assert_eq!(home.read(CODEX), login);
}

#[test]
fn a_login_of_ones_own_follows_without_harm() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home().set("CODEX_HOME", "relative-and-absent");
    let file = home.path("elsewhere.json");
    home.write("elsewhere.json", &issuer.simulator.stored_login_for("first"));
    let import = format!("login --yes --import {}", file.display());
    assert!(home.run(&import).status.success());
    let home = home.set("CODEX_HOME", file.parent().and_then(|dir| dir.to_str()).expect("text"));
    home.write("auth.json", &home.read("elsewhere.json"));
    let ended = Login::start(&home, &["--device"]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(
        ended.said.contains("The former login was not revoked: the Codex CLI"),
        "{}",
        ended.said
    );
    assert_eq!(issuer.simulator.counters().revocations, 0);
}

#[test]
fn what_is_no_login_is_not_taken() {
    let home = Home::new();
    home.check(
        "login --import --yes",
        &expect![[r#"
        stderr: There is no login to import at ~/.codex/auth.json
        stderr: `airelays login` makes a login of the relay's own.
        exit: Some(1)
    "#]],
    );
    home.write(CODEX, r#"{"OPENAI_API_KEY":"sk-T0P"}"#);
    home.check("login --import --yes", &expect![[r#"
        stderr: The login at ~/.codex/auth.json cannot be used: there is neither an access token nor a refresh token
        stderr: `airelays login` makes a login of the relay's own.
        exit: Some(1)
    "#]]);
    assert_nothing_saved(&home);
}
