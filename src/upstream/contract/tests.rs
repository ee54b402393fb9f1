//! Good shapes hold, and each changed one is named.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::secret::Secret;

const NOW: i64 = 1_790_000_000;

const JSON: &str = "content-type: application/json; charset=utf-8\netag: W/\"1\"";
const STREAM_HEAD: &str = "content-type: text/event-stream; charset=utf-8
    x-codex-primary-used-percent: 37.5
    x-codex-primary-window-minutes: 300
    x-codex-primary-reset-at: 1790003600
    x-codex-plan-type: plus
    x-models-etag: W/\"1\"";

const MODELS: &str = r#"{"models":[
    {"slug":"gpt-x","display_name":"X","visibility":"list","priority":1,"context_window":272000,
     "max_context_window":null,"supported_reasoning_levels":[{"effort":"low"},{"effort":"max"}],
     "default_reasoning_level":"low","input_modalities":["text"],"service_tiers":[{"id":"priority"}],
     "available_in_plans":["plus"],"supports_parallel_tool_calls":true,"support_verbosity":true,
     "supports_reasoning_summaries":true,"supports_image_detail_original":false,
     "base_instructions":"","shell_type":"shell_command","supported_in_api":true,
     "experimental_supported_tools":[],"truncation_policy":{}}]}"#;

const USAGE: &str = r#"{"email":"me@example.com","user_id":"user-1","plan_type":"plus",
    "rate_limit":{"allowed":true,"limit_reached":false,
        "primary_window":{"used_percent":27,"limit_window_seconds":18000,"reset_at":1790003600},
        "secondary_window":null},
    "additional_rate_limits":[{"limit_name":"Spark","metered_feature":"codex_spark",
        "rate_limit":{"primary_window":{"used_percent":0,"limit_window_seconds":86400,
            "reset_after_seconds":9}}}],
    "credits":{"has_credits":false,"unlimited":false},
    "rate_limit_reached_type":{"type":"rate_limit_reached"},
    "rate_limit_reset_credits":{"available_count":1}}"#;

/// One event a line, its name first.
const EVENTS: &str = r#"response.created {"sequence_number":0,"response":{"id":"resp_1"}}
response.in_progress {"sequence_number":1,"response":{}}
response.output_item.added {"sequence_number":2,"output_index":0,"item":{"type":"message"}}
response.content_part.added {"sequence_number":3,"item_id":"msg_1","content_index":0}
response.output_text.delta {"sequence_number":4,"item_id":"msg_1","content_index":0,"delta":"po"}
response.output_text.delta {"sequence_number":5,"item_id":"msg_1","content_index":0,"delta":"ng"}
response.output_text.done {"sequence_number":6,"item_id":"msg_1","content_index":0,"text":"pong"}
response.content_part.done {"sequence_number":7,"item_id":"msg_1","content_index":0}
response.output_item.done {"sequence_number":8,"output_index":0,"item":{"type":"message"}}
response.completed {"sequence_number":9,"response":{"model":"gpt-x","output":[],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":0},"output_tokens":1,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":10}}}"#;

fn headers(lines: &str) -> HeaderMap {
    let pairs = lines.lines().filter_map(|line| line.trim().split_once(": "));
    pairs
        .map(|(name, value)| {
            let name = HeaderName::try_from(name).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        })
        .collect()
}

fn heard(path: &str, head: &str, body: &str) -> Heard {
    Heard {
        path: format!("/backend-api{path}"),
        status: StatusCode::OK,
        headers: headers(head),
        body: Bytes::copy_from_slice(body.as_bytes()),
        is_whole: true,
        at: Timestamp::from_second(NOW).expect("a time"),
    }
}

/// A stream of these lines; one that has its `data:` is sent as it is.
fn stream(lines: &str) -> String {
    let event = |line: &str| match line.split_once(" {") {
        Some((name, rest)) if !name.is_empty() && !name.ends_with(':') => {
            let comma = if rest == "}" { "" } else { "," };
            format!("event: {name}\ndata: {{\"type\":\"{name}\"{comma}{rest}\n\n")
        }
        Some(_) | None => format!("{line}\n\n"),
    };
    lines.lines().map(event).collect()
}

fn jwt(payload: &str) -> Secret {
    Secret::new(format!("x.{}.x", BASE64_URL_SAFE_NO_PAD.encode(payload)))
}

