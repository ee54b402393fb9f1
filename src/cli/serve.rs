//! `serve`: what must be so before the relay starts, and what it says once it listens.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use clap::Args;

use super::{
    Session,
    init::without_auth,
    output::{Failure, Report, Section, Tone},
    status,
};
use crate::{
    app::{self, Beyond, Place, Server, Simulation},
    auth::{
        LoginError,
        apart::Apart,
        file::{How, SettleError, Settled, Store},
    },
    config::{self, Config, Raw, shown, table},
    describe::{Auth, configured_token},
    relay_token,
    sim::{Simulator, World},
    slot::SlotId,
    transport::chain,
};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "these are flags of a command")]
pub struct Options {
    /// Address to listen on
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Unix socket to listen on in place of host and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port"])]
    unix_socket: Option<PathBuf>,
    /// Who may connect
    #[arg(long, value_name = "SCOPE", value_parser = ["loopback", "private", "any"])]
    network_scope: Option<String>,
    /// Serve clients without a token
    #[arg(long)]
    no_auth: bool,
    /// Serve clients without a token even where other machines can reach the relay
    #[arg(long)]
    allow_open_network: bool,
    /// Which of several accounts serves a new dialogue
    #[arg(long, value_name = "POLICY")]
    balance: Option<String>,
    /// Keep answers on this machine for clients that want it
    #[arg(long)]
    stateful: bool,
    /// Use the imitation of the upstream: no login, no network
    #[arg(long)]
    simulate: bool,
    /// Port on this machine where the imitation can be reached as well
    #[arg(long, value_name = "N", requires = "simulate")]
    simulator_port: Option<u16>,
    /// Something about the world that is imitated; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = world, requires = "simulate")]
    world: Vec<(String, String)>,
}

/// Reads `KEY=VALUE`.
pub fn world(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as KEY=VALUE".to_owned()),
    }
}

pub fn run(session: &Session<'_>, options: &Options) -> Result<(), Failure> {
    let port = options.port.map(|port| config::word(&port.to_string()));
    let scope = options.network_scope.as_ref().map(config::word);
    let allowed = options.allow_open_network.then_some(Raw::Switch(true));
    let flags = session
        .flags()
        .flag(&table::HOST.about, "--host", options.host.as_ref().map(config::word))
        .flag(&table::PORT.about, "--port", port)
        .flag(&table::UNIX_SOCKET.about, "--unix-socket", socket(options))
        .flag(&table::NETWORK_SCOPE.about, "--network-scope", scope)
        .flag(&table::ALLOW_OPEN_NETWORK.about, "--allow-open-network", allowed)
        .flag(&table::STATEFUL.about, "--stateful", options.stateful.then_some(Raw::Switch(true)))
        .flag(&table::SLOT_POLICY.about, "--balance", options.balance.as_ref().map(config::word));
    let flags = if options.no_auth { without_auth(flags) } else { flags };
    let config = Arc::new(session.settings_with(flags)?);
    Session::ensure_own(&config)?;
    ensure_token(&config)?;
    let store = (!options.simulate).then(|| app::store(&config));
    let beyond = if let Some(store) = &store {
        let apart = Some(apart(session, &config)?);
        Beyond::Network { store: store.clone(), apart }
    } else {
        let simulator = simulator(&options.world)?;
        Beyond::Imitation(Simulation { simulator, port: options.simulator_port })
    };
    let shown = Arc::clone(&config);
    let ready = |server: &Server| {
        // Only now is the data directory this relay's alone.
        if let Some(store) = &store {
            settle_all(session, &shown, store);
        }
        let banner = banner(session, &shown, server.place(), server.simulator_address());
        // The relay serves whether or not anybody reads this.
        let _shown = session.terminal.answer(&banner, None::<&()>);
    };
    let grace = config.server.shutdown_grace.as_secs();
    let stopping = || {
        session.terminal.tell(&format!(
            "Stopping; answers under way have {grace} s to end. Ctrl-C again ends them now."
        ));
    };
    Ok(app::serve(config, beyond, &ready, &stopping)?)
}

/// The process that renews the login in place of the relay's.
pub fn apart(session: &Session<'_>, config: &Config) -> Result<Apart, Failure> {
    let others = session.environment.of_others();
    let others = others.map(|(name, value)| (name.into(), value.into())).collect();
    let apart = Apart::new(config.upstream.connect_timeout, others);
    Ok(apart.map_err(|source| app::Error::System { what: "its own name", source })?)
}

