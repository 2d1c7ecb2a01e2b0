//! The figures of a comparison: per server and metric the median of the rounds, and its ratio to the last server.

use std::fmt::Write as _;

use super::Comparison;
use super::stats::{Ratio, Spread, Verdict};
use crate::json::Json;
use crate::measure::{disturbances, micros};
use crate::report::Report;
use crate::report::html::units;

/// A figure that each run gives, if it can.
#[derive(Debug)]
pub struct Metric {
    /// What it is, for eyes.
    pub name: &'static str,
    /// What it is, for programs: with its unit.
    pub key: &'static str,
    /// Its unit, for eyes.
    pub unit: &'static str,
    /// Which direction is better.
    pub better: Better,
    /// What it is in a run.
    pub of: fn(&Report) -> Option<f64>,
}

/// Which direction of a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The less, the better.
    Less,
    /// The more, the better.
    More,
}

/// What is compared, in the order of tables. Latencies are those of the first series, from when messages were due.
pub const METRICS: [Metric; 10] = [
    Metric {
        name: "server CPU per message",
        key: "server_cpu_us_per_message",
        unit: "us",
        better: Better::Less,
        of: |report| report.cost.server_us_per(report.messages),
    },
    Metric {
        name: "messages a second",
        key: "messages_per_second",
        unit: "",
        better: Better::More,
        of: |report| Some(report.rate()),
    },
    Metric { name: "p50", key: "p50_us", unit: "us", better: Better::Less, of: |report| percentile_us(report, 50.0) },
    Metric { name: "p99", key: "p99_us", unit: "us", better: Better::Less, of: |report| percentile_us(report, 99.0) },
    Metric {
        name: "p99.9",
        key: "p99_9_us",
        unit: "us",
        better: Better::Less,
        of: |report| percentile_us(report, 99.9),
    },
    Metric {
        name: "first to last, p99",
        key: "spread_p99_us",
        unit: "us",
        better: Better::Less,
        of: |report| report.spread.as_ref().map(|spread| spread.percentile(99.0) as f64 / 1e3),
    },
    Metric {
        name: "server memory",
        key: "server_resident_mib",
        unit: "MiB",
        better: Better::Less,
        of: |report| report.cost.server.map(|server| server.resident_bytes as f64 / f64::from(1 << 20)),
    },
    Metric {
        name: "generator CPU per message",
        key: "generator_cpu_us_per_message",
        unit: "us",
        better: Better::Less,
        of: |report| Some(micros(report.cost.own_cpu) / report.messages as f64),
    },
    Metric {
        name: "server memory per connection",
        key: "resident_bytes_per_connection",
        unit: "B",
        better: Better::Less,
        of: |report| found(report, "resident_bytes_per_connection"),
    },
    Metric {
        name: "kernel memory per connection, both ends",
        key: "kernel_bytes_per_connection",
        unit: "B",
        better: Better::Less,
        of: |report| found(report, "kernel_bytes_per_connection"),
    },
];

/// A finding that only some workloads have.
fn found(report: &Report, name: &str) -> Option<f64> {
    report.findings.iter().find(|(found, _)| *found == name).and_then(|(_, value)| match value {
        Json::Number(value) => Some(*value),
        _ => None,
    })
}

fn percentile_us(report: &Report, percent: f64) -> Option<f64> {
    let latency = &report.series.first()?.corrected;
    (latency.count() > 0).then(|| latency.percentile(percent) as f64 / 1e3)
}

impl Metric {
    /// A value with its unit: `12.3 us`, `36 255`.
    pub fn write(&self, value: f64) -> String {
        match self.unit {
            "us" => units::nanoseconds(value * 1e3),
            "" => units::grouped(value.round() as u64),
            unit => format!("{} {unit}", units::three_digits(value)),
        }
    }

    /// The median of some rounds and their range.
    pub fn write_spread(&self, spread: &Spread) -> String {
        format!("{} ({} to {})", self.write(spread.median), self.write(spread.min), self.write(spread.max))
    }

