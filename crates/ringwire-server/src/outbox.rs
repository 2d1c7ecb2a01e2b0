//! Notes that a full mailbox refused, until it takes them.
//!
//! A note must not be lost: until it has arrived, the topic sends its shard no other
//! ([`Published::notify`](ringwire_hub::Published)). So a sender keeps what was refused and posts it again before it
//! rests. At most one note per topic and shard is under way, which bounds what is kept.

use std::collections::VecDeque;

use ringwire_hub::{ShardId, ShardSet};

/// Keeps mail of type `M` that could not be posted.
#[derive(Debug)]
pub struct Outbox<M> {
    waiting: VecDeque<(ShardId, M)>,
}

impl<M> Default for Outbox<M> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<M> Outbox<M> {
    /// Posts a mail made by `make` to each of `shards`, through `post`, which hands back what it cannot take.
    pub fn send(&mut self, shards: ShardSet, make: impl Fn() -> M, mut post: impl FnMut(ShardId, M) -> Result<(), M>) {
        for shard in shards.iter() {
            if let Err(refused) = post(shard, make()) {
                self.waiting.push_back((shard, refused));
            }
        }
    }

    /// Posts again what waits.
    pub fn retry(&mut self, mut post: impl FnMut(ShardId, M) -> Result<(), M>) {
        for _ in 0..self.waiting.len() {
            let Some((shard, mail)) = self.waiting.pop_front() else { return };
            if let Err(refused) = post(shard, mail) {
                self.waiting.push_back((shard, refused));
            }
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
