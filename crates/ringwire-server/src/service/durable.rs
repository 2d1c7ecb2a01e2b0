//! Answers to publishes over HTTP that wait for the disk.
//!
//! What was published to a persistent topic is answered once it is on disk, as `journal.fsync` has it. An answer whose
//! ticket is not decided yet is held here; the journal's mail says when to look again. Tickets come in ascending order and
//! are decided in that order, so the oldest is looked at first. One answer per connection is held at most, as the engine
//! reads no further request before it.
//!
//! If the journal is degraded the message was delivered all the same, and the answer is 503 and says both.

use std::collections::VecDeque;

use ringwire_engine::{Answer, ConnectionId, Context, Response};
use ringwire_hub::ShardId;

use crate::broker::Mail;
use crate::journal::{Journal, Outcome};

/// Answers that wait, of one shard.
#[derive(Debug)]
pub(super) struct Durable {
    shard: ShardId,
    /// What the answer that is being made must wait for.
    ticket: Option<u64>,
    waiting: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    connection: ConnectionId,
    ticket: u64,
    response: Response,
}

impl Durable {
    pub(super) fn new(shard: ShardId) -> Self {
        Self { shard, ticket: None, waiting: VecDeque::new() }
    }

    /// The answer that is being made waits for `ticket`, and for those it waits for already.
    pub(super) fn wait_for(&mut self, ticket: Option<u64>) {
        self.ticket = self.ticket.max(ticket);
    }

    /// Gives the answer that was made, or keeps it.
    pub(super) fn answer(&mut self, journal: Option<&Journal>, connection: ConnectionId, response: Response) -> Answer {
        let (Some(ticket), Some(journal)) = (self.ticket.take(), journal) else { return response.into() };
        match journal.outcome_or_wait(ticket, self.shard) {
            Outcome::Durable => response.into(),
            Outcome::NotPersisted => not_persisted(response).into(),
            Outcome::Pending => {
                self.waiting.push_back(Held { connection, ticket, response });
                Answer::Later
            }
        }
    }

    /// Gives the answers that are decided by now.
    pub(super) fn release(&mut self, journal: Option<&Journal>, cx: &mut Context<'_, Mail>) {
        let Some(journal) = journal else { return };
        while let Some(held) = self.waiting.front() {
            let outcome = journal.outcome_or_wait(held.ticket, self.shard);
            if outcome == Outcome::Pending {
                return;
            }
            let Some(Held { connection, response, .. }) = self.waiting.pop_front() else { return };
            let response = if outcome == Outcome::Durable { response } else { not_persisted(response) };
            // It is refused only if the connection has ended.
            let _ = cx.respond(connection, response);
        }
    }
}

/// The same answer with bad news: `{"error":{..},"published":<the answer>}`.
fn not_persisted(response: Response) -> Response {
    let words = "delivered, but not on disk: the journal is degraded, see /health";
    let mut body = format!("{{\"error\":{{\"code\":503,\"message\":\"{words}\"}},\"published\":").into_bytes();
    body.extend_from_slice(response.body.trim_ascii_end());
    body.extend_from_slice(b"}\n");
    Response { status: 503, body: body.into(), ..response }
}
