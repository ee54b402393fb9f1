//! Flags, variables and files laid over each other, right and wrong ones.

use std::{fs, os::unix::ffi::OsStrExt, path::Path};

use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::*;
use crate::private_file;

/// A home directory and variables of its own.
struct Home {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("directory"), variables: Vec::new() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn file(self, text: &str) -> Self {
        let path = self.path(".config/airelays/config.toml");
        private_file::replace(&path, text.as_bytes()).expect("written");
        self
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn load(&self, flags: Layer) -> Result<Config, Problems> {
        let home = ("HOME".to_owned(), shown(self.dir.path()));
        Config::load(flags, &self.variables.iter().cloned().chain([home]).collect())
    }

    fn config(&self) -> Config {
        self.load(Layer::default()).expect("fine")
    }

    /// Problems and notices with the home directory shown as `~`.
    fn findings(&self) -> String {
        let text = match self.load(Layer::default()) {
            Ok(config) => {
                config.notices.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            }
            Err(problems) => problems.to_string(),
        };
        text.replace(&shown(self.dir.path()), "~") + "\n"
    }
}

fn effective<'a>(config: &'a Config, key: &str) -> &'a Effective {
    config.settings.iter().find(|setting| setting.about.key == key).expect("recorded")
}

/// Two good values of a setting, as a variable would say them.
fn samples(about: &table::About) -> [&'static str; 2] {
    match about.key {
        "server.host" => ["127.0.0.1", "127.0.0.2"],
        "auth.storage" => ["file", "keyring"],
        "slots.policy" => ["balanced", "ordered"],
        "chat.reasoning" => ["think", "hidden"],
        "server.unix_socket" | "server.tls_cert" | "server.tls_key" => ["/a", "/b"],
        "models.aliases" => ["a=b", "c=d(low)"],
        "security.network_scope" => ["any", "loopback"],
        "security.allowed_hosts" => ["a.example", "b.example"],
        "security.allowed_origins" | "upstream.base_url" | "upstream.issuer_base_url" => {
            ["https://a.example", "https://b.example"]
        }
        "security.trusted_proxies" => ["10.0.0.0/8", "10.0.0.1/32"],
        "upstream.client_id" | "upstream.client_version" | "security.bearer_token" => ["a", "b"],
        _ if matches!(about.default, "true" | "false") => ["false", "true"],
        _ if about.default.starts_with("\"~") => ["/a", "/b"],
        _ => ["1", "2"],
    }
}

/// `word` as the file would have it.
fn in_file(about: &table::About, word: &str) -> String {
    let (section, name) = about.parts();
    let value = match about.default.as_bytes().first() {
        Some(b'"') => format!("\"{word}\""),
        Some(b'[') => format!("[\"{word}\"]"),
        Some(_) | None => word.to_owned(),
    };
    format!("[{section}]\n{name} = {value}\n")
}

#[test]
fn without_anything_the_defaults_count() {
    let home = Home::new();
    let config = home.config();
    assert!(!config.file.exists && !config.file.is_named);
    assert_eq!(config.file.path, home.path(".config/airelays/config.toml"));
    assert_eq!(config.paths.data_dir, home.path(".airelays"));
    assert_eq!(config.paths.logs_dir, home.path(".airelays/logs"));
    assert_eq!(config.security.bearer_token_file, home.path(".airelays/relay-token"));
    assert_eq!(config.upstream.client_version, "0.156.1");
    let upstream = &config.upstream;
    let waits = [upstream.headers_timeout, upstream.first_event_timeout, upstream.silence_timeout];
    assert_eq!(waits.map(|wait| wait.as_secs()), [120, 120, 300]);
    assert_eq!(config.upstream.total_timeout, None);
    assert_eq!(config.stream.keep_alive, Some(Duration::from_secs(15)));
    assert_eq!(config.notices, []);
    for setting in &config.settings {
        let expected = setting.about.default.replace('~', &shown(home.dir.path()));
        assert_eq!(setting.literal.as_deref(), Some(&*expected), "{}", setting.about.key);
        assert_eq!(setting.origin, Origin::Default, "{}", setting.about.key);
    }
}

#[test]
fn every_setting_of_the_table_is_taken() {
    let taken: Vec<_> = Home::new().config().settings.iter().map(|s| s.about.key).collect();
    let known: Vec<_> = SETTINGS
        .iter()
        .map(|about| about.key)
        .filter(|key| *key != table::BEARER_TOKEN.about.key)
        .collect();
    assert_eq!(taken, known);
}

