//! Signing out of issuers of every mood.

use jiff::Timestamp;

use super::*;
use crate::{
    auth::{
        sign_in::tests::{Setup, jwt},
        vault::Vault,
    },
    credential::AccountId,
    private_file,
    secret::Secret,
};

const WAIT: Duration = Duration::from_secs(45);

fn token(text: &str) -> Option<Secret> {
    (!text.is_empty()).then(|| Secret::new(text))
}

fn store(setup: &Setup, (refresh, access): (&str, &str), issuer: &str) -> Store {
    let tokens = Tokens { refresh: token(refresh), access: token(access), ..Tokens::default() };
    let account = AccountId::new("acct");
    let record = Record::signed_in(tokens, &account, issuer, Timestamp::UNIX_EPOCH);
    let json = record.write().expect("written");
    private_file::replace(&setup.path(), &json).expect("stored");
    Store::new(&setup.path(), Vault::none())
}

fn word(revocation: &Revocation) -> String {
    match revocation {
        Revocation::Failed(why) => format!("failed: {why}"),
        Revocation::Unopened(why) => format!("unopened: {why}"),
        Revocation::Done | Revocation::Nothing | Revocation::Shared | Revocation::Foreign => {
            format!("{revocation:?}").to_lowercase()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_issuer_is_told_and_the_login_is_gone_in_any_case() {
    let ours = "https://issuer.example";
    let refresh =
        r#"/oauth/revoke json {"token":"r","token_type_hint":"refresh_token","client_id":"app"}"#;
    let access = r#"/oauth/revoke json {"token":"a","token_type_hint":"access_token"}"#;
    for (tokens, issuer, status, expected, seen) in [
        (("r", "a"), ours, Some(200), "done", Some(refresh)),
        (("", "a"), ours, Some(204), "done", Some(access)),
        (("", ""), ours, None, "nothing", None),
        (("r", "a"), "https://other.example", None, "foreign", None),
        (("r", "a"), ours, Some(500), "failed: the sign-in server answered 500", Some(refresh)),
        (
            ("r", "a"),
            ours,
            None,
            "failed: the sign-in server did not answer in time",
            Some(refresh),
        ),
    ] {
        let setup = Setup::new();
        if let Some(status) = status {
            setup.issuing.answer(status, "T0P");
        }
        let store = store(&setup, tokens, issuer);
        let begun = tokio::time::Instant::now();
        let out = sign_out(&store, &setup.issuing.issuer(), None, WAIT).await.expect("out");
        assert_eq!((out.deleted, word(&out.revocation).as_str()), (true, expected));
        assert_eq!(setup.issuing.seen(), Vec::from_iter(seen));
        assert!(begun.elapsed() <= PATIENCE);
        assert!(!setup.path().exists());
    }
}

#[tokio::test]
async fn a_login_that_another_program_has_too_is_left_alive() {
    for (others, expected) in [(("r", "b"), "shared"), (("", "a"), "shared"), (("q", "b"), "done")]
    {
        let setup = Setup::new();
        setup.issuing.answer(200, "");
        let store = store(&setup, ("r", "a"), "https://issuer.example");
        let others =
            Tokens { refresh: token(others.0), access: token(others.1), ..Tokens::default() };
        let issuer = setup.issuing.issuer();
        let out = sign_out(&store, &issuer, Some(&others), WAIT).await.expect("out");
        assert_eq!((out.deleted, word(&out.revocation).as_str()), (true, expected));
        assert!(!setup.path().exists());
    }
}

#[tokio::test]
async fn nothing_and_what_is_no_login_are_forgotten_too() {
    let setup = Setup::new();
    let (store, issuer) = (Store::new(&setup.path(), Vault::none()), setup.issuing.issuer());
    let out = sign_out(&store, &issuer, None, WAIT).await.expect("out");
    assert_eq!((out.deleted, word(&out.revocation).as_str()), (false, "nothing"));
    assert!(setup.is_untouched());
    for content in ["[", "{}", &format!(r#"{{"tokens":{{"id_token":"{}"}}}}"#, jwt("acct"))] {
        private_file::replace(&setup.path(), content.as_bytes()).expect("written");
        let out = sign_out(&store, &issuer, None, WAIT).await.expect("out");
        assert_eq!((out.deleted, word(&out.revocation).as_str()), (true, "nothing"), "{content}");
    }
    assert!(setup.issuing.seen().is_empty());
}

#[tokio::test]
async fn a_login_that_another_process_is_busy_with_stays() {
    let setup = Setup::new();
    let store = store(&setup, ("r", "a"), "https://issuer.example");
    let held = store.try_lock().expect("asked").expect("free");
    let soon = Duration::from_millis(1);
    let kept = sign_out(&store, &setup.issuing.issuer(), None, soon).await.expect_err("held");
    assert!(setup.path().exists() && setup.issuing.seen().is_empty(), "{kept}");
    drop(held);
}
