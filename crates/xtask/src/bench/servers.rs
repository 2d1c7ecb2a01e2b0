//! Who takes part in a row, how each is started, and who does not take part and why.

use std::path::{Path, PathBuf};

use super::record::Role;
use super::rows::{Dress, Row, YAWC};
use crate::context::Context;
use crate::peers::{self, PeerCommand, Provided, Speech};

/// Programs and files that rows need.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) ringload: PathBuf,
    pub(crate) ringwire: PathBuf,
    pub(crate) floor: PathBuf,
    /// What `ringwire serve --help` and `floor` say, where rows look whether what they need is there.
    pub(crate) ringwire_help: String,
    pub(crate) floor_help: String,
    /// An authority's certificate, and a server's certificate and key.
    pub(crate) tls: Option<[PathBuf; 3]>,
}

/// A server of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// A command line with `{port}`.
    pub(crate) line: String,
    pub(crate) target: Option<&'static str>,
    pub(crate) adapter: Option<&'static str>,
}

/// Who takes part in a row, and who does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) absent: Vec<(String, String)>,
}

/// What was asked for as peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Those of each row.
    OfRow,
    /// All that can take part.
    All,
    /// These.
    Named(Vec<String>),
}

/// Where a server inside TLS echoes.
const SECURE_ECHO: &str = "wss://127.0.0.1:{port}/echo";
/// Where a floor answers.
const RAW: &str = "tcp://127.0.0.1:{port}";
/// Those that can be put inside TLS with the same certificate.
const WITH_TLS: [&str; 5] = ["fastwebsockets", "tungstenite", "tokio-websockets", "sockudo", BUN];
/// Those that can compress.
const WITH_DEFLATE: [&str; 2] = [YAWC, BUN];
/// The one of these that is not in the program of all Rust peers.
const BUN: &str = "bun";
/// The peers that wait in io_uring.
const ON_A_RING: [&str; 1] = ["sockudo-ring"];
/// A peer whose program has all Rust peers in it.
const OF_ALL_RUST: &str = "tungstenite";

/// The peers of a row that are to be tried, and those that cannot take part with the reason.
pub(crate) fn wanted(row: &Row, asked: &Asked) -> (Vec<String>, Vec<(String, String)>) {
    let all = || peers::names().chain([YAWC]).map(str::to_owned).collect::<Vec<_>>();
    let mut names: Vec<String> = match asked {
        Asked::OfRow => row.peers.iter().map(|&name| name.to_owned()).collect(),
        Asked::All => all(),
        Asked::Named(names) => names.clone(),
    };
    names.dedup();
    let mut absent = Vec::new();
    names.retain(|name| match unfit(row, name) {
        None => true,
        Some(why) => {
            absent.push((name.clone(), why.to_owned()));
            false
        }
    });
    (names, absent)
}

/// Why a peer cannot take part in a row.
fn unfit(row: &Row, name: &str) -> Option<&'static str> {
    let has_topics = matches!(row.workload, "fanout" | "trading");
    match (row.dress, name) {
        (Dress::Plain, YAWC) => Some("is there to compress"),
        (Dress::Plain, "socketio") if !has_topics => Some("has no /echo"),
        (Dress::Tls, _) if !WITH_TLS.contains(&name) => Some("is not inside TLS here"),
        (Dress::Deflate, _) if !WITH_DEFLATE.contains(&name) => Some("does not compress here"),
        _ => None,
    }
}

/// The names under which peers have to be made, so that these can take part.
pub(crate) fn to_make(row: &Row, names: &[String]) -> Vec<String> {
    match row.dress {
        Dress::Plain => names.to_vec(),
        Dress::Tls | Dress::Deflate => {
            let makers = names.iter().map(|name| if name == BUN { BUN } else { OF_ALL_RUST }.to_owned());
            let mut makers: Vec<String> = makers.collect();
            makers.sort();
            makers.dedup();
            makers
        }
    }
}

/// Who takes part: ringwire, the peers of these names as far as they could be had, and the floors.
pub(crate) fn field(
    context: &Context,
    row: &Row,
    tools: &Tools,
    provided: &Provided,
    (names, absent): (Vec<String>, Vec<(String, String)>),
) -> Result<Field, String> {
    let mut field = Field { contenders: Vec::new(), absent };
    ringwires(context, row, tools, &mut field)?;
    for name in names {
        match peer(context, row, tools, &provided.ready, &name)? {
            Some(contender) => field.contenders.push(contender),
            None => {
                let why = provided.missing.iter().find(|(missing, _)| *missing == name || row.dress != Dress::Plain);
                let why = why.and_then(|(_, why)| why.lines().next()).unwrap_or("could not be made on this machine");
                field.absent.push((name, why.to_owned()));
            }
        }
    }
    floors(context, row, tools, &mut field);
    Ok(field)
}

