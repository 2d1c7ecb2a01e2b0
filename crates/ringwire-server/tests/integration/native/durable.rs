//! Acknowledgements of publishes to persistent topics.

use simd_json::prelude::*;

use super::{Client, fault_of};
use crate::support::Server;

/// A folder that goes with the value.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The binary with a journal in a folder of its own, where topics below `kept` are persistent.
fn server(name: &str, more: &str) -> (Server, Scratch) {
    let folder = std::env::temp_dir().join(format!("ringwire-native-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let text = format!(
        "{more}\n[journal]\ndirectory = \"{}\"\nfsync = \"always\"\n[[topics]]\nmatch = \"kept.>\"\npersistent = true\n",
        folder.display()
    );
    (Server::start_configured(&text), Scratch(folder))
}

fn publish(id: usize, topic: &str) -> String {
    format!(r#"{{"id":{id},"method":"publish","params":{{"topic":"{topic}","data":{id}}}}}"#)
}

#[test]
fn publishes_that_wait_for_the_disk_are_answered_in_their_order_and_others_at_once() {
    let (server, _scratch) = server("order", "");
    let mut client = Client::open(server.address);
    let mut requests: Vec<String> = (1..=100).map(|id| publish(id, "kept.a")).collect();
    requests.push(publish(101, "other"));
    client.send(&requests.join("\n"));
    let mut ids: Vec<usize> = (0..101).map(|_| client.receive()["id"].as_usize().expect("an id")).collect();
    let at_once = ids.iter().position(|id| *id == 101).expect("it is answered");
    ids.remove(at_once);
    assert_eq!(ids, (1..=100).collect::<Vec<_>>());
    assert!(at_once < 100, "it does not wait for the disk");
}

#[test]
fn so_many_publishes_wait_for_the_disk_and_no_more() {
    let (server, _scratch) = server("pending", "[native]\npending_publishes_max = 10");
    let mut client = Client::open(server.address);
    let requests: Vec<String> = (1..=100).map(|id| publish(id, "kept.a")).collect();
    client.send(&requests.join("\n"));
    let answers: Vec<_> = (0..100).map(|_| client.receive()).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.contains_key("error")).map(fault_of).collect();
    assert!((1..=90).contains(&refused.len()), "{}", refused.len());
    let words = "too many publishes that wait for the disk: at most 10 are taken";
    assert!(refused.iter().all(|fault| *fault == (429, words.to_owned())), "{refused:?}");
    assert!(client.ask(&publish(101, "kept.a")).contains_key("result"), "and then more may");
}
