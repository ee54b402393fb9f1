//! One relay per data directory.
//!
//! Two of them would renew the same login, mix their logs, and each believe that it is alone. The
//! lock is what counts and dies with its process, however that ends; the file beside it only says
//! which process it is.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use super::{Error, front::Place};
use crate::private_file::{self, Lock};

/// Long enough for a relay that was told to stop to be gone.
pub const PATIENCE: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_millis(50);
/// Far more than a number takes.
const PID_BYTES: u64 = 64;
/// Where the relay says how it is reached.
const ADDRESS: &str = "relay.address";
const ADDRESS_BYTES: u64 = 8 << 10;

/// The right to be the relay of a data directory.
#[derive(Debug)]
pub struct Instance {
    pid_file: PathBuf,
    address_file: PathBuf,
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
        let address_file = dir.join(ADDRESS);
        Ok(Self { pid_file, address_file, _lock: lock })
    }

    /// Writes down where it can be reached, for commands of the same owner.
    pub fn announce(&self, place: &Place, is_tls: bool) {
        let address = match place {
            Place::Network(address) if is_tls => format!("https://{address}\n"),
            Place::Network(address) => format!("http://{}\n", reachable(*address)),
            Place::Socket(path) => format!("{}\n", path.display()),
        };
        if let Err(error) = private_file::replace(&self.address_file, address.as_bytes()) {
            tracing::debug!(error = &*error.to_string(), "cannot write down the address");
        }
    }

    /// Lets another one take over.
    pub fn release(self) {
        for file in [&self.address_file, &self.pid_file] {
            if let Err(error) = private_file::remove(file) {
                tracing::debug!(error = &*error.to_string(), "a file of the relay stays");
            }
        }
    }
}

/// A relay that serves a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Running {
    /// Such as `http://127.0.0.1:8080`.
    At(String),
    AtSocket(PathBuf),
    /// It has not said where.
    Unknown,
}

/// The relay that serves `dir` now, if one does.
pub fn running(dir: &Path) -> Option<Running> {
    let lock = dir.join("relay.lock");
    // Making the lock file here would make the directory, and nothing serves one without.
    if !lock.exists() || !matches!(private_file::try_lock(&lock), Ok(None)) {
        return None;
    }
    let address = private_file::read(&dir.join(ADDRESS), ADDRESS_BYTES).ok().flatten();
    let address = address.and_then(|address| String::from_utf8(address).ok());
    Some(match address.as_deref().map(str::trim) {
        Some(path) if path.starts_with('/') => Running::AtSocket(path.into()),
        Some(address) if address.starts_with("http") => Running::At(address.to_owned()),
        Some(_) | None => Running::Unknown,
    })
}

/// Where a program on this machine finds a listener at `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
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
