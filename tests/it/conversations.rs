//! Conversations: made, changed, read in pages, and carried into turns of every dialect.

use serde_json::{Value, json};

use crate::harness::{
    MODEL, Relay, Setup, TOKEN,
    dialect::Dialect,
    http::{Answering, Ask, Reply},
    within,
};

async fn made(relay: &Relay, body: Value) -> String {
    let made = relay.post("/v1/conversations", &body).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["id"].as_str().expect("an id").to_owned()
}

async fn delete(relay: &Relay, path: &str) -> Reply {
    relay.ask(&Ask::new("DELETE", path).bearer(TOKEN)).await
}

fn in_conversation(dialect: Dialect, text: &str, id: &str) -> Value {
    let mut body = dialect.body(text);
    body["conversation"] = id.into();
    body
}

fn message(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": text})
}

/// Every item of a conversation, oldest first.
async fn items(relay: &Relay, id: &str) -> Vec<Value> {
    let path = format!("/v1/conversations/{id}/items?order=asc&limit=100");
    relay.get(&path).await.json()["data"].as_array().expect("a list").clone()
}

/// Who said what, by what is stored or sent.
fn said(items: &[Value]) -> Vec<String> {
    let line = |item: &Value| {
        let text = &item["content"];
        let text = text.as_str().or(text[0]["text"].as_str()).unwrap_or_default();
        match item["role"].as_str() {
            Some(role) => format!("{role}: {text}"),
            None => item["type"].as_str().unwrap_or_default().to_owned(),
        }
    };
    items.iter().map(line).collect()
}

fn sent(relay: &Relay) -> Vec<String> {
    said(relay.last_upstream_body()["input"].as_array().expect("a list"))
}

#[tokio::test]
async fn it_is_made_changed_and_deleted() {
    let relay = Relay::start().await;
    let body = json!({"metadata": {"topic": "a", "x": "1"}, "items": [message("hello")]});
    let made = relay.post("/v1/conversations", &body).await.json();
    let keys: Vec<_> = made.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["id", "object", "created_at", "updated_at", "latest_response_id", "metadata"]
    );
    assert_eq!(
        (&made["object"], &made["metadata"]["topic"]),
        (&"conversation".into(), &"a".into())
    );
    let path = format!("/v1/conversations/{}", made["id"].as_str().expect("an id"));
    assert_eq!(relay.get(&path).await.json(), made);
    let changed = relay.post(&path, &json!({"metadata": {"x": "2"}})).await.json();
    assert_eq!(changed["metadata"], json!({"topic": "a", "x": "2"}));
    let cleared = relay.post(&path, &json!({"metadata": null})).await.json();
    assert_eq!(cleared["metadata"], json!({}));
    let items = relay.get(&format!("{path}/items")).await.json();
    let item = &items["data"][0];
    let keys: Vec<_> = item.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "type", "role", "content", "status"]);
    assert_eq!(item["content"], json!([{"type": "input_text", "text": "hello"}]));
    let one = format!("{path}/items/{}", item["id"].as_str().expect("an id"));
    assert_eq!(&relay.get(&one).await.json(), item);
    assert_eq!(delete(&relay, &one).await.json()["object"], "conversation");
    assert_eq!(
        relay.get(&one).await.refusal().line(),
        "404 invalid_request_error item_not_found id"
    );
    let gone = delete(&relay, &path).await.json();
    assert_eq!(gone, json!({"id": made["id"], "object": "conversation.deleted", "deleted": true}));
    for reply in [
        relay.get(&path).await,
        relay.get(&format!("{path}/items")).await,
        relay.get(&one).await,
        relay.post(&path, &json!({"metadata": {}})).await,
        relay.post(&format!("{path}/items"), &json!({"items": []})).await,
        delete(&relay, &path).await,
    ] {
        let line = reply.refusal().line();
        assert_eq!(line, "404 invalid_request_error conversation_not_found id");
    }
    for dialect in Dialect::ALL {
        let refusal = relay.post(dialect.path(), &in_conversation(dialect, "x", "conv_x")).await;
        let line = refusal.refusal().line();
        assert_eq!(line, "404 invalid_request_error conversation_not_found conversation");
    }
    assert!(relay.upstream_requests().is_empty());
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let relay = Relay::start().await;
    let four = json!({"metadata": {"a": "1", "b": "2", "c": "3", "d": "4"}});
    let path = format!("/v1/conversations/{}", made(&relay, four).await);
    let pairs: serde_json::Map<_, _> = (0..17).map(|n| (n.to_string(), "x".into())).collect();
    let many: Vec<_> = (0..21).map(|n| message(&n.to_string())).collect();
    for (path, body, expected) in [
        (path.clone(), json!({"metadata": pairs}), "invalid_value metadata"),
        (path.clone(), json!({"metadata": {"x": 1}}), "invalid_type metadata.x"),
        (path.clone(), json!({"metadata": {"x": "y".repeat(513)}}), "invalid_value metadata"),
        (path.clone(), json!({"metadata": []}), "invalid_type metadata"),
        (
            path.clone(),
            json!({"metadata": (0..13).map(|n| (format!("y{n}"), "x".into()))
            .collect::<serde_json::Map<_, _>>()}),
            "invalid_value metadata",
        ),
        (format!("{path}/items"), json!({"items": many}), "array_above_max_length items"),
        (format!("{path}/items"), json!({"items": "x"}), "invalid_type items"),
        (format!("{path}/items"), json!({"items": [7]}), "invalid_type items[0]"),
        (
            format!("{path}/items"),
            json!({"items": [message("a"), {"type": "message", "role": "x", "content": "a"}]}),
            "invalid_value items[1].role",
        ),
    ] {
        let line = relay.post(&path, &body).await.refusal().line();
        assert_eq!(line, format!("400 invalid_request_error {expected}"), "{body}");
    }
    let ignored = relay.post(&path, &json!({"name": "x"})).await;
    let lost = json!({"items": [{"type": "reasoning", "id": "rs_1", "summary": []}]});
    let lost = relay.post(&format!("{path}/items"), &lost).await;
    assert_eq!(lost.header("x-airelays-ignored-parameters"), Some("items[0]"));
    assert_eq!(ignored.header("x-airelays-ignored-parameters"), Some("name"));
    assert!(items(&relay, path.rsplit('/').next().expect("an id")).await.is_empty());
}

