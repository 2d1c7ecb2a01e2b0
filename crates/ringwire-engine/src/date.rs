//! The `Date` field of responses (RFC 9110 §6.6.1), written once a second.

use std::time::Duration;

use ringwire_ring::Instant;

/// The date, and until when it is that.
#[derive(Debug, Default)]
pub(crate) struct DateCache {
    text: String,
    fresh_until: Instant,
}

impl DateCache {
    /// The date at `now`; `wall_clock_us` is asked for it if the last answer is a second old.
    pub(crate) fn at(&mut self, now: Instant, wall_clock_us: impl FnOnce() -> u64) -> &str {
        if now >= self.fresh_until || self.text.is_empty() {
            let us = wall_clock_us();
            self.text = imf_fixdate(us / 1_000_000);
            self.fresh_until = now + Duration::from_micros(1_000_000 - us % 1_000_000);
        }
        &self.text
    }
}

/// A time as HTTP has it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn imf_fixdate(unix_s: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let weekday = WEEKDAYS[usize::try_from(days % 7).expect("below 7")];
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let month = MONTHS[usize::try_from(month).expect("below 12")];
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month from 0 and day from 1 of a day since 1970, in the Gregorian calendar. Years here begin in March, so
/// that the leap day is the last: 400 of them are always 146,097 days, and five months from March always 153.
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    // From the 1st of March of the year 0.
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_rfc_has_them() {
        for (unix_s, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
            (1_767_225_599, "Wed, 31 Dec 2025 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(imf_fixdate(unix_s), date);
        }
    }

    #[test]
    fn the_clock_is_asked_once_a_second() {
        let mut cache = DateCache::default();
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        assert_eq!(cache.at(at(5), || 784_111_777_400_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(cache.at(at(604), || unreachable!("it is still the same second")), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(cache.at(at(605), || 784_111_778_000_000), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
