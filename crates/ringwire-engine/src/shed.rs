//! Letting connections go so that memory stays within its budgets: the shard's own, and the process's.
//!
//! At the end of a turn a shard says what its connections hold, if that has changed, and looks at the sum of all shards.
//! Over its own budget it lets the connection go that holds most, and again until it is within. Over the process's, the
//! shard that holds most does so; one that finds another to be it, tells it.

use ringwire_ring::Driver;

use crate::connection::{Life, Protocol};
use crate::handler::{CloseReason, Handler};
use crate::mailbox::Post;
use crate::shard::Shard;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Lets connections go that hold most, while the shard or the process is over its memory.
    pub(crate) fn shed_if_over(&mut self) {
        while self.core.memory_bytes > self.core.options.limits.memory_bytes_max {
            if !self.shed_fattest() {
                break;
            }
        }
        let (shard, most) = (self.core.shard, self.core.options.limits.process_memory_bytes_max);
        loop {
            if self.core.memory_bytes != self.published_bytes {
                self.published_bytes = self.core.memory_bytes;
                self.core.process.publish(shard, self.published_bytes);
            }
            if self.core.process.memory_bytes() <= most {
                return;
            }
            let fattest = self.core.process.fattest();
            if fattest != shard {
                return self.tell(fattest);
            }
            if !self.shed_fattest() {
                return;
            }
        }
    }

    /// Has another shard look at its memory.
    fn tell(&mut self, shard: usize) {
        if self.core.process.ask(shard) {
            // A shard whose mailbox is full is awake, and will look at the end of its turn.
            if let Ok(true) = self.core.mailboxes[shard].put(Post::Shed) {
                self.core.wakes.push(shard);
            }
        }
    }

    /// Lets the connection go that holds most. `false`: none that is not ending holds anything.
    fn shed_fattest(&mut self) -> bool {
        let slots = self.core.slab.slots();
        let fattest = slots.into_iter().max_by_key(|&slot| {
            let connection = self.core.slab.at(slot);
            let ends = matches!(connection.life, Life::Joining | Life::Closing);
            if ends { 0 } else { connection.counted_bytes }
        });
        let Some(slot) = fattest.filter(|&slot| self.core.slab.at(slot).counted_bytes > 0) else { return false };
        if matches!(self.core.slab.at(slot).life, Life::Joining | Life::Closing) {
            return false;
        }
        self.end(slot, &CloseReason::Shed);
        let connection = self.core.slab.at(slot);
        connection.backlog = Vec::new();
        connection.held = Vec::new();
        connection.tls = None;
        // The send in flight is being cancelled: its memory is as good as free, and nobody else must go for it.
        connection.sending_bytes = 0;
        match &mut connection.protocol {
            Protocol::Http(http) => http.forget(),
            Protocol::WebSocket { decoder, extension, .. } => {
                (*decoder, *extension) = (ringwire_codec::Decoder::default(), None);
            }
        }
        self.core.count(slot);
        true
    }
}
