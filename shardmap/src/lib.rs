//! Which shard owns a key.
