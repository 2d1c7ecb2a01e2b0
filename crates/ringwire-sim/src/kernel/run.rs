//! How operations run.

use std::io;

use ringwire_ring::{Arena, Completion, Data, Event, Lease, OpToken, Socket};

use super::table::Kind;
use super::{Descriptor, Kernel};
use crate::connection::Side;
use crate::faults::strikes;
use crate::net::{Found, Net, errno};

impl Kernel {
    /// Starts a submitted operation.
    pub(super) fn start(&mut self, slot: u32, arena: &Arena, net: &mut Net) {
        let operation = self.table.at(slot);
        operation.submitted = true;
        match operation.kind {
            Kind::Transmit(socket) => self.transmit(slot, socket, arena, net),
            Kind::PeerAddress(socket) => {
                let address = net.peer_address(self.connection(socket));
                self.finish(slot, Event::PeerAddress(Ok(address)), net);
            }
            Kind::Close(_) => self.finish(slot, Event::Closed, net),
            Kind::Shutdown(_) => self.finish(slot, Event::ShutDown, net),
            Kind::Accept { .. } | Kind::Receive(_) | Kind::Fill { .. } | Kind::Send(_) | Kind::Writable(_) => {
                if self.is_possible(slot, net) {
                    self.make_due(slot, net);
                }
            }
        }
    }

    /// Transmits now or not at all: what does not go out comes back with this `enter`.
    fn transmit(&mut self, slot: u32, socket: Socket, arena: &Arena, net: &mut Net) {
        let connection = self.connection(socket);
        let data = self.table.at(slot).data.take().expect("a transmission has data");
        let len = data.len();
        let room = net.room(connection, Side::Server);
        let wanted = if strikes(&mut net.rng, net.faults.again) {
            0
        } else if strikes(&mut net.rng, net.faults.short_transmit) {
            net.rng.usize(0..=len.min(room))
        } else {
            len
        };
        let written = with_bytes(&data, 0, Some(arena), |bytes| net.write(connection, Side::Server, &bytes[..wanted]));
        let (shard, descriptor) = (self.shard as u64, u64::from(socket.0));
        let (sent, error) = match written {
            Ok(sent) => (sent, None),
            Err(error) => (0, Some(io::Error::from_raw_os_error(error))),
        };
        net.note("shard # socket #: transmits # of # bytes", &[shard, descriptor, sent as u64, len as u64]);
        if sent == len && error.is_none() {
            return;
        }
        let operation = self.table.at(slot);
        operation.result = Some(Event::Short { data, sent, error });
        operation.due = Some(net.now);
        self.due.push(slot);
    }

    /// Ends an operation whose result is known.
    fn finish(&mut self, slot: u32, result: Event, net: &mut Net) {
        self.table.at(slot).result = Some(result);
        self.make_due(slot, net);
    }

    pub(super) fn cancel(&mut self, token: OpToken, net: &mut Net) {
        let Some(slot) = self.table.find(token) else { return };
        let operation = self.table.at(slot);
        if operation.result.is_some() || !operation.submitted {
            return;
        }
        // What is about to complete may complete once before the cancel finds it.
        if operation.due.is_some() && net.rng.bool() {
            operation.cancelled = true;
            return;
        }
        self.end_cancelled(slot, net);
    }

    fn end_cancelled(&mut self, slot: u32, net: &mut Net) {
        let operation = self.table.at(slot);
        let cancelled = || io::Error::from_raw_os_error(errno::ECANCELED);
        let result = match operation.kind {
            Kind::Accept { .. } => Event::Accepted(Err(cancelled())),
            Kind::Receive(_) => Event::ReceiveFailed(cancelled()),
            Kind::Fill { .. } => Event::Filled(owned(operation.data.take()), Err(cancelled())),
            Kind::Writable(_) => Event::Writable(Err(cancelled())),
            Kind::Send(_) => {
                let error = if operation.sent > 0 { io::ErrorKind::WriteZero.into() } else { cancelled() };
                Event::Sent(operation.data.take().expect("a send has data"), Err(error))
            }
            Kind::PeerAddress(_) | Kind::Transmit(_) | Kind::Close(_) | Kind::Shutdown(_) => return,
        };
        self.finish(slot, result, net);
    }

    /// A socket has changed: its operations may have become possible.
    pub(crate) fn socket_changed(&mut self, descriptor: u32, net: &mut Net) {
        let on_it = |kind: Kind| kind.socket() == Some(Socket(descriptor));
        self.look_at(on_it, net);
    }

    /// A connection waits at a listener.
    pub(crate) fn listener_changed(&mut self, listener: u32, net: &mut Net) {
        self.look_at(|kind| kind == Kind::Accept { listener }, net);
    }

    fn look_at(&mut self, which: impl Fn(Kind) -> bool, net: &mut Net) {
        let slots: Vec<u32> =
            self.table.iter().filter(|(_, op)| op.submitted && which(op.kind)).map(|(slot, _)| slot).collect();
        for slot in slots {
            if self.is_possible(slot, net) {
                self.make_due(slot, net);
            }
        }
    }

