//! The relay itself: whether one runs, which one, and who has the port.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::Full;
use serde::Deserialize;
use tower::ServiceExt;

use super::{Check, network::root};
use crate::{
    app,
    cli::{
        Session,
        remote::{NoAnswer, Remote},
    },
    config::{Config, shown},
    transport::{self, NetworkSettings, Transport, chain},
};

const PATIENCE: Duration = Duration::from_secs(2);
const LIMIT: usize = 64 << 10;
const OWN: &str = env!("CARGO_PKG_VERSION");

/// A sign of life.
#[derive(Debug, Deserialize)]
struct Health {
    app_name: String,
    version: String,
}

/// What the relay says of itself, as far as it is of interest.
#[derive(Debug, Default, Deserialize)]
struct Report {
    #[serde(default)]
    traffic_log: Log,
}

#[derive(Debug, Default, Deserialize)]
struct Log {
    #[serde(default)]
    records_lost: u64,
    #[serde(default)]
    last_error: Option<String>,
}

/// Who is at the address of the settings.
#[derive(Debug, PartialEq, Eq)]
enum There {
    Relay {
        version: String,
    },
    /// Nobody, and a relay could listen.
    Free,
    /// Somebody who is no relay, as far as can be seen.
    Taken,
    /// Nobody, and no relay could listen either.
    Unusable(String),
}

pub async fn checks(session: &Session<'_>, config: &Config) -> Vec<Check> {
    let (running, is_running) = running(session, config).await;
    let mut checks = vec![running];
    if let Some(address) = address(config) {
        let elsewhere = session.command("airelays serve --port 0");
        checks.push(port(&there(config).await, is_running, &address, &elsewhere));
    }
    checks
}

/// Where clients would find it. `None` for any free port.
fn address(config: &Config) -> Option<String> {
    match (&config.server.unix_socket, config.server.port) {
        (Some(path), _) => Some(shown(path)),
        (None, 0) => None,
        (None, port) => Some(format!("{}:{port}", config.server.host)),
    }
}

/// The relay of this data directory, and whether there is one.
async fn running(session: &Session<'_>, config: &Config) -> (Check, bool) {
    const NAME: &str = "relay";
    let remote = match Remote::find(config) {
        None => {
            let check = Check::pass(NAME, "none runs on this data directory");
            return (check.details([session.serve_command(config) + " starts one"]), false);
        }
        Some(Err(error)) => return (Check::warn(NAME, chain(&error)), true),
        Some(Ok(remote)) => remote,
    };
    let asked = async {
        let health: Health = remote.get("/healthz").await?;
        let report: Report = remote.get("/v1/relay/status").await?;
        Ok::<_, NoAnswer>((health, report.traffic_log))
    };
    let check = match tokio::time::timeout(PATIENCE, asked).await {
        Err(_) => Check::fail(NAME, "one runs, and does not answer in time")
            .step("see its log, or start it again"),
        Ok(Err(error)) => Check::warn(NAME, chain(&error)).step("see its log, or start it again"),
        Ok(Ok((health, log))) => alive(&health.version, &log),
    };
    (check, true)
}

fn alive(version: &str, log: &Log) -> Check {
    const NAME: &str = "relay";
    if log.records_lost > 0 || log.last_error.is_some() {
        let error = log.last_error.as_deref().unwrap_or("its queue was full");
        let text =
            format!("version {version} runs; its log lost {} records: {error}", log.records_lost);
        return Check::warn(NAME, text).step("see whether the logs directory can be written to");
    }
    if version != OWN {
        let text = format!("version {version} runs, and this command is {OWN}");
        return Check::warn(NAME, text).step("start the relay again");
    }
    Check::pass(NAME, format!("version {version} runs"))
}

