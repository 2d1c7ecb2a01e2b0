//! What a run found, for eyes, for programs and as a page.

pub mod html;
mod text;

use std::time::Duration;

use crate::json::Json;
use crate::measure::{self, Accounts, Cost, Facts, Histogram, Loop, Recorded, SeriesReport, Timeline};
use crate::run::{Finding, Load, Model};
use crate::slo::{Measured, Slo, Verdict};

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which workload.
    pub workload: &'static str,
    /// What was measured.
    pub target: String,
    /// What was spoken with it.
    pub adapter: String,
    /// How the workload was set.
    pub options: Json,
    /// On what, and by what.
    pub facts: Facts,
    /// How long was to be measured. [`Cost::elapsed`] is less if the run ended early.
    pub time: Duration,
    /// Messages that arrived in the measured interval.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the interval cost.
    pub cost: Cost,
    /// Latencies in nanoseconds, of what was due in the measured interval. The first series is meant where none is named.
    pub series: Vec<SeriesReport>,
    /// From the first arrival to the last of each publish.
    pub spread: Option<Histogram>,
    /// By how much the generator itself was late.
    pub lateness: Histogram,
    /// What became of every message of the whole run.
    pub accounts: Accounts,
    /// How the interval went.
    pub timeline: Timeline,
    /// Further findings: name and value.
    pub findings: Vec<(&'static str, Json)>,
    /// Why the result does not count.
    pub voids: Vec<String>,
    /// What makes it doubtful.
    pub doubts: Vec<String>,
    /// What was to hold, and whether it did.
    pub verdicts: Vec<Verdict>,
}

impl Report {
    /// What all threads found, with what it cost.
    pub(crate) fn new<M: Model>(model: &M, load: &Load, facts: Facts, mut merged: Finding, cost: Cost) -> Self {
        let spread = merged.spread.take().map(crate::pubsub::Spreads::histogram).filter(|spread| spread.count() > 0);
        let counts = merged.counts.iter().map(|(name, count)| (*name, Json::Integer(*count)));
        let histograms = merged.histograms.iter().map(|(name, histogram)| (*name, latency_json(histogram)));
        let findings = counts.chain(histograms).chain(model.findings(&merged)).collect();
        let Recorded { series, lateness, timeline, messages, bytes } = merged.recorded;
        let mut doubts = measure::doubts(&cost, &merged.accounts);
        let kind = match model.kind() {
            Loop::Closed if load.spin => {
                doubts.push(
                    "a generator that never sleeps (--spin) is always busy: whether it set the pace is not known"
                        .into(),
                );
                Loop::Silent
            }
            kind => kind,
        };
        let voids = measure::voids(&cost, &lateness, kind);
        Self {
            workload: model.name(),
            target: model.target().to_string(),
            adapter: model.adapter(),
            options: model.options(),
            facts,
            time: load.time,
            messages,
            bytes,
            cost,
            series,
            spread,
            lateness,
            accounts: merged.accounts,
            timeline,
            findings,
            voids,
            doubts,
            verdicts: Vec::new(),
        }
    }

    /// Messages a second.
    pub fn rate(&self) -> f64 {
        if self.cost.elapsed.is_zero() { 0.0 } else { self.messages as f64 / self.cost.elapsed.as_secs_f64() }
    }

    /// Latencies of the first series, from when each message was due.
    ///
    /// # Panics
    /// If the workload has no latencies, as `idle`.
    pub fn latency(&self) -> &Histogram {
        &self.series.first().expect("latencies are measured").corrected
    }

    /// Holds it against what must hold.
    pub fn judge(&mut self, slos: &[Slo]) {
        let measured = Measured {
            series: self.series.iter().map(|series| (series.name, &series.corrected)).collect(),
            spread: self.spread.as_ref(),
            loss_share: self.accounts.loss_share(),
            rate: self.rate(),
        };
        self.verdicts = slos.iter().map(|slo| slo.judge(&measured)).collect();
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Json {
        let findings = self.findings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let words = |texts: &[String]| Json::List(texts.iter().map(|text| text.as_str().into()).collect());
        let series = self.series.iter().map(|series| {
            let latency = Json::object([
                ("corrected_us", latency_json(&series.corrected)),
                ("uncorrected_us", latency_json(&series.uncorrected)),
                ("corrected_hdr_v2", series.corrected.to_v2_base64().as_str().into()),
            ]);
            (series.name.to_owned(), latency)
        });
        Json::object([
            ("workload", self.workload.into()),
            ("target", self.target.as_str().into()),
            ("adapter", self.adapter.as_str().into()),
            ("options", self.options.clone()),
            ("facts", self.facts.to_json()),
            ("messages", self.messages.into()),
            ("messages_per_second", self.rate().into()),
            ("bytes_per_second", (self.bytes as f64 / self.cost.elapsed.as_secs_f64()).into()),
            ("latency", Json::Object(series.collect())),
            ("spread_us", self.spread.as_ref().map_or(Json::Null, latency_json)),
            ("generator_late_us", latency_json(&self.lateness)),
            ("interval", self.cost.to_json(self.messages)),
            ("accounts", self.accounts.to_json()),
            ("findings", Json::Object(findings)),
            ("void", words(&self.voids)),
            ("doubts", words(&self.doubts)),
            ("verdicts", Json::List(self.verdicts.iter().map(Verdict::to_json).collect())),
            ("timeline", self.timeline.to_json()),
        ])
    }
}

/// Percentiles in microseconds.
fn latency_json(latency: &Histogram) -> Json {
    if latency.count() == 0 {
        return Json::Null;
    }
    let at = |percent| Json::Number(latency.percentile(percent) as f64 / 1e3);
    Json::object([
        ("count", latency.count().into()),
        ("mean", (latency.mean() / 1e3).into()),
        ("p50", at(50.0)),
        ("p90", at(90.0)),
        ("p99", at(99.0)),
        ("p99_9", at(99.9)),
        ("p99_99", at(99.99)),
        ("max", (latency.max() as f64 / 1e3).into()),
    ])
}
