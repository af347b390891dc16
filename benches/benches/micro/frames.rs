//! A server's answer, one full buffer of it: cut into frames in place, as the relay walks over it, and taken out
//! one by one, as the merge does.

use crate::fixture::{message, row};
use criterion::{Criterion, Throughput};
use shardway_pool::buffer::{Buffer, CHUNK};
use shardway_pool::frame::{self, MAX_MESSAGE};
use std::hint::black_box;

/// Measures both ways for small and for large rows.
pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    group.throughput(Throughput::Bytes(CHUNK as u64));
    for size in [20, 1_000] {
        let rows = chunk_of(&message(b'D', &row(&[&vec![b'x'; size]])));
        group.bench_function(format!("walk_64k_rows_of_{size}"), |b| b.iter(|| walk(black_box(&rows))));
        group.bench_function(format!("take_64k_rows_of_{size}"), |b| b.iter(|| take(black_box(&rows))));
    }
    group.finish();
}

/// A buffer full of one message over and over; the last is there in part.
fn chunk_of(message: &[u8]) -> Vec<u8> {
    message.iter().copied().cycle().take(CHUNK).collect()
}

/// Bytes up to the first message that is not there whole. Rows and notices pass; the others would be looked at.
fn walk(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(Some(header)) = frame::peek(&bytes[at..], MAX_MESSAGE) {
        let whole = header.len <= bytes.len() - at;
        if !whole || !matches!(header.tag, b'D' | b'd' | b't' | b'N' | b'A') {
            break;
        }
        at += header.len;
    }
    at
}

/// Bytes of all bodies that came out of a buffer which is filled as by one read.
fn take(bytes: &[u8]) -> usize {
    let mut buffer = Buffer::default();
    buffer.extend(bytes);
    let mut taken = 0;
    while let Ok(Some((tag, body))) = frame::first(buffer.filled(), MAX_MESSAGE) {
        black_box(tag);
        taken += body.len();
        let len = body.len();
        buffer.consume(frame::HEADER + len);
    }
    taken
}
