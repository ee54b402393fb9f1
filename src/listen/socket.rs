//! Where connections come from, and what they are before a byte of them is read.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::tls::Identity;
use crate::{api::exchange::Peer, private_file::SocketFile};

/// What a client gets that has no place, if the socket takes it at once.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";

/// A peer that says nothing for so long is asked whether it is still there.
const ALIVE_AFTER: Duration = Duration::from_mins(1);
const ALIVE_EVERY: Duration = Duration::from_secs(15);
const ALIVE_ATTEMPTS: u32 = 4;
/// What is sent must be acknowledged within this; the system's own patience is a quarter of an
/// hour.
#[cfg(target_os = "linux")]
const UNANSWERED_MS: u32 = 120_000;

/// Where clients connect.
#[derive(Debug)]
pub struct Listener {
    origin: Origin,
    identity: Option<Identity>,
}

#[derive(Debug)]
pub enum Origin {
    Network(TcpListener),
    /// A file that only the owner can open.
    Socket(UnixListener, SocketFile),
}

/// A connection as it was accepted.
#[derive(Debug)]
pub enum Socket {
    Plain(TcpStream, Peer),
    Encrypted(TcpStream, Peer, Identity),
    Local(UnixStream),
}

impl Listener {
    /// Speaks TLS with an `identity`, on the network only.
    pub fn new(origin: Origin, identity: Option<Identity>) -> Self {
        Self { origin, identity }
    }

    /// At a socket of the file system.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn at_socket(
        (listener, file): (std::os::unix::net::UnixListener, SocketFile),
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Self::new(Origin::Socket(listener, file), None))
    }

    pub async fn accept(&self) -> io::Result<Socket> {
        match &self.origin {
            Origin::Network(listener) => {
                let (stream, remote) = listener.accept().await?;
                prepare(&stream);
                let local = stream.local_addr().map_or(unknown(), |local| local.ip());
                let is_encrypted = self.identity.is_some();
                let peer = Peer { remote: remote.ip(), local, is_encrypted };
                Ok(match &self.identity {
                    Some(identity) => Socket::Encrypted(stream, peer, identity.clone()),
                    None => Socket::Plain(stream, peer),
                })
            }
            Origin::Socket(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let own = rustix::process::geteuid().as_raw();
                // The file's mode keeps others out already; this is for a mode that was changed.
                if stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own) {
                    Ok(Socket::Local(stream))
                } else {
                    Err(io::ErrorKind::ConnectionAborted.into())
                }
            }
        }
    }

    /// Takes no more connections and leaves nothing behind.
    pub fn close(self) {
        if let Origin::Socket(listener, file) = self.origin {
            if let Err(error) = file.remove() {
                tracing::warn!(error = &*error.to_string(), "cannot remove the socket");
            }
            drop(listener);
        }
    }
}

impl Socket {
    pub fn peer(&self) -> Peer {
        match self {
            Self::Plain(_, peer) | Self::Encrypted(_, peer, _) => *peer,
            Self::Local(_) => Peer::IN_PROCESS,
        }
    }

    /// Closes at once, with a word if that costs nothing.
    pub fn turn_away(self) {
        // Whoever floods need not hear it.
        let _said = match &self {
            Self::Plain(stream, _) => stream.try_write(NO_PLACE),
            Self::Encrypted(..) => Ok(0),
            Self::Local(stream) => stream.try_write(NO_PLACE),
        };
    }
}

/// Small events must not wait for larger ones, and a peer that is gone must be noticed.
fn prepare(stream: &TcpStream) {
    let prepared = stream
        .set_nodelay(true)
        .and_then(|()| Ok(sockopt::set_socket_keepalive(stream, true)?))
        .and_then(|()| Ok(sockopt::set_tcp_keepidle(stream, ALIVE_AFTER)?))
        .and_then(|()| Ok(sockopt::set_tcp_keepintvl(stream, ALIVE_EVERY)?))
        .and_then(|()| Ok(sockopt::set_tcp_keepcnt(stream, ALIVE_ATTEMPTS)?));
    #[cfg(target_os = "linux")]
    let prepared =
        prepared.and_then(|()| Ok(sockopt::set_tcp_user_timeout(stream, UNANSWERED_MS)?));
    if let Err(error) = prepared {
        tracing::debug!(error = &*error.to_string(), "cannot prepare a connection");
    }
}

/// Matches no name that a client could call us by.
fn unknown() -> IpAddr {
    IpAddr::V4(Ipv4Addr::UNSPECIFIED)
}
