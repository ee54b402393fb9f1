//! Who may connect, asked at the socket: web pages, strangers, slow clients, too many of them.
//!
//! The relay runs in this process on the simulator, with every limit set short where one is waited
//! for. Each file is a kind of attack; the names of the tests say what is defended.

mod browsers;
mod crowds;
mod places;
mod relay;
mod slow;
mod strangers;
