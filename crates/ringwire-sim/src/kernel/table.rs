//! Operations in flight, named by tokens as the Linux driver names them.

use ringwire_ring::{Data, Event, OpToken, Socket};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Accept { listener: u32 },
    PeerAddress(Socket),
    Receive(Socket),
    Fill { socket: Socket, most: usize },
    Transmit(Socket),
    Send(Socket),
    Writable(Socket),
    Close(Socket),
    Shutdown(Socket),
}

impl Kind {
    fn number(self) -> u64 {
        match self {
            Kind::Accept { .. } => 1,
            Kind::PeerAddress(_) => 12,
            Kind::Receive(_) => 2,
            Kind::Fill { .. } => 13,
            Kind::Transmit(_) => 3,
            Kind::Send(_) => 4,
            Kind::Writable(_) => 5,
            Kind::Close(_) => 6,
            Kind::Shutdown(_) => 10,
        }
    }

    /// The socket it works on.
    pub(super) fn socket(self) -> Option<Socket> {
        match self {
            Kind::Accept { .. } => None,
            Kind::PeerAddress(socket)
            | Kind::Receive(socket)
            | Kind::Fill { socket, .. }
            | Kind::Transmit(socket)
            | Kind::Send(socket)
            | Kind::Writable(socket)
            | Kind::Close(socket)
            | Kind::Shutdown(socket) => Some(socket),
        }
    }
}

/// Token of what no table knows: wakes, cancels.
pub(super) const fn untracked() -> OpToken {
    OpToken::new(8 << 56)
}

/// An operation in flight.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    pub(super) context: u32,
    pub(super) data: Option<Data>,
    /// How much of the data has gone out.
    pub(super) sent: usize,
    /// Whether the kernel has it, or still waits for the `enter` that submits it.
    pub(super) submitted: bool,
    /// Whether it ends after its next completion.
    pub(super) cancelled: bool,
    /// When it is to be looked at again, if it is.
    pub(super) due: Option<u64>,
    /// Its last result, where that is known already.
    pub(super) result: Option<Event>,
}

const GENERATION_MASK: u32 = (1 << 24) - 1;

/// Operations in flight.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<(u32, Option<Operation>)>,
    free: Vec<u32>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, kind: Kind, context: u32, data: Option<Data>) -> (OpToken, u32) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).expect("few operations")
        });
        let operation =
            Operation { kind, context, data, sent: 0, submitted: false, cancelled: false, due: None, result: None };
        self.slots[slot as usize].1 = Some(operation);
        (self.token(slot), slot)
    }

    /// Name of the operation in `slot`.
    pub(super) fn token(&self, slot: u32) -> OpToken {
        let (generation, operation) = &self.slots[slot as usize];
        let kind = operation.as_ref().expect("an operation in flight").kind;
        OpToken::new(kind.number() << 56 | u64::from(*generation) << 32 | u64::from(slot))
    }

    /// Slot of the operation that `token` names, if it is still in flight.
    pub(super) fn find(&self, token: OpToken) -> Option<u32> {
        let slot = (token.bits() & u64::from(u32::MAX)) as u32;
        let (_, operation) = self.slots.get(slot as usize)?;
        operation.as_ref()?;
        (self.token(slot) == token).then_some(slot)
    }

    pub(super) fn at(&mut self, slot: u32) -> &mut Operation {
        self.slots[slot as usize].1.as_mut().expect("an operation in flight")
    }

    /// The operation in `slot`, if there is one.
    pub(super) fn get(&self, slot: u32) -> Option<&Operation> {
        self.slots[slot as usize].1.as_ref()
    }

    pub(super) fn remove(&mut self, slot: u32) -> Operation {
        let (generation, operation) = &mut self.slots[slot as usize];
        let removed = operation.take().expect("an operation ends once");
        *generation = (*generation + 1) & GENERATION_MASK;
        self.free.push(slot);
        removed
    }

    /// Operations in flight with their slots, in the order of slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Operation)> {
        let operations = self.slots.iter().enumerate();
        operations.filter_map(|(slot, (_, operation))| Some((slot as u32, operation.as_ref()?)))
    }
}
