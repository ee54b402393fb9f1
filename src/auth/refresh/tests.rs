//! A login against issuers of every mood, one or many asking, alone or beside another process.

use std::{
    fs,
    future::pending,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State as Shared, routing::post};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;
use crate::{
    auth::{file, vault::Vault},
    object::Object,
    private_file, transport,
};

const NOW: i64 = 1_790_000_000;
const HOUR: i64 = 3_600;

/// An issuer that takes each refresh token once: `r0`, then `r1`, ..
#[derive(Debug)]
struct Issuing {
    calls: AtomicUsize,
    next: AtomicUsize,
    mode: Mutex<Mode>,
    asked: Notify,
    go_on: Notify,
}

#[derive(Clone, Debug)]
enum Mode {
    Rotate,
    /// Says that it was asked, and waits to be told to go on.
    Wait,
    Hang,
    Answer(u16, String),
    /// Rotates and puts a directory where the login is to be written.
    Spoil(PathBuf),
}

async fn token(Shared(issuing): Shared<Arc<Issuing>>, body: Bytes) -> (StatusCode, String) {
    issuing.calls.fetch_add(1, Ordering::SeqCst);
    let mode = issuing.mode.lock().clone();
    match mode {
        Mode::Rotate => {}
        Mode::Wait => {
            issuing.asked.notify_one();
            issuing.go_on.notified().await;
        }
        Mode::Hang => pending().await,
        Mode::Answer(status, body) => {
            return (StatusCode::from_u16(status).expect("status"), body);
        }
        Mode::Spoil(path) => {
            fs::remove_file(&path).expect("removed");
            fs::create_dir(&path).expect("made");
        }
    }
    let request = Object::read(&body).expect("an object");
    let sent = request.fields().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(sent, ["client_id", "grant_type", "refresh_token"]);
    let next = issuing.next.load(Ordering::SeqCst);
    if request.text("refresh_token") != Some(format!("r{next}")) {
        let body = r#"{"error":{"message":"T0P","code":"refresh_token_reused"}}"#;
        return (StatusCode::UNAUTHORIZED, body.to_owned());
    }
    issuing.next.store(next + 1, Ordering::SeqCst);
    let access = jwt(&format!("{}", next + 1), NOW + 240 * HOUR);
    let answer = format!(r#"{{"access_token":"{access}","refresh_token":"r{}"}}"#, next + 1);
    (StatusCode::OK, answer)
}

fn jwt(mark: &str, exp: i64) -> String {
    let payload = format!(
        r#"{{"exp":{exp},"jti":"{mark}","https://api.openai.com/auth":{{"chatgpt_account_id":"acct"}}}}"#
    );
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload))
}

struct Setup {
    home: TempDir,
    path: PathBuf,
    issuing: Arc<Issuing>,
    clock: Clock,
    tasks: TaskTracker,
    redactor: Redactor,
}

impl Setup {
    /// A stored login whose access token ends in `minutes`.
    fn ending_in(minutes: i64) -> Self {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("auth.json");
        let setup = Self {
            home,
            path,
            issuing: Arc::new(Issuing {
                calls: AtomicUsize::new(0),
                next: AtomicUsize::new(0),
                mode: Mutex::new(Mode::Rotate),
                asked: Notify::new(),
                go_on: Notify::new(),
            }),
            clock: Clock::manual(Timestamp::from_second(NOW).expect("a time")),
            tasks: TaskTracker::new(),
            redactor: Redactor::new(),
        };
        setup.store(&jwt("0", NOW + minutes * 60), "r0", "acct");
        setup
    }

