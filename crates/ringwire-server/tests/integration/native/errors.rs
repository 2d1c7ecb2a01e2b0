//! Each error of the native protocol, provoked: its code, and words that say what to do.

use ringwire_codec::Opcode;

use super::{Client, fault_of, json};
use crate::support::{PATIENCE, Received, Server, Socket};
use simd_json::prelude::*;

/// A server on which nothing is allowed without a key.
const CLOSED: &str = r#"
[[auth.api_keys]]
name = "desk"
secret = "a-key-that-is-long-enough-for-a-test"
subscribe = ["trades.>"]
publish = ["trades.>"]
"#;
const KEY: &str = "a-key-that-is-long-enough-for-a-test";

fn assert_fault(fault: (u64, String), code: u64, words: &str) {
    assert!(fault.0 == code && fault.1.contains(words), "{fault:?} is not {code} {words}");
}

#[test]
fn what_is_no_request_is_answered_without_an_id() {
    let server = Server::start(&[]);
    let mut client = Client::open(server.address);
    for (message, words) in [
        ("hello", "this is not JSON"),
        ("{\"id\":1", "this is not JSON"),
        ("[]", "a request is a JSON object"),
        ("", "this is not JSON"),
    ] {
        let answer = client.ask(message);
        assert_eq!(answer.get_str("type"), Some("error"));
        assert_fault(fault_of(&answer), 400, words);
    }
    client.socket.send(Opcode::Binary, b"{}");
    assert_fault(fault_of(&client.receive()), 400, "name the subprotocol ringwire.bin.1");
}

