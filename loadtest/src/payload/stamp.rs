//! Payloads of the publish and subscribe workloads: JSON objects that say which message they are.
//!
//! ```json
//! {"rl":"AAAB…","z":"29187.42,0.118;29187.41,1.902;…"}
//! ```
//!
//! `rl` is a stamp of 35 characters, six bits each: which flow, which message of it, when it was due, how much later it
//! was sent, how long the payload is, and a check over all that. `z` fills the payload up with a prefix of one text,
//! digits as order books have them, which is compared byte by byte. A payload is found in whatever a server puts around
//! it, so each protocol is read alike. A server may parse JSON and write it anew: the names are in alphabetical order, as
//! many libraries write them, and [`restore`] takes out the spaces and backslashes that may have come between.
//!
//! What this file must never do: take a payload for sound that differs in a byte from what was sent.

use std::time::Duration;

use ringwire_ring::Instant;

/// What a payload begins with.
const HEAD: &[u8; 7] = b"{\"rl\":\"";
/// What parts the stamp from the filler.
const MIDDLE: &[u8; 7] = b"\",\"z\":\"";
/// What a payload ends with.
const TAIL: &[u8; 2] = b"\"}";
/// Characters of a stamp.
const STAMP_BYTES: usize = FLOW + SEQ + DUE + LATE + LEN + CHECK;
/// Characters of each of its parts.
const FLOW: usize = 4;
const SEQ: usize = 7;
const DUE: usize = 9;
const LATE: usize = 6;
const LEN: usize = 4;
const CHECK: usize = 5;

/// Shortest payload: a stamp and nothing else.
pub const PAYLOAD_BYTES_MIN: usize = HEAD.len() + STAMP_BYTES + TAIL.len();
/// Shortest payload that is filled up: of one byte more than a stamp there is none.
pub const FILLED_BYTES_MIN: usize = PAYLOAD_BYTES_MIN + MIDDLE.len() + 1;
/// Longest payload: what its length's four characters can say.
pub const PAYLOAD_BYTES_MAX: usize = (1 << (6 * LEN)) - 1;
/// Most flows that stamps can tell apart.
pub const FLOWS_MAX: usize = 1 << (6 * FLOW);

/// The alphabet of base64url (RFC 4648 §5): nothing in it is escaped in JSON.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// What each byte stands for; 64 and more is no digit.
const VALUES: [u8; 256] = {
    let mut values = [0xFF; 256];
    let mut value = 0;
    while value < 64 {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Which message a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its flow: one publisher's messages on one topic.
    pub flow: u32,
    /// Its number in the flow, from 0.
    pub seq: u64,
    /// When it was to be sent.
    pub due: Instant,
    /// How much later it was sent, at most some 68 s.
    pub late: Duration,
}

/// Makes payloads and knows them again. One text fills all of a run's.
#[derive(Clone, Debug, Default)]
pub struct Payloads {
    filler: Vec<u8>,
    made: Vec<u8>,
}

/// What was found in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A payload as it was made.
    Sound(Stamp),
    /// The beginning of a payload, and then other bytes than were sent.
    Corrupted,
}