    /// What a ratio of it says, in a word.
    pub const fn word(&self, verdict: Verdict) -> &'static str {
        match (verdict, self.better) {
            (Verdict::Less, Better::Less) | (Verdict::More, Better::More) => "better",
            (Verdict::Less, Better::More) | (Verdict::More, Better::Less) => "worse",
            (Verdict::Noise | Verdict::TooFewRounds, _) => verdict.word(),
        }
    }

    /// A ratio in words: `0.82 (0.80 to 0.85) better`.
    pub fn tell(&self, ratio: &Ratio) -> String {
        let word = self.word(ratio.verdict());
        match ratio.interval {
            Some((low, high)) => format!("{:.3} ({low:.3} to {high:.3}) {word}", ratio.median),
            None => format!("{:.3} ({word})", ratio.median),
        }
    }
}

impl Comparison {
    /// What a metric was for a server in each round.
    ///
    /// # Panics
    /// If there is no server of this index.
    pub fn figures(&self, metric: &Metric, server: usize) -> Vec<Option<f64>> {
        let of = |round: &Vec<Result<Report, String>>| round[server].as_ref().ok().and_then(metric.of);
        self.rounds.iter().map(of).map(|figure| figure.filter(|figure| figure.is_finite())).collect()
    }

    /// That over all rounds; none if no round has it.
    ///
    /// # Panics
    /// If there is no server of this index.
    pub fn spread(&self, metric: &Metric, server: usize) -> Option<Spread> {
        Spread::of(self.figures(metric, server).into_iter().flatten())
    }

    /// That of one server over that of another, taken within each round; none if no round has both.
    ///
    /// # Panics
    /// If there is no server of one of these indices.
    pub fn ratio(&self, metric: &Metric, server: usize, to: usize) -> Option<Ratio> {
        let (mine, others) = (self.figures(metric, server), self.figures(metric, to));
        Ratio::of(mine.into_iter().zip(others).filter_map(|(mine, other)| mine.zip(other)))
    }

    /// The server's CPU time per message: one server's over another's.
    ///
    /// # Panics
    /// If there is no server of one of these indices.
    pub fn cpu_ratio(&self, server: usize, to: usize) -> Option<Ratio> {
        self.ratio(&METRICS[0], server, to)
    }

    /// What is to be known before any figure, a sentence each: runs that failed, are void, or lost messages.
    pub fn warnings(&self) -> Warnings {
        let mut warnings = Warnings::default();
        for (server, name) in self.names.iter().enumerate() {
            let rounds = self.rounds.iter().map(|round| &round[server]);
            let count = rounds.clone().count();
            let tell = |list: &mut Vec<String>, what: &str, reasons: Vec<String>| {
                if let Some(first) = reasons.first() {
                    list.push(format!("{name}: {what} in {} of {count} rounds: {first}", reasons.len()));
                }
            };
            let reports = || rounds.clone().filter_map(|result| result.as_ref().ok());
            let failed = rounds.clone().filter_map(|result| result.as_ref().err().cloned()).collect();
            tell(&mut warnings.faults, "no result", failed);
            tell(&mut warnings.voids, "void", reports().filter_map(|report| report.voids.first().cloned()).collect());
            let unclean = reports().filter(|report| !report.accounts.are_clean());
            let unclean = unclean.map(|report| report.accounts.faults()).collect();
            tell(&mut warnings.faults, "not every message arrived once, unchanged and in order", unclean);
            let missed = reports().filter_map(|report| report.verdicts.iter().find(|verdict| !verdict.is_met));
            tell(
                &mut warnings.missed,
                "an objective was missed",
                missed.map(|verdict| format!("{}: {}", verdict.slo, verdict.measured)).collect(),
            );
            let disturbed = reports().filter_map(|report| disturbances(&report.cost).into_iter().next());
            tell(&mut warnings.doubts, "disturbed", disturbed.collect());
        }
        warnings
    }

