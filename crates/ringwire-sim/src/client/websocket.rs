//! A WebSocket client.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use ringwire_codec::handshake::{ClientHandshake, HandshakeError, Url};
use ringwire_codec::http::Response;
use ringwire_codec::proxy::SIGNATURE;
use ringwire_codec::{CloseCode, Decoder, DecoderLimits, Event, Message, Opcode, Role, encode_close};

use super::script::{Ending, Expected, Script, Step, write_frame};
use super::{Log, Reader, Writer};
use crate::peer::{Peer, Read, Wire};

/// How long a client that has stalled stays.
const STALL: Duration = Duration::from_secs(200);

/// A WebSocket client of the echo handler or of the fanout handler.
#[derive(Debug)]
pub(crate) struct WebSocketClient {
    address: SocketAddr,
    url: Url,
    nonce: [u8; 16],
    steps: VecDeque<Step>,
    script: Script,
    /// A payload of this length is over the other side's limit.
    too_big: usize,
    writer: Writer,
    reader: Reader,
    input: Vec<u8>,
    /// The decoder, once the handshake is done.
    decoder: Option<Decoder>,
    check: Check,
    stage: Stage,
    /// No step before this instant.
    paused_until: u64,
    log: Log,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Steps,
    /// The ending has been written to the writer.
    Ending,
    /// Nothing more will be written but an answer to a close frame.
    Waiting,
    Stalled,
    Done,
}

/// What came, against what was to come.
#[derive(Debug)]
struct Check {
    expected: VecDeque<Expected>,
    subscription: Option<Subscription>,
    /// The close frame that came: its code, if it had one.
    closed: Option<Option<u16>>,
    /// Payloads of pings that want an answer.
    pings: Vec<Vec<u8>>,
    received_bytes: usize,
    /// The handshake was answered with this status instead.
    refused: Option<u16>,
}

/// What a subscriber of the fanout handler gets: numbers in sequence.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) next: Option<u64>,
    /// The number behind the last one.
    pub(crate) end: u64,
}

impl WebSocketClient {
    pub(crate) fn new(
        address: SocketAddr,
        path: &str,
        script: Script,
        too_big: usize,
        log: Log,
        rng: &mut Rng,
    ) -> Self {
        let mut nonce = [0; 16];
        rng.fill(&mut nonce);
        Self {
            address,
            url: Url::parse(&format!("ws://{address}{path}")).expect("a URL"),
            nonce,
            steps: script.steps.iter().cloned().collect(),
            script,
            too_big,
            writer: Writer::seeded(rng),
            reader: Reader::seeded(rng),
            input: Vec::new(),
            decoder: None,
            check: Check {
                expected: VecDeque::new(),
                subscription: None,
                closed: None,
                pings: Vec::new(),
                received_bytes: 0,
                refused: None,
            },
            stage: Stage::Start,
            paused_until: 0,
            log,
        }
    }

    /// The same as a subscriber.
    pub(crate) fn subscribed(mut self, subscription: Subscription) -> Self {
        self.check.subscription = Some(subscription);
        self
    }

    /// Does the next thing of the script once everything before it is written.
    fn go_on(&mut self, wire: &mut Wire<'_>) {
        let may_send = self.decoder.is_some() || self.script.eager;
        while self.writer.is_done() && self.stage == Stage::Steps && may_send && self.check.closed.is_none() {
            let now = wire.now().as_nanos();
            if now < self.paused_until {
                return wire.wake_after(Duration::from_nanos(self.paused_until - now));
            }
            match self.steps.pop_front() {
                Some(Step::Pause(time)) => self.paused_until = (wire.now() + time).as_nanos(),
                Some(step) => step.write(&mut self.writer.waiting, &mut self.check.expected, wire.rng()),
                None => {
                    self.script.ending.write(&mut self.writer.waiting, self.too_big, wire.rng());
                    self.stage = Stage::Ending;
                }
            }
        }
        if self.stage == Stage::Ending && self.script.ending == Ending::Stall {
            self.stage = Stage::Stalled;
            self.paused_until = (wire.now() + STALL).as_nanos();
            return wire.wake_after(STALL);
        }
        if self.stage == Stage::Ending && self.writer.is_done() {
            self.stage = Stage::Waiting;
            match self.script.ending {
                Ending::HalfClose => wire.finish(),
                Ending::Abort => {
                    wire.abort();
                    self.done("client reset");
                }
                _ => {}
            }
        }
    }

    fn done(&mut self, how: &'static str) {
        self.log.count(how);
        self.stage = Stage::Done;
    }

