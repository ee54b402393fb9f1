//! The relay that runs, asked by a command of the same owner.
//!
//! Where it is it has written down itself, in its data directory, which only its owner can write to.
//! A command that finds none does its work alone.
//!
//! **Invariant:** the relay token goes to the address that a relay holding the lock wrote, and
//! nowhere else.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use crate::{
    app::{self, Running},
    config::Config,
    describe::Present,
    object::Object,
    secret::Secret,
    transport::{self, NetworkSettings, Transport},
};

const CONNECT: Duration = Duration::from_secs(2);
/// A refresh asks the upstream, which may take its time.
const PATIENCE: Duration = Duration::from_mins(3);
const LIMIT: usize = 16 << 20;

/// Why the relay gave no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("the relay does not answer")]
    Unreachable(#[source] transport::BoxError),
    #[error("the relay speaks TLS, which this command does not; call its route yourself")]
    Tls,
    #[error("{message}")]
    Refused { status: StatusCode, message: String },
    #[error("the relay's answer cannot be read")]
    Unreadable,
}

/// A relay that runs on the data directory of the settings.
pub struct Remote {
    base: String,
    token: Option<Secret>,
    transport: Transport,
}

impl Remote {
    /// `None` when there is none.
    pub fn find(config: &Config) -> Option<Result<Self, NoAnswer>> {
        let (base, socket) = match app::running(&config.paths.data_dir)? {
            Running::At(address) => (address, None),
            Running::AtSocket(path) => ("http://localhost".to_owned(), Some(path)),
            Running::Unknown => return Some(Err(NoAnswer::Unreadable)),
        };
        if base.starts_with("https:") {
            return Some(Err(NoAnswer::Tls));
        }
        let token = Present::of(config).token.filter(|_| config.security.require_bearer_auth);
        Some(Ok(Self { base, token, transport: way(socket) }))
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
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(CONTENT_TYPE, "application/json");
        if self.base == "http://localhost" {
            request = request.header(HOST, "localhost");
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unreachable(error.into()))?;
        let answering = async {
            let answer = self.transport.clone().oneshot(request).await.map_err(unreachable)?;
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

fn way(socket: Option<PathBuf>) -> Transport {
    transport::network(NetworkSettings {
        connect_timeout: CONNECT,
        user_agent: concat!("airelays/", env!("CARGO_PKG_VERSION")).into(),
        socket,
    })
    .transport()
}

fn refusal(status: StatusCode, body: &[u8]) -> NoAnswer {
    let message = Object::read(body).and_then(|body| body.object("error")?.filled("message"));
    let message = message.unwrap_or_else(|| format!("the relay answers {status}"));
    NoAnswer::Refused { status, message }
}