/// What that means for a relay. `elsewhere` is how it is started at another address.
fn port(there: &There, is_running: bool, address: &str, elsewhere: &str) -> Check {
    const NAME: &str = "port";
    let taken =
        |text: String| Check::fail(NAME, text).step(elsewhere).step("or end what listens there");
    match (there, is_running) {
        (There::Relay { .. }, true) => Check::pass(NAME, format!("it answers at {address}")),
        (There::Relay { version }, false) => {
            taken(format!("a relay of another data directory (version {version}) has {address}"))
        }
        (There::Free, false) => Check::pass(NAME, format!("{address} is free")),
        (There::Free, true) => {
            let text = format!("nobody listens at {address}: the relay was told another address");
            Check::pass(NAME, text)
        }
        // One that speaks TLS, or that this machine's own address is not for.
        (There::Taken, true) => {
            Check::pass(NAME, format!("{address} is taken, by the relay as it seems"))
        }
        (There::Taken, false) => {
            taken(format!("{address} is in use: another program listens there"))
        }
        (There::Unusable(why), _) => {
            Check::fail(NAME, format!("nobody can listen at {address}: {why}"))
                .step("see server.host and server.port in the settings")
        }
    }
}

async fn there(config: &Config) -> There {
    let server = &config.server;
    let base = server.base_url(server.port);
    let uri = format!("{}/healthz", base.trim_end_matches("/v1"));
    let way = way(server.unix_socket.as_deref());
    let health = tokio::time::timeout(PATIENCE, health(way, &uri)).await.ok().flatten();
    if let Some(health) = health.filter(|health| health.app_name == crate::describe::APP_NAME) {
        return There::Relay { version: health.version };
    }
    if let Some(path) = &server.unix_socket {
        let is_taken = tokio::net::UnixStream::connect(path).await.is_ok();
        return if is_taken { There::Taken } else { There::Free };
    }
    match app::bind(&server.host, server.port).await {
        Ok(_) => There::Free,
        Err(app::Error::InUse { .. }) => There::Taken,
        Err(error) => There::Unusable(root(&error)),
    }
}

fn way(socket: Option<&Path>) -> Transport {
    let settings = NetworkSettings {
        connect_timeout: PATIENCE,
        user_agent: concat!("airelays/", env!("CARGO_PKG_VERSION")).into(),
        socket: socket.map(Path::to_owned),
    };
    transport::network(settings).transport()
}

async fn health(way: Transport, uri: &str) -> Option<Health> {
    let request = Request::builder().uri(uri).header(HOST, "localhost");
    let request = request.body(Full::new(Bytes::new())).ok()?;
    let answer = way.oneshot(request).await.ok()?;
    let body = transport::read_at_most(answer.into_body(), LIMIT).await.ok()?;
    serde_json::from_slice(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Status;

    #[test]
    fn a_port_is_for_this_relay_or_for_nobody() {
        let relay = || There::Relay { version: "0.9.0".to_owned() };
        for (there, is_running, status) in [
            (relay(), true, Status::Pass),
            (relay(), false, Status::Fail),
            (There::Free, false, Status::Pass),
            (There::Free, true, Status::Pass),
            (There::Taken, true, Status::Pass),
            (There::Taken, false, Status::Fail),
            (There::Unusable("no such address".to_owned()), false, Status::Fail),
        ] {
            let check = port(&there, is_running, "127.0.0.1:8080", "elsewhere");
            assert_eq!(check.status, status, "{there:?}, {is_running}");
        }
    }

    #[test]
    fn another_version_and_a_log_that_loses_records_are_told() {
        let quiet = Log::default();
        let loses = Log { records_lost: 3, last_error: Some("the disk is full".to_owned()) };
        for (version, log, status, text) in [
            (OWN, &quiet, Status::Pass, format!("version {OWN} runs")),
            (
                "0.0.1",
                &quiet,
                Status::Warn,
                format!("version 0.0.1 runs, and this command is {OWN}"),
            ),
            (
                OWN,
                &loses,
                Status::Warn,
                format!("version {OWN} runs; its log lost 3 records: the disk is full"),
            ),
        ] {
            let check = alive(version, log);
            assert_eq!((check.status, check.message), (status, text));
        }
    }
}
