//! The steps of `cargo xtask test`: what each runs and how long it may take.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Outcome, c_client};
use crate::context::Context;
use crate::instructions::Compared;
use crate::process::{self, Deadline};
use crate::tidy::SourceFile;
use crate::{conformance, instructions, peers, provision, server, slow, tidy, tls};

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What still runs after this is killed, and the step has failed.
    pub(crate) limit: Duration,
    pub(crate) run: fn(&Context, Deadline) -> Outcome,
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// All steps, in their order: the quick ones first, then those that need the release build.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "tidy", about: "rules of the source tree", limit: minutes(1), run: tidy },
    Step { name: "fmt", about: "formatting", limit: minutes(2), run: fmt },
    Step { name: "clippy", about: "lints, as errors", limit: minutes(10), run: clippy },
    Step { name: "test", about: "unit, integration and documentation tests", limit: minutes(20), run: test },
    Step { name: "doc", about: "documentation builds, warnings as errors", limit: minutes(5), run: doc },
    Step { name: "loom", about: "every interleaving of the mailbox", limit: minutes(10), run: loom },
    Step { name: "examples", about: "the examples build", limit: minutes(10), run: examples },
    Step { name: "build", about: "the release server builds", limit: minutes(10), run: build },
    Step { name: "python", about: "Python websockets and curl", limit: minutes(10), run: python },
    Step {
        name: "node",
        about: "Node's ws, clients/js, and ringload beside npm's clients",
        limit: minutes(10),
        run: node,
    },
    Step { name: "c", about: "libwebsockets", limit: minutes(10), run: c },
    Step { name: "browser", about: "the page and ringload's reports in Chromium", limit: minutes(10), run: browser },
    Step { name: "peers", about: "ringload against servers of others", limit: minutes(15), run: against_peers },
    Step { name: "conformance", about: "Autobahn TestSuite", limit: minutes(10), run: autobahn },
    Step {
        name: "release",
        about: "tests that need release speed: faults, calls, idle",
        limit: minutes(30),
        run: release,
    },
    Step {
        name: "instructions",
        about: "what hot paths execute, against the record",
        limit: minutes(10),
        run: count_instructions,
    },
    Step { name: "slow", about: "a client beside 1,000 slow ones", limit: minutes(10), run: slow_clients },
    Step { name: "tls", about: "testssl.sh and sslyze", limit: minutes(15), run: scan_tls },
    Step { name: "fuzz", about: "each fuzz target for a moment", limit: minutes(20), run: fuzz },
    Step { name: "miri", about: "unsafe code under Miri", limit: minutes(10), run: miri },
    Step { name: "deny", about: "licences and sources of dependencies", limit: minutes(2), run: deny },
];

fn tidy(context: &Context, _: Deadline) -> Outcome {
    match tidy::command(context) {
        Ok(true) => Outcome::Passed,
        Ok(false) => Outcome::Failed("faults are listed above".to_owned()),
        Err(reason) => Outcome::Failed(reason),
    }
}

fn fmt(context: &Context, deadline: Deadline) -> Outcome {
    process::run(&mut context.cargo(&["fmt", "--all", "--check"]), deadline).into()
}

fn clippy(context: &Context, deadline: Deadline) -> Outcome {
    let mut cargo = context.cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    process::run(&mut cargo, deadline).into()
}

fn test(context: &Context, deadline: Deadline) -> Outcome {
    process::run(&mut context.cargo(&["test", "--workspace", "--quiet", "--no-fail-fast"]), deadline).into()
}

fn doc(context: &Context, deadline: Deadline) -> Outcome {
    let mut cargo = context.cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    process::run(cargo.env("RUSTDOCFLAGS", "-D warnings"), deadline).into()
}

/// In a target directory of its own: the flag would otherwise rebuild everything twice.
fn loom(context: &Context, deadline: Deadline) -> Outcome {
    let mut cargo = context.cargo(&["test", "--quiet", "--release", "--package", "ringwire-engine"]);
    cargo.args(["--test", "loom_mailbox"]);
    cargo.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", context.target.join("loom"));
    process::run(&mut cargo, deadline).into()
}

