//! Against examples, against a tree, and against broken text.

use serde_json::{Map, Value};

use super::*;
use crate::redact::tests::Dice;

fn redacted(text: &str) -> Option<String> {
    let mut out = b"before ".to_vec();
    let result = copy(text.as_bytes(), &mut out);
    let out = String::from_utf8(out).expect("ASCII");
    let copy = out.strip_prefix("before ").expect("kept");
    if result.is_err() {
        assert_eq!(copy, "", "nothing is left of {text}");
    }
    result.ok().map(|()| copy.to_owned())
}

fn check(text: &str, expected: &str) {
    assert_eq!(redacted(text).as_deref(), Some(expected), "{text}");
    assert_eq!(redacted(expected).as_deref(), Some(expected), "again: {expected}");
}

#[test]
fn what_is_no_secret_is_copied_as_it_is() {
    for text in [
        "null",
        "-0.50E+07",
        r#""a \" \\ \/ \u00e9 \ud800""#,
        "[]",
        r#"{"a":[1,{"b":"c"},"d"],"e":{}}"#,
        r#"{"error":{"code":"invalid_api_key","param":null}}"#,
        r#"{"max_tokens":5,"key":"k","tokens":"t","bearer_token_file":"f"}"#,
        r#"["api_key","authorization"]"#,
        r#"{"x":"api_key","y":"\"api_key\":\"v\""}"#,
    ] {
        check(text, text);
    }
}