/// Every source of `about`, strongest first, set to the first sample when it is `strong` and to
/// the second otherwise; sources before `strong` say nothing.
fn sources(about: &'static table::About, strong: usize) -> (Home, Layer, Option<Origin>) {
    let [first, second] = samples(about);
    let value = |at: usize| if at == strong { first } else { second };
    let mut home = match about.key {
        "server.tls_cert" => Home::new().set("AIRELAYS_TLS_KEY", "/key"),
        "server.tls_key" => Home::new().set("AIRELAYS_TLS_CERT", "/cert"),
        _ => Home::new(),
    };
    let mut layer = Layer::default();
    let mut expected = None;
    if strong == 0 {
        layer = layer.flag(about, "--flag", Some(word(value(0))));
        expected = Some(Origin::Flag("--flag"));
    }
    for (at, prefix) in (1..).zip(about.prefixes) {
        let name = format!("{prefix}{}", about.variable);
        if at == strong {
            expected = Some(Origin::Variable(name.clone()));
        }
        let value = if at < strong { "" } else { value(at) };
        home = home.set(&name, value);
    }
    let at = about.prefixes.len() + 1;
    if about.in_file && strong <= at {
        home = home.file(&in_file(about, value(at)));
    }
    if strong == at && about.in_file {
        let path = Arc::from(home.path(".config/airelays/config.toml"));
        expected = Some(Origin::File { path, line: 2 });
    }
    (home, layer, expected)
}

#[test]
fn each_source_beats_the_next_for_every_setting() {
    for about in SETTINGS.iter().filter(|about| about.key != "security.bearer_token") {
        for strong in 0..=about.prefixes.len() + 1 {
            let (home, layer, expected) = sources(about, strong);
            let Some(expected) = expected else { continue };
            let config = home.load(layer).expect("fine");
            let Effective { literal, origin, .. } = effective(&config, about.key);
            assert_eq!(*origin, expected, "{}", about.key);
            let literal = literal.as_deref().map(|literal| literal.trim_matches(['"', '[', ']']));
            assert_eq!(literal, Some(samples(about)[0]), "{} {expected}", about.key);
        }
    }
}

