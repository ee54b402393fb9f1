//! Whatever bytes arrive, the relay answers with a 4xx in the shape of OpenAI's errors or closes
//! the connection, and goes on serving.

use serde_json::json;

use crate::harness::{
    MODEL, PATIENCE, Relay, Setup, TOKEN,
    dialect::Dialect,
    http::{Ask, Connection, Reply},
};

/// Every route that takes a body, and the member with what is said.
const TEXT_ROUTES: [(&str, &str); 6] = [
    ("/v1/responses", "input"),
    ("/v1/chat/completions", "messages"),
    ("/v1/completions", "prompt"),
    ("/no-tools/v1/responses", "input"),
    ("/no-tools/v1/chat/completions", "messages"),
    ("/no-tools/v1/completions", "prompt"),
];

/// After everything that was done to it.
async fn check_it_still_serves(relay: &Relay) {
    let reply = relay.say(Dialect::Chat, "[sim say: still here]").await;
    assert_eq!(Dialect::Chat.text(&reply.json()), "still here");
    relay.is_idle().await;
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let relay = Relay::start().await;
    let deep = "[".repeat(200_000);
    let deep_closed = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep_objects = r#"{"a":"#.repeat(200_000);
    let digits = "9".repeat(5000);
    let huge = format!(r#"{{"model":{digits}}}"#);
    let exponent = r#"{"model":"m","input":"x","top_p":1e999999999999999999999}"#;
    let bodies: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"nonsense",
        b"'single'",
        b"{\"model\":}",
        b"{\"model\":\"m\",}",
        b"{'model':'m'}",
        b"{model:\"m\"}",
        b"{\"model\":\"m\"} {}",
        b"{\"model\":\"m\"}x",
        b"{\"model\":NaN}",
        b"{\"model\":Infinity}",
        b"{\"model\":-}",
        b"{\"model\":01}",
        b"{\"model\":1.}",
        b"{\"model\":+1}",
        b"{\"model\":0x10}",
        b"{\"a\":1,\"a\":2}",
        b"{\"a\":1,\"\\u0061\":2}",
        b"{\"model\":\"\xff\xfe\"}",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b"{\"model\":\"a\x00b\"}",
        b"{\"model\":\"a\nb\"}",
        b"{\"model\":\"\\x\"}",
        b"{\"model\":\"\\ud800\"}",
        b"{\"model\":\"\\udc00\\ud800\"}",
        b"/* no */ {}",
        b"\x00",
        b"data: {}\n\n",
        b"model=m&input=x",
        deep.as_bytes(),
        deep_closed.as_bytes(),
        deep_objects.as_bytes(),
        exponent.as_bytes(),
    ];
    for (path, _) in TEXT_ROUTES {
        for body in bodies {
            let reply = relay.ask(&Ask::post(path, *body).bearer(TOKEN)).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
            let refusal = reply.refusal().line();
            assert_eq!(refusal, "400 invalid_request_error invalid_json", "{path}: {shown}");
            assert!(reply.body.len() < 1000, "{shown}");
        }
        let reply = relay.ask(&Ask::post(path, huge.clone()).bearer(TOKEN)).await;
        assert_eq!(reply.refusal().status, 400);
    }
    check_it_still_serves(&relay).await;
    assert_eq!(relay.upstream_requests().len(), 1, "nothing of that went upstream");
}