impl Payloads {
    /// Payloads of up to `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { filler: filler(bytes_max), made: Vec::with_capacity(bytes_max) }
    }

    /// The payload that says `stamp`, of `bytes` bytes; or of the nearest length that there is.
    pub fn make(&mut self, stamp: Stamp, bytes: usize) -> &[u8] {
        let fill = bytes.saturating_sub(PAYLOAD_BYTES_MIN + MIDDLE.len()).min(self.filler.len());
        let bytes = if fill == 0 { PAYLOAD_BYTES_MIN } else { PAYLOAD_BYTES_MIN + MIDDLE.len() + fill };
        let out = &mut self.made;
        out.clear();
        out.extend_from_slice(HEAD);
        let late = u64::try_from(stamp.late.as_nanos()).unwrap_or(u64::MAX).min((1 << (6 * LATE)) - 1);
        let parts = [u64::from(stamp.flow), stamp.seq, stamp.due.as_nanos(), late, bytes as u64];
        for (value, digits) in parts.into_iter().zip([FLOW, SEQ, DUE, LATE, LEN]) {
            write(out, value, digits);
        }
        write(out, check(&parts), CHECK);
        if fill > 0 {
            out.extend_from_slice(MIDDLE);
            out.extend_from_slice(&self.filler[..fill]);
        }
        out.extend_from_slice(TAIL);
        out
    }

    /// The payloads in a message, in order.
    pub fn find<'a>(&'a self, message: &'a [u8]) -> Finds<'a> {
        Finds { payloads: self, rest: message }
    }

    /// Whether a message in which nothing was found holds a payload whose first bytes alone were changed.
    pub fn is_beheaded(&self, message: &[u8]) -> bool {
        /// Bytes of [`HEAD`] that are to be left, so that not every message is read at each of its places.
        const LEFT: usize = 4;
        let left = |window: &[u8]| window.iter().zip(HEAD).filter(|(is, was)| is == was).count();
        let mut places = message.windows(HEAD.len()).enumerate().filter(|(_, window)| left(window) >= LEFT);
        places.any(|(at, _)| self.read(&message[at..]).is_some())
    }

    /// Reads the payload that `bytes` begin with; behind it there may be more. Also says its length.
    #[inline]
    fn read(&self, bytes: &[u8]) -> Option<(Stamp, usize)> {
        let stamp: &[u8; STAMP_BYTES] = bytes.get(HEAD.len()..)?.first_chunk()?;
        let mut at = 0;
        let mut bad = 0;
        let mut next = |digits: usize| {
            let mut value = 0u64;
            for &byte in &stamp[at..at + digits] {
                let digit = VALUES[usize::from(byte)];
                bad |= digit;
                value = value << 6 | u64::from(digit & 63);
            }
            at += digits;
            value
        };
        let parts = [next(FLOW), next(SEQ), next(DUE), next(LATE), next(LEN)];
        let [flow, seq, due, late, len] = parts;
        let checked = next(CHECK) == check(&parts) && bad < 64;
        let whole = bytes.get(..len as usize)?;
        let body = whole.get(HEAD.len() + STAMP_BYTES..)?.strip_suffix(TAIL)?;
        let filled = match body.strip_prefix(MIDDLE) {
            Some(fill) => self.filler.get(..fill.len()) == Some(fill),
            None => body.is_empty(),
        };
        let (due, late) = (Instant::from_nanos(due), Duration::from_nanos(late));
        (checked && filled).then_some((Stamp { flow: flow as u32, seq, due, late }, whole.len()))
    }
}

/// Appends a message to `out` without white space and backslashes. Payloads have none of these, so one that a server wrote
/// anew with spaces between, or inside a string, is there as it was made.
pub fn restore(message: &[u8], out: &mut Vec<u8>) {
    out.extend(message.iter().filter(|byte| !b" \t\r\n\\".contains(byte)));
}

/// See [`Payloads::find`].
#[derive(Debug)]
pub struct Finds<'a> {
    payloads: &'a Payloads,
    rest: &'a [u8],
}

impl Iterator for Finds<'_> {
    type Item = Found;

    #[inline]
    fn next(&mut self) -> Option<Found> {
        if !self.rest.starts_with(HEAD) {
            let at = self.rest.windows(HEAD.len()).position(|window| window == HEAD)?;
            self.rest = &self.rest[at..];
        }
        match self.payloads.read(self.rest) {
            Some((stamp, bytes)) => {
                self.rest = &self.rest[bytes..];
                Some(Found::Sound(stamp))
            }
            None => {
                self.rest = &self.rest[HEAD.len()..];
                Some(Found::Corrupted)
            }
        }
    }
}

/// Appends `value` in so many digits, the most significant first.
fn write(out: &mut Vec<u8>, value: u64, digits: usize) {
    debug_assert!(digits * 6 >= 64 || value >> (digits * 6) == 0, "{value} has more than {digits} digits");
    out.extend((0..digits).rev().map(|place| DIGITS[(value >> (6 * place)) as usize & 63]));
}

/// 30 bits over the parts of a stamp, each of which matters in every bit (splitmix64's finish, chained).
fn check(parts: &[u64; 5]) -> u64 {
    let mut mixed = 0x9E37_79B9_7F4A_7C15u64;
    for part in parts {
        mixed = (mixed ^ part).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^= mixed >> 29;
    }
    mixed.wrapping_mul(0x94D0_49BB_1331_11EB) >> 34
}

