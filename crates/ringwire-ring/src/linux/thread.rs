//! What a shard's thread asks of the operating system besides the ring.

use std::io;
use std::mem::MaybeUninit;

/// The cores that this process may run on, in ascending order.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the set is writable for its whole size.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, and all-zero is a valid set.
    let set = unsafe { set.assume_init() };
    let capacity = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: `core` is below the set's capacity.
    Ok((0..capacity).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect())
}

/// Keeps the calling thread on `core`.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zeroed, and all-zero is a valid set.
    let set = unsafe { set.assume_init_mut() };
    // SAFETY: `core` is below the set's capacity.
    unsafe { libc::CPU_SET(core, set) };
    // SAFETY: the set is readable for its whole size.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Raises this process's soft limit of descriptors (`RLIMIT_NOFILE`) to its hard limit, which also bounds a ring's
/// direct descriptors, and returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = limits()?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is readable.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// This process's soft limit of descriptors (`RLIMIT_NOFILE`).
pub fn descriptor_limit() -> io::Result<u64> {
    limits().map(|limit| limit.rlim_cur)
}

fn limits() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps the kernel from backing this process's memory with huge pages. One holds 512 small ones, so a table that has
/// just begun to grow costs 2 MiB.
pub fn avoid_huge_pages() -> io::Result<()> {
    // SAFETY: this option of prctl(2) takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the calling thread's waits end when they are to. Otherwise the kernel may end them 50 us later, together with
/// others (`PR_SET_TIMERSLACK`).
pub fn precise_waits() -> io::Result<()> {
    // SAFETY: this option of prctl(2) takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// SIGTERM and SIGINT, taken as a request instead of an end.
///
/// Make it before the first thread starts: threads inherit that the signals are blocked.
#[derive(Debug)]
pub struct Termination {
    signals: libc::sigset_t,
}

impl Termination {
    /// Blocks the two signals for the calling thread and those that it will start.
    pub fn block() -> io::Result<Self> {
        let mut signals = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the set is writable.
        unsafe { libc::sigemptyset(signals.as_mut_ptr()) };
        // SAFETY: sigemptyset has initialised it.
        let mut signals = unsafe { signals.assume_init() };
        for signal in [libc::SIGTERM, libc::SIGINT] {
            // SAFETY: the set is initialised, the signal exists.
            unsafe { libc::sigaddset(&raw mut signals, signal) };
        }
        // SAFETY: the set is readable, and the old mask is not asked for.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()) };
        if result == 0 { Ok(Self { signals }) } else { Err(io::Error::from_raw_os_error(result)) }
    }

    /// Waits until one of the signals comes.
    pub fn wait(&self) -> io::Result<()> {
        let mut signal = 0;
        // SAFETY: the set is readable and `signal` writable.
        let result = unsafe { libc::sigwait(&raw const self.signals, &raw mut signal) };
        if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
    }
}
