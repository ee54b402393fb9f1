//! The index against a reader that is known to be right.

use std::fmt::Write;

use super::{Doc, JsonError, Problem, write};

fn problem(text: &[u8]) -> Option<Problem> {
    Doc::parse(text).err().map(|error| error.problem)
}

#[test]
fn values_are_where_the_text_has_them() {
    let doc =
        Doc::parse(br#" {"a":[1, -2.5e1,"x\n\u00e9\ud83d\ude00"],"b\u0063":{"t":true},"n":null} "#)
            .expect("valid");
    let root = doc.root();
    let items: Vec<_> = root.get("a").expect("there").items().collect();
    assert_eq!(items.len(), 3);
    assert_eq!(items[0].as_i64(), Some(1));
    assert_eq!(items[1].as_i64(), None);
    assert_eq!(items[1].raw(), b"-2.5e1");
    assert_eq!(items[2].as_str().as_deref(), Some("x\né😀"));
    assert_eq!(root.get("bc").and_then(|b| b.get("t")).and_then(super::Value::as_bool), Some(true));
    assert!(root.get("n").is_some_and(super::Value::is_null));
    assert!(root.given("n").is_none());
    let names: Vec<_> = root.entries().map(|entry| entry.name().into_owned()).collect();
    assert_eq!(names, ["a", "bc", "n"]);
}

#[test]
fn integers_are_written_as_integers() {
    for (text, value) in [
        ("0", Some(0)),
        ("-7", Some(-7)),
        ("9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("1.0", None),
        ("1e0", None),
        ("true", None),
        ("\"1\"", None),
    ] {
        assert_eq!(Doc::parse(text.as_bytes()).expect("valid").root().as_i64(), value, "{text}");
    }
}

#[test]
fn a_path_names_the_way_from_the_root() {
    let doc = Doc::parse(br#"{"m":[{},{"c":[{"u":{"v":1}},2]}],"x":{"y":[[3]]}}"#).expect("valid");
    let root = doc.root();
    let second = root.get("m").and_then(|m| m.items().nth(1)).expect("there");
    let content = second.get("c").expect("there");
    let deep = content.items().next().and_then(|part| part.get("u")?.get("v")).expect("there");
    assert_eq!(deep.path(), "m[1].c[0].u.v");
    assert_eq!(content.items().nth(1).expect("there").path(), "m[1].c[1]");
    assert_eq!(root.path(), "");
    let three = root.get("x").and_then(|x| x.get("y")?.items().next()?.items().next());
    assert_eq!(three.expect("there").path(), "x.y[0][0]");
    let key = root.entries().nth(1).expect("there").key;
    assert_eq!(key.path(), "x");
}

#[test]
fn an_empty_body_is_an_empty_object() {
    let doc = Doc::parse(b"").expect("accepted");
    assert_eq!(doc.root().kind(), super::Kind::Object);
    assert_eq!(doc.root().entries().count(), 0);
    assert_eq!(problem(b"  "), Some(Problem::Ended));
}

#[test]
fn each_mistake_has_its_name() {
    for (text, expected) in [
        (&b"{\"a\":1,\"b\":2,\"\\u0061\":3}"[..], Problem::DuplicateKey("a".to_owned())),
        (br#"{"a":{"k":1,"k":1}}"#, Problem::DuplicateKey("k".to_owned())),
        (br#""\ud800""#, Problem::LoneSurrogate),
        (br#""\ud800\u0041""#, Problem::LoneSurrogate),
        (br#""\udc00""#, Problem::LoneSurrogate),
        (b"\"a\nb\"", Problem::Control),
        (b"\"a\xff\"", Problem::NotUtf8),
        (br#""\x""#, Problem::Escape),
        (br#""\u12g4""#, Problem::Escape),
        (b"{} {}", Problem::Trailing),
        (b"[1,]", Problem::Unexpected),
        (br#"{"a":1,}"#, Problem::Unexpected),
        (br#"{"a" 1}"#, Problem::Unexpected),
        (b"[1}", Problem::Unexpected),
        (b"NaN", Problem::Unexpected),
        (b"-Infinity", Problem::Unexpected),
        (b"01", Problem::Trailing),
        (b"1.", Problem::Ended),
        (b"1e999", Problem::Range),
        (b"\xef\xbb\xbf{}", Problem::Unexpected),
        (b"[", Problem::Ended),
        (b"{\"a\":", Problem::Ended),
        (b"\"a", Problem::Ended),
    ] {
        assert_eq!(problem(text), Some(expected), "{}", String::from_utf8_lossy(text));
    }
    let error = Doc::parse(br#"{"a":x}"#).err();
    assert_eq!(error, Some(JsonError { problem: Problem::Unexpected, at: 5 }));
}

#[test]
fn many_keys_are_compared_too() {
    let fields: Vec<_> = (0..200).map(|i| format!("\"k{i}\":{i}")).collect();
    assert_eq!(problem(format!("{{{}}}", fields.join(",")).as_bytes()), None);
    let twice = format!("{{{},\"k\\u0037\":0}}", fields.join(","));
    assert_eq!(problem(twice.as_bytes()), Some(Problem::DuplicateKey("k7".to_owned())));
}

#[test]
fn depth_is_bounded_and_costs_no_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(problem(nested(super::MAX_DEPTH).as_bytes()), None);
    assert_eq!(problem(nested(super::MAX_DEPTH + 1).as_bytes()), Some(Problem::Depth));
    assert_eq!(problem("[".repeat(5_000_000).as_bytes()), Some(Problem::Depth));
}

#[test]
fn written_objects_have_their_commas() {
    let mut out = Vec::new();
    let mut object = write::Object::open(&mut out);
    object.text("a", "x\"\n");
    object.raw("b", b"[1]");
    let mut array = write::Array::open(object.field("c"));
    write::string(array.item(), "1");
    write::Object::open(array.item()).close();
    array.close();
    object.flag("d", false);
    object.close();
    assert_eq!(String::from_utf8_lossy(&out), r#"{"a":"x\"\n","b":[1],"c":["1",{}],"d":false}"#);
}

/// A small generator: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_of<'t>(&mut self, these: &[&'t str]) -> &'t str {
        let n = u64::try_from(these.len()).expect("few");
        these[usize::try_from(self.below(n)).expect("few")]
    }
}

/// A text that is JSON, or nearly.
fn text(numbers: &mut Numbers, depth: u64, out: &mut String) {
    const SCALARS: &[&str] = &[
        "1",
        "-0",
        "0.5",
        "1e5",
        "1E-7",
        "12345678901234567890123",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\"",
        "\"\\n\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"ü\u{2028}\"",
        "\"\\/\"",
        "-",
        "01",
        "1.e2",
        ".5",
        "+1",
        "tru",
        "\"\\q\"",
        "\"\t\"",
        "\"\u{1f}\"",
        "\"",
        "'a'",
        "1e400",
        "\u{85}",
    ];
    const SPACE: &[&str] = &["", "", "", " ", "\n\t\r", "\u{b}", "\u{a0}"];
    out.push_str(numbers.one_of(SPACE));
    match numbers.below(if depth == 0 { 2 } else { 6 }) {
        0 => out.push_str(numbers.one_of(&SCALARS[..15])),
        1 if numbers.below(9) == 0 => out.push_str(numbers.one_of(SCALARS)),
        1 => out.push('7'),
        2 | 3 => list(numbers, depth, out, "[]", |_, _| {}),
        _ => list(numbers, depth, out, "{}", |numbers, out| {
            let key = numbers.below(1 << 40);
            let _ = write!(out, "\"k{key}\"");
            out.push_str(if numbers.below(60) == 0 { "" } else { ":" });
        }),
    }
    out.push_str(if numbers.below(4) == 0 { numbers.one_of(SPACE) } else { "" });
}

fn list(
    numbers: &mut Numbers,
    depth: u64,
    out: &mut String,
    brackets: &str,
    before: impl Fn(&mut Numbers, &mut String),
) {
    out.push_str(&brackets[..1]);
    for i in 0..numbers.below(5) {
        if i > 0 {
            out.push_str(if numbers.below(80) == 0 {
                numbers.one_of(&["", ",,", ":"])
            } else {
                ","
            });
        }
        before(numbers, out);
        text(numbers, depth - 1, out);
    }
    let wrong = numbers.below(80) == 0;
    out.push_str(if wrong { numbers.one_of(&["", "]", "}", ","]) } else { &brackets[1..] });
}

#[test]
fn it_accepts_what_serde_json_accepts() {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut accepted = 0;
    for round in 0..30_000 {
        let mut sample = String::new();
        text(&mut numbers, 4, &mut sample);
        let theirs = serde_json::from_str::<serde_json::Value>(&sample);
        let ours = Doc::parse(sample.as_bytes());
        assert_eq!(ours.is_ok(), theirs.is_ok(), "round {round}: {sample:?}: {ours:?} {theirs:?}");
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            accepted += 1;
            same(ours.root(), &theirs);
        }
    }
    assert!((5_000..28_000).contains(&accepted), "{accepted} of 30000: the samples are one-sided");
}

#[test]
fn a_changed_byte_changes_both_answers_alike() {
    let base =
        br#"{"a":[1,2.5,"x\u00e9\n",{"b":true}],"c":{"d":null,"e":"\ud83d\ude00"},"f":-1e3}"#;
    for at in 0..base.len() {
        for byte in 0..=255 {
            let mut sample = base.to_vec();
            sample[at] = byte;
            let ours = Doc::parse(&sample).map_err(|error| error.problem);
            let theirs = serde_json::from_slice::<serde_json::Value>(&sample);
            let stricter = matches!(ours, Err(Problem::DuplicateKey(_) | Problem::LoneSurrogate));
            assert!(stricter || ours.is_ok() == theirs.is_ok(), "{at} {byte} {ours:?} {theirs:?}");
        }
    }
}

fn same(ours: super::Value<'_>, theirs: &serde_json::Value) {
    match theirs {
        serde_json::Value::Array(theirs) => {
            let items: Vec<_> = ours.items().collect();
            assert_eq!(items.len(), theirs.len());
            items.into_iter().zip(theirs).for_each(|(ours, theirs)| same(ours, theirs));
        }
        serde_json::Value::Object(theirs) => {
            assert_eq!(ours.entries().count(), theirs.len());
            theirs.iter().for_each(|(key, value)| same(ours.get(key).expect(key), value));
        }
        serde_json::Value::String(theirs) => assert_eq!(ours.as_str().as_deref(), Some(&**theirs)),
        serde_json::Value::Bool(theirs) => assert_eq!(ours.as_bool(), Some(*theirs)),
        serde_json::Value::Null => assert!(ours.is_null()),
        // There is no negative zero among integers.
        serde_json::Value::Number(_) if ours.raw() == b"-0" => assert_eq!(ours.as_i64(), Some(0)),
        serde_json::Value::Number(theirs) => assert_eq!(ours.as_i64(), theirs.as_i64()),
    }
    let again: serde_json::Value = serde_json::from_slice(ours.raw()).expect("a whole value");
    assert_eq!(&again, theirs);
}
