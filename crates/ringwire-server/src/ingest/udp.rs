//! Datagrams: each that comes to a port is published into the port's topic.
//!
//! A port has a thread of its own, which does nothing else: it takes what has come in one call, publishes it, and waits for
//! more only when nothing is left. A datagram that is too long or no text is dropped and counted, and so is what the
//! kernel had no room for.

use std::sync::Arc;
use std::time::Duration;

use ringwire_hub::Topic;
use ringwire_ring::linux::{Datagram, Datagrams};

use super::inlet::{Inlet, RETRY};
use super::source::{Dropped, Source, SourceKind, SourceState};
use crate::failure::Failure;
use crate::lanes::Payload;
use crate::options::UdpOptions;

/// How often a port that is busy, or idle, asks what the kernel has lost.
const LOST_PERIOD: Duration = Duration::from_secs(1);
const LOST_CALLS: u32 = 256;

/// A port that has been opened.
pub(super) struct Port {
    socket: Datagrams,
    options: UdpOptions,
    pub(super) source: Arc<Source>,
}

impl Port {
    pub(super) fn open(options: &UdpOptions) -> Result<Self, Failure> {
        let address = options.socket.address;
        let socket = Datagrams::open(&options.socket)
            .map_err(|error| Failure::new(format!("udp {address}: cannot receive there: {error}")))?;
        let source = Arc::new(Source::new(SourceKind::Udp, socket.address().to_string()));
        Ok(Self { socket, options: options.clone(), source })
    }

    /// What is said of it before the server is ready.
    pub(super) fn announcement(&self) -> String {
        let UdpOptions { socket: wanted, topic, .. } = &self.options;
        let group = wanted.multicast.map(|group| format!(", group {}", group.group())).unwrap_or_default();
        let wanted = wanted.receive_buffer_bytes;
        let given = self.socket.receive_buffer_bytes().unwrap_or(wanted);
        let less = if given < wanted {
            format!("; the kernel keeps {given} bytes, not {wanted}: raise net.core.rmem_max")
        } else {
            String::new()
        };
        format!("udp {}{group} publishes to {topic}{less}", self.source.name())
    }

    /// Publishes what comes, for as long as the process lives.
    pub(super) fn run(mut self, mut inlet: Inlet) {
        self.source.set_state(SourceState::Running);
        let mut topic = None;
        let mut calls = 0;
        let error = loop {
            let received = self.socket.receive(|datagram| take(&self.options, &mut topic, &mut inlet, datagram));
            let has_notes = inlet.retry();
            calls += 1;
            let next = match received {
                Err(error) => break error,
                Ok(1..) if calls < LOST_CALLS => continue,
                Ok(1..) => self.look(),
                Ok(0) => {
                    let timeout = if has_notes { RETRY } else { LOST_PERIOD };
                    self.look().and_then(|()| self.socket.wait(Some(timeout)))
                }
            };
            calls = 0;
            if let Err(error) = next {
                break error;
            }
        };
        self.source.say(format_args!("it has ended: {error}"));
        self.source.set_state(SourceState::Failed { error: error.to_string() });
    }

    /// Counts what the kernel has lost.
    fn look(&mut self) -> std::io::Result<()> {
        let lost = self.socket.lost()?;
        let known = self.source.dropped(Dropped::Overrun);
        self.source.drop_many(
            Dropped::Overrun,
            lost - known,
            || "datagrams came faster than they were read, and the kernel had no room for them (receive_buffer_bytes)",
        );
        Ok(())
    }
}

/// Publishes a datagram.
fn take(options: &UdpOptions, topic: &mut Option<Arc<Topic>>, inlet: &mut Inlet, datagram: Datagram<'_>) {
    let source = &inlet.source;
    let bytes_max = options.socket.datagram_bytes_max;
    let payload = match datagram {
        Datagram::TooLong(bytes) => {
            let words = || format!("a datagram of {bytes} bytes is longer than {bytes_max} (datagram_bytes_max)");
            return source.drop_one(Dropped::TooLong, words);
        }
        Datagram::Whole(payload) if !options.is_text => Payload::Binary(payload),
        Datagram::Whole(payload) => match std::str::from_utf8(payload) {
            Ok(text) => Payload::Text(text),
            Err(error) => {
                let words = || format!("a datagram is no text ({error}); if it need not be, say payload = \"binary\"");
                return source.drop_one(Dropped::NotText, words);
            }
        },
    };
    let topic = match topic {
        Some(topic) => topic,
        None => match inlet.broker.open(&options.topic) {
            Ok(opened) => topic.insert(opened),
            Err(error) => return source.drop_one(Dropped::Refused, || format!("{}: {error}", options.topic)),
        },
    };
    // What is refused is counted there.
    let _ = inlet.publish(topic, payload.into());
}
