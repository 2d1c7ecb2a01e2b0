//! What processes use: CPU time, memory and threads, from `/proc` (proc(5)).
//!
//! CPU time is the sum of a process's threads' `schedstat`, in nanoseconds of the scheduler's own account. Where the
//! kernel keeps none, or threads have ended, it is `utime + stime` of `/proc/PID/stat`, in ticks of 10 ms. Both count
//! what the kernel does on the process's behalf, the loopback device's work included.
//!
//! A server may be several processes. Its children are looked up anew at each reading, so one that it starts while it
//! is measured counts. One that has ended counts as soon as its parent has waited for it (`cutime + cstime`); a parent
//! that never waits hides it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// A tick of `/proc/PID/stat`: `USER_HZ` is 100 on every architecture that this runs on.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Most processes of a tree that are looked at; further ones are left out.
const PROCESSES_MAX: usize = 4096;

/// A process whose use is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: u32,
}

/// What a process and all that descend from it use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// CPU time since the first of them started, of those that have ended too.
    pub cpu: Duration,
    /// Each thread that lives, by the kernel's number for it.
    pub threads: BTreeMap<u32, ThreadTimes>,
    /// Memory: the sum of their resident sets, so what they share counts for each.
    pub resident_bytes: u64,
    /// How many processes they are.
    pub processes: usize,
    /// Cores that the first of them may run on, if it says so.
    pub cores_allowed: Option<usize>,
}

/// What the scheduler says of a thread; nothing where the kernel keeps no account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTimes {
    /// Time on a core.
    pub run: Duration,
    /// Time in which it was ready to run and something else had the core.
    pub waited: Duration,
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

    /// CPU time that the process alone has used since it started, in user and kernel mode, all its threads together,
    /// those that have ended included.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let threads = self.thread_times()?;
        Ok(run_time(&threads).max(self.cpu_ticks()?))
    }

    /// Each thread that lives, by the kernel's number for it.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn thread_times(&self) -> io::Result<BTreeMap<u32, ThreadTimes>> {
        let mut times = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let task = task?;
            let Some(thread) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A thread that ends meanwhile is in the ticks.
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            times.insert(thread, thread_times(&text).unwrap_or_default());
        }
        Ok(times)
    }

    /// CPU time by `/proc/PID/stat`, in whole ticks.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn cpu_ticks(&self) -> io::Result<Duration> {
        Ok(self.stat()?.0)
    }

    /// Memory in use by the process alone, in bytes: the resident set (`VmRSS`).
    ///
    /// # Errors
    /// If the process is gone.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        resident_bytes(&text).ok_or_else(|| io::Error::other("/proc/PID/status has no VmRSS"))
    }

    /// How many threads the process alone has.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn threads(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.pid))?.count())
    }

    /// What it and all that descend from it use.
    ///
    /// # Errors
    /// If the process is gone. A child that ends meanwhile is no error.
    pub fn whole_use(&self) -> io::Result<Use> {
        let mut sum = self.own_use()?;
        for child in self.tree().into_iter().skip(1) {
            let Ok(more) = child.own_use() else { continue };
            sum.cpu += more.cpu;
            sum.threads.extend(more.threads);
            sum.resident_bytes += more.resident_bytes;
            sum.processes += 1;
        }
        Ok(sum)
    }

    /// It and all that descend from it, it first; at most 4,096.
    pub fn tree(&self) -> Vec<Process> {
        let (mut found, mut waiting) = (Vec::new(), vec![*self]);
        while let Some(process) = waiting.pop() {
            if found.len() == PROCESSES_MAX {
                break;
            }
            found.push(process);
            waiting.extend(process.children());
        }
        found
    }

    /// Its number.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it uses, with those of its children that have ended.
    fn own_use(&self) -> io::Result<Use> {
        let threads = self.thread_times()?;
        let (own_ticks, ended_ticks) = self.stat()?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(Use {
            cpu: run_time(&threads).max(own_ticks) + ended_ticks,
            threads,
            // What has ended and was not waited for has none.
            resident_bytes: resident_bytes(&status).unwrap_or(0),
            processes: 1,
            cores_allowed: cores_allowed(&status),
        })
    }

    /// Those that it has started, as far as the kernel says (`CONFIG_PROC_CHILDREN`).
    fn children(&self) -> Vec<Process> {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return Vec::new() };
        let text_of = |task: io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("children")).ok();
        let pids = tasks.filter_map(text_of).flat_map(|text| pids(&text));
        pids.map(|pid| Process { pid }).collect()
    }

    /// Its own CPU time and that of its children that have ended, in whole ticks.
    fn stat(&self) -> io::Result<(Duration, Duration)> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (own, ended) = stat_ticks(&text).ok_or_else(|| io::Error::other("/proc/PID/stat has another form"))?;
        Ok((TICK * own, TICK * ended))
    }
}

