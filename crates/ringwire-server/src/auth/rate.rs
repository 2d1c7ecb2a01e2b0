//! How often something has happened, against a limit: a bucket of tokens, and time as an argument.

use crate::options::RateLimit;

/// A bucket that a [`RateLimit`] fills. 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    limit: RateLimit,
    /// Millionths of a token; so many come in a microsecond as there are tokens in a second.
    level: u64,
    at_us: u64,
}

const TOKEN: u64 = 1_000_000;

impl Rate {
    /// A full bucket.
    pub fn new(limit: RateLimit, now_us: u64) -> Self {
        Self { limit, level: u64::from(limit.burst) * TOKEN, at_us: now_us }
    }

    /// Takes one. Time that goes backwards stands still.
    ///
    /// # Errors
    /// In how many milliseconds there will be one.
    pub fn take(&mut self, now_us: u64) -> Result<(), u32> {
        self.fill(now_us);
        if let Some(level) = self.level.checked_sub(TOKEN) {
            self.level = level;
            return Ok(());
        }
        let wait_us = (TOKEN - self.level).div_ceil(u64::from(self.limit.per_second));
        Err(u32::try_from(wait_us.div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// Whether nothing would be different if it were made anew.
    pub fn is_full(&mut self, now_us: u64) -> bool {
        self.fill(now_us);
        self.level == u64::from(self.limit.burst) * TOKEN
    }

    fn fill(&mut self, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.at_us);
        let came = passed_us.saturating_mul(u64::from(self.limit.per_second));
        self.level = self.level.saturating_add(came).min(u64::from(self.limit.burst) * TOKEN);
        self.at_us = self.at_us.max(now_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000;

    #[test]
    fn so_many_at_once_and_so_many_a_second() {
        let mut rate = Rate::new(RateLimit { per_second: 10, burst: 3 }, START);
        assert_eq!([0; 4].map(|_| rate.take(START)), [Ok(()), Ok(()), Ok(()), Err(100)]);
        assert_eq!(rate.take(START + 50_000), Err(50));
        assert_eq!(rate.take(START + 99_999), Err(1));
        assert_eq!([0; 2].map(|_| rate.take(START + 100_000)), [Ok(()), Err(100)]);
        let taken = (0..10_000).filter(|n| rate.take(START + 200_000 + n * 1_000).is_ok()).count();
        assert_eq!(taken, 100, "ten seconds at 10 a second");
    }

    #[test]
    fn a_long_pause_saves_no_more_than_the_burst() {
        let mut rate = Rate::new(RateLimit { per_second: 1 << 24, burst: 2 }, 0);
        assert!(rate.is_full(0) && rate.take(0).is_ok() && !rate.is_full(0));
        assert_eq!([0; 3].map(|_| rate.take(u64::MAX)), [Ok(()), Ok(()), Err(1)]);
        assert_eq!([5, 6, 1_000_000].map(|at| rate.take(at)), [Err(1); 3], "time that goes backwards stands still");
    }
}
