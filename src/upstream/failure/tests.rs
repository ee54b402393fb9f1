//! What the upstream has been seen to answer, and what each of it means.

use http::{HeaderName, HeaderValue};

use super::*;

const NOW: i64 = 1_790_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
    };
    pairs.iter().map(pair).collect()
}

/// What decides, in short.
fn short(failure: &Failure) -> String {
    let wait = |wait: &Option<Duration>| wait.map_or(String::new(), |wait| format!(" {wait:?}"));
    let text =
        |text: &Option<String>| text.as_ref().map_or(String::new(), |text| format!(" {text}"));
    let refusal = |refusal: &Refusal| {
        let Refusal { status, message, param, code, .. } = refusal;
        format!("{status}{}{}: {message}", text(code), text(param))
    };
    match failure {
        Failure::Unauthorized { code } => format!("unauthorized{}", text(code)),
        Failure::Workspace { code } => format!("workspace{}", text(code)),
        Failure::UsageLimit(limit) => {
            let resets = limit.resets_at.map(|reset| reset.as_second() - NOW);
            format!("limit{}{} {resets:?}", text(&limit.reached), text(&limit.plan_type))
        }
        Failure::NotIncluded { plan_type } => format!("not included{}", text(plan_type)),
        Failure::NoImages => "no images".to_owned(),
        Failure::Request(found) => format!("request {}", refusal(found)),
        Failure::ModelNotFound(found) => format!("model {}", refusal(found)),
        Failure::Overloaded { retry_after } => format!("overloaded{}", wait(retry_after)),
        Failure::Capacity { retry_after } => format!("capacity{}", wait(retry_after)),
        Failure::RateLimited { retry_after } => format!("often{}", wait(retry_after)),
        Failure::Challenge { status, cf_ray } => format!("challenge {status}{}", text(cf_ray)),
        Failure::Service(fault) => {
            let status = fault.status.map_or("stream".to_owned(), |status| status.to_string());
            let (code, message) = (text(&fault.code), text(&fault.message));
            format!("service {status}{code}{}:{message}", wait(&fault.retry_after))
        }
        Failure::Connect(_) => "connect".to_owned(),
        Failure::Timeout(deadline) => format!("timeout {deadline:?}"),
        Failure::Cut(_) => "cut".to_owned(),
        Failure::TooLarge { what, .. } => format!("too large: {what}"),
    }
}

