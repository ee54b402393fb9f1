//! Server-sent events as bytes: where one event ends and what it is called.
//!
//! The relay forwards far more events than it reads. [`Splitter`] therefore only finds where
//! events end, and hands on the arriving buffer itself, cut at the last end; [`frames`] walks such
//! a run of whole events without copying it. Line ends are LF, CR and CRLF and nothing else: a
//! separator such as U+2028 inside a string is text.
//!
//! **Invariant:** the runs of a splitter and its rest, put together, are the input.
//! **Invariant:** no run depends on how the transport cut the input, except in where runs end.
//!
//! Not here: JSON (`wire::event`), keep-alives (`api::stream`), time limits (`relay::opened`).

use std::{borrow::Cow, mem};

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event is longer than anybody is ready to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one event of the stream is larger than {limit} bytes")]
pub struct TooLong {
    pub limit: usize,
}

/// Cuts a byte stream at the ends of events. What arrives whole is not copied.
#[derive(Debug)]
pub struct Splitter {
    /// The start of an event whose end has not arrived.
    rest: BytesMut,
    scan: Scan,
    limit: usize,
}

/// How far a buffer has been looked at, so that a long event is looked at once.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    /// Where the line that is being read begins.
    line: usize,
    /// Where to go on looking for its end.
    at: usize,
}

impl Splitter {
    /// Holds back at most `limit` bytes of an unfinished event.
    pub fn new(limit: usize) -> Self {
        Self { rest: BytesMut::new(), scan: Scan::default(), limit }
    }

    /// Takes the next chunk; gives the whole events that are there now, possibly none.
    ///
    /// # Errors
    ///
    /// When an event has grown over the limit.
    pub fn push(&mut self, mut chunk: Bytes) -> Result<Bytes, TooLong> {
        if self.rest.is_empty() {
            let end = self.scan.last_end(&chunk);
            let run = chunk.split_to(end);
            self.rest.extend_from_slice(&chunk);
            return self.checked(run);
        }
        self.rest.extend_from_slice(&chunk);
        let end = self.scan.last_end(&self.rest);
        let run = self.rest.split_to(end).freeze();
        self.checked(run)
    }

    /// Whether what is held back is the beginning of an event, and not of a comment.
    pub fn is_inside_event(&self) -> bool {
        self.rest.first().is_some_and(|byte| *byte != b':')
    }

    /// What is left when the stream has ended, and whether it is a whole event.
    ///
    /// An event whose blank line is a lone CR ends only here, since a LF might have followed.
    pub fn finish(&mut self) -> (Bytes, Ended) {
        let rest = mem::take(&mut self.rest).freeze();
        let ended = match rest.last() {
            None => Ended::Whole,
            Some(b'\r') if self.scan.at == self.scan.line => Ended::Whole,
            Some(_) => Ended::Cut,
        };
        self.scan = Scan::default();
        (rest, ended)
    }

    fn checked(&self, run: Bytes) -> Result<Bytes, TooLong> {
        if self.rest.len() > self.limit { Err(TooLong { limit: self.limit }) } else { Ok(run) }
    }
}

/// Whether a stream ended where an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Whole,
    Cut,
}

impl Scan {
    /// The offset past the last whole event in `bytes`; `self` then speaks of what follows it.
    fn last_end(&mut self, bytes: &[u8]) -> usize {
        let mut end = 0;
        while let Some(found) = bytes.get(self.at..).and_then(|tail| memchr2(b'\n', b'\r', tail)) {
            let at = self.at + found;
            let Some(next) = after_line_end(bytes, at) else {
                self.at = at;
                break;
            };
            if at == self.line {
                end = next;
            }
            self.line = next;
            self.at = next;
        }
        if bytes.len() > self.at && !matches!(bytes.last(), Some(b'\r')) {
            self.at = bytes.len();
        }
        self.line -= end.min(self.line);
        self.at -= end.min(self.at);
        end
    }
}

/// The offset past the line end at `at`, or `None` when a CR is the last byte that is known.
fn after_line_end(bytes: &[u8], at: usize) -> Option<usize> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), None) => None,
        (Some(b'\r'), Some(b'\n')) => Some(at + 2),
        _ => Some(at + 1),
    }
}

/// One event of a run, borrowed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The exact bytes, blank line included.
    pub raw: &'a [u8],
    /// The `event:` field, or nothing when the event has none.
    pub name: &'a [u8],
    /// The `data:` lines joined by LF; nothing for a comment.
    pub data: Cow<'a, [u8]>,
}

impl<'a> Frame<'a> {
    /// Whether it says nothing to a client.
    pub fn is_comment(&self) -> bool {
        self.name.is_empty() && self.data.is_empty()
    }

    fn parse(raw: &'a [u8]) -> Self {
        let mut frame = Self { raw, name: b"", data: Cow::Borrowed(b"") };
        let mut has_data = false;
        for line in lines(raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(raw)) {
            match field(line) {
                (b"event", value) => frame.name = value,
                (b"data", value) if has_data => {
                    let joined = frame.data.to_mut();
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                }
                (b"data", value) => {
                    frame.data = Cow::Borrowed(value);
                    has_data = true;
                }
                // Comments, `id`, `retry` and fields that are still to be invented.
                _ => {}
            }
        }
        frame
    }
}

