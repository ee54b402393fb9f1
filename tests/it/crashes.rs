//! What is kept survives the end of the program at any moment, and a disk without room.
//!
//! `AIRELAYS_KILLS` says how often a relay is killed.

#![expect(clippy::print_stdout, reason = "who asks for a long run wants to see figures")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    harness::{
        MODEL, TOKEN,
        disk::SmallDisk,
        eventually,
        http::{Ask, Connection, Reply},
        place::Place,
        program::Program,
    },
    survival::some,
    uploads::{file, upload},
};

const USUAL: u64 = 8;

fn kills() -> u64 {
    std::env::var("AIRELAYS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(USUAL)
}

/// What clients were told is kept.
#[derive(Clone, Debug, Default)]
struct Acknowledged {
    /// Ids of files with what they hold.
    files: BTreeMap<String, Vec<u8>>,
    /// What was said in turns that were answered to their end, in order.
    turns: Vec<String>,
    answers: BTreeSet<String>,
}

async fn ask(address: SocketAddr, ask: &Ask) -> Option<Reply> {
    Connection::try_ask(address, &ask.clone().bearer(TOKEN).bytes()).await
}

async fn get(address: SocketAddr, path: &str) -> Reply {
    ask(address, &Ask::get(path)).await.expect("an answer")
}

fn text_of(json: &Value, name: &str) -> String {
    json[name].as_str().expect("text").to_owned()
}

/// Uploads until nobody answers.
async fn uploads(address: SocketAddr, seed: u64, told: Arc<Mutex<Acknowledged>>) {
    for n in 0.. {
        let length =
            usize::try_from(some(seed.wrapping_mul(31).wrapping_add(n), 300_000)).expect("small");
        let content = vec![u8::try_from(n % 251).expect("a byte"); length];
        let form = upload("/v1/files", &[file("a.bin", "", &content)]);
        let Some(reply) = Connection::try_ask(address, &form.bytes()).await else { return };
        assert_eq!(reply.status, 200, "{reply:?}");
        told.lock().files.insert(text_of(&reply.json(), "id"), content);
    }
}

/// Talks in one conversation until nobody answers. Every answer is kept as well.
async fn turns(address: SocketAddr, (seed, id): (u64, String), told: Arc<Mutex<Acknowledged>>) {
    for n in 0.. {
        let said = format!("{seed}-{n}");
        let body = json!({"model": MODEL, "input": said, "conversation": id, "stream": n % 2 == 0});
        let request = Ask::post("/v1/responses", body.to_string());
        let Some(reply) = ask(address, &request).await else { return };
        assert_eq!(reply.status, 200, "{reply:?}");
        if n % 2 == 0 && !reply.text().contains("response.completed") {
            return;
        }
        let mut told = told.lock();
        told.turns.push(said);
        if n % 2 == 1 {
            told.answers.insert(text_of(&reply.json(), "id"));
        }
    }
}

fn relay(place: &Place) -> Program {
    let mut command = place.command("serve --port 0 --stateful");
    command
        .env("AIRELAYS_RATE_LIMIT_BURST", "1000000")
        .env("AIRELAYS_RATE_LIMIT_PER_MINUTE", "1000000");
    command.env("AIRELAYS_MAX_TOTAL_UPLOAD_BYTES", (8_u64 << 30).to_string());
    Program::spawn(command)
}

/// Everything that was acknowledged is there, and nothing that is half.
async fn check(place: &Place, address: SocketAddr, conversation: &str, told: &Acknowledged) {
    let listed = get(address, "/v1/files").await.json();
    let listed = listed["data"].as_array().expect("a list").clone();
    let ids: BTreeSet<_> = listed.iter().map(|it| text_of(it, "id")).collect();
    assert!(told.files.keys().all(|id| ids.contains(id)), "a file is gone");
    for (id, content) in told.files.iter().rev().take(3) {
        let whole = get(address, &format!("/v1/files/{id}/content")).await;
        assert_eq!(&whole.body, content, "{id}");
    }
    for entry in &listed {
        let path = place.home.path().join(".airelays/files").join(text_of(entry, "id"));
        let length = fs::metadata(&path).expect("its content").len();
        assert_eq!(Some(length), entry["bytes"].as_u64(), "{}", path.display());
    }
    let contents = fs::read_dir(place.home.path().join(".airelays/files"));
    assert_eq!(contents.map_or(0, Iterator::count), ids.len(), "and nothing else");
    let mut said = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/conversations/{conversation}/items?order=asc&limit=100{after}");
        let page = get(address, &path).await.json();
        said.extend(page["data"].as_array().expect("a list").clone());
        if page["has_more"] != true {
            break;
        }
        after = format!("&after={}", text_of(&page, "last_id"));
    }
    let roles: Vec<_> = said.iter().map(|item| text_of(item, "role")).collect();
    let is_whole = |turn: &[String]| turn == ["user", "assistant"];
    assert!(roles.chunks(2).all(is_whole), "half a turn: {roles:?}");
    let users: Vec<_> =
        said.iter().step_by(2).map(|it| text_of(&it["content"][0], "text")).collect();
    let kept: BTreeSet<_> = told.turns.iter().collect();
    let in_order: Vec<_> = users.iter().filter(|user| kept.contains(user)).collect();
    assert_eq!(in_order, told.turns.iter().collect::<Vec<_>>());
    for id in told.answers.iter().rev().take(5) {
        assert_eq!(get(address, &format!("/v1/responses/{id}")).await.status, 200, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_any_kill() {
    let place = Place::new().await;
    let mut first = relay(&place);
    let made = ask(first.address(), &Ask::post("/v1/conversations", "{}")).await.expect("made");
    let conversation = text_of(&made.json(), "id");
    first.kill();
    let told = Arc::new(Mutex::new(Acknowledged::default()));
    for round in 0..kills() {
        let mut relay = relay(&place);
        let address = relay.address();
        let so_far = told.lock().clone();
        check(&place, address, &conversation, &so_far).await;
        let life = Duration::from_millis(some(round, 400));
        let clients = async {
            tokio::join!(
                uploads(address, round, Arc::clone(&told)),
                uploads(address, round + 1_000_000, Arc::clone(&told)),
                turns(address, (round, conversation.clone()), Arc::clone(&told)),
            )
        };
        let killed = async {
            // However slow the machine is, something is kept before the first of them goes.
            let so_far = Arc::clone(&told);
            let is_any = move || !so_far.lock().files.is_empty() && !so_far.lock().turns.is_empty();
            eventually("something is kept", is_any).await;
            sleep(life).await;
            relay.kill();
        };
        tokio::join!(clients, killed);
    }
    let mut relay = relay(&place);
    let address = relay.address();
    let told = told.lock().clone();
    check(&place, address, &conversation, &told).await;
    let doctor = place.command("doctor --no-request --json").output().expect("ran");
    let doctor: Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    let storage =
        doctor["checks"].as_array().expect("a list").iter().find(|it| it["name"] == "storage");
    assert_eq!(storage.expect("a check")["status"], "pass", "{storage:?}");
    assert!(!told.files.is_empty() && !told.turns.is_empty(), "nothing was ever kept");
    println!(
        "{} kills: {} files and {} turns are there",
        kills(),
        told.files.len(),
        told.turns.len()
    );
}

/// A real disk, in a world of its own, with nothing left on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_keeps_nothing_by_halves() {
    let place = Place::new().await;
    let Some(mut disk) = SmallDisk::with_relay(&place, "4m") else {
        println!("nobody may mount here, so no disk was filled");
        return;
    };
    let address = disk.address();
    let upload_of = async |length: usize| {
        let form = upload("/v1/files", &[file("a.bin", "", &vec![7; length])]);
        Connection::try_ask(address, &form.bytes()).await.expect("an answer")
    };
    assert_eq!(upload_of(1000).await.status, 200);
    disk.fill().await;
    for length in [10, 400_000] {
        let line = upload_of(length).await.refusal().line();
        assert_eq!(line, "503 server_error storage_unavailable");
    }
    let body = json!({"items": [{"role": "user", "content": "x".repeat(200_000)}]});
    let refused = ask(address, &Ask::post("/v1/conversations", body.to_string())).await;
    let refused = refused.expect("an answer");
    assert!(refused.text().contains("The disk is full"), "{refused:?}");
    let hello = json!({"model": MODEL, "input": "hello"}).to_string();
    let answer = ask(address, &Ask::post("/v1/responses", hello)).await.expect("an answer");
    assert_eq!(answer.status, 200, "who keeps nothing needs no room");
    assert_eq!(get(address, "/v1/files").await.json()["data"].as_array().map(Vec::len), Some(1));
    let names = disk.free().await;
    assert_eq!(names.len(), 1, "nothing is left of what did not fit: {names:?}");
    assert_eq!(upload_of(100_000).await.status, 200);
    disk.end().await;
}
