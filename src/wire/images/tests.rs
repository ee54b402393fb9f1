//! What becomes of requests for pictures, in tables, and of the answers to them.

use expect_test::expect;

use super::{answer::Answer, *};
use crate::wire::content::file::{Local, LocalFile};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest of it";
const PNG64: &str = "iVBORw0KGgpyZXN0IG9mIGl0";
const GIF64: &str = "R0lGODlhcmVzdCBvZiBpdCEh";

fn options() -> Options<'static> {
    static ALIASES: std::sync::LazyLock<Vec<Alias>> =
        std::sync::LazyLock::new(|| vec!["dall-e-3=gpt-image-2".parse().expect("an alias")]);
    Options { aliases: &ALIASES, files: &|id| file(id) }
}

fn file(id: &str) -> Option<Local> {
    let content = match id {
        "file-png" => PNG,
        "file-text" => b"no picture",
        _ => return None,
    };
    Some(Local::File(LocalFile {
        name: "a".to_owned(),
        content_type: "image/png".to_owned(),
        bytes: content.len(),
        content: Bytes::from_static(content),
    }))
}

/// What goes upstream and what is told, or the refusal.
fn told(translated: Result<Translated, Reject>) -> String {
    match translated {
        Ok(it) => {
            let body = String::from_utf8(it.body.to_vec()).expect("text");
            let stream = if it.stream { " stream" } else { "" };
            let ignored = it.ignored.join(",");
            format!("{body} n={}{stream} [{ignored}]", it.n)
        }
        Err(Reject { status, message, param, code }) => {
            let (param, code) = (param.unwrap_or_default(), code.unwrap_or_default());
            format!("{status:?} {code} {param}: {message}")
        }
    }
}

