//! Turns away what a web page sends without its owner having been asked.
//!
//! Every page in a browser can send requests to this machine. A browser says so: with `Origin`,
//! with `Sec-Fetch-Site`, and with the name in `Host` by which it got here. What comes from no
//! page has none of these but `Host`, and is not touched.
//!
//! It stands before the token and the limits, so that a page can neither try tokens nor spend
//! anything of anybody.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, header::ORIGIN};

use super::{
    cors,
    host::{self, Misdirected},
    turned::Turned,
};
use crate::{
    api::{
        error::ApiError,
        exchange::{Exchange, Peer},
    },
    clock::Clock,
};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whose pages may call, and by which names.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Names of this relay beyond those that are its own by nature, in lower case.
    pub hosts: Arc<[String]>,
    /// Origins of pages that may call, exactly as browsers send them.
    pub origins: Arc<[String]>,
}

#[derive(Clone, Debug)]
pub struct Origin {
    rules: Rules,
    turned: Turned,
}

impl Origin {
    pub fn new(rules: Rules, clock: Clock) -> Self {
        Self { rules, turned: Turned::new(clock) }
    }
}

pub async fn guard(
    State(Origin { rules, turned }): State<Origin>,
    exchange: Exchange,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match rules.judge(&request) {
        Ok(None) => next.run(request).await,
        Ok(Some(origin)) => match cors::preflight(&request, &origin) {
            Some(granted) => granted,
            None => cors::open(next.run(request).await, origin),
        },
        Err(refused) => {
            let (status, reason) = refused.told();
            turned.away(&exchange, status, reason).await;
            ApiError::from(refused).into_response()
        }
    };
    if !rules.origins.is_empty() {
        cors::vary(&mut response);
    }
    response
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Host(Misdirected),
    /// A page that is not listed.
    Origin,
}

impl Refused {
    fn told(self) -> (i64, &'static str) {
        match self {
            Self::Host(Misdirected::Unclear) => (400, "host"),
            Self::Host(Misdirected::Elsewhere) => (403, "host"),
            Self::Origin => (403, "origin"),
        }
    }
}

impl Rules {
    /// The listed origin that a request comes from, if it does.
    fn judge(&self, request: &Request) -> Result<Option<HeaderValue>, Refused> {
        let peer = Peer::of(request.extensions());
        let headers = request.headers();
        let host =
            host::check(headers, request.uri(), peer.local, &self.hosts).map_err(Refused::Host)?;
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) if is_unasked(headers) => Err(Refused::Origin),
            (None, _) => Ok(None),
            (Some(origin), None) if self.lists(origin) => Ok(Some(origin.clone())),
            (Some(origin), None) if is_own(origin, host, peer) && !is_unasked(headers) => Ok(None),
            (Some(_), _) => Err(Refused::Origin),
        }
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|listed| origin.as_bytes() == listed.as_bytes())
    }
}

/// Whether a browser says that another site sent this. Whoever types an address is no site.
fn is_unasked(headers: &HeaderMap) -> bool {
    headers.get_all(SITE).iter().any(|site| site != "same-origin" && site != "none")
}

fn is_own(origin: &HeaderValue, host: &str, peer: Peer) -> bool {
    let scheme = if peer.is_encrypted { "https://" } else { "http://" };
    let own = origin.to_str().ok().and_then(|origin| origin.strip_prefix(scheme));
    own.is_some_and(|own| own.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests;
