//! Whole translations, both ways, held to files: `tests/fixtures/translation/DIALECT/CASE`.
//!
//! A case is a request of a client (`request.json`), the events with which the upstream answers
//! (`upstream.sse`), and what becomes of both (`expected.txt`). Adding one is adding the first two
//! and running the tests with `UPDATE_EXPECT=1`.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use expect_test::expect_file;

use crate::wire::{
    json::Doc,
    reply::{
        End, Progress, Reader, Unreadable, chat, completions,
        responses::{Collect, Forward, Wanted},
    },
    request::{self, Options, Translate, Translated},
    sse::{Ended, Splitter},
};

const DIALECTS: [(&str, Translate); 3] = [
    ("chat", request::chat::translate),
    ("completions", request::completions::translate),
    ("responses", request::responses::translate),
];

struct Case {
    dialect: &'static str,
    dir: PathBuf,
    request: Translated,
    stream: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/translation");
    let mut cases = Vec::new();
    for (dialect, translate) in DIALECTS {
        let dirs = fs::read_dir(root.join(dialect)).expect("a folder");
        let mut dirs: Vec<_> = dirs.map(|dir| dir.expect("an entry").path()).collect();
        dirs.sort();
        for dir in dirs {
            let read = |name: &str| fs::read(dir.join(name)).expect("a file");
            let options = Options {
                session_hint: Some("00000000-0000-8000-8000-000000000000"),
                reasoning_summary: (dialect == "chat").then_some("auto"),
                ..Options::PLAIN
            };
            let request = translate(&read("request.json"), &options).expect("a request");
            let stream = read("upstream.sse");
            cases.push(Case { dialect, dir, request, stream });
        }
    }
    cases
}

/// What a client gets of a stream, and how that ended.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    streamed: String,
    collected: Option<String>,
    outcome: &'static str,
}

/// A teller and a collector of one dialect.
enum Telling {
    Responses(Box<(Forward, Collect)>),
    Chat(Box<(Reader, chat::Chunks, Reader, chat::Completion)>),
    Completions(Box<(Reader, completions::Chunks, Reader, completions::Completion)>),
}

impl Telling {
    fn of(case: &Case) -> Self {
        let reply = case.request.reply.clone();
        let model = case.request.model.clone();
        match case.dialect {
            "responses" => {
                let wanted = Wanted { private: false, bare: reply.stream.bare };
                let forward = Forward::new(wanted, reply.names.clone());
                Self::Responses(Box::new((forward, Collect::new(reply.names))))
            }
            "chat" => {
                let settings = chat::Settings {
                    id: "chatcmpl-1".into(),
                    model,
                    created: 5,
                    include_usage: reply.stream.include_usage,
                    legacy_function: reply.legacy_function,
                    reasoning: chat::Reasoning::Content,
                    has_tier: reply.has_tier,
                    names: reply.names,
                };
                Self::Chat(Box::new((
                    Reader::default(),
                    chat::Chunks::new(settings.clone()),
                    Reader::default(),
                    chat::Completion::new(settings),
                )))
            }
            _ => {
                let settings = completions::Settings {
                    id: "cmpl-1".into(),
                    model,
                    created: 5,
                    include_usage: reply.stream.include_usage,
                };
                Self::Completions(Box::new((
                    Reader::default(),
                    completions::Chunks::new(settings.clone()),
                    Reader::default(),
                    completions::Completion::new(settings),
                )))
            }
        }
    }

    /// What the stream says of a run, and where both ways stand; they stand together.
    fn take(&mut self, run: &Bytes) -> (Vec<u8>, Result<Progress, Unreadable>) {
        let (told, streamed, collected) = match self {
            Self::Responses(both) => {
                let (told, progress) = both.0.run(run);
                (told.to_vec(), progress, both.1.read_run(run))
            }
            Self::Chat(both) => {
                let (reader, chunks, other, completion) = &mut **both;
                let progress = reader.read_run(run, chunks);
                if let Ok(Progress::Ended(end)) = &progress {
                    chunks.end(end);
                }
                (chunks.take(), progress, other.read_run(run, completion))
            }
            Self::Completions(both) => {
                let (reader, chunks, other, completion) = &mut **both;
                let progress = reader.read_run(run, chunks);
                if let Ok(Progress::Ended(end)) = &progress {
                    chunks.end(end);
                }
                (chunks.take(), progress, other.read_run(run, completion))
            }
        };
        assert_eq!(streamed, collected, "a stream and a whole answer end alike");
        (told, streamed)
    }