#[tokio::test]
async fn items_come_in_pages() {
    let relay = Relay::start().await;
    let id = made(&relay, json!({})).await;
    let path = format!("/v1/conversations/{id}/items");
    let all: Vec<_> = (0..20).map(|n| message(&n.to_string())).collect();
    let added = relay.post(&path, &json!({"items": all})).await.json();
    assert_eq!(added["data"].as_array().map(Vec::len), Some(20));
    let page = relay.get(&format!("{path}?limit=3")).await.json();
    assert_eq!(
        said(page["data"].as_array().expect("a list")),
        ["user: 19", "user: 18", "user: 17"]
    );
    assert_eq!((&page["has_more"], &page["last_id"]), (&true.into(), &page["data"][2]["id"]));
    let after = page["last_id"].as_str().expect("an id");
    let page = relay.get(&format!("{path}?limit=100&after={after}")).await.json();
    assert_eq!(
        (page["data"].as_array().map(Vec::len), &page["has_more"]),
        (Some(17), &false.into())
    );
    let line = relay.get(&format!("{path}?limit=101")).await.refusal().line();
    assert_eq!(line, "400 invalid_request_error invalid_value limit");
}

/// Each dialect goes on from where the one before stopped, streamed or not.
#[tokio::test]
async fn a_conversation_is_carried_into_every_turn() {
    let relay = Relay::start().await;
    let id = made(&relay, json!({"items": [message("first")]})).await;
    let mut expected = vec!["user: first".to_owned()];
    for (n, dialect) in Dialect::ALL.into_iter().chain(Dialect::ALL).enumerate() {
        relay.script(&[&format!("[sim say: answer {n}]")]);
        let mut body = in_conversation(dialect, &format!("turn {n}"), &id);
        if dialect == Dialect::Responses {
            body["conversation"] = json!({"id": id});
        }
        body["stream"] = (n >= 3).into();
        let reply = relay.post(dialect.path(), &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        expected.push(format!("user: turn {n}"));
        assert_eq!(sent(&relay), expected, "{dialect:?}");
        expected.push(format!("assistant: answer {n}"));
        assert_eq!(said(&items(&relay, &id).await), expected, "{dialect:?}");
    }
    let session = relay.upstream_requests();
    let sessions: std::collections::BTreeSet<_> =
        session.iter().map(|it| it.body["prompt_cache_key"].to_string()).collect();
    assert_eq!(sessions.len(), 1, "one dialogue is one session upstream");
    let conversation = relay.get(&format!("/v1/conversations/{id}")).await.json();
    assert!(conversation["latest_response_id"].as_str().is_some_and(|it| it.starts_with("resp_")));
}

/// A call of one turn is answered in the next, with the client's own name of the tool.
#[tokio::test]
async fn tools_and_thoughts_go_on() {
    let relay = Relay::start().await;
    let id = made(&relay, json!({})).await;
    let tool = json!({"type": "function", "name": "a.tool", "parameters": {"type": "object"}});
    relay.script(&["[sim reasoning][sim call]", "[sim say: done]"]);
    let mut body = in_conversation(Dialect::Responses, "use it", &id);
    body["tools"] = json!([tool]);
    let reply = relay.post("/v1/responses", &body).await.json();
    let call =
        reply["output"].as_array().expect("a list").iter().find(|it| it["type"] == "function_call");
    let call = call.expect("a call");
    let kept = items(&relay, &id).await;
    assert_eq!(said(&kept), ["user: use it", "reasoning", "function_call"]);
    assert_eq!(kept[2]["name"], "a.tool");
    let answer = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "7"});
    let body = json!({"model": MODEL, "input": [answer], "conversation": id, "tools": [tool]});
    assert_eq!(relay.post("/v1/responses", &body).await.status, 200);
    let sent = relay.last_upstream_body();
    assert_eq!(sent["input"][2]["name"], sent["tools"][0]["name"], "as the upstream knows it");
    assert!(sent["input"][1]["encrypted_content"].is_string());
    // A call that nobody answered stays the next request's to answer.
    relay.script(&["[sim call]"]);
    let mut body = in_conversation(Dialect::Responses, "again", &id);
    body["tools"] = json!([tool]);
    assert_eq!(relay.post("/v1/responses", &body).await.status, 200);
    let refused = relay.post("/v1/responses", &in_conversation(Dialect::Responses, "x", &id)).await;
    assert_eq!(refused.refusal().line(), "400 invalid_request_error invalid_value conversation");
}

