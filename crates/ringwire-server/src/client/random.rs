//! Randomness that nobody can predict: nonces and mask keys (RFC 6455 §5.3, §10.3).
//!
//! Asked of the system in large pieces, so that a key costs no system call of its own.

/// Bytes asked for at once.
const POOL_BYTES: usize = 4096;

/// The system's random bytes, each given out once.
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
        self.pool[self.used..self.used + N].fill(0);
        self.used += N;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn mask_keys_are_fresh_for_each_frame_and_differ_from_run_to_run() {
        let (mut one, mut other) = (Random::new(), Random::new());
        let mut seen = BTreeSet::new();
        for _ in 0..3 * POOL_BYTES / 16 {
            assert!(seen.insert(one.bytes::<16>()) && seen.insert(other.bytes::<16>()));
        }
        assert!(!seen.contains(&[0; 16]), "what was given out is never given again");
    }
}
