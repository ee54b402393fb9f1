//! Streams of Responses from which events are missing, read as the strictest SDKs do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn events(stream: &str) -> impl Iterator<Item = Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("JSON"))
}

/// What a client has put together of one item.
struct Heard {
    item: Value,
    /// By the part; a call has one without a number.
    told: BTreeMap<Option<u64>, String>,
    is_done: bool,
}

/// The texts of a whole item by part, as it says them itself.
fn texts(item: &Value) -> BTreeMap<Option<u64>, String> {
    let own = ["arguments", "input"].map(|name| text(&item[name])).concat();
    let parts = item["content"].as_array().cloned().unwrap_or_default();
    let parts = (0..).zip(parts).map(|(part, content)| {
        (Some(part), ["text", "refusal"].map(|name| text(&content[name])).concat())
    });
    parts.chain([(None, own)]).filter(|(_, text)| !text.is_empty()).collect()
}

/// A client that reads as the strictest SDKs do.
#[derive(Default)]
struct Strict {
    items: Vec<Heard>,
    /// The kinds of the parts that have begun and not ended.
    open: BTreeMap<(usize, Option<u64>), String>,
    annotations: BTreeSet<(usize, String)>,
}

impl Strict {
    fn read(&mut self, event: &Value) {
        let kind = text(&event["type"]);
        let Some(index) = event["output_index"].as_u64() else {
            assert!(kind.matches('.').count() < 2, "no index: {event}");
            return;
        };
        let index = usize::try_from(index).expect("small");
        if kind == "response.output_item.added" {
            assert_eq!(index, self.items.len(), "announced in order, and once: {event}");
            let item = event["item"].clone();
            self.items.push(Heard { told: texts(&item), item, is_done: false });
            return;
        }
        let heard = self.items.get_mut(index).expect("announced before");
        assert!(!heard.is_done, "nothing comes after its end: {event}");
        let part = event["content_index"].as_u64();
        let told = heard.told.entry(part).or_default();
        match kind.rsplit_once('.').expect("dotted") {
            ("response.content_part", "added") => {
                let before = self.open.insert((index, part), text(&event["part"]["type"]));
                assert_eq!(before, None, "{event}");
            }
            ("response.content_part", "done") => {
                let kind = text(&event["part"]["type"]);
                assert_eq!(self.open.remove(&(index, part)), Some(kind), "{event}");
                assert_eq!(text(&event["part"]["text"]) + &text(&event["part"]["refusal"]), *told);
            }
            ("response.output_item", "done") => {
                heard.is_done = true;
                heard.item = event["item"].clone();
                heard.told.retain(|_, told| !told.is_empty());
                assert_eq!(texts(&heard.item), heard.told, "{event}");
            }
            ("response.output_text.annotation", "added") => {
                self.annotations.insert((index, event["annotation"].to_string()));
            }
            (_, "delta" | "done") if kind.starts_with("response.reasoning") => {}
            (_, "delta") => {
                assert_ne!(event["delta"], "", "{event}");
                *told += &text(&event["delta"]);
                self.check_part(&kind, index, part);
            }
            (_, _) => {
                let whole = ["text", "arguments", "input", "refusal"];
                assert_eq!(whole.map(|name| text(&event[name])).concat(), *told, "{event}");
                self.check_part(&kind, index, part);
            }
        }
    }

    /// Whether an event of this kind may come for a part.
    fn check_part(&self, kind: &str, index: usize, part: Option<u64>) {
        for of in ["output_text", "refusal"] {
            if kind.starts_with(&format!("response.{of}.")) {
                assert_eq!(self.open.get(&(index, part)).map(String::as_str), Some(of));
            }
        }
    }

    /// Whether all has ended, and is what the last event says.
    fn check_end(&self, last: &Value) {
        assert!(self.open.is_empty() && self.items.iter().all(|heard| heard.is_done), "{last}");
        let known: Vec<_> = self.items.iter().map(|heard| heard.item.clone()).collect();
        assert_eq!(last["response"]["output"], Value::from(known));
        for (index, heard) in self.items.iter().enumerate() {
            for part in heard.item["content"].as_array().into_iter().flatten() {
                for annotation in part["annotations"].as_array().into_iter().flatten() {
                    assert!(self.annotations.contains(&(index, annotation.to_string())), "{part}");
                }
            }
        }
    }
}

