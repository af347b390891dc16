//! The first level: whole answers in process, bounded by bytes and by number.
//!
//! It only stores. Whether an entry may still be served is for [`versions`](super::versions) to say.

use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;
use moka::sync::Cache as Moka;
use shardway_config::Cache as Settings;

use super::versions::Snapshot;

/// What an entry costs beside its key and its answer, about: the map's, the policy's and the timer's nodes.
const OVERHEAD: u64 = 256;

/// Longer times mean "for ever", and moka refuses more than a thousand years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

type Key = Box<[u8]>;

/// A kept answer.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) answer: Bytes,
    pub(super) snapshot: Snapshot,
    ttl: Duration,
}

/// The in-process level with its settings.
pub(super) struct L1 {
    entries: Moka<Key, Entry>,
    ttl: Duration,
    max_entry_bytes: u64,
}

impl L1 {
    pub(super) fn new(settings: &Settings) -> Self {
        let weights = Weights::new(settings.l1_max_bytes, settings.l1_max_entries);
        let entries = Moka::builder()
            .max_capacity(weights.capacity)
            .weigher(move |key: &Key, entry: &Entry| weights.of(key.len(), entry.answer.len()))
            .time_to_idle(settings.time_to_idle.min(FOR_EVER))
            .expire_after(OwnTtl)
            .build();
        Self { entries, ttl: settings.ttl, max_entry_bytes: settings.max_entry_bytes }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Entry> {
        self.entries.get(key)
    }

    /// Whether an answer, or a key, of this size is kept.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        bytes as u64 <= self.max_entry_bytes
    }

    /// How long an answer lives that was asked for `age` ago; `None`: no longer.
    pub(super) fn time_left(&self, own: Option<Duration>, age: Duration) -> Option<Duration> {
        let left = own.unwrap_or(self.ttl).min(FOR_EVER).checked_sub(age)?;
        (!left.is_zero()).then_some(left)
    }

    /// Keeps a copy: the answer may be a slice of a read buffer many times its size, which would stay with it.
    pub(super) fn insert(&self, key: Key, answer: &[u8], snapshot: Snapshot, ttl: Duration) {
        let answer = Bytes::copy_from_slice(answer);
        self.entries.insert(key, Entry { answer, snapshot, ttl });
    }

    pub(super) fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// Entries, about: moka counts behind its back.
    pub(super) fn entries(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Bytes charged against `l1_max_bytes`, about.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }

    #[cfg(test)]
    pub(super) fn settle(&self) {
        self.entries.run_pending_tasks();
    }
}

/// moka has one capacity and there are two bounds: an entry weighs its bytes, and at least its share of them.
#[derive(Clone, Copy)]
struct Weights {
    capacity: u64,
    share: u32,
}

impl Weights {
    fn new(max_bytes: u64, max_entries: u64) -> Self {
        // A weight is a u32. Where shares would be larger than that, the number bounds the bytes.
        let capacity = max_bytes.min(max_entries.saturating_mul(u64::from(u32::MAX)));
        let share = if max_entries == 0 { 0 } else { capacity.div_ceil(max_entries) };
        Self { capacity, share: saturate(share) }
    }

    fn of(self, key: usize, answer: usize) -> u32 {
        saturate(OVERHEAD + key as u64 + answer as u64).max(self.share)
    }
}

fn saturate(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Every entry brings its own time to live.
struct OwnTtl;

impl Expiry<Key, Entry> for OwnTtl {
    fn expire_after_create(&self, _: &Key, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_whatever_the_sizes() {
        for (bytes, entries) in [(1 << 20, 10), (1000, 7), (64 << 30, 4), (10, 1000), (0, 5), (5, 0)] {
            let weights = Weights::new(bytes, entries);
            assert!(weights.capacity <= bytes);
            let most = weights.capacity / u64::from(weights.of(0, 0));
            assert!(most <= entries, "{most} entries for {bytes} bytes and {entries} entries");
            assert!(u64::from(weights.of(100, 5000)) >= 5100);
        }
    }
}
