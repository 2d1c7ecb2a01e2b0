//! What a handler can do while it is called.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ringwire_codec::{
    CONTROL_PAYLOAD_BYTES_MAX, CloseAction, CloseCode, CloseEvent, DecoderLimits, FRAME_HEADER_BYTES_MAX, FrameHeader,
    Opcode, Role, encode_close,
};
use ringwire_ring::{Instant, Stage};

use crate::admission::Handshakes;
use crate::back::Back;
use crate::connection::{Connection, Life, Protocol};
use crate::mailbox::{Mailboxes, Post};
use crate::options::{EngineOptions, Timeouts};
use crate::pace::Pace;
use crate::process::Process;
use crate::queue::SlotQueue;
use crate::slab::{ConnectionId, Slab};
use crate::wall::WallTime;
use crate::wheel::{Tick, Wheel};

/// A shard's state, apart from its driver and its handler.
pub(crate) struct Core<M> {
    pub(crate) slab: Slab,
    /// Connections that transmit at the end of this turn.
    pub(crate) ready: Vec<u32>,
    /// Connections that the handler has something for, at the end of this turn or, if they are many, of a later one.
    pub(crate) pulls: SlotQueue,
    /// Connections whose requests handlers have answered in their own time, or whose streams they have ended.
    pub(crate) settled: Vec<ConnectionId>,
    /// Connections whose last bytes may be out.
    pub(crate) finishing: Vec<u32>,
    /// Whether connections have transmitted this turn.
    pub(crate) has_transmitted: bool,
    /// How far this turn has come with what may be too much for it.
    pub(crate) pace: Pace,
    pub(crate) wheel: Wheel,
    pub(crate) tick: Option<Instant>,
    pub(crate) now: Instant,
    /// The time of day at this and other instants.
    pub(crate) wall: WallTime,
    /// `now` in ticks of the wheel.
    pub(crate) stamp: Tick,
    pub(crate) handshakes: Handshakes,
    /// While what was held is taken in: how many bytes at its end are held again, and stay where they are.
    pub(crate) held_again: Option<usize>,
    /// Connections that have had a long message decoded this turn.
    pub(crate) long: Vec<u32>,
    /// Connections that are being told that they are too many.
    pub(crate) refusals: usize,
    /// What all shards share.
    pub(crate) process: Arc<Process>,
    pub(crate) shard: usize,
    pub(crate) mailboxes: Mailboxes<M>,
    /// Shards to wake at the end of this turn.
    pub(crate) wakes: Vec<usize>,
    pub(crate) options: Arc<EngineOptions>,
    /// The limits of messages, as all decoders share them.
    pub(crate) message_limits: Arc<DecoderLimits>,
    pub(crate) memory_bytes: usize,
    /// Where extensions write, from message to message.
    pub(crate) scratch: Vec<u8>,
    /// What may go back from where it is.
    pub(crate) back: Back,
}

/// A handler's hands. Valid for one call.
pub struct Context<'a, M> {
    pub(crate) core: &'a mut Core<M>,
    pub(crate) stage: Stage<'a>,
}

impl<M> fmt::Debug for Context<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("shard", &self.core.shard).field("now", &self.core.now).finish_non_exhaustive()
    }
}

/// Which kind of message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8; the caller vouches for it.
    Text,
    /// Anything.
    Binary,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection has ended.
    Gone,
    /// The connection is closing: no message may follow its close frame.
    Closing,
    /// More than [`Limits::backlog_bytes_max`](crate::Limits::backlog_bytes_max) wait for the peer to read, or for the end
    /// of the turn.
    /// [`Handler::on_drained`](crate::Handler::on_drained) will say when they are out.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Gone => "the connection has ended",
            SendError::Closing => "the connection is closing",
            SendError::Full => "too much waits for the peer to read",
        })
    }
}

impl std::error::Error for SendError {}

