//! Logins of other programs, whole, half and hostile, and that nothing becomes of their files.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::PathBuf,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use tempfile::TempDir;

use super::*;
use crate::secret::Secret;

const ISSUER: &str = "https://issuer.example";

fn jwt(account: &str) -> String {
    let payload =
        format!(r#"{{"https://api.openai.com/auth":{{"chatgpt_account_id":"{account}"}}}}"#);
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload))
}

/// What went wrong and why, without where.
fn sentence(error: &ImportError, place: &Path) -> String {
    let cause = error.source().map(ToString::to_string);
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}").replace(place.to_str().expect("text"), "PLACE")
}

fn import(content: &str, wanted: Option<&str>) -> Result<Record, String> {
    let home = tempfile::tempdir().expect("directory");
    let path = home.path().join("auth.json");
    private_file::replace(&path, content.as_bytes()).expect("written");
    let wanted = wanted.map(AccountId::new);
    let imported = read(&path, ISSUER, wanted.as_ref());
    let left = fs::read_to_string(&path).expect("still there");
    assert_eq!(left, content, "it is not written to");
    imported.map(|(record, _)| record).map_err(|error| sentence(&error, &path))
}

#[test]
fn tokens_are_taken_over_and_nothing_else() {
    let jwt = jwt("acct");
    let content = format!(
        r#"{{"auth_mode":"chatgpt","OPENAI_API_KEY":"sk-1","tokens":{{"id_token":{{"raw_jwt":"{jwt}"}},
        "access_token":"a","refresh_token":"r","account_id":null}},"last_refresh":"2026-10-01T12:34:56.789Z"}}"#
    );
    let record = import(&content, Some("acct")).expect("imported");
    let json = String::from_utf8(record.write().expect("written").to_vec()).expect("text");
    expect_test::expect![[r#"
        {
          "OPENAI_API_KEY": null,
          "bound_account_id": "acct",
          "tokens": {
            "id_token": "JWT",
            "access_token": "a",
            "refresh_token": "r",
            "account_id": "acct"
          },
          "last_refresh": "2026-10-01T12:34:56.789Z",
          "airelays_issuer": "https://issuer.example"
        }
    "#]]
    .assert_eq(&json.replace(&jwt, "JWT"));
    let other = import(&content, Some("other")).map(drop);
    assert_eq!(other, Err("The login at PLACE is not of workspace id other".to_owned()));
}

#[test]
fn what_could_not_be_kept_alive_is_refused() {
    for (content, expected) in [
        ("[", "The login at PLACE cannot be imported: the stored login is not a JSON object"),
        (
            r#"{"OPENAI_API_KEY":"sk-1"}"#,
            "The login at PLACE cannot be used: there is neither an access token nor a refresh token",
        ),
        (
            r#"{"tokens":{"access_token":"a","refresh_token":"r"}}"#,
            "The login at PLACE cannot be used: the tokens belong to no known account",
        ),
        (
            r#"{"tokens":{"access_token":"a","account_id":"acct"}}"#,
            "The login at PLACE has no refresh token and would soon end",
        ),
    ] {
        assert_eq!(import(content, None).map(drop), Err(expected.to_owned()), "{content}");
    }
    let nowhere = read(Path::new("/nowhere/auth.json"), "", None);
    assert!(matches!(nowhere, Err(ImportError::Missing(_))));
}

/// Files of another program, and what a survey says of them.
struct Place {
    home: TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self { home: tempfile::tempdir().expect("directory") };
        for (path, content) in files {
            place.write(path, content);
        }
        place
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.home.path().join(inside)
    }

    fn write(&self, path: &str, content: &str) {
        private_file::replace(&self.path(path), content.as_bytes()).expect("written");
    }

    /// Where every file is, when it was changed, and what it leads to or holds.
    fn snapshot(&self) -> BTreeMap<PathBuf, (i64, i64, Vec<u8>)> {
        let mut files = BTreeMap::new();
        let mut dirs = vec![self.home.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).expect("listed") {
                let path = entry.expect("an entry").path();
                let found = fs::symlink_metadata(&path).expect("there");
                let mut content = Vec::new();
                if found.is_dir() {
                    dirs.push(path.clone());
                } else if found.is_file() {
                    content = fs::read(&path).expect("readable");
                }
                files.insert(path, (found.mtime(), found.mtime_nsec(), content));
            }
        }
        files
    }

    /// What is found at `from`.
    fn survey(&self, from: &str) -> Result<Haul, ImportError> {
        let before = self.snapshot();
        let found = survey(&self.path(from), ISSUER);
        assert_eq!(self.snapshot(), before, "nothing is written to");
        found
    }

    /// The same in lines: whose, the logins, and what was skipped.
    fn told(&self, from: &str) -> String {
        let told = match self.survey(from) {
            Err(error) => sentence(&error, self.home.path()),
            Ok(haul) => {
                let mut lines = vec![haul.kind.as_str().to_owned()];
                lines.extend(haul.logins.iter().map(line));
                lines.extend(haul.skipped.iter().map(|(which, why)| format!("- {which} {why}")));
                lines.join("\n")
            }
        };
        told.replace(self.home.path().to_str().expect("text"), "PLACE")
    }
}

