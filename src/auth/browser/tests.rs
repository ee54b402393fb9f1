//! The browser flow from the address to the disk, with a browser of ten lines.

use http::Uri;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::auth::sign_in::tests::{Setup, tokens, told};

/// A login under way: what the owner sees of it and can do about it.
struct Owner {
    /// The address to open, once there is one.
    address: tokio::sync::watch::Sender<String>,
    lines: Mutex<Vec<String>>,
    paste: mpsc::Sender<String>,
}

impl Owner {
    /// The fields of the address that is to be opened.
    async fn asked(&self) -> Vec<(String, String)> {
        let mut address = self.address.subscribe();
        let address = address.wait_for(|address| !address.is_empty()).await.expect("alive").clone();
        let uri: Uri = address.parse().expect("an address");
        form::decode(uri.query().expect("fields"))
    }

    async fn field(&self, name: &str) -> String {
        let asked = self.asked().await;
        asked.into_iter().find(|(own, _)| own == name).expect(name).1
    }

    /// What the browser shows after coming back with `fields`.
    async fn comes_back(&self, fields: &str) -> String {
        let state = self.field("state").await;
        let target: Uri = self.field("redirect_uri").await.parse().expect("an address");
        let authority = target.authority().expect("a host").clone();
        let port = authority.port_u16().expect("a port");
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let path = target.path();
        let request =
            format!("GET {path}?state={state}{fields} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut page = String::new();
        socket.read_to_string(&mut page).await.expect("read");
        page
    }
}

/// Signs in while the owner does `act`; what came of it, and what the owner saw.
async fn sign_in_with<T>(
    setup: &Setup,
    workspace: Option<&str>,
    within: u64,
    act: impl AsyncFnOnce(&Owner) -> T,
) -> (String, T, Vec<String>) {
    let (paste, pasted) = mpsc::channel(1);
    let address = tokio::sync::watch::Sender::new(String::new());
    let owner = Owner { address, lines: Mutex::default(), paste };
    let tell = |progress: Progress<'_>| match progress {
        Progress::Open { address, .. } => {
            owner.address.send_replace(address.to_owned());
        }
        Progress::Type { .. }
        | Progress::Waiting { .. }
        | Progress::Unusable(_)
        | Progress::Exchanging => owner.lines.lock().push(format!("{progress:?}")),
    };
    let settings = Settings { ports: vec![0], within: Duration::from_secs(within), pasted };
    let with = setup.sign_in(workspace);
    let (outcome, acted) = tokio::join!(sign_in(&with, settings, &tell), act(&owner));
    let outcome = match outcome {
        Ok(completed) => completed.account_id.to_string(),
        Err(error) => told(&error),
    };
    let lines = owner.lines.lock().clone();
    (outcome, acted, lines)
}

#[tokio::test]
async fn the_address_asks_for_what_is_needed() {
    let setup = Setup::new();
    setup.issuing.answer(200, tokens("acct", "r"));
    let (outcome, asked, lines) = sign_in_with(&setup, Some("acct"), 900, async |owner| {
        let address = owner.asked().await;
        let page = owner.comes_back("&code=CODE").await;
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("Signed in"), "{page}");
        address
    })
    .await;
    assert_eq!((outcome.as_str(), lines), ("acct", vec!["Exchanging".to_owned()]));
    let names: Vec<_> = asked.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "response_type",
            "client_id",
            "redirect_uri",
            "scope",
            "code_challenge",
            "code_challenge_method",
            "id_token_add_organizations",
            "codex_cli_simplified_flow",
            "state",
            "originator",
            "allowed_workspace_id"
        ]
    );
    let asked = |name: &str| asked.iter().find(|(own, _)| own == name).expect(name).1.clone();
    assert_eq!(asked("scope"), "openid profile email offline_access");
    assert_eq!(asked("code_challenge_method"), "S256");
    assert_eq!(asked("state").len(), 43, "32 bytes");
    let seen = setup.issuing.seen();
    let sent = form::decode(seen[0].rsplit(' ').next().expect("a body"));
    let sent = |name: &str| sent.iter().find(|(own, _)| own == name).expect(name).1.clone();
    assert_eq!(challenge(&sent("code_verifier")), asked("code_challenge"));
    assert_eq!(sent("code_verifier").len(), 86, "64 bytes");
    assert_eq!(sent("redirect_uri"), asked("redirect_uri"));
    assert_eq!(sent("code"), "CODE");
    assert_eq!(setup.account().as_deref(), Some("acct"));
}