/// Every item is announced, told in pieces, told whole and ended, in this order, with all indexes,
/// and the last event has the same items. Type, texts and name of each.
fn strictly(stream: &str) -> Vec<String> {
    let mut client = Strict::default();
    let mut last = -1;
    for event in events(stream) {
        if let Some(number) = event["sequence_number"].as_i64() {
            assert!(number > last, "{number} after {last}: {stream}");
            last = number;
        }
        client.read(&event);
    }
    client.check_end(&events(stream).last().expect("an event"));
    let said = |heard: &Heard| {
        let told = heard.told.values().cloned().collect::<Vec<_>>().join("/");
        [text(&heard.item["type"]), told, text(&heard.item["name"])].join("|")
    };
    client.items.iter().map(said).collect()
}

/// `stream` with its events numbered from zero.
fn numbered(stream: &str) -> String {
    let mut n = -1;
    let line = |line: &str| {
        if !line.starts_with("data: ") {
            return line.to_owned();
        }
        n += 1;
        let open = line.strip_suffix('}').expect("an object");
        format!("{open},\"sequence_number\":{n}}}")
    };
    let mut out: String = stream.lines().map(line).collect::<Vec<_>>().join("\n");
    out.push_str("\n\n");
    out
}

/// The stream, and without its indexes, give these items.
fn check_whole(parts: &[&str], expected: &[&str]) {
    let stream = numbered(&[&created(), parts.concat().as_str(), &completed()].concat());
    let bare = stream.replace("\"output_index\":0,", "").replace("\"output_index\":1,", "");
    for stream in [&stream, &bare] {
        assert_eq!(strictly(&forwarded(stream)), expected, "{stream}");
    }
}

