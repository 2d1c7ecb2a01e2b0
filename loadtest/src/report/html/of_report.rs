//! The page of a run.

use super::chart::COLORS;
use super::table::HALF;
use super::units::{bytes, grouped, nanoseconds, short_number, three_digits};
use super::{
    Axis, Bar, Body, Cell, Chart, FactGroup, Headline, HeatMap, Line, Notice, Page, Panel, Row, Scale, Slice, Stroke,
    Table, Tone, Unit, Width,
};
use crate::json::Json;
use crate::measure::{CpuSample, Facts, Histogram, Timeline, bucket_bounds, micros};
use crate::report::Report;

/// Percentiles of the table.
const PERCENTS: [f64; 6] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99];

/// A report's picture of latency over time, of its first series; none if nothing was measured.
pub fn latency_over_time(report: &Report) -> Option<HeatMap> {
    heat_map(&report.timeline, 0)
}

impl From<&Report> for Page {
    fn from(report: &Report) -> Self {
        let elapsed = report.cost.elapsed;
        let early = if elapsed + report.time / 20 < report.time {
            format!(" of {:.1} s: it ended early", report.time.as_secs_f64())
        } else {
            String::new()
        };
        Self {
            title: format!("{} against {}", report.workload, report.target),
            subtitle: format!(
                "{:.1} s measured{early}, adapter {}, {}",
                elapsed.as_secs_f64(),
                report.adapter,
                report.facts.started()
            ),
            notices: notices(report),
            headlines: headlines(report),
            panels: panels(report),
            facts: facts(&report.facts, &report.options),
        }
    }
}

/// What is said before any figure: what is worst comes first.
fn notices(report: &Report) -> Vec<Notice> {
    let notice = |tone, text: &dyn std::fmt::Display| Notice { tone, text: text.to_string() };
    let voids = report.voids.iter().map(|void| notice(Tone::Void, void));
    let verdict = |is_met: bool| {
        let tone = if is_met { Tone::Met } else { Tone::Missed };
        report
            .verdicts
            .iter()
            .filter(move |one| one.is_met == is_met)
            .map(move |one| notice(tone, &format!("{} (measured: {})", one.slo, one.measured)))
    };
    let faults = (!report.accounts.are_clean()).then(|| report.accounts.faults());
    let faults = faults.iter().map(|fault| notice(Tone::Fault, fault)).collect::<Vec<_>>();
    let doubts = report.doubts.iter().map(|doubt| notice(Tone::Doubt, doubt));
    voids.chain(faults).chain(verdict(false)).chain(doubts).chain(verdict(true)).collect()
}

fn headlines(report: &Report) -> Vec<Headline> {
    let headline = |label: &str, value: String, detail: String| Headline { label: label.to_owned(), value, detail };
    let cost = &report.cost;
    let mut headlines = Vec::new();
    if report.messages > 0 {
        let all = format!("{} in all", grouped(report.messages));
        headlines.push(headline("messages a second", grouped(report.rate().round() as u64), all));
    }
    if let Some(series) = report.series.first().filter(|series| series.corrected.count() > 0) {
        for percent in [50.0, 99.0, 99.9] {
            let at = |histogram: &Histogram| nanoseconds(histogram.percentile(percent) as f64);
            let detail = format!("uncorrected {}", at(&series.uncorrected));
            headlines.push(headline(&format!("p{percent}"), at(&series.corrected), detail));
        }
        let max = nanoseconds(series.corrected.max() as f64);
        headlines.push(headline("slowest", max, format!("of {}", grouped(series.corrected.count()))));
    }
    if let Some(server) = &cost.server {
        let share = format!("{:.1} % of a core", cost.share(server.cpu) * 100.0);
        let resident = bytes(server.resident_bytes);
        headlines.push(match cost.server_us_per(report.messages).filter(|us| us.is_finite()) {
            Some(us) => {
                headline("server CPU per message", format!("{} us", three_digits(us)), format!("{share}, {resident}"))
            }
            None => headline("server CPU", share, resident),
        });
    }
    let share = format!("{:.1} % of a core", cost.share(cost.own_cpu) * 100.0);
    let each = micros(cost.own_cpu) / report.messages as f64;
    let detail = if each.is_finite() { format!("{} us per message", three_digits(each)) } else { String::new() };
    headlines.push(headline("generator", share, detail));
    headlines
}

