//! `cargo xtask tidy`: the rules of the source tree that no compiler knows.
//!
//! Each check takes the text of one file (or the list of all) and gives faults; nothing here writes. The files are
//! those that git tracks or would track. A fault fails the run, a warning is only printed.

mod coverage;
mod documents;
mod hygiene;
mod imports;
mod rust_text;
mod sources;

use std::fmt;
use std::fs;
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline};
use crate::provision;

pub(crate) use imports::package_name;

/// A file of the checkout.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    /// Whether it belongs to a package of the workspace. Those that do not may import what they like: nothing depends
    /// on them.
    pub(crate) fn is_in_workspace(&self) -> bool {
        !["fuzz/", "benches/peers/"].iter().any(|outside| self.path.starts_with(outside))
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// Counted from 1; 0 for the whole file.
    pub(crate) line: usize,
    pub(crate) message: String,
    /// Whether it fails the run.
    pub(crate) fault: bool,
}

impl Finding {
    pub(crate) fn fault(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into(), fault: true }
    }

    pub(crate) fn warning(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: 0, message: message.into(), fault: false }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.fault {
            f.write_str("warning: ")?;
        }
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Runs all checks and prints what they find; whether nothing was at fault.
pub(crate) fn command(context: &Context) -> Result<bool, String> {
    let files = files(context)?;
    let findings = check(&files);
    for finding in &findings {
        println!("{finding}");
    }
    let faults = findings.iter().filter(|finding| finding.fault).count();
    println!("tidy: {} files, {faults} faults, {} warnings", files.len(), findings.len() - faults);
    Ok(faults == 0)
}

fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = imports::check(files);
    findings.extend(files.iter().filter(|file| file.path.ends_with(".rs")).flat_map(sources::check));
    findings.extend(sources::check_roots(files));
    findings.extend(documents::check(files));
    findings.extend(coverage::check(files));
    findings.extend(files.iter().flat_map(hygiene::check));
    findings.extend(hygiene::check_presence(files));
    findings
}

/// Every text file that git tracks, or would track, and that is there.
pub(crate) fn files(context: &Context) -> Result<Vec<SourceFile>, String> {
    let mut git = context.command("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]);
    let listed = process::output(&mut git, &provision::log(context, "git")?, Deadline::after(Duration::from_secs(30)))?;
    let read = |path: &str| {
        // Not text, or deleted and not yet committed: nothing to check.
        let text = fs::read_to_string(context.root.join(path)).ok()?;
        Some(SourceFile { path: path.to_owned(), text })
    };
    let files: Vec<SourceFile> = listed.split('\0').filter(|path| !path.is_empty()).filter_map(read).collect();
    if files.is_empty() { Err("git knows no file here".to_owned()) } else { Ok(files) }
}

#[cfg(test)]
pub(crate) fn source_file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned() }
}
