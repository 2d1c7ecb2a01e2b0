//! Publishing over HTTP: keys and numbers of one message, and many messages in one request.

use simd_json::prelude::*;

use crate::native::Client;
use crate::support::{Answer, Server};

/// A server whose topics `k.>` have keys.
fn server() -> Server {
    Server::start_configured("[[topics]]\nmatch = \"k.>\"\nkind = \"keyed\"\nkey_ttl_ms = 600000\n")
}

fn post(server: &Server, target: &str, body: &str) -> (u16, String) {
    let Answer { status, body, .. } = server.request("POST", target, &[], body.as_bytes());
    (status, body)
}

#[test]
fn a_message_may_set_or_remove_a_key_and_have_a_number_of_its_own() {
    let server = server();
    let mut subscriber = Client::open(server.address);
    subscriber.ask("{\"id\":1,\"method\":\"subscribe\",\"params\":{\"topics\":\"k.a\",\"snapshot\":false}}");
    let one = |seq: u32| (200, format!("{{\"topic\":\"k.a\",\"seq\":{seq}}}\n"));
    assert_eq!(post(&server, "/publish/k.a?key=b%3A1&source_seq=18446744073709551615", "{\"q\":1.50}"), one(1));
    assert_eq!(post(&server, "/publish/k.a?key=b%3A1&remove=1", ""), one(2));
    let headers = [("Source-Seq", "7"), ("Idempotency-Key", "x y")];
    let answer = server.request("POST", "/publish/k.a", &headers, b"plain");
    assert_eq!((answer.status, answer.body), one(3));
    for (kind, seq, source_seq, key, data) in [
        ("update", 1, Some(u64::MAX), Some("b:1"), Some("{\"q\":1.5}")),
        ("remove", 2, None, Some("b:1"), None),
        ("message", 3, Some(7), None, Some("\"plain\"")),
    ] {
        let pushed = subscriber.receive();
        assert_eq!((pushed.get_str("type"), pushed.get_u64("seq")), (Some(kind), Some(seq)), "{pushed}");
        assert_eq!((pushed.get_u64("source_seq"), pushed.get_str("key")), (source_seq, key), "{pushed}");
        assert_eq!(pushed.get("data").map(Writable::encode).as_deref(), data, "{pushed}");
    }
}

#[test]
fn a_repeated_idempotency_key_is_answered_with_the_first_number() {
    let server = server();
    for (target, headers) in [
        ("/publish/a?idempotency_key=order-1", &[][..]),
        ("/publish/a", &[("Idempotency-Key", "order-1")]),
        ("/publish/a?idempotency_key=order-1", &[("Idempotency-Key", "order-1")]),
    ] {
        let answer = server.request("POST", target, headers, b"1");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.contains("\"duplicate\":true"), !headers.is_empty(), "{}", answer.body);
        assert!(answer.body.starts_with("{\"topic\":\"a\",\"seq\":1"), "{}", answer.body);
    }
    assert_eq!(post(&server, "/publish/a", "2"), (200, "{\"topic\":\"a\",\"seq\":2}\n".into()));
}

#[test]
fn what_is_wrong_with_a_publish_is_said() {
    let server = server();
    let long = "k".repeat(300);
    for (target, body, status, words) in [
        ("/publish/a?key=x", "1", 400, "the topic is plain"),
        ("/publish/k.a?remove=1", "", 400, "a removal needs the key"),
        ("/publish/k.a?key=x&remove=1", "1", 400, "a removal has no body"),
        ("/publish/k.a?key=x&remove=1", "", 404, "there is no such key"),
        ("/publish/k.a?key=x&remove=maybe", "", 400, "remove=maybe: 1 or 0 is needed"),
        ("/publish/k.a?source_seq=-1", "1", 400, "source_seq=-1: a whole number"),
        ("/publish/k.a?kee=x", "1", 400, "there is no parameter \"kee\": a publish takes key, remove"),
        ("/publish/k.a?key=x&key=y", "1", 400, "key is given twice"),
        (&format!("/publish/k.a?key={long}"), "1", 400, "a key has 1 to 255 bytes"),
        (&format!("/publish/a?idempotency_key={long}"), "1", 400, "an idempotency key has 1 to 64 bytes"),
    ] {
        let answer = post(&server, target, body);
        assert!(answer.0 == status && answer.1.starts_with(words), "{target}: {answer:?}");
    }
    let answer = server.request("POST", "/publish/a?idempotency_key=a", &[("Idempotency-Key", "b")], b"1");
    assert_eq!((answer.status, answer.body.as_str()), (400, "idempotency_key is given twice: \"a\" and \"b\"\n"));
}

