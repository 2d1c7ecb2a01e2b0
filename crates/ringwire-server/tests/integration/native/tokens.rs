//! Tokens of the native protocol: shown in `connect`, renewed with `refresh`, and at their end.

use ringwire_ring::wall_clock_us;
use simd_json::prelude::*;

use super::{Client, fault_of};
use crate::access::{hs256, server};

const EVERYTHING: &str = "subscribe = [\">\"]\npublish = [\">\"]\n";

/// A token that is good for so many milliseconds.
fn for_ms(ms: u64) -> String {
    hs256(&format!(r#""sub":"u1","exp":{}"#, (wall_clock_us() + ms * 1000) as f64 / 1e6))
}

fn connect(client: &mut Client, token: &str) -> simd_json::OwnedValue {
    client.ask(&format!(r#"{{"id":1,"method":"connect","params":{{"token":"{token}"}}}}"#))
}

#[test]
fn an_expired_token_is_refused() {
    let server = server(EVERYTHING);
    let expired = hs256(r#""exp":1000000000"#);
    let request = format!(r#"{{"id":1,"method":"connect","params":{{"token":"{expired}"}}}}"#);
    let (code, words) = Client::open(server.address).fault(&request);
    assert_eq!(code, 401);
    assert!(words.contains("expired; get a new one"), "{words}");
}

#[test]
fn a_connection_ends_with_its_token_unless_another_is_shown() {
    let server = server(EVERYTHING);
    let (mut first, mut second) = (Client::open(server.address), Client::open(server.address));
    let token = for_ms(1500);
    for client in [&mut first, &mut second] {
        let answer = connect(client, &token);
        assert!(answer["result"].get_u64("expires").is_some_and(|at| at > wall_clock_us()), "{answer:?}");
    }
    let request = format!(r#"{{"id":2,"method":"refresh","params":{{"token":"{}"}}}}"#, for_ms(60_000));
    let answer = second.ask(&request);
    assert!(answer["result"].get_u64("expires").is_some_and(|at| at > wall_clock_us() + 50_000_000), "{answer:?}");
    let (code, reason) = first.closed();
    assert_eq!(code, 4001, "{reason}");
    assert!(second.ask(r#"{"id":3,"method":"ping"}"#).contains_key("result"), "it goes on");
}

#[test]
fn a_token_of_another_user_renews_nothing() {
    let server = server(EVERYTHING);
    let mut client = Client::open(server.address);
    connect(&mut client, &hs256(r#""exp":9999999999,"sub":"u1""#));
    let other = hs256(r#""exp":9999999999,"sub":"u2""#);
    let (code, _) = client.fault(&format!(r#"{{"id":2,"method":"refresh","params":{{"token":"{other}"}}}}"#));
    assert_eq!(code, 403);
}

#[test]
fn a_members_user_is_that_of_its_token() {
    let server = server(&format!("{EVERYTHING}[[topics]]\nmatch = \"room.>\"\npresence = \"members\"\n"));
    let mut client = Client::open(server.address);
    connect(&mut client, &hs256(""));
    client.ask(r#"{"id":2,"method":"subscribe","params":"room.1"}"#);
    let answer = client.ask(r#"{"id":3,"method":"presence","params":{"topic":"room.1"}}"#);
    assert_eq!(answer["result"]["members"][0].get_str("user"), Some("u1"));
}

#[test]
fn a_new_token_ends_the_subscriptions_that_it_does_not_allow() {
    let server = server("publish = [\">\"]\n");
    let token = |subscribe: &str| hs256(&format!(r#""exp":9999999999,"sub":"u1","subscribe":[{subscribe}]"#));
    let mut publisher = Client::open(server.address);
    connect(&mut publisher, &token(r#""none""#));
    let mut publish = |topic| {
        publisher.ask(&format!(r#"{{"id":3,"method":"publish","params":{{"topic":"{topic}","data":1}}}}"#));
    };
    ["news.x", "more.y"].into_iter().for_each(&mut publish);
    let mut client = Client::open(server.address);
    connect(&mut client, &token(r#""a","b","news.>","more.*""#));
    client.ask(r#"{"id":2,"method":"subscribe","params":["a","b","news.>","more.*"]}"#);
    let announced = [client.receive(), client.receive()].map(|push| push.get_str("topic").expect("a topic").to_owned());
    assert_eq!(announced, ["news.x", "more.y"]);
    let refresh =
        format!(r#"{{"id":4,"method":"refresh","params":{{"token":"{}"}}}}"#, token(r#""a","news.x","more.*""#));
    assert!(client.ask(&refresh).contains_key("result"));
    for topic in ["news.>", "b"] {
        let push = client.receive();
        assert_eq!((push.get_str("type"), push.get_str("topic"), fault_of(&push).0), (Some("error"), Some(topic), 403));
    }
    // What else comes is of the others, and nothing is left of these.
    ["b", "news.x", "news.new", "more.y", "a"].into_iter().for_each(&mut publish);
    let entries = [client.receive(), client.receive()].map(|push| push.get_str("topic").expect("a topic").to_owned());
    assert_eq!(entries, ["more.y", "a"]);
    let account = client.ask(r#"{"id":5,"method":"account"}"#);
    assert_eq!(account["result"].as_array().map(Vec::len), Some(2), "{account}");
}

#[test]
fn what_may_be_published_is_what_the_newest_token_says() {
    let server = server("subscribe = [\">\"]\n");
    let mut client = Client::open(server.address);
    let token = |publish: &str| hs256(&format!(r#""exp":9999999999,"sub":"u1","publish":["{publish}"]"#));
    connect(&mut client, &token("a"));
    let publish = r#"{"id":3,"method":"publish","params":{"topic":"a","data":1}}"#;
    assert_eq!(client.ask(publish)["result"]["seq"], 1);
    let refreshed = client.ask(&format!(r#"{{"id":2,"method":"refresh","params":{{"token":"{}"}}}}"#, token("b")));
    assert!(refreshed.contains_key("result"), "{refreshed:?}");
    assert_eq!(client.fault(publish).0, 403);
}
