//! The record of instruction counts: who made it, the counts, and what may not grow.

use std::fmt::Write as _;

/// Percent that a count may grow by: what unrelated changes move between inlined and called.
pub(super) const GROWTH_MAX: f64 = 3.0;

/// What decides which instructions a program consists of, and which of them it executes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Maker {
    pub(super) rustc: String,
    /// The processor's features, as valgrind shows them.
    pub(super) cpu: String,
    /// It copies memory.
    pub(super) libc: String,
    pub(super) valgrind: String,
}

/// Instructions of one path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Count {
    /// `PATH per UNIT`.
    pub(super) name: String,
    /// In the mean over all units.
    pub(super) instructions: f64,
}

/// Counts, and who made them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) maker: Maker,
    pub(super) counts: Vec<Count>,
}

impl Maker {
    /// Why counts of `here` cannot be compared with this one's.
    pub(super) fn difference(&self, here: &Self) -> Option<String> {
        let pairs = [("rustc", &self.rustc, &here.rustc), ("the processor", &self.cpu, &here.cpu)];
        let (what, of_record, of_here) = pairs.into_iter().find(|(_, of_record, of_here)| of_record != of_here)?;
        Some(format!("the record is of another {}: {of_record}; here is {of_here}", what.trim_start_matches("the ")))
    }

    /// What else is different, and may be why a count is.
    pub(super) fn note(&self, here: &Self) -> Option<String> {
        let made = |maker: &Self| format!("{} and {}", maker.libc, maker.valgrind);
        (made(self) != made(here)).then(|| format!("(the record was made with {}; here is {})", made(self), made(here)))
    }
}

impl Record {
    /// Reads what [`to_json`](Self::to_json) wrote; else the number of the line that is something else.
    pub(super) fn parse(text: &str) -> Result<Self, usize> {
        let mut record = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim().trim_end_matches(',');
            if matches!(line, "{" | "}" | "" | "\"instructions\": {") {
                continue;
            }
            let (key, value) = line.split_once("\": ").ok_or(number)?;
            let key = key.strip_prefix('"').ok_or(number)?;
            let text = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            match (key, text) {
                ("rustc", Some(text)) => record.maker.rustc = text.to_owned(),
                ("cpu", Some(text)) => record.maker.cpu = text.to_owned(),
                ("libc", Some(text)) => record.maker.libc = text.to_owned(),
                ("valgrind", Some(text)) => record.maker.valgrind = text.to_owned(),
                (name, None) => {
                    let instructions = value.parse().map_err(|_| number)?;
                    record.counts.push(Count { name: name.to_owned(), instructions });
                }
                _ => return Err(number),
            }
        }
        Ok(record)
    }

    /// One line for each fact.
    pub(super) fn to_json(&self) -> String {
        let Maker { rustc, cpu, libc, valgrind } = &self.maker;
        let mut json = "{\n".to_owned();
        for (key, value) in [("rustc", rustc), ("cpu", cpu), ("libc", libc), ("valgrind", valgrind)] {
            _ = writeln!(json, "  \"{key}\": \"{value}\",");
        }
        let line = |count: &Count| format!("    \"{}\": {:.1}", count.name, count.instructions);
        let lines: Vec<String> = self.counts.iter().map(line).collect();
        _ = write!(json, "  \"instructions\": {{\n{}\n  }}\n}}\n", lines.join(",\n"));
        json
    }

    fn of(&self, name: &str) -> Option<f64> {
        self.counts.iter().find(|count| count.name == name).map(|count| count.instructions)
    }

    /// What is wrong with `counts`: a line each.
    pub(super) fn faults(&self, counts: &[Count]) -> Vec<String> {
        let is_gone = |recorded: &&Count| !counts.iter().any(|count| count.name == recorded.name);
        let gone = self.counts.iter().filter(is_gone);
        let gone = gone.map(|recorded| format!("{}: is in the record and was not counted", recorded.name));
        let grown = counts.iter().filter_map(|Count { name, instructions }| {
            let Some(recorded) = self.of(name) else { return Some(format!("{name}: is not in the record")) };
            let growth = growth(recorded, *instructions);
            (growth > GROWTH_MAX).then(|| {
                format!(
                    "{name}: {instructions:.1} instructions, {growth:.1} % more than the record's {recorded:.1}, where \
                     {GROWTH_MAX} % are let pass"
                )
            })
        });
        gone.chain(grown).collect()
    }

    /// All counts beside the record's.
    pub(super) fn table(&self, counts: &[Count]) -> String {
        let mut table = format!("{:<40} {:>12} {:>12} {:>9}\n", "instructions", "record", "here", "change");
        for Count { name, instructions } in counts {
            let Some(recorded) = self.of(name) else { continue };
            let growth = growth(recorded, *instructions);
            let words = if growth < -GROWTH_MAX { "  fewer: worth a new record, so that it stays so" } else { "" };
            _ = writeln!(table, "{name:<40} {recorded:>12.1} {instructions:>12.1} {growth:>+7.1} %{words}");
        }
        table
    }
}

