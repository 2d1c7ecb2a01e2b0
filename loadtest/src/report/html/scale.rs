//! Scales: where on an axis a value lies, and which values are written beside it.

use super::units;

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Equal steps are equally long.
    Linear {
        /// The value at the beginning.
        from: f64,
        /// The value at the end.
        to: f64,
    },
    /// Equal factors are equally long. Both values are above 0.
    Log {
        /// The value at the beginning.
        from: f64,
        /// The value at the end.
        to: f64,
    },
    /// Percentiles as HdrHistogram draws them: by 1 / (1 - p), so that each further nine is equally long and the tail,
    /// which linear percentiles hide, has the room. Values are percents.
    Nines {
        /// How many nines the end has: 3 is 99.9 %.
        nines: f64,
    },
}

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// The value there.
    pub at: f64,
    /// What is written; empty for a line without words.
    pub label: String,
}

impl Tick {
    fn new(at: f64, label: impl Into<String>) -> Self {
        Self { at, label: label.into() }
    }
}

impl Scale {
    /// A linear scale from 0 to a round number that is not below `greatest`.
    pub fn from_zero(greatest: f64) -> Self {
        let step = step_for(greatest.max(1e-9), 5);
        Self::Linear { from: 0.0, to: (greatest.max(1e-9) / step - 1e-9).ceil() * step }
    }

    /// A logarithmic scale of round bounds (1, 2 or 5 times a power of ten) around the values that are above 0.
    pub fn around(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut least, mut greatest) = (f64::INFINITY, 0.0f64);
        for value in values.into_iter().filter(|value| *value > 0.0 && value.is_finite()) {
            least = least.min(value);
            greatest = greatest.max(value);
        }
        if greatest == 0.0 {
            return Self::Log { from: 1.0, to: 10.0 };
        }
        let from = round_below(least);
        let to = round_above(greatest);
        // One value alone still needs a stretch to lie in.
        Self::Log { from, to: if to > from * 1.5 { to } else { to * 2.0 } }
    }

    /// Where `value` lies: 0 is the beginning, 1 the end. What lies outside is moved to the nearer end.
    pub fn place(&self, value: f64) -> f64 {
        let place = match *self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
            Self::Nines { nines } => -(1.0 - value / 100.0).max(10f64.powf(-nines)).log10() / nines,
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }

    /// Marks for plain numbers, about `wanted` of them.
    pub fn ticks(&self, wanted: usize, label: impl Fn(f64) -> String) -> Vec<Tick> {
        match *self {
            Self::Linear { from, to } => {
                let step = step_for(to - from, wanted);
                let first = (from / step - 1e-9).ceil() as i64;
                let last = (to / step + 1e-9).floor() as i64;
                (first..=last).map(|index| index as f64 * step).map(|at| Tick::new(at, label(at))).collect()
            }
            Self::Log { from, to } => log_ticks(from, to, wanted, label),
            Self::Nines { nines } => nines_ticks(nines),
        }
    }
}

/// Every power of ten has a line; 2 and 5 times have one where there is room, and words where there is much.
fn log_ticks(from: f64, to: f64, wanted: usize, label: impl Fn(f64) -> String) -> Vec<Tick> {
    let decades = (to / from).log10();
    let (has_words, has_lines): (&[u32], &[u32]) = match wanted as f64 / decades {
        room if room >= 2.5 => (&[1, 2, 5], &[1, 2, 5]),
        room if room >= 0.8 => (&[1], &[1, 2, 5]),
        _ => (&[1], &[1]),
    };
    let mut ticks = Vec::new();
    for power in from.log10().floor() as i32..=to.log10().ceil() as i32 {
        for &digit in has_lines {
            let at = f64::from(digit) * 10f64.powi(power);
            if at >= from * 0.999_999 && at <= to * 1.000_001 {
                // The first line has words in any case: one sees where the axis begins.
                let is_named = has_words.contains(&digit) || ticks.is_empty();
                let words = if is_named { label(at) } else { String::new() };
                ticks.push(Tick::new(at, words));
            }
        }
    }
    ticks
}

fn nines_ticks(nines: f64) -> Vec<Tick> {
    let mut ticks = vec![Tick::new(0.0, "0"), Tick::new(50.0, "50 %")];
    for count in 1..=nines.floor() as i32 {
        let at = 100.0 - 10f64.powi(2 - count);
        ticks.push(Tick::new(at, format!("{at:.*} %", (count - 2).max(0) as usize)));
    }
    ticks
}

