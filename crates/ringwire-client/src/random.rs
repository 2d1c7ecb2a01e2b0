//! The system's randomness: nonces, mask keys (RFC 6455 §5.3, §10.3), names, and the spread of waits.

/// Bytes asked for at once, so that a mask key costs no system call of its own.
const POOL_BYTES: usize = 4096;

/// Random bytes, each given out once.
pub(crate) struct Random {
    pool: Box<[u8; POOL_BYTES]>,
    used: usize,
}

impl Random {
    /// Asks the system when the first bytes are needed.
    pub(crate) fn new() -> Self {
        Self { pool: Box::new([0; POOL_BYTES]), used: POOL_BYTES }
    }

    /// The next `N` bytes.
    ///
    /// # Panics
    /// If the system has no random bytes to give.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= POOL_BYTES) };
        if self.used + N > POOL_BYTES {
            getrandom::fill(&mut *self.pool).expect("the system gives random bytes");
            self.used = 0;
        }
        let bytes = self.pool[self.used..self.used + N].try_into().expect("N bytes");
        self.used += N;
        bytes
    }

    /// From 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        f64::from(u32::from_le_bytes(self.bytes())) / f64::from(u32::MAX)
    }
}