/// Sees that the owner's logins are where they should be, and says what is wrong with them.
fn settle_all(session: &Session<'_>, config: &Config, store: &Store) {
    let listing = app::roster(config).read().unwrap_or_default();
    if let Some(policy) = listing.policy.filter(|policy| *policy != config.slots.policy) {
        session.terminal.tell(&format!(
            "The policy is {policy}, as chosen with `airelays slot policy`; `airelays slot policy \
             default` goes back to {}.",
            config.slots.policy
        ));
    }
    if listing.members.is_empty() || listing.is_single() {
        settle(session, store);
        warn_of_login(session, config, (None, store));
        return;
    }
    for member in &listing.members {
        let store = app::store_at(config, &member.auth_file);
        settle(session, &store);
        warn_of_login(session, config, (Some(&member.id), &store));
    }
}

/// Sees that one login is where it should be.
fn settle(session: &Session<'_>, store: &Store) {
    let terminal = &session.terminal;
    match store.settle() {
        Ok(Settled::CarriedOver(how)) => terminal.tell(&format!(
            "The login that an earlier AIRelays kept in the keyring was taken over{}. That one has \
             to sign in again if you go back to it.",
            match how {
                How::Sealed => "",
                How::Open | How::OpenFor(_) => ", into a file",
            }
        )),
        Ok(Settled::Sealed) => terminal.tell("The login was encrypted with a key in the keyring."),
        Err(error) if error.is_locked() => {
            terminal.tell("The keyring is locked; the relay needs it for the login.");
            unlock(store.clone());
        }
        Err(SettleError::Put(error)) => {
            terminal.warn(&format!("The login is not encrypted: {}", chain(&error)));
        }
        Err(SettleError::Read(error)) if !store.path().exists() => {
            terminal.warn(&format!("The login in the keyring cannot be used: {}", chain(&error)));
        }
        // It is told below.
        Err(SettleError::Read(_)) | Ok(Settled::Nothing) => {}
    }
}

/// Asks the owner to unlock the keyring. Nobody waits for that: there may be nobody to do it, and the
/// relay looks again whenever the login is needed.
fn unlock(store: Store) {
    let asking = thread::Builder::new().name("unlock".to_owned());
    let _asking = asking.spawn(move || {
        // Nothing is held meanwhile that somebody else could need.
        match store.vault().unlock() {
            Err(error) => tracing::debug!(error = &*chain(&error), "the keyring stays locked"),
            Ok(()) => {
                if let Err(error) = store.settle() {
                    tracing::debug!(error = &*chain(&error), "the login stays where it is");
                }
            }
        }
    });
}

/// Says at the start what every request would say. It may be mended while the relay runs.
fn warn_of_login(session: &Session<'_>, config: &Config, (slot, store): (Option<&SlotId>, &Store)) {
    let auth = Auth::of(config, store, &config.upstream.issuer_base_url);
    let warn = |text: &str| match slot {
        Some(slot) => session.terminal.warn(&format!("{slot}: {text}")),
        None => session.terminal.warn(text),
    };
    if let Some(problem) = auth.problem {
        warn(&problem);
    } else if !auth.login.credentials_present {
        warn(&LoginError::Missing.to_string());
    } else if !auth.login.ready_for_requests {
        warn(&LoginError::AccountMismatch.to_string());
    }
}

/// A host or a port on the command line means the network, whatever the file says.
fn socket(options: &Options) -> Option<Raw> {
    let is_network = options.host.is_some() || options.port.is_some();
    let none = is_network.then(|| config::word(""));
    options.unix_socket.as_ref().map(config::word).or(none)
}

/// The imitation of the upstream in a world with the given switches.
pub fn simulator(switches: &[(String, String)]) -> Result<Simulator, Failure> {
    let pairs: Vec<_> =
        switches.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let world = World::from_pairs(&pairs).map_err(|error| Failure::World(error.to_string()))?;
    Ok(Simulator::start(world))
}

/// Sees to it that there is a token that clients can present, unless none is asked for.
fn ensure_token(config: &Config) -> Result<(), Failure> {
    if !config.security.require_bearer_auth {
        return Ok(());
    }
    let path: &Path = &config.security.bearer_token_file;
    let found = configured_token(config)
        .current()
        .map_err(Failure::file("read the relay token in", path))?;
    match (found, config.security.auto_generate_bearer_token) {
        (Some(_), _) => Ok(()),
        (None, true) => {
            relay_token::rotate(path).map_err(Failure::file("write the relay token to", path))?;
            Ok(())
        }
        (None, false) => Err(Failure::NoRelayToken),
    }
}

