//! One connection from its first byte to its last.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderValue, Request,
    header::{CONNECTION, TRANSFER_ENCODING},
};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    Settings,
    paced::Paced,
    places::{Place, State},
    socket::Socket,
};
use crate::api::{
    body::{Arriving, Keeping},
    exchange::Peer,
};

/// A whole request head, and how many fields it may have.
const HEAD_BYTES: usize = 64 << 10;
const HEAD_FIELDS: usize = 100;
const READ_BUFFER: usize = 128 << 10;

/// What all connections of a listener have in common.
#[derive(Clone, Debug)]
pub struct Connections {
    pub router: Router,
    pub settings: Settings,
    /// The end is announced.
    pub stop: CancellationToken,
}

impl Connections {
    /// Serves `socket` until either side has had enough or the place is lost.
    pub async fn serve(self, socket: Socket, place: Place) {
        let peer = socket.peer();
        let talk = async {
            match socket {
                Socket::Plain(stream, peer) => self.talk(stream, peer, place.state()).await,
                Socket::Local(stream) => self.talk(stream, peer, place.state()).await,
                Socket::Encrypted(stream, peer, identity) => {
                    // As long as for a head: until then nothing has been asked.
                    match timeout(self.settings.head, identity.accept(stream)).await {
                        Ok(Ok(stream)) => self.talk(stream, peer, place.state()).await,
                        Ok(Err(error)) => Err(error.to_string()),
                        Err(_) => Err("no handshake in time".to_owned()),
                    }
                }
            }
        };
        let ended = tokio::select! {
            biased;
            () = place.lost() => Err("the place was needed".to_owned()),
            ended = Box::pin(talk) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(remote = %peer.remote, error = &*error, "connection ended");
        }
    }

    async fn talk<S>(&self, socket: S, peer: Peer, state: Arc<State>) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let socket = Paced::new(socket, self.settings.write, Arc::clone(&state));
        let service = service_fn(|request| self.answer(request, peer, &state));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.head)
            .max_header_size(HEAD_BYTES)
            .max_headers(HEAD_FIELDS)
            .max_buf_size(READ_BUFFER)
            .serve_connection(TokioIo::new(socket), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                // What is under way comes to its end; nothing else is waited for.
                if state.is_idle() {
                    return Ok(());
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended.map_err(|error| error.to_string())
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        state: &Arc<State>,
    ) -> Result<Response, Infallible> {
        let serving = state.serve();
        // Where others on the way may see another end of such a request than we do, nothing is
        // read behind it.
        let is_last = request.headers().contains_key(TRANSFER_ENCODING);
        let pace = self.settings.body;
        let mut request = request.map(|body| {
            let is_read = body.is_end_stream();
            Body::new(Watched {
                body: Arriving::new(body, pace),
                is_read,
                state: Arc::clone(state),
            })
        });
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(state.admitted());
        let mut response = self.router.clone().oneshot(request).await?;
        if is_last {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| Body::new(Keeping::new(body, serving))))
    }
}

/// A request body that tells when nobody read it to its end.
struct Watched {
    body: Arriving<Incoming>,
    is_read: bool,
    state: Arc<State>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.is_read |= matches!(polled, Poll::Ready(None)) || self.body.is_end_stream();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.is_read {
            self.state.left_unread();
        }
    }
}
