//! The shard map: from a canonical key to the shard that owns it.

use std::collections::HashMap;
use std::hash::Hasher;

use fnv::FnvHasher;

use crate::{CanonicalKey, KeyType, KeyValue, ShardId, UnsupportedKeyType, UnsupportedReason, Use};

/// FNV-1a, 64 bits (draft-eastlake-fnv).
pub fn fnv1a64(bytes: &[u8]) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

/// How a key becomes a shard number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Function {
    /// FNV-1a of the canonical text, mod `shard_count`. Any key type.
    Fnv1a,
    /// The integer mod `shard_count`, never negative.
    Modulo,
    /// Ranges of integers, in any order, not overlapping.
    Range(Vec<RangeEntry>),
    /// Canonical texts, each with its shard.
    List(HashMap<String, ShardId>),
}

impl Function {
    /// The name that the configuration has for it.
    pub fn name(&self) -> &'static str {
        match self {
            Function::Fnv1a => "fnv1a",
            Function::Modulo => "modulo",
            Function::Range(_) => "range",
            Function::List(_) => "list",
        }
    }
}

/// The keys `from <= key < to` live on `shard`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeEntry {
    /// First key; `None`: open below.
    pub from: Option<i64>,
    /// First key that is no longer in; `None`: open above.
    pub to: Option<i64>,
    /// Where they live.
    pub shard: ShardId,
}

impl RangeEntry {
    fn contains(&self, key: i64) -> bool {
        self.from.is_none_or(|from| from <= key) && self.to.is_none_or(|to| key < to)
    }
}

/// Which shard of a group owns a key. Made valid once, immutable, the same in every proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardMap {
    function: Function,
    shard_count: u32,
}

impl ShardMap {
    /// A map over shards 0 to `shard_count - 1`.
    ///
    /// # Errors
    /// There are no shards, or the ranges or lists are empty, overlap, or name a shard that is not there.
    pub fn new(mut function: Function, shard_count: u32) -> Result<ShardMap, MapError> {
        if shard_count == 0 {
            return Err(MapError::NoShards);
        }
        match &mut function {
            Function::Fnv1a | Function::Modulo => {}
            Function::Range(ranges) => {
                check_shards(ranges.iter().map(|range| range.shard), shard_count)?;
                sort_ranges(ranges)?;
            }
            Function::List(list) => check_shards(list.values().copied(), shard_count)?,
        }
        Ok(ShardMap { function, shard_count })
    }

    /// The number of logical shards.
    pub fn shard_count(&self) -> u32 {
        self.shard_count
    }

    /// Every shard, in order.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shard_count).map(ShardId)
    }

    /// The function.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Whether keys of this type can be located, to be asked once per key column.
    ///
    /// # Errors
    /// Modulo and range need an integer key; a list's values must be canonical for the type, since others
    /// would never be met.
    pub fn supports(&self, key_type: KeyType) -> Result<(), UnsupportedKeyType> {
        let refuse = |reason| Err(UnsupportedKeyType::new(key_type.to_string(), reason));
        match &self.function {
            Function::Fnv1a => Ok(()),
            Function::Modulo | Function::Range(_) if key_type.is_integer() => Ok(()),
            Function::Modulo | Function::Range(_) => {
                refuse(UnsupportedReason::NeedsInteger(self.function.name()))
            }
            Function::List(list) => match list.keys().find(|text| !is_canonical(key_type, text)) {
                Some(text) => refuse(UnsupportedReason::ListValue(text.clone())),
                None => Ok(()),
            },
        }
    }

    /// The shard that owns a key.
    ///
    /// # Errors
    /// The key is in no range or list, or is no integer where the function needs one. No row can have such
    /// a key, so a read may go to any shard; a write must be refused.
    pub fn locate(&self, key: &CanonicalKey<'_>) -> Result<ShardId, NoShard> {
        match (&self.function, key) {
            (Function::Fnv1a, _) => Ok(self.hashed(key)),
            (Function::Modulo, CanonicalKey::Int(value)) => Ok(self.remainder(*value)),
            (Function::Range(ranges), CanonicalKey::Int(value)) => in_ranges(ranges, *value)
                .ok_or_else(|| NoShard { key: key.to_string(), reason: NoShardReason::OutsideRanges }),
            (Function::Modulo | Function::Range(_), _) => Err(NoShard {
                key: key.to_string(),
                reason: NoShardReason::NotAnInteger(self.function.name()),
            }),
            (Function::List(list), _) => key
                .with_text(|text| list.get(text).copied())
                .ok_or_else(|| NoShard { key: key.to_string(), reason: NoShardReason::NotListed }),
        }
    }

    fn hashed(&self, key: &CanonicalKey<'_>) -> ShardId {
        let hash = key.with_text(|text| fnv1a64(text.as_bytes()));
        // Below shard_count, hence 32 bits.
        ShardId((hash % u64::from(self.shard_count)) as u32)
    }

    fn remainder(&self, value: i64) -> ShardId {
        // Below shard_count and not negative, hence 32 bits.
        ShardId(value.rem_euclid(i64::from(self.shard_count)) as u32)
    }
}

