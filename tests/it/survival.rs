//! A login against `kill -9`: whatever is killed while it is renewed, and whenever.
//!
//! The sign-in server takes each refresh token once and counts what is offered to it again. How
//! often is killed can be set: `AIRELAYS_KILLS=500 cargo test --test it survival -- --nocapture`.

#![expect(clippy::print_stdout, reason = "who asks for a long run wants to see figures")]

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, time::sleep};

use crate::harness::{
    TOKEN,
    dialect::Dialect::Chat,
    disk::SmallDisk,
    eventually,
    http::{Answering, Ask, Connection, Reply},
    log,
    place::Place,
    process::{RENEWING, is_renewing, renewing_for},
    program::{command, is_ignored},
    within,
};

/// Enough to meet every part of a renewal.
const KILLS: u64 = 25;
/// What the answer of the sign-in server takes at most, in milliseconds: long enough for a third of
/// the kills to meet it.
const DELAY: u64 = 300;

impl Place {
    /// The refresh token on the disk, of a file that is whole and the owner's alone.
    fn refresh_token(&self) -> String {
        let mode = fs::metadata(self.login_file()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let json = fs::read(self.login_file()).expect("read");
        let login: Value = serde_json::from_slice(&json).expect("a whole file");
        login["tokens"]["refresh_token"].as_str().expect("a token").to_owned()
    }

    /// What it takes from a request to the end of the renewal that it causes, at most, in
    /// milliseconds.
    async fn span(&self) -> u64 {
        self.answer_after(DELAY);
        let mut relay = self.relay();
        let address = relay.address();
        self.simulator.expire_access_tokens();
        let began = Instant::now();
        assert_eq!(self.say_hello(address).await.status, 200);
        u64::try_from(began.elapsed().as_millis()).expect("short")
    }

    /// What a relay writes to the process that renews for it.
    fn job(&self, lock_wait: Duration, spent: Option<&str>) -> Value {
        let serve = self.serve();
        let issuer = serve.get_envs().find(|(name, _)| *name == "AIRELAYS_ISSUER_BASE_URL");
        let issuer = issuer.and_then(|(_, value)| value?.to_str()).expect("set");
        serde_json::json!({
            "path": {"Unix": self.login_file().as_os_str().as_encoded_bytes()},
            "issuer": issuer,
            "client_id": "app_EMoamEEZ73f0CkXaXp7hrann",
            "timeout": Duration::from_secs(20),
            "lock_wait": lock_wait,
            "connect_timeout": Duration::from_secs(5),
            "spent": spent,
        })
    }

    /// Whether the sign-in server keeps its answers to itself.
    fn hold_answers(&self, whether: bool) {
        self.simulator.set_world("token_hold", &whether.to_string()).expect("a switch");
    }

    fn answer_after(&self, milliseconds: u64) {
        self.simulator.set_world("token_delay", &milliseconds.to_string()).expect("a switch");
    }

    async fn say_hello(&self, address: SocketAddr) -> Reply {
        let mut answering = Answering::to(address, &hello()).await;
        answering.whole().await
    }

    /// Has a relay renew the login for the first time. Once the refresh token is spent, the client
    /// that waits for it.
    async fn spend(&self, relay: SocketAddr) -> Connection {
        self.simulator.expire_access_tokens();
        let mut asking = Connection::open(relay).await;
        asking.send(&hello()).await;
        eventually("a token is spent", || self.simulator.counters().refreshes == 1).await;
        asking
    }

    /// Has a relay renew the login and kills it at some moment.
    async fn kill_one(&self, round: u64, span: u64) -> Killed {
        self.answer_after(some(2 * round, DELAY));
        let mut relay = self.relay();
        let address = relay.address();
        self.simulator.expire_access_tokens();
        let (before, token) = (self.simulator.counters().refreshes, self.refresh_token());
        let mut asking = Connection::open(address).await;
        asking.send(&hello()).await;
        sleep(Duration::from_millis(some(2 * round + 1, span))).await;
        // Who is stopped starts nobody.
        relay.send(Signal::STOP);
        let renewing = renewing_for(relay.id());
        relay.kill();
        drop(asking);
        let was_taken = self.simulator.counters().refreshes > before;
        let was_in_the_middle = was_taken && self.refresh_token() == token;
        Killed { was_in_the_middle, token, renewing }
    }
}

/// What was left of a relay when it had been killed.
struct Killed {
    /// The sign-in server had taken the refresh token and its successor was not on the disk. Who
    /// still renews may get there a moment later.
    was_in_the_middle: bool,
    /// The refresh token that was on the disk before.
    token: String,
    renewing: Vec<Pid>,
}

/// What a process that is told to do `job` says of it.
async fn renewal(place: &Place, job: &Value) -> String {
    let mut command = tokio::process::Command::from(command(place.home.path(), RENEWING));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("started");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(job.to_string().as_bytes()).await.expect("taken");
    drop(input);
    let output = within("it ends", child.wait_with_output()).await.expect("ended");
    String::from_utf8(output.stdout).expect("text")
}

fn kills() -> u64 {
    std::env::var("AIRELAYS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// A number below `end` that looks like chance and is the same in every run.
pub fn some(seed: u64, end: u64) -> u64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)) % end
}

