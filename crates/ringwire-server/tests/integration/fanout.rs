//! From publishers to subscribers on two shards: one order for all, and nobody waits for a slow one.

use std::time::Duration;

use crate::support::{Received, Server, Socket};
use ringwire_codec::Opcode;

/// Enough connections that the kernel spreads them over both shards, but for once in half a million.
const SUBSCRIBERS: usize = 20;

#[test]
fn subscribers_on_all_shards_get_one_order() {
    let server = Server::start(&[]);
    let mut raw: Vec<Socket> = (0..SUBSCRIBERS).map(|_| server.socket("/ws/a")).collect();
    let mut combined: Vec<Socket> = (0..SUBSCRIBERS).map(|_| server.socket("/stream?streams=b/a")).collect();
    server.await_topic("a", &format!("\"subscribers\":{}", 2 * SUBSCRIBERS));
    // Publishers on both shards, and HTTP between them.
    let mut publishers: Vec<Socket> = (0..8).map(|_| server.socket("/pub/a")).collect();
    let rounds = 25;
    for round in 0..rounds {
        for (index, publisher) in publishers.iter_mut().enumerate() {
            publisher.send_text(&format!("{{\"from\":{index},\"round\":{round}}}"));
        }
        let answer = server.publish("a", &format!("{{\"from\":\"http\",\"round\":{round}}}"));
        assert_eq!(answer.status, 200);
    }
    let count = rounds * (publishers.len() + 1);
    let order: Vec<String> = (0..count).map(|_| raw[0].text()).collect();
    for subscriber in &mut raw[1..] {
        let own: Vec<String> = (0..count).map(|_| subscriber.text()).collect();
        assert_eq!(own, order);
    }
    for subscriber in &mut combined {
        for message in &order {
            assert_eq!(subscriber.text(), format!("{{\"stream\":\"a\",\"data\":{message}}}"));
        }
    }
    for index in 0..publishers.len() {
        let from = format!("{{\"from\":{index},");
        let own: Vec<&String> = order.iter().filter(|message| message.starts_with(&from)).collect();
        let sent: Vec<String> = (0..rounds).map(|round| format!("{from}\"round\":{round}}}")).collect();
        assert!(own.into_iter().eq(&sent), "what one publisher sends stays in its order");
    }
    server.await_topic("a", &format!("\"seq\":{count}"));
}

#[test]
fn a_publish_says_its_number_in_the_order() {
    let server = Server::start(&[]);
    let mut subscriber = server.socket("/ws/a");
    for seq in 1..=5 {
        let answer = server.publish("a", &seq.to_string());
        assert_eq!(answer.body, format!("{{\"topic\":\"a\",\"seq\":{seq}}}\n"));
        assert_eq!(subscriber.text(), seq.to_string());
    }
}

#[test]
fn a_subscriber_begins_with_the_next_message() {
    let server = Server::start(&[]);
    server.publish("a", "before");
    let mut subscriber = server.socket("/ws/a");
    server.publish("a", "after");
    assert_eq!(subscriber.text(), "after");
    assert!(!subscriber.has_more(Duration::from_millis(50)));
}

#[test]
fn bytes_and_text_keep_their_kind() {
    let server = Server::start(&[]);
    let mut subscriber = server.socket("/ws/a");
    let mut publisher = server.socket("/pub/a");
    publisher.send_text("{}");
    publisher.send(Opcode::Binary, b"{}");
    publisher.send_text("");
    assert_eq!(subscriber.receive(), Received::Text("{}".into()));
    assert_eq!(subscriber.receive(), Received::Binary(b"{}".to_vec()));
    assert_eq!(subscriber.receive(), Received::Text(String::new()));
}

/// Payload of message `number`: enough of them fill every buffer between server and subscriber.
fn numbered(number: usize) -> Vec<u8> {
    let mut payload = vec![b'.'; 16 * 1024];
    payload[..8].copy_from_slice(format!("{number:08}").as_bytes());
    payload
}

