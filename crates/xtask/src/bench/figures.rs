//! Figures over rounds: medians with least and most, and ratios that are taken within a round.
//!
//! A ratio's interval is that of the sign test, as in docs/measuring.md: with nine rounds and more it leaves out the
//! outermost ones, with fewer it is their whole range (of five rounds with 94 % confidence instead of 95 %). What is
//! claimed of a ratio is claimed only if the whole interval bears it out.

/// What is measured of each server in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// The server's CPU time per message.
    Cpu,
    /// Messages a second.
    Rate,
    P50,
    P99,
    P999,
    /// Growth of the server's resident memory per connection that says nothing.
    Memory,
    /// Growth of the kernel's own memory per such connection, both ends of it.
    KernelMemory,
}

pub(crate) const METRICS: [Metric; 7] =
    [Metric::Cpu, Metric::Rate, Metric::P50, Metric::P99, Metric::P999, Metric::Memory, Metric::KernelMemory];

impl Metric {
    /// What ringload calls it, and records.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Cpu => "server_cpu_us_per_message",
            Self::Rate => "messages_per_second",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::P999 => "p99_9_us",
            Self::Memory => "resident_bytes_per_connection",
            Self::KernelMemory => "kernel_bytes_per_connection",
        }
    }

    /// What it is for eyes.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Rate => "rate",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Memory => "memory",
            Self::KernelMemory => "kernel memory",
        }
    }

    pub(crate) const fn more_is_better(self) -> bool {
        matches!(self, Self::Rate)
    }

    /// A value with its unit, in three digits.
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            Self::Cpu | Self::P50 | Self::P99 | Self::P999 => match value {
                us if us < 1.0 => format!("{} ns", three_digits(us * 1e3)),
                us if us < 1e3 => format!("{} µs", three_digits(us)),
                us if us < 1e6 => format!("{} ms", three_digits(us / 1e3)),
                us => format!("{} s", three_digits(us / 1e6)),
            },
            Self::Rate => match value {
                rate if rate < 1e3 => three_digits(rate),
                rate if rate < 1e6 => format!("{} k", three_digits(rate / 1e3)),
                rate => format!("{} M", three_digits(rate / 1e6)),
            },
            Self::Memory | Self::KernelMemory => format!("{value:.0} B"),
        }
    }
}

pub(crate) fn three_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A figure in each round; none where a round has no result.
pub(crate) type Rounds = Vec<Option<f64>>;

/// The middle of some figures and their range: of rounds least and most, of ratios the interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Median, least and most; none without a figure.
    pub(crate) fn of(rounds: &[Option<f64>]) -> Option<Self> {
        let sorted = sorted(rounds.iter().copied().flatten());
        Some(Self { median: median(&sorted)?, low: *sorted.first()?, high: *sorted.last()? })
    }

    /// Of one server's figure over another's, round by round: the median and where the true one lies.
    pub(crate) fn of_ratio(mine: &[Option<f64>], others: &[Option<f64>]) -> Option<Self> {
        let pairs = mine.iter().zip(others).filter_map(|(mine, other)| mine.zip(*other));
        let sorted = sorted(pairs.filter(|(_, other)| *other > 0.0).map(|(mine, other)| mine / other));
        let skipped = outermost(sorted.len());
        Some(Self { median: median(&sorted)?, low: *sorted.get(skipped)?, high: sorted[sorted.len() - 1 - skipped] })
    }
}

/// How many ratios at either end the interval of 95 % leaves out, from six rounds on: the greatest k for which at most k
/// of n fair coins show heads with a probability of 2.5 %, counted from 0.
fn outermost(count: usize) -> usize {
    let mut term = 0.5f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let (mut outside, mut skipped) = (term, 0);
    while skipped + 1 < count {
        term *= (count - skipped) as f64 / (skipped + 1) as f64;
        outside += term;
        if outside > 0.025 {
            return skipped;
        }
        skipped += 1;
    }
    0
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.filter(|figure| figure.is_finite()).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count.is_multiple_of(2) => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(figures: &[f64]) -> Rounds {
        figures.iter().copied().map(Some).collect()
    }

    #[test]
    fn the_interval_leaves_out_what_tables_of_the_sign_test_say() {
        // The critical values of the two-sided sign test at 5 %, from its tables.
        for (count, skipped) in [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5), (25, 7)] {
            assert_eq!(outermost(count), skipped, "{count} rounds");
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let others = rounds(&[4.0, 4.0, 8.0, 8.0, 8.0]);
        let mine: Rounds = others.iter().map(|cost| cost.map(|cost| cost * 1.25)).collect();
        let ratio = Spread { median: 1.25, low: 1.25, high: 1.25 };
        assert_eq!(Spread::of_ratio(&mine, &others), Some(ratio));
    }

    #[test]
    fn a_round_without_a_figure_of_both_does_not_count() {
        let mine = [None, Some(2.0), Some(3.0), Some(9.0)];
        let others = [Some(1.0), Some(1.0), Some(1.0), None];
        assert_eq!(Spread::of_ratio(&mine, &others), Some(Spread { median: 2.5, low: 2.0, high: 3.0 }));
        assert_eq!((Spread::of(&[None]), Spread::of_ratio(&mine, &[])), (None, None));
    }

    #[test]
    fn a_spread_has_the_least_and_the_most_of_all_rounds() {
        let nine = rounds(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 90.0]);
        assert_eq!(Spread::of(&nine), Some(Spread { median: 5.0, low: 1.0, high: 90.0 }));
        assert_eq!(Spread::of_ratio(&nine, &rounds(&[1.0; 9])), Some(Spread { median: 5.0, low: 2.0, high: 8.0 }));
    }

    #[test]
    fn values_have_three_digits_and_their_unit() {
        assert_eq!(
            [0.4217, 7.25, 12.84, 12_816.0].map(|us| Metric::Cpu.write(us)),
            ["422 ns", "7.25 µs", "12.8 µs", "12.8 ms"]
        );
        assert_eq!([99.0, 36_255.5, 4_210_000.0].map(|rate| Metric::Rate.write(rate)), ["99.0", "36.3 k", "4.21 M"]);
        assert_eq!(Metric::Memory.write(255.6), "256 B");
    }
}
