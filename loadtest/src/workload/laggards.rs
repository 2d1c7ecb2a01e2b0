//! Subscribers that read too slowly, or nothing: what the others get beside them is what is measured.
//!
//! They subscribe to a path as all others do, or say what they want, as the native protocol of ringwire has it. They
//! take no part in the account. Each reads a small piece when its turn comes; turns are spread evenly over time,
//! so that no turn of the generator has many of them to read for. One that the server ends is counted, and not opened
//! again.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringwire_codec::{MaskKey, Opcode, encode_frame};
use ringwire_ring::Instant;
use socket2::SockRef;

use crate::connect::Connector;

/// Bytes that a laggard reads at a time.
const PIECE_BYTES: usize = 1024;
/// What the kernel may keep for it, so that the server soon notices.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;

/// How many subscribers lag, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaggardsOptions {
    /// How many.
    pub count: usize,
    /// What each reads; 0 for nothing.
    pub bytes_per_second: u64,
}

impl LaggardsOptions {
    /// Nobody lags.
    pub const NONE: Self = Self { count: 0, bytes_per_second: 0 };
}

/// Subscribers that lag.
#[derive(Debug)]
pub struct Laggards {
    streams: Vec<Option<TcpStream>>,
    /// Between two reads of all of them together; none if they read nothing.
    every: Option<Duration>,
    due: Instant,
    next: usize,
    read_bytes: u64,
}

impl Laggards {
    /// Opens them. Each sends `says`, a text message, if there is something to say.
    ///
    /// # Errors
    /// Why one could not be opened.
    pub fn open(
        options: LaggardsOptions,
        mut connector: Connector<'_>,
        says: Option<&str>,
        now: Instant,
    ) -> Result<Self, String> {
        let open = |_| {
            let mut stream = connector.open()?.stream;
            if let Some(says) = says {
                let mut frame = Vec::new();
                encode_frame(&mut frame, Opcode::Text, says.as_bytes(), Some(MaskKey::new([9, 2, 6, 5])));
                stream.write_all(&frame).map_err(|error| error.to_string())?;
            }
            let shrink = SockRef::from(&stream).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
            shrink.and_then(|()| stream.set_nonblocking(true)).map_err(|error| error.to_string())?;
            Ok(Some(stream))
        };
        let streams = (0..options.count).map(open).collect::<Result<Vec<_>, String>>()?;
        let reads_per_second = options.bytes_per_second as f64 / PIECE_BYTES as f64 * options.count as f64;
        let every = (reads_per_second > 0.0).then(|| Duration::from_secs_f64(1.0 / reads_per_second));
        Ok(Self { streams, every, due: now, next: 0, read_bytes: 0 })
    }

    /// When the next one is to read.
    pub fn due(&self) -> Option<Instant> {
        self.every.map(|_| self.due)
    }

    /// Reads for those whose turn has come: a few, also after a pause.
    pub fn read(&mut self, now: Instant) {
        let Some(every) = self.every else { return };
        for _ in 0..8 {
            if self.due > now {
                return;
            }
            self.due = self.due + every;
            self.next = (self.next + 1) % self.streams.len();
            let mut piece = [0; PIECE_BYTES];
            let Some(stream) = &mut self.streams[self.next] else { continue };
            match stream.read(&mut piece) {
                Ok(0) => self.streams[self.next] = None,
                Ok(read) => self.read_bytes += read as u64,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => self.streams[self.next] = None,
            }
        }
        if self.due < now {
            self.due = now;
        }
    }

    /// How many the server has ended, as far as was noticed.
    pub fn ended(&self) -> usize {
        self.streams.iter().filter(|stream| stream.is_none()).count()
    }

    /// What all have read.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }
}
