//! A client's extended batch, read message by message up to its Sync: names, text, declared types, parameters. What
//! a session adds to it (its statements by name, the plan) is measured with `recognise`.

use crate::fixture::{PREPARED_LOOKUP, bound, message};
use criterion::Criterion;
use shardway_pool::frame::{self, HEADER, MAX_MESSAGE};
use shardway_router::plan::locate::Params;
use std::hint::black_box;

/// Measures a batch as drivers send it the first time, and as they send it for a statement they have prepared.
pub fn benches(criterion: &mut Criterion) {
    let bind =
        |name: &[u8]| message(b'B', &[b"\0", name, b"\0", &bound(true, &12_345_i32.to_be_bytes())].concat());
    let execute = message(b'E', &[0; 5]);
    let sync = message(b'S', b"");
    let parse = message(b'P', &[b"\0", PREPARED_LOOKUP.as_bytes(), b"\0\0\x01\0\0\0\x17"].concat());
    let whole = [parse, bind(b""), message(b'D', b"P\0"), execute.clone(), sync.clone()].concat();
    let prepared = [bind(b"lookup_1"), execute, sync].concat();

    let mut group = criterion.benchmark_group("messages");
    for (name, batch) in [("parse_bind_describe_execute_sync", whole), ("bind_execute_sync", prepared)] {
        assert_eq!(read(&batch), Some(1), "{name}");
        group.bench_function(name, |b| b.iter(|| read(black_box(&batch))));
    }
    group.finish();
}

/// Reads every message; gives the number of parameters. `None` if one is malformed.
fn read(batch: &[u8]) -> Option<usize> {
    let mut parameters = 0;
    let mut at = 0;
    while let Some(header) = frame::peek(&batch[at..], MAX_MESSAGE).ok()? {
        let body = &batch[at + HEADER..at + header.len];
        at += header.len;
        match header.tag {
            b'P' => read_parse(body)?,
            b'B' => {
                let (_portal, rest) = frame::cstr(body)?;
                let (_statement, rest) = frame::cstr(rest)?;
                let params = Params::parse(rest)?;
                parameters += params.len();
                black_box(params.get(0)?);
            }
            b'E' => {
                let (_portal, rest) = frame::cstr(body)?;
                black_box(frame::i32(rest)?);
            }
            b'D' | b'C' => {
                let (kind, rest) = body.split_first()?;
                black_box((kind, frame::cstr(rest)?));
            }
            _ => {}
        }
    }
    Some(parameters)
}

fn read_parse(body: &[u8]) -> Option<()> {
    let (_name, tail) = frame::cstr(body)?;
    let (text, types) = frame::cstr(tail)?;
    black_box(std::str::from_utf8(text).ok()?);
    let (_count, mut types) = frame::i16(types)?;
    while let Some((oid, rest)) = frame::i32(types) {
        black_box(oid);
        types = rest;
    }
    Some(())
}
