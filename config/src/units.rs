//! Durations and sizes, as text and back.
//!
//! Bare numbers are seconds (PgBouncer's habit) and bytes. There are no fractions and no decimal kilobytes:
//! each value has one reading.

use std::time::Duration;

/// Longest duration. Deadlines are sums of a clock's reading and a duration, and those must not overflow.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// Milliseconds in each unit of time.
const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes in each unit of size.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Why a text is not the quantity that was asked for: what was expected, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnitError {
    #[error("a duration such as \"250ms\", \"15s\", \"10m\", \"1h\" or \"2d\", or a number of seconds")]
    NotADuration,
    #[error("a duration of at most 36500d")]
    TooLong,
    #[error("a size such as \"64KiB\", \"16MiB\" or \"1GiB\", or a number of bytes")]
    NotASize,
    #[error("a size of at most 9223372036854775807 bytes")]
    TooLarge,
}

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub(crate) const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

pub(crate) const fn mebibytes(count: u64) -> u64 {
    count << 20
}

/// `"250ms"`, or a bare number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text).ok_or(UnitError::NotADuration)?;
    let scale = if unit.is_empty() { 1000 } else { scale(unit, &TIMES).ok_or(UnitError::NotADuration)? };
    let milliseconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale));
    let duration = milliseconds.map(Duration::from_millis).ok_or(UnitError::TooLong)?;
    if duration > LONGEST { Err(UnitError::TooLong) } else { Ok(duration) }
}

/// `"64KiB"`, or a bare number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text).ok_or(UnitError::NotASize)?;
    let scale = if unit.is_empty() { 1 } else { scale(unit, &SIZES).ok_or(UnitError::NotASize)? };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale));
    bytes.filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or(UnitError::TooLarge)
}

/// The digits, at least one, and what follows them.
fn split(text: &str) -> Option<(&str, &str)> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &text[..text.len() - unit.len()];
    (!number.is_empty()).then_some((number, unit))
}

fn scale(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)
}

/// A duration as an operator would write it. Days are left out: `24h` is how the contract says it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 { "0s".to_owned() } else { show(milliseconds, &TIMES[..4]) }
}

/// A size as an operator would write it.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

/// In the largest unit that leaves no remainder; the first unit is 1, so there is one.
fn show(count: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().rev().find(|(_, scale)| count >= *scale && count.is_multiple_of(*scale));
    let (unit, scale) = whole.unwrap_or(&units[0]);
    format!("{}{unit}", count / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_five_units_and_bare_numbers_are_seconds() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("15s"), Ok(seconds(15)));
        assert_eq!(duration("10m"), Ok(minutes(10)));
        assert_eq!(duration("1h"), Ok(hours(1)));
        assert_eq!(duration("2d"), Ok(hours(48)));
        assert_eq!(duration("7"), Ok(seconds(7)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "5 s", "-5s", "1.5s", "5S", "5min", "5µs", "٣s", "+5s", "5s "] {
            assert_eq!(duration(text), Err(UnitError::NotADuration), "{text}");
        }
    }

    #[test]
    fn durations_end_at_a_hundred_years() {
        assert!(duration("36500d").is_ok());
        for text in ["36501d", "18446744073709551615d", "99999999999999999999999999s"] {
            assert_eq!(duration(text), Err(UnitError::TooLong), "{text}");
        }
    }

    #[test]
    fn sizes_are_binary_and_bare_numbers_are_bytes() {
        assert_eq!(size("64KiB"), Ok(65536));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("12B"), Ok(12));
        assert_eq!(size("12"), Ok(12));
        for text in ["64KB", "64k", "1.5GiB", "", "MiB", "-1"] {
            assert_eq!(size(text), Err(UnitError::NotASize), "{text}");
        }
        assert_eq!(size("9223372036854775808"), Err(UnitError::TooLarge));
        assert_eq!(size("99999999999GiB"), Err(UnitError::TooLarge));
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for text in ["0s", "250ms", "1500ms", "15s", "90s", "10m", "1h", "24h"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["0B", "1000B", "64KiB", "1536KiB", "256MiB", "1GiB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
    }
}