fn ringwires(context: &Context, row: &Row, tools: &Tools, field: &mut Field) -> Result<(), String> {
    for variant in row.variants {
        let unknown =
            variant.arguments.iter().find(|word| word.starts_with("--") && !tools.ringwire_help.contains(*word));
        if let Some(flag) = unknown {
            field.absent.push((variant.name.to_owned(), format!("this build has no {flag}")));
            continue;
        }
        let mut line =
            format!("{} serve --shards 1 --feed none --listen 127.0.0.1:{{port}}", word(context, &tools.ringwire));
        if row.dress == Dress::Tls {
            let [_, certificate, key] = certificates(tools)?;
            let files = format!("{},{}", peers::shown(context, certificate), peers::shown(context, key));
            line = line + " --tls " + &peers::quoted(&files);
        }
        for argument in variant.arguments {
            line = line + " " + argument;
        }
        field.contenders.push(Contender {
            name: variant.name.to_owned(),
            role: Role::Ringwire,
            line,
            target: (row.dress == Dress::Tls).then_some(SECURE_ECHO),
            adapter: None,
        });
    }
    Ok(())
}

fn peer(
    context: &Context,
    row: &Row,
    tools: &Tools,
    ready: &[PeerCommand],
    name: &str,
) -> Result<Option<Contender>, String> {
    let made = |name: &str| ready.iter().find(|peer| peer.name == name);
    let role = if ON_A_RING.contains(&name) { Role::RingPeer } else { Role::Peer };
    let plain = Contender { name: name.to_owned(), role, line: String::new(), target: None, adapter: None };
    let dressed = |more: String| {
        if name == BUN {
            return Some(format!("{} {more}", made(BUN)?.to_line()));
        }
        let all_rust = made(OF_ALL_RUST)?;
        Some(format!("{} {name} {more} --port {{port}}", peers::quoted(all_rust.words.first()?)))
    };
    Ok(match row.dress {
        Dress::Plain => made(name).map(|peer| Contender {
            line: peer.to_line(),
            adapter: (peer.speech == Speech::SocketIo).then_some("socketio"),
            ..plain
        }),
        Dress::Deflate => dressed("--deflate".to_owned()).map(|line| Contender { line, ..plain }),
        Dress::Tls => {
            let [_, certificate, key] = certificates(tools)?;
            let files = format!("--tls {} {}", word(context, certificate), word(context, key));
            dressed(files).map(|line| Contender { line, target: Some(SECURE_ECHO), ..plain })
        }
    })
}

fn floors(context: &Context, row: &Row, tools: &Tools, field: &mut Field) {
    let Some((ring, epoll)) = row.floors else { return };
    for (name, kind, role) in [("ring-floor", ring, Role::Floor), ("epoll-floor", epoll, Role::EpollFloor)] {
        if !tools.floor_help.contains(kind) {
            field.absent.push((name.to_owned(), format!("this build has no floor {kind}")));
            continue;
        }
        let line = format!("{} {kind} --port {{port}}", word(context, &tools.floor));
        field.contenders.push(Contender { name: name.to_owned(), role, line, target: Some(RAW), adapter: None });
    }
}

/// A path as a word of a command line.
fn word(context: &Context, path: &Path) -> String {
    peers::quoted(&peers::shown(context, path))
}

fn certificates(tools: &Tools) -> Result<&[PathBuf; 3], String> {
    tools.tls.as_ref().ok_or_else(|| "there is no certificate".to_owned())
}