fn examples(context: &Context, deadline: Deadline) -> Outcome {
    process::run(&mut context.cargo(&["build", "--workspace", "--examples", "--quiet"]), deadline).into()
}

fn build(context: &Context, deadline: Deadline) -> Outcome {
    server::build(context, deadline).map(|_| ()).into()
}

fn python(context: &Context, deadline: Deadline) -> Outcome {
    let needs = provision::programs(context, &["curl", "openssl"], deadline)
        .and_then(|()| provision::python_clients(context, deadline));
    with(context, needs, |python| {
        let mut pytest = against_server(context, &python, deadline)?;
        // Neither bytecode nor a cache is written into the source tree.
        pytest.env("PYTHONDONTWRITEBYTECODE", "1");
        pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/python"]);
        process::run(&mut pytest, deadline)
    })
}

fn node(context: &Context, deadline: Deadline) -> Outcome {
    with(context, provision::npm_packages(context, deadline), |modules| {
        let mut build = context.command("node");
        build.env("NODE_PATH", &modules).args(["clients/js/build.js", "--check"]);
        process::run(&mut build, deadline)?;
        let mut node = node_tests(context, &modules, "tests/node", deadline)?;
        node.env("RINGLOAD_BIN", quick_ringload(context, deadline)?);
        process::run(node.args(files(&context.root.join("clients/js/tests"), ".test.js")?), deadline)
    })
}

fn c(context: &Context, deadline: Deadline) -> Outcome {
    with(context, c_client::needs(context, deadline), |()| c_client::run(context, deadline))
}

fn browser(context: &Context, deadline: Deadline) -> Outcome {
    let needs = provision::npm_packages(context, deadline)
        .and_then(|modules| Ok((modules, provision::chromium(context, deadline)?)));
    with(context, needs, |(modules, chromium)| {
        let mut node = node_tests(context, &modules, "tests/browser", deadline)?;
        node.env("RINGLOAD_BIN", quick_ringload(context, deadline)?);
        node.env("CHROMIUM", chromium).env("SCREENSHOTS", context.folder("screenshots")?);
        process::run(&mut node, deadline)
    })
}

/// Those that need neither a download of a hundred megabytes nor minutes of a compiler.
fn against_peers(context: &Context, deadline: Deadline) -> Outcome {
    const SOME: [&str; 3] = ["websockets", "ws", "fastwebsockets"];
    let needs = peers::provide(context, &SOME, deadline).and_then(|provided| match provided.missing.first() {
        Some((name, reason)) => Err(format!("{name}: {reason}")),
        None => Ok(provided.ready),
    });
    with(context, needs, |ready| {
        let lines: Vec<String> = ready.iter().map(|peer| format!("{} {}", peer.name, peer.to_line())).collect();
        let mut cargo = context.cargo(&["test", "--quiet", "--package", "ringload", "--test", "peers"]);
        cargo.args(["--", "--ignored", "--test-threads=1"]).env("RINGWIRE_PEERS", lines.join("\n"));
        process::run(&mut cargo, deadline)
    })
}

fn autobahn(context: &Context, deadline: Deadline) -> Outcome {
    with(context, provision::autobahn(context, deadline), |python| {
        conformance::run(context, &python, &conformance::some(), deadline)
    })
}

fn count_instructions(context: &Context, deadline: Deadline) -> Outcome {
    let valgrind = match provision::program(context, &["valgrind"], deadline) {
        Ok(valgrind) => valgrind,
        Err(reason) => return Outcome::Skipped(reason),
    };
    match instructions::compare(context, &valgrind, deadline) {
        Ok(Compared::Held) => Outcome::Passed,
        Ok(Compared::Incomparable(why)) => Outcome::Skipped(why),
        Err(reason) => Outcome::Failed(reason),
    }
}

/// Needs a core for the server and one for its clients.
fn slow_clients(context: &Context, deadline: Deadline) -> Outcome {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Outcome::Skipped("one core is too few to measure a server beside its clients".to_owned());
    }
    let needs = provision::program(context, &["slowhttptest"], deadline);
    with(context, needs, |slowhttptest| slow::run(context, &slowhttptest, deadline).unwrap_or_else(Outcome::Failed))
}

