//! `Range` of one part, as RFC 9110 has it. Whoever asks for several gets the whole.

use http::{
    HeaderMap,
    header::{IF_RANGE, RANGE},
};

/// What of a content is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    Part {
        start: u64,
        length: u64,
    },
    /// What there is not.
    Nothing,
}

/// What `asked` wants of `size` bytes that go by `etag`.
pub fn read(asked: &HeaderMap, etag: &str, size: u64) -> Wanted {
    let is_other = asked.get(IF_RANGE).is_some_and(|known| known.as_bytes() != etag.as_bytes());
    let range = asked.get(RANGE).and_then(|range| range.to_str().ok());
    match range.filter(|_| !is_other).and_then(|range| range.strip_prefix("bytes=")) {
        Some(range) => of_text(range.trim(), size),
        None => Wanted::Whole,
    }
}

fn of_text(range: &str, size: u64) -> Wanted {
    let Some((first, last)) = range.split_once('-') else { return Wanted::Whole };
    let number =
        |text: &str| text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse::<u64>());
    let (start, end) = match (first.is_empty(), number(first), number(last)) {
        (true, _, Some(Ok(suffix))) => (size.saturating_sub(suffix), size),
        (false, Some(Ok(start)), Some(_)) if last.is_empty() => (start, size),
        (false, Some(Ok(start)), Some(Ok(last))) if start <= last => {
            (start, last.saturating_add(1).min(size))
        }
        _ => return Wanted::Whole,
    };
    if start >= end { Wanted::Nothing } else { Wanted::Part { start, length: end - start } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |start, length| Wanted::Part { start, length };
        for (range, size, expected) in [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=2-5", 10, part(2, 4)),
            ("bytes=5-", 10, part(5, 5)),
            ("bytes=5-99", 10, part(5, 5)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-99", 10, part(0, 10)),
            ("bytes=10-", 10, Wanted::Nothing),
            ("bytes=-0", 10, Wanted::Nothing),
            ("bytes=0-", 0, Wanted::Nothing),
            ("bytes=5-2", 10, Wanted::Whole),
            ("bytes=1-2,4-5", 10, Wanted::Whole),
            ("bytes=-", 10, Wanted::Whole),
            ("bytes=+1-2", 10, Wanted::Whole),
            ("lines=1-2", 10, Wanted::Whole),
            ("bytes=18446744073709551615-18446744073709551615", 10, Wanted::Nothing),
            ("bytes=99999999999999999999-", 10, Wanted::Whole),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(RANGE, range.parse().expect("a header"));
            assert_eq!(read(&asked, "\"e\"", size), expected, "{range}");
            asked.insert(IF_RANGE, "\"f\"".parse().expect("a header"));
            assert_eq!(read(&asked, "\"e\"", size), Wanted::Whole);
        }
        assert_eq!(read(&HeaderMap::new(), "\"e\"", 1), Wanted::Whole);
    }
}
