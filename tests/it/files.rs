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

/// What others may change is refused where it matters, and what they may read is told.
#[tokio::test(flavor = "multi_thread")]
async fn l2_what_others_may_do_is_told_and_not_relied_on() {
    let place = place().await;
    let home = place.home.path().canonicalize().expect("there");
    let config = home.join(".config/airelays/config.toml");
    write(&config, "[server]\n");
    let [login, token] = [".airelays/auth.json", TOKEN_FILE].map(|file| home.join(file));
    for (path, mode, told, is_refused) in [
        (&login, 0o640, Some("can be read by other users of this machine; `chmod go="), false),
        (&token, 0o604, Some("can be read by other users of this machine; `chmod go="), false),
        (&token, 0o620, Some("can be changed by its group; `chmod go-w"), false),
        (&login, 0o602, Some("can be changed by every user of this machine; `chmod go-w"), true),
        (&config, 0o644, None, false),
        (&config, 0o664, Some("can be changed by its group; `chmod go-w"), false),
        (&config, 0o666, Some("can be changed by every user of this machine; `chmod go-w"), true),
        (&home.join(".airelays"), 0o777, Some("can be changed by every user"), true),
        (&home.join(".airelays"), 0o755, None, false),
        (&home.join(".config/airelays"), 0o777, Some("can be changed by every user"), true),
    ] {
        let before = fs::metadata(path).expect("there").permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        let shown = path.display().to_string();
        let said = says(&place, "status").await;
        match told {
            Some(told) => assert!(said.contains(&format!("warning: {shown} {told}")), "{said}"),
            None => assert!(!said.contains("warning: "), "{said}"),
        }
        if is_refused {
            for line in ["serve --port 0", "login --device"] {
                let said = says(&place, line).await;
                let refused =
                    format!("{shown} can be changed by every user of this machine, so it");
                assert!(said.contains(&refused), "{said}");
            }
        } else {
            let mut relay = Program::spawn(command(&place, "serve --port 0"));
            assert_eq!(ask(relay.address(), chat()).await.status, 200, "{shown} {mode:o}");
        }
        fs::set_permissions(path, before).expect("set");
    }
}

/// Whatever the shell would give away.
#[tokio::test(flavor = "multi_thread")]
async fn l2_nothing_that_it_makes_is_open_to_others() {
    let place = place().await;
    let home = place.home.path();
    let mut shell = Command::new("/bin/sh");
    let script = "umask 000; \"$0\" init >/dev/null; \"$0\" token rotate >/dev/null; exec \"$0\" serve --port 0";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_airelays")]);
    let own = command(&place, "status");
    shell.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut relay = Program::spawn(shell);
    let address = relay.address();
    let token = fs::read_to_string(home.join(TOKEN_FILE)).expect("a token");
    let chat = || Ask::post(Chat.path(), Chat.body("hello").to_string()).bearer(token.trim());
    place.simulator.expire_access_tokens();
    assert_eq!(ask(address, chat()).await.status, 200);
    drop(relay);
    let mut looked_at = 0;
    let mut folders = vec![home.join(".airelays"), home.join(".config/airelays")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("listed").flatten() {
            let found = entry.metadata().expect("there");
            assert_eq!(found.permissions().mode() & 0o077, 0, "{}", entry.path().display());
            looked_at += 1;
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(looked_at >= 8, "{looked_at}");
}
