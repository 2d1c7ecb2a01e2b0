//! Between a shard's sockets and its connections' sessions.
//!
//! Inbound, what a lease holds is decrypted into the shard's scratch buffer and goes from there the way of plain bytes.
//! Outbound, plaintext is encrypted when nothing can come between it and the socket any more: a turn's replies and the
//! ranges pulled behind them as one stream of full records, and what gathered while the socket was full when that is
//! sent. Ciphertext that a socket refused is sent as it is: what was pulled for it cannot be given back.

use ringwire_ring::{Data, Driver, Staged};

use super::{Session, Stream, Transport};
use crate::answer::Then;
use crate::connection::{Life, Protocol};
use crate::excess::Rest;
use crate::handler::{CloseReason, Handler};
use crate::shard::Shard;
use crate::teardown::Leave;
use crate::{Response, tls};

/// A shard's buffers for what is encrypted or decrypted in a moment. Empty between calls.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    plain: Vec<u8>,
    cipher: Vec<u8>,
}

/// A buffer that has become larger is not kept.
const SCRATCH_BYTES_KEPT: usize = 256 * 1024;
/// First byte of a TLS record that carries a handshake (RFC 8446 §5.1).
pub(crate) const TLS_HANDSHAKE: u8 = 0x16;
/// A fatal alert, "internal_error", before any handshake (RFC 8446 §6): says that the fault is the server's.
const ALERT_INTERNAL_ERROR: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Decides, with a connection's first byte, whether it is encrypted.
    pub(crate) fn decide_transport(&mut self, slot: u32, bytes: &[u8]) {
        let connection = self.core.slab.at(slot);
        let Protocol::Http(state) = &mut connection.protocol else { return };
        let Some(&first) = bytes.first().filter(|_| state.undecided) else { return };
        state.undecided = false;
        let refused = state.refused;
        let transport = &self.core.options.listen[usize::from(connection.listener)].transport;
        let (acceptor, is_tls) = match transport {
            Transport::Plain => return,
            Transport::Either(acceptor) => (acceptor, first == TLS_HANDSHAKE),
            // Whatever is no HTTP either gets an alert.
            Transport::Tls(acceptor) => (acceptor, !matches!(first, b'A'..=b'Z' | b'\r' | b'\n')),
        };
        match (is_tls, refused) {
            (true, None) => connection.tls = Some(Box::new(acceptor.session())),
            (true, Some(_)) => {
                self.with_handler(|_, cx| cx.stage(slot, &[&ALERT_INTERNAL_ERROR]));
                self.finish_slot(slot, &CloseReason::EndOfStream, Leave::Linger);
            }
            (false, Some((status, words))) => self.turn_away(slot, status, words),
            (false, None) if matches!(transport, Transport::Tls(_)) => {
                let response = Response::text(400, "this port speaks TLS only: use https:// or wss://\n");
                self.respond(slot, response, Then::Leave(Leave::Linger), false);
            }
            (false, None) => {}
        }
    }

    /// Bytes came in on a connection that is encrypted; `session` is its own.
    pub(crate) fn on_sealed(&mut self, slot: u32, mut session: Box<Session>, bytes: &mut [u8]) {
        let mut plain = std::mem::take(&mut self.scratch.plain);
        let outcome = session.receive(bytes, &mut plain);
        // What came before may be whole only with what comes now.
        self.core.pace.read(plain.len().saturating_sub(bytes.len()));
        let has_output = session.has_output();
        self.core.slab.at(slot).tls = Some(session);
        if has_output {
            self.core.list(slot);
        }
        if !plain.is_empty() {
            self.on_plain(slot, &mut plain);
        }
        self.scratch.plain = emptied(plain);
        match outcome {
            Ok(Stream::Open) => {}
            Ok(Stream::Ended) => self.end_if_said(slot),
            Err(error) => self.finish_slot(slot, &CloseReason::Tls(error), Leave::Linger),
        }
        if self.core.slab.at(slot).life == Life::Live {
            self.core.count(slot);
        }
    }

    /// Ends a connection whose peer has said that it is done, unless something is held that comes before that. What was
    /// asked is answered, and the peer told that this was all.
    pub(crate) fn end_if_said(&mut self, slot: u32) {
        let connection = self.core.slab.at(slot);
        let said = connection.tls.as_ref().is_some_and(|session| session.peer_has_ended());
        if said && connection.life == Life::Live && !connection.flags.paused {
            self.on_peer_done(slot);
        }
    }

    /// Encrypts what the connection transmits this turn: what is staged, and what was pulled.
    pub(crate) fn seal(&mut self, slot: u32, staged: Staged) -> Option<Data> {
        let tls::Scratch { mut plain, mut cipher } = std::mem::take(&mut self.scratch);
        let connection = self.core.slab.at(slot);
        // Ciphertext that does not go out is kept whole, so no part of it is anybody's to take back.
        connection.pulled_bytes = 0;
        let ends = connection.life == Life::Finishing;
        let session = connection.tls.as_mut()?;
        let replies = self.driver.staged(&staged);
        let result = if self.transmit.pieces().is_empty() {
            session.transmit(replies, &mut cipher)
        } else {
            plain.extend_from_slice(replies);
            self.transmit.pieces().drain(..).for_each(|piece| piece.copy_to(&mut plain));
            session.transmit(&plain, &mut cipher)
        };
        if ends {
            session.close(&mut cipher);
        }
        let mut sealed = Staged::default();
        if !cipher.is_empty() {
            self.driver.stage().append(&mut sealed, &[&cipher]);
        }
        self.scratch = Scratch { plain: emptied(plain), cipher: emptied(cipher) };
        if let (Err(error), false) = (result, ends) {
            self.end(slot, &CloseReason::Tls(error));
            return None;
        }
        (!sealed.is_empty()).then_some(Data::Staged(sealed))
    }

    /// Encrypts what of a backlog is still plaintext. `false`: there is nothing to send, and the connection ends.
    pub(crate) fn seal_backlog(&mut self, slot: u32, backlog: &mut Rest) -> bool {
        let connection = self.core.slab.at(slot);
        let ends = connection.life == Life::Finishing;
        let Some(session) = &mut connection.tls else { return true };
        let mut bytes = std::mem::take(backlog).into_vec();
        let plain = bytes.split_off(std::mem::take(&mut session.sealed_bytes));
        let transmitted = session.transmit(&plain, &mut bytes);
        *backlog = Rest::new(bytes, 0);
        match transmitted {
            Err(error) if !ends => {
                self.end(slot, &CloseReason::Tls(error));
                return false;
            }
            Ok(()) | Err(_) => {}
        }
        !backlog.is_empty()
    }
}

/// The buffer, for its next use.
fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.shrink_to(SCRATCH_BYTES_KEPT);
    buffer
}
