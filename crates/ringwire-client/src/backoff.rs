//! How long to wait before the next attempt: exponential, with full jitter, so that clients which lost a server together
//! do not come back together. Where it falls between nothing and the longest is an argument: a `spread` from 0 to 1.

use std::time::Duration;

/// The waits of one kind of attempt.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    least: Duration,
    most: Duration,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, attempts: 0 }
    }

    /// The next wait: up to `least`, and each time up to twice as much, but never more than `most`.
    pub(crate) fn next(&mut self, spread: f64) -> Duration {
        let longest = self.least.saturating_mul(1 << self.attempts.min(30)).min(self.most);
        self.attempts += 1;
        longest.mul_f64(spread)
    }

    /// A wait for who was too fast: at least half of the longest.
    pub(crate) fn long(&mut self, spread: f64) -> Duration {
        self.attempts = 30;
        self.most.mul_f64((1.0 + spread) / 2.0)
    }

    /// What was tried has succeeded.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_short_again_after_success() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(2), ms(10));
        let waits: Vec<_> = (0..5).map(|_| backoff.next(0.5)).collect();
        assert_eq!(waits, [ms(1), ms(2), ms(4), ms(5), ms(5)]);
        assert_eq!(backoff.long(0.5), Duration::from_micros(7500));
        assert_eq!(backoff.next(1.0), ms(10));
        backoff.reset();
        assert_eq!(backoff.next(1.0), ms(2));
        assert_eq!(backoff.next(0.0), ms(0));
    }

    #[test]
    fn any_number_of_attempts_is_well() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX / 2);
        for _ in 0..100 {
            backoff.next(0.1);
        }
    }
}
