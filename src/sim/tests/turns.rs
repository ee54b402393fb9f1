//! What is said in a turn, and in which order it comes.

use super::*;

const TEXT: &str = "output_item.added content_part.added output_text.delta*3 output_text.done \
    content_part.done output_item.done";

#[tokio::test]
async fn a_short_answer_comes_in_several_deltas() {
    let client = Client::new();
    let heard = client.say("How are you?").await;
    assert_eq!(heard.status, 200);
    assert_eq!(heard.header("content-type"), "text/event-stream");
    assert_eq!(heard.said(), "Hello from the simulator. You said: How are you?");
    assert_eq!(
        heard.order(),
        "created in_progress output_item.added content_part.added output_text.delta*9 \
         output_text.done content_part.done output_item.done completed"
    );
    let numbers: Vec<_> =
        heard.events().iter().map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..17).map(Some).collect::<Vec<_>>());
    assert!(
        heard.text().starts_with("event: response.created\ndata: {\"type\":\"response.created\",")
    );
    assert!(heard.text().ends_with("}\n\n"));
}

#[tokio::test]
async fn the_response_object_echoes_the_request() {
    let client = Client::new();
    let body = turn("hi");
    let heard = client.ask(&body).await;
    let events = heard.events();
    for event in [&events[0], &events[1]] {
        let response = &event["response"];
        assert_eq!(response["instructions"], "Be brief.");
        assert_eq!(response["tools"], body["tools"]);
        assert_eq!(
            (&response["status"], &response["service_tier"]),
            (&"in_progress".into(), &"auto".into())
        );
        assert_eq!(response["usage"], Value::Null);
    }
    let done = &heard.last()["response"];
    assert_eq!((&done["status"], &done["service_tier"]), (&"completed".into(), &"default".into()));
    assert_eq!(done["output"], list![]);
    assert_eq!(done["id"], events[0]["response"]["id"]);
    assert_eq!(done["usage"]["output_tokens"], 10);
    assert!(text(done, "safety_identifier").starts_with("user-"));
}

#[tokio::test]
async fn every_kind_of_output_has_its_order() {
    for (marker, expected) in [
        ("say: one two three", TEXT.to_owned()),
        ("deltas: 3", TEXT.to_owned()),
        ("reasoning-silent][sim say: a b c", format!("output_item.added output_item.done {TEXT}")),
        (
            "reasoning: 1][sim say: a b c",
            format!("output_item.added reasoning_summary_part.added reasoning_summary_text.delta*5 reasoning_summary_text.done reasoning_summary_part.done output_item.done {TEXT}"),
        ),
        ("commentary][sim say: a b c", format!("{} {TEXT}", TEXT.replace("*3", "*6"))),
        (
            "refusal",
            "output_item.added content_part.added refusal.delta*5 refusal.done content_part.done output_item.done".to_owned(),
        ),
        (
            "image][sim compaction",
            "output_item.added image_generation_call.in_progress image_generation_call.generating image_generation_call.partial_image image_generation_call.completed output_item.done output_item.added content_part.added output_text.delta*4 output_text.done content_part.done output_item.done output_item.added output_item.done".to_owned(),
        ),
        (
            "call",
            "output_item.added function_call_arguments.delta*3 function_call_arguments.done output_item.done".to_owned(),
        ),
        (
            "custom",
            "output_item.added custom_tool_call_input.delta*4 custom_tool_call_input.done output_item.done".to_owned(),
        ),
        ("arguments-only-done", "output_item.added function_call_arguments.done output_item.done".to_owned()),
    ] {
        let heard = Client::new().say(&format!("[sim {marker}]")).await;
        assert_eq!(heard.order(), format!("created in_progress {expected} completed"), "{marker}");
    }
}

#[tokio::test]
async fn a_search_cites_what_it_found() {
    let mut body = turn("[sim search]");
    put(&mut body, "include", list!["web_search_call.action.sources"]);
    let heard = Client::new().ask(&body).await;
    let items = heard.items();
    assert_eq!(
        items.iter().map(|item| text(item, "type")).collect::<Vec<_>>(),
        ["web_search_call", "web_search_call", "message"]
    );
    assert_eq!(items[0]["action"]["sources"][0]["url"], "https://example.com/simulator");
    assert!(heard.order().contains("web_search_call.in_progress web_search_call.searching web_search_call.completed output_item.done"));
    assert!(heard.order().contains("output_text.annotation.added output_text.done"));
    let part = &items[2]["content"][0];
    let citation = &part["annotations"][0];
    let place =
        |key: &str| usize::try_from(citation[key].as_u64().expect("number")).expect("small");
    assert_eq!(&text(part, "text")[place("start_index")..place("end_index")], "(example.com)");
}

