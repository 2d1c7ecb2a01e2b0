//! The steps of opening a connection: its turn comes, it connects, TLS and the WebSocket shake hands.

use ringwire_ring::{Instant, Op};

use super::End;
use super::core::{Core, News};
use super::handshake::Opening;
use super::link::Phase;
use super::throttle::RECEIVE_BUFFER_BYTES;
use super::timers::Due;
use crate::framing::Framing;

impl Core {
    /// Begins to open connections that wait for it, as many as may be opened at a time.
    pub(super) fn open_waiting(&mut self) {
        while self.connecting < self.connecting_max
            && let Some(&link) = self.waiting.front()
        {
            match std::mem::take(&mut self.links[link as usize].phase) {
                Phase::Waiting(opening) => {
                    if !self.begin(link as usize, opening) {
                        return;
                    }
                }
                // It has ended meanwhile, and the number may be another one's.
                phase => self.links[link as usize].phase = phase,
            }
            self.waiting.pop_front();
        }
    }

    /// Begins to open a connection. False if it must wait for a descriptor.
    fn begin(&mut self, link: usize, mut opening: Box<Opening>) -> bool {
        let receive_buffer = self.links[link].throttle.as_ref().map(|_| RECEIVE_BUFFER_BYTES);
        if !self.ring.has_place() {
            let must_wait = self.leaving > 0;
            let failed = opening
                .failed(&format!("the ring has room for {} connections, all of which are open", self.ring.places()));
            self.links[link].phase = Phase::Waiting(opening);
            if !must_wait {
                self.news.push_back((link as u32, News::Ended(failed)));
            }
            return !must_wait;
        }
        let begun = opening.connect(receive_buffer).and_then(|is_connected| {
            let socket = opening.socket.as_ref().expect("it has a socket now");
            Ok((is_connected, self.ring.adopt(socket).map_err(|error| error.to_string())?))
        });
        match begun {
            Err(reason) => {
                self.news.push_back((link as u32, News::Ended(opening.failed(&reason))));
                self.links[link].phase = Phase::Waiting(opening);
            }
            Ok((is_connected, socket)) => {
                self.connecting += 1;
                self.links[link].socket = Some(socket);
                self.links[link].phase = Phase::Connecting(opening);
                let now = self.now();
                self.set_timer(link, now + self.patience, Due::Patience);
                if is_connected {
                    self.connected(link, now);
                } else {
                    let token = self.submit(Op::Writable(socket), link);
                    self.links[link].send = Some(token);
                }
            }
        }
        true
    }

    /// The socket says that it has connected, or failed to.
    pub(super) fn on_writable(&mut self, link: usize, now: Instant) -> Result<(), String> {
        let Phase::Connecting(opening) = &self.links[link].phase else { return Ok(()) };
        opening.take_error()?;
        self.connected(link, now);
        Ok(())
    }

    /// TCP is connected: what is next opens.
    fn connected(&mut self, link: usize, now: Instant) {
        let Phase::Connecting(mut opening) = std::mem::take(&mut self.links[link].phase) else {
            unreachable!("only what connects is connected");
        };
        // The ring has it, and a process may have fewer descriptors than its rings.
        opening.socket = None;
        if opening.url().is_none() {
            let messages = opening.door.tcp_messages;
            self.links[link].phase = Phase::Connecting(opening);
            self.news.push_back((link as u32, News::Open(messages)));
            return;
        }
        let session = opening.session();
        let is_secure = matches!(session, Ok(Some(_)));
        let failed = session.as_ref().err().map(|reason| opening.failed(reason));
        let connection = &mut self.links[link];
        connection.tls = session.ok().flatten();
        connection.is_websocket = true;
        connection.phase = Phase::Shaking(opening);
        match failed {
            Some(end) => self.news.push_back((link as u32, News::Ended(end))),
            None if is_secure => self.send_tls(link),
            None => self.request(link),
        }
        self.receive(link, now);
    }

    /// Sends the request.
    fn request(&mut self, link: usize) {
        let Phase::Shaking(opening) = &mut self.links[link].phase else { return };
        opening.is_requested = true;
        match opening.request() {
            Ok(request) => self.send(link, &request),
            Err(reason) => {
                let failed = opening.failed(&reason);
                self.news.push_back((link as u32, News::Ended(failed)));
            }
        }
    }

    /// Bytes came, maybe none that are not TLS's own, while the connection shakes hands. If it is open with that: how
    /// its messages come, and how many of the bytes, the last ones, are the first of these.
    pub(super) fn shake(&mut self, link: usize, bytes: &[u8]) -> Result<Option<(Framing, usize)>, String> {
        let connection = &mut self.links[link];
        let Phase::Shaking(opening) = &mut connection.phase else { return Ok(None) };
        if !opening.is_requested && connection.tls.as_ref().is_some_and(|session| !session.is_handshaking()) {
            self.request(link);
            return Ok(None);
        }
        let Some(answer) = opening.answer(bytes) else { return Ok(None) };
        let answer = answer?;
        self.set_open(link);
        Ok(Some((Framing::websocket(answer.extension), answer.first_bytes)))
    }

    /// The connection is open.
    pub(super) fn set_open(&mut self, link: usize) {
        self.links[link].phase = Phase::Open;
        self.connecting -= 1;
    }

    /// Something went wrong with a connection: how it has ended.
    pub(super) fn fault(&self, link: usize, reason: &str) -> End {
        match &self.links[link].phase {
            Phase::Waiting(opening) | Phase::Connecting(opening) | Phase::Shaking(opening) => opening.failed(reason),
            Phase::Open => End::Broken(reason.to_owned()),
            Phase::Closing | Phase::Ended | Phase::Leaving | Phase::Free => End::Closed,
        }
    }
}