    /// Reads the answer to the handshake, then frames.
    fn digest(&mut self, rng: &mut Rng) {
        if self.decoder.is_none() {
            self.digest_answer();
        }
        let Some(decoder) = &mut self.decoder else { return };
        let mut at = 0;
        while at < self.input.len() {
            let step = decoder.decode(&mut self.input[at..]);
            let step = step.unwrap_or_else(|violation| panic!("the server's frames are wrong: {violation}"));
            at += step.consumed;
            if let Some(event) = step.event {
                self.check.on(event);
            }
        }
        decoder.release();
        self.input.clear();
        if self.script.ending == Ending::HalfClose && self.stage == Stage::Waiting {
            return;
        }
        for payload in std::mem::take(&mut self.check.pings) {
            let waits = self.stage == Stage::Waiting && self.script.ending == Ending::Wait;
            if (self.stage == Stage::Steps || waits) && self.check.closed.is_none() {
                write_frame(&mut self.writer.waiting, true, Opcode::Pong, &payload, rng);
            }
        }
    }

    fn digest_answer(&mut self) {
        let answer = Response::parse(&self.input).expect("the server answers in HTTP");
        let Some((response, head_bytes)) = answer else { return };
        match ClientHandshake::new(&self.url, self.nonce).verify(&response) {
            Ok(_) => {
                self.log.count("opened");
                self.decoder = Some(Decoder::new(Role::Client, DecoderLimits::default()));
                self.input.drain(..head_bytes);
            }
            Err(HandshakeError::Refused(status)) => self.check.refused = Some(status),
            Err(error) => panic!("the server's handshake is wrong: {error}"),
        }
    }

    /// Answers a close frame, once.
    fn answer_close(&mut self, rng: &mut Rng) {
        let Some(code) = self.check.closed else { return };
        if !matches!(self.stage, Stage::Steps | Stage::Ending | Stage::Waiting) {
            return;
        }
        let ignores = matches!(self.script.ending, Ending::AskAndIgnore(_) | Ending::HalfClose);
        let said = self.stage != Stage::Steps && matches!(self.script.ending, Ending::Close(_) | Ending::Violate(_));
        // A reset is about to follow what is left of a frame.
        let resets = self.stage != Stage::Steps && self.script.ending == Ending::Abort;
        if !ignores && !said && !resets {
            let payload = encode_close(code.map(CloseCode::new), "");
            write_frame(&mut self.writer.waiting, true, Opcode::Close, &payload, rng);
            let asked = matches!(self.script.ending, Ending::Ask(asked) if code == Some(asked));
            let complete = code == Some(COMPLETE) && self.check.subscription.is_some();
            let other = complete || code == Some(OVERFLOW) || self.log.is_excused();
            // Subscribers have all been served by then.
            let late = self.log.is_late() && self.check.subscription.is_none();
            let waits = self.script.ending == Ending::Wait && (late || complete);
            let ruled = code.is_some_and(|code| self.log.rules().close_codes.contains(&code));
            if ruled {
                self.log.count("closed by a deadline");
            }
            assert!(asked || other || waits || ruled, "{} is closed with {code:?}", self.describe());
            if !asked {
                // Who closes on its own need not answer what was on its way.
                self.check.expected.clear();
            }
            // What ends the client now is the other side.
            self.stage = Stage::Waiting;
            self.script.ending = Ending::Close(code);
        }
    }

    /// The connection has ended: was that right?
    fn judge(&mut self, end: Read, killed: bool) {
        let how = match (end, self.check.refused) {
            (Read::Refused, _) => "refused by the listener",
            (_, Some(503)) => "refused with 503",
            (_, Some(429)) if self.log.rules().limits_addresses => "refused with 429",
            (_, Some(status)) => panic!("refused with {status}"),
            _ if killed => "reset by the network",
            (Read::Reset { .. }, _) if self.check.received_bytes == 0 && self.log.may_be_unanswered() => {
                "lost by a failing accept"
            }
            _ if self.decoder.is_none() && self.log.rules().lets_handshakes_go => "handshake let go",
            _ if self.log.is_excused() => "ended by a drain or by shedding",
            (_, None) => self.judge_ending(end),
        };
        self.done(how);
    }

    fn judge_ending(&self, end: Read) -> &'static str {
        let closed = self.check.closed;
        let whole =
            || assert!(self.check.expected.is_empty(), "{} ended by {end:?} without all its answers", self.describe());
        if closed == Some(Some(OVERFLOW)) {
            return "closed because it read too little";
        }
        if let (Some(Some(COMPLETE)), Some(subscription)) = (closed, &self.check.subscription) {
            // Whether or not the client's own close frame was on its way.
            assert_eq!(end, Read::End, "{}", self.describe());
            subscription.assert_complete();
            return "got all";
        }
        match self.script.ending {
            Ending::HalfClose => {
                assert_eq!(end, Read::End, "{}", self.describe());
                whole();
                "half-closed"
            }
            Ending::AskAndIgnore(code) => {
                assert_eq!(closed, Some(Some(code)), "{}", self.describe());
                whole();
                "never answered the close"
            }
            Ending::Ask(code) => panic!("{} was not closed with {code}, but by {end:?}", self.describe()),
            Ending::Close(code) => {
                assert_eq!((closed, end), (Some(code), Read::End), "{}", self.describe());
                whole();
                "closed"
            }
            Ending::Violate(wrong) => {
                assert_eq!((closed, end), (Some(Some(wrong.close_code())), Read::End), "{}", self.describe());
                whole();
                "violated"
            }
            Ending::Abort if closed.is_some() => "closed before it could reset",
            Ending::Wait | Ending::Abort | Ending::Stall => panic!("{} was ended by {end:?}", self.describe()),
        }
    }
}