fn scan_tls(context: &Context, deadline: Deadline) -> Outcome {
    let needs = provision::program(context, &["openssl"], deadline)
        .and_then(|_openssl| provision::program(context, &["testssl.sh", "testssl"], deadline))
        .and_then(|testssl| Ok((testssl, provision::sslyze(context, deadline)?)));
    with(context, needs, |(testssl, python)| tls::run(context, &testssl, &python, deadline))
}

/// The tests that are ignored but for this step, one at a time: these count system calls, memory and time, of the
/// release server beside them.
fn release(context: &Context, deadline: Deadline) -> Outcome {
    with(context, provision::program(context, &["strace"], deadline), |_| {
        let tests = measurements(&tidy::files(context)?);
        if tests.is_empty() {
            return Err(format!("no test is ignored with a reason that says: {MEASUREMENT}"));
        }
        let server = server::build(context, deadline)?;
        let floor = ["build", "--release", "--quiet", "--package", "ringwire-benches", "--bin", "floor"];
        process::run(&mut context.cargo(&floor), deadline)?;
        let mut cargo = context.cargo(&["test", "--release", "--quiet", "--no-fail-fast"]);
        for (package, test) in &tests {
            cargo.args(["--package", package, "--test", test]);
        }
        cargo.args(["--", "--ignored", "--test-threads=1", "--nocapture"]);
        cargo.env("RINGWIRE_BIN", server).env("RINGWIRE_FLOOR_BIN", context.target.join("release/floor"));
        process::run(&mut cargo, deadline)
    })
}

/// What the reason of an ignored test says if this step is to run it.
const MEASUREMENT: &str = "run by cargo xtask test";

/// The packages and names of the integration tests that hold measurements.
fn measurements(files: &[SourceFile]) -> Vec<(String, String)> {
    let is_test = |file: &&SourceFile| file.path.ends_with(".rs") && file.text.contains(MEASUREMENT);
    let name = |file: &SourceFile| {
        // FOLDER/tests/NAME.rs, or FOLDER/tests/NAME/anything.rs.
        let (folder, test) = file.path.split_once("/tests/")?;
        let test = test.split('/').next()?.trim_end_matches(".rs");
        let manifest = files.iter().find(|other| other.path == format!("{folder}/Cargo.toml"))?;
        Some((tidy::package_name(&manifest.text)?, test.to_owned()))
    };
    let mut tests: Vec<_> = files.iter().filter(is_test).filter_map(name).collect();
    tests.sort();
    tests.dedup();
    tests
}

/// Each target for a moment, from its seeds; all are built at once. What libFuzzer finds goes to `fuzz/corpus`, which is
/// not kept.
fn fuzz(context: &Context, deadline: Deadline) -> Outcome {
    const SECONDS_EACH: &str = "-max_total_time=5";
    let tools = match provision::cargo_fuzz(context, deadline) {
        Ok(tools) => tools,
        Err(reason) => return Outcome::Skipped(reason),
    };
    let cargo_fuzz = |subcommand: &str, arguments: &[&str]| {
        let mut cargo = context.cargo(&["fuzz", subcommand]);
        // The instrumentation is an unstable flag of the compiler; a stable one takes it when told so.
        cargo.args(arguments).env("RUSTC_BOOTSTRAP", "1").env("PATH", tools_first(&tools));
        cargo.env("CARGO_TARGET_DIR", context.target.join("fuzz"));
        cargo
    };
    let smoke = |target: &str| {
        let corpus = context.root.join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus).map_err(|error| format!("cannot make {}: {error}", corpus.display()))?;
        let seeds = format!("fuzz/seeds/{target}");
        let arguments = [target, &corpus.display().to_string(), &seeds, "--", SECONDS_EACH, "-timeout=20"];
        let log = provision::log(context, &format!("fuzz-{target}"))?;
        process::run_quietly(&mut cargo_fuzz("run", &arguments), &log, deadline)?;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        println!("{target}: {}", text.lines().rfind(|line| line.starts_with("Done ")).unwrap_or("done"));
        Ok(())
    };
    let run = || {
        let targets = files(&context.root.join("fuzz/fuzz_targets"), ".rs")?;
        process::run_quietly(&mut cargo_fuzz("build", &[]), &provision::log(context, "fuzz-build")?, deadline)?;
        targets.iter().filter_map(|file| file.file_stem()?.to_str()).try_for_each(smoke)
    };
    run().into()
}