    /// Whether the operation would get anywhere.
    fn is_possible(&self, slot: u32, net: &mut Net) -> bool {
        let operation = self.table.get(slot).expect("an operation in flight");
        if operation.result.is_some() {
            return true;
        }
        match operation.kind {
            Kind::Accept { listener } => net.listener_shard(listener).is_some() && net.is_acceptable(listener),
            Kind::Receive(socket) | Kind::Fill { socket, .. } => net.is_readable(self.connection(socket), Side::Server),
            Kind::Writable(socket) => net.is_writable(self.connection(socket), Side::Server),
            Kind::Send(socket) => {
                let connection = self.connection(socket);
                net.room(connection, Side::Server) > 0 || net.is_broken(connection, Side::Server)
            }
            // One that went out whole has no result; the others have one from the start.
            Kind::PeerAddress(_) | Kind::Transmit(_) | Kind::Close(_) | Kind::Shutdown(_) => false,
        }
    }

    /// Runs what is due, in random order. If interrupted, only what must complete now.
    pub(super) fn run_due(&mut self, interrupted: bool, net: &mut Net) {
        let table = &mut self.table;
        self.due.retain(|&slot| table.get(slot).is_some_and(|operation| operation.due.is_some()));
        loop {
            let ready: Vec<usize> = (0..self.due.len()).filter(|&index| self.is_ready(index, net.now)).collect();
            let must = ready.iter().any(|&index| self.is_transmission(index));
            let enough = interrupted || (!self.completions.is_empty() && net.rng.u32(0..32) == 0);
            if ready.is_empty() || (enough && !must) {
                return;
            }
            let slot = self.due.swap_remove(ready[net.rng.usize(0..ready.len())]);
            self.table.at(slot).due = None;
            let completion = self.run(slot, net);
            let goes_on = completion.as_ref().is_none_or(|completion| completion.more);
            if goes_on && self.table.at(slot).cancelled {
                self.end_cancelled(slot, net);
            } else if goes_on && self.is_possible(slot, net) {
                self.make_due(slot, net);
            }
            self.completions.extend(completion);
        }
    }

    fn is_ready(&self, index: usize, now: u64) -> bool {
        let operation = self.table.get(self.due[index]).expect("what is due is in flight");
        operation.due.is_some_and(|at| at <= now)
    }

    fn is_transmission(&self, index: usize) -> bool {
        matches!(self.table.get(self.due[index]).expect("what is due is in flight").kind, Kind::Transmit(_))
    }

    /// Runs an operation once. `None` if nothing came of it.
    fn run(&mut self, slot: u32, net: &mut Net) -> Option<Completion> {
        if !self.is_possible(slot, net) {
            return None;
        }
        let token = self.table.token(slot);
        let operation = self.table.at(slot);
        let context = operation.context;
        let (event, more) = match (operation.result.take(), operation.kind) {
            (Some(Event::Closed), Kind::Close(socket)) => {
                self.close(socket, net);
                (Event::Closed, false)
            }
            (Some(Event::ShutDown), Kind::Shutdown(socket)) => {
                let connection = self.connection(socket);
                net.finish(connection, Side::Server);
                (Event::ShutDown, false)
            }
            (Some(result), _) => (result, false),
            (None, Kind::Accept { listener }) => self.accept(listener, net),
            (None, Kind::Receive(socket)) => self.receive(socket, net),
            (None, Kind::Fill { socket, most }) => (self.fill(slot, socket, most, net), false),
            (None, Kind::Send(socket)) => (self.send(slot, socket, net)?, false),
            (None, Kind::Writable(_)) => (Event::Writable(Ok(())), false),
            (None, Kind::PeerAddress(_) | Kind::Transmit(_) | Kind::Close(_) | Kind::Shutdown(_)) => {
                unreachable!("their results are known at once")
            }
        };
        if !more {
            self.table.remove(slot);
        }
        Some(Completion { token, context, more, event })
    }

    fn close(&mut self, socket: Socket, net: &mut Net) {
        let descriptor = self.descriptors[socket.0 as usize].take().expect("checked at submission");
        net.note("shard # socket #: closed", &[self.shard as u64, u64::from(socket.0)]);
        net.close(descriptor.connection, Side::Server);
    }

    /// As the kernel: a connection for which there is no descriptor is accepted and dropped.
    fn accept(&mut self, listener: u32, net: &mut Net) -> (Event, bool) {
        let failed = |error| (Event::Accepted(Err(io::Error::from_raw_os_error(error))), false);
        if strikes(&mut net.rng, net.faults.accept_error) {
            return failed(errno::ECONNABORTED);
        }
        let connection = net.accept(listener);
        let Some(index) = self.descriptors.iter().position(Option::is_none) else {
            net.note("shard #: no descriptor for connection #", &[self.shard as u64, connection as u64]);
            net.abort(connection, Side::Server);
            return failed(errno::ENFILE);
        };
        self.descriptors[index] = Some(Descriptor { connection, finished: false });
        let socket = u32::try_from(index).expect("few descriptors");
        net.attach(connection, self.shard, socket);
        net.note("shard # accepts connection # as socket #", &[self.shard as u64, connection as u64, index as u64]);
        (Event::Accepted(Ok(Socket(socket))), !strikes(&mut net.rng, net.faults.multishot_end))
    }

