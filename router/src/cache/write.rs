//! Writes: what they touch is dirty from before they are forwarded until after their outcome is known.

use std::mem;
use std::sync::Arc;

use super::deps::{Stripe, WriteSet, insert};
use super::l2::{L2, Step};
use super::{Cache, LOST_WRITE};

/// Stripes that one guard holds before it holds everything in its database.
const STRIPES_HELD: usize = 128;

/// A write, or a transaction of writes, under way.
///
/// [Release](Cache::release) it once the outcome is known: committed, rolled back, or certain never to commit.
/// Dropping it says that nobody knows: what it touched then stays out of the cache for ten minutes.
#[must_use = "dropped, it keeps what it touches out of the cache for ten minutes"]
pub struct WriteGuard {
    cache: Arc<Cache>,
    /// Names this write's marks in Redis.
    token: u64,
    /// Marked dirty by us; sorted.
    held: Vec<Stripe>,
}

impl std::fmt::Debug for WriteGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteGuard").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Cache {
    /// Takes what a write touches out of the cache. Forward the write only after this has returned.
    ///
    /// With Redis this is one round trip; a Redis that fails costs 250 ms once, a Redis that is gone costs nothing.
    pub async fn begin_write(self: &Arc<Self>, writes: &WriteSet) -> WriteGuard {
        let mut guard = WriteGuard { cache: self.clone(), token: rand::random(), held: Vec::new() };
        guard.extend(writes).await;
        guard
    }

    /// Lets what the write touched into the cache again, with a new version. Call it when the outcome is known and
    /// **before** the client is told, so that other proxies have been told first.
    ///
    /// A call that is cancelled half way counts as a drop of the guard.
    pub async fn release(&self, mut guard: WriteGuard) {
        let versions = &self.local.versions;
        guard.held.iter().for_each(|stripe| versions.bump(*stripe));
        // Still dirty here until Redis has the new versions: else L2 could answer with what was before the write.
        if let Some(l2) = self.l2.load_full().filter(|_| !guard.held.is_empty()) {
            l2.announce(Step::Release, guard.token, &guard.held).await;
        }
        mem::take(&mut guard.held).into_iter().for_each(|stripe| versions.unmark(stripe));
        self.local.counters.invalidations.add_one();
    }

    /// Something was changed without any proxy's doing, as the change stream tells.
    pub async fn invalidate(self: &Arc<Self>, writes: &WriteSet) {
        let guard = self.begin_write(writes).await;
        self.release(guard).await;
    }
}

impl WriteGuard {
    /// The transaction goes on and this statement is about to touch more. Forward it only after this has returned.
    ///
    /// What is held already costs nothing.
    pub async fn extend(&mut self, writes: &WriteSet) {
        let more = self.hold(writes);
        if let Some(l2) = self.cache.l2.load_full().filter(|_| !more.is_empty()) {
            l2.announce(Step::Begin, self.token, &more).await;
        }
    }

    /// Marks what is new and says which that is. No await: a guard that is dropped knows all that it marked.
    fn hold(&mut self, writes: &WriteSet) -> Vec<Stripe> {
        let everything = [writes.everything()];
        let wanted = match self.held.len() + writes.stripes().len() {
            0..=STRIPES_HELD => writes.stripes(),
            _ => &everything,
        };
        let new: Vec<_> = wanted.iter().copied().filter(|stripe| insert(&mut self.held, *stripe)).collect();
        new.iter().for_each(|stripe| self.cache.local.versions.begin(*stripe));
        new
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let local = &self.cache.local;
        local.counters.lost_writes.add_one();
        self.held.iter().for_each(|stripe| local.versions.lose(*stripe, LOST_WRITE));
        if let Some(l2) = self.cache.l2.load_full() {
            L2::announce_lost(&l2, mem::take(&mut self.held));
        }
    }
}
