//! What the simulator remembers: scripts, caches, cancellations, limits and requests.

use super::*;

#[tokio::test]
async fn a_script_comes_before_markers_and_only_for_requests_in_order() {
    let client = Client::new();
    client.script(&["limit: 30", "say: scripted", "overloaded"]);
    let mut wrong = turn("hi");
    put(&mut wrong, "temperature", 1);
    assert_eq!(client.ask(&wrong).await.status, 400);
    let heard = client.say("[sim cut]").await;
    assert_eq!((heard.status, heard.header("retry-after")), (429, ""));
    assert_eq!(
        heard.text(),
        r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","resets_at":1800000030,"resets_in_seconds":30,"eligible_promo":null}}"#
    );
    assert_eq!(heard.header("x-codex-primary-used-percent"), "100.0");
    assert_eq!(client.say("[sim cut]").await.said(), "scripted");
    assert_eq!(client.say("[sim cut]").await.status, 503);
    assert_eq!(client.simulator.unused_steps(), 0);
    let statuses = client.simulator.counters().statuses;
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [(200, 1), (400, 1), (429, 1), (503, 1)]);
}

#[tokio::test]
async fn a_model_can_be_a_script() {
    let mut body = turn("hi");
    put(&mut body, "model", "sim-cut-after-text");
    assert!(Client::new().ask(&body).await.order().ends_with("output_text.delta*7"));
    put(&mut body, "model", "sim-refuse");
    assert_eq!(
        Client::new().ask(&body).await.text(),
        r#"{"detail":"Unsupported parameter: temperature"}"#
    );
}