#[tokio::test]
async fn reasoning_is_sealed_anew_and_may_be_sent_back() {
    let client = Client::new();
    let heard = client.say("[sim reasoning] [sim filled]").await;
    let events = heard.events();
    let added = text(&events[2]["item"], "encrypted_content");
    let item = &heard.items()[0];
    let done = text(item, "encrypted_content");
    let repeated = &heard.last()["response"]["output"][0];
    assert!(added.len() < done.len(), "the first is shorter");
    assert_ne!(done, text(repeated, "encrypted_content"));
    assert_eq!(item["summary"].as_array().map(Vec::len), Some(2));

    for sealed in [item, repeated] {
        let mut body = turn("and now?");
        let user = body["input"][0].clone();
        put(&mut body, "input", list![sealed.clone(), user]);
        assert_eq!(client.ask(&body).await.status, 200);
        let other = Client::of("second", &[]);
        assert_eq!(other.ask(&body).await.json()["error"]["code"], "invalid_encrypted_content");
    }

    let mut body = turn("[sim reasoning]");
    put(&mut body, "include", list![]);
    assert_eq!(client.ask(&body).await.items()[0].get("encrypted_content"), None);
}

#[tokio::test]
async fn parallel_calls_are_interleaved() {
    let heard = Client::new().say("[sim calls: 3]").await;
    let names: Vec<_> = heard.items().iter().map(|item| text(item, "name").to_owned()).collect();
    assert_eq!(names, ["weather", "weather", "patch"], "in the order in which they are done");
    let indexes: Vec<_> = heard
        .events()
        .iter()
        .filter(|event| text(event, "type") == "response.function_call_arguments.delta")
        .filter_map(|event| event["output_index"].as_u64())
        .collect();
    assert_eq!(indexes, [0, 2, 0, 2, 0, 2]);
    let mut body = turn("[sim calls: 3]");
    put(&mut body, "parallel_tool_calls", false);
    assert_eq!(Client::new().ask(&body).await.items().len(), 1);
}

#[tokio::test]
async fn calls_carry_arguments_that_fit() {
    for (marker, item) in [
        (
            "call",
            r#"{"type":"function_call","status":"completed","name":"weather","arguments":"{\"city\":\"text\"}"}"#,
        ),
        (
            "call: weather {\"city\":[\"Ulm\"]}",
            r#"{"type":"function_call","status":"completed","name":"weather","arguments":"{\"city\":[\"Ulm\"]}"}"#,
        ),
        (
            "call: made_up",
            r#"{"type":"function_call","status":"completed","name":"made_up","arguments":"{}"}"#,
        ),
        (
            "custom",
            r#"{"type":"custom_tool_call","status":"completed","name":"patch","input":"hello from the simulator"}"#,
        ),
    ] {
        let mut heard = Client::new().say(&format!("[sim {marker}]")).await.items().remove(0);
        let map = heard.as_object_mut().expect("object");
        let id = map.shift_remove("id").expect("id");
        let call_id = map.shift_remove("call_id").expect("call_id");
        let prefix = if marker == "custom" { "ctc_" } else { "fc_" };
        assert!(id.as_str().is_some_and(|id| id.starts_with(prefix)));
        assert!(call_id.as_str().is_some_and(|id| id.starts_with("call_")));
        assert_eq!(heard.to_string(), item);
    }
}

#[tokio::test]
async fn a_conversation_with_tools_ends() {
    let client = Client::new();
    let mut body = turn("[sim calls: 2] [sim say: both]");
    let first = client.ask(&body).await;
    let mut input = vec![body["input"][0].clone()];
    for item in first.items().into_iter().filter(|item| text(item, "type") != "message") {
        let kind = format!("{}_output", text(&item, "type"));
        let output = object! {"type": kind, "call_id": text(&item, "call_id"), "output": "sunny"};
        input.extend([item, output]);
    }
    put(&mut body, "input", input.clone());
    let outputs_apart = client.ask(&body).await;
    assert_eq!(outputs_apart.said(), "The tool said: sunny");
    input.sort_by_key(|item| text(item, "type").ends_with("_output"));
    put(&mut body, "input", input);
    assert_eq!(client.ask(&body).await.said(), "The tool said: sunny; sunny");
    put(&mut body, "tool_choice", "required");
    assert_eq!(client.ask(&body).await.said(), "The tool said: sunny; sunny");
}

