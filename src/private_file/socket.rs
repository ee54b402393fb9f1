//! A Unix socket that only its owner can connect to.
//!
//! Whoever may open the file may call the relay, so it is the owner's alone from the moment it
//! exists: the directory keeps others away while the file gets its mode.
//!
//! **Invariant:** a socket at which somebody listens is never replaced.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

use super::{OWNER_ONLY_FILE, create_dir, parent, remove};

/// Why there can be no socket.
#[derive(Debug, thiserror::Error)]
pub enum NoSocket {
    #[error("another program listens there")]
    Taken,
    #[error("something that is no socket stands there")]
    Occupied,
    #[error("its directory must be yours and closed to others (mode 0700)")]
    Exposed,
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The file of a socket that this process made.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// What tells it from another one at the same place, for as long as the listener is open:
    /// the number belongs to it until then.
    identity: (u64, u64),
}

/// Listens at `path`, in place of a socket that nobody listens at any more.
///
/// # Errors
///
/// When something stands there, or others could get at it.
pub fn listen(path: &Path) -> Result<(UnixListener, SocketFile), NoSocket> {
    listen_unless(path, 0o077)
}

/// The same where others may look into the directory, for a listener that asks the system who is
/// at the other end.
///
/// # Errors
///
/// When something stands there, or everybody could put something else there.
pub fn listen_watchfully(path: &Path) -> Result<(UnixListener, SocketFile), NoSocket> {
    listen_unless(path, 0o002)
}

/// Unless its directory is open to others in one of these ways.
fn listen_unless(path: &Path, open: u32) -> Result<(UnixListener, SocketFile), NoSocket> {
    let dir = parent(path);
    create_dir(dir)?;
    let found = fs::metadata(dir)?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & open != 0 {
        return Err(NoSocket::Exposed);
    }
    make_way(path)?;
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY_FILE))?;
    let made = fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.to_owned(), identity: (made.dev(), made.ino()) };
    Ok((listener, file))
}

impl SocketFile {
    /// Removes it, unless another one stands in its place by now. Call it before the listener
    /// is closed.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.identity => {
                remove(&self.path).map(drop)
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Sees to it that nothing stands at `path`.
fn make_way(path: &Path) -> Result<(), NoSocket> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(found) if !found.file_type().is_socket() => return Err(NoSocket::Occupied),
        Ok(_) => {}
    }
    if is_listened_at(path)? {
        return Err(NoSocket::Taken);
    }
    remove(path)?;
    Ok(())
}

/// Without waiting: somebody who listens and does not accept is somebody all the same.
fn is_listened_at(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let probe = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use tempfile::TempDir;

    use super::*;

    fn home() -> TempDir {
        tempfile::tempdir().expect("directory")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("exists").mode() & 0o777
    }

    #[test]
    fn a_socket_is_the_owners_alone_and_goes_when_it_is_done_with() {
        let home = home();
        let path = home.path().join("run/relay.sock");
        let (_listener, file) = listen(&path).expect("bound");
        assert_eq!((mode(&path), mode(&home.path().join("run"))), (0o600, 0o700));
        UnixStream::connect(&path).expect("connected");
        file.remove().expect("removed");
        assert!(!path.exists());
    }

    #[test]
    fn only_a_socket_that_nobody_listens_at_is_replaced() {
        let home = home();
        let path = home.path().join("run/s");
        let (first, file) = listen(&path).expect("bound");
        assert!(matches!(listen(&path), Err(NoSocket::Taken)));
        drop((first, file));
        let (_second, file) = listen(&path).expect("in place of the first");
        remove(&path).expect("removed by somebody");
        let (_third, other) = listen(&path).expect("nothing is there");
        file.remove().expect("nothing to do");
        assert!(path.exists(), "it is another one's by now");
        other.remove().expect("removed");
        fs::create_dir(&path).expect("made");
        assert!(matches!(listen(&path), Err(NoSocket::Occupied)));
    }

    #[test]
    fn a_full_queue_is_somebody_who_listens() {
        let home = home();
        let path = home.path().join("run/s");
        let (_listener, _file) = listen(&path).expect("bound");
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let address = SocketAddrUnix::new(&path).expect("an address");
        let connect = || {
            let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
            let socket = socket.expect("a socket");
            net::connect(&socket, &address).map(|()| socket)
        };
        let waiting: Vec<_> = (0..5000).map_while(|_| connect().ok()).collect();
        assert!(waiting.len() < 5000, "the queue is never full");
        assert!(matches!(listen(&path), Err(NoSocket::Taken)));
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let home = home();
        for open in [0o755, 0o770, 0o701] {
            let dir = home.path().join(format!("{open:o}"));
            fs::create_dir(&dir).expect("made");
            fs::set_permissions(&dir, fs::Permissions::from_mode(open)).expect("set");
            assert!(matches!(listen(&dir.join("s")), Err(NoSocket::Exposed)), "{open:o}");
            assert!(!dir.join("s").exists());
        }
    }
}
