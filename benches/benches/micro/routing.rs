//! A key's shard: the value read by its column's type, its canonical text hashed by FNV-1a.

use crate::fixture::maps;
use criterion::Criterion;
use shardway_shardmap::{KeyType, KeyValue, ParamType, ShardId, ShardMap, Use};
use std::hint::black_box;

const UUID: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
const UUID_BYTES: u128 = 0x3f25_04e0_4f89_11d3_9a0c_0305_e82c_3301;

/// Measures keys of three types, as text and in binary.
pub fn benches(criterion: &mut Criterion) {
    let maps = maps();
    let [map] = maps.as_slice() else { unreachable!("there is one group") };
    let text = |key_type: KeyType, text| owner(map, key_type.read_text(text, Use::Compare));
    let binary =
        |key_type: KeyType, declared, bytes| owner(map, key_type.read_binary(declared, bytes, Use::Compare));

    let mut group = criterion.benchmark_group("routing");
    for (name, key_type, key) in [
        ("int_text", KeyType::Int8, &b"1234567890"[..]),
        ("text_20_bytes", KeyType::Text, b"customer-00001234567"),
        ("uuid_text", KeyType::Uuid, UUID.as_bytes()),
    ] {
        assert!(text(key_type, key).is_some(), "{name}");
        group.bench_function(name, |b| b.iter(|| text(key_type, black_box(key))));
    }
    for (name, key_type, declared, key) in [
        ("int_binary", KeyType::Int8, ParamType::Int8, &1_234_567_890_i64.to_be_bytes()[..]),
        ("uuid_binary", KeyType::Uuid, ParamType::Uuid, &UUID_BYTES.to_be_bytes()),
    ] {
        assert!(binary(key_type, declared, key).is_some(), "{name}");
        group.bench_function(name, |b| b.iter(|| binary(key_type, declared, black_box(key))));
    }
    group.finish();
}

fn owner(map: &ShardMap, value: KeyValue<'_>) -> Option<ShardId> {
    map.locate(value.key()?).ok()
}
