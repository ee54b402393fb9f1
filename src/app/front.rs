//! The listener that clients connect to: where it is, how far it can be reached, what it speaks.
//!
//! **Invariant:** nobody is served without a token who is not on this machine, unless the owner
//! has said so by name; and never from everywhere.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{Error, bind};
use crate::{
    address::{self, Scope},
    api::body::Pace,
    config::{self, Config, Security},
    listen::{self, Listener, Origin, tls},
    private_file::{self, NoSocket},
};

/// Far above any chain of certificates.
const PEM_BYTES: u64 = 1 << 20;

/// Where the relay can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Network(SocketAddr),
    Socket(PathBuf),
}

#[derive(Debug)]
pub struct Front {
    pub listener: Listener,
    pub place: Place,
    /// Who may connect to it.
    pub scope: Scope,
}

impl Front {
    /// Binds what the settings name.
    ///
    /// # Errors
    ///
    /// When it is taken, too open, or has no usable certificate.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        if let Some(path) = &config.server.unix_socket {
            return Self::at(path, &config.security);
        }
        let identity = identity(config)?;
        let listener = bind(&config.server.host, config.server.port).await?;
        // What was really bound counts: a name may lead anywhere.
        let address = super::local_address(&listener)?;
        let scope = reach(Some(address.ip()), &config.security)?;
        let listener = Listener::new(Origin::Network(listener), identity);
        Ok(Self { listener, place: Place::Network(address), scope })
    }

    fn at(path: &Path, security: &Security) -> Result<Self, Error> {
        let scope = reach(None, security)?;
        let failed = |source| match source {
            NoSocket::Taken => Error::InUse { address: path.display().to_string() },
            NoSocket::Occupied | NoSocket::Exposed | NoSocket::System(_) => {
                Error::Socket { path: path.to_owned(), source }
            }
        };
        let made = private_file::listen(path).map_err(failed)?;
        let listener = Listener::at_socket(made).map_err(|source| failed(source.into()))?;
        Ok(Self { listener, place: Place::Socket(path.to_owned()), scope })
    }
}

/// Who may connect to a listener at `address`, or at a socket in the file system.
fn reach(address: Option<IpAddr>, security: &Security) -> Result<Scope, Error> {
    let is_open = !security.require_bearer_auth;
    if is_open && security.network_scope == Scope::Any {
        return Err(Error::OpenToAnybody);
    }
    match address {
        None => Ok(Scope::Loopback),
        Some(address) if address::is_loopback(address) => Ok(Scope::Loopback),
        Some(address) if is_open && !security.allow_open_network => Err(Error::Open { address }),
        Some(_) => Ok(security.network_scope),
    }
}

/// What clients may do to their connections.
pub fn limits(server: &config::Server) -> listen::Settings {
    let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    listen::Settings {
        most: listen::Most {
            all: number(server.max_connections),
            of_one_client: number(server.max_connections_per_client),
        },
        head: server.header_timeout,
        body: Pace { gap: server.body_idle_timeout, total: server.body_timeout },
        write: server.write_timeout,
        grace: server.shutdown_grace,
    }
}

fn identity(config: &Config) -> Result<Option<tls::Identity>, Error> {
    let Some(pair) = &config.server.tls else { return Ok(None) };
    let read = |path: &Path| -> Result<Vec<u8>, Error> {
        let found = private_file::read(path, PEM_BYTES)
            .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()));
        found.map_err(|source| Error::Read { path: path.to_owned(), source })
    };
    let (certificate, key) = (read(&pair.certificate)?, read(&pair.key)?);
    tls::Identity::from_pem(&certificate, &key).map(Some).map_err(Error::Certificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Layer};

    /// What becomes of a listener at `address` with the given settings.
    fn check(address: Option<&str>, variables: &[(&str, &str)]) -> String {
        let home = [("HOME", "/nowhere")];
        let environment: Environment = home.iter().chain(variables).copied().collect();
        let config = Config::load(Layer::default(), &environment).expect("fine");
        let address = address.map(|address| address.parse().expect("an address"));
        match reach(address, &config.security) {
            Ok(scope) => scope.as_str().to_owned(),
            Err(Error::Open { .. }) => "open".to_owned(),
            Err(Error::OpenToAnybody) => "open to anybody".to_owned(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn no_combination_opens_the_relay_by_accident() {
        let wide = ["0.0.0.0", "::", "192.168.0.2", "203.0.113.7", "::ffff:10.0.0.1"];
        let near = ["127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1"];
        for scope in ["loopback", "private", "any"] {
            for allow in ["0", "1"] {
                for auth in ["0", "1"] {
                    let variables = [
                        ("AIRELAYS_NETWORK_SCOPE", scope),
                        ("AIRELAYS_ALLOW_OPEN_NETWORK", allow),
                        ("AIRELAYS_REQUIRE_BEARER_AUTH", auth),
                    ];
                    let expected = |is_wide: bool| match (scope, allow, auth) {
                        ("any", _, "0") => "open to anybody",
                        (_, "0", "0") if is_wide => "open",
                        _ if is_wide => scope,
                        _ => "loopback",
                    };
                    let case = format!("{scope} {allow} {auth}");
                    for address in wide {
                        assert_eq!(check(Some(address), &variables), expected(true), "{case}");
                    }
                    for address in near {
                        assert_eq!(check(Some(address), &variables), expected(false), "{case}");
                    }
                    assert_eq!(check(None, &variables), expected(false), "{case}");
                }
            }
        }
    }
}
