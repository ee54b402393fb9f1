//! Pictures: what is asked for, what comes back, and how they are counted apart from text.

use airelays::sim::Recorded;
use serde_json::{Value, json};

use crate::harness::{
    Relay, Setup, TOKEN,
    dialect::Dialect,
    http::{Ask, Reply},
    log,
};

const GENERATIONS: &str = "/v1/images/generations";
const EDITS: &str = "/v1/images/edits";
const IGNORED: &str = "x-airelays-ignored-parameters";

/// A picture, and the same in base64.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest of it";
const PNG_URL: &str = "data:image/png;base64,iVBORw0KGgpyZXN0IG9mIGl0";

/// What the simulator makes.
const MADE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

async fn relay(accounts: &[&str]) -> Relay {
    Setup::new().slots(accounts).start_over_network().await
}

/// What the simulator was asked for pictures, oldest first.
fn asked(relay: &Relay) -> Vec<Recorded> {
    let all = relay.simulator.recorded().into_iter();
    all.filter(|seen| seen.path.contains("/images/")).collect()
}

async fn generate(relay: &Relay, body: Value) -> Reply {
    relay.post(GENERATIONS, &body).await
}

/// `prompt` and nothing else.
async fn draw(relay: &Relay, prompt: &str) -> Reply {
    generate(relay, json!({"prompt": prompt})).await
}

/// A form with these parts.
fn form(parts: &[(&str, &[u8])]) -> Ask {
    let mut body = Vec::new();
    for (name, content) in parts {
        let file = if content.starts_with(b"\x89") { "; filename=\"a.png\"" } else { "" };
        let head =
            format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--limit--\r\n");
    sent_as_form(body)
}

fn sent_as_form(body: Vec<u8>) -> Ask {
    let kind = "multipart/form-data; boundary=limit";
    Ask::new("POST", EDITS).header("content-type", kind).body(body).bearer(TOKEN)
}

/// The slots that were asked for pictures, by their accounts.
fn accounts(relay: &Relay) -> Vec<String> {
    let account =
        |seen: &Recorded| seen.header("chatgpt-account-id").unwrap_or_default().to_owned();
    asked(relay).iter().map(account).collect()
}

fn retry_after(reply: &Reply) -> Option<u64> {
    reply.header("retry-after").map(|seconds| seconds.parse().expect("seconds"))
}

#[tokio::test]
async fn a_picture_is_made_from_words() {
    let relay = relay(&["first"]).await;
    let wish = json!({"model": "gpt-image-1.5", "prompt": "a red fox", "size": "1024x1024",
        "quality": "high", "background": "transparent", "style": "vivid"});
    let reply = generate(&relay, wish).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header(IGNORED), Some("style,quality,size"));
    let mut answer = reply.json();
    assert!(answer["created"].is_i64() && answer["data"][0]["generation_id"].is_string());
    answer["created"] = json!(0);
    answer["data"][0]["generation_id"] = json!("");
    let details = json!({"image_tokens": 0, "text_tokens": 3});
    let made = json!({"image_tokens": 196, "text_tokens": 0});
    let usage = json!({"input_tokens": 3, "input_tokens_details": details, "output_tokens": 196,
        "output_tokens_details": made, "total_tokens": 199});
    let expected = json!({"created": 0, "background": "transparent",
        "data": [{"b64_json": MADE, "generation_id": ""}], "output_format": "png",
        "quality": "low", "size": "1254x1254", "usage": usage});
    assert_eq!(answer, expected);
    let [sent] = &*asked(&relay) else { panic!("one call") };
    assert_eq!(sent.path, "/backend-api/codex/images/generations");
    let expected = json!({"prompt": "a red fox", "model": "gpt-image-1.5", "quality": "high",
        "size": "1024x1024", "background": "transparent", "n": 1});
    assert_eq!(sent.body, expected);
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("x-relay-slot-id"), Some("slot-1"));
}

