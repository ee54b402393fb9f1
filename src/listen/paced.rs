//! A socket whose other end must take what is written.
//!
//! A client that stops reading fills the buffers of both systems, and then nothing moves: the
//! answer waits, and with it the upstream and the client's permit. A write that makes no progress
//! for a while is therefore an error, which ends the connection and everything behind it.
//!
//! It also says goodbye: when a request was answered before all of it was read, closing at once
//! would make the system throw away the answer together with what the client still sends. So the
//! rest is read for a moment, and thrown away.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::places::State;

const GOODBYE: Duration = Duration::from_secs(1);
const GOODBYE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub struct Paced<S> {
    socket: S,
    gap: Duration,
    state: Arc<State>,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    goodbye: Option<Goodbye>,
}

#[derive(Debug)]
struct Goodbye {
    until: Pin<Box<Sleep>>,
    bytes: usize,
}

impl<S> Paced<S> {
    pub fn new(socket: S, gap: Duration, state: Arc<State>) -> Self {
        Self { socket, gap, state, waiting: None, goodbye: None }
    }

    /// What `polled` came to, or an error when nothing has come of it for too long.
    fn patiently<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            if self.waiting.take().is_some() {
                self.state.set_writing(false);
            }
            return polled;
        }
        self.state.set_writing(true);
        let gap = self.gap;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(gap)));
        waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let goodbye = self
            .goodbye
            .get_or_insert_with(|| Goodbye { until: Box::pin(sleep(GOODBYE)), bytes: 0 });
        while goodbye.bytes < GOODBYE_BYTES {
            let mut scratch = [0; 4096];
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Pending => return goodbye.until.as_mut().poll(cx),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    goodbye.bytes += buffer.filled().len();
                }
                Poll::Ready(Ok(()) | Err(_)) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.patiently(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.patiently(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(cx);
        self.patiently(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.goodbye.is_none() {
            let polled = Pin::new(&mut self.socket).poll_shutdown(cx);
            ready!(self.patiently(polled, cx))?;
        }
        if self.state.has_unread() {
            ready!(self.poll_goodbye(cx));
        }
        Poll::Ready(Ok(()))
    }
}
