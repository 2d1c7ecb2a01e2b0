//! The connections of a shard: slots that are used again, under a new generation.

use crate::connection::Connection;

/// Names a connection of one shard for as long as it lives; afterwards it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnectionId {
    /// Index below the shard's connection limit plus [`Limits::REFUSALS`](crate::Limits::REFUSALS), unique among the shard's live connections: made for tables.
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    /// Which of the connections it is that have its slot one after the other; of those that live, none has another's slot.
    pub fn generation(self) -> u32 {
        self.generation
    }
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    connection: Option<Connection>,
}

#[derive(Debug)]
pub(crate) struct Slab {
    entries: Vec<Entry>,
    free: Vec<u32>,
    limit: usize,
}

impl Slab {
    /// Room for `limit` connections. Address space only, until they come.
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: Vec::with_capacity(limit), free: Vec::new(), limit }
    }

    /// Connections there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Takes in a connection, if there is room.
    pub(crate) fn insert(&mut self, connection: Connection) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.entries[slot as usize].connection = Some(connection);
            return Some(slot);
        }
        if self.entries.len() == self.limit {
            return None;
        }
        self.entries.push(Entry { generation: 0, connection: Some(connection) });
        Some((self.entries.len() - 1) as u32)
    }

    /// Frees a slot. Ids of its connection name nothing from now on.
    pub(crate) fn remove(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        assert!(entry.connection.take().is_some(), "a connection is removed once");
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
    }

    /// The connection in `slot`, which has operations in flight or is otherwise known to be there.
    pub(crate) fn at(&mut self, slot: u32) -> &mut Connection {
        self.entries[slot as usize].connection.as_mut().expect("the slot is in use")
    }

    /// The connection in `slot`, if any.
    pub(crate) fn try_at(&mut self, slot: u32) -> Option<&mut Connection> {
        self.entries.get_mut(slot as usize)?.connection.as_mut()
    }

    /// The connection that `id` names, if it is still there.
    pub(crate) fn find(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        if entry.generation == id.generation { entry.connection.as_mut() } else { None }
    }

    /// The id of the connection in `slot`.
    pub(crate) fn id(&self, slot: u32) -> ConnectionId {
        ConnectionId { slot, generation: self.entries[slot as usize].generation }
    }

    /// Slots in use, in ascending order.
    pub(crate) fn slots(&self) -> Vec<u32> {
        let used = self.entries.iter().enumerate().filter(|(_, entry)| entry.connection.is_some());
        used.map(|(slot, _)| slot as u32).collect()
    }
}
