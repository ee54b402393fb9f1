//! Errors as clients get them, made by the code that makes them.
//!
//! Each row is a failure that was really mapped, or a request that was really refused, so status,
//! type, code and message are those of the program.
//!
//! Not here: the mapping (`api::error`).

use std::{io, sync::Arc, time::Duration};

use axum::response::IntoResponse;
use http::header::RETRY_AFTER;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Page, code};
use crate::{
    api::{
        error::ApiError,
        guard::{host::Misdirected, origin},
    },
    auth::{Access, Lack, LoginError, Outage, sealed::Shut, vault::Unopened},
    dialogue::TurnError,
    keyring::NoKeyring,
    limit,
    relay::{NoneLeft, Refused},
    roster::RosterError,
    slot::{SlotId, policy::NoPolicy, pool::Look, verdict::Verdict, window::Span},
    store::{Unavailable, UploadError, What},
    upstream::failure::{Deadline, Failure, Fault, Refusal, UsageLimit},
    wire::{
        reply::responses::Collect,
        request::{Options, chat},
    },
};

const HEAD: [&str; 6] = ["status", "type", "code", "message", "param", "headers"];

pub fn page() -> String {
    let mut page = Page::new(
        "Errors",
        "The body is `{\"error\": {\"message\", \"type\", \"param\", \"code\"}, \"detail\"}`.\n\
         In a stream the same object is the last event; see [API](../api.md#streams).\n\
         Names and numbers in the messages are examples.",
    );
    page.heading("Who may call");
    page.table(HEAD, callers().into_iter().map(row));
    page.heading("The request");
    page.table(HEAD, surface().into_iter().chain(requests()).map(row));
    page.heading("What is kept");
    page.table(HEAD, kept().into_iter().map(row));
    page.heading("The login");
    page.paragraph("None of these is about the relay token.");
    page.table(HEAD, logins().into_iter().map(|error| row(error.into())));
    page.heading("The slots");
    page.paragraph("With one account its own failure is told, from the tables around this one.");
    page.table(HEAD, slots().into_iter().map(row));
    page.heading("The upstream");
    page.paragraph(
        "What the upstream refuses as the request's fault keeps its status, type, code and words.",
    );
    let now = Timestamp::UNIX_EPOCH;
    let failures = failures().into_iter().chain(lateness());
    let failures = failures.map(|failure| ApiError::of_failure(&failure, now));
    page.table(HEAD, failures.chain(unreadable()).map(row));
    page.finish()
}