fn line(login: &Foreign) -> String {
    let id = login.id.as_ref().map_or("?", SlotId::as_str);
    let label = login.label.as_deref().unwrap_or("?");
    let refresh = login.record.tokens.refresh.as_ref().map_or("?", Secret::expose);
    let state = if login.is_enabled { "on" } else { "off" };
    let saved_at = login.saved_at.map_or_else(|| "?".to_owned(), |at| at.to_string());
    let record = &login.record;
    assert_eq!(record.bound_account_id.as_ref(), Some(&login.account), "it is bound");
    assert_eq!(record.issuer.as_deref(), Some(ISSUER), "it has an issuer");
    format!("{id}, {label}, {}, {refresh}, {state}, {saved_at}", login.account)
}

/// A profile whose refresh token is called after its account.
fn profile(account: &str) -> String {
    format!(
        r#"{{"type":"oauth","provider":"openai-codex","access":"a","refresh":"r-{account}",
        "expires":1790000000000,"accountId":"{account}","email":"{account}@example.com"}}"#
    )
}

/// A file with that profile.
fn profiles(account: &str) -> String {
    format!(r#"{{"version":1,"profiles":{{"openai-codex:default":{}}}}}"#, profile(account))
}

/// The same as the Codex CLI writes it, with `more` in it.
fn login(account: &str, more: &str) -> String {
    format!(
        r#"{{{more}"tokens":{{"access_token":"a","refresh_token":"r-{account}",
        "account_id":"{account}"}},"last_refresh":"2026-10-01T12:34:56Z"}}"#
    )
}

