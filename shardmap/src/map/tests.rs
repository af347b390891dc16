use super::*;

fn range(from: impl Into<Option<i64>>, to: impl Into<Option<i64>>, shard: u32) -> RangeEntry {
    RangeEntry { from: from.into(), to: to.into(), shard: ShardId(shard) }
}

fn ranges(entries: &[RangeEntry]) -> Result<ShardMap, MapError> {
    ShardMap::new(Function::Range(entries.to_vec()), 3)
}

fn list(values: &[(&str, u32)]) -> ShardMap {
    let values = values.iter().map(|(value, shard)| ((*value).to_owned(), ShardId(*shard))).collect();
    ShardMap::new(Function::List(values), 2).unwrap()
}

fn int(value: i64) -> CanonicalKey<'static> {
    CanonicalKey::Int(value)
}

fn text(value: &str) -> CanonicalKey<'_> {
    CanonicalKey::Text(value.into())
}

#[test]
fn shards_are_counted_from_zero() {
    let map = ShardMap::new(Function::Fnv1a, 3).unwrap();
    assert_eq!(map.shard_count(), 3);
    assert_eq!(map.shards().collect::<Vec<_>>(), [ShardId(0), ShardId(1), ShardId(2)]);
    assert_eq!(ShardId(2).to_string(), "2");
}

#[test]
fn modulo_is_never_negative() {
    let map = ShardMap::new(Function::Modulo, 4).unwrap();
    for (key, shard) in [(0, 0), (7, 3), (-1, 3), (-4, 0), (i64::MIN, 0), (i64::MAX, 3)] {
        assert_eq!(map.locate(&int(key)), Ok(ShardId(shard)), "{key}");
    }
    assert_eq!(map.locate(&text("7")).unwrap_err().reason, NoShardReason::NotAnInteger("modulo"));
}

#[test]
fn a_range_holds_its_first_key_and_not_its_end() {
    let map = ranges(&[range(100, 200, 1), range(0, 100, 0), range(300, None, 2)]).unwrap();
    for (key, shard) in [(0, 0), (99, 0), (100, 1), (199, 1), (300, 2), (i64::MAX, 2)] {
        assert_eq!(map.locate(&int(key)), Ok(ShardId(shard)), "{key}");
    }
    for key in [i64::MIN, -1, 200, 299] {
        let error = map.locate(&int(key)).unwrap_err();
        assert_eq!((error.key, error.reason), (key.to_string(), NoShardReason::OutsideRanges));
    }
}

#[test]
fn ranges_open_at_both_ends_own_every_key() {
    let map = ranges(&[range(0, None, 1), range(None, 0, 0)]).unwrap();
    for (key, shard) in [(i64::MIN, 0), (-1, 0), (0, 1), (i64::MAX, 1)] {
        assert_eq!(map.locate(&int(key)), Ok(ShardId(shard)), "{key}");
    }
}

#[test]
fn ranges_that_overlap_or_are_empty_are_refused() {
    for pair in [
        [range(0, 10, 0), range(9, 20, 1)],
        [range(0, 10, 0), range(0, 10, 1)],
        [range(0, None, 0), range(5, 6, 1)],
        [range(None, 5, 0), range(None, 6, 1)],
    ] {
        assert!(matches!(ranges(&pair), Err(MapError::Overlap(..))), "{pair:?}");
    }
    assert!(matches!(ranges(&[range(5, 5, 0)]), Err(MapError::EmptyRange(_))));
}

#[test]
fn a_map_needs_shards_and_entries_that_exist() {
    assert_eq!(ShardMap::new(Function::Fnv1a, 0), Err(MapError::NoShards));
    assert_eq!(ranges(&[]), Err(MapError::Empty));
    assert_eq!(ShardMap::new(Function::List(HashMap::new()), 2), Err(MapError::Empty));
    let beyond = MapError::ShardBeyondCount { shard: ShardId(3), shard_count: 3 };
    assert_eq!(ranges(&[range(0, 1, 3)]), Err(beyond));
}

#[test]
fn a_list_knows_its_values_alone() {
    let map = list(&[("eu", 1), ("us", 0)]);
    assert_eq!(map.locate(&text("eu")), Ok(ShardId(1)));
    let message = map.locate(&text("asia")).unwrap_err().to_string();
    assert_eq!(message, "no shard owns key \"asia\": it is in no list of values of its group");
}

#[test]
fn modulo_and_range_support_integer_keys_alone() {
    let modulo = ShardMap::new(Function::Modulo, 2).unwrap();
    let range = ranges(&[range(0, 1, 0)]).unwrap();
    for map in [&modulo, &range] {
        assert_eq!(map.supports(KeyType::Int2), Ok(()));
        assert_eq!(map.supports(KeyType::Int8), Ok(()));
        assert!(map.supports(KeyType::Uuid).is_err());
    }
    assert_eq!(
        modulo.supports(KeyType::Text).unwrap_err().to_string(),
        "type text can't be a shard key: function modulo needs an integer key"
    );
    assert_eq!(ShardMap::new(Function::Fnv1a, 2).unwrap().supports(KeyType::Uuid), Ok(()));
}

#[test]
fn a_list_supports_types_that_print_its_values_so() {
    assert_eq!(list(&[("7", 0)]).supports(KeyType::Int4), Ok(()));
    assert!(list(&[("007", 0)]).supports(KeyType::Int4).is_err());
    assert!(list(&[("EU", 0)]).supports(KeyType::Citext).is_err());
    assert_eq!(list(&[("EU", 0)]).supports(KeyType::Text), Ok(()));
}
