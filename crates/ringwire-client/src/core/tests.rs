//! The client against a scripted server, without a socket: lines in, lines out.

use serde_json::{Value, json};

use super::*;
use crate::options::Options;

/// A core and what it has sent.
struct Script {
    core: Core,
    now: Instant,
}

impl Script {
    fn new() -> Self {
        let options = Options { backoff_least: Duration::ZERO, backoff_most: Duration::ZERO, ..Options::default() };
        Self { core: Core::new(&options), now: Instant::now() }
    }

    fn opened() -> Self {
        let mut script = Self::new();
        script.open(json!({ "client": "c1", "time": 1 }));
        script
    }

    fn open(&mut self, session: Value) -> Vec<Signal> {
        self.core.hello(Some("secret"), None);
        let request = self.sent("connect");
        assert_eq!(request["params"], json!({ "token": "secret" }));
        self.say(&json!({ "id": request["id"], "result": session }))
    }

    fn say(&mut self, message: &Value) -> Vec<Signal> {
        self.core.message(&message.to_string(), self.now).expect("it is of the protocol")
    }

    /// The next request, which must be of this method.
    fn sent(&mut self, method: &str) -> Value {
        let request: Value = serde_json::from_str(&self.core.out.pop_front().expect("a request")).expect("JSON");
        assert_eq!(request["method"], method, "{request}");
        request
    }

    fn subscribe(&mut self, options: Subscribe) -> (Result<u64, Error>, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(100);
        let (reply, mut answer) = oneshot::channel();
        self.core.command(Command::Subscribe { options, events, reply }, self.now);
        (answer.try_recv().expect("an answer"), received)
    }

    /// Answers a subscription to `a`; its params.
    fn answer_subscription(&mut self, seq: u64, state: &str, kind: &str) -> Value {
        let request = self.sent("subscribe");
        let result = json!([{ "topic": "a", "epoch": "e1", "seq": seq, "head": seq, "state": state, "kind": kind }]);
        self.say(&json!({ "id": request["id"], "result": result }));
        request["params"].clone()
    }

    fn message(&mut self, seq: u64) {
        self.say(&json!({ "topic": "a", "type": "message", "seq": seq, "ts": 1, "data": { "n": seq } }));
    }

    fn publish(&mut self, publish: Publish) -> oneshot::Receiver<Result<Published, Error>> {
        let (acknowledge, answer) = oneshot::channel();
        self.core.command(Command::Publish { publish, acknowledge }, self.now);
        answer
    }

    /// Names of the events since the last call, with their numbers.
    fn events(&mut self) -> Vec<String> {
        let name = |(_, event)| match event {
            Event::Subscribed(at) => format!("{:?} {}", at.state, at.seq),
            Event::Entry(entry) => format!("{} {}", entry.topic, entry.seq),
            Event::Skip(skip) => format!("skip {}", skip.to),
            Event::Gap(gap) => format!("gap {}", gap.to),
            Event::Snapshot(snapshot) => format!("snapshot {}", snapshot.seq),
            Event::Refused { topic, error } => format!("{topic} {}", error.code),
        };
        self.core.events.drain(..).map(name).collect()
    }
}

#[test]
fn a_subscription_resumes_on_the_next_connection() {
    let mut script = Script::new();
    let options = Subscribe::to("a").latest().rate(5).max_age(Duration::from_millis(7)).history(3).info("{\"n\":1}");
    let _receiver = script.subscribe(options);
    script.open(json!({ "time": 1 }));
    let params = script.answer_subscription(4, "new", "plain");
    let how =
        json!({ "topics": ["a"], "mode": "latest", "rate": 5, "max_age_ms": 7, "history": 3, "info": { "n": 1 } });
    assert_eq!(params, how);
    script.message(5);
    assert_eq!(script.events(), ["New 4", "a 5"]);
    script.core.lost();
    script.message(6);
    script.open(json!({ "time": 1 }));
    let params = script.answer_subscription(5, "resumed", "plain");
    assert_eq!((&params["since"], params.get("history")), (&json!({ "a": { "epoch": "e1", "seq": 5 } }), None));
    script.message(6);
    assert_eq!(script.events(), ["Resumed 5", "a 6"], "nothing comes from a connection that is over");
}