impl<M> Context<'_, M> {
    /// The instant of this turn.
    pub fn now(&self) -> Instant {
        self.core.now
    }

    /// The time of day of this turn, in microseconds since the Unix epoch; to tell others, not to measure with.
    pub fn wall_clock_us(&self) -> u64 {
        self.core.wall.at(self.core.now)
    }

    /// This shard, from 0.
    pub fn shard(&self) -> usize {
        self.core.shard
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.core.mailboxes.len()
    }

    /// Connections of this shard.
    pub fn connections(&self) -> usize {
        self.core.slab.len()
    }

    /// Connections of all shards.
    pub fn process_connections(&self) -> u32 {
        self.core.process.connections()
    }

    /// Bytes that the connections of all shards hold, as the shards have last said.
    pub fn process_held_bytes(&self) -> usize {
        self.core.process.memory_bytes()
    }

    /// Sends a message. Its bytes are taken at once; it goes out at the end of the turn.
    pub fn send(&mut self, connection: ConnectionId, kind: MessageKind, payload: &[u8]) -> Result<(), SendError> {
        let opcode = match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        };
        let high = self.core.options.limits.staged_bytes_max();
        let found = self.core.admit_message(connection)?;
        let is_plain = !found.is_blocked() && found.extension().is_none();
        if !is_plain || found.staged.len() + FRAME_HEADER_BYTES_MAX + payload.len() > high {
            self.stage_message(connection.slot, opcode, payload);
            return Ok(());
        }
        let payload_bytes = payload.len() as u64;
        let header = FrameHeader { fin: true, rsv1: false, opcode, mask: None, payload_bytes }.encode();
        let (header, header_bytes) = header.padded();
        self.stage.append_framed(&mut found.staged, header, header_bytes, payload);
        if !std::mem::replace(&mut found.flags.listed, true) {
            self.core.ready.push(connection.slot);
        }
        Ok(())
    }

    /// Sends a text message.
    pub fn send_text(&mut self, connection: ConnectionId, text: &str) -> Result<(), SendError> {
        self.send(connection, MessageKind::Text, text.as_bytes())
    }

    /// Sends a binary message.
    pub fn send_binary(&mut self, connection: ConnectionId, bytes: &[u8]) -> Result<(), SendError> {
        self.send(connection, MessageKind::Binary, bytes)
    }

    /// Sends a ping with a payload of at most 125 bytes; a longer one is cut.
    pub fn ping(&mut self, connection: ConnectionId, payload: &[u8]) -> Result<(), SendError> {
        let found = self.core.live(connection).ok_or(SendError::Gone)?;
        if !found.phase().may_transmit_messages() {
            return Err(SendError::Closing);
        }
        let payload = &payload[..payload.len().min(CONTROL_PAYLOAD_BYTES_MAX)];
        self.stage_frame(connection.slot, Opcode::Ping, payload);
        Ok(())
    }

    /// Starts the closing handshake. What was sent before still goes out; nothing more is pulled. The connection ends
    /// when the peer answers, or after [`Timeouts::close`](crate::Timeouts::close). A connection that is closing or
    /// gone is left as it is.
    ///
    /// The reason is cut to 123 bytes, between characters. A code that a server may not send (RFC 6455 §7.4) goes out as
    /// 1011. A [stream](crate::Answer::Stream) has no close frame: it [ends](Self::end_stream).
    pub fn close(&mut self, connection: ConnectionId, code: CloseCode, reason: &str) {
        self.end_stream(connection);
        let code = if code.may_be_sent_by(Role::Server) { code } else { CloseCode::INTERNAL_ERROR };
        if self.core.live(connection).is_some() {
            self.close_slot(connection.slot, CloseEvent::LocalClose(code), reason);
        }
    }

    /// Says that the connection has something to be pulled: [`Handler::poll_transmit`](crate::Handler::poll_transmit)
    /// is called for it at the end of this turn, or of one of the next if
    /// [many](crate::Limits::pulled_connections_max) are ready, or as soon as its socket has room.
    pub fn ready(&mut self, connection: ConnectionId) {
        if self.core.live(connection).is_some() {
            self.ready_slot(connection.slot());
        }
    }

    /// The same for the connection that now has this slot, if any.
    pub fn ready_slot(&mut self, slot: usize) {
        let slot = slot as u32;
        if let Some(connection) = self.core.slab.try_at(slot).filter(|connection| connection.life == Life::Live) {
            connection.flags.pull = true;
            if connection.blocked.is_none() {
                self.core.pulls.push(slot);
            }
        }
    }

    /// Posts mail to a shard, this one included. Mail that finds the mailbox full comes back.
    pub fn post(&mut self, shard: usize, mail: M) -> Result<(), M> {
        match self.core.mailboxes[shard].put(Post::Mail(mail)) {
            Ok(wake) => {
                if wake && shard != self.core.shard {
                    self.core.wakes.push(shard);
                }
                Ok(())
            }
            Err(Post::Mail(mail)) => Err(mail),
            Err(Post::Drain(_) | Post::Shed | Post::Stop) => unreachable!("what comes back is what was put in"),
        }
    }

    /// Asks for [`Handler::on_tick`](crate::Handler::on_tick) at `at`, or at what was asked for before if that is
    /// earlier.
    pub fn tick_at(&mut self, at: Instant) {
        self.core.tick = Some(self.core.tick.map_or(at, |tick| tick.min(at)));
    }

    /// Encodes a frame behind what this connection already transmits.
    pub(crate) fn stage_frame(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) {
        let payload_bytes = payload.len() as u64;
        let header = FrameHeader { fin: true, rsv1: false, opcode, mask: None, payload_bytes };
        self.stage(slot, &[&header.encode(), payload]);
    }

    /// Puts bytes behind what this connection already transmits. What is too much for one turn's transmission becomes a
    /// backlog at once: it is counted, holds the peer up, and is waited for.
    pub(crate) fn stage(&mut self, slot: u32, pieces: &[&[u8]]) {
        let added: usize = pieces.iter().map(|piece| piece.len()).sum();
        let connection = self.core.slab.at(slot);
        if !connection.is_blocked() {
            if self.core.options.limits.may_stage(connection.staged.len(), added) {
                self.stage.append(&mut connection.staged, pieces);
                return self.core.list(slot);
            }
            let staged = std::mem::take(&mut connection.staged);
            connection.excess.backlog.reserve_exact(staged.len() + added);
            connection.excess.backlog.extend_from_slice(self.stage.bytes(&staged));
            self.core.list(slot);
        }
        let connection = self.core.slab.at(slot);
        for piece in pieces {
            connection.excess.backlog.extend_from_slice(piece);
        }
        self.core.count(slot);
    }

    /// Moves the closing handshake on, and stages a close frame if that is due. Returns what it says to do.
    pub(crate) fn close_slot(&mut self, slot: u32, event: CloseEvent, reason: &str) -> CloseAction {
        let Protocol::WebSocket { phase, .. } = &mut self.core.slab.at(slot).protocol else {
            return CloseAction::Ignore;
        };
        let (next, action) = phase.on(event);
        *phase = next;
        if let CloseAction::Transmit(code) = action {
            self.stage_frame(slot, Opcode::Close, &encode_close(code, reason));
            let timeout = self.core.timeouts(slot).close;
            self.core.set_deadline(slot, timeout);
        }
        action
    }
}