    /// Each round's reports, and each server's medians and ratios to the last.
    pub fn to_json(&self) -> Json {
        let last = self.names.len() - 1;
        let servers = self.names.iter().enumerate().map(|(server, name)| {
            let metrics = METRICS.iter().map(|metric| {
                let figure = Json::object([
                    ("over_rounds", self.spread(metric, server).map_or(Json::Null, Spread::to_json)),
                    ("ratio_to_last", self.ratio(metric, server, last).map_or(Json::Null, Ratio::to_json)),
                    ("rounds", Json::from(self.figures(metric, server))),
                ]);
                (metric.key.to_owned(), figure)
            });
            (name.clone(), Json::Object(metrics.collect()))
        });
        let rounds = self.rounds.iter().map(|round| {
            let results = self.names.iter().zip(round).map(|(name, result)| {
                let result = match result {
                    Ok(report) => report.to_json(),
                    Err(reason) => Json::object([("failed", reason.as_str().into())]),
                };
                (name.clone(), result)
            });
            Json::Object(results.collect())
        });
        let warnings = self.warnings();
        let words = |texts: &[String]| Json::from(texts.iter().map(String::as_str).collect::<Vec<_>>());
        Json::object([
            ("workload", self.workload.into()),
            ("options", self.options.clone()),
            ("facts", self.facts.to_json()),
            ("faults", words(&warnings.faults)),
            ("void", words(&warnings.voids)),
            ("missed", words(&warnings.missed)),
            ("doubts", words(&warnings.doubts)),
            ("servers", Json::Object(servers.collect())),
            ("rounds", Json::List(rounds.collect())),
        ])
    }

    /// A block per metric, with a line per server.
    pub fn to_text(&self) -> String {
        let last = self.names.len() - 1;
        let mut text = String::new();
        for metric in &METRICS {
            let lines = self.names.iter().enumerate().filter_map(|(server, name)| {
                let spread = metric.write_spread(&self.spread(metric, server)?);
                let ratio = self.ratio(metric, server, last).filter(|_| server != last);
                let ratio = ratio.map_or(String::new(), |ratio| metric.tell(&ratio));
                Some(format!("  {name:<26} {spread:<38} {ratio}").trim_end().to_owned() + "\n")
            });
            let lines: String = lines.collect();
            if !lines.is_empty() {
                let last = &self.names[last];
                let _ = writeln!(text, "{:<28} {:<38} ratio to {last}, 95 % confidence", metric.name, "median (range)");
                text += &lines;
            }
        }
        let Warnings { faults, voids, missed, doubts } = self.warnings();
        for (word, sentences) in [("DOUBT", doubts), ("MISSED", missed), ("FAULT", faults), ("VOID", voids)] {
            for sentence in sentences {
                let _ = writeln!(text, "{word:<6} {sentence}");
            }
        }
        text
    }
}

/// A line for a measurement.
pub fn line(name: &str, result: &Result<Report, String>) -> String {
    let report = match result {
        Ok(report) => report,
        Err(reason) => return format!("{name:<20} no result: {reason}"),
    };
    let cpu = report.cost.server_us_per(report.messages).unwrap_or(f64::NAN);
    let busy = |cpu| report.cost.share(cpu) * 100.0;
    let void = report.voids.first().map_or(String::new(), |void| format!("; VOID: {void}"));
    format!(
        "{name:<20} {cpu:.3} us per message, {:.0} a second, p99 {:.1} us; busy: server {:.0} %, generator {:.0} %, others \
         {:.0} %{void}",
        report.rate(),
        percentile_us(report, 99.0).unwrap_or(f64::NAN),
        busy(report.cost.server_cpu().unwrap_or_default()),
        busy(report.cost.own_cpu),
        busy(report.cost.others_cpu),
    )
}

/// What is to be known before any figure of a comparison, a sentence per server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// Runs without a result, or whose messages did not all arrive once, unchanged and in order.
    pub faults: Vec<String>,
    /// Runs that are void.
    pub voids: Vec<String>,
    /// Runs that missed an objective.
    pub missed: Vec<String>,
    /// Runs that were disturbed.
    pub doubts: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_less_is_better_depends_on_the_metric() {
        let words =
            |metric: &Metric| [Verdict::Less, Verdict::More, Verdict::Noise].map(|verdict| metric.word(verdict));
        assert_eq!(words(&METRICS[0]), ["better", "worse", "noise"]);
        assert_eq!(words(&METRICS[1]), ["worse", "better", "noise"]);
        assert_eq!(METRICS[0].word(Verdict::TooFewRounds), "too few rounds");
    }

    #[test]
    fn figures_have_three_digits_and_their_unit() {
        assert_eq!((METRICS[2].write(12_816.4), METRICS[6].write(14.018)), ("12.8 ms".into(), "14.0 MiB".into()));
        assert_eq!(METRICS[1].write(36_255.5), "36\u{202f}256");
    }
}
