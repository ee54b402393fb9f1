//! Counters of what was asked and answered since the start, in the names of codex-slot-relay.
//!
//! **Invariant:** only requests that were let in are counted, so memory does not grow by strangers.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;

use super::DependencyMap;
use crate::{
    api::exchange::Exchange,
    clock::Clock,
    relay::{story::Story, view::second},
};

const RECENT: usize = 50;
const RECENT_ERRORS: usize = 20;
/// There are fewer routes; whatever else is asked for counts together.
const MOST_PATHS: usize = 64;

/// Clones are the same.
#[derive(Clone, Debug)]
pub struct Stats(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    started: (Timestamp, Instant),
    total: u64,
    success: u64,
    client_error: u64,
    server_error: u64,
    in_flight: u64,
    by_path: BTreeMap<String, u64>,
    by_status: BTreeMap<u16, u64>,
    recent: VecDeque<Seen>,
    recent_errors: VecDeque<Seen>,
    last_request: Option<Timestamp>,
    last_success: Option<Timestamp>,
    last_error: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Seen {
    at: Timestamp,
    id: String,
    method: String,
    path: String,
    status: u16,
    answered: Duration,
    story: Story,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    time: String,
    request_id: String,
    method: String,
    path: String,
    status: u16,
    /// To the end of the answer, or to its head while it goes on.
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    requests_total: u64,
    success_total: u64,
    client_error_total: u64,
    server_error_total: u64,
    inflight: u64,
    by_path: BTreeMap<String, u64>,
    by_status: BTreeMap<u16, u64>,
    recent_requests: Vec<Entry>,
    recent_errors: Vec<Entry>,
    last_request_at: Option<String>,
    last_success_at: Option<String>,
    last_error_at: Option<String>,
    started_at: String,
    uptime_seconds: u64,
    version: &'static str,
    config: &'a RawValue,
    dependency_map: &'a DependencyMap,
}

/// Somebody whose request is under way.
#[derive(Debug)]
pub struct InFlight(Stats);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut inner = self.0.0.lock();
        inner.in_flight = inner.in_flight.saturating_sub(1);
    }
}

impl Stats {
    pub fn new(clock: &Clock) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            started: (clock.now(), clock.instant()),
            total: 0,
            success: 0,
            client_error: 0,
            server_error: 0,
            in_flight: 0,
            by_path: BTreeMap::new(),
            by_status: BTreeMap::new(),
            recent: VecDeque::new(),
            recent_errors: VecDeque::new(),
            last_request: None,
            last_success: None,
            last_error: None,
        })))
    }

    /// A request has been let in.
    pub fn enter(&self) -> InFlight {
        self.0.lock().in_flight += 1;
        InFlight(self.clone())
    }

    /// It was answered, `answered` after it came.
    pub fn count(&self, exchange: &Exchange, status: u16, answered: Duration, at: Timestamp) {
        let (method, path) = exchange.line();
        let mut inner = self.0.lock();
        inner.total += 1;
        inner.last_request = Some(at);
        let is_error = status >= 400;
        match status {
            500.. => inner.server_error += 1,
            400.. => inner.client_error += 1,
            _ => inner.success += 1,
        }
        let last = if is_error { &mut inner.last_error } else { &mut inner.last_success };
        *last = Some(at);
        *inner.by_status.entry(status).or_default() += 1;
        let is_known = inner.by_path.len() < MOST_PATHS || inner.by_path.contains_key(&path);
        let key = if is_known { path.clone() } else { "other".to_owned() };
        *inner.by_path.entry(key).or_default() += 1;
        let story = exchange.story.clone();
        let id = exchange.id.to_string();
        let seen = Seen { at, id, method, path, status, answered, story };
        if is_error {
            push(&mut inner.recent_errors, seen.clone(), RECENT_ERRORS);
        }
        push(&mut inner.recent, seen, RECENT);
    }

    /// All of it as JSON.
    pub fn report<'a>(
        &self,
        clock: &Clock,
        config: &'a RawValue,
        dependency_map: &'a DependencyMap,
    ) -> impl Serialize + use<'a> {
        let inner = self.0.lock();
        let uptime = clock.instant().saturating_duration_since(inner.started.1);
        Report {
            requests_total: inner.total,
            success_total: inner.success,
            client_error_total: inner.client_error,
            server_error_total: inner.server_error,
            inflight: inner.in_flight,
            by_path: inner.by_path.clone(),
            by_status: inner.by_status.clone(),
            recent_requests: inner.recent.iter().map(entry).collect(),
            recent_errors: inner.recent_errors.iter().map(entry).collect(),
            last_request_at: inner.last_request.map(second),
            last_success_at: inner.last_success.map(second),
            last_error_at: inner.last_error.map(second),
            started_at: second(inner.started.0),
            uptime_seconds: uptime.as_secs(),
            version: env!("CARGO_PKG_VERSION"),
            config,
            dependency_map,
        }
    }
}

fn push(ring: &mut VecDeque<Seen>, seen: Seen, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(seen);
}

fn entry(seen: &Seen) -> Entry {
    let told = seen.story.told();
    let duration = told.ended.as_ref().map_or(seen.answered, |(time, _)| *time);
    let error = told.attempts.last().and_then(|attempt| attempt.failure.clone());
    Entry {
        time: second(seen.at),
        request_id: seen.id.clone(),
        method: seen.method.clone(),
        path: seen.path.clone(),
        status: seen.status,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        slot_id: seen.story.slot().map(|id| id.to_string()),
        error: error.filter(|_| seen.status >= 400),
    }
}
