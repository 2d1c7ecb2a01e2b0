//! `ringwire.bin.1`: records both ways.

use ringwire_codec::Opcode;
use ringwire_server::native::record::{Flags, Record, RecordKind, records};
use simd_json::OwnedValue;
use simd_json::prelude::*;

use super::json;
use crate::support::{Received, Server, Socket};

struct Client(Socket);

/// A record, and what it points to.
#[derive(Debug)]
struct Whole(Vec<u8>);

impl Whole {
    fn record(&self) -> Record<'_> {
        Record::parse(&self.0).expect("a record").0
    }

    /// A control record's JSON.
    fn json(&self) -> OwnedValue {
        let record = self.record();
        assert_eq!(record.kind, RecordKind::Control, "{record:?}");
        json(std::str::from_utf8(record.payload).expect("UTF-8"))
    }
}

impl Client {
    fn open(server: &Server) -> Self {
        let protocol = [("Sec-WebSocket-Protocol", "ringwire.bin.1")];
        Self(Socket::try_open(server.address, "/connect", &protocol).expect("accepted"))
    }

    fn send(&mut self, all: &[Record<'_>]) {
        let mut message = Vec::new();
        all.iter().for_each(|record| record.append_to(&mut message));
        self.0.send(Opcode::Binary, &message);
    }

    /// The records of the next message.
    fn receive(&mut self) -> Vec<Whole> {
        let Received::Binary(message) = self.0.receive() else { panic!("binary") };
        let whole = |record: Record<'_>| {
            let mut bytes = Vec::new();
            record.append_to(&mut bytes);
            Whole(bytes)
        };
        records(&message).map(|record| whole(record.expect("a record"))).collect()
    }

    /// The only record of the next message.
    fn one(&mut self) -> Whole {
        let mut all = self.receive();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn ask(&mut self, request: &str) -> OwnedValue {
        self.send(&[Record::control(request.as_bytes())]);
        self.one().json()
    }
}

fn number(answer: &OwnedValue) -> u32 {
    answer.get_u32("id").unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn publishes_and_entries_are_records() {
    let server = Server::start(&[]);
    let mut subscriber = Client::open(&server);
    let subscribed = subscriber.ask(r#"{"id":1,"method":"subscribe","params":"a"}"#);
    let topic = number(&subscribed["result"][0]);
    let mut publisher = Client::open(&server);
    let bound = publisher.ask(r#"{"id":1,"method":"bind","params":{"topic":"a"}}"#);
    let handle = number(&bound["result"]);
    let entry = Record { payload: &[0, 255], ..Record::new(RecordKind::Message, handle, 7) };
    let text = Record { flags: Flags::TEXT, payload: b"hi", source_seq: Some(5), ..entry };
    publisher.send(&[entry, Record { seq: 0, ..text }, Record { seq: 8, ..text }]);
    let acks = publisher.receive();
    let acks: Vec<_> = acks.iter().map(|ack| (ack.record().kind, ack.record().seq, ack.record().payload)).collect();
    assert_eq!(acks, [(RecordKind::Ack, 7, &1u64.to_le_bytes()[..]), (RecordKind::Ack, 8, &3u64.to_le_bytes()[..])]);
    let got = [1, 2, 3].map(|_| subscriber.one());
    let got: Vec<_> = got.iter().map(Whole::record).collect();
    assert!(got.iter().all(|record| record.topic == topic && record.ts_us.is_some()));
    assert_eq!(got.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((got[0].payload, got[0].flags.has(Flags::TEXT)), (&[0, 255][..], false));
    assert_eq!((got[1].payload, got[1].flags.has(Flags::TEXT), got[1].source_seq), (&b"hi"[..], true, Some(5)));
}

#[test]
fn faults_of_records_are_told_in_control_records() {
    let server = Server::start(&[]);
    let mut client = Client::open(&server);
    let mut fault = |record: Record<'_>| {
        client.send(&[record]);
        let answer = client.one().json();
        let error = &answer["error"];
        (answer.get_u64("id"), error["code"].as_u64().unwrap(), error["message"].as_str().unwrap().to_owned())
    };
    let (id, code, words) = fault(Record::new(RecordKind::Message, 99, 7));
    assert_eq!((id, code), (Some(7), 404));
    assert!(words.contains("no topic has the id 99 on this connection"), "{words}");
    let (id, code, words) = fault(Record::new(RecordKind::Ack, 0, 7));
    assert_eq!((id, code), (None, 400));
    assert!(words.contains("a client sends records of the types 1, 2, 3"), "{words}");
    let (_, code, words) = fault(Record::control(b"{"));
    assert!(code == 400 && words.contains("this is not JSON"), "{words}");
    client.0.send(Opcode::Binary, &[0; 30]);
    assert_eq!(client.one().json()["error"]["code"], 400);
    client.0.send_text(r#"{"id":1,"method":"ping"}"#);
    let answer = client.one().json();
    assert!(answer["error"].get_str("message").unwrap().contains("put JSON into a control record"), "{answer:?}");
}

#[test]
fn a_message_in_the_wrong_subject_is_no_publish() {
    let server = Server::start_configured("[[topics]]\nmatch = \"k\"\nkind = \"keyed\"\n");
    let mut client = Client::open(&server);
    let handle = number(&client.ask(r#"{"id":1,"method":"bind","params":{"topic":"k"}}"#)["result"]);
    let update = Record { payload: b"1", ..Record::new(RecordKind::Update, handle, 7) };
    client.send(&[update]);
    assert_eq!(client.one().json()["error"]["code"], 400);
    client.send(&[Record { key: "a", flags: Flags::BOUND, ..update }]);
    assert_eq!(client.one().record().payload, 1u64.to_le_bytes());
    drop(client);
    let mut other = Client::open(&server);
    let clock = ringwire_ring::Clock::start();
    loop {
        let answer = other.ask(r#"{"id":1,"method":"history","params":{"topic":"k"}}"#);
        if answer["result"]["head"] == 2 {
            let last = &answer["result"]["items"][1];
            assert_eq!((last.get_str("type"), last.get_str("key")), (Some("remove"), Some("a")));
            return;
        }
        assert!(clock.now().since(ringwire_ring::Instant::default()) < crate::support::PATIENCE);
    }
}
