//! What is hidden, what is not, and that the line survives it.

use super::*;
use crate::redact::tests::Dice;

fn redactor(secrets: &[&str]) -> Redactor {
    let redactor = Redactor::new();
    redactor.replace("test", secrets.iter().map(|secret| Secret::new(*secret)));
    redactor
}

fn lines(secrets: &[&str], text: &str) -> String {
    let mut lines = text.as_bytes().to_vec();
    redactor(secrets).lines(&mut lines);
    String::from_utf8(lines).expect("ASCII")
}

#[test]
fn secrets_are_hidden_wherever_they_stand() {
    for (text, expected) in [
        ("{\"a\":\"T0PS3CRET-T0PS3CRET\"}\n", "{\"a\":\"[REDACTED]\"}\n"),
        ("{\"xT0PS3CRET-T0PS3CRETx\":1}\n", "{\"x[REDACTED]x\":1}\n"),
        (
            "{\"a\":\"T0PS3CRET-T0PS3CRETT0PS3CRET-T0PS3CRET\"}\n{\"b\":\"c\"}\n",
            "{\"a\":\"[REDACTED][REDACTED]\"}\n{\"b\":\"c\"}\n",
        ),
        (
            "{}\n{\"a\":\"{\\\"b\\\":\\\"T0PS3CRET-T0PS3CRET\\\"}\"}\n",
            "{}\n{\"a\":\"{\\\"b\\\":\\\"[REDACTED]\\\"}\"}\n",
        ),
        ("{\"a\":\"T0PS3CRET-T0PS3CRE\"}\n", "{\"a\":\"T0PS3CRET-T0PS3CRE\"}\n"),
    ] {
        assert_eq!(lines(&["T0PS3CRET-T0PS3CRET"], text), expected);
    }
}

#[test]
fn a_secret_is_found_at_every_level_of_json_in_json() {
    for secret in ["p\"ss\\word-\u{e9}-and-more", "simple-enough-one", "with/slash+and=signs"] {
        let mut text = format!("to {secret} for");
        for level in 1..=3 {
            let mut line = b"{\"a\":".to_vec();
            literal::push(&text, &mut line);
            line.extend_from_slice(b"}\n");
            redactor(&[secret]).lines(&mut line);
            let line = String::from_utf8(line).expect("ASCII");
            serde_json::from_str::<serde_json::Value>(&line).expect("still JSON");
            assert!(line.contains("to [REDACTED] for"), "level {level}: {line}");
            text = serde_json::to_string(&text).expect("a string");
        }
    }
    let slashed = "{\"a\":\"with\\/slash+and=signs\",\"b\":\"with%2Fslash%2Band%3Dsigns\"}";
    let hidden = lines(&["with/slash+and=signs"], slashed);
    assert_eq!(hidden, "{\"a\":\"[REDACTED]\",\"b\":\"[REDACTED]\"}");
}

#[test]
fn many_secrets_in_one_long_line_take_one_pass() {
    let text = format!("{{\"a\":\"{}\"}}\n", "T0PS3CRET-T0PS3CRET ".repeat(50_000));
    let expected = format!("{{\"a\":\"{}\"}}\n", "[REDACTED] ".repeat(50_000));
    assert!(lines(&["T0PS3CRET-T0PS3CRET"], &text) == expected, "each is hidden");
}

#[test]
fn the_line_stays_json_when_a_secret_looks_like_an_escape_or_a_number() {
    for (secret, text, expected) in [
        ("n-secret-secret", "{\"a\":\"\\n-secret-secret\"}", "{\"a\":\"\\n-secret-secret\"}"),
        ("n-secret-secret", "{\"a\":\"\\\\n-secret-secret\"}", "{\"a\":\"\\\\[REDACTED]\"}"),
        (
            "e9-secret-secret",
            "{\"a\":\"\\u00e9-secret-secret\"}",
            "{\"a\":\"\\u00e9-secret-secret\"}",
        ),
        (
            "00e9-secret-secret",
            "{\"a\":\"\\\\u00e9-secret-secret\"}",
            "{\"a\":\"\\\\u[REDACTED]\"}",
        ),
        ("123456789012", "{\"a\":-0123456789012.5,\"b\":1}", "{\"a\":\"[REDACTED]\",\"b\":1}"),
        ("true,false,true", "[true,false,true]", "[true,false,true]"),
        ("123456789012", "{\"a\":\"x123456789012\"}", "{\"a\":\"x[REDACTED]\"}"),
    ] {
        assert_eq!(lines(&[secret], text), expected);
    }
}

#[test]
fn the_longer_of_two_secrets_is_hidden_whole() {
    let secrets = ["abcdefghijkl", "abcdefghijklmnop"];
    assert_eq!(lines(&secrets, "\"abcdefghijklmnop\""), "\"[REDACTED]\"");
    assert_eq!(lines(&secrets, "\"abcdefghijklm\""), "\"[REDACTED]m\"");
}

#[test]
fn short_secrets_are_left_alone() {
    assert_eq!(lines(&["", "a", "elevenchars"], "\"elevenchars a\""), "\"elevenchars a\"");
}

#[test]
fn a_replaced_secret_stays_hidden_for_one_more_generation() {
    let redactor = redactor(&["first-secret"]);
    let shown = |text| redactor.text(text) == text;
    redactor.replace("other", [Secret::new("other-secret")]);
    redactor.replace("test", [Secret::new("second-secret")]);
    assert_eq!(["first-secret", "second-secret", "other-secret"].map(shown), [false; 3]);
    redactor.replace("test", []);
    assert_eq!(["first-secret", "second-secret", "other-secret"].map(shown), [true, false, false]);
    assert_eq!(redactor.text("say second-secret!"), "say [REDACTED]!");
    assert_eq!(format!("{redactor:?}"), "Redactor(..)");
}

#[test]
fn no_planted_secret_survives_and_every_line_stays_json() {
    let secrets = [
        "n-T0PS3CRET-1",
        "u0031-T0PS3CRET",
        "a\"b\\c/d\u{e9}\u{1f980}",
        "\\\\\\\\\\\\\"\"\"\"\"\"",
        "123456789012",
    ];
    let redactor = redactor(&secrets);
    let pieces = ["\\", "\"", "\n", "n", "u", "\\u", "x", "\u{e9}", "12", "]\"}"];
    let mut dice = Dice(0x5eed);
    for round in 0..20_000 {
        let mut text = String::new();
        for _ in 0..dice.roll(8) {
            let from = if dice.roll(4) == 0 { &secrets[..] } else { &pieces[..] };
            text.push_str(dice.pick(from));
        }
        let mut line = b"{\"a\":".to_vec();
        literal::push(&text, &mut line);
        line.extend_from_slice(b",\"b\":-123456789012}\n");
        let before = line.clone();
        redactor.lines(&mut line);
        let read: serde_json::Value = serde_json::from_slice(&line).expect("still JSON");
        let shown = read["a"].as_str().expect("text");
        for secret in secrets {
            assert!(!shown.contains(secret), "round {round}: {text:?} is shown as {shown:?}");
        }
        assert_eq!(read["b"], REDACTED, "round {round}");
        let untouched = secrets.iter().all(|secret| !text.contains(secret));
        let hidden = shown != text;
        assert!(!(untouched && hidden), "round {round}: {text:?} is shown as {shown:?}");
        redactor.lines(&mut line);
        assert!(before.ends_with(b"\n") && line.ends_with(b"\n"));
    }
}