impl Field {
    /// What `ringload compare` is told of the servers.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for contender in &self.contenders {
            words.extend(["--server".to_owned(), format!("{}={}", contender.name, contender.line)]);
            if let Some(target) = contender.target {
                words.extend(["--target-of".to_owned(), format!("{}={target}", contender.name)]);
            }
            if let Some(adapter) = contender.adapter {
                words.extend(["--adapter-of".to_owned(), format!("{}={adapter}", contender.name)]);
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows;

    fn row(name: &str) -> Row {
        rows::all().into_iter().find(|row| row.name == name).expect("a row")
    }

    fn tools() -> Tools {
        let root = Context::of_this_checkout().root;
        let [ca, certificate, key] = ["ca.pem", "a b.pem", "key.pem"].map(|name| root.join(name));
        Tools {
            ringload: root.join("ringload"),
            ringwire: root.join("ringwire"),
            floor: root.join("floor"),
            ringwire_help: "--spin".to_owned(),
            floor_help: "tcp-echo epoll-echo tcp-fanout".to_owned(),
            tls: Some([ca, certificate, key]),
        }
    }

    fn told(name: &str, asked: &Asked, ready: &[&'static str]) -> Field {
        let speech = |name: &str| if name == "socketio" { Speech::SocketIo } else { Speech::Paths };
        let words =
            |name: &str| vec!["target/peers".to_owned(), name.to_owned(), "--port".to_owned(), "{port}".to_owned()];
        let ready: Vec<PeerCommand> =
            ready.iter().map(|name| PeerCommand { name, speech: speech(name), words: words(name) }).collect();
        let row = row(name);
        let wanted = wanted(&row, asked);
        let provided = Provided { ready, missing: vec![("beast", "no g++\nand more".to_owned())] };
        field(&Context::of_this_checkout(), &row, &tools(), &provided, wanted).unwrap()
    }

    fn names(field: &Field) -> Vec<&str> {
        field.contenders.iter().map(|contender| contender.name.as_str()).collect()
    }

    #[test]
    fn ringwire_stands_first_and_the_floors_last() {
        let field = told("echo-16-c1-d1", &Asked::Named(vec!["bun".to_owned()]), &["bun"]);
        assert_eq!(names(&field), ["ringwire", "bun", "ring-floor", "epoll-floor"]);
        let words = field.words();
        let line = "ring-floor=floor tcp-echo --port {port}";
        assert!(
            words.windows(4).any(|words| words[1] == line && words[3] == "ring-floor=tcp://127.0.0.1:{port}"),
            "{words:?}"
        );
    }

    #[test]
    fn who_does_not_take_part_is_told_with_the_reason() {
        let field = told("echo-16-c1-d1", &Asked::All, &["bun", "sockudo-ring"]);
        let why = |name: &str| field.absent.iter().find(|(absent, _)| absent == name).map(|(_, why)| why.as_str());
        assert_eq!(why("socketio"), Some("has no /echo"));
        assert_eq!((why("ws"), why("beast")), (Some("could not be made on this machine"), Some("no g++")));
        assert_eq!((why("bun"), why("yawc")), (None, Some("is there to compress")));
        let role = field.contenders.iter().find(|contender| contender.name == "sockudo-ring").map(|it| it.role);
        assert_eq!(role, Some(Role::RingPeer));
        let fanout = told("fanout-10-rest", &Asked::Named(vec!["socketio".to_owned()]), &["socketio"]);
        assert_eq!(names(&fanout), ["ringwire", "socketio", "ring-floor"]);
        assert_eq!(fanout.absent, [("epoll-floor".to_owned(), "this build has no floor epoll-fanout".to_owned())]);
        assert!(fanout.words().contains(&"socketio=socketio".to_owned()));
    }

    #[test]
    fn inside_tls_are_those_that_can_be_with_the_same_certificate() {
        let asked = Asked::Named(["fastwebsockets", "bun", "gorilla"].map(str::to_owned).to_vec());
        let field = told("wss", &asked, &[OF_ALL_RUST, "bun"]);
        assert_eq!(names(&field), ["ringwire", "fastwebsockets", "bun"]);
        assert_eq!(field.contenders[2].line, "target/peers bun --port {port} --tls 'a b.pem' key.pem");
        assert_eq!(field.absent, [("gorilla".to_owned(), "is not inside TLS here".to_owned())]);
        assert_eq!(field.contenders[1].line, "target/peers fastwebsockets --tls 'a b.pem' key.pem --port {port}");
        assert!(field.contenders.iter().all(|contender| contender.target == Some(SECURE_ECHO)));
        assert!(field.contenders[0].line.ends_with("--tls 'a b.pem,key.pem'"), "{}", field.contenders[0].line);
        assert_eq!(to_make(&row("wss"), &["sockudo", "bun", "tungstenite"].map(str::to_owned)), ["bun", OF_ALL_RUST]);
    }

    #[test]
    fn yawc_and_bun_stand_alone_where_messages_are_compressed() {
        let field = told("deflate", &Asked::All, &[OF_ALL_RUST, "bun"]);
        assert_eq!(names(&field), ["ringwire", "bun", "yawc"]);
        assert_eq!(field.contenders[1].line, "target/peers bun --port {port} --deflate");
        assert_eq!(field.contenders[2].line, "target/peers yawc --deflate --port {port}");
    }

    #[test]
    fn a_variant_that_this_build_does_not_know_does_not_take_part() {
        assert_eq!(names(&told("one-spin", &Asked::Named(Vec::new()), &[]))[..2], ["ringwire-spin", "ringwire"]);
        let field = told("bbr-echo", &Asked::Named(Vec::new()), &[]);
        assert_eq!(names(&field)[0], "ringwire");
        assert!(field.absent[0].1.contains("--congestion"), "{:?}", field.absent);
    }
}
