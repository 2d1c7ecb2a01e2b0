//! The page of a comparison: the servers over each other, their figures and what may be said of the differences.

use super::of_report::{curve, facts, percentiles};
use super::{Axis, Body, Chart, Interval, Line, Notice, Page, Panel, Row, Scale, Stroke, Table, Tone, Unit, Width};
use crate::compare::{Comparison, METRICS, Metric, Warnings};
use crate::measure::Histogram;
use crate::report::Report;

/// Dashes that tell servers apart beside their colours.
const STROKES: [Stroke; 3] = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted];

impl From<&Comparison> for Page {
    fn from(comparison: &Comparison) -> Self {
        Self {
            title: format!("{}: {}", comparison.workload, comparison.names.join(", ")),
            subtitle: format!(
                "{} rounds, each of them measured in each, {}",
                comparison.rounds.len(),
                comparison.facts.started()
            ),
            notices: notices(comparison.warnings()),
            headlines: Vec::new(),
            panels: panels(comparison),
            facts: all_facts(comparison),
        }
    }
}

fn notices(warnings: Warnings) -> Vec<Notice> {
    let Warnings { faults, voids, missed, doubts } = warnings;
    let kinds = [(Tone::Void, voids), (Tone::Fault, faults), (Tone::Missed, missed), (Tone::Doubt, doubts)];
    kinds.into_iter().flat_map(|(tone, texts)| texts.into_iter().map(move |text| Notice { tone, text })).collect()
}

fn panels(comparison: &Comparison) -> Vec<Panel> {
    let last = comparison.names.last().map_or("", String::as_str);
    let panel = |title: String, note: &str, body, width| Panel { title, note: note.to_owned(), body, width };
    let mut panels = vec![panel(
        "Medians of all rounds".to_owned(),
        "Below each the least and the greatest of the rounds. Latencies are those of the first series, from when each \
         message was due.",
        Body::Table(medians(comparison)),
        Width::Full,
    )];
    panels.push(panel(
        format!("Ratios to {last}"),
        "Taken within each round; the median of all rounds, and in brackets where the true median lies with 95 % \
         confidence. Where that holds 1, the difference may be chance: noise. Left of the line is less than it.",
        Body::Intervals(ratios(comparison)),
        Width::Full,
    ));
    let curves: Vec<Line> = (0..comparison.names.len()).filter_map(|server| merged_curve(comparison, server)).collect();
    if !curves.is_empty() {
        let note = "Corrected, from when each message was due; all rounds together.";
        panels.push(panel("Latency by percentile".to_owned(), note, Body::Chart(percentiles(curves)), Width::Half));
    }
    let metrics = [(0, "Server CPU per message"), (1, "Messages a second"), (3, "p99")];
    for (metric, title) in metrics.map(|(index, title)| (&METRICS[index], title)) {
        if let Some(chart) = over_rounds(comparison, metric) {
            let note = "Lines that rise and fall together show what drifted on the machine; ratios within a round are \
                        free of it.";
            panels.push(panel(format!("{title}, round by round"), note, Body::Chart(chart), Width::Half));
        }
    }
    panels.push(panel("Every run".to_owned(), "", Body::Table(runs(comparison)), Width::Full));
    panels
}

/// The metrics that any run has.
fn metrics(comparison: &Comparison) -> impl Iterator<Item = &'static Metric> {
    let servers = 0..comparison.names.len();
    METRICS.iter().filter(move |metric| servers.clone().any(|server| comparison.spread(metric, server).is_some()))
}

fn medians(comparison: &Comparison) -> Table {
    let columns = std::iter::once("server".to_owned());
    let columns = columns.chain(metrics(comparison).map(|metric| metric.name.to_owned())).collect();
    let rows = comparison.names.iter().enumerate().map(|(server, name)| {
        let cells = metrics(comparison).map(|metric| match comparison.spread(metric, server) {
            Some(spread) => {
                let (min, max) = (metric.write(spread.min), metric.write(spread.max));
                format!("{}\n{min} to {max}", metric.write(spread.median))
            }
            None => "–".to_owned(),
        });
        let is_void = comparison.rounds.iter().any(|round| is_void(&round[server]));
        Row { cells: std::iter::once(name.clone()).chain(cells).collect(), tone: is_void.then_some(Tone::Void) }
    });
    Table { rows: rows.collect(), columns }
}

fn is_void(result: &Result<Report, String>) -> bool {
    result.as_ref().is_ok_and(|report| !report.voids.is_empty())
}

fn ratios(comparison: &Comparison) -> Vec<Interval> {
    let last = comparison.names.len() - 1;
    let mut intervals = Vec::new();
    for metric in metrics(comparison) {
        for (server, name) in comparison.names.iter().enumerate().take(last) {
            if let Some(ratio) = comparison.ratio(metric, server, last) {
                intervals.push(Interval {
                    name: format!("{}: {name}", metric.name),
                    middle: ratio.median,
                    bounds: ratio.interval,
                    words: metric.tell(&ratio),
                    color: server,
                });
            }
        }
    }
    intervals
}

/// The curve of a server's corrected latencies over all rounds; none if it has none.
fn merged_curve(comparison: &Comparison, server: usize) -> Option<Line> {
    let mut merged = Histogram::default();
    for report in comparison.rounds.iter().filter_map(|round| round[server].as_ref().ok()) {
        if let Some(series) = report.series.first() {
            merged.merge(&series.corrected);
        }
    }
    let stroke = STROKES[server % STROKES.len()];
    (merged.count() > 0).then(|| curve(comparison.names[server].clone(), server, stroke, &merged))
}