fn panels(report: &Report) -> Vec<Panel> {
    let panel =
        |title: &str, note: &str, body, width| Panel { title: title.to_owned(), note: note.to_owned(), body, width };
    let mut panels = Vec::new();
    let measured: Vec<_> = report.series.iter().filter(|series| series.corrected.count() > 0).collect();
    if !measured.is_empty() {
        let note = "Corrected is from when each message was due, uncorrected from when it was handed to its connection. \
                    Where the lines part, the generator handed messages over late; those that wait on a connection behind \
                    others that the server does not take wait in both.";
        let curves = measured.iter().enumerate().flat_map(|(index, series)| {
            let of = |kind: &str| if measured.len() > 1 { format!("{}, {kind}", series.name) } else { kind.to_owned() };
            [
                curve(of("corrected"), 2 * index, Stroke::Solid, &series.corrected),
                curve(of("uncorrected"), 2 * index + 1, Stroke::Dashed, &series.uncorrected),
            ]
        });
        panels.push(panel("Latency by percentile", note, Body::Chart(percentiles(curves.collect())), Width::Half));
        let table = percentile_table(report);
        let width = if table.columns.len() > HALF { Width::Full } else { Width::Half };
        panels.push(panel("Percentiles", "", Body::Table(table), width));
    }
    for (index, name) in report.timeline.names().iter().enumerate() {
        if let Some(map) = heat_map(&report.timeline, index) {
            let note = "Time to the right, latency from when each message was due upward; the stronger the colour, the more \
                        messages. A message stands where it was due, so a stall is a slope that falls.";
            let title =
                if measured.len() > 1 { format!("Latency over time: {name}") } else { "Latency over time".to_owned() };
            panels.push(panel(&title, note, Body::Heat(map), Width::Full));
        }
    }
    if let Some(spread) = &report.spread {
        let line = curve("from the first arrival to the last".to_owned(), 2, Stroke::Solid, spread);
        let note = "Of each publish: how much later the last subscriber had it than the first.";
        panels.push(panel("First to last", note, Body::Chart(percentiles(vec![line])), Width::Half));
    }
    if let Some(chart) = throughput(&report.timeline) {
        panels.push(panel("Throughput", "Messages by when they arrived.", Body::Chart(chart), Width::Half));
    }
    if let Some(chart) = cpu_over_time(report.timeline.samples()) {
        panels.push(panel(
            "CPU over time",
            "Shares of one core; a server of several threads may use more.",
            Body::Chart(chart),
            Width::Half,
        ));
    }
    panels.push(panel("CPU", "Of the measured interval.", Body::Bars(cpu_bars(report)), Width::Half));
    panels.push(panel("What became of every message", "", Body::Table(accounts(report)), Width::Half));
    if !report.findings.is_empty() {
        let rows = report.findings.iter().flat_map(|(name, value)| flatten(name, value));
        let rows = rows.map(|(name, value)| Row { cells: vec![name, value], tone: None }).collect();
        let table = Table { columns: vec!["finding".to_owned(), "value".to_owned()], rows };
        panels.push(panel("Further findings", "", Body::Table(table), Width::Half));
    }
    panels
}

/// A histogram's curve of percentiles as a line.
pub fn curve(name: String, color: usize, stroke: Stroke, histogram: &Histogram) -> Line {
    // The last point is 100 %, which lies nowhere on this axis: it is drawn where the last value has its share.
    let last = 100.0 - 100.0 / histogram.count().max(1) as f64;
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (percent, value) in histogram.percentile_curve() {
        let point = (percent.min(last), value as f64);
        match points.last_mut() {
            // Of several values at the end the greatest is told.
            Some(end) if end.0 >= point.0 => end.1 = end.1.max(point.1),
            _ => points.push(point),
        }
    }
    Line { name, color, stroke, points }
}

/// Curves of percentiles over the axis of nines, as far as the line with most values goes.
pub fn percentiles(lines: Vec<Line>) -> Chart {
    let last = lines.iter().flat_map(|line| line.points.last()).map(|point| point.0).fold(90.0, f64::max);
    let nines = -(1.0 - last / 100.0).max(1e-12).log10();
    let values = lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let summary = lines.iter().map(|line| {
        let ends = line.points.first().zip(line.points.last());
        let ends = ends.map_or(String::new(), |(first, last)| {
            format!(" from {} to {}", nanoseconds(first.1), nanoseconds(last.1))
        });
        format!("{}{ends}", line.name)
    });
    let summary = format!("Latency by percentile: {}.", summary.collect::<Vec<_>>().join("; "));
    Chart {
        x: Axis {
            label: "percentile; each further nine is equally long".to_owned(),
            scale: Scale::Nines { nines },
            unit: Unit::Percent,
        },
        y: Axis { label: "latency".to_owned(), scale: Scale::around(values), unit: Unit::Nanoseconds },
        lines,
        summary,
    }
}

