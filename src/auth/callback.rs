//! Where the browser comes back to: a listener on this machine for the length of one login.
//!
//! Every web page and every program of the machine can reach it. Only a request that carries the
//! state of this login counts; everything else gets a short answer and changes nothing. The one
//! that counts is answered when the login has come to its end, so that what the page says is true.
//!
//! **Invariant:** only the exact state ends the wait, and only the first time.
//! **Invariant:** no request can hold up another: heads are short, come in time or not at all, and
//! the number of open connections is bounded.
//!
//! Not here: what a code is good for (`exchange`).

mod page;

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ALLOW, HOST},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{AbortHandle, JoinSet},
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

pub use self::page::Page;
use super::{
    form,
    sign_in::{Denial, SignInError},
};
use crate::secret::Secret;

const PATH: &str = "/auth/callback";
/// For a whole request head. A browser on this machine needs far less.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// hyper's least is half of it. Codes and states take less than one kibibyte.
const HEAD_LIMIT: usize = 16 << 10;
/// When there are more, the oldest that has not brought the right state is closed: a flood must keep
/// the browser neither out nor from its last page.
const MOST_CONNECTIONS: usize = 64;
/// For the browser to fetch the last page.
const FAREWELL: Duration = Duration::from_secs(2);
/// Out of file descriptors: trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Any free port of one family may be taken in the other.
const MOST_TRIES: usize = 8;

/// What the browser brings: a code, or why there is none.
pub type Brought = Result<Secret, Denial>;

/// Bound, but not yet answering.
#[derive(Debug)]
pub struct Callback {
    listeners: Vec<TcpListener>,
    port: u16,
}

impl Callback {
    /// Listens on the first of `ports` that nobody else has.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn bind(ports: &[u16]) -> Result<Self, SignInError> {
        let mut taken = None;
        for port in ports {
            match bind(*port).await {
                Ok(listeners) => {
                    let port = listeners
                        .first()
                        .map_or(Ok(*port), |one| one.local_addr().map(|address| address.port()));
                    let port = port.map_err(|source| unbound(ports, source))?;
                    return Ok(Self { listeners, port });
                }
                Err(error) => taken = taken.or(Some(error)),
            }
        }
        Err(unbound(ports, taken.unwrap_or_else(|| io::ErrorKind::InvalidInput.into())))
    }

    /// What the issuer is told to send the browser to. By name: it knows no other spelling.
    pub fn redirect_uri(&self) -> String {
        format!("http://localhost:{}{PATH}", self.port)
    }

    /// Answers from now on.
    pub fn serve(self, state: Secret) -> Serving {
        let (brought, waiting) = oneshot::channel();
        let (page, pages) = watch::channel(None);
        let answering = TaskTracker::new();
        let shared = Arc::new(Shared {
            host: format!("localhost:{}", self.port),
            state,
            brought: Mutex::new(Some(brought)),
            pages,
            answering: answering.clone(),
        });
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, Arc::clone(&shared)));
        }
        Serving { accepting, waiting, page, answering }
    }
}

fn unbound(ports: &[u16], source: io::Error) -> SignInError {
    let port = ports.first().copied().unwrap_or_default();
    SignInError::Ports { port, source: Arc::new(source) }
}

/// Both loopback addresses, since a browser may try either first. A family that the machine does
/// not have is done without; one whose port is someone else's is not, or he would get the code.
async fn bind(port: u16) -> io::Result<Vec<TcpListener>> {
    let tries = if port == 0 { MOST_TRIES } else { 1 };
    let mut taken = io::ErrorKind::AddrInUse.into();
    for _ in 0..tries {
        match bind_both(port).await {
            Err(error) if is_taken(&error) => taken = error,
            outcome => return outcome,
        }
    }
    Err(taken)
}

