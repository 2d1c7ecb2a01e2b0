//! Raw fanout: what one connection sends, every other one gets, byte for byte. The floor of a publish.
//!
//! There is one topic. A connection's first line says who it is, `SUB` or `PUB`, each with a line feed (0x0A) behind it,
//! and [`READY`] answers it: an empty WebSocket text frame, so that all that a client hears is frames. From then on what a
//! publisher sends goes to all subscribers as it came: nothing is parsed, so it sends frames as a server would,
//! unmasked. What a subscriber sends is ignored. There is one publisher at a time, since pieces of two streams would
//! mix; a second one, and a connection that says neither, is ended.
//!
//! What came in a turn goes out with one send per subscriber, from one place in memory. A subscriber whose socket is full
//! is *behind*: it gets the rest as there is room, from the one log that all of these share, and is ended when it is
//! further behind than the log reaches. While nobody is behind there is no log, and nothing is copied for it.

pub mod epoll;
pub mod ring;

use std::collections::VecDeque;

/// What a first line is answered with: an empty text frame (RFC 6455 §5.2).
pub const READY: [u8; 2] = [0x81, 0x00];
/// What those who are behind may be behind at most, for all of them together: all the memory that slow readers take.
pub const LOG_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that one who is behind is sent at most at a time.
const CATCH_UP_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a first line.
const LINE_BYTES: usize = 4;

/// Who a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    /// It has not said it; so much of its first line has come.
    #[default]
    Unknown,
    Subscriber,
    Publisher,
}

/// A first line as it comes.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

impl Line {
    /// Takes of `bytes` what belongs to the line. Says who it is of and what came behind it, once it is whole; an error
    /// if it says nothing known.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Role, &'a [u8])>, ()> {
        let (own, behind) = bytes.split_at(bytes.len().min(LINE_BYTES - self.len));
        self.bytes[self.len..self.len + own.len()].copy_from_slice(own);
        self.len += own.len();
        match &self.bytes {
            b"SUB\n" => Ok(Some((Role::Subscriber, behind))),
            b"PUB\n" => Ok(Some((Role::Publisher, behind))),
            _ if self.len < LINE_BYTES => Ok(None),
            _ => Err(()),
        }
    }
}

/// The latest published bytes, for those who are behind. Positions count from the first byte that was ever published.
#[derive(Debug, Default)]
struct Log {
    bytes: VecDeque<u8>,
    /// Position of the first byte that it holds.
    start: u64,
}

impl Log {
    /// Appends what is published at `position`, which is the log's end if it is not empty, and forgets what is beyond
    /// its bound.
    fn append(&mut self, position: u64, bytes: &[u8]) {
        if self.bytes.is_empty() {
            self.start = position;
        }
        debug_assert_eq!(self.start + self.bytes.len() as u64, position, "a log has no holes");
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(LOG_BYTES_MAX);
        self.bytes.drain(..excess);
        self.start += excess as u64;
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Nobody is behind any more. Gives the memory back.
    fn clear(&mut self) {
        self.bytes = VecDeque::new();
    }

    /// The next bytes from `position` on, in two pieces, at most [`CATCH_UP_BYTES_MAX`]. None if they are forgotten.
    fn from(&self, position: u64) -> Option<[&[u8]; 2]> {
        let at = usize::try_from(position.checked_sub(self.start)?).ok()?;
        let (first, second) = self.bytes.as_slices();
        let [skipped, rest] = [at.min(first.len()), at.saturating_sub(first.len())];
        let first = &first[skipped..];
        let first = &first[..first.len().min(CATCH_UP_BYTES_MAX)];
        let second = &second[rest..];
        Some([first, &second[..second.len().min(CATCH_UP_BYTES_MAX - first.len())]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_says_who_it_is_however_it_is_split() {
        for (line, role) in [(b"SUB\nab", Role::Subscriber), (b"PUB\nab", Role::Publisher)] {
            for split in 0..4 {
                let mut taken = Line::default();
                assert_eq!(taken.take(&line[..split]), Ok(None));
                assert_eq!(taken.take(&line[split..]), Ok(Some((role, &b"ab"[..]))));
            }
        }
        assert_eq!(Line::default().take(b"GET / HTTP/1.1"), Err(()));
    }

    #[test]
    fn a_log_gives_each_reader_what_it_has_not_had_until_that_is_too_much() {
        let byte = |position: u64| (position % 251) as u8;
        let mut log = Log::default();
        let (mut end, mut readers) = (1000u64, [1000u64, 1000]);
        for round in 0..200u64 {
            let piece: Vec<u8> = (end..end + 100_000).map(byte).collect();
            log.append(end, &piece);
            end += 100_000;
            // The first reads what there is, the second a little.
            for (reader, most) in readers.iter_mut().zip([usize::MAX, 7]) {
                let Some(pieces) = log.from(*reader) else {
                    assert_eq!((most, round), (7, (LOG_BYTES_MAX / 100_000) as u64));
                    return;
                };
                let bytes = pieces.concat();
                assert!(bytes.len() <= CATCH_UP_BYTES_MAX && !bytes.is_empty());
                let taken = &bytes[..bytes.len().min(most)];
                assert!((*reader..).zip(taken).all(|(position, got)| byte(position) == *got), "near {reader}");
                *reader += taken.len() as u64;
            }
            assert_eq!(readers[0], end);
        }
        panic!("a log that holds everything");
    }
}
