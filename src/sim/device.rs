//! The device flow: a code to type, a page to type it on, and polling until that is done.
//!
//! A login approves itself after some polls, or at once when its code is opened on the page.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Uri};
use sha2::{Digest, Sha256};

use crate::sim::{
    Simulator,
    account::CLIENT_ID,
    answer::{Answer, Wrong},
    form::{pairs, value},
    oauth::{Code, Redirect, read_form},
    tree::object,
    world::{Device, Pending},
};

/// How long a device login may take, in seconds.
const LIFETIME: i64 = 15 * 60;

#[derive(Debug, Default)]
pub(super) struct Devices(HashMap<String, Login>);

#[derive(Clone, Debug)]
struct Login {
    user_code: String,
    /// Whole seconds since 1970.
    made: i64,
    polls: u64,
    approved: bool,
}

impl Simulator {
    /// `POST /api/accounts/deviceauth/usercode`.
    pub(super) fn device_start(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let world = self.world();
        if world.device == Device::Disabled {
            return Answer::detail(404, "Not Found");
        }
        if value(&read_form(headers, body), "client_id") != CLIENT_ID {
            return refused("client_id");
        }
        let id = self.mint().id("deviceauth_");
        let letters = self.mint().hex(8).to_uppercase();
        let user_code = format!("{}-{}", &letters[..4], &letters[4..]);
        let login =
            Login { user_code: user_code.clone(), made: self.unix(), polls: 0, approved: false };
        self.devices().0.insert(id.clone(), login);
        Answer::json(
            200,
            &object! {
                "device_auth_id": id,
                "user_code": user_code,
                "interval": world.device_interval.to_string(),
            },
        )
    }

    /// `POST /api/accounts/deviceauth/token`.
    pub(super) fn device_poll(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let world = self.world();
        let form = read_form(headers, body);
        let pending = match world.device_pending {
            Pending::Forbidden => 403,
            Pending::NotFound => 404,
        };
        let mut devices = self.devices();
        let id = value(&form, "device_auth_id");
        let given = [value(&form, "user_code"), value(&form, "usercode")];
        let login = devices.0.get_mut(id).filter(|login| given.contains(&login.user_code.as_str()));
        let Some(login) = login else { return refused("device_auth_id") };
        let expired = login.made.saturating_add(LIFETIME) <= self.unix();
        if expired || world.device == Device::Expired {
            return ended("expired_token", "The device code has expired.");
        }
        if world.device == Device::Denied {
            return ended("access_denied", "The user denied the request.");
        }
        if login.polls < world.device_polls && !login.approved {
            login.polls += 1;
            let message = "Device authorization is pending.";
            let wrong =
                Wrong { message, param: None, code: Some("deviceauth_authorization_unknown") };
            return Answer::wrong(pending, wrong);
        }
        devices.0.remove(id);
        drop(devices);
        let verifier = self.mint().hex(64);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let name = format!("ac_{}", self.mint().hex(43));
        let code = Code {
            account: self.login_account(&world, ""),
            redirect: Redirect::EndsWith("/deviceauth/callback"),
            challenge: challenge.clone(),
            made: self.unix(),
        };
        self.codes().add(name.clone(), code);
        Answer::json(
            200,
            &object! {
                "authorization_code": name,
                "code_challenge": challenge,
                "code_verifier": verifier,
            },
        )
    }

    /// `GET /codex/device`, where a code given as `user_code` is approved.
    pub(super) fn device_page(&self, uri: &Uri) -> Answer {
        let query = pairs(uri.query().unwrap_or_default());
        let given = value(&query, "user_code");
        let mut devices = self.devices();
        let login = devices.0.values_mut().find(|login| login.user_code == given);
        let said = match login {
            Some(login) => {
                login.approved = true;
                "<p>The simulated device is signed in. You can close this page.</p>"
            }
            None => {
                "<form><label>Code <input name=\"user_code\"></label> <button>Sign in</button></form>"
            }
        };
        Answer::html(200, format!("<!DOCTYPE html><title>Simulated device login</title>{said}\n"))
    }
}

fn refused(param: &str) -> Answer {
    let message = format!("Invalid value for '{param}'.");
    let code = Some("invalid_request");
    Answer::wrong(400, Wrong { message: &message, param: Some(param), code })
}

fn ended(code: &str, message: &str) -> Answer {
    Answer::wrong(400, Wrong { message, param: None, code: Some(code) })
}
