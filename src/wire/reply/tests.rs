//! Every mixture of events must give the same answer, streamed and collected.

use expect_test::{Expect, expect};

use super::*;
use crate::wire::{reply::heard::Answer, sse::Splitter, tools::ToolNames};

mod whole;

/// An event of the stream: its name and its `data` without `type`.
fn event(name: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!("event: {name}\ndata: {{\"type\":\"{name}\"{comma}{members}}}\n\n")
}

fn created() -> String {
    event(
        "response.created",
        r#""response":{"id":"resp_1","created_at":17,"model":"gpt-5.5","output":[]}"#,
    )
}

fn completed() -> String {
    event(
        "response.completed",
        r#""response":{"id":"resp_1","created_at":17,"model":"gpt-5.5","output":[],"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}"#,
    )
}

/// What the upstream has to call a tool named `long.name`.
fn renamed() -> String {
    ToolNames::default().upstream("long.name").into_owned()
}

fn settings() -> chat::Settings {
    let mut names = ToolNames::default();
    names.upstream("long.name");
    chat::Settings {
        id: "chatcmpl-1".into(),
        model: "asked".into(),
        created: 5,
        include_usage: true,
        legacy_function: false,
        reasoning: chat::Reasoning::Content,
        has_tier: false,
        names,
    }
}

fn streamed(events: &str) -> String {
    let mut chunks = chat::Chunks::new(settings());
    let mut reader = Reader::default();
    let end = reader.read_run(events.as_bytes(), &mut chunks);
    match end {
        Ok(Progress::Ended(end)) => chunks.end(&end),
        other => panic!("{other:?}"),
    }
    String::from_utf8(chunks.take()).expect("UTF-8")
}

fn collected(events: &str) -> String {
    let mut completion = chat::Completion::new(settings());
    match Reader::default().read_run(events.as_bytes(), &mut completion) {
        Ok(Progress::Ended(end)) => String::from_utf8(completion.finish(&end)).expect("UTF-8"),
        other => panic!("{other:?}"),
    }
}

/// Both ways give `text` and `calls`.
fn check(events: &[String], text: &str, calls: &[(&str, &str)]) {
    let answer = answer(&events.concat());
    assert_eq!(answer.content, text);
    let found: Vec<_> = answer
        .calls
        .iter()
        .map(|[id, _, name, arguments]| (format!("{id} \"{name}\""), arguments.clone()))
        .collect();
    let expected: Vec<_> =
        calls.iter().map(|(call, arguments)| (call.to_string(), arguments.to_string())).collect();
    assert_eq!(found, expected);
}

/// What a chat client gets of `events`, streamed and collected alike.
fn answer(events: &str) -> Answer {
    let stream = format!("{}{events}{}", created(), completed());
    let answer = Answer::of_chunks(streamed(&stream).as_bytes());
    let collected = Answer::of_completion(collected(&stream).as_bytes());
    assert_eq!(collected, answer, "collected and streamed");
    answer
}

fn text_delta(index: u32, delta: &str) -> String {
    event(
        "response.output_text.delta",
        &format!(
            r#""item_id":"msg_{index}","output_index":{index},"content_index":0,"delta":"{delta}""#
        ),
    )
}

fn text_done(index: u32, text: &str) -> String {
    event(
        "response.output_text.done",
        &format!(
            r#""item_id":"msg_{index}","output_index":{index},"content_index":0,"text":"{text}""#
        ),
    )
}

fn message_done(index: u32, text: &str) -> String {
    event(
        "response.output_item.done",
        &format!(
            r#""output_index":{index},"item":{{"id":"msg_{index}","type":"message","role":"assistant","content":[{{"type":"output_text","text":"{text}","annotations":[]}}]}}"#
        ),
    )
}

