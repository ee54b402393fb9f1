//! Signing in and out with the real program, against the simulator over real sockets.
//!
//! The simulator runs in this process on a port of its own; the program runs in a home of its own
//! and is told of no other issuer. A browser is a client of a few lines that follows the redirect.

mod ends;
mod import;
mod out;

use std::{
    fs,
    future::IntoFuture,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use airelays::sim::{Simulator, World};
use expect_test::expect;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::command_line::Home;

/// The simulator, reachable as long as this lives.
struct Issuer {
    simulator: Simulator,
    address: SocketAddr,
    _runtime: Runtime,
}

impl Issuer {
    fn start(world: &[(&str, &str)]) -> Self {
        let usual = [("redirect_ports", "any"), ("device_interval", "1"), ("device_polls", "1")];
        let world: Vec<_> = usual.iter().chain(world).copied().collect();
        let simulator = Simulator::start(World::from_pairs(&world).expect("a world"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("bound");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(axum::serve(listener, simulator.router()).into_future());
        Self { simulator, address, _runtime: runtime }
    }

    /// A home whose relay knows this issuer.
    fn home(&self) -> Home {
        Home::new().set("AIRELAYS_ISSUER_BASE_URL", format!("http://{}", self.address))
    }

    fn requests(&self, route: &str) -> u64 {
        self.simulator.counters().requests.get(route).copied().unwrap_or_default()
    }
}

/// Ends with the test, however that ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// A login under way.
struct Login {
    child: Started,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What was read of it so far.
    said: String,
}

/// What is left when it has ended.
struct Ended {
    code: Option<i32>,
    /// Both streams.
    said: String,
}

impl Login {
    fn start(home: &Home, args: &[&str]) -> Self {
        let args: Vec<_> = ["login"].iter().chain(args).copied().collect();
        let mut command = home.command(&args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { input: child.stdin.take(), output, child: Started(child), said: String::new() }
    }

    /// With a browser, at any free port.
    fn browser(home: &Home, args: &[&str]) -> Self {
        let args: Vec<_> =
            ["--browser", "--callback-port", "0"].iter().chain(args).copied().collect();
        Self::start(home, &args)
    }

    /// The rest of the line that begins with `label`.
    fn field(&mut self, label: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("readable");
            self.said.push_str(&line);
            if let Some(rest) = line.trim_start().strip_prefix(label) {
                return rest.trim().to_owned();
            }
            if read == 0 {
                self.child.0.kill().expect("killed");
                let mut why = String::new();
                let stderr = self.child.0.stderr.as_mut().expect("piped");
                stderr.read_to_string(&mut why).expect("text");
                unreachable!("no {label} in {}{why}", self.said);
            }
        }
    }

    fn address(&mut self) -> String {
        self.field("Address:")
    }

    fn paste(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open");
        input.write_all(line.as_bytes()).and_then(|()| input.flush()).expect("taken");
    }

    fn end(mut self) -> Ended {
        drop(self.input.take());
        self.output.read_to_string(&mut self.said).expect("text");
        let mut stderr = self.child.0.stderr.take().expect("piped");
        stderr.read_to_string(&mut self.said).expect("text");
        let code = self.child.0.wait().expect("ended").code();
        Ended { code, said: self.said }
    }
}

/// What was answered to `GET url`: status, `location`, all of it.
fn get(url: &str) -> (u16, String, String) {
    let rest = url.strip_prefix("http://").expect("plain http");
    let (host, path) = rest.split_once('/').expect("a path");
    ask(host, &format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

/// What was answered to `request` at `host`, which is on this machine.
fn ask(host: &str, request: &str) -> (u16, String, String) {
    let port = host.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    // Whoever refuses early closes early.
    let _sent = socket.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _read = socket.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    (status, location.unwrap_or_default().trim().to_owned(), answer)
}

/// Where the sign-in page sends the browser.
fn sent_back(address: &str) -> String {
    let (status, location, answer) = get(address);
    assert_eq!(status, 302, "{answer}");
    location
}

/// The value of `name` in the query of `url`.
fn part<'a>(url: &'a str, name: &str) -> &'a str {
    let (_, query) = url.split_once('?').expect("a query");
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.expect("there")
}

/// The tokens that the stored login holds.
fn stored_tokens(home: &Home) -> Vec<String> {
    let login: serde_json::Value =
        serde_json::from_str(&home.read(".airelays/auth.json")).expect("JSON");
    ["id_token", "access_token", "refresh_token"]
        .map(|name| login["tokens"][name].as_str().expect("a token").to_owned())
        .to_vec()
}

/// Nothing that signs anybody in was said.
fn assert_discreet(said: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(!said.contains(secret.as_str()), "{said}");
    }
}

/// Nothing was saved, not even for a moment.
fn assert_nothing_saved(home: &Home) {
    assert!(!home.path(".airelays/auth.json").exists());
    if let Ok(entries) = fs::read_dir(home.path(".airelays")) {
        assert_eq!(entries.count(), 0);
    }
}

#[test]
fn a_device_login_from_the_code_to_the_disk() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home();
    let mut login = Login::start(&home, &["--device"]);
    let code = login.field("Code:");
    let ended = login.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_discreet(&ended.said, &stored_tokens(&home));
    let said = home.masked(ended.said.as_bytes()).replace(&code, "<code>");
    let said = said.replace(&issuer.address.to_string(), "<issuer>");
    let account = home.json("status --json")["auth"]["account_id"].clone();
    let said = said.replace(account.as_str().expect("an id"), "<account>");
    expect![[r#"
        AIRelays Device Login

        Sign In
          Address:           http://<issuer>/codex/device
          Code:              <code>
          Valid for:         15 minutes
          It allows:         AIRelays on this machine to use your ChatGPT account
          Caution:           type it only if you began this login; give it to nobody

        Waiting for the code to be typed there (Ctrl-C ends this login).
        Approved; fetching the login.

        Upstream Session
          Authenticated:     yes
          Email:             first@simulator.example
          Plan:              plus
          Account ID:        <account>
          Auth store:        ~/.airelays/auth.json (not encrypted: there is no keyring here)
          Relay token:       missing
          Token file:        ~/.airelays/relay-token

        Client Setup
          Base URL:          http://127.0.0.1:8080/v1
          Models URL:        http://127.0.0.1:8080/v1/models
          Bearer auth:       required
          Token file:        ~/.airelays/relay-token
          Auth header:       Authorization: Bearer <AIRelays token>
          Reveal token:      airelays token show
          Rotate token:      airelays token rotate

        Next Steps
          1. airelays init
    "#]]
    .assert_eq(&said);
    assert_eq!(home.mode(".airelays/auth.json"), 0o600);
    assert_eq!(home.mode(".airelays"), 0o700);
    let auth = &home.json("status --json")["auth"];
    assert_eq!(auth["ready_for_requests"], true);
    assert_eq!(auth["email"], "first@simulator.example");
    // The code that was typed is the issuer's, and it was asked about as long as it took.
    assert_eq!(issuer.requests("POST /api/accounts/deviceauth/token"), 2);
    assert_eq!(issuer.requests("POST /oauth/token"), 1);
}

#[test]
fn a_machine_without_a_display_uses_a_code_and_says_why() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home().set("SSH_CONNECTION", "1 2 3 4").set("DISPLAY", ":0");
    let ended = Login::start(&home, &[]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.starts_with("AIRelays Device Login\n"), "{}", ended.said);
    assert!(ended.said.contains("`airelays login --browser`"), "{}", ended.said);
}

#[test]
fn a_browser_login_from_the_address_to_the_page() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home();
    home.run("init");
    let mut login = Login::browser(&home, &[]);
    let back = sent_back(&login.address());
    let (status, _, page) = get(&back);
    assert_eq!(status, 200, "{page}");
    // The page tells of success, so the login is there although the program may not have ended.
    let tokens = stored_tokens(&home);
    let ended = login.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(page.contains("Signed in") && page.contains("first@simulator.example"), "{page}");
    assert_discreet(&page, &tokens);
    assert_discreet(&ended.said, &tokens);
    assert_discreet(&ended.said, &[part(&back, "code").to_owned()]);
    assert!(ended.said.starts_with("AIRelays Login\n"), "{}", ended.said);
    assert!(
        ended.said.contains("1. airelays serve --host 127.0.0.1 --port 8080"),
        "{}",
        ended.said
    );
    // One exchange, and none for a platform key.
    assert_eq!(issuer.requests("POST /oauth/token"), 1);
    let stored = home.read(".airelays/auth.json");
    assert!(stored.contains("\"OPENAI_API_KEY\": null"), "{stored}");
}

#[test]
fn strays_before_the_right_one_change_nothing() {
    let issuer = Issuer::start(&[]);
    let home = issuer.home();
    let mut login = Login::browser(&home, &[]);
    let back = sent_back(&login.address());
    let (base, query) = back.split_once('?').expect("a query");
    let host = base.split('/').nth(2).expect("a host");
    let request = |line: &str, host: &str| format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let target = format!("/auth/callback?{query}");
    for _ in 0..5 {
        for (line, named, expected) in [
            ("GET /auth/callback?code=forged&state=forged", host, 400),
            ("GET /auth/callback?error=access_denied&state=forged", host, 400),
            ("GET /auth/callback?error=access_denied", host, 400),
            ("GET /auth/callback?code=forged", host, 400),
            ("GET /auth/callback", host, 400),
            ("GET /cancel", host, 404),
            ("GET /", host, 404),
            (&format!("POST {target}"), host, 405),
            (&format!("HEAD {target}"), host, 405),
            (&format!("GET {target}"), "evil.example", 403),
            (&format!("GET {target}"), "127.0.0.1", 403),
            (&format!("GET {target}&x={}", "x".repeat(50_000)), host, 431),
        ] {
            let (status, _, answer) = ask(host, &request(line, named));
            assert_eq!(status, expected, "{line}: {answer}");
            assert!(!answer.contains("Signed in"), "{answer}");
        }
    }
    let _silent = TcpStream::connect((
        "127.0.0.1",
        host.rsplit(':').next().expect("a port").parse().expect("a number"),
    ))
    .expect("connected");
    assert_nothing_saved(&home);
    let (status, _, page) = get(&back);
    assert_eq!(status, 200, "{page}");
    let ended = login.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(issuer.requests("POST /oauth/token"), 1);
}

#[test]
fn the_address_or_the_code_can_be_pasted() {
    let issuer = Issuer::start(&[]);
    for is_whole in [true, false] {
        let home = issuer.home();
        let mut login = Login::browser(&home, &[]);
        let address = login.address();
        let back = sent_back(&address);
        let code = part(&back, "code").to_owned();
        login.paste("\n");
        login.paste("what do I do here?\n");
        login.paste(&format!("{}\n", back.replace(part(&back, "state"), "other")));
        login.paste(&format!("{}\n", if is_whole { &back } else { &code }));
        let ended = login.end();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let said = &ended.said;
        assert!(said.contains("Not used: that is neither the address"), "{said}");
        assert!(said.contains("Not used: that address belongs to another login."), "{said}");
        assert_discreet(said, &stored_tokens(&home));
        assert_discreet(said, &[code]);
    }
}

#[test]
fn the_browser_is_opened_only_if_the_owner_wants_it_and_without_our_secrets() {
    let issuer = Issuer::start(&[]);
    for (setting, flags, expected) in
        [("true", [].as_slice(), true), ("true", &["--no-browser"], false), ("false", &[], false)]
    {
        let home = issuer.home().set("DISPLAY", ":0").set("AIRELAYS_BROWSER_OPEN", setting);
        let home = home.set("AIRELAYS_BEARER_TOKEN", "T0P").set("OPENAI_API_KEY", "T0P");
        let path = home.path("bin");
        let script = "#!/bin/sh\necho \"$#\" > \"$HOME/opened.part\"\necho \"$1\" >> \"$HOME/opened.part\"\n/usr/bin/env >> \"$HOME/opened.part\"\n/bin/mv \"$HOME/opened.part\" \"$HOME/opened\"\n";
        for program in ["bin/xdg-open", "bin/open"] {
            home.write(program, script);
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(home.path(program), mode).expect("executable");
        }
        let home = home.set("PATH", path.to_str().expect("text"));
        let args: Vec<_> = ["--callback-port", "0"].iter().chain(flags).copied().collect();
        let mut login = Login::start(&home, &args);
        let address = login.address();
        if expected {
            while !home.path("opened").exists() {
                std::thread::yield_now();
            }
            let opened = home.read("opened");
            let mut lines = opened.lines();
            assert_eq!((lines.next(), lines.next()), (Some("1"), Some(address.as_str())));
            assert!(opened.contains("DISPLAY=:0") && !opened.contains("T0P"), "{opened}");
        }
        let (status, _, page) = get(&sent_back(&address));
        assert_eq!(status, 200, "{page}");
        assert_eq!(login.end().code, Some(0));
        assert_eq!(home.path("opened").exists(), expected);
    }
    let home = issuer.home().set("AIRELAYS_BROWSER_OPEN", "true").set("PATH", "/nowhere");
    let mut login = Login::browser(&home, &[]);
    get(&sent_back(&login.address()));
    let ended = login.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("No browser could be opened"), "{}", ended.said);
}
