//! Every setting, once: its key, its variables, its flag, its default, its words and its reader.
//!
//! Not here: the list of them all (`config::table`), defaults that follow from other settings
//! (`config::resolve`).

use std::{path::PathBuf, time::Duration};

use super::{About, NAMELESS, PREFIX, SINGULAR, Setting};
use crate::{
    auth::vault::Storage,
    config::{
        host, list,
        value::{self, Raw},
    },
    relay_token,
    secret::Secret,
    wire::{model::Alias, reply::chat::Reasoning},
};

/// For settings as old as the program.
const OLDEST: &[&str] = &[PREFIX, SINGULAR, NAMELESS];
/// For settings that came with its first name.
const OLD: &[&str] = &[PREFIX, SINGULAR];
/// For settings that came later.
pub(super) const NEW: &[&str] = &[PREFIX];

/// A day: no wait is longer.
pub(super) const LONGEST: f64 = 86_400.0;
const MOST_SECONDS: u64 = 86_400;
const MOST_BYTES: u64 = 1 << 40;
pub(super) const MOST: u32 = 1_000_000_000;

pub(super) const fn about(
    key: &'static str,
    prefixes: &'static [&'static str],
    variable: &'static str,
    default: &'static str,
    doc: &'static str,
) -> About {
    About { key, in_file: true, variable, prefixes, flag: None, default, doc }
}

pub static CONFIG: Setting<PathBuf> = Setting {
    about: About {
        in_file: false,
        flag: Some("--config"),
        ..about(
            "config",
            OLDEST,
            "CONFIG",
            "\"~/.config/airelays/config.toml\"",
            "Where this file is. The file of the former name, ~/.config/airelay/config.toml, is \
             used when there is none.",
        )
    },
    read: value::path,
};

pub static HOST: Setting<String> = Setting {
    about: About {
        flag: Some("--host"),
        ..about(
            "server.host",
            OLDEST,
            "HOST",
            "\"127.0.0.1\"",
            "Address to listen on. 127.0.0.1 and ::1 are for programs on this machine; 0.0.0.0 \
             and :: open the relay to the network.",
        )
    },
    read: |raw, _| host::listener(raw),
};

pub static PORT: Setting<u16> = Setting {
    about: About {
        flag: Some("--port"),
        ..about(
            "server.port",
            OLDEST,
            "PORT",
            "8080",
            "Port to listen on, 1 to 65535. 0 takes any free one, which the start then names.",
        )
    },
    read: |raw, _| value::whole(raw, 0..=65535),
};

pub static MAX_BODY_BYTES: Setting<u64> = Setting {
    about: about(
        "server.max_body_bytes",
        NEW,
        "MAX_BODY_BYTES",
        "67108864",
        "Largest request body in bytes; a larger one is refused with 413.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST_BYTES),
};

pub static SHUTDOWN_GRACE: Setting<Duration> = Setting {
    about: about(
        "server.shutdown_grace_seconds",
        NEW,
        "SHUTDOWN_GRACE_SECONDS",
        "10",
        "How long open answers may go on after the relay was told to stop.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=LONGEST),
};

pub static DATA_DIR: Setting<PathBuf> = Setting {
    about: About {
        flag: Some("--data-dir"),
        ..about(
            "paths.data_dir",
            OLDEST,
            "DATA_DIR",
            "\"~/.airelays\"",
            "Where logins, uploads, conversations and the relay token are kept. The directory of \
             the former name, ~/.airelay, is used when there is none.",
        )
    },
    read: value::path,
};

pub static LOGS_DIR: Setting<PathBuf> = Setting {
    about: About {
        flag: Some("--logs-dir"),
        ..about(
            "paths.logs_dir",
            OLDEST,
            "LOGS_DIR",
            "\"~/.airelays/logs\"",
            "Where the traffic log is written. Below the data directory unless said otherwise.",
        )
    },
    read: value::path,
};

pub static STORAGE: Setting<Storage> = Setting {
    about: About {
        flag: Some("--auth-storage"),
        ..about(
            "auth.storage",
            OLDEST,
            "AUTH_STORAGE",
            "\"auto\"",
            "Where a new ChatGPT login is kept: file, a file of the owner's alone; keyring, that file \
             encrypted with a key in the keyring of the system; auto, the second where there is an \
             unlocked keyring and the first where there is none.",
        )
    },
    read: |raw, _| value::storage(raw),
};

pub static BROWSER_OPEN: Setting<bool> = Setting {
    about: about(
        "auth.browser_open",
        OLDEST,
        "BROWSER_OPEN",
        "false",
        "Whether a login opens the browser itself instead of only naming the address.",
    ),
    read: |raw, _| value::switch(raw),
};

pub static LOGIN_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "auth.login_timeout_seconds",
        OLDEST,
        "LOGIN_TIMEOUT_SECONDS",
        "900",
        "How long a login waits to be completed.",
    ),
    read: |raw, _| value::seconds(raw, 1.0..=LONGEST),
};

