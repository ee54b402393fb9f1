//! JSON string literals, in ASCII.
//!
//! A log is read with all kinds of tools. Some end a line at U+2028, some terminals obey control
//! characters and reverse their text at U+202E; so whatever is not printable ASCII is escaped.
//!
//! Invariant: what is written holds no byte outside 0x20 to 0x7e, except 0x7f as it was given.
//!
//! Not here: JSON that is JSON already (`json`).

/// As many bytes as are looked at together.
const WORD: usize = 8;

/// How much is gathered before it is appended.
const BLOCK: usize = 32 * WORD;

/// Appends `text` as a JSON string, quotes included.
pub fn push(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    push_escaped(text, out);
    out.push(b'"');
}

/// Appends `text` as the inside of a JSON string.
///
/// Most of what is logged is JSON in a string, where every sixth byte is a quote. So it goes word
/// by word, and where there is something to escape without a branch that depends on the byte.
pub fn push_escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut block = [0; BLOCK];
    let (mut at, mut filled) = (0, 0);
    while let Some(word) = bytes[at..].first_chunk::<WORD>() {
        // At worst each byte of the word becomes two.
        if filled > BLOCK - 2 * WORD {
            out.extend_from_slice(&block[..filled]);
            filled = 0;
        }
        match Contents::of(*word) {
            Contents::Plain => {
                block[filled..filled + WORD].copy_from_slice(word);
                filled += WORD;
            }
            Contents::Quoted => filled += escape(*word, &mut block[filled..]),
            Contents::Other => {
                out.extend_from_slice(&block[..filled]);
                filled = 0;
                // `at` is where a character starts, as all before it were taken whole.
                at += push_characters(&text[at..], out);
                continue;
            }
        }
        at += WORD;
    }
    out.extend_from_slice(&block[..filled]);
    push_characters(&text[at..], out);
}

/// What there is among the bytes of a word.
enum Contents {
    /// Nothing to escape.
    Plain,
    /// Quotes or backslashes, and nothing else to escape.
    Quoted,
    /// Control characters, or what is not ASCII.
    Other,
}

impl Contents {
    /// All bytes at once. The usual trick: taking away too much from a byte sets its highest bit.
    /// A borrow can mark the byte above as well, which only means a slower way.
    fn of(word: [u8; WORD]) -> Self {
        const EACH: u64 = 0x0101_0101_0101_0101;
        const HIGHEST: u64 = 0x80 * EACH;
        let word = u64::from_ne_bytes(word);
        let below = |word: u64, limit: u64| word.wrapping_sub(EACH * limit) & !word;
        let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
        if (below(word, 0x20) | word) & HIGHEST != 0 {
            Self::Other
        } else if (is(b'"') | is(b'\\')) & HIGHEST != 0 {
            Self::Quoted
        } else {
            Self::Plain
        }
    }
}

/// Escapes quotes and backslashes. Returns how much of `block` is filled.
fn escape(word: [u8; WORD], block: &mut [u8]) -> usize {
    const ROOM: usize = 2 * WORD;
    let Some(room) = block.first_chunk_mut::<ROOM>() else { return 0 };
    let mut filled = 0;
    for byte in word {
        room[filled % ROOM] = b'\\';
        filled += usize::from(matches!(byte, b'"' | b'\\'));
        room[filled % ROOM] = byte;
        filled += 1;
    }
    filled
}

/// The slow way, for the first part of `text`. Returns how many bytes were taken.
fn push_characters(text: &str, out: &mut Vec<u8>) -> usize {
    for (at, character) in text.char_indices() {
        if at >= BLOCK {
            return at;
        }
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            ' '..='\x7f' => out.extend(u8::try_from(character)),
            other => push_unicode(other, out),
        }
    }
    text.len()
}

/// Appends `\uXXXX`, twice for a character beyond the basic plane.
pub fn push_unicode(character: char, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for unit in character.encode_utf16(&mut [0; 2]) {
        let digit = |shift: u32| DIGITS[usize::from(*unit >> shift & 15)];
        out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        let mut out = Vec::new();
        push(text, &mut out);
        let literal = String::from_utf8(out).expect("ASCII");
        assert_eq!(serde_json::from_str::<String>(&literal).expect("a string"), text);
        assert!(literal.bytes().all(|byte| (0x20..=0x7f).contains(&byte)), "{literal}");
        literal
    }

    #[test]
    fn text_becomes_a_literal() {
        for (text, literal) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            (r#"data: {"a":"b\\n"}"#, r#""data: {\"a\":\"b\\\\n\"}""#),
            ("a\nb\rc\td\0e\x1b[0m", r#""a\nb\rc\td\u0000e\u001b[0m""#),
            ("\u{2028}\u{85}\u{202e}\u{e9}", r#""\u2028\u0085\u202e\u00e9""#),
            ("\u{1f980}", r#""\ud83e\udd80""#),
        ] {
            assert_eq!(check(text), literal);
        }
    }

    #[test]
    fn every_character_survives_at_every_offset() {
        for odd in ["\"", "\\", "\n", "\u{e9}", "\u{20ac}", "\u{1f980}", "\u{7f}"] {
            for offset in 0..200 {
                check(&format!("{}{odd}{}", "x".repeat(offset), "y".repeat(200 - offset)));
                check(&format!("{}{}", "x".repeat(offset), odd.repeat(100)));
            }
        }
    }
}
