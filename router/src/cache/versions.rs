//! Versions of stripes: who decides whether an answer may still be served. No I/O, no locks.
//!
//! A stripe has a version and a count of writes that are under way. The order of steps is the whole argument:
//!
//! | writer                          | filler                         | reader                      |
//! |---------------------------------|--------------------------------|-----------------------------|
//! | 1 dirty + 1, then version + 1   | 1 read version                 | 1 get the entry             |
//! | 2 forward, commit               | 2 then read dirty: 0 or give up| 2 versions as they were?    |
//! | 3 version + 1, then dirty − 1   | 3 query                        | 3 nothing dirty?            |
//! | 4 acknowledge                   | 4 insert with the versions of 1| then serve                  |
//!
//! *No read is older than an acknowledged write.* A fill that misses a write's effect ran its query (3) before that
//! write's commit (2), so it read its version (1) before the writer's second bump (3), which comes before the
//! acknowledgement (4). Whoever looks after that sees a later version than the entry's, and versions never go back.
//!
//! *Nothing is served while a write is under way*, not even to others, so nobody sees a new value and then an old
//! one. A ticket from before the write carries a version from before the first bump. A ticket whose version was
//! read after that bump reads dirty later still, and dirty rose before the bump: it is not 0, unless the writer has
//! already lowered it, which it does after the second bump, and then the ticket's version is out of date as well.
//! Read the other way round, dirty could be seen as 0 before the write and the version after it.
//!
//! Every step is a release by the writer and an acquire by the others, which is what "after" needs above.
//!
//! A write whose end nobody saw (the task died, the server's answer was lost) may still commit. Its stripes are
//! quarantined: dirty until a moment in the future. The quarantine is set before dirty is lowered and read after
//! dirty, so there is no gap between the two.

use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use super::deps::{ReadSet, STRIPES, Stripe};

/// The versions an answer was read at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Snapshot {
    epoch: u64,
    stripes: [Stripe; 3],
    versions: [u64; 3],
}

#[derive(Default)]
struct Slot {
    version: AtomicU64,
    /// Writes under way.
    dirty: AtomicU32,
    /// Dirty until then, in seconds of the table's clock; 0: not quarantined.
    quarantine: AtomicU32,
}

/// The table of versions of one process.
pub(super) struct Versions {
    /// Part of every snapshot. Odd: suspended, nothing is served and nothing filled.
    epoch: AtomicU64,
    slots: Box<[Slot]>,
    clock: Clock,
}

impl Versions {
    pub(super) fn new() -> Self {
        let slots = (0..STRIPES).map(|_| Slot::default()).collect();
        Self { epoch: AtomicU64::new(0), slots, clock: Clock::new() }
    }

    /// What an answer that is asked for from now on is valid at; `None` while anything it depends on is dirty.
    pub(super) fn snapshot(&self, reads: &ReadSet) -> Option<Snapshot> {
        let epoch = self.epoch.load(Acquire);
        let versions = reads.stripes.map(|stripe| self.version(stripe));
        let clean = reads.stripes.iter().all(|stripe| self.is_clean(*stripe));
        (clean && is_serving(epoch)).then_some(Snapshot { epoch, stripes: reads.stripes, versions })
    }

    /// Whether an answer from that snapshot may be served now.
    pub(super) fn holds(&self, snapshot: &Snapshot) -> bool {
        self.epoch.load(Acquire) == snapshot.epoch
            && snapshot
                .stripes
                .iter()
                .zip(snapshot.versions)
                .all(|(stripe, version)| self.version(*stripe) == version && self.is_clean(*stripe))
    }

    /// A write is about to be forwarded.
    pub(super) fn begin(&self, stripe: Stripe) {
        self.mark(stripe);
        self.bump(stripe);
    }

    /// What was read before is out of date: a write is over here, or was heard of from elsewhere.
    pub(super) fn bump(&self, stripe: Stripe) {
        self.slot(stripe).version.fetch_add(1, AcqRel);
    }

    /// The last step of a write, after its [`bump`](Self::bump).
    pub(super) fn unmark(&self, stripe: Stripe) {
        self.slot(stripe).dirty.fetch_sub(1, AcqRel);
    }

    /// The last steps of a write whose end nobody saw.
    pub(super) fn lose(&self, stripe: Stripe, quarantine: Duration) {
        self.quarantine(stripe, quarantine);
        self.bump(stripe);
        self.unmark(stripe);
    }

    /// Voids everything that was read before.
    pub(super) fn bump_all(&self) {
        self.epoch.fetch_add(2, AcqRel);
    }

    /// Voids everything, and serves nothing until [`resume`](Self::resume).
    pub(super) fn suspend(&self) {
        self.epoch.fetch_or(1, AcqRel);
    }

    /// Serves again, beginning with nothing.
    pub(super) fn resume(&self) {
        // Two steps on are never needed: only an odd epoch is changed, and that makes it even.
        let _ = self.epoch.fetch_update(AcqRel, Acquire, |epoch| (!is_serving(epoch)).then_some(epoch + 1));
    }

    /// The stripes in quarantine.
    pub(super) fn quarantined(&self) -> Vec<Stripe> {
        let all = (0..=u16::MAX).map(Stripe);
        all.filter(|stripe| !self.clock.is_past(self.slot(*stripe).quarantine.load(Acquire))).collect()
    }

    fn mark(&self, stripe: Stripe) {
        self.slot(stripe).dirty.fetch_add(1, AcqRel);
    }

    fn quarantine(&self, stripe: Stripe, time: Duration) {
        self.slot(stripe).quarantine.fetch_max(self.clock.after(time), AcqRel);
    }

    fn version(&self, stripe: Stripe) -> u64 {
        self.slot(stripe).version.load(Acquire)
    }

    fn is_clean(&self, stripe: Stripe) -> bool {
        let slot = self.slot(stripe);
        slot.dirty.load(Acquire) == 0 && self.clock.is_past(slot.quarantine.load(Acquire))
    }

    fn slot(&self, stripe: Stripe) -> &Slot {
        &self.slots[usize::from(stripe.0)]
    }
}

fn is_serving(epoch: u64) -> bool {
    epoch.is_multiple_of(2)
}

/// Whole seconds since the process's cache began.
struct Clock {
    began: Instant,
    #[cfg(test)]
    ahead: AtomicU32,
}

impl Clock {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            #[cfg(test)]
            ahead: AtomicU32::new(0),
        }
    }

    fn now(&self) -> u32 {
        let seconds = u32::try_from(self.began.elapsed().as_secs()).unwrap_or(u32::MAX);
        #[cfg(test)]
        let seconds = seconds + self.ahead.load(Acquire);
        seconds
    }

    /// The first second that is wholly after `time` from now.
    fn after(&self, time: Duration) -> u32 {
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        self.now().saturating_add(seconds).saturating_add(1)
    }

    /// The clock is read only for the few stripes that are or were in quarantine.
    fn is_past(&self, moment: u32) -> bool {
        moment == 0 || moment <= self.now()
    }
}

#[cfg(test)]
mod tests;
