//! The k-way merge of four shards' sorted rows, from frames in memory to frames in the client's buffer: the loop of
//! a scattered ORDER BY without its sockets.

use crate::fixture::{SHARDS, message, row};
use criterion::{Criterion, Throughput};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER, MAX_MESSAGE};
use shardway_router::merge::{self, compare};
use shardway_router::plan::scatter::{SortKey, SortType};
use std::hint::black_box;

/// Rows in all.
const ROWS: usize = 2_000;

/// Output is written when it has so many bytes.
const FLUSH_AT: usize = 32 * 1024;

const NUMBER: SortKey =
    SortKey { sort: SortType::Number, descending: false, nulls_first: false, float: false };
const TEXT_DESC: SortKey =
    SortKey { sort: SortType::Bytes, descending: true, nulls_first: true, float: false };

/// A shard's answer: what is left of it, and its head row.
struct Answer<'a> {
    input: &'a [u8],
    head: Option<usize>,
    keys: Vec<Option<Vec<u8>>>,
}

/// Measures whole merges, by one key and by two; then cutting and comparing by themselves.
pub fn benches(criterion: &mut Criterion) {
    let by_number = [NUMBER];
    let by_both = [TEXT_DESC, NUMBER];
    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, order) in [("4_shards_1_key", &by_number[..]), ("4_shards_2_keys", &by_both)] {
        let shards = shards(order.len());
        assert_eq!(merged(&shards, order), Some(ROWS), "{name}");
        group.bench_function(name, |b| b.iter(|| merged(black_box(&shards), order)));
    }
    group.throughput(Throughput::Elements(1));
    let body = body(1_234, 2);
    group.bench_function("cut_2_keys", |b| b.iter(|| merge::cut(black_box(&body), 2)));
    let (low, high) = (keys(1_234), keys(1_235));
    group.bench_function("compare_2_keys", |b| {
        b.iter(|| compare(&by_both, black_box(&low), black_box(&high)))
    });
    group.finish();
}

/// The rows of each shard in order; row `n` of all is on shard `n` mod 4.
fn shards(hidden: usize) -> Vec<Vec<u8>> {
    let of = |shard: usize| (shard..ROWS).step_by(SHARDS as usize);
    (0..SHARDS as usize)
        .map(|shard| of(shard).flat_map(|n| message(b'D', &body(n, hidden))).collect())
        .collect()
}

/// The sort keys of row `n`: ten rows share the first of two.
fn key_texts(n: usize) -> [String; 2] {
    [format!("2024-{:04}", 9_999 - n / 10), (1_000_000 + n).to_string()]
}

fn keys(n: usize) -> Vec<Option<Vec<u8>>> {
    key_texts(n).map(|key| Some(key.into_bytes())).to_vec()
}

/// Row `n`: three columns of the client's, and the last `hidden` of its sort keys behind them.
fn body(n: usize, hidden: usize) -> Vec<u8> {
    let [text, number] = key_texts(n);
    let columns = [number.as_bytes(), b"a product's name", b"19.99", text.as_bytes(), number.as_bytes()];
    let client: &[&[u8]] = &columns[..3];
    row(&[client, &columns[5 - hidden..]].concat())
}

/// Merges; gives the number of rows.
fn merged(shards: &[Vec<u8>], order: &[SortKey]) -> Option<usize> {
    let mut output = Buffer::default();
    let mut answers: Vec<Answer<'_>> =
        shards.iter().map(|input| Answer { input, head: None, keys: Vec::new() }).collect();
    for answer in &mut answers {
        advance(answer, order.len())?;
    }
    let mut rows = 0;
    while let Some(chosen) = smallest(&answers, order) {
        give_head(&mut answers[chosen], order.len(), &mut output)?;
        if output.len() >= FLUSH_AT {
            output.clear();
        }
        advance(&mut answers[chosen], order.len())?;
        rows += 1;
    }
    Some(rows)
}

/// Reads a shard's next row, if there is one.
fn advance(answer: &mut Answer<'_>, hidden: usize) -> Option<()> {
    let Some((_, body)) = frame::first(answer.input, MAX_MESSAGE).ok()? else { return Some(()) };
    let row = merge::cut(body, hidden)?;
    answer.keys = row.hidden.into_iter().map(|key| key.map(<[u8]>::to_vec)).collect();
    answer.head = Some(HEADER + body.len());
    Some(())
}

fn smallest(answers: &[Answer<'_>], order: &[SortKey]) -> Option<usize> {
    let alive = answers.iter().enumerate().filter(|(_, answer)| answer.head.is_some());
    alive.min_by(|(_, a), (_, b)| compare(order, &a.keys, &b.keys)).map(|(i, _)| i)
}

/// Gives a shard's head row to the client, without its hidden columns.
fn give_head(answer: &mut Answer<'_>, hidden: usize, output: &mut Buffer) -> Option<()> {
    let len = answer.head.take()?;
    let row = merge::cut(&answer.input[HEADER..len], hidden)?;
    output.push(b'D');
    output.extend(&(row.bytes.len() as u32 + 6).to_be_bytes());
    output.extend(&row.visible.to_be_bytes());
    output.extend(row.bytes);
    answer.input = &answer.input[len..];
    Some(())
}
