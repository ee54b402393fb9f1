//! Queries and form bodies: percent-encoding, both ways.
//!
//! Not here: what the fields mean.

/// `a=b&c=d` of `pairs`, each part encoded; a space is `%20`, which every reader takes.
pub fn encode(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| [escaped(name), escaped(value)].join("=")).collect();
    pairs.join("&")
}

/// The decoded pairs of `a=b&c=d`, in order. What is no valid escape stays as it is.
pub fn decode(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescaped(name), unescaped(value))
        })
        .collect()
}

fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&crate::id::hex(&[byte]).to_ascii_uppercase());
        }
        out
    })
}

fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, ..]) if let Some(byte) = byte(*high, *low) => {
                out.push(byte);
                rest = &after[2..];
            }
            (other, _) => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        let pairs = [("a b", "c&d=e+f%/ü"), ("empty", ""), ("plain", "A-z_0.9~")];
        let text = encode(&pairs);
        assert_eq!(text, "a%20b=c%26d%3De%2Bf%25%2F%C3%BC&empty=&plain=A-z_0.9~");
        let back = decode(&text);
        let back: Vec<_> = back.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(back, pairs);
    }

    #[test]
    fn odd_queries_are_read_as_far_as_they_go() {
        for (text, expected) in [
            ("", vec![]),
            ("&&", vec![]),
            ("a", vec![("a", "")]),
            ("a=b=c", vec![("a", "b=c")]),
            ("a=1+2", vec![("a", "1 2")]),
            ("a=%2&b=%zz&c=%", vec![("a", "%2"), ("b", "%zz"), ("c", "%")]),
            ("a=%FF", vec![("a", "\u{fffd}")]),
            ("a=%+1", vec![("a", "% 1")]),
        ] {
            let found = decode(text);
            let found: Vec<_> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
