//! Which shard owns a key.
//!
//! A key reaches Shardway in many spellings: a literal, a text or binary parameter, a COPY field. Each is
//! read here, by the column's type, into one canonical form, and [`ShardMap`] gives that form its shard.
//! Values that Postgres holds equal always get one shard. What can't be proven to mean one key is reported
//! as [`KeyValue::Unproven`], never guessed at.
//!
//! Pure functions: no I/O, no async, no SQL parsing, no catalog. This is the only place that hashes. Bytes
//! are taken to be UTF-8; under another `client_encoding` the caller must not ask.

mod canonical;
pub mod copy;
mod fold;
mod int;
mod key_type;
mod map;
mod numeric;
mod param;
mod read;
mod store;
mod uuid;

pub use canonical::{CanonicalKey, KeyValue};
pub use key_type::{KeyType, UnsupportedKeyType, UnsupportedReason};
pub use map::{Function, MapError, NoShard, NoShardReason, RangeEntry, ShardMap, fnv1a64};
pub use param::ParamType;
pub use read::Use;

/// The number of a logical shard, from 0 to `shard_count - 1` of its group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardId(pub u32);

impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
