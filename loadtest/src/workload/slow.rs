//! `slow`: do the others suffer from subscribers that read slowly?
//!
//! The same [`fanout`](super::fanout) runs by turns without and beside slow subscribers, some times each, so that what
//! else the machine does meets both kinds of run. The prompt subscribers are as many in both, and what they get is
//! what is measured: the 99th percentile beside slow ones over the one without. The slow ones read at a steady pace that
//! is below what is published, in small pieces and with a small receive buffer, as a phone does behind a thin line;
//! the server may end them or skip what it cannot keep for them, and both are told beside the result.
//!
//! The report is that of the median run beside slow ones. Accounts are of all runs together, so that no fault of any is
//! hidden, and a run that does not count makes the whole void. A run that cannot run, behind others that could, is a
//! fault and ends the rounds.
//!
//! Where the defaults come from: 100 publishes a second of 512 bytes are 51 KB/s, a busy market or game feed; a reader of
//! 20 KB/s, an old phone's line (EDGE has some 25 KB/s), falls behind it by 31 KB each second. One subscriber in ten is
//! slow.

use super::fanout::{FanoutOptions, Pace};
use super::{Kind, Options, Place};
use crate::cli::Flags;
use crate::json::Json;
use crate::report::Report;
use crate::run::Load;

/// `slow`, on the command line.
pub const KIND: Kind = Kind {
    name: "slow",
    about: "do the others suffer from subscribers that read slowly?",
    help: "\
    --subscribers N       subscribers, the slow ones included [500]
    --slow-share S        share of them that is slow [10%]
    --slow-bytes-per-second B   what each of those reads; 0 is nothing [20_000]
    --rate R              publishes a second [100]
    --bytes N             payload bytes, at least 44 [512]
    --rounds N            runs of each kind, by turns; --seconds is of each run [3]
",
    has_adapter: true,
    read: |flags| Ok(Box::new(SlowOptions::read(flags)?)),
};

/// A fanout with and without slow subscribers.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowOptions {
    /// Those that read as fast as it comes.
    pub prompt: usize,
    /// Those that do not.
    pub slow: usize,
    /// What each of those reads.
    pub slow_bytes_per_second: u64,
    /// Publishes a second.
    pub rate: f64,
    /// Bytes of a payload.
    pub bytes: usize,
    /// Runs of each kind.
    pub rounds: usize,
}

impl SlowOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let subscribers = flags.at_least_one("subscribers", 500)?;
        let share = flags.share("slow-share", 0.1)?;
        let slow = (subscribers as f64 * share).round() as usize;
        if slow == 0 || slow == subscribers {
            let which = if slow == 0 { "none" } else { "all" };
            return Err(format!("--slow-share {share}: {which} of {subscribers} subscribers would be slow"));
        }
        Ok(Self {
            prompt: subscribers - slow,
            slow,
            slow_bytes_per_second: flags.number("slow-bytes-per-second")?.unwrap_or(20_000),
            rate: flags.above_zero("rate", 100.0)?,
            bytes: flags.payload_bytes("bytes", 512)?,
            rounds: flags.at_least_one("rounds", 3)?,
        })
    }

    /// The fanout of a run, on a topic of its own: what the last run's slow ones have not read is not this one's.
    fn fanout(&self, round: usize, slow: usize) -> FanoutOptions {
        FanoutOptions {
            topic: format!("slow.{slow}.{round}"),
            subscribers: self.prompt,
            slow,
            slow_bytes_per_second: self.slow_bytes_per_second,
            pace: Pace::Rate(self.rate),
            bytes: self.bytes,
        }
    }

    fn to_json(&self) -> Json {
        Json::object([
            ("subscribers", (self.prompt + self.slow).into()),
            ("slow", self.slow.into()),
            ("slow_bytes_per_second", self.slow_bytes_per_second.into()),
            ("rate", self.rate.into()),
            ("bytes", self.bytes.into()),
            ("rounds", self.rounds.into()),
        ])
    }
}

