//! How the epoch of a log is written: a u64 in lowercase base 36, as a JSON string; and positions, `<epoch>-<seq>`.

use std::fmt;
use std::str::FromStr;

/// Most digits of an epoch.
const DIGITS_MAX: usize = 13;

/// Names a topic's log among all that have had the topic's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A place in a log: behind entry `seq` of the log `epoch`. Written `<epoch>-<seq>`, as in the ids of Server-Sent Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which log.
    pub epoch: Epoch,
    /// The last entry before the place; 0 is the log's beginning.
    pub seq: u64,
}

/// A text that is no epoch, or no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEpoch;

impl Epoch {
    /// Appends its digits.
    pub fn append_to(self, out: &mut Vec<u8>) {
        let mut digits = [0; DIGITS_MAX];
        let (mut at, mut left) = (DIGITS_MAX, self.0);
        loop {
            at -= 1;
            digits[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(left % 36) as usize];
            left /= 36;
            if left == 0 {
                break;
            }
        }
        out.extend_from_slice(&digits[at..]);
    }
}

impl FromStr for Epoch {
    type Err = NotAnEpoch;

    fn from_str(text: &str) -> Result<Self, NotAnEpoch> {
        let is_ours = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        if !text.bytes().all(is_ours) {
            return Err(NotAnEpoch);
        }
        u64::from_str_radix(text, 36).map(Epoch).map_err(|_| NotAnEpoch)
    }
}

impl FromStr for Position {
    type Err = NotAnEpoch;

    fn from_str(text: &str) -> Result<Self, NotAnEpoch> {
        let (epoch, seq) = text.split_once('-').ok_or(NotAnEpoch)?;
        if !seq.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAnEpoch);
        }
        Ok(Self { epoch: epoch.parse()?, seq: seq.parse().map_err(|_| NotAnEpoch)? })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = Vec::with_capacity(DIGITS_MAX);
        self.append_to(&mut digits);
        f.write_str(&String::from_utf8_lossy(&digits))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl fmt::Display for NotAnEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an epoch is what the server gave as such: digits and lowercase letters")
    }
}

impl std::error::Error for NotAnEpoch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_written_in_base_36_and_read_back() {
        for (value, text) in [(0, "0"), (35, "z"), (36, "10"), (942_237, "k719"), (u64::MAX, "3w5e11264sgsf")] {
            assert_eq!(Epoch(value).to_string(), text);
            assert_eq!(text.parse(), Ok(Epoch(value)));
        }
    }

    #[test]
    fn other_texts_are_no_epochs() {
        for text in ["", "K", "-1", "+1", "a b", "3w5e11264sgsg", "é"] {
            assert_eq!(text.parse::<Epoch>(), Err(NotAnEpoch), "{text}");
        }
    }

    #[test]
    fn a_position_is_epoch_and_seq() {
        let position = Position { epoch: Epoch(942_237), seq: 1001 };
        assert_eq!((position.to_string().as_str(), "k719-1001".parse()), ("k719-1001", Ok(position)));
        for text in ["k719", "k719-", "-1", "k719-x", "k719-+1", "k719-1-2"] {
            assert_eq!(text.parse::<Position>(), Err(NotAnEpoch), "{text}");
        }
    }
}
