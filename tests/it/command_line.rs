//! The real program in a fresh home directory with no variables but `HOME`: what it prints, what
//! it leaves on the disk, and how it ends.

mod texts;

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use expect_test::{Expect, expect};
use tempfile::TempDir;

use crate::harness::program::NO_BUS;

/// A home directory, and the variables that are set in it.
pub struct Home {
    dir: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Home {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("directory"), variables: Vec::new() }
    }

    pub fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub fn write(&self, below: &str, content: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("below")).expect("made");
        let mut file = File::create(path).expect("created");
        file.set_permissions(fs::Permissions::from_mode(0o600)).expect("set");
        file.write_all(content.as_bytes()).expect("written");
    }

    pub fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).expect("readable")
    }

    pub fn mode(&self, below: &str) -> u32 {
        fs::metadata(self.path(below)).expect("exists").permissions().mode() & 0o777
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_airelays"));
        command.args(args).env_clear().env("HOME", self.dir.path()).stdin(Stdio::null());
        command.envs([NO_BUS]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, line: &str) -> Output {
        let args: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
        self.command(&args).output().expect("started")
    }

    /// `text` with the home directory as `~` and the relay token as `<token>`.
    pub fn masked(&self, text: &[u8]) -> String {
        let text = String::from_utf8(text.to_vec()).expect("text");
        let text = text.replace(self.dir.path().to_str().expect("text"), "~");
        match fs::read_to_string(self.path(".airelays/relay-token")) {
            Ok(token) if !token.trim().is_empty() => text.replace(token.trim(), "<token>"),
            Ok(_) | Err(_) => text,
        }
    }

    /// What a command prints, standard error marked, and its exit code unless that is 0.
    pub fn says(&self, line: &str) -> String {
        let Output { status, stdout, stderr } = self.run(line);
        let mut text = self.masked(&stdout);
        for line in self.masked(&stderr).lines() {
            text.push_str(&["stderr: ", line, "\n"].concat());
        }
        match status.code() {
            Some(0) => text,
            code => format!("{text}exit: {code:?}\n"),
        }
    }

    pub fn check(&self, line: &str, expected: &Expect) {
        expected.assert_eq(&self.says(line));
    }

    pub fn json(&self, line: &str) -> serde_json::Value {
        let output = self.run(line);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

#[test]
fn what_it_leaves_belongs_to_the_owner_alone() {
    let home = Home::new();
    home.run("init");
    for dir in [".config", ".config/airelays", ".airelays", ".airelays/logs"] {
        assert_eq!(home.mode(dir), 0o700, "{dir}");
    }
    for file in [".config/airelays/config.toml", ".airelays/relay-token"] {
        assert_eq!(home.mode(file), 0o600, "{file}");
    }
    home.run("token rotate");
    assert_eq!(home.mode(".airelays/relay-token"), 0o600);
    let names = fs::read_dir(home.path(".airelays")).expect("listed").count();
    assert_eq!(names, 2, "logs and token, nothing temporary");
}

#[test]
fn the_fingerprint_tells_tokens_apart() {
    let home = Home::new().set("AIRELAYS_BEARER_TOKEN", "abc");
    let relay = &home.json("status --json")["relay"];
    assert_eq!(relay["bearer_token_fingerprint"], "ba7816bf8f01");
    assert_eq!(relay["bearer_token_source"], "env");
}

#[test]
fn shared_flags_stand_on_either_side_of_the_command() {
    let home = Home::new();
    let data = home.path("elsewhere");
    let data = data.to_str().expect("text");
    for line in [
        format!("--data-dir {data} status --json"),
        format!("status --data-dir {data} --json"),
        format!("status --json --data {data}"),
        format!("--data={data} status --js"),
    ] {
        let relay = &home.json(&line)["relay"];
        assert_eq!(relay["data_dir"], data, "{line}");
        assert_eq!(relay["logs_dir"], format!("{data}/logs"), "{line}");
    }
    home.run(&format!("--data-dir {data} token rotate"));
    assert!(home.path("elsewhere/relay-token").exists());
    assert!(!home.path(".airelays").exists());
    let file = home.path("t");
    let file = file.to_str().expect("text");
    home.run(&format!("token --bearer-token-file {file} rotate"));
    assert!(home.path("t").exists());
    let document = home.json(&format!("--config {data}/c --auth-storage file token show --json"));
    assert_eq!(
        document["client"]["rotate_token_command"],
        format!("airelays token rotate --config {data}/c --auth-storage file")
    );
}

#[test]
fn base_urls_can_be_used_as_they_are() {
    for (host, expected) in [
        ("127.0.0.1", "http://127.0.0.1:8080/v1"),
        ("0.0.0.0", "http://127.0.0.1:8080/v1"),
        ("::", "http://[::1]:8080/v1"),
        ("::1", "http://[::1]:8080/v1"),
        ("[::1]", "http://[::1]:8080/v1"),
        ("localhost", "http://localhost:8080/v1"),
    ] {
        let home = Home::new().set("AIRELAYS_HOST", host);
        assert_eq!(home.json("status --json")["client"]["base_url"], expected);
    }
}

#[test]
fn paths_with_quotes_and_backslashes_survive() {
    let home = Home::new();
    let odd = home.path("a \"b\" \\n 'c' é");
    let odd = odd.to_str().expect("text");
    let config = home.path("c.toml");
    let config = config.to_str().expect("text");
    let init = home.command(&["init", "--config", config, "--data-dir", odd]).output();
    assert!(init.expect("started").status.success());
    let relay = &home.json(&format!("status --json --config {config}"))["relay"];
    assert_eq!(relay["data_dir"], odd);
    assert_eq!(relay["bearer_token_present"], true);
    let steps = &home.command(&["status", "--json", "--data-dir", odd]).output().expect("started");
    let steps: serde_json::Value = serde_json::from_slice(&steps.stdout).expect("JSON");
    let quoted = odd.replace('\'', r"'\''");
    assert_eq!(steps["next_steps"][0], format!("airelays login --data-dir '{quoted}'"));
}

#[test]
fn force_writes_what_counts_now() {
    let home = Home::new().set("AIRELAYS_PORT", "9000").set("AIRELAY_RATE_LIMIT_BURST", "7");
    home.write(".config/airelays/config.toml", "[server]\nhost = \"::1\"\n");
    assert!(home.run("init").status.success());
    assert_eq!(home.read(".config/airelays/config.toml"), "[server]\nhost = \"::1\"\n");
    assert!(home.run("init --force").status.success());
    let text = home.read(".config/airelays/config.toml");
    let chosen: Vec<_> =
        text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).collect();
    assert_eq!(chosen, ["host = \"::1\"", "port = 9000", "rate_limit_burst = 7"]);
}

#[test]
fn problems_are_listed_and_stop_every_command() {
    let home = Home::new().set("AIRELAYS_PORT", "abc");
    home.write(".config/airelays/config.toml", "[security]\nrate_limit_burst = 0\nburst = 1\n");
    let status = home.says("status");
    expect![[r#"
        stderr: warning: security.burst in ~/.config/airelays/config.toml, line 3: unknown setting
        stderr: The settings cannot be used:
        stderr:   AIRELAYS_PORT: must be a whole number from 0 to 65535, but is `abc`
        stderr:   security.rate_limit_burst in ~/.config/airelays/config.toml, line 2: must be a whole number from 1 to 1000000000, but is 0
        exit: Some(1)
    "#]].assert_eq(&status);
    for line in ["init", "token show", "token rotate", "serve", "status --json"] {
        assert_eq!(home.says(line), status, "{line}");
    }
    assert!(!home.path(".airelays").exists());
}

#[test]
fn what_is_odd_goes_to_standard_error() {
    let home = Home::new().set("AIRELAYS_PROT", "1").set("AIRELAYS_HOST", "0.0.0.0");
    home.write("c.toml", "[server]\nprot = 1\n");
    let config = home.path("c.toml");
    let text = home.says(&format!("init --no-auth --force --config {}", config.display()));
    let stderr: String =
        text.split_inclusive('\n').filter(|line| line.starts_with("stderr")).collect();
    expect![[r#"
        stderr: warning: AIRELAYS_PROT: unknown variable; did you mean AIRELAYS_PORT?
        stderr: warning: server.prot in ~/c.toml, line 2: unknown setting; did you mean server.port?
        stderr: warning: security.require_bearer_auth: the listener 0.0.0.0 is open to the network and asks for no token: whoever reaches it uses your login
        stderr: warning: server.host: the listener 0.0.0.0 is open to the network without TLS: whoever can listen there reads the relay token and what is said
    "#]].assert_eq(&stderr);
    home.run("init");
    let text = home.says("status --config /nowhere/c.toml");
    assert!(text.contains("stderr: warning: /nowhere/c.toml: there is no such file"), "{text}");
    assert!(home.json("status --json")["notices"][0].is_string());
}

#[test]
fn exit_codes_are_the_documented_ones() {
    let home = Home::new();
    for (line, expected) in [
        ("", 2),
        ("--help", 0),
        ("--version", 0),
        ("help status", 0),
        ("login --device --browser", 2),
        ("login --yes", 2),
        ("login --import x --browser", 2),
        ("logout x", 1),
        ("logout x y", 2),
        ("status --jsn", 2),
        ("status extra", 2),
        ("token", 2),
        ("serve --port abc", 2),
        ("serve --port 65536", 2),
        ("serve --world speed=1", 2),
        ("serve --simulate --world speed", 2),
        ("--auth-storage keychain status", 2),
        ("status", 0),
        ("token show", 0),
        ("serve", 1),
        ("status --data-dir ~you", 1),
    ] {
        let output = home.run(line);
        assert_eq!(output.status.code(), Some(expected), "{line}");
        assert_eq!(output.stderr.is_empty(), expected == 0, "{line}");
    }
    home.check(
        "--version",
        &expect![[r#"
        airelays 0.1.0
    "#]],
    );
    home.check("serve", &expect![[r#"
        stderr: Bearer authentication is enabled, but no relay token is configured. Run `airelays init` or set AIRELAYS_BEARER_TOKEN.
        exit: Some(1)
    "#]]);
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let home = Home::new();
    home.write("file", "");
    let data = home.path("file/below");
    let text = home.says(&format!("token rotate --data-dir {}", data.display()));
    expect![[r#"
        stderr: Could not write the relay token to ~/file/below/relay-token: Not a directory (os error 20)
        exit: Some(1)
    "#]].assert_eq(&text);
}

#[test]
fn a_token_file_that_is_none_is_told() {
    let home = Home::new();
    fs::create_dir_all(home.path(".airelays/relay-token")).expect("made");
    let relay = &home.json("status --json")["relay"];
    assert_eq!(relay["bearer_token_present"], false);
    assert!(
        relay["bearer_token_problem"].as_str().is_some_and(|text| text.starts_with("unreadable"))
    );
    assert!(home.says("status").contains("Relay token:       unreadable: "));
    home.check(
        "init",
        &expect![[r#"
        stderr: Could not read the relay token in ~/.airelays/relay-token: it is not a regular file
        exit: Some(1)
    "#]],
    );
}

#[test]
fn an_odd_stored_login_is_a_sentence() {
    let home = Home::new();
    for (content, problem, mode) in [
        ("{", Some("The stored login is not a JSON object."), None),
        ("[]", Some("The stored login is not a JSON object."), None),
        ("", Some("The stored login is not a JSON object."), None),
        ("{}", None, None),
        (r#"{"tokens":null,"OPENAI_API_KEY":"sk"}"#, None, Some("api_key_only")),
        (
            r#"{"bound_account_id":3}"#,
            Some("`bound_account_id` in the stored login has an unexpected type."),
            None,
        ),
        (
            r#"{"tokens":{"access_token":7,"id_token":"a.b"}}"#,
            Some("`access_token` in the stored login has an unexpected type."),
            None,
        ),
    ] {
        home.write(".airelays/auth.json", content);
        let auth = &home.json("status --json")["auth"];
        assert_eq!(auth["problem"].as_str(), problem, "{content}");
        assert_eq!(auth["mode"].as_str(), mode, "{content}");
        assert_eq!(auth["ready_for_requests"], false, "{content}");
        let text = home.says("status");
        assert!(problem.is_none_or(|problem| text.contains(problem)), "{text}");
    }
}

#[test]
fn what_a_stored_login_says_cannot_steer_the_terminal() {
    let home = Home::new();
    home.write(".airelays/auth.json", r#"{"tokens":{"account_id":"a\u001b[2Jb"}}"#);
    let text = home.says("status");
    assert!(text.contains(r"Account ID:        a\u{1b}[2Jb"), "{text}");
}

#[test]
fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is_one() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let gone = home.command(&["status"]).stdout(writer).output().expect("started");
    assert_eq!((gone.status.code(), gone.stderr), (Some(0), Vec::new()));
    if Path::new("/dev/full").exists() {
        let full = File::options().write(true).open("/dev/full").expect("opened");
        let full = home.command(&["status"]).stdout(full).output().expect("started");
        assert_eq!(full.status.code(), Some(1));
    }
}

#[test]
fn there_are_no_colors_without_a_terminal() {
    let home = Home::new().set("TERM", "xterm-256color").set("CLICOLOR", "1");
    assert!(!home.run("status").stdout.contains(&0x1b));
}

#[test]
fn the_former_names_are_kept_by_whoever_has_them() {
    let home = Home::new();
    home.write(".config/airelay/config.toml", "[server]\nport = 5\n");
    home.write(".airelay/relay-token", "former\n");
    let relay = &home.json("init --json");
    assert_eq!(relay["config_created"], false);
    assert_eq!(relay["bearer_token_created"], false);
    assert_eq!(home.json("token show --json")["relay_token"], "former");
    assert!(!home.path(".airelays").exists());
    assert!(!home.path(".config/airelays").exists());
}

/// Tokens are made by others, and settings may be copied from anywhere.
#[test]
fn s3_nothing_that_comes_from_outside_steers_the_terminal() {
    let evil = "a\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\u{2066}\u{7f}\r\u{2028}z";
    let claims = serde_json::json!({
        "email": evil,
        "https://api.openai.com/auth": {"chatgpt_plan_type": evil, "chatgpt_account_id": evil},
    });
    let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let token = format!("e30.{payload}.c2ln");
    let login = serde_json::json!({
        "bound_account_id": evil,
        "tokens": {"id_token": token, "access_token": token, "account_id": evil},
        "last_refresh": evil,
    });
    let home = Home::new().set("AIRELAYS_MODEL_ALIASES", format!("{evil}=gpt-5.4"));
    home.write(".airelays/auth.json", &login.to_string());
    home.write(
        ".config/airelays/config.toml",
        &format!("[{evil:?}]\nx = 1\n[server]\nhost = {}\n", serde_json::Value::from(evil)),
    );
    for line in
        ["status", "status --json", "login --import", "token show", "logout", "logout --json"]
    {
        home.write(".airelays/auth.json", &login.to_string());
        let Output { stdout, stderr, .. } = home.run(line);
        for text in [stdout, stderr] {
            let text = String::from_utf8(text).expect("text");
            let steers = |c: char| {
                c.is_control() && c != '\n'
                    || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert_eq!(text.chars().find(|c| steers(*c)), None, "{line}: {text:?}");
        }
    }
    let home = Home::new();
    home.write(".airelays/auth.json", &login.to_string());
    let status = home.run("status --json").stdout;
    assert!(status.is_ascii());
    let status: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
    assert_eq!(status["auth"]["email"], evil);
    assert!(home.says("status").contains("\\u{202e}"));
}
