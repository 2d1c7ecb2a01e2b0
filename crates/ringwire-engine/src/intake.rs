//! How much a turn takes in.
//!
//! All completions are read at once, as the driver wants it. But once a turn has read so many bytes
//! ([`EngineOptions::turn_bytes_max`](crate::EngineOptions::turn_bytes_max)), what else was received waits, in its leased
//! buffers and in its order, for the next turn, which follows without sleeping. So what the first bytes led to goes out
//! before the next are looked at. Everything that is not received is dealt with at once: above all, what a socket
//! refused must be known before more is transmitted.

use std::collections::VecDeque;

use ringwire_ring::{Completion, Driver, Event};

use crate::handler::Handler;
use crate::shard::Shard;

/// What was received and waits for the next turn.
pub(crate) type Waiting = VecDeque<Completion>;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Deals with what has completed, and with what waited for this turn.
    pub(crate) fn take_in(&mut self) {
        while self.room() > 0
            && let Some(completion) = self.waiting.pop_front()
        {
            if let Some(rest) = self.take_part(completion) {
                self.waiting.push_front(rest);
            }
        }
        while let Some(completion) = self.driver.complete() {
            self.busy_at = self.core.now;
            if matches!(completion.event, Event::Filled(..)) {
                self.filled.push_back(completion);
                continue;
            }
            let is_inbound = matches!(
                completion.event,
                Event::Received(_) | Event::EndOfStream | Event::NoBuffers | Event::ReceiveFailed(_)
            );
            // While anything waits, this turn has read enough: the order is kept.
            if is_inbound && self.room() == 0 {
                self.waiting.push_back(completion);
            } else if let Some(rest) = self.take_part(completion) {
                self.waiting.push_back(rest);
            }
        }
        if !self.filled.is_empty() {
            self.take_in_filled();
        }
        // Turns that leave nothing are the rule: what a flood needed is not kept.
        if self.waiting.is_empty() && self.waiting.capacity() > 0 {
            self.waiting = Waiting::new();
        }
    }

    /// Deals with what was received in place: one such receive at least, so that others do not keep it waiting for ever.
    fn take_in_filled(&mut self) {
        let mut is_first = true;
        while (is_first || self.room() > 0)
            && let Some(completion) = self.filled.pop_front()
        {
            if let Event::Filled(_, Ok(came)) = &completion.event {
                self.core.pace.read(*came);
            }
            self.on_completion(completion);
            is_first = false;
        }
        if self.filled.is_empty() {
            self.filled = Waiting::new();
        }
    }

    /// Deals with a completion; with so much of what was received as the turn has room for, and at least a buffer of the
    /// configured size. Gives what is left.
    fn take_part(&mut self, mut completion: Completion) -> Option<Completion> {
        if let Event::Received(lease) = &mut completion.event {
            let most = self.room().max(self.core.options.receive_buffer_bytes as usize);
            let bytes = lease.bytes();
            if bytes.len() > most {
                self.core.pace.read(most);
                self.on_received(completion.context, &mut bytes[..most]);
                lease.start += most;
                return Some(completion);
            }
            self.core.pace.read(bytes.len());
        }
        self.on_completion(completion);
        None
    }
}
