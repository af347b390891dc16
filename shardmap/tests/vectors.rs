//! The hash and the shard numbers agree with vectors made elsewhere.

use serde::Deserialize;
use shardway_shardmap::{Function, KeyType, KeyValue, ShardId, ShardMap, Use, fnv1a64};

#[derive(Deserialize)]
struct Vector {
    canonical: String,
    fnv1a64: String,
    mod4: u32,
    mod7: u32,
    mod64: u32,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("fnv1a.json")).expect("the vectors are JSON")
}

fn shard_of(key_type: KeyType, text: &str, shard_count: u32) -> ShardId {
    let map = ShardMap::new(Function::Fnv1a, shard_count).unwrap();
    match key_type.read_text(text.as_bytes(), Use::Compare) {
        KeyValue::Key(key) => map.locate(&key).unwrap(),
        other => panic!("{text:?} as {key_type} is {other:?}"),
    }
}

#[test]
fn the_hash_of_every_vector_agrees() {
    for vector in vectors() {
        let hash = fnv1a64(vector.canonical.as_bytes());
        assert_eq!(format!("{hash:016x}"), vector.fnv1a64, "{}", vector.canonical);
    }
}

#[test]
fn every_vector_lives_on_its_shard() {
    for vector in vectors() {
        for (shard_count, shard) in [(4, vector.mod4), (7, vector.mod7), (64, vector.mod64)] {
            let found = shard_of(KeyType::Text, &vector.canonical, shard_count);
            assert_eq!(found, ShardId(shard), "{} mod {shard_count}", vector.canonical);
        }
    }
}

#[test]
fn vectors_that_are_integers_or_uuids_live_there_under_their_own_type_too() {
    let mut met = 0;
    for vector in vectors() {
        for key_type in [KeyType::Int8, KeyType::Uuid] {
            if key_type.read_text(vector.canonical.as_bytes(), Use::Compare).key().is_some() {
                assert_eq!(shard_of(key_type, &vector.canonical, 7), ShardId(vector.mod7));
                met += 1;
            }
        }
    }
    assert!(met >= 5, "only {met} vectors are integers or uuids");
}
