//! What a client needs to know to call the relay: the part that all commands share.

use serde::Serialize;

use super::{
    Session,
    output::{Section, Tone},
};
use crate::{
    config::{Config, shown},
    secret::Secret,
};

/// The sentence for SDKs in open mode.
const PLACEHOLDER: &str = "Any non-empty placeholder works when an SDK insists on an API key.";
/// The header that clients send, with a placeholder for the token.
pub const HEADER: &str = "Authorization: Bearer <AIRelays token>";

/// As it stands in every JSON document of the commands.
#[derive(Debug, Serialize)]
pub struct Client {
    base_url: String,
    models_url: String,
    requires_bearer_auth: bool,
    #[serde(flatten)]
    access: Access,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Access {
    Token {
        authorization_header: &'static str,
        token_file: String,
        reveal_token_command: String,
        rotate_token_command: String,
        #[serde(flatten)]
        token: Option<Revealed>,
    },
    Open {
        api_key_note: &'static str,
    },
}

/// The token under every name that a release has had for it.
#[derive(Debug, Serialize)]
struct Revealed {
    client_api_key: String,
    relay_token: String,
    openai_api_key_env: String,
}

impl Client {
    /// `token` is given when it is to be shown.
    pub fn new(session: &Session<'_>, config: &Config, token: Option<&Secret>) -> Self {
        let base_url = config.server.base_url(config.server.port);
        let requires_bearer_auth = config.security.require_bearer_auth;
        let access = if requires_bearer_auth {
            Access::Token {
                authorization_header: HEADER,
                token_file: shown(&config.security.bearer_token_file),
                reveal_token_command: session.command("airelays token show"),
                rotate_token_command: session.command("airelays token rotate"),
                token: token.map(|token| Revealed {
                    client_api_key: token.expose().to_owned(),
                    relay_token: token.expose().to_owned(),
                    openai_api_key_env: format!("OPENAI_API_KEY={}", token.expose()),
                }),
            }
        } else {
            Access::Open { api_key_note: PLACEHOLDER }
        };
        Self { models_url: format!("{base_url}/models"), base_url, requires_bearer_auth, access }
    }

    pub fn section(&self) -> Section {
        let section = Section::new("Client Setup")
            .field("Base URL", &self.base_url)
            .field("Models URL", &self.models_url);
        match &self.access {
            Access::Token {
                authorization_header,
                token_file,
                reveal_token_command,
                rotate_token_command,
                token,
            } => {
                let section = section
                    .toned("Bearer auth", "required", Tone::Good)
                    .field("Token file", token_file)
                    .field("Auth header", authorization_header);
                let section = match token {
                    Some(token) => section
                        .field("Relay token", &token.relay_token)
                        .field("Export key", &token.openai_api_key_env),
                    None => section.field("Reveal token", reveal_token_command),
                };
                section.field("Rotate token", rotate_token_command)
            }
            Access::Open { api_key_note } => section
                .toned("Bearer auth", "disabled", Tone::Warn)
                .toned("Access mode", "open", Tone::Warn)
                .field("Client key", "optional placeholder only")
                .field("SDK note", api_key_note),
        }
    }
}
