//! Rates of a stream of messages, as a line for a terminal.

use std::time::Duration;

/// Counts messages and bytes, in total and since the last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Messages in total.
    pub(crate) messages: u64,
    /// Payload bytes in total.
    pub(crate) bytes: u64,
    messages_before: u64,
    bytes_before: u64,
}

impl Rate {
    /// Counts one message.
    pub(crate) fn count(&mut self, payload_bytes: usize) {
        self.messages += 1;
        self.bytes += payload_bytes as u64;
    }

    /// The line for the time `since` the last one.
    pub(crate) fn line(&mut self, since: Duration) -> String {
        let seconds = since.as_secs_f64().max(0.001);
        let messages = (self.messages - self.messages_before) as f64 / seconds;
        let megabytes = (self.bytes - self.bytes_before) as f64 / seconds / 1e6;
        self.messages_before = self.messages;
        self.bytes_before = self.bytes;
        format!("{messages:>10.0} msg/s {megabytes:>9.2} MB/s {:>12} messages", self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_rate_since_the_last_one_and_the_total() {
        let mut rate = Rate::default();
        for _ in 0..500 {
            rate.count(2000);
        }
        assert_eq!(
            rate.line(Duration::from_millis(500)).split_whitespace().collect::<Vec<_>>()[..3],
            ["1000", "msg/s", "2.00"]
        );
        rate.count(1);
        let line = rate.line(Duration::from_secs(1));
        assert!(line.trim_start().starts_with("1 msg/s") && line.ends_with("501 messages"), "{line}");
    }
}