#[test]
fn secrets_go_at_any_depth_and_under_any_spelling() {
    let r = r#""[REDACTED]""#;
    for (text, expected) in [
        (r#"{"api_key":"v"}"#, format!(r#"{{"api_key":{r}}}"#)),
        (r#"{"API_Key":"v","a":1}"#, format!(r#"{{"API_Key":{r},"a":1}}"#)),
        (r#"{"api\u005fkey":"v"}"#, format!(r#"{{"api\u005fkey":{r}}}"#)),
        (r#"[[{"a":{"id_token":"v"}}]]"#, format!(r#"[[{{"a":{{"id_token":{r}}}}}]]"#)),
        (r#"{"password":{"a":["}\"",{}]},"b":"c"}"#, format!(r#"{{"password":{r},"b":"c"}}"#)),
        (r#"{"cookie":["a","b"]}"#, format!(r#"{{"cookie":{r}}}"#)),
        (r#"{"cookie":"a\\","b":"c"}"#, format!(r#"{{"cookie":{r},"b":"c"}}"#)),
        ("{ \"api_key\" \n:\t\"v\" , \"a\" : 1 }", format!(r#"{{"api_key":{r},"a":1}}"#)),
    ] {
        check(text, &expected);
    }
}

#[test]
fn numbers_and_booleans_stay_under_a_secret_name() {
    for text in
        [r#"{"ready":{"relay_token":true}}"#, r#"{"api_key":null,"password":5,"cookie":false}"#]
    {
        check(text, text);
    }
}

#[test]
fn the_copy_is_one_line_of_ascii() {
    check("{\n  \"a\" : [ 1 ,\r\n\t2 ]\n}", r#"{"a":[1,2]}"#);
    check(" \n7 ", "7");
    check("\"a b\u{e9}\u{2028}\u{1f980}c\"", r#""a b\u00e9\u2028\ud83e\udd80c""#);
    check("{\"\u{e9}\": \"\u{e9}\"}", r#"{"\u00e9":"\u00e9"}"#);
    check("{\"api_key\": \"\u{e9}\", \"\u{e9}\":1}", r#"{"api_key":"[REDACTED]","\u00e9":1}"#);
}

#[test]
fn what_is_not_json_is_not_copied() {
    for text in ["", " ", "{", "[1,]", "{}{}", "nul", "\"\n\"", "{\"a\":1} x", "'a'"] {
        assert_eq!(redacted(text), None, "{text}");
    }
    assert_eq!(copy(b"\"\xff\"", &mut Vec::new()), Err(Unfit));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(redacted(&nested(DEPTH)).is_some());
    assert_eq!(redacted(&nested(DEPTH + 1)), None);
    assert_eq!(redacted(&nested(200_000)), None);
    assert_eq!(redacted(&"[".repeat(200_000)), None);
}

/// What text and trees are made of.
trait Make {
    fn text(&mut self) -> &'static str;
    fn value(&mut self, depth: u64) -> Value;
    fn spread(&mut self, text: &str) -> String;
}

impl Make for Dice {
    fn text(&mut self) -> &'static str {
        self.pick(&[
            "",
            "a",
            "\"",
            "\\",
            "\\\"}",
            "{\"api_key\":\"v\"}",
            "\u{e9}\n\u{1f980}",
            "T0P",
        ])
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.roll(if depth > 4 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => Value::from(self.roll(2) == 0),
            2 => Value::from(self.roll(1_000)),
            3 | 4 => Value::from(self.text()),
            5 => (0..self.roll(4)).map(|_| self.value(depth + 1)).collect(),
            _ => {
                let names = ["a", "", "Api_Key", "id_token", "code", "k\"ey", "cookie", "\u{e9}"];
                (0..self.roll(4))
                    .map(|_| (self.pick(&names).to_owned(), self.value(depth + 1)))
                    .collect::<Map<_, _>>()
                    .into()
            }
        }
    }

    /// White space where there may be some, and characters escaped that need not be.
    fn spread(&mut self, text: &str) -> String {
        let (mut out, mut inside, mut escaped) = (String::new(), false, false);
        for character in text.chars() {
            if !inside && "{}[],:\"".contains(character) && self.roll(3) == 0 {
                out.push_str(self.pick(&[" ", "\n", "\r\n\t", "  "]));
            }
            if inside && !escaped && character == 'e' && !out.ends_with('\\') && self.roll(3) == 0 {
                out.push_str("\\u0065");
            } else {
                out.push(character);
            }
            inside ^= character == '"' && !escaped;
            escaped = inside && character == '\\' && !escaped;
        }
        out
    }
}

/// The same by way of a tree.
fn expected(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(expected).collect(),
        Value::Object(members) => {
            let member = |(name, value): (String, Value)| {
                let secret = is_secret_member(name.as_bytes());
                let hidden = secret && (value.is_string() || value.is_array() || value.is_object());
                let value = if hidden { Value::from(REDACTED) } else { expected(value) };
                (name, value)
            };
            members.into_iter().map(member).collect::<Map<_, _>>().into()
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

#[test]
fn the_copy_is_what_a_tree_would_give() {
    let mut dice = Dice(0x5eed);
    let mut hidden = 0;
    for round in 0..3_000 {
        let value = dice.value(0);
        let text = dice.spread(&value.to_string());
        let copy = redacted(&text).expect("JSON");
        let read: Value = serde_json::from_str(&copy).expect("still JSON");
        assert_eq!(read, expected(value), "round {round}: {text}");
        assert_eq!(redacted(&copy).as_ref(), Some(&copy), "round {round}: idempotent");
        assert!(copy.is_ascii() && !copy.contains('\n'));
        hidden += copy.matches(REDACTED).count();
    }
    assert!(hidden > 200, "only {hidden} secrets were hidden");
}

#[test]
fn broken_text_is_refused_or_copied_whole_and_never_panics() {
    let mut dice = Dice(0xbad);
    for round in 0..20_000 {
        let value = dice.value(0);
        let mut text = dice.spread(&value.to_string()).into_bytes();
        let at =
            usize::try_from(dice.roll(u64::try_from(text.len()).expect("small"))).expect("small");
        text[at] = u8::try_from(dice.roll(256)).expect("a byte");
        let mut out = Vec::new();
        if copy(&text, &mut out).is_ok() {
            let same = serde_json::from_slice::<&RawValue>(&out).is_ok();
            assert!(same && out.is_ascii(), "round {round}: {}", String::from_utf8_lossy(&text));
        }
    }
}