fn over_rounds(comparison: &Comparison, metric: &Metric) -> Option<Chart> {
    let rounds = comparison.rounds.len();
    if rounds < 2 {
        return None;
    }
    let (scale, unit) = if metric.unit == "us" { (1e3, Unit::Nanoseconds) } else { (1.0, Unit::Number) };
    let lines = comparison.names.iter().enumerate().map(|(server, name)| {
        let figures = comparison.figures(metric, server).into_iter().enumerate();
        let points = figures.filter_map(|(round, figure)| Some(((round + 1) as f64, figure? * scale))).collect();
        Line { name: name.clone(), color: server, stroke: STROKES[server % STROKES.len()], points }
    });
    let lines: Vec<Line> = lines.collect();
    let greatest = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
    let medians = comparison.names.iter().enumerate().filter_map(|(server, name)| {
        Some(format!("{name} {}", metric.write(comparison.spread(metric, server)?.median)))
    });
    let summary = format!("{} in each round; medians: {}.", metric.name, medians.collect::<Vec<_>>().join(", "));
    (greatest > 0.0).then(|| Chart {
        x: Axis { label: "round".to_owned(), scale: Scale::Linear { from: 1.0, to: rounds as f64 }, unit: Unit::Whole },
        y: Axis { label: metric.name.to_owned(), scale: Scale::from_zero(greatest), unit },
        lines,
        summary,
    })
}

/// Every run, so that a median can be checked.
fn runs(comparison: &Comparison) -> Table {
    let columns = ["run".to_owned()].into_iter().chain(metrics(comparison).map(|metric| metric.name.to_owned()));
    let columns = columns.chain(["said of it".to_owned()]).collect::<Vec<_>>();
    let mut rows = Vec::new();
    for (round, results) in comparison.rounds.iter().enumerate() {
        for (name, result) in comparison.names.iter().zip(results) {
            let mut cells = vec![format!("{} {name}", round + 1)];
            let of = |metric: &Metric| result.as_ref().ok().and_then(metric.of).filter(|value| value.is_finite());
            cells.extend(metrics(comparison).map(|metric| of(metric).map_or("–".to_owned(), |it| metric.write(it))));
            let (tone, words) = said_of(result);
            cells.push(words);
            rows.push(Row { cells, tone });
        }
    }
    Table { columns, rows }
}

/// What is to be said of a run: the worst of it.
fn said_of(result: &Result<Report, String>) -> (Option<Tone>, String) {
    let report = match result {
        Ok(report) => report,
        Err(reason) => return (Some(Tone::Fault), format!("no result: {reason}")),
    };
    if let Some(void) = report.voids.first() {
        return (Some(Tone::Void), format!("VOID: {void}"));
    }
    if !report.accounts.are_clean() {
        return (Some(Tone::Fault), format!("FAULT: {}", report.accounts.faults()));
    }
    if let Some(verdict) = report.verdicts.iter().find(|verdict| !verdict.is_met) {
        return (Some(Tone::Missed), verdict.to_string());
    }
    match report.doubts.first() {
        Some(doubt) => (Some(Tone::Doubt), format!("DOUBT: {doubt}")),
        None => (None, "fine".to_owned()),
    }
}

fn all_facts(comparison: &Comparison) -> Vec<super::FactGroup> {
    let mut groups = facts(&comparison.facts, &comparison.options);
    let first = comparison.rounds.iter().flatten().find_map(|result| result.as_ref().ok());
    if let Some(report) = first {
        // The workload is the same for all; what is said of it stands in each report.
        let mut more = facts(&comparison.facts, &report.options);
        groups.extend(more.pop());
    }
    groups[1].title = "comparison".to_owned();
    groups
}

#[cfg(test)]
mod tests {
    use super::super::of_report::tests::report;
    use super::*;

    fn comparison() -> Comparison {
        let rounds = (0..6_u64).map(|round| {
            let mut slow = report(20 + round);
            slow.voids.extend((round == 2).then(|| "the generator was late".to_owned()));
            vec![Ok(slow), Ok(report(10 + round % 2)), Ok(report(10 + (round + 1) % 2))]
        });
        Comparison {
            workload: "echo",
            names: vec!["slow".to_owned(), "<same>".to_owned(), "last".to_owned()],
            rounds: rounds.collect(),
            options: crate::json::Json::Null,
            facts: report(1).facts,
        }
    }

    #[test]
    fn a_difference_has_its_interval_and_what_may_be_chance_is_called_noise() {
        let html = Page::from(&comparison()).render();
        assert!(html.contains("<dt>p50: slow</dt>") && html.contains(") worse</b>"), "{html}");
        let same = html.split("<dt>p50: &lt;same&gt;</dt>").nth(1).expect("the other server's ratio");
        assert!(same.split("</b>").next().unwrap().ends_with(") noise"), "{same}");
    }

    #[test]
    fn a_void_run_is_said_first_and_marked_in_both_tables() {
        let html = Page::from(&comparison()).render();
        let said = html.find("slow: void in 1 of 6 rounds: the generator was late").expect("it is said");
        assert!(said < html.find("Medians of all rounds").unwrap());
        assert!(html.contains("<tr class=\"void\"><th scope=\"row\" class=\"short\">slow</th>"));
        assert!(html.contains("<tr class=\"void\"><th scope=\"row\" class=\"short\">3 slow</th>"));
        assert_eq!(html.matches("<tr class=\"void\">").count(), 2);
    }

    #[test]
    fn a_run_without_a_result_is_told_and_the_others_count() {
        let mut comparison = comparison();
        comparison.rounds[4][0] = Err("the server died".to_owned());
        let html = Page::from(&comparison).render();
        assert!(html.contains("slow: no result in 1 of 6 rounds: the server died"));
        assert!(html.contains(">no result: the server died</td>"));
        assert_eq!(comparison.ratio(&METRICS[2], 0, 2).map(|ratio| ratio.rounds), Some(5));
    }
}
