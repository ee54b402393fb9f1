//! How long making a connection took, as part of what a request waited for.
//!
//! The client makes connections on the request's own task, or goes on with one that has become free
//! meanwhile; a request that found a connection ready has waited for none.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower::{Layer, Service};

tokio::task_local! {
    /// Microseconds.
    static SPENT: Arc<AtomicU64>;
}

/// What `work` comes to, and how long of it was making connections.
pub async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let spent = Arc::<AtomicU64>::default();
    let done = SPENT.scope(Arc::clone(&spent), work).await;
    (done, Duration::from_micros(spent.load(Ordering::Relaxed)))
}

/// Times whatever connects.
#[derive(Clone, Copy, Debug)]
pub struct Timing;

impl<S> Layer<S> for Timing {
    type Service = Timed<S>;

    fn layer(&self, connect: S) -> Timed<S> {
        Timed(connect)
    }
}

#[derive(Clone, Debug)]
pub struct Timed<S>(S);

impl<S, R> Service<R> for Timed<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let spent = SPENT.try_with(Arc::clone).ok();
        let connecting = self.0.call(to);
        Box::pin(async move {
            let began = Instant::now();
            let connection = connecting.await;
            if let Some(spent) = spent {
                let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                spent.fetch_add(micros, Ordering::Relaxed);
            }
            connection
        })
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_connecting_took_belongs_to_the_request_that_waited() {
        let connect = |millis: u64| {
            tower::service_fn(move |_to: ()| async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok::<_, std::convert::Infallible>(())
            })
        };
        let (both, spent) = timed(async {
            let first = Timing.layer(connect(40)).oneshot(()).await;
            first.and(Timing.layer(connect(2)).oneshot(()).await)
        })
        .await;
        assert_eq!((both, spent.as_millis()), (Ok(()), 42));
        let ((), none) = timed(tokio::time::sleep(Duration::from_secs(1))).await;
        assert_eq!(none, Duration::ZERO);
        Timing.layer(connect(1)).oneshot(()).await.expect("outside of any request as well");
    }
}
