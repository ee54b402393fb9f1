//! Who may connect, asked at the socket: web pages, strangers, slow clients, too many of them.
//!
//! The relay runs in this process on the simulator, with every limit set short where one is waited
//! for. Each file is a kind of attack; the names of the tests say what is defended.

mod browsers;
mod crowds;
mod page;
mod places;
mod relay;
mod slow;
mod strangers;

use crate::tidy::{expect_none, root, rust_files};

#[test]
fn every_proof_that_the_security_document_names_exists() {
    let path = root().join("docs/security.md");
    let text = std::fs::read_to_string(path).expect("docs/security.md");
    let (_, proofs) = text.split_once("## How it is proved").expect("the section");
    let (proofs, _) = proofs.split_once("\n## ").expect("its end");
    let names: Vec<_> = proofs.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 15, "{names:?}");
    let sources: String = rust_files().map(|file| file.text).collect();
    let missing = names.iter().filter(|name| !sources.contains(&format!("fn {name}()")));
    expect_none(&missing.map(|name| format!("no test is called `{name}`")).collect::<Vec<_>>());
}
