//! Vectors from Postgres: the results of its own sums and averages, its text and its bytes.

use super::Numeric;
use proptest::prelude::*;
use std::cmp::Ordering;

fn numeric(text: &str) -> Numeric {
    Numeric::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is a numeric"))
}

fn text(numeric: &Numeric) -> String {
    let mut out = Vec::new();
    numeric.write_text(&mut out);
    String::from_utf8(out).unwrap()
}

fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    numeric(text).write_binary(&mut out);
    out
}

fn sum(values: &[&str]) -> String {
    let add = |sum: Numeric, value: &&str| sum.add(&numeric(value)).unwrap();
    text(&values[1..].iter().fold(numeric(values[0]), add))
}

fn average(sum: &str, count: u64) -> String {
    text(&numeric(sum).average(count))
}

#[test]
fn what_postgres_writes_is_read_and_written_alike() {
    let long = format!("-{}.{}", "9".repeat(200), "120".repeat(100));
    for written in [
        "0",
        "0.00",
        "1",
        "-1",
        "10",
        "10000",
        "9999",
        "12345678",
        "100000000",
        "0.1",
        "0.0001",
        "0.00001",
        "0.12345",
        "-123456.789",
        "10000.00001000",
        "1.10",
        "NaN",
        "Infinity",
        "-Infinity",
        &long,
    ] {
        assert_eq!(text(&numeric(written)), written);
    }
    for wrong in ["", "-", ".5", "1e5", "1.x", "+1", "--1", " 1", "nan"] {
        assert_eq!(Numeric::parse(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn binary_values_are_those_of_numeric_send() {
    assert_eq!(bytes("0"), [0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes("0.00"), [0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(bytes("1.5"), [0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 0x13, 0x88]);
    assert_eq!(bytes("-10000"), [0, 1, 0, 1, 0x40, 0, 0, 0, 0, 1]);
    assert_eq!(bytes("0.00001"), [0, 1, 0xff, 0xfe, 0, 0, 0, 5, 0x03, 0xe8]);
    assert_eq!(bytes("NaN"), [0, 0, 0, 0, 0xc0, 0, 0, 0]);
    assert_eq!(bytes("Infinity"), [0, 0, 0, 0, 0xd0, 0, 0, 0x20]);
    assert_eq!(bytes("-Infinity"), [0, 0, 0, 0, 0xf0, 0, 0, 0x20]);
    for wrong in [&[0, 1, 0, 0, 0, 0, 0, 0][..], &[0; 9], &[0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff], &[0; 3]] {
        assert_eq!(Numeric::receive(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_sum_has_the_largest_scale() {
    assert_eq!(sum(&["1.10", "1.1"]), "2.20");
    assert_eq!(sum(&["1.10", "-1.1"]), "0.00");
    assert_eq!(sum(&["9999.9999", "0.0001"]), "10000.0000");
    assert_eq!(sum(&["1e0".trim_end_matches("e0"), "-0.0000000001"]), "0.9999999999");
    assert_eq!(sum(&["-10000", "1"]), "-9999");
    assert_eq!(sum(&["0.00001", "0", "-0.00002"]), "-0.00001");
    assert_eq!(sum(&["99999999999999999999", "1"]), "100000000000000000000");
}

#[test]
fn specials_add_up_as_in_postgres() {
    assert_eq!(sum(&["NaN", "Infinity"]), "NaN");
    assert_eq!(sum(&["Infinity", "-1"]), "Infinity");
    assert_eq!(sum(&["1", "-Infinity"]), "-Infinity");
    assert_eq!(sum(&["Infinity", "-Infinity"]), "NaN");
    assert_eq!(average("Infinity", 3), "Infinity");
    assert_eq!(average("NaN", 3), "NaN");
}

#[test]
fn what_no_numeric_can_hold_is_an_overflow() {
    let largest = numeric(&"9".repeat(131_072));
    assert!(largest.add(&numeric("0.5")).is_ok());
    assert!(largest.add(&numeric("1")).is_err());
}

#[test]
fn averages_have_postgres_own_scale_and_rounding() {
    for (total, count, expected) in [
        ("5", 2, "2.5000000000000000"),
        ("1", 3, "0.33333333333333333333"),
        ("2", 3, "0.66666666666666666667"),
        ("-2", 3, "-0.66666666666666666667"),
        ("10", 3, "3.3333333333333333"),
        ("100000", 3, "33333.333333333333"),
        ("20000", 3, "6666.6666666666666667"),
        ("0", 7, "0.00000000000000000000"),
        ("0.00", 7, "0.00000000000000000000"),
        ("4", 4, "1.00000000000000000000"),
        ("0.0000000000000000000000001", 2, "0.00000000000000000000000005000000000000000000"),
        ("1.0000000000000000000000000", 1, "1.0000000000000000000000000"),
        ("99999999999999999999", 10000, "9999999999999999.9999"),
        ("19999999999999999999", 2, "10000000000000000000"),
        ("199999999999999999999999", 2, "100000000000000000000000"),
        ("-199999999999999999999999", 2, "-100000000000000000000000"),
    ] {
        assert_eq!(average(total, count), expected, "{total} / {count}");
    }
    let tiny = format!("0.{}1", "0".repeat(1199));
    assert_eq!(average(&tiny, 2), format!("0.{}", "0".repeat(1000)));
}

#[test]
fn numbers_compare_by_value() {
    let sorted =
        ["-Infinity", "-100.5", "-100", "-0.1", "0", "0.00001", "1", "1.00001", "10000", "Infinity", "NaN"];
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            assert_eq!(numeric(a).compare(&numeric(b)), i.cmp(&j), "{a} with {b}");
        }
    }
    assert_eq!(numeric("1.10").compare(&numeric("1.1")), Ordering::Equal);
    assert_eq!(numeric("NaN").compare(&numeric("NaN")), Ordering::Equal);
}

proptest! {
    #[test]
    fn integers_add_up_as_integers(a in -(1i128 << 120)..(1i128 << 120), b in -(1i128 << 120)..(1i128 << 120)) {
        let (x, y) = (Numeric::from(a), Numeric::from(b));
        prop_assert_eq!(text(&x), a.to_string());
        prop_assert_eq!(text(&x.add(&y).unwrap()), (a + b).to_string());
        prop_assert_eq!(x.compare(&y), a.cmp(&b));
    }

    #[test]
    fn both_forms_say_the_same(whole in "(0|[1-9][0-9]{0,30})", fraction in "(|\\.[0-9]{1,30})", minus: bool) {
        let unsigned = format!("{whole}{fraction}");
        let zero = unsigned.bytes().all(|c| matches!(c, b'0' | b'.'));
        let written = if minus && !zero { format!("-{unsigned}") } else { unsigned };
        prop_assert_eq!(text(&numeric(&written)), written.clone());
        prop_assert_eq!(Numeric::receive(&bytes(&written)), Some(numeric(&written)));
    }

    #[test]
    fn an_average_is_off_by_half_of_its_last_digit_at_most(sum in -(1i128 << 90)..(1i128 << 90), count in 1u64..1_000_000) {
        let mean = text(&Numeric::from(sum).average(count));
        let scale = mean.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let units: i128 = mean.replace('.', "").parse().unwrap();
        let (exact, unit) = (sum * 10i128.pow(scale as u32), i128::from(count));
        prop_assert!((units * unit - exact).abs() * 2 <= unit, "{sum} / {count} = {mean}");
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Numeric::parse(&bytes);
        if let Some(read) = Numeric::receive(&bytes) {
            let _ = (text(&read), read.average(3));
        }
    }
}
