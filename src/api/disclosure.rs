//! Tells the client what of its request was left out: `x-airelays-ignored-parameters`.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::id::hex;

const IGNORED: HeaderName = HeaderName::from_static("x-airelays-ignored-parameters");
/// Some servers and SDKs refuse longer header values.
const LIMIT: usize = 2048;

/// Adds the header, unless nothing was left out.
pub fn disclose(ignored: &[String], headers: &mut HeaderMap) {
    if let Some(value) = value(ignored) {
        headers.insert(IGNORED, value);
    }
}

/// The names of what was ignored, percent-encoded where a header could not carry them.
fn value(ignored: &[String]) -> Option<HeaderValue> {
    if ignored.is_empty() {
        return None;
    }
    let mut text = String::new();
    for name in ignored {
        if text.len() + name.len() > LIMIT {
            text.push_str(",...");
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        for byte in name.bytes() {
            if matches!(byte, b'%' | b',' | 0..=32 | 127..) {
                text.extend(["%", &hex(&[byte]).to_ascii_uppercase()]);
            } else {
                text.push(char::from(byte));
            }
        }
    }
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disclosure_fits_a_header() {
        let check = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            value(&names).map(|value| value.to_str().expect("ASCII").to_owned())
        };
        assert_eq!(check(&[]), None);
        assert_eq!(check(&["a", "messages[0].näme"]), Some("a,messages[0].n%C3%A4me".into()));
        assert_eq!(check(&["a,b\r\nx: y"]), Some("a%2Cb%0D%0Ax:%20y".into()));
        let long = check(&["a", &"x".repeat(3000)]).expect("a value");
        assert_eq!(long, "a,...");
    }
}