#[tokio::test]
async fn a_forced_choice_is_a_call() {
    for (choice, name) in [
        (r#""required""#, "weather"),
        (r#"{"type":"function","name":"weather"}"#, "weather"),
        (r#"{"type":"custom","name":"patch"}"#, "patch"),
        (
            r#"{"type":"allowed_tools","mode":"required","tools":[{"type":"custom","name":"patch"}]}"#,
            "patch",
        ),
    ] {
        let mut body = turn("hi");
        put(&mut body, "tool_choice", serde_json::from_str::<Value>(choice).expect("JSON"));
        let items = Client::new().ask(&body).await.items();
        assert_eq!(items.iter().map(|item| text(item, "name")).collect::<Vec<_>>(), [name]);
    }
    let mut body = turn("[sim call]");
    put(&mut body, "tool_choice", "none");
    assert_eq!(Client::new().ask(&body).await.items()[0]["type"], "message");
}

#[tokio::test]
async fn formats_are_kept() {
    let format = r#"{"format":{"type":"json_schema","name":"a","schema":{"type":"object","properties":{"a":{"type":["string","null"]},"b":{"type":"array","items":{"type":"integer"}}},"required":["a","b"],"additionalProperties":false}}}"#;
    let mut body = turn("as json");
    put(&mut body, "text", serde_json::from_str::<Value>(format).expect("JSON"));
    assert_eq!(Client::new().ask(&body).await.said(), r#"{"a":"text","b":[1]}"#);
    put(&mut body, "text", object! {"format": object! {"type": "json_object"}});
    assert_eq!(Client::new().ask(&body).await.said(), r#"{"ok":true}"#);
}

#[tokio::test]
async fn tools_of_the_lite_form_are_found() {
    let tools = r#"{"type":"additional_tools","role":"developer","tools":[{"type":"namespace","name":"functions","tools":[{"type":"function","name":"shell","strict":false,"parameters":{"type":"object","properties":{}}}]}]}"#;
    let mut body = turn("[sim call]");
    let developer = object! {"role": "developer", "content": "Be brief."};
    let tools: Value = serde_json::from_str(tools).expect("JSON");
    let user = body["input"][0].clone();
    put(&mut body, "input", list![tools, developer, user]);
    let map = body.as_object_mut().expect("object");
    map.retain(|name, _| name != "tools" && name != "instructions");
    let items = Client::new().ask(&body).await.items();
    assert_eq!((text(&items[0], "name"), text(&items[0], "namespace")), ("shell", "functions"));
}

#[tokio::test]
async fn a_compaction_is_one_item() {
    let mut body = turn("hi");
    let trigger = object! {"type": "compaction_trigger"};
    let user = body["input"][0].clone();
    put(&mut body, "input", list![user, trigger]);
    let client = Client::of("first", &[("compaction_header", "optional")]);
    let items = client.ask(&body).await.items();
    assert_eq!(items.iter().map(|item| text(item, "type")).collect::<Vec<_>>(), ["compaction"]);
    let mut body = turn("go on");
    let user = body["input"][0].clone();
    put(&mut body, "input", list![items[0].clone(), user]);
    assert_eq!(client.ask(&body).await.status, 200);
}

#[tokio::test]
async fn output_is_capped_where_the_cap_is_enforced() {
    let mut body = turn("[sim deltas: 100]");
    put(&mut body, "max_output_tokens", 16);
    let heard = Client::new().ask(&body).await;
    assert_eq!(heard.said().len(), 64);
    let last = heard.last();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(last["response"]["usage"]["output_tokens"], 16);
    assert_eq!(heard.items()[0]["status"], "incomplete");
    put(&mut body, "max_output_tokens", 10_000);
    assert_eq!(Client::new().ask(&body).await.last()["type"], "response.completed");
}

#[tokio::test]
async fn unknown_markers_are_refused() {
    let heard = Client::new().say("[sim wat]").await;
    assert_eq!(heard.status, 400);
    assert_eq!(heard.json()["detail"], "the simulator knows no behavior \"wat\"");
}
