//! Codes and tokens of every kind, and what is left on the disk; the issuer that the tests of both
//! ways have in common.

use std::{collections::VecDeque, fs, path::PathBuf};

use axum::{Router, extract::State as Shared};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE};
use jiff::Timestamp;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::{
    auth::{file::read_record, vault::Vault},
    secret::Secret,
    transport,
};

/// An issuer that answers as it was told, in this order, and remembers what it was asked.
#[derive(Clone, Debug, Default)]
pub struct Issuing {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

async fn said(
    Shared(issuing): Shared<Issuing>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let kind = headers[CONTENT_TYPE].to_str().expect("text").rsplit('/').next().expect("a part");
    let body = String::from_utf8_lossy(&body);
    issuing.seen.lock().push(format!("{} {kind} {body}", uri.path()));
    let answer = issuing.answers.lock().pop_front();
    let Some((status, body)) = answer else { return std::future::pending().await };
    (StatusCode::from_u16(status).expect("status"), body)
}

impl Issuing {
    pub fn answer(&self, status: u16, body: impl Into<String>) {
        self.answers.lock().push_back((status, body.into()));
    }

    /// What it was asked since the last time this was looked at: path, kind and body.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock())
    }

    pub fn issuer(&self) -> Issuer {
        let router = Router::new().fallback(said).with_state(self.clone());
        let timeout = Duration::from_secs(30);
        let transport = transport::local(router);
        Issuer::new("https://issuer.example/", "app".to_owned(), timeout, transport)
            .expect("an address")
    }
}

/// A home without a login, and who may make one.
pub struct Setup {
    pub home: TempDir,
    pub issuing: Issuing,
    pub stop: CancellationToken,
}

impl Setup {
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("directory");
        Self { home, issuing: Issuing::default(), stop: CancellationToken::new() }
    }

    pub fn path(&self) -> PathBuf {
        self.home.path().join("auth.json")
    }

    pub fn sign_in(&self, workspace: Option<&str>) -> SignIn {
        SignIn {
            elsewhere: None,
            issuer: self.issuing.issuer(),
            store: Store::new(&self.path(), Vault::none()),
            workspace: workspace.map(AccountId::new),
            lock_wait: Duration::from_secs(45),
            clock: Clock::manual(Timestamp::from_second(1_790_000_000).expect("a time")),
            stop: self.stop.clone(),
        }
    }

    /// The account that is on the disk.
    pub fn account(&self) -> Option<String> {
        Some(read_record(&self.path()).expect("readable")?.bound_account_id?.to_string())
    }

    /// Whether there is anything at all where logins are.
    pub fn is_untouched(&self) -> bool {
        fs::read_dir(self.home.path()).expect("listed").next().is_none()
    }
}

/// An identity or access token of `account`.
pub fn jwt(account: &str) -> String {
    let payload = format!(
        r#"{{"email":"{account}@example.com","https://api.openai.com/auth":{{"chatgpt_account_id":"{account}","chatgpt_plan_type":"plus"}}}}"#
    );
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload))
}

/// What an issuer answers when all is well.
pub fn tokens(account: &str, refresh: &str) -> String {
    let jwt = jwt(account);
    format!(r#"{{"id_token":"{jwt}","access_token":"{jwt}","refresh_token":"{refresh}"}}"#)
}

/// An error with everything it came from.
pub fn told(error: &SignInError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.extend([": ", &error.to_string()]);
        cause = error.source();
    }
    text
}

async fn complete(setup: &Setup, workspace: Option<&str>) -> Result<Completed, String> {
    let (code, verifier) = (Secret::new("CODE+1"), Secret::new("VERIFIER"));
    let redirect_uri = "http://localhost:1455/auth/callback";
    let grant = Grant { code: &code, verifier: &verifier, redirect_uri };
    setup.sign_in(workspace).complete(&grant).await.map_err(|error| told(&error))
}

#[tokio::test]
async fn a_code_becomes_a_login_on_the_disk() {
    let setup = Setup::new();
    setup.issuing.answer(200, tokens("acct", "r1"));
    let completed = complete(&setup, Some("acct")).await.expect("a login");
    assert_eq!(
        setup.issuing.seen(),
        ["/oauth/token x-www-form-urlencoded grant_type=authorization_code&code=CODE%2B1\
          &redirect_uri=http%3A%2F%2Flocalhost%3A1455%2Fauth%2Fcallback&client_id=app\
          &code_verifier=VERIFIER"]
    );
    assert_eq!(completed.account_id.as_str(), "acct");
    assert_eq!(completed.email.as_deref(), Some("acct@example.com"));
    assert_eq!(completed.plan_type.as_deref(), Some("plus"));
    assert!(completed.saved.replaced.is_none());
    let record = read_record(&setup.path()).expect("readable").expect("there");
    assert_eq!(record.issuer.as_deref(), Some("https://issuer.example"));
    assert_eq!(record.account_id(), Some(AccountId::new("acct")));
    assert!(record.tokens.refresh.is_some_and(|refresh| refresh.matches(b"r1")));
}

#[tokio::test]
async fn what_is_replaced_is_given_back() {
    let setup = Setup::new();
    for (account, refresh, other, former) in [
        ("one", "r1", None, None),
        ("one", "r2", None, Some("r1")),
        ("two", "r3", Some("one@example.com"), Some("r2")),
    ] {
        setup.issuing.answer(200, tokens(account, refresh).replace("c2ln", refresh));
        let replaced = complete(&setup, None).await.expect("a login").saved.replaced;
        assert_eq!(replaced.as_ref().and_then(|old| old.other.as_deref()), other);
        let old = replaced.and_then(|old| old.former).and_then(|old| old.tokens.refresh);
        assert_eq!(old.as_ref().map(Secret::expose), former);
        assert_eq!(setup.account().as_deref(), Some(account));
    }
}

