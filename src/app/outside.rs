//! What lies beyond the relay: the network and the owner's login, or an imitation of both.

use axum::Router;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{Error, LOOPBACK, SIMULATED, Simulation, bind, network, scratch};
use crate::{
    auth::{apart::Apart, file::Store, vault::Vault},
    config::Config,
    private_file,
    transport::{self, Network, Transport},
};

/// What is wanted of the two.
pub(crate) enum Beyond {
    Network {
        store: Store,
        /// Whoever renews the login in place of this process.
        apart: Option<Apart>,
    },
    Imitation(Simulation),
}

/// What there is.
pub(super) struct Outside {
    pub transport: Transport,
    pub network: Option<Network>,
    pub apart: Option<Apart>,
    pub base_url: String,
    pub issuer: String,
    pub store: Store,
    pub imitation: Option<(TcpListener, Router)>,
    pub scratch: Option<TempDir>,
}

impl Outside {
    pub async fn new(beyond: Beyond, config: &Config) -> Result<Self, Error> {
        match beyond {
            Beyond::Network { store, apart } => Ok(Self::network(config, store, apart)),
            Beyond::Imitation(simulation) => Self::imitation(simulation).await,
        }
    }

    fn network(config: &Config, store: Store, apart: Option<Apart>) -> Self {
        let network = network(config.upstream.connect_timeout);
        Self {
            transport: network.transport(),
            network: Some(network),
            apart,
            base_url: config.upstream.base_url.clone(),
            issuer: config.upstream.issuer_base_url.clone(),
            store,
            imitation: None,
            scratch: None,
        }
    }

    async fn imitation(Simulation { simulator, port }: Simulation) -> Result<Self, Error> {
        let scratch = scratch()?;
        let auth_file = scratch.path().join("auth.json");
        private_file::replace(&auth_file, simulator.stored_login().as_bytes())
            .map_err(|source| Error::Write { path: auth_file.clone(), source })?;
        let imitation = match port {
            Some(port) => Some((bind(LOOPBACK, port).await?, simulator.router())),
            None => None,
        };
        Ok(Self {
            transport: transport::local(simulator.router()),
            network: None,
            apart: None,
            base_url: format!("{SIMULATED}/backend-api/codex"),
            issuer: SIMULATED.to_owned(),
            store: Store::new(&auth_file, Vault::none()),
            imitation,
            scratch: Some(scratch),
        })
    }
}
