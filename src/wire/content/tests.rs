//! Parts on their own; whole messages are in `wire/request/cases`.

use super::{Voice, mentions_json, write_parts};
use crate::wire::{
    json::{Doc, MAX_DEPTH},
    notes::Notes,
    request::tests::files,
};

#[test]
fn the_word_json_is_found_in_texts_only() {
    for (content, found) in [
        (r#""Answer as JSON.""#, true),
        (r#""jSoN""#, true),
        (r#""\u006ason""#, true),
        (r#""\\njson""#, true),
        (r#"[{"type":"text","text":"x"},{"type":"text","text":"json"}]"#, true),
        (r#"[{"type":"image_url","image_url":{"url":"https://x/json"}}]"#, false),
        (r#""jso n js""#, false),
        ("null", false),
    ] {
        let doc = Doc::parse(content.as_bytes()).expect(content);
        assert_eq!(mentions_json(doc.root()), found, "{content}");
    }
}

/// What a file of the local store becomes: the length of the part, or the refusal.
fn part(id: &str) -> Result<usize, String> {
    let content = format!(r#"[{{"type":"input_file","file_id":"{id}"}}]"#);
    let doc = Doc::parse(content.as_bytes()).expect("valid");
    let (mut out, mut notes) = (Vec::new(), Notes::default());
    let written = write_parts(&mut out, doc.root(), Voice::Input, &files, &mut notes);
    written.map(|()| out.len()).map_err(|reject| reject.message)
}

#[test]
fn a_text_of_a_million_bytes_is_the_largest() {
    assert!(part("file_full").is_ok_and(|length| length > 1_000_000));
    let refusal = "File `over.txt` is too large to inline as text without truncation.";
    assert_eq!(part("file_over"), Err(refusal.to_owned()));
}

#[test]
fn depth_is_the_only_bound_on_parts() {
    let deep = format!(
        r#"[{{"type":"text","text":"a","x":{}{}}}]"#,
        "[".repeat(MAX_DEPTH - 2),
        "]".repeat(MAX_DEPTH - 2)
    );
    let doc = Doc::parse(deep.as_bytes()).expect("within the bound");
    let (mut out, mut notes) = (Vec::new(), Notes::default());
    write_parts(&mut out, doc.root(), Voice::Output, &files, &mut notes).expect("a part");
    assert_eq!(out, br#"[{"type":"output_text","text":"a"}]"#);
    assert_eq!(notes.finish(), ["[0].x"]);
}
