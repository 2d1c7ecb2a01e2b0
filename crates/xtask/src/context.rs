//! Where things are: the checkout, its target directory, and whether this is a CI run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The facts every step needs.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The root of the checkout.
    pub(crate) root: PathBuf,
    /// Where cargo builds, and where everything that is installed or reported goes.
    pub(crate) target: PathBuf,
    /// Under CI (`CI` is set and is neither empty, `0` nor `false`) a step that cannot run has failed.
    pub(crate) ci: bool,
}

impl Context {
    /// The checkout this program was built from.
    pub(crate) fn of_this_checkout() -> Self {
        let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&package).ancestors().nth(2).expect("xtask stands in crates/ of the checkout").to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => root.join(directory),
            None => root.join("target"),
        };
        let ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        Self { root, target, ci }
    }

    /// `program`, to be run in the root of the checkout.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(std::process::Stdio::null());
        command
    }

    /// The cargo that runs this program.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments);
        command
    }

    /// A folder under the target directory, made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.target.join(name);
        std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        Ok(folder)
    }
}
