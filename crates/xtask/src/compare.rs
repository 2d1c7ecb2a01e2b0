//! `cargo xtask compare`: ringwire beside servers on other libraries, on this machine, with one command.
//!
//! It builds the release server and ringload, has the [peers] made and checked, and runs
//! `ringload compare` on them, which starts each in turn, interleaves the rounds and writes the page.

use std::path::PathBuf;
use std::time::Duration;

use crate::context::Context;
use crate::peers::{self, PeerCommand, Speech};
use crate::process::{self, Deadline};
use crate::server;

/// For building ringwire and ringload, and making the peers.
const BUILD_LIMIT: Duration = Duration::from_secs(45 * 60);
/// For the comparison, whatever its flags ask for.
const RUN_LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

const USAGE: &str = "\
usage: cargo xtask compare [NAME]... [-- WORKLOAD [FLAGS OF ringload compare]]
for example: cargo xtask compare fastwebsockets bun -- echo --bytes 1024 --rounds 9";

/// The name of the server that all are compared with.
const RINGWIRE: &str = "ringwire";
/// The workload if none is named: the one that every peer but Socket.IO knows.
const WORKLOAD: &str = "echo";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    /// In the order of the result, ringwire among them.
    names: Vec<&'a str>,
    workload: &'a str,
    flags: &'a [String],
}

/// Runs the command with its arguments: whether it ran to its end and all servers kept what they had to. An error is one
/// of the command line.
pub(crate) fn command(context: &Context, arguments: &[String]) -> Result<bool, String> {
    let asked = Asked::read(arguments)?;
    let deadline = Deadline::after(BUILD_LIMIT);
    let others: Vec<&str> = asked.names.iter().copied().filter(|name| *name != RINGWIRE).collect();
    let provided = peers::provide(context, &others, deadline)?;
    if !provided.missing.is_empty() {
        return Ok(false);
    }
    let compared = builds(context, deadline).and_then(|(ringwire, ringload)| {
        let mut command = context.command(ringload);
        command.args(asked.words(context, &ringwire, &provided.ready)?);
        process::run(&mut command, Deadline::after(RUN_LIMIT))
    });
    if let Err(reason) = &compared {
        eprintln!("{reason}");
    }
    Ok(compared.is_ok())
}

/// The release builds of server and generator.
fn builds(context: &Context, deadline: Deadline) -> Result<(PathBuf, PathBuf), String> {
    Ok((server::build(context, deadline)?, server::build_ringload(context, deadline)?))
}

impl<'a> Asked<'a> {
    fn read(arguments: &'a [String]) -> Result<Self, String> {
        let split = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
        let (names, rest) = (&arguments[..split], arguments.get(split + 1..).unwrap_or_default());
        if let Some(flag) = names.iter().find(|name| name.starts_with('-')) {
            return Err(format!("{flag} is not known here: flags of ringload go behind --\n{USAGE}"));
        }
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        if !names.contains(&RINGWIRE) {
            names.insert(0, RINGWIRE);
        }
        if names.len() < 2 {
            return Err(format!("with whom? cargo xtask peers --list names them\n{USAGE}"));
        }
        let (workload, flags) = match rest.split_first() {
            Some((workload, flags)) if !workload.starts_with('-') => (workload.as_str(), flags),
            _ => (WORKLOAD, rest),
        };
        Ok(Self { names, workload, flags })
    }

    /// What ringload is told.
    fn words(
        &self,
        context: &Context,
        ringwire: &std::path::Path,
        peers: &[PeerCommand],
    ) -> Result<Vec<String>, String> {
        let mut words = vec!["compare".to_owned(), self.workload.to_owned()];
        for name in &self.names {
            let line = match peers.iter().find(|peer| peer.name == *name) {
                None => {
                    let program = peers::quoted(&peers::shown(context, ringwire));
                    format!("{program} serve --shards 1 --feed none --listen 127.0.0.1:{{port}}")
                }
                Some(peer) => {
                    if peer.speech == Speech::SocketIo {
                        if self.workload == WORKLOAD {
                            return Err(format!("{name} has no /echo: leave it out, or name a workload with topics"));
                        }
                        words.extend(["--adapter-of".to_owned(), format!("{name}=socketio")]);
                    }
                    peer.to_line()
                }
            };
            words.extend(["--server".to_owned(), format!("{name}={line}")]);
        }
        for kind in ["html", "json"] {
            let flag = format!("--{kind}");
            if !self.flags.contains(&flag) {
                let file = context.folder("compare")?.join(format!("{}.{kind}", self.workload));
                println!("writing {}", peers::shown(context, &file));
                words.extend([flag, peers::shown(context, &file)]);
            }
        }
        words.extend(self.flags.iter().cloned());
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn peer(name: &'static str, speech: Speech) -> PeerCommand {
        PeerCommand { name, speech, words: texts(&["target/a b", "--port", "{port}"]) }
    }

    #[test]
    fn ringwire_is_compared_first_unless_it_is_named_elsewhere() {
        let names = |words: &[&str]| Asked::read(&texts(words)).map(|asked| asked.names.join(" "));
        assert_eq!(names(&["bun", "ws"]).as_deref(), Ok("ringwire bun ws"));
        assert_eq!(names(&["bun", "ringwire", "--", "trading"]).as_deref(), Ok("bun ringwire"));
        assert!(names(&[]).is_err_and(|error| error.contains("with whom")));
        assert!(names(&["bun", "--rounds", "3"]).is_err_and(|error| error.contains("behind --")));
    }

    #[test]
    fn what_stands_behind_the_dashes_is_a_workload_and_flags_of_ringload() {
        let flags = |words: &[&str]| {
            let words = texts(words);
            let asked = Asked::read(&words).expect("valid");
            format!("{} {}", asked.workload, asked.flags.join(" "))
        };
        assert_eq!(flags(&["bun", "--", "trading", "--topics", "9"]), "trading --topics 9");
        assert_eq!(flags(&["bun", "--", "--bytes", "9"]), "echo --bytes 9");
    }

    #[test]
    fn ringload_is_told_of_each_server_in_order_and_of_what_it_speaks() {
        let context = Context::of_this_checkout();
        let arguments = texts(&["ws", "socketio", "--", "fanout", "--json", "a.json", "--html", "a.html"]);
        let peers = [peer("ws", Speech::Paths), peer("socketio", Speech::SocketIo)];
        let ringwire = context.root.join("ringwire");
        let words = Asked::read(&arguments).and_then(|asked| asked.words(&context, &ringwire, &peers));
        let ringwire = "ringwire=ringwire serve --shards 1 --feed none --listen 127.0.0.1:{port}";
        let expected = [
            &["compare", "fanout", "--server", ringwire, "--server", "ws='target/a b' --port {port}"][..],
            &["--adapter-of", "socketio=socketio", "--server", "socketio='target/a b' --port {port}"],
            &["--json", "a.json", "--html", "a.html"],
        ];
        assert_eq!(words, Ok(texts(&expected.concat())));
    }

    #[test]
    fn a_server_without_an_echo_is_not_sent_one() {
        let context = Context::of_this_checkout();
        let arguments = texts(&["socketio", "--", "--json", "a", "--html", "a"]);
        let words = Asked::read(&arguments)
            .and_then(|asked| asked.words(&context, &context.root, &[peer("socketio", Speech::SocketIo)]));
        assert!(words.is_err_and(|error| error.contains("no /echo")));
    }
}
