//! One direction of a connection: bytes on their way, bytes that have arrived, and the end of the stream.
//!
//! As with TCP, bytes keep their order and both socket buffers are bounded: a reader that does not read fills first
//! its own buffer, then the writer's, and then the writer has no room.

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    sent: Queue,
    arrived: Queue,
    sent_max: usize,
    arrived_max: usize,
    finishing: bool,
    finished: bool,
    /// Whether a delivery is under way: there is never more than one, which keeps the order.
    pub(crate) delivering: bool,
}

impl Pipe {
    pub(crate) fn new(sent_max: usize, arrived_max: usize) -> Self {
        Self {
            sent: Queue::default(),
            arrived: Queue::default(),
            sent_max,
            arrived_max,
            finishing: false,
            finished: false,
            delivering: false,
        }
    }

    /// Bytes that a write would take.
    pub(crate) fn room(&self) -> usize {
        self.sent_max - self.sent.len()
    }

    /// Whether poll(2) would call the writing side writable: a third of the socket buffer is free.
    pub(crate) fn is_writable(&self) -> bool {
        self.room() * 3 >= self.sent_max
    }

    /// Takes what fits and says how much that was.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        assert!(!self.finishing, "nothing is written behind the end of a stream");
        let taken = bytes.len().min(self.room());
        self.sent.push(&bytes[..taken]);
        taken
    }

    /// The writer has finished.
    pub(crate) fn finish(&mut self) {
        self.finishing = true;
    }

    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Whether a delivery would change anything.
    pub(crate) fn can_deliver(&self) -> bool {
        if self.sent.len() > 0 { self.arrived.len() < self.arrived_max } else { self.finishing && !self.finished }
    }

    /// Moves up to `most` bytes to the reader's side, with the end of the stream if that was all.
    pub(crate) fn deliver(&mut self, most: usize) -> usize {
        let count = most.min(self.sent.len()).min(self.arrived_max - self.arrived.len());
        self.arrived.push(&self.sent.bytes()[..count]);
        self.sent.skip(count);
        self.finished = self.finishing && self.sent.len() == 0;
        count
    }

    /// Bytes that a read would find.
    pub(crate) fn arrived(&self) -> usize {
        self.arrived.len()
    }

    /// Bytes on their way.
    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Whether everything has been read and nothing will come.
    pub(crate) fn is_at_end(&self) -> bool {
        self.finished && self.arrived.len() == 0
    }

    /// Fills `out` as far as there is something and says how far.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.arrived.len());
        out[..count].copy_from_slice(&self.arrived.bytes()[..count]);
        self.arrived.skip(count);
        count
    }

    /// Forgets what is on its way, as a reset does.
    pub(crate) fn lose(&mut self) {
        self.sent = Queue::default();
    }

    /// Forgets what nobody will read.
    pub(crate) fn lose_arrived(&mut self) {
        self.arrived = Queue::default();
    }
}

/// Bytes, first in, first out.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn skip(&mut self, count: usize) {
        self.start += count;
        if self.start * 2 >= self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_once_and_in_order_whatever_the_segments() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut pipe = Pipe::new(100, 50);
        let all: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let (mut written, mut read) = (0, Vec::new());
        while read.len() < all.len() {
            let end = (written + rng.usize(0..200)).min(all.len());
            written += pipe.write(&all[written..end]);
            pipe.deliver(rng.usize(0..60));
            let mut out = vec![0; rng.usize(0..60)];
            let count = pipe.read(&mut out);
            read.extend_from_slice(&out[..count]);
        }
        assert!(read == all);
    }

    #[test]
    fn a_reader_that_does_not_read_leaves_the_writer_without_room() {
        let mut pipe = Pipe::new(10, 5);
        assert_eq!(pipe.write(&[1; 20]), 10);
        assert_eq!(pipe.deliver(20), 5);
        assert_eq!(pipe.write(&[1; 20]), 5);
        assert_eq!((pipe.room(), pipe.can_deliver(), pipe.is_writable()), (0, false, false));
        assert_eq!(pipe.read(&mut [0; 2]), 2);
        assert_eq!(pipe.deliver(20), 2);
        assert_eq!(pipe.room(), 2);
    }

    #[test]
    fn the_end_comes_behind_the_last_byte() {
        let mut pipe = Pipe::new(10, 10);
        pipe.write(b"abc");
        pipe.finish();
        pipe.deliver(2);
        assert!(!pipe.is_at_end());
        pipe.deliver(2);
        assert!(!pipe.is_at_end(), "not read yet");
        pipe.read(&mut [0; 8]);
        assert!(pipe.is_at_end() && !pipe.can_deliver());
    }
}
