//! Tables of records: one per group for docs/performance.md, with what the goals come to, and all servers' figures for
//! benches/records/README.md.

use std::fmt::Write as _;

use super::figures::{Metric, Spread};
use super::record::{Conditions, Measured, Record};
use super::rows::{Against, GROWTHS, Group, Row};
use super::verdict::{Verdict, judge, judge_growth, opponent, ratio};

/// A row and its record, if there is one.
pub(crate) type Recorded = (Row, Option<Record>);

/// The table of a group, with what must hold between its rows and on what it was measured.
pub(crate) fn of_group(group: Group, all: &[Recorded]) -> String {
    let rows: Vec<&Recorded> = all.iter().filter(|(row, _)| row.group == group).collect();
    let mut text = String::new();
    let there: Vec<(&Row, &Record)> = rows.iter().filter_map(|(row, record)| Some((row, record.as_ref()?))).collect();
    if !there.is_empty() {
        text += if group == Group::Idle { IDLE_HEAD } else { HEAD };
        for (row, record) in &there {
            text += &if group == Group::Idle { idle_line(row, record) } else { line(row, record) };
        }
        text.push('\n');
    }
    let mut verdicts: Vec<Verdict> =
        there.iter().flat_map(|(row, record)| judge(row, record)).map(|judged| judged.verdict).collect();
    for growth in GROWTHS.iter().filter(|growth| growth.group == group) {
        let spread = |name: &str| {
            let (row, record) = there.iter().find(|(row, _)| row.name == name)?;
            record.server(row.judged())?.spread(growth.metric)
        };
        let judged = judge_growth(growth, spread(growth.of), spread(growth.over));
        if judged.measured.is_some() {
            let _ = writeln!(text, "{}.\n", judged.tell());
            verdicts.push(judged.verdict);
        }
    }
    text += &tally(&verdicts);
    text += &conditions(&there);
    let missing: Vec<&str> =
        rows.iter().filter(|(_, record)| record.is_none()).map(|(row, _)| row.name.as_str()).collect();
    if !missing.is_empty() {
        let _ = writeln!(text, "Not measured yet: {}.", missing.join(", "));
    }
    text
}

/// How many goals came to what.
fn tally(verdicts: &[Verdict]) -> String {
    let counts = Verdict::ALL.into_iter().filter_map(|verdict| {
        let count = verdicts.iter().filter(|&&found| found == verdict).count();
        (count > 0).then(|| format!("{count} {}", verdict.word()))
    });
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { String::new() } else { format!("Goals: {}.\n\n", counts.join(", ")) }
}

const HEAD: &str = "\
| row | CPU per message | messages a second | p50, p99, p99.9 | what it must show |
|---|---|---|---|---|
";
const IDLE_HEAD: &str = "\
| row | memory per connection | the kernel's, of both ends | what it must show |
|---|---|---|---|
";

fn line(row: &Row, record: &Record) -> String {
    let Some(mine) = record.server(row.judged()) else { return absent_line(row, record, 3) };
    let spread = |metric| mine.spread(metric).map_or_else(|| "–".to_owned(), |spread| figure(metric, &spread));
    let at_least = if mine.generator_bound > 0 { "≥ " } else { "" };
    let of = |metric, against| of(record, mine, metric, against);
    format!(
        "| {}{} | {}{}{} | {at_least}{}{} | {}<br>{}{}<br>{} | {} |\n",
        row.title,
        marks(mine),
        spread(Metric::Cpu),
        of(Metric::Cpu, Against::Best),
        of(Metric::Cpu, Against::Floor),
        spread(Metric::Rate),
        of(Metric::Rate, Against::Best),
        spread(Metric::P50),
        spread(Metric::P99),
        of(Metric::P99, Against::Best),
        spread(Metric::P999),
        goals(row, record),
    )
}

fn idle_line(row: &Row, record: &Record) -> String {
    let Some(mine) = record.server(row.judged()) else { return absent_line(row, record, 2) };
    let spread = |metric| mine.spread(metric).map_or_else(|| "–".to_owned(), |spread| figure(metric, &spread));
    format!(
        "| {}{} | {}{} | {} | {} |\n",
        row.title,
        marks(mine),
        spread(Metric::Memory),
        of(record, mine, Metric::Memory, Against::Best),
        spread(Metric::KernelMemory),
        goals(row, record),
    )
}

fn absent_line(row: &Row, record: &Record, columns: usize) -> String {
    let why =
        record.absent.iter().find(|(name, _)| *name == row.judged()).map_or("it did not take part", |(_, why)| why);
    format!("| {} |{} {} was not measured: {why} |\n", row.title, " – |".repeat(columns), row.judged())
}

