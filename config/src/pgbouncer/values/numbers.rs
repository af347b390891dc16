//! Numbers as C's library reads them, which is PgBouncer's way: `0x10` and `010` are 16 and 8, times have fractions.

use std::time::Duration;

use crate::value::quoted;

/// Largest count; also PgBouncer's.
const LARGEST: i64 = i32::MAX as i64;

/// Longest time in seconds: a hundred years. Deadlines are sums and must not overflow, so more counts as this.
const LONGEST: f64 = 36_500.0 * 24.0 * 3600.0;

/// Digits that `%g` keeps.
const SIGNIFICANT: i32 = 6;

/// A whole number: decimal, hexadecimal behind `0x`, octal behind `0`.
pub(in super::super) fn whole(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let number = magnitude(digits).map(|number| if negative { -number } else { number });
    number.ok_or_else(|| format!("expected a whole number, found {}", quoted(text)))
}

fn magnitude(digits: &str) -> Option<i64> {
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (radix, digits) = match hexadecimal {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    // Rust's own parser would take a second sign.
    let plain = digits.chars().all(|digit| digit.is_digit(radix));
    if plain { i64::from_str_radix(digits, radix).ok() } else { None }
}

/// A number of things or bytes, up to 2147483647. A negative one is 0: PgBouncer compares with it, and nothing is
/// fewer than none.
pub(in super::super) fn count(text: &str) -> Result<usize, String> {
    match whole(text)? {
        number if number > LARGEST => {
            Err(format!("expected a whole number of at most {LARGEST}, found {}", quoted(text)))
        }
        number => Ok(usize::try_from(number).unwrap_or(0)),
    }
}

/// Seconds, cut to microseconds as in PgBouncer. What is longer than a hundred years is a hundred years.
pub(in super::super) fn fraction(text: &str) -> Result<Duration, String> {
    let decimal = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    let seconds = text.parse::<f64>().ok().filter(|seconds| decimal && *seconds >= 0.0);
    let microseconds = seconds.map(|seconds| seconds.min(LONGEST) * 1e6);
    // The bounds above are far within what both types hold.
    let duration = microseconds.map(|microseconds| Duration::from_micros(microseconds as u64));
    duration.ok_or_else(|| format!("expected a number of seconds, such as 15 or 0.5, found {}", quoted(text)))
}

/// A number as C's `%g` prints it: six digits, without zeros at the end, with an exponent where that is shorter.
pub(super) fn general(number: f64) -> String {
    let scientific = format!("{number:.*e}", SIGNIFICANT as usize - 1);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..SIGNIFICANT).contains(&exponent) {
        let decimals = usize::try_from(SIGNIFICANT - 1 - exponent).unwrap_or(0);
        return trimmed(&format!("{number:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_c_reads_them() {
        for (text, number) in
            [("0", 0), ("10", 10), ("0x10", 16), ("010", 8), ("-3", -3), ("+3", 3), ("0777", 511)]
        {
            assert_eq!(whole(text), Ok(number), "{text}");
        }
        for text in ["", "-", "0x", "09", "1k", "5 ; x", "\"5\"", "--1", "1.0", "99999999999999999999", "٣"]
        {
            assert!(whole(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_have_bounds() {
        assert_eq!(count("2147483647"), Ok(2_147_483_647));
        assert_eq!(count("-1"), Ok(0));
        assert_eq!(
            count("2147483648").unwrap_err(),
            "expected a whole number of at most 2147483647, found \"2147483648\""
        );
    }

    #[test]
    fn times_are_seconds_with_fractions() {
        for (text, millis) in
            [("0.5", 500), (".5", 500), ("15", 15_000), ("+5", 5000), ("1e3", 1_000_000), ("-0", 0)]
        {
            assert_eq!(fraction(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "-1", "5s", "inf", "nan", "e", "0x10", "1 2", "--1"] {
            assert!(fraction(text).is_err(), "{text}");
        }
        assert_eq!(fraction("1e300"), Ok(Duration::from_secs(36_500 * 24 * 3600)));
        assert_eq!(fraction("0.0000001"), Ok(Duration::ZERO));
    }

    #[test]
    fn times_are_shown_as_c_shows_them() {
        let shown = [
            (0.0, "0"),
            (0.5, "0.5"),
            (3600.0, "3600"),
            (1_234_567.891, "1.23457e+06"),
            (86_400_000.0, "8.64e+07"),
            (0.00001, "1e-05"),
            (999_999.5, "1e+06"),
            (0.1234567, "0.123457"),
        ];
        for (number, text) in shown {
            assert_eq!(general(number), text);
        }
    }
}