#[test]
fn a_generation_becomes_what_the_upstream_takes() {
    for (body, expected) in [
        (r#"{"prompt":"a \u00e9"}"#, r#"{"prompt":"a \u00e9","model":"gpt-image-2","n":1} n=1 []"#),
        (
            r#"{"model":"GPT-Image-1.5","prompt":"a","size":"1536x1024","quality":"high","background":"opaque","moderation":"low","n":3,"stream":true}"#,
            r#"{"prompt":"a","model":"gpt-image-1.5","quality":"high","size":"1536x1024","background":"opaque","moderation":"low","n":1} n=3 stream []"#,
        ),
        (
            r#"{"model":"dall-e-3","prompt":"a","style":"vivid","user":"u","response_format":"url","output_format":"webp","output_compression":50,"partial_images":2,"x":{"y":1}}"#,
            r#"{"prompt":"a","model":"gpt-image-2","n":1} n=1 [style,user,response_format,output_format,output_compression,partial_images,x]"#,
        ),
        // What says what happens anyway, or nothing.
        (
            r#"{"prompt":"a","model":null,"style":null,"response_format":"b64_json","output_format":"png","output_compression":100,"partial_images":0,"n":null}"#,
            r#"{"prompt":"a","model":"gpt-image-2","n":1} n=1 []"#,
        ),
    ] {
        assert_eq!(told(generation(body.as_bytes(), options())), expected, "{body}");
    }
}

#[test]
fn what_is_no_request_is_refused_in_the_platforms_words() {
    let field = |field: &str| format!(r#"{{"prompt":"a",{field}}}"#);
    let size = |size: &str| field(&format!(r#""size":"{size}""#));
    for (body, expected) in [
        ("[]".to_owned(), "BadRequest invalid_type : Invalid type for the request body"),
        ("{}".to_owned(), "BadRequest missing_required_parameter prompt: Missing required"),
        (r#"{"prompt":""}"#.to_owned(), "BadRequest empty_string prompt: "),
        (r#"{"prompt":7}"#.to_owned(), "BadRequest invalid_type prompt: "),
        (
            format!(r#"{{"prompt":"{}"}}"#, "é".repeat(32_001)),
            "BadRequest string_above_max_length prompt: Invalid 'prompt': string too long. Expected a string with maximum length 32000, but got a string with length 32001",
        ),
        (field(r#""model":"gpt-5.5""#), "NotFound model_not_found model: The model `gpt-5.5` does"),
        (field(r#""model":"gpt-image-""#), "NotFound model_not_found model: "),
        (field(r#""n":0"#), "BadRequest integer_below_min_value n: "),
        (field(r#""n":11"#), "BadRequest integer_above_max_value n: "),
        (field(r#""n":1.5"#), "BadRequest invalid_type n: "),
        (field(r#""quality":"hd""#), "BadRequest invalid_value quality: "),
        (field(r#""background":"blue""#), "BadRequest invalid_value background: "),
        (field(r#""moderation":"none""#), "BadRequest invalid_value moderation: "),
        (field(r#""partial_images":4"#), "BadRequest integer_above_max_value partial_images: "),
        (field(r#""output_format":"gif""#), "BadRequest invalid_value output_format: "),
        (field(r#""output_compression":101"#), "BadRequest integer_above_max_value output_comp"),
        (field(r#""response_format":"png""#), "BadRequest invalid_value response_format: "),
        (field(r#""stream":"yes""#), "BadRequest invalid_type stream: "),
        (size("512x512"), "BadRequest invalid_value size: Invalid size '512x512': expected"),
        (size("3856x2160"), "BadRequest invalid_value size: "),
        (size("1000x1000"), "BadRequest invalid_value size: "),
        (size("3200x1056"), "BadRequest invalid_value size: "),
        (size("99999999999x16"), "BadRequest invalid_value size: "),
        (size("big"), "BadRequest invalid_value size: "),
    ] {
        let told = told(generation(body.as_bytes(), options()));
        assert!(told.starts_with(expected), "{}: {told}", shorten(&body));
    }
    for fine in ["auto", "1024x640", "3840x2160", "1024x1024"] {
        assert!(generation(size(fine).as_bytes(), options()).is_ok(), "{fine}");
    }
}

#[test]
fn an_edit_in_json_carries_its_pictures() {
    let body = |images: &str| format!(r#"{{"prompt":"a","images":[{images}]}}"#);
    let url = |url: &str| body(&format!(r#"{{"image_url":"{url}"}}"#));
    let data = |mime: &str, data: &str| url(&format!("data:{mime};base64,{data}"));
    let sent = |images: &str| {
        format!(r#"{{"images":[{images}],"prompt":"a","model":"gpt-image-2","n":1}} n=1 []"#)
    };
    let png = sent(&format!(r#"{{"image_url":"data:image/png;base64,{PNG64}"}}"#));
    let none = "BadRequest unsupported_file_mimetype images[0].image_url: Invalid file";
    for (body, expected) in [
        (data("image/png", PNG64), png.as_str()),
        (data("image/jpg", PNG64), &png),
        (body(r#"{"file_id":"file-png"}"#), &png),
        (url("https://e.com/a.png"), &sent(r#"{"image_url":"https://e.com/a.png"}"#)),
        (data("image/gif", GIF64), none),
        (data("image/png", GIF64), none),
        (data("image/png", "AAAA"), none),
        (url("a.png"), "BadRequest invalid_value images[0].image_url: "),
        (body("7"), "BadRequest invalid_type images[0]: "),
        (body("{}"), "BadRequest missing_required_parameter images[0].image_url: "),
        (body(r#"{"file_id":"file-9"}"#), "Unprocessable file_not_found images[0].file_id: "),
        (
            body(r#"{"file_id":"file-text"}"#),
            "BadRequest unsupported_file_mimetype images[0].file_id: ",
        ),
        (body(""), "BadRequest empty_array images: "),
        (
            body(&vec![r#"{"file_id":"file-png"}"#; 17].join(",")),
            "BadRequest array_above_max_length images: Invalid 'images': array too long. Expected an array with maximum length 16, but got an array with length 17 instead.",
        ),
        (r#"{"prompt":"a"}"#.to_owned(), "BadRequest missing_required_parameter images: "),
        (
            r#"{"prompt":"a","images":[],"mask":{"file_id":"file-png"}}"#.to_owned(),
            "Unprocessable unsupported_parameter mask: ",
        ),
    ] {
        let told = told(edit(body.as_bytes(), options()));
        assert!(told.starts_with(expected), "{}: {told}", shorten(&body));
    }
    let large = format!("iVBORw0KGgoA{}", "A".repeat(28 << 20));
    let told = told(edit(data("image/png", &large).as_bytes(), options()));
    assert!(told.starts_with("BadRequest image_too_large images[0].image_url: "), "{told:.99}");
}

#[test]
fn a_form_is_read_as_the_same_request() {
    let part = |(name, content): &(&str, &[u8])| Part {
        name: (*name).to_owned(),
        content: Bytes::copy_from_slice(content),
    };
    let read = |parts: &[(&str, &[u8])]| {
        told(edit_form(&parts.iter().map(part).collect::<Vec<_>>(), options()))
    };
    let one = read(&[
        ("image", PNG),
        ("prompt", "\"é\"".as_bytes()),
        ("n", b"2"),
        ("stream", b"true"),
        ("input_fidelity", b"high"),
    ]);
    let expected = format!(
        r#"{{"images":[{{"image_url":"data:image/png;base64,{PNG64}"}}],"prompt":"\"é\"","model":"gpt-image-2","n":1}} n=2 stream [input_fidelity]"#
    );
    assert_eq!(one, expected);
    for names in [["image[]", "image[]"], ["image[0]", "image[1]"]] {
        let two = read(&[(names[0], PNG), (names[1], b"\xff\xd8\xff\xe0"), ("prompt", b"a")]);
        assert_eq!(two.matches("image_url").count(), 2, "{two}");
        assert!(two.contains("data:image/jpeg;base64,/9j/4A=="), "{two}");
    }
    for (parts, expected) in [
        (&[("prompt", &b"a"[..])][..], "BadRequest missing_required_parameter image: "),
        (&[("image", PNG)], "BadRequest missing_required_parameter prompt: "),
        (&[("image", PNG), ("mask", PNG), ("prompt", b"a")], "Unprocessable unsupported_parameter"),
        (
            &[("image[]", PNG), ("image[]", b"GIF89a"), ("prompt", b"a")],
            "BadRequest unsupported_file_mimetype image[1]: Invalid file 'image[1]': unsupported mimetype ('image/gif').",
        ),
        (
            &[("image", PNG), ("prompt", b"a"), ("prompt", b"b")],
            "BadRequest duplicate_parameter prompt: ",
        ),
        (&[("image", PNG), ("prompt", b"\xff")], "BadRequest invalid_type prompt: "),
        (&[("image", PNG), ("prompt", b"a"), ("n", b"two")], "BadRequest invalid_type n: "),
        (&[("image", PNG), ("prompt", b"a"), ("n", b"02")], "BadRequest invalid_type n: "),
    ] {
        let told = read(parts);
        assert!(told.starts_with(expected), "{told}");
    }
    let too_many = [&[("image[]", PNG); 17][..], &[("prompt", b"a")]].concat();
    assert!(read(&too_many).starts_with("BadRequest array_above_max_length images: "));
}

#[test]
fn the_log_has_sizes_only() {
    let body = format!(
        r#"{{"prompt":"a","images":[{{"image_url":"data:image/png;base64,{PNG64}"}},{{"file_id":"file-png"}},{{"image_url":"https://e.com/a.png"}}]}}"#
    );
    let request = edit(body.as_bytes(), options()).expect("an edit");
    expect![[r#"{"images":[{"image_url":"[an image of 18 bytes]"},{"image_url":"[an image of 18 bytes]"},{"image_url":"https://e.com/a.png"}],"prompt":"a","model":"gpt-image-2","n":1}"#]]
        .assert_eq(str::from_utf8(&request.shown).expect("text"));
    let shown = answer::shown(&answers(), 5);
    expect![[r#"{"created":7,"background":"opaque","data":["[an image of 3 bytes]","[an image of 3 bytes]"],"output_format":"png","quality":"low","size":"1254x1254","usage":{"input_tokens":13,"input_tokens_details":{"image_tokens":6,"text_tokens":7},"output_tokens":30,"output_tokens_details":{"image_tokens":30,"text_tokens":0},"total_tokens":43}}"#]]
        .assert_eq(str::from_utf8(&shown).expect("text"));
}

fn answers() -> [Answer; 2] {
    let first = r#"{"created":7,"background":"opaque","data":[{"b64_json":"AAAA","generation_id":"g"}],"output_format":"png","quality":"low","size":"1254x1254","usage":{"input_tokens":10,"input_tokens_details":{"image_tokens":6,"text_tokens":4},"output_tokens":10,"output_tokens_details":{"image_tokens":10,"text_tokens":0},"total_tokens":20,"more":[]}}"#;
    let second = r#"{"data":[{"b64_json":"BBBB"}],"quality":"medium","usage":{"input_tokens":3,"input_tokens_details":{"text_tokens":3},"output_tokens":20,"output_tokens_details":{"image_tokens":20},"total_tokens":23}}"#;
    [first, second].map(|text| Answer::read(Bytes::from_static(text.as_bytes())).expect("one"))
}

#[test]
fn several_answers_become_one() {
    let merged = String::from_utf8(answer::merged(&answers(), 5)).expect("text");
    expect![[r#"{"created":7,"background":"opaque","data":[{"b64_json":"AAAA","generation_id":"g"},{"b64_json":"BBBB"}],"output_format":"png","quality":"low","size":"1254x1254","usage":{"input_tokens":13,"input_tokens_details":{"image_tokens":6,"text_tokens":7},"output_tokens":30,"output_tokens_details":{"image_tokens":30,"text_tokens":0},"total_tokens":43}}"#]]
        .assert_eq(&merged);
    let events = String::from_utf8(answer::events(Task::Edit, &answers(), 5)).expect("text");
    expect![[r#"
        event: image_edit.completed
        data: {"type":"image_edit.completed","b64_json":"AAAA","created_at":7,"size":"1254x1254","quality":"low","background":"opaque","output_format":"png","usage":{"input_tokens":10,"input_tokens_details":{"image_tokens":6,"text_tokens":4},"output_tokens":10,"output_tokens_details":{"image_tokens":10,"text_tokens":0},"total_tokens":20}}

        event: image_edit.completed
        data: {"type":"image_edit.completed","b64_json":"BBBB","created_at":5,"size":"auto","quality":"medium","background":"auto","output_format":"png","usage":{"input_tokens":3,"input_tokens_details":{"image_tokens":0,"text_tokens":3},"output_tokens":20,"output_tokens_details":{"image_tokens":20,"text_tokens":0},"total_tokens":23}}

    "#]]
    .assert_eq(&events);
    let bare = Answer::read(Bytes::from_static(br#"{"data":[{"b64_json":"AAAA"}]}"#)).expect("one");
    let merged = answer::merged(&[bare], 5);
    assert_eq!(merged, br#"{"created":5,"data":[{"b64_json":"AAAA"}]}"#);
}

#[test]
fn an_answer_has_a_picture() {
    for (body, expected) in [
        (r#"{"data":[{"b64_json":"AAAA"}]}"#, true),
        (r#"{"data":[{"b64_json":"AAAA"},{"url":"https://e.com"}]}"#, false),
        (r#"{"data":[{"b64_json":""}]}"#, false),
        (r#"{"data":[{"b64_json":7}]}"#, false),
        (r#"{"data":[]}"#, false),
        (r"{}", false),
        ("no", false),
    ] {
        assert_eq!(Answer::read(Bytes::from_static(body.as_bytes())).is_some(), expected, "{body}");
    }
}

#[test]
fn what_was_wished_for_in_vain_is_told() {
    for (fields, expected) in [
        (r#""quality":"high","size":"1024x1024""#, &["quality", "size"][..]),
        (r#""quality":"auto","size":"auto""#, &[]),
        (r#""size":"1024x1024""#, &["size"]),
        // One of them was made so.
        (r#""quality":"low""#, &["quality"]),
    ] {
        let body = format!(r#"{{"prompt":"a",{fields}}}"#);
        let request = generation(body.as_bytes(), options()).expect("a generation");
        assert_eq!(answer::unheeded(&request, &answers()), expected, "{fields}");
    }
    let [first, _] = answers();
    let body = br#"{"prompt":"a","quality":"low"}"#;
    let request = generation(body, options()).expect("a generation");
    assert_eq!(answer::unheeded(&request, &[first]), [""; 0]);
}
