//! `simulate`: the imitation of the upstream as a server of its own.

use std::net::SocketAddr;

use super::{
    output::{Failure, Report, Section, Terminal},
    serve,
};
use crate::app;

pub fn run(terminal: &Terminal, port: u16, world: &[(String, String)]) -> Result<(), Failure> {
    let simulator = serve::simulator(world)?;
    let ready = |address: SocketAddr| {
        // It serves whether or not anybody reads this.
        let _shown = terminal.answer(&banner(address), None::<&()>);
    };
    Ok(app::simulate(&simulator, port, &ready)?)
}

fn banner(address: SocketAddr) -> Report {
    let at = |path: &str| format!("http://{address}{path}");
    Report::new("AIRelays Simulator")
        .section(
            Section::new("Imitated")
                .field("Inference", at("/backend-api/codex"))
                .field("Usage", at("/backend-api/wham/usage"))
                .field("Issuer", at("")),
        )
        .section(
            Section::new("Control")
                .field("Requests", at("/sim/requests"))
                .field("Login", at("/sim/login")),
        )
}
