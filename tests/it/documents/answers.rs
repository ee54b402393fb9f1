//! What the reference says of routes and errors, asked of the running program and of its source.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{code_cells, document, markdown::blocks};
use crate::tidy::{expect_none, rust_files};

/// A relay on the simulator that asks for no token; it ends with this.
struct Relay {
    process: Child,
    address: String,
    _home: TempDir,
}

impl Relay {
    fn start() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let mut process = Command::new(env!("CARGO_BIN_EXE_airelays"))
            .args(["serve", "--simulate", "--no-auth", "--port", "0"])
            .env_clear()
            .env("HOME", home.path())
            // There are more routes than a client may ask in one go.
            .env("AIRELAYS_RATE_LIMIT_BURST", "1000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = BufReader::new(process.stdout.take().expect("its output"));
        let address = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let url = line.trim().strip_prefix("Base URL:")?.trim();
                Some(url.strip_prefix("http://")?.strip_suffix("/v1")?.to_owned())
            })
            .expect("it says where it listens");
        Self { process, address, _home: home }
    }

    /// The status and the whole text of an answer.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close", self.address);
        write!(stream, "{head}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}")
            .expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), text)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// The routes of the reference: a method and a path, or just a path where nothing is there.
struct Routes {
    there: Vec<(String, String)>,
    not_there: Vec<String>,
}

fn routes() -> Routes {
    let page = document("docs/reference/routes.md");
    let (there, not_there) = page.split_once("## Not here").expect("both parts");
    let there = code_cells(there, "method").into_iter().zip(code_cells(there, "path")).collect();
    Routes { there, not_there: code_cells(not_there, "path") }
}

/// `path` with something in its places.
fn filled(path: &str) -> String {
    path.replace("/models/{id}", "/models/gpt-5.4-mini")
        .split('/')
        .map(|part| if part.starts_with('{') { "x" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

#[test]
fn every_route_of_the_reference_answers_as_it_says() {
    let relay = Relay::start();
    let Routes { there, not_there } = routes();
    assert!(there.len() > 10 && not_there.len() > 1);
    let mut wrong = Vec::new();
    for (method, path) in &there {
        // An empty object is no request; that it is called one shows that the route is there.
        let expected = match path.strip_prefix("/no-tools").unwrap_or(path) {
            // There is no such request, slot or action, and no such policy.
            "/v1/relay/requests/{id}/explain" => 404,
            // No such file and no such conversation; without items there is none to add.
            path if path.starts_with("/v1/files/{") => 404,
            "/v1/conversations/{conversation_id}/items" if method == "POST" => 400,
            path if path.starts_with("/v1/conversations/{") => 404,
            "/v1/conversations" => 200,
            // No answers are kept.
            path if path.starts_with("/v1/responses/{") => 404,
            path if path.starts_with("/v1/chat/completions/{") => 404,
            "/v1/chat/completions" if method == "GET" => 404,
            path if path.starts_with("/admin/slots/") => 404,
            // It takes the token even in open mode.
            "/v1/relay/accounts/resets/redeem" => 401,
            "/v1/relay/balance" | "/admin/policy" if method == "PUT" => 422,
            // These need no body.
            "/v1/relay/accounts/refresh" | "/admin/refresh-usage" => 200,
            _ if method == "POST" => 400,
            _ => 200,
        };
        let (status, _) = relay.ask(method, &filled(path));
        if status != expected {
            wrong.push(format!("{method} {path}: {status} instead of {expected}"));
        }
    }
    for path in &not_there {
        let (status, _) = relay.ask("POST", &filled(path));
        if status != 501 {
            wrong.push(format!("POST {path}: {status} instead of 501"));
        }
    }
    let (status, _) = relay.ask("GET", "/v1/nothing");
    assert_eq!(status, 404, "what is not in the reference is not there");
    expect_none(&wrong);
}

#[test]
fn every_route_is_in_the_reference() {
    let Routes { there, not_there } = routes();
    let known = |path: &str| {
        let path = path.replace("{*", "{");
        there.iter().any(|(_, known)| *known == path) || not_there.contains(&path)
    };
    let (_, status) = Relay::start().ask("GET", "/v1/relay/status");
    let (_, supported) = status.split_once("\"supported_routes\":[").expect("a list");
    let supported = supported.split(']').next().unwrap_or_default();
    let mut paths: Vec<_> =
        supported.split(',').map(|path| path.trim_matches('"').to_owned()).collect();
    let unsaid = there.iter().filter(|(_, path)| path.contains("/v1/") && !paths.contains(path));
    expect_none(&unsaid.map(|(_, path)| format!("the status lacks {path}")).collect::<Vec<_>>());
    for file in rust_files().filter(|file| file.path.starts_with("src/api/")) {
        let routed = file.text.split(".route(\"").skip(1);
        paths.extend(routed.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
    }
    let missing: Vec<_> = paths
        .iter()
        .filter(|path| !known(path))
        .map(|path| format!("docs/reference/routes.md: lacks {path}"))
        .collect();
    expect_none(&missing);
}

/// The codes that a source file gives to errors: literals of small letters and underscores, the
/// one excepted that tells serde how to spell.
fn codes(text: &str) -> Vec<&str> {
    let is_code = |text: &&str| {
        *text != "snake_case"
            && text.contains('_')
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    text.split('"').skip(1).step_by(2).filter(is_code).collect()
}

#[test]
fn every_code_is_in_the_reference() {
    let page = document("docs/reference/errors.md");
    let mut missing = Vec::new();
    for path in ["src/api/error.rs", "src/api/error/callers.rs", "src/wire/reject.rs"] {
        let text = document(path);
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let codes = codes(product);
        assert!(codes.len() > 3, "{path}");
        let unknown = codes.into_iter().filter(|code| !page.contains(code));
        missing.extend(unknown.map(|code| format!("docs/reference/errors.md: lacks `{code}`")));
    }
    expect_none(&missing);
}

#[test]
fn codes_are_told_from_other_words() {
    let text =
        r#"new("A sentence.").code("not_found"), "x-header", "upstream_auth_{state}", "other""#;
    assert_eq!(codes(text), ["not_found"]);
    assert_eq!(filled("/v1/models/{id}"), "/v1/models/gpt-5.4-mini");
    assert_eq!(filled("/v1/files/{file_id}/content"), "/v1/files/x/content");
}

/// The first block of JSON in a document.
fn example(path: &str) -> Value {
    let text = document(path);
    let block = blocks(&text).into_iter().find(|block| block.language == "json");
    serde_json::from_str(block.expect("an example").text).expect("JSON")
}

/// Every name in `value` with the names that it stands in; what stands in a list has one place.
fn names(value: &Value, place: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let place = format!("{place}.{name}");
                names(value, &place, found);
                found.insert(place);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, place, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is left out of the example is the upstream's, and said to be.
#[test]
fn the_example_of_the_subscription_has_the_fields_of_the_answer() {
    let (_, answer) = Relay::start().ask("GET", "/v1/subscription/status");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let answer: Value = serde_json::from_str(body).expect("JSON");
    let (mut there, mut shown) = (BTreeSet::new(), BTreeSet::new());
    names(&answer, "", &mut there);
    names(&example("docs/subscription-status.md"), "", &mut shown);
    there.retain(|name| !name.starts_with(".spend_control."));
    shown.retain(|name| !name.starts_with(".spend_control."));
    assert!(there.len() > 60);
    assert_eq!(shown, there);
}
