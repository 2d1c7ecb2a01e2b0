//! When messages of a market come, of which instrument, and how long they are.

use std::time::Duration;

use crate::payload::stamp::PAYLOAD_BYTES_MIN;
use crate::pubsub::{Action, What};

/// How many times the median an update of the book may be long.
const BOOK_TAIL: usize = 16;
/// Sigma of the logarithm of an update's length.
const BOOK_SIGMA: f64 = 0.6;

/// How long messages are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) trade_share: f64,
    pub(super) trade_bytes: usize,
    pub(super) book_bytes: usize,
}

impl Sizes {
    pub(super) fn bytes_max(&self) -> usize {
        self.trade_bytes.max(self.book_bytes.saturating_mul(BOOK_TAIL))
    }

    fn draw(&self, random: &mut fastrand::Rng) -> usize {
        if random.f64() < self.trade_share {
            return self.trade_bytes;
        }
        // Box and Muller's normal deviate.
        let normal = (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos();
        let bytes = self.book_bytes as f64 * (BOOK_SIGMA * normal).exp();
        (bytes as usize).clamp(PAYLOAD_BYTES_MIN, self.book_bytes * BOOK_TAIL)
    }
}

/// When the rate rises, and how far.
#[derive(Clone, Debug)]
pub(super) struct Bursts {
    pub(super) opening: f64,
    pub(super) news_every: Duration,
    pub(super) news: f64,
    pub(super) fade: Duration,
}

/// Bursts at their times. All threads have the same.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    bursts: Bursts,
    opening_at: f64,
    last_news: f64,
    next_news: f64,
    random: fastrand::Rng,
}

impl Bursts {
    pub(super) fn schedule(self, seed: u64, opening_at: Duration) -> Schedule {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xB0B5);
        let next_news = exponential(self.news_every.as_secs_f64(), &mut random);
        Schedule { bursts: self, opening_at: opening_at.as_secs_f64(), last_news: f64::NEG_INFINITY, next_news, random }
    }

    /// More than this the rate never rises.
    fn factor_max(&self) -> f64 {
        self.opening + self.news
    }
}

impl Schedule {
    /// How many times the base rate it is at `at` seconds. Asked in the order of time.
    fn factor(&mut self, at: f64) -> f64 {
        while at >= self.next_news {
            self.last_news = self.next_news;
            self.next_news += exponential(self.bursts.news_every.as_secs_f64(), &mut self.random);
        }
        let fade = self.bursts.fade.as_secs_f64();
        let rise = |since: f64, factor: f64| if since >= 0.0 { (factor - 1.0) * (-since / fade).exp() } else { 0.0 };
        1.0 + rise(at - self.opening_at, self.bursts.opening) + rise(at - self.last_news, self.bursts.news)
    }
}

/// A time that is `mean` on average, however long nothing has come; never, if that is 0.
fn exponential(mean: f64, random: &mut fastrand::Rng) -> f64 {
    if mean > 0.0 { -mean * (1.0 - random.f64()).ln() } else { f64::INFINITY }
}

/// Messages of some instruments: a Poisson process whose rate follows the bursts (by thinning), each of an instrument
/// drawn by its popularity.
#[derive(Debug)]
pub(super) struct Arrivals {
    topics: Vec<usize>,
    /// Sums of the popularities up to each.
    up_to: Vec<f64>,
    rate: f64,
    schedule: Schedule,
    sizes: Sizes,
    at: f64,
    random: fastrand::Rng,
}

impl Arrivals {
    /// Messages of these instruments, which have these shares of `rate`.
    pub(super) fn new(own: Vec<(usize, f64)>, rate: f64, schedule: Schedule, sizes: Sizes, seed: u64) -> Self {
        let mut sum = 0.0;
        let up_to: Vec<f64> = own
            .iter()
            .map(|(_, share)| {
                sum += share;
                sum
            })
            .collect();
        let topics = own.into_iter().map(|(topic, _)| topic).collect();
        Self { topics, up_to, rate: rate * sum, schedule, sizes, at: 0.0, random: fastrand::Rng::with_seed(seed) }
    }
}

impl Iterator for Arrivals {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        if self.topics.is_empty() {
            return None;
        }
        let factor_max = self.schedule.bursts.factor_max();
        loop {
            self.at += exponential(1.0 / (self.rate * factor_max), &mut self.random);
            if self.random.f64() * factor_max < self.schedule.factor(self.at) {
                break;
            }
        }
        let flow = self.topics[draw(&self.up_to, &mut self.random)];
        let bytes = self.sizes.draw(&mut self.random);
        Some(Action { at: Duration::from_secs_f64(self.at), what: What::Publish { flow, bytes } })
    }
}

