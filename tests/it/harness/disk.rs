//! A relay on a small disk of its own, which a test fills and frees.

use std::{fs, net::SocketAddr, process::Command};

use tempfile::TempDir;

use super::{eventually, place::Place, program::Program};

/// A mount that nobody else sees.
const OWN_WORLD: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

/// Starts the relay on a disk, and does with the disk what files in the folder say.
const SCRIPT: &str = r#"
    set -e
    mount -t tmpfs -o "size=$4,mode=700" tmpfs "$1"
    cp -p "$2" "$1/auth.json"
    "$0" serve --port 0 --data-dir "$1" &
    until [ -e "$3/fill" ]; do sleep 0.05; done
    cat /dev/zero > "$1/filler" 2>/dev/null || true
    touch "$3/filled"
    until [ -e "$3/free" ]; do sleep 0.05; done
    ls "$1/files" > "$3/names" 2>/dev/null || true
    rm "$1/filler"
    touch "$3/freed"
    until [ -e "$3/end" ]; do sleep 0.05; done
    kill $!
    wait $! || true
    touch "$3/ended"
"#;

/// The relay, and the folder over which its disk is steered.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
    relay: Program,
}

impl SmallDisk {
    /// A relay of `place` on a disk of this size, as `mount` has it. `None` where nobody may mount.
    pub fn with_relay(place: &Place, size: &str) -> Option<Self> {
        let mut tried = in_own_world();
        let tried = tried.args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status();
        if !tried.is_ok_and(|status| status.success()) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let disk = folder.path().join("disk");
        fs::create_dir(&disk).expect("made");
        let mut command = in_own_world();
        command.args(["/bin/sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_airelays")]);
        command.arg(&disk).arg(place.login_file()).arg(folder.path()).arg(size);
        command.env_clear().env("PATH", std::env::var("PATH").expect("a path"));
        let serve = place.serve();
        command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("AIRELAYS_RATE_LIMIT_BURST", "1000");
        Some(Self { folder, relay: Program::spawn(command) })
    }

    /// Where the relay listens, once it says so.
    pub fn address(&mut self) -> SocketAddr {
        self.relay.address()
    }

    pub async fn fill(&self) {
        self.reach("fill", "filled").await;
    }

    /// Makes room again. What stood below `files` on the full disk.
    pub async fn free(&self) -> Vec<String> {
        self.reach("free", "freed").await;
        let names = fs::read_to_string(self.folder.path().join("names")).expect("listed");
        names.lines().map(str::to_owned).collect()
    }

    /// Ends the relay.
    pub async fn end(self) {
        self.reach("end", "ended").await;
    }

    async fn reach(&self, mark: &str, next: &str) {
        fs::write(self.folder.path().join(mark), "").expect("marked");
        eventually(next, || self.folder.path().join(next).exists()).await;
    }
}

fn in_own_world() -> Command {
    let mut command = Command::new(OWN_WORLD[0]);
    command.args(&OWN_WORLD[1..]);
    command
}
