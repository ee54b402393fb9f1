//! What a request passes before its handler runs.
//!
//! One file each; `api::router` has the order and the reason for it.

pub mod admission;
mod cors;
pub mod forwarded;
pub mod host;
pub mod identity;
pub mod origin;
pub mod record;
pub mod scope;
pub mod turned;
