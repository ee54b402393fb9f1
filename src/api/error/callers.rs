//! What is told to those who may not call, or not now.
//!
//! None of it says anything that depends on the request, so that there is nothing to probe.

use std::time::Duration;

use http::{
    HeaderValue, StatusCode,
    header::{CONNECTION, WWW_AUTHENTICATE},
};

use super::{ApiError, Kind};
use crate::{
    api::guard::{host::Misdirected, origin},
    limit,
};

impl ApiError {
    pub fn not_on_this_machine() -> Self {
        Self::forbidden("This relay serves clients on its own machine only.")
            .code("client_not_on_this_machine")
    }

    pub fn not_on_private_network() -> Self {
        Self::forbidden("This relay serves clients on its own machine and private networks only.")
            .code("client_not_on_private_network")
    }

    pub fn missing_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            Kind::AuthenticationError,
            "Missing or invalid AIRelays bearer token.",
        )
        .code("invalid_api_key")
        .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    pub fn blocked(wait: Duration) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Kind::RateLimitError,
            "Too many invalid authentication attempts from this IP.",
        )
        .code("ip_temporarily_blocked")
        .retry_after(Some(wait))
    }

    /// The rest of the body may still come, so nothing more can be read from this connection.
    pub fn body_too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            Kind::InvalidRequestError,
            "The request body did not arrive in time.",
        )
        .code("request_timeout")
        .header(CONNECTION, HeaderValue::from_static("close"))
    }

    fn forbidden(message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, Kind::PermissionError, message)
    }
}

impl From<origin::Refused> for ApiError {
    fn from(refused: origin::Refused) -> Self {
        match refused {
            origin::Refused::Host(Misdirected::Unclear) => Self::new(
                StatusCode::BAD_REQUEST,
                Kind::InvalidRequestError,
                "The request must have exactly one Host header.",
            )
            .code("invalid_host"),
            origin::Refused::Host(Misdirected::Elsewhere) => Self::forbidden(
                "The relay does not go by the name in the Host header. \
                 Its owner can add it to security.allowed_hosts.",
            )
            .code("host_not_allowed"),
            origin::Refused::Origin => Self::forbidden(
                "Requests from this web page are not allowed. \
                 The relay's owner can add its origin to security.allowed_origins.",
            )
            .code("origin_not_allowed"),
        }
    }
}

impl From<limit::Refused> for ApiError {
    fn from(refused: limit::Refused) -> Self {
        let (message, code, wait) = match refused {
            limit::Refused::TooMany { retry_after } => (
                "Too many concurrent requests from this IP.",
                "too_many_concurrent_requests",
                retry_after,
            ),
            limit::Refused::TooFast { retry_after } => {
                ("Request rate limit exceeded for this IP.", "rate_limit_exceeded", retry_after)
            }
        };
        Self::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimitError, message)
            .code(code)
            .retry_after(Some(wait))
    }
}
