//! What this kernel's io_uring can do, and why it may be missing.

use std::fmt;
use std::io;

use io_uring::{IoUring, Parameters};

use super::thread::descriptor_limit;

/// What the kernel offers beyond the floor, which is 6.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The kernel's release, as `uname -r` says it.
    pub release: String,
    /// The submission queue needs no index array (6.6).
    pub no_sq_array: bool,
    /// A direct descriptor can be asked for its peer's address (6.7).
    pub peer_address: bool,
    /// One receive or send may fill or drain several buffers (6.10).
    pub bundles: bool,
    /// Several receives may fill one provided buffer (6.12).
    pub incremental_buffers: bool,
    /// A wait can ask for a batch within a time (6.12).
    pub min_wait: bool,
    /// The ring's descriptor is registered (5.18), which saves a look-up per enter.
    pub registered_ring: bool,
}

impl Features {
    pub(super) fn of(parameters: &Parameters, no_sq_array: bool, registered_ring: bool, peer_address: bool) -> Self {
        Self {
            release: kernel_release(),
            no_sq_array,
            peer_address,
            bundles: parameters.is_feature_recvsend_bundle(),
            incremental_buffers: false,
            min_wait: parameters.is_feature_min_timeout(),
            registered_ring,
        }
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}: multishot accept and receive, direct descriptors, buffer ring", self.release)?;
        let beyond = [
            (self.registered_ring, "registered ring"),
            (self.no_sq_array, "no SQ array"),
            (self.peer_address, "peer addresses"),
            (self.bundles, "bundles"),
            (self.incremental_buffers, "incremental buffers"),
            (self.min_wait, "min-wait"),
        ];
        for (_, name) in beyond.iter().filter(|(present, _)| *present) {
            write!(f, ", {name}")?;
        }
        Ok(())
    }
}

/// Why there is no io_uring for this process, and what to do.
#[derive(Debug)]
pub enum Unavailable {
    /// The kernel has no such system call.
    NotBuiltIn,
    /// `kernel.io_uring_disabled` has this value, which shuts this process out.
    DisabledBySysctl(u32),
    /// A seccomp filter refuses it, as in Docker's default profile.
    RefusedBySeccomp,
    /// The kernel is older than 6.1; it says that it is this release.
    TooOld(String),
    /// Memory may not be locked, or there is none (`RLIMIT_MEMLOCK`).
    NoMemory,
    /// More direct descriptors are wanted than `RLIMIT_NOFILE` allows.
    TooFewDescriptors {
        /// Wanted.
        wanted: u32,
        /// Allowed.
        limit: u64,
    },
    /// Another error of the kernel.
    Other(io::Error),
}

impl Unavailable {
    /// Reads the reason from the error of a setup that this crate asks for.
    pub(super) fn from_setup(error: io::Error) -> Self {
        let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::classify(
            error,
            sysctl.and_then(|value| value.trim().parse().ok()),
            is_filtered(&status),
            kernel_release(),
        )
    }

    /// Reads the reason from the error of asking for so many direct descriptors.
    pub(super) fn from_descriptors(error: &io::Error, wanted: u32) -> Self {
        match (error.raw_os_error(), descriptor_limit()) {
            (Some(libc::EMFILE), Ok(limit)) => Self::TooFewDescriptors { wanted, limit },
            _ => Self::Other(io::Error::new(error.kind(), format!("{wanted} direct descriptors: {error}"))),
        }
    }

