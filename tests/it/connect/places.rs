//! Where a relay can be: at a Unix socket, behind TLS, and alone in its data directory.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use airelays::{app, sim};
use tempfile::TempDir;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::relay::{Answer, Relay, config, request};

/// What `GET path` gets at the socket.
fn ask(socket: &Path, path: &str) -> Answer {
    let mut stream = UnixStream::connect(socket).expect("connected");
    let text = request(([127, 0, 0, 1], 80).into(), &format!("GET {path}"), "");
    stream.write_all(text.as_bytes()).expect("sent");
    let mut all = String::new();
    stream.read_to_string(&mut all).expect("an answer");
    Answer::read(&all)
}

#[test]
fn l1_a_socket_in_the_file_system_is_the_owners_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("run/relay.sock");
    let text = socket.to_str().expect("text");
    let relay = Relay::open(&[("AIRELAYS_UNIX_SOCKET", text), ("AIRELAYS_HOST", "0.0.0.0")]);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert!(fs::metadata(&socket).expect("there").file_type().is_socket());
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(&dir.path().join("run")), 0o700);
    assert_eq!(ask(&socket, "/v1/models").status, 200);
    assert_eq!(relay.address.port(), 0, "and it listens nowhere else");
    relay.stop();
    assert!(!socket.exists(), "nothing is left behind");
}

#[test]
fn l1_a_socket_that_somebody_listens_at_is_not_taken_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("run/relay.sock");
    let text = socket.to_str().expect("text");
    let first = Relay::open(&[("AIRELAYS_UNIX_SOCKET", text)]);
    let home = tempfile::tempdir().expect("a folder");
    let serve = |socket: &str| {
        Command::new(env!("CARGO_BIN_EXE_airelays"))
            .args(["serve", "--simulate", "--no-auth", "--unix-socket", socket])
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .output()
            .expect("the program starts")
    };
    let second = serve(text);
    assert_eq!(second.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another program listens there"));
    assert_eq!(ask(&socket, "/v1/models").status, 200, "the first one goes on");
    drop(first);
    let open = dir.path().join("open");
    fs::create_dir(&open).expect("made");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("set");
    let exposed = serve(open.join("s").to_str().expect("text"));
    assert_eq!(exposed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&exposed.stderr).contains("closed to others"));
}

#[test]
fn one_relay_serves_a_data_directory_and_the_next_is_told_which() {
    let first = Relay::open(&[]);
    let data = first.home.path().join(".airelays");
    let second = Command::new(env!("CARGO_BIN_EXE_airelays"))
        .args(["serve", "--simulate", "--no-auth", "--port", "0", "--data-dir"])
        .arg(&data)
        .env_clear()
        .env("HOME", first.home.path())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(75), "{said}");
    assert!(said.contains(&format!("(process {})", std::process::id())), "{said}");
    assert!(second.stdout.is_empty());
    let home = first.stop();
    assert!(!home.path().join(".airelays/relay.pid").exists());
    start_and_stop(&home);
}

fn start_and_stop(home: &TempDir) {
    let config = config(home, &[]);
    let simulator = sim::Simulator::start(sim::World::default());
    let simulation = app::Simulation { simulator, port: None };
    let runtime = app::runtime().expect("threads");
    runtime.block_on(async {
        app::start(config, Some(simulation))
            .await
            .expect("it is free")
            .run(async {}, std::future::pending())
            .await;
    });
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// An answer over TLS, from a client that trusts the certificate of the fixture.
async fn ask_encrypted(address: std::net::SocketAddr, head: &str) -> Answer {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(fixture("cert.pem")).expect("a certificate");
    roots.add(certificate).expect("added");
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(name, stream).await.expect("a handshake");
    stream.write_all(request(address, head, "").as_bytes()).await.expect("sent");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("an answer, and a proper end");
    Answer::read(&String::from_utf8_lossy(&all))
}

#[test]
fn n4_with_a_certificate_the_relay_speaks_tls_and_nothing_else() {
    let (cert, key) = (fixture("cert.pem"), fixture("key.pem"));
    let tls = [
        ("AIRELAYS_TLS_CERT", cert.as_str()),
        ("AIRELAYS_TLS_KEY", key.as_str()),
        ("AIRELAYS_HEADER_TIMEOUT_SECONDS", "0.4"),
    ];
    let relay = Relay::open(&tls);
    let runtime = app::runtime().expect("threads");
    let ask = |head: &str| runtime.block_on(ask_encrypted(relay.address, head));
    assert_eq!(ask("GET /v1/models").status, 200);
    let own = format!("https://{}", relay.address);
    assert_eq!(ask(&format!("GET /v1/models\nOrigin: {own}")).status, 200);
    let plain = format!("http://{}", relay.address);
    assert_eq!(ask(&format!("GET /v1/models\nOrigin: {plain}")).status, 403);
    assert_eq!(relay.ask("GET /v1/models", "").status, 0, "not in clear");
    assert_eq!(relay.connect().rest().status, 0, "a handshake has its time");
}

#[test]
fn n4_a_certificate_that_cannot_be_used_is_told() {
    let home = tempfile::tempdir().expect("a folder");
    let (cert, key) = (fixture("cert.pem"), fixture("key.pem"));
    for (cert, key, expected) in [
        (&*cert, "/nowhere/key.pem", "cannot read /nowhere/key.pem"),
        (&*key, &*key, "there is no certificate in the file"),
        (&*cert, &*cert, "the key is not readable as PEM"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_airelays"))
            .args(["serve", "--simulate", "--no-auth", "--port", "0"])
            .env_clear()
            .env("HOME", home.path())
            .envs([("AIRELAYS_TLS_CERT", cert), ("AIRELAYS_TLS_KEY", key)])
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
