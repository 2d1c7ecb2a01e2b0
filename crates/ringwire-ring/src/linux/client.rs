//! What a ring of a client needs beside a [`Driver`](crate::Driver)'s operations: sockets that it connects by itself,
//! and receives of no more than so many bytes, for clients that read slowly.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::Fixed;

use super::buffers::GROUP;
use super::ring::Ring;
use super::table::{Kind, untracked};
use crate::op::{OpToken, Socket, SubmitError};

/// Direct descriptors that were given out by [`Ring::adopt`] and not by the kernel.
#[derive(Debug)]
pub(super) struct Adopted {
    /// Those from this one on were never given out.
    next: u32,
    end: u32,
    /// Those whose sockets have been closed.
    free: Vec<u32>,
}

impl Adopted {
    pub(super) fn new(end: u32) -> Self {
        Self { next: 0, end, free: Vec::new() }
    }

    /// The descriptor's socket has been closed. One that the kernel chose is the kernel's to choose again.
    pub(super) fn vacate(&mut self, descriptor: u32) {
        if descriptor < self.next {
            self.free.push(descriptor);
        }
    }

    /// The descriptor that is next.
    fn first_free(&self) -> Option<u32> {
        self.free.last().copied().or((self.next < self.end).then_some(self.next))
    }

    /// It is given out.
    fn occupy_first_free(&mut self) {
        if self.free.pop().is_none() {
            self.next += 1;
        }
    }
}

impl Ring {
    /// Takes a socket into the direct descriptors; the caller's own descriptor of it may be closed then. The place is
    /// free again when [`Event::Closed`](crate::Event::Closed) of the socket has been read. For rings that do not
    /// accept: the kernel and this call do not know of each other's choice of descriptors.
    ///
    /// # Errors
    /// If all places are taken ([`QuotaExceeded`](io::ErrorKind::QuotaExceeded)), or the kernel's.
    pub fn adopt(&mut self, socket: impl AsFd) -> io::Result<Socket> {
        let place = self.adopted.first_free().ok_or(io::ErrorKind::QuotaExceeded)?;
        let fd = socket.as_fd().as_raw_fd();
        self.kernel.ring.ring.submitter().register_files_update(place, &[fd])?;
        self.adopted.occupy_first_free();
        Ok(Socket(place))
    }

    /// Whether another socket can be adopted.
    pub fn has_place(&self) -> bool {
        self.adopted.first_free().is_some()
    }

    /// How many sockets can be adopted at a time.
    pub fn places(&self) -> u32 {
        self.adopted.end
    }

    /// Receives once, and no more than `bytes_max` bytes, into a leased buffer. Completes as
    /// [`Op::Receive`](crate::Op::Receive) does.
    ///
    /// # Errors
    /// If too many operations are in flight.
    pub fn receive_once(&mut self, socket: Socket, bytes_max: u32, context: u32) -> Result<OpToken, SubmitError> {
        self.has_room()?;
        let receive = opcode::Recv::new(Fixed(socket.0), std::ptr::null_mut(), bytes_max).buf_group(GROUP);
        let (token, _) = self.token(Kind::Receive, context, None);
        self.push(&receive.build().flags(Flags::BUFFER_SELECT).user_data(token.bits()));
        Ok(token)
    }

    /// Asks the kernel to keep no more than so many bytes that a socket has received (`SO_RCVBUF`), from the next enter
    /// on. Nothing happens where the kernel does not set options of direct descriptors (before 6.7).
    pub fn set_receive_buffer(&mut self, socket: Socket, bytes: &'static i32) {
        let (level, name) = (libc::SOL_SOCKET as u32, libc::SO_RCVBUF as u32);
        let value = std::ptr::from_ref(bytes).cast();
        let set = opcode::SetSockOpt::new(Fixed(socket.0), level, name, value, size_of_val(bytes) as u32);
        self.push(&set.build().flags(Flags::SKIP_SUCCESS).user_data(untracked(Kind::Quiet)));
    }
}

/// Whether a socket that does not wait connects by itself now (`EINPROGRESS`, connect(2)): it can take more when it is
/// connected or has failed to.
pub fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// Whether an operation was ended by [`Op::Cancel`](crate::Op::Cancel) (`ECANCELED`).
pub fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

/// Whether the process has no descriptor left (`EMFILE`), or the machine (`ENFILE`).
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
