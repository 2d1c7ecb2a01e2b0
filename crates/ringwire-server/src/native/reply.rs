//! What one request is answered with: a result or an error, as a JSON message.

use super::epoch::Epoch;
use super::fault::Fault;
use super::request::Id;
use crate::json::{write_number, write_string};

/// Limits of a connection, as `connect` tells them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most topics and patterns subscribed to.
    pub topics: usize,
    /// Longest message.
    pub message_bytes: usize,
    /// Most publishes to persistent topics that wait for the disk.
    pub pending_publishes: usize,
}

/// What `connect` is answered with.
#[derive(Clone, Copy, Debug)]
pub struct Connected<'a> {
    /// The client's number, unique among the server's clients.
    pub client: &'a str,
    /// The server's clock, in µs since the Unix epoch.
    pub time_us: u64,
    /// How often a heartbeat comes.
    pub heartbeat_ms: u64,
    /// When the token ends, in µs since the Unix epoch, if it does.
    pub expires_us: Option<u64>,
    /// What the connection may do at most.
    pub limits: Limits,
}

/// What a publish is answered with.
#[derive(Clone, Copy, Debug)]
pub struct PublishedAt {
    /// The entry's number.
    pub seq: u64,
    /// The log's epoch.
    pub epoch: Epoch,
    /// It is the number of an earlier publish with the same idempotency key.
    pub duplicate: bool,
}

/// How a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// At the head, or so much before it as was asked for.
    New,
    /// Where it was asked to.
    Resumed,
    /// Not where it was asked to: the position is lost, or of another epoch.
    Reset,
}

/// One of a subscription's topics.
#[derive(Clone, Copy, Debug)]
pub struct Subscribed<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// Its number on this connection.
    pub id: u32,
    /// Its log.
    pub epoch: Epoch,
    /// Delivery begins behind this entry.
    pub seq: u64,
    /// The last entry there is.
    pub head: u64,
    /// Whether its entries have keys.
    pub keyed: bool,
}

/// What became of a subscription's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The first of them.
    pub from: u64,
    /// How many were published.
    pub published: u64,
    /// How many were sent.
    pub delivered: u64,
    /// How many were conflated.
    pub skipped: u64,
    /// How many were lost.
    pub gap: u64,
    /// How many may still be sent.
    pub pending: u64,
}

/// Appends the answer to `id`, whose result `body` writes. Nothing, if no answer is wanted.
pub fn result(out: &mut Vec<u8>, id: Id<'_>, body: impl FnOnce(&mut Vec<u8>)) {
    if open(out, id) {
        out.extend_from_slice(b",\"result\":");
        body(out);
        out.push(b'}');
    }
}

/// Appends the error that `id` is answered with. Who wants no answer is told nevertheless.
pub fn error(out: &mut Vec<u8>, id: Id<'_>, fault: &Fault) {
    if !open(out, id) {
        out.extend_from_slice(b"{\"type\":\"error\"");
    }
    out.push(b',');
    error_member(out, fault);
    out.push(b'}');
}

/// Appends `"error":{..}`, as it stands in replies and for a topic that could not be subscribed to.
pub fn error_member(out: &mut Vec<u8>, fault: &Fault) {
    out.extend_from_slice(b"\"error\":{\"code\":");
    write_number(out, u64::from(fault.code()));
    out.extend_from_slice(b",\"message\":");
    write_string(out, &fault.to_string());
    if fault.may_retry() {
        out.extend_from_slice(b",\"retry\":true");
    }
    if let Some(after_ms) = fault.after_ms() {
        field(out, "after_ms", u64::from(after_ms));
    }
    out.push(b'}');
}

impl Connected<'_> {
    /// Appends it as a result.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"client\":");
        write_string(out, self.client);
        out.extend_from_slice(concat!(",\"server\":\"ringwire/", env!("CARGO_PKG_VERSION"), "\"").as_bytes());
        field(out, "time", self.time_us);
        field(out, "heartbeat_ms", self.heartbeat_ms);
        if let Some(expires_us) = self.expires_us {
            field(out, "expires", expires_us);
        }
        out.extend_from_slice(b",\"limits\":{\"topics\":");
        write_number(out, self.limits.topics as u64);
        field(out, "message_bytes", self.limits.message_bytes as u64);
        field(out, "pending_publishes", self.limits.pending_publishes as u64);
        out.extend_from_slice(b"}}");
    }
}

impl PublishedAt {
    /// Appends it as a result.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"seq\":");
        write_number(out, self.seq);
        epoch(out, self.epoch);
        if self.duplicate {
            out.extend_from_slice(b",\"duplicate\":true");
        }
        out.push(b'}');
    }
}

