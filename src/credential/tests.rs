//! Tokens that say much, little or nonsense.

use super::*;

/// A token with `payload`; its signature is not read by anyone.
fn jwt(payload: &str) -> Secret {
    Secret::new(format!("e30.{}.c2ln", BASE64.encode(payload)))
}

fn expiring(second: i64) -> Tokens {
    Tokens { access: Some(jwt(&format!(r#"{{"exp":{second}}}"#))), ..Tokens::default() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

#[test]
fn every_claim_is_found_where_the_issuer_puts_it() {
    let payload = r#"{"exp":1790000000,"email":"owner@example.com","https://api.openai.com/auth":
        {"chatgpt_account_id":"acct","chatgpt_user_id":"user-1","user_id":"user-2",
         "chatgpt_plan_type":"plus","chatgpt_account_is_fedramp":true}}"#;
    let claims = Claims {
        expires_at: Some(at(1_790_000_000)),
        email: Some("owner@example.com".to_owned()),
        plan_type: Some("plus".to_owned()),
        account_id: Some(AccountId::new("acct")),
        user_id: Some("user-1".to_owned()),
        fedramp: true,
    };
    assert_eq!(Claims::read(&jwt(payload)), claims);
}

#[test]
fn second_places_count_when_the_first_are_empty() {
    let payload = r#"{"email":7,"https://api.openai.com/profile":{"email":"p@example.com"},
        "https://api.openai.com/auth":{"user_id":"user-2","chatgpt_account_id":""}}"#;
    let claims = Claims {
        email: Some("p@example.com".to_owned()),
        user_id: Some("user-2".to_owned()),
        ..Claims::default()
    };
    assert_eq!(Claims::read(&jwt(payload)), claims);
}

#[test]
fn a_token_of_any_shape_is_read_without_a_word() {
    for odd in ["", ".", "a.b", "a.!!.c", "a..c", "é.é.é", "opaque", "e30.bnVsbA.x", "e30.W10.x"]
    {
        assert_eq!(Claims::read(&Secret::new(odd)), Claims::default(), "{odd}");
    }
    for odd in [r#"{"exp":"soon"}"#, r#"{"exp":9e99}"#, r#"{"exp":99999999999999999999}"#] {
        assert_eq!(Claims::read(&jwt(odd)), Claims::default(), "{odd}");
    }
    let padded = Secret::new(format!("e30.{}==.c2ln", BASE64.encode(r#"{"exp":1 }"#)));
    assert_eq!(Claims::read(&padded).expires_at, Some(at(1)));
}

#[test]
fn a_refresh_is_due_five_minutes_before_the_end() {
    let lifetime = expiring(1_000).lifetime(None);
    for (now, due, over) in [
        (1_000 - 301, false, false),
        (1_000 - 300, true, false),
        (999, true, false),
        (1_000, true, true),
        (9_000, true, true),
    ] {
        assert_eq!((lifetime.is_due(at(now)), lifetime.is_over(at(now))), (due, over), "{now}");
    }
}

#[test]
fn a_token_without_a_readable_end_lasts_eight_days() {
    let tokens = Tokens { access: Some(Secret::new("opaque")), ..Tokens::default() };
    let day = 86_400;
    for (last, due) in
        [(Some(0), true), (Some(2 * day), false), (Some(99 * day), false), (None, true)]
    {
        let lifetime = tokens.lifetime(last.map(at));
        assert_eq!(lifetime.is_due(at(9 * day)), due, "{last:?}");
        assert!(!lifetime.is_over(at(99 * day)));
    }
    let none = Tokens { refresh: Some(Secret::new("r")), ..Tokens::default() };
    assert!(none.lifetime(Some(at(0))).is_due(at(0)));
    assert!(none.lifetime(Some(at(0))).is_over(at(0)));
}

#[test]
fn a_credential_needs_an_access_token_and_the_right_account() {
    let access = || Some(jwt(r#"{"https://api.openai.com/auth":{"chatgpt_account_id":"b"}}"#));
    let id = || Some(jwt(r#"{"https://api.openai.com/auth":{"chatgpt_account_id":"a"}}"#));
    let written = |text| Some(AccountId::new(text));
    let refresh = || Some(Secret::new("r"));
    let none = || Tokens::default();
    let bound = |text| Some(AccountId::new(text));
    for (name, tokens, bound, expected) in [
        ("nothing", none(), None, Err(Unusable::NoTokens)),
        (
            "as written",
            Tokens { id: id(), access: access(), account_id: written("c"), ..none() },
            None,
            Ok("c"),
        ),
        ("identity first", Tokens { id: id(), access: access(), ..none() }, None, Ok("a")),
        ("access last", Tokens { access: access(), ..none() }, None, Ok("b")),
        ("bound to it", Tokens { access: access(), ..none() }, bound("b"), Ok("b")),
        (
            "bound to another",
            Tokens { access: access(), ..none() },
            bound("z"),
            Err(Unusable::OtherAccount),
        ),
        (
            "refresh alone",
            Tokens { id: id(), refresh: refresh(), ..none() },
            None,
            Err(Unusable::NoAccess),
        ),
        (
            "no account",
            Tokens { access: Some(Secret::new("x")), ..none() },
            None,
            Err(Unusable::NoAccount),
        ),
        (
            "a header in it",
            Tokens { access: Some(Secret::new("x\r\ny: z")), id: id(), ..none() },
            None,
            Err(Unusable::NoAccess),
        ),
        (
            "an odd account",
            Tokens { access: access(), account_id: written("a b"), ..none() },
            None,
            Err(Unusable::NoAccount),
        ),
    ] {
        let found = tokens.credential(bound.as_ref()).map(|found| found.account_id);
        assert_eq!(found, expected.map(AccountId::new), "{name}");
    }
}

#[test]
fn what_a_renewal_leaves_out_stays() {
    let old = Tokens {
        id: Some(jwt(r#"{"https://api.openai.com/auth":{"chatgpt_account_id":"a"}}"#)),
        access: Some(Secret::new("old")),
        refresh: Some(Secret::new("spent")),
        account_id: None,
    };
    let answer = Tokens { refresh: Some(Secret::new("next")), ..Tokens::default() };
    let new = old.renewed(answer);
    assert!(new.id.is_some());
    assert!(new.access.is_some_and(|access| access.matches(b"old")));
    assert!(new.refresh.is_some_and(|refresh| refresh.matches(b"next")));
    assert_eq!(new.account_id, Some(AccountId::new("a")));
}

#[test]
fn debug_shows_no_token() {
    let tokens = Tokens { refresh: Some(Secret::new("T0P")), ..expiring(1) };
    assert!(!format!("{tokens:?}").contains("T0P"));
}