/// Shares of so many by Zipf's law; together 1.
pub(super) fn zipf(count: usize, exponent: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-exponent)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// One, drawn by the sums of the shares up to each.
fn draw(up_to: &[f64], random: &mut fastrand::Rng) -> usize {
    let all = up_to.last().copied().unwrap_or_default();
    let point = random.f64() * all;
    up_to.partition_point(|&sum| sum <= point).min(up_to.len() - 1)
}

/// Several, each once, drawn by their shares.
pub(super) fn draw_several(shares: &[f64], count: usize, random: &mut fastrand::Rng) -> Vec<usize> {
    let mut keys: Vec<(f64, usize)> =
        // The least of exponential deviates with these rates: drawing without putting back.
        shares.iter().enumerate().map(|(index, share)| (exponential(1.0 / share, random), index)).collect();
    keys.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut drawn: Vec<usize> = keys.into_iter().take(count).map(|(_, index)| index).collect();
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Bursts =
        Bursts { opening: 1.0, news_every: Duration::ZERO, news: 1.0, fade: Duration::from_millis(250) };
    const SIZES: Sizes = Sizes { trade_share: 0.2, trade_bytes: 128, book_bytes: 320 };

    fn arrivals(bursts: Bursts, rate: f64) -> Arrivals {
        let own = zipf(10, 1.0).into_iter().enumerate().collect();
        Arrivals::new(own, rate, bursts.schedule(1, Duration::from_secs(1)), SIZES, 2)
    }

    #[test]
    fn messages_come_at_the_rate_and_by_popularity() {
        let actions: Vec<Action> =
            arrivals(CALM, 1000.0).take_while(|action| action.at < Duration::from_secs(20)).collect();
        assert!((19_000..21_000).contains(&actions.len()), "{}", actions.len());
        let of = |wanted: usize| {
            actions.iter().filter(|action| matches!(action.what, What::Publish { flow, .. } if flow == wanted)).count()
        };
        let ratio = of(0) as f64 / of(4) as f64;
        assert!((4.2..6.0).contains(&ratio), "the first has {ratio} times the fifth's");
        assert!(actions.is_sorted_by_key(|action| action.at));
    }

    #[test]
    fn the_opening_raises_the_rate_and_dies_away() {
        let bursts = Bursts { opening: 10.0, ..CALM };
        let actions: Vec<Action> =
            arrivals(bursts, 1000.0).take_while(|action| action.at < Duration::from_secs(3)).collect();
        let within = |from: f64, to: f64| {
            actions.iter().filter(|action| (from..to).contains(&action.at.as_secs_f64())).count() as f64 / (to - from)
        };
        assert!((900.0..1100.0).contains(&within(0.0, 1.0)), "{}", within(0.0, 1.0));
        assert!(within(1.0, 1.05) > 8000.0, "{}", within(1.0, 1.05));
        assert!((900.0..1150.0).contains(&within(2.5, 3.0)), "{}", within(2.5, 3.0));
    }

    #[test]
    fn all_threads_have_their_news_at_the_same_time() {
        let bursts = Bursts { news_every: Duration::from_secs(1), news: 30.0, ..CALM };
        let peak = |seed: u64| {
            let schedule = bursts.clone().schedule(7, Duration::ZERO);
            let own = zipf(3, 0.0).into_iter().enumerate().collect();
            let actions = Arrivals::new(own, 2000.0, schedule, SIZES, seed)
                .take_while(|action| action.at < Duration::from_secs(5));
            let mut counts = [0; 50];
            actions.for_each(|action| counts[(action.at.as_secs_f64() * 10.0) as usize] += 1);
            counts.iter().enumerate().max_by_key(|(_, count)| **count).map(|(slot, _)| slot)
        };
        assert_eq!(peak(1), peak(2));
    }

    #[test]
    fn sizes_are_trades_or_log_normal_updates() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut books: Vec<usize> = (0..20_000).map(|_| SIZES.draw(&mut random)).collect();
        let trades = books.len();
        books.retain(|&bytes| bytes != 128);
        assert!((0.17..0.23).contains(&(1.0 - books.len() as f64 / trades as f64)));
        books.sort_unstable();
        assert!((300..340).contains(&books[books.len() / 2]), "{}", books[books.len() / 2]);
        assert!(*books.last().unwrap() <= SIZES.bytes_max() && books[books.len() * 99 / 100] > 1000);
    }

    #[test]
    fn several_are_drawn_once_each_the_popular_more_often() {
        let mut random = fastrand::Rng::with_seed(4);
        let shares = zipf(20, 1.0);
        let mut counts = [0; 20];
        for _ in 0..2000 {
            let drawn = draw_several(&shares, 5, &mut random);
            assert!(drawn.len() == 5 && drawn.is_sorted_by(|one, other| one < other));
            drawn.into_iter().for_each(|index| counts[index] += 1);
        }
        assert!(counts[0] > 3 * counts[19], "{counts:?}");
    }
}
