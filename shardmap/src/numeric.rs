//! Numeric values, as far as they are integers: from text and from the binary format.
//!
//! Numeric is no key type; this serves `int_column = 7.0` and `numeric` parameters beside integer columns.

use crate::int::trim_c_space;

/// What a numeric value is to an integer column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Numeric {
    /// This integer.
    Integral(i64),
    /// Anything else: a fraction, beyond 64 bits, NaN, infinite, malformed, or a spelling not read here.
    Other,
}

/// Reads `[sign] digits [. digits] [e exponent]` with space around, as `numeric_in` does.
pub(crate) fn parse(text: &[u8]) -> Numeric {
    std::str::from_utf8(trim_c_space(text)).ok().and_then(integral).map_or(Numeric::Other, Numeric::Integral)
}

fn integral(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let magnitude = shifted(whole.as_bytes(), fraction.as_bytes(), exponent)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `whole.fraction × 10^exponent`, if that is an integer of moderate size.
fn shifted(whole: &[u8], fraction: &[u8], exponent: i16) -> Option<i128> {
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits_before_point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    let mut value = 0_i128;
    let mut position = 0_i64;
    for digit in whole.iter().chain(fraction) {
        let digit = i128::from(char::from(*digit).to_digit(10)?);
        if position < digits_before_point {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 {
            return None;
        }
        position += 1;
    }
    if value == 0 {
        return Some(0);
    }
    (position..digits_before_point).try_fold(value, |value, _| value.checked_mul(10))
}

/// Reads the binary format (`numeric_recv`): count, weight, sign and scale of two bytes each, then the
/// digits, base 10000, the first worth `10000^weight`.
pub(crate) fn from_binary(bytes: &[u8]) -> Numeric {
    binary_integral(bytes).map_or(Numeric::Other, Numeric::Integral)
}

fn binary_integral(bytes: &[u8]) -> Option<i64> {
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
    let magnitude = weighted(digits, weight)?;
    i64::try_from(if sign == NEGATIVE { -magnitude } else { magnitude }).ok()
}

/// The sum of base-10000 digits, the first worth `10000^weight`, if it is an integer of moderate size.
fn weighted(digits: &[[u8; 2]], weight: i64) -> Option<i128> {
    let mut value = 0_i128;
    let mut power = weight;
    for digit in digits {
        let digit = u16::from_be_bytes(*digit);
        if digit > 9999 || (power < 0 && digit != 0) {
            return None;
        }
        if power >= 0 {
            value = value.checked_mul(10_000)?.checked_add(i128::from(digit))?;
        }
        power -= 1;
    }
    if value == 0 {
        return Some(0);
    }
    (0..=power).try_fold(value, |value, _| value.checked_mul(10_000))
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
    fn anything_else_is_no_integer() {
        for text in [
            "",
            ".",
            "e1",
            "7.5",
            "70e-2",
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
        assert_eq!(from_binary(&binary(0, 0, &[7, 5000])), Numeric::Other);
        assert_eq!(from_binary(&binary(-1, 0, &[5000])), Numeric::Other);
        assert_eq!(from_binary(&binary(i16::MAX, 0, &[1])), Numeric::Other);
        assert_eq!(from_binary(&binary(0, 0xC000, &[])), Numeric::Other);
        assert_eq!(from_binary(&binary(0, 0, &[10_000])), Numeric::Other);
        assert_eq!(from_binary(&binary(0, 0, &[7])[..9]), Numeric::Other);
    }
}
