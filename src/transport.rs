//! The way to the outside: an HTTP client, or a service in this process.
//!
//! Whoever sends a request holds a [`Transport`] and cannot ask which of the two it is. There is
//! no mock: a test hands in a router, the simulator is one.
//!
//! The client is made on its first use. Making it reads the system's bundle of certificate
//! authorities, and a program that only prints its status should not wait for that.
//!
//! **Invariant:** no redirect is followed; a bearer token goes to the address it was meant for.
//! **Invariant:** nothing but loopback is spoken to without TLS, and loopback without a proxy.
//! **Invariant:** dropping a body drops the connection or the service behind it.
//!
//! Not here: deadlines for answers and for silence (`upstream`, `auth`), what an answer means.

mod connecting;
mod heard;

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::Scheme};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use parking_lot::Mutex;
use tower::{Service, ServiceExt, service_fn, util::BoxCloneSyncService};

use connecting::Timing;
pub use connecting::timed;
pub use heard::{Ear, Heard};

/// Any error, for whoever only passes it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What arrives, as it arrives.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The way to the upstream: an HTTP client, or the simulator itself.
pub type Transport = BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, BoxError>;

/// Shorter than what servers usually keep, so that a pooled connection is rarely a dead one.
const POOL_IDLE: Duration = Duration::from_secs(30);
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// All answers come over one connection. What a client does not take of its answer stays in the
/// window of that answer, and the window of the connection has room for hundreds of those: else a few
/// clients that stand still would stop all others. Small ones are no slower: models are far slower.
const HTTP2_STREAM_WINDOW: u32 = 256 << 10;
const HTTP2_CONNECTION_WINDOW: u32 = 256 * HTTP2_STREAM_WINDOW;
const HTTP2_PING_EVERY: Duration = Duration::from_secs(15);
const HTTP2_PING_ANSWER: Duration = Duration::from_secs(10);

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nothing was sent: sending it again cannot do anything twice.
    #[error("could not connect")]
    Connect(#[source] BoxError),
    /// Nothing was sent: no connection within the time set for it.
    #[error("no connection in time")]
    ConnectTimeout(#[source] BoxError),
    /// The request may have arrived; the answer did not.
    #[error("the connection broke before an answer")]
    Lost(#[source] BoxError),
}

/// How the network is used.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    pub connect_timeout: Duration,
    /// Sent where a request names no `User-Agent` of its own.
    pub user_agent: String,
    /// A Unix socket to which everything for this machine goes, whatever the address.
    pub socket: Option<PathBuf>,
}

/// The real way out. Clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct Network(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: NetworkSettings,
    /// To other machines, by way of the proxy that the environment names, if it does.
    outside: OnceLock<reqwest::Client>,
    /// To this machine, by no way but the direct one: a proxy would see the token in clear.
    loopback: OnceLock<reqwest::Client>,
    /// Held while the client is made, so that the bundle is read once and not by everyone.
    making: Mutex<()>,
}

/// The real way out, with nothing opened or read yet.
pub fn network(settings: NetworkSettings) -> Network {
    Network(Arc::new(Inner {
        settings,
        outside: OnceLock::new(),
        loopback: OnceLock::new(),
        making: Mutex::new(()),
    }))
}

impl Network {
    /// Makes the client now, so that the first request need not. Takes a blocking thread.
    ///
    /// # Errors
    ///
    /// When the system's certificates or proxy settings cannot be used.
    pub async fn warm(&self) -> Result<(), BoxError> {
        self.client(false).await.map(drop)
    }

    pub fn transport(&self) -> Transport {
        let network = self.clone();
        BoxCloneSyncService::new(service_fn(move |request| {
            let network = network.clone();
            async move { network.send(request).await.map_err(BoxError::from) }
        }))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, SendError> {
        if !is_safe(request.uri()) {
            return Err(SendError::Connect("the address is neither https nor loopback".into()));
        }
        let is_near = request.uri().host().is_some_and(is_loopback);
        let client = self.client(is_near).await.map_err(SendError::Connect)?;
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await;
        let request = reqwest::Request::try_from(Request::from_parts(parts, body.to_bytes()))
            .map_err(|error| SendError::Connect(error.without_url().into()))?;
        let response = client.execute(request).await.map_err(lost)?;
        Ok(Response::from(response).map(|body: reqwest::Body| {
            body.map_err(|error| BoxError::from(error.without_url())).boxed_unsync()
        }))
    }

    async fn client(&self, is_near: bool) -> Result<reqwest::Client, BoxError> {
        if let Some(client) = self.0.place(is_near).get() {
            return Ok(client.clone());
        }
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || inner.make(is_near)).await?
    }
}

impl Inner {
    fn place(&self, is_near: bool) -> &OnceLock<reqwest::Client> {
        if is_near { &self.loopback } else { &self.outside }
    }

    fn make(&self, is_near: bool) -> Result<reqwest::Client, BoxError> {
        let _alone = self.making.lock();
        let place = self.place(is_near);
        if let Some(client) = place.get() {
            return Ok(client.clone());
        }
        let builder = reqwest::Client::builder();
        let builder = if is_near { builder.no_proxy() } else { builder };
        let builder = match self.settings.socket.clone().filter(|_| is_near) {
            Some(socket) => builder.unix_socket(socket),
            None => builder,
        };
        let client = builder
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(&self.settings.user_agent)
            .connect_timeout(self.settings.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            .tcp_keepalive(TCP_KEEPALIVE)
            .connector_layer(Timing)
            .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .http2_keep_alive_interval(HTTP2_PING_EVERY)
            .http2_keep_alive_timeout(HTTP2_PING_ANSWER)
            .build()
            .map_err(reqwest::Error::without_url)?;
        Ok(place.get_or_init(|| client).clone())
    }
}

/// A service of this process as the way out: no socket, no copy, the caller's own runtime.
pub fn local<S, B>(service: S) -> Transport
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    BoxCloneSyncService::new(
        service
            .map_err(Into::into)
            .map_response(|response| response.map(|body| body.map_err(Into::into).boxed_unsync())),
    )
}

/// The first `limit` bytes of `body`; what comes after them is not waited for.
///
/// # Errors
///
/// When the body breaks off before that.
pub async fn read_at_most(mut body: Body, limit: usize) -> Result<Vec<u8>, BoxError> {
    let mut content = Vec::new();
    while content.len() < limit {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame?.into_data() {
            content.extend_from_slice(&data[..data.len().min(limit - content.len())]);
        }
    }
    Ok(content)
}

/// The sentence of an error and of everything that caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Whether a token may be sent to `uri`.
pub fn is_safe(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS) || uri.host().is_some_and(is_loopback)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The address is taken out of the error: its query may hold what the log must not.
fn lost(error: reqwest::Error) -> SendError {
    let (connect, timeout) = (error.is_connect(), error.is_timeout());
    let source = error.without_url().into();
    match (connect, timeout) {
        // There is no total timeout, so that a timeout can only be the connection's.
        (_, true) => SendError::ConnectTimeout(source),
        (true, false) => SendError::Connect(source),
        (false, false) => SendError::Lost(source),
    }
}

#[cfg(test)]
mod tests;