    fn receive(&mut self, socket: Socket, net: &mut Net) -> (Event, bool) {
        let connection = self.connection(socket);
        let (shard, descriptor) = (self.shard as u64, u64::from(socket.0));
        // The end and errors need no buffer, but the kernel selects one before it looks.
        let Some((id, mut buffer)) = self.buffers.take() else {
            net.note("shard # socket #: no buffer", &[shard, descriptor]);
            return (Event::NoBuffers, false);
        };
        let short = strikes(&mut net.rng, net.faults.short_receive);
        let most = if short { net.rng.usize(1..=buffer.len()) } else { buffer.len() };
        let found = net.read(connection, Side::Server, &mut buffer[..most]);
        let lease = |len| Lease { id, buffer, len, start: 0 };
        match found {
            Found::Bytes(len) => {
                net.note("shard # socket #: receives # bytes", &[shard, descriptor, len as u64]);
                (Event::Received(lease(len)), !strikes(&mut net.rng, net.faults.multishot_end))
            }
            Found::End => {
                self.buffers.give_back(lease(0));
                net.note("shard # socket #: end of stream", &[shard, descriptor]);
                (Event::EndOfStream, false)
            }
            Found::Failed(error) => {
                self.buffers.give_back(lease(0));
                net.note("shard # socket #: receive fails with #", &[shard, descriptor, error as u64]);
                (Event::ReceiveFailed(io::Error::from_raw_os_error(error)), false)
            }
            Found::Nothing => unreachable!("looked before"),
        }
    }

    /// Receives behind the bytes that the operation has.
    fn fill(&mut self, slot: u32, socket: Socket, most: usize, net: &mut Net) -> Event {
        let connection = self.connection(socket);
        let short = strikes(&mut net.rng, net.faults.short_receive);
        let most = if short { net.rng.usize(1..=most) } else { most };
        let mut came = vec![0; most];
        let found = net.read(connection, Side::Server, &mut came);
        let mut bytes = owned(self.table.at(slot).data.take());
        let place = bytes.as_ptr();
        let result = match found {
            Found::Bytes(len) => {
                bytes.extend_from_slice(&came[..len]);
                assert_eq!(bytes.as_ptr(), place, "there was room for it");
                Ok(len)
            }
            Found::End => Ok(0),
            Found::Failed(error) => Err(io::Error::from_raw_os_error(error)),
            Found::Nothing => unreachable!("looked before"),
        };
        let count = *result.as_ref().unwrap_or(&0) as u64;
        net.note("shard # socket #: is filled with # bytes", &[self.shard as u64, u64::from(socket.0), count]);
        Event::Filled(bytes, result)
    }

    /// Sends what fits. An event once that was the last of it.
    fn send(&mut self, slot: u32, socket: Socket, net: &mut Net) -> Option<Event> {
        let connection = self.connection(socket);
        let (shard, descriptor) = (self.shard as u64, u64::from(socket.0));
        let operation = self.table.at(slot);
        let data = operation.data.as_ref().expect("a send has data");
        let written = with_bytes(data, operation.sent, None, |rest| net.write(connection, Side::Server, rest));
        let result = match written {
            Ok(count) => {
                operation.sent += count;
                let (sent, len) = (operation.sent as u64, data.len() as u64);
                net.note("shard # socket #: has sent # of # bytes", &[shard, descriptor, sent, len]);
                if sent < len {
                    return None;
                }
                Ok(())
            }
            // The kernel tells how much went out before it tells why no more did.
            Err(_) if operation.sent > 0 => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(io::Error::from_raw_os_error(error)),
        };
        Some(Event::Sent(operation.data.take().expect("a send has data"), result))
    }
}

/// The memory of an operation that receives.
fn owned(data: Option<Data>) -> Vec<u8> {
    match data {
        Some(Data::Owned { bytes, .. }) => bytes,
        other => unreachable!("a receive has memory of its own, not {other:?}"),
    }
}

/// Gives `with` the bytes of `data` but the first `skip`.
fn with_bytes<T>(data: &Data, skip: usize, arena: Option<&Arena>, with: impl FnOnce(&[u8]) -> T) -> T {
    match data {
        Data::Staged(staged) => with(&arena.expect("only transmissions are staged").bytes(staged)[skip..]),
        Data::Shared(shared) => {
            let mut bytes = Vec::new();
            shared.copy_to(&mut bytes);
            with(&bytes[skip..])
        }
        Data::Owned { bytes, start } => with(&bytes[start + skip..]),
    }
}