/// Shown when the listener is bound.
fn banner(
    session: &Session<'_>,
    config: &Config,
    place: &Place,
    simulator: Option<SocketAddr>,
) -> Report {
    let listener = Section::new("Listener");
    let listener = match place {
        Place::Network(address) => listener
            .field("Base URL", config.server.base_url(address.port()))
            .field("Host", &config.server.host)
            .field("Port", address.port()),
        Place::Socket(path) => {
            listener.field("Base URL", config.server.base_url(0)).field("Unix socket", shown(path))
        }
    };
    let listener = listener.field("Network scope", config.effective_scope().as_str());
    let auth = Section::new("Client Auth");
    let auth = if config.security.require_bearer_auth {
        auth.toned("Bearer auth", "required", Tone::Good)
            .field("Token source", configured_token(config).source().as_str())
            .field("Token file", shown(&config.security.bearer_token_file))
            .field("Auth header", super::client::HEADER)
            .field("Reveal token", session.command("airelays token show"))
    } else {
        auth.toned("Bearer auth", "disabled", Tone::Warn)
            .toned("Access mode", "open", Tone::Warn)
            .field("Client key", "optional placeholder only")
    };
    let report = Report::new("AIRelays Server").section(listener).section(auth);
    // What cannot be read now stopped the start already, or will be told by who asks.
    let accounts = status::accounts(config).unwrap_or_default().0;
    let report = match simulator {
        None => report.section(status::accounts_section(&accounts, None)),
        Some(_) => report,
    };
    match simulator {
        Some(address) => {
            report.section(Section::new("Simulator").field("Address", format!("http://{address}")))
        }
        None => report,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::cli::{Environment, Shared, output::Terminal};

    fn environment(home: &Path, variables: &[(&str, &str)]) -> Environment {
        let home = ("HOME", home.to_str().expect("text"));
        variables.iter().copied().chain([home]).collect()
    }

    fn check(variables: &[(&str, &str)], port: u16, expected: &Expect) {
        let environment = environment(Path::new("/home/me"), variables);
        let terminal = Terminal::new(&environment);
        let session = Session { shared: Shared::default(), environment: &environment, terminal };
        let config = Config::load(session.flags(), &environment).expect("fine");
        let place = match &config.server.unix_socket {
            Some(path) => Place::Socket(path.clone()),
            None => Place::Network(SocketAddr::from(([127, 0, 0, 1], port))),
        };
        expected.assert_eq(&banner(&session, &config, &place, None).render(false));
    }

    #[test]
    fn the_banner_names_the_port_that_was_bound() {
        check(
            &[("AIRELAYS_PORT", "0"), ("AIRELAYS_HOST", "::")],
            4711,
            &expect![[r#"
                AIRelays Server

                Listener
                  Base URL:          http://[::1]:4711/v1
                  Host:              ::
                  Port:              4711
                  Network scope:     private

                Client Auth
                  Bearer auth:       required
                  Token source:      file
                  Token file:        /home/me/.airelays/relay-token
                  Auth header:       Authorization: Bearer <AIRelays token>
                  Reveal token:      airelays token show
            "#]],
        );
    }

    #[test]
    fn the_banner_of_a_socket_names_its_file() {
        check(
            &[("AIRELAYS_UNIX_SOCKET", "/run/me/relay.sock")],
            0,
            &expect![[r#"
            AIRelays Server

            Listener
              Base URL:          http://localhost/v1
              Unix socket:       /run/me/relay.sock
              Network scope:     loopback

            Client Auth
              Bearer auth:       required
              Token source:      file
              Token file:        /home/me/.airelays/relay-token
              Auth header:       Authorization: Bearer <AIRelays token>
              Reveal token:      airelays token show
        "#]],
        );
    }

    #[test]
    fn the_banner_of_an_open_relay_says_so() {
        check(
            &[("AIRELAYS_REQUIRE_BEARER_AUTH", "no")],
            8080,
            &expect![[r#"
                AIRelays Server

                Listener
                  Base URL:          http://127.0.0.1:8080/v1
                  Host:              127.0.0.1
                  Port:              8080
                  Network scope:     loopback

                Client Auth
                  Bearer auth:       disabled
                  Access mode:       open
                  Client key:        optional placeholder only
            "#]],
        );
    }

    #[test]
    fn a_token_is_needed_unless_the_relay_is_open_or_may_make_one() {
        let home = tempfile::tempdir().expect("directory");
        let ensured = |variables: &[(&str, &str)]| {
            let environment = environment(home.path(), variables);
            ensure_token(&Config::load(config::Layer::default(), &environment).expect("fine"))
        };
        assert!(matches!(ensured(&[]), Err(Failure::NoRelayToken)));
        assert!(ensured(&[("AIRELAYS_REQUIRE_BEARER_AUTH", "0")]).is_ok());
        assert!(ensured(&[("AIRELAYS_BEARER_TOKEN", "abc")]).is_ok());
        assert!(!home.path().join(".airelays").exists());
        ensured(&[("AIRELAYS_AUTO_GENERATE_BEARER_TOKEN", "1")]).expect("made");
        let made = std::fs::read(home.path().join(".airelays/relay-token")).expect("there");
        assert_eq!(made.len(), 44);
        assert!(ensured(&[]).is_ok());
    }

    #[test]
    fn a_world_is_told_in_pairs() {
        assert_eq!(world("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(world("a="), Ok(("a".to_owned(), String::new())));
        assert!(world("=b").is_err() && world("ab").is_err());
    }
}
