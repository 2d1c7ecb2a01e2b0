//! From bytes to handlers.
//!
//! Received bytes are parsed where the kernel put them: a request or message that lies whole in one buffer reaches the
//! handler without a copy, and a message may be changed in place. What is not whole is copied, bounded by the limits,
//! and its buffer goes back to the ring at once. How requests are answered is in `answer.rs`.

use std::sync::Arc;

use ringwire_codec::http::Request;
use ringwire_codec::{CloseAction, CloseCode, CloseEvent, Decoder, Event, Opcode, Phase, Role, Violation, handshake};
use ringwire_ring::Driver;

use crate::admission::ADDRESS_WORDS;
use crate::answer::Then;
use crate::chunked::ChunkedRequest;
use crate::connection::{HttpState, Life, Protocol};
use crate::handler::{Accept, CloseReason, Handler, Opening, Peer, Response, Side, Upgrade};
use crate::http;
use crate::pace::MESSAGE_WORK_BYTES;
use crate::shard::Shard;
use crate::teardown::Leave;
use crate::tls::TLS_HANDSHAKE;

/// What looking at bytes as HTTP came to.
pub(crate) enum Step {
    /// A request was dealt with; this many bytes were its.
    Done(usize),
    /// It is not whole; it will be once this many bytes are there.
    Wanting(usize),
    /// It is not whole, and all bytes there are have been taken.
    Taken,
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Bytes came in.
    pub(crate) fn on_received(&mut self, slot: u32, bytes: &mut [u8]) {
        let connection = self.core.slab.at(slot);
        if connection.life != Life::Live {
            return;
        }
        connection.session.heard = self.core.stamp;
        let Some(taken) = self.take_proxy_header(slot, bytes) else {
            return self.count_live(slot);
        };
        let bytes = &mut bytes[taken..];
        self.decide_transport(slot, bytes);
        match self.core.slab.at(slot).tls.take() {
            None => self.on_plain(slot, bytes),
            Some(session) => self.on_sealed(slot, session, bytes),
        }
    }

    /// Bytes came in that are not encrypted, or no longer.
    pub(crate) fn on_plain(&mut self, slot: u32, bytes: &mut [u8]) {
        let connection = self.core.slab.at(slot);
        if connection.life != Life::Live {
            return;
        }
        if matches!(connection.protocol, Protocol::Stream { .. }) {
            return;
        }
        // The answer to a long message is not copied if it goes out from its place, for which nothing may be before it. So it
        // waits once, for those that are being sent.
        let is_behind = connection.is_filled_behind_replies() && self.core.held_again.is_none();
        let waits = connection.flags.paused || is_behind;
        if waits || self.core.awaits_answer(slot) || self.turn_is_full() {
            return self.hold(slot, bytes);
        }
        match &mut self.core.slab.at(slot).protocol {
            Protocol::WebSocket { .. } => self.on_frames(slot, bytes),
            Protocol::Stream { .. } => unreachable!("what comes in on a stream is dropped"),
            Protocol::Http(state) => {
                let mut buffer = std::mem::take(&mut state.buffer);
                if buffer.is_empty() {
                    self.on_http_bytes(slot, bytes);
                } else {
                    buffer.extend_from_slice(bytes);
                    if buffer.len() < state.wanted_bytes {
                        state.buffer = buffer;
                    } else {
                        self.on_http_bytes(slot, &mut buffer);
                    }
                }
            }
        }
        self.count_live(slot);
    }

    fn count_live(&mut self, slot: u32) {
        if self.core.slab.at(slot).life == Life::Live {
            self.core.count(slot);
        }
    }