fn tokens(access: &str) -> Tokens {
    Tokens { access: Some(jwt(access)), ..Tokens::default() }
}

const CLAIMS: &str = r#"{"exp":1790000000,"https://api.openai.com/auth":{
    "chatgpt_account_id":"acct-1","chatgpt_plan_type":"plus"}}"#;

/// What does not hold, each as `id: detail`.
fn broken(contract: &Contract) -> Vec<String> {
    let findings = contract.findings();
    let broken = findings
        .into_iter()
        .filter_map(|finding| Some(format!("{}: {}", finding.assumption.id(), finding.detail?)));
    broken.collect()
}

fn of(heard: &Heard) -> Contract {
    let mut contract = Contract::default();
    contract.asks("gpt-x");
    contract.answer(heard);
    contract
}

#[test]
fn good_shapes_hold_all_of_it() {
    let mut contract = Contract::default();
    assert!(contract.findings().iter().all(|finding| finding.verdict == Verdict::NotSeen));
    contract.asks("gpt-x");
    contract.tokens(&tokens(CLAIMS));
    contract.answer(&heard("/codex/models", JSON, MODELS));
    contract.answer(&heard("/wham/usage", JSON, USAGE));
    contract.answer(&heard("/codex/responses", STREAM_HEAD, &stream(EVENTS)));
    assert_eq!(broken(&contract), [""; 0]);
    let unseen: Vec<_> = contract
        .findings()
        .into_iter()
        .filter(|finding| finding.verdict == Verdict::NotSeen)
        .collect();
    assert_eq!(unseen, []);
}

#[test]
fn names_of_assumptions_are_ordered_and_unique() {
    let ids: Vec<_> = Assumption::ALL.iter().map(|it| it.id()).collect();
    let group = |id: &str| id.split('.').next().map(str::to_owned);
    let groups: Vec<_> = ids.chunk_by(|a, b| group(a) == group(b)).collect();
    assert_eq!(groups.len(), 5, "each group stands together");
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
    for assumption in Assumption::ALL {
        assert!(assumption.sentence().ends_with('.'), "{}", assumption.id());
    }
}

