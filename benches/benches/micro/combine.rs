//! Partial aggregates of four shards combined: the pure part of a GROUP BY over all shards, from the rows' bodies to
//! the client's.

use crate::fixture::{SHARDS, row};
use criterion::{Criterion, Throughput};
use shardway_router::combine::{Aggregate, Combiner, Fold, Shape};
use std::hint::black_box;

const TEXT: u32 = 25;
const INT8: u32 = 20;
const NUMERIC: u32 = 1700;

/// Measures a handful of groups, as of a dashboard, and many.
pub fn benches(criterion: &mut Criterion) {
    let shape = shape();
    let mut group = criterion.benchmark_group("combine");
    for (name, groups) in [("4_shards_4_groups", 4), ("4_shards_1000_groups", 1_000)] {
        let rows: Vec<Vec<u8>> = (0..groups).map(group_row).collect();
        assert_eq!(combined(&shape, &rows), Some(groups), "{name}");
        group.throughput(Throughput::Elements(u64::from(SHARDS) * groups as u64));
        group.bench_function(name, |b| b.iter(|| combined(black_box(&shape), black_box(&rows))));
    }
    group.finish();
}

/// `SELECT key, sum(…)` by key.
fn shape() -> Shape {
    let sum = Aggregate { column: 1, types: &[INT8, NUMERIC], fold: Fold::Sum };
    Shape { visible: 2, hidden: 0, keys: vec![0], aggregates: vec![sum], order: Vec::new() }
}

fn group_row(n: usize) -> Vec<u8> {
    row(&[format!("kind {n}").as_bytes(), (n * 7919).to_string().as_bytes()])
}

/// RowDescription's body: a text and a bigint, as text.
fn description() -> Vec<u8> {
    let mut body = 2u16.to_be_bytes().to_vec();
    for oid in [TEXT, INT8] {
        body.extend(b"c\0\0\0\0\0\0\0");
        body.extend(oid.to_be_bytes());
        body.extend([0; 8]);
    }
    body
}

/// Every shard sends the same groups; gives how many there are then.
fn combined(shape: &Shape, rows: &[Vec<u8>]) -> Option<usize> {
    let mut combiner = Combiner::new(shape, 64 * 1024 * 1024);
    combiner.describe(&description()).ok()?;
    for shard in 0..SHARDS as usize {
        for row in rows {
            combiner.row(shard, row).ok()?;
        }
    }
    let mut out = Vec::new();
    let order = combiner.order().ok()?;
    for group in &order {
        out.clear();
        combiner.write(*group, &mut out).ok()?;
    }
    Some(order.len())
}