impl Subscribed<'_> {
    /// Appends it as an element of a subscribe's result.
    pub fn write(&self, out: &mut Vec<u8>, state: State) {
        topic(out, self.topic);
        self.write_rest(out, state);
    }

    /// Appends the message that says of a topic that it matches a pattern.
    pub fn write_push(&self, out: &mut Vec<u8>, pattern: &str, state: State) {
        out.extend_from_slice(b"{\"type\":\"subscribed\",\"topic\":\"");
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(b"\",\"pattern\":\"");
        out.extend_from_slice(pattern.as_bytes());
        out.push(b'"');
        self.write_rest(out, state);
    }

    fn write_rest(&self, out: &mut Vec<u8>, state: State) {
        field(out, "id", u64::from(self.id));
        epoch(out, self.epoch);
        field(out, "seq", self.seq);
        field(out, "head", self.head);
        out.extend_from_slice(if self.keyed { b",\"kind\":\"keyed\"" } else { b",\"kind\":\"plain\"" });
        out.extend_from_slice(match state {
            State::New => b",\"state\":\"new\"}",
            State::Resumed => b",\"state\":\"resumed\"}",
            State::Reset => b",\"state\":\"reset\"}",
        });
    }
}

impl Account {
    /// Appends its members behind those of an object that has begun, without `pending` if that is over.
    pub fn write(&self, out: &mut Vec<u8>, with_pending: bool) {
        out.extend_from_slice(b"\"from\":");
        write_number(out, self.from);
        field(out, "published", self.published);
        field(out, "delivered", self.delivered);
        field(out, "skipped", self.skipped);
        field(out, "gap", self.gap);
        if with_pending {
            field(out, "pending", self.pending);
        }
    }
}

/// Appends `{"topic":"<name>"`. A topic's name needs no escapes in JSON.
pub fn topic(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"{\"topic\":\"");
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

/// Appends `,"<name>":<number>`.
pub fn field(out: &mut Vec<u8>, name: &str, number: u64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    write_number(out, number);
}

/// Appends `,"epoch":"<epoch>"`.
pub fn epoch(out: &mut Vec<u8>, epoch: Epoch) {
    out.extend_from_slice(b",\"epoch\":\"");
    epoch.append_to(out);
    out.push(b'"');
}

/// Appends `{"id":<id>`, unless no answer is wanted.
fn open(out: &mut Vec<u8>, id: Id<'_>) -> bool {
    match id {
        Id::None => return false,
        Id::Number(number) => {
            out.extend_from_slice(b"{\"id\":");
            write_number(out, number);
        }
        Id::Text(text) => {
            out.extend_from_slice(b"{\"id\":");
            write_string(out, text);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_result_carries_its_requests_id() {
        let body = |out: &mut Vec<u8>| out.extend_from_slice(b"[]");
        assert_eq!(written(|out| result(out, Id::Number(7), body)), r#"{"id":7,"result":[]}"#);
        assert_eq!(written(|out| result(out, Id::Text("a\""), body)), r#"{"id":"a\"","result":[]}"#);
        assert_eq!(written(|out| result(out, Id::None, body)), "");
    }

    #[test]
    fn an_error_has_code_and_words_and_when_to_come_again() {
        let fault = Fault::TooFast("requests", 100, 500);
        let want = r#""error":{"code":429,"message":"too many requests: at most 100 a second; wait","retry":true,"after_ms":500}}"#;
        assert_eq!(written(|out| error(out, Id::Number(2), &fault)), format!("{{\"id\":2,{want}"));
        assert_eq!(written(|out| error(out, Id::None, &fault)), format!("{{\"type\":\"error\",{want}"));
        assert!(!written(|out| error(out, Id::None, &Fault::Connected)).contains("retry"));
    }

    #[test]
    fn results_have_the_members_that_the_specification_names() {
        let limits = Limits { topics: 1024, message_bytes: 1 << 20, pending_publishes: 4096 };
        let connected = Connected { client: "c7", time_us: 5, heartbeat_ms: 10_000, expires_us: Some(9), limits };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            written(|out| connected.write(out)),
            format!(
                "{{\"client\":\"c7\",\"server\":\"ringwire/{version}\",\"time\":5,\"heartbeat_ms\":10000,\"expires\":9,\
                 \"limits\":{{\"topics\":1024,\"message_bytes\":1048576,\"pending_publishes\":4096}}}}"
            )
        );
        let at = PublishedAt { seq: 1091, epoch: Epoch(36), duplicate: true };
        assert_eq!(written(|out| at.write(out)), r#"{"seq":1091,"epoch":"10","duplicate":true}"#);
        let topic = Subscribed { topic: "a", id: 9, epoch: Epoch(36), seq: 1, head: 3, keyed: true };
        assert_eq!(
            written(|out| topic.write(out, State::Resumed)),
            r#"{"topic":"a","id":9,"epoch":"10","seq":1,"head":3,"kind":"keyed","state":"resumed"}"#
        );
        assert_eq!(
            written(|out| topic.write_push(out, ">", State::New)),
            r#"{"type":"subscribed","topic":"a","pattern":">","id":9,"epoch":"10","seq":1,"head":3,"kind":"keyed","state":"new"}"#
        );
        let account = Account { from: 1, published: 9, delivered: 5, skipped: 3, gap: 1, pending: 0 };
        assert_eq!(
            written(|out| account.write(out, true)),
            r#""from":1,"published":9,"delivered":5,"skipped":3,"gap":1,"pending":0"#
        );
    }
}