fn answered(status: u16, pairs: &[(&'static str, &str)], body: &str) -> Failure {
    let status = StatusCode::from_u16(status).expect("a status");
    classify(status, &headers(pairs), body.as_bytes(), at(NOW))
}

fn check(cases: &[(u16, &str, &str)]) {
    for (status, body, expected) in cases {
        assert_eq!(short(&answered(*status, &[], body)), *expected, "{status} {body}");
    }
}

#[test]
fn refusals_of_the_request_keep_their_words() {
    for text in [
        "Store must be set to false",
        "Stream must be set to true",
        "Input must be a list",
        "Instructions are required",
        "Instructions are not valid",
        "System messages are not allowed",
        "Unsupported parameter: X",
        "Unsupported content type",
        "Unsupported service_tier: X",
    ] {
        let failure = answered(400, &[], &format!(r#"{{"detail":"{text}"}}"#));
        let Failure::Request(refusal) = &failure else { panic!("{failure:?}") };
        let expected = Refusal {
            status: 400,
            message: text.to_owned(),
            kind: Some("invalid_request_error".to_owned()),
            param: None,
            code: None,
        };
        assert_eq!(**refusal, expected);
    }
    check(&[
        (
            400,
            r#"{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}"#,
            "request 400 context_length_exceeded input: Your input exceeds the context window of this model. Please adjust your input and try again.",
        ),
        (
            400,
            r#"{"error":{"message":"m","type":"invalid_request_error","code":"invalid_encrypted_content"}}"#,
            "request 400 invalid_encrypted_content: m",
        ),
        (400, r#"{"error":{"message":"m","code":"cyber_policy"}}"#, "request 400 cyber_policy: m"),
        (
            404,
            r#"{"detail":"Item with id 'rs_1' not found."}"#,
            "request 404: Item with id 'rs_1' not found.",
        ),
        (
            403,
            r#"{"error":{"code":"unsupported_country_region_territory","message":"m"}}"#,
            "request 403 unsupported_country_region_territory: m",
        ),
        (413, "", "request 413: it answers 413 and does not say why"),
        (413, "too large", "request 413: too large"),
        (
            422,
            r#"{"detail":[{"loc":["body","model"],"msg":"field required","type":"missing"}]}"#,
            "request 422: field required",
        ),
    ]);
}

#[test]
fn models_that_are_not_there_are_told_from_other_refusals() {
    check(&[
        (
            400,
            r#"{"detail":"The 'gpt-x' model is not supported when using Codex with a ChatGPT account."}"#,
            "model 400: The 'gpt-x' model is not supported when using Codex with a ChatGPT account.",
        ),
        (
            400,
            r#"{"detail":"The 'X' model requires a newer version of Codex. Please upgrade to the latest app or CLI and try again."}"#,
            "model 400: The 'X' model requires a newer version of Codex. Please upgrade to the latest app or CLI and try again.",
        ),
        (404, r#"{"detail":"Model not found"}"#, "model 404: Model not found"),
        (
            404,
            r#"{"detail":"Model not found gpt-5.6-luna"}"#,
            "model 404: Model not found gpt-5.6-luna",
        ),
        (
            404,
            r#"{"error":{"code":"model_not_found","message":"m"}}"#,
            "model 404 model_not_found: m",
        ),
        (500, r#"{"detail":"Model not found"}"#, "service 500: Model not found"),
    ]);
}

#[test]
fn tokens_and_workspaces_are_the_accounts_fault() {
    let invalidated = r#"{"error":{"message":"Your authentication token has been invalidated. Please try signing in again.","type":"invalid_request_error","code":"token_invalidated","param":null},"status":401}"#;
    check(&[
        (401, invalidated, "unauthorized token_invalidated"),
        (401, r#"{"error":{"code":"token_expired"}}"#, "unauthorized token_expired"),
        (401, r#"{"detail":"Unauthorized"}"#, "unauthorized"),
        (401, "", "unauthorized"),
        (402, r#"{"detail":{"code":"deactivated_workspace"}}"#, "workspace deactivated_workspace"),
        (402, "", "workspace"),
        (
            403,
            r#"{"detail":{"code":"invalid_workspace_selected"}}"#,
            "workspace invalid_workspace_selected",
        ),
        (403, "", "service 403:"),
        (404, "", "service 404:"),
    ]);
    let header = [("x-openai-authorization-error", "invalid_workspace_selected")];
    assert_eq!(short(&answered(403, &header, "")), "workspace invalid_workspace_selected");
}

#[test]
fn a_usage_limit_says_until_when() {
    let limit =
        |rest: &str| format!(r#"{{"error":{{"type":"usage_limit_reached","message":"m"{rest}}}}}"#);
    let windows = [
        ("x-codex-plan-type", "pro"),
        ("x-codex-primary-used-percent", "100.0"),
        ("x-codex-primary-window-minutes", "300"),
        ("x-codex-primary-reset-after-seconds", "50"),
        ("x-codex-secondary-used-percent", "40"),
        ("x-codex-secondary-reset-after-seconds", "9000"),
    ];
    let after = [("retry-after", "7")];
    let reached = [("x-codex-rate-limit-reached-type", "workspace_member_usage_limit_reached")];
    for (pairs, body, expected) in [
        (
            &[][..],
            limit(
                r#","plan_type":"plus","resets_at":1790000100,"resets_in_seconds":5,"eligible_promo":null"#,
            ),
            "limit usage_limit_reached plus Some(100)",
        ),
        (
            &[],
            limit(r#","resets_at":null,"resets_in_seconds":12345"#),
            "limit usage_limit_reached Some(12345)",
        ),
        (&windows, limit(""), "limit usage_limit_reached pro Some(50)"),
        (&after, limit(""), "limit usage_limit_reached Some(7)"),
        (&[], limit(""), "limit usage_limit_reached None"),
        (&[], limit(r#","resets_at":99999999999999999"#), "limit usage_limit_reached None"),
        (&reached, String::new(), "limit workspace_member_usage_limit_reached None"),
        (&windows, r#"{"error":{"message":"?"}}"#.to_owned(), "limit pro Some(50)"),
        (
            &[],
            r#"{"error":{"code":"insufficient_quota"}}"#.to_owned(),
            "limit insufficient_quota None",
        ),
        (
            &[],
            r#"{"error":{"type":"workspace_owner_credits_depleted"}}"#.to_owned(),
            "limit workspace_owner_credits_depleted None",
        ),
        (
            &[],
            r#"{"error":{"type":"usage_not_included","plan_type":"free"}}"#.to_owned(),
            "not included free",
        ),
    ] {
        assert_eq!(short(&answered(429, pairs, &body)), expected, "{pairs:?} {body}");
    }
    let other_status = answered(400, &[], &limit(""));
    assert_eq!(short(&other_status), "limit usage_limit_reached None", "with any status");
    let limited = answered(429, &after, &limit(""));
    assert_eq!(limited.retry_after(at(NOW + 2)), Some(Duration::from_secs(5)));
    assert_eq!(limited.retry_after(at(NOW + 99)), Some(Duration::ZERO));
}

#[test]
fn being_asked_too_often_is_not_a_limit() {
    let date = [("retry-after", "Mon, 21 Sep 2026 14:13:50 GMT")];
    let spent =
        [("x-codex-primary-used-percent", "12"), ("x-codex-primary-reset-at", "1790009999")];
    for (pairs, body, expected) in [
        (
            &[][..],
            r#"{"error":{"code":"rate_limit_exceeded","message":"Please try again in 11.054s. .."}}"#,
            "often 11.054s",
        ),
        (&[], r#"{"error":{"type":"rate_limit_error"}}"#, "often"),
        (&[("retry-after", "1.5")], r#"{"error":{"type":"rate_limit_error"}}"#, "often 1.5s"),
        (&date, "", "often 30s"),
        (&[("retry-after", "soon")], "", "often"),
        (&[("retry-after", "-1")], "", "often"),
        (&spent, "", "often"),
        (&[], r#"{"error":{"code":"connector_rate_limit"}}"#, "often"),
        (
            &[],
            r#"{"detail":"Selected model is at capacity. Please try a different model."}"#,
            "capacity",
        ),
    ] {
        assert_eq!(short(&answered(429, pairs, body)), expected, "{pairs:?} {body}");
    }
}

#[test]
fn faults_of_the_service_may_pass() {
    check(&[
        (503, r#"{"error":{"code":"server_is_overloaded","message":"m"}}"#, "overloaded"),
        (503, r#"{"error":{"code":"slow_down"}}"#, "overloaded"),
        (
            500,
            r#"{"error":{"message":"An error occurred","type":"server_error"}}"#,
            "service 500: An error occurred",
        ),
        (500, "", "service 500:"),
        (502, "<html><head><title>502 Bad Gateway</title></head></html>", "service 502:"),
        (504, "upstream request timeout", "service 504: upstream request timeout"),
        (520, "", "service 520:"),
        (307, "", "service 307:"),
        (426, "", "service 426:"),
        (408, "", "service 408:"),
    ]);
    let wait = answered(503, &[("retry-after", "3")], "");
    assert_eq!(short(&wait), "service 503 3s:");
}

#[test]
fn pages_of_the_edge_are_recognized_and_never_shown() {
    let html = [("content-type", "text/html; charset=UTF-8"), ("cf-ray", "8f2a-FRA")];
    let odd = [("cf-mitigated", "challenge"), ("cf-ray", "<script>")];
    for (status, pairs, body, expected) in [
        (
            403,
            &html[..],
            "<!DOCTYPE html><title>Just a moment...</title>",
            "challenge 403 8f2a-FRA",
        ),
        (503, &html, "<title>Attention Required! | Cloudflare</title>", "challenge 503 8f2a-FRA"),
        (403, &html, "<p>Sorry, you have been blocked</p>", "challenge 403 8f2a-FRA"),
        (429, &html, "<html>slow</html>", "challenge 429 8f2a-FRA"),
        (403, &[], "error code: 1010", "challenge 403"),
        (429, &[], "error code: 1015", "challenge 429"),
        (403, &odd, "", "challenge 403"),
        (503, &html, "<html>T0P</html>", "service 503:"),
        (401, &html, "<html>T0P</html>", "service 401:"),
        (400, &[], r#"{"detail":"Just a moment..."}"#, "request 400: Just a moment..."),
        (
            400,
            &[],
            r#"{"detail":"<html>T0P</html>"}"#,
            "request 400: it answers 400 and does not say why",
        ),
    ] {
        let failure = answered(status, pairs, body);
        assert_eq!(short(&failure), expected, "{body}");
        assert!(!failure.to_string().contains('<'), "{failure}");
    }
}

#[test]
fn errors_inside_a_stream_are_told_apart_by_name() {
    let retry = "Rate limit reached for x. Please try again in 350ms.";
    for (code, message, expected) in [
        ("context_length_exceeded", "m", "request 400 context_length_exceeded: m"),
        ("insufficient_quota", "m", "limit insufficient_quota None"),
        ("usage_not_included", "m", "not included"),
        ("usage_limit_reached", "m", "limit usage_limit_reached None"),
        ("invalid_prompt", "m", "request 400 invalid_prompt: m"),
        ("cyber_policy", "m", "request 400 cyber_policy: m"),
        ("bio_policy", "m", "request 400 bio_policy: m"),
        ("server_is_overloaded", "m", "overloaded"),
        ("slow_down", "Please try again in 2s", "overloaded 2s"),
        ("rate_limit_exceeded", retry, "often 350ms"),
        ("previous_response_not_found", "m", "request 400 previous_response_not_found: m"),
        (
            "websocket_connection_limit_reached",
            "m",
            "service stream websocket_connection_limit_reached: m",
        ),
        ("model_not_found", "m", "model 400 model_not_found: m"),
        ("invalid_request_error", "m", "request 400 invalid_request_error: m"),
        ("unsupported_value", "m", "request 400 unsupported_value: m"),
        ("unsupported_parameter", "m", "request 400 unsupported_parameter: m"),
        ("unknown_parameter", "m", "request 400 unknown_parameter: m"),
        ("string_above_max_length", "m", "request 400 string_above_max_length: m"),
        ("token_expired", "m", "unauthorized token_expired"),
        ("server_error", "m", "service stream server_error: m"),
        ("x", "Selected model is at capacity. Please try a different model.", "capacity"),
    ] {
        let by_code = ErrorFields {
            code: Some(code.to_owned()),
            message: Some(message.to_owned()),
            ..ErrorFields::default()
        };
        assert_eq!(short(&classify_event(by_code.clone(), at(NOW))), expected, "{code}");
        let by_kind = ErrorFields { kind: by_code.code.clone(), code: None, ..by_code };
        let blame = classify_event(by_kind.clone(), at(NOW)).blame();
        let code = ErrorFields { code: by_kind.kind.clone(), kind: None, ..by_kind };
        assert_eq!(blame, classify_event(code, at(NOW)).blame(), "a type counts like a code");
    }
    let param = ErrorFields { param: Some("input".to_owned()), ..ErrorFields::default() };
    assert_eq!(
        short(&classify_event(param, at(NOW))),
        "request 400 input: it answers 400 and does not say why"
    );
    assert_eq!(short(&classify_event(ErrorFields::default(), at(NOW))), "service stream:");
}

#[test]
fn every_class_has_one_sentence_and_one_to_blame() {
    let cause = || -> Cause { Arc::new(std::io::Error::other("10.0.0.7 T0P")) };
    for (failure, sentence, blame) in [
        (Failure::Connect(cause()), "the upstream could not be reached", Blame::Network),
        (Failure::Cut(cause()), "the connection to the upstream broke", Blame::Network),
        (
            Failure::TooLarge { what: "comments", limit: 9 },
            "the upstream sent more than 9 bytes of comments",
            Blame::Service,
        ),
        (Failure::Timeout(Deadline::Silence), "the upstream stopped sending", Blame::Network),
        (
            answered(500, &[], r#"{"detail":"m"}"#),
            "the upstream failed with status 500: m",
            Blame::Service,
        ),
        (
            answered(400, &[], r#"{"detail":"m"}"#),
            "the upstream refuses the request: m",
            Blame::Request,
        ),
        (
            answered(401, &[], ""),
            "the upstream does not accept this account's token",
            Blame::Account,
        ),
    ] {
        assert_eq!(failure.to_string(), sentence);
        assert_eq!(failure.blame(), blame, "{failure}");
    }
}

#[test]
fn what_was_never_sent_is_told_from_what_may_have_arrived() {
    let source = || BoxError::from("x");
    for (error, expected) in [
        (BoxError::from(SendError::Connect(source())), "connect"),
        (BoxError::from(SendError::ConnectTimeout(source())), "timeout Connect"),
        (BoxError::from(SendError::Lost(source())), "cut"),
        (source(), "cut"),
    ] {
        assert_eq!(short(&Failure::of_sending(error)), expected);
    }
}

#[test]
fn a_route_for_pictures_that_is_not_there_says_so() {
    let of = |status, pairs: &[(&'static str, &str)], body| {
        short(&answered(status, pairs, body).of_images())
    };
    assert_eq!(of(404, &[], ""), "no images");
    assert_eq!(of(404, &[], r#"{"detail":"Not Found"}"#), "request 404: Not Found");
    assert_eq!(of(403, &[], ""), "service 403:");
    assert_eq!(of(500, &[], ""), "service 500:");
    let limit = [
        ("x-codex-active-limit", "imagegen_premium"),
        ("x-codex-primary-used-percent", "100.0"),
        ("x-codex-primary-reset-at", "1790000100"),
    ];
    let Failure::UsageLimit(limit) = answered(429, &limit, "").of_images() else {
        panic!("no limit");
    };
    assert_eq!(limit.apart(), Some("imagegen_premium"));
    assert_eq!(limit.resets_at, Some(at(1_790_000_100)));
}
