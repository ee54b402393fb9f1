//! What the owner decides about slots while the relay runs.

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Admin, json, slots};
use crate::{
    api::{error::ApiError, extract::JsonBody},
    roster::Book,
    slot::{SlotId, Wishes, policy::Policy},
};

/// The slot that `text` names.
pub fn known(admin: &Admin, text: &str) -> Result<SlotId, ApiError> {
    admin.relay.slots.meant(text).ok_or_else(|| ApiError::unknown_slot(text))
}

#[derive(Serialize)]
struct Answer<T> {
    slot: T,
}

/// `POST /admin/slots/{id}/{action}`.
pub async fn act(
    State(admin): State<Admin>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    // What is not even text is no name of a slot.
    let Path((id, action)) = path.map_err(|_| ApiError::not_found())?;
    let id = known(&admin, &id)?;
    match action.as_str() {
        "enable" => wish(&admin, &id, |wishes| wishes.is_enabled = true).await?,
        "disable" => wish(&admin, &id, |wishes| wishes.is_enabled = false).await?,
        "pause" => wish(&admin, &id, |wishes| wishes.is_paused = true).await?,
        "resume" => wish(&admin, &id, |wishes| wishes.is_paused = false).await?,
        "clear" => {
            admin.relay.slots.change(|pool, _| pool.clear(Some(&id)));
        }
        _ => return Err(ApiError::not_found()),
    }
    let listed = slots(&admin).await?;
    let view = listed.slots.into_iter().find(|view| view.id == id.as_str());
    json(&Answer { slot: view })
}

async fn wish(admin: &Admin, id: &SlotId, change: fn(&mut Wishes)) -> Result<(), ApiError> {
    let id = id.clone();
    write(admin, move |book: &mut Book| change(book.wishes.entry(id.clone()).or_default())).await
}

/// Changes the file, and the table that follows from it.
async fn write(
    admin: &Admin,
    change: impl Fn(&mut Book) + Send + Sync + Clone + 'static,
) -> Result<(), ApiError> {
    let slots = admin.relay.slots.clone();
    slots.roster().change_soon(change).await.map_err(|error| ApiError::roster(&error))?;
    let looked = tokio::task::spawn_blocking(move || slots.look_again()).await;
    looked.map_err(|error| ApiError::broken(&error))?.map_err(|error| ApiError::roster(&error))
}

#[derive(Deserialize)]
struct Prompt {
    prompt: Option<String>,
    model: Option<String>,
}

/// `POST /admin/slots/{id}/test` with `{"prompt", "model"}`: one prompt through this slot.
pub async fn test(
    State(admin): State<Admin>,
    id: Result<Path<String>, PathRejection>,
    JsonBody { bytes, .. }: JsonBody,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::not_found())?;
    let id = known(&admin, &id)?;
    let Prompt { prompt, model } = read(&bytes, "prompt")?;
    let prompt = prompt.as_deref().unwrap_or("Reply with exactly pong");
    let said = admin.relay.try_out(&id, model.as_deref(), prompt).await;
    json(&said.map_err(|refused| ApiError::of_refusal(refused, admin.clock.now()))?)
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "it is about them")]
struct Policies {
    policy: String,
    /// What counts when nothing was chosen while the relay ran.
    configured: String,
    policies: Vec<&'static str>,
}

/// `GET /admin/policy`.
pub async fn policy(State(admin): State<Admin>) -> Result<Response, ApiError> {
    let slots = &admin.relay.slots;
    json(&Policies {
        policy: slots.view(|pool, _| pool.policy().to_string()),
        configured: slots.settings().pool.policy.to_string(),
        policies: Policy::ALL.map(Policy::as_str).to_vec(),
    })
}

#[derive(Deserialize)]
struct Wanted<'a> {
    /// `null` is said, and not the same as nothing.
    #[serde(borrow)]
    policy: &'a RawValue,
}

/// `PUT /admin/policy` with `{"policy": NAME}`; `null` goes back to the setting.
pub async fn set_policy(
    State(admin): State<Admin>,
    JsonBody { bytes, .. }: JsonBody,
) -> Result<Response, ApiError> {
    let wanted: Wanted<'_> = read(&bytes, "policy")?;
    let wanted: Option<String> = read(wanted.policy.get().as_bytes(), "policy")?;
    let chosen = wanted.as_deref().map(named).transpose()?;
    write(&admin, move |book: &mut Book| book.policy = chosen).await?;
    policy(State(admin)).await
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8], name: &'static str) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|_| ApiError::bad_control(name))
}

fn named(name: &str) -> Result<Policy, ApiError> {
    name.parse().map_err(|error: crate::slot::policy::NoPolicy| ApiError::no_policy(&error))
}

/// `GET /v1/relay/balance`, as AIRelays 0.22 has it.
pub async fn balance(State(admin): State<Admin>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Balance {
        object: &'static str,
        openai: String,
        strategies: Vec<&'static str>,
        runtime_only: bool,
    }
    json(&Balance {
        object: "relay.balance",
        openai: admin.relay.slots.view(|pool, _| pool.policy().to_string()),
        strategies: Policy::ALL.map(Policy::as_str).to_vec(),
        runtime_only: false,
    })
}

#[derive(Deserialize)]
struct WantedBalance {
    openai: String,
}

/// `PUT /v1/relay/balance` with `{"openai": NAME}`.
pub async fn set_balance(
    State(admin): State<Admin>,
    JsonBody { bytes, .. }: JsonBody,
) -> Result<Response, ApiError> {
    let wanted: WantedBalance = read(&bytes, "openai")?;
    let chosen = named(&wanted.openai)?;
    write(&admin, move |book: &mut Book| book.policy = Some(chosen)).await?;
    balance(State(admin)).await
}
