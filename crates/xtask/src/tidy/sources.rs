//! Rules for Rust files: where `unsafe` may stand, how a file opens, how long it may be, what may not stay in it.

use super::rust_text::{code_only, lines_with_word};
use super::{Finding, SourceFile};

/// The two addresses of `unsafe`.
const UNSAFE_HOMES: [&str; 3] =
    ["crates/ringwire-codec/src/simd.rs", "crates/ringwire-codec/src/simd/", "crates/ringwire-ring/"];
/// Lines without tests from which a file is said to be long.
const LONG_LINES: usize = 500;
/// Lines without tests from which a file must be two.
const LINES_MAX: usize = 800;
/// Macros for what is not finished.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Checks one Rust file.
pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    let code = code_only(&file.text);
    let mut findings = Vec::new();
    let opening = file.text.lines().next().unwrap_or_default();
    if !opening.starts_with("//! ") {
        findings.push(Finding::fault(&file.path, 1, "does not open with `//!` saying what the file is"));
    }
    if !UNSAFE_HOMES.iter().any(|home| file.path.starts_with(home)) {
        let stray = lines_with_word(&code, "unsafe");
        findings
            .extend(stray.into_iter().map(|line| Finding::fault(&file.path, line, "unsafe outside its two addresses")));
    }
    for name in UNFINISHED {
        let lines = lines_with_word(&code, name.trim_end_matches('!'));
        let calls = lines.into_iter().filter(|line| code.lines().nth(line - 1).is_some_and(|text| text.contains(name)));
        findings.extend(calls.map(|line| Finding::fault(&file.path, line, format!("{name} is not finished work"))));
    }
    findings.extend(unreasoned_exceptions(file, &code));
    match lines_without_tests(&file.text) {
        lines if lines > LINES_MAX => {
            findings.push(Finding::fault(&file.path, 0, format!("{lines} lines: more than {LINES_MAX} are two files")));
        }
        lines if lines > LONG_LINES => {
            findings.push(Finding::warning(&file.path, format!("{lines} lines: is the state in them two things?")));
        }
        _ => {}
    }
    findings
}

/// Every crate without a home for `unsafe` forbids it at its root.
pub(crate) fn check_roots(files: &[SourceFile]) -> Vec<Finding> {
    let is_root = |file: &&SourceFile| file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
    let roots = files.iter().filter(is_root).filter(|file| file.is_in_workspace());
    roots
        .filter_map(|file| {
            let wanted = match file.path.as_str() {
                path if path.starts_with("crates/ringwire-ring/") => return None,
                path if path.starts_with("crates/ringwire-codec/") => "#![deny(unsafe_code)]",
                _ => "#![forbid(unsafe_code)]",
            };
            let missing = !file.text.lines().any(|line| line.trim() == wanted);
            missing.then(|| Finding::fault(&file.path, 0, format!("lacks {wanted}")))
        })
        .collect()
}

/// `allow` and `expect` of a lint without a `reason`.
fn unreasoned_exceptions(file: &SourceFile, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for attribute in ["[allow(", "[expect("] {
        for (at, _) in code.match_indices(attribute) {
            let end = code[at..].find(")]").map_or(code.len(), |length| at + length);
            if !code[at..end].contains("reason") {
                let line = code[..at].matches('\n').count() + 1;
                findings.push(Finding::fault(&file.path, line, "a lint is silenced without a reason"));
            }
        }
    }
    findings
}

/// The lines before the tests at the end of the file.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    tests.unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source_file;

    fn messages(path: &str, text: &str) -> Vec<(usize, String)> {
        check(&source_file(path, text)).into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    #[test]
    fn a_file_in_order_has_no_findings() {
        let text = "//! A file.\n\n#[expect(dead_code, reason = \"shown\")]\nfn f() {}\n// unsafe todo!\n";
        assert_eq!(messages("crates/ringwire-hub/src/log.rs", text), []);
    }

    #[test]
    fn a_file_opens_with_its_description() {
        assert_eq!(messages("a.rs", "use std::io;\n")[0].0, 1);
        assert!(!messages("a.rs", "").is_empty());
    }

    #[test]
    fn unsafe_stands_at_its_two_addresses_only() {
        let text = "//! x\nunsafe fn f() {}\n";
        assert_eq!(messages("crates/ringwire-engine/src/shard.rs", text)[0].0, 2);
        assert_eq!(messages("crates/ringwire-codec/src/frame.rs", text)[0].0, 2);
        assert_eq!(messages("crates/ringwire-codec/src/simd/unmask.rs", text), []);
        assert_eq!(messages("crates/ringwire-ring/src/linux/ring.rs", text), []);
    }

    #[test]
    fn unfinished_work_is_a_fault() {
        for call in ["todo!()", "unimplemented!(\"x\")", "dbg!(1)"] {
            assert_eq!(messages("a.rs", &format!("//! x\nfn f() {{ {call}; }}\n"))[0].0, 2, "{call}");
        }
    }

    #[test]
    fn a_silenced_lint_states_its_reason() {
        assert_eq!(messages("a.rs", "//! x\n#[allow(dead_code)]\nfn f() {}\n")[0].0, 2);
        assert_eq!(messages("a.rs", "//! x\n#[allow(\n    dead_code,\n    reason = \"y\"\n)]\nfn f() {}\n"), []);
    }

    #[test]
    fn length_is_counted_without_the_tests() {
        let long = |lines| format!("//! x\n{}", "fn f() {}\n".repeat(lines));
        assert_eq!(messages("a.rs", &long(499)), []);
        assert!(!check(&source_file("a.rs", &long(500)))[0].fault);
        assert!(check(&source_file("a.rs", &long(800)))[0].fault);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", long(100), "fn f() {}\n".repeat(900));
        assert_eq!(messages("a.rs", &tested), []);
    }

    #[test]
    fn a_crate_root_forbids_unsafe() {
        let root = |path: &str, text: &str| check_roots(&[source_file(path, text)]).len();
        assert_eq!(root("crates/ringwire-hub/src/lib.rs", "//! x\n"), 1);
        assert_eq!(root("crates/ringwire-hub/src/lib.rs", "//! x\n#![forbid(unsafe_code)]\n"), 0);
        assert_eq!(root("crates/ringwire-codec/src/lib.rs", "//! x\n#![deny(unsafe_code)]\n"), 0);
        assert_eq!(root("crates/ringwire-ring/src/lib.rs", "//! x\n"), 0);
    }
}