fn hello() -> Vec<u8> {
    Ask::post(Chat.path(), Chat.body("hello").to_string()).bearer(TOKEN).bytes()
}

/// The next relay starts while the renewal that the last one began still runs, and the command line
/// looks on.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_outlives_every_relay_that_is_killed_while_it_renews() {
    let place = Place::new().await;
    let span = place.span().await;
    let mut in_the_middle = 0;
    let mut round = 0;
    // On a busy machine the moments are missed for longer.
    while round < kills() || in_the_middle == 0 && round < 10 * kills() {
        in_the_middle += u64::from(place.kill_one(round, span).await.was_in_the_middle);
        round += 1;
        let status = command(place.home.path(), "status --json").output().expect("started");
        let status: Value = serde_json::from_slice(&status.stdout).expect("a document");
        assert_eq!(status["auth"]["ready_for_requests"], true, "{status}");
    }
    let mut relay = place.relay();
    place.simulator.expire_access_tokens();
    assert_eq!(place.say_hello(relay.address()).await.status, 200);
    let counters = place.simulator.counters();
    assert_eq!(counters.spent_refreshes, 0, "no token was offered twice");
    assert!(in_the_middle > 0, "it was killed too early or too late each time");
    println!("{round} kills, {in_the_middle} in the middle of an exchange, none lost");
}

/// Killed in the middle of everything, again and again, in the same home.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_whole_after_every_kill() {
    let place = Place::new().await;
    let stream = || {
        let body = Chat.streamed("[sim deltas: 200] [sim slow: 1]").to_string();
        Ask::post(Chat.path(), body).bearer(TOKEN).bytes()
    };
    for (starts, round) in (0..10).enumerate() {
        let mut relay = place.relay();
        let address = relay.address();
        let mut clients = Vec::new();
        for _ in 0..6 {
            let mut client = Connection::open(address).await;
            client.send(&stream()).await;
            clients.push(client);
        }
        eventually("it has begun to write", || {
            let logs = place.home.path().join(".airelays/logs");
            let read = |(path, _): &(std::path::PathBuf, u32)| {
                fs::read_to_string(path).unwrap_or_default()
            };
            let text: String =
                logs.exists().then(|| log::files(&logs)).iter().flatten().map(read).collect();
            text.matches("endpoint_security_ready").count() > starts
        })
        .await;
        sleep(Duration::from_millis(some(round, 400))).await;
        relay.kill();
    }
    // The next one takes away what was torn.
    let mut relay = place.relay();
    assert_eq!(place.say_hello(relay.address()).await.status, 200);
    relay.send(Signal::TERM);
    assert_eq!(relay.ends().await, Some(0));
    let records = log::records(place.home.path());
    let phase = |wanted: &str| records.iter().filter(|it| it["phase"] == *wanted).count();
    assert_eq!(phase("endpoint_security_ready"), 11, "each start is there");
    assert!(phase("upstream_stream_line") > 0 && records.len() > 100);
}

