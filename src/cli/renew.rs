//! `renew-login`: a renewal for a relay, which writes what is to be done and reads what came of it.
//!
//! Nobody types it, and it is in no help text. What it is for stands in `auth::apart`.

use std::io::{self, Read};

use zeroize::Zeroizing;

use super::output::{Failure, Report, Terminal};
use crate::{
    app,
    auth::apart::{Job, LIMIT},
};

pub fn run(terminal: &Terminal) -> Result<(), Failure> {
    let mut json = Zeroizing::new(Vec::new());
    let read = io::stdin().lock().take(LIMIT).read_to_end(&mut json).and_then(|_| {
        // A relay that ended while it wrote wanted nothing yet.
        Job::read(&json).map_err(io::Error::from)
    });
    let job = read.map_err(Failure::NoJob)?;
    let report = app::renew(job)?;
    // The login is on the disk whether or not anybody reads this.
    let _told = terminal.answer(&Report::continued(), Some(&report));
    Ok(())
}
