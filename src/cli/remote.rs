//! The relay that runs, asked by a command of the same owner.
//!
//! It is found at a socket in its data directory, which only its owner can open, so it is asked there
//! without a token, whatever address it listens at. A command that finds none does its work alone.

use std::time::Duration;

use bytes::Bytes;
use http::{
    Method, Request, StatusCode,
    header::{CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use crate::{
    app::{self, Running},
    config::Config,
    object::Object,
    transport::{self, NetworkSettings, Transport},
};

const CONNECT: Duration = Duration::from_secs(2);
/// A refresh asks the upstream, which may take its time.
const PATIENCE: Duration = Duration::from_mins(3);
const LIMIT: usize = 16 << 20;

/// Why the relay gave no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("a relay runs here, but does not answer at `control.sock` in its data directory")]
    Unreachable(#[source] transport::BoxError),
    #[error("a relay runs here that commands cannot reach; its log says why")]
    OutOfReach,
    #[error("{message}")]
    Refused { status: StatusCode, message: String },
    #[error("the relay's answer cannot be read")]
    Unreadable,
}

/// A relay that runs on the data directory of the settings.
pub struct Remote(Transport);

impl Remote {
    /// `None` when there is none. An error when there is one that commands cannot reach.
    pub fn find(config: &Config) -> Option<Result<Self, NoAnswer>> {
        let socket = match app::running(&config.paths.data_dir)? {
            Running::At(socket) => socket,
            Running::OutOfReach => return Some(Err(NoAnswer::OutOfReach)),
        };
        let transport = transport::network(NetworkSettings {
            connect_timeout: CONNECT,
            user_agent: concat!("airelays/", env!("CARGO_PKG_VERSION")).into(),
            socket: Some(socket),
        });
        Some(Ok(Self(transport.transport())))
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        self.send(Method::GET, path, String::new()).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T, NoAnswer> {
        self.send(Method::POST, path, body.to_owned()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<T, NoAnswer> {
        let unreachable = |error: transport::BoxError| NoAnswer::Unreachable(error);
        let request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"))
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unreachable(error.into()))?;
        let answering = async {
            let answer = self.0.clone().oneshot(request).await.map_err(unreachable)?;
            let status = answer.status();
            let body = transport::read_at_most(answer.into_body(), LIMIT).await;
            Ok::<_, NoAnswer>((status, body.map_err(unreachable)?))
        };
        let late = |_| NoAnswer::Unreachable("it takes too long".into());
        let (status, body) = tokio::time::timeout(PATIENCE, answering).await.map_err(late)??;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|_| NoAnswer::Unreadable)
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> NoAnswer {
    let message = Object::read(body).and_then(|body| body.object("error")?.filled("message"));
    let message = message.unwrap_or_else(|| format!("the relay answers {status}"));
    NoAnswer::Refused { status, message }
}
