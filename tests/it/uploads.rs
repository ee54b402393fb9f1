//! Files: uploaded, listed, read in part, put into requests, and refused where they cannot be.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{
    MODEL, Relay, Setup, TOKEN,
    dialect::Dialect,
    http::{Ask, Reply},
};

const BOUNDARY: &str = "a-boundary";

/// One field of a form: its name, the name of its file, its type, and what it holds.
pub type Field<'a> = (&'a str, Option<&'a str>, &'a str, &'a [u8]);

pub fn form(fields: &[Field<'_>]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, file, kind, content) in fields {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let kind =
            if kind.is_empty() { String::new() } else { format!("\r\ncontent-type: {kind}") };
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}{kind}\r\n\r\n"
        );
        form.extend([head.as_bytes(), content, b"\r\n"].concat());
    }
    form.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    form
}

pub fn upload(path: &str, fields: &[Field<'_>]) -> Ask {
    Ask::new("POST", path)
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(form(fields))
        .bearer(TOKEN)
}

pub fn file<'a>(name: &'a str, kind: &'a str, content: &'a [u8]) -> Field<'a> {
    ("file", Some(name), kind, content)
}

async fn uploaded(relay: &Relay, fields: &[Field<'_>]) -> Value {
    let reply = relay.ask(&upload("/v1/files", fields)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn n_contents(relay: &Relay) -> usize {
    fs::read_dir(relay.path(".airelays/files")).map_or(0, Iterator::count)
}

async fn delete(relay: &Relay, path: &str) -> Reply {
    relay.ask(&Ask::new("DELETE", path).bearer(TOKEN)).await
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_and_no_browser_shows_it() {
    let relay = Relay::start().await;
    let html = b"<script>alert(1)</script>";
    let fields =
        [("purpose", None, "", &b"user_data"[..]), file("p\u{e4}ge.html", "text/html", html)];
    let made = uploaded(&relay, &fields).await;
    let keys: Vec<_> = made.as_object().expect("an object").keys().collect();
    let expected = "id object bytes created_at filename purpose status content_type \
                    sha256";
    assert_eq!(keys.iter().map(|it| &***it).collect::<Vec<_>>().join(" "), expected);
    assert_eq!((&made["object"], &made["bytes"]), (&"file".into(), &html.len().into()));
    assert_eq!((&made["purpose"], &made["status"]), (&"user_data".into(), &"processed".into()));
    assert_eq!(made["filename"], "p\u{e4}ge.html");
    let id = made["id"].as_str().expect("an id");
    assert!(id.strip_prefix("file_").is_some_and(|digits| digits.len() == 32), "{id}");
    assert_eq!(relay.get(&format!("/v1/files/{id}")).await.json(), made);
    let content = relay.get(&format!("/v1/files/{id}/content")).await;
    assert_eq!((content.status, &*content.body), (200, &html[..]));
    for (name, value) in [
        ("content-type", "text/html"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("content-length", "25"),
    ] {
        assert_eq!(content.header(name), Some(value), "{name}");
    }
    let disposition = content.header("content-disposition").expect("said");
    assert!(disposition.starts_with("attachment;"), "{disposition}");
    let etag = content.header("etag").expect("said").to_owned();
    let ask = Ask::get(&format!("/v1/files/{id}/content")).bearer(TOKEN);
    let unchanged = relay.ask(&ask.clone().header("if-none-match", etag.clone())).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let part = relay.ask(&ask.clone().header("range", "bytes=1-6")).await;
    assert_eq!((part.status, part.text()), (206, "script"));
    assert_eq!(part.header("content-range"), Some("bytes 1-6/25"));
    let none = relay.ask(&ask.header("range", "bytes=99-")).await;
    assert_eq!(none.refusal().line(), "416 invalid_request_error invalid_range");
    assert_eq!(none.header("content-range"), Some("bytes */25"));
    let gone = delete(&relay, &format!("/v1/files/{id}")).await;
    assert_eq!(gone.json(), json!({"id": id, "object": "file", "deleted": true}));
    for path in [format!("/v1/files/{id}"), format!("/v1/files/{id}/content")] {
        let line = relay.get(&path).await.refusal().line();
        assert_eq!(line, "404 invalid_request_error file_not_found id");
    }
    assert_eq!(n_contents(&relay), 0);
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let relay = Relay::start().await;
    let mut ids = Vec::new();
    for purpose in ["vision", "batch", "vision"] {
        let fields = [file("a", "text/plain", b"a"), ("purpose", None, "", purpose.as_bytes())];
        ids.push(uploaded(&relay, &fields).await["id"].as_str().expect("an id").to_owned());
    }
    let list = |query: String| {
        let relay = &relay;
        async move {
            let list = relay.get(&format!("/v1/files{query}")).await.json();
            let ids = list["data"].as_array().expect("a list").iter();
            let ids: Vec<_> = ids.map(|it| it["id"].as_str().expect("an id").to_owned()).collect();
            assert_eq!(list["first_id"].as_str(), ids.first().map(|it| &**it));
            assert_eq!(list["last_id"].as_str(), ids.last().map(|it| &**it));
            (ids, list["has_more"] == true)
        }
    };
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(list(String::new()).await, (newest_first.clone(), false));
    assert_eq!(list("?limit=2&order=asc".into()).await, (ids[..2].to_vec(), true));
    let second = format!("?limit=2&order=asc&after={}", ids[1]);
    assert_eq!(list(second).await, (ids[2..].to_vec(), false));
    assert_eq!(list("?purpose=batch".into()).await, (vec![ids[1].clone()], false));
    for (query, param) in
        [("limit=0", "limit"), ("limit=10001", "limit"), ("order=x", "order"), ("after=f", "after")]
    {
        let line = relay.get(&format!("/v1/files?{query}")).await.refusal().line();
        assert_eq!(line, format!("400 invalid_request_error invalid_value {param}"));
    }
}

#[tokio::test]
async fn what_is_no_upload_is_told_and_leaves_nothing() {
    let relay = Setup::new()
        .set("AIRELAYS_MAX_UPLOAD_BYTES", "1000")
        .set("AIRELAYS_MAX_TOTAL_UPLOAD_BYTES", "1500")
        .start()
        .await;
    let content = vec![b'x'; 1001];
    let full = file("full.bin", "", &content[..1000]);
    let purpose = |value: &'static str| ("purpose", None, "", value.as_bytes());
    let seconds = |value: &'static str| ("expires_after[seconds]", None, "", value.as_bytes());
    let small = file("a.txt", "text/plain", b"a");
    for (fields, expected) in [
        (vec![purpose("vision")], "400 invalid_request_error missing_required_parameter file"),
        (vec![small, purpose("x")], "400 invalid_request_error invalid_value purpose"),
        (vec![small, small], "400 invalid_request_error invalid_value file"),
        (vec![small, seconds("3599")], "400 invalid_request_error invalid_value expires_after"),
        (
            vec![small, ("expires_after[anchor]", None, "", b"last_used")],
            "400 invalid_request_error invalid_value expires_after",
        ),
        (
            vec![file("big.bin", "", &content), purpose("vision")],
            "413 invalid_request_error file_too_large file",
        ),
    ] {
        let refused = relay.ask(&upload("/v1/files", &fields)).await.refusal();
        assert_eq!(refused.line(), expected, "{fields:?}");
    }
    let made = uploaded(&relay, &[full, seconds("3600")]).await;
    assert_eq!(made["expires_at"].as_i64(), made["created_at"].as_i64().map(|at| at + 3600));
    assert_eq!(
        (&made["purpose"], &made["content_type"]),
        (&"assistants".into(), &"application/octet-stream".into())
    );
    let no_room = relay.ask(&upload("/v1/files", &[file("b", "", &content[..501])])).await;
    assert!(no_room.text().contains("upload quota of 1500 bytes"), "{no_room:?}");
    assert_eq!(no_room.refusal().status, 413);
    let path = "/v1/files?purpose=batch";
    let python =
        relay.ask(&upload(path, &[file("b", "", &content[..500]), ("x", None, "", b"y")])).await;
    assert_eq!(python.json()["purpose"], "batch");
    assert_eq!(python.header("x-airelays-ignored-parameters"), Some("x"));
    let bare = Ask::post("/v1/files", "{}").bearer(TOKEN);
    assert_eq!(relay.ask(&bare).await.refusal().line(), "400 invalid_request_error invalid_form");
    let cut = form(&[small]);
    let cut = Ask::new("POST", "/v1/files")
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(&cut[..cut.len() - 9])
        .bearer(TOKEN);
    assert_eq!(relay.ask(&cut).await.refusal().line(), "400 invalid_request_error invalid_body");
    assert_eq!(n_contents(&relay), 2, "only what was acknowledged");
}

/// Announced as too large, it is not even read; without a length it is cut off.
#[tokio::test]
async fn an_endless_upload_is_cut_off() {
    let relay = Setup::new().set("AIRELAYS_MAX_UPLOAD_BYTES", "100000").start().await;
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: multipart/form-data; boundary={BOUNDARY}\r\n"
    );
    let announced = format!("{head}content-length: 99999999\r\n\r\n");
    let mut answering =
        crate::harness::http::Answering::to(relay.address, announced.as_bytes()).await;
    assert_eq!(answering.whole().await.refusal().status, 413);
    let mut endless = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    let form = form(&[file("a", "", b"")]);
    let piece =
        [&form[..form.len() - "\r\n--a-boundary--\r\n".len()], &vec![b'x'; 200_000]].concat();
    endless.extend(format!("{:x}\r\n", piece.len()).into_bytes());
    endless.extend(piece);
    let mut answering = crate::harness::http::Answering::to(relay.address, &endless).await;
    assert_eq!(answering.whole().await.refusal().status, 413);
    assert_eq!(n_contents(&relay), 0);
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand so on";

#[tokio::test]
async fn files_go_into_requests_of_every_dialect() {
    let relay = Relay::start().await;
    let upload = async |name, kind, content: &[u8]| {
        let made = uploaded(&relay, &[file(name, kind, content)]).await;
        made["id"].as_str().expect("an id").to_owned()
    };
    let text = upload("a.md", "text/markdown", b"# hello").await;
    let picture = upload("a.png", "image/png", PNG).await;
    let guessed = upload("b.csv", "application/octet-stream", b"1,2").await;
    let zip = upload("a.zip", "application/zip", b"PK").await;
    let parts = |id: &str| {
        [
            (Dialect::Responses, json!({"type": "input_file", "file_id": id})),
            (Dialect::Chat, json!({"type": "file", "file": {"file_id": id}})),
        ]
    };
    let ask = async |dialect: Dialect, part: Value| {
        let message = json!([{"role": "user", "content": [part]}]);
        let body = match dialect {
            Dialect::Responses => json!({"model": MODEL, "input": message}),
            Dialect::Chat | Dialect::Completions => json!({"model": MODEL, "messages": message}),
        };
        relay.post(dialect.path(), &body).await
    };
    for (id, expected) in [
        (&text, "Uploaded file `a.md` (text/markdown):\n\n# hello"),
        (&guessed, "Uploaded file `b.csv` (text/csv):\n\n1,2"),
    ] {
        for (dialect, part) in parts(id) {
            assert_eq!(ask(dialect, part).await.status, 200);
            let sent = &relay.last_upstream_body()["input"][0]["content"][0];
            assert_eq!(sent, &json!({"type": "input_text", "text": expected}));
        }
    }
    for part in [
        (Dialect::Responses, json!({"type": "input_image", "file_id": picture})),
        (Dialect::Chat, json!({"type": "image_url", "image_url": {"file_id": picture}})),
    ] {
        assert_eq!(ask(part.0, part.1).await.status, 200);
        let sent = &relay.last_upstream_body()["input"][0]["content"][0];
        let url = sent["image_url"].as_str().expect("a picture");
        assert!(url.starts_with("data:image/png;base64,iVBOR"), "{url}");
    }
    let edit = json!({"prompt": "a hat", "images": [{"file_id": picture}]});
    let edited = relay.post("/v1/images/edits", &edit).await;
    assert_eq!(edited.status, 200, "{edited:?}");
    let n_before = relay.upstream_requests().len();
    for (id, code) in [(&zip, "unsupported_file"), (&"file_x".to_owned(), "file_not_found")] {
        for (dialect, part) in parts(id) {
            let refusal = ask(dialect, part).await.refusal();
            assert_eq!((refusal.status, refusal.code.as_deref()), (422, Some(code)), "{dialect:?}");
        }
    }
    assert_eq!(relay.upstream_requests().len(), n_before, "nothing was sent");
}

/// Who only talks to models does not notice.
#[tokio::test]
async fn a_storage_that_is_broken_costs_only_who_needs_it() {
    let setup = Setup::new();
    crate::harness::write(
        &setup.home().join(".airelays/relay.sqlite3"),
        &"no database ".repeat(99),
    );
    let relay = setup.start().await;
    for dialect in Dialect::ALL {
        assert_eq!(relay.say(dialect, "hello").await.status, 200);
    }
    let upload = upload("/v1/files", &[file("a", "", b"a")]);
    for reply in [
        relay.get("/v1/files").await,
        relay.get("/v1/conversations/conv_1").await,
        relay.ask(&upload).await,
    ] {
        assert_eq!(reply.refusal().line(), "503 server_error storage_unavailable");
    }
    assert_eq!(relay.get("/v1/relay/status").await.status, 200);
    fs::remove_file(relay.path(".airelays/relay.sqlite3")).expect("removed");
    assert_eq!(relay.get("/v1/files").await.status, 200, "and it is tried again");
}

/// What was uploaded is not written into the log.
#[tokio::test]
async fn an_upload_is_logged_without_its_content() {
    let relay = Relay::start().await;
    uploaded(&relay, &[file("a.txt", "text/plain", b"the content of the file")]).await;
    let home = relay.stop().await;
    let text =
        crate::harness::log::records(home.path()).iter().map(Value::to_string).collect::<String>();
    assert!(text.contains("a.txt") && !text.contains("the content of the file"));
}

/// A name is a label, and an id is one or it is none: neither is ever a path.
#[tokio::test]
async fn odd_names_and_ids_lead_nowhere() {
    let relay = Relay::start().await;
    for name in ["../../x", "/etc/passwd", "CON", "..", "a;b='c'", "%2e%2e%2fx", "\u{202e}txt.exe"]
    {
        let made = uploaded(&relay, &[file(name, "text/plain", b"x")]).await;
        assert_eq!(made["filename"], *name);
        let content = format!("/v1/files/{}/content", made["id"].as_str().expect("an id"));
        assert_eq!(relay.get(&content).await.text(), "x");
    }
    let long = "n".repeat(256);
    for name in ["a\u{0}b", "a\tb", "a\u{7f}", &long] {
        let reply = relay.ask(&upload("/v1/files", &[file(name, "text/plain", b"x")])).await;
        assert_eq!(reply.refusal().status, 400, "{name:?}");
    }
    let hostile = format!("file_{}", "g".repeat(32));
    for id in ["..%2f..%2frelay-token", "x'%20OR%20'1'='1", "%00", "file_", &hostile, "..."] {
        for path in [format!("/v1/files/{id}"), format!("/v1/files/{id}/content")] {
            assert_eq!(relay.get(&path).await.refusal().status, 404, "{path}");
            assert_eq!(delete(&relay, &format!("/v1/files/{id}")).await.refusal().status, 404);
        }
    }
    assert_eq!(n_contents(&relay), 7);
    assert!(relay.path(".airelays/relay.sqlite3").exists());
}

#[tokio::test]
async fn many_uploads_at_the_edge_stay_within_the_quota() {
    let relay = Setup::new().set("AIRELAYS_MAX_TOTAL_UPLOAD_BYTES", "1000000").start().await;
    let content = vec![b'x'; 150_000];
    let fields = [file("a.bin", "", &content)];
    let ask = upload("/v1/files", &fields);
    let uploads = (0..20).map(|_| relay.ask(&ask));
    let replies = futures_util::future::join_all(uploads).await;
    let kept = replies.iter().filter(|reply| reply.status == 200).count();
    assert!((1..=6).contains(&kept), "{kept}");
    assert!(replies.iter().all(|reply| [200, 413].contains(&reply.status)));
    assert_eq!(n_contents(&relay), kept);
    let after = relay.ask(&ask).await.status;
    assert_eq!(after == 200, kept < 6, "what was refused takes no room");
}
