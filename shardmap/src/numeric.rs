//! Numeric values as integers: from text and from the binary format.
//!
//! Numeric is no key type; this serves `int_column = 7.0` and `numeric` parameters beside integer columns.

use crate::int::trim_c_space;

/// What a numeric value is to an integer column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Numeric {
    /// This integer.
    Integral(i64),
    /// A fraction, and the integer that an assignment makes of it: the nearest, of two the one farther from zero.
    Fraction(i64),
    /// Anything else: beyond 64 bits, NaN, infinite, malformed, or a spelling not read here.
    Other,
}

/// Reads `[sign] digits [. digits] [e exponent]` with space around, as `numeric_in` does.
pub(crate) fn parse(text: &[u8]) -> Numeric {
    std::str::from_utf8(trim_c_space(text)).ok().and_then(read).unwrap_or(Numeric::Other)
}

/// A value of 64 bits, with its sign.
fn signed(negative: bool, (magnitude, exact): (i128, bool)) -> Option<Numeric> {
    let value = i64::try_from(if negative { -magnitude } else { magnitude }).ok()?;
    Some(if exact { Numeric::Integral(value) } else { Numeric::Fraction(value) })
}

fn read(text: &str) -> Option<Numeric> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    signed(negative, shifted(whole.as_bytes(), fraction.as_bytes(), exponent)?)
}

/// `whole.fraction × 10^exponent`, rounded, if that is of moderate size; and whether it is just that.
fn shifted(whole: &[u8], fraction: &[u8], exponent: i16) -> Option<(i128, bool)> {
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits_before_point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    let (mut value, mut up, mut exact) = (0_i128, false, true);
    let mut position = 0_i64;
    for digit in whole.iter().chain(fraction) {
        let digit = i128::from(char::from(*digit).to_digit(10)?);
        if position < digits_before_point {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else {
            up |= position == digits_before_point && digit >= 5;
            exact &= digit == 0;
        }
        position += 1;
    }
    if value == 0 {
        return Some((i128::from(up), exact));
    }
    let value = (position..digits_before_point).try_fold(value, |value, _| value.checked_mul(10))?;
    Some((value.checked_add(i128::from(up))?, exact))
}

/// Reads the binary format (`numeric_recv`): count, weight, sign and scale of two bytes each, then the
/// digits, base 10000, the first worth `10000^weight`.
pub(crate) fn from_binary(bytes: &[u8]) -> Numeric {
    read_binary(bytes).unwrap_or(Numeric::Other)
}

fn read_binary(bytes: &[u8]) -> Option<Numeric> {
    const NEGATIVE: u16 = 0x4000;
    let (header, digits) = bytes.split_first_chunk::<8>()?;
    let &[count_high, count_low, weight_high, weight_low, sign_high, sign_low, _, _] = header;
    let count = usize::from(u16::from_be_bytes([count_high, count_low]));
    let weight = i64::from(i16::from_be_bytes([weight_high, weight_low]));
    let sign = u16::from_be_bytes([sign_high, sign_low]);
    let (digits, []) = digits.as_chunks::<2>() else { return None };
    if digits.len() != count || !matches!(sign, 0 | NEGATIVE) {
        return None;
    }
    signed(sign == NEGATIVE, weighted(digits, weight)?)
}

/// The sum of base-10000 digits, the first worth `10000^weight`, rounded, if it is of moderate size; and whether it is just
/// that.
fn weighted(digits: &[[u8; 2]], weight: i64) -> Option<(i128, bool)> {
    let (mut value, mut up, mut exact) = (0_i128, false, true);
    let mut power = weight;
    for digit in digits {
        let digit = u16::from_be_bytes(*digit);
        if digit > 9999 {
            return None;
        }
        if power >= 0 {
            value = value.checked_mul(10_000)?.checked_add(i128::from(digit))?;
        } else {
            up |= power == -1 && digit >= 5000;
            exact &= digit == 0;
        }
        power -= 1;
    }
    if value == 0 {
        return Some((i128::from(up), exact));
    }
    let value = (0..=power).try_fold(value, |value, _| value.checked_mul(10_000))?;
    Some((value.checked_add(i128::from(up))?, exact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integral_texts_are_their_integer() {
        for (text, value) in [
            ("7", 7),
            ("7.0", 7),
            ("7.", 7),
            (" +7.000 ", 7),
            ("1e3", 1000),
            ("1.5E1", 15),
            ("700e-2", 7),
            (".5e1", 5),
            ("-0.0", 0),
            ("0e9999", 0),
            ("-9223372036854775808.0", i64::MIN),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(parse(text.as_bytes()), Numeric::Integral(value), "{text}");
        }
    }

    #[test]
    fn fractions_are_rounded_away_from_zero() {
        for (text, value) in [
            ("7.5", 8),
            ("7.499999", 7),
            ("-7.5", -8),
            ("70e-2", 1),
            (".5", 1),
            ("-.49", 0),
            ("1e-5", 0),
            ("5e-2", 0),
            ("12345.6789e2", 1_234_568),
            ("9223372036854775806.5", i64::MAX),
        ] {
            assert_eq!(parse(text.as_bytes()), Numeric::Fraction(value), "{text}");
        }
        assert_eq!(parse(b"9223372036854775807.5"), Numeric::Other);
    }

    #[test]
    fn anything_else_is_no_number() {
        for text in [
            "",
            ".",
            "e1",
            "9223372036854775808",
            "1e9999",
            "1e99999",
            "NaN",
            "inf",
            "7 7",
            "0x1f",
            "1_000",
            "--7",
            "7.0.0",
            "7e",
            "７",
        ] {
            assert_eq!(parse(text.as_bytes()), Numeric::Other, "{text}");
        }
    }

    fn binary(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let count = u16::try_from(digits.len()).unwrap();
        let header = [count, weight.cast_unsigned(), sign, 0];
        header.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn binary_numerics_are_read_by_weight() {
        assert_eq!(from_binary(&binary(0, 0, &[])), Numeric::Integral(0));
        assert_eq!(from_binary(&binary(0, 0, &[7])), Numeric::Integral(7));
        assert_eq!(from_binary(&binary(1, 0x4000, &[1, 2345])), Numeric::Integral(-12345));
        assert_eq!(from_binary(&binary(2, 0, &[1])), Numeric::Integral(100_000_000));
        assert_eq!(from_binary(&binary(0, 0, &[7, 0])), Numeric::Integral(7));
        assert_eq!(from_binary(&binary(0, 0, &[7, 5000])), Numeric::Fraction(8));
        assert_eq!(from_binary(&binary(0, 0x4000, &[7, 4999, 9999])), Numeric::Fraction(-7));
        assert_eq!(from_binary(&binary(-1, 0, &[5000])), Numeric::Fraction(1));
        assert_eq!(from_binary(&binary(-2, 0, &[9999])), Numeric::Fraction(0));
        assert_eq!(from_binary(&binary(i16::MAX, 0, &[1])), Numeric::Other);
        assert_eq!(from_binary(&binary(0, 0xC000, &[])), Numeric::Other);
        assert_eq!(from_binary(&binary(0, 0, &[10_000])), Numeric::Other);
        assert_eq!(from_binary(&binary(0, 0, &[7])[..9]), Numeric::Other);
    }
}
