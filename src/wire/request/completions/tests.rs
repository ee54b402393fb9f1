//! Completions requests and what becomes of them: `cases/completions.txt`.

use expect_test::expect_file;

use crate::wire::request::{completions::translate, tests::check_cases};

#[test]
fn completions_requests_become_what_the_cases_say() {
    check_cases(&expect_file!["../cases/completions.txt"], translate, |case| {
        if case.starts_with('"') {
            format!(r#"{{"model":"m","prompt":"hi",{case}}}"#)
        } else {
            case.to_owned()
        }
    });
}
