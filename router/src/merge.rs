//! Putting shards' rows together: comparing sort keys exactly, and stripping the columns that carried them.
//!
//! Pure: rows in, orderings and slices out.

use crate::plan::scatter::{SortKey, SortType};
use shardway_pool::frame;
use std::cmp::Ordering;

/// A DataRow's body cut in two: the client's columns, and the hidden ones behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Columns that the client asked for.
    pub visible: u16,
    /// Their bytes, lengths included.
    pub bytes: &'a [u8],
    /// Hidden columns' values.
    pub hidden: Vec<Option<&'a [u8]>>,
}

/// Cuts a DataRow body; `None` if it is malformed or has fewer columns than are hidden.
pub fn cut(body: &[u8], hidden: usize) -> Option<Row<'_>> {
    let (count, values) = frame::i16(body)?;
    let count = usize::from(count as u16);
    let visible = count.checked_sub(hidden)?;
    let mut at = values;
    for _ in 0..visible {
        at = value(at)?.1;
    }
    let bytes = &values[..values.len() - at.len()];
    let mut keys = Vec::with_capacity(hidden);
    for _ in 0..hidden {
        let (key, rest) = value(at)?;
        keys.push(key);
        at = rest;
    }
    Some(Row { visible: visible as u16, bytes, hidden: keys })
}

fn value(at: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = frame::i32(at)?;
    match usize::try_from(length) {
        Ok(n) => Some((Some(rest.get(..n)?), &rest[n..])),
        Err(_) => Some((None, rest)),
    }
}

/// A RowDescription body without its last `hidden` columns; `None` if it is malformed.
pub fn strip_description(body: &[u8], hidden: usize) -> Option<Vec<u8>> {
    let (count, mut at) = frame::i16(body)?;
    let visible = usize::from(count as u16).checked_sub(hidden)?;
    let fields = at;
    for _ in 0..visible {
        let (_, rest) = frame::cstr(at)?;
        at = rest.get(18..)?;
    }
    let mut stripped = (visible as u16).to_be_bytes().to_vec();
    stripped.extend_from_slice(&fields[..fields.len() - at.len()]);
    Some(stripped)
}

/// Compares two rows by their sort keys.
pub fn compare(keys: &[SortKey], a: &[Option<Vec<u8>>], b: &[Option<Vec<u8>>]) -> Ordering {
    for (key, (a, b)) in keys.iter().zip(a.iter().zip(b)) {
        let order = match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => {
                if key.nulls_first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (Some(_), None) => {
                if key.nulls_first {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (Some(a), Some(b)) => {
                let order = compare_values(key, a, b);
                if key.descending { order.reverse() } else { order }
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn compare_values(key: &SortKey, a: &[u8], b: &[u8]) -> Ordering {
    match key.sort {
        // "f" sorts before "t", as false does before true.
        SortType::Bytes | SortType::Bool => a.cmp(b),
        SortType::Number if key.float => compare_floats(a, b),
        SortType::Number => compare_numbers(a, b),
    }
}

/// Floats as Postgres orders them: NaN equals itself and is the largest.
fn compare_floats(a: &[u8], b: &[u8]) -> Ordering {
    let parse =
        |text: &[u8]| std::str::from_utf8(text).ok().and_then(|t| t.parse::<f64>().ok()).unwrap_or(f64::NAN);
    let (a, b) = (parse(a), parse(b));
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

/// Where a number stands among numbers, before its digits are looked at.
fn rank(text: &[u8]) -> u8 {
    match text {
        b"-Infinity" => 0,
        [b'-', ..] => 1,
        b"Infinity" => 3,
        b"NaN" => 4,
        _ => 2,
    }
}

/// Decimal numbers of any size, in Postgres's own text (no exponent).
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    match (rank(a), rank(b)) {
        (1, 1) => compare_digits(&b[1..], &a[1..]),
        (2, 2) => compare_digits(a, b),
        (a, b) => a.cmp(&b),
    }
}

fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    let split = |text: &'_ [u8]| {
        let point = text.iter().position(|&c| c == b'.').unwrap_or(text.len());
        let zeros = text[..point].iter().take_while(|&&c| c == b'0').count();
        (zeros, point)
    };
    let ((az, ap), (bz, bp)) = (split(a), split(b));
    let (whole_a, whole_b) = (&a[az..ap], &b[bz..bp]);
    let fraction = |text: &'_ [u8], point: usize| {
        let digits = text.get(point + 1..).unwrap_or_default();
        let trailing = digits.iter().rev().take_while(|&&c| c == b'0').count();
        digits[..digits.len() - trailing].to_vec()
    };
    whole_a
        .len()
        .cmp(&whole_b.len())
        .then_with(|| whole_a.cmp(whole_b))
        .then_with(|| fraction(a, ap).cmp(&fraction(b, bp)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NUMBER: SortKey =
        SortKey { sort: SortType::Number, descending: false, nulls_first: false, float: false };

    fn numbers(a: &str, b: &str) -> Ordering {
        compare_numbers(a.as_bytes(), b.as_bytes())
    }

    #[test]
    fn numbers_of_any_size_compare_by_value() {
        let sorted = [
            "-Infinity",
            "-100000000000000000000000000000000000001",
            "-10.5",
            "-10.25",
            "-1",
            "0",
            "0.000001",
            "1",
            "1.10",
            "1.2",
            "9",
            "10",
            "99999999999999999999999999999999999999.5",
            "Infinity",
            "NaN",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(numbers(a, b), i.cmp(&j), "{a} with {b}");
            }
        }
        assert_eq!(numbers("1.10", "1.1"), Ordering::Equal);
        assert_eq!(numbers("-0.0", "-0"), Ordering::Equal);
    }

    #[test]
    fn floats_with_exponents_and_nan_compare_as_postgres_does() {
        assert_eq!(compare_floats(b"1e+20", b"2"), Ordering::Greater);
        assert_eq!(compare_floats(b"NaN", b"Infinity"), Ordering::Greater);
        assert_eq!(compare_floats(b"-0", b"0"), Ordering::Equal);
    }

    #[test]
    fn nulls_go_where_they_were_asked_to() {
        let (null, one) = (vec![None], vec![Some(b"1".to_vec())]);
        assert_eq!(compare(&[NUMBER], &null, &one), Ordering::Greater);
        let first = SortKey { nulls_first: true, descending: true, ..NUMBER };
        assert_eq!(compare(&[first], &null, &one), Ordering::Less);
    }

    #[test]
    fn hidden_columns_are_cut_off() {
        let body = b"\0\x02\0\0\0\x01a\0\0\0\x02bc";
        let row = cut(body, 1).unwrap();
        assert_eq!((row.visible, row.bytes, row.hidden), (1, &b"\0\0\0\x01a"[..], vec![Some(&b"bc"[..])]));
        assert_eq!(cut(body, 3), None);
        assert_eq!(cut(b"\0\x02\0\0\0\x05a", 1), None);
    }

    proptest! {
        #[test]
        fn integers_compare_as_integers(a: i64, b: i64) {
            prop_assert_eq!(numbers(&a.to_string(), &b.to_string()), a.cmp(&b));
        }

        #[test]
        fn no_row_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..40), hidden in 0usize..4) {
            let _ = cut(&body, hidden);
            let _ = strip_description(&body, hidden);
        }
    }
}