fn row(error: ApiError) -> [String; 6] {
    #[derive(Default, Deserialize)]
    struct Object {
        message: String,
        r#type: String,
        param: Option<String>,
        code: Option<String>,
    }
    let object: Object = serde_json::from_str(&error.object()).unwrap_or_default();
    let response = error.into_response();
    let headers: Vec<_> = ["x-airelays-upstream-auth", "x-should-retry"]
        .into_iter()
        .filter_map(|name| Some((name, response.headers().get(name)?.to_str().ok()?)))
        .map(|(name, value)| format!("`{name}: {value}`"))
        .chain(response.headers().get(RETRY_AFTER).map(|_| "`retry-after`".to_owned()))
        .collect();
    [
        response.status().as_u16().to_string(),
        code(&object.r#type),
        code(&object.code.unwrap_or_default()),
        object.message,
        code(&object.param.unwrap_or_default()),
        headers.join(", "),
    ]
}

fn callers() -> Vec<ApiError> {
    let retry_after = Duration::from_secs(1);
    vec![
        ApiError::not_on_this_machine(),
        ApiError::not_on_private_network(),
        origin::Refused::Host(Misdirected::Unclear).into(),
        origin::Refused::Host(Misdirected::Elsewhere).into(),
        origin::Refused::Origin.into(),
        ApiError::missing_token(),
        ApiError::blocked(retry_after),
        limit::Refused::TooMany { retry_after }.into(),
        limit::Refused::TooFast { retry_after }.into(),
    ]
}

fn kept() -> Vec<ApiError> {
    const ALL: [What; 7] = [
        What::Full,
        What::Busy,
        What::Damaged,
        What::Newer,
        What::ContentMissing,
        What::Refused,
        What::Ending,
    ];
    let (file, conversation) = ("file_1", "conv_1");
    let mut errors = vec![
        ApiError::unknown_file(file),
        ApiError::no_form(),
        UploadError::TooLarge { limit: 33_554_432 }.into(),
        UploadError::NoRoom { limit: 268_435_456 }.into(),
        ApiError::no_such_range(5),
        ApiError::unknown_conversation(conversation),
        ApiError::unknown_item("msg_1"),
        TurnError::NoConversation { id: conversation.to_owned() }.into(),
        TurnError::Busy.into(),
        TurnError::Gone.into(),
        TurnError::Files { limit: 67_108_864 }.into(),
        TurnError::NoAnswer { id: "resp_1".to_owned() }.into(),
        TurnError::Unfinished { id: "resp_1".to_owned() }.into(),
        TurnError::NoRoom { limit: 1_073_741_824 }.into(),
        ApiError::nothing_kept(),
        ApiError::unknown_answer("response", "resp_1"),
        ApiError::not_in_background(),
        ApiError::no_events(),
        ApiError::cancelled(),
        ApiError::too_much_in_background(100),
    ];
    errors.extend(ALL.map(|what| ApiError::from(Unavailable::from(what))));
    errors
}

fn surface() -> Vec<ApiError> {
    let broken = io::Error::other("");
    vec![
        ApiError::not_found(),
        ApiError::method_not_allowed(None),
        ApiError::no_websocket(),
        ApiError::not_json(),
        ApiError::not_form_or_json(),
        ApiError::bad_form(&broken),
        ApiError::unknown_encoding(),
        ApiError::body_too_large(67_108_864),
        ApiError::body_unreadable(&broken),
        ApiError::body_too_slow(),
        ApiError::unsupported_route(),
        ApiError::unknown_model("gpt-x"),
        ApiError::leaving(),
        ApiError::broken(&broken),
    ]
}

/// Requests that are refused before anything is sent upstream, at least one for each code.
const REFUSED: &[&str] = &[
    r"{",
    r#"{"messages":[]}"#,
    r#"{"model":7}"#,
    r#"{"model":""}"#,
    r#"{"model":"m","messages":[]}"#,
    r#"{"model":"m","messages":[{"role":"nobody"}]}"#,
    r#"{"model":"m","max_tokens":0}"#,
    r#"{"model":"m","stop":["x"]}"#,
    r#"{"model":"m","n":2}"#,
    r#"{"model":"m","store":true}"#,
    r#"{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#,
];

fn requests() -> impl Iterator<Item = ApiError> {
    REFUSED.iter().filter_map(|body| {
        chat::translate(body.as_bytes(), &Options::PLAIN).err().map(ApiError::from)
    })
}

fn logins() -> Vec<LoginError> {
    let cause = || Arc::new(io::Error::other(""));
    let terminal = |code, message| LoginError::Terminal { code, message };
    let transient = |outage| LoginError::Transient { outage, source: None };
    let mut all = vec![LoginError::Missing];
    let lacks = [Lack::Tokens, Lack::AccessToken, Lack::RefreshToken, Lack::AccountId];
    all.extend(lacks.map(LoginError::Incomplete));
    all.extend([LoginError::AccountMismatch, LoginError::OtherIssuer]);
    all.push(terminal("rejected", "…"));
    all.push(terminal("other", "…"));
    let outages = [
        Outage::Unreachable,
        Outage::Silent,
        Outage::Status(500),
        Outage::Unreadable,
        Outage::Busy,
        Outage::Stopping,
        Outage::CutOff,
    ];
    all.extend(outages.map(transient));
    all.extend(
        [Unopened::NotAsked, Unopened::NoKey, Shut.into(), NoKeyring::Locked.into()]
            .map(|why| LoginError::Sealed { why }),
    );
    all.extend(
        [Access::Read, Access::Written]
            .map(|access| LoginError::Storage { access, source: cause() }),
    );
    all
}

fn slots() -> Vec<ApiError> {
    let at = Timestamp::UNIX_EPOCH;
    let look = |n, verdict| Look { id: SlotId::numbered(n), verdict };
    let spent = |n| {
        let span = Some(Span::FiveHours);
        look(n, Verdict::Exhausted { span, until: at, is_evident: true })
    };
    let kept = look(2, Verdict::Reserved { span: Span::Week, left: 20.0, resets_at: Some(at) });
    let none = |looks, is_full, wait| {
        ApiError::of_refusal(Refused::NoSlot(Box::new(NoneLeft { looks, is_full, wait })), at)
    };
    let wait = Some(Duration::from_mins(1));
    vec![
        none(vec![spent(1), kept], false, wait),
        none(vec![look(1, Verdict::Paused), look(2, Verdict::Disabled)], false, None),
        none(vec![look(1, Verdict::Model), look(2, Verdict::Model)], false, None),
        none(vec![look(1, Verdict::Full)], true, None),
        ApiError::unknown_slot("slot-9"),
        ApiError::unknown_request("req_1"),
        ApiError::bad_query("all_accounts"),
        ApiError::bad_control("policy"),
        ApiError::no_policy(&NoPolicy("best".to_owned())),
        ApiError::roster(&RosterError::Busy),
    ]
}

fn failures() -> Vec<Failure> {
    let cause = || Arc::new(io::Error::other(""));
    let retry_after = Some(Duration::from_secs(30));
    let resets_at = Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_hours(1)).ok();
    let refusal = |status, message: &str, param: &str, code: &str| {
        Box::new(Refusal {
            status,
            message: message.to_owned(),
            kind: None,
            param: Some(param.to_owned()),
            code: Some(code.to_owned()),
        })
    };
    let too_long = "Your input exceeds the context window of this model. \
                    Please adjust your input and try again.";
    vec![
        Failure::Unauthorized { code: None },
        Failure::Workspace { code: None },
        Failure::NotIncluded { plan_type: None },
        Failure::NoImages,
        Failure::UsageLimit(Box::new(UsageLimit { resets_at, ..UsageLimit::default() })),
        Failure::RateLimited { retry_after },
        Failure::Request(refusal(400, too_long, "input", "context_length_exceeded")),
        Failure::ModelNotFound(refusal(404, "The model …", "model", "model_not_found")),
        Failure::Overloaded { retry_after },
        Failure::Capacity { retry_after },
        Failure::Connect(cause()),
        Failure::Timeout(Deadline::Headers),
        Failure::Cut(cause()),
        Failure::TooLarge { what: "an event", limit: 32 << 20 },
        Failure::Challenge { status: 403, cf_ray: None },
        Failure::Service(Box::new(Fault { status: Some(500), ..Fault::default() })),
    ]
}

