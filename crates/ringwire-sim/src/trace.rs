//! What happened in a run, as one number.
//!
//! Every event of a run is folded into a hash, so that two runs of one seed can be compared: equal hashes mean that
//! the same things happened at the same virtual times. With printing on, each event is a line on stderr as well.

use std::fmt::Write;

/// The events of a run: their hash, their number, and, if wanted, their text.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    print: bool,
    /// Bytes are not the same in every run.
    sealed: bool,
}

impl Trace {
    /// An empty trace.
    pub fn new(print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, print, sealed: false }
    }

    /// Hash of the events so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Number of events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Adds an event: `what`, with a `#` where each of the `numbers` belongs.
    pub(crate) fn note(&mut self, now: u64, what: &'static str, numbers: &[u64]) {
        self.events += 1;
        self.fold(now);
        // The text's length stands for the text: enough to tell kinds of events apart, and cheap.
        self.fold(what.len() as u64);
        for &number in numbers {
            self.fold(number);
        }
        if self.print {
            print(now, what, numbers);
        }
    }

    /// From now on bytes are encrypted under keys that no seed knows: what they are says nothing, only how many.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Adds bytes that somebody received.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if self.sealed {
            return self.fold(bytes.len() as u64);
        }
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn fold(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
}

fn print(now: u64, what: &str, numbers: &[u64]) {
    let mut line = String::new();
    let mut numbers = numbers.iter();
    for part in what.split_inclusive('#') {
        match (part.strip_suffix('#'), numbers.next()) {
            (Some(text), Some(number)) => write!(line, "{text}{number}").expect("a string takes all"),
            _ => line.push_str(part),
        }
    }
    eprintln!("{:>14.3} us  {line}", now as f64 / 1000.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_events_hash_equally_and_any_difference_shows() {
        let hash = |events: &[(u64, &'static str, &[u64])]| {
            let mut trace = Trace::new(false);
            events.iter().for_each(|(now, what, numbers)| trace.note(*now, what, numbers));
            trace.hash()
        };
        let base = hash(&[(1, "a #", &[2]), (3, "b #", &[4])]);
        assert_eq!(base, hash(&[(1, "a #", &[2]), (3, "b #", &[4])]));
        assert_ne!(base, hash(&[(1, "a #", &[2]), (3, "b #", &[5])]));
        assert_ne!(base, hash(&[(1, "a #", &[2]), (4, "b #", &[4])]));
        assert_ne!(base, hash(&[(3, "b #", &[4]), (1, "a #", &[2])]));
    }
}
