//! What the system and its owner tell the program without words.

use std::sync::LazyLock;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Heard, SignalKind, signal};

/// Done when the owner wants the program to stop: Ctrl-C, SIGTERM, or the end of the terminal.
pub async fn interrupted() {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(error = &*error.to_string(), "SIGTERM will not be noticed");
            return drop(tokio::signal::ctrl_c().await);
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = hung_up() => {}
    }
}

/// Who listens for signals of these kinds. From then on none of them ends the program by itself.
pub fn heed(kinds: &[SignalKind]) -> Vec<Heard> {
    kinds.iter().filter_map(|kind| signal(*kind).ok()).collect()
}

/// Done when the terminal has gone, unless the program was started to outlive it (`nohup`).
async fn hung_up() {
    if !is_ignored(Signal::HUP)
        && let Ok(mut hangup) = signal(SignalKind::hangup())
    {
        hangup.recv().await;
    } else {
        std::future::pending::<()>().await;
    }
}

/// Whether whoever started the program asked for `signal` to be ignored. Where nobody says, it is
/// left as it is.
fn is_ignored(signal: Signal) -> bool {
    static IGNORED: LazyLock<Option<u64>> = LazyLock::new(|| {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    let bit = u32::try_from(signal.as_raw() - 1).ok().and_then(|bit| 1_u64.checked_shl(bit));
    match (*IGNORED, bit) {
        (Some(ignored), Some(bit)) => ignored & bit != 0,
        (None, _) | (_, None) => true,
    }
}
