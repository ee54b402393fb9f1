//! Request bodies, read within bounds and refused in our shape.

mod encoding;
mod form;

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
};
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};

use crate::{
    api::{error::ApiError, exchange::Exchange},
    wire::images::Part,
};

/// How large a request body may be, in bytes. In the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub usize);

/// The body of a request that says it is JSON. Nobody has looked inside yet.
#[derive(Debug)]
pub struct JsonBody {
    pub exchange: Exchange,
    pub bytes: Bytes,
}

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (_, exchange, bytes) = whole(request, is_json, ApiError::not_json).await?;
        exchange.received(bytes.clone()).await;
        Ok(Self { exchange, bytes })
    }
}

/// The body of a request that says it is a form or JSON.
#[derive(Debug)]
pub struct FormOrJson {
    pub exchange: Exchange,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    Form(Vec<Part>),
    /// Nobody has looked inside yet, and it has not been written down.
    Json(Bytes),
}

impl<S: Sync> FromRequest<S> for FormOrJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let is_form_or_json = |headers: &HeaderMap| form::is_form(headers) || is_json(headers);
        let refused = ApiError::not_form_or_json;
        let (parts, exchange, bytes) = whole(request, is_form_or_json, refused).await?;
        if !form::is_form(&parts.headers) {
            return Ok(Self { exchange, content: Content::Json(bytes) });
        }
        exchange.received(bytes.clone()).await;
        Ok(Self { exchange, content: Content::Form(form::parts(parts, bytes).await?) })
    }
}

/// The head, the exchange and the plain body of a request whose headers are wanted; another is
/// `refused` before anything of it is read.
async fn whole(
    request: Request,
    is_wanted: fn(&HeaderMap) -> bool,
    refused: fn() -> ApiError,
) -> Result<(Parts, Exchange, Bytes), ApiError> {
    let (mut parts, body) = request.into_parts();
    let exchange = <Exchange as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await?;
    if !is_wanted(&parts.headers) {
        return Err(refused());
    }
    let limit = parts.extensions.get::<BodyLimit>().map_or(0, |limit| limit.0);
    let bytes = encoding::plain(&parts.headers, read(body, limit).await?, limit).await?;
    Ok((parts, exchange, bytes))
}

/// The whole of `body`, unless it is announced to be or turns out to be too large.
async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(ApiError::body_too_large(limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::body_too_large(limit))
        }
        Err(error) => Err(ApiError::body_unreadable(&*error)),
    }
}

/// `application/json` and its relatives. Anything else may be a web page's form.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_counts_as_json() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().expect("a header"));
            is_json(&headers)
        };
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/x+json"] {
            assert!(check(yes), "{yes}");
        }
        for no in ["text/plain", "application/x-www-form-urlencoded", "text/json+json", "json"] {
            assert!(!check(no), "{no}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