pub static BASE_URL: Setting<String> = Setting {
    about: about(
        "upstream.base_url",
        OLDEST,
        "UPSTREAM_BASE_URL",
        "\"https://chatgpt.com/backend-api/codex\"",
        "Where requests are sent. https, or http for an imitation on this machine.",
    ),
    read: |raw, _| host::upstream(raw),
};

pub static ISSUER_BASE_URL: Setting<String> = Setting {
    about: about(
        "upstream.issuer_base_url",
        OLDEST,
        "ISSUER_BASE_URL",
        "\"https://auth.openai.com\"",
        "Who signs in and renews logins. https, or http for an imitation on this machine.",
    ),
    read: |raw, _| host::upstream(raw),
};

pub static CLIENT_ID: Setting<String> = Setting {
    about: about(
        "upstream.client_id",
        OLDEST,
        "CLIENT_ID",
        "\"app_EMoamEEZ73f0CkXaXp7hrann\"",
        "The OAuth client that logins belong to.",
    ),
    read: |raw, _| value::name(raw),
};

pub static CLIENT_VERSION: Setting<String> = Setting {
    about: about(
        "upstream.client_version",
        OLDEST,
        "CLIENT_VERSION",
        "\"auto\"",
        "Client version that the relay speaks as, on which the list of models depends. auto is the \
         newest that this release was checked with, or that of an installed Codex CLI if that is \
         newer; 0.124.0, which old files hold, is read as auto.",
    ),
    read: |raw, _| {
        value::name(raw).map(|version| match version.as_str() {
            "0.124.0" => "auto".to_owned(),
            _ => version,
        })
    },
};

pub static CONNECT_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "upstream.connect_timeout_seconds",
        NEW,
        "CONNECT_TIMEOUT_SECONDS",
        "10",
        "How long connecting to the upstream may take.",
    ),
    read: |raw, _| value::seconds(raw, 0.1..=LONGEST),
};

pub static REQUEST_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "upstream.request_timeout_seconds",
        OLDEST,
        "REQUEST_TIMEOUT_SECONDS",
        "120",
        "How long the upstream may take to begin an answer: from the request to its headers, and \
         from there to its first event. An answer that goes on may take longer.",
    ),
    read: |raw, _| value::seconds(raw, 0.1..=LONGEST),
};

pub static HEADERS_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "upstream.headers_timeout_seconds",
        NEW,
        "HEADERS_TIMEOUT_SECONDS",
        "0",
        "How long the headers of an answer may take. 0 stands for request_timeout_seconds.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=LONGEST),
};

pub static FIRST_EVENT_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "upstream.first_event_timeout_seconds",
        NEW,
        "FIRST_EVENT_TIMEOUT_SECONDS",
        "0",
        "How long the first event of an answer may take, from its headers on. 0 stands for \
         request_timeout_seconds.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=LONGEST),
};

pub static SILENCE_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "upstream.silence_timeout_seconds",
        NEW,
        "SILENCE_TIMEOUT_SECONDS",
        "0",
        "How long an answer that has begun may be silent; comments count as silence. 0 stands for \
         300, or for request_timeout_seconds where that is more: models that think hard say \
         nothing for minutes.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=LONGEST),
};

pub static TOTAL_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "upstream.total_timeout_seconds",
        NEW,
        "TOTAL_TIMEOUT_SECONDS",
        "0",
        "How long a whole answer may take. 0 sets no limit.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=LONGEST),
};