#[test]
fn wrong_requests_are_answered_with_what_is_wrong() {
    let server = Server::start(&[]);
    let mut client = Client::open(server.address);
    for (request, code, words) in [
        (r#"{"id":1}"#, 400, "names no method"),
        (r#"{"id":-1,"method":"ping"}"#, 400, "an id is a whole number"),
        (r#"{"id":1,"method":"sub"}"#, 404, "there is no method \"sub\": use one of connect"),
        (r#"{"id":1,"method":"publish","params":{"topic":"a"}}"#, 400, "publish needs \"data\""),
        (r#"{"id":1,"method":"publish","params":{"topic":7,"data":1}}"#, 400, "\"topic\" is to be a string"),
        (r#"{"id":1,"method":"publish","params":{"topic":"a.*","data":1}}"#, 400, "takes one topic by its name"),
        (r#"{"id":1,"method":"publish","params":{"topic":"a b","data":1}}"#, 400, "is no topic: byte 1"),
        (r#"{"id":1,"method":"publish","params":{"topic":"a","key":"k","data":1}}"#, 400, "this topic is plain"),
        (r#"{"id":1,"method":"presence","params":{"topic":"a"}}"#, 400, "has no presence"),
        (r#"{"id":1,"method":"history","params":{"topic":"unknown"}}"#, 404, "there is no topic unknown"),
        (r#"{"id":1,"method":"connect"}"#, 409, "before all other requests"),
    ] {
        assert_fault(client.fault(request), code, words);
    }
    let answer = client.ask(r#"{"id":1,"method":"subscribe","params":["a","a.>.b","a"]}"#);
    let results = answer["result"].as_array().expect("a result for each");
    assert!(results[0].contains_key("seq"));
    assert_fault(fault_of(&results[1]), 400, "is no pattern");
    assert_fault(fault_of(&results[2]), 409, "already: unsubscribe first");
}

#[test]
fn a_removal_of_no_key_is_an_error() {
    let server = Server::start_configured("[[topics]]\nmatch = \"k.>\"\nkind = \"keyed\"\nkeys_max = 1\n");
    let mut client = Client::open(server.address);
    let remove = r#"{"id":1,"method":"publish","params":{"topic":"k.a","key":"x","remove":true}}"#;
    assert_fault(client.fault(remove), 404, "there is no key \"x\" to remove");
    let set = |key: &str| format!(r#"{{"id":1,"method":"publish","params":{{"topic":"k.a","key":"{key}","data":1}}}}"#);
    assert_eq!(client.ask(&set("x"))["result"]["seq"], 1);
    assert_fault(client.fault(&set("y")), 429, "the topic has 1 keys, and no more are taken");
}

#[test]
fn what_is_too_large_is_refused_with_its_limit() {
    let server = Server::start_configured("[[topics]]\nmatch = \"small.>\"\nentry_bytes_max = 10\n");
    let mut client = Client::open(server.address);
    let publish = r#"{"id":1,"method":"publish","params":{"topic":"small.a","data":"0123456789"}}"#;
    assert_fault(client.fault(publish), 413, "12 bytes are too large: at most 10 are taken");
    let long = format!(r#"{{"id":1,"method":"publish","params":{{"topic":"a","data":"{}"}}}}"#, "x".repeat(1 << 21));
    assert_fault(client.fault(&long), 413, "at most 1049600 are taken");
    assert!(client.ask(r#"{"id":2,"method":"ping"}"#).contains_key("result"), "the connection goes on");
}

#[test]
fn what_is_too_much_is_refused_with_its_limit() {
    let server = Server::start_configured(
        "[native]\ntopics_max = 2\nbound_keys_max = 1\nrequests_per_second_max = 1\nrequests_burst = 5\n\
         [[topics]]\nmatch = \"k.>\"\nkind = \"keyed\"\n[[topics]]\nmatch = \"slow.>\"\npublish_per_second_max = 1\n",
    );
    let mut client = Client::open(server.address);
    let answer = client.ask(r#"{"id":1,"method":"subscribe","params":["a","b.>","c"]}"#);
    let results = answer["result"].as_array().expect("a result for each");
    assert_eq!(results[1].get_str("state"), Some("pattern"));
    assert_fault(fault_of(&results[2]), 429, "too many topics: at most 2 are taken");
    let bind = |key: &str| {
        format!(r#"{{"id":1,"method":"publish","params":{{"topic":"k.a","key":"{key}","data":1,"bound":true}}}}"#)
    };
    assert_eq!(client.ask(&bind("x"))["result"]["seq"], 1);
    assert_fault(client.fault(&bind("y")), 429, "too many bound keys: at most 1");
    let publish = r#"{"id":1,"method":"publish","params":{"topic":"slow.a","data":1}}"#;
    assert_eq!(client.ask(publish)["result"]["seq"], 1);
    let answer = client.ask(publish);
    assert_eq!(answer["error"]["code"], 429);
    assert!(answer["error"].get_u64("after_ms").is_some_and(|after_ms| (1..=1000).contains(&after_ms)), "{answer:?}");
    for _ in 0..4 {
        assert!(client.ask(r#"{"id":1,"method":"ping"}"#).contains_key("result"));
    }
    let answer = client.ask(r#"{"id":1,"method":"ping"}"#);
    assert_eq!((answer["error"]["code"].as_u64(), answer["error"]["retry"].as_bool()), (Some(429), Some(true)));
    assert_fault(fault_of(&answer), 429, "too many requests: at most 1 a second; wait");
}

#[test]
fn who_may_not_is_told_so() {
    let server = Server::start_configured(CLOSED);
    let mut guest = Client::open(server.address);
    let publish = |topic: &str| format!(r#"{{"id":1,"method":"publish","params":{{"topic":"{topic}","data":1}}}}"#);
    assert_eq!(guest.fault(&publish("trades.a")).0, 401);
    let subscribed = guest.ask(r#"{"id":1,"method":"subscribe","params":["trades.a"]}"#);
    assert_eq!(fault_of(&subscribed["result"][0]).0, 401);
    let mut wrong = Client::open(server.address);
    assert_eq!(
        wrong.fault(r#"{"id":1,"method":"connect","params":{"token":"another-key-that-is-long-enough"}}"#).0,
        401
    );
    let mut known = Client::open(server.address);
    let connected = known.ask(&format!(r#"{{"id":1,"method":"connect","params":{{"token":"{KEY}"}}}}"#));
    assert!(connected.contains_key("result"), "{connected:?}");
    assert_eq!(known.ask(&publish("trades.a"))["result"]["seq"], 1);
    assert_eq!(known.fault(&publish("other.a")).0, 403);
    let subscribed = known.ask(r#"{"id":1,"method":"subscribe","params":["trades.>","other.>","other.a"]}"#);
    assert_eq!(subscribed["result"][0].get_str("state"), Some("pattern"));
    assert_eq!([1, 2].map(|nth| fault_of(&subscribed["result"][nth]).0), [403, 403]);
    let refusal = Socket::try_open(server.address, "/connect?token=wrong-wrong-wrong", &[]).err().expect("refused");
    assert_eq!(refusal.status, 401);
}

#[test]
fn entries_that_are_no_longer_held_are_gone() {
    let server = Server::start_configured("[[topics]]\nmatch = \"h\"\n[topics.retention]\nentries = 1\n");
    let mut client = Client::open(server.address);
    for _ in 0..2000 {
        client.send(r#"{"method":"publish","params":{"topic":"h","data":"0123456789012345678901234567890123456789"}}"#);
    }
    let fault = client.fault(r#"{"id":1,"method":"history","params":{"topic":"h","from":1}}"#);
    assert_fault(fault, 410, "these entries are no longer held: the first that is has seq ");
}

#[test]
fn who_does_not_read_answers_is_let_go() {
    let server = Server::start(&[]);
    let mut client = Client::open(server.address);
    client.ask(r#"{"id":1,"method":"ping"}"#);
    let requests = vec![r#"{"id":1,"method":"history","params":{"topic":"h","limit":1000}}"#; 200].join("\n");
    let publish = format!(r#"{{"id":1,"method":"publish","params":{{"topic":"h","data":"{}"}}}}"#, "x".repeat(60_000));
    client.ask(&publish);
    client.ask(&publish);
    // The server may be faster to close than this is to write.
    let mut frame = Vec::new();
    let mask = Some(ringwire_codec::MaskKey::new([0; 4]));
    ringwire_codec::encode_frame(&mut frame, Opcode::Text, requests.as_bytes(), mask);
    let mut writer = client.socket.writer();
    let clock = ringwire_ring::Clock::start();
    while clock.now().since(ringwire_ring::Instant::default()) < PATIENCE {
        if std::io::Write::write_all(&mut writer, &frame).is_err() {
            return;
        }
        if client.socket.has_more(std::time::Duration::from_millis(1)) {
            break;
        }
    }
    loop {
        match client.socket.receive() {
            Received::Close(code, reason) => {
                assert_eq!((code, reason.as_str()), (4029, "read the answers to your requests before sending more"));
                return;
            }
            Received::Text(text) => assert!(json(text.lines().next().unwrap()).contains_key("result")),
            Received::Binary(bytes) => panic!("{bytes:?}"),
        }
    }
}
