//! The system call: `io_uring_enter`, by the ring's registered descriptor where the kernel has that.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::IoUring;
use io_uring::types::Timespec;

/// The ring, with how to name it in `io_uring_enter`.
pub(super) struct RingFd {
    pub(super) ring: IoUring,
    /// Whether the descriptor is registered, and as what.
    registered: Option<u32>,
}

impl std::fmt::Debug for RingFd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RingFd").field("registered", &self.registered).finish_non_exhaustive()
    }
}

impl RingFd {
    /// Takes the ring, and registers its descriptor for the calling thread.
    pub(super) fn new(ring: IoUring) -> Self {
        let registered = register_ring_fd(&ring);
        Self { ring, registered }
    }

    /// Whether an enter is spared the look-up of the descriptor.
    pub(super) fn is_registered(&self) -> bool {
        self.registered.is_some()
    }

    /// One `io_uring_enter`: submits all, waits for `want` completions, for `timeout` at most.
    ///
    /// Being interrupted, timing out and having to drain first are not errors: the caller looks at what is there.
    pub(super) fn enter(&mut self, want: u32, flags: u32, timeout: Option<&Timespec>) -> io::Result<()> {
        let queued = u32::try_from(self.ring.submission().len()).expect("a submission queue is shorter than 2^32");
        self.call(queued, want, flags, timeout)
    }

    /// Moves completions that found no room into the queue, now that it has been drained.
    pub(super) fn flush_overflow(&self) -> io::Result<()> {
        self.call(0, 0, IORING_ENTER_GETEVENTS, None)
    }

    fn call(&self, queued: u32, want: u32, flags: u32, timeout: Option<&Timespec>) -> io::Result<()> {
        let (fd, registered) = match self.registered {
            Some(index) => (index as i32, IORING_ENTER_REGISTERED_RING),
            None => (self.ring.as_raw_fd(), 0),
        };
        let timeout = timeout.map_or(std::ptr::null(), |timeout| &raw const *timeout);
        let arguments = GetEventsArguments { timeout: timeout as u64, ..GetEventsArguments::default() };
        // SAFETY: the descriptor is this ring's, and `arguments`, with the time it points to, outlives the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                queued,
                want,
                flags | registered | IORING_ENTER_EXT_ARG,
                &raw const arguments,
                size_of_val(&arguments),
            )
        };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        }
    }
}

/// From linux/io_uring.h; the `io-uring` crate keeps them to itself.
pub(super) const IORING_ENTER_GETEVENTS: u32 = 1 << 0;
const IORING_ENTER_EXT_ARG: u32 = 1 << 3;
const IORING_ENTER_REGISTERED_RING: u32 = 1 << 4;
const IORING_REGISTER_RING_FDS: u32 = 20;

/// `struct io_uring_getevents_arg`.
#[repr(C)]
#[derive(Default)]
struct GetEventsArguments {
    signal_mask: u64,
    signal_mask_bytes: u32,
    min_wait_us: u32,
    /// Address of a timespec, relative.
    timeout: u64,
}

/// Registers the ring's descriptor for the calling thread. `None` where the kernel refuses: it is a saving only.
fn register_ring_fd(ring: &IoUring) -> Option<u32> {
    /// `struct io_uring_rsrc_update`.
    #[repr(C)]
    struct Update {
        offset: u32,
        reserved: u32,
        data: u64,
    }
    let mut update = Update { offset: u32::MAX, reserved: 0, data: ring.as_raw_fd() as u64 };
    // SAFETY: `update` is one io_uring_rsrc_update, readable and writable.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), IORING_REGISTER_RING_FDS, &raw mut update, 1)
    };
    (result == 1).then_some(update.offset)
}