#[tokio::test]
async fn several_pictures_are_several_calls() {
    let relay = relay(&["first"]).await;
    let answer = generate(&relay, json!({"prompt": "a fox", "n": 7})).await.json();
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(7));
    assert_eq!(answer["usage"]["output_tokens"], 7 * 196);
    let calls = asked(&relay);
    assert_eq!(calls.len(), 7);
    assert!(calls.iter().all(|sent| sent.body["n"] == 1));
}

#[tokio::test]
async fn one_that_fails_fails_all() {
    let relay = relay(&["first"]).await;
    relay.script(&["say: fine", "status: 400", "say: fine"]);
    let reply = generate(&relay, json!({"prompt": "a", "n": 3})).await;
    assert_eq!(reply.refusal().line(), "400 invalid_request_error -");
    assert_eq!(draw(&relay, "a").await.status, 200, "nothing is held against the slot");
}

#[tokio::test]
async fn events_carry_one_picture_each() {
    let relay = relay(&["first"]).await;
    let events = |reply: &Reply| {
        let frames: Vec<_> = reply.text().split_terminator("\n\n").map(str::to_owned).collect();
        frames
            .iter()
            .map(|frame| {
                let (name, data) = frame.split_once('\n').expect("two lines");
                let data: Value = serde_json::from_str(&data["data: ".len()..]).expect("JSON");
                assert_eq!(name, format!("event: {}", data["type"].as_str().expect("a type")));
                data
            })
            .collect::<Vec<_>>()
    };
    let reply = generate(&relay, json!({"prompt": "a", "n": 2, "stream": true, "user": "u"})).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!((reply.header(IGNORED), reply.is_whole), (Some("user"), true));
    let told = events(&reply);
    assert_eq!(told.len(), 2);
    for event in told {
        assert_eq!(event["type"], "image_generation.completed");
        assert_eq!(event["b64_json"], MADE);
        assert_eq!(event["usage"]["total_tokens"], 197);
    }
    let edit = json!({"prompt": "a", "images": [{"image_url": PNG_URL}], "stream": true});
    let told = events(&relay.post(EDITS, &edit).await);
    assert_eq!(told.iter().map(|it| &it["type"]).collect::<Vec<_>>(), ["image_edit.completed"]);
    // A failure before the headers is a status.
    relay.script(&["status: 400"]);
    let reply = generate(&relay, json!({"prompt": "a", "stream": true})).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn an_edit_is_the_same_as_a_form_and_as_json() {
    let relay = relay(&["first"]).await;
    let parts: [(&str, &[u8]); 5] = [
        ("image[]", PNG),
        ("image[]", PNG),
        ("prompt", "pêche".as_bytes()),
        ("n", b"1"),
        ("size", b"auto"),
    ];
    let reply = relay.ask(&form(&parts)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["data"][0]["b64_json"], MADE);
    let picture = json!({"image_url": PNG_URL});
    let body = json!({"images": [picture, picture], "prompt": "pêche", "size": "auto"});
    assert_eq!(relay.post(EDITS, &body).await.status, 200);
    let [as_form, as_json] = &*asked(&relay) else { panic!("two calls") };
    assert_eq!(as_form.body, as_json.body);
    let expected = json!({"images": [picture, picture], "prompt": "pêche", "model": "gpt-image-2",
        "size": "auto", "n": 1});
    assert_eq!(as_form.body, expected);
    assert_eq!(as_form.path, "/backend-api/codex/images/edits");
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_nothing_is_sent() {
    let relay = relay(&["first"]).await;
    let post = |path: &str, body: Value| Ask::post(path, body.to_string()).bearer(TOKEN);
    let large = [PNG, &vec![0; 20 << 20]].concat();
    let nameless = b"--limit\r\ncontent-disposition: form-data\r\n\r\na\r\n--limit--\r\n".to_vec();
    let url = json!({"prompt": "a", "images": [{"image_url": PNG_URL}], "mask": {"file_id": "f"}});
    let many: Vec<(String, &[u8])> = (0..65).map(|n| (format!("x{n}"), &b"a"[..])).collect();
    let many: Vec<_> = many.iter().map(|(name, content)| (name.as_str(), *content)).collect();
    for (ask, expected) in [
        (
            post(GENERATIONS, json!({})),
            "400 invalid_request_error missing_required_parameter prompt",
        ),
        (
            post(GENERATIONS, json!({"prompt": "a", "model": "gpt-5.5"})),
            "404 invalid_request_error model_not_found model",
        ),
        (Ask::post(GENERATIONS, "{").bearer(TOKEN), "400 invalid_request_error invalid_json"),
        (
            form(&[("image", PNG), ("mask", PNG), ("prompt", b"a")]),
            "422 invalid_request_error unsupported_parameter mask",
        ),
        (post(EDITS, url), "422 invalid_request_error unsupported_parameter mask"),
        (
            post(EDITS, json!({"prompt": "a", "images": [{"file_id": "file-1"}]})),
            "422 invalid_request_error file_not_found images[0].file_id",
        ),
        (
            form(&[("image", &large), ("prompt", b"a")]),
            "400 invalid_request_error image_too_large image",
        ),
        (
            form(&[("image", b"text"), ("prompt", b"a")]),
            "400 invalid_request_error unsupported_file_mimetype image",
        ),
        (sent_as_form(b"--limit\r\nhalf".to_vec()), "400 invalid_request_error invalid_multipart"),
        (sent_as_form(nameless), "400 invalid_request_error invalid_multipart"),
        (form(&many), "400 invalid_request_error invalid_multipart"),
        (
            Ask::new("POST", EDITS)
                .header("content-type", "multipart/form-data")
                .body("a")
                .bearer(TOKEN),
            "400 invalid_request_error invalid_multipart",
        ),
        (
            Ask::new("POST", EDITS).header("content-type", "image/png").body(PNG).bearer(TOKEN),
            "415 invalid_request_error unsupported_content_type",
        ),
        (form(&[("image", PNG)]), "400 invalid_request_error missing_required_parameter prompt"),
        (Ask::get(EDITS).bearer(TOKEN), "405 invalid_request_error method_not_allowed"),
        (post("/v1/images/variations", json!({})), "501 unsupported_error unsupported_route"),
    ] {
        assert_eq!(relay.ask(&ask).await.refusal().line(), expected);
    }
    assert_eq!(asked(&relay).len(), 0);
}

#[tokio::test]
async fn a_form_keeps_to_the_limit_for_bodies() {
    let setup = Setup::new().slots(&["first"]).set("AIRELAYS_MAX_BODY_BYTES", "3000");
    let relay = setup.start_over_network().await;
    let large = [PNG, &vec![0; 3000]].concat();
    let reply = relay.ask(&form(&[("image", &large), ("prompt", b"a")])).await;
    assert_eq!(reply.refusal().line(), "413 invalid_request_error request_too_large");
    let reply = relay.ask(&form(&[("image", PNG), ("prompt", b"a")])).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn a_window_that_is_used_up_stops_pictures_and_no_text() {
    let relay = relay(&["first"]).await;
    relay.simulator.set_images_used("first", 100, 7200);
    let reply = draw(&relay, "a").await;
    assert_eq!(reply.refusal().line(), "429 rate_limit_error usage_limit_reached");
    assert!(retry_after(&reply).is_some_and(|wait| (7190..=7200).contains(&wait)), "{reply:?}");
    let message = reply.json()["detail"].clone();
    let message = message.as_str().expect("text");
    assert!(message.starts_with("The limit `imagegen_premium` of the ChatGPT login"), "{message}");
    // Nobody is asked in vain.
    let again = draw(&relay, "a").await;
    assert_eq!(again.refusal(), reply.refusal());
    assert!(retry_after(&again).is_some_and(|wait| (7180..=7200).contains(&wait)), "{again:?}");
    assert_eq!(asked(&relay).len(), 1);
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
    assert_eq!(relay.slot(1).await["state"], "ready");
    // The window has room again, which is seen when the owner says so.
    relay.simulator.set_images_used("first", 0, 7200);
    relay.forgive().await;
    assert_eq!(draw(&relay, "a").await.status, 200);
}

#[tokio::test]
async fn text_that_is_used_up_stops_no_picture() {
    let relay = relay(&["spent"]).await;
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 429);
    assert_eq!(draw(&relay, "a").await.status, 200);
    // A picture that was made says nothing about text.
    let n_before = relay.upstream_requests().len();
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 429);
    assert_eq!(relay.upstream_requests().len(), n_before);
}

#[tokio::test]
async fn pictures_go_to_the_next_slot_when_a_window_is_used_up() {
    let relay = relay(&["first", "second"]).await;
    relay.simulator.set_world("images_used", "0").expect("a switch");
    relay.simulator.set_world("image_cost", "50").expect("a switch");
    for n in 0..4 {
        assert_eq!(draw(&relay, "a").await.status, 200, "{n}");
    }
    let reply = draw(&relay, "a").await;
    assert_eq!(reply.refusal().line(), "429 rate_limit_error usage_limit_reached");
    assert!(retry_after(&reply).is_some_and(|wait| wait > 86_000), "{reply:?}");
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    let mut by_account = accounts(&relay);
    assert_eq!(by_account.len(), 4, "what an answer says is used up is not asked again");
    by_account.sort();
    by_account.dedup();
    assert_eq!(by_account.len(), 2);
    assert_eq!(relay.say(Dialect::Chat, "hello").await.status, 200);
}

#[tokio::test]
async fn an_account_without_pictures_says_so_and_another_serves() {
    let alone = relay(&["first"]).await;
    alone.simulator.set_world("images", "missing").expect("a switch");
    for _ in 0..2 {
        let refusal = draw(&alone, "a").await.refusal();
        assert_eq!(refusal.line(), "403 permission_error images_not_enabled");
    }
    assert_eq!(alone.say(Dialect::Chat, "hello").await.status, 200);
    let two = relay(&["first", "second"]).await;
    two.script(&["blank: 404"]);
    assert_eq!(draw(&two, "a").await.status, 200);
    assert_eq!(accounts(&two).len(), 2);
    two.simulator.set_world("images", "missing").expect("a switch");
    let refusal = draw(&two, "a").await.refusal();
    assert_eq!(refusal.line(), "403 permission_error images_not_enabled");
}

#[tokio::test]
async fn a_failure_moves_on_unless_it_may_have_been_paid_for() {
    for (step, n_calls, expected) in [
        ("status: 503", 2, None),
        ("rate-limit", 2, None),
        ("workspace", 2, None),
        ("unauthorized", 2, None),
        ("status: 400", 1, Some("400 invalid_request_error -")),
        ("cloudflare", 1, Some("502 server_error upstream_challenge")),
        ("headers-pause: 600000", 1, Some("504 server_error upstream_timeout")),
    ] {
        let setup = Setup::new().slots(&["first", "second"]);
        let relay = setup.set("AIRELAYS_IMAGE_TIMEOUT_SECONDS", "1").start_over_network().await;
        relay.script(&[step]);
        let reply = draw(&relay, "a").await;
        match expected {
            None => assert_eq!(reply.status, 200, "{step}: {reply:?}"),
            Some(line) => assert_eq!(reply.refusal().line(), line, "{step}"),
        }
        assert_eq!(asked(&relay).len(), n_calls, "{step}");
    }
}

#[tokio::test]
async fn a_token_that_ran_out_is_renewed() {
    let relay = relay(&["first"]).await;
    relay.simulator.expire_access_tokens();
    assert_eq!(draw(&relay, "a").await.status, 200);
    assert_eq!(asked(&relay).len(), 2);
}

#[tokio::test]
async fn no_picture_is_written_down() {
    let relay = relay(&["first"]).await;
    let edit = json!({"prompt": "a", "images": [{"image_url": PNG_URL}]});
    let ids = [
        draw(&relay, "a fox").await,
        generate(&relay, json!({"prompt": "a", "stream": true})).await,
        relay.post(EDITS, &edit).await,
        relay.ask(&form(&[("image", PNG), ("prompt", b"a")])).await,
    ]
    .map(|reply| reply.header("x-request-id").expect("an id").to_owned());
    let home = relay.stop().await;
    let records = log::records(home.path());
    for pixel in [MADE, PNG_URL, "rest of it"] {
        let pixel = pixel.split(',').next_back().expect("some");
        assert!(!records.iter().any(|it| it.to_string().contains(pixel)), "{pixel}");
    }
    let of = |n: usize, phase: &str| {
        let is_it = |it: &&Value| it["request_id"] == ids[n].as_str() && it["phase"] == phase;
        records.iter().find(is_it).unwrap_or_else(|| panic!("{phase} of {n}")).clone()
    };
    let whole = of(0, "outbound_response");
    assert_eq!(whole["body"]["json"]["data"], json!(["[an image of 70 bytes]"]), "{whole}");
    assert!(whole["bytes"].as_u64().is_some_and(|bytes| bytes > 300), "{whole}");
    assert_eq!(of(0, "upstream_request")["body"]["json"]["prompt"], "a fox");
    assert_eq!(of(0, "outbound_usage")["usage"]["output_tokens"], 196);
    assert_eq!(of(1, "outbound_response")["outcome"], "completed");
    let shown = json!([{"image_url": "[an image of 18 bytes]"}]);
    assert_eq!(of(2, "inbound_request")["body"]["json"]["images"], shown);
    assert_eq!(of(2, "upstream_request")["body"]["json"]["images"], shown);
    assert_eq!(of(3, "inbound_request")["body"]["kind"], "binary_summary");
}

#[tokio::test]
async fn what_is_left_of_it_is_told_with_the_subscription() {
    let relay = relay(&["first"]).await;
    let limit = async || {
        let status = relay.get("/v1/subscription/status").await.json();
        status["rate_limits"]["image_generation"].clone()
    };
    assert_eq!(limit().await, Value::Null);
    relay.simulator.set_images_used("first", 40, 3600);
    assert_eq!(draw(&relay, "a").await.status, 200);
    let told = limit().await;
    let keys: Vec<_> = told.as_object().expect("an object").keys().collect();
    let expected = [
        "limit_id",
        "allowed",
        "limit_reached",
        "primary_window",
        "secondary_window",
        "observed_at",
        "source",
    ];
    assert_eq!(keys, expected);
    assert_eq!(told["limit_id"], "imagegen_premium");
    assert_eq!((&told["allowed"], &told["limit_reached"]), (&json!(true), &json!(false)));
    assert_eq!(told["source"], "image_response");
    let window = &told["primary_window"];
    assert_eq!((&window["used_percent"], &window["window_label"]), (&json!(40.0), &json!("1d")));
    assert!(window["reset_after_seconds"].as_i64().is_some_and(|it| (3590..=3600).contains(&it)));
    assert_eq!(told["secondary_window"], Value::Null);
    // Also an answer that refuses says it.
    relay.simulator.set_images_used("first", 100, 3600);
    assert_eq!(draw(&relay, "a").await.status, 429);
    let told = limit().await;
    assert_eq!((&told["allowed"], &told["limit_reached"]), (&json!(false), &json!(true)));
    let status = relay.get("/v1/subscription/status").await.json();
    let own = &status["rate_limits"]["default"]["primary_window"]["used_percent"];
    assert_eq!(own, &json!(27.0), "of the account's own windows it says nothing");
}

#[tokio::test]
async fn why_a_picture_came_from_where_it_did_is_explained() {
    let relay = relay(&["first", "second"]).await;
    relay.script(&["status: 503"]);
    let reply = draw(&relay, "a").await;
    let id = reply.header("x-request-id").expect("an id");
    let told = relay.get(&format!("/v1/relay/requests/{id}/explain")).await.json();
    assert_eq!(told["model"], "gpt-image-2", "{told}");
    assert_eq!(told["attempts"].as_array().map(Vec::len), Some(2), "{told}");
}

#[tokio::test]
async fn the_owners_own_names_count() {
    let setup =
        Setup::new().slots(&["first"]).set("AIRELAYS_MODEL_ALIASES", "dall-e-3=gpt-image-2");
    let relay = setup.start_over_network().await;
    let reply = generate(&relay, json!({"prompt": "a", "model": "dall-e-3"})).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(asked(&relay)[0].body["model"], "gpt-image-2");
}