fn percentile_table(report: &Report) -> Table {
    let mut columns = vec!["percentile".to_owned()];
    let mut histograms = Vec::new();
    for series in report.series.iter().filter(|series| series.corrected.count() > 0) {
        columns.extend([format!("{}, corrected", series.name), format!("{}, uncorrected", series.name)]);
        histograms.extend([&series.corrected, &series.uncorrected]);
    }
    let further = [("first to last", report.spread.as_ref()), ("generator late by", Some(&report.lateness))];
    for (name, histogram) in further {
        if let Some(histogram) = histogram.filter(|histogram| histogram.count() > 0) {
            columns.push(name.to_owned());
            histograms.push(histogram);
        }
    }
    let row = |name: String, of: &dyn Fn(&Histogram) -> String| {
        let cells = std::iter::once(name).chain(histograms.iter().map(|histogram| of(histogram))).collect();
        Row { cells, tone: None }
    };
    let at = |percent| move |histogram: &Histogram| nanoseconds(histogram.percentile(percent) as f64);
    let mut rows: Vec<Row> = PERCENTS.iter().map(|percent| row(format!("p{percent}"), &at(*percent))).collect();
    rows.push(row("slowest".to_owned(), &|histogram| nanoseconds(histogram.max() as f64)));
    rows.push(row("mean".to_owned(), &|histogram| nanoseconds(histogram.mean())));
    rows.push(row("count".to_owned(), &|histogram| grouped(histogram.count())));
    Table { columns, rows }
}

/// The heat map of a series; none if nothing was measured.
fn heat_map(timeline: &Timeline, series: usize) -> Option<HeatMap> {
    if series >= timeline.names().len() {
        return None;
    }
    let mut slices = Vec::new();
    for slice in 0..timeline.slices() {
        let counts = timeline.latencies(slice, series);
        let used = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let cells: Vec<Cell> = used
            .map(|(bucket, &count)| {
                let (low, high) = bucket_bounds(bucket);
                // The last bucket has no end, and the first none that a logarithm shows.
                let (low, high) = (low.max(64) as f64, if high == u64::MAX { low as f64 * 1.125 } else { high as f64 });
                Cell { low_ns: low, high_ns: high, count }
            })
            .collect();
        let at = |percent| timeline.percentile(slice, series, percent) as f64;
        let from = timeline.width() * slice as u32;
        slices.push(Slice {
            from_s: from.as_secs_f64(),
            to_s: (from + timeline.width_of(slice)).as_secs_f64(),
            lines_ns: (!cells.is_empty()).then(|| [at(50.0), at(99.0), timeline.max(slice, series) as f64]),
            cells,
        });
    }
    slices.iter().any(|slice| !slice.cells.is_empty()).then_some(HeatMap { slices })
}

/// An axis of time up to so many seconds.
fn time_axis(seconds: f64) -> Axis {
    Axis {
        label: "since the measurement began".to_owned(),
        scale: Scale::Linear { from: 0.0, to: seconds.max(0.001) },
        unit: Unit::Seconds,
    }
}

fn throughput(timeline: &Timeline) -> Option<Chart> {
    let mut points = Vec::new();
    let mut at = 0.0;
    for (slice, &messages) in timeline.messages().iter().enumerate() {
        let width = timeline.width_of(slice).as_secs_f64();
        points.push((at + width / 2.0, messages as f64 / width));
        at += width;
    }
    let (least, greatest) = (
        points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min),
        points.iter().map(|point| point.1).fold(0.0, f64::max),
    );
    if greatest == 0.0 {
        return None;
    }
    let name = "messages a second".to_owned();
    Some(Chart {
        x: time_axis(at),
        y: Axis { label: name.clone(), scale: Scale::from_zero(greatest), unit: Unit::Number },
        lines: vec![Line { name, color: 0, stroke: Stroke::Solid, points }],
        summary: format!(
            "Throughput over time: from {} to {} messages a second.",
            short_number(least),
            short_number(greatest)
        ),
    })
}

