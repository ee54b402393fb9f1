//! Chat requests and what becomes of them: most of it is in `cases/chat.txt`.

use expect_test::expect_file;

use crate::wire::request::{
    Options,
    chat::translate,
    tests::{OPTIONS, check_cases},
};

/// A request with one message of a user and `rest`.
fn with(rest: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{rest}}}"#)
}

#[test]
fn chat_requests_become_what_the_cases_say() {
    check_cases(&expect_file!["../cases/chat.txt"], translate, |case| match case {
        case if case.starts_with('"') => with(case),
        case if case.starts_with("{\"role\"") => format!(r#"{{"model":"m","messages":[{case}]}}"#),
        case => case.to_owned(),
    });
}

#[test]
fn a_route_without_tools_refuses_whatever_asks_for_one() {
    let options = Options { no_tools: true, ..OPTIONS };
    let translate = |rest: &str| translate(with(rest).as_bytes(), &options);
    for asks in [
        r#""tools":[{"type":"function","name":"f"}]"#,
        r#""functions":[{"name":"f"}]"#,
        r#""tool_choice":"auto""#,
        r#""function_call":"auto""#,
        r#""web_search_options":{}"#,
    ] {
        let reject = translate(asks).expect_err(asks);
        assert_eq!(reject.message, "This route disables tools.", "{asks}");
    }
    let harmless = r#""tools":[],"functions":[],"tool_choice":"none","function_call":"none""#;
    let translated = translate(harmless).expect("harmless");
    assert!(!String::from_utf8_lossy(translated.body()).contains("tool"));
}

#[test]
fn the_answer_is_told_how_to_look() {
    let names = r#""tools":[{"type":"function","name":"a.b"}]"#;
    let usage = r#""stream":true,"stream_options":{"include_usage":true},"service_tier":"fast""#;
    let translated =
        translate(with(&format!("{names},{usage}")).as_bytes(), &OPTIONS).expect("valid");
    assert!(translated.stream && translated.reply.stream.include_usage);
    assert!(!translated.reply.legacy_function);
    assert_eq!(translated.reply.names.client("a_b_2e7336dc"), "a.b");
    assert!(translated.reply.has_tier);
    let legacy = with(r#""functions":[{"name":"f"}]"#);
    assert!(translate(legacy.as_bytes(), &OPTIONS).expect("valid").reply.legacy_function);
}