pub static IMAGE_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "upstream.image_timeout_seconds",
        NEW,
        "IMAGE_TIMEOUT_SECONDS",
        "300",
        "How long the upstream may take over one image.",
    ),
    read: |raw, _| value::seconds(raw, 0.1..=LONGEST),
};

pub static LEARN_PARAMETERS: Setting<bool> = Setting {
    about: about(
        "upstream.learn_parameters",
        NEW,
        "LEARN_PARAMETERS",
        "true",
        "Whether a parameter that the upstream refuses by name is left out, told to the client and \
         remembered for some hours. Otherwise the client gets the refusal.",
    ),
    read: |raw, _| value::switch(raw),
};

pub static REQUIRE_BEARER_AUTH: Setting<bool> = Setting {
    about: About {
        flag: Some("--no-auth"),
        ..about(
            "security.require_bearer_auth",
            OLD,
            "REQUIRE_BEARER_AUTH",
            "true",
            "Whether clients must present the relay token. Without it, whoever reaches the \
             listener uses your login.",
        )
    },
    read: |raw, _| value::switch(raw),
};

pub static BEARER_TOKEN: Setting<Secret> = Setting {
    about: About {
        in_file: false,
        ..about(
            "security.bearer_token",
            OLD,
            "BEARER_TOKEN",
            "",
            "The relay token itself, in place of the one in the token file.",
        )
    },
    read: |raw, _| match raw {
        Raw::Word(word) => {
            let text = word.to_str().ok_or("is not text")?;
            Ok(relay_token::parse(text)?)
        }
        Raw::Text(_)
        | Raw::Whole(_)
        | Raw::Float(_)
        | Raw::Switch(_)
        | Raw::List(_)
        | Raw::Other(_) => Err("is a word".to_owned()),
    },
};

pub static BEARER_TOKEN_FILE: Setting<PathBuf> = Setting {
    about: About {
        flag: Some("--bearer-token-file"),
        ..about(
            "security.bearer_token_file",
            OLD,
            "BEARER_TOKEN_FILE",
            "\"~/.airelays/relay-token\"",
            "Where the relay token is kept. In the data directory unless said otherwise.",
        )
    },
    read: value::path,
};

pub static AUTO_GENERATE_BEARER_TOKEN: Setting<bool> = Setting {
    about: about(
        "security.auto_generate_bearer_token",
        OLD,
        "AUTO_GENERATE_BEARER_TOKEN",
        "false",
        "Whether the start makes a relay token when there is none, instead of refusing.",
    ),
    read: |raw, _| value::switch(raw),
};

