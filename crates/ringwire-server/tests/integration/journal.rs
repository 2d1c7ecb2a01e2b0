//! The journal of the binary: a restart, a disk that is full and has room again, words for what is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{PATIENCE, Process, Server, ringwire};
use ringwire_ring::{Clock, Instant};

/// A folder that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringwire-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(journal: &Path) -> String {
    format!(
        "[[topics]]\nmatch = \">\"\npersistent = true\nretention.age_ms = 0\n\
         [journal]\ndirectory = \"{}\"\nsegment_bytes = 65536\n",
        journal.display()
    )
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !is_so() {
        assert!(clock.now().since(Instant::default()) < PATIENCE, "{what}");
    }
}

#[test]
fn a_server_that_is_killed_goes_on_where_it_was() {
    let scratch = Scratch::new("restart");
    let config = config(&scratch.0.join("made/when/needed"));
    let server = Server::start_configured(&config);
    for (seq, text) in [(1, "one"), (2, "two")] {
        assert_eq!(server.publish("a", text).body, format!("{{\"topic\":\"a\",\"seq\":{seq}}}\n"));
    }
    server.process.signal("KILL");
    drop(server);
    let server = Server::start_configured(&config);
    assert!(server.announcement.iter().any(|line| line.contains("entries of 1 topics are back")));
    assert_eq!(server.publish("a", "three").body, "{\"topic\":\"a\",\"seq\":3}\n");
}

#[test]
fn a_client_resumes_by_itself_after_the_server_was_killed() {
    let scratch = Scratch::new("resume");
    let config = config(&scratch.0);
    let server = Server::start_configured(&config);
    let mut client = server.socket("/connect");
    client.send_text("{\"id\":1,\"method\":\"subscribe\",\"params\":\"a\"}");
    let epoch = member(&client.text(), "\"epoch\":\"");
    let mut publisher = server.socket("/connect");
    for seq in 1..=3 {
        let request = format!("\"method\":\"publish\",\"params\":{{\"topic\":\"a\",\"data\":{seq}}}");
        publisher.send_text(&format!("{{\"id\":{seq},{request}}}"));
        let answer = publisher.text();
        assert!(answer.contains(&format!("\"result\":{{\"seq\":{seq}")), "{answer}");
    }
    server.process.signal("KILL");
    drop(server);
    let server = Server::start_configured(&config);
    let subscribe = |seq: u64| {
        let mut client = server.socket("/connect");
        let since = format!("\"since\":{{\"a\":{{\"epoch\":\"{epoch}\",\"seq\":{seq}}}}}");
        client.send_text(&format!("{{\"id\":1,\"method\":\"subscribe\",\"params\":{{\"topics\":[\"a\"],{since}}}}}"));
        let answer = client.text();
        (client, answer)
    };
    let (mut client, answer) = subscribe(1);
    assert!(answer.contains("\"state\":\"resumed\"") && member(&answer, "\"epoch\":\"") != epoch, "{answer}");
    let mut came = String::new();
    while !came.contains("\"seq\":3") {
        came.push_str(&client.text());
    }
    assert!(came.contains("\"seq\":2") && !came.contains("\"seq\":1,"), "{came}");
    let (_, answer) = subscribe(4);
    assert!(answer.contains("\"state\":\"reset\""), "an entry that was never acknowledged: {answer}");
}

/// What stands behind `mark`, up to the next quote.
fn member(text: &str, mark: &str) -> String {
    let (_, value) = text.split_once(mark).unwrap_or_else(|| panic!("{mark} is not in {text}"));
    value.split('"').next().expect("there is a first part").to_owned()
}

#[test]
fn a_second_server_on_the_same_journal_is_refused() {
    let scratch = Scratch::new("second");
    let config = config(&scratch.0);
    let _server = Server::start_configured(&config);
    let said = Server::refuses(&config).join("\n");
    assert!(said.contains("another ringwire has this folder"), "{said}");
}