#[test]
fn each_line_of_a_batch_has_its_result() {
    let server = server();
    let mut subscriber = server.socket("/ws/a");
    let lines = "{\"topic\":\"a\",\"data\":{ \"p\": 1.50 }}\n\n{\"topic\":\"k.a\",\"key\":\"x\",\"data\":1}\n\
                 {\"topic\":\"a\"}\n{\"topic\":\"a b\",\"data\":1}\nnonsense\n{\"topic\":\"k.a\",\"key\":\"z\",\"data\":2,\"bound\":true}\n\
                 {\"topic\":\"k.a\",\"key\":\"y\",\"remove\":true}\n{\"topic\":\"a\",\"data\":\"AP8=\",\"base64\":true}";
    let (status, body) = post(&server, "/publish", lines);
    let results: Vec<&str> = body.lines().collect();
    assert_eq!((status, results.len()), (207, 8), "{body}");
    for (nth, want) in [
        "[{\"topic\":\"a\",\"seq\":1},",
        "{\"topic\":\"k.a\",\"seq\":1},",
        "{\"error\":{\"code\":400,\"message\":\"publish needs \\\"data\\\" in its params\"}},",
        "{\"error\":{\"code\":400,\"message\":\"\\\"a b\\\" is no topic",
        "{\"error\":{\"code\":400,\"message\":\"this is not JSON",
        "{\"error\":{\"code\":400,\"message\":\"a key is bound",
        "{\"error\":{\"code\":404,\"message\":\"there is no key",
        "{\"topic\":\"a\",\"seq\":2}]",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(results[nth].starts_with(want), "{nth}: {}", results[nth]);
    }
    assert_eq!(subscriber.text(), "{ \"p\": 1.50 }");
}

#[test]
fn a_batch_may_be_an_array_and_has_a_bound() {
    let server = server();
    let one = "{\"topic\":\"a\",\"data\":\"]},\"}";
    let array = format!("[{one},\n {one}]");
    assert_eq!(
        post(&server, "/publish", &array),
        (200, "[{\"topic\":\"a\",\"seq\":1},\n{\"topic\":\"a\",\"seq\":2}]\n".into())
    );
    assert_eq!(post(&server, "/publish", &[one; 1000].join("\n")).0, 200);
    for (body, status, words) in [
        ([one; 1001].join("\n"), 413, "1001 messages are too many: a request has at most 1000"),
        (format!("[{one}"), 400, "the array does not end"),
        (" \n".to_owned(), 400, "the body is empty"),
        ("[]".to_owned(), 400, "the body is empty"),
    ] {
        let answer = post(&server, "/publish", &body);
        assert!(answer.0 == status && answer.1.starts_with(words), "{answer:?}");
    }
    let answer = server.request("POST", "/publish", &[], b"{\"topic\":\"a\",\"data\":\"\xFF\"}");
    assert_eq!((answer.status, answer.body.starts_with("the body is not UTF-8")), (400, true));
    let (status, body) = post(&server, "/publish", "{\"topic\":\"a\",\"data\":\"\\uD800\"}\n");
    assert_eq!(status, 400, "where none was published the status is the first one's: {body}");
    let answer = server.get("/publish");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
}

#[test]
fn a_key_without_an_update_for_its_time_is_removed() {
    let server = Server::start_configured("[[topics]]\nmatch = \"k\"\nkind = \"keyed\"\nkey_ttl_ms = 1\n");
    let mut subscriber = server.socket("/stream?streams=k");
    assert_eq!(post(&server, "/publish/k?key=x", "1").0, 200);
    assert_eq!(subscriber.text(), "{\"stream\":\"k\",\"data\":1,\"key\":\"x\"}");
    assert_eq!(subscriber.text(), "{\"stream\":\"k\",\"remove\":true,\"key\":\"x\"}");
}