async fn bind_both(mut port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut missing = None;
    for host in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        match TcpListener::bind(SocketAddr::new(host, port)).await {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if is_taken(&error) => return Err(error),
            Err(error) => missing = Some(error),
        }
    }
    match missing {
        Some(error) if listeners.is_empty() => Err(error),
        Some(_) | None => Ok(listeners),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

/// A listener that waits for the browser. Dropping it ends everything at once.
#[derive(Debug)]
pub struct Serving {
    accepting: JoinSet<()>,
    waiting: oneshot::Receiver<Brought>,
    page: watch::Sender<Option<Page>>,
    answering: TaskTracker,
}

impl Serving {
    /// What the browser brings. To be asked until it answers, and no more then.
    pub async fn brought(&mut self) -> Brought {
        match (&mut self.waiting).await {
            Ok(brought) => brought,
            // The accepting tasks hold the other end as long as this lives.
            Err(_) => std::future::pending().await,
        }
    }

    /// Shows `page` to the browser that brought something, and ends.
    pub async fn finish(self, page: Page) {
        let Self { accepting, page: pages, answering, .. } = self;
        let _nobody_waits = pages.send(Some(page));
        answering.close();
        // A browser that does not fetch its page does not hold up the owner for long.
        let _in_time = tokio::time::timeout(FAREWELL, answering.wait()).await;
        drop(accepting);
    }
}

/// What all connections see.
#[derive(Debug)]
struct Shared {
    /// What `Host` must be.
    host: String,
    state: Secret,
    /// Taken by the first request that counts. Never locked across an await.
    brought: Mutex<Option<oneshot::Sender<Brought>>>,
    pages: watch::Receiver<Option<Page>>,
    /// Connections that are being shown the last page.
    answering: TaskTracker,
}

/// Set for a connection that has brought what counts. Given back when the connection is done, answer
/// written and all.
type Presence = OnceLock<TaskTrackerToken>;

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut open: VecDeque<(AbortHandle, Weak<Presence>)> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                while connections.try_join_next().is_some() {}
                open.retain(|(connection, _)| !connection.is_finished());
                if open.len() == MOST_CONNECTIONS {
                    let is_stray = |(_, presence): &(_, Weak<Presence>)| {
                        presence.upgrade().is_none_or(|presence| presence.get().is_none())
                    };
                    let oldest = open.iter().position(is_stray).unwrap_or(0);
                    if let Some((oldest, _)) = open.remove(oldest) {
                        oldest.abort();
                    }
                }
                let presence = Arc::default();
                let known = Arc::downgrade(&presence);
                let connection = connect(socket, Arc::clone(&shared), presence);
                open.push_back((connections.spawn(connection), known));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connect(socket: TcpStream, shared: Arc<Shared>, presence: Arc<Presence>) {
    let kept = Arc::clone(&presence);
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, presence) = (Arc::clone(&shared), Arc::clone(&presence));
        async move { Ok::<_, std::convert::Infallible>(answer(&request, &shared, &presence).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    // A stranger's broken connection is nobody's business.
    let _ended = connection.await;
    drop(kept);
}

async fn answer(
    request: &Request<Incoming>,
    shared: &Shared,
    presence: &Presence,
) -> Response<Full<Bytes>> {
    let brought = match judge(request, shared) {
        Ok(brought) => brought,
        Err(stray) => return stray.answer(),
    };
    presence.get_or_init(|| shared.answering.token());
    if let Some(first) = shared.brought.lock().take() {
        let _nobody_waits = first.send(brought);
    }
    let mut pages = shared.pages.clone();
    match pages.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(page)) => page.answer(),
        Ok(None) | Err(_) => Page::ended().answer(),
    }
}

/// A request that does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stray {
    Host,
    Path,
    Method,
    State,
    NoCode,
}

impl Stray {
    fn answer(self) -> Response<Full<Bytes>> {
        let (status, text) = match self {
            Self::Host => (StatusCode::FORBIDDEN, "This is reached as localhost only."),
            Self::Path => (StatusCode::NOT_FOUND, "There is nothing here."),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "This is for GET only."),
            Self::State => (
                StatusCode::BAD_REQUEST,
                "This address does not belong to the login that is waiting. It changed nothing.",
            ),
            Self::NoCode => {
                (StatusCode::BAD_REQUEST, "This address brings no code. It changed nothing.")
            }
        };
        let mut answer = Page::stray(status, text).answer();
        if let Self::Method = self {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        answer
    }
}

/// What a request brings, if it counts.
fn judge<B>(request: &Request<B>, shared: &Shared) -> Result<Brought, Stray> {
    let hosts: Vec<_> = request.headers().get_all(HOST).iter().collect();
    let is_ours = |host: &[u8]| host.eq_ignore_ascii_case(shared.host.as_bytes());
    let has_host = matches!(hosts.as_slice(), [host] if is_ours(host.as_bytes()));
    let authority = request.uri().authority();
    if !has_host || authority.is_some_and(|named| !is_ours(named.as_str().as_bytes())) {
        return Err(Stray::Host);
    }
    if request.uri().path() != PATH {
        return Err(Stray::Path);
    }
    if request.method() != Method::GET {
        return Err(Stray::Method);
    }
    read(request.uri(), &shared.state)
}

/// Whether a request for `uri` would end the login that waits with `state`.
#[cfg(any(test, feature = "internals"))]
pub fn counts(uri: &Uri, state: &Secret) -> bool {
    read(uri, state).is_ok()
}

/// Fields that stand twice are no field: one of them is somebody's trick.
fn read(uri: &Uri, state: &Secret) -> Result<Brought, Stray> {
    let fields = form::decode(uri.query().unwrap_or_default());
    let field = |name: &str| {
        let mut named = fields.iter().filter(|(own, _)| own == name);
        let value = named.next().map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty() && named.next().is_none())
    };
    if !field("state").is_some_and(|given| state.matches(given.as_bytes())) {
        return Err(Stray::State);
    }
    if let Some(error) = field("error") {
        return Ok(Err(Denial::new(error, field("error_description").unwrap_or_default())));
    }
    let is_code = |code: &&str| code.bytes().all(|byte| byte.is_ascii_graphic());
    field("code").filter(is_code).map(|code| Ok(Secret::new(code))).ok_or(Stray::NoCode)
}

#[cfg(test)]
mod tests;
