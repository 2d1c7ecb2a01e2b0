//! The table of conformance: each rule names tests, and the tests exist.

use std::collections::BTreeSet;

use super::{Finding, SourceFile};

/// The document whose tables have the names of tests in their last column.
const DOCUMENT: &str = "docs/conformance.md";

/// Checks the document, if it is among `files`.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let Some(document) = files.iter().find(|file| file.path == DOCUMENT) else { return Vec::new() };
    let tests = tests(files);
    rules(&document.text).flat_map(|(line, names)| faults(line, &names, &tests)).collect()
}

fn faults(line: usize, names: &[&str], tests: &BTreeSet<&str>) -> Vec<Finding> {
    if names.is_empty() {
        return vec![Finding::fault(DOCUMENT, line, "this rule names no test")];
    }
    let missing = names.iter().filter(|name| !tests.contains(*name));
    missing.map(|name| Finding::fault(DOCUMENT, line, format!("there is no test `{name}`"))).collect()
}

/// The rows of all tables but their heads: line, and what stands in backticks in the last column.
fn rules(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let rows = text.lines().enumerate().filter(|(_, line)| line.starts_with("| ") && !line.starts_with("| § "));
    rows.map(|(index, line)| {
        let last = line.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        (index + 1, last.split('`').skip(1).step_by(2).collect())
    })
}

/// The names of all tests, of Rust and of Python.
fn tests(files: &[SourceFile]) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for file in files {
        if file.path.ends_with(".rs") {
            found.extend(rust_tests(&file.text));
        } else if file.path.starts_with("tests/python/") {
            found.extend(file.text.lines().filter_map(|line| function(line, "def ")));
        }
    }
    found
}

/// The functions that follow `#[test]`, whatever attributes stand between.
fn rust_tests(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().map(str::trim_start).filter_map(move |line| {
        if line.starts_with("#[test]") {
            marked = true;
            return None;
        }
        let name = function(line, "fn ").filter(|_| marked);
        marked &= line.starts_with("#[") || line.starts_with("//");
        name
    })
}

/// The name behind `keyword` in a line that defines a function.
fn function<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let (before, after) = line.split_once(keyword)?;
    let is_definition = matches!(before.trim(), "" | "async" | "pub" | "pub(crate)");
    is_definition.then(|| after.split('(').next()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source_file;

    fn lines(rows: &str) -> Vec<usize> {
        let files = [
            source_file(DOCUMENT, &format!("| § | rule | test |\n|---|---|---|\n{rows}")),
            source_file("crates/a/src/b.rs", "#[test]\n#[ignore = \"x\"]\nfn it_holds() {}\nfn helper() {}\n"),
            source_file("tests/python/test_a.py", "async def test_it(server):\n    pass\n"),
        ];
        check(&files).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn tests_that_exist_are_well() {
        assert_eq!(lines("| 4.1 | `GET` is sent | `it_holds` `test_it`; Autobahn 1.* |\n"), [0; 0]);
    }

    #[test]
    fn a_name_that_is_no_test_is_a_fault() {
        assert_eq!(lines("| 4.1 | x | `it_holds` |\n| 4.2 | y | `helper` |\n| 4.3 | z | `gone` `test_it` |\n"), [4, 5]);
    }

    #[test]
    fn a_rule_without_a_test_is_a_fault() {
        assert_eq!(lines("| 4.1 | x `it_holds` | Autobahn 1.* |\n"), [3]);
    }
}
