//! Stored logins of several programs, odd ones too, and what is left of them after a renewal.

use expect_test::{Expect, expect};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// A token whose payload is `{"email":"o@example.com", auth: {"chatgpt_account_id":"acct"}}`.
const JWT: &str = "e30.eyJlbWFpbCI6Im9AZXhhbXBsZS5jb20iLCJodHRwczovL2FwaS5vcGVuYWkuY29tL2F1dGgiOnsiY2hhdGdwdF9hY2NvdW50X2lkIjoiYWNjdCJ9fQ.c2ln";

#[test]
fn both_programs_files_are_read() {
    let ours = format!(
        r#"{{"OPENAI_API_KEY":"sk-1","bound_account_id":"acct","tokens":{{"id_token":"{JWT}",
        "access_token":"a","refresh_token":"r","account_id":"acct"}},
        "last_refresh":"2026-10-01T12:34:56.789000+00:00"}}"#
    );
    let theirs = format!(
        r#"{{"auth_mode":"chatgpt","OPENAI_API_KEY":null,"tokens":{{"id_token":{{"raw_jwt":"{JWT}",
        "email":"x"}},"access_token":"a","refresh_token":"r","account_id":null}},
        "last_refresh":"2026-10-01T12:34:56.789Z","agent_identity":{{}}}}"#
    );
    let login = StoredLogin {
        stored_in: None,
        authenticated: true,
        credentials_present: true,
        account_bound: true,
        ready_for_requests: true,
        mode: Some(Mode::Chatgpt),
        email: Some("o@example.com".to_owned()),
        plan_type: None,
        account_id: Some("acct".to_owned()),
        bound_account_id: Some("acct".to_owned()),
        has_openai_api_key: true,
        last_refresh: Some("2026-10-01T12:34:56.789000+00:00".to_owned()),
        issuer: None,
    };
    assert_eq!(Record::read(ours.as_bytes()).expect("ours").describe(), login);
    let login = StoredLogin {
        bound_account_id: None,
        has_openai_api_key: false,
        last_refresh: Some("2026-10-01T12:34:56.789Z".to_owned()),
        ..login
    };
    assert_eq!(Record::read(theirs.as_bytes()).expect("theirs").describe(), login);
}

