//! What processes use: CPU time and memory, from `/proc` (proc(5)).
//!
//! CPU time is the sum of a process's threads' `schedstat`, in nanoseconds of the scheduler's own account. Where the
//! kernel keeps none, or threads have ended, it is `utime + stime` of `/proc/PID/stat`, in ticks of 10 ms. Both count
//! what the kernel does on the process's behalf, the loopback device's work included.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::json::Json;

/// A tick of `/proc/PID/stat`: `USER_HZ` is 100 on every architecture that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// A process whose use is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process of this number.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(pid: u32) -> io::Result<Self> {
        let this = Self { pid };
        this.cpu_time().map_err(|error| io::Error::new(error.kind(), format!("no process {pid}: {error}")))?;
        Ok(this)
    }

    /// This process.
    pub fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// CPU time that the process has used since it started, in user and kernel mode, all its threads together, those
    /// that have ended included.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread that ends meanwhile is in the ticks.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanos += run_nanos(&text).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos).max(self.cpu_ticks()?))
    }

    /// CPU time by `/proc/PID/stat`, in whole ticks.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn cpu_ticks(&self) -> io::Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let ticks = stat_ticks(&text).ok_or_else(|| io::Error::other("/proc/PID/stat has another form"))?;
        Ok(TICK * ticks)
    }

    /// Memory in use, in bytes: the resident set (`VmRSS`).
    ///
    /// # Errors
    /// If the process is gone.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        resident_bytes(&text).ok_or_else(|| io::Error::other("/proc/PID/status has no VmRSS"))
    }

    /// How many threads the process has.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn threads(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.pid))?.count())
    }
}

/// What the machine is, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The CPU's name.
    pub cpu: String,
    /// Cores that are there.
    pub cores: usize,
    /// What new TCP connections use against congestion, which costs CPU time on loopback too.
    pub congestion_control: String,
}

impl Machine {
    /// This machine. What it does not say is `unknown`.
    pub fn this() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
        let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
        let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
        Self {
            kernel: known(kernel.trim()),
            cpu: known(cpu.unwrap_or_default()),
            cores,
            congestion_control: known(congestion.trim()),
        }
    }

    /// The machine, for a report.
    pub fn to_json(&self) -> Json {
        Json::object([
            ("kernel", self.kernel.as_str().into()),
            ("cpu", self.cpu.as_str().into()),
            ("cores", self.cores.into()),
            ("tcp_congestion_control", self.congestion_control.as_str().into()),
        ])
    }
}

/// CPU time that all cores together were busy since the machine started, from `/proc/stat`. What other processes used
/// in an interval is the difference of this less what the known ones used.
///
/// # Errors
/// If there is no such file.
pub fn machine_busy() -> io::Result<Duration> {
    let text = fs::read_to_string(Path::new("/proc/stat"))?;
    busy_ticks(&text).map(|ticks| TICK * ticks).ok_or_else(|| io::Error::other("/proc/stat has another form"))
}

fn known(text: &str) -> String {
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

/// The first field of `schedstat`: time on a CPU. Zero for a thread that has run means that no account is kept.
fn run_nanos(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// `utime + stime`: the 14th and 15th field. The second is the name in brackets, which may hold anything.
fn stat_ticks(text: &str) -> Option<u32> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

fn resident_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// All of the first line but idle and waiting for a disk.
fn busy_ticks(text: &str) -> Option<u32> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|&index| fields.get(index)).sum();
    u32::try_from(busy).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_with_spaces_and_brackets() {
        let text = "42 (a) (b c) S 1 42 42 0 -1 4194560 100 0 0 0 130 25 0 0 20 0 3 0 100 1000 10 18446744073709551615";
        assert_eq!(stat_ticks(text), Some(155));
        assert_eq!(stat_ticks("42 nothing"), None);
    }

    #[test]
    fn other_files_are_read() {
        assert_eq!(run_nanos("123456 789 10\n"), Some(123_456));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(busy_ticks("cpu  10 1 5 1000 7 2 3 4 0 0\ncpu0 1\n"), Some(21));
    }

    #[test]
    fn own_use_grows_with_work_and_memory() {
        let own = Process::own();
        let before = own.cpu_time().expect("own process");
        let resident = own.resident_bytes().expect("own process");
        let work = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(own.resident_bytes().expect("own process") >= resident + (60 << 20));
        assert!(work.iter().map(|&byte| u64::from(byte)).sum::<u64>() == 64 << 20);
        assert!(own.cpu_time().expect("own process") > before);
        assert!(own.threads().expect("own process") >= 1);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Process::new(u32::MAX).is_err());
    }
}