#[test]
fn a_hole_or_a_lost_tail_begins_the_subscription_again_behind_what_is_known() {
    for what in [
        json!({ "topic": "a", "type": "message", "seq": 3, "ts": 1 }),
        json!({ "type": "heartbeat", "at": { "a": 2 } }),
    ] {
        let mut script = Script::opened();
        let _receiver = script.subscribe(Subscribe::to("a"));
        script.answer_subscription(0, "new", "plain");
        script.message(1);
        script.say(&what);
        script.message(4);
        script.core.tick(script.now);
        assert_eq!(script.sent("unsubscribe")["params"], json!(["a"]));
        let params = script.answer_subscription(1, "resumed", "plain");
        assert_eq!(params["since"], json!({ "a": { "epoch": "e1", "seq": 1 } }));
        assert_eq!(script.events(), ["New 0", "a 1", "Resumed 1"]);
        assert!(script.core.out.is_empty() && script.core.deadline().is_none());
    }
}

#[test]
fn a_heartbeat_that_finds_nothing_missing_does_nothing() {
    let mut script = Script::opened();
    let _receiver = script.subscribe(Subscribe::to("a"));
    script.answer_subscription(2, "new", "plain");
    script.say(&json!({ "type": "heartbeat", "ts": 1, "at": { "a": 2, "b": 7 } }));
    assert_eq!((script.core.deadline(), script.core.out.len()), (None, 0));
}

#[test]
fn topics_that_a_pattern_matches_are_the_patterns_and_resume_one_by_one() {
    let mut script = Script::opened();
    let _receiver = script.subscribe(Subscribe::to("t.>"));
    let request = script.sent("subscribe");
    script.say(&json!({ "id": request["id"], "result": [{ "topic": "t.>", "state": "pattern" }] }));
    let announcement = |seq, state| json!({ "type": "subscribed", "topic": "t.x", "pattern": "t.>", "id": 9, "epoch": "e1", "seq": seq, "head": 4, "kind": "plain", "state": state });
    script.say(&announcement(4, "new"));
    script.say(&json!({ "topic": "t.x", "type": "message", "seq": 5, "ts": 1, "data": 1 }));
    script.core.lost();
    script.open(json!({ "time": 1 }));
    assert_eq!(script.sent("subscribe")["params"]["since"], json!({ "t.x": { "epoch": "e1", "seq": 5 } }));
    script.say(&announcement(5, "resumed"));
    assert_eq!(script.events(), ["New 4", "t.x 5", "Resumed 5"]);
}

#[test]
fn what_is_refused_is_told_and_asked_for_again_where_that_may_help() {
    let mut script = Script::opened();
    let _receiver = script.subscribe(Subscribe::to_all(["a", "b", "c"]));
    let request = script.sent("subscribe");
    let refusal = |topic, code, retry| json!({ "topic": topic, "error": { "code": code, "message": "no", "retry": retry, "after_ms": 30 } });
    let a = json!({ "topic": "a", "epoch": "e1", "seq": 0, "head": 0, "state": "new", "kind": "plain" });
    script.say(&json!({ "id": request["id"], "result": [a, refusal("b", 403, false), refusal("c", 429, true)] }));
    assert_eq!(script.events(), ["New 0", "b 403", "c 429"]);
    assert_eq!(script.core.deadline(), Some(script.now + Duration::from_millis(30)));
    script.core.tick(script.now);
    assert!(script.core.out.is_empty(), "not before its time");
    script.now += Duration::from_millis(30);
    script.core.tick(script.now);
    assert_eq!(script.sent("subscribe")["params"]["topics"], json!(["c"]));
}

#[test]
fn an_error_that_no_request_asked_for_is_told_to_the_subscription_that_it_is_about() {
    let mut script = Script::opened();
    let _receiver = script.subscribe(Subscribe::to_all(["t.>", "a"]));
    let error = |retry| json!({ "code": 429, "message": "too many topics", "retry": retry, "after_ms": 30 });
    script.say(&json!({ "type": "error", "topic": "t.y", "pattern": "t.>", "error": error(true) }));
    script.say(&json!({ "type": "error", "topic": "b", "error": error(true) }));
    script.say(&json!({ "type": "error", "error": error(true) }));
    script.say(&json!({ "type": "error", "topic": "a", "error": error(false) }));
    assert_eq!(script.core.deadline(), None, "the pattern stands, and a is not to be asked for again");
    script.say(&json!({ "type": "error", "topic": "a", "error": error(true) }));
    assert_eq!(script.events(), ["t.y 429", "a 429", "a 429"]);
    assert_eq!(script.core.deadline(), Some(script.now + Duration::from_millis(30)));
}

