//! The real program before a simulator with a socket of its own: a home, a login, and no network.

use std::{path::PathBuf, process::Command};

use airelays::sim::{Simulator, World};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    program::{Program, command},
    write,
};

/// A home with a login, and those beyond the relay. Relays come and go.
#[derive(Debug)]
pub struct Place {
    pub home: TempDir,
    pub simulator: Simulator,
    beyond: String,
    serving: JoinHandle<()>,
}

impl Place {
    pub async fn new() -> Self {
        let simulator = Simulator::start(World::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let beyond = format!("http://{}", listener.local_addr().expect("bound"));
        let router = simulator.router();
        let serving =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        let place =
            Self { home: tempfile::tempdir().expect("a folder"), simulator, beyond, serving };
        place.log_in();
        place
    }

    pub fn log_in(&self) {
        write(&self.login_file(), &self.simulator.stored_login_for("first"));
    }

    pub fn login_file(&self) -> PathBuf {
        self.home.path().join(".airelays/auth.json")
    }

    /// Starts a relay that is set up by nothing else.
    pub fn relay(&self) -> Program {
        Program::spawn(self.serve())
    }

    /// The command that starts a relay.
    pub fn serve(&self) -> Command {
        self.command("serve --port 0")
    }

    /// Any command.
    pub fn command(&self, line: &str) -> Command {
        let mut command = command(self.home.path(), line);
        command
            .env("AIRELAYS_UPSTREAM_BASE_URL", format!("{}/backend-api/codex", self.beyond))
            .env("AIRELAYS_ISSUER_BASE_URL", &self.beyond);
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