    fn store(&self, access: &str, refresh: &str, account: &str) {
        let json = format!(
            r#"{{"x":1,"bound_account_id":"{account}","tokens":{{"access_token":"{access}",
            "refresh_token":"{refresh}","account_id":"{account}"}}}}"#
        );
        private_file::replace(&self.path, json.as_bytes()).expect("written");
    }

    fn login(&self) -> Login {
        let router =
            Router::new().route("/oauth/token", post(token)).with_state(Arc::clone(&self.issuing));
        let settings = Settings {
            store: Store::new(&self.path, Vault::none()),
            issuer: "https://issuer.example/".to_owned(),
            client_id: "app".to_owned(),
            timeout: Duration::from_secs(30),
            lock_wait: Duration::from_secs(45),
            apart: None,
        };
        let transport = transport::local(router);
        let (clock, tasks) = (self.clock.clone(), self.tasks.clone());
        Login::new(settings, transport, clock, tasks, self.redactor.clone()).expect("an address")
    }

    fn mode(&self, mode: Mode) {
        *self.issuing.mode.lock() = mode;
    }

    fn calls(&self) -> usize {
        self.issuing.calls.load(Ordering::SeqCst)
    }

    /// The refresh token on the disk.
    fn stored(&self) -> String {
        let json = fs::read(&self.path).expect("read");
        let tokens = Object::read(&json).expect("an object").object("tokens").expect("tokens");
        tokens.text("refresh_token").expect("a refresh token")
    }
}

