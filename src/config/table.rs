//! What is known of every setting, and the list of all of them.
//!
//! The file that `init` writes, the reference pages, the suggestions for misspelt names and
//! `status` come from this table. A setting that is not here does not exist.
//!
//! Not here: defaults that follow from other settings (`config::resolve`).

mod entries;
mod reach;
mod slots;

use std::path::Path;

pub use self::{entries::*, reach::*, slots::*};
use super::value::Raw;

/// What is known of a setting whatever its type.
#[derive(Debug)]
pub struct About {
    /// Section and name in the file: `server.port`.
    pub key: &'static str,
    /// Whether the file may say it. The place of the file and the token itself it may not.
    pub in_file: bool,
    /// The variable without its prefix: `PORT`.
    pub variable: &'static str,
    /// The prefixes that the variable may have, strongest first.
    pub prefixes: &'static [&'static str],
    pub flag: Option<&'static str>,
    /// As it would stand in the file; empty when there is none.
    pub default: &'static str,
    /// Sentences for the owner.
    pub doc: &'static str,
}

impl About {
    /// The section and the name of the setting within it.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }
}

/// A setting of type `T`.
#[derive(Debug)]
pub struct Setting<T: 'static> {
    pub about: About,
    /// Refuses with the rest of a sentence that starts with the name of the setting.
    pub read: Read<T>,
}

/// Reads a value; the path is the home directory, which `~` stands for.
pub type Read<T> = fn(&Raw, Option<&Path>) -> Result<T, String>;

/// The prefix of all variables.
pub const PREFIX: &str = "AIRELAYS_";
/// The prefix from when the program had a singular name.
pub const SINGULAR: &str = "AIRELAY_";
/// The prefix from before the program had a name.
pub const NAMELESS: &str = "OPENAI_ENDPOINT_";

/// All settings, in the order of the file.
pub static SETTINGS: &[&About] = &[
    &CONFIG.about,
    &HOST.about,
    &PORT.about,
    &MAX_BODY_BYTES.about,
    &SHUTDOWN_GRACE.about,
    &UNIX_SOCKET.about,
    &TLS_CERT.about,
    &TLS_KEY.about,
    &MAX_CONNECTIONS.about,
    &MAX_CONNECTIONS_PER_CLIENT.about,
    &HEADER_TIMEOUT.about,
    &BODY_IDLE_TIMEOUT.about,
    &BODY_TIMEOUT.about,
    &WRITE_TIMEOUT.about,
    &DATA_DIR.about,
    &LOGS_DIR.about,
    &STORAGE.about,
    &BROWSER_OPEN.about,
    &LOGIN_TIMEOUT.about,
    &BASE_URL.about,
    &ISSUER_BASE_URL.about,
    &CLIENT_ID.about,
    &CLIENT_VERSION.about,
    &CONNECT_TIMEOUT.about,
    &REQUEST_TIMEOUT.about,
    &HEADERS_TIMEOUT.about,
    &FIRST_EVENT_TIMEOUT.about,
    &SILENCE_TIMEOUT.about,
    &TOTAL_TIMEOUT.about,
    &IMAGE_TIMEOUT.about,
    &LEARN_PARAMETERS.about,
    &REQUIRE_BEARER_AUTH.about,
    &BEARER_TOKEN.about,
    &BEARER_TOKEN_FILE.about,
    &AUTO_GENERATE_BEARER_TOKEN.about,
    &RATE_LIMIT_PER_MINUTE.about,
    &RATE_LIMIT_BURST.about,
    &CONCURRENT_REQUESTS_PER_IP.about,
    &FAILED_AUTH_WINDOW.about,
    &FAILED_AUTH_MAX_ATTEMPTS.about,
    &FAILED_AUTH_BLOCK.about,
    &NETWORK_SCOPE.about,
    &ALLOW_OPEN_NETWORK.about,
    &ALLOWED_HOSTS.about,
    &ALLOWED_ORIGINS.about,
    &TRUST_X_FORWARDED_FOR.about,
    &TRUSTED_PROXIES.about,
    &MAX_UPLOAD_BYTES.about,
    &MAX_TOTAL_UPLOAD_BYTES.about,
    &STATEFUL.about,
    &KEEP_ANSWERS.about,
    &MAX_ANSWERS.about,
    &MODEL_ALIASES.about,
    &CHAT_REASONING.about,
    &SLOT_POLICY.about,
    &LEAST_FIVE_HOURS.about,
    &LEAST_WEEK.about,
    &RESERVE.about,
    &SLOT_CONCURRENT.about,
    &SLOT_WAITING.about,
    &SLOT_PATIENCE.about,
    &AFFINITY.about,
    &USAGE_REFRESH.about,
    &RETRIES.about,
    &BACKOFF.about,
    &KEEP_ALIVE.about,
    &COMMIT_AFTER.about,
    &LOGGING.about,
    &STREAM_LINES.about,
];

/// Settings of the file that another release has and this one does not use; whole sections too.
pub static UNUSED: &[&str] =
    &["providers", "logging.retention_days", "logging.max_total_mb", "logging.max_file_mb"];

/// The same for variables, without their prefix; a name that ends in `_` stands for all that
/// start with it.
pub static UNUSED_VARIABLES: &[&str] = &["OPENAI_", "CLAUDE_"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_variables_and_flags_are_unique() {
        let keys: BTreeSet<_> = SETTINGS.iter().map(|about| about.key).collect();
        let variables: BTreeSet<_> = SETTINGS.iter().map(|about| about.variable).collect();
        let flags: Vec<_> = SETTINGS.iter().filter_map(|about| about.flag).collect();
        assert_eq!(keys.len(), SETTINGS.len());
        assert_eq!(variables.len(), SETTINGS.len());
        assert_eq!(flags.iter().collect::<BTreeSet<_>>().len(), flags.len());
    }

    #[test]
    fn every_setting_says_what_it_is() {
        for about in SETTINGS {
            let is_sentence = about.doc.ends_with('.') && about.doc.len() > 20;
            assert!(is_sentence, "{}: {}", about.key, about.doc);
            assert!(!about.default.contains('\\'), "{}: defaults have no escapes", about.key);
            assert_eq!(about.prefixes.first(), Some(&PREFIX), "{}", about.key);
            assert_eq!(
                about.in_file,
                about.key.contains('.') && about.key != "security.bearer_token"
            );
        }
    }

    #[test]
    fn sections_stand_together() {
        let mut sections: Vec<_> = SETTINGS.iter().map(|about| about.parts().0).collect();
        sections.dedup();
        let unique: BTreeSet<_> = sections.iter().collect();
        assert_eq!(unique.len(), sections.len(), "{sections:?}");
    }
}