/// In percent.
fn growth(recorded: f64, now: f64) -> f64 {
    (now / recorded - 1.0) * 100.0
}

/// What a path says that it did: `units COUNT UNIT`.
pub(super) fn units(said: &str) -> Option<(u64, &str)> {
    let (count, unit) = said.lines().find_map(|line| line.strip_prefix("units "))?.split_once(' ')?;
    Some((count.parse().ok()?, unit.trim()))
}

/// The instructions that a file of callgrind's says were collected (its format's `totals:`, of its one event, `Ir`).
pub(super) fn total(out: &str) -> Option<u64> {
    let number = |prefix| out.lines().find_map(|line| line.strip_prefix(prefix)?.trim().parse().ok());
    number("totals:").or_else(|| number("summary:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(counts: &[(&str, f64)]) -> Record {
        let maker = Maker {
            rustc: "rustc 1.95.0 (x)".to_owned(),
            cpu: "x86_64 avx2".to_owned(),
            libc: "glibc 2.36".to_owned(),
            valgrind: "valgrind-3.19.0".to_owned(),
        };
        let count = |&(name, instructions): &(&str, f64)| Count { name: name.to_owned(), instructions };
        Record { maker, counts: counts.iter().map(count).collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        let record = record(&[("echo-64 per message", 812.5), ("connect per connection", 12_000.0)]);
        assert_eq!(Record::parse(&record.to_json()), Ok(record));
        assert_eq!(Record::parse("{\n  \"rustc\": 7x\n}\n"), Err(2));
        assert_eq!(Record::parse("hello"), Err(1));
    }

    #[test]
    fn a_count_may_grow_by_the_tolerance_and_no_more() {
        let record = record(&[("a per x", 1000.0)]);
        let faults = |now| record.faults(&[Count { name: "a per x".to_owned(), instructions: now }]);
        assert!(faults(500.0).is_empty() && faults(1029.9).is_empty());
        let [fault] = &faults(1050.0)[..] else { panic!("one fault") };
        assert!(fault.contains("a per x: 1050.0 instructions, 5.0 % more than the record's 1000.0"), "{fault}");
    }

    #[test]
    fn paths_that_only_one_side_knows_are_faults() {
        let known = record(&[("a per x", 1.0)]);
        let faults = known.faults(&[Count { name: "b per x".to_owned(), instructions: 1.0 }]);
        assert_eq!(faults, ["a per x: is in the record and was not counted", "b per x: is not in the record"]);
    }

    #[test]
    fn another_compiler_or_processor_is_not_compared_and_another_library_is_noted() {
        let here = record(&[]).maker;
        assert_eq!((here.difference(&here), here.note(&here)), (None, None));
        let compiler = Maker { rustc: "rustc 1.96.0 (y)".to_owned(), ..here.clone() };
        let words = here.difference(&compiler).expect("a difference");
        assert_eq!(words, "the record is of another rustc: rustc 1.95.0 (x); here is rustc 1.96.0 (y)");
        let processor = Maker { cpu: "x86_64".to_owned(), ..here.clone() };
        assert!(here.difference(&processor).is_some_and(|words| words.contains("another processor")));
        let library = Maker { libc: "glibc 2.41".to_owned(), ..here.clone() };
        assert_eq!(here.difference(&library), None);
        assert!(here.note(&library).is_some_and(|note| note.contains("glibc 2.36") && note.contains("glibc 2.41")));
    }

    #[test]
    fn what_is_fewer_is_pointed_out() {
        let record = record(&[("a per x", 1000.0)]);
        let table = |now| record.table(&[Count { name: "a per x".to_owned(), instructions: now }]);
        assert!(table(900.0).contains("-10.0 %  fewer"), "{}", table(900.0));
        assert!(!table(990.0).contains("fewer"));
    }

    #[test]
    fn units_and_totals_are_found() {
        assert_eq!(units("units 5000 message\n"), Some((5000, "message")));
        assert_eq!(units("nothing"), None);
        let out = "# callgrind format\nevents: Ir\nfn=(1) main\n1 5\nsummary: 12\n\ntotals: 34\n";
        assert_eq!(total(out), Some(34));
        assert_eq!(total("events: Ir\nsummary: 12\n"), Some(12));
        assert_eq!(total("events: Ir\n"), None);
    }
}
