//! One request and its answer, as the log sees them.
//!
//! The guard that comes first makes an [`Exchange`] and puts it into the request's extensions;
//! whoever reads the body says so here, and whoever answers does too.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, Uri, header::CONTENT_TYPE, request::Parts};

use crate::{
    api::error::ApiError,
    id::RequestId,
    relay::story::Story,
    traffic::{Phase, Record, Traffic},
};

/// What stays the same while a request is served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exchange(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    pub id: RequestId,
    pub client: IpAddr,
    pub traffic: Traffic,
    method: Method,
    uri: Uri,
    pub headers: HeaderMap,
    /// What becomes of it at the upstream.
    pub story: Story,
    is_received: AtomicBool,
}

impl std::ops::Deref for Exchange {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Exchange {
    pub fn new(id: RequestId, client: IpAddr, traffic: Traffic, parts: &Parts) -> Self {
        Self(Arc::new(Inner {
            id,
            client,
            traffic,
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            story: Story::default(),
            is_received: AtomicBool::new(false),
        }))
    }

    /// What was asked: the method and the path.
    pub fn line(&self) -> (String, String) {
        (self.method.as_str().to_owned(), self.uri.path().to_owned())
    }

    /// Whether it asks about the relay and not of the upstream.
    pub fn is_about_the_relay(&self) -> bool {
        let path = self.uri.path();
        path.starts_with("/admin/") || path.starts_with("/v1/relay/")
    }

    /// Writes down what the client asked.
    ///
    /// Once: whoever comes second knows no more.
    pub async fn received(&self, body: Bytes) {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        self.received_as(content_type, body).await;
    }

    /// The same where the body is told in other words.
    pub async fn received_as(&self, content_type: Option<&str>, body: Bytes) {
        if !self.traffic.is_on() || self.is_received.swap(true, Ordering::Relaxed) {
            return;
        }
        let record = self
            .described(Phase::InboundRequest)
            .text("query", self.uri.query().unwrap_or("").to_owned())
            .headers("headers", &self.headers)
            .body("body", content_type, body);
        self.traffic.record(record).await;
    }

    /// A record of this exchange that says which request it is about.
    pub fn described(&self, phase: Phase) -> Record {
        Record::new(&self.id, phase)
            .text("method", self.method.as_str().to_owned())
            .text("path", self.uri.path().to_owned())
            .text("client_ip", self.client.to_string())
    }

    /// A record of this exchange.
    pub fn record(&self, phase: Phase) -> Record {
        Record::new(&self.id, phase)
    }
}

impl<S: Sync> FromRequestParts<S> for Exchange {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::broken(&std::io::Error::other("a route stands outside the guards"))
        })
    }
}

/// What the log has in place of the body of a response, in its extensions.
#[derive(Clone, Debug)]
pub struct Shown(pub Bytes);

/// Whether the request that a connection serves was let in. Whoever gives away places asks.
#[derive(Clone, Debug, Default)]
pub struct Admitted(Arc<AtomicBool>);

impl Admitted {
    pub fn set(&self, is_admitted: bool) {
        self.0.store(is_admitted, Ordering::Release);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The two ends of the connection that a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who is at the other end. Loopback for a program at the Unix socket.
    pub remote: IpAddr,
    /// The address that the client connected to.
    pub local: IpAddr,
    pub is_encrypted: bool,
}

impl Peer {
    /// Somebody on this machine with whom there is no connection, or none with addresses.
    pub const IN_PROCESS: Self = Self {
        remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
        local: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_encrypted: false,
    };

    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::IN_PROCESS)
    }
}
