//! The settings of the listener and of who may reach it.
//!
//! Not here: what one client may do once it is in (`entries`).

use std::{path::PathBuf, time::Duration};

use super::{
    About, Setting,
    entries::{LONGEST, MOST, NEW, about},
};
use crate::{
    address::{Network, Scope},
    config::{list, value},
};

pub static UNIX_SOCKET: Setting<Option<PathBuf>> = Setting {
    about: About {
        flag: Some("--unix-socket"),
        ..about(
            "server.unix_socket",
            NEW,
            "UNIX_SOCKET",
            "\"\"",
            "Path of a Unix socket to listen on in place of host and port. Only you can connect \
             to it; its directory must be closed to others.",
        )
    },
    read: value::optional_path,
};

pub static TLS_CERT: Setting<Option<PathBuf>> = Setting {
    about: about(
        "server.tls_cert",
        NEW,
        "TLS_CERT",
        "\"\"",
        "Certificate chain as a PEM file. With it and tls_key the listener speaks TLS only.",
    ),
    read: value::optional_path,
};

pub static TLS_KEY: Setting<Option<PathBuf>> = Setting {
    about: about("server.tls_key", NEW, "TLS_KEY", "\"\"", "Key of the certificate as a PEM file."),
    read: value::optional_path,
};

pub static MAX_CONNECTIONS: Setting<u32> = Setting {
    about: about(
        "server.max_connections",
        NEW,
        "MAX_CONNECTIONS",
        "1024",
        "Connections that may be open at the same time. One more takes the place of the one that \
         has been idle longest, and is closed when there is none.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST),
};

pub static MAX_CONNECTIONS_PER_CLIENT: Setting<u32> = Setting {
    about: about(
        "server.max_connections_per_client",
        NEW,
        "MAX_CONNECTIONS_PER_CLIENT",
        "256",
        "The same for one address. Behind a proxy all clients have the address of the proxy.",
    ),
    read: |raw, _| value::whole(raw, 1..=MOST),
};

pub static HEADER_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "server.header_timeout_seconds",
        NEW,
        "HEADER_TIMEOUT_SECONDS",
        "30",
        "How long the head of a request may take, from the connection or the last answer on. So \
         it is also how long an idle connection stays open.",
    ),
    read: |raw, _| value::seconds(raw, 0.1..=LONGEST),
};

pub static BODY_IDLE_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "server.body_idle_timeout_seconds",
        NEW,
        "BODY_IDLE_TIMEOUT_SECONDS",
        "30",
        "How long nothing of a request body may arrive before the request is refused with 408.",
    ),
    read: |raw, _| value::seconds(raw, 0.1..=LONGEST),
};

pub static BODY_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "server.body_timeout_seconds",
        NEW,
        "BODY_TIMEOUT_SECONDS",
        "300",
        "How long a whole request body may take.",
    ),
    read: |raw, _| value::seconds(raw, 0.1..=LONGEST),
};

pub static WRITE_TIMEOUT: Setting<Duration> = Setting {
    about: about(
        "server.write_timeout_seconds",
        NEW,
        "WRITE_TIMEOUT_SECONDS",
        "60",
        "How long a client may take nothing of its answer before its connection is closed.",
    ),
    read: |raw, _| value::seconds(raw, 0.1..=LONGEST),
};

pub static NETWORK_SCOPE: Setting<Scope> = Setting {
    about: About {
        flag: Some("--network-scope"),
        ..about(
            "security.network_scope",
            NEW,
            "NETWORK_SCOPE",
            "\"private\"",
            "Who may connect: loopback for programs on this machine, private for machines of \
             private networks as well, any for everybody who has the relay token. A listener \
             on this machine is for this machine whatever stands here.",
        )
    },
    read: |raw, _| list::scope(raw),
};

pub static ALLOW_OPEN_NETWORK: Setting<bool> = Setting {
    about: About {
        flag: Some("--allow-open-network"),
        ..about(
            "security.allow_open_network",
            NEW,
            "ALLOW_OPEN_NETWORK",
            "false",
            "Whether a relay that asks for no token may listen where other machines can reach \
             it. Whoever does then uses your login.",
        )
    },
    read: |raw, _| value::switch(raw),
};

pub static ALLOWED_HOSTS: Setting<Vec<String>> = Setting {
    about: about(
        "security.allowed_hosts",
        NEW,
        "ALLOWED_HOSTS",
        "[]",
        "Names by which clients may call the relay beyond localhost and the address that it \
         listens on, without a port.",
    ),
    read: |raw, _| list::hosts(raw),
};

pub static ALLOWED_ORIGINS: Setting<Vec<String>> = Setting {
    about: about(
        "security.allowed_origins",
        NEW,
        "ALLOWED_ORIGINS",
        "[]",
        "Origins of web pages that may call the relay, such as https://app.example. They need \
         the relay token like everybody else.",
    ),
    read: |raw, _| list::origins(raw),
};

pub static TRUSTED_PROXIES: Setting<Vec<Network>> = Setting {
    about: about(
        "security.trusted_proxies",
        NEW,
        "TRUSTED_PROXIES",
        "[\"127.0.0.0/8\", \"::1/128\"]",
        "Addresses and networks of the proxies whose X-Forwarded-For counts when it counts.",
    ),
    read: |raw, _| list::networks(raw),
};
