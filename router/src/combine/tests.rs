//! Rows of made-up shards, combined.

use super::{Aggregate, By, CombineError, Combiner, Compared, Fold, Shape, Sort};
use proptest::prelude::*;

const INT8: u32 = 20;
const INT4: u32 = 23;
const NUMERIC: u32 = 1700;

fn described(columns: &[(u32, i16)]) -> Vec<u8> {
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for (oid, format) in columns {
        body.extend(b"c\0\0\0\0\0\0\0");
        body.extend(oid.to_be_bytes());
        body.extend([0; 6]);
        body.extend(format.to_be_bytes());
    }
    body
}

fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        match value {
            Some(bytes) => {
                body.extend((bytes.len() as u32).to_be_bytes());
                body.extend(*bytes);
            }
            None => body.extend((-1i32).to_be_bytes()),
        }
    }
    body
}

fn texts(values: &[Option<&str>]) -> Vec<u8> {
    row(&values.iter().map(|v| v.map(str::as_bytes)).collect::<Vec<_>>())
}

fn sum(column: usize) -> Aggregate {
    Aggregate { column, types: &[INT8, NUMERIC], fold: Fold::Sum }
}

/// `SELECT key, sum(…)`, by key.
fn sums() -> Shape {
    Shape { visible: 2, hidden: 0, keys: vec![0], aggregates: vec![sum(1)], order: Vec::new() }
}

fn answer(combiner: &Combiner<'_>) -> Result<Vec<Vec<u8>>, CombineError> {
    let write = |group| {
        let mut row = Vec::new();
        combiner.write(group, &mut row).map(|()| row)
    };
    combiner.order()?.into_iter().map(write).collect()
}

#[test]
fn groups_meet_by_their_bytes_and_null_is_one_of_them() {
    let shape = sums();
    let mut combiner = Combiner::new(&shape, 10_000);
    combiner.describe(&described(&[(25, 0), (INT8, 0)])).unwrap();
    for (shard, key, value) in [
        (0, Some("a"), Some("1")),
        (0, None, Some("5")),
        (1, Some("a"), Some("2")),
        (1, Some(""), None),
        (2, None, None),
    ] {
        combiner.row(shard, &texts(&[key, value])).unwrap();
    }
    let expected = [(Some("a"), Some("3")), (None, Some("5")), (Some(""), None)];
    assert_eq!(answer(&combiner).unwrap(), expected.map(|(key, value)| texts(&[key, value])));
}

#[test]
fn a_group_that_a_shard_gives_twice_is_an_error() {
    let shape = sums();
    let mut combiner = Combiner::new(&shape, 10_000);
    combiner.describe(&described(&[(25, 0), (INT8, 0)])).unwrap();
    combiner.row(0, &texts(&[Some("a"), Some("1")])).unwrap();
    assert_eq!(combiner.row(0, &texts(&[Some("a"), Some("1")])), Err(CombineError::Repeated));
}

#[test]
fn a_sum_of_another_type_is_not_taken() {
    let shape = sums();
    let mut combiner = Combiner::new(&shape, 10_000);
    assert_eq!(combiner.describe(&described(&[(25, 0), (701, 0)])), Err(CombineError::Type));
    assert_eq!(combiner.describe(&described(&[(25, 0)])), Err(CombineError::Malformed));
}

#[test]
fn a_bigint_that_overflows_is_postgres_own_error() {
    let shape = sums();
    let mut combiner = Combiner::new(&shape, 10_000);
    combiner.describe(&described(&[(25, 0), (INT8, 0)])).unwrap();
    let most = i64::MAX.to_string();
    combiner.row(0, &texts(&[Some("a"), Some(&most)])).unwrap();
    combiner.row(1, &texts(&[Some("a"), Some("1")])).unwrap();
    let error = answer(&combiner).unwrap_err();
    assert_eq!((error.code(), error.to_string()), ("22003", "bigint out of range".to_owned()));
    combiner.row(2, &texts(&[Some("a"), Some("-1")])).unwrap();
    assert_eq!(answer(&combiner).unwrap(), [texts(&[Some("a"), Some(&most)])]);
}

#[test]
fn memory_is_bounded() {
    let shape = sums();
    let mut combiner = Combiner::new(&shape, 10_000);
    combiner.describe(&described(&[(25, 0), (INT8, 0)])).unwrap();
    let full = (0..).find_map(|n| combiner.row(0, &texts(&[Some(&n.to_string()), Some("1")])).err());
    assert_eq!(full, Some(CombineError::Memory(10_000)));
    assert_eq!(CombineError::Memory(1).code(), "54000");
}

