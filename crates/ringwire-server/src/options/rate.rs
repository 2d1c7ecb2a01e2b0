//! How many a second, and how many at once.

use crate::config::Section;

/// Most that may be allowed a second, and at once.
const PER_SECOND_MAX: u32 = 1 << 24;

/// A limit on how often something may happen: so many at once, and so many a second on average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// At most so many a second on average; above zero.
    pub per_second: u32,
    /// At most so many at once, after a pause; above zero.
    pub burst: u32,
}

impl RateLimit {
    /// Reads the two keys of a limit that is off by default: 0 for none, and a burst of 0 for a second's worth.
    pub(super) fn read(section: &mut Section<'_>, rate_key: &str, burst_key: &str) -> Option<Self> {
        Self::read_with(section, rate_key, burst_key, Self { per_second: 0, burst: 0 })
    }

    /// The same with a default.
    pub(super) fn read_with(section: &mut Section<'_>, rate_key: &str, burst_key: &str, default: Self) -> Option<Self> {
        let says_burst = section.has(burst_key);
        let per_second = section.number(rate_key, default.per_second, 0..=PER_SECOND_MAX);
        let burst = section.number(burst_key, default.burst, 0..=PER_SECOND_MAX);
        if per_second == 0 && burst > 0 && says_burst {
            section.fault(burst_key, &format!("a burst is of a limit, and {rate_key} says that there is none"));
        }
        (per_second > 0).then_some(Self { per_second, burst: if burst == 0 { per_second } else { burst } })
    }
}