#[test]
fn a_changed_catalogue_is_named() {
    let such = |what: &str| format!("{what}: not so in 1 of 1 models, such as `gpt-x`");
    let whole = || "models.whole: not so in 1 of 1 models".to_owned();
    for (from, to, expected) in [
        (r#"{"models":["#, r#"{"data":["#, vec!["models.list: there is no such list".to_owned()]),
        (r#""display_name":"X""#, r#""title":"X""#, vec![such("models.display_name"), whole()]),
        (r#""visibility":"list""#, r#""visibility":"beta""#, vec![such("models.visibility")]),
        (r#""priority":1"#, r#""priority":"high""#, vec![such("models.priority"), whole()]),
        ("272000", "null", vec![such("models.context_window")]),
        (
            r#""max_context_window":null"#,
            r#""max_context_window":[1]"#,
            vec![
                "models.context_window: `max_context_window`: not so in 1 of 1 models, such as \
                  `gpt-x`"
                    .to_owned(),
            ],
        ),
        (r#"{"effort":"max"}"#, r#""max""#, vec![such("models.efforts")]),
        (
            r#"{"effort":"max"}"#,
            r#"{"effort":"deep"}"#,
            vec!["models.known_efforts: `deep` is new".to_owned()],
        ),
        (
            r#""default_reasoning_level":"low""#,
            r#""default_reasoning_level":"high""#,
            vec![such("models.default_effort")],
        ),
        (r#"["text"]"#, r#"{"text":true}"#, vec![such("models.modalities")]),
        (r#"{"id":"priority"}"#, r#""priority""#, vec![such("models.tiers")]),
        (r#"["plus"]"#, "[7]", vec![such("models.plans")]),
        (
            r#""supports_parallel_tool_calls":true"#,
            r#""supports_parallel_tool_calls":"yes""#,
            vec![such("models.supports"), whole()],
        ),
        (
            r#"{"slug":"gpt-x""#,
            r#""gpt-y",{"slug":"gpt-x""#,
            vec![
                "models.slug: 1 are no objects".to_owned(),
                "models.whole: not so in 1 of 2 models".to_owned(),
            ],
        ),
    ] {
        assert!(MODELS.contains(from), "{from}");
        let changed = MODELS.replacen(from, to, 1);
        assert_eq!(broken(&of(&heard("/codex/models", JSON, &changed))), expected, "{to}");
    }
    let found = broken(&of(&heard("/codex/models", "content-type: text/html", r#"{"models":[]}"#)));
    let expected =
        ["models.type: it is `text/html`", "models.list: it is empty", "models.etag: it has none"];
    assert_eq!(found, expected);
}

#[test]
fn a_changed_document_about_usage_is_named() {
    for (from, to, expected) in [
        (r#""plan_type":"plus""#, r#""plan":{"name":"plus"}"#, "usage.plan: it is none"),
        ("primary_window", "first_window", "usage.windows: it has none"),
        (r#""used_percent":27"#, r#""used_percent":127"#, "usage.percent: it is 127"),
        (r#""used_percent":27"#, r#""used":27"#, "usage.percent: it is no number"),
        ("18000", "1209600", "usage.length: one is 20160 minutes long"),
        ("limit_window_seconds", "length", "usage.length: one has no length"),
        (r#""reset_at":1790003600"#, r#""resets":"soon""#, "usage.reset: one does not"),
        ("1790003600", "1700000000", "usage.reset: `reset_at` is past"),
        (
            r#""allowed":true,"limit_reached":false,"#,
            "",
            "usage.allowed: neither `allowed` nor `limit_reached` is there",
        ),
        (r#"{"type":"rate_limit_reached"}"#, "[]", "usage.reached: it is something else"),
        (r#""metered_feature":"codex_spark","#, "", "usage.additional: not so in 1 of 1"),
        (r#""has_credits":false,"#, "", "usage.credits: `has_credits` or `unlimited` is not there"),
        (r#""available_count":1"#, "", "usage.resets: `available_count` is not there"),
    ] {
        assert!(USAGE.contains(from), "{from}");
        // The first limit alone: what stands behind it has the same names.
        let changed = USAGE.replacen(from, to, 1);
        assert_eq!(broken(&of(&heard("/wham/usage", JSON, &changed))), [expected], "{to}");
    }
    let nulls = r#"{"plan_type":"free","rate_limit":null,"credits":null}"#;
    assert_eq!(broken(&of(&heard("/wham/usage", JSON, nulls))), [""; 0]);
    assert_eq!(broken(&of(&heard("/wham/usage", JSON, "[]"))), ["usage.document: it is none"]);
}

#[test]
fn changed_headers_are_named() {
    let body = stream(EVENTS);
    for (from, to, expected) in [
        (
            "text/event-stream",
            "application/x-ndjson",
            &["stream.type: it is `application/x-ndjson`"][..],
        ),
        ("37.5", "much", &["headers.percent: it is no number"]),
        ("x-codex-primary-used-percent: 37.5", "", &["headers.percent: it is no number"]),
        ("300", "20160", &["headers.length: one is 20160 minutes long"]),
        ("1790003600", "1790000000000", &["headers.reset: it is no moment"]),
        ("1790003600", "1600000000", &["headers.reset: it is past"]),
        ("x-codex-plan-type", "x-plan", &["headers.plan: it is not there"]),
        ("x-models-etag", "x-etag", &["headers.models_etag: it is not there"]),
        ("x-codex-", "x-limits-", &["headers.present: there is none"]),
    ] {
        assert!(STREAM_HEAD.contains(from), "{from}");
        let head = STREAM_HEAD.replace(from, to);
        assert_eq!(broken(&of(&heard("/codex/responses", &head, &body))), expected, "{to}");
    }
}

#[test]
fn a_changed_stream_is_named() {
    let created = EVENTS.lines().next().expect("a line").to_owned() + "\n";
    for (from, to, expected) in [
        (
            &*created,
            "",
            &[
                "stream.created: it is `response.in_progress`",
                "stream.numbers: not as far as `response.in_progress`",
            ][..],
        ),
        ("response.in_progress {", "codex.keepalive {}\nresponse.in_progress {", &[]),
        (
            "response.content_part.added",
            "response.thing.added",
            &["stream.known: new: `response.thing.added`"],
        ),
        (
            "response.in_progress {",
            "data: {\"type\":\"response.in_progress\"}\nresponse.in_progress {",
            &[
                "stream.framing: not so in `response.in_progress`",
                "stream.numbers: not as far as `response.in_progress`",
            ],
        ),
        (r#""delta":"ng""#, r#""delta":"nk""#, &["stream.deltas: its text is another"]),
        (
            "msg_1\",\"content_index\":0,\"text\"",
            "msg_2\",\"content_index\":0,\"text\"",
            &["stream.deltas: there are none before it"],
        ),
        (
            "response.output_item.added",
            "response.queued",
            &["stream.items: 0 announced and 1 done"],
        ),
        ("response.output_text.", "response.refusal.", &[]),
        (
            "response.output_text.",
            "response.content_part.",
            &["stream.known: new: `response.content_part.delta`", "stream.deltas: there are none"],
        ),
        ("response.completed", "response.failed", &[]),
        ("response.completed", "response.queued", &["stream.terminal: it ends without"]),
        (r#""output":[]"#, r#""output":[{},{}]"#, &["stream.output: it has 2 items"]),
        (r#""model":"gpt-x""#, r#""model":"gpt-y""#, &["stream.model: it is `gpt-y`"]),
        (
            r#""total_tokens":10"#,
            r#""total":10"#,
            &["stream.usage: a count is not there, or no number"],
        ),
        (r#"{"cached_tokens":0}"#, "null", &["stream.usage_details: `cached_tokens` is not there"]),
    ] {
        assert!(EVENTS.contains(from), "{from}");
        let body = stream(&EVENTS.replace(from, to));
        let found = broken(&of(&heard("/codex/responses", STREAM_HEAD, &body)));
        assert_eq!(found, expected, "{to}");
    }
    let done = stream(&format!("{EVENTS}\ndata: [DONE]"));
    let found = broken(&of(&heard("/codex/responses", STREAM_HEAD, &done)));
    assert!(found.contains(&"stream.last: then comes `[DONE]`".to_owned()), "{found:?}");
}

#[test]
fn what_was_let_go_or_went_wrong_otherwise_says_nothing() {
    let cut = EVENTS.lines().take(4).collect::<Vec<_>>().join("\n");
    let unfinished =
        Heard { is_whole: false, ..heard("/codex/responses", STREAM_HEAD, &stream(&cut)) };
    assert_eq!(broken(&of(&unfinished)), [""; 0]);
    for (status, expected) in [
        (401, &[][..]),
        (429, &[]),
        (503, &[]),
        (400, &["stream.taken: the upstream refuses the request with status 400"]),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        let refused = Heard { status, ..heard("/codex/responses", JSON, r#"{"detail":"No"}"#) };
        let contract = of(&refused);
        assert_eq!(broken(&contract), expected);
        let n_seen = contract.findings().iter().filter(|it| it.verdict != Verdict::NotSeen).count();
        assert_eq!(n_seen, expected.len(), "{status}");
    }
    assert!(broken(&of(&heard("/codex/else", "", ""))).is_empty());
}

#[test]
fn changed_tokens_are_named() {
    for (access, expected) in [
        (CLAIMS.to_owned(), &[][..]),
        (
            "opaque".to_owned(),
            &[
                "token.claims: it cannot",
                "token.account: neither token does",
                "token.plan: neither token does",
            ],
        ),
        (CLAIMS.replace("exp", "ends"), &["token.exp: it does not"]),
        (CLAIMS.replace("chatgpt_account_id", "id"), &["token.account: neither token does"]),
        (CLAIMS.replace("chatgpt_plan_type", "plan"), &["token.plan: neither token does"]),
    ] {
        let mut contract = Contract::default();
        contract.tokens(&tokens(&access));
        assert_eq!(broken(&contract), expected, "{access}");
    }
}

#[test]
fn nothing_of_the_upstreams_texts_gets_into_a_finding() {
    let event = r#"me@example.com {"sequence_number":10}"#;
    let body = stream(&format!("{event}\n{EVENTS}"));
    let mut contract = of(&heard("/codex/responses", STREAM_HEAD, &body));
    contract.answer(&heard(
        "/codex/models",
        JSON,
        &MODELS.replace("gpt-x", "user 1's model").replace("list", "x"),
    ));
    contract.answer(&heard("/wham/usage", JSON, &USAGE.replace("true", r#""acct-1""#)));
    let found = broken(&contract).join("\n");
    assert!(!found.is_empty());
    for text in ["example.com", "user", "acct"] {
        assert!(!found.contains(text), "{found}");
    }
    assert!(found.contains("something that is no word"), "{found}");
}