#[test]
fn values_are_written_in_the_format_that_was_asked_for() {
    let average = Fold::Average { sum: 3, count: 4 };
    let shape = Shape {
        visible: 3,
        hidden: 2,
        keys: Vec::new(),
        aggregates: vec![sum(0), Aggregate { column: 1, types: &[NUMERIC], fold: average }, sum(2)],
        order: Vec::new(),
    };
    let mut combiner = Combiner::new(&shape, 10_000);
    combiner.describe(&described(&[(INT8, 1), (NUMERIC, 1), (NUMERIC, 0), (25, 1), (25, 1)])).unwrap();
    let seven = 7i64.to_be_bytes();
    for shard in 0..2 {
        let parts = [Some(&seven[..]), Some(b"ignored"), Some(b"0.50"), Some(b"5"), Some(b"1")];
        combiner.row(shard, &row(&parts)).unwrap();
    }
    let five = [0, 1, 0, 0, 0, 0, 0, 16, 0, 5];
    let expected = row(&[Some(&14i64.to_be_bytes()), Some(&five), Some(b"1.00")]);
    assert_eq!(answer(&combiner).unwrap(), [expected]);
}

#[test]
fn extremes_are_the_winners_own_bytes_and_order_groups() {
    let largest = Fold::Extreme { largest: true, by: 2, compared: Compared::Sent };
    let by = |by, descending, nulls_first| Sort { by, descending, nulls_first };
    let shape = Shape {
        visible: 2,
        hidden: 1,
        keys: vec![0],
        aggregates: vec![Aggregate { column: 1, types: &[1082], fold: largest }],
        order: vec![by(By::Aggregate(0), true, false), by(By::Column(0, Compared::Integer), false, false)],
    };
    let mut combiner = Combiner::new(&shape, 10_000);
    combiner.describe(&described(&[(INT4, 0), (1082, 0), (25, 0)])).unwrap();
    for (shard, key, date, sent) in [
        (0, "10", Some("01-01-2000"), Some("00000000")),
        (0, "9", Some("31-12-1999"), Some("ffffffff")),
        (0, "7", None, None),
        (1, "9", Some("30-12-1999"), Some("fffffffe")),
        (1, "10", Some("infinity"), Some("7fffffff")),
        (1, "8", Some("31-12-1999"), Some("ffffffff")),
    ] {
        combiner.row(shard, &texts(&[Some(key), date, sent])).unwrap();
    }
    let expected =
        [("10", Some("infinity")), ("8", Some("31-12-1999")), ("9", Some("31-12-1999")), ("7", None)];
    assert_eq!(answer(&combiner).unwrap(), expected.map(|(key, date)| texts(&[Some(key), date])));
}

proptest! {
    #[test]
    fn how_rows_are_spread_over_shards_changes_no_sum(values in proptest::collection::vec((0u8..5, -1000i64..1000, 0usize..4), 1..60)) {
        let shape = sums();
        let mut combiner = Combiner::new(&shape, 100_000);
        combiner.describe(&described(&[(INT4, 0), (INT8, 0)])).unwrap();
        let mut whole = std::collections::BTreeMap::new();
        for shard in 0..4 {
            let mut parts = std::collections::BTreeMap::new();
            for (key, value, _) in values.iter().filter(|(.., at)| *at == shard) {
                *parts.entry(key).or_insert(0) += value;
                *whole.entry(key).or_insert(0) += value;
            }
            for (key, part) in parts {
                combiner.row(shard, &texts(&[Some(&key.to_string()), Some(&part.to_string())])).unwrap();
            }
        }
        let mut expected: Vec<_> =
            whole.iter().map(|(k, v)| texts(&[Some(&k.to_string()), Some(&v.to_string())])).collect();
        let mut got = answer(&combiner).unwrap();
        expected.sort();
        got.sort();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(description in proptest::collection::vec(any::<u8>(), 0..60), rows in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4)) {
        let shape = sums();
        let mut combiner = Combiner::new(&shape, 100_000);
        let _ = combiner.describe(&description);
        let _ = combiner.describe(&described(&[(INT4, 1), (NUMERIC, 1)]));
        for (shard, body) in rows.iter().enumerate() {
            let _ = combiner.row(shard, body);
            let _ = combiner.row(shard, &[&[0, 2], &body[..]].concat());
        }
        let _ = answer(&combiner);
    }
}
