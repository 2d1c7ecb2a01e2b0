//! When a message was made, as it says itself: for feeds whose messages were not published here.

use std::fmt;

use serde_json::Value;

/// Where a message says when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampAt {
    /// A JSON pointer (RFC 6901).
    pointer: String,
    unit: Unit,
}

/// What a time is counted in, from the Unix epoch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    /// Not counted: RFC 3339, `2026-11-22T23:50:32.123Z`.
    Iso,
}

/// The units' names.
const UNITS: [(&str, Unit); 5] = [
    ("s", Unit::Seconds),
    ("ms", Unit::Milliseconds),
    ("us", Unit::Microseconds),
    ("ns", Unit::Nanoseconds),
    ("iso", Unit::Iso),
];

impl TimestampAt {
    /// Reads `POINTER:UNIT`, as in `/data/E:ms`.
    ///
    /// # Errors
    /// If a part is missing or the unit is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once(':').filter(|(pointer, _)| pointer.starts_with('/'));
        let unit = parts.and_then(|(_, name)| UNITS.iter().find(|(own, _)| *own == name));
        match (parts, unit) {
            (Some((pointer, _)), Some((_, unit))) => Ok(Self { pointer: pointer.to_owned(), unit: *unit }),
            _ => Err(format!(
                "--timestamp-at {text}: a JSON pointer and s, ms, us, ns or iso are needed, as in /data/E:ms"
            )),
        }
    }

    /// When a message was made, in nanoseconds since the Unix epoch, if it says so.
    pub fn read(&self, message: &[u8]) -> Option<u64> {
        let value = serde_json::from_slice::<Value>(message).ok()?.pointer(&self.pointer)?.clone();
        let scale: u64 = match self.unit {
            Unit::Iso => return iso(value.as_str()?),
            Unit::Seconds => 1_000_000_000,
            Unit::Milliseconds => 1_000_000,
            Unit::Microseconds => 1000,
            Unit::Nanoseconds => 1,
        };
        // Exchanges write numbers as strings too.
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match text.parse::<u64>() {
            Ok(whole) => whole.checked_mul(scale),
            Err(_) => {
                text.parse().ok().map(|number: f64| number * scale as f64).filter(|ns| *ns >= 0.0).map(|ns| ns as u64)
            }
        }
    }
}

impl fmt::Display for TimestampAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, unit)| *unit == self.unit).map_or("", |(name, _)| name);
        write!(f, "{}:{unit}", self.pointer)
    }
}

/// Nanoseconds since the Unix epoch of a time of RFC 3339, from 1970 on.
fn iso(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone_at);
    let [year, month, day] = numbers(date, '-')?;
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = numbers(whole, ':')?;
    let offset = match zone.as_bytes()[0] {
        b'Z' | b'z' => 0,
        sign => {
            let [hours, minutes] = numbers(&zone[1..], ':')?;
            (hours * 60 + minutes) * if sign == b'-' { -60 } else { 60 }
        }
    };
    let seconds = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second - offset;
    let digits: u64 = format!("{fraction:0<9.9}").parse().ok()?;
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?.checked_add(digits)
}

/// So many numbers of at most four digits.
fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for number in &mut numbers {
        let part = parts.next().filter(|part| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar: years are counted from March, so that the leap day is last.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(at: &str, message: &str) -> Option<u64> {
        TimestampAt::parse(at).unwrap().read(message.as_bytes())
    }

    #[test]
    fn a_time_is_read_in_its_unit() {
        assert_eq!(read("/data/E:ms", r#"{"data":{"E":1767225600123}}"#), Some(1_767_225_600_123_000_000));
        assert_eq!(read("/0/t:us", r#"[{"t":"1767225600123456"}]"#), Some(1_767_225_600_123_456_000));
        assert_eq!(read("/t:ns", r#"{"t":1767225600123456789}"#), Some(1_767_225_600_123_456_789));
        assert_eq!(read("/t:s", r#"{"t":1767225600.5}"#), Some(1_767_225_600_500_000_000));
        assert_eq!(read("/t:s", r#"{"t":-1}"#), None);
        assert_eq!(read("/t:ms", r#"{"t":true}"#), None);
        assert_eq!(read("/t:ms", "pong"), None);
        assert_eq!(read("/t:ns", r#"{"t":18446744073709551615}"#), Some(u64::MAX));
        assert_eq!(read("/t:ms", r#"{"t":18446744073709551615}"#), None);
    }

    #[test]
    fn a_time_of_rfc_3339_is_read() {
        let iso = |text: &str| read("/t:iso", &format!("{{\"t\":\"{text}\"}}"));
        assert_eq!(iso("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(iso("2026-01-01T00:00:00.123456Z"), Some(1_767_225_600_123_456_000));
        assert_eq!(iso("2026-01-01T02:00:00.1234567891+02:00"), Some(1_767_225_600_123_456_789));
        assert_eq!(iso("2025-12-31T18:30:00-05:30"), Some(1_767_225_600_000_000_000));
        assert_eq!(iso("2024-02-29T00:00:00Z"), Some(1_709_164_800_000_000_000));
        for faulty in
            ["", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z", "1-1-1TZ"]
        {
            assert_eq!(iso(faulty), None, "{faulty}");
        }
    }

    #[test]
    fn what_is_no_place_and_unit_is_told() {
        assert_eq!(TimestampAt::parse("/data/E:ms").unwrap().to_string(), "/data/E:ms");
        for faulty in ["/data/E", "E:ms", "/E:minutes", ""] {
            assert!(TimestampAt::parse(faulty).unwrap_err().contains("/data/E:ms"), "{faulty}");
        }
    }
}
