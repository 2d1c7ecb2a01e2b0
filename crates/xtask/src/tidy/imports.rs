//! Who may import whom, from the manifests and from the paths that the sources use.
//!
//! The package of benches is free: it holds the peers that ringwire is compared with.

use super::rust_text::{code_only, lines_with_path};
use super::{Finding, SourceFile};

/// Each package, the ringwire crates it may import, and those its tests and examples may import as well.
const IMPORTS: &[(&str, &[&str], &[&str])] = &[
    ("ringwire-codec", &[], &[]),
    ("ringwire-ring", &[], &[]),
    ("ringwire-hub", &[], &[]),
    ("ringwire-client", &["ringwire-codec"], &[]),
    ("ringwire-engine", &["ringwire-codec", "ringwire-ring"], &["ringwire-sim"]),
    ("ringwire-sim", &["ringwire-codec", "ringwire-ring", "ringwire-engine"], &["ringwire-hub"]),
    (
        "ringwire-server",
        &["ringwire-codec", "ringwire-ring", "ringwire-engine", "ringwire-hub"],
        &["ringwire-sim", "ringwire-client"],
    ),
    ("ringload", &["ringwire-codec", "ringwire-engine", "ringwire-ring"], &[]),
    (
        "ringwire-benches",
        &["ringwire-codec", "ringwire-ring", "ringwire-engine", "ringwire-hub", "ringwire-server"],
        &[],
    ),
    ("xtask", &[], &[]),
];

/// Foreign crates with a home, and beside it a package that may import them as well: the client reads the server's JSON in
/// other programs, where nothing else of the server is.
const HOMES: &[(&str, &str, Option<&str>)] = &[
    ("io-uring", "ringwire-ring", None),
    ("libc", "ringwire-ring", None),
    ("rustls", "ringwire-engine", None),
    ("serde", "ringwire-server", Some("ringwire-client")),
    ("clap", "ringwire-server", None),
    ("toml", "ringwire-server", None),
    ("tokio-uring", "ringwire-server", None),
];

/// The package that may import any foreign crate.
const FREE: &str = "ringwire-benches";

/// A dependency as a manifest states it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dependency {
    package: String,
    line: usize,
    /// Stated under `dev-dependencies`.
    dev: bool,
}

/// Checks every package whose manifest is among `files`.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.path.ends_with("/Cargo.toml") && file.is_in_workspace());
    manifests.flat_map(|manifest| check_package(manifest, files)).collect()
}

fn check_package(manifest: &SourceFile, files: &[SourceFile]) -> Vec<Finding> {
    let Some(package) = package_name(&manifest.text) else {
        return vec![Finding::fault(&manifest.path, 0, "no package name")];
    };
    let Some((_, normal, dev)) = IMPORTS.iter().find(|(name, ..)| *name == package) else {
        return vec![Finding::fault(&manifest.path, 0, format!("package {package} is not in tidy's table of imports"))];
    };
    let mut findings = Vec::new();
    for dependency in dependencies(&manifest.text) {
        let name = dependency.package.as_str();
        let allowed = normal.contains(&name) || (dependency.dev && dev.contains(&name));
        if name.starts_with("ringwire-") && !allowed {
            findings.push(Finding::fault(&manifest.path, dependency.line, format!("{package} must not import {name}")));
        }
        if let Some((_, home)) = strangers(&package).find(|(stranger, _)| *stranger == name) {
            findings.push(Finding::fault(&manifest.path, dependency.line, format!("only {home} imports {name}")));
        }
    }
    if !manifest.text.contains("[lints]\nworkspace = true") {
        findings.push(Finding::fault(&manifest.path, 0, "does not take the workspace's lints"));
    }
    let folder = manifest.path.trim_end_matches("Cargo.toml");
    let sources = files.iter().filter(|file| file.path.starts_with(folder) && file.path.ends_with(".rs"));
    findings.extend(sources.flat_map(|source| check_paths(source, &package)));
    findings
}

/// Paths into foreign crates that have a home elsewhere, however they got into reach.
fn check_paths(source: &SourceFile, package: &str) -> Vec<Finding> {
    let code = code_only(&source.text);
    let found = |(stranger, home): (&str, &str)| {
        let lines = lines_with_path(&code, &stranger.replace('-', "_"));
        lines
            .into_iter()
            .map(|line| Finding::fault(&source.path, line, format!("only {home} imports {stranger}")))
            .collect::<Vec<_>>()
    };
    strangers(package).flat_map(found).collect()
}