#[tokio::test]
async fn a_body_of_another_shape_is_refused_with_its_path() {
    let relay = Relay::start().await;
    for (path, content) in TEXT_ROUTES {
        let refused =
            async |body: String| relay.ask(&Ask::post(path, body).bearer(TOKEN)).await.refusal();
        for body in ["[]", "\"text\"", "7", "null", "true", "[{}]"] {
            let refusal = refused(body.to_owned()).await;
            assert_eq!(refusal.line(), "400 invalid_request_error invalid_type", "{body}");
        }
        for body in ["", "{}", r#"{"stream":true}"#] {
            let refusal = refused(body.to_owned()).await;
            let expected = "400 invalid_request_error missing_required_parameter model";
            assert_eq!(refusal.line(), expected, "{path} {body}");
        }
        // A completion may begin from nothing.
        if content != "prompt" {
            let refusal = refused(json!({"model": MODEL}).to_string()).await;
            let expected =
                format!("400 invalid_request_error missing_required_parameter {content}");
            assert_eq!(refusal.line(), expected, "{path}");
        }
        for wrong in ["7", "true", "[7]", "[[]]", "[null]", "{\"a\":1}", "[{\"role\":7}]"] {
            let refusal = refused(format!(r#"{{"model":"m","{content}":{wrong}}}"#)).await;
            assert!((400..=422).contains(&refusal.status), "{path} {wrong}: {refusal:?}");
            assert!(
                refusal.param.is_some_and(|param| param.starts_with(content)),
                "{path} {wrong}"
            );
        }
    }
    assert_eq!(relay.upstream_requests().len(), 0);
    check_it_still_serves(&relay).await;
}

#[tokio::test]
async fn a_member_that_is_wrong_is_named() {
    let relay = Relay::start().await;
    for (path, content) in TEXT_ROUTES {
        let said = match content {
            "messages" => r#"[{"role":"user","content":"hello"}]"#,
            _ => r#""hello""#,
        };
        for (member, value) in [
            ("model", "7"),
            ("model", "\"\""),
            ("model", "[]"),
            ("stream", "\"yes\""),
            ("stream", "1"),
            ("temperature", "\"hot\""),
            ("n", "2"),
            ("n", "0"),
            ("n", "-1"),
            ("n", "99999999999999999999999999999999"),
            ("store", "true"),
            ("stop", "\"x\""),
            ("metadata", "[]"),
            ("service_tier", "\"x\""),
            ("conversation", "\"conv_1\""),
        ] {
            let model = if member == "model" { "" } else { r#""model":"m","# };
            let body = format!(r#"{{{model}"{content}":{said},"{member}":{value}}}"#);
            let refusal = relay.ask(&Ask::post(path, body.clone()).bearer(TOKEN)).await.refusal();
            assert!((400..=422).contains(&refusal.status), "{path} {body}: {refusal:?}");
            assert_eq!(refusal.param.as_deref(), Some(member), "{path} {body}: {refusal:?}");
        }
    }
    assert_eq!(relay.upstream_requests().len(), 0);
    check_it_still_serves(&relay).await;
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let relay = Relay::start().await;
    let body = Dialect::Chat.body("hello").to_string();
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"]
    {
        let ask = Ask::new("POST", Dialect::Chat.path()).bearer(TOKEN).body(body.clone());
        let ask = ask.header("content-type", kind);
        let refusal = relay.ask(&ask).await.refusal();
        assert_eq!(refusal.line(), "415 invalid_request_error unsupported_content_type", "{kind}");
    }
    let ask = Ask::new("POST", Dialect::Chat.path()).bearer(TOKEN).body(body.clone());
    assert_eq!(relay.ask(&ask).await.refusal().status, 415, "none");
    let binary = ask.clone().header("content-type", b"application/json\xff".as_slice());
    assert_eq!(relay.ask(&binary).await.refusal().status, 415);
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
        assert_eq!(
            relay.ask(&ask.clone().header("content-type", kind)).await.status,
            200,
            "{kind}"
        );
    }
}

#[tokio::test]
async fn who_asks_for_a_web_socket_is_told_that_there_is_none() {
    let relay = Relay::start().await;
    let ask = |name: &str| Ask::get("/v1/responses").bearer(TOKEN).header("upgrade", name);
    let refusal = relay.ask(&ask("websocket")).await.refusal();
    assert_eq!(refusal.line(), "426 invalid_request_error websocket_not_supported");
    assert_eq!(relay.ask(&ask("h2c")).await.refusal().status, 405);
}

#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() {
    let relay = Relay::start().await;
    for (path, methods, allow) in [
        ("/v1/responses", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"], "POST"),
        ("/no-tools/v1/completions", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"], "POST"),
        ("/v1/models", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"], "GET,HEAD"),
        ("/v1/models/x", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"], "GET,HEAD"),
        ("/v1/relay/status", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"], "GET,HEAD"),
        ("/healthz", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"], "GET,HEAD"),
        ("/", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"], "GET,HEAD"),
    ] {
        for method in methods {
            let reply = relay.ask(&Ask::new(method, path).bearer(TOKEN)).await;
            let refusal = reply.refusal().line();
            assert_eq!(refusal, "405 invalid_request_error method_not_allowed", "{method} {path}");
            assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
        }
    }
    check_it_still_serves(&relay).await;
}

#[tokio::test]
async fn odd_paths_lead_nowhere() {
    let relay = Relay::start().await;
    for path in [
        "/nothing",
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/V1/models",
        "/v2/models",
        "//v1/models",
        "/v1//models",
        "/v1/models/",
        "/v1/./models",
        "/v1/../v1/models",
        "/healthz/../v1/models",
        "/%76%31/models",
        "/v1%2fmodels",
        "/v1/%6dodels",
        "/v1/models%00",
        "/v1/chat%2Fcompletions",
        "/v1/responses/",
        "/v1/responses/resp_1/nothing",
        "/no-tools",
        "/no-tools/v1",
        "/no-tools/v1/relay/status",
        "/healthz/",
        "/healthz;v1",
        "/.env",
        "/..%2f..%2fetc%2fpasswd",
        "/%",
        "/%zz",
        "/%ff%fe",
        "/v1/%ff",
        "/v1/models?%ff",
        "*",
    ] {
        let reply = relay.ask(&Ask::get(path).bearer(TOKEN)).await;
        if path == "/v1/models?%ff" {
            assert_eq!(reply.status, 200, "a query means nothing here");
            continue;
        }
        assert_eq!(reply.refusal().line(), "404 invalid_request_error not_found", "{path}");
    }
    let long = format!("/v1/{}", "a".repeat(20_000));
    assert_eq!(relay.ask(&Ask::get(&long).bearer(TOKEN)).await.status, 404);
    let whole = format!("http://localhost{}", "/healthz");
    assert_eq!(relay.ask(&Ask::get(&whole)).await.status, 200, "as proxies ask");
    check_it_still_serves(&relay).await;
}

/// The start of a request whose body is announced, and not sent.
fn announced(length: &str) -> Vec<u8> {
    let ask = Ask::new("POST", "/v1/responses").header("content-type", "application/json");
    ask.bearer(TOKEN).header("content-length", length).bytes()
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_unread() {
    let relay = Setup::new().set("AIRELAYS_MAX_BODY_BYTES", "1000").start().await;
    for length in ["1001", "100000000000", "9223372036854775807"] {
        let mut connection = Connection::open(relay.address).await;
        connection.send(&announced(length)).await;
        let reply = connection.reply().await.expect("an answer, though no body was sent");
        assert_eq!(
            reply.refusal().line(),
            "413 invalid_request_error request_too_large",
            "{length}"
        );
        assert!(connection.ends().await, "nobody can know where the next request begins");
    }
    let body = |length: usize| {
        let text = Dialect::Chat.body(&"x".repeat(length)).to_string();
        Ask::post(Dialect::Chat.path(), text).bearer(TOKEN)
    };
    let room = 1000 - Dialect::Chat.body("").to_string().len();
    assert_eq!(relay.ask(&body(room)).await.status, 200, "exactly as much as may be");
    assert_eq!(relay.ask(&body(room + 1)).await.status, 413);
    check_it_still_serves(&relay).await;
}

#[tokio::test]
async fn a_body_without_a_length_is_refused_as_soon_as_it_is_too_large() {
    let relay = Setup::new().set("AIRELAYS_MAX_BODY_BYTES", "100000").start().await;
    let head = Ask::new("POST", "/v1/responses")
        .header("content-type", "application/json")
        .header("transfer-encoding", "chunked")
        .bearer(TOKEN)
        .bytes();
    let mut connection = Connection::open(relay.address).await;
    assert!(connection.send(&head).await);
    let chunk = [b"2710\r\n".as_slice(), &[b' '; 10_000], b"\r\n"].concat();
    for _ in 0..11 {
        connection.send(&chunk).await;
    }
    // No end was sent, so the relay has not waited for one.
    let reply = connection.reply().await.expect("an answer");
    assert_eq!(reply.refusal().line(), "413 invalid_request_error request_too_large");
    check_it_still_serves(&relay).await;
}

#[tokio::test]
async fn a_stranger_gets_an_answer_before_the_body_is_read() {
    let relay = Relay::start().await;
    let ask =
        Ask::new("POST", "/v1/responses").header("content-length", "50000000").bearer("wrong");
    let mut connection = Connection::open(relay.address).await;
    connection.send(&ask.bytes()).await;
    assert_eq!(connection.reply().await.expect("an answer").refusal().status, 401);
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_and_nothing_else() {
    let relay = Relay::start().await;
    let many_headers = "x: y\r\n".repeat(500);
    let large_header = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let cases: &[&[u8]] = &[
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz SPDY/1\r\n\r\n",
        b"GET /heal\x00thz HTTP/1.1\r\nhost: x\r\n\r\n",
        b"G\xc3\xa9T /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nbad header: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: abc\r\n\r\n",
        b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ntransfer-encoding: nonsense\r\n\r\n",
        large_header.as_bytes(),
    ];
    let many = format!("GET /healthz HTTP/1.1\r\n{many_headers}\r\n");
    for case in cases.iter().copied().chain([many.as_bytes()]) {
        let mut connection = Connection::open(relay.address).await;
        connection.send(case).await;
        connection.finish_sending().await;
        let shown = String::from_utf8_lossy(&case[..case.len().min(80)]).into_owned();
        if let Some(reply) = connection.reply().await {
            assert!((400..500).contains(&reply.status), "{shown}: {reply:?}");
        }
    }
    check_it_still_serves(&relay).await;
}

#[tokio::test]
async fn a_broken_chunk_is_no_body() {
    let relay = Relay::start().await;
    let head = Ask::new("POST", "/v1/responses")
        .header("content-type", "application/json")
        .header("transfer-encoding", "chunked")
        .bearer(TOKEN);
    for chunks in
        [&b"zz\r\n{}\r\n0\r\n\r\n"[..], b"5\r\n{}", b"ffffffffffffffffff\r\n{}\r\n", b"-1\r\n"]
    {
        let mut connection = Connection::open(relay.address).await;
        connection.send(&head.bytes()).await;
        connection.send(chunks).await;
        connection.finish_sending().await;
        if let Some(reply) = connection.reply().await {
            assert_eq!(reply.refusal().line(), "400 invalid_request_error invalid_body");
        }
    }
    check_it_still_serves(&relay).await;
}

#[tokio::test]
async fn half_a_request_is_none() {
    let relay = Relay::start().await;
    let whole = Ask::post("/v1/responses", Dialect::Responses.body("hello").to_string());
    let whole = whole.bearer(TOKEN).bytes();
    for end in (0..whole.len()).step_by(7) {
        let mut connection = Connection::open(relay.address).await;
        connection.send(&whole[..end]).await;
        drop(connection);
    }
    check_it_still_serves(&relay).await;
    assert_eq!(relay.upstream_requests().len(), 1);
}

#[tokio::test]
async fn requests_that_follow_each_other_are_answered_in_their_order() {
    let relay = Relay::start().await;
    let say = |text: &str| {
        let body = Dialect::Chat.body(&format!("[sim say: {text}]")).to_string();
        Ask::post(Dialect::Chat.path(), body).bearer(TOKEN).bytes()
    };
    let wrong = Ask::post(Dialect::Chat.path(), "{").bearer(TOKEN).bytes();
    let stream = Dialect::Chat.streamed("[sim say: three]").to_string();
    let stream = Ask::post(Dialect::Chat.path(), stream).bearer(TOKEN).bytes();
    let all = [say("one"), wrong, say("two"), stream, say("four")].concat();
    let mut connection = Connection::open(relay.address).await;
    assert!(connection.send(&all).await);
    let mut replies = Vec::new();
    for _ in 0..5 {
        replies.push(connection.reply().await.expect("five answers on one connection"));
    }
    let text = |reply: &Reply| Dialect::Chat.text(&reply.json());
    assert_eq!(text(&replies[0]), "one");
    assert_eq!(replies[1].refusal().status, 400);
    assert_eq!(text(&replies[2]), "two");
    assert_eq!(Dialect::Chat.told(replies[3].text()).text, "three");
    assert_eq!(text(&replies[4]), "four");
}

#[tokio::test]
async fn the_older_http_is_spoken() {
    let relay = Relay::start().await;
    let mut connection = Connection::open(relay.address).await;
    connection.send(b"GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(connection.reply().await.expect("an answer").status, 200);
    assert!(connection.ends().await);
    let ask =
        Ask::post(Dialect::Chat.path(), Dialect::Chat.streamed("[sim deltas: 3]").to_string());
    let bytes = String::from_utf8(ask.bearer(TOKEN).bytes()).expect("text");
    let mut connection = Connection::open(relay.address).await;
    connection.send(bytes.replace("HTTP/1.1", "HTTP/1.0").as_bytes()).await;
    let reply = connection.reply().await.expect("an answer");
    assert_eq!(reply.header("transfer-encoding"), None, "it knows no chunks");
    assert!(Dialect::Chat.told(reply.text()).is_complete);
}

#[tokio::test]
async fn a_client_that_wants_to_be_asked_for_its_body_is() {
    let relay = Relay::start().await;
    let ask = Ask::post(Dialect::Chat.path(), Dialect::Chat.body("[sim say: fine]").to_string());
    let ask = ask.bearer(TOKEN).header("expect", "100-continue").bytes();
    let split = ask.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    let mut connection = Connection::open(relay.address).await;
    connection.send(&ask[..split]).await;
    assert_eq!(connection.interim().await, 100);
    connection.send(&ask[split..]).await;
    let reply = connection.reply().await.expect("an answer");
    assert_eq!(Dialect::Chat.text(&reply.json()), "fine");
}

#[tokio::test]
async fn many_at_once_are_all_answered() {
    let relay = Relay::start().await;
    let all = (0..100).map(|n| {
        let relay = &relay;
        async move {
            let text = format!("[sim say: number {n}]");
            let dialect = Dialect::ALL[n % 3];
            let reply = relay.say(dialect, &text).await;
            assert_eq!(dialect.text(&reply.json()), format!("number {n}"));
        }
    });
    let all = futures_util::future::join_all(all);
    tokio::time::timeout(PATIENCE, all).await.expect("all of them");
}