/// What a proxy says of a client at this host.
pub(super) fn proxy_header(host: u8) -> Vec<u8> {
    let addresses = [203, 0, 113, host, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
    [&SIGNATURE[..], &[0x21, 0x11, 0, 12], &addresses].concat()
}

/// What a handler closes with if [`send`](ringwire_engine::Context::send) is full (1013, try again later).
pub(crate) const OVERFLOW: u16 = 1013;
/// What the fanout handler closes with behind the last number.
pub(crate) const COMPLETE: u16 = 4000;

impl Subscription {
    fn on(&mut self, text: &[u8]) {
        let text = std::str::from_utf8(text).expect("text is UTF-8");
        let number: u64 = text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number comes first");
        assert_eq!(text, published(number), "what was published comes whole");
        if let Some(next) = self.next {
            assert_eq!(number, next, "numbers come in sequence");
        }
        self.next = Some(number + 1);
    }

    /// Nothing at all is complete for those who came behind the last number.
    fn assert_complete(&self) {
        assert!(self.next.is_none_or(|next| next == self.end), "closed as complete behind the last number: {self:?}");
    }
}

/// What the fanout handler publishes as this number.
pub(crate) fn published(number: u64) -> String {
    let len = (number * 37 % 300) as usize;
    format!("{number} {}", "x".repeat(if number.is_multiple_of(13) { len * 20 } else { len }))
}

impl Check {
    fn on(&mut self, event: Event<'_>) {
        assert_eq!(self.closed, None, "nothing follows a close frame");
        match (event, &mut self.subscription) {
            (Event::Ping(payload), _) => self.pings.push(payload.to_vec()),
            (Event::Close(frame), _) => self.closed = Some(frame.map(|frame| frame.code.value())),
            (Event::Message(Message::Text(text)), Some(subscription)) => subscription.on(text.as_bytes()),
            (Event::Message(Message::Text(text)), None) => self.take(&Expected::Text(text.as_bytes().to_vec())),
            (Event::Message(Message::Binary(bytes)), _) => self.take(&Expected::Binary(bytes.to_vec())),
            (Event::Pong(payload), _) => self.take(&Expected::Pong(payload.to_vec())),
        }
    }

    fn take(&mut self, came: &Expected) {
        let expected = self.expected.pop_front();
        assert_eq!(expected.as_ref(), Some(came), "what was sent comes back, once, in order, whole");
    }
}

impl Peer for WebSocketClient {
    fn act(&mut self, wire: &mut Wire<'_>) {
        if self.stage == Stage::Start {
            wire.connect(self.address);
            self.writer.waiting = ClientHandshake::new(&self.url, self.nonce).request();
            if self.log.rules().trusts_proxies && wire.address().is_ipv4() {
                self.log.count("came through a proxy");
                self.writer.waiting.splice(..0, proxy_header(wire.rng().u8(1..4)));
            }
            self.stage = Stage::Steps;
        }
        self.writer.write(wire);
        if self.stage == Stage::Stalled {
            let now = wire.now().as_nanos();
            if now < self.paused_until {
                return wire.wake_after(Duration::from_nanos(self.paused_until - now));
            }
            wire.abort();
            return self.done("stalled");
        }
        let before = self.input.len();
        let end = self.reader.read(&mut self.input, wire);
        self.check.received_bytes += self.input.len() - before;
        let idle = self.writer.is_done();
        self.digest(wire.rng());
        self.answer_close(wire.rng());
        match end {
            Some(end) => {
                let killed = wire.was_killed();
                self.judge(end, killed);
                wire.close();
            }
            None => {
                self.go_on(wire);
                // What waits already is waiting for room, or for its gap to pass.
                if idle && !self.writer.is_done() {
                    wire.wake_after(self.writer.gap);
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    fn describe(&self) -> String {
        format!(
            "a WebSocket client: {:?}, ending with {:?}, closed with {:?}, {} bytes received, {} to write, {} answers due",
            self.stage,
            self.script.ending,
            self.check.closed,
            self.check.received_bytes,
            self.writer.waiting.len(),
            self.check.expected.len()
        )
    }
}
