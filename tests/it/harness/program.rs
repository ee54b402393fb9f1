//! The real program as a process.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, TOKEN};

/// The program, running.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// For homes without a keyring: that of whoever runs the tests is his own.
pub const NO_BUS: (&str, &str) = ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/bus");

/// Whether programs that are started here ignore `signal`, because the tests were told to.
pub fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw() - 1) & 1 == 1
}

/// The program in this home, with the token of the tests and nothing else around it.
pub fn command(home: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_airelays"));
    command.args(line.split_whitespace()).env_clear().env("HOME", home).stdin(Stdio::null());
    command.env("AIRELAYS_BEARER_TOKEN", TOKEN).envs([NO_BUS]);
    command
}

impl Program {
    /// Starts it and does not wait for anything.
    pub fn start(home: &Path, line: &str) -> Self {
        Self::spawn(command(home, line))
    }

    pub fn spawn(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("started");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, stdout }
    }

    /// What stands behind `label`, once it is said.
    pub fn says(&mut self, label: &str) -> String {
        let lines = self.stdout.by_ref().lines().map_while(Result::ok);
        let said = lines.map(|line| line.trim().to_owned()).find(|line| line.starts_with(label));
        said.expect(label)[label.len()..].trim().to_owned()
    }

    /// Where it listens, once it says so.
    pub fn address(&mut self) -> SocketAddr {
        let port = self.says("Port:").parse().expect("a port");
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    pub fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn send(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("sent");
    }

    /// The exit code, once it has ended.
    pub async fn ends(&mut self) -> Option<i32> {
        let ending = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("its own child") {
                    return status.code();
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ending).await.expect("an end")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Most have ended by themselves.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
