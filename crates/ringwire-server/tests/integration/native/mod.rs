//! The native protocol over real sockets.

mod binary;
mod durable;
mod errors;
mod examples;
mod sessions;
mod tokens;

use std::collections::VecDeque;
use std::net::SocketAddr;

use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::support::{Received, Socket};

/// A client of `ringwire.json.1`.
pub(crate) struct Client {
    pub(crate) socket: Socket,
    lines: VecDeque<String>,
}

impl Client {
    /// Opens `/connect`.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self { socket: Socket::open(address, "/connect"), lines: VecDeque::new() }
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, text: &str) {
        self.socket.send_text(text);
    }

    /// The next object, heartbeats included.
    pub(crate) fn next(&mut self) -> OwnedValue {
        let line = loop {
            if let Some(line) = self.lines.pop_front() {
                break line;
            }
            self.lines.extend(self.socket.text().lines().map(str::to_owned));
        };
        json(&line)
    }

    /// The next object that is no heartbeat.
    pub(crate) fn receive(&mut self) -> OwnedValue {
        loop {
            let value = self.next();
            if value.get_str("type") != Some("heartbeat") {
                return value;
            }
        }
    }

    /// Sends a request; what it is answered with.
    pub(crate) fn ask(&mut self, request: &str) -> OwnedValue {
        self.send(request);
        self.receive()
    }

    /// Sends a request that fails; code and words.
    pub(crate) fn fault(&mut self, request: &str) -> (u64, String) {
        let answer = self.ask(request);
        fault_of(&answer)
    }

    /// The close code and the reason, past what comes before.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        loop {
            if let Received::Close(code, reason) = self.socket.receive() {
                return (code, reason);
            }
        }
    }
}

/// Code and words of an error.
pub(crate) fn fault_of(answer: &OwnedValue) -> (u64, String) {
    let error = answer.get("error").unwrap_or_else(|| panic!("no error: {answer}"));
    (error.get_u64("code").expect("a code"), error.get_str("message").expect("words").to_owned())
}

/// A text as JSON.
pub(crate) fn json(text: &str) -> OwnedValue {
    simd_json::to_owned_value(&mut text.as_bytes().to_vec()).unwrap_or_else(|error| panic!("{error}: {text}"))
}
