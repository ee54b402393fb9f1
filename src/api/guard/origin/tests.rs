//! What browsers send, and what comes of it.

use axum::{Router, body::Body, middleware::from_fn_with_state, routing::any};
use expect_test::{Expect, expect};
use http::header::HOST;
use tower::ServiceExt;

use super::*;
use crate::{id::RequestId, traffic::Traffic};

const APP: &str = "https://app.example";

fn rules(origins: &[&str]) -> Rules {
    Rules {
        hosts: Arc::new([]),
        origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
    }
}

/// Headers written as `name: value; name: value`, with a `Host` of ours.
fn request(method: &str, headers: &str) -> Request {
    let mut request = Request::builder().method(method).uri("/v1/models");
    request = request.header(HOST, "localhost:8080");
    for header in headers.split("; ").filter(|header| !header.is_empty()) {
        let (name, value) = header.split_once(": ").expect("a header");
        request = request.header(name, value);
    }
    request.body(Body::empty()).expect("a request")
}

#[test]
fn what_comes_from_no_page_is_not_touched() {
    for origins in [&[][..], &[APP]] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            for headers in ["", "sec-fetch-mode: cors", "referer: https://evil.example/"] {
                let judged = rules(origins).judge(&request(method, headers));
                assert_eq!(judged, Ok(None), "{method} {headers}");
            }
        }
    }
}

#[test]
fn a_page_needs_an_origin_that_is_ours_or_listed() {
    let listed = || Ok(Some(HeaderValue::from_static(APP)));
    for (headers, expected) in [
        ("sec-fetch-site: none", Ok(None)),
        ("sec-fetch-site: same-origin", Ok(None)),
        ("sec-fetch-site: same-site", Err(Refused::Origin)),
        ("sec-fetch-site: cross-site", Err(Refused::Origin)),
        ("sec-fetch-site: something-new", Err(Refused::Origin)),
        ("sec-fetch-site: none; sec-fetch-site: cross-site", Err(Refused::Origin)),
        ("origin: http://localhost:8080", Ok(None)),
        ("origin: http://LOCALHOST:8080", Ok(None)),
        ("origin: http://localhost:8080; sec-fetch-site: same-origin", Ok(None)),
        ("origin: http://localhost:8080; sec-fetch-site: cross-site", Err(Refused::Origin)),
        ("origin: https://localhost:8080", Err(Refused::Origin)),
        ("origin: http://localhost:3000", Err(Refused::Origin)),
        ("origin: http://localhost", Err(Refused::Origin)),
        ("origin: http://127.0.0.1:8080", Err(Refused::Origin)),
        ("origin: http://localhost:8080.evil.example", Err(Refused::Origin)),
        ("origin: https://evil.example", Err(Refused::Origin)),
        ("origin: https://evil.example; sec-fetch-site: same-origin", Err(Refused::Origin)),
        ("origin: null", Err(Refused::Origin)),
        ("origin: ; sec-fetch-site: none", Err(Refused::Origin)),
        ("origin: *", Err(Refused::Origin)),
        ("origin: https://app.example", listed()),
        ("origin: https://app.example; sec-fetch-site: cross-site", listed()),
        ("origin: https://app.example; sec-fetch-site: same-site", listed()),
        ("origin: https://app.example:443", Err(Refused::Origin)),
        ("origin: https://app.example/", Err(Refused::Origin)),
        ("origin: http://app.example", Err(Refused::Origin)),
        ("origin: https://app.example.evil.example", Err(Refused::Origin)),
        ("origin: https://xapp.example", Err(Refused::Origin)),
        ("origin: https://app.example; origin: https://app.example", Err(Refused::Origin)),
        ("origin: https://app.example; origin: https://evil.example", Err(Refused::Origin)),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let judged = rules(&[APP]).judge(&request(method, headers));
            assert_eq!(judged, expected, "{method} {headers}");
        }
    }
}

