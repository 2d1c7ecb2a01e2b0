//! Long messages, received where they are put together.
//!
//! Ordinarily the kernel fills memory that all connections of a shard share, and what is no whole message there is copied.
//! Behind a long message that receive is cancelled. What is missing of the next one is received, piece by piece, straight
//! into it, with as much behind it as a header takes, or a header alone: as long as that announces another long message,
//! the connection goes on so. The message goes to the handler from there, and may be [sent
//! back](crate::Context::send_back) from there, uncopied.
//!
//! If replies wait for the peer, what was received so is looked at when those are out that are being sent, so that an answer
//! needs no copy behind them. Only where nothing transforms the messages, TLS or an extension; and only behind a whole long
//! message, since memory is lent for more than has come: at most four times as much as makes a message long.

use std::io;

use ringwire_codec::{Decoder, FRAME_HEADER_BYTES_MAX, Room};
use ringwire_ring::{Driver, Op};

use crate::connection::{Connection, Life, Protocol};
use crate::context::Core;
use crate::handler::Handler;
use crate::shard::Shard;

impl<M> Core<M> {
    /// Bytes of a message behind which it is worth changing how its connection receives.
    pub(crate) fn long_bytes_min(&self) -> usize {
        2 * self.options.receive_buffer_bytes as usize
    }

    /// Memory to receive in what a connection's long message lacks, or a header behind one.
    pub(crate) fn make_room(&mut self, slot: u32) -> Option<Room> {
        let long_bytes_min = self.long_bytes_min();
        let Connection { life: Life::Live, tls: None, protocol, flags, .. } = self.slab.at(slot) else { return None };
        let Protocol::WebSocket { decoder, extension: None, .. } = protocol else { return None };
        if !flags.fills {
            return None;
        }
        if decoder.header_bytes().is_some() {
            return Some(Room { bytes: Vec::with_capacity(FRAME_HEADER_BYTES_MAX), most: FRAME_HEADER_BYTES_MAX });
        }
        let mut room = decoder.make_room(long_bytes_min)?;
        room.most = room.most.min(self.options.turn_bytes_max.max(1));
        self.count(slot);
        Some(room)
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// What came in is decoded: the ordinary receives end of connections that have had a long message.
    pub(crate) fn receive_long(&mut self) {
        let mut long = std::mem::take(&mut self.core.long);
        for slot in long.drain(..) {
            let Some(connection) = self.core.slab.try_at(slot) else { continue };
            let Connection { life: Life::Live, tls: None, protocol, flags, receive, .. } = connection else { continue };
            let Protocol::WebSocket { extension: None, .. } = protocol else { continue };
            flags.fills = true;
            // The end of the one starts the other.
            let is_cancelled = std::mem::replace(&mut flags.cancelled, true);
            if let Some(receive) = receive.filter(|_| !is_cancelled) {
                self.submit(Op::Cancel(receive), slot);
            }
        }
        self.core.long = long;
    }

    /// A receive into a message has ended.
    pub(crate) fn on_filled(&mut self, slot: u32, bytes: Vec<u8>, result: io::Result<usize>) {
        let connection = self.core.slab.at(slot);
        // There is nothing to cancel any more.
        connection.flags.cancelled = true;
        let came = *result.as_ref().unwrap_or(&0);
        if let Connection { life: Life::Live, protocol: Protocol::WebSocket { decoder, .. }, session, .. } = connection
        {
            let mut tail = [0; FRAME_HEADER_BYTES_MAX];
            let tail_bytes = decoder.fill(bytes, came, &mut tail);
            let header_bytes = decoder.header_bytes().unwrap_or(0) + tail_bytes;
            if came > 0 {
                session.heard = self.core.stamp;
                self.on_plain(slot, &mut tail[..tail_bytes]);
                self.go_on_filling(slot, header_bytes);
            }
        } else if let Protocol::WebSocket { decoder, .. } = &mut connection.protocol {
            // Nothing more will be decoded.
            *decoder = Decoder::default();
            self.core.count(slot);
        }
        match result {
            Ok(0) => self.on_end_of_stream(slot),
            Ok(_) => self.on_receive_ended(slot, None),
            Err(error) => self.on_receive_ended(slot, Some(error)),
        }
    }

    /// A connection goes on so within a frame, or with a header of which so many bytes have come: any other frame is short.
    fn go_on_filling(&mut self, slot: u32, header_bytes: usize) {
        let Connection { protocol, flags, .. } = self.core.slab.at(slot);
        if let Protocol::WebSocket { decoder, .. } = protocol {
            flags.fills = decoder.header_bytes().is_none_or(|bytes| bytes == header_bytes);
        }
    }
}
