//! Signing out, and in again.

use super::*;

fn sign_in(home: &Home) -> Ended {
    sign_in_with(home, &["--device"])
}

fn sign_in_with(home: &Home, flags: &[&str]) -> Ended {
    let ended = Login::start(home, flags).end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    ended
}

#[test]
fn signing_out_revokes_and_forgets() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home();
    sign_in(&home);
    let tokens = stored_tokens(&home);
    let said = home.says("logout");
    expect![[r#"
        AIRelays Logout

        Upstream Session
          Upstream auth:     deleted
          Revoked:           yes

        Next Steps
          1. airelays login
    "#]]
    .assert_eq(&said);
    assert_discreet(&said, &tokens);
    assert!(!home.path(".airelays/auth.json").exists());
    assert_eq!(issuer.simulator.counters().revocations, 1);
    home.check(
        "logout",
        &expect![[r#"
            AIRelays Logout

            Upstream Session
              Upstream auth:     already empty

            Next Steps
              1. airelays login
        "#]],
    );
    home.check(
        "logout --json",
        &expect![[r#"
            {
              "deleted": false,
              "revoked": false,
              "notes": []
            }
        "#]],
    );
    sign_in(&home);
    assert_eq!(home.json("logout --json")["revoked"], true);
    assert_eq!(issuer.simulator.counters().revocations, 2);
}

#[test]
fn an_issuer_that_cannot_be_told_keeps_no_login_here() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home();
    sign_in(&home);
    let tokens = stored_tokens(&home);
    drop(issuer);
    let document = home.json("logout --json");
    assert_eq!((&document["deleted"], &document["revoked"]), (&true.into(), &false.into()));
    let note = document["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("The login could not be revoked: "), "{note}");
    assert_discreet(note, &tokens);
    assert!(!home.path(".airelays/auth.json").exists());
}

#[test]
fn a_new_login_takes_the_place_of_the_old_one() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home();
    sign_in(&home);
    let first = stored_tokens(&home);
    let said = sign_in(&home).said;
    assert!(said.contains("Note:              The former login was revoked."), "{said}");
    assert!(!said.contains("another account"), "{said}");
    assert_ne!(stored_tokens(&home), first);
    assert_eq!(issuer.simulator.counters().revocations, 1);
    issuer.simulator.set_world("login_account", "second").expect("a switch");
    let said = sign_in_with(&home, &["--device", "--slot", "slot-1"]).said;
    let expected = "The stored login of another account, first@simulator.example, was replaced.";
    assert!(said.contains(expected), "{said}");
    assert_eq!(home.json("status --json")["auth"]["email"], "second@simulator.example");
    assert_eq!(issuer.simulator.counters().revocations, 2);
}

#[test]
fn a_changed_issuer_asks_for_a_new_login_and_is_told_nothing() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home();
    sign_in(&home);
    let other = Issuer::start(&[]);
    let home = home.set("AIRELAYS_ISSUER_BASE_URL", format!("http://{}", other.address));
    let status = home.json("status --json");
    assert_eq!(status["auth"]["ready_for_requests"], false);
    assert_eq!(
        status["auth"]["problem"],
        "The stored ChatGPT login was made with another sign-in server. Run `airelays login` again."
    );
    assert!(
        status["next_steps"]
            .as_array()
            .is_some_and(|steps| steps.contains(&"airelays login".into()))
    );
    let document = home.json("logout --json");
    assert_eq!((&document["deleted"], &document["revoked"]), (&true.into(), &false.into()));
    assert!(other.simulator.recorded().is_empty());
}