fn miri(context: &Context, deadline: Deadline) -> Outcome {
    let nightly = || {
        let mut rustup = context.command("rustup");
        // Set by the toolchain that runs this program; they would hide the other one.
        rustup.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").args(["run", "nightly", "cargo"]);
        rustup.env("CARGO_TARGET_DIR", context.target.join("miri"));
        rustup
    };
    let mut version = nightly();
    version.args(["miri", "--version"]);
    if !here(version, deadline) {
        return Outcome::Skipped("no Miri here: rustup toolchain install nightly --component miri".to_owned());
    }
    let mut cargo = nightly();
    cargo.args(["miri", "test", "--package", "ringwire-codec", "--lib", "simd"]);
    process::run(&mut cargo, deadline).into()
}

/// Advisories are left out: they are fetched, and what is fetched changes what a commit's test says.
fn deny(context: &Context, deadline: Deadline) -> Outcome {
    if !here(context.cargo(&["deny", "--version"]), deadline) {
        return Outcome::Skipped("no cargo-deny here: cargo install cargo-deny".to_owned());
    }
    process::run(&mut context.cargo(&["deny", "check", "bans", "licenses", "sources"]), deadline).into()
}

/// Runs a step with what it needs, or says that it could not be had.
fn with<Needs, Done: Into<Outcome>>(
    context: &Context,
    needs: Result<Needs, String>,
    run: impl FnOnce(Needs) -> Done,
) -> Outcome {
    match needs {
        Ok(needs) => run(needs).into(),
        Err(reason) if context.ci => Outcome::Failed(reason),
        Err(reason) => Outcome::Skipped(reason),
    }
}

/// `program`, told where the release server is.
fn against_server(context: &Context, program: &Path, deadline: Deadline) -> Result<Command, String> {
    let mut command = context.command(program);
    command.env("RINGWIRE_BIN", server::build(context, deadline)?);
    Ok(command)
}

/// Node's test runner on the test files of a folder, one file at a time.
fn node_tests(context: &Context, modules: &Path, folder: &str, deadline: Deadline) -> Result<Command, String> {
    let mut node = against_server(context, Path::new("node"), deadline)?;
    node.env("NODE_PATH", modules).args(["--test", "--test-reporter=spec", "--test-concurrency=1"]);
    node.args(files(&context.root.join(folder), ".test.js")?);
    Ok(node)
}

/// ringload, where it does not matter how fast it is: what it says, not what it measures, is looked at.
fn quick_ringload(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    process::run(&mut context.cargo(&["build", "--quiet", "--package", "ringload"]), deadline)?;
    Ok(context.target.join("debug/ringload"))
}

/// The files of a folder whose names end like this, in the order of their names. None is an error.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error| format!("cannot read {}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    if files.is_empty() { Err(format!("no *{ending} in {}", folder.display())) } else { Ok(files) }
}

/// The search path with this folder before all others.
fn tools_first(folder: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}

/// Whether a command runs and succeeds.
fn here(mut command: Command, deadline: Deadline) -> bool {
    let quiet = std::process::Stdio::null;
    process::run(command.stdout(quiet()).stderr(quiet()), deadline.within(minutes(1))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source_file;

    #[test]
    fn measurements_are_found_by_the_reason_they_are_ignored_for() {
        let marked = format!("//! x\n#[ignore = \"{MEASUREMENT}\"]\n");
        let files = [
            source_file("loadtest/Cargo.toml", "[package]\nname = \"ringload\"\n"),
            source_file("crates/a/Cargo.toml", "[package]\nname = \"ringwire-a\"\n"),
            source_file("loadtest/tests/idle.rs", &marked),
            source_file("loadtest/tests/quick.rs", "//! x\n#[ignore = \"a part of another\"]\n"),
            source_file("crates/a/tests/whole/one.rs", &marked),
            source_file("crates/a/tests/whole/main.rs", &marked),
        ];
        let expected = [("ringload", "idle"), ("ringwire-a", "whole")];
        assert_eq!(measurements(&files), expected.map(|(package, test)| (package.to_owned(), test.to_owned())));
    }
}