fn number_of(payload: &[u8]) -> usize {
    std::str::from_utf8(&payload[..8]).expect("digits").parse().expect("a number")
}

/// Publishes this many messages, a few at a time, each received by all of `readers` before the next ones.
fn publish_to(server: &Server, readers: &mut [Socket], count: usize) {
    let mut publisher = server.socket("/pub/a");
    for first in (0..count).step_by(8) {
        for number in first..first + 8 {
            publisher.send(Opcode::Binary, &numbered(number));
        }
        for reader in readers.iter_mut() {
            for number in first..first + 8 {
                let Received::Binary(payload) = reader.receive() else { panic!("not a message") };
                assert_eq!(number_of(&payload), number);
            }
        }
    }
}

#[test]
fn a_subscriber_that_stops_reading_delays_nobody_and_costs_no_memory() {
    // It would be let go for not reading in time, should the rest take long.
    let patient = "timeouts.ping_interval_ms = 0\ntimeouts.unacknowledged_timeout_ms = 0\n";
    let server = Server::start_configured(&format!("{patient}shards.receive_buffers = 64\n"));
    let mut stalled = server.socket("/ws/a");
    let mut readers: Vec<Socket> = (0..100).map(|_| server.socket("/ws/a")).collect();
    server.await_topic("a", "\"subscribers\":101");
    let before = server.process.resident_bytes();
    // More than the log keeps and the kernel takes, while each of the 100 gets every message before the next few.
    let (on_time, more) = (320, 10_000);
    publish_to(&server, &mut readers, on_time);
    drop(readers);
    let mut publisher = server.socket("/pub/a");
    for number in on_time..on_time + more {
        publisher.send(Opcode::Binary, &numbered(number));
    }
    assert_eq!(publisher.close(), 1000);
    let count = on_time + more;
    server.await_topic("a", &format!("\"seq\":{count}"));
    // The receive buffers of two shards are 4 MiB here, the log keeps 4 MiB, and each shard may hold the segments it read
    // last; arenas and what the allocator keeps make it 20 to 27 MiB. A queue for the one that does not read would hold
    // the 161 MiB that were published.
    let grown = server.process.resident_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes more");
    // What it gets now is the beginning, then a gap.
    let mut numbers = Vec::new();
    while stalled.has_more(Duration::from_millis(200)) {
        let Received::Binary(payload) = stalled.receive() else { panic!("not a message") };
        numbers.push(number_of(&payload));
    }
    assert!(numbers.len() < count && numbers.is_sorted(), "{numbers:?} of {count}");
    // It goes on with what is new.
    server.publish("a", "news");
    assert_eq!(stalled.text(), "news");
}

#[test]
fn a_slow_subscriber_is_disconnected_where_the_policy_says_so() {
    is_disconnected_where_slow(&Server::start(&["--slow", "disconnect"]));
}

#[test]
fn a_topics_rule_says_what_becomes_of_a_slow_subscriber() {
    is_disconnected_where_slow(&Server::start_configured("[[topics]]\nmatch = \"a\"\nslow = \"disconnect\"\n"));
}

fn is_disconnected_where_slow(server: &Server) {
    let mut stalled = server.socket("/ws/a");
    let mut readers: Vec<Socket> = (0..2).map(|_| server.socket("/ws/a")).collect();
    server.await_topic("a", "\"subscribers\":3");
    let count = 400;
    publish_to(server, &mut readers, count);
    let mut next = 0;
    let close = loop {
        match stalled.receive() {
            Received::Binary(payload) => assert_eq!(number_of(&payload), next),
            other => break other,
        }
        next += 1;
    };
    assert!(next < count, "it was not slow");
    let Received::Close(code, reason) = close else { panic!("{close:?}") };
    assert_eq!(code, 4008);
    assert!(reason.contains("slow consumer"), "{reason}");
    server.await_topic("a", "\"subscribers\":2");
}
