//! Pictures in requests: what their bytes say they are.
//!
//! The upstream refuses a whole request for one picture whose declared type is wrong, and clients
//! guess types from file names. So the first bytes decide, and a picture that is none is refused
//! here with its place.
//!
//! **Invariant:** the data of a picture is never decoded and encoded again.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

/// As many base64 characters as hold every signature.
const SIGNATURE: usize = 24;

/// How many characters are checked in one go.
const STRIDE: usize = 4096;

/// The type that the first bytes of a picture tell, if it is one that the upstream takes.
pub fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// Where a picture is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// An address that goes upstream as it is.
    AsIs,
    /// A data URL whose declared type is wrong.
    Retyped { mime: &'static str, data: &'a str },
    /// Data of no supported kind, or none at all.
    NoPicture,
    /// Something that no picture can be fetched from.
    NoAddress,
}

/// Looks at the address of a picture.
pub fn source(url: &str) -> Source<'_> {
    let Some((scheme, rest)) = url.split_once(':') else { return Source::NoAddress };
    match &*scheme.to_ascii_lowercase() {
        "http" | "https" if rest.starts_with("//") => Source::AsIs,
        "data" => {
            let Some((declared, data)) = split_data(rest) else { return Source::NoPicture };
            match sniff_base64(data) {
                _ if !is_base64(data) => Source::NoPicture,
                None => Source::NoPicture,
                Some(mime) if mime == declared => Source::AsIs,
                Some(mime) => Source::Retyped { mime, data },
            }
        }
        _ => Source::NoAddress,
    }
}

/// The type and the data of what follows `data:`, if it is in base64.
pub fn split_data(rest: &str) -> Option<(Cow<'_, str>, &str)> {
    let (head, data) = rest.split_once(',')?;
    let (mime, encoding) = head.rsplit_once(';')?;
    encoding.trim().eq_ignore_ascii_case("base64").then(|| {
        let mime = mime.split_once(';').map_or(mime, |(mime, _)| mime);
        (Cow::Borrowed(mime), data)
    })
}

/// Whether all of `data` is base64, line breaks allowed.
pub fn is_base64(data: &str) -> bool {
    let data = data.trim_ascii_end();
    let digits = data.trim_end_matches('=');
    let padding = data.len() - digits.len();
    let (mut n_digits, mut n_spaces) = (0, 0);
    // No branch and no exit inside, so that the compiler can use vector instructions.
    for part in digits.as_bytes().chunks(STRIDE) {
        let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        n_digits += part.iter().map(|byte| usize::from(digit(*byte))).sum::<usize>();
        n_spaces += part.iter().map(|byte| usize::from(byte.is_ascii_whitespace())).sum::<usize>();
    }
    let whole = (n_digits + padding).is_multiple_of(4);
    padding <= 2 && n_digits > 0 && whole && n_digits + n_spaces == digits.len()
}

/// The same as [`sniff`], of what is in base64.
pub fn sniff_base64(data: &str) -> Option<&'static str> {
    sniff(&first_bytes(data))
}

/// How many bytes `data` in base64 stands for; no fewer, where there are line breaks in it.
pub fn decoded_len(data: &str) -> usize {
    let padding = data.bytes().rev().take_while(|byte| *byte == b'=').count();
    (data.len() / 4 * 3).saturating_sub(padding)
}

fn first_bytes(data: &str) -> Vec<u8> {
    let digits = data.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let mut first: Vec<_> = digits.take(SIGNATURE).take_while(|byte| *byte != b'=').collect();
    first.truncate(first.len() / 4 * 4);
    STANDARD.decode(first).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=";

    #[test]
    fn the_bytes_decide_what_a_picture_is() {
        for (bytes, mime) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Some("image/webp")),
            (b"RIFF\x01\x02\x03\x04WAVE", None),
            (b"<svg ", None),
            (b"", None),
        ] {
            assert_eq!(sniff(bytes), mime, "{bytes:?}");
        }
    }

    #[test]
    fn the_length_of_a_picture_is_known_without_decoding_it() {
        for (data, expected) in [("", 0), ("AAAA", 3), ("AAA=", 2), ("AA==", 1), (PNG, 68)] {
            assert_eq!(decoded_len(data), expected, "{data}");
        }
    }

    #[test]
    fn an_address_is_kept_corrected_or_refused() {
        let wrapped = format!("{}\n{}", &PNG[..40], &PNG[40..]);
        for (url, expected) in [
            (format!("data:image/png;base64,{PNG}"), Source::AsIs),
            (format!("data:image/png;charset=x;base64,{PNG}"), Source::AsIs),
            (format!("data:image/png;base64,{wrapped}"), Source::AsIs),
            (
                format!("DATA:image/jpg;base64,{PNG}"),
                Source::Retyped { mime: "image/png", data: PNG },
            ),
            (format!("data:;base64,{PNG}"), Source::Retyped { mime: "image/png", data: PNG }),
            (format!("data:image/png,{PNG}"), Source::NoPicture),
            (format!("data:image/png;base64,{PNG}="), Source::NoPicture),
            (format!("data:image/png;base64,{PNG}*"), Source::NoPicture),
            ("data:image/png;base64,".to_owned(), Source::NoPicture),
            ("data:image/svg+xml;base64,PHN2Zz48L3N2Zz4K".to_owned(), Source::NoPicture),
            ("https://example.com/a.png".to_owned(), Source::AsIs),
            ("HTTP://example.com/a.png".to_owned(), Source::AsIs),
            ("file:///etc/passwd".to_owned(), Source::NoAddress),
            (PNG.to_owned(), Source::NoAddress),
            (String::new(), Source::NoAddress),
        ] {
            assert_eq!(source(&url), expected, "{url}");
        }
    }
}