#[tokio::test]
async fn no_two_logins_are_alike() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        let setup = Setup::new();
        let stop = setup.stop.clone();
        let (outcome, (state, challenge), _) = sign_in_with(&setup, None, 900, async |owner| {
            let made = (owner.field("state").await, owner.field("code_challenge").await);
            stop.cancel();
            made
        })
        .await;
        assert_eq!(outcome, "Login was interrupted; nothing was saved");
        assert!(setup.is_untouched());
        assert!(seen.insert(state) && seen.insert(challenge));
    }
}

#[tokio::test]
async fn the_page_tells_the_truth_of_every_end() {
    let mixed = tokens("acct", "r");
    for (fields, answer, workspace, page, outcome) in [
        (
            "&error=access_denied&error_description=You+said+no",
            None,
            None,
            "Login failed: access_denied (You said no).",
            "Login failed: access_denied (You said no)",
        ),
        (
            "&error=access_denied&error_description=missing_codex_entitlement",
            None,
            None,
            "Login failed: this workspace has no access to Codex.",
            "Login failed: this workspace has no access to Codex",
        ),
        (
            "&code=C",
            Some((500, "T0P")),
            None,
            "Code exchange failed: the sign-in server answered 500.",
            "Code exchange failed: the sign-in server answered 500",
        ),
        (
            "&code=C",
            Some((200, mixed.as_str())),
            Some("x"),
            "Login is restricted to workspace id x.",
            "Login is restricted to workspace id x",
        ),
    ] {
        let setup = Setup::new();
        if let Some((status, body)) = answer {
            setup.issuing.answer(status, body);
        }
        let (failed, shown, _) =
            sign_in_with(&setup, workspace, 900, async |owner| owner.comes_back(fields).await)
                .await;
        assert_eq!(failed, outcome);
        assert!(shown.contains(page) && shown.contains("Not signed in"), "{shown}");
        assert!(!shown.contains("T0P") && !shown.contains("Signed in"), "{shown}");
        assert!(setup.is_untouched());
    }
    let setup = Setup::new();
    setup.issuing.answer(200, tokens("acct", "r"));
    let (failed, shown, _) = sign_in_with(&setup, None, 900, async |owner| {
        owner.asked().await;
        std::fs::create_dir(setup.path()).expect("made");
        owner.comes_back("&code=C").await
    })
    .await;
    assert!(failed.starts_with("The login could not be saved: "), "{failed}");
    assert!(shown.contains("The login could not be saved."), "{shown}");
}

#[tokio::test]
async fn an_address_can_be_pasted_while_the_listener_waits() {
    let setup = Setup::new();
    setup.issuing.answer(200, tokens("acct", "r"));
    let (outcome, (), lines) = sign_in_with(&setup, None, 900, async |owner| {
        let state = owner.field("state").await;
        let back = owner.field("redirect_uri").await;
        for line in [
            String::new(),
            "what?".to_owned(),
            format!("{back}?code=CODE&state=other"),
            format!("{back}?code=CODE&state={state}"),
        ] {
            owner.paste.send(line).await.expect("taken");
        }
    })
    .await;
    assert_eq!(outcome, "acct");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("Unusable") && lines[1].contains("another login"), "{lines:?}");
}

#[tokio::test]
async fn a_code_can_be_pasted_and_the_end_of_input_ends_nothing() {
    let setup = Setup::new();
    setup.issuing.answer(200, tokens("acct", "r"));
    let (outcome, (), _) = sign_in_with(&setup, None, 900, async |owner| {
        owner.asked().await;
        owner.paste.send("ac_123456\n".to_owned()).await.expect("taken");
    })
    .await;
    assert_eq!(outcome, "acct");
    assert!(setup.issuing.seen()[0].contains("&code=ac_123456&"));

    let setup = Setup::new();
    setup.issuing.answer(200, tokens("acct", "r"));
    let (paste, pasted) = mpsc::channel(1);
    drop(paste);
    let address = tokio::sync::watch::Sender::new(String::new());
    let owner = Owner { address, lines: Mutex::default(), paste: mpsc::channel(1).0 };
    let tell = |progress: Progress<'_>| {
        if let Progress::Open { address, .. } = progress {
            owner.address.send_replace(address.to_owned());
        }
    };
    let settings = Settings { ports: vec![0], within: Duration::from_mins(15), pasted };
    let with = setup.sign_in(None);
    let (outcome, page) =
        tokio::join!(sign_in(&with, settings, &tell), owner.comes_back("&code=CODE"));
    outcome.expect("a login");
    assert!(page.contains("Signed in"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_does_not_come_back_is_not_waited_for() {
    let setup = Setup::new();
    let begun = tokio::time::Instant::now();
    let (outcome, (), _) = sign_in_with(&setup, None, 900, async |_| ()).await;
    assert_eq!(outcome, "Login did not complete within 15 minutes");
    assert_eq!(begun.elapsed().as_secs(), 900);
    assert!(setup.is_untouched());
}
