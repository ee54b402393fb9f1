//! What the relay takes for granted about the upstream, from the table that `airelays doctor` goes by.

use super::{Page, code};
use crate::upstream::contract::{Assumption, Weight};

pub fn page() -> String {
    let mut page = Page::new(
        "What is taken for granted",
        "The upstream has no published contract, and changes without notice.\n\
         `airelays doctor` holds each of these against what the upstream says; see \
         [troubleshooting](../troubleshooting.md#airelays-doctor).",
    );
    page.heading("Assumptions");
    let rows = Assumption::ALL.iter().map(|assumption| {
        let without = match assumption.weight() {
            Weight::Vital => "requests fail",
            Weight::Minor => "the relay copes",
        };
        [code(assumption.id()), assumption.sentence().to_owned(), without.to_owned()]
    });
    page.table(["name", "what is taken for granted", "without it"], rows);
    page.finish()
}