/// The first two fields of `schedstat`, in nanoseconds. Zero for a thread that has run means that no account is kept.
fn thread_times(text: &str) -> Option<ThreadTimes> {
    let mut fields = text.split_whitespace().map(|field| field.parse().ok().map(Duration::from_nanos));
    Some(ThreadTimes { run: fields.next()??, waited: fields.next()?? })
}

fn run_time(threads: &BTreeMap<u32, ThreadTimes>) -> Duration {
    threads.values().map(|times| times.run).sum()
}

/// `utime + stime` and `cutime + cstime`: the 14th to 17th field. The second is the name in brackets, which may hold
/// anything.
fn stat_ticks(text: &str) -> Option<(u32, u32)> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some((next()? + next()?, next()? + next()?))
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The bits of `Cpus_allowed`, a mask in hexadecimal.
fn cores_allowed(status: &str) -> Option<usize> {
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"))?;
    let bits = mask.trim().chars().filter(|&c| c != ',').map(|c| c.to_digit(16).map(u32::count_ones));
    bits.sum::<Option<u32>>().map(|bits| bits as usize).filter(|&bits| bits > 0)
}

fn pids(text: &str) -> Vec<u32> {
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    #[test]
    fn stat_is_read_behind_a_name_with_spaces_and_brackets() {
        let text = "42 (a) (b c) S 1 42 42 0 -1 4194560 100 0 0 0 130 25 4 5 20 0 3 0 100 1000 10 18446744073709551615";
        assert_eq!(stat_ticks(text), Some((155, 9)));
        assert_eq!(stat_ticks("42 nothing"), None);
    }

    #[test]
    fn other_files_are_read() {
        let (run, waited) = (Duration::from_nanos(123_456), Duration::from_nanos(789));
        assert_eq!(thread_times("123456 789 10\n"), Some(ThreadTimes { run, waited }));
        assert_eq!(thread_times(""), None);
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(cores_allowed("Name:\tx\nCpus_allowed:\tff,00000003\nCpus_allowed_list:\t0-1\n"), Some(10));
        assert_eq!((cores_allowed("Cpus_allowed:\t0\n"), cores_allowed("Name:\tx\n")), (None, None));
        assert_eq!(pids("12 345 \n"), [12, 345]);
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

    /// A shell that says each line it is to say, with what the closure makes of it meanwhile.
    fn shell(script: &str) -> (Child, impl FnMut() -> String) {
        let piped = || Stdio::piped();
        let mut child = Command::new("sh").args(["-c", script]).stdin(piped()).stdout(piped()).spawn().expect("sh");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        (child, move || lines.next().expect("a line").expect("a line"))
    }

    #[test]
    fn children_and_theirs_count_while_they_live_and_after() {
        // The grandchild counts to burn CPU time and waits for the end of its input.
        let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo burnt; read x <&3";
        let script = format!("exec 3<&0; (sh -c '{burn}'; echo left); echo reaped; read x <&3");
        let (mut child, mut next) = shell(&script);
        let process = Process::new(child.id()).expect("it runs");
        assert_eq!(next(), "burnt");
        let (living, alone) = (process.whole_use().expect("it runs"), process.cpu_time().expect("it runs"));
        assert!(living.processes >= 2, "{living:?}");
        assert!(living.threads.len() >= living.processes && living.resident_bytes > process.resident_bytes().unwrap());
        assert!(living.cpu >= alone + TICK * 3, "{living:?}, alone {alone:?}");
        // The grandchild ends, and is waited for.
        let mut input = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut input, b"go\n").expect("it reads");
        assert_eq!((next(), next()), ("left".to_owned(), "reaped".to_owned()));
        let after = process.whole_use().expect("it runs");
        assert!(after.processes < living.processes, "{after:?}");
        // It is told in ticks then, of which a process loses a part.
        assert!(after.cpu + TICK * 4 >= living.cpu, "{after:?} after {living:?}");
        drop(input);
        child.wait().expect("it ends");
    }
}