/// The events of `run`, which holds whole events only.
pub fn frames(run: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut rest = run;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (event, tail) = rest.split_at(first_end(rest));
        rest = tail;
        Some(Frame::parse(event))
    })
}

/// The offset past the first blank line of `bytes`, or their length when there is none.
fn first_end(bytes: &[u8]) -> usize {
    let mut line = 0;
    while let Some(found) = bytes.get(line..).and_then(|tail| memchr2(b'\n', b'\r', tail)) {
        let next = after_line_end(bytes, line + found).unwrap_or(bytes.len());
        if found == 0 {
            return next;
        }
        line = next;
    }
    bytes.len()
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let next = after_line_end(rest, end).unwrap_or(rest.len()).min(rest.len());
        let (line, tail) = (&rest[..end], &rest[next..]);
        rest = tail;
        Some(line)
    })
}

/// Name and value of a line: one space after the colon belongs to neither.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        None => (line, b""),
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client of `chunks` sees: the events as text, and how the stream ended.
    fn split(chunks: &[&[u8]]) -> (Vec<String>, Ended) {
        let mut splitter = Splitter::new(1 << 20);
        let mut seen = Vec::new();
        let mut all = Vec::new();
        let mut take = |run: &[u8]| {
            for frame in frames(run) {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                seen.push(format!("{}|{}", text(frame.name), text(&frame.data)));
            }
            all.extend_from_slice(run);
        };
        for chunk in chunks {
            take(&splitter.push(Bytes::copy_from_slice(chunk)).expect("short events"));
        }
        let (rest, ended) = splitter.finish();
        match ended {
            Ended::Whole => take(&rest),
            Ended::Cut => all.extend_from_slice(&rest),
        }
        assert_eq!(all, chunks.concat(), "no byte is lost");
        (seen, ended)
    }

    fn whole(events: &[&str]) -> (Vec<String>, Ended) {
        (events.iter().map(ToString::to_string).collect(), Ended::Whole)
    }

    #[test]
    fn the_rules_of_the_format_hold() {
        for (stream, events) in [
            ("event: a\ndata: 1\n\ndata: 2\n\n", &["a|1", "|2"][..]),
            ("event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", &["a|1", "|2"]),
            ("event: a\rdata: 1\r\rdata: 2\r\r", &["a|1", "|2"]),
            ("event: a\ndata: 1\r\n\r\ndata: 2\n\n", &["a|1", "|2"]),
            (": ping\n\ndata:x\n\n", &["|", "|x"]),
            ("data: 1\ndata:  2\ndata\n\n", &["|1\n 2\n"]),
            ("\u{feff}event: a\ndata: 1\n\n", &["a|1"]),
            ("id: 7\nretry: 3\nevent: a\nevent: b\n\n", &["b|"]),
            ("\n\ndata: 1\n\n", &["|", "|", "|1"]),
            ("data: a\u{2028}b\u{2029}c\u{85}d\n\n", &["|a\u{2028}b\u{2029}c\u{85}d"]),
        ] {
            assert_eq!(split(&[stream.as_bytes()]), whole(events), "{stream:?}");
        }
    }

    #[test]
    fn chunking_does_not_matter() {
        for stream in [
            "event: a\ndata: {\"é\":\"\u{2028}\"}\n\n: c\n\ndata: 2\n\n",
            "event: a\r\ndata: 1\r\n\r\n: c\r\n\r\ndata: 2\r\ndata: 3\r\n\r\n",
            "event: a\rdata: 1\r\r: c\r\rdata: 2\r\r",
            "event: a\ndata: 1\r\r\ndata: 2\n\r\ndata: 3\r\n\n\nx",
        ] {
            let stream = stream.as_bytes();
            let expected = split(&[stream]);
            for i in 0..=stream.len() {
                for j in i..=stream.len() {
                    let cut = split(&[&stream[..i], &stream[i..j], &stream[j..]]);
                    assert_eq!(cut, expected, "cut at {i}, {j}");
                }
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(split(&bytes), expected);
        }
    }

    #[test]
    fn a_stream_that_stops_inside_an_event_is_cut() {
        for stream in ["data: 1\n\ndata: 2", "data: 1\n\ndata: 2\n", "data: 1\n\ndata: 2\r"] {
            let (events, ended) = split(&[stream.as_bytes()]);
            assert_eq!(
                (events.as_slice(), ended),
                (&["|1".to_owned()][..], Ended::Cut),
                "{stream:?}"
            );
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut splitter = Splitter::new(10);
        assert!(splitter.push(Bytes::from_static(b"data: 1234")).is_ok());
        assert_eq!(splitter.push(Bytes::from_static(b"5")), Err(TooLong { limit: 10 }));
    }

    #[test]
    fn what_arrives_whole_is_not_copied() {
        let chunk = Bytes::from_static(b"data: 1\n\ndata: 2\n\ndata");
        let run = Splitter::new(99).push(chunk.clone()).expect("short");
        assert_eq!((run.as_ptr(), run.len()), (chunk.as_ptr(), 18));
    }
}
