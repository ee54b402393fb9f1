//! The ground: what clients and the upstream send, as bytes and shapes.
//!
//! In reading order: how a JSON text is read and written; how a request is refused; what a request
//! is made of and how it becomes the one that the upstream takes; how a stream is cut into events,
//! what the events are called, and what a client is told of them.
//!
//! **Invariant:** nothing here does I/O, reads a clock or is `async`; a function of bytes gives the
//! same bytes every time.

pub mod json;
pub mod read;
pub mod reject;

pub mod notes;
pub mod schema;

pub mod content;
pub mod model;
pub mod tools;

pub mod request;

pub mod event;
pub mod identity;
pub mod images;
pub mod reply;
pub mod selftest;
pub mod sse;
pub mod usage;
