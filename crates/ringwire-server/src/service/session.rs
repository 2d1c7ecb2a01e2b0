//! What each connection came for.

use std::sync::Arc;

use ringwire_engine::ConnectionId;
use ringwire_hub::{LaneId, Start, Subscriber, Topic};

use super::native::Client;

/// What a connection does.
#[derive(Debug)]
pub(super) enum Role {
    /// Gets each of its messages back.
    Echo,
    /// Publishes each of its messages.
    Publisher(Arc<Topic>),
    /// Will subscribe once it is open.
    Subscribing(Box<Subscribing>),
    /// Will be sent the events of a topic once it is open.
    Events(Box<(Arc<Topic>, Start)>),
    /// Has this many subscriptions.
    Subscriber(u32),
    /// Speaks the native protocol.
    Native(Box<Client>),
}

impl Role {
    /// What the connection will subscribe to: handed out once, to whoever makes it a subscriber.
    pub(super) fn begin(&mut self) -> Option<Box<Subscribing>> {
        match std::mem::replace(self, Role::Subscriber(0)) {
            Role::Subscribing(wanted) => Some(wanted),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// What a connection will subscribe to.
#[derive(Debug)]
pub(super) struct Subscribing {
    pub(super) lane: LaneId,
    pub(super) topics: Vec<Arc<Topic>>,
}

/// A WebSocket connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: ConnectionId,
    pub(super) role: Role,
}

// A part of what an idle connection may cost (docs/performance.md).
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Session>>() <= 24, "a connection takes no more than 24 bytes of its service");

impl Session {
    /// Its name in the hub.
    pub(super) fn subscriber(&self) -> Subscriber {
        let slot = u32::try_from(self.id.slot()).expect("a shard has fewer connections than 2^32");
        Subscriber { slot, generation: self.id.generation() }
    }
}

/// The shard's WebSocket connections, by slot.
#[derive(Debug)]
pub(super) struct Sessions {
    slots: Vec<Option<Session>>,
}

impl Sessions {
    /// Room for connections in so many slots. Address space only, until they come.
    pub(super) fn new(slots: u32) -> Self {
        Self { slots: Vec::with_capacity(slots as usize) }
    }

    /// A connection was accepted.
    pub(super) fn insert(&mut self, id: ConnectionId, role: Role) {
        let slot = id.slot();
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(Session { id, role });
    }

    /// A connection that was accepted and has not ended.
    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Session> {
        self.slots.get_mut(id.slot()).and_then(Option::as_mut).filter(|session| session.id == id)
    }

    /// The connection that has this name in the hub.
    pub(super) fn of_subscriber(&self, subscriber: Subscriber) -> Option<ConnectionId> {
        let session = self.slots.get(subscriber.slot as usize)?.as_ref()?;
        (session.id.generation() == subscriber.generation).then_some(session.id)
    }

    /// The connections that speak the native protocol.
    pub(super) fn natives(&self) -> Vec<ConnectionId> {
        let all = self.slots.iter().flatten();
        all.filter(|session| matches!(session.role, Role::Native(_))).map(|session| session.id).collect()
    }

    /// A connection has ended.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Session> {
        self.slots.get_mut(id.slot()).and_then(|slot| slot.take_if(|session| session.id == id))
    }
}