/// What else an answer can be late with.
fn lateness() -> impl Iterator<Item = Failure> {
    [Deadline::Connect, Deadline::Silence, Deadline::Total].into_iter().map(Failure::Timeout)
}

/// An event that carries output and is not what its name says.
fn unreadable() -> Option<ApiError> {
    let event = b"event: response.output_text.delta\ndata: 7\n\n";
    Collect::default().read_run(event).err().map(ApiError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stops compiling when a case is added that the page does not have.
    #[test]
    fn every_case_of_a_failure_is_on_the_page() {
        let place = |failure: &Failure| match failure {
            Failure::Unauthorized { .. } => 0,
            Failure::Workspace { .. } => 1,
            Failure::NotIncluded { .. } => 2,
            Failure::NoImages => 3,
            Failure::UsageLimit(_) => 4,
            Failure::RateLimited { .. } => 5,
            Failure::Request(_) => 6,
            Failure::ModelNotFound(_) => 7,
            Failure::Overloaded { .. } => 8,
            Failure::Capacity { .. } => 9,
            Failure::Connect(_) => 10,
            Failure::Timeout(_) => 11,
            Failure::Cut(_) => 12,
            Failure::TooLarge { .. } => 13,
            Failure::Challenge { .. } => 14,
            Failure::Service(_) => 15,
        };
        let places: Vec<_> = failures().iter().map(place).collect();
        assert_eq!(places, (0..places.len()).collect::<Vec<_>>());
        assert_eq!(requests().count(), REFUSED.len(), "each is refused");
        assert!(unreadable().is_some());
    }
}