fn added(item: &str) -> String {
    event("response.output_item.added", &format!(r#""output_index":0,"item":{item}"#))
}

fn done(item: &str) -> String {
    event("response.output_item.done", &format!(r#""output_index":0,"item":{item}"#))
}

/// An event of a part of the message `msg_0`.
fn part(name: &str, part: u32, members: &str) -> String {
    let members = format!(r#""item_id":"msg_0","output_index":0,"content_index":{part},{members}"#);
    event(&format!("response.{name}"), &members)
}

fn message(content: &str) -> String {
    format!(r#"{{"id":"msg_0","type":"message","role":"assistant","content":[{content}]}}"#)
}

const NO: &str = r#"{"type":"refusal","refusal":"No."}"#;
const EMPTY_NO: &str = r#""part":{"type":"refusal","refusal":""}"#;
const CITED: &str = r#"{"type":"output_text","text":"hi","annotations":[{"type":"url_citation","start_index":0,"end_index":2,"url":"u","title":"t"}]}"#;

#[test]
fn a_call_is_whole_whatever_is_left_out() {
    let (added, done) = (call_added(0, "f"), call_done(0, "f", "{\\\"a\\\":1}"));
    let (first, second) = (arguments("delta", 0, "{\\\"a\\\""), arguments("delta", 0, ":1}"));
    let whole = arguments("done", 0, "{\\\"a\\\":1}");
    let empty = arguments("delta", 0, "");
    for parts in [
        &[&*added, &first, &second, &whole, &done][..],
        &[&added, &first, &second, &done],
        &[&added, &whole, &done],
        &[&added, &done],
        &[&done],
        &[&first, &second, &whole, &done],
        &[&first, &whole, &done],
        &[&first, &added, &second, &whole, &done],
        &[&first, &second, &added],
        &[&whole, &added],
        &[&added, &first, &done],
        &[&added, &first, &whole],
        &[&added, &first, &second],
        &[&added, &whole],
        &[&added, &whole, &whole, &done],
    ] {
        check_whole(parts, &["function_call|{\"a\":1}|f"]);
    }
    let stream = [&created(), &*added, &empty, &whole, &done, &completed()].concat();
    let told = forwarded(&stream);
    assert_eq!(told.matches("arguments.delta\"").count(), 2, "the empty one and the whole: {told}");
    let given = added.replace(r#""arguments":"""#, r#""arguments":"{\"a\":1}""#);
    check_whole(&[&given, &done], &["function_call|{\"a\":1}|f"]);
    check_whole(&[&given], &["function_call|{\"a\":1}|f"]);
    let custom = |item: &str| item.replace("function_call\"", "custom_tool_call\"");
    let custom = |item: &str| custom(item).replace("\"arguments\"", "\"input\"");
    let input = |name: &str| name.replace("function_call_arguments", "custom_tool_call_input");
    for parts in [
        &[custom(&added), custom(&done)][..],
        &[custom(&done)],
        &[custom(&added), input(&first), custom(&done)],
        &[input(&first), custom(&added), input(&second), custom(&done)],
    ] {
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        check_whole(&parts, &["custom_tool_call|{\"a\":1}|f"]);
    }
}

/// No tool is run with arguments that did not come, and none of them is shown as text.
#[test]
fn a_call_of_which_nothing_came_is_not_made_up() {
    let pieces = [arguments("delta", 0, "{}"), arguments("done", 0, "{}")].concat();
    for events in [&pieces, &call_added(0, "f")] {
        let stream = [&created(), events.as_str(), &completed()].concat();
        let told = forwarded(&stream);
        assert!(!told.contains("output_text") && !told.contains("output_item.done"), "{told}");
        assert!(told.contains("\"output\":[]"), "{told}");
    }
}

#[test]
fn a_message_is_whole_whatever_is_left_out() {
    let (delta, whole, item) = (text_delta(0, "hi"), text_done(0, "hi"), message_done(0, "hi"));
    let first = text_delta(0, "h");
    let announced = added(&message(""));
    for parts in [
        &[&*message_events(0, "hi")][..],
        &[&delta, &whole, &item],
        &[&delta, &item],
        &[&whole, &item],
        &[&item],
        &[&delta],
        &[&whole],
        &[&first, &whole],
        &[&first, &item],
        &[&first, &announced, &text_delta(0, "i"), &item],
        &[&part("content_part.done", 0, r#""part":{"type":"output_text","text":"hi"}"#), &item],
    ] {
        check_whole(parts, &["message|hi|"]);
    }
    let no = message(NO);
    let refused = |name: &str, members: &str| part(name, 0, members);
    for parts in [
        &[done(&no)][..],
        &[added(&message("")), refused("content_part.added", EMPTY_NO), done(&no)],
        &[refused("content_part.added", EMPTY_NO), refused("refusal.done", r#""refusal":"No.""#)],
        &[refused("content_part.done", &format!(r#""part":{NO}"#)), done(&no)],
        &[refused("refusal.delta", r#""delta":"No.""#)],
        &[refused("refusal.delta", r#""delta":"No""#), done(&no)],
    ] {
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        check_whole(&parts, &["message|No.|"]);
    }
}

#[test]
fn parts_and_items_stay_apart() {
    let piece = |at, delta: &str| part("output_text.delta", at, &format!(r#""delta":"{delta}""#));
    let (a, b) = (piece(0, "A"), piece(1, "B"));
    let whole = done(&message(
        r#"{"type":"output_text","text":"A","annotations":[]},{"type":"output_text","text":"B","annotations":[]}"#,
    ));
    for parts in [&[&*a, &b][..], &[&a, &b, &whole], &[&a, &whole], &[&b, &whole], &[&whole]] {
        check_whole(parts, &["message|A/B|"]);
    }
    let no = part("refusal.delta", 0, r#""delta":"No.""#);
    check_whole(&[&no, &piece(1, "but")], &["message|No./but|"]);
    check_whole(
        &[&text_delta(0, "hi"), &call_added(1, "g"), &arguments("delta", 1, "[]")],
        &["message|hi|", "function_call|[]|g"],
    );
    check_whole(
        &[&message_done(0, "hi"), &call_done(1, "g", "[]")],
        &["message|hi|", "function_call|[]|g"],
    );
    // Where nothing says which part it is, nothing is told twice.
    let bare =
        |text: &str| text.replace("\"content_index\":0,", "").replace("\"content_index\":1,", "");
    let stream = [created(), bare(&a), bare(&b), whole, completed()].concat();
    let deltas = events(&forwarded(&stream)).map(|event| text(&event["delta"])).collect::<String>();
    assert_eq!(deltas, "AB");
}

#[test]
fn citations_are_told_with_their_words() {
    let cited = message(CITED);
    for parts in [
        &[done(&cited)][..],
        &[text_delta(0, "hi"), done(&cited)],
        &[part("content_part.done", 0, &format!(r#""part":{CITED}"#)), done(&cited)],
    ] {
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        check_whole(&parts, &["message|hi|"]);
    }
    let annotation =
        CITED.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect("one").0;
    let annotation = format!(r#""annotation_index":0,"annotation":{annotation}"#);
    let stream = [text_delta(0, "hi"), part("output_text.annotation.added", 0, &annotation)];
    let stream = [&created(), stream.concat().as_str(), &completed()].concat();
    let told = forwarded(&stream);
    strictly(&told);
    assert_eq!(told.matches("annotation.added\"").count(), 1, "{told}");
    assert_eq!(told.matches("url_citation").count(), 4, "with part, item and output: {told}");
}

#[test]
fn a_thought_is_announced_before_it_is_told() {
    let whole =
        r#"{"id":"rs_0","type":"reasoning","summary":[{"type":"summary_text","text":"Hm."}]}"#;
    let of = |name: &str, members: &str| {
        let members = format!(r#""item_id":"rs_0","output_index":0,{members}"#);
        event(&format!("response.{name}"), &members)
    };
    let begun = of(
        "reasoning_summary_part.added",
        r#""summary_index":0,"part":{"type":"summary_text","text":""}"#,
    );
    let delta = of("reasoning_summary_text.delta", r#""summary_index":0,"delta":"Hm.""#);
    let raw =
        of("content_part.added", r#""content_index":0,"part":{"type":"reasoning_text","text":""}"#);
    for parts in [
        &[&*begun, &delta, &done(whole)][..],
        &[&delta, &done(whole)],
        &[&delta, &added(&whole.replace("Hm.", "")), &done(whole)],
        &[&done(whole)],
    ] {
        check_whole(parts, &["reasoning||"]);
    }
    let told = forwarded(&[created(), raw, done(whole)].concat());
    let kinds: Vec<_> = events(&told).map(|event| text(&event["item"]["type"])).collect();
    assert_eq!(kinds, ["", "reasoning", "", "reasoning"], "{told}");
}

#[test]
fn what_comes_with_the_last_event_alone_is_told() {
    let items = r#"[{"id":"msg_0","type":"message","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]},{"id":"fc_1","type":"function_call","arguments":"{}","call_id":"c","name":"f"}]"#;
    let last = completed().replace(r#""output":[]"#, &format!(r#""output":{items}"#));
    let stream = numbered(&[created(), last].concat());
    assert_eq!(strictly(&forwarded(&stream)), ["message|hi|", "function_call|{}|f"]);
}

#[test]
fn a_number_is_raised_in_its_own_place_alone() {
    let last = completed().replace(
        r#""output":[]"#,
        r#""output":[],"tools":[{"sequence_number":3,"examples":{"sequence_number":{}}}]"#,
    );
    let stream = numbered(&[created(), message_done(0, "hi"), last].concat());
    let spaced = stream.replace("\"sequence_number\":", "\"sequence_number\": ");
    for stream in [stream, spaced] {
        let told = forwarded(&stream);
        strictly(&told);
        let tools = &events(&told).last().expect("one")["response"]["tools"];
        assert_eq!(
            tools.to_string(),
            r#"[{"sequence_number":3,"examples":{"sequence_number":{}}}]"#
        );
    }
    let huge = numbered(&[created(), message_done(0, "hi")].concat());
    let huge =
        huge.replace("\"sequence_number\":1}", &format!("\"sequence_number\":{}}}", i64::MAX));
    assert!(forwarded(&huge).contains(&i64::MAX.to_string()));
}