fn check_shards(shards: impl Iterator<Item = ShardId>, shard_count: u32) -> Result<(), MapError> {
    let highest = shards.max().ok_or(MapError::Empty)?;
    if highest.0 < shard_count {
        Ok(())
    } else {
        Err(MapError::ShardBeyondCount { shard: highest, shard_count })
    }
}

/// Puts ranges in order, so that a key can be searched for; an order exists if none overlap.
fn sort_ranges(ranges: &mut [RangeEntry]) -> Result<(), MapError> {
    for range in ranges.iter() {
        if range.from.zip(range.to).is_some_and(|(from, to)| from >= to) {
            return Err(MapError::EmptyRange(*range));
        }
    }
    // None sorts before Some, as open below should.
    ranges.sort_by_key(|range| range.from);
    for pair in ranges.windows(2) {
        let apart = pair[0].to.zip(pair[1].from).is_some_and(|(to, from)| to <= from);
        if !apart {
            return Err(MapError::Overlap(pair[0], pair[1]));
        }
    }
    Ok(())
}

fn in_ranges(ranges: &[RangeEntry], key: i64) -> Option<ShardId> {
    let after = ranges.partition_point(|range| range.from.is_none_or(|from| from <= key));
    let candidate = ranges.get(after.checked_sub(1)?)?;
    candidate.contains(key).then_some(candidate.shard)
}

fn is_canonical(key_type: KeyType, text: &str) -> bool {
    match key_type.read_text(text.as_bytes(), Use::Store) {
        KeyValue::Key(key) => key.with_text(|canonical| canonical == text),
        KeyValue::Null | KeyValue::Invalid | KeyValue::Unproven(_) => false,
    }
}

/// A map that can't be. The configuration's fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MapError {
    /// `shard_count` is 0.
    #[error("shard_count is 0: a group needs at least one shard")]
    NoShards,
    /// A range or list function without entries, which would own no key.
    #[error("the function has no ranges or values, so no key would have a shard")]
    Empty,
    /// An entry names a shard that the group does not have.
    #[error("shard {shard} is named, but shard_count is {shard_count}: shards count from 0")]
    ShardBeyondCount {
        /// The shard.
        shard: ShardId,
        /// The group's number of shards.
        shard_count: u32,
    },
    /// `from` is not below `to`.
    #[error("the range of shard {} is empty: from must be below to", .0.shard)]
    EmptyRange(RangeEntry),
    /// A key would have two shards.
    #[error("the ranges of shard {} and shard {} overlap", .0.shard, .1.shard)]
    Overlap(RangeEntry, RangeEntry),
}

/// A key that no shard owns. The client's fault, or a gap in the configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no shard owns key {key:?}: {reason}")]
pub struct NoShard {
    /// The key's canonical text.
    pub key: String,
    /// Why it has none.
    pub reason: NoShardReason,
}

/// Why no shard owns a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoShardReason {
    /// Between or beyond the ranges.
    #[error("it is outside every range of its group")]
    OutsideRanges,
    /// In no list.
    #[error("it is in no list of values of its group")]
    NotListed,
    /// Text or uuid where the named function needs an integer; [`ShardMap::supports`] tells beforehand.
    #[error("function {0} needs an integer key")]
    NotAnInteger(&'static str),
}

#[cfg(test)]
mod tests;
