//! Numbers as people read them: three digits, and a unit.

/// A duration in nanoseconds with three digits: `12.3 us`, `1.24 ms`, `2.00 s`.
pub fn nanoseconds(value: f64) -> String {
    let (value, unit) = in_unit(value);
    // Nobody's clock shows fractions of a nanosecond.
    if unit == "ns" { format!("{value:.0} ns") } else { format!("{} {unit}", three_digits(value)) }
}

/// A round duration, as it stands beside an axis: `20 us`, `1 ms`.
pub fn round_nanoseconds(value: f64) -> String {
    let (value, unit) = in_unit(value);
    format!("{} {unit}", plain(value))
}

fn in_unit(nanoseconds: f64) -> (f64, &'static str) {
    match nanoseconds {
        // 999.9 us would be written as 1000 us.
        value if value < 999.5 => (value, "ns"),
        value if value < 999.5e3 => (value / 1e3, "us"),
        value if value < 999.5e6 => (value / 1e6, "ms"),
        value => (value / 1e9, "s"),
    }
}

/// Three digits that mean something: `0.123`, `1.23`, `12.3`, `123`, `1234`.
pub fn three_digits(value: f64) -> String {
    let digits = match value.abs() {
        value if !value.is_finite() => return "–".to_owned(),
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 || value == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// A number without digits that say nothing: `20`, `0.5`.
pub fn plain(value: f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6 + 0.0)
}

/// A number in at most four characters and a letter: `950`, `12.3k`, `1.2M`.
pub fn short_number(value: f64) -> String {
    let (value, letter) = match value.abs() {
        size if size >= 999.5e6 => (value / 1e9, "G"),
        size if size >= 999.5e3 => (value / 1e6, "M"),
        size if size >= 999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{}{letter}", plain((value * 100.0).round() / 100.0))
}

/// A whole number, in groups of three parted by narrow spaces: `1 234 567`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Bytes: `12.3 MiB`.
pub fn bytes(value: u64) -> String {
    match value as f64 {
        value if value < 1024.0 => format!("{value} B"),
        value if value < 1024.0 * 1024.0 => format!("{} KiB", three_digits(value / 1024.0)),
        value if value < 1024.0 * 1024.0 * 1024.0 => format!("{} MiB", three_digits(value / 1024.0 / 1024.0)),
        value => format!("{} GiB", three_digits(value / 1024.0 / 1024.0 / 1024.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_their_unit() {
        for (value, words) in [
            (0.0, "0 ns"),
            (850.0, "850 ns"),
            (999.9, "1.00 us"),
            (12_345.0, "12.3 us"),
            (999_900.0, "1.00 ms"),
            (1_240_000.0, "1.24 ms"),
            (204_000_000.0, "204 ms"),
            (2e9, "2.00 s"),
            (61e9, "61.0 s"),
        ] {
            assert_eq!(nanoseconds(value), words);
        }
        assert_eq!((round_nanoseconds(20_000.0), round_nanoseconds(5e8)), ("20 us".into(), "500 ms".into()));
    }

    #[test]
    fn numbers_are_short_or_grouped() {
        assert_eq!(
            (short_number(950.0), short_number(12_345.0), short_number(1.2e6)),
            ("950".into(), "12.35k".into(), "1.2M".into())
        );
        assert_eq!(
            (grouped(7), grouped(1234), grouped(1_234_567)),
            ("7".into(), "1\u{202f}234".into(), "1\u{202f}234\u{202f}567".into())
        );
        assert_eq!((bytes(100), bytes(1536), bytes(12 << 20)), ("100 B".into(), "1.50 KiB".into(), "12.0 MiB".into()));
        assert_eq!(
            (three_digits(0.12345), three_digits(9.999), three_digits(f64::NAN)),
            ("0.123".into(), "10.0".into(), "–".into())
        );
    }
}
