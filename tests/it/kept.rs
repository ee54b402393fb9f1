//! Answers that are kept: retrieved, gone on from, made in the background, resumed and cancelled.

use serde_json::{Value, json};

use crate::harness::{
    MODEL, Relay, Setup, TOKEN,
    dialect::{Dialect, events},
    http::{Ask, Reply},
};

fn stateful() -> Setup {
    Setup::new().set("AIRELAYS_STATEFUL", "true")
}

async fn ask(relay: &Relay, more: Value) -> Reply {
    let mut body = json!({"model": MODEL, "input": "hello"});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    relay.post("/v1/responses", &body).await
}

async fn asked(relay: &Relay, more: Value) -> Value {
    let reply = ask(relay, more).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn delete(relay: &Relay, path: &str) -> Reply {
    relay.ask(&Ask::new("DELETE", path).bearer(TOKEN)).await
}

fn path_of(response: &Value) -> String {
    format!("/v1/responses/{}", response["id"].as_str().expect("an id"))
}

/// What the upstream was sent last: who said what.
fn sent(relay: &Relay) -> Vec<String> {
    let body = relay.last_upstream_body();
    let items = body["input"].as_array().expect("a list").iter();
    let line =
        |it: &Value| format!("{}: {}", it["role"], it["content"][0]["text"]).replace('"', "");
    items.map(line).collect()
}

#[tokio::test]
async fn without_the_setting_nothing_is_kept_and_it_is_said_how() {
    let relay = Relay::start().await;
    for (more, param) in [
        (json!({"store": true}), "store"),
        (json!({"previous_response_id": "x"}), "previous_response_id"),
    ] {
        let reply = ask(&relay, more).await;
        assert!(reply.text().contains("airelays serve --stateful"), "{reply:?}");
        let line = reply.refusal().line();
        assert_eq!(line, format!("422 invalid_request_error unsupported_parameter {param}"));
    }
    let made = asked(&relay, json!({})).await;
    assert_eq!(made["store"], false);
    for path in [path_of(&made), "/v1/chat/completions".to_owned()] {
        let line = relay.get(&path).await.refusal().line();
        assert_eq!(line, "404 invalid_request_error responses_not_kept");
    }
}

#[tokio::test]
async fn an_answer_is_kept_as_it_was_told() {
    let relay = stateful().start().await;
    for is_stream in [false, true] {
        let more = json!({"stream": is_stream, "metadata": {"topic": "x"}, "input": "kept"});
        let reply = ask(&relay, more).await;
        let told = if is_stream {
            let all = events(reply.text());
            let last: Value =
                serde_json::from_str(&all.last().expect("an end").data).expect("JSON");
            let first: Value = serde_json::from_str(&all[0].data).expect("JSON");
            assert_eq!(first["response"]["id"], last["response"]["id"]);
            last["response"].clone()
        } else {
            reply.json()
        };
        assert_eq!((&told["store"], &told["background"]), (&true.into(), &false.into()));
        assert_eq!(told["metadata"], json!({"topic": "x"}));
        let path = path_of(&told);
        assert_eq!(relay.get(&path).await.json(), told);
        let items = relay.get(&format!("{path}/input_items")).await.json();
        assert_eq!(items["data"][0]["content"], json!([{"type": "input_text", "text": "kept"}]));
        assert_eq!(items["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(relay.last_upstream_body()["store"], false, "nothing is stored upstream");
        let gone = delete(&relay, &path).await.json();
        assert_eq!(gone, json!({"id": told["id"], "object": "response", "deleted": true}));
        for reply in [relay.get(&path).await, delete(&relay, &path).await] {
            let line = reply.refusal().line();
            assert_eq!(line, "404 invalid_request_error response_not_found id");
        }
    }
    for (path, said) in [("/v1/completions", "prompt"), ("/v1/responses/compact", "input")] {
        let body = json!({"model": MODEL, said: "x", "store": true});
        let line = relay.post(path, &body).await.refusal().line();
        assert_eq!(line, "422 invalid_request_error unsupported_parameter store", "{path}");
    }
    let unkept = asked(&relay, json!({"store": false})).await;
    assert_eq!(
        (unkept["store"].clone(), relay.get(&path_of(&unkept)).await.status),
        (false.into(), 404)
    );
    let path = format!("{}/cancel", path_of(&asked(&relay, json!({})).await));
    let line = relay.post(&path, &json!({})).await.refusal().line();
    assert_eq!(line, "400 invalid_request_error response_not_in_background");
}

/// Across restarts and whichever way it branches.
#[tokio::test]
async fn a_dialogue_goes_on_from_any_of_its_answers() {
    let relay = stateful().log_in().start_over_network().await;
    relay.script(&["[sim say: one]", "[sim reasoning][sim say: two]", "[sim say: three]"]);
    let first = asked(&relay, json!({"input": "a", "instructions": "be brief"})).await;
    let next = |input: &str, previous: &Value| json!({"input": input, "previous_response_id": previous["id"], "stream": false});
    let second = asked(&relay, next("b", &first)).await;
    assert_eq!(second["previous_response_id"], first["id"]);
    assert_eq!(sent(&relay), ["user: a", "assistant: one", "user: b"]);
    assert_eq!(relay.last_upstream_body()["instructions"], ".", "those are each request's own");
    let home = relay.stop().await;
    let relay = stateful().at(home).log_in().start_over_network().await;
    relay.script(&["[sim say: three]", "[sim say: four]"]);
    let third = asked(&relay, next("c", &second)).await;
    let body = relay.last_upstream_body();
    assert_eq!(body["input"].as_array().map(Vec::len), Some(6));
    assert!(body["input"][3]["encrypted_content"].is_string(), "thoughts go on: {body}");
    asked(&relay, next("d", &first)).await;
    assert_eq!(sent(&relay), ["user: a", "assistant: one", "user: d"]);
    let items = relay.get(&format!("{}/input_items?order=asc", path_of(&third))).await.json();
    assert_eq!(items["data"].as_array().map(Vec::len), Some(6), "{items}");
    delete(&relay, &path_of(&second)).await;
    for previous in [&second, &third, &json!({"id": "resp_x"})] {
        let line = ask(&relay, next("e", previous)).await.refusal().line();
        let code = "previous_response_not_found previous_response_id";
        assert_eq!(line, format!("400 invalid_request_error {code}"));
    }
    let both = json!({"previous_response_id": first["id"], "conversation": "conv_1"});
    let line = ask(&relay, both).await.refusal().line();
    let code = "mutually_exclusive_parameters previous_response_id";
    assert_eq!(line, format!("400 invalid_request_error {code}"));
}

#[tokio::test]
async fn an_answer_that_fails_is_not_kept() {
    let relay = stateful().start().await;
    let id = {
        let made = relay.post("/v1/conversations", &json!({})).await.json();
        made["id"].as_str().expect("an id").to_owned()
    };
    relay.script(&["[sim say: x][sim fail-after-text]", "[sim say: kept]"]);
    let failed = ask(&relay, json!({"stream": true, "conversation": id})).await;
    let last = events(failed.text()).pop().expect("an end");
    let last: Value = serde_json::from_str(&last.data).expect("JSON");
    assert_eq!(relay.get(&path_of(&last["response"])).await.status, 404, "{last}");
    relay.forgive().await;
    let kept = asked(&relay, json!({"conversation": id})).await;
    assert_eq!(kept["conversation"], json!({"id": id}));
    let items = relay.get(&format!("/v1/conversations/{id}/items")).await.json();
    assert_eq!(items["data"].as_array().map(Vec::len), Some(2));
    let conversation = relay.get(&format!("/v1/conversations/{id}")).await.json();
    assert_eq!(conversation["latest_response_id"], kept["id"]);
}

async fn until_it_ends(relay: &Relay, path: &str) -> Value {
    let ask = Ask::get(path).bearer(TOKEN);
    let is_over = |reply: &Reply| {
        !["queued", "in_progress"].contains(&reply.json()["status"].as_str().expect("a status"))
    };
    relay.until(&ask, is_over).await.json()
}

#[tokio::test]
async fn what_nobody_waits_for_is_made_all_the_same() {
    let relay = stateful().start().await;
    relay.script(&["[sim say: done]", "[sim status: 400]", "[sim say: x][sim fail-after-text]"]);
    let more = json!({"background": true, "metadata": {"a": "b"}, "temperature": 0});
    let begun = ask(&relay, more).await;
    assert_eq!(begun.header("x-airelays-ignored-parameters"), Some("temperature"));
    let begun = begun.json();
    assert_eq!((&begun["status"], &begun["background"]), (&"queued".into(), &true.into()));
    let path = path_of(&begun);
    let ended = until_it_ends(&relay, &path).await;
    assert_eq!((&ended["status"], &ended["id"]), (&"completed".into(), &begun["id"]));
    assert_eq!(Dialect::Responses.text(&ended), "done");
    assert_eq!(ended["metadata"], json!({"a": "b"}));
    let same = relay.post(&format!("{path}/cancel"), &json!({})).await.json();
    assert_eq!(same, ended, "what has ended stays as it is");
    for _ in 0..2 {
        relay.forgive().await;
        let begun = asked(&relay, json!({"background": true})).await;
        let failed = until_it_ends(&relay, &path_of(&begun)).await;
        assert_eq!((&failed["status"], &failed["id"]), (&"failed".into(), &begun["id"]));
        assert!(failed["error"]["message"].is_string(), "{failed}");
    }
    let unkept = ask(&relay, json!({"background": true, "store": false})).await;
    assert_eq!(unkept.refusal().line(), "400 invalid_request_error invalid_value background");
}

#[tokio::test]
async fn a_stream_is_resumed_behind_any_event() {
    let relay = stateful().start().await;
    relay.script(&["[sim deltas: 20]"]);
    let all = ask(&relay, json!({"background": true, "stream": true})).await;
    let whole = events(all.text());
    let number = |data: &str| {
        serde_json::from_str::<Value>(data).expect("JSON")["sequence_number"]
            .as_i64()
            .expect("a number")
    };
    let first: Value = serde_json::from_str(&whole[0].data).expect("JSON");
    let path = path_of(&first["response"]);
    assert_eq!(whole.last().map(|last| &*last.name), Some("response.completed"));
    for after in [None, Some(0), Some(7), Some(number(&whole[whole.len() - 2].data)), Some(999)] {
        let query = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
        let resumed = relay.get(&format!("{path}?stream=true{query}")).await;
        let resumed: Vec<_> = events(resumed.text()).into_iter().map(|it| it.data).collect();
        let later = whole.iter().filter(|it| number(&it.data) > after.unwrap_or(-1));
        assert_eq!(resumed, later.map(|it| it.data.clone()).collect::<Vec<_>>(), "{after:?}");
    }
    for query in ["stream=x", "stream=true&starting_after=-1"] {
        assert_eq!(relay.get(&format!("{path}?{query}")).await.refusal().status, 400);
    }
    let plain = asked(&relay, json!({})).await;
    let none = relay.get(&format!("{}?stream=true", path_of(&plain))).await;
    assert_eq!(none.refusal().line(), "400 invalid_request_error stream_expired stream");
}

/// Its client leaves, and it goes on; its owner ends it, and the upstream's answer ends.
#[tokio::test]
async fn what_is_being_made_can_be_followed_and_cancelled() {
    let relay = stateful().start().await;
    relay.script(&["[sim say: one][sim stall-after-text]"]);
    let body = json!({"model": MODEL, "input": "x", "background": true, "stream": true});
    let mut leaves = relay.open(&Ask::post("/v1/responses", body.to_string()).bearer(TOKEN)).await;
    let begun = leaves.until("response.output_text.delta").await;
    drop(leaves);
    let first = events(&begun).remove(0);
    let first: Value = serde_json::from_str(&first.data).expect("JSON");
    let path = path_of(&first["response"]);
    assert_eq!(relay.get(&path).await.json()["status"], "in_progress");
    let next = json!({"previous_response_id": first["response"]["id"]});
    let line = ask(&relay, next).await.refusal().line();
    let code = "response_in_progress previous_response_id";
    assert_eq!(line, format!("400 invalid_request_error {code}"));
    let follow = Ask::get(&format!("{path}?stream=true")).bearer(TOKEN);
    let mut follows = relay.open(&follow).await;
    follows.until("response.output_text.delta").await;
    let cancelled = relay.post(&format!("{path}/cancel"), &json!({})).await.json();
    assert_eq!(cancelled["status"], "cancelled");
    let rest = follows.whole().await;
    assert!(rest.is_whole && rest.text().contains("response_cancelled"), "{rest:?}");
    assert_eq!(relay.get(&path).await.json(), cancelled);
    relay.is_idle().await;
}

#[tokio::test]
async fn what_was_being_made_when_the_relay_ended_has_failed() {
    let relay = stateful().log_in().start_over_network().await;
    relay.script(&["[sim say: one][sim stall-after-text]"]);
    let begun = asked(&relay, json!({"background": true})).await;
    let home = relay.stop().await;
    let relay = stateful().at(home).log_in().start_over_network().await;
    let failed = relay.get(&path_of(&begun)).await.json();
    assert_eq!(failed["status"], "failed");
    assert!(failed["error"]["message"].is_string(), "{failed}");
}

#[tokio::test]
async fn chats_are_kept_where_their_client_wants_it() {
    let relay = stateful().start().await;
    let mut kept = Vec::new();
    for (text, topic, is_stream) in [("a", "x", false), ("b", "y", true), ("c", "x", false)] {
        let mut body = Dialect::Chat.body(text);
        body["store"] = true.into();
        body["stream"] = is_stream.into();
        body["metadata"] = json!({"topic": topic});
        let reply = relay.post("/v1/chat/completions", &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let id = if is_stream {
            let first = events(reply.text()).remove(0);
            serde_json::from_str::<Value>(&first.data).expect("JSON")["id"].clone()
        } else {
            reply.json()["id"].clone()
        };
        kept.push(id.as_str().expect("an id").to_owned());
    }
    relay.say(Dialect::Chat, "not kept").await;
    let list = async |query: &str| {
        let list = relay.get(&format!("/v1/chat/completions{query}")).await.json();
        let data = list["data"].as_array().expect("a list").clone();
        data.iter().map(|it| it["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, kept);
    assert_eq!(list("?metadata[topic]=x").await, [&*kept[0], &kept[2]]);
    assert_eq!(list(&format!("?limit=1&after={}", kept[0])).await, [&*kept[1]]);
    assert!(list("?model=other").await.is_empty());
    let path = format!("/v1/chat/completions/{}", kept[1]);
    let chat = relay.get(&path).await.json();
    assert_eq!(
        (&chat["object"], &chat["metadata"]["topic"]),
        (&"chat.completion".into(), &"y".into())
    );
    assert!(chat["choices"][0]["message"]["content"].is_string(), "{chat}");
    let messages = relay.get(&format!("{path}/messages")).await.json();
    let expected = json!({"id": format!("{}-0", kept[1]), "role": "user", "content": "b",
        "content_parts": null});
    assert_eq!(messages["data"], json!([expected]));
    let changed = relay.post(&path, &json!({"metadata": {"topic": "z"}})).await.json();
    assert_eq!(changed["metadata"], json!({"topic": "z"}));
    assert_eq!(relay.get(&path).await.json(), changed);
    let gone = delete(&relay, &path).await.json();
    assert_eq!(gone, json!({"id": kept[1], "object": "chat.completion.deleted", "deleted": true}));
    let line = relay.get(&path).await.refusal().line();
    assert_eq!(line, "404 invalid_request_error response_not_found id");
}

/// A call of one turn is answered in the next, and what the history says counts as said.
#[tokio::test]
async fn tools_and_modes_go_on_from_what_was_said() {
    let relay = stateful().start().await;
    relay.script(&["[sim call]", "[sim say: done]", "[sim custom]", "[sim say: done]"]);
    let tool = json!({"type": "function", "name": "f", "parameters": {"type": "object"}});
    let custom = json!({"type": "custom", "name": "c"});
    for (tool, kind) in [(tool, "function_call"), (custom, "custom_tool_call")] {
        let called = asked(&relay, json!({"tools": [tool]})).await;
        let call = called["output"].as_array().expect("a list").last().expect("a call").clone();
        assert_eq!(call["type"], kind);
        let output = json!({"type": format!("{kind}_output"), "call_id": call["call_id"],
            "output": "7"});
        let more =
            json!({"previous_response_id": called["id"], "input": [output], "tools": [tool]});
        let answered = asked(&relay, more).await;
        let items = relay.get(&format!("{}/input_items", path_of(&answered))).await.json();
        assert_eq!(items["data"][0]["type"], format!("{kind}_output"), "{items}");
    }
    let first = asked(&relay, json!({"input": "answer in JSON"})).await;
    let more = json!({"previous_response_id": first["id"], "input": "go on",
        "text": {"format": {"type": "json_object"}}});
    asked(&relay, more).await;
}

#[tokio::test]
async fn an_item_is_referred_to_by_its_id() {
    let relay = stateful().start().await;
    relay.script(&["[sim reasoning][sim say: one]", "[sim say: two]", "[sim say: three]"]);
    let first = asked(&relay, json!({"input": "a"})).await;
    let ids: Vec<_> =
        first["output"].as_array().expect("a list").iter().map(|it| &it["id"]).collect();
    let refer = |id: &Value| json!({"type": "item_reference", "id": id});
    let mut input: Vec<_> = ids.iter().map(|id| refer(id)).collect();
    input.push(json!({"role": "user", "content": "b"}));
    let second = asked(&relay, json!({"input": input})).await;
    let body = relay.last_upstream_body();
    assert!(body["input"][0]["encrypted_content"].is_string(), "{body}");
    assert_eq!(sent(&relay)[1..], ["assistant: one", "user: b"]);
    let items = relay.get(&format!("{}/input_items", path_of(&second))).await.json();
    assert_eq!(items["data"].as_array().map(Vec::len), Some(3), "kept as what they mean: {items}");
    // What was said before is not said twice.
    let more = json!({"input": input, "previous_response_id": first["id"]});
    asked(&relay, more).await;
    assert_eq!(relay.last_upstream_body()["input"].as_array().map(Vec::len), Some(4));
    let unknown = ask(&relay, json!({"input": [refer(&"msg_x".into())]})).await;
    assert_eq!(unknown.refusal().line(), "400 invalid_request_error invalid_value input[0]");
}

#[tokio::test]
async fn an_answer_of_a_conversation_is_gone_on_from_with_all_of_it() {
    let relay = stateful().start().await;
    let made = relay.post("/v1/conversations", &json!({})).await.json();
    relay.script(&["[sim say: one]", "[sim say: two]", "[sim say: three]", "[sim say: four]"]);
    for input in ["a", "b"] {
        asked(&relay, json!({"input": input, "conversation": made["id"]})).await;
    }
    let conversation = format!("/v1/conversations/{}", made["id"].as_str().expect("an id"));
    let latest = relay.get(&conversation).await.json()["latest_response_id"].clone();
    // What is said there later does not belong to it.
    asked(&relay, json!({"input": "c", "conversation": made["id"]})).await;
    let branch = asked(&relay, json!({"input": "d", "previous_response_id": latest})).await;
    let said = ["user: a", "assistant: one", "user: b", "assistant: two", "user: d"];
    assert_eq!(sent(&relay), said);
    delete(&relay, &conversation).await;
    let more = json!({"input": "e", "previous_response_id": branch["id"]});
    let line = ask(&relay, more).await.refusal().line();
    let code = "previous_response_not_found previous_response_id";
    assert_eq!(line, format!("400 invalid_request_error {code}"));
}

#[tokio::test]
async fn a_list_can_be_deleted_while_it_is_read() {
    let relay = stateful().start().await;
    let mut kept = Vec::new();
    for text in ["a", "b", "c"] {
        let mut body = Dialect::Chat.body(text);
        body["store"] = true.into();
        let made = relay.post("/v1/chat/completions", &body).await.json();
        kept.push(made["id"].as_str().expect("an id").to_owned());
    }
    let mut after = String::new();
    for id in &kept {
        let page = relay.get(&format!("/v1/chat/completions?limit=1{after}")).await.json();
        assert_eq!(page["data"][0]["id"], **id);
        delete(&relay, &format!("/v1/chat/completions/{id}")).await;
        after = format!("&after={id}");
    }
    let made = relay
        .post(
            "/v1/conversations",
            &json!({"items": [
        {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}),
        )
        .await
        .json();
    let items = format!("/v1/conversations/{}/items", made["id"].as_str().expect("an id"));
    let first = relay.get(&format!("{items}?limit=1")).await.json();
    let id = first["last_id"].as_str().expect("an id");
    delete(&relay, &format!("{items}/{id}")).await;
    let second = relay.get(&format!("{items}?limit=1&after={id}")).await.json();
    assert_eq!(second["data"][0]["content"][0]["text"], "a");
}