#[test]
fn damage_before_the_last_segment_is_refused_with_what_to_do() {
    let scratch = Scratch::new("damage");
    let config = config(&scratch.0);
    for _ in 0..2 {
        let server = Server::start_configured(&config);
        server.publish("a", "text");
        server.process.signal("TERM");
        let (_, status) = server.process.end();
        assert!(status.success());
    }
    let first = scratch.0.join("00000001.rwj");
    let mut bytes = std::fs::read(&first).expect("a segment");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    std::fs::write(&first, bytes).expect("it can be written");
    let said = Server::refuses(&config).join("\n");
    assert!(said.contains("DAMAGED") && said.contains("journal.repair = true"), "{said}");
    let server = Server::start_configured(&format!("{config}repair = true\n"));
    assert!(server.announcement.iter().any(|line| line.contains("put aside")), "{:?}", server.announcement);
}

#[test]
fn persistent_topics_without_a_journal_are_refused() {
    let said = Server::refuses("[[topics]]\nmatch = \"a\"\npersistent = true\n").join("\n");
    assert!(said.contains("journal.directory"), "{said}");
}

/// A shell in mounts of its own, where a small disk is at `$1`, nearly all of it taken, that becomes the rest of its words.
const SMALL_DISK: &str =
    "mount -t tmpfs -o size=1m none \"$1\" && head -c 700000 /dev/zero > \"$1/ballast\" && shift && exec \"$@\"";

/// A command in mounts of its own, as root of its own.
fn unshared() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command
}

#[test]
fn a_full_disk_never_stops_delivery_and_the_journal_heals() {
    let scratch = Scratch::new("full");
    let disk = scratch.0.join("disk");
    std::fs::create_dir(&disk).expect("a folder can be made");
    let can_mount = unshared().arg(SMALL_DISK).arg("sh").arg(&disk).arg("true").output();
    if !can_mount.is_ok_and(|tried| tried.status.success()) {
        println!(
            "SKIPPED: no disk of one's own can be mounted here: `unshare --map-root-user --mount` and tmpfs are needed"
        );
        return;
    }
    let file = scratch.0.join("config.toml");
    std::fs::write(&file, config(&disk.join("journal"))).expect("a file can be written");
    let binary = ringwire();
    let mut command = unshared();
    command.arg(SMALL_DISK).arg("sh").arg(&disk).arg(binary.get_program());
    command.args(["serve", "--listen", "127.0.0.1:0", "--feed", "none", "--shards", "2", "--config"]).arg(&file);
    let mut server = Server::of(Process::start(command));
    let mut subscriber = server.socket("/ws/a");
    let mut publisher = server.socket("/pub/a");
    let text = "x".repeat(1_000);
    let mut published = 0u64;
    let mut exchange = || {
        publisher.send_text(&text);
        published += 1;
        assert_eq!(subscriber.text(), text, "delivery goes on");
        published
    };
    wait("the disk is full", || {
        (0..50).for_each(|_| {
            exchange();
        });
        server.get("/health").body.contains("\"state\":\"degraded\"")
    });
    let line = server.process.line().expect("it says so");
    assert!(line.contains("THE JOURNAL IS DEGRADED") && line.contains("space"), "{line}");
    let last = exchange() + 1;
    let answer = server.publish("a", &text);
    assert!(answer.status == 503 && answer.body.contains("not on disk"), "{answer:?}");
    assert!(answer.body.ends_with(&format!("\"published\":{{\"topic\":\"a\",\"seq\":{last}}}}}\n")), "{answer:?}");
    assert!(server.get("/health").body.contains("\"status\":\"degraded\""));
    let seen =
        PathBuf::from(format!("/proc/{}/root", server.process.id())).join(disk.strip_prefix("/").expect("absolute"));
    std::fs::remove_file(seen.join("ballast")).expect("the disk is seen from here");
    wait("the journal heals", || server.get("/health").body.contains("\"journal\":{\"state\":\"ok\""));
    let line = server.process.line().expect("it says so");
    assert!(line.contains("well again"), "{line}");
    let copy = scratch.0.join("copy");
    copy_folder(&seen.join("journal"), &copy);
    drop(server);
    let server = Server::start_configured(&config(&copy));
    assert_eq!(server.publish("a", "next").body, format!("{{\"topic\":\"a\",\"seq\":{}}}\n", last + 1));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a file can be copied");
    }
}
