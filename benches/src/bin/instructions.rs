//! `instructions PATH`: does the work of a hot path, for callgrind to count. See [`ringwire_benches::counted`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

use ringwire_benches::counted::PATHS;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "\
instructions PATH    does the work of this path, and prints `units COUNT UNIT`
instructions --list  names the paths
instructions --cpu   says what decides which instructions a path executes on this processor";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [argument] = arguments.as_slice() else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    if argument == "--list" {
        PATHS.iter().for_each(|path| println!("{}", path.name));
        return ExitCode::SUCCESS;
    }
    if argument == "--cpu" {
        println!("{}", cpu());
        return ExitCode::SUCCESS;
    }
    let Some(path) = PATHS.iter().find(|path| path.name == argument) else {
        eprintln!("instructions: there is no path {argument}\n\n{HELP}");
        return ExitCode::from(2);
    };
    println!("units {} {}", (path.run)(), path.unit);
    ExitCode::SUCCESS
}

/// The architecture, and those of its features that a program finds out about as it runs.
#[cfg(target_arch = "x86_64")]
fn cpu() -> String {
    let features = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("sha", is_x86_feature_detected!("sha")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    let here = features.iter().filter(|(_, is_here)| *is_here).map(|(name, _)| format!(" {name}"));
    std::iter::once("x86_64".to_owned()).chain(here).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu() -> String {
    std::env::consts::ARCH.to_owned()
}