fn goals(row: &Row, record: &Record) -> String {
    judge(row, record).iter().map(super::verdict::Judged::tell).collect::<Vec<_>>().join("<br>")
}

/// In a line of its own: `0.86 (0.84 to 0.88) of bun`; nothing if there is nothing to compare with.
fn of(record: &Record, mine: &Measured, metric: Metric, against: Against) -> String {
    let told = opponent(record, metric, against).and_then(|other| {
        let spread = Spread::of_ratio(mine.rounds(metric), other.rounds(metric))?;
        let name = if against == Against::Floor { "the floor" } else { &other.name };
        Some(format!("<br>{} of {name}", ratio(&spread)))
    });
    told.unwrap_or_default()
}

/// `12.3 µs (12.0 to 12.9)`: the unit stands once if it is the same.
fn figure(metric: Metric, spread: &Spread) -> String {
    let [median, low, high] = [spread.median, spread.low, spread.high].map(|value| metric.write(value));
    let unit = |text: &str| text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').to_owned();
    if low == high {
        return median;
    }
    if unit(&median) == unit(&low) && unit(&low) == unit(&high) {
        let number = |text: &str| text.trim_end_matches(&unit(text)).to_owned();
        return format!("{median} ({} to {})", number(&low), number(&high));
    }
    format!("{median} ({low} to {high})")
}

/// What is to be known before a line is believed.
fn marks(server: &Measured) -> String {
    let mut marks = String::new();
    let other_voids = server.void.saturating_sub(server.generator_bound);
    for (count, mark) in [(server.faulty, "!"), (other_voids, "†"), (disturbed(server), "‡")] {
        if count > 0 {
            let _ = write!(marks, " {mark}{count}");
        }
    }
    marks
}

/// Rounds in which other processes took more than a tenth of a core.
fn disturbed(server: &Measured) -> u64 {
    server.others_share.iter().filter(|share| share.is_some_and(|share| share > 0.1)).count() as u64
}

/// On what and how the rows were measured, once for all that agree.
fn conditions(rows: &[(&Row, &Record)]) -> String {
    let mut told: Vec<(String, Vec<&str>)> = Vec::new();
    for (row, record) in rows {
        let words = tell_conditions(&record.conditions);
        match told.iter_mut().find(|(known, _)| *known == words) {
            Some((_, names)) => names.push(&row.name),
            None => told.push((words, vec![&row.name])),
        }
    }
    let (is_one, most) = (told.len() == 1, told.iter().map(|(_, names)| names.len()).max());
    // Those that differ are named, and of the many only how many they are.
    told.sort_by_key(|(_, names)| Some(names.len()) == most);
    let lines = told.into_iter().map(|(words, names)| match names.len() {
        _ if is_one => format!("{words}.\n"),
        4.. if Some(names.len()) == most => format!("- {} others: {words}.\n", names.len()),
        _ => format!("- {}: {words}.\n", names.join(", ")),
    });
    lines.collect()
}

fn tell_conditions(conditions: &Conditions) -> String {
    let Conditions { commit, started, kernel, cpu, cores, congestion, rounds, seconds, .. } = conditions;
    let day = started.get(..10).unwrap_or(started);
    let place = if conditions.own_namespace { "" } else { ", not in a network namespace of its own" };
    format!(
        "{day}, {commit}: {rounds} rounds of {seconds} s, {congestion}{place}; Linux {kernel}, {cores} cores of {cpu}"
    )
}

/// All servers of all rows.
pub(crate) fn of_all(all: &[Recorded]) -> String {
    let mut text = String::from(ALL_HEAD);
    for (row, record) in all.iter().filter_map(|(row, record)| Some((row, record.as_ref()?))) {
        let _ = write!(text, "\n## {}\n\n{}; per {}.\n", row.name, row.title, record.message);
        let _ = write!(text, "{}.\n\n```\nringload compare {}", tell_conditions(&record.conditions), record.workload);
        let _ = write!(text, " {}\n```\n\n", record.flags.join(" "));
        let metrics: &[Metric] = if row.group == Group::Idle { &IDLE_METRICS } else { &METRICS };
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name()).collect();
        let _ = writeln!(text, "| server | {} | busy: server, generator | rounds |", names.join(" | "));
        let _ = writeln!(text, "|---|{}---|---|", "---|".repeat(names.len()));
        for server in &record.servers {
            text += &server_line(server, metrics);
        }
        if !record.absent.is_empty() {
            let absent: Vec<String> = record.absent.iter().map(|(name, why)| format!("{name} ({why})")).collect();
            let _ = write!(text, "\nWithout {}.\n", absent.join(", "));
        }
    }
    text
}

