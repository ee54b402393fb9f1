//! What the system says of a process that runs.

use std::{fs, path::Path};

use rustix::process::Pid;

/// The command of the process that renews a login for a relay.
pub const RENEWING: &str = "renew-login";

/// The number behind `name` in what the system says of the state of `process`; sizes in kilobytes.
pub fn number(process: Pid, name: &str) -> u64 {
    let status = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(status).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect(name)
}

/// The number of a process and that of its parent, if it is one that renews a login.
fn renewing(process: &Path) -> Option<(Pid, i32)> {
    let words = fs::read(process.join("cmdline")).ok()?;
    words.split(|byte| *byte == 0).find(|word| *word == RENEWING.as_bytes())?;
    let status = fs::read_to_string(process.join("status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    let number = process.file_name()?.to_str()?.parse().ok()?;
    Some((Pid::from_raw(number)?, parent.trim().parse().ok()?))
}

/// Who renews a login for `relay`.
pub fn renewing_for(relay: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let renewing = processes.filter_map(|process| renewing(&process.path()));
    let own = renewing.filter(|(_, parent)| *parent == relay.as_raw_nonzero().get());
    own.map(|(process, _)| process).collect()
}

/// Whether `process` still renews a login.
pub fn is_renewing(process: Pid) -> bool {
    renewing(&Path::new("/proc").join(process.as_raw_nonzero().to_string())).is_some()
}
