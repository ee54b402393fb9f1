//! Clients that take their time, on either side.

use rustix::net::sockopt;

use super::relay::{JSON, Relay, TOKEN, chat, request, until};

const SHORT: &str = "0.4";

#[test]
fn p2_half_a_head_and_none_at_all_are_closed_in_time() {
    let relay = Relay::start(&[("AIRELAYS_HEADER_TIMEOUT_SECONDS", SHORT)]);
    for start in ["", "G", "GET / HTTP/1.1\r\nHost: loc", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut client = relay.connect();
        client.send(start);
        assert_eq!(client.rest().status, 0, "{start:?}");
    }
}

#[test]
fn p2_a_body_that_stops_arriving_is_answered_408_and_closed() {
    let relay = Relay::start(&[("AIRELAYS_BODY_IDLE_TIMEOUT_SECONDS", SHORT)]);
    let head = format!(
        "POST /v1/chat/completions\nAuthorization: Bearer {TOKEN}\nConnection: keep-alive\n{JSON}"
    );
    for (length, start) in [("Content-Length: 99", "{"), ("Transfer-Encoding: chunked", "5\r\n{")] {
        let mut client = relay.connect();
        let length_is_said = format!("{head}\n{length}");
        client.send(&request(relay.address, &length_is_said, ""));
        client.send(start);
        let answer = client.rest();
        assert_eq!((answer.status, &*answer.code()), (408, "request_timeout"), "{length}");
        assert_eq!(answer.header("connection"), Some("close"), "{length}");
    }
    until("the permits are given back", || {
        relay.status()["security"]["client"]["active_requests"] == 1
    });
    assert_eq!(relay.sent(), 0);
}

#[test]
fn p2_a_body_without_end_is_bounded_in_time_and_in_size() {
    let slow = Relay::start(&[("AIRELAYS_BODY_TIMEOUT_SECONDS", SHORT)]);
    let head = format!(
        "POST /v1/responses\nAuthorization: Bearer {TOKEN}\nContent-Length: 999999\n{JSON}"
    );
    let mut client = slow.connect();
    client.send(&request(slow.address, &head, ""));
    // A byte at a time, for as long as it is taken.
    let answer = loop {
        client.send(" ");
        client.stream.set_nonblocking(true).expect("set");
        let mut byte = [0];
        let has_come = client.stream.peek(&mut byte).is_ok();
        client.stream.set_nonblocking(false).expect("set");
        if has_come {
            break client.until("\r\n\r\n");
        }
    };
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");

    let small = Relay::start(&[("AIRELAYS_MAX_BODY_BYTES", "100000")]);
    let announced = small.ask(&head.replace("999999", "100001"), "{");
    assert_eq!((announced.status, &*announced.code()), (413, "request_too_large"));
    let mut client = small.connect();
    let head = head.replace("Content-Length: 999999", "Transfer-Encoding: chunked");
    client.send(&request(small.address, &head, ""));
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for _ in 0..25 {
        client.send(&chunk);
    }
    assert_eq!(client.rest().status, 413);
}

#[test]
fn p1_a_stranger_is_answered_before_a_body_is_read() {
    let relay = Relay::start(&[]);
    let head = format!("POST /v1/responses\nContent-Length: 99999999999\n{JSON}");
    let mut client = relay.connect();
    client.send(&request(relay.address, &head, ""));
    assert_eq!(client.rest().status, 401);
    let head = format!("POST /v1/responses\nExpect: 100-continue\nContent-Length: 9\n{JSON}");
    let mut client = relay.connect();
    client.send(&request(relay.address, &head, ""));
    assert_eq!(client.rest().status, 401, "and it is not asked to go on");
}

#[test]
fn r3_a_client_that_never_reads_is_cut_and_the_upstream_let_go() {
    let relay = Relay::start(&[("AIRELAYS_WRITE_TIMEOUT_SECONDS", SHORT)]);
    let head = format!("POST /v1/responses\nAuthorization: Bearer {TOKEN}\n{JSON}");
    let body = r#"{"model":"gpt-5.4-mini","stream":true,"input":"[sim big: 7000000]"}"#;
    let mut clients: Vec<_> = (0..3).map(|_| relay.connect()).collect();
    for client in &mut clients {
        // More than what the other side may keep for it.
        sockopt::set_socket_recv_buffer_size(&client.stream, 4096).expect("set");
        client.send(&request(relay.address, &head, body));
    }
    relay.wait_for_cancelled(3);
    until("the permits are given back", || {
        relay.status()["security"]["client"]["active_requests"] == 1
    });
}

#[test]
fn r4_a_client_that_leaves_ends_the_upstream_streamed_or_not() {
    let relay = Relay::start(&[]);
    let head = format!("POST /v1/chat/completions\nAuthorization: Bearer {TOKEN}\n{JSON}");
    let mut left = 0;
    for marker in ["[sim stall]", "[sim stall-after-text]", "[sim headers-pause: 60000]"] {
        for stream in [false, true] {
            let mut client = relay.connect();
            client.send(&request(relay.address, &head, &chat(marker, stream)));
            left += 1;
            until("the upstream is asked", || relay.sent() == left);
            drop(client);
            relay.wait_for_cancelled(left);
        }
    }
    until("the permits are given back", || {
        relay.status()["security"]["client"]["active_requests"] == 1
    });
}
