//! What fuzz targets reach into. Nobody's API: it is there only with the feature `internals`.
//!
//! Each function takes any bytes and holds a part of the program to what it promises about them.
//! It panics when a promise is broken, which is what a fuzzer looks for; the kept corpora run
//! through the same functions as an ordinary test. Beside them is what `cargo xtask week` writes.

#![expect(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "to panic at a broken promise is what these are for"
)]

#[cfg(test)]
mod fixtures;
mod strangers;

pub use strangers::{callback, host, settings};

use bytes::Bytes;
use serde_json::Value;

use crate::{
    auth::{
        sealed::{Key, Sealed},
        stored::Record,
    },
    clock::Clock,
    redact::Redactor,
    secret::Secret,
    slot::week,
    wire::{
        json::{self, Doc},
        reply::{
            Progress, Reader, chat, completions,
            heard::Answer,
            responses::{Collect, Forward},
        },
        request::{self, Options, Translated},
        sse::{self, Ended, Splitter},
    },
};

/// A part of the program, held to its promises.
pub type Part = fn(&[u8]);

/// Every part, with the name of its corpus.
pub const PARTS: &[(&str, Part)] = &[
    ("callback", callback),
    ("host", host),
    ("json", json),
    ("log", log),
    ("replies", replies),
    ("requests", requests),
    ("settings", settings),
    ("splitter", splitter),
    ("stored_login", stored_login),
];

/// A stream is cut into the same events however it arrives, and no byte is lost.
pub fn splitter(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let whole = split(stream, stream.len().max(1));
    let chopped = split(stream, usize::from(*size).max(1));
    assert_eq!(whole, chopped, "chunks of {size} bytes make a difference");
}

/// Name and data.
type Event = (Vec<u8>, Vec<u8>);

/// The events, and whether the stream ended with one.
fn split(stream: &[u8], size: usize) -> (Vec<Event>, bool) {
    let mut splitter = Splitter::new(usize::MAX);
    let (mut events, mut seen) = (Vec::new(), Vec::new());
    let mut take = |run: &[u8]| {
        events.extend(sse::frames(run).map(|frame| (frame.name.to_vec(), frame.data.to_vec())));
        seen.extend_from_slice(run);
    };
    for chunk in stream.chunks(size) {
        take(&splitter.push(Bytes::copy_from_slice(chunk)).unwrap_or_default());
    }
    let (rest, ended) = splitter.finish();
    if ended == Ended::Whole {
        take(&rest);
    } else {
        seen.extend_from_slice(&rest);
    }
    assert_eq!(seen, stream, "bytes are lost");
    (events, ended == Ended::Whole)
}

/// What our reader takes is JSON to others as well.
pub fn json(data: &[u8]) {
    let is_taken = !data.is_empty() && Doc::parse(data).is_ok();
    let read = serde_json::from_slice::<serde::de::IgnoredAny>(data);
    if let (true, Err(error)) = (is_taken, read) {
        panic!("taken, but {error}");
    }
}

/// A request of any dialect is refused or becomes JSON that the upstream can read.
pub fn requests(data: &[u8]) {
    for no_tools in [false, true] {
        let options = Options { no_tools, reasoning_summary: Some("auto"), ..Options::PLAIN };
        let translated = [
            request::chat::translate(data, &options),
            request::responses::translate(data, &options),
            request::completions::translate(data, &options),
        ];
        translated.iter().flatten().for_each(is_sendable);
    }
}

fn is_sendable(translated: &Translated) {
    let body = Doc::parse(translated.body());
    let Ok(body) = body else { panic!("the translated body is no JSON") };
    let is = |name: &str, value: bool| {
        body.root().get(name).and_then(json::Value::as_bool) == Some(value)
    };
    assert!(is("store", false) && is("stream", true), "store and stream must be said");
    assert_eq!(translated.session.len(), 36, "a session is a UUID");
    if let Some(lighter) = translated.without("reasoning.summary") {
        is_sendable(&lighter);
    }
    if let Some(lighter) = translated.without_reasoning() {
        is_sendable(&lighter);
    }
}

