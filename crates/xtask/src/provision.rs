//! What the tests need beside Rust: Python packages in a venv, npm packages, and a few programs.
//!
//! Each thing is installed once, under the target directory, at the versions the checkout pins; a stamp with the text
//! of the pins says that the installation is complete. Programs come from the system's packages. An error says what is
//! missing and what would help, as one reads it in a step's result.

use std::fs;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::process::{self, Deadline};

/// The venv of the Python clients; says where its interpreter is.
pub(crate) fn python_clients(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    let venv = context.target.join("venv");
    let pins = context.root.join("tests/python/requirements.txt");
    install_venv(context, &venv, &read(&pins)?, deadline, |pip| pip(&["-r", &path(&pins)]))
}

/// The venv of the Python peers and of the client that checks all peers; says where its interpreter is.
pub(crate) fn python_peers(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    let venv = context.folder("peers")?.join("venv");
    let pins = context.root.join("benches/peers/python/requirements.txt");
    install_venv(context, &venv, &read(&pins)?, deadline, |pip| pip(&["-r", &path(&pins)]))
}

/// The venv of the Autobahn TestSuite, ported to Python 3; says where its interpreter is.
pub(crate) fn autobahn(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    let venv = context.target.join("autobahn-venv");
    let suite = context.root.join("tests/autobahn");
    let pins = ["build", "wheels", "sdists"].map(|name| suite.join(format!("requirements-{name}.txt")));
    let port = suite.join("port_py3.py");
    let mut stamp = read(&port)?;
    for list in &pins {
        stamp += &read(list)?;
    }
    let [build, wheels, sdists] = pins.map(|list| path(&list));
    install_venv(context, &venv, &stamp, deadline, |pip| {
        pip(&["-r", &build])?;
        pip(&["--no-deps", "--only-binary", ":all:", "-r", &wheels])?;
        // The suite's own packages are of 2015 and build with what stands in the venv.
        pip(&["--no-deps", "--no-build-isolation", "-r", &sdists])?;
        let mut command = context.command(interpreter(&venv));
        command.arg(&port);
        process::run_quietly(&mut command, &log(context, "autobahn-port")?, deadline)
    })
}

/// The venv of sslyze; says where its interpreter is.
pub(crate) fn sslyze(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    let venv = context.target.join("sslyze-venv");
    let pins = context.root.join("tests/tls/requirements.txt");
    install_venv(context, &venv, &read(&pins)?, deadline, |pip| pip(&["-r", &path(&pins)]))
}

/// The npm packages of the Node and browser tests; says where their `node_modules` is.
pub(crate) fn npm_packages(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    npm(context, "tests/node", "npm", deadline)
}

/// The npm packages that the `source` folder of the checkout locks, in this folder under the target directory; says where
/// their `node_modules` is.
pub(crate) fn npm(context: &Context, source: &str, folder: &str, deadline: Deadline) -> Result<PathBuf, String> {
    let folder = context.folder(folder)?;
    let mut stamp = String::new();
    for name in ["package.json", "package-lock.json"] {
        let text = read(&context.root.join(source).join(name))?;
        write(&folder.join(name), &text)?;
        stamp += &text;
    }
    let modules = folder.join("node_modules");
    let ready = folder.join(".ready");
    if modules.is_dir() && fs::read_to_string(&ready).is_ok_and(|text| text == stamp) {
        return Ok(modules);
    }
    println!("installing npm packages into {}", folder.display());
    let mut npm = context.command("npm");
    npm.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    process::run_quietly(&mut npm, &log(context, "npm")?, deadline)
        .map_err(|error| format!("npm could not install the packages of {source}: {error}"))?;
    write(&ready, &stamp)?;
    Ok(modules)
}

/// A Chromium to drive: `$CHROMIUM`, one on the path, or Debian's.
pub(crate) fn chromium(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    match std::env::var_os("CHROMIUM") {
        Some(named) => Ok(named.into()),
        None => program(context, &["chromium", "chromium-browser", "google-chrome"], deadline)
            .map_err(|reason| format!("{reason}, or name a Chromium in $CHROMIUM")),
    }
}

/// The first of these programs that is on the path; otherwise the first of them as Debian's package of that name has
/// it, installed now if this may be done.
pub(crate) fn program(context: &Context, names: &[&str], deadline: Deadline) -> Result<PathBuf, String> {
    if let Some(found) = names.iter().find_map(|name| on_path(name)) {
        return Ok(found);
    }
    let name = names[0];
    install(context, name, deadline)?;
    names
        .iter()
        .find_map(|name| on_path(name))
        .ok_or_else(|| format!("apt-get installed no {name}: install it by hand"))
}