#[test]
fn a_login_is_ready_only_with_tokens_of_the_bound_account() {
    for (json, expected) in [
        ("{}", (false, false, false, None)),
        (r#"{"OPENAI_API_KEY":"sk-1"}"#, (false, false, false, Some(Mode::ApiKeyOnly))),
        (r#"{"tokens":{"refresh_token":"r"}}"#, (true, false, false, Some(Mode::Chatgpt))),
        (
            r#"{"tokens":{"refresh_token":"r","account_id":"a"},"bound_account_id":"b"}"#,
            (true, false, false, Some(Mode::Chatgpt)),
        ),
        (
            r#"{"tokens":{"access_token":"x","account_id":"a"},"bound_account_id":"a"}"#,
            (true, true, true, Some(Mode::Chatgpt)),
        ),
        (r#"{"tokens":{"access_token":"","account_id":"a"}}"#, (false, true, false, None)),
    ] {
        let login = Record::read(json.as_bytes()).expect("read").describe();
        let found =
            (login.credentials_present, login.account_bound, login.ready_for_requests, login.mode);
        assert_eq!(found, expected, "{json}");
    }
}

#[test]
fn odd_content_is_a_sentence_or_nothing() {
    for (json, expected) in [
        ("", Err(Malformed::NoObject)),
        ("{", Err(Malformed::NoObject)),
        ("[]", Err(Malformed::NoObject)),
        ("null", Err(Malformed::NoObject)),
        (r#"{"tokens":[]}"#, Err(Malformed::Type("tokens"))),
        (r#"{"tokens":"x"}"#, Err(Malformed::Type("tokens"))),
        (r#"{"tokens":{"access_token":1}}"#, Err(Malformed::Type("access_token"))),
        (r#"{"tokens":{"refresh_token":{}}}"#, Err(Malformed::Type("refresh_token"))),
        (r#"{"tokens":{"id_token":[]}}"#, Err(Malformed::Type("id_token"))),
        (r#"{"tokens":{"id_token":{"raw_jwt":1}}}"#, Err(Malformed::Type("raw_jwt"))),
        (r#"{"tokens":{"account_id":7}}"#, Err(Malformed::Type("account_id"))),
        (r#"{"bound_account_id":7}"#, Err(Malformed::Type("bound_account_id"))),
        (r#"{"tokens":null,"last_refresh":7,"OPENAI_API_KEY":[]}"#, Ok(None)),
        (r#"{"tokens":{"id_token":{}},"last_refresh":"yesterday"}"#, Ok(None)),
        (r#"{"last_refresh":"1970-01-01T00:00:09+00:00"}"#, Ok(Some(at(9)))),
        (r#"{"last_refresh":"1970-01-01T01:00:09.5+01:00"}"#, Ok(Some(at(9)))),
        (r#"{"last_refresh":"1970-01-01T00:00:09"}"#, Ok(Some(at(9)))),
    ] {
        let found = Record::read(json.as_bytes())
            .map(|record| record.last_refresh.map(|time| at(time.as_second())));
        assert_eq!(found, expected, "{json}");
    }
    assert_eq!(
        Malformed::Type("tokens").to_string(),
        "`tokens` in the stored login has an unexpected type"
    );
}

fn check_written(json: &str, answer: Tokens, expected: &Expect) {
    let record = Record::read(json.as_bytes()).expect("read").renewed(answer, at(1_790_000_000));
    let written = record.write_over(json.as_bytes()).expect("written");
    let again = Record::read(&written).expect("read again");
    assert_eq!(format!("{:?}", again.describe()), format!("{:?}", record.describe()));
    expected.assert_eq(str::from_utf8(&written).expect("text"));
}

#[test]
fn what_we_do_not_know_is_written_back_as_it_was() {
    let answer = Tokens {
        access: Some(Secret::new("a2")),
        refresh: Some(Secret::new("r2")),
        ..Tokens::default()
    };
    let theirs = r#"{"auth_mode":"chatgpt","OPENAI_API_KEY":null,"tokens":{"x":[1,  2],
        "id_token":{"raw_jwt":"e30.e30.x"},"access_token":"a","refresh_token":"r",
        "account_id":"acct"},"last_refresh":"old","agent_identity":{"k":1e2}}"#;
    check_written(
        theirs,
        answer,
        &expect![[r#"
        {
          "auth_mode": "chatgpt",
          "OPENAI_API_KEY": null,
          "tokens": {
            "x": [1,  2],
            "id_token": {"raw_jwt":"e30.e30.x"},
            "access_token": "a2",
            "refresh_token": "r2",
            "account_id": "acct"
          },
          "last_refresh": "2026-09-21T14:13:20.000Z",
          "agent_identity": {"k":1e2}
        }
    "#]],
    );
}

#[test]
fn a_missing_account_is_filled_in_from_the_new_tokens() {
    let answer = Tokens { id: Some(Secret::new(JWT)), ..Tokens::default() };
    let theirs = r#"{"tokens":{"refresh_token":"r","account_id":null}}"#;
    check_written(
        theirs,
        answer,
        &expect![[r#"
        {
          "tokens": {
            "refresh_token": "r",
            "account_id": "acct",
            "id_token": "e30.eyJlbWFpbCI6Im9AZXhhbXBsZS5jb20iLCJodHRwczovL2FwaS5vcGVuYWkuY29tL2F1dGgiOnsiY2hhdGdwdF9hY2NvdW50X2lkIjoiYWNjdCJ9fQ.c2ln"
          },
          "last_refresh": "2026-09-21T14:13:20.000Z"
        }
    "#]],
    );
}

#[test]
fn a_new_login_has_the_documented_fields() {
    let tokens = Tokens {
        access: Some(Secret::new("a\"")),
        refresh: Some(Secret::new("r")),
        account_id: Some(AccountId::new("acct")),
        ..Tokens::default()
    };
    let account = AccountId::new("ac\"ct");
    let login = Record::signed_in(tokens, &account, "https://issuer.example", at(0));
    let json = login.write().expect("written");
    expect![[r#"
        {
          "OPENAI_API_KEY": null,
          "bound_account_id": "ac\"ct",
          "tokens": {
            "access_token": "a\"",
            "refresh_token": "r",
            "account_id": "acct"
          },
          "last_refresh": "1970-01-01T00:00:00.000Z",
          "airelays_issuer": "https://issuer.example"
        }
    "#]]
    .assert_eq(str::from_utf8(&json).expect("text"));
}
