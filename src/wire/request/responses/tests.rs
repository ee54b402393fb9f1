//! Responses requests and what becomes of them: most of it is in `cases/responses.txt`.

use expect_test::expect_file;

use crate::wire::request::{
    Options,
    responses::translate,
    tests::{OPTIONS, check_cases},
};

fn with(rest: &str) -> String {
    format!(r#"{{"model":"m","input":"hi",{rest}}}"#)
}

#[test]
fn responses_requests_become_what_the_cases_say() {
    check_cases(&expect_file!["../cases/responses.txt"], translate, |case| match case {
        case if case.starts_with('"') => with(case),
        case if case.starts_with("{\"type\"") || case.starts_with("{\"role\"") => {
            format!(r#"{{"model":"m","input":[{case}]}}"#)
        }
        case => case.to_owned(),
    });
}

#[test]
fn a_route_without_tools_refuses_whatever_asks_for_one() {
    let options = Options { no_tools: true, ..OPTIONS };
    for asks in [
        with(r#""tools":[{"type":"web_search"}]"#),
        with(r#""tool_choice":"required""#),
        r#"{"model":"m","input":[{"type":"additional_tools","tools":[]}]}"#.to_owned(),
    ] {
        let reject = translate(asks.as_bytes(), &options).expect_err(&asks);
        assert_eq!(reject.message, "This route disables tools.", "{asks}");
    }
    translate(with(r#""tools":[],"tool_choice":"none""#).as_bytes(), &options).expect("harmless");
}