#[test]
fn one_name_has_one_subscription_until_that_ends() {
    let mut script = Script::opened();
    let (first, _receiver) = script.subscribe(Subscribe::to("a"));
    assert_eq!(script.subscribe(Subscribe::to("a")).0, Err(Error::Subscribed("a".to_owned())));
    assert_eq!(script.subscribe(Subscribe::to_all(["b", "b"])).0, Err(Error::Subscribed("b".to_owned())));
    script.core.unsubscribe(first.expect("it was subscribed to"));
    script.sent("subscribe");
    assert_eq!(script.sent("unsubscribe")["params"], json!(["a"]));
    assert!(script.subscribe(Subscribe::to("a")).0.is_ok());
}

#[test]
fn what_was_not_acknowledged_is_sent_again_with_its_key_before_what_is_newer() {
    let mut script = Script::opened();
    let mut answers: Vec<_> = (1..=3).map(|n| script.publish(Publish::json("a", n.to_string()))).collect();
    let sent: Vec<_> = (0..3).map(|_| script.sent("publish")).collect();
    script.say(&json!({ "id": sent[0]["id"], "result": { "seq": 1, "epoch": "e1" } }));
    script.core.lost();
    answers.push(script.publish(Publish::bytes("a", &[255]).key("k").source_seq(7)));
    script.open(json!({ "time": 1 }));
    let again: Vec<_> = (0..3).map(|_| script.sent("publish")).collect();
    assert_eq!((&again[0]["params"], &again[1]["params"]), (&sent[1]["params"], &sent[2]["params"]));
    let newest = &again[2]["params"];
    assert_eq!((&newest["data"], &newest["base64"], &newest["source_seq"]), (&json!("/w=="), &json!(true), &json!(7)));
    assert_ne!(newest["idempotency_key"], sent[0]["params"]["idempotency_key"]);
    for (nth, request) in again.iter().enumerate() {
        script.say(&json!({ "id": request["id"], "result": { "seq": nth + 2, "epoch": "e1", "duplicate": nth == 0 } }));
    }
    let seqs: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().unwrap().seq).collect();
    assert_eq!((seqs, script.core.pending_publishes()), (vec![1, 2, 3, 4], 0));
}

#[test]
fn no_more_publishes_are_under_way_than_the_server_takes() {
    let mut script = Script::new();
    let _answers: Vec<_> = (0..3).map(|_| script.publish(Publish::json("a", "1"))).collect();
    script.open(json!({ "time": 1, "limits": { "pending_publishes": 2 } }));
    let first = script.sent("publish");
    script.sent("publish");
    assert!(script.core.out.is_empty());
    script.say(&json!({ "id": first["id"], "result": { "seq": 1, "epoch": "e1" } }));
    script.sent("publish");
}

