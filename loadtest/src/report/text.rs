//! The report as lines of text.

use std::fmt::{self, Write as _};

use super::Report;
use crate::json::Json;
use crate::measure::{Histogram, micros};

/// What a histogram's row shows.
const PERCENTS: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

impl Report {
    /// The report as lines of text: a table of latencies, then what it cost and what became of every message.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let seconds = self.cost.elapsed.as_secs_f64();
        let _ = write!(text, "{} {} ({seconds:.1} s", self.workload, self.target);
        if self.cost.elapsed + self.time / 20 < self.time {
            let _ = write!(text, " of {:.1} s: it ended early", self.time.as_secs_f64());
        }
        text += ")\n";
        if self.messages > 0 {
            let _ = writeln!(text, "  messages     {} ({:.0} a second)", self.messages, self.rate());
        }
        self.latencies(&mut text);
        self.uses(&mut text);
        let accounts = &self.accounts;
        let _ = writeln!(
            text,
            "  accounts     {} of {} arrived, {} lost, {} repeated, {} out of order, {} corrupted, {} misrouted, \
             {} connections ended{}",
            accounts.arrived,
            accounts.expected,
            accounts.lost,
            accounts.repeated,
            accounts.out_of_order,
            accounts.corrupted,
            accounts.misrouted,
            accounts.ended,
            accounts.ended_reason.as_ref().map_or(String::new(), |reason| format!(" (first: {reason})")),
        );
        for (name, value) in &self.findings {
            let _ = match value {
                // In one line, whatever its depth.
                Json::Object(members) => {
                    let members = members.iter().map(|(name, value)| format!("{name} {value}"));
                    writeln!(text, "  {name:<12} {}", members.collect::<Vec<_>>().join(", "))
                }
                value => writeln!(text, "  {name:<12} {value}"),
            };
        }
        for verdict in &self.verdicts {
            let word = if verdict.is_met { "MET" } else { "MISSED" };
            let _ = writeln!(text, "  {word:<12} {}: {}", verdict.slo, verdict.measured);
        }
        for doubt in &self.doubts {
            let _ = writeln!(text, "  DOUBT        {doubt}");
        }
        for void in &self.voids {
            let _ = writeln!(text, "  VOID         {void}");
        }
        text
    }

    fn latencies(&self, text: &mut String) {
        if self.series.iter().all(|series| series.corrected.count() == 0) {
            return;
        }
        let _ = writeln!(
            text,
            "  {:<24} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "latency, us", "p50", "p90", "p99", "p99.9", "max"
        );
        for series in self.series.iter().filter(|series| series.corrected.count() > 0) {
            let _ = writeln!(text, "  {:<24} {}", series.name, Row(&series.corrected));
            if series.corrected.max() != series.uncorrected.max()
                || series.corrected.mean() != series.uncorrected.mean()
            {
                let _ = writeln!(text, "  {:<24} {}", "  from the real sending", Row(&series.uncorrected));
            }
        }
        if let Some(spread) = &self.spread {
            let _ = writeln!(text, "  {:<24} {}", "first to last", Row(spread));
        }
        if self.lateness.count() > 0 {
            let _ = writeln!(text, "  {:<24} {}", "generator was late by", Row(&self.lateness));
        }
    }

    fn uses(&self, text: &mut String) {
        if let Some(server) = &self.cost.server {
            let _ = write!(text, "  server       {:.1} % of a core", self.cost.share(server.cpu) * 100.0);
            if let Some(us) = self.cost.server_us_per(self.messages).filter(|us| us.is_finite()) {
                let _ = write!(text, ", {us:.3} us per message");
            }
            let resident = server.resident_bytes as f64 / f64::from(1 << 20);
            let _ = writeln!(text, ", {resident:.1} MiB, {} threads", server.threads);
        }
        let _ = write!(text, "  generator    {:.1} % of a core", self.cost.share(self.cost.own_cpu) * 100.0);
        if self.messages > 0 {
            let _ = write!(text, ", {:.3} us per message", micros(self.cost.own_cpu) / self.messages as f64);
        }
        text.push('\n');
        let cores = self.cost.cores.iter().map(|core| {
            let steal =
                if core.stolen >= 0.005 { format!(" ({:.0} % stolen)", core.stolen * 100.0) } else { String::new() };
            format!("{}: {:.0} %{steal}", core.core, core.busy * 100.0)
        });
        let _ = writeln!(text, "  cores busy   {}", cores.collect::<Vec<_>>().join(", "));
    }
}

/// A histogram's percentiles in microseconds.
struct Row<'a>(&'a Histogram);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = PERCENTS.map(|percent| {
            let nanos = if percent == 100.0 { self.0.max() } else { self.0.percentile(percent) };
            format!("{:>9.1}", nanos as f64 / 1e3)
        });
        f.write_str(&cells.join(" "))
    }
}