impl Options for SlowOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let (mut without, mut beside) = (Vec::new(), Vec::new());
        let mut fault = None;
        'rounds: for round in 0..self.rounds {
            for (reports, slow) in [(&mut without, 0), (&mut beside, self.slow)] {
                match self.fanout(round, slow).run(place, load) {
                    Ok(report) => reports.push(report),
                    Err(reason) if round == 0 => return Err(reason),
                    Err(reason) => {
                        fault = Some(format!("round {} could not run: {reason}", round + 1));
                        break 'rounds;
                    }
                }
            }
        }
        let mut report = join(without, beside, self.to_json());
        fault.iter().for_each(|fault| report.accounts.count_end(fault));
        report.doubts.extend(fault);
        Ok(report)
    }

    fn rate(&self) -> Option<f64> {
        Some(self.rate)
    }

    fn at_rate(&self, rate: f64) -> Option<Box<dyn Options>> {
        Some(Box::new(Self { rate, ..self.clone() }))
    }
}

fn p99(report: &Report) -> u64 {
    report.latency().percentile(99.0)
}

fn micros(nanos: u64) -> Json {
    (nanos as f64 / 1e3).into()
}

/// One report of all runs.
fn join(without: Vec<Report>, mut beside: Vec<Report>, options: Json) -> Report {
    let p99s = [&without, &beside].map(|reports| reports.iter().map(p99).collect::<Vec<_>>());
    let [one, other] = p99s.each_ref().map(|p99s| median(p99s));
    let ratios = p99s[0].iter().zip(&p99s[1]).map(|(without, beside)| *beside as f64 / (*without).max(1) as f64);
    let ratios: Vec<f64> = ratios.collect();
    let (least, most) =
        ratios.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), &ratio| (least.min(ratio), most.max(ratio)));
    let all = || {
        without.iter().map(|run| ("without slow ones", run)).chain(beside.iter().map(|run| ("beside slow ones", run)))
    };
    let words = |of: fn(&Report) -> &[String]| -> Vec<String> {
        all().flat_map(|(kind, run)| of(run).iter().map(move |words| format!("{kind}: {words}"))).collect()
    };
    let (voids, doubts) = (words(|run| &run.voids), words(|run| &run.doubts));
    let mut accounts = beside[0].accounts.clone();
    all()
        .filter(|(_, run)| !std::ptr::eq(*run, &raw const beside[0]))
        .for_each(|(_, run)| accounts.merge(&run.accounts));

    let median_run = beside.iter().position(|run| p99(run) == other).unwrap_or_default();
    let mut report = beside.swap_remove(median_run);
    let list = |p99s: &[u64]| Json::List(p99s.iter().copied().map(micros).collect());
    report.findings.extend([
        ("p99_us_without_slow", list(&p99s[0])),
        ("p99_us_beside_slow", list(&p99s[1])),
        ("p99_ratio", (other as f64 / one.max(1) as f64).into()),
        ("p99_ratio_least", least.into()),
        ("p99_ratio_most", most.into()),
    ]);
    (report.voids, report.doubts, report.accounts) = (voids, doubts, accounts);
    (report.workload, report.options) = ("slow", options);
    report
}

/// The middle one; of an even number the lower of both.
fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<SlowOptions, String> {
        SlowOptions::read(&mut Flags::split(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap())
    }

    #[test]
    fn the_prompt_ones_are_as_many_with_and_without_slow_ones() {
        let options = read("--subscribers 200 --slow-share 25%").unwrap();
        assert_eq!((options.prompt, options.slow), (150, 50));
        let (without, beside) = (options.fanout(1, 0), options.fanout(1, options.slow));
        assert_eq!((without.subscribers, without.slow), (150, 0));
        assert_eq!((beside.subscribers, beside.slow, beside.slow_bytes_per_second), (150, 50, 20_000));
        assert_ne!(without.topic, beside.topic);
    }

    #[test]
    fn some_are_slow_and_some_are_not() {
        assert!(read("--subscribers 10 --slow-share 1%").unwrap_err().contains("none of 10"));
        assert!(read("--subscribers 10 --slow-share 100%").unwrap_err().contains("all of 10"));
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!((median(&[5]), median(&[9, 1]), median(&[9, 1, 4])), (5, 1, 4));
    }
}