    /// Deals with all requests in `bytes`, and keeps what is left of the last.
    fn on_http_bytes(&mut self, slot: u32, bytes: &mut [u8]) {
        let mut at = 0;
        loop {
            if self.http_state(slot).chunked.is_none() {
                // Empty lines before a request mean nothing (RFC 9112 §2.2).
                at += bytes[at..].iter().take_while(|&byte| matches!(byte, b'\r' | b'\n')).count();
            }
            if at == bytes.len() {
                break;
            }
            let step = match self.http_state(slot).chunked.take() {
                None => self.on_request(slot, &mut bytes[at..]),
                Some(request) => self.on_chunks(slot, request, &bytes[at..]),
            };
            let connection = self.core.slab.at(slot);
            if connection.life != Life::Live {
                return;
            }
            match (step, &mut connection.protocol) {
                (Step::Done(consumed), Protocol::WebSocket { .. }) => {
                    // A client that sends frames right behind its handshake has guessed the answer well.
                    return self.on_frames(slot, &mut bytes[at + consumed..]);
                }
                (Step::Done(_), Protocol::Stream { .. }) => return,
                (Step::Done(consumed), Protocol::Http(state)) => {
                    at += consumed;
                    state.continued = false;
                    state.is_further = true;
                    self.core.handshake_over(slot);
                    if self.core.awaits_answer(slot) {
                        if at < bytes.len() {
                            self.hold(slot, &bytes[at..]);
                        }
                        return;
                    }
                }
                (step @ (Step::Wanting(_) | Step::Taken), Protocol::Http(state)) => {
                    if let Step::Wanting(wanted_bytes) = step {
                        state.buffer = bytes[at..].to_vec();
                        state.wanted_bytes = wanted_bytes;
                    }
                    if std::mem::take(&mut state.is_further) {
                        self.begin_handshake(slot);
                    }
                    return;
                }
                (Step::Wanting(_) | Step::Taken, Protocol::WebSocket { .. } | Protocol::Stream { .. }) => {
                    unreachable!("only a whole request changes the protocol")
                }
            }
        }
        if self.http_state(slot).is_further {
            let timeout = self.core.timeouts(slot).keep_alive;
            self.core.set_deadline(slot, timeout);
        }
    }

    /// Deals with the request at the front of `bytes`, if it is whole.
    fn on_request(&mut self, slot: u32, bytes: &mut [u8]) -> Step {
        let limits = &self.core.options.limits;
        let (head_bytes_max, body_bytes_max) = (limits.head_bytes_max, limits.body_bytes_max);
        let (headers_max, target_bytes_max) = (limits.headers_max, limits.target_bytes_max);
        if !bytes[0].is_ascii_uppercase() {
            let words = if bytes[0] == TLS_HANDSHAKE {
                "this port speaks no TLS: use http:// or ws://\n"
            } else {
                "this is no HTTP request\n"
            };
            return self.refuse(slot, 400, words);
        }
        let head_end = end_of_head(&bytes[..bytes.len().min(head_bytes_max)]);
        let Some(head_bytes) = head_end else {
            if bytes.len() >= head_bytes_max {
                return self.refuse(slot, 431, "the request's head is too long\n");
            }
            return Step::Wanting(bytes.len() + 1);
        };
        let (head, rest) = bytes.split_at_mut(head_bytes);
        let request = match Request::parse(head) {
            Ok(Some((request, _))) => request,
            Ok(None) => return Step::Wanting(head_bytes + 1),
            Err(error) => return self.refuse(slot, error.status(), &format!("{error}\n")),
        };
        if request.target().len() > target_bytes_max {
            return self.refuse(slot, 414, &format!("a target may have at most {target_bytes_max} bytes\n"));
        }
        if request.headers().iter().count() > headers_max {
            return self.refuse(slot, 431, &format!("a request may have at most {headers_max} header fields\n"));
        }
        if handshake::wants_upgrade(&request) {
            self.on_upgrade_request(slot, &request);
            return Step::Done(head_bytes);
        }
        if request.is_chunked() {
            let body = ChunkedRequest::new(head);
            self.say_continue(slot, &request);
            return match self.on_chunks(slot, Box::new(body), rest) {
                Step::Done(consumed) => Step::Done(head_bytes + consumed),
                step => step,
            };
        }
        let body_bytes = request.content_length().unwrap_or(0);
        if body_bytes > body_bytes_max as u64 {
            return self.refuse_body(slot, body_bytes_max);
        }
        let body_bytes = body_bytes as usize;
        if rest.len() < body_bytes {
            self.say_continue(slot, &request);
            return Step::Wanting(head_bytes + body_bytes);
        }
        self.on_whole_request(slot, &request, &mut rest[..body_bytes]);
        Step::Done(head_bytes + body_bytes)
    }

    /// Tells a client that waits for it to send its body, once.
    fn say_continue(&mut self, slot: u32, request: &Request<'_>) {
        if request.expects_continue() && !std::mem::replace(&mut self.http_state(slot).continued, true) {
            self.with_handler(|_, cx| cx.stage(slot, &[b"HTTP/1.1 100 Continue\r\n\r\n"]));
        }
    }

