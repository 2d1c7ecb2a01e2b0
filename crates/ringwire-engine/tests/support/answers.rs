//! The probe's answers that take time: some later, some as streams of events out of one log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringwire_engine::codec::http::Request;
use ringwire_engine::ring::Shared;
use ringwire_engine::{Answer, ConnectionId, Context, Response, Transmit};

/// Events that the log has room for.
pub(crate) const EVENTS_MAX: usize = 4096;
/// Length of an event.
pub(crate) const EVENT_BYTES: usize = 1000;
/// Length of its chunk.
const CHUNK_BYTES: usize = EVENT_BYTES + "3e8\r\n\r\n".len();

/// What is still to be answered, and who is on which event.
pub(crate) struct Answers {
    waiting: Vec<(ConnectionId, Response)>,
    /// Where each stream is in the log, in bytes.
    cursors: HashMap<ConnectionId, usize>,
    log: Arc<[AtomicU64]>,
    published: usize,
    /// The WebSocket that is pulled for without end, with bytes that are no frames: for a peer that does not read.
    endless: Option<ConnectionId>,
}

/// The event of this number.
pub(crate) fn event(number: usize) -> Vec<u8> {
    let mut event = format!("data: {number}").into_bytes();
    event.resize(EVENT_BYTES, b'.');
    event
}

impl Default for Answers {
    fn default() -> Self {
        let mut bytes = Vec::new();
        for number in 0..EVENTS_MAX {
            bytes.extend_from_slice(format!("{EVENT_BYTES:x}\r\n").as_bytes());
            bytes.extend_from_slice(&event(number));
            bytes.extend_from_slice(b"\r\n");
        }
        assert_eq!(bytes.len(), EVENTS_MAX * CHUNK_BYTES);
        let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight")));
        Self {
            waiting: Vec::new(),
            cursors: HashMap::new(),
            log: words.map(AtomicU64::new).collect(),
            published: 0,
            endless: None,
        }
    }
}

impl Answers {
    /// The answer to a request, of which `words` say all.
    pub(crate) fn answer(&mut self, connection: ConnectionId, request: &Request<'_>, words: String) -> Answer {
        if request.path().starts_with("/later/") {
            self.waiting.push((connection, Response::text(200, words)));
            return Answer::Later;
        }
        match request.path().strip_prefix("/stream/") {
            Some(first) => Answer::Stream(Response::new(200, "text/event-stream", first.as_bytes().to_vec())),
            None => Response::text(200, words).into(),
        }
    }

    /// What is to be answered, the oldest first.
    pub(crate) fn take_waiting(&mut self) -> Vec<(ConnectionId, Response)> {
        std::mem::take(&mut self.waiting)
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = ConnectionId> {
        self.cursors.keys().copied()
    }

    pub(crate) fn on_open<M>(&mut self, cx: &mut Context<'_, M>, connection: ConnectionId) {
        // Only streams are pulled for: a WebSocket takes no chunks.
        if cx.send_chunk(connection, b"").is_ok() {
            self.cursors.insert(connection, self.published * CHUNK_BYTES);
        }
    }

    pub(crate) fn on_close(&mut self, connection: ConnectionId) {
        self.cursors.remove(&connection);
    }

    pub(crate) fn publish<M>(&mut self, cx: &mut Context<'_, M>, count: usize) {
        self.published += count;
        self.streams().for_each(|connection| cx.ready(connection));
    }

    pub(crate) fn pull_endlessly<M>(&mut self, cx: &mut Context<'_, M>, connection: ConnectionId) {
        self.endless = Some(connection);
        cx.ready(connection);
    }

    pub(crate) fn poll_transmit(&mut self, connection: ConnectionId, out: &mut Transmit) {
        if self.endless == Some(connection) {
            let end = out.budget().min(EVENTS_MAX * CHUNK_BYTES) as u32;
            return out.shared(Shared::new(Arc::clone(&self.log), 0, end));
        }
        let Some(cursor) = self.cursors.get_mut(&connection) else { return };
        let chunks = (self.published * CHUNK_BYTES - *cursor) / CHUNK_BYTES;
        let end = *cursor + chunks.min(out.budget().div_ceil(CHUNK_BYTES)) * CHUNK_BYTES;
        if end > *cursor {
            assert!(self.log[*cursor / 8].load(Ordering::Relaxed) != 0, "written");
            out.shared(Shared::new(Arc::clone(&self.log), *cursor as u32, end as u32));
        }
        *cursor = end;
    }

    pub(crate) fn on_short(&mut self, connection: ConnectionId, unsent: usize) -> usize {
        if self.endless == Some(connection) {
            return unsent.min(CHUNK_BYTES);
        }
        let Some(cursor) = self.cursors.get_mut(&connection) else { return unsent };
        let kept = unsent % CHUNK_BYTES;
        *cursor -= unsent - kept;
        kept
    }
}
