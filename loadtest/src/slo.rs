//! Objectives: what a run must come to, as `--slo` and `--find-max` take it.
//!
//! ```text
//! OBJECTIVE  = FIGURE COMPARISON NUMBER UNIT          p99.9<2ms   book.max<=50ms   loss<=0%   rate>=100000/s
//! FIGURE     = [SERIES "."] LATENCY | "spread." LATENCY | "loss" | "rate"
//! LATENCY    = "p" PERCENT | "max" | "mean"
//! COMPARISON = "<" | "<=" | ">" | ">="
//! UNIT       = "ns" | "us" | "ms" | "s" for times, "%" for loss, "/s" for rate
//! ```
//! Latencies are corrected ones, of the first series unless one is named; `spread` is from the first to the last
//! subscriber of a publish; `loss` is the share of the expected messages that did not arrive unchanged; `rate` is
//! messages a second. What was not measured meets no objective.

use std::fmt;

use crate::json::Json;
use crate::measure::Histogram;
use crate::report::html::units::{nanoseconds, three_digits};

/// An objective that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    text: String,
    figure: Figure,
    comparison: Comparison,
    /// Nanoseconds, a share, or messages a second.
    bound: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Figure {
    /// Of a series by name, or of the first.
    Latency(Option<String>, Point),
    Spread(Point),
    Loss,
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    Percentile(f64),
    Max,
    Mean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// What a run measured, as far as objectives are about it.
#[derive(Clone, Debug, Default)]
pub struct Measured<'a> {
    /// Names and corrected latencies, the first one being meant if none is named.
    pub series: Vec<(&'a str, &'a Histogram)>,
    /// From the first to the last subscriber of each publish.
    pub spread: Option<&'a Histogram>,
    /// The share of the expected messages that did not arrive unchanged, from 0 to 1.
    pub loss_share: f64,
    /// Messages a second.
    pub rate: f64,
}

/// Whether a run met an objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The objective, as it was given.
    pub slo: String,
    /// Whether it was met.
    pub is_met: bool,
    /// What was measured, in words.
    pub measured: String,
}

impl Slo {
    /// Reads an objective.
    ///
    /// # Errors
    /// What is wrong with it, and what it may be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: String| format!("the objective `{text}`: {what}");
        let plain = text.trim();
        let at =
            plain.find(['<', '>', '=']).ok_or_else(|| wrong("a comparison is missing, as in p99.9<2ms".to_owned()))?;
        let (left, right) = plain.split_at(at);
        let (comparison, right) = comparison(right).ok_or_else(|| wrong("only <, <=, > and >= compare".to_owned()))?;
        let figure = figure(left.trim()).map_err(&wrong)?;
        let bound = figure.bound(right.trim()).map_err(&wrong)?;
        Ok(Self { text: plain.to_owned(), figure, comparison, bound })
    }

    /// Whether a run with these series, and with or without spreads, can be judged by it.
    ///
    /// # Errors
    /// What it names that is not there, and what is.
    pub fn check(&self, series: &[&str], has_spread: bool) -> Result<(), String> {
        match &self.figure {
            Figure::Latency(..) if series.is_empty() => {
                Err(format!("the objective `{}`: no latency is measured here", self.text))
            }
            Figure::Latency(Some(name), _) if !series.contains(&name.as_str()) => Err(format!(
                "the objective `{}`: there is no series `{name}` here, but {}",
                self.text,
                series.join(", ")
            )),
            Figure::Spread(_) if !has_spread => {
                Err(format!("the objective `{}`: no spread is measured here", self.text))
            }
            _ => Ok(()),
        }
    }

    /// Judges a run. What was not measured is missed.
    pub fn judge(&self, measured: &Measured<'_>) -> Verdict {
        let (value, words) = match &self.figure {
            Figure::Latency(name, point) => {
                let is_meant = |(index, series): &(usize, &(&str, &Histogram))| {
                    name.as_ref().map_or(*index == 0, |name| name == series.0)
                };
                let series = measured.series.iter().enumerate().find(is_meant);
                point.of(series.map(|(_, series)| series.1))
            }
            Figure::Spread(point) => point.of(measured.spread),
            Figure::Loss => (Some(measured.loss_share), format!("{} %", in_digits(measured.loss_share * 100.0))),
            Figure::Rate => (Some(measured.rate), format!("{}/s", three_digits(measured.rate))),
        };
        let is_met = value.is_some_and(|value| self.comparison.holds(value, self.bound));
        Verdict { slo: self.text.clone(), is_met, measured: words }
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Verdict {
    /// As JSON.
    pub fn to_json(&self) -> Json {
        Json::object([
            ("slo", self.slo.as_str().into()),
            ("is_met", self.is_met.into()),
            ("measured", self.measured.as_str().into()),
        ])
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_met { "met" } else { "MISSED" };
        write!(f, "{word}: {} (measured: {})", self.slo, self.measured)
    }
}

impl Figure {
    /// What it is compared with: a number with the unit of this figure.
    fn bound(&self, text: &str) -> Result<f64, String> {
        let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_'))).unwrap_or(text.len());
        let (number, unit) = (text[..end].replace('_', ""), text[end..].trim());
        if number.is_empty() {
            return Err(format!("`{text}` is not a number of 0 or more and a unit"));
        }
        let number: f64 = number.parse().map_err(|_| format!("`{}` is not a number", &text[..end]))?;
        let (scale, units) = match (self, unit) {
            (Figure::Latency(..) | Figure::Spread(_), unit) => (nanos_of(unit), "a time needs ns, us, ms or s"),
            (Figure::Loss, unit) => ((unit == "%").then_some(0.01), "a loss needs %"),
            (Figure::Rate, unit) => ((unit == "/s").then_some(1.0), "a rate needs /s"),
        };
        match scale {
            Some(scale) => Ok(number * scale),
            None if unit.is_empty() => Err(format!("the unit is missing: {units}")),
            None => Err(format!("the unit `{unit}` does not fit: {units}")),
        }
    }
}

impl Point {
    fn parse(text: &str) -> Result<Option<Self>, String> {
        match text {
            "max" => return Ok(Some(Point::Max)),
            "mean" => return Ok(Some(Point::Mean)),
            _ => {}
        }
        let Some(percent) = text.strip_prefix('p').filter(|percent| percent.starts_with(|c: char| c.is_ascii_digit()))
        else {
            return Ok(None);
        };
        match percent.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Some(Point::Percentile(percent))),
            _ => Err(format!("`{text}` is no percentile: p0 to p100, as in p99.9")),
        }
    }

    /// Its value in nanoseconds, and in words. None of a histogram without values.
    fn of(self, histogram: Option<&Histogram>) -> (Option<f64>, String) {
        let Some(histogram) = histogram.filter(|histogram| histogram.count() > 0) else {
            return (None, "nothing".to_owned());
        };
        let nanos = match self {
            Point::Percentile(percent) => histogram.percentile(percent) as f64,
            Point::Max => histogram.max() as f64,
            Point::Mean => histogram.mean(),
        };
        (Some(nanos), nanoseconds(nanos))
    }
}