    pub(crate) fn http_state(&mut self, slot: u32) -> &mut HttpState {
        match &mut self.core.slab.at(slot).protocol {
            Protocol::Http(state) => state,
            Protocol::WebSocket { .. } | Protocol::Stream { .. } => unreachable!("the caller deals with a request"),
        }
    }

    pub(crate) fn refuse_body(&mut self, slot: u32, body_bytes_max: usize) -> Step {
        self.refuse(slot, 413, &format!("a body may have at most {body_bytes_max} bytes\n"))
    }

    /// Refuses what is at the front of the stream, and ends the connection: where the next request starts is unknown.
    pub(crate) fn refuse(&mut self, slot: u32, status: u16, words: &str) -> Step {
        self.respond(slot, Response::text(status, words), Then::Leave(Leave::Linger), false);
        Step::Done(0)
    }

    fn on_upgrade_request(&mut self, slot: u32, request: &Request<'_>) {
        let id = self.core.slab.id(slot);
        let peer = self.peer(slot, request);
        let policy = self.handler.policy(&peer, request);
        let accepted = match handshake::accept_over(request, &policy, peer.encrypted) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                let mut response = Response::text(refusal.status, format!("{}\n", refusal.message));
                response.headers.extend(refusal.headers.iter().map(|&(name, value)| (name, value.to_owned())));
                return self.respond(slot, response, Then::Leave(Leave::Linger), false);
            }
        };
        if self.ending.is_some() {
            let response = Response::text(503, "the server is going away\n");
            return self.respond(slot, response, Then::Leave(Leave::Linger), false);
        }
        if !self.admit_client(slot, &peer) {
            return;
        }
        let opening = Opening { request, peer: &peer, subprotocol: accepted.subprotocol };
        match self.with_handler(|handler, cx| handler.on_upgrade(cx, id, &opening)) {
            Upgrade::Reject(response) => self.respond(slot, response, Then::Leave(Leave::Linger), false),
            Upgrade::Accept(Accept { headers }) => {
                let extra: Vec<_> = headers.iter().map(|(name, value)| (*name, http::one_line(value))).collect();
                let extra: Vec<_> = extra.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let response = accepted.response(&extra);
                let decoder = Decoder::new(Role::Server, Arc::clone(&self.core.message_limits));
                let extension = accepted.extension.map(|agreed| Box::new(agreed.extension));
                let connection = self.core.slab.at(slot);
                connection.protocol = Protocol::WebSocket { decoder, extension, phase: Phase::Open };
                connection.flags.opened = true;
                self.core.handshake_over(slot);
                self.start_session(slot);
                self.with_handler(|handler, cx| {
                    cx.stage(slot, &[&response]);
                    handler.on_open(cx, id);
                });
            }
        }
    }

    /// Counts a connection that stays among those of the client that a proxy has named. `false`: there are too many of
    /// them, and it has been told so.
    pub(crate) fn admit_client(&mut self, slot: u32, peer: &Peer) -> bool {
        let client = peer.address.filter(|_| peer.proxy.is_some());
        let admitted = client.is_none_or(|client| self.admit_address(slot, client));
        if !admitted {
            self.turn_away(slot, 429, ADDRESS_WORDS);
        }
        admitted
    }

    /// Bytes of an open WebSocket came in.
    fn on_frames(&mut self, slot: u32, bytes: &mut [u8]) {
        // The decoder is out of its connection meanwhile, so that handlers may touch any connection while they hold
        // the message.
        let Some(mut decoder) = self.take_decoder(slot) else { return };
        let is_extended = self.core.slab.at(slot).extension().is_some();
        let high = self.core.options.limits.backlog_high_bytes;
        let mut spare = self.spare();
        let spare_at = spare.as_ptr();
        let input = (bytes.as_ptr().addr(), bytes.as_ptr().addr() + bytes.len());
        let (mut at, mut longest) = (0, 0);
        while at < bytes.len() || decoder.is_filled() {
            if self.turn_is_full() || (is_extended && !self.core.pace.has_time_for(slot)) {
                self.hold(slot, &bytes[at..]);
                break;
            }
            let before = if is_extended { decoder.assembly_bytes() } else { 0 };
            let extension = self.core.slab.at(slot).extension();
            match decoder.decode_in(&mut bytes[at..], extension, &mut spare) {
                Ok(step) => {
                    at += step.consumed;
                    let made = match &step.event {
                        Some(Event::Message(message)) => message.bytes().len() + MESSAGE_WORK_BYTES,
                        _ => step.consumed,
                    };
                    if let Some(event) = step.event {
                        if let Event::Message(message) = &event {
                            longest = longest.max(message.bytes().len());
                            self.core.back.lend(slot, message, input);
                        }
                        self.on_event(slot, event);
                        self.send_lent(slot, &mut decoder);
                    }
                    if is_extended {
                        let made = made.max(decoder.assembly_bytes().saturating_sub(before));
                        self.core.pace.work(slot, made);
                    }
                }
                Err(violation) => {
                    self.on_violation(slot, violation);
                    break;
                }
            }
            let connection = self.core.slab.at(slot);
            if connection.life != Life::Live || !connection.phase().may_receive() {
                break;
            }
            // What follows a message whose answer filled the backlog waits until that is out, as the peer must.
            if connection.flags.paused || connection.waiting_bytes() > high {
                self.hold(slot, &bytes[at..]);
                break;
            }
        }
        decoder.release_into(&mut spare);
        self.core.back.put_by(spare, spare_at);
        if longest >= self.core.long_bytes_min() && !self.core.slab.at(slot).flags.fills {
            self.core.long.push(slot);
        }
        if let Protocol::WebSocket { decoder: place, .. } = &mut self.core.slab.at(slot).protocol {
            *place = decoder;
        }
    }

    fn take_decoder(&mut self, slot: u32) -> Option<Decoder> {
        match &mut self.core.slab.at(slot).protocol {
            Protocol::WebSocket { decoder, .. } => Some(std::mem::take(decoder)),
            Protocol::Http(_) | Protocol::Stream { .. } => None,
        }
    }

    fn on_event(&mut self, slot: u32, event: Event<'_>) {
        let id = self.core.slab.id(slot);
        match event {
            // Messages count until the peer's own close frame, whatever this side has said (RFC 6455 §5.5.1); but a
            // handler that has closed is not asked again.
            Event::Message(message) => {
                let connection = self.core.slab.at(slot);
                if connection.phase() == Phase::Open {
                    connection.session.message = self.core.stamp;
                    self.with_handler(|handler, cx| handler.on_message(cx, id, message));
                }
            }
            Event::Ping(payload) => {
                if !self.admit_control(slot) {
                    return;
                }
                if self.core.slab.at(slot).phase() == Phase::Open {
                    self.with_handler(|_, cx| cx.stage_frame(slot, Opcode::Pong, payload));
                }
            }
            Event::Pong(payload) => {
                if self.admit_control(slot) {
                    self.with_handler(|handler, cx| handler.on_pong(cx, id, payload));
                }
            }
            Event::Close(frame) => {
                let by = if self.core.slab.at(slot).phase() == Phase::Open { Side::Remote } else { Side::Local };
                let code = frame.map(|frame| frame.code);
                self.end_handshake(slot, CloseEvent::PeerClose(code), &CloseReason::Clean { by, code });
            }
        }
    }

    fn on_violation(&mut self, slot: u32, violation: Violation) {
        let code: CloseCode = violation.close_code();
        self.end_handshake(slot, CloseEvent::PeerViolation(code), &CloseReason::Violation(violation));
    }

    /// The peer is done, or wrong: answers with a close frame if one is due, and finishes.
    pub(crate) fn end_handshake(&mut self, slot: u32, event: CloseEvent, reason: &CloseReason) {
        let words = match reason {
            CloseReason::Violation(violation) => violation.as_str(),
            CloseReason::Flood => "too many pings or pongs",
            _ => "",
        };
        let action = self.with_handler(|_, cx| cx.close_slot(slot, event, words));
        let leave =
            if matches!(reason, CloseReason::Violation(_) | CloseReason::Flood) { Leave::Linger } else { Leave::Close };
        if action != CloseAction::Ignore {
            self.finish_slot(slot, reason, leave);
        }
    }
}

/// Length of a request's head with the empty line that ends it.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut lines = bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(at, _)| at);
    let mut last = lines.next()?;
    for at in lines {
        if at == last + 1 || (at == last + 2 && bytes[at - 1] == b'\r') {
            return Some(at + 1);
        }
        last = at;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::end_of_head;

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody"), Some(24));
        assert_eq!(end_of_head(b"GET / HTTP/1.1\nA: b\n\nbody"), Some(21));
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\nA: b\r\n\r"), None);
        assert_eq!(end_of_head(b""), None);
    }
}