/// A code that brings `body`, and what is said of it.
async fn check_refused(status: u16, body: &str, workspace: Option<&str>, expected: &str) {
    let setup = Setup::new();
    setup.issuing.answer(status, body);
    let failed = complete(&setup, workspace).await.expect_err(expected);
    assert_eq!(failed, expected, "{body}");
    assert!(setup.is_untouched(), "{body}");
}

#[tokio::test]
async fn tokens_that_are_not_as_they_should_be_are_not_saved() {
    let without = |name: &str| tokens("acct", "r").replace(name, "other");
    let (one, two) = (jwt("one"), jwt("two"));
    let mixed = format!(r#"{{"id_token":"{one}","access_token":"{two}","refresh_token":"r"}}"#);
    let nobodys = r#"{"id_token":"a.b.c","access_token":"a","refresh_token":"r"}"#.to_owned();
    for (body, workspace, expected) in [
        (tokens("acct", "r"), Some("x"), "Login is restricted to workspace id x"),
        (mixed, None, "Login failed: the sign-in server gave tokens of two accounts"),
        (nobodys, None, "Login failed: the account belongs to no ChatGPT workspace"),
    ] {
        check_refused(200, &body, workspace, expected).await;
    }
    for (body, lack) in [
        (without("refresh_token"), "refresh token"),
        (without("access_token"), "access token"),
        (without("id_token"), "identity token"),
        ("<html>".to_owned(), "identity token"),
    ] {
        let expected = format!("Code exchange failed: the sign-in server's answer holds no {lack}");
        check_refused(200, &body, None, &expected).await;
    }
}

#[tokio::test]
async fn an_issuer_that_refuses_a_code_is_told_by_its_status_or_what_we_know_of_it() {
    let spent = "the code is not valid, has expired or was already used";
    for (status, body, why) in [
        (400, r#"{"error":"invalid_grant","error_description":"T0P"}"#, spent),
        (400, r#"{"error":{"message":"T0P","code":"INVALID_GRANT"}}"#, spent),
        (400, r#"{"error":"T0P"}"#, "the sign-in server answered 400"),
        (500, "", "the sign-in server answered 500"),
        (302, "", "the sign-in server answered 302"),
    ] {
        check_refused(status, body, None, &format!("Code exchange failed: {why}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_says_nothing_is_not_waited_for() {
    let setup = Setup::new();
    let failed = complete(&setup, None).await.expect_err("silence");
    assert_eq!(failed, "Code exchange failed: the sign-in server did not answer in time");
}

#[tokio::test]
async fn a_login_that_is_called_off_is_not_saved() {
    let setup = Setup::new();
    setup.stop.cancel();
    setup.issuing.answer(200, tokens("acct", "r"));
    let failed = complete(&setup, None).await.expect_err("called off");
    assert_eq!(failed, "Login was interrupted; nothing was saved");
    assert!(setup.is_untouched());
}

#[tokio::test]
async fn a_disk_that_refuses_is_told_before_and_after() {
    let setup = Setup::new();
    fs::create_dir(setup.path()).expect("made");
    setup.issuing.answer(200, tokens("acct", "r"));
    let failed = complete(&setup, None).await.expect_err("a directory");
    assert!(failed.starts_with("The login could not be saved: "), "{failed}");
    let mut with = setup.sign_in(None);
    let file = setup.home.path().join("file");
    crate::private_file::replace(&file, b"").expect("written");
    with.store = Store::new(&file.join("auth.json"), Vault::none());
    let failed = told(&with.prepare().await.expect_err("no directory"));
    assert!(failed.starts_with("The login could not be saved: "), "{failed}");
    setup.sign_in(None).prepare().await.expect("room");
    let names = fs::read_dir(setup.home.path()).expect("listed").count();
    assert_eq!(names, 3, "auth.json, its lock and the file; nothing temporary");
}

#[tokio::test]
async fn another_process_is_not_waited_for_without_end() {
    let setup = Setup::new();
    let held = Store::new(&setup.path(), Vault::none()).try_lock().expect("asked").expect("free");
    let with = SignIn { lock_wait: Duration::from_millis(1), ..setup.sign_in(None) };
    let account = AccountId::new("acct");
    let record =
        Record::signed_in(Tokens::default(), &account, "https://issuer.example", with.clock.now());
    let failed = told(&with.save(record).await.expect_err("held"));
    assert_eq!(failed, "The login could not be saved: another process is busy with this login");
    drop(held);
}

#[test]
fn a_denial_is_fit_to_be_shown() {
    let long = "x".repeat(300);
    for (error, description, expected) in [
        ("access_denied", "", "access_denied"),
        ("access_denied", "You said\r\n no", "access_denied (You said no)"),
        ("access_denied", "missing_codex_entitlement", "this workspace has no access to Codex"),
        ("a\u{1b}[2Jb", "\u{202e}evil\u{7f}", "a[2Jb (evil)"),
        (&long, "", &format!("{}…", "x".repeat(200))),
    ] {
        assert_eq!(Denial::new(error, description).to_string(), expected);
    }
}

#[test]
fn times_are_said_as_people_say_them() {
    for (seconds, expected) in [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (900, "15 minutes"),
        (895, "14 min 55 s"),
    ] {
        assert_eq!(Span(Duration::from_secs(seconds)).to_string(), expected);
    }
}
