//! Integers: Postgres's text in, decimal text out.

use crate::read::NOT_UTF8;

/// What a text is, read as an integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IntText {
    /// This integer.
    Int(i64),
    /// Nothing that any Postgres version takes for an integer.
    Invalid,
    /// Taken by some Postgres versions or platforms only, or beyond what is read here.
    Unproven(&'static str),
}

/// Reads an integer as Postgres 15's `pg_strtoint64` does: C `isspace` around, one sign, decimal digits.
///
/// Digits beyond 64 bits are [`IntText::Invalid`] (22003). The narrower types' limits are the caller's.
pub(crate) fn parse(text: &[u8]) -> IntText {
    let trimmed = trim_c_space(text);
    let (negative, body) = match trimmed {
        [b'-', body @ ..] => (true, body),
        [b'+', body @ ..] => (false, body),
        body => (false, body),
    };
    if body.is_empty() || !body.iter().all(u8::is_ascii_digit) {
        return not_decimal(body);
    }
    body.iter()
        .try_fold(0_i64, |value, digit| {
            // Towards the negative, which reaches one further.
            value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))
        })
        .and_then(|value| if negative { Some(value) } else { value.checked_neg() })
        .map_or(IntText::Invalid, IntText::Int)
}

/// A text that is not plain decimal, judged by what other Postgres versions and platforms make of it.
fn not_decimal(body: &[u8]) -> IntText {
    let radix = matches!(body, [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]);
    let digits_only = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let underscored = body.first().is_some_and(u8::is_ascii_digit) && body.contains(&b'_');
    if (radix || underscored) && body.iter().all(digits_only) {
        return IntText::Unproven("integers like 0x1f and 1_000 are taken by Postgres 16 and later only");
    }
    match std::str::from_utf8(body) {
        Ok(body) if body.contains(['\u{85}', '\u{a0}']) => {
            IntText::Unproven("some platforms take U+0085 and U+00A0 for space")
        }
        Ok(_) => IntText::Invalid,
        Err(_) => IntText::Unproven(NOT_UTF8),
    }
}

/// `text` without what C's `isspace` takes for space, at both ends.
pub(crate) fn trim_c_space(text: &[u8]) -> &[u8] {
    let keeps = |b: &u8| !matches!(b, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(keeps).unwrap_or(text.len());
    let end = text.iter().rposition(keeps).map_or(start, |last| last + 1);
    &text[start..end]
}

/// An integer in decimal, on the stack.
pub(crate) struct Decimal {
    text: [u8; Decimal::CAPACITY],
    start: usize,
}

impl Decimal {
    /// Nineteen digits and a sign.
    const CAPACITY: usize = 20;

    pub(crate) fn new(value: i64) -> Self {
        let mut text = [0; Self::CAPACITY];
        let mut start = Self::CAPACITY;
        let mut rest = value.unsigned_abs();
        loop {
            start -= 1;
            text[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            start -= 1;
            text[start] = b'-';
        }
        Self { text, start }
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[self.start..]).expect("digits and a sign are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_texts_mean_their_value() {
        for (text, value) in [
            ("7", 7),
            ("+7", 7),
            ("007", 7),
            ("-0", 0),
            (" \t\n\x0b\x0c\r7 \n", 7),
            ("-9223372036854775808", i64::MIN),
            ("9223372036854775807", i64::MAX),
            ("0000000000000000000000000000001", 1),
        ] {
            assert_eq!(parse(text.as_bytes()), IntText::Int(value), "{text:?}");
        }
    }

    #[test]
    fn what_no_postgres_takes_is_invalid() {
        for text in
            ["", " ", "-", "+", "--7", "- 7", "7 8", "7.0", "1e3", "a", "_1", "x1f", "٣", "7\0", "\u{c}-"]
        {
            assert_eq!(parse(text.as_bytes()), IntText::Invalid, "{text:?}");
        }
        assert_eq!(parse(b"9223372036854775808"), IntText::Invalid);
        assert_eq!(parse(b"-9223372036854775809"), IntText::Invalid);
    }

    #[test]
    fn what_later_postgres_versions_take_is_unproven() {
        for text in ["0x1F", "0o17", "-0b101", " 1_000 ", "0x_1f", "7\u{a0}"] {
            assert!(matches!(parse(text.as_bytes()), IntText::Unproven(_)), "{text:?}");
        }
        assert_eq!(parse(b"\xff7"), IntText::Unproven(NOT_UTF8));
    }

    #[test]
    fn decimal_prints_as_rust_does() {
        for value in [0, 7, -7, 10, i64::MAX, i64::MIN] {
            assert_eq!(Decimal::new(value).as_str(), value.to_string());
        }
    }
}
