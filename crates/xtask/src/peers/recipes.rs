//! How each kind of peer is made. Doing it again when nothing has changed takes a moment.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Peer, Recipe, shown};
use crate::context::Context;
use crate::process::{self, Deadline};
use crate::provision;

/// Where Debian's golang packages put their sources.
const DEBIAN_GOPATH: &str = "/usr/share/gocode";

/// Makes the peer and says how it is started: program and arguments, as seen from the root of the checkout.
pub(super) fn make(context: &Context, peer: &Peer, deadline: Deadline) -> Result<Vec<String>, String> {
    let (program, arguments) = match peer.recipe {
        Recipe::RustOne => {
            (rust(context, "fastwebsockets", &["--no-default-features"], deadline)?, vec![peer.name.to_owned()])
        }
        Recipe::RustAll => (rust(context, "peers", &[], deadline)?, vec![peer.name.to_owned()]),
        Recipe::Python(script) => {
            let script = source(context, "python").join(script);
            (provision::python_peers(context, deadline)?, vec![shown(context, &script)])
        }
        Recipe::Node(script) => node(context, script, deadline)?,
        Recipe::Bun => bun(context, deadline)?,
        Recipe::Go => (go(context, deadline)?, Vec::new()),
        Recipe::Cpp => (cpp(context, deadline)?, Vec::new()),
    };
    let mut words = vec![shown(context, &program)];
    words.extend(arguments);
    words.extend(["--port", "{port}"].map(str::to_owned));
    Ok(words)
}

fn source(context: &Context, name: &str) -> PathBuf {
    context.root.join("benches/peers").join(name)
}

/// Builds benches/peers for this very processor, into a program of this name.
fn rust(context: &Context, name: &str, flags: &[&str], deadline: Deadline) -> Result<PathBuf, String> {
    let target = context.folder("peers/rust")?;
    let mut cargo = context.cargo(&["build", "--release", "--locked", "--manifest-path", "benches/peers/Cargo.toml"]);
    cargo.args(flags).arg("--target-dir").arg(&target);
    cargo.env("RUSTFLAGS", "-C target-cpu=native").env_remove("CARGO_TARGET_DIR");
    build(context, &format!("peers-{name}"), cargo, deadline)?;
    // The next build, with other features, leaves its program in the same place.
    let program = context.folder("peers/bin")?.join(name);
    let built = target.join("release/peers");
    let fault = |error| format!("cannot copy {} to {}: {error}", built.display(), program.display());
    // What runs cannot be written to, but it can be replaced.
    let fresh = program.with_extension("new");
    fs::copy(&built, &fresh).and_then(|_| fs::rename(&fresh, &program)).map_err(fault)?;
    Ok(program)
}

/// A script beside the packages that it requires.
fn node(context: &Context, script: &str, deadline: Deadline) -> Result<(PathBuf, Vec<String>), String> {
    let node = provision::program(context, &["node"], deadline).map(|_| PathBuf::from("node"))?;
    let modules = provision::npm(context, "benches/peers/node", "peers/node", deadline)?;
    let copy = modules.with_file_name(script);
    let from = source(context, "node").join(script);
    fs::copy(&from, &copy).map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), copy.display()))?;
    Ok((node, vec![shown(context, &copy)]))
}

/// Bun itself, which npm's package of it would link with a script; its binaries are packages of their own.
fn bun(context: &Context, deadline: Deadline) -> Result<(PathBuf, Vec<String>), String> {
    let modules = provision::npm(context, "benches/peers/bun", "peers/bun", deadline)?;
    let binaries = ["bun-linux-x64", "bun-linux-aarch64"].map(|name| modules.join("@oven").join(name).join("bin/bun"));
    let bun = binaries.into_iter().find(|binary| binary.is_file()).ok_or("npm has no Bun for this machine")?;
    Ok((bun, vec![shown(context, &source(context, "bun").join("server.ts"))]))
}

fn go(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    provision::program_of(context, "go", "golang-go", deadline)?;
    let library = Path::new(DEBIAN_GOPATH).join("src/github.com/gorilla/websocket/conn.go");
    provision::file_of(context, &library, "golang-github-gorilla-websocket-dev", deadline)?;
    let program = context.folder("peers/bin")?.join("gorilla");
    let mut go = context.command("go");
    go.current_dir(source(context, "go")).args(["build", "-o"]).arg(&program).arg(".");
    // Without modules nothing is looked for on the network.
    go.env("GO111MODULE", "off").env("GOPATH", DEBIAN_GOPATH).env("GOCACHE", context.folder("peers/go-cache")?);
    build(context, "peers-go", go, deadline)?;
    Ok(program)
}

fn cpp(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    provision::program(context, &["g++"], deadline)?;
    provision::library(context, "boost/version.hpp", "libboost-dev", deadline)?;
    let program = context.folder("peers/bin")?.join("beast");
    let source = source(context, "cpp").join("beast.cpp");
    if is_newer(&program, &source) {
        return Ok(program);
    }
    println!("building {}", program.display());
    let mut compiler = context.command("g++");
    compiler.args(["-std=c++17", "-O2", "-march=native", "-DNDEBUG", "-Wall", "-o"]).arg(&program).arg(&source);
    build(context, "peers-cpp", compiler, deadline)?;
    Ok(program)
}

fn build(context: &Context, name: &str, mut command: std::process::Command, deadline: Deadline) -> Result<(), String> {
    process::run_quietly(&mut command, &provision::log(context, name)?, deadline)
}

fn is_newer(program: &Path, source: &Path) -> bool {
    let changed = |file: &Path| fs::metadata(file).and_then(|facts| facts.modified());
    matches!((changed(program), changed(source)), (Ok(program), Ok(source)) if program > source)
}