/// A streamed answer and a collected one say the same, however the events arrive.
pub fn replies(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let reasoning = match size % 4 {
        0 => chat::Reasoning::Think,
        1 => chat::Reasoning::Hidden,
        _ => chat::Reasoning::Content,
    };
    let settings = chat::Settings { include_usage: true, reasoning, ..chat::Settings::default() };
    let mut chunks = chat::Chunks::new(settings.clone());
    let mut completion = chat::Completion::new(settings);
    let mut text = completions::Completion::new(completions::Settings::default());
    let mut readers = (Reader::default(), Reader::default(), Reader::default());
    let (mut forward, mut collect) =
        (Forward::new(<_>::default(), <_>::default()), Collect::default());
    let mut splitter = Splitter::new(usize::MAX);
    for chunk in stream.chunks(usize::from(*size).max(1)) {
        let run = splitter.push(Bytes::copy_from_slice(chunk)).unwrap_or_default();
        let streamed = readers.0.read_run(&run, &mut chunks);
        let collected = readers.1.read_run(&run, &mut completion);
        assert_eq!(streamed, collected, "the two ways end differently");
        let others =
            (readers.2.read_run(&run, &mut text), forward.run(&run), collect.read_run(&run));
        match streamed {
            Ok(Progress::More) => {}
            Ok(Progress::Ended(end)) => {
                chunks.end(&end);
                agree(&chunks.take(), &completion.finish(&end));
                is_json(&text.finish(&end));
                if matches!(others.2, Ok(Progress::Ended(_))) {
                    is_json(&collect.finish());
                }
                return;
            }
            Ok(Progress::Failed(_)) | Err(_) => return,
        }
    }
}

fn agree(chunks: &[u8], completion: &[u8]) {
    assert_eq!(
        Answer::of_chunks(chunks),
        Answer::of_completion(completion),
        "a streamed answer and a collected one differ"
    );
}

fn is_json(text: &[u8]) -> Value {
    match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(text)),
    }
}

/// What is hidden in a line of the log leaves a line of JSON, and the secret that is known is hidden.
pub fn log(data: &[u8]) {
    let redactor = Redactor::new();
    redactor.replace("test", [Secret::new("hidden-by-its-value")]);
    let text = String::from_utf8_lossy(data);
    let Ok(mut line) = serde_json::to_vec(&(&text, 7, &text)) else { return };
    line.push(b'\n');
    redactor.lines(&mut line);
    let read: Result<Value, _> = serde_json::from_slice(&line);
    assert!(read.is_ok(), "no JSON any more: {}", String::from_utf8_lossy(&line));
    assert_eq!(memchr::memchr_iter(b'\n', &line).count(), 1, "another number of lines");
    let hidden = b"hidden-by-its-value";
    assert!(memchr::memmem::find(&line, hidden).is_none(), "a secret is shown");
}

/// A stored login is read or refused, and what is read can be described. One that is sealed is not
/// opened by a key that it was not sealed with.
pub fn stored_login(data: &[u8]) {
    if let (Ok(Some(sealed)), Some(key)) = (Sealed::read(data), Key::of("key", &[7; 32])) {
        assert!(sealed.open(&key).is_err(), "what nobody sealed is open");
    }
    if let Ok(record) = Record::read(data) {
        let described = format!("{:?}", record.describe());
        for secret in [&record.tokens.access, &record.tokens.refresh].into_iter().flatten() {
            let secret = secret.expose();
            assert!(secret.len() < 12 || !described.contains(secret), "a token is shown");
        }
    }
}

/// The simulated week of the slots: the names of its files below `docs`, and their texts.
pub fn week() -> [(&'static str, String); 2] {
    let rows = week::report(Clock::system().instant());
    [("slots-week.md", week::page(&rows)), ("slots-week.svg", week::picture(&rows))]
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Numbers that look random and are the same every time.
    struct Seeded(u64);

    impl Seeded {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or(0)
        }
    }

    /// `data` with a byte changed, a piece left out or a piece of it said twice.
    fn disturbed(data: &[u8], seed: &mut Seeded) -> Vec<u8> {
        const BYTES: &[u8] = b"\"\\{}[]:,\n\r 0-e\x00\xc3u\xff";
        let mut data = data.to_vec();
        for _ in 0..=seed.below(3) {
            let (at, length) = (seed.below(data.len()), seed.below(24));
            let end = (at + length).min(data.len());
            match seed.below(4) {
                0 => drop(data.drain(at..end)),
                1 => drop(data.splice(at..at, data[at..end].to_vec())),
                _ if at < data.len() => data[at] = BYTES[seed.below(BYTES.len())],
                _ => {}
            }
        }
        data
    }

    #[test]
    fn the_kept_corpora_break_no_promise() {
        let mut seed = Seeded(0x9e37_79b9_7f4a_7c15);
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, part) in PARTS {
            let mut count = 0;
            for entry in fs::read_dir(fuzz.join(name)).expect("a corpus") {
                let data = fs::read(entry.expect("an entry").path()).expect("readable");
                part(&data);
                // Cut anywhere, it is another input.
                let step = data.len() / 64 + 1;
                (0..data.len()).step_by(step).for_each(|end| part(&data[..end]));
                (0..100).for_each(|_| part(&disturbed(&data, &mut seed)));
                count += 1;
            }
            assert!(count > 2, "{name} has a corpus of {count}");
        }
    }
}