/// The second relay waits for the renewal that the first began, and gets tokens that are over.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_renewed_may_need_it_again() {
    let place = Place::new().await;
    place.answer_after(1500);
    let mut first = place.relay();
    let address = first.address();
    let _asking = place.spend(address).await;
    first.kill();
    place.answer_after(0);
    place.simulator.expire_access_tokens();
    let mut second = place.relay();
    assert_eq!(place.say_hello(second.address()).await.status, 200);
    let counters = place.simulator.counters();
    assert_eq!((counters.refreshes, counters.spent_refreshes), (2, 0));
}

/// Neither the relay nor who renews for it: a service manager tells all processes of a service.
#[tokio::test(flavor = "multi_thread")]
async fn no_signal_that_asks_to_end_loses_a_login() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        if is_ignored(signal) {
            continue;
        }
        let place = Place::new().await;
        place.answer_after(1000);
        let before = place.refresh_token();
        let mut relay = place.relay();
        let address = relay.address();
        let _asking = place.spend(address).await;
        for process in renewing_for(relay.id()) {
            kill_process(process, signal).expect("sent");
        }
        relay.send(signal);
        assert_eq!(relay.ends().await, Some(0), "{signal:?}");
        eventually("the successor is on the disk", || place.refresh_token() != before).await;
        assert_eq!(place.simulator.counters().spent_refreshes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_twice_to_end_does_not_wait_for_the_sign_in_server() {
    let place = Place::new().await;
    place.hold_answers(true);
    let before = place.refresh_token();
    let mut relay = place.relay();
    let address = relay.address();
    let _asking = place.spend(address).await;
    relay.send(Signal::INT);
    eventually("nobody new is let in", || std::net::TcpStream::connect(address).is_err()).await;
    relay.send(Signal::INT);
    assert_eq!(relay.ends().await, Some(0));
    assert_eq!(place.refresh_token(), before, "the sign-in server has not answered yet");
    place.hold_answers(false);
    eventually("another process ends the renewal", || place.refresh_token() != before).await;
}

/// Someone else holds the lock for longer than the renewal may wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_waits_in_vain_ends() {
    let place = Place::new().await;
    let lock = place.home.path().join(".airelays/auth.json.lock");
    let lock = fs::File::create(lock).expect("made");
    lock.lock().expect("locked");
    let job = place.job(Duration::from_millis(200), None);
    let report = renewal(&place, &job).await;
    assert!(report.contains("Busy"), "{report}");
    drop(lock);
}

/// As in a power cut. If the answer of the sign-in server is lost, the login is, and it is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_stays_whole_and_the_loss_is_told_when_everything_is_killed() {
    let place = Place::new().await;
    let span = place.span().await;
    let mut lost = 0;
    for round in 0..kills() {
        let Killed { token, renewing, .. } = place.kill_one(round, span).await;
        for process in &renewing {
            // It may have ended meanwhile.
            let _killed = kill_process(*process, Signal::KILL);
        }
        eventually("nobody renews", || renewing.iter().all(|process| !is_renewing(*process))).await;
        let left = place.refresh_token();
        place.answer_after(0);
        place.simulator.expire_access_tokens();
        let mut relay = place.relay();
        let reply = place.say_hello(relay.address()).await;
        if reply.status != 200 {
            lost += 1;
            assert_eq!(left, token, "what is on the disk had not been spent");
            let told = reply.json()["error"]["message"].as_str().expect("a message").to_owned();
            assert!(told.contains("already used") && told.contains("`airelays login`"), "{told}");
            place.log_in();
        }
        relay.kill();
    }
    assert_eq!(place.simulator.counters().spent_refreshes, lost);
    // The next relay clears away what those that were killed have left.
    let mut relay = place.relay();
    relay.address();
    let folder = fs::read_dir(place.home.path().join(".airelays")).expect("listed");
    let names: Vec<_> = folder.flatten().map(|it| it.file_name()).collect();
    let left = names.iter().filter(|name| name.to_string_lossy().starts_with(".airelays-"));
    assert_eq!(left.count(), 0, "{names:?}");
    println!("{} kills, {lost} in the middle of an exchange and lost", kills());
}

