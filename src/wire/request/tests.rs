//! What all dialects promise, and the notation in which their tests read.

use std::fmt::Write;

use bytes::Bytes;
use expect_test::ExpectFile;

use super::{Before, Options, Translate, Translated, chat, completions, responses};
use crate::wire::{
    content::file::{Local, LocalFile},
    json::{Doc, Kind},
    read::Expect,
    reject::Reject,
};

/// The smallest picture there is: one transparent pixel.
pub const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=";

pub const DIALECTS: [(&str, Translate); 3] = [
    ("chat", chat::translate),
    ("responses", responses::translate),
    ("completions", completions::translate),
];

/// A store with one file of each kind.
pub fn files(id: &str) -> Option<Local> {
    let file = |name: &str, content_type: &str, content: &[u8]| {
        let content = Bytes::copy_from_slice(content);
        let (name, content_type) = (name.to_owned(), content_type.to_owned());
        Some(Local::File(LocalFile { name, content_type, bytes: content.len(), content }))
    };
    match id {
        "file_text" => file("a.md", "text/markdown", b"# \xff hi"),
        "file_pdf" => file("a.pdf", "application/pdf", b"%PDF-1"),
        "file_png" => file("a.jpg", "image/jpeg", b"\x89PNG\r\n\x1a\n"),
        "file_fake" => file("b.png", "image/png", b"<svg/>"),
        "file_zip" => file("a.zip", "application/zip", b"PK"),
        "file_full" => file("full.txt", "text/plain", &vec![b'x'; 1_000_000]),
        "file_over" => file("over.txt", "text/plain", &vec![b'x'; 1_000_001]),
        _ => None,
    }
}

pub const OPTIONS: Options<'static> = Options { files: &files, key: b"key", ..Options::PLAIN };

/// Holds a file of cases. A line that begins with `=` is a line of the result of the request above
/// it; `#` is a title; `PNG` is a small picture. `expand` completes the short forms of requests.
pub fn check_cases(file: &ExpectFile, translate: Translate, expand: fn(&str) -> String) {
    let cases = file.data();
    let mut result = String::new();
    for line in cases.lines().filter(|line| !line.starts_with('=')) {
        let _ = writeln!(result, "{line}");
        if !line.is_empty() && !line.starts_with('#') {
            let request = expand(line).replace("PNG", PNG);
            let shown = show(translate(request.as_bytes(), &OPTIONS)).replace(PNG, "PNG");
            shown.lines().for_each(|line| result += &["= ", line, "\n"].concat());
        }
    }
    file.assert_eq(&result);
}

/// What a translation gives, one field of the upstream request to a line. What is the same in
/// every request is checked and left out.
fn show(result: Result<Translated, Reject>) -> String {
    let translated = match result {
        Ok(translated) => translated,
        Err(Reject { status, message, param, code }) => {
            let [param, code] = [param.as_deref(), code].map(|it| it.unwrap_or("-"));
            return format!("{status:?} {param} {code}: {message}\n");
        }
    };
    let doc = upstream(translated.body());
    let own_key = format!("\"{}\"", translated.session);
    let mut lines = String::new();
    for entry in doc.root().entries() {
        let usual = match &*entry.name() {
            "model" => r#""m""#,
            "instructions" => r#"".""#,
            "input" => {
                r#"[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]"#
            }
            "store" => "false",
            "stream" => "true",
            "prompt_cache_key" => &own_key,
            "include" => r#"["reasoning.encrypted_content"]"#,
            _ => "",
        };
        if entry.value.raw() != usual.as_bytes() {
            let value = String::from_utf8_lossy(entry.value.raw());
            let _ = writeln!(lines, "{}: {value}", entry.name());
        }
    }
    if !translated.ignored.is_empty() {
        let _ = writeln!(lines, "ignored: {}", translated.ignored.join(", "));
    }
    lines
}