const METRICS: [Metric; 5] = [Metric::Cpu, Metric::Rate, Metric::P50, Metric::P99, Metric::P999];
const IDLE_METRICS: [Metric; 2] = [Metric::Memory, Metric::KernelMemory];

const ALL_HEAD: &str = "\
# Records

What `cargo xtask bench` measured: a file per row, with every round's figures. This page is made from them, and so are the
tables of [docs/performance.md](../../docs/performance.md), which says what the columns mean. The files
`echo-1-connection-one-core.json`, `echo-100-connections-one-core.json` and `echo-100-connections-two-cores.json` belong to
[decision 0001](../../docs/decisions/0001-raw-ring.md), and `instructions.json` to `cargo xtask instructions`.
";

fn server_line(server: &Measured, metrics: &[Metric]) -> String {
    let version = if server.version.is_empty() { String::new() } else { format!(", {}", server.version) };
    let mut text = format!("| {}{version} |", server.name);
    for metric in metrics {
        let at_least = if *metric == Metric::Rate && server.generator_bound > 0 { "≥ " } else { "" };
        let told = server.spread(*metric).map_or_else(|| "–".to_owned(), |spread| figure(*metric, &spread));
        let _ = write!(text, " {at_least}{told} |");
    }
    let share = |rounds: &[Option<f64>]| {
        Spread::of(rounds).map_or_else(|| "–".to_owned(), |spread| format!("{:.0} %", spread.median * 100.0))
    };
    let _ = write!(text, " {}, {} |", share(&server.server_share), share(&server.generator_share));
    let mut notes = Vec::new();
    if server.faulty > 0 {
        notes.push(format!("{} faulty: {}", server.faulty, server.fault.replace('|', "/")));
    }
    if server.generator_bound > 0 {
        notes.push(format!("{} bound by the generator", server.generator_bound));
    }
    if server.void > server.generator_bound {
        notes.push(format!("{} void: {}", server.void, server.void_reason));
    }
    if disturbed(server) > 0 {
        notes.push(format!("{} disturbed", disturbed(server)));
    }
    let _ = writeln!(text, " {} |", notes.join("; "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::{Role, record_of};
    use crate::bench::rows::{self, RINGWIRE};

    fn recorded(name: &str, ours: &[f64]) -> Recorded {
        let row = rows::all().into_iter().find(|row| row.name == name).expect("a row");
        let servers =
            [(RINGWIRE, Role::Ringwire, ours), ("bun", Role::Peer, &[2.0; 5]), ("ring-floor", Role::Floor, &[0.9; 5])];
        let record = record_of(name, &servers);
        (row, Some(record))
    }

    #[test]
    fn a_row_is_a_line_of_figures_ratios_and_verdicts() {
        let text = of_group(Group::Storm, &[recorded("storm", &[0.9, 1.0, 1.1, 1.0, 1.0])]);
        let line = text.lines().nth(2).unwrap();
        assert!(line.starts_with("| 64 at a time: connect, one echo of 64 B, close"), "{line}");
        for part in [
            "| 1.00 µs (900 ns to 1.10 µs)<br>0.50 (0.45 to 0.55) of bun<br>1.11 (1.00 to 1.22) of the floor |",
            "| 1.00 M (909 k to 1.11 M)<br>2.00 (1.82 to 2.22) of bun |",
            "| 100 µs (90.0 to 110)<br>200 µs (180 to 220)<br>0.50 (0.45 to 0.55) of bun<br>300 µs",
            "CPU ≤ 0.80 of the best peer: met, 0.50 (0.45 to 0.55) of bun |",
        ] {
            assert!(line.contains(part), "{part}\n{line}");
        }
        assert!(text.contains("\n\nGoals: 1 met.\n\n"), "{text}");
    }

    #[test]
    fn goals_are_counted_by_what_they_came_to() {
        let verdicts = [Verdict::Noise, Verdict::Met, Verdict::NotMet, Verdict::Met];
        assert_eq!(tally(&verdicts), "Goals: 2 met, 1 within noise, 1 **not met**.\n\n");
        assert_eq!(tally(&[]), "");
    }

    #[test]
    fn a_rate_that_the_generator_limited_is_a_least_and_doubtful_rounds_are_marked() {
        let mut storm = recorded("storm", &[1.0; 5]);
        let mine = &mut storm.1.as_mut().unwrap().servers[0];
        (mine.generator_bound, mine.void, mine.faulty) = (2, 3, 1);
        mine.others_share = vec![Some(0.2), Some(0.05), None];
        let text = of_group(Group::Storm, &[storm]);
        assert!(text.contains("| ≥ 1.00 M<br>") && text.contains("close !1 †1 ‡1 |"), "{text}");
    }

    #[test]
    fn rows_without_a_record_are_named_and_a_server_that_was_not_there_too() {
        let mut spin = recorded("one-spin", &[1.0; 5]);
        let record = spin.1.as_mut().unwrap();
        record.absent = vec![("ringwire-spin".to_owned(), "this build has no --spin".to_owned())];
        let text = of_group(Group::One, &[spin.clone()]);
        assert!(text.contains("ringwire-spin was not measured: this build has no --spin |"), "{text}");
        assert_eq!(of_group(Group::One, &[(spin.0, None)]), "Not measured yet: one-spin.\n");
    }

    #[test]
    fn conditions_are_told_once_for_all_rows_that_agree() {
        let [few, many] = ["fanout-10-rest", "fanout-5000-rest"].map(|name| recorded(name, &[1.0; 5]));
        let told = "2026-01-31, 0123456789ab: 5 rounds of 1 s, cubic; Linux 6.18.0, 2 cores of a CPU.\n";
        let text = of_group(Group::FanoutAtRest, &[few.clone(), many.clone()]);
        assert!(text.matches(told).count() == 1 && !text.contains("- fanout"), "{text}");
        assert!(text.contains("over that to 10 ≤ 1.30: met, 1.00.\n"), "{text}");
        let mut other = many;
        other.1.as_mut().unwrap().conditions.rounds = 9;
        let text = of_group(Group::FanoutAtRest, &[few, other]);
        assert!(text.contains("- fanout-10-rest: 2026") && text.contains("- fanout-5000-rest: 2026"), "{text}");
    }

    #[test]
    fn where_many_rows_agree_only_the_others_are_named() {
        let names = ["fanout-10-w8", "fanout-10-w32", "fanout-10-w64", "fanout-10-w256", "fanout-100-w8"];
        let mut rows = names.map(|name| recorded(name, &[1.0; 5]));
        rows[1].1.as_mut().unwrap().conditions.rounds = 9;
        let text = of_group(Group::FanoutSaturated, &rows);
        let [other, many] = ["- fanout-10-w32: 2026", "\n- 4 others: 2026"].map(|part| text.find(part));
        assert!(other.is_some() && other < many && !text.contains("- fanout-10-w8"), "{text}");
    }

    #[test]
    fn idle_connections_are_told_in_bytes() {
        let mut idle = recorded("idle", &[1.0; 3]);
        for (server, bytes) in idle.1.as_mut().unwrap().servers.iter_mut().zip([250.0, 500.0]) {
            server.figures = vec![(Metric::Memory, vec![Some(bytes); 3]), (Metric::KernelMemory, vec![Some(9000.0)])];
        }
        let text = of_group(Group::Idle, &[idle]);
        assert!(text.contains("| 250 B<br>0.50 of bun | 9000 B | memory ≤ 256 B: met, 250 |"), "{text}");
    }

    #[test]
    fn the_page_of_all_has_every_server_and_who_was_left_out() {
        let mut storm = recorded("storm", &[1.0; 5]);
        let record = storm.1.as_mut().unwrap();
        (record.servers[1].faulty, record.servers[1].fault) = (2, "3 lost".to_owned());
        let text = of_all(&[storm]);
        for part in [
            "## storm\n",
            "ringload compare echo --bytes 16\n",
            "| ringwire | 1.00 µs | 1.00 M | 100 µs | 200 µs | 300 µs | 10 %, 5 % |  |",
            "| bun, bun 1.2.3 | 2.00 µs |",
            "| 2 faulty: 3 lost |",
            "| ring-floor |",
            "Without socketio (it has no /echo).",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn the_unit_of_a_figure_stands_once_if_it_is_the_same() {
        let told = |median, low, high| figure(Metric::Cpu, &Spread { median, low, high });
        assert_eq!(told(1.0, 0.9, 1.1), "1.00 µs (900 ns to 1.10 µs)");
        assert_eq!((told(12.0, 11.0, 13.0), told(2.0, 2.0, 2.0)), ("12.0 µs (11.0 to 13.0)".into(), "2.00 µs".into()));
    }
}