impl<M> Core<M> {
    /// The connection that `id` names, if it is served.
    pub(crate) fn live(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slab.find(id).filter(|connection| connection.life == Life::Live)
    }

    /// Whether the handler may send on a connection now; notes that it does.
    #[inline]
    pub(crate) fn admit_message(&mut self, id: ConnectionId) -> Result<&mut Connection, SendError> {
        let (stamp, most) = (self.stamp, self.options.limits.backlog_bytes_max);
        let found = self.live(id).ok_or(SendError::Gone)?;
        if !found.phase().may_transmit_messages() {
            return Err(SendError::Closing);
        }
        if found.waiting_bytes() + found.staged.len() > most {
            return Err(SendError::Full);
        }
        found.session.message = stamp;
        Ok(found)
    }

    /// Deadlines of the connection's listener.
    pub(crate) fn timeouts(&mut self, slot: u32) -> &Timeouts {
        let listener = usize::from(self.slab.at(slot).listener);
        &self.options.listen[listener].timeouts
    }

    /// Puts the connection in the list of those that transmit at the end of the turn.
    pub(crate) fn list(&mut self, slot: u32) {
        let flags = &mut self.slab.at(slot).flags;
        if !flags.listed {
            flags.listed = true;
            self.ready.push(slot);
        }
    }

    /// Sets the connection's deadline to `timeout` from now.
    pub(crate) fn set_deadline(&mut self, slot: u32, timeout: Duration) {
        self.set_deadline_at(slot, Some(self.stamp.after(timeout)));
    }

    /// Sets the connection's deadline, or lets it be idle for as long as it likes.
    pub(crate) fn set_deadline_at(&mut self, slot: u32, deadline: Option<Tick>) {
        let generation = self.slab.id(slot).generation;
        let connection = self.slab.at(slot);
        connection.deadline = deadline;
        let Some(at) = deadline else { return };
        if connection.wheel_at.is_none_or(|wheel_at| at < wheel_at) {
            connection.wheel_at = Some(at);
            self.wheel.insert(at, (slot, generation));
        }
    }

    /// A number that differs from connection to connection, so that not all do the same at once.
    pub(crate) fn spread(&self, slot: u32) -> u32 {
        let id = u64::from(self.slab.id(slot).generation) << 32 | u64::from(slot);
        (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32
    }

    /// Counts the connection's memory anew.
    pub(crate) fn count(&mut self, slot: u32) {
        let connection = self.slab.at(slot);
        connection.excess.tidy();
        let bytes = u32::try_from(connection.memory_bytes()).unwrap_or(u32::MAX);
        self.memory_bytes = self.memory_bytes - connection.counted_bytes as usize + bytes as usize;
        connection.counted_bytes = bytes;
    }
}