/// The upstream request in `body`, which has to be one.
pub fn upstream(body: &[u8]) -> Doc<'_> {
    const ALLOWED: &[&str] = &[
        "model",
        "instructions",
        "input",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "store",
        "stream",
        "include",
        "service_tier",
        "prompt_cache_key",
        "text",
        "client_metadata",
        "max_output_tokens",
    ];
    let text = String::from_utf8_lossy(body);
    serde_json::from_slice::<serde_json::Value>(body).expect(&text);
    // Which refuses duplicate keys.
    let doc = Doc::parse(body).expect(&text);
    let root = doc.root();
    assert!(root.entries().all(|entry| ALLOWED.contains(&&*entry.name())), "{text}");
    assert!(root.get("model").is_some_and(|model| model.kind() == Kind::String), "{text}");
    assert!(root.get("input").is_some_and(|input| input.kind() == Kind::Array), "{text}");
    assert_eq!(root.get("store").and_then(super::Value::as_bool), Some(false), "{text}");
    assert_eq!(root.get("stream").and_then(super::Value::as_bool), Some(true), "{text}");
    let instructions = root.get("instructions").and_then(super::Value::as_str);
    assert!(instructions.is_some_and(|text| !text.trim().is_empty()), "{text}");
    doc
}

/// Bodies in which every field that a dialect knows is set.
const FULL: [&str; 3] = [
    include_str!("cases/chat_full.json"),
    include_str!("cases/responses_full.json"),
    include_str!("cases/completions_full.json"),
];

/// One value of each kind, and some that are nearly right.
const OTHERS: &[&str] = &[
    "null",
    "true",
    "7",
    "-1",
    "1.5",
    "\"\"",
    "\"x\"",
    "[]",
    "{}",
    "[7]",
    "[{}]",
    "{\"type\":\"x\"}",
];

#[test]
fn a_full_request_of_each_dialect_is_translated() {
    for ((dialect, translate), full) in DIALECTS.into_iter().zip(FULL) {
        let translated = translate(full.as_bytes(), &OPTIONS);
        upstream(translated.expect(dialect).body());
    }
}

/// Every value of a full request replaced by every other kind of value: a refusal that says where,
/// or a request that the upstream takes.
#[test]
fn a_wrong_type_anywhere_is_refused_or_harmless() {
    for ((dialect, translate), full) in DIALECTS.into_iter().zip(FULL) {
        let doc = Doc::parse(full.as_bytes()).expect("valid");
        let mut values = vec![doc.root()];
        let mut n_refused = 0;
        while let Some(value) = values.pop() {
            values.extend(value.items());
            values.extend(value.entries().map(|entry| entry.value));
            let range = full.as_bytes().as_ptr_range();
            let start = value.raw().as_ptr().addr() - range.start.addr();
            let end = start + value.raw().len();
            for other in OTHERS {
                let body = [&full[..start], other, &full[end..]].concat();
                let place = format!("{dialect} {} = {other}", value.path());
                match translate(body.as_bytes(), &OPTIONS) {
                    Ok(translated) => drop(upstream(translated.body())),
                    Err(reject) => {
                        n_refused += 1;
                        let param = reject.param.unwrap_or_default();
                        let names = param.split_once(['.', '[']).map_or(&*param, |(top, _)| top);
                        let known = names.is_empty() || full.contains(&format!("\"{names}\""));
                        assert!(known, "{place}: {param}");
                        assert!(
                            param.is_empty() == value.path().is_empty() || !names.is_empty(),
                            "{place}"
                        );
                        assert!(!reject.message.is_empty() && reject.code.is_some(), "{place}");
                    }
                }
            }
        }
        assert!(n_refused > 300, "{dialect}: {n_refused}");
    }
}

/// Each parameter of the tables with a value of a wrong type is refused by its name.
#[test]
fn a_parameter_of_a_wrong_type_is_named() {
    use super::params::{CHAT_ROUTE, COMPLETIONS_ROUTE, RESPONSES_ROUTE, Rule};
    let tables = [CHAT_ROUTE, RESPONSES_ROUTE, COMPLETIONS_ROUTE].map(|(_, tables, _)| tables);
    for (((dialect, translate), full), tables) in DIALECTS.into_iter().zip(FULL).zip(tables) {
        let doc = Doc::parse(full.as_bytes()).expect("valid");
        for (name, rule) in tables.iter().copied().flatten() {
            let wrong: &[u8] =
                if matches!(rule, Rule::Stripped(Expect::Number)) { b"[7]" } else { b"1.5" };
            let mut body = Vec::new();
            let mut object = crate::wire::json::write::Object::open(&mut body);
            for entry in doc.root().entries().filter(|entry| !entry.key.is(name)) {
                object.raw(&entry.name(), entry.value.raw());
            }
            object.raw(name, wrong);
            object.close();
            let reject = translate(&body, &OPTIONS).expect_err(name);
            let param = reject.param.unwrap_or_default();
            assert_eq!(param, *name, "{dialect}");
        }
    }
}