    fn classify(error: io::Error, sysctl: Option<u32>, filtered: bool, release: String) -> Self {
        match (error.raw_os_error(), sysctl) {
            (Some(libc::EPERM), Some(disabled @ 1..)) => Self::DisabledBySysctl(disabled),
            (Some(libc::EPERM | libc::EACCES), _) => Self::RefusedBySeccomp,
            (Some(libc::ENOSYS), _) if filtered => Self::RefusedBySeccomp,
            (Some(libc::ENOSYS), _) => Self::NotBuiltIn,
            (Some(libc::EINVAL), _) => Self::TooOld(release),
            (Some(libc::ENOMEM), _) => Self::NoMemory,
            _ => Self::Other(error),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn => f.write_str(
                "this kernel was built without io_uring (CONFIG_IO_URING): run on a kernel of 6.1 or later that has it",
            ),
            Self::DisabledBySysctl(value) => write!(
                f,
                "io_uring is switched off by kernel.io_uring_disabled = {value}: set it to 0 (sysctl -w \
                 kernel.io_uring_disabled=0), or with 1 add this user to the group of kernel.io_uring_group"
            ),
            Self::RefusedBySeccomp => f.write_str(
                "a seccomp filter refuses io_uring, as container runtimes' default profiles do: allow io_uring_setup, \
                 io_uring_enter and io_uring_register in the profile (Docker: --security-opt seccomp=PROFILE.json)",
            ),
            Self::TooOld(release) => write!(
                f,
                "kernel {release} lacks what ringwire needs of io_uring (deferred task work, multishot receive): run on \
                 6.1 or later"
            ),
            Self::NoMemory => f.write_str(
                "the kernel has no memory for the ring: raise RLIMIT_MEMLOCK (ulimit -l) or use fewer shards",
            ),
            Self::TooFewDescriptors { wanted, limit } => write!(
                f,
                "{wanted} direct descriptors are needed and RLIMIT_NOFILE is {limit}: raise it (ulimit -n {wanted}), or use \
                 more threads, each of which has a ring and as many"
            ),
            Self::Other(error) => write!(f, "io_uring cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for Unavailable {}

/// Whether `/proc/self/status` says that a seccomp filter is in force.
fn is_filtered(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

fn kernel_release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if release.is_empty() { "unknown".to_owned() } else { release.trim().to_owned() }
}

/// Sets up a ring with the flags that one thread with a loop of its own wants:
/// - SINGLE_ISSUER and DEFER_TASKRUN: completions are made when this thread enters, never by interrupting it;
/// - COOP_TASKRUN: no inter-processor interrupt for what is not deferred;
/// - SUBMIT_ALL: one bad submission does not hold up those behind it;
/// - NO_SQARRAY where it exists (6.6): one indirection less.
pub(super) fn set_up(sq_entries: u32, cq_entries: u32) -> Result<(IoUring, bool), Unavailable> {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_cqsize(cq_entries);
    let plain = builder.clone();
    match builder.setup_no_sqarray().build(sq_entries) {
        Ok(ring) => Ok((ring, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            plain.build(sq_entries).map(|ring| (ring, false)).map_err(Unavailable::from_setup)
        }
        Err(error) => Err(Unavailable::from_setup(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(errno: i32, sysctl: Option<u32>, filtered: bool) -> Unavailable {
        Unavailable::classify(io::Error::from_raw_os_error(errno), sysctl, filtered, "5.10.0".to_owned())
    }

    #[test]
    fn each_reason_is_told_from_the_others() {
        assert!(matches!(classify(libc::EPERM, Some(2), false), Unavailable::DisabledBySysctl(2)));
        assert!(matches!(classify(libc::EPERM, Some(1), true), Unavailable::DisabledBySysctl(1)));
        assert!(matches!(classify(libc::EPERM, Some(0), true), Unavailable::RefusedBySeccomp));
        assert!(matches!(classify(libc::EPERM, None, false), Unavailable::RefusedBySeccomp));
        assert!(matches!(classify(libc::ENOSYS, None, true), Unavailable::RefusedBySeccomp));
        assert!(matches!(classify(libc::ENOSYS, None, false), Unavailable::NotBuiltIn));
        assert!(matches!(classify(libc::EINVAL, Some(0), false), Unavailable::TooOld(_)));
        assert!(matches!(classify(libc::ENOMEM, Some(0), false), Unavailable::NoMemory));
        assert!(matches!(classify(libc::EMFILE, Some(0), false), Unavailable::Other(_)));
        let too_few = Unavailable::from_descriptors(&io::Error::from_raw_os_error(libc::EMFILE), 1 << 20);
        let words = too_few.to_string();
        assert!(words.contains("RLIMIT_NOFILE is ") && words.contains("ulimit -n 1048576"), "{words}");
    }

    #[test]
    fn the_filter_is_read_from_the_status_file() {
        assert!(is_filtered("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!is_filtered("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n"));
    }
}