/// A step of 1, 2 or 5 times a power of ten that parts `range` into at most `wanted` pieces.
fn step_for(range: f64, wanted: usize) -> f64 {
    round_above(range / wanted.max(1) as f64)
}

fn round_above(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| value <= digit * power * 1.000_001);
    digit.unwrap_or(10.0) * power
}

fn round_below(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let digit = [5.0, 2.0].into_iter().find(|digit| value * 1.000_001 >= digit * power);
    digit.unwrap_or(1.0) * power
}

/// An axis: a scale, its marks and what it is.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What is on it, with its unit.
    pub label: String,
    /// Where values lie.
    pub scale: Scale,
    /// How its values are written.
    pub unit: Unit,
}

/// How a value is written beside an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, written as ns, us, ms or s.
    Nanoseconds,
    /// Seconds since the measurement began.
    Seconds,
    /// Percent: of a core, or a percentile.
    Percent,
    /// A number, shortened with k and M.
    Number,
    /// A whole number; what lies between has no words.
    Whole,
}

impl Unit {
    /// A value in words.
    pub fn write(self, value: f64) -> String {
        match self {
            Self::Nanoseconds => units::round_nanoseconds(value),
            Self::Seconds => format!("{} s", units::plain(value)),
            Self::Percent => format!("{} %", units::plain(value)),
            Self::Number => units::short_number(value),
            Self::Whole if value.fract().abs() > 1e-6 => String::new(),
            Self::Whole => units::plain(value),
        }
    }
}

impl Axis {
    /// The marks, about `wanted` of them.
    pub fn ticks(&self, wanted: usize) -> Vec<Tick> {
        self.scale.ticks(wanted, |value| self.unit.write(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_further_nine_is_equally_long() {
        let scale = Scale::Nines { nines: 4.0 };
        for (percent, place) in [(0.0, 0.0), (90.0, 0.25), (99.0, 0.5), (99.9, 0.75), (99.99, 1.0), (100.0, 1.0)] {
            assert!((scale.place(percent) - place).abs() < 1e-9, "{percent}: {}", scale.place(percent));
        }
        let words: Vec<String> = scale.ticks(9, |_| String::new()).into_iter().map(|tick| tick.label).collect();
        assert_eq!(words, ["0", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn equal_factors_are_equally_long() {
        let scale = Scale::Log { from: 10.0, to: 1000.0 };
        assert_eq!((scale.place(10.0), scale.place(1000.0)), (0.0, 1.0));
        assert!((scale.place(100.0) - 0.5).abs() < 1e-9);
        assert_eq!((scale.place(1.0), scale.place(5000.0), scale.place(0.0)), (0.0, 1.0, 0.0), "moved to the ends");
    }

    #[test]
    fn bounds_are_round_and_hold_every_value() {
        assert_eq!(Scale::around([0.0, 23.0, 480.0]), Scale::Log { from: 20.0, to: 500.0 });
        assert_eq!(Scale::around([100.0]), Scale::Log { from: 100.0, to: 200.0 });
        assert_eq!(Scale::around([]), Scale::Log { from: 1.0, to: 10.0 });
        assert_eq!(Scale::from_zero(7.3), Scale::Linear { from: 0.0, to: 8.0 });
        assert_eq!(Scale::from_zero(100.0), Scale::Linear { from: 0.0, to: 100.0 });
    }

    #[test]
    fn marks_are_round_numbers_within_the_scale() {
        let at = |scale: Scale, wanted| -> Vec<f64> {
            scale.ticks(wanted, |_| String::new()).into_iter().map(|tick| tick.at).collect()
        };
        assert_eq!(at(Scale::Linear { from: 0.0, to: 8.0 }, 5), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(at(Scale::Log { from: 20.0, to: 500.0 }, 6), [20.0, 50.0, 100.0, 200.0, 500.0]);
        let labelled = Scale::Log { from: 1.0, to: 1e6 }.ticks(6, |value| format!("{value}"));
        let words = labelled.iter().filter(|tick| !tick.label.is_empty()).count();
        assert_eq!(words, 7, "powers of ten only: {labelled:?}");
    }
}
