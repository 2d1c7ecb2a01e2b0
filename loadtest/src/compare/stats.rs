//! What rounds say about a difference: medians, ratios within a round, and how sure one may be.
//!
//! A round measures every server once, so a ratio is taken within a round, where what drifts (clock speed, neighbours)
//! has met both alike. Of the ratios of all rounds the median counts, because one disturbed round must not move it, and
//! its confidence interval is the one from order statistics: the true median lies between the k-th smallest and the k-th
//! greatest of n ratios with probability 1 - 2 P(X < k), X binomial with n and 1/2. It supposes that rounds are
//! independent and nothing about how ratios are distributed; it is exact, and has no random numbers in it. Its price is
//! that fewer than [`ROUNDS_MIN`] rounds give no interval of 95 %, which is said instead of guessed.

use crate::json::Json;

/// The confidence that an interval has at least.
pub const CONFIDENCE: f64 = 0.95;
/// Rounds without which there is no interval: 1 - 2 / 2^5 is less than 95 %, 1 - 2 / 2^6 is more.
pub const ROUNDS_MIN: usize = 6;

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// One server's figure over another's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the rounds' ratios.
    pub median: f64,
    /// Where the true median lies with [`CONFIDENCE`]; none with fewer than [`ROUNDS_MIN`] rounds.
    pub interval: Option<(f64, f64)>,
    /// Rounds that count.
    pub rounds: usize,
}

/// What a ratio says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval lies below 1.
    Less,
    /// The whole interval lies above 1.
    More,
    /// 1 lies in the interval: what was seen may be chance.
    Noise,
    /// Too few rounds to say.
    TooFewRounds,
}

impl Spread {
    /// That of some figures; none if there is no figure.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let figures = sorted(figures);
        Some(Self { median: median(&figures)?, min: *figures.first()?, max: *figures.last()? })
    }

    /// As JSON.
    pub fn to_json(self) -> Json {
        Json::object([("median", self.median.into()), ("min", self.min.into()), ("max", self.max.into())])
    }
}

impl Ratio {
    /// That of pairs of one round each: this server's figure and the other's. Pairs in which one is 0 or not a number say
    /// nothing and do not count; none if no pair counts.
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let pairs = pairs.into_iter().filter(|(one, other)| *one > 0.0 && *other > 0.0);
        let ratios = sorted(pairs.map(|(one, other)| one / other));
        let interval = outermost(ratios.len()).map(|skipped| (ratios[skipped], ratios[ratios.len() - 1 - skipped]));
        Some(Self { median: median(&ratios)?, interval, rounds: ratios.len() })
    }

    /// What it says.
    pub fn verdict(&self) -> Verdict {
        match self.interval {
            None => Verdict::TooFewRounds,
            Some((_, high)) if high < 1.0 => Verdict::Less,
            Some((low, _)) if low > 1.0 => Verdict::More,
            Some(_) => Verdict::Noise,
        }
    }

    /// As JSON.
    pub fn to_json(self) -> Json {
        Json::object([
            ("median", self.median.into()),
            ("interval", self.interval.map(|(low, high)| vec![low, high]).into()),
            ("confidence", CONFIDENCE.into()),
            ("rounds", self.rounds.into()),
            ("verdict", self.verdict().word().into()),
        ])
    }
}

impl Verdict {
    /// In a word, of which the reader must know whether less is better.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Less => "less",
            Self::More => "more",
            Self::Noise => "noise",
            Self::TooFewRounds => "too few rounds",
        }
    }
}

/// How many ratios at either end the interval of `count` ratios leaves out; none if even all of them are not enough.
fn outermost(count: usize) -> Option<usize> {
    let n = i32::try_from(count).ok().filter(|n| *n < 1000)?;
    // The probability that at most `k` of n lie on one side, term by term.
    let mut term = 0.5f64.powi(n);
    let mut outside = term;
    let mut skipped = None;
    for k in 0..n / 2 {
        if 1.0 - 2.0 * outside < CONFIDENCE {
            break;
        }
        skipped = Some(k as usize);
        term *= f64::from(n - k) / f64::from(k + 1);
        outside += term;
    }
    skipped
}

fn sorted(figures: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
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

    #[test]
    fn the_median_is_the_middle_figure_or_between_the_two_middle_ones() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!((Spread::of([7.0]).unwrap().median, Spread::of([])), (7.0, None));
    }

    #[test]
    fn the_interval_leaves_out_what_tables_of_the_sign_test_say() {
        // The critical values of the two-sided sign test at 5 %, from its tables.
        for (rounds, skipped) in [
            (5, None),
            (6, Some(0)),
            (8, Some(0)),
            (9, Some(1)),
            (11, Some(1)),
            (12, Some(2)),
            (15, Some(3)),
            (20, Some(5)),
            (25, Some(7)),
        ] {
            assert_eq!(outermost(rounds), skipped, "{rounds} rounds");
        }
        assert_eq!(outermost(ROUNDS_MIN - 1), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine halves its speed after three rounds; within each round one server takes 1.25 times the other.
        let pairs = [4.0, 4.0, 4.0, 8.0, 8.0, 8.0].map(|cost| (cost * 1.25, cost));
        let ratio = Ratio::of(pairs).unwrap();
        assert_eq!((ratio.median, ratio.interval, ratio.verdict()), (1.25, Some((1.25, 1.25)), Verdict::More));
    }

    #[test]
    fn a_difference_that_may_be_chance_is_noise_and_few_rounds_say_nothing() {
        let verdict = |ratios: &[f64]| Ratio::of(ratios.iter().map(|ratio| (*ratio, 1.0))).unwrap().verdict();
        assert_eq!(verdict(&[0.9, 0.95, 0.97, 0.93, 0.99, 1.01]), Verdict::Noise);
        assert_eq!(verdict(&[0.9, 0.95, 0.97, 0.93, 0.99, 0.98]), Verdict::Less);
        assert_eq!(verdict(&[0.5, 0.5, 0.5, 0.5, 0.5]), Verdict::TooFewRounds);
        // Nine rounds bear one that was disturbed.
        assert_eq!(verdict(&[0.9, 0.95, 0.97, 0.93, 0.99, 0.98, 0.94, 0.96, 3.0]), Verdict::Less);
    }

    #[test]
    fn pairs_without_a_figure_do_not_count() {
        let pairs = [(1.0, 2.0), (f64::NAN, 1.0), (1.0, 0.0), (3.0, 4.0)];
        assert_eq!(Ratio::of(pairs).map(|ratio| (ratio.rounds, ratio.median)), Some((2, 0.625)));
        assert_eq!(Ratio::of([(0.0, 0.0)]), None);
    }

    #[test]
    fn the_interval_holds_the_true_median_as_often_as_it_says() {
        let mut random = fastrand::Rng::with_seed(5);
        for rounds in [6, 9, 15] {
            let held = (0..4000).filter(|_| {
                // Skewed, as disturbances are: the true median is 1.
                let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| ((random.f64() * 2.0).powi(3), 1.0)).collect();
                let (low, high) = Ratio::of(pairs).unwrap().interval.unwrap();
                low <= 1.0 && 1.0 <= high
            });
            let share = held.count() as f64 / 4000.0;
            assert!((0.94..0.99).contains(&share), "{rounds} rounds: {share}");
        }
    }
}
