//! What belongs to a connection, and goes with it.

use simd_json::prelude::*;

use super::Client;
use crate::support::Server;

#[test]
fn a_server_that_ends_tells_its_clients_to_come_back() {
    let server = Server::start(&[]);
    let mut client = Client::open(server.address);
    client.ask(r#"{"id":1,"method":"ping"}"#);
    server.process.signal("TERM");
    let away = client.receive();
    assert_eq!((away.get_str("type"), away.get_str("why")), (Some("goaway"), Some("restart")));
    assert!(away.get_u64("after_ms").is_some() && away.get_u64("jitter_ms").is_some());
    assert_eq!(client.closed().0, 1012);
}

#[test]
fn answers_to_one_message_come_in_one_and_in_order() {
    let server = Server::start(&[]);
    let mut client = Client::open(server.address);
    let requests: Vec<String> = (0..100)
        .map(|id| format!(r#"{{"id":{id},"method":"publish","params":{{"topic":"a","data":{id}}}}}"#))
        .collect();
    client.send(&requests.join("\n"));
    let text = client.socket.text();
    assert_eq!(text.lines().count(), 100);
    for (id, line) in text.lines().enumerate() {
        let answer = super::json(line);
        assert_eq!((answer["id"].as_usize(), answer["result"]["seq"].as_usize()), (Some(id), Some(id + 1)));
    }
}

#[test]
fn topics_of_a_pattern_end_with_it_unless_another_matches() {
    let server = Server::start(&[]);
    let mut client = Client::open(server.address);
    client.ask(r#"{"id":1,"method":"subscribe","params":["a.>","a.b.*"]}"#);
    for topic in ["a.b.c", "a.x"] {
        client.ask(&format!(r#"{{"id":1,"method":"bind","params":{{"topic":"{topic}"}}}}"#));
        assert_eq!(client.receive().get_str("type"), Some("subscribed"));
        client.send(&format!(r#"{{"method":"publish","params":{{"topic":"{topic}","data":1}}}}"#));
        assert_eq!(client.receive().get_str("topic"), Some(topic));
    }
    let ended = client.ask(r#"{"id":2,"method":"unsubscribe","params":["a.>"]}"#);
    let topics = ended["result"][0]["topics"].as_array().expect("the topics that ended");
    assert_eq!(topics.iter().map(|topic| topic.get_str("topic").unwrap()).collect::<Vec<_>>(), ["a.x"]);
    assert_eq!(topics[0]["account"]["delivered"], 1);
    let left = client.ask(r#"{"id":3,"method":"account"}"#);
    assert_eq!(left["result"][0].get_str("topic"), Some("a.b.c"));
    client.send(r#"{"method":"publish","params":{"topic":"a.y","data":1}}"#);
    let answer = client.ask(r#"{"id":4,"method":"ping"}"#);
    assert!(answer.contains_key("result"), "a topic of the pattern that ended is not announced: {answer:?}");
}

#[test]
fn members_join_and_leave_with_their_connections() {
    let server = Server::start_configured("[[topics]]\nmatch = \"room.>\"\npresence = \"members\"\n");
    let mut watcher = Client::open(server.address);
    let presence = |client: &mut Client| {
        let answer = client.ask(r#"{"id":9,"method":"presence","params":{"topic":"room.1"}}"#);
        answer["result"].get_u64("count").unwrap_or_else(|| panic!("{answer:?}"))
    };
    assert_eq!(presence(&mut watcher), 0);
    let mut member = Client::open(server.address);
    member.ask(r#"{"id":1,"method":"subscribe","params":{"topics":"room.1","info":{"name":"Ann"}}}"#);
    assert_eq!(presence(&mut watcher), 1);
    let mut second = Client::open(server.address);
    second.ask(r#"{"id":1,"method":"subscribe","params":"room.1"}"#);
    assert_eq!(presence(&mut watcher), 2);
    second.ask(r#"{"id":2,"method":"unsubscribe","params":"room.1"}"#);
    assert_eq!(presence(&mut watcher), 1);
    assert_eq!(member.socket.close(), 1000);
    let clock = ringwire_ring::Clock::start();
    while presence(&mut watcher) > 0 {
        assert!(clock.now().since(ringwire_ring::Instant::default()) < crate::support::PATIENCE, "it never leaves");
    }
}

#[test]
fn presence_may_only_be_counted() {
    let server = Server::start_configured("[[topics]]\nmatch = \"room.>\"\npresence = \"count\"\n");
    let mut client = Client::open(server.address);
    client.ask(r#"{"id":1,"method":"subscribe","params":"room.1"}"#);
    let answer = client.ask(r#"{"id":2,"method":"presence","params":{"topic":"room.1"}}"#);
    assert_eq!(answer["result"]["count"], 1);
    assert!(!answer["result"].contains_key("members"));
}

#[test]
fn a_key_that_another_has_set_since_is_not_removed_with_its_first_owner() {
    let server = Server::start_configured("[[topics]]\nmatch = \"k\"\nkind = \"keyed\"\n");
    let set = |client: &mut Client, bound: &str| {
        let answer =
            client.ask(&format!(r#"{{"id":1,"method":"publish","params":{{"topic":"k","key":"a","data":1{bound}}}}}"#));
        answer["result"]["seq"].as_u64()
    };
    let (mut first, mut second) = (Client::open(server.address), Client::open(server.address));
    assert_eq!(set(&mut first, ",\"bound\":true"), Some(1));
    assert_eq!(set(&mut second, ""), Some(2));
    first.socket.close();
    let mut third = Client::open(server.address);
    assert_eq!(set(&mut third, ",\"bound\":true"), Some(3), "nothing was removed meanwhile");
}

#[test]
fn aliases_of_exchanges_are_understood() {
    let server = Server::start(&[]);
    let mut client = Client::open(server.address);
    let answer = client.ask(r#"{"req_id":"x","op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#);
    assert_eq!(answer.get_str("id"), Some("x"));
    assert_eq!(answer["result"][0].get_str("state"), Some("new"));
}

#[test]
fn a_pattern_that_matches_more_than_there_is_room_for_says_so_once() {
    let server = Server::start_configured("[native]\ntopics_max = 3\n");
    for topic in ["p.a", "p.b", "p.c", "p.d"] {
        server.publish(topic, "1");
    }
    let mut client = Client::open(server.address);
    let answer = client.ask(r#"{"id":1,"method":"subscribe","params":["p.>"]}"#);
    assert_eq!(answer["result"][0].get_str("state"), Some("pattern"));
    for topic in ["p.a", "p.b"] {
        assert_eq!(client.receive().get_str("topic"), Some(topic));
    }
    let full = client.receive();
    assert_eq!((full.get_str("type"), full.get_str("topic")), (Some("error"), Some("p.c")));
    assert_eq!(super::fault_of(&full).0, 429);
    server.publish("p.e", "1");
    assert!(client.ask(r#"{"id":2,"method":"ping"}"#).contains_key("result"), "the others are not told of one by one");
    let names = vec!["\"a\""; 1025].join(",");
    let (code, words) = client.fault(&format!(r#"{{"id":3,"method":"unsubscribe","params":[{names}]}}"#));
    assert_eq!((code, words.as_str()), (429, "too many topics in a request: at most 1024 are taken"));
}
