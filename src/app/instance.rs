//! One relay per data directory.
//!
//! Two of them would renew the same login, mix their logs, and each believe that it is alone. The
//! lock is what counts and dies with its process, however that ends; the file beside it only says
//! which process it is. Commands of the same owner find the relay at a socket beside them, which
//! nobody else can open: they need neither its address nor its token.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use super::Error;
use crate::{
    listen::Listener,
    private_file::{self, Lock, NoSocket},
};

/// Long enough for a relay that was told to stop to be gone.
pub const PATIENCE: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_millis(50);
/// Far more than a number takes.
const PID_BYTES: u64 = 64;
/// Where commands of the same owner reach the relay.
const CONTROL: &str = "control.sock";

/// The right to be the relay of a data directory.
#[derive(Debug)]
pub struct Instance {
    pid_file: PathBuf,
    control: PathBuf,
    _lock: Lock,
}

impl Instance {
    /// Waits for `patience` until no other relay serves `dir`.
    ///
    /// # Errors
    ///
    /// When another one still does, or the directory cannot be written.
    pub async fn claim(dir: &Path, patience: Duration) -> Result<Self, Error> {
        let path = dir.join("relay.lock");
        let pid_file = dir.join("relay.pid");
        let written = |source| Error::Write { path: path.clone(), source };
        let mut left = patience;
        let lock = loop {
            if let Some(lock) = private_file::try_lock(&path).map_err(written)? {
                break lock;
            }
            if left.is_zero() {
                return Err(Error::Running { dir: dir.to_owned(), pid: process(&pid_file) });
            }
            let pause = EVERY.min(left);
            sleep(pause).await;
            left -= pause;
        };
        let pid = format!("{}\n", std::process::id());
        private_file::replace(&pid_file, pid.as_bytes())
            .map_err(|source| Error::Write { path: pid_file.clone(), source })?;
        Ok(Self { pid_file, control: dir.join(CONTROL), _lock: lock })
    }

    /// Where commands of the same owner reach this relay. `None` where there can be no socket; then
    /// they see what is on the disk, and say so.
    pub fn control(&self) -> Option<Listener> {
        let made = private_file::listen_watchfully(&self.control);
        let opened = made.and_then(|made| Ok(Listener::at_socket(made)?));
        let path = self.control.display();
        opened
            .inspect_err(|error: &NoSocket| {
                let error = crate::transport::chain(error);
                tracing::warn!(error = &*error, "commands cannot reach this relay at {path}");
            })
            .ok()
    }

    /// Lets another one take over.
    pub fn release(self) {
        if let Err(error) = private_file::remove(&self.pid_file) {
            tracing::debug!(error = &*error.to_string(), "a file of the relay stays");
        }
    }
}

/// A relay that serves a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Running {
    /// It can be reached at this socket.
    At(PathBuf),
    /// It has none.
    OutOfReach,
}

/// The relay that serves `dir` now, if one does.
pub fn running(dir: &Path) -> Option<Running> {
    let lock = dir.join("relay.lock");
    // Making the lock file here would make the directory, and nothing serves one without.
    let is_held = lock.exists() && matches!(private_file::try_lock(&lock), Ok(None));
    let socket = dir.join(CONTROL);
    let running = if socket.exists() { Running::At(socket) } else { Running::OutOfReach };
    is_held.then_some(running)
}

/// Which process has the lock, as far as it has said so.
fn process(pid_file: &Path) -> Option<u32> {
    let found: io::Result<_> = private_file::read(pid_file, PID_BYTES);
    String::from_utf8(found.ok()??).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_one_waits_and_then_says_who_is_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Instance::claim(dir.path(), PATIENCE).await.expect("the first");
        let start = Instant::now();
        let second = Instance::claim(dir.path(), PATIENCE).await;
        assert_eq!(start.elapsed().as_secs(), 5);
        let Err(Error::Running { pid, .. }) = second else { panic!("{second:?}") };
        assert_eq!(pid, Some(std::process::id()));
        first.release();
        assert!(!dir.path().join("relay.pid").exists());
        Instance::claim(dir.path(), Duration::ZERO).await.expect("free again");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_told_to_stop_is_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Instance::claim(dir.path(), PATIENCE).await.expect("the first");
        let stop = async {
            sleep(Duration::from_secs(4)).await;
            first.release();
        };
        let (second, ()) = tokio::join!(Instance::claim(dir.path(), PATIENCE), stop);
        second.expect("in place of the first").release();
    }

    #[tokio::test]
    async fn a_number_that_was_left_behind_stops_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        for left in [&b"1\n"[..], b"", b"x", &[b'1'; 100], b"\xff"] {
            private_file::replace(&dir.path().join("relay.pid"), left).expect("written");
            Instance::claim(dir.path(), Duration::ZERO).await.expect("free").release();
        }
    }
}
