//! Where a comparison runs: in a network namespace of its own, whose congestion control is the same for all servers.
//!
//! The system's choice is not touched: a namespace has its own, and it is gone with the comparison. A namespace may only
//! have one that the system allows everybody, so one that is not among those is allowed while the comparison runs. It
//! takes root, and `unshare` and `ip`. Where it cannot be had, that is said, and the system's choice holds for all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline};
use crate::provision;

/// Brings the namespace's loopback up, sets its congestion control to the first argument, and becomes the others.
const SCRIPT: &str = "ip link set lo up && echo \"$0\" > /proc/sys/net/ipv4/tcp_congestion_control && exec \"$@\"";

/// Where comparisons run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In namespaces with the congestion control that is asked for.
    Own,
    /// Beside everything else, with the system's.
    System { why: String },
}

impl Place {
    /// Tries whether there can be namespaces with this congestion control.
    pub(crate) fn find(context: &Context, congestion: &str) -> Result<Self, String> {
        let log = provision::log(context, "bench-namespace")?;
        let tried = Allowed::allow(Path::new(ALLOWED), congestion).and_then(|_allowed| {
            let mut trial = within(context, congestion);
            process::run_quietly(trial.arg("true"), &log, Deadline::after(Duration::from_secs(10)))
        });
        Ok(match tried {
            Ok(()) => Self::Own,
            Err(error) => Self::System { why: error.trim_end().to_owned() },
        })
    }

    /// What begins a command there, to which program and arguments are added, and what has to be there meanwhile.
    pub(crate) fn command(&self, context: &Context, congestion: &str) -> Result<(Command, Option<Allowed>), String> {
        Ok(match self {
            Self::Own => (within(context, congestion), Some(Allowed::allow(Path::new(ALLOWED), congestion)?)),
            // Runs what it is told as it is.
            Self::System { .. } => (context.command("env"), None),
        })
    }
}

/// A congestion control that everybody may choose as long as this value is there.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// The system's list, and what it was, if it was changed.
    before: Option<(PathBuf, String)>,
}

const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

impl Allowed {
    fn allow(list: &Path, name: &str) -> Result<Self, String> {
        let fault = |error| format!("{}: {error}", list.display());
        let before = fs::read_to_string(list).map_err(fault)?;
        if before.split_whitespace().any(|control| control == name) {
            return Ok(Self { before: None });
        }
        fs::write(list, format!("{} {name}", before.trim())).map_err(fault)?;
        Ok(Self { before: Some((list.to_owned(), before)) })
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        // It could be written to, so it can be again.
        let _ = self.before.take().map(|(list, before)| fs::write(list, before));
    }
}

fn within(context: &Context, congestion: &str) -> Command {
    let mut command = context.command("unshare");
    command.args(["--net", "sh", "-c", SCRIPT, congestion]);
    command
}

/// The congestion controls that the kernel has, with spaces between.
fn known_controls() -> String {
    fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default().trim().to_owned()
}

/// Refuses a congestion control that the kernel does not have.
pub(crate) fn check_congestion(name: &str) -> Result<(), String> {
    let known = known_controls();
    if known.split_whitespace().any(|control| control == name) {
        return Ok(());
    }
    Err(format!("--congestion {name}: the kernel has {known} (modprobe tcp_{name} may bring it)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of this test, which is to remove it.
    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("xtask-place-{name}-{}", std::process::id()))
    }

    #[test]
    fn what_runs_in_a_place_of_its_own_has_its_congestion_control_and_a_loopback() {
        let context = Context::of_this_checkout();
        // Only of those that everybody may choose already: a test changes nothing of the system.
        for control in fs::read_to_string(ALLOWED).unwrap_or_default().split_whitespace() {
            let place = Place::find(&context, control).unwrap();
            let Place::Own = place else {
                // Not root, or no `ip`: then the reason is told.
                assert!(matches!(&place, Place::System { why } if !why.is_empty()), "{place:?}");
                return;
            };
            let (mut command, _allowed) = place.command(&context, control).unwrap();
            command.args(["sh", "-c", "cat /proc/sys/net/ipv4/tcp_congestion_control; ip -o link show up dev lo"]);
            let scratch = scratch("output");
            let said = process::output(&mut command, &scratch, Deadline::after(Duration::from_secs(10))).unwrap();
            fs::remove_file(scratch).unwrap();
            let lines: Vec<&str> = said.lines().collect();
            assert!(lines.len() == 2 && lines[0] == control && lines[1].contains("LOOPBACK"), "{lines:?}");
        }
    }

    #[test]
    fn a_congestion_control_is_allowed_for_as_long_as_it_is_wanted() {
        let list = scratch("allowed");
        let is = || fs::read_to_string(&list).unwrap();
        fs::write(&list, "reno cubic\n").unwrap();
        let known = Allowed::allow(&list, "cubic").unwrap();
        assert!(known.before.is_none() && is() == "reno cubic\n");
        let new = Allowed::allow(&list, "bbr").unwrap();
        assert_eq!(is(), "reno cubic bbr");
        drop((known, new));
        assert_eq!(is(), "reno cubic\n");
        fs::remove_file(&list).unwrap();
        assert!(Allowed::allow(&list, "bbr").unwrap_err().contains("xtask-place-allowed"));
    }

    #[test]
    fn a_congestion_control_that_is_not_there_is_refused_with_those_that_are() {
        let fault = check_congestion("nonsense").unwrap_err();
        assert!(fault.contains("nonsense") && fault.contains(&known_controls()), "{fault}");
        assert!(known_controls().split_whitespace().all(|control| check_congestion(control).is_ok()));
    }

    #[test]
    fn without_a_place_of_its_own_a_command_runs_as_it_is() {
        let context = Context::of_this_checkout();
        let place = Place::System { why: "not root".to_owned() };
        let (command, allowed) = place.command(&context, "cubic").unwrap();
        assert_eq!(
            (command.get_program().to_str(), command.get_args().count(), allowed.is_none()),
            (Some("env"), 0, true)
        );
    }
}
