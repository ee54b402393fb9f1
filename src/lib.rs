//! `airelays`: a local OpenAI-compatible server in front of one's own ChatGPT login.
//!
//! The modules are floors, lowest first; `docs/architecture.md` says what may name what, and a
//! test holds it. Public are the ones that a program or a test starts from; everything else is
//! private, so that what nobody uses is reported.

// ground: bytes and shapes; no I/O, no clock, no async
mod id;
mod object;
mod secret;
mod wire;

// domain: decisions; time is an argument
mod address;
mod credential;
mod limit;
mod redact;
mod slot;

// adapters: one outside thing each
mod auth;
mod clock;
mod keyring;
mod private_file;
mod relay_token;
mod roster;
pub mod sim;
mod store;
mod traffic;
mod transport;
mod upstream;

// use cases: the order in which things happen
mod dialogue;
mod relay;

// surface: HTTP towards the client
mod api;
mod listen;

// shell: configuration, composition, commands
pub mod app;
pub mod cli;
pub mod config;
mod describe;
pub mod reference;

#[cfg(any(test, feature = "internals"))]
pub mod internals;