#[test]
fn our_own_origin_is_https_where_we_speak_tls() {
    for (is_encrypted, origin, expected) in [
        (true, "https://localhost:8080", true),
        (true, "http://localhost:8080", false),
        (false, "https://localhost:8080", false),
        (false, "http://localhost:8080", true),
    ] {
        let mut request = request("GET", &format!("origin: {origin}"));
        request.extensions_mut().insert(Peer { is_encrypted, ..Peer::IN_PROCESS });
        assert_eq!(rules(&[]).judge(&request).is_ok(), expected, "{is_encrypted} {origin}");
    }
}

/// The status and the headers that concern browsers, with a route that would say 200.
async fn answer(origins: &[&str], request: Request) -> String {
    let (mut parts, body) = request.into_parts();
    let exchange = Exchange::new(
        RequestId::named("req_test"),
        Peer::IN_PROCESS.remote,
        Traffic::off(),
        &parts,
    );
    parts.extensions.insert(exchange);
    let origin = Origin::new(rules(origins), Clock::system());
    let router = Router::new()
        .route("/v1/models", any(async || "fine"))
        .layer(from_fn_with_state(origin, guard));
    let response = router.oneshot(Request::from_parts(parts, body)).await.expect("an answer");
    let headers = response.headers().iter();
    let mut told: Vec<_> = headers
        .filter(|(name, _)| *name == "vary" || name.as_str().starts_with("access-control"))
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().expect("text")))
        .collect();
    told.sort();
    format!("{}\n{}", response.status().as_u16(), told.concat())
}

async fn check(origins: &[&str], request: Request, expected: &Expect) {
    expected.assert_eq(&answer(origins, request).await);
}

#[tokio::test]
async fn without_listed_origins_nothing_is_granted() {
    let none = expect![[r#"
        200
    "#]];
    check(&[], request("GET", ""), &none).await;
    check(&[], request("OPTIONS", "access-control-request-method: POST"), &none).await;
    let refused = expect![[r#"
        403
    "#]];
    let preflight = "origin: https://app.example; access-control-request-method: POST";
    check(&[], request("OPTIONS", preflight), &refused).await;
    check(&[], request("GET", "origin: null"), &refused).await;
}

#[tokio::test]
async fn a_preflight_of_a_listed_origin_is_granted_what_it_asks() {
    let headers = "origin: https://app.example; sec-fetch-site: cross-site; \
                   access-control-request-method: POST; \
                   access-control-request-headers: authorization,content-type,x-stainless-os; \
                   access-control-request-private-network: true";
    check(
        &["https://other.example", APP],
        request("OPTIONS", headers),
        &expect![[r#"
            204
            access-control-allow-headers: authorization,content-type,x-stainless-os
            access-control-allow-methods: POST
            access-control-allow-origin: https://app.example
            access-control-max-age: 600
            vary: origin, access-control-request-method, access-control-request-headers
        "#]],
    )
    .await;
    check(
        &[APP],
        request("OPTIONS", "origin: https://app.example; access-control-request-method: DELETE"),
        &expect![[r#"
            204
            access-control-allow-methods: DELETE
            access-control-allow-origin: https://app.example
            access-control-max-age: 600
            vary: origin, access-control-request-method, access-control-request-headers
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_read_the_answer_and_no_other() {
    check(
        &[APP],
        request("POST", "origin: https://app.example; sec-fetch-site: cross-site"),
        &expect![[r#"
            200
            access-control-allow-origin: https://app.example
            access-control-expose-headers: x-request-id, retry-after, x-should-retry, x-airelays-ignored-parameters, x-airelays-upstream-auth
            vary: origin
        "#]],
    )
    .await;
    check(
        &[APP],
        request("POST", "origin: https://evil.example"),
        &expect![[r#"
            403
            vary: origin
        "#]],
    )
    .await;
    check(
        &[APP],
        request("GET", ""),
        &expect![[r#"
            200
            vary: origin
        "#]],
    )
    .await;
}
