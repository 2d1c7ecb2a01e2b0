//! `tcp://`: a floor that passes bytes on, to measure what the kernel asks for a publish.
//!
//! There is one topic, whatever it is called. A connection says first who it is, `SUB` or `PUB` with a line feed behind it,
//! and an empty message answers it. Then a publisher's bytes go to all subscribers as they came. So what is published is a
//! frame of a server's, not masked, and what subscribers hear is, byte for byte, what a WebSocket server would send
//! them. A session has one connection for what it subscribes to and one for what it publishes to.

use ringwire_codec::Opcode;

use super::{Heard, Line, LineSpec, Needs, Say, excerpt};
use crate::clients::{Door, Message, TcpMessages};
use crate::target::Target;

/// Who a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Subscriber,
    Publisher,
}

/// The connections that a session needs.
pub(super) fn lines(base: &Target, session: &Needs<'_>) -> Vec<LineSpec> {
    let line = |who| {
        let door = Door { tcp_messages: TcpMessages::Frames, ..Door::new(base.clone()) };
        (door, Box::new(Relayed { who, is_ready: false }))
    };
    let subscriptions = (0..session.subscribes.len()).map(|index| {
        let (door, line) = line(Who::Subscriber);
        LineSpec { door, line, subscribes: vec![index], publishes: vec![] }
    });
    let publications = (0..session.publishes.len()).map(|index| {
        let (door, line) = line(Who::Publisher);
        LineSpec { door, line, subscribes: vec![], publishes: vec![index] }
    });
    subscriptions.chain(publications).collect()
}

/// A connection to a relay.
#[derive(Debug)]
struct Relayed {
    who: Who,
    is_ready: bool,
}

impl Line for Relayed {
    fn open(&mut self, say: &mut Say) {
        say.raw(match self.who {
            Who::Subscriber => b"SUB\n",
            Who::Publisher => b"PUB\n",
        });
    }

    fn hear(&mut self, message: Message<'_>, _: &mut Say) -> Result<Heard, String> {
        if !self.is_ready && message.bytes.is_empty() {
            self.is_ready = true;
            return Ok(Heard::Control);
        }
        match self.who {
            Who::Subscriber if self.is_ready => Ok(Heard::Payloads),
            _ => Err(format!("the relay says what is for nobody here: {}", excerpt(message.bytes))),
        }
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn publish(&mut self, _: usize, payload: &[u8], say: &mut Say) {
        say.unmasked(Opcode::Text, payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Message<'_> = Message { bytes: b"", is_text: true };
    const PAYLOAD: Message<'_> = Message { bytes: b"{\"rl\":1}", is_text: true };

    fn lines_of(subscribes: &[&str], publishes: &[&str]) -> Vec<LineSpec> {
        lines(&Target::parse("tcp://127.0.0.1:9").unwrap(), &Needs { session: 0, subscribes, publishes })
    }

    #[test]
    fn each_says_who_it_is_and_is_ready_when_that_is_answered() {
        let mut specs = lines_of(&["a"], &["b"]);
        let of: Vec<_> = specs.iter().map(|spec| (&spec.subscribes[..], &spec.publishes[..])).collect();
        assert_eq!(of, [(&[0][..], &[][..]), (&[], &[0])]);
        for (LineSpec { door, line, .. }, said) in specs.iter_mut().zip([b"SUB\n", b"PUB\n"]) {
            let mut say = Say::new(0);
            line.open(&mut say);
            assert_eq!(say.frames(), said);
            assert_eq!((door.tcp_messages, line.is_ready()), (TcpMessages::Frames, false));
            assert!(line.hear(PAYLOAD, &mut say).is_err());
            assert_eq!((line.hear(ANSWER, &mut say), line.is_ready()), (Ok(Heard::Control), true));
        }
        assert_eq!(specs[0].line.hear(PAYLOAD, &mut Say::new(0)), Ok(Heard::Payloads));
        assert!(specs[1].line.hear(PAYLOAD, &mut Say::new(0)).unwrap_err().contains("{\"rl\":1}"));
    }

    #[test]
    fn what_is_published_is_what_a_server_sends() {
        let mut say = Say::new(7);
        lines_of(&[], &["a"])[0].line.publish(0, PAYLOAD.bytes, &mut say);
        assert_eq!(say.frames(), [&[0x81, 8][..], PAYLOAD.bytes].concat());
    }
}
