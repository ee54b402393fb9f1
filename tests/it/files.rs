//! What stands where the program's own files should be.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::harness::{
    TOKEN,
    dialect::Dialect::Chat,
    http::{Answering, Ask, Reply},
    place::Place,
    program::Program,
    within, write,
};

const TOKEN_FILE: &str = ".airelays/relay-token";

/// What may be found in place of a file with this content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Odd {
    Pipe,
    Directory,
    Link,
    LinkToDevice,
    HardLink,
}

const ODD: [Odd; 5] = [Odd::Pipe, Odd::Directory, Odd::Link, Odd::LinkToDevice, Odd::HardLink];

impl Odd {
    /// Puts it in place of the file at `path`.
    fn replace(self, path: &Path) {
        let other = path.with_extension("other");
        fs::rename(path, &other).expect("moved");
        match self {
            Self::Pipe => {
                mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
            }
            Self::Directory => fs::create_dir(path).expect("made"),
            Self::Link => symlink(&other, path).expect("linked"),
            Self::LinkToDevice => symlink("/dev/zero", path).expect("linked"),
            Self::HardLink => fs::hard_link(&other, path).expect("linked"),
        }
    }

    fn undo(self, path: &Path) {
        match self {
            Self::Directory => fs::remove_dir(path).expect("removed"),
            Self::Pipe | Self::Link | Self::LinkToDevice | Self::HardLink => {
                fs::remove_file(path).expect("removed");
            }
        }
        fs::rename(path.with_extension("other"), path).expect("moved");
    }
}

/// A place whose token is in its file.
async fn place() -> Place {
    let place = Place::new().await;
    let token = place.home.path().join(TOKEN_FILE);
    write(&token, TOKEN);
    fs::set_permissions(token, fs::Permissions::from_mode(0o600)).expect("set");
    place
}

fn command(place: &Place, line: &str) -> Command {
    let mut command = place.command(line);
    command.env_remove("AIRELAYS_BEARER_TOKEN");
    command
}

/// What is said, if it is said in time.
async fn says(place: &Place, line: &str) -> String {
    let mut command = tokio::process::Command::from(command(place, line));
    let output = command.kill_on_drop(true).stdin(Stdio::null()).output();
    let output = within("it ends", output).await.expect("started");
    String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
}

async fn ask(relay: std::net::SocketAddr, ask: Ask) -> Reply {
    within("an answer", async { Answering::to(relay, &ask.bytes()).await.whole().await }).await
}

fn chat() -> Ask {
    Ask::post(Chat.path(), Chat.body("hello").to_string()).bearer(TOKEN)
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_what_is_no_plain_file_is_refused_and_holds_up_no_command() {
    let place = place().await;
    let (login, token) = (place.login_file(), place.home.path().join(TOKEN_FILE));
    for odd in ODD {
        odd.replace(&login);
        let why = match odd {
            Odd::Pipe | Odd::Directory => {
                Some("The login file cannot be read: it is not a regular file.")
            }
            Odd::Link | Odd::LinkToDevice => {
                Some("The login file cannot be read: it is a symbolic link.")
            }
            Odd::HardLink => None,
        };
        let said = says(&place, "status").await;
        assert_eq!(said.contains("Problem:"), why.is_some(), "{odd:?}: {said}");
        assert!(why.is_none_or(|why| said.contains(why)), "{odd:?}: {said}");
        odd.undo(&login);
        odd.replace(&token);
        for line in ["status", "token show"] {
            let said = says(&place, line).await;
            let is_read = !said.contains("unreadable")
                && !said.contains("not a regular file")
                && !said.contains("larger than");
            assert_eq!(is_read, matches!(odd, Odd::Link | Odd::HardLink), "{odd:?}: {said}");
        }
        odd.undo(&token);
    }
}

/// They come while it runs, and go again.
#[tokio::test(flavor = "multi_thread")]
async fn t1_what_is_no_plain_file_holds_up_no_relay() {
    let place = place().await;
    let mut serve = command(&place, "serve --port 0");
    serve.env("AIRELAYS_RATE_LIMIT_BURST", "1000");
    let mut relay = Program::spawn(serve);
    let address = relay.address();
    for file in [place.login_file(), place.home.path().join(TOKEN_FILE)] {
        for odd in ODD {
            assert_eq!(ask(address, chat()).await.status, 200, "{odd:?}");
            odd.replace(&file);
            let replies =
                futures_util::future::join_all((0..8).map(|_| ask(address, chat()))).await;
            for reply in replies {
                let is_served = reply.status == 200;
                let is_read =
                    odd == Odd::HardLink || odd == Odd::Link && file.ends_with("relay-token");
                assert_eq!(is_served, is_read, "{odd:?}: {}", reply.status);
            }
            assert_eq!(ask(address, Ask::get("/healthz")).await.status, 200);
            odd.undo(&file);
        }
    }
    assert_eq!(ask(address, chat()).await.status, 200);
}

/// Whoever has the other name of a file keeps what he has.
#[tokio::test(flavor = "multi_thread")]
async fn t1_a_renewal_writes_to_no_other_name_of_the_file() {
    let place = place().await;
    let other = place.home.path().join("other");
    fs::hard_link(place.login_file(), &other).expect("linked");
    let before = fs::read(&other).expect("read");
    let mut relay = Program::spawn(command(&place, "serve --port 0"));
    let address = relay.address();
    place.simulator.expire_access_tokens();
    assert_eq!(ask(address, chat()).await.status, 200);
    assert_eq!(fs::read(&other).expect("read"), before);
    assert_ne!(fs::read(place.login_file()).expect("read"), before);
}
