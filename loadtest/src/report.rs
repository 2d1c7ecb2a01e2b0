//! What a run found, for eyes and as JSON.

pub mod html;

use std::fmt::Write as _;

use crate::json::Json;
use crate::measure::{self, Accounts, Cost, Histogram, Machine, micros};

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// `echo`, `fanout` or `idle`.
    pub workload: &'static str,
    /// What was measured.
    pub target: String,
    /// How.
    pub options: Json,
    /// Messages in the measured interval.
    pub messages: u64,
    /// What the interval cost.
    pub cost: Cost,
    /// Threads of the generator.
    pub threads: usize,
    /// Latencies in nanoseconds, in the measured interval. Empty for a workload without messages.
    pub latency: Histogram,
    /// What became of every message of the whole run.
    pub accounts: Accounts,
    /// Further findings: name and value.
    pub findings: Vec<(&'static str, Json)>,
}

impl Report {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.cost.elapsed.as_secs_f64()
    }

    /// What makes the result doubtful, in words.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = measure::doubts(&self.cost, &self.accounts);
        if measure::generator_was_bottleneck(&self.cost) {
            doubts.push("the generator was the bottleneck: the server can do more than this".to_owned());
        }
        doubts
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Json {
        let findings = self.findings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Json::object([
            ("workload", self.workload.into()),
            ("target", self.target.as_str().into()),
            ("options", self.options.clone()),
            ("machine", Machine::this().to_json()),
            ("messages", self.messages.into()),
            ("messages_per_second", self.rate().into()),
            ("latency_us", latency_json(&self.latency)),
            ("interval", self.cost.to_json(self.messages)),
            ("accounts", self.accounts.to_json()),
            ("findings", Json::Object(findings)),
            ("doubts", Json::List(self.doubts().iter().map(|doubt| doubt.as_str().into()).collect())),
        ])
    }

    /// The report as lines of text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{} {} ({:.1} s)\n", self.workload, self.target, self.cost.elapsed.as_secs_f64());
        if self.messages > 0 {
            let _ = writeln!(text, "  messages     {} ({:.0} a second)", self.messages, self.rate());
        }
        if self.latency.count() > 0 {
            let at = |percent| self.latency.percentile(percent) as f64 / 1e3;
            let (p50, p99, p999, max) = (at(50.0), at(99.0), at(99.9), self.latency.max() as f64 / 1e3);
            let _ = writeln!(text, "  latency      p50 {p50:.1}  p99 {p99:.1}  p99.9 {p999:.1}  max {max:.1} us");
        }
        if let Some(server) = self.cost.server {
            let _ = write!(text, "  server       {:.1} % of a core", self.cost.share(server.cpu) * 100.0);
            if let Some(us) = self.cost.server_us_per(self.messages).filter(|us| us.is_finite()) {
                let _ = write!(text, ", {us:.3} us per message");
            }
            let resident = server.resident_bytes as f64 / f64::from(1 << 20);
            let _ = writeln!(text, ", {resident:.1} MiB");
        }
        let _ = write!(text, "  generator    {:.1} % of a core", self.cost.share(self.cost.own_cpu) * 100.0);
        if self.messages > 0 {
            let _ = write!(text, ", {:.3} us per message", micros(self.cost.own_cpu) / self.messages as f64);
        }
        text.push('\n');
        let accounts = &self.accounts;
        let _ = writeln!(
            text,
            "  accounts     {} of {} arrived, {} lost, {} repeated, {} out of order, {} corrupted, {} connections ended{}",
            accounts.arrived,
            accounts.expected,
            accounts.lost,
            accounts.repeated,
            accounts.out_of_order,
            accounts.corrupted,
            accounts.ended,
            accounts.ended_reason.as_ref().map_or(String::new(), |reason| format!(" (first: {reason})")),
        );
        for (name, value) in &self.findings {
            let _ = writeln!(text, "  {name:<12} {value}");
        }
        for doubt in self.doubts() {
            let _ = writeln!(text, "  DOUBT        {doubt}");
        }
        text
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
        ("max", (latency.max() as f64 / 1e3).into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::ServerCost;
    use std::time::Duration;

    fn report() -> Report {
        let mut latency = Histogram::default();
        (1..=1000).for_each(|us| latency.record(us * 1000));
        Report {
            workload: "echo",
            target: "ws://h/echo".to_owned(),
            options: Json::object([("connections", 1u64.into())]),
            messages: 1000,
            cost: Cost {
                elapsed: Duration::from_secs(2),
                server: Some(ServerCost { cpu: Duration::from_millis(10), ..ServerCost::default() }),
                own_cpu: Duration::from_millis(20),
                ..Cost::default()
            },
            threads: 1,
            latency,
            accounts: Accounts { expected: 1000, arrived: 1000, ..Accounts::default() },
            findings: vec![("extra", 7u64.into())],
        }
    }

    #[test]
    fn a_clean_report_raises_no_doubt_and_says_its_figures() {
        let report = report();
        assert!(report.doubts().is_empty());
        let text = report.to_text();
        for words in ["1000 (500 a second)", "p99.9", "10.000 us per message", "20.000 us", "extra        7"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        let json = report.to_json().to_string();
        assert!(
            json.contains("\"messages_per_second\": 500") && json.contains("\"cpu_us_per_message\": 10,"),
            "{json}"
        );
    }
}
