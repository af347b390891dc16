//! Counts of what the cache did.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// A look at the cache. Counts begin with the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheStats {
    /// Lookups that L1 answered.
    pub l1_hits: u64,
    /// Lookups that it did not.
    pub l1_misses: u64,
    /// Fills that L2 made unnecessary.
    pub l2_hits: u64,
    /// Fills that L2 was asked about in vain.
    pub l2_misses: u64,
    /// Answers that were kept.
    pub fills: u64,
    /// Answers that were thrown away: a write came between, or they were too large.
    pub discarded_fills: u64,
    /// Writes of our own that ended, and changes that were heard of.
    pub invalidations: u64,
    /// Writes whose end nobody saw.
    pub lost_writes: u64,
    /// Entries in L1, about.
    pub l1_entries: u64,
    /// Bytes charged against `l1_max_bytes`, about.
    pub l1_bytes: u64,
    /// Redis answers and its channel is heard. False when there is none.
    pub redis_up: bool,
}

/// A count that only goes up.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters behind [`CacheStats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) l1_hits: Counter,
    pub(super) l1_misses: Counter,
    pub(super) l2_hits: Counter,
    pub(super) l2_misses: Counter,
    pub(super) fills: Counter,
    pub(super) discarded_fills: Counter,
    pub(super) invalidations: Counter,
    pub(super) lost_writes: Counter,
}

impl Counters {
    pub(super) fn read(&self) -> CacheStats {
        CacheStats {
            l1_hits: self.l1_hits.get(),
            l1_misses: self.l1_misses.get(),
            l2_hits: self.l2_hits.get(),
            l2_misses: self.l2_misses.get(),
            fills: self.fills.get(),
            discarded_fills: self.discarded_fills.get(),
            invalidations: self.invalidations.get(),
            lost_writes: self.lost_writes.get(),
            ..CacheStats::default()
        }
    }
}
