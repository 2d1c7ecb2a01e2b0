//! How a command ends when it does not end well: a sentence for the user and an exit code for scripts.

use std::fmt;

/// Exit code: something went wrong while running, say a refused connection or a busy port.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code: the command line makes no sense. It is also clap's.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: this machine offers no io_uring (`EX_UNAVAILABLE` of sysexits.h).
pub const EXIT_NO_IO_URING: u8 = 69;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    /// What went wrong and what to do about it.
    pub message: String,
}

impl Failure {
    /// Something went wrong while running.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: EXIT_FAILURE, message: message.into() }
    }

    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
