//! One table: what is changed in a request that is in order, and the answer this earns.

use http::HeaderValue;

use super::*;
use crate::sim::{account::Accounts, mint::Mint};

const PNG: &str = "data:image/png;base64,iVBORw0KGgo=";

fn base() -> Value {
    serde_json::from_str(
        r#"{
            "model": "gpt-5.5",
            "instructions": "Be brief.",
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
            "tools": [{"type": "function", "name": "run", "strict": false, "parameters": {"type": "object"}}],
            "tool_choice": "auto",
            "parallel_tool_calls": true,
            "reasoning": {"effort": "medium", "summary": "auto"},
            "store": false,
            "stream": true,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "key",
            "text": {"verbosity": "low"}
        }"#,
    )
    .expect("JSON")
}

/// The base with the fields of `change` put over it; `"-"` takes a field away.
fn changed(change: &str) -> Value {
    let mut body = base();
    let change: Value = serde_json::from_str(change).expect(change);
    for (name, value) in fields(&change) {
        let map = body.as_object_mut().expect("object");
        if value == "-" {
            map.shift_remove(name);
        } else {
            map.insert(name.clone(), value.clone());
        }
    }
    body
}

fn answer(body: &[u8], headers: &[(&'static str, &str)], world: &[(&str, &str)]) -> String {
    let mut map = HeaderMap::new();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    map.insert("originator", HeaderValue::from_static("test"));
    for (name, value) in headers {
        map.insert(*name, value.parse().expect("value"));
    }
    let world = World::from_pairs(world).expect("known");
    match read(body, &map, &Accounts::default().named("first"), &world) {
        Ok(_) => "ok".to_owned(),
        Err(answer) => {
            let body = String::from_utf8_lossy(&answer.body);
            format!("{} {body}", answer.status.as_u16())
        }
    }
}

fn check(change: &str, expected: &str) {
    check_in(&[], change, expected);
}

fn check_in(world: &[(&str, &str)], change: &str, expected: &str) {
    let body = changed(change).to_string();
    assert_eq!(answer(body.as_bytes(), &[], world), expected, "{change}");
}

fn detail(text: &str) -> String {
    format!("400 {}", crate::sim::tree::object! {"detail": text})
}

fn error(message: &str, param: &str, code: &str) -> String {
    let filled = |text: &str| (text != "null").then(|| text.to_owned());
    let error = crate::sim::tree::object! {
        "message": message,
        "type": "invalid_request_error",
        "param": filled(param),
        "code": filled(code),
    };
    format!("400 {}", crate::sim::tree::object! {"error": error})
}

/// `items` as the whole input, after the one of the base.
fn input(items: &str) -> String {
    format!(r#"{{"input":[{{"role":"user","content":"hi"}},{items}]}}"#)
}

#[test]
fn a_trigger_stands_at_the_end_of_a_request_that_names_the_feature() {
    let last = changed(&input(r#"{"type":"compaction_trigger"}"#)).to_string();
    let early = r#"{"type":"compaction_trigger"},{"role":"user","content":"x"}"#;
    let early = changed(&input(early)).to_string();
    let named = ("x-codex-beta-features", "a, remote_compaction_v2");
    let unknown = error("Invalid value: 'compaction_trigger'.", "input[1].type", "invalid_value");
    let misplaced = "'compaction_trigger' must be the last item of 'input', exactly once.";
    let misplaced = error(misplaced, "input", "invalid_value");
    for (body, headers, world, expected) in [
        (&last, &[named][..], &[][..], "ok"),
        (&last, &[], &[], &unknown),
        (&last, &[], &[("compaction_header", "optional")], "ok"),
        (&last, &[named], &[("compaction_trigger", "refused")], &unknown),
        (&early, &[named], &[], &misplaced),
    ] {
        assert_eq!(answer(body.as_bytes(), headers, world), expected);
    }
}

#[test]
fn a_request_in_order_passes() {
    for change in [
        "{}",
        r#"{"service_tier":"priority","client_metadata":{"a":"b"},"access_programs":[]}"#,
        r#"{"service_tier":"default","stream_options":{"reasoning_summary_delivery":"sequential_cutoff"}}"#,
        r#"{"reasoning":"-","text":"-","tools":"-","tool_choice":"-","include":[]}"#,
        r#"{"max_output_tokens":16}"#,
        r#"{"instructions":""}"#,
        r#"{"instructions":"-","input":[{"role":"developer","content":"Be brief."}]}"#,
        r#"{"model":"sim-cut-after-text"}"#,
        r#"{"tool_choice":{"type":"function","name":"run"}}"#,
        r#"{"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"run"}]}}"#,
        r#"{"tools":[{"type":"web_search"}],"tool_choice":"required"}"#,
    ] {
        check(change, "ok");
    }
}

#[test]
fn the_body_must_be_json_and_say_so() {
    let kinds = [("application/json; charset=utf-8", true), ("text/plain;charset=UTF-8", false)];
    for (kind, fine) in kinds {
        let body = base().to_string();
        let expected = if fine { "ok".to_owned() } else { detail("Unsupported content type") };
        assert_eq!(answer(body.as_bytes(), &[("content-type", kind)], &[]), expected);
    }
    for body in ["", "[]", "{"] {
        let expected = error("We could not parse the JSON body of your request.", "null", "null");
        assert_eq!(answer(body.as_bytes(), &[], &[]), expected);
    }
}

#[test]
fn fixed_fields_have_fixed_values() {
    for (change, text) in [
        (r#"{"store":true}"#, "Store must be set to false"),
        (r#"{"store":"-"}"#, "Store must be set to false"),
        (r#"{"stream":false}"#, "Stream must be set to true"),
        (r#"{"stream":"-"}"#, "Stream must be set to true"),
        (r#"{"input":"hi"}"#, "Input must be a list"),
        (r#"{"input":"-"}"#, "Input must be a list"),
        (r#"{"instructions":"-"}"#, "Instructions are required"),
        (r#"{"instructions":null}"#, "Instructions are required"),
        (r#"{"input":[{"role":"system","content":"x"}]}"#, "System messages are not allowed"),
        (r#"{"temperature":1}"#, "Unsupported parameter: temperature"),
        (r#"{"user":"u","top_p":1}"#, "Unsupported parameter: user"),
        (r#"{"metadata":{}}"#, "Unsupported parameter: metadata"),
        (r#"{"previous_response_id":"resp_1"}"#, "Unsupported parameter: previous_response_id"),
        (
            r#"{"stream_options":{"include_usage":true}}"#,
            "Unsupported parameter: stream_options.include_usage",
        ),
        (r#"{"service_tier":"flex"}"#, "Unsupported service_tier: flex"),
        (r#"{"tools":[{"type":"file_search"}]}"#, "Unsupported tool type: file_search"),
        (
            r#"{"model":"gpt-5"}"#,
            "The 'gpt-5' model is not supported when using Codex with a ChatGPT account.",
        ),
    ] {
        check(change, &detail(text));
    }
    check(
        r#"{"model":"-"}"#,
        &error("Missing required parameter: 'model'.", "model", "missing_required_parameter"),
    );
}

#[test]
fn the_world_decides_what_reports_disagree_on() {
    let required = detail("Instructions are required");
    let developer = r#"{"instructions":"-","input":[{"role":"developer","content":"x"}]}"#;
    let refused = |name: &str| detail(&format!("Unsupported parameter: {name}"));
    for (switch, value, change, expected) in [
        ("instructions", "required", developer, required.as_str()),
        ("instructions", "optional", r#"{"instructions":"-"}"#, "ok"),
        ("empty_instructions", "refused", r#"{"instructions":""}"#, &required),
        (
            "max_output_tokens",
            "refused",
            r#"{"max_output_tokens":99}"#,
            &refused("max_output_tokens"),
        ),
        ("metadata", "accepted", r#"{"metadata":{"a":"b"}}"#, "ok"),
        ("stream_options", "accepted", r#"{"stream_options":{"include_usage":true}}"#, "ok"),
        (
            "web_search_choice",
            "accepted",
            r#"{"tools":[{"type":"web_search"}],"tool_choice":{"type":"web_search"}}"#,
            "ok",
        ),
        (
            "remote_images",
            "accepted",
            r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://example.com/a.png"}]}]}"#,
            "ok",
        ),
    ] {
        check_in(&[(switch, value)], change, expected);
    }
    check_in(
        &[("image_tool", "refused")],
        r#"{"tools":[{"type":"image_generation"}]}"#,
        &error(
            "The requested tool image_generation is not supported.",
            "tools",
            "unsupported_value",
        ),
    );
}

#[test]
fn options_are_checked_against_the_model() {
    for (change, message, param, code) in [
        (
            r#"{"reasoning":{"effort":"max"}}"#,
            "Unsupported value: 'max' is not supported with the 'gpt-5.5' model. Supported values are: 'low', 'medium', 'high', and 'xhigh'.",
            "reasoning.effort",
            "unsupported_value",
        ),
        (
            r#"{"model":"gpt-6-astra","reasoning":{"effort":"none"}}"#,
            "Unsupported value: 'none' is not supported with the 'gpt-6-astra' model. Supported values are: 'low', 'medium', 'high', 'xhigh', and 'max'.",
            "reasoning.effort",
            "unsupported_value",
        ),
        (
            r#"{"reasoning":{"summary":"none"}}"#,
            "Invalid value: 'none'. Supported values are: 'auto', 'concise', and 'detailed'.",
            "reasoning.summary",
            "invalid_value",
        ),
        (
            r#"{"text":{"verbosity":"loud"}}"#,
            "Invalid value: 'loud'. Supported values are: 'low', 'medium', and 'high'.",
            "text.verbosity",
            "invalid_value",
        ),
        (
            r#"{"max_output_tokens":15}"#,
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 15 instead.",
            "max_output_tokens",
            "integer_below_min_value",
        ),
        (
            r#"{"text":{"format":{"type":"json_object"}}}"#,
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
            "input",
            "null",
        ),
        (
            r#"{"text":{"format":{"type":"json_schema","name":"a","schema":{"type":"object"}}}}"#,
            "Invalid schema for response_format 'a': In context=(), 'additionalProperties' is required to be supplied and to be false.",
            "text.format.schema",
            "invalid_json_schema",
        ),
        (
            r#"{"text":{"format":{"type":"json_schema","schema":{"type":"object"}}}}"#,
            "Missing required parameter: 'text.format.name'.",
            "text.format.name",
            "missing_required_parameter",
        ),
    ] {
        check(change, &error(message, param, code));
    }
    check(
        r#"{"text":{"format":{"type":"json_schema","strict":false,"name":"a","schema":{"type":"object"}}}}"#,
        "ok",
    );
    check(
        r#"{"input":[{"role":"user","content":"as JSON"}],"text":{"format":{"type":"json_object"}}}"#,
        "ok",
    );
}

#[test]
fn the_lite_header_wants_all_turns() {
    let ask = |reasoning: &str| {
        let body = changed(&format!(r#"{{"reasoning":{reasoning}}}"#)).to_string();
        answer(body.as_bytes(), &[(LITE_HEADER, "true")], &[])
    };
    assert_eq!(ask(r#"{"context":"all_turns"}"#), "ok");
    for reasoning in [r#"{"context":"auto"}"#, "null"] {
        let expected = error(
            "The 'x-openai-internal-codex-responses-lite' header requires 'reasoning.context' to be 'all_turns'.",
            "reasoning.context",
            "unsupported_value",
        );
        assert_eq!(ask(reasoning), expected);
    }
}

#[test]
fn tools_have_names_and_strict_schemas() {
    let long = "n".repeat(65);
    for (tool, message, param, code) in [
        (
            r#"{"type":"function","name":"a.b","strict":false}"#,
            "Invalid 'tools[0].name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            "tools[0].name",
            "invalid_value",
        ),
        (
            &format!(r#"{{"type":"function","name":"{long}"}}"#),
            "Invalid 'tools[0].name': string too long. Expected a string with maximum length 64, but got a string with length 65 instead.",
            "tools[0].name",
            "string_above_max_length",
        ),
        (
            r#"{"type":"function","function":{"name":"a"}}"#,
            "Missing required parameter: 'tools[0].name'.",
            "tools[0].name",
            "missing_required_parameter",
        ),
        (
            r#"{"type":"function","name":"a","parameters":{"type":"object","properties":{"b":{}},"additionalProperties":false}}"#,
            "Invalid schema for function 'a': In context=(), 'required' is required to be supplied and to be an array including every key in properties. Missing 'b'.",
            "tools[0].parameters",
            "invalid_function_parameters",
        ),
        (
            r#"{"type":"namespace","name":"n","tools":[{"type":"function","name":"a","strict":true,"parameters":{"type":"object"}}]}"#,
            "Invalid schema for function 'a': In context=(), 'additionalProperties' is required to be supplied and to be false.",
            "tools[0].tools[0].parameters",
            "invalid_function_parameters",
        ),
        (
            r#"{"type":"custom","name":"a","format":{"type":"grammar","syntax":"bnf"}}"#,
            "Invalid value: 'bnf'. Supported values are: 'lark' and 'regex'.",
            "tools[0].format.syntax",
            "invalid_value",
        ),
    ] {
        check(&format!(r#"{{"tools":[{tool}]}}"#), &error(message, param, code));
    }
}

#[test]
fn a_choice_must_be_among_the_tools() {
    let absent = |name: &str| format!("Tool choice '{name}' not found in 'tools' parameter.");
    for (change, message) in [
        (
            r#"{"tools":"-","tool_choice":"required"}"#,
            "Tool choice 'required' must be specified with 'tools' parameter.".to_owned(),
        ),
        (r#"{"tool_choice":{"type":"image_generation"}}"#, absent("image_generation")),
        (r#"{"tool_choice":{"type":"web_search"}}"#, absent("web_search")),
        (r#"{"tool_choice":{"type":"function","name":"other"}}"#, absent("other")),
        (r#"{"tool_choice":{"type":"custom","name":"run"}}"#, absent("run")),
        (
            r#"{"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"x"}]}}"#,
            absent("x"),
        ),
    ] {
        check(change, &error(&message, "tool_choice", "null"));
    }
}

#[test]
fn calls_and_outputs_come_in_pairs() {
    let call = r#"{"type":"function_call","name":"run","arguments":"{}","call_id":"call_1"}"#;
    let output = r#"{"type":"function_call_output","call_id":"call_1","output":"x"}"#;
    let custom = r#"{"type":"custom_tool_call","name":"run","input":"","call_id":"call_1"}"#;
    let custom_output = r#"{"type":"custom_tool_call_output","call_id":"call_1","output":"x"}"#;
    let shell = r#"{"type":"local_shell_call","call_id":"call_1","action":{"type":"exec"}}"#;
    for pair in [[call, output], [custom, custom_output], [shell, output]] {
        check(&input(&pair.join(",")), "ok");
    }
    for (items, message) in [
        (call.to_owned(), "No tool output found for function call call_1."),
        (custom.to_owned(), "No tool output found for custom tool call call_1."),
        (output.to_owned(), "No tool call found for function call output with call_id call_1."),
        (
            format!("{output},{call}"),
            "No tool call found for function call output with call_id call_1.",
        ),
        (
            format!("{call},{custom_output}"),
            "No tool call found for custom tool call output with call_id call_1.",
        ),
    ] {
        check(&input(&items), &error(message, "input", "null"));
    }
}

#[test]
fn ids_refer_to_nothing() {
    let lost = |id: &str| {
        let answer = error(
            &format!(
                "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input."
            ),
            "input",
            "null",
        );
        answer.replacen("400", "404", 1)
    };
    check(&input(r#"{"type":"reasoning","id":"rs_1","summary":[]}"#), &lost("rs_1"));
    check(&input(r#"{"type":"item_reference","id":"msg_1"}"#), &lost("msg_1"));
    check(&input(r#"{"type":"reasoning","summary":[]}"#), "ok");
    check(
        &input(
            r#"{"role":"assistant","id":"item_1","content":[{"type":"output_text","text":"x"}]}"#,
        ),
        &error(
            "Invalid 'input[1].id': 'item_1'. Expected an ID that begins with 'msg'.",
            "input[1].id",
            "invalid_value",
        ),
    );
    let id = format!("msg_{}", "0".repeat(61));
    check(
        &input(&format!(r#"{{"role":"assistant","id":"{id}","content":"x"}}"#)),
        &error(
            "Invalid 'input[1].id': string too long. Expected a string with maximum length 64, but got a string with length 65 instead.",
            "input[1].id",
            "string_above_max_length",
        ),
    );
}

#[test]
fn sealed_contents_belong_to_the_account() {
    let mint = Mint::seeded([1; 16]);
    let mut accounts = Accounts::default();
    let item = |kind: &str, content: &str| {
        input(&format!(r#"{{"type":"{kind}","summary":[],"encrypted_content":"{content}"}}"#))
    };
    let own = mint.seal(&accounts.named("first").id, 9);
    let foreign = mint.seal(&accounts.named("second").id, 9);
    let refused = |content: &str| {
        let shown = format!("{}...{}", &content[..4], &content[content.len() - 4..]);
        let message = format!("The encrypted content {shown} could not be verified.");
        error(&message, "null", "invalid_encrypted_content")
    };
    for kind in ["reasoning", "compaction", "compaction_summary"] {
        check(&item(kind, &own), "ok");
        check(&item(kind, &foreign), &refused(&foreign));
        check(&item(kind, "gAAAAxxxx"), &refused("gAAAAxxxx"));
    }
}

#[test]
fn images_are_looked_at() {
    let invalid = |param: &str| {
        error(
            "The image data you provided does not represent a valid image. Please check your input and try again with one of the supported image formats: ['image/jpeg', 'image/png', 'image/gif', 'image/webp'].",
            param,
            "invalid_value",
        )
    };
    let image = |url: &str| {
        format!(
            r#"{{"input":[{{"role":"user","content":[{{"type":"input_image","image_url":"{url}"}}]}}]}}"#
        )
    };
    check(&image(PNG), "ok");
    check(&image("data:image/jpeg;base64,/9j/4AAQ"), "ok");
    check(&image("data:image/png;base64,aGVsbG8="), &invalid("input"));
    check(&image("data:image/png;base64,!"), &invalid("input"));
    check(&image("data:image/svg+xml;base64,aGVsbG8="), &invalid("input[0].content[0].image_url"));
    check(&image("https://example.com/a.png"), &invalid("input[0].content[0].image_url"));
    let call = r#"{"type":"function_call","name":"run","arguments":"{}","call_id":"c"}"#;
    let output = r#"{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"x"}]}"#;
    check(&input(&format!("{call},{output}")), &invalid("input[2].output[0].image_url"));
}

#[test]
fn items_and_parts_have_known_types() {
    let parts = "'input_text', 'input_image', 'output_text', 'refusal', 'input_file', 'input_audio', 'computer_screenshot', and 'summary_text'";
    for (item, message, param) in [
        (
            r#"{"role":"user","content":[{"type":"text","text":"x"}]}"#,
            format!("Invalid value: 'text'. Supported values are: {parts}."),
            "input[1].content[0]",
        ),
        (
            r#"{"role":"assistant","content":[{"type":"input_text","text":"x"}]}"#,
            "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'."
                .to_owned(),
            "input[1].content[0]",
        ),
        (
            r#"{"role":"tool","content":"x"}"#,
            "Invalid value: 'tool'. Supported values are: 'assistant', 'developer', and 'user'."
                .to_owned(),
            "input[1]",
        ),
        (r#"{"type":"strange"}"#, "Invalid value: 'strange'.".to_owned(), "input[1]"),
    ] {
        check(&input(item), &error(&message, param, "invalid_value"));
    }
    check(
        &input(r#"{"type":"function_call","name":"run","call_id":"c"}"#),
        &error(
            "Missing required parameter: 'input[1].arguments'.",
            "input[1].arguments",
            "missing_required_parameter",
        ),
    );
}