/// The foreign crates this package must not import, with their homes.
fn strangers(package: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_home = move |home: &str, other: Option<&str>| [Some(home), other, Some(FREE)].contains(&Some(package));
    HOMES.iter().filter(move |(_, home, other)| !is_home(home, *other)).map(|(stranger, home, _)| (*stranger, *home))
}

/// The name of the package that a manifest describes.
pub(crate) fn package_name(manifest: &str) -> Option<String> {
    let (_, package) = manifest.split_once("[package]")?;
    let line = package.lines().take_while(|line| !line.starts_with('[')).find(|line| line.starts_with("name"))?;
    Some(line.split_once('=')?.1.trim().trim_matches('"').to_owned())
}

/// Every dependency of a manifest: plain, dev, build, and those of a target.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found = Vec::new();
    // Of the table we are in: whether it lists dependencies, and whether they are for development.
    let mut table: Option<bool> = None;
    for (index, line) in manifest.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            let dev = header.contains("dev-dependencies");
            table = header.ends_with("dependencies").then_some(dev);
            if let Some((_, package)) = header.rsplit_once("dependencies.") {
                found.push(Dependency { package: package.to_owned(), line: number, dev });
            }
        } else if let (Some(dev), Some((key, value))) = (table, line.split_once('=')) {
            let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
            if !key.starts_with('#') {
                found.push(Dependency { package: renamed(value).unwrap_or(key).to_owned(), line: number, dev });
            }
        }
    }
    found
}

/// The `package = "..."` of a dependency that goes by another name.
fn renamed(value: &str) -> Option<&str> {
    let (_, after) = value.split_once("package")?;
    after.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source_file;

    fn manifest(package: &str, tables: &str) -> SourceFile {
        let text = format!("[package]\nname = \"{package}\"\n\n[lints]\nworkspace = true\n\n{tables}");
        source_file(&format!("crates/{package}/Cargo.toml"), &text)
    }

    fn faults(files: &[SourceFile]) -> Vec<String> {
        check(files).into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn every_form_of_dependency_is_read() {
        let text = "[dependencies]\na = \"1\"\nb.workspace = true\nc = { package = \"real-c\", version = \"1\" }\n\
                    # no = 1\n[dev-dependencies]\nd = \"1\"\n[target.'cfg(unix)'.dependencies]\ne = \"1\"\n\
                    [dependencies.f]\nversion = \"1\"\n[features]\ng = []\n";
        let found: Vec<_> = dependencies(text).into_iter().map(|d| (d.package, d.dev)).collect();
        let expected = [("a", false), ("b", false), ("real-c", false), ("d", true), ("e", false), ("f", false)];
        assert_eq!(found, expected.map(|(name, dev)| (name.to_owned(), dev)));
    }

    #[test]
    fn codec_must_not_import_a_ringwire_crate() {
        let found = faults(&[manifest("ringwire-codec", "[dependencies]\nringwire-ring.workspace = true\n")]);
        assert_eq!(found, ["8: ringwire-codec must not import ringwire-ring"]);
    }

    #[test]
    fn the_engine_imports_the_simulator_for_its_tests_only() {
        assert!(
            faults(&[manifest("ringwire-engine", "[dev-dependencies]\nringwire-sim.workspace = true\n")]).is_empty()
        );
        assert!(!faults(&[manifest("ringwire-engine", "[dependencies]\nringwire-sim.workspace = true\n")]).is_empty());
    }

    #[test]
    fn a_crate_with_a_home_is_refused_elsewhere_in_manifest_and_source() {
        let files = [
            manifest("ringwire-hub", "[dependencies]\nlibc.workspace = true\n"),
            source_file("crates/ringwire-hub/src/lib.rs", "//! x\nuse libc::c_int;\n// libc::x\n"),
        ];
        assert_eq!(faults(&files), ["8: only ringwire-ring imports libc", "2: only ringwire-ring imports libc"]);
        assert!(faults(&[manifest("ringwire-ring", "[dependencies]\nlibc.workspace = true\n")]).is_empty());
    }

    #[test]
    fn benches_may_import_any_foreign_crate() {
        assert!(
            faults(&[manifest("ringwire-benches", "[dev-dependencies]\ntokio-uring.workspace = true\n")]).is_empty()
        );
    }

    #[test]
    fn an_unknown_package_and_missing_lints_are_faults() {
        assert!(faults(&[manifest("ringwire-new", "")])[0].contains("not in tidy's table"));
        let bare = source_file("crates/xtask/Cargo.toml", "[package]\nname = \"xtask\"\n");
        assert!(faults(&[bare])[0].contains("lints"));
    }
}