/// All events of a message, as the upstream usually sends them.
fn message_events(index: u32, text: &str) -> String {
    let part = |name: &str, text: &str| {
        let part = format!(r#"{{"type":"output_text","text":"{text}","annotations":[]}}"#);
        let members = format!(r#""content_index":0,"part":{part}"#);
        of_item(&format!("response.content_part.{name}"), "msg", index, &members)
    };
    let added = format!(
        r#""output_index":{index},"item":{{"id":"msg_{index}","type":"message","role":"assistant","content":[]}}"#
    );
    [
        event("response.output_item.added", &added),
        part("added", ""),
        text_delta(index, text),
        text_done(index, text),
        part("done", text),
        message_done(index, text),
    ]
    .concat()
}

#[test]
fn text_arrives_once_in_whatever_form() {
    let (a, b) = (text_delta(0, "Caf\\u00e9 "), text_delta(0, "\\\"x\\\""));
    let (done, item) = (text_done(0, "Café \\\"x\\\""), message_done(0, "Caf\\u00e9 \\\"x\\\""));
    let text = "Café \"x\"";
    for events in [
        vec![&a, &b],
        vec![&a, &b, &done],
        vec![&a, &b, &done, &item],
        vec![&a, &item],
        vec![&a, &done, &item],
        vec![&done, &item],
        vec![&item],
        vec![&item, &item],
    ] {
        check(&events.into_iter().cloned().collect::<Vec<_>>(), text, &[]);
    }
}

#[test]
fn messages_of_one_answer_stay_apart() {
    check(
        &[text_delta(0, "Looking."), message_done(0, "Looking."), text_delta(1, "Found.")],
        "Looking.\n\nFound.",
        &[],
    );
}

fn call_added(index: u32, name: &str) -> String {
    event(
        "response.output_item.added",
        &format!(
            r#""output_index":{index},"item":{{"id":"fc_{index}","type":"function_call","status":"in_progress","arguments":"","call_id":"call_{index}","name":"{name}"}}"#
        ),
    )
}

fn arguments(kind: &str, index: u32, text: &str) -> String {
    let field = if kind == "delta" { "delta" } else { "arguments" };
    event(
        &format!("response.function_call_arguments.{kind}"),
        &format!(r#""item_id":"fc_{index}","output_index":{index},"{field}":"{text}""#),
    )
}

fn call_done(index: u32, name: &str, text: &str) -> String {
    event(
        "response.output_item.done",
        &format!(
            r#""output_index":{index},"item":{{"id":"fc_{index}","type":"function_call","status":"completed","arguments":"{text}","call_id":"call_{index}","name":"{name}"}}"#
        ),
    )
}

#[test]
fn arguments_arrive_once_in_whatever_form() {
    let added = call_added(0, "f");
    let (a, b) = (arguments("delta", 0, "{\\\"a\\\""), arguments("delta", 0, ":1}"));
    let done = arguments("done", 0, "{\\\"a\\\":1}");
    let item = call_done(0, "f", "{\\\"a\\\":1}");
    for events in [
        vec![&added, &a, &b],
        vec![&added, &a, &b, &done, &item],
        vec![&added, &a, &item],
        vec![&added, &done, &item],
        vec![&added, &done],
        vec![&added, &item],
        vec![&item],
        vec![&a, &b, &item],
    ] {
        let events: Vec<_> = events.into_iter().cloned().collect();
        check(&events, "", &[("call_0 \"f\"", "{\"a\":1}")]);
    }
}

#[test]
fn interleaved_calls_keep_their_own_arguments() {
    let strip =
        |event: String| event.replace("\"output_index\":0,", "").replace("\"output_index\":1,", "");
    let events = [
        call_added(0, "f"),
        call_added(1, &renamed()),
        arguments("delta", 1, "{"),
        arguments("delta", 0, "["),
        arguments("delta", 1, "}"),
        arguments("delta", 0, "]"),
        call_done(1, &renamed(), "{}"),
        call_done(0, "f", "[]"),
    ];
    let calls = [("call_0 \"f\"", "[]"), ("call_1 \"long.name\"", "{}")];
    check(&events, "", &calls);
    check(&events.map(strip), "", &calls);
}

#[test]
fn an_older_backend_puts_everything_into_the_last_event() {
    let stream = completed().replace(
        r#""output":[]"#,
        r#""output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}]"#,
    );
    for events in [String::new(), text_delta(0, "hi")] {
        let whole = [created(), events, stream.clone()].concat();
        assert_eq!(Answer::of_chunks(streamed(&whole).as_bytes()).content, "hi");
        let collected = collected(&whole);
        assert_eq!(Answer::of_completion(collected.as_bytes()).content, "hi");
    }
}

/// An event of item `index`, which is called `kind_index`.
fn of_item(name: &str, kind: &str, index: u32, members: &str) -> String {
    event(name, &format!(r#""item_id":"{kind}_{index}","output_index":{index},{members}"#))
}

fn thought(form: &str, part: u32, text: &str) -> String {
    let field = if form == "delta" { "delta" } else { "text" };
    let name = format!("response.reasoning_summary_text.{form}");
    of_item(&name, "rs", 0, &format!(r#""summary_index":{part},"{field}":"{text}""#))
}

fn reasoning_done(members: &str) -> String {
    let item = format!(r#""output_index":0,"item":{{"id":"rs_0","type":"reasoning",{members}}}"#);
    event("response.output_item.done", &item)
}

#[test]
fn thoughts_arrive_once_in_whatever_form() {
    let both =
        r#""summary":[{"type":"summary_text","text":"one"},{"type":"summary_text","text":"two"}]"#;
    let raw = r#""summary":[],"content":[{"type":"reasoning_text","text":"raw"}]"#;
    let raw_delta =
        of_item("response.reasoning_text.delta", "rs", 0, r#""content_index":0,"delta":"raw""#);
    let (one, two) = (thought("delta", 0, "one"), thought("delta", 1, "two"));
    let (one_done, two_done) = (thought("done", 0, "one"), thought("done", 1, "two"));
    let all = "one\n\ntwo";
    for (events, expected) in [
        (vec![&one, &two], all),
        (vec![&one, &one_done, &two, &two_done], all),
        (vec![&one, &two, &one_done, &two_done], all),
        (vec![&one_done, &two_done], all),
        (vec![&thought("delta", 0, "on"), &one_done, &two], all),
        (vec![&one, &reasoning_done(both)], all),
        (vec![&one, &two, &one_done, &two_done, &reasoning_done(both)], all),
        (vec![&reasoning_done(both), &reasoning_done(both)], all),
        (vec![&reasoning_done(raw)], "raw"),
        (vec![&raw_delta, &reasoning_done(raw)], "raw"),
        (vec![&one, &reasoning_done(raw)], "one"),
        (vec![&reasoning_done(r#""summary":[]"#)], ""),
    ] {
        let events: String = events.into_iter().map(String::as_str).collect();
        let answer = answer(&[&events, &*text_delta(1, "hi")].concat());
        assert_eq!((&*answer.reasoning, &*answer.content), (expected, "hi"), "{events}");
    }
}

#[test]
fn a_refusal_arrives_once_in_whatever_form() {
    let delta = of_item("response.refusal.delta", "msg", 0, r#""content_index":0,"delta":"No""#);
    let done = of_item("response.refusal.done", "msg", 0, r#""content_index":0,"refusal":"No.""#);
    let item = event(
        "response.output_item.done",
        r#""output_index":0,"item":{"id":"msg_0","type":"message","content":[{"type":"refusal","refusal":"No."}]}"#,
    );
    for events in [
        vec![&delta, &done],
        vec![&done],
        vec![&item],
        vec![&delta, &item],
        vec![&delta, &done, &item],
    ] {
        let events: String = events.into_iter().map(String::as_str).collect();
        let answer = answer(&events);
        assert_eq!((&*answer.refusal, &*answer.content), ("No.", ""), "{events}");
    }
}

#[test]
fn parts_of_a_message_arrive_once_in_whatever_order() {
    let part = |form: &str, part: u32, text: &str| {
        let field = if form == "delta" { "delta" } else { "text" };
        let name = format!("response.output_text.{form}");
        of_item(&name, "msg", 0, &format!(r#""content_index":{part},"{field}":"{text}""#))
    };
    let item = event(
        "response.output_item.done",
        r#""output_index":0,"item":{"id":"msg_0","type":"message","content":[{"type":"output_text","text":"A"},{"type":"output_text","text":"B"}]}"#,
    );
    let (a, b) = (part("delta", 0, "A"), part("delta", 1, "B"));
    for events in [
        vec![&a, &b],
        vec![&a, &b, &part("done", 0, "A"), &part("done", 1, "B")],
        vec![&a, &b, &part("done", 0, "A"), &part("done", 1, "B"), &item],
        vec![&part("done", 0, "A"), &part("done", 1, "B"), &item],
        vec![&a, &item],
        vec![&item],
    ] {
        let events: Vec<_> = events.into_iter().cloned().collect();
        check(&events, "AB", &[]);
    }
}

/// A message that cites "x" of its own text, which is "a x".
fn citation(index: u32) -> String {
    let cited = r#"{"type":"url_citation","start_index":2,"end_index":3,"url":"u","title":"t"}"#;
    of_item(
        "response.output_text.annotation.added",
        "msg",
        index,
        &format!(r#""content_index":0,"annotation_index":0,"annotation":{cited}"#),
    )
}

fn cited_done(index: u32) -> String {
    let cited = r#"{"type":"url_citation","start_index":2,"end_index":3,"url":"u","title":"t"}"#;
    message_done(index, "a x")
        .replace(r#""annotations":[]"#, &format!(r#""annotations":[{cited}]"#))
}

#[test]
fn a_citation_arrives_once_and_points_at_its_words() {
    let (said, text) = (text_delta(0, "é \\ud83d\\ude00 "), text_delta(1, "a x"));
    for (events, n_cited) in [
        (vec![text_delta(0, "a x"), citation(0), cited_done(0)], 1),
        (vec![text_delta(0, "a x"), cited_done(0)], 1),
        (vec![cited_done(0), cited_done(0)], 1),
        (vec![citation(0), text_delta(0, "a x"), cited_done(0)], 1),
        (vec![said.clone(), text.clone(), citation(1), cited_done(1)], 1),
        (vec![said.clone(), cited_done(1)], 1),
        (vec![said, citation(1), text, cited_done(1)], 1),
        (
            vec![
                text_delta(0, "a x"),
                text_delta(1, "a x"),
                citation(0),
                citation(1),
                cited_done(0),
                cited_done(1),
            ],
            2,
        ),
    ] {
        for reasoning in [chat::Reasoning::Content, chat::Reasoning::Think] {
            let thoughts =
                thought("delta", 0, "hm é").replace("\"output_index\":0", "\"output_index\":9");
            let stream = [created(), thoughts, events.concat(), completed()].concat();
            let settings = chat::Settings { reasoning, ..settings() };
            let (mut chunks, mut completion) =
                (chat::Chunks::new(settings.clone()), chat::Completion::new(settings));
            let end = match Reader::default().read_run(stream.as_bytes(), &mut chunks) {
                Ok(Progress::Ended(end)) => end,
                other => panic!("{other:?}"),
            };
            chunks.end(&end);
            Reader::default().read_run(stream.as_bytes(), &mut completion).expect("readable");
            let streamed = Answer::of_chunks(&chunks.take());
            assert_eq!(streamed, Answer::of_completion(&completion.finish(&end)));
            assert_eq!(streamed.annotations.len(), n_cited, "{stream}");
            for cited in &streamed.annotations {
                let place = |name: &str| {
                    let place = cited["url_citation"][name].as_u64().expect("a place");
                    usize::try_from(place).expect("small")
                };
                let (start, end) = (place("start_index"), place("end_index"));
                let words: String =
                    streamed.content.chars().skip(start).take(end - start).collect();
                assert_eq!(words, "x", "{reasoning:?} {} {cited}", streamed.content);
            }
        }
    }
}

#[test]
fn an_older_client_gets_one_call() {
    let settings = chat::Settings { legacy_function: true, ..settings() };
    let events = [
        call_added(0, "f"),
        call_added(1, "g"),
        arguments("delta", 0, "{"),
        arguments("delta", 1, "["),
        arguments("delta", 0, "}"),
        arguments("delta", 1, "]"),
    ];
    let stream = [created(), events.concat(), completed()].concat();
    let (mut chunks, mut completion) =
        (chat::Chunks::new(settings.clone()), chat::Completion::new(settings));
    Reader::default().read_run(stream.as_bytes(), &mut chunks).expect("readable");
    Reader::default().read_run(stream.as_bytes(), &mut completion).expect("readable");
    let chunks = String::from_utf8(chunks.take()).expect("UTF-8");
    let pieces: Vec<_> = chunks.matches(r#""function_call":{"arguments":""#).collect();
    assert_eq!((pieces.len(), chunks.matches(r#""name":"#).count()), (2, 1), "{chunks}");
    let collected = String::from_utf8(completion.finish(&End::default())).expect("UTF-8");
    assert!(collected.contains(r#""function_call":{"name":"f","arguments":"{}"}"#), "{collected}");
}

#[test]
fn thoughts_stand_where_they_are_wanted() {
    let thought = |part: u32, text: &str| {
        event(
            "response.reasoning_summary_text.delta",
            &format!(
                r#""item_id":"rs_1","output_index":0,"summary_index":{part},"delta":"{text}""#
            ),
        )
    };
    let events = [thought(0, "one"), thought(1, "two"), text_delta(1, "said")].concat();
    let stream = [created(), events, completed()].concat();
    for (reasoning, field, content, thoughts) in [
        (chat::Reasoning::Content, "reasoning_content", "said", "one\n\ntwo"),
        (chat::Reasoning::Plain, "reasoning", "said", "one\n\ntwo"),
        (chat::Reasoning::Think, "-", "<think>\none\n\ntwo\n</think>\n\nsaid", ""),
        (chat::Reasoning::Hidden, "-", "said", ""),
    ] {
        let settings = chat::Settings { reasoning, ..settings() };
        let mut completion = chat::Completion::new(settings.clone());
        let end = match Reader::default().read_run(stream.as_bytes(), &mut completion) {
            Ok(Progress::Ended(end)) => end,
            other => panic!("{other:?}"),
        };
        let body: serde_json::Value =
            serde_json::from_slice(&completion.finish(&end)).expect("JSON");
        let message = &body["choices"][0]["message"];
        assert_eq!(message["content"], content);
        assert_eq!(message[field].as_str().unwrap_or(""), thoughts);
        let mut chunks = chat::Chunks::new(settings);
        Reader::default().read_run(stream.as_bytes(), &mut chunks).expect("readable");
        let chunks = String::from_utf8(chunks.take()).expect("UTF-8");
        let joined = |field: &str| -> String {
            let data = chunks.lines().filter_map(|line| line.strip_prefix("data: "));
            let chunks =
                data.map(|data| serde_json::from_str::<serde_json::Value>(data).expect("JSON"));
            chunks
                .filter_map(|chunk| Some(chunk["choices"][0]["delta"][field].as_str()?.to_owned()))
                .collect()
        };
        assert_eq!((joined("content").as_str(), joined(field).as_str()), (content, thoughts));
    }
}

#[test]
fn chunks_are_written_as_the_document_wants_them() {
    let stream = format!("{}{}{}", created(), text_delta(0, "a\\n\\u00e9"), completed());
    expect![[r#"
        data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt-5.5","choices":[{"index":0,"delta":{"role":"assistant","content":"a\n\u00e9"},"logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt-5.5","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

        data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt-5.5","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

        data: [DONE]

    "#]]
    .assert_eq(&streamed(&stream));
}

fn ending(last: &str, expected: &Expect) {
    let stream = format!("{}{last}", created());
    let mut completion = chat::Completion::new(settings());
    let text = match Reader::default().read_run(stream.as_bytes(), &mut completion) {
        Ok(Progress::Ended(end)) => String::from_utf8(completion.finish(&end)).expect("UTF-8"),
        other => format!("{other:?}"),
    };
    expected.assert_eq(&text);
}

#[test]
fn every_ending_is_told_apart() {
    ending(
        &event(
            "response.incomplete",
            r#""response":{"incomplete_details":{"reason":"max_output_tokens"}}"#,
        ),
        &expect![[
            r#"{"id":"chatcmpl-1","object":"chat.completion","created":17,"model":"gpt-5.5","choices":[{"index":0,"message":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":"length"}]}"#
        ]],
    );
    ending(
        &event(
            "response.incomplete",
            r#""response":{"incomplete_details":{"reason":"content_filter"}}"#,
        ),
        &expect![[
            r#"{"id":"chatcmpl-1","object":"chat.completion","created":17,"model":"gpt-5.5","choices":[{"index":0,"message":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":"content_filter"}]}"#
        ]],
    );
    ending(
        &event("response.failed", r#""response":{"error":{"code":"slow_down","message":"m"}}"#),
        &expect![[
            r#"Ok(Failed(b"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"slow_down\",\"message\":\"m\"}}}"))"#
        ]],
    );
    ending("", &expect!["Ok(More)"]);
    ending(
        "event: response.output_text.delta\ndata: {\"delta\":3}\n\n",
        &expect![[r#"Err(Unreadable { event: "response.output_text.delta" })"#]],
    );
}

fn forwarded(stream: &str) -> String {
    let mut forward = responses::Forward::new(responses::Wanted::default(), settings().names);
    let run =
        Splitter::new(1 << 20).push(Bytes::copy_from_slice(stream.as_bytes())).expect("short");
    let (out, progress) = forward.run(&run);
    progress.expect("readable");
    String::from_utf8(out.to_vec()).expect("UTF-8")
}

#[test]
fn a_forwarded_stream_changes_only_where_it_must() {
    let deltas = message_events(0, "hi");
    assert_eq!(forwarded(&deltas), deltas);
    assert_eq!(forwarded(&event("codex.rate_limits", r#""a":1"#)), "");
    let late = text_delta(1, "late");
    let created = event(
        "response.created",
        r#""response":{"instructions":"\"safety_identifier\":\"x\"","safety_identifier":"user-1"}"#,
    );
    let stream = [created.clone(), deltas.clone(), completed(), late].concat();
    let completed = completed().replace(
        r#""output":[]"#,
        r#""output":[{"id":"msg_0","type":"message","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]}]"#,
    );
    let created = created.replace(r#""safety_identifier":"user-1""#, r#""safety_identifier":null"#);
    assert_eq!(forwarded(&stream), [created, deltas, completed].concat());
}

#[test]
fn what_never_came_whole_is_put_together_in_the_last_event() {
    let reasoning = event(
        "response.output_item.done",
        r#""output_index":0,"item":{"id":"rs_0","type":"reasoning","summary":[]}"#,
    );
    for (events, expected) in [
        (vec![call_added(0, "f"), arguments("delta", 0, "{}")], "function_call f {}"),
        (vec![call_added(0, "f"), arguments("done", 0, "{}")], "function_call f {}"),
        (vec![reasoning, text_delta(1, "hi")], "reasoning, message hi"),
        (
            vec![text_delta(0, "one"), message_done(0, "one"), text_delta(1, "two")],
            "message one, message two",
        ),
        (vec![call_done(0, "f", "{}"), call_done(0, "f", "{}")], "function_call f {}"),
        (vec![text_delta(0, "h"), text_done(0, "hi"), message_done(0, "hi")], "message hi"),
    ] {
        let stream = [created(), events.concat(), completed()].concat();
        let mut collect = responses::Collect::default();
        collect.read_run(stream.as_bytes()).expect("readable");
        let body: serde_json::Value = serde_json::from_slice(&collect.finish()).expect("JSON");
        assert_eq!(described(&body["output"]), expected, "collected");
        let streamed = forwarded(&stream);
        let last = streamed.lines().rfind(|line| line.starts_with("data: ")).expect("an event");
        let last: serde_json::Value = serde_json::from_str(&last[6..]).expect("JSON");
        assert_eq!(described(&last["response"]["output"]), expected, "streamed");
    }
}

fn described(output: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
    let items = output.as_array().expect("an array").iter().map(|item| {
        let parts = [
            text(&item["type"]),
            text(&item["name"]),
            text(&item["arguments"]),
            text(&item["content"][0]["text"]),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    });
    items.collect::<Vec<_>>().join(", ")
}

#[test]
fn an_end_mark_that_is_none_is_not_passed_on() {
    let message = message_events(0, "hi");
    let cut = [&created(), &*message, "data: [DONE]\n\n"].concat();
    assert_eq!(forwarded(&cut), [created(), message.clone()].concat());
    for noise in ["data: {bad\n\n", "data: {bad}\n\n", "event: ping\ndata: ping\n\n", "data: 5\n\n"]
    {
        assert_eq!(forwarded(&[noise, &message].concat()), message);
    }
    let failed = completed().replace(r#""id":"resp_1""#, r#""id":"resp_1","status":"failed""#);
    let mut completion = chat::Completion::new(settings());
    let progress = Reader::default().read_run(failed.as_bytes(), &mut completion);
    assert!(matches!(progress, Ok(Progress::Failed(_))), "{progress:?}");
}

#[test]
fn a_renamed_tool_is_called_by_its_own_name() {
    let call = |name: &str| {
        [
            call_added(0, name),
            arguments("delta", 0, "{}"),
            arguments("done", 0, "{}"),
            call_done(0, name, "{}"),
        ]
        .concat()
    };
    let upstream = call(&renamed());
    assert_eq!(forwarded(&upstream), call("long.name"));
    let mut collect = responses::Collect::new(settings().names);
    let stream = [created(), upstream, completed()].concat();
    collect.read_run(stream.as_bytes()).expect("readable");
    let body: serde_json::Value = serde_json::from_slice(&collect.finish()).expect("JSON");
    assert_eq!(body["output"][0]["name"], "long.name");
}

#[test]
fn a_collected_response_has_its_items_in_order() {
    let body = |events: &[String]| {
        let mut collect = responses::Collect::default();
        let stream = format!("{}{}{}", created(), events.concat(), completed());
        let progress = collect.read_run(stream.as_bytes()).expect("readable");
        assert!(matches!(progress, Progress::Ended(_)), "{progress:?}");
        serde_json::from_slice::<serde_json::Value>(&collect.finish()).expect("JSON")
    };
    let whole = body(&[call_done(1, "f", "{}"), message_done(0, "hi")]);
    assert_eq!(whole["output"][0]["id"], "msg_0");
    assert_eq!(whole["output"][1]["name"], "f");
    let only_deltas = body(&[text_delta(0, "a\\n"), text_delta(0, "b")]);
    assert_eq!(only_deltas["output"][0]["content"][0]["text"], "a\nb");
    assert_eq!(body(&[])["output"].as_array().map(Vec::len), Some(0));
}
