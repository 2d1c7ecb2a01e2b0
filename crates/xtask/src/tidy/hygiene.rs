//! What no file of the project may hold, and which files it must have.

use super::{Finding, SourceFile};

/// Paths of one machine and hosts of registries, in two halves so that this file does not hold them.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("/wo", "rk/", "a path of one machine"),
    ("/ro", "ot/", "a path of one machine"),
    ("/tmp/te", "am", "a path of one machine"),
    ("../sha", "red", "a path outside the checkout"),
    ("registry.npm", "js.org", "a registry's host"),
    ("registry.yarn", "pkg.com", "a registry's host"),
    ("pypi", ".org", "a registry's host"),
    ("files.python", "hosted.org", "a registry's host"),
    ("static.cra", "tes.io", "a registry's host"),
    ("index.cra", "tes.io", "a registry's host"),
    ("deb.deb", "ian.org", "a registry's host"),
];

/// Words for work left to do.
const LEFT: [(&str, &str); 3] = [("TO", "DO"), ("FIX", "ME"), ("XX", "X")];

/// Folders of data that is as it was found.
const DATA: [&str; 2] = ["tests/fixtures/", "fuzz/seeds/"];

/// What a checkout must have.
const PRESENT: [&str; 7] =
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE-APACHE", "LICENSE-MIT", ".ci/run", "Cargo.lock"];

/// Checks one file of any kind.
pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    if DATA.iter().any(|folder| file.path.starts_with(folder)) {
        return Vec::new();
    }
    let mut findings: Vec<Finding> =
        file.text.lines().enumerate().flat_map(|(index, line)| check_line(file, index + 1, line)).collect();
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(Finding::fault(&file.path, 0, "does not end with a line end"));
    }
    if file.path.ends_with("package-lock.json") && file.text.contains("\"resolved\"") {
        findings.push(Finding::fault(&file.path, 0, "records where packages were downloaded from"));
    }
    findings
}

/// Which of the files that must be there are not.
pub(crate) fn check_presence(files: &[SourceFile]) -> Vec<Finding> {
    let missing = PRESENT.iter().filter(|wanted| !files.iter().any(|file| file.path == **wanted));
    missing.map(|wanted| Finding::fault(wanted, 0, "is not there")).collect()
}

fn check_line(file: &SourceFile, number: usize, line: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (first, second, what) in FOREIGN {
        let word = format!("{first}{second}");
        if line.contains(&word) {
            findings.push(Finding::fault(&file.path, number, format!("{word}: {what}")));
        }
    }
    for (first, second) in LEFT {
        let word = format!("{first}{second}");
        if !super::rust_text::lines_with_word(line, &word).is_empty() {
            findings.push(Finding::fault(&file.path, number, format!("{word}: work left to do")));
        }
    }
    if line.ends_with([' ', '\t']) {
        findings.push(Finding::fault(&file.path, number, "ends with white space"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source_file;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&source_file(path, text)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn every_foreign_word_is_found() {
        for (first, second, _) in FOREIGN {
            assert_eq!(lines("a.md", &format!("x\nsee {first}{second}\n")), [2], "{first}{second}");
        }
    }

    #[test]
    fn work_left_to_do_is_found_as_a_word() {
        for (first, second) in LEFT {
            assert_eq!(lines("a.js", &format!("// {first}{second}: x\n")), [1]);
            assert_eq!(lines("a.js", &format!("// A{first}{second}\n")), [0; 0]);
        }
    }

    #[test]
    fn white_space_at_the_end_and_a_missing_line_end_are_faults() {
        assert_eq!(lines("a.md", "a \nb\n"), [1]);
        assert_eq!(lines("a.md", "a"), [0]);
        assert_eq!(lines("a.md", ""), [0; 0]);
    }

    #[test]
    fn data_is_as_it_is() {
        for folder in DATA {
            assert_eq!(lines(&format!("{folder}a"), "a \nb"), [0; 0]);
        }
    }

    #[test]
    fn a_lock_file_records_no_address() {
        assert_eq!(lines("tests/node/package-lock.json", "{\"resolved\": 1}\n"), [0]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let all: Vec<_> = PRESENT.iter().map(|path| source_file(path, "x\n")).collect();
        assert_eq!(check_presence(&all), []);
        assert_eq!(check_presence(&all[1..])[0].path, PRESENT[0]);
    }
}
