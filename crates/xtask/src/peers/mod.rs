//! `cargo xtask peers`: servers on libraries that nobody here wrote, provisioned, built and checked.
//!
//! [`TABLE`] says which there are. Each is made under `target/peers` from what `benches/peers` holds, with versions
//! pinned there, and then [checked](check) by a client of somebody else's: only what keeps the contract is said to be
//! ready. What cannot be had on this machine is said, and the others go on.

mod check;
mod recipes;
mod versions;

use std::path::Path;
use std::time::Duration;

use crate::context::Context;
use crate::process::Deadline;

pub(crate) use versions::version;

/// For all: downloads, two optimized builds of Rust, a header library's compiler time.
const LIMIT: Duration = Duration::from_secs(30 * 60);

const USAGE: &str = "usage: cargo xtask peers [NAME]... [--list]";

/// The names of all peers.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|peer| peer.name)
}

/// What a peer is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recipe {
    /// benches/peers with fastwebsockets alone.
    RustOne,
    /// benches/peers with all its libraries.
    RustAll,
    /// A script of benches/peers/python, in their venv.
    Python(&'static str),
    /// A script of benches/peers/node, beside its npm packages.
    Node(&'static str),
    /// benches/peers/bun, on npm's Bun.
    Bun,
    /// benches/peers/go, with Debian's Go and libraries.
    Go,
    /// benches/peers/cpp, with Debian's Boost.
    Cpp,
}

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// `/echo`, `/ws/TOPIC`, `/pub/TOPIC`.
    Paths,
    /// Socket.IO 5 over WebSocket: publish and subscribe, and no echo.
    SocketIo,
}

/// A peer that can be made.
#[derive(Debug)]
struct Peer {
    name: &'static str,
    about: &'static str,
    recipe: Recipe,
    speech: Speech,
}

const fn paths(name: &'static str, about: &'static str, recipe: Recipe) -> Peer {
    Peer { name, about, recipe, speech: Speech::Paths }
}

/// All peers.
const TABLE: &[Peer] = &[
    paths("fastwebsockets", "Rust, tokio", Recipe::RustOne),
    paths("tungstenite", "Rust, tokio-tungstenite", Recipe::RustAll),
    paths("tokio-websockets", "Rust, tokio", Recipe::RustAll),
    paths("sockudo", "Rust, sockudo-ws on tokio", Recipe::RustAll),
    paths("sockudo-ring", "Rust, sockudo-ws on tokio-uring", Recipe::RustAll),
    paths("bun", "Zig and C++, Bun's own server: a fork of uWebSockets", Recipe::Bun),
    paths("ws", "JavaScript, Node's ws with bufferutil", Recipe::Node("ws.js")),
    paths("websockets", "Python, websockets on uvloop", Recipe::Python("websockets_server.py")),
    paths("picows", "Cython, picows on uvloop", Recipe::Python("picows_server.py")),
    paths("gorilla", "Go, gorilla/websocket", Recipe::Go),
    paths("beast", "C++, Boost.Beast", Recipe::Cpp),
    Peer {
        name: "socketio",
        about: "JavaScript, Socket.IO on Node's ws: no /echo",
        recipe: Recipe::Node("socketio.js"),
        speech: Speech::SocketIo,
    },
];

/// A peer that is there and keeps its contract.
#[derive(Clone, Debug)]
pub(crate) struct PeerCommand {
    pub(crate) name: &'static str,
    pub(crate) speech: Speech,
    /// Program and arguments, to be run in the root of the checkout; `{port}` stands for the port of 127.0.0.1 that it
    /// is to listen on.
    pub(crate) words: Vec<String>,
}

/// What came of peers that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Provided {
    pub(crate) ready: Vec<PeerCommand>,
    /// Those that could not be had or broke the contract, and why.
    pub(crate) missing: Vec<(&'static str, String)>,
}

impl PeerCommand {
    /// Program and arguments with spaces between, and in quotes what holds spaces.
    pub(crate) fn to_line(&self) -> String {
        self.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A word of a command line, in quotes if it holds spaces.
pub(crate) fn quoted(word: &str) -> String {
    if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.to_owned() }
}

/// The path as seen from the root of the checkout, if it lies there.
pub(crate) fn shown(context: &Context, path: &Path) -> String {
    path.strip_prefix(&context.root).unwrap_or(path).display().to_string()
}

/// Runs the command with its arguments: whether all that was asked for is ready. An error is one of the command line.
pub(crate) fn command(context: &Context, arguments: &[String]) -> Result<bool, String> {
    if let [list] = arguments
        && list == "--list"
    {
        TABLE.iter().for_each(|peer| println!("{:<18} {}", peer.name, peer.about));
        return Ok(true);
    }
    if let Some(flag) = arguments.iter().find(|argument| argument.starts_with('-')) {
        return Err(format!("{flag} is not known\n{USAGE}"));
    }
    let names: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let names = if names.is_empty() { TABLE.iter().map(|peer| peer.name).collect() } else { names };
    let provided = provide(context, &names, Deadline::after(LIMIT))?;
    for peer in &provided.ready {
        println!("{:<18} {}", peer.name, peer.to_line());
    }
    Ok(provided.missing.is_empty())
}

/// Makes the peers of these names and checks each. What is missing is printed when it is found to be. An error is a name
/// that no peer has.
pub(crate) fn provide(context: &Context, names: &[&str], deadline: Deadline) -> Result<Provided, String> {
    let find = |name: &&str| {
        TABLE.iter().find(|peer| peer.name == *name).ok_or_else(|| {
            let known: Vec<&str> = TABLE.iter().map(|peer| peer.name).collect();
            format!("there is no peer `{name}`: there are {}", known.join(", "))
        })
    };
    let peers = names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let mut provided = Provided::default();
    for peer in peers {
        let made = recipes::make(context, peer, deadline)
            .map(|words| PeerCommand { name: peer.name, speech: peer.speech, words })
            .and_then(|command| check::check(context, &command, deadline).map(|()| command));
        match made {
            Ok(command) => provided.ready.push(command),
            Err(reason) => {
                eprintln!("{}: not here: {reason}", peer.name);
                provided.missing.push((peer.name, reason));
            }
        }
    }
    Ok(provided)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context::of_this_checkout()
    }

    #[test]
    fn a_name_that_no_peer_has_is_an_error_that_names_them_all() {
        let error = provide(&context(), &["fastwebsocket"], Deadline::after(LIMIT)).expect_err("there is none");
        assert!(error.contains("`fastwebsocket`") && TABLE.iter().all(|peer| error.contains(peer.name)), "{error}");
    }

    #[test]
    fn every_script_that_the_table_names_is_there() {
        for peer in TABLE {
            let file = match peer.recipe {
                Recipe::Python(script) => format!("python/{script}"),
                Recipe::Node(script) => format!("node/{script}"),
                Recipe::Bun => "bun/server.ts".to_owned(),
                Recipe::Go => "go/main.go".to_owned(),
                Recipe::Cpp => "cpp/beast.cpp".to_owned(),
                Recipe::RustOne | Recipe::RustAll => "src/main.rs".to_owned(),
            };
            assert!(context().root.join("benches/peers").join(&file).is_file(), "{}: {file}", peer.name);
        }
    }
}