pub static RATE_LIMIT_PER_MINUTE: Setting<u32> = Setting {
    about: about(
        "security.rate_limit_per_minute",
        OLD,
        "RATE_LIMIT_PER_MINUTE",
        "120",
        "Requests per minute that one client may send in the long run.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST),
};

pub static RATE_LIMIT_BURST: Setting<u32> = Setting {
    about: about(
        "security.rate_limit_burst",
        OLD,
        "RATE_LIMIT_BURST",
        "40",
        "Requests that one client may send at once before the rate counts.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST),
};

pub static CONCURRENT_REQUESTS_PER_IP: Setting<u32> = Setting {
    about: about(
        "security.concurrent_requests_per_ip",
        OLD,
        "CONCURRENT_REQUESTS_PER_IP",
        "8",
        "Requests of one client that may be under way at the same time, streams included.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST),
};

pub static FAILED_AUTH_WINDOW: Setting<u64> = Setting {
    about: about(
        "security.failed_auth_window_seconds",
        OLD,
        "FAILED_AUTH_WINDOW_SECONDS",
        "300",
        "How long a wrong token is remembered.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST_SECONDS),
};

pub static FAILED_AUTH_MAX_ATTEMPTS: Setting<u32> = Setting {
    about: about(
        "security.failed_auth_max_attempts",
        OLD,
        "FAILED_AUTH_MAX_ATTEMPTS",
        "8",
        "Wrong tokens within that time after which a client is blocked.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST),
};

pub static FAILED_AUTH_BLOCK: Setting<u64> = Setting {
    about: about(
        "security.failed_auth_block_seconds",
        OLD,
        "FAILED_AUTH_BLOCK_SECONDS",
        "900",
        "How long a client is blocked.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST_SECONDS),
};

pub static TRUST_X_FORWARDED_FOR: Setting<bool> = Setting {
    about: about(
        "security.trust_x_forwarded_for",
        OLD,
        "TRUST_X_FORWARDED_FOR",
        "false",
        "Whether X-Forwarded-For names the client. Only behind a proxy that sets it itself.",
    ),
    read: |raw, _| value::switch(raw),
};

pub static MAX_UPLOAD_BYTES: Setting<u64> = Setting {
    about: about(
        "uploads.max_upload_bytes",
        OLD,
        "MAX_UPLOAD_BYTES",
        "33554432",
        "Largest file in bytes that may be uploaded.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST_BYTES),
};

pub static MAX_TOTAL_UPLOAD_BYTES: Setting<u64> = Setting {
    about: about(
        "uploads.max_total_upload_bytes",
        OLD,
        "MAX_TOTAL_UPLOAD_BYTES",
        "268435456",
        "Bytes that all uploaded files may take together.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST_BYTES),
};

pub static MODEL_ALIASES: Setting<Vec<Alias>> = Setting {
    about: about(
        "models.aliases",
        NEW,
        "MODEL_ALIASES",
        "[]",
        "Other names for models, such as gpt-4o=gpt-5.6-terra for programs that insist on one. The \
         model may carry an effort: fast=gpt-5.6-luna(low).",
    ),
    read: |raw, _| list::aliases(raw),
};

pub static CHAT_REASONING: Setting<Reasoning> = Setting {
    about: about(
        "chat.reasoning",
        NEW,
        "CHAT_REASONING",
        "\"reasoning_content\"",
        "Where chat clients see what the model thinks: reasoning_content or reasoning, fields \
         beside the content; think, in the content between <think> tags; or hidden. A request \
         can say otherwise in the header x-airelays-reasoning.",
    ),
    read: |raw, _| value::reasoning(raw),
};

pub static KEEP_ALIVE: Setting<u64> = Setting {
    about: about(
        "stream.keep_alive_seconds",
        NEW,
        "KEEP_ALIVE_SECONDS",
        "15",
        "A comment is sent on a stream that is silent for so long, 1 to 15, so that nobody on \
         the way takes it for dead. 0 sends none.",
    ),
    read: |raw, _| value::whole(raw, 0..=15),
};

pub static COMMIT_AFTER: Setting<Duration> = Setting {
    about: about(
        "stream.commit_after_seconds",
        NEW,
        "COMMIT_AFTER_SECONDS",
        "10",
        "How long the headers of a stream are held back for the first content, so that an early \
         failure still gets its real status.",
    ),
    read: |raw, _| value::seconds(raw, 0.0..=300.0),
};

pub static STATEFUL: Setting<bool> = Setting {
    about: About {
        flag: Some("--stateful"),
        ..about(
            "responses.stateful",
            NEW,
            "STATEFUL",
            "false",
            "Whether answers are kept on this machine for clients that want it, so that they can \
             be retrieved, gone on from and made in the background. Nothing is stored upstream.",
        )
    },
    read: |raw, _| value::switch(raw),
};

pub static KEEP_ANSWERS: Setting<u64> = Setting {
    about: about(
        "responses.retention_days",
        NEW,
        "RESPONSES_RETENTION_DAYS",
        "30",
        "How many days an answer is kept that nobody goes on from.",
    ),
    read: |raw, _| value::whole(raw, 1..=36_500),
};

pub static MAX_ANSWERS: Setting<u64> = Setting {
    about: about(
        "responses.max_total_bytes",
        NEW,
        "RESPONSES_MAX_TOTAL_BYTES",
        "1073741824",
        "Bytes that all kept answers may take together; those that were not used for longest go \
         first.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST_BYTES),
};

pub static LOGGING: Setting<bool> = Setting {
    about: about(
        "logging.enabled",
        NEW,
        "LOG_ENABLED",
        "true",
        "Whether the traffic log is written.",
    ),
    read: |raw, _| value::switch(raw),
};

pub static STREAM_LINES: Setting<bool> = Setting {
    about: about(
        "logging.stream_lines",
        NEW,
        "LOG_STREAM_LINES",
        "true",
        "Whether the traffic log holds every line of a stream, or its summary only.",
    ),
    read: |raw, _| value::switch(raw),
};
