//! What waits for one member to read: news before pieces of files.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use ringwire_engine::codec::CloseCode;
use ringwire_engine::ring::Instant;
use ringwire_engine::{ConnectionId, SendError};

use super::{Context, PATIENCE};

/// News that may wait for one member.
const NEWS_MAX: usize = 1000;

/// A piece of a file, on this shard. The last of its members to take it drops the last `Rc`.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) file: u32,
    /// The file's number, then the bytes.
    pub(super) message: Arc<[u8]>,
}

/// Two queues, both empty as long as the member reads what it is sent.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    news: VecDeque<Rc<str>>,
    pieces: VecDeque<Rc<Piece>>,
    /// Since when the member has taken nothing of this.
    waits_since: Option<Instant>,
}

impl Lanes {
    /// Sends news now, or as soon as the member has read.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>, connection: ConnectionId, news: &str) {
        if self.news.is_empty() && cx.send_text(connection, news) != Err(SendError::Full) {
            return;
        }
        if self.news.len() == NEWS_MAX {
            return cx.close(connection, CloseCode::POLICY_VIOLATION, "you read too slowly");
        }
        self.news.push_back(news.into());
        self.wait(cx);
    }

    /// Sends a piece now, or as soon as the member has read. Gives it back if it is no longer needed here.
    pub(super) fn hand(
        &mut self,
        cx: &mut Context<'_>,
        connection: ConnectionId,
        piece: Rc<Piece>,
    ) -> Option<Rc<Piece>> {
        let waits = !self.news.is_empty() || !self.pieces.is_empty();
        if !waits && cx.send_binary(connection, &piece.message) != Err(SendError::Full) {
            return Some(piece);
        }
        self.pieces.push_back(piece);
        self.wait(cx);
        None
    }

    /// The member has read: sends what fits. Gives back the pieces that it took.
    pub(super) fn resume(&mut self, cx: &mut Context<'_>, connection: ConnectionId) -> Vec<Rc<Piece>> {
        let mut taken = Vec::new();
        while let Some(news) = self.news.front() {
            if cx.send_text(connection, news) == Err(SendError::Full) {
                break;
            }
            self.news.pop_front();
        }
        while self.news.is_empty()
            && let Some(piece) = self.pieces.front()
            && cx.send_binary(connection, &piece.message) != Err(SendError::Full)
        {
            taken.extend(self.pieces.pop_front());
        }
        self.waits_since = None;
        if !self.news.is_empty() || !self.pieces.is_empty() {
            self.wait(cx);
        }
        taken
    }

    /// Lets a member go that has taken nothing for too long.
    pub(super) fn expire(&self, cx: &mut Context<'_>, connection: ConnectionId) {
        let Some(since) = self.waits_since else { return };
        if cx.now() >= since + PATIENCE {
            cx.close(connection, CloseCode::POLICY_VIOLATION, "you have stopped reading");
        } else {
            cx.tick_at(since + PATIENCE);
        }
    }

    /// What waited for a member that has gone.
    pub(super) fn into_pieces(self) -> Vec<Rc<Piece>> {
        self.pieces.into()
    }

    fn wait(&mut self, cx: &mut Context<'_>) {
        let since = *self.waits_since.get_or_insert(cx.now());
        cx.tick_at(since + PATIENCE);
    }
}
