//! Usage resets that the upstream grants: listed, and used when the owner asks for it.

use axum::{extract::State, response::Response};
use http::Uri;
use serde::Deserialize;

use super::{Admin, controls::known, json, parameter};
use crate::api::{error::ApiError, extract::JsonBody};

/// `GET /v1/relay/accounts/resets?account`.
pub async fn list(State(admin): State<Admin>, uri: Uri) -> Result<Response, ApiError> {
    let only = parameter(&uri, "slot")
        .or_else(|| parameter(&uri, "account"))
        .map(|text| known(&admin, text))
        .transpose()?;
    json(&admin.relay.reset_list(only.as_ref()).await)
}

#[derive(Deserialize)]
struct Wanted {
    account: Option<String>,
    credit_id: Option<String>,
    redeem_request_id: Option<String>,
}

/// `POST /v1/relay/accounts/resets/redeem`. The account has to be named, so that no empty body
/// spends anything.
pub async fn redeem(
    State(admin): State<Admin>,
    JsonBody { bytes, .. }: JsonBody,
) -> Result<Response, ApiError> {
    let wanted: Wanted =
        serde_json::from_slice(&bytes).map_err(|_| ApiError::bad_control("account"))?;
    let id = wanted.account.ok_or_else(|| ApiError::bad_control("account"))?;
    let id = known(&admin, &id)?;
    let account = admin.relay.slots.account(&id);
    let account = account.ok_or_else(|| ApiError::unknown_slot(id.as_str()))?;
    let new_id = || crate::clock::random().ok().map(crate::id::uuid);
    let request_id = wanted.redeem_request_id.or_else(new_id);
    let request_id = request_id.ok_or_else(|| ApiError::bad_control("redeem_request_id"))?;
    let credit = wanted.credit_id.as_deref();
    let redeemed = admin.relay.redeem(&id, &account, &request_id, credit).await;
    json(&redeemed.map_err(|refused| ApiError::of_refusal(refused, admin.clock.now()))?)
}
