//! Clients that speak HTTP, badly or not at all.

use std::net::SocketAddr;

use fastrand::Rng;
use ringwire_codec::http::Response;

use super::websocket::proxy_header;
use super::{Log, Reader, Writer};
use crate::peer::{Peer, Read, Wire};

/// What such a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// So many whole requests, one behind the other; the last one says that it is the last.
    Requests(usize),
    /// Bytes that are no request.
    Garbage,
    /// Header fields without end.
    Endless,
    /// Part of a request, and then nothing.
    Stuck,
    /// Nothing.
    Silent,
}

/// A client that does not ask for a WebSocket.
#[derive(Debug)]
pub(crate) struct HttpClient {
    address: SocketAddr,
    kind: Kind,
    writer: Writer,
    reader: Reader,
    input: Vec<u8>,
    received_bytes: usize,
    /// Bodies still to come, in order.
    expected: Vec<String>,
    /// Statuses of answers.
    statuses: Vec<u16>,
    /// Whether the last answer says that it is the last.
    told_last: bool,
    done: bool,
    log: Log,
}

impl HttpClient {
    pub(crate) fn new(address: SocketAddr, log: Log, rng: &mut Rng) -> Self {
        let kind = match rng.u32(0..8) {
            0..=3 => Kind::Requests(rng.usize(1..5)),
            4 => Kind::Garbage,
            5 => Kind::Endless,
            6 => Kind::Stuck,
            _ => Kind::Silent,
        };
        let mut writer = Writer::seeded(rng);
        let mut expected = Vec::new();
        writer.waiting = match kind {
            Kind::Requests(count) => requests(count, &mut expected, rng),
            Kind::Garbage => {
                let mut garbage = vec![0; rng.usize(1..3000)];
                rng.fill(&mut garbage);
                // The first byte decides that this is no HTTP.
                garbage[0] = [0x16, 0x00, b'{', b'g'][rng.usize(0..4)];
                garbage
            }
            Kind::Endless => [b"GET / HTTP/1.1\r\n".to_vec(), b"X-Filler: more and more\r\n".repeat(200)].concat(),
            Kind::Stuck => b"GET / HTTP/1.1\r\nHost: a".to_vec(),
            Kind::Silent => Vec::new(),
        };
        if kind == Kind::Endless {
            writer.piece_max = writer.piece_max.max(100);
        }
        let reader = Reader::seeded(rng);
        Self {
            address,
            kind,
            writer,
            reader,
            input: Vec::new(),
            received_bytes: 0,
            expected,
            statuses: Vec::new(),
            told_last: false,
            done: false,
            log,
        }
    }

    /// Takes whole answers off the input.
    fn digest(&mut self) {
        while let Some((response, head_bytes)) = Response::parse(&self.input).expect("the server answers in HTTP") {
            let body_bytes = response.content_length().expect("an answer says how long it is") as usize;
            let Some(body) = self.input.get(head_bytes..head_bytes + body_bytes) else { return };
            let status = response.status();
            assert!(!self.told_last, "no answer follows the last one");
            self.told_last = response.header("connection") == Some("close");
            self.statuses.push(status);
            if status == 200 {
                assert!(!self.expected.is_empty(), "no more answers than requests");
                assert_eq!(String::from_utf8_lossy(body), self.expected.remove(0), "answers come in order");
            }
            self.input.drain(..head_bytes + body_bytes);
        }
    }

    /// The connection has ended: was that right?
    fn judge(&mut self, end: Read, killed: bool) {
        let last = self.statuses.last().copied();
        let how = match (&self.kind, last) {
            _ if end == Read::Refused => "refused by the listener",
            _ if killed => "reset by the network",
            _ if self.log.is_excused() => "ended by a drain or by shedding",
            (_, Some(503)) => "refused with 503",
            (_, Some(429)) if self.log.rules().limits_addresses => "refused with 429",
            (_, None) if matches!(end, Read::Reset { .. }) && self.log.may_be_unanswered() => {
                "lost by a failing accept"
            }
            _ if self.log.rules().lets_handshakes_go && !self.told_last => "handshake let go",
            // A client that reads too little of its answers is told to go.
            (Kind::Requests(_), Some(200)) if self.told_last && !self.expected.is_empty() => "answered in part",
            (Kind::Requests(_), Some(504)) if self.told_last => "given up on",
            (Kind::Requests(_), _) => {
                assert!(
                    end == Read::End && self.told_last && self.expected.is_empty(),
                    "{} ended by {end:?}",
                    self.describe()
                );
                "answered"
            }
            (Kind::Garbage, Some(400)) => "garbage refused",
            (Kind::Endless, Some(431 | 408)) => "endless head refused",
            (Kind::Stuck, Some(408)) => "half a request timed out",
            (Kind::Silent, None) => "silence timed out",
            _ => panic!("{} ended by {end:?}", self.describe()),
        };
        self.log.count(how);
        self.done = true;
    }
}

/// What the echo handler answers an HTTP request with.
pub(crate) fn answer(method: &str, target: &str, body: &[u8]) -> String {
    let sum: u64 = body.iter().map(|&byte| u64::from(byte)).sum();
    format!("{method} {target} {} {sum}", body.len())
}

fn requests(count: usize, expected: &mut Vec<String>, rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for number in 0..count {
        let target = format!("/{number}");
        let mut body = vec![0; if rng.bool() { 0 } else { rng.usize(1..1500) }];
        rng.fill(&mut body);
        let method = if body.is_empty() { "GET" } else { "POST" };
        let connection = if number + 1 == count { "Connection: close\r\n" } else { "" };
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        out.extend_from_slice(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{connection}{length}\r\n").as_bytes());
        out.extend_from_slice(&body);
        expected.push(answer(method, &target, &body));
    }
    out
}

impl Peer for HttpClient {
    fn act(&mut self, wire: &mut Wire<'_>) {
        if !wire.is_connected() {
            wire.connect(self.address);
            if self.log.rules().trusts_proxies && wire.address().is_ipv4() && !self.writer.waiting.is_empty() {
                self.writer.waiting.splice(..0, proxy_header(wire.rng().u8(1..4)));
            }
        }
        self.writer.write(wire);
        let before = self.input.len();
        let end = self.reader.read(&mut self.input, wire);
        self.received_bytes += self.input.len() - before;
        self.digest();
        if let Some(end) = end {
            let killed = wire.was_killed();
            self.judge(end, killed);
            wire.close();
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        format!(
            "an HTTP client: {:?}, {} bytes received, {} to write, answers {:?}, {} due",
            self.kind,
            self.received_bytes,
            self.writer.waiting.len(),
            self.statuses,
            self.expected.len()
        )
    }
}
