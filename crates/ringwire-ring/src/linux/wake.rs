//! Waking a ring that sleeps: through another ring's message (`IORING_OP_MSG_RING`), which costs that ring no system
//! call of its own, or from any thread through an eventfd that the ring polls.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::driver::Waker;

/// Wakes one [`Ring`](super::Ring).
#[derive(Clone, Debug)]
pub struct RingWaker {
    fds: Arc<Fds>,
}

#[derive(Debug)]
struct Fds {
    /// A duplicate of the ring's descriptor, so that a message never reaches a stranger that got the number.
    ring: OwnedFd,
    event: OwnedFd,
}

impl RingWaker {
    pub(super) fn new(ring: RawFd) -> io::Result<Self> {
        // SAFETY: F_DUPFD_CLOEXEC takes any number and answers EBADF for one that is not open.
        let ring = unsafe { libc::fcntl(ring, libc::F_DUPFD_CLOEXEC, 0) };
        let ring = owned(ring)?;
        // SAFETY: eventfd(2) takes no pointers.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        let event = owned(event)?;
        Ok(Self { fds: Arc::new(Fds { ring, event }) })
    }

    pub(super) fn ring_fd(&self) -> RawFd {
        self.fds.ring.as_raw_fd()
    }

    pub(super) fn event_fd(&self) -> RawFd {
        self.fds.event.as_raw_fd()
    }
}

impl Waker for RingWaker {
    fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the eventfd is open as long as `fds`, and `one` is 8 readable bytes. A full counter (EAGAIN) means
        // that wakes are pending already; nothing else can fail.
        unsafe { libc::write(self.event_fd(), one.as_ptr().cast(), one.len()) };
    }
}

/// Takes over a descriptor that a system call has just returned, or its error.
pub(super) fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller's system call has just opened this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
