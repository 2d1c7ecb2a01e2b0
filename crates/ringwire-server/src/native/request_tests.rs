//! Tests of requests: each rule of the specification for what a client sends.

use super::*;
use crate::native::epoch::Epoch;
use proptest::prelude::*;

/// What one message comes to, in short: each request's id and what it is, or code and words.
fn read(message: &str) -> Vec<String> {
    let mut all = Vec::new();
    Parser::default().requests(message, |incoming| {
        let what = match incoming.request {
            Ok(request) => format!("{request:?}"),
            Err(fault) => format!("{} {fault}", fault.code()),
        };
        all.push(match incoming.id {
            Id::None => what,
            Id::Number(id) => format!("{id}: {what}"),
            Id::Text(id) => format!("{id:?}: {what}"),
        });
        true
    });
    all
}

/// The same of a message with one request.
fn one(message: &str) -> String {
    let all = read(message);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// The code and the words of a faulty request with these params.
fn fault(method: &str, params: &str) -> String {
    one(&format!("{{\"id\":1,\"method\":\"{method}\",\"params\":{params}}}")).strip_prefix("1: ").unwrap().to_owned()
}

/// Calls `check` with the publish that is this message.
fn publish(message: &str, check: impl Fn(Publish<'_>)) {
    let mut is_checked = false;
    Parser::default().requests(message, |incoming| {
        let Ok(Request::Publish(publish)) = incoming.request else { panic!("{incoming:?}") };
        check(publish);
        is_checked = true;
        true
    });
    assert!(is_checked);
}

/// The same with a subscribe.
fn subscribe(params: &str, check: impl Fn(Subscribe<'_>)) {
    let message = format!("{{\"method\":\"subscribe\",\"params\":{params}}}");
    Parser::default().requests(&message, |incoming| {
        let Ok(Request::Subscribe(subscribe)) = incoming.request else { panic!("{incoming:?}") };
        check(subscribe);
        true
    });
}

#[test]
fn ids_are_whole_numbers_or_short_strings_or_missing() {
    assert_eq!(one(r#"{"id":9007199254740992,"method":"ping"}"#), "9007199254740992: Ping");
    assert_eq!(one(r#"{"id":"a","method":"ping"}"#), "\"a\": Ping");
    assert_eq!(one(r#"{"method":"ping"}"#), "Ping");
    let long = format!("\"{}\"", "x".repeat(65));
    for id in ["9007199254740993", "-1", "1.5", "null", "[]", "\"\"", &long] {
        assert!(one(&format!("{{\"id\":{id},\"method\":\"ping\"}}")).starts_with("400 an id is"), "{id}");
    }
}

#[test]
fn aliases_mean_the_same() {
    assert_eq!(
        one(r#"{"req_id":"7","op":"subscribe","args":["a"]}"#),
        one(r#"{"id":"7","method":"subscribe","params":["a"]}"#)
    );
    publish(r#"{"op":"publish","args":{"topic":"a","data": [1]}}"#, |publish| {
        assert_eq!(publish.body, Body::Json("[1]"))
    });
    assert!(one(r#"{"id":1,"req_id":1,"op":"ping"}"#).starts_with("1: 400 \"id\" is given twice"));
}

#[test]
fn several_requests_of_a_message_come_in_order() {
    let all = read("{\"id\":1,\"method\":\"ping\"}\n{\"id\":2,\n \"method\":\"account\"}\n\n{\"id\":3}\nx");
    assert_eq!(all[..2], ["1: Ping", "2: Account"]);
    assert!(all[2].starts_with("3: 400 the request names no method, one of connect, subscribe"));
    assert!(all[3].starts_with("400 this is not JSON"));
    assert_eq!(all.len(), 4);
}

#[test]
fn who_takes_requests_may_stop() {
    let mut count = 0;
    Parser::default().requests("{}\n{}\n{}", |_| {
        count += 1;
        count < 2
    });
    assert_eq!(count, 2);
}

#[test]
fn data_is_the_text_as_it_came() {
    let message = "{\"id\":3,\"method\":\"publish\",\"params\":{\"topic\":\"book.X\",\"key\":\"b:1\",\n\
                   \"data\": { \"q\" : \"0\\u002e7\", \"n\":1.50 },\"idempotency_key\":\"a1\",\"source_seq\":18446744073709551615,\"bound\":true}}";
    publish(message, |publish| {
        assert_eq!(publish.body, Body::Json("{ \"q\" : \"0\\u002e7\", \"n\":1.50 }"));
        assert_eq!((publish.topic, publish.key, publish.bound), ("book.X", Some("b:1"), true));
        assert_eq!((publish.idempotency_key, publish.source_seq), (Some("a1"), Some(u64::MAX)));
    });
}

#[test]
fn data_of_an_inner_object_or_of_another_member_is_not_taken_for_it() {
    let message =
        r#"{"data":1,"x":{"params":{"data":2}},"params":{"topic":"a","key":"\"data\":3","data":4},"method":"publish"}"#;
    publish(message, |publish| assert_eq!(publish.body, Body::Json("4")));
}

#[test]
fn bytes_are_given_in_base64_and_a_removal_without_data() {
    publish(r#"{"method":"publish","params":{"topic":"a","data":"AAEC","base64":true}}"#, |publish| {
        assert_eq!(publish.body, Body::Bytes(vec![0, 1, 2].into()));
    });
    publish(r#"{"method":"publish","params":{"topic":"a","key":"k","remove":true}}"#, |publish| {
        assert_eq!(publish.body, Body::Remove);
    });
}

#[test]
fn every_field_of_a_publish_has_its_type() {
    for (params, words) in [
        ("{}", r#"400 publish needs "data""#),
        (r#"{"data":1}"#, r#"400 publish needs "topic""#),
        (r#"{"topic":"a"}"#, r#"400 publish needs "data""#),
        (r#"{"topic":1,"data":1}"#, r#"400 "topic" is to be a string"#),
        (r#"{"topic":"a","data":1,"data":2}"#, r#"400 "data" is given twice"#),
        (r#"{"topic":"a","d\u0061ta":1}"#, r#"400 "data" is to be a field whose name is written without escapes"#),
        (r#"{"topic":"a","data":1,"key":""}"#, r#"400 "key" is to be a string of 1 to 255 bytes"#),
        (r#"{"topic":"a","data":1,"key":7}"#, r#"400 "key" is to be a string of 1 to 255 bytes"#),
        (r#"{"topic":"a","data":1,"bound":true}"#, r#"400 publish needs "key""#),
        (r#"{"topic":"a","remove":true}"#, r#"400 publish needs "key""#),
        (r#"{"topic":"a","key":"k","remove":true,"data":1}"#, r#"400 "data" is to be left out"#),
        (r#"{"topic":"a","data":"A","base64":true}"#, r#"400 "data" is to be a string in base64"#),
        (r#"{"topic":"a","data":1,"base64":true}"#, r#"400 "data" is to be a string in base64"#),
        (r#"{"topic":"a","data":1,"base64":1}"#, r#"400 "base64" is to be true or false"#),
        (r#"{"topic":"a","data":1,"source_seq":-1}"#, r#"400 "source_seq" is to be a whole number"#),
        (r#"{"topic":"a","data":1,"idempotency_key":""}"#, r#"400 "idempotency_key" is to be a string of 1 to 64"#),
        (
            r#"{"topic":"a","data":1,"idempotencyKey":"a"}"#,
            r#"400 publish knows no "idempotencyKey": it takes topic, key"#,
        ),
        ("[]", "400 \"params\" is to be an object"),
    ] {
        assert!(fault("publish", params).starts_with(words), "{params}: {}", fault("publish", params));
    }
}

#[test]
fn a_subscribe_takes_one_topic_several_or_all_its_options() {
    for params in [r#""a""#, r#"["a"]"#, r#"{"topics":"a"}"#, r#"{"topics":["a"]}"#] {
        subscribe(params, |subscribe| {
            assert_eq!(subscribe, Subscribe { topics: vec!["a"], ..Subscribe::default() });
        });
    }
    let all = r#"{"topics":["a","b.>"],"mode":"latest","rate":20,"max_age_ms":500,"history":10,"snapshot":false,
                  "since":{"a":{"epoch":"k3f9","seq":1001}},"info":{"name" : "Ann"}}"#;
    subscribe(&all.replace('\n', ""), |subscribe| {
        assert_eq!((subscribe.mode, subscribe.rate, subscribe.max_age_ms), (Mode::Latest, Some(20), Some(500)));
        assert_eq!(subscribe.topics, ["a", "b.>"]);
        assert_eq!(subscribe.since, [("a", Position { epoch: Epoch(937_557), seq: 1001 })]);
        assert_eq!((subscribe.history, subscribe.snapshot), (Some(10), Some(false)));
        assert_eq!(subscribe.info, Some(r#"{"name" : "Ann"}"#));
    });
}

#[test]
fn every_field_of_a_subscribe_has_its_type() {
    let long_info = format!("{{\"topics\":\"a\",\"info\":\"{}\"}}", "x".repeat(1024));
    for (params, words) in [
        ("{}", r#"400 subscribe needs "topics""#),
        ("[]", r#"400 "topics" is to be a topic or an array"#),
        ("[1]", r#"400 "topics" is to be a topic or an array"#),
        (r#"["a",["b"]]"#, r#"400 "topics" is to be a topic or an array"#),
        ("7", r#"400 "topics" is to be a topic or an array"#),
        (r#"{"topics":"a","mode":"some"}"#, r#"400 "mode" is to be "all" or "latest""#),
        (r#"{"topics":"a","rate":0}"#, r#"400 "rate" is to be a whole number from 1 to 1000"#),
        (r#"{"topics":"a","rate":1.5}"#, r#"400 "rate" is to be a whole number from 1 to 1000"#),
        (r#"{"topics":"a","max_age_ms":3600001}"#, r#"400 "max_age_ms" is to be a whole number of ms"#),
        (r#"{"topics":"a","history":4294967296}"#, r#"400 "history" is to be a whole number from 0 to 4294967295"#),
        (r#"{"topics":"a","since":{"a":7}}"#, r#"400 "since" is to be an object"#),
        (r#"{"topics":"a","since":{"a":{"seq":7}}}"#, r#"400 "since" is to be an object"#),
        (r#"{"topics":"a","since":{"a":{"epoch":7,"seq":7}}}"#, r#"400 "epoch" is to be a string of digits"#),
        (r#"{"topics":"a","since":{"a":{"epoch":"K","seq":7}}}"#, r#"400 "epoch" is to be a string of digits"#),
        (r#"{"topics":"a","since":{"a":{"epoch":"k","seq":-7}}}"#, r#"400 "seq" is to be a whole number"#),
        (r#"{"topics":"a","ratio":1}"#, r#"400 subscribe knows no "ratio": it takes topics, mode"#),
        (&long_info, r#"400 "info" is to be JSON of at most 1024 bytes"#),
    ] {
        assert!(fault("subscribe", params).starts_with(words), "{params}: {}", fault("subscribe", params));
    }
}

#[test]
fn the_other_methods_take_what_they_need() {
    assert_eq!(one(r#"{"method":"unsubscribe","params":["a","b"]}"#), r#"Unsubscribe(["a", "b"])"#);
    assert_eq!(one(r#"{"method":"presence","params":{"topic":"a"}}"#), r#"Presence("a")"#);
    assert_eq!(one(r#"{"method":"bind","params":{"topic":"a"}}"#), r#"Bind("a")"#);
    assert_eq!(one(r#"{"method":"refresh","params":{"token":"t"}}"#), r#"Refresh("t")"#);
    assert_eq!(one(r#"{"method":"ping","params":{}}"#), "Ping");
    assert_eq!(one(r#"{"method":"connect"}"#), "Connect(Connect { token: None, name: None })");
    assert_eq!(
        one(r#"{"method":"history","params":{"topic":"a","from":800,"limit":100}}"#),
        r#"History(History { topic: "a", from: Some(800), limit: Some(100) })"#
    );
    for (method, params, words) in [
        ("unsubscribe", "{}", "400 unsubscribe needs \"topics\""),
        ("presence", "{}", "400 presence needs \"topic\""),
        ("history", "{}", "400 history needs \"topic\""),
        ("history", "{\"topic\":\"a\",\"from\":\"1\"}", "400 \"from\" is to be a whole number"),
        ("refresh", "{\"token\":1}", "400 \"token\" is to be a string"),
        ("connect", "{\"toke\":1}", "400 connect knows no \"toke\": it takes token and name"),
        ("bind", "{\"topic\":\"a\",\"topic\":\"b\"}", "400 \"topic\" is given twice"),
        ("ping", "{\"x\":1}", "400 ping knows no \"x\": it takes nothing"),
    ] {
        assert!(fault(method, params).starts_with(words), "{method} {params}: {}", fault(method, params));
    }
}

#[test]
fn unknown_methods_and_what_is_no_request_are_told() {
    assert!(one(r#"{"id":1,"method":"sub"}"#).starts_with("1: 404 there is no method \"sub\": use one of connect, "));
    assert!(one(r#"{"id":1,"method":7}"#).starts_with("1: 400 \"method\" is to be a string"));
    for message in ["[]", "1", "\"ping\"", "null"] {
        assert!(one(message).starts_with("400 a request is a JSON object"), "{message}");
    }
    for message in ["", "\n", "ping", "{\"id\":1", "{\"id\":1}{\"id\":2}", "{'id':1}", "{\"id\":1,}"] {
        assert!(one(message).starts_with("400 this is not JSON"), "{message:?}: {}", one(message));
    }
}

#[test]
fn other_members_of_a_request_are_passed_over() {
    assert_eq!(one(r#"{"jsonrpc":"2.0","id":1,"method":"ping","time":[{"id":2}]}"#), "1: Ping");
}

#[test]
fn a_line_of_a_batch_is_the_params_of_a_publish() {
    let mut parser = Parser::default();
    parser.publish(r#"{"topic":"a","data":{"x":1}}"#, |publish| {
        assert_eq!(publish.unwrap().body, Body::Json("{\"x\":1}"));
    });
    assert_eq!(parser.publish("[]", |publish| publish.unwrap_err()), Fault::NotAnObject);
    assert_eq!(parser.publish("{", |publish| publish.unwrap_err().code()), 400);
}

proptest! {
    #[test]
    fn any_data_comes_through_byte_for_byte(
        data in "(\\{\"[a-z\\\\]{0,3}[a-z]\": ?[0-9]{1,3}\\}|\\[ *\"[^\"\\\\\\p{Cc}]{0,9}\" *\\]|\"(\\\\\\\\|\\\\\"|[a-z\\[\\{])*\"|-?[1-9]{1,4}(\\.[0-9]+)?|null)",
        first in any::<bool>(),
    ) {
        prop_assume!(JsonCheck::default().is_json(data.as_bytes()));
        let (a, b) = if first { (format!("\"data\":{data},"), String::new()) } else { (String::new(), format!(",\"data\": {data} ")) };
        let message = format!("{{\"method\":\"publish\",\"params\":{{{a}\"topic\":\"a\",\"key\":\"\\\"}}]\"{b}}},\"id\":1}}");
        publish(&message, |publish| {
            assert_eq!(publish.body, Body::Json(data.as_str()));
            assert_eq!(publish.key, Some("\"}]"));
        });
    }

    #[test]
    fn no_message_of_any_form_goes_unanswered(message in "[\\{\\}\\[\\]\":, \ninethodpramsg1\\\\]{0,80}") {
        prop_assert!(!read(&message).is_empty());
    }
}
