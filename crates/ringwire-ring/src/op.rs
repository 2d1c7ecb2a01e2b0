//! Operations and their completions.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;

use crate::buffer::Buffer;
use crate::data::Data;

/// A connected socket: the index of a direct descriptor of the driver that accepted or connected it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket(pub u32);

/// A listening socket of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener(pub u32);

/// Names one operation in flight. A token whose operation has ended names nothing: slots carry a generation.
///
/// As the kernel's `user_data`: kind in the top 8 bits, generation in 24, slot in 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpToken(NonZeroU64);

impl OpToken {
    /// The token with these bits.
    ///
    /// # Panics
    /// If there are none: no kind is 0, so that an `Option<OpToken>` takes no more room than a token.
    #[inline]
    pub const fn new(bits: u64) -> Self {
        Self(NonZeroU64::new(bits).expect("no kind of operation is 0"))
    }

    /// Its bits.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0.get()
    }
}

/// An operation. `W` is the driver's [`Waker`](crate::Waker).
#[derive(Debug)]
pub enum Op<W> {
    /// Accept connections until cancelled (multishot).
    Accept(Listener),
    /// Say who is at the other end of a socket that this listener has accepted. Completes with
    /// [`Event::PeerAddress`]. Only where [`Driver::knows_peers`](crate::Driver::knows_peers) says so.
    PeerAddress(Socket, Listener),
    /// Receive into leased buffers until cancelled, ended or out of buffers (multishot).
    Receive(Socket),
    /// Receive once, into the spare capacity of this memory, at most so many bytes, of which there is room for at least one.
    /// Completes with [`Event::Filled`]. In the place of a [`Receive`](Self::Receive): a socket has one of them at a time.
    Fill(Socket, Vec<u8>, usize),
    /// Transmit now, as far as the socket takes it. **No completion when all went out**: that is known once the
    /// `enter` that submitted it has returned and its completions are drained. Otherwise [`Event::Short`].
    /// At most one per socket and turn, and nothing else may be sending on that socket: two would interleave.
    Transmit(Socket, Data),
    /// Transmit all, waiting in the kernel for room. Always completes, with [`Event::Sent`].
    Send(Socket, Data),
    /// Complete once when the socket can take more.
    Writable(Socket),
    /// End another operation early. Has no completion of its own; the operation completes as cancelled,
    /// unless it has completed already.
    Cancel(OpToken),
    /// Tell the peer that nothing more will be sent (half-close). Completes with [`Event::ShutDown`]; until then the
    /// socket must not be closed, since the kernel looks the descriptor up late.
    Shutdown(Socket),
    /// Close the socket and free its descriptor. Nothing may be in flight on it. Completes with [`Event::Closed`].
    Close(Socket),
    /// Wake another shard. No completion.
    Wake(W),
}

/// Why an operation was refused. The operation comes back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// As many operations are in flight as completions fit: wait for some to end.
    Full,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::Full => f.write_str("too many operations in flight for the completion queue"),
        }
    }
}

impl std::error::Error for SubmitError {}

/// What a receive has filled of the provided buffers, taken out of the buffer ring until it is
/// [released](crate::Driver::release).
#[derive(Debug)]
#[must_use = "a lease that is not released leaves the buffer ring one buffer short"]
pub struct Lease {
    /// Which buffer of the ring it is.
    pub id: u16,
    /// Its bytes, or the buffer; the first `len` bytes were received.
    pub buffer: Buffer,
    /// Bytes received, at least one.
    pub len: usize,
    /// How many of these have been dealt with.
    pub start: usize,
}

impl Lease {
    /// The bytes received and not yet dealt with, to be unmasked and parsed in place.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.len]
    }
}

/// What became of an operation, or one more result of a multishot operation.
#[derive(Debug)]
pub struct Completion {
    /// The operation.
    pub token: OpToken,
    /// The context that was given with the operation.
    pub context: u32,
    /// Whether the operation goes on (`IORING_CQE_F_MORE`). If not, its token names nothing any more.
    pub more: bool,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A connection came in, or accepting failed (out of descriptors, say).
    Accepted(io::Result<Socket>),
    /// Who is at the other end. An IPv4 peer of an IPv6 listener is given as an IPv4 peer.
    PeerAddress(io::Result<SocketAddr>),
    /// Bytes came in.
    Received(Lease),
    /// A [`Op::Fill`] ended. Its memory comes back with the bytes that came in at its end, at least one; none if the peer has
    /// finished sending (EOF), or receiving failed or was cancelled (`ECANCELED`).
    Filled(Vec<u8>, io::Result<usize>),
    /// The peer has finished sending (EOF).
    EndOfStream,
    /// No provided buffer was free; receive again once some are released.
    NoBuffers,
    /// Receiving failed: the connection is broken, or the operation was cancelled (`ECANCELED`).
    ReceiveFailed(io::Error),
    /// A [`Op::Transmit`] did not go out whole. The data comes back; its first `sent` bytes are with the kernel.
    Short {
        /// What was to be transmitted.
        data: Data,
        /// How much of it was.
        sent: usize,
        /// Anything but "would block" means that the connection is broken.
        error: Option<io::Error>,
    },
    /// A [`Op::Send`] ended: all went out, or the connection broke. The data comes back.
    Sent(Data, io::Result<()>),
    /// The socket can take more, or waiting for that failed.
    Writable(io::Result<()>),
    /// Our side of the stream is shut, or was broken already.
    ShutDown,
    /// The descriptor is free again.
    Closed,
    /// Somebody woke this driver.
    Woken,
}
