//! Lifting the literals out of a statement's text, which every text goes through.

use crate::fixture::LOOKUP;
use criterion::{Criterion, Throughput};
use shardway_router::sql::scan::Scan;
use std::hint::black_box;

/// About 400 bytes with 10 literals, as an ORM words it.
const REPORT: &str = "SELECT orders.id, orders.status, orders.total, orders.note, orders.created_at FROM orders \
    INNER JOIN users ON users.user_id = orders.user_id WHERE orders.user_id = 4711 AND orders.status IN ('open', \
    'paid', 'shipped') AND orders.total BETWEEN 10.00 AND 99.95 AND orders.note LIKE 'express%' AND \
    orders.created_at >= '2024-01-01 00:00:00+00' AND users.is_active ORDER BY orders.created_at DESC, orders.id \
    LIMIT 25 OFFSET 50";

/// Five rows of four values.
const INSERT: &str = "INSERT INTO orders (user_id, id, status, total) VALUES (1, 1001, 'open', 19.99), \
    (2, 1002, 'paid', 5.00), (3, 1003, 'it''s held', 120.50), (4, 1004, 'open', 7.25), (5, 1005, 'paid', 64.00)";

/// Both kinds of comment, both kinds of dollar quote, an escape string and a quoted name.
const ADORNED: &str = "-- nightly: the accounts to look at\n/* app: billing, request: 8f14e45f */ SELECT \"Note\", \
    E'tab\\there' FROM orders /* nested /* deeper */ */ WHERE user_id = 42 -- the key\n AND note = $$it's here$$ \
    AND status <> $tag$closed $ or not$tag$";

/// Measures texts of four kinds.
pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    let texts = [
        ("lookup", LOOKUP, 1),
        ("report_400_bytes", REPORT, 10),
        ("insert_5_rows", INSERT, 20),
        ("comments_and_quotes", ADORNED, 4),
    ];
    for (name, text, literals) in texts {
        let mut scan = Scan::default();
        assert_eq!((scan.run(text), scan.literals.len()), (Ok(()), literals), "{name}");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| scan.run(black_box(text))));
    }
    group.finish();
}