/// Files stay references, and are looked up anew in every turn.
#[tokio::test]
async fn a_file_is_kept_by_its_id() {
    let relay = Relay::start().await;
    let form = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
                content-type: text/plain\r\n\r\nseven\r\n--b--\r\n";
    let upload = Ask::new("POST", "/v1/files")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(form)
        .bearer(TOKEN);
    let file = relay.ask(&upload).await.json()["id"].as_str().expect("an id").to_owned();
    let id = made(&relay, json!({})).await;
    let parts = json!([{"type": "file", "file": {"file_id": file}}]);
    let body = json!({"model": MODEL, "conversation": id,
        "messages": [{"role": "user", "content": parts}]});
    assert_eq!(relay.post("/v1/chat/completions", &body).await.status, 200);
    let kept = items(&relay, &id).await;
    assert_eq!(kept[0]["content"], json!([{"type": "input_file", "file_id": file}]));
    for turn in ["one", "two"] {
        let reply =
            relay.post("/v1/responses", &in_conversation(Dialect::Responses, turn, &id)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(sent(&relay)[0].ends_with("seven"), "{:?}", sent(&relay));
    }
    delete(&relay, &format!("/v1/files/{file}")).await;
    let refused = relay.post("/v1/responses", &in_conversation(Dialect::Responses, "x", &id)).await;
    assert_eq!(refused.refusal().line(), "422 invalid_request_error file_not_found conversation");
}

#[tokio::test]
async fn a_turn_that_fails_changes_nothing() {
    let relay = Relay::start().await;
    let id = made(&relay, json!({"items": [message("first")]})).await;
    let before = relay.get(&format!("/v1/conversations/{id}")).await.json();
    for step in [
        "[sim status: 400]",
        "[sim say: a][sim fail-after-text]",
        "[sim say: a][sim cut-after-text]",
    ] {
        for dialect in Dialect::ALL {
            for is_stream in [false, true] {
                relay.script(&[step]);
                let mut body = in_conversation(dialect, "x", &id);
                body["stream"] = is_stream.into();
                let reply = relay.post(dialect.path(), &body).await;
                assert!(reply.status >= 400 || reply.text().contains("error"), "{step} {reply:?}");
                relay.forgive().await;
            }
        }
    }
    assert_eq!(said(&items(&relay, &id).await), ["user: first"]);
    assert_eq!(relay.get(&format!("/v1/conversations/{id}")).await.json(), before);
}

/// The second waits for the first, and then sees what it said. Nothing of a client that left is kept.
#[tokio::test]
async fn turns_are_taken_one_by_one() {
    let relay = Setup::new().start().await;
    let id = made(&relay, json!({})).await;
    relay.script(&["[sim say: one][sim stall-after-text]", "[sim say: two]", "[sim say: three]"]);
    let mut body = in_conversation(Dialect::Responses, "leaves", &id);
    body["stream"] = true.into();
    let ask = Ask::post("/v1/responses", body.to_string()).bearer(TOKEN);
    let first = relay.open(&ask).await;
    let waits = |text: &'static str| {
        let body = in_conversation(Dialect::Chat, text, &id);
        let ask = Ask::post("/v1/chat/completions", body.to_string()).bearer(TOKEN);
        let address = relay.address;
        async move { Answering::to(address, &ask.bytes()).await.whole().await }
    };
    let others = async {
        let (one, other) = tokio::join!(waits("a"), waits("b"));
        assert_eq!((one.status, other.status), (200, 200));
    };
    let leaves = async {
        crate::harness::eventually("the first has its turn", || {
            relay.upstream_requests().len() == 1
        })
        .await;
        drop(first);
    };
    within("all turns", async { tokio::join!(others, leaves) }).await;
    let kept = items(&relay, &id).await;
    let lines = said(&kept);
    assert_eq!(lines.len(), 4, "{lines:?}");
    let requests = relay.upstream_requests();
    let lengths: Vec<_> =
        requests.iter().map(|it| it.body["input"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(lengths, [1, 1, 3]);
}