#[test]
fn a_publish_is_refused_for_good_or_waits_as_long_as_the_server_says() {
    let mut script = Script::opened();
    let mut refused = script.publish(Publish::json("a", "1"));
    let mut delayed = script.publish(Publish::json("a", "2"));
    let mut nonsense = script.publish(Publish::json("a", "{"));
    let (first, second) = (script.sent("publish"), script.sent("publish"));
    script.say(&json!({ "id": first["id"], "error": { "code": 403, "message": "no" } }));
    script
        .say(&json!({ "id": second["id"], "error": { "code": 429, "message": "wait", "retry": true, "after_ms": 5 } }));
    let code = |answer: Result<Published, Error>| match answer {
        Err(Error::Refused(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    };
    assert_eq!((code(refused.try_recv().unwrap()), code(nonsense.try_recv().unwrap())), (403, 400));
    script.core.tick(script.now);
    assert!(script.core.out.is_empty());
    script.now = script.core.deadline().expect("it waits");
    script.core.tick(script.now);
    let again = script.sent("publish");
    assert_eq!(again["params"], second["params"]);
    script.say(&json!({ "id": again["id"], "result": { "seq": 1, "epoch": "e1" } }));
    assert_eq!(delayed.try_recv().unwrap().unwrap().seq, 1);
}

#[test]
fn a_publish_over_the_servers_limit_is_not_sent() {
    let mut script = Script::new();
    script.open(json!({ "time": 1, "limits": { "message_bytes": 100 } }));
    let mut answer = script.publish(Publish::json("a", format!("\"{}\"", "x".repeat(100))));
    assert!(matches!(answer.try_recv().unwrap(), Err(Error::Refused(refusal)) if refusal.code == 413));
    assert!(script.core.out.is_empty());
}

#[test]
fn bound_keys_are_published_anew_on_each_connection_until_they_are_removed() {
    let mut script = Script::opened();
    let acknowledged = |script: &mut Script| {
        let request = script.sent("publish");
        script.say(&json!({ "id": request["id"], "result": { "seq": 1, "epoch": "e1" } }));
        request["params"].clone()
    };
    let _answers = [
        script.publish(Publish::json("room", "1").key("me").bound()),
        script.publish(Publish::json("room", "2").key("hand").bound()),
        script.publish(Publish::remove("room", "hand")),
        script.publish(Publish::json("room", "3").key("seat").bound()),
    ];
    let first = acknowledged(&mut script);
    assert_eq!((&first["bound"], acknowledged(&mut script)["key"].as_str()), (&json!(true), Some("hand")));
    assert_eq!(acknowledged(&mut script)["remove"], json!(true));
    let underway = script.sent("publish")["params"].clone();
    script.core.lost();
    script.open(json!({ "time": 1 }));
    let (again, sent) = (acknowledged(&mut script), acknowledged(&mut script));
    assert_eq!((again["key"].as_str(), sent["key"].as_str()), (Some("me"), Some("seat")));
    // The server must not take them for known: they went with the connection.
    assert_ne!(again["idempotency_key"], first["idempotency_key"]);
    assert_ne!(sent["idempotency_key"], underway["idempotency_key"]);
    assert!(script.core.out.is_empty());
}

#[test]
fn a_question_is_asked_again_on_the_next_connection_until_its_time_is_over() {
    let mut script = Script::opened();
    let (reply, mut answer) = oneshot::channel();
    script.core.command(Command::Ask { method: "history", params: json!({ "topic": "a" }), reply }, script.now);
    script.sent("history");
    script.core.lost();
    script.open(json!({ "time": 1 }));
    script.sent("history");
    script.now = script.core.deadline().expect("it has a limit");
    script.core.tick(script.now);
    assert_eq!(answer.try_recv().unwrap().map(|_| ()), Err(Error::Timeout));
    assert_eq!(script.core.deadline(), None);
}

#[test]
fn what_ends_ends_everything_that_waits() {
    let mut script = Script::opened();
    let mut publish = script.publish(Publish::json("a", "1"));
    let (_, mut receiver) = script.subscribe(Subscribe::to("a"));
    let (reply, mut answer) = oneshot::channel();
    script.core.command(Command::Ask { method: "ping", params: json!({}), reply }, script.now);
    let error = Error::Closed("x".to_owned());
    script.core.close(&error);
    assert_eq!(publish.try_recv().unwrap(), Err(error.clone()));
    assert_eq!(answer.try_recv().unwrap().map(|_| ()), Err(error));
    assert_eq!(receiver.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
}

#[test]
fn pushes_are_read_as_they_are_written() {
    let mut script = Script::opened();
    let _receiver = script.subscribe(Subscribe::to("a"));
    script.answer_subscription(0, "new", "keyed");
    script.core.events.clear();
    let snapshot = r#"{"topic":"a","type":"snapshot","epoch":"e1","seq":4,"first":true,"last":true,"data":[{"key":"k\"","seq":2,"ts":9,"data":"AAE=","base64":true}]}"#;
    let update =
        r#"{"topic":"a","type":"update","seq":5,"ts":7,"source_seq":3,"key":"k","data":{"p":1.50},"later":[1]}"#;
    let lines =
        format!("{snapshot}\n{update}\n{{\"type\":\"news\"}}\n{{\"type\":\"goaway\",\"after_ms\":5,\"jitter_ms\":6}}");
    let signals = script.core.message(&lines, script.now).expect("it is of the protocol");
    assert!(
        matches!(signals[..], [Signal::GoAway(after, jitter)] if (after.as_millis(), jitter.as_millis()) == (5, 6))
    );
    let [(_, Event::Snapshot(snapshot)), (_, Event::Entry(entry))] = &script.core.events.make_contiguous() else {
        panic!()
    };
    let item = &snapshot.entries[0];
    assert_eq!((&*item.key, &item.data.as_bytes()[..], item.data.as_str()), ("k\"", &[0, 1][..], None));
    assert_eq!((entry.data.as_str(), entry.source_seq, entry.ts_us), (Some("{\"p\":1.50}"), Some(3), 7));
    assert!(script.core.message("{", script.now).is_err());
}
