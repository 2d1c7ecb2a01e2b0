//! The examples of docs/protocol.md, played against a server with the configuration that stands there.
//!
//! What differs from run to run is compared by its kind: times by being numbers; epochs, topics' numbers and clients' names
//! by standing for the same throughout an example.

use std::collections::BTreeMap;

use simd_json::OwnedValue;
use simd_json::prelude::*;

use super::{Client, json};
use crate::support::Server;

const SPECIFICATION: &str = include_str!("../../../../../docs/protocol.md");

/// The fenced blocks of a kind, each with the number of its first line.
fn blocks(kind: &str) -> Vec<(usize, Vec<&'static str>)> {
    let mut blocks: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut is_inside = false;
    for (nth, line) in SPECIFICATION.lines().enumerate() {
        if line.starts_with("```") {
            is_inside = !is_inside && line == format!("```{kind}");
            if is_inside {
                blocks.push((nth + 2, Vec::new()));
            }
        } else if is_inside {
            blocks.last_mut().expect("a block has begun").1.push(line);
        }
    }
    blocks
}

/// Lines that belong together, joined: a string that is broken up has a space there, objects that follow each other a
/// line break.
fn joined(lines: &[&str]) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for line in lines {
        match whole.last_mut() {
            Some(last) if line.starts_with(' ') => {
                let line = line.trim_start();
                last.push(if last.ends_with('}') && line.starts_with('{') { '\n' } else { ' ' });
                last.push_str(line);
            }
            _ => whole.push((*line).to_owned()),
        }
    }
    whole
}

/// What stands for what in one example.
#[derive(Default)]
struct Names {
    real: BTreeMap<(&'static str, String), String>,
}

impl Names {
    fn same(&mut self, kind: &'static str, written: &OwnedValue, real: &OwnedValue) -> bool {
        let written = (kind, written.to_string());
        let real = real.to_string();
        *self.real.entry(written).or_insert_with(|| real.clone()) == real
    }

    /// A request with the epochs of this run.
    fn filled_in(&self, request: &str) -> String {
        let epochs = self.real.iter().filter(|((kind, _), _)| *kind == "epoch");
        epochs.fold(request.to_owned(), |request, ((_, written), real)| request.replace(written, real))
    }

    /// Whether what came is what is written.
    fn matches(&mut self, written: &OwnedValue, real: &OwnedValue) -> bool {
        match (written, real) {
            (OwnedValue::Object(written), OwnedValue::Object(real)) => {
                let is_topic = written.contains_key("topic") || written.contains_key("epoch");
                written.len() == real.len()
                    && written.iter().all(|(name, value)| {
                        real.get(name).is_some_and(|real| match name.as_str() {
                            "ts" | "time" | "expires" => value.is_u64() && real.is_u64(),
                            "epoch" => self.same("epoch", value, real),
                            "client" => self.same("client", value, real),
                            "id" if is_topic => self.same("id", value, real),
                            // The push may have been under way when the entry came that the topic was opened for.
                            "head" if written.contains_key("pattern") => real.is_u64(),
                            "server" => real.as_str().is_some_and(|text| text.starts_with("ringwire/")),
                            _ => self.matches(value, real),
                        })
                    })
            }
            (OwnedValue::Array(written), OwnedValue::Array(real)) => {
                written.len() == real.len() && written.iter().zip(real.iter()).all(|(a, b)| self.matches(a, b))
            }
            _ => written == real,
        }
    }
}

/// Plays one example.
fn play(server: &Server, line: usize, lines: &[&str]) {
    let mut names = Names::default();
    let mut clients: BTreeMap<&str, Client> = BTreeMap::new();
    for step in joined(lines) {
        let (who, rest) = step.strip_prefix("other ").map_or(("", step.as_str()), |rest| ("other", rest));
        if rest == "closes" {
            clients.remove(who).expect("it is open").socket.close();
            continue;
        }
        let client = clients.entry(who).or_insert_with(|| Client::open(server.address));
        if let Some(request) = rest.strip_prefix("-> ") {
            client.send(&names.filled_in(request));
        } else if let Some(text) = rest.strip_prefix("<- ") {
            for text in text.lines() {
                let written = json(text);
                let wants_heartbeat = written.get_str("type") == Some("heartbeat");
                let mut real = if wants_heartbeat { client.next() } else { client.receive() };
                while wants_heartbeat && real["at"] != written["at"] {
                    assert_eq!(
                        real.get_str("type"),
                        Some("heartbeat"),
                        "docs/protocol.md, from line {line}: {}",
                        real.encode()
                    );
                    real = client.next();
                }
                let message = format!(
                    "docs/protocol.md, from line {line}:\nwritten {}\n   came {}",
                    written.encode(),
                    real.encode()
                );
                assert!(names.matches(&written, &real), "{message}");
            }
        } else {
            panic!("docs/protocol.md, from line {line}: neither -> nor <-: {step}");
        }
    }
}

#[test]
fn every_example_of_the_specification_comes_true() {
    let (_, configuration) = blocks("toml").remove(0);
    let server = Server::start_configured(&configuration.join("\n"));
    let examples = blocks("play");
    assert!(examples.len() >= 15, "{}", examples.len());
    for (line, lines) in &examples {
        play(&server, *line, lines);
    }
}

#[test]
fn the_specification_lists_every_code_and_method() {
    use ringwire_server::native::fault::CODES;
    use ringwire_server::native::request::Method;
    for (code, words) in CODES {
        assert!(SPECIFICATION.contains(&format!("| {code} | {words} |")), "{code} {words}");
    }
    for method in Method::NAMES.split(", ") {
        let is_heading = |line: &str| line.starts_with("### ") && line.contains(method);
        assert!(SPECIFICATION.lines().any(is_heading), "{method}");
    }
}