/// All of them want the same access token replaced, and one lock lets them in one by one.
#[tokio::test(flavor = "multi_thread")]
async fn many_processes_on_one_login_spend_each_token_once() {
    let place = Place::new().await;
    place.answer_after(100);
    let mut relay = place.relay();
    let address = relay.address();
    for round in 1..=3 {
        place.simulator.expire_access_tokens();
        let access = {
            let login: Value = serde_json::from_slice(&fs::read(place.login_file()).expect("read"))
                .expect("a whole file");
            login["tokens"]["access_token"].as_str().expect("a token").to_owned()
        };
        let job = place.job(Duration::from_secs(20), Some(&access));
        let others = (0..4).map(|_| renewal(&place, &job));
        let second = async {
            let mut second = tokio::process::Command::from(place.serve());
            let ended = second.kill_on_drop(true).status();
            within("it ends", ended).await.expect("started").code()
        };
        let status = async {
            let mut status = tokio::process::Command::from(place.command("status --json"));
            within("it ends", status.output()).await.expect("started").stdout
        };
        let asking = futures_util::future::join_all((0..4).map(|_| place.say_hello(address)));
        let (reports, replies, code, status) =
            tokio::join!(futures_util::future::join_all(others), asking, second, status);
        for report in reports {
            assert!(["\"renewed\"", "\"found\""].contains(&report.trim()), "{report}");
        }
        assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
        assert_eq!(code, Some(75), "another relay is there already");
        let status: Value = serde_json::from_slice(&status).expect("a document");
        assert_eq!(status["auth"]["ready_for_requests"], true, "{status}");
        let counters = place.simulator.counters();
        assert_eq!((counters.refreshes, counters.spent_refreshes), (round, 0));
    }
}

/// Behind that of the sign-in server or ahead of it by weeks, and put right while the relay runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_costs_no_login() {
    for ahead in ["-2592000", "2592000"] {
        let place = Place::new().await;
        place.simulator.set_world("issuer_clock", ahead).expect("a switch");
        place.log_in();
        let mut relay = place.relay();
        let address = relay.address();
        let renewals = |relays: u64, lost: u64| {
            let counters = place.simulator.counters();
            assert_eq!(counters.spent_refreshes, 0, "{ahead}");
            // A token that looks ended is tried to renew once by each relay, and used all the same.
            assert!(counters.refreshes <= relays + lost, "{ahead}: {}", counters.refreshes);
        };
        for _ in 0..10 {
            assert_eq!(place.say_hello(address).await.status, 200, "{ahead}");
        }
        renewals(1, 0);
        // Whatever a token says of its end, the sign-in server decides.
        place.simulator.expire_access_tokens();
        assert_eq!(place.say_hello(address).await.status, 200, "{ahead}");
        renewals(1, 1);
        place.simulator.set_world("issuer_clock", "0").expect("a switch");
        place.simulator.expire_access_tokens();
        assert_eq!(place.say_hello(address).await.status, 200, "{ahead}");
        relay.kill();
        let mut relay = place.relay();
        assert_eq!(place.say_hello(relay.address()).await.status, 200, "{ahead}");
        renewals(2, 2);
    }
}

/// A real disk, in a world of its own, with nothing left on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_costs_no_login() {
    let place = Place::new().await;
    let Some(mut disk) = SmallDisk::with_relay(&place, "400k") else {
        println!("nobody may mount here, so no disk was filled");
        return;
    };
    let address = disk.address();
    assert_eq!(place.say_hello(address).await.status, 200);
    disk.fill().await;
    place.simulator.expire_access_tokens();
    for _ in 0..3 {
        let reply = place.say_hello(address).await;
        assert_eq!(reply.status, 503);
        let told = reply.json()["error"]["message"].as_str().expect("text").to_owned();
        assert_eq!(told, "The stored ChatGPT login could not be written.");
    }
    assert_eq!(place.simulator.counters().refreshes, 0, "no token was spent");
    disk.free().await;
    assert_eq!(place.say_hello(address).await.status, 200);
    assert_eq!(place.say_hello(address).await.status, 200);
    disk.end().await;
    let counters = place.simulator.counters();
    assert_eq!((counters.refreshes, counters.spent_refreshes), (1, 0));
}
