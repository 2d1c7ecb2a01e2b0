//! Letting connections go so that memory stays within its budgets: the shard's own, and the process's.
//!
//! At the end of a turn a shard says what its connections hold, if that has changed, and looks at the sum of all shards.
//! Over its own budget it lets those connections go that hold most, until seven eighths of it are left: so it need not
//! look at all of them again a moment later. Over the process's, the shard that holds most does so with an eighth of what
//! it holds; one that finds another to be it, tells it.

use ringwire_ring::Driver;

use crate::connection::{Life, Protocol};
use crate::excess::Excess;
use crate::handler::{CloseReason, Handler};
use crate::mailbox::Post;
use crate::shard::Shard;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Lets connections go that hold most, while the shard or the process is over its memory.
    pub(crate) fn shed_if_over(&mut self) {
        let bytes_max = self.core.options.limits.memory_bytes_max;
        if self.core.memory_bytes > bytes_max {
            self.shed_to(less_an_eighth(bytes_max));
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
            if !self.shed_to(less_an_eighth(self.core.memory_bytes)) {
                return;
            }
        }
    }

    /// Has another shard look at its memory.
    fn tell(&mut self, shard: usize) {
        // A shard whose mailbox is full is awake, and will look at the end of its turn.
        if self.core.process.ask(shard, || self.core.mailboxes[shard].put(Post::Shed)) {
            self.core.wakes.push(shard);
        }
    }

    /// Lets connections go, those that hold most first, until all together hold at most `bytes`. `false`: none that is not
    /// ending holds anything.
    fn shed_to(&mut self, bytes: usize) -> bool {
        let slab = &mut self.core.slab;
        let held = slab.slots().into_iter().map(|slot| {
            let connection = slab.at(slot);
            let ends = matches!(connection.life, Life::Joining | Life::Closing);
            (if ends { 0 } else { connection.counted_bytes }, slot)
        });
        let mut fattest: Vec<_> = held.filter(|&(held_bytes, _)| held_bytes > 0).collect();
        fattest.sort_unstable_by(|a, b| b.cmp(a));
        for &(_, slot) in &fattest {
            if self.core.memory_bytes <= bytes {
                break;
            }
            self.shed(slot);
        }
        !fattest.is_empty()
    }

    fn shed(&mut self, slot: u32) {
        self.end(slot, &CloseReason::Shed);
        let connection = self.core.slab.at(slot);
        // The send in flight is being cancelled: its memory is as good as free, and nobody else must go for it.
        connection.excess = Excess::default();
        connection.tls = None;
        match &mut connection.protocol {
            Protocol::Http(http) => http.forget(),
            Protocol::WebSocket { decoder, extension, .. } => {
                (*decoder, *extension) = (ringwire_codec::Decoder::default(), None);
            }
            Protocol::Stream { .. } => {}
        }
        self.core.count(slot);
    }
}

fn less_an_eighth(bytes: usize) -> usize {
    bytes - bytes.div_ceil(8)
}
