//! The list of models: fetched when it is due, kept while it is not, and used when there is no
//! newer one.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::{RawQuery, State as Shared},
    routing::get,
};
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::{clock::Clock, secret::Secret, upstream};

/// A backend that lists one model, named after how often it was asked.
#[derive(Debug, Default)]
struct Listing {
    calls: AtomicUsize,
    mode: Mutex<Mode>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Mode {
    #[default]
    List,
    Hang,
    Slow(Duration),
    Status(u16),
}

async fn list(
    Shared(listing): Shared<Arc<Listing>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> (StatusCode, [(&'static str, String); 1], String) {
    assert_eq!(query.as_deref(), Some("client_version=0.156.1"));
    assert_eq!(headers["originator"], "codex_cli_rs");
    assert_eq!(headers["version"], "0.156.1");
    assert_eq!(headers["authorization"], "Bearer T0P");
    let n = listing.calls.fetch_add(1, Ordering::SeqCst) + 1;
    let mode = *listing.mode.lock();
    let status = match mode {
        Mode::List => 200,
        Mode::Hang => pending().await,
        Mode::Slow(time) => {
            tokio::time::sleep(time).await;
            200
        }
        Mode::Status(status) => status,
    };
    let account = headers["chatgpt-account-id"].to_str().expect("text");
    let body = match status {
        200 => format!(r#"{{"models":[{{"slug":"{account}-{n}"}}]}}"#),
        _ => String::new(),
    };
    (StatusCode::from_u16(status).expect("status"), [("etag", format!("W/\"{n}\""))], body)
}

struct Setup {
    listing: Arc<Listing>,
    catalogue: Catalogue,
    tasks: TaskTracker,
}

impl Setup {
    fn new(mode: Mode) -> Self {
        let listing = Arc::new(Listing { mode: Mutex::new(mode), ..Listing::default() });
        let router =
            Router::new().route("/codex/models", get(list)).with_state(Arc::clone(&listing));
        let settings = upstream::Settings {
            base_url: "https://upstream.example/codex".to_owned(),
            client_version: "0.156.1".to_owned(),
            user_agent: "airelays/test".to_owned(),
            headers_timeout: Duration::from_mins(2),
        };
        let upstream =
            Upstream::new(&settings, transport::local(router), Clock::system()).expect("settings");
        let tasks = TaskTracker::new();
        let settings =
            Settings { fresh_for: Duration::from_mins(5), patience: Duration::from_secs(5) };
        Self { listing, catalogue: Catalogue::new(upstream, settings, tasks.clone()), tasks }
    }

    /// The only model's name, or what failed.
    async fn model(&self, account: &str) -> String {
        let credential = Credential {
            access: Secret::new("T0P"),
            account_id: AccountId::new(account),
            fedramp: false,
        };
        match self.catalogue.models(&credential).await {
            Ok(models) => models.entries[0].slug.clone(),
            Err(failure) => failure.to_string(),
        }
    }

    fn mode(&self, mode: Mode) {
        *self.listing.mode.lock() = mode;
    }

    fn calls(&self) -> usize {
        self.listing.calls.load(Ordering::SeqCst)
    }

    /// Until nothing is fetched in the background.
    async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

#[test]
fn entries_are_read_one_by_one() {
    let body = br#"{"models":[
        {"slug":"gpt-5.6-luna","display_name":"GPT-5.6-Luna","description":"Fast","priority":8,
         "visibility":"list","default_reasoning_level":"medium",
         "supported_reasoning_levels":[{"effort":"low","description":"x"},{"effort":"max"},7,{}],
         "context_window":272000,"max_context_window":921000,"input_modalities":["text","image",1],
         "service_tiers":[{"id":"priority","name":"Fast"}],"supports_parallel_tool_calls":true,
         "support_verbosity":true,"supports_reasoning_summaries":false, "new":[ {} ]},
        {"slug":7}, null, "x", {"slug":""},
        {"slug":"odd","priority":"first","context_window":null,"input_modalities":{}}
    ]}"#;
    let models = Models::read(body, None).expect("a list");
    assert_eq!((models.entries.len(), models.n_skipped), (2, 4));

    let luna = models.find("gpt-5.6-luna").expect("listed");
    assert_eq!(luna.display_name.as_deref(), Some("GPT-5.6-Luna"));
    assert_eq!(luna.description.as_deref(), Some("Fast"));
    assert_eq!(luna.visibility.as_deref(), Some("list"));
    assert_eq!(luna.priority, Some(8));
    assert_eq!(luna.context, ContextWindow { usual: Some(272_000), max: Some(921_000) });
    assert_eq!(luna.reasoning_levels, ["low", "max"]);
    assert_eq!(luna.default_reasoning_level.as_deref(), Some("medium"));
    assert_eq!(luna.input_modalities, ["text", "image"]);
    assert_eq!(luna.service_tiers, ["priority"]);
    let supports = Supports {
        parallel_tool_calls: Some(true),
        verbosity: Some(true),
        reasoning_summaries: Some(false),
        image_detail_original: None,
    };
    assert_eq!(luna.supports, supports);
    assert!(luna.raw.get().contains(r#""new":[ {} ]"#), "as it came");

    let odd = models.find("odd").expect("listed");
    assert_eq!((odd.priority, odd.context), (None, ContextWindow::default()));
    assert!(odd.input_modalities.is_empty());

    for body in ["", "[]", "{}", r#"{"models":{}}"#, "<html>"] {
        assert!(Models::read(body.as_bytes(), None).is_none(), "{body}");
    }
}

#[test]
fn the_smallest_is_offered_and_small_by_name_or_else_the_last() {
    let models = |entries: &[(&str, &str, i64)]| {
        let entry = |(slug, visibility, priority): &(&str, &str, i64)| {
            format!(r#"{{"slug":"{slug}","visibility":"{visibility}","priority":{priority}}}"#)
        };
        let entries = entries.iter().map(entry).collect::<Vec<_>>().join(",");
        Models::read(format!(r#"{{"models":[{entries}]}}"#).as_bytes(), None).expect("a list")
    };
    let small = [("g-sol", "list", 9), ("g-luna", "list", 3), ("g5-mini", "hide", 4)];
    let plain = [("g-sol", "list", 1), ("g-terra", "list", 7), ("g-review", "hide", 43)];
    for (entries, expected) in [
        (&small[..], Some("g-luna")),
        (&plain[..], Some("g-terra")),
        (&small[2..], Some("g5-mini")),
        (&[][..], None),
    ] {
        let models = models(entries);
        assert_eq!(models.smallest().map(|model| &*model.slug), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn many_first_requests_make_one_fetch() {
    let setup = Setup::new(Mode::Slow(Duration::from_secs(1)));
    let models = join_all((0..20).map(|_| setup.model("a"))).await;
    assert_eq!(models, vec!["a-1"; 20]);
    assert_eq!(setup.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stale_list_is_used_at_once_and_renewed_behind() {
    let setup = Setup::new(Mode::List);
    assert_eq!(setup.model("a").await, "a-1");
    tokio::time::advance(Duration::from_secs(299)).await;
    assert_eq!((setup.model("a").await.as_str(), setup.calls()), ("a-1", 1));

    tokio::time::advance(Duration::from_secs(1)).await;
    setup.mode(Mode::Slow(Duration::from_secs(20)));
    let start = tokio::time::Instant::now();
    assert_eq!(setup.model("a").await, "a-1");
    assert_eq!(setup.model("a").await, "a-1");
    assert_eq!(start.elapsed(), Duration::ZERO);
    setup.settle().await;
    assert_eq!((setup.model("a").await.as_str(), setup.calls()), ("a-2", 2));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_renewed_stays_and_is_asked_for_now_and_then() {
    let setup = Setup::new(Mode::List);
    assert_eq!(setup.model("a").await, "a-1");
    setup.mode(Mode::Status(500));
    tokio::time::advance(Duration::from_mins(5)).await;
    for _ in 0..3 {
        assert_eq!(setup.model("a").await, "a-1");
        setup.settle().await;
    }
    assert_eq!(setup.calls(), 2);
    tokio::time::advance(PAUSE).await;
    assert_eq!(setup.model("a").await, "a-1");
    setup.settle().await;
    assert_eq!(setup.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_route_holds_a_request_up_only_once_and_not_for_long() {
    let setup = Setup::new(Mode::Hang);
    let start = tokio::time::Instant::now();
    assert_eq!(setup.model("a").await, "the upstream did not answer in time");
    assert_eq!(setup.model("a").await, "the upstream did not answer in time");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    setup.settle().await;
    assert_eq!(start.elapsed(), FETCH_TIMEOUT);

    assert_eq!(setup.model("a").await, "the upstream did not answer in time");
    assert_eq!((start.elapsed(), setup.calls()), (FETCH_TIMEOUT, 1), "at once");
    setup.mode(Mode::List);
    tokio::time::advance(PAUSE).await;
    assert_eq!(setup.model("a").await, "a-2");
}

#[tokio::test(start_paused = true)]
async fn a_first_list_that_is_late_is_there_for_the_next_request() {
    let setup = Setup::new(Mode::Slow(Duration::from_secs(9)));
    assert_eq!(setup.model("a").await, "the upstream did not answer in time");
    setup.settle().await;
    assert_eq!((setup.model("a").await.as_str(), setup.calls()), ("a-1", 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_held_against_the_next() {
    let setup = Setup::new(Mode::Status(401));
    assert_eq!(setup.model("a").await, "the upstream does not accept this account's token");
    setup.mode(Mode::List);
    assert_eq!(setup.model("a").await, "a-2");
}

#[tokio::test(start_paused = true)]
async fn a_list_is_for_the_account_it_was_given_to() {
    let setup = Setup::new(Mode::Slow(Duration::from_secs(1)));
    let (one, other) = tokio::join!(setup.model("a"), setup.model("b"));
    assert_eq!((one.as_str(), other.as_str()), ("a-1", "b-2"));
    assert_eq!(setup.model("a").await, "a-3");
}

#[tokio::test(start_paused = true)]
async fn the_version_that_answers_name_decides_before_the_clock() {
    let setup = Setup::new(Mode::List);
    setup.catalogue.notice("W/\"0\"");
    assert_eq!(setup.model("a").await, "a-1");
    tokio::time::advance(Duration::from_secs(299)).await;
    setup.catalogue.notice("W/\"1\"");
    tokio::time::advance(Duration::from_secs(299)).await;
    assert_eq!((setup.model("a").await.as_str(), setup.calls()), ("a-1", 1));

    setup.catalogue.notice("W/\"9\"");
    assert_eq!(setup.model("a").await, "a-1");
    setup.settle().await;
    assert_eq!((setup.model("a").await.as_str(), setup.calls()), ("a-2", 2));
}
