//! The ChatGPT backend as its clients see it: what is sent, and what an answer means.
//!
//! Credentials and addresses are arguments. The relay says plainly what it is in `User-Agent`;
//! `originator` and `version` carry what the backend's model list depends on.
//!
//! **Invariant:** no token is loaded, renewed or remembered here.
//! **Invariant:** headers are built from what is listed here; none of a client's are copied.
//!
//! Not here: sending again (`relay`), what a client is told (`api::error`), events (`wire`).

pub mod catalogue;
pub mod contract;
pub mod failure;
pub mod images;
pub mod inference;
pub mod resets;
pub mod subscription;
pub mod usage;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use failure::{Deadline, Failure, Fault, Refusal};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use parking_lot::RwLock;
use tower::ServiceExt;

use crate::{
    clock::Clock,
    credential::Credential,
    transport::{self, Body, Transport},
    wire::images::Task,
};

const ACCOUNT_ID: HeaderName = HeaderName::from_static("chatgpt-account-id");
const FEDRAMP: HeaderName = HeaderName::from_static("x-openai-fedramp");
const ORIGINATOR: HeaderName = HeaderName::from_static("originator");
const VERSION: HeaderName = HeaderName::from_static("version");

/// Some models answer 404 to requests that name no originator, and this one is always known.
const CODEX: HeaderValue = HeaderValue::from_static("codex_cli_rs");

const FAILURE_LIMIT: usize = 64 << 10;
const FAILURE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the backend is and how long it is waited for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Such as `https://chatgpt.com/backend-api/codex`.
    pub base_url: String,
    /// The version of the Codex client whose models are wanted, such as `0.156.1`.
    pub client_version: String,
    /// Such as `airelays/0.1.0`.
    pub user_agent: String,
    /// From sending a request to the head of its answer.
    pub headers_timeout: Duration,
}

/// The backend. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    clock: Clock,
    base: String,
    responses: Uri,
    compactions: Uri,
    generations: Uri,
    edits: Uri,
    usage: Uri,
    resets: Uri,
    consume: Uri,
    /// Never locked across an await.
    spoken: RwLock<Spoken>,
    headers_timeout: Duration,
}

/// What depends on the version of the client that the relay speaks as.
#[derive(Debug)]
struct Spoken {
    version: String,
    models: Uri,
    /// What every request carries.
    headers: HeaderMap,
}

impl Spoken {
    fn new(base: &str, version: &str, user_agent: HeaderValue) -> Result<Self, http::Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, user_agent);
        headers.insert(VERSION, HeaderValue::from_str(version)?);
        headers.insert(ORIGINATOR, CODEX);
        let models = format!("{base}/models?client_version={version}").parse::<Uri>()?;
        Ok(Self { version: version.to_owned(), models, headers })
    }
}

/// The parts of `1.2.3`, by which versions are ordered.
fn parts(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(str::parse);
    let three = [parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?];
    parts.next().is_none().then_some(three)
}

impl Upstream {
    /// # Errors
    ///
    /// When the address is none, or a setting cannot stand in a header.
    pub fn new(
        settings: &Settings,
        transport: Transport,
        clock: Clock,
    ) -> Result<Self, http::Error> {
        let base = settings.base_url.trim_end_matches('/');
        // What is about accounts stands beside what is about models.
        let wham = format!("{}/wham", base.strip_suffix("/codex").unwrap_or(base));
        let user_agent = HeaderValue::from_str(&settings.user_agent)?;
        let spoken = Spoken::new(base, &settings.client_version, user_agent)?;
        Ok(Self(Arc::new(Inner {
            transport,
            clock,
            responses: format!("{base}/responses").parse::<Uri>()?,
            compactions: format!("{base}/responses/compact").parse::<Uri>()?,
            generations: format!("{base}/images/generations").parse::<Uri>()?,
            edits: format!("{base}/images/edits").parse::<Uri>()?,
            usage: format!("{wham}/usage").parse::<Uri>()?,
            resets: format!("{wham}/rate-limit-reset-credits").parse::<Uri>()?,
            consume: format!("{wham}/rate-limit-reset-credits/consume").parse::<Uri>()?,
            spoken: RwLock::new(spoken),
            base: base.to_owned(),
            headers_timeout: settings.headers_timeout,
        })))
    }

    /// Speaks as a client of `version` from now on, if that is newer than what it speaks as.
    /// Whether it does.
    pub fn speak_as(&self, version: &str) -> bool {
        let mut spoken = self.0.spoken.write();
        if parts(version).is_none_or(|new| parts(&spoken.version).is_none_or(|old| new <= old)) {
            return false;
        }
        let agent = spoken.headers.get(header::USER_AGENT).cloned();
        let agent = agent.unwrap_or_else(|| HeaderValue::from_static(""));
        let Ok(newer) = Spoken::new(&self.0.base, version, agent) else { return false };
        *spoken = newer;
        true
    }

