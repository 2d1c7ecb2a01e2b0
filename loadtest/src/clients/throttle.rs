//! How a connection reads slowly: a small piece, then nothing until so many bytes' time has passed.

use std::time::Duration;

use ringwire_ring::Instant;

/// What the kernel may keep of a slow connection, so that the server soon notices.
pub(super) static RECEIVE_BUFFER_BYTES: i32 = 16 * 1024;
/// Pieces in a second, unless they would be too small or too large.
const PIECES_PER_SECOND: u64 = 20;
/// Fewest and most bytes of a piece. A receive buffer may hold fewer.
const PIECE_BYTES: (u64, u64) = (64, 64 * 1024);
/// Reads come at multiples of this, so that many slow connections wake the generator together.
const GRID_NANOS: u64 = 1_000_000;
/// What a connection may be behind and still catch up with.
const BEHIND_MAX: Duration = Duration::from_millis(200);

/// How slowly a connection reads, and when next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throttle {
    bytes_per_second: u64,
    /// When the next piece may be read; none before the first.
    next: Option<Instant>,
    /// A timer for it runs.
    pub(super) is_timed: bool,
}

impl Throttle {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, next: None, is_timed: false }
    }

    /// Another rate from now on.
    pub(super) fn set(&mut self, bytes_per_second: u64) {
        *self = Self { bytes_per_second, ..*self };
    }

    /// Most bytes of one read.
    pub(super) fn piece_bytes(&self) -> u32 {
        (self.bytes_per_second / PIECES_PER_SECOND).clamp(PIECE_BYTES.0, PIECE_BYTES.1) as u32
    }

    /// So many bytes were read.
    pub(super) fn on_read(&mut self, bytes: usize, at: Instant) {
        let Some(next) = self.next else { return };
        let behind = at.since(next);
        let from = if behind > BEHIND_MAX { next + (behind - BEHIND_MAX) } else { next };
        self.next = Some(from + self.time_of(bytes as u64));
    }

    /// When the next piece is to be read; never, if nothing is. The first comes at a random part of a piece's time, so
    /// that connections opened together do not read together.
    pub(super) fn due(&mut self, now: Instant, random: &mut fastrand::Rng) -> Option<Instant> {
        if self.bytes_per_second == 0 {
            return None;
        }
        let piece = u64::from(self.piece_bytes());
        let next = self.next.unwrap_or_else(|| now + self.time_of(piece).mul_f64(random.f64()));
        self.next = Some(next);
        Some(Instant::from_nanos(next.as_nanos().next_multiple_of(GRID_NANOS)))
    }

    fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read in ten seconds when there is always a piece, each read `late` after it was due.
    fn read_in_ten_seconds(bytes_per_second: u64, late: Duration) -> u64 {
        let mut throttle = Throttle::new(bytes_per_second);
        let mut random = fastrand::Rng::with_seed(1);
        let (mut now, mut read) = (Instant::default(), 0);
        while let Some(due) = throttle.due(now, &mut random).filter(|due| *due < Instant::from_nanos(10_000_000_000)) {
            now = due + late;
            read += u64::from(throttle.piece_bytes());
            throttle.on_read(throttle.piece_bytes() as usize, now);
        }
        read
    }

    #[test]
    fn what_is_read_is_the_rate_also_when_reads_come_late() {
        for rate in [100, 1_000, 20_000, 1_000_000] {
            for late in [Duration::ZERO, Duration::from_millis(5)] {
                let read = read_in_ten_seconds(rate, late);
                assert!(read.abs_diff(rate * 10) <= rate, "{read} bytes in 10 s at {rate} a second");
            }
        }
        assert_eq!(read_in_ten_seconds(0, Duration::ZERO), 0);
    }

    #[test]
    fn what_was_not_read_in_a_pause_is_not_read_in_a_rush() {
        let mut throttle = Throttle::new(1_000);
        let mut random = fastrand::Rng::with_seed(1);
        throttle.due(Instant::default(), &mut random);
        let later = Instant::from_nanos(60_000_000_000);
        throttle.on_read(64, later);
        let due = throttle.due(later, &mut random).expect("it reads on");
        assert!(later.since(due) <= BEHIND_MAX, "{due:?}");
    }
}