#[tokio::test]
async fn statuses_have_their_bodies() {
    let overloaded = r#"{"error":{"type":"service_unavailable_error","code":"server_is_overloaded","message":"Our servers are currently overloaded. Please try again later.","param":null}}"#;
    let invalidated = r#"{"error":{"message":"Your authentication token has been invalidated. Please try signing in again.","type":"invalid_request_error","code":"token_invalidated","param":null},"status":401}"#;
    let bare = r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","eligible_promo":null}}"#;
    let seconds = r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","resets_at":null,"resets_in_seconds":3600,"eligible_promo":null}}"#;
    for (marker, status, body) in [
        ("forbidden", 403, ""),
        ("blank: 502", 502, ""),
        ("workspace", 403, r#"{"detail":{"code":"invalid_workspace_selected"}}"#),
        ("deactivated", 402, r#"{"detail":{"code":"deactivated_workspace"}}"#),
        ("unauthorized", 401, invalidated),
        ("unauthorized: detail", 401, r#"{"detail":"Unauthorized"}"#),
        ("overloaded", 503, overloaded),
        ("limit: bare", 429, bare),
        ("limit: seconds-only", 429, seconds),
        ("refuse: top_p", 400, r#"{"detail":"Unsupported parameter: top_p"}"#),
    ] {
        let heard = Client::new().say(&format!("[sim {marker}]")).await;
        assert_eq!((heard.status, heard.text().as_str()), (status, body), "{marker}");
    }
    for (marker, status, code) in [
        ("rate-limit", 429, "rate_limit_exceeded"),
        ("capacity", 429, "model_at_capacity"),
        ("status: 500", 500, ""),
    ] {
        let heard = Client::new().say(&format!("[sim {marker}]")).await;
        assert_eq!((heard.status, text(&heard.json()["error"], "code")), (status, code));
    }
    for (marker, status, mitigated) in [
        ("cloudflare", 403, "challenge"),
        ("cloudflare: 503", 503, "challenge"),
        ("html: 502", 502, ""),
    ] {
        let heard = Client::new().say(&format!("[sim {marker}]")).await;
        assert_eq!((heard.status, heard.header("cf-mitigated")), (status, mitigated));
        assert!(heard.header("content-type").starts_with("text/html"));
    }
}

#[tokio::test]
async fn every_stream_carries_the_headers_of_the_upstream() {
    let client = Client::new();
    let heard = client.say("hi").await;
    for name in [
        "x-request-id",
        "x-oai-request-id",
        "cf-ray",
        "x-models-etag",
        "x-codex-turn-state",
        "x-codex-primary-used-percent",
        "x-codex-secondary-reset-at",
        "x-codex-plan-type",
        "x-codex-bengalfox-limit-name",
    ] {
        assert_ne!(heard.header(name), "", "{name}");
    }
    assert_eq!(heard.header("openai-model"), "gpt-5.6-sol");
    let list = client.get("/backend-api/codex/models?client_version=0.156.1").await;
    assert_eq!(list.header("etag"), heard.header("x-models-etag"));
    assert_eq!(list.json()["models"].as_array().map(Vec::len), Some(13));
    let repeated = client
        .request("POST", "/backend-api/codex/responses")
        .header("x-codex-turn-state", heard.header("x-codex-turn-state"))
        .body(turn("hi").to_string().into())
        .expect("request");
    let repeated = Heard::all(client.send(repeated).await).await;
    assert_eq!(repeated.header("x-codex-turn-state"), "");
}

#[tokio::test]
async fn bad_credentials_are_told_apart() {
    let refused = |client: &Client| {
        let request = client.request("GET", "/backend-api/wham/usage");
        request.body(Body::empty()).expect("request")
    };
    let client = Client::new();
    let mut request = refused(&client);
    request.headers_mut().remove("authorization");
    let heard = Heard::all(client.send(request).await).await;
    assert_eq!((heard.status, heard.text().as_str()), (401, r#"{"detail":"Unauthorized"}"#));

    let expired = Client::new();
    expired.simulator.expire_access_tokens();
    let invalidated = Client::new();
    invalidated.simulator.invalidate_access_tokens();
    for (client, code) in [(expired, "token_expired"), (invalidated, "token_invalidated")] {
        let heard = client.say("hi").await;
        assert_eq!((heard.status, heard.json()["error"]["code"].as_str()), (401, Some(code)));
    }
    let client = Client::of("first", &[("unauthorized", "detail")]);
    client.clock.advance(SignedDuration::from_hours(240));
    assert_eq!(client.say("hi").await.text(), r#"{"detail":"Unauthorized"}"#);

    let client = Client::new();
    let mut request = refused(&client);
    request.headers_mut().insert("chatgpt-account-id", "other".parse().expect("value"));
    let heard = Heard::all(client.send(request).await).await;
    assert_eq!(
        (heard.status, heard.header("x-openai-authorization-error")),
        (403, "invalid_workspace_selected")
    );
}

#[tokio::test]
async fn some_accounts_are_in_trouble() {
    for (account, status, part) in [
        ("deactivated", 402, "deactivated_workspace"),
        ("spent", 429, "usage_limit_reached"),
        ("not-included", 429, "usage_not_included"),
    ] {
        let heard = Client::of(account, &[]).say("hi").await;
        assert_eq!(heard.status, status);
        assert!(heard.text().contains(part), "{}", heard.text());
    }
    let usage = Client::of("spent", &[]).get("/backend-api/wham/usage").await.json();
    assert_eq!(usage["rate_limit"]["limit_reached"], true);
    let client = Client::new();
    client.simulator.set_used("first", 81, 9);
    assert_eq!(client.say("hi").await.header("x-codex-primary-used-percent"), "81.0");
    let usage = client.get("/backend-api/wham/usage").await.json();
    assert_eq!(usage["rate_limit"]["secondary_window"]["used_percent"], 9);
}

#[tokio::test]
async fn the_cache_needs_a_session_and_a_long_prefix() {
    let ask = async |client: &Client, body: &Value, session: &str| {
        let mut request = client.request("POST", "/backend-api/codex/responses");
        if let Some((name, value)) = session.split_once('=') {
            request = request.header(name, value);
        }
        let request = request.body(body.to_string().into()).expect("request");
        let heard = Heard::all(client.send(request).await).await;
        let details = heard.last()["response"]["usage"]["input_tokens_details"].clone();
        details["cached_tokens"].as_u64().expect("number")
    };
    let client = Client::new();
    let mut long = turn("hi");
    put(&mut long, "instructions", "word ".repeat(1200));
    assert_eq!(ask(&client, &long, "").await, 0);
    assert_eq!(ask(&client, &long, "").await, 0, "no session");
    assert_eq!(ask(&client, &long, "session-id=a").await, 0);
    assert_eq!(ask(&client, &long, "session-id=a").await, 1536);
    assert_eq!(ask(&client, &long, "session_id=a").await, 1536, "either spelling");
    assert_eq!(ask(&client, &long, "session-id=b").await, 0, "another session");
    let mut other = long.clone();
    put(&mut other, "model", "gpt-5.5");
    assert_eq!(ask(&client, &other, "session-id=a").await, 0, "another model");
    put(&mut long["tools"][0], "name", "forecast");
    assert_eq!(ask(&client, &long, "session-id=a").await, 1408, "as far as they are the same");
    client.clock.advance(SignedDuration::from_hours(1));
    assert_eq!(ask(&client, &long, "session-id=a").await, 0, "forgotten");
    let short = turn("hi");
    assert_eq!(ask(&client, &short, "session-id=c").await, 0);
    assert_eq!(ask(&client, &short, "session-id=c").await, 0, "too short");
}

#[tokio::test]
async fn an_input_over_the_window_fails_in_the_stream() {
    let mut body = turn("hi");
    put(&mut body, "instructions", "word".repeat(280_000));
    let heard = Client::new().ask(&body).await;
    assert_eq!((heard.status, heard.order().as_str()), (200, "created in_progress failed"));
    assert_eq!(heard.last()["response"]["error"]["code"], "context_length_exceeded");
}

#[tokio::test]
async fn leaving_early_is_noted_at_once() {
    let client = Client::new();
    let mut stream = client.open(&turn("hi")).await.into_body().into_data_stream();
    stream.next().await.expect("a chunk").expect("unbroken");
    let counters = client.simulator.counters();
    assert_eq!((counters.open_streams, counters.cancelled), (1, 0));
    drop(stream);
    let counters = client.simulator.counters();
    assert_eq!((counters.open_streams, counters.cancelled), (0, 1));
    assert!(client.simulator.recorded()[0].cancelled);
}

#[tokio::test]
async fn leaving_after_the_end_is_no_loss() {
    let client = Client::new();
    let mut stream = client.open(&turn("[sim close-late]")).await.into_body().into_data_stream();
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("event: response.completed") {
        bytes.extend_from_slice(&stream.next().await.expect("a chunk").expect("unbroken"));
    }
    drop(stream);
    assert_eq!(client.simulator.counters().cancelled, 0);
    assert!(!client.simulator.recorded()[0].cancelled);
}

#[tokio::test(start_paused = true)]
async fn leaving_before_the_headers_is_noted_too() {
    let client = Client::new();
    let body = turn("[sim headers-pause: 60000]");
    let patience = std::time::Duration::from_secs(1);
    assert!(tokio::time::timeout(patience, client.open(&body)).await.is_err());
    assert_eq!(client.simulator.counters().cancelled, 1);
    assert_eq!(client.simulator.recorded()[0].status, None);
}

#[tokio::test]
async fn requests_are_recorded_as_they_were_meant() {
    let client = Client::new();
    // A zstd frame that holds `{"a":1}` in one raw block.
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 7, 0x39, 0, 0][..], br#"{"a":1}"#].concat();
    let request = client
        .request("POST", "/backend-api/codex/responses?x=1")
        .header("Content-Encoding", "zstd")
        .header("X-Own", "Value")
        .body(frame.into())
        .expect("request");
    let heard = Heard::all(client.send(request).await).await;
    assert_eq!(heard.json()["detail"], "Unsupported parameter: a");
    client.form("/oauth/token", "grant_type=x").await;
    client.get("/nowhere").await;

    let recorded = client.simulator.recorded();
    assert_eq!(recorded[0].body, object! {"a": 1});
    assert_eq!((recorded[0].query.as_str(), recorded[0].header("x-own")), ("x=1", Some("Value")));
    assert_eq!(recorded[1].body, "grant_type=x");
    let lines: Vec<_> = recorded
        .iter()
        .map(|one| format!("{} {} {} {:?}", one.number, one.method, one.path, one.status))
        .collect();
    assert_eq!(
        lines,
        [
            "0 POST /backend-api/codex/responses Some(400)",
            "1 POST /oauth/token Some(400)",
            "2 GET /nowhere Some(404)",
        ]
    );
    client.simulator.clear();
    assert_eq!(client.simulator.recorded(), []);
    assert_eq!(client.simulator.counters(), Counters::default());
}

#[tokio::test]
async fn bodies_that_cannot_be_decoded_are_refused() {
    let client = Client::new();
    for encoding in ["zstd", "gzip"] {
        let request = client
            .request("POST", "/backend-api/codex/responses")
            .header("content-encoding", encoding)
            .body("no such thing".into())
            .expect("request");
        assert_eq!(client.send(request).await.status().as_u16(), 400, "{encoding}");
    }
}

#[tokio::test]
async fn routes_can_be_missing_or_broken() {
    for (switch, value, uri, status) in [
        ("models", "not-found", "/backend-api/codex/models", 404),
        ("models", "server-error", "/backend-api/codex/models", 500),
        ("usage_route", "not-found", "/backend-api/wham/usage", 404),
        ("usage_route", "rate-limit", "/backend-api/wham/usage", 429),
    ] {
        assert_eq!(Client::of("first", &[(switch, value)]).get(uri).await.status, status);
    }
    let list =
        Client::of("first", &[("models", "bad-entry")]).get("/backend-api/codex/models").await;
    assert_eq!(list.json()["models"][13]["slug"], "gpt-broken");
    let usage =
        Client::of("first", &[("usage_route", "nulls")]).get("/backend-api/wham/usage").await;
    assert_eq!(
        (usage.json()["plan_type"].as_str(), &usage.json()["rate_limit"]),
        (Some("plus"), &Value::Null)
    );
    let client = Client::new();
    assert_eq!(client.get("/backend-api/codex/responses").await.status, 426, "no WebSocket");
    assert_eq!(client.post("/backend-api/wham/usage", &object! {}).await.status, 405);
}

#[tokio::test]
async fn other_languages_control_it_over_http() {
    let client = Client::new();
    let ok = r#"{"ok":true}"#;
    assert_eq!(client.post("/sim/script", &list!["say: one", "status: 502"]).await.text(), ok);
    assert_eq!(client.say("hi").await.said(), "one");
    assert_eq!(client.say("hi").await.status, 502);
    let heard = client.post("/sim/script", &list!["say: one", "wat"]).await;
    assert_eq!(
        (heard.status, heard.text().as_str()),
        (400, r#"{"error":"the simulator knows no behavior \"wat\""}"#)
    );
    assert_eq!(client.simulator.unused_steps(), 0, "all or nothing");
    assert_eq!(client.post("/sim/world", &object! {"primary_used": 50}).await.text(), ok);
    assert_eq!(client.say("hi").await.header("x-codex-primary-used-percent"), "50.0");
    assert_eq!(client.post("/sim/world", &object! {"wat": true}).await.status, 400);

    let counters = client.get("/sim/counters").await.json();
    assert_eq!(
        (&counters["streams"], &counters["statuses"]),
        (&2.into(), &object! {"200": 2, "502": 1})
    );
    let requests = client.get("/sim/requests").await.json();
    assert_eq!(requests.as_array().map(Vec::len), Some(3));
    assert_eq!(requests[1]["status"], 502);
    client.post("/sim/clear", &object! {}).await;
    assert_eq!(client.get("/sim/requests").await.json(), list![]);

    let login = client.get("/sim/login?account=second").await.json();
    assert_eq!(login["bound_account_id"], login["tokens"]["account_id"]);
    client.post("/sim/expire", &object! {}).await;
    assert_eq!(client.say("hi").await.status, 401);
}

/// Over a socket, because only there the server has to find out by itself.
#[tokio::test]
async fn a_closed_connection_is_noticed_while_nothing_is_said() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let client = Client::new();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let address = listener.local_addr().expect("address");
    let request =
        client.request("POST", "/").body(turn("[sim stall]").to_string()).expect("request");
    let visit = async {
        let mut socket = tokio::net::TcpStream::connect(address).await.expect("connected");
        let line = "POST /backend-api/codex/responses HTTP/1.1\r\nhost: x".to_owned();
        let headers = request.headers().iter();
        let headers =
            headers.map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")));
        let body = request.body();
        let length = format!("content-length: {}\r\n\r\n{body}", body.len());
        let lines: Vec<_> = [line].into_iter().chain(headers).chain([length]).collect();
        socket.write_all(lines.join("\r\n").as_bytes()).await.expect("sent");
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains("event: response.in_progress") {
            socket.read_buf(&mut heard).await.expect("read");
        }
        assert_eq!(client.simulator.counters().open_streams, 1);
        drop(socket);
        while client.simulator.counters().open_streams > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = visit => {}
        ended = axum::serve(listener, client.simulator.router()) => panic!("{ended:?}"),
    }
    assert_eq!(client.simulator.counters().cancelled, 1);
}
