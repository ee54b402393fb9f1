//! Bodies that know more than their bytes: a request's that must keep arriving, an answer's that
//! keeps something until it has been sent.
//!
//! **Invariant:** a request body ends, one way or the other, within its whole time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// How slowly a request body may arrive.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two pieces.
    pub gap: Duration,
    /// For all of it, from the first wait on.
    pub total: Duration,
}

/// A request body that must keep its pace; it fails with [`TooSlow`] otherwise.
#[derive(Debug)]
pub struct Arriving<B> {
    body: B,
    pace: Pace,
    /// Runs while nothing arrives.
    gap: Option<Pin<Box<Sleep>>>,
    /// Runs from the first wait on.
    total: Option<Pin<Box<Sleep>>>,
}

/// The client stopped sending, or takes too long over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request body does not arrive in time")]
pub struct TooSlow;

impl<B> Arriving<B> {
    pub fn new(body: B, pace: Pace) -> Self {
        Self { body, pace, gap: None, total: None }
    }

    /// Ready when it has taken too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Pace { gap, total } = self.pace;
        let gap = self.gap.get_or_insert_with(|| Box::pin(sleep(gap)));
        let total = self.total.get_or_insert_with(|| Box::pin(sleep(total)));
        // Both are asked, so that either wakes this task.
        match (gap.as_mut().poll(cx), total.as_mut().poll(cx)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            (Poll::Ready(()), _) | (_, Poll::Ready(())) => Poll::Ready(()),
        }
    }
}

impl<B> http_body::Body for Arriving<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.gap = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        self.poll_patience(cx).map(|()| Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that keeps something for as long as it lives: a permit, above all.
#[derive(Debug)]
pub struct Keeping<T> {
    body: Body,
    _kept: T,
}

impl<T> Keeping<T> {
    pub fn new(body: Body, kept: T) -> Self {
        Self { body, _kept: kept }
    }
}

impl<T: Unpin> http_body::Body for Keeping<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;

    const PACE: Pace = Pace { gap: Duration::from_secs(30), total: Duration::from_mins(5) };

    /// A byte after each of the given waits, in seconds; then nothing for ever, or the end.
    struct Trickle {
        waits: VecDeque<u64>,
        ends: bool,
        timer: Option<Pin<Box<Sleep>>>,
    }

    impl http_body::Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some(wait) = self.waits.front().copied() else {
                return if self.ends { Poll::Ready(None) } else { Poll::Pending };
            };
            let wait = Duration::from_secs(wait);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(wait)));
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
            self.waits.pop_front();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    /// How many bytes arrive, whether all did, and after how many seconds that was clear.
    async fn check(waits: &[u64], ends: bool) -> (usize, bool, u64) {
        let start = Instant::now();
        let trickle = Trickle { waits: waits.iter().copied().collect(), ends, timer: None };
        let mut body = Arriving::new(trickle, PACE);
        let mut bytes = 0;
        let is_whole = loop {
            match body.frame().await {
                None => break true,
                Some(Ok(_)) => bytes += 1,
                Some(Err(error)) => {
                    assert!(error.is::<TooSlow>());
                    break false;
                }
            }
        };
        (bytes, is_whole, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_must_keep_arriving_and_come_to_an_end() {
        assert_eq!(check(&[], true).await, (0, true, 0));
        assert_eq!(check(&[29, 29, 29], true).await, (3, true, 87));
        assert_eq!(check(&[], false).await, (0, false, 30));
        assert_eq!(check(&[1, 31, 1], true).await, (1, false, 31));
        let (bytes, is_whole, seconds) = check(&[10; 100], true).await;
        assert_eq!((is_whole, seconds), (false, 300));
        assert!((29..=30).contains(&bytes), "{bytes}");
    }
}
