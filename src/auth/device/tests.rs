//! The device flow against issuers of every mood, with time standing still.

use parking_lot::Mutex;

use super::*;
use crate::auth::sign_in::tests::{Setup, tokens, told};

const STARTED: &str = r#"{"device_auth_id":"D1","user_code":"ABCD-EFGH","interval":"5"}"#;
const APPROVED: &str =
    r#"{"authorization_code":"CODE","code_challenge":"C","code_verifier":"VERIFIER"}"#;

/// What was told, and what came of it in how many seconds.
async fn signed_in(setup: &Setup, within: u64) -> (Vec<String>, String, u64) {
    let lines = Mutex::new(Vec::new());
    let tell = |progress: Progress<'_>| {
        lines.lock().push(match progress {
            Progress::Type { code, address, within } => {
                format!("{code} {address} {}", within.as_secs())
            }
            Progress::Waiting { left } => format!("{} left", left.as_secs()),
            Progress::Open { .. } | Progress::Unusable(_) | Progress::Exchanging => {
                format!("{progress:?}")
            }
        });
    };
    let begun = tokio::time::Instant::now();
    let outcome = sign_in(&setup.sign_in(None), Duration::from_secs(within), &tell).await;
    let outcome = match outcome {
        Ok(completed) => completed.account_id.to_string(),
        Err(error) => told(&error),
    };
    let lines = lines.lock().clone();
    (lines, outcome, begun.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_code_is_asked_about_until_it_was_typed() {
    let setup = Setup::new();
    setup.issuing.answer(200, STARTED);
    for status in [403, 404, 403, 403] {
        setup.issuing.answer(status, "pending");
    }
    setup.issuing.answer(200, APPROVED);
    setup.issuing.answer(200, tokens("acct", "r"));
    let (lines, outcome, seconds) = signed_in(&setup, 900).await;
    assert_eq!((outcome.as_str(), seconds), ("acct", 25));
    assert_eq!(
        lines,
        ["ABCD-EFGH https://issuer.example/codex/device 900", "885 left", "Exchanging"]
    );
    let seen = setup.issuing.seen();
    let poll =
        r#"/api/accounts/deviceauth/token json {"device_auth_id":"D1","user_code":"ABCD-EFGH"}"#;
    assert_eq!(seen[0], r#"/api/accounts/deviceauth/usercode json {"client_id":"app"}"#);
    assert_eq!(seen[1..6], [poll; 5]);
    assert_eq!(
        seen[6],
        "/oauth/token x-www-form-urlencoded grant_type=authorization_code&code=CODE\
         &redirect_uri=https%3A%2F%2Fissuer.example%2Fdeviceauth%2Fcallback&client_id=app\
         &code_verifier=VERIFIER"
    );
    assert_eq!(setup.account().as_deref(), Some("acct"));
}

#[tokio::test(start_paused = true)]
async fn every_spelling_of_the_start_is_read() {
    // The clock of these tests stands at 1790000000.
    for (started, interval, within) in [
        (r#""user_code":"C""#, 5, 900),
        (r#""usercode":"C""#, 5, 900),
        (r#""usercode":"C","interval":7"#, 7, 900),
        (r#""usercode":"C","interval":"7""#, 7, 900),
        (r#""usercode":"C","interval":0"#, 1, 900),
        (r#""usercode":"C","interval":-3"#, 5, 900),
        (r#""usercode":"C","interval":"soon""#, 5, 900),
        (r#""usercode":"C","interval":99999"#, 60, 900),
        (r#""usercode":"C","expires_in":300"#, 5, 300),
        (r#""usercode":"C","expires_in":"300""#, 5, 300),
        (r#""usercode":"C","expires_in":99999"#, 5, 900),
        (r#""usercode":"C","expires_at":1790000060"#, 5, 60),
        (r#""usercode":"C","expires_at":"2026-09-21T14:14:20Z""#, 5, 60),
        (r#""usercode":"C","expires_at":"yesterday""#, 5, 900),
        (r#""usercode":"C","expires_at":1700000000"#, 5, 900),
        (r#""usercode":"C","expires_in":0"#, 5, 900),
    ] {
        let setup = Setup::new();
        setup.issuing.answer(200, format!(r#"{{"device_auth_id":"D1",{started}}}"#));
        setup.issuing.answer(200, APPROVED);
        setup.issuing.answer(200, tokens("acct", "r"));
        let (lines, outcome, seconds) = signed_in(&setup, 86_400).await;
        assert_eq!((outcome.as_str(), seconds), ("acct", interval), "{started}");
        assert_eq!(lines[0], format!("C https://issuer.example/codex/device {within}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_none_is_told() {
    for (status, body, expected) in [
        (404, "", "Device-code login is not enabled for this server"),
        (403, "", "Device-code login failed: the sign-in server answered 403"),
        (500, "", "Device-code login failed: the sign-in server answered 500"),
        (
            200,
            "<html>",
            "Device-code login failed: the sign-in server answered something unreadable",
        ),
        (
            200,
            r#"{"user_code":"C"}"#,
            "Device-code login failed: the sign-in server answered something unreadable",
        ),
        (
            200,
            "{\"device_auth_id\":\"D\",\"user_code\":\"\\u001b[2J\"}",
            "Device-code login failed: the sign-in server answered something unreadable",
        ),
    ] {
        let setup = Setup::new();
        setup.issuing.answer(status, body);
        let (lines, outcome, _) = signed_in(&setup, 900).await;
        assert_eq!((lines, outcome.as_str()), (Vec::new(), expected), "{body}");
        assert!(setup.is_untouched());
    }
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_does_not_come_ends_the_login() {
    for (status, body, expected) in [
        (
            400,
            r#"{"error":{"code":"access_denied","message":"T0P"}}"#,
            "Login failed: access_denied",
        ),
        (400, r#"{"error":"expired_token"}"#, "Device-code login failed: the code has expired"),
        (500, "", "Device-code login failed: the sign-in server answered 500"),
        (429, "", "Device-code login failed: the sign-in server answered 429"),
        (
            200,
            r#"{"authorization_code":"CODE"}"#,
            "Device-code login failed: the sign-in server answered something unreadable",
        ),
    ] {
        let setup = Setup::new();
        setup.issuing.answer(200, STARTED);
        setup.issuing.answer(403, "");
        setup.issuing.answer(status, body);
        let (_, outcome, seconds) = signed_in(&setup, 900).await;
        assert_eq!((outcome.as_str(), seconds), (expected, 10), "{body}");
        assert!(setup.is_untouched());
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_nobody_completes_ends_in_time() {
    for (within, expected) in [
        (60, "Device-code login timed out after 1 minute"),
        (86_400, "Device-code login timed out after 15 minutes"),
    ] {
        let setup = Setup::new();
        setup.issuing.answer(200, STARTED);
        for _ in 0..200 {
            setup.issuing.answer(404, "");
        }
        let (lines, outcome, seconds) = signed_in(&setup, within).await;
        assert_eq!((outcome.as_str(), seconds), (expected, within.min(900)));
        let waited = lines.len() - 1;
        assert_eq!(waited, usize::try_from(seconds).expect("few") / 15 - 1, "a line each 15 s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_goes_away_may_come_back() {
    let setup = Setup::new();
    setup.issuing.answer(200, STARTED);
    // No more answers: each request hangs until its time is over.
    let (_, outcome, seconds) = signed_in(&setup, 900).await;
    let expected = "Device-code login failed: the sign-in server did not answer in time";
    assert_eq!((outcome.as_str(), seconds), (expected, 5 * 35));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_called_off_ends_at_once() {
    let setup = Setup::new();
    setup.issuing.answer(200, STARTED);
    let stop = setup.stop.clone();
    let call_off = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        stop.cancel();
    };
    let ((_, outcome, seconds), ()) = tokio::join!(signed_in(&setup, 900), call_off);
    assert_eq!((outcome.as_str(), seconds), ("Login was interrupted; nothing was saved", 3));
    assert!(setup.is_untouched());
}