/// Installs Debian's package of this name, if this may be done.
fn install(context: &Context, name: &str, deadline: Deadline) -> Result<(), String> {
    if on_path("apt-get").is_none() {
        return Err(format!("no {name} here, and no apt-get to install it with: install it by hand"));
    }
    let user = process::output(context.command("id").arg("-u"), &log(context, "id")?, deadline)?;
    if user.trim() != "0" {
        return Err(format!("no {name} here, and only root may apt-get install it: install it by hand"));
    }
    println!("installing Debian's {name}");
    for arguments in [&["-qq", "update"][..], &["-qq", "install", "--yes", "--no-install-recommends", name]] {
        let mut apt = context.command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        process::run_quietly(&mut apt, &log(context, "apt-get")?, deadline)
            .map_err(|error| format!("{name} could not be installed: install it by hand ({error})"))?;
    }
    Ok(())
}

/// Makes sure that C programs can include `header`, which Debian's `package` has: installed now if this may be done.
pub(crate) fn library(context: &Context, header: &str, package: &str, deadline: Deadline) -> Result<(), String> {
    let log = log(context, "header")?;
    let is_here = || {
        let mut compiler = context.command("gcc");
        compiler.args(["-x", "c", "-fsyntax-only", "-include", header, "/dev/null"]);
        process::run_quietly(&mut compiler, &log, deadline)
    };
    if is_here().is_ok() {
        return Ok(());
    }
    install(context, package, deadline)?;
    is_here().map_err(|error| format!("{package} was installed, but C programs cannot include {header}: {error}"))
}

/// This program, which Debian's `package` has: installed now if it is not on the path and this may be done.
pub(crate) fn program_of(context: &Context, name: &str, package: &str, deadline: Deadline) -> Result<PathBuf, String> {
    if let Some(found) = on_path(name) {
        return Ok(found);
    }
    install(context, package, deadline)?;
    on_path(name).ok_or_else(|| format!("{package} was installed, but has no {name}: install it by hand"))
}

/// Makes sure that this file is there, which Debian's `package` has: installed now if this may be done.
pub(crate) fn file_of(context: &Context, file: &Path, package: &str, deadline: Deadline) -> Result<(), String> {
    if file.is_file() {
        return Ok(());
    }
    install(context, package, deadline)?;
    if file.is_file() { Ok(()) } else { Err(format!("{package} was installed, but left no {}", file.display())) }
}

/// Each of these programs, as [`program`] finds it.
pub(crate) fn programs(context: &Context, names: &[&str], deadline: Deadline) -> Result<(), String> {
    names.iter().try_for_each(|name| program(context, &[name], deadline).map(drop))
}

/// The folder that holds cargo-fuzz: any, if it is on the path, or one of its own that it is built into now.
pub(crate) fn cargo_fuzz(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    const VERSION: &str = "0.13.2";
    let tools = context.target.join("tools");
    let bin = tools.join("bin");
    if on_path("cargo-fuzz").is_some() || bin.join("cargo-fuzz").is_file() {
        return Ok(bin);
    }
    println!("building cargo-fuzz into {}", tools.display());
    let mut cargo = context.cargo(&["install", "cargo-fuzz", "--version", VERSION, "--locked", "--root"]);
    process::run_quietly(cargo.arg(&tools), &log(context, "cargo-fuzz")?, deadline)
        .map_err(|error| format!("cargo-fuzz could not be installed: {error}"))?;
    Ok(bin)
}

/// Where the program of this name is, if it is on the path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The file that a tool of this name writes what it says into.
pub(crate) fn log(context: &Context, name: &str) -> Result<PathBuf, String> {
    Ok(context.folder("xtask-logs")?.join(format!("{name}.log")))
}

/// Makes the venv unless it stands there with this stamp, and fills it with `install`, which is given pip.
fn install_venv(
    context: &Context,
    venv: &Path,
    stamp: &str,
    deadline: Deadline,
    install: impl Fn(&dyn Fn(&[&str]) -> Result<(), String>) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let python = interpreter(venv);
    let ready = venv.join(".ready");
    if python.is_file() && fs::read_to_string(&ready).is_ok_and(|text| text == stamp) {
        return Ok(python);
    }
    println!("making {}", venv.display());
    if venv.exists() {
        fs::remove_dir_all(venv).map_err(|error| format!("cannot remove {}: {error}", venv.display()))?;
    }
    let log = log(context, "venv")?;
    let mut make = context.command("python3");
    process::run_quietly(make.args(["-m", "venv"]).arg(venv), &log, deadline)
        .map_err(|error| format!("no venv could be made (is Python 3.11 or later here, with its venv?): {error}"))?;
    let pip = |arguments: &[&str]| {
        let mut pip = context.command(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(arguments);
        process::run_quietly(&mut pip, &log, deadline)
            .map_err(|error| format!("pip could not install the pinned packages: {error}"))
    };
    install(&pip)?;
    write(&ready, stamp)?;
    Ok(python)
}

fn interpreter(venv: &Path) -> PathBuf {
    venv.join("bin/python")
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn path(file: &Path) -> String {
    file.display().to_string()
}
