//! One binary for every test that looks at the program from outside.

#![expect(clippy::expect_used, reason = "a test may stop")]
#![expect(clippy::disallowed_methods, reason = "`json!` is made of one")]

mod bad_input;
mod command_line;
mod compaction;
mod connect;
mod conversations;
mod crashes;
mod doctor;
mod documents;
mod failures;
mod field;
mod files;
mod floods;
mod guards;
mod h2;
mod harness;
mod images;
mod kept;
mod keyring;
mod leaving;
mod lifecycle;
mod log;
mod login;
mod many;
mod naming;
mod processes;
mod redirects;
mod requests;
mod sign_in;
mod slots;
mod soak;
mod subscription;
mod survival;
mod tidy;
mod uploads;
mod waiting;
