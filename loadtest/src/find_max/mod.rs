//! `--find-max`: the highest rate that a server sustains within an objective.
//!
//! [`search`] says which rate is to be tried next; here a rate is tried. A run meets the objective if it is not void, all
//! messages arrived once, unchanged and in order, and neither the objective nor any `--slo` was missed.

mod search;

use crate::cli::Job;
use crate::json::Json;
use crate::report::Report;
use crate::slo::Slo;

pub use search::{Found, GREATEST_SHARE, LEAST_SHARE, REPEATS, RESOLUTION, Search, Step, Trial, search};

/// Where the search begins if the workload was given no rate, in messages a second.
const BEGIN: f64 = 1000.0;

/// What a search came to.
#[derive(Clone, Debug)]
pub struct FindMax {
    /// The objective.
    pub objective: String,
    /// The search.
    pub search: Search,
    /// The last run at the highest rate that was met; if none was, the last run of all.
    pub report: Report,
}

/// Searches with runs of a job. `progress` is told of each.
///
/// # Errors
/// If the workload has no rate, or one of 0, or the first run cannot run.
pub fn run(job: &Job, slo: &Slo, progress: impl FnMut(&Step)) -> Result<FindMax, String> {
    let begin = job.workload.rate().unwrap_or(BEGIN);
    if job.workload.at_rate(begin).is_none() {
        return Err("--find-max: this workload has no rate to search".to_owned());
    }
    if begin <= 0.0 {
        return Err("--find-max: the search begins at --rate, which must be above 0".to_owned());
    }
    let mut load = job.load.clone();
    load.slos.insert(0, slo.clone());
    let mut met: Vec<(f64, Report)> = Vec::new();
    let mut last = None;
    // Loads of whole rooms have not all rates: what is told is what is run.
    let real = |rate: f64| job.workload.at_rate(rate).and_then(|workload| workload.rate()).unwrap_or(rate);
    let probe = |rate: f64| {
        let workload = job.workload.at_rate(rate).ok_or("this workload has no rate")?;
        let report = workload.run(&job.place, &load)?;
        let trial = trial(&report);
        if matches!(trial, Trial::Met(_)) {
            met.push((rate, report.clone()));
        }
        last = Some(report);
        Ok(trial)
    };
    let search = search(begin, real, probe, progress)?;
    // Not the highest that was met: a single lucky run above the result is not the result's.
    let at_result = met.into_iter().rfind(|(rate, _)| search.found.rate() == Some(*rate)).map(|(_, report)| report);
    let report = at_result.or(last).expect("a search tries at least one rate");
    Ok(FindMax { objective: slo.to_string(), search, report })
}

/// What a run came to, with the figures that say it.
fn trial(report: &Report) -> Trial {
    let words = report.verdicts.iter().map(|verdict| format!("{}: {}", verdict.slo, verdict.measured));
    let words = words.collect::<Vec<_>>().join(", ");
    if let Some(void) = report.voids.first() {
        Trial::Void(void.clone())
    } else if !report.accounts.are_clean() {
        Trial::Missed(format!("{}; {words}", report.accounts.faults()))
    } else if report.verdicts.iter().all(|verdict| verdict.is_met) {
        Trial::Met(words)
    } else {
        Trial::Missed(words)
    }
}

impl FindMax {
    /// What was searched, every run of it, and the report of the result.
    pub fn to_json(&self) -> Json {
        Json::object([("find_max", self.search.to_json(&self.objective)), ("report", self.report.to_json())])
    }

    /// The report of the result, and the result in a line.
    pub fn to_text(&self) -> String {
        format!("{}find-max {}: {}\n", self.report.to_text(), self.objective, self.search.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{CommandLine, Task};
    use crate::report::html::Page;
    use crate::report::html::of_report::tests::report;

    fn judged(slos: &[&str], change: impl FnOnce(&mut Report)) -> Trial {
        let slos: Vec<Slo> = slos.iter().map(|text| Slo::parse(text).unwrap()).collect();
        // p50 is 20 us, p99 ten times that.
        let mut report = report(20);
        change(&mut report);
        report.judge(&slos);
        trial(&report)
    }

    #[test]
    fn a_run_meets_it_if_all_objectives_are_met_and_all_messages_arrived() {
        let met = judged(&["p99<1ms", "p50<1ms"], |_| ());
        assert!(matches!(&met, Trial::Met(words) if words == "p99<1ms: 200 us, p50<1ms: 20.0 us"), "{met:?}");
        let missed = judged(&["p99<1ms", "p50<1us"], |_| ());
        assert!(matches!(&missed, Trial::Missed(words) if words.contains("p50<1us: 20.0 us")), "{missed:?}");
        let lost = judged(&["p99<1ms"], |report| report.accounts.lost = 3);
        assert!(matches!(&lost, Trial::Missed(words) if words.contains("3 lost")), "{lost:?}");
    }

    #[test]
    fn a_search_that_has_no_rate_to_begin_with_is_refused() {
        for (arguments, words) in
            [("fanout ws://127.0.0.1:1 --rate 0", "above 0"), ("idle ws://127.0.0.1:1", "no rate")]
        {
            let arguments = format!("{arguments} --find-max loss<=0%");
            let line = CommandLine::parse(&arguments.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap();
            let Task::FindMax(job, slo) = line.task else { panic!("no search") };
            let fault = run(&job, &slo, |_| ()).unwrap_err();
            assert!(fault.contains(words), "{fault}");
        }
    }

    #[test]
    fn a_void_run_is_void_whatever_it_missed() {
        let void = judged(&["p50<1us"], |report| report.voids.push("late".to_owned()));
        assert_eq!(void, Trial::Void("late".to_owned()));
    }

    #[test]
    fn the_page_of_a_search_says_its_result_first_and_each_of_its_runs() {
        let search = search(
            10.0,
            |rate| rate,
            |rate| Ok(if rate < 15.0 { judged(&["p99<1ms"], |_| ()) } else { Trial::Missed("p99 9 ms".into()) }),
            |_| (),
        );
        let found = FindMax { objective: "p99<1ms".to_owned(), search: search.unwrap(), report: report(20) };
        let html = Page::from(&found).render();
        let result = html.find("<b>MET</b> <span>14.77 a second are sustained; 15.42 are not").expect("the result");
        assert!(result < html.find("messages a second").unwrap());
        assert_eq!(
            html.matches("<tr class=\"missed\">").count() + html.matches("<tr class=\"met\">").count(),
            found.search.steps.len()
        );
        assert!(
            found.to_text().ends_with("find-max p99<1ms: 14.77 a second are sustained; 15.42 are not\n"),
            "{}",
            found.to_text()
        );
    }
}