/// What the tables say of a parameter is what happens to it.
#[test]
fn a_parameter_is_told_exactly_if_it_is_left_out() {
    use super::params::{CHAT_ROUTE, COMPLETIONS_ROUTE, RESPONSES_ROUTE, Rule};
    // Several names of one thing, of which one is sent and the others are told; and a tier, of
    // which it depends on the value.
    const AGAIN: &[&str] =
        &["max_tokens", "max_output_tokens", "function_call", "verbosity", "service_tier"];
    let routes = [CHAT_ROUTE, RESPONSES_ROUTE, COMPLETIONS_ROUTE];
    for (((dialect, translate), full), (_, tables, _)) in DIALECTS.into_iter().zip(FULL).zip(routes)
    {
        let ignored = translate(full.as_bytes(), &OPTIONS).expect("valid").ignored;
        let doc = Doc::parse(full.as_bytes()).expect("valid");
        let mut n_known = 0;
        for (name, rule) in tables.iter().copied().flatten() {
            if doc.root().given(name).is_none() || AGAIN.contains(name) {
                continue;
            }
            n_known += 1;
            let is_told = ignored.iter().any(|path| path == name);
            assert_eq!(is_told, matches!(rule, Rule::Stripped(_)), "{dialect}: {name}");
        }
        assert!(n_known > 15, "{dialect}: {n_known}");
        assert!(ignored.iter().any(|path| path == "unknown"), "{dialect}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % limit
    };
    for ((_, translate), full) in DIALECTS.into_iter().zip(FULL) {
        for _ in 0..3_000 {
            let mut body = full.as_bytes().to_vec();
            for _ in 0..=below(3) {
                let (from, to) = (below(body.len()), below(body.len()));
                match below(3) {
                    0 => body[from] = b"{}[]\",:0\\ntu\x00\xff"[below(14)],
                    1 => drop(body.drain(from.min(to)..from.max(to).min(from.min(to) + 20))),
                    _ => body.swap(from, to),
                }
            }
            if let Ok(translated) = translate(&body, &OPTIONS) {
                upstream(translated.body());
            }
        }
    }
}

fn chat_of(rest: &str, options: &Options<'_>) -> Translated {
    let body = format!(r#"{{"model":"m",{rest}}}"#);
    chat::translate(body.as_bytes(), options).expect(rest)
}

const FIRST: &str = r#""messages":[{"role":"system","content":"s"},{"role":"user","content":"a"}]"#;

#[test]
fn one_dialogue_is_one_session() {
    let later = r#""messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]"#;
    let session = chat_of(FIRST, &OPTIONS).session;
    assert_eq!(session.len(), 36);
    assert_eq!(chat_of(later, &OPTIONS).session, session);
    let others = [
        chat_of(FIRST, &Options { key: b"other", ..OPTIONS }).session,
        chat_of(&FIRST.replace("\"a\"", "\"b\""), &OPTIONS).session,
        chat_of(&FIRST.replace("\"s\"", "\"t\""), &OPTIONS).session,
        chat_of(FIRST, &Options { session_hint: Some("h"), ..OPTIONS }).session,
        chat_of(&format!(r#"{FIRST},"prompt_cache_key":"k""#), &OPTIONS).session,
        chat_of(&format!(r#"{FIRST},"conversation":"c""#), &OPTIONS).session,
    ];
    assert!(!others.contains(&session), "{others:?}");
}

#[test]
fn a_named_session_goes_by_its_name() {
    let keyed = format!(r#"{FIRST},"prompt_cache_key":"h""#);
    let hint = Options { session_hint: Some("h"), ..OPTIONS };
    let session = chat_of(&keyed, &OPTIONS).session;
    assert_eq!(chat_of(&keyed.replace("\"a\"", "\"b\""), &OPTIONS).session, session);
    assert_eq!(chat_of(FIRST, &hint).session, session);
    let conversation = format!(r#"{FIRST},"conversation":{{"id":"h"}}"#);
    let translated = chat_of(&conversation, &OPTIONS);
    assert_eq!(translated.session, session);
    assert_eq!(translated.memory.conversation.as_deref(), Some("h"));
}

#[test]
fn what_the_upstream_is_known_to_refuse_is_left_out_and_told() {
    let refused: Vec<_> =
        ["max_output_tokens", "reasoning.summary", "text.verbosity", "service_tier"]
            .map(str::to_owned)
            .into();
    let options = Options { refused: &refused, reasoning_summary: Some("auto"), ..OPTIONS };
    let rest = format!(
        r#"{FIRST},"max_tokens":9,"reasoning_effort":"low","verbosity":"low","service_tier":"fast""#
    );
    let translated = chat_of(&rest, &options);
    let doc = upstream(translated.body());
    assert!(doc.root().get("text").is_none() && doc.root().get("max_output_tokens").is_none());
    assert_eq!(
        doc.root().get("reasoning").map(super::Value::raw),
        Some(&br#"{"effort":"low"}"#[..])
    );
    let mut ignored = translated.ignored.clone();
    ignored.sort();
    // Of the summary, which the relay asked for itself, there is nothing to tell.
    assert_eq!(ignored, ["max_tokens", "service_tier", "verbosity"]);
    let asked = chat_of(FIRST, &Options { reasoning_summary: Some("auto"), ..OPTIONS });
    let doc = upstream(asked.body());
    assert_eq!(
        doc.root().get("reasoning").map(super::Value::raw),
        Some(&br#"{"summary":"auto"}"#[..])
    );
}

#[test]
fn a_refused_parameter_is_cut_and_told() {
    let translated = chat_of(&format!(r#"{FIRST},"max_tokens":9,"top_p":1"#), &OPTIONS);
    let without = translated.without("max_output_tokens").expect("there");
    assert!(upstream(without.body()).root().get("max_output_tokens").is_none());
    assert_eq!(without.ignored, ["top_p", "max_tokens"], "as the client calls it");
    assert!(without.without("max_output_tokens").is_none());
    assert!(translated.without("input").is_none());
}

#[test]
fn who_expects_to_be_remembered_gets_reasoning_to_send_back() {
    let include = |rest: &str| {
        let body = format!(r#"{{"model":"m","input":"a"{rest}}}"#);
        let translated = responses::translate(body.as_bytes(), &OPTIONS).expect("valid");
        let doc = upstream(translated.body());
        doc.root().get("include").map(|include| String::from_utf8_lossy(include.raw()).into_owned())
    };
    let reasoning = r#"["reasoning.encrypted_content"]"#;
    let sources = r#"["web_search_call.action.sources","reasoning.encrypted_content"]"#;
    for (rest, expected) in [
        ("", Some(reasoning)),
        (r#","include":[]"#, Some(reasoning)),
        (r#","include":["reasoning.encrypted_content"]"#, Some(reasoning)),
        (r#","include":["web_search_call.action.sources"]"#, Some(sources)),
        (r#","store":false"#, None),
        (r#","store":false,"include":["reasoning.encrypted_content"]"#, Some(reasoning)),
    ] {
        assert_eq!(include(rest).as_deref(), expected, "{rest}");
    }
}

#[test]
fn only_as_little_as_possible_becomes_the_least() {
    let effort =
        |effort: &str| chat_of(&format!(r#"{FIRST},"reasoning_effort":"{effort}""#), &OPTIONS);
    for little in ["none", "minimal"] {
        let least = effort(little).with_least_effort("low").expect("it asks for less");
        let doc = upstream(least.body());
        let found = doc.root().get("reasoning").and_then(|reasoning| reasoning.get("effort"));
        assert!(found.is_some_and(|effort| effort.is("low")));
        assert_eq!(least.ignored, ["reasoning_effort"]);
        assert!(least.with_least_effort("low").is_none());
    }
    for other in ["low", "max", "of_tomorrow"] {
        assert!(effort(other).with_least_effort("low").is_none(), "{other}");
    }
    assert!(chat_of(FIRST, &OPTIONS).with_least_effort("low").is_none());
}

#[test]
fn a_shape_and_tools_are_honored_or_refused() {
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"auto""#;
    let shape =
        r#""response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}}"#;
    let translated = chat_of(&format!(r#"{FIRST},{tools},{shape},"verbosity":"low""#), &OPTIONS);
    for parameter in ["tools", "tool_choice", "text", "text.format"] {
        assert!(translated.without(parameter).is_none(), "{parameter}");
    }
    let quiet = translated.without("text.verbosity").expect("there");
    assert_eq!(quiet.ignored, ["verbosity"]);
    let plain = chat_of(&format!(r#"{FIRST},"verbosity":"low""#), &OPTIONS);
    assert_eq!(plain.without("text").expect("there").ignored, ["verbosity"]);
    assert_eq!(translated.own_name("text.format.name"), "response_format.name");
}

#[test]
fn a_place_in_the_input_is_told_as_the_clients_own() {
    let messages = r#""messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b","tool_calls":[{"id":"1","type":"function","function":{"name":"f"}},{"id":"2","type":"function","function":{"name":"g"}}]},{"role":"tool","tool_call_id":"1","content":"x"},{"role":"tool","tool_call_id":"2","content":"y"},{"role":"assistant","content":null,"function_call":{"name":"h","arguments":"{}"}},{"role":"function","name":"h","content":"z"}]"#;
    let translated = chat_of(messages, &OPTIONS);
    let places: Vec<_> =
        (0..9).map(|n| translated.own_name(&format!("input[{n}].content[0]"))).collect();
    assert_eq!(
        places,
        [
            "messages[1].content[0]",
            "messages[2].content[0]",
            "messages[2].tool_calls[0].content[0]",
            "messages[2].tool_calls[1].content[0]",
            "messages[3].content[0]",
            "messages[4].content[0]",
            "messages[5].content[0]",
            "messages[6].content[0]",
            "input[8].content[0]",
        ]
    );
    let body = br#"{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[]},{"role":"user","content":"a"}]}"#;
    let translated = responses::translate(body, &OPTIONS).expect("valid");
    assert_eq!(translated.own_name("input[0].content"), "input[1].content");
    let whole = responses::translate(br#"{"model":"m","input":"a"}"#, &OPTIONS).expect("valid");
    assert_eq!(whole.own_name("input[0].content"), "input[0].content");
}

#[test]
fn no_tool_gets_past_a_route_without_tools() {
    let no_tools = Options { no_tools: true, ..OPTIONS };
    let function = r#"{"type":"function","name":"f","parameters":{"type":"object"}}"#;
    let input = r#""input":[{"role":"user","content":"a"}"#;
    for (dialect, rest, param) in [
        (0, format!(r#"{FIRST},"tools":[{function}]"#), "tools"),
        (0, format!(r#"{FIRST},"tools":[{{"type":"web_search"}}]"#), "tools"),
        (0, format!(r#"{FIRST},"functions":[{{"name":"f"}}]"#), "functions"),
        (0, format!(r#"{FIRST},"tool_choice":"auto""#), "tool_choice"),
        (0, format!(r#"{FIRST},"function_call":"auto""#), "function_call"),
        (0, format!(r#"{FIRST},"web_search_options":{{}}"#), "web_search_options"),
        (0, format!(r#"{input}],"tools":[{function}]"#), "tools"),
        (1, format!(r#"{input}],"tools":[{{"type":"image_generation"}}]"#), "tools"),
        (1, format!(r#"{input}],"tool_choice":"required""#), "tool_choice"),
        (
            1,
            format!(r#"{input},{{"type":"additional_tools","role":"developer","tools":[]}}]"#),
            "input[1]",
        ),
        (
            1,
            format!(r#"{input},{{"type":"tool_search_output","tools":[{function}]}}]"#),
            "input[1]",
        ),
        (1, format!(r#"{input},{{"type":"of_tomorrow","tools":[{function}]}}]"#), "input[1]"),
        (
            0,
            format!(r#"{input},{{"type":"tool_search_output","tools":[{function}]}}]"#),
            "input[1]",
        ),
    ] {
        let (name, translate) = DIALECTS[dialect];
        let body = format!(r#"{{"model":"m",{rest}}}"#);
        let reject = translate(body.as_bytes(), &no_tools).expect_err(&body);
        assert_eq!(reject.message, "This route disables tools.", "{name} {body}");
        assert_eq!(reject.param.as_deref(), Some(param));
        translate(body.as_bytes(), &OPTIONS).expect("elsewhere it is fine").without("x");
    }
}

#[test]
fn reasoning_of_another_account_can_be_taken_out() {
    let body = br#"{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"g"},{"role":"user","content":"hi"}],"max_output_tokens":16}"#;
    let translated = responses::translate(body, &OPTIONS).expect("valid");
    let without = translated.without_reasoning().expect("there is some");
    let doc = upstream(without.body());
    assert_eq!(doc.root().get("input").map(|input| input.items().count()), Some(1));
    assert_eq!(without.ignored, ["input[0]"]);
    assert!(without.without_reasoning().is_none());
    assert!(without.without("max_output_tokens").is_some(), "the places of fields still hold");
}

#[test]
fn a_stored_conversation_comes_before_the_input() {
    let body = br#"{"model":"m","conversation":"c","input":[{"type":"function_call_output","call_id":"c1","output":"x"}]}"#;
    let call = br#"{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}"#;
    responses::translate(body, &OPTIONS).expect("calls may be stored");
    let after = |history: &[u8]| {
        let history = Doc::parse(history).expect("a list");
        let before = Before { items: history.root(), name: "conversation" };
        responses::translate(body, &Options { before: Some(before), ..OPTIONS })
    };
    let call_text = String::from_utf8_lossy(call);
    let open = format!("[{},{call_text}]", call_text.replace("c1", "c2"));
    let unanswered = after(open.as_bytes()).expect_err("open");
    assert_eq!(unanswered.message, "No tool output found for function call c2.");
    assert!(after(b"[]").is_err());
    let mut translated = after(format!("[{call_text}]").as_bytes()).expect("answered");
    assert_eq!(translated.own_name("input[0].name"), "conversation");
    assert_eq!(translated.own_name("input[1].output"), "input[0].output");
    let doc = upstream(translated.body());
    let input = doc.root().get("input").expect("there");
    let first = input.items().next().and_then(|first| first.get("call_id"));
    assert!(first.is_some_and(|id| id.is("c1")));
    translated.set_upstream_model("other");
    assert!(upstream(translated.body()).root().get("model").is_some_and(|model| model.is("other")));
    assert_eq!(translated.model, "m");
}

#[test]
fn too_many_paths_are_cut_short() {
    let fields: Vec<_> = (0..5000).map(|i| format!("\"x{i}\":1")).collect();
    let translated = chat_of(&format!("{FIRST},{}", fields.join(",")), &OPTIONS);
    assert_eq!(translated.ignored.len(), 101);
    assert_eq!(translated.ignored.last().map(String::as_str), Some("..."));
}

#[test]
fn a_picture_is_looked_at_to_its_end() {
    let picture = format!("{}{}", &PNG[..PNG.len() - 4], "AAAA".repeat(3_000));
    let rest = format!(
        r#""messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/jpeg;base64,{picture}"}}}}]}}]"#
    );
    let translated = chat_of(&rest, &OPTIONS);
    let body = String::from_utf8_lossy(translated.body());
    assert!(body.contains(&format!("data:image/png;base64,{picture}")));
    let broken = format!(r#"{{"model":"m",{}}}"#, rest.replace("AAAA\"", "AA*A\""));
    assert!(chat::translate(broken.as_bytes(), &OPTIONS).is_err());
}