/// Which of the issuer's access tokens this is.
fn mark(credential: Result<Arc<Credential>, LoginError>) -> String {
    match credential {
        Ok(credential) => {
            let payload = credential.access.expose().split('.').nth(1).expect("a payload");
            let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("decoded");
            Object::read(&payload).expect("an object").text("jti").expect("a mark")
        }
        Err(LoginError::Terminal { code, .. }) => code.to_owned(),
        Err(LoginError::Transient { outage, .. }) => format!("{outage:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_good_token_is_used_without_a_word_to_the_issuer() {
    let setup = Setup::ending_in(6);
    let login = setup.login();
    let credential = login.credential().await.expect("a credential");
    assert_eq!(credential.account_id.as_str(), "acct");
    assert_eq!((mark(Ok(credential)), setup.calls()), ("0".to_owned(), 0));
}

#[tokio::test]
async fn a_token_about_to_end_is_renewed_and_kept_before_it_is_used() {
    let setup = Setup::ending_in(4);
    let login = setup.login();
    assert_eq!(mark(login.credential().await), "1");
    assert_eq!(setup.stored(), "r1");
    assert_eq!(mark(login.credential().await), "1");
    assert_eq!(setup.calls(), 1);
    let json = fs::read_to_string(&setup.path).expect("read");
    assert!(json.contains("\"x\": 1"), "{json}");
    let described = file::read_record(&setup.path).expect("read").expect("there").describe();
    assert_eq!(described.last_refresh.as_deref(), Some("2026-09-21T14:13:20.000Z"));
    assert_eq!(described.bound_account_id.as_deref(), Some("acct"));
}

#[tokio::test]
async fn tokens_of_another_issuer_are_neither_used_nor_sent() {
    for (issuer, is_ours) in [
        ("https://issuer.example", true),
        ("https://issuer.example/", true),
        ("https://issuer.example.org", false),
        ("http://issuer.example", false),
    ] {
        for minutes in [60, 4, -1] {
            let setup = Setup::ending_in(minutes);
            let json = fs::read_to_string(&setup.path).expect("read");
            let json = json.replacen("\"x\":1", &format!(r#""airelays_issuer":"{issuer}""#), 1);
            private_file::replace(&setup.path, json.as_bytes()).expect("written");
            let credential = setup.login().credential().await;
            if is_ours {
                credential.expect("a credential");
            } else {
                assert!(matches!(credential, Err(LoginError::OtherIssuer)), "{credential:?}");
                assert_eq!(setup.calls(), 0);
            }
        }
    }
}

/// Each time the refresh token is spent, so it is not offered again; what is on the disk stays.
#[tokio::test]
async fn a_renewal_that_brings_another_account_is_not_kept() {
    let of = |account: &str| {
        let payload = format!(
            r#"{{"exp":{},"https://api.openai.com/auth":{{"chatgpt_account_id":"{account}"}}}}"#,
            NOW + HOUR
        );
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload))
    };
    let [own, other] = ["acct", "other"].map(of);
    for (tokens, is_kept) in [
        (format!(r#""access_token":"{own}","id_token":"{own}""#), true),
        (r#""access_token":"opaque""#.to_owned(), true),
        (format!(r#""access_token":"{other}""#), false),
        (format!(r#""access_token":"{own}","id_token":"{other}""#), false),
        (format!(r#""access_token":"opaque","id_token":"{other}""#), false),
    ] {
        let setup = Setup::ending_in(-1);
        let before = fs::read(&setup.path).expect("read");
        let answer = format!(r#"{{"refresh_token":"r1",{tokens}}}"#);
        setup.mode(Mode::Answer(200, answer));
        let login = setup.login();
        for _ in 0..3 {
            let got = login.credential().await;
            assert_eq!(got.is_ok(), is_kept, "{tokens}: {got:?}");
            assert!(is_kept || mark(got) == "other_account");
        }
        assert_eq!(setup.calls(), 1, "{tokens}");
        assert_eq!(fs::read(&setup.path).expect("read") == before, !is_kept, "{tokens}");
    }
}

#[tokio::test]
async fn the_exchange_says_what_it_is() {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let keep = Arc::clone(&seen);
    let router = Router::new().route(
        "/oauth/token",
        post(async move |headers: HeaderMap, body: String| {
            *keep.lock() = headers;
            assert_eq!(
                body,
                r#"{"client_id":"app","grant_type":"refresh_token","refresh_token":"r"}"#
            );
            r#"{"access_token":"a"}"#
        }),
    );
    let (timeout, transport) = (Duration::from_secs(1), transport::local(router));
    let issuer = Issuer::new("https://issuer.example/", "app".to_owned(), timeout, transport);
    let issuer = issuer.expect("an address");
    let tokens = issuer.renew(&Secret::new("r")).await.expect("tokens");
    assert!(tokens.refresh.is_none() && tokens.access.is_some_and(|access| access.matches(b"a")));
    assert_eq!(seen.lock()["content-type"], "application/json");
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_does_not_stop_a_token_that_still_works() {
    let setup = Setup::ending_in(4);
    let login = setup.login();
    setup.mode(Mode::Answer(503, String::new()));
    for _ in 0..3 {
        assert_eq!(mark(login.credential().await), "0");
    }
    assert_eq!(setup.calls(), 1, "not at every request");
    setup.mode(Mode::Rotate);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(mark(login.credential().await), "1");
}

#[tokio::test(start_paused = true)]
async fn a_silent_issuer_holds_up_a_working_token_for_five_seconds_at_most() {
    let setup = Setup::ending_in(4);
    let login = setup.login();
    setup.mode(Mode::Hang);
    let start = setup.clock.instant();
    assert_eq!(mark(login.credential().await), "0");
    let waited = setup.clock.instant() - start;
    assert!(waited >= PATIENCE && waited < PATIENCE * 2, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_ended_token_needs_the_issuer() {
    for (mode, expected, again) in [
        (Mode::Hang, "Silent", 2),
        (Mode::Answer(500, "{}".to_owned()), "Status(500)", 2),
        (Mode::Answer(401, "{}".to_owned()), "other", 1),
    ] {
        let setup = Setup::ending_in(-1);
        let login = setup.login();
        setup.mode(mode);
        assert_eq!(mark(login.credential().await), expected);
        assert_eq!(mark(login.credential().await), expected);
        assert_eq!(setup.calls(), again, "{expected}");
    }
}

#[tokio::test]
async fn what_was_refused_for_good_is_not_offered_again_until_the_file_changes() {
    let setup = Setup::ending_in(-1);
    let login = setup.login();
    setup.issuing.next.store(7, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(mark(login.credential().await), "refresh_token_reused");
    }
    assert_eq!(setup.calls(), 1);
    setup.store(&jwt("old", NOW - 60), "r7", "acct");
    assert_eq!(mark(login.credential().await), "8");
}

#[tokio::test]
async fn fifty_refused_requests_make_one_exchange() {
    let setup = Setup::ending_in(60);
    let login = setup.login();
    let spent = login.credential().await.expect("a credential");
    let asked = (0..50).map(|_| login.after_unauthorized(&spent));
    let marks = join_all(asked).await.into_iter().map(mark).collect::<Vec<_>>();
    assert_eq!(marks, vec!["1"; 50]);
    assert_eq!((setup.calls(), setup.stored().as_str()), (1, "r1"));
}

#[tokio::test]
async fn fifty_refused_requests_share_one_failure() {
    let setup = Setup::ending_in(60);
    let login = setup.login();
    let spent = login.credential().await.expect("a credential");
    setup.mode(Mode::Answer(502, "<html>".to_owned()));
    let asked = (0..50).map(|_| login.after_unauthorized(&spent));
    let marks = join_all(asked).await.into_iter().map(mark).collect::<Vec<_>>();
    assert_eq!(marks, vec!["Status(502)"; 50]);
    assert_eq!(setup.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_file_spend_one_token_once() {
    for _ in 0..20 {
        let setup = Setup::ending_in(-1);
        let (one, other) = (setup.login(), setup.login());
        let (one, other) = tokio::join!(one.credential(), other.credential());
        assert_eq!((mark(one), mark(other)), ("1".to_owned(), "1".to_owned()));
        assert_eq!(setup.calls(), 1);
    }
}

#[tokio::test]
async fn a_renewal_ends_although_its_client_has_gone() {
    let setup = Setup::ending_in(-1);
    let login = setup.login();
    setup.mode(Mode::Wait);
    {
        let mut request = Box::pin(login.credential());
        tokio::select! {
            _ = &mut request => panic!("nobody told the issuer to go on"),
            () = setup.issuing.asked.notified() => {}
        }
    }
    setup.mode(Mode::Rotate);
    setup.issuing.go_on.notify_one();
    setup.tasks.close();
    setup.tasks.wait().await;
    assert_eq!(setup.stored(), "r1");
    assert_eq!((mark(login.credential().await), setup.calls()), ("1".to_owned(), 1));
}

#[tokio::test]
async fn what_the_disk_does_not_take_is_not_handed_out_and_not_lost() {
    let setup = Setup::ending_in(60);
    let login = setup.login();
    let spent = login.credential().await.expect("a credential");
    let before = fs::read(&setup.path).expect("read");

    setup.mode(Mode::Spoil(setup.path.clone()));
    let written = "The stored ChatGPT login could not be written.";
    assert_eq!(mark(login.after_unauthorized(&spent).await), written);
    let read = "The stored ChatGPT login could not be read.";
    assert_eq!(mark(login.credential().await), read);

    // The old content is back, as after a disk that was full for a while.
    fs::remove_dir(&setup.path).expect("removed");
    private_file::replace(&setup.path, &before).expect("written");
    setup.mode(Mode::Rotate);
    assert_eq!(mark(login.credential().await), "1");
    assert_eq!((setup.calls(), setup.stored().as_str()), (1, "r1"));
}

#[tokio::test]
async fn a_newer_login_wins_over_what_the_disk_did_not_take() {
    let setup = Setup::ending_in(60);
    let login = setup.login();
    let spent = login.credential().await.expect("a credential");
    setup.mode(Mode::Spoil(setup.path.clone()));
    login.after_unauthorized(&spent).await.expect_err("not written");
    fs::remove_dir(&setup.path).expect("removed");
    setup.store(&jwt("new", NOW + HOUR), "other", "acct");
    assert_eq!(mark(login.credential().await), "new");
    assert_eq!(setup.stored(), "other");
}

/// A directory whose name is so long that `auth.json.lock` just fits below it, and the longer
/// name of a temporary file does not: full, as far as new files are concerned.
fn full_directory(home: &Path) -> PathBuf {
    let mut dir = home.to_owned();
    while fs::create_dir(dir.join("a".repeat(100))).is_ok() {
        dir.push("a".repeat(100));
    }
    let full = (1..=110).rev().map(|length| dir.join("b".repeat(length))).find(|full| {
        fs::create_dir(full).is_ok() && private_file::append(&full.join("auth.json.lock")).is_ok()
    });
    full.expect("a name that just fits")
}

#[tokio::test]
async fn no_token_is_spent_when_there_is_no_room_for_its_successor() {
    let mut setup = Setup::ending_in(60);
    let path = full_directory(setup.home.path()).join("auth.json");
    fs::copy(&setup.path, &path).expect("copied");
    setup.path = path;
    let login = setup.login();
    let spent = login.credential().await.expect("a credential");
    let refused = login.after_unauthorized(&spent).await;
    assert_eq!(mark(refused), "The stored ChatGPT login could not be written.");
    assert_eq!((setup.calls(), setup.stored().as_str()), (0, "r0"));
}

#[tokio::test]
async fn another_programs_renewal_is_taken_over() {
    let setup = Setup::ending_in(60);
    let login = setup.login();
    let spent = login.credential().await.expect("a credential");
    setup.store(&jwt("theirs", NOW + HOUR), "r9", "acct");
    assert_eq!(mark(login.after_unauthorized(&spent).await), "theirs");
    assert_eq!(mark(login.credential().await), "theirs");
    assert_eq!(setup.calls(), 0);
}

#[tokio::test]
async fn another_account_is_not_slipped_under_a_running_request() {
    let setup = Setup::ending_in(60);
    let login = setup.login();
    let spent = login.credential().await.expect("a credential");
    setup.store(&jwt("theirs", NOW + HOUR), "r9", "other");
    let refused = login.after_unauthorized(&spent).await;
    assert!(matches!(refused, Err(LoginError::AccountMismatch)), "{refused:?}");
    assert_eq!(mark(login.credential().await), "theirs");
}

#[tokio::test]
async fn a_login_that_lacks_something_says_what() {
    let lacks = |what: &str| format!("Stored auth does not include {what}.");
    let mismatch = "Stored AIRelays auth is bound to a different upstream account than the active \
                    token.";
    let access = jwt("0", NOW - 1);
    let alone = format!(r#"{{"tokens":{{"access_token":"{access}"}}}}"#);
    let bound = format!(r#"{{"bound_account_id":"z","tokens":{{"access_token":"{access}"}}}}"#);
    for (json, expected) in [
        (r#"{"tokens":{}}"#, lacks("an access token or refresh token")),
        (r#"{"OPENAI_API_KEY":"sk-1"}"#, lacks("an access token or refresh token")),
        (r#"{"tokens":{"access_token":"opaque"}}"#, lacks("an account id")),
        (r#"{"tokens":{"access_token":"a b","account_id":"x"}}"#, lacks("a usable access token")),
        (&alone, lacks("a refresh token")),
        (&bound, mismatch.to_owned()),
        ("[]", "The stored ChatGPT login could not be read.".to_owned()),
        (r#"{"tokens":{"refresh_token":"r0"}}"#, "1".to_owned()),
    ] {
        let setup = Setup::ending_in(60);
        private_file::replace(&setup.path, json.as_bytes()).expect("written");
        assert_eq!(mark(setup.login().credential().await), expected, "{json}");
    }
    let setup = Setup::ending_in(60);
    let login = setup.login();
    login.credential().await.expect("a credential");
    fs::remove_file(&setup.path).expect("removed");
    let missing = "No ChatGPT login found. Run `airelays login` first.";
    assert_eq!(mark(login.credential().await), missing);
}

#[tokio::test(start_paused = true)]
async fn a_token_refused_right_after_its_renewal_is_not_renewed_again() {
    let setup = Setup::ending_in(60);
    let login = setup.login();
    let spent = login.credential().await.expect("a credential");
    let renewed = login.after_unauthorized(&spent).await.expect("renewed");
    assert_eq!(mark(login.after_unauthorized(&renewed).await), "rejected");
    // That another token was taken says nothing of this one.
    login.proven(&spent);
    assert_eq!(mark(login.after_unauthorized(&renewed).await), "rejected");
    assert_eq!(setup.calls(), 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(mark(login.after_unauthorized(&renewed).await), "2");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_taken_may_be_renewed_however_new_it_is() {
    let setup = Setup::ending_in(60);
    let login = setup.login();
    let mut credential = login.credential().await.expect("a credential");
    for round in 1..=3 {
        let renewed = login.after_unauthorized(&credential).await.expect("renewed");
        assert_eq!(setup.calls(), round);
        login.proven(&renewed);
        credential = renewed;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_years_ahead_renews_once_an_hour() {
    let setup = Setup::ending_in(60);
    setup.clock.advance(jiff::SignedDuration::from_hours(24 * 365 * 10));
    let login = setup.login();
    for _ in 0..5 {
        assert_eq!(mark(login.credential().await), "1");
    }
    assert_eq!(setup.calls(), 1);
    tokio::time::advance(RENEWALS_APART).await;
    assert_eq!(mark(login.credential().await), "2");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_another_process_keeps_locked_is_waited_for_no_longer_than_set() {
    let setup = Setup::ending_in(-1);
    let login = setup.login();
    let lock = Store::new(&setup.path, Vault::none()).try_lock().expect("asked").expect("free");
    let mut request = Box::pin(login.credential());
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut request => break outcome,
            () = tokio::time::advance(Duration::from_secs(1)) => {}
        }
    };
    assert_eq!(mark(outcome), "Busy");
    assert_eq!(setup.calls(), 0);
    drop(lock);
    assert_eq!(mark(login.credential().await), "1");
}

#[tokio::test]
async fn the_issuers_answers_are_told_apart_and_never_repeated() {
    let reused = r#"{"error":{"message":"r0 T0P","type":"invalid_request_error","param":null,"code":"refresh_token_reused"}}"#;
    for (status, body, expected) in [
        (401, reused, "refresh_token_reused"),
        (400, r#"{"error":"invalid_grant","error_description":"r0 T0P"}"#, "invalid_grant"),
        (403, r#"{"code":"ACCOUNT_Deactivated"}"#, "account_deactivated"),
        (400, r#"{"error":{"code":"refresh_token_expired"}}"#, "refresh_token_expired"),
        (400, r#"{"error":{"code":"refresh_token_invalidated"}}"#, "refresh_token_invalidated"),
        (401, "", "other"),
        (401, r#"{"error":{"code":"r0 T0P"}}"#, "other"),
        (400, r#"{"error":"r0 T0P"}"#, "Status(400)"),
        (429, "{}", "Status(429)"),
        (403, "<html><title>Just a moment...</title> r0 T0P</html>", "Status(403)"),
        (503, "r0 T0P", "Status(503)"),
        (307, "", "Status(307)"),
        (200, "<html>r0 T0P</html>", "Unreadable"),
        (200, "{}", "Unreadable"),
    ] {
        let setup = Setup::ending_in(-1);
        setup.mode(Mode::Answer(status, body.to_owned()));
        let error = setup.login().credential().await.expect_err("refused");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("Token refresh failed: "), "{shown}");
        assert!(!shown.contains("T0P"), "{shown}");
        assert_eq!(mark(Err(error)), expected, "{status} {body}");
        assert_eq!(setup.stored(), "r0");
    }
}

#[tokio::test]
async fn the_log_is_told_of_every_token_it_must_not_show() {
    let setup = Setup::ending_in(60);
    let (old, new) = ("refresh-token-0", "refresh-token-1");
    let login = setup.login();
    let shown = |text: &str| setup.redactor.text(text).into_owned();
    for refresh in [old, new] {
        let access = jwt(refresh, NOW + 3600);
        setup.store(&access, refresh, "acct");
        assert_eq!(shown(&access), access);
        login.credential().await.expect("a credential");
        assert_eq!(shown(&format!("{access} {refresh}")), "[REDACTED] [REDACTED]");
    }
    assert_eq!(shown(old), "[REDACTED]", "records that hold it may still be on their way");
}
