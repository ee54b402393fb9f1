//! Much that is kept: memory stays as it is, and whatever is asked for is found.
//!
//! For how much can be set:
//! `AIRELAYS_CONVERSATIONS=10000 cargo test --release --test it many -- --nocapture`.

#![expect(clippy::print_stdout, reason = "who asks for a long run wants to see figures")]

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{
    MODEL, TOKEN,
    http::{Ask, Connection, Reply},
    place::Place,
    process::number,
    program::Program,
};

const USUAL: usize = 200;
/// Items of each conversation.
const ITEMS: usize = 10;
/// Clients that make them.
const CLIENTS: usize = 20;
/// How much more memory the second half may need, in KiB.
const GROWTH: u64 = 16 << 10;

fn conversations() -> usize {
    let given = std::env::var("AIRELAYS_CONVERSATIONS").ok();
    given.and_then(|given| given.parse().ok()).unwrap_or(USUAL)
}

async fn reply(connection: &mut Connection, ask: &Ask) -> Reply {
    connection.send(&ask.clone().bearer(TOKEN).bytes()).await;
    let reply = connection.reply().await.expect("an answer");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

/// Makes `count` conversations over connections of their own. Their ids.
async fn make(address: SocketAddr, count: usize) -> Vec<String> {
    let clients = (0..CLIENTS).map(|client| async move {
        let mut connection = Connection::open(address).await;
        let mut ids = Vec::new();
        for n in (client..count).step_by(CLIENTS) {
            let said = |at: usize| json!({"role": "user", "content": format!("{n}-{at} {}", "word ".repeat(40))});
            let items: Vec<_> = (0..ITEMS).map(said).collect();
            let body = json!({"items": items, "metadata": {"n": n.to_string()}});
            let made = reply(&mut connection, &Ask::post("/v1/conversations", body.to_string())).await;
            ids.push(made.json()["id"].as_str().expect("an id").to_owned());
        }
        ids
    });
    join_all(clients).await.concat()
}

/// How long `ask` takes in the middle of 21 times, and what it comes to.
async fn time(connection: &mut Connection, ask: impl Fn(usize) -> Ask) -> (Duration, Value) {
    let mut times = Vec::new();
    let mut last = Value::Null;
    for n in 0..21 {
        let began = Instant::now();
        last = reply(connection, &ask(n)).await.json();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    (times[10], last)
}

#[tokio::test(flavor = "multi_thread")]
async fn much_is_kept_in_little_memory() {
    let place = Place::new().await;
    let mut command = place.command("serve --port 0 --stateful");
    for limit in ["BURST", "PER_MINUTE"] {
        command.env(format!("AIRELAYS_RATE_LIMIT_{limit}"), "1000000000");
    }
    command.env("AIRELAYS_CONCURRENT_REQUESTS_PER_IP", "100");
    command.env("AIRELAYS_LOG_ENABLED", "false");
    let mut relay = Program::spawn(command);
    let address = relay.address();
    let half = conversations() / 2;
    let began = Instant::now();
    let mut ids = make(address, half).await;
    let first = number(relay.id(), "VmRSS:");
    ids.extend(make(address, conversations() - half).await);
    let second = number(relay.id(), "VmRSS:");
    println!("{} conversations with {ITEMS} items each in {:.1?}", ids.len(), began.elapsed());
    println!("memory: {first} KiB after one half, {second} KiB after both");
    let mut connection = Connection::open(address).await;
    let id = |n: usize| &ids[n * 7919 % ids.len()];
    let (took, found) =
        time(&mut connection, |n| Ask::get(&format!("/v1/conversations/{}", id(n)))).await;
    assert_eq!(found["object"], "conversation");
    println!("one conversation: {took:.1?}");
    let items = |n: usize| Ask::get(&format!("/v1/conversations/{}/items?limit=100", id(n)));
    let (took, found) = time(&mut connection, items).await;
    assert_eq!(found["data"].as_array().map(Vec::len), Some(ITEMS));
    println!("its items: {took:.1?}");
    let turn = |n: usize| {
        let body = json!({"model": MODEL, "input": "hello", "conversation": id(n)});
        Ask::post("/v1/responses", body.to_string())
    };
    let (took, found) = time(&mut connection, turn).await;
    assert_eq!(found["status"], "completed");
    println!("a turn in it, kept: {took:.1?}");
    let alone = |_: usize| {
        let body = json!({"model": MODEL, "input": "hello", "store": false});
        Ask::post("/v1/responses", body.to_string())
    };
    let (took, _) = time(&mut connection, alone).await;
    println!("the same with nothing kept: {took:.1?}");
    let (took, found) = time(&mut connection, |_| Ask::get("/v1/relay/status")).await;
    assert_eq!(found["storage"]["conversation_count"], ids.len());
    println!("the status, which counts them: {took:.1?}");
    assert!(second < first + GROWTH, "{first} KiB, then {second} KiB");
}