    /// Where the models are listed for the version that is spoken.
    fn models_uri(&self) -> Uri {
        self.0.spoken.read().models.clone()
    }

    /// Where inference requests go, for the log.
    pub fn inference_url(&self) -> String {
        self.0.responses.to_string()
    }

    fn images_uri(&self, task: Task) -> &Uri {
        match task {
            Task::Generation => &self.0.generations,
            Task::Edit => &self.0.edits,
        }
    }

    /// A request signed with `credential`, without a body.
    fn request(
        &self,
        method: Method,
        uri: &Uri,
        credential: &Credential,
    ) -> Result<Unsent, Failure> {
        // A credential that cannot stand in a header is one that nobody accepts.
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| Failure::Unauthorized { code: None })
        };
        let mut token = value(&format!("Bearer {}", credential.access.expose()))?;
        token.set_sensitive(true);
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.0.spoken.read().headers);
        headers.insert(header::AUTHORIZATION, token);
        headers.insert(ACCOUNT_ID, value(credential.account_id.as_str())?);
        if credential.fedramp {
            headers.insert(FEDRAMP, HeaderValue::from_static("true"));
        }
        Ok(request)
    }

    /// The head of a successful answer; every other answer is a failure.
    async fn send(&self, request: Unsent) -> Result<Response<Body>, Failure> {
        self.send_within(self.0.headers_timeout, request).await
    }

    async fn send_within(
        &self,
        timeout: Duration,
        request: Unsent,
    ) -> Result<Response<Body>, Failure> {
        let answer = self.head_within(timeout, request).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.failure(answer).await) }
    }

    /// The head of an answer, whatever it is.
    async fn head_within(
        &self,
        timeout: Duration,
        request: Unsent,
    ) -> Result<Response<Body>, Failure> {
        let sending = self.0.transport.clone().oneshot(request);
        tokio::time::timeout(timeout, sending)
            .await
            .map_err(|_| Failure::Timeout(Deadline::Headers))?
            .map_err(Failure::of_sending)
    }

    /// What an answer that is no success says. Its body is not waited for longer than it is worth.
    async fn failure(&self, answer: Response<Body>) -> Failure {
        let (head, body) = answer.into_parts();
        let body = transport::read_at_most(body, FAILURE_LIMIT);
        let body = tokio::time::timeout(FAILURE_TIMEOUT, body).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        failure::classify(head.status, &head.headers, &body, self.0.clock.now())
    }
}

type Unsent = Request<Full<Bytes>>;

/// Nobody but the relay wrote this request, so no client is to blame for it.
fn not_the_clients(failure: Failure) -> Failure {
    let (Failure::Request(refusal) | Failure::ModelNotFound(refusal)) = failure else {
        return failure;
    };
    let Refusal { status, message, code, .. } = *refusal;
    let (status, message) = (Some(status), Some(message));
    Failure::Service(Box::new(Fault { status, code, message, retry_after: None }))
}

#[cfg(test)]
mod tests {
    use axum::Router;

    use super::*;

    #[test]
    fn it_speaks_as_the_newest_that_it_has_heard_of() {
        let settings = Settings {
            base_url: "https://upstream.example/backend-api/codex/".to_owned(),
            client_version: "0.156.1".to_owned(),
            user_agent: "airelays/1".to_owned(),
            headers_timeout: Duration::from_secs(1),
        };
        let transport = transport::local(Router::new());
        let upstream = Upstream::new(&settings, transport, Clock::system()).expect("an address");
        for (version, expected) in [
            ("0.156.1", None),
            ("0.99.9", None),
            ("0.156", None),
            ("1.2.x", None),
            ("0.157.0", Some("0.157.0")),
            ("0.156.9", None),
            ("0.1000.0", Some("0.1000.0")),
        ] {
            assert_eq!(upstream.speak_as(version), expected.is_some(), "{version}");
            if let Some(expected) = expected {
                let uri = format!(
                    "https://upstream.example/backend-api/codex/models?client_version={expected}"
                );
                assert_eq!(upstream.models_uri().to_string(), uri);
                let headers = upstream.0.spoken.read().headers.clone();
                assert_eq!(
                    (&headers[VERSION], &headers[header::USER_AGENT]),
                    (&HeaderValue::from_static(expected), &HeaderValue::from_static("airelays/1"),)
                );
            }
        }
    }
}
