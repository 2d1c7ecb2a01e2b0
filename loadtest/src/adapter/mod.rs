//! What servers speak: the same workload against each of them.
//!
//! An [`Adapter`] says which connections a session needs; a [`Line`] is the protocol of one connection. A line does no
//! input or output: it hears messages and says frames, so its tests need no server. What is published is the same for
//! all of them, JSON that can be found in whatever a server puts around it, so a line does not take deliveries apart:
//! it tells them from what is said beside them.
//!
//! What these files must never do: take a server's refusal for a message; allocate for each publish.

pub mod centrifugo;
mod flags;
pub mod path;
mod place;
mod relay;
pub mod ringwire;
mod say;
pub mod socketio;
pub mod template;
mod timestamp;

use std::fmt::Debug;

use serde_json::Value;

use crate::clients::{Door, Message};
use crate::target::Target;

pub use flags::{HELP, named, read};
pub use say::Say;
pub use timestamp::TimestampAt;

/// What a kind of server speaks.
pub trait Adapter: Send + Sync + Debug {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// The connections that a session needs at this target. Each topic that it subscribes to is in exactly one of them,
    /// and so is each that it publishes to.
    ///
    /// # Errors
    /// What the protocol cannot do, as the user reads it.
    fn lines(&self, base: &Target, session: &Needs<'_>) -> Result<Vec<LineSpec>, String>;
}

/// What a session wants of a server.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// Its number in the run.
    pub session: usize,
    /// The topics that it subscribes to, each once.
    pub subscribes: &'a [&'a str],
    /// The topics that it publishes to, each once.
    pub publishes: &'a [&'a str],
}

/// A connection of a session.
#[derive(Debug)]
pub struct LineSpec {
    /// Where and how to connect.
    pub door: Door,
    /// What is spoken there.
    pub line: Box<dyn Line>,
    /// Which of the session's subscriptions come in here: indices in [`Needs::subscribes`].
    pub subscribes: Vec<usize>,
    /// What the session publishes here: indices in [`Needs::publishes`].
    pub publishes: Vec<usize>,
}

impl LineSpec {
    /// The one connection of a session.
    fn whole(door: Door, line: Box<dyn Line>, session: &Needs<'_>) -> Self {
        let (subscribes, publishes) = ((0..session.subscribes.len()).collect(), (0..session.publishes.len()).collect());
        Self { door, line, subscribes, publishes }
    }
}

/// The protocol of one connection.
pub trait Line: Send + Debug {
    /// The WebSocket is open. Called once, before all else.
    fn open(&mut self, say: &mut Say);

    /// A message came in. Which payloads it holds is for the caller to look into.
    ///
    /// # Errors
    /// What the server refused or got wrong, as the user reads it. The run ends with these words.
    fn hear(&mut self, message: Message<'_>, say: &mut Say) -> Result<Heard, String>;

    /// Whether all subscriptions are confirmed, as far as the protocol confirms any, and publishes may be said.
    fn is_ready(&self) -> bool;

    /// Publishes to a topic, by its index in [`LineSpec::publishes`]. `payload` is JSON without line breaks. Called only
    /// once the line is ready.
    fn publish(&mut self, topic: usize, payload: &[u8], say: &mut Say);

    /// The session ends: what is to be said before the WebSocket is closed.
    fn leave(&mut self, say: &mut Say) {
        let _ = say;
    }
}

/// What a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It holds payloads, one or several; something else may be in it too.
    Payloads,
    /// It was not published here, and says when it was made: in nanoseconds since the Unix epoch.
    Foreign(u64),
    /// It holds none: an answer, a heartbeat.
    Control,
}

/// A JSON message, or what is wrong with it.
fn parsed(message: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(message).map_err(|_| format!("the server says what is no JSON: {}", excerpt(message)))
}

/// The elements of an array; none of what is no array.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text as a JSON string, with its quotes.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The beginning of a message, for a fault's words.
fn excerpt(message: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(&message[..message.len().min(4 * CHARS_MAX)]);
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_whatever_the_message() {
        assert_eq!(excerpt(b"{\"a\":1}"), "{\"a\":1}");
        assert_eq!(excerpt("ж".repeat(5000).as_bytes()).chars().count(), 202);
        assert_eq!(excerpt(b"a\xFF"), "a\u{FFFD}");
    }
}
