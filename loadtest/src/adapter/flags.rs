//! Which adapter the command line means, and how it is set.

use std::sync::Arc;

use super::centrifugo::Centrifugo;
use super::path::Path;
use super::ringwire::Ringwire;
use super::socketio::{Events, SocketIo};
use super::template::{Answer, PublishTemplate, Template};
use super::{Adapter, TimestampAt};
use crate::cli::Flags;

/// The flags of adapters, as `--help` says them.
pub const HELP: &str = "
What is spoken (docs/adapters.md):
    --adapter NAME        path: /ws/TOPIC to subscribe, /pub/TOPIC to publish; on tcp:// a relay [path]
                          ringwire-json, ringwire-binary: ringwire's native protocol at /connect
                          centrifugo: Centrifugo's JSON protocol at /connection/websocket
                          socketio: Socket.IO 5 at /socket.io/
                          template: texts of your own
    --socketio-events S,P,M  the events' names [subscribe,publish,message]
  With --adapter template, {topic} stands for a topic, also in the target's path:
    --open-text TEXT      said first on each connection
    --subscribe-text TEXT    said for each topic
    --publish-template TEXT  how {payload} is published, or {payload_text} inside a string
    --ready-text TEXT     what a message holds that confirms a subscription [nothing is awaited]
    --fault-text TEXT     what a message holds that is a refusal
    --answer 'HOLDS => SAY'  what is answered to messages that hold a text; may be repeated
    --timestamp-at POINTER:UNIT   where other publishers' messages say when they were made, as in /data/E:ms
";

/// The flags of one adapter only.
const EVENTS: &str = "socketio-events";
const TEMPLATE: [&str; 7] =
    ["open-text", "subscribe-text", "publish-template", "ready-text", "fault-text", "answer", "timestamp-at"];

/// Reads which adapter is meant, and how it is set. What it is connected to has the token, the headers and the rest.
///
/// # Errors
/// What is wrong with the flags: no such adapter, a fault in a template, a flag that the adapter has no use for.
pub fn read(flags: &mut Flags) -> Result<Arc<dyn Adapter>, String> {
    let name = flags.text("adapter").unwrap_or_else(|| "path".to_owned());
    let adapter = named(&name, flags)?;
    for (owner, own) in [("socketio", &[EVENTS][..]), ("template", &TEMPLATE)] {
        if let Some(flag) = own.iter().find(|flag| !flags.texts(flag).is_empty()) {
            return Err(format!("--{flag} is for --adapter {owner}, and this is {name}"));
        }
    }
    Ok(adapter)
}

/// Reads how the adapter of this name is set. The flags of others stay: where there are several servers, they may be
/// another one's.
///
/// # Errors
/// There is no such adapter, or a fault in a flag of its own.
pub fn named(name: &str, flags: &mut Flags) -> Result<Arc<dyn Adapter>, String> {
    Ok(match name {
        "path" => Arc::new(Path),
        "ringwire-json" => Arc::new(Ringwire::Json),
        "ringwire-binary" => Arc::new(Ringwire::Binary),
        "centrifugo" => Arc::new(Centrifugo),
        "socketio" => Arc::new(SocketIo {
            events: flags.text(EVENTS).map_or_else(|| Ok(Events::default()), |text| Events::parse(&text))?,
        }),
        "template" => Arc::new(template(flags)?),
        other => {
            return Err(format!(
                "--adapter {other}: there are path, ringwire-json, ringwire-binary, centrifugo, socketio and template"
            ));
        }
    })
}

fn template(flags: &mut Flags) -> Result<Template, String> {
    let publish = flags.text("publish-template").map(|text| PublishTemplate::parse(&text));
    let timestamp_at = flags.text("timestamp-at").map(|text| TimestampAt::parse(&text));
    Ok(Template {
        open: flags.text("open-text"),
        subscribe: flags.text("subscribe-text"),
        publish: publish.transpose()?,
        ready: text_to_find(flags, "ready-text")?,
        fault: text_to_find(flags, "fault-text")?,
        answers: flags.texts("answer").iter().map(|text| Answer::parse(text)).collect::<Result<_, _>>()?,
        timestamp_at: timestamp_at.transpose()?,
    })
}

