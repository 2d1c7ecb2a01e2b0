//! What a closed loop hides: a server that answers at once, but once for a second not at all, measured in both ways.
//!
//! `cargo run --release -p ringload --example coordinated_omission -- docs/images` takes a minute, prints the percentiles
//! and writes the pictures of docs/measuring.md into that folder.

#![forbid(unsafe_code)]

#[path = "../tests/common/faulty/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use the rest of it")]
mod faulty;

use std::path::Path;
use std::time::Duration;

use faulty::{Behavior, Faulty, Stall};
use ringload::cli::{CommandLine, Task};
use ringload::report::Report;
use ringload::report::html::units::nanoseconds;
use ringload::report::html::{Stroke, curve, latency_over_time, percentiles};

/// The server's second without an answer begins so long after the first message.
const STALL_AFTER: Duration = Duration::from_secs(10);

fn main() -> Result<(), String> {
    let folder = std::env::args().nth(1).ok_or("where are the pictures to go? Name a folder")?;
    let closed = measure("--depth 1")?;
    let open = measure("--rate 1000")?;
    println!("{:<28} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "messages", "p50", "p99", "p99.9", "max");
    for (name, report) in [("closed loop", &closed), ("open loop, corrected", &open)] {
        let latency = report.latency();
        let at = |percent| nanoseconds(latency.percentile(percent) as f64);
        let max = nanoseconds(latency.max() as f64);
        println!("{name:<28} {:>9} {:>9} {:>9} {:>9} {max:>9}", latency.count(), at(50.0), at(99.0), at(99.9));
    }
    let curves = percentiles(vec![
        curve("open loop, from when each message was due".to_owned(), 0, Stroke::Solid, open.latency()),
        curve("closed loop".to_owned(), 1, Stroke::Dashed, closed.latency()),
    ]);
    let title = "One server, silent for one second of twenty, measured in two ways";
    write(&folder, "coordinated-omission.svg", &curves.to_svg_file(title))?;
    let map = latency_over_time(&open).ok_or("nothing was measured")?;
    write(&folder, "stall.svg", &map.to_svg_file("The same second in the open loop: who came first waited longest"))
}

/// Measures the server for twenty seconds over ten connections.
fn measure(pace: &str) -> Result<Report, String> {
    let stall = Stall { first: STALL_AFTER, lasts: Duration::from_secs(1), every: None };
    let server = Faulty::start(Behavior { stall: Some(stall), ..Behavior::default() });
    let line = format!("echo {}/echo --connections 10 --seconds 20 --warm-up 1 --core 1 {pace}", server.url());
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let Task::Run(job) = CommandLine::parse(&words)?.task else { return Err(format!("{line}: not a run")) };
    let report = job.run()?;
    eprint!("{}", report.to_text());
    Ok(report)
}

fn write(folder: &str, name: &str, text: &str) -> Result<(), String> {
    let file = Path::new(folder).join(name);
    std::fs::write(&file, format!("{text}\n")).map_err(|error| format!("{}: {error}", file.display()))
}
