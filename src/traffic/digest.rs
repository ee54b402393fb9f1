//! What a record says of a body.
//!
//! The length and the hash are those of the body as it was sent; what is shown of it is without
//! secrets. Files and pictures are not shown at all.
//!
//! Invariant: the snapshot is one JSON object with `kind` and `bytes`, whatever the body is.
//!
//! Not here: uploads, whose records are put together where their parts are known (`api`).

use sha2::{Digest, Sha256};

use crate::{id, redact};

/// Appends the snapshot of `content`.
pub fn write(content_type: Option<&str>, content: &[u8], out: &mut Vec<u8>) {
    if content.is_empty() {
        out.extend_from_slice(br#"{"kind":"empty","bytes":0}"#);
        return;
    }
    let form = Form::of(content_type);
    let before = out.len();
    if form == Form::Text {
        start("json", content, out);
        out.extend_from_slice(br#","json":"#);
        if redact::json::copy(content, out).is_ok() {
            out.push(b'}');
            return;
        }
        // The usual reasons are a stream and a cut body; both fail early or cost one pass.
        out.truncate(before);
    }
    match form {
        Form::Text | Form::Fields => {
            let text = String::from_utf8_lossy(content);
            start("text", content, out);
            out.extend_from_slice(br#","text":"#);
            match form {
                Form::Fields => redact::literal::push(&redact::query::form(&text), out),
                Form::Text | Form::Binary => redact::literal::push(&text, out),
            }
        }
        Form::Binary => {
            start("binary_summary", content, out);
            out.extend_from_slice(br#","note":"Binary content is not logged.""#);
        }
    }
    out.push(b'}');
}

fn start(kind: &str, content: &[u8], out: &mut Vec<u8>) {
    let hash = id::hex(&Sha256::digest(content));
    let bytes = content.len();
    out.extend_from_slice(
        format!(r#"{{"kind":"{kind}","bytes":{bytes},"sha256":"{hash}""#).as_bytes(),
    );
}

/// What a body is made of, by its declared type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    /// Names and values, as a browser's form sends them.
    Fields,
    Binary,
}

impl Form {
    fn of(content_type: Option<&str>) -> Self {
        let Some(content_type) = content_type else { return Self::Text };
        let essence = content_type.split(';').next().unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        if essence == "application/x-www-form-urlencoded" {
            return Self::Fields;
        }
        let textual = ["json", "xml", "javascript"].iter().any(|part| essence.contains(part));
        if essence.is_empty() || essence.starts_with("text/") || textual {
            Self::Text
        } else {
            Self::Binary
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: Option<&str>, content: &[u8], expected: &str) {
        let mut out = Vec::new();
        write(content_type, content, &mut out);
        let out = String::from_utf8(out).expect("ASCII");
        serde_json::from_str::<serde_json::Value>(&out).expect("JSON");
        // The hash is looked at once, below.
        let parts: Vec<&str> = out.split(r#","sha256":""#).collect();
        let shown = match parts.as_slice() {
            [before, after] => format!("{before}{}", &after[65..]),
            _ => out.clone(),
        };
        assert_eq!(shown, expected, "{content_type:?}");
    }

    #[test]
    fn bodies_are_shown_by_their_type() {
        let json = r#"{"kind":"json","bytes":9,"json":{"a":"b"}}"#;
        for content_type in [
            None,
            Some(""),
            Some("application/json"),
            Some("Application/JSON; charset=utf-8"),
            Some("text/plain"),
            Some("application/problem+json"),
        ] {
            check(content_type, br#"{"a":"b"}"#, json);
        }
        let binary =
            r#"{"kind":"binary_summary","bytes":9,"note":"Binary content is not logged."}"#;
        for content_type in ["image/png", "multipart/form-data; boundary=x", "application/zip"] {
            check(Some(content_type), br#"{"a":"b"}"#, binary);
        }
        check(Some("image/png"), b"", r#"{"kind":"empty","bytes":0}"#);
    }

    #[test]
    fn secrets_are_not_shown() {
        check(
            None,
            br#"{"api_key":"T0P"}"#,
            r#"{"kind":"json","bytes":17,"json":{"api_key":"[REDACTED]"}}"#,
        );
        check(
            Some("application/x-www-form-urlencoded"),
            b"grant_type=x&code=T0P",
            r#"{"kind":"text","bytes":21,"text":"grant_type=[REDACTED]&code=[REDACTED]"}"#,
        );
    }

    #[test]
    fn what_is_not_json_is_text() {
        check(None, b"data: {}\n\n", r#"{"kind":"text","bytes":10,"text":"data: {}\n\n"}"#);
        check(
            Some("application/json"),
            b"{\"a\":",
            r#"{"kind":"text","bytes":5,"text":"{\"a\":"}"#,
        );
        check(None, b"\xff\x00", r#"{"kind":"text","bytes":2,"text":"\ufffd\u0000"}"#);
    }

    #[test]
    fn the_hash_is_of_the_body_as_it_was_sent() {
        let mut out = Vec::new();
        write(None, b"abc", &mut out);
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(String::from_utf8_lossy(&out).contains(expected));
    }
}
