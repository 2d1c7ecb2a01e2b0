//! Child processes, each with a deadline.
//!
//! A child is killed by its process id, together with everything it has started, when its deadline passes or its
//! guard is dropped. Output that is wanted goes through a file, so that no pipe can fill up and no thread is needed.
//! Children stay in the terminal's process group: an interrupt reaches them as it reaches this program.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long to pause between two looks at a child.
const POLL: Duration = Duration::from_millis(10);

/// The instant after which a wait is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// `duration` from now.
    pub(crate) fn after(duration: Duration) -> Self {
        Self(now() + duration)
    }

    /// This deadline, or `duration` from now if that is earlier.
    pub(crate) fn within(self, duration: Duration) -> Self {
        Self(self.0.min(now() + duration))
    }

    pub(crate) fn has_passed(self) -> bool {
        now() >= self.0
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of this tool, which imports no ringwire crate")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits a moment before the next look.
#[expect(clippy::disallowed_methods, reason = "a child's end cannot be waited for with a deadline in std")]
pub(crate) fn pause() {
    std::thread::sleep(POLL);
}

/// A child that does not outlive this value.
#[derive(Debug)]
pub(crate) struct Guarded(Child);

impl Guarded {
    /// Starts `command`.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, String> {
        command.spawn().map(Self).map_err(|error| format!("cannot run {}: {error}", name_of(command)))
    }

    /// How the child ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.0.try_wait().map_err(|error| format!("cannot wait for process {}: {error}", self.0.id()))
    }

    /// Waits for the child's end; `None` if the deadline passed first.
    pub(crate) fn wait(&mut self, deadline: Deadline) -> Result<Option<ExitStatus>, String> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            pause();
        }
    }

    /// Asks the child to end in good order.
    pub(crate) fn terminate(&self) -> Result<(), String> {
        signal("-TERM", &[self.0.id()])
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        let started_by_it = descendants(self.0.id());
        // Both may fail only because the process is gone already, which is what is wanted.
        _ = self.0.kill();
        _ = self.0.wait();
        if !started_by_it.is_empty() {
            _ = signal("-KILL", &started_by_it);
        }
    }
}

/// Runs `command` to its end, with this program's own output. An error says how it failed.
pub(crate) fn run(command: &mut Command, deadline: Deadline) -> Result<(), String> {
    let name = name_of(command);
    match Guarded::spawn(command)?.wait(deadline)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("`{name}` ended with {status}")),
        None => Err(format!("`{name}` was killed: it had not ended in its time")),
    }
}

/// Runs `command` to its end with all it prints going to the file `log`, which an error quotes the end of.
pub(crate) fn run_quietly(command: &mut Command, log: &Path, deadline: Deadline) -> Result<(), String> {
    let file = File::create(log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
    let second = file.try_clone().map_err(|error| format!("cannot write {}: {error}", log.display()))?;
    run(command.stdout(file).stderr(second), deadline).map_err(|error| format!("{error}\n{}", tail(log)))
}

/// What `command` prints on its standard output; its errors are dropped. `scratch` is a file to hold the output.
pub(crate) fn output(command: &mut Command, scratch: &Path, deadline: Deadline) -> Result<String, String> {
    let file = File::create(scratch).map_err(|error| format!("cannot write {}: {error}", scratch.display()))?;
    run(command.stdout(file).stderr(Stdio::null()), deadline)?;
    fs::read_to_string(scratch).map_err(|error| format!("cannot read {}: {error}", scratch.display()))
}

/// The last lines of a log, indented.
pub(crate) fn tail(log: &Path) -> String {
    const LINES: usize = 15;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    lines[from..].iter().map(|line| format!("    {line}\n")).collect()
}

fn name_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(program.to_string_lossy()).chain(arguments).take(8).collect::<Vec<_>>().join(" ")
}

fn signal(name: &str, processes: &[u32]) -> Result<(), String> {
    let ids = processes.iter().map(u32::to_string);
    let status = Command::new("kill").arg(name).args(ids).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("kill {name} ended with {status}")),
        Err(error) => Err(format!("cannot run kill: {error}")),
    }
}

/// All processes that `root` has started, and those they have started, as `/proc` shows them now.
fn descendants(root: u32) -> Vec<u32> {
    let parents = processes();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, its_parent)| *its_parent == parent).map(|(process, _)| *process));
        next += 1;
    }
    found.split_off(1)
}

/// Every process with its parent.
fn processes() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // proc(5): `pid (name) state ppid ...`, and the name may hold anything but ends with the last bracket.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((id, parent))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn is_running(process: u32) -> bool {
        // A zombie that nobody has reaped yet is not running.
        fs::read_to_string(format!("/proc/{process}/stat"))
            .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
    }

    #[test]
    fn a_command_that_fails_is_an_error() {
        let deadline = Deadline::after(Duration::from_secs(10));
        assert_eq!(run(&mut shell("exit 0"), deadline), Ok(()));
        assert!(run(&mut shell("exit 3"), deadline).is_err_and(|error| error.contains("exit status: 3")));
    }

    #[test]
    fn a_command_that_outlives_its_deadline_is_killed() {
        let started = now();
        let error = run(&mut shell("sleep 60"), Deadline::after(Duration::from_millis(50)));
        assert!(error.is_err_and(|error| error.contains("killed")));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn dropping_a_guard_kills_what_the_child_started() {
        let guard = Guarded::spawn(&mut shell("sleep 60 & sleep 60; true")).expect("sh runs");
        let deadline = Deadline::after(Duration::from_secs(10));
        let children = loop {
            let children = descendants(guard.0.id());
            if children.len() == 2 || deadline.has_passed() {
                break children;
            }
            pause();
        };
        assert_eq!(children.len(), 2);
        drop(guard);
        while children.iter().any(|child| is_running(*child)) && !deadline.has_passed() {
            pause();
        }
        assert!(!children.iter().any(|child| is_running(*child)));
    }
}