    fn collected(self, end: &End) -> String {
        let body = match self {
            Self::Responses(both) => both.1.finish(),
            Self::Chat(both) => both.3.finish(end),
            Self::Completions(both) => both.3.finish(end),
        };
        String::from_utf8(body).expect("UTF-8")
    }
}

/// What becomes of a stream that arrives in these pieces.
fn tell(case: &Case, pieces: &[&[u8]]) -> Told {
    let mut telling = Telling::of(case);
    let mut splitter = Splitter::new(1 << 20);
    let mut streamed = Vec::new();
    let mut runs: Vec<_> = pieces
        .iter()
        .map(|piece| splitter.push(Bytes::copy_from_slice(piece)).expect("short events"))
        .collect();
    let (rest, ended) = splitter.finish();
    if ended == Ended::Whole {
        runs.push(rest);
    }
    let text = |streamed: Vec<u8>| String::from_utf8(streamed).expect("UTF-8");
    for run in &runs {
        let (told, progress) = telling.take(run);
        streamed.extend(told);
        match progress {
            Ok(Progress::More) => {}
            Ok(Progress::Ended(end)) => {
                let collected = Some(telling.collected(&end));
                return Told { streamed: text(streamed), collected, outcome: "whole" };
            }
            Ok(Progress::Failed(_)) => {
                return Told { streamed: text(streamed), collected: None, outcome: "failed" };
            }
            Err(_) => {
                return Told { streamed: text(streamed), collected: None, outcome: "unreadable" };
            }
        }
    }
    Told { streamed: text(streamed), collected: None, outcome: "cut" }
}

#[test]
fn requests_and_answers_become_what_their_files_say() {
    let cases = cases();
    assert!(cases.len() > 15, "{}", cases.len());
    for case in cases {
        let mut expected = String::from("== upstream request\n");
        let doc = Doc::parse(case.request.body()).expect("JSON");
        for entry in doc.root().entries() {
            let value = String::from_utf8_lossy(entry.value.raw());
            let _ = writeln!(expected, "{}: {value}", entry.name());
        }
        let _ = writeln!(expected, "== ignored\n{}", case.request.ignored.join(","));
        let told = tell(&case, &[&case.stream]);
        let _ = writeln!(
            expected,
            "== streamed: {}\n{}",
            told.outcome,
            told.streamed.replace('\r', "\\r")
        );
        let _ = writeln!(expected, "== collected\n{}", told.collected.unwrap_or_default());
        expect_file![case.dir.join("expected.txt")].assert_eq(&expected);
    }
}

#[test]
fn it_does_not_matter_where_a_stream_is_cut_into_pieces() {
    for case in cases() {
        let whole = tell(&case, &[&case.stream]);
        for at in 1..case.stream.len() {
            let (before, after) = case.stream.split_at(at);
            assert_eq!(tell(&case, &[before, after]), whole, "{} at {at}", case.dir.display());
        }
        let bytes: Vec<&[u8]> = case.stream.chunks(1).collect();
        assert_eq!(tell(&case, &bytes), whole, "{}", case.dir.display());
    }
}

#[test]
fn a_stream_that_ends_anywhere_before_its_end_is_never_a_whole_answer() {
    for case in cases() {
        let whole = tell(&case, &[&case.stream]);
        let place = case.dir.display();
        let mut has_ended = false;
        for at in 0..=case.stream.len() {
            let told = tell(&case, &[&case.stream[..at]]);
            assert!(whole.streamed.starts_with(&told.streamed), "{place} at {at}");
            has_ended |= told.outcome != "cut";
            if has_ended {
                assert_eq!(told, whole, "{place} at {at}: an end stays an end");
                continue;
            }
            for mark in
                ["[DONE]", "\"finish_reason\":\"", "response.completed", "response.incomplete"]
            {
                assert!(!told.streamed.contains(mark), "{place} at {at}: {mark}");
            }
            assert_eq!(told.collected, None, "{place} at {at}");
        }
        assert!(has_ended, "{place}");
    }
}