/// A text that messages are to hold: an empty one would be held by all.
fn text_to_find(flags: &mut Flags, name: &str) -> Result<Option<String>, String> {
    match flags.text(name) {
        Some(text) if text.is_empty() => Err(format!("--{name}: a text is needed")),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Needs, place};
    use super::*;
    use crate::target::Target;

    fn flags(words: &[&str]) -> Flags {
        Flags::split(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn each_adapter_has_its_name() {
        assert_eq!(read(&mut flags(&[])).unwrap().name(), "path");
        for name in ["path", "ringwire-json", "ringwire-binary", "centrifugo", "socketio", "template"] {
            assert_eq!(read(&mut flags(&["--adapter", name])).unwrap().name(), name);
            assert!(HELP.contains(name), "{name}");
        }
    }

    #[test]
    fn every_flag_is_read_and_told_of() {
        for flag in TEMPLATE.iter().chain(&[EVENTS]) {
            assert!(HELP.contains(&format!("--{flag} ")), "{flag}");
        }
        let mut words = vec!["--adapter", "template"];
        words.extend(["--open-text", "a", "--subscribe-text", "b {topic}", "--publish-template", "c{payload}"]);
        words.extend(["--ready-text", "d", "--fault-text", "e", "--answer", "f => g", "--answer", "h => i"]);
        words.extend(["--timestamp-at", "/E:ms"]);
        let mut flags = flags(&words);
        let want = Template {
            open: Some("a".to_owned()),
            subscribe: Some("b {topic}".to_owned()),
            publish: Some(PublishTemplate::parse("c{payload}").unwrap()),
            ready: Some("d".to_owned()),
            fault: Some("e".to_owned()),
            answers: ["f => g", "h => i"].map(|text| Answer::parse(text).unwrap()).into(),
            timestamp_at: Some(TimestampAt::parse("/E:ms").unwrap()),
        };
        assert_eq!(format!("{:?}", read(&mut flags).unwrap()), format!("{want:?}"));
        assert_eq!(flags.finish("fanout"), Ok(()));
    }

    #[test]
    fn what_an_adapter_has_no_use_for_is_refused() {
        for (words, fault) in [
            (&["--adapter", "mqtt"][..], "--adapter mqtt: there are path"),
            (&["--subscribe-text", "x"], "--subscribe-text is for --adapter template, and this is path"),
            (&["--adapter", "template", "--socketio-events", "a,b,c"], "--socketio-events is for --adapter socketio"),
            (&["--adapter", "socketio", "--socketio-events", "a"], "--socketio-events a: three names"),
            (&["--adapter", "template", "--publish-template", "x"], "{payload} must stand in it once"),
            (&["--adapter", "template", "--ready-text", ""], "--ready-text: a text is needed"),
            (&["--adapter", "template", "--timestamp-at", "E"], "--timestamp-at E"),
        ] {
            let said = read(&mut flags(words)).unwrap_err();
            assert!(said.contains(fault), "{said}");
        }
    }

    #[test]
    fn a_target_of_raw_bytes_has_no_adapter_but_path() {
        let raw = Target::parse("tcp://127.0.0.1:9").unwrap();
        assert!(!place::has_topic(&raw));
        let needs = Needs { session: 0, subscribes: &["a"], publishes: &[] };
        assert!(Path.lines(&raw, &needs).is_ok());
        for name in ["ringwire-json", "ringwire-binary", "centrifugo", "socketio", "template"] {
            let adapter = named(name, &mut flags(&[])).unwrap();
            assert!(adapter.lines(&raw, &needs).unwrap_err().contains("ws://"), "{name}");
        }
    }
}