#[test]
fn the_token_comes_from_two_variables_and_from_no_file() {
    let token = |home: &Home| {
        let token = home.config().security.bearer_token;
        token.map(|token| (token.value.expose().to_owned(), token.origin.to_string()))
    };
    let both = Home::new().set("AIRELAYS_BEARER_TOKEN", " a ").set("AIRELAY_BEARER_TOKEN", "b");
    assert_eq!(token(&both), Some(("a".to_owned(), "AIRELAYS_BEARER_TOKEN".to_owned())));
    let old = Home::new().set("AIRELAYS_BEARER_TOKEN", "").set("AIRELAY_BEARER_TOKEN", "b");
    assert_eq!(token(&old), Some(("b".to_owned(), "AIRELAY_BEARER_TOKEN".to_owned())));
    let file = Home::new()
        .file("[security]\nbearer_token = 'c'\n")
        .set("OPENAI_ENDPOINT_BEARER_TOKEN", "d");
    assert_eq!(token(&file), None);
    let bad = Home::new().set("AIRELAYS_BEARER_TOKEN", "one two").findings();
    assert!(bad.contains("AIRELAYS_BEARER_TOKEN") && !bad.contains("two"), "{bad}");
    let debug = format!("{:?}", both.config());
    assert!(debug.contains("Secret(..)") && !debug.contains("\"a\""), "{debug}");
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let home = Home::new()
        .file(
            "[server]\nport = 99999\nhost = 7\n\n[security]\nrate_limit_burst = 0\n\
             rate_limit_per_minute = -5\nrequire_bearer_auth = \"yes\"\n[upstream]\n\
             base_url = \"http://chatgpt.com\"\n[stream]\nkeep_alive_seconds = 16\n",
        )
        .set("AIRELAYS_BROWSER_OPEN", "maybe")
        .set("AIRELAY_AUTH_STORAGE", "keychain")
        .set("AIRELAYS_ISSUER_BASE_URL", "https://me:hunter2@auth.example")
        .set("OPENAI_ENDPOINT_DATA_DIR", "~you/x");
    expect![[r#"
        The settings cannot be used:
          server.host in ~/.config/airelays/config.toml, line 3: must be a host name or IP address, but is 7
          server.port in ~/.config/airelays/config.toml, line 2: must be a whole number from 0 to 65535, but is 99999
          OPENAI_ENDPOINT_DATA_DIR: must be written without the `~` of another user, but is `~you/x`
          AIRELAY_AUTH_STORAGE: must be one of auto, file and keyring, but is `keychain`
          AIRELAYS_BROWSER_OPEN: must be one of 1, true, yes, on, 0, false, no and off, but is `maybe`
          upstream.base_url in ~/.config/airelays/config.toml, line 10: must start with https://; plain http is for this machine only (localhost, 127.0.0.0/8, [::1])
          AIRELAYS_ISSUER_BASE_URL: must not hold a user name or password
          security.require_bearer_auth in ~/.config/airelays/config.toml, line 8: must be true or false, but is the text `yes`
          security.rate_limit_per_minute in ~/.config/airelays/config.toml, line 7: must be a whole number from 1 to 1000000000, but is -5
          security.rate_limit_burst in ~/.config/airelays/config.toml, line 6: must be a whole number from 1 to 1000000000, but is 0
          stream.keep_alive_seconds in ~/.config/airelays/config.toml, line 12: must be a whole number from 0 to 15, but is 16
    "#]]
    .assert_eq(&home.findings());
}

fn check(home: &Home, expected: &Expect) {
    expected.assert_eq(&home.findings());
}

#[test]
fn what_is_odd_is_told_and_stops_nothing() {
    let home = Home::new()
        .file("[server]\nport = 'x'\nprot = 1\n[logging]\nretention_days = 7\n")
        .set("AIRELAYS_PORT", "80")
        .set("AIRELAYS_PROT", "81")
        .set("AIRELAY_LOG_ENABLED", "no")
        .set("AIRELAYS_CLAUDE_PATH", "x")
        .set("OPENAI_ENDPOINT", "http://elsewhere")
        .set("OPENAI_ENDPOINT_ELSE", "x")
        .set("AIRELAYS_EMPTY", "")
        .set("AIRELAYS_HOST", "0.0.0.0")
        .set("AIRELAYS_REQUIRE_BEARER_AUTH", "off");
    check(
        &home,
        &expect![[r#"
            AIRELAYS_CLAUDE_PATH: not used by this version
            AIRELAYS_PROT: unknown variable; did you mean AIRELAYS_PORT?
            AIRELAY_LOG_ENABLED: unknown variable; did you mean AIRELAYS_LOG_ENABLED?
            logging.retention_days in ~/.config/airelays/config.toml, line 5: not used by this version
            server.prot in ~/.config/airelays/config.toml, line 3: unknown setting; did you mean server.port?
            server.port in ~/.config/airelays/config.toml, line 2: must be a whole number from 0 to 65535, but is the text `x` (not used: AIRELAYS_PORT counts)
            security.require_bearer_auth: the listener 0.0.0.0 is open to the network and asks for no token: whoever reaches it uses your login
            server.host: the listener 0.0.0.0 is open to the network without TLS: whoever can listen there reads the relay token and what is said
        "#]],
    );
    assert_eq!(home.config().server.port, 80);
}

#[test]
fn a_wide_listener_is_told_of_in_clear_and_open() {
    let wide = |host: &str| Home::new().set("AIRELAYS_HOST", host);
    let unencrypted = expect![[r#"
        server.host: the listener HOST is open to the network without TLS: whoever can listen there reads the relay token and what is said
    "#]];
    for host in ["0.0.0.0", "::", "10.0.0.1", "relay.example"] {
        let text = wide(host).findings().replace(host, "HOST");
        unencrypted.assert_eq(&text);
    }
    for host in ["127.0.0.1", "::1", "localhost", "127.9.9.9"] {
        let home = wide(host).set("AIRELAYS_REQUIRE_BEARER_AUTH", "off");
        assert_eq!(home.findings(), "\n", "{host}");
    }
    let encrypted = wide("0.0.0.0").set("AIRELAYS_TLS_CERT", "/c").set("AIRELAYS_TLS_KEY", "/k");
    assert_eq!(encrypted.findings(), "\n");
    let socket = wide("0.0.0.0").set("AIRELAYS_UNIX_SOCKET", "/run/s");
    assert_eq!(socket.findings(), "\n");
}

#[test]
fn a_base_url_says_how_the_listener_is_reached() {
    for (variables, expected) in [
        (&[][..], "http://127.0.0.1:5/v1"),
        (&[("AIRELAYS_HOST", "::")], "http://[::1]:5/v1"),
        (&[("AIRELAYS_UNIX_SOCKET", "/run/s")], "http://localhost/v1"),
        (&[("AIRELAYS_TLS_CERT", "/c"), ("AIRELAYS_TLS_KEY", "/k")], "https://127.0.0.1:5/v1"),
    ] {
        let home = variables.iter().fold(Home::new(), |home, (name, value)| home.set(name, value));
        assert_eq!(home.config().server.base_url(5), expected);
    }
}

#[test]
fn who_may_connect_is_read_strictly() {
    let home = Home::new()
        .file(
            "[security]\nnetwork_scope = \"public\"\nallowed_hosts = [\"*\"]\n\
             allowed_origins = [\"null\"]\ntrusted_proxies = \"10.0.0.1\"\n",
        )
        .set("AIRELAYS_TLS_CERT", "/c")
        .set("AIRELAYS_HEADER_TIMEOUT_SECONDS", "0");
    check(
        &home,
        &expect![[r#"
        The settings cannot be used:
          server.tls_key: is needed as well: TLS takes a certificate and its key
          AIRELAYS_HEADER_TIMEOUT_SECONDS: must be a number of seconds from 0.1 to 86400, but is `0`
          security.network_scope in ~/.config/airelays/config.toml, line 2: must be one of loopback, private and any, but is the text `public`
          security.allowed_hosts in ~/.config/airelays/config.toml, line 3: has an item that cannot be used: `*` is no host name or IP address without a port
          security.allowed_origins in ~/.config/airelays/config.toml, line 4: has an item that cannot be used: `null` is no origin as browsers send it: lower case, such as https://app.example or http://localhost:3000, without a path and without the usual port
          security.trusted_proxies in ~/.config/airelays/config.toml, line 5: must be an array of strings, but is the text `10.0.0.1`
    "#]],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let home = Home::new();
    fs::create_dir_all(home.path(".config/airelays/config.toml")).expect("made");
    check(
        &home,
        &expect![[r#"
            The settings cannot be used:
              ~/.config/airelays/config.toml: cannot be read: it is not a regular file
        "#]],
    );
    let home = Home::new().file("");
    private_file::replace(&home.path(".config/airelays/config.toml"), b"\xff").expect("written");
    check(
        &home,
        &expect![[r#"
        The settings cannot be used:
          ~/.config/airelays/config.toml: cannot be read: is not text
    "#]],
    );
}

#[test]
fn without_a_home_the_default_paths_are_problems_and_given_ones_are_not() {
    let problems = Config::load(Layer::default(), &Environment::default()).expect_err("no home");
    expect![[r#"
        The settings cannot be used:
          the default of config: needs `~`, but HOME is not set
          the default of paths.data_dir: needs `~`, but HOME is not set
    "#]]
    .assert_eq(&format!("{problems}\n"));
    let given = [("AIRELAYS_CONFIG", "/nowhere/c.toml"), ("AIRELAYS_DATA_DIR", "/nowhere/d")];
    let config = Config::load(Layer::default(), &Environment::from_iter(given)).expect("fine");
    assert_eq!(config.paths.logs_dir, Path::new("/nowhere/d/logs"));
    assert!(config.file.is_named);
}

#[test]
fn a_path_may_be_no_text_but_cannot_be_written_then() {
    let odd = OsStr::from_bytes(b"/x\xff");
    let variables = [("HOME", OsStr::new("/nowhere")), ("AIRELAYS_DATA_DIR", odd)];
    let config = Config::load(Layer::default(), &Environment::from_iter(variables)).expect("fine");
    assert_eq!(config.paths.data_dir, Path::new(odd));
    assert_eq!(config.to_toml().expect_err("odd").0.key, "paths.data_dir");
}

#[test]
fn the_former_names_are_used_where_there_is_no_new_one() {
    let home = Home::new();
    private_file::replace(&home.path(".config/airelay/config.toml"), b"[server]\nport = 5\n")
        .expect("written");
    assert_eq!(home.config().server.port, 5);
    assert_eq!(home.config().paths.data_dir, home.path(".airelays"), "each by itself");
    private_file::create_dir(&home.path(".airelay")).expect("made");
    assert_eq!(home.config().paths.data_dir, home.path(".airelay"));
    assert_eq!(home.config().security.bearer_token_file, home.path(".airelay/relay-token"));
    private_file::create_dir(&home.path(".airelays")).expect("made");
    assert_eq!(home.config().paths.data_dir, home.path(".airelays"));
    let home = home.file("");
    assert_eq!(home.config().server.port, 8080);
}

#[test]
fn the_data_dir_flag_takes_along_what_lies_in_it_and_nothing_else() {
    let load = |home: &Home| {
        let flags = Layer::default().flag(&table::DATA_DIR.about, "--data-dir", Some(word("/n")));
        let config = home.load(flags).expect("fine");
        let Config { paths, security, .. } = config;
        [paths.data_dir, paths.logs_dir, security.bearer_token_file].map(|path| shown(&path))
    };
    assert_eq!(load(&Home::new()), ["/n", "/n/logs", "/n/relay-token"]);
    // As older releases wrote it: every path, derived or not.
    let written = "[paths]\ndata_dir = '/old'\nlogs_dir = '/old/logs'\n[security]\n\
                   bearer_token_file = '/old/relay-token'\n";
    assert_eq!(load(&Home::new().file(written)), ["/n", "/n/logs", "/n/relay-token"]);
    let elsewhere = "[paths]\ndata_dir = '/old'\nlogs_dir = '/var/log'\n";
    assert_eq!(load(&Home::new().file(elsewhere)), ["/n", "/var/log", "/n/relay-token"]);
    let home = Home::new().set("AIRELAYS_BEARER_TOKEN_FILE", "~/.airelays/relay-token");
    assert_eq!(load(&home), ["/n", "/n/logs", "/n/relay-token"]);
    // A variable does not take along what the file names.
    let config = Home::new().file(written).set("AIRELAYS_DATA_DIR", "/n").config();
    assert_eq!(config.paths.logs_dir, Path::new("/old/logs"));
}

#[test]
fn the_version_of_old_files_is_read_as_auto() {
    for (version, expected) in [("auto", "0.156.1"), ("0.124.0", "0.156.1"), ("0.99.0", "0.99.0")] {
        let text = format!("[upstream]\nclient_version = '{version}'\n");
        assert_eq!(Home::new().file(&text).config().upstream.client_version, expected);
    }
}

#[test]
fn the_template_says_everything_and_sets_nothing() {
    let home = Home::new();
    let text = home.config().to_toml().expect("written");
    let table: toml::Table = text.parse().expect("TOML");
    assert!(table.values().all(|section| section.as_table().is_some_and(toml::Table::is_empty)));
    for about in SETTINGS.iter().filter(|about| about.in_file) {
        let (_, name) = about.parts();
        assert_eq!(text.matches(&format!("\n#{name} = ")).count(), 1, "{name}");
    }
    assert!(text.lines().all(|line| line.len() <= 110), "{text}");
}

#[test]
fn the_template_with_its_marks_taken_away_is_the_defaults() {
    let home = Home::new();
    let defaults = home.config();
    let text = defaults.to_toml().expect("written");
    let bare = text
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line));
    let home = home.file(&bare.collect::<Vec<_>>().join("\n"));
    let config = home.config();
    assert_eq!(config.notices, []);
    for (setting, default) in config.settings.iter().zip(&defaults.settings) {
        assert_eq!(setting.literal, default.literal, "{}", setting.about.key);
        assert_eq!(setting.about.in_file, matches!(setting.origin, Origin::File { .. }));
    }
}

#[test]
fn what_was_chosen_reads_back_from_the_file_whatever_it_holds() {
    for index in [0, 1] {
        let mut home = Home::new();
        for about in SETTINGS.iter().filter(|about| about.in_file) {
            home = home.set(&format!("AIRELAYS_{}", about.variable), samples(about)[index]);
        }
        let odd = format!("/a \"quote\" \\ back\\slash/é\t{index}");
        let home =
            home.set("AIRELAYS_LOGS_DIR", &odd).set("AIRELAYS_REQUEST_TIMEOUT_SECONDS", "0.7");
        let chosen = home.config();
        let text = chosen.to_toml().expect("written");
        assert!(
            !text
                .lines()
                .any(|line| line.starts_with('#') && !line.starts_with("# ") && line != "#")
        );
        let config = Home::new().file(&text).config();
        assert_eq!(config.paths.logs_dir, Path::new(&odd));
        for (setting, chosen) in config.settings.iter().zip(&chosen.settings).skip(1) {
            assert_eq!(setting.literal, chosen.literal, "{}", setting.about.key);
        }
    }
}
