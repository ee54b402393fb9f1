//! The Codex CLI that is installed here, whose version the upstream's list of models depends on.
//!
//! The upstream leaves out of its list, and refuses, what is newer than the client that asks. A relay
//! that runs for months would miss the models that its owner's own Codex has; so it is asked now and
//! then which version that is. It is only asked, and only as long as the owner has not said a
//! version himself.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt, process::Command};
use tokio_util::sync::CancellationToken;

use crate::relay::Relay;

const EVERY: Duration = Duration::from_hours(6);
const PATIENCE: Duration = Duration::from_secs(3);
/// More than a name and a version take.
const MOST: u64 = 256;

/// Speaks as the installed client where that is newer, until `stop`.
pub(super) async fn follow(relay: Relay, stop: CancellationToken) {
    loop {
        if let Some(version) = installed().await
            && relay.speak_as(&version)
        {
            tracing::info!(version = &*version, "the installed Codex CLI is newer: speaking as it");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// The version of the `codex` that would be started here, if there is one and it says so.
async fn installed() -> Option<String> {
    let mut codex = Command::new("codex")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // It is not its business.
        .env_remove("AIRELAYS_BEARER_TOKEN")
        .env_remove("AIRELAY_BEARER_TOKEN")
        .env_remove("OPENAI_ENDPOINT_BEARER_TOKEN")
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut said = Vec::new();
    let mut output = codex.stdout.take()?.take(MOST);
    let read = tokio::time::timeout(PATIENCE, output.read_to_end(&mut said)).await;
    read.ok()?.ok()?;
    version_in(&String::from_utf8_lossy(&said))
}

/// Of `codex-cli 0.156.1` the number; what is behind it, as in `0.157.0-alpha.2`, is left out.
fn version_in(said: &str) -> Option<String> {
    said.lines().next()?.split_whitespace().find_map(|word| {
        let number = word.split(['-', '+']).next()?;
        let parts: Vec<&str> = number.split('.').collect();
        let is_number = |part: &&str| {
            !part.is_empty() && part.len() < 6 && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        (parts.len() == 3 && parts.iter().all(is_number)).then(|| number.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_it_says() {
        for (said, expected) in [
            ("codex-cli 0.156.1\n", Some("0.156.1")),
            ("codex-cli 0.157.0-alpha.2\n", Some("0.157.0")),
            ("0.169.0", Some("0.169.0")),
            ("codex-cli 1.2\n", None),
            ("codex-cli 1.2.3.4", None),
            ("codex-cli 1..3", None),
            ("codex-cli 1.2.9999999", None),
            ("update available\ncodex-cli 9.9.9", None),
            ("", None),
        ] {
            assert_eq!(version_in(said).as_deref(), expected, "{said}");
        }
    }
}
