//! The accept loop: connections in, each with its limits.
//!
//! axum's own loop never times a client out, so ours drives hyper's HTTP/1 connections itself.
//! Whatever a client does, or does not do, ends: the head of a request must arrive in time, the
//! body must keep arriving, and what we write must be taken. HTTP/2 is not spoken: no client of
//! this kind needs it.
//!
//! **Invariant:** a connection has its place before a byte of it is read.
//! **Invariant:** a client that stops reading holds neither a connection nor the upstream for ever.
//!
//! Not here: who may connect (`api::guard`), limits of requests (`limit`).

mod connection;
mod paced;
mod places;
mod socket;
pub mod tls;

#[cfg(test)]
mod tests;

use std::{
    future::{Pending, pending},
    io,
    time::Duration,
};

use axum::Router;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{connection::Connections, places::Places};
pub use self::{
    places::Most,
    socket::{Listener, Origin},
};
use crate::api::body::Pace;

/// Out of file descriptors: trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long answers may take to tell their clients that they end.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// As long as it takes to close a few connections.
const CLOSE_PAUSE: Duration = Duration::from_millis(5);

/// What clients may do to their connections.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub most: Most,
    /// For a whole request head; also how long a connection may idle between requests.
    pub head: Duration,
    pub body: Pace,
    /// How long a client may take nothing of what is written to it.
    pub write: Duration,
    /// How long open answers may go on after the end was announced.
    pub grace: Duration,
}

impl Settings {
    /// Everything as it is by default, for listeners that nobody configures.
    pub const DEFAULT: Self = Self {
        most: Most { all: 1024, of_one_client: 256 },
        head: Duration::from_secs(30),
        body: Pace { gap: Duration::from_secs(30), total: Duration::from_mins(5) },
        write: Duration::from_mins(1),
        grace: Duration::from_secs(1),
    };
}

/// How serving ends.
#[derive(Debug)]
pub struct Ending<S, H> {
    /// Nobody new is let in once this is done.
    pub shutdown: S,
    /// The grace is over at once when this is done.
    pub hurry: H,
    /// Tells open answers that the grace is over: they have a moment to say so to their clients.
    pub leaving: CancellationToken,
}

impl<S> Ending<S, Pending<()>> {
    /// For a listener whose answers know of no end.
    pub fn at(shutdown: S) -> Self {
        Self { shutdown, hurry: pending(), leaving: CancellationToken::new() }
    }
}

/// Serves `router` until it is to end, then lets open answers end within the grace. No answer is
/// under way when this returns: what did not end in time was cut, which is no end to a client.
pub async fn serve<S, H>(
    listener: Listener,
    router: Router,
    settings: Settings,
    ending: Ending<S, H>,
) where
    S: Future<Output = ()>,
    H: Future<Output = ()>,
{
    let Ending { shutdown, hurry, leaving } = ending;
    let places = Places::new(settings.most);
    let stop = CancellationToken::new();
    let connections = Connections { router, settings, stop: stop.clone() };
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    tokio::pin!(shutdown);
    let mut is_short = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(socket) => {
                is_short = false;
                match places.take(socket.peer().remote) {
                    Some(place) => {
                        let served = connections.clone().serve(socket, place);
                        drop(tasks.spawn(cut.clone().run_until_cancelled_owned(served)));
                    }
                    None => socket.turn_away(),
                }
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                // Once for each shortage, not for each attempt.
                if !is_short {
                    tracing::warn!(error = &*error.to_string(), "cannot accept connections");
                }
                is_short = true;
                let pause = if places.make_room() { CLOSE_PAUSE } else { ACCEPT_PAUSE };
                tokio::time::sleep(pause).await;
            }
        }
    }
    listener.close();
    stop.cancel();
    tasks.close();
    let in_time = async {
        tokio::select! {
            () = tasks.wait() => true,
            () = tokio::time::sleep(settings.grace) => false,
            () = hurry => false,
        }
    };
    if !in_time.await {
        tracing::warn!(open = tasks.len(), "some answers did not end in time");
        leaving.cancel();
        if tokio::time::timeout(LAST_WORDS, tasks.wait()).await.is_err() {
            cut.cancel();
            tasks.wait().await;
        }
    }
}

/// Whether the client was gone before we got to it.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Lets the process have as many descriptors as it may.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::debug!(error = &*error.to_string(), "cannot raise the limit of descriptors");
    }
}