fn cpu_over_time(samples: &[CpuSample]) -> Option<Chart> {
    let last = samples.last()?;
    let line = |name: String, color: usize, stroke, of: &dyn Fn(&CpuSample) -> Option<f64>| {
        // A sample is of the time since the one before it: its middle is where it stands.
        let begins = std::iter::once(0.0).chain(samples.iter().map(|sample| sample.at.as_secs_f64()));
        let points = begins
            .zip(samples)
            .filter_map(|(begin, sample)| Some((f64::midpoint(begin, sample.at.as_secs_f64()), of(sample)? * 100.0)));
        Line { name, color, stroke, points: points.collect() }
    };
    let mut lines = Vec::new();
    if samples.iter().any(|sample| sample.server.is_some()) {
        lines.push(line("server".to_owned(), 0, Stroke::Solid, &|sample| sample.server));
    }
    lines.push(line("generator".to_owned(), 1, Stroke::Dashed, &|sample| Some(sample.own)));
    // More cores than there are colours cannot be told apart: the bars have them all.
    for (index, core) in last.cores.iter().enumerate().take(COLORS - 2) {
        lines.push(line(format!("core {}", core.core), 2 + index, Stroke::Dotted, &|sample| {
            Some(sample.cores.get(index)?.busy)
        }));
    }
    let greatest = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(100.0, f64::max);
    let means = lines.iter().map(|line| {
        let mean = line.points.iter().map(|point| point.1).sum::<f64>() / line.points.len().max(1) as f64;
        format!("{} {mean:.0} %", line.name)
    });
    let summary = format!("CPU over time; on average {}.", means.collect::<Vec<_>>().join(", "));
    Some(Chart {
        x: time_axis(last.at.as_secs_f64()),
        y: Axis { label: "share of a core".to_owned(), scale: Scale::from_zero(greatest), unit: Unit::Percent },
        lines,
        summary,
    })
}

fn cpu_bars(report: &Report) -> Vec<Bar> {
    let cost = &report.cost;
    let bar = |name: String, share: f64, color, more: String| Bar {
        name,
        share,
        value: format!("{:.1} %{more}", share * 100.0),
        color,
    };
    let mut bars = Vec::new();
    if let Some(server) = &cost.server {
        let threads = format!(" of a core, {} threads", server.threads);
        bars.push(bar("server".to_owned(), cost.share(server.cpu), 0, threads));
    }
    bars.push(bar("generator".to_owned(), cost.share(cost.own_cpu), 1, " of a core".to_owned()));
    if cost.server.is_some() {
        bars.push(bar("other processes".to_owned(), cost.share(cost.others_cpu), 5, " of a core".to_owned()));
    }
    for core in &cost.cores {
        let stolen =
            if core.stolen >= 0.0005 { format!(", {:.1} % stolen", core.stolen * 100.0) } else { String::new() };
        bars.push(bar(format!("core {}", core.core), core.busy, 2, format!(" busy{stolen}")));
    }
    bars
}

fn accounts(report: &Report) -> Table {
    let accounts = &report.accounts;
    let fault = |count: u64| (count > 0).then_some(Tone::Fault);
    let short = (accounts.arrived != accounts.expected).then_some(Tone::Fault);
    let rows = [
        ("expected", accounts.expected, None),
        ("arrived", accounts.arrived, short),
        ("lost", accounts.lost, fault(accounts.lost)),
        ("repeated", accounts.repeated, fault(accounts.repeated)),
        ("out of order", accounts.out_of_order, fault(accounts.out_of_order)),
        ("corrupted", accounts.corrupted, fault(accounts.corrupted)),
        ("misrouted", accounts.misrouted, fault(accounts.misrouted)),
        ("not of this run", accounts.unknown, None),
        ("connections ended", accounts.ended, fault(accounts.ended)),
    ];
    let mut rows: Vec<Row> = rows
        .into_iter()
        .map(|(name, count, tone)| Row { cells: vec![name.to_owned(), grouped(count)], tone })
        .collect();
    if let Some(reason) = &accounts.ended_reason {
        rows.push(Row { cells: vec!["first to end".to_owned(), reason.clone()], tone: Some(Tone::Fault) });
    }
    Table { columns: vec!["messages of the whole run".to_owned(), "count".to_owned()], rows }
}

/// Every fact of a run, and how its workload was set.
pub(super) fn facts(facts: &Facts, options: &Json) -> Vec<FactGroup> {
    let rows = facts.rows().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let settings = match options {
        Json::Object(members) => members.iter().flat_map(|(name, value)| flatten(name, value)).collect(),
        other => vec![("options".to_owned(), other.to_string())],
    };
    vec![
        FactGroup { title: "run and machine".to_owned(), facts: rows },
        FactGroup { title: "workload".to_owned(), facts: settings },
    ]
}