impl Comparison {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::Below => value < bound,
            Comparison::AtMost => value <= bound,
            Comparison::Above => value > bound,
            Comparison::AtLeast => value >= bound,
        }
    }
}

/// Splits a comparison from what follows it.
fn comparison(text: &str) -> Option<(Comparison, &str)> {
    let known =
        [("<=", Comparison::AtMost), (">=", Comparison::AtLeast), ("<", Comparison::Below), (">", Comparison::Above)];
    let (comparison, rest) = known.into_iter().find_map(|(sign, is)| Some((is, text.strip_prefix(sign)?)))?;
    (!rest.starts_with(['<', '>', '='])).then_some((comparison, rest))
}

fn figure(text: &str) -> Result<Figure, String> {
    match text {
        "" => return Err("what is compared? p99.9, max, mean, loss, rate or spread.p99".to_owned()),
        "loss" => return Ok(Figure::Loss),
        "rate" => return Ok(Figure::Rate),
        _ => {}
    }
    if let Some(point) = Point::parse(text)? {
        return Ok(Figure::Latency(None, point));
    }
    let unknown = |text: &str| format!("`{text}` is no figure: p99.9, max, mean, loss, rate or spread.p99 are");
    let Some((name, rest)) = text.split_once('.') else { return Err(unknown(text)) };
    match Point::parse(rest)? {
        Some(point) if name == "spread" => Ok(Figure::Spread(point)),
        Some(point) if !name.is_empty() => Ok(Figure::Latency(Some(name.to_owned()), point)),
        None if matches!(rest, "loss" | "rate") => Err(format!("{rest} is of the whole run: leave out `{name}.`")),
        _ => Err(unknown(rest)),
    }
}

fn nanos_of(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1.0),
        "us" | "µs" => Some(1e3),
        "ms" => Some(1e6),
        "s" => Some(1e9),
        _ => None,
    }
}

/// A small number that is not written as 0 unless it is.
fn in_digits(value: f64) -> String {
    if value > 0.0 && value < 0.0005 { format!("{value:.1e}") } else { three_digits(value) }
}

#[cfg(test)]
mod tests;