/// Levels of an order book, price and amount: as compressible as market data is, and nothing to escape in JSON.
fn filler(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut text = String::with_capacity(bytes + 32);
    let mut price = 2_918_742u64;
    while text.len() < bytes {
        price = price + random.u64(0..9) - 4;
        text += &format!("{}.{:02},{}.{:03};", price / 100, price % 100, random.u32(0..4), random.u32(0..1000));
    }
    text.truncate(bytes);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seq: u64) -> Stamp {
        let due = Instant::from_nanos(987_654_321_012_345);
        Stamp { flow: 70_000, seq, due, late: Duration::from_nanos(1_234_567) }
    }

    fn found(payloads: &Payloads, message: &[u8]) -> Vec<Found> {
        payloads.find(message).collect()
    }

    #[test]
    fn a_payload_has_the_length_asked_for_and_says_its_stamp() {
        let mut payloads = Payloads::new(70_000);
        for bytes in [PAYLOAD_BYTES_MIN, 52, 53, 64, 128, 1024, 70_000] {
            let made = payloads.make(stamp(bytes as u64), bytes).to_vec();
            assert_eq!(made.len(), bytes.max(PAYLOAD_BYTES_MIN), "{}", String::from_utf8_lossy(&made));
            assert_eq!(found(&payloads, &made), [Found::Sound(stamp(bytes as u64))]);
        }
        // There is no payload with a filler of nothing.
        assert_eq!(payloads.make(stamp(1), PAYLOAD_BYTES_MIN + 3).len(), PAYLOAD_BYTES_MIN);
        assert_eq!(payloads.make(stamp(1), 0).len(), PAYLOAD_BYTES_MIN);
    }

    #[test]
    fn the_greatest_of_each_part_fits() {
        let mut payloads = Payloads::new(128);
        let greatest = Stamp {
            flow: FLOWS_MAX as u32 - 1,
            seq: (1 << 42) - 1,
            due: Instant::from_nanos((1 << 54) - 1),
            late: Duration::from_nanos((1 << 36) - 1),
        };
        let made = payloads.make(greatest, 128).to_vec();
        assert_eq!(found(&payloads, &made), [Found::Sound(greatest)]);
        let later = Stamp { late: Duration::from_secs(1000), ..greatest };
        let made = payloads.make(later, 128).to_vec();
        assert_eq!(found(&payloads, &made), [Found::Sound(greatest)], "what is later is said to be as late as can be");
    }

    #[test]
    fn payloads_are_found_in_whatever_is_around_them() {
        let mut payloads = Payloads::new(200);
        let one = payloads.make(stamp(1), 100).to_vec();
        let two = payloads.make(stamp(2), 200).to_vec();
        let message = [b"{\"push\":{\"data\":", &one[..], b"}}\n{\"push\":", &two[..], b"}"].concat();
        assert_eq!(found(&payloads, &message), [1, 2].map(|seq| Found::Sound(stamp(seq))));
        assert_eq!(found(&payloads, b"{\"pong\":true}"), []);
        assert_eq!(found(&payloads, b""), []);
        assert!(!payloads.is_beheaded(b"{\"pong\":true}") && !payloads.is_beheaded(b"{\"ml\":\"AAAA\"}"));
    }

    #[test]
    fn payloads_that_were_written_anew_are_restored() {
        let mut payloads = Payloads::new(100);
        let made = String::from_utf8(payloads.make(stamp(1), 100).to_vec()).unwrap();
        let spaced = made.replace("\":", "\" : ").replace("\",\"", "\",\n  \"");
        let spaced = format!("{{ \"a\": {spaced} }}");
        let quoted = format!("{{\"a\":\"{}\"}}", made.replace('"', "\\\""));
        let quoted_twice = quoted.replace('\\', "\\\\").replace('"', "\\\"");
        for anew in [spaced, quoted, quoted_twice] {
            assert_ne!(found(&payloads, anew.as_bytes()), [Found::Sound(stamp(1))], "{anew}");
            let mut restored = Vec::new();
            restore(anew.as_bytes(), &mut restored);
            assert_eq!(found(&payloads, &restored), [Found::Sound(stamp(1))], "{anew}");
        }
    }

    #[test]
    fn every_changed_byte_and_every_missing_one_is_noticed() {
        let mut payloads = Payloads::new(120);
        let made = payloads.make(stamp(5), 120).to_vec();
        for at in 0..made.len() {
            let mut changed = made.clone();
            changed[at] ^= 1;
            let found_in = found(&payloads, &changed);
            assert!(!found_in.contains(&Found::Sound(stamp(5))), "byte {at}: {found_in:?}");
            let is_noticed =
                if at < HEAD.len() { payloads.is_beheaded(&changed) } else { found_in == [Found::Corrupted] };
            assert!(is_noticed, "byte {at}: {found_in:?}");
            assert!(!matches!(found(&payloads, &made[..at])[..], [Found::Sound(_)]), "{at} bytes");
        }
    }

    #[test]
    fn a_payload_is_json() {
        let mut payloads = Payloads::new(500);
        let made = String::from_utf8(payloads.make(stamp(5), 500).to_vec()).unwrap();
        let inside = made.strip_prefix("{\"rl\":\"").and_then(|rest| rest.strip_suffix("\"}")).unwrap();
        let (stamp, fill) = inside.split_once("\",\"z\":\"").unwrap();
        assert!(![stamp, fill].concat().contains(['"', '\\', '\n']), "{made}");
    }
}