/// A value as rows of name and text: an object's members have its name before theirs.
fn flatten(name: &str, value: &Json) -> Vec<(String, String)> {
    let name = name.replace('_', " ");
    match value {
        Json::Object(members) => {
            members.iter().flat_map(|(member, value)| flatten(&format!("{name}: {member}"), value)).collect()
        }
        Json::Text(text) => vec![(name, text.clone())],
        Json::Null => vec![(name, "–".to_owned())],
        other => vec![(name, other.to_string())],
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::measure::{Accounts, Cost, SeriesReport, ServerCost};
    use std::time::Duration;

    /// The report of a second with a thousand messages of this latency and ten times it.
    pub(crate) fn report(latency_us: u64) -> Report {
        let mut corrected = Histogram::default();
        (0..1000).for_each(|index| corrected.record(latency_us * 1000 * if index < 900 { 1 } else { 10 }));
        let mut uncorrected = Histogram::default();
        (0..1000).for_each(|_| uncorrected.record(latency_us * 1000));
        let server = ServerCost { cpu: Duration::from_millis(500), ..ServerCost::default() };
        Report {
            workload: "echo",
            target: "ws://h/<echo>".to_owned(),
            adapter: "path".to_owned(),
            options: Json::object([("connections", 7u64.into()), ("inner", Json::object([("a_b", true.into())]))]),
            facts: Facts::of_run(vec!["ringload".to_owned(), "echo".to_owned()], 42),
            time: Duration::from_secs(1),
            messages: 1000,
            bytes: 64_000,
            cost: Cost { elapsed: Duration::from_secs(1), server: Some(server), ..Cost::default() },
            series: vec![SeriesReport { name: "echo", corrected, uncorrected }],
            spread: None,
            lateness: Histogram::default(),
            accounts: Accounts { expected: 1000, arrived: 1000, ..Accounts::default() },
            timeline: Timeline::default(),
            findings: vec![("late_ticks", 3u64.into())],
            voids: Vec::new(),
            doubts: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    #[test]
    fn corrected_and_uncorrected_stand_side_by_side() {
        let html = Page::from(&report(20)).render();
        let row = html.split(">p99</th>").nth(1).expect("a row").split("</tr>").next().unwrap();
        let cell = |column: &str, value: &str| format!("<td data-column=\"{column}\" class=\"short\">{value}</td>");
        assert!(row.starts_with(&(cell("echo, corrected", "200 us") + &cell("echo, uncorrected", "20.0 us"))), "{row}");
        assert!(html.contains("series c0 solid") && html.contains("series c1 dashed"));
    }

    #[test]
    fn every_fact_and_every_option_of_the_run_is_told() {
        let html = Page::from(&report(20)).render();
        for (name, value) in
            [("command line", "ringload echo"), ("seed", "42"), ("connections", "7"), ("inner: a b", "true")]
        {
            assert!(html.contains(&format!("<dt>{name}</dt><dd>{value}</dd>")), "{name} in {html}");
        }
        assert!(html.contains(
            "<th scope=\"row\" class=\"short\">late ticks</th><td data-column=\"value\" class=\"short\">3</td>"
        ));
        assert!(html.contains("echo against ws://h/&lt;echo&gt;"));
    }

    #[test]
    fn what_is_worst_is_said_first() {
        let mut report = report(20);
        report.voids.push("generator late".to_owned());
        report.doubts.push("others busy".to_owned());
        report.accounts.lost = 4;
        let slos = ["p50<1us", "p99<1s"].map(|text| crate::slo::Slo::parse(text).unwrap());
        report.judge(&slos);
        let html = Page::from(&report).render();
        let at = |words: &str| html.find(words).unwrap_or_else(|| panic!("{words} in {html}"));
        let order = ["generator late", "4 lost", "p50&lt;1us", "others busy", "p99&lt;1s", "messages a second"];
        assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{html}");
    }

    #[test]
    fn a_run_that_ended_early_says_so() {
        let mut report = report(20);
        report.time = Duration::from_secs(10);
        assert!(Page::from(&report).subtitle.contains("1.0 s measured of 10.0 s: it ended early"));
    }

    #[test]
    fn a_curve_ends_where_its_last_value_has_its_share() {
        let line = curve(String::new(), 0, Stroke::Solid, &report(20).series[0].corrected);
        assert_eq!(line.points.last().map(|point| (point.0, (point.1 / 1e3).round())), Some((99.9, 200.0)));
        assert!(line.points.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