fn bound(account: &str) -> String {
    login(account, &format!(r#""bound_account_id":"{account}","#))
}

/// A slot of codex-slot-relay, with `more` in it.
fn slot(id: &str, more: &str) -> String {
    format!(r#"{{"id":"{id}","authFile":"/nowhere/auth-profiles.json"{more}}}"#)
}

fn registry(slots: &[String]) -> String {
    format!(r#"{{"version":1,"slots":[{}]}}"#, slots.join(","))
}

fn auth_of(slot: &str) -> String {
    format!("state/slots/{slot}/agent/auth-profiles.json")
}

#[test]
fn a_single_login_is_found_as_a_file_and_in_its_folder() {
    for (content, expected) in [
        (login("acct", ""), "Codex CLI\n?, ?, acct, r-acct, on, 2026-10-01T12:34:56Z"),
        (
            login("acct", r#""airelays_issuer":"https://issuer.example/","#),
            "Codex CLI\n?, ?, acct, r-acct, on, 2026-10-01T12:34:56Z",
        ),
        (
            login("acct", r#""airelays_issuer":"https://other.example","#),
            "Codex CLI\n- PLACE/auth.json was made with another sign-in server",
        ),
        (
            r#"{"OPENAI_API_KEY":"sk-1"}"#.to_owned(),
            "Codex CLI\n- PLACE/auth.json cannot be used: there is neither an access token nor a refresh token",
        ),
        (
            r#"{"tokens":{"access_token":"a","account_id":"acct"}}"#.to_owned(),
            "Codex CLI\n- PLACE/auth.json has no refresh token and would soon end",
        ),
        (
            r#"{"tokens":[]}"#.to_owned(),
            "Codex CLI\n- PLACE/auth.json cannot be used: `tokens` in the stored login has an unexpected type",
        ),
        (
            r#"{"airelays_sealed":{"key":"k","nonce":"","content":""}}"#.to_owned(),
            "Codex CLI\n- PLACE/auth.json is sealed with a key that is not asked for here",
        ),
        (
            "[".to_owned(),
            "The login at PLACE/auth.json cannot be imported: the stored login is not a JSON object",
        ),
    ] {
        let place = Place::new(&[("auth.json", &content)]);
        assert_eq!(place.told("auth.json"), expected, "{content}");
        assert_eq!(place.told("."), expected.replace("PLACE/", "PLACE/./"), "{content}");
    }
}

#[test]
fn where_nothing_is_nothing_is_found() {
    let place = Place::new(&[("elsewhere/readme", ""), ("config/relay.json", "{}")]);
    for (from, expected) in [
        ("none", "There is no login to import at PLACE/none"),
        ("elsewhere", "There is no login to import at PLACE/elsewhere"),
        (
            "elsewhere/readme/auth.json",
            "The login at PLACE/elsewhere/readme/auth.json cannot be imported: the login file cannot be read",
        ),
        (
            "elsewhere/readme",
            "The login at PLACE/elsewhere/readme cannot be imported: the stored login is not a JSON object",
        ),
        // A runtime in which no slot has been made.
        (".", "There is no login to import at PLACE/."),
    ] {
        assert_eq!(place.told(from), expected);
    }
}

/// What is found in `content`, as a file and in its folder.
#[track_caller]
fn assert_profiles(content: &str, expected: &str) {
    let place = Place::new(&[("agent/auth-profiles.json", content)]);
    let expected = format!("auth-profiles.json\n{expected}");
    assert_eq!(place.told("agent/auth-profiles.json"), expected, "{content}");
    assert_eq!(place.told("agent"), expected, "{content}");
}

#[test]
fn profiles_are_read_in_each_shape() {
    let one = profile("one");
    let two = profile("two");
    for (content, expected) in [
        (
            format!(
                r#"{{"profiles":{{"openai-codex:default":{one},"openai-codex:work":{two},
                "anthropic:default":{{"provider":"anthropic","access":"x","refresh":"y",
                "accountId":"z"}},"odd":7,"openai-codex:odd":{{"provider":["openai-codex"]}}}},
                "usageStats":{{}}}}"#
            ),
            "?, one@example.com, one, r-one, on, ?\nwork, two@example.com, two, r-two, on, ?",
        ),
        (
            format!(r#"{{"profiles":{{"openai-codex:a":{one},"openai-codex:b":{one}}}}}"#),
            "a, one@example.com, one, r-one, on, ?\n\
             - openai-codex:b has the same account as one before it: one",
        ),
        (
            format!(r#"{{"oauth":{{"openai-codex":{one},"other":{two}}}}}"#),
            "?, one@example.com, one, r-one, on, ?",
        ),
        (one, "?, one@example.com, one, r-one, on, ?"),
    ] {
        assert_profiles(&content, expected);
    }
}

#[test]
fn fields_of_a_profile_are_found_under_each_name() {
    let claimed = jwt("claimed");
    let named = |name: &str, value: &str| {
        format!(r#"{{"access":"{claimed}","refresh":"r","{name}":"{value}"}}"#)
    };
    let opaque = |more: &str| format!(r#"{{"access":"a","refresh":"r"{more}}}"#);
    let snake = r#"{"access_token":"a","refresh_token":"r","account_id":"acct"}"#;
    for (content, expected) in [
        (snake.to_owned(), "?, ?, acct, r, on, ?"),
        (named("accountId", "acct"), "?, ?, acct, r, on, ?"),
        (named("account_id", ""), "?, ?, claimed, r, on, ?"),
        (named("expires_in", "soon"), "?, ?, claimed, r, on, ?"),
        (named("chatgpt_account_id", "other"), "?, ?, claimed, r, on, ?"),
        (opaque(r#","chatgpt_account_id":"acct""#), "?, ?, acct, r, on, ?"),
        (opaque(r#","accountId":"acct","email":" \u001b[31m\n ""#), "?, [31m, acct, r, on, ?"),
        (
            opaque(""),
            "- openai-codex:default cannot be used: the tokens belong to no known account",
        ),
        (
            r#"{"access":"a","accountId":"acct"}"#.to_owned(),
            "- openai-codex:default has no refresh token and would soon end",
        ),
        (
            r#"{"provider":"openai-codex","access":{"source":"env"},"refresh":7}"#.to_owned(),
            "- openai-codex:default cannot be used: \
             there is neither an access token nor a refresh token",
        ),
    ] {
        assert_profiles(&content, expected);
    }
}

#[test]
fn logins_of_other_providers_are_passed_over() {
    for content in [
        r#"{"profiles":{}}"#,
        r#"{"profiles":{"a":{"provider":"anthropic","access":"a","refresh":"r","accountId":"x"}}}"#,
        r#"{"oauth":{"anthropic":{"access":"a","refresh":"r","accountId":"x"}}}"#,
        r#"{"provider":"anthropic","access":"a","refresh":"r","accountId":"x"}"#,
        r#"{"provider":7,"access":"a","refresh":"r","accountId":"x"}"#,
        r#"{"provider":"OpenAI-Codex","access":"a","refresh":"r","accountId":"x"}"#,
    ] {
        let place = Place::new(&[("profiles.json", content)]);
        let expected = "There is no login to import at PLACE/profiles.json";
        assert_eq!(place.told("profiles.json"), expected, "{content}");
    }
}

#[test]
fn slots_are_found_by_their_names_and_nowhere_else() {
    let two = format!(
        r#"{{"profiles":{{"openai-codex:default":{},"openai-codex:work":{}}}}}"#,
        profile("first"),
        profile("named")
    );
    let slots = [
        slot("slot-10", r#","label":"Ten","enabled":false"#),
        slot(
            "slot-2",
            r#","sourceMeta":{"savedAt":"2026-10-01T00:00:00Z","email":"m@example.com"}"#,
        ),
        slot(
            "slot-3",
            r#","sourceMeta":{"profileId":"openai-codex:work","savedAt":1790000000000}"#,
        ),
        slot("slot-4", r#","sourceMeta":{"profileId":"openai-codex:gone"}"#),
        slot("slot-My_Own", ""),
        slot("slot-5", ""),
        slot("slot-6", ""),
        slot("slot-1/../../x", ""),
        slot("..", ""),
        slot("slot-7\\u0000", ""),
        slot("", ""),
        "[]".to_owned(),
        slot("slot-8", ""),
    ];
    let place = Place::new(&[
        ("config/slots.json", &registry(&slots)),
        (&auth_of("slot-10"), &profiles("ten")),
        (&auth_of("slot-2"), &profiles("two")),
        (&auth_of("slot-3"), &two),
        (&auth_of("slot-4"), &profiles("four")),
        (&auth_of("slot-My_Own"), &profiles("own")),
        (&auth_of("slot-5"), &profiles("two")),
        (&auth_of("slot-8"), &login("acct", "")),
        ("x/agent/auth-profiles.json", &profiles("stray")),
        ("state/slots/agent/auth-profiles.json", &profiles("stray")),
        ("state/agent/auth-profiles.json", &profiles("stray")),
    ]);
    let expected = "codex-slot-relay\n\
        slot-10, Ten, ten, r-ten, off, ?\n\
        slot-2, m@example.com, two, r-two, on, 2026-10-01T00:00:00Z\n\
        slot-3, named@example.com, named, r-named, on, 2026-09-21T14:13:20Z\n\
        slot-4, four@example.com, four, r-four, on, ?\n\
        ?, own@example.com, own, r-own, on, ?\n\
        - slot-5 has the same account as one before it: two\n\
        - slot-6 has no login\n\
        - slot-1/../../x has a name that may lead anywhere\n\
        - .. has a name that may lead anywhere\n\
        - slot-7 has a name that may lead anywhere\n\
        - A slot without a name has no shape that is known\n\
        - A slot without a name has no shape that is known\n\
        - slot-8 has no shape that is known";
    assert_eq!(place.told("."), expected);
    assert_eq!(place.told("config/slots.json"), expected);
}

#[test]
fn a_list_that_is_none_is_an_error() {
    for (content, expected) in [
        ("", "The list of logins at PLACE/./config/slots.json is damaged"),
        ("[]", "The list of logins at PLACE/./config/slots.json is damaged"),
        (r#"{"slots":{}}"#, "The list of logins at PLACE/./config/slots.json is damaged"),
        (r#"{"slots":7}"#, "The list of logins at PLACE/./config/slots.json is damaged"),
        (r#"{"slots":[]}"#, "There is no login to import at PLACE/."),
        ("{}", "There is no login to import at PLACE/."),
    ] {
        let place = Place::new(&[("config/slots.json", content)]);
        assert_eq!(place.told("."), expected, "{content}");
    }
    let place = Place::new(&[("config/slots.json/no-file", "")]);
    let expected = "The list of logins at PLACE/./config/slots.json cannot be read: \
                    it is not a regular file";
    assert_eq!(place.told("."), expected);
}

#[test]
fn links_are_followed_to_files_and_to_nothing_else() {
    let slots = ["slot-1", "slot-2", "slot-3"].map(|id| slot(id, ""));
    let place = Place::new(&[
        ("config/slots.json", &registry(&slots)),
        ("elsewhere/tokens.json", &profiles("acct")),
        ("state/slots/slot-1/agent/models.json", "{}"),
        ("state/slots/slot-2/agent/models.json", "{}"),
        ("state/slots/slot-3/agent/auth-profiles.json/no-file", "{}"),
    ]);
    symlink(place.path("elsewhere/tokens.json"), place.path(&auth_of("slot-1"))).expect("linked");
    symlink("/dev/zero", place.path(&auth_of("slot-2"))).expect("linked");
    let expected = "codex-slot-relay\n\
        slot-1, acct@example.com, acct, r-acct, on, ?\n\
        - slot-2 cannot be read: it is not a regular file\n\
        - slot-3 cannot be read: it is not a regular file";
    assert_eq!(place.told("."), expected);
}

#[test]
fn a_store_of_openclaw_is_found_from_three_places() {
    let outside = Place::new(&[("tokens.json", &profiles("outside"))]);
    let absolute = outside.path("tokens.json");
    let store = format!(
        r#"{{"slots":{{
        "10":{{"file":"ten.json","emailLabel":"Ten","savedAt":"2026-10-01T00:00:00Z"}},
        "2":{{"file":{:?},"profileId":"openai-codex:default"}},
        "x":{{"file":"ten.json"}},"-1":{{"file":"ten.json"}},"4294967296":{{"file":"ten.json"}},
        "3":{{"file":"../codex-slots/ten.json"}},"4":{{"file":"."}},"5":{{"file":"gone.json"}},
        "6":{{}},"7":[],"8":{{"file":"bad.json"}},"9":{{"file":"slots.json"}}}}}}"#,
        absolute.to_str().expect("text")
    );
    let expected = "OpenClaw\n\
        slot-2, outside@example.com, outside, r-outside, on, ?\n\
        slot-3, ten@example.com, ten, r-ten, on, ?\n\
        - slot-4 cannot be read: it is not a regular file\n\
        - slot-5 has no login\n\
        - slot-6 has no login\n\
        - slot-7 has no shape that is known\n\
        - slot-8 cannot be used: the stored login is not a JSON object\n\
        - slot-9 has no shape that is known\n\
        - slot-10 has the same account as one before it: ten\n\
        - x has a name that is no number\n\
        - -1 has a name that is no number\n\
        - 4294967296 has a name that is no number";
    let agent = "agents/main/agent";
    let place = Place::new(&[
        (&format!("{agent}/codex-slots/slots.json"), &store),
        (&format!("{agent}/codex-slots/ten.json"), &profiles("ten")),
        (&format!("{agent}/codex-slots/bad.json"), "["),
        // Of another program, beside it.
        (&format!("{agent}/auth.json"), "{}"),
    ]);
    for from in [".", agent, "agents/main/agent/codex-slots/slots.json"] {
        assert_eq!(place.told(from), expected, "{from}");
    }
}

#[test]
fn accounts_of_airelays_stand_in_the_owners_order() {
    let place = Place::new(&[
        ("auth.json", &bound("first")),
        ("accounts/a-0000000000/auth.json", &bound("a")),
        ("accounts/b-0000000000/auth.json", &bound("b")),
        ("accounts/c-0000000000/auth.json", &bound("first")),
        ("accounts/abcdefghijklmnopqrstuvwxyz-0123456789/auth.json", &bound("long")),
        ("accounts/.staging-7/auth.json", &bound("staged")),
        ("accounts/empty/readme", ""),
        ("accounts/bad/auth.json", "["),
        ("accounts/file", ""),
    ]);
    let saved = "on, 2026-10-01T12:34:56Z";
    let long = format!("abcdefghijklmnopqrstu-0123456789, ?, long, r-long, {saved}");
    let expected = format!(
        "AIRelays\n\
        ?, ?, first, r-first, {saved}\n\
        a-0000000000, ?, a, r-a, {saved}\n\
        {long}\n\
        b-0000000000, ?, b, r-b, {saved}\n\
        - bad cannot be used: the stored login is not a JSON object\n\
        - c-0000000000 has the same account as one before it: first\n\
        - empty has no login"
    );
    assert_eq!(place.told("."), expected);
    let order = r#"{"order":["gone","b-0000000000",7,"default"]}"#;
    place.write("accounts/manifest.json", order);
    let expected = format!(
        "AIRelays\n\
        b-0000000000, ?, b, r-b, {saved}\n\
        ?, ?, first, r-first, {saved}\n\
        a-0000000000, ?, a, r-a, {saved}\n\
        {long}\n\
        - bad cannot be used: the stored login is not a JSON object\n\
        - c-0000000000 has the same account as one before it: first\n\
        - empty has no login"
    );
    assert_eq!(place.told("."), expected);
}

#[test]
fn a_data_directory_may_have_one_login_or_a_damaged_list() {
    let saved = "on, 2026-10-01T12:34:56Z";
    let place = Place::new(&[("auth.json", &bound("acct"))]);
    assert_eq!(place.told("."), format!("AIRelays\n?, ?, acct, r-acct, {saved}"));
    assert_eq!(place.told("auth.json"), format!("AIRelays\n?, ?, acct, r-acct, {saved}"));
    let place = Place::new(&[
        ("accounts/a-0000000000/auth.json", &login("acct", "")),
        ("accounts/manifest.json", "["),
    ]);
    let expected = format!(
        "AIRelays\n\
        a-0000000000, ?, acct, r-acct, {saved}\n\
        - accounts/manifest.json has no shape that is known"
    );
    assert_eq!(place.told("."), expected);
}

#[test]
fn hostile_content_gives_no_login_and_does_no_harm() {
    let deep = format!("{}{}", r#"{"slots":"#, "[".repeat(99_999));
    let wide = format!(r#"{{"profiles":{{{}"a":1}}}}"#, r#""a":{},"#.repeat(20_000));
    let huge = format!(r#"{{"access":"{}"}}"#, "a".repeat(5 << 20));
    let spread = r#"{"profiles":{"openai-codex:x":{"provider":"openai-codex","access":"a\r\nb: c",
        "refresh":"r","accountId":"acct"}}}"#;
    let unsendable = r#"{"access":"a","refresh":"r","accountId":"a\u0000b"}"#;
    for content in [
        "",
        " ",
        "null",
        "7",
        "\"",
        "[]",
        "{",
        "{}",
        "{\"tokens\":{}}",
        "\u{feff}{}",
        "{\"a\":}",
        r#"{"profiles":null}"#,
        r#"{"profiles":[{}]}"#,
        r#"{"slots":{"1":{"file":"\u0000"}}}"#,
        r#"{"slots":[{"id":"slot-1"}]}"#,
        r#"{"slots":[{"id":7}]}"#,
        r#"{"order":{}}"#,
        r#"{"slots":{"1":{"file":"slots.json"}}}"#,
        deep.as_str(),
        wide.as_str(),
        huge.as_str(),
        spread,
        unsendable,
    ] {
        for path in [
            "config/slots.json",
            "codex-slots/slots.json",
            "auth-profiles.json",
            "auth.json",
            "accounts/x/auth.json",
            "accounts/manifest.json",
        ] {
            let place = Place::new(&[(path, content)]);
            for from in [".", path] {
                let found = place.survey(from).map(|haul| haul.logins.len());
                let start: String = content.chars().take(60).collect();
                assert!(matches!(found, Err(_) | Ok(0)), "{path} from {from}: {start}");
            }
        }
    }
}

#[test]
fn no_more_is_read_than_anybody_has() {
    let slots: Vec<_> = (1..=MOST_LOGINS + 2).map(|n| slot(&format!("slot-{n}"), "")).collect();
    let place = Place::new(&[("config/slots.json", &registry(&slots))]);
    let skipped = place.survey(".").expect("a list").skipped;
    assert_eq!(skipped.len(), MOST_LOGINS + 1);
    let last = ("What follows".to_owned(), "is more than is read at once".to_owned());
    assert_eq!(skipped.last(), Some(&last));
}
