//! The settings of the slots.
//!
//! Not here: what the owner decides about one slot while the relay runs (`roster`).

use std::time::Duration;

use super::{
    Setting,
    entries::{LONGEST, MOST, NEW, about},
};
use crate::{
    config::{table::About, value},
    slot::policy::Policy,
};

pub static SLOT_POLICY: Setting<Policy> = Setting {
    about: About {
        flag: Some("--balance"),
        ..about(
            "slots.policy",
            NEW,
            "SLOTS_POLICY",
            "\"best-week-then-5h\"",
            "Which of several accounts serves a new dialogue: best-week-then-5h, best-5h-then-week, \
             least-recently-used, balanced, weighted, round-robin, ping-pong or ordered.",
        )
    },
    read: |raw, _| value::policy(raw),
};

pub static LEAST_FIVE_HOURS: Setting<f64> = Setting {
    about: about(
        "slots.min_five_hours_percent",
        NEW,
        "SLOTS_MIN_FIVE_HOURS_PERCENT",
        "15",
        "An account with less than this left of its five hours is taken only when there is none \
         with more. For the first three policies.",
    ),
    read: |raw, _| value::percent(raw),
};

pub static LEAST_WEEK: Setting<f64> = Setting {
    about: about(
        "slots.min_week_percent",
        NEW,
        "SLOTS_MIN_WEEK_PERCENT",
        "10",
        "The same for the week.",
    ),
    read: |raw, _| value::percent(raw),
};

pub static RESERVE: Setting<f64> = Setting {
    about: about(
        "slots.reserve_percent",
        NEW,
        "SLOTS_RESERVE_PERCENT",
        "0",
        "Percent of each usage window that are kept for your own use of ChatGPT: an account with no \
         more than this left refuses, also when it is the only one.",
    ),
    read: |raw, _| value::percent(raw),
};

pub static SLOT_CONCURRENT: Setting<u32> = Setting {
    about: about(
        "slots.max_concurrent_requests",
        NEW,
        "SLOTS_MAX_CONCURRENT_REQUESTS",
        "0",
        "How many requests one account serves at the same time; more wait. 0 is no limit but the \
         upstream's own.",
    ),
    read: |raw, _| value::whole(raw, 0..=MOST),
};

pub static SLOT_WAITING: Setting<u32> = Setting {
    about: about(
        "slots.max_waiting_requests",
        NEW,
        "SLOTS_MAX_WAITING_REQUESTS",
        "256",
        "How many requests may wait for an account at the same time; more are refused with 429.",
    ),
    read: |raw, _| value::whole(raw, 0..=100_000),
};

pub static SLOT_PATIENCE: Setting<Duration> = Setting {
    about: about(
        "slots.queue_timeout_seconds",
        NEW,
        "SLOTS_QUEUE_TIMEOUT_SECONDS",
        "30",
        "How long a request waits for an account that is busy, or whose limit ends in that time.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=LONGEST),
};

pub static AFFINITY: Setting<Duration> = Setting {
    about: about(
        "slots.affinity_seconds",
        NEW,
        "SLOTS_AFFINITY_SECONDS",
        "3600",
        "How long after its last turn a dialogue still belongs to the account that served it. \
         0 chooses anew for every turn, which costs the upstream's prompt cache.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=LONGEST),
};

pub static USAGE_REFRESH: Setting<Duration> = Setting {
    about: about(
        "slots.usage_refresh_seconds",
        NEW,
        "SLOTS_USAGE_REFRESH_SECONDS",
        "300",
        "How old what is known of an account's usage may become before it is asked for, where \
         something depends on it. 0 never asks by itself.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=LONGEST),
};

pub static RETRIES: Setting<u32> = Setting {
    about: about(
        "slots.retry_passes",
        NEW,
        "SLOTS_RETRY_PASSES",
        "1",
        "How often all accounts are tried again when the upstream is overloaded or failing and \
         nothing has been sent to the client.",
    ),
    read: |raw, _| value::whole(raw, 0..=10),
};

pub static BACKOFF: Setting<Duration> = Setting {
    about: about(
        "slots.retry_backoff_seconds",
        NEW,
        "SLOTS_RETRY_BACKOFF_SECONDS",
        "1",
        "How long it is waited before that, give or take a quarter; twice as long each time after.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=5.0),
};
